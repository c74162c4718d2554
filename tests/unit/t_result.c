/* Results, result files and the Prometheus file. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "evidence/result.h"
#include "suite.h"

#define S 1000000000ll
#define WALL (1774951872 * S)
#define BOOT (5000 * S)
#define SCHEMA "docs/format/result.schema.json"

static char root[64], results[80], prom[96];
static struct err err;

static void setup(void)
{
	crypto_init();
	snprintf(root, sizeof(root), "/tmp/hf-result-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	snprintf(results, sizeof(results), "%s/results", root);
	snprintf(prom, sizeof(prom), "%s/metrics/holdfast.prom", root);
	clock_fake(WALL, BOOT);
}

static void teardown(void)
{
	clock_fake(-1, 0);
	ck_assert_int_eq(fs_remove_tree(root, NULL), 0);
}

#define ok(call)                                                                                                       \
	do {                                                                                                           \
		err = (struct err)ERR_INIT;                                                                            \
		int rc_ = (call);                                                                                      \
		ck_assert_msg(rc_ == 0, "%s: %d %s", #call, rc_, err.msg);                                             \
	} while (0)

static struct result *new_result(const char *plan, const char *kind)
{
	return result_new(
	        &(struct result_identity){.kind = kind, .plan = plan, .plan_version = -1, .self_attested = -1});
}

static const json_t *at(const struct result *r, const char *a, const char *b)
{
	const json_t *j = json_object_get(result_json(r), a);

	ck_assert_ptr_nonnull(j);
	return b ? json_object_get(j, b) : j;
}

static void write_result(struct result *r, const char *outcome, int status)
{
	struct result_file f;

	result_finish(r, outcome, status);
	ok(result_write(r, results, &f, &err));
	result_file_release(&f);
	result_free(r);
}

/* A drill with everything in it. */
static struct result *full_drill(void)
{
	static const char digest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	struct result *r = result_new(&(struct result_identity){.kind = "drill",
	        .plan = "ca",
	        .plan_digest = digest,
	        .plan_version = 7,
	        .slot_kind = "drill:full",
	        .slot_time_ns = WALL - 60 * S,
	        .scenario = "quarterly-full",
	        .performed_by = "ops@example.org",
	        .runbook = "7",
	        .host = "vault1",
	        .self_attested = 0});

	for (int p = 0; p < RESULT_POINTS; p++)
		result_point(r, (enum result_point)p, WALL + p * 10 * S, BOOT + p * 10 * S);
	result_rto_target(r, 3600000);
	result_rpo(r, 900000, 600000, 1200000);
	result_step(r, &(struct result_step){.id = "files",
	                       .kind = "restore",
	                       .start_wall_ns = WALL,
	                       .start_boot_ns = BOOT,
	                       .end_boot_ns = BOOT + 5 * S,
	                       .bytes = 1 << 20,
	                       .outcome = "passed"});
	result_step(r, &(struct result_step){.id = "db",
	                       .kind = "restore",
	                       .needs = (const char *const[]){"files", NULL},
	                       .start_wall_ns = WALL,
	                       .start_boot_ns = BOOT,
	                       .end_boot_ns = BOOT + 9 * S,
	                       .bytes = 5,
	                       .outcome = "passed",
	                       .detail = "caf\xe9"});
	result_check(r, &(struct result_check){.id = "manifest",
	                        .kind = "manifest",
	                        .step = "files",
	                        .start_wall_ns = WALL,
	                        .duration_ms = 17,
	                        .outcome = "passed",
	                        .checked = 5,
	                        .total = 9});
	result_check(r, &(struct result_check){.id = "answers",
	                        .kind = "http",
	                        .duration_ms = -1,
	                        .outcome = "skipped",
	                        .checked = -1,
	                        .total = -1});
	result_bytes(r, 1 << 20, -1);
	result_coverage(r, "files", 9, 9);
	result_add(r, RESULT_SOURCES, json_pack("{s:s, s:s, s:i}", "name", "ca-files", "outcome", "done", "files", 9));
	result_add(r, RESULT_SITES, json_pack("{s:s, s:i, s:[]}", "name", "north", "behind", 2, "bad"));
	result_add(r, RESULT_SKIPPED,
	        json_pack("{s:s, s:s, s:s}", "source", "ca-files", "path", "run/sock", "reason", "socket"));
	result_add(r, RESULT_FINDINGS, json_pack("{s:s}", "title", "slow"));
	result_add_str(r, RESULT_DEVIATIONS, "cable was re-plugged");
	result_add_str(r, RESULT_REQUIREMENTS, "REQ-7.11.2-04");
	result_add_str(r, RESULT_NOT_SHOWN, "that users could log in");
	result_add_str(r, RESULT_APPROVED_BY, "alice");
	result_add_str(r, RESULT_PROVEN_BY, "log");
	result_extra(r, "challenge", json_string("00ff"));
	return r;
}

/* 0: valid; else why not is in `why`. */
static char why[4096];
static int schema_status(const char *path)
{
	static const char script[] = "import json,sys,jsonschema\n"
	                             "jsonschema.Draft202012Validator(json.load(open(sys.argv[1]))).validate(json.load("
	                             "open(sys.argv[2])))\n";
	struct proc_result p;
	int status;

	proc_result_init(&p, 4096);
	ok(proc_run((const char *const[]){"/usr/bin/python3", "-W", "ignore", "-c", script, SCHEMA, path, NULL},
	        &(struct proc_opts){.stdin_fd = -1, .timeout_ms = 60000}, &p, &err));
	status = p.status;
	snprintf(why, sizeof(why), "%s", buf_str(&p.err));
	if (status && !strstr(buf_str(&p.err), "ValidationError"))
		ck_abort_msg("schema check did not run: %s", buf_str(&p.err));
	proc_result_release(&p);
	return status;
}

START_TEST(every_result_is_valid_by_the_published_schema)
{
	struct result *r[] = {full_drill(), new_result("ca", "backup"), new_result("ca", "verify")};
	static const char *const outcome[] = {"done", "missed", "failed"};

	for (size_t i = 0; i < ARRAY_LEN(r); i++) {
		struct result_file f;

		result_finish(r[i], outcome[i], (int)i);
		ok(result_write(r[i], results, &f, &err));
		ck_assert_msg(schema_status(f.path) == 0, "%s", why);
		result_file_release(&f);
		result_free(r[i]);
	}
}
END_TEST

START_TEST(schema_refuses_what_a_result_must_not_say)
{
	static const char *const members[] = {"rto", "freshness", "outcome", "plan", "v"};
	struct result *r = full_drill();

	result_finish(r, "done", 0);
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		CLEAN(json_release) json_t *j = json_deep_copy(result_json(r));
		CLEAN(free_ptr) char *text = NULL, *path = fs_join(root, "bad.json");

		json_object_set_new(j, members[i], json_integer(9));
		text = json_dumps(j, 0);
		ok(fs_replace(path, text, strlen(text), 0644, &err));
		ck_assert_int_ne(schema_status(path), 0);
	}
	result_free(r);
}
END_TEST

START_TEST(met_is_null_unless_measured_and_never_true_unless_done)
{
	struct result *r = new_result("ca", "drill");

	result_rto_target(r, 1000);
	result_finish(r, "done", 0);
	ck_assert(json_is_null(at(r, "rto", "measured_ms")));
	ck_assert(json_is_null(at(r, "rto", "met")));
	ck_assert(json_is_null(at(r, "rpo", "met")));
	ck_assert_int_eq(result_status(r), 0);
	result_point(r, RESULT_DECLARED, WALL, BOOT);
	result_point(r, RESULT_SERVICE_BACK, WALL + S, BOOT + S);
	result_finish(r, "done", 0);
	ck_assert(json_is_true(at(r, "rto", "met")));
	ck_assert_int_eq(json_integer_value(at(r, "rto", "measured_ms")), 1000);
	result_finish(r, "failed", 1);
	ck_assert(json_is_false(at(r, "rto", "met")));
	ck_assert_int_eq(result_status(r), 1);
	result_rto_target(r, -1);
	result_finish(r, "done", 0);
	ck_assert(json_is_null(at(r, "rto", "met")));
	result_free(r);
}
END_TEST

START_TEST(missed_target_alone_makes_exit_status_4)
{
	struct result *r = new_result("ca", "drill");

	result_rto_target(r, 999);
	result_point(r, RESULT_DECLARED, WALL, BOOT);
	result_point(r, RESULT_SERVICE_BACK, WALL + S, BOOT + S);
	result_finish(r, "done", 0);
	ck_assert(json_is_false(at(r, "rto", "met")));
	ck_assert_int_eq(result_status(r), 4);
	result_finish(r, "done", 3);
	ck_assert_int_eq(result_status(r), 3);
	result_rto_target(r, 1000);
	result_rpo(r, 10, 11, -1);
	result_finish(r, "done", 0);
	ck_assert_int_eq(result_status(r), 4);
	result_free(r);
}
END_TEST

START_TEST(recovery_time_is_taken_from_the_boot_clock_when_the_wall_steps)
{
	struct result *r = new_result("ca", "drill");

	result_compare(r, RESULT_APPROVED, RESULT_CHECKS_PASSED);
	result_point(r, RESULT_APPROVED, WALL, BOOT);
	result_point(r, RESULT_CHECKS_PASSED, WALL - 3600 * S, BOOT + 7 * S);
	result_finish(r, "done", 0);
	ck_assert_int_eq(json_integer_value(at(r, "rto", "measured_ms")), 7000);
	ck_assert_str_eq(json_string_value(at(r, "compared", "from")), "approved");
	result_point(r, RESULT_CHECKS_PASSED, WALL + 9 * S, 0); /* told by a person: wall time alone */
	result_finish(r, "done", 0);
	ck_assert_int_eq(json_integer_value(at(r, "rto", "measured_ms")), 9000);
	result_point(r, RESULT_CHECKS_PASSED, WALL - 9 * S, 0);
	result_finish(r, "done", 0);
	ck_assert(json_is_null(at(r, "rto", "measured_ms")));
	result_free(r);
}
END_TEST

START_TEST(critical_path_is_a_slow_step_rather_than_the_chain_that_ended_last)
{
	struct result *r = new_result("ca", "drill");
	const char *none[] = {NULL}, *needs[] = {"quick", NULL};
	CLEAN(free_ptr) char *text = NULL;

	result_step(r, &(struct result_step){.id = "slow", .kind = "run", .needs = none, .start_boot_ns = BOOT, .end_boot_ns = BOOT + 7 * S, .bytes = -1, .outcome = "passed"});
	result_step(r, &(struct result_step){.id = "quick", .kind = "run", .needs = none, .start_boot_ns = BOOT + 7 * S, .end_boot_ns = BOOT + 8 * S, .bytes = -1, .outcome = "passed"});
	result_step(r, &(struct result_step){.id = "last", .kind = "run", .needs = needs, .start_boot_ns = BOOT + 8 * S, .end_boot_ns = BOOT + 9 * S, .bytes = -1, .outcome = "passed"});
	result_finish(r, "done", 0);
	text = json_dumps(at(r, "critical_path", NULL), JSON_COMPACT);
	ck_assert_str_eq(text, "[\"slow\"]");
	result_free(r);
}
END_TEST

START_TEST(critical_path_is_the_longest_chain_of_needs)
{
	struct result *r = new_result("ca", "drill");
	static const struct {
		const char *id, *needs[3];
		int end;
	} steps[] = {{"a", {NULL}, 5}, {"b", {NULL}, 8}, {"c", {"a", "b"}, 10}, {"d", {"a"}, 9}, {"never", {"c"}, 0},
	        {"e", {"c", "d"}, 12}};
	CLEAN(free_ptr) char *text = NULL;

	for (size_t i = 0; i < ARRAY_LEN(steps); i++)
		result_step(r, &(struct result_step){.id = steps[i].id,
		                       .kind = "run",
		                       .needs = steps[i].needs,
		                       .start_boot_ns = BOOT,
		                       .end_boot_ns = steps[i].end ? BOOT + steps[i].end * S : 0,
		                       .bytes = -1,
		                       .outcome = steps[i].end ? "passed" : "skipped"});
	result_finish(r, "done", 0);
	text = json_dumps(at(r, "critical_path", NULL), JSON_COMPACT);
	ck_assert_str_eq(text, "[\"b\",\"c\",\"e\"]");
	ck_assert(json_is_true(json_object_get(json_array_get(at(r, "steps", NULL), 1), "critical")));
	ck_assert(json_is_false(json_object_get(json_array_get(at(r, "steps", NULL), 0), "critical")));
	ck_assert_int_eq(json_integer_value(at(r, "summary", "steps_passed")), 5);
	result_free(r);
}
END_TEST

START_TEST(result_file_is_written_once_and_latest_follows)
{
	CLEAN(free_ptr) char *latest = NULL;
	CLEAN(buf_release) struct buf a = BUF_INIT(1 << 20), b = BUF_INIT(1 << 20);
	CLEAN(json_release) json_t *j = NULL;
	struct result *r = new_result("ca", "backup");
	struct result_file f;
	unsigned char h[SHA256_LEN];

	result_finish(r, "done", 0);
	ok(result_write(r, results, &f, &err));
	ck_assert_ptr_nonnull(strstr(f.path, "/results/ca/20260331T101112Z-backup-"));
	ok(fs_read(f.path, &a, &err));
	sha256_of(a.p, a.len, h);
	ck_assert_mem_eq(h, f.sha256, sizeof(h));
	BUG_ON(asprintf(&latest, "%s/ca/latest.json", results) < 0);
	ok(fs_read(latest, &b, &err));
	ck_assert_uint_eq(a.len, b.len);
	ck_assert_mem_eq(a.p, b.p, a.len);
	ok(result_read(latest, &j, &err));
	ck_assert_str_eq(json_string_value(json_object_get(j, "id")), result_id(r));
	result_file_release(&f);
	ck_assert_int_eq(result_write(r, results, &f, &err), -ERR_EXISTS);
	result_free(r);
}
END_TEST

START_TEST(reader_refuses_a_higher_version_and_no_object)
{
	CLEAN(free_ptr) char *path = fs_join(root, "r.json");
	json_t *j;

	ok(fs_replace(path, "{\"v\":2}", 7, 0644, &err));
	ck_assert_int_eq(result_read(path, &j, &err), -ERR_UNSUPPORTED);
	ok(fs_replace(path, "[1]", 3, 0644, &err));
	ck_assert_int_eq(result_read(path, &j, &err), -ERR_FORMAT);
}
END_TEST

/* --- Prometheus --- */

/* The value of a sample as text; "" when the file has none of that name and labels. */
static const char *metric(const char *series)
{
	static char line[512];
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	const char *at_;

	ok(fs_read(prom, &b, &err));
	at_ = strstr(buf_str(&b), series);
	while (at_ && (at_[-1] != '\n' || at_[strlen(series)] != ' ')) /* the file begins with a comment */
		at_ = strstr(at_ + 1, series);
	if (!at_)
		return "";
	snprintf(line, sizeof(line), "%s", at_ + strlen(series) + 1);
	*strchr(line, '\n') = 0;
	return line;
}

START_TEST(metrics_tell_the_newest_run_and_the_last_success)
{
	write_result(full_drill(), "done", 0);
	clock_fake(WALL + 100 * S, BOOT + 100 * S);
	struct result *r = new_result("ca", "backup");
	result_add(r, RESULT_SOURCES, json_pack("{s:s, s:s}", "name", "docs", "outcome", "done"));
	result_add(r, RESULT_SOURCES, json_pack("{s:s, s:s}", "name", "db", "outcome", "done"));
	write_result(r, "done", 0);
	clock_fake(WALL + 200 * S + 500000000, BOOT + 200 * S);
	r = new_result("ca", "backup");
	result_add(r, RESULT_SOURCES, json_pack("{s:s, s:s}", "name", "docs", "outcome", "done"));
	result_add(r, RESULT_SOURCES, json_pack("{s:s, s:s}", "name", "db", "outcome", "failed"));
	result_add(r, RESULT_SITES, json_pack("{s:s, s:i}", "name", "north", "behind", 0));
	write_result(r, "failed", 1);
	clock_fake(WALL + 400 * S, BOOT + 400 * S);
	ok(metrics_write(results, prom, &err));
	ck_assert_str_eq(metric("holdfast_last_run_timestamp_seconds{plan=\"ca\",kind=\"backup\"}"), "1774952072.500");
	ck_assert_str_eq(metric("holdfast_last_success_timestamp_seconds{plan=\"ca\",kind=\"backup\"}"), "1774951972");
	ck_assert_str_eq(
	        metric("holdfast_source_last_success_timestamp_seconds{plan=\"ca\",kind=\"backup\",source=\"docs\"}"),
	        "1774952072.500");
	ck_assert_str_eq(
	        metric("holdfast_source_last_success_timestamp_seconds{plan=\"ca\",kind=\"backup\",source=\"db\"}"),
	        "1774951972");
	ck_assert_str_eq(metric("holdfast_backup_age_seconds{plan=\"ca\"}"), "300");
	ck_assert_str_eq(metric("holdfast_exit_status{plan=\"ca\",kind=\"backup\"}"), "1");
	ck_assert_str_eq(metric("holdfast_exit_status{plan=\"ca\",kind=\"drill\"}"), "0");
	ck_assert_str_eq(metric("holdfast_drill_verified{plan=\"ca\",scenario=\"quarterly-full\"}"), "1");
	ck_assert_str_eq(metric("holdfast_rto_target_seconds{plan=\"ca\",kind=\"drill\"}"), "3600");
	ck_assert_str_eq(metric("holdfast_restore_duration_seconds{plan=\"ca\",kind=\"drill\"}"), "70");
	ck_assert_str_eq(metric("holdfast_rto_met{plan=\"ca\",kind=\"drill\"}"), "1");
	ck_assert_str_eq(metric("holdfast_rto_met{plan=\"ca\",kind=\"backup\"}"), "");
	ck_assert_str_eq(metric("holdfast_rpo_seconds{plan=\"ca\",kind=\"drill\"}"), "600");
	ck_assert_str_eq(metric("holdfast_check_passed{plan=\"ca\",kind=\"drill\",check=\"manifest\"}"), "1");
	ck_assert_str_eq(metric("holdfast_check_passed{plan=\"ca\",kind=\"drill\",check=\"answers\"}"), "");
	ck_assert_str_eq(metric("holdfast_site_behind{plan=\"ca\",site=\"north\"}"), "0"); /* the newest that looked */
	ck_assert_str_eq(metric("holdfast_processed_bytes{plan=\"ca\",kind=\"drill\"}"), "1048576");
	ck_assert_str_eq(metric("holdfast_skipped_items{plan=\"ca\",kind=\"drill\"}"), "1");
}
END_TEST

START_TEST(metrics_escape_labels_and_keep_series_apart)
{
	struct result *r = new_result("ca", "drill");
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);

	for (int i = 0; i < 2; i++)
		result_check(r, &(struct result_check){.id = "a\"b\\c\nd",
		                        .kind = "command",
		                        .duration_ms = 1,
		                        .outcome = i ? "failed" : "passed",
		                        .checked = -1,
		                        .total = -1});
	write_result(r, "failed", 1);
	ok(metrics_write(results, prom, &err));
	ck_assert_str_eq(metric("holdfast_check_passed{plan=\"ca\",kind=\"drill\",check=\"a\\\"b\\\\c\\nd\"}"), "1");
	ok(fs_read(prom, &b, &err));
	ck_assert_ptr_null(strstr(strstr(buf_str(&b), "holdfast_check_passed{") + 1, "holdfast_check_passed{"));
	ck_assert_str_eq(metric("holdfast_drill_verified{plan=\"ca\"}"), "0");
}
END_TEST

/* What the text format and the lint of its readers ask: HELP and TYPE before the samples, each family once, legal
 * names. */
START_TEST(metrics_file_is_well_formed)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	CLEAN(json_release) json_t *families = json_object();
	char *save = NULL, family[128] = "";

	write_result(full_drill(), "done", 0);
	write_result(new_result("ocsp", "backup"), "done", 0);
	ok(metrics_write(results, prom, &err));
	ok(fs_read(prom, &b, &err));
	ck_assert_int_eq(buf_str(&b)[b.len - 1], '\n');
	for (char *line = strtok_r((char *)b.p, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char name[128], rest[256];

		if (sscanf(line, "# HELP %127s %255[^\n]", name, rest) == 2) {
			ck_assert_msg(!json_object_get(families, name), "%s twice", name);
			json_object_set_new(families, name, json_true());
			snprintf(family, sizeof(family), "%s", name);
			ck_assert_ptr_null(strstr(name, "_total"));
			ck_assert_uint_eq(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
		} else if (sscanf(line, "# TYPE %127s %255s", name, rest) == 2) {
			ck_assert_str_eq(name, family);
			ck_assert_str_eq(rest, "gauge");
		} else {
			size_t n = strcspn(line, "{ ");

			ck_assert_msg(
			        n == strlen(family) && strncmp(line, family, n) == 0, "%s under %s", line, family);
		}
	}
	ck_assert_uint_ge(json_object_size(families), 18);
}
END_TEST

START_TEST(metrics_of_nothing_and_beside_foreign_files_are_written_all_the_same)
{
	CLEAN(free_ptr) char *dir = NULL, *junk = NULL, *bad = NULL;

	ok(metrics_write(results, prom, &err));
	ck_assert_str_eq(metric("holdfast_metrics_timestamp_seconds"), "1774951872");
	BUG_ON(asprintf(&dir, "%s/ca", results) < 0);
	BUG_ON(asprintf(&junk, "%s/notes.txt", dir) < 0);
	BUG_ON(asprintf(&bad, "%s/20270331T101112Z-backup-0123456789abcdef.json", dir) < 0);
	ok(fs_mkdirs(dir, 0755, &err));
	ok(fs_replace(junk, "x", 1, 0644, &err));
	ok(fs_replace(bad, "x", 1, 0644, &err));
	write_result(new_result("ca", "backup"), "done", 0);
	ok(metrics_write(results, prom, &err));
	ck_assert_str_eq(metric("holdfast_exit_status{plan=\"ca\",kind=\"backup\"}"), "0");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("result");
	TCase *t = tcase_create("result");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, every_result_is_valid_by_the_published_schema);
	tcase_add_test(t, schema_refuses_what_a_result_must_not_say);
	tcase_add_test(t, met_is_null_unless_measured_and_never_true_unless_done);
	tcase_add_test(t, missed_target_alone_makes_exit_status_4);
	tcase_add_test(t, recovery_time_is_taken_from_the_boot_clock_when_the_wall_steps);
	tcase_add_test(t, critical_path_is_the_longest_chain_of_needs);
	tcase_add_test(t, critical_path_is_a_slow_step_rather_than_the_chain_that_ended_last);
	tcase_add_test(t, result_file_is_written_once_and_latest_follows);
	tcase_add_test(t, reader_refuses_a_higher_version_and_no_object);
	tcase_add_test(t, metrics_tell_the_newest_run_and_the_last_success);
	tcase_add_test(t, metrics_escape_labels_and_keep_series_apart);
	tcase_add_test(t, metrics_file_is_well_formed);
	tcase_add_test(t, metrics_of_nothing_and_beside_foreign_files_are_written_all_the_same);
	return suite_main(s);
}
