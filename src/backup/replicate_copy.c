/* Objects that are copied as they are: records are held to their signatures, index objects to their digests. */
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "store/site_object.h"
#include "backup/replicate_internal.h"

bool bring_has_key(const struct store_keys *k, const char *key)
{
	size_t lo = 0, hi = k->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int order = strcmp(k->key[mid], key);

		if (!order)
			return true;
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

static int copy_object(struct bring *b, const char *key, struct err *err)
{
	CLEAN(buf_release) struct buf o = BUF_INIT(SIGNED_MAX);
	int rc = store_get(b->from, key, &o, err);

	return rc ? rc : store_put_same(b->to, key, o.p, o.len, err);
}

/* Keys below a prefix that from has and to has not, each handed to fn. */
int bring_each_lacking(struct bring *b, const char *prefix,
        int (*fn)(struct bring *b, const char *key, const char *rest, struct err *err), struct err *err)
{
	CLEAN(store_keys_release) struct store_keys theirs = {0};
	CLEAN(store_keys_release) struct store_keys ours = {0};
	int rc = store_list_all(b->from, prefix, &theirs, err);

	if (!rc)
		rc = store_list_all(b->to, prefix, &ours, err);
	for (size_t i = 0; i < theirs.n && !rc; i++)
		if (!bring_has_key(&ours, theirs.key[i]))
			rc = fn(b, theirs.key[i], theirs.key[i] + strlen(prefix), err);
	return rc;
}

static int counted(struct bring *b, enum replicate_put kind, int rc)
{
	b->ret->put[kind] += !rc;
	return rc;
}

static int copy_keys(struct bring *b, const char *key, const char *rest, struct err *err)
{
	(void)rest;
	return counted(b, PUT_KEYS, copy_object(b, key, err));
}

static int copy_envelope(struct bring *b, const char *key, const char *rest, struct err *err)
{
	(void)rest;
	return counted(b, PUT_ENVELOPES, copy_object(b, key, err));
}

/* A configuration as it is signed; who may have signed it the caller has verified. */
struct cfg_text {
	const struct cfg *cfg;
	struct buf bytes;
};

static int accept_cfg(void *arg, const void *p, size_t n, struct err *err)
{
	struct cfg_text *t = arg;
	CLEAN(json_release) json_t *j = NULL;
	int rc = signed_read("cfg", p, n, t->cfg->repo, NULL, 0, &j, NULL, err);

	buf_clear(&t->bytes);
	return rc ? rc : buf_put(&t->bytes, p, n, err);
}

/* Missing: under its own name. Damaged: beside it. */
static int put_cfg(struct bring *b, const char *key, const struct buf *good, struct err *err)
{
	struct cfg_text there = {b->cfg, BUF_INIT(SIGNED_MAX)};
	struct err why = ERR_INIT;
	int rc = site_object_get(b->to, key, SIGNED_MAX, accept_cfg, &there, &why);

	buf_release(&there.bytes);
	if (!rc)
		return 0;
	if (rc == -ERR_MISSING)
		return counted(b, PUT_CFG, store_put_same(b->to, key, good->p, good->len, err));
	if (site_object_is_damage(why.code))
		return counted(b, PUT_CFG, site_object_put_beside(b->to, key, good->p, good->len, err));
	*err = why;
	return rc;
}

/* Up to the configuration that the caller verified: what comes after it is nobody's word yet. In order, for a reader
 * climbs them. */
int bring_copy_cfgs(struct bring *b, struct err *err)
{
	char key[STORE_KEY_MAX + 1];

	for (uint64_t n = 0; n <= b->cfg->n; n++) {
		struct cfg_text good = {b->cfg, BUF_INIT(SIGNED_MAX)};
		int rc = site_object_get(b->from, key_fmt(key, "cfg/%llu", (unsigned long long)n), SIGNED_MAX, accept_cfg, &good, err);

		if (!rc)
			rc = put_cfg(b, key, &good.bytes, err);
		buf_release(&good.bytes);
		if (rc)
			return err_wrap(err, "%s", key);
	}
	return 0;
}

/* A delta keeps its bytes and gets their digest as its name: names of attempts are for those who made them. */
static int copy_index_object(struct bring *b, const char *key, const char *rest, struct err *err)
{
	static const char magic[] = "HFSEAL1\n";
	CLEAN(buf_release) struct buf o = BUF_INIT(INDEX_MAX);
	unsigned char digest[ID_LEN];
	char to[STORE_KEY_MAX + 1], hex[HEX_LEN];
	struct err why = ERR_INIT;
	int rc = store_get(b->from, key, &o, &why);

	if (rc && rc != -ERR_MISSING) {
		*err = why;
		return rc;
	}
	if (rc) /* merged and collected meanwhile */
		return 0;
	sha256_of(o.p, o.len, digest);
	hex_encode(hex, digest, ID_LEN);
	/* the index is a hint: a bad part of it must not stop what counts */
	if (o.len < sizeof magic - 1 || memcmp(o.p, magic, sizeof magic - 1) ||
	        (str_starts(rest, "m.") && !str_eq(rest + 2, hex))) {
		log_msg(LOG_WARN, "site %s: %s is damaged and not copied", b->from->name, key);
		return 0;
	}
	struct store_stat st;

	rc = store_stat(b->to, key_fmt(to, "i/%s/m.%s", b->source, hex), &st, err);
	if (rc != -ERR_MISSING)
		return rc;
	rc = store_put_same(b->to, to, o.p, o.len, err);
	b->ret->index_objects += !rc;
	return rc;
}

static int left_where_it_is(const struct bring *b, const char *key, const struct err *why)
{
	log_msg(LOG_WARN, "site %s: %s: %s; not copied", b->from->name, key, why->msg);
	return 0;
}

static const struct attempt_info *find_attempt(const struct attempts *a, const char *name)
{
	for (size_t i = 0; i < a->n; i++)
		if (str_eq(a->a[i].attempt, name))
			return &a->a[i];
	return NULL;
}

/* It explains why a snapshot is not here. What is here under that name is for this site's own expiry to end. */
static int copy_expiry(struct bring *b, const char *key, const char *rest, struct err *err)
{
	const struct attempt_info *a = find_attempt(&b->ours, rest);
	CLEAN(buf_release) struct buf o = BUF_INIT(SIGNED_MAX);
	struct err why = ERR_INIT;
	struct expiry x;
	int rc = strchr(rest, '.') || (a && a->committed) ? 1 : store_get(b->from, key, &o, err);

	if (rc)
		return MIN(rc, 0);
	if (expiry_read(b->cfg, b->source, rest, o.p, o.len, &x, &why))
		return left_where_it_is(b, key, &why);
	return counted(b, PUT_EXPIRIES, store_put_same(b->to, key, o.p, o.len, err));
}

/* One that a log signed; one that none did stays where it is. */
static int copy_receipt(struct bring *b, const char *key, const char *rest, struct err *err)
{
	CLEAN(buf_release) struct buf o = BUF_INIT(SIGNED_MAX);
	CLEAN(json_release) json_t *j = NULL;
	struct err why = ERR_INIT;
	int rc = store_get(b->from, key, &o, err);

	(void)rest;
	if (rc)
		return rc;
	if (log_text_read(b->cfg, "receipt", o.p, o.len, &j, &why))
		return left_where_it_is(b, key, &why);
	return counted(b, PUT_RECEIPTS, store_put_same(b->to, key, o.p, o.len, err));
}

int bring_copy_snapshot(struct bring *b, const struct snapshot *s, const struct buf *object, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	struct err why = ERR_INIT;
	int rc = store_put_same(b->to, key_snapshot(key, 's', b->source, s->lineage, s->seq), object->p, object->len, &why);

	/* taken by the other side of a fork, which is told at the end, or damaged, which a check tells */
	if (rc == -ERR_EXISTS)
		return 0;
	if (rc)
		*err = why;
	return rc;
}

static bool was_here(const struct bring *b, const unsigned char digest[ID_LEN])
{
	for (size_t i = 0; i < b->ours.n; i++)
		if (b->ours.a[i].committed && !memcmp(b->ours.a[i].snapshot_digest, digest, ID_LEN))
			return true;
	return false;
}

/* s/ of every snapshot that both had: of one whose copy an interrupted run left out. */
static int copy_snapshots(struct bring *b, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys s = {0};
	int rc = store_list_all(b->to, key_fmt(key, "s/%s/", b->source), &s, err);

	for (size_t i = 0; i < b->theirs.n && !rc; i++) {
		const struct attempt_info *a = &b->theirs.a[i];
		const struct listed *l;
		struct err why = ERR_INIT;

		if (!a->committed || a->expired || !was_here(b, a->snapshot_digest) ||
		        bring_has_key(&s, key_snapshot(key, 's', b->source, a->snap.lineage, a->snap.seq)))
			continue;
		rc = pack_lists_get(b->lists, a->attempt, a->snap.packs, &l, &why);
		if (rc && site_object_is_damage(why.code)) {
			log_msg(LOG_WARN, "site %s: %s", b->from->name, why.msg);
			rc = 0;
			continue;
		}
		if (rc) {
			*err = why;
			break;
		}
		rc = counted(b, PUT_COPIES, bring_copy_snapshot(b, &a->snap, &l->snapshot, err));
	}
	return rc;
}

int bring_copy_needed(struct bring *b, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	int rc;

	if (b->copied)
		return 0;
	if ((rc = bring_copy_cfgs(b, err)) ||
	        (rc = bring_each_lacking(b, key_fmt(prefix, "k/%s/", b->source), copy_keys, err)) ||
	        (rc = bring_each_lacking(b, key_fmt(prefix, "e/%s/", b->source), copy_envelope, err)) ||
	        (rc = bring_each_lacking(b, key_fmt(prefix, "i/%s/", b->source), copy_index_object, err)))
		return rc;
	b->copied = true;
	return 0;
}

int bring_copy_rest(struct bring *b, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	int rc = copy_snapshots(b, err);

	if (!rc)
		rc = bring_each_lacking(b, key_fmt(prefix, "r/%s/", b->source), copy_receipt, err);
	return rc ? rc : bring_each_lacking(b, key_fmt(prefix, "x/%s/", b->source), copy_expiry, err);
}
