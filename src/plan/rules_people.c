#include "plan/internal.h"

#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

/* Rules about people and rehearsals: who decides, who stands in, what is exercised and how. */

#define YEAR_MS (366ll * 86400 * 1000)

static void rule_title(const struct lint *l, struct plan_finding *f)
{
	judge(l, f, l->p->title ? PLAN_MET : PLAN_NOT_MET, "title", "%s",
	        l->p->title ? l->p->title : "no title says what the plan is for");
}

static void rule_owner(const struct lint *l, struct plan_finding *f)
{
	const struct plan_owner *o = l->p->owner;
	bool ok = o && o->contact;
	judge(l, f, ok ? PLAN_MET : PLAN_NOT_MET, "owner", "%s",
	        ok  ? o->name
	        : o ? "the owner has no contact"
	            : "no owner");
}

static void rule_deputies(const struct lint *l, struct plan_finding *f)
{
	size_t n = l->p->owner ? l->p->owner->deputies.n : 0;
	judge(l, f, n ? PLAN_MET : PLAN_NOT_MET, "owner", "%zu deput%s", n, n == 1 ? "y" : "ies");
}

static void rule_review(const struct lint *l, struct plan_finding *f)
{
	const struct plan_review *r = l->p->review;
	char due[CLOCK_TEXT];
	if (!r) {
		judge(l, f, PLAN_NOT_MET, "review", "no date of review");
		return;
	}
	clock_rfc3339(due, r->due_ns);
	due[10] = '\0';
	if (!l->f || l->f->now_ns <= 0)
		judge(l, f, PLAN_UNKNOWN, "review", "due on %s", due);
	else if (r->due_ns < l->f->now_ns)
		judge(l, f, PLAN_NOT_MET, "review", "overdue since %s", due);
	else
		judge(l, f, PLAN_MET, "review", "due on %s", due);
}

static void rule_activation(const struct lint *l, struct plan_finding *f)
{
	const struct plan_activation *a = l->p->activation;
	if (a && a->when.n && a->deactivation.n)
		judge(l, f, PLAN_MET, "activation", "conditions to begin and to end are stated");
	else
		judge(l, f, PLAN_NOT_MET, "activation", "%s",
		        a ? "conditions to begin and to end are not both stated" : "no activation");
}

static void rule_approvals(const struct lint *l, struct plan_finding *f)
{
	const struct plan_approval *a = l->p->approvals ? l->p->approvals->restore : NULL;
	if (a)
		judge(l, f, PLAN_MET, "approvals.restore", "a restore needs %lld other than who asks",
		        (long long)a->quorum);
	else
		judge(l, f, PLAN_NOT_MET, "approvals", "a restore needs no approval");
}

static void rule_prune_approvals(const struct lint *l, struct plan_finding *f)
{
	const struct plan_approval *a = l->p->approvals ? l->p->approvals->prune : NULL;
	char wait[32];
	bool ok = a && a->quorum >= 2 && a->cooling_off_ms > 0;
	if (a)
		judge(l, f, ok ? PLAN_MET : PLAN_NOT_MET, "approvals.prune",
		        "removal needs %lld and waits for %s; two and a wait are wanted", (long long)a->quorum,
		        duration_text(wait, a->cooling_off_ms));
	else
		judge(l, f, PLAN_NOT_MET, "approvals", "removal needs no approval");
}

static void rule_recovery_order(const struct lint *l, struct plan_finding *f)
{
	const struct plan_recovery *r = l->p->recovery;
	if (!r) {
		judge(l, f, PLAN_NOT_MET, "recovery", "no recovery steps");
		return;
	}
	for (size_t i = 0; i < l->p->n_sources; i++) {
		bool restored = false;
		for (size_t k = 0; k < r->n_steps; k++)
			restored = restored || str_eq(r->steps[k].restore, l->p->sources[i].name);
		if (!restored) {
			judge(l, f, PLAN_NOT_MET, "recovery.steps", "no step restores source '%s'",
			        l->p->sources[i].name);
			return;
		}
	}
	judge(l, f, PLAN_MET, "recovery.steps", "%zu step%s in order, every source restored", r->n_steps,
	        r->n_steps == 1 ? "" : "s");
}

static size_t count_checks(const struct plan *p, enum plan_check_kind kind)
{
	size_t n = 0;
	for (size_t i = 0; p->recovery && i < p->recovery->n_checks; i++)
		n += p->recovery->checks[i].kind == kind;
	return n;
}

static void rule_checks(const struct lint *l, struct plan_finding *f)
{
	size_t bytes = count_checks(l->p, PLAN_CHECK_MANIFEST);
	size_t service = count_checks(l->p, PLAN_CHECK_COMMAND) + count_checks(l->p, PLAN_CHECK_HTTP) +
	                 count_checks(l->p, PLAN_CHECK_TCP);
	judge(l, f, service ? PLAN_MET : PLAN_NOT_MET, l->p->recovery ? "recovery.checks" : "recovery",
	        "%zu of bytes, %zu of the service%s", bytes, service,
	        service ? "" : ": right bytes do not show that the service runs");
}

static void rule_freshness(const struct lint *l, struct plan_finding *f)
{
	bool ok = count_checks(l->p, PLAN_CHECK_FRESHNESS) > 0;
	judge(l, f, ok ? PLAN_MET : PLAN_NOT_MET, l->p->recovery ? "recovery.checks" : "recovery", "%s",
	        ok ? "an old snapshot fails a rehearsal" : "a rehearsal from an old snapshot would pass");
}

static void rule_reconciliation(const struct lint *l, struct plan_finding *f)
{
	if (count_checks(l->p, PLAN_CHECK_COMPARE))
		judge(l, f, PLAN_MET, "recovery.checks", "data sets are compared with each other");
	else if (l->p->n_sources < 2)
		judge(l, f, PLAN_NOT_APPLICABLE, NULL, "there is one data set");
	else
		judge(l, f, PLAN_NOT_MET, l->p->recovery ? "recovery.checks" : "recovery",
		        "no check compares data sets with each other");
}

static void rule_isolation(const struct lint *l, struct plan_finding *f)
{
	const struct plan_recovery *r = l->p->recovery;
	bool net = false;
	for (size_t i = 0; r && i < r->target->isolate.n; i++)
		net = net || str_eq(r->target->isolate.v[i], "net");
	if (net)
		judge(l, f, PLAN_MET, "recovery.target", "rehearsals are cut off from the network");
	else
		judge(l, f, PLAN_NOT_MET, r ? "recovery.target" : "recovery",
		        "rehearsals are not cut off from the network");
}

/* Shortest of the longest gaps between exercises of kinds in a mask; -1 when there is none. */
static int64_t exercise_gap(const struct lint *l, unsigned kinds)
{
	CLEAN(tz_free_ptr) struct tz *tz = NULL;
	int64_t best = -1, from = l->f && l->f->now_ns > 0 ? l->f->now_ns : 1767225600000000000;
	if (!l->p->schedule || tz_load(l->p->time_zone, &tz, NULL))
		return -1;
	for (size_t i = 0; i < l->p->schedule->n_drills; i++) {
		const struct plan_drill_slot *d = &l->p->schedule->drills[i];
		int64_t gap = kinds >> d->kind & 1 ? cron_longest_gap_ms(&d->cron.rule, tz, from) : -1;
		if (gap >= 0 && (best < 0 || gap < best))
			best = gap;
	}
	return best;
}

static void judge_exercise(const struct lint *l, struct plan_finding *f, unsigned kinds, const char *what)
{
	int64_t gap = exercise_gap(l, kinds);
	char text[32];
	if (gap < 0)
		judge(l, f, PLAN_NOT_MET, "schedule.drills", "no %s is scheduled", what);
	else
		judge(l, f, gap <= YEAR_MS ? PLAN_MET : PLAN_NOT_MET, "schedule.drills", "a %s every %s at the latest",
		        what, str_human_duration(text, gap));
}

static void rule_drills(const struct lint *l, struct plan_finding *f)
{
	judge_exercise(l, f,
	        1u << PLAN_COMPONENT_RESTORE | 1u << PLAN_FUNCTIONAL | 1u << PLAN_FULL_SCALE | 1u << PLAN_SWITCHOVER,
	        "recovery rehearsal");
}

static void rule_switchover(const struct lint *l, struct plan_finding *f)
{
	judge_exercise(l, f, 1u << PLAN_SWITCHOVER | 1u << PLAN_FULL_SCALE, "switchover exercise");
}

static void rule_crisis_drill(const struct lint *l, struct plan_finding *f)
{
	judge_exercise(l, f, 1u << PLAN_TABLETOP | 1u << PLAN_CALL_TREE | 1u << PLAN_FULL_SCALE, "crisis exercise");
}

static void rule_negative_drills(const struct lint *l, struct plan_finding *f)
{
	size_t n = l->p->drill ? l->p->drill->negative.n : 0;
	judge(l, f, n ? PLAN_MET : PLAN_NOT_MET, "drill", "%zu planted fault%s that must make a rehearsal fail", n,
	        n == 1 ? "" : "s");
}

static void rule_crisis(const struct lint *l, struct plan_finding *f)
{
	size_t n = l->p->crisis ? l->p->crisis->n_roles : 0;
	judge(l, f, n ? PLAN_MET : PLAN_NOT_MET, "crisis", "%zu crisis role%s", n, n == 1 ? "" : "s");
}

static void rule_contacts(const struct lint *l, struct plan_finding *f)
{
	size_t n = l->p->crisis ? l->p->crisis->n_contacts : 0;
	for (size_t i = 0; l->p->crisis && i < l->p->crisis->n_roles; i++)
		n += l->p->crisis->roles[i].contact != NULL;
	judge(l, f, n ? PLAN_MET : PLAN_NOT_MET, "crisis", "%zu crisis contact%s", n, n == 1 ? "" : "s");
}

static void rule_authorities(const struct lint *l, struct plan_finding *f)
{
	size_t n = l->p->crisis ? l->p->crisis->n_authorities : 0;
	judge(l, f, n ? PLAN_MET : PLAN_NOT_MET, "crisis", "%zu authorit%s to tell, with deadlines", n,
	        n == 1 ? "y" : "ies");
}

static void rule_notify(const struct lint *l, struct plan_finding *f)
{
	const struct plan_notify *n = l->p->notify;
	bool someone = n && (n->email.n || n->webhook.n), failure = false;
	for (size_t i = 0; n && i < n->on.n; i++)
		failure = failure || str_eq(n->on.v[i], "failure");
	judge(l, f, someone && failure ? PLAN_MET : PLAN_NOT_MET, "notify", "%s",
	        someone && failure ? "failures are told" : "nobody is told of failures");
}

static void rule_records(const struct lint *l, struct plan_finding *f)
{
	judge(l, f, PLAN_UNKNOWN, NULL, "a plan cannot show this: the evidence log and the results do");
}

const struct lint_rule *lint_rules_people(size_t *ret_n)
{
	static const struct lint_rule rules[] = {
	        {"title", "The plan says what it is for", rule_title},
	        {"owner", "Someone answers for the plan", rule_owner},
	        {"deputies", "Someone stands in", rule_deputies},
	        {"review", "The plan is reviewed in time", rule_review},
	        {"activation", "It is said when the plan is in force", rule_activation},
	        {"approvals", "Restoring needs an approval", rule_approvals},
	        {"prune-approvals", "Removing copies needs two and a wait", rule_prune_approvals},
	        {"recovery-order", "The order of recovery is stated", rule_recovery_order},
	        {"checks", "A rehearsal checks the service, not bytes alone", rule_checks},
	        {"freshness", "A rehearsal notices an old snapshot", rule_freshness},
	        {"reconciliation", "Data sets are compared with each other", rule_reconciliation},
	        {"isolation", "Rehearsals cannot touch the running service", rule_isolation},
	        {"drills", "Recovery is rehearsed at least yearly", rule_drills},
	        {"switchover", "Switching over is exercised", rule_switchover},
	        {"crisis-drill", "The crisis process is exercised", rule_crisis_drill},
	        {"negative-drills", "Rehearsals are shown to be able to fail", rule_negative_drills},
	        {"crisis", "Crisis roles are filled", rule_crisis},
	        {"contacts", "People can be reached in a crisis", rule_contacts},
	        {"authorities", "Authorities are told in time", rule_authorities},
	        {"notify", "Failures are told", rule_notify},
	        {"records", "Shown by records", rule_records},
	};
	*ret_n = ARRAY_LEN(rules);
	return rules;
}
