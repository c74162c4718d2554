#include "verify/check.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/rng.h"
#include "base/str.h"
#include "repo/fields.h"
#include "repo_fixture.h"
#include "repo_random.h"
#include "suite.h"

static struct err err;
static struct fixture f;
static struct check_result res;
static struct attempts site; /* of the last look */

enum depth { DIGESTS, DATA };

static int run_with(enum depth d, const struct check_opts *o)
{
	struct reader *r;
	int rc;

	check_result_release(&res);
	if (d == DIGESTS)
		return check_digests(f.store[0], &f.cfg, FIXTURE_SOURCE, o, &res, &err);
	size_t sites = f.n_sites;

	f.n_sites = 1;
	r = fixture_reader(&f);
	rc = check_data(r, o, &res, &err);
	reader_close(r);
	f.n_sites = sites;
	return rc;
}

static void run(enum depth d)
{
	ck_ok(run_with(d, &(struct check_opts){.workers = 2}));
}

static void look(void)
{
	size_t bad;

	attempts_release(&site);
	ck_ok(attempts_load(f.store[0], &f.cfg, FIXTURE_SOURCE, &site, &bad, &err));
}

static struct attempt_info *attempt_of_seq(uint64_t seq)
{
	look();
	for (size_t i = 0; i < site.n; i++)
		if (site.a[i].committed && site.a[i].snap.seq == seq)
			return &site.a[i];
	ck_abort_msg("no snapshot %llu", (unsigned long long)seq);
	return NULL;
}

/* One source: a small file that changes from run to run and a large one that stays. */
static unsigned char large[3 << 20];

static void back_up(const char *text)
{
	struct fixture_entry e[] = {{.path = "d", .mode = S_IFDIR | 0755},
	        {.path = "d/large", .mode = S_IFREG | 0644, .content = large, .n = sizeof large},
	        {.path = "d/text", .mode = S_IFREG | 0644, .content = text, .n = strlen(text)}};

	fixture_backup(&f, e, ARRAY_LEN(e));
}

static void set_up(void)
{
	uint64_t state = 7;

	fixture_init_in(&f, 1, true, fixture_fast_dir());
	fill_random(large, sizeof large, &state);
}

static void tear_down(void)
{
	attempts_release(&site);
	check_result_release(&res);
	fixture_release(&f);
}

/* --- damage --- */

/* Keys below a prefix; the n-th. */
static char *key_at(const char *prefix, size_t n)
{
	CLEAN(store_keys_release) struct store_keys k = {0};

	ck_ok(store_list_all(f.store[0], prefix, &k, &err));
	ck_assert_uint_lt(n, k.n);
	return xstrdup(k.key[n]);
}

static char *first_pack(uint64_t seq)
{
	char prefix[STORE_KEY_MAX + 1];

	return key_at(key_fmt(prefix, "p/" FIXTURE_SOURCE "/%s/", attempt_of_seq(seq)->attempt), 0);
}

static void flip(const char *key, off_t at)
{
	CLEAN(free_ptr) char *path = fixture_object(&f, 0, key);
	unsigned char c;

	ck_assert_int_eq(chmod(path, 0600), 0);
	int fd = open(path, O_RDWR);

	ck_assert_int_ge(fd, 0);
	if (at < 0)
		at += lseek(fd, 0, SEEK_END);
	ck_assert_int_eq(pread(fd, &c, 1, at), 1);
	c ^= 1;
	ck_assert_int_eq(pwrite(fd, &c, 1, at), 1);
	close(fd);
}

static void fetch(const char *key, struct buf *b)
{
	buf_init(b, PACK_MAX);
	ck_ok(store_get(f.store[0], key, b, &err));
}

/* A snapshot made by hand: signed by the host, committed with this list. */
struct hand {
	char lineage[NAME16], attempt[NAME16];
	uint64_t seq;
	bool has_previous, no_copy;
	unsigned char previous[ID_LEN];
	struct snapshot_facts facts;
	struct pack_list packs;
	unsigned char digest[ID_LEN];
};

static void put_open(const char *attempt)
{
	struct attempt_open o = {.source = FIXTURE_SOURCE, .run = "0a", .time = f.now};
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	char key[STORE_KEY_MAX + 1];

	memcpy(o.attempt, attempt, NAME16);
	ck_ok(attempt_open_encode(&o, f.repo, &f.keys.sign, &b, &err));
	ck_ok(store_put_bytes(f.store[0], key_attempt(key, FIXTURE_SOURCE, attempt, "open"), b.p, b.len, &err));
}

static void commit_by_hand(struct hand *h)
{
	CLEAN(snapshot_release)
	struct snapshot s = {.seq = h->seq,
	        .facts = h->facts,
	        .has_previous = h->has_previous,
	        .previous_committed = h->has_previous};
	CLEAN(fate_release) struct fate fate = {.committed = true, .snapshot = BUF_INIT(SIGNED_MAX)};
	CLEAN(buf_release) struct buf b = BUF_INIT(FATE_MAX);
	char key[STORE_KEY_MAX + 1];

	rng_hex(h->attempt, 8);
	put_open(h->attempt);
	memcpy(s.lineage, h->lineage, NAME16);
	memcpy(s.previous, h->previous, ID_LEN);
	if (!s.facts.run[0])
		strcpy(s.facts.run, "0a");
	pack_list_digest(&h->packs, s.packs);
	ck_ok(snapshot_encode(&s, &f.keys, &fate.snapshot, &err));
	memcpy(h->digest, s.digest, ID_LEN);
	fate.list = h->packs;
	h->packs = (struct pack_list){0};
	ck_ok(fate_encode(&fate, &b, &err));
	ck_ok(store_put_bytes(f.store[0], key_attempt(key, FIXTURE_SOURCE, h->attempt, "fate"), b.p, b.len, &err));
	if (!h->no_copy)
		ck_ok(store_put_same(f.store[0], key_snapshot(key, 's', FIXTURE_SOURCE, h->lineage, h->seq),
		        fate.snapshot.p, fate.snapshot.len, &err));
}

/* What a hand-made snapshot takes over of a real one. */
static struct hand like(uint64_t seq)
{
	struct attempt_info *a = attempt_of_seq(seq);
	struct hand h = {.seq = a->snap.seq};

	memcpy(h.lineage, a->snap.lineage, NAME16);
	ck_ok(snapshot_open_facts(&a->snap, f.repo, &f.keys.s.idx_key, &err));
	h.facts = a->snap.facts;
	ck_ok(attempt_packs(f.store[0], FIXTURE_SOURCE, a->attempt, &h.packs, NULL, &err));
	return h;
}

static void expire(const char *attempt, const struct secret *seed)
{
	CLEAN(json_release) json_t *o = json_object();
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	char key[STORE_KEY_MAX + 1];

	fields_set(o, "source", json_string(FIXTURE_SOURCE));
	fields_set(o, "attempt", json_string(attempt));
	fields_set_hex_or_null(o, "snapshot", false, NULL, 0);
	fields_set_time(o, "time", f.now);
	ck_ok(signed_make("expire", o, f.repo, seed, &b, &err));
	ck_ok(store_put_bytes(f.store[0], key_fmt(key, "x/" FIXTURE_SOURCE "/%s", attempt), b.p, b.len, &err));
}

/* --- what was found --- */

static const json_t *finding(const char *kind, const char *object)
{
	size_t i;
	json_t *o;

	json_array_foreach (res.findings, i, o) {
		if (str_eq(json_string_value(json_object_get(o, "kind")), kind) &&
		        (!object || str_eq(json_string_value(json_object_get(o, "object")), object)))
			return o;
	}
	return NULL;
}

static void ck_found(const char *kind, const char *object)
{
	char *all = json_dumps(res.findings, 0);

	ck_assert_msg(finding(kind, object) != NULL, "no %s of %s in %s", kind, object ? object : "anything", all);
	free(all);
}

static void ck_needed_by(const json_t *found, const char *seqs)
{
	char *text = json_dumps(json_object_get(found, "snapshots"), JSON_COMPACT);

	ck_assert_str_eq(text, seqs);
	free(text);
}

static void ck_counts(uint64_t missing, uint64_t corrupt, uint64_t broken)
{
	char *all = json_dumps(res.findings, 0);

	ck_assert_msg(res.missing == missing && res.corrupt == corrupt && res.snapshots_broken == broken,
	        "missing %llu, corrupt %llu, broken %llu: %s", (unsigned long long)res.missing,
	        (unsigned long long)res.corrupt, (unsigned long long)res.snapshots_broken, all);
	free(all);
}

/* --- tests of both depths --- */

START_TEST(an_intact_repository_has_no_findings)
{
	CLEAN(store_keys_release) struct store_keys k = {0};
	uint64_t bytes = 0;

	back_up("one");
	back_up("two");
	run((enum depth)_i);
	ck_counts(0, 0, 0);
	ck_assert_uint_eq(json_array_size(res.findings), 0);
	ck_ok(store_list_all(f.store[0], "p/", &k, &err));
	for (size_t i = 0; i < k.n; i++)
		bytes += k.size[i];
	ck_assert_uint_eq(res.packs, k.n);
	ck_assert_uint_eq(res.pack_bytes, bytes);
	ck_assert_uint_eq(res.snapshots, 2);
	ck_assert_uint_eq(res.forks + res.behind + res.stray, 0);
}
END_TEST

START_TEST(a_flipped_bit_names_the_pack_and_the_snapshots_that_need_it)
{
	back_up("one");
	back_up("two");
	back_up("three");
	CLEAN(free_ptr) char *old = first_pack(1);
	CLEAN(free_ptr) char *new = first_pack(2);

	flip(new, -60);
	run((enum depth)_i);
	ck_found("corrupt", new);
	ck_counts(0, 1, 1);
	ck_needed_by(finding("corrupt", new), "[2]");
	flip(old, 4000);
	run((enum depth)_i);
	ck_found("corrupt", old);
	ck_needed_by(finding("corrupt", old), "[1,2,3]");
	ck_counts(0, 2, 3);
}
END_TEST

START_TEST(a_lost_pack_names_the_snapshots_that_need_it)
{
	back_up("one");
	back_up("two");
	CLEAN(free_ptr) char *key = first_pack(1);

	ck_ok(store_remove(f.store[0], key, &err));
	run((enum depth)_i);
	ck_counts(1, 0, 2);
	ck_found("missing", strrchr(key, '/') + 1);
	ck_needed_by(finding("missing", NULL), "[1,2]");
}
END_TEST

START_TEST(one_whole_copy_of_a_pack_is_enough)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(PACK_MAX);
	char copy[STORE_KEY_MAX + 1];

	back_up("one");
	CLEAN(free_ptr) char *key = first_pack(1);

	fetch(key, &b);
	put_open("00000000000000aa");
	ck_ok(store_put_bytes(f.store[0], key_fmt(copy, "p/" FIXTURE_SOURCE "/00000000000000aa%s", strrchr(key, '/')),
	        b.p, b.len, &err));
	flip(key, 4000);
	run((enum depth)_i);
	ck_found("mended", key);
	ck_counts(0, 0, 0);
	ck_ok(store_remove(f.store[0], key, &err));
	run((enum depth)_i);
	ck_counts(0, 0, 0);
}
END_TEST

START_TEST(a_pack_list_that_nobody_signed_breaks_its_snapshot)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(0);
	char key[STORE_KEY_MAX + 1];
	size_t at;

	back_up("one");
	fetch(key_attempt(key, FIXTURE_SOURCE, attempt_of_seq(1)->attempt, "fate"), &b);
	for (at = b.len - 2; b.p[at] > '9';) /* a digit of the last digest, which stays one */
		at--;
	flip(key, (off_t)at);
	run((enum depth)_i);
	ck_found("corrupt", key);
	ck_counts(0, 1, 1);
}
END_TEST

START_TEST(a_forged_snapshot_in_a_fate_is_told_and_its_copy_stands_alone)
{
	char key[STORE_KEY_MAX + 1], copy[STORE_KEY_MAX + 1];

	back_up("one");
	const struct attempt_info *a = attempt_of_seq(1);

	key_snapshot(copy, 's', FIXTURE_SOURCE, a->snap.lineage, 1);
	flip(key_attempt(key, FIXTURE_SOURCE, a->attempt, "fate"), 100);
	run((enum depth)_i);
	ck_found("corrupt", key);
	ck_found("broken", copy);
	ck_counts(0, 1, 1);
}
END_TEST

START_TEST(copies_of_snapshots_are_compared_with_fates)
{
	back_up("one");
	back_up("two");
	CLEAN(free_ptr) char *one = key_at("s/", 0);
	CLEAN(free_ptr) char *two = key_at("s/", 1);

	flip(one, 40);
	ck_ok(store_remove(f.store[0], two, &err));
	run((enum depth)_i);
	ck_found("corrupt", one);
	ck_found("missing", two);
	ck_counts(1, 1, 0);
}
END_TEST

START_TEST(two_digests_of_one_number_are_a_fork)
{
	back_up("one");
	struct hand h = like(1);

	h.facts.files++;
	h.no_copy = true;
	commit_by_hand(&h);
	run((enum depth)_i);
	ck_assert_uint_eq(res.forks, 1);
	ck_assert_uint_eq(res.snapshots, 2);
	ck_found("fork", NULL);
}
END_TEST

START_TEST(a_committed_predecessor_that_is_not_here_is_behind)
{
	back_up("one");
	struct hand h = like(1);

	h.seq = 3;
	h.has_previous = true;
	memset(h.previous, 7, ID_LEN);
	commit_by_hand(&h);
	run((enum depth)_i);
	ck_counts(0, 0, 0);
	ck_assert_uint_eq(res.behind, 1);
	ck_needed_by(finding("behind", NULL), "[3]");
}
END_TEST

START_TEST(a_chain_that_starts_twice_is_corrupt)
{
	char key[STORE_KEY_MAX + 1];

	back_up("one");
	struct hand h = like(1);

	h.seq = 2;
	commit_by_hand(&h);
	run((enum depth)_i);
	ck_found("corrupt", key_attempt(key, FIXTURE_SOURCE, h.attempt, "fate"));
	ck_counts(0, 1, 0);
}
END_TEST

START_TEST(an_expired_snapshot_needs_nothing)
{
	back_up("one");
	back_up("two");
	CLEAN(free_ptr) char *key = first_pack(2);

	expire(attempt_of_seq(2)->attempt, &f.log);
	ck_ok(store_remove(f.store[0], key, &err));
	run((enum depth)_i);
	ck_assert_uint_eq(res.snapshots, 1);
	ck_counts(0, 0, 0);
}
END_TEST

START_TEST(an_expiry_that_no_log_signed_excuses_nothing)
{
	char x[STORE_KEY_MAX + 1];

	back_up("one");
	CLEAN(free_ptr) char *key = first_pack(1);
	const char *attempt = attempt_of_seq(1)->attempt;

	expire(attempt, &f.keys.sign);
	ck_ok(store_remove(f.store[0], key, &err));
	run((enum depth)_i);
	ck_found("corrupt", key_fmt(x, "x/" FIXTURE_SOURCE "/%s", attempt));
	ck_counts(1, 1, 1);
}
END_TEST

START_TEST(a_forged_intent_is_told)
{
	char key[STORE_KEY_MAX + 1];

	back_up("one");
	flip(key_attempt(key, FIXTURE_SOURCE, attempt_of_seq(1)->attempt, "open"), 60);
	run((enum depth)_i);
	ck_found("corrupt", key);
	ck_counts(0, 1, 0);
}
END_TEST

START_TEST(a_merge_is_held_to_its_name)
{
	static const char key[] =
	        "i/" FIXTURE_SOURCE "/m.0000000000000000000000000000000000000000000000000000000000000000";

	back_up("one");
	ck_ok(store_put_bytes(f.store[0], key, "x", 1, &err));
	run((enum depth)_i);
	ck_found("corrupt", key);
	ck_counts(0, 1, 0);
}
END_TEST

START_TEST(lost_keys_break_every_snapshot)
{
	back_up("one");
	struct reader *r = fixture_reader(&f); /* opened while they were there */

	ck_ok(store_remove(f.store[0], "k/" FIXTURE_SOURCE "/1", &err));
	if (_i == DATA)
		ck_ok(check_data(r, &(struct check_opts){0}, &res, &err));
	else
		run(DIGESTS);
	reader_close(r);
	ck_found("missing", "k/" FIXTURE_SOURCE "/1");
	ck_counts(1, 0, 1);
}
END_TEST

START_TEST(packs_of_dead_attempts_are_stray)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(PACK_MAX);
	static const char dead[] = "holdfast1 fate dead\n";
	static const char name[] = "/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

	back_up("one");
	put_open("00000000000000aa");
	CLEAN(free_ptr) char *key = first_pack(1);
	char other[STORE_KEY_MAX + 1];

	fetch(key, &b);
	ck_ok(store_put_bytes(
	        f.store[0], key_fmt(other, "p/" FIXTURE_SOURCE "/00000000000000aa%s", name), "test", 4, &err));
	run(DIGESTS);
	ck_assert_uint_eq(res.stray, 0); /* it may be on its way */
	ck_ok(store_put_bytes(f.store[0], "w/" FIXTURE_SOURCE "/00000000000000aa/fate", dead, sizeof dead - 1, &err));
	run(DIGESTS);
	ck_assert_uint_eq(res.stray, 1);
	ck_counts(0, 0, 0);
}
END_TEST

START_TEST(findings_end_with_a_count_at_the_ceiling)
{
	back_up("one");
	struct hand h = like(1);

	h.seq = 2;
	h.has_previous = true;
	memcpy(h.previous, attempt_of_seq(1)->snapshot_digest, ID_LEN);
	for (size_t i = 0; i < 1200; i++) {
		unsigned char d[ID_LEN];

		rng_bytes(d, sizeof d);
		pack_list_add(&h.packs, d);
	}
	pack_list_sort(&h.packs);
	commit_by_hand(&h);
	run(DIGESTS);
	ck_counts(1200, 0, 1);
	ck_assert_uint_eq(json_array_size(res.findings), 1001);
	ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(res.findings, 1000), "count")), 200);
}
END_TEST

/* --- running --- */

struct seen {
	uint64_t calls, done, total, bytes;
};

static void note_progress(void *arg, uint64_t packs, uint64_t total, uint64_t bytes)
{
	struct seen *s = arg;

	s->calls++;
	s->done = packs;
	s->total = total;
	s->bytes = bytes;
}

START_TEST(progress_counts_up_to_all_packs)
{
	struct seen s = {0};

	back_up("one");
	back_up("two");
	ck_ok(run_with((enum depth)_i, &(struct check_opts){.workers = 2, .progress = note_progress, .arg = &s}));
	ck_assert_uint_eq(s.total, 2);
	ck_assert_uint_eq(s.done, s.total);
	ck_assert_uint_eq(s.calls, s.total);
	ck_assert_uint_eq(s.bytes, res.pack_bytes);
}
END_TEST

START_TEST(a_cancelled_check_is_no_result)
{
	atomic_bool cancel = true;

	back_up("one");
	ck_fails(run_with((enum depth)_i, &(struct check_opts){.cancel = &cancel}), ERR_CANCELLED);
}
END_TEST

START_TEST(a_site_that_goes_away_is_no_result)
{
	back_up("one");
	ck_ok(store_fault_new(f.store[0], (const char *[]){"get p/ fail UNREACHABLE", NULL}, &f.store[0], &err));
	ck_fails(run_with((enum depth)_i, &(struct check_opts){0}), ERR_UNREACHABLE);
}
END_TEST

START_TEST(an_object_that_cannot_be_read_is_damage)
{
	back_up("one");
	CLEAN(free_ptr) char *key = first_pack(1);

	ck_ok(store_fault_new(f.store[0], (const char *[]){"get p/ fail IO", NULL}, &f.store[0], &err));
	run((enum depth)_i);
	ck_found("corrupt", key);
	ck_counts(0, 1, 1);
}
END_TEST

static void count_fates(void *arg, const char *line)
{
	if (str_starts(line, "get w/") && strstr(line, "/fate"))
		++*(size_t *)arg;
}

START_TEST(a_long_row_of_relative_lists_costs_two_reads_a_snapshot)
{
	enum { RUNS = 70 };
	CLEAN(pack_list_release) struct pack_list packs = {0};
	size_t reads = 0;
	unsigned depth;

	for (int i = 0; i < RUNS; i++)
		fixture_grow(&f, &packs);
	struct pack_list l;

	ck_ok(attempt_packs(f.store[0], FIXTURE_SOURCE, attempt_of_seq(64)->attempt, &l, &depth, &err));
	pack_list_release(&l);
	ck_assert_uint_ge(depth, 60);
	f.store[0] = store_trace_new(f.store[0], count_fates, &reads);
	run(DIGESTS);
	ck_counts(0, 0, 0);
	ck_assert_uint_eq(res.snapshots, RUNS);
	ck_assert_uint_eq(res.packs, RUNS);
	ck_assert_uint_eq(reads, 2 * RUNS);
}
END_TEST

/* --- data only --- */

START_TEST(every_chunk_is_opened_and_equal_lists_are_walked_once)
{
	uint64_t chunks, lists, bytes;

	back_up("one");
	run(DATA);
	chunks = res.chunks;
	lists = res.lists;
	bytes = res.chunk_bytes;
	ck_assert_uint_ge(lists, 1); /* content is a file cut at both ends, and more */
	ck_assert_uint_gt(chunks, lists);
	ck_assert_uint_ge(bytes, sizeof large);
	back_up("one");
	run(DATA);
	ck_assert_uint_eq(res.snapshots, 2);
	ck_assert_uint_eq(res.chunks, chunks);
	ck_assert_uint_eq(res.lists, lists);
	ck_assert_uint_eq(res.chunk_bytes, bytes);
}
END_TEST

/* A pack whose name is the digest of its bytes and of which one chunk does not open. */
START_TEST(a_chunk_that_does_not_open_breaks_its_snapshot)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(PACK_MAX);
	unsigned char digest[ID_LEN];
	char key[STORE_KEY_MAX + 1];

	back_up("one");
	struct hand h = like(1);
	CLEAN(free_ptr) char *pack = first_pack(1);

	fetch(pack, &b);
	b.p[b.len / 2] ^= 1;
	sha256_of(b.p, b.len, digest);
	ck_ok(store_put_bytes(
	        f.store[0], key_pack(key, FIXTURE_SOURCE, attempt_of_seq(1)->attempt, digest), b.p, b.len, &err));
	ck_ok(store_remove(f.store[0], pack, &err));
	h.seq = 2;
	h.has_previous = true;
	memcpy(h.previous, attempt_of_seq(1)->snapshot_digest, ID_LEN);
	pack_list_release(&h.packs);
	pack_list_add(&h.packs, digest);
	commit_by_hand(&h);
	run(DIGESTS);
	ck_counts(1, 0, 1); /* the first snapshot's pack is gone; the second's is what it says */
	run(DATA);
	ck_found("corrupt", key);
	ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(finding("corrupt", key), "what")), "at offset"));
	ck_found("broken", key_attempt(key, FIXTURE_SOURCE, h.attempt, "fate"));
	ck_assert_uint_eq(res.snapshots_broken, 2);
}
END_TEST

START_TEST(a_chunk_in_no_pack_breaks_its_snapshot)
{
	char key[STORE_KEY_MAX + 1];

	back_up("one");
	struct hand h = like(1);

	h.seq = 2;
	h.has_previous = true;
	memcpy(h.previous, attempt_of_seq(1)->snapshot_digest, ID_LEN);
	h.facts.root[STREAM_CONTENT].id[0] ^= 1;
	commit_by_hand(&h);
	run(DATA);
	ck_found("broken", key_attempt(key, FIXTURE_SOURCE, h.attempt, "fate"));
	ck_counts(0, 0, 1);
	ck_needed_by(finding("broken", NULL), "[2]");
}
END_TEST

START_TEST(a_tree_that_claims_another_length_breaks_its_snapshot)
{
	back_up("one");
	struct hand h = like(1);

	h.seq = 2;
	h.has_previous = true;
	memcpy(h.previous, attempt_of_seq(1)->snapshot_digest, ID_LEN);
	h.facts.root[STREAM_CONTENT].length++;
	commit_by_hand(&h);
	run(DATA);
	ck_counts(0, 0, 1);
	ck_needed_by(finding("broken", NULL), "[2]");
}
END_TEST

START_TEST(a_lost_index_is_told_and_breaks_nothing)
{
	back_up("one");
	CLEAN(free_ptr) char *index = key_at("i/", 0);
	CLEAN(free_ptr) char *pack = first_pack(1);

	flip(index, 100);
	run(DATA);
	ck_found("corrupt", index);
	ck_found("missing", pack);
	ck_counts(1, 1, 0);
	run(DIGESTS);
	ck_counts(0, 0, 0); /* its bytes have no digest: only a key can tell */
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("check");
	TCase *both = tcase_create("both depths"), *data = tcase_create("data");

	tcase_add_checked_fixture(both, set_up, tear_down);
	tcase_add_loop_test(both, an_intact_repository_has_no_findings, 0, 2);
	tcase_add_loop_test(both, a_flipped_bit_names_the_pack_and_the_snapshots_that_need_it, 0, 2);
	tcase_add_loop_test(both, a_lost_pack_names_the_snapshots_that_need_it, 0, 2);
	tcase_add_loop_test(both, one_whole_copy_of_a_pack_is_enough, 0, 2);
	tcase_add_loop_test(both, a_pack_list_that_nobody_signed_breaks_its_snapshot, 0, 2);
	tcase_add_loop_test(both, a_forged_snapshot_in_a_fate_is_told_and_its_copy_stands_alone, 0, 2);
	tcase_add_loop_test(both, copies_of_snapshots_are_compared_with_fates, 0, 2);
	tcase_add_loop_test(both, two_digests_of_one_number_are_a_fork, 0, 2);
	tcase_add_loop_test(both, a_committed_predecessor_that_is_not_here_is_behind, 0, 2);
	tcase_add_loop_test(both, a_chain_that_starts_twice_is_corrupt, 0, 2);
	tcase_add_loop_test(both, an_expired_snapshot_needs_nothing, 0, 2);
	tcase_add_loop_test(both, an_expiry_that_no_log_signed_excuses_nothing, 0, 2);
	tcase_add_loop_test(both, a_forged_intent_is_told, 0, 2);
	tcase_add_loop_test(both, a_merge_is_held_to_its_name, 0, 2);
	tcase_add_loop_test(both, lost_keys_break_every_snapshot, 0, 2);
	tcase_add_test(both, packs_of_dead_attempts_are_stray);
	tcase_add_test(both, findings_end_with_a_count_at_the_ceiling);
	tcase_add_loop_test(both, progress_counts_up_to_all_packs, 0, 2);
	tcase_add_loop_test(both, a_cancelled_check_is_no_result, 0, 2);
	tcase_add_loop_test(both, a_site_that_goes_away_is_no_result, 0, 2);
	tcase_add_loop_test(both, an_object_that_cannot_be_read_is_damage, 0, 2);
	tcase_add_test(both, a_long_row_of_relative_lists_costs_two_reads_a_snapshot);
	tcase_add_checked_fixture(data, set_up, tear_down);
	tcase_add_test(data, every_chunk_is_opened_and_equal_lists_are_walked_once);
	tcase_add_test(data, a_chunk_that_does_not_open_breaks_its_snapshot);
	tcase_add_test(data, a_chunk_in_no_pack_breaks_its_snapshot);
	tcase_add_test(data, a_tree_that_claims_another_length_breaks_its_snapshot);
	tcase_add_test(data, a_lost_index_is_told_and_breaks_nothing);
	suite_add_tcase(s, both);
	suite_add_tcase(s, data);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
