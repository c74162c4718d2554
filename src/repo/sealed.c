#include <string.h>
#include "base/rng.h"
#include "repo/keys.h"

#define SEALED_HEAD 9u /* magic and kind: the AAD */
static const unsigned char MAGIC[8] = {'H', 'F', 'S', 'E', 'A', 'L', '1', '\n'};

/* Every object has a key of its own, so the nonce may be zero. */
static struct aead *object_aead(const struct secret *idx_key, const unsigned char repo[REPO_ID_LEN], const char *source,
        enum sealed_kind kind, const unsigned char salt[SALT_LEN])
{
	CLEAN(buf_release) struct buf info = BUF_INIT(1024);
	CLEAN(secret_release) struct secret key = {0};
	struct aead *a = aead_new();
	unsigned char k = (unsigned char)kind;

	format_ctx(&info, "holdfast1 sealed", repo, source, &k, 1);
	secret_init(&key, AEAD_KEY_LEN);
	hkdf(key.p, key.len, idx_key->p, idx_key->len, salt, SALT_LEN, info.p, info.len);
	aead_key(a, key.p);
	return a;
}

int sealed_put(const struct secret *idx_key, const unsigned char repo[REPO_ID_LEN], const char *source,
        enum sealed_kind kind, const void *p, size_t n, struct buf *out, struct err *err)
{
	static const unsigned char nonce[AEAD_NONCE_LEN];
	CLEAN(aead_free_ptr) struct aead *a = NULL;
	unsigned char head[SEALED_HEAD + SALT_LEN];
	size_t before = out->len, total;
	int rc;

	if (__builtin_add_overflow(n, sizeof head + AEAD_TAG_LEN, &total))
		return err_set(err, ERR_NOMEM, "object too large to seal");
	memcpy(head, MAGIC, sizeof MAGIC);
	head[SEALED_HEAD - 1] = (unsigned char)kind;
	rng_bytes(head + SEALED_HEAD, SALT_LEN);
	rc = buf_reserve(out, total, err);
	if (rc)
		return rc;
	a = object_aead(idx_key, repo, source, kind, head + SEALED_HEAD);
	memcpy(out->p + before, head, sizeof head);
	aead_seal(a, nonce, head, SEALED_HEAD, p, n, out->p + before + sizeof head);
	out->len += total;
	return 0;
}

int sealed_get(const struct secret *idx_key, const unsigned char repo[REPO_ID_LEN], const char *source,
        enum sealed_kind kind, const void *p, size_t n, struct buf *out, struct err *err)
{
	static const unsigned char nonce[AEAD_NONCE_LEN];
	CLEAN(aead_free_ptr) struct aead *a = NULL;
	struct rd r = rd_init(p, n);
	const unsigned char *head = rd_bytes(&r, SEALED_HEAD), *salt = rd_bytes(&r, SALT_LEN);
	int rc;

	if (!rd_ok(&r) || memcmp(head, MAGIC, sizeof MAGIC) != 0 || r.left < AEAD_TAG_LEN)
		return err_set(err, ERR_FORMAT, "not a sealed object");
	if (head[SEALED_HEAD - 1] != (unsigned char)kind)
		return err_set(
		        err, ERR_FORMAT, "sealed object of kind %u, not %u", head[SEALED_HEAD - 1], (unsigned)kind);
	rc = buf_reserve(out, r.left - AEAD_TAG_LEN, err);
	if (rc)
		return rc;
	a = object_aead(idx_key, repo, source, kind, salt);
	rc = aead_open(a, nonce, head, SEALED_HEAD, r.p, r.left, out->p + out->len, err);
	if (rc)
		return rc;
	out->len += r.left - AEAD_TAG_LEN;
	return 0;
}
