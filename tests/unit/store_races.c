/* What every storage driver and filter must do for several threads at once. */
#include "store_conformance.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

#define RACERS 16
#define RACE_KEYS 12
#define RACE_BYTES ((size_t)64 << 10)

struct race {
	struct store *s;
	unsigned id;
	pthread_t thread;
	pthread_barrier_t *start;
	bool won[RACE_KEYS];
	int strange;
};

static void *race_run(void *arg)
{
	struct race *r = arg;
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(RACE_BYTES, r->id);
	struct store_piece piece[] = {{p, 1000}, {p + 1000, RACE_BYTES - 1000}};
	struct store_src src = {piece, ARRAY_LEN(piece)};
	char key[32];

	pthread_barrier_wait(r->start);
	for (int k = 0; k < RACE_KEYS; k++) {
		struct err err = ERR_INIT;

		(void)snprintf(key, sizeof key, "race/%d/key", k);
		int rc = store_put(r->s, key, &src, &err);

		r->won[k] = rc == 0;
		r->strange += rc != 0 && rc != -ERR_EXISTS;
	}
	return NULL;
}

static void race(struct store *const *handles)
{
	struct race r[RACERS] = {0};
	pthread_barrier_t start;
	char key[32];

	pthread_barrier_init(&start, NULL, RACERS);
	for (unsigned i = 0; i < RACERS; i++) {
		r[i] = (struct race){.s = handles[i], .id = i + 1, .start = &start};
		ck_assert_int_eq(pthread_create(&r[i].thread, NULL, race_run, &r[i]), 0);
	}
	for (int i = 0; i < RACERS; i++) {
		pthread_join(r[i].thread, NULL);
		ck_assert_int_eq(r[i].strange, 0);
	}
	pthread_barrier_destroy(&start);
	for (int k = 0; k < RACE_KEYS; k++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(RACE_BYTES);
		struct err err = ERR_INIT;
		unsigned winners = 0, winner = 0;

		for (unsigned i = 0; i < RACERS; i++)
			if (r[i].won[k] && ++winners)
				winner = i + 1;
		ck_assert_uint_eq(winners, 1);
		CLEAN(free_ptr) unsigned char *p = pattern_bytes(RACE_BYTES, winner);

		(void)snprintf(key, sizeof key, "race/%d/key", k);
		must(store_get(handles[0], key, &b, &err), &err);
		ck_assert_uint_eq(b.len, RACE_BYTES);
		ck_assert(memcmp(b.p, p, RACE_BYTES) == 0);
	}
}

START_TEST(of_racing_puts_on_handles_of_their_own_one_wins)
{
	struct store *handles[RACERS];

	for (int i = 0; i < RACERS; i++)
		handles[i] = conformance_open(_i);
	ck_assert(handles[0]->caps & STORE_CREATE_ONLY);
	race(handles);
	for (int i = 0; i < RACERS; i++)
		store_free(handles[i]);
}
END_TEST

START_TEST(of_racing_puts_on_a_shared_handle_one_wins)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	struct store *handles[RACERS];

	if (!(s->caps & STORE_THREADSAFE))
		return; /* claims nothing */
	for (int i = 0; i < RACERS; i++)
		handles[i] = s;
	race(handles);
}
END_TEST

#define SHARERS 8
#define SHARED_KEYS 30

struct sharer {
	struct store *s;
	int id;
	pthread_t thread;
	atomic_int *wrong;
};

/* Asserting in a thread would end the wrong one, so mistakes are counted. */
static void *use_shared(void *arg)
{
	struct sharer *h = arg;
	char key[32], prefix[16];

	(void)snprintf(prefix, sizeof prefix, "share/%d/", h->id);
	for (int i = 0; i < SHARED_KEYS; i++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(64);
		struct store_stat st = {0, 0};
		struct err err = ERR_INIT;
		int n = 0;

		(void)snprintf(key, sizeof key, "%s%02d", prefix, i);
		bool ok = !store_put_bytes(h->s, key, key, strlen(key), &err) && !store_get(h->s, key, &b, &err) &&
		          b.len == strlen(key) && !memcmp(b.p, key, b.len) && !store_stat(h->s, key, &st, &err) &&
		          st.size == b.len && !store_list(h->s, prefix, NULL, count_key, &n, &err) && n == i + 1;
		atomic_fetch_add(h->wrong, !ok);
	}
	return NULL;
}

START_TEST(a_shared_handle_serves_several_threads_at_once)
{
	CLEAN(store_free_ptr) struct store *s = conformance_open(_i);
	struct sharer h[SHARERS];
	atomic_int wrong = 0;

	if (!(s->caps & STORE_THREADSAFE))
		return; /* claims nothing */
	for (int i = 0; i < SHARERS; i++) {
		h[i] = (struct sharer){s, i, 0, &wrong};
		ck_assert_int_eq(pthread_create(&h[i].thread, NULL, use_shared, &h[i]), 0);
	}
	for (int i = 0; i < SHARERS; i++)
		pthread_join(h[i].thread, NULL);
	ck_assert_int_eq(wrong, 0);
}
END_TEST

TCase *store_races(int n)
{
	const TTest *const tests[] = {of_racing_puts_on_handles_of_their_own_one_wins, of_racing_puts_on_a_shared_handle_one_wins,
	        a_shared_handle_serves_several_threads_at_once};
	TCase *tc = conformance_case("conformance on threads", tests, ARRAY_LEN(tests), n);

	tcase_set_tags(tc, ON_THREADS);
	return tc;
}
