#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "job/secret_ref.h"
#include "suite.h"

/* Secrets that a plan names by reference. */

static char dir[] = "/tmp/holdfast-secret.XXXXXX";
static struct err err;

static void set_up(void)
{
	strcpy(dir + sizeof dir - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	err = (struct err)ERR_INIT;
}

static void tear_down(void)
{
	ck_assert_int_eq(fs_remove_tree(dir, NULL), 0);
}

/* A file of these bytes, and the reference to it. */
static const char *file_ref(const void *p, size_t n)
{
	static char ref[128];

	snprintf(ref, sizeof ref, "file:%s/secret", dir);
	ck_assert_int_eq(fs_replace(ref + 5, p, n, 0600, &err), 0);
	return ref;
}

static void ck_value(const char *ref, const char *want)
{
	struct secret s;

	ck_assert_msg(secret_ref_read(ref, &s, &err) == 0, "%s", err.msg);
	ck_assert_str_eq(secret_text(&s), want);
	ck_assert_uint_eq(s.len, strlen(want) + 1);
	secret_release(&s);
}

static void ck_refused(const char *ref, enum err_code code)
{
	struct secret s;

	ck_assert_int_eq(secret_ref_read(ref, &s, &err), -(int)code);
	ck_assert_ptr_null(s.p);
	ck_assert_ptr_null(secret_text(&s));
}

START_TEST(one_line_feed_at_the_end_of_a_file_does_not_count)
{
	ck_value(file_ref("pass word\n", 10), "pass word");
	ck_value(file_ref("pass word", 9), "pass word");
	ck_value(file_ref("two\n\n", 5), "two\n");
}
END_TEST

START_TEST(what_is_no_text_is_refused)
{
	ck_refused(file_ref("", 0), ERR_USAGE);
	ck_refused(file_ref("\n", 1), ERR_USAGE);
	ck_refused(file_ref("a\0b", 3), ERR_USAGE);
}
END_TEST

START_TEST(a_value_has_a_ceiling)
{
	CLEAN(free_ptr) char *most = xmalloc(SECRET_REF_MAX + 2);

	memset(most, 'x', SECRET_REF_MAX + 1);
	most[SECRET_REF_MAX] = 0;
	file_ref(most, SECRET_REF_MAX);
	ck_value(file_ref(most, SECRET_REF_MAX), most);
	most[SECRET_REF_MAX] = 'x';
	ck_refused(file_ref(most, SECRET_REF_MAX + 1), ERR_NOMEM);
}
END_TEST

START_TEST(what_is_not_there_is_the_callers_mistake_and_has_a_hint)
{
	ck_refused("file:/nowhere/at/all", ERR_USAGE);
	ck_assert_ptr_nonnull(strstr(err.msg, "file:/nowhere/at/all"));
	ck_assert_str_ne(err.hint, "");
	ck_refused("env:HOLDFAST_TEST_NOT_SET", ERR_USAGE);
	ck_refused("systemd-credential:none", ERR_USAGE);
	ck_refused("plain text", ERR_USAGE);
	ck_assert_ptr_null(strstr(err.msg, "plain text")); /* it may be the secret itself */
}
END_TEST

START_TEST(environment_and_credentials_are_read)
{
	file_ref("from a credential\n", 18);
	ck_assert_int_eq(setenv("HOLDFAST_TEST_SECRET", "from the environment", 1), 0);
	ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
	ck_value("env:HOLDFAST_TEST_SECRET", "from the environment");
	ck_value("systemd-credential:secret", "from a credential");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("secret_ref");
	TCase *tc = tcase_create("secret_ref");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, one_line_feed_at_the_end_of_a_file_does_not_count);
	tcase_add_test(tc, what_is_no_text_is_refused);
	tcase_add_test(tc, a_value_has_a_ceiling);
	tcase_add_test(tc, what_is_not_there_is_the_callers_mistake_and_has_a_hint);
	tcase_add_test(tc, environment_and_credentials_are_read);
	suite_add_tcase(s, tc);

	return suite_main(s);
}
