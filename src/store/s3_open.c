#include "store/s3_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

/* The place answers, the credentials are good, and the prefix may be listed. */
static int knock(struct s3 *s, struct err *err)
{
	struct s3_request r = {.method = "GET"};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;
	CLEAN(s3_page_release) struct s3_page page = {0};

	s3_query_add(&r, "list-type", "2");
	s3_query_add(&r, "encoding-type", "url");
	s3_query_add(&r, "max-keys", "1");
	if (*s->prefix)
		s3_query_add(&r, "prefix", s->prefix);
	int rc = s3_ask(s, &r, &a, "open bucket", s3_http_place(s->http)->bucket, err);

	if (rc == -ERR_UNREACHABLE && !strcmp(a.error.code, "NoSuchBucket"))
		return -ERR_MISSING; /* for the caller: it may be made */
	return rc ? rc : s3_xml_list(a.body.p, a.body.len, &page, err);
}

/* A question about the bucket; *ret_known false when it may not be asked or there is no answer. */
static int ask_bucket(struct s3 *s, const char *what, int (*read)(const void *p, size_t n, bool *ret, struct err *err),
        bool *ret, bool *ret_known, struct err *err)
{
	struct s3_request r = {.method = "GET"};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;

	*ret = *ret_known = false;
	s3_query_add(&r, what, "");
	int rc = s3_exchange(s->http, &r, &a, err);

	if (rc)
		return rc;
	if (a.status >= 500 && a.status != 501)
		return s3_refused(&a, what, s3_http_place(s->http)->bucket, err);
	*ret_known = a.status != 403;
	if (a.status != 200)
		return 0;
	return read(a.body.p, a.body.len, ret, err);
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

int s3_look(struct s3 *s, bool create, const char *region, struct err *err)
{
	bool on = false, known = false;
	int rc = knock(s, err);

	if (rc == -ERR_MISSING && create) {
		rc = make_bucket(s, region, err);
		if (!rc)
			rc = knock(s, err);
	}
	if (rc == -ERR_MISSING)
		return -ERR_UNREACHABLE; /* as knock() told it */
	if (!rc)
		rc = ask_bucket(s, "versioning", s3_xml_versioning, &on, &known, err);
	if (!rc && on)
		s->base.caps |= STORE_VERSIONS;
	if (!rc)
		rc = ask_bucket(s, "object-lock", s3_xml_object_lock, &on, &known, err);
	if (rc)
		return rc;
	s->object_lock = !known ? S3_LOCK_HIDDEN : on ? S3_LOCK_YES : S3_LOCK_NO;
	if (on)
		s->base.caps |= STORE_OBJECT_LOCK;
	return 0;
}
