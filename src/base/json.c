#include "base/json.h"

#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

enum { JSON_DEPTH = 64 };
#define JSON_INT_MAX (INT64_C(1) << 53)

void json_release(json_t **j)
{
	json_decref(*j);
	*j = NULL;
}

static bool plain_key(const char *key, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (key[i] < 0x20 || key[i] > 0x7e)
			return false;
	return true;
}

static bool plain_text(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20)
			return false;
	return str_is_utf8(s, n);
}

static int check_value(const json_t *j, int depth, struct err *err);

static int check_object(const json_t *j, int depth, struct err *err)
{
	json_t *o = (json_t *)(uintptr_t)j; /* jansson's iterator wants it mutable */
	const char *key;
	json_t *value;
	size_t n;

	json_object_keylen_foreach(o, key, n, value)
	{
		int rc;

		if (!plain_key(key, n))
			return err_set(err, ERR_FORMAT, "json key that is not plain ascii");
		rc = check_value(value, depth + 1, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int check_array(const json_t *j, int depth, struct err *err)
{
	for (size_t i = 0; i < json_array_size(j); i++) {
		int rc = check_value(json_array_get(j, i), depth + 1, err);

		if (rc)
			return rc;
	}
	return 0;
}

static int check_value(const json_t *j, int depth, struct err *err)
{
	if (!j)
		return err_set(err, ERR_FORMAT, "json value is absent");
	if (depth > JSON_DEPTH)
		return err_set(err, ERR_FORMAT, "json nested deeper than %d", JSON_DEPTH);
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		return check_object(j, depth, err);
	case JSON_ARRAY:
		return check_array(j, depth, err);
	case JSON_STRING:
		if (!plain_text(json_string_value(j), json_string_length(j)))
			return err_set(err, ERR_FORMAT, "json string with control characters or invalid utf-8");
		return 0;
	case JSON_INTEGER:
		if (json_integer_value(j) > JSON_INT_MAX || json_integer_value(j) < -JSON_INT_MAX)
			return err_set(err, ERR_FORMAT, "json integer beyond 2^53");
		return 0;
	case JSON_REAL:
		return err_set(err, ERR_FORMAT, "json number that is not an integer");
	case JSON_TRUE:
	case JSON_FALSE:
	case JSON_NULL:
		return 0;
	}
	return err_set(err, ERR_INTERNAL, "json value of an unknown type");
}

struct dump {
	struct buf *out;
	struct err *err;
	int rc;
};

static int dump_put(const char *p, size_t n, void *data)
{
	struct dump *d = data;

	d->rc = buf_put(d->out, p, n, d->err);
	return d->rc ? -1 : 0;
}

int json_canonical(const json_t *j, struct buf *out, struct err *err)
{
	struct dump d = {out, err, 0};
	size_t before = out->len;
	int rc = check_value(j, 1, err);

	if (rc)
		return rc;
	if (json_dump_callback(j, dump_put, &d, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) == 0)
		return 0;
	out->len = before;
	return d.rc ? d.rc : err_set(err, ERR_INTERNAL, "json value cannot be written");
}

/* The parser recurses; how deep is settled here, before it starts. */
static bool too_deep(const char *s, size_t n)
{
	int depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < n; i++) {
		if (quoted) {
			if (s[i] == '\\')
				i++;
			else if (s[i] == '"')
				quoted = false;
		} else if (s[i] == '"') {
			quoted = true;
		} else if (s[i] == '[' || s[i] == '{') {
			if (++depth > JSON_DEPTH)
				return true;
		} else if (s[i] == ']' || s[i] == '}') {
			depth--;
		}
	}
	return false;
}

int json_parse(const void *p, size_t n, size_t limit, const char *what, json_t **ret, struct err *err)
{
	json_error_t why;

	*ret = NULL;
	if (n > limit)
		return err_set(err, ERR_NOMEM, "%s: json larger than %zu bytes", what, limit);
	if (!n)
		return err_set(err, ERR_FORMAT, "%s: empty where json is expected", what);
	if (too_deep(p, n))
		return err_set(err, ERR_FORMAT, "%s: json nested deeper than %d", what, JSON_DEPTH);
	*ret = json_loadb(p, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (*ret)
		return 0;
	return err_set(err, ERR_FORMAT, "%s: line %d: %s", what, why.line, why.text);
}

int json_parse_canonical(const void *p, size_t n, size_t limit, const char *what, json_t **ret, struct err *err)
{
	CLEAN(json_release) json_t *j = NULL;
	/* Canonical text of a value is never longer than what it came from, but for escapes it refuses. */
	CLEAN(buf_release) struct buf again = BUF_INIT(n);
	int rc = json_parse(p, n, limit, what, &j, err);

	*ret = NULL;
	if (rc)
		return rc;
	rc = json_canonical(j, &again, err);
	if (rc && rc != -(int)ERR_NOMEM)
		return err ? err_wrap(err, "%s", what) : rc;
	if (rc || again.len != n || memcmp(again.p, p, n) != 0)
		return err_set(err, ERR_FORMAT, "%s: json is not in canonical form", what);
	*ret = TAKE(j);
	return 0;
}

static int want(const json_t *o, const char *key, const char *what, bool right, const char *type, struct err *err)
{
	if (!json_is_object(o))
		return err_set(err, ERR_FORMAT, "%s: not an object", what);
	if (!json_object_get(o, key))
		return err_set(err, ERR_FORMAT, "%s: '%s' is missing", what, key);
	if (!right)
		return err_set(err, ERR_FORMAT, "%s: '%s' is not %s", what, key, type);
	return 0;
}

int json_get_str(const json_t *o, const char *key, const char *what, const char **ret, struct err *err)
{
	json_t *v = json_object_get(o, key);

	*ret = json_string_value(v);
	return want(o, key, what, json_is_string(v), "a string", err);
}

int json_get_int(const json_t *o, const char *key, const char *what, int64_t *ret, struct err *err)
{
	json_t *v = json_object_get(o, key);

	*ret = json_integer_value(v);
	return want(o, key, what, json_is_integer(v), "an integer", err);
}

int json_get_bool(const json_t *o, const char *key, const char *what, bool *ret, struct err *err)
{
	json_t *v = json_object_get(o, key);

	*ret = json_is_true(v);
	return want(o, key, what, json_is_boolean(v), "true or false", err);
}

int json_get_obj(const json_t *o, const char *key, const char *what, json_t **ret, struct err *err)
{
	json_t *v = json_object_get(o, key);

	*ret = json_is_object(v) ? v : NULL;
	return want(o, key, what, *ret != NULL, "an object", err);
}

int json_get_arr(const json_t *o, const char *key, const char *what, json_t **ret, struct err *err)
{
	json_t *v = json_object_get(o, key);

	*ret = json_is_array(v) ? v : NULL;
	return want(o, key, what, *ret != NULL, "an array", err);
}

int json_get_hex(const json_t *o, const char *key, const char *what, void *out, size_t n, struct err *err)
{
	const char *text;
	int rc = json_get_str(o, key, what, &text, err);

	if (rc)
		return rc;
	if (!hex_decode(out, n, text))
		return err_set(err, ERR_FORMAT, "%s: '%s' is not %zu bytes in lower-case hex", what, key, n);
	return 0;
}

int json_get_b64(const json_t *o, const char *key, const char *what, void *out, size_t n, struct err *err)
{
	CLEAN(free_ptr) unsigned char *raw = NULL;
	const char *text;
	size_t len;
	int rc = json_get_str(o, key, what, &text, err);

	if (rc)
		return rc;
	/* The length is compared before anything is allocated for it. */
	len = strlen(text);
	if (len / 4 == (n + 2) / 3) {
		raw = xmalloc(3 * (len / 4));
		if (base64_decode(raw, text, len) == (long)n) {
			if (n)
				memcpy(out, raw, n);
			mem_cleanse(raw, n);
			return 0;
		}
	}
	return err_set(err, ERR_FORMAT, "%s: '%s' is not %zu bytes in base64", what, key, n);
}

/* Text of ours always fits the rules, so absence can only mean that memory ran out. */
static json_t *must(json_t *j)
{
	if (!j)
		BUG("out of memory for json");
	return j;
}

json_t *json_hex(const void *p, size_t n)
{
	CLEAN(free_ptr) char *text = xmalloc(2 * n + 1);

	hex_encode(text, p, n);
	return must(json_string(text));
}

json_t *json_b64(const void *p, size_t n)
{
	CLEAN(free_ptr) char *text = xmalloc(4 * ((n + 2) / 3) + 1);

	base64_encode(text, p, n);
	return must(json_string(text));
}

json_t *json_time(int64_t wall_ns)
{
	char text[CLOCK_TEXT];

	return wall_ns ? must(json_string(clock_rfc3339(text, wall_ns))) : json_null();
}

/* Each byte that canonical text cannot carry becomes U+FFFD. */
static json_t *lossy_text(const char *s, size_t n)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(SIZE_MAX);

	while (n) {
		uint32_t cp = 0;
		size_t len = str_utf8_next(s, n, &cp), take = len ? len : 1;

		if (len && cp >= 0x20)
			buf_add(&b, s, take);
		else
			buf_add(&b, "\xef\xbf\xbd", 3);
		s += take;
		n -= take;
	}
	return must(json_stringn(buf_str(&b), b.len));
}

void json_set_path(json_t *o, const char *key, const void *path, size_t n)
{
	char other[80];
	int len = snprintf(other, sizeof other, "%s_b64", key);

	BUG_ON(len < 0 || (size_t)len >= sizeof other);
	if (plain_text(path, n)) {
		BUG_ON(json_object_set_new(o, key, must(json_stringn(path, n))));
		json_object_del(o, other);
		return;
	}
	BUG_ON(json_object_set_new(o, key, lossy_text(path, n)));
	BUG_ON(json_object_set_new(o, other, json_b64(path, n)));
}
