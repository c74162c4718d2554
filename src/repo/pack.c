#include "repo/pack.h"

#include <string.h>
#include <sys/mman.h>
#include "base/rng.h"
#include "base/str.h"

static const unsigned char MAGIC[8] = {'H', 'F', 'P', 'A', 'C', 'K', '1', '\n'};
#define HEADER_FIXED (8 + 4 + SID_LEN + SALT_LEN + 4 + 1)
#define ENTRY_LEN 46u /* of a footer entry */
#define TRAILER_PLAIN 16u
#define TRAILER_LEN (TRAILER_PLAIN + CHUNK_OVERHEAD)
#define ROOM_KEPT (2304u << 10) /* holds all but few chunks, compressed or not; memory that comes and goes is paid for by page */
#define DOMAIN_FOOTER 0xF1
#define DOMAIN_TRAILER 0xF2

struct pack_coder {
	unsigned char repo[REPO_ID_LEN];
	char source[SOURCE_MAX + 1];
	struct hmac *id;
	struct hmac *nonce; /* of the pack whose key is set */
	struct aead *aead;
	struct zframe *z;
	unsigned char sid[SID_LEN], salt[SALT_LEN]; /* whose key is set */
	bool keyed;
	struct buf aad_chunk; /* ctx("holdfast1 chunk", ...) and room for type, compression, id */
	unsigned char *stored, *plain;
	size_t cap_stored, cap_plain;
};

struct pack {
	unsigned char *map;
	uint32_t len, aim;
	struct session_key const *key;
	unsigned char salt[SALT_LEN];
	uint32_t epoch;
	struct index_entry *entry;
	size_t n_entries, cap_entries;
};

struct pack_coder *pack_coder_new(const unsigned char repo[REPO_ID_LEN], const char *source, const struct secret *id_key, int level)
{
	struct pack_coder *c = xcalloc(1, sizeof *c);
	memcpy(c->repo, repo, REPO_ID_LEN);
	str_copy(c->source, sizeof c->source, source);
	c->id = hmac_new(id_key->p, id_key->len);
	c->aead = aead_new();
	c->z = zframe_new(level);
	buf_init(&c->aad_chunk, 1024);
	return c;
}

void pack_coder_free(struct pack_coder *c)
{
	if (!c)
		return;
	hmac_free(c->id);
	hmac_free(c->nonce);
	aead_free(c->aead);
	zframe_free(c->z);
	buf_release(&c->aad_chunk);
	free(c->stored);
	free(c->plain);
	free(c);
}

void pack_coder_id(struct pack_coder *c, enum chunk_type type, const void *p, size_t n, unsigned char id[ID_LEN])
{
	unsigned char t = (unsigned char)type;
	hmac_of(c->id, &t, 1, p, n, id);
}

static void role_aad(struct buf *out, const struct pack_coder *c, const char *label)
{
	unsigned char rest[SID_LEN + SALT_LEN];
	memcpy(rest, c->sid, SID_LEN);
	memcpy(rest + SID_LEN, c->salt, SALT_LEN);
	format_ctx(out, label, c->repo, c->source, rest, sizeof rest);
}

void pack_coder_key(struct pack_coder *c, const struct session_key *k, const unsigned char salt[SALT_LEN])
{
	if (c->keyed && !memcmp(c->sid, k->sid, SID_LEN) && !memcmp(c->salt, salt, SALT_LEN))
		return;
	CLEAN(buf_release) struct buf info = BUF_INIT(1024);
	unsigned char kp[AEAD_KEY_LEN], kn[SHA256_LEN];
	format_ctx(&info, "holdfast1 pack", c->repo, c->source, NULL, 0);
	hkdf(kp, sizeof kp, k->s.p, k->s.len, salt, SALT_LEN, info.p, info.len);
	hkdf(kn, sizeof kn, kp, sizeof kp, NULL, 0, "nonce", 5);
	aead_key(c->aead, kp);
	hmac_free(c->nonce);
	c->nonce = hmac_new(kn, sizeof kn);
	mem_cleanse(kp, sizeof kp);
	mem_cleanse(kn, sizeof kn);
	memcpy(c->sid, k->sid, SID_LEN);
	memcpy(c->salt, salt, SALT_LEN);
	role_aad(&c->aad_chunk, c, "holdfast1 chunk");
	c->keyed = true;
}

/* type, compression and id behind the fixed part; returns where they start. */
static const unsigned char *chunk_aad(struct pack_coder *c, const struct index_entry *e, unsigned char tail[2 + ID_LEN], size_t *ret_n)
{
	tail[0] = e->type;
	tail[1] = e->comp;
	memcpy(tail + 2, e->id, ID_LEN);
	size_t fixed = c->aad_chunk.len;
	buf_add(&c->aad_chunk, tail, 2 + ID_LEN);
	*ret_n = c->aad_chunk.len;
	c->aad_chunk.len = fixed;
	return c->aad_chunk.p;
}

static void chunk_nonce(struct pack_coder *c, const unsigned char tail[2 + ID_LEN], unsigned char nonce[AEAD_NONCE_LEN])
{
	unsigned char mac[SHA256_LEN];
	hmac_of(c->nonce, NULL, 0, tail, 2 + ID_LEN, mac);
	memcpy(nonce, mac, AEAD_NONCE_LEN);
}

/* A buffer for n bytes. One made for a rare large chunk does not stay. */
static unsigned char *room(unsigned char **p, size_t *cap, size_t n)
{
	if (*cap < n || (*cap > ROOM_KEPT && n <= ROOM_KEPT)) {
		free(*p);
		*cap = MAX(n, (size_t)ROOM_KEPT);
		*p = xmalloc(*cap);
	}
	return *p;
}

/* --- writing --- */

struct pack *pack_new(uint32_t aim)
{
	struct pack *p = xcalloc(1, sizeof *p);
	p->aim = aim;
	p->map = mmap(NULL, PACK_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	BUG_ON(p->map == MAP_FAILED);
	(void)madvise(p->map, PACK_MAX, MADV_HUGEPAGE); /* saves most page faults, where the kernel has them */
	return p;
}

void pack_free(struct pack *p)
{
	if (!p)
		return;
	munmap(p->map, PACK_MAX);
	free(p->entry);
	free(p);
}

int pack_begin(struct pack *p, const struct session_key *k, const struct source_keys *host, const struct envelope *env, size_t n_env, struct err *err)
{
	CLEAN(buf_release) struct buf h = BUF_INIT(64u << 10);
	p->key = k;
	p->epoch = host->epoch;
	p->n_entries = 0;
	rng_bytes(p->salt, sizeof p->salt);
	unsigned char fixed[HEADER_FIXED];
	memcpy(fixed, MAGIC, 8);
	memcpy(fixed + 12, k->sid, SID_LEN);
	memcpy(fixed + 12 + SID_LEN, p->salt, SALT_LEN);
	put_u32(fixed + 12 + SID_LEN + SALT_LEN, host->epoch);
	BUG_ON(n_env > 255);
	fixed[HEADER_FIXED - 1] = (unsigned char)n_env;
	if (buf_put(&h, fixed, sizeof fixed, err))
		return err_rc(err);
	for (size_t i = 0; i < n_env; i++) {
		CLEAN(buf_release) struct buf one = BUF_INIT(ENVELOPE_MAX);
		int rc = envelope_encode(&env[i], &one, err);
		if (rc)
			return rc;
		format_text(&h, one.p, one.len);
	}
	put_u32(h.p + 8, (uint32_t)h.len);
	memcpy(p->map, h.p, h.len);
	p->len = (uint32_t)h.len;
	return 0;
}

/* Footer and trailer that n entries will need. */
static uint64_t tail_room(size_t n)
{
	return format_padme(4 + (uint64_t)n * ENTRY_LEN) + CHUNK_OVERHEAD + TRAILER_LEN;
}

bool pack_reserve(struct pack *p, size_t n, uint32_t *ret_offset)
{
	/* n_entries lags behind reservations by at most the number of workers: 4096 is room enough for theirs */
	if (p->len >= p->aim || p->len + n + tail_room(p->n_entries + 4096) > PACK_MAX)
		return false;
	*ret_offset = p->len;
	p->len += (uint32_t)n;
	return true;
}

void pack_compress(struct pack_coder *c, const void *plain, size_t n, const void **ret_stored, size_t *ret_n, enum chunk_comp *ret_comp)
{
	size_t cap = zframe_bound(n);
	unsigned char *out = room(&c->stored, &c->cap_stored, cap);
	size_t got = zframe_compress(c->z, plain, n, out, cap);
	*ret_comp = got ? COMP_ZSTD : COMP_RAW;
	*ret_stored = got ? out : plain;
	*ret_n = got ? got : n;
}

int pack_seal(struct pack *p, struct pack_coder *c, const struct index_entry *e, const void *stored, size_t n, struct err *err)
{
	unsigned char tail[2 + ID_LEN];
	size_t n_aad;
	pack_coder_key(c, p->key, p->salt);
	const unsigned char *aad = chunk_aad(c, e, tail, &n_aad);
	unsigned char *at = p->map + e->offset;
	chunk_nonce(c, tail, at);
	aead_seal(c->aead, at, aad, n_aad, stored, n, at + AEAD_NONCE_LEN);
	/* from the very bytes that will leave: a flip in memory between here and the site is caught by the pack's digest */
	unsigned char *out = room(&c->plain, &c->cap_plain, MAX(e->plain_len, 1u));
	int rc = pack_open_chunk(c, e, at, out, err);
	if (rc) {
		err_wrap(err, "chunk did not survive its check before upload");
		return err_hint(err, "suspect memory or processor of this machine; run a memory test");
	}
	return 0;
}

void pack_add(struct pack *p, const struct index_entry *e)
{
	p->entry = xgrow(p->entry, p->n_entries, &p->cap_entries, sizeof *p->entry);
	p->entry[p->n_entries++] = *e;
}

/* Seal plain under a nonce made of domain and plaintext; out gets nonce, ciphertext and tag. */
static void seal_tail(struct pack_coder *c, unsigned char domain, const char *label, const void *plain, size_t n, unsigned char *out)
{
	CLEAN(buf_release) struct buf aad = BUF_INIT(1024);
	unsigned char mac[SHA256_LEN];
	hmac_of(c->nonce, &domain, 1, plain, n, mac);
	memcpy(out, mac, AEAD_NONCE_LEN);
	role_aad(&aad, c, label);
	aead_seal(c->aead, out, aad.p, aad.len, plain, n, out + AEAD_NONCE_LEN);
}

static int open_tail(struct pack_coder *c, const char *label, const unsigned char *p, size_t sealed, unsigned char *out, struct err *err)
{
	CLEAN(buf_release) struct buf aad = BUF_INIT(1024);
	role_aad(&aad, c, label);
	return aead_open(c->aead, p, aad.p, aad.len, p + AEAD_NONCE_LEN, sealed - AEAD_NONCE_LEN, out, err);
}

static void encode_footer(const struct pack *p, unsigned char *out)
{
	put_u32(out, (uint32_t)p->n_entries);
	unsigned char *at = out + 4;
	for (size_t i = 0; i < p->n_entries; i++, at += ENTRY_LEN) {
		const struct index_entry *e = &p->entry[i];
		at[0] = e->type;
		at[1] = e->comp;
		memcpy(at + 2, e->id, ID_LEN);
		put_u32(at + 34, e->offset);
		put_u32(at + 38, e->sealed_len);
		put_u32(at + 42, e->plain_len);
	}
}

int pack_finish(struct pack *p, struct pack_coder *c, struct index_pack *info, struct err *err)
{
	size_t n = format_padme(4 + (uint64_t)p->n_entries * ENTRY_LEN);
	CLEAN(free_ptr) unsigned char *plain = xcalloc(1, n);
	unsigned char trailer[TRAILER_PLAIN] = {0};
	BUG_ON(p->len + n + CHUNK_OVERHEAD + TRAILER_LEN > PACK_MAX);
	pack_coder_key(c, p->key, p->salt);
	encode_footer(p, plain);
	seal_tail(c, DOMAIN_FOOTER, "holdfast1 footer", plain, n, p->map + p->len);
	put_u32(trailer, p->len);
	put_u32(trailer + 4, (uint32_t)(n + CHUNK_OVERHEAD));
	put_u32(trailer + 8, (uint32_t)p->n_entries);
	p->len += (uint32_t)(n + CHUNK_OVERHEAD);
	seal_tail(c, DOMAIN_TRAILER, "holdfast1 trailer", trailer, sizeof trailer, p->map + p->len);
	p->len += TRAILER_LEN;

	CLEAN(free_ptr) struct index_entry *check = NULL;
	size_t n_check;
	int rc = pack_footer(c, p->map, p->len, &check, &n_check, err);
	if (rc)
		return err_wrap(err, "pack footer did not survive its check before upload");
	if (n_check != p->n_entries)
		return err_set(err, ERR_CORRUPT, "pack footer did not survive its check before upload");
	memcpy(info->sid, p->key->sid, SID_LEN);
	memcpy(info->salt, p->salt, SALT_LEN);
	info->epoch = p->epoch;
	info->size = p->len;
	sha256_of(p->map, p->len, info->digest);
	return 0;
}

const unsigned char *pack_bytes(const struct pack *p, size_t *ret_n)
{
	*ret_n = p->len;
	return p->map;
}

const struct index_entry *pack_entries(const struct pack *p, size_t *ret_n)
{
	*ret_n = p->n_entries;
	return p->entry;
}

/* --- reading --- */

void pack_header_release(struct pack_header *h)
{
	free(h->env);
	h->env = NULL;
	h->n_env = 0;
}

int pack_header_decode(const void *p, size_t n, struct pack_header *ret, struct err *err)
{
	*ret = (struct pack_header){0};
	struct rd r = rd_init(p, n);
	const unsigned char *magic = rd_bytes(&r, 8);
	if (!magic || memcmp(magic, MAGIC, 8))
		return err_set(err, ERR_FORMAT, "not a pack");
	ret->length = rd_u32(&r);
	rd_copy(&r, ret->sid, SID_LEN);
	rd_copy(&r, ret->salt, SALT_LEN);
	ret->epoch = rd_u32(&r);
	size_t count = rd_u8(&r);
	ret->env = xcalloc(count + 1, sizeof *ret->env);
	for (size_t i = 0; i < count; i++) {
		size_t len;
		const unsigned char *e = format_text_rd(&r, ENVELOPE_MAX, &len);
		int rc = e ? envelope_decode(e, len, &ret->env[i], err) : err_set(err, ERR_FORMAT, "pack header is cut short");
		if (rc) {
			pack_header_release(ret);
			return rc;
		}
		ret->n_env++;
	}
	if (!rd_ok(&r) || n - r.left != ret->length) {
		pack_header_release(ret);
		return err_set(err, ERR_FORMAT, "pack header is malformed");
	}
	return 0;
}

int pack_open_chunk(struct pack_coder *c, const struct index_entry *e, const unsigned char *p, unsigned char *out, struct err *err)
{
	unsigned char tail[2 + ID_LEN], id[ID_LEN];
	size_t n_aad;
	if (e->sealed_len <= CHUNK_OVERHEAD || !e->plain_len || e->plain_len > CHUNK_PLAIN_MAX || e->comp > COMP_ZSTD)
		return err_set(err, ERR_FORMAT, "chunk lengths are out of bounds");
	size_t n = e->sealed_len - CHUNK_OVERHEAD;
	if (e->comp == COMP_RAW && n != e->plain_len)
		return err_set(err, ERR_FORMAT, "raw chunk of %zu bytes claims %u", n, e->plain_len);
	const unsigned char *aad = chunk_aad(c, e, tail, &n_aad);
	unsigned char *stored = e->comp == COMP_RAW ? out : room(&c->stored, &c->cap_stored, n);
	int rc = aead_open(c->aead, p, aad, n_aad, p + AEAD_NONCE_LEN, n + AEAD_TAG_LEN, stored, err);
	if (rc)
		return rc;
	if (e->comp == COMP_ZSTD && (rc = zframe_decompress(c->z, stored, n, out, e->plain_len, err)))
		return rc;
	pack_coder_id(c, e->type, out, e->plain_len, id);
	if (!crypto_equal(id, e->id, ID_LEN))
		return err_set(err, ERR_CORRUPT, "chunk opens but its id is another");
	return 0;
}

static int read_trailer(struct pack_coder *c, const unsigned char *end, uint64_t size, uint32_t *off, uint32_t *len, uint32_t *count, struct err *err)
{
	unsigned char t[TRAILER_PLAIN];
	int rc = open_tail(c, "holdfast1 trailer", end - TRAILER_LEN, TRAILER_LEN, t, err);
	if (rc)
		return rc;
	*off = get_u32(t);
	*len = get_u32(t + 4);
	*count = get_u32(t + 8);
	if (*len <= CHUNK_OVERHEAD + 4 || (uint64_t)*off + *len + TRAILER_LEN != size || (uint64_t)*count * ENTRY_LEN + 4 > *len - CHUNK_OVERHEAD)
		return err_set(err, ERR_FORMAT, "pack trailer is out of bounds");
	return 0;
}

static int decode_footer(const unsigned char *plain, uint32_t count, uint32_t off, struct index_entry *e, struct err *err)
{
	const unsigned char *at = plain + 4;
	if (get_u32(plain) != count)
		return err_set(err, ERR_FORMAT, "pack footer and trailer differ");
	for (uint32_t i = 0; i < count; i++, at += ENTRY_LEN) {
		e[i].type = at[0];
		e[i].comp = at[1];
		memcpy(e[i].id, at + 2, ID_LEN);
		e[i].offset = get_u32(at + 34);
		e[i].sealed_len = get_u32(at + 38);
		e[i].plain_len = get_u32(at + 42);
		if ((uint64_t)e[i].offset + e[i].sealed_len > off || e[i].sealed_len <= CHUNK_OVERHEAD)
			return err_set(err, ERR_FORMAT, "pack footer entry %u is out of bounds", i);
	}
	return 0;
}

int pack_footer_tail(struct pack_coder *c, const unsigned char *tail, size_t n, uint64_t size, struct index_entry **ret, size_t *ret_n, size_t *ret_need, struct err *err)
{
	uint32_t off = 0, len = 0, count = 0;
	*ret_need = 0;
	if (size < HEADER_FIXED + TRAILER_LEN || size > PACK_MAX || n > size || n < TRAILER_LEN)
		return err_set(err, ERR_FORMAT, "pack of %llu bytes", (unsigned long long)size);
	int rc = read_trailer(c, tail + n, size, &off, &len, &count, err);
	if (rc)
		return rc;
	if (n < (size_t)len + TRAILER_LEN) {
		*ret_need = (size_t)len + TRAILER_LEN;
		return err_set(err, ERR_FORMAT, "the end of a pack is cut short");
	}
	CLEAN(free_ptr) unsigned char *plain = xmalloc(len);
	if ((rc = open_tail(c, "holdfast1 footer", tail + n - TRAILER_LEN - len, len, plain, err)))
		return rc;
	CLEAN(free_ptr) struct index_entry *e = xcalloc((size_t)count + 1, sizeof *e);
	if ((rc = decode_footer(plain, count, off, e, err)))
		return rc;
	*ret = TAKE(e);
	*ret_n = count;
	return 0;
}

int pack_footer(struct pack_coder *c, const unsigned char *p, size_t n, struct index_entry **ret, size_t *ret_n, struct err *err)
{
	size_t need;
	return pack_footer_tail(c, p, n, n, ret, ret_n, &need, err);
}
