#include "cli/render.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* Met is true, false or null; what was not measured is never shown as met. */
static const char *verdict(const json_t *o)
{
	const json_t *met = json_object_get(o, "met");

	if (json_is_true(met))
		return "met";
	return json_is_false(met) ? "MISSED" : "not judged";
}

static void target_line(struct cli *c, const char *title, const json_t *o)
{
	char measured[RENDER_TEXT], target[RENDER_TEXT], worst[RENDER_TEXT];

	if (!json_is_object(o))
		return;
	const char *m = render_ms(measured, o, "measured_ms"), *t = render_ms(target, o, "target_ms");
	bool missed = json_is_false(json_object_get(o, "met")), met = render_true(o, "met");
	enum term_colour colour = missed ? TERM_RED : met ? TERM_GREEN : TERM_YELLOW;
	const struct term *term = &c->out_term;
	fprintf(c->out, "  %-16s %-16s target %-12s %s%s%s\n", title, m ? m : "not measured", t ? t : "none",
	        term_on(term, colour), verdict(o), term_off(term, colour));
	if (render_ms(worst, o, "worst_case_ms"))
		fprintf(c->out, "  %-16s %-16s largest gap between copies, and the time to make one\n", "  at worst",
		        worst);
}

static void slowest_path(struct cli *c, const json_t *result)
{
	const json_t *path = json_object_get(result, "critical_path");
	const json_t *steps = json_is_object(path) ? json_object_get(path, "steps") : path;
	char took[RENDER_TEXT];
	size_t i;
	json_t *v;

	if (json_array_size(steps) == 0)
		return;
	fprintf(c->out, "  %-16s ", "slowest path");
	json_array_foreach (steps, i, v) {
		const char *id = json_is_string(v) ? json_string_value(v) : render_str(v, "id");
		CLEAN(free_ptr) char *safe = term_safe(id ? id : "?");
		fprintf(c->out, "%s%s", i ? " -> " : "", safe);
	}
	if (json_is_object(path) && render_ms(took, path, "duration_ms"))
		fprintf(c->out, "  (%s)", took);
	fputc('\n', c->out);
}

static size_t id_width(const json_t *list)
{
	size_t width = 4, i;
	json_t *v;

	json_array_foreach (list, i, v) {
		const char *id = render_str(v, "id");
		width = MAX(width, id ? strlen(id) : 0);
	}
	return MIN(width, (size_t)40);
}

/* "sampled 12 of 90"; nothing where it was complete. */
static void coverage_text(char *out, size_t n, const json_t *item)
{
	const json_t *cov = json_object_get(item, "coverage");
	int64_t checked = render_int(cov, "checked", -1), total = render_int(cov, "total", -1);

	out[0] = 0;
	if (checked >= 0 && total >= 0 && checked != total)
		snprintf(out, n, "  sampled %lld of %lld", (long long)checked, (long long)total);
}

/* Mark, id, kind, duration, bytes, and the reason of what did not pass. */
static void part_list(struct cli *c, const char *title, const json_t *list)
{
	size_t width = id_width(list), i;
	json_t *v;

	if (json_array_size(list) == 0)
		return;
	fputc('\n', c->out);
	render_heading(c, title);
	json_array_foreach (list, i, v) {
		const char *id = render_str(v, "id"), *kind = render_str(v, "kind"), *detail = render_str(v, "detail");
		char took[RENDER_TEXT] = "", size[RENDER_TEXT] = "", sampled[RENDER_TEXT];
		CLEAN(free_ptr) char *safe_id = term_safe(id ? id : "?");
		CLEAN(free_ptr) char *safe_kind = term_safe(kind ? kind : "");
		CLEAN(free_ptr) char *safe_detail = term_safe(detail ? detail : "");
		fputs("  ", c->out);
		render_mark(c, render_str(v, "outcome"));
		render_ms(took, v, "duration_ms");
		render_size(size, v, "bytes");
		coverage_text(sampled, sizeof sampled, v);
		fprintf(c->out, "  %-*s  %-10s %12s %10s%s%s%s\n", (int)width, safe_id, safe_kind, took, size, sampled,
		        *safe_detail ? "  " : "", safe_detail);
	}
}

static void first_line(struct cli *c, const json_t *result)
{
	const char *plan = render_plan(result), *scenario = render_str(result, "scenario");
	const char *outcome = render_str(result, "outcome");
	const struct term *t = &c->out_term;
	bool done = str_eq(outcome, "done");
	bool back = json_array_size(json_object_get(result, "steps")) > 0; /* a runbook was followed */
	bool missed = json_is_false(json_object_get(json_object_get(result, "rto"), "met")) ||
	              json_is_false(json_object_get(json_object_get(result, "rpo"), "met"));
	enum term_colour colour = !done ? TERM_RED : missed ? TERM_YELLOW : TERM_GREEN;
	CLEAN(free_ptr) char *safe_plan = term_safe(plan ? plan : "?");
	CLEAN(free_ptr) char *safe_scenario = term_safe(scenario ? scenario : "");
	CLEAN(free_ptr) char *safe_outcome = term_safe(outcome ? outcome : "unknown");

	fprintf(c->out, "drill of %s%s%s%s: %s%s%s\n", safe_plan, *safe_scenario ? " (" : "", safe_scenario,
	        *safe_scenario ? ")" : "", term_on(t, colour),
	        !done    ? safe_outcome
	        : !back  ? "planted faults were noticed"
	        : missed ? "recovered, but a target was missed"
	                 : "recovered",
	        term_off(t, colour));
}

static void where_it_lies(struct cli *c, const json_t *result)
{
	const char *plan = render_plan(result), *work = render_str(json_object_get(result, "extra"), "work");

	fputc('\n', c->out);
	if (plan && str_is_id(plan))
		fprintf(c->out, "result    %s/%s/latest.json\n", c->root.results, plan);
	fprintf(c->out, "evidence  %s\n", c->root.log);
	fprintf(c->out, "metrics   %s/holdfast.prom\n", c->root.metrics);
	if (work) {
		CLEAN(free_ptr) char *safe = term_safe(work);
		fprintf(c->out, "work      %s\n", safe);
	}
}

void render_drill(struct cli *c, const json_t *result)
{
	first_line(c, result);
	target_line(c, "recovery time", json_object_get(result, "rto"));
	target_line(c, "recovery point", json_object_get(result, "rpo"));
	slowest_path(c, result);
	part_list(c, "steps", json_object_get(result, "steps"));
	part_list(c, "checks", json_object_get(result, "checks"));
	render_lists(c, result);
	where_it_lies(c, result);
}
