#include "plan/internal.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

/* Rules about copies: where they are, how fresh, how long they stay, whether they can be restored in time. */

#define SOME_DAY_NS 1767225600000000000 /* 2026-01-01: for gaps of calendars when no date is known */

static int64_t now_or(const struct lint *l, int64_t otherwise)
{
	return l->f && l->f->now_ns > 0 ? l->f->now_ns : otherwise;
}

static int64_t longest_gap(const struct lint *l, const struct plan_cron *c)
{
	CLEAN(tz_free_ptr) struct tz *tz = NULL;
	if (!c->text || tz_load(l->p->time_zone, &tz, NULL))
		return -1;
	return cron_longest_gap_ms(&c->rule, tz, now_or(l, SOME_DAY_NS));
}

static const struct plan_policy *policy(const struct lint *l)
{
	for (size_t i = 0; i < l->p->n_policies; i++) {
		if (str_eq(l->p->policies[i].class_name, l->p->classification))
			return &l->p->policies[i];
	}
	return NULL;
}

static void rule_targets(const struct lint *l, struct plan_finding *f)
{
	const struct plan_targets *t = l->p->targets;
	char rto[32], rpo[32], mtpd[32];
	duration_text(rto, t->rto_ms);
	duration_text(rpo, t->rpo_ms);
	if (t->mtpd_ms < 0)
		judge(l, f, PLAN_NOT_MET, "targets", "rto %s, rpo %s; the longest bearable outage (mtpd) is not stated",
		        rto, rpo);
	else
		judge(l, f, PLAN_MET, "targets", "rto %s, rpo %s, mtpd %s", rto, rpo, duration_text(mtpd, t->mtpd_ms));
}

static void rule_schedule(const struct lint *l, struct plan_finding *f)
{
	const struct plan_schedule *s = l->p->schedule;
	if (s && s->backup.text)
		judge(l, f, PLAN_MET, "schedule.backup", "copies are made at %s", s->backup.text);
	else
		judge(l, f, PLAN_NOT_MET, "schedule", "no schedule.backup");
}

static void rule_rpo(const struct lint *l, struct plan_finding *f)
{
	char gap_text[32], rpo[32];
	int64_t gap = l->p->schedule ? longest_gap(l, &l->p->schedule->backup) : -1;
	duration_text(rpo, l->p->targets->rpo_ms);
	bool follows = false;
	for (size_t i = 0; i < l->p->n_sources; i++)
		follows = follows || l->p->sources[i].follow;
	if (gap < 0) {
		judge(l, f, PLAN_NOT_MET, "schedule", "no schedule of backups, the rpo is %s", rpo);
		return;
	}
	duration_text(gap_text, gap);
	if (gap < l->p->targets->rpo_ms)
		judge(l, f, PLAN_MET, "schedule.backup", "at most %s between backups, the rpo is %s", gap_text, rpo);
	else if (follows)
		judge(l, f, PLAN_UNKNOWN, "schedule.backup",
		        "up to %s between backups, the rpo is %s; a followed source has to close the gap", gap_text,
		        rpo);
	else
		judge(l, f, PLAN_NOT_MET, "schedule.backup",
		        "up to %s between backups, and the time each takes, against an rpo of %s", gap_text, rpo);
}

static void rule_copies(const struct lint *l, struct plan_finding *f)
{
	int64_t want = MAX(l->p->copies->min, (int64_t)2);
	bool enough = (int64_t)l->p->n_sites >= want;
	judge(l, f, enough ? PLAN_MET : PLAN_NOT_MET, "sites", "%zu site%s, %lld wanted", l->p->n_sites,
	        l->p->n_sites == 1 ? "" : "s", (long long)want);
}

static void rule_zone(const struct lint *l, struct plan_finding *f)
{
	const struct plan *p = l->p;
	const char *zone = p->service ? p->service->zone : NULL;
	if (!zone) {
		judge(l, f, PLAN_NOT_MET, "service", "the service's network zone is not stated");
		return;
	}
	for (size_t i = 0; i < p->n_sites; i++) {
		if (p->sites[i].zone && !str_eq(p->sites[i].zone, zone)) {
			judge(l, f, PLAN_MET, "sites", "site '%s' is in zone %s, the service in %s", p->sites[i].name,
			        p->sites[i].zone, zone);
			return;
		}
	}
	judge(l, f, PLAN_NOT_MET, "sites", "no site is stated to be in a zone other than the service's, %s", zone);
}

static void rule_distance(const struct lint *l, struct plan_finding *f)
{
	const struct plan *p = l->p;
	const struct plan_geo *home = p->service ? p->service->location : NULL;
	if (p->copies->min_distance_km < 0 || !home) {
		judge(l, f, PLAN_NOT_MET, home ? "copies" : "service", "%s",
		        home ? "no copies.min_distance_km" : "no service.location");
		return;
	}
	double best = -1;
	const struct plan_site *far = NULL;
	for (size_t i = 0; i < p->n_sites; i++) {
		double km = p->sites[i].location ? plan_distance_km(home, p->sites[i].location) : -1;
		if (km > best) {
			best = km;
			far = &p->sites[i];
		}
	}
	if (!far)
		judge(l, f, PLAN_NOT_MET, "sites", "no site has a location");
	else
		judge(l, f, best >= (double)p->copies->min_distance_km ? PLAN_MET : PLAN_NOT_MET,
		        "copies.min_distance_km", "site '%s' is %.0f km away, %lld wanted", far->name, best,
		        (long long)p->copies->min_distance_km);
}

static void rule_rto_feasible(const struct lint *l, struct plan_finding *f)
{
	uint64_t rate = 0;
	bool unlimited = false;
	for (size_t i = 0; i < l->p->n_sites; i++) {
		const struct plan_bandwidth *b = l->p->sites[i].bandwidth;
		if (b && b->limit > rate)
			rate = b->limit;
		unlimited = unlimited || !b || !b->limit;
	}
	uint64_t bytes = l->f ? l->f->data_bytes : UINT64_MAX;
	char size[32], need[32], rto[32];
	duration_text(rto, l->p->targets->rto_ms);
	if (rate == 0 || bytes == UINT64_MAX) {
		judge(l, f, PLAN_UNKNOWN, "targets.rto", "%s",
		        rate ? "the size of the data is not known yet" : "no site declares a bandwidth");
		return;
	}
	uint64_t seconds = bytes / rate;
	int64_t ms = seconds > INT64_MAX / 1000 ? INT64_MAX : (int64_t)seconds * 1000;
	str_human_size(size, bytes);
	str_human_duration(need, ms);
	enum plan_verdict v = ms <= l->p->targets->rto_ms ? PLAN_MET : unlimited ? PLAN_UNKNOWN : PLAN_NOT_MET;
	judge(l, f, v, "targets.rto", "%s take %s at the declared bandwidth, the rto is %s%s", size, need, rto,
	        v == PLAN_UNKNOWN ? "; a site without a declared bandwidth may be faster" : "");
}

static void rule_retention(const struct lint *l, struct plan_finding *f)
{
	const struct plan_retention *r = l->p->retention;
	char min[32];
	if (!r || (r->min_ms == 0 && !r->keep))
		judge(l, f, PLAN_NOT_MET, "retention", "no retention is stated: everything is kept");
	else
		judge(l, f, PLAN_MET, "retention", "nothing younger than %s is removed", duration_text(min, r->min_ms));
}

/* As probed; as declared where nobody looked. */
static int64_t immutable_of(const struct lint *l, size_t site)
{
	int64_t probed = l->f && l->f->probed_immutable_ms ? l->f->probed_immutable_ms[site] : -1;
	return probed >= 0 ? probed : l->p->sites[site].immutable_ms;
}

static void rule_retention_lock(const struct lint *l, struct plan_finding *f)
{
	const struct plan *p = l->p;
	int64_t need = p->retention ? p->retention->min_ms : 0;
	const struct plan_site *declared = NULL, *proven = NULL, *broken = NULL;
	for (size_t i = 0; i < p->n_sites; i++) {
		const struct plan_site *s = &p->sites[i];
		int64_t probed = l->f && l->f->probed_immutable_ms ? l->f->probed_immutable_ms[i] : -1;
		if (s->immutable_ms >= 0 && probed >= 0 && probed < s->immutable_ms)
			broken = s;
		if (probed > 0 && probed >= need)
			proven = s;
		else if (probed < 0 && s->immutable_ms > 0 && s->immutable_ms >= need)
			declared = s;
	}
	char text[32];
	duration_text(text, need);
	if (broken)
		judge(l, f, PLAN_NOT_MET, "sites", "site '%s' does not lock objects as long as the plan says",
		        broken->name);
	else if (proven)
		judge(l, f, PLAN_MET, "sites", "site '%s' locks objects for the least retention, %s, or longer",
		        proven->name, text);
	else if (declared)
		judge(l, f, PLAN_UNKNOWN, "sites", "site '%s' is declared to lock objects; it has not been probed",
		        declared->name);
	else
		judge(l, f, PLAN_NOT_MET, "sites", "no site locks objects for the least retention, %s", text);
}

static void rule_verify(const struct lint *l, struct plan_finding *f)
{
	const struct plan_verify *v = l->p->schedule ? l->p->schedule->verify : NULL;
	char cycle[32];
	if (!v || !v->data)
		judge(l, f, PLAN_NOT_MET, "schedule.verify", "reading copies back is not scheduled");
	else
		judge(l, f, PLAN_MET, "schedule.verify", "every byte is read within %s",
		        duration_text(cycle, v->data->full_cycle_ms));
}

static void rule_evidence_copies(const struct lint *l, struct plan_finding *f)
{
	bool ok = l->p->n_sites >= 2;
	judge(l, f, ok ? PLAN_MET : PLAN_NOT_MET, "sites", "the evidence log is kept at %zu site%s", l->p->n_sites,
	        ok ? "s" : "");
}

static void rule_evidence_retention(const struct lint *l, struct plan_finding *f)
{
	const struct plan_retention *r = l->p->retention;
	char text[32];
	if (!r)
		judge(l, f, PLAN_NOT_MET, NULL, "no retention is stated");
	else
		judge(l, f, r->evidence_ms >= r->min_ms ? PLAN_MET : PLAN_NOT_MET, "retention",
		        "evidence is kept for %s", duration_text(text, r->evidence_ms));
}

static bool holds(const struct plan *p, const char *what)
{
	for (size_t i = 0; i < p->n_sources; i++) {
		for (size_t k = 0; k < p->sources[i].holds.n; k++) {
			if (str_eq(p->sources[i].holds.v[k], what))
				return true;
		}
	}
	return false;
}

static void rule_configuration(const struct lint *l, struct plan_finding *f)
{
	bool ok = holds(l->p, "configuration");
	judge(l, f, ok ? PLAN_MET : PLAN_NOT_MET, "sources", "%s source is stated to hold configuration",
	        ok ? "a" : "no");
}

static void rule_cloud_data(const struct lint *l, struct plan_finding *f)
{
	if (holds(l->p, "cloud-export"))
		judge(l, f, PLAN_MET, "sources", "a source is stated to hold cloud exports");
	else
		judge(l, f, PLAN_UNKNOWN, "sources",
		        "no source holds cloud exports; whether data is held in a cloud is not stated");
}

static void rule_min_size(const struct lint *l, struct plan_finding *f)
{
	size_t commands = 0;
	for (size_t i = 0; i < l->p->n_sources; i++) {
		const struct plan_source *s = &l->p->sources[i];
		commands += s->command.n > 0;
		if (s->command.n > 0 && s->min_size == 0) {
			judge(l, f, PLAN_NOT_MET, NULL,
			        "source '%s' has no min_size: an empty dump would count as a backup", s->name);
			f->at = s->at;
			return;
		}
	}
	if (commands)
		judge(l, f, PLAN_MET, "sources", "each dump has a least size");
	else
		judge(l, f, PLAN_NOT_APPLICABLE, NULL, "no source is a command");
}

/* Arguments that make a well-known program compress, and the one that takes it back. */
static bool compresses(const struct plan_list *argv)
{
	const char *name = strrchr(argv->v[0], '/');
	name = name ? name + 1 : argv->v[0];
	bool custom = false, off = false,
	     on = str_eq(name, "gzip") || str_eq(name, "zstd") || str_eq(name, "xz") || str_eq(name, "bzip2");
	for (size_t i = 1; i < argv->n; i++) {
		const char *a = argv->v[i];
		const char *next = i + 1 < argv->n ? argv->v[i + 1] : "";
		if (str_eq(name, "pg_dump")) {
			custom = custom || str_eq(a, "-Fc") || str_eq(a, "-Fd") || str_eq(a, "--format=custom") ||
			         str_eq(a, "--format=c") || (str_eq(a, "-F") && strpbrk(next, "cd"));
			off = off || str_eq(a, "-Z0") || str_eq(a, "--compress=0") || str_eq(a, "--compress=none") ||
			      ((str_eq(a, "-Z") || str_eq(a, "--compress")) && str_eq(next, "0"));
			on = on || (str_starts(a, "-Z") && a[2] && a[2] != '0');
		}
		if (str_eq(name, "tar"))
			on = on || str_eq(a, "-z") || str_eq(a, "-j") || str_eq(a, "-J") || str_eq(a, "--gzip") ||
			     str_eq(a, "--zstd") || str_eq(a, "--xz") || (i == 1 && a[0] != '-' && strpbrk(a, "zjJ"));
		if (str_eq(name, "mongodump"))
			on = on || str_eq(a, "--gzip");
		if (str_eq(name, "sh") || str_eq(name, "bash"))
			on = on || strstr(a, "| gzip") || strstr(a, "|gzip") || strstr(a, "| zstd") ||
			     strstr(a, "| xz");
	}
	return on || (custom && !off);
}

static void rule_dump_compression(const struct lint *l, struct plan_finding *f)
{
	size_t commands = 0;
	for (size_t i = 0; i < l->p->n_sources; i++) {
		const struct plan_source *s = &l->p->sources[i];
		if (s->command.n == 0)
			continue;
		commands++;
		if (compresses(&s->command)) {
			judge(l, f, PLAN_NOT_MET, NULL,
			        "the dump of source '%s' is compressed: nothing of it can be shared with the copy "
			        "before (pg_dump: -Z0)",
			        s->name);
			f->at = s->command.at;
			return;
		}
	}
	if (commands)
		judge(l, f, PLAN_MET, "sources", "no dump is seen to be compressed");
	else
		judge(l, f, PLAN_NOT_APPLICABLE, NULL, "no source is a command");
}

static void rule_custody(const struct lint *l, struct plan_finding *f)
{
	int on = l->f ? l->f->opening_key_on_controller : -1;
	if (on == 1)
		judge(l, f, PLAN_NOT_MET, "custody", "the opening key lies on the controller");
	else if (on == 0 || l->p->custody == PLAN_CUSTODY_QUORUM)
		judge(l, f, PLAN_MET, "custody", "%s",
		        on == 0 ? "the opening key is not on the controller" : "opening keys exist only as shares");
	else
		judge(l, f, PLAN_UNKNOWN, "custody", "where the opening key lies is not known");
}

/* What the policy of the class asks beyond the plan; text collects what fails. */
static void policy_misses(const struct lint *l, const struct plan_policy *q, struct buf *out)
{
	const struct plan *p = l->p;
	const struct plan_approval *restore = p->approvals ? p->approvals->restore : NULL;
	int64_t lock = -1;
	for (size_t i = 0; i < p->n_sites; i++)
		lock = MAX(lock, immutable_of(l, i));
	if ((int64_t)p->n_sites < q->min_copies)
		buf_addf(out, " copies");
	if (p->copies->min_distance_km < q->min_distance_km)
		buf_addf(out, " min_distance_km");
	if (q->restore_quorum > 0 && (!restore || restore->quorum < q->restore_quorum))
		buf_addf(out, " restore_quorum");
	if (q->max_rto_ms >= 0 && p->targets->rto_ms > q->max_rto_ms)
		buf_addf(out, " rto");
	if (q->max_rpo_ms >= 0 && p->targets->rpo_ms > q->max_rpo_ms)
		buf_addf(out, " rpo");
	if (lock < q->min_immutable_ms)
		buf_addf(out, " immutable");
	if (q->custody && str_eq(q->custody, "quorum") && p->custody != PLAN_CUSTODY_QUORUM)
		buf_addf(out, " custody");
	int64_t best = -1;
	for (size_t i = 0; q->drill_every_ms >= 0 && p->schedule && i < p->schedule->n_drills; i++) {
		int64_t gap = longest_gap(l, &p->schedule->drills[i].cron);
		best = gap >= 0 && (best < 0 || gap < best) ? gap : best;
	}
	if (q->drill_every_ms >= 0 && (best < 0 || best > q->drill_every_ms))
		buf_addf(out, " drills");
}

static void rule_classification(const struct lint *l, struct plan_finding *f)
{
	const struct plan_policy *q = policy(l);
	if (!q) {
		judge(l, f, PLAN_UNKNOWN, "classification", "the plan holds no policy for the class '%s'",
		        l->p->classification);
		return;
	}
	CLEAN(buf_release) struct buf misses = BUF_INIT(1024);
	policy_misses(l, q, &misses);
	if (misses.len)
		judge(l, f, PLAN_NOT_MET, "classification", "class '%s' asks for more:%s", q->class_name,
		        buf_str(&misses));
	else
		judge(l, f, PLAN_MET, "classification", "what class '%s' asks for is there", q->class_name);
}

const struct lint_rule *lint_rules_copies(size_t *ret_n)
{
	static const struct lint_rule rules[] = {
	        {"targets", "Recovery targets are stated", rule_targets},
	        {"schedule", "Copies are made on a calendar", rule_schedule},
	        {"rpo", "The calendar serves the recovery point", rule_rpo},
	        {"copies", "There are copies enough", rule_copies},
	        {"zone", "A copy is outside the service's network", rule_zone},
	        {"distance", "A copy is far enough away", rule_distance},
	        {"rto-feasible", "The data can be brought back in time", rule_rto_feasible},
	        {"retention", "Retention is stated", rule_retention},
	        {"retention-lock", "Copies cannot be removed before their time", rule_retention_lock},
	        {"verify", "Copies are read back", rule_verify},
	        {"evidence-copies", "Evidence is kept in several places", rule_evidence_copies},
	        {"evidence-retention", "Evidence stays as long as copies", rule_evidence_retention},
	        {"configuration", "Configuration is copied", rule_configuration},
	        {"cloud-data", "Data held in clouds is copied", rule_cloud_data},
	        {"min-size", "An empty dump is noticed", rule_min_size},
	        {"dump-compression", "Dumps are not compressed by their program", rule_dump_compression},
	        {"custody", "The controller cannot read copies", rule_custody},
	        {"classification", "The plan has what its class asks for", rule_classification},
	};
	*ret_n = ARRAY_LEN(rules);
	return rules;
}
