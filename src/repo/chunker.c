#include "repo/chunker.h"

#include <string.h>

const struct chunk_sizes CHUNK_SIZES_SMALL = {32u << 10, 64u << 10, 256u << 10};
const struct chunk_sizes CHUNK_SIZES_RECORDS = {8u << 10, 16u << 10, 64u << 10};
const struct chunk_sizes CHUNK_SIZES_LARGE = {512u << 10, 1u << 20, CHUNK_CUT_MAX};
const struct chunk_sizes CHUNK_SIZES_PAGES = {64u << 10, 64u << 10, 64u << 10};

void gear_init(struct gear *g, const struct secret *chunk_key)
{
	hkdf(g->table, sizeof g->table, chunk_key->p, chunk_key->len, NULL, 0, "holdfast1 gear", 14);
}

static uint64_t top_bits(unsigned n)
{
	return ~0ull << (64 - n);
}

void chunker_init(struct chunker *c, const struct gear *g, const struct chunk_sizes *sz)
{
	unsigned bits = 31u - (unsigned)__builtin_clz(sz->mean);
	c->gear = g;
	c->sz = *sz;
	c->mask_hard = top_bits(bits + 2);
	c->mask_easy = top_bits(bits - 2);
	chunker_reset(c);
}

void chunker_reset(struct chunker *c)
{
	c->hash = 0;
	c->pos = 0;
}

/* Roll over p[0..n) and return the place behind the first byte where the mask is all zero, or 0. */
static size_t roll(const uint64_t *table, uint64_t *hash, uint64_t mask, const unsigned char *p, size_t n)
{
	uint64_t h = *hash;
	for (size_t i = 0; i < n; i++) {
		h = (h << 1) + table[p[i]];
		if (__builtin_expect(!(h & mask), 0)) {
			*hash = h;
			return i + 1;
		}
	}
	*hash = h;
	return 0;
}

size_t chunker_feed(struct chunker *c, const unsigned char *p, size_t n, bool *ret_cut)
{
	size_t used = 0;
	*ret_cut = false;
	if (c->pos < c->sz.min) { /* nothing can be cut here: skip without hashing */
		used = MIN(n, c->sz.min - c->pos);
		c->pos += (uint32_t)used;
	}
	/* two stretches: a hard mask up to the mean, an easy one up to the maximum */
	const uint32_t ends[2] = {MAX(c->sz.mean, c->sz.min), c->sz.max};
	const uint64_t masks[2] = {c->mask_hard, c->mask_easy};
	for (unsigned k = 0; k < 2; k++) {
		if (used == n || c->pos >= ends[k])
			continue;
		size_t room = MIN(n - used, ends[k] - c->pos);
		size_t at = roll(c->gear->table, &c->hash, masks[k], p + used, room);
		if (at) {
			*ret_cut = true;
			return used + at;
		}
		used += room;
		c->pos += (uint32_t)room;
	}
	*ret_cut = c->pos >= c->sz.max;
	return used;
}
