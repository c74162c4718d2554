#include "repo/pack_lists.h"

#include <string.h>
#include "base/str.h"
#include "store/site_object.h"

enum { KEPT = 4, DEPTH_MAX = 64 };

struct pack_lists {
	struct store *st;
	char source[SOURCE_MAX + 1];
	struct listed kept[KEPT];
	uint64_t tick;
};

struct pack_lists *pack_lists_new(struct store *st, const char *source)
{
	struct pack_lists *l = xcalloc(1, sizeof *l);

	l->st = st;
	str_copy(l->source, sizeof l->source, source);
	return l;
}

static void listed_clear(struct listed *e)
{
	pack_list_release(&e->list);
	buf_release(&e->snapshot);
	*e = (struct listed){0};
}

void pack_lists_free(struct pack_lists *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < KEPT; i++)
		listed_clear(&l->kept[i]);
	free(l);
}

static struct listed *find(struct pack_lists *l, const char *attempt)
{
	for (size_t i = 0; i < KEPT; i++)
		if (l->kept[i].used && str_eq(l->kept[i].attempt, attempt)) {
			l->kept[i].used = ++l->tick;
			return &l->kept[i];
		}
	return NULL;
}

/* The place used longest ago, emptied. */
static struct listed *fresh(struct pack_lists *l, const char *attempt)
{
	struct listed *e = &l->kept[0];

	for (size_t i = 1; i < KEPT; i++)
		if (l->kept[i].used < e->used)
			e = &l->kept[i];
	listed_clear(e);
	memcpy(e->attempt, attempt, NAME16);
	e->used = ++l->tick;
	return e;
}

/* What a relative list changes: kept, or walked to once. */
static int base_of(struct pack_lists *l, const struct fate *f, const struct listed **ret, struct err *err)
{
	struct listed *e = find(l, f->base);
	int rc;

	*ret = e;
	if (e)
		return 0;
	e = fresh(l, f->base);
	rc = attempt_packs(l->st, l->source, f->base, &e->list, &e->depth, err);
	if (rc)
		listed_clear(e);
	*ret = e;
	return rc;
}

static int resolve(
        struct pack_lists *l, const char *attempt, struct fate *f, const struct listed **ret, struct err *err)
{
	const struct listed *base = NULL;
	struct pack_list full = {0};
	int rc = f->base[0] ? base_of(l, f, &base, err) : 0;

	if (rc)
		return rc;
	if (base && base->depth >= DEPTH_MAX)
		return err_set(err, ERR_FORMAT, "more than %d relative pack lists in a row", DEPTH_MAX);
	unsigned depth = base ? base->depth + 1 : 0;

	rc = fate_resolve(f, base ? &base->list : NULL, &full, err);
	if (rc)
		return rc;
	struct listed *e = fresh(l, attempt);

	e->list = full;
	e->depth = depth;
	e->snapshot = f->snapshot;
	f->snapshot = (struct buf){0};
	*ret = e;
	return 0;
}

static int load(struct pack_lists *l, const char *attempt, const struct listed **ret, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	CLEAN(fate_release) struct fate f = {0};
	int rc = site_object_get(l->st, key_attempt(key, l->source, attempt, "fate"), FATE_MAX, fate_accept, &f, err);

	if (!rc && !f.committed)
		rc = err_set(err, ERR_CORRUPT, "a dead attempt has no pack list");
	if (!rc)
		rc = resolve(l, attempt, &f, ret, err);
	return rc ? err_wrap(err, "%s", key) : 0;
}

int pack_lists_get(struct pack_lists *l, const char *attempt, const unsigned char want[ID_LEN],
        const struct listed **ret, struct err *err)
{
	unsigned char have[ID_LEN];
	const struct listed *e = find(l, attempt);
	int rc = e && e->snapshot.len ? 0 : load(l, attempt, &e, err); /* one kept as a base has no snapshot */

	if (rc)
		return rc;
	pack_list_digest(&e->list, have);
	if (memcmp(have, want, ID_LEN) != 0)
		return err_set(err, ERR_CORRUPT, "attempt %s: pack list is not the one its snapshot signed", attempt);
	*ret = e;
	return 0;
}
