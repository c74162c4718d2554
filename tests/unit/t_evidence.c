/* The evidence log: tree, records, checkpoints, durability, copies. Verification is in t_evidence_verify.c. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "base/proc.h"
#include "evidence_fixture.h"
#include "suite.h"

/* --- Merkle tree --- */

static const char *const rfc_leaves[] = {
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
static const char *const rfc_roots[] = {
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

START_TEST(merkle_roots_are_those_of_certificate_transparency)
{
	unsigned char h[SHA256_LEN], raw[16];
	char hex[2 * SHA256_LEN + 1];
	struct merkle m;

	merkle_init(&m);
	merkle_root(&m, h);
	hex_encode(hex, h, sizeof(h));
	ck_assert_str_eq(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	for (size_t i = 0; i < ARRAY_LEN(rfc_leaves); i++) {
		size_t n = strlen(rfc_leaves[i]) / 2;

		ck_assert(hex_decode(raw, n, rfc_leaves[i]));
		merkle_leaf(raw, n, h);
		merkle_append(&m, h);
		merkle_root(&m, h);
		hex_encode(hex, h, sizeof(h));
		ck_assert_str_eq(hex, rfc_roots[i]);
	}
}
END_TEST

enum { LEAVES = 35 };
static unsigned char leaves[LEAVES][SHA256_LEN], roots[LEAVES + 1][SHA256_LEN];

static void grow_tree(void)
{
	struct merkle m;

	merkle_init(&m);
	merkle_root(&m, roots[0]);
	for (int i = 0; i < LEAVES; i++) {
		merkle_leaf(&i, sizeof(i), leaves[i]);
		merkle_append(&m, leaves[i]);
		merkle_root(&m, roots[i + 1]);
	}
}

START_TEST(inclusion_proofs_hold_for_their_record_alone)
{
	grow_tree();
	for (uint64_t n = 1; n <= LEAVES; n++) {
		for (uint64_t i = 0; i < n; i++) {
			CLEAN(buf_release) struct buf p = BUF_INIT(4096);

			ok(merkle_inclusion(leaves, n, i, &p, &err));
			size_t k = p.len / SHA256_LEN;
			ck_assert(merkle_inclusion_ok(leaves[i], i, n, p.p, k, roots[n]));
			ck_assert(!merkle_inclusion_ok(leaves[(i + 1) % LEAVES], i, n, p.p, k, roots[n]));
			ck_assert(!merkle_inclusion_ok(leaves[i], i, n, p.p, k, roots[n - 1]));
			ck_assert(n == 1 || !merkle_inclusion_ok(leaves[i], (i + 1) % n, n, p.p, k, roots[n]));
			ck_assert(k == 0 || !merkle_inclusion_ok(leaves[i], i, n, p.p, k - 1, roots[n]));
		}
	}
	CLEAN(buf_release) struct buf p = BUF_INIT(4096);
	fails(ERR_USAGE, merkle_inclusion(leaves, 3, 3, &p, &err));
	ck_assert(!merkle_inclusion_ok(leaves[0], 0, 0, NULL, 0, roots[0]));
}
END_TEST

START_TEST(consistency_proofs_hold_between_every_two_sizes)
{
	grow_tree();
	for (uint64_t n = 1; n <= LEAVES; n++) {
		for (uint64_t m = 1; m <= n; m++) {
			CLEAN(buf_release) struct buf p = BUF_INIT(4096);

			ok(merkle_consistency(leaves, n, m, &p, &err));
			size_t k = p.len / SHA256_LEN;
			ck_assert(merkle_consistency_ok(m, roots[m], n, roots[n], p.p, k));
			ck_assert(!merkle_consistency_ok(m, roots[m - 1], n, roots[n], p.p, k));
			ck_assert(!merkle_consistency_ok(m, roots[m], n, roots[n - 1], p.p, k));
			for (size_t b = 0; b < p.len; b += 7) {
				p.p[b] ^= 1;
				ck_assert(!merkle_consistency_ok(m, roots[m], n, roots[n], p.p, k));
				p.p[b] ^= 1;
			}
		}
	}
	CLEAN(buf_release) struct buf p = BUF_INIT(4096);
	fails(ERR_USAGE, merkle_consistency(leaves, 3, 4, &p, &err));
	fails(ERR_USAGE, merkle_consistency(leaves, 3, 0, &p, &err));
}
END_TEST

/* --- Records --- */

START_TEST(record_is_canonical_and_tells_its_clocks)
{
	CLEAN(buf_release) struct buf line = BUF_INIT(EVIDENCE_RECORD_MAX);
	CLEAN(json_release) json_t *body = json_pack("{s:s}", "note", "north \xc3\xa4");
	struct evidence_subject s = {.name = "result.json"};
	struct evidence_slot slot = {.plan = "ca", .kind = "drill:full", .time_ns = 1774951200000000000};
	struct evidence_record r;

	sha256_of("x", 1, s.sha256);
	ok(evidence_record_make(&(struct evidence_event){.type = "drill-end",
	                                .actor = "ops@example.org",
	                                .outcome = "done",
	                                .slot = &slot,
	                                .subjects = &s,
	                                .n_subjects = 1,
	                                .body = body},
	        7, &line, &err));
	ck_assert_ptr_null(memchr(line.p, '\n', line.len));
	ck_assert_ptr_nonnull(strstr(buf_str(&line), "\"time\":\"2026-03-31T10:11:12.345Z\""));
	ok(evidence_record_parse(line.p, line.len, &r, &err));
	ck_assert_uint_eq(r.seq, 7);
	ck_assert_int_eq(r.boot_us, 5000000);
	ck_assert_str_eq(r.actor, "ops@example.org");
	ck_assert_str_eq(r.slot.plan, "ca");
	ck_assert_str_eq(r.slot.kind, "drill:full");
	ck_assert_int_eq(r.slot.time_ns, slot.time_ns);
	ck_assert_str_eq(r.outcome, "done");
	evidence_record_release(&r);
	ck_assert_uint_eq(json_object_size(body), 1);
}
END_TEST

START_TEST(record_with_any_member_missing_unknown_or_of_another_type_is_refused)
{
	CLEAN(buf_release) struct buf line = BUF_INIT(EVIDENCE_RECORD_MAX);
	CLEAN(json_release) json_t *good = NULL;
	struct evidence_record r;
	const char *name;
	json_t *value;

	ok(evidence_record_make(&(struct evidence_event){.type = "backup"}, 0, &line, &err));
	ok(json_parse(line.p, line.len, line.limit, "record", &good, &err));
	json_object_foreach (good, name, value) {
		for (int change = 0; change < 3; change++) {
			CLEAN(json_release) json_t *bad = json_deep_copy(good);
			CLEAN(buf_release) struct buf text = BUF_INIT(EVIDENCE_RECORD_MAX);

			if (change == 0)
				json_object_del(bad, name);
			else if (change == 1)
				json_object_set_new(bad, name, json_null());
			else
				json_object_set_new(bad, "zzz", json_null());
			ok(json_canonical(bad, &text, &err));
			fails(ERR_FORMAT, evidence_record_parse(text.p, text.len, &r, &err));
		}
	}
	buf_addf(&line, " ");
	fails(ERR_FORMAT, evidence_record_parse(line.p, line.len, &r, &err));
}
END_TEST

START_TEST(record_over_the_ceiling_or_with_a_bad_type_or_outcome_is_refused_before_it_is_written)
{
	struct evidence_log *log = open_log();
	CLEAN(free_ptr) char *big = xmalloc(EVIDENCE_RECORD_MAX + 1);
	CLEAN(json_release) json_t *body = NULL, *real = json_pack("{s:f}", "share", 0.5);

	memset(big, 'a', EVIDENCE_RECORD_MAX);
	big[EVIDENCE_RECORD_MAX] = 0;
	body = json_pack("{s:s}", "big", big);
	fails(ERR_NOMEM, evidence_append(log, &(struct evidence_event){.type = "backup", .body = body}, NULL, &err));
	fails(ERR_FORMAT, evidence_append(log, &(struct evidence_event){.type = "backup", .body = real}, NULL, &err));
	fails(ERR_FORMAT, evidence_append(log, &(struct evidence_event){.type = "Back Up"}, NULL, &err));
	fails(ERR_FORMAT,
	        evidence_append(log, &(struct evidence_event){.type = "backup", .outcome = "splendid"}, NULL, &err));
	append(log, "backup", 1);
	ck_assert_uint_eq(evidence_log_size(log), 2);
	evidence_close(log);
}
END_TEST

/* --- Checkpoints --- */

static void make_note(struct secret *seed, unsigned char pub[ED25519_PUB_LEN], struct buf *note)
{
	unsigned char r[SHA256_LEN];

	sha256_of("root", 4, r);
	ed25519_generate(seed, pub);
	ok(evidence_note_make(seed, 1234567, r, note, &err));
}

START_TEST(checkpoint_verifies_and_any_flipped_bit_breaks_it)
{
	CLEAN(buf_release) struct buf note = BUF_INIT(EVIDENCE_NOTE_MAX);
	CLEAN(secret_release) struct secret seed = {0};
	unsigned char pub[ED25519_PUB_LEN];
	struct evidence_checkpoint cp;

	make_note(&seed, pub, &note);
	ok(evidence_note_verify(note.p, note.len, pub, &cp, &err));
	ck_assert_uint_eq(cp.size, 1234567);
	for (size_t i = 0; i < note.len * 8; i++) {
		note.p[i / 8] ^= (unsigned char)(1 << i % 8);
		ck_assert_msg(evidence_note_verify(note.p, note.len, pub, &cp, NULL) != 0, "bit %zu", i);
		note.p[i / 8] ^= (unsigned char)(1 << i % 8);
	}
	for (size_t n = 0; n < note.len; n++)
		ck_assert_int_ne(evidence_note_verify(note.p, n, pub, &cp, NULL), 0);
	pub[0] ^= 1;
	fails(ERR_CORRUPT, evidence_note_verify(note.p, note.len, pub, &cp, &err));
}
END_TEST

START_TEST(checkpoint_with_a_cosignature_of_a_witness_still_verifies)
{
	CLEAN(buf_release) struct buf note = BUF_INIT(EVIDENCE_NOTE_MAX);
	CLEAN(secret_release) struct secret seed = {0};
	unsigned char pub[ED25519_PUB_LEN];
	struct evidence_checkpoint cp;

	make_note(&seed, pub, &note);
	buf_addf(&note, "\xe2\x80\x94 witness.example.org AAAAAAAAAAAAAAAAAAAAAAAA\n");
	ok(evidence_note_verify(note.p, note.len, pub, &cp, &err));
	buf_addf(&note, "trailing\n");
	fails(ERR_FORMAT, evidence_note_verify(note.p, note.len, pub, &cp, &err));
}
END_TEST

START_TEST(checkpoint_text_is_read_strictly)
{
	static const char *const bad[] = {"", "\n", "a\n1\n",
	        "a\n01\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\xe2\x80\x94 a AAAAAAAA\n",
	        "a\n-1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\xe2\x80\x94 a AAAAAAAA\n",
	        "a\n18446744073709551616\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\xe2\x80\x94 a AAAAAAAA\n",
	        "a\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nextension\n\n\xe2\x80\x94 a AAAAAAAA\n",
	        "a\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n", "a\n1\nAAAA\n\n\xe2\x80\x94 a AAAAAAAA\n",
	        "a\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\xe2\x80\x94 a AAAA\n",
	        "a\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n- a AAAAAAAA\n",
	        "a b\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\xe2\x80\x94 a AAAAAAAA\n",
	        "a\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\xe2\x80\x94 a AAAAAAAA"};
	const char *good = "a\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\xe2\x80\x94 a AAAAAAAA\n";
	struct evidence_checkpoint cp;

	ok(evidence_note_parse(good, strlen(good), &cp, &err));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		fails(ERR_FORMAT, evidence_note_parse(bad[i], strlen(bad[i]), &cp, &err));
}
END_TEST

START_TEST(verifier_key_round_trips_and_must_fit_its_name_and_hash)
{
	for (int k = 0; k < 50; k++) { /* base64 with and without a plus sign */
		CLEAN(secret_release) struct secret seed = {0};
		unsigned char pub[ED25519_PUB_LEN], back[ED25519_PUB_LEN];
		CLEAN(free_ptr) char *vkey = NULL;

		ed25519_generate(&seed, pub);
		vkey = evidence_vkey(pub);
		ok(evidence_vkey_parse(vkey, strlen(vkey), back, &err));
		ck_assert_mem_eq(pub, back, sizeof(pub));
		for (size_t i = 0; i < strlen(vkey); i++) {
			vkey[i] ^= 1;
			ck_assert_int_ne(evidence_vkey_parse(vkey, strlen(vkey), back, NULL), 0);
			vkey[i] ^= 1;
		}
		ck_assert_int_ne(evidence_vkey_parse(vkey, 20, back, NULL), 0);
	}
}
END_TEST

static void spill_in_root(const char *name, const void *p, size_t n)
{
	CLEAN(free_ptr) char *path = fs_join(root, name);

	spill(path, p, n);
}

static int shell(const char *script)
{
	struct proc_result r;
	int status;

	proc_result_init(&r, 4096);
	ok(proc_run((const char *const[]){"/bin/sh", "-c", script, NULL},
	        &(struct proc_opts){.stdin_fd = -1, .timeout_ms = 60000, .cwd = root}, &r, &err));
	status = r.status;
	proc_result_release(&r);
	return status;
}

/* The commands are those of docs/format/evidence.md. */
START_TEST(openssl_and_ssh_keygen_verify_what_a_site_holds)
{
	static const char script[] =
	        "set -e; head -3 CHECKPOINT > text; sed -n 5p CHECKPOINT | cut -d' ' -f3 | base64 -d | tail -c 64 > "
	        "sig;"
	        "openssl pkeyutl -verify -pubin -inkey log.pem -rawin -in text -sigfile sig;"
	        "ssh-keygen -Y verify -f allowed_signers -I LOG -n holdfast-checkpoint@v1 -s CHECKPOINT.sshsig < text";
	CLEAN(buf_release) struct buf note = BUF_INIT(EVIDENCE_NOTE_MAX), sig = BUF_INIT(EVIDENCE_NOTE_MAX);
	CLEAN(store_free_ptr) struct store *s = NULL;
	struct evidence_log *log = open_log();
	CLEAN(free_ptr) char *pem = ed25519_pem(evidence_log_public(log));
	CLEAN(free_ptr) char *line = ssh_public_line(evidence_log_public(log));
	struct evidence_site site = {0};
	char object[128], signers[512];

	ok(store_mem_open("tools", &s, &err));
	site = (struct evidence_site){.store = s};
	ok(evidence_checkpoint(log, &err));
	ok(evidence_publish(log, &site, 1, 0, &err));
	snprintf(object, sizeof(object), "l/%s/checkpoint/%020d", evidence_log_id(log), 1);
	ok(store_get(s, object, &note, &err));
	strcat(object, ".sshsig");
	ok(store_get(s, object, &sig, &err));
	snprintf(signers, sizeof(signers), "LOG namespaces=\"%s\" %s\n", EVIDENCE_NAMESPACE, line);
	spill_in_root("CHECKPOINT", note.p, note.len);
	spill_in_root("CHECKPOINT.sshsig", sig.p, sig.len);
	spill_in_root("log.pem", pem, strlen(pem));
	spill_in_root("allowed_signers", signers, strlen(signers));
	ck_assert_int_eq(shell(script), 0);
	sig.p[sig.len / 2] ^= 1;
	spill_in_root("CHECKPOINT.sshsig", sig.p, sig.len);
	ck_assert_int_ne(shell(script), 0);
	evidence_close(log);
}
END_TEST

/* --- The log --- */

START_TEST(log_goes_on_where_it_was_after_reopening)
{
	struct evidence_log *log = open_log();
	char id[EVIDENCE_ID_LEN + 1];
	uint64_t seq;

	memcpy(id, evidence_log_id(log), sizeof(id));
	ck_assert_uint_eq(evidence_log_size(log), 1);
	append(log, "backup", 1);
	ok(evidence_checkpoint(log, &err));
	append(log, "backup", 2);
	evidence_close(log);
	log = open_log();
	ck_assert_str_eq(evidence_log_id(log), id);
	ck_assert_uint_eq(evidence_log_size(log), 3);
	ck_assert_uint_eq(evidence_log_signed(log), 2);
	ok(evidence_append(log, &(struct evidence_event){.type = "verify"}, &seq, &err));
	ck_assert_uint_eq(seq, 3);
	evidence_close(log);
}
END_TEST

/* The checkpoint at a size is the same whether the tree was grown, resumed from state.json, or read again from the
 * records. */
START_TEST(losing_the_state_or_a_checkpoint_line_changes_nothing)
{
	CLEAN(buf_release) struct buf before = BUF_INIT(1 << 20), after = BUF_INIT(1 << 20);
	CLEAN(free_ptr) char *state = NULL, *cps = NULL;
	struct evidence_log *log = open_log();

	state = in_log(log, "state.json");
	cps = in_log(log, "checkpoints");
	for (int i = 0; i < 9; i++) {
		append(log, "backup", i);
		ok(evidence_checkpoint(log, &err));
	}
	evidence_close(log);
	slurp(cps, &before);
	for (size_t cut = 0; cut < 3; cut++) {
		if (cut < 2)
			ck_assert_int_eq(unlink(state), 0);
		else
			spill(state, "{\"v\":1}", 7);
		ck_assert_int_eq(truncate(cps, (off_t)(before.len - cut * 5)), 0);
		log = open_log();
		ck_assert_uint_eq(evidence_log_size(log), 10);
		ok(evidence_checkpoint(log, &err));
		evidence_close(log);
		slurp(cps, &after);
		ck_assert_uint_eq(after.len, before.len);
		ck_assert_mem_eq(after.p, before.p, before.len);
	}
}
END_TEST

START_TEST(state_that_cannot_be_written_stops_nothing)
{
	CLEAN(free_ptr) char *state = NULL;
	struct evidence_log *log = open_log();

	state = in_log(log, "state.json");
	ok(fs_mkdirs(state, 0700, &err));
	append(log, "backup", 1);
	ok(evidence_checkpoint(log, &err));
	evidence_close(log);
	log = open_log();
	ck_assert_uint_eq(evidence_log_signed(log), 2);
	evidence_close(log);
}
END_TEST

START_TEST(torn_tail_of_every_length_is_kept_aside_and_recorded)
{
	CLEAN(buf_release) struct buf good = BUF_INIT(1 << 20), torn = BUF_INIT(1 << 20), line = BUF_INIT(1 << 20);
	CLEAN(free_ptr) char *records = NULL, *aside = NULL, *state = NULL;
	struct evidence_log *log = open_log();

	records = in_log(log, "records");
	aside = in_log(log, "records.torn.1");
	state = in_log(log, "state.json");
	append(log, "backup", 1);
	ok(evidence_checkpoint(log, &err));
	evidence_close(log);
	slurp(records, &good);
	ok(evidence_record_make(&(struct evidence_event){.type = "backup"}, 2, &line, &err));
	for (size_t n = 1; n <= line.len; n += 13) {
		buf_clear(&torn);
		buf_add(&torn, good.p, good.len);
		buf_add(&torn, line.p, n);
		spill(records, torn.p, torn.len);
		unlink(aside);
		log = open_log();
		ck_assert_uint_eq(evidence_log_size(log), 3); /* log-torn */
		evidence_close(log);
		slurp(aside, &torn);
		ck_assert_uint_eq(torn.len, n);
		ck_assert_mem_eq(torn.p, line.p, n);
	}
	slurp(records, &torn);
	ck_assert_ptr_nonnull(strstr(buf_str(&torn), "\"type\":\"log-torn\""));
}
END_TEST

START_TEST(blocks_of_zeros_behind_a_lost_power_supply_are_a_torn_tail)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	CLEAN(free_ptr) char *records = NULL;
	struct evidence_log *log = open_log();

	records = in_log(log, "records");
	evidence_close(log);
	slurp(records, &b);
	ok(buf_fill(&b, 0, 4096, &err));
	spill(records, b.p, b.len);
	log = open_log();
	ck_assert_uint_eq(evidence_log_size(log), 2);
	evidence_close(log);
}
END_TEST

START_TEST(damage_before_the_tail_is_not_taken_for_a_torn_one)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	CLEAN(free_ptr) char *records = NULL, *state = NULL;
	struct evidence_config c = {.dir = dir, .key_path = key};
	struct evidence_log *log = open_log();

	records = in_log(log, "records");
	state = in_log(log, "state.json");
	append(log, "backup", 1);
	append(log, "backup", 2);
	evidence_close(log);
	slurp(records, &b);
	b.p[3] ^= 1;
	spill(records, b.p, b.len);
	fails(ERR_CORRUPT, evidence_open(&c, &log, &err));
	b.p[3] ^= 1;
	spill(records, b.p, b.len);
	log = open_log();
	ok(evidence_checkpoint(log, &err));
	evidence_close(log);
	char *number = strstr(buf_str(&b), "\"number\":1");
	ck_assert_ptr_nonnull(number);
	number[9] = '9';
	spill(records, b.p, b.len);
	ck_assert_int_eq(unlink(state), 0);
	fails(ERR_CORRUPT, evidence_open(&c, &log, &err));
}
END_TEST

START_TEST(log_shorter_than_what_it_signed_is_refused_as_rolled_back)
{
	CLEAN(buf_release) struct buf old = BUF_INIT(1 << 20);
	CLEAN(free_ptr) char *records = NULL;
	struct evidence_config c = {.dir = dir, .key_path = key};
	struct evidence_log *log = open_log();

	records = in_log(log, "records");
	append(log, "backup", 1);
	slurp(records, &old);
	append(log, "backup", 2);
	ok(evidence_checkpoint(log, &err));
	evidence_close(log);
	spill(records, old.p, old.len);
	fails(ERR_FORK, evidence_open(&c, &log, &err));
}
END_TEST

START_TEST(second_writer_is_busy_and_a_key_others_can_read_is_refused)
{
	struct evidence_config c = {.dir = dir, .key_path = key};
	struct evidence_log *log, *other;

	fails(ERR_MISSING, evidence_open(&c, &log, &err));
	log = open_log();
	fails(ERR_BUSY, evidence_open(&c, &other, &err));
	ck_assert_ptr_null(other);
	evidence_close(log);
	ck_assert_int_eq(chmod(key, 0640), 0);
	fails(ERR_DENIED, evidence_open(&c, &log, &err));
	ck_assert_int_eq(chmod(key, 0600), 0);
	spill(key, "short\n", 6);
	fails(ERR_FORMAT, evidence_open(&c, &log, &err));
}
END_TEST

START_TEST(failed_write_is_told_and_the_log_recovers_when_opened_again)
{
	struct rlimit was, now;
	CLEAN(free_ptr) char *records = NULL;
	struct evidence_log *log = open_log();
	struct stat st;

	append(log, "backup", 1);
	records = in_log(log, "records");
	ck_assert_int_eq(stat(records, &st), 0);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
	now = was;
	now.rlim_cur = (rlim_t)st.st_size + 100;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &now), 0);
	fails(ERR_EVIDENCE, evidence_append(log, &(struct evidence_event){.type = "backup"}, NULL, &err));
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
	fails(ERR_EVIDENCE, evidence_append(log, &(struct evidence_event){.type = "backup"}, NULL, &err));
	fails(ERR_EVIDENCE, evidence_checkpoint(log, &err));
	evidence_close(log);
	log = open_log();
	ck_assert_uint_eq(evidence_log_size(log), 3);
	evidence_close(log);
}
END_TEST

static int count_records(
        void *arg, const char *log_id, const struct evidence_record *r, const void *line, size_t n, struct err *e)
{
	(void)log_id;
	(void)line;
	(void)n;
	(void)e;
	ck_assert_uint_eq(r->seq, *(uint64_t *)arg);
	++*(uint64_t *)arg;
	return r->seq == 3 ? 77 : 0;
}

START_TEST(scan_gives_every_record_in_order_and_stops_when_told)
{
	struct evidence_log *log = open_log();
	uint64_t n = 0;

	append(log, "backup", 1);
	append(log, "backup", 2);
	ok(evidence_scan(dir, NULL, count_records, &n, &err));
	ck_assert_uint_eq(n, 3);
	append(log, "backup", 3);
	append(log, "backup", 4);
	n = 0;
	ck_assert_int_eq(evidence_scan(dir, evidence_log_id(log), count_records, &n, &err), 77);
	ck_assert_uint_eq(n, 4);
	evidence_close(log);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("evidence");
	TCase *t = tcase_create("log");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, merkle_roots_are_those_of_certificate_transparency);
	tcase_add_test(t, inclusion_proofs_hold_for_their_record_alone);
	tcase_add_test(t, consistency_proofs_hold_between_every_two_sizes);
	tcase_add_test(t, record_is_canonical_and_tells_its_clocks);
	tcase_add_test(t, record_with_any_member_missing_unknown_or_of_another_type_is_refused);
	tcase_add_test(t, record_over_the_ceiling_or_with_a_bad_type_or_outcome_is_refused_before_it_is_written);
	tcase_add_test(t, checkpoint_verifies_and_any_flipped_bit_breaks_it);
	tcase_add_test(t, checkpoint_with_a_cosignature_of_a_witness_still_verifies);
	tcase_add_test(t, checkpoint_text_is_read_strictly);
	tcase_add_test(t, verifier_key_round_trips_and_must_fit_its_name_and_hash);
	tcase_add_test(t, openssl_and_ssh_keygen_verify_what_a_site_holds);
	tcase_add_test(t, log_goes_on_where_it_was_after_reopening);
	tcase_add_test(t, losing_the_state_or_a_checkpoint_line_changes_nothing);
	tcase_add_test(t, state_that_cannot_be_written_stops_nothing);
	tcase_add_test(t, torn_tail_of_every_length_is_kept_aside_and_recorded);
	tcase_add_test(t, blocks_of_zeros_behind_a_lost_power_supply_are_a_torn_tail);
	tcase_add_test(t, damage_before_the_tail_is_not_taken_for_a_torn_one);
	tcase_add_test(t, log_shorter_than_what_it_signed_is_refused_as_rolled_back);
	tcase_add_test(t, second_writer_is_busy_and_a_key_others_can_read_is_refused);
	tcase_add_test(t, failed_write_is_told_and_the_log_recovers_when_opened_again);
	tcase_add_test(t, scan_gives_every_record_in_order_and_stops_when_told);
	return suite_main(s);
}
