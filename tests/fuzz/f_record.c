/* Evidence records: whatever parses is canonical, so it is what its own JSON gives back. */
#include <string.h>
#include "evidence/evidence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(buf_release) struct buf again = BUF_INIT(EVIDENCE_RECORD_MAX);
	struct evidence_record r;

	if (evidence_record_parse(data, size, &r, NULL))
		return 0;
	BUG_ON(json_canonical(r.json, &again, NULL) != 0);
	BUG_ON(again.len != size || memcmp(again.p, data, size) != 0);
	evidence_record_release(&r);
	return 0;
}
