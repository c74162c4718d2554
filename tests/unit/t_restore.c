#include "restore_fixture.h"

#include <acl/libacl.h>
#include <grp.h>
#include <sys/acl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

/* --- what comes back --- */

START_TEST(every_type_comes_back_with_all_its_metadata)
{
	const struct fixture_entry e[] = {
	        {.path = "d", .mode = S_IFDIR | 01777, .uid = 7, .gid = 8, .mtime = 1600000000, .mtime_ns = 987654321},
	        {.path = "d/empty", .mode = S_IFREG | 0600, .mtime = 1},
	        {.path = "d/file",
	                .mode = S_IFREG | 0640,
	                .content = "hello",
	                .n = 5,
	                .uid = 1234,
	                .gid = 4321,
	                .mtime = 1500000000,
	                .mtime_ns = 123456789},
	        HARD_("d/hard", "d/file"),
	        {.path = "d/link",
	                .mode = S_IFLNK | 0777,
	                .link = "/nowhere/at all",
	                .uid = 5,
	                .gid = 6,
	                .mtime = 1400000000},
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
	        {.path = "d/suid",
	                .mode = S_IFREG | 06755,
	                .content = "#!",
	                .n = 2,
	                .uid = 9,
	                .mtime = 1111111111,
	                .xattr = "user.note",
	                .xattr_value = "v"},
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
	static const char acl[] = "user::rw-,user:1234:r--,group::r--,mask::r--,other::---",
	                  dacl[] = "user::rwx,group::r-x,group:77:rwx,mask::rwx,other::---";
	static const struct fixture_entry e[] = {
	        {.path = "d",
	                .mode = S_IFDIR | 0750,
	                .acl_default = dacl,
	                .xattr = "user.dir",
	                .xattr_value = "of a directory"},
	        {.path = "d/listed", .mode = S_IFREG | 0640, .content = "a", .n = 1, .acl = acl},
	        {.path = "d/noted",
	                .mode = S_IFREG | 0440,
	                .content = "b",
	                .n = 1,
	                .xattr = "user.note",
	                .xattr_value = "kept",
	                .uid = 5},
	        {.path = "d/trusted",
	                .mode = S_IFLNK | 0777,
	                .link = "noted",
	                .xattr = "trusted.note",
	                .xattr_value = "on a link"},
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
	        {.path = "s",
	                .mode = S_IFREG | 0600,
	                .content = p,
	                .n = 5608,
	                .size = (8 << 20) + 66536,
	                .extents = x,
	                .n_extents = 3},
	        {.path = "t",
	                .mode = S_IFREG | 0600,
	                .size = 1 << 30,
	                .extents = (const struct pax_extent[]){{1 << 30, 0}},
	                .n_extents = 1},
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
		e[i + 1] = (struct fixture_entry){
		        .path = name[i], .mode = S_IFREG | 0600, .content = p + 1000 * i, .n = (size_t)(37 * i)};
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

START_TEST(hard_links_to_what_is_no_file_are_told)
{
	static const struct fixture_entry e[] = {DIR_("d"), FILE_("f", "1"), HARD_("g", "f"), HARD_("x/dir", "d"),
	        HARD_("x/link", "g"), HARD_("x/none", "n")};

	opts.paths = (const char *const[]){"x", NULL};
	back_up(e, 6);
	restore();
	ck_assert_uint_eq(stats.skipped, 3);
	ck_assert_uint_eq(stats.dirs + stats.files + stats.links, 0);
	check_manifest();
	ck_assert_uint_eq(manifest.wrong, 3);
}
END_TEST

/* In a process of its own: it gives up being root. */
static int as_nobody(void)
{
	if (setgroups(0, NULL) || setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		return 9;
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	for (int i = 0; i < 2; i++) {
		if (restore_tree(reader, snap, &opts, &stats, &err) || stats.skipped)
			return 1;
		opts.overwrite = true;
	}
	if (restore_manifest(reader, snap, &opts, &manifest, &err) || manifest.wrong)
		return 2;
	opts.full_metadata = true;
	if (restore_tree(reader, snap, &opts, &stats, &err) || stats.skipped != 5)
		return 3;
	close_reader();
	return 0;
}

START_TEST(an_ordinary_user_restores_and_restores_again)
{
	static const struct fixture_entry e[] = {{.path = "locked", .mode = S_IFDIR | 0500, .uid = 7},
	        {.path = "locked/deeper", .mode = S_IFDIR | 0500},
	        {.path = "locked/deeper/file", .mode = S_IFREG | 04444, .content = "x", .n = 1},
	        {.path = "locked/link", .mode = S_IFLNK | 0777, .link = "x"}, {.path = "pipe", .mode = S_IFIFO | 0600}};
	int status;
	pid_t pid;

	fixture_backup(&f, e, 5);
	ck_assert_int_eq(chmod(f.dir, 0711), 0);
	ck_assert_int_eq(chown(out, 65534, 65534), 0);
	pid = fork();
	if (!pid)
		_exit(as_nobody());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(stat_at("locked").st_mode, S_IFDIR | 0500);
	ck_assert_uint_eq(stat_at("locked/deeper/file").st_mode, S_IFREG | 0444); /* no set-id for another owner */
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
	static const struct fixture_entry e[] = {FILE_("back\\slash", "1"), DIR_("d"), FILE_("d/line\nfeed", "2"),
	        FILE_("d/return\r", "3"), FILE_("d/ plain ", "4"), {.path = "empty", .mode = S_IFREG | 0600},
	        HARD_("hard", "empty")};
	CLEAN(buf_release) struct buf b = BUF_INIT(MIB);
	CLEAN(free_ptr) char *sums = xstrdup(at("SHA256SUMS"));

	opts.digests = sums;
	back_up(e, 7);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	run_in(out, (const char *const[]){"sha256sum", "--strict", "-c", "SHA256SUMS", NULL});
	run_in(out, (const char *const[]){"sh", "-c",
	                    "find . -type f ! -name SHA256SUMS -print0 | sed -z s,^./,, | xargs -0 sha256sum | sed "
	                    "'s/^\\\\*//' | sort | uniq -w 64 >../want && sed 's/^\\\\*//' SHA256SUMS | sort >../have "
	                    "&& cut -c 1-64 ../want >../w && cut -c 1-64 ../have | cmp ../w",
	                    NULL});
	ck_ok(fs_read(sums, &b, &err));
	ck_assert_ptr_nonnull(strstr(buf_str(&b), "  back\\\\slash\n"));
	ck_assert_ptr_nonnull(strstr(buf_str(&b), "  d/line\\nfeed\n"));
	check_clean(); /* the list itself is none too many */
}
END_TEST

static atomic_bool stop;
struct watched {
	uint64_t each; /* bytes of a file, at least */
	uint64_t seen; /* bytes */
};
/* No file may be counted before its bytes are. */
static void stop_at_two(void *arg, uint64_t files, uint64_t bytes)
{
	struct watched *w = arg;
	ck_assert_uint_ge(bytes, files * w->each);
	w->seen = bytes;
	if (files >= 2)
		stop = true;
}

START_TEST(a_restore_can_be_cancelled_and_tells_its_progress)
{
	enum { N = 300, EACH = 100000 };
	CLEAN(free_ptr) unsigned char *p = random_bytes((size_t)N * EACH, 3);
	static char name[N][16];
	struct fixture_entry e[N];
	struct watched w = {.each = EACH};

	for (int i = 0; i < N; i++) {
		snprintf(name[i], sizeof name[i], "f%05d", i);
		e[i] = (struct fixture_entry){.path = name[i], .mode = S_IFREG | 0600, .content = p + EACH * i, .n = EACH};
	}
	stop = false;
	opts.cancel = &stop;
	opts.progress = stop_at_two;
	opts.arg = &w;
	back_up(e, N);
	ck_fails(restore_tree(reader, snap, &opts, &stats, &err), ERR_CANCELLED);
	ck_assert_uint_ge(stats.files, 2);
	ck_assert_uint_lt(stats.files, N);
	ck_assert_uint_ge(w.seen, 2 * EACH);
	for (int i = 0; i < N; i++) /* none is half made */
		if (there(name[i]))
			content_is(name[i], p + EACH * i, EACH);
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
	run_in(out, (const char *const[]){
	                    "tar", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-xpf", name, NULL});
}

START_TEST(gnu_tar_extracts_the_archive)
{
	static const struct pax_extent x[] = {{4096, 512}, {1 << 20, 100}};
	CLEAN(free_ptr) unsigned char *p = random_bytes(2 * MIB, 4);
	char name[260] = "";
	struct fixture_entry e[] = {
	        {.path = "d", .mode = S_IFDIR | 0750, .uid = 3, .gid = 4},
	        {.path = "d/big",
	                .mode = S_IFREG | 04711,
	                .content = p,
	                .n = 2 * MIB - 77,
	                .uid = 1000,
	                .xattr = "user.k",
	                .xattr_value = "v"},
	        {.path = "d/fifo", .mode = S_IFIFO | 0600},
	        HARD_("d/hard", "d/big"),
	        {.path = "d/holes",
	                .mode = S_IFREG | 0600,
	                .content = p,
	                .n = 612,
	                .size = (1 << 20) + 100,
	                .extents = x,
	                .n_extents = 2},
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
	        {.path = "a", .mode = S_IFREG | 0640, .content = "first", .n = 5, .uid = 42, .mtime = 1222222222},
	        DIR_("b"), HARD_("b/one", "a"), HARD_("b/two", "a"), FILE_("b/z", "last")};

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

START_TEST(a_restore_cancelled_while_its_last_files_are_written_is_cancelled)
{
	struct watched w = {0};

	stop = false;
	opts.cancel = &stop;
	opts.progress = stop_at_two;
	opts.arg = &w;
	back_up(tree, TREE_N); /* all content is in one chunk */
	ck_fails(restore_tree(reader, snap, &opts, &stats, &err), ERR_CANCELLED);
}
END_TEST

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
	tcase_add_test(t, hard_links_to_what_is_no_file_are_told);
	tcase_add_test(t, an_ordinary_user_restores_and_restores_again);
	tcase_add_test(t, a_path_that_selects_nothing_is_an_error);
	tcase_add_test(t, existing_names_stay_without_overwrite);
	tcase_add_test(t, existing_names_are_replaced_with_overwrite);
	tcase_add_test(t, a_directory_in_the_way_is_told_and_stays);
	tcase_add_test(t, digests_are_what_sha256sum_checks);
	tcase_add_test(t, a_restore_can_be_cancelled_and_tells_its_progress);
	tcase_add_test(t, a_restore_cancelled_while_its_last_files_are_written_is_cancelled);
	t = group(s, "streams", setup);
	tcase_add_test(t, a_command_output_comes_back_as_a_stream);
	tcase_add_test(t, gnu_tar_extracts_the_archive);
	tcase_add_test(t, an_archive_of_some_paths_holds_what_their_hard_links_lead_to);
	return s;
}

int main(void)
{
	return suite_main(restore_suite());
}
