/* What the sites have: which packs under which keys, what is damaged there, who does not answer. */
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "restore/reader_internal.h"

#define GUESSES_MAX 256 /* each costs a round trip or more */

void reader_site_lock(struct reader *r, size_t site)
{
	if (!(r->o.site[site].store->caps & STORE_THREADSAFE))
		pthread_mutex_lock(&r->site_lock[site]);
}

void reader_site_unlock(struct reader *r, size_t site)
{
	if (!(r->o.site[site].store->caps & STORE_THREADSAFE))
		pthread_mutex_unlock(&r->site_lock[site]);
}

/* --- what is wrong with them --- */

/* Sets of "site key". */
static bool note(struct path_set *set, size_t site, const char *key)
{
	char name[STORE_KEY_MAX + 32];
	int n = snprintf(name, sizeof name, "%zu %s", site, key);
	return path_set_add(set, name, (size_t)n);
}

static bool noted(const struct path_set *set, size_t site, const char *key)
{
	char name[STORE_KEY_MAX + 32];
	int n = snprintf(name, sizeof name, "%zu %s", site, key);
	return path_set_has(set, name, (size_t)n);
}

void reader_site_bad(struct reader *r, size_t site, const char *key, const struct err *why)
{
	struct reader_site *s = &r->o.site[site];
	if (why->code == ERR_CANCELLED)
		return;
	bool away = why->code == ERR_UNREACHABLE;
	if (away)
		key = "-";
	pthread_mutex_lock(&r->mutex);
	bool first = note(&r->bad, site, key);
	r->packs[site].away |= away;
	if (first && !s->bad++)
		snprintf(s->first_bad, sizeof s->first_bad, "%.120s: %.120s", key, why->msg);
	pthread_mutex_unlock(&r->mutex);
	if (first)
		log_msg(LOG_WARN, "site %s: %s: %s", s->name, key, why->msg);
}

bool reader_site_away(struct reader *r, size_t site)
{
	pthread_mutex_lock(&r->mutex);
	bool away = r->packs[site].away;
	pthread_mutex_unlock(&r->mutex);
	return away;
}

void reader_site_served(struct reader *r, size_t site, uint64_t packs, uint64_t bytes)
{
	pthread_mutex_lock(&r->mutex);
	r->o.site[site].packs += packs;
	r->o.site[site].bytes += bytes;
	r->packs[site].away = false;
	pthread_mutex_unlock(&r->mutex);
}

void reader_lost(struct reader *r, size_t site, const char *key)
{
	pthread_mutex_lock(&r->mutex);
	(void)note(&r->lost, site, key);
	pthread_mutex_unlock(&r->mutex);
}

bool reader_is_lost_locked(const struct reader *r, size_t site, const char *key)
{
	return noted(&r->lost, site, key);
}

bool reader_is_lost(struct reader *r, size_t site, const char *key)
{
	pthread_mutex_lock(&r->mutex);
	bool lost = noted(&r->lost, site, key);
	pthread_mutex_unlock(&r->mutex);
	return lost;
}

/* --- where packs lie --- */

static int at_cmp(const void *a, const void *b)
{
	const struct pack_at *x = a, *y = b;
	int c = memcmp(x->digest, y->digest, ID_LEN);
	return c ? c : strcmp(x->attempt, y->attempt);
}

static int list_packs(struct reader *r, size_t site, struct err *err)
{
	struct site_packs *p = &r->packs[site];
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	reader_site_lock(r, site);
	int rc = store_list_all(r->o.site[site].store, key_fmt(prefix, "p/%s/", r->o.source), &k, err);
	reader_site_unlock(r, site);
	if (rc)
		return rc;
	p->at = xcalloc(k.n + 1, sizeof *p->at);
	size_t skip = strlen(prefix);
	for (size_t i = 0; i < k.n; i++) {
		struct pack_at *at = &p->at[p->n];
		const char *rest = k.key[i] + skip;
		if (strlen(rest) != 17 + 2 * ID_LEN || rest[16] != '/' || !hex_decode(at->digest, ID_LEN, rest + 17))
			continue;
		memcpy(at->attempt, rest, 16);
		at->size = k.size[i];
		p->n++;
	}
	if (p->n)
		qsort(p->at, p->n, sizeof *p->at, at_cmp);
	return 0;
}

/* Under the mutex: the list is made once, by whoever needs it first. A site that cannot be listed counts as empty. */
const struct site_packs *reader_packs(struct reader *r, size_t site, struct err *err)
{
	struct site_packs *p = &r->packs[site];
	struct err why = ERR_INIT;
	pthread_mutex_lock(&r->mutex);
	int rc = p->listed ? 0 : list_packs(r, site, &why);
	p->listed = true;
	pthread_mutex_unlock(&r->mutex);
	if (!rc)
		return p;
	reader_site_bad(r, site, "p/", &why);
	if (err)
		*err = why;
	return NULL;
}

/* The n-th place of a digest, or NULL. */
static const struct pack_at *find_pack(const struct site_packs *p, const unsigned char digest[ID_LEN], unsigned n)
{
	size_t lo = 0, hi = p->n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (memcmp(p->at[mid].digest, digest, ID_LEN) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo + n < p->n && !memcmp(p->at[lo + n].digest, digest, ID_LEN) ? &p->at[lo + n] : NULL;
}

bool reader_pack_key(struct reader *r, size_t site, const unsigned char digest[ID_LEN], unsigned n, char *key)
{
	const struct site_packs *p = reader_packs(r, site, NULL);
	const struct pack_at *at = p ? find_pack(p, digest, n) : NULL;
	if (at)
		key_pack(key, r->o.source, at->attempt, digest);
	return at != NULL;
}

/* --- where they may have lain --- */

static void list_attempts(struct reader *r, size_t site)
{
	struct site_packs *p = &r->packs[site];
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	struct err why = ERR_INIT;
	size_t cap = 0;
	reader_site_lock(r, site);
	if (store_list_all(r->o.site[site].store, key_fmt(prefix, "w/%s/", r->o.source), &k, &why))
		log_msg(LOG_DEBUG, "%s", why.msg);
	reader_site_unlock(r, site);
	for (size_t i = 0; i < k.n; i++) {
		const char *rest = k.key[i] + strlen(prefix);
		if (strlen(rest) < NAME16 || rest[NAME16 - 1] != '/' || (p->n_attempts && !memcmp(p->attempt[p->n_attempts - 1], rest, NAME16 - 1)))
			continue;
		p->attempt = xgrow(p->attempt, p->n_attempts, &cap, sizeof *p->attempt);
		memcpy(p->attempt[p->n_attempts], rest, NAME16 - 1);
		p->attempt[p->n_attempts++][NAME16 - 1] = '\0';
	}
}

bool reader_pack_guess(struct reader *r, size_t site, const unsigned char digest[ID_LEN], unsigned n, char *key)
{
	struct site_packs *p = &r->packs[site];
	for (size_t s = 0; s < r->o.n_sites; s++)
		for (unsigned k = 0; s != site && reader_pack_key(r, s, digest, k, key); k++)
			if (!n--)
				return true;
	pthread_mutex_lock(&r->mutex);
	if (!p->attempts_listed)
		list_attempts(r, site);
	p->attempts_listed = true;
	pthread_mutex_unlock(&r->mutex);
	if (n >= p->n_attempts || n >= GUESSES_MAX)
		return false;
	key_pack(key, r->o.source, p->attempt[n], digest);
	return true;
}
