#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store.h"
#include "place/place.h"
#include "store_conformance.h"
#include "store_rich.h"

/* --- the ways to open a store that all must conform --- */

static int open_file_named_temp(const char *place, struct store **ret, struct err *err)
{
	return store_file_open(place, &(struct store_config){.create = true, .named_temp = true}, ret, err);
}

static int open_url(const char *place, struct store **ret, struct err *err)
{
	char url[256];

	(void)snprintf(url, sizeof url, "file://%s", place);
	return place_open(url, &(struct store_config){.name = "north", .create = true}, ret, err);
}

static int open_trace(const char *place, struct store **ret, struct err *err)
{
	struct store *below;
	int rc = open_file(place, &below, err);

	if (!rc)
		*ret = store_trace_new(below, ignore_line, NULL);
	return rc;
}

static int open_fault(const char *place, struct store **ret, struct err *err)
{
	struct store *below;
	int rc = open_file(place, &below, err);

	return rc ? rc : store_fault_new(below, NULL, ret, err);
}

/* Rules that act on every call and change nothing: all paths of the filter, none of its faults. */
static int open_idle_fault(const char *place, struct store **ret, struct err *err)
{
	static const char *const rules[] = {"get * extend 0", "put * extend 0", "list zz/ drop", NULL};
	struct store *below;
	int rc = store_mem_open(place, &below, err);

	return rc ? rc : store_fault_new(below, rules, ret, err);
}

/* --- filters: what they change or repeat must not show --- */

static int open_throttle(const char *place, struct store **ret, struct err *err)
{
	struct store *below;
	int rc = store_mem_open(place, &below, err);

	if (!rc)
		*ret = store_throttle_new(below, &(struct store_throttle){.rate = UINT64_C(1) << 40, .from_min = -1});
	return rc;
}

static int open_retry(const char *place, struct store **ret, struct err *err)
{
	struct store *below;
	int rc = open_file(place, &below, err);

	if (!rc)
		*ret = store_retry_new(below, NULL);
	return rc;
}

static int open_traced_rich(const char *place, struct store **ret, struct err *err)
{
	struct store *below;
	int rc = store_rich_open(place, &below, err);

	if (!rc)
		*ret = store_trace_new(below, ignore_line, NULL);
	return rc;
}

static void wait_for_nothing(void *arg, int64_t ms)
{
	(void)arg;
	(void)ms;
}

static const struct store_retry at_once = {.wait = wait_for_nothing, .reserve = 1000};

/* Each operation fails now and then, before or after it was done or in the middle; the whole stack of a distant site. */
static int open_shaky(const char *place, struct store **ret, struct err *err)
{
	static const char *const rules[] = {"put * failafter UNREACHABLE times 1", "put * fail UNREACHABLE after 4 times 2",
	        "get * fail BUSY times 1", "get * cut 3 after 1 times 2", "get * cut 70000 after 5 times 3",
	        "stat * fail UNREACHABLE times 2", "stat * failafter UNREACHABLE after 3 times 1",
	        "list * cut 1 times 3", "list * cut 0 after 3 times 1", "remove * failafter UNREACHABLE times 1", "older * cut 2 times 1", "digest * fail BUSY times 1",
	        "lock * failafter UNREACHABLE times 1", "later * failafter UNREACHABLE times 1",
	        "clock * fail UNREACHABLE times 1", NULL};
	struct store *below, *faulty;
	int rc = store_rich_open(place, &below, err);

	if (!rc)
		rc = store_fault_new(below, rules, &faulty, err);
	if (rc)
		return rc;
	faulty = store_throttle_new(faulty, &(struct store_throttle){.rate = UINT64_C(1) << 40, .from_min = -1});
	*ret = store_trace_new(store_retry_new(faulty, &at_once), ignore_line, NULL);
	return 0;
}

static const struct conformance_driver drivers[] = {
        {.name = "file", .open = open_file},
        {.name = "file by url", .open = open_url},
        {.name = "file with named temporaries", .open = open_file_named_temp},
        {.name = "mem", .open = store_mem_open},
        {.name = "trace", .open = open_trace},
        {.name = "fault without rules", .open = open_fault},
        {.name = "fault with idle rules", .open = open_idle_fault},
        {.name = "throttle", .open = open_throttle},
        {.name = "retry", .open = open_retry},
        {.name = "rich", .open = store_rich_open},
        {.name = "trace of rich", .open = open_traced_rich},
        {.name = "a distant site whose link is shaky", .open = open_shaky},
};

static char *path_of(const char *key)
{
	return fs_join(conformance_place(), key);
}

/* --- open --- */

START_TEST(an_unknown_scheme_is_named)
{
	struct store *s;
	struct err err = ERR_INIT;

	ck_assert_int_eq(place_open("gopher://user:secret@host/x", NULL, &s, &err), -ERR_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(err.msg, "'gopher'"));
	ck_assert_ptr_nonnull(strstr(err.msg, "user@host"));
	ck_assert_ptr_null(strstr(err.msg, "secret"));
	ck_assert_ptr_null(s);
	ck_assert_int_eq(place_open("/just/a/path", NULL, &s, &err), -ERR_USAGE);
	ck_assert_int_eq(place_open("file://relative/path", NULL, &s, &err), -ERR_USAGE);
	ck_assert_int_eq(place_open("file:///bad%zz", NULL, &s, &err), -ERR_USAGE);
	ck_assert_int_eq(place_open("file:///nul%00", NULL, &s, &err), -ERR_USAGE);
	ck_assert_int_eq(place_open("fil:///x", NULL, &s, &err), -ERR_UNSUPPORTED);
	ck_assert_int_eq(place_open("mem://", NULL, &s, &err), -ERR_USAGE);
}
END_TEST

START_TEST(a_url_may_escape_bytes_of_a_path)
{
	CLEAN(store_free_ptr) struct store *s = NULL;
	CLEAN(free_ptr) char *path = path_of("with space");
	char url[256];
	struct err err = ERR_INIT;

	(void)snprintf(url, sizeof url, "file://%s/with%%20space", conformance_place());
	must(place_open(url, &(struct store_config){.create = true}, &s, &err), &err);
	ck_assert_str_eq(s->name, url);
	ck_assert(fs_exists(path));
}
END_TEST

START_TEST(a_place_that_is_not_there_is_unreachable_and_not_empty)
{
	struct store *s;
	struct err err = ERR_INIT;

	ck_assert_int_eq(store_file_open(conformance_place(), NULL, &s, &err), -ERR_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(err.hint, "mounted"));
	ck_assert(err.retryable);
}
END_TEST

START_TEST(a_place_that_goes_away_is_unreachable_and_not_empty)
{
	CLEAN(store_free_ptr) struct store *s = new_file();
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	CLEAN(free_ptr) char *away = path_of("../away");
	struct err err = ERR_INIT;
	int n = 0;

	put_text(s, "cfg/0", "x");
	ck_assert_int_eq(rename(conformance_place(), away), 0);
	ck_assert_int_eq(store_list(s, "", NULL, count_key, &n, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(store_get(s, "cfg/1", &b, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(store_put_bytes(s, "cfg/1", "x", 1, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(store_remove(s, "cfg/1", &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(store_sync(s, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(mkdir(conformance_place(), 0700), 0);
	ck_assert_int_eq(store_list(s, "", NULL, count_key, &n, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(store_put_bytes(s, "cfg/1", "x", 1, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(n, 0);
	must(fs_remove_tree(away, &err), &err);
}
END_TEST

START_TEST(errors_name_the_site)
{
	CLEAN(store_free_ptr) struct store *s = NULL;
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct err err = ERR_INIT;

	must(open_url(conformance_place(), &s, &err), &err);
	ck_assert_int_eq(store_get(s, "p/x", &b, &err), -ERR_MISSING);
	ck_assert_str_eq(err.msg, "site north: object p/x is not there");
	ck_assert_int_eq(store_get(s, "p/x", &b, NULL), -ERR_MISSING);
	ck_assert_int_eq(store_put_bytes(s, "p//x", "", 0, NULL), -ERR_FORMAT);
}
END_TEST

/* --- file --- */

START_TEST(objects_are_files_only_their_owner_reads)
{
	CLEAN(store_free_ptr) struct store *s = new_file();
	CLEAN(free_ptr) char *path = NULL, *dir = path_of("p/docs");
	struct stat st;
	struct err err = ERR_INIT;

	(void)umask(0);
	put_text(s, "p/docs/x", "bytes");
	must(store_local_path(s, "p/docs/x", &path, &err), &err);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0400);
	ck_assert_int_eq(st.st_size, 5);
	ck_assert_int_eq(stat(dir, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
}
END_TEST

START_TEST(only_a_file_store_has_local_paths)
{
	struct err err = ERR_INIT;
	CLEAN(store_free_ptr) struct store *trace = store_trace_new(new_file(), ignore_line, NULL);
	CLEAN(store_free_ptr) struct store *mem = new_mem("m");
	char *path;

	ck_assert(!(trace->caps & STORE_LOCAL) && !(mem->caps & STORE_LOCAL));
	ck_assert_int_eq(store_local_path(trace, "a", &path, &err), -ERR_UNSUPPORTED);
	ck_assert_int_eq(store_local_path(mem, "a", &path, &err), -ERR_UNSUPPORTED);
}
END_TEST

START_TEST(the_root_may_be_a_symbolic_link_but_nothing_beneath)
{
	CLEAN(store_free_ptr) struct store *s = NULL;
	CLEAN(free_ptr)
	char *link = path_of("../link"), *out = path_of("../out"), *dir = path_of("d"), *file = path_of("f"),
	     *secret = path_of("../out/secret");
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct store_stat st;
	struct err err = ERR_INIT;

	must(fs_mkdirs(conformance_place(), 0700, &err), &err);
	must(fs_mkdirs(out, 0700, &err), &err);
	must(fs_create(secret, "top", 3, 0600, &err), &err);
	ck_assert_int_eq(symlink(conformance_place(), link), 0);
	ck_assert_int_eq(symlink(out, dir), 0);
	ck_assert_int_eq(symlink(secret, file), 0);
	must(store_file_open(link, NULL, &s, &err), &err);
	ck_assert_int_lt(store_get(s, "d/secret", &b, &err), 0);
	ck_assert_int_eq(err.code, ERR_DENIED);
	ck_assert_int_lt(store_get(s, "f", &b, &err), 0);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_int_lt(store_stat(s, "f", &st, &err), 0);
	ck_assert_int_lt(store_put_bytes(s, "d/new", "x", 1, &err), 0);
	ck_assert_int_lt(store_put_bytes(s, "d/sub/new", "x", 1, &err), 0);
	ck_assert_int_lt(store_remove(s, "d/secret", &err), 0);
	ck_assert_int_eq(store_put_bytes(s, "f", "x", 1, &err), -ERR_EXISTS);
	expect_list(s, "", NULL, "");
	CLEAN(free_ptr) char *new = path_of("../out/new");

	ck_assert(fs_exists(secret) && !fs_exists(new));
	ck_assert_int_eq(unlink(link), 0);
	must(fs_remove_tree(out, &err), &err);
}
END_TEST

START_TEST(what_is_no_object_is_not_listed_or_read)
{
	CLEAN(store_free_ptr) struct store *s = new_file();
	CLEAN(free_ptr)
	char *temp = path_of(".t"), *left = path_of(".t/left"), *odd = path_of("lost+found"),
	     *odd_file = path_of("lost+found/x"), *fifo = path_of("fifo"), *tilde = path_of("a/x~");
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct err err = ERR_INIT;

	put_text(s, "a/x", "1");
	must(fs_mkdirs(temp, 0700, &err), &err);
	must(fs_create(left, "part", 4, 0400, &err), &err);
	must(fs_mkdirs(odd, 0700, &err), &err);
	must(fs_create(odd_file, "x", 1, 0400, &err), &err);
	must(fs_create(tilde, "x", 1, 0400, &err), &err);
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	expect_list(s, "", NULL, "a/x ");
	ck_assert_int_eq(store_get(s, "fifo", &b, &err), -ERR_MISSING);
}
END_TEST

START_TEST(old_remains_of_puts_are_cleared_at_open_and_fresh_ones_left)
{
	CLEAN(store_free_ptr) struct store *s = NULL;
	CLEAN(free_ptr) char *temp = path_of(".t"), *old = path_of(".t/old"), *fresh = path_of(".t/fresh");
	const struct timespec long_ago[2] = {{1000000000, 0}, {1000000000, 0}};
	struct err err = ERR_INIT;

	must(fs_mkdirs(temp, 0700, &err), &err);
	must(fs_create(old, "part", 4, 0400, &err), &err);
	must(fs_create(fresh, "part", 4, 0400, &err), &err);
	ck_assert_int_eq(utimensat(AT_FDCWD, old, long_ago, 0), 0);
	must(open_file(conformance_place(), &s, &err), &err);
	ck_assert(!fs_exists(old));
	ck_assert(fs_exists(fresh));
}
END_TEST

/* A file size limit makes the put's second megabyte fail, as a full disk would. */
static int put_too_much(bool named_temp)
{
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(4 << 20, 1);
	const struct rlimit small = {1 << 20, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};
	struct store_config c = {.create = true, .named_temp = named_temp};
	CLEAN(store_free_ptr) struct store *s = NULL;
	struct err err = ERR_INIT;

	must(store_file_open(conformance_place(), &c, &s, &err), &err);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	int rc = store_put_bytes(s, "p/docs/x", p, 4 << 20, &err);

	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	return rc;
}

START_TEST(a_put_that_fails_half_way_leaves_nothing)
{
	CLEAN(store_free_ptr) struct store *s = new_file();
	CLEAN(free_ptr) char *temp = path_of(".t");

	(void)signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(put_too_much(_i), -ERR_IO);
	expect_missing(s, "p/docs/x");
	expect_list(s, "", NULL, "");
	ck_assert(!fs_exists(temp) || rmdir(temp) == 0);
	put_text(s, "p/docs/x", "whole");
	expect_text(s, "p/docs/x", "whole");
}
END_TEST

static void die_in_put(int named_temp)
{
	const struct rlimit no_core = {0, 0};

	(void)setrlimit(RLIMIT_CORE, &no_core);
	(void)signal(SIGXFSZ, SIG_DFL);
	(void)put_too_much(named_temp);
}

START_TEST(a_process_that_dies_in_a_put_leaves_nothing_visible)
{
	CLEAN(store_free_ptr) struct store *s = new_file();
	int status = in_child(die_in_put, _i);

	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
	expect_missing(s, "p/docs/x");
	expect_list(s, "", NULL, "");
	put_text(s, "p/docs/x", "whole");
	expect_text(s, "p/docs/x", "whole");
}
END_TEST

START_TEST(a_directory_removed_behind_the_store_is_made_again)
{
	CLEAN(store_free_ptr) struct store *s = new_file();
	CLEAN(free_ptr) char *dir = path_of("p/docs"), *top = path_of("p");
	struct err err = ERR_INIT;

	put_text(s, "p/docs/1", "x");
	must(store_remove(s, "p/docs/1", &err), &err);
	ck_assert_int_eq(rmdir(dir), 0);
	put_text(s, "p/docs/2", "x");
	must(fs_remove_tree(top, &err), &err);
	put_text(s, "p/docs/3", "x");
	expect_list(s, "", NULL, "p/docs/3 ");
}
END_TEST

START_TEST(more_directories_than_are_remembered_work)
{
	CLEAN(store_free_ptr) struct store *s = new_file();
	CLEAN(store_keys_release) struct store_keys keys = {0};
	struct err err = ERR_INIT;
	char key[64];

	for (int i = 0; i < 5000; i++) {
		(void)snprintf(key, sizeof key, "w/docs/%d/open", i);
		put_text(s, key, "x");
	}
	must(store_list_all(s, "w/", &keys, &err), &err);
	ck_assert_uint_eq(keys.n, 5000);
}
END_TEST

/* --- lists of a site that lies --- */

static const char *const *lies;

static int lying_list(
        struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err)
{
	int rc = 0;

	(void)s;
	(void)prefix;
	(void)after;
	for (size_t i = 0; lies[i] && !rc; i++)
		rc = fn(arg, lies[i], &(struct store_stat){1, 0}, err);
	return rc;
}

START_TEST(a_list_that_breaks_the_rules_is_refused)
{
	static const char *const lists[][4] = {
	        {"p/b", "p/a"}, {"p/a", "p/a"}, {"q/a"}, {"p/../../etc/passwd"}, {"p/"}, {"p/a", "p/b\n"}, {""}};
	static const struct store_ops ops = {.scheme = "liar", .list = lying_list};
	char name[] = "liar";
	struct store s = {.ops = &ops, .name = name};
	struct store_keys keys;
	struct err err = ERR_INIT;

	lies = lists[_i];
	ck_assert_int_eq(store_list_all(&s, "p/", &keys, &err), -ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(err.msg, "site liar: "));
	ck_assert_ptr_null(keys.key);
	ck_assert_int_eq(store_remove(&s, "p/a", &err), -ERR_UNSUPPORTED);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store");
	TCase *tc = place_case("drivers");

	store_conformance(s, drivers, ARRAY_LEN(drivers));
	suite_add_tcase(s, tc);
	tcase_add_test(tc, an_unknown_scheme_is_named);
	tcase_add_test(tc, a_url_may_escape_bytes_of_a_path);
	tcase_add_test(tc, a_place_that_is_not_there_is_unreachable_and_not_empty);
	tcase_add_test(tc, a_place_that_goes_away_is_unreachable_and_not_empty);
	tcase_add_test(tc, errors_name_the_site);
	tcase_add_test(tc, objects_are_files_only_their_owner_reads);
	tcase_add_test(tc, only_a_file_store_has_local_paths);
	tcase_add_test(tc, the_root_may_be_a_symbolic_link_but_nothing_beneath);
	tcase_add_test(tc, what_is_no_object_is_not_listed_or_read);
	tcase_add_test(tc, old_remains_of_puts_are_cleared_at_open_and_fresh_ones_left);
	tcase_add_loop_test(tc, a_put_that_fails_half_way_leaves_nothing, 0, 2);
	tcase_add_loop_test(tc, a_process_that_dies_in_a_put_leaves_nothing_visible, 0, 2);
	tcase_add_test(tc, a_directory_removed_behind_the_store_is_made_again);
	tcase_add_test(tc, more_directories_than_are_remembered_work);
	tcase_add_loop_test(tc, a_list_that_breaks_the_rules_is_refused, 0, 7);
	return s;
}

int main(void)
{
	return conformance_main(suite());
}
