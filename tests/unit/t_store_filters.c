#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store.h"
#include "store_conformance.h"
#include "store_rich.h"

/* The filters trace and fault. The conformance suite runs through them in t_store. */

/* --- trace --- */

static void keep_line(void *arg, const char *line)
{
	const char *seconds = strrchr(line, ' ');

	ck_assert_ptr_nonnull(seconds);
	ck_assert_ptr_nonnull(strchr(seconds, '.'));
	buf_addf(arg, "%.*s\n", (int)(seconds - line), line);
}

START_TEST(trace_tells_of_every_operation)
{
	CLEAN(buf_release) struct buf lines = BUF_INIT(4096), b = BUF_INIT(64);
	CLEAN(store_free_ptr) struct store *s = store_trace_new(new_mem("traced"), keep_line, &lines);
	struct store_stat st;
	struct err err = ERR_INIT;

	put_text(s, "a/1", "12345");
	ck_assert_int_eq(store_put_bytes(s, "a/1", "x", 1, &err), -ERR_EXISTS);
	must(store_get_range(s, "a/1", 1, 3, &b, &err), &err);
	must(store_stat(s, "a/1", &st, &err), &err);
	expect_list(s, "", NULL, "a/1 ");
	must(store_remove(s, "a/1", &err), &err);
	ck_assert_int_eq(store_get(s, "a/1", &b, &err), -ERR_MISSING);
	must(store_sync(s, &err), &err);
	ck_assert_str_eq(buf_str(&lines), "put a/1 5 ok\nput a/1 1 EXISTS\nget a/1 3 ok\nstat a/1 5 ok\nlist * 1 ok\n"
	                                  "remove a/1 0 ok\nget a/1 0 MISSING\nsync * 0 ok\n");
	ck_assert_str_eq(s->name, "traced");
}
END_TEST

START_TEST(trace_tells_of_what_not_every_place_has)
{
	CLEAN(buf_release) struct buf lines = BUF_INIT(4096), b = BUF_INIT(64);
	struct store *rich;
	struct store_lock lock;
	unsigned char digest[32];
	struct err err = ERR_INIT;
	int64_t t;

	must(store_rich_open("traced", &rich, &err), &err);
	CLEAN(store_free_ptr) struct store *s = store_trace_new(rich, keep_line, &lines);

	put_text(s, "a/1", "12345");
	must(store_digest(s, "a/1", digest, &err), &err);
	must(store_lock(s, "a/1", &lock, &err), &err);
	must(store_extend(s, "a/1", lock.until_ns, &err), &err);
	must(store_clock(s, &t, &err), &err);
	ck_assert_int_eq(store_attack(s, STORE_SHORTEN_LOCK, "a/1", &err), -ERR_DENIED);
	must(store_attack(s, STORE_OVERWRITE, "a/1", &err), &err);
	must(store_get_older(s, "a/1", 1, &(struct store_sink){store_buf_write, &b}, &err), &err);
	ck_assert_str_eq(buf_str(&lines), "put a/1 5 ok\ndigest a/1 0 ok\nlock a/1 0 ok\nextend a/1 0 ok\nclock * 0 ok\n"
	                                  "attack a/1 0 DENIED\nattack a/1 0 ok\nolder a/1 5 ok\n");
}
END_TEST

/* --- fault --- */

/* A fault filter above the memory store "under", which new_mem("under") sees without faults. */
static struct store *new_fault(const char *const *rules)
{
	struct store *s;
	struct err err = ERR_INIT;

	must(store_fault_new(new_mem("under"), rules, &s, &err), &err);
	return s;
}
#define RULES(...)                                                                                                     \
	(const char *const[])                                                                                          \
	{                                                                                                              \
		__VA_ARGS__, NULL                                                                                      \
	}

START_TEST(rules_that_do_not_parse_are_named)
{
	static const char *const bad[] = {"", "put", "put p/", "frob p/ drop", "put p/ explode", "put p/ fail",
	        "put p/ fail NOPE", "put p/ fail OK", "get p/ truncate", "get p/ truncate x", "get p/ extend -1",
	        "get p/ flip 1 2", "get p/ drop", "put p/ swap", "stat p/ flip", "any p/ drop", "any p/ flip",
	        "list p/ stale after", "list p/ stale after -1", "list p/ stale times x", "put /p drop",
	        "put p//q drop", "put ../ drop", "get p/ flip 99999999999999999999", "get p/ cut", "get p/ cut -1", "put p/ cut 1", "lock p/ flip", "put p/ failafter", "put p/ drop then", "PUT p/ drop"};
	CLEAN(store_free_ptr) struct store *below = new_mem("under");
	struct store *s;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = ERR_INIT;

		ck_assert_msg(store_fault_new(below, RULES("get p/ flip", bad[i]), &s, &err) == -ERR_USAGE,
		        "'%s' passes", bad[i]);
		ck_assert_ptr_nonnull(strstr(err.msg, bad[i]));
		ck_assert_ptr_null(s);
	}
}
END_TEST

START_TEST(fail_returns_the_error_of_the_rule)
{
	CLEAN(store_free_ptr)
	struct store *s = new_fault(RULES("put i/ fail NOSPACE", "get x/ fail UNREACHABLE", "stat x/ fail DENIED",
	        "list x/ fail BUSY", "remove x/ fail IO", "any all/ fail CANCELLED"));
	CLEAN(store_free_ptr) struct store *under = new_mem("under");
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct store_stat st;
	struct err err = ERR_INIT;
	int n = 0;

	ck_assert_int_eq(store_put_bytes(s, "i/1", "x", 1, &err), -ERR_NOSPACE);
	ck_assert_str_eq(err.msg, "site under: planted fault 'put i/ fail NOSPACE' at i/1");
	put_text(s, "x/1", "x");
	ck_assert_int_eq(store_get(s, "x/1", &b, &err), -ERR_UNREACHABLE);
	ck_assert(err.retryable);
	ck_assert_int_eq(store_stat(s, "x/1", &st, &err), -ERR_DENIED);
	ck_assert_int_eq(store_list(s, "x/", NULL, count_key, &n, &err), -ERR_BUSY);
	ck_assert_int_eq(store_list(s, "", NULL, count_key, &n, &err), -ERR_BUSY);
	ck_assert_int_eq(store_remove(s, "x/1", &err), -ERR_IO);
	ck_assert_int_eq(store_put_bytes(s, "all/1", "x", 1, &err), -ERR_CANCELLED);
	ck_assert_int_eq(store_get(s, "all/1", &b, &err), -ERR_CANCELLED);
	expect_list(under, "", NULL, "x/1 ");
}
END_TEST

START_TEST(fail_and_flip_reach_what_not_every_place_has)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct store *rich, *s;
	unsigned char good[32], bad[32];
	struct store_lock lock;
	struct err err = ERR_INIT;
	int64_t t;

	must(store_rich_open("under", &rich, &err), &err);
	put_text(rich, "a/1", "0123456789");
	must(store_digest(rich, "a/1", good, &err), &err);
	must(store_attack(rich, STORE_OVERWRITE, "a/1", &err), &err);
	must(store_fault_new(rich,
	             RULES("digest a/ flip 0", "lock * fail DENIED", "later * fail IO", "clock * fail CLOCK",
	                     "attack * fail CANCELLED", "older a/ truncate 4 times 1", "older * fail CORRUPT after 1"),
	             &s, &err),
	        &err);
	put_text(s, "a/2", "0123456789");
	must(store_digest(s, "a/2", bad, &err), &err);
	ck_assert_int_eq(bad[0], good[0] ^ 1);
	ck_assert_mem_eq(bad + 1, good + 1, 31);
	ck_assert_int_eq(store_lock(s, "a/1", &lock, &err), -ERR_DENIED);
	ck_assert_int_eq(store_extend(s, "a/1", 1, &err), -ERR_IO);
	ck_assert_int_eq(store_clock(s, &t, &err), -ERR_CLOCK);
	ck_assert_int_eq(store_attack(s, STORE_DELETE, "a/1", &err), -ERR_CANCELLED);
	must(store_get_older(s, "a/1", 1, &(struct store_sink){store_buf_write, &b}, &err), &err);
	ck_assert_str_eq(buf_str(&b), "0123");
	ck_assert_int_eq(store_get_older(s, "a/1", 1, &(struct store_sink){store_buf_write, &b}, &err), -ERR_CORRUPT);
	store_free(s);
}
END_TEST

START_TEST(failafter_loses_the_answer_of_what_was_done)
{
	CLEAN(store_free_ptr)
	struct store *s = new_fault(RULES("put a/ failafter UNREACHABLE", "remove a/ failafter BUSY", "get a/ failafter IO"));
	CLEAN(store_free_ptr) struct store *under = new_mem("under");
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct err err = ERR_INIT;

	ck_assert_int_eq(store_put_bytes(s, "a/1", "x", 1, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(store_put_bytes(s, "a/1", "x", 1, &err), -ERR_EXISTS);
	expect_text(under, "a/1", "x");
	ck_assert_int_eq(store_get(s, "a/1", &b, &err), -ERR_IO);
	ck_assert_int_eq(store_remove(s, "a/1", &err), -ERR_BUSY);
	expect_missing(under, "a/1");
}
END_TEST

START_TEST(cut_breaks_off_after_some_bytes_or_keys)
{
	CLEAN(store_free_ptr) struct store *s = new_fault(RULES("get * cut 4", "get * flip 1 times 1", "list * cut 2"));
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct store_sink sink = {store_buf_write, &b};
	struct err err = ERR_INIT;
	int n = 0;

	put_text(s, "a/1", "0123456789");
	put_text(s, "a/2", "0123");
	put_text(s, "a/3", "");
	ck_assert_int_eq(store_get_sink(s, "a/1", (struct store_range){0, 0}, &sink, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(store_get_sink(s, "a/1", (struct store_range){5, 0}, &sink, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(store_get_sink(s, "a/2", (struct store_range){2, 1}, &sink, &err), -ERR_UNREACHABLE);
	ck_assert_str_eq(buf_str(&b), "002356782");
	ck_assert_int_eq(store_list(s, "", NULL, count_key, &n, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(n, 2);
}
END_TEST

START_TEST(parts_are_flipped_where_the_whole_is)
{
	CLEAN(store_free_ptr) struct store *s = new_fault(RULES("get * flip 3", "get * flip -1", "get * flip 3 after 60"));
	CLEAN(buf_release) struct buf whole = BUF_INIT(64);
	struct err err = ERR_INIT;

	put_text(s, "a/1", "0123456789");
	must(store_get(s, "a/1", &whole, &err), &err);
	ck_assert_str_eq(buf_str(&whole), "0122456788");
	for (size_t off = 0; off < 10; off++)
		for (size_t n = 1; n < 10; n++) {
			CLEAN(buf_release) struct buf b = BUF_INIT(64);
			struct store_sink sink = {store_buf_write, &b};
			bool back = off * 9 + n >= 60; /* the third rule undoes the first */

			must(store_get_sink(s, "a/1", (struct store_range){off, n}, &sink, &err), &err);
			ck_assert_uint_eq(b.len, MIN(n, 10 - off));
			ck_assert_mem_eq(b.p, (back ? "0123456788" : "0122456788") + off, b.len);
		}
}
END_TEST

START_TEST(after_and_times_choose_the_operations)
{
	CLEAN(store_free_ptr) struct store *s = new_fault(RULES("put i/ fail NOSPACE times 2 after 3"));
	struct err err = ERR_INIT;
	char key[16], got[16] = "";

	for (int i = 0; i < 8; i++) {
		put_text(s, (snprintf(key, sizeof key, "j/%d", i), key), "other prefix");
		(void)snprintf(key, sizeof key, "i/%d", i);
		got[i] = store_put_bytes(s, key, "x", 1, &err) ? 'F' : '.';
	}
	ck_assert_str_eq(got, "...FF...");
}
END_TEST

START_TEST(bytes_read_are_changed_as_the_rule_says)
{
	static const struct {
		const char *rule, *got;
	} cases[] = {{"get p/ flip 0", "1123456789"}, {"get p/ flip -1", "0123456788"}, {"get p/ flip", "0123446789"},
	        {"get p/ flip 500", "0123456788"}, {"get p/ flip -500", "1123456789"}, {"get p/ truncate 3", "012"},
	        {"get p/ truncate -3", "0123456"}, {"get p/ truncate 0", ""}, {"get p/ truncate -99", ""},
	        {"get p/ truncate 99", "0123456789"}, {"get q/ flip 0", "0123456789"}};
	CLEAN(store_free_ptr) struct store *s = new_fault(RULES(cases[_i].rule));

	put_text(s, "p/x", "0123456789");
	expect_text(s, "p/x", cases[_i].got);
	CLEAN(store_free_ptr) struct store *under = new_mem("under");

	expect_text(under, "p/x", "0123456789");
}
END_TEST

START_TEST(offsets_of_a_rule_are_those_of_the_object)
{
	CLEAN(store_free_ptr) struct store *s = new_fault(RULES("get p/ flip 5", "get p/ extend 2"));
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct err err = ERR_INIT;

	put_text(s, "p/x", "0123456789");
	must(store_get_range(s, "p/x", 4, 3, &b, &err), &err);
	must(store_get_range(s, "p/x", 8, 4, &b, &err), &err);
	ck_assert_uint_eq(b.len, 7);
	ck_assert_mem_eq(b.p, "44689\0\0", 7);
}
END_TEST

START_TEST(bytes_stored_are_changed_as_the_rule_says)
{
	CLEAN(store_free_ptr)
	struct store *s = new_fault(RULES("put p/ flip 1 times 1", "put p/ truncate 4 after 1", "put d/ drop"));
	CLEAN(store_free_ptr) struct store *under = new_mem("under");

	put_text(s, "p/1", "0123456789");
	put_text(s, "p/2", "0123456789");
	put_text(s, "d/3", "lost");
	expect_text(under, "p/1", "0023456789");
	expect_text(under, "p/2", "0123");
	expect_list(under, "", NULL, "p/1 p/2 ");
}
END_TEST

START_TEST(swap_serves_another_object_of_the_prefix)
{
	CLEAN(store_free_ptr) struct store *s = new_fault(RULES("get p/ swap"));
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct err err = ERR_INIT;

	put_text(s, "a/0", "foreign");
	put_text(s, "p/1", "one");
	ck_assert_int_eq(store_get(s, "p/1", &b, &err), -ERR_FAILED);
	put_text(s, "p/2", "two");
	put_text(s, "p/3", "three");
	expect_text(s, "p/1", "two");
	expect_text(s, "p/2", "three");
	expect_text(s, "p/3", "one");
	expect_text(s, "a/0", "foreign");
}
END_TEST

START_TEST(drop_leaves_keys_out_of_lists)
{
	CLEAN(store_free_ptr) struct store *s = new_fault(RULES("list x/ drop", "remove x/ drop"));
	struct err err = ERR_INIT;

	put_text(s, "a/1", "1");
	put_text(s, "x/1", "2");
	put_text(s, "y/1", "3");
	expect_list(s, "", NULL, "a/1 y/1 ");
	expect_list(s, "x/", NULL, "");
	expect_list(s, "y/", NULL, "y/1 ");
	must(store_remove(s, "x/1", &err), &err);
	expect_text(s, "x/1", "2");
}
END_TEST

START_TEST(stale_lists_show_what_was_there_at_first)
{
	CLEAN(store_free_ptr) struct store *s = new_fault(RULES("list x/ stale times 4"));
	struct err err = ERR_INIT;

	put_text(s, "x/1", "1");
	put_text(s, "x/3", "3");
	expect_list(s, "", NULL, "x/1 x/3 ");
	put_text(s, "x/2", "2");
	put_text(s, "w/1", "4");
	put_text(s, "y/1", "5");
	must(store_remove(s, "x/3", &err), &err);
	expect_list(s, "", NULL, "w/1 x/1 x/3 y/1 ");
	expect_list(s, "x/", "x/1", "x/3 ");
	expect_list(s, "x/2", NULL, "");
	expect_list(s, "x/", NULL, "x/1 x/2 ");
}
END_TEST

static void put_and_be_killed(int after)
{
	struct store *s;
	struct err err = ERR_INIT;

	if (store_fault_new(new_file(), RULES(after ? "put w/ killafter after 1" : "put w/ kill after 1"), &s, &err))
		return;
	put_text(s, "w/1", "one");
	put_text(s, "w/2", "two");
	put_text(s, "w/3", "three");
}

START_TEST(kill_ends_the_process_before_or_after_the_operation)
{
	struct err err = ERR_INIT;
	CLEAN(store_free_ptr) struct store *s = NULL;

	must(open_file(conformance_place(), &s, &err), &err);
	int status = in_child(put_and_be_killed, _i);

	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	expect_list(s, "", NULL, _i ? "w/1 w/2 " : "w/1 ");
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store filters");
	TCase *tc = place_case("filters");

	suite_add_tcase(s, tc);
	tcase_add_test(tc, trace_tells_of_every_operation);
	tcase_add_test(tc, trace_tells_of_what_not_every_place_has);
	tcase_add_test(tc, rules_that_do_not_parse_are_named);
	tcase_add_test(tc, fail_returns_the_error_of_the_rule);
	tcase_add_test(tc, fail_and_flip_reach_what_not_every_place_has);
	tcase_add_test(tc, failafter_loses_the_answer_of_what_was_done);
	tcase_add_test(tc, cut_breaks_off_after_some_bytes_or_keys);
	tcase_add_test(tc, parts_are_flipped_where_the_whole_is);
	tcase_add_test(tc, after_and_times_choose_the_operations);
	tcase_add_loop_test(tc, bytes_read_are_changed_as_the_rule_says, 0, 11);
	tcase_add_test(tc, offsets_of_a_rule_are_those_of_the_object);
	tcase_add_test(tc, bytes_stored_are_changed_as_the_rule_says);
	tcase_add_test(tc, swap_serves_another_object_of_the_prefix);
	tcase_add_test(tc, drop_leaves_keys_out_of_lists);
	tcase_add_test(tc, stale_lists_show_what_was_there_at_first);
	tcase_add_loop_test(tc, kill_ends_the_process_before_or_after_the_operation, 0, 2);
	return s;
}

int main(void)
{
	return conformance_main(suite());
}
