/* Many small objects of a distant site: their round trips overlap. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "store/store.h"
#include "base/mem.h"

#define THREADS 8

struct each {
	struct store *s;
	const char *const *key;
	size_t n, limit;
	store_each_fn fn;
	void *arg;
	atomic_size_t next;
	atomic_bool stop;
	pthread_mutex_t mutex; /* of fn, and of what follows */
	int rc;
	struct err err;
};

static void *run(void *arg)
{
	struct each *e = arg;
	CLEAN(buf_release) struct buf b = BUF_INIT(e->limit);

	for (size_t i; !atomic_load(&e->stop) && (i = atomic_fetch_add(&e->next, 1)) < e->n;) {
		struct err why = ERR_INIT;

		buf_clear(&b);
		int got = store_get(e->s, e->key[i], &b, &why);

		pthread_mutex_lock(&e->mutex);
		if (!e->rc && (e->rc = e->fn(e->arg, i, got ? NULL : &b, &why, &e->err)))
			atomic_store(&e->stop, true);
		pthread_mutex_unlock(&e->mutex);
	}
	return NULL;
}

int store_get_each(struct store *s, const char *const *key, size_t n, size_t limit, store_each_fn fn, void *arg, struct err *err)
{
	const uint32_t overlap = STORE_REMOTE | STORE_THREADSAFE;
	struct each e = {.s = s, .key = key, .n = n, .limit = limit, .fn = fn, .arg = arg};
	size_t want = (s->caps & overlap) == overlap ? MIN(n, THREADS) : 1, started = 0;
	pthread_t thread[THREADS];

	pthread_mutex_init(&e.mutex, NULL);
	/* One fewer than there is to do: this thread works too, and alone where no other can be had. */
	while (started + 1 < want && !pthread_create(&thread[started], NULL, run, &e))
		started++;
	run(&e);
	while (started)
		pthread_join(thread[--started], NULL);
	pthread_mutex_destroy(&e.mutex);
	if (e.rc && err)
		*err = e.err;
	return e.rc;
}
