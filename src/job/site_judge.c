/* What the newest probe of a site says of it, and what of that is a finding. */
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

const char *site_witness(const struct job *j, const char *site)
{
	const struct plan_site *ps = plan_site(j->plan, site);
	return ps ? ps->witness : NULL;
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

size_t site_judge(const struct job *j, const struct plan_site *ps, const json_t *probe, struct result *res)
{
	struct told t = {.j = j, .res = res};
	each_weakness(ps, probe, tell_weakness, &t);
	return t.n;
}
