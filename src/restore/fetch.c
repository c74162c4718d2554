/* A chunk from wherever it lies: of each place that an index tells, at each site, in an order that spares the network. */
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "restore/reader_internal.h"

int reader_pack_head(struct reader *r, size_t site, const char *key, struct buf *out, struct err *err)
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
	buf_init(&o->plain, CHUNK_PLAIN_MAX);
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
	buf_release(&o->plain);
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
	if (reader_pack_head(o->r, site, key, &head, &why))
		return rc;
	return reader_session(o->r, at->sid, head.p, head.len, ret, err);
}

/* The sealed bytes of one chunk alone. */
static int get_sealed(struct opener *o, size_t site, const char *key, const struct index_place *at, struct err *err)
{
	buf_clear(&o->bytes);
	reader_site_lock(o->r, site);
	int rc = store_get_range(o->r->o.site[site].store, key, at->offset, at->sealed_len, &o->bytes, err);
	reader_site_unlock(o->r, site);
	return rc;
}

/* One place at one site under one key. */
static int open_at(struct opener *o, size_t site, const char *key, bool alone, const struct index_place *at, const struct index_entry *e, struct buf *out, struct err *err)
{
	struct reader *r = o->r;
	struct held_pack *h = NULL;
	const struct session_key *sk = NULL;
	int rc = alone ? get_sealed(o, site, key, at, err) : held_get(r, site, at->pack_digest, at->pack_size, key, &h, err);
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
		reader_site_served(r, site, 0, at->sealed_len);
	}
	return rc;
}

/* What is to be opened, and how. */
struct sought {
	const struct index_place *at;
	const struct index_entry *e;
	struct buf *out;
	bool salvage; /* a pack that is whole nowhere may still hold this chunk */
};

/* Under every key it has at one site. Whole packs are fetched, so that ranges tell a site nothing; not from local files. */
static int open_at_site(struct opener *o, size_t s, const struct sought *x, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	bool local = o->r->o.site[s].store->caps & STORE_LOCAL;
	int rc = -ERR_MISSING;
	for (unsigned n = 0; rc && rc != -ERR_CANCELLED && reader_pack_key(o->r, s, x->at->pack_digest, n, key); n++) {
		struct err why = ERR_INIT;
		if (x->salvage ? local : !local && reader_is_lost(o->r, s, key)) {
			rc = err_set(err, ERR_CORRUPT, "site %s: %s: the bytes are not those its name says", o->r->o.site[s].name, key);
			continue;
		}
		rc = open_at(o, s, key, local || x->salvage, x->at, x->e, x->out, &why);
		if (!rc)
			break;
		reader_site_bad(o->r, s, key, &why);
		*err = why;
		err_wrap(err, "site %s: %s", o->r->o.site[s].name, key);
	}
	return rc;
}

/* Listed nowhere: what was put may be there yet, hidden. */
static int open_hidden(struct opener *o, const struct sought *x)
{
	char key[STORE_KEY_MAX + 1];
	int rc = -ERR_MISSING;
	for (size_t s = 0; rc && s < o->r->o.n_sites; s++)
		for (unsigned n = 0; rc && (o->r->o.site[s].store->caps & STORE_VERSIONS) && reader_pack_guess(o->r, s, x->at->pack_digest, n, key); n++) {
			struct err why = ERR_INIT;
			if (!reader_is_lost(o->r, s, key))
				rc = open_at(o, s, key, false, x->at, x->e, x->out, &why);
		}
	return rc;
}

/* One place, at whichever site has it; those that did not answer the last time are asked last. */
static int open_at_sites(struct opener *o, const struct sought *x, struct err *err)
{
	char hex[HEX_LEN];
	uint64_t asked = 0;
	hex_encode(hex, x->at->pack_digest, ID_LEN);
	int rc = err_set(err, ERR_MISSING, "pack %s is at no site", hex);
	for (int last = 0; last < 2; last++)
		for (size_t s = 0; rc && rc != -ERR_CANCELLED && s < o->r->o.n_sites; s++) {
			if (asked >> s & 1 || (!last && reader_site_away(o->r, s)))
				continue;
			asked |= UINT64_C(1) << s;
			int got = open_at_site(o, s, x, err);
			if (!got || err->code != ERR_MISSING)
				rc = got ? err_rc(err) : 0;
		}
	if (rc == -ERR_MISSING && !x->salvage && !open_hidden(o, x))
		return 0;
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
	struct sought x = {.at = at, .e = &e, .out = out};
	struct err why = ERR_INIT;
	rc = open_at_sites(o, &x, err);
	x.salvage = true;
	return rc == -ERR_CORRUPT && !open_at_sites(o, &x, &why) ? 0 : rc;
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

