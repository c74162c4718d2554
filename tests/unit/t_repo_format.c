#include "repo/format.h"

#include <check.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/json.h"
#include "hex.h"
#include "repo/keys.h"
#include "repo_random.h"
#include "suite.h"
#include "store/store.h"

static struct err err;
static const unsigned char REPO[REPO_ID_LEN] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void fill_secret(struct secret *s, unsigned char c)
{
	secret_init(s, 32);
	memset(s->p, c, 32);
}

/* The key that the golden objects below were made for by another program. */
static struct opening_key golden_key(void)
{
	struct opening_key o = {.class_name = "gold"};

	memcpy(o.repo, REPO, sizeof o.repo);
	fill_secret(&o.priv, 0x42);
	fill_secret(&o.r, 0x52);
	x25519_public(&o.priv, o.pub);
	return o;
}

static struct source_keys make_host(const struct opening_key *o)
{
	CLEAN(secret_release) struct secret psk = {0};
	struct source_keys k;

	opening_key_psk(o, "docs", &psk);
	source_keys_generate(&k, REPO, "docs", o->class_name, 5, &psk);
	return k;
}

static struct recipient recipient_of(const struct opening_key *o)
{
	struct recipient r;

	recipient_init(&r, o->pub);
	return r;
}

/* --- small pieces --- */

START_TEST(ctx_binds_label_repository_source_and_rest)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1024);

	format_ctx(&b, "y", REPO, "other", "\x01", 1);
	format_ctx(&b, "x", REPO, "docs", "\xee", 1);
	assert_hex(b.p, b.len, "7800000102030405060708090a0b0c0d0e0f0400646f6373ee");
}
END_TEST

START_TEST(text_is_read_back_within_its_bound)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1024);
	const unsigned char *p;
	struct rd r;
	size_t n;

	format_text(&b, "abc", 3);
	format_text(&b, "", 0);
	r = rd_init(b.p, b.len);
	p = format_text_rd(&r, 3, &n);
	ck_assert_uint_eq(n, 3);
	ck_assert_mem_eq(p, "abc", 3);
	ck_assert_ptr_nonnull(format_text_rd(&r, 3, &n));
	ck_assert_uint_eq(n, 0);
	ck_assert(rd_end(&r));
	r = rd_init(b.p, b.len);
	ck_assert_ptr_null(format_text_rd(&r, 2, &n));
	ck_assert(!rd_ok(&r));
	r = rd_init(b.p, 4);
	ck_assert_ptr_null(format_text_rd(&r, 100, &n));
	ck_assert(!rd_ok(&r));
}
END_TEST

START_TEST(padme_lengths_are_those_of_the_paper)
{
	static const uint64_t want[][2] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}, {4, 4}, {7, 7}, {8, 8}, {9, 10}, {17, 18},
	        {100, 104}, {1000, 1024}, {1025, 1088}, {65537, 67584}, {1000000, 1015808}, {123456789, 123731968},
	        {UINT64_MAX, UINT64_MAX}};

	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		ck_assert_uint_eq(format_padme(want[i][0]), want[i][1]);
}
END_TEST

START_TEST(sizes_round_up_to_two_significant_bits)
{
	static const uint64_t want[][2] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 6}, {6, 6}, {7, 8}, {8, 8},
	        {9, 12}, {12, 12}, {13, 16}, {1000, 1024}, {1025, 1536}, {UINT64_C(1) << 52, UINT64_C(1) << 52},
	        {UINT64_C(3) << 62, UINT64_C(3) << 62}, {UINT64_MAX, UINT64_MAX}};

	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		ck_assert_uint_eq(format_round2(want[i][0]), want[i][1]);
}
END_TEST

START_TEST(keys_of_objects_have_their_form)
{
	char key[STORE_KEY_MAX + 1];
	unsigned char digest[ID_LEN];

	memset(digest, 0xab, sizeof digest);
	ck_assert_str_eq(key_pack(key, "docs", "0123456789abcdef", digest),
	        "p/docs/0123456789abcdef/abababababababababababababababababababababababababababababababab");
	ck_assert_str_eq(key_attempt(key, "docs", "0123456789abcdef", "fate"), "w/docs/0123456789abcdef/fate");
	ck_assert_str_eq(key_snapshot(key, 's', "docs", "0123456789abcdef", 42), "s/docs/0123456789abcdef/0000000042");
	ck_assert_str_eq(key_fmt(key, "k/%s/%u", "docs", 7u), "k/docs/7");
}
END_TEST

START_TEST(names_of_attempts_are_16_hex_digits)
{
	ck_assert(format_name16_ok("0123456789abcdef"));
	ck_assert(!format_name16_ok("0123456789abcde"));
	ck_assert(!format_name16_ok("0123456789abcdef0"));
	ck_assert(!format_name16_ok("0123456789ABCDEF"));
	ck_assert(!format_name16_ok("0123456789abcde/"));
	ck_assert(!format_name16_ok(""));
}
END_TEST

/* --- golden values, made from the format's page with another library --- */

START_TEST(psk_and_recipient_are_those_of_the_format)
{
	CLEAN(opening_key_release) struct opening_key o = golden_key();
	CLEAN(secret_release) struct secret psk = {0};
	unsigned char pub[X25519_LEN];
	struct recipient r;

	opening_key_psk(&o, "docs", &psk);
	assert_hex(psk.p, psk.len, "059b9690f1f93bcc935430a00b78522d094650232649a2a8474ef6981531fa89");
	memset(pub, 9, sizeof pub);
	recipient_init(&r, pub);
	assert_hex(r.id, sizeof r.id, "41b0505f6ce5cd55447cf199b3e30557");
	ck_assert_uint_eq(r.kem, 0x20);
}
END_TEST

START_TEST(golden_sealed_object_opens)
{
	CLEAN(secret_release) struct secret idx = {0};
	CLEAN(buf_release) struct buf out = BUF_INIT(100);
	unsigned char sealed[100];
	size_t n =
	        unhex(sealed, "48465345414c310a01222222222222222222222222222222222222222222222222222222222222222282cc5d"
	                      "c4d6218b7fc81a1efd8fb93ba1dd457f74c1");

	fill_secret(&idx, 0x11);
	ck_ok(sealed_get(&idx, REPO, "docs", SEALED_DELTA, sealed, n, &out, &err));
	ck_assert_str_eq(buf_str(&out), "plain");
}
END_TEST

static const char GOLDEN_ENVELOPE[] =
        "4846454e564c310a01200005000000e5a61126f5dc6c73b1dc2234b06e394f999f4d704dc1230e671afbfe2985a12404eaed1ef9ce1a3a"
        "082d58bb02"
        "2f166ad32fea581f42a5141bb91a8c18d568970400676f6c64200004bcd2e0d00f2cce5fe8f1c6c2fbec5c07fa56e3aa5c88a5689975d8"
        "8b3fce0530"
        "0021ce0cd3ba1bef264707ef6c6372a689d70309487edbfc9a696598ac4eb016c755368ef9161c0a3694c2879ef90a5eb3";

START_TEST(golden_session_envelope_opens)
{
	CLEAN(opening_key_release) struct opening_key o = golden_key();
	CLEAN(session_key_release) struct session_key k = {0};
	unsigned char text[200], want[32];
	struct envelope e;
	size_t n = unhex(text, GOLDEN_ENVELOPE);

	ck_ok(envelope_decode(text, n, &e, &err));
	ck_assert_uint_eq(e.epoch, 5);
	ck_ok(session_key_open(&o, "docs", &e, &k, &err));
	memset(want, 0x53, sizeof want);
	ck_assert_uint_eq(k.s.len, 32);
	ck_assert_mem_eq(k.s.p, want, 32);
	assert_hex(k.sid, SID_LEN, "e5a61126f5dc6c73b1dc2234b06e394f");
	assert_hex(k.commitment, 32, "04eaed1ef9ce1a3a082d58bb022f166ad32fea581f42a5141bb91a8c18d56897");
}
END_TEST

START_TEST(golden_key_object_opens)
{
	CLEAN(opening_key_release) struct opening_key o = golden_key();
	CLEAN(source_secrets_release) struct source_secrets s = {0};
	unsigned char text[300], want[32];
	size_t n = unhex(text, "48464b455953310a01e9004846454e564c310a0220000500000000000000000000000000000000000000999"
	                       "f4d704dc1230e671afbfe2985"
	                       "a12400000000000000000000000000000000000000000000000000000000000000000400676f6c642000343"
	                       "0e0014dd50b6127e4beb4ee"
	                       "cc411591e061ef9792a317c36056191002b72f700024b37442a99a7f99f436418ca0b3d182aefb782c741a3"
	                       "bf2caedb0667ed6be621acb"
	                       "67bf8510d792ad1240ac28411b7ac577779bddfb9214feadce9fff058f7cf52e270641fab97e2129ac3a05d"
	                       "0ce0b24000efd7c75572fdc"
	                       "50225ad6d724a96f0b2ef3fc558b3471659ea6bdb5e80c");

	ck_ok(key_object_open(&o, "docs", 5, text, n, &s, &err));
	memset(want, 1, 32);
	ck_assert_mem_eq(s.id_key.p, want, 32);
	memset(want, 2, 32);
	ck_assert_mem_eq(s.chunk_key.p, want, 32);
	memset(want, 3, 32);
	ck_assert_mem_eq(s.idx_key.p, want, 32);
	ck_fails(key_object_open(&o, "docs", 6, text, n, &s, &err), ERR_CORRUPT);
	ck_fails(key_object_open(&o, "other", 5, text, n, &s, &err), ERR_CORRUPT);
}
END_TEST

/* --- envelopes --- */

START_TEST(bytes_behind_an_envelope_are_refused)
{
	unsigned char text[200] = {0};
	struct envelope e;
	size_t n = unhex(text, GOLDEN_ENVELOPE);

	ck_fails(envelope_decode(text, n + 1, &e, &err), ERR_FORMAT);
	text[10] = 1;
	ck_fails(envelope_decode(text, n + 1, &e, &err), ERR_FORMAT);
}
END_TEST

START_TEST(envelope_text_round_trips)
{
	CLEAN(buf_release) struct buf again = BUF_INIT(ENVELOPE_MAX);
	unsigned char text[200];
	struct envelope e;
	size_t n = unhex(text, GOLDEN_ENVELOPE);

	ck_ok(envelope_decode(text, n, &e, &err));
	ck_ok(envelope_encode(&e, &again, &err));
	ck_assert_uint_eq(again.len, n);
	ck_assert_mem_eq(again.p, text, n);
}
END_TEST

/* Byte positions in the golden envelope. */
enum { AT_EPOCH = 11, AT_SID = 15 };

static void try_envelope(void *arg, const unsigned char *p, size_t n, size_t at)
{
	CLEAN(session_key_release) struct session_key k = {0};
	struct envelope e;
	int rc = envelope_decode(p, n, &e, &err);

	if (!rc)
		rc = session_key_open(arg, "docs", &e, &k, &err);
	/* The epoch of a session's envelope only says which source keys go with it. */
	if (rc || (at >= AT_EPOCH && at < AT_SID))
		return;
	ck_abort_msg("opens with byte %zu changed", at);
}

START_TEST(cut_or_flipped_envelopes_do_not_open)
{
	CLEAN(opening_key_release) struct opening_key o = golden_key();
	unsigned char text[200];

	each_mutation(text, unhex(text, GOLDEN_ENVELOPE), try_envelope, &o);
}
END_TEST

START_TEST(session_opens_for_its_recipients_only)
{
	CLEAN(opening_key_release) struct opening_key o = golden_key(), other = {0}, twin = golden_key();
	CLEAN(source_keys_release) struct source_keys host = make_host(&o);
	CLEAN(session_key_release) struct session_key k = {0}, got = {0};
	struct recipient to = recipient_of(&o);
	struct envelope e;

	opening_key_generate(&other, REPO, "gold", host.sign_pub);
	session_key_generate(&k, REPO, "docs");
	ck_ok(session_key_seal(&k, &host, &to, &e, &err));
	ck_fails(session_key_open(&other, "docs", &e, &got, &err), ERR_MISSING);
	ck_fails(session_key_open(&o, "pics", &e, &got, &err), ERR_CORRUPT);
	/* the private key without the class secret opens nothing */
	twin.r.p[0] ^= 1;
	ck_fails(session_key_open(&twin, "docs", &e, &got, &err), ERR_CORRUPT);
	twin.r.p[0] ^= 1;
	twin.repo[0] ^= 1;
	ck_fails(session_key_open(&twin, "docs", &e, &got, &err), ERR_CORRUPT);
	ck_assert_ptr_null(got.s.p);
	ck_ok(session_key_open(&o, "docs", &e, &got, &err));
	ck_assert_mem_eq(got.s.p, k.s.p, 32);
	ck_assert_mem_eq(got.sid, k.sid, SID_LEN);
}
END_TEST

START_TEST(session_key_must_be_the_one_its_envelope_names)
{
	CLEAN(opening_key_release) struct opening_key o = golden_key();
	CLEAN(source_keys_release) struct source_keys host = make_host(&o);
	CLEAN(session_key_release) struct session_key k = {0}, got = {0};
	struct recipient to = recipient_of(&o);
	struct envelope e;

	session_key_generate(&k, REPO, "docs");
	k.commitment[3] ^= 1;
	ck_ok(session_key_seal(&k, &host, &to, &e, &err));
	ck_fails(session_key_open(&o, "docs", &e, &got, &err), ERR_CORRUPT);
	k.commitment[3] ^= 1;
	/* sealed under a sid that S does not give */
	k.sid[3] ^= 1;
	ck_ok(session_key_seal(&k, &host, &to, &e, &err));
	ck_fails(session_key_open(&o, "docs", &e, &got, &err), ERR_CORRUPT);
}
END_TEST

START_TEST(envelope_for_an_unknown_kind_of_key_is_for_someone_else)
{
	CLEAN(opening_key_release) struct opening_key o = golden_key();
	CLEAN(session_key_release) struct session_key k = {0};
	CLEAN(buf_release) struct buf out = BUF_INIT(ENVELOPE_MAX);
	unsigned char text[200];
	struct envelope e;
	size_t n = unhex(text, GOLDEN_ENVELOPE);

	text[10] = 1;
	ck_ok(envelope_decode(text, n, &e, &err));
	ck_assert_uint_eq(e.n_ct, 0);
	ck_fails(session_key_open(&o, "docs", &e, &k, &err), ERR_MISSING);
	ck_fails(envelope_encode(&e, &out, &err), ERR_UNSUPPORTED);
}
END_TEST

/* --- key objects --- */

START_TEST(key_object_opens_for_each_recipient)
{
	CLEAN(opening_key_release) struct opening_key o = golden_key(), second = golden_key(), stranger = golden_key();
	CLEAN(source_keys_release) struct source_keys host = make_host(&o);
	CLEAN(buf_release) struct buf out = BUF_INIT(64 << 10);
	struct recipient to[2];

	/* of the same class, so with the same R */
	second.priv.p[5] ^= 1;
	x25519_public(&second.priv, second.pub);
	stranger.priv.p[6] ^= 1;
	x25519_public(&stranger.priv, stranger.pub);
	to[0] = recipient_of(&o);
	to[1] = recipient_of(&second);
	ck_ok(key_object_seal(&host, to, 2, &out, &err));
	for (int i = 0; i < 2; i++) {
		CLEAN(source_secrets_release) struct source_secrets s = {0};

		ck_ok(key_object_open(i ? &second : &o, "docs", 5, out.p, out.len, &s, &err));
		ck_assert_mem_eq(s.id_key.p, host.s.id_key.p, 32);
		ck_assert_mem_eq(s.chunk_key.p, host.s.chunk_key.p, 32);
		ck_assert_mem_eq(s.idx_key.p, host.s.idx_key.p, 32);
	}
	struct source_secrets s;
	ck_fails(key_object_open(&stranger, "docs", 5, out.p, out.len, &s, &err), ERR_MISSING);
	ck_fails(key_object_seal(&host, to, 0, &out, &err), ERR_USAGE);
}
END_TEST

struct key_case {
	struct opening_key o;
	struct source_keys host;
};

static void try_key_object(void *arg, const unsigned char *p, size_t n, size_t at)
{
	const struct key_case *c = arg;
	CLEAN(source_secrets_release) struct source_secrets s = {0};
	int rc = key_object_open(&c->o, "docs", 5, p, n, &s, &err);

	(void)at;
	ck_assert_int_ne(rc, 0);
	ck_assert_ptr_null(s.id_key.p);
}

START_TEST(cut_or_flipped_key_objects_do_not_open)
{
	struct key_case c = {.o = golden_key()};
	CLEAN(buf_release) struct buf out = BUF_INIT(64 << 10);
	struct recipient to = recipient_of(&c.o);

	c.host = make_host(&c.o);
	ck_ok(key_object_seal(&c.host, &to, 1, &out, &err));
	each_mutation(out.p, out.len, try_key_object, &c);
	source_keys_release(&c.host);
	opening_key_release(&c.o);
}
END_TEST

/* --- sealed objects --- */

static void try_sealed(void *arg, const unsigned char *p, size_t n, size_t at)
{
	CLEAN(buf_release) struct buf out = BUF_INIT(1000);

	(void)at;
	buf_add(&out, "x", 1);
	ck_assert_int_ne(sealed_get(arg, REPO, "docs", SEALED_FACTS, p, n, &out, &err), 0);
	ck_assert_uint_eq(out.len, 1);
}

START_TEST(sealed_object_opens_only_as_what_it_was_sealed)
{
	CLEAN(secret_release) struct secret idx = {0}, wrong = {0};
	CLEAN(buf_release) struct buf sealed = BUF_INIT(1000), out = BUF_INIT(1000);
	unsigned char other[REPO_ID_LEN] = {9};

	fill_secret(&idx, 1);
	fill_secret(&wrong, 2);
	ck_ok(sealed_put(&idx, REPO, "docs", SEALED_FACTS, "hello", 5, &sealed, &err));
	ck_assert_uint_eq(sealed.len, 9 + 32 + 5 + 16);
	ck_ok(sealed_get(&idx, REPO, "docs", SEALED_FACTS, sealed.p, sealed.len, &out, &err));
	ck_assert_str_eq(buf_str(&out), "hello");
	ck_fails(sealed_get(&idx, REPO, "docs", SEALED_DELTA, sealed.p, sealed.len, &out, &err), ERR_FORMAT);
	ck_fails(sealed_get(&idx, REPO, "pics", SEALED_FACTS, sealed.p, sealed.len, &out, &err), ERR_CORRUPT);
	ck_fails(sealed_get(&idx, other, "docs", SEALED_FACTS, sealed.p, sealed.len, &out, &err), ERR_CORRUPT);
	ck_fails(sealed_get(&wrong, REPO, "docs", SEALED_FACTS, sealed.p, sealed.len, &out, &err), ERR_CORRUPT);
	each_mutation(sealed.p, sealed.len, try_sealed, &idx);
}
END_TEST

START_TEST(sealing_twice_gives_other_bytes)
{
	CLEAN(secret_release) struct secret idx = {0};
	CLEAN(buf_release) struct buf a = BUF_INIT(1000), b = BUF_INIT(1000);

	fill_secret(&idx, 1);
	ck_ok(sealed_put(&idx, REPO, "docs", SEALED_FACTS, "hello", 5, &a, &err));
	ck_ok(sealed_put(&idx, REPO, "docs", SEALED_FACTS, "hello", 5, &b, &err));
	ck_assert_mem_ne(a.p + 9, b.p + 9, SALT_LEN);
	ck_assert_mem_ne(a.p + 41, b.p + 41, 5);
}
END_TEST

START_TEST(too_large_for_its_buffer_is_refused_whole)
{
	CLEAN(secret_release) struct secret idx = {0};
	CLEAN(buf_release) struct buf small = BUF_INIT(61), sealed = BUF_INIT(62), out = BUF_INIT(4);

	fill_secret(&idx, 1);
	ck_fails(sealed_put(&idx, REPO, "docs", SEALED_FACTS, "hello", 5, &small, &err), ERR_NOMEM);
	ck_ok(sealed_put(&idx, REPO, "docs", SEALED_FACTS, "hello", 5, &sealed, &err));
	ck_fails(sealed_get(&idx, REPO, "docs", SEALED_FACTS, sealed.p, sealed.len, &out, &err), ERR_NOMEM);
}
END_TEST

/* --- key files --- */

static char dir[] = "/tmp/t_repo_format.XXXXXX";

static void make_dir(void)
{
	strcpy(dir, "/tmp/t_repo_format.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
	ck_ok(fs_remove_tree(dir, &err));
}

START_TEST(source_keys_are_saved_once_and_read_back)
{
	CLEAN(opening_key_release) struct opening_key o = golden_key();
	CLEAN(source_keys_release) struct source_keys k = make_host(&o), got = {0};
	CLEAN(free_ptr) char *path = fs_join(dir, "docs.key");
	struct stat st;

	ck_ok(source_keys_save(&k, path, &err));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_fails(source_keys_save(&k, path, &err), ERR_EXISTS);
	ck_ok(source_keys_load(&got, path, &err));
	ck_assert_mem_eq(got.repo, k.repo, REPO_ID_LEN);
	ck_assert_str_eq(got.source, "docs");
	ck_assert_str_eq(got.class_name, "gold");
	ck_assert_uint_eq(got.epoch, 5);
	ck_assert_mem_eq(got.s.id_key.p, k.s.id_key.p, 32);
	ck_assert_mem_eq(got.s.chunk_key.p, k.s.chunk_key.p, 32);
	ck_assert_mem_eq(got.s.idx_key.p, k.s.idx_key.p, 32);
	ck_assert_mem_eq(got.sign.p, k.sign.p, 32);
	ck_assert_mem_eq(got.psk.p, k.psk.p, 32);
	ck_assert_mem_eq(got.sign_pub, k.sign_pub, 32);
}
END_TEST

START_TEST(opening_key_is_saved_once_and_read_back)
{
	CLEAN(opening_key_release) struct opening_key k = {0}, got = {0};
	CLEAN(free_ptr) char *path = fs_join(dir, "gold.key");
	unsigned char root[ED25519_PUB_LEN] = {7, 8};

	opening_key_generate(&k, REPO, "gold", root);
	ck_ok(opening_key_save(&k, path, &err));
	ck_fails(opening_key_save(&k, path, &err), ERR_EXISTS);
	ck_ok(opening_key_load(&got, path, &err));
	ck_assert_mem_eq(got.repo, REPO, REPO_ID_LEN);
	ck_assert_str_eq(got.class_name, "gold");
	ck_assert_mem_eq(got.priv.p, k.priv.p, 32);
	ck_assert_mem_eq(got.r.p, k.r.p, 32);
	ck_assert_mem_eq(got.pub, k.pub, 32);
	ck_assert_mem_eq(got.root_pub, root, 32);
}
END_TEST

START_TEST(sign_key_is_read_only_as_its_kind)
{
	CLEAN(secret_release) struct secret seed = {0}, got = {0};
	CLEAN(free_ptr) char *path = fs_join(dir, "log.key");
	unsigned char pub[ED25519_PUB_LEN], got_pub[ED25519_PUB_LEN];

	ed25519_generate(&seed, pub);
	ck_ok(sign_key_save(path, "log", &seed, &err));
	ck_fails(sign_key_load(path, "root", &got, got_pub, &err), ERR_FORMAT);
	ck_assert_ptr_null(got.p);
	ck_ok(sign_key_load(path, "log", &got, got_pub, &err));
	ck_assert_mem_eq(got.p, seed.p, 32);
	ck_assert_mem_eq(got_pub, pub, 32);
}
END_TEST

START_TEST(key_file_with_a_foreign_public_key_is_corrupt)
{
	CLEAN(secret_release) struct secret seed = {0}, got = {0};
	CLEAN(free_ptr) char *path = fs_join(dir, "log.key");
	CLEAN(json_release) json_t *o = NULL;
	CLEAN(buf_release) struct buf b = BUF_INIT(4096);
	unsigned char pub[ED25519_PUB_LEN];

	ed25519_generate(&seed, pub);
	ck_ok(sign_key_save(path, "log", &seed, &err));
	ck_ok(fs_read(path, &b, &err));
	ck_ok(json_parse(b.p, b.len, 4096, "key", &o, &err));
	pub[0] ^= 1;
	json_object_set_new(o, "public", json_hex(pub, sizeof pub));
	buf_clear(&b);
	ck_ok(json_canonical(o, &b, &err));
	ck_ok(fs_replace(path, b.p, b.len, 0600, &err));
	ck_fails(sign_key_load(path, "log", &got, pub, &err), ERR_CORRUPT);
	ck_fails(fs_replace(path, "{}", 2, 0600, &err) ? -1 : sign_key_load(path, "log", &got, pub, &err), ERR_FORMAT);
	unlink(path);
	ck_fails(sign_key_load(path, "log", &got, pub, &err), ERR_MISSING);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("repo format");
	TCase *t = tcase_create("format"), *f = tcase_create("key files");
	tcase_add_test(t, ctx_binds_label_repository_source_and_rest);
	tcase_add_test(t, text_is_read_back_within_its_bound);
	tcase_add_test(t, padme_lengths_are_those_of_the_paper);
	tcase_add_test(t, sizes_round_up_to_two_significant_bits);
	tcase_add_test(t, keys_of_objects_have_their_form);
	tcase_add_test(t, names_of_attempts_are_16_hex_digits);
	tcase_add_test(t, psk_and_recipient_are_those_of_the_format);
	tcase_add_test(t, golden_sealed_object_opens);
	tcase_add_test(t, golden_session_envelope_opens);
	tcase_add_test(t, golden_key_object_opens);
	tcase_add_test(t, bytes_behind_an_envelope_are_refused);
	tcase_add_test(t, envelope_text_round_trips);
	tcase_add_test(t, cut_or_flipped_envelopes_do_not_open);
	tcase_add_test(t, session_opens_for_its_recipients_only);
	tcase_add_test(t, session_key_must_be_the_one_its_envelope_names);
	tcase_add_test(t, envelope_for_an_unknown_kind_of_key_is_for_someone_else);
	tcase_add_test(t, key_object_opens_for_each_recipient);
	tcase_add_test(t, cut_or_flipped_key_objects_do_not_open);
	tcase_add_test(t, sealed_object_opens_only_as_what_it_was_sealed);
	tcase_add_test(t, sealing_twice_gives_other_bytes);
	tcase_add_test(t, too_large_for_its_buffer_is_refused_whole);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(f, make_dir, remove_dir);
	tcase_add_test(f, source_keys_are_saved_once_and_read_back);
	tcase_add_test(f, opening_key_is_saved_once_and_read_back);
	tcase_add_test(f, sign_key_is_read_only_as_its_kind);
	tcase_add_test(f, key_file_with_a_foreign_public_key_is_corrupt);
	suite_add_tcase(s, f);
	return s;
}

int main(void)
{
	crypto_init();
	return suite_main(suite());
}
