/* status: each source of a plan, its targets, what is overdue, and how its sites stand. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "ops/ops.h"
#include "ops/backlog.h"

/* Planted faults alone prove no recovery. */
static bool is_recovery(const json_t *result)
{
	return json_is_integer(json_object_get(json_object_get(result, "after_ms"), "service_back"));
}

/* When the newest good result of a kind ended, 0: none. */
static int64_t last_good(const struct job *j, const char *kind)
{
	CLEAN(json_release) json_t *o = job_newest_result(j, kind, str_eq(kind, "drill") ? is_recovery : NULL);
	const char *end = json_string_value(json_object_get(o, "finished"));
	int64_t t = 0;
	return end && clock_parse(end, &t) ? t : 0;
}

static void overdue_if(json_t *list, bool c, const char *what)
{
	if (c)
		json_array_append_new(list, json_string(what));
}

struct overview {
	int64_t now, last_drill, last_verify, worst_gap_ms;
	bool drill_overdue;
};

static int64_t allowed_age_ms(const struct job *j)
{
	const struct plan *p = j->plan;
	int64_t gap = -1;
	struct tz *tz = NULL;
	if (p->schedule && p->schedule->backup.text && !tz_load(p->time_zone, &tz, NULL)) {
		gap = cron_longest_gap_ms(&p->schedule->backup.rule, tz, clock_wall_ns());
		tz_free(tz);
	}
	int64_t grace = p->schedule && p->schedule->missed ? p->schedule->missed->grace_ms : 0;
	return MAX(p->targets->rpo_ms, gap < 0 ? 0 : gap + grace);
}

/* Has the last slot of any scheduled drill passed without a good drill behind it? */
static bool drill_overdue(const struct job *j, int64_t now, int64_t last)
{
	const struct plan *p = j->plan;
	struct tz *tz = NULL;
	bool late = false;
	if (!p->schedule || !p->schedule->n_drills || tz_load(p->time_zone, &tz, NULL))
		return false;
	for (size_t i = 0; i < p->schedule->n_drills; i++) {
		const struct plan_drill_slot *d = &p->schedule->drills[i];
		if (d->kind != PLAN_COMPONENT_RESTORE && d->kind != PLAN_FUNCTIONAL && d->kind != PLAN_FULL_SCALE)
			continue;
		int64_t gap = cron_longest_gap_ms(&d->cron.rule, tz, now);
		late |= !last || (gap > 0 && now - last > (gap + MAX(d->window_ms, 0)) * 1000000);
	}
	tz_free(tz);
	return late;
}

/* What is known of one site: how far it is behind, and whether it is what the plan says. */
static json_t *site_row(const struct job *j, const struct backlog *b, const struct session_site *site, const char *source, bool *ret_weak)
{
	struct backlog_row r = backlog_get(b, site->name, source);
	int64_t age = backlog_age_ms(b, site->name, source), when = 0;
	CLEAN(json_release) json_t *probe = site_last_probe(j, site->name, &when);
	bool weak = probe && site_weaknesses(plan_site(j->plan, site->name), probe) > 0;
	*ret_weak |= weak;
	json_t *o = json_pack("{s:s, s:o, s:o, s:I, s:o, s:b, s:o}", "name", site->name, "behind", r.behind < 0 ? json_null() : json_integer(r.behind), "behind_ms",
		age < 0 ? json_null() : json_integer(age), "newest_seq", (json_int_t)r.newest_seq, "newest", json_time(r.newest_ns), "reachable", site->store != NULL, "asked", json_time(r.asked_ns));
	json_object_set_new(o, "class", probe ? json_incref(json_object_get(probe, "class")) : json_null());
	json_object_set_new(o, "probed", json_time(when));
	json_object_set_new(o, "weak", json_boolean(weak));
	return o;
}

static bool source_row(const struct job *j, const struct plan_source *ps, const struct sites *sites, struct backlog *b, const struct overview *ov)
{
	CLEAN(json_release) json_t *o = json_pack("{s:s, s:s, s:{s:I, s:I}}", "plan", j->plan->name, "source", ps->name, "target", "rto_ms", (json_int_t)j->plan->targets->rto_ms, "rpo_ms",
		(json_int_t)j->plan->targets->rpo_ms);
	json_t *overdue = json_array(), *list = json_array();
	uint64_t top = 0;
	int64_t newest = 0;
	size_t copies = 0;
	bool weak = false;
	for (size_t i = 0; i < sites->n; i++) {
		struct backlog_row r = backlog_get(b, sites->site[i].name, ps->name);
		newest = MAX(newest, sites->site[i].store ? r.newest_ns : 0);
		top = MAX(top, sites->site[i].store ? r.newest_seq : 0);
	}
	for (size_t i = 0; i < sites->n; i++) {
		copies += top && sites->site[i].store && backlog_get(b, sites->site[i].name, ps->name).newest_seq == top;
		json_array_append_new(list, site_row(j, b, &sites->site[i], ps->name, &weak));
	}
	overdue_if(overdue, !top, "backup");
	overdue_if(overdue, top && newest && ov->now - newest > allowed_age_ms(j) * 1000000, "backup");
	overdue_if(overdue, top && (int64_t)copies < j->plan->copies->min, "copies");
	overdue_if(overdue, weak, "weak site");
	overdue_if(overdue, ov->drill_overdue, "drill");
	json_object_set_new(o, "last_backup", json_time(newest));
	json_object_set_new(o, "last_drill", json_time(ov->last_drill));
	json_object_set_new(o, "last_verify", json_time(ov->last_verify));
	json_object_set_new(o, "copies", json_integer((json_int_t)copies));
	json_object_set_new(o, "snapshots", json_integer((json_int_t)backlog_snapshots(b, ps->name)));
	json_object_set_new(o, "sites", list);
	bool ok = !json_array_size(overdue);
	json_object_set_new(o, "overdue", overdue);
	if (j->item)
		j->item(j->arg, o);
	return ok;
}

int job_status(const struct job *j, json_t **result, struct err *err)
{
	struct sites sites = {0};
	CLEAN(cfg_release) struct cfg cfg = {0};
	CLEAN(backlog_close) struct backlog *b = backlog_open(j);
	struct overview ov = {.now = clock_wall_ns(), .last_drill = last_good(j, "drill"), .last_verify = last_good(j, "verify")};
	bool ok = true;
	ov.drill_overdue = drill_overdue(j, ov.now, ov.last_drill);
	int rc = job_refuse(j, NEEDS_SITES, err);
	if (!rc)
		rc = sites_open(j, NULL, false, &sites, err);
	if (!rc)
		rc = sites_cfg_pinned(j, &sites, &cfg, err);
	for (size_t i = 0; !rc && i < j->plan->n_sources; i++) {
		struct err why = ERR_INIT; /* told when it was met */
		ok &= !backlog_survey(b, &sites, &cfg, j->plan->sources[i].name, &why);
		ok &= source_row(j, &j->plan->sources[i], &sites, b, &ov);
	}
	for (size_t i = 0; !rc && i < sites.n; i++)
		ok &= sites.site[i].store != NULL;
	sites_close(&sites);
	if (rc)
		return err_exit_status(err->code);
	*result = json_pack("{s:b}", "well", ok);
	if (!ok) {
		err_set(err, ERR_FAILED, "plan '%s' is not well: something is overdue, behind or unreachable", j->plan->name);
		err_hint(err, "the rows above say what");
		return 1;
	}
	return 0;
}
