/* Input: JSON of a configuration, signed here. What is accepted must encode and be accepted again. */
#include "repo/signed.h"

#include "sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(buf_release) struct buf text = BUF_INIT(4 * SIGNED_MAX), again = BUF_INIT(SIGNED_MAX);
	CLEAN(secret_release) struct secret seed = {0};
	CLEAN(cfg_release) struct cfg c = {0}, two = {0};
	unsigned char pub[1][ED25519_PUB_LEN];
	const unsigned char(*trusted)[ED25519_PUB_LEN] = (const unsigned char(*)[ED25519_PUB_LEN])pub;
	struct err err;

	fixed_seed(&seed);
	ed25519_public(&seed, pub[0]);
	sign_json("cfg", data, size, &text);
	if (cfg_decode(text.p, text.len, NULL, trusted, 1, &c, &err))
		return 0;
	if (cfg_encode(&c, &seed, &again, &err))
		return 0;
	BUG_ON(cfg_decode(again.p, again.len, c.repo, trusted, 1, &two, &err));
	BUG_ON(c.n_sources != two.n_sources || c.n_classes != two.n_classes || c.n != two.n);
	return 0;
}
