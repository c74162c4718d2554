#include "crypto/crypto.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/rng.h"
#include "crypto/crypto_internal.h"

static void free_pkey(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

static EVP_PKEY *private_key(const char *type, const struct secret *s)
{
	EVP_PKEY *k;

	BUG_ON(s->len != 32);
	k = EVP_PKEY_new_raw_private_key_ex(NULL, type, NULL, s->p, s->len);
	BUG_ON(!k);
	return k;
}

static void public_of(const char *type, const struct secret *s, unsigned char pub[32])
{
	CLEAN(free_pkey) EVP_PKEY *k = private_key(type, s);
	size_t n = 32;

	BUG_ON(EVP_PKEY_get_raw_public_key(k, pub, &n) != 1 || n != 32);
}

static void generate(const char *type, struct secret *s, unsigned char pub[32])
{
	secret_init(s, 32);
	rng_bytes(s->p, s->len);
	public_of(type, s, pub);
}

void ed25519_generate(struct secret *seed, unsigned char pub[ED25519_PUB_LEN])
{
	generate("ED25519", seed, pub);
}

void ed25519_public(const struct secret *seed, unsigned char pub[ED25519_PUB_LEN])
{
	public_of("ED25519", seed, pub);
}

void ed25519_sign(const struct secret *seed, const void *p, size_t n, unsigned char sig[ED25519_SIG_LEN])
{
	CLEAN(free_pkey) EVP_PKEY *k = private_key("ED25519", seed);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n_sig = ED25519_SIG_LEN;

	BUG_ON(!ctx || EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, k, NULL) != 1);
	BUG_ON(EVP_DigestSign(ctx, sig, &n_sig, p, n) != 1 || n_sig != ED25519_SIG_LEN);
	EVP_MD_CTX_free(ctx);
}

bool ed25519_verify(
        const unsigned char pub[ED25519_PUB_LEN], const void *p, size_t n, const unsigned char sig[ED25519_SIG_LEN])
{
	CLEAN(free_pkey) EVP_PKEY *k = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, pub, ED25519_PUB_LEN);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok;

	BUG_ON(!k || !ctx || EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, k, NULL) != 1);
	ok = EVP_DigestVerify(ctx, sig, ED25519_SIG_LEN, p, n) == 1;
	EVP_MD_CTX_free(ctx);
	return ok;
}

char *ed25519_pem(const unsigned char pub[ED25519_PUB_LEN])
{
	CLEAN(free_pkey) EVP_PKEY *k = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, pub, ED25519_PUB_LEN);
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL, *copy;
	long n;

	BUG_ON(!k || !bio || PEM_write_bio_PUBKEY(bio, k) != 1);
	n = BIO_get_mem_data(bio, &text);
	BUG_ON(n <= 0);
	copy = xstrndup(text, (size_t)n);
	BIO_free(bio);
	return copy;
}

void x25519_generate(struct secret *priv, unsigned char pub[X25519_LEN])
{
	generate("X25519", priv, pub);
}

void x25519_public(const struct secret *priv, unsigned char pub[X25519_LEN])
{
	public_of("X25519", priv, pub);
}

bool x25519_shared(const struct secret *priv, const unsigned char pub[X25519_LEN], unsigned char out[X25519_LEN])
{
	CLEAN(free_pkey) EVP_PKEY *ours = private_key("X25519", priv);
	CLEAN(free_pkey) EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, pub, X25519_LEN);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, ours, NULL);
	size_t n = X25519_LEN;
	bool ok;

	BUG_ON(!theirs || !ctx || EVP_PKEY_derive_init(ctx) != 1 || EVP_PKEY_derive_set_peer(ctx, theirs) != 1);
	/* OpenSSL fails the derivation, and only then, when all bytes are zero. */
	ok = EVP_PKEY_derive(ctx, out, &n) == 1 && n == X25519_LEN;
	EVP_PKEY_CTX_free(ctx);
	return ok;
}
