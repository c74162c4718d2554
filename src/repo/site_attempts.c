/* What a site has: configuration, attempts and their fates. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "repo/fields.h"
#include "repo/site.h"
#include "store/site_object.h"

#define CHAIN_MAX 64

void attempts_release(struct attempts *a)
{
	for (size_t i = 0; i < a->n; i++)
		snapshot_release(&a->a[i].snap);
	free(a->a);
	*a = (struct attempts){0};
}

static struct attempt_info *attempts_get(struct attempts *a, size_t *cap, const char *name)
{
	/* keys come sorted: it is the last one or a new one */
	if (a->n && str_eq(a->a[a->n - 1].attempt, name))
		return &a->a[a->n - 1];
	a->a = xgrow(a->a, a->n, cap, sizeof *a->a);
	struct attempt_info *i = &a->a[a->n++];
	*i = (struct attempt_info){0};
	memcpy(i->attempt, name, NAME16);
	return i;
}

static int take_fate(const struct cfg *cfg, const char *source, const char *key, const void *p, size_t n, struct attempt_info *i, struct err *err)
{
	CLEAN(fate_release) struct fate f = {0};
	int rc = fate_decode(p, n, &f, err);
	if (rc)
		return err_wrap(err, "%s", key);
	i->decided = true;
	if (!f.committed)
		return 0;
	if ((rc = snapshot_decode(cfg, f.snapshot.p, f.snapshot.len, &i->snap, err)))
		return err_wrap(err, "%s", key);
	if (!str_eq(i->snap.source, source))
		return err_set(err, ERR_CORRUPT, "%s: holds a snapshot of source '%s'", key, i->snap.source);
	memcpy(i->snapshot_digest, i->snap.digest, ID_LEN);
	i->committed = true;
	return 0;
}

int log_text_read(const struct cfg *cfg, const char *type, const void *p, size_t n, json_t **ret, struct err *err)
{
	CLEAN(free_ptr) unsigned char(*logs)[ED25519_PUB_LEN] = NULL;
	size_t n_logs = cfg_log_keys(cfg, &logs);
	if (!n_logs)
		return err_set(err, ERR_CORRUPT, "the configuration names no log that may sign it");
	return signed_read(type, p, n, cfg->repo, (const unsigned char(*)[ED25519_PUB_LEN])logs, n_logs, ret, NULL, err);
}

int expiry_read(const struct cfg *cfg, const char *source, const char *attempt, const void *p, size_t n, struct expiry *ret, struct err *err)
{
	CLEAN(json_release) json_t *o = NULL;
	char of_source[SOURCE_MAX + 1], of_attempt[NAME16];
	if (log_text_read(cfg, "expire", p, n, &o, err) || fields_id(o, "source", "expire", of_source, err) ||
	    fields_name16(o, "attempt", "expire", of_attempt, err) ||
	    fields_hex_or_null(o, "snapshot", "expire", &ret->has_snapshot, ret->snapshot, ID_LEN, err))
		return err_rc(err);
	if (!str_eq(of_source, source) || !str_eq(of_attempt, attempt))
		return err_set(err, ERR_CORRUPT, "is about attempt %s of source '%s'", of_attempt, of_source);
	return 0;
}

int expiry_accept(void *arg, const void *p, size_t n, struct err *err)
{
	struct expiry_of *of = arg;
	int rc = expiry_read(of->cfg, of->source, of->attempt, p, n, &of->x, err);
	buf_clear(&of->bytes);
	return rc ? rc : buf_put(&of->bytes, p, n, err);
}

static int load_expiry(struct store *st, const struct cfg *cfg, const char *source, const char *key, struct attempt_info *a, struct err *err)
{
	struct expiry_of of = {.cfg = cfg, .source = source, .attempt = a->attempt, .bytes = BUF_INIT(SIGNED_MAX)};
	int rc = site_object_get(st, key, SIGNED_MAX, expiry_accept, &of, err);
	buf_release(&of.bytes);
	a->expired |= !rc;
	return rc;
}

static int mark_expired(struct store *st, const struct cfg *cfg, const char *source, struct attempts *a, size_t *ret_bad, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys x = {0};
	int rc = store_list_all(st, key_fmt(prefix, "x/%s/", source), &x, err);
	if (rc)
		return rc;
	size_t skip = strlen(prefix);
	for (size_t k = 0, i = 0; k < x.n && i < a->n;) { /* both sorted */
		int c = strcmp(x.key[k] + skip, a->a[i].attempt);
		struct err why = ERR_INIT;
		if (!c && load_expiry(st, cfg, source, x.key[k], &a->a[i], &why)) {
			log_msg(LOG_WARN, "%s: %s: %s", st->name, x.key[k], why.msg);
			++*ret_bad;
		}
		if (c <= 0)
			k++;
		if (c >= 0)
			i++;
	}
	return 0;
}

struct fates {
	struct store *st;
	const struct cfg *cfg;
	const char *source;
	struct attempts *all;
	const char **key; /* of each fate, and the attempt it is of */
	size_t *of, n, bad;
};

struct one_of {
	struct fates *f;
	size_t i;
};

static int accept_fate(void *arg, const void *p, size_t n, struct err *err)
{
	struct one_of *o = arg;
	struct fates *f = o->f;
	struct attempt_info *a = &f->all->a[f->of[o->i]];
	a->decided = false; /* by an earlier candidate that was not whole */
	return take_fate(f->cfg, f->source, f->key[o->i], p, n, a, err);
}

static int one_fate(void *arg, size_t i, struct buf *b, const struct err *got, struct err *err)
{
	struct fates *f = arg;
	struct one_of o = {f, i};
	struct err why = *got, none = ERR_INIT;
	if (b && !accept_fate(&o, b->p, b->len, &why))
		return 0;
	if (site_object_is_damage(why.code) && !site_object_instead(f->st, f->key[i], !b, FATE_MAX, accept_fate, &o, &none))
		return 0;
	if (why.code != ERR_FORMAT && why.code != ERR_CORRUPT && why.code != ERR_MISSING) {
		*err = why;
		return err_rc(err);
	}
	log_msg(LOG_WARN, "%s: %s", f->st->name, why.msg);
	f->bad++;
	return 0;
}

static void fates_release(struct fates *f)
{
	free(f->key);
	free(f->of);
}

/* Attempts in order, and which of their keys are fates. */
static void sort_out(struct fates *f, const struct store_keys *k, size_t skip)
{
	size_t cap = 0;
	f->key = xcalloc(k->n + 1, sizeof *f->key);
	f->of = xcalloc(k->n + 1, sizeof *f->of);
	for (size_t n = 0; n < k->n; n++) {
		char name[NAME16] = "";
		const char *rest = k->key[n] + skip;
		if (strlen(rest) <= 17 || rest[16] != '/')
			continue;
		memcpy(name, rest, 16);
		if (!format_name16_ok(name))
			continue;
		attempts_get(f->all, &cap, name);
		if (!str_eq(rest + 17, "fate"))
			continue;
		f->key[f->n] = k->key[n];
		f->of[f->n++] = f->all->n - 1;
	}
}

int attempts_load(struct store *st, const struct cfg *cfg, const char *source, struct attempts *ret, size_t *ret_bad, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	*ret = (struct attempts){0};
	CLEAN(fates_release) struct fates f = {.st = st, .cfg = cfg, .source = source, .all = ret};
	CLEAN(store_keys_release) struct store_keys k = {0};
	int rc = store_list_all(st, key_fmt(prefix, "w/%s/", source), &k, err);
	if (rc)
		return rc;
	sort_out(&f, &k, strlen(prefix));
	rc = store_get_each(st, f.key, f.n, FATE_MAX, one_fate, &f, err);
	*ret_bad = f.bad;
	return rc ? rc : mark_expired(st, cfg, source, ret, ret_bad, err);
}

int fate_accept(void *fate, const void *p, size_t n, struct err *err)
{
	fate_release(fate); /* of an earlier candidate */
	return fate_decode(p, n, fate, err);
}

/* The fates from `attempt` back to a full list, newest first. */
static int fate_chain(struct store *st, const char *source, const char *attempt, struct fate chain[CHAIN_MAX + 1], unsigned *ret_n, struct err *err)
{
	char key[STORE_KEY_MAX + 1], name[NAME16];
	memcpy(name, attempt, NAME16);
	for (;;) {
		if (*ret_n > CHAIN_MAX)
			return err_set(err, ERR_FORMAT, "attempt %s: more than %d relative pack lists in a row", attempt, CHAIN_MAX);
		struct fate *f = &chain[*ret_n];
		int rc = site_object_get(st, key_attempt(key, source, name, "fate"), FATE_MAX, fate_accept, f, err);
		if (rc)
			return err_wrap(err, "%s", key);
		++*ret_n;
		if (!f->committed)
			return err_set(err, ERR_CORRUPT, "%s: a dead attempt has no pack list", key);
		if (!f->base[0])
			return 0;
		memcpy(name, f->base, NAME16);
	}
}

static int claimed_packs(const struct fate *f, unsigned char digest[ID_LEN], struct err *err)
{
	/* signature was or will be checked by whoever decodes the snapshot; here only the list's own digest is needed */
	const char *nl = memchr(f->snapshot.p, '\n', f->snapshot.len);
	const char *end = nl ? memchr(nl + 1, '\n', f->snapshot.len - (size_t)(nl + 1 - (const char *)f->snapshot.p)) : NULL;
	if (!end)
		return err_set(err, ERR_FORMAT, "fate holds no snapshot");
	CLEAN(json_release) json_t *o = NULL;
	int rc = json_parse(nl + 1, (size_t)(end - nl - 1), SIGNED_MAX, "snapshot", &o, err);
	return rc ? rc : json_get_hex(o, "packs", "snapshot", digest, ID_LEN, err);
}

int attempt_packs(struct store *st, const char *source, const char *attempt, struct pack_list *ret, unsigned *ret_depth, struct err *err)
{
	struct fate *chain = xcalloc(CHAIN_MAX + 1, sizeof *chain);
	unsigned n = 0;
	*ret = (struct pack_list){0};
	int rc = fate_chain(st, source, attempt, chain, &n, err);
	if (!rc) {
		*ret = chain[n - 1].list;
		chain[n - 1].list = (struct pack_list){0};
	}
	for (unsigned i = n; !rc && i-- > 1;) {
		struct pack_list next = {0};
		rc = fate_resolve(&chain[i - 1], ret, &next, err);
		pack_list_release(ret);
		*ret = next;
	}
	unsigned char want[ID_LEN], have[ID_LEN];
	if (!rc)
		rc = claimed_packs(&chain[0], want, err);
	if (!rc) {
		pack_list_digest(ret, have);
		if (memcmp(want, have, ID_LEN))
			rc = err_set(err, ERR_CORRUPT, "attempt %s: pack list is not the one its snapshot signed", attempt);
	}
	if (ret_depth)
		*ret_depth = n ? n - 1 : 0;
	for (unsigned i = 0; i <= CHAIN_MAX; i++)
		fate_release(&chain[i]);
	free(chain);
	if (rc)
		pack_list_release(ret);
	return rc;
}

/* One configuration of the chain. */
struct cfg_link {
	uint64_t n;
	const struct cfg *before; /* NULL for the first */
	const unsigned char (*root_pub)[ED25519_PUB_LEN];
	const unsigned char *repo;
	struct cfg *ret;
};

static int accept_cfg(void *arg, const void *p, size_t n, struct err *err)
{
	const struct cfg_link *l = arg;
	const struct cfg *b = l->before;
	int rc = cfg_decode(p, n, b ? b->repo : l->repo, b ? (const unsigned char(*)[ED25519_PUB_LEN])b->root : l->root_pub, b ? b->n_root : 1, l->ret, err);
	if (!rc && l->ret->n != l->n) {
		rc = err_set(err, ERR_CORRUPT, "claims to be configuration %llu", (unsigned long long)l->ret->n);
		cfg_release(l->ret);
	}
	return rc;
}

int cfg_load(struct store *st, const unsigned char root_pub[ED25519_PUB_LEN], const unsigned char *repo, struct cfg *ret, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	struct cfg cur = {0};
	for (uint64_t n = 0;; n++) {
		struct err why = ERR_INIT;
		struct cfg next = {0};
		struct cfg_link link = {.n = n, .before = n ? &cur : NULL, .root_pub = (const unsigned char(*)[ED25519_PUB_LEN])root_pub, .repo = repo, .ret = &next};
		int rc = site_object_get(st, key_fmt(key, "cfg/%llu", (unsigned long long)n), SIGNED_MAX, accept_cfg, &link, &why);
		if (rc == -ERR_MISSING && n) {
			*ret = cur;
			return 0;
		}
		cfg_release(&cur);
		if (rc == -ERR_MISSING) {
			err_set(err, ERR_MISSING, "%s: no repository here", st->name);
			return err_hint(err, "run 'holdfast init' with this plan");
		}
		if (rc) {
			if (err)
				*err = why;
			return err_wrap(err, "%s: %s", st->name, key);
		}
		cur = next;
	}
}
