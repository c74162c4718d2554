#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/filter.h"
#include "store/store.h"
#include "store_conformance.h"

/* The throttle filter, by a clock of the tests' own: nothing sleeps here. */

#define HOUR_MS INT64_C(3600000)
#define RATE (UINT64_C(256) << 10)

struct day {
	int64_t now;
	int waits;
	atomic_bool cancel;
	int minute, calls, leave_after;
};

static int64_t day_now(void *arg)
{
	return ((struct day *)arg)->now;
}

static void day_wait(void *arg, int64_t ms)
{
	struct day *d = arg;

	ck_assert_int_gt(ms, 0);
	d->waits++;
	d->now += ms;
}

static int day_minute(void *arg)
{
	struct day *d = arg;

	return d->leave_after && ++d->calls > d->leave_after ? 12 * 60 : d->minute;
}

static struct store_throttle slow(struct day *d, int64_t from, int64_t to)
{
	return (struct store_throttle){RATE, from, to, day_minute, day_now, day_wait, d, &d->cancel};
}

static void expect_took(const struct day *d, int64_t since, int64_t ms)
{
	ck_assert_int_le(d->now - since, ms);
	ck_assert_int_ge(d->now - since, ms - 260); /* a quarter of a second is given in advance */
}

START_TEST(puts_and_gets_keep_to_the_rate)
{
	struct day d = {.now = 1000000};
	const struct store_throttle o = slow(&d, -1, -1);
	CLEAN(store_free_ptr) struct store *s = store_throttle_new(new_mem("under"), &o);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(2 << 20, 1);
	CLEAN(buf_release) struct buf b = BUF_INIT(2 << 20);
	struct err err = ERR_INIT;
	int64_t start = d.now;

	must(store_put_bytes(s, "p/1", p, 1 << 20, &err), &err);
	must(store_put_bytes(s, "p/2", p, 1 << 20, &err), &err);
	expect_took(&d, start, 8000);
	start = d.now;
	must(store_get(s, "p/1", &b, &err), &err);
	expect_took(&d, start, 4000);
	ck_assert(memcmp(b.p, p, 1 << 20) == 0);
	ck_assert_int_ge(d.waits, 11);
}
END_TEST

START_TEST(a_pause_is_not_saved_up)
{
	struct day d = {.now = 1000000};
	const struct store_throttle o = slow(&d, -1, -1);
	CLEAN(store_free_ptr) struct store *s = store_throttle_new(new_mem("under"), &o);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(1 << 20, 1);
	struct err err = ERR_INIT;

	must(store_put_bytes(s, "p/1", p, 1 << 20, &err), &err);
	d.now += HOUR_MS;
	int64_t start = d.now;

	must(store_put_bytes(s, "p/2", p, 1 << 20, &err), &err);
	expect_took(&d, start, 4000);
}
END_TEST

START_TEST(the_limit_holds_inside_its_window_only)
{
	static const struct {
		int64_t from, to;
		int minute;
		bool holds;
	} cases[] = {{22 * 60, 6 * 60, 23 * 60, true}, {22 * 60, 6 * 60, 0, true}, {22 * 60, 6 * 60, 6 * 60 - 1, true},
	        {22 * 60, 6 * 60, 6 * 60, false}, {22 * 60, 6 * 60, 22 * 60 - 1, false}, {22 * 60, 6 * 60, 22 * 60, true},
	        {8 * 60, 18 * 60, 8 * 60, true}, {8 * 60, 18 * 60, 18 * 60, false}, {8 * 60, 18 * 60, 0, false}, {-1, -1, 0, true}};
	struct day d = {.now = 1000000, .minute = cases[_i].minute};
	const struct store_throttle o = slow(&d, cases[_i].from, cases[_i].to);
	CLEAN(store_free_ptr) struct store *s = store_throttle_new(new_mem("under"), &o);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(1 << 20, 1);
	struct err err = ERR_INIT;

	must(store_put_bytes(s, "p/1", p, 1 << 20, &err), &err);
	ck_assert_int_eq(d.waits > 0, cases[_i].holds);
}
END_TEST

START_TEST(a_window_that_ends_in_the_middle_of_an_object_ends_the_limit)
{
	struct day d = {.now = 1000000, .minute = 23 * 60, .leave_after = 5};
	const struct store_throttle o = slow(&d, 22 * 60, 6 * 60);
	CLEAN(store_free_ptr) struct store *s = store_throttle_new(new_mem("under"), &o);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(8 << 20, 1);
	struct err err = ERR_INIT;
	int64_t start = d.now;

	must(store_put_bytes(s, "p/1", p, 8 << 20, &err), &err);
	expect_took(&d, start, 5000);
}
END_TEST

/* A memory store that paces itself, in slices of its own. */
static int pacing_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	struct store *below = filter_below(s);

	for (size_t at = 0; at < src->piece[0].n; at += 1000) {
		int rc = store_pace(s, MIN(1000, src->piece[0].n - at), err);

		if (rc)
			return rc;
	}
	return below->ops->put(below, key, src, err);
}

START_TEST(a_driver_that_paces_itself_is_slowed_once)
{
	static const struct store_ops changes = {.scheme = "pacing", .put = pacing_put};
	struct day d = {.now = 1000000};
	const struct store_throttle o = slow(&d, -1, -1);
	struct filter *f = xcalloc(1, sizeof *f);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(1 << 20, 1);
	struct err err = ERR_INIT;
	int64_t start = d.now;

	filter_init(f, &changes, new_mem("under"));
	f->base.caps |= STORE_PACED;
	CLEAN(store_free_ptr) struct store *s = store_throttle_new(&f->base, &o);

	ck_assert(!(s->caps & STORE_PACED));
	must(store_put_bytes(s, "p/1", p, 1 << 20, &err), &err);
	expect_took(&d, start, 4000);
}
END_TEST

START_TEST(a_cancelled_throttle_ends_at_once)
{
	struct day d = {.now = 1000000};
	struct store_throttle o = slow(&d, -1, -1);
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(1 << 20, 1);
	struct err err = ERR_INIT;
	struct store *under = new_mem("under");

	must(store_put_bytes(under, "p/1", p, 1 << 20, &err), &err);
	o.rate = 1; /* days */
	o.wait = NULL;
	atomic_store(&d.cancel, true);
	CLEAN(store_free_ptr) struct store *s = store_throttle_new(under, &o);

	ck_assert_int_eq(store_put_bytes(s, "p/2", p, 1 << 20, &err), -ERR_CANCELLED);
	ck_assert_int_eq(store_get(s, "p/1", &b, &err), -ERR_CANCELLED);
	expect_list(s, "", NULL, "p/1 ");
}
END_TEST

START_TEST(without_a_rate_there_is_no_filter)
{
	CLEAN(store_free_ptr) struct store *s = new_mem("under");

	ck_assert_ptr_eq(store_throttle_new(s, &(struct store_throttle){0}), s);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store throttle");
	TCase *tc = place_case("throttle");

	suite_add_tcase(s, tc);
	tcase_add_test(tc, puts_and_gets_keep_to_the_rate);
	tcase_add_test(tc, a_pause_is_not_saved_up);
	tcase_add_loop_test(tc, the_limit_holds_inside_its_window_only, 0, 10);
	tcase_add_test(tc, a_window_that_ends_in_the_middle_of_an_object_ends_the_limit);
	tcase_add_test(tc, a_driver_that_paces_itself_is_slowed_once);
	tcase_add_test(tc, a_cancelled_throttle_ends_at_once);
	tcase_add_test(tc, without_a_rate_there_is_no_filter);
	return s;
}

int main(void)
{
	return conformance_main(suite());
}
