#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "store/filter.h"
#include "store/store.h"
#include "store_conformance.h"
#include "store_rich.h"

/* The retry filter, by a clock of the tests' own: nothing sleeps here. */

#define MINUTE INT64_C(60000)
#define WAITS_MAX 4096

struct clock {
	int64_t now;
	int64_t wait[WAITS_MAX];
	size_t n;
	int told, told_end, told_well;
	struct err last;
	atomic_bool cancel;
	atomic_bool *stop_when_told;
};

static int64_t clock_now(void *arg)
{
	return ((struct clock *)arg)->now;
}

static void clock_wait(void *arg, int64_t ms)
{
	struct clock *c = arg;

	ck_assert_int_gt(ms, 0);
	ck_assert_uint_lt(c->n, WAITS_MAX);
	c->wait[c->n++] = ms;
	c->now += ms;
}

static void on_state(void *arg, bool retrying, const struct err *err)
{
	struct clock *c = arg;

	c->told += retrying;
	c->told_end += !retrying;
	c->told_well += !retrying && !err;
	if (retrying)
		c->last = *err;
	if (c->stop_when_told)
		atomic_store(c->stop_when_told, true);
}

static struct store_retry by(struct clock *c)
{
	return (struct store_retry){.now_ms = clock_now, .wait = clock_wait, .arg = c, .state = on_state, .cancel = &c->cancel};
}

#define RULES(...)                                                                                                     \
	(const char *const[])                                                                                          \
	{                                                                                                              \
		__VA_ARGS__, NULL                                                                                      \
	}

/* Requests that reach the store "under", with the bytes or keys of each. */
struct requests {
	int n, puts, gets, stats, lists, removes;
	unsigned long long bytes; /* of gets, and keys of lists */
};

static void count_request(void *arg, const char *line)
{
	struct requests *q = arg;
	char op[16], key[128];
	unsigned long long n = 0;

	ck_assert_int_eq(sscanf(line, "%15s %127s %llu", op, key, &n), 3);
	q->n++;
	q->puts += str_eq(op, "put");
	q->gets += str_eq(op, "get");
	q->stats += str_eq(op, "stat");
	q->lists += str_eq(op, "list");
	q->removes += str_eq(op, "remove");
	if (str_eq(op, "get") || str_eq(op, "list") || str_eq(op, "older"))
		q->bytes += n;
}

/* retry over (counted) over faults over `below`. */
static struct store *new_stack(struct store *below, const char *const *rules, const struct store_retry *o, struct requests *q)
{
	struct store *s;
	struct err err = ERR_INIT;

	must(store_fault_new(below, rules, &s, &err), &err);
	return store_retry_new(q ? store_trace_new(s, count_request, q) : s, o);
}

static struct store *new_retry(const char *const *rules, struct clock *c, struct requests *q)
{
	const struct store_retry o = by(c);

	return new_stack(new_mem("under"), rules, &o, q);
}

/* --- which errors are tried again --- */

START_TEST(what_may_pass_is_tried_until_it_does)
{
	struct clock c = {.now = 1};
	struct requests q = {0};
	CLEAN(store_free_ptr) struct store *s = new_retry(
	        RULES("put * fail UNREACHABLE times 2", "get * fail BUSY times 2", "stat * fail UNREACHABLE times 2",
	                "list * fail UNREACHABLE times 2", "remove * fail UNREACHABLE times 2"),
	        &c, &q);
	struct store_stat st;
	struct err err = ERR_INIT;

	put_text(s, "a/1", "text");
	expect_text(s, "a/1", "text");
	must(store_stat(s, "a/1", &st, &err), &err);
	expect_list(s, "a/", NULL, "a/1 ");
	must(store_remove(s, "a/1", &err), &err);
	must(store_sync(s, &err), &err);
	ck_assert_int_eq(q.n, 16);
	ck_assert_int_eq(c.told, 10);
	ck_assert_int_eq(c.told_end, 5);
	ck_assert_int_eq(c.told_well, 5);
	ck_assert_uint_eq(s->trouble->retrying, 0);
	ck_assert_uint_eq(s->trouble->refusals, 10);
}
END_TEST

START_TEST(operations_that_not_every_place_has_are_tried_again_too)
{
	struct clock c = {.now = 1};
	const struct store_retry o = by(&c);
	struct store *rich;
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct err err = ERR_INIT;
	unsigned char digest[32];
	struct store_lock lock;
	int64_t t;

	must(store_rich_open("rich", &rich, &err), &err);
	CLEAN(store_free_ptr) struct store *s = new_stack(rich,
	        RULES("digest * fail UNREACHABLE times 1", "lock * fail BUSY times 1", "later * failafter UNREACHABLE times 1",
	                "clock * fail UNREACHABLE times 1", "older * cut 3 times 4", "attack * fail UNREACHABLE times 1"),
	        &o, NULL);

	put_text(s, "a/1", "0123456789");
	must(store_digest(s, "a/1", digest, &err), &err);
	must(store_lock(s, "a/1", &lock, &err), &err);
	must(store_extend(s, "a/1", lock.until_ns + 1, &err), &err);
	must(store_clock(s, &t, &err), &err);
	ck_assert_int_eq(c.told, 4);
	ck_assert_int_eq(store_attack(s, STORE_OVERWRITE, "a/1", &err), -ERR_UNREACHABLE); /* the probe wants to see it */
	must(store_attack(s, STORE_OVERWRITE, "a/1", &err), &err);
	must(store_get_older(s, "a/1", 1, &(struct store_sink){store_buf_write, &b}, &err), &err);
	ck_assert_str_eq(buf_str(&b), "0123456789");
}
END_TEST

START_TEST(what_will_not_pass_is_asked_once)
{
	static const char *const codes[] = {"DENIED", "NOSPACE", "CORRUPT", "MISSING", "UNSUPPORTED", "CANCELLED", "IO"};
	struct clock c = {.now = 1};
	struct requests q = {0};
	struct err err = ERR_INIT;
	char rule[64];

	(void)snprintf(rule, sizeof rule, "put * fail %s", codes[_i]);
	CLEAN(store_free_ptr) struct store *s = new_retry(RULES(rule), &c, &q);

	ck_assert_int_lt(store_put_bytes(s, "a/1", "x", 1, &err), 0);
	ck_assert_str_eq(err_name(err.code), codes[_i]);
	ck_assert_int_eq(q.n, 1);
	ck_assert_uint_eq(c.n, 0);
}
END_TEST

/* --- waits, deadline, budget --- */

START_TEST(waits_double_to_a_cap_and_are_a_random_part_of_that)
{
	struct clock c = {.now = 1};
	CLEAN(store_free_ptr) struct store *s = new_retry(RULES("put * fail UNREACHABLE times 15"), &c, NULL);
	int64_t most = 1000, other = 0;

	put_text(s, "a/1", "x");
	for (size_t i = 0; i < c.n; i++) {
		ck_assert_int_le(c.wait[i], most);
		most = MIN(2 * most, MINUTE);
		other += c.wait[i] != c.wait[0];
	}
	ck_assert_int_gt(other, 0);
	ck_assert_uint_ge(c.n, 13); /* of 15: a wait of nothing is not noted */
}
END_TEST

START_TEST(a_site_that_stays_away_is_given_up_at_the_deadline)
{
	struct clock c = {.now = 7};
	struct requests q = {0};
	CLEAN(store_free_ptr) struct store *s = new_retry(RULES("any * fail UNREACHABLE"), &c, &q);
	struct err err = ERR_INIT;
	char want[64];

	ck_assert_int_eq(store_put_bytes(s, "a/1", "x", 1, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(c.now, 7 + 15 * MINUTE);
	(void)snprintf(want, sizeof want, "site under: tried %d times in 15 min: planted fault", q.n);
	ck_assert_msg(str_starts(err.msg, want), "%s", err.msg);
	ck_assert_str_ne(err.hint, "");
	ck_assert(err.retryable);
	ck_assert_uint_eq(s->trouble->retrying, 0);
	ck_assert_int_eq(c.told_end, 1);
	ck_assert_int_eq(c.told_well, 0);
}
END_TEST

/* A store whose puts are refused with a time after which to come back. */
struct asking {
	struct filter f;
	int64_t after_ms;
	int times;
};

static int asking_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	struct asking *a = (struct asking *)s;
	struct store *below = filter_below(s);

	if (a->times-- <= 0)
		return below->ops->put(below, key, src, err);
	(void)err_set(err, ERR_UNREACHABLE, "slow down");
	err->retry_after_ms = a->after_ms;
	return err_rc(err);
}

static struct store *new_asking(int64_t after_ms, int times)
{
	static const struct store_ops changes = {.scheme = "asking", .put = asking_put};
	struct asking *a = xcalloc(1, sizeof *a);

	filter_init(&a->f, &changes, new_mem("under"));
	a->after_ms = after_ms;
	a->times = times;
	return &a->f.base;
}

START_TEST(a_site_that_says_when_to_come_back_is_listened_to_up_to_the_deadline)
{
	static const int64_t asked[] = {5 * MINUTE, INT64_MAX, 0, -1, INT64_MIN};
	struct clock c = {.now = 1};
	const struct store_retry o = by(&c);
	CLEAN(store_free_ptr) struct store *s = store_retry_new(new_asking(asked[_i], 1), &o);

	put_text(s, "a/1", "x");
	ck_assert_uint_le(c.n, 1);
	if (asked[_i] > 0)
		ck_assert_int_eq(c.wait[0], MIN(asked[_i], 15 * MINUTE));
	else if (c.n)
		ck_assert_int_le(c.wait[0], 1000);
}
END_TEST

START_TEST(a_storm_of_failures_does_not_triple_the_load)
{
	struct clock c = {.now = 1};
	struct requests q = {0};
	CLEAN(store_free_ptr) struct store *s = new_retry(RULES("stat * fail UNREACHABLE"), &c, &q);
	struct store_stat st;
	struct err err = ERR_INIT;
	const int ops = 100;

	for (int i = 0; i < ops; i++)
		ck_assert_int_eq(store_stat(s, "a/1", &st, &err), -ERR_UNREACHABLE);
	/* the reserve, one retry a minute, and the first tries */
	ck_assert_int_le(q.n, ops + 20 + (int)(c.now / MINUTE) + 1);
	ck_assert_int_eq(c.now, 1 + ops * 15 * MINUTE);
}
END_TEST

/* A store of which every third try of a stat fails. */
static int third_stat(struct store *s, const char *key, struct store_stat *ret, struct err *err)
{
	struct asking *a = (struct asking *)s;
	struct store *below = filter_below(s);

	if (a->times++ % 3 == 0)
		return err_set(err, ERR_UNREACHABLE, "flaky");
	return below->ops->stat(below, key, ret, err);
}

START_TEST(a_site_that_fails_now_and_then_is_retried_for_ever)
{
	static const struct store_ops changes = {.scheme = "flaky", .stat = third_stat};
	struct clock c = {.now = 1};
	struct store_retry o = by(&c);
	struct asking *a = xcalloc(1, sizeof *a);
	struct err err = ERR_INIT;
	struct store_stat st;

	o.wait = NULL; /* only the sum of waits matters, and there are many */
	o.base_ms = o.cap_ms = 1;
	o.now_ms = NULL;
	filter_init(&a->f, &changes, new_mem("under"));
	CLEAN(store_free_ptr) struct store *s = store_retry_new(&a->f.base, &o);

	put_text(s, "a/1", "x");
	for (int i = 0; i < 300; i++)
		must(store_stat(s, "a/1", &st, &err), &err);
	ck_assert_int_le(a->times, 3 * 300);
	ck_assert_int_ge(a->times, 300 * 3 / 2);
}
END_TEST

START_TEST(a_link_that_flaps_is_survived)
{
	struct clock c = {.now = 1};
	CLEAN(store_free_ptr) struct store *s = new_retry(
	        RULES("any * fail UNREACHABLE after 2 times 3", "any * failafter UNREACHABLE after 9 times 1",
	                "any * fail UNREACHABLE after 14 times 4", "any * fail BUSY after 22 times 2",
	                "get * cut 3 after 5 times 2", "any * failafter UNREACHABLE after 30 times 1"),
	        &c, NULL);
	char key[16];

	for (int i = 0; i < 20; i++) {
		(void)snprintf(key, sizeof key, "p/%02d", i);
		put_text(s, key, key);
		expect_text(s, key, key);
	}
	ck_assert_int_ge(c.told, 10);
}
END_TEST

/* --- cancelled, given up --- */

/* A real wait of an hour, which ends because the flag is set when it is told of. */
static struct store *new_hourly(struct clock *c, struct requests *q)
{
	const struct store_retry hourly = {.base_ms = 60 * MINUTE, .cap_ms = 60 * MINUTE, .total_ms = 600 * MINUTE, .state = on_state, .arg = c, .cancel = &c->cancel};

	return new_stack(new_mem("under"), RULES("any * fail UNREACHABLE"), &hourly, q);
}

START_TEST(a_cancelled_wait_ends_at_once)
{
	struct clock c = {.stop_when_told = &c.cancel};
	struct requests q = {0};
	CLEAN(store_free_ptr) struct store *s = new_hourly(&c, &q);
	struct err err = ERR_INIT;

	ck_assert_int_eq(store_put_bytes(s, "a/1", "x", 1, &err), -ERR_CANCELLED);
	ck_assert_ptr_nonnull(strstr(err.msg, "planted fault"));
	ck_assert_int_eq(q.n, 1);
	ck_assert_uint_eq(s->trouble->retrying, 0);
}
END_TEST

START_TEST(a_site_given_up_is_tried_once_an_operation)
{
	struct clock c = {0};
	struct requests q = {0};
	CLEAN(store_free_ptr) struct store *s = new_hourly(&c, &q);
	struct err err = ERR_INIT;

	c.stop_when_told = &s->trouble->give_up;
	for (int i = 1; i < 5; i++) {
		ck_assert_int_eq(store_put_bytes(s, "a/1", "x", 1, &err), -ERR_UNREACHABLE);
		ck_assert_msg(str_starts(err.msg, "site under: planted fault"), "%s", err.msg);
		ck_assert_int_eq(q.n, i);
	}
	ck_assert_int_eq(c.told, 1);
}
END_TEST

/* --- gets and lists go on where they stopped --- */

#define CUTS 60
#define CUT_SIZE ((size_t)300000)

/* 0, 1, 2 … and then ever farther apart: the last lie behind the end. */
static size_t cut_point(int i)
{
	size_t n = (size_t)MIN(i, 20);

	for (int k = 20; k < i; k++)
		n += n / 3;
	return n;
}

START_TEST(a_get_goes_on_where_its_bytes_stopped)
{
	struct clock c = {.now = 1};
	struct requests q = {0};
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(CUT_SIZE, 1);
	CLEAN(buf_release) struct buf b = BUF_INIT(CUT_SIZE);
	struct err err = ERR_INIT;
	size_t at = cut_point(_i), off = _i % 3 ? 1000 * (size_t)_i : 0, n = _i % 3 == 2 ? CUT_SIZE / 3 : CUT_SIZE - off;
	char rule[64];

	(void)snprintf(rule, sizeof rule, "get p/ cut %zu times 1", at);
	CLEAN(store_free_ptr) struct store *s = new_retry(RULES(rule), &c, &q);

	must(store_put_bytes(s, "p/x", p, CUT_SIZE, &err), &err);
	must(store_get_range(s, "p/x", off, n, &b, &err), &err);
	ck_assert_uint_eq(b.len, n);
	ck_assert(memcmp(b.p, p + off, n) == 0);
	ck_assert_uint_eq(q.bytes, n); /* nothing came twice */
	ck_assert_int_eq(q.gets, at >= n ? 1 : 2);
}
END_TEST

START_TEST(a_get_may_be_cut_many_times)
{
	struct clock c = {.now = 1};
	struct requests q = {0};
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(CUT_SIZE, 1);
	CLEAN(buf_release) struct buf b = BUF_INIT(CUT_SIZE);
	CLEAN(store_free_ptr) struct store *s = new_retry(RULES("get p/ cut 20001 times 14"), &c, &q);
	struct err err = ERR_INIT;

	must(store_put_bytes(s, "p/x", p, CUT_SIZE, &err), &err);
	must(store_get(s, "p/x", &b, &err), &err);
	ck_assert_uint_eq(b.len, CUT_SIZE);
	ck_assert(memcmp(b.p, p, CUT_SIZE) == 0);
	ck_assert_uint_eq(q.bytes, CUT_SIZE);
}
END_TEST

START_TEST(a_get_that_moves_on_is_not_held_to_the_deadline)
{
	struct clock c = {.now = 1};
	const char *const rules[] = {"get p/ cut 100000 times 60", NULL};
	const size_t size = 6400000;
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(size, 1);
	CLEAN(buf_release) struct buf b = BUF_INIT(size);
	struct store_retry o = by(&c);
	struct err err = ERR_INIT;

	o.base_ms = o.cap_ms = 20 * MINUTE; /* one long wait a try, mostly */
	o.total_ms = 21 * MINUTE;
	o.reserve = 100;
	CLEAN(store_free_ptr) struct store *s = new_stack(new_mem("under"), rules, &o, NULL);

	must(store_put_bytes(s, "p/x", p, size, &err), &err);
	must(store_get(s, "p/x", &b, &err), &err);
	ck_assert(b.len == size && memcmp(b.p, p, size) == 0);
	ck_assert_int_gt(c.now, 22 * MINUTE);
}
END_TEST

static int stop_busy(void *arg, const void *p, size_t n, struct err *err)
{
	(void)p;
	(void)n;
	++*(int *)arg;
	return err_set(err, ERR_BUSY, "the disk here is busy");
}

static int stop_busy_key(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	(void)key;
	(void)st;
	return stop_busy(arg, NULL, 0, err);
}

START_TEST(what_a_sink_or_callback_says_is_not_tried_again)
{
	struct clock c = {.now = 1};
	struct requests q = {0};
	CLEAN(store_free_ptr) struct store *s = new_retry(RULES("get * fail UNREACHABLE times 1"), &c, &q);
	struct err err = ERR_INIT;
	int calls = 0;

	put_text(s, "a/1", "x");
	ck_assert_int_eq(store_get_sink(s, "a/1", (struct store_range){0, 0}, &(struct store_sink){stop_busy, &calls}, &err), -ERR_BUSY);
	ck_assert_str_eq(err.msg, "the disk here is busy");
	ck_assert_int_eq(store_list(s, "", NULL, stop_busy_key, &calls, &err), -ERR_BUSY);
	ck_assert_int_eq(calls, 2);
	ck_assert_int_eq(q.gets, 2);
	ck_assert_int_eq(q.lists, 1);
}
END_TEST

START_TEST(a_list_goes_on_behind_its_last_key)
{
	struct clock c = {.now = 1};
	struct requests q = {0};
	char rule[64];

	(void)snprintf(rule, sizeof rule, "list * cut %d times 4", _i);
	CLEAN(store_free_ptr) struct store *s = new_retry(RULES(rule), &c, &q);

	put_text(s, "a/1", "x");
	put_text(s, "a/2", "x");
	put_text(s, "b", "x");
	put_text(s, "c/1", "x");
	expect_list(s, "", NULL, "a/1 a/2 b c/1 ");
	expect_list(s, "a/", "a/1", "a/2 ");
	ck_assert_uint_eq(q.bytes, 5);
}
END_TEST

/* --- puts whose outcome nobody told --- */

START_TEST(a_put_whose_answer_is_lost_has_succeeded)
{
	struct clock c = {.now = 1};
	struct requests q = {0};
	CLEAN(store_free_ptr) struct store *s = new_retry(RULES("put * failafter UNREACHABLE times 1"), &c, &q);
	const struct store_piece piece[] = {{"", 0}, {"one", 3}, {"", 0}, {"two", 3}};
	struct err err = ERR_INIT;

	must(store_put(s, "w/a/fate", &(struct store_src){piece, _i ? 4 : 1}, &err), &err);
	expect_text(s, "w/a/fate", _i ? "onetwo" : "");
	ck_assert_int_eq(q.puts, 2);
	ck_assert_int_eq(q.gets, 2);
}
END_TEST

START_TEST(a_put_that_failed_is_put_again)
{
	struct clock c = {.now = 1};
	struct requests q = {0};
	CLEAN(store_free_ptr) struct store *s = new_retry(RULES("put * fail UNREACHABLE times 3"), &c, &q);

	put_text(s, "w/a/fate", "commit");
	expect_text(s, "w/a/fate", "commit");
	ck_assert_int_eq(q.puts, 4);
	ck_assert_int_eq(q.gets, 1);
}
END_TEST

START_TEST(a_key_that_others_took_meanwhile_is_taken)
{
	static const char *const theirs[] = {"dead", "commi", "commit!", ""};
	struct clock c = {.now = 1};
	CLEAN(store_free_ptr) struct store *s = new_retry(RULES("put w/ fail UNREACHABLE times 1"), &c, NULL);
	CLEAN(store_free_ptr) struct store *under = new_mem("under");
	struct err err = ERR_INIT;

	put_text(under, "w/a/fate", theirs[_i]);
	ck_assert_int_eq(store_put_bytes(s, "w/a/fate", "commit", 6, &err), -ERR_EXISTS);
	expect_text(s, "w/a/fate", theirs[_i]);
}
END_TEST

START_TEST(a_key_that_is_taken_at_the_first_try_is_taken)
{
	struct clock c = {.now = 1};
	struct requests q = {0};
	CLEAN(store_free_ptr) struct store *s = new_retry((const char *const[]){NULL}, &c, &q);
	struct err err = ERR_INIT;

	put_text(s, "w/a/fate", "commit");
	ck_assert_int_eq(store_put_bytes(s, "w/a/fate", "commit", 6, &err), -ERR_EXISTS);
	ck_assert_int_eq(q.n, 2);
}
END_TEST

/* "p/HEX" of the digest of text. */
static char *digest_key(char key[80], const char *text)
{
	unsigned char digest[SHA256_LEN];

	sha256_of(text, strlen(text), digest);
	memcpy(key, "p/", 3);
	hex_encode(key + 2, digest, sizeof digest);
	return key;
}

START_TEST(where_reading_is_denied_the_size_of_what_bears_the_digest_decides)
{
	struct clock c = {.now = 1};
	struct requests q = {0};
	CLEAN(store_free_ptr) struct store *s = new_retry(
	        RULES("put p/ failafter UNREACHABLE times 1", "get p/ fail DENIED", _i ? "stat p/ fail DENIED" : "stat zz/ fail DENIED"),
	        &c, &q);
	struct err err = ERR_INIT;
	char key[80];

	must(store_put_bytes(s, digest_key(key, "sealed"), "sealed", 6, &err), &err);
	ck_assert_int_eq(q.puts, 2);
	ck_assert_int_eq(q.stats, 1);
	ck_assert_int_eq(q.lists, _i);
}
END_TEST

START_TEST(where_reading_is_denied_nothing_else_is_believed)
{
	struct clock c = {.now = 1};
	CLEAN(store_free_ptr) struct store *s = new_retry(
	        RULES("put p/ failafter UNREACHABLE times 1", "put p/ truncate 3 times 1", "put q/ failafter UNREACHABLE", "get * fail DENIED"), &c, NULL);
	struct err err = ERR_INIT;
	char key[80];

	ck_assert_int_eq(store_put_bytes(s, digest_key(key, "sealed"), "sealed", 6, &err), -ERR_EXISTS);
	ck_assert_int_eq(store_put_bytes(s, "q/any", "sealed", 6, &err), -ERR_DENIED);
}
END_TEST

START_TEST(a_put_that_is_acknowledged_and_lost_is_found_missing_and_can_be_put_again)
{
	struct clock c = {.now = 1};
	CLEAN(store_free_ptr) struct store *s = new_retry(RULES("put * drop times 1"), &c, NULL);

	put_text(s, "p/1", "x");
	expect_missing(s, "p/1");
	put_text(s, "p/1", "x");
	expect_text(s, "p/1", "x");
}
END_TEST

START_TEST(a_remove_whose_answer_is_lost_has_succeeded)
{
	struct clock c = {.now = 1};
	CLEAN(store_free_ptr) struct store *s = new_retry(RULES("remove * failafter UNREACHABLE times 1"), &c, NULL);
	struct err err = ERR_INIT;

	put_text(s, "a/1", "x");
	must(store_remove(s, "a/1", &err), &err);
	ck_assert_int_eq(store_remove(s, "a/1", &err), -ERR_MISSING);
}
END_TEST

/* --- several threads --- */

struct user {
	struct store *s;
	int id;
	pthread_t thread;
	atomic_int *wrong;
};

static void *use(void *arg)
{
	struct user *u = arg;
	char key[32];

	for (int i = 0; i < 50; i++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(64);
		struct err err = ERR_INIT;

		(void)snprintf(key, sizeof key, "p/%d/%d", u->id, i);
		if (store_put_bytes(u->s, key, key, strlen(key), &err) || store_get(u->s, key, &b, &err) ||
		        b.len != strlen(key) || memcmp(b.p, key, b.len))
			atomic_fetch_add(u->wrong, 1);
	}
	return NULL;
}

START_TEST(several_threads_share_a_shaky_site)
{
	const struct store_retry o = {.base_ms = 1, .cap_ms = 1, .reserve = 1000};
	CLEAN(store_free_ptr) struct store *s = new_stack(new_mem("under"),
	        RULES("put * failafter UNREACHABLE times 30", "get * cut 2 after 5 times 40", "any * fail BUSY after 150 times 20"), &o, NULL);
	struct user u[4];
	atomic_int wrong = 0;

	for (int i = 0; i < 4; i++) {
		u[i] = (struct user){s, i, 0, &wrong};
		ck_assert_int_eq(pthread_create(&u[i].thread, NULL, use, &u[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(u[i].thread, NULL);
	ck_assert_int_eq(wrong, 0);
	ck_assert_uint_eq(s->trouble->retrying, 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store retry");
	TCase *tc = place_case("retry");

	suite_add_tcase(s, tc);
	tcase_add_test(tc, what_may_pass_is_tried_until_it_does);
	tcase_add_test(tc, operations_that_not_every_place_has_are_tried_again_too);
	tcase_add_loop_test(tc, what_will_not_pass_is_asked_once, 0, 7);
	tcase_add_test(tc, waits_double_to_a_cap_and_are_a_random_part_of_that);
	tcase_add_test(tc, a_site_that_stays_away_is_given_up_at_the_deadline);
	tcase_add_loop_test(tc, a_site_that_says_when_to_come_back_is_listened_to_up_to_the_deadline, 0, 5);
	tcase_add_test(tc, a_storm_of_failures_does_not_triple_the_load);
	tcase_add_test(tc, a_site_that_fails_now_and_then_is_retried_for_ever);
	tcase_add_test(tc, a_link_that_flaps_is_survived);
	tcase_add_test(tc, a_cancelled_wait_ends_at_once);
	tcase_add_test(tc, a_site_given_up_is_tried_once_an_operation);
	tcase_add_loop_test(tc, a_get_goes_on_where_its_bytes_stopped, 0, CUTS);
	tcase_add_test(tc, a_get_may_be_cut_many_times);
	tcase_add_test(tc, a_get_that_moves_on_is_not_held_to_the_deadline);
	tcase_add_test(tc, what_a_sink_or_callback_says_is_not_tried_again);
	tcase_add_loop_test(tc, a_list_goes_on_behind_its_last_key, 0, 6);
	tcase_add_loop_test(tc, a_put_whose_answer_is_lost_has_succeeded, 0, 2);
	tcase_add_test(tc, a_put_that_failed_is_put_again);
	tcase_add_loop_test(tc, a_key_that_others_took_meanwhile_is_taken, 0, 4);
	tcase_add_test(tc, a_key_that_is_taken_at_the_first_try_is_taken);
	tcase_add_loop_test(tc, where_reading_is_denied_the_size_of_what_bears_the_digest_decides, 0, 2);
	tcase_add_test(tc, where_reading_is_denied_nothing_else_is_believed);
	tcase_add_test(tc, a_put_that_is_acknowledged_and_lost_is_found_missing_and_can_be_put_again);
	tcase_add_test(tc, a_remove_whose_answer_is_lost_has_succeeded);
	tcase_add_test(tc, several_threads_share_a_shaky_site);
	return s;
}

int main(void)
{
	return conformance_main(suite());
}
