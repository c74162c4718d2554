/* Which drill is meant, and what is refused before it begins. */
#include <stdio.h>
#include <string.h>
#include "base/fs.h"
#include "base/str.h"
#include "drill/drill_judge.h"

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

int drill_refuse_targets(const struct job *j, struct err *err)
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

int drill_needs_key(const struct job *j, struct err *err)
{
	CLEAN(free_ptr) char *path = path_opening_key(j);
	if (fs_exists(path))
		return 0;
	err_set(err, ERR_USAGE, "the opening key %s is not there", path);
	return err_hint(err, "put the recovery kit's key there for as long as it is needed");
}

int drill_refuse(struct drill *d, struct err *err)
{
	const struct job *j = d->j;
	int rc = job_refuse(j, NEEDS_SITES | NEEDS_OPENING | NEEDS_RECOVERY | NEEDS_DRILL_APPROVAL, err);
	if (!rc && j->dry_run)
		rc = err_set(err, ERR_USAGE, "a drill cannot be tried without being carried out");
	if (!rc)
		rc = choose(d, err);
	if (!rc)
		rc = drill_refuse_targets(j, err);
	if (!rc && !host_is_remote(j->plan->recovery->target->host))
		rc = drill_needs_key(j, err);
	return rc;
}
