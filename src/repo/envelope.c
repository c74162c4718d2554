#include <string.h>
#include "base/rng.h"
#include "base/str.h"
#include "repo/keys.h"

static const unsigned char ENVELOPE_MAGIC[8] = {'H', 'F', 'E', 'N', 'V', 'L', '1', '\n'};
static const unsigned char KEYS_MAGIC[8] = {'H', 'F', 'K', 'E', 'Y', 'S', '1', '\n'};
static const char PSK_ID[] = "holdfast1 psk";

#define KEY_LEN 32u
#define SECRETS_LEN (3 * KEY_LEN)
#define ENVELOPE_ROOM 448u /* no envelope that is written here is longer */

int envelope_encode(const struct envelope *e, struct buf *out, struct err *err)
{
	unsigned char head[sizeof ENVELOPE_MAGIC + 1 + 2 + 4];
	int rc;

	if (e->kem != KEM_X25519)
		return err_set(err, ERR_UNSUPPORTED, "envelope for key kind 0x%04x", e->kem);
	BUG_ON(e->n_ct > sizeof e->ct);
	memcpy(head, ENVELOPE_MAGIC, sizeof ENVELOPE_MAGIC);
	head[8] = (unsigned char)e->kind;
	put_u16(head + 9, e->kem);
	put_u32(head + 11, e->epoch);
	rc = buf_reserve(out, ENVELOPE_ROOM, err);
	if (rc)
		return rc;
	buf_add(out, head, sizeof head);
	buf_add(out, e->sid, SID_LEN);
	buf_add(out, e->recipient, RECIPIENT_LEN);
	buf_add(out, e->commitment, SHA256_LEN);
	format_text(out, e->class_name, strlen(e->class_name));
	format_text(out, e->enc, HPKE_ENC_LEN);
	format_text(out, e->ct, e->n_ct);
	return 0;
}

static bool all_zero(const unsigned char *p, size_t n)
{
	unsigned char any = 0;

	for (size_t i = 0; i < n; i++)
		any |= p[i];
	return !any;
}

/* What is sealed for a kind of key that this program does not know is left out: other envelopes may open. */
static bool decode_sealed(struct rd *r, struct envelope *e)
{
	size_t n_enc, n_ct;
	const unsigned char *enc = format_text_rd(r, ENVELOPE_MAX, &n_enc),
	                    *ct = format_text_rd(r, ENVELOPE_MAX, &n_ct);

	if (!rd_end(r))
		return false;
	if (e->kem != KEM_X25519)
		return true;
	if (n_enc != HPKE_ENC_LEN || n_ct <= AEAD_TAG_LEN || n_ct > sizeof e->ct)
		return false;
	memcpy(e->enc, enc, n_enc);
	memcpy(e->ct, ct, n_ct);
	e->n_ct = n_ct;
	return true;
}

int envelope_decode(const void *p, size_t n, struct envelope *e, struct err *err)
{
	struct rd r = rd_init(p, n);
	const unsigned char *magic = rd_bytes(&r, sizeof ENVELOPE_MAGIC), *name;
	size_t n_name;

	*e = (struct envelope){0};
	if (!magic || memcmp(magic, ENVELOPE_MAGIC, sizeof ENVELOPE_MAGIC) != 0 || n > ENVELOPE_MAX)
		return err_set(err, ERR_FORMAT, "not an envelope");
	e->kind = rd_u8(&r);
	e->kem = rd_u16(&r);
	e->epoch = rd_u32(&r);
	rd_copy(&r, e->sid, SID_LEN);
	rd_copy(&r, e->recipient, RECIPIENT_LEN);
	rd_copy(&r, e->commitment, SHA256_LEN);
	name = format_text_rd(&r, SOURCE_MAX, &n_name);
	if (name)
		memcpy(e->class_name, name, n_name);
	if (!name || strlen(e->class_name) != n_name || !str_is_id(e->class_name) || !e->epoch || !decode_sealed(&r, e))
		return err_set(err, ERR_FORMAT, "envelope is malformed");
	if (e->kind != ENVELOPE_SESSION && e->kind != ENVELOPE_KEYS)
		return err_set(err, ERR_FORMAT, "envelope of kind %u", (unsigned)e->kind);
	if (e->kind == ENVELOPE_KEYS && (!all_zero(e->sid, SID_LEN) || !all_zero(e->commitment, SHA256_LEN)))
		return err_set(err, ERR_FORMAT, "envelope of keys names a session");
	return 0;
}

static void envelope_info(
        struct buf *out, const struct envelope *e, const unsigned char repo[REPO_ID_LEN], const char *source)
{
	CLEAN(buf_release) struct buf rest = BUF_INIT(256);
	bool session = e->kind == ENVELOPE_SESSION;
	unsigned char epoch[4];

	put_u32(epoch, e->epoch);
	format_text(&rest, e->class_name, strlen(e->class_name));
	buf_add(&rest, session ? e->sid : epoch, session ? SID_LEN : sizeof epoch);
	format_ctx(out, session ? "holdfast1 session" : "holdfast1 keys", repo, source, rest.p, rest.len);
}

/* Fills what the caller has not set: recipient, kem, class, epoch and what HPKE yields. */
static int envelope_seal(struct envelope *e, const struct source_keys *host, const struct recipient *to,
        const struct secret *plain, struct err *err)
{
	CLEAN(buf_release) struct buf info = BUF_INIT(1024);

	if (to->kem != KEM_X25519)
		return err_set(err, ERR_UNSUPPORTED, "recipient with a key of kind 0x%04x", to->kem);
	BUG_ON(plain->len + AEAD_TAG_LEN > sizeof e->ct);
	e->kem = to->kem;
	e->epoch = host->epoch;
	memcpy(e->recipient, to->id, RECIPIENT_LEN);
	memcpy(e->class_name, host->class_name, sizeof e->class_name);
	envelope_info(&info, e, host->repo, host->source);
	e->n_ct = plain->len + AEAD_TAG_LEN;
	return hpke_seal(to->pub, info.p, info.len, host->psk.p, host->psk.len, PSK_ID, sizeof PSK_ID - 1, NULL, 0,
	        plain->p, plain->len, e->enc, e->ct, err);
}

static bool is_for(const struct envelope *e, const struct opening_key *o)
{
	struct recipient me;

	recipient_init(&me, o->pub);
	return e->kem == me.kem && !memcmp(e->recipient, me.id, RECIPIENT_LEN);
}

/* plain: of the length that must come out. */
static int envelope_open(const struct envelope *e, const struct opening_key *o, const char *source,
        struct secret *plain, struct err *err)
{
	CLEAN(buf_release) struct buf info = BUF_INIT(1024);
	CLEAN(secret_release) struct secret psk = {0};

	if (strcmp(e->class_name, o->class_name) != 0)
		return err_set(
		        err, ERR_CORRUPT, "envelope of class '%s', key of class '%s'", e->class_name, o->class_name);
	if (e->n_ct != plain->len + AEAD_TAG_LEN)
		return err_set(err, ERR_FORMAT, "envelope with %zu bytes", e->n_ct);
	envelope_info(&info, e, o->repo, source);
	opening_key_psk(o, source, &psk);
	return hpke_open(&o->priv, e->enc, info.p, info.len, psk.p, psk.len, PSK_ID, sizeof PSK_ID - 1, NULL, 0, e->ct,
	        e->n_ct, plain->p, err);
}

/* What S itself says: sid and commitment. */
static void session_names(const struct secret *s, const unsigned char repo[REPO_ID_LEN], const char *source,
        unsigned char sid[SID_LEN], unsigned char commitment[SHA256_LEN])
{
	CLEAN(buf_release) struct buf info = BUF_INIT(1024);

	format_ctx(&info, "holdfast1 sid", repo, source, NULL, 0);
	hkdf(sid, SID_LEN, s->p, s->len, NULL, 0, info.p, info.len);
	format_ctx(&info, "holdfast1 commitment", repo, source, NULL, 0);
	hkdf(commitment, SHA256_LEN, s->p, s->len, NULL, 0, info.p, info.len);
}

void session_key_generate(struct session_key *k, const unsigned char repo[REPO_ID_LEN], const char *source)
{
	*k = (struct session_key){0};
	secret_init(&k->s, KEY_LEN);
	rng_bytes(k->s.p, k->s.len);
	session_names(&k->s, repo, source, k->sid, k->commitment);
}

void session_key_release(struct session_key *k)
{
	secret_release(&k->s);
}

int session_key_seal(const struct session_key *k, const struct source_keys *host, const struct recipient *to,
        struct envelope *ret, struct err *err)
{
	*ret = (struct envelope){.kind = ENVELOPE_SESSION};
	memcpy(ret->sid, k->sid, SID_LEN);
	memcpy(ret->commitment, k->commitment, SHA256_LEN);
	return envelope_seal(ret, host, to, &k->s, err);
}

int session_key_open(const struct opening_key *o, const char *source, const struct envelope *e, struct session_key *ret,
        struct err *err)
{
	struct session_key k = {0};
	int rc;

	*ret = k;
	if (e->kind != ENVELOPE_SESSION)
		return err_set(err, ERR_FORMAT, "envelope is not of a session");
	if (!is_for(e, o))
		return err_set(err, ERR_MISSING, "envelope is for another recipient");
	secret_init(&k.s, KEY_LEN);
	rc = envelope_open(e, o, source, &k.s, err);
	if (!rc) {
		session_names(&k.s, o->repo, source, k.sid, k.commitment);
		if (memcmp(k.sid, e->sid, SID_LEN) != 0 || !crypto_equal(k.commitment, e->commitment, SHA256_LEN))
			rc = err_set(err, ERR_CORRUPT, "session key is not the one that its envelope commits to");
	}
	if (rc)
		session_key_release(&k);
	else
		*ret = k;
	return rc;
}

int key_object_seal(
        const struct source_keys *host, const struct recipient *to, size_t n, struct buf *out, struct err *err)
{
	CLEAN(secret_release) struct secret plain = {0};
	size_t before = out->len;
	int rc;

	if (!n || n > UINT8_MAX)
		return err_set(err, ERR_USAGE, "source '%s': %zu recipients, must be 1 to 255", host->source, n);
	secret_init(&plain, SECRETS_LEN);
	memcpy(plain.p, host->s.id_key.p, KEY_LEN);
	memcpy(plain.p + KEY_LEN, host->s.chunk_key.p, KEY_LEN);
	memcpy(plain.p + 2 * KEY_LEN, host->s.idx_key.p, KEY_LEN);
	if ((rc = buf_reserve(out, sizeof KEYS_MAGIC + 1 + n * (ENVELOPE_ROOM + 2), err)))
		return rc;
	buf_add(out, KEYS_MAGIC, sizeof KEYS_MAGIC);
	buf_add(out, &(unsigned char){(unsigned char)n}, 1);
	for (size_t i = 0; i < n; i++) {
		CLEAN(buf_release) struct buf one = BUF_INIT(ENVELOPE_MAX);
		struct envelope e = {.kind = ENVELOPE_KEYS};

		if ((rc = envelope_seal(&e, host, &to[i], &plain, err)) || (rc = envelope_encode(&e, &one, err))) {
			out->len = before;
			return rc;
		}
		format_text(out, one.p, one.len);
	}
	return 0;
}

/* The envelope for this key: all of them must be well formed. */
static int key_object_find(const struct opening_key *o, const void *p, size_t n, struct envelope *ret, struct err *err)
{
	struct rd r = rd_init(p, n);
	const unsigned char *magic = rd_bytes(&r, sizeof KEYS_MAGIC);
	unsigned count = rd_u8(&r);
	bool found = false;

	if (!rd_ok(&r) || memcmp(magic, KEYS_MAGIC, sizeof KEYS_MAGIC) != 0)
		return err_set(err, ERR_FORMAT, "not a key object");
	for (unsigned i = 0; i < count; i++) {
		struct envelope e;
		size_t len;
		const unsigned char *text = format_text_rd(&r, ENVELOPE_MAX, &len);
		int rc = text ? envelope_decode(text, len, &e, err)
		              : err_set(err, ERR_FORMAT, "key object is cut short");

		if (rc)
			return rc;
		if (!found && is_for(&e, o)) {
			*ret = e;
			found = true;
		}
	}
	if (!rd_end(&r))
		return err_set(err, ERR_FORMAT, "key object has bytes left over");
	return found ? 0 : err_set(err, ERR_MISSING, "key object names other recipients only");
}

int key_object_open(const struct opening_key *o, const char *source, uint32_t epoch, const void *p, size_t n,
        struct source_secrets *ret, struct err *err)
{
	CLEAN(secret_release) struct secret plain = {0};
	struct envelope e;
	int rc;

	*ret = (struct source_secrets){0};
	rc = key_object_find(o, p, n, &e, err);
	if (rc)
		return rc;
	if (e.kind != ENVELOPE_KEYS || e.epoch != epoch)
		return err_set(err, ERR_CORRUPT, "key object of '%s' holds another epoch than %u", source, epoch);
	secret_init(&plain, SECRETS_LEN);
	rc = envelope_open(&e, o, source, &plain, err);
	if (rc)
		return rc;
	secret_set(&ret->id_key, plain.p, KEY_LEN);
	secret_set(&ret->chunk_key, plain.p + KEY_LEN, KEY_LEN);
	secret_set(&ret->idx_key, plain.p + 2 * KEY_LEN, KEY_LEN);
	return 0;
}
