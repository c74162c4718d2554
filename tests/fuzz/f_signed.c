/* Input: a signed text as it came, and JSON that is signed here. An open that is accepted must encode and be accepted
 * again. */
#include "repo/signed.h"

#include "sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_open(const struct cfg *c, const uint8_t *data, size_t size)
{
	CLEAN(buf_release) struct buf text = BUF_INIT(4 * SIGNED_MAX), again = BUF_INIT(SIGNED_MAX);
	CLEAN(attempt_open_release) struct attempt_open o = {0}, two = {0};
	CLEAN(secret_release) struct secret seed = {0};
	struct err err;

	sign_json("open", data, size, &text);
	if (attempt_open_decode(c, text.p, text.len, &o, &err))
		return;
	fixed_seed(&seed);
	if (attempt_open_encode(&o, c->repo, &seed, &again, &err))
		return;
	BUG_ON(attempt_open_decode(c, again.p, again.len, &two, &err));
	BUG_ON(o.n_uses != two.n_uses || strcmp(o.run, two.run) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(secret_release) struct secret seed = {0};
	CLEAN(json_release) json_t *o = NULL;
	struct cfg_log log = {.origin = "log"};
	struct cfg c = {.log = &log, .n_logs = 1};
	unsigned char signer[ED25519_PUB_LEN];
	struct err err;

	fixed_seed(&seed);
	ed25519_public(&seed, log.pub);
	if (!signed_read("open", data, size, NULL, NULL, 0, &o, signer, &err))
		BUG_ON(!json_is_object(o));
	check_open(&c, data, size);
	return 0;
}
