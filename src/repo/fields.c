#include "repo/fields.h"

#include <string.h>
#include "base/clock.h"
#include "base/str.h"

void fields_set(json_t *o, const char *key, json_t *v)
{
	BUG_ON(!v || json_object_set_new(o, key, v));
}

void fields_push(json_t *array, json_t *v)
{
	BUG_ON(!v || json_array_append_new(array, v));
}

int fields_set_u64(json_t *o, const char *key, uint64_t v, struct err *err)
{
	if (v > FIELDS_INT_MAX)
		return err_set(err, ERR_FORMAT, "'%s' is above 2^53", key);
	fields_set(o, key, json_integer((json_int_t)v));
	return 0;
}

void fields_set_hex_or_null(json_t *o, const char *key, bool has, const void *p, size_t n)
{
	fields_set(o, key, has ? json_hex(p, n) : json_null());
}

void fields_set_time(json_t *o, const char *key, int64_t wall_ns)
{
	char text[CLOCK_TEXT];

	fields_set(o, key, json_string(clock_rfc3339(text, wall_ns ? wall_ns : clock_wall_ns())));
}

int fields_u64(const json_t *o, const char *key, const char *what, uint64_t max, uint64_t *ret, struct err *err)
{
	int64_t v;
	int rc = json_get_int(o, key, what, &v, err);

	*ret = 0;
	if (rc)
		return rc;
	if (v < 0 || (uint64_t)v > max)
		return err_set(err, ERR_FORMAT, "%s: '%s' is out of range", what, key);
	*ret = (uint64_t)v;
	return 0;
}

int fields_epoch(const json_t *o, const char *what, uint32_t *ret, struct err *err)
{
	uint64_t v;
	int rc = fields_u64(o, "epoch", what, UINT32_MAX, &v, err);

	*ret = (uint32_t)v;
	if (!rc && !v)
		return err_set(err, ERR_FORMAT, "%s: 'epoch' is out of range", what);
	return rc;
}

int fields_id(const json_t *o, const char *key, const char *what, char out[SOURCE_MAX + 1], struct err *err)
{
	const char *s;
	int rc = json_get_str(o, key, what, &s, err);

	if (rc)
		return rc;
	if (!str_is_id(s))
		return err_set(err, ERR_FORMAT, "%s: '%s' is not a name of a-z, 0-9 and '-'", what, key);
	memcpy(out, s, strlen(s) + 1);
	return 0;
}

int fields_name16(const json_t *o, const char *key, const char *what, char out[NAME16], struct err *err)
{
	const char *s;
	int rc = json_get_str(o, key, what, &s, err);

	if (rc)
		return rc;
	if (!format_name16_ok(s))
		return err_set(err, ERR_FORMAT, "%s: '%s' is not 16 hex digits", what, key);
	memcpy(out, s, NAME16);
	return 0;
}

int fields_run(const json_t *o, const char *what, char out[33], struct err *err)
{
	const char *s;
	size_t n;
	int rc = json_get_str(o, "run", what, &s, err);

	if (rc)
		return rc;
	n = strlen(s);
	if (n < 1 || n > 32 || strspn(s, "0123456789abcdef") != n)
		return err_set(err, ERR_FORMAT, "%s: 'run' is not up to 32 hex digits", what);
	memcpy(out, s, n + 1);
	return 0;
}

int fields_time(const json_t *o, const char *key, const char *what, int64_t *ret, struct err *err)
{
	const char *s;
	int rc = json_get_str(o, key, what, &s, err);

	if (rc)
		return rc;
	if (!clock_parse(s, ret))
		return err_set(err, ERR_FORMAT, "%s: '%s' is not a time", what, key);
	return 0;
}

int fields_hex_or_null(
        const json_t *o, const char *key, const char *what, bool *has, void *out, size_t n, struct err *err)
{
	*has = !json_is_null(json_object_get(o, key));
	memset(out, 0, n);
	return *has ? json_get_hex(o, key, what, out, n, err) : 0;
}
