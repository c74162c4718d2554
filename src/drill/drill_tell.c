/* What the result of a drill says besides its steps and checks. */
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "drill/drill_judge.h"

#define NS_PER_MS 1000000

static bool has_rule(const json_t *rules, const char *rule)
{
	size_t i;
	json_t *v;
	json_array_foreach (rules, i, v) {
		if (str_eq(json_string_value(v), rule))
			return true;
	}
	return false;
}

static bool has_check(const struct plan_recovery *r, enum plan_check_kind kind)
{
	for (size_t i = 0; i < r->n_checks; i++)
		if (r->checks[i].kind == kind)
			return true;
	return false;
}

/* A requirement is touched when one of its rules is about something that was done here. */
static bool touches(const struct drill *d, const json_t *rules)
{
	const struct plan_recovery *r = d->j->plan->recovery;
	return (d->runbook && has_rule(rules, "drills")) || (d->runbook && r->n_checks && has_rule(rules, "checks")) ||
	       (d->negatives_ran && has_rule(rules, "negative-drills")) ||
	       (d->runbook && d->judge.isolated == ISOLATE_ALL && has_rule(rules, "isolation")) ||
	       (d->runbook && has_check(r, PLAN_CHECK_FRESHNESS) && has_rule(rules, "freshness")) ||
	       (d->runbook && has_check(r, PLAN_CHECK_COMPARE) && has_rule(rules, "reconciliation"));
}

static void tell_requirements(struct drill *d)
{
	struct plan_blob blob;
	for (size_t i = 0; plan_catalogue_at(i, &blob); i++) {
		CLEAN(json_release) json_t *o = NULL;
		bool wanted = false;
		size_t k;
		json_t *req;
		for (size_t n = 0; n < d->j->plan->requirements.n; n++)
			wanted = wanted || str_eq(d->j->plan->requirements.v[n], blob.name);
		if (!wanted || json_parse(blob.p, blob.n, blob.n, blob.name, &o, NULL))
			continue;
		json_array_foreach (json_object_get(o, "requirements"), k, req) {
			const char *id = json_string_value(json_object_get(req, "id"));
			char text[192];
			if (!id || !touches(d, json_object_get(req, "rules")))
				continue;
			snprintf(text, sizeof text, "%s:%s", blob.name, id);
			result_add_str(d->res, RESULT_REQUIREMENTS, text);
		}
	}
}

static void tell_sources_left_out(struct drill *d)
{
	const struct plan *p = d->j->plan;
	for (size_t i = 0; i < p->n_sources; i++) {
		char text[192];
		bool restored = false;
		for (size_t k = 0; k < p->recovery->n_steps; k++)
			restored = restored || str_eq(p->recovery->steps[k].restore, p->sources[i].name);
		if (restored)
			continue;
		snprintf(text, sizeof text, "that source '%s' can be restored: no step of the runbook does it",
		        p->sources[i].name);
		result_add_str(d->res, RESULT_NOT_SHOWN, text);
	}
}

static void tell_isolation(struct drill *d)
{
	const struct judge *g = &d->judge;
	if (!d->runbook)
		return;
	if (g->isolated != isolate_of(&d->j->plan->recovery->target->isolate))
		judge_finding(&d->judge, "major", "the rehearsal was not isolated as the plan wants it");
	if (!(g->isolated & ISOLATE_MOUNT))
		result_add_str(d->res, RESULT_NOT_SHOWN,
		        "that the steps left the machine's files alone: they were not cut off from them");
	else
		result_add_str(d->res, RESULT_NOT_SHOWN,
		        "that no socket of the machine could be reached: those named outside /run, /tmp and /dev stay "
		        "in sight");
	if (g->isolated & ISOLATE_NET)
		result_add_str(d->res, RESULT_NOT_SHOWN,
		        "that the service works with its network: the rehearsal had none but its own loopback");
	else
		result_add_str(d->res, RESULT_NOT_SHOWN,
		        "that nothing came from the running service: the network was not cut off");
}

static void tell_limits(struct drill *d)
{
	const struct plan_recovery *r = d->j->plan->recovery;
	static const char *const always[] = {
	        "a real loss: the clock began with the declaration, when everything was at hand",
	        "that users are led to the restored service",
	};
	bool there = host_is_remote(r->target->host);
	for (size_t i = 0; d->runbook && i < ARRAY_LEN(always); i++)
		result_add_str(d->res, RESULT_NOT_SHOWN, always[i]);
	if (d->runbook && !there)
		result_add_str(d->res, RESULT_NOT_SHOWN, "recovery on another machine: the rehearsal ran on the controller's own");
	if (there)
		result_extra(d->res, "recovery_host", json_string(r->target->host));
	if (!d->runbook)
		result_add_str(d->res, RESULT_NOT_SHOWN, "recovery itself: only planted faults were tried");
	else if (!r->n_checks)
		result_add_str(d->res, RESULT_NOT_SHOWN, "that the service works: the plan has no checks");
	if (d->runbook && !has_check(r, PLAN_CHECK_MANIFEST))
		result_add_str(d->res, RESULT_NOT_SHOWN,
		        "that every restored byte is as recorded: the plan has no manifest check");
	if (d->runbook && !d->negatives_ran)
		result_add_str(d->res, RESULT_NOT_SHOWN, "that this rehearsal can fail: no fault was planted");
	tell_isolation(d);
	if (d->runbook)
		tell_sources_left_out(d);
}

static void tell_cleanup(struct drill *d)
{
	bool proven = !d->o->keep_work && d->gone == d->processes && !d->mounts_left && !d->left;
	json_t *o = json_pack("{s:b, s:I, s:b}", "processes_gone", d->gone == d->processes, "mounts_left",
	        (json_int_t)d->mounts_left, "work_removed", !d->left && !d->o->keep_work);
	json_object_set_new(o, "proven", d->o->keep_work ? json_null() : json_boolean(proven));
	json_object_set_new(o, "error", d->clean_err.code ? report_text(d->clean_err.msg) : json_null());
	result_extra(d->res, "cleanup", o);
	if (json_array_size(d->works))
		result_extra(d->res, "work", json_incref(json_array_get(d->works, 0)));
	if (proven || d->o->keep_work)
		return;
	struct err why = d->clean_err;
	if (!why.code)
		err_set(&why, ERR_FAILED, "processes or mounts of the drill are left");
	err_wrap(&why, "clean-up is not proven");
	judge_finding(&d->judge, "major", "%s", why.msg);
	judge_fail(&d->judge, 1, &why);
}

static bool target_missed(const struct drill *d, const char *which)
{
	return json_is_false(json_object_get(json_object_get(result_json(d->res), which), "met"));
}

static void set_targets(struct drill *d)
{
	const struct plan_targets *t = d->j->plan->targets;
	const struct judge *g = &d->judge;
	int64_t age = g->oldest_ns ? (d->declared.wall_ns - g->oldest_ns) / NS_PER_MS : -1;
	result_rto_target(d->res, t->rto_ms);
	result_rpo(d->res, t->rpo_ms, age < 0 ? -1 : age, g->oldest_ns ? g->worst_ms : -1);
	result_finish(d->res, g->status ? "failed" : "done", g->status);
	if (target_missed(d, "rto") && !g->status)
		judge_finding(&d->judge, "major", "recovery took longer than the recovery time target");
	if (target_missed(d, "rpo") && age > t->rpo_ms)
		judge_finding(&d->judge, "major", "what was restored is older than the recovery point target");
}

json_t *drill_end_body(const struct drill *d)
{
	json_t *o = json_pack("{s:s*, s:I, s:I}", "scenario", d->o->scenario, "steps_failed",
	        (json_int_t)d->judge.steps_failed, "checks_failed", (json_int_t)d->judge.checks_failed);
	static const char *const keys[] = {"rto", "rpo"};
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		json_object_set(o, keys[i], json_object_get(result_json(d->res), keys[i]));
	return o;
}

void drill_tell(struct drill *d)
{
	tell_limits(d);
	tell_requirements(d);
	tell_cleanup(d);
	set_targets(d);
}
