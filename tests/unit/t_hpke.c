#include <check.h>
#include <string.h>

#include "crypto/hpke_internal.h"
#include "hex.h"
#include "suite.h"

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

static Suite *suite(void)
{
	Suite *s = suite_create("hpke");
	TCase *hpke = tcase_create("hpke");

	tcase_add_loop_test(hpke, hpke_matches_published_vectors_both_ways, 0, ARRAY_LEN(hpke_cases));
	tcase_add_test(hpke, hpke_opens_only_with_every_field_unchanged);
	tcase_add_test(hpke, hpke_does_not_open_with_another_private_key);
	tcase_add_test(hpke, hpke_draws_a_new_ephemeral_key_for_every_message);
	tcase_add_loop_test(hpke, hpke_refuses_low_order_public_keys_both_ways, 0, ARRAY_LEN(low_order));
	suite_add_tcase(s, hpke);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
