#include "store/pause.h"
#include "s3/s3_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

#define TRIES 5
#define FIRST_WAIT_MS 50 /* doubled before each next try */
#define LONGEST_WAIT_MS 5000

/*
 * Opening has no filter above it that would try again, and asks several things: what a busy site says once is not the
 * end. Only of answers: that a site is away is told at once.
 */
static int ask_patiently(struct s3 *s, const struct s3_request *r, struct s3_answer *a, const char *what,
        const struct pause *pause, struct err *err)
{
	for (int tries = 1;; tries++) {
		struct err why = ERR_INIT;
		int rc = s3_exchange(s->http, r, a, err);

		if (rc || (a->status >= 200 && a->status < 300))
			return rc;
		rc = s3_refused(a, what, s3_http_place(s->http)->bucket, &why);
		if (!why.retryable || tries == TRIES ||
		        !pause_for(pause, MIN(MAX(why.retry_after_ms, FIRST_WAIT_MS << tries), LONGEST_WAIT_MS))) {
			if (err)
				*err = why;
			return rc;
		}
		s3_answer_release(a);
		*a = (struct s3_answer)S3_ANSWER_INIT;
	}
}

/* The place answers, the credentials are good, and the prefix may be listed. */
static int knock(struct s3 *s, const struct pause *pause, struct err *err)
{
	struct s3_request r = {.method = "GET"};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;
	CLEAN(s3_page_release) struct s3_page page = {0};

	s3_query_add(&r, "list-type", "2");
	s3_query_add(&r, "encoding-type", "url");
	s3_query_add(&r, "max-keys", "1");
	if (*s->prefix)
		s3_query_add(&r, "prefix", s->prefix);
	int rc = ask_patiently(s, &r, &a, "open bucket", pause, err);

	if (rc == -ERR_UNREACHABLE && !strcmp(a.error.code, "NoSuchBucket"))
		return -ERR_MISSING; /* for the caller: it may be made */
	return rc ? rc : s3_xml_list(a.body.p, a.body.len, &page, err);
}

/* A question about the bucket; *ret_known false when it may not be asked. */
static int ask_bucket(struct s3 *s, const char *what, int (*read)(const void *p, size_t n, bool *ret, struct err *err),
        const struct pause *pause, bool *ret, bool *ret_known, struct err *err)
{
	struct s3_request r = {.method = "GET"};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;
	struct err why = ERR_INIT;

	*ret = false;
	*ret_known = true;
	s3_query_add(&r, what, "");
	int rc = ask_patiently(s, &r, &a, "ask what is kept in bucket", pause, &why);

	if (!rc)
		return read(a.body.p, a.body.len, ret, err);
	if (a.status && (rc == -ERR_MISSING || rc == -ERR_UNSUPPORTED))
		return 0; /* there is no such thing */
	if (a.status == 403 && (!*a.error.code || !strcmp(a.error.code, "AccessDenied"))) {
		*ret_known = false;
		return 0;
	}
	if (err)
		*err = why;
	return rc;
}

static int send_text(struct s3 *s, struct s3_request *r, const char *text, const char *what, struct err *err)
{
	const struct store_piece piece = {text, strlen(text)};
	const struct store_src src = {&piece, 1};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;

	if (*text) {
		r->body = &src;
		r->len = piece.n;
		r->checksum = true;
	}
	int rc = s3_ask(s, r, &a, what, s3_http_place(s->http)->bucket, err);

	/* Another run of init was first. */
	return rc && !strcmp(a.error.code, "BucketAlreadyOwnedByYou") ? 0 : rc;
}

/* Versions are kept in a bucket of ours, so that bytes put over others are not lost; locks when new objects are to be
 * locked. */
static int make_bucket(struct s3 *s, const char *region, struct err *err)
{
	struct s3_request make = {.method = "PUT"}, versions = {.method = "PUT"};
	const struct s3_place *place = s3_http_place(s->http);
	CLEAN(buf_release) struct buf where = BUF_INIT(1024);
	bool locks = s->lock.ms > 0 || s->lock.evidence_ms > 0;

	if (place->aws && strcmp(region, "us-east-1"))
		buf_addf(&where,
		        "<CreateBucketConfiguration "
		        "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>%s"
		        "</LocationConstraint></CreateBucketConfiguration>",
		        region);
	if (locks)
		s3_header_add(&make, "x-amz-bucket-object-lock-enabled", "true");
	int rc = send_text(s, &make, buf_str(&where), "make bucket", err);

	if (rc || locks)
		return rc;
	s3_query_add(&versions, "versioning", "");
	return send_text(s, &versions,
	        "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status>"
	        "</VersioningConfiguration>",
	        "keep versions in bucket", err);
}

int s3_look(struct s3 *s, bool create, const char *region, const atomic_bool *cancel, struct err *err)
{
	const struct pause pause = {.cancel = cancel};
	bool on = false, known = false;
	int rc = knock(s, &pause, err);

	if (rc == -ERR_MISSING && create) {
		rc = make_bucket(s, region, err);
		if (!rc)
			rc = knock(s, &pause, err);
	}
	if (rc == -ERR_MISSING)
		return -ERR_UNREACHABLE; /* as knock() told it */
	if (!rc)
		rc = ask_bucket(s, "versioning", s3_xml_versioning, &pause, &on, &known, err);
	if (!rc && on)
		s->base.caps |= STORE_VERSIONS;
	if (!rc)
		rc = ask_bucket(s, "object-lock", s3_xml_object_lock, &pause, &on, &known, err);
	if (rc)
		return rc;
	s->object_lock = !known ? S3_LOCK_HIDDEN : on ? S3_LOCK_YES : S3_LOCK_NO;
	if (on)
		s->base.caps |= STORE_OBJECT_LOCK;
	return 0;
}
