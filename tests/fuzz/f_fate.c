/* Input: a fate. A commit that decodes must encode to the same bytes; its list must resolve against itself or fail
 * cleanly. */
#include "repo/snapshot.h"

#include <string.h>
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(fate_release) struct fate f = {0};
	CLEAN(pack_list_release) struct pack_list full = {0};
	CLEAN(buf_release) struct buf b = BUF_INIT(FATE_MAX);
	struct err err;

	if (fate_decode(data, size, &f, &err)) {
		BUG_ON(err.code != ERR_FORMAT);
		return 0;
	}
	if (!f.committed)
		return 0;
	BUG_ON(fate_encode(&f, &b, &err));
	BUG_ON(b.len != size || memcmp(b.p, data, size) != 0);
	if (fate_resolve(&f, &f.removed, &full, &err))
		BUG_ON(err.code != ERR_CORRUPT);
	else
		BUG_ON(full.n != f.list.n);
	return 0;
}
