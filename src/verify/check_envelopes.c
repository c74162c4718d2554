/* Envelopes of sessions: those in the header of a whole pack are objects, too, and the same ones. What is committed had them before it. */
#include "verify/check_internal.h"

#include <string.h>
#include "base/str.h"

/* Maps take ids: a sid is as random as one, and half as long. */
static const unsigned char *id_of(const unsigned char sid[SID_LEN], unsigned char id[ID_LEN])
{
	memset(id, 0, ID_LEN);
	memcpy(id, sid, SID_LEN);
	return id;
}

void check_take_session(struct check *c, struct check_pack *p, struct pack_header *h)
{
	unsigned char id[ID_LEN];

	id_of(h->sid, id);
	pthread_mutex_lock(&c->mutex);
	p->session = idmap_get(&c->by_sid, id);
	if (!p->session && h->n_env) {
		c->session = xgrow(c->session, c->n_sessions, &c->cap_sessions, sizeof *c->session);
		c->session[c->n_sessions++] = (struct check_session){.env = TAKE(h->env), .n = h->n_env};
		h->n_env = 0;
		p->session = (uint32_t)c->n_sessions;
		idmap_set(&c->by_sid, id, p->session);
	}
	pthread_mutex_unlock(&c->mutex);
}

static const struct envelope *carried(const struct check *c, const struct envelope *e)
{
	unsigned char id[ID_LEN];
	uint32_t no = idmap_get(&c->by_sid, id_of(e->sid, id));

	for (size_t i = 0; no && i < c->session[no - 1].n; i++)
		if (!memcmp(c->session[no - 1].env[i].recipient, e->recipient, RECIPIENT_LEN))
			return &c->session[no - 1].env[i];
	return NULL;
}

static bool same(const struct envelope *a, const struct envelope *b)
{
	return a->kem == b->kem && a->epoch == b->epoch && !memcmp(a->commitment, b->commitment, sizeof a->commitment) &&
	       str_eq(a->class_name, b->class_name) && a->n_ct == b->n_ct && !memcmp(a->enc, b->enc, sizeof a->enc) && !memcmp(a->ct, b->ct, a->n_ct);
}

static char *key_of(char *out, const char *source, const struct envelope *e)
{
	char sid[2 * SID_LEN + 1], recipient[2 * RECIPIENT_LEN + 1];

	hex_encode(sid, e->sid, SID_LEN);
	hex_encode(recipient, e->recipient, RECIPIENT_LEN);
	return key_fmt(out, "e/%s/%s/%s", source, sid, recipient);
}

static void take_envelope(struct check *c, const char *key, const char *rest, const struct buf *b)
{
	char want[STORE_KEY_MAX + 1];
	struct err why = ERR_INIT;
	struct envelope e;
	const struct envelope *in_pack;

	(void)rest;
	if (envelope_decode(b->p, b->len, &e, &why))
		check_find_object(c, FIND_CORRUPT, key, NULL, 0, why.msg);
	else if (e.kind != ENVELOPE_SESSION || !str_eq(key, key_of(want, c->source, &e)))
		check_find_object(c, FIND_CORRUPT, key, NULL, 0, "is no envelope of that session and recipient");
	else if ((in_pack = carried(c, &e)) && !same(in_pack, &e))
		check_find_object(c, FIND_CORRUPT, key, NULL, 0, "is not the envelope that the packs of its session carry");
}

int check_envelopes(struct check *c, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};

	if (c->o->at_site) /* no pack is read, so that there is nothing to hold them against */
		return 0;
	int rc = store_list_all(c->st, key_fmt(key, "e/%s/", c->source), &k, err);

	if (!rc)
		rc = check_each_object(c, "e", take_envelope, err);
	for (size_t i = 0; i < c->n_packs && !rc; i++)
		if (c->pack[i].session && check_is_live(c, c->pack[i].digest))
			c->session[c->pack[i].session - 1].live = true;
	for (size_t i = 0; i < c->n_sessions && !rc; i++)
		for (size_t n = 0; c->session[i].live && n < c->session[i].n; n++)
			if (!check_listed(&k, key_of(key, c->source, &c->session[i].env[n])))
				check_find_object(c, FIND_MISSING, key, NULL, 0, "an envelope that packs carry is not there by itself");
	return rc;
}
