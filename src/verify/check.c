/* The phases of a check, and what it tells. */
#include "verify/check_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "store/site_object.h"

#define FINDINGS_MAX 1000
#define BAD_MAX 100000

void check_result_release(struct check_result *r)
{
	json_decref(r->findings);
	pack_list_release(&r->lost);
	for (size_t i = 0; i < r->n_bad; i++)
		free(r->bad[i].key);
	free(r->bad);
	*r = (struct check_result){0};
}

bool check_is_damage(enum err_code code)
{
	return site_object_is_damage(code) && code != ERR_UNSUPPORTED;
}

int check_cancelled(const struct check_opts *o, struct err *err)
{
	return o->cancel && atomic_load(o->cancel) ? err_set(err, ERR_CANCELLED, "cancelled") : 0;
}

static const char *count(struct check_result *r, enum finding_kind kind)
{
	switch (kind) {
	case FIND_MISSING:
		r->missing++;
		return "missing";
	case FIND_CORRUPT:
		r->corrupt++;
		return "corrupt";
	case FIND_FORK:
		r->forks++;
		return "fork";
	case FIND_BEHIND:
		r->behind++;
		return "behind";
	case FIND_MENDED:
		r->mended++;
		return "mended";
	case FIND_BROKEN:
		break;
	}
	return "broken";
}

void check_find(struct check *c, enum finding_kind kind, const char *object, const uint64_t *seq, size_t n,
        const char *fmt, ...)
{
	const char *name = count(c->ret, kind);
	char what[512];
	va_list ap;

	if (json_array_size(c->ret->findings) >= FINDINGS_MAX) {
		c->unlisted++;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	json_t *o = json_object(), *needs = json_array();

	json_object_set_new(o, "kind", json_string(name));
	json_set_path(o, "object", object, strlen(object));
	json_set_path(o, "what", what, strlen(what));
	for (size_t i = 0; i < n; i++)
		json_array_append_new(needs, json_integer((json_int_t)seq[i]));
	json_object_set_new(o, "snapshots", needs);
	json_array_append_new(c->ret->findings, o);
}

/* Has a log signed that nothing depends on it any more? */
static bool is_mended(const struct check *c, const char *key)
{
	char mark[STORE_KEY_MAX + 1];
	struct mended_of of = {c->cfg, key};
	struct err why = ERR_INIT;

	key_mended(mark, key);
	for (size_t i = 0; i < c->marks.n; i++)
		if (!strcmp(c->marks.key[i], mark))
			return !site_object_get(c->st, mark, SIGNED_MAX, mended_accept, &of, &why);
	return false;
}

void check_find_object(struct check *c, enum finding_kind kind, const char *key, const uint64_t *seq, size_t n, const char *what)
{
	if (is_mended(c, key)) {
		check_find(c, FIND_MENDED, key, seq, n, "%s; nothing depends on it any more", what);
		return;
	}
	check_find(c, kind, key, seq, n, "%s", what);
	if (c->ret->n_bad >= BAD_MAX)
		return;
	c->ret->bad = xgrow(c->ret->bad, c->ret->n_bad, &c->ret->cap_bad, sizeof *c->ret->bad);
	c->ret->bad[c->ret->n_bad++] = (struct site_damage){xstrdup(key), kind == FIND_MISSING};
}

static int snap_cmp(const void *pa, const void *pb)
{
	const struct attempt_info *a = ((const struct check_snap *)pa)->a, *b = ((const struct check_snap *)pb)->a;
	int order = strcmp(a->snap.lineage, b->snap.lineage);

	if (a->snap.seq != b->snap.seq)
		return a->snap.seq < b->snap.seq ? -1 : 1;
	if (!order)
		order = memcmp(a->snapshot_digest, b->snapshot_digest, ID_LEN);
	return order ? order : strcmp(a->attempt, b->attempt);
}

/* What lives: also called again after the packs were read, when something may have expired meanwhile. */
static void take_live(struct check *c)
{
	free(c->snap);
	c->snap = xcalloc(c->all.n + 1, sizeof *c->snap);
	c->n_snaps = 0;
	c->ret->snapshots = 0;
	for (size_t i = 0; i < c->all.n; i++)
		if (c->all.a[i].committed && !c->all.a[i].expired)
			c->snap[c->n_snaps++].a = &c->all.a[i];
	if (c->n_snaps)
		qsort(c->snap, c->n_snaps, sizeof *c->snap, snap_cmp);
	for (size_t i = 0; i < c->n_snaps; i++) {
		bool same = i && !memcmp(c->snap[i].a->snapshot_digest, c->snap[i - 1].a->snapshot_digest, ID_LEN);

		c->snap[i].leader = same ? c->snap[i - 1].leader : i;
		c->ret->snapshots += !same;
	}
}

int check_begin(struct check *c, const struct check_ops *ops, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	size_t bad;
	int rc;

	*c->ret = (struct check_result){.findings = json_array()};
	/* Attempts first: what is committed by now had all of its packs in place before they are listed. Copies before them: a fate comes
	 * before its copy, so one that came meanwhile is not held to be without. */
	if ((rc = store_list_all(c->st, "b/", &c->marks, err)) ||
	        (rc = store_list_all(c->st, key_fmt(prefix, "s/%s/", c->source), &c->copies, err)) ||
	        (rc = attempts_load(c->st, c->cfg, c->source, &c->all, &bad, err)) || (rc = check_list_packs(c, err)) ||
	        (ops->prepare && (rc = ops->prepare(ops->arg, err))) || (rc = check_run_packs(c, ops, err)) ||
	        (rc = check_expiries(c, err)))
		return rc;
	take_live(c);
	rc = check_pack_lists(c, err);
	if (!rc)
		rc = check_objects(c, err);
	return rc ? rc : check_envelopes(c, err);
}

void check_end(struct check *c)
{
	for (size_t i = 0; i < c->n_snaps; i++)
		c->ret->snapshots_broken += c->snap[i].leader == i && c->snap[i].broken;
	if (c->unlisted) {
		json_t *o = json_object();

		json_object_set_new(o, "kind", json_string("more"));
		json_object_set_new(o, "count", json_integer((json_int_t)c->unlisted));
		json_array_append_new(c->ret->findings, o);
	}
	for (size_t i = 0; i < c->n_packs; i++)
		free(c->pack[i].why);
	attempts_release(&c->all);
	store_keys_release(&c->marks);
	store_keys_release(&c->copies);
	pack_list_sort(&c->ret->lost);
	for (size_t i = 0; i < c->n_sessions; i++)
		free(c->session[i].env);
	free(c->session);
	pthread_mutex_destroy(&c->mutex);
	idmap_release(&c->by_sid);
	idmap_release(&c->by_digest);
	idmap_release(&c->explained);
	idmap_release(&c->pack_no);
	idmap_release(&c->need_no);
	free(c->pack);
	free(c->snap);
	free(c->need);
}
