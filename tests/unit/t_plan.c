#include "plan/plan.h"

#include <check.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "suite.h"

#define SMALL                                                                                                          \
	"plan: demo\ntargets: {rto: 4h, rpo: 1h}\nsources:\n  - {name: docs, paths: [/srv/docs]}\n"                    \
	"sites:\n  - {name: north, url: \"file:///mnt/north\"}\n"

static struct err err;
static struct plan_diags diags = PLAN_DIAGS_INIT;

static struct plan *load(const char *text)
{
	struct plan *p = NULL;
	ck_assert_msg(plan_load_bytes("t.yaml", text, strlen(text), &p, &diags, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(diags.n_errors, 0);
	return p;
}

static struct plan *load_file(const char *path)
{
	struct plan *p = NULL;
	ck_assert_msg(plan_load_file(path, &p, &diags, &err) == 0, "%s", err.msg);
	return p;
}

static void refuse(const char *text, size_t n)
{
	struct plan *p = NULL;
	ck_assert_int_eq(plan_load_bytes("t.yaml", text, n, &p, &diags, &err), -ERR_USAGE);
	ck_assert_ptr_null(p);
	ck_assert_uint_ge(diags.n_errors, 1);
}

static void refuse_at(const char *text, size_t n, int line, int col, const char *message)
{
	refuse(text, n);
	ck_assert_msg(strstr(diags.v[0].message, message) != NULL, "'%s' is not in '%s'", message, diags.v[0].message);
	ck_assert_int_eq(diags.v[0].at.line, line);
	ck_assert_int_eq(diags.v[0].at.col, col);
}

/* Whether a diagnostic stands at a place and holds a text, with its hint in parentheses. */
static bool has_diag(int line, int col, const char *text)
{
	for (size_t i = 0; i < diags.n; i++) {
		char whole[2048];
		const struct plan_diag *d = &diags.v[i];
		snprintf(whole, sizeof(whole), "%s (%s)", d->message, d->hint ? d->hint : "");
		if (d->at.line == line && d->at.col == col && strstr(whole, text))
			return true;
	}
	return false;
}

static void check_bad_file(const char *path)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	struct plan *p = NULL;
	ck_assert_int_eq(fs_read(path, &b, &err), 0);
	ck_assert_msg(plan_load_file(path, &p, &diags, &err) == -ERR_USAGE, "%s loads", path);
	size_t expected = 0;
	for (const char *s = buf_str(&b); str_starts(s, "# expect: "); s = strchr(s, '\n') + 1) {
		int line = 0, col = 0, n = 0;
		ck_assert_msg(
		        sscanf(s, "# expect: %d:%d: %n", &line, &col, &n) == 2, "%s: malformed expectation", path);
		char text[512];
		snprintf(text, sizeof(text), "%.*s", (int)strcspn(s + n, "\n"), s + n);
		ck_assert_msg(has_diag(line, col, text), "%s: not told at %d:%d: %s; told instead: %s", path, line, col,
		        text, err.msg);
		expected++;
	}
	ck_assert_msg(expected > 0, "%s expects nothing", path);
	plan_diags_release(&diags);
}

START_TEST(every_bad_plan_is_refused_with_its_place_and_reason)
{
	glob_t g;
	ck_assert_int_eq(glob("tests/plans-bad/*.yaml", 0, NULL, &g), 0);
	ck_assert_uint_ge(g.gl_pathc, 100);
	for (size_t i = 0; i < g.gl_pathc; i++)
		check_bad_file(g.gl_pathv[i]);
	globfree(&g);
}
END_TEST

START_TEST(every_template_loads_and_takes_a_name)
{
	struct plan_blob b;
	size_t n = 0;
	for (; plan_template_at(n, &b); n++) {
		CLEAN(buf_release) struct buf out = BUF_INIT(1 << 16);
		ck_assert_int_eq(plan_template_write(b.name, "my-service", &out, &err), 0);
		CLEAN(plan_free_ptr) struct plan *p = load(buf_str(&out));
		ck_assert_str_eq(p->name, "my-service");
		ck_assert_uint_gt(p->recovery->n_checks, 0);
		CLEAN(buf_release) struct buf file = BUF_INIT(1 << 16);
		char path[128];
		snprintf(path, sizeof(path), "plans/templates/%s.yaml", b.name);
		ck_assert_int_eq(fs_read(path, &file, &err), 0);
		ck_assert_mem_eq(file.p, b.p, MAX(file.len, b.n));
	}
	ck_assert_uint_eq(n, 5);
	CLEAN(buf_release) struct buf out = BUF_INIT(1 << 16);
	ck_assert_int_eq(plan_template_write("nope", "x", &out, &err), -ERR_USAGE);
	ck_assert_ptr_nonnull(strstr(err.hint, "signature-service"));
	ck_assert_int_eq(plan_template_write("ca", "../x", &out, &err), -ERR_USAGE);
}
END_TEST

START_TEST(small_plan_gets_the_defaults_of_the_table)
{
	CLEAN(plan_free_ptr) struct plan *p = load(SMALL);
	ck_assert_str_eq(p->time_zone, "UTC");
	ck_assert_str_eq(p->classification, "standard");
	ck_assert_int_eq(p->custody, PLAN_CUSTODY_HOST);
	ck_assert_int_eq(p->targets->rto_ms, 4 * 3600 * 1000);
	ck_assert_int_eq(p->targets->mtpd_ms, -1);
	ck_assert_int_eq(p->copies->min, 1);
	ck_assert_int_eq(p->copies->min_distance_km, -1);
	ck_assert_ptr_null(p->schedule);
	ck_assert_ptr_null(p->approvals);
	const struct plan_source *s = &p->sources[0];
	ck_assert_str_eq(s->host, "local");
	ck_assert_int_eq(s->level, 3);
	ck_assert_int_eq(s->timeout_ms, 4 * 3600 * 1000);
	ck_assert_uint_eq(s->command.n, 0);
	ck_assert_ptr_nonnull(s->command.v);
	ck_assert_ptr_null(s->command.v[0]);
	ck_assert_int_eq(p->sites[0].immutable_ms, -1);
}
END_TEST

START_TEST(full_plan_fills_sources_and_sites)
{
	CLEAN(plan_free_ptr) struct plan *p = load_file("tests/plans/full.yaml");
	ck_assert_int_eq(p->review->version, 7);
	ck_assert_int_eq(p->review->due_ns, 1806451200000000000);
	const struct plan_source *db = plan_source(p, "ca-db");
	ck_assert_uint_eq(db->command.n, 4);
	ck_assert_str_eq(db->command.v[2], "-Z0");
	ck_assert_ptr_null(db->command.v[4]);
	ck_assert_uint_eq(db->min_size, 1 << 20);
	ck_assert_uint_eq(db->env.n, 2);
	ck_assert_str_eq(db->env.v[1].value, "systemd-credential:pg");
	ck_assert_int_eq(db->cut, PLAN_CUT_FIXED);
	const struct plan_source *files = plan_source(p, "ca-files");
	ck_assert(files->one_file_system && files->exclude_caches);
	ck_assert_uint_eq(files->after.n, 2);
	ck_assert_str_eq(files->after.v[1].v[1], "");
	ck_assert_str_eq(plan_source(p, "ca-log")->follow, "/var/spool/ca-log");
	const struct plan_site *north = plan_site(p, "north");
	ck_assert_int_eq(north->bandwidth->from_min, 22 * 60);
	ck_assert_int_eq(north->bandwidth->to_min, 6 * 60);
	ck_assert_uint_eq(north->bandwidth->limit, 50 << 20);
	ck_assert_double_eq_tol(north->location->lat, 60.17, 1e-9);
	ck_assert_str_eq(plan_site(p, "cloud")->secret_key, "file:/etc/holdfast/s3");
	ck_assert_str_eq(plan_site(p, "cloud")->session_token, "systemd-credential:s3-token");
	ck_assert_ptr_null(plan_site(p, "south"));
}
END_TEST

START_TEST(full_plan_fills_recovery_in_the_order_of_needs)
{
	CLEAN(plan_free_ptr) struct plan *p = load_file("tests/plans/full.yaml");
	const struct plan_recovery *r = p->recovery;
	ck_assert_uint_eq(r->n_steps, 4);
	static const char *const order[] = {"files", "db", "start", "dump"};
	for (size_t i = 0; i < 4; i++)
		ck_assert_str_eq(r->steps[r->order[i]].id, order[i]);
	ck_assert_str_eq(plan_step(p, "start")->run.v[2], "8443");
	ck_assert_str_eq(plan_step(p, "start")->env.v[0].value, "");
	ck_assert_int_eq(plan_step(p, "files")->metadata, PLAN_METADATA_FULL);
	ck_assert_int_eq(r->checks[1].kind, PLAN_CHECK_HTTP);
	ck_assert_int_eq(r->checks[1].expect, 204);
	ck_assert_int_eq(r->checks[4].max_age_ms, 30 * 60000);
	ck_assert_str_eq(plan_check_kind_name(r->checks[5].kind), "tcp");
	ck_assert_int_eq(p->schedule->drills[1].kind, PLAN_TABLETOP);
	ck_assert_str_eq(plan_exercise_name(PLAN_SWITCHOVER), "switchover");
	ck_assert_int_eq(p->schedule->missed->catch_up, PLAN_CATCH_UP_NONE);
	ck_assert_int_eq(p->approvals->drill->standing_ms, 90ll * 86400000);
	ck_assert_int_eq(p->approvals->restore->standing_ms, -1);
}
END_TEST

START_TEST(effective_plan_is_a_plan_with_the_same_meaning)
{
	static const char *const files[] = {"tests/plans/full.yaml", "plans/templates/ca.yaml",
	        "plans/templates/tsa.yaml", "plans/templates/database.yaml"};
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		CLEAN(plan_free_ptr) struct plan *p = load_file(files[i]);
		CLEAN(json_release) json_t *first = plan_to_json(p);
		char *text = json_dumps(first, JSON_INDENT(1));
		CLEAN(plan_free_ptr) struct plan *again = load(text);
		CLEAN(json_release) json_t *second = plan_to_json(again);
		ck_assert_msg(json_equal(first, second), "%s changes: %s", files[i], text);
		free(text);
	}
}
END_TEST

START_TEST(effective_plan_shows_what_applies)
{
	CLEAN(plan_free_ptr) struct plan *p = load_file("tests/plans/full.yaml");
	CLEAN(json_release) json_t *j = plan_to_json(p);
	ck_assert_str_eq(json_string_value(json_object_get(json_object_get(j, "targets"), "rpo")), "16m");
	ck_assert_str_eq(json_string_value(json_object_get(json_object_get(j, "review"), "due")), "2027-03-31");
	json_t *steps = json_object_get(json_object_get(j, "recovery"), "steps");
	ck_assert_ptr_null(json_object_get(json_array_get(steps, 0), "metadata"));
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(steps, 3), "metadata")), "safe");
	json_t *sites = json_object_get(j, "sites");
	ck_assert_str_eq(
	        json_string_value(json_object_get(json_object_get(json_array_get(sites, 0), "bandwidth"), "limit")),
	        "50MiB/s");
}
END_TEST

START_TEST(digest_is_of_the_bytes)
{
	unsigned char d[SHA256_LEN];
	sha256_of(SMALL, strlen(SMALL), d);
	CLEAN(plan_free_ptr) struct plan *p = load(SMALL);
	ck_assert_mem_eq(p->digest, d, SHA256_LEN);
	CLEAN(plan_free_ptr) struct plan *q = load("# a comment\n" SMALL);
	ck_assert_mem_ne(q->digest, d, SHA256_LEN);
}
END_TEST

START_TEST(keys_keep_their_places_for_refusals)
{
	CLEAN(plan_free_ptr) struct plan *p = load_file("tests/plans/full.yaml");
	struct plan_place at = {0, 0};
	ck_assert(plan_key_place(p, "sources[2].follow", &at));
	ck_assert_int_eq(at.line, 34);
	ck_assert_int_eq(at.col, 5);
	ck_assert(!plan_key_place(p, "sources[1].follow", &at));
	ck_assert_int_eq(plan_refuse(p, "sources[2].follow", "not in this build", &err), -ERR_UNSUPPORTED);
	ck_assert_str_eq(err.msg, "tests/plans/full.yaml:34:5: sources[2].follow: not in this build");
}
END_TEST

START_TEST(source_file_holds_one_source)
{
	static const char text[] = "name: docs\npaths: [/srv/docs]\nexclude: [\"*.o\"]\n";
	CLEAN(plan_free_ptr) struct plan *p = NULL;
	ck_assert_msg(plan_source_load_bytes("docs.yaml", text, strlen(text), &p, &diags, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(p->n_sources, 1);
	ck_assert_str_eq(p->sources[0].exclude.v[0], "*.o");
	ck_assert_str_eq(p->name, "docs");
	struct plan *q = NULL;
	static const char wrong[] = "name: docs\nurl: file:///x\n";
	ck_assert_int_eq(plan_source_load_bytes("docs.yaml", wrong, strlen(wrong), &q, &diags, &err), -ERR_USAGE);
	ck_assert(has_diag(2, 1, "unknown key 'url'"));
	ck_assert(has_diag(1, 1, "nothing to copy"));
}
END_TEST

START_TEST(missing_file_is_a_usage_error)
{
	struct plan *p = NULL;
	ck_assert_int_eq(plan_load_file("tests/plans/none.yaml", &p, &diags, &err), -ERR_USAGE);
	ck_assert_ptr_nonnull(strstr(err.msg, "no such plan file"));
}
END_TEST

START_TEST(diagnostics_print_place_line_and_caret)
{
	static const char text[] = "plan: demo\ntargets: {rto: 4h, rpoo: 1h}\n";
	refuse(text, strlen(text));
	CLEAN(buf_release) struct buf out = BUF_INIT(1 << 16);
	ck_assert_int_eq(plan_diags_print(&diags, &out, &err), 0);
	ck_assert_ptr_nonnull(
	        strstr(buf_str(&out), "t.yaml:2:20: error: unknown key 'rpoo' in targets (did you mean 'rpo'?)\n"
	                              "  targets: {rto: 4h, rpoo: 1h}\n"
	                              "                     ^\n"));
	CLEAN(json_release) json_t *j = plan_diags_json(&diags);
	ck_assert_uint_eq(json_array_size(j), diags.n);
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(j, 0), "severity")), "error");
}
END_TEST

START_TEST(secrets_are_not_shown_again)
{
	static const char text[] = SMALL "  - {name: south, url: \"sftp://u:hunter2@south/x\", zoone: x}\n";
	refuse(text, strlen(text));
	ck_assert_uint_eq(diags.n, 2);
	CLEAN(buf_release) struct buf out = BUF_INIT(1 << 16);
	ck_assert_int_eq(plan_diags_print(&diags, &out, &err), 0);
	ck_assert_ptr_null(strstr(buf_str(&out), "hunter2"));
	ck_assert_ptr_nonnull(strstr(buf_str(&out), "zoone"));
	ck_assert_ptr_null(strstr(err.msg, "hunter2"));
}
END_TEST

START_TEST(control_bytes_do_not_reach_the_terminal)
{
	static const char text[] = "plan: demo\n\"\\e[31mx\": 1\n";
	refuse(text, strlen(text));
	static const char raw[] = "plan: a\x1b[31mb\n";
	refuse(raw, strlen(raw));
	CLEAN(buf_release) struct buf out = BUF_INIT(1 << 16);
	ck_assert_int_eq(plan_diags_print(&diags, &out, &err), 0);
	ck_assert_ptr_null(memchr(out.p, 0x1b, out.len));
}
END_TEST

START_TEST(errors_come_all_at_once_in_order_up_to_a_hundred)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	buf_addf(&b, "%s", SMALL);
	for (int i = 0; i < 250; i++)
		buf_addf(&b, "key%d: 1\n", i);
	refuse(buf_str(&b), b.len);
	ck_assert_uint_eq(diags.n, PLAN_DIAGS_MAX);
	ck_assert_uint_eq(diags.n_errors, 250);
	ck_assert_uint_eq(diags.n_dropped, 150);
	for (size_t i = 1; i < diags.n; i++)
		ck_assert_int_lt(diags.v[i - 1].at.line, diags.v[i].at.line);
	CLEAN(buf_release) struct buf out = BUF_INIT(1 << 20);
	ck_assert_int_eq(plan_diags_print(&diags, &out, &err), 0);
	ck_assert_ptr_nonnull(strstr(buf_str(&out), "150 more not shown"));
}
END_TEST

START_TEST(bytes_that_are_no_text_are_refused)
{
	refuse_at("", 0, 1, 1, "the file is empty");
	refuse_at("plan: a\nb\xff: c\n", 14, 2, 2, "not UTF-8");
	refuse_at("plan: \xc3\xbc\xc0\x80\n", 11, 1, 8, "not UTF-8");
	refuse_at("plan: \xed\xa0\x80\n", 10, 1, 7, "not UTF-8");
	refuse_at("plan: a\0b\n", 10, 1, 8, "not UTF-8");
	refuse_at("\xff\xfep\0l\0", 6, 1, 1, "not UTF-8");
	refuse_at("plan: \xe2\x82", 8, 1, 7, "not UTF-8");
}
END_TEST

START_TEST(large_files_and_deep_nesting_are_refused)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(4u << 20);
	ck_assert_int_eq(buf_fill(&b, '#', PLAN_FILE_MAX + 1, &err), 0);
	refuse_at(buf_str(&b), b.len, 1, 1, "larger than 1 MiB");
	static const char *const deep[] = {"[", "{a: ", "- "};
	for (size_t i = 0; i < ARRAY_LEN(deep); i++) {
		buf_clear(&b);
		for (int k = 0; k < 100000; k++)
			buf_addf(&b, "%s", deep[i]);
		refuse(buf_str(&b), b.len);
	}
}
END_TEST

START_TEST(long_lists_and_texts_are_refused)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1u << 20);
	buf_addf(&b, "%s", SMALL "title: ");
	ck_assert_int_eq(buf_fill(&b, 'x', 20000, &err), 0);
	refuse_at(buf_str(&b), b.len, 7, 8, "more than 16 KiB");
	buf_clear(&b);
	buf_addf(&b, "x: [");
	for (int i = 0; i < 1100; i++)
		buf_addf(&b, "%d, ", i);
	buf_addf(&b, "]\n" SMALL);
	refuse(buf_str(&b), b.len);
	ck_assert_ptr_nonnull(strstr(diags.v[0].message, "more than 1000"));
}
END_TEST

START_TEST(windows_line_ends_and_a_byte_order_mark_are_fine)
{
	static const char text[] = "\xef\xbb\xbfplan: demo\r\ntargets: {rto: 4h, rpo: 1h}\r\nsources:\r\n  - {name: "
	                           "docs, paths: [/srv/docs]}\r\n"
	                           "sites:\r\n  - {name: north, url: \"file:///mnt/north\"}\r\n";
	CLEAN(plan_free_ptr) struct plan *p = load(text);
	ck_assert_str_eq(p->name, "demo");
}
END_TEST

START_TEST(json_is_read_as_yaml)
{
	CLEAN(plan_free_ptr)
	struct plan *p = load("{\"plan\": \"demo\", \"targets\": {\"rto\": \"4h\", \"rpo\": \"1h\"},"
	                      "\"sources\": [{\"name\": \"docs\", \"paths\": [\"/srv/docs\"]}], \"sites\": [{\"name\": "
	                      "\"n\", \"url\": \"file:///m\"}]}");
	ck_assert_str_eq(p->sites[0].name, "n");
}
END_TEST

START_TEST(secret_references_are_told_from_secrets)
{
	ck_assert(plan_is_secret_ref("file:/etc/key") && plan_is_secret_ref("env:KEY") &&
	          plan_is_secret_ref("systemd-credential:key"));
	ck_assert(!plan_is_secret_ref("file:key") && !plan_is_secret_ref("env:") && !plan_is_secret_ref("hunter2") &&
	          !plan_is_secret_ref(NULL));
	CLEAN(plan_free_ptr)
	struct plan *p = load(SMALL "recovery:\n  steps:\n    - {id: a, run: [x, \"--token-file=/run/t\"], env: "
	                            "{API_TOKEN: \"env:T\", PASSWORD_FILE: /run/p}}\n");
	ck_assert_str_eq(p->recovery->steps[0].env.v[0].value, "env:T");
}
END_TEST

/* A document that the key table makes is checked in: HOLDFAST_UPDATE=1 writes it anew. */
static void compare_document(const char *path, const char *text, size_t n)
{
	if (getenv("HOLDFAST_UPDATE"))
		ck_assert_int_eq(fs_replace(path, text, n, 0644, &err), 0);
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	ck_assert_int_eq(fs_read(path, &b, &err), 0);
	ck_assert_msg(b.len == n && memcmp(b.p, text, n) == 0,
	        "%s differs from the key table: run with HOLDFAST_UPDATE=1", path);
}

START_TEST(schema_and_reference_page_are_those_of_the_table)
{
	CLEAN(json_release) json_t *j = plan_schema_json();
	CLEAN(buf_release) struct buf schema = BUF_INIT(1 << 20), page = BUF_INIT(1 << 20);
	char *text = json_dumps(j, JSON_INDENT(2));
	buf_addf(&schema, "%s\n", text);
	free(text);
	compare_document("plans/holdfast-plan.schema.json", buf_str(&schema), schema.len);
	plan_reference_md(&page);
	compare_document("docs/plan-reference.md", buf_str(&page), page.len);
	ck_assert_ptr_nonnull(strstr(buf_str(&page), "| `rto` | duration | required |"));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("plan");
	TCase *t = tcase_create("load");
	tcase_add_test(t, every_bad_plan_is_refused_with_its_place_and_reason);
	tcase_add_test(t, every_template_loads_and_takes_a_name);
	tcase_add_test(t, small_plan_gets_the_defaults_of_the_table);
	tcase_add_test(t, full_plan_fills_sources_and_sites);
	tcase_add_test(t, full_plan_fills_recovery_in_the_order_of_needs);
	tcase_add_test(t, effective_plan_is_a_plan_with_the_same_meaning);
	tcase_add_test(t, effective_plan_shows_what_applies);
	tcase_add_test(t, digest_is_of_the_bytes);
	tcase_add_test(t, keys_keep_their_places_for_refusals);
	tcase_add_test(t, source_file_holds_one_source);
	tcase_add_test(t, missing_file_is_a_usage_error);
	tcase_add_test(t, diagnostics_print_place_line_and_caret);
	tcase_add_test(t, secrets_are_not_shown_again);
	tcase_add_test(t, control_bytes_do_not_reach_the_terminal);
	tcase_add_test(t, errors_come_all_at_once_in_order_up_to_a_hundred);
	tcase_add_test(t, bytes_that_are_no_text_are_refused);
	tcase_add_test(t, large_files_and_deep_nesting_are_refused);
	tcase_add_test(t, long_lists_and_texts_are_refused);
	tcase_add_test(t, windows_line_ends_and_a_byte_order_mark_are_fine);
	tcase_add_test(t, json_is_read_as_yaml);
	tcase_add_test(t, secret_references_are_told_from_secrets);
	tcase_add_test(t, schema_and_reference_page_are_those_of_the_table);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	crypto_init();
	int failed = suite_main(suite());

	plan_diags_release(&diags);
	return failed;
}
