/* Lines of the recovery process' report become parts of the result. */
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "drill/drill_judge.h"

#define WHAT "report of the recovery process"
#define NS_PER_MS 1000000

/* A time in microseconds as nanoseconds. */
static int get_ns(const json_t *o, const char *key, int64_t *ret, struct err *err)
{
	int rc = json_get_int(o, key, WHAT, ret, err);
	if (!rc && (*ret < 0 || *ret > INT64_MAX / 1000))
		rc = err_set(err, ERR_FORMAT, WHAT ": %s is out of range", key);
	*ret = rc ? 0 : *ret * 1000;
	return rc;
}

static int get_moment(const json_t *o, const char *key, struct judge_moment *ret, struct err *err)
{
	char boot[32];
	snprintf(boot, sizeof boot, "%s_boot", key);
	int rc = get_ns(o, key, &ret->wall_ns, err);
	return rc ? rc : get_ns(o, boot, &ret->boot_ns, err);
}

static int get_count(const json_t *o, const char *key, int64_t *ret, struct err *err)
{
	int rc = json_get_int(o, key, WHAT, ret, err);
	return !rc && *ret < -1 ? err_set(err, ERR_FORMAT, WHAT ": %s is out of range", key) : rc;
}

static int get_outcome(const json_t *o, const char **ret, struct err *err)
{
	int rc = json_get_str(o, "outcome", WHAT, ret, err);
	if (!rc && !str_eq(*ret, "passed") && !str_eq(*ret, "failed") && !str_eq(*ret, "skipped"))
		rc = err_set(err, ERR_FORMAT, WHAT ": unknown outcome");
	return rc;
}

static void later(struct judge_moment *to, const struct judge_moment *m)
{
	if (m->boot_ns > to->boot_ns)
		*to = *m;
}

static const char *detail_of(const json_t *o)
{
	return json_string_value(json_object_get(o, "detail"));
}

/* A code of ours, whatever number came. */
static enum err_code code_of(const json_t *o)
{
	json_int_t n = json_integer_value(json_object_get(o, "code"));
	switch (n) {
	case ERR_CORRUPT:
	case ERR_MISSING:
	case ERR_FORMAT:
	case ERR_FORK:
	case ERR_UNREACHABLE:
	case ERR_NOSPACE:
	case ERR_CANCELLED:
		return (enum err_code)n;
	default:
		return ERR_FAILED;
	}
}

static void step_failed(struct judge *g, const struct plan_step *s, const json_t *o, const char *outcome)
{
	struct err why = ERR_INIT;
	judge_count_failed(g, s);
	if (str_eq(outcome, "skipped"))
		return; /* the step it needed has said why */
	enum err_code code = code_of(o);
	const char *detail = detail_of(o);
	judge_name_failed(g, s->id);
	err_set(&why, code, "step '%s' failed: %.300s", s->id, detail ? detail : "no reason was given");
	if (!g->first.code)
		str_copy(g->failed_step, sizeof g->failed_step, s->id);
	judge_fail(g, err_exit_status(code), &why);
}

static int on_step(struct judge *g, const json_t *o, struct err *err)
{
	const struct plan_recovery *r = g->j->plan->recovery;
	const char *id, *outcome;
	struct judge_moment start = {0}, end = {0}, first = {0};
	int64_t bytes;
	int rc = json_get_str(o, "id", WHAT, &id, err);
	const struct plan_step *s = rc ? NULL : plan_step(g->j->plan, id);
	if (!rc && (!s || g->step_told[s - r->steps]))
		rc = err_set(err, ERR_FORMAT, WHAT ": it tells a step that the plan does not have, or tells one twice");
	if (!rc)
		rc = get_outcome(o, &outcome, err);
	if (!rc)
		rc = get_count(o, "bytes", &bytes, err);
	if (!rc && !str_eq(outcome, "skipped") && !(rc = get_moment(o, "start", &start, err)))
		rc = get_moment(o, "end", &end, err);
	if (!rc && json_object_get(o, "first"))
		rc = get_moment(o, "first", &first, err);
	if (rc)
		return rc;
	g->step_told[s - r->steps] = true;
	result_step(g->res, &(struct result_step){.id = s->id,
	                            .kind = s->restore ? "restore" : "run",
	                            .needs = s->needs.v,
	                            .start_wall_ns = start.wall_ns,
	                            .start_boot_ns = start.boot_ns,
	                            .end_boot_ns = end.boot_ns,
	                            .bytes = bytes,
	                            .outcome = outcome,
	                            .detail = detail_of(o)});
	if (!str_eq(outcome, "passed"))
		step_failed(g, s, o, outcome);
	if (s->restore && bytes > 0)
		g->bytes += bytes;
	if (s->restore)
		later(&g->restored, &end);
	later(&g->last, &end);
	if (first.boot_ns && (!g->first_byte.boot_ns || first.boot_ns < g->first_byte.boot_ns))
		g->first_byte = first;
	return 0;
}

static const struct plan_check *check_named(const struct plan_recovery *r, const char *id)
{
	for (size_t i = 0; i < r->n_checks; i++)
		if (str_eq(r->checks[i].id, id))
			return &r->checks[i];
	return NULL;
}

static void check_failed(struct judge *g, const struct plan_check *c, const json_t *o, const char *outcome)
{
	struct err why = ERR_INIT;
	const char *detail = detail_of(o);
	bool skipped = str_eq(outcome, "skipped");
	g->checks_failed++;
	g->manifest_failed = g->manifest_failed || c->kind == PLAN_CHECK_MANIFEST;
	err_set(&why, ERR_FAILED, "check '%s' %s: %.300s", c->id, skipped ? "was not made" : "failed",
	        detail ? detail : "");
	if (!skipped || !g->steps_failed) /* else it is a consequence, and the cause has the status */
		judge_fail(g, 1, &why);
	if (skipped)
		return;
	judge_name_failed(g, c->id);
	judge_finding(g, "major", "check '%s' failed: %s", c->id, detail ? detail : "");
}

static int on_check(struct judge *g, const json_t *o, struct err *err)
{
	const struct plan_recovery *r = g->j->plan->recovery;
	const char *id, *outcome;
	struct judge_moment start = {0}, end = {0};
	int64_t entries;
	int rc = json_get_str(o, "id", WHAT, &id, err);
	const struct plan_check *c = rc ? NULL : check_named(r, id);
	if (!rc && (!c || g->check_told[c - r->checks]))
		rc = err_set(
		        err, ERR_FORMAT, WHAT ": it tells a check that the plan does not have, or tells one twice");
	if (!rc)
		rc = get_outcome(o, &outcome, err);
	if (!rc)
		rc = get_count(o, "entries", &entries, err);
	if (!rc && !str_eq(outcome, "skipped") && !(rc = get_moment(o, "start", &start, err)))
		rc = get_moment(o, "end", &end, err);
	if (rc)
		return rc;
	bool manifest = c->kind == PLAN_CHECK_MANIFEST && str_eq(outcome, "passed");
	g->check_told[c - r->checks] = true;
	result_check(g->res, &(struct result_check){.id = c->id,
	                             .kind = plan_check_kind_name(c->kind),
	                             .step = judge_step_of(r, c),
	                             .start_wall_ns = start.wall_ns,
	                             .duration_ms = end.boot_ns ? MAX(end.boot_ns - start.boot_ns, 0) / NS_PER_MS : -1,
	                             .outcome = outcome,
	                             .detail = detail_of(o),
	                             .checked = manifest ? entries : -1,
	                             .total = manifest ? entries : -1});
	if (!str_eq(outcome, "passed"))
		check_failed(g, c, o, outcome);
	g->manifests += manifest;
	if (manifest)
		later(&g->verified, &end);
	later(&g->checked, &end);
	later(&g->last, &end);
	return 0;
}

static int on_source(struct judge *g, const json_t *o, struct err *err)
{
	const char *name, *run;
	int64_t seq, files, bytes, start, worst;
	bool host, others;
	unsigned char digest[ID_LEN];
	int rc = json_get_str(o, "name", WHAT, &name, err);
	const struct plan_source *ps = rc ? NULL : plan_source(g->j->plan, name);
	if (!rc && (!ps || g->source[ps - g->j->plan->sources]))
		rc = err_set(
		        err, ERR_FORMAT, WHAT ": it tells a source that the plan does not have, or tells one twice");
	if (rc || (rc = get_count(o, "seq", &seq, err)) || (rc = get_count(o, "files", &files, err)) ||
	        (rc = get_count(o, "bytes", &bytes, err)) || (rc = get_ns(o, "start", &start, err)) ||
	        (rc = get_count(o, "worst_case_ms", &worst, err)) || (rc = json_get_str(o, "run", WHAT, &run, err)) ||
	        (rc = json_get_bool(o, "host", WHAT, &host, err)) ||
	        (rc = json_get_bool(o, "others", WHAT, &others, err)) ||
	        (rc = json_get_hex(o, "snapshot", WHAT, digest, sizeof digest, err)))
		return rc;
	bool restored = judge_is_restored(g->j->plan, name);
	json_t *item = json_pack("{s:s, s:s, s:I, s:I, s:I, s:s}", "name", name, "outcome", "looked-at", "seq",
	        (json_int_t)seq, "files", (json_int_t)files, "bytes", (json_int_t)bytes, "run", run);
	json_object_set_new(item, "snapshot", json_hex(digest, sizeof digest));
	json_object_set_new(item, "time", json_time(start));
	result_add(g->res, RESULT_SOURCES, item);
	g->source[ps - g->j->plan->sources] = item;
	struct evidence_subject *sub = &g->subject[g->n_subjects];
	snprintf(g->subject_name[g->n_subjects], sizeof g->subject_name[0], "snapshot:%s", name);
	sub->name = g->subject_name[g->n_subjects++];
	memcpy(sub->sha256, digest, SHA256_LEN);
	if (!restored)
		return 0;
	g->oldest_ns = g->sources ? MIN(g->oldest_ns, start) : start;
	g->worst_ms = !g->sources ? worst : worst < 0 || g->worst_ms < 0 ? -1 : MAX(g->worst_ms, worst);
	g->sources++;
	g->host_proofs += host;
	g->other_proofs += others;
	return 0;
}

static int on_site(struct judge *g, const json_t *o, struct err *err)
{
	const char *name, *outcome;
	int64_t served, bad;
	int rc = json_get_str(o, "name", WHAT, &name, err);
	if (!rc && !plan_site(g->j->plan, name))
		rc = err_set(err, ERR_FORMAT, WHAT ": a site that the plan does not have");
	if (rc || (rc = json_get_str(o, "outcome", WHAT, &outcome, err)) ||
	        (rc = get_count(o, "served_bytes", &served, err)) || (rc = get_count(o, "bad_objects", &bad, err)))
		return rc;
	const char *first = json_string_value(json_array_get(json_object_get(o, "bad"), 0));
	const char *error = json_string_value(json_object_get(o, "error"));
	json_t *list = json_array();
	if (first)
		json_array_append_new(list, json_string(first));
	json_t *item = json_pack("{s:s, s:s, s:I, s:I, s:o}", "name", name, "outcome", outcome, "served_bytes",
	        (json_int_t)served, "bad_objects", (json_int_t)bad, "bad", list);
	if (error)
		json_object_set_new(item, "error", json_string(error));
	result_add(g->res, RESULT_SITES, item);
	if (bad > 0 && !g->sites_damaged++) {
		snprintf(g->damaged_site, sizeof g->damaged_site, "%s", name);
		snprintf(g->damaged, sizeof g->damaged, "%s", first ? first : "its objects");
	}
	if (bad > 0)
		judge_finding(g, "major", "site '%s' gave %lld objects that are damaged or missing; first: %s", name,
		        (long long)bad, first ? first : "");
	if (str_eq(outcome, "unreachable") && !g->sites_lost++) {
		snprintf(g->lost_site, sizeof g->lost_site, "%s", name);
		snprintf(g->lost, sizeof g->lost, "%s", error ? error : "");
	}
	if (str_eq(outcome, "unreachable"))
		judge_finding(g, "major", "site '%s' could not be reached in the drill: %s", name, error ? error : "");
	return 0;
}

static int on_isolation(struct judge *g, const json_t *o, struct err *err)
{
	static const struct {
		const char *name;
		unsigned bit;
	} bits[] = {{"mount", ISOLATE_MOUNT}, {"net", ISOLATE_NET}, {"pid", ISOLATE_PID}, {"ipc", ISOLATE_IPC}};
	int rc = 0;
	for (size_t i = 0; !rc && i < ARRAY_LEN(bits); i++) {
		bool have;
		rc = json_get_bool(o, bits[i].name, WHAT, &have, err);
		if (!rc && have)
			g->isolated |= bits[i].bit;
	}
	if (rc)
		return rc;
	json_t *copy = json_deep_copy(o);
	json_object_del(copy, "t");
	result_extra(g->res, "isolation", copy);
	g->told_isolation = true;
	return 0;
}

static int on_progress(struct judge *g, const json_t *o, struct err *err)
{
	const char *phase, *subject;
	int64_t n[4];
	static const char *const keys[] = {"files", "files_total", "bytes", "bytes_total"};
	int rc = json_get_str(o, "phase", WHAT, &phase, err);
	if (!rc)
		rc = json_get_str(o, "subject", WHAT, &subject, err);
	for (size_t i = 0; !rc && i < ARRAY_LEN(keys); i++)
		rc = get_count(o, keys[i], &n[i], err);
	if (!rc && g->j->progress)
		g->j->progress(g->j->arg, &(struct job_progress){.phase = str_eq(phase, "check") ? "check" : "restore",
		                                  .subject = subject,
		                                  .files = (uint64_t)n[0],
		                                  .files_total = (uint64_t)n[1],
		                                  .bytes = (uint64_t)n[2],
		                                  .bytes_total = (uint64_t)n[3]});
	return rc;
}

static int on_note(struct judge *g, const json_t *o, struct err *err)
{
	const char *text;
	int rc = json_get_str(o, "text", WHAT, &text, err);
	if (!rc)
		result_add_str(g->res, RESULT_NOT_SHOWN, text);
	return rc;
}

static int on_error(struct judge *g, const json_t *o, struct err *err)
{
	const char *text;
	int rc = json_get_str(o, "text", WHAT, &text, err);
	if (!rc)
		judge_finding(g, "minor", "%s", text);
	return rc;
}

static int on_point(struct judge *g, const json_t *o, struct err *err)
{
	return get_moment(o, "at", &g->released, err);
}

static int on_end(struct judge *g, const json_t *o, struct err *err)
{
	(void)o;
	(void)err;
	g->ended = true;
	return 0;
}

int judge_line(void *arg, const json_t *line, struct err *err)
{
	static const struct {
		const char *type;
		int (*fn)(struct judge *g, const json_t *o, struct err *err);
	} kinds[] = {{"step", on_step}, {"check", on_check}, {"source", on_source}, {"site", on_site},
	        {"isolation", on_isolation}, {"progress", on_progress}, {"note", on_note}, {"error", on_error},
	        {"point", on_point}, {"end", on_end}};
	const char *type;
	int rc = json_get_str(line, "t", WHAT, &type, err);
	for (size_t i = 0; !rc && i < ARRAY_LEN(kinds); i++)
		if (str_eq(type, kinds[i].type))
			return kinds[i].fn(arg, line, err);
	return rc ? rc : err_set(err, ERR_FORMAT, WHAT ": an unknown line");
}
