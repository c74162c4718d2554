#include "crypto/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/rng.h"
#include "crypto/crypto_internal.h"

static void check_exchange(void)
{
	CLEAN(secret_release) struct secret a = {0}, b = {0};
	unsigned char pub_a[X25519_LEN], pub_b[X25519_LEN], ab[X25519_LEN], ba[X25519_LEN];

	x25519_generate(&a, pub_a);
	x25519_generate(&b, pub_b);
	BUG_ON(!x25519_shared(&a, pub_b, ab) || !x25519_shared(&b, pub_a, ba));
	BUG_ON(!crypto_equal(ab, ba, sizeof(ab)));
}

static void check_signature(void)
{
	CLEAN(secret_release) struct secret seed = {0};
	unsigned char pub[ED25519_PUB_LEN], sig[ED25519_SIG_LEN];

	ed25519_generate(&seed, pub);
	ed25519_sign(&seed, pub, sizeof(pub), sig);
	BUG_ON(!ed25519_verify(pub, pub, sizeof(pub), sig));
}

/* Every algorithm is used once, so that a crippled provider is found here and not in the middle of a backup. */
void crypto_init(void)
{
	unsigned char digest[SHA512_LEN], key[AEAD_KEY_LEN];
	struct hmac *h;

	BUG_ON(RAND_status() != 1);
	rng_bytes(key, sizeof(key));
	sha256_of(key, sizeof(key), digest);
	sha512_of(key, sizeof(key), digest);
	hkdf(key, sizeof(key), digest, sizeof(digest), NULL, 0, NULL, 0);
	h = hmac_new(key, sizeof(key));
	hmac_free(h);
	aead_free(aead_new());
	check_exchange();
	check_signature();
	mem_cleanse(key, sizeof(key));
}

bool crypto_equal(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}
