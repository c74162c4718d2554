/*
 * All cryptography of holdfast: the only module that includes OpenSSL. Everything is EVP; no cipher or hash is our own.
 *
 * Contexts are for one thread each. Keys are passed as plain bytes from a struct secret of the caller.
 * Nothing decrypted is released before its tag verified. Comparisons of secrets are constant-time.
 */
#ifndef CRYPTO_CRYPTO_H
#define CRYPTO_CRYPTO_H

#include <stdint.h>
#include "base/buf.h"
#include "base/mem.h"

#define SHA256_LEN 32
#define AEAD_KEY_LEN 32
#define AEAD_NONCE_LEN 12
#define AEAD_TAG_LEN 16
#define ED25519_PUB_LEN 32
#define ED25519_SEED_LEN 32
#define ED25519_SIG_LEN 64
#define X25519_LEN 32

/* Once a process, before threads: fetches algorithms, aborts when OpenSSL lacks one or random numbers fail. */
void crypto_init(void);

/* --- SHA-256 (FIPS 180-4) --- */
struct sha256;
struct sha256 *sha256_new(void);
void sha256_reset(struct sha256 *h);
void sha256_update(struct sha256 *h, const void *p, size_t n);
void sha256_final(struct sha256 *h, unsigned char out[SHA256_LEN]); /* reset before the next use */
void sha256_free(struct sha256 *h);
void sha256_free_ptr(struct sha256 **h); /* for CLEAN() */
void sha256_of(const void *p, size_t n, unsigned char out[SHA256_LEN]);

/* --- HMAC-SHA-256 (FIPS 198-1): keyed once, used for many messages without re-keying --- */
struct hmac;
struct hmac *hmac_new(const void *key, size_t n);
struct hmac *hmac_dup(const struct hmac *h); /* for another thread */
void hmac_free(struct hmac *h);
/* MAC of prefix || p; prefix may be NULL with n_prefix 0. */
void hmac_of(struct hmac *h, const void *prefix, size_t n_prefix, const void *p, size_t n, unsigned char out[SHA256_LEN]);
/* Streaming form. */
void hmac_begin(struct hmac *h);
void hmac_update(struct hmac *h, const void *p, size_t n);
void hmac_final(struct hmac *h, unsigned char out[SHA256_LEN]);

/* --- HKDF-SHA-256 (RFC 5869), extract and expand. salt NULL: empty. key not empty; info at most 1024 bytes. --- */
void hkdf(void *out, size_t n_out, const void *key, size_t n_key, const void *salt, size_t n_salt, const void *info, size_t n_info);

/* --- AES-256-GCM with a key set once and many nonces --- */
struct aead;
struct aead *aead_new(void);
void aead_free(struct aead *a);
void aead_free_ptr(struct aead **a); /* for CLEAN() */
/* Set the key for both directions. */
void aead_key(struct aead *a, const unsigned char key[AEAD_KEY_LEN]);
/* out holds n bytes of ciphertext and the tag behind it; out may equal in. Aborts on an internal failure. */
void aead_seal(struct aead *a, const unsigned char nonce[AEAD_NONCE_LEN], const void *aad, size_t n_aad, const void *in, size_t n, unsigned char *out);
/* in is n bytes, the tag in its last 16; out gets n - 16 bytes. ERR_CORRUPT (out cleansed) when the tag is wrong. */
int aead_open(struct aead *a, const unsigned char nonce[AEAD_NONCE_LEN], const void *aad, size_t n_aad, const void *in, size_t n, unsigned char *out, struct err *err) HF_NODISCARD;

/* --- Ed25519 (RFC 8032) --- */
void ed25519_generate(struct secret *seed, unsigned char pub[ED25519_PUB_LEN]);
void ed25519_public(const struct secret *seed, unsigned char pub[ED25519_PUB_LEN]);
void ed25519_sign(const struct secret *seed, const void *p, size_t n, unsigned char sig[ED25519_SIG_LEN]);
bool ed25519_verify(const unsigned char pub[ED25519_PUB_LEN], const void *p, size_t n, const unsigned char sig[ED25519_SIG_LEN]);
/* SubjectPublicKeyInfo PEM, so that openssl(1) reads the key. Newly allocated text. */
char *ed25519_pem(const unsigned char pub[ED25519_PUB_LEN]);

/* --- HPKE (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, mode_psk, single shot --- */
#define HPKE_ENC_LEN X25519_LEN
void x25519_generate(struct secret *priv, unsigned char pub[X25519_LEN]);
void x25519_public(const struct secret *priv, unsigned char pub[X25519_LEN]);
/* ct gets n + 16 bytes. ERR_CORRUPT for a low-order public key. psk at least 32 bytes; psk_id not empty. */
int hpke_seal(const unsigned char pub[X25519_LEN], const void *info, size_t n_info, const void *psk, size_t n_psk, const void *psk_id, size_t n_psk_id,
	const void *aad, size_t n_aad, const void *in, size_t n, unsigned char enc[HPKE_ENC_LEN], unsigned char *ct, struct err *err) HF_NODISCARD;
/* out gets n - 16 bytes. ERR_CORRUPT when it does not open. */
int hpke_open(const struct secret *priv, const unsigned char enc[HPKE_ENC_LEN], const void *info, size_t n_info, const void *psk, size_t n_psk, const void *psk_id,
	size_t n_psk_id, const void *aad, size_t n_aad, const void *ct, size_t n, unsigned char *out, struct err *err) HF_NODISCARD;

/* --- SSHSIG (OpenSSH PROTOCOL.sshsig), Ed25519, sha512 --- */
/* Armoured signature as ssh-keygen -Y verify takes it; newly allocated text. */
char *sshsig_sign(const struct secret *seed, const char *name_space, const void *p, size_t n);
/*
 * Strict: armour exactly as ssh-keygen writes it (70 columns, newline at the end), version 1, reserved empty, sha512,
 * ssh-ed25519, no trailing bytes, else ERR_FORMAT; ERR_CORRUPT for another namespace, another signer or another message.
 */
int sshsig_verify(const char *armoured, size_t n_armoured, const unsigned char pub[ED25519_PUB_LEN], const char *name_space, const void *p, size_t n, struct err *err) HF_NODISCARD;
/* "ssh-ed25519 AAAA..." line of a public key; newly allocated. */
char *ssh_public_line(const unsigned char pub[ED25519_PUB_LEN]);

bool crypto_equal(const void *a, const void *b, size_t n); /* constant time */

#endif
