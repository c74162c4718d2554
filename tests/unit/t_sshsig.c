#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "hex.h"
#include "suite.h"

#define NAMESPACE "holdfast-plan@v1"
#define MESSAGE "restore erp to sandbox\n"
/* RFC 8032, 7.1, test 1; and the public key of test 2. */
#define SEED "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
#define PUBLIC "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
#define OTHER_PUBLIC "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"

/* A directory of the test's own, removed at its end. */
struct place {
	char dir[64];
};

static void place_init(struct place *p)
{
	snprintf(p->dir, sizeof(p->dir), "/tmp/t_sshsig.XXXXXX");
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
	secret_from_hex(seed, SEED);
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
	unhex(pub, PUBLIC);
	ck_assert_int_eq(
	        sshsig_verify(sig, strlen(sig), pub, NAMESPACE, MESSAGE, strlen(MESSAGE) - 1, &err), -ERR_CORRUPT);
	unhex(pub, OTHER_PUBLIC);
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

/* Offsets in the blob: magic 0, version 6, key 10, namespace 65, reserved 85, hash 89, signature 99. */
#define BLOB_LEN 186

struct change {
	size_t at;
	unsigned char byte; /* put at `at` */
	size_t insert;      /* a further byte goes in before this offset, unless 0 */
};

/* Our signature with its blob changed, armoured anew. */
static void reforge(struct buf *out, const struct change *change)
{
	CLEAN(free_ptr) char *sig = signed_text(NAMESPACE);
	CLEAN(buf_release) struct buf b64 = BUF_INIT(1024);
	unsigned char blob[BLOB_LEN + 3];
	char text[512];
	const char *c = strchr(sig, '\n');
	size_t n = BLOB_LEN, i;

	for (; *c != '-'; c++)
		if (*c != '\n')
			buf_add(&b64, c, 1);
	ck_assert_int_eq(base64_decode(blob, buf_str(&b64), b64.len), BLOB_LEN);
	blob[change->at] = change->byte;
	if (change->insert) {
		memmove(blob + change->insert + 1, blob + change->insert, n - change->insert);
		blob[change->insert] = 0;
		n++;
	}
	base64_encode(text, blob, n);
	buf_addf(out, "-----BEGIN SSH SIGNATURE-----\n");
	for (i = 0; i < strlen(text); i += 70)
		buf_addf(out, "%.70s\n", text + i);
	buf_addf(out, "-----END SSH SIGNATURE-----\n");
}

START_TEST(sshsig_refuses_wellformed_armour_around_a_changed_blob)
{
	static const struct change same = {0, 'S', 0};
	static const struct change changes[] = {
	        {0, 'T', 0},         /* magic */
	        {9, 2, 0},           /* version */
	        {13, 52, 0},         /* length of the key beyond it */
	        {18, 'x', 0},        /* key type */
	        {10, 0x7f, 0},       /* length of the key beyond everything */
	        {68, 15, 0},         /* length of the namespace short of it */
	        {88, 1, 0},          /* length of reserved beyond it */
	        {94, '2', 0},        /* hash name */
	        {108, 'x', 0},       /* signature type */
	        {13, 52, 65},        /* a byte behind the key, in its field */
	        {88, 1, 89},         /* a byte in reserved */
	        {102, 84, BLOB_LEN}, /* a byte behind the signature, in its field */
	        {0, 'S', BLOB_LEN},  /* a byte behind everything */
	};
	CLEAN(buf_release) struct buf b = BUF_INIT(2048);
	size_t i;

	reforge(&b, &same);
	ck_assert_int_eq(verify_text(buf_str(&b), b.len), 0);
	for (i = 0; i < ARRAY_LEN(changes); i++) {
		buf_clear(&b);
		reforge(&b, &changes[i]);
		assert_malformed(&b);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("sshsig");
	TCase *sshsig = tcase_create("sshsig");

	tcase_add_test(sshsig, ssh_keygen_verifies_our_signature);
	tcase_add_test(sshsig, we_verify_a_signature_of_ssh_keygen);
	tcase_add_test(sshsig, openssl_verifies_with_our_pem);
	tcase_add_test(sshsig, sshsig_refuses_another_namespace_signer_or_message);
	tcase_add_test(sshsig, sshsig_refuses_every_changed_or_missing_character);
	tcase_add_test(sshsig, sshsig_refuses_armour_in_another_shape);
	tcase_add_test(sshsig, sshsig_bounds_long_input);
	tcase_add_test(sshsig, sshsig_refuses_wellformed_armour_around_a_changed_blob);
	suite_add_tcase(s, sshsig);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
