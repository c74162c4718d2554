/* Intents, what may be reused, and the index of a run. */
#include "backup/session_internal.h"

#include <string.h>
#include "base/rng.h"
#include "base/str.h"

/* --- declaring, and what may be reused --- */

static int put_open(struct session *s, struct session_site *site, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	struct attempt_open o = {.time = s->o.now, .uses = xcalloc(s->own.n + 1, sizeof *o.uses)};
	str_copy(o.source, sizeof o.source, s->o.keys->source);
	memcpy(o.attempt, s->attempt, NAME16);
	memcpy(o.run, s->o.run, sizeof o.run);
	if (site->has_newest)
		memcpy(o.uses[o.n_uses++], site->newest, NAME16);
	for (size_t i = 0; i + 1 < s->own.n; i++) /* the last is the new one itself */
		memcpy(o.uses[o.n_uses++], s->own.name[i], NAME16);
	int rc = attempt_open_encode(&o, s->o.keys->repo, &s->o.keys->sign, &b, err);
	attempt_open_release(&o);
	return rc ? rc : store_put_bytes(site->store, key_attempt(key, s->o.keys->source, s->attempt, "open"), b.p, b.len, err);
}

static bool is_expired(const struct store_keys *x, const char *attempt)
{
	for (size_t i = 0; i < x->n; i++) {
		const char *slash = strrchr(x->key[i], '/');
		if (slash && str_eq(slash + 1, attempt))
			return true;
	}
	return false;
}

/*
 * Packs that an attempt of this host brought here whole: the pack, and the delta that describes it. Another site may have got the one
 * without the other, and a copy whose index does not know its packs is slow to restore from.
 */
static int brought(struct session *s, struct session_site *site, const char *attempt, struct pack_list *to, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	struct index *ix = index_new();
	int rc = index_load_attempt(site->store, s->o.keys->source, attempt, s->o.keys->repo, &s->o.keys->s.idx_key, ix, err);
	if (!rc)
		rc = store_list_all(site->store, key_fmt(prefix, "p/%s/%s/", s->o.keys->source, attempt), &k, err);
	for (size_t i = 0; !rc && i < k.n; i++) {
		unsigned char d[ID_LEN];
		if (hex_decode(d, ID_LEN, k.key[i] + strlen(prefix)) && index_pack_find(ix, d) != UINT32_MAX)
			pack_list_add(to, d);
	}
	index_free(ix);
	return rc;
}

/* What the site lets us reuse: its newest snapshot's packs and our dead attempts', but for what is expired. Asked after `open`. */
static int site_usable(struct session *s, size_t n, struct pack_list *ret, struct err *err)
{
	struct session_site *site = &s->o.site[n];
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys x = {0};
	int rc = store_list_all(site->store, key_fmt(prefix, "x/%s/", s->o.keys->source), &x, err);
	if (rc)
		return rc;
	if (site->has_newest && !is_expired(&x, site->newest))
		for (size_t i = 0; i < s->base[n].n; i++)
			pack_list_add(ret, s->base[n].digest[i]);
	for (size_t i = 0; !rc && i + 1 < s->own.n; i++)
		if (!is_expired(&x, s->own.name[i]))
			rc = brought(s, site, s->own.name[i], ret, err);
	pack_list_sort(ret);
	return rc;
}

static void intersect(struct pack_list *a, const struct pack_list *b)
{
	size_t n = 0;
	for (size_t i = 0; i < a->n; i++)
		if (pack_list_has(b, a->digest[i]))
			memmove(a->digest[n++], a->digest[i], ID_LEN);
	a->n = n;
}

static int declare(struct session *s, struct err *err)
{
	bool first = true;
	rng_hex(s->attempt, 8);
	if (!s->own.name)
		s->own.name = xcalloc(OWN_ATTEMPTS_MAX + 1, sizeof *s->own.name);
	if (s->own.n == OWN_ATTEMPTS_MAX) { /* forget the oldest: its packs are brought again where needed */
		memmove(s->own.name[0], s->own.name[1], (OWN_ATTEMPTS_MAX - 1) * sizeof *s->own.name);
		s->own.n--;
	}
	memcpy(s->own.name[s->own.n++], s->attempt, NAME16);
	int rc = s->o.dry_run ? 0 : own_attempts_save(s->dir, &s->own, err);
	for (size_t i = 0; !rc && i < s->o.n_sites; i++) {
		struct session_site *site = &s->o.site[i];
		CLEAN(pack_list_release) struct pack_list mine = {0};
		struct err why = ERR_INIT;
		if (site->state != SITE_ACTIVE)
			continue;
		if ((!s->o.dry_run && put_open(s, site, &why)) || site_usable(s, i, &mine, &why)) {
			session_site_fail(site, SITE_FAILED, &why);
			continue;
		}
		if (first) {
			s->usable = mine;
			mine = (struct pack_list){0};
		} else {
			intersect(&s->usable, &mine);
		}
		first = false;
	}
	return rc;
}

static int load_index(struct session *s, struct err *err)
{
	struct err last = ERR_INIT;
	for (size_t i = 0; i < s->o.n_sites; i++) {
		struct session_site *site = &s->o.site[i];
		struct index_loaded got;
		const struct secret *key = &s->o.keys->s.idx_key;
		if (site->state != SITE_ACTIVE)
			continue;
		if (!index_load(site->store, s->o.keys->source, s->o.keys->repo, &key, 1, s->index_dir, s->index, &got, &last)) {
			s->deltas = got.deltas;
			uint32_t n = index_packs(s->index);
			s->usable_no = xcalloc((size_t)n + 1, sizeof *s->usable_no);
			for (uint32_t p = 0; p < n; p++) {
				struct index_pack ip;
				index_pack_get(s->index, p, &ip);
				s->usable_no[p] = pack_list_has(&s->usable, ip.digest);
			}
			return 0;
		}
		session_site_fail(site, SITE_FAILED, &last);
	}
	if (last.code) {
		*err = last;
		return err_rc(err);
	}
	return err_set(err, ERR_UNREACHABLE, "source '%s': every site failed at the start", s->o.keys->source);
}

int session_declare(struct session *s, struct err *err)
{
	int rc = declare(s, err);
	return rc ? rc : load_index(s, err);
}
