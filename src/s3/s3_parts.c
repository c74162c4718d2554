#include "s3/s3_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define COMPLETE_MAX ((size_t)4 << 20)

/* An upload in parts, from its beginning until it is completed or abandoned. */
struct upload {
	struct s3 *s;
	const char *key, *full;
	const struct store_src *src;
	uint64_t total;
	char *id, version[256];
	struct buf list; /* the parts, as the completion names them */
};

static int begin(struct upload *u, struct err *err)
{
	struct s3_request r = {.method = "POST", .key = u->full};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;
	char until[CLOCK_TEXT];

	s3_query_add(&r, "uploads", "");
	s3_header_add(&r, "x-amz-checksum-algorithm", "SHA256");
	int rc = s3_lock_headers(u->s, u->key, &r, until, err);

	if (!rc)
		rc = s3_ask(u->s, &r, &a, "begin the upload of", u->key, err);
	return rc ? rc : s3_xml_upload(a.body.p, a.body.len, &u->id, err);
}

/* An entity tag goes into XML: a quoted string without anything that would need escaping but the quotes. */
static bool etag_ok(const char *etag)
{
	return *etag && !strpbrk(etag, "<>&'");
}

static int send_part(struct upload *u, unsigned no, uint64_t off, uint64_t len, struct err *err)
{
	struct s3_request r = {
	        .method = "PUT", .key = u->full, .body = u->src, .off = off, .len = len, .checksum = true};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;
	char number[16];

	(void)snprintf(number, sizeof number, "%u", no);
	s3_query_add(&r, "partNumber", number);
	s3_query_add(&r, "uploadId", u->id);
	int rc = s3_ask(u->s, &r, &a, "write a part of", u->key, err);

	if (rc)
		return rc;
	if (!etag_ok(a.etag))
		return err_set(err, ERR_FORMAT, "the site acknowledges a part of %s without its tag", u->key);
	return buf_printf(&u->list, err,
	        "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag><ChecksumSHA256>%s</ChecksumSHA256></Part>", no,
	        a.etag, a.sent_digest);
}

static int complete(struct upload *u, struct err *err)
{
	struct s3_request r = {.method = "POST", .key = u->full, .once = true};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;
	CLEAN(buf_release) struct buf text = BUF_INIT(COMPLETE_MAX);

	int rc = buf_printf(&text, err,
	        "<CompleteMultipartUpload "
	        "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">%s</CompleteMultipartUpload>",
	        buf_str(&u->list));
	const struct store_piece piece = {text.p, text.len};
	const struct store_src src = {&piece, 1};

	if (rc)
		return rc;
	r.body = &src;
	r.len = piece.n;
	s3_query_add(&r, "uploadId", u->id);
	s3_header_add(&r, "if-none-match", "*");
	rc = s3_ask(u->s, &r, &a, "complete the upload of", u->key, err);
	if (rc == -ERR_EXISTS && a.status == 412)
		return err_set(err, ERR_EXISTS, "object %s is there already", u->key);
	if (rc)
		return rc;
	/* The head was sent before the work was done: what became of it is in the body. */
	rc = s3_xml_completed(a.body.p, a.body.len, &a.error, err);
	if (!rc)
		str_copy(u->version, sizeof u->version, a.version);
	if (rc != -ERR_FAILED)
		return rc;
	a.status = !strcmp(a.error.code, "PreconditionFailed") ? 412 : 500;
	rc = s3_refused(&a, "complete the upload of", u->key, err);
	return rc == -ERR_EXISTS ? err_set(err, ERR_EXISTS, "object %s is there already", u->key) : rc;
}

/* Best effort: parts that stay behind cost the owner of the bucket money, and nothing else. */
static void abandon(struct upload *u)
{
	struct s3_request r = {.method = "DELETE", .key = u->full};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;

	s3_query_add(&r, "uploadId", u->id);
	if (s3_ask(u->s, &r, &a, "abandon the upload of", u->key, NULL))
		log_msg(LOG_WARN, "site %s: an upload of %s in parts could not be abandoned", u->s->base.name, u->key);
}

static int run(struct upload *u, struct err *err)
{
	unsigned no = 0;
	struct store_stat st;
	int rc = 0;

	for (uint64_t off = 0; !rc && off < u->total; off += S3_PART)
		rc = send_part(u, ++no, off, MIN(S3_PART, u->total - off), err);
	if (rc)
		return rc;
	/* Not what decides, but what keeps a service that does not check the condition from overwriting in the common
	 * case. */
	rc = u->s->base.ops->stat(&u->s->base, u->key, &st, err);
	if (rc != -ERR_MISSING)
		return rc ? rc : err_set(err, ERR_EXISTS, "object %s is there already", u->key);
	return complete(u, err);
}

int s3_put_parts(
        struct s3 *s, const char *key, const char *full, const struct store_src *src, uint64_t total, struct err *err)
{
	struct upload u = {
	        .s = s, .key = key, .full = full, .src = src, .total = total, .list = BUF_INIT(COMPLETE_MAX)};
	int rc = begin(&u, err);

	if (!rc) {
		rc = run(&u, err);
		if (rc)
			abandon(&u);
		else
			rc = s3_lock_now(s, key, full, u.version, err);
		if (!rc)
			rc = s3_was_first(s, key, full, u.version, err);
	}
	buf_release(&u.list);
	free(u.id);
	return rc;
}
