#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "store/store.h"
#include "base/mem.h"
#include "base/queue.h"

#define SITE_QUEUE_DEPTH 8

/* One put on its way to all sites. The caller's bytes are borrowed until done() is called. */
struct multi_job {
	char *key;
	struct store_piece *piece;
	size_t n_pieces;
	void (*done)(void *arg);
	void *arg;
	atomic_uint refs; /* sites that still have to deal with it, and the one who queues it */
};

struct multi_site {
	struct store_multi *m;
	struct store *store;
	pthread_t thread;
	bool started;
	struct queue queue;
	atomic_bool failed; /* set after err is complete, never cleared: err may be read without a lock from then on */
	struct err err;
};

struct store_multi {
	pthread_mutex_t mutex; /* pending, and the transition of a site to failed */
	pthread_cond_t idle;
	size_t pending; /* jobs whose done() has not returned */
	struct multi_site *site;
	size_t n;
};

static void job_unref(struct store_multi *m, struct multi_job *job)
{
	if (atomic_fetch_sub(&job->refs, 1) > 1)
		return;
	if (job->done)
		job->done(job->arg);
	free(job->piece);
	free(job->key);
	free(job);
	pthread_mutex_lock(&m->mutex);
	if (--m->pending == 0)
		pthread_cond_broadcast(&m->idle);
	pthread_mutex_unlock(&m->mutex);
}

static void site_fail(struct multi_site *site, const struct err *why)
{
	pthread_mutex_lock(&site->m->mutex);
	if (!atomic_load(&site->failed)) {
		site->err = *why;
		atomic_store(&site->failed, true);
	}
	pthread_mutex_unlock(&site->m->mutex);
}

static void *site_run(void *arg)
{
	struct multi_site *site = arg;
	struct multi_job *job;

	while ((job = queue_pop(&site->queue))) {
		struct err err = ERR_INIT;
		struct store_src src = {job->piece, job->n_pieces};

		/* What was queued before the site failed is passed over, so that a dead site delays nobody. */
		if (!atomic_load(&site->failed) && store_put(site->store, job->key, &src, &err))
			site_fail(site, &err);
		job_unref(site->m, job);
	}
	return NULL;
}

struct store_multi *store_multi_new(struct store **sites, size_t n)
{
	struct store_multi *m = xcalloc(1, sizeof *m);

	pthread_mutex_init(&m->mutex, NULL);
	pthread_cond_init(&m->idle, NULL);
	m->site = xcalloc(n ? n : 1, sizeof *m->site);
	m->n = n;
	for (size_t i = 0; i < n; i++) {
		m->site[i].m = m;
		m->site[i].store = sites[i];
		queue_init(&m->site[i].queue, SITE_QUEUE_DEPTH);
		int rc = pthread_create(&m->site[i].thread, NULL, site_run, &m->site[i]);
		struct err err = ERR_INIT;

		m->site[i].started = rc == 0;
		if (!rc)
			continue;
		(void)err_set(&err, ERR_IO, "site %s: cannot start a thread: %s", sites[i]->name, strerror(rc));
		site_fail(&m->site[i], &err);
	}
	return m;
}

void store_multi_free(struct store_multi *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++)
		queue_close(&m->site[i].queue);
	for (size_t i = 0; i < m->n; i++) {
		if (m->site[i].started)
			pthread_join(m->site[i].thread, NULL);
		queue_release(&m->site[i].queue);
	}
	free(m->site);
	pthread_cond_destroy(&m->idle);
	pthread_mutex_destroy(&m->mutex);
	free(m);
}

void store_multi_put(
        struct store_multi *m, const char *key, const struct store_src *src, void (*done)(void *arg), void *arg)
{
	struct multi_job *job = xcalloc(1, sizeof *job);

	job->key = xstrdup(key);
	job->n_pieces = src->n_pieces;
	job->piece = xcalloc(src->n_pieces ? src->n_pieces : 1, sizeof *job->piece);
	if (src->n_pieces)
		memcpy(job->piece, src->piece, src->n_pieces * sizeof *job->piece);
	job->done = done;
	job->arg = arg;
	atomic_init(&job->refs, (unsigned)m->n + 1);
	pthread_mutex_lock(&m->mutex);
	m->pending++;
	pthread_mutex_unlock(&m->mutex);
	for (size_t i = 0; i < m->n; i++)
		if (atomic_load(&m->site[i].failed) || !queue_push(&m->site[i].queue, job))
			job_unref(m, job);
	job_unref(m, job);
}

void store_multi_wait(struct store_multi *m)
{
	pthread_mutex_lock(&m->mutex);
	while (m->pending)
		pthread_cond_wait(&m->idle, &m->mutex);
	pthread_mutex_unlock(&m->mutex);
}

const struct err *store_multi_error(struct store_multi *m, size_t i)
{
	return atomic_load(&m->site[i].failed) ? &m->site[i].err : NULL;
}

void store_multi_fail(struct store_multi *m, size_t i, const struct err *why)
{
	site_fail(&m->site[i], why);
}
