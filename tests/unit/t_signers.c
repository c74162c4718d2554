/* Files of allowed signers: whose signature counts, for what and until when. */
#include <check.h>
#include <string.h>
#include "base/buf.h"
#include "crypto/signers.h"
#include "suite.h"

#define SPACE "holdfast-plan@v1"

static struct secret seed = {0};
static char *line, *sig;
static const char text[] = "plan: office\n";
static const int64_t now = INT64_C(1790000000) * 1000000000; /* September 2026 */

static void set_up(void)
{
	unsigned char pub[ED25519_PUB_LEN];
	crypto_init();
	ed25519_generate(&seed, pub);
	line = ssh_public_line(pub);
	sig = sshsig_sign(&seed, SPACE, text, sizeof text - 1);
}

static void tear_down(void)
{
	secret_release(&seed);
	free(line);
	free(sig);
}

/* The file, with KEY replaced by the signer's and CUT by half of it. */
static int verify(const char *file, const char *message, char who[SIGNERS_PRINCIPAL])
{
	CLEAN(buf_release) struct buf b = BUF_INIT(4096);
	for (const char *at = file; *at; at++) {
		bool key = !strncmp(at, "KEY", 3), cut = !strncmp(at, "CUT", 3);
		if (key || cut)
			buf_add(&b, line, key ? strlen(line) : 40);
		else
			buf_add(&b, at, 1);
		at += key || cut ? 2 : 0;
	}
	return signers_verify(b.p, b.len, SPACE, now, message, strlen(message), sig, strlen(sig), who, NULL);
}

START_TEST(a_signature_counts_by_a_line_with_namespace_and_last_day)
{
	static const char *const good[] = {
	        "alice namespaces=\"" SPACE "\",valid-before=\"20270101Z\" KEY alice\n",
	        "alice,bob valid-before=20270101,namespaces=\"other," SPACE "\" KEY\n",
	        "# people\n\nalice namespaces=\"" SPACE "\",valid-after=\"20260101\",valid-before=\"202701011200Z\" KEY",
	        "zoe namespaces=\"" SPACE "\",valid-before=\"20270101\" ssh-rsa AAAA\nalice namespaces=\"" SPACE "\",valid-before=\"20270101Z\" KEY\n",
	};
	char who[SIGNERS_PRINCIPAL];
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		ck_assert_msg(!verify(good[i], text, who), "line %zu", i);
		ck_assert_str_eq(who, "alice");
	}
}
END_TEST

START_TEST(no_other_line_counts)
{
	static const char *const bad[] = {
	        "alice KEY\n",
	        "alice namespaces=\"" SPACE "\" KEY\n",
	        "alice valid-before=\"20270101Z\" KEY\n",
	        "alice namespaces=\"holdfast-approve@v1\",valid-before=\"20270101Z\" KEY\n",
	        "alice namespaces=\"" SPACE "\",valid-before=\"20260101Z\" KEY\n",
	        "alice namespaces=\"" SPACE "\",valid-after=\"20261231Z\",valid-before=\"20270101Z\" KEY\n",
	        "alice namespaces=\"holdfast-*\",valid-before=\"20270101Z\" KEY\n",
	        "* namespaces=\"" SPACE "\",valid-before=\"20270101Z\" KEY\n",
	        "alice cert-authority,namespaces=\"" SPACE "\",valid-before=\"20270101Z\" KEY\n",
	        "alice namespaces=\"" SPACE "\",valid-before=\"20271301Z\" KEY\n",
	        "alice namespaces=\"" SPACE "\",valid-before=\"20270101Z\",whatever=1 KEY\n",
	        "alice namespaces=\"" SPACE ",valid-before=\"20270101Z\" KEY\n",
	        "#alice namespaces=\"" SPACE "\",valid-before=\"20270101Z\" KEY\n",
	        "alice namespaces=\"" SPACE "\",valid-before=\"20270101Z\" CUT\n",
	        "",
	};
	char who[SIGNERS_PRINCIPAL];
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_msg(verify(bad[i], text, who) == -ERR_CORRUPT, "line %zu", i);
}
END_TEST

START_TEST(another_text_or_another_key_is_refused)
{
	static const char ok[] = "alice namespaces=\"" SPACE "\",valid-before=\"20270101Z\" KEY\n";
	char who[SIGNERS_PRINCIPAL];
	ck_assert_int_eq(verify(ok, "plan: other\n", who), -ERR_CORRUPT);
	unsigned char pub[ED25519_PUB_LEN];
	struct secret other = {0};
	ed25519_generate(&other, pub);
	free(sig);
	sig = sshsig_sign(&other, SPACE, text, sizeof text - 1);
	ck_assert_int_eq(verify(ok, text, who), -ERR_CORRUPT);
	sig[40] = '*';
	ck_assert_int_eq(verify(ok, text, who), -ERR_FORMAT);
	secret_release(&other);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("signers");
	TCase *t = tcase_create("file");
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, a_signature_counts_by_a_line_with_namespace_and_last_day);
	tcase_add_test(t, no_other_line_counts);
	tcase_add_test(t, another_text_or_another_key_is_refused);
	suite_add_tcase(s, t);
	return suite_main(s);
}
