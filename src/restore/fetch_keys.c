/* Session keys: from the header of a pack that is at hand, else from their envelope objects. */
#include <string.h>
#include "base/str.h"
#include "restore/reader_internal.h"

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
		reader_site_lock(r, i);
		int got = store_get(r->o.site[i].store, key, &b, &why);
		reader_site_unlock(r, i);
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
		rc = pack_head ? session_from_pack(r, sid, pack_head, n_head, &why) : -ERR_MISSING;
		if (rc)
			rc = session_from_objects(r, sid, &why);
		*ret = session_find(r, sid);
	}
	pthread_mutex_unlock(&r->mutex);
	if (rc)
		*err = why;
	return rc;
}
