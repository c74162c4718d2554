/* Whole packs in memory, for sites where ranges are not wanted; from distant ones they are fetched ahead, several at once. */
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "restore/reader_internal.h"

/* --- one pack from one site --- */

struct hashed_sink {
	struct buf *to;
	struct sha256 *h;
	const atomic_bool *cancel;
};

static int hashed_write(void *arg, const void *p, size_t n, struct err *err)
{
	struct hashed_sink *s = arg;
	int rc = s->cancel && atomic_load(s->cancel) ? err_set(err, ERR_CANCELLED, "cancelled") : buf_put(s->to, p, n, err);
	if (!rc)
		sha256_update(s->h, p, n);
	return rc;
}

/* older: 0 for what is there now. ERR_CORRUPT when it is not what the digest says. */
static int get_version(struct reader *r, size_t site, const char *key, unsigned older, const unsigned char digest[ID_LEN], struct buf *out, struct err *err)
{
	CLEAN(sha256_free_ptr) struct sha256 *h = sha256_new();
	struct hashed_sink s = {out, h, r->o.cancel};
	struct store_sink sink = {hashed_write, &s};
	struct store *st = r->o.site[site].store;
	unsigned char have[ID_LEN];
	buf_clear(out);
	reader_site_lock(r, site);
	int rc = older ? store_get_older(st, key, older, &sink, err) : store_get_sink(st, key, (struct store_range){0}, &sink, err);
	reader_site_unlock(r, site);
	if (rc)
		return rc;
	sha256_final(h, have);
	return memcmp(have, digest, ID_LEN) ? err_set(err, ERR_CORRUPT, "the bytes are not those its name says") : 0;
}

static bool is_damage(int rc)
{
	return rc == -ERR_MISSING || rc == -ERR_CORRUPT || rc == -ERR_IO || rc == -ERR_NOMEM;
}

/* What stands there now, or an older version of it that is whole: then the newest is told as bad all the same. */
static int get_pack(struct reader *r, size_t site, const char *key, const unsigned char digest[ID_LEN], struct buf *out, struct err *err)
{
	struct err why = ERR_INIT;
	int rc = get_version(r, site, key, 0, digest, out, err);
	if (!is_damage(rc))
		return rc;
	bool versions = r->o.site[site].store->caps & STORE_VERSIONS;
	for (unsigned n = 1; versions && n <= OLDER_MAX; n++) {
		int got = get_version(r, site, key, n, digest, out, &why);
		if (!got) {
			reader_site_bad(r, site, key, err);
			log_msg(LOG_INFO, "site %s: %s: version %u before the newest is whole", r->o.site[site].name, key, n);
			return 0;
		}
		if (got == -ERR_MISSING || !is_damage(got))
			break; /* there are no more, or it does not answer */
	}
	reader_lost(r, site, key);
	return rc;
}

/* --- the packs held --- */

static bool is_wanted(const struct reader *r, const unsigned char digest[ID_LEN])
{
	for (size_t i = 0; r->want && i < WANTED_MAX; i++)
		if (r->want[i].pending && !memcmp(r->want[i].digest, digest, ID_LEN))
			return true;
	return false;
}

/* Place to load into: the one unused for longest, of those no queued chunk lies in if there is one; `ahead`: only of those. */
static struct held_pack *free_place(struct reader *r, bool ahead)
{
	struct held_pack *best = NULL;
	bool best_wanted = false;
	for (size_t i = 0; i < r->n_held; i++) {
		struct held_pack *h = &r->held[i];
		bool wanted = h->last_use && is_wanted(r, h->digest);
		if (h->users || (ahead && wanted))
			continue;
		if (!best || wanted < best_wanted || (wanted == best_wanted && h->last_use < best->last_use)) {
			best = h;
			best_wanted = wanted;
		}
	}
	return best;
}

/* Let go of packs nobody waits for until `size` more bytes are within the bound. False: they are not. */
static bool make_room(struct reader *r, size_t size)
{
	for (;;) {
		struct held_pack *oldest = NULL;
		size_t sum = 0;
		for (size_t i = 0; i < r->n_held; i++) {
			struct held_pack *h = &r->held[i];
			sum += h->size;
			if (h->size && !h->users && !(h->last_use && is_wanted(r, h->digest)) && (!oldest || h->last_use < oldest->last_use))
				oldest = h;
		}
		if (sum + size <= HELD_BYTES)
			return true;
		if (!oldest)
			return false;
		buf_release(&oldest->b);
		oldest->size = 0;
		oldest->last_use = 0;
	}
}

static struct held_pack *find_held(struct reader *r, size_t site, const unsigned char digest[ID_LEN])
{
	for (size_t i = 0; i < r->n_held; i++)
		if (r->held[i].last_use && r->held[i].site == site && !memcmp(r->held[i].digest, digest, ID_LEN))
			return &r->held[i];
	return NULL;
}

static void take_place(struct reader *r, struct held_pack *h, size_t site, const unsigned char digest[ID_LEN], uint32_t size)
{
	memcpy(h->digest, digest, ID_LEN);
	h->site = site;
	h->size = size;
	h->loading = true;
	h->users = 1;
	h->last_use = ++r->tick;
}

/* Without the mutex, and again with it. */
static int load(struct reader *r, struct held_pack *h, const char *key, struct err *err)
{
	int rc = get_pack(r, h->site, key, h->digest, &h->b, err);
	if (!rc)
		reader_site_served(r, h->site, 1, 0);
	pthread_mutex_lock(&r->mutex);
	h->loading = false;
	h->size = rc ? 0 : h->b.len;
	if (rc) {
		buf_release(&h->b);
		h->users--;
		h->last_use = 0; /* nobody finds it again */
	}
	pthread_cond_broadcast(&r->held_changed);
	pthread_mutex_unlock(&r->mutex);
	return rc;
}

int held_get(struct reader *r, size_t site, const unsigned char digest[ID_LEN], uint32_t size, const char *key, struct held_pack **ret, struct err *err)
{
	struct held_pack *h;
	bool waited = false;
	pthread_mutex_lock(&r->mutex);
	for (; (h = find_held(r, site, digest)) && h->loading; waited = true)
		pthread_cond_wait(&r->held_changed, &r->mutex);
	*ret = h;
	if (h) {
		h->users++;
		h->last_use = ++r->tick;
		pthread_mutex_unlock(&r->mutex);
		return 0;
	}
	if (waited && reader_is_lost_locked(r, site, key)) {
		pthread_mutex_unlock(&r->mutex);
		return err_set(err, ERR_CORRUPT, "the bytes are not those its name says");
	}
	(void)make_room(r, size);
	h = free_place(r, false); /* there are more places than threads that hold one */
	take_place(r, h, site, digest, size);
	*ret = h;
	pthread_mutex_unlock(&r->mutex);
	return load(r, h, key, err);
}

void held_put(struct reader *r, struct held_pack *h)
{
	pthread_mutex_lock(&r->mutex);
	h->users--; /* a fetcher that wants its room is woken by reader_unwant() */
	pthread_mutex_unlock(&r->mutex);
}

void held_release(struct reader *r)
{
	for (size_t i = 0; i < r->n_held; i++)
		buf_release(&r->held[i].b);
	free(r->held);
	free(r->want);
}

/* --- ahead --- */

struct want *reader_want(struct reader *r, const unsigned char id[ID_LEN])
{
	struct index_place at;
	struct want *w = NULL;
	if (!r->want)
		return NULL;
	pthread_rwlock_rdlock(&r->index_lock);
	bool known = index_lookup(r->index, id, &at);
	pthread_rwlock_unlock(&r->index_lock);
	if (!known)
		return NULL;
	pthread_mutex_lock(&r->mutex);
	for (size_t i = 0; i < WANTED_MAX; i++) {
		struct want *have = &r->want[i];
		if (have->pending && !memcmp(have->digest, at.pack_digest, ID_LEN)) {
			w = have;
			break;
		}
		if (!have->pending && !w)
			w = have;
	}
	if (w && !w->pending++) {
		memcpy(w->digest, at.pack_digest, ID_LEN);
		w->size = at.pack_size;
		w->order = ++r->tick;
		w->asked = false;
		pthread_cond_signal(&r->wanted);
	}
	pthread_mutex_unlock(&r->mutex);
	return w;
}

void reader_unwant(struct reader *r, struct want *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&r->mutex);
	if (!--w->pending)
		pthread_cond_signal(&r->wanted); /* its pack may go */
	pthread_mutex_unlock(&r->mutex);
}

static struct want *next_want(struct reader *r)
{
	struct want *first = NULL;
	for (size_t i = 0; i < WANTED_MAX; i++) {
		struct want *w = &r->want[i];
		if (w->pending && !w->asked && (!first || w->order < first->order))
			first = w;
	}
	return first;
}

/* The site that a worker will ask first; false when it reads ranges there, or when nobody has the pack. */
static bool first_site(struct reader *r, const unsigned char digest[ID_LEN], size_t *ret_site, char *key)
{
	for (int away = 0; away < 2; away++)
		for (size_t s = 0; s < r->o.n_sites; s++) {
			if (reader_site_away(r, s) != away)
				continue;
			for (unsigned n = 0; reader_pack_key(r, s, digest, n, key); n++) {
				if (r->o.site[s].store->caps & STORE_LOCAL)
					return false;
				*ret_site = s;
				if (!reader_is_lost(r, s, key))
					return true;
			}
		}
	return false;
}

/* With the mutex, which is let go meanwhile. A failure is for the worker to meet again and to tell. */
static void fetch(struct reader *r, const struct want *w)
{
	unsigned char digest[ID_LEN];
	uint32_t size = w->size;
	char key[STORE_KEY_MAX + 1];
	size_t site;
	struct err why = ERR_INIT;
	struct held_pack *h = NULL;
	memcpy(digest, w->digest, ID_LEN);
	pthread_mutex_unlock(&r->mutex);
	bool have = first_site(r, digest, &site, key);
	pthread_mutex_lock(&r->mutex);
	if (!have || find_held(r, site, digest) || !make_room(r, size) || !(h = free_place(r, true)))
		return;
	take_place(r, h, site, digest, size);
	pthread_mutex_unlock(&r->mutex);
	int rc = load(r, h, key, &why);
	if (!rc)
		held_put(r, h);
	else if (why.code == ERR_UNREACHABLE)
		reader_site_bad(r, site, key, &why);
	pthread_mutex_lock(&r->mutex);
}

static void *fetcher(void *arg)
{
	struct reader *r = arg;
	pthread_mutex_lock(&r->mutex);
	while (!r->stop) {
		struct want *w = next_want(r);
		if (!w || !make_room(r, w->size)) {
			pthread_cond_wait(&r->wanted, &r->mutex);
			continue;
		}
		w->asked = true;
		fetch(r, w);
	}
	pthread_mutex_unlock(&r->mutex);
	return NULL;
}

int reader_start_fetchers(struct reader *r, struct err *err)
{
	size_t want = 0;
	for (size_t i = 0; i < r->o.n_sites; i++)
		if (r->o.site[i].store->caps & STORE_REMOTE)
			want = MAX(want, r->o.site[i].store->caps & STORE_THREADSAFE ? (size_t)FETCHERS : (size_t)1);
	r->n_held = r->o.workers + 2 + FETCHERS + HELD_SMALL;
	r->held = xcalloc(r->n_held, sizeof *r->held);
	for (size_t i = 0; i < r->n_held; i++)
		buf_init(&r->held[i].b, PACK_MAX);
	if (want)
		r->want = xcalloc(WANTED_MAX, sizeof *r->want);
	for (; r->n_fetchers < want; r->n_fetchers++) {
		int rc = pthread_create(&r->fetcher[r->n_fetchers], NULL, fetcher, r);
		if (rc)
			return err_set(err, ERR_IO, "cannot start a thread that fetches: %s", strerror(rc));
	}
	return 0;
}

void reader_stop_fetchers(struct reader *r)
{
	pthread_mutex_lock(&r->mutex);
	pthread_cond_broadcast(&r->wanted);
	pthread_mutex_unlock(&r->mutex);
	for (size_t i = 0; i < r->n_fetchers; i++)
		pthread_join(r->fetcher[i], NULL);
}
