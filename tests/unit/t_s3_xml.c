/* What an S3 service answers: documents, heads, and what a refusal means. All of it may be a lie. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "s3/s3_http.h"
#include "s3/s3_xml.h"
#include "suite.h"

#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"

/* --- lists --- */

START_TEST(a_list_gives_keys_sizes_and_times)
{
	static const char text[] = HEAD
	        "<ListBucketResult "
	        "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix>p%2F</Prefix>"
	        "<IsTruncated>true</IsTruncated>\n <Contents><Key>p%2Fa.b</Key><LastModified>2026-11-24T02:28:45.828Z"
	        "</LastModified><ETag>&quot;c8&quot;</ETag><Size>4294967296</Size><Owner><ID>x</ID></Owner></Contents>"
	        "<Contents><Size>0</Size><Key>p/c%2Bd+e</Key></Contents>"
	        "<NextContinuationToken>a&amp;b==</NextContinuationToken></ListBucketResult>";
	struct s3_page page;
	struct err err = ERR_INIT;

	ck_assert_msg(!s3_xml_list(text, sizeof text - 1, &page, &err), "%s", err.msg);
	ck_assert_uint_eq(page.n, 2);
	ck_assert_str_eq(page.object[0].key, "p/a.b");
	ck_assert_uint_eq(page.object[0].size, 4294967296);
	ck_assert_int_eq(page.object[0].mtime_ns, INT64_C(1795487325828000000));
	ck_assert_str_eq(page.object[1].key, "p/c+d e");
	ck_assert(page.truncated);
	ck_assert_str_eq(page.token, "a&b==");
	s3_page_release(&page);
}
END_TEST

START_TEST(versions_and_markers_keep_their_order)
{
	static const char text[] =
	        "<ListVersionsResult><IsTruncated>true</IsTruncated><KeyMarker/><NextKeyMarker>p%2Fx</NextKeyMarker>"
	        "<NextVersionIdMarker>v0</NextVersionIdMarker>"
	        "<DeleteMarker><Key>p/x</Key><VersionId>v3</VersionId><IsLatest>true</IsLatest></DeleteMarker>"
	        "<Version><Key>p/x</Key><VersionId>v2</VersionId><IsLatest>false</IsLatest><Size>3</Size></Version>"
	        "<Version><Key>p/x</Key><VersionId>null</VersionId><IsLatest>false</IsLatest><Size>5</Size></Version>"
	        "</ListVersionsResult>";
	struct s3_page page;
	struct err err = ERR_INIT;

	ck_assert_msg(!s3_xml_versions(text, sizeof text - 1, &page, &err), "%s", err.msg);
	ck_assert_uint_eq(page.n, 3);
	ck_assert(page.object[0].marker && page.object[0].latest);
	ck_assert(!page.object[1].marker && !page.object[1].latest);
	ck_assert_str_eq(page.object[2].version, "null");
	ck_assert_str_eq(page.next_key, "p/x");
	ck_assert_str_eq(page.next_version, "v0");
	s3_page_release(&page);
}
END_TEST

static const char *const bad_lists[] = {"", "<", "ListBucketResult", "<ListBucketResult>",
        "<Error><Code>X</Code></Error>", "<html><body>login</body></html>", "<ListBucketResult></ListBucketResult><x/>",
        "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key></Key></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a%2</Key></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a%00b</Key></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a%zz</Key></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><Size></Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><Size>18446744073709551616</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><LastModified>yesterday</LastModified></Contents></ListBucketResult>",
        "<!DOCTYPE x [<!ENTITY a "
        "\"aaaaaaaa\">]><ListBucketResult><Contents><Key>&a;</Key></Contents></ListBucketResult>",
        "<!DOCTYPE ListBucketResult SYSTEM \"file:///etc/passwd\"><ListBucketResult></ListBucketResult>",
        "<ListBucketResult>&nbsp;</ListBucketResult>",
        "<ListBucketResult><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></ListBucketResult>",
        "<ListBucketResult xmlns:a=\"x\"><a:Contents></a:Other></ListBucketResult>"};

START_TEST(what_is_no_list_is_refused)
{
	const char *text = bad_lists[_i];
	struct s3_page page;
	struct err err = ERR_INIT;

	ck_assert_msg(s3_xml_list(text, strlen(text), &page, &err) == -ERR_FORMAT, "%s", text);
	ck_assert_ptr_null(page.object);
	ck_assert_int_ne(s3_xml_versions(text, strlen(text), &page, &err), 0);
}
END_TEST

START_TEST(a_text_that_is_too_long_is_refused)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	struct s3_page page;
	struct err err = ERR_INIT;

	buf_addf(&b, "<ListBucketResult><Contents><Key>");
	for (int i = 0; i < 1700; i++)
		buf_addf(&b, "0123456789");
	buf_addf(&b, "</Key></Contents></ListBucketResult>");
	ck_assert_int_eq(s3_xml_list(b.p, b.len, &page, &err), -ERR_FORMAT);
}
END_TEST

/* --- the small documents --- */

START_TEST(an_error_is_read_and_made_printable)
{
	static const char text[] =
	        HEAD "<Error><Code>SlowDown</Code><Message>a\x1b[31mb\xc3\xa4\nc</Message><RequestId>tx1"
	             "</RequestId><Region>eu-west-1</Region><Deep><Code>Other</Code></Deep></Error>";
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	struct s3_error e;

	ck_assert(!s3_xml_error(text, sizeof text - 1, &e)); /* an escape byte is no XML */
	buf_addf(&b, "<Error><Code>SlowDown</Code><Message>ab\xc3\xa4\nc</Message><RequestId>tx1</RequestId>"
	             "<Region>eu-west-1</Region><Deep><Code>Other</Code></Deep></Error>");
	ck_assert(s3_xml_error(b.p, b.len, &e));
	ck_assert_str_eq(e.code, "SlowDown");
	ck_assert_str_eq(e.message, "abc");
	ck_assert_str_eq(e.request_id, "tx1");
	ck_assert_str_eq(e.region, "eu-west-1");
	buf_clear(&b);
	buf_addf(&b, "<Error><Code>");
	for (int i = 0; i < 200; i++)
		buf_addf(&b, "x");
	buf_addf(&b, "</Code></Error>");
	ck_assert(s3_xml_error(b.p, b.len, &e));
	ck_assert_uint_eq(strlen(e.code), sizeof e.code - 1);
	ck_assert(!s3_xml_error("<Errors/>", 9, &e));
	ck_assert_str_eq(e.code, "");
}
END_TEST

START_TEST(a_completion_that_holds_an_error_has_failed)
{
	static const char done[] = "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>";
	static const char failed[] = "<Error><Code>InternalError</Code></Error>";
	struct s3_error e;
	struct err err = ERR_INIT;

	ck_assert_int_eq(s3_xml_completed(done, sizeof done - 1, &e, &err), 0);
	ck_assert_int_eq(s3_xml_completed(failed, sizeof failed - 1, &e, &err), -ERR_FAILED);
	ck_assert_str_eq(e.code, "InternalError");
	ck_assert_int_eq(s3_xml_completed("", 0, &e, &err), -ERR_FORMAT);
	ck_assert_int_eq(s3_xml_completed("<Other/>", 8, &e, &err), -ERR_FORMAT);
}
END_TEST

START_TEST(an_upload_has_an_id)
{
	static const char good[] =
	        "<InitiateMultipartUploadResult><UploadId>2~x</UploadId></InitiateMultipartUploadResult>";
	static const char bad[] =
	        "<InitiateMultipartUploadResult><UploadId></UploadId></InitiateMultipartUploadResult>";
	CLEAN(free_ptr) char *id = NULL;
	struct err err = ERR_INIT;

	ck_assert_int_eq(s3_xml_upload(good, sizeof good - 1, &id, &err), 0);
	ck_assert_str_eq(id, "2~x");
	free_ptr(&id);
	ck_assert_int_eq(s3_xml_upload(bad, sizeof bad - 1, &id, &err), -ERR_FORMAT);
	ck_assert_ptr_null(id);
}
END_TEST

START_TEST(a_lock_is_whole_or_not_there)
{
	static const char good[] = "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2027-01-01T00:00:00.000000000Z</"
	                           "RetainUntilDate></Retention>";
	static const char *const bad[] = {"<Retention><Mode>COMPLIANCE</Mode></Retention>",
	        "<Retention><RetainUntilDate>2027-01-01T00:00:00Z</RetainUntilDate></Retention>",
	        "<Retention><Mode>NONE</Mode><RetainUntilDate>2027-01-01T00:00:00Z</RetainUntilDate></Retention>",
	        "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>soon</RetainUntilDate></Retention>"};
	struct store_lock lock;
	struct err err = ERR_INIT;

	ck_assert_int_eq(s3_xml_retention(good, sizeof good - 1, &lock, &err), 0);
	ck_assert_int_eq(lock.mode, STORE_LOCK_COMPLIANCE);
	ck_assert_int_eq(lock.until_ns, INT64_C(1798761600000000000));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_int_eq(s3_xml_retention(bad[i], strlen(bad[i]), &lock, &err), -ERR_FORMAT);
	ck_assert_int_eq(s3_xml_retention("<Retention/>", 12, &lock, &err), 0);
	ck_assert_int_eq(lock.mode, STORE_UNLOCKED);
}
END_TEST

START_TEST(what_a_bucket_has_is_said_in_one_word)
{
	static const char on[] = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
	static const char off[] = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
	static const char locks[] =
	        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
	struct err err = ERR_INIT;
	bool is;

	ck_assert(!s3_xml_versioning(on, sizeof on - 1, &is, &err) && is);
	ck_assert(!s3_xml_versioning(off, sizeof off - 1, &is, &err) && !is);
	ck_assert(!s3_xml_versioning("<VersioningConfiguration/>", 26, &is, &err) && !is);
	ck_assert(!s3_xml_object_lock(locks, sizeof locks - 1, &is, &err) && is);
	ck_assert_int_eq(s3_xml_object_lock(on, sizeof on - 1, &is, &err), -ERR_FORMAT);
}
END_TEST

/* --- heads --- */

static int lines(struct s3_answer *a, const char *text)
{
	struct err err = ERR_INIT;
	int rc = 0;

	*a = (struct s3_answer)S3_ANSWER_INIT;
	while (*text && !rc) {
		size_t n = strcspn(text, "\n") + 1;

		rc = s3_answer_line(a, text, n, &err);
		text += n;
	}
	return rc;
}

START_TEST(a_head_is_read)
{
	struct s3_answer a;

	ck_assert_int_eq(
	        lines(&a,
	                "HTTP/1.1 206 Partial Content\r\nContent-Length:  10 \r\ncontent-range: bytes 5-14/100\r\n"
	                "ETag: \"abc\"\r\nX-Amz-Version-Id: v1\r\nx-amz-request-id: tx1\r\nDate: Tue, 24 Nov 2026 "
	                "02:28:45 GMT\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-amz-delete-marker: true\r\n"
	                "x-amz-bucket-region: eu-west-1\r\nRetry-After: 17\r\nX-Other: y\r\n\r\n"),
	        0);
	ck_assert_int_eq(a.status, 206);
	ck_assert(a.has_length && a.length == 10 && a.has_range && a.range_first == 5 && a.delete_marker);
	ck_assert_str_eq(a.etag, "\"abc\"");
	ck_assert_str_eq(a.version, "v1");
	ck_assert_str_eq(a.request_id, "tx1");
	ck_assert_str_eq(a.region, "eu-west-1");
	ck_assert_int_eq(a.date_ns, INT64_C(1795487325000000000));
	ck_assert_int_eq(a.modified_ns, INT64_C(784111777000000000));
	ck_assert_int_eq(a.retry_after_s, 17);
}
END_TEST

START_TEST(a_second_head_replaces_the_first)
{
	struct s3_answer a;

	ck_assert_int_eq(
	        lines(&a, "HTTP/1.1 100 Continue\r\nETag: \"a\"\r\nRetry-After: 9\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), 0);
	ck_assert_int_eq(a.status, 200);
	ck_assert_str_eq(a.etag, "");
	ck_assert_int_eq(a.retry_after_s, -1);
}
END_TEST

START_TEST(a_head_that_lies_is_refused_or_passed_over)
{
	static const char *const bad[] = {"HTTP/1.1\r\n", "HTTP/1.1 \r\n", "HTTP/1.1 99 x\r\n", "HTTP/1.1 600 x\r\n",
	        "HTTP/1.1 2000 x\r\n", "HTTP/1.1 20x\r\n", "HTTP/1.1 -20 x\r\n", "HTTP/1.1 99999999999999999999 x\r\n",
	        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1,1\r\n",
	        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n",
	        "HTTP/1.1 206 OK\r\nContent-Range: bytes x-1/2\r\n",
	        "HTTP/1.1 206 OK\r\nContent-Range: lines 1-1/2\r\n", "HTTP/1.1 206 OK\r\nContent-Range: bytes 5\r\n"};
	static const char passed[] =
	        "HTTP/1.1 200 OK\r\nDate: today\r\nRetry-After: soon\r\nno colon\r\n:\r\n: x\r\nETag: a\x01"
	        "b\r\nx-amz-version-id: \xff\r\n\r\n";
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	struct s3_answer a;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(lines(&a, bad[i]) == -ERR_FORMAT, "%s", bad[i]);
	ck_assert_int_eq(lines(&a, passed), 0);
	ck_assert_int_eq(a.date_ns, 0);
	ck_assert_int_eq(a.retry_after_s, -1);
	ck_assert_str_eq(a.etag, "");
	ck_assert_str_eq(a.version, "");
	ck_assert_int_eq(lines(&a, "HTTP/1.1 503 x\r\nRetry-After: 99999999999\r\n"), 0);
	ck_assert_int_eq(a.retry_after_s, 3600);
	buf_addf(&b, "HTTP/1.1 200 OK\r\n");
	for (int i = 0; i < 9000; i++)
		buf_addf(&b, "x: yyyyy\r\n");
	ck_assert_int_eq(lines(&a, buf_str(&b)), -ERR_FORMAT);
}
END_TEST

START_TEST(only_the_one_form_of_a_date_is_a_date)
{
	static const char *const bad[] = {"", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 GMT ",
	        "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nox 1994 08:49:37 GMT",
	        "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
	        "Sun, 06 Nov 0000 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
	        "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 9994 08:49:37 GMT"};
	int64_t ns;

	ck_assert(s3_http_date("Sun, 06 Nov 1994 08:49:37 GMT", 29, &ns));
	ck_assert_int_eq(ns, INT64_C(784111777000000000));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(!s3_http_date(bad[i], strlen(bad[i]), &ns), "%s", bad[i]);
}
END_TEST

/* --- what a refusal means --- */

static const struct {
	int status;
	const char *code;
	enum err_code class;
	bool retryable;
	const char *hint; /* part of it */
} refusals[] = {
        {500, "InternalError", ERR_UNREACHABLE, true, ""},
        {503, "SlowDown", ERR_UNREACHABLE, true, "fewer"},
        {503, "", ERR_UNREACHABLE, true, ""},
        {502, "", ERR_UNREACHABLE, true, ""},
        {504, "", ERR_UNREACHABLE, true, ""},
        {599, "", ERR_UNREACHABLE, true, ""},
        {429, "", ERR_UNREACHABLE, true, "fewer"},
        {408, "RequestTimeout", ERR_UNREACHABLE, true, ""},
        {400, "RequestTimeout", ERR_UNREACHABLE, true, ""},
        {409, "ConditionalRequestConflict", ERR_UNREACHABLE, true, ""},
        {409, "OperationAborted", ERR_UNREACHABLE, true, ""},
        {412, "PreconditionFailed", ERR_EXISTS, false, ""},
        {400, "RequestTimeTooSkewed", ERR_CLOCK, false, "clock"},
        {403, "RequestTimeTooSkewed", ERR_CLOCK, false, "clock"},
        {400, "ExpiredToken", ERR_DENIED, false, "expired"},
        {403, "ExpiredToken", ERR_DENIED, false, "expired"},
        {403, "SignatureDoesNotMatch", ERR_DENIED, false, "secret_key"},
        {403, "InvalidAccessKeyId", ERR_DENIED, false, "access_key"},
        {403, "AccessDenied", ERR_DENIED, false, ""},
        {403, "", ERR_DENIED, false, ""},
        {403, "QuotaExceeded", ERR_NOSPACE, false, ""},
        {507, "", ERR_NOSPACE, false, ""},
        {301, "PermanentRedirect", ERR_UNREACHABLE, false, "eu-west-1"},
        {301, "", ERR_UNREACHABLE, false, "eu-west-1"},
        {400, "AuthorizationHeaderMalformed", ERR_UNREACHABLE, false, "eu-west-1"},
        {307, "TemporaryRedirect", ERR_UNREACHABLE, true, ""},
        {404, "NoSuchBucket", ERR_UNREACHABLE, false, "init"},
        {404, "NoSuchKey", ERR_MISSING, false, ""},
        {404, "NoSuchUpload", ERR_UNREACHABLE, true, ""},
        {400, "XAmzContentSHA256Mismatch", ERR_CORRUPT, true, ""},
        {400, "BadDigest", ERR_CORRUPT, true, ""},
        {400, "InvalidRequest", ERR_UNSUPPORTED, false, ""},
        {501, "NotImplemented", ERR_UNSUPPORTED, false, "lacks"},
        {405, "MethodNotAllowed", ERR_UNSUPPORTED, false, ""},
        {302, "", ERR_FORMAT, false, ""},
        {204, "", ERR_FORMAT, false, ""},
};

START_TEST(each_refusal_has_its_class)
{
	struct s3_answer a = S3_ANSWER_INIT;
	struct err err = ERR_INIT;

	a.status = refusals[_i].status;
	str_copy(a.error.code, sizeof a.error.code, refusals[_i].code);
	str_copy(a.error.message, sizeof a.error.message, "told so");
	str_copy(a.request_id, sizeof a.request_id, "tx9");
	a.retry_after_s = 7;
	if (strstr(refusals[_i].hint, "eu-"))
		str_copy(a.region, sizeof a.region, "eu-west-1");
	ck_assert_int_eq(s3_refused(&a, "read", "p/x", &err), -(int)refusals[_i].class);
	ck_assert_int_eq(err.code, refusals[_i].class);
	ck_assert_int_eq(err.retryable, refusals[_i].retryable);
	ck_assert_int_eq(err.retry_after_ms, refusals[_i].retryable ? 7000 : 0);
	ck_assert_msg(strstr(err.hint, refusals[_i].hint), "%s", err.hint);
	ck_assert_ptr_nonnull(strstr(err.msg, "cannot read p/x: the site answers "));
	ck_assert_ptr_nonnull(strstr(err.msg, refusals[_i].code));
	ck_assert_ptr_nonnull(strstr(err.msg, "(told so), request tx9"));
	ck_assert_int_eq(s3_refused(&a, "read", "p/x", NULL), -(int)refusals[_i].class);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("s3_xml");
	TCase *tc = tcase_create("s3_xml");

	suite_add_tcase(s, tc);
	tcase_add_test(tc, a_list_gives_keys_sizes_and_times);
	tcase_add_test(tc, versions_and_markers_keep_their_order);
	tcase_add_loop_test(tc, what_is_no_list_is_refused, 0, (int)ARRAY_LEN(bad_lists));
	tcase_add_test(tc, a_text_that_is_too_long_is_refused);
	tcase_add_test(tc, an_error_is_read_and_made_printable);
	tcase_add_test(tc, a_completion_that_holds_an_error_has_failed);
	tcase_add_test(tc, an_upload_has_an_id);
	tcase_add_test(tc, a_lock_is_whole_or_not_there);
	tcase_add_test(tc, what_a_bucket_has_is_said_in_one_word);
	tcase_add_test(tc, a_head_is_read);
	tcase_add_test(tc, a_second_head_replaces_the_first);
	tcase_add_test(tc, a_head_that_lies_is_refused_or_passed_over);
	tcase_add_test(tc, only_the_one_form_of_a_date_is_a_date);
	tcase_add_loop_test(tc, each_refusal_has_its_class, 0, (int)ARRAY_LEN(refusals));

	return suite_main(s);
}
