#include "crypto/crypto.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "crypto/crypto_internal.h"

struct sha256 {
	EVP_MD_CTX *ctx;
};

struct hmac {
	EVP_MAC_CTX *ctx;
};

struct sha256 *sha256_new(void)
{
	struct sha256 *h = xcalloc(1, sizeof(*h));
	EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL);

	h->ctx = EVP_MD_CTX_new();
	BUG_ON(!md || !h->ctx || EVP_DigestInit_ex2(h->ctx, md, NULL) != 1);
	EVP_MD_free(md);
	return h;
}

void sha256_reset(struct sha256 *h)
{
	BUG_ON(EVP_DigestInit_ex2(h->ctx, NULL, NULL) != 1);
}

void sha256_update(struct sha256 *h, const void *p, size_t n)
{
	BUG_ON(EVP_DigestUpdate(h->ctx, p, n) != 1);
}

void sha256_final(struct sha256 *h, unsigned char out[SHA256_LEN])
{
	BUG_ON(EVP_DigestFinal_ex(h->ctx, out, NULL) != 1);
}

void sha256_free(struct sha256 *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

void sha256_free_ptr(struct sha256 **h)
{
	sha256_free(*h);
}

void sha256_of(const void *p, size_t n, unsigned char out[SHA256_LEN])
{
	BUG_ON(EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL) != 1);
}

void sha512_of(const void *p, size_t n, unsigned char out[SHA512_LEN])
{
	BUG_ON(EVP_Digest(p, n, out, NULL, EVP_sha512(), NULL) != 1);
}

struct hmac *hmac_new(const void *key, size_t n)
{
	struct hmac *h = xcalloc(1, sizeof(*h));
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
	        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};

	h->ctx = EVP_MAC_CTX_new(mac);
	/* A NULL key would mean "keep the old one". */
	BUG_ON(!h->ctx || EVP_MAC_init(h->ctx, n ? key : (const void *)"", n, params) != 1);
	EVP_MAC_free(mac);
	return h;
}

struct hmac *hmac_dup(const struct hmac *h)
{
	struct hmac *d = xcalloc(1, sizeof(*d));

	d->ctx = EVP_MAC_CTX_dup(h->ctx);
	BUG_ON(!d->ctx);
	return d;
}

void hmac_free(struct hmac *h)
{
	if (!h)
		return;
	EVP_MAC_CTX_free(h->ctx);
	free(h);
}

void hmac_free_ptr(struct hmac **h)
{
	hmac_free(*h);
}

void hmac_begin(struct hmac *h)
{
	/* No key: back to the keyed state, at half the cost of duplicating a keyed context. */
	BUG_ON(EVP_MAC_init(h->ctx, NULL, 0, NULL) != 1);
}

void hmac_update(struct hmac *h, const void *p, size_t n)
{
	if (n)
		BUG_ON(EVP_MAC_update(h->ctx, p, n) != 1);
}

void hmac_final(struct hmac *h, unsigned char out[SHA256_LEN])
{
	size_t n = 0;

	BUG_ON(EVP_MAC_final(h->ctx, out, &n, SHA256_LEN) != 1 || n != SHA256_LEN);
}

void hmac_of(
        struct hmac *h, const void *prefix, size_t n_prefix, const void *p, size_t n, unsigned char out[SHA256_LEN])
{
	hmac_begin(h);
	hmac_update(h, prefix, n_prefix);
	hmac_update(h, p, n);
	hmac_final(h, out);
}

/* OSSL_PARAM has no const; the KDF only reads. */
static OSSL_PARAM octets(const char *name, const void *p, size_t n)
{
	return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)p, n);
}

static void derive(int mode, void *out, size_t n_out, OSSL_PARAM key, OSSL_PARAM salt, OSSL_PARAM info)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	char digest[] = "SHA256";
	OSSL_PARAM params[6];
	size_t n = 0;

	params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
	params[n++] = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	params[n++] = key;
	/* An absent salt or info is the empty one; an empty parameter is refused by some releases. */
	if (salt.data_size)
		params[n++] = salt;
	if (info.data_size)
		params[n++] = info;
	params[n] = OSSL_PARAM_construct_end();
	BUG_ON(!ctx || EVP_KDF_derive(ctx, out, n_out, params) != 1);
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
}

void hkdf(void *out, size_t n_out, const void *key, size_t n_key, const void *salt, size_t n_salt, const void *info,
        size_t n_info)
{
	derive(EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, out, n_out, octets(OSSL_KDF_PARAM_KEY, key, n_key),
	        octets(OSSL_KDF_PARAM_SALT, salt, n_salt), octets(OSSL_KDF_PARAM_INFO, info, n_info));
}

void hkdf_expand(void *out, size_t n_out, const void *prk, size_t n_prk, const void *info, size_t n_info)
{
	derive(EVP_KDF_HKDF_MODE_EXPAND_ONLY, out, n_out, octets(OSSL_KDF_PARAM_KEY, prk, n_prk),
	        octets(OSSL_KDF_PARAM_SALT, NULL, 0), octets(OSSL_KDF_PARAM_INFO, info, n_info));
}
