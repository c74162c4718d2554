/* Content-defined cutting: FastCDC-style gear hash with a table from the secret chunk_key (docs/format, "How a writer cuts"). */
#ifndef REPO_CHUNKER_H
#define REPO_CHUNKER_H

#include "crypto/crypto.h"

struct chunk_sizes {
	uint32_t min, mean, max; /* min == max: fixed cutting */
};
/* Stretches of small files; entries and notes; large files; files whose pages change in place. */
extern const struct chunk_sizes CHUNK_SIZES_SMALL, CHUNK_SIZES_RECORDS, CHUNK_SIZES_LARGE, CHUNK_SIZES_PAGES;
#define CHUNK_CUT_MAX (4u << 20) /* the largest maximum of them */
#define LARGE_FILE (512u << 10)

struct gear {
	uint64_t table[256];
};
void gear_init(struct gear *g, const struct secret *chunk_key);

/* State of one stream's current chunk; feed it the chunk's bytes in any portions. */
struct chunker {
	const struct gear *gear;
	struct chunk_sizes sz;
	uint64_t hash, mask_hard, mask_easy;
	uint32_t pos; /* bytes of the chunk seen */
};
void chunker_init(struct chunker *c, const struct gear *g, const struct chunk_sizes *sz);
void chunker_reset(struct chunker *c); /* a new chunk begins */
/* Look at n more bytes: how many of them belong to this chunk. *ret_cut tells whether it ends there (then reset). */
size_t chunker_feed(struct chunker *c, const unsigned char *p, size_t n, bool *ret_cut);

#endif
