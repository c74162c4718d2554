#include "s3/s3_http.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"

/*
 * What a refusal means: the first row that fits. status 0: any; 5: the class 5xx; code NULL: any. Retrying may help
 * with what is a state of the service or of the way to it, and not with what is a property of the request or the
 * account.
 */
static const struct meaning {
	const char *code;
	int status;
	enum err_code class;
	bool retryable;
	const char *hint;
} meanings[] = {
        /* the clock and the credentials */
        {"RequestTimeTooSkewed", 0, ERR_CLOCK, false,
                "this machine's clock and the site's differ: set the clock that is wrong"},
        {"RequestExpired", 0, ERR_CLOCK, false,
                "this machine's clock and the site's differ: set the clock that is wrong"},
        {"ExpiredToken", 0, ERR_DENIED, false, "the session token has expired: get new credentials"},
        {"TokenRefreshRequired", 0, ERR_DENIED, false, "the session token has expired: get new credentials"},
        {"InvalidToken", 0, ERR_DENIED, false, "check session_token"},
        {"InvalidAccessKeyId", 0, ERR_DENIED, false, "check access_key"},
        {"SignatureDoesNotMatch", 0, ERR_DENIED, false, "check access_key and secret_key"},
        {"AccountProblem", 0, ERR_DENIED, false, ""},
        {"InvalidObjectState", 0, ERR_DENIED, false, "the object is in an archive class: restore it there first"},
        /* the place */
        {"NoSuchBucket", 0, ERR_UNREACHABLE, false,
                "is the bucket's name right? `holdfast init` makes a bucket that is missing"},
        {"PermanentRedirect", 0, ERR_UNREACHABLE, false, "the bucket is in another region"},
        {"AuthorizationHeaderMalformed", 0, ERR_UNREACHABLE, false, "check region"},
        {"IllegalLocationConstraintException", 0, ERR_UNREACHABLE, false, "check region"},
        {"TemporaryRedirect", 0, ERR_UNREACHABLE, true, ""},
        {NULL, 301, ERR_UNREACHABLE, false, "the bucket is in another region"},
        {NULL, 307, ERR_UNREACHABLE, true, ""},
        {"QuotaExceeded", 0, ERR_NOSPACE, false, ""},
        {"InsufficientCapacity", 0, ERR_NOSPACE, false, ""},
        {NULL, 507, ERR_NOSPACE, false, ""},
        /* bytes that changed on their way; the same ones may arrive whole next time */
        {"XAmzContentSHA256Mismatch", 0, ERR_CORRUPT, true, ""},
        {"BadDigest", 0, ERR_CORRUPT, true, ""},
        {"IncompleteBody", 0, ERR_UNREACHABLE, true, ""},
        {"XAmzContentChecksumMismatch", 0, ERR_CORRUPT, true, ""},
        /* states */
        {"RequestTimeout", 0, ERR_UNREACHABLE, true, ""},
        {"SlowDown", 0, ERR_UNREACHABLE, true, "the site asks for fewer requests"},
        {"Throttling", 0, ERR_UNREACHABLE, true, "the site asks for fewer requests"},
        {"ThrottlingException", 0, ERR_UNREACHABLE, true, "the site asks for fewer requests"},
        {"RequestLimitExceeded", 0, ERR_UNREACHABLE, true, "the site asks for fewer requests"},
        {"InternalError", 0, ERR_UNREACHABLE, true, ""},
        {"ServiceUnavailable", 0, ERR_UNREACHABLE, true, ""},
        {"ConditionalRequestConflict", 0, ERR_UNREACHABLE, true, ""},
        {"OperationAborted", 0, ERR_UNREACHABLE, true, ""},
        {"NoSuchUpload", 0, ERR_UNREACHABLE, true, ""},
        {"BucketAlreadyExists", 0, ERR_DENIED, false, "somebody else has a bucket of this name"},
        /* what the service does not have */
        {"NotImplemented", 0, ERR_UNSUPPORTED, false,
                "the site lacks what it was asked for; its capabilities are in `holdfast site probe`"},
        {"MethodNotAllowed", 0, ERR_UNSUPPORTED, false, ""},
        {"EntityTooLarge", 0, ERR_UNSUPPORTED, false, ""},
        {"InvalidBucketName", 0, ERR_USAGE, false, "see the service's rules for names of buckets"},
        /* statuses */
        {NULL, 401, ERR_DENIED, false, ""},
        {NULL, 403, ERR_DENIED, false, ""},
        {NULL, 404, ERR_MISSING, false, ""},
        {NULL, 405, ERR_UNSUPPORTED, false, ""},
        {NULL, 408, ERR_UNREACHABLE, true, ""},
        {NULL, 409, ERR_UNREACHABLE, true, ""},
        {NULL, 411, ERR_UNSUPPORTED, false, ""},
        {NULL, 412, ERR_EXISTS, false, ""},
        {NULL, 413, ERR_UNSUPPORTED, false, ""},
        {NULL, 425, ERR_UNREACHABLE, true, ""},
        {NULL, 429, ERR_UNREACHABLE, true, "the site asks for fewer requests"},
        {NULL, 501, ERR_UNSUPPORTED, false, "the site lacks what it was asked for"},
        {NULL, 505, ERR_UNSUPPORTED, false, ""},
        {NULL, 4, ERR_UNSUPPORTED, false, ""},
        {NULL, 5, ERR_UNREACHABLE, true, ""},
};

static const struct meaning *meaning_of(const struct s3_answer *a)
{
	for (size_t i = 0; i < ARRAY_LEN(meanings); i++) {
		const struct meaning *m = &meanings[i];

		if (m->code ? !strcmp(m->code, a->error.code)
		            : m->status == (m->status < 10 ? a->status / 100 : a->status))
			return m;
	}
	return NULL;
}

int s3_refused(const struct s3_answer *a, const char *what, const char *key, struct err *err)
{
	const struct meaning *m = meaning_of(a);
	const char *id = a->request_id[0] ? a->request_id : a->error.request_id;
	const char *region = a->error.region[0] ? a->error.region : a->region;
	const struct s3_error *e = &a->error;
	char message[192] = "";

	if (e->message[0])
		(void)snprintf(message, sizeof message, " (%s)", e->message);
	enum err_code class = m ? m->class : ERR_FORMAT;

	(void)err_set(err, class, "cannot %s %s: the site answers %d%s%s%s%s%s", what, key, a->status,
	        e->code[0] ? " " : "", e->code, message, id[0] ? ", request " : "", id);
	if (err) {
		err->retryable = m && m->retryable;
		err->retry_after_ms = err->retryable && a->retry_after_s > 0 ? a->retry_after_s * INT64_C(1000) : 0;
		if (region[0] && class == ERR_UNREACHABLE && !err->retryable)
			(void)err_hint(err, "the bucket's region is %s", region);
		else if (m && m->hint[0])
			(void)err_hint(err, "%s", m->hint);
	}
	return -(int)class;
}
