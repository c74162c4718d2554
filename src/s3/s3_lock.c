#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "s3/s3_internal.h"
#include "base/mem.h"

#define MINUTE_NS INT64_C(60000000000)

static int needs_locks(const struct s3 *s, struct err *err)
{
	if (s->object_lock != S3_LOCK_NO)
		return 0;
	return err_set(err, ERR_UNSUPPORTED, "bucket %s has no object lock", s3_http_place(s->http)->bucket);
}

/* --- reading and writing the retention of a version --- */

struct target {
	const char *key;
	char *full, *version; /* version NULL: the newest */
};

static void target_release(struct target *t)
{
	free(t->full);
	free(t->version);
}

/* The version that the key stands for. */
static int target_init(struct target *t, struct s3 *s, const char *key, struct err *err)
{
	struct store_stat st;

	t->key = key;
	int rc = s3_key(s, key, &t->full, err);

	if (!rc && s3_by_version(s, key))
		rc = s3_first(s, key, t->full, &t->version, &st, err);
	return rc;
}

static struct s3_request about(const struct target *t, const char *method)
{
	struct s3_request r = {.method = method, .key = t->full};

	s3_query_add(&r, "retention", "");
	if (t->version)
		s3_query_add(&r, "versionId", t->version);
	return r;
}

static int read_lock(struct s3 *s, const struct target *t, struct store_lock *ret, struct err *err)
{
	struct s3_request r = about(t, "GET");
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;

	*ret = (struct store_lock){0};
	int rc = s3_exchange(s->http, &r, &a, err);

	if (rc)
		return rc;
	/* Both names are in use for an object that is there and has no lock. */
	if (a.status == 404 && (!strcmp(a.error.code, "NoSuchObjectLockConfiguration") ||
	                               !strcmp(a.error.code, "ObjectLockConfigurationNotFoundError")))
		return 0;
	if (a.status == 200)
		return s3_xml_retention(a.body.p, a.body.len, ret, err);
	rc = s3_refused(&a, "read the lock of", t->key, err);
	return rc == -ERR_MISSING ? err_set(err, ERR_MISSING, "object %s is not there", t->key) : rc;
}

static int write_lock(struct s3 *s, const struct target *t, struct store_lock lock, bool bypass, struct err *err)
{
	struct s3_request r = about(t, "PUT");
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;
	CLEAN(buf_release) struct buf text = BUF_INIT(1024);
	char until[CLOCK_TEXT];

	buf_addf(&text,
	        "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>%s</Mode><RetainUntilDate>%s"
	        "</RetainUntilDate></Retention>",
	        lock.mode == STORE_LOCK_GOVERNANCE ? "GOVERNANCE" : "COMPLIANCE", clock_rfc3339(until, lock.until_ns));
	const struct store_piece piece = {text.p, text.len};
	const struct store_src src = {&piece, 1};

	r.body = &src;
	r.len = piece.n;
	r.checksum = true;
	if (bypass)
		s3_header_add(&r, "x-amz-bypass-governance-retention", "true");
	return s3_ask(s, &r, &a, "lock", t->key, err);
}

int s3_lock(struct store *store, const char *key, struct store_lock *ret, struct err *err)
{
	struct s3 *s = s3_of(store);
	CLEAN(target_release) struct target t = {0};
	int rc = needs_locks(s, err);

	if (!rc)
		rc = target_init(&t, s, key, err);
	return rc ? rc : read_lock(s, &t, ret, err);
}

/* Services have been seen to refuse a lock for a moment after the object was put: what counts is what stands
 * afterwards. */
static int lengthen(struct s3 *s, const struct target *t, int64_t until_ns, struct err *err)
{
	struct store_lock now;
	int rc = 0;

	for (int i = 0; i < 2; i++) {
		rc = read_lock(s, t, &now, err);
		if (rc || (now.mode != STORE_UNLOCKED && now.until_ns >= until_ns))
			return rc;
		struct store_lock longer = {now.mode, until_ns};

		if (now.mode == STORE_UNLOCKED)
			longer.mode = s->lock.governance ? STORE_LOCK_GOVERNANCE : STORE_LOCK_COMPLIANCE;
		rc = write_lock(s, t, longer, false, err);
		if (rc != -ERR_DENIED)
			break;
	}
	return rc;
}

int s3_extend(struct store *store, const char *key, int64_t until_ns, struct err *err)
{
	struct s3 *s = s3_of(store);
	CLEAN(target_release) struct target t = {0};
	int rc = needs_locks(s, err);

	if (!rc)
		rc = target_init(&t, s, key, err);
	return rc ? rc : lengthen(s, &t, until_ns, err);
}

int s3_lock_now(struct s3 *s, const char *key, const char *full, const char *version, struct err *err)
{
	CLEAN(target_release) struct target t = {key, xstrdup(full), *version ? xstrdup(version) : NULL};
	struct s3_request r = {0};
	char until[CLOCK_TEXT];
	int64_t ns;
	int rc = s3_lock_headers(s, key, &r, until, err);

	if (rc || !r.n_header)
		return rc;
	if (!clock_parse(until, &ns))
		BUG("a time of our own does not parse");
	return lengthen(s, &t, ns, err);
}

/* --- what a thief would try --- */

static int put_other(struct s3 *s, const char *key, const char *full, bool bad_digest, struct err *err)
{
	static const char other[] = "other bytes";
	const struct store_piece piece = {other, sizeof other - 1};
	const struct store_src src = {&piece, 1};
	struct s3_request r = {
	        .method = "PUT", .key = full, .body = &src, .len = piece.n, .checksum = true, .bad_digest = bad_digest};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;

	if (bad_digest)
		s3_header_add(&r, "if-none-match", "*");
	return s3_ask(s, &r, &a, bad_digest ? "write" : "overwrite", key, err);
}

static int delete_version(struct s3 *s, const char *key, const char *full, struct err *err)
{
	CLEAN(s3_page_release) struct s3_page all = {0};

	if (!(s->base.caps & STORE_VERSIONS))
		return s3_delete(s, key, full, NULL, true, err);
	int rc = s3_versions(s, key, full, &all, err);

	for (size_t i = 0; !rc && i < all.n; i++)
		if (!all.object[i].marker)
			return s3_delete(s, key, full, all.object[i].version, true, err);
	return rc ? rc : err_set(err, ERR_MISSING, "object %s is not there", key);
}

/* A service may say yes and change nothing: then the lock held. */
static int shorten(struct s3 *s, const char *key, struct err *err)
{
	CLEAN(target_release) struct target t = {0};
	struct store_lock before, after;
	int rc = needs_locks(s, err);

	if (!rc)
		rc = target_init(&t, s, key, err);
	if (!rc)
		rc = read_lock(s, &t, &before, err);
	if (rc)
		return rc;
	struct store_lock less = {before.mode, clock_wall_ns() + MINUTE_NS};

	if (before.mode == STORE_UNLOCKED)
		return err_set(err, ERR_UNSUPPORTED, "object %s has no lock", key);
	if (less.until_ns >= before.until_ns)
		return err_set(err, ERR_UNSUPPORTED, "the lock of %s ends within the minute", key);
	rc = write_lock(s, &t, less, true, err);
	if (!rc)
		rc = read_lock(s, &t, &after, err);
	if (!rc && after.mode == before.mode && after.until_ns >= before.until_ns)
		rc = err_set(err, ERR_DENIED, "the lock of %s stands as it was", key);
	return rc;
}

int s3_attack(struct store *store, enum store_attack what, const char *key, struct err *err)
{
	struct s3 *s = s3_of(store);
	CLEAN(free_ptr) char *full = NULL;
	int rc = s3_key(s, key, &full, err);

	if (rc)
		return rc;
	switch (what) {
	case STORE_OVERWRITE:
		return put_other(s, key, full, false, err);
	case STORE_DELETE:
		return s3_delete(s, key, full, NULL, true, err);
	case STORE_DELETE_VERSION:
		return delete_version(s, key, full, err);
	case STORE_SHORTEN_LOCK:
		return shorten(s, key, err);
	case STORE_BAD_DIGEST:
		return put_other(s, key, full, true, err);
	}
	BUG("unknown attack");
}
