/* Input: an envelope, and the same bytes as a key object. What decodes must encode to the same bytes; nothing may open.
 */
#include "repo/keys.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct opening_key fixed_key(void)
{
	struct opening_key o = {.class_name = "gold"};

	secret_init(&o.priv, X25519_LEN);
	secret_init(&o.r, 32);
	memset(o.priv.p, 0x42, o.priv.len);
	x25519_public(&o.priv, o.pub);
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(opening_key_release) struct opening_key o = fixed_key();
	CLEAN(source_secrets_release) struct source_secrets secrets = {0};
	CLEAN(buf_release) struct buf b = BUF_INIT(ENVELOPE_MAX);
	struct session_key k;
	struct envelope e;
	struct err err;

	BUG_ON(!key_object_open(&o, "docs", 5, data, size, &secrets, &err));
	if (envelope_decode(data, size, &e, &err)) {
		BUG_ON(err.code != ERR_FORMAT);
		return 0;
	}
	BUG_ON(!session_key_open(&o, "docs", &e, &k, &err));
	if (e.kem != KEM_X25519)
		return 0;
	BUG_ON(envelope_encode(&e, &b, &err));
	BUG_ON(b.len != size || memcmp(b.p, data, size) != 0);
	return 0;
}
