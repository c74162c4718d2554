#include <check.h>
#include <string.h>

#include "base/str.h"
#include "crypto/crypto.h"
#include "hex.h"
#include "suite.h"

START_TEST(init_accepts_this_openssl)
{
	crypto_init();
}
END_TEST

START_TEST(equal_compares_all_bytes)
{
	ck_assert(crypto_equal("abc", "abc", 3));
	ck_assert(!crypto_equal("abc", "abd", 3));
	ck_assert(!crypto_equal("abc", "bbc", 3));
	ck_assert(crypto_equal("abc", "abd", 2));
}
END_TEST

/* FIPS 180-4 examples. */
START_TEST(sha256_matches_published_examples)
{
	unsigned char out[SHA256_LEN];

	sha256_of("", 0, out);
	assert_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	sha256_of("abc", 3, out);
	assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
END_TEST

START_TEST(sha256_streams_in_pieces_and_is_reusable_after_reset)
{
	CLEAN(sha256_free_ptr) struct sha256 *h = sha256_new();
	unsigned char out[SHA256_LEN], a[1000];
	int i, round;

	memset(a, 'a', sizeof(a));
	for (round = 0; round < 2; round++) {
		for (i = 0; i < 1000; i++)
			sha256_update(h, a, sizeof(a));
		sha256_final(h, out);
		assert_hex(out, 32, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
		sha256_reset(h);
	}
}
END_TEST

struct mac_case {
	const char *key, *data, *mac;
};

/* RFC 4231, cases 1-4, 6 and 7. */
static const struct mac_case mac_cases[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
                "dddddddddddddddddddddddddddddddd",
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {"0102030405060708090a0b0c0d0e0f10111213141516171819",
                "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
                "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
};

START_TEST(hmac_matches_rfc4231)
{
	const struct mac_case *c = &mac_cases[_i];
	unsigned char key[64], data[64], out[SHA256_LEN];
	size_t n_key = unhex(key, c->key), n = unhex(data, c->data);
	struct hmac *h = hmac_new(key, n_key);

	hmac_of(h, NULL, 0, data, n, out);
	assert_hex(out, 32, c->mac);
	hmac_free(h);
}
END_TEST

START_TEST(hmac_takes_keys_longer_than_a_block)
{
	static const char data[] = "Test Using Larger Than Block-Size Key - Hash Key First";
	unsigned char key[131], out[SHA256_LEN];
	struct hmac *h;

	memset(key, 0xaa, sizeof(key));
	h = hmac_new(key, sizeof(key));
	hmac_of(h, NULL, 0, data, strlen(data), out);
	assert_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	hmac_free(h);
}
END_TEST

START_TEST(hmac_of_joins_prefix_and_data_and_keeps_its_key)
{
	struct hmac *h = hmac_new("Jefe", 4);
	unsigned char out[SHA256_LEN];
	int i;

	for (i = 0; i < 3; i++) {
		memset(out, 0, sizeof(out));
		hmac_of(h, "what do ya ", 11, "want for nothing?", 17, out);
		assert_hex(out, 32, mac_cases[1].mac);
	}
	hmac_begin(h);
	hmac_update(h, "what do ya want ", 16);
	hmac_update(h, "for nothing?", 12);
	hmac_final(h, out);
	assert_hex(out, 32, mac_cases[1].mac);
	hmac_free(h);
}
END_TEST

START_TEST(hmac_dup_is_independent_of_its_origin)
{
	struct hmac *h = hmac_new("Jefe", 4), *d = hmac_dup(h);
	unsigned char out[SHA256_LEN];

	hmac_begin(h);
	hmac_update(h, "other bytes", 11);
	hmac_free(h);
	hmac_of(d, NULL, 0, "what do ya want for nothing?", 28, out);
	assert_hex(out, 32, mac_cases[1].mac);
	hmac_free(d);
}
END_TEST

START_TEST(hmac_with_an_empty_key_equals_a_block_of_zeros)
{
	static const unsigned char zeros[64];
	struct hmac *empty = hmac_new(NULL, 0), *padded = hmac_new(zeros, sizeof(zeros));
	unsigned char a[SHA256_LEN], b[SHA256_LEN];

	hmac_of(empty, NULL, 0, "x", 1, a);
	hmac_of(padded, NULL, 0, "x", 1, b);
	ck_assert_mem_eq(a, b, sizeof(a));
	hmac_free(empty);
	hmac_free(padded);
}
END_TEST

struct kdf_case {
	const char *ikm, *salt, *info, *okm;
};

/* RFC 5869, A.1 to A.3. */
static const struct kdf_case kdf_cases[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
         "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
         "404142434445464748494a4b4c4d4e4f",
                "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f"
                "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
                "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
                "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf"
                "d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef"
                "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
                "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
                "cc30c58179ec3e87c14c01d5c1f3434f1d87"},
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
};

START_TEST(hkdf_matches_rfc5869)
{
	const struct kdf_case *c = &kdf_cases[_i];
	unsigned char ikm[128], salt[128], info[128], okm[128];
	size_t n_ikm = unhex(ikm, c->ikm), n_salt = unhex(salt, c->salt), n_info = unhex(info, c->info);
	size_t n = strlen(c->okm) / 2;

	hkdf(okm, n, ikm, n_ikm, n_salt ? salt : NULL, n_salt, n_info ? info : NULL, n_info);
	assert_hex(okm, n, c->okm);
}
END_TEST

struct gcm_case {
	const char *key, *nonce, *aad, *plain, *sealed;
};

#define GCM_KEY "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
#define GCM_PLAIN                                                                                                      \
	"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"             \
	"b16aedf5aa0de657ba637b39"
#define GCM_CIPHER                                                                                                     \
	"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"             \
	"c5f61e6393ba7a0abcc9f662"

/* Test cases 13 to 16 of the GCM specification that NIST SP 800-38D adopted. */
static const struct gcm_case gcm_cases[] = {
        {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "",
                "530f8afbc74536b9a963b4f1c4cb738b"},
        {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "",
                "00000000000000000000000000000000", "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
        {GCM_KEY, "cafebabefacedbaddecaf888", "", GCM_PLAIN "1aafd255",
                GCM_CIPHER "898015adb094dac5d93471bdec1a502270e3cc6c"},
        {GCM_KEY, "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2", GCM_PLAIN,
                GCM_CIPHER "76fc6ece0f4e1768cddf8853bb2d551b"},
};

START_TEST(aead_matches_published_vectors_both_ways)
{
	const struct gcm_case *c = &gcm_cases[_i];
	unsigned char key[AEAD_KEY_LEN], nonce[AEAD_NONCE_LEN], aad[64], plain[128], sealed[128], opened[128];
	size_t n_aad, n;
	struct aead *a = aead_new();
	struct err err = ERR_INIT;

	unhex(key, c->key);
	unhex(nonce, c->nonce);
	n_aad = unhex(aad, c->aad);
	n = unhex(plain, c->plain);
	aead_key(a, key);
	aead_seal(a, nonce, aad, n_aad, plain, n, sealed);
	assert_hex(sealed, n + AEAD_TAG_LEN, c->sealed);
	ck_assert_int_eq(aead_open(a, nonce, aad, n_aad, sealed, n + AEAD_TAG_LEN, opened, &err), 0);
	ck_assert_mem_eq(opened, plain, n);
	aead_free(a);
}
END_TEST

#define BOX_LEN 48
/* One sealed message and all that opening it takes. */
struct box {
	struct aead *a;
	unsigned char key[AEAD_KEY_LEN], nonce[AEAD_NONCE_LEN], aad[20], plain[BOX_LEN], sealed[BOX_LEN + AEAD_TAG_LEN];
};

static void box_init(struct box *b)
{
	memset(b, 0x5a, sizeof(*b));
	b->a = aead_new();
	aead_key(b->a, b->key);
	aead_seal(b->a, b->nonce, b->aad, sizeof(b->aad), b->plain, BOX_LEN, b->sealed);
}

static int box_open(struct box *b, size_t n, unsigned char *out)
{
	struct err err = ERR_INIT;
	int ret = aead_open(b->a, b->nonce, b->aad, sizeof(b->aad), b->sealed, n, out, &err);

	ck_assert_int_eq(ret, -(int)err.code);
	return ret;
}

static void assert_refused(struct box *b, size_t n)
{
	static const unsigned char zeros[BOX_LEN];
	unsigned char out[BOX_LEN + AEAD_TAG_LEN];

	memset(out, 0xff, sizeof(out));
	ck_assert_int_eq(box_open(b, n, out), -ERR_CORRUPT);
	if (n >= AEAD_TAG_LEN)
		ck_assert_mem_eq(out, zeros, n - AEAD_TAG_LEN);
}

START_TEST(aead_refuses_every_flipped_bit_and_cleanses_its_output)
{
	struct box b;
	unsigned char out[BOX_LEN], *fields[] = {b.nonce, b.aad, b.sealed};
	const size_t lens[] = {sizeof(b.nonce), sizeof(b.aad), sizeof(b.sealed)};
	size_t f, bit;

	box_init(&b);
	for (f = 0; f < ARRAY_LEN(fields); f++) {
		for (bit = 0; bit < 8 * lens[f]; bit++) {
			fields[f][bit / 8] ^= (unsigned char)(1 << bit % 8);
			assert_refused(&b, sizeof(b.sealed));
			fields[f][bit / 8] ^= (unsigned char)(1 << bit % 8);
		}
	}
	ck_assert_int_eq(box_open(&b, sizeof(b.sealed), out), 0);
	ck_assert_mem_eq(out, b.plain, BOX_LEN);
	aead_free(b.a);
}
END_TEST

START_TEST(aead_refuses_every_shorter_length)
{
	struct box b;
	size_t n;

	box_init(&b);
	for (n = 0; n < sizeof(b.sealed); n++)
		assert_refused(&b, n);
	aead_free(b.a);
}
END_TEST

START_TEST(aead_refuses_another_key_and_opens_again_with_the_first)
{
	struct box b;
	unsigned char other[AEAD_KEY_LEN], out[BOX_LEN];

	box_init(&b);
	memcpy(other, b.key, sizeof(other));
	other[31] ^= 1;
	aead_key(b.a, other);
	assert_refused(&b, sizeof(b.sealed));
	aead_key(b.a, b.key);
	ck_assert_int_eq(box_open(&b, sizeof(b.sealed), out), 0);
	aead_free(b.a);
}
END_TEST

START_TEST(aead_works_in_place)
{
	struct box b;
	unsigned char data[BOX_LEN + AEAD_TAG_LEN];

	box_init(&b);
	memcpy(data, b.plain, BOX_LEN);
	aead_seal(b.a, b.nonce, b.aad, sizeof(b.aad), data, BOX_LEN, data);
	ck_assert_mem_eq(data, b.sealed, sizeof(data));
	ck_assert_int_eq(aead_open(b.a, b.nonce, b.aad, sizeof(b.aad), data, sizeof(data), data, NULL), 0);
	ck_assert_mem_eq(data, b.plain, BOX_LEN);
	aead_free(b.a);
}
END_TEST

struct sign_case {
	const char *seed, *pub, *msg, *sig;
};

/* RFC 8032, 7.1, tests 1 to 3. */
static const struct sign_case sign_cases[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
                "d25bf5f0595bbe24655141438e7a100b"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
                "387b2eaeb4302aeeb00d291612bb0c00"},
        {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
                "4a7c15e9716ed28dc027beceea1ec40a"},
};

START_TEST(ed25519_matches_rfc8032)
{
	const struct sign_case *c = &sign_cases[_i];
	CLEAN(secret_release) struct secret seed = {0};
	unsigned char pub[ED25519_PUB_LEN], msg[8], sig[ED25519_SIG_LEN];
	size_t n = unhex(msg, c->msg), bit;

	secret_from_hex(&seed, c->seed);
	ed25519_public(&seed, pub);
	assert_hex(pub, sizeof(pub), c->pub);
	ed25519_sign(&seed, msg, n, sig);
	assert_hex(sig, sizeof(sig), c->sig);
	ck_assert(ed25519_verify(pub, msg, n, sig));
	ck_assert(!ed25519_verify(pub, "x", 1, sig));
	for (bit = 0; bit < 8 * sizeof(sig); bit++) {
		sig[bit / 8] ^= (unsigned char)(1 << bit % 8);
		ck_assert(!ed25519_verify(pub, msg, n, sig));
		sig[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	pub[0] ^= 1;
	ck_assert(!ed25519_verify(pub, msg, n, sig));
}
END_TEST

START_TEST(generated_keys_differ_and_match_their_public_halves)
{
	CLEAN(secret_release) struct secret a = {0}, b = {0};
	unsigned char pub_a[32], pub_b[32], again[32];

	ed25519_generate(&a, pub_a);
	x25519_generate(&b, pub_b);
	ck_assert_uint_eq(a.len, ED25519_SEED_LEN);
	ck_assert_uint_eq(b.len, X25519_LEN);
	ck_assert(!crypto_equal(a.p, b.p, 32));
	ed25519_public(&a, again);
	ck_assert_mem_eq(again, pub_a, 32);
	x25519_public(&b, again);
	ck_assert_mem_eq(again, pub_b, 32);
}
END_TEST

START_TEST(ed25519_pem_is_subject_public_key_info)
{
	unsigned char pub[ED25519_PUB_LEN], der[64];
	CLEAN(free_ptr) char *pem = NULL;
	char *line, *end;
	long n;

	unhex(pub, sign_cases[0].pub);
	pem = ed25519_pem(pub);
	line = strchr(pem, '\n');
	ck_assert_int_eq(strncmp(pem, "-----BEGIN PUBLIC KEY-----\n", 27), 0);
	end = strchr(line + 1, '\n');
	ck_assert_str_eq(end, "\n-----END PUBLIC KEY-----\n");
	n = base64_decode(der, line + 1, (size_t)(end - line - 1));
	/* RFC 8410, 4: twelve bytes of structure and the key. */
	ck_assert_int_eq(n, 44);
	assert_hex(der, 12, "302a300506032b6570032100");
	ck_assert_mem_eq(der + 12, pub, sizeof(pub));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("crypto");
	TCase *hash = tcase_create("hash");
	TCase *aead = tcase_create("aead");
	TCase *sign = tcase_create("sign");

	tcase_add_test(hash, init_accepts_this_openssl);
	tcase_add_test(hash, equal_compares_all_bytes);
	tcase_add_test(hash, sha256_matches_published_examples);
	tcase_add_test(hash, sha256_streams_in_pieces_and_is_reusable_after_reset);
	tcase_add_loop_test(hash, hmac_matches_rfc4231, 0, ARRAY_LEN(mac_cases));
	tcase_add_test(hash, hmac_takes_keys_longer_than_a_block);
	tcase_add_test(hash, hmac_of_joins_prefix_and_data_and_keeps_its_key);
	tcase_add_test(hash, hmac_dup_is_independent_of_its_origin);
	tcase_add_test(hash, hmac_with_an_empty_key_equals_a_block_of_zeros);
	tcase_add_loop_test(hash, hkdf_matches_rfc5869, 0, ARRAY_LEN(kdf_cases));
	tcase_add_loop_test(aead, aead_matches_published_vectors_both_ways, 0, ARRAY_LEN(gcm_cases));
	tcase_add_test(aead, aead_refuses_every_flipped_bit_and_cleanses_its_output);
	tcase_add_test(aead, aead_refuses_every_shorter_length);
	tcase_add_test(aead, aead_refuses_another_key_and_opens_again_with_the_first);
	tcase_add_test(aead, aead_works_in_place);
	tcase_add_loop_test(sign, ed25519_matches_rfc8032, 0, ARRAY_LEN(sign_cases));
	tcase_add_test(sign, generated_keys_differ_and_match_their_public_halves);
	tcase_add_test(sign, ed25519_pem_is_subject_public_key_info);
	suite_add_tcase(s, hash);
	suite_add_tcase(s, aead);
	suite_add_tcase(s, sign);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
