#include "s3/s3_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"
#include "crypto/crypto.h"

#define VERSIONS_MAX 10000
#define PAGES_MAX 64

static int versions_page(struct s3 *s, const char *key, const char *full, const struct s3_page *before,
        struct s3_page *ret, struct err *err)
{
	struct s3_request r = {.method = "GET"};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;

	s3_query_add(&r, "versions", "");
	s3_query_add(&r, "encoding-type", "url");
	s3_query_add(&r, "prefix", full);
	if (before->next_key) {
		s3_query_add(&r, "key-marker", before->next_key);
		if (before->next_version)
			s3_query_add(&r, "version-id-marker", before->next_version);
	}
	int rc = s3_ask(s, &r, &a, "list the versions of", key, err);

	return rc ? rc : s3_xml_versions(a.body.p, a.body.len, ret, err);
}

/* Moves what is of this very key from page to ret. True when the key has no more. */
static bool gather(struct s3_page *ret, struct s3_page *page, const char *full)
{
	for (size_t i = 0; i < page->n; i++) {
		struct s3_object *o = &page->object[i];
		int c = strcmp(o->key, full);

		if (c > 0)
			return true;
		if (c)
			continue;
		ret->object = xgrow(ret->object, ret->n, &ret->cap, sizeof *ret->object);
		ret->object[ret->n++] = *o;
		*o = (struct s3_object){0};
		o->key = xstrdup("");
	}
	return !page->truncated || !page->next_key;
}

int s3_versions(struct s3 *s, const char *key, const char *full, struct s3_page *ret, struct err *err)
{
	struct s3_page page = {0};
	int rc = 0, pages = 0;
	bool last = false;

	*ret = (struct s3_page){0};
	while (!rc && !last) {
		struct s3_page next = {0};

		rc = ++pages > PAGES_MAX || ret->n > VERSIONS_MAX
		             ? err_set(err, ERR_FORMAT, "object %s has too many versions", key)
		             : versions_page(s, key, full, &page, &next, err);
		s3_page_release(&page);
		page = next;
		last = !rc && gather(ret, &page, full);
	}
	s3_page_release(&page);
	if (rc)
		s3_page_release(ret);
	return rc;
}

bool s3_by_version(const struct s3 *s, const char *key)
{
	const char *slash = strrchr(key, '/'), *last = slash ? slash + 1 : key;
	unsigned char digest[SHA256_LEN];

	return s->first_wins && !hex_decode(digest, sizeof digest, last);
}

int s3_first(
        struct s3 *s, const char *key, const char *full, char **ret_version, struct store_stat *ret, struct err *err)
{
	CLEAN(s3_page_release) struct s3_page all = {0};
	size_t n = 0;
	int rc = s3_versions(s, key, full, &all, err);

	if (rc)
		return rc;
	while (n < all.n && !all.object[n].marker)
		n++;
	if (!n)
		return err_set(err, ERR_MISSING, "object %s is not there", key);
	struct s3_object *first = &all.object[n - 1];

	*ret = (struct store_stat){first->size, first->mtime_ns};
	if (ret_version)
		*ret_version = TAKE(first->version);
	return 0;
}

int s3_was_first(struct s3 *s, const char *key, const char *full, const char *version, struct err *err)
{
	CLEAN(free_ptr) char *first = NULL;
	struct store_stat st;

	if (!*version || !s3_by_version(s, key))
		return 0;
	int rc = s3_first(s, key, full, &first, &st, err);

	if (rc)
		return rc;
	return strcmp(first, version) ? err_set(err, ERR_EXISTS, "object %s is there already", key) : 0;
}

int s3_get_older(struct store *store, const char *key, unsigned n, struct store_sink *sink, struct err *err)
{
	struct s3 *s = s3_of(store);
	CLEAN(free_ptr) char *full = NULL;
	CLEAN(s3_page_release) struct s3_page all = {0};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;

	if (!(store->caps & STORE_VERSIONS))
		return err_set(err, ERR_UNSUPPORTED, "bucket %s keeps no versions", s3_http_place(s->http)->bucket);
	int rc = s3_key(s, key, &full, err);

	if (!rc)
		rc = s3_versions(s, key, full, &all, err);
	for (size_t i = 0; !rc && i < all.n; i++) {
		const struct s3_object *o = &all.object[i];

		/* The newest is what get gives, unless a delete marker hides it. */
		if (o->marker || o->latest || --n)
			continue;
		struct s3_request r = {.method = "GET", .key = full, .sink = sink};

		s3_query_add(&r, "versionId", o->version);
		return s3_ask(s, &r, &a, "read an older version of", key, err);
	}
	return rc ? rc : err_set(err, ERR_MISSING, "object %s has no more versions", key);
}

int s3_delete(struct s3 *s, const char *key, const char *full, const char *version, bool bypass, struct err *err)
{
	struct s3_request r = {.method = "DELETE", .key = full};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;

	if (version)
		s3_query_add(&r, "versionId", version);
	if (bypass)
		s3_header_add(&r, "x-amz-bypass-governance-retention", "true");
	return s3_ask(s, &r, &a, "delete", key, err);
}

/* For good: every version, the oldest first, so that one that is locked stops it before anything changes for readers.
 */
int s3_remove(struct store *store, const char *key, struct err *err)
{
	struct s3 *s = s3_of(store);
	CLEAN(free_ptr) char *full = NULL;
	CLEAN(s3_page_release) struct s3_page all = {0};
	struct store_stat st;
	int rc = s3_key(s, key, &full, err);

	if (!rc)
		rc = store->ops->stat(store, key, &st, err);
	if (!rc && !(store->caps & STORE_VERSIONS))
		return s3_delete(s, key, full, NULL, false, err);
	if (!rc)
		rc = s3_versions(s, key, full, &all, err);
	for (size_t i = all.n; !rc && i-- > 0;)
		rc = s3_delete(s, key, full, all.object[i].version, false, err);
	return rc;
}
