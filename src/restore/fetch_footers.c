/* Packs that no index describes are described by their own footers. */
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "restore/reader_internal.h"

/* Footers are found from the end; the whole pack is read, for one request is cheaper than three. */
static int pack_tail(struct reader *r, size_t site, const char *key, struct pack_coder *c, struct index_entry **ret, size_t *ret_n, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(PACK_MAX);
	reader_site_lock(r, site);
	int rc = store_get(r->o.site[site].store, key, &b, err);
	reader_site_unlock(r, site);
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
	int rc = reader_pack_head(r, site, key, &head, err);
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
	const struct site_packs *p = reader_packs(r, site, NULL);
	char name[HEX_LEN];
	for (size_t i = 0; p && i < p->n; i++) {
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
