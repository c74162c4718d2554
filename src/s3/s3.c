#include "s3/s3_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "s3/s3_internal.h"
#include "base/mem.h"
#include "base/str.h"

#define PAGE_KEYS "1000"
#define EMPTY_PAGES_MAX 16

int s3_key(const struct s3 *s, const char *key, char **ret, struct err *err)
{
	size_t prefix = strlen(s->prefix), n = strlen(key);

	*ret = NULL;
	if (prefix + n > S3_KEY_MAX)
		return err_set(err, ERR_FORMAT, "key %.100s.. is too long beneath %s", key, s->prefix);
	*ret = xmalloc(prefix + n + 1);
	memcpy(*ret, s->prefix, prefix);
	memcpy(*ret + prefix, key, n + 1);
	return 0;
}

int s3_ask(struct s3 *s, const struct s3_request *r, struct s3_answer *a, const char *what, const char *key,
        struct err *err)
{
	int rc = s3_exchange(s->http, r, a, err);

	if (rc)
		return rc;
	return a->status >= 200 && a->status < 300 ? 0 : s3_refused(a, what, key, err);
}

/* --- put --- */

int s3_lock_headers(const struct s3 *s, const char *key, struct s3_request *r, char until[CLOCK_TEXT], struct err *err)
{
	int64_t ms = str_starts(key, "l/") ? s->lock.evidence_ms : s->lock.ms, ns;

	if (ms <= 0)
		return 0;
	if (s->object_lock == S3_LOCK_NO) {
		(void)err_set(err, ERR_UNSUPPORTED, "bucket %s has no object lock, and new objects are to be locked",
		        s3_http_place(s->http)->bucket);
		if (err)
			(void)err_hint(err, "object lock is switched on when a bucket is made, by `holdfast init` too");
		return -ERR_UNSUPPORTED;
	}
	if (__builtin_mul_overflow(ms, INT64_C(1000000), &ns) || __builtin_add_overflow(ns, clock_wall_ns(), &ns))
		return err_set(err, ERR_USAGE, "a lock of %lld ms is too long", (long long)ms);
	(void)clock_rfc3339(until, ns);
	s3_header_add(r, "x-amz-object-lock-mode", s->lock.governance ? "GOVERNANCE" : "COMPLIANCE");
	s3_header_add(r, "x-amz-object-lock-retain-until-date", until);
	return 0;
}

static int taken_or(struct s3_answer *a, const char *key, int rc, struct err *err)
{
	return rc == -ERR_EXISTS && a->status == 412 ? err_set(err, ERR_EXISTS, "object %s is there already", key) : rc;
}

static int put_whole(
        struct s3 *s, const char *key, const char *full, const struct store_src *src, uint64_t total, struct err *err)
{
	struct s3_request r = {.method = "PUT", .key = full, .body = src, .len = total, .checksum = true, .once = true};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;
	char until[CLOCK_TEXT];

	s3_header_add(&r, "if-none-match", "*");
	int rc = s3_lock_headers(s, key, &r, until, err);

	if (!rc)
		rc = taken_or(&a, key, s3_ask(s, &r, &a, "write", key, err), err);
	return rc ? rc : s3_was_first(s, key, full, a.version, err);
}

static int s3_put(struct store *store, const char *key, const struct store_src *src, struct err *err)
{
	struct s3 *s = s3_of(store);
	CLEAN(free_ptr) char *full = NULL;
	uint64_t total = 0;
	int rc = s3_key(s, key, &full, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < src->n_pieces; i++)
		total += src->piece[i].n;
	return s->multipart_from && total > s->multipart_from ? s3_put_parts(s, key, full, src, total, err)
	                                                      : put_whole(s, key, full, src, total, err);
}

/* --- get --- */

/* A missing key, told as any driver does; NoSuchBucket is another matter. */
static int missing_or(const struct s3_answer *a, const char *key, int rc, struct err *err)
{
	return rc == -ERR_MISSING && a->status == 404 ? err_set(err, ERR_MISSING, "object %s is not there", key) : rc;
}

static int s3_stat(struct store *store, const char *key, struct store_stat *ret, struct err *err);

static int s3_get(
        struct store *store, const char *key, struct store_range range, struct store_sink *sink, struct err *err)
{
	struct s3 *s = s3_of(store);
	CLEAN(free_ptr) char *full = NULL;
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;
	CLEAN(free_ptr) char *version = NULL;
	char text[64];
	uint64_t end;
	struct store_stat st;
	int rc = s3_key(s, key, &full, err);

	if (rc)
		return rc;
	/* Beyond what an object can be, services disagree about the number itself. */
	if (range.off > STORE_OBJECT_MAX)
		return s3_stat(store, key, &st, err);
	if (s3_by_version(s, key) && (rc = s3_first(s, key, full, &version, &st, err)))
		return rc;
	struct s3_request r = {.method = "GET", .key = full, .sink = sink, .first = range.off};

	if (version)
		s3_query_add(&r, "versionId", version);

	if (range.off || range.len) {
		bool to_end =
		        !range.len || __builtin_add_overflow(range.off, range.len - 1, &end) || end > STORE_OBJECT_MAX;

		r.has_first = true;
		if (to_end)
			(void)snprintf(text, sizeof text, "bytes=%llu-", (unsigned long long)range.off);
		else
			(void)snprintf(text, sizeof text, "bytes=%llu-%llu", (unsigned long long)range.off,
			        (unsigned long long)end);
		s3_header_add(&r, "range", text);
	}
	rc = s3_exchange(s->http, &r, &a, err);
	if (rc || (a.status >= 200 && a.status < 300))
		return rc;
	if (a.status == 416 && r.has_first)
		return 0; /* the range begins at the end of the object or behind it */
	return missing_or(&a, key, s3_refused(&a, "read", key, err), err);
}

/* --- stat --- */

/* An answer to HEAD has no words: a bucket that is gone must not make its objects look missing. */
static int check_bucket(struct s3 *s, struct err *err)
{
	const char *bucket = s3_http_place(s->http)->bucket;
	struct s3_request r = {.method = "HEAD"};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;

	int rc = s3_exchange(s->http, &r, &a, err);

	if (!rc && a.status == 404) {
		str_copy(a.error.code, sizeof a.error.code, "NoSuchBucket");
		rc = s3_refused(&a, "find bucket", bucket, err);
	}
	return rc;
}

static int s3_stat(struct store *store, const char *key, struct store_stat *ret, struct err *err)
{
	struct s3 *s = s3_of(store);
	CLEAN(free_ptr) char *full = NULL;
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;
	int rc = s3_key(s, key, &full, err);

	if (rc)
		return rc;
	if (s3_by_version(s, key))
		return s3_first(s, key, full, NULL, ret, err);
	struct s3_request r = {.method = "HEAD", .key = full};

	rc = s3_ask(s, &r, &a, "look at", key, err);
	if (rc == -ERR_MISSING) {
		rc = check_bucket(s, err);
		return rc ? rc : err_set(err, ERR_MISSING, "object %s is not there", key);
	}
	if (!rc && !a.has_length)
		rc = err_set(err, ERR_FORMAT, "the site does not tell the size of %s", key);
	if (!rc)
		*ret = (struct store_stat){a.length, a.modified_ns};
	return rc;
}

/* --- list --- */

/* One page after the key `after`, or, where a page was empty and yet not the last one, from its token. */
static int list_page(
        struct s3 *s, const char *prefix, const char *after, const char *token, struct s3_page *ret, struct err *err)
{
	struct s3_request r = {.method = "GET"};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;

	s3_query_add(&r, "list-type", "2");
	s3_query_add(&r, "encoding-type", "url");
	s3_query_add(&r, "max-keys", PAGE_KEYS);
	if (*prefix)
		s3_query_add(&r, "prefix", prefix);
	if (token)
		s3_query_add(&r, "continuation-token", token);
	else if (after)
		s3_query_add(&r, "start-after", after);
	int rc = s3_ask(s, &r, &a, "list", prefix, err);

	return rc ? rc : s3_xml_list(a.body.p, a.body.len, ret, err);
}

/* Hand on a page's keys; *last becomes the newest one. That they come in order is for store_list() to see. */
static int hand_on(struct s3 *s, const struct s3_page *page, char **last, store_list_fn fn, void *arg, struct err *err)
{
	size_t skip = strlen(s->prefix);

	for (size_t i = 0; i < page->n; i++) {
		const struct s3_object *o = &page->object[i];

		if (!str_starts(o->key, s->prefix))
			return err_set(err, ERR_FORMAT, "the list holds a key outside %s", s->prefix);
		int rc = fn(arg, o->key + skip, &(struct store_stat){o->size, o->mtime_ns}, err);

		if (rc)
			return rc;
		free(*last);
		*last = xstrdup(o->key);
	}
	return 0;
}

static int s3_list(
        struct store *store, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err)
{
	struct s3 *s = s3_of(store);
	CLEAN(free_ptr) char *full = NULL;
	CLEAN(free_ptr) char *last = NULL;
	CLEAN(free_ptr) char *token = NULL;
	unsigned empty = 0;
	bool more = true;
	int rc = s3_key(s, prefix, &full, err);

	if (!rc && after)
		rc = s3_key(s, after, &last, err);
	while (!rc && more) {
		CLEAN(s3_page_release) struct s3_page page = {0};

		rc = list_page(s, full, last, token, &page, err);
		if (!rc)
			rc = hand_on(s, &page, &last, fn, arg, err);
		more = page.truncated;
		free_ptr(&token);
		token = page.n ? NULL : TAKE(page.token);
		empty = page.n ? 0 : empty + 1;
		if (!rc && more && (empty > EMPTY_PAGES_MAX || (empty && !token)))
			rc = err_set(err, ERR_FORMAT, "the list of %s does not go on and does not end", full);
	}
	return rc;
}

/* --- the rest --- */

static int s3_sync(struct store *store, struct err *err)
{
	(void)store;
	(void)err;
	return 0; /* a put that was acknowledged is durable */
}

static int s3_clock(struct store *store, int64_t *ret_ns, struct err *err)
{
	struct s3_request r = {.method = "HEAD"};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;

	int rc = s3_exchange(s3_of(store)->http, &r, &a, err);

	if (rc)
		return rc;
	if (!a.date_ns)
		return err_set(err, ERR_UNSUPPORTED, "the site does not tell its time");
	*ret_ns = a.date_ns;
	return 0;
}

static void s3_free(struct store *store)
{
	struct s3 *s = s3_of(store);

	s3_http_free(s->http);
	free(s->prefix);
	free(s->base.name);
	free(s);
}

static const struct store_ops s3_ops = {
        .scheme = "s3",
        .put = s3_put,
        .get = s3_get,
        .stat = s3_stat,
        .list = s3_list,
        .remove = s3_remove,
        .sync = s3_sync,
        .free = s3_free,
        .get_older = s3_get_older,
        .lock = s3_lock,
        .extend = s3_extend,
        .clock = s3_clock,
        .attack = s3_attack,
};

/* "bucket/a/b" into its parts; the prefix follows the rules of keys and ends with a slash, or is empty. */
static int split_rest(const char *rest, char **ret_bucket, char **ret_prefix, struct err *err)
{
	size_t n = strcspn(rest, "/");
	CLEAN(free_ptr) char *prefix = xstrdup(rest[n] ? rest + n + 1 : "");
	size_t len = strlen(prefix);

	if (len && prefix[len - 1] == '/')
		prefix[--len] = '\0';
	if (len && !store_key_ok(prefix))
		return err_set(err, ERR_USAGE, "an S3 site is written s3://bucket/prefix, got s3://%.200s", rest);
	*ret_bucket = xstrndup(rest, n);
	*ret_prefix = xmalloc(len + 2);
	memcpy(*ret_prefix, prefix, len);
	memcpy(*ret_prefix + len, len ? "/" : "", len ? 2 : 1);
	return 0;
}

int s3_open(
        const char *rest, const struct store_config *c, uint64_t multipart_from, struct store **ret, struct err *err)
{
	struct s3_http_config h = {.access_key = c->access_key,
	        .secret_key = c->secret_key,
	        .session_token = c->session_token,
	        .region = c->region ? c->region : "us-east-1",
	        .ca_file = c->ca_file,
	        .cancel = c->cancel};
	CLEAN(free_ptr) char *bucket = NULL;
	CLEAN(free_ptr) char *prefix = NULL;

	*ret = NULL;
	if (!c->access_key || !c->secret_key)
		return err_set(err, ERR_USAGE, "an S3 site needs access_key and secret_key");
	int rc = split_rest(rest, &bucket, &prefix, err);

	if (!rc)
		rc = s3_place_init(&h.place, c->endpoint, h.region, bucket, err);
	if (rc)
		return rc;
	struct s3 *s = xcalloc(1, sizeof *s);

	s->base.ops = &s3_ops;
	s->base.caps =
	        STORE_CREATE_ONLY | STORE_RANGE | STORE_LIST_STRONG | STORE_THREADSAFE | STORE_REMOTE | STORE_PACED;
	s->base.name = xstrdup(c->name ? c->name : bucket);
	s->prefix = TAKE(prefix);
	s->lock = c->lock;
	s->multipart_from = multipart_from ? multipart_from : h.place.aws ? S3_MULTIPART_FROM : 0;
	h.paced = &s->base;
	s->http = s3_http_new(&h);
	rc = s3_look(s, c->create, h.region, c->cancel, err);
	if (rc) {
		s3_free(&s->base);
		return rc;
	}
	s->first_wins = (s->base.caps & STORE_VERSIONS) && !s3_http_place(s->http)->aws;
	if (c->may_remove)
		s->base.caps |= STORE_REMOVE;
	*ret = &s->base;
	return 0;
}

int store_s3_open(const char *rest, const struct store_config *c, struct store **ret, struct err *err)
{
	return s3_open(rest, c, 0, ret, err);
}
