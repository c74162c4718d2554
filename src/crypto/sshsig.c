#include "crypto/crypto.h"

#include <string.h>

#include "base/str.h"
#include "crypto/crypto_internal.h"

#define MAGIC "SSHSIG"
#define KEY_TYPE "ssh-ed25519"
#define HASH_NAME "sha512"
#define ARMOUR_BEGIN "-----BEGIN SSH SIGNATURE-----\n"
#define ARMOUR_END "-----END SSH SIGNATURE-----\n"
#define ARMOUR_COLUMNS 70 /* what ssh-keygen writes */
#define BLOB_MAX 2048
#define ARMOUR_MAX 4096

static void put_be32(struct buf *b, size_t v)
{
	unsigned char be[4] = {
	        (unsigned char)(v >> 24), (unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v};

	buf_add(b, be, sizeof(be));
}

static void put_string(struct buf *b, const void *p, size_t n)
{
	put_be32(b, n);
	buf_add(b, p, n);
}

static uint32_t rd_be32(struct rd *r)
{
	const unsigned char *p = rd_bytes(r, 4);

	return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

/* One SSH string of r as a reader of its own; a short one is bad. */
static struct rd rd_string(struct rd *r)
{
	const uint32_t n = rd_be32(r);
	const unsigned char *p = rd_bytes(r, n);
	struct rd s = rd_init(p, p ? n : 0);

	s.bad = !p;
	return s;
}

static bool rd_is(const struct rd *r, const void *p, size_t n)
{
	return rd_ok(r) && r->left == n && (n == 0 || memcmp(r->p, p, n) == 0);
}

static void put_public(struct buf *b, const unsigned char pub[ED25519_PUB_LEN])
{
	put_string(b, KEY_TYPE, strlen(KEY_TYPE));
	put_string(b, pub, ED25519_PUB_LEN);
}

/* What the key signs: not the message but this frame around its digest. */
static void put_signed(struct buf *b, const char *name_space, const void *p, size_t n)
{
	unsigned char digest[SHA512_LEN];

	sha512_of(p, n, digest);
	buf_add(b, MAGIC, strlen(MAGIC));
	put_string(b, name_space, strlen(name_space));
	put_string(b, "", 0);
	put_string(b, HASH_NAME, strlen(HASH_NAME));
	put_string(b, digest, sizeof(digest));
}

static char *armour(const struct buf *blob)
{
	/* Twice: text without its newlines that just fits is longer when written again. */
	CLEAN(buf_release) struct buf text = BUF_INIT(2 * ARMOUR_MAX);
	CLEAN(free_ptr) char *b64 = xmalloc(4 * ((blob->len + 2) / 3) + 1);
	size_t n, at;

	base64_encode(b64, blob->p, blob->len);
	n = strlen(b64);
	buf_add(&text, ARMOUR_BEGIN, strlen(ARMOUR_BEGIN));
	for (at = 0; at < n; at += ARMOUR_COLUMNS) {
		buf_add(&text, b64 + at, MIN(n - at, (size_t)ARMOUR_COLUMNS));
		buf_add(&text, "\n", 1);
	}
	buf_add(&text, ARMOUR_END, strlen(ARMOUR_END));
	return xstrdup(buf_str(&text));
}

char *sshsig_sign(const struct secret *seed, const char *name_space, const void *p, size_t n)
{
	CLEAN(buf_release) struct buf data = BUF_INIT(BLOB_MAX), blob = BUF_INIT(BLOB_MAX), field = BUF_INIT(BLOB_MAX);
	unsigned char pub[ED25519_PUB_LEN], sig[ED25519_SIG_LEN];

	BUG_ON(!*name_space);
	put_signed(&data, name_space, p, n);
	ed25519_sign(seed, data.p, data.len, sig);
	ed25519_public(seed, pub);

	buf_add(&blob, MAGIC, strlen(MAGIC));
	put_be32(&blob, 1);
	put_public(&field, pub);
	put_string(&blob, field.p, field.len);
	put_string(&blob, name_space, strlen(name_space));
	put_string(&blob, "", 0);
	put_string(&blob, HASH_NAME, strlen(HASH_NAME));
	buf_clear(&field);
	put_string(&field, KEY_TYPE, strlen(KEY_TYPE));
	put_string(&field, sig, sizeof(sig));
	put_string(&blob, field.p, field.len);
	return armour(&blob);
}

static bool has_frame(const char *text, size_t n)
{
	const size_t n_begin = strlen(ARMOUR_BEGIN), n_end = strlen(ARMOUR_END);

	return n >= n_begin + n_end && memcmp(text, ARMOUR_BEGIN, n_begin) == 0 &&
	       memcmp(text + n - n_end, ARMOUR_END, n_end) == 0;
}

/* Writing the decoded bytes again must give the same text: one signature has one armour, whatever a decoder accepts. */
static int dearmour(const char *text, size_t n, struct buf *blob, struct err *err)
{
	CLEAN(buf_release) struct buf b64 = BUF_INIT(ARMOUR_MAX);
	CLEAN(free_ptr) char *again = NULL;
	size_t i, end;
	long len;

	if (n > ARMOUR_MAX || !has_frame(text, n))
		return err_set(err, ERR_FORMAT, "ssh signature: armour lines are missing or too long");
	end = n - strlen(ARMOUR_END);
	for (i = strlen(ARMOUR_BEGIN); i < end; i++)
		if (text[i] != '\n')
			buf_add(&b64, text + i, 1);
	BUG_ON(buf_reserve(blob, b64.len, NULL));
	len = base64_decode(blob->p, buf_str(&b64), b64.len);
	if (len < 0)
		return err_set(err, ERR_FORMAT, "ssh signature: bad base64");
	blob->len = (size_t)len;
	again = armour(blob);
	if (strlen(again) != n || memcmp(again, text, n) != 0)
		return err_set(err, ERR_FORMAT, "ssh signature: armour is not as ssh-keygen writes it");
	return 0;
}

/* A key or signature field: type, then `n` bytes, borrowed. NULL when it is anything else. */
static const unsigned char *typed_field(struct rd field, size_t n)
{
	const struct rd type = rd_string(&field);
	struct rd value = rd_string(&field);

	if (!rd_is(&type, KEY_TYPE, strlen(KEY_TYPE)) || !rd_end(&field) || value.left != n)
		return NULL;
	return rd_bytes(&value, n);
}

int sshsig_verify(const char *armoured, size_t n_armoured, const unsigned char pub[ED25519_PUB_LEN],
        const char *name_space, const void *p, size_t n, struct err *err)
{
	CLEAN(buf_release) struct buf blob = BUF_INIT(ARMOUR_MAX), data = BUF_INIT(BLOB_MAX);
	const unsigned char *magic, *signer, *sig;
	struct rd r, ns, reserved, hash;
	uint32_t version;
	int ret;

	ret = dearmour(armoured, n_armoured, &blob, err);
	if (ret)
		return ret;
	r = rd_init(blob.p, blob.len);
	magic = rd_bytes(&r, strlen(MAGIC));
	version = rd_be32(&r);
	if (!magic || memcmp(magic, MAGIC, strlen(MAGIC)) != 0 || version != 1)
		return err_set(err, ERR_FORMAT, "ssh signature: not version 1");
	signer = typed_field(rd_string(&r), ED25519_PUB_LEN);
	ns = rd_string(&r);
	reserved = rd_string(&r);
	hash = rd_string(&r);
	sig = typed_field(rd_string(&r), ED25519_SIG_LEN);
	if (!rd_end(&r) || !signer || !sig || !rd_is(&reserved, "", 0) || !rd_is(&hash, HASH_NAME, strlen(HASH_NAME)))
		return err_set(err, ERR_FORMAT, "ssh signature: not one of ssh-ed25519 over sha512");
	if (!rd_is(&ns, name_space, strlen(name_space)))
		return err_set(err, ERR_CORRUPT, "ssh signature: namespace is not %s", name_space);
	if (!crypto_equal(signer, pub, ED25519_PUB_LEN))
		return err_set(err, ERR_CORRUPT, "ssh signature: made by another key");
	put_signed(&data, name_space, p, n);
	if (!ed25519_verify(pub, data.p, data.len, sig))
		return err_set(err, ERR_CORRUPT, "ssh signature: does not match what it signs");
	return 0;
}

char *ssh_public_line(const unsigned char pub[ED25519_PUB_LEN])
{
	CLEAN(buf_release) struct buf blob = BUF_INIT(BLOB_MAX), line = BUF_INIT(BLOB_MAX);
	char b64[128];

	put_public(&blob, pub);
	base64_encode(b64, blob.p, blob.len);
	buf_addf(&line, "%s %s", KEY_TYPE, b64);
	return xstrdup(buf_str(&line));
}
