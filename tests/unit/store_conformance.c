#include "store_conformance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/crypto.h"

/* Bytes of the largest object put here. */
#define BIG ((size_t)20 << 20)

static const struct conformance_driver *all_drivers;

static int add_key(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	(void)st;
	(void)err;
	buf_addf(arg, "%s ", key);
	return 0;
}

struct store *conformance_open(int i)
{
	struct store *s;
	struct err err = ERR_INIT;

	must(all_drivers[i].open(conformance_place(), &s, &err), &err);
	return s;
}

/* --- put and get --- */

START_TEST(what_is_put_can_be_read_listed_and_statted)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	struct store_stat st;
	struct err err = ERR_INIT;

	put_text(s, "p/docs/one", "hello");
	expect_text(s, "p/docs/one", "hello");
	expect_list(s, "", NULL, "p/docs/one ");
	must(store_stat(s, "p/docs/one", &st, &err), &err);
	ck_assert_uint_eq(st.size, 5);
	must(store_sync(s, &err), &err);
}
END_TEST

START_TEST(another_handle_sees_the_same_objects)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);

	put_text(s, "p/docs/one", "hello");
	CLEAN(store_free_ptr) struct store *again = conformance_open(_i);

	expect_text(again, "p/docs/one", "hello");
	put_text(again, "p/docs/two", "there");
	expect_list(s, "p/", NULL, "p/docs/one p/docs/two ");
	expect_text(s, "p/docs/two", "there");
}
END_TEST

START_TEST(a_taken_key_keeps_its_bytes)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	struct err err = ERR_INIT;

	put_text(s, "w/a/fate", "commit");
	ck_assert_int_eq(store_put_bytes(s, "w/a/fate", "dead", 4, &err), -ERR_EXISTS);
	ck_assert_int_eq(err.code, ERR_EXISTS);
	ck_assert_int_eq(store_put_bytes(s, "w/a/fate", "commit", 6, &err), -ERR_EXISTS);
	expect_text(s, "w/a/fate", "commit");
}
END_TEST

START_TEST(put_same_takes_equal_bytes_only)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	struct err err = ERR_INIT;

	must(store_put_same(s, "cfg/0", "abc", 3, &err), &err);
	must(store_put_same(s, "cfg/0", "abc", 3, &err), &err);
	ck_assert_int_eq(store_put_same(s, "cfg/0", "abd", 3, &err), -ERR_EXISTS);
	ck_assert_int_eq(store_put_same(s, "cfg/0", "ab", 2, &err), -ERR_EXISTS);
	ck_assert_int_eq(store_put_same(s, "cfg/0", "abcd", 4, &err), -ERR_EXISTS);
	must(store_put_same(s, "cfg/1", "", 0, &err), &err);
	must(store_put_same(s, "cfg/1", "", 0, &err), &err);
	ck_assert_int_eq(store_put_same(s, "cfg/1", "x", 1, &err), -ERR_EXISTS);
	expect_text(s, "cfg/0", "abc");
}
END_TEST

START_TEST(an_empty_object_is_an_object)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	struct store_src none = {NULL, 0};
	struct store_stat st = {1, 0};
	struct err err = ERR_INIT;

	must(store_put(s, "x/empty", &none, &err), &err);
	expect_text(s, "x/empty", "");
	must(store_stat(s, "x/empty", &st, &err), &err);
	ck_assert_uint_eq(st.size, 0);
	expect_list(s, "x/", NULL, "x/empty ");
	ck_assert_int_eq(store_put_bytes(s, "x/empty", "late", 4, &err), -ERR_EXISTS);
}
END_TEST

START_TEST(a_large_object_comes_back_bit_for_bit)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(BIG + 3, 1);
	CLEAN(buf_release) struct buf b = BUF_INIT(BIG + 3);
	struct err err = ERR_INIT;

	must(store_put_bytes(s, "p/big", p, BIG + 3, &err), &err);
	must(store_get(s, "p/big", &b, &err), &err);
	ck_assert_uint_eq(b.len, BIG + 3);
	ck_assert(memcmp(b.p, p, b.len) == 0);
}
END_TEST

START_TEST(pieces_are_joined_in_order)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	const size_t len[] = {0, 1, 4095, 4096, 4097, 0, 1 << 20, 7, 0};
	struct store_piece piece[ARRAY_LEN(len)];
	CLEAN(buf_release) struct buf b = BUF_INIT(4 << 20);
	struct err err = ERR_INIT;
	size_t total = 0;

	for (size_t i = 0; i < ARRAY_LEN(len); i++)
		total += len[i];
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(total, 2);

	for (size_t i = 0, at = 0; i < ARRAY_LEN(len); at += len[i++])
		piece[i] = (struct store_piece){len[i] ? p + at : NULL, len[i]};
	must(store_put(s, "p/pieces", &(struct store_src){piece, ARRAY_LEN(piece)}, &err), &err);
	must(store_get(s, "p/pieces", &b, &err), &err);
	ck_assert_uint_eq(b.len, total);
	ck_assert(memcmp(b.p, p, total) == 0);
}
END_TEST

START_TEST(get_appends_and_keeps_its_ceiling)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	CLEAN(buf_release) struct buf b = BUF_INIT(8);
	struct err err = ERR_INIT;

	put_text(s, "a/five", "12345");
	must(store_get(s, "a/five", &b, &err), &err);
	ck_assert_int_eq(store_get(s, "a/five", &b, &err), -ERR_NOMEM);
	ck_assert_uint_eq(b.len, 5);
	ck_assert_mem_eq(b.p, "12345", 5);
}
END_TEST

START_TEST(a_get_that_fails_in_the_middle_leaves_the_buffer_as_it_was)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(4 << 20, 5);
	CLEAN(buf_release) struct buf b = BUF_INIT((2 << 20) + 9);
	struct err err = ERR_INIT;

	put_text(s, "a/five", "12345");
	must(store_put_bytes(s, "a/large", p, 4 << 20, &err), &err);
	must(store_get(s, "a/five", &b, &err), &err);
	ck_assert_int_eq(store_get(s, "a/large", &b, &err), -ERR_NOMEM);
	ck_assert_int_eq(store_get_range(s, "a/large", 1, 3 << 20, &b, &err), -ERR_NOMEM);
	ck_assert_str_eq(buf_str(&b), "12345");
}
END_TEST

/* --- ranges --- */

static void expect_sunk(struct store *s, uint64_t off, uint64_t len, const char *text)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct store_sink sink = {store_buf_write, &b};
	struct err err = ERR_INIT;

	must(store_get_sink(s, "r/ten", (struct store_range){off, len}, &sink, &err), &err);
	ck_assert_str_eq(buf_str(&b), text);
}

START_TEST(a_range_is_cut_at_the_end_of_the_object)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);

	put_text(s, "r/ten", "0123456789");
	expect_sunk(s, 0, 0, "0123456789");
	expect_sunk(s, 3, 4, "3456");
	expect_sunk(s, 3, 0, "3456789");
	expect_sunk(s, 9, 1, "9");
	expect_sunk(s, 8, 100, "89");
	expect_sunk(s, 10, 1, "");
	expect_sunk(s, 11, 0, "");
	expect_sunk(s, UINT64_MAX, UINT64_MAX, "");
	expect_sunk(s, 5, UINT64_MAX, "56789");
}
END_TEST

START_TEST(get_range_wants_every_byte)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct err err = ERR_INIT;

	put_text(s, "r/ten", "0123456789");
	must(store_get_range(s, "r/ten", 2, 8, &b, &err), &err);
	must(store_get_range(s, "r/ten", 2, 0, &b, &err), &err);
	ck_assert_str_eq(buf_str(&b), "23456789");
	ck_assert_int_eq(store_get_range(s, "r/ten", 2, 9, &b, &err), -ERR_CORRUPT);
	ck_assert_int_eq(store_get_range(s, "r/ten", 11, 1, &b, &err), -ERR_CORRUPT);
	ck_assert_int_eq(store_get_range(s, "r/none", 0, 1, &b, &err), -ERR_MISSING);
	ck_assert_str_eq(buf_str(&b), "23456789");
}
END_TEST

START_TEST(a_range_of_a_large_object_crosses_blocks)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	const size_t n = (3 << 20) + 17, off = (1 << 20) - 5, len = (1 << 20) + 11;
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(n, 3);
	CLEAN(buf_release) struct buf b = BUF_INIT(n);
	struct err err = ERR_INIT;

	must(store_put_bytes(s, "r/large", p, n, &err), &err);
	must(store_get_range(s, "r/large", off, len, &b, &err), &err);
	ck_assert_uint_eq(b.len, len);
	ck_assert(memcmp(b.p, p + off, len) == 0);
}
END_TEST

static int refuse_bytes(void *arg, const void *p, size_t n, struct err *err)
{
	(void)p;
	(void)n;
	++*(int *)arg;
	return err_set(err, ERR_CANCELLED, "that is enough");
}

START_TEST(a_sink_stops_a_get_with_its_own_error)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(4 << 20, 4);
	struct err err = ERR_INIT;
	int calls = 0;
	struct store_sink sink = {refuse_bytes, &calls};

	must(store_put_bytes(s, "p/x", p, 4 << 20, &err), &err);
	ck_assert_int_eq(store_get_sink(s, "p/x", (struct store_range){0, 0}, &sink, &err), -ERR_CANCELLED);
	ck_assert_int_eq(calls, 1);
	ck_assert_str_eq(err.msg, "that is enough");
}
END_TEST

/* --- missing, removed --- */

START_TEST(a_key_never_put_is_missing)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	struct err err = ERR_INIT;

	expect_missing(s, "p/none");
	put_text(s, "p/some/deep/key", "x");
	expect_missing(s, "p/some/deep");
	expect_missing(s, "p/some/deep/key/below");
	expect_missing(s, "p/some/deep/ke");
	expect_list(s, "p/none", NULL, "");
	expect_list(s, "p/some/deep/key/", NULL, "");
	if (!(s->caps & STORE_REMOVE)) {
		ck_assert_int_eq(store_remove(s, "p/none/key", &err), -ERR_UNSUPPORTED);
		return;
	}
	ck_assert_int_eq(store_remove(s, "p/some/deep", &err), -ERR_MISSING);
	ck_assert_int_eq(store_remove(s, "p/none/key", &err), -ERR_MISSING);
	ck_assert_ptr_nonnull(strstr(err.msg, "site "));
	ck_assert_ptr_nonnull(strstr(err.msg, "p/none/key"));
}
END_TEST

START_TEST(a_key_is_not_the_directory_of_another)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	struct err err = ERR_INIT;

	if (all_drivers[_i].flat)
		return; /* promises nothing */
	put_text(s, "a/b", "1");
	put_text(s, "d/e/f", "2");
	ck_assert_int_eq(store_put_bytes(s, "a/b/c", "x", 1, &err), -ERR_EXISTS);
	ck_assert_int_eq(store_put_bytes(s, "a/b/c/d", "x", 1, &err), -ERR_EXISTS);
	ck_assert_int_eq(store_put_bytes(s, "d/e", "x", 1, &err), -ERR_EXISTS);
	ck_assert_int_eq(store_put_bytes(s, "d", "x", 1, &err), -ERR_EXISTS);
	expect_list(s, "", NULL, "a/b d/e/f ");
}
END_TEST

START_TEST(a_removed_key_is_gone_and_free)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	struct err err = ERR_INIT;

	put_text(s, "p/a/1", "one");
	put_text(s, "p/a/2", "two");
	if (!(s->caps & STORE_REMOVE)) {
		ck_assert_int_eq(store_remove(s, "p/a/1", &err), -ERR_UNSUPPORTED);
		expect_text(s, "p/a/1", "one");
		return;
	}
	must(store_remove(s, "p/a/1", &err), &err);
	expect_missing(s, "p/a/1");
	expect_list(s, "p/", NULL, "p/a/2 ");
	ck_assert_int_eq(store_remove(s, "p/a/1", &err), -ERR_MISSING);
	put_text(s, "p/a/1", "again");
	expect_text(s, "p/a/1", "again");
	expect_text(s, "p/a/2", "two");
}
END_TEST

static void expect_part(struct store *s, const char *key, uint64_t off, size_t n, const char *want)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct err err = ERR_INIT;

	must(buf_put(&b, "+", 1, &err), &err);
	must(store_get_part(s, key, off, n, &b, &err), &err);
	ck_assert_str_eq(buf_str(&b) + 1, want);
}

START_TEST(parts_are_cut_at_the_end_and_follow_what_is_removed)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct err err = ERR_INIT;
	char key[16];

	put_text(s, "p/ten", "0123456789");
	expect_part(s, "p/ten", 0, 4, "0123");
	expect_part(s, "p/ten", 4, 100, "456789");
	expect_part(s, "p/ten", 10, 1, "");
	expect_part(s, "p/ten", 1 << 20, 1, "");
	expect_part(s, "p/ten", 3, 0, "");
	if (!(s->caps & STORE_REMOVE))
		return;
	must(store_remove(s, "p/ten", &err), &err);
	ck_assert_int_eq(store_get_part(s, "p/ten", 0, 4, &b, &err), -ERR_MISSING);
	put_text(s, "p/ten", "abcdefghij");
	expect_part(s, "p/ten", 2, 3, "cde");
	for (int i = 0; i < 40; i++) { /* more than a driver may keep open */
		snprintf(key, sizeof key, "p/%d", i);
		put_text(s, key, key);
		expect_part(s, key, 2, 9, key + 2);
	}
	expect_part(s, "p/ten", 7, 9, "hij");
}
END_TEST

/* --- keys --- */

static void expect_bad_key(struct store *s, const char *key)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct store_stat st;
	struct err err = ERR_INIT;

	ck_assert_msg(!store_key_ok(key), "'%s' passes", key);
	ck_assert_int_eq(store_put_bytes(s, key, "x", 1, &err), -ERR_FORMAT);
	ck_assert_int_eq(store_get(s, key, &b, &err), -ERR_FORMAT);
	ck_assert_int_eq(store_stat(s, key, &st, &err), -ERR_FORMAT);
	ck_assert_int_eq(store_remove(s, key, &err), -ERR_FORMAT);
}

START_TEST(keys_outside_the_rules_are_refused)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	static const char *const bad[] = {"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b",
	        "./a", ".t", ".t/x", "a/.hidden", "a b", "a\nb", "a\tb", "a\x01", "a\x7f", "a\\b", "a:b", "a*",
	        "\xc3\xa4", "a%2fb"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		expect_bad_key(s, bad[i]);
	expect_list(s, "", NULL, "");
}
END_TEST

/* A key of n bytes in components of at most `component`. */
static void long_key(char *key, size_t n, size_t component)
{
	for (size_t i = 0; i < n; i++)
		key[i] = i % (component + 1) == component ? '/' : 'k';
	key[n] = '\0';
}

START_TEST(keys_up_to_the_limits_work_and_longer_ones_are_refused)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	char key[STORE_KEY_MAX + 2], listed[STORE_KEY_MAX + 4];

	long_key(key, STORE_KEY_MAX, 255);
	put_text(s, key, "long");
	expect_text(s, key, "long");
	(void)snprintf(listed, sizeof listed, "%s ", key);
	expect_list(s, "", NULL, listed);
	long_key(key, STORE_KEY_MAX + 1, 255);
	expect_bad_key(s, key);
	long_key(key, 256, 256);
	expect_bad_key(s, key);
	long_key(key, 999, 1);
	put_text(s, key, "deep");
	expect_text(s, key, "deep");
	(void)snprintf(listed, sizeof listed, "%s ", key);
	expect_list(s, "k/k/", NULL, listed);
}
END_TEST

/* --- lists --- */

START_TEST(lists_are_in_byte_order_of_whole_keys)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	static const char *const keys[] = {
	        "a0", "a/b", "a-b", "a.b", "A", "a_", "a-b-/x", "aa/1", "a/b0/c", "a/b-/c", "Z/9", "a-/z", "0"};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		put_text(s, keys[i], keys[i]);
	expect_list(s, "", NULL, "0 A Z/9 a-/z a-b a-b-/x a.b a/b a/b-/c a/b0/c a0 a_ aa/1 ");
}
END_TEST

START_TEST(lists_start_at_a_prefix_and_after_a_key)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	static const char *const keys[] = {"p/a/1", "p/a/2", "p/a-b/1", "p/ab/1", "p/b/1", "q/1", "p0"};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		put_text(s, keys[i], "x");
	expect_list(s, "p/", NULL, "p/a-b/1 p/a/1 p/a/2 p/ab/1 p/b/1 ");
	expect_list(s, "p/a", NULL, "p/a-b/1 p/a/1 p/a/2 p/ab/1 ");
	expect_list(s, "p/a/", NULL, "p/a/1 p/a/2 ");
	expect_list(s, "p/a/2", NULL, "p/a/2 ");
	expect_list(s, "p/c", NULL, "");
	expect_list(s, "p/a/10", NULL, "");
	expect_list(s, "p01", NULL, "");
	expect_list(s, "p", NULL, "p/a-b/1 p/a/1 p/a/2 p/ab/1 p/b/1 p0 ");
	expect_list(s, "p/", "p/a/1", "p/a/2 p/ab/1 p/b/1 ");
	expect_list(s, "p/", "p/a", "p/a-b/1 p/a/1 p/a/2 p/ab/1 p/b/1 ");
	expect_list(s, "p/", "p/a/", "p/a/1 p/a/2 p/ab/1 p/b/1 ");
	expect_list(s, "p/a", "a", "p/a-b/1 p/a/1 p/a/2 p/ab/1 ");
	expect_list(s, "p/a", "q", "");
	expect_list(s, "", "p/b/1", "p0 q/1 ");
	expect_list(s, "", "p/b/10", "p0 q/1 ");
}
END_TEST

START_TEST(prefixes_that_leave_the_tree_are_refused)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	static const char *const bad[] = {"/", "//", "../", "..", "a/../", "a//", ".t/", "a\n"};
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_int_eq(store_list(s, bad[i], NULL, add_key, &b, &err), -ERR_FORMAT);
}
END_TEST

static int stop_at_two(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	(void)key;
	(void)st;
	(void)err;
	return ++*(int *)arg == 2 ? 77 : 0;
}

START_TEST(a_list_stops_when_told_to)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	struct err err = ERR_INIT;
	int seen = 0;

	put_text(s, "a/1", "x");
	put_text(s, "b/1", "x");
	put_text(s, "c/1", "x");
	ck_assert_int_eq(store_list(s, "", NULL, stop_at_two, &seen, &err), 77);
	ck_assert_int_eq(seen, 2);
}
END_TEST

static int read_and_remove(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct store *s = arg;
	int rc = store_get(s, key, &b, err);

	ck_assert_uint_eq(st->size, b.len);
	return rc || !(s->caps & STORE_REMOVE) ? rc : store_remove(s, key, err);
}

START_TEST(a_list_callback_may_use_the_store)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	struct err err = ERR_INIT;

	put_text(s, "a/1", "x");
	put_text(s, "a/2", "yy");
	put_text(s, "b", "zzz");
	must(store_list(s, "", NULL, read_and_remove, s, &err), &err);
	expect_list(s, "", NULL, s->caps & STORE_REMOVE ? "" : "a/1 a/2 b ");
}
END_TEST

START_TEST(list_all_gives_keys_and_sizes)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	CLEAN(store_keys_release) struct store_keys keys = {0};
	struct err err = ERR_INIT;
	char key[32];

	for (int i = 0; i < 300; i++) {
		(void)snprintf(key, sizeof key, "l/%d/%03d", i % 3, i);
		must(store_put_bytes(s, key, "0123456789", (size_t)i % 10, &err), &err);
	}
	put_text(s, "m/1", "x");
	must(store_list_all(s, "l/", &keys, &err), &err);
	ck_assert_uint_eq(keys.n, 300);
	for (size_t i = 0; i < keys.n; i++) {
		size_t n = i % 100 * 3 + i / 100;

		(void)snprintf(key, sizeof key, "l/%zu/%03zu", n % 3, n);
		ck_assert_str_eq(keys.key[i], key);
		ck_assert_uint_eq(keys.size[i], n % 10);
	}
}
END_TEST

/* --- what not every place has: it works where it is claimed, and is refused where it is not --- */

START_TEST(a_digest_is_that_of_the_bytes)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(3 << 20, 7);
	unsigned char got[32], want[SHA256_LEN];
	struct err err = ERR_INIT;

	must(store_put_bytes(s, "d/large", p, 3 << 20, &err), &err);
	if (!(s->caps & STORE_DIGEST)) {
		ck_assert_int_eq(store_digest(s, "d/large", got, &err), -ERR_UNSUPPORTED);
		return;
	}
	sha256_of(p, 3 << 20, want);
	must(store_digest(s, "d/large", got, &err), &err);
	ck_assert_mem_eq(got, want, sizeof want);
	ck_assert_int_eq(store_digest(s, "d/none", got, &err), -ERR_MISSING);
}
END_TEST

START_TEST(what_was_overwritten_is_an_older_version)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct store_sink sink = {store_buf_write, &b};
	struct err err = ERR_INIT;

	put_text(s, "v/1", "first");
	if (!(s->caps & STORE_VERSIONS)) {
		ck_assert_int_eq(store_get_older(s, "v/1", 1, &sink, &err), -ERR_UNSUPPORTED);
		return;
	}
	ck_assert_int_eq(store_get_older(s, "v/1", 1, &sink, &err), -ERR_MISSING);
	if (store_attack(s, STORE_OVERWRITE, "v/1", &err))
		return; /* then there is no older one */
	must(store_get_older(s, "v/1", 1, &sink, &err), &err);
	ck_assert_str_eq(buf_str(&b), "first");
	ck_assert_int_eq(store_get_older(s, "v/1", 2, &sink, &err), -ERR_MISSING);
}
END_TEST

START_TEST(a_lock_can_be_extended_and_not_shortened)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	struct store_lock first, later;
	struct err err = ERR_INIT;

	put_text(s, "k/1", "locked");
	if (!(s->caps & STORE_OBJECT_LOCK)) {
		ck_assert_int_eq(store_lock(s, "k/1", &first, &err), -ERR_UNSUPPORTED);
		ck_assert_int_eq(store_extend(s, "k/1", clock_wall_ns(), &err), -ERR_UNSUPPORTED);
		return;
	}
	must(store_lock(s, "k/1", &first, &err), &err);
	int64_t until = MAX(first.until_ns, clock_wall_ns()) + INT64_C(5000000000);

	must(store_extend(s, "k/1", until, &err), &err);
	must(store_lock(s, "k/1", &later, &err), &err);
	ck_assert_int_ne(later.mode, STORE_UNLOCKED);
	ck_assert_int_ge(later.until_ns, until / 1000000000 * 1000000000);
	int rc = store_extend(s, "k/1", until - INT64_C(4000000000), &err); /* refused or passed over */

	ck_assert(rc == 0 || rc == err_rc(&err));
	must(store_lock(s, "k/1", &first, &err), &err);
	ck_assert_int_ge(first.until_ns, later.until_ns);
	ck_assert_int_eq(store_lock(s, "k/none", &first, &err), -ERR_MISSING);
}
END_TEST

START_TEST(a_clock_that_is_told_is_near_ours)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	struct err err = ERR_INIT;
	int64_t t = 0;
	int rc = store_clock(s, &t, &err);

	if (rc == -ERR_UNSUPPORTED)
		return;
	must(rc, &err);
	ck_assert_int_lt(t, clock_wall_ns() + INT64_C(86400000000000));
	ck_assert_int_gt(t, clock_wall_ns() - INT64_C(86400000000000));
}
END_TEST

TCase *conformance_case(const char *name, const TTest *const *tests, size_t n_tests, int n_drivers)
{
	TCase *tc = place_case(name);

	for (size_t i = 0; i < n_tests; i++)
		tcase_add_loop_test(tc, tests[i], 0, n_drivers);
	return tc;
}

void store_conformance(Suite *s, const struct conformance_driver *drivers, int n)
{
	const TTest *const tests[] = {
	        what_is_put_can_be_read_listed_and_statted, another_handle_sees_the_same_objects, a_taken_key_keeps_its_bytes,
	        put_same_takes_equal_bytes_only, an_empty_object_is_an_object, a_large_object_comes_back_bit_for_bit, pieces_are_joined_in_order,
	        get_appends_and_keeps_its_ceiling, a_get_that_fails_in_the_middle_leaves_the_buffer_as_it_was, a_range_is_cut_at_the_end_of_the_object,
	        get_range_wants_every_byte, a_range_of_a_large_object_crosses_blocks, a_sink_stops_a_get_with_its_own_error, a_key_never_put_is_missing,
	        a_key_is_not_the_directory_of_another, a_removed_key_is_gone_and_free, parts_are_cut_at_the_end_and_follow_what_is_removed,
	        keys_outside_the_rules_are_refused, keys_up_to_the_limits_work_and_longer_ones_are_refused, lists_are_in_byte_order_of_whole_keys,
	        lists_start_at_a_prefix_and_after_a_key, prefixes_that_leave_the_tree_are_refused, a_list_stops_when_told_to,
	        a_list_callback_may_use_the_store, list_all_gives_keys_and_sizes, a_digest_is_that_of_the_bytes, what_was_overwritten_is_an_older_version,
	        a_lock_can_be_extended_and_not_shortened, a_clock_that_is_told_is_near_ours};

	all_drivers = drivers;
	suite_add_tcase(s, conformance_case("conformance", tests, ARRAY_LEN(tests), n));
	suite_add_tcase(s, store_races(n));
}
