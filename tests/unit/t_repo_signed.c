#include "repo/signed.h"

#include <check.h>
#include <string.h>
#include "hex.h"
#include "repo/snapshot.h"
#include "repo_random.h"
#include "suite.h"

#define MS INT64_C(1000000)
#define NOON (INT64_C(1775000000) * 1000 * MS + 345 * MS)

static struct err err;
static const unsigned char REPO[REPO_ID_LEN] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static struct secret root_seed, log_seed;
static struct source_keys host;
static struct cfg cfg; /* built by hand, owns its memory */

static void set_up(void)
{
	struct opening_key o = {0};
	struct secret psk = {0};
	unsigned char root_pub[ED25519_PUB_LEN];

	ed25519_generate(&root_seed, root_pub);
	opening_key_generate(&o, REPO, "gold", root_pub);
	opening_key_psk(&o, "docs", &psk);
	source_keys_generate(&host, REPO, "docs", "gold", 2, &psk);
	cfg = (struct cfg){
	        .n = 0, .plan = "office", .time = NOON, .n_root = 1, .n_classes = 1, .n_sources = 1, .n_logs = 1};
	memcpy(cfg.repo, REPO, REPO_ID_LEN);
	cfg.root = xcalloc(1, sizeof *cfg.root);
	memcpy(cfg.root[0], root_pub, ED25519_PUB_LEN);
	cfg.class_ = xcalloc(1, sizeof *cfg.class_);
	cfg.class_[0] = (struct cfg_class){.name = "gold", .custody = "host", .n_recipients = 1};
	cfg.class_[0].recipient = xcalloc(1, sizeof(struct recipient));
	recipient_init(cfg.class_[0].recipient, o.pub);
	cfg.source = xcalloc(1, sizeof *cfg.source);
	cfg.source[0] = (struct cfg_source){.name = "docs", .class_name = "gold", .n_signers = 2};
	cfg.source[0].signer = xcalloc(2, sizeof(struct cfg_signer));
	cfg.source[0].signer[0] = (struct cfg_signer){.epoch = 1, .revoked = true, .pub = {1}};
	cfg.source[0].signer[1].epoch = 2;
	memcpy(cfg.source[0].signer[1].pub, host.sign_pub, ED25519_PUB_LEN);
	cfg.log = xcalloc(1, sizeof *cfg.log);
	cfg.log[0] = (struct cfg_log){.origin = "office/log"};
	ed25519_generate(&log_seed, cfg.log[0].pub);
	secret_release(&psk);
	opening_key_release(&o);
}

static void tear_down(void)
{
	cfg_release(&cfg);
	source_keys_release(&host);
	secret_release(&root_seed);
	secret_release(&log_seed);
}

static const unsigned char (*roots(void))[ED25519_PUB_LEN]
{
	return (const unsigned char(*)[ED25519_PUB_LEN])cfg.root;
}

/* --- signed texts --- */

static const char GOLDEN[] =
        "holdfast1 test\n{\"a\":1,\"repository\":\"000102030405060708090a0b0c0d0e0f\",\"v\":1}\n"
        "sig ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c "
        "QT9btqTMDxvktivJC4aEwMm9k3oUuK9nCsmUPEs027LsIzt1OUMIUL/vrf4JLN8yfeiGl9atVRPcm+2vnq61Cw==\n";

START_TEST(signing_makes_the_golden_text)
{
	CLEAN(secret_release) struct secret seed = {0};
	CLEAN(json_release) json_t *o = json_pack("{s:i}", "a", 1);
	CLEAN(buf_release) struct buf out = BUF_INIT(SIGNED_MAX);

	secret_init(&seed, 32);
	memset(seed.p, 7, 32);
	ck_ok(signed_make("test", o, REPO, &seed, &out, &err));
	ck_assert_str_eq(buf_str(&out), GOLDEN);
}
END_TEST

START_TEST(golden_text_is_read)
{
	CLEAN(json_release) json_t *o = NULL;
	unsigned char signer[ED25519_PUB_LEN];

	ck_ok(signed_read("test", GOLDEN, sizeof GOLDEN - 1, REPO, NULL, 0, &o, signer, &err));
	ck_assert_int_eq(json_integer_value(json_object_get(o, "a")), 1);
	assert_hex(signer, sizeof signer, "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c");
}
END_TEST

static void try_signed(void *arg, const unsigned char *p, size_t n, size_t at)
{
	json_t *o;

	(void)arg;
	(void)at;
	ck_assert_int_ne(signed_read("test", p, n, REPO, NULL, 0, &o, NULL, &err), 0);
	ck_assert_ptr_null(o);
}

START_TEST(cut_or_flipped_texts_are_refused)
{
	each_mutation((const unsigned char *)GOLDEN, sizeof GOLDEN - 1, try_signed, NULL);
}
END_TEST

START_TEST(type_repository_and_signer_must_be_those_wanted)
{
	unsigned char keys[2][ED25519_PUB_LEN] = {{1}, {2}}, other[REPO_ID_LEN] = {1}, signer[ED25519_PUB_LEN];
	const unsigned char(*k)[ED25519_PUB_LEN] = (const unsigned char(*)[ED25519_PUB_LEN])keys;
	size_t n = sizeof GOLDEN - 1;
	json_t *o;

	ck_fails(signed_read("tes", GOLDEN, n, REPO, NULL, 0, &o, NULL, &err), ERR_FORMAT);
	ck_fails(signed_read("open", GOLDEN, n, REPO, NULL, 0, &o, NULL, &err), ERR_FORMAT);
	ck_fails(signed_read("test", GOLDEN, n, other, NULL, 0, &o, NULL, &err), ERR_CORRUPT);
	ck_fails(signed_read("test", GOLDEN, n, REPO, k, 2, &o, NULL, &err), ERR_CORRUPT);
	unhex(keys[1], "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c");
	ck_ok(signed_read("test", GOLDEN, n, REPO, k, 2, &o, signer, &err));
	ck_assert_mem_eq(signer, keys[1], sizeof signer);
	json_release(&o);
	ck_ok(signed_read("test", GOLDEN, n, NULL, k, 2, &o, NULL, &err));
	json_release(&o);
}
END_TEST

/* Sign whatever stands in the JSON line. */
static void sign_text(const char *type, const char *json, const struct secret *seed, struct buf *out)
{
	unsigned char pub[ED25519_PUB_LEN], sig[ED25519_SIG_LEN];
	char hex[65], b64[89];

	buf_init(out, 2 * SIGNED_MAX);
	buf_addf(out, "holdfast1 %s\n%s\n", type, json);
	ed25519_public(seed, pub);
	ed25519_sign(seed, out->p, out->len, sig);
	hex_encode(hex, pub, sizeof pub);
	base64_encode(b64, sig, sizeof sig);
	buf_addf(out, "sig %s %s\n", hex, b64);
}

START_TEST(signed_json_must_be_canonical_and_of_version_1)
{
#define R "\"repository\":\"000102030405060708090a0b0c0d0e0f\""
	static const struct {
		const char *json;
		int rc;
	} c[] = {
	        {"{" R ",\"v\":1}", 0},
	        {"{" R ",\"v\":1,\"zzz\":[null]}", 0},
	        {"{" R ",\"v\":2}", -ERR_UNSUPPORTED},
	        {"{" R ",\"v\":\"1\"}", -ERR_FORMAT},
	        {"{" R "}", -ERR_FORMAT},
	        {"{\"v\":1}", -ERR_FORMAT},
	        {"{\"v\":1," R "}", -ERR_FORMAT},
	        {"{" R ", \"v\":1}", -ERR_FORMAT},
	        {"{" R ",\"v\":1,\"v\":1}", -ERR_FORMAT},
	        {"{" R ",\"v\":1.0}", -ERR_FORMAT},
	        {"[]", -ERR_FORMAT},
	        {"", -ERR_FORMAT},
	};
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		CLEAN(buf_release) struct buf b = {0};
		json_t *o;

		sign_text("test", c[i].json, &root_seed, &b);
		ck_assert_int_eq(signed_read("test", b.p, b.len, REPO, NULL, 0, &o, NULL, &err), c[i].rc);
		json_release(&o);
	}
}
END_TEST

START_TEST(one_of_several_signatures_is_enough)
{
	CLEAN(buf_release) struct buf a = {0}, b = {0};
	CLEAN(json_release) json_t *o = NULL;
	unsigned char signer[ED25519_PUB_LEN];
	size_t line;

	sign_text("test", "{" R ",\"v\":1}", &log_seed, &a);
	sign_text("test", "{" R ",\"v\":1}", &root_seed, &b);
	line = 158;
	buf_add(&a, b.p + b.len - line, line);
	ck_ok(signed_read("test", a.p, a.len, REPO, roots(), 1, &o, signer, &err));
	ck_assert_mem_eq(signer, cfg.root[0], sizeof signer);
	json_release(&o);
	/* lines that are no signatures are refused, whatever else holds */
	buf_add(&a, "\n", 1);
	ck_fails(signed_read("test", a.p, a.len, REPO, roots(), 1, &o, signer, &err), ERR_FORMAT);
}
END_TEST

START_TEST(more_than_1_mib_is_not_signed_and_not_read)
{
	CLEAN(free_ptr) char *text = xmalloc(SIGNED_MAX + 1);
	CLEAN(json_release) json_t *o = json_object(), *got = NULL;
	CLEAN(buf_release) struct buf b = BUF_INIT(2 * SIGNED_MAX);

	memset(text, 'x', SIGNED_MAX);
	text[SIGNED_MAX] = '\0';
	json_object_set_new(o, "x", json_string(text));
	ck_fails(signed_make("test", o, REPO, &root_seed, &b, &err), ERR_NOMEM);
	ck_assert_uint_eq(b.len, 0);
	buf_addf(&b, "holdfast1 test\n%s\n", text);
	ck_fails(signed_read("test", b.p, b.len, REPO, NULL, 0, &got, NULL, &err), ERR_FORMAT);
}
END_TEST

/* --- cfg --- */

START_TEST(cfg_round_trips)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	CLEAN(cfg_release) struct cfg c = {0};
	unsigned char(*keys)[ED25519_PUB_LEN];

	ck_ok(cfg_encode(&cfg, &root_seed, &b, &err));
	ck_ok(cfg_decode(b.p, b.len, REPO, roots(), 1, &c, &err));
	ck_assert_uint_eq(c.n, 0);
	ck_assert_int_eq(c.time, NOON);
	ck_assert_str_eq(c.plan, "office");
	ck_assert_mem_eq(c.repo, REPO, REPO_ID_LEN);
	ck_assert_uint_eq(c.n_root, 1);
	ck_assert_mem_eq(c.root[0], cfg.root[0], ED25519_PUB_LEN);
	ck_assert_str_eq(cfg_find_class(&c, "gold")->custody, "host");
	ck_assert_uint_eq(c.class_[0].n_recipients, 1);
	ck_assert_mem_eq(c.class_[0].recipient, cfg.class_[0].recipient, sizeof(struct recipient));
	ck_assert_str_eq(cfg_find_source(&c, "docs")->class_name, "gold");
	ck_assert_ptr_null(cfg_find_source(&c, "pics"));
	ck_assert_ptr_null(cfg_find_class(&c, "tin"));
	ck_assert(c.source[0].signer[0].revoked);
	ck_assert_str_eq(c.log[0].origin, "office/log");
	ck_assert_uint_eq(cfg_log_keys(&c, &keys), 1);
	ck_assert_mem_eq(keys[0], cfg.log[0].pub, ED25519_PUB_LEN);
	free(keys);
}
END_TEST

START_TEST(revoked_keys_and_other_epochs_do_not_sign)
{
	unsigned char(*keys)[ED25519_PUB_LEN];

	ck_assert_uint_eq(cfg_source_keys(&cfg, "docs", 0, &keys), 1);
	ck_assert_mem_eq(keys[0], host.sign_pub, ED25519_PUB_LEN);
	free(keys);
	ck_assert_uint_eq(cfg_source_keys(&cfg, "docs", 1, &keys), 0);
	free(keys);
	ck_assert_uint_eq(cfg_source_keys(&cfg, "docs", 2, &keys), 1);
	free(keys);
	ck_assert_uint_eq(cfg_source_keys(&cfg, "pics", 0, &keys), 0);
	free(keys);
}
END_TEST

START_TEST(cfg_needs_a_trusted_signature)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX), later = BUF_INIT(SIGNED_MAX);
	unsigned char log_pub[1][ED25519_PUB_LEN];
	const unsigned char(*by_log)[ED25519_PUB_LEN] = (const unsigned char(*)[ED25519_PUB_LEN])log_pub;
	struct cfg c;

	memcpy(log_pub[0], cfg.log[0].pub, ED25519_PUB_LEN);
	ck_ok(cfg_encode(&cfg, &log_seed, &b, &err));
	ck_fails(cfg_decode(b.p, b.len, REPO, roots(), 1, &c, &err), ERR_CORRUPT);
	ck_fails(cfg_decode(b.p, b.len, REPO, NULL, 0, &c, &err), ERR_CORRUPT);
	/* the first one is signed by a root key of its own, later ones by those before them */
	ck_fails(cfg_decode(b.p, b.len, REPO, by_log, 1, &c, &err), ERR_FORMAT);
	cfg.n = 1;
	ck_ok(cfg_encode(&cfg, &log_seed, &later, &err));
	ck_ok(cfg_decode(later.p, later.len, NULL, by_log, 1, &c, &err));
	ck_assert_uint_eq(c.n, 1);
	cfg_release(&c);
}
END_TEST

START_TEST(cfg_that_contradicts_itself_is_refused)
{
	for (int i = 0; i < 6; i++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
		struct cfg c;

		if (i)
			set_up();
		switch (i) {
		case 0:
			strcpy(cfg.source[0].class_name, "tin");
			break;
		case 1:
			strcpy(cfg.class_[0].custody, "nobody");
			break;
		case 2:
			cfg.class_[0].recipient->id[0] ^= 1;
			break;
		case 3:
			strcpy(cfg.source[0].name, "Docs");
			break;
		case 4:
			cfg.source[0].signer[1].epoch = 0;
			break;
		default:
			cfg.log[0].origin[0] = '\0';
		}
		ck_ok(cfg_encode(&cfg, &root_seed, &b, &err));
		ck_fails(cfg_decode(b.p, b.len, REPO, roots(), 1, &c, &err), ERR_FORMAT);
		ck_assert_ptr_null(c.root);
		if (i < 5)
			tear_down();
	}
}
END_TEST

/* --- open --- */

static struct attempt_open make_open(void)
{
	struct attempt_open o = {.source = "docs",
	        .attempt = "00000000000000a1",
	        .run = "0123456789abcdef0123456789abcdef",
	        .n_uses = 2,
	        .time = NOON};

	o.uses = xcalloc(2, sizeof *o.uses);
	strcpy(o.uses[0], "00000000000000b1");
	strcpy(o.uses[1], "00000000000000b2");
	return o;
}

START_TEST(open_round_trips_for_source_and_log_keys)
{
	CLEAN(attempt_open_release) struct attempt_open o = make_open();

	for (int i = 0; i < 2; i++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
		CLEAN(attempt_open_release) struct attempt_open got = {0};

		ck_ok(attempt_open_encode(&o, REPO, i ? &log_seed : &host.sign, &b, &err));
		ck_ok(attempt_open_decode(&cfg, b.p, b.len, &got, &err));
		ck_assert_str_eq(got.source, o.source);
		ck_assert_str_eq(got.attempt, o.attempt);
		ck_assert_str_eq(got.run, o.run);
		ck_assert_int_eq(got.time, NOON);
		ck_assert_uint_eq(got.n_uses, 2);
		ck_assert_str_eq(got.uses[1], "00000000000000b2");
	}
}
END_TEST

START_TEST(open_by_a_stranger_is_refused)
{
	CLEAN(attempt_open_release) struct attempt_open o = make_open();
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	struct attempt_open got;

	ck_ok(attempt_open_encode(&o, REPO, &root_seed, &b, &err));
	ck_fails(attempt_open_decode(&cfg, b.p, b.len, &got, &err), ERR_CORRUPT);
	/* nobody at all may sign: not even then is any signer fine */
	cfg.n_logs = 0;
	cfg.source[0].signer[1].revoked = true;
	ck_fails(attempt_open_decode(&cfg, b.p, b.len, &got, &err), ERR_CORRUPT);
	cfg.n_logs = 1;
}
END_TEST

START_TEST(open_names_attempts_only)
{
	CLEAN(attempt_open_release) struct attempt_open o = make_open();
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	struct attempt_open got;

	strcpy(o.uses[1], "../../../../etc");
	ck_ok(attempt_open_encode(&o, REPO, &host.sign, &b, &err));
	ck_fails(attempt_open_decode(&cfg, b.p, b.len, &got, &err), ERR_FORMAT);
	ck_assert_ptr_null(got.uses);
}
END_TEST

/* --- snapshots --- */

static struct snapshot make_snapshot(void)
{
	struct snapshot s = {.lineage = "00000000000000c1",
	        .seq = 7,
	        .has_previous = true,
	        .previous_committed = true,
	        .previous = {1},
	        .packs = {2},
	        .plan_digest = {3}};

	s.facts = (struct snapshot_facts){.start = NOON,
	        .end = NOON + 5 * MS,
	        .run = "ab",
	        .files = 1,
	        .dirs = 2,
	        .others = 3,
	        .entries = 6,
	        .bytes = 1000,
	        .added = 500,
	        .skipped = 1,
	        .notes = {1, 0, 0, 4}};
	s.facts.root[STREAM_CONTENT] = (struct stream_root){true, {4}, 1, 1000, 0, 0};
	s.facts.root[STREAM_ENTRIES] = (struct stream_root){true, {5}, 0, 3000, 6, 1000};
	return s;
}

START_TEST(snapshot_round_trips)
{
	CLEAN(snapshot_release) struct snapshot s = make_snapshot(), got = {0};
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	unsigned char digest[ID_LEN];

	ck_ok(snapshot_encode(&s, &host, &b, &err));
	sha256_of(b.p, b.len, digest);
	ck_assert_mem_eq(s.digest, digest, ID_LEN);
	ck_ok(snapshot_decode(&cfg, b.p, b.len, &got, &err));
	ck_assert_mem_eq(got.digest, digest, ID_LEN);
	ck_assert_str_eq(got.source, "docs");
	ck_assert_str_eq(got.lineage, s.lineage);
	ck_assert_uint_eq(got.seq, 7);
	ck_assert_uint_eq(got.epoch, 2);
	ck_assert(got.has_previous && got.previous_committed && !got.has_found);
	ck_assert_mem_eq(got.previous, s.previous, ID_LEN);
	ck_assert_mem_eq(got.packs, s.packs, ID_LEN);
	ck_assert_mem_eq(got.plan_digest, s.plan_digest, ID_LEN);
	ck_assert_uint_eq(got.size, 1024);
	ck_assert_uint_eq(got.noted, 5);
	ck_assert(!got.has_facts);
	ck_ok(snapshot_open_facts(&got, REPO, &host.s.idx_key, &err));
	ck_assert(got.has_facts);
	ck_assert_int_eq(got.facts.end, s.facts.end);
	ck_assert_str_eq(got.facts.run, "ab");
	ck_assert(!got.facts.is_stream);
	ck_assert_uint_eq(got.facts.others, 3);
	ck_assert_uint_eq(got.facts.added, 500);
	ck_assert_mem_eq(got.facts.notes, s.facts.notes, sizeof s.facts.notes);
	ck_assert(!got.facts.root[STREAM_NOTES].present);
	ck_assert_uint_eq(got.facts.root[STREAM_CONTENT].height, 1);
	ck_assert_mem_eq(got.facts.root[STREAM_ENTRIES].id, s.facts.root[STREAM_ENTRIES].id, ID_LEN);
	ck_assert_uint_eq(got.facts.root[STREAM_ENTRIES].entries, 6);
	ck_assert_uint_eq(got.facts.root[STREAM_ENTRIES].content, 1000);
	ck_assert_uint_eq(got.facts.root[STREAM_ENTRIES].length, 3000);
}
END_TEST

START_TEST(snapshot_says_in_clear_no_more_than_the_format_lists)
{
	static const char *const clear[] = {"epoch", "found", "lineage", "noted", "packs", "plan_digest", "previous",
	        "previous_committed", "repository", "sealed", "seq", "size", "source", "v"};
	CLEAN(snapshot_release) struct snapshot s = make_snapshot();
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	CLEAN(json_release) json_t *o = NULL;

	ck_ok(snapshot_encode(&s, &host, &b, &err));
	ck_ok(signed_read("snapshot", b.p, b.len, REPO, NULL, 0, &o, NULL, &err));
	ck_assert_uint_eq(json_object_size(o), ARRAY_LEN(clear));
	for (size_t i = 0; i < ARRAY_LEN(clear); i++)
		ck_assert_ptr_nonnull(json_object_get(o, clear[i]));
}
END_TEST

START_TEST(snapshot_by_another_epochs_key_is_refused)
{
	CLEAN(snapshot_release) struct snapshot s = make_snapshot();
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	struct snapshot got;

	ck_ok(snapshot_encode(&s, &host, &b, &err));
	cfg.source[0].signer[1].epoch = 3;
	ck_fails(snapshot_decode(&cfg, b.p, b.len, &got, &err), ERR_CORRUPT);
	cfg.source[0].signer[1].epoch = 2;
	cfg.source[0].signer[1].revoked = true;
	ck_fails(snapshot_decode(&cfg, b.p, b.len, &got, &err), ERR_CORRUPT);
	ck_assert_ptr_null(got.sealed.p);
}
END_TEST

static void try_snapshot(void *arg, const unsigned char *p, size_t n, size_t at)
{
	struct snapshot s;

	(void)arg;
	(void)at;
	ck_assert_int_ne(snapshot_decode(&cfg, p, n, &s, &err), 0);
	ck_assert_ptr_null(s.sealed.p);
}

START_TEST(cut_or_flipped_snapshots_are_refused)
{
	CLEAN(snapshot_release) struct snapshot s = make_snapshot();
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);

	ck_ok(snapshot_encode(&s, &host, &b, &err));
	each_mutation(b.p, b.len, try_snapshot, NULL);
}
END_TEST

START_TEST(facts_open_under_the_right_key_only)
{
	CLEAN(snapshot_release) struct snapshot s = make_snapshot();
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);

	ck_ok(snapshot_encode(&s, &host, &b, &err));
	s.has_facts = false;
	ck_fails(snapshot_open_facts(&s, REPO, &host.s.id_key, &err), ERR_CORRUPT);
	ck_assert(!s.has_facts);
	s.sealed.p[60] ^= 1;
	ck_fails(snapshot_open_facts(&s, REPO, &host.s.idx_key, &err), ERR_CORRUPT);
}
END_TEST

START_TEST(numbers_above_2_to_53_are_refused)
{
	CLEAN(snapshot_release) struct snapshot s = make_snapshot();
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);

	s.facts.root[STREAM_CONTENT].length = UINT64_C(1) << 53;
	ck_ok(snapshot_encode(&s, &host, &b, &err));
	s.facts.root[STREAM_CONTENT].length++;
	ck_fails(snapshot_encode(&s, &host, &b, &err), ERR_FORMAT);
	s.facts.root[STREAM_CONTENT].length = 1;
	s.facts.added = UINT64_MAX;
	ck_fails(snapshot_encode(&s, &host, &b, &err), ERR_FORMAT);
}
END_TEST

/* --- fates --- */

static void add_packs(struct pack_list *l, const char *bytes)
{
	for (; *bytes; bytes++) {
		unsigned char digest[ID_LEN];

		memset(digest, *bytes, sizeof digest);
		pack_list_add(l, digest);
	}
	pack_list_sort(l);
}

static void assert_packs(const struct pack_list *l, const char *bytes)
{
	ck_assert_uint_eq(l->n, strlen(bytes));
	for (size_t i = 0; i < l->n; i++)
		ck_assert_int_eq(l->digest[i][31], bytes[i]);
}

static struct fate make_fate(const char *base, const char *removed, const char *list)
{
	struct fate f = {.committed = true, .snapshot = BUF_INIT(SIGNED_MAX)};

	strcpy(f.base, base);
	buf_add(&f.snapshot, "holdfast1 snapshot\n", 19);
	add_packs(&f.removed, removed);
	add_packs(&f.list, list);
	return f;
}

START_TEST(pack_list_is_a_sorted_set)
{
	CLEAN(pack_list_release) struct pack_list l = {0}, two = {0};
	unsigned char digest[ID_LEN], other[ID_LEN] = {0};

	add_packs(&l, "cabbac");
	assert_packs(&l, "abc");
	memset(digest, 'b', sizeof digest);
	ck_assert(pack_list_has(&l, digest));
	ck_assert(!pack_list_has(&l, other));
	ck_assert(!pack_list_has(&two, other));
	add_packs(&two, "\x02\x01");
	pack_list_digest(&two, digest);
	assert_hex(digest, sizeof digest, "097a423f961e262d02e6f2985ee598715c961978e909dc851be6a3bb95059a71");
}
END_TEST

START_TEST(full_fate_has_the_text_of_the_format)
{
	CLEAN(fate_release) struct fate f = make_fate("", "", "\x22\x11"), got = {0};
	CLEAN(buf_release) struct buf b = BUF_INIT(FATE_MAX);

	ck_ok(fate_encode(&f, &b, &err));
	ck_assert_str_eq(buf_str(&b), "holdfast1 fate commit\nsnapshot 19\nholdfast1 snapshot\npacks full 2\n"
	                              "1111111111111111111111111111111111111111111111111111111111111111\n"
	                              "2222222222222222222222222222222222222222222222222222222222222222\n");
	ck_ok(fate_decode(b.p, b.len, &got, &err));
	ck_assert(got.committed);
	ck_assert_str_eq(got.base, "");
	ck_assert_str_eq(buf_str(&got.snapshot), "holdfast1 snapshot\n");
	assert_packs(&got.list, "\x11\x22");
}
END_TEST

START_TEST(relative_fate_has_the_text_of_the_format)
{
	CLEAN(fate_release) struct fate f = make_fate("00000000000000a1", "\x33", "\x22\x11"), got = {0};
	CLEAN(buf_release) struct buf b = BUF_INIT(FATE_MAX);

	ck_ok(fate_encode(&f, &b, &err));
	ck_assert_str_eq(buf_str(&b),
	        "holdfast1 fate commit\nsnapshot 19\nholdfast1 snapshot\npacks from 00000000000000a1 1 2\n"
	        "-3333333333333333333333333333333333333333333333333333333333333333\n"
	        "+1111111111111111111111111111111111111111111111111111111111111111\n"
	        "+2222222222222222222222222222222222222222222222222222222222222222\n");
	ck_ok(fate_decode(b.p, b.len, &got, &err));
	ck_assert_str_eq(got.base, "00000000000000a1");
	assert_packs(&got.removed, "\x33");
	assert_packs(&got.list, "\x11\x22");
}
END_TEST

START_TEST(dead_fate_is_dead_whatever_follows)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(FATE_MAX);
	struct fate f = {0};

	ck_ok(fate_encode(&f, &b, &err));
	ck_assert_str_eq(buf_str(&b), "holdfast1 fate dead\n");
	buf_add(&b, "by hand", 7);
	ck_ok(fate_decode(b.p, b.len, &f, &err));
	ck_assert(!f.committed);
}
END_TEST

START_TEST(snapshot_without_packs_is_possible)
{
	CLEAN(fate_release) struct fate f = make_fate("", "", ""), got = {0};
	CLEAN(buf_release) struct buf b = BUF_INIT(FATE_MAX);

	ck_ok(fate_encode(&f, &b, &err));
	ck_ok(fate_decode(b.p, b.len, &got, &err));
	ck_assert(got.committed);
	ck_assert_uint_eq(got.list.n, 0);
}
END_TEST

START_TEST(malformed_fates_are_refused)
{
#define ONES "1111111111111111111111111111111111111111111111111111111111111111"
#define TWOS "2222222222222222222222222222222222222222222222222222222222222222"
#define HEAD "holdfast1 fate commit\nsnapshot 1\nx"
	static const char *const bad[] = {
	        "",
	        "holdfast1 fate dead",
	        "holdfast1 fate commit\n",
	        "holdfast1 fate commit\nsnapshot 0\npacks full 0\n",
	        "holdfast1 fate commit\nsnapshot 99\nxpacks full 0\n",
	        "holdfast1 fate commit\nsnapshot 01\nxpacks full 0\n",
	        "holdfast1 fate commit\nsnapshot \nxpacks full 0\n",
	        HEAD,
	        HEAD "packs full 00\n",
	        HEAD "packs full -1\n",
	        HEAD "packs full 1\n",
	        HEAD "packs full 99999999999999999999999999\n",
	        HEAD "packs full 0\n" ONES "\n",
	        HEAD "packs full 1\n" ONES,
	        HEAD "packs full 1\n" ONES " ",
	        HEAD "packs full 1\n+" ONES "\n",
	        HEAD "packs full 2\n" TWOS "\n" ONES "\n",
	        HEAD "packs full 2\n" ONES "\n" ONES "\n",
	        HEAD "packs from 00000000000000A1 0 0\n",
	        HEAD "packs from 00000000000000a1 1 0\n+" ONES "\n",
	        HEAD "packs from 00000000000000a1 0 1\n-" ONES "\n",
	        HEAD "packs from 00000000000000a1 0\n",
	        HEAD "packs some 0\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct fate f;

		ck_assert_msg(fate_decode(bad[i], strlen(bad[i]), &f, &err) == -ERR_FORMAT, "case %zu", i);
		ck_assert_ptr_null(f.snapshot.p);
	}
}
END_TEST

/* What decodes must be the text of what it decodes to. */
static void try_fate(void *arg, const unsigned char *p, size_t n, size_t at)
{
	const struct buf *whole = arg;
	CLEAN(fate_release) struct fate f = {0};
	CLEAN(buf_release) struct buf b = BUF_INIT(FATE_MAX);
	int rc = fate_decode(p, n, &f, &err);

	if (at == whole->len)
		ck_assert_int_ne(rc, 0);
	if (rc)
		return;
	ck_ok(fate_encode(&f, &b, &err));
	ck_assert_uint_eq(b.len, n);
	ck_assert_mem_eq(b.p, p, n);
}

START_TEST(cut_or_flipped_fates_mean_what_they_say)
{
	for (int i = 0; i < 2; i++) {
		CLEAN(fate_release) struct fate f = make_fate(i ? "00000000000000a1" : "", i ? "\x33" : "", "\x22\x11");
		CLEAN(buf_release) struct buf b = BUF_INIT(FATE_MAX);

		ck_ok(fate_encode(&f, &b, &err));
		each_mutation(b.p, b.len, try_fate, &b);
	}
}
END_TEST

START_TEST(relative_list_changes_its_base)
{
	CLEAN(fate_release) struct fate f = make_fate("00000000000000a1", "bd", "ace"), all = make_fate("", "", "xy");
	CLEAN(pack_list_release) struct pack_list base = {0}, got = {0}, full = {0};

	add_packs(&base, "bdf");
	ck_ok(fate_resolve(&f, &base, &got, &err));
	assert_packs(&got, "acef");
	ck_ok(fate_resolve(&all, NULL, &full, &err));
	assert_packs(&full, "xy");
}
END_TEST

START_TEST(relative_list_that_does_not_fit_its_base_is_corrupt)
{
	static const struct {
		const char *base, *removed, *added;
	} bad[] = {{"ac", "b", ""}, {"ac", "d", ""}, {"", "a", ""}, {"ac", "", "a"}, {"ac", "", "c"}, {"ac", "a", "a"}};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CLEAN(fate_release) struct fate f = make_fate("00000000000000a1", bad[i].removed, bad[i].added);
		CLEAN(pack_list_release) struct pack_list base = {0}, got = {0};

		add_packs(&base, bad[i].base);
		ck_fails(fate_resolve(&f, &base, &got, &err), ERR_CORRUPT);
		ck_assert_uint_eq(got.n, 0);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("repo signed");
	TCase *t = tcase_create("signed"), *f = tcase_create("fate");
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, signing_makes_the_golden_text);
	tcase_add_test(t, golden_text_is_read);
	tcase_add_test(t, cut_or_flipped_texts_are_refused);
	tcase_add_test(t, type_repository_and_signer_must_be_those_wanted);
	tcase_add_test(t, signed_json_must_be_canonical_and_of_version_1);
	tcase_add_test(t, one_of_several_signatures_is_enough);
	tcase_add_test(t, more_than_1_mib_is_not_signed_and_not_read);
	tcase_add_test(t, cfg_round_trips);
	tcase_add_test(t, revoked_keys_and_other_epochs_do_not_sign);
	tcase_add_test(t, cfg_needs_a_trusted_signature);
	tcase_add_test(t, cfg_that_contradicts_itself_is_refused);
	tcase_add_test(t, open_round_trips_for_source_and_log_keys);
	tcase_add_test(t, open_by_a_stranger_is_refused);
	tcase_add_test(t, open_names_attempts_only);
	tcase_add_test(t, snapshot_round_trips);
	tcase_add_test(t, snapshot_says_in_clear_no_more_than_the_format_lists);
	tcase_add_test(t, snapshot_by_another_epochs_key_is_refused);
	tcase_add_test(t, cut_or_flipped_snapshots_are_refused);
	tcase_add_test(t, facts_open_under_the_right_key_only);
	tcase_add_test(t, numbers_above_2_to_53_are_refused);
	suite_add_tcase(s, t);
	tcase_add_test(f, pack_list_is_a_sorted_set);
	tcase_add_test(f, full_fate_has_the_text_of_the_format);
	tcase_add_test(f, relative_fate_has_the_text_of_the_format);
	tcase_add_test(f, dead_fate_is_dead_whatever_follows);
	tcase_add_test(f, snapshot_without_packs_is_possible);
	tcase_add_test(f, malformed_fates_are_refused);
	tcase_add_test(f, cut_or_flipped_fates_mean_what_they_say);
	tcase_add_test(f, relative_list_changes_its_base);
	tcase_add_test(f, relative_list_that_does_not_fit_its_base_is_corrupt);
	suite_add_tcase(s, f);
	return s;
}

int main(void)
{
	crypto_init();
	return suite_main(suite());
}
