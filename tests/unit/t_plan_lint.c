#include "plan/plan.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "suite.h"

static struct err err;

/* A plan, what is known beside it, and the verdicts. */
struct judged {
	struct plan *plan;
	struct plan_facts facts;
	struct plan_findings found;
};

static void judged_release(struct judged *j)
{
	plan_findings_release(&j->found);
	plan_free(j->plan);
}

static struct plan *load(const char *text)
{
	struct plan *p = NULL;
	struct plan_diags diags = PLAN_DIAGS_INIT;
	ck_assert_msg(plan_load_bytes("t.yaml", text, strlen(text), &p, &diags, &err) == 0, "%s", err.msg);
	plan_diags_release(&diags);
	return p;
}

static const struct plan_finding *find(const struct judged *j, const char *catalogue, const char *id)
{
	for (size_t i = 0; i < j->found.n; i++) {
		if (str_eq(j->found.v[i].catalogue, catalogue) && str_eq(j->found.v[i].id, id))
			return &j->found.v[i];
	}
	ck_abort_msg("no finding %s", id);
}

static void expect(const struct judged *j, const char *id, enum plan_verdict v)
{
	const struct plan_finding *f = find(j, NULL, id);
	ck_assert_msg(f->verdict == v, "%s is %s: %s", id, plan_verdict_name(f->verdict), f->text);
	ck_assert_ptr_nonnull(f->text);
}

/* The template of an authority with one text replaced, judged at a fixed day. */
static struct judged judge_ca(const char *old, const char *new, const struct plan_facts *facts)
{
	CLEAN(buf_release) struct buf file = BUF_INIT(1 << 16), text = BUF_INIT(1 << 16);
	ck_assert_int_eq(fs_read("plans/templates/ca.yaml", &file, &err), 0);
	const char *s = buf_str(&file), *at = strstr(s, old);
	ck_assert_msg(at != NULL, "'%s' is not in the template", old);
	buf_addf(&text, "%.*s%s%s", (int)(at - s), s, new, at + strlen(old));
	struct judged j = {.plan = load(buf_str(&text)), .facts = PLAN_FACTS_INIT};
	if (facts)
		j.facts = *facts;
	if (!j.facts.now_ns)
		ck_assert(clock_parse("2026-06-01", &j.facts.now_ns));
	plan_lint(j.plan, &j.facts, &j.found);
	return j;
}

#define CA(name, old, new, facts) CLEAN(judged_release) struct judged name = judge_ca(old, new, facts)

START_TEST(template_of_an_authority_meets_every_rule_a_plan_can_show)
{
	int64_t probed[] = {35ll * 86400000, 35ll * 86400000};
	struct plan_facts f = PLAN_FACTS_INIT;
	f.probed_immutable_ms = probed;
	f.data_bytes = 100ull << 30;
	f.opening_key_on_controller = 0;
	CA(j, "Qualified", "Qualified", &f);
	for (size_t i = 0; i < j.found.n && !j.found.v[i].catalogue; i++) {
		const char *id = j.found.v[i].id;
		if (!str_eq(id, "cloud-data") && !str_eq(id, "switchover") && !str_eq(id, "records"))
			expect(&j, id, PLAN_MET);
	}
}
END_TEST

START_TEST(bare_plan_meets_little)
{
	CLEAN(judged_release)
	struct judged j = {.plan = load("plan: demo\ntargets: {rto: 4h, rpo: 1h}\nsources:\n  - {name: docs, command: "
	                                "[pg_dump, -Fc, ca]}\n"
	                                "sites:\n  - {name: north, url: \"file:///mnt/north\"}\n"),
	        .facts = PLAN_FACTS_INIT};
	plan_lint(j.plan, NULL, &j.found);
	static const char *const not_met[] = {"targets", "schedule", "rpo", "copies", "zone", "distance", "retention",
	        "retention-lock", "verify", "min-size", "dump-compression", "owner", "deputies", "review", "activation",
	        "approvals", "prune-approvals", "recovery-order", "checks", "drills", "negative-drills", "crisis",
	        "notify"};
	for (size_t i = 0; i < ARRAY_LEN(not_met); i++)
		expect(&j, not_met[i], PLAN_NOT_MET);
	expect(&j, "custody", PLAN_UNKNOWN);
	expect(&j, "rto-feasible", PLAN_UNKNOWN);
	expect(&j, "reconciliation", PLAN_NOT_APPLICABLE);
	json_t *json = plan_findings_json(&j.found);
	ck_assert_uint_eq(json_array_size(json), j.found.n);
	json_decref(json);
}
END_TEST

START_TEST(distance_is_along_the_great_circle)
{
	struct plan_geo berlin = {.lat = 52.52, .lon = 13.405}, helsinki = {.lat = 60.17, .lon = 24.94},
	                sydney = {.lat = -33.87, .lon = 151.21}, fiji = {.lat = -17, .lon = 179.5},
	                samoa = {.lat = -17, .lon = -179.5}, pole = {.lat = 90, .lon = 0},
	                other = {.lat = -90, .lon = 77};
	ck_assert_double_eq_tol(plan_distance_km(&berlin, &helsinki), 1105, 5);
	ck_assert_double_eq_tol(plan_distance_km(&berlin, &sydney), 16090, 30);
	ck_assert_double_eq_tol(plan_distance_km(&fiji, &samoa), 106.3, 1);
	ck_assert_double_eq_tol(plan_distance_km(&pole, &other), 20015, 1);
	ck_assert_double_eq_tol(plan_distance_km(&berlin, &berlin), 0, 1e-9);
}
END_TEST

START_TEST(distance_verdict_follows_the_farthest_site)
{
	CA(near, "min_distance_km: 500", "min_distance_km: 1110", NULL);
	expect(&near, "distance", PLAN_NOT_MET);
	ck_assert_int_eq(find(&near, NULL, "distance")->at.line, 42);
	CA(far, "min_distance_km: 500", "min_distance_km: 1100", NULL);
	expect(&far, "distance", PLAN_MET);
}
END_TEST

START_TEST(zone_must_differ_somewhere)
{
	CA(one, "zone: vault-north", "zone: prod", NULL);
	expect(&one, "zone", PLAN_MET);
	CA(unsaid, "service: {zone: prod, ", "service: {", NULL);
	expect(&unsaid, "zone", PLAN_NOT_MET);
}
END_TEST

START_TEST(interval_as_long_as_the_rpo_leaves_nothing_for_the_backup)
{
	CA(equal, "rpo: 20m", "rpo: 15m", NULL);
	expect(&equal, "rpo", PLAN_NOT_MET);
	CA(shorter, "\"*/15 * * * *\"", "\"*/10 * * * *\"", NULL);
	expect(&shorter, "rpo", PLAN_MET);
	CA(nightly, "\"*/15 * * * *\"", "\"*/10 8-18 * * *\"", NULL);
	expect(&nightly, "rpo", PLAN_NOT_MET);
}
END_TEST

START_TEST(recovery_time_is_reckoned_from_size_and_bandwidth)
{
	struct plan_facts f = PLAN_FACTS_INIT;
	f.data_bytes = 50ull << 20 << 10; /* 1,024 s at 50 MiB/s */
	CA(quick, "bandwidth: {limit: 50MiB/s}", "bandwidth: {limit: 50MiB/s}", &f);
	expect(&quick, "rto-feasible", PLAN_MET);
	f.data_bytes = 1ull << 40;
	CA(maybe, "bandwidth: {limit: 50MiB/s}", "bandwidth: {limit: 50MiB/s}", &f);
	expect(&maybe, "rto-feasible", PLAN_UNKNOWN);
	CA(slow, "immutable: 35d\ncopies", "immutable: 35d\n    bandwidth: {limit: 20MiB/s}\ncopies", &f);
	expect(&slow, "rto-feasible", PLAN_NOT_MET);
}
END_TEST

START_TEST(review_is_overdue_from_its_day_on)
{
	struct plan_facts f = PLAN_FACTS_INIT;
	ck_assert(clock_parse("2027-02-01", &f.now_ns));
	CA(late, "due: 2027-01-31", "due: 2027-01-31", &f);
	expect(&late, "review", PLAN_NOT_MET);
	ck_assert(clock_parse("2027-01-30", &f.now_ns));
	CA(early, "due: 2027-01-31", "due: 2027-01-31", &f);
	expect(&early, "review", PLAN_MET);
}
END_TEST

START_TEST(lock_counts_when_probed_and_long_enough)
{
	CA(declared, "immutable: 35d", "immutable: 35d", NULL);
	expect(&declared, "retention-lock", PLAN_UNKNOWN);
	int64_t good[] = {40ll * 86400000, 40ll * 86400000}, none[] = {0, -1};
	struct plan_facts f = PLAN_FACTS_INIT;
	f.probed_immutable_ms = good;
	CA(proven, "immutable: 35d", "immutable: 35d", &f);
	expect(&proven, "retention-lock", PLAN_MET);
	f.probed_immutable_ms = none;
	CA(broken, "immutable: 35d", "immutable: 35d", &f);
	expect(&broken, "retention-lock", PLAN_NOT_MET);
	f.probed_immutable_ms = NULL;
	CA(shorter, "min: 30d", "min: 36d", &f);
	expect(&shorter, "retention-lock", PLAN_NOT_MET);
}
END_TEST

START_TEST(probe_that_finds_no_lock_is_no_lock_for_any_retention)
{
	int64_t none[] = {0};
	CLEAN(judged_release)
	struct judged j = {
	        .plan = load("plan: demo\ntargets: {rto: 4h, rpo: 1h}\nsources:\n  - {name: docs, paths: [/srv]}\n"
	                     "sites:\n  - {name: north, url: \"file:///mnt/north\"}\n"),
	        .facts = PLAN_FACTS_INIT};
	j.facts.probed_immutable_ms = none;
	plan_lint(j.plan, &j.facts, &j.found);
	expect(&j, "retention-lock", PLAN_NOT_MET);
}
END_TEST

START_TEST(custody_is_not_met_while_the_key_is_on_the_controller)
{
	struct plan_facts f = PLAN_FACTS_INIT;
	f.opening_key_on_controller = 1;
	CA(on, "custody: quorum", "custody: quorum", &f);
	expect(&on, "custody", PLAN_NOT_MET);
	CA(shares, "custody: quorum", "custody: quorum", NULL);
	expect(&shares, "custody", PLAN_MET);
	f.opening_key_on_controller = 0;
	CA(away, "custody: quorum\n", "custody: host\n", &f);
	expect(&away, "custody", PLAN_MET);
}
END_TEST

START_TEST(compressed_dumps_are_named)
{
	static const char *const compressed[] = {"[\"pg_dump\", \"-Fc\", \"ca\"]",
	        "[\"/usr/bin/pg_dump\", \"-F\", \"c\", \"-Z5\", \"ca\"]", "[tar, -c, -z, /x]", "[tar, czf, \"-\", /x]",
	        "[\"sh\", \"-c\", \"mysqldump ca | gzip\"]", "[gzip, \"-c\", /x]",
	        "[mongodump, \"--archive\", \"--gzip\"]"};
	static const char *const plain[] = {"[\"pg_dump\", \"-Fc\", \"-Z0\", \"ca\"]",
	        "[pg_dump, \"--format=custom\", \"--compress=0\", ca]", "[pg_dump, ca]", "[tar, -c, /x]",
	        "[tar, cf, \"-\", /x]"};
	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		CA(j, "[\"pg_dump\", \"-Fc\", \"-Z0\", \"ca\"]", plain[i], NULL);
		ck_assert_msg(find(&j, NULL, "dump-compression")->verdict == PLAN_MET, "%s", plain[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(compressed); i++) {
		CA(j, "[\"pg_dump\", \"-Fc\", \"-Z0\", \"ca\"]", compressed[i], NULL);
		ck_assert_msg(find(&j, NULL, "dump-compression")->verdict == PLAN_NOT_MET, "%s", compressed[i]);
	}
}
END_TEST

START_TEST(class_policy_names_what_is_short)
{
	CA(j, "restore_quorum: 2", "restore_quorum: 3", NULL);
	expect(&j, "classification", PLAN_NOT_MET);
	ck_assert_ptr_nonnull(strstr(find(&j, NULL, "classification")->text, "restore_quorum"));
	CA(drills, "drill_every: 100d", "drill_every: 30d", NULL);
	expect(&drills, "classification", PLAN_NOT_MET);
	CA(none, "class: critical", "class: other", NULL);
	expect(&none, "classification", PLAN_UNKNOWN);
}
END_TEST

START_TEST(tabletop_is_no_recovery_rehearsal)
{
	CA(j, "kind: functional", "kind: walkthrough", NULL);
	expect(&j, "drills", PLAN_NOT_MET);
	expect(&j, "crisis-drill", PLAN_MET);
}
END_TEST

START_TEST(requirement_is_as_good_as_its_worst_rule)
{
	CA(j, "min_distance_km: 500", "min_distance_km: 5000", NULL);
	const struct plan_finding *f = find(&j, "etsi-en-319401-3.2.1", "REQ-7.11.2-02c");
	ck_assert_int_eq(f->verdict, PLAN_NOT_MET);
	ck_assert_ptr_nonnull(strstr(f->text, "5000 wanted"));
	ck_assert_int_eq(f->at.line, find(&j, NULL, "distance")->at.line);
	ck_assert_int_eq(find(&j, "cir-2024-2690", "CIR-4.2.2a")->verdict, PLAN_MET);
	ck_assert_int_eq(find(&j, "etsi-en-319401-3.2.1", "REQ-7.10-03")->verdict, PLAN_UNKNOWN);
	ck_assert_ptr_nonnull(find(&j, "etsi-en-319401-3.1.1", "REQ-7.11.2-02c"));
}
END_TEST

START_TEST(not_applicable_carries_its_reason)
{
	CA(j, "requirements:",
	        "not_applicable:\n  - {requirement: CIR-4.2.2c, reason: one building only}\nrequirements:", NULL);
	const struct plan_finding *f = find(&j, "cir-2024-2690", "CIR-4.2.2c");
	ck_assert_int_eq(f->verdict, PLAN_NOT_APPLICABLE);
	ck_assert_str_eq(f->rationale, "one building only");
	ck_assert_ptr_null(find(&j, "cir-2024-2690", "CIR-4.2.2a")->rationale);
}
END_TEST

START_TEST(every_catalogue_is_its_file_and_judges)
{
	struct plan_blob b;
	CLEAN(buf_release) struct buf list = BUF_INIT(4096);
	size_t n = 0;
	for (; plan_catalogue_at(n, &b); n++) {
		char path[128];
		CLEAN(buf_release) struct buf file = BUF_INIT(1 << 16);
		snprintf(path, sizeof(path), "plans/catalogues/%s.json", b.name);
		ck_assert_int_eq(fs_read(path, &file, &err), 0);
		ck_assert_uint_eq(file.len, b.n);
		ck_assert_mem_eq(file.p, b.p, b.n);
		buf_addf(&list, "%s%s", n ? ", " : "requirements: [", b.name);
	}
	buf_addf(&list, "]");
	ck_assert_uint_eq(n, 5);
	CA(j, "requirements: [etsi-en-319401-3.2.1, etsi-en-319401-3.1.1, cir-2024-2690]", buf_str(&list), NULL);
	size_t requirements = 0;
	for (size_t i = 0; i < j.found.n; i++) {
		requirements += j.found.v[i].catalogue != NULL;
		ck_assert_ptr_nonnull(j.found.v[i].id);
		ck_assert_ptr_nonnull(j.found.v[i].title);
	}
	ck_assert_uint_gt(requirements, 80);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("plan-lint");
	TCase *t = tcase_create("lint");
	tcase_add_test(t, template_of_an_authority_meets_every_rule_a_plan_can_show);
	tcase_add_test(t, bare_plan_meets_little);
	tcase_add_test(t, distance_is_along_the_great_circle);
	tcase_add_test(t, distance_verdict_follows_the_farthest_site);
	tcase_add_test(t, zone_must_differ_somewhere);
	tcase_add_test(t, interval_as_long_as_the_rpo_leaves_nothing_for_the_backup);
	tcase_add_test(t, recovery_time_is_reckoned_from_size_and_bandwidth);
	tcase_add_test(t, review_is_overdue_from_its_day_on);
	tcase_add_test(t, lock_counts_when_probed_and_long_enough);
	tcase_add_test(t, probe_that_finds_no_lock_is_no_lock_for_any_retention);
	tcase_add_test(t, custody_is_not_met_while_the_key_is_on_the_controller);
	tcase_add_test(t, compressed_dumps_are_named);
	tcase_add_test(t, class_policy_names_what_is_short);
	tcase_add_test(t, tabletop_is_no_recovery_rehearsal);
	tcase_add_test(t, requirement_is_as_good_as_its_worst_rule);
	tcase_add_test(t, not_applicable_carries_its_reason);
	tcase_add_test(t, every_catalogue_is_its_file_and_judges);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	crypto_init();
	return suite_main(suite());
}
