/* site probe: what each site really does, kept as a result; and what the newest of them says to later runs. */
#include "job/common.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "store/probe.h"

#define PROBE_FRESH_NS (INT64_C(7) * 86400 * 1000000000)
#define FINDING_DUE_NS (INT64_C(30) * 86400 * 1000000000)

/* --- findings --- */

void job_finding(const struct job *j, struct result *res, const char *severity, const char *fmt, ...)
{
	char text[768], safe[4 * sizeof text], due[CLOCK_TEXT];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	const char *owner = j->plan->owner ? j->plan->owner->name : NULL;
	result_add(res, RESULT_FINDINGS, json_pack("{s:s, s:s, s:s, s:s?, s:n}", "title", log_safe(safe, sizeof safe, text), "severity", severity, "due",
		clock_rfc3339(due, clock_wall_ns() + FINDING_DUE_NS), "owner", owner, "retest"));
}

/* One point of a probe, or NULL. */
static const json_t *point_of(const json_t *probe, enum probe_point p)
{
	size_t i;
	json_t *o;
	json_array_foreach (json_object_get(probe, "points"), i, o)
		if (str_eq(json_string_value(json_object_get(o, "point")), probe_point_name(p)))
			return o;
	return NULL;
}

static const char *detail_of(const json_t *point)
{
	const char *s = json_string_value(json_object_get(point, "detail"));
	return s && *s ? s : "it was not shown";
}

static bool answered_no(const json_t *probe, enum probe_point p)
{
	return str_eq(json_string_value(json_object_get(point_of(probe, p), "answer")), probe_answer_name(PROBE_NO));
}

int64_t site_immutable_ms(const json_t *probe)
{
	const json_t *ms = json_object_get(probe, "immutable_ms");
	return json_is_null(ms) ? INT64_MAX : json_is_integer(ms) ? json_integer_value(ms) : -1;
}

/* Called for each way in which a site is weaker than the plan says. */
typedef void (*weakness_fn)(void *arg, const char *severity, const char *text);

static void each_weakness(const struct plan_site *ps, const json_t *probe, weakness_fn fn, void *arg)
{
	static const enum probe_point timed[] = {PROBE_CREATE_ONLY, PROBE_ONE_WINNER, PROBE_READ_AFTER_WRITE, PROBE_LIST_AFTER_WRITE};
	static const struct {
		enum probe_point point;
		const char *severity, *what;
	} other[] = {
		{PROBE_DISTANCE, "high", "is not where the plan says"},
		{PROBE_CLOCK, "medium", "has another time than this machine"},
		{PROBE_DIGEST_CHECKED, "medium", "does not compare digests"},
	};
	char text[512], found[32], wanted[32];
	if (str_eq(json_string_value(json_object_get(probe, "class")), probe_class_name(PROBE_TIMED)))
		for (size_t i = 0; i < ARRAY_LEN(timed); i++)
			if (answered_no(probe, timed[i])) {
				snprintf(text, sizeof text, "site '%s' cannot decide between writers: %s", ps->name, detail_of(point_of(probe, timed[i])));
				fn(arg, "high", text);
			}
	int64_t ms = site_immutable_ms(probe);
	if (ps->immutable_ms > 0 && ms >= 0 && ms < ps->immutable_ms) {
		snprintf(text, sizeof text, "site '%s' keeps objects unchanged for %s, and the plan says %s: %s", ps->name, ms ? str_human_duration(found, ms) : "no time",
			str_human_duration(wanted, ps->immutable_ms), detail_of(point_of(probe, PROBE_LOCK)));
		fn(arg, "high", text);
	}
	for (size_t i = 0; i < ARRAY_LEN(other); i++)
		if (answered_no(probe, other[i].point)) {
			snprintf(text, sizeof text, "site '%s' %s: %s", ps->name, other[i].what, detail_of(point_of(probe, other[i].point)));
			fn(arg, other[i].severity, text);
		}
}

static void count_weakness(void *arg, const char *severity, const char *text)
{
	(void)severity;
	(void)text;
	++*(size_t *)arg;
}

size_t site_weaknesses(const struct plan_site *ps, const json_t *probe)
{
	size_t n = 0;
	each_weakness(ps, probe, count_weakness, &n);
	return n;
}

/* --- the newest probe of a site --- */

static json_t *probe_in(const char *path, const char *site, int64_t *ret_ns)
{
	CLEAN(json_release) json_t *o = NULL;
	struct err why = ERR_INIT;
	size_t i;
	json_t *p;
	if (result_read(path, &o, &why))
		return NULL;
	json_array_foreach (json_object_get(json_object_get(o, "extra"), "probes"), i, p) {
		const char *end = json_string_value(json_object_get(o, "finished"));
		if (str_eq(json_string_value(json_object_get(p, "site")), site) && end && clock_parse(end, ret_ns))
			return json_incref(p);
	}
	return NULL;
}

json_t *site_last_probe(const struct job *j, const char *site, int64_t *ret_ns)
{
	CLEAN(free_ptr) char *dir = fs_join(j->root->results, j->plan->name);
	struct dirent **names = NULL;
	json_t *found = NULL;
	int n = scandir(dir, &names, NULL, alphasort);
	while (n-- > 0) {
		CLEAN(free_ptr) char *path = fs_join(dir, names[n]->d_name);
		if (!found && strstr(names[n]->d_name, "-probe-"))
			found = probe_in(path, site, ret_ns);
		free(names[n]);
	}
	free(names);
	return found;
}

bool site_probe_is_fresh(const struct job *j, const char *site)
{
	int64_t when;
	CLEAN(json_release) json_t *p = site_last_probe(j, site, &when);
	return p && clock_wall_ns() - when < PROBE_FRESH_NS;
}

struct told {
	const struct job *j;
	struct result *res;
	bool loud;
	size_t n;
};

static void tell_weakness(void *arg, const char *severity, const char *text)
{
	struct told *t = arg;
	job_finding(t->j, t->res, severity, "%s", text);
	if (t->loud)
		log_msg(LOG_WARN, "%s", text);
	t->n++;
}

void sites_judge(const struct job *j, struct result *res)
{
	struct told t = {.j = j, .res = res, .loud = true};
	for (size_t i = 0; i < j->plan->n_sites; i++) {
		const struct plan_site *ps = &j->plan->sites[i];
		int64_t when = 0;
		CLEAN(json_release) json_t *p = site_last_probe(j, ps->name, &when);
		if (p)
			each_weakness(ps, p, tell_weakness, &t);
		if (!p || clock_wall_ns() - when >= PROBE_FRESH_NS)
			log_msg(LOG_WARN, "site %s: %s; run 'holdfast site probe %s'", ps->name, p ? "its last probe is older than 7 days" : "it was never probed",
				j->plan_path ? j->plan_path : j->plan->name);
	}
}

/* --- probing --- */

struct probing {
	const struct job *j;
	struct result *res;
	json_t *probes;
	int status;
	struct err first;
};

static int open_again(void *arg, struct store **ret, struct err *err)
{
	return site_open(arg, false, ret, err);
}

static void unreachable(struct probing *r, const char *site, const struct err *why)
{
	result_add(r->res, RESULT_SITES, json_pack("{s:s, s:s, s:s}", "name", site, "outcome", "unreachable", "error", why->msg));
	r->status = err_status_worse(r->status, err_exit_status(why->code));
	if (!r->first.code)
		r->first = *why;
}

static void probe_site(struct probing *r, const struct plan_site *ps)
{
	const struct plan_geo *here = r->j->plan->service ? r->j->plan->service->location : NULL;
	struct site_way *way = site_way_new(r->j, ps);
	struct probe_opts o = {.open = open_again, .arg = way, .promised_ms = MAX(ps->immutable_ms, 0), .cancel = r->j->cancel};
	struct probe_result p;
	struct store *s = NULL;
	struct err why = ERR_INIT;
	if (here && ps->location)
		o.distance_km = plan_distance_km(here, ps->location);
	if (r->j->progress)
		r->j->progress(r->j->arg, &(struct job_progress){.phase = "probe", .subject = ps->name});
	int rc = site_open(way, false, &s, &why);
	if (!rc)
		rc = store_probe(s, &o, &p, &why);
	if (rc) {
		unreachable(r, ps->name, &why);
	} else {
		json_t *one = probe_json(&p);
		json_object_set_new(one, "site", json_string(ps->name));
		json_object_set_new(one, "promised_ms", ps->immutable_ms > 0 ? json_integer(ps->immutable_ms) : json_null());
		json_array_append_new(r->probes, one);
		struct told t = {.j = r->j, .res = r->res};
		each_weakness(ps, one, tell_weakness, &t);
		result_add(r->res, RESULT_SITES, json_pack("{s:s, s:s, s:s, s:O, s:O, s:O}", "name", ps->name, "outcome", t.n ? "weak" : "done", "class", probe_class_name(p.class_),
			"immutable_ms", json_object_get(one, "immutable_ms"), "skew_ms", json_object_get(one, "skew_ms"), "round_trip_us", json_object_get(one, "round_trip_us")));
		if (t.n) {
			r->status = err_status_worse(r->status, 4);
			log_msg(LOG_DEBUG, "site %s: %zu findings", ps->name, t.n);
		}
	}
	store_free(s);
	site_way_free(way);
}

/* Where the evidence goes: the sites that are a repository already. */
static int finish(struct probing *r, json_t **result, struct err *err)
{
	struct sites sites = {0};
	CLEAN(cfg_release) struct cfg cfg = {0};
	struct err why = ERR_INIT;
	struct job_end e = {.result = r->res, .outcome = r->status == 0 || r->status == 4 ? "done" : "failed", .status = r->status, .err = err};
	if (!sites_open(r->j, NULL, false, &sites, &why) && !sites_cfg_pinned(r->j, &sites, &cfg, &why))
		e.sites = &sites;
	int status = job_finish(r->j, &e, result, err);
	sites_close(&sites);
	return status;
}

int job_site_probe(const struct job *j, const char *site, json_t **result, struct err *err)
{
	struct probing r = {.j = j, .res = job_result(j, "probe", NULL), .probes = json_array()};
	int rc = job_refuse(j, NEEDS_SITES, err);
	if (!rc && site && !plan_site(j->plan, site))
		rc = site_unknown(j->plan, site, err);
	if (!rc) {
		CLEAN(free_ptr) char *key = path_log_key(j);
		if (!fs_exists(key)) {
			rc = err_set(err, ERR_USAGE, "%s is not there", key);
			err_hint(err, "run 'holdfast init %s' first", j->plan_path ? j->plan_path : j->plan->name);
		}
	}
	int status = rc ? err_exit_status(err->code) : 0;
	for (size_t i = 0; !rc && i < j->plan->n_sites; i++)
		if (!site || str_eq(site, j->plan->sites[i].name))
			probe_site(&r, &j->plan->sites[i]);
	if (r.first.code)
		*err = r.first;
	result_extra(r.res, "probes", r.probes);
	result_extra(r.res, "complete", json_boolean(!site));
	result_add_str(r.res, RESULT_NOT_SHOWN, "what other credentials than these may do at a site");
	if (!rc)
		status = finish(&r, result, err);
	result_free(r.res);
	return status;
}
