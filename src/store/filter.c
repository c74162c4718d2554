#include "store/filter.h"

#include <stdlib.h>
#include "base/mem.h"

/* --- operations that not every store has --- */

int op_get_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err)
{
	if (!s->ops->get_older)
		return err_set(err, ERR_UNSUPPORTED, "it keeps no versions of objects");
	return s->ops->get_older(s, key, n, sink, err);
}

int op_digest(struct store *s, const char *key, unsigned char ret[32], struct err *err)
{
	if (!s->ops->digest)
		return err_set(err, ERR_UNSUPPORTED, "it cannot compute digests");
	return s->ops->digest(s, key, ret, err);
}

int op_lock(struct store *s, const char *key, struct store_lock *ret, struct err *err)
{
	if (!s->ops->lock)
		return err_set(err, ERR_UNSUPPORTED, "it has no locks");
	return s->ops->lock(s, key, ret, err);
}

int op_extend(struct store *s, const char *key, int64_t until_ns, struct err *err)
{
	if (!s->ops->extend)
		return err_set(err, ERR_UNSUPPORTED, "it has no locks");
	return s->ops->extend(s, key, until_ns, err);
}

int op_clock(struct store *s, int64_t *ret_ns, struct err *err)
{
	if (!s->ops->clock)
		return err_set(err, ERR_UNSUPPORTED, "it does not tell its time");
	return s->ops->clock(s, ret_ns, err);
}

int op_attack(struct store *s, enum store_attack what, const char *key, struct err *err)
{
	if (!s->ops->attack)
		return err_set(err, ERR_UNSUPPORTED, "there is nothing to try");
	return s->ops->attack(s, what, key, err);
}

/* --- handed on --- */

static int pass_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	struct store *below = filter_below(s);

	return below->ops->put(below, key, src, err);
}

static int pass_get(struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err)
{
	struct store *below = filter_below(s);

	return below->ops->get(below, key, range, sink, err);
}

static int pass_stat(struct store *s, const char *key, struct store_stat *ret, struct err *err)
{
	struct store *below = filter_below(s);

	return below->ops->stat(below, key, ret, err);
}

static int pass_list(
        struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err)
{
	struct store *below = filter_below(s);

	return below->ops->list(below, prefix, after, fn, arg, err);
}

static int pass_remove(struct store *s, const char *key, struct err *err)
{
	struct store *below = filter_below(s);

	return below->ops->remove(below, key, err);
}

static int pass_sync(struct store *s, struct err *err)
{
	struct store *below = filter_below(s);

	return below->ops->sync(below, err);
}

static void pass_free(struct store *s)
{
	filter_release((struct filter *)s);
	free(s);
}

static int pass_get_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err)
{
	return op_get_older(filter_below(s), key, n, sink, err);
}

static int pass_digest(struct store *s, const char *key, unsigned char ret[32], struct err *err)
{
	return op_digest(filter_below(s), key, ret, err);
}

static int pass_lock(struct store *s, const char *key, struct store_lock *ret, struct err *err)
{
	return op_lock(filter_below(s), key, ret, err);
}

static int pass_extend(struct store *s, const char *key, int64_t until_ns, struct err *err)
{
	return op_extend(filter_below(s), key, until_ns, err);
}

static int pass_clock(struct store *s, int64_t *ret_ns, struct err *err)
{
	return op_clock(filter_below(s), ret_ns, err);
}

static int pass_attack(struct store *s, enum store_attack what, const char *key, struct err *err)
{
	return op_attack(filter_below(s), what, key, err);
}

static int pass_cosign(struct store *s, const void *p, size_t n, struct buf *ret, struct err *err)
{
	struct store *below = filter_below(s);

	if (!below->ops->cosign)
		return err_set(err, ERR_UNSUPPORTED, "there is no witness");
	return below->ops->cosign(below, p, n, ret, err);
}

#define CHANGED_OR_PASSED(op) .op = changes->op ? changes->op : pass_##op

void filter_init(struct filter *f, const struct store_ops *changes, struct store *below)
{
	f->ops = (struct store_ops){
	        .scheme = changes->scheme,
	        CHANGED_OR_PASSED(put),
	        CHANGED_OR_PASSED(get),
	        CHANGED_OR_PASSED(stat),
	        CHANGED_OR_PASSED(list),
	        CHANGED_OR_PASSED(remove),
	        CHANGED_OR_PASSED(sync),
	        CHANGED_OR_PASSED(free),
	        CHANGED_OR_PASSED(get_older),
	        CHANGED_OR_PASSED(digest),
	        CHANGED_OR_PASSED(lock),
	        CHANGED_OR_PASSED(extend),
	        CHANGED_OR_PASSED(clock),
	        CHANGED_OR_PASSED(attack),
	        CHANGED_OR_PASSED(cosign),
	};
	f->base = (struct store){
	        .ops = &f->ops,
	        .caps = below->caps & ~(uint32_t)(STORE_LOCAL | STORE_PACED),
	        .name = xstrdup(below->name),
	        .trouble = below->trouble,
	};
	f->below = below;
}

void filter_release(struct filter *f)
{
	store_free(f->below);
	free(f->base.name);
}
