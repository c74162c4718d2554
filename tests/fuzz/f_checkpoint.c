/* Checkpoints and verifier keys. A note that nobody signed must not verify, whatever it says. */
#include <string.h>
#include "evidence/evidence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned char pub[ED25519_PUB_LEN] = {0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b,
	        0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a,
	        0x68, 0xf7, 0x07, 0x51, 0x1a}; /* RFC 8032, 7.1, test 1 */
	unsigned char other[ED25519_PUB_LEN];
	struct evidence_checkpoint cp;

	if (evidence_note_parse(data, size, &cp, NULL) == 0)
		BUG_ON(cp.n_text >= size || cp.origin[sizeof(cp.origin) - 1] != 0);
	BUG_ON(evidence_note_verify(data, size, pub, &cp, NULL) == 0);
	if (evidence_vkey_parse((const char *)data, size, other, NULL) == 0) {
		CLEAN(free_ptr) char *again = evidence_vkey(other);

		BUG_ON(strlen(again) != size || memcmp(again, data, size) != 0);
	}
	return 0;
}
