#include "repo/index.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "repo_random.h"
#include "suite.h"

static struct err err;

static struct index_pack make_pack(uint64_t no)
{
	struct index_pack p = {.epoch = 3, .size = 32u << 20};
	uint64_t state = no * 2654435761u + 99;

	fill_random(p.digest, sizeof p.digest, &state);
	fill_random(p.sid, sizeof p.sid, &state);
	fill_random(p.salt, sizeof p.salt, &state);
	return p;
}

static struct index_entry make_entry(const unsigned char *id, uint32_t pack, uint32_t offset)
{
	struct index_entry e = {.pack = pack,
	        .offset = offset,
	        .sealed_len = 128,
	        .plain_len = 100,
	        .type = CHUNK_CONTENT,
	        .comp = COMP_RAW};

	memcpy(e.id, id, ID_LEN);
	return e;
}

static void encode(struct index_delta *d, const char *const *replaced, struct buf *out)
{
	buf_init(out, INDEX_MAX);
	ck_ok(index_delta_encode(d, replaced, out, &err));
}

/* A delta of one pack with one chunk whose id is 32 times `c`. */
static void small_delta(unsigned char c, uint64_t pack_no, const char *const *replaced, struct buf *out)
{
	CLEAN(index_delta_release) struct index_delta d = {0};
	struct index_pack p = make_pack(pack_no);
	unsigned char id[ID_LEN];
	struct index_entry e;

	memset(id, c, sizeof id);
	e = make_entry(id, index_delta_add_pack(&d, &p), 10);
	index_delta_add(&d, &e);
	encode(&d, replaced, out);
}

static bool has(const struct index *ix, unsigned char c)
{
	unsigned char id[ID_LEN];
	struct index_place place;

	memset(id, c, sizeof id);
	return index_lookup(ix, id, &place);
}

START_TEST(delta_has_the_bytes_of_the_format)
{
	CLEAN(index_delta_release) struct index_delta d = {0};
	CLEAN(buf_release) struct buf out = {0};
	struct index_pack p = {.epoch = 0x01020304, .size = 0x0a0b0c};
	unsigned char id[ID_LEN], want[12 + 88 + 52] = {1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};
	struct index_entry e;

	memset(p.digest, 0xd1, sizeof p.digest);
	memset(p.sid, 0x51, sizeof p.sid);
	memset(p.salt, 0x5a, sizeof p.salt);
	memset(id, 0x1d, sizeof id);
	e = make_entry(id, index_delta_add_pack(&d, &p), 0x111213);
	e.sealed_len = 0x99;
	e.plain_len = 0x2233;
	e.type = CHUNK_LIST;
	e.comp = COMP_ZSTD;
	index_delta_add(&d, &e);
	encode(&d, NULL, &out);
	memset(want + 12, 0xd1, 32);
	memset(want + 44, 0x51, 16);
	memset(want + 60, 0x5a, 32);
	memcpy(want + 92, "\x04\x03\x02\x01\x0c\x0b\x0a\x00", 8);
	memset(want + 100, 0x1d, 32);
	memcpy(want + 132, "\0\0\0\0\x13\x12\x11\0\x99\0\0\0\x33\x22\0\0\x03\x01\0\0", 20);
	ck_assert_uint_eq(out.len, sizeof want);
	ck_assert_mem_eq(out.p, want, sizeof want);
}
END_TEST

/* --- the model: all places in the order they came --- */

struct model {
	struct index_entry *e; /* pack: number over the whole index */
	size_t n, cap;
};

static int newest_first(const void *a, const void *b)
{
	const struct index_entry *x = a, *y = b;
	int c = memcmp(x->id, y->id, ID_LEN);

	return c ? c : x->pack != y->pack ? (x->pack < y->pack ? 1 : -1) : (x->offset < y->offset ? 1 : -1);
}

static void model_check(const struct model *m, const struct index *ix)
{
	for (size_t i = 0; i < m->n;) {
		struct index_place place;
		unsigned k = 0;
		size_t first = i;

		for (; i < m->n && !memcmp(m->e[i].id, m->e[first].id, ID_LEN); i++, k++) {
			struct index_pack p;

			ck_assert(index_lookup_nth(ix, m->e[i].id, k, &place));
			ck_assert_uint_eq(place.pack_no, m->e[i].pack);
			ck_assert_uint_eq(place.offset, m->e[i].offset);
			index_pack_get(ix, place.pack_no, &p);
			ck_assert_mem_eq(place.pack_digest, p.digest, ID_LEN);
			ck_assert_uint_eq(index_pack_find(ix, p.digest), place.pack_no);
		}
		ck_assert(!index_lookup_nth(ix, m->e[first].id, k, &place));
	}
}

/* One segment of n entries in `packs` packs: most ids new, some seen before, some clustered at one prefix. */
static void random_segment(
        struct model *m, uint32_t first_pack, uint32_t packs, size_t n, uint64_t *state, struct buf *out)
{
	CLEAN(index_delta_release) struct index_delta d = {0};

	for (uint32_t i = 0; i < packs; i++) {
		struct index_pack p = make_pack(first_pack + i);

		index_delta_add_pack(&d, &p);
	}
	for (size_t i = 0; i < n; i++) {
		unsigned char id[ID_LEN];
		uint64_t dice = next_random(state) % 16;
		struct index_entry e;

		fill_random(id, sizeof id, state);
		if (dice == 0 && m->n)
			memcpy(id, m->e[next_random(state) % m->n].id, sizeof id);
		else if (dice == 1)
			memset(id, 0x77, 12);
		e = make_entry(id, (uint32_t)(next_random(state) % packs), (uint32_t)i * 200);
		index_delta_add(&d, &e);
		e.pack += first_pack;
		m->e = xgrow(m->e, m->n, &m->cap, sizeof *m->e);
		m->e[m->n++] = e;
	}
	encode(&d, NULL, out);
}

static char *write_file(const struct buf *b)
{
	char *path = xstrdup("/tmp/t_repo_index.XXXXXX");
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fs_write_full(fd, b->p, b->len), 0);
	close(fd);
	return path;
}

static struct secret cache_key(void)
{
	struct secret k = {0};

	secret_set(&k, "0123456789abcdef0123456789abcdef", 32);
	return k;
}

static char *cache_file(const struct buf *plaintext)
{
	CLEAN(secret_release) struct secret k = cache_key();
	char *path = write_file(plaintext);

	ck_ok(index_cache_put(path, &k, plaintext->p, plaintext->len, &err));
	return path;
}

static int add_cache(struct index *ix, const char *path)
{
	CLEAN(secret_release) struct secret k = cache_key();

	return index_add_cache(ix, "cache", path, &k, &err);
}

/* 100,000 places in segments of very different sizes, some of them mapped files. */
static struct index *random_index(struct model *m)
{
	static const size_t sizes[] = {1, 63, 64, 65, 50000, 3, 29000, 1000, 19804};
	struct index *ix = index_new();
	uint64_t state = 4711;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		CLEAN(buf_release) struct buf b = {0};
		char name[40];

		random_segment(m, index_packs(ix), 1 + (uint32_t)i * 3, sizes[i], &state, &b);
		snprintf(name, sizeof name, "00000000000000aa.%zu", i);
		if (i % 3 == 1) {
			CLEAN(free_ptr) char *path = cache_file(&b);
			CLEAN(secret_release) struct secret k = cache_key();

			ck_ok(index_add_cache(ix, name, path, &k, &err));
			unlink(path);
		} else {
			ck_ok(index_add(ix, name, &b, &err));
			ck_assert_ptr_null(b.p);
		}
	}
	qsort(m->e, m->n, sizeof *m->e, newest_first);
	return ix;
}

START_TEST(index_agrees_with_a_sorted_array)
{
	struct model m = {0};
	struct index *ix = random_index(&m);
	uint64_t state = 1;

	ck_assert_uint_eq(m.n, 100000);
	ck_assert_uint_eq(index_entries(ix), m.n);
	ck_assert_uint_eq(index_segments(ix, INDEX_ALL), 9);
	model_check(&m, ix);
	for (int i = 0; i < 100000; i++) {
		unsigned char id[ID_LEN];
		struct index_place place;

		fill_random(id, sizeof id, &state);
		ck_assert(!index_lookup(ix, id, &place));
	}
	index_free(ix);
	free(m.e);
}
END_TEST

START_TEST(merge_says_what_its_segments_said)
{
	struct model m = {0};
	struct index *ix = random_index(&m), *again = index_new();
	CLEAN(buf_release) struct buf b = BUF_INIT(INDEX_MAX);

	ck_ok(index_merge(ix, INDEX_ALL, &b, &err));
	ck_ok(index_add(again, "cache", &b, &err));
	ck_assert_uint_eq(index_entries(again), m.n);
	ck_assert_uint_eq(index_packs(again), index_packs(ix));
	model_check(&m, again);
	ck_assert(index_has_segment(again, "00000000000000aa.0"));
	ck_assert(index_has_segment(again, "00000000000000aa.8"));
	ck_assert(!index_has_segment(again, "00000000000000aa.9"));
	index_free(ix);
	index_free(again);
	free(m.e);
}
END_TEST

START_TEST(every_small_size_finds_all_and_only_its_ids)
{
	for (size_t n = 0; n < 200; n++) {
		struct model m = {0};
		CLEAN(buf_release) struct buf b = {0};
		struct index *ix = index_new();
		uint64_t state = n + 5;

		random_segment(&m, 0, 2, n, &state, &b);
		if (n)
			qsort(m.e, m.n, sizeof *m.e, newest_first);
		ck_ok(index_add(ix, "00000000000000bb.0", &b, &err));
		model_check(&m, ix);
		ck_assert(!has(ix, 0));
		ck_assert(!has(ix, 0xff));
		index_free(ix);
		free(m.e);
	}
}
END_TEST

START_TEST(newest_segment_wins)
{
	struct index *ix = index_new();
	struct index_place place;
	unsigned char id[ID_LEN];

	memset(id, 'a', sizeof id);
	for (unsigned i = 0; i < 3; i++) {
		CLEAN(buf_release) struct buf b = {0};
		char name[40];

		small_delta('a', i, NULL, &b);
		snprintf(name, sizeof name, "00000000000000cc.%u", i);
		ck_ok(index_add(ix, name, &b, &err));
	}
	ck_assert(index_lookup(ix, id, &place));
	ck_assert_uint_eq(place.pack_no, 2);
	ck_assert(index_lookup_nth(ix, id, 2, &place));
	ck_assert_uint_eq(place.pack_no, 0);
	index_free(ix);
}
END_TEST

START_TEST(what_a_merge_replaces_is_neither_asked_nor_added_again)
{
	static const char *const replaced[] = {"00000000000000cc.0", "00000000000000cc.1", NULL};
	char merge[2 + 2 * ID_LEN + 1] = "m.";
	struct buf a = {0}, b = {0}, m = {0};
	struct index *ix = index_new();

	memset(merge + 2, '7', 2 * ID_LEN);
	small_delta('a', 1, NULL, &a);
	small_delta('b', 2, NULL, &b);
	small_delta('m', 3, replaced, &m);
	ck_ok(index_add(ix, "00000000000000cc.0", &a, &err));
	ck_assert(has(ix, 'a'));
	ck_ok(index_add(ix, merge, &m, &err));
	ck_assert(!has(ix, 'a'));
	ck_assert(has(ix, 'm'));
	ck_assert(index_has_segment(ix, "00000000000000cc.1"));
	ck_ok(index_add(ix, "00000000000000cc.1", &b, &err));
	ck_assert_ptr_null(b.p);
	ck_assert(!has(ix, 'b'));
	ck_assert_uint_eq(index_segments(ix, INDEX_ALL), 1);
	ck_assert_uint_eq(index_entries(ix), 1);
	ck_assert_uint_eq(index_packs(ix), 2);
	ck_assert_uint_eq(index_pack_find(ix, make_pack(1).digest), UINT32_MAX);
	ck_assert_uint_eq(index_pack_find(ix, make_pack(3).digest), 1);
	index_free(ix);
}
END_TEST

START_TEST(merge_drops_what_is_said_twice)
{
	CLEAN(buf_release) struct buf out = BUF_INIT(INDEX_MAX);
	struct index *ix = index_new(), *again = index_new();
	struct index_place place;
	unsigned char id[ID_LEN];

	memset(id, 'a', sizeof id);
	for (unsigned i = 0; i < 3; i++) {
		CLEAN(buf_release) struct buf b = {0};
		char name[40];

		small_delta('a', 1, NULL, &b);
		snprintf(name, sizeof name, "00000000000000cc.%u", i);
		ck_ok(index_add(ix, name, &b, &err));
	}
	ck_assert(index_lookup_nth(ix, id, 2, &place));
	ck_ok(index_merge(ix, INDEX_ALL, &out, &err));
	ck_ok(index_add(again, "cache", &out, &err));
	ck_assert_uint_eq(index_packs(again), 1);
	ck_assert_uint_eq(index_entries(again), 1);
	ck_assert(index_lookup(again, id, &place));
	index_free(ix);
	index_free(again);
}
END_TEST

START_TEST(unordered_or_out_of_bounds_entries_are_refused)
{
	static const struct {
		size_t at;
		unsigned char value;
	} bad[] = {
	        {12 + 88 + 32, 1},                    /* pack number */
	        {12 + 88 + 36 + 3, 2},                /* offset behind the pack's end */
	        {12 + 88 + 40, 28},                   /* sealed length of nothing */
	        {12 + 88 + 44, 99},                   /* raw, but of another length */
	        {12 + 88 + 47, 1},                    /* plain length over 8 MiB */
	        {12 + 88 + 48, 0},                    /* types */
	        {12 + 88 + 48, 5}, {12 + 88 + 49, 2}, /* compression */
	        {12 + 88 + 50, 1},                    /* padding */
	        {12 + 87, 5},                         /* pack over 64 MiB */
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CLEAN(buf_release) struct buf b = {0};
		struct index *ix = index_new();

		small_delta('a', 1, NULL, &b);
		b.p[bad[i].at] = bad[i].value;
		ck_fails(index_add(ix, "00000000000000cc.0", &b, &err), ERR_FORMAT);
		ck_assert_ptr_nonnull(b.p);
		ck_assert_uint_eq(index_segments(ix, INDEX_ALL), 0);
		ck_assert(!index_has_segment(ix, "00000000000000cc.0"));
		index_free(ix);
	}
}
END_TEST

START_TEST(order_is_checked)
{
	CLEAN(index_delta_release) struct index_delta d = {0};
	CLEAN(buf_release) struct buf b = {0};
	struct index_pack p = make_pack(1);
	struct index *ix = index_new();
	unsigned char tmp[52];

	index_delta_add_pack(&d, &p);
	for (unsigned char c = 'a'; c <= 'c'; c++) {
		unsigned char id[ID_LEN];
		struct index_entry e;

		memset(id, c, sizeof id);
		e = make_entry(id, 0, c);
		index_delta_add(&d, &e);
	}
	encode(&d, NULL, &b);
	memcpy(tmp, b.p + 100, 52);
	memcpy(b.p + 100, b.p + 152, 52);
	memcpy(b.p + 152, tmp, 52);
	ck_fails(index_add(ix, "00000000000000cc.0", &b, &err), ERR_FORMAT);
	index_free(ix);
}
END_TEST

START_TEST(a_delta_must_not_replace)
{
	static const char *const replaced[] = {"00000000000000cc.5", NULL}, *const nonsense[] = {"../x", NULL};
	CLEAN(index_delta_release) struct index_delta d = {0};
	CLEAN(buf_release) struct buf b = {0}, out = BUF_INIT(INDEX_MAX);
	struct index *ix = index_new();

	small_delta('a', 1, replaced, &b);
	ck_fails(index_add(ix, "00000000000000cc.0", &b, &err), ERR_FORMAT);
	ck_assert(!index_has_segment(ix, "00000000000000cc.5"));
	ck_fails(index_delta_encode(&d, nonsense, &out, &err), ERR_FORMAT);
	ck_assert_uint_eq(out.len, 0);
	index_free(ix);
}
END_TEST

static void try_segment(void *arg, const unsigned char *p, size_t n, size_t at)
{
	const struct buf *whole = arg;
	CLEAN(buf_release) struct buf b = BUF_INIT(INDEX_MAX);
	struct index *ix = index_new();
	int rc;

	buf_add(&b, p, n);
	rc = index_add(ix, "cache", &b, &err);
	if (at == whole->len)
		ck_assert_int_ne(rc, 0);
	for (unsigned c = 0; c < 256; c++)
		(void)has(ix, (unsigned char)c);
	index_free(ix);
}

START_TEST(cut_or_flipped_segments_never_crash)
{
	static const char *const replaced[] = {"00000000000000cc.5", "00000000000000cc.6", NULL};
	CLEAN(buf_release) struct buf b = {0};

	small_delta('a', 1, replaced, &b);
	each_mutation(b.p, b.len, try_segment, &b);
}
END_TEST

START_TEST(nonsense_is_not_written_into_a_cache_file)
{
	CLEAN(secret_release) struct secret k = cache_key();
	CLEAN(buf_release) struct buf b = {0};
	CLEAN(free_ptr) char *path = NULL;
	struct index *ix = index_new();

	small_delta('a', 1, NULL, &b);
	b.p[12 + 88 + 36 + 3] = 2; /* an entry outside its pack */
	path = write_file(&b);
	ck_fails(index_cache_put(path, &k, b.p, b.len, &err), ERR_FORMAT);
	ck_fails(index_cache_put(path, &k, b.p, 7, &err), ERR_FORMAT);
	ck_fails(index_cache_put(path, &k, b.p, b.len - 1, &err), ERR_FORMAT);
	ck_fails(add_cache(ix, path), ERR_CORRUPT);
	unlink(path);
	index_free(ix);
}
END_TEST

START_TEST(merged_cache_file_says_what_its_segments_said)
{
	CLEAN(secret_release) struct secret k = cache_key();
	CLEAN(buf_release) struct buf b = {0};
	CLEAN(free_ptr) char *path = NULL;
	struct model m = {0};
	struct index *ix = random_index(&m), *again = index_new();

	small_delta('a', 1, NULL, &b);
	path = write_file(&b);
	ck_ok(index_cache_merge(ix, INDEX_ALL, path, &k, &err));
	ck_ok(add_cache(again, path));
	ck_assert_uint_eq(index_entries(again), m.n);
	ck_assert_uint_eq(index_packs(again), index_packs(ix));
	model_check(&m, again);
	ck_assert(index_has_segment(again, "00000000000000aa.8"));
	/* where all of it is known already it adds nothing */
	ck_ok(add_cache(ix, path));
	ck_assert_uint_eq(index_segments(ix, INDEX_ALL), 9);
	unlink(path);
	index_free(ix);
	index_free(again);
	free(m.e);
}
END_TEST

START_TEST(cache_file_with_any_byte_changed_is_refused)
{
	CLEAN(secret_release) struct secret k = cache_key(), other = {0};
	CLEAN(buf_release) struct buf b = {0}, whole = BUF_INIT(1u << 20);
	CLEAN(free_ptr) char *path = NULL;
	struct index *ix = index_new();

	small_delta('a', 1, NULL, &b);
	path = cache_file(&b);
	ck_ok(fs_read(path, &whole, &err));
	for (size_t i = 0; i < whole.len; i++) {
		whole.p[i] ^= 1;
		ck_ok(fs_replace(path, whole.p, whole.len, 0600, &err));
		ck_fails(add_cache(ix, path), ERR_CORRUPT);
		whole.p[i] ^= 1;
	}
	for (size_t n = 0; n < whole.len; n++) {
		ck_ok(fs_replace(path, whole.p, n, 0600, &err));
		ck_fails(add_cache(ix, path), ERR_CORRUPT);
	}
	ck_ok(fs_replace(path, whole.p, whole.len, 0600, &err));
	secret_set(&other, "another key another key another!", 32);
	ck_fails(index_add_cache(ix, "cache", path, &other, &err), ERR_CORRUPT);
	ck_assert(!index_has_segment(ix, "cache"));
	ck_ok(add_cache(ix, path));
	ck_assert(has(ix, 'a'));
	unlink(path);
	ck_fails(index_add_cache(ix, "gone", path, &k, &err), ERR_MISSING);
	index_free(ix);
}
END_TEST

/* n chunks as the merge whose name is 64 times the digit c. */
static void add_merge(struct index *ix, struct model *m, char c, size_t n, uint64_t *state)
{
	CLEAN(buf_release) struct buf b = {0};
	char name[67] = "m.";

	memset(name + 2, c, 64);
	random_segment(m, index_packs(ix), 1, n, state, &b);
	ck_ok(index_add(ix, name, &b, &err));
}

START_TEST(merges_are_merged_again_while_sizes_double)
{
	struct model m = {0};
	struct index *ix = index_new(), *again = index_new();
	CLEAN(buf_release) struct buf b = {0}, out = BUF_INIT(INDEX_MAX);
	uint64_t state = 8;

	add_merge(ix, &m, 'a', 10000, &state);
	add_merge(ix, &m, 'b', 900, &state);
	add_merge(ix, &m, 'c', 100, &state);
	random_segment(&m, index_packs(ix), 1, 950, &state, &b);
	ck_ok(index_add(ix, "00000000000000aa.0", &b, &err));
	ck_assert_uint_eq(index_segments(ix, INDEX_DELTAS), 1);
	ck_assert_uint_eq(index_segments(ix, INDEX_GROWN), 3);
	ck_ok(index_merge(ix, INDEX_GROWN, &out, &err));
	ck_ok(index_add(again, "merge", &out, &err));
	ck_assert_uint_eq(index_entries(again), 950 + 100 + 900);
	ck_assert(index_has_segment(again, "m.cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"));
	ck_assert(!index_has_segment(again, "m.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
	index_free(ix);
	index_free(again);
	free(m.e);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("repo index");
	TCase *t = tcase_create("index");
	tcase_add_test(t, delta_has_the_bytes_of_the_format);
	tcase_add_test(t, index_agrees_with_a_sorted_array);
	tcase_add_test(t, merge_says_what_its_segments_said);
	tcase_add_test(t, every_small_size_finds_all_and_only_its_ids);
	tcase_add_test(t, newest_segment_wins);
	tcase_add_test(t, what_a_merge_replaces_is_neither_asked_nor_added_again);
	tcase_add_test(t, merge_drops_what_is_said_twice);
	tcase_add_test(t, unordered_or_out_of_bounds_entries_are_refused);
	tcase_add_test(t, order_is_checked);
	tcase_add_test(t, a_delta_must_not_replace);
	tcase_add_test(t, cut_or_flipped_segments_never_crash);
	tcase_add_test(t, nonsense_is_not_written_into_a_cache_file);
	tcase_add_test(t, merged_cache_file_says_what_its_segments_said);
	tcase_add_test(t, cache_file_with_any_byte_changed_is_refused);
	tcase_add_test(t, merges_are_merged_again_while_sizes_double);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
