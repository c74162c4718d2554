/*
 * For tests of what comes back: a repository, a target directory, and beside it a directory that nothing may touch. err
 * holds the last failure.
 */
#ifndef TESTS_UNIT_RESTORE_FIXTURE_H
#define TESTS_UNIT_RESTORE_FIXTURE_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/proc.h"
#include "restore/restore.h"
#include "repo_fixture.h"
#include "repo_random.h"
#include "suite.h"

#define MIB ((size_t)1 << 20)
/* clang-format off */
#define FILE_(p, text) {.path = p, .mode = S_IFREG | 0644, .content = text, .n = sizeof text - 1, .mtime = 1700000000}
#define DIR_(p) {.path = p, .mode = S_IFDIR | 0755, .mtime = 1700000001}
#define LINK_(p, to) {.path = p, .mode = S_IFLNK | 0777, .link = to, .mtime = 1700000002}
#define HARD_(p, first) {.path = p, .hardlink = first}
/* clang-format on */

static struct err err;
static struct fixture f;
static char out[96], canary[96];
static struct reader *reader;
static const struct snapshot *snap;
static struct restore_opts opts;
static struct restore_stats stats;
static struct manifest_result manifest;

static inline void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fs_write_full(fd, text, strlen(text)), 0);
	close(fd);
}

static inline void start(size_t sites, bool on_disk)
{
	char path[128];
	struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};

	log_set(LOG_ERROR, false);
	umask(022);
	fixture_init(&f, sites, on_disk);
	snprintf(out, sizeof out, "%s/out", f.dir);
	snprintf(canary, sizeof canary, "%s/canary", f.dir);
	snprintf(path, sizeof path, "%s/x", canary);
	ck_assert_int_eq(mkdir(out, 0700), 0);
	ck_assert_int_eq(mkdir(canary, 0750), 0);
	write_file(path, "untouched");
	ck_assert_int_eq(utimensat(AT_FDCWD, path, old, 0), 0);
	ck_assert_int_eq(utimensat(AT_FDCWD, canary, old, 0), 0);
	opts = (struct restore_opts){.to = out};
}

static inline void setup(void)
{
	start(1, false);
}

static inline void setup_disk(void)
{
	start(2, true);
}

static inline void setup_two(void)
{
	start(2, false);
}

static inline void close_reader(void)
{
	reader_close(reader);
	reader = NULL;
}

static inline void teardown(void)
{
	close_reader();
	fixture_release(&f);
}

static inline void check_canary(void)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(100);
	char path[128];
	struct stat st;
	struct dirent *e;
	unsigned names = 0;
	DIR *d = opendir(canary);

	while ((e = readdir(d)))
		names += e->d_name[0] != '.';
	closedir(d);
	ck_assert_uint_eq(names, 1);
	snprintf(path, sizeof path, "%s/x", canary);
	ck_ok(fs_read(path, &b, &err));
	ck_assert_str_eq(buf_str(&b), "untouched");
	ck_assert_int_eq(lstat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0644);
	ck_assert_uint_eq(st.st_nlink, 1);
	ck_assert_int_eq(st.st_mtim.tv_sec, 1000000000);
	ck_assert_int_eq(lstat(canary, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 0750);
	ck_assert_int_eq(st.st_mtim.tv_sec, 1000000000);
}

static inline void back_up(const struct fixture_entry *e, size_t n)
{
	fixture_backup(&f, e, n);
	close_reader();
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
}

static inline void restore(void)
{
	ck_ok(restore_tree(reader, snap, &opts, &stats, &err));
}

static inline void check_manifest(void)
{
	ck_ok(restore_manifest(reader, snap, &opts, &manifest, &err));
}

static inline void check_clean(void)
{
	check_manifest();
	ck_assert_msg(!manifest.wrong, "%s", manifest.first_wrong);
}

static inline const char *at(const char *path)
{
	static char full[8][5000];
	static unsigned n;

	n = (n + 1) % 8;
	ck_assert_int_lt(snprintf(full[n], sizeof full[n], "%s/%s", out, path), (int)sizeof full[n]);
	return full[n];
}

static inline struct stat stat_at(const char *path)
{
	struct stat st;

	ck_assert_msg(!lstat(at(path), &st), "%s: %s", path, strerror(errno));
	return st;
}

static inline bool there(const char *path)
{
	struct stat st;

	return !lstat(at(path), &st);
}

static inline void content_is(const char *path, const void *p, size_t n)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64 * MIB);

	ck_ok(fs_read(at(path), &b, &err));
	ck_assert_uint_eq(b.len, n);
	ck_assert_int_eq(memcmp(b.p, p, n), 0);
}

static inline void run_in(const char *cwd, const char *const *argv)
{
	struct proc_result r;
	struct proc_opts o = {.cwd = cwd, .stdin_fd = -1};

	proc_result_init(&r, 4096);
	ck_ok(proc_run(argv, &o, &r, &err));
	ck_assert_msg(!r.status, "%s: %s%s", argv[0], buf_str(&r.out), buf_str(&r.err));
	proc_result_release(&r);
}

static inline unsigned char *random_bytes(size_t n, uint64_t seed)
{
	unsigned char *p = xmalloc(n);

	fill_random(p, n, &seed);
	return p;
}

static const struct fixture_entry tree[] __attribute__((unused)) = {
        DIR_("etc"),
        DIR_("etc/ca"),
        FILE_("etc/ca/key", "secret"),
        FILE_("etc/ca/name", "first"),
        LINK_("etc/ca/sym", "key"),
        FILE_("etc/ca.conf", "beside"),
        DIR_("srv"),
        HARD_("srv/again", "etc/ca/name"),
        FILE_("srv/data", "payload"),
        HARD_("srv/more", "etc/ca/name"),
        HARD_("srv/sym2", "etc/ca/sym"),
};
#define TREE_N (sizeof tree / sizeof *tree)

static inline TCase *group(Suite *s, const char *name, void (*begin)(void))
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, begin, teardown);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return t;
}

#endif
