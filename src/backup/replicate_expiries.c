/*
 * Expiries in a repair. A damaged one gets the right one beside it. A missing one is put again only where it explains packs that are whole
 * nowhere: what a site still has whole is not made to expire by a repair.
 */
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "backup/replicate_internal.h"
#include "store/site_object.h"

static int read_at(struct store *st, const char *key, struct expiry_of *of, struct err *err)
{
	int rc = site_object_get(st, key, SIGNED_MAX, expiry_accept, of, err);

	return rc && site_object_is_damage(err->code) ? 1 : rc;
}

/* 0: it is put; 1: no other site has it. */
static int put_from_others(const struct repair_opts *o, const char *key, struct expiry_of *of, struct err *err)
{
	int rc = 1;

	for (size_t i = 0; i < o->n_from && rc; i++) {
		struct err why = ERR_INIT;

		rc = read_at(o->from[i], key, of, &why);
		if (rc < 0)
			log_msg(LOG_WARN, "site %s: %s", o->from[i]->name, why.msg);
	}
	return rc ? 1 : site_object_put_again(o->to, key, of->bytes.p, of->bytes.len, err);
}

static int mend_one(const struct repair_opts *o, struct replicate_result *ret, const char *key, struct err *err)
{
	struct expiry_of of = {.cfg = o->cfg, .source = o->source, .attempt = strrchr(key, '/') + 1, .bytes = BUF_INIT(SIGNED_MAX)};
	int rc = put_from_others(o, key, &of, err);

	buf_release(&of.bytes);
	ret->put[PUT_EXPIRIES] += !rc;
	return rc == 1 ? err_set(err, ERR_CORRUPT, "no other site has %s whole: its attempt does not count as expired there", key) : rc;
}

int repair_expiries(const struct repair_opts *o, struct replicate_result *ret, struct err *err)
{
	struct err why = ERR_INIT;
	int rc = 0;

	for (size_t i = 0; i < o->n_bad && rc != -ERR_UNREACHABLE; i++)
		if (str_starts(o->bad[i].key, "x/") && mend_one(o, ret, o->bad[i].key, &why)) {
			rc = err_rc(&why);
			*err = why; /* the others all the same */
		}
	return rc;
}

/* --- packs that are whole nowhere --- */

static bool holds_any(const struct pack_list *l, const struct pack_list *of)
{
	for (size_t i = 0; i < of->n; i++)
		if (pack_list_has(l, of->digest[i]))
			return true;
	return false;
}

/* Live attempts at `to` that need one of these packs, each handed to fn; *ret_n: how many are left. */
static int each_needing(const struct repair_opts *o, const struct pack_list *lost, int (*fn)(void *arg, const struct attempt_info *a, struct err *err), void *arg, size_t *ret_n, struct err *err)
{
	CLEAN(attempts_release) struct attempts all = {0};
	struct pack_lists *lists = pack_lists_new(o->to, o->source);
	size_t bad;
	int rc = attempts_load(o->to, o->cfg, o->source, &all, &bad, err);

	*ret_n = 0;
	for (size_t i = 0; i < all.n && !rc; i++) {
		const struct listed *l;
		struct err why = ERR_INIT;

		if (!all.a[i].committed || all.a[i].expired || pack_lists_get(lists, all.a[i].attempt, all.a[i].snap.packs, &l, &why) || !holds_any(&l->list, lost))
			continue;
		++*ret_n;
		rc = fn ? fn(arg, &all.a[i], err) : 0;
	}
	pack_lists_free(lists);
	return rc;
}

struct expiring {
	const struct repair_opts *o;
	struct replicate_result *ret;
};

static int expire(void *arg, const struct attempt_info *a, struct err *err)
{
	struct expiring *e = arg;
	char key[STORE_KEY_MAX + 1];
	struct expiry_of of = {.cfg = e->o->cfg, .source = e->o->source, .attempt = a->attempt, .bytes = BUF_INIT(SIGNED_MAX)};
	int rc = 1;

	key_fmt(key, "x/%s/%s", e->o->source, a->attempt);
	for (size_t i = 0; i < e->o->n_from && rc; i++) {
		struct err why = ERR_INIT;

		rc = read_at(e->o->from[i], key, &of, &why);
		if (!rc && (!of.x.has_snapshot || memcmp(of.x.snapshot, a->snapshot_digest, ID_LEN) != 0))
			rc = 1;
	}
	if (!rc) {
		rc = store_put_same(e->o->to, key, of.bytes.p, of.bytes.len, err);
		e->ret->put[PUT_EXPIRIES] += !rc;
	}
	buf_release(&of.bytes);
	return MIN(rc, 0);
}

int repair_expire_lost(const struct repair_opts *o, struct replicate_result *ret, const struct pack_list *lost, bool *ret_explained, struct err *err)
{
	struct expiring e = {o, ret};
	size_t n;
	int rc = each_needing(o, lost, expire, &e, &n, err);

	if (!rc)
		rc = each_needing(o, lost, NULL, NULL, &n, err);
	*ret_explained = !rc && !n;
	return rc;
}
