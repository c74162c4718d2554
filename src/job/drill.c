/* drill: rehearse the recovery in a process that is cut off from the machine, and judge what it tells. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "job/drill_judge.h"

#define GRACE_MS 10000
#define NS_PER_MS 1000000

struct drill {
	const struct job *j;
	const struct job_drill_opts *o;
	struct sites sites;
	struct drill_marker marker;
	struct result *res;
	struct judge judge;
	struct judge_moment declared;
	bool runbook; /* carry out the runbook */
	bool planted[NEGATIVES];
	bool negatives_ran;
	size_t processes, gone, mounts_left;
	bool left; /* a work directory is still there that should not be */
	struct err clean_err;
	json_t *works; /* directories that were kept */
};

/* --- what to do --- */

static void plant_all(struct drill *d)
{
	const struct plan_drill *pd = d->j->plan->drill;
	enum negative kind;
	for (size_t i = 0; pd && i < pd->negative.n; i++)
		if (negative_parse(pd->negative.v[i], &kind))
			d->planted[kind] = true;
}

static const struct plan_drill_slot *slot_named(const struct plan *p, const char *name)
{
	for (size_t i = 0; p->schedule && i < p->schedule->n_drills; i++)
		if (str_eq(p->schedule->drills[i].name, name))
			return &p->schedule->drills[i];
	return NULL;
}

static int no_scenario(const struct drill *d, struct err *err)
{
	CLEAN(buf_release) struct buf names = BUF_INIT(64u << 10);
	const struct plan_schedule *s = d->j->plan->schedule;
	for (size_t i = 0; s && i < s->n_drills; i++)
		buf_addf(&names, "%s, ", s->drills[i].name);
	for (size_t i = 0; i < NEGATIVES; i++)
		buf_addf(&names, "%s%s", i ? ", " : "", negative_name((enum negative)i));
	err_set(err, ERR_USAGE, "the plan has no drill '%s'", d->o->scenario);
	return err_hint(err, "there are: %s", buf_str(&names));
}

static int choose_slot(struct drill *d, struct err *err)
{
	const struct plan_drill_slot *s = slot_named(d->j->plan, d->o->scenario);
	if (!s)
		return no_scenario(d, err);
	if (s->kind != PLAN_FUNCTIONAL && s->kind != PLAN_FULL_SCALE && s->kind != PLAN_COMPONENT_RESTORE) {
		err_set(err, ERR_UNSUPPORTED, "drill '%s' is a %s exercise: people hold it, no command can", s->name,
		        plan_exercise_name(s->kind));
		return err_hint(err, "'holdfast plan show' names the drills that are rehearsed");
	}
	d->runbook = true;
	return 0;
}

static int choose(struct drill *d, struct err *err)
{
	enum negative kind;
	const struct job_drill_opts *o = d->o;
	if (o->negative_only && o->no_negative)
		return err_set(err, ERR_USAGE, "only the planted faults, and none of them, leaves nothing to do");
	if (o->scenario && negative_parse(o->scenario, &kind)) {
		d->planted[kind] = true;
		return 0;
	}
	d->runbook = true;
	int rc = o->scenario ? choose_slot(d, err) : 0;
	if (rc)
		return rc;
	if (!o->no_negative)
		plant_all(d);
	if (!o->negative_only)
		return 0;
	d->runbook = false;
	if (d->j->plan->drill && d->j->plan->drill->negative.n)
		return 0;
	err_set(err, ERR_USAGE, "the plan names no planted faults");
	return err_hint(err, "add to the plan: drill: {negative: [corrupt-pack, wrong-key, stale-snapshot]}");
}

/* A rehearsal writes to its work directory, wherever a real recovery would. */
static int refuse_targets(const struct job *j, struct err *err)
{
	const struct plan_recovery *r = j->plan->recovery;
	for (size_t i = 0; i < r->n_steps; i++) {
		char key[64];
		const char *to = r->steps[i].to;
		if (!to || (str_starts(to, "${work}") && (!to[7] || to[7] == '/')))
			continue;
		snprintf(key, sizeof key, "recovery.steps[%zu].to", i);
		return plan_refuse(j->plan, key, "a rehearsal restores below ${work} only", err);
	}
	return 0;
}

/* Whether it is there is all that this process may know of the opening key. */
static int refuse_without_key(const struct job *j, struct err *err)
{
	CLEAN(free_ptr) char *path = path_opening_key(j);
	if (fs_exists(path))
		return 0;
	err_set(err, ERR_USAGE, "the opening key %s is not there", path);
	return err_hint(err, "put the recovery kit's key there for as long as it is needed");
}

static int refuse(struct drill *d, struct err *err)
{
	const struct job *j = d->j;
	int rc = job_refuse(j, NEEDS_SITES | NEEDS_OPENING | NEEDS_RECOVERY | NEEDS_DRILL_APPROVAL, err);
	if (!rc && j->dry_run)
		rc = err_set(err, ERR_USAGE, "a drill cannot be tried without being carried out");
	if (!rc)
		rc = choose(d, err);
	if (!rc)
		rc = refuse_targets(j, err);
	if (!rc)
		rc = refuse_without_key(j, err);
	return rc;
}

/* --- work directories --- */

static int make_work(struct drill *d, const char *suffix, char **ret, struct err *err)
{
	CLEAN(free_ptr) char *path = drill_work_path(d->j, result_id(d->res), suffix);
	int rc = fs_mkdirs(d->j->root->work, 0700, err);
	if (rc)
		return rc;
	if (mkdir(path, 0700))
		return err_sys(err, ERR_IO, "make %s", path);
	*ret = realpath(path, NULL);
	return *ret ? 0 : err_sys(err, ERR_IO, "find %s", path);
}

static void leave_work(struct drill *d, const char *work)
{
	struct drill_cleanup c = {.removed = true};
	if (d->o->keep_work) {
		json_array_append_new(d->works, report_text(work));
		return;
	}
	drill_clean(work, &c);
	d->mounts_left += c.mounts_left;
	d->left = d->left || !c.removed;
	if (c.err.code && !d->clean_err.code)
		d->clean_err = c.err;
}

/* Run fn isolated, listen to its end, prove that it is gone. Returns what listening met; *ret_status is the process'.
 */
static int in_isolation(struct drill *d, void (*fn)(struct isolated_self *, void *), void *arg, report_fn line,
        void *line_arg, int *ret_status, struct err *err)
{
	struct isolated p;
	int rc = isolated_start(isolate_of(&d->j->plan->recovery->target->isolate), fn, arg, &p, err);
	d->processes++;
	if (!rc)
		rc = report_listen(&p, d->j->cancel, line, line_arg, err);
	*ret_status = isolated_end(&p, rc ? 0 : GRACE_MS);
	d->gone += *ret_status >= 0;
	return rc;
}

static void run_runbook(struct drill *d)
{
	CLEAN(free_ptr) char *work = NULL;
	struct err err = ERR_INIT;
	int status = 0;
	int rc = make_work(d, NULL, &work, &err);
	struct drill_run run = {.j = d->j, .site = d->o->site, .work = work, .declared_ns = d->declared.wall_ns};
	if (!rc)
		rc = in_isolation(d, runbook_process, &run, judge_line, &d->judge, &status, &err);
	if (!rc && !d->judge.ended && status > 0)
		rc = err_set(&err, ERR_FAILED, "the recovery process ended early with status %d", status);
	if (!rc && job_cancelled(d->j))
		rc = err_set(&err, ERR_CANCELLED, "the drill was stopped");
	if (rc)
		judge_fail(&d->judge, err_exit_status(err.code), &err);
	judge_end(&d->judge);
	if (work)
		leave_work(d, work);
}

/* --- planted faults --- */

struct negative_told {
	const char *kind;
	bool told, noticed;
	char detail[700];
};

static int negative_line(void *arg, const json_t *line, struct err *err)
{
	struct negative_told *t = arg;
	const char *kind;
	int rc = json_get_str(line, "kind", "report of the recovery process", &kind, err);
	if (!rc && !str_eq(kind, t->kind))
		rc = err_set(err, ERR_FORMAT, "the recovery process tells of another planted fault");
	if (!rc)
		rc = json_get_bool(line, "noticed", "report of the recovery process", &t->noticed, err);
	if (rc)
		return rc;
	const char *detail = json_string_value(json_object_get(line, "detail"));
	snprintf(t->detail, sizeof t->detail, "%s", detail ? detail : "");
	t->told = true;
	return 0;
}

static void tell_negative(
        struct drill *d, const struct negative_told *t, int64_t wall, int64_t boot, const char *outcome)
{
	char id[64];
	snprintf(id, sizeof id, "negative:%s", t->kind);
	result_check(d->res, &(struct result_check){.id = id,
	                             .kind = "negative",
	                             .start_wall_ns = wall,
	                             .duration_ms = wall ? (clock_boot_ns() - boot) / NS_PER_MS : -1,
	                             .outcome = outcome,
	                             .detail = t->detail,
	                             .checked = -1,
	                             .total = -1});
}

static void run_negative(struct drill *d, enum negative kind)
{
	CLEAN(free_ptr) char *work = NULL;
	struct negative_told t = {.kind = negative_name(kind)};
	struct err err = ERR_INIT;
	int64_t wall = clock_wall_ns(), boot = clock_boot_ns();
	int status = 0;
	int rc = make_work(d, t.kind, &work, &err);
	struct negative_process p = {
	        .kind = kind, .d = {.j = d->j, .site = d->o->site, .work = work, .declared_ns = d->declared.wall_ns}};
	if (!rc)
		rc = in_isolation(d, negative_process, &p, negative_line, &t, &status, &err);
	if (!rc && !t.told)
		rc = err_set(&err, ERR_FAILED, "the recovery process ended early with status %d", status);
	if (rc)
		snprintf(t.detail, sizeof t.detail, "%s", err.msg);
	bool passed = !rc && t.noticed;
	tell_negative(d, &t, wall, boot, passed ? "passed" : "failed");
	if (work)
		leave_work(d, work);
	d->negatives_ran = true;
	if (passed)
		return;
	judge_finding(&d->judge, "critical", "a planted fault went unnoticed: %s: %s", t.kind, t.detail);
	if (!rc)
		err_set(&err, ERR_FAILED, "planted fault '%s' went unnoticed: %.300s", t.kind, t.detail);
	judge_fail(&d->judge, 1, &err);
}

static void run_negatives(struct drill *d)
{
	for (size_t i = 0; i < NEGATIVES; i++) {
		enum negative kind = (enum negative)i;
		struct negative_told t = {.kind = negative_name(kind)};
		if (!d->planted[i])
			continue;
		if (!d->judge.status && !job_cancelled(d->j)) {
			run_negative(d, kind);
			continue;
		}
		snprintf(t.detail, sizeof t.detail, "not planted: the drill had failed before");
		tell_negative(d, &t, 0, 0, "skipped");
	}
}

/* --- what the result says besides --- */

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
	        "recovery on another machine: the rehearsal ran on the controller's own",
	        "that users are led to the restored service",
	};
	for (size_t i = 0; d->runbook && i < ARRAY_LEN(always); i++)
		result_add_str(d->res, RESULT_NOT_SHOWN, always[i]);
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

static json_t *end_body(const struct drill *d)
{
	json_t *o = json_pack("{s:s*, s:I, s:I}", "scenario", d->o->scenario, "steps_failed",
	        (json_int_t)d->judge.steps_failed, "checks_failed", (json_int_t)d->judge.checks_failed);
	static const char *const keys[] = {"rto", "rpo"};
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		json_object_set(o, keys[i], json_object_get(result_json(d->res), keys[i]));
	return o;
}

/* --- the whole --- */

static int record_start(struct drill *d, struct err *err)
{
	CLEAN(json_release)
	json_t *body = json_pack("{s:s, s:s, s:s*, s:b}", "plan", d->j->plan->name, "result", result_id(d->res),
	        "scenario", d->o->scenario, "runbook", d->runbook);
	struct evidence_subject sub = {.name = "plan"};
	memcpy(sub.sha256, d->j->plan->digest, SHA256_LEN);
	json_object_set_new(body, "declared", json_time(d->declared.wall_ns));
	struct evidence_event ev = {.subjects = &sub, .n_subjects = 1, .body = body};
	return job_event(d->j, "drill-start", &ev, &d->sites, err);
}

static int begin(struct drill *d, struct err *err)
{
	CLEAN(cfg_release) struct cfg cfg = {0};
	struct err why = ERR_INIT;
	int rc = sites_open(d->j, NULL, false, &d->sites, err);
	if (rc)
		return rc;
	/* a place that is not this repository gets no log; that all of them are lost is for the rehearsal to say */
	if (sites_cfg_pinned(d->j, &d->sites, &cfg, &why))
		log_msg(LOG_WARN, "%s", why.msg);
	rc = drill_marker_recover(&d->marker, d->j, &d->sites, err);
	if (!rc)
		rc = drill_marker_write(&d->marker, d->j, result_id(d->res), d->declared.wall_ns, d->o->scenario, err);
	if (!rc)
		rc = record_start(d, err);
	return rc;
}

static void rehearse(struct drill *d)
{
	judge_init(&d->judge, d->j, d->res);
	result_point(d->res, RESULT_DECLARED, d->declared.wall_ns, d->declared.boot_ns);
	if (d->o->deviation)
		result_add(d->res, RESULT_DEVIATIONS, report_text(d->o->deviation));
	if (d->runbook)
		run_runbook(d);
	run_negatives(d);
	tell_limits(d);
	tell_requirements(d);
	tell_cleanup(d);
	set_targets(d);
}

static int finish(struct drill *d, json_t **result, struct err *err)
{
	struct judge *g = &d->judge;
	struct err why = ERR_INIT;
	*err = g->first;
	struct job_end e = {.result = d->res,
	        .outcome = g->status ? "failed" : "done",
	        .status = g->status,
	        .err = g->status ? err : NULL,
	        .sites = &d->sites,
	        .subjects = g->subject,
	        .n_subjects = g->n_subjects,
	        .body = end_body(d)};
	int status = job_finish(d->j, &e, result, err);
	if (drill_marker_remove(&d->marker, &why))
		log_msg(LOG_WARN, "%s", why.msg);
	return status;
}

/* It never began, but that it was wanted is told. */
static int finish_unbegun(struct drill *d, json_t **result, struct err *err)
{
	int status = err_exit_status(err->code);
	struct job_end e = {.result = d->res,
	        .outcome = err->code == ERR_BUSY ? "refused" : "failed",
	        .status = status,
	        .err = err,
	        .sites = &d->sites};
	result_point(d->res, RESULT_DECLARED, d->declared.wall_ns, d->declared.boot_ns);
	return job_finish(d->j, &e, result, err);
}

int job_drill(const struct job *j, const struct job_drill_opts *o, json_t **result, struct err *err)
{
	struct drill d = {.j = j, .o = o, .marker = DRILL_MARKER_INIT, .works = json_array()};
	int status;
	int rc = refuse(&d, err);
	if (!rc && o->site && !plan_site(j->plan, o->site)) {
		struct sites none;
		rc = sites_open(j, o->site, false, &none, err); /* which says what sites there are */
	}
	if (rc) {
		json_decref(d.works);
		return err_exit_status(err->code);
	}
	d.declared = (struct judge_moment){.wall_ns = clock_wall_ns(), .boot_ns = clock_boot_ns()};
	d.res = job_result(j, "drill", o->scenario);
	rc = drill_marker_open(j, &d.marker, err);
	if (!rc)
		rc = begin(&d, err);
	if (rc) {
		status = finish_unbegun(&d, result, err);
	} else {
		rehearse(&d);
		status = finish(&d, result, err);
		judge_release(&d.judge);
	}
	drill_marker_close(&d.marker);
	sites_close(&d.sites);
	result_free(d.res);
	json_decref(d.works);
	return status;
}
