/* Verification of the evidence log: what each kind of tampering with each record or object is found as. */
#include "evidence_fixture.h"
#include "suite.h"

enum { RECORDS = 12 };

static struct store *north, *south;
static struct store *both[2];
static char id[EVIDENCE_ID_LEN + 1];
static char *records_path, *cps_path;
static struct evidence_report report;

/* Twelve records, a checkpoint behind each third, copies at two sites. */
static void make_log(void)
{
	struct evidence_log *log = open_log();
	struct evidence_site sites[2] = {0};

	ok(store_mem_open("north", &north, &err));
	ok(store_mem_open("south", &south, &err));
	sites[0].store = both[0] = north;
	sites[1].store = both[1] = south;
	for (int i = 1; i < RECORDS; i++) {
		append(log, "backup", i);
		if (i % 3 == 2) {
			ok(evidence_checkpoint(log, &err));
			ok(evidence_publish(log, sites, 2, 0, &err));
		}
	}
	memcpy(id, evidence_log_id(log), sizeof(id));
	records_path = in_log(log, "records");
	cps_path = in_log(log, "checkpoints");
	evidence_close(log);
}

static void setup_log(void)
{
	setup();
	make_log();
}

static void teardown_log(void)
{
	store_free(north);
	store_free(south);
	free(records_path);
	free(cps_path);
	evidence_report_release(&report);
	teardown();
}

static int verify_places(const char *where, struct store *const *sites, size_t n)
{
	struct evidence_verify v = {.dir = where, .sites = sites, .n_sites = n};

	evidence_report_release(&report);
	err = (struct err)ERR_INIT;
	return evidence_verify(&v, &report, &err);
}

static int verify_all(void)
{
	return verify_places(dir, both, 2);
}

/* A finding of a code; its place and position where asked. */
static bool found(const char *code, const char *place, int64_t at)
{
	const json_t *f;
	size_t i;

	json_array_foreach (json_object_get(report.json, "findings"), i, f) {
		if (str_eq(json_string_value(json_object_get(f, "code")), code) &&
		        (!place || str_eq(json_string_value(json_object_get(f, "place")), place)) &&
		        (at < 0 || json_integer_value(json_object_get(f, "at")) == at))
			return true;
	}
	return false;
}

#define expect(want, call)                                                                                             \
	do {                                                                                                           \
		int got_ = (call);                                                                                     \
		CLEAN(free_ptr) char *text_ = json_dumps(json_object_get(report.json, "findings"), JSON_INDENT(1));    \
		ck_assert_msg(got_ == -(want), "line %d: got %d (%s), findings %s", __LINE__, got_, err.msg, text_);   \
	} while (0)
#define expect_found(code, place, at)                                                                                  \
	do {                                                                                                           \
		CLEAN(free_ptr) char *text_ = json_dumps(json_object_get(report.json, "findings"), JSON_INDENT(1));    \
		ck_assert_msg(found(code, place, at), "line %d: findings %s", __LINE__, text_);                        \
	} while (0)

static const char *state_of(const char *place)
{
	const json_t *c, *log = json_array_get(json_object_get(report.json, "logs"), 0);
	size_t i;

	json_array_foreach (json_object_get(log, "copies"), i, c) {
		if (str_eq(json_string_value(json_object_get(c, "place")), place))
			return json_string_value(json_object_get(c, "state"));
	}
	return NULL;
}

/* Replace an object at a site: what a hostile site can always do. */
static void replace_object(struct store *s, const char *object, const void *p, size_t n)
{
	ok(store_remove(s, object, &err));
	ok(store_put_bytes(s, object, p, n, &err));
}

static void line_bounds(struct buf *b, int number, size_t *from, size_t *to)
{
	const char *p = buf_str(b), *at = p;

	while (number--)
		at = strchr(at, '\n') + 1;
	*from = (size_t)(at - p);
	*to = (size_t)(strchr(at, '\n') + 1 - p);
}

START_TEST(whole_log_verifies_everywhere)
{
	expect(0, verify_all());
	ck_assert_uint_eq(report.records, RECORDS);
	ck_assert_uint_eq(report.logs, 1);
	ck_assert_uint_eq(report.checkpoints, 3 * 4);
	ck_assert_str_eq(state_of("local"), "complete");
	ck_assert_str_eq(state_of("north"), "complete");
	ck_assert(json_is_true(json_object_get(report.json, "ok")));
	expect(0, verify_places(dir, NULL, 0));
	expect(0, verify_places(NULL, both + 1, 1));
}
END_TEST

/* What a record becomes: edited in its value, broken, dropped, doubled, swapped with the next. */
enum change { EDIT, BREAK, DROP, DOUBLE, SWAP, CHANGES };

static bool tampered(struct buf *b, int number, int of, enum change change, struct buf *out)
{
	size_t from, to, from2, to2;

	buf_clear(out);
	line_bounds(b, number, &from, &to);
	if (change == SWAP) {
		if (number + 1 >= of)
			return false;
		line_bounds(b, number + 1, &from2, &to2);
		buf_add(out, b->p, from);
		buf_add(out, b->p + from2, to2 - from2);
		buf_add(out, b->p + from, to - from);
		buf_add(out, b->p + to2, b->len - to2);
		return true;
	}
	buf_add(out, b->p, from);
	if (change != DROP)
		buf_add(out, b->p + from, to - from);
	if (change == DOUBLE)
		buf_add(out, b->p + from, to - from);
	if (change == EDIT) { /* still a record of its form: the boot time's last digit */
		char *digit = strstr(strstr(buf_str(out) + from, "\"boot_us\":"), ",") - 1;

		*digit = *digit == '1' ? '2' : '1';
	}
	if (change == BREAK)
		out->p[from + 1] ^= 1;
	buf_add(out, b->p + to, b->len - to);
	return true;
}

START_TEST(each_record_changed_here_is_found_in_its_place)
{
	CLEAN(buf_release) struct buf good = BUF_INIT(1 << 20), bad = BUF_INIT(1 << 20);

	slurp(records_path, &good);
	for (int i = 0; i < RECORDS; i++) {
		for (enum change c = 0; c < CHANGES; c++) {
			if (!tampered(&good, i, RECORDS, c, &bad))
				continue;
			spill(records_path, bad.p, bad.len);
			/* A log cut at its end is a rollback; doubling its last record only adds an unsigned one out of
			 * sequence. */
			expect(c == DROP && i == RECORDS - 1 ? ERR_FORK : ERR_CORRUPT, verify_all());
			if (c == EDIT)
				expect_found("record-differs", "local", i);
			if (c == BREAK)
				expect_found("record-damaged", "local", i);
			if (c == SWAP)
				expect_found("sequence", "local", i);
			ck_assert_str_ne(state_of("local"), "complete");
			ck_assert_str_eq(state_of("north"), "complete");
			/* Without any other copy the signatures still tell. */
			ck_assert_int_ne(verify_places(dir, NULL, 0), 0);
		}
	}
	spill(records_path, good.p, good.len);
	expect(0, verify_all());
}
END_TEST

START_TEST(each_record_changed_at_a_site_is_found_in_its_place)
{
	CLEAN(buf_release) struct buf good = BUF_INIT(1 << 20), bad = BUF_INIT(1 << 20);
	char object[128];

	for (int i = 0; i < RECORDS; i++) {
		int first = i / 3 * 3;

		snprintf(object, sizeof(object), "l/%s/records/%020d-%020d", id, first, first + 2);
		buf_clear(&good);
		ok(store_get(north, object, &good, &err));
		for (enum change c = 0; c < CHANGES; c++) {
			if (!tampered(&good, i - first, 3, c, &bad))
				continue;
			replace_object(north, object, bad.p, bad.len);
			expect(ERR_CORRUPT, verify_all());
			if (c == EDIT)
				expect_found("record-differs", "north", i);
			if (c == BREAK)
				expect_found("record-damaged", "north", i);
			if (c == DROP || c == DOUBLE)
				expect_found("batch-damaged", "north", -1);
			ck_assert_str_eq(state_of("north"), "damaged");
			ck_assert_str_eq(state_of("local"), "complete");
			ck_assert_int_ne(verify_places(NULL, both, 1), 0);
		}
		replace_object(north, object, good.p, good.len);
	}
	expect(0, verify_all());
}
END_TEST

START_TEST(each_bit_of_each_object_at_a_site_matters)
{
	struct store_keys keys;

	ok(store_list_all(north, "l/", &keys, &err));
	for (size_t k = 0; k < keys.n; k++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);

		ok(store_get(north, keys.key[k], &b, &err));
		for (size_t i = k % 5; i < b.len; i += 29) { /* a sample: the units below have every bit */
			b.p[i] ^= 1;
			replace_object(north, keys.key[k], b.p, b.len);
			ck_assert_msg(verify_places(NULL, both, 1) != 0, "%s byte %zu", keys.key[k], i);
			b.p[i] ^= 1;
		}
		replace_object(north, keys.key[k], b.p, b.len);
	}
	store_keys_release(&keys);
	expect(0, verify_all());
}
END_TEST

START_TEST(each_missing_object_of_a_site_is_found)
{
	struct store_keys keys;

	ok(store_list_all(north, "l/", &keys, &err));
	for (size_t k = 0; k < keys.n; k++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
		int rc;

		ok(store_get(north, keys.key[k], &b, &err));
		ok(store_remove(north, keys.key[k], &err));
		rc = verify_all();
		/* The newest note alone is what a site that lags lacks; an older one is not needed once a newer one is
		 * there. */
		if (strstr(keys.key[k], "/checkpoint/") && !strstr(keys.key[k], ".sshsig"))
			ck_assert_int_eq(rc, 0);
		else
			ck_assert_msg(rc == -ERR_MISSING || rc == -ERR_CORRUPT, "%s: %d", keys.key[k], rc);
		ok(store_put_bytes(north, keys.key[k], b.p, b.len, &err));
	}
	store_keys_release(&keys);
	expect(0, verify_all());
}
END_TEST

START_TEST(log_cut_short_with_its_checkpoints_is_a_rollback_while_a_site_knows_more)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	size_t from, to;

	slurp(records_path, &b);
	for (int keep = 1; keep < RECORDS; keep++) {
		line_bounds(&b, keep, &from, &to);
		spill(records_path, b.p, from);
		expect(ERR_FORK, verify_all());
		expect_found("rollback", "local", keep);
	}
	slurp(cps_path, &b);
	line_bounds(&b, 1, &from, &to);
	spill(cps_path, b.p, from);
	expect(ERR_FORK, verify_all());
	ck_assert_ptr_nonnull(strstr(err.msg, id));
}
END_TEST

START_TEST(stale_checkpoints_here_are_a_rollback_and_at_a_site_a_lag)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	char object[128];
	size_t from, to;

	snprintf(object, sizeof(object), "l/%s/checkpoint/%020d", id, RECORDS);
	ok(store_remove(north, object, &err));
	expect(0, verify_all());
	ck_assert_str_eq(state_of("north"), "behind");
	ck_assert_uint_eq(report.behind, 1);
	slurp(cps_path, &b);
	line_bounds(&b, 2, &from, &to);
	spill(cps_path, b.p, from);
	expect(ERR_FORK, verify_all());
	expect_found("stale-checkpoint", "local", 6);
}
END_TEST

/* Another log under the same key, parting at each size from 1 on, published to the other site. */
START_TEST(fork_at_each_size_is_found_and_named)
{
	for (int part = 1; part < RECORDS; part++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
		CLEAN(store_free_ptr) struct store *s = NULL;
		char name[32], other_dir[128], other_records[192];
		struct evidence_config c = {.dir = other_dir, .key_path = key};
		struct evidence_log *log;
		size_t from, to;

		snprintf(name, sizeof(name), "fork%d", part);
		snprintf(other_dir, sizeof(other_dir), "%s/%s", root, name);
		snprintf(other_records, sizeof(other_records), "%s/%s", other_dir, id);
		ok(fs_mkdirs(other_records, 0700, &err));
		strcat(other_records, "/records");
		slurp(records_path, &b);
		line_bounds(&b, part, &from, &to);
		spill(other_records, b.p, from);
		ok(evidence_open(&c, &log, &err));
		for (int i = part; i < 8 || i == part; i++)
			append(log, "other", i);
		ok(evidence_checkpoint(log, &err));
		ok(store_mem_open(name, &s, &err));
		ok(evidence_publish(log, &(struct evidence_site){.store = s}, 1, 0, &err));
		evidence_close(log);
		expect(ERR_FORK, verify_places(dir, (struct store *const[]){north, s}, 2));
		expect_found("fork", name, -1);
		ck_assert_str_eq(state_of(name), "forked");
		ck_assert_ptr_nonnull(strstr(err.msg, id));
	}
}
END_TEST

START_TEST(checkpoint_kept_by_an_auditor_shows_a_log_rewritten_everywhere)
{
	CLEAN(buf_release) struct buf note = BUF_INIT(EVIDENCE_NOTE_MAX), b = BUF_INIT(1 << 20);
	struct evidence_verify v = {.dir = dir};
	struct evidence_config c = {.dir = dir, .key_path = key};
	CLEAN(free_ptr) char *sub = fs_join(dir, id), *state = fs_join(sub, "state.json");
	struct evidence_log *log;
	char object[128];
	size_t from, to;

	snprintf(object, sizeof(object), "l/%s/checkpoint/%020d", id, RECORDS);
	ok(store_get(north, object, &note, &err));
	v.notes = (const char *const[]){buf_str(&note)};
	v.n_notes = 1;
	evidence_report_release(&report);
	expect(0, evidence_verify(&v, &report, &err));
	slurp(records_path, &b);
	line_bounds(&b, 5, &from, &to);
	spill(records_path, b.p, from);
	ck_assert_int_eq(unlink(cps_path), 0);
	ck_assert_int_eq(unlink(state), 0);
	ok(evidence_open(&c, &log, &err));
	ok(evidence_checkpoint(log, &err));
	evidence_report_release(&report);
	expect(ERR_FORK, evidence_verify(&v, &report, &err)); /* shorter */
	for (int i = 5; i < RECORDS + 3; i++)
		append(log, "other", i);
	ok(evidence_checkpoint(log, &err));
	evidence_close(log);
	evidence_report_release(&report);
	expect(ERR_FORK, evidence_verify(&v, &report, &err)); /* longer, and another tree */
	expect_found("fork", "note", RECORDS);
}
END_TEST

START_TEST(slot_is_covered_by_a_signed_record_with_an_outcome_alone)
{
	const int64_t hour = 3600000000000, at = 1774951200000000000;
	struct evidence_slot slots[] = {{"ca", "backup", at}, {"ca", "backup", at + hour}, {"ca", "drill", at},
	        {"ocsp", "backup", at}, {"ca", "verify", at}};
	struct evidence_verify v = {.dir = dir, .slots = slots, .n_slots = ARRAY_LEN(slots)};
	struct evidence_log *log = open_log();

	ok(evidence_append(
	        log, &(struct evidence_event){.type = "backup", .slot = &slots[0], .outcome = "done"}, NULL, &err));
	ok(evidence_append(
	        log, &(struct evidence_event){.type = "missed", .slot = &slots[1], .outcome = "missed"}, NULL, &err));
	ok(evidence_append(log, &(struct evidence_event){.type = "drill-start", .slot = &slots[2]}, NULL, &err));
	ok(evidence_checkpoint(log, &err));
	ok(evidence_append(
	        log, &(struct evidence_event){.type = "verify", .slot = &slots[4], .outcome = "done"}, NULL, &err));
	evidence_close(log);
	evidence_report_release(&report);
	expect(ERR_EVIDENCE, evidence_verify(&v, &report, &err));
	ck_assert_uint_eq(report.uncovered, 3);
	expect_found("slot-uncovered", NULL, 2);
	expect_found("slot-uncovered", NULL, 3);
	expect_found("slot-uncovered", NULL, 4); /* not yet signed */
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(report.json, "slots"), "covered")), 2);
	expect_found("unsigned-tail", "local", RECORDS + 3);
}
END_TEST

START_TEST(log_of_a_key_that_is_not_pinned_covers_nothing_and_a_pinned_one_must_be_there)
{
	CLEAN(secret_release) struct secret seed = {0};
	unsigned char pub[ED25519_PUB_LEN];
	CLEAN(free_ptr) char *pin = NULL;
	struct evidence_slot slot = {"ca", "backup", 1774951200000000000};
	struct evidence_log *log = open_log();
	struct evidence_verify v = {.dir = dir, .slots = &slot, .n_slots = 1};

	ok(evidence_append(
	        log, &(struct evidence_event){.type = "backup", .slot = &slot, .outcome = "done"}, NULL, &err));
	ok(evidence_checkpoint(log, &err));
	pin = evidence_vkey(evidence_log_public(log));
	evidence_close(log);
	v.pins = (const char *const[]){pin};
	v.n_pins = 1;
	evidence_report_release(&report);
	expect(0, evidence_verify(&v, &report, &err));
	free(pin);
	ed25519_generate(&seed, pub);
	pin = evidence_vkey(pub);
	v.pins = (const char *const[]){pin};
	evidence_report_release(&report);
	expect(ERR_MISSING, evidence_verify(&v, &report, &err));
	ck_assert_uint_eq(report.uncovered, 1);
	expect_found("unknown-key", NULL, -1);
	expect_found("log-missing", NULL, -1);
}
END_TEST

START_TEST(log_that_a_later_log_names_must_be_there_and_as_long)
{
	struct evidence_config c = {.dir = dir, .key_path = key, .create = true};
	CLEAN(free_ptr) char *old = fs_join(dir, id);
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	struct evidence_log *log;
	size_t from, to;

	ck_assert_int_eq(unlink(key), 0);
	ok(evidence_open(&c, &log, &err));
	evidence_close(log);
	expect(0, verify_places(dir, NULL, 0));
	ck_assert_uint_eq(report.logs, 2);
	slurp(records_path, &b);
	line_bounds(&b, 9, &from, &to);
	spill(records_path, b.p, from);
	slurp(cps_path, &b);
	line_bounds(&b, 3, &from, &to);
	spill(cps_path, b.p, from);
	expect(ERR_FORK, verify_places(dir, NULL, 0));
	ok(fs_remove_tree(old, &err));
	expect(ERR_MISSING, verify_places(dir, NULL, 0));
	expect_found("log-missing", NULL, RECORDS);
}
END_TEST

START_TEST(site_that_cannot_be_read_is_told_apart_from_damage)
{
	static const char *const rules[] = {"list l/ fail UNREACHABLE", NULL};
	CLEAN(store_free_ptr) struct store *away = NULL;
	struct store *below;

	ok(store_mem_open("away", &below, &err));
	ok(store_fault_new(below, rules, &away, &err));
	expect(ERR_UNREACHABLE, verify_places(dir, (struct store *const[]){away, north}, 2));
	ck_assert_uint_eq(report.damage, 0);
	ck_assert_str_eq(state_of("local"), "complete");
}
END_TEST

START_TEST(clock_that_steps_back_is_noted_and_proves_nothing)
{
	struct evidence_log *log;

	clock_fake(1774951872345000000 - 1000000000, 5000000000);
	log = open_log();
	append(log, "backup", 99);
	ok(evidence_checkpoint(log, &err));
	evidence_close(log);
	expect(0, verify_places(dir, NULL, 0));
	expect_found("wall-clock-step", "local", RECORDS);
}
END_TEST

START_TEST(nothing_to_verify_is_not_success)
{
	char empty[128];

	snprintf(empty, sizeof(empty), "%s/none", root);
	expect(ERR_MISSING, verify_places(empty, NULL, 0));
	expect_found("no-log", NULL, -1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("evidence-verify");
	TCase *t = tcase_create("verify");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup_log, teardown_log);
	tcase_add_test(t, whole_log_verifies_everywhere);
	tcase_add_test(t, each_record_changed_here_is_found_in_its_place);
	tcase_add_test(t, each_record_changed_at_a_site_is_found_in_its_place);
	tcase_add_test(t, each_bit_of_each_object_at_a_site_matters);
	tcase_add_test(t, each_missing_object_of_a_site_is_found);
	tcase_add_test(t, log_cut_short_with_its_checkpoints_is_a_rollback_while_a_site_knows_more);
	tcase_add_test(t, stale_checkpoints_here_are_a_rollback_and_at_a_site_a_lag);
	tcase_add_test(t, fork_at_each_size_is_found_and_named);
	tcase_add_test(t, checkpoint_kept_by_an_auditor_shows_a_log_rewritten_everywhere);
	tcase_add_test(t, slot_is_covered_by_a_signed_record_with_an_outcome_alone);
	tcase_add_test(t, log_of_a_key_that_is_not_pinned_covers_nothing_and_a_pinned_one_must_be_there);
	tcase_add_test(t, log_that_a_later_log_names_must_be_there_and_as_long);
	tcase_add_test(t, site_that_cannot_be_read_is_told_apart_from_damage);
	tcase_add_test(t, clock_that_steps_back_is_noted_and_proves_nothing);
	tcase_add_test(t, nothing_to_verify_is_not_success);
	return suite_main(s);
}
