#include "repo/list.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "crypto/crypto.h"
#include "repo_random.h"
#include "suite.h"

static struct err err;

/* --- a chest of list chunks by id --- */

struct chunk {
	unsigned char id[ID_LEN];
	unsigned char *p;
	size_t n;
};
struct chest {
	struct chunk *chunk;
	size_t n, cap, puts, gets;
};

static void chest_release(struct chest *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->chunk[i].p);
	free(c->chunk);
}

static struct chunk *chest_find(const struct chest *c, const unsigned char id[ID_LEN])
{
	for (size_t i = 0; i < c->n; i++)
		if (!memcmp(c->chunk[i].id, id, ID_LEN))
			return &c->chunk[i];
	return NULL;
}

static int chest_put(void *arg, const void *p, size_t n, unsigned char id[ID_LEN], struct err *e)
{
	struct chest *c = arg;
	struct chunk *to;

	(void)e;
	ck_assert_uint_le(n, CHUNK_PLAIN_MAX);
	c->puts++;
	sha256_of(p, n, id);
	if (chest_find(c, id))
		return 0;
	c->chunk = xgrow(c->chunk, c->n, &c->cap, sizeof *c->chunk);
	to = &c->chunk[c->n++];
	memcpy(to->id, id, ID_LEN);
	to->p = xmalloc(n);
	memcpy(to->p, p, n);
	to->n = n;
	return 0;
}

static int chest_get(void *arg, const unsigned char id[ID_LEN], uint64_t length, struct buf *out, struct err *e)
{
	struct chest *c = arg;
	const struct chunk *from = chest_find(c, id);

	(void)length;
	c->gets++;
	return from ? buf_put(out, from->p, from->n, e) : err_set(e, ERR_MISSING, "no such chunk");
}

/* --- streams --- */

struct stream {
	enum stream_id id;
	struct list_item *it;
	char (*path)[32];
	size_t n;
};

/* Paths ascend in walk order: ten entries a directory. */
static struct stream make_stream(enum stream_id id, size_t n, uint64_t seed)
{
	struct stream s = {id, xcalloc(n, sizeof *s.it), xcalloc(n, sizeof *s.path), n};

	for (size_t i = 0; i < n; i++) {
		struct list_item *it = &s.it[i];

		fill_random(it->id, ID_LEN, &seed);
		it->length = 1 + next_random(&seed) % 300000;
		if (id != STREAM_ENTRIES)
			continue;
		it->entries = 1 + next_random(&seed) % (it->length < 500 ? 1 : it->length / 500);
		it->content = next_random(&seed) % (1u << 30);
		it->n_path = (size_t)snprintf(s.path[i], sizeof s.path[i], "d%05zu/f%zu", i / 10, i % 10);
		it->path = s.path[i];
	}
	return s;
}

static void stream_release(struct stream *s)
{
	free(s->it);
	free(s->path);
}

static struct stream_root build(const struct stream *s, struct chest *c)
{
	struct list_builder *b = list_builder_new(s->id, chest_put, c);
	struct stream_root root;

	for (size_t i = 0; i < s->n; i++)
		ck_ok(list_builder_add(b, &s->it[i], &err));
	ck_ok(list_builder_finish(b, &root, &err));
	list_builder_free(b);
	return root;
}

static void assert_item(const struct stream *s, size_t i, const struct list_item *it, bool path)
{
	ck_assert_mem_eq(it->id, s->it[i].id, ID_LEN);
	ck_assert_uint_eq(it->length, s->it[i].length);
	if (s->id != STREAM_ENTRIES)
		return;
	ck_assert_uint_eq(it->entries, s->it[i].entries);
	ck_assert_uint_eq(it->content, s->it[i].content);
	ck_assert_uint_eq(it->n_path, path ? s->it[i].n_path : 0);
	ck_assert_mem_eq(it->path, s->it[i].path, it->n_path);
}

static void assert_rest(struct list_cursor *c, const struct stream *s, size_t from, size_t to)
{
	struct list_item it;

	for (size_t i = from; i < to; i++) {
		ck_assert_msg(list_cursor_next(c, &it, &err) == 1, "item %zu: %s", i, err.msg);
		assert_item(s, i, &it, s->n > 1);
	}
	if (to == s->n) {
		ck_assert_int_eq(list_cursor_next(c, &it, &err), 0);
		ck_assert_int_eq(list_cursor_next(c, &it, &err), 0);
	}
}

static const size_t SIZES[] = {1, 2, 63, 64, 65, 8192, 8193, 100000};

START_TEST(cursor_gives_what_the_builder_took)
{
	for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
		for (unsigned id = 0; id < STREAM_COUNT; id++) {
			CLEAN(chest_release) struct chest c = {0};
			CLEAN(stream_release) struct stream s = make_stream(id, SIZES[i], 42 + i);
			struct stream_root root = build(&s, &c);
			struct list_cursor *cur = list_cursor_new(s.id, &root, chest_get, &c);
			uint64_t length = 0, entries = 0, content = 0;

			for (size_t k = 0; k < s.n; k++) {
				length += s.it[k].length;
				entries += s.it[k].entries;
				content += s.it[k].content;
			}
			ck_assert(root.present);
			ck_assert_uint_eq(root.length, length);
			ck_assert_uint_eq(root.entries, entries);
			ck_assert_uint_eq(root.content, content);
			ck_assert_int_eq(root.height == 0, s.n == 1);
			assert_rest(cur, &s, 0, s.n);
			ck_assert_uint_eq(c.gets, c.puts);
			list_cursor_free(cur);
		}
	}
}
END_TEST

START_TEST(empty_stream_has_no_root)
{
	struct stream s = {.id = STREAM_NOTES};
	struct chest c = {0};
	struct stream_root root = build(&s, &c);
	struct list_cursor *cur = list_cursor_new(STREAM_NOTES, &root, chest_get, &c);
	struct list_item it;
	uint64_t start;

	ck_assert(!root.present);
	ck_assert_int_eq(list_cursor_next(cur, &it, &err), 0);
	ck_ok(list_cursor_seek(cur, 0, &start, &err));
	ck_assert_int_eq(list_cursor_next(cur, &it, &err), 0);
	list_cursor_free(cur);
}
END_TEST

START_TEST(list_has_the_bytes_of_the_format)
{
	static const char want[] = "\x02\x00\x00\x00\x02\x00\x00\x00"
	                           "\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11"
	                           "\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11"
	                           "\x05\x01\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00"
	                           "\x03\x00\x00\x00\x00\x00\x00\x00\x01\x00"
	                           "a"
	                           "\x22\x22\x22\x22\x22\x22\x22\x22\x22\x22\x22\x22\x22\x22\x22\x22"
	                           "\x22\x22\x22\x22\x22\x22\x22\x22\x22\x22\x22\x22\x22\x22\x22\x22"
	                           "\x06\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"
	                           "\x00\x00\x00\x00\x01\x00\x00\x00\x03\x00"
	                           "a/b";
	struct list_item it[2] = {{.length = 0x105, .entries = 2, .content = 3, .path = "a", .n_path = 1},
	        {.length = 6, .entries = 1, .content = UINT64_C(1) << 32, .path = "a/b", .n_path = 3}};
	struct stream s = {STREAM_ENTRIES, it, NULL, 2};
	CLEAN(chest_release) struct chest c = {0};
	struct stream_root root;

	memset(it[0].id, 0x11, ID_LEN);
	memset(it[1].id, 0x22, ID_LEN);
	root = build(&s, &c);
	ck_assert_uint_eq(root.height, 1);
	ck_assert_uint_eq(c.n, 1);
	ck_assert_uint_eq(c.chunk[0].n, sizeof want - 1);
	ck_assert_mem_eq(c.chunk[0].p, want, sizeof want - 1);
}
END_TEST

static void on_list(void *arg, const unsigned char id[ID_LEN])
{
	struct chest *c = arg;

	ck_assert_ptr_nonnull(chest_find(c, id));
	c->puts--;
}

START_TEST(cursor_tells_every_list_it_meets)
{
	CLEAN(chest_release) struct chest c = {0};
	CLEAN(stream_release) struct stream s = make_stream(STREAM_CONTENT, 30000, 8);
	struct stream_root root = build(&s, &c);
	struct list_cursor *cur = list_cursor_new(s.id, &root, chest_get, &c);

	ck_assert_uint_gt(c.puts, 2);
	list_cursor_on_list(cur, on_list, &c);
	assert_rest(cur, &s, 0, s.n);
	ck_assert_uint_eq(c.puts, 0);
	list_cursor_free(cur);
}
END_TEST

START_TEST(lists_are_cut_by_number_size_and_id)
{
	CLEAN(chest_release) struct chest c = {0};
	CLEAN(stream_release) struct stream s = make_stream(STREAM_CONTENT, 20000, 8);
	struct stream_root root;
	size_t wants[] = {64, 8192, 8192}, from = 0;

	/* no cut by id anywhere, but for one too early and one at the first place allowed */
	for (size_t i = 0; i < s.n; i++)
		s.it[i].id[0] |= 1;
	memset(s.it[62].id, 0, 2);
	s.it[63].id[0] = 0;
	s.it[63].id[1] = 4;
	root = build(&s, &c);
	ck_assert_uint_eq(root.height, 2);
	ck_assert_uint_eq(c.n, 5);
	for (size_t i = 0; i < ARRAY_LEN(wants); i++) {
		ck_assert_uint_eq(get_u32(c.chunk[i].p + 4), wants[i]);
		ck_assert_mem_eq(c.chunk[i].p + 8, s.it[from].id, ID_LEN);
		from += wants[i];
	}
	ck_assert_uint_eq(get_u32(c.chunk[3].p + 4), 20000 - from);
	ck_assert_uint_eq(c.chunk[4].p[1], 1);
}
END_TEST

START_TEST(lists_of_long_paths_are_cut_at_4_mib)
{
	CLEAN(chest_release) struct chest c = {0};
	CLEAN(free_ptr) char *path = xmalloc(LIST_PATH_MAX);
	struct list_item it = {.length = 9, .entries = 1, .path = path, .n_path = LIST_PATH_MAX};
	struct list_builder *b = list_builder_new(STREAM_ENTRIES, chest_put, &c);
	struct stream_root root;

	memset(path, 'p', LIST_PATH_MAX);
	for (size_t i = 0; i < 70; i++) {
		it.id[0] = 1;
		it.id[5] = (unsigned char)i;
		ck_ok(list_builder_add(b, &it, &err));
	}
	ck_ok(list_builder_finish(b, &root, &err));
	list_builder_free(b);
	ck_assert_uint_eq(c.n, 3);
	ck_assert_uint_eq(get_u32(c.chunk[0].p + 4), 64);
	ck_assert_uint_ge(c.chunk[0].n, 4u << 20);
}
END_TEST

START_TEST(change_in_the_middle_keeps_most_lists)
{
	CLEAN(chest_release) struct chest c = {0};
	CLEAN(stream_release) struct stream s = make_stream(STREAM_ENTRIES, 60000, 77);
	struct stream_root one = build(&s, &c), two;
	size_t before = c.n;

	s.it[30000].id[9] ^= 1;
	two = build(&s, &c);
	ck_assert_mem_ne(one.id, two.id, ID_LEN);
	/* a list a level: nothing else is new */
	ck_assert_uint_le(c.n - before, two.height + 1);
	s.it[30000].id[9] ^= 1;
	before = c.n;
	two = build(&s, &c);
	ck_assert_mem_eq(one.id, two.id, ID_LEN);
	ck_assert_uint_eq(c.n, before);
}
END_TEST

START_TEST(seek_finds_the_chunk_of_any_byte)
{
	for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
		CLEAN(chest_release) struct chest c = {0};
		CLEAN(stream_release) struct stream s = make_stream(STREAM_CONTENT, SIZES[i], 5);
		struct stream_root root = build(&s, &c);
		struct list_cursor *cur = list_cursor_new(s.id, &root, chest_get, &c);
		CLEAN(free_ptr) uint64_t *at = xcalloc(s.n + 1, sizeof *at);
		uint64_t state = 9, start;

		for (size_t k = 0; k < s.n; k++)
			at[k + 1] = at[k] + s.it[k].length;
		for (int k = 0; k < 200; k++) {
			size_t pick = next_random(&state) % s.n;
			uint64_t off = at[pick] + (k % 3 == 0          ? 0
			                                  : k % 3 == 1 ? s.it[pick].length - 1
			                                               : s.it[pick].length / 2);

			ck_ok(list_cursor_seek(cur, off, &start, &err));
			ck_assert_uint_eq(start, at[pick]);
			assert_rest(cur, &s, pick, MIN(pick + 100, s.n));
		}
		ck_ok(list_cursor_seek(cur, root.length, &start, &err));
		ck_assert_uint_eq(start, root.length);
		assert_rest(cur, &s, s.n, s.n);
		list_cursor_free(cur);
	}
}
END_TEST

START_TEST(seek_by_path_finds_the_last_chunk_that_begins_before_it)
{
	for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
		CLEAN(chest_release) struct chest c = {0};
		CLEAN(stream_release) struct stream s = make_stream(STREAM_ENTRIES, SIZES[i], 6);
		struct stream_root root = build(&s, &c);
		struct list_cursor *cur = list_cursor_new(s.id, &root, chest_get, &c);
		CLEAN(free_ptr) uint64_t *entries = xcalloc(s.n + 1, sizeof *entries);
		CLEAN(free_ptr) uint64_t *content = xcalloc(s.n + 1, sizeof *content);
		uint64_t state = 9, got_entries, got_content;

		for (size_t k = 0; k < s.n; k++) {
			entries[k + 1] = entries[k] + s.it[k].entries;
			content[k + 1] = content[k] + s.it[k].content;
		}
		for (int k = 0; k < 200; k++) {
			size_t pick = next_random(&state) % s.n;
			char path[40];

			/* the chunk's own first path, or one just behind it */
			snprintf(path, sizeof path, "%s%s", s.path[pick], k % 2 ? "" : "/x");
			ck_ok(list_cursor_seek_path(cur, path, &got_entries, &got_content, &err));
			ck_assert_uint_eq(got_entries, entries[pick]);
			ck_assert_uint_eq(got_content, content[pick]);
			assert_rest(cur, &s, pick, MIN(pick + 100, s.n));
		}
		ck_ok(list_cursor_seek_path(cur, "a", &got_entries, &got_content, &err));
		ck_assert_uint_eq(got_entries, 0);
		assert_rest(cur, &s, 0, MIN(100, s.n));
		list_cursor_free(cur);
	}
}
END_TEST

START_TEST(seek_asks_for_no_more_than_a_list_a_level)
{
	CLEAN(chest_release) struct chest c = {0};
	CLEAN(stream_release) struct stream s = make_stream(STREAM_CONTENT, 100000, 5);
	struct stream_root root = build(&s, &c);
	struct list_cursor *cur = list_cursor_new(s.id, &root, chest_get, &c);
	uint64_t start;

	ck_ok(list_cursor_seek(cur, root.length / 2, &start, &err));
	ck_assert_uint_le(c.gets, root.height);
	c.gets = 0;
	ck_ok(list_cursor_seek(cur, root.length / 2 + 1, &start, &err));
	ck_assert_uint_eq(c.gets, 0);
	list_cursor_free(cur);
}
END_TEST

START_TEST(claims_that_do_not_hold_are_corrupt)
{
	CLEAN(chest_release) struct chest c = {0};
	CLEAN(stream_release) struct stream s = make_stream(STREAM_ENTRIES, 9000, 5);
	struct stream_root good = build(&s, &c), bad;
	struct list_item it;

	for (int i = 0; i < 6; i++) {
		struct list_cursor *cur;

		bad = good;
		bad.length += i == 0;
		bad.entries -= i == 1;
		bad.content += i == 2;
		bad.height += i == 3;
		bad.height -= i == 4;
		bad.height = i == 5 ? 17 : bad.height;
		cur = list_cursor_new(s.id, &bad, chest_get, &c);
		ck_fails(list_cursor_next(cur, &it, &err), ERR_CORRUPT);
		/* an error is not the end */
		ck_fails(list_cursor_next(cur, &it, &err), ERR_CORRUPT);
		list_cursor_free(cur);
	}
	{
		struct list_cursor *cur = list_cursor_new(STREAM_CONTENT, &good, chest_get, &c);

		ck_fails(list_cursor_next(cur, &it, &err), ERR_CORRUPT);
		list_cursor_free(cur);
	}
}
END_TEST

START_TEST(path_that_differs_from_its_parents_claim_is_corrupt)
{
	CLEAN(chest_release) struct chest c = {0};
	CLEAN(stream_release) struct stream s = make_stream(STREAM_ENTRIES, 9000, 5);
	struct stream_root root = build(&s, &c);
	struct list_cursor *cur = list_cursor_new(s.id, &root, chest_get, &c);
	struct list_item it;

	ck_assert_uint_eq(root.height, 2);
	c.chunk[0].p[8 + 40 + 16 + 2] = 'D';
	ck_fails(list_cursor_next(cur, &it, &err), ERR_CORRUPT);
	list_cursor_free(cur);
}
END_TEST

START_TEST(missing_list_is_missing)
{
	CLEAN(chest_release) struct chest c = {0};
	CLEAN(stream_release) struct stream s = make_stream(STREAM_ENTRIES, 100, 5);
	struct stream_root root = build(&s, &c);
	struct list_cursor *cur;
	struct list_item it;

	root.id[0] ^= 1;
	cur = list_cursor_new(s.id, &root, chest_get, &c);
	ck_fails(list_cursor_next(cur, &it, &err), ERR_MISSING);
	list_cursor_free(cur);
}
END_TEST

struct flip {
	const struct stream *s;
	struct stream_root root;
	struct chest *chest;
};

/* Ids are not covered by what a list claims (the chunk's own id is): all else must be noticed, or be the same. */
static void try_list(void *arg, const unsigned char *p, size_t n, size_t at)
{
	struct flip *f = arg;
	struct chunk *top = &f->chest->chunk[0], was = *top;
	struct list_cursor *cur = list_cursor_new(f->s->id, &f->root, chest_get, f->chest);
	struct list_item it;
	size_t got = 0;
	int rc;

	top->p = (unsigned char *)(uintptr_t)p;
	top->n = n;
	while ((rc = list_cursor_next(cur, &it, &err)) == 1)
		got++;
	*top = was;
	if (rc)
		ck_assert_int_eq(rc, -ERR_CORRUPT);
	else
		ck_assert_uint_eq(got, f->s->n);
	if (n < was.n || at < 8)
		ck_assert_int_ne(rc, 0);
	list_cursor_free(cur);
}

START_TEST(cut_or_flipped_lists_are_noticed)
{
	for (unsigned id = 0; id < 2; id++) {
		CLEAN(chest_release) struct chest c = {0};
		CLEAN(stream_release) struct stream s = make_stream(id, 3, 5);
		struct flip f = {&s, build(&s, &c), &c};

		ck_assert_uint_eq(c.n, 1);
		each_mutation(c.chunk[0].p, c.chunk[0].n, try_list, &f);
	}
}
END_TEST

START_TEST(bytes_behind_a_list_are_corrupt)
{
	CLEAN(chest_release) struct chest c = {0};
	CLEAN(stream_release) struct stream s = make_stream(STREAM_CONTENT, 3, 5);
	struct stream_root root = build(&s, &c);
	struct list_cursor *cur = list_cursor_new(s.id, &root, chest_get, &c);
	struct list_item it;

	c.chunk[0].p = xrealloc(c.chunk[0].p, c.chunk[0].n + 1);
	c.chunk[0].p[c.chunk[0].n++] = 0;
	ck_fails(list_cursor_next(cur, &it, &err), ERR_CORRUPT);
	list_cursor_free(cur);
}
END_TEST

START_TEST(builder_refuses_what_the_format_cannot_say)
{
	struct list_builder *b = list_builder_new(STREAM_ENTRIES, chest_put, NULL);
	struct list_item it = {.length = 100, .entries = 1, .path = "", .n_path = 0};

	it.length = 0;
	ck_fails(list_builder_add(b, &it, &err), ERR_FORMAT);
	it.length = CHUNK_PLAIN_MAX + 1;
	ck_fails(list_builder_add(b, &it, &err), ERR_FORMAT);
	it.length = 100;
	it.entries = 0;
	ck_fails(list_builder_add(b, &it, &err), ERR_FORMAT);
	it.entries = 1;
	it.n_path = LIST_PATH_MAX + 1;
	ck_fails(list_builder_add(b, &it, &err), ERR_FORMAT);
	list_builder_free(b);
}
END_TEST

START_TEST(walk_order_is_by_component)
{
	static const char *const sorted[] = {
	        "", "a", "a/b", "a/b/c", "a\x01", "a b", "a-b", "a.b", "a0", "aa", "b", "b/\x01", "b\xff"};

	for (size_t i = 0; i < ARRAY_LEN(sorted); i++)
		for (size_t k = 0; k < ARRAY_LEN(sorted); k++) {
			int c = path_walk_cmp(sorted[i], strlen(sorted[i]), sorted[k], strlen(sorted[k]));

			ck_assert_int_eq((c > 0) - (c < 0), (i > k) - (i < k));
		}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("repo list");
	TCase *t = tcase_create("list");
	tcase_add_test(t, cursor_gives_what_the_builder_took);
	tcase_add_test(t, empty_stream_has_no_root);
	tcase_add_test(t, list_has_the_bytes_of_the_format);
	tcase_add_test(t, cursor_tells_every_list_it_meets);
	tcase_add_test(t, lists_are_cut_by_number_size_and_id);
	tcase_add_test(t, lists_of_long_paths_are_cut_at_4_mib);
	tcase_add_test(t, change_in_the_middle_keeps_most_lists);
	tcase_add_test(t, seek_finds_the_chunk_of_any_byte);
	tcase_add_test(t, seek_by_path_finds_the_last_chunk_that_begins_before_it);
	tcase_add_test(t, seek_asks_for_no_more_than_a_list_a_level);
	tcase_add_test(t, claims_that_do_not_hold_are_corrupt);
	tcase_add_test(t, path_that_differs_from_its_parents_claim_is_corrupt);
	tcase_add_test(t, missing_list_is_missing);
	tcase_add_test(t, cut_or_flipped_lists_are_noticed);
	tcase_add_test(t, bytes_behind_a_list_are_corrupt);
	tcase_add_test(t, builder_refuses_what_the_format_cannot_say);
	tcase_add_test(t, walk_order_is_by_component);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
