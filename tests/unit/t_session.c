#include "session_fixture.h"
#include "suite.h"

#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"

/* --- the chain --- */

START_TEST(a_first_run_starts_a_lineage_that_found_nothing)
{
	back_up("one");
	ck_assert_uint_eq(f.result.seq, 1);
	ck_assert(f.result.new_lineage);
	ck_assert_uint_eq(f.result.committed, 2);
	CLEAN(attempts_release) struct attempts all = look(0);
	const struct snapshot *s = &of_seq(&all, 1)->snap;

	ck_assert(!s->has_previous);
	ck_assert(!s->has_found);
	ck_intact(0, 1);
	ck_text(1, "one");
}
END_TEST

START_TEST(a_run_names_the_one_before_it_and_brings_only_what_is_new)
{
	back_up("one");
	back_up("two");
	ck_assert_uint_eq(f.result.seq, 2);
	ck_assert(!f.result.new_lineage);
	CLEAN(attempts_release) struct attempts all = look(1);
	const struct attempt_info *one = of_seq(&all, 1), *two = of_seq(&all, 2);

	ck_assert(two->snap.has_previous && two->snap.previous_committed);
	ck_assert_mem_eq(two->snap.previous, one->snapshot_digest, ID_LEN);
	ck_assert_str_eq(two->snap.lineage, one->snap.lineage);
	CLEAN(store_keys_release) struct store_keys k = {0};
	char prefix[STORE_KEY_MAX + 1];

	ck_ok(store_list_all(f.store[1], key_fmt(prefix, "p/" FIXTURE_SOURCE "/%s/", two->attempt), &k, &err));
	ck_assert_uint_eq(k.n, 1);
	ck_assert_uint_lt(k.size[0], 64 << 10); /* the large file is not in it */
	ck_intact(1, 2);
	ck_text(1, "two");
}
END_TEST

START_TEST(rows_of_relative_lists_end_at_a_full_one)
{
	enum { RUNS = 70 };
	CLEAN(pack_list_release) struct pack_list packs = {0};
	unsigned deepest = 0, full = 0;

	for (int i = 0; i < RUNS; i++)
		fixture_grow(&f, &packs);
	CLEAN(attempts_release) struct attempts all = look(0);

	for (size_t i = 0; i < all.n; i++) {
		struct pack_list l;
		unsigned depth;

		ck_ok(attempt_packs(f.store[0], FIXTURE_SOURCE, all.a[i].attempt, &l, &depth, &err));
		ck_assert_uint_eq(l.n, all.a[i].snap.seq);
		deepest = MAX(deepest, depth);
		full += !depth;
		pack_list_release(&l);
	}
	ck_assert_uint_eq(deepest, 63);
	ck_assert_uint_le(full, 3);
}
END_TEST

static size_t count_names(const char *dir, const char *prefix)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	for (const struct dirent *e; d && (e = readdir(d));)
		n += str_starts(e->d_name, prefix);
	if (d)
		closedir(d);
	return n;
}

/* What the index says of a site, with the cache of a new machine. */
static struct index *load_anew(size_t site, const char *cache)
{
	const struct secret *key = &f.keys.s.idx_key;
	struct index *ix = index_new();
	struct index_loaded got;

	ck_ok(index_load(f.store[site], FIXTURE_SOURCE, f.repo, &key, 1, cache, ix, &got, &err));
	ck_assert_uint_eq(got.bad, 0);
	return ix;
}

START_TEST(many_runs_leave_merges_at_the_site_and_few_files_here)
{
	enum { RUNS = 140 };
	CLEAN(free_ptr) char *local = fs_join(f.state, "index"), *other = fs_join(f.dir, "other");
	CLEAN(free_ptr) char *recent = fs_join(local, "recent");
	char text[32];

	for (int i = 0; i < RUNS; i++) {
		snprintf(text, sizeof text, "run %d", i);
		back_up(text);
	}
	ck_assert_uint_eq(count_keys(0, "i/" FIXTURE_SOURCE "/m."), 2);
	ck_assert_uint_ge(count_names(local, "m."), 1);
	ck_assert_uint_le(count_names(local, ""), 2 + 2 + 1 + 17); /* . and .., merges, what is recent, deltas */
	struct index *all = load_anew(0, NULL), *cold = load_anew(0, other);

	ck_assert_uint_le(index_segments(cold, INDEX_ALL), 20);
	ck_assert_uint_eq(index_packs(all), index_packs(cold));
	struct index *warm = load_anew(0, other);

	ck_assert_uint_eq(index_entries(warm), index_entries(cold));
	index_free(warm);
	/* what is rotten is fetched again, not believed */
	CLEAN(buf_release) struct buf b = BUF_INIT(INDEX_MAX);

	ck_ok(fs_read(recent, &b, &err));
	b.p[b.len / 2] ^= 4;
	ck_ok(fs_replace(recent, b.p, b.len, 0600, &err));
	warm = load_anew(0, local);
	ck_assert_uint_eq(index_entries(warm), index_entries(cold));
	index_free(all);
	index_free(cold);
	index_free(warm);
	ck_intact(0, RUNS);
	ck_text(0, text);
}
END_TEST

/* --- a host that forgot --- */

START_TEST(a_host_rolled_back_starts_a_new_lineage)
{
	back_up("one");
	save_state();
	back_up("two");
	roll_back_state();
	back_up("three");
	ck_assert(f.result.new_lineage);
	ck_assert_uint_eq(f.result.seq, 3);
	ck_assert_uint_eq(f.result.committed, 2);
	CLEAN(attempts_release) struct attempts all = look(0);
	const struct snapshot *three = &of_seq(&all, 3)->snap;

	ck_assert(three->has_found && !three->has_previous);
	ck_assert_mem_eq(three->found, of_seq(&all, 2)->snapshot_digest, ID_LEN);
	ck_intact(0, 3);
	back_up("four");
	ck_assert(!f.result.new_lineage);
	ck_assert_uint_eq(f.result.seq, 4);
}
END_TEST

START_TEST(a_fork_made_while_a_site_was_away_ends_in_a_new_lineage)
{
	back_up("one");
	save_state();
	back_up_without(1, "two");
	roll_back_state();
	back_up_without(0, "other two");
	ck_assert_uint_eq(f.result.seq, 2);
	ck_assert(!f.result.new_lineage); /* nobody could know */
	back_up("three");
	ck_assert(f.result.new_lineage);
	ck_assert_uint_eq(f.result.seq, 3);
}
END_TEST

START_TEST(a_host_without_its_state_starts_a_new_lineage)
{
	static const char *const lost[] = {"", "/head"};
	char path[128];

	back_up("one");
	back_up("two");
	snprintf(path, sizeof path, "%s%s", f.state, lost[_i]);
	ck_ok(fs_remove_tree(path, &err));
	back_up("three");
	ck_assert(f.result.new_lineage);
	ck_assert_uint_eq(f.result.seq, 3);
	CLEAN(attempts_release) struct attempts all = look(1);

	ck_assert_mem_eq(of_seq(&all, 3)->snap.found, of_seq(&all, 2)->snapshot_digest, ID_LEN);
	ck_intact(0, 3);
	ck_intact(1, 3);
}
END_TEST

START_TEST(a_damaged_head_starts_a_new_lineage)
{
	CLEAN(free_ptr) char *head = fs_join(f.state, "head");

	back_up("one");
	ck_ok(fs_replace(head, "{", 1, 0600, &err));
	back_up("two");
	ck_assert(f.result.new_lineage);
	ck_assert_uint_eq(f.result.seq, 2);
	ck_intact(0, 2);
}
END_TEST

/* --- what may be reused --- */

/* _i: with the delta that describes its pack lost at one of the sites. */
START_TEST(a_dead_attempt_of_this_host_is_resumed)
{
	static const unsigned char plan[ID_LEN];
	char attempt[NAME16], key[STORE_KEY_MAX + 1];
	struct fixture_run run;
	struct writer_stats stats;

	fixture_begin(&f, &run);
	fill(&run, "one");
	ck_ok(writer_finish(run.writer, run.facts.root, &run.packs, &err)); /* packs and index are up, and no more */
	memcpy(attempt, session_attempt(run.session), NAME16);
	fixture_drop(&run);
	if (_i)
		ck_ok(store_remove(f.store[1], key_fmt(key, "i/" FIXTURE_SOURCE "/%s.0", attempt), &err));

	fixture_begin(&f, &run);
	for (size_t i = 0; i < 2; i++) {
		CLEAN(attempts_release) struct attempts all = look(i);

		for (size_t k = 0; k < all.n; k++)
			ck_assert(all.a[k].decided ==
			          str_eq(all.a[k].attempt, attempt)); /* nobody can commit it any more */
	}
	fill(&run, "one");
	ck_ok(writer_finish(run.writer, run.facts.root, &run.packs, &err));
	writer_stats(run.writer, &stats);
	ck_assert_uint_eq(stats.packs, _i ? 1 : 0);
	ck_assert_uint_eq(stats.chunks_new, _i ? stats.chunks : 0);
	ck_ok(session_commit(run.session, &run.facts, &run.packs, plan, &f.result, &err));
	fixture_drop(&run);
	ck_assert_uint_eq(f.result.committed, 2);
	ck_intact(0, 1);
	ck_intact(1, 1);
	ck_text(1, "one");
}
END_TEST

static void expire_at(size_t site, const char *attempt)
{
	json_t *o = json_object();
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	char key[STORE_KEY_MAX + 1];

	fields_set(o, "source", json_string(FIXTURE_SOURCE));
	fields_set(o, "attempt", json_string(attempt));
	fields_set_hex_or_null(o, "snapshot", false, NULL, 0);
	fields_set_time(o, "time", f.now);
	ck_ok(signed_make("expire", o, f.repo, &f.log, &b, &err));
	ck_ok(store_put_bytes(f.store[site], key_fmt(key, "x/" FIXTURE_SOURCE "/%s", attempt), b.p, b.len, &err));
	json_decref(o);
}

static void remove_packs(size_t site, const char *attempt)
{
	CLEAN(store_keys_release) struct store_keys k = {0};
	char prefix[STORE_KEY_MAX + 1];

	ck_ok(store_list_all(f.store[site], key_fmt(prefix, "p/" FIXTURE_SOURCE "/%s/", attempt), &k, &err));
	for (size_t i = 0; i < k.n; i++)
		ck_ok(store_remove(f.store[site], k.key[i], &err));
}

/* Someone expires and sweeps the newest snapshot at site 1 just behind the intent. */
static void expire_newest(void *arg, const char *line)
{
	const char *attempt = arg;

	if (!str_starts(line, "put w/") || !strstr(line, "/open "))
		return;
	expire_at(1, attempt);
	remove_packs(1, attempt);
}

START_TEST(what_expires_behind_the_intent_is_brought_again)
{
	CLEAN(attempts_release) struct attempts all = {0};
	char first[NAME16];

	back_up("one");
	all = look(1);
	memcpy(first, of_seq(&all, 1)->attempt, NAME16);
	f.store[1] = store_trace_new(f.store[1], expire_newest, first);
	back_up("two");
	ck_assert_uint_eq(f.result.committed, 2);
	ck_intact(0, 2);
	ck_intact(1, 1);
	ck_text(1, "two");
}
END_TEST

START_TEST(only_what_every_site_has_is_reused)
{
	CLEAN(attempts_release) struct attempts all = {0};

	back_up("one");
	all = look(0);
	expire_at(0, of_seq(&all, 1)->attempt); /* at one of two */
	remove_packs(0, of_seq(&all, 1)->attempt);
	back_up("two");
	ck_assert_uint_eq(f.result.committed, 2);
	ck_intact(0, 1);
	ck_intact(1, 2);
	ck_text(0, "two");
}
END_TEST

/* --- one at a time, and without a trace --- */

START_TEST(a_second_run_at_the_same_time_is_refused)
{
	struct session_opts o = {
	        .state_dir = f.state, .keys = &f.keys, .cfg = &f.cfg, .n_sites = 1, .now = f.now, .run = "0a"};
	struct session_site site = {.name = f.name[0], .store = f.store[0]};
	struct fixture_run run;
	struct session *s;

	o.site = &site;
	fixture_begin(&f, &run);
	ck_fails(session_begin(&o, &s, &err), ERR_BUSY);
	fixture_drop(&run);
	ck_ok(session_begin(&o, &s, &err));
	session_end(s);
}
END_TEST

static void count_puts(void *arg, const char *line)
{
	*(size_t *)arg += str_starts(line, "put ") || str_starts(line, "remove ");
}

START_TEST(a_dry_run_puts_and_remembers_nothing)
{
	struct session_opts o = {.state_dir = f.state,
	        .keys = &f.keys,
	        .cfg = &f.cfg,
	        .n_sites = 2,
	        .now = f.now,
	        .run = "0a",
	        .dry_run = true};
	struct session_site site[2];
	CLEAN(buf_release) struct buf before = BUF_INIT(4096);
	CLEAN(buf_release) struct buf after = BUF_INIT(4096);
	CLEAN(free_ptr) char *head = fs_join(f.state, "head");
	CLEAN(free_ptr) char *attempts = fs_join(f.state, "attempts");
	struct session *s;
	size_t puts = 0;

	ck_ok(back_up_with_fault(1, "put w/ fail UNREACHABLE after 2", "one")); /* leaves something to offer */
	ck_ok(fs_read(head, &before, &err));
	for (size_t i = 0; i < 2; i++) {
		f.store[i] = store_trace_new(f.store[i], count_puts, &puts);
		site[i] = (struct session_site){.name = f.name[i], .store = f.store[i]};
	}
	o.site = site;
	ck_ok(session_begin(&o, &s, &err));
	ck_assert_int_eq(site[0].state, SITE_ACTIVE);
	ck_assert_uint_gt(index_packs(session_index(s)), 0);
	ck_assert(session_usable(s, 0));
	session_end(s);
	ck_assert_uint_eq(puts, 0);
	ck_ok(fs_read(head, &after, &err));
	ck_assert_uint_eq(before.len, after.len);
	ck_assert_mem_eq(before.p, after.p, before.len);
	ck_ok(fs_read(attempts, &after, &err));
	ck_assert_uint_eq(after.len, 0);
	ck_assert(state_has("pending/site-1"));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("session");
	TCase *t = tcase_create("session");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, many_runs_leave_merges_at_the_site_and_few_files_here);
	tcase_add_test(t, a_first_run_starts_a_lineage_that_found_nothing);
	tcase_add_test(t, a_run_names_the_one_before_it_and_brings_only_what_is_new);
	tcase_add_test(t, rows_of_relative_lists_end_at_a_full_one);
	tcase_add_test(t, a_host_rolled_back_starts_a_new_lineage);
	tcase_add_test(t, a_fork_made_while_a_site_was_away_ends_in_a_new_lineage);
	tcase_add_loop_test(t, a_host_without_its_state_starts_a_new_lineage, 0, 2);
	tcase_add_test(t, a_damaged_head_starts_a_new_lineage);
	tcase_add_loop_test(t, a_dead_attempt_of_this_host_is_resumed, 0, 2);
	tcase_add_test(t, what_expires_behind_the_intent_is_brought_again);
	tcase_add_test(t, only_what_every_site_has_is_reused);
	tcase_add_test(t, a_second_run_at_the_same_time_is_refused);
	tcase_add_test(t, a_dry_run_puts_and_remembers_nothing);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
