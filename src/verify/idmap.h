/*
 * Numbers by id, in memory: open addressing over the first 16 bytes, which tell ids apart because they are MACs or
 * digests. 20 bytes a place, at least a quarter of the places empty. Not thread-safe.
 */
#ifndef VERIFY_IDMAP_H
#define VERIFY_IDMAP_H

#include "repo/format.h"

#define IDMAP_KEY_LEN 16u
struct idmap {
	unsigned char (*key)[IDMAP_KEY_LEN];
	uint32_t *value; /* 0: empty */
	size_t n, cap;   /* cap is a power of two */
};
void idmap_release(struct idmap *m);
/* 0 when the id is not there. */
uint32_t idmap_get(const struct idmap *m, const unsigned char id[ID_LEN]);
/* value is not 0; one that was there is replaced. */
void idmap_set(struct idmap *m, const unsigned char id[ID_LEN], uint32_t value);

#endif
