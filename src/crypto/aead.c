#include "crypto/crypto.h"

#include <string.h>

#include <openssl/evp.h>

#include "crypto/crypto_internal.h"

/* EVP counts in int. */
#define PIECE ((size_t)1 << 30)

/* One context a direction: each keeps its key schedule, a message costs only a nonce. */
struct aead {
	EVP_CIPHER_CTX *enc, *dec;
};

struct aead *aead_new_cipher(const char *name)
{
	struct aead *a = xcalloc(1, sizeof(*a));
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);

	a->enc = EVP_CIPHER_CTX_new();
	a->dec = EVP_CIPHER_CTX_new();
	BUG_ON(!cipher || !a->enc || !a->dec);
	BUG_ON(EVP_EncryptInit_ex2(a->enc, cipher, NULL, NULL, NULL) != 1);
	BUG_ON(EVP_DecryptInit_ex2(a->dec, cipher, NULL, NULL, NULL) != 1);
	BUG_ON(EVP_CIPHER_CTX_get_iv_length(a->enc) != AEAD_NONCE_LEN);
	EVP_CIPHER_free(cipher);
	return a;
}

struct aead *aead_new(void)
{
	return aead_new_cipher("AES-256-GCM");
}

void aead_free(struct aead *a)
{
	if (!a)
		return;
	EVP_CIPHER_CTX_free(a->enc);
	EVP_CIPHER_CTX_free(a->dec);
	free(a);
}

void aead_free_ptr(struct aead **a)
{
	aead_free(*a);
}

void aead_key(struct aead *a, const unsigned char key[AEAD_KEY_LEN])
{
	BUG_ON(EVP_EncryptInit_ex2(a->enc, NULL, key, NULL, NULL) != 1);
	BUG_ON(EVP_DecryptInit_ex2(a->dec, NULL, key, NULL, NULL) != 1);
}

/* out NULL: associated data. */
static void feed(EVP_CIPHER_CTX *ctx, unsigned char *out, const unsigned char *in, size_t n)
{
	while (n) {
		size_t piece = MIN(n, PIECE);
		int done = 0;

		BUG_ON(EVP_CipherUpdate(ctx, out, &done, in, (int)piece) != 1 || (size_t)done != piece);
		out = out ? out + piece : NULL;
		in += piece;
		n -= piece;
	}
}

void aead_seal(struct aead *a, const unsigned char nonce[AEAD_NONCE_LEN], const void *aad, size_t n_aad, const void *in,
        size_t n, unsigned char *out)
{
	int none = 0;

	BUG_ON(EVP_EncryptInit_ex2(a->enc, NULL, NULL, nonce, NULL) != 1);
	feed(a->enc, NULL, aad, n_aad);
	feed(a->enc, out, in, n);
	BUG_ON(EVP_EncryptFinal_ex(a->enc, out + n, &none) != 1 || none != 0);
	BUG_ON(EVP_CIPHER_CTX_ctrl(a->enc, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_LEN, out + n) != 1);
}

int aead_open(struct aead *a, const unsigned char nonce[AEAD_NONCE_LEN], const void *aad, size_t n_aad, const void *in,
        size_t n, unsigned char *out, struct err *err)
{
	unsigned char tag[AEAD_TAG_LEN], nothing[AEAD_TAG_LEN];
	size_t n_plain;
	int none = 0;

	if (n < AEAD_TAG_LEN)
		return err_set(err, ERR_CORRUPT, "sealed data is shorter than its tag");
	n_plain = n - AEAD_TAG_LEN;
	memcpy(tag, (const unsigned char *)in + n_plain, AEAD_TAG_LEN);
	BUG_ON(EVP_DecryptInit_ex2(a->dec, NULL, NULL, nonce, NULL) != 1);
	BUG_ON(EVP_CIPHER_CTX_ctrl(a->dec, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_LEN, tag) != 1);
	feed(a->dec, NULL, aad, n_aad);
	feed(a->dec, out, in, n_plain);
	if (EVP_DecryptFinal_ex(a->dec, nothing, &none) != 1) {
		mem_cleanse(out, n_plain);
		return err_set(err, ERR_CORRUPT, "authentication tag does not match");
	}
	return 0;
}
