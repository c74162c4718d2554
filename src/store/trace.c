#include <stdio.h>
#include <stdlib.h>
#include "store/filter.h"
#include "base/clock.h"
#include "base/mem.h"

struct trace_store {
	struct filter f;
	void (*fn)(void *arg, const char *line);
	void *arg;
};

static struct trace_store *trace_of(struct store *s)
{
	return (struct trace_store *)s;
}

/* Key, size and time never need more than this; the line is cut rather than grown. */
static int report(struct store *s, const char *op, const char *key, uint64_t n, int64_t start_ns, int rc)
{
	struct trace_store *t = trace_of(s);
	double seconds = (double)(clock_boot_ns() - start_ns) / 1e9;
	char line[STORE_KEY_MAX + 128];

	(void)snprintf(line, sizeof line, "%s %s %llu %s %.3f", op, *key ? key : "*", (unsigned long long)n,
	        rc < 0 ? err_name((enum err_code) - rc)
	        : rc   ? "stopped"
	               : "ok",
	        seconds);
	t->fn(t->arg, line);
	return rc;
}

static int trace_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	struct store *below = filter_below(s);
	int64_t start = clock_boot_ns();
	uint64_t n = 0;

	for (size_t i = 0; i < src->n_pieces; i++)
		n += src->piece[i].n;
	return report(s, "put", key, n, start, below->ops->put(below, key, src, err));
}

struct counted_sink {
	struct store_sink *to;
	uint64_t n;
};

static int counted_write(void *arg, const void *p, size_t n, struct err *err)
{
	struct counted_sink *c = arg;

	c->n += n;
	return c->to->write(c->to->arg, p, n, err);
}

static int trace_get(
        struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err)
{
	struct store *below = filter_below(s);
	struct counted_sink c = {sink, 0};
	int64_t start = clock_boot_ns();
	int rc = below->ops->get(below, key, range, &(struct store_sink){counted_write, &c}, err);

	return report(s, "get", key, c.n, start, rc);
}

static int trace_stat(struct store *s, const char *key, struct store_stat *ret, struct err *err)
{
	struct store *below = filter_below(s);
	int64_t start = clock_boot_ns();
	int rc = below->ops->stat(below, key, ret, err);

	return report(s, "stat", key, rc ? 0 : ret->size, start, rc);
}

struct counted_list {
	store_list_fn fn;
	void *arg;
	uint64_t n;
};

static int counted_key(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	struct counted_list *c = arg;

	c->n++;
	return c->fn(c->arg, key, st, err);
}

static int trace_list(
        struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err)
{
	struct store *below = filter_below(s);
	struct counted_list c = {fn, arg, 0};
	int64_t start = clock_boot_ns();
	int rc = below->ops->list(below, prefix, after, counted_key, &c, err);

	return report(s, "list", prefix, c.n, start, rc);
}

static int trace_remove(struct store *s, const char *key, struct err *err)
{
	struct store *below = filter_below(s);
	int64_t start = clock_boot_ns();

	return report(s, "remove", key, 0, start, below->ops->remove(below, key, err));
}

static int trace_sync(struct store *s, struct err *err)
{
	struct store *below = filter_below(s);
	int64_t start = clock_boot_ns();

	return report(s, "sync", "", 0, start, below->ops->sync(below, err));
}

static int trace_get_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err)
{
	struct counted_sink c = {sink, 0};
	int64_t start = clock_boot_ns();
	int rc = op_get_older(filter_below(s), key, n, &(struct store_sink){counted_write, &c}, err);

	return report(s, "older", key, c.n, start, rc);
}

static int trace_digest(struct store *s, const char *key, unsigned char ret[32], struct err *err)
{
	int64_t start = clock_boot_ns();

	return report(s, "digest", key, 0, start, op_digest(filter_below(s), key, ret, err));
}

static int trace_lock(struct store *s, const char *key, struct store_lock *ret, struct err *err)
{
	int64_t start = clock_boot_ns();

	return report(s, "lock", key, 0, start, op_lock(filter_below(s), key, ret, err));
}

static int trace_extend(struct store *s, const char *key, int64_t until_ns, struct err *err)
{
	int64_t start = clock_boot_ns();

	return report(s, "extend", key, 0, start, op_extend(filter_below(s), key, until_ns, err));
}

static int trace_clock(struct store *s, int64_t *ret_ns, struct err *err)
{
	int64_t start = clock_boot_ns();

	return report(s, "clock", "", 0, start, op_clock(filter_below(s), ret_ns, err));
}

static int trace_attack(struct store *s, enum store_attack what, const char *key, struct err *err)
{
	int64_t start = clock_boot_ns();

	return report(s, "attack", key, 0, start, op_attack(filter_below(s), what, key, err));
}

static const struct store_ops changes = {
        .scheme = "trace",
        .put = trace_put,
        .get = trace_get,
        .stat = trace_stat,
        .list = trace_list,
        .remove = trace_remove,
        .sync = trace_sync,
        .get_older = trace_get_older,
        .digest = trace_digest,
        .lock = trace_lock,
        .extend = trace_extend,
        .clock = trace_clock,
        .attack = trace_attack,
};

struct store *store_trace_new(struct store *below, void (*fn)(void *arg, const char *line), void *arg)
{
	struct trace_store *t = xcalloc(1, sizeof *t);

	filter_init(&t->f, &changes, below);
	t->fn = fn;
	t->arg = arg;
	return &t->f.base;
}
