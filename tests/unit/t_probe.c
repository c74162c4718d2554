#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/probe.h"
#include "suite.h"

/*
 * The probe against places that keep their word and places that lie. A liar is a store over mem:// with one lie each; in
 * all else it is a place with locks: objects locked for a day, attacks denied.
 */

#define DAY_MS (INT64_C(86400) * 1000)

enum lie {
	HONEST = 0,
	LIE_OVERWRITES = 1 << 0,  /* a second put replaces */
	LIE_ALL_WIN = 1 << 1,     /* a second put is told that it won, and changes nothing */
	LIE_LOSES_RACE = 1 << 2,  /* as LIE_ALL_WIN, for the key of the race only */
	LIE_SHORT_LOCK = 1 << 3,  /* an hour */
	LIE_NO_LOCK = 1 << 4,     /* the lock can be asked for and is not there */
	LIE_CUTS_LOCK = 1 << 5,   /* denies the shortening and does it */
	LIE_DELETES = 1 << 6,     /* denies the deletion and does it */
	LIE_CLOCK = 1 << 7,       /* an hour ahead */
	LIE_BARE = 1 << 8,        /* no locks, no attack that can be tried, no clock */
	LIE_SHOWS_VERSION = 1 << 9, /* a delete is granted, the version stays */
	LIE_TAKES_DIGEST = 1 << 10,
	LIE_SLOW = 1 << 11,       /* no lie: a put arrives late, and the time of the place is told late */
};

struct liar {
	struct store base;
	struct store *below;
	unsigned lies;
	pthread_mutex_t *mutex;
};

static struct liar *liar(struct store *s)
{
	return (struct liar *)s;
}

static void time_passes(const struct liar *l)
{
	const int64_t ns = INT64_C(2000000000);

	if (l->lies & LIE_SLOW)
		clock_fake(clock_wall_ns() + ns, clock_boot_ns() + ns);
}

static int liar_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	struct liar *l = liar(s);

	pthread_mutex_lock(l->mutex);
	time_passes(l);
	int rc = store_put(l->below, key, src, err);
	if (rc == -ERR_EXISTS && l->lies & LIE_OVERWRITES) {
		ck_assert_int_eq(store_remove(l->below, key, NULL), 0);
		rc = store_put(l->below, key, src, err);
	}
	if (rc == -ERR_EXISTS && (l->lies & LIE_ALL_WIN || (l->lies & LIE_LOSES_RACE && strstr(key, "/race"))))
		rc = 0;
	pthread_mutex_unlock(l->mutex);
	return rc;
}

static int liar_get(struct store *s, const char *key, struct store_range r, struct store_sink *sink, struct err *err)
{
	return store_get_sink(liar(s)->below, key, r, sink, err);
}

static int liar_stat(struct store *s, const char *key, struct store_stat *ret, struct err *err)
{
	return store_stat(liar(s)->below, key, ret, err);
}

static int liar_list(struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err)
{
	return store_list(liar(s)->below, prefix, after, fn, arg, err);
}

static int liar_sync(struct store *s, struct err *err)
{
	return store_sync(liar(s)->below, err);
}

static void liar_free(struct store *s)
{
	store_free(liar(s)->below);
	free(s->name);
	free(s);
}

static int liar_lock(struct store *s, const char *key, struct store_lock *ret, struct err *err)
{
	struct liar *l = liar(s);
	struct store_stat st;
	int rc = store_stat(l->below, key, &st, err);

	if (rc)
		return rc;
	struct store_stat mark;
	bool cut = !store_stat(l->below, "cut", &mark, NULL);
	int64_t ms = l->lies & LIE_SHORT_LOCK || cut ? 3600 * 1000 : DAY_MS;
	int64_t skew = l->lies & LIE_CLOCK ? 3600 * INT64_C(1000000000) : 0;

	*ret = (struct store_lock){l->lies & LIE_NO_LOCK ? STORE_UNLOCKED : STORE_LOCK_COMPLIANCE, st.mtime_ns + skew + ms * 1000000};
	return 0;
}

static int liar_clock(struct store *s, int64_t *ret_ns, struct err *err)
{
	(void)err;
	*ret_ns = clock_wall_ns() + (liar(s)->lies & LIE_CLOCK ? 3600 * INT64_C(1000000000) : 0);
	time_passes(liar(s));
	return 0;
}

static int liar_attack(struct store *s, enum store_attack what, const char *key, struct err *err)
{
	struct liar *l = liar(s);

	if (what == STORE_DELETE && l->lies & (LIE_DELETES | LIE_SHOWS_VERSION)) {
		ck_assert_int_eq(store_remove(l->below, key, NULL), 0);
		if (l->lies & LIE_SHOWS_VERSION)
			return 0;
	}
	if (what == STORE_SHORTEN_LOCK && l->lies & LIE_CUTS_LOCK)
		ck_assert_int_eq(store_put_same(l->below, "cut", "", 0, NULL), 0);
	if (what == STORE_BAD_DIGEST && l->lies & LIE_TAKES_DIGEST)
		return store_put_bytes(l->below, key, "x", 1, err);
	return err_set(err, ERR_DENIED, "no");
}

static const struct store_ops liar_ops = {
        .scheme = "liar", .put = liar_put, .get = liar_get, .stat = liar_stat, .list = liar_list, .sync = liar_sync, .free = liar_free,
        .lock = liar_lock, .clock = liar_clock, .attack = liar_attack,
};
static const struct store_ops bare_ops = {
        .scheme = "bare", .put = liar_put, .get = liar_get, .stat = liar_stat, .list = liar_list, .sync = liar_sync, .free = liar_free,
};

struct place {
	const char *name;
	unsigned lies;
	const char *const *faults;
};

/* Several handles of one place share a mutex, as the place itself would. */
static int open_place(void *arg, struct store **ret, struct err *err)
{
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	const struct place *p = arg;
	struct liar *l = xcalloc(1, sizeof *l);
	int rc = store_mem_open(p->name, &l->below, err);

	ck_assert_int_eq(rc, 0);
	l->base = (struct store){.ops = p->lies & LIE_BARE ? &bare_ops : &liar_ops, .caps = l->below->caps & ~(uint32_t)STORE_REMOVE, .name = xstrdup(p->name)};
	l->lies = p->lies;
	l->mutex = &mutex;
	*ret = &l->base;
	if (p->faults)
		ck_assert_int_eq(store_fault_new(&l->base, p->faults, ret, err), 0);
	return 0;
}

static struct probe_result probe(const struct place *place, int64_t promised_ms)
{
	struct probe_opts o = {.open = open_place, .arg = (void *)place, .promised_ms = promised_ms};
	CLEAN(store_free_ptr) struct store *s = NULL;
	struct probe_result r;
	struct err err = ERR_INIT;

	ck_assert_int_eq(open_place((void *)place, &s, &err), 0);
	int rc = store_probe(s, &o, &r, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
	return r;
}

static struct probe_result probe_lie(unsigned lies)
{
	char name[64];

	snprintf(name, sizeof name, "lie-%x", lies);
	return probe(&(struct place){name, lies, NULL}, DAY_MS);
}

static void answers(const struct probe_result *r, enum probe_point p, enum probe_answer want)
{
	ck_assert_msg(r->point[p].answer == want, "%s is %s: %s", probe_point_name(p), probe_answer_name(r->point[p].answer),
	        r->point[p].detail);
}

START_TEST(a_place_that_keeps_its_word_is_locked_and_every_point_is_yes)
{
	struct probe_result r = probe_lie(HONEST);

	for (enum probe_point p = 0; p < PROBE_POINTS; p++)
		answers(&r, p, p == PROBE_DISTANCE ? PROBE_UNKNOWN : PROBE_YES);
	ck_assert_int_eq(r.class_, PROBE_LOCKED);
	ck_assert(r.compliance);
	/* overwriting and deleting are denied as well, so that an object needs no lock to be safe from us */
	ck_assert(r.immutable_ms == INT64_MAX);
}
END_TEST

START_TEST(a_plain_memory_store_is_mutable_for_who_may_remove)
{
	struct store *s;
	struct probe_result r;
	struct err err = ERR_INIT;

	ck_assert_int_eq(store_mem_open("probe-plain", &s, &err), 0);
	ck_assert_int_eq(store_probe(s, &(struct probe_opts){.promised_ms = DAY_MS}, &r, &err), 0);
	answers(&r, PROBE_CREATE_ONLY, PROBE_YES);
	answers(&r, PROBE_ONE_WINNER, PROBE_YES);
	answers(&r, PROBE_LIST_AFTER_WRITE, PROBE_YES);
	answers(&r, PROBE_NO_DELETE, PROBE_NO);
	answers(&r, PROBE_LOCK, PROBE_NO);
	answers(&r, PROBE_CLOCK, PROBE_UNKNOWN);
	ck_assert_int_eq(r.class_, PROBE_MUTABLE);
	ck_assert_int_eq(r.immutable_ms, 0);
	ck_assert_int_eq(r.lock_ms, -1);
	store_free(s);
}
END_TEST

static int open_file(void *arg, struct store **ret, struct err *err)
{
	return store_file_open(arg, &(struct store_config){.create = true}, ret, err);
}

START_TEST(a_directory_is_mutable_and_its_races_have_one_winner)
{
	char dir[] = "/tmp/holdfast-probe.XXXXXX";
	CLEAN(store_free_ptr) struct store *s = NULL;
	struct probe_result r;
	struct err err = ERR_INIT;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(open_file(dir, &s, &err), 0);
	ck_assert_int_eq(store_probe(s, &(struct probe_opts){.open = open_file, .arg = dir}, &r, &err), 0);
	answers(&r, PROBE_ONE_WINNER, PROBE_YES);
	answers(&r, PROBE_READ_AFTER_WRITE, PROBE_YES);
	answers(&r, PROBE_DURABLE, PROBE_YES);
	ck_assert_int_eq(r.class_, PROBE_MUTABLE);
	ck_assert_int_ge(r.round_trip_us, 0);
	struct store_keys k;
	ck_assert_int_eq(store_list_all(s, r.prefix, &k, &err), 0);
	ck_assert_uint_gt(k.n, 5); /* what it put stays */
	store_keys_release(&k);
	ck_assert_int_eq(fs_remove_tree(dir, &err), 0);
}
END_TEST

START_TEST(a_place_that_overwrites_is_timed)
{
	struct probe_result r = probe_lie(LIE_OVERWRITES);

	answers(&r, PROBE_CREATE_ONLY, PROBE_NO);
	answers(&r, PROBE_ONE_WINNER, PROBE_NO);
	ck_assert_int_eq(r.class_, PROBE_TIMED);
}
END_TEST

START_TEST(a_place_where_every_writer_wins_is_timed)
{
	struct probe_result r = probe_lie(LIE_LOSES_RACE);

	answers(&r, PROBE_CREATE_ONLY, PROBE_YES);
	answers(&r, PROBE_ONE_WINNER, PROBE_NO);
	ck_assert_ptr_nonnull(strstr(r.point[PROBE_ONE_WINNER].detail, "16 of 16 writers"));
	ck_assert_int_eq(r.class_, PROBE_TIMED);
	r = probe_lie(LIE_ALL_WIN);
	answers(&r, PROBE_CREATE_ONLY, PROBE_NO);
}
END_TEST

START_TEST(a_put_that_is_acknowledged_and_dropped_is_found)
{
	static const char *const rules[] = {"put probe/ drop", NULL};
	struct probe_result r = probe(&(struct place){"drops", HONEST, rules}, 0);

	answers(&r, PROBE_READ_AFTER_WRITE, PROBE_NO);
	ck_assert_int_eq(r.class_, PROBE_TIMED);
}
END_TEST

START_TEST(bytes_that_change_on_the_way_are_found)
{
	static const char *const rules[] = {"get probe/ flip", NULL};
	struct probe_result r = probe(&(struct place){"flips", HONEST, rules}, 0);

	answers(&r, PROBE_READ_AFTER_WRITE, PROBE_NO);
	answers(&r, PROBE_ONE_WINNER, PROBE_NO);
}
END_TEST

START_TEST(a_list_that_lags_makes_a_place_timed)
{
	static const char *const stale[] = {"list probe/ stale", NULL}, *const drop[] = {"list probe/ drop", NULL};
	struct probe_result r = probe(&(struct place){"stale", HONEST, stale}, 0);

	answers(&r, PROBE_LIST_AFTER_WRITE, PROBE_NO);
	ck_assert_int_eq(r.class_, PROBE_TIMED);
	r = probe(&(struct place){"leaves-out", HONEST, drop}, 0);
	answers(&r, PROBE_LIST_AFTER_WRITE, PROBE_NO);
	ck_assert_int_eq(r.class_, PROBE_TIMED);
}
END_TEST

START_TEST(a_lock_shorter_than_promised_is_found_and_measured)
{
	struct probe_result r = probe_lie(LIE_SHORT_LOCK | LIE_SHOWS_VERSION);

	answers(&r, PROBE_LOCK, PROBE_NO);
	answers(&r, PROBE_NO_DELETE, PROBE_NO);
	ck_assert_int_eq(r.class_, PROBE_LOCKED); /* for an hour */
	ck_assert_int_le(r.immutable_ms, 3600 * 1000);
	ck_assert_int_gt(r.immutable_ms, 3000 * 1000);
}
END_TEST

START_TEST(a_lock_as_long_as_promised_counts_as_that)
{
	struct probe_result r = probe_lie(LIE_SHOWS_VERSION);

	answers(&r, PROBE_LOCK, PROBE_YES);
	ck_assert_int_eq(r.class_, PROBE_LOCKED);
	ck_assert_int_eq(r.immutable_ms, DAY_MS); /* although some of it is gone when it is read */
}
END_TEST

START_TEST(a_slow_place_does_not_lengthen_locks)
{
	struct probe_result r = probe_lie(LIE_SLOW | LIE_SHOWS_VERSION);

	answers(&r, PROBE_LOCK, PROBE_YES);
	ck_assert_int_le(r.lock_ms, DAY_MS);
	ck_assert_int_eq(r.immutable_ms, DAY_MS);
	clock_fake(-1, 0);
}
END_TEST

START_TEST(a_lock_that_is_not_there_is_no_lock)
{
	struct probe_result r = probe_lie(LIE_NO_LOCK | LIE_SHOWS_VERSION);

	answers(&r, PROBE_LOCK, PROBE_NO);
	ck_assert_int_eq(r.lock_ms, 0);
	ck_assert_int_eq(r.immutable_ms, 0);
	ck_assert_int_eq(r.class_, PROBE_MUTABLE);
}
END_TEST

START_TEST(a_lock_that_can_be_shortened_is_none_whatever_the_answer_was)
{
	struct probe_result r = probe_lie(LIE_CUTS_LOCK | LIE_SHOWS_VERSION);

	answers(&r, PROBE_NO_SHORTEN, PROBE_NO);
	ck_assert_int_eq(r.class_, PROBE_MUTABLE);
	ck_assert_int_eq(r.immutable_ms, 0);
}
END_TEST

START_TEST(a_deletion_that_was_denied_and_done_is_found)
{
	struct probe_result r = probe_lie(LIE_DELETES);

	answers(&r, PROBE_NO_DELETE, PROBE_NO);
	ck_assert_int_ne(r.immutable_ms, INT64_MAX);
}
END_TEST

START_TEST(a_clock_that_is_an_hour_off_is_found_and_does_not_lengthen_locks)
{
	struct probe_result r = probe_lie(LIE_CLOCK | LIE_SHOWS_VERSION);

	answers(&r, PROBE_CLOCK, PROBE_NO);
	ck_assert_int_ge(r.skew_ms, 3599 * 1000);
	ck_assert_int_le(r.skew_ms, 3601 * 1000);
	ck_assert_int_le(r.lock_ms, DAY_MS + 60 * 1000); /* far from the hour by which the clock is off */
	ck_assert_int_eq(r.class_, PROBE_LOCKED);
}
END_TEST

START_TEST(a_place_that_cannot_be_tried_is_unknown_and_not_believed)
{
	struct probe_result r = probe_lie(LIE_BARE);

	answers(&r, PROBE_NO_OVERWRITE, PROBE_UNKNOWN);
	answers(&r, PROBE_NO_DELETE, PROBE_UNKNOWN);
	answers(&r, PROBE_LOCK, PROBE_NO);
	ck_assert_int_eq(r.class_, PROBE_MUTABLE);
	ck_assert_int_eq(r.immutable_ms, 0);
}
END_TEST

START_TEST(a_digest_that_nobody_compares_is_found)
{
	struct probe_result r = probe_lie(LIE_TAKES_DIGEST);

	answers(&r, PROBE_DIGEST_CHECKED, PROBE_NO);
}
END_TEST

START_TEST(a_place_that_answers_faster_than_light_is_not_there)
{
	CLEAN(store_free_ptr) struct store *s = NULL;
	struct probe_result r;
	struct err err = ERR_INIT;

	ck_assert_int_eq(store_mem_open("near", &s, &err), 0);
	ck_assert_int_eq(store_probe(s, &(struct probe_opts){.distance_km = 15000}, &r, &err), 0);
	answers(&r, PROBE_DISTANCE, PROBE_NO);
	ck_assert_ptr_nonnull(strstr(r.point[PROBE_DISTANCE].detail, "15000 km"));
}
END_TEST

START_TEST(a_place_that_goes_away_is_not_judged)
{
	static const char *const rules[] = {"stat probe/ fail UNREACHABLE", NULL}, *const never[] = {"put probe/ fail DENIED", NULL};
	struct place gone = {"gone", HONEST, rules}, closed = {"closed", HONEST, never};
	CLEAN(store_free_ptr) struct store *s = NULL;
	CLEAN(store_free_ptr) struct store *t = NULL;
	struct probe_result r;
	struct err err = ERR_INIT;

	ck_assert_int_eq(open_place(&gone, &s, &err), 0);
	ck_assert_int_eq(store_probe(s, &(struct probe_opts){.open = open_place, .arg = &gone}, &r, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(open_place(&closed, &t, &err), 0);
	ck_assert_int_eq(store_probe(t, &(struct probe_opts){.open = open_place, .arg = &closed}, &r, &err), -ERR_DENIED);
}
END_TEST

START_TEST(the_json_says_every_point_and_null_for_what_was_not_measured)
{
	struct probe_result r = probe_lie(LIE_BARE);
	CLEAN(json_release) json_t *j = probe_json(&r);

	ck_assert_str_eq(json_string_value(json_object_get(j, "class")), "mutable");
	ck_assert_uint_eq(json_array_size(json_object_get(j, "points")), PROBE_POINTS);
	ck_assert(json_is_null(json_object_get(j, "skew_ms")));
	ck_assert(json_is_null(json_object_get(j, "lock_ms")));
	ck_assert(json_is_integer(json_object_get(j, "immutable_ms")));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("probe");
	TCase *tc = tcase_create("probe");

	tcase_add_test(tc, a_place_that_keeps_its_word_is_locked_and_every_point_is_yes);
	tcase_add_test(tc, a_plain_memory_store_is_mutable_for_who_may_remove);
	tcase_add_test(tc, a_directory_is_mutable_and_its_races_have_one_winner);
	tcase_add_test(tc, a_place_that_overwrites_is_timed);
	tcase_add_test(tc, a_place_where_every_writer_wins_is_timed);
	tcase_add_test(tc, a_put_that_is_acknowledged_and_dropped_is_found);
	tcase_add_test(tc, bytes_that_change_on_the_way_are_found);
	tcase_add_test(tc, a_list_that_lags_makes_a_place_timed);
	tcase_add_test(tc, a_lock_shorter_than_promised_is_found_and_measured);
	tcase_add_test(tc, a_lock_as_long_as_promised_counts_as_that);
	tcase_add_test(tc, a_slow_place_does_not_lengthen_locks);
	tcase_add_test(tc, a_lock_that_is_not_there_is_no_lock);
	tcase_add_test(tc, a_lock_that_can_be_shortened_is_none_whatever_the_answer_was);
	tcase_add_test(tc, a_deletion_that_was_denied_and_done_is_found);
	tcase_add_test(tc, a_clock_that_is_an_hour_off_is_found_and_does_not_lengthen_locks);
	tcase_add_test(tc, a_place_that_cannot_be_tried_is_unknown_and_not_believed);
	tcase_add_test(tc, a_digest_that_nobody_compares_is_found);
	tcase_add_test(tc, a_place_that_answers_faster_than_light_is_not_there);
	tcase_add_test(tc, a_place_that_goes_away_is_not_judged);
	tcase_add_test(tc, the_json_says_every_point_and_null_for_what_was_not_measured);
	suite_add_tcase(s, tc);

	return suite_main(s);
}
