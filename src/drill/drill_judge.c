#include "drill/drill_judge.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

#define DUE_NS (30 * 86400 * INT64_C(1000000000))
#define NS_PER_MS 1000000

void judge_init(struct judge *g, const struct job *j, struct result *res)
{
	const struct plan_recovery *r = j->plan->recovery;
	*g = (struct judge){.j = j, .res = res, .worst_ms = -1};
	g->step_told = xcalloc(r->n_steps + 1, sizeof *g->step_told);
	g->check_told = xcalloc(r->n_checks + 1, sizeof *g->check_told);
	g->source = xcalloc(j->plan->n_sources + 1, sizeof(json_t *));
	g->source_failed = xcalloc(j->plan->n_sources + 1, sizeof *g->source_failed);
	g->subject = xcalloc(j->plan->n_sources + 1, sizeof *g->subject);
	g->subject_name = xcalloc(j->plan->n_sources + 1, sizeof *g->subject_name);
}

void judge_release(struct judge *g)
{
	free(g->step_told);
	free(g->check_told);
	free(g->source);
	free(g->source_failed);
	free(g->subject);
	free(g->subject_name);
}

void judge_fail(struct judge *g, int status, const struct err *why)
{
	g->status = g->status ? err_status_worse(g->status, status) : status;
	if (!g->first.code && why)
		g->first = *why;
}

void judge_finding(struct judge *g, const char *severity, const char *fmt, ...)
{
	char text[768], due[CLOCK_TEXT];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	clock_rfc3339(due, clock_wall_ns() + DUE_NS);
	json_t *o = json_pack("{s:s, s:s, s:n}", "severity", severity, "due", due, "retest");
	json_object_set_new(o, "title", report_text(text));
	json_object_set_new(o, "owner", g->j->plan->owner ? report_text(g->j->plan->owner->name) : json_null());
	result_add(g->res, RESULT_FINDINGS, o);
}

void judge_name_failed(struct judge *g, const char *id)
{
	size_t n = strlen(g->failed);
	g->n_failed++;
	if (n + strlen(id) + 8 < sizeof g->failed)
		snprintf(g->failed + n, sizeof g->failed - n, "%s%s", n ? ", " : "", id);
	else if (n && !strstr(g->failed, " ..."))
		strcat(g->failed, " ...");
}

void judge_count_failed(struct judge *g, const struct plan_step *s)
{
	g->steps_failed++;
	if (!s->restore)
		return;
	g->restore_failed = true;
	g->source_failed[plan_source(g->j->plan, s->restore) - g->j->plan->sources] = true;
}

const char *judge_step_of(const struct plan_recovery *r, const struct plan_check *c)
{
	const char *step = c->needs.n == 1 ? c->needs.v[0] : NULL;
	for (size_t i = 0; !step && c->kind == PLAN_CHECK_MANIFEST && i < r->n_steps; i++)
		if (str_eq(r->steps[i].restore, c->of))
			step = r->steps[i].id;
	return step;
}

bool judge_is_restored(const struct plan *p, const char *source)
{
	for (size_t i = 0; i < p->recovery->n_steps; i++)
		if (str_eq(p->recovery->steps[i].restore, source))
			return true;
	return false;
}

/* --- the end --- */

static void tell_rest(struct judge *g)
{
	const struct plan_recovery *r = g->j->plan->recovery;
	for (size_t i = 0; i < r->n_steps; i++) {
		if (g->step_told[i])
			continue;
		result_step(g->res, &(struct result_step){.id = r->steps[i].id,
		                            .kind = r->steps[i].restore ? "restore" : "run",
		                            .needs = r->steps[i].needs.v,
		                            .bytes = -1,
		                            .outcome = "skipped",
		                            .detail = "the recovery process did not come to it"});
		judge_count_failed(g, &r->steps[i]);
	}
	for (size_t i = 0; i < r->n_checks; i++) {
		if (g->check_told[i])
			continue;
		result_check(g->res, &(struct result_check){.id = r->checks[i].id,
		                             .kind = plan_check_kind_name(r->checks[i].kind),
		                             .step = judge_step_of(r, &r->checks[i]),
		                             .duration_ms = -1,
		                             .outcome = "skipped",
		                             .detail = "the recovery process did not come to it",
		                             .checked = -1,
		                             .total = -1});
		g->checks_failed++;
		g->manifest_failed = g->manifest_failed || r->checks[i].kind == PLAN_CHECK_MANIFEST;
	}
}

static void point(struct judge *g, enum result_point p, const struct judge_moment *m)
{
	if (m->wall_ns)
		result_point(g->res, p, m->wall_ns, m->boot_ns);
}

static void set_points(struct judge *g)
{
	const struct plan_recovery *r = g->j->plan->recovery;
	bool all = !g->steps_failed && !g->checks_failed;
	point(g, RESULT_KEY_RELEASED, &g->released);
	point(g, RESULT_FIRST_BYTE, &g->first_byte);
	if (!g->restore_failed)
		point(g, RESULT_DATA_RESTORED, &g->restored);
	if (g->manifests && !g->manifest_failed)
		point(g, RESULT_VERIFIED, &g->verified);
	if (all && r->n_checks)
		point(g, RESULT_CHECKS_PASSED, &g->checked);
	if (all)
		point(g, RESULT_SERVICE_BACK, &g->last);
}

/* Where no copy was whole, the message names object and site, not the chunk that could not be had. */
static void name_damage(struct judge *g)
{
	enum err_code code = g->first.code;
	if (code == ERR_UNREACHABLE && g->lost_site[0])
		err_hint(&g->first, "site '%s': %.120s", g->lost_site, g->lost);
	if (!g->failed_step[0] || !g->damaged_site[0] ||
	        (code != ERR_CORRUPT && code != ERR_MISSING && code != ERR_FORMAT))
		return;
	err_set(&g->first, code, "step '%s' met damage that no other copy heals: site %s: %.250s", g->failed_step,
	        g->damaged_site, g->damaged);
	if (g->lost_site[0])
		err_hint(&g->first, "site '%s' could not be reached; bring it back, or restore an older snapshot",
		        g->lost_site);
	else
		err_hint(&g->first, "restore an older snapshot, and find out what harmed the copies");
}

static void name_sources(struct judge *g)
{
	const struct plan *p = g->j->plan;
	for (size_t i = 0; i < p->n_sources; i++)
		if (g->source[i] && judge_is_restored(p, p->sources[i].name))
			json_object_set_new(
			        g->source[i], "outcome", json_string(g->source_failed[i] ? "failed" : "restored"));
}

void judge_end(struct judge *g)
{
	struct err why = ERR_INIT;
	tell_rest(g);
	set_points(g);
	name_damage(g);
	name_sources(g);
	if (g->steps_failed || g->checks_failed || !g->ended) {
		err_set(&why, ERR_FAILED, "the recovery process ended before the runbook did");
		judge_fail(g, g->status ? g->status : 1, &why);
	}
	if (g->n_failed > 1 && !g->first.hint[0])
		err_hint(&g->first, "failed: %s", g->failed);
	if (g->sources && g->host_proofs == g->sources)
		result_add_str(g->res, RESULT_PROVEN_BY, "host");
	if (g->sources && g->other_proofs == g->sources)
		result_add_str(g->res, RESULT_PROVEN_BY, "other-sites");
	result_bytes(g->res, g->sources ? g->bytes : -1, g->sources ? g->bytes : -1);
}
