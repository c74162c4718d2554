/* HPKE with the mode, the AEAD and the sender's ephemeral key as parameters, so that published vectors can be run. */
#ifndef CRYPTO_HPKE_INTERNAL_H
#define CRYPTO_HPKE_INTERNAL_H

#include "crypto/crypto.h"

struct hpke_aead {
	const char *cipher; /* OpenSSL's name */
	uint16_t id;        /* RFC 9180, 7.3 */
	size_t key_len;
};
extern const struct hpke_aead hpke_aes128gcm, hpke_aes256gcm;

struct bytes {
	const void *p;
	size_t n;
};

/* Mode is mode_psk with a psk, mode_base when psk and psk_id are both empty. */
struct hpke_params {
	const struct hpke_aead *aead;
	struct bytes info, psk, psk_id, aad;
};

/* Single-shot seal with the ephemeral key given; ct gets in.n + 16 bytes. ERR_CORRUPT for a low-order public key. */
int hpke_seal_with(const struct hpke_params *p, const struct secret *ephemeral, const unsigned char pub[X25519_LEN],
        struct bytes in, unsigned char enc[HPKE_ENC_LEN], unsigned char *ct, struct err *err) HF_NODISCARD;
/* Single-shot open; out gets ct.n - 16 bytes. ERR_CORRUPT when it does not open. */
int hpke_open_with(const struct hpke_params *p, const struct secret *priv, const unsigned char enc[HPKE_ENC_LEN],
        struct bytes ct, unsigned char *out, struct err *err) HF_NODISCARD;

#endif
