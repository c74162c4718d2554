/* Witnesses: what they cosign, what they refuse, and the proofs that make them. */
#include "evidence_fixture.h"
#include "suite.h"
#include <sys/stat.h>
#include "evidence/witness.h"

/* A site with a witness: a memory store whose cosign is a real one. */
static char wit_dir[96];
static struct witness *wit;
static struct store_ops ops;
static char last_request[WITNESS_REQUEST_MAX + 1];
static size_t asked;

static int site_cosign(struct store *s, const void *p, size_t n, struct buf *ret, struct err *e)
{
	asked++;
	memcpy(last_request, p, n);
	last_request[n] = '\0';
	return witness_cosign(wit, s, p, n, ret, e);
}

static struct store *open_site(const char *name)
{
	struct store *s;

	ok(store_mem_open(name, &s, &err));
	ops = *s->ops;
	ops.cosign = site_cosign;
	s->ops = &ops;
	s->caps |= STORE_WITNESS;
	return s;
}

static char *open_witness(void)
{
	char *vkey;

	snprintf(wit_dir, sizeof wit_dir, "%s/witness", root);
	ok(witness_create(wit_dir, &vkey, &err));
	ok(witness_open(wit_dir, &wit, &err));
	return vkey;
}

static void publish(struct evidence_log *log, struct store *s)
{
	struct evidence_site site = {.store = s};

	ok(evidence_checkpoint(log, &err));
	ok(evidence_publish(log, &site, 1, 0, &err));
}

static size_t count(struct store *s, const char *suffix)
{
	struct store_keys k;
	size_t n = 0, len = strlen(suffix);

	ok(store_list_all(s, "l/", &k, &err));
	for (size_t i = 0; i < k.n; i++)
		n += strlen(k.key[i]) > len && str_eq(k.key[i] + strlen(k.key[i]) - len, suffix);
	store_keys_release(&k);
	return n;
}

START_TEST(each_published_checkpoint_is_cosigned_and_the_signature_verifies)
{
	CLEAN(free_ptr) char *vkey = open_witness();
	CLEAN(store_free_ptr) struct store *s = open_site("cosigned");
	struct evidence_log *log = open_log();
	unsigned char pub[ED25519_PUB_LEN];
	char id[EVIDENCE_ID_LEN + 1], name[160];
	int64_t time_s;

	ok(witness_vkey_parse(vkey, strlen(vkey), pub, &err));
	witness_id(pub, id);
	for (uint64_t size = 2; size <= 40; size++) {
		CLEAN(buf_release) struct buf note = BUF_INIT(EVIDENCE_NOTE_MAX), answer = BUF_INIT(WITNESS_ANSWER_MAX);
		struct evidence_checkpoint cp;

		append(log, "backup", (int)size);
		publish(log, s);
		ck_assert_uint_eq(asked, size - 1);
		snprintf(name, sizeof name, "l/%s/checkpoint/%020llu", evidence_log_id(log), (unsigned long long)size);
		ok(store_get(s, name, &note, &err));
		ok(evidence_note_parse(note.p, note.len, &cp, &err));
		snprintf(name + strlen(name), sizeof name - strlen(name), ".%s.cosig", id);
		ok(store_get(s, name, &answer, &err));
		const char *line = strchr(buf_str(&answer), '\n') + 1;

		ok(witness_line_verify(line, strlen(line), pub, note.p, cp.n_text, &time_s, &err));
		ck_assert_int_eq(time_s, 1774951872);
		note.p[10] ^= 1;
		fails(ERR_CORRUPT, witness_line_verify(line, strlen(line), pub, note.p, cp.n_text, &time_s, &err));
	}
	publish(log, s); /* nothing new */
	ck_assert_uint_eq(asked, 39);
	evidence_close(log);
}
END_TEST

START_TEST(a_witness_that_knows_another_size_gets_a_proof_from_there)
{
	CLEAN(free_ptr) char *vkey = open_witness();
	CLEAN(store_free_ptr) struct store *s = open_site("hints");
	struct evidence_log *log = open_log();
	CLEAN(free_ptr) char *hints = in_log(log, "witness.json"), *state = fs_join(wit_dir, evidence_log_id(log));

	for (int i = 0; i < 21; i++)
		append(log, "backup", i);
	publish(log, s);
	ck_assert_int_eq(unlink(hints), 0);
	append(log, "backup", 22);
	publish(log, s); /* asks with 0, learns 22, asks again */
	ck_assert_uint_eq(asked, 3);
	ck_assert_int_eq(strncmp(last_request, "old 22\n", 7), 0);
	spill(hints, "{\"hints\":{\"offset\":7,\"peaks\":[\"00\"],\"size\":3}}", 47);
	append(log, "backup", 23);
	publish(log, s);
	ck_assert_uint_eq(count(s, ".cosig"), 3);
	ck_assert_int_eq(unlink(state), 0); /* a witness that lost its memory begins anew */
	append(log, "backup", 24);
	publish(log, s);
	ck_assert_uint_eq(count(s, ".cosig"), 4);
	evidence_close(log);
}
END_TEST

START_TEST(a_hint_that_lies_is_no_fork)
{
	CLEAN(free_ptr) char *vkey = open_witness();
	CLEAN(store_free_ptr) struct store *s = open_site("liar");
	struct evidence_log *log = open_log();
	CLEAN(free_ptr) char *hints = in_log(log, "witness.json");
	CLEAN(buf_release) struct buf text = BUF_INIT(1 << 16);

	append(log, "backup", 1);
	append(log, "backup", 2);
	publish(log, s);
	slurp(hints, &text);
	char *peak = strstr((char *)buf_str(&text), "peaks\":[\"");

	ck_assert_ptr_nonnull(peak);
	peak[12] = peak[12] == '0' ? '1' : '0';
	spill(hints, text.p, text.len);
	append(log, "backup", 3);
	publish(log, s);
	ck_assert_uint_eq(count(s, ".cosig"), 2);
	evidence_close(log);
}
END_TEST

/* Two histories under one key, shown to one witness at two places that do not know of each other. */
START_TEST(a_second_history_is_refused)
{
	CLEAN(free_ptr) char *vkey = open_witness(), *command = NULL;
	CLEAN(store_free_ptr) struct store *north = open_site("north"), *south = open_site("south");
	struct evidence_log *log = open_log();
	struct evidence_site site = {.store = south};

	append(log, "backup", 1);
	append(log, "backup", 2);
	publish(log, north);
	ck_assert_int_gt(asprintf(&command, "cp -a %s %s.old", dir, dir), 0);
	ck_assert_int_eq(system(command), 0);
	append(log, "backup", 3);
	publish(log, north);
	evidence_close(log);
	free(command);
	ck_assert_int_gt(asprintf(&command, "rm -rf %s && mv %s.old %s", dir, dir, dir), 0);
	ck_assert_int_eq(system(command), 0);
	log = open_log();
	append(log, "backup", 33);
	ok(evidence_checkpoint(log, &err));
	fails(ERR_FORK, evidence_publish(log, &site, 1, 0, &err));
	ck_assert_uint_eq(count(south, ".cosig"), 0);
	append(log, "backup", 44); /* longer than what it saw: still not its continuation */
	append(log, "backup", 55);
	ok(evidence_checkpoint(log, &err));
	fails(ERR_FORK, evidence_publish(log, &site, 1, 0, &err));
	evidence_close(log);
}
END_TEST

START_TEST(requests_that_are_none_are_refused)
{
	CLEAN(free_ptr) char *vkey = open_witness();
	CLEAN(store_free_ptr) struct store *s = open_site("malformed");
	CLEAN(buf_release) struct buf b = BUF_INIT(WITNESS_REQUEST_MAX + 64), out = BUF_INIT(WITNESS_ANSWER_MAX);
	static const char *const bad[] = {"", "old", "old x\n\n", "old -1\n\n", "old 01\n\n", "old 1", "old 1\n",
	        "old 1\nAAAA\n\n", "old 1\n\nholdfast/xyz\n1\n", "old 99999999999999999999999\n\n"};
	struct evidence_log *log = open_log();

	append(log, "backup", 1);
	publish(log, s);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		fails(ERR_FORMAT, witness_cosign(wit, s, bad[i], strlen(bad[i]), &out, &err));
	buf_addf(&b, "old 2\n"); /* a proof of too many hashes */
	for (int i = 0; i < 64; i++)
		buf_addf(&b, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
	buf_addf(&b, "\n");
	fails(ERR_FORMAT, witness_cosign(wit, s, b.p, b.len, &out, &err));
	char *of_sig = &last_request[strlen(last_request) - 5]; /* the log's own signature */

	*of_sig = *of_sig == 'A' ? 'B' : 'A'; /* which stays base64 */
	fails(ERR_CORRUPT, witness_cosign(wit, s, last_request, strlen(last_request), &out, &err));
	ck_assert_uint_eq(out.len, 0);
	evidence_close(log);
}
END_TEST

/* The first cosignature at a site, damaged or moved to another checkpoint. */
static void replace_cosig(struct store *s, const char *id, uint64_t from, uint64_t to, int flip)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(WITNESS_ANSWER_MAX);
	char name[160], other[160], wid[EVIDENCE_ID_LEN + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};

	snprintf(name, sizeof name, "l/%s/checkpoint/%020llu.", id, (unsigned long long)from);
	ok(store_list_all(s, name, &k, &err));
	for (size_t i = 0; i < k.n; i++)
		if (strstr(k.key[i], ".cosig"))
			str_copy(name, sizeof name, k.key[i]);
	ok(store_get(s, name, &b, &err));
	snprintf(wid, sizeof wid, "%.16s", name + strlen(name) - 22);
	snprintf(other, sizeof other, "l/%s/checkpoint/%020llu.%s.cosig", id, (unsigned long long)to, wid);
	ok(store_remove(s, other, &err));
	b.p[b.len - 20] ^= (unsigned char)flip;
	ok(store_put_bytes(s, other, b.p, b.len, &err));
}

START_TEST(verification_tells_whose_cosignatures_are_good_and_finds_the_others)
{
	CLEAN(free_ptr) char *vkey = open_witness();
	CLEAN(store_free_ptr) struct store *s = open_site("verified");
	struct evidence_log *log = open_log();
	CLEAN(free_ptr) char *id = xstrdup(evidence_log_id(log));
	struct evidence_report report = {0};
	struct store *sites[] = {s};
	const struct evidence_verify v = {.dir = dir, .sites = sites, .n_sites = 1};

	append(log, "backup", 1);
	publish(log, s);
	append(log, "backup", 2);
	publish(log, s);
	evidence_close(log);
	ok(evidence_verify(&v, &report, &err));
	ck_assert_uint_eq(report.damage + report.forks + report.behind + report.notes, 0);
	json_t *logs = json_object_get(report.json, "logs"), *copies = json_object_get(json_array_get(logs, 0), "copies");
	json_t *seen = json_array_get(json_object_get(json_array_get(copies, 1), "witnesses"), 0);

	ck_assert_int_eq(json_integer_value(json_object_get(seen, "size")), 3);
	evidence_report_release(&report);
	replace_cosig(s, id, 2, 3, 0); /* of another checkpoint */
	fails(ERR_CORRUPT, evidence_verify(&v, &report, &err));
	ck_assert_uint_eq(report.damage, 1);
	evidence_report_release(&report);
	replace_cosig(s, id, 2, 2, 1); /* damaged */
	fails(ERR_CORRUPT, evidence_verify(&v, &report, &err));
	ck_assert_uint_eq(report.damage, 2);
	evidence_report_release(&report);
}
END_TEST

START_TEST(a_key_is_made_once)
{
	CLEAN(free_ptr) char *vkey = open_witness(), *again = NULL, *path = fs_join(wit_dir, "key");
	unsigned char pub[ED25519_PUB_LEN];
	struct witness *w;

	fails(ERR_EXISTS, witness_create(wit_dir, &again, &err));
	ok(witness_vkey_parse(vkey, strlen(vkey), pub, &err));
	fails(ERR_FORMAT, witness_vkey_parse(vkey, strlen(vkey) - 1, pub, &err));
	vkey[20] ^= 1;
	fails(ERR_FORMAT, witness_vkey_parse(vkey, strlen(vkey), pub, &err));
	ck_assert_int_eq(chmod(path, 0644), 0);
	fails(ERR_DENIED, witness_open(wit_dir, &w, &err));
	ck_assert_int_eq(unlink(path), 0);
	fails(ERR_MISSING, witness_open(wit_dir, &w, &err));
}
END_TEST

/* A key that nobody signs with here. */
static char *another_key(void)
{
	CLEAN(secret_release) struct secret seed = {0};
	unsigned char pub[ED25519_PUB_LEN];

	ed25519_generate(&seed, pub);
	return witness_vkey(pub);
}

START_TEST(only_the_pinned_key_counts)
{
	CLEAN(free_ptr) char *vkey = open_witness(), *other = another_key();
	CLEAN(store_free_ptr) struct store *s = open_site("pinned");
	struct evidence_log *log = open_log();
	struct evidence_site site = {.store = s, .pin = other};
	struct evidence_report report = {0};
	struct store *sites[] = {s};
	const char *pin = other;
	const struct evidence_verify v = {.dir = dir, .sites = sites, .n_sites = 1, .witnesses = &pin};

	append(log, "backup", 1);
	ok(evidence_checkpoint(log, &err));
	ok(evidence_publish(log, &site, 1, 0, &err));
	ck_assert_int_eq(site.witness.code, ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(site.witness.msg, vkey));
	ck_assert_uint_eq(count(s, ".cosig"), 0);
	fails(ERR_MISSING, evidence_verify(&v, &report, &err));
	evidence_report_release(&report);

	site.pin = pin = vkey;
	ok(evidence_publish(log, &site, 1, EVIDENCE_PUBLISH_WITNESS, &err));
	ck_assert_int_eq(site.witness.code, 0);
	ck_assert_uint_eq(count(s, ".cosig"), 1);
	ok(evidence_verify(&v, &report, &err));
	ck_assert_uint_eq(report.damage + report.notes, 0);
	evidence_report_release(&report);

	pin = other; /* what another signed is for a reader to know, and no cosignature */
	fails(ERR_MISSING, evidence_verify(&v, &report, &err));
	ck_assert_uint_eq(report.notes, 1);
	evidence_report_release(&report);

	asked = 0; /* asked though there is nothing new, and only then */
	ok(evidence_publish(log, &site, 1, 0, &err));
	ck_assert_uint_eq(asked, 0);
	ok(evidence_publish(log, &site, 1, EVIDENCE_PUBLISH_WITNESS, &err));
	ck_assert_uint_eq(asked, 1);
	s->caps &= ~(uint32_t)STORE_WITNESS;
	ok(evidence_publish(log, &site, 1, EVIDENCE_PUBLISH_WITNESS, &err));
	ck_assert_int_eq(site.witness.code, ERR_MISSING);
	evidence_close(log);
}
END_TEST

static void done(void)
{
	witness_free(wit);
	wit = NULL;
	asked = 0;
	teardown();
}

int main(void)
{
	const TTest *const tests[] = {each_published_checkpoint_is_cosigned_and_the_signature_verifies,
	        a_witness_that_knows_another_size_gets_a_proof_from_there, a_hint_that_lies_is_no_fork,
	        a_second_history_is_refused, requests_that_are_none_are_refused,
	        verification_tells_whose_cosignatures_are_good_and_finds_the_others, a_key_is_made_once,
	        only_the_pinned_key_counts};
	Suite *s = suite_create("witness");
	TCase *tc = tcase_create("witness");

	tcase_add_checked_fixture(tc, setup, done);
	for (size_t i = 0; i < ARRAY_LEN(tests); i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(s, tc);

	return suite_main(s);
}
