/* drill: rehearse the recovery in a process that is cut off from the machine, and judge what it tells. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "ops/ops.h"
#include "drill/drill_judge.h"
#include "drill/rehearse.h"
#include "remote/remote_recovery.h"
#include "remote/remote_source.h"

#define NS_PER_MS 1000000

/* On the host that the plan names; its agent is started when it is first needed. */
static int carry_out_there(struct drill *d, const struct rehearsal *r, report_fn line, void *arg, struct rehearsal_end *ret, struct err *err)
{
	const struct plan_recovery_target *t = d->j->plan->recovery->target;
	int rc = d->remote ? 0 : remote_recovery_open(d->j, &(struct remote_host){t->host, t->identity, t->known_hosts}, &d->sites, &d->remote, err);
	return rc ? rc : remote_rehearse(d->remote, r, line, arg, ret, err);
}

/* planted: enum negative, or -1: the runbook. Returns what starting and listening met; *ret_status is the process' own. */
static int carry_out(struct drill *d, int planted, report_fn line, void *arg, int *ret_status, struct err *err)
{
	CLEAN(rehearsal_end_release) struct rehearsal_end e = REHEARSAL_END_INIT;
	const struct rehearsal r = {.j = d->j, .sites = &d->sites, .id = result_id(d->res), .site = d->o->site, .declared_ns = d->declared.wall_ns,
		.keep_work = d->o->keep_work, .planted = planted};
	bool there = host_is_remote(d->j->plan->recovery->target->host);
	int rc = there ? carry_out_there(d, &r, line, arg, &e, err) : rehearse(&r, line, arg, &e, err);
	d->processes += e.began;
	d->gone += e.gone;
	d->mounts_left += e.mounts_left;
	d->left = d->left || e.left;
	if (e.clean_err.code && !d->clean_err.code)
		d->clean_err = e.clean_err;
	if (e.work)
		json_array_append_new(d->works, report_text(e.work));
	*ret_status = e.status;
	return rc;
}

static void run_runbook(struct drill *d)
{
	struct err err = ERR_INIT;
	int status = 0;
	int rc = carry_out(d, -1, judge_line, &d->judge, &status, &err);
	if (!rc && !d->judge.ended && status > 0)
		rc = err_set(&err, ERR_FAILED, "the recovery process ended early with status %d", status);
	if (!rc && job_cancelled(d->j))
		rc = err_set(&err, ERR_CANCELLED, "the drill was stopped");
	if (rc)
		judge_fail(&d->judge, err_exit_status(err.code), &err);
	judge_end(&d->judge);
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
	struct negative_told t = {.kind = negative_name(kind)};
	struct err err = ERR_INIT;
	int64_t wall = clock_wall_ns(), boot = clock_boot_ns();
	int status = 0;
	int rc = carry_out(d, (int)kind, negative_line, &t, &status, &err);
	if (!rc && !t.told)
		rc = err_set(&err, ERR_FAILED, "the recovery process ended early with status %d", status);
	if (rc)
		snprintf(t.detail, sizeof t.detail, "%s", err.msg);
	bool passed = !rc && t.noticed;
	tell_negative(d, &t, wall, boot, passed ? "passed" : "failed");
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

static void hold(struct drill *d)
{
	judge_init(&d->judge, d->j, d->res);
	result_point(d->res, RESULT_DECLARED, d->declared.wall_ns, d->declared.boot_ns);
	if (d->o->deviation)
		result_add(d->res, RESULT_DEVIATIONS, report_text(d->o->deviation));
	if (d->runbook)
		run_runbook(d);
	run_negatives(d);
	drill_tell(d);
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
	        .body = drill_end_body(d)};
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
	int rc = drill_refuse(&d, err);
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
		hold(&d);
		status = finish(&d, result, err);
		judge_release(&d.judge);
	}
	remote_recovery_close(d.remote);
	drill_marker_close(&d.marker);
	sites_close(&d.sites);
	result_free(d.res);
	json_decref(d.works);
	return status;
}
