#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include "store/filter.h"
#include "store/pause.h"
#include "base/clock.h"
#include "base/mem.h"

#define SLICE ((size_t)256 << 10)
#define BURST_NS (INT64_C(1000000000) / 4) /* what a pause in the stream may be made up for by */

struct throttle_store {
	struct filter f;
	struct store_throttle o;
	struct pause pause;
	struct store_pace pace;
	pthread_mutex_t mutex;
	int64_t free_ns; /* when the line is free for more */
};

static struct throttle_store *throttle_of(struct store *s)
{
	return (struct throttle_store *)s;
}

static int local_minute(void)
{
	time_t now = (time_t)(clock_wall_ns() / 1000000000);
	struct tm tm;

	localtime_r(&now, &tm);
	return tm.tm_hour * 60 + tm.tm_min;
}

static bool limited(const struct throttle_store *t)
{
	const struct store_throttle *o = &t->o;

	if (o->from_min < 0 || o->from_min == o->to_min)
		return true;
	int64_t m = o->minute ? o->minute(o->arg) : local_minute();

	return o->from_min < o->to_min ? m >= o->from_min && m < o->to_min : m >= o->from_min || m < o->to_min;
}

/* n bytes more, at most a few slices: each caller books its time on the line and waits until that begins. */
static int take(void *arg, size_t n, struct err *err)
{
	struct throttle_store *t = arg;

	if (!limited(t))
		return 0;
	pthread_mutex_lock(&t->mutex);
	int64_t now = pause_now_ms(&t->pause) * 1000000;

	t->free_ns = MAX(t->free_ns, now - BURST_NS) + (int64_t)((uint64_t)n * 1000000000 / t->o.rate);
	int64_t ms = (t->free_ns - now) / 1000000;
	pthread_mutex_unlock(&t->mutex);
	if (pause_for(&t->pause, ms))
		return 0;
	return err_set(err, ERR_CANCELLED, "stopped while it kept to its bandwidth");
}

static int take_slices(struct throttle_store *t, size_t n, struct err *err)
{
	int rc = 0;

	for (; n && !rc; n -= MIN(n, SLICE))
		rc = take(t, MIN(n, SLICE), err);
	return rc;
}

/* --- drivers that do not pace themselves --- */

static int slow_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	struct store *below = filter_below(s);
	int rc = 0;

	for (size_t i = 0; i < src->n_pieces && !rc; i++)
		rc = take_slices(throttle_of(s), src->piece[i].n, err);
	return rc ? rc : below->ops->put(below, key, src, err);
}

struct slow_sink {
	struct throttle_store *t;
	struct store_sink *to;
};

static int slow_write(void *arg, const void *p, size_t n, struct err *err)
{
	struct slow_sink *w = arg;
	int rc = take_slices(w->t, n, err);

	return rc ? rc : w->to->write(w->to->arg, p, n, err);
}

static int slow_get(struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err)
{
	struct store *below = filter_below(s);
	struct slow_sink w = {throttle_of(s), sink};

	return below->ops->get(below, key, range, &(struct store_sink){slow_write, &w}, err);
}

static int slow_get_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err)
{
	struct slow_sink w = {throttle_of(s), sink};

	return op_get_older(filter_below(s), key, n, &(struct store_sink){slow_write, &w}, err);
}

/* --- making --- */

static void throttle_free(struct store *s)
{
	struct throttle_store *t = throttle_of(s);

	filter_release(&t->f);
	pthread_mutex_destroy(&t->mutex);
	free(t);
}

static const struct store_ops slowed = {
        .scheme = "throttle",
        .put = slow_put,
        .get = slow_get,
        .free = throttle_free,
        .get_older = slow_get_older,
};
static const struct store_ops paced = {
        .scheme = "throttle",
        .free = throttle_free,
};

struct store *store_throttle_new(struct store *below, const struct store_throttle *opts)
{
	bool paces = below->caps & STORE_PACED;

	if (!opts->rate)
		return below;
	struct throttle_store *t = xcalloc(1, sizeof *t);

	t->o = *opts;
	t->pause = (struct pause){.now_ms = opts->now_ms, .wait = opts->wait, .arg = opts->arg, .cancel = opts->cancel};
	pthread_mutex_init(&t->mutex, NULL);
	t->pace = (struct store_pace){take, t};
	filter_init(&t->f, paces ? &paced : &slowed, below);
	if (paces)
		below->pace = &t->pace;
	return &t->f.base;
}
