/*
 * What all filters are made of: a store that owns the store below it and names only the operations it changes; the others
 * are handed on as they are. Nobody outside this module includes this.
 *
 *   struct thing_store { struct filter f; ... };
 *   static const struct store_ops changes = {.scheme = "thing", .put = thing_put};
 *   filter_init(&t->f, &changes, below);
 *
 * Below `free` may be left out too when there is nothing but the filter itself to let go of.
 */
#ifndef STORE_FILTER_H
#define STORE_FILTER_H

#include "store/store.h"

struct filter {
	struct store base; /* first: a struct store * is a struct filter * */
	struct store *below;
	struct store_ops ops; /* base.ops: what is changed, and the rest handed on */
};

/*
 * Takes over below. Capabilities are those below but for STORE_LOCAL (files read directly would pass the filter by) and
 * STORE_PACED; `trouble` is handed on.
 */
void filter_init(struct filter *f, const struct store_ops *changes, struct store *below);
/* Frees what is below and what the filter holds, not f itself. */
void filter_release(struct filter *f);

static inline struct store *filter_below(struct store *s)
{
	return ((struct filter *)s)->below;
}

/* Operations that not every store has, without checks of the key: ERR_UNSUPPORTED says what it lacks. */
int op_get_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err);
int op_digest(struct store *s, const char *key, unsigned char ret[32], struct err *err);
int op_lock(struct store *s, const char *key, struct store_lock *ret, struct err *err);
int op_extend(struct store *s, const char *key, int64_t until_ns, struct err *err);
int op_clock(struct store *s, int64_t *ret_ns, struct err *err);
int op_attack(struct store *s, enum store_attack what, const char *key, struct err *err);

#endif
