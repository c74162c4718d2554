#include "repo/restore.h"

#include <acl/libacl.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/acl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/proc.h"
#include "repo_fixture.h"
#include "repo_random.h"

#define MIB ((size_t)1 << 20)
#define FILE_(p, text) {.path = p, .mode = S_IFREG | 0644, .content = text, .n = sizeof text - 1, .mtime = 1700000000}
#define DIR_(p) {.path = p, .mode = S_IFDIR | 0755, .mtime = 1700000001}
#define LINK_(p, to) {.path = p, .mode = S_IFLNK | 0777, .link = to, .mtime = 1700000002}
#define HARD_(p, first) {.path = p, .hardlink = first}

static struct err err;
static struct fixture f;
static char out[96], canary[96];
static struct reader *reader;
static const struct snapshot *snap;
static struct restore_opts opts;
static struct restore_stats stats;
static struct manifest_result manifest;

#define ck_ok(call) ck_assert_msg((call) == 0, "%s: %s", #call, err.msg)
#define ck_fails(call, with) ck_assert_int_eq(call, -(int)(with))

/* --- set-up: one site, a target, and beside it a directory that nothing may touch --- */

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fs_write_full(fd, text, strlen(text)), 0);
	close(fd);
}

static void start(size_t sites, bool on_disk)
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

static void setup(void)
{
	start(1, false);
}

static void setup_disk(void)
{
	start(2, true);
}

static void setup_two(void)
{
	start(2, false);
}

static void close_reader(void)
{
	reader_close(reader);
	reader = NULL;
}

static void teardown(void)
{
	close_reader();
	fixture_release(&f);
}

static void check_canary(void)
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

static void back_up(const struct fixture_entry *e, size_t n)
{
	fixture_backup(&f, e, n);
	close_reader();
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
}

static void restore(void)
{
	ck_ok(restore_tree(reader, snap, &opts, &stats, &err));
}

static void check_manifest(void)
{
	ck_ok(restore_manifest(reader, snap, &opts, &manifest, &err));
}

static void check_clean(void)
{
	check_manifest();
	ck_assert_msg(!manifest.wrong, "%s", manifest.first_wrong);
}

static const char *at(const char *path)
{
	static char full[8][5000];
	static unsigned n;

	n = (n + 1) % 8;
	snprintf(full[n], sizeof full[n], "%s/%s", out, path);
	return full[n];
}

static struct stat stat_at(const char *path)
{
	struct stat st;

	ck_assert_msg(!lstat(at(path), &st), "%s: %s", path, strerror(errno));
	return st;
}

static bool there(const char *path)
{
	struct stat st;

	return !lstat(at(path), &st);
}

static void content_is(const char *path, const void *p, size_t n)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64 * MIB);

	ck_ok(fs_read(at(path), &b, &err));
	ck_assert_uint_eq(b.len, n);
	ck_assert_int_eq(memcmp(b.p, p, n), 0);
}

static void run_in(const char *cwd, const char *const *argv)
{
	struct proc_result r;
	struct proc_opts o = {.cwd = cwd, .stdin_fd = -1};

	proc_result_init(&r, 4096);
	ck_ok(proc_run(argv, &o, &r, &err));
	ck_assert_msg(!r.status, "%s: %s%s", argv[0], buf_str(&r.out), buf_str(&r.err));
	proc_result_release(&r);
}

static unsigned char *random_bytes(size_t n, uint64_t seed)
{
	unsigned char *p = xmalloc(n);

	fill_random(p, n, &seed);
	return p;
}

/* --- what comes back --- */

START_TEST(every_type_comes_back_with_all_its_metadata)
{
	const struct fixture_entry e[] = {
		{.path = "d", .mode = S_IFDIR | 01777, .uid = 7, .gid = 8, .mtime = 1600000000, .mtime_ns = 987654321},
		{.path = "d/empty", .mode = S_IFREG | 0600, .mtime = 1},
		{.path = "d/file", .mode = S_IFREG | 0640, .content = "hello", .n = 5, .uid = 1234, .gid = 4321, .mtime = 1500000000, .mtime_ns = 123456789},
		HARD_("d/hard", "d/file"),
		{.path = "d/link", .mode = S_IFLNK | 0777, .link = "/nowhere/at all", .uid = 5, .gid = 6, .mtime = 1400000000},
		{.path = "d/suid", .mode = S_IFREG | 06755, .content = "#!", .n = 2, .uid = 9, .gid = 10},
		{.path = "locked", .mode = S_IFDIR | 0500, .mtime = 1300000000},
		FILE_("locked/inside", "in"),
		{.path = "pipe", .mode = S_IFIFO | 0622, .uid = 3, .mtime = 1200000000},
		{.path = "tty", .mode = S_IFCHR | 0620, .rdev = makedev(5, 1), .gid = 5},
		{.path = "disk", .mode = S_IFBLK | 0660, .rdev = makedev(259, 70000)},
	};
	struct stat st;
	char to[64] = "";

	opts.full_metadata = true;
	umask(077);
	back_up(e, sizeof e / sizeof *e);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	ck_assert_uint_eq(stats.files, 4);
	ck_assert_uint_eq(stats.dirs, 2);
	ck_assert_uint_eq(stats.links, 2);
	ck_assert_uint_eq(stats.others, 3);
	ck_assert_uint_eq(stats.bytes, 9);
	st = stat_at("d");
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 01777);
	ck_assert_uint_eq(st.st_uid, 7);
	ck_assert_uint_eq(st.st_gid, 8);
	ck_assert_int_eq(st.st_mtim.tv_sec, 1600000000);
	ck_assert_int_eq(st.st_mtim.tv_nsec, 987654321);
	st = stat_at("d/file");
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
	ck_assert_uint_eq(st.st_nlink, 2);
	ck_assert_uint_eq(st.st_uid, 1234);
	ck_assert_uint_eq(st.st_gid, 4321);
	ck_assert_int_eq(st.st_mtim.tv_sec, 1500000000);
	ck_assert_int_eq(st.st_mtim.tv_nsec, 123456789);
	ck_assert_uint_eq(stat_at("d/hard").st_ino, st.st_ino);
	content_is("d/hard", "hello", 5);
	st = stat_at("d/link");
	ck_assert(S_ISLNK(st.st_mode));
	ck_assert_uint_eq(st.st_uid, 5);
	ck_assert_int_eq(st.st_mtim.tv_sec, 1400000000);
	ck_assert_int_eq(readlink(at("d/link"), to, sizeof to - 1), 15);
	ck_assert_str_eq(to, "/nowhere/at all");
	ck_assert_uint_eq(stat_at("d/suid").st_mode, S_IFREG | 06755);
	ck_assert_uint_eq(stat_at("locked").st_mode, S_IFDIR | 0500);
	ck_assert_int_eq(stat_at("locked").st_mtim.tv_sec, 1300000000);
	st = stat_at("pipe");
	ck_assert_uint_eq(st.st_mode, S_IFIFO | 0622);
	ck_assert_int_eq(st.st_mtim.tv_sec, 1200000000);
	ck_assert_uint_eq(stat_at("tty").st_mode, S_IFCHR | 0620);
	ck_assert_uint_eq(stat_at("tty").st_rdev, makedev(5, 1));
	ck_assert_uint_eq(stat_at("disk").st_rdev, makedev(259, 70000));
	check_clean();
	ck_assert_uint_eq(manifest.entries, 11);
	ck_assert_uint_eq(manifest.files, 4);
	ck_assert_uint_eq(manifest.bytes, 9);
}
END_TEST

START_TEST(safe_metadata_leave_out_owners_set_id_and_devices)
{
	const struct fixture_entry e[] = {
		{.path = "d", .mode = S_IFDIR | 02775, .uid = 7},
		{.path = "d/suid", .mode = S_IFREG | 06755, .content = "#!", .n = 2, .uid = 9, .mtime = 1111111111, .xattr = "user.note", .xattr_value = "v"},
		{.path = "tty", .mode = S_IFCHR | 0620, .rdev = makedev(5, 1)},
		{.path = "wide", .mode = S_IFREG | 0666, .content = "w", .n = 1},
	};
	char v[8];

	umask(077);
	back_up(e, 4);
	restore();
	ck_assert_uint_eq(stats.skipped, 1);
	ck_assert_ptr_nonnull(strstr(stats.first_skipped, "tty: devices are made with full metadata only"));
	ck_assert_uint_eq(stat_at("d").st_mode, S_IFDIR | 0775);
	ck_assert_uint_eq(stat_at("d").st_uid, geteuid());
	ck_assert_uint_eq(stat_at("d/suid").st_mode, S_IFREG | 0755);
	ck_assert_uint_eq(stat_at("d/suid").st_uid, geteuid());
	ck_assert_int_eq(stat_at("d/suid").st_mtim.tv_sec, 1111111111);
	ck_assert_int_eq(lgetxattr(at("d/suid"), "user.note", v, sizeof v), -1);
	ck_assert_uint_eq(stat_at("wide").st_mode, S_IFREG | 0666);
	ck_assert(!there("tty"));
	check_clean();
}
END_TEST

START_TEST(attributes_and_access_lists_come_back)
{
	static const char acl[] = "user::rw-,user:1234:r--,group::r--,mask::r--,other::---", dacl[] = "user::rwx,group::r-x,group:77:rwx,mask::rwx,other::---";
	static const struct fixture_entry e[] = {
		{.path = "d", .mode = S_IFDIR | 0750, .acl_default = dacl, .xattr = "user.dir", .xattr_value = "of a directory"},
		{.path = "d/listed", .mode = S_IFREG | 0640, .content = "a", .n = 1, .acl = acl},
		{.path = "d/noted", .mode = S_IFREG | 0440, .content = "b", .n = 1, .xattr = "user.note", .xattr_value = "kept", .uid = 5},
		{.path = "d/trusted", .mode = S_IFLNK | 0777, .link = "noted", .xattr = "trusted.note", .xattr_value = "on a link"},
	};
	char v[32] = "";
	acl_t have;

	opts.full_metadata = true;
	back_up(e, 4);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	ck_assert_int_eq(lgetxattr(at("d/noted"), "user.note", v, sizeof v), 4);
	ck_assert_str_eq(v, "kept");
	ck_assert_int_eq(lgetxattr(at("d"), "user.dir", v, sizeof v), 14);
	ck_assert_int_eq(lgetxattr(at("d/trusted"), "trusted.note", v, sizeof v), 9);
	have = acl_get_file(at("d/listed"), ACL_TYPE_ACCESS);
	ck_assert_int_eq(acl_entries(have), 5);
	acl_free(have);
	have = acl_get_file(at("d/noted"), ACL_TYPE_ACCESS); /* nothing inherited: the default list came last */
	ck_assert_int_eq(acl_entries(have), 3);
	acl_free(have);
	have = acl_get_file(at("d"), ACL_TYPE_DEFAULT);
	ck_assert_int_eq(acl_entries(have), 5);
	acl_free(have);
	check_clean();
}
END_TEST

START_TEST(what_a_target_hands_down_is_taken_away_with_full_metadata)
{
	static const struct fixture_entry e[] = {DIR_("d"), FILE_("d/a", "x"), FILE_("b", "y")};
	acl_t list = acl_from_text("u::rwx,u:99:rwx,g::r-x,m::rwx,o::---");

	ck_assert_int_eq(acl_set_file(out, ACL_TYPE_DEFAULT, list), 0);
	acl_free(list);
	opts.full_metadata = true;
	back_up(e, 3);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	for (const char *const *p = (const char *const[]){"d", "d/a", "b", NULL}; *p; p++) {
		list = acl_get_file(at(*p), ACL_TYPE_ACCESS);
		ck_assert_msg(acl_entries(list) == 3, "%s", *p);
		acl_free(list);
	}
	check_clean();
}
END_TEST

START_TEST(sparse_files_keep_their_holes)
{
	static const struct pax_extent x[] = {{0, 512}, {8 << 20, 4096}, {(8 << 20) + 65536, 1000}};
	CLEAN(free_ptr) unsigned char *p = random_bytes(5608, 1), *whole = xcalloc(16, MIB);
	struct fixture_entry e[] = {
		{.path = "s", .mode = S_IFREG | 0600, .content = p, .n = 5608, .size = (8 << 20) + 66536, .extents = x, .n_extents = 3},
		{.path = "t", .mode = S_IFREG | 0600, .size = 1 << 30, .extents = (const struct pax_extent[]){{1 << 30, 0}}, .n_extents = 1},
		FILE_("u", "behind them"),
	};
	char sums[128];

	snprintf(sums, sizeof sums, "%s/sums", f.dir);
	opts.digests = sums;
	back_up(e, 3);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	memcpy(whole, p, 512);
	memcpy(whole + (8 << 20), p + 512, 4096);
	memcpy(whole + (8 << 20) + 65536, p + 4608, 1000);
	content_is("s", whole, (8 << 20) + 66536);
	ck_assert_int_lt(stat_at("s").st_blocks, 200);
	ck_assert_int_eq(stat_at("t").st_size, 1 << 30);
	ck_assert_int_lt(stat_at("t").st_blocks, 200);
	content_is("u", "behind them", 11);
	check_clean();
	run_in(out, (const char *const[]){"sha256sum", "--strict", "-c", sums, NULL});
}
END_TEST

START_TEST(content_of_many_chunks_comes_back)
{
	enum { BIG = 24 << 20, SMALL = 700 };
	CLEAN(free_ptr) unsigned char *p = random_bytes(BIG, 2);
	static char name[SMALL][16];
	struct fixture_entry e[SMALL + 2] = {{.path = "big", .mode = S_IFREG | 0600, .content = p, .n = BIG}};

	for (int i = 0; i < SMALL; i++) {
		snprintf(name[i], sizeof name[i], "s%05d", i);
		e[i + 1] = (struct fixture_entry){.path = name[i], .mode = S_IFREG | 0600, .content = p + 1000 * i, .n = (size_t)(37 * i)};
	}
	e[SMALL + 1] = (struct fixture_entry){.path = "t", .mode = S_IFREG | 0600, .content = p + 1, .n = LARGE_FILE};
	back_up(e, SMALL + 2);
	restore();
	ck_assert_uint_eq(stats.files, SMALL + 2);
	content_is("big", p, BIG);
	content_is("t", p + 1, LARGE_FILE);
	for (int i = 0; i < SMALL; i += 53)
		content_is(name[i], p + 1000 * i, (size_t)(37 * i));
	ck_assert_int_gt(stats.first_byte_ns, 0);
	check_clean();
	ck_assert_uint_eq(manifest.bytes, stats.bytes);
	ck_assert_uint_gt(manifest.chunks, 20);
}
END_TEST

START_TEST(metadata_of_more_directories_than_fit_memory_are_set)
{
	enum { N = 45000 };
	static char path[250] = "d/";
	struct fixture_run run;
	CLEAN(buf_release) struct buf dir = BUF_INIT(MIB), link = BUF_INIT(MIB);

	memset(path + 2, 'n', 200);
	fixture_begin(&f, &run);
	fixture_add(&run, &(struct fixture_entry)DIR_("d"));
	fixture_record(&(struct fixture_entry){.path = path, .mode = S_IFDIR | 0711, .mtime = 1234567890}, &dir);
	for (int i = 0; i < N; i++)
		fixture_add_raw(&run, path, dir.p, dir.len, NULL, 0);
	path[0] = 'e';
	fixture_record(&(struct fixture_entry)LINK_(path, "target"), &link);
	fixture_add_raw(&run, path, link.p, link.len, NULL, 0);
	ck_ok(fixture_commit(&run, &err));
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	ck_assert_uint_eq(stats.dirs, N + 1);
	ck_assert_uint_eq(stats.links, 1);
	path[0] = 'd';
	ck_assert_uint_eq(stat_at(path).st_mode, S_IFDIR | 0711);
	ck_assert_int_eq(stat_at(path).st_mtim.tv_sec, 1234567890);
	check_clean(); /* and no temporary file is left */
}
END_TEST

/* --- which, and where to --- */

static const struct fixture_entry tree[] = {
	DIR_("etc"), DIR_("etc/ca"), FILE_("etc/ca/key", "secret"), FILE_("etc/ca/name", "first"), LINK_("etc/ca/sym", "key"), FILE_("etc/ca.conf", "beside"),
	DIR_("srv"), HARD_("srv/again", "etc/ca/name"), FILE_("srv/data", "payload"), HARD_("srv/more", "etc/ca/name"), HARD_("srv/sym2", "etc/ca/sym"),
};
#define TREE_N (sizeof tree / sizeof *tree)

START_TEST(selected_paths_come_back_with_what_lies_below)
{
	opts.paths = (const char *const[]){"/etc/ca/", "srv/data", NULL};
	back_up(tree, TREE_N);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	content_is("etc/ca/key", "secret", 6);
	content_is("srv/data", "payload", 7);
	ck_assert(!there("etc/ca.conf"));
	ck_assert(!there("srv/more"));
	ck_assert_uint_eq(stat_at("etc").st_mode, S_IFDIR | 0700);
	ck_assert_uint_eq(stat_at("etc/ca").st_mode, S_IFDIR | 0755);
	check_clean();
	ck_assert_uint_eq(manifest.entries, 5);
}
END_TEST

START_TEST(paths_are_stripped_and_put_elsewhere)
{
	opts.strip = 1;
	opts.as = "new/root";
	back_up(tree, TREE_N);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	content_is("new/root/ca/key", "secret", 6);
	content_is("new/root/data", "payload", 7);
	ck_assert_uint_eq(stat_at("new/root/more").st_ino, stat_at("new/root/ca/name").st_ino);
	ck_assert_uint_eq(stats.dirs, 1);
	check_clean();
	ck_assert_uint_eq(manifest.entries, TREE_N - 2);
	opts.as = "../canary";
	ck_fails(restore_tree(reader, snap, &opts, &stats, &err), ERR_USAGE);
	check_canary();
}
END_TEST

START_TEST(hard_links_without_their_first_name_get_its_content)
{
	opts.paths = (const char *const[]){"srv", NULL};
	back_up(tree, TREE_N);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	content_is("srv/again", "first", 5);
	ck_assert_uint_eq(stat_at("srv/again").st_nlink, 2);
	ck_assert_uint_eq(stat_at("srv/again").st_ino, stat_at("srv/more").st_ino);
	ck_assert(S_ISLNK(stat_at("srv/sym2").st_mode));
	ck_assert_int_eq(stat_at("srv").st_mtim.tv_sec, 1700000001);
	check_clean();
	opts.strip = 2; /* now the first name is stripped away altogether */
	opts.paths = NULL;
	opts.as = "flat";
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	content_is("flat/name", "first", 5);
}
END_TEST

START_TEST(hard_links_to_symbolic_links_are_made)
{
	back_up(tree, TREE_N);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	ck_assert_uint_eq(stats.links, 4);
	ck_assert_uint_eq(stat_at("etc/ca/sym").st_ino, stat_at("srv/sym2").st_ino);
	ck_assert_uint_eq(stat_at("etc/ca/name").st_nlink, 3);
	check_clean();
}
END_TEST

START_TEST(a_path_that_selects_nothing_is_an_error)
{
	opts.paths = (const char *const[]){"srv", "etc/c", NULL};
	back_up(tree, TREE_N);
	ck_fails(restore_tree(reader, snap, &opts, &stats, &err), ERR_MISSING);
	ck_assert_ptr_nonnull(strstr(err.msg, "etc/c"));
	ck_assert(restore_selected("a/b", NULL));
	ck_assert(restore_selected("a/b", (const char *const[]){"x", "/a/", NULL}));
	ck_assert(!restore_selected("ab", (const char *const[]){"a", NULL}));
	ck_assert(restore_selected("ab", (const char *const[]){"/", NULL}));
}
END_TEST

/* --- what is there already --- */

START_TEST(existing_names_stay_without_overwrite)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(100);

	ck_ok(fs_mkdirs(at("etc/ca"), 0755, &err));
	write_file(at("etc/ca/name"), "mine, and other than recorded");
	ck_assert_int_eq(symlink("mine", at("etc/ca/sym")), 0);
	back_up(tree, TREE_N);
	restore();
	ck_assert_uint_eq(stats.skipped, 2);
	ck_assert_ptr_nonnull(strstr(stats.first_skipped, "etc/ca/name: exists already"));
	ck_ok(fs_read(at("etc/ca/name"), &b, &err));
	ck_assert_uint_eq(b.len, 29);
	content_is("srv/again", "first", 5); /* not a link to what was there */
	ck_assert_uint_eq(stat_at("srv/again").st_ino, stat_at("srv/more").st_ino);
	ck_assert_uint_ne(stat_at("srv/sym2").st_ino, stat_at("etc/ca/sym").st_ino);
	ck_assert_int_eq(readlink(at("srv/sym2"), (char[8]){0}, 8), 3);
	check_manifest();
	ck_assert_uint_eq(manifest.wrong, 5);
}
END_TEST

START_TEST(existing_names_are_replaced_with_overwrite)
{
	char x[128];

	snprintf(x, sizeof x, "%s/x", canary);
	ck_assert_int_eq(mkdir(at("etc"), 0700), 0);
	ck_assert_int_eq(symlink(canary, at("etc/ca")), 0); /* where a directory belongs */
	ck_assert_int_eq(symlink(x, at("etc/ca.conf")), 0); /* where a file belongs */
	ck_assert_int_eq(link(x, at("srv")), 0);
	opts.overwrite = true;
	back_up(tree, TREE_N);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	check_clean();
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	check_clean();
	check_canary();
}
END_TEST

START_TEST(a_directory_in_the_way_is_told_and_stays)
{
	static const struct fixture_entry e[] = {FILE_("a", "1"), LINK_("b", "a"), FILE_("c", "3"), HARD_("d", "a")};

	ck_ok(fs_mkdirs(at("a/full"), 0755, &err));
	ck_ok(fs_mkdirs(at("b"), 0755, &err));
	opts.overwrite = true;
	back_up(e, 4);
	restore();
	ck_assert_uint_eq(stats.skipped, 2);
	ck_assert_ptr_nonnull(strstr(stats.first_skipped, "a: a directory is in the way"));
	ck_assert(there("a/full"));
	content_is("c", "3", 1);
	content_is("d", "1", 1);
}
END_TEST

START_TEST(digests_are_what_sha256sum_checks)
{
	static const struct fixture_entry e[] = {
		FILE_("back\\slash", "1"), DIR_("d"), FILE_("d/line\nfeed", "2"), FILE_("d/return\r", "3"), FILE_("d/ plain ", "4"), {.path = "empty", .mode = S_IFREG | 0600}, HARD_("hard", "empty")};
	CLEAN(buf_release) struct buf b = BUF_INIT(MIB);
	CLEAN(free_ptr) char *sums = xstrdup(at("SHA256SUMS"));

	opts.digests = sums;
	back_up(e, 7);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	run_in(out, (const char *const[]){"sha256sum", "--strict", "-c", "SHA256SUMS", NULL});
	run_in(out, (const char *const[]){"sh", "-c", "find . -type f ! -name SHA256SUMS -print0 | sed -z s,^./,, | xargs -0 sha256sum | sed 's/^\\\\*//' | sort | uniq -w 64 >../want && sed 's/^\\\\*//' SHA256SUMS | sort >../have && cut -c 1-64 ../want >../w && cut -c 1-64 ../have | cmp ../w", NULL});
	ck_ok(fs_read(sums, &b, &err));
	ck_assert_ptr_nonnull(strstr(buf_str(&b), "  back\\\\slash\n"));
	ck_assert_ptr_nonnull(strstr(buf_str(&b), "  d/line\\nfeed\n"));
	check_clean(); /* the list itself is none too many */
}
END_TEST

static atomic_bool stop;
static void stop_at_two(void *arg, uint64_t files, uint64_t bytes)
{
	*(uint64_t *)arg = bytes;
	if (files == 2)
		stop = true;
}

START_TEST(a_restore_can_be_cancelled_and_tells_its_progress)
{
	uint64_t seen = 0;

	opts.cancel = &stop;
	opts.progress = stop_at_two;
	opts.arg = &seen;
	back_up(tree, TREE_N);
	ck_fails(restore_tree(reader, snap, &opts, &stats, &err), ERR_CANCELLED);
	ck_assert_uint_eq(stats.files, 2);
	ck_assert_uint_eq(seen, 11);
}
END_TEST

/* --- streams and archives --- */

START_TEST(a_command_output_comes_back_as_a_stream)
{
	CLEAN(free_ptr) unsigned char *p = random_bytes(3 * MIB, 3);
	struct fixture_entry e[] = {{.path = "dump.sql", .mode = S_IFREG | 0600, .content = p, .n = 3 * MIB}};
	CLEAN(close_fd) int fd = open(at("stream"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	uint64_t n;

	back_up(e, 1);
	ck_ok(restore_stream(reader, snap, fd, &n, &err));
	ck_assert_uint_eq(n, 3 * MIB);
	content_is("stream", p, 3 * MIB);
	back_up(tree, TREE_N);
	ck_fails(restore_stream(reader, snap, fd, &n, &err), ERR_USAGE);
}
END_TEST

static void tar_of(const char *const *paths)
{
	CLEAN(free_ptr) char *name = xstrdup(at("../a.tar"));
	CLEAN(close_fd) int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct stat st;
	uint64_t n;

	ck_ok(restore_tar(reader, snap, paths, fd, NULL, &n, &err));
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(n, (uint64_t)st.st_size);
	ck_assert_uint_eq(n % 512, 0);
	run_in(out, (const char *const[]){"tar", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-xpf", name, NULL});
}

START_TEST(gnu_tar_extracts_the_archive)
{
	static const struct pax_extent x[] = {{4096, 512}, {1 << 20, 100}};
	CLEAN(free_ptr) unsigned char *p = random_bytes(2 * MIB, 4);
	char name[260] = "";
	struct fixture_entry e[] = {
		{.path = "d", .mode = S_IFDIR | 0750, .uid = 3, .gid = 4},
		{.path = "d/big", .mode = S_IFREG | 04711, .content = p, .n = 2 * MIB - 77, .uid = 1000, .xattr = "user.k", .xattr_value = "v"},
		{.path = "d/fifo", .mode = S_IFIFO | 0600},
		HARD_("d/hard", "d/big"),
		{.path = "d/holes", .mode = S_IFREG | 0600, .content = p, .n = 612, .size = (1 << 20) + 100, .extents = x, .n_extents = 2},
		LINK_("d/link", "big"),
		FILE_("d/odd\nname\033[1m", "x"),
		{.path = name, .mode = S_IFREG | 0644, .content = "long", .n = 4},
	};

	memset(name, 'n', 255);
	opts.full_metadata = true;
	back_up(e, 8);
	tar_of(NULL);
	check_clean();
	ck_assert_uint_eq(manifest.entries, 8);
}
END_TEST

START_TEST(an_archive_of_some_paths_holds_what_their_hard_links_lead_to)
{
	static const struct fixture_entry e[] = {
		{.path = "a", .mode = S_IFREG | 0640, .content = "first", .n = 5, .uid = 42, .mtime = 1222222222}, DIR_("b"), HARD_("b/one", "a"), HARD_("b/two", "a"), FILE_("b/z", "last")};

	opts.paths = (const char *const[]){"b", NULL};
	opts.full_metadata = true;
	back_up(e, 5);
	tar_of(opts.paths);
	ck_assert(!there("a"));
	content_is("b/one", "first", 5);
	ck_assert_uint_eq(stat_at("b/one").st_ino, stat_at("b/two").st_ino);
	ck_assert_uint_eq(stat_at("b/one").st_uid, 42);
	ck_assert_int_eq(stat_at("b/one").st_mtim.tv_sec, 1222222222);
	check_clean();
	ck_assert_uint_eq(manifest.entries, 4);
}
END_TEST

/* --- hostile snapshots --- */

#define N_HOSTILE_MAX 5
static const struct hostile {
	struct fixture_entry e[N_HOSTILE_MAX]; /* @ in front of a name: the directory that nothing may touch */
	unsigned skipped; /* at least */
	const char *made; /* a name that is there nevertheless */
} hostile[] = {
	{{FILE_("../evil", "x")}, 1, NULL},
	{{FILE_("..", "x")}, 1, NULL},
	{{FILE_(".", "x")}, 1, NULL},
	{{FILE_("a/../../canary/evil", "x")}, 1, NULL},
	{{DIR_("a"), FILE_("a/..", "x"), FILE_("b", "y")}, 1, "b"},
	{{FILE_("./a", "x")}, 1, NULL},
	{{FILE_("a/./b", "x")}, 1, NULL},
	{{FILE_("a//b", "x")}, 1, NULL},
	{{FILE_("/evil-absolute", "x")}, 1, NULL},
	{{FILE_("@/evil", "x")}, 1, NULL},
	{{DIR_("../canary")}, 1, NULL},
	{{{.path = "../canary", .mode = S_IFDIR | 0777}}, 1, NULL},
	{{LINK_("../evil", "x")}, 1, NULL},
	{{{.path = "../evil", .mode = S_IFIFO | 0600}}, 1, NULL},
	{{HARD_("../evil", "a")}, 1, NULL},
	{{LINK_("l", "@"), FILE_("l/evil", "x")}, 1, "l/evil"},
	{{LINK_("l", "../canary"), FILE_("l/evil", "x")}, 1, "l/evil"},
	{{LINK_("l", ".."), FILE_("l/canary/evil", "x")}, 1, NULL},
	{{LINK_("l", "@"), DIR_("l"), FILE_("l/evil", "x")}, 1, "l/evil"},
	{{DIR_("l"), LINK_("l", "@"), FILE_("l/evil", "x")}, 1, "l/evil"},
	{{LINK_("l", "@"), {.path = "l", .mode = S_IFDIR | 0777}}, 1, "l"},
	{{DIR_("d"), LINK_("d/l", "@"), DIR_("d/l"), DIR_("d/l/sub")}, 1, "d/l/sub"},
	{{LINK_("l", "@"), LINK_("l/evil", "x")}, 1, NULL},
	{{LINK_("l", "@"), {.path = "l/evil", .mode = S_IFIFO | 0600}}, 1, NULL},
	{{LINK_("l", "@"), {.path = "l/evil", .mode = S_IFCHR | 0600, .rdev = 259}}, 1, NULL},
	{{LINK_("l", "@/x"), FILE_("l", "overwritten")}, 0, NULL},
	{{LINK_("l", "@/x"), HARD_("h", "l"), FILE_("h", "overwritten")}, 0, NULL},
	{{HARD_("h", "../canary/x"), FILE_("h", "overwritten")}, 1, NULL},
	{{HARD_("h", "@/x")}, 1, NULL},
	{{LINK_("l", "@"), HARD_("h", "l/x"), FILE_("a", "a")}, 1, "a"},
	{{LINK_("l", "@"), HARD_("l/evil", "a"), FILE_("a", "a")}, 1, "a"},
	{{HARD_("h", "never recorded"), FILE_("a", "a")}, 1, "a"},
	{{HARD_("h", "h")}, 1, NULL},
	{{HARD_("g", "h"), HARD_("h", "g")}, 2, NULL},
	{{DIR_("d"), HARD_("h", "d")}, 1, "d"},
	{{FILE_("a", "a"), FILE_("a/b", "b")}, 1, "a"},
	{{FILE_("a", "a"), DIR_("a"), FILE_("a/b", "b")}, 0, NULL},
	{{FILE_("same", "1"), FILE_("same", "2")}, 0, "same"},
	{{{.path = "big", .mode = S_IFREG | 0600, .size = INT64_MAX, .extents = (const struct pax_extent[]){{0, 0}}, .n_extents = 1}, FILE_("z", "z")}, 1, "z"},
	{{{.path = "far", .mode = S_IFREG | 0600, .content = "1", .n = 1, .size = INT64_MAX, .extents = (const struct pax_extent[]){{INT64_MAX - 1, 1}}, .n_extents = 1}, FILE_("z", "z")}, 1, "z"},
	{{{.path = "acl", .mode = S_IFREG | 0600, .xattr = "system.posix_acl_access", .xattr_value = "\2"}}, 0, "acl"},
	{{FILE_("esc\033]0;title\007", "x"), FILE_("line\nfeed", "x"), FILE_("\xe2\x80\xaertl", "x"), FILE_("not utf-8 \xff", "x")}, 0, "line\nfeed"},
	{{FILE_("Case", "1"), FILE_("case", "2")}, 0, "case"},
	{{LINK_("p", "elsewhere"), FILE_("p/evil", "x")}, 0, NULL},
	{{DIR_("p"), FILE_("p/evil", "x")}, 0, NULL},
	{{FILE_("p", "x")}, 0, NULL},
	{{HARD_("h", "p/x")}, 1, NULL},
	{{FILE_("q/evil", "x"), FILE_("q", "x")}, 0, NULL},
};
#define N_HOSTILE (sizeof hostile / sizeof *hostile)

static char *resolve(const char *s)
{
	return s && *s == '@' ? fs_join(canary, s + 1 + (s[1] == '/')) : s ? xstrdup(s) : NULL;
}

/* In the target beforehand: links to the forbidden directory and file. */
static void plant(void)
{
	char x[128];

	snprintf(x, sizeof x, "%s/x", canary);
	ck_assert_int_eq(symlink(canary, at("p")), 0);
	ck_assert_int_eq(symlink(x, at("q")), 0);
}

static void hostile_case(const struct hostile *h)
{
	struct fixture_run run;
	unsigned n = 0;

	fixture_begin(&f, &run);
	for (; n < N_HOSTILE_MAX && h->e[n].path; n++) {
		struct fixture_entry e = h->e[n];
		CLEAN(free_ptr) char *path = resolve(e.path), *link = resolve(e.link), *hard = resolve(e.hardlink);

		e.path = path;
		e.link = link;
		e.hardlink = hard;
		fixture_add(&run, &e);
	}
	ck_ok(fixture_commit(&run, &err));
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	plant();
	restore();
	check_canary();
	ck_assert_msg(stats.skipped >= h->skipped, "only %u skipped", (unsigned)stats.skipped);
	ck_assert_uint_le(stats.skipped, n);
	check_manifest();
	check_canary();
}

START_TEST(hostile_entries_do_not_escape)
{
	hostile_case(&hostile[_i]);
	if (hostile[_i].made && strncmp(hostile[_i].made, "l", 2))
		ck_assert(there(hostile[_i].made));
	ck_assert_int_eq(access("/evil-absolute", F_OK), -1);
	ck_assert_int_eq(access(at("../evil"), F_OK), -1);
}
END_TEST

START_TEST(hostile_entries_do_not_escape_with_full_metadata_and_overwrite)
{
	opts.full_metadata = opts.overwrite = true;
	hostile_case(&hostile[_i]);
	ck_assert_int_eq(access("/evil-absolute", F_OK), -1);
	ck_assert_int_eq(access(at("../evil"), F_OK), -1);
}
END_TEST

START_TEST(records_that_are_none_are_counted_and_their_content_passed_over)
{
	CLEAN(buf_release) struct buf hard = BUF_INIT(MIB), nul = BUF_INIT(MIB);
	struct fixture_run run;

	fixture_record(&(struct fixture_entry)HARD_("h", "a"), &hard);
	fixture_record(&(struct fixture_entry)FILE_("evilXname", "12345"), &nul);
	fixture_begin(&f, &run);
	fixture_add(&run, &(struct fixture_entry)FILE_("a", "11"));
	fixture_add_raw(&run, "h", hard.p, hard.len, "with data", 9); /* a hard link that brings content */
	fixture_add_raw(&run, "n", nul.p, nul.len, "1234", 4);        /* another length than its header says */
	fixture_add_raw(&run, "o", "garbage", 7, "abc", 3);
	fixture_add_raw(&run, "p", nul.p, 100, NULL, 0);
	fixture_add(&run, &(struct fixture_entry)FILE_("z", "22"));
	ck_ok(fixture_commit(&run, &err));
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	restore();
	ck_assert_uint_eq(stats.skipped, 4);
	content_is("a", "11", 2);
	content_is("z", "22", 2);
	check_manifest();
	ck_assert_uint_eq(manifest.wrong, 4);
}
END_TEST

START_TEST(long_and_deep_paths_are_made_or_refused)
{
	static char deep[4000], deeper[8001], name[300], too_long[300];
	const struct fixture_entry e[] = {
		{.path = deep, .mode = S_IFREG | 0644, .content = "deep", .n = 4}, {.path = deeper, .mode = S_IFREG | 0644, .content = "x", .n = 1},
		{.path = name, .mode = S_IFREG | 0644, .content = "long", .n = 4}, {.path = too_long, .mode = S_IFREG | 0644, .content = "x", .n = 1},
		{.path = "l", .mode = S_IFLNK | 0777, .link = deeper}};
	CLEAN(close_fd) int dir = -1;

	for (size_t i = 0; i < 8000; i++)
		deeper[i] = i % 2 ? '/' : 'd';
	deeper[7999] = 0;
	memcpy(deep, deeper, 3999);
	memset(name, 'n', 255);
	memset(too_long, 't', 256);
	back_up(e, 5);
	restore();
	ck_assert_uint_eq(stats.skipped, 3);
	ck_assert_uint_eq(stats.files, 2);
	content_is(name, "long", 4);
	dir = open(out, O_RDONLY | O_DIRECTORY);
	CLEAN(close_fd) int fd = openat(dir, deep, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	check_manifest();
	ck_assert_uint_eq(manifest.wrong, 3);
	ck_assert_uint_eq(manifest.bytes, 8);
}
END_TEST

/* Exchanges a directory of the target and a link to the forbidden one, while a restore runs. */
static atomic_bool flipping;
static void *flip(void *arg)
{
	(void)arg;
	CLEAN(close_fd) int dir = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 100000 && flipping; i++)
		renameat2(dir, "d", dir, "swap", RENAME_EXCHANGE);
	return NULL;
}

START_TEST(a_directory_that_turns_into_a_link_meanwhile_leads_nowhere)
{
	enum { N = 100 };
	static char name[N][4][24];
	struct fixture_entry e[4 * N];
	pthread_t t;
	uint64_t skipped = 0, made = 0;

	for (int i = 0; i < N; i++) {
		snprintf(name[i][0], 24, "d/%03d", i);
		snprintf(name[i][1], 24, "d/%03d/file", i);
		snprintf(name[i][2], 24, "d/%03d/hard", i);
		snprintf(name[i][3], 24, "d/%03d/link", i);
		e[4 * i] = (struct fixture_entry){.path = name[i][0], .mode = S_IFDIR | 0777};
		e[4 * i + 1] = (struct fixture_entry){.path = name[i][1], .mode = S_IFREG | 0666, .content = "evil", .n = 4};
		e[4 * i + 2] = (struct fixture_entry){.path = name[i][2], .hardlink = name[i][1]};
		e[4 * i + 3] = (struct fixture_entry){.path = name[i][3], .mode = S_IFLNK | 0777, .link = "x"};
	}
	back_up(e, 4 * N);
	opts.overwrite = opts.full_metadata = true;
	ck_assert_int_eq(mkdir(at("d"), 0755), 0);
	ck_assert_int_eq(symlink(canary, at("swap")), 0);
	flipping = true;
	ck_assert_int_eq(pthread_create(&t, NULL, flip, NULL), 0);
	for (int i = 0; i < 30; i++) {
		restore();
		skipped += stats.skipped;
		made += stats.files;
	}
	flipping = false;
	pthread_join(t, NULL);
	check_canary();
	ck_assert_uint_gt(made, 0);
	ck_assert_uint_gt(skipped, 0); /* or nothing was raced at all */
}
END_TEST

/* --- the manifest check --- */

static const struct fixture_entry proof[] = {
	DIR_("d"), FILE_("d/a", "the first of some small files"), FILE_("d/b", "the second"), LINK_("d/l", "b"), HARD_("d/m", "d/b"), FILE_("d/z", "the last"),
	{.path = "s", .mode = S_IFREG | 0644, .content = "regions", .n = 7, .size = 1 << 20, .extents = (const struct pax_extent[]){{1 << 19, 7}}, .n_extents = 1},
};
#define PROOF_N (sizeof proof / sizeof *proof)

static void change_byte(const char *path, off_t off)
{
	CLEAN(close_fd) int fd = open(at(path), O_WRONLY | O_CLOEXEC);

	ck_assert_int_eq(pwrite(fd, "#", 1, off), 1);
}

static void wrong_is(const char *what)
{
	check_manifest();
	ck_assert_uint_eq(manifest.wrong, 1);
	ck_assert_msg(strstr(manifest.first_wrong, what) != NULL, "'%s', not '%s'", manifest.first_wrong, what);
}

START_TEST(the_manifest_check_finds_what_was_changed)
{
	static const char *const says[] = {
		"d/b: its content is not what was recorded", "d/z: its content is not", "d/a: is missing", "d/extra: is in no record", "d/dir: is in no record",
		"d/a: has mode 0600 where 0644", "d: has mode 0700 where 0755", "d/l: is a link to another name", "d/a: has 30 bytes where 29", "d/m: is no hard link to d/b",
		"d/l: is of another type", "s: has data where a hole", "s: has data where a hole", "s: its content is not", "d/a: belongs to 1:2 where 0:0", "d/z: is of another type"};

	opts.full_metadata = true;
	back_up(proof, PROOF_N);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	check_clean();
	switch (_i) {
	case 0: change_byte("d/b", 9); break;
	case 1: change_byte("d/z", 0); break;
	case 2: unlink(at("d/a")); break;
	case 3: write_file(at("d/extra"), ""); break;
	case 4: ck_ok(fs_mkdirs(at("d/dir/below"), 0700, &err)); break;
	case 5: chmod(at("d/a"), 0600); break;
	case 6: chmod(at("d"), 0700); break;
	case 7: unlink(at("d/l")); ck_assert_int_eq(symlink("bb", at("d/l")), 0); break;
	case 8: change_byte("d/a", 29); break;
	case 9: unlink(at("d/m")); write_file(at("d/m"), "the second"); break;
	case 10: unlink(at("d/l")); write_file(at("d/l"), "b"); chmod(at("d/l"), 0777); break;
	case 11: change_byte("s", 5000); break;
	case 12: change_byte("s", (1 << 20) - 1); break;
	case 13: change_byte("s", (1 << 19) + 3); break;
	case 14: ck_assert_int_eq(chown(at("d/a"), 1, 2), 0); break;
	default: unlink(at("d/z")); ck_assert_int_eq(mkfifo(at("d/z"), 0644), 0);
	}
	wrong_is(says[_i]);
}
END_TEST
#define N_CHANGES 16

START_TEST(the_manifest_check_of_some_paths_proves_parts_of_chunks)
{
	opts.paths = (const char *const[]){"d/a", "d/z", NULL};
	back_up(proof, PROOF_N);
	restore();
	check_clean();
	ck_assert_uint_eq(manifest.entries, 2);
	ck_assert_uint_eq(manifest.bytes, 37);
	ck_assert_uint_gt(manifest.chunks, 0);
	write_file(at("not asked for"), "");
	check_clean();
	change_byte("d/z", 7);
	wrong_is("d/z: its content is not");
}
END_TEST

START_TEST(several_wrong_entries_are_counted_each_once)
{
	back_up(proof, PROOF_N);
	restore();
	change_byte("d/a", 0);
	chmod(at("d/a"), 0600);
	change_byte("d/b", 0);
	write_file(at("more"), "");
	check_manifest();
	ck_assert_uint_eq(manifest.wrong, 3);
}
END_TEST

/* --- damage at sites --- */

/* Turn a bit in the middle of every pack of a site. */
static void damage(size_t site)
{
	CLEAN(store_keys_release) struct store_keys k = {0};

	ck_ok(store_list_all(f.store[site], "p/", &k, &err));
	ck_assert_uint_gt(k.n, 0);
	for (size_t i = 0; i < k.n; i++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(PACK_MAX);

		ck_ok(store_get(f.store[site], k.key[i], &b, &err));
		for (size_t at_ = 1000; at_ < b.len; at_ += 50000)
			b.p[at_] ^= 1;
		ck_ok(store_remove(f.store[site], k.key[i], &err));
		ck_ok(store_put_bytes(f.store[site], k.key[i], b.p, b.len, &err));
	}
}

static void damaged_once(void)
{
	CLEAN(free_ptr) unsigned char *p = random_bytes(3 * MIB, 5);
	const struct fixture_entry e[] = {{.path = "a", .mode = S_IFREG | 0644, .content = p, .n = 3 * MIB}, FILE_("b", "small")};

	fixture_backup(&f, e, 2);
	damage(0);
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	content_is("a", p, 3 * MIB);
	content_is("b", "small", 5);
	ck_assert_uint_gt(f.reader_site[0].bad, 0);
	ck_assert_uint_eq(f.reader_site[1].bad, 0);
	ck_assert_msg(!strncmp(f.reader_site[0].first_bad, "p/" FIXTURE_SOURCE "/", 7), "%s", f.reader_site[0].first_bad);
	check_clean();
}

START_TEST(a_pack_damaged_at_one_site_is_read_from_the_other)
{
	damaged_once();
	ck_assert_uint_eq(f.reader_site[0].bad, 1); /* asked once, not for every chunk */
}
END_TEST

START_TEST(a_pack_file_damaged_at_one_site_is_read_from_the_other)
{
	damaged_once();
}
END_TEST

START_TEST(a_pack_damaged_everywhere_is_corruption_and_named)
{
	CLEAN(free_ptr) unsigned char *p = random_bytes(3 * MIB, 6);
	const struct fixture_entry e[] = {FILE_("a", "small"), {.path = "b", .mode = S_IFREG | 0644, .content = p, .n = 3 * MIB}};
	char first[256];

	fixture_backup(&f, e, 2);
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	damage(0);
	damage(1);
	ck_fails(restore_tree(reader, snap, &opts, &stats, &err), ERR_CORRUPT);
	strcpy(first, f.reader_site[0].first_bad);
	ck_assert_msg(strstr(err.msg, "pack ") || strstr(err.msg, "p/" FIXTURE_SOURCE), "%s", err.msg);
	ck_assert(!there("b")); /* nothing half made stays */
	ck_assert_uint_gt(f.reader_site[1].bad, 0);
}
END_TEST

START_TEST(a_pack_gone_everywhere_is_missing)
{
	CLEAN(store_keys_release) struct store_keys k = {0};

	back_up(tree, TREE_N);
	ck_ok(store_list_all(f.store[0], "p/", &k, &err));
	for (size_t i = 0; i < k.n; i++) {
		ck_ok(store_remove(f.store[0], k.key[i], &err));
		ck_ok(store_remove(f.store[1], k.key[i], &err));
	}
	ck_fails(restore_tree(reader, snap, &opts, &stats, &err), ERR_MISSING);
}
END_TEST

START_TEST(packs_that_no_index_describes_are_found_by_their_footers)
{
	CLEAN(store_keys_release) struct store_keys k = {0}, e = {0};

	fixture_backup(&f, tree, TREE_N);
	ck_ok(store_list_all(f.store[0], "i/", &k, &err));
	ck_ok(store_list_all(f.store[0], "e/", &e, &err));
	for (size_t s = 0; s < 2; s++) {
		for (size_t i = 0; i < k.n; i++)
			ck_ok(store_remove(f.store[s], k.key[i], &err));
		for (size_t i = 0; i < e.n; i++)
			ck_ok(store_remove(f.store[s], e.key[i], &err));
	}
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	restore();
	check_clean();
}
END_TEST

START_TEST(envelopes_in_packs_open_them_when_the_objects_are_gone)
{
	CLEAN(store_keys_release) struct store_keys e = {0};

	fixture_backup(&f, tree, TREE_N);
	ck_ok(store_list_all(f.store[0], "e/", &e, &err));
	for (size_t i = 0; i < e.n; i++) {
		ck_ok(store_remove(f.store[0], e.key[i], &err));
		ck_ok(store_remove(f.store[1], e.key[i], &err));
	}
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	restore();
	check_clean();
}
END_TEST

static TCase *group(Suite *s, const char *name, void (*begin)(void))
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, begin, teardown);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return t;
}

static Suite *restore_suite(void)
{
	Suite *s = suite_create("restore");
	TCase *t = group(s, "tree", setup);

	tcase_add_test(t, every_type_comes_back_with_all_its_metadata);
	tcase_add_test(t, safe_metadata_leave_out_owners_set_id_and_devices);
	tcase_add_test(t, attributes_and_access_lists_come_back);
	tcase_add_test(t, what_a_target_hands_down_is_taken_away_with_full_metadata);
	tcase_add_test(t, sparse_files_keep_their_holes);
	tcase_add_test(t, content_of_many_chunks_comes_back);
	tcase_add_test(t, metadata_of_more_directories_than_fit_memory_are_set);
	tcase_add_test(t, selected_paths_come_back_with_what_lies_below);
	tcase_add_test(t, paths_are_stripped_and_put_elsewhere);
	tcase_add_test(t, hard_links_without_their_first_name_get_its_content);
	tcase_add_test(t, hard_links_to_symbolic_links_are_made);
	tcase_add_test(t, a_path_that_selects_nothing_is_an_error);
	tcase_add_test(t, existing_names_stay_without_overwrite);
	tcase_add_test(t, existing_names_are_replaced_with_overwrite);
	tcase_add_test(t, a_directory_in_the_way_is_told_and_stays);
	tcase_add_test(t, digests_are_what_sha256sum_checks);
	tcase_add_test(t, a_restore_can_be_cancelled_and_tells_its_progress);
	t = group(s, "streams", setup);
	tcase_add_test(t, a_command_output_comes_back_as_a_stream);
	tcase_add_test(t, gnu_tar_extracts_the_archive);
	tcase_add_test(t, an_archive_of_some_paths_holds_what_their_hard_links_lead_to);
	t = group(s, "hostile", setup);
	tcase_add_loop_test(t, hostile_entries_do_not_escape, 0, (int)N_HOSTILE);
	tcase_add_loop_test(t, hostile_entries_do_not_escape_with_full_metadata_and_overwrite, 0, (int)N_HOSTILE);
	tcase_add_test(t, records_that_are_none_are_counted_and_their_content_passed_over);
	tcase_add_test(t, long_and_deep_paths_are_made_or_refused);
	tcase_add_test(t, a_directory_that_turns_into_a_link_meanwhile_leads_nowhere);
	t = group(s, "manifest", setup);
	tcase_add_loop_test(t, the_manifest_check_finds_what_was_changed, 0, N_CHANGES);
	tcase_add_test(t, the_manifest_check_of_some_paths_proves_parts_of_chunks);
	tcase_add_test(t, several_wrong_entries_are_counted_each_once);
	t = group(s, "damage", setup_two);
	tcase_add_test(t, a_pack_damaged_at_one_site_is_read_from_the_other);
	tcase_add_test(t, a_pack_damaged_everywhere_is_corruption_and_named);
	tcase_add_test(t, a_pack_gone_everywhere_is_missing);
	tcase_add_test(t, packs_that_no_index_describes_are_found_by_their_footers);
	tcase_add_test(t, envelopes_in_packs_open_them_when_the_objects_are_gone);
	t = group(s, "damage on disk", setup_disk);
	tcase_add_test(t, a_pack_file_damaged_at_one_site_is_read_from_the_other);
	tcase_add_test(t, a_pack_damaged_everywhere_is_corruption_and_named);
	tcase_add_test(t, packs_that_no_index_describes_are_found_by_their_footers);
	tcase_add_test(t, envelopes_in_packs_open_them_when_the_objects_are_gone);
	return s;
}

int main(void)
{
	SRunner *sr = srunner_create(restore_suite());
	int bad;

	srunner_run_all(sr, CK_ENV);
	bad = srunner_ntests_failed(sr);
	srunner_free(sr);
	return bad != 0;
}
