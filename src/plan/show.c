#include "plan/internal.h"

#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"

char *duration_text(char out[32], int64_t ms)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = {{"y", 31536000000}, {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
	size_t i = 0;
	while (ms % units[i].ms != 0)
		i++;
	snprintf(out, 32, "%lld%s", (long long)(ms / units[i].ms), ms == 0 ? "s" : units[i].unit);
	return out;
}

char *size_text(char out[32], uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t i = 0;
	while (bytes > 0 && bytes % 1024 == 0 && i + 1 < ARRAY_LEN(units)) {
		bytes /= 1024;
		i++;
	}
	snprintf(out, 32, "%llu%s", (unsigned long long)bytes, units[i]);
	return out;
}

static json_t *string_or_null(const char *s)
{
	return s ? json_string(s) : NULL;
}

static json_t *list_json(const struct plan_list *list)
{
	if (list->n == 0)
		return NULL;
	json_t *a = json_array();
	for (size_t i = 0; i < list->n; i++)
		json_array_append_new(a, json_string(list->v[i]));
	return a;
}

static json_t *argvs_json(const struct plan_lists *lists)
{
	if (lists->n == 0)
		return NULL;
	json_t *a = json_array();
	for (size_t i = 0; i < lists->n; i++)
		json_array_append_new(a, list_json(&lists->v[i]));
	return a;
}

static json_t *env_json(const struct plan_pairs *pairs)
{
	if (pairs->n == 0)
		return NULL;
	json_t *o = json_object();
	for (size_t i = 0; i < pairs->n; i++)
		json_object_set_new(o, pairs->v[i].name, json_string(pairs->v[i].value));
	return o;
}

static json_t *window_json(const int64_t min[2])
{
	if (min[0] < 0)
		return NULL;
	char text[64];
	snprintf(text, sizeof(text), "%02d:%02d-%02d:%02d", (int)(min[0] / 60), (int)(min[0] % 60), (int)(min[1] / 60),
	        (int)(min[1] % 60));
	return json_string(text);
}

static json_t *date_json(int64_t ns)
{
	char text[CLOCK_TEXT];
	return ns > 0 ? json_stringn(clock_rfc3339(text, ns), 10) : NULL;
}

static json_t *number_json(const struct key_row *row, const void *p)
{
	char text[36];
	int64_t i;
	uint64_t u;
	memcpy(&i, p, sizeof(i));
	memcpy(&u, p, sizeof(u));
	switch (row->type) {
	case T_INT:
		return i >= 0 ? json_integer(i) : NULL;
	case T_DURATION:
		return i >= 0 ? json_string(duration_text(text, i)) : NULL;
	case T_DATE:
		return date_json(i);
	default:
		if (u == 0)
			return NULL;
		size_text(text, u);
		if (row->type == T_RATE)
			strcat(text, "/s");
		return json_string(text);
	}
}

static json_t *enum_json(const struct key_row *row, const void *p)
{
	unsigned i;
	char word[64];
	memcpy(&i, p, sizeof(i));
	return allowed_word(row->allowed, i, word) ? json_string(word) : NULL;
}

static json_t *object_json(enum obj_id id, const unsigned char *object);

static json_t *objects_json(const struct key_row *row, const unsigned char *object)
{
	unsigned char *v;
	size_t n, size = schema_obj(row->child).size;
	memcpy(&v, object + row->off, sizeof(v));
	memcpy(&n, object + row->n_off, sizeof(n));
	if (n == 0)
		return NULL;
	json_t *a = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(a, object_json(row->child, v + i * size));
	return a;
}

/* The value of a key, NULL when it was not given and has no default. */
static json_t *value_json(const struct key_row *row, const unsigned char *object)
{
	const unsigned char *p = object + row->off;
	const char *s;
	double d;
	bool b;
	switch (row->type) {
	case T_OBJ:
		memcpy(&s, p, sizeof(s));
		return s ? object_json(row->child, (const unsigned char *)s) : NULL;
	case T_OBJS:
		return objects_json(row, object);
	case T_INT:
	case T_DURATION:
	case T_DATE:
	case T_SIZE:
	case T_RATE:
		return number_json(row, p);
	case T_ENUM:
		return enum_json(row, p);
	case T_BOOL:
		memcpy(&b, p, sizeof(b));
		return json_boolean(b);
	case T_REAL:
		memcpy(&d, p, sizeof(d));
		return json_real(d);
	case T_WINDOW:
		return window_json((const int64_t *)(const void *)p);
	case T_CRON:
		return string_or_null(((const struct plan_cron *)(const void *)p)->text);
	case T_ARGVS:
		return argvs_json((const struct plan_lists *)(const void *)p);
	case T_ENV:
		return env_json((const struct plan_pairs *)(const void *)p);
	default:
		if (row->type >= T_TEXTS)
			return list_json((const struct plan_list *)(const void *)p);
		memcpy(&s, p, sizeof(s));
		return string_or_null(s);
	}
}

/* Keys that a source, step or check of another kind does not have are left out, though they have a default. */
static bool applies(const struct key_row *row, const unsigned char *object)
{
	if (row->obj == OBJ_source && ((const struct plan_source *)(const void *)object)->command.n)
		return row->off != offsetof(struct plan_source, exclude_caches) &&
		       row->off != offsetof(struct plan_source, one_file_system);
	if (row->obj == OBJ_step) {
		const struct plan_step *s = (const struct plan_step *)(const void *)object;
		if (row->off == offsetof(struct plan_step, strip))
			return s->strip > 0;
		return (s->restore && s->to) || row->off != offsetof(struct plan_step, metadata);
	}
	if (row->obj == OBJ_check && row->off == offsetof(struct plan_check, expect))
		return ((const struct plan_check *)(const void *)object)->kind == PLAN_CHECK_HTTP;
	return true;
}

static json_t *object_json(enum obj_id id, const unsigned char *object)
{
	struct obj_row obj = schema_obj(id);
	json_t *o = json_object();
	for (size_t i = 0; i < obj.n_keys; i++) {
		json_t *v = applies(&obj.keys[i], object) ? value_json(&obj.keys[i], object) : NULL;
		if (v)
			json_object_set_new(o, obj.keys[i].key, v);
	}
	return o;
}

json_t *plan_to_json(const struct plan *p)
{
	return object_json(OBJ_plan, (const unsigned char *)p);
}
