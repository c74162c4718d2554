#include "plan/internal.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"

/* Gives offsetof the type of an object by its name in the table. */
union schema_of {
#define OBJ(id, ctype, path, meaning) ctype id;
#define KEY(...)
#define SUB(...)
#define SUBS(...)
#include "plan/schema.def"
};
#define OFF(o, f) offsetof(__typeof__(((union schema_of *)0)->o), f)

static const struct key_row rows[] = {
#define OBJ(...)
#define KEY(o, key, type, f, flags, dflt, allowed, meaning)                                                            \
	{OBJ_##o, key, type, OFF(o, f), 0, OBJ_##o, flags, dflt, allowed, meaning},
#define SUB(o, key, child, f, flags, meaning)                                                                          \
	{OBJ_##o, key, T_OBJ, OFF(o, f), 0, OBJ_##child, flags, NULL, NULL, meaning},
#define SUBS(o, key, child, f, nf, flags, meaning)                                                                     \
	{OBJ_##o, key, T_OBJS, OFF(o, f), OFF(o, nf), OBJ_##child, flags, NULL, NULL, meaning},
#include "plan/schema.def"
};

static const struct obj_head {
	const char *path;
	size_t size;
	const char *meaning;
} objs[] = {
#define OBJ(id, ctype, path, meaning) {path, sizeof(ctype), meaning},
#define KEY(...)
#define SUB(...)
#define SUBS(...)
#include "plan/schema.def"
};
_Static_assert(ARRAY_LEN(objs) == OBJ_COUNT, "one row an object");

struct obj_row schema_obj(enum obj_id id)
{
	struct obj_row r = {objs[id].path, objs[id].size, objs[id].meaning, NULL, 0};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].obj != id)
			continue;
		if (!r.keys)
			r.keys = &rows[i];
		r.n_keys++;
	}
	return r;
}

static const char *const type_names[] = {
        [T_TEXT] = "text",
        [T_ID] = "id",
        [T_ABS] = "absolute path",
        [T_WORK] = "path",
        [T_NAME] = "file name",
        [T_HOST] = "host",
        [T_URL] = "site URL",
        [T_HTTP] = "http URL",
        [T_PING] = "URL or secret reference",
        [T_ADDRESS] = "host:port",
        [T_SECRET] = "secret reference",
        [T_ZONE] = "time zone",
        [T_WORD] = "word",
        [T_ENUM] = "word",
        [T_BOOL] = "true or false",
        [T_INT] = "whole number",
        [T_REAL] = "number",
        [T_DURATION] = "duration",
        [T_SIZE] = "size",
        [T_RATE] = "size per second",
        [T_DATE] = "date",
        [T_WINDOW] = "hours of the day",
        [T_CRON] = "calendar rule",
        [T_REL] = "relative path",
        [T_PATTERN] = "pattern",
        [T_EMAIL] = "mail address",
        [T_ARG] = "argument",
        [T_TEXTS] = "list of texts",
        [T_IDS] = "list of ids",
        [T_ABSS] = "list of absolute paths",
        [T_RELS] = "list of relative paths",
        [T_PATTERNS] = "list of patterns",
        [T_NAMES] = "list of file names",
        [T_WORDS] = "list of words",
        [T_CATALOGUES] = "list of catalogue ids",
        [T_EMAILS] = "list of mail addresses",
        [T_PINGS] = "list of URLs or secret references",
        [T_ARGV] = "argument vector",
        [T_ARGVS] = "list of argument vectors",
        [T_ENV] = "mapping of variables",
        [T_OBJ] = "mapping",
        [T_OBJS] = "list of mappings",
};

const char *schema_type_name(enum value_type t)
{
	return type_names[t];
}

bool allowed_word(const char *allowed, size_t i, char out[64])
{
	for (; allowed && i > 0; i--) {
		allowed = strchr(allowed, '|');
		allowed = allowed ? allowed + 1 : NULL;
	}
	if (!allowed)
		return false;
	snprintf(out, 64, "%.*s", (int)strcspn(allowed, "|"), allowed);
	return true;
}

void allowed_range(const char *allowed, int64_t *lo, int64_t *hi)
{
	char *end = NULL;
	*lo = strtoll(allowed, &end, 10);
	BUG_ON(strncmp(end, "..", 2) != 0);
	*hi = strtoll(end + 2, &end, 10);
	BUG_ON(*end);
}

int allowed_index(const char *allowed, const char *word, size_t len)
{
	char w[64];
	for (size_t i = 0; allowed_word(allowed, i, w); i++) {
		if (strlen(w) == len && memcmp(w, word, len) == 0)
			return (int)i;
	}
	return -1;
}

const char *plan_exercise_name(enum plan_exercise k)
{
	static const char *const names[] = {"review", "walkthrough", "tabletop", "call-tree", "component-restore",
	        "functional", "full-scale", "switchover"};
	return (size_t)k < ARRAY_LEN(names) ? names[k] : "unknown";
}

const char *plan_check_kind_name(enum plan_check_kind k)
{
	static const char *const names[] = {"manifest", "command", "freshness", "compare", "http", "tcp"};
	return (size_t)k < ARRAY_LEN(names) ? names[k] : "unknown";
}
