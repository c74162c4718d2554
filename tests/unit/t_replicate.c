#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "backup/replicate.h"
#include "verify/check.h"
#include "repo/fields.h"
#include "repo_fixture.h"
#include "repo_random.h"
#include "suite.h"

static struct err err;
static struct fixture f;
static struct replicate_result res;
static unsigned char large[1 << 20];

/* Sites 0 and 1; those marked take part in the run. */
static void back_up(const char *text, bool zero, bool one)
{
	struct store *kept[2] = {f.store[0], f.store[1]};
	struct fixture_run run;
	struct fixture_entry e[] = {{.path = "large", .mode = S_IFREG | 0644, .content = large, .n = sizeof large},
	        {.path = "text", .mode = S_IFREG | 0644, .content = text, .n = strlen(text)}};

	if (!zero)
		f.store[0] = NULL;
	if (!one)
		f.store[1] = NULL;
	fixture_begin(&f, &run);
	fixture_add(&run, &e[0]);
	fixture_add(&run, &e[1]);
	ck_ok(fixture_commit(&run, &err));
	f.store[0] = kept[0];
	f.store[1] = kept[1];
}

static int bring(size_t from, size_t to, bool dry_run)
{
	return replicate_source(
	        f.store[from], f.store[to], &f.cfg, FIXTURE_SOURCE, &f.log, "0b", f.now, dry_run, &res, &err);
}

static void set_up(void)
{
	uint64_t state = 11;

	fixture_init_in(&f, 2, true, fixture_fast_dir());
	fill_random(large, sizeof large, &state);
}

static void tear_down(void)
{
	fixture_release(&f);
}

static size_t count_keys(size_t site, const char *prefix)
{
	CLEAN(store_keys_release) struct store_keys k = {0};

	ck_ok(store_list_all(f.store[site], prefix, &k, &err));
	return k.n;
}

static char *key_at(size_t site, const char *prefix, size_t n)
{
	CLEAN(store_keys_release) struct store_keys k = {0};

	ck_ok(store_list_all(f.store[site], prefix, &k, &err));
	ck_assert_uint_lt(n, k.n);
	return xstrdup(k.key[n]);
}

/* Every chunk of every snapshot there opens, nothing is missing, behind or forked. */
static void ck_intact(struct store *st, size_t snapshots)
{
	struct reader_site site = {.name = "copy", .store = st};
	struct reader_opts o = {
	        .site = &site, .n_sites = 1, .key = &f.opening, .cfg = &f.cfg, .source = FIXTURE_SOURCE, .workers = 1};
	struct check_result c;
	struct reader *r;

	ck_ok(reader_open(&o, &r, &err));
	ck_ok(check_data(r, &(struct check_opts){.workers = 1}, &c, &err));
	reader_close(r);
	char *all = json_dumps(c.findings, 0);

	ck_assert_msg(c.snapshots == snapshots && json_array_size(c.findings) == 0, "%llu snapshots: %s",
	        (unsigned long long)c.snapshots, all);
	free(all);
	check_result_release(&c);
}

static void put_record(size_t site, const char *type, const char *key, json_t *o, const struct secret *seed)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);

	fields_set(o, "source", json_string(FIXTURE_SOURCE));
	fields_set_time(o, "time", f.now);
	ck_ok(signed_make(type, o, f.repo, seed, &b, &err));
	ck_ok(store_put_bytes(f.store[site], key, b.p, b.len, &err));
	json_decref(o);
}

static void expire(size_t site, const char *attempt, const unsigned char digest[ID_LEN], const struct secret *seed)
{
	json_t *o = json_object();
	char key[STORE_KEY_MAX + 1];

	fields_set(o, "attempt", json_string(attempt));
	fields_set_hex_or_null(o, "snapshot", true, digest, ID_LEN);
	put_record(site, "expire", key_fmt(key, "x/" FIXTURE_SOURCE "/%s", attempt), o, seed);
}

/* The attempt that commits a number at a site. */
static void attempt_of(size_t site, uint64_t seq, char attempt[NAME16], unsigned char digest[ID_LEN])
{
	CLEAN(attempts_release) struct attempts all = {0};
	size_t bad;

	ck_ok(attempts_load(f.store[site], &f.cfg, FIXTURE_SOURCE, &all, &bad, &err));
	for (size_t i = 0; i < all.n; i++)
		if (all.a[i].committed && all.a[i].snap.seq == seq) {
			memcpy(attempt, all.a[i].attempt, NAME16);
			memcpy(digest, all.a[i].snapshot_digest, ID_LEN);
			return;
		}
	ck_abort_msg("site %zu has no snapshot %llu", site, (unsigned long long)seq);
}

static void remove_all(size_t site, const char *prefix)
{
	CLEAN(store_keys_release) struct store_keys k = {0};

	ck_ok(store_list_all(f.store[site], prefix, &k, &err));
	for (size_t i = 0; i < k.n; i++)
		ck_ok(store_remove(f.store[site], k.key[i], &err));
}

static void flip(size_t site, const char *key)
{
	CLEAN(free_ptr) char *path = fixture_object(&f, site, key);
	CLEAN(buf_release) struct buf b = BUF_INIT(PACK_MAX);

	ck_ok(fs_read(path, &b, &err));
	b.p[b.len / 2] ^= 1;
	ck_ok(fs_replace(path, b.p, b.len, 0400, &err));
}

/* --- what is brought --- */

START_TEST(a_site_that_was_away_gets_what_it_lacks)
{
	back_up("one", true, true);
	size_t had = count_keys(1, "p/");

	back_up("two", true, false);
	back_up("three", true, false);
	ck_ok(bring(0, 1, false));
	ck_assert_uint_eq(res.snapshots, 2);
	ck_assert_uint_eq(res.packs, 2); /* what the first snapshot has is there already */
	ck_assert_uint_eq(count_keys(1, "p/"), had + 2);
	ck_intact(f.store[1], 3);
	back_up("four", true, true);
	ck_assert_uint_eq(f.result.committed, 2);
	ck_assert_uint_eq(f.result.seq, 4);
	ck_assert(!f.result.new_lineage);
	ck_intact(f.store[1], 4);
}
END_TEST

START_TEST(an_empty_store_becomes_a_whole_copy)
{
	struct store *empty;
	struct cfg cfg;

	back_up("one", true, true);
	back_up("two", true, true);
	ck_ok(store_mem_open("empty", &empty, &err));
	ck_ok(replicate_source(f.store[0], empty, &f.cfg, FIXTURE_SOURCE, &f.log, "0b", f.now, false, &res, &err));
	ck_assert_uint_eq(res.snapshots, 2);
	ck_assert_uint_eq(res.packs, count_keys(0, "p/"));
	ck_assert_uint_eq(res.index_objects, count_keys(0, "i/"));
	ck_ok(cfg_load(empty, f.root_pub, f.repo, &cfg, &err));
	cfg_release(&cfg);
	ck_intact(empty, 2);
	store_free(empty);
}
END_TEST

struct puts {
	size_t n, bytes;
	struct store *below;
	bool always;
	void (*on_open)(struct puts *p, const char *attempt);
	bool done;
};

static void watch_puts(void *arg, const char *line)
{
	struct puts *p = arg;

	if (!str_starts(line, "put "))
		return;
	p->n++;
	if (p->on_open && (p->always || !p->done) && str_starts(line, "put w/") && strstr(line, "/open ")) {
		char attempt[NAME16] = "";

		memcpy(attempt, line + strlen("put w/" FIXTURE_SOURCE "/"), NAME16 - 1);
		p->done = true;
		p->on_open(p, attempt);
	}
}

static void watch(struct puts *p)
{
	p->below = f.store[1];
	f.store[1] = store_trace_new(f.store[1], watch_puts, p);
}

START_TEST(a_copy_that_is_complete_gets_nothing)
{
	struct puts p = {0};

	back_up("one", true, true);
	back_up("two", true, false);
	ck_ok(bring(0, 1, false));
	watch(&p);
	ck_ok(bring(0, 1, false));
	ck_assert_uint_eq(p.n, 0);
	ck_assert_uint_eq(res.snapshots + res.packs + res.bytes + res.index_objects, 0);
}
END_TEST

START_TEST(a_dry_run_counts_the_same_and_puts_nothing)
{
	struct replicate_result dry;
	struct puts p = {0};

	back_up("one", true, true);
	back_up("two", true, false);
	back_up("three", true, false);
	watch(&p);
	ck_ok(bring(0, 1, true));
	ck_assert_uint_eq(p.n, 0);
	dry = res;
	ck_ok(bring(0, 1, false));
	ck_assert_uint_eq(dry.snapshots, res.snapshots);
	ck_assert_uint_eq(dry.packs, res.packs);
	ck_assert_uint_eq(dry.bytes, res.bytes);
	ck_assert_uint_gt(res.bytes, 0);
}
END_TEST

START_TEST(an_expired_snapshot_is_passed_over_and_its_gap_explained)
{
	char attempt[NAME16], key[STORE_KEY_MAX + 1];
	unsigned char digest[ID_LEN];

	back_up("one", true, true);
	back_up("two", true, false);
	back_up("three", true, false);
	attempt_of(0, 2, attempt, digest);
	expire(0, attempt, digest, &f.log);
	ck_ok(bring(0, 1, false));
	ck_assert_uint_eq(res.snapshots, 1);
	ck_assert_uint_eq(count_keys(1, key_fmt(key, "x/" FIXTURE_SOURCE "/%s", attempt)), 1);
	ck_intact(f.store[1], 2); /* which would call it behind without the record */
}
END_TEST

START_TEST(an_expiry_does_not_end_what_is_committed_here)
{
	char attempt[NAME16];
	unsigned char digest[ID_LEN];

	back_up("one", true, true); /* one attempt, at both */
	attempt_of(0, 1, attempt, digest);
	expire(0, attempt, digest, &f.log);
	ck_ok(bring(0, 1, false));
	ck_assert_uint_eq(count_keys(1, "x/"), 0);
	ck_intact(f.store[1], 1);
}
END_TEST

START_TEST(records_that_no_log_signed_stay_where_they_are)
{
	static const char name[] = "r/" FIXTURE_SOURCE "/0123456789abcdef/0000000001";
	json_t *good = json_object(), *bad = json_object();
	unsigned char digest[ID_LEN] = {0};

	back_up("one", true, true);
	fields_set(good, "lineage", json_string("0123456789abcdef"));
	fields_set(bad, "lineage", json_string("0123456789abcdef"));
	put_record(0, "receipt", name, good, &f.log);
	put_record(0, "receipt", "r/" FIXTURE_SOURCE "/0123456789abcdef/0000000002", bad, &f.keys.sign);
	expire(0, "00000000000000aa", digest, &f.keys.sign);
	ck_ok(bring(0, 1, false));
	ck_assert_uint_eq(count_keys(1, "r/"), 1);
	ck_assert_uint_eq(count_keys(1, name), 1);
	ck_assert_uint_eq(count_keys(1, "x/"), 0);
}
END_TEST

START_TEST(a_long_history_keeps_its_rows_of_lists_short)
{
	enum { RUNS = 70 };
	CLEAN(pack_list_release) struct pack_list packs = {0};
	CLEAN(attempts_release) struct attempts all = {0};
	unsigned deepest = 0;
	size_t bad;

	f.n_sites = 1;
	for (int i = 0; i < RUNS; i++)
		fixture_grow(&f, &packs);
	f.n_sites = 2;
	ck_ok(bring(0, 1, false));
	ck_assert_uint_eq(res.snapshots, RUNS);
	ck_assert_uint_eq(res.packs, RUNS);
	ck_ok(attempts_load(f.store[1], &f.cfg, FIXTURE_SOURCE, &all, &bad, &err));
	for (size_t i = 0; i < all.n; i++) {
		struct pack_list l = {0};
		unsigned depth;

		ck_assert(all.a[i].committed);
		ck_ok(attempt_packs(f.store[1], FIXTURE_SOURCE, all.a[i].attempt, &l, &depth, &err));
		deepest = MAX(deepest, depth);
		pack_list_release(&l);
	}
	ck_assert_uint_eq(deepest, 63);
}
END_TEST

START_TEST(index_objects_are_named_by_their_digest)
{
	back_up("one", true, true);
	back_up("two", true, false);
	ck_ok(bring(0, 1, false));
	ck_assert_uint_eq(res.index_objects, 1); /* the first is there under the name of its attempt */
	CLEAN(free_ptr) char *key = key_at(1, "i/" FIXTURE_SOURCE "/m.", 0);
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	unsigned char digest[ID_LEN];
	char hex[HEX_LEN];

	ck_ok(store_get(f.store[1], key, &b, &err));
	sha256_of(b.p, b.len, digest);
	hex_encode(hex, digest, ID_LEN);
	ck_assert_str_eq(strrchr(key, '.') + 1, hex);
}
END_TEST

/* --- what is refused --- */

START_TEST(a_bad_pack_is_named_and_nothing_is_committed)
{
	back_up("one", true, false);
	CLEAN(free_ptr) char *key = key_at(0, "p/", 0);

	flip(0, key);
	ck_fails(bring(0, 1, false), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(err.msg, key));
	ck_assert_uint_eq(count_keys(1, "s/"), 0);
	ck_ok(store_remove(f.store[0], key, &err));
	ck_fails(bring(0, 1, false), ERR_MISSING);
	ck_assert_ptr_nonnull(strstr(err.msg, strrchr(key, '/') + 1));
}
END_TEST

START_TEST(another_place_of_a_bad_pack_is_tried)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(PACK_MAX);
	char copy[STORE_KEY_MAX + 1];

	back_up("one", true, false);
	CLEAN(free_ptr) char *key = key_at(0, "p/", 0);

	ck_ok(store_get(f.store[0], key, &b, &err));
	ck_ok(store_put_bytes(f.store[0], key_fmt(copy, "p/" FIXTURE_SOURCE "/ffffffffffffffff%s", strrchr(key, '/')),
	        b.p, b.len, &err));
	flip(0, key);
	ck_ok(bring(0, 1, false));
	ck_intact(f.store[1], 1);
}
END_TEST

START_TEST(two_snapshots_of_one_number_are_told_and_both_kept)
{
	CLEAN(free_ptr) char *saved = fs_join(f.dir, "saved");
	char cmd[512];

	back_up("one", true, true);
	snprintf(cmd, sizeof cmd, "cp -a '%s' '%s'", f.state, saved);
	ck_assert_int_eq(system(cmd), 0);
	back_up("two", true, false);
	ck_ok(fs_remove_tree(f.state, &err));
	ck_assert_int_eq(rename(saved, f.state), 0);
	back_up("other two", false, true);
	ck_fails(bring(0, 1, false), ERR_FORK);
	ck_assert_uint_eq(res.snapshots, 1);
	char attempt[NAME16];
	unsigned char digest[ID_LEN];

	attempt_of(1, 2, attempt, digest);
	ck_fails(bring(0, 1, false), ERR_FORK);
	ck_assert_uint_eq(res.snapshots, 0);
}
END_TEST

/* --- others at work --- */

static void put_dead(struct puts *p, const char *attempt)
{
	static const char dead[] = "holdfast1 fate dead\n";
	char key[STORE_KEY_MAX + 1];

	ck_ok(store_put_bytes(
	        p->below, key_attempt(key, FIXTURE_SOURCE, attempt, "fate"), dead, sizeof dead - 1, &err));
}

START_TEST(an_attempt_declared_dead_is_made_again_once)
{
	struct puts p = {.on_open = put_dead};

	back_up("one", true, false);
	watch(&p);
	ck_ok(bring(0, 1, false));
	ck_intact(f.store[1], 1);
	p.always = true;
	back_up("two", true, false);
	ck_fails(bring(0, 1, false), ERR_BUSY);
	p.always = false;
	ck_ok(bring(0, 1, false));
	ck_intact(f.store[1], 2);
}
END_TEST

static void expire_first(struct puts *p, const char *attempt)
{
	char first[NAME16];
	unsigned char digest[ID_LEN];

	(void)p;
	(void)attempt;
	attempt_of(0, 1, first, digest);
	expire(1, first, digest, &f.log);
	remove_all(1, "p/");
}

START_TEST(what_expires_behind_the_intent_is_not_reused)
{
	struct puts p = {.on_open = expire_first};

	back_up("one", true, true);
	back_up("two", true, false);
	watch(&p);
	ck_ok(bring(0, 1, false));
	ck_assert_uint_eq(res.packs, 2);
	ck_intact(f.store[1], 1);
}
END_TEST

/* --- interrupted --- */

/* Where a child that replicates dies: before or after the n-th operation on one of the two sites. */
static bool killed_at(size_t site, const char *what, unsigned n)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		char rule[64];

		snprintf(rule, sizeof rule, "any * %s after %u", what, n);
		if (store_fault_new(f.store[site], (const char *[]){rule, NULL}, &f.store[site], &err) ||
		        bring(0, 1, false))
			_exit(1);
		_exit(0);
	}
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	else
		ck_assert_int_eq(WEXITSTATUS(status), 0);
	return WIFSIGNALED(status);
}

START_TEST(a_rerun_completes_what_was_killed_anywhere)
{
	static const struct {
		size_t site;
		const char *what;
	} kind[] = {{0, "kill"}, {1, "kill"}, {1, "killafter"}};

	for (unsigned n = 0;; n++) {
		if (n) {
			tear_down();
			set_up();
		}
		back_up("one", true, true);
		back_up("two", true, false);
		back_up("three", true, false);
		bool killed = killed_at(kind[_i].site, kind[_i].what, n);

		ck_ok(bring(0, 1, false));
		ck_intact(f.store[1], 3);
		ck_assert_uint_eq(count_keys(1, "s/"), 3);
		if (!killed) {
			ck_assert_uint_gt(n, 15); /* it did die at as many places */
			break;
		}
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("replicate");
	TCase *t = tcase_create("replicate"), *kill = tcase_create("killed");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, a_site_that_was_away_gets_what_it_lacks);
	tcase_add_test(t, an_empty_store_becomes_a_whole_copy);
	tcase_add_test(t, a_copy_that_is_complete_gets_nothing);
	tcase_add_test(t, a_dry_run_counts_the_same_and_puts_nothing);
	tcase_add_test(t, an_expired_snapshot_is_passed_over_and_its_gap_explained);
	tcase_add_test(t, an_expiry_does_not_end_what_is_committed_here);
	tcase_add_test(t, records_that_no_log_signed_stay_where_they_are);
	tcase_add_test(t, a_long_history_keeps_its_rows_of_lists_short);
	tcase_add_test(t, index_objects_are_named_by_their_digest);
	tcase_add_test(t, a_bad_pack_is_named_and_nothing_is_committed);
	tcase_add_test(t, another_place_of_a_bad_pack_is_tried);
	tcase_add_test(t, two_snapshots_of_one_number_are_told_and_both_kept);
	tcase_add_test(t, an_attempt_declared_dead_is_made_again_once);
	tcase_add_test(t, what_expires_behind_the_intent_is_not_reused);
	tcase_add_checked_fixture(kill, set_up, tear_down);
	tcase_add_loop_test(kill, a_rerun_completes_what_was_killed_anywhere, 0, 3);
	tcase_set_timeout(kill, 300);
	suite_add_tcase(s, t);
	suite_add_tcase(s, kill);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
