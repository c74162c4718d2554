#include "cli/render.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

const char *render_str(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

const char *render_plan(const json_t *result)
{
	const json_t *plan = json_object_get(result, "plan");

	return json_is_object(plan) ? render_str(plan, "name") : json_string_value(plan);
}

int64_t render_int(const json_t *o, const char *key, int64_t fallback)
{
	const json_t *v = json_object_get(o, key);

	return json_is_integer(v) ? json_integer_value(v) : fallback;
}

bool render_true(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

const char *render_time(char out[RENDER_TEXT], const char *rfc3339)
{
	int64_t ns;

	if (!rfc3339)
		return NULL;
	if (!clock_parse(rfc3339, &ns)) {
		snprintf(out, RENDER_TEXT, "%s", rfc3339);
		return out;
	}
	char text[CLOCK_TEXT];
	clock_rfc3339(text, ns);
	snprintf(out, RENDER_TEXT, "%.10s %.8s", text, text + 11);
	return out;
}

const char *render_size(char out[RENDER_TEXT], const json_t *o, const char *key)
{
	int64_t v = render_int(o, key, -1);

	return v < 0 ? NULL : str_human_size(out, (uint64_t)v);
}

const char *render_ms(char out[RENDER_TEXT], const json_t *o, const char *key)
{
	int64_t v = render_int(o, key, -1);

	return v < 0 ? NULL : str_human_duration(out, v);
}

const char *render_count(char out[RENDER_TEXT], const json_t *o, const char *key)
{
	int64_t v = render_int(o, key, -1);

	if (v < 0)
		return NULL;
	snprintf(out, RENDER_TEXT, "%" PRId64, v);
	return out;
}

const char *render_ago(char out[RENDER_TEXT], const char *rfc3339, int64_t now_ns)
{
	int64_t ns;
	char human[32];

	if (!rfc3339 || !clock_parse(rfc3339, &ns))
		return rfc3339;
	str_human_duration(human, now_ns > ns ? (now_ns - ns) / 1000000 : 0);
	snprintf(out, RENDER_TEXT, "%s ago", human);
	return out;
}

void render_heading(struct cli *c, const char *text)
{
	const struct term *t = &c->out_term;

	fprintf(c->out, "%s%s%s\n", term_on(t, TERM_BOLD), text, term_off(t, TERM_BOLD));
}

void render_mark(struct cli *c, const char *outcome)
{
	static const struct {
		const char *outcome, *plain, *sign;
		enum term_colour colour;
	} mark[] = {
	        {"passed", "ok     ", "\u2713", TERM_GREEN},
	        {"done", "ok     ", "\u2713", TERM_GREEN},
	        {"failed", "FAILED ", "\u2717", TERM_RED},
	        {"skipped", "skipped", "-", TERM_YELLOW},
	};
	const struct term *t = &c->out_term;

	for (size_t i = 0; i < ARRAY_LEN(mark); i++) {
		if (!str_eq(mark[i].outcome, outcome))
			continue;
		const char *text = t->utf8 ? mark[i].sign : mark[i].plain;
		fprintf(c->out, "%s%s%s", term_on(t, mark[i].colour), text, term_off(t, mark[i].colour));
		return;
	}
	CLEAN(free_ptr) char *safe = term_safe(outcome ? outcome : "?");
	fprintf(c->out, t->utf8 ? "%s" : "%-7s", safe);
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n >= k && strcmp(s + n - k, end) == 0;
}

/* A scalar as text; the name tells its unit. Newly allocated, safe for the terminal. */
static char *scalar_text(const char *name, const json_t *v)
{
	char text[RENDER_TEXT] = "";

	switch (json_typeof(v)) {
	case JSON_STRING:
		return term_safe(json_string_value(v));
	case JSON_TRUE:
		return xstrdup("yes");
	case JSON_FALSE:
		return xstrdup("no");
	case JSON_INTEGER:
		if (json_integer_value(v) < 0)
			snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		else if (ends_with(name, "_ms"))
			str_human_duration(text, json_integer_value(v));
		else if (ends_with(name, "bytes") || ends_with(name, "_size"))
			str_human_size(text, (uint64_t)json_integer_value(v));
		else
			snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		return xstrdup(text);
	case JSON_REAL:
		snprintf(text, sizeof text, "%g", json_real_value(v));
		return xstrdup(text);
	default:
		return xstrdup("-");
	}
}

static bool is_scalar(const json_t *v)
{
	return !json_is_object(v) && !json_is_array(v);
}

static char *label_of(const char *key)
{
	char *label = term_safe(key);

	if (ends_with(label, "_ms"))
		label[strlen(label) - 3] = 0;
	return label;
}

static bool all_scalars(const json_t *array)
{
	size_t i;
	json_t *v;

	json_array_foreach (array, i, v)
		if (!is_scalar(v))
			return false;
	return true;
}

/* "[a, b, c]" for a list of plain values. */
static void flat_list(struct cli *c, const char *name, const json_t *array)
{
	size_t i;
	json_t *v;

	fputc('[', c->out);
	json_array_foreach (array, i, v) {
		CLEAN(free_ptr) char *text = scalar_text(name, v);
		fprintf(c->out, "%s%s", i ? ", " : "", text);
	}
	fputs("]\n", c->out);
}

static void tree_member(struct cli *c, const char *key, const json_t *v, unsigned indent)
{
	CLEAN(free_ptr) char *label = label_of(key);

	fprintf(c->out, "%*s%s:", (int)indent, "", label);
	if (is_scalar(v)) {
		CLEAN(free_ptr) char *text = scalar_text(key, v);
		fprintf(c->out, " %s\n", text);
	} else if (json_is_array(v) && all_scalars(v)) {
		fputc(' ', c->out);
		flat_list(c, key, v);
	} else {
		fputc('\n', c->out);
		render_tree(c, v, indent + 2);
	}
}

void render_tree(struct cli *c, const json_t *j, unsigned indent)
{
	const char *key;
	json_t *v;
	size_t i;

	if (json_is_object(j)) {
		json_object_foreach ((json_t *)j, key, v)
			if (!json_is_null(v))
				tree_member(c, key, v, indent);
		return;
	}
	json_array_foreach (j, i, v) {
		if (is_scalar(v)) {
			CLEAN(free_ptr) char *text = scalar_text("", v);
			fprintf(c->out, "%*s- %s\n", (int)indent, "", text);
		} else {
			fprintf(c->out, "%*s-\n", (int)indent, "");
			render_tree(c, v, indent + 2);
		}
	}
}

void render_tree_result(struct cli *c, const json_t *result)
{
	render_tree(c, result, 0);
}
