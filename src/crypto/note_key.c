#include "crypto/note_key.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

#define B64_LEN 44 /* of algorithm and key */

const struct note_kind note_of_log = {"holdfast/", 1, "verifier key"};
const struct note_kind note_of_witness = {"holdfast-witness/", 4, "key of a witness"};

void note_key_id(const unsigned char pub[ED25519_PUB_LEN], char out[NOTE_KEY_ID_LEN + 1])
{
	unsigned char digest[SHA256_LEN];

	sha256_of(pub, ED25519_PUB_LEN, digest);
	hex_encode(out, digest, NOTE_KEY_ID_LEN / 2);
}

void note_key_name(const struct note_kind *kind, const unsigned char pub[ED25519_PUB_LEN], char out[NOTE_KEY_NAME])
{
	char id[NOTE_KEY_ID_LEN + 1];

	note_key_id(pub, id);
	(void)snprintf(out, NOTE_KEY_NAME, "%s%s", kind->prefix, id);
}

void note_key_hash(const struct note_kind *kind, const char *name, const unsigned char pub[ED25519_PUB_LEN], unsigned char out[NOTE_KEY_HASH_LEN])
{
	CLEAN(sha256_free_ptr) struct sha256 *h = sha256_new();
	const unsigned char between[2] = {'\n', kind->algorithm};
	unsigned char digest[SHA256_LEN];

	sha256_update(h, name, strlen(name));
	sha256_update(h, between, sizeof between);
	sha256_update(h, pub, ED25519_PUB_LEN);
	sha256_final(h, digest);
	memcpy(out, digest, NOTE_KEY_HASH_LEN);
}

char *note_key_text(const struct note_kind *kind, const unsigned char pub[ED25519_PUB_LEN])
{
	unsigned char hash[NOTE_KEY_HASH_LEN], key[1 + ED25519_PUB_LEN] = {kind->algorithm};
	char name[NOTE_KEY_NAME], hex[2 * NOTE_KEY_HASH_LEN + 1], b64[B64_LEN + 1], *out;

	note_key_name(kind, pub, name);
	note_key_hash(kind, name, pub, hash);
	hex_encode(hex, hash, sizeof hash);
	memcpy(key + 1, pub, ED25519_PUB_LEN);
	base64_encode(b64, key, sizeof key);
	BUG_ON(asprintf(&out, "%s+%s+%s", name, hex, b64) < 0);
	return out;
}

int note_key_parse(const struct note_kind *kind, const char *text, size_t n, unsigned char pub[ED25519_PUB_LEN], struct err *err)
{
	unsigned char key[B64_LEN];
	/* Base64 may itself hold a plus sign, so its fixed length tells where it begins. */
	const char *b64 = n > B64_LEN ? text + n - B64_LEN : NULL;

	if (!b64 || b64[-1] != '+' || base64_decode(key, b64, B64_LEN) != 1 + ED25519_PUB_LEN || key[0] != kind->algorithm)
		return err_set(err, ERR_FORMAT, "%s: malformed", kind->what);
	CLEAN(free_ptr) char *want = note_key_text(kind, key + 1);

	if (strlen(want) != n || memcmp(want, text, n) != 0)
		return err_set(err, ERR_FORMAT, "%s: name or hash does not fit the key", kind->what);
	memcpy(pub, key + 1, ED25519_PUB_LEN);
	return 0;
}
