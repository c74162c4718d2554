#include "crypto/hpke_internal.h"

#include <string.h>

#include "crypto/crypto_internal.h"

#define KEM_X25519_SHA256 0x0020
#define KDF_SHA256 0x0001
#define MODE_BASE 0
#define MODE_PSK 1
#define VERSION_LABEL "HPKE-v1"
#define CONTEXT_LEN (1 + 2 * SHA256_LEN)
#define PSK_MIN 32

const struct hpke_aead hpke_aes128gcm = {"AES-128-GCM", 0x0001, 16};
const struct hpke_aead hpke_aes256gcm = {"AES-256-GCM", 0x0002, 32};

struct suite_id {
	unsigned char b[10];
	size_t n;
};

struct schedule {
	unsigned char shared[SHA256_LEN], key[AEAD_KEY_LEN], nonce[AEAD_NONCE_LEN];
};

static void schedule_release(struct schedule *s)
{
	mem_cleanse(s, sizeof(*s));
}

static void put_be16(unsigned char *p, size_t v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
}

static struct suite_id kem_suite(void)
{
	struct suite_id id = {.b = "KEM", .n = 5};

	put_be16(id.b + 3, KEM_X25519_SHA256);
	return id;
}

static struct suite_id hpke_suite(const struct hpke_aead *aead)
{
	struct suite_id id = {.b = "HPKE", .n = 10};

	put_be16(id.b + 4, KEM_X25519_SHA256);
	put_be16(id.b + 6, KDF_SHA256);
	put_be16(id.b + 8, aead->id);
	return id;
}

/* HKDF-Extract is one HMAC keyed with the salt (RFC 5869, 2.2): as a stream it needs no copy of its parts. */
static void labeled_extract(unsigned char out[SHA256_LEN], const struct suite_id *id, struct bytes salt,
        const char *label, struct bytes ikm)
{
	CLEAN(hmac_free_ptr) struct hmac *h = hmac_new(salt.p, salt.n);

	hmac_begin(h);
	hmac_update(h, VERSION_LABEL, strlen(VERSION_LABEL));
	hmac_update(h, id->b, id->n);
	hmac_update(h, label, strlen(label));
	hmac_update(h, ikm.p, ikm.n);
	hmac_final(h, out);
}

static void labeled_expand(void *out, size_t n_out, const struct suite_id *id, const unsigned char prk[SHA256_LEN],
        const char *label, const unsigned char *info, size_t n_info)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(256);
	unsigned char length[2];

	put_be16(length, n_out);
	buf_add(&b, length, sizeof(length));
	buf_add(&b, VERSION_LABEL, strlen(VERSION_LABEL));
	buf_add(&b, id->b, id->n);
	buf_add(&b, label, strlen(label));
	buf_add(&b, info, n_info);
	hkdf_expand(out, n_out, prk, SHA256_LEN, b.p, b.len);
}

/* ExtractAndExpand of DHKEM (4.1) with kem_context = enc || pkR. */
static int kem_shared(unsigned char out[SHA256_LEN], const struct secret *priv, const unsigned char peer[X25519_LEN],
        const unsigned char enc[X25519_LEN], const unsigned char recipient[X25519_LEN], struct err *err)
{
	const struct suite_id id = kem_suite();
	unsigned char dh[X25519_LEN], prk[SHA256_LEN], context[2 * X25519_LEN];

	if (!x25519_shared(priv, peer, dh))
		return err_set(err, ERR_CORRUPT, "public key is of low order");
	memcpy(context, enc, X25519_LEN);
	memcpy(context + X25519_LEN, recipient, X25519_LEN);
	labeled_extract(prk, &id, (struct bytes){0}, "eae_prk", (struct bytes){dh, sizeof(dh)});
	labeled_expand(out, SHA256_LEN, &id, prk, "shared_secret", context, sizeof(context));
	mem_cleanse(dh, sizeof(dh));
	mem_cleanse(prk, sizeof(prk));
	return 0;
}

/* KeySchedule (5.1) for the first message, whose nonce is base_nonce itself. */
static void key_schedule(const struct hpke_params *p, struct schedule *s)
{
	const struct suite_id id = hpke_suite(p->aead);
	unsigned char context[CONTEXT_LEN], secret[SHA256_LEN];

	BUG_ON((p->psk.n == 0) != (p->psk_id.n == 0));
	context[0] = p->psk.n ? MODE_PSK : MODE_BASE;
	labeled_extract(context + 1, &id, (struct bytes){0}, "psk_id_hash", p->psk_id);
	labeled_extract(context + 1 + SHA256_LEN, &id, (struct bytes){0}, "info_hash", p->info);
	labeled_extract(secret, &id, (struct bytes){s->shared, sizeof(s->shared)}, "secret", p->psk);
	labeled_expand(s->key, p->aead->key_len, &id, secret, "key", context, sizeof(context));
	labeled_expand(s->nonce, sizeof(s->nonce), &id, secret, "base_nonce", context, sizeof(context));
	mem_cleanse(secret, sizeof(secret));
}

int hpke_seal_with(const struct hpke_params *p, const struct secret *ephemeral, const unsigned char pub[X25519_LEN],
        struct bytes in, unsigned char enc[HPKE_ENC_LEN], unsigned char *ct, struct err *err)
{
	CLEAN(schedule_release) struct schedule s = {0};
	CLEAN(aead_free_ptr) struct aead *a = aead_new_cipher(p->aead->cipher);
	int ret;

	x25519_public(ephemeral, enc);
	ret = kem_shared(s.shared, ephemeral, pub, enc, pub, err);
	if (ret)
		return ret;
	key_schedule(p, &s);
	aead_key(a, s.key);
	aead_seal(a, s.nonce, p->aad.p, p->aad.n, in.p, in.n, ct);
	return 0;
}

int hpke_open_with(const struct hpke_params *p, const struct secret *priv, const unsigned char enc[HPKE_ENC_LEN],
        struct bytes ct, unsigned char *out, struct err *err)
{
	CLEAN(schedule_release) struct schedule s = {0};
	CLEAN(aead_free_ptr) struct aead *a = aead_new_cipher(p->aead->cipher);
	unsigned char pub[X25519_LEN];
	int ret;

	x25519_public(priv, pub);
	ret = kem_shared(s.shared, priv, enc, enc, pub, err);
	if (ret)
		return ret;
	key_schedule(p, &s);
	aead_key(a, s.key);
	return aead_open(a, s.nonce, p->aad.p, p->aad.n, ct.p, ct.n, out, err);
}

static struct hpke_params psk_params(struct bytes info, struct bytes psk, struct bytes psk_id, struct bytes aad)
{
	/* RFC 9180, 9.5: a psk carries at least 32 bytes of entropy. */
	BUG_ON(psk.n < PSK_MIN || psk_id.n == 0);
	return (struct hpke_params){&hpke_aes256gcm, info, psk, psk_id, aad};
}

int hpke_seal(const unsigned char pub[X25519_LEN], const void *info, size_t n_info, const void *psk, size_t n_psk,
        const void *psk_id, size_t n_psk_id, const void *aad, size_t n_aad, const void *in, size_t n,
        unsigned char enc[HPKE_ENC_LEN], unsigned char *ct, struct err *err)
{
	const struct hpke_params p = psk_params((struct bytes){info, n_info}, (struct bytes){psk, n_psk},
	        (struct bytes){psk_id, n_psk_id}, (struct bytes){aad, n_aad});
	CLEAN(secret_release) struct secret ephemeral = {0};

	x25519_generate(&ephemeral, enc);
	return hpke_seal_with(&p, &ephemeral, pub, (struct bytes){in, n}, enc, ct, err);
}

int hpke_open(const struct secret *priv, const unsigned char enc[HPKE_ENC_LEN], const void *info, size_t n_info,
        const void *psk, size_t n_psk, const void *psk_id, size_t n_psk_id, const void *aad, size_t n_aad,
        const void *ct, size_t n, unsigned char *out, struct err *err)
{
	const struct hpke_params p = psk_params((struct bytes){info, n_info}, (struct bytes){psk, n_psk},
	        (struct bytes){psk_id, n_psk_id}, (struct bytes){aad, n_aad});

	return hpke_open_with(&p, priv, enc, (struct bytes){ct, n}, out, err);
}
