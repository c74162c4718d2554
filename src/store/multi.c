#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "store/store.h"
#include "base/mem.h"
#include "base/str.h"

#define DEPTH 8 /* puts that wait at a site */
#define WIDTH_MAX 16
#define WIDTH 4
#define PATIENCE_MS (2 * 60 * 1000)
#define STALL_MS (60 * 60 * 1000)
#define WATCH_MIN_MS 5
#define WATCH_MAX_MS 5000

/* One put on its way to all its sites. The caller's bytes are borrowed until done() is called. */
struct multi_job {
	char *key;
	struct store_piece *piece;
	size_t n_pieces;
	void (*done)(void *arg);
	void *arg;
	atomic_uint refs; /* sites that still have to deal with it, and the one who queues it */
};

struct multi_waiting {
	struct multi_job *job;
	uint64_t no; /* of the site's puts, from 1 */
};

struct multi_site;
struct multi_putter {
	struct multi_site *site;
	pthread_t thread;
	uint64_t running; /* number of its put, 0: none */
};

struct multi_site {
	struct store_multi *m;
	struct store *store;
	struct multi_putter putter[WIDTH_MAX];
	unsigned n_putters, n_running;
	unsigned width;    /* puts that may run now: halved when the site refuses, grown by one when it does not */
	unsigned refusals; /* of the store's trouble, as many as have been seen */
	struct multi_waiting waiting[DEPTH];
	size_t n_waiting;
	uint64_t last_no;
	int64_t since_ms; /* of the last put that ended; when idle, since then */
	pthread_cond_t work, room;
	bool given_up; /* nothing is queued or started any more; failed when what runs has ended */
	bool failed;   /* never cleared: err may be read without the lock from then on */
	struct err err;
};

struct store_multi {
	pthread_mutex_t mutex; /* of everything */
	pthread_cond_t idle, watch;
	size_t pending; /* jobs whose done() has not returned */
	bool closed, watched;
	pthread_t watcher;
	struct store_multi_opts o;
	struct multi_site *site;
	size_t n;
};

/* What is left to be let go of when the lock is not held. */
struct dropped {
	struct multi_job *job[DEPTH];
	size_t n;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

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

static void drop_now(struct store_multi *m, struct dropped *d)
{
	for (size_t i = 0; i < d->n; i++)
		job_unref(m, d->job[i]);
}

/* --- a site's end; all under the lock --- */

/* No more puts for it: those that wait are dropped, so that a dead site delays nobody. */
static void site_leave(struct multi_site *site, struct dropped *d)
{
	site->given_up = true;
	if (site->store->trouble)
		atomic_store(&site->store->trouble->give_up, true);
	while (d->n < site->n_waiting) {
		d->job[d->n] = site->waiting[d->n].job;
		d->n++;
	}
	site->n_waiting = 0;
	pthread_cond_broadcast(&site->room);
	pthread_cond_broadcast(&site->work);
}

static void site_fail(struct multi_site *site, const struct err *why, struct dropped *d)
{
	if (!site->failed)
		site->err = *why;
	site->failed = true;
	if (!site->given_up)
		site_leave(site, d);
}

/* The site was given up: say so in front of its own error, or alone when it has none. */
static void given_up_error(const struct multi_site *site, struct err *err)
{
	char time[32];

	str_human_duration(time, now_ms() - site->since_ms);
	if (err->code) {
		(void)err_wrap(err, "given up, as nothing arrived there for %s while the other sites waited", time);
		return;
	}
	(void)err_set(err, ERR_UNREACHABLE,
	        "site %s: given up, as nothing arrived there for %s while the other sites waited", site->store->name,
	        time);
	(void)err_hint(err, "the next run or 'holdfast replicate' brings it what it lacks");
}

/* --- putting --- */

/* A pack may be put any time; every other object stands for what was queued before it, and waits for that. */
static bool any_time(const char *key)
{
	return !strncmp(key, "p/", 2);
}

static bool all_done_before(const struct multi_site *site, uint64_t no)
{
	for (unsigned i = 0; i < site->n_putters; i++)
		if (site->putter[i].running && site->putter[i].running < no)
			return false;
	return true;
}

/* Take the first put that may start now; false when there is none. */
static bool next_put(struct multi_site *site, struct multi_waiting *ret)
{
	if (site->n_running >= site->width)
		return false;
	for (size_t i = 0; i < site->n_waiting; i++) {
		struct multi_waiting w = site->waiting[i];

		if (!any_time(w.job->key) && (i || !all_done_before(site, w.no)))
			continue;
		site->n_waiting--;
		memmove(site->waiting + i, site->waiting + i + 1, (site->n_waiting - i) * sizeof w);
		*ret = w;
		return true;
	}
	return false;
}

static void adapt_width(struct multi_site *site)
{
	unsigned seen = site->store->trouble ? atomic_load(&site->store->trouble->refusals) : 0;

	site->width = seen != site->refusals ? MAX(site->width / 2, 1) : MIN(site->width + 1, site->n_putters);
	site->refusals = seen;
}

static void put_one(struct multi_putter *p, const struct multi_waiting *w)
{
	struct multi_site *site = p->site;
	struct store_multi *m = site->m;
	struct store_src src = {w->job->piece, w->job->n_pieces};
	struct err err = ERR_INIT;
	struct dropped d = {.n = 0};

	site->n_running++;
	p->running = w->no;
	pthread_cond_signal(&site->room);
	pthread_mutex_unlock(&m->mutex);
	int rc = store_put(site->store, w->job->key, &src, &err);

	pthread_mutex_lock(&m->mutex);
	p->running = 0;
	site->n_running--;
	if (site->given_up && !site->failed)
		given_up_error(site, &err);
	if (rc || site->given_up)
		site_fail(site, &err, &d);
	site->since_ms = now_ms();
	adapt_width(site);
	pthread_cond_broadcast(&site->work);
	pthread_mutex_unlock(&m->mutex);
	drop_now(m, &d);
	job_unref(m, w->job);
	pthread_mutex_lock(&m->mutex);
}

static void *putter_run(void *arg)
{
	struct multi_putter *p = arg;
	struct store_multi *m = p->site->m;
	struct multi_waiting w;

	pthread_mutex_lock(&m->mutex);
	for (;;) {
		if (next_put(p->site, &w))
			put_one(p, &w);
		else if (m->closed && !p->site->n_waiting)
			break;
		else
			pthread_cond_wait(&p->site->work, &m->mutex);
	}
	pthread_mutex_unlock(&m->mutex);
	return NULL;
}

/* --- patience --- */

static bool busy(const struct multi_site *site)
{
	return site->n_waiting + site->n_running > 0;
}

static bool retrying(const struct multi_site *site)
{
	return site->store->trouble && atomic_load(&site->store->trouble->retrying) > 0;
}

/* Whether everybody that works has long been waiting for this site. */
static bool holds_others(const struct multi_site *site, int64_t now)
{
	const struct store_multi *m = site->m;
	int64_t most = retrying(site) ? m->o.patience_ms : m->o.stall_ms;
	bool others = false;

	if (site->given_up || !busy(site) || now - site->since_ms < most)
		return false;
	for (size_t i = 0; i < m->n; i++) {
		const struct multi_site *o = &m->site[i];

		if (o == site || o->given_up || retrying(o))
			continue;
		if (busy(o) || now - o->since_ms < most)
			return false;
		others = true;
	}
	return others;
}

static void wait_a_moment(struct store_multi *m)
{
	int64_t ms = MAX(WATCH_MIN_MS, MIN(MIN(m->o.patience_ms, m->o.stall_ms) / 4, WATCH_MAX_MS));
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	(void)pthread_cond_timedwait(&m->watch, &m->mutex, &t);
}

static void *watcher_run(void *arg)
{
	struct store_multi *m = arg;

	pthread_mutex_lock(&m->mutex);
	while (!m->closed) {
		for (size_t i = 0; i < m->n; i++) {
			struct multi_site *site = &m->site[i];
			struct dropped d = {.n = 0};
			struct err err = ERR_INIT;

			if (!holds_others(site, now_ms()))
				continue;
			if (site->n_running) {
				site_leave(site, &d);
			} else {
				given_up_error(site, &err);
				site_fail(site, &err, &d);
			}
			pthread_mutex_unlock(&m->mutex);
			drop_now(m, &d);
			pthread_mutex_lock(&m->mutex);
		}
		wait_a_moment(m);
	}
	pthread_mutex_unlock(&m->mutex);
	return NULL;
}

/* --- making and ending --- */

static void start_site(struct store_multi *m, struct multi_site *site, struct store *store)
{
	const uint32_t wide = STORE_THREADSAFE | STORE_REMOTE;
	unsigned n = (store->caps & wide) == wide ? m->o.width : 1;
	int rc = 0;

	site->m = m;
	site->store = store;
	site->since_ms = now_ms();
	if (store->trouble) /* who gave it up before had other sites to serve */
		atomic_store(&store->trouble->give_up, false);
	pthread_cond_init(&site->work, NULL);
	pthread_cond_init(&site->room, NULL);
	while (site->n_putters < n && !rc) {
		struct multi_putter *p = &site->putter[site->n_putters];

		p->site = site;
		rc = pthread_create(&p->thread, NULL, putter_run, p);
		site->n_putters += !rc;
	}
	site->width = site->n_putters;
	site->refusals = store->trouble ? atomic_load(&store->trouble->refusals) : 0;
	if (site->n_putters)
		return;
	struct dropped d = {.n = 0};
	struct err err = ERR_INIT;

	(void)err_set(&err, ERR_IO, "site %s: cannot start a thread: %s", store->name, strerror(rc));
	site_fail(site, &err, &d);
}

/* Without a watcher a distant site that is away holds the others for as long as it is tried again. */
static void start_watcher(struct store_multi *m)
{
	bool distant = false;

	for (size_t i = 0; i < m->n; i++)
		distant = distant || m->site[i].store->trouble || (m->site[i].store->caps & STORE_REMOTE);
	if (distant && m->n > 1)
		m->watched = pthread_create(&m->watcher, NULL, watcher_run, m) == 0;
}

struct store_multi *store_multi_new(struct store **sites, size_t n, const struct store_multi_opts *opts)
{
	struct store_multi *m = xcalloc(1, sizeof *m);
	pthread_condattr_t monotonic;

	if (opts)
		m->o = *opts;
	m->o.width = m->o.width ? MIN(m->o.width, WIDTH_MAX) : WIDTH;
	m->o.patience_ms = m->o.patience_ms > 0 ? m->o.patience_ms : PATIENCE_MS;
	m->o.stall_ms = m->o.stall_ms > 0 ? m->o.stall_ms : STALL_MS;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&m->mutex, NULL);
	pthread_cond_init(&m->idle, NULL);
	pthread_cond_init(&m->watch, &monotonic);
	pthread_condattr_destroy(&monotonic);
	m->site = xcalloc(n ? n : 1, sizeof *m->site);
	m->n = n;
	pthread_mutex_lock(&m->mutex);
	for (size_t i = 0; i < n; i++)
		start_site(m, &m->site[i], sites[i]);
	start_watcher(m);
	pthread_mutex_unlock(&m->mutex);
	return m;
}

void store_multi_free(struct store_multi *m)
{
	if (!m)
		return;
	store_multi_wait(m); /* the watcher is needed until then */
	pthread_mutex_lock(&m->mutex);
	m->closed = true;
	for (size_t i = 0; i < m->n; i++)
		pthread_cond_broadcast(&m->site[i].work);
	pthread_cond_broadcast(&m->watch);
	pthread_mutex_unlock(&m->mutex);
	if (m->watched)
		pthread_join(m->watcher, NULL);
	for (size_t i = 0; i < m->n; i++) {
		for (unsigned p = 0; p < m->site[i].n_putters; p++)
			pthread_join(m->site[i].putter[p].thread, NULL);
		pthread_cond_destroy(&m->site[i].work);
		pthread_cond_destroy(&m->site[i].room);
	}
	free(m->site);
	pthread_cond_destroy(&m->idle);
	pthread_cond_destroy(&m->watch);
	pthread_mutex_destroy(&m->mutex);
	free(m);
}

/* --- queueing --- */

static struct multi_job *job_new(
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
	atomic_init(&job->refs, 1);
	pthread_mutex_lock(&m->mutex);
	m->pending++;
	pthread_mutex_unlock(&m->mutex);
	return job;
}

/* Once there is room, unless the site fails first. */
static void enqueue(struct multi_site *site, struct multi_job *job)
{
	struct store_multi *m = site->m;

	pthread_mutex_lock(&m->mutex);
	while (!site->given_up && site->n_waiting == DEPTH)
		pthread_cond_wait(&site->room, &m->mutex);
	if (!site->given_up) {
		if (!busy(site))
			site->since_ms = now_ms();
		atomic_fetch_add(&job->refs, 1);
		site->waiting[site->n_waiting++] = (struct multi_waiting){job, ++site->last_no};
		pthread_cond_broadcast(&site->work);
	}
	pthread_mutex_unlock(&m->mutex);
}

void store_multi_put(
        struct store_multi *m, const char *key, const struct store_src *src, void (*done)(void *arg), void *arg)
{
	struct multi_job *job = job_new(m, key, src, done, arg);

	for (size_t i = 0; i < m->n; i++)
		enqueue(&m->site[i], job);
	job_unref(m, job);
}

void store_multi_put_at(struct store_multi *m, size_t i, const char *key, const struct store_src *src,
        void (*done)(void *arg), void *arg)
{
	struct multi_job *job = job_new(m, key, src, done, arg);

	enqueue(&m->site[i], job);
	job_unref(m, job);
}

unsigned store_multi_width(const struct store_multi *m)
{
	unsigned width = 1;

	for (size_t i = 0; i < m->n; i++)
		width = MAX(width, m->site[i].n_putters);
	return width;
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
	pthread_mutex_lock(&m->mutex);
	const struct err *err = m->site[i].failed ? &m->site[i].err : NULL;

	pthread_mutex_unlock(&m->mutex);
	return err;
}

void store_multi_fail(struct store_multi *m, size_t i, const struct err *why)
{
	struct dropped d = {.n = 0};

	pthread_mutex_lock(&m->mutex);
	site_fail(&m->site[i], why, &d);
	pthread_mutex_unlock(&m->mutex);
	drop_now(m, &d);
}
