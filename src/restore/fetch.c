/* Chunks from sites: where they lie, session keys, whole packs or ranges, workers. */
#include "restore/reader_internal.h"

#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/str.h"

#define PACK_HEAD (64u << 10) /* enough for any header */

void reader_site_bad(struct reader *r, size_t site, const char *key, const struct err *why)
{
	struct reader_site *s = &r->o.site[site];
	char name[STORE_KEY_MAX + 32];
	int n = snprintf(name, sizeof name, "%zu %s", site, key);
	pthread_mutex_lock(&r->mutex);
	bool first = path_set_add(&r->bad, name, (size_t)n);
	if (first && !s->bad++)
		snprintf(s->first_bad, sizeof s->first_bad, "%.120s: %.120s", key, why->msg);
	pthread_mutex_unlock(&r->mutex);
	if (first)
		log_msg(LOG_WARN, "site %s: %s: %s", s->name, key, why->msg);
}

static bool known_bad(struct reader *r, size_t site, const char *key)
{
	char name[STORE_KEY_MAX + 32];
	int n = snprintf(name, sizeof name, "%zu %s", site, key);
	pthread_mutex_lock(&r->mutex);
	bool has = path_set_has(&r->bad, name, (size_t)n);
	pthread_mutex_unlock(&r->mutex);
	return has;
}

/* --- stores --- */

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

static int site_get(struct reader *r, size_t site, const char *key, struct buf *out, struct err *err)
{
	reader_site_lock(r, site);
	int rc = store_get(r->o.site[site].store, key, out, err);
	reader_site_unlock(r, site);
	return rc;
}

static int site_get_range(struct reader *r, size_t site, const char *key, uint64_t off, size_t len, struct buf *out, struct err *err)
{
	reader_site_lock(r, site);
	int rc = store_get_range(r->o.site[site].store, key, off, len, out, err);
	reader_site_unlock(r, site);
	return rc;
}

/* --- where packs lie --- */

static int at_cmp(const void *a, const void *b)
{
	const struct pack_at *x = a, *y = b;
	int c = memcmp(x->digest, y->digest, ID_LEN);
	return c ? c : strcmp(x->attempt, y->attempt);
}

int reader_list_packs(struct reader *r, size_t site, struct err *err)
{
	struct site_packs *p = &r->packs[site];
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	if (p->listed)
		return 0;
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
	p->listed = true;
	return 0;
}

/* Under the mutex: the list is made once, by whoever needs it first. */
static int ensure_listed(struct reader *r, size_t site)
{
	struct err why = ERR_INIT;
	pthread_mutex_lock(&r->mutex);
	int rc = reader_list_packs(r, site, &why);
	if (rc)
		r->packs[site].listed = true; /* ask once: the site counts as empty */
	pthread_mutex_unlock(&r->mutex);
	if (rc)
		reader_site_bad(r, site, "p/", &why);
	return rc;
}

bool reader_pack_key(struct reader *r, size_t site, const unsigned char digest[ID_LEN], unsigned n, char *key)
{
	if (ensure_listed(r, site))
		return false;
	const struct site_packs *p = &r->packs[site];
	size_t lo = 0, hi = p->n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (memcmp(p->at[mid].digest, digest, ID_LEN) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo + n >= p->n || memcmp(p->at[lo + n].digest, digest, ID_LEN))
		return false;
	key_pack(key, r->o.source, p->at[lo + n].attempt, digest);
	return true;
}

/* --- session keys --- */

static const struct session_key *session_find(struct reader *r, const unsigned char sid[SID_LEN])
{
	for (size_t i = 0; i < r->n_sessions; i++)
		if (!memcmp(r->session[i]->sid, sid, SID_LEN))
			return r->session[i];
	return NULL;
}

static int session_open(struct reader *r, const unsigned char sid[SID_LEN], const struct envelope *e, struct err *err)
{
	struct session_key *k = xcalloc(1, sizeof *k);
	int rc = session_key_open(r->o.key, r->o.source, e, k, err);
	if (!rc && memcmp(k->sid, sid, SID_LEN)) {
		session_key_release(k);
		rc = err_set(err, ERR_CORRUPT, "an envelope holds another session's key");
	}
	if (rc) {
		free(k);
		return rc;
	}
	r->session = xrealloc(r->session, (r->n_sessions + 1) * sizeof *r->session);
	r->session[r->n_sessions++] = k;
	return 0;
}

static int session_from_objects(struct reader *r, const unsigned char sid[SID_LEN], struct err *err)
{
	struct recipient me;
	char key[STORE_KEY_MAX + 1], hs[2 * SID_LEN + 1], hr[2 * RECIPIENT_LEN + 1];
	int rc = err_set(err, ERR_MISSING, "no envelope of this session opens with this key");
	recipient_init(&me, r->o.key->pub);
	hex_encode(hs, sid, SID_LEN);
	hex_encode(hr, me.id, RECIPIENT_LEN);
	key_fmt(key, "e/%s/%s/%s", r->o.source, hs, hr);
	for (size_t i = 0; rc && i < r->o.n_sites; i++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(ENVELOPE_MAX);
		struct envelope e;
		struct err why = ERR_INIT;
		int got = site_get(r, i, key, &b, &why);
		if (!got)
			got = envelope_decode(b.p, b.len, &e, &why);
		if (!got)
			rc = session_open(r, sid, &e, err);
	}
	return rc;
}

static int session_from_pack(struct reader *r, const unsigned char sid[SID_LEN], const void *p, size_t n, struct err *err)
{
	CLEAN(pack_header_release) struct pack_header h = {0};
	int rc = pack_header_decode(p, n, &h, err);
	if (rc)
		return rc;
	rc = err_set(err, ERR_MISSING, "no envelope in the pack opens with this key");
	for (size_t i = 0; rc && i < h.n_env; i++)
		rc = session_open(r, sid, &h.env[i], err);
	return rc;
}

int reader_session(struct reader *r, const unsigned char sid[SID_LEN], const void *pack_head, size_t n_head, const struct session_key **ret, struct err *err)
{
	struct err why = ERR_INIT;
	int rc = 0;
	pthread_mutex_lock(&r->mutex);
	*ret = session_find(r, sid);
	if (!*ret) {
		rc = session_from_objects(r, sid, &why);
		if (rc && pack_head)
			rc = session_from_pack(r, sid, pack_head, n_head, &why);
		*ret = session_find(r, sid);
	}
	pthread_mutex_unlock(&r->mutex);
	if (rc)
		*err = why;
	return rc;
}

/* --- whole packs held in memory --- */

static struct held_pack *held_slot(struct reader *r)
{
	struct held_pack *best = NULL;
	if (!r->held) {
		r->n_held = r->o.workers + 2;
		r->held = xcalloc(r->n_held, sizeof *r->held);
		for (size_t i = 0; i < r->n_held; i++)
			buf_init(&r->held[i].b, PACK_MAX);
	}
	for (size_t i = 0; i < r->n_held; i++)
		if (!r->held[i].users && (!best || r->held[i].last_use < best->last_use))
			best = &r->held[i];
	return best; /* there are more places than threads that hold one */
}

static int load_pack(struct reader *r, struct held_pack *h, const char *key, struct err *err)
{
	unsigned char digest[ID_LEN];
	buf_clear(&h->b);
	int rc = site_get(r, h->site, key, &h->b, err);
	if (rc)
		return rc;
	sha256_of(h->b.p, h->b.len, digest);
	if (memcmp(digest, h->digest, ID_LEN))
		return err_set(err, ERR_CORRUPT, "the bytes are not those its name says");
	pthread_mutex_lock(&r->mutex);
	r->o.site[h->site].packs++;
	pthread_mutex_unlock(&r->mutex);
	return 0;
}

/* Get a whole pack from a site, or the one that is held already; release with held_put. */
static int held_get(struct reader *r, size_t site, const unsigned char digest[ID_LEN], const char *key, struct held_pack **ret, struct err *err)
{
	pthread_mutex_lock(&r->mutex);
	struct held_pack *h = NULL;
	for (size_t i = 0; i < r->n_held && !h; i++)
		if (r->held[i].last_use && r->held[i].site == site && !memcmp(r->held[i].digest, digest, ID_LEN))
			h = &r->held[i];
	bool load = !h;
	if (load) {
		h = held_slot(r);
		memcpy(h->digest, digest, ID_LEN);
		h->site = site;
		h->loading = true;
	}
	h->users++;
	h->last_use = ++r->tick;
	while (!load && h->loading)
		pthread_cond_wait(&r->done, &r->mutex);
	pthread_mutex_unlock(&r->mutex);
	int rc = load ? load_pack(r, h, key, err) : 0;
	pthread_mutex_lock(&r->mutex);
	if (load) {
		h->loading = false;
		if (rc)
			buf_clear(&h->b);
		pthread_cond_broadcast(&r->done);
	}
	if (!rc && !h->b.len)
		rc = err_set(err, ERR_CORRUPT, "the pack could not be loaded");
	if (rc) {
		h->users--;
		h->last_use = 0; /* nobody finds it again */
	}
	pthread_mutex_unlock(&r->mutex);
	*ret = h;
	return rc;
}

static void held_put(struct reader *r, struct held_pack *h)
{
	pthread_mutex_lock(&r->mutex);
	h->users--;
	pthread_mutex_unlock(&r->mutex);
}

/* First bytes of a pack, as many as a header may have. */
static int pack_head(struct reader *r, size_t site, const char *key, struct buf *out, struct err *err)
{
	struct store_sink sink = {store_buf_write, out};
	reader_site_lock(r, site);
	int rc = store_get_sink(r->o.site[site].store, key, (struct store_range){0, PACK_HEAD}, &sink, err);
	reader_site_unlock(r, site);
	return rc;
}

/* --- openers --- */

struct opener *opener_new(struct reader *r)
{
	struct opener *o = xcalloc(1, sizeof *o);
	o->r = r;
	o->coder = xcalloc(r->n_epochs + 1, sizeof *o->coder);
	for (size_t i = 0; i < r->n_epochs; i++)
		o->coder[i] = pack_coder_new(r->o.key->repo, r->o.source, &r->epoch[i].s.id_key, 1);
	buf_init(&o->bytes, PACK_MAX);
	return o;
}

void opener_free(struct opener *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->r->n_epochs; i++)
		pack_coder_free(o->coder[i]);
	free(o->coder);
	buf_release(&o->bytes);
	free(o);
}

struct pack_coder *opener_coder(struct opener *o, uint32_t epoch, struct err *err)
{
	for (size_t i = 0; i < o->r->n_epochs; i++)
		if (o->r->epoch[i].epoch == epoch)
			return o->coder[i];
	err_set(err, ERR_MISSING, "keys of epoch %u are not there", epoch);
	return NULL;
}

/* Session key of a chunk's pack. head: its first bytes, or NULL: they are fetched when they are needed. */
static int place_session(struct opener *o, size_t site, const char *key, const struct index_place *at, const struct held_pack *h, const struct session_key **ret, struct err *err)
{
	struct err why = ERR_INIT;
	int rc = reader_session(o->r, at->sid, h ? h->b.p : NULL, h ? h->b.len : 0, ret, err);
	if (!rc || h)
		return rc;
	CLEAN(buf_release) struct buf head = BUF_INIT(PACK_HEAD);
	if (pack_head(o->r, site, key, &head, &why))
		return rc;
	return reader_session(o->r, at->sid, head.p, head.len, ret, err);
}

/* The sealed bytes of one chunk alone. */
static int get_sealed(struct opener *o, size_t site, const char *key, const struct index_place *at, struct err *err)
{
	buf_clear(&o->bytes);
	return site_get_range(o->r, site, key, at->offset, at->sealed_len, &o->bytes, err);
}

/* One place at one site under one key. */
static int open_at(struct opener *o, size_t site, const char *key, bool alone, const struct index_place *at, const struct index_entry *e, struct buf *out, struct err *err)
{
	struct reader *r = o->r;
	struct held_pack *h = NULL;
	const struct session_key *sk = NULL;
	int rc = alone ? get_sealed(o, site, key, at, err) : held_get(r, site, at->pack_digest, key, &h, err);
	if (rc)
		return rc;
	struct pack_coder *c = opener_coder(o, at->epoch, err);
	if (!c)
		rc = err_rc(err);
	else if (h && (uint64_t)at->offset + at->sealed_len > h->b.len)
		rc = err_set(err, ERR_CORRUPT, "the pack is shorter than its index says");
	else
		rc = place_session(o, site, key, at, h, &sk, err);
	if (!rc) {
		pack_coder_key(c, sk, at->salt);
		rc = pack_open_chunk(c, e, h ? h->b.p + at->offset : o->bytes.p, out->p, err);
	}
	if (h)
		held_put(r, h);
	if (!rc) {
		out->len = e->plain_len;
		pthread_mutex_lock(&r->mutex);
		r->o.site[site].bytes += at->sealed_len;
		pthread_mutex_unlock(&r->mutex);
	}
	return rc;
}

/* One place, at whichever site has it. Whole packs are fetched, so that ranges tell a site nothing; not from local files. A pack that
 * is whole nowhere may still hold this chunk: salvage. */
static int open_at_sites(struct opener *o, bool salvage, const struct index_place *at, const struct index_entry *e, struct buf *out, struct err *err)
{
	char key[STORE_KEY_MAX + 1], hex[HEX_LEN];
	hex_encode(hex, at->pack_digest, ID_LEN);
	int rc = err_set(err, ERR_MISSING, "pack %s is at no site", hex);
	for (size_t s = 0; rc && s < o->r->o.n_sites; s++)
		for (unsigned n = 0; rc && reader_pack_key(o->r, s, at->pack_digest, n, key); n++) {
			bool local = o->r->o.site[s].store->caps & STORE_LOCAL;
			if (salvage ? local : !local && known_bad(o->r, s, key)) {
				rc = err_set(err, ERR_CORRUPT, "site %s: %s: the bytes are not those its name says", o->r->o.site[s].name, key);
				continue;
			}
			struct err why = ERR_INIT;
			rc = open_at(o, s, key, local || salvage, at, e, out, &why);
			if (!rc)
				break;
			reader_site_bad(o->r, s, key, &why);
			*err = why;
			err_wrap(err, "site %s: %s", o->r->o.site[s].name, key);
		}
	return rc;
}

static int open_place(struct opener *o, const struct index_place *at, const unsigned char id[ID_LEN], enum chunk_type type, struct buf *out, struct err *err)
{
	struct index_entry e = {.offset = at->offset, .sealed_len = at->sealed_len, .plain_len = at->plain_len, .type = at->type, .comp = at->comp};
	memcpy(e.id, id, ID_LEN);
	if (at->type != type || !at->plain_len || at->plain_len > CHUNK_PLAIN_MAX || at->sealed_len <= CHUNK_OVERHEAD || at->sealed_len > PACK_MAX)
		return err_set(err, ERR_CORRUPT, "the index describes a chunk wrongly");
	buf_clear(out);
	int rc = buf_reserve(out, at->plain_len, err);
	if (rc)
		return rc;
	rc = open_at_sites(o, false, at, &e, out, err);
	struct err why = ERR_INIT;
	if (rc == -ERR_CORRUPT && !open_at_sites(o, true, at, &e, out, &why))
		return 0;
	return rc;
}

static int open_anywhere(struct opener *o, const unsigned char id[ID_LEN], enum chunk_type type, uint32_t length, struct buf *out, struct err *err)
{
	struct index_place at;
	char hex[HEX_LEN];
	hex_encode(hex, id, ID_LEN);
	int rc = err_set(err, ERR_MISSING, "chunk %s is in no index", hex);
	for (unsigned n = 0; rc; n++) {
		pthread_rwlock_rdlock(&o->r->index_lock);
		bool found = index_lookup_nth(o->r->index, id, n, &at);
		pthread_rwlock_unlock(&o->r->index_lock);
		if (!found)
			break;
		if (length && at.plain_len != length)
			rc = err_set(err, ERR_CORRUPT, "chunk %s has %u bytes where its list says %u", hex, at.plain_len, length);
		else
			rc = open_place(o, &at, id, type, out, err);
	}
	return rc;
}

int opener_chunk(struct opener *o, const unsigned char id[ID_LEN], enum chunk_type type, uint32_t length, struct buf *out, struct err *err)
{
	struct index_place at;
	struct err why = ERR_INIT;
	pthread_rwlock_rdlock(&o->r->index_lock);
	bool known = index_lookup(o->r->index, id, &at);
	pthread_rwlock_unlock(&o->r->index_lock);
	if (!known && reader_rebuild(o->r, &why))
		log_msg(LOG_WARN, "while reading pack footers: %s", why.msg);
	int rc = open_anywhere(o, id, type, length, out, &why); /* an earlier place may fail before a good one */
	if (rc)
		*err = why;
	return rc;
}

/* --- packs that no index describes --- */

/* Footers are found from the end; the whole pack is read, for one request is cheaper than three. */
static int pack_tail(struct reader *r, size_t site, const char *key, struct pack_coder *c, struct index_entry **ret, size_t *ret_n, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(PACK_MAX);
	int rc = site_get(r, site, key, &b, err);
	return rc ? rc : pack_footer(c, b.p, b.len, ret, ret_n, err);
}

static int describe_pack(struct reader *r, size_t site, const struct pack_at *at, struct index_delta *d, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	CLEAN(buf_release) struct buf head = BUF_INIT(PACK_HEAD);
	CLEAN(pack_header_release) struct pack_header h = {0};
	CLEAN(free_ptr) struct index_entry *e = NULL;
	const struct session_key *sk;
	size_t n;
	key_pack(key, r->o.source, at->attempt, at->digest);
	int rc = pack_head(r, site, key, &head, err);
	if (!rc && head.len >= 12)
		rc = pack_header_decode(head.p, MIN(head.len, (size_t)get_u32(head.p + 8)), &h, err);
	if (!rc)
		rc = reader_session(r, h.sid, head.p, h.length, &sk, err);
	const struct source_secrets *s = rc ? NULL : reader_secrets(r, h.epoch);
	if (rc || !s)
		return rc ? rc : err_set(err, ERR_MISSING, "keys of epoch %u are not there", h.epoch);
	struct pack_coder *c = pack_coder_new(r->o.key->repo, r->o.source, &s->id_key, 1);
	pack_coder_key(c, sk, h.salt);
	rc = pack_tail(r, site, key, c, &e, &n, err);
	pack_coder_free(c);
	if (rc)
		return rc;
	struct index_pack ip = {.epoch = h.epoch, .size = (uint32_t)at->size};
	memcpy(ip.digest, at->digest, ID_LEN);
	memcpy(ip.sid, h.sid, SID_LEN);
	memcpy(ip.salt, h.salt, SALT_LEN);
	uint32_t no = index_delta_add_pack(d, &ip);
	for (size_t i = 0; i < n; i++) {
		e[i].pack = no;
		index_delta_add(d, &e[i]);
	}
	return 0;
}

static void describe_site(struct reader *r, size_t site, struct index_delta *d)
{
	const struct site_packs *p = &r->packs[site];
	char name[HEX_LEN];
	if (ensure_listed(r, site))
		return;
	for (size_t i = 0; i < p->n; i++) {
		struct err why = ERR_INIT;
		bool done = index_pack_find(r->index, p->at[i].digest) != UINT32_MAX;
		for (size_t k = 0; k < d->n_packs && !done; k++)
			done = !memcmp(d->pack[k].digest, p->at[i].digest, ID_LEN);
		if (done)
			continue;
		hex_encode(name, p->at[i].digest, ID_LEN);
		if (describe_pack(r, site, &p->at[i], d, &why))
			reader_site_bad(r, site, name, &why);
	}
}

int reader_rebuild(struct reader *r, struct err *err)
{
	struct index_delta d = {0};
	int rc = 0;
	pthread_rwlock_wrlock(&r->index_lock);
	if (!r->rebuilt) {
		log_msg(LOG_INFO, "source %s: the index is incomplete; reading the footers of packs it lacks", r->o.source);
		for (size_t s = 0; s < r->o.n_sites; s++)
			describe_site(r, s, &d);
		CLEAN(buf_release) struct buf plain = BUF_INIT(INDEX_MAX);
		if (d.n_packs)
			rc = index_delta_encode(&d, NULL, &plain, err);
		if (!rc && d.n_packs)
			rc = index_add(r->index, "footers", &plain, err);
		r->rebuilt = true;
	}
	pthread_rwlock_unlock(&r->index_lock);
	index_delta_release(&d);
	return rc;
}

/* --- workers --- */

static void *fetch_worker(void *arg)
{
	struct reader *r = arg;
	struct opener *o = opener_new(r);
	pthread_mutex_lock(&r->mutex);
	for (;;) {
		while (!r->head && !r->stop)
			pthread_cond_wait(&r->work, &r->mutex);
		if (r->stop)
			break;
		struct task *t = r->head;
		r->head = t->next;
		if (!r->head)
			r->tail = NULL;
		pthread_mutex_unlock(&r->mutex);
		int rc = opener_chunk(o, t->id, t->type, t->length, &t->out, &t->err);
		pthread_mutex_lock(&r->mutex);
		BUG_ON(rc && !t->err.code);
		t->done = true;
		pthread_cond_broadcast(&r->done);
	}
	pthread_mutex_unlock(&r->mutex);
	opener_free(o);
	return NULL;
}

int reader_start_workers(struct reader *r, struct err *err)
{
	r->thread = xcalloc(r->o.workers, sizeof *r->thread);
	for (; r->n_threads < r->o.workers; r->n_threads++) {
		int rc = pthread_create(&r->thread[r->n_threads], NULL, fetch_worker, r);
		if (rc)
			return err_set(err, ERR_IO, "cannot start a worker thread: %s", strerror(rc));
	}
	return 0;
}

void reader_stop_workers(struct reader *r)
{
	pthread_mutex_lock(&r->mutex);
	r->stop = true;
	pthread_cond_broadcast(&r->work);
	pthread_mutex_unlock(&r->mutex);
	for (size_t i = 0; i < r->n_threads; i++)
		pthread_join(r->thread[i], NULL);
	free(r->thread);
}

void reader_submit(struct reader *r, struct task *t)
{
	pthread_mutex_lock(&r->mutex);
	t->next = NULL;
	t->done = false;
	t->queued = true;
	t->err = (struct err)ERR_INIT;
	if (r->tail)
		r->tail->next = t;
	else
		r->head = t;
	r->tail = t;
	pthread_cond_signal(&r->work);
	pthread_mutex_unlock(&r->mutex);
}

void reader_wait(struct reader *r, struct task *t)
{
	pthread_mutex_lock(&r->mutex);
	while (!t->done)
		pthread_cond_wait(&r->done, &r->mutex);
	pthread_mutex_unlock(&r->mutex);
}
