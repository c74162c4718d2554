/* Input: the plaintext of an index segment. What is accepted must merge and come back. */
#include "repo/index.h"

#include <string.h>
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_up(const struct index *ix, const uint8_t *data, size_t size)
{
	for (size_t at = 12; at + ID_LEN <= size; at += 4) {
		struct index_place place;

		for (unsigned n = 0; n < 4 && index_lookup_nth(ix, data + at, n, &place); n++) {
			struct index_pack pack;

			BUG_ON(place.pack_no >= index_packs(ix));
			BUG_ON((uint64_t)place.offset + place.sealed_len > place.pack_size);
			index_pack_get(ix, place.pack_no, &pack);
			BUG_ON(memcmp(pack.digest, place.pack_digest, ID_LEN) != 0);
		}
		(void)index_pack_find(ix, data + at);
	}
}

static void from_memory(const uint8_t *data, size_t size)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(size), merged = BUF_INIT(INDEX_MAX);
	struct index *ix = index_new(), *again = index_new();
	struct err err;

	buf_add(&b, data, size);
	if (!index_add(ix, "cache", &b, &err)) {
		look_up(ix, data, size);
		BUG_ON(index_merge(ix, INDEX_ALL, &merged, &err));
		BUG_ON(index_add(again, "cache", &merged, &err));
		BUG_ON(index_entries(again) > index_entries(ix) || index_packs(again) > index_packs(ix));
	}
	index_free(ix);
	index_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	from_memory(data, size);
	return 0;
}
