#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "crypto/hpke_internal.h"

#define NAMESPACE "holdfast-plan@v1"
#define MESSAGE "restore erp to sandbox\n"

/* Hex text to bytes: the length is the text's. */
static size_t unhex(unsigned char *out, const char *hex)
{
	size_t n = strlen(hex) / 2;

	ck_assert(hex_decode(out, n, hex));
	return n;
}

static void assert_hex(const unsigned char *p, size_t n, const char *hex)
{
	char text[512];

	ck_assert_uint_lt(2 * n, sizeof(text));
	hex_encode(text, p, n);
	ck_assert_str_eq(text, hex);
}

static void secret_from_hex(struct secret *s, const char *hex)
{
	unsigned char b[32];

	ck_assert_uint_eq(unhex(b, hex), 32);
	secret_set(s, b, 32);
}

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

struct hpke_case {
	const struct hpke_aead *aead;
	bool psk;
	const char *sk_e, *sk_r, *pk_r, *enc, *ct;
};

#define HPKE_INFO "Ode on a Grecian Urn"
#define HPKE_PLAIN "Beauty is truth, truth beauty"
#define HPKE_AAD "Count-0"
#define HPKE_PSK "0247fd33b913760fa1fa51e1892d9f307fbe65eb171e8132c2af18555a738b82"
#define HPKE_PSK_ID "Ennyn Durin aran Moria"

/* RFC 9180 A.1.1 and A.1.2, and mode_base with AES-256-GCM from the vectors published beside the RFC. */
static const struct hpke_case hpke_cases[] = {
        {&hpke_aes128gcm, false, "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
                "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
                "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
                "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
                "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"},
        {&hpke_aes128gcm, true, "463426a9ffb42bb17dbe6044b9abd1d4e4d95f9041cef0e99d7824eef2b6f588",
                "c5eb01eb457fe6c6f57577c5413b931550a162c71a03ac8d196babbd4e5ce0fd",
                "9fed7e8c17387560e92cc6462a68049657246a09bfa8ade7aefe589672016366",
                "0ad0950d9fb9588e59690b74f1237ecdf1d775cd60be2eca57af5a4b0471c91b",
                "e52c6fed7f758d0cf7145689f21bc1be6ec9ea097fef4e959440012f4feb73fb611b946199e681f4cfc34db8ea"},
        {&hpke_aes256gcm, false, "179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11",
                "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d",
                "430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c",
                "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256",
                "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a"},
};

START_TEST(hpke_matches_published_vectors_both_ways)
{
	const struct hpke_case *c = &hpke_cases[_i];
	CLEAN(secret_release) struct secret sk_e = {0}, sk_r = {0};
	unsigned char psk[32], pk_r[X25519_LEN], enc[HPKE_ENC_LEN], ct[64], out[64];
	struct hpke_params p = {c->aead, {HPKE_INFO, strlen(HPKE_INFO)}, {0}, {0}, {HPKE_AAD, strlen(HPKE_AAD)}};
	const size_t n = strlen(HPKE_PLAIN);
	struct err err = ERR_INIT;

	if (c->psk) {
		p.psk = (struct bytes){psk, unhex(psk, HPKE_PSK)};
		p.psk_id = (struct bytes){HPKE_PSK_ID, strlen(HPKE_PSK_ID)};
	}
	secret_from_hex(&sk_e, c->sk_e);
	secret_from_hex(&sk_r, c->sk_r);
	x25519_public(&sk_r, pk_r);
	assert_hex(pk_r, sizeof(pk_r), c->pk_r);
	ck_assert_int_eq(hpke_seal_with(&p, &sk_e, pk_r, (struct bytes){HPKE_PLAIN, n}, enc, ct, &err), 0);
	assert_hex(enc, sizeof(enc), c->enc);
	assert_hex(ct, n + AEAD_TAG_LEN, c->ct);
	ck_assert_int_eq(hpke_open_with(&p, &sk_r, enc, (struct bytes){ct, n + AEAD_TAG_LEN}, out, &err), 0);
	ck_assert_mem_eq(out, HPKE_PLAIN, n);
}
END_TEST

/* Arguments of one hpke_open() call, sealed by letter_init(). */
struct letter {
	struct secret priv;
	unsigned char pub[X25519_LEN], enc[HPKE_ENC_LEN], info[8], psk[32], psk_id[4], aad[8], plain[32], ct[48];
};

static void letter_init(struct letter *l)
{
	memset(l, 7, sizeof(*l));
	x25519_generate(&l->priv, l->pub);
	ck_assert_int_eq(
	        hpke_seal(l->pub, l->info, sizeof(l->info), l->psk, sizeof(l->psk), l->psk_id, sizeof(l->psk_id),
	                l->aad, sizeof(l->aad), l->plain, sizeof(l->plain), l->enc, l->ct, NULL),
	        0);
}

static int letter_open(const struct letter *l, size_t n, unsigned char *out)
{
	struct err err = ERR_INIT;
	int ret = hpke_open(&l->priv, l->enc, l->info, sizeof(l->info), l->psk, sizeof(l->psk), l->psk_id,
	        sizeof(l->psk_id), l->aad, sizeof(l->aad), l->ct, n, out, &err);

	ck_assert_int_eq(ret, -(int)err.code);
	return ret;
}

START_TEST(hpke_opens_only_with_every_field_unchanged)
{
	struct letter l;
	unsigned char out[48], *fields[] = {l.enc, l.info, l.psk, l.psk_id, l.aad, l.ct, l.ct + 32};
	size_t i;

	letter_init(&l);
	for (i = 0; i < ARRAY_LEN(fields); i++) {
		fields[i][0] ^= 1;
		ck_assert_int_eq(letter_open(&l, sizeof(l.ct), out), -ERR_CORRUPT);
		fields[i][0] ^= 1;
	}
	ck_assert_int_eq(letter_open(&l, sizeof(l.ct), out), 0);
	ck_assert_mem_eq(out, l.plain, sizeof(l.plain));
	ck_assert_int_eq(letter_open(&l, sizeof(l.ct) - 1, out), -ERR_CORRUPT);
	ck_assert_int_eq(letter_open(&l, 15, out), -ERR_CORRUPT);
	secret_release(&l.priv);
}
END_TEST

START_TEST(hpke_does_not_open_with_another_private_key)
{
	struct letter l;
	unsigned char out[48], pub[X25519_LEN];

	letter_init(&l);
	secret_release(&l.priv);
	x25519_generate(&l.priv, pub);
	ck_assert_int_eq(letter_open(&l, sizeof(l.ct), out), -ERR_CORRUPT);
	secret_release(&l.priv);
}
END_TEST

START_TEST(hpke_draws_a_new_ephemeral_key_for_every_message)
{
	struct letter a, b;

	letter_init(&a);
	letter_init(&b);
	ck_assert_mem_ne(a.enc, b.enc, sizeof(a.enc));
	ck_assert_mem_ne(a.ct, b.ct, sizeof(a.ct));
	secret_release(&a.priv);
	secret_release(&b.priv);
}
END_TEST

static const char *const low_order[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

START_TEST(hpke_refuses_low_order_public_keys_both_ways)
{
	struct letter l;
	unsigned char bad[X25519_LEN], out[48];
	struct err err = ERR_INIT;

	letter_init(&l);
	unhex(bad, low_order[_i]);
	ck_assert_int_eq(
	        hpke_seal(bad, "i", 1, l.psk, sizeof(l.psk), "k", 1, NULL, 0, "x", 1, l.enc, l.ct, &err), -ERR_CORRUPT);
	ck_assert_int_eq(err.code, ERR_CORRUPT);
	memcpy(l.enc, bad, sizeof(bad));
	ck_assert_int_eq(letter_open(&l, sizeof(l.ct), out), -ERR_CORRUPT);
	secret_release(&l.priv);
}
END_TEST

/* A directory of the test's own, removed at its end. */
struct place {
	char dir[64];
};

static void place_init(struct place *p)
{
	snprintf(p->dir, sizeof(p->dir), "/tmp/t_crypto.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(p->dir));
}

static void place_release(struct place *p)
{
	ck_assert_int_eq(fs_remove_tree(p->dir, NULL), 0);
}

static void place_write(const struct place *p, const char *name, const char *text)
{
	CLEAN(free_ptr) char *path = fs_join(p->dir, name);

	ck_assert_int_eq(fs_replace(path, text, strlen(text), 0600, NULL), 0);
}

static void place_read(const struct place *p, const char *name, struct buf *out)
{
	CLEAN(free_ptr) char *path = fs_join(p->dir, name);

	ck_assert_int_eq(fs_read(path, out, NULL), 0);
}

/* Exit status of a program run in the place, its standard input from a file there when named. */
static int place_run(const struct place *p, const char *const *argv, const char *input)
{
	struct proc_opts o = {.cwd = p->dir, .stdin_fd = -1, .timeout_ms = 60000};
	struct proc_result r;
	struct err err = ERR_INIT;
	int status;

	if (input) {
		CLEAN(free_ptr) char *path = fs_join(p->dir, input);

		o.stdin_fd = open(path, O_RDONLY | O_CLOEXEC);
		ck_assert_int_ge(o.stdin_fd, 0);
	}
	proc_result_init(&r, 4096);
	ck_assert_msg(proc_run(argv, &o, &r, &err) == 0, "%s", err.msg);
	status = r.status;
	proc_result_release(&r);
	close_fd(&o.stdin_fd);
	return status;
}

static void fixed_seed(struct secret *seed, unsigned char pub[ED25519_PUB_LEN])
{
	secret_from_hex(seed, sign_cases[0].seed);
	ed25519_public(seed, pub);
}

START_TEST(ssh_keygen_verifies_our_signature)
{
	static const char *const argv[] = {"ssh-keygen", "-Y", "verify", "-f", "signers", "-I", "ops@example.org", "-n",
	        NAMESPACE, "-s", "sig", NULL};
	CLEAN(secret_release) struct secret seed = {0};
	CLEAN(buf_release) struct buf signers = BUF_INIT(1024);
	CLEAN(free_ptr) char *line = NULL, *sig = NULL;
	unsigned char pub[ED25519_PUB_LEN];
	struct place p;

	place_init(&p);
	fixed_seed(&seed, pub);
	line = ssh_public_line(pub);
	buf_addf(&signers, "ops@example.org namespaces=\"%s\" %s\n", NAMESPACE, line);
	sig = sshsig_sign(&seed, NAMESPACE, MESSAGE, strlen(MESSAGE));
	place_write(&p, "signers", buf_str(&signers));
	place_write(&p, "sig", sig);
	place_write(&p, "message", MESSAGE);
	place_write(&p, "other", MESSAGE "and prune it\n");
	ck_assert_int_eq(place_run(&p, argv, "message"), 0);
	ck_assert_int_ne(place_run(&p, argv, "other"), 0);
	place_release(&p);
}
END_TEST

START_TEST(we_verify_a_signature_of_ssh_keygen)
{
	static const char *const make_key[] = {
	        "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", "key", NULL};
	static const char *const sign[] = {"ssh-keygen", "-Y", "sign", "-f", "key", "-n", NAMESPACE, "message", NULL};
	CLEAN(buf_release) struct buf line = BUF_INIT(1024), sig = BUF_INIT(4096);
	CLEAN(free_ptr) char *again = NULL;
	unsigned char blob[128], pub[ED25519_PUB_LEN];
	struct err err = ERR_INIT;
	struct place p;

	place_init(&p);
	place_write(&p, "message", MESSAGE);
	ck_assert_int_eq(place_run(&p, make_key, NULL), 0);
	ck_assert_int_eq(place_run(&p, sign, NULL), 0);
	place_read(&p, "key.pub", &line);
	place_read(&p, "message.sig", &sig);
	ck_assert_int_eq(base64_decode(blob, buf_str(&line) + strlen("ssh-ed25519 "), 68), 51);
	memcpy(pub, blob + 19, sizeof(pub));
	ck_assert_msg(sshsig_verify(buf_str(&sig), sig.len, pub, NAMESPACE, MESSAGE, strlen(MESSAGE), &err) == 0, "%s",
	        err.msg);
	ck_assert_int_eq(sshsig_verify(buf_str(&sig), sig.len, pub, NAMESPACE, "another", 7, NULL), -ERR_CORRUPT);
	again = ssh_public_line(pub);
	ck_assert_int_eq(strncmp(again, buf_str(&line), strlen(again)), 0);
	place_release(&p);
}
END_TEST

START_TEST(openssl_verifies_with_our_pem)
{
	static const char *const argv[] = {"openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin",
	        "-in", "message", "-sigfile", "sig", NULL};
	CLEAN(secret_release) struct secret seed = {0};
	CLEAN(free_ptr) char *pem = NULL, *path = NULL;
	unsigned char pub[ED25519_PUB_LEN], sig[ED25519_SIG_LEN];
	struct place p;

	place_init(&p);
	fixed_seed(&seed, pub);
	pem = ed25519_pem(pub);
	ed25519_sign(&seed, MESSAGE, strlen(MESSAGE), sig);
	path = fs_join(p.dir, "sig");
	place_write(&p, "key.pem", pem);
	place_write(&p, "message", MESSAGE);
	ck_assert_int_eq(fs_replace(path, sig, sizeof(sig), 0600, NULL), 0);
	ck_assert_int_eq(place_run(&p, argv, NULL), 0);
	sig[0] ^= 1;
	ck_assert_int_eq(fs_replace(path, sig, sizeof(sig), 0600, NULL), 0);
	ck_assert_int_ne(place_run(&p, argv, NULL), 0);
	place_release(&p);
}
END_TEST

static int verify_text(const char *text, size_t n)
{
	CLEAN(secret_release) struct secret seed = {0};
	unsigned char pub[ED25519_PUB_LEN];
	struct err err = ERR_INIT;
	int ret;

	fixed_seed(&seed, pub);
	ret = sshsig_verify(text, n, pub, NAMESPACE, MESSAGE, strlen(MESSAGE), &err);
	ck_assert_int_eq(ret, -(int)err.code);
	return ret;
}

static char *signed_text(const char *name_space)
{
	CLEAN(secret_release) struct secret seed = {0};
	unsigned char pub[ED25519_PUB_LEN];

	fixed_seed(&seed, pub);
	return sshsig_sign(&seed, name_space, MESSAGE, strlen(MESSAGE));
}

START_TEST(sshsig_refuses_another_namespace_signer_or_message)
{
	CLEAN(free_ptr) char *sig = signed_text(NAMESPACE), *other = signed_text("holdfast-request@v1");
	unsigned char pub[ED25519_PUB_LEN];
	struct err err = ERR_INIT;

	ck_assert_int_eq(verify_text(sig, strlen(sig)), 0);
	ck_assert_int_eq(verify_text(other, strlen(other)), -ERR_CORRUPT);
	unhex(pub, sign_cases[0].pub);
	ck_assert_int_eq(
	        sshsig_verify(sig, strlen(sig), pub, NAMESPACE, MESSAGE, strlen(MESSAGE) - 1, &err), -ERR_CORRUPT);
	unhex(pub, sign_cases[1].pub);
	ck_assert_int_eq(sshsig_verify(sig, strlen(sig), pub, NAMESPACE, MESSAGE, strlen(MESSAGE), &err), -ERR_CORRUPT);
}
END_TEST

START_TEST(sshsig_refuses_every_changed_or_missing_character)
{
	CLEAN(free_ptr) char *sig = signed_text(NAMESPACE);
	size_t n = strlen(sig), i;

	for (i = 0; i < n; i++) {
		char c = sig[i];

		ck_assert_int_ne(verify_text(sig, i), 0);
		sig[i] = c == 'A' ? 'B' : 'A';
		ck_assert_int_ne(verify_text(sig, n), 0);
		sig[i] = c;
	}
	ck_assert_int_eq(verify_text(sig, n), 0);
}
END_TEST

static void assert_malformed(struct buf *b)
{
	ck_assert_int_eq(verify_text(buf_str(b), b->len), -ERR_FORMAT);
}

START_TEST(sshsig_refuses_armour_in_another_shape)
{
	CLEAN(free_ptr) char *sig = signed_text(NAMESPACE);
	CLEAN(buf_release) struct buf b = BUF_INIT(16384);
	const char *body = strchr(sig, '\n') + 1;
	const char *c;

	buf_addf(&b, "%s\n", sig);
	assert_malformed(&b);
	buf_clear(&b);
	buf_addf(&b, " %s", sig);
	assert_malformed(&b);
	buf_clear(&b);
	buf_addf(&b, "%.*s\n%s", (int)(body - sig), sig, body);
	assert_malformed(&b);
	buf_clear(&b);
	for (c = sig; *c; c++)
		buf_addf(&b, *c == '\n' ? "\r\n" : "%c", *c);
	assert_malformed(&b);
	buf_clear(&b);
	buf_addf(&b, "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n");
	assert_malformed(&b);
	buf_clear(&b);
	assert_malformed(&b);
}
END_TEST

START_TEST(sshsig_bounds_long_input)
{
	/* 4036 characters on one line fit the ceiling of 4096, and would not once they are broken into lines. */
	static const size_t lengths[] = {1024, 4036, 4040, 8192};
	CLEAN(buf_release) struct buf b = BUF_INIT(16384);
	size_t i;

	for (i = 0; i < ARRAY_LEN(lengths); i++) {
		buf_clear(&b);
		buf_addf(&b, "-----BEGIN SSH SIGNATURE-----\n");
		ck_assert_int_eq(buf_fill(&b, 'A', lengths[i], NULL), 0);
		buf_addf(&b, "-----END SSH SIGNATURE-----\n");
		assert_malformed(&b);
	}
}
END_TEST

/* The blob inside our signature, one byte at `at` replaced, armoured anew. */
static void reforge(struct buf *out, size_t at, unsigned char byte, size_t extra)
{
	CLEAN(free_ptr) char *sig = signed_text(NAMESPACE);
	CLEAN(buf_release) struct buf b64 = BUF_INIT(1024);
	unsigned char blob[512] = {0};
	char text[1024];
	const char *c = strchr(sig, '\n');
	size_t i;
	long n;

	for (; *c != '-'; c++)
		if (*c != '\n')
			buf_add(&b64, c, 1);
	n = base64_decode(blob, buf_str(&b64), b64.len);
	ck_assert_int_gt(n, 0);
	blob[at] = byte;
	base64_encode(text, blob, (size_t)n + extra);
	buf_addf(out, "-----BEGIN SSH SIGNATURE-----\n");
	for (i = 0; i < strlen(text); i += 70)
		buf_addf(out, "%.70s\n", text + i);
	buf_addf(out, "-----END SSH SIGNATURE-----\n");
}

/* Offsets in the blob: magic 0, version 6, key 10, namespace 65, reserved 85, hash 89, signature 99. */
START_TEST(sshsig_refuses_wellformed_armour_around_a_changed_blob)
{
	static const struct {
		size_t at;
		unsigned char byte;
		size_t extra;
	} changes[] = {{0, 'T', 0}, {9, 2, 0}, {13, 52, 0}, {18, 'x', 0}, {68, 15, 0}, {88, 1, 0}, {94, '2', 0},
	        {10, 0x7f, 0}, {103, 'x', 0}, {0, 'S', 1}};
	CLEAN(buf_release) struct buf b = BUF_INIT(2048);
	size_t i;

	reforge(&b, 0, 'S', 0);
	ck_assert_int_eq(verify_text(buf_str(&b), b.len), 0);
	for (i = 0; i < ARRAY_LEN(changes); i++) {
		buf_clear(&b);
		reforge(&b, changes[i].at, changes[i].byte, changes[i].extra);
		assert_malformed(&b);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("crypto");
	TCase *hash = tcase_create("hash"), *aead = tcase_create("aead"), *sign = tcase_create("sign");
	TCase *hpke = tcase_create("hpke"), *ssh = tcase_create("sshsig");

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
	tcase_add_test(sign, openssl_verifies_with_our_pem);
	tcase_add_loop_test(hpke, hpke_matches_published_vectors_both_ways, 0, ARRAY_LEN(hpke_cases));
	tcase_add_test(hpke, hpke_opens_only_with_every_field_unchanged);
	tcase_add_test(hpke, hpke_does_not_open_with_another_private_key);
	tcase_add_test(hpke, hpke_draws_a_new_ephemeral_key_for_every_message);
	tcase_add_loop_test(hpke, hpke_refuses_low_order_public_keys_both_ways, 0, ARRAY_LEN(low_order));
	tcase_add_test(ssh, ssh_keygen_verifies_our_signature);
	tcase_add_test(ssh, we_verify_a_signature_of_ssh_keygen);
	tcase_add_test(ssh, sshsig_refuses_another_namespace_signer_or_message);
	tcase_add_test(ssh, sshsig_refuses_every_changed_or_missing_character);
	tcase_add_test(ssh, sshsig_refuses_armour_in_another_shape);
	tcase_add_test(ssh, sshsig_bounds_long_input);
	tcase_add_test(ssh, sshsig_refuses_wellformed_armour_around_a_changed_blob);
	suite_add_tcase(s, hash);
	suite_add_tcase(s, aead);
	suite_add_tcase(s, sign);
	suite_add_tcase(s, hpke);
	suite_add_tcase(s, ssh);
	return s;
}

int main(void)
{
	SRunner *r = srunner_create(suite());
	int failed;

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
