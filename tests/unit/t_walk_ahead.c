#include "backup/walk_ahead.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "suite.h"

static struct err err;
static char top[64];

static void setup(void)
{
	snprintf(top, sizeof(top), "%s/t_walk_ahead-XXXXXX", access("/dev/shm", W_OK) ? "/var/tmp" : "/dev/shm");
	ck_assert_ptr_nonnull(mkdtemp(top));
}

static void teardown(void)
{
	ck_ok(fs_remove_tree(top, &err));
}

static const char *at(const char *name)
{
	static char path[4][512];
	static unsigned turn;
	char *p = path[turn++ % 4];
	snprintf(p, sizeof(path[0]), "%s/%s", top, name);
	return p;
}

/* Directories of many files, with names so long that batches end by their text, and a socket, which is a note. */
static void make_tree(void)
{
	for (int d = 0; d < 9; d++) {
		char name[300];
		snprintf(name, sizeof(name), "d%d", d);
		ck_assert_int_eq(mkdir(at(name), 0755), 0);
		for (int f = 0; f < 150; f++) {
			snprintf(name, sizeof(name), "d%d/%0*d", d, d % 2 ? 200 : 3, f);
			CLEAN(close_fd) int fd = open(at(name), O_WRONLY | O_CREAT, 0600);
			ck_assert_int_ge(fd, 0);
			ck_assert_int_eq(ftruncate(fd, f), 0);
		}
	}
	ck_assert_int_eq(mknod(at("d4/socket"), S_IFSOCK | 0600, 0), 0);
}

struct seen {
	struct buf text; /* a line for each entry and note */
	uint64_t entries, stop_at;
	pthread_t thread;
};

static int on_entry(void *arg, const struct walk_entry *e, struct err *ret)
{
	struct seen *s = arg;
	char line[600];
	ck_assert(pthread_equal(s->thread, pthread_self()));
	ck_assert_uint_eq(strlen(e->path), e->n_path);
	int n = snprintf(line, sizeof(line), "%s %o %lld %llu\n", e->path, e->st->st_mode, (long long)e->st->st_size, (unsigned long long)e->st->st_ino);
	buf_add(&s->text, line, (size_t)n);
	s->entries++;
	return s->stop_at && s->entries == s->stop_at ? err_set(ret, ERR_NOSPACE, "stopped here") : 0;
}

static int on_note(void *arg, enum note_code code, const char *path, size_t n, struct err *ret)
{
	struct seen *s = arg;
	char line[600];
	(void)ret;
	ck_assert(pthread_equal(s->thread, pthread_self()));
	int k = snprintf(line, sizeof(line), "%s %.*s\n", note_name(code), (int)n, path);
	buf_add(&s->text, line, (size_t)k);
	return 0;
}

static int run(int (*walk)(const struct walk_opts *, struct err *), struct seen *s)
{
	char *roots[] = {top};
	struct walk_opts o = {.roots = roots, .n_roots = 1, .entry = on_entry, .note = on_note, .arg = s};
	buf_clear(&s->text);
	s->entries = 0;
	s->thread = pthread_self();
	return walk(&o, &err);
}

START_TEST(a_walk_ahead_brings_what_the_walk_brings_in_its_order)
{
	struct seen a = {.text = BUF_INIT(4u << 20)}, b = {.text = BUF_INIT(4u << 20)};
	make_tree();
	ck_ok(run(walk_run, &a));
	ck_ok(run(walk_ahead, &b));
	ck_assert_uint_eq(a.entries, 9 * 151 + 1);
	ck_assert_ptr_nonnull(strstr(buf_str(&b.text), "d4/socket"));
	ck_assert_str_eq(buf_str(&a.text), buf_str(&b.text));
	buf_release(&a.text);
	buf_release(&b.text);
}
END_TEST

START_TEST(an_error_of_the_user_ends_the_walk)
{
	struct seen s = {.text = BUF_INIT(4u << 20)};
	make_tree();
	for (s.stop_at = 1; s.stop_at < 1300; s.stop_at += 257) {
		ck_assert_int_eq(run(walk_ahead, &s), -ERR_NOSPACE);
		ck_assert_uint_eq(s.entries, s.stop_at);
		ck_assert_str_eq(err.msg, "stopped here");
	}
	buf_release(&s.text);
}
END_TEST

START_TEST(nothing_below_a_root_that_went_is_a_note)
{
	struct seen s = {.text = BUF_INIT(4u << 20)};
	ck_assert_int_eq(rmdir(top), 0);
	ck_ok(run(walk_ahead, &s));
	ck_assert_uint_eq(s.entries, 0);
	ck_assert_ptr_nonnull(strstr(buf_str(&s.text), note_name(NOTE_VANISHED)));
	buf_release(&s.text);
	ck_assert_int_eq(mkdir(top, 0700), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("walk ahead");
	TCase *c = tcase_create("walk ahead");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, a_walk_ahead_brings_what_the_walk_brings_in_its_order);
	tcase_add_test(c, an_error_of_the_user_ends_the_walk);
	tcase_add_test(c, nothing_below_a_root_that_went_is_a_note);
	suite_add_tcase(suite, c);
	return suite_main(suite);
}
