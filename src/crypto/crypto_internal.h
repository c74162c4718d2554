/* What the files of this module share and no one else sees. */
#ifndef CRYPTO_CRYPTO_INTERNAL_H
#define CRYPTO_CRYPTO_INTERNAL_H

#include "crypto/crypto.h"

#define SHA512_LEN 64

/* SHA-512 (FIPS 180-4), for SSHSIG. */
void sha512_of(const void *p, size_t n, unsigned char out[SHA512_LEN]);
/* HKDF-Expand alone (RFC 5869, 2.3). */
void hkdf_expand(void *out, size_t n_out, const void *prk, size_t n_prk, const void *info, size_t n_info);
/* An aead of OpenSSL's name, "AES-256-GCM" or "AES-128-GCM"; aead_key() then reads as many bytes as the cipher takes.
 */
struct aead *aead_new_cipher(const char *name);
void hmac_free_ptr(struct hmac **h);
/* X25519 of our private and their public key. False when the result is zero: a low-order public key (RFC 7748, 6.1). */
bool x25519_shared(const struct secret *priv, const unsigned char pub[X25519_LEN], unsigned char out[X25519_LEN]);

#endif
