/* Input: a file of allowed signers; the signature is a fixed, sound one by a key of the corpus. */
#include "crypto/signers.h"

#include <string.h>
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned char byte[ED25519_SEED_LEN] = {7};
	static const char text[] = "text";
	char who[SIGNERS_PRINCIPAL];
	struct secret seed = {0};
	secret_set(&seed, byte, sizeof byte);
	char *sig = sshsig_sign(&seed, "holdfast-plan@v1", text, 4);
	int rc = signers_verify(data, size, "holdfast-plan@v1", INT64_C(1790000000000000000), text, 4, sig, strlen(sig), who, NULL);
	if (!rc && (!memchr(who, 0, sizeof who) || !*who || !memmem(data, size, who, strlen(who))))
		abort();
	free(sig);
	secret_release(&seed);
	return 0;
}
