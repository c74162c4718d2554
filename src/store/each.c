/* Many small objects of a distant site, or digests of many: their round trips overlap. */
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
	bool digest; /* is what is wanted */
	store_each_fn fn;
	void *arg;
	atomic_size_t next;
	atomic_bool stop;
	pthread_mutex_t mutex; /* of fn, and of what follows */
	int rc;
	struct err err;
};

static int fetch_one(struct each *e, const char *key, struct buf *b, struct err *err)
{
	unsigned char digest[32];

	if (!e->digest)
		return store_get(e->s, key, b, err);
	int rc = store_digest(e->s, key, digest, err);

	if (!rc)
		buf_add(b, digest, sizeof digest);
	return rc;
}

static void *run(void *arg)
{
	struct each *e = arg;
	CLEAN(buf_release) struct buf b = BUF_INIT(e->limit);

	for (size_t i; !atomic_load(&e->stop) && (i = atomic_fetch_add(&e->next, 1)) < e->n;) {
		struct err why = ERR_INIT;

		buf_clear(&b);
		int got = fetch_one(e, e->key[i], &b, &why);

		pthread_mutex_lock(&e->mutex);
		if (!e->rc && (e->rc = e->fn(e->arg, i, got ? NULL : &b, &why, &e->err)))
			atomic_store(&e->stop, true);
		pthread_mutex_unlock(&e->mutex);
	}
	return NULL;
}

static int each_run(struct each *e, struct err *err)
{
	const uint32_t overlap = STORE_REMOTE | STORE_THREADSAFE;
	size_t want = (e->s->caps & overlap) == overlap ? MIN(e->n, THREADS) : 1, started = 0;
	pthread_t thread[THREADS];

	pthread_mutex_init(&e->mutex, NULL);
	/* One fewer than there is to do: this thread works too, and alone where no other can be had. */
	while (started + 1 < want && !pthread_create(&thread[started], NULL, run, e))
		started++;
	run(e);
	while (started)
		pthread_join(thread[--started], NULL);
	pthread_mutex_destroy(&e->mutex);
	if (e->rc && err)
		*err = e->err;
	return e->rc;
}

int store_get_each(struct store *s, const char *const *key, size_t n, size_t limit, store_each_fn fn, void *arg, struct err *err)
{
	return each_run(&(struct each){.s = s, .key = key, .n = n, .limit = limit, .fn = fn, .arg = arg}, err);
}

int store_digest_each(struct store *s, const char *const *key, size_t n, store_each_fn fn, void *arg, struct err *err)
{
	return each_run(&(struct each){.s = s, .key = key, .n = n, .limit = 32, .digest = true, .fn = fn, .arg = arg}, err);
}
