#include "cli/cli.h"
#include "cli/render.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define SHOWN_MAX 20

/* "without end", "35 d", "no", or nothing where it is not known */
static const char *immutable_text(char out[RENDER_TEXT], const json_t *site)
{
	const json_t *ms = json_object_get(site, "immutable_ms");
	char human[32];

	if (json_is_null(ms))
		return "without end";
	if (!json_is_integer(ms))
		return "";
	if (!json_integer_value(ms))
		return "no";
	snprintf(out, RENDER_TEXT, "%s", str_human_duration(human, json_integer_value(ms)));
	return out;
}

static const char *thousandths(char out[RENDER_TEXT], const json_t *v, const char *unit)
{
	if (!json_is_integer(v))
		return "";
	snprintf(out, RENDER_TEXT, "%.3f %s", (double)json_integer_value(v) / 1000, unit);
	return out;
}

static void render_points(struct cli *c, const json_t *probe)
{
	const struct term *t = &c->out_term;
	size_t i;
	json_t *p;

	render_heading(c, render_str(probe, "site"));
	json_array_foreach (json_object_get(probe, "points"), i, p) {
		const char *answer = render_str(p, "answer"), *detail = render_str(p, "detail");
		bool yes = str_eq(answer, "yes"), no = str_eq(answer, "no");
		enum term_colour colour = yes ? TERM_GREEN : no ? TERM_RED : TERM_YELLOW;
		CLEAN(free_ptr) char *safe = term_safe(detail ? detail : "");

		fprintf(c->out, "  %s%-7s%s  %-17s  %s\n", term_on(t, colour), answer ? answer : "?", term_off(t, colour),
		        render_str(p, "point"), safe);
	}
	fputc('\n', c->out);
}

static void render_probe(struct cli *c, const json_t *result)
{
	CLEAN(table_release) struct table t = {0};
	char immutable[RENDER_TEXT], clock[RENDER_TEXT], trip[RENDER_TEXT];
	size_t i;
	json_t *s;

	json_array_foreach (json_object_get(json_object_get(result, "extra"), "probes"), i, s)
		render_points(c, s);
	table_begin(&t, 7, "SITE", "OUTCOME", "CLASS", "KEEPS OBJECTS", "CLOCK OFF BY>", "ROUND TRIP>", "");
	json_array_foreach (json_object_get(result, "sites"), i, s) {
		const char *class_ = render_str(s, "class"), *error = render_str(s, "error");

		table_row(&t, render_str(s, "name"), render_str(s, "outcome"), class_ ? class_ : "",
		        class_ ? immutable_text(immutable, s) : "", thousandths(clock, json_object_get(s, "skew_ms"), "s"),
		        thousandths(trip, json_object_get(s, "round_trip_us"), "ms"), error ? error : "");
	}
	table_print(&t, c->out, 2);
	CLEAN(json_release)
	json_t *rest = json_pack("{s:O, s:O}", "findings", json_object_get(result, "findings"), "not_shown",
	        json_object_get(result, "not_shown"));
	render_lists(c, rest);
}

static void render_keys(struct cli *c, const json_t *site)
{
	const json_t *keys = json_object_get(site, "keys");
	size_t n = json_array_size(keys);

	for (size_t i = 0; i < n && i < SHOWN_MAX; i++) {
		const json_t *k = json_array_get(keys, i);
		const char *until = render_str(k, "until"), *needed = render_str(k, "needed"), *error = render_str(k, "error");
		CLEAN(free_ptr) char *safe = term_safe(render_str(k, "key"));
		CLEAN(free_ptr) char *why = term_safe(error ? error : "");

		fprintf(c->out, "  %-8s  %s  until %.10s, needed %.10s%s%s\n", render_str(k, "state"), safe, until ? until : "-",
		        needed ? needed : "-", *why ? "  " : "", why);
	}
	if (n > SHOWN_MAX)
		fprintf(c->out, "  and %zu more; the result file lists them\n", n - SHOWN_MAX);
}

static void render_locks(struct cli *c, const json_t *result)
{
	CLEAN(table_release) struct table t = {0};
	const json_t *all = json_object_get(json_object_get(result, "extra"), "locks");
	char needed[RENDER_TEXT], locked[RENDER_TEXT], missing[RENDER_TEXT], shorter[RENDER_TEXT], unknown[RENDER_TEXT], extended[RENDER_TEXT];
	size_t i;
	json_t *s;

	table_begin(&t, 7, "SITE", "NEEDED>", "LOCKED>", "NONE>", "SHORT>", "UNKNOWN>", "EXTENDED>");
	json_array_foreach (all, i, s)
		table_row(&t, render_str(s, "site"), render_count(needed, s, "needed"), render_count(locked, s, "locked"),
		        render_count(missing, s, "missing"), render_count(shorter, s, "short"), render_count(unknown, s, "unknown"),
		        render_count(extended, s, "extended"));
	if (json_array_size(all))
		table_print(&t, c->out, 2);
	json_array_foreach (all, i, s)
		render_keys(c, s);
	render_lists(c, result);
}

int cmd_site_probe(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = NULL;

	if (run_open(&r, c, c->args->operand[0], err))
		return cli_fail(err);
	int status = job_site_probe(&r.job, args_text(c->args, "site"), &result, err);
	return run_finish(&r, status, result, render_probe, err);
}

int cmd_site_locks(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = NULL;
	struct job_locks_opts opts = {.site = args_text(c->args, "site"), .extend = args_flag(c->args, "extend")};

	if (run_open(&r, c, c->args->operand[0], err))
		return cli_fail(err);
	int status = job_site_locks(&r.job, &opts, &result, err);
	return run_finish(&r, status, result, render_locks, err);
}
