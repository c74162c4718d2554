#include "evidence/evidence.h"

#include <string.h>

typedef const unsigned char (*leaf_array)[SHA256_LEN];

void merkle_init(struct merkle *m)
{
	memset(m, 0, sizeof(*m));
}

void merkle_leaf(const void *record, size_t n, unsigned char out[SHA256_LEN])
{
	CLEAN(sha256_free_ptr) struct sha256 *h = sha256_new();

	sha256_update(h, "\0", 1);
	sha256_update(h, record, n);
	sha256_final(h, out);
}

static void node_hash(const unsigned char *left, const unsigned char *right, unsigned char *out)
{
	unsigned char b[1 + 2 * SHA256_LEN] = {1};

	memcpy(b + 1, left, SHA256_LEN);
	memcpy(b + 1 + SHA256_LEN, right, SHA256_LEN);
	sha256_of(b, sizeof(b), out);
}

void merkle_append(struct merkle *m, const unsigned char leaf[SHA256_LEN])
{
	unsigned char h[SHA256_LEN];
	unsigned i = 0;

	memcpy(h, leaf, sizeof(h));
	for (; m->size >> i & 1; i++)
		node_hash(m->peak[i], h, h);
	BUG_ON(i >= 64);
	memcpy(m->peak[i], h, sizeof(h));
	m->size++;
}

void merkle_root(const struct merkle *m, unsigned char out[SHA256_LEN])
{
	bool any = false;

	for (unsigned i = 0; i < 64; i++) {
		if (!(m->size >> i & 1))
			continue;
		if (any)
			node_hash(m->peak[i], out, out);
		else
			memcpy(out, m->peak[i], SHA256_LEN);
		any = true;
	}
	if (!any)
		sha256_of("", 0, out);
}

static void range_root(leaf_array leaves, uint64_t from, uint64_t to, unsigned char out[SHA256_LEN])
{
	struct merkle m;

	merkle_init(&m);
	for (uint64_t i = from; i < to; i++)
		merkle_append(&m, leaves[i]);
	merkle_root(&m, out);
}

/* The largest power of two below n, for n of at least 2. */
static uint64_t split_of(uint64_t n)
{
	return 1ull << (63 - __builtin_clzll(n - 1));
}

static int put_range(leaf_array leaves, uint64_t from, uint64_t to, struct buf *out, struct err *err)
{
	unsigned char h[SHA256_LEN];

	range_root(leaves, from, to, h);
	return buf_put(out, h, sizeof(h), err);
}

/* Both proofs are made from the root down; a proof lists the siblings from the leaf up. */
static void reverse_hashes(struct buf *out, size_t from)
{
	unsigned char t[SHA256_LEN];
	size_t n = (out->len - from) / SHA256_LEN;

	for (size_t i = 0; i < n / 2; i++) {
		unsigned char *a = out->p + from + i * SHA256_LEN, *b = out->p + from + (n - 1 - i) * SHA256_LEN;

		memcpy(t, a, sizeof(t));
		memcpy(a, b, sizeof(t));
		memcpy(b, t, sizeof(t));
	}
}

int merkle_inclusion(
        const unsigned char (*leaves)[SHA256_LEN], uint64_t n, uint64_t index, struct buf *out, struct err *err)
{
	uint64_t from = 0, to = n;
	size_t start = out->len;

	if (index >= n)
		return err_set(err, ERR_USAGE, "no record %llu in a log of %llu", (unsigned long long)index,
		        (unsigned long long)n);
	while (to - from > 1) {
		uint64_t mid = from + split_of(to - from);
		bool left = index < mid;

		if (put_range(leaves, left ? mid : from, left ? to : mid, out, err))
			return -ERR_NOMEM;
		if (left)
			to = mid;
		else
			from = mid;
	}
	reverse_hashes(out, start);
	return 0;
}

int merkle_consistency(
        const unsigned char (*leaves)[SHA256_LEN], uint64_t n, uint64_t old_size, struct buf *out, struct err *err)
{
	uint64_t from = 0, to = n;
	size_t start = out->len;

	if (old_size == 0 || old_size > n)
		return err_set(err, ERR_USAGE, "no tree of %llu in a log of %llu", (unsigned long long)old_size,
		        (unsigned long long)n);
	while (old_size != to) {
		uint64_t mid = from + split_of(to - from);
		bool left = old_size <= mid;

		if (put_range(leaves, left ? mid : from, left ? to : mid, out, err))
			return -ERR_NOMEM;
		if (left)
			to = mid;
		else
			from = mid;
	}
	/* The old tree is this whole subtree: its root is known to the reader when it began at the left edge. */
	if (from != 0 && put_range(leaves, from, to, out, err))
		return -ERR_NOMEM;
	reverse_hashes(out, start);
	return 0;
}

/* The nodes left of the old tree's end are its peaks: nothing of it has to be read again. */
int merkle_consistency_on(const struct merkle *old, const unsigned char (*more)[SHA256_LEN], uint64_t n_more,
        struct buf *out, struct err *err)
{
	uint64_t from = 0, to = old->size + n_more;
	size_t start = out->len;

	if (!old->size)
		return err_set(err, ERR_USAGE, "there is no proof for an empty tree");
	while (old->size != to) {
		uint64_t mid = from + split_of(to - from);
		bool left = old->size <= mid;
		int rc = left ? put_range(more, mid - old->size, to - old->size, out, err)
		              : buf_put(out, old->peak[__builtin_ctzll(mid - from)], SHA256_LEN, err);

		if (rc)
			return rc;
		if (left)
			to = mid;
		else
			from = mid;
	}
	if (from != 0 && buf_put(out, old->peak[__builtin_ctzll(to - from)], SHA256_LEN, err))
		return -ERR_NOMEM;
	reverse_hashes(out, start);
	return 0;
}

bool merkle_inclusion_ok(const unsigned char leaf[SHA256_LEN], uint64_t index, uint64_t size,
        const unsigned char *proof, size_t n_proof, const unsigned char root[SHA256_LEN])
{
	unsigned char r[SHA256_LEN];
	uint64_t fn = index, sn = size - 1;

	if (index >= size)
		return false;
	memcpy(r, leaf, sizeof(r));
	for (size_t i = 0; i < n_proof; i++) {
		const unsigned char *p = proof + i * SHA256_LEN;

		if (sn == 0)
			return false;
		if (fn & 1 || fn == sn) {
			node_hash(p, r, r);
			for (; !(fn & 1) && fn; fn >>= 1)
				sn >>= 1;
		} else {
			node_hash(r, p, r);
		}
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && memcmp(r, root, sizeof(r)) == 0;
}

bool merkle_consistency_ok(uint64_t old_size, const unsigned char old_root[SHA256_LEN], uint64_t size,
        const unsigned char root[SHA256_LEN], const unsigned char *proof, size_t n_proof)
{
	unsigned char fr[SHA256_LEN], sr[SHA256_LEN];
	uint64_t fn = old_size - 1, sn = size - 1;
	size_t i = 0;

	if (old_size == 0 || old_size > size)
		return false;
	if (old_size == size)
		return n_proof == 0 && memcmp(old_root, root, SHA256_LEN) == 0;
	for (; fn & 1; fn >>= 1)
		sn >>= 1;
	if (fn == 0) { /* old_size is a power of two: the old root is the first node itself */
		memcpy(fr, old_root, sizeof(fr));
	} else {
		if (n_proof == 0)
			return false;
		memcpy(fr, proof, sizeof(fr));
		i = 1;
	}
	memcpy(sr, fr, sizeof(sr));
	for (; i < n_proof; i++) {
		const unsigned char *c = proof + i * SHA256_LEN;

		if (sn == 0)
			return false;
		if (fn & 1 || fn == sn) {
			node_hash(c, fr, fr);
			node_hash(c, sr, sr);
			for (; !(fn & 1) && fn; fn >>= 1)
				sn >>= 1;
		} else {
			node_hash(sr, c, sr);
		}
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && memcmp(fr, old_root, sizeof(fr)) == 0 && memcmp(sr, root, sizeof(sr)) == 0;
}
