/* Result files on disk. */
#include "evidence/result.h"

#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/fs.h"

void result_file_release(struct result_file *f)
{
	free(f->path);
	*f = (struct result_file){0};
}

static char *file_name(const json_t *j)
{
	int64_t started = 0;
	char utc[CLOCK_TEXT];
	char *name;

	BUG_ON(!clock_parse(json_string_value(json_object_get(j, "started")), &started));
	BUG_ON(asprintf(&name, "%s-%s-%s.json", clock_compact(utc, started),
	               json_string_value(json_object_get(j, "kind")), json_string_value(json_object_get(j, "id"))) < 0);
	return name;
}

int result_write(const struct result *r, const char *results_dir, struct result_file *ret, struct err *err)
{
	const json_t *j = result_json(r);
	CLEAN(free_ptr)
	char *dir = fs_join(results_dir, json_string_value(json_object_get(json_object_get(j, "plan"), "name")));
	CLEAN(free_ptr) char *latest = fs_join(dir, "latest.json"), *name = NULL, *path = NULL, *body = NULL;
	CLEAN(buf_release) struct buf text = BUF_INIT(RESULT_MAX);
	int rc;

	BUG_ON(!json_object_get(j, "outcome"));
	*ret = (struct result_file){0};
	body = json_dumps(j, JSON_INDENT(1) | JSON_SORT_KEYS);
	if (!body)
		return err_set(err, ERR_FORMAT, "a result cannot be written as json");
	rc = buf_printf(&text, err, "%s\n", body);
	if (!rc)
		rc = fs_mkdirs(dir, 0755, err);
	if (rc)
		return rc;
	name = file_name(j);
	path = fs_join(dir, name);
	rc = fs_create(path, text.p, text.len, 0644, err);
	if (!rc)
		rc = fs_replace(latest, text.p, text.len, 0644, err);
	if (rc)
		return rc;
	sha256_of(text.p, text.len, ret->sha256);
	ret->path = TAKE(path);
	return 0;
}

int result_read(const char *path, json_t **ret, struct err *err)
{
	CLEAN(buf_release) struct buf text = BUF_INIT(RESULT_MAX);
	CLEAN(json_release) json_t *j = NULL;
	int64_t v;
	int rc = fs_read(path, &text, err);

	*ret = NULL;
	if (!rc)
		rc = json_parse(text.p, text.len, RESULT_MAX, path, &j, err);
	if (rc)
		return rc;
	if (!json_is_object(j))
		return err_set(err, ERR_FORMAT, "%s is no result", path);
	rc = json_get_int(j, "v", path, &v, err);
	if (rc)
		return rc;
	if (v > RESULT_VERSION)
		return err_set(err, ERR_UNSUPPORTED, "%s is a result of version %lld, newer than this program", path,
		        (long long)v);
	*ret = TAKE(j);
	return 0;
}
