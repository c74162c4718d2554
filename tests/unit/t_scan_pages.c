/* Files that are cut small because of what their heads say. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "backup/scan_int.h"
#include "scan_writer.h"
#include "suite.h"

#define MIB (1u << 20)
static struct err err;
static char top[64];

static void setup(void)
{
	snprintf(top, sizeof(top), "%s/t_scan_pages-XXXXXX", access("/dev/shm", W_OK) ? "/var/tmp" : "/dev/shm");
	ck_assert_ptr_nonnull(mkdtemp(top));
}

static void teardown(void)
{
	ck_ok(fs_remove_tree(top, &err));
}

static const char *at(const char *name)
{
	static char path[4][128];
	static unsigned turn;
	char *p = path[turn++ % 4];
	snprintf(p, sizeof(path[0]), "%s/%s", top, name);
	return p;
}

static void put_le(unsigned char *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (unsigned char)(v >> 8 * i);
}

/* --- heads --- */

static unsigned char head[32 << 10];

static void sqlite(void)
{
	memcpy(head, "SQLite format 3\0\x10", 18);
}

static void pg_page(unsigned char *p)
{
	put_le(p + 12, 40, 2);
	put_le(p + 14, 8000, 2);
	put_le(p + 16, 8192, 2);
	put_le(p + 18, 8192 | 4, 2);
}

static void postgresql(void)
{
	pg_page(head);
	pg_page(head + 8192);
}

static void postgresql_with_a_page_not_used_yet(void)
{
	pg_page(head);
}

static void innodb(void)
{
	head[25] = 8;
	head[37] = head[41] = head[16384 + 37] = 17;
	head[16384 + 7] = 1;
	head[16384 + 25] = 5;
}

static void qcow2(void)
{
	memcpy(head, "QFI\xfb\0\0\0\3", 8);
}

static void vmdk(void)
{
	memcpy(head, "KDMV\1\0\0\0", 8);
}

static void vhdx(void)
{
	memcpy(head, "vhdxfile", 8);
}

static void vdi(void)
{
	memcpy(head + 64, "\x7f\x10\xda\xbe", 4);
}

static void mbr(void)
{
	head[446 + 4] = 0x83;
	put_le(head + 446 + 8, 63, 4);
	put_le(head + 446 + 12, 1000, 4);
	put_le(head + 510, 0xaa55, 2);
}

static void gpt(void)
{
	put_le(head + 510, 0xaa55, 2);
	memcpy(head + 512, "EFI PART", 8);
}

static void nothing(void)
{
}

static void text(void)
{
	memset(head, 'a', sizeof(head));
}

static void sqlite_of_an_odd_page_size(void)
{
	memcpy(head, "SQLite format 3\0\x0f", 18);
}

static void pg_page_whose_room_ends_before_it_begins(void)
{
	pg_page(head);
	put_le(head + 14, 30, 2);
}

static void pg_page_followed_by_something_else(void)
{
	pg_page(head);
	memset(head + 8192, 'x', 100);
}

static void partition_beyond_the_end(void)
{
	mbr();
	put_le(head + 446 + 12, 100000, 4);
}

static void boot_sign_without_a_partition(void)
{
	put_le(head + 510, 0xaa55, 2);
}

static const struct {
	void (*make)(void);
	bool paged;
	unsigned more; /* bytes beyond a megabyte */
} HEADS[] = {
        {sqlite, true, 0},
        {sqlite, true, 100},
        {postgresql, true, 0},
        {postgresql_with_a_page_not_used_yet, true, 0},
        {innodb, true, 0},
        {qcow2, true, 0},
        {vmdk, true, 0},
        {vhdx, true, 0},
        {vdi, true, 0},
        {mbr, true, 0},
        {gpt, true, 0},
        {nothing, false, 0},
        {text, false, 0},
        {sqlite_of_an_odd_page_size, false, 0},
        {postgresql, false, 100},
        {pg_page_whose_room_ends_before_it_begins, false, 0},
        {pg_page_followed_by_something_else, false, 0},
        {innodb, false, 100},
        {partition_beyond_the_end, false, 0},
        {boot_sign_without_a_partition, false, 0},
};

static void write_file(const char *name, size_t n, uint64_t seed)
{
	CLEAN(close_fd) int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CLEAN(free_ptr) unsigned char *p = xmalloc(n);
	for (size_t i = 0; i < n; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		p[i] = (unsigned char)(seed >> 56);
	}
	memcpy(p, head, MIN(n, sizeof(head)));
	ck_assert_int_eq(fs_write_full(fd, p, n), 0);
}

static bool paged(const char *name)
{
	struct source f;
	source_init(&f);
	ck_assert_int_eq(source_open(&f, AT_FDCWD, at(name)), 0);
	bool is = is_paged(&f);
	source_release(&f);
	return is;
}

START_TEST(heads_of_databases_and_disks_are_known_and_no_others)
{
	memset(head, 0, sizeof(head));
	HEADS[_i].make();
	write_file("file", MIB + HEADS[_i].more, 5);
	ck_assert_int_eq(paged("file"), HEADS[_i].paged);
}
END_TEST

START_TEST(a_file_with_holes_is_left_to_its_content)
{
	sqlite();
	write_file("file", MIB, 5);
	ck_assert_int_eq(truncate(at("file"), 4 * MIB), 0);
	ck_assert(!paged("file"));
}
END_TEST

/* --- a scan --- */

static struct writer *run(unsigned n, const struct writer *before, struct snapshot_facts *facts)
{
	const char *paths[] = {at("tree"), NULL};
	char cache[128], paths0[128];
	unsigned char digest[ID_LEN] = {(unsigned char)n};
	struct timespec now;
	snprintf(cache, sizeof(cache), "%s", at("cache"));
	snprintf(paths0, sizeof(paths0), "%s", paths[0]);
	paths[0] = paths0;
	struct scan_opts o = {.paths = paths, .cache_dir = cache, .has_cache_of = n > 0, .cache_of = {(unsigned char)(n - 1)}};
	clock_gettime(CLOCK_REALTIME, &now);
	clock_fake((int64_t)now.tv_sec * 1000000000 + 10000000000, 1);
	struct scan *s = scan_new(&o);
	struct writer *w = kept_new(before, 0, 0, s, scan_cut);
	*facts = (struct snapshot_facts){0};
	ck_ok(scan_paths(s, w, facts, &err));
	kept_finish(w);
	ck_ok(scan_keep_cache(s, digest, &err));
	scan_free(s);
	return w;
}

START_TEST(a_database_is_cut_small_and_a_changed_page_costs_one_chunk)
{
	struct snapshot_facts facts;
	sqlite();
	ck_assert_int_eq(mkdir(at("tree"), 0700), 0);
	write_file("tree/a", 2000, 1);
	write_file("tree/b.db", 2 * MIB, 2);
	write_file("tree/c", 2000, 3);
	struct writer *first = run(0, NULL, &facts);
	const struct kept_stream *c = &first->s[STREAM_CONTENT];
	ck_assert_uint_eq(c->n, 2 + 2 * MIB / (64 << 10));
	for (size_t i = 1; i + 1 < c->n; i++)
		ck_assert_uint_eq(c->chunk[i].cut.length, 64 << 10);

	CLEAN(close_fd) int fd = open(at("tree/b.db"), O_WRONLY);
	ck_assert_int_eq((int)pwrite(fd, "changed", 7, 1234567), 7);
	struct writer *second = run(1, first, &facts);
	const struct kept_stream *d = &second->s[STREAM_CONTENT];
	ck_assert_uint_eq(d->n, c->n);
	unsigned differ = 0;
	for (size_t i = 0; i < c->n; i++)
		differ += memcmp(c->chunk[i].cut.id, d->chunk[i].cut.id, ID_LEN) != 0;
	ck_assert_uint_eq(differ, 1);

	/* its neighbour changes: the database is not read, and stands where it stood */
	CLEAN(close_fd) int other = open(at("tree/a"), O_WRONLY | O_APPEND);
	ck_assert_int_eq((int)write(other, "more", 4), 4);
	struct writer *third = run(2, second, &facts);
	ck_assert_uint_eq(third->s[STREAM_CONTENT].n, c->n);
	ck_assert_uint_eq(third->reused, 2 * MIB + 2000);
	kept_free(first);
	kept_free(second);
	kept_free(third);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("scan pages");
	TCase *c = tcase_create("scan pages");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, heads_of_databases_and_disks_are_known_and_no_others, 0, sizeof(HEADS) / sizeof(*HEADS));
	tcase_add_test(c, a_file_with_holes_is_left_to_its_content);
	tcase_add_test(c, a_database_is_cut_small_and_a_changed_page_costs_one_chunk);
	suite_add_tcase(suite, c);
	return suite_main(suite);
}
