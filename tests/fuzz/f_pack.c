/*
 * Input: u8 mode. Mode 0: the bytes of a pack header. Mode 1: a whole pack as it comes (footer and trailer must not open). Mode 2: u16 n,
 * n bytes of footer plaintext, 16 bytes of trailer plaintext, then chunk bytes: footer and trailer are sealed with a known key, so that
 * what lies behind the tags is reached, and each entry that the footer names is opened.
 */
#include "repo/pack.h"

#include <string.h>
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const unsigned char REPO[REPO_ID_LEN] = {1};

struct bench {
	struct session_key key;
	struct secret id_key;
	struct pack_coder *c;
	unsigned char salt[SALT_LEN];
};

static void seal(struct bench *b, const char *label, const void *plain, size_t n, struct buf *out)
{
	unsigned char rest[SID_LEN + SALT_LEN], kp[AEAD_KEY_LEN], nonce[AEAD_NONCE_LEN] = {9};
	CLEAN(buf_release) struct buf ctx = BUF_INIT(1024);
	struct aead *a = aead_new();
	format_ctx(&ctx, "holdfast1 pack", REPO, "s", NULL, 0);
	hkdf(kp, sizeof kp, b->key.s.p, b->key.s.len, b->salt, SALT_LEN, ctx.p, ctx.len);
	memcpy(rest, b->key.sid, SID_LEN);
	memcpy(rest + SID_LEN, b->salt, SALT_LEN);
	format_ctx(&ctx, label, REPO, "s", rest, sizeof rest);
	unsigned char *ct = xmalloc(n + AEAD_TAG_LEN);
	aead_key(a, kp);
	aead_seal(a, nonce, ctx.p, ctx.len, plain, n, ct);
	buf_add(out, nonce, sizeof nonce);
	buf_add(out, ct, n + AEAD_TAG_LEN);
	free(ct);
	aead_free(a);
}

static void open_all(struct bench *b, const unsigned char *p, size_t n)
{
	CLEAN(free_ptr) struct index_entry *e = NULL;
	size_t count;
	struct err err;
	if (pack_footer(b->c, p, n, &e, &count, &err))
		return;
	for (size_t i = 0; i < count && i < 64; i++) {
		CLEAN(free_ptr) unsigned char *out = e[i].plain_len && e[i].plain_len <= CHUNK_PLAIN_MAX ? xmalloc(e[i].plain_len) : xmalloc(1);
		BUG_ON((uint64_t)e[i].offset + e[i].sealed_len > n);
		if (!pack_open_chunk(b->c, &e[i], p + e[i].offset, out, &err))
			BUG_ON(!e[i].plain_len);
	}
}

static void sealed_tail(struct bench *b, struct rd *r)
{
	CLEAN(buf_release) struct buf pack = BUF_INIT(PACK_MAX);
	size_t n = rd_u16(r);
	const unsigned char *footer = rd_bytes(r, n), *trailer = rd_bytes(r, 16);
	unsigned char fixed[16];
	if (!footer || !trailer || !n)
		return;
	memcpy(fixed, trailer, sizeof fixed);
	buf_add(&pack, r->p, r->left);
	if (!(trailer[0] & 1)) { /* every other time the trailer tells the truth about where the footer is */
		put_u32(fixed, (uint32_t)pack.len);
		put_u32(fixed + 4, (uint32_t)(n + CHUNK_OVERHEAD));
	}
	seal(b, "holdfast1 footer", footer, n, &pack);
	seal(b, "holdfast1 trailer", fixed, sizeof fixed, &pack);
	open_all(b, pack.p, pack.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bench b = {0};
	struct rd r = rd_init(data, size);
	unsigned mode = rd_u8(&r);
	if (!rd_ok(&r))
		return 0;
	if (mode == 0) {
		struct pack_header h;
		if (!pack_header_decode(r.p, r.left, &h, NULL))
			pack_header_release(&h);
		return 0;
	}
	secret_init(&b.key.s, 32);
	secret_init(&b.id_key, 32);
	b.c = pack_coder_new(REPO, "s", &b.id_key, 1);
	pack_coder_key(b.c, &b.key, b.salt);
	if (mode == 1)
		open_all(&b, r.p, r.left);
	else
		sealed_tail(&b, &r);
	pack_coder_free(b.c);
	secret_release(&b.id_key);
	secret_release(&b.key.s);
	return 0;
}
