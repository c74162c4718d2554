#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "store/filter.h"
#include "store/store.h"
#include "store_conformance.h"

/* Fan-out: queues, order, parallel puts, and sites that fail, are slow or are away. */

/* The memory store "under" behind a fault. */
static struct store *new_faulty(const char *rule)
{
	const char *const rules[] = {rule, NULL};
	struct store *s;
	struct err err = ERR_INIT;

	must(store_fault_new(new_mem("under"), rules, &s, &err), &err);
	return s;
}

static void count_done(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
}

START_TEST(multi_puts_to_every_site)
{
	struct store *sites[3] = {new_mem("m0"), new_mem("m1"), new_file()};
	struct store_multi *m = store_multi_new(sites, 3, NULL);
	char keys[100][16];
	atomic_int done = 0;

	for (int i = 0; i < 100; i++) {
		struct store_piece piece[] = {{"ab", 2}, {keys[i], 0}};

		piece[1].n = (size_t)snprintf(keys[i], sizeof keys[i], "p/%03d", i);
		store_multi_put(m, keys[i], &(struct store_src){piece, 2}, count_done, &done);
	}
	store_multi_wait(m);
	ck_assert_int_eq(done, 100);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_ptr_null(store_multi_error(m, i));
		expect_text(sites[i], "p/000", "abp/000");
		expect_text(sites[i], "p/099", "abp/099");
	}
	store_multi_free(m);
	for (size_t i = 0; i < 3; i++)
		store_free(sites[i]);
}
END_TEST

START_TEST(a_site_that_fails_does_not_stop_the_others)
{
	struct store *sites[2] = {new_mem("good"), new_faulty("put p/ fail NOSPACE after 5 times 1")};
	struct store_multi *m = store_multi_new(sites, 2, NULL);
	CLEAN(store_keys_release) struct store_keys good = {0}, bad = {0};
	struct err err = ERR_INIT;
	struct store_piece piece = {"x", 1};
	char key[32];
	atomic_int done = 0;

	for (int i = 0; i < 50; i++) {
		(void)snprintf(key, sizeof key, "p/%03d", i);
		store_multi_put(m, key, &(struct store_src){&piece, 1}, count_done, &done);
	}
	store_multi_wait(m);
	ck_assert_int_eq(done, 50);
	ck_assert_ptr_null(store_multi_error(m, 0));
	ck_assert_ptr_nonnull(store_multi_error(m, 1));
	ck_assert_int_eq(store_multi_error(m, 1)->code, ERR_NOSPACE);
	ck_assert_ptr_nonnull(strstr(store_multi_error(m, 1)->msg, "p/005"));
	must(store_list_all(sites[0], "", &good, &err), &err);
	must(store_list_all(sites[1], "", &bad, &err), &err);
	ck_assert_uint_eq(good.n, 50);
	ck_assert_uint_eq(bad.n, 5);
	store_multi_free(m);
	store_free(sites[0]);
	store_free(sites[1]);
}
END_TEST

START_TEST(multi_without_a_working_site_is_done_at_once)
{
	struct store *sites[1] = {new_mem("m0")};
	struct store_multi *m = store_multi_new(sites, 1, NULL), *none = store_multi_new(NULL, 0, NULL);
	struct store_piece piece = {"x", 1};
	struct err why = ERR_INIT, later = ERR_INIT;
	atomic_int done = 0;

	(void)err_set(&why, ERR_UNREACHABLE, "behind");
	(void)err_set(&later, ERR_IO, "later");
	store_multi_fail(m, 0, &why);
	store_multi_fail(m, 0, &later);
	store_multi_put(m, "a", &(struct store_src){&piece, 1}, count_done, &done);
	ck_assert_int_eq(done, 1);
	ck_assert_str_eq(store_multi_error(m, 0)->msg, "behind");
	store_multi_put(none, "a", &(struct store_src){&piece, 1}, count_done, &done);
	store_multi_put(none, "b", &(struct store_src){&piece, 1}, NULL, NULL);
	ck_assert_int_eq(done, 2);
	store_multi_wait(m);
	store_multi_wait(none);
	store_multi_free(none);
	store_multi_free(m);
	expect_list(sites[0], "", NULL, "");
	store_free(sites[0]);
}
END_TEST

struct putter {
	struct store_multi *m;
	int id;
	atomic_int *done;
	pthread_t thread;
};

static void *put_many(void *arg)
{
	struct putter *p = arg;
	static const struct store_piece piece = {"same bytes", 10};
	char key[32];

	for (int i = 0; i < 40; i++) {
		(void)snprintf(key, sizeof key, "t%d/%d", p->id, i);
		store_multi_put(p->m, key, &(struct store_src){&piece, 1}, count_done, p->done);
	}
	return NULL;
}

START_TEST(free_waits_for_what_several_threads_queued)
{
	struct store *sites[2] = {new_mem("m0"), new_file()};
	struct store_multi *m = store_multi_new(sites, 2, NULL);
	struct putter p[4];
	struct err err = ERR_INIT;
	atomic_int done = 0;

	for (int i = 0; i < 4; i++) {
		p[i] = (struct putter){m, i, &done, 0};
		ck_assert_int_eq(pthread_create(&p[i].thread, NULL, put_many, &p[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(p[i].thread, NULL);
	store_multi_free(m);
	ck_assert_int_eq(done, 160);
	for (int i = 0; i < 2; i++) {
		CLEAN(store_keys_release) struct store_keys keys = {0};

		must(store_list_all(sites[i], "", &keys, &err), &err);
		ck_assert_uint_eq(keys.n, 160);
		store_free(sites[i]);
	}
}
END_TEST

/* --- a site whose puts the test looks into --- */

#define SEEN_MAX 64

/* A memory store that says it is distant, notes when puts begin and end, and holds those below `held` until released. */
struct gate {
	struct filter f;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	const char *held; /* prefix, NULL: none */
	int inside, most, began, refusing;
	bool dawdling; /* others have every chance to begin while a put is inside */
	char seen[SEEN_MAX * 16]; /* "+KEY " at the beginning, "-KEY " at the end */
	size_t n_seen;
	struct store_trouble trouble;
};

static void note(struct gate *g, char what, const char *key)
{
	g->n_seen += (size_t)snprintf(g->seen + g->n_seen, sizeof g->seen - g->n_seen, "%c%s ", what, key);
	ck_assert_uint_lt(g->n_seen, sizeof g->seen);
	pthread_cond_broadcast(&g->changed);
}

static void dawdle(struct gate *g)
{
	pthread_mutex_unlock(&g->mutex);
	for (int i = 0; i < 20000; i++)
		sched_yield();
	pthread_mutex_lock(&g->mutex);
}

static int gate_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	struct gate *g = (struct gate *)s;
	struct store *below = filter_below(s);

	pthread_mutex_lock(&g->mutex);
	g->began++;
	g->inside++;
	g->most = MAX(g->most, g->inside);
	note(g, '+', key);
	if (g->refusing)
		atomic_fetch_add(&g->trouble.refusals, 1);
	if (g->dawdling)
		dawdle(g);
	while (g->held && str_starts(key, g->held))
		pthread_cond_wait(&g->changed, &g->mutex);
	g->inside--;
	note(g, '-', key);
	pthread_mutex_unlock(&g->mutex);
	return below->ops->put(below, key, src, err);
}

static void gate_free(struct store *s)
{
	struct gate *g = (struct gate *)s;

	filter_release(&g->f);
	pthread_mutex_destroy(&g->mutex);
	pthread_cond_destroy(&g->changed);
	free(g);
}

static struct gate *gate_new(const char *held)
{
	static const struct store_ops changes = {.scheme = "gate", .put = gate_put, .free = gate_free};
	struct gate *g = xcalloc(1, sizeof *g);

	filter_init(&g->f, &changes, new_mem("gated"));
	g->f.base.caps |= STORE_REMOTE;
	g->f.base.trouble = &g->trouble;
	g->held = held;
	pthread_mutex_init(&g->mutex, NULL);
	pthread_cond_init(&g->changed, NULL);
	return g;
}

static void gate_hold(struct gate *g, const char *held)
{
	pthread_mutex_lock(&g->mutex);
	g->held = held;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->mutex);
}

/* Wait until n puts are inside, or began in all. */
static void gate_await(struct gate *g, const int *what, int n)
{
	pthread_mutex_lock(&g->mutex);
	while (*what < n)
		pthread_cond_wait(&g->changed, &g->mutex);
	pthread_mutex_unlock(&g->mutex);
}

static void queue_put(struct store_multi *m, const char *key, atomic_int *done)
{
	static const struct store_piece piece = {"x", 1};

	store_multi_put(m, key, &(struct store_src){&piece, 1}, done ? count_done : NULL, done);
}

/* --- parallel puts and order --- */

START_TEST(a_distant_site_takes_four_packs_at_once)
{
	struct gate *g = gate_new("p/");
	struct store *site = &g->f.base;
	struct store_multi *m = store_multi_new(&site, 1, NULL);
	char key[32];

	ck_assert_uint_eq(store_multi_width(m), 4);
	for (int i = 0; i < 7; i++)
		queue_put(m, (snprintf(key, sizeof key, "p/%d", i), key), NULL);
	gate_await(g, &g->inside, 4);
	gate_hold(g, NULL);
	store_multi_free(m);
	ck_assert_int_eq(g->most, 4);
	ck_assert_int_eq(g->began, 7);
	store_free(site);
}
END_TEST

START_TEST(a_site_that_is_near_or_not_threadsafe_takes_one_put_at_a_time)
{
	struct gate *g = gate_new(NULL);
	struct store *site = &g->f.base;
	char key[32];

	site->caps &= ~(uint32_t)(_i ? STORE_REMOTE : STORE_THREADSAFE);
	struct store_multi *m = store_multi_new(&site, 1, NULL);

	ck_assert_uint_eq(store_multi_width(m), 1);
	for (int i = 0; i < 30; i++)
		queue_put(m, (snprintf(key, sizeof key, "p/%d", i), key), NULL);
	store_multi_free(m);
	ck_assert_int_eq(g->most, 1);
	ck_assert_int_eq(g->began, 30);
	store_free(site);
}
END_TEST

START_TEST(what_is_no_pack_waits_for_all_that_was_queued_before_it)
{
	struct gate *g = gate_new("p/");
	struct store *site = &g->f.base;
	struct store_multi *m = store_multi_new(&site, 1, NULL);

	queue_put(m, "p/a1", NULL);
	queue_put(m, "p/a2", NULL);
	gate_await(g, &g->inside, 2);
	queue_put(m, "i/1", NULL);
	queue_put(m, "w/beat", NULL);
	queue_put(m, "p/b1", NULL); /* overtakes them: it stands for nothing */
	gate_await(g, &g->inside, 3);
	gate_hold(g, NULL);
	store_multi_free(m);
	const char *delta = strstr(g->seen, "+i/1"), *beat = strstr(g->seen, "+w/beat");

	ck_assert_ptr_nonnull(delta);
	ck_assert(strstr(g->seen, "-p/a1") < delta && strstr(g->seen, "-p/a2") < delta);
	ck_assert(strstr(g->seen, "+p/b1") < delta);
	ck_assert(strstr(g->seen, "-i/1") < beat);
	store_free(site);
}
END_TEST

START_TEST(a_site_that_refuses_gets_fewer_puts_at_once_and_more_again)
{
	struct gate *g = gate_new(NULL);
	struct store *site = &g->f.base;
	struct store_multi *m = store_multi_new(&site, 1, NULL);
	char key[32];

	g->refusing = 1;
	for (int i = 0; i < 2; i++) {
		queue_put(m, (snprintf(key, sizeof key, "p/r%d", i), key), NULL);
		store_multi_wait(m);
	}
	g->most = 0;
	g->dawdling = true;
	for (int i = 0; i < 8; i++)
		queue_put(m, (snprintf(key, sizeof key, "p/one%d", i), key), NULL);
	store_multi_wait(m);
	ck_assert_int_eq(g->most, 1);
	g->refusing = 0;
	g->dawdling = false;
	for (int i = 0; i < 3; i++) {
		queue_put(m, (snprintf(key, sizeof key, "p/ok%d", i), key), NULL);
		store_multi_wait(m);
	}
	gate_hold(g, "p/");
	for (int i = 0; i < 5; i++)
		queue_put(m, (snprintf(key, sizeof key, "p/four%d", i), key), NULL);
	gate_await(g, &g->inside, 4);
	gate_hold(g, NULL);
	store_multi_free(m);
	ck_assert_int_eq(g->most, 4);
	store_free(site);
}
END_TEST

START_TEST(a_put_may_go_to_one_site_alone)
{
	struct store *sites[2] = {new_mem("m0"), new_mem("m1")};
	struct store_multi *m = store_multi_new(sites, 2, NULL);
	static const struct store_piece piece = {"x", 1};
	atomic_int done = 0;

	store_multi_put_at(m, 1, "w/fate", &(struct store_src){&piece, 1}, count_done, &done);
	store_multi_wait(m);
	ck_assert_int_eq(done, 1);
	expect_list(sites[0], "", NULL, "");
	expect_list(sites[1], "", NULL, "w/fate ");
	store_multi_free(m);
	store_free(sites[0]);
	store_free(sites[1]);
}
END_TEST

/* --- patience --- */

/* A site that refuses everything, and whose retry filter would go on for hours. */
static struct store *new_away(const char *rule)
{
	return store_retry_new(new_faulty(rule), &(struct store_retry){.base_ms = 3600000, .cap_ms = 3600000, .total_ms = 36000000});
}

START_TEST(a_site_that_is_away_does_not_hold_the_others_for_longer_than_patience)
{
	struct store *sites[2] = {new_mem("good"), new_away("put * fail UNREACHABLE after 3")};
	struct store_multi *m = store_multi_new(sites, 2, &(struct store_multi_opts){.patience_ms = 1});
	CLEAN(store_keys_release) struct store_keys good = {0}, away = {0};
	struct err err = ERR_INIT;
	atomic_int done = 0;
	char key[32];

	for (int i = 0; i < 40; i++) /* more than fit into its queue */
		queue_put(m, (snprintf(key, sizeof key, "p/%02d", i), key), &done);
	store_multi_wait(m);
	ck_assert_int_eq(done, 40);
	ck_assert_ptr_null(store_multi_error(m, 0));
	ck_assert_ptr_nonnull(store_multi_error(m, 1));
	ck_assert_int_eq(store_multi_error(m, 1)->code, ERR_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(store_multi_error(m, 1)->msg, "given up, as nothing arrived there for "));
	ck_assert_ptr_nonnull(strstr(store_multi_error(m, 1)->msg, "planted fault"));
	must(store_list_all(sites[0], "", &good, &err), &err);
	must(store_list_all(sites[1], "", &away, &err), &err);
	ck_assert_uint_eq(good.n, 40);
	ck_assert_uint_eq(away.n, 3);
	store_multi_free(m);
	store_free(sites[0]);
	store_free(sites[1]);
}
END_TEST

START_TEST(a_site_that_is_away_is_not_given_up_while_another_has_work)
{
	struct gate *g = gate_new("p/");
	struct store *sites[2] = {&g->f.base, new_away("put * fail UNREACHABLE")};
	struct store_multi *m = store_multi_new(sites, 2, &(struct store_multi_opts){.patience_ms = 1});
	char key[32];

	g->dawdling = true;
	for (int i = 0; i < 4; i++)
		queue_put(m, (snprintf(key, sizeof key, "p/%d", i), key), NULL);
	gate_await(g, &g->inside, 4);
	pthread_mutex_lock(&g->mutex);
	dawdle(g);
	pthread_mutex_unlock(&g->mutex);
	ck_assert(!atomic_load(&sites[1]->trouble->give_up));
	gate_hold(g, NULL);
	store_multi_free(m);
	ck_assert(atomic_load(&sites[1]->trouble->give_up));
	store_free(sites[0]);
	store_free(sites[1]);
}
END_TEST

static void *release_gate(void *arg)
{
	struct gate *g = arg;

	gate_await(g, &g->inside, 1);
	gate_hold(g, NULL);
	return NULL;
}

START_TEST(a_slow_site_holds_the_others_and_loses_nothing)
{
	struct gate *g = gate_new("p/");
	struct store *sites[2] = {new_mem("good"), &g->f.base};
	struct store_multi *m = store_multi_new(sites, 2, &(struct store_multi_opts){.patience_ms = 1});
	pthread_t thread;
	char key[32];

	ck_assert_int_eq(pthread_create(&thread, NULL, release_gate, g), 0);
	for (int i = 0; i < 30; i++)
		queue_put(m, (snprintf(key, sizeof key, "p/%02d", i), key), NULL);
	store_multi_wait(m);
	pthread_join(thread, NULL);
	ck_assert_ptr_null(store_multi_error(m, 0));
	ck_assert_ptr_null(store_multi_error(m, 1));
	ck_assert_int_eq(g->began, 30);
	store_multi_free(m);
	store_free(sites[0]);
	store_free(sites[1]);
}
END_TEST

START_TEST(a_site_that_finishes_nothing_for_too_long_is_given_up)
{
	struct gate *g = gate_new("p/");
	struct store *sites[2] = {new_mem("good"), &g->f.base};
	struct store_multi *m = store_multi_new(sites, 2, &(struct store_multi_opts){.stall_ms = 1});
	atomic_int done = 0;
	char key[32];

	for (int i = 0; i < 30; i++) /* the last would wait for ever */
		queue_put(m, (snprintf(key, sizeof key, "p/%02d", i), key), &done);
	gate_hold(g, NULL);
	store_multi_wait(m);
	ck_assert_int_eq(done, 30);
	ck_assert_ptr_null(store_multi_error(m, 0));
	ck_assert_ptr_nonnull(store_multi_error(m, 1));
	ck_assert_int_le(g->began, 12);
	ck_assert_ptr_nonnull(strstr(store_multi_error(m, 1)->msg, "given up, as nothing arrived there for "));
	ck_assert_ptr_nonnull(strstr(store_multi_error(m, 1)->hint, "replicate"));
	store_multi_free(m);
	store_free(sites[0]);
	store_free(sites[1]);
}
END_TEST

static int64_t fake_now(void *arg)
{
	return atomic_load((atomic_llong *)arg);
}

static void fake_wait(void *arg, int64_t ms)
{
	atomic_fetch_add((atomic_llong *)arg, ms);
}

START_TEST(the_last_site_is_tried_until_its_own_deadline)
{
	atomic_llong now = 1;
	const struct store_retry clocked = {.now_ms = fake_now, .wait = fake_wait, .arg = &now};
	struct store *sites[2] = {store_retry_new(new_faulty("put * fail UNREACHABLE"), &clocked), new_faulty("put * fail DENIED")};
	struct store_multi *m = store_multi_new(sites, 2, &(struct store_multi_opts){.patience_ms = 1});

	store_multi_put_at(m, 1, "p/0", &(struct store_src){NULL, 0}, NULL, NULL);
	store_multi_wait(m);
	ck_assert_int_eq(store_multi_error(m, 1)->code, ERR_DENIED);
	queue_put(m, "p/1", NULL);
	store_multi_wait(m);
	ck_assert_int_eq(store_multi_error(m, 0)->code, ERR_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(store_multi_error(m, 0)->msg, "in 15 min"));
	ck_assert_ptr_null(strstr(store_multi_error(m, 0)->msg, "given up"));
	store_multi_free(m);
	store_free(sites[0]);
	store_free(sites[1]);
}
END_TEST

START_TEST(a_site_given_up_is_tried_once_an_operation_until_it_is_used_again)
{
	struct store *sites[2] = {new_mem("good"), new_away("any * fail UNREACHABLE")};
	struct store_multi *m = store_multi_new(sites, 2, &(struct store_multi_opts){.patience_ms = 1});
	struct err err = ERR_INIT;

	queue_put(m, "p/1", NULL);
	store_multi_free(m);
	ck_assert_int_eq(store_put_bytes(sites[1], "l/1", "x", 1, &err), -ERR_UNREACHABLE);
	store_multi_free(store_multi_new(sites, 2, NULL));
	ck_assert(!atomic_load(&sites[1]->trouble->give_up));
	store_free(sites[0]);
	store_free(sites[1]);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store multi");
	TCase *tc = place_case("multi");

	suite_add_tcase(s, tc);
	tcase_add_test(tc, multi_puts_to_every_site);
	tcase_add_test(tc, a_site_that_fails_does_not_stop_the_others);
	tcase_add_test(tc, multi_without_a_working_site_is_done_at_once);
	tcase_add_test(tc, free_waits_for_what_several_threads_queued);
	tcase_add_test(tc, a_distant_site_takes_four_packs_at_once);
	tcase_add_loop_test(tc, a_site_that_is_near_or_not_threadsafe_takes_one_put_at_a_time, 0, 2);
	tcase_add_test(tc, what_is_no_pack_waits_for_all_that_was_queued_before_it);
	tcase_add_test(tc, a_site_that_refuses_gets_fewer_puts_at_once_and_more_again);
	tcase_add_test(tc, a_put_may_go_to_one_site_alone);
	tcase_add_test(tc, a_site_that_is_away_does_not_hold_the_others_for_longer_than_patience);
	tcase_add_test(tc, a_site_that_is_away_is_not_given_up_while_another_has_work);
	tcase_add_test(tc, a_slow_site_holds_the_others_and_loses_nothing);
	tcase_add_test(tc, a_site_that_finishes_nothing_for_too_long_is_given_up);
	tcase_add_test(tc, the_last_site_is_tried_until_its_own_deadline);
	tcase_add_test(tc, a_site_given_up_is_tried_once_an_operation_until_it_is_used_again);
	return s;
}

int main(void)
{
	return conformance_main(suite());
}
