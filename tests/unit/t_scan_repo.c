#include "backup/scan.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "repo_fixture.h"
#include "suite.h"

static struct err err;
static struct fixture f;
static char tree[80], cache[80];

static void put_file(const char *dir, unsigned i, size_t n, uint64_t seed)
{
	char path[128];
	CLEAN(free_ptr) unsigned char *p = xmalloc(n);
	uint64_t x = seed * 2654435761u + i + 88172645463325252ull;
	snprintf(path, sizeof(path), "%s/%s/f%04u", tree, dir, i);
	CLEAN(close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	ck_assert_int_ge(fd, 0);
	for (size_t k = 0; k < n; k++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[k] = (unsigned char)x;
	}
	ck_assert_int_eq(fs_write_full(fd, p, n), 0);
}

static void make_dir(const char *name)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", tree, name);
	ck_ok(fs_mkdirs(path, 0755, &err));
}

static void setup(void)
{
	fixture_init(&f, 2, false);
	snprintf(tree, sizeof(tree), "%s/tree", f.dir);
	snprintf(cache, sizeof(cache), "%s/cache", f.dir);
	make_dir("a");
	make_dir("b");
	for (unsigned i = 0; i < 400; i++)
		put_file("a", i, 3000, 1);
	put_file("b", 0, 5 << 20, 2);
	put_file("b", 1, 700 << 10, 2);
	put_file("b", 2, 40 << 10, 2);
}

static void teardown(void)
{
	fixture_release(&f);
}

/* The kernel's clock has a tick: wait for the next, so that later changes have later times. */
static void next_tick(void)
{
	struct timespec was, now;
	clock_gettime(CLOCK_REALTIME_COARSE, &was);
	do
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	while (was.tv_sec == now.tv_sec && was.tv_nsec == now.tv_nsec);
}

struct done {
	struct snapshot_facts facts;
	struct writer_stats stats;
};

/* A whole backup by a session of its own. */
static struct done backup(bool full)
{
	const char *const paths[] = {tree, NULL};
	static const unsigned char plan[ID_LEN];
	struct session_opts so = {.state_dir = f.state,
	        .keys = &f.keys,
	        .cfg = &f.cfg,
	        .site = f.session_site,
	        .n_sites = f.n_sites,
	        .now = f.now};
	struct scan_opts o = {.paths = paths, .cache_dir = cache, .epoch = f.keys.epoch, .full_read = full};
	struct writer_opts wo = {
	        .keys = &f.keys, .recipient = &f.recipient, .n_recipients = 1, .workers = 2, .cut = scan_cut};
	struct done d = {.facts = {.start = f.now}};
	struct pack_list packs = {0};
	struct writer *w;
	struct timespec now;
	next_tick();
	clock_gettime(CLOCK_REALTIME, &now);
	clock_fake((int64_t)now.tv_sec * 1000000000 + 10000000000, 1);
	for (size_t i = 0; i < f.n_sites; i++)
		f.session_site[i] = (struct session_site){.name = f.name[i], .store = f.store[i]};
	snprintf(so.run, sizeof(so.run), "%032llx", (unsigned long long)f.now);
	memcpy(d.facts.run, so.run, sizeof(so.run));
	f.now += 60000000000;
	ck_ok(session_begin(&so, &wo.session, &err));
	o.has_cache_of = session_head_digest(wo.session, o.cache_of);
	struct scan *s = scan_new(&o);
	wo.arg = s;
	ck_ok(writer_open(&wo, &w, &err));
	ck_ok(scan_paths(s, w, &d.facts, &err));
	ck_ok(writer_finish(w, d.facts.root, &packs, &err));
	writer_stats(w, &d.stats);
	d.facts.added = d.stats.sealed;
	d.facts.end = d.facts.start + 1000000000;
	ck_ok(session_commit(wo.session, &d.facts, &packs, plan, &f.result, &err));
	ck_ok(scan_keep_cache(s, f.result.digest, &err));
	pack_list_release(&packs);
	writer_close(w);
	scan_free(s);
	session_end(wo.session);
	next_tick();
	return d;
}

static void check_same_roots(const struct done *a, const struct done *b)
{
	for (enum stream_id s = 0; s < STREAM_COUNT; s++) {
		const struct stream_root *x = &a->facts.root[s], *y = &b->facts.root[s];
		ck_assert_int_eq(x->present, y->present);
		ck_assert_mem_eq(x->id, y->id, ID_LEN);
		ck_assert_uint_eq(x->height, y->height);
		ck_assert_uint_eq(x->length, y->length);
		ck_assert_uint_eq(x->entries, y->entries);
		ck_assert_uint_eq(x->content, y->content);
	}
	ck_assert_uint_eq(a->facts.bytes, b->facts.bytes);
	ck_assert_uint_eq(a->facts.entries, b->facts.entries);
}

START_TEST(an_unchanged_tree_makes_the_same_snapshot_and_brings_nothing)
{
	struct done first = backup(false), second = backup(false);
	ck_assert_uint_eq(first.facts.skipped, 0);
	ck_assert_uint_eq(second.facts.skipped, second.facts.files);
	ck_assert_uint_eq(second.stats.reused_bytes, second.facts.bytes);
	ck_assert_uint_eq(second.stats.bytes_new, 0);
	check_same_roots(&first, &second);
}
END_TEST

START_TEST(changes_make_the_snapshot_of_a_full_read)
{
	(void)backup(false);
	for (unsigned round = 1; round < 12; round++) {
		char gone[128];
		put_file("a", 37 * round % 400, 3000 + round * 100, round);
		snprintf(gone, sizeof(gone), "%s/a/f%04u", tree, 399 - round);
		ck_assert_int_eq(unlink(gone), 0);
		if (round % 3 == 0)
			put_file("b", round % 2, (round % 4 + 1) << 19, round);
		struct done cached = backup(false);
		ck_assert_uint_gt(cached.stats.reused_bytes, 0);
		struct done full = backup(true);
		ck_assert_uint_eq(full.stats.reused_bytes, 0);
		check_same_roots(&cached, &full);
	}
}
END_TEST

START_TEST(a_lost_cache_costs_a_read_and_no_upload)
{
	struct done first = backup(false);
	ck_ok(fs_remove_tree(cache, &err));
	struct done second = backup(false);
	ck_assert_uint_eq(second.facts.skipped, 0);
	ck_assert_uint_eq(second.stats.bytes_new, 0);
	check_same_roots(&first, &second);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("scan_repo");
	TCase *t = tcase_create("scan_repo");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, an_unchanged_tree_makes_the_same_snapshot_and_brings_nothing);
	tcase_add_test(t, changes_make_the_snapshot_of_a_full_read);
	tcase_add_test(t, a_lost_cache_costs_a_read_and_no_upload);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
