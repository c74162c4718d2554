/* A fixed signer for fuzz targets: whatever JSON the input holds is signed, so that what lies behind the signature is
 * reached. */
#ifndef TESTS_FUZZ_SIGN_H
#define TESTS_FUZZ_SIGN_H

#include <string.h>
#include "base/str.h"
#include "crypto/crypto.h"

static inline void fixed_seed(struct secret *seed)
{
	secret_init(seed, ED25519_SEED_LEN);
	memset(seed->p, 7, seed->len);
}

static inline void sign_json(const char *type, const void *json, size_t n, struct buf *out)
{
	CLEAN(secret_release) struct secret seed = {0};
	unsigned char pub[ED25519_PUB_LEN], sig[ED25519_SIG_LEN];
	char hex[2 * ED25519_PUB_LEN + 1], b64[89];

	fixed_seed(&seed);
	buf_addf(out, "holdfast1 %s\n", type);
	buf_add(out, json, n);
	buf_add(out, "\n", 1);
	ed25519_public(&seed, pub);
	ed25519_sign(&seed, out->p, out->len, sig);
	hex_encode(hex, pub, sizeof pub);
	base64_encode(b64, sig, sizeof sig);
	buf_addf(out, "sig %s %s\n", hex, b64);
}

#endif
