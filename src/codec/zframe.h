/* zstd frames: the only user of libzstd. Contexts are reused and belong to one thread. */
#ifndef CODEC_ZFRAME_H
#define CODEC_ZFRAME_H

#include "base/buf.h"

struct zframe;
struct zframe *zframe_new(int level); /* 1..12, clamped */
void zframe_free(struct zframe *z);
size_t zframe_memory(int level); /* that compression takes, at most, for chunks of up to 4 MiB */
size_t zframe_bound(size_t n); /* room that compress needs for n bytes */
/* Compress n bytes into out (cap >= zframe_bound(n)); frame without checksum, with content size. Returns its length;
 * 0 means "store raw": a cheap probe of the data, or the result, says that it does not shrink by at least 1/64. */
size_t zframe_compress(struct zframe *z, const void *p, size_t n, void *out, size_t cap);
/* Decompress exactly one frame that must yield exactly n_out bytes, window at most 8 MiB; else ERR_CORRUPT. */
int zframe_decompress(struct zframe *z, const void *p, size_t n, void *out, size_t n_out, struct err *err) HF_NODISCARD;

#endif
