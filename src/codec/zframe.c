#include "codec/zframe.h"

#include <string.h>
#include <zstd.h>
#include "base/mem.h"

#define LEVEL_MAX 12
#define WINDOW_LOG_MAX 23 /* 8 MiB */
#define FRAME_MAGIC 0xFD2FB528u

/* The probe looks at pieces spread evenly; below PROBE_MIN bytes compressing costs as little as looking. */
#define PROBE_MIN (32u << 10)
#define SLICES_MIN 8u
#define SLICES_MAX 32u
#define SLICE_LEN 512u
#define SLICE_EVERY (8u << 10)
#define TRIAL_LEN 4096u
/* Pearson's chi-square of a sample of SLICES_MAX pieces: 255 +- 23 for random bytes; 2,000 is an order-0 gain of about 1 %. */
#define CHI_FLAT 2000u

struct zframe {
	ZSTD_CCtx *compress, *probe;
	int level;
	int tuned; /* which of tuning_of() is set */
	ZSTD_DCtx *decompress;
	unsigned char trial[ZSTD_COMPRESSBOUND(TRIAL_LEN)];
};

static void set_param(ZSTD_CCtx *c, ZSTD_cParameter p, int value)
{
	size_t r = ZSTD_CCtx_setParameter(c, p, value);
	if (ZSTD_isError(r))
		BUG("zstd parameter %d=%d: %s", (int)p, value, ZSTD_getErrorName(r));
}

/*
 * Tables that stay in a core's own cache, where zstd's choice for a level does not: measured on chunks of source code, libraries and
 * database pages, level 2 becomes a tenth quicker and no larger so, level 3 a twentieth (docs/performance.md). 0: as zstd has it.
 */
static const struct tuning {
	int level;
	size_t up_to; /* bytes of a chunk */
	int hash_log, chain_log, min_match;
} TUNING[] = {
        {2, 256u << 10, 16, 0, 5},
        {2, SIZE_MAX, 15, 0, 5},
        {3, 256u << 10, 15, 15, 0},
};

static void tune(struct zframe *z, size_t n)
{
	int found = -1;
	for (size_t i = 0; i < sizeof(TUNING) / sizeof(*TUNING) && found < 0; i++)
		if (TUNING[i].level == z->level && n <= TUNING[i].up_to)
			found = (int)i;
	if (found == z->tuned)
		return;
	const struct tuning none = {0}, *t = found < 0 ? &none : &TUNING[found];
	set_param(z->compress, ZSTD_c_hashLog, t->hash_log);
	set_param(z->compress, ZSTD_c_chainLog, t->chain_log);
	set_param(z->compress, ZSTD_c_minMatch, t->min_match);
	z->tuned = found;
}

static ZSTD_CCtx *cctx_new(int level)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	BUG_ON(!c);
	set_param(c, ZSTD_c_compressionLevel, level);
	set_param(c, ZSTD_c_contentSizeFlag, 1);
	set_param(c, ZSTD_c_checksumFlag, 0);
	return c;
}

struct zframe *zframe_new(int level)
{
	struct zframe *z = xcalloc(1, sizeof(*z));
	z->level = level < 1 ? 1 : MIN(level, LEVEL_MAX);
	z->tuned = -1;
	z->compress = cctx_new(z->level);
	z->probe = cctx_new(1);
	z->decompress = ZSTD_createDCtx();
	BUG_ON(!z->decompress);
	BUG_ON(ZSTD_isError(ZSTD_DCtx_setParameter(z->decompress, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)));
	return z;
}

void zframe_free(struct zframe *z)
{
	if (!z)
		return;
	ZSTD_freeCCtx(z->compress);
	ZSTD_freeCCtx(z->probe);
	ZSTD_freeDCtx(z->decompress);
	free(z);
}

size_t zframe_memory(int level)
{
	/* ZSTD_sizeof_CCtx of 1.5.4 in MiB, rounded up */
	static const unsigned char mib[LEVEL_MAX + 1] = {1, 1, 1, 2, 3, 4, 4, 7, 7, 13, 25, 25, 49};
	return (size_t)mib[level < 1 ? 1 : MIN(level, LEVEL_MAX)] << 20;
}

size_t zframe_bound(size_t n)
{
	return ZSTD_compressBound(n);
}

static bool worth_it(size_t plain, size_t packed)
{
	return packed < plain && plain - packed >= plain / 64;
}

/* Integers only: the answer must be the same on every machine. */
static bool looks_random(const unsigned char *p, size_t n)
{
	uint32_t count[4][256] = {{0}};
	const size_t slices = MAX(MIN(n / SLICE_EVERY, (size_t)SLICES_MAX), (size_t)SLICES_MIN);
	size_t step = (n - SLICE_LEN) / (slices - 1);
	for (size_t s = 0; s < slices; s++) {
		const unsigned char *q = p + s * step;
		for (size_t i = 0; i < SLICE_LEN; i += 4) {
			count[0][q[i]]++;
			count[1][q[i + 1]]++;
			count[2][q[i + 2]]++;
			count[3][q[i + 3]]++;
		}
	}
	uint64_t squares = 0;
	for (size_t i = 0; i < 256; i++) {
		uint64_t c = (uint64_t)count[0][i] + count[1][i] + count[2][i] + count[3][i];
		squares += c * c;
	}
	const uint64_t sample = slices * SLICE_LEN;
	return squares * 256 < sample * (sample + CHI_FLAT * slices / SLICES_MAX);
}

/* A flat histogram may still hide short repeats, which one small trial finds. */
static bool is_incompressible(struct zframe *z, const unsigned char *p, size_t n)
{
	if (n < PROBE_MIN || !looks_random(p, n))
		return false;
	size_t r = ZSTD_compress2(z->probe, z->trial, sizeof(z->trial), p + (n - TRIAL_LEN) / 2, TRIAL_LEN);
	return ZSTD_isError(r) || !worth_it(TRIAL_LEN, r);
}

size_t zframe_compress(struct zframe *z, const void *p, size_t n, void *out, size_t cap)
{
	BUG_ON(cap < zframe_bound(n));
	if (is_incompressible(z, p, n))
		return 0;
	tune(z, n);
	size_t r = ZSTD_compress2(z->compress, out, cap, p, n);
	if (ZSTD_isError(r))
		BUG("zstd compression: %s", ZSTD_getErrorName(r));
	return worth_it(n, r) ? r : 0;
}

/* Window_Descriptor of RFC 8878, 3.1.1.1.2; a single-segment frame has none, its window is its content. One-shot
 * decoding would not look at it, since the output serves as the window. */
static bool window_fits(const unsigned char *p, size_t n)
{
	if (n < 6)
		return false;
	if (p[4] & 0x20)
		return true;
	unsigned exponent = p[5] >> 3, mantissa = p[5] & 7;
	return 10 + exponent < WINDOW_LOG_MAX || (10 + exponent == WINDOW_LOG_MAX && mantissa == 0);
}

int zframe_decompress(struct zframe *z, const void *p, size_t n, void *out, size_t n_out, struct err *err)
{
	if (n < 4 || get_u32(p) != FRAME_MAGIC)
		return err_set(err, ERR_CORRUPT, "not a zstd frame");
	if (!window_fits(p, n))
		return err_set(err, ERR_CORRUPT, "zstd frame with a window over 8 MiB");
	if (ZSTD_getFrameContentSize(p, n) != n_out)
		return err_set(err, ERR_CORRUPT, "zstd frame does not announce %zu bytes", n_out);
	if (ZSTD_findFrameCompressedSize(p, n) != n)
		return err_set(err, ERR_CORRUPT, "zstd frame is cut short or followed by other bytes");
	size_t r = ZSTD_decompressDCtx(z->decompress, out, n_out, p, n);
	if (ZSTD_isError(r))
		return err_set(err, ERR_CORRUPT, "zstd frame: %s", ZSTD_getErrorName(r));
	if (r != n_out)
		return err_set(err, ERR_CORRUPT, "zstd frame yields %zu bytes instead of %zu", r, n_out);
	return 0;
}
