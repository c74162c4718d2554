/* Input: announced length (u32), then a frame; the whole input is also compressed and must come back. */
#include "codec/zframe.h"

#include <string.h>
#include "base/mem.h"

#define OUT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(struct zframe *z, const uint8_t *data, size_t size)
{
	struct err err;
	size_t cap = zframe_bound(size);
	unsigned char *packed = xmalloc(cap), *back = xmalloc(size);
	size_t n = zframe_compress(z, data, size, packed, cap);
	if (n) {
		BUG_ON(zframe_decompress(z, packed, n, back, size, &err));
		BUG_ON(memcmp(back, data, size) != 0);
	}
	free(packed);
	free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd r = rd_init(data, size);
	size_t n_out = rd_u32(&r) % (OUT_MAX + 1);
	struct err err;
	if (!rd_ok(&r))
		return 0;
	struct zframe *z = zframe_new(3);
	unsigned char *out = xmalloc(n_out);
	if (zframe_decompress(z, r.p, r.left, out, n_out, &err) && err.code != ERR_CORRUPT)
		BUG("unexpected error %d", (int)err.code);
	free(out);
	check_round_trip(z, data, size);
	zframe_free(z);
	return 0;
}
