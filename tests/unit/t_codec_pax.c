#include "codec/pax.h"

#include <acl/libacl.h>
#include <archive.h>
#include <archive_entry.h>
#include <check.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/acl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "base/proc.h"
#include "suite.h"

#define MIB ((size_t)1 << 20)

static struct err err;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void fill_random(unsigned char *p, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(next_random(&seed) >> 24);
}

static struct pax_disk *disk;
static struct pax_reader *reader;
static struct buf rec;
static struct pax_entry ent;
static char dir[32];
static int dirfd_;

static void setup(void)
{
	disk = pax_disk_new();
	reader = pax_reader_new();
	buf_init(&rec, 64 * MIB);
	(void)snprintf(dir, sizeof dir, "/var/tmp/t_codec.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(dirfd_, 0);
}

static void teardown(void)
{
	close(dirfd_);
	ck_ok(fs_remove_tree(dir, &err));
	buf_release(&rec);
	pax_reader_free(reader);
	pax_disk_free(disk);
}

static struct stat made_up(mode_t mode, off_t size)
{
	return (struct stat){.st_mode = mode,
	        .st_size = size,
	        .st_mtim = {1700000000, 123456789},
	        .st_nlink = 3,
	        .st_ino = 77,
	        .st_dev = 5,
	        .st_atim = {1800000000, 5},
	        .st_ctim = {1800000001, 6}};
}

/* Record f, then parse it; returns the content length. */
static uint64_t record_and_parse(const struct pax_file *f)
{
	uint64_t len;
	buf_clear(&rec);
	ck_ok(pax_record(disk, f, &rec, &len, &err));
	ck_assert_uint_eq(rec.len % 512, 0);
	ck_ok(pax_parse(reader, rec.p, rec.len, len, &ent, &err));
	ck_assert_uint_eq(ent.content_len, len);
	return len;
}

static void check_name_survives(const char *name)
{
	struct stat st = made_up(S_IFREG | 0644, 5);
	struct pax_file f = {.path = name, .fd = -1, .st = &st};
	record_and_parse(&f);
	ck_assert_str_eq(ent.path, name);
	f.hardlink = name;
	f.path = "other";
	ck_assert_uint_eq(record_and_parse(&f), 0);
	ck_assert_int_eq(ent.type, PAX_HARDLINK);
	ck_assert_str_eq(ent.link, name);
	f.hardlink = NULL;
	f.path = name;
	st.st_size = 1 << 20;
	struct pax_extent x = {8192, 1024};
	f.extents = &x;
	f.n_extents = 1;
	ck_assert_uint_eq(record_and_parse(&f), 1024);
	ck_assert_str_eq(ent.path, name);
	ck_assert_uint_eq(ent.size, 1 << 20);
	st.st_mode = S_IFDIR | 0755;
	f.n_extents = 0;
	record_and_parse(&f);
	ck_assert_int_eq(ent.type, PAX_DIR);
	ck_assert_str_eq(ent.path, name);
}

static void check_all_names(void)
{
	static const size_t lengths[] = {99, 100, 101, 155, 156, 255, 256, 257, 1000, 4000};
	char name[4001];
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		memset(name, 'n', sizeof(name));
		name[lengths[i]] = 0;
		check_name_survives(name);
		for (size_t k = 50; k + 2 < lengths[i]; k += 51)
			name[k] = '/';
		check_name_survives(name);
		name[3] = (char)0xff; /* no UTF-8 */
		check_name_survives(name);
	}
	check_name_survives("gr\303\274n/\346\227\245\346\234\254"); /* UTF-8 */
	check_name_survives("\200\377\001 \t\n=\033[31m");
	check_name_survives("line\n30 GNU.sparse.name=evil\n");
	check_name_survives("._apple");
	check_name_survives(".");
	check_name_survives("a/../b");
}

START_TEST(names_survive_as_bytes_in_the_c_locale)
{
	check_all_names();
}
END_TEST

START_TEST(names_survive_as_bytes_in_a_utf8_locale)
{
	ck_assert_ptr_nonnull(setlocale(LC_ALL, "C.UTF-8"));
	check_all_names();
}
END_TEST

START_TEST(numbers_survive)
{
	struct stat st = made_up(S_IFREG | 06751, (off_t)20 << 30);
	struct pax_file f = {.path = "big", .fd = -1, .st = &st};
	st.st_uid = 3000000000;
	st.st_gid = 4000000;
	ck_assert_uint_eq(record_and_parse(&f), (uint64_t)20 << 30);
	ck_assert_int_eq(ent.type, PAX_FILE);
	ck_assert_uint_eq(ent.mode, 06751);
	ck_assert_int_eq(ent.uid, 3000000000);
	ck_assert_int_eq(ent.gid, 4000000);
	ck_assert_uint_eq(ent.size, (uint64_t)20 << 30);
	ck_assert_int_eq(ent.mtime_s, 1700000000);
	ck_assert_int_eq(ent.mtime_ns, 123456789);
	ck_assert_ptr_null(ent.link);
	ck_assert_ptr_null(ent.extents);
	static const struct timespec times[] = {{0, 0}, {-1, 500000000}, {-86400, 1}, {1LL << 33, 999999999}, {5, 100}};
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		st.st_mtim = times[i];
		record_and_parse(&f);
		ck_assert_int_eq(ent.mtime_s, times[i].tv_sec);
		ck_assert_int_eq(ent.mtime_ns, times[i].tv_nsec);
	}
	st.st_size = INT64_MAX - (32 << 20);
	record_and_parse(&f);
	ck_assert_uint_eq(ent.size, (uint64_t)st.st_size);
}
END_TEST

START_TEST(special_files_survive)
{
	struct stat st = made_up(S_IFCHR | 0600, 0);
	struct pax_file f = {.path = "dev", .fd = -1, .st = &st};
	st.st_rdev = makedev(4000, 0xfffff);
	ck_assert_uint_eq(record_and_parse(&f), 0);
	ck_assert_int_eq(ent.type, PAX_CHAR);
	ck_assert_uint_eq(ent.rdev, st.st_rdev);
	st.st_mode = S_IFBLK | 0600;
	st.st_rdev = makedev(8, 1);
	record_and_parse(&f);
	ck_assert_int_eq(ent.type, PAX_BLOCK);
	ck_assert_uint_eq(ent.rdev, st.st_rdev);
	st.st_mode = S_IFIFO | 0622;
	st.st_size = 4096;
	ck_assert_uint_eq(record_and_parse(&f), 0);
	ck_assert_int_eq(ent.type, PAX_FIFO);
	ck_assert_uint_eq(ent.size, 0);
	st.st_mode = S_IFSOCK | 0600;
	uint64_t len;
	size_t before = rec.len;
	ck_fails(pax_record(disk, &f, &rec, &len, &err), ERR_UNSUPPORTED);
	ck_assert_uint_eq(rec.len, before);
}
END_TEST

static void check_absent(const char *text)
{
	ck_assert_msg(!memmem(rec.p, rec.len, text, strlen(text)), "record holds '%s'", text);
}

START_TEST(record_holds_nothing_that_changes_between_runs)
{
	struct stat st = made_up(S_IFREG | 0644, 5);
	struct pax_file f = {.path = "file", .fd = -1, .st = &st};
	record_and_parse(&f);
	static const char *const words[] = {"atime", "ctime", "creation", "SCHILY", "LIBARCHIVE", "comment"};
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		check_absent(words[i]);
	struct buf again = BUF_INIT(MIB);
	struct pax_disk *other = pax_disk_new();
	uint64_t len;
	st.st_atim.tv_sec++;
	st.st_ctim.tv_sec++;
	st.st_ino++;
	st.st_dev++;
	st.st_nlink++;
	ck_ok(pax_record(other, &f, &again, &len, &err));
	ck_assert_uint_eq(again.len, rec.len);
	ck_assert_mem_eq(again.p, rec.p, rec.len);
	ck_assert_uint_le(rec.len, 1536);
	buf_release(&again);
	pax_disk_free(other);
}
END_TEST

START_TEST(what_does_not_fit_leaves_the_buffer_alone)
{
	struct stat st = made_up(S_IFREG | 0644, 5);
	struct pax_file f = {.path = "file", .fd = -1, .st = &st};
	struct buf small = BUF_INIT(1000);
	uint64_t len;
	ck_ok(buf_put(&small, "before", 6, &err));
	ck_fails(pax_record(disk, &f, &small, &len, &err), ERR_NOMEM);
	ck_assert_uint_eq(small.len, 6);
	char *path = xmalloc(2 * MIB); /* beyond what readers of extended headers take */
	memset(path, 'p', 2 * MIB);
	path[2 * MIB - 1] = 0;
	f.path = path;
	ck_fails(pax_record(disk, &f, &rec, &len, &err), ERR_UNSUPPORTED);
	ck_assert_uint_eq(rec.len, 0);
	free(path);
	buf_release(&small);
}
END_TEST

START_TEST(owner_names_are_recorded)
{
	struct stat st = made_up(S_IFREG | 0644, 5);
	struct pax_file f = {.path = "file", .fd = -1, .st = &st};
	record_and_parse(&f);
	ck_assert_str_eq(ent.uname, "root");
	ck_assert_str_eq(ent.gname, "root");
	st.st_uid = st.st_gid = 3123456789;
	record_and_parse(&f);
	ck_assert_ptr_null(ent.uname);
	ck_assert_ptr_null(ent.gname);
}
END_TEST

START_TEST(stream_record_parses)
{
	ck_ok(pax_record_stream("db/dump.sql", 0640, (uint64_t)9 << 33, 1700000000, &rec, &err));
	ck_ok(pax_parse(reader, rec.p, rec.len, (uint64_t)9 << 33, &ent, &err));
	ck_assert_str_eq(ent.path, "db/dump.sql");
	ck_assert_int_eq(ent.type, PAX_FILE);
	ck_assert_uint_eq(ent.mode, 0640);
	ck_assert_uint_eq(ent.size, (uint64_t)9 << 33);
	ck_assert_int_eq(ent.mtime_s, 1700000000);
	ck_assert_int_eq(ent.mtime_ns, 0);
}
END_TEST

START_TEST(sparse_maps_survive)
{
	enum { MANY = 60000 };
	struct stat st = made_up(S_IFREG | 0644, (off_t)30 << 30);
	struct pax_extent *x = xcalloc(MANY, sizeof(*x));
	for (uint64_t i = 0; i < MANY; i++)
		x[i] = (struct pax_extent){i << 18, 4096 + 512 * (i % 100)};
	struct pax_file f = {.path = "image", .fd = -1, .st = &st, .extents = x, .n_extents = MANY};
	uint64_t sum = record_and_parse(&f);
	ck_assert_uint_eq(sum, (uint64_t)MANY * 4096 + (uint64_t)MANY / 100 * 512 * 99 * 50);
	ck_assert_uint_eq(ent.size, (uint64_t)30 << 30);
	ck_assert_uint_eq(ent.n_extents, MANY);
	ck_assert_mem_eq(ent.extents, x, MANY * sizeof(*x));
	x[0] = (struct pax_extent){4096, (uint64_t)20 << 30}; /* more than 8 GiB of data in one piece */
	f.n_extents = 1;
	ck_assert_uint_eq(record_and_parse(&f), (uint64_t)20 << 30);
	ck_assert_uint_eq(ent.n_extents, 1);
	ck_assert_uint_eq(ent.extents[0].off, 4096);
	x[0] = (struct pax_extent){(uint64_t)st.st_size, 0}; /* one hole */
	ck_assert_uint_eq(record_and_parse(&f), 0);
	ck_assert_uint_eq(ent.n_extents, 1);
	ck_assert_uint_eq(ent.size, (uint64_t)30 << 30);
	x[0] = (struct pax_extent){0, (uint64_t)st.st_size}; /* no hole after all */
	ck_assert_uint_eq(record_and_parse(&f), (uint64_t)30 << 30);
	ck_assert_uint_eq(ent.n_extents, 0);
	free(x);
}
END_TEST

START_TEST(impossible_sparse_maps_are_refused)
{
	struct stat st = made_up(S_IFREG | 0644, 10000);
	struct pax_extent x[2] = {{4096, 512}, {4000, 512}};
	struct pax_file f = {.path = "image", .fd = -1, .st = &st, .extents = x, .n_extents = 2};
	uint64_t len;
	ck_fails(pax_record(disk, &f, &rec, &len, &err), ERR_INTERNAL);
	x[1] = (struct pax_extent){9000, 512}; /* GNU tar reads regions in blocks */
	ck_ok(pax_record(disk, &f, &rec, &len, &err));
	buf_clear(&rec);
	x[0].len = 511;
	ck_fails(pax_record(disk, &f, &rec, &len, &err), ERR_INTERNAL);
	x[0].len = 512;
	x[1] = (struct pax_extent){9000, 1001};
	ck_fails(pax_record(disk, &f, &rec, &len, &err), ERR_INTERNAL);
	x[1] = (struct pax_extent){9000, UINT64_MAX - 8000};
	ck_fails(pax_record(disk, &f, &rec, &len, &err), ERR_INTERNAL);
	ck_assert_uint_eq(rec.len, 0);
}
END_TEST

static int make_file(const char *name, const void *p, size_t n)
{
	int fd = openat(dirfd_, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fs_write_full(fd, p, n), 0);
	return fd;
}

static uint64_t record_fd(const char *path, int fd)
{
	struct stat st;
	ck_assert_int_eq(fstat(fd, &st), 0);
	struct pax_file f = {.path = path, .fd = fd, .st = &st};
	return record_and_parse(&f);
}

static const struct pax_xattr *find_xattr(const char *name)
{
	for (size_t i = 0; i < ent.n_xattrs; i++) {
		if (!strcmp(ent.xattrs[i].name, name))
			return ent.xattrs + i;
	}
	return NULL;
}

START_TEST(xattrs_survive_with_any_name_and_value)
{
	static const char *const names[] = {"user.plain", "user.a=b c%41%", "user.\303\251\377", "user.empty",
	        "trusted.overlay", "security.custom"};
	size_t n_names = geteuid() ? 4 : 6; /* the last two need root */
	unsigned char value[600];
	char name[256] = "user.";
	memset(name + 5, 'x', 250);
	fill_random(value, sizeof(value), 3);
	memcpy(value, "\0\n=30 x", 7);
	int fd = make_file("x", "12345", 5);
	for (size_t i = 0; i < n_names; i++)
		ck_assert_int_eq(fsetxattr(fd, names[i], value, i == 3 ? 0 : sizeof(value) >> i, 0), 0);
	ck_assert_int_eq(fsetxattr(fd, name, value, 7, 0), 0);
	ck_assert_uint_eq(record_fd("x", fd), 5);
	ck_assert_uint_eq(ent.n_xattrs, n_names + 1);
	for (size_t i = 0; i < n_names; i++) {
		const struct pax_xattr *x = find_xattr(names[i]);
		ck_assert_msg(x, "%s is missing", names[i]);
		ck_assert_uint_eq(x->n, i == 3 ? 0 : sizeof(value) >> i);
		ck_assert_int_eq(x->n ? memcmp(x->value, value, x->n) : 0, 0);
	}
	ck_assert_ptr_nonnull(find_xattr(name));
	close(fd);
}
END_TEST

START_TEST(record_is_the_same_through_descriptor_and_path)
{
	char path[64];
	struct stat st;
	struct buf other = BUF_INIT(MIB);
	uint64_t len;
	int fd = make_file("x", "12345", 5);
	ck_assert_int_eq(fsetxattr(fd, "user.b", "2", 1, 0) | fsetxattr(fd, "user.a", "1", 1, 0), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	record_fd("x", fd);
	snprintf(path, sizeof(path), "%s/x", dir);
	struct pax_file f = {.path = "x", .access = path, .fd = -1, .st = &st};
	ck_ok(pax_record(disk, &f, &other, &len, &err));
	ck_assert_uint_eq(other.len, rec.len);
	ck_assert_mem_eq(other.p, rec.p, rec.len);
	const unsigned char *a = memmem(rec.p, rec.len, "user.a", 6), *b = memmem(rec.p, rec.len, "user.b", 6);
	ck_assert(a && b && a < b);
	f.path = "later";
	f.hardlink = "x";
	record_and_parse(&f);
	ck_assert_uint_eq(ent.n_xattrs, 0);
	buf_release(&other);
	close(fd);
}
END_TEST

START_TEST(symlink_targets_survive)
{
	char target[4001], path[64];
	struct stat st;
	memset(target, 't', sizeof(target));
	target[4000] = 0;
	target[7] = (char)0xfe;
	ck_assert_int_eq(symlinkat(target, dirfd_, "link"), 0);
	snprintf(path, sizeof(path), "%s/link", dir);
	ck_assert_int_eq(lstat(path, &st), 0);
	struct pax_file f = {.path = "link", .access = path, .fd = -1, .st = &st};
	ck_assert_uint_eq(record_and_parse(&f), 0);
	ck_assert_int_eq(ent.type, PAX_SYMLINK);
	ck_assert_str_eq(ent.link, target);
}
END_TEST

static void set_acl(const char *name, acl_type_t type, const char *text)
{
	char path[64];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	acl_t acl = acl_from_text(text);
	ck_assert_ptr_nonnull(acl);
	ck_assert_int_eq(acl_set_file(path, type, acl), 0);
	acl_free(acl);
}

static void check_acl(const char *base, const char *name, acl_type_t type, const char *want)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", base, name);
	acl_t acl = acl_get_file(path, type);
	ck_assert_ptr_nonnull(acl);
	char *text = acl_to_any_text(acl, NULL, ',', TEXT_NUMERIC_IDS);
	ck_assert_str_eq(text, want);
	acl_free(text);
	acl_free(acl);
}

#define ACL_A "user::rwx,user:1:r-x,user:70001:rw-,group::r--,group:7:-wx,mask::rwx,other::---"
#define ACL_D "user::rwx,group::r-x,group:70002:rwx,mask::rwx,other::r--"

START_TEST(acls_survive_and_are_applied)
{
	ck_assert_int_eq(mkdirat(dirfd_, "d", 0755) | mkdirat(dirfd_, "e", 0755), 0);
	set_acl("d", ACL_TYPE_ACCESS, ACL_A);
	set_acl("d", ACL_TYPE_DEFAULT, ACL_D);
	int fd = openat(dirfd_, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	record_fd("d", fd);
	ck_assert_str_eq(ent.acl_access,
	        "user::rwx,group::r--,other::---,user:daemon:r-x:1,user:70001:rw-:70001,group:lp:-wx:7,mask::rwx");
	ck_assert_str_eq(ent.acl_default, "user::rwx,group::r-x,group:70002:rwx:70002,mask::rwx,other::r--");
	ck_assert_uint_eq(ent.n_xattrs, 0);
	ck_assert_uint_eq(ent.mode, 0740);
	int to = openat(dirfd_, "e", O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_ok(pax_apply_acl(to, NULL, &ent, &err));
	check_acl(dir, "e", ACL_TYPE_ACCESS, ACL_A);
	check_acl(dir, "e", ACL_TYPE_DEFAULT, ACL_D);
	int f = openat(to, "inherits", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	struct pax_entry none = {.type = PAX_FILE, .path = "inherits", .mode = 0640};
	ck_assert_int_gt((int)fgetxattr(f, "system.posix_acl_access", NULL, 0), 0);
	ck_ok(pax_apply_acl(f, NULL, &none, &err));
	ck_assert_int_eq((int)fgetxattr(f, "system.posix_acl_access", NULL, 0), -1);
	ck_ok(pax_apply_acl(-1, dir, &ent, &err));
	check_acl(dir, ".", ACL_TYPE_DEFAULT, ACL_D);
	close(f);
	close(to);
	close(fd);
}
END_TEST

START_TEST(malformed_acls_are_refused)
{
	int fd = make_file("f", "", 0);
	struct pax_entry e = {.type = PAX_FILE, .path = "f", .mode = 0640};
	e.acl_access = "user::rwx,user:5:rwx,group::r--"; /* neither mask nor other */
	struct pax_entry bad = e;
	bad.acl_access = "nonsense";
	ck_fails(pax_apply_acl(fd, NULL, &bad, &err), ERR_FORMAT);
	bad.acl_access = "user::rwx,user:no-such-user-here:rwx,group::r--,mask::rwx,other::---";
	ck_fails(pax_apply_acl(fd, NULL, &bad, &err), ERR_UNSUPPORTED);
	ck_fails(pax_apply_acl(fd, NULL, &e, &err), ERR_FORMAT);
	ck_assert_int_eq((int)fgetxattr(fd, "system.posix_acl_access", NULL, 0), -1);
	close(fd);
}
END_TEST

static void write_at(int fd, uint64_t off, size_t n)
{
	unsigned char *p = xmalloc(n);
	memset(p, 'd', n);
	ck_assert_int_eq(pwrite(fd, p, n, (off_t)off) == (ssize_t)n, 1);
	free(p);
}

START_TEST(holes_are_found)
{
	struct pax_extent *x;
	size_t n;
	int fd = make_file("s", "", 0);
	write_at(fd, 0, 1);
	ck_assert_int_eq(ftruncate(fd, 0) | ftruncate(fd, 10 << 20), 0);
	ck_ok(pax_extents(fd, 10 << 20, &x, &n, &err));
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(x[0].off, 10 << 20);
	ck_assert_uint_eq(x[0].len, 0);
	free(x);
	write_at(fd, 1 << 20, 65536);
	write_at(fd, 5 << 20, 65536);
	ck_assert_int_eq((int)lseek(fd, 123, SEEK_SET), 123);
	ck_ok(pax_extents(fd, 10 << 20, &x, &n, &err));
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(x[0].off, 1 << 20);
	ck_assert_uint_eq(x[0].len, 65536);
	ck_assert_uint_eq(x[1].off, 5 << 20);
	ck_assert_uint_eq(x[1].len, 65536);
	ck_assert_int_eq((int)lseek(fd, 0, SEEK_CUR), 123);
	free(x);
	ck_ok(pax_extents(fd, (5 << 20) + 1000, &x, &n, &err)); /* size at open; the file grew since */
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(x[1].len, 1000);
	free(x);
	ck_ok(pax_extents(fd, 0, &x, &n, &err));
	ck_assert_ptr_null(x);
	close(fd);
	fd = make_file("t", "text", 4);
	ck_ok(pax_extents(fd, 4, &x, &n, &err));
	ck_assert_uint_eq(n, 0);
	ck_assert_ptr_null(x);
	close(fd);
}
END_TEST

START_TEST(damaged_headers_are_refused)
{
	struct stat st = made_up(S_IFREG | 0644, 700);
	struct pax_file f = {.path = "file", .fd = -1, .st = &st};
	record_and_parse(&f);
	struct buf b = BUF_INIT(MIB);
	ck_ok(buf_put(&b, rec.p, rec.len, &err));
	ck_fails(pax_parse(reader, b.p, b.len, 699, &ent, &err), ERR_FORMAT);
	ck_fails(pax_parse(reader, b.p, b.len, 1300, &ent, &err), ERR_FORMAT);
	ck_fails(pax_parse(reader, b.p, b.len, UINT64_MAX, &ent, &err), ERR_FORMAT);
	ck_fails(pax_parse(reader, b.p, b.len - 512, 700, &ent, &err), ERR_FORMAT);
	ck_fails(pax_parse(reader, b.p, 512, 700, &ent, &err), ERR_FORMAT);
	ck_fails(pax_parse(reader, b.p, 0, 0, &ent, &err), ERR_FORMAT);
	ck_ok(buf_put(&b, rec.p, rec.len, &err)); /* two records at once */
	ck_fails(pax_parse(reader, b.p, b.len, 700, &ent, &err), ERR_FORMAT);
	b.len = rec.len;
	ck_ok(buf_fill(&b, 0, 512, &err));
	ck_fails(pax_parse(reader, b.p, b.len, 700, &ent, &err), ERR_FORMAT);
	b.p[rec.len - 300] ^= 1; /* main header's checksum */
	ck_fails(pax_parse(reader, b.p, rec.len, 700, &ent, &err), ERR_FORMAT);
	b.p[rec.len - 300] ^= 1;
	ck_ok(pax_parse(reader, b.p, rec.len, 700, &ent, &err));
	buf_release(&b);
}
END_TEST

/* ---- whole archives, read by others ---- */

static void append(struct buf *tar, const struct pax_file *f, const void *content)
{
	uint64_t len;
	ck_ok(pax_record(disk, f, tar, &len, &err));
	ck_ok(buf_put(tar, content, (size_t)len, &err));
	ck_ok(buf_fill(tar, 0, (size_t)(-len & 511), &err));
}

static char long_name[300];
static unsigned char content[200000];

/* A directory with an ACL, a file with xattrs, a sparse file under a long name, links; the end mark. */
static void build_archive(struct buf *tar)
{
	struct stat st;
	char path[64];
	ck_assert_int_eq(mkdirat(dirfd_, "d", 0755), 0);
	set_acl("d", ACL_TYPE_ACCESS, ACL_A);
	set_acl("d", ACL_TYPE_DEFAULT, ACL_D);
	int fd = openat(dirfd_, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(fstat(fd, &st), 0);
	append(tar, &(struct pax_file){.path = "d", .fd = fd, .st = &st}, NULL);
	close(fd);
	fill_random(content, sizeof(content), 11);
	fd = make_file("plain", content, 1000);
	ck_assert_int_eq(fsetxattr(fd, "user.note", "a\0b", 3, 0), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	append(tar, &(struct pax_file){.path = "plain", .fd = fd, .st = &st}, content);
	snprintf(path, sizeof(path), "%s/plain", dir);
	append(tar, &(struct pax_file){.path = "again", .access = path, .fd = -1, .st = &st, .hardlink = "plain"},
	        NULL);
	close(fd);
	memset(long_name, 'l', sizeof(long_name) - 1);
	long_name[120] = long_name[240] = '/';
	struct stat sparse = made_up(S_IFREG | 0600, 50 << 20);
	struct pax_extent x[2] = {{1 << 20, 51200}, {(50 << 20) - 99999, 99999}};
	append(tar, &(struct pax_file){.path = long_name, .fd = -1, .st = &sparse, .extents = x, .n_extents = 2},
	        content);
	struct stat last = made_up(S_IFREG | 0600, 3);
	append(tar, &(struct pax_file){.path = "last-\377", .fd = -1, .st = &last}, content);
	ck_ok(buf_fill(tar, 0, 1024, &err));
}

static void check_content(const char *out, const char *name, uint64_t off, const unsigned char *want, size_t n)
{
	char path[512];
	unsigned char *got = xmalloc(n);
	snprintf(path, sizeof(path), "%s/%s", out, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(fd >= 0, "%s is missing", name);
	ck_assert_int_eq(pread(fd, got, n, (off_t)off) == (ssize_t)n, 1);
	ck_assert_mem_eq(got, want, n);
	free(got);
	close(fd);
}

static void check_extracted(const char *out)
{
	char path[512], value[8];
	struct stat st, again;
	check_acl(out, "d", ACL_TYPE_ACCESS, ACL_A);
	check_acl(out, "d", ACL_TYPE_DEFAULT, ACL_D);
	check_content(out, "plain", 0, content, 1000);
	check_content(out, "last-\377", 0, content, 3);
	snprintf(path, sizeof(path), "%s/plain", out);
	ck_assert_int_eq((int)getxattr(path, "user.note", value, sizeof(value)), 3);
	ck_assert_mem_eq(value, "a\0b", 3);
	ck_assert_int_eq(stat(path, &st), 0);
	snprintf(path, sizeof(path), "%s/again", out);
	ck_assert_int_eq(stat(path, &again), 0);
	ck_assert_uint_eq(st.st_ino, again.st_ino);
	check_content(out, long_name, 1 << 20, content, 51200);
	check_content(out, long_name, (50 << 20) - 99999, content + 51200, 99999);
	snprintf(path, sizeof(path), "%s/%s", out, long_name);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 50 << 20);
	ck_assert_int_lt(st.st_blocks * 512, 10 << 20);
	ck_assert_int_eq(st.st_mtim.tv_nsec, 123456789);
}

START_TEST(gnu_tar_extracts_records)
{
	char file[64], out[64];
	struct buf tar = BUF_INIT(4 * MIB);
	build_archive(&tar);
	snprintf(file, sizeof(file), "%s/a.tar", dir);
	snprintf(out, sizeof(out), "%s/out", dir);
	ck_ok(fs_create(file, tar.p, tar.len, 0600, &err));
	ck_ok(fs_mkdirs(out, 0755, &err));
	struct proc_opts o = {.stdin_fd = -1, .timeout_ms = 60000};
	struct proc_result r;
	proc_result_init(&r, 4096);
	const char *const argv[] = {"tar", "-xf", file, "-C", out, "--xattrs", "--xattrs-include=*", "--acls",
	        "--sparse", "--warning=no-unknown-keyword", NULL};
	ck_ok(proc_run(argv, &o, &r, &err));
	ck_assert_msg(r.status == 0 && !r.err.len, "tar: %d %s", r.status, buf_str(&r.err));
	proc_result_release(&r);
	check_extracted(out);
	buf_release(&tar);
}
END_TEST

START_TEST(libarchive_extracts_records)
{
	char out[64];
	struct buf tar = BUF_INIT(4 * MIB);
	build_archive(&tar);
	snprintf(out, sizeof(out), "%s/out", dir);
	ck_ok(fs_mkdirs(out, 0755, &err));
	ck_assert_int_eq(chdir(out), 0);
	struct archive *a = archive_read_new(), *w = archive_write_disk_new();
	struct archive_entry *e;
	archive_read_support_format_tar(a);
	archive_write_disk_set_options(
	        w, ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_ACL | ARCHIVE_EXTRACT_XATTR);
	ck_assert_int_eq(archive_read_open_memory(a, tar.p, tar.len), ARCHIVE_OK);
	int r, n = 0;
	while ((r = archive_read_next_header(a, &e)) == ARCHIVE_OK) {
		ck_assert_msg(archive_read_extract2(a, e, w) == ARCHIVE_OK, "%s", archive_error_string(a));
		n++;
	}
	ck_assert_int_eq(r, ARCHIVE_EOF);
	ck_assert_int_eq(n, 5);
	archive_read_free(a);
	archive_write_free(w);
	check_extracted(out);
	ck_assert_int_eq(chdir("/"), 0);
	buf_release(&tar);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("codec_pax");
	TCase *t = tcase_create("codec_pax");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, names_survive_as_bytes_in_the_c_locale);
	tcase_add_test(t, names_survive_as_bytes_in_a_utf8_locale);
	tcase_add_test(t, numbers_survive);
	tcase_add_test(t, special_files_survive);
	tcase_add_test(t, record_holds_nothing_that_changes_between_runs);
	tcase_add_test(t, what_does_not_fit_leaves_the_buffer_alone);
	tcase_add_test(t, owner_names_are_recorded);
	tcase_add_test(t, stream_record_parses);
	tcase_add_test(t, sparse_maps_survive);
	tcase_add_test(t, impossible_sparse_maps_are_refused);
	tcase_add_test(t, xattrs_survive_with_any_name_and_value);
	tcase_add_test(t, record_is_the_same_through_descriptor_and_path);
	tcase_add_test(t, symlink_targets_survive);
	tcase_add_test(t, acls_survive_and_are_applied);
	tcase_add_test(t, malformed_acls_are_refused);
	tcase_add_test(t, holes_are_found);
	tcase_add_test(t, damaged_headers_are_refused);
	tcase_add_test(t, gnu_tar_extracts_records);
	tcase_add_test(t, libarchive_extracts_records);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
