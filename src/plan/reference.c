#include "plan/internal.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

#define DURATION_PATTERN "^[0-9]+(ms|s|m|h|d|w|y)$"
#define SIZE_PATTERN "^[0-9]+(B|[KMGTP]iB|[kKMGTP]B)?"
#define ID_PATTERN "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
#define SECRET_PATTERN "^(file:/.+|env:.+|systemd-credential:.+)$"

/* --- JSON Schema --- */

static json_t *pattern(const char *re)
{
	return json_pack("{s:s, s:s}", "type", "string", "pattern", re);
}

static json_t *words_schema(const char *allowed)
{
	json_t *a = json_array();
	char word[64];
	for (size_t i = 0; allowed_word(allowed, i, word); i++)
		json_array_append_new(a, json_string(word));
	return json_pack("{s:o}", "enum", a);
}

static json_t *range_schema(const char *type, const char *allowed)
{
	int64_t lo, hi;
	allowed_range(allowed, &lo, &hi);
	return json_pack("{s:s, s:I, s:I}", "type", type, "minimum", (json_int_t)lo, "maximum", (json_int_t)hi);
}

static json_t *strings_schema(json_t *items, bool unique)
{
	json_t *o = json_pack("{s:s, s:o}", "type", "array", "items", items);
	if (unique)
		json_object_set_new(o, "uniqueItems", json_true());
	return o;
}

static json_t *text_schema(void)
{
	return json_pack("{s:s, s:i}", "type", "string", "minLength", 1);
}

/* An argument: YAML's plain numbers and truth values are taken as their text. */
static json_t *argv_schema(void)
{
	return json_pack("{s:s, s:{s:[s,s,s]}, s:i}", "type", "array", "items", "type", "string", "number", "boolean",
	        "minItems", 1);
}

static json_t *list_schema(const struct key_row *row)
{
	switch (row->type) {
	case T_IDS:
		return strings_schema(pattern(ID_PATTERN), true);
	case T_ABSS:
		return strings_schema(pattern("^/"), true);
	case T_RELS:
		return strings_schema(pattern("^[^/]"), true);
	case T_NAMES:
		return strings_schema(pattern("^[^/]+$"), true);
	case T_WORDS:
		return strings_schema(words_schema(row->allowed), true);
	case T_ARGV:
		return argv_schema();
	case T_ARGVS:
		return strings_schema(argv_schema(), false);
	case T_ENV:
		return json_pack("{s:s, s:{s:s}, s:{s:[s,s,s]}}", "type", "object", "propertyNames", "pattern",
		        "^[A-Za-z_][A-Za-z0-9_]*$", "additionalProperties", "type", "string", "number", "boolean");
	default:
		return strings_schema(text_schema(), true);
	}
}

static json_t *type_schema(const struct key_row *row)
{
	switch (row->type) {
	case T_ID:
		return pattern(ID_PATTERN);
	case T_ABS:
		return pattern("^/");
	case T_WORK:
		return pattern("^(/|\\$\\{work\\})");
	case T_NAME:
		return pattern("^[^/]+$");
	case T_HOST:
		return pattern("^(local|ssh://.+)$");
	case T_URL:
		return pattern("^(file:///.+|sftp://.+|ssh://.+|s3://.+)$");
	case T_HTTP:
		return pattern("^https?://.+$");
	case T_PING:
		return pattern("^(https://.+|file:/.+|env:.+|systemd-credential:.+)$");
	case T_ADDRESS:
		return pattern("^.+:[0-9]+$");
	case T_SECRET:
		return pattern(SECRET_PATTERN);
	case T_WORD:
	case T_ENUM:
		return words_schema(row->allowed);
	case T_BOOL:
		return json_pack("{s:s}", "type", "boolean");
	case T_INT:
		return range_schema("integer", row->allowed);
	case T_REAL:
		return range_schema("number", row->allowed);
	case T_DURATION:
		return pattern(DURATION_PATTERN);
	case T_SIZE:
		return json_pack("{s:[s,s], s:s}", "type", "string", "integer", "pattern", SIZE_PATTERN "$");
	case T_RATE:
		return pattern(SIZE_PATTERN "/s$");
	case T_DATE:
		return pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}");
	case T_WINDOW:
		return pattern("^[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}$");
	case T_CRON:
		return pattern("^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|[^ @]+( +[^ ]+){4})$");
	default:
		return row->type >= T_TEXTS ? list_schema(row) : text_schema();
	}
}

static json_t *key_schema(const struct key_row *row, const char *child)
{
	char ref[64];
	snprintf(ref, sizeof(ref), "#/$defs/%s", child);
	json_t *o;
	if (row->type == T_OBJ) {
		o = json_pack("{s:s}", "$ref", ref);
	} else if (row->type == T_OBJS) {
		o = json_pack("{s:s, s:{s:s}}", "type", "array", "items", "$ref", ref);
		if (row->flags & REQ)
			json_object_set_new(o, "minItems", json_integer(1));
	} else {
		o = type_schema(row);
	}
	json_object_set_new(o, "description", json_string(row->meaning));
	return o;
}

static const char *const def_names[] = {
#define OBJ(id, ctype, path, meaning) #id,
#define KEY(...)
#define SUB(...)
#define SUBS(...)
#include "plan/schema.def"
};

static json_t *object_schema(enum obj_id id)
{
	struct obj_row obj = schema_obj(id);
	json_t *properties = json_object(), *required = json_array();
	for (size_t i = 0; i < obj.n_keys; i++) {
		const struct key_row *row = &obj.keys[i];
		json_object_set_new(properties, row->key, key_schema(row, def_names[row->child]));
		if (row->flags & REQ)
			json_array_append_new(required, json_string(row->key));
	}
	json_t *o = json_pack("{s:s, s:s, s:b, s:o}", "type", "object", "description", obj.meaning,
	        "additionalProperties", 0, "properties", properties);
	if (json_array_size(required))
		json_object_set_new(o, "required", required);
	else
		json_decref(required);
	return o;
}

json_t *plan_schema_json(void)
{
	json_t *root = json_pack("{s:s, s:s}", "$schema", "https://json-schema.org/draft/2020-12/schema", "title",
	        "holdfast continuity plan");
	json_t *plan = object_schema(OBJ_plan), *defs = json_object();
	json_object_update(root, plan);
	json_decref(plan);
	for (unsigned i = OBJ_plan + 1; i < OBJ_COUNT; i++)
		json_object_set_new(defs, def_names[i], object_schema((enum obj_id)i));
	json_object_set_new(root, "$defs", defs);
	return root;
}

/* --- reference page --- */

static const char *const page_head =
        "# Plan reference\n\n"
        "Every key of a plan file. A plan is YAML in UTF-8, one plan a file, at most 1 MiB; anchors, aliases, merge "
        "keys, tags and\n"
        "further documents are refused, and so are unknown and duplicate keys.\n\n"
        "| kind of value | how it is written |\n"
        "|---|---|\n"
        "| id | `[a-z0-9-]`, at most 63, not beginning or ending with `-` |\n"
        "| duration | a number and one unit: `250ms` `30s` `15m` `4h` `30d` `2w` `7y` (365 days) |\n"
        "| size | `512KiB` `64MiB` `1GiB`, decimal `5MB`, or bytes |\n"
        "| date | `2027-03-31`, or RFC 3339 with time and zone |\n"
        "| calendar rule | `minute hour day month weekday`, or `@hourly @daily @weekly @monthly @yearly` |\n"
        "| argument vector | `[\"program\", \"argument\"]`; there is no shell between |\n"
        "| secret reference | `file:/path`, `env:NAME` or `systemd-credential:NAME`; a secret itself is refused |\n\n"
        "A calendar rule counts in the plan's time zone. A slot in an hour that the zone skips fires once, at the "
        "first minute that\n"
        "exists again; one in an hour that it repeats fires the first time only. A rule for every hour (`*/15 * * * "
        "*`) keeps its pace\n"
        "through both.\n";

static void allowed_md(struct buf *out, const struct key_row *row)
{
	char word[64];
	if (row->type == T_INT || row->type == T_REAL) {
		int64_t lo, hi;
		allowed_range(row->allowed, &lo, &hi);
		buf_addf(out, " %lld to %lld", (long long)lo, (long long)hi);
	} else if (row->type != T_DURATION) {
		for (size_t i = 0; allowed_word(row->allowed, i, word); i++)
			buf_addf(out, "%s`%s`", i ? ", " : ": ", word);
	}
}

static void default_md(struct buf *out, const struct key_row *row)
{
	char word[64];
	if (row->flags & REQ)
		buf_addf(out, "required");
	else if (row->type < T_TEXTS)
		buf_addf(out, "%s%s%s", row->dflt ? "`" : "", row->dflt ? row->dflt : "", row->dflt ? "`" : "");
	else
		for (size_t i = 0; row->dflt && allowed_word(row->dflt, i, word); i++)
			buf_addf(out, "%s`%s`", i ? ", " : "", word);
}

void plan_reference_md(struct buf *out)
{
	buf_addf(out, "%s", page_head);
	for (unsigned i = 0; i < OBJ_COUNT; i++) {
		struct obj_row obj = schema_obj((enum obj_id)i);
		buf_addf(out, "\n## %s\n\n%s\n\n| key | value | default | meaning |\n|---|---|---|---|\n",
		        obj.path[0] ? obj.path : "The plan", obj.meaning);
		for (size_t k = 0; k < obj.n_keys; k++) {
			const struct key_row *row = &obj.keys[k];
			buf_addf(out, "| `%s` | %s", row->key, schema_type_name(row->type));
			allowed_md(out, row);
			buf_addf(out, " | ");
			default_md(out, row);
			buf_addf(out, " | %s |\n", row->meaning);
		}
	}
}
