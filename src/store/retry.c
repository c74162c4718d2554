#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "store/filter.h"
#include "store/pause.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "crypto/crypto.h"

#define BASE_MS 1000
#define CAP_MS 60000
#define TOTAL_MS (15 * 60 * 1000)
#define RESERVE 20
#define EARNED 2 /* retries a success pays for: three requests an operation in all */
/* So much in one try, and the site is slow rather than away. 64 KiB a minute is what drivers hang up below, too. */
#define PROGRESS_BYTES (64u << 10)
#define PROGRESS_KEYS 1000

struct retry_store {
	struct filter f;
	struct store_retry o;
	struct store_trouble trouble;
	struct pause pause;
	pthread_mutex_t mutex; /* of the budget */
	int64_t stock, refilled_ms;
};

static struct retry_store *retry_of(struct store *s)
{
	return (struct retry_store *)s;
}

/* --- the budget --- */

static void earn(struct retry_store *r)
{
	pthread_mutex_lock(&r->mutex);
	r->stock = MIN(r->stock + EARNED, (int64_t)r->o.reserve);
	pthread_mutex_unlock(&r->mutex);
}

static bool spend(struct retry_store *r)
{
	pthread_mutex_lock(&r->mutex);
	int64_t n = (pause_now_ms(&r->pause) - r->refilled_ms) / r->o.cap_ms;

	if (n > 0) {
		r->stock = MIN(r->stock + n, (int64_t)r->o.reserve);
		r->refilled_ms += n * r->o.cap_ms;
	}
	bool ok = r->stock > 0;

	r->stock -= ok;
	pthread_mutex_unlock(&r->mutex);
	return ok;
}

/* --- one operation, tried until it is decided --- */

struct op {
	struct retry_store *r;
	int rc; /* of the last try */
	struct err err;
	bool stopped; /* its error is the sink's or callback's, or has been retried already */
	unsigned failures;
	int64_t since_ms; /* of the first failure, or of the last progress */
	int64_t ceiling_ms;
};

static struct op op_begin(struct store *s)
{
	struct retry_store *r = retry_of(s);

	return (struct op){.r = r, .ceiling_ms = r->o.base_ms};
}

static bool failed(const struct op *op)
{
	return op->rc && !op->stopped && op->err.retryable;
}

static void tell(const struct op *op, bool retrying)
{
	if (op->r->o.state)
		op->r->o.state(op->r->o.arg, retrying, failed(op) ? &op->err : NULL);
}

static void progress(struct op *op, bool enough)
{
	if (!enough)
		return;
	op->since_ms = pause_now_ms(&op->r->pause);
	op->ceiling_ms = op->r->o.base_ms;
}

/* A random part of a ceiling that doubles, but no less than the site asked for and no more than is left. */
static int64_t next_wait(struct op *op, int64_t left_ms)
{
	uint64_t random;

	rng_bytes(&random, sizeof random);
	int64_t ms = (int64_t)(random % ((uint64_t)op->ceiling_ms + 1));

	op->ceiling_ms = MIN(op->ceiling_ms * 2, op->r->o.cap_ms);
	return MIN(MAX(ms, op->err.retry_after_ms), left_ms);
}

/* After a try: whether there is to be another one, once the wait for it is over. */
static bool op_again(struct op *op)
{
	struct retry_store *r = op->r;

	if (!failed(op))
		return false;
	atomic_fetch_add(&r->trouble.refusals, 1);
	if (!op->failures++) {
		atomic_fetch_add(&r->trouble.retrying, 1);
		if (!op->since_ms)
			op->since_ms = pause_now_ms(&r->pause);
	}
	if (pause_stopped(&r->pause))
		return false;
	tell(op, true);
	for (;;) {
		int64_t left = op->since_ms + r->o.total_ms - pause_now_ms(&r->pause);

		if (left <= 0 || !pause_for(&r->pause, next_wait(op, left)))
			return false;
		if (spend(r)) {
			op->err = (struct err)ERR_INIT;
			return true;
		}
	}
}

static void explain(struct op *op)
{
	struct retry_store *r = op->r;
	char time[32];

	if (r->o.cancel && atomic_load(r->o.cancel)) {
		char last[sizeof op->err.msg];

		memcpy(last, op->err.msg, sizeof last);
		op->rc = err_set(&op->err, ERR_CANCELLED, "stopped before it was tried again: %.300s", last);
		return;
	}
	if (op->failures > 1)
		(void)err_wrap(&op->err, "tried %u times in %s", op->failures,
		        str_human_duration(time, pause_now_ms(&r->pause) - op->since_ms));
	if (!op->err.hint[0])
		(void)err_hint(&op->err, "the next run goes on from what is there");
}

static int op_end(struct op *op, struct err *err)
{
	struct retry_store *r = op->r;

	if (!failed(op) && !op->stopped)
		earn(r);
	if (op->failures && atomic_fetch_sub(&r->trouble.retrying, 1) == 1)
		tell(op, false);
	if (failed(op))
		explain(op);
	if (op->rc && err)
		*err = op->err;
	return op->rc;
}

/* --- get: goes on where the bytes stopped --- */

struct resumed_sink {
	struct op *op;
	struct store_sink *to;
	uint64_t got, skip; /* skip: bytes of this try that have been handed on before */
};

static int resumed_write(void *arg, const void *p, size_t n, struct err *err)
{
	struct resumed_sink *g = arg;
	size_t again = (size_t)MIN(g->skip, n);
	int rc = 0;

	g->skip -= again;
	if (n > again)
		rc = g->to->write(g->to->arg, (const char *)p + again, n - again, err);
	if (!rc)
		g->got += n - again;
	g->op->stopped = rc != 0;
	return rc;
}

static int retry_get(
        struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err)
{
	struct store *below = filter_below(s);
	struct op op = op_begin(s);
	struct resumed_sink g = {.op = &op, .to = sink};
	struct store_sink resumed = {resumed_write, &g};

	do {
		const struct store_range left = {range.off + g.got, range.len ? range.len - g.got : 0};
		uint64_t before = g.got;

		op.rc = below->ops->get(below, key, left, &resumed, &op.err);
		progress(&op, g.got - before >= PROGRESS_BYTES);
		if (failed(&op) && range.len && g.got >= range.len)
			op.rc = 0; /* it broke behind the last byte */
	} while (op_again(&op));
	return op_end(&op, err);
}

static int retry_get_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err)
{
	struct op op = op_begin(s);
	struct resumed_sink g = {.op = &op, .to = sink};

	do {
		g.skip = g.got;
		op.rc = op_get_older(filter_below(s), key, n, &(struct store_sink){resumed_write, &g}, &op.err);
	} while (op_again(&op));
	return op_end(&op, err);
}

/* --- list: goes on behind the last key --- */

struct resumed_list {
	struct op *op;
	store_list_fn fn;
	void *arg;
	size_t n;
	char last[STORE_KEY_MAX + 1];
};

static int resumed_key(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	struct resumed_list *l = arg;
	int rc = l->fn(l->arg, key, st, err);

	l->n++;
	l->op->stopped = rc != 0;
	if (!rc)
		str_copy(l->last, sizeof l->last, key);
	return rc;
}

static int retry_list(
        struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err)
{
	struct store *below = filter_below(s);
	struct op op = op_begin(s);
	struct resumed_list l = {.op = &op, .fn = fn, .arg = arg};

	do {
		size_t before = l.n;

		op.rc = below->ops->list(below, prefix, l.last[0] ? l.last : after, resumed_key, &l, &op.err);
		progress(&op, l.n - before >= PROGRESS_KEYS);
	} while (op_again(&op));
	return op_end(&op, err);
}

/* --- what needs no more than to be asked again --- */

static int retry_stat(struct store *s, const char *key, struct store_stat *ret, struct err *err)
{
	struct store *below = filter_below(s);
	struct op op = op_begin(s);

	do
		op.rc = below->ops->stat(below, key, ret, &op.err);
	while (op_again(&op));
	return op_end(&op, err);
}

static int retry_remove(struct store *s, const char *key, struct err *err)
{
	struct store *below = filter_below(s);
	struct op op = op_begin(s);

	do {
		op.rc = below->ops->remove(below, key, &op.err);
		if (op.rc == -ERR_MISSING && op.failures)
			op.rc = 0; /* a try whose answer was lost removed it */
	} while (op_again(&op));
	return op_end(&op, err);
}

static int retry_sync(struct store *s, struct err *err)
{
	struct store *below = filter_below(s);
	struct op op = op_begin(s);

	do
		op.rc = below->ops->sync(below, &op.err);
	while (op_again(&op));
	return op_end(&op, err);
}

static int retry_digest(struct store *s, const char *key, unsigned char ret[32], struct err *err)
{
	struct op op = op_begin(s);

	do
		op.rc = op_digest(filter_below(s), key, ret, &op.err);
	while (op_again(&op));
	return op_end(&op, err);
}

static int retry_lock(struct store *s, const char *key, struct store_lock *ret, struct err *err)
{
	struct op op = op_begin(s);

	do
		op.rc = op_lock(filter_below(s), key, ret, &op.err);
	while (op_again(&op));
	return op_end(&op, err);
}

static int retry_extend(struct store *s, const char *key, int64_t until_ns, struct err *err)
{
	struct op op = op_begin(s);

	do
		op.rc = op_extend(filter_below(s), key, until_ns, &op.err);
	while (op_again(&op));
	return op_end(&op, err);
}

static int retry_clock(struct store *s, int64_t *ret_ns, struct err *err)
{
	struct op op = op_begin(s);

	do
		op.rc = op_clock(filter_below(s), ret_ns, &op.err);
	while (op_again(&op));
	return op_end(&op, err);
}

/* --- put: an outcome that nobody told is found out --- */

/* Compares what arrives with the pieces. */
struct compared {
	const struct store_src *src;
	size_t piece, at;
};

static bool skip_empty(struct compared *c)
{
	while (c->piece < c->src->n_pieces && c->at == c->src->piece[c->piece].n) {
		c->piece++;
		c->at = 0;
	}
	return c->piece < c->src->n_pieces;
}

static int compare_write(void *arg, const void *p, size_t n, struct err *err)
{
	struct compared *c = arg;
	const char *b = p;

	(void)err;
	while (n) {
		if (!skip_empty(c))
			return 1;
		const struct store_piece *piece = &c->src->piece[c->piece];
		size_t part = MIN(n, piece->n - c->at);

		if (memcmp((const char *)piece->p + c->at, b, part))
			return 1;
		c->at += part;
		b += part;
		n -= part;
	}
	return 0;
}

static uint64_t src_size(const struct store_src *src)
{
	uint64_t n = 0;

	for (size_t i = 0; i < src->n_pieces; i++)
		n += src->piece[i].n;
	return n;
}

static bool named_by_digest(const char *key, const struct store_src *src)
{
	CLEAN(sha256_free_ptr) struct sha256 *h = sha256_new();
	const char *slash = strrchr(key, '/');
	unsigned char digest[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];

	for (size_t i = 0; i < src->n_pieces; i++)
		sha256_update(h, src->piece[i].p, src->piece[i].n);
	sha256_final(h, digest);
	hex_encode(hex, digest, sizeof digest);
	return !strcmp(slash ? slash + 1 : key, hex);
}

struct listed_size {
	const char *key;
	uint64_t size;
	bool found;
};

static int see_size(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	struct listed_size *l = arg;

	(void)err;
	l->found = !strcmp(key, l->key);
	l->size = st->size;
	return 1; /* the key itself is the first of those that begin with it */
}

/* Where reading is denied, asking for an object's size often is as well, and only a list tells it. */
static int size_there(struct store *s, const char *key, uint64_t *ret, struct err *err)
{
	struct listed_size l = {.key = key};
	struct store_stat st;
	int rc = retry_stat(s, key, &st, err);

	if (!rc)
		*ret = st.size;
	if (rc != -ERR_DENIED)
		return rc;
	rc = retry_list(s, key, NULL, see_size, &l, err);
	if (rc < 0)
		return rc;
	*ret = l.size;
	return l.found ? 0 : err_set(err, ERR_MISSING, "object %s is not listed", key);
}

/* The key was taken after a try with an unknown outcome: by that try, if the bytes are ours. */
static int settle(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	struct compared c = {.src = src};
	struct store_sink sink = {compare_write, &c};
	uint64_t size = src_size(src), there = 0;
	int rc = retry_get(s, key, (struct store_range){0, size + 1}, &sink, err);

	if (rc == -ERR_DENIED && named_by_digest(key, src)) {
		rc = size_there(s, key, &there, err);
		if (!rc && there == size)
			return 0;
	} else if (!rc && !skip_empty(&c)) {
		return 0;
	}
	if (rc == -ERR_MISSING)
		return err_set(err, ERR_EXISTS, "object %s cannot be put: another one is in its way", key);
	return rc < 0 ? rc : err_set(err, ERR_EXISTS, "object %s is there with other bytes", key);
}

static int retry_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	struct store *below = filter_below(s);
	struct op op = op_begin(s);

	do
		op.rc = below->ops->put(below, key, src, &op.err);
	while (op_again(&op));
	if (op.rc == -ERR_EXISTS && op.failures) {
		op.rc = settle(s, key, src, &op.err);
		op.stopped = op.rc != 0;
	}
	return op_end(&op, err);
}

/* --- making --- */

static void retry_free(struct store *s)
{
	struct retry_store *r = retry_of(s);

	filter_release(&r->f);
	pthread_mutex_destroy(&r->mutex);
	free(r);
}

static const struct store_ops changes = {
        .scheme = "retry",
        .put = retry_put,
        .get = retry_get,
        .stat = retry_stat,
        .list = retry_list,
        .remove = retry_remove,
        .sync = retry_sync,
        .free = retry_free,
        .get_older = retry_get_older,
        .digest = retry_digest,
        .lock = retry_lock,
        .extend = retry_extend,
        .clock = retry_clock,
};

struct store *store_retry_new(struct store *below, const struct store_retry *opts)
{
	struct retry_store *r = xcalloc(1, sizeof *r);
	struct store_retry *o = &r->o;

	if (opts)
		*o = *opts;
	o->base_ms = o->base_ms > 0 ? o->base_ms : BASE_MS;
	o->cap_ms = o->cap_ms > 0 ? o->cap_ms : CAP_MS;
	o->total_ms = o->total_ms > 0 ? o->total_ms : TOTAL_MS;
	o->reserve = o->reserve ? o->reserve : RESERVE;
	r->pause = (struct pause){o->now_ms, o->wait, o->arg, o->cancel, &r->trouble.give_up};
	pthread_mutex_init(&r->mutex, NULL);
	r->stock = o->reserve;
	r->refilled_ms = pause_now_ms(&r->pause);
	filter_init(&r->f, &changes, below);
	r->f.base.trouble = &r->trouble;
	return &r->f.base;
}
