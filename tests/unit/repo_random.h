/* Repeatable random bytes and the mutations that every decoder must survive. */
#ifndef TESTS_UNIT_REPO_RANDOM_H
#define TESTS_UNIT_REPO_RANDOM_H

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline void fill_random(unsigned char *p, size_t n, uint64_t *state)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(next_random(state) >> 24);
}

/* Each shorter length and each single flipped bit, in memory of exactly that size; at: the byte that differs, n when
 * cut. */
typedef void (*mutation_fn)(void *arg, const unsigned char *p, size_t n, size_t at);

static inline void each_mutation(const unsigned char *p, size_t n, mutation_fn fn, void *arg)
{
	for (size_t cut = 0; cut < n; cut++) {
		unsigned char *q = xmalloc(cut);

		memcpy(q, p, cut);
		fn(arg, q, cut, n);
		free(q);
	}
	for (size_t bit = 0; bit < 8 * n; bit++) {
		unsigned char *q = xmalloc(n);

		memcpy(q, p, n);
		q[bit / 8] ^= (unsigned char)(1u << bit % 8);
		fn(arg, q, n, bit / 8);
		free(q);
	}
}

#endif
