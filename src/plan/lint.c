#include "plan/internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

#define EARTH_KM 6371.0

double plan_distance_km(const struct plan_geo *a, const struct plan_geo *b)
{
	/* Haversine: exact enough for close places too. */
	double rad = M_PI / 180, p1 = a->lat * rad, p2 = b->lat * rad;
	double s = sin((p2 - p1) / 2), t = sin((b->lon - a->lon) * rad / 2);
	double h = s * s + cos(p1) * cos(p2) * t * t;
	return 2 * EARTH_KM * asin(sqrt(MIN(1.0, h)));
}

const char *plan_verdict_name(enum plan_verdict v)
{
	static const char *const names[] = {"met", "not_met", "not_applicable", "unknown"};
	return names[v];
}

void judge(const struct lint *l, struct plan_finding *f, enum plan_verdict v, const char *key, const char *fmt, ...)
{
	f->verdict = v;
	if (key)
		(void)plan_key_place(l->p, key, &f->at);
	free(f->text);
	va_list ap;
	va_start(ap, fmt);
	BUG_ON(vasprintf(&f->text, fmt, ap) < 0);
	va_end(ap);
}

static struct plan_finding *new_finding(struct plan_findings *r)
{
	r->v = xgrow(r->v, r->n, &r->cap, sizeof(*r->v));
	r->v[r->n] = (struct plan_finding){.verdict = PLAN_UNKNOWN};
	return &r->v[r->n++];
}

static void run_rules(const struct lint *l, const struct lint_rule *rules, size_t n, struct plan_findings *r)
{
	for (size_t i = 0; i < n; i++) {
		struct plan_finding *f = new_finding(r);
		f->id = rules[i].id;
		f->title = rules[i].title;
		rules[i].judge(l, f);
	}
}

static const struct plan_finding *rule_finding(const struct plan_findings *r, size_t n_rules, const char *id)
{
	for (size_t i = 0; i < n_rules; i++) {
		if (str_eq(r->v[i].id, id))
			return &r->v[i];
	}
	return NULL;
}

/* Of two verdicts the one that decides: what is not met, then what is not known. */
static enum plan_verdict decide(enum plan_verdict a, enum plan_verdict b)
{
	static const int weight[] = {[PLAN_NOT_APPLICABLE] = 0, [PLAN_MET] = 1, [PLAN_UNKNOWN] = 2, [PLAN_NOT_MET] = 3};
	return weight[a] >= weight[b] ? a : b;
}

static void add_text(struct plan_finding *f, const struct plan_finding *part)
{
	char *s = NULL;
	BUG_ON(asprintf(&s, "%s%s%s: %s", f->text ? f->text : "", f->text ? "; " : "", part->id, part->text) < 0);
	free(f->text);
	f->text = s;
}

static void judge_requirement(const struct lint *l, json_t *req, size_t n_rules, struct plan_findings *r)
{
	struct plan_finding *f = new_finding(r);
	f->id = json_string_value(json_object_get(req, "id"));
	f->title = json_string_value(json_object_get(req, "title"));
	f->verdict = PLAN_NOT_APPLICABLE;
	size_t i;
	json_t *rule;
	json_array_foreach (json_object_get(req, "rules"), i, rule) {
		const struct plan_finding *part = rule_finding(r, n_rules, json_string_value(rule));
		BUG_ON(!part);
		enum plan_verdict v = decide(f->verdict, part->verdict);
		if (v != f->verdict || (v == part->verdict && !f->at.line))
			f->at = part->at;
		f->verdict = v;
		add_text(f, part);
	}
	for (i = 0; i < l->p->n_not_applicable; i++) {
		const struct plan_not_applicable *x = &l->p->not_applicable[i];
		if (!str_eq(x->requirement, f->id))
			continue;
		f->verdict = PLAN_NOT_APPLICABLE;
		f->at = x->at;
		f->rationale = xstrdup(x->reason);
	}
}

void plan_lint(const struct plan *p, const struct plan_facts *facts, struct plan_findings *ret)
{
	struct lint l = {p, facts};
	*ret = (struct plan_findings){.catalogues = json_array()};
	size_t n;
	const struct lint_rule *rules = lint_rules_copies(&n);
	run_rules(&l, rules, n, ret);
	rules = lint_rules_people(&n);
	run_rules(&l, rules, n, ret);
	size_t n_rules = ret->n;
	for (size_t i = 0; i < p->requirements.n; i++) {
		json_t *cat = catalogue_get(p->requirements.v[i]);
		json_array_append_new(ret->catalogues, cat);
		size_t k;
		json_t *req;
		json_array_foreach (json_object_get(cat, "requirements"), k, req) {
			judge_requirement(&l, req, n_rules, ret);
			ret->v[ret->n - 1].catalogue = json_string_value(json_object_get(cat, "id"));
		}
	}
}

void plan_findings_release(struct plan_findings *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->v[i].text);
		free(f->v[i].rationale);
	}
	free(f->v);
	json_decref(f->catalogues);
	*f = (struct plan_findings){0};
}

static json_t *text_or_null(const char *s)
{
	return s ? json_string(s) : json_null();
}

json_t *plan_findings_json(const struct plan_findings *f)
{
	json_t *a = json_array();
	for (size_t i = 0; i < f->n; i++) {
		const struct plan_finding *x = &f->v[i];
		json_array_append_new(
		        a, json_pack("{s:s, s:o, s:s, s:s, s:i, s:i, s:o, s:o}", "id", x->id, "catalogue",
		                   text_or_null(x->catalogue), "title", x->title, "verdict",
		                   plan_verdict_name(x->verdict), "line", x->at.line, "col", x->at.col, "text",
		                   text_or_null(x->text), "rationale", text_or_null(x->rationale)));
	}
	return a;
}
