/* The S3 driver at a gateway that fails, breaks off and lies (tests/lib/s3-liar.py): run it by tests/with-servers. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "s3_fixture.h"
#include "store/probe.h"
#include "place/place.h"
#include "s3/s3_internal.h"
#include "store/store.h"
#include "store_conformance.h"

#define HOUR_MS (3600 * INT64_C(1000))
#define HOUR_NS (HOUR_MS * 1000000)

/* Each test: a liar, the store behind it, and the truth. */
static struct s3_liar liar;
static struct store *lied, *truth;

static void set_up(const struct store_config *extra)
{
	struct store_config c = s3_config();

	if (extra)
		c.lock = extra->lock;
	c.may_remove = true;
	truth = s3_at("", &c);
	s3_liar_start(&liar);
	c.endpoint = liar.url;
	lied = s3_at("", &c);
}

static void plain(void)
{
	s3_plain_bucket();
	set_up(NULL);
}

static void versioned(void)
{
	set_up(NULL);
}

static void locked(void)
{
	const struct store_config c = {.lock = {.ms = HOUR_MS, .evidence_ms = HOUR_MS}};

	set_up(&c);
}

static void done(void)
{
	store_free(lied);
	store_free(truth);
}

/* The retry filter in front of it, without long waits. Takes the store. */
static struct store *patient(struct store **s)
{
	return store_retry_new(TAKE(*s), &(struct store_retry){.base_ms = 1, .cap_ms = 20, .reserve = 1000});
}

static void rule(const char *text, ...) __attribute__((format(printf, 1, 2)));

/* Sets one rule, written with ' for ". */
static void rule(const char *text, ...)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64u << 10);
	char line[4096];
	va_list args;

	va_start(args, text);
	(void)vsnprintf(line, sizeof line, text, args);
	va_end(args);
	for (char *p = line; *p; p++)
		if (*p == '\'')
			*p = '"';
	buf_addf(&b, "[%s]", line);
	s3_liar_rules(&liar, buf_str(&b));
}

/* --- every code of every operation --- */

static const struct {
	int status;
	const char *code;
	enum err_code class, headless; /* with the code, and where an answer has no body (HEAD) */
	bool retryable;
} codes[] = {
        {500, "InternalError", ERR_UNREACHABLE, ERR_UNREACHABLE, true},
        {503, "SlowDown", ERR_UNREACHABLE, ERR_UNREACHABLE, true},
        {503, "", ERR_UNREACHABLE, ERR_UNREACHABLE, true},
        {504, "", ERR_UNREACHABLE, ERR_UNREACHABLE, true},
        {429, "TooManyRequests", ERR_UNREACHABLE, ERR_UNREACHABLE, true},
        {408, "RequestTimeout", ERR_UNREACHABLE, ERR_UNREACHABLE, true},
        {409, "OperationAborted", ERR_UNREACHABLE, ERR_UNREACHABLE, true},
        {400, "RequestTimeTooSkewed", ERR_CLOCK, ERR_UNSUPPORTED, false},
        {403, "ExpiredToken", ERR_DENIED, ERR_DENIED, false},
        {403, "AccessDenied", ERR_DENIED, ERR_DENIED, false},
        {301, "PermanentRedirect", ERR_UNREACHABLE, ERR_UNREACHABLE, false},
        {501, "NotImplemented", ERR_UNSUPPORTED, ERR_UNSUPPORTED, false},
        {302, "", ERR_FORMAT, ERR_FORMAT, false},
};

static int ignore_key(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	(void)key;
	(void)st;
	(void)err;
	++*(int *)arg;
	return 0;
}

static int do_put(struct store *s, struct err *err)
{
	return store_put_bytes(s, "new/one", "bytes", 5, err);
}

static int do_get(struct store *s, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	int rc = store_get(s, "old/one", &b, err);

	ck_assert(rc || (b.len == 5 && !memcmp(b.p, "older", 5)));
	return rc;
}

static int do_get_range(struct store *s, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64);

	return store_get_range(s, "old/one", 1, 2, &b, err);
}

static int do_stat(struct store *s, struct err *err)
{
	struct store_stat st;

	return store_stat(s, "old/one", &st, err);
}

static int do_list(struct store *s, struct err *err)
{
	int n = 0, rc = store_list(s, "old/", NULL, ignore_key, &n, err);

	ck_assert(rc || n == 1);
	return rc;
}

static int do_remove(struct store *s, struct err *err)
{
	return store_remove(s, "old/one", err);
}

static int do_older(struct store *s, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct store_sink sink = {store_buf_write, &b};
	int rc = store_get_older(s, "old/one", 1, &sink, err);

	return rc == -ERR_MISSING ? 0 : rc; /* there is none */
}

static int do_lock(struct store *s, struct err *err)
{
	struct store_lock lock;

	return store_lock(s, "old/one", &lock, err);
}

static int do_extend(struct store *s, struct err *err)
{
	return store_extend(s, "old/one", clock_wall_ns() + 3 * HOUR_NS, err);
}

/* The n-th request of an operation gets each code: the error has the code's class, and nothing has changed. */
static void each_code(int (*op)(struct store *s, struct err *err), int n, bool head)
{
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		struct err err = ERR_INIT;
		bool words = *codes[i].code && !head;

		rule("{'status': %d, 'body': '%s%s%s', 'after': %d, 'times': 1, 'headers': {'x-amz-request-id': "
		     "'tx5'}}",
		        codes[i].status, *codes[i].code ? "<Error><Code>" : "<html>", codes[i].code,
		        *codes[i].code ? "</Code></Error>" : "", n);
		int rc = op(lied, &err);
		enum err_code want = head ? codes[i].headless : codes[i].class;

		ck_assert_msg(rc == -(int)want, "%d %s: %d, %s", codes[i].status, codes[i].code, rc, err.msg);
		ck_assert_msg(
		        err.retryable == codes[i].retryable, "%d %s: %s", codes[i].status, codes[i].code, err.msg);
		ck_assert_ptr_nonnull(strstr(err.msg, "site south: "));
		ck_assert_ptr_nonnull(strstr(err.msg, "request tx5"));
		ck_assert(!words || strstr(err.msg, codes[i].code));
		ck_assert_int_eq(s3_liar_count(&liar, "") <= n + 3, 1);
		expect_missing(truth, "new/one");
		expect_text(truth, "old/one", "older");
	}
	struct err err = ERR_INIT;

	must(op(lied, &err), &err);
}

START_TEST(every_code_of_every_operation_without_versions)
{
	static int (*const ops[])(struct store * s, struct err * err) = {
	        do_put, do_get, do_get_range, do_stat, do_list, do_remove};

	plain();
	put_text(truth, "old/one", "older");
	each_code(ops[_i], 0, ops[_i] == do_stat || ops[_i] == do_remove);
	done();
}
END_TEST

START_TEST(every_code_of_every_operation_with_versions_and_locks)
{
	static const struct {
		int (*op)(struct store *s, struct err *err);
		int n;
	} ops[] = {{do_put, 0}, {do_get, 0}, {do_get, 1}, {do_stat, 0}, {do_older, 0}, {do_lock, 0}, {do_lock, 1},
	        {do_extend, 0}, {do_extend, 1}};

	locked();
	put_text(truth, "old/one", "older");
	each_code(ops[_i].op, ops[_i].n, false);
	done();
}
END_TEST

/* --- opening --- */

static int open_lied(struct store **ret, struct err *err)
{
	struct store_config c = s3_config();
	char url[64];

	c.endpoint = liar.url;
	c.lock.ms = HOUR_MS;
	(void)snprintf(url, sizeof url, "s3://%s", s3_bucket());
	return place_open(url, &c, ret, err);
}

START_TEST(a_busy_site_is_asked_again_while_it_is_opened)
{
	struct err err = ERR_INIT;

	locked();
	for (int n = 0; n < 3; n++) {
		CLEAN(store_free_ptr) struct store *s = NULL;

		rule("{'status': 503, 'after': %d, 'times': 3}", n);
		must(open_lied(&s, &err), &err);
		ck_assert_uint_eq(s->caps | STORE_REMOVE, lied->caps);
		ck_assert_int_eq(s3_liar_count(&liar, ""), 6);
	}
	done();
}
END_TEST

START_TEST(what_a_refusal_says_while_a_site_is_opened_is_no_capability)
{
	locked();
	for (int n = 0; n < 3; n++)
		for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
			CLEAN(store_free_ptr) struct store *s = NULL;
			struct err err = ERR_INIT;
			bool opens = n && (!strcmp(codes[i].code, "AccessDenied") || codes[i].class == ERR_UNSUPPORTED);

			if (codes[i].retryable)
				continue;
			rule("{'status': %d, 'body': '<Error><Code>%s</Code></Error>', 'after': %d, 'times': 1}",
			        codes[i].status, codes[i].code, n);
			int rc = open_lied(&s, &err);

			ck_assert_msg(rc == (opens ? 0 : -(int)codes[i].class), "%d %s: %s", n, codes[i].code, err.msg);
		}
	done();
}
END_TEST

START_TEST(a_session_token_goes_with_each_request_and_into_no_message)
{
	struct store_config c = s3_config();
	struct store *s;
	struct err err = ERR_INIT;
	char url[64];

	versioned();
	c.endpoint = liar.url;
	c.session_token = "a+session/token==";
	(void)snprintf(url, sizeof url, "s3://%s", s3_bucket());
	rule("{'has': 'x-amz-security-token', 'status': 400, 'body': '<Error><Code>ExpiredToken</Code></Error>'}");
	ck_assert_int_eq(place_open(url, &c, &s, &err), -ERR_DENIED);
	ck_assert_ptr_nonnull(strstr(err.hint, "session token has expired"));
	ck_assert_ptr_null(strstr(err.msg, "a+session"));
	done();
}
END_TEST

START_TEST(a_site_that_stays_busy_is_told_so)
{
	struct store *s;
	struct err err = ERR_INIT;

	versioned();
	rule("{'status': 503, 'body': '<Error><Code>SlowDown</Code></Error>'}");
	ck_assert_int_eq(open_lied(&s, &err), -ERR_UNREACHABLE);
	ck_assert(err.retryable);
	ck_assert_int_eq(s3_liar_count(&liar, ""), 5);
	done();
}
END_TEST

START_TEST(locks_are_asked_for_where_it_may_not_be_asked_whether_there_are_any)
{
	CLEAN(store_free_ptr) struct store *s = NULL;
	struct store_lock lock;
	struct err err = ERR_INIT;

	locked();
	rule("{'query': 'object-lock', 'status': 403, 'body': '<Error><Code>AccessDenied</Code></Error>'}");
	must(open_lied(&s, &err), &err);
	ck_assert(!(s->caps & STORE_OBJECT_LOCK));
	put_text(s, "p/one", "locked all the same");
	must(store_lock(truth, "p/one", &lock, &err), &err);
	ck_assert_int_eq(lock.mode, STORE_LOCK_COMPLIANCE);
	done();
}
END_TEST

/* --- what may pass is tried again --- */

START_TEST(what_may_pass_is_tried_again_and_done_once)
{
	plain();
	CLEAN(store_free_ptr) struct store *s = patient(&lied);
	char key[32], text[32];

	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		if (!codes[i].retryable)
			continue;
		(void)snprintf(key, sizeof key, "p/%zu", i);
		(void)snprintf(text, sizeof text, "text %zu", i);
		rule("{'status': %d, 'body': '<Error><Code>%s</Code></Error>', 'times': 2}", codes[i].status,
		        codes[i].code);
		put_text(s, key, text);
		ck_assert_int_eq(s3_liar_count(&liar, ""), 3);
		expect_text(truth, key, text);
		rule("{'status': %d, 'times': 2}", codes[i].status);
		expect_text(s, key, text);
	}
	done();
}
END_TEST

START_TEST(an_answer_that_is_lost_does_not_make_a_put_fail)
{
	versioned();
	CLEAN(store_free_ptr) struct store *s = patient(&lied);
	struct err err = ERR_INIT;

	rule("{'method': 'PUT', 'status': 500, 'forward': true, 'times': 1}");
	put_text(s, "p/one", "mine");
	rule("{'method': 'PUT', 'cut_answer': 0, 'times': 1}");
	put_text(s, "p/two", "mine");
	rule("{'method': 'PUT', 'cut_answer': 20, 'times': 1, 'reset': true}");
	put_text(s, "p/three", "mine");
	expect_list(truth, "", NULL, "p/one p/three p/two ");
	put_text(truth, "p/four", "theirs");
	rule("{'method': 'PUT', 'status': 503, 'times': 1}");
	ck_assert_int_eq(store_put_bytes(s, "p/four", "mine", 4, &err), -ERR_EXISTS);
	expect_text(truth, "p/four", "theirs");
	done();
}
END_TEST

START_TEST(a_storm_is_weathered_with_few_requests)
{
	plain();
	CLEAN(store_free_ptr) struct store *s = patient(&lied);
	char key[32];

	rule("{'status': 503, 'every': 3, 'headers': {'Retry-After': 'soon'}}");
	for (int i = 0; i < 60; i++) {
		(void)snprintf(key, sizeof key, "p/%02d", i);
		put_text(s, key, key);
	}
	ck_assert_int_le(s3_liar_count(&liar, ""), 3 * 60);
	for (int i = 0; i < 60; i++) {
		(void)snprintf(key, sizeof key, "p/%02d", i);
		expect_text(s, key, key);
		expect_text(truth, key, key);
	}
	done();
}
END_TEST

/* --- connections that break --- */

#define CUT_BYTES ((size_t)300000)

/* Where to cut: close together at the beginning, then further and further apart. */
static size_t next_cut(size_t at)
{
	return at < 1024 ? at + 61 : at + at / 3;
}

static void cut_put(struct store *s, const char *how, size_t at, bool reset, const unsigned char *p)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(CUT_BYTES);
	struct err err = ERR_INIT;
	char key[64];

	(void)snprintf(key, sizeof key, "p/%s/%zu/%d", how, at, reset);
	rule("{'method': 'PUT', '%s': %zu, 'times': 1, 'reset': %s}", how, at, reset ? "true" : "false");
	must(store_put_bytes(s, key, p, CUT_BYTES, &err), &err);
	must(store_get(truth, key, &b, &err), &err);
	ck_assert(b.len == CUT_BYTES && !memcmp(b.p, p, CUT_BYTES));
}

static void cut_get(struct store *s, const char *how, size_t at, bool reset, const unsigned char *p)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(CUT_BYTES);
	struct err err = ERR_INIT;

	rule("{'method': 'GET', '%s': %zu, 'times': 1, 'reset': %s}", how, at, reset ? "true" : "false");
	must(store_get(s, "p/there", &b, &err), &err);
	ck_assert(b.len == CUT_BYTES && !memcmp(b.p, p, CUT_BYTES));
}

START_TEST(a_connection_cut_at_any_byte_loses_and_doubles_nothing)
{
	plain();
	CLEAN(store_free_ptr) struct store *s = patient(&lied);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(CUT_BYTES, 3);
	struct err err = ERR_INIT;
	bool reset = _i;

	must(store_put_bytes(truth, "p/there", p, CUT_BYTES, &err), &err);
	/* the requests of a get and the answers to a put are short */
	for (size_t at = 0; at < CUT_BYTES; at = next_cut(at)) {
		cut_put(s, "cut_request", at, reset, p);
		cut_get(s, "cut_answer", at, reset, p);
		if (at > 1024)
			continue;
		cut_put(s, "cut_answer", at, reset, p);
		cut_get(s, "cut_request", at, reset, p);
	}
	done();
}
END_TEST

START_TEST(a_broken_answer_without_a_retry_is_told_and_not_taken_for_whole)
{
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(CUT_BYTES, 3);
	CLEAN(buf_release) struct buf b = BUF_INIT(CUT_BYTES);
	struct err err = ERR_INIT;

	plain();
	must(store_put_bytes(truth, "p/there", p, CUT_BYTES, &err), &err);
	rule("{'method': 'GET', 'cut_answer': 100000}");
	ck_assert_int_eq(store_get(lied, "p/there", &b, &err), -ERR_UNREACHABLE);
	ck_assert(err.retryable);
	rule("{'cut_answer': 300}");
	ck_assert_int_eq(do_list(lied, &err), -ERR_UNREACHABLE);
	ck_assert(err.retryable);
	done();
}
END_TEST

START_TEST(a_site_that_never_answers_is_given_up)
{
	struct s3_http_config h = {
	        .access_key = s3_env("KEY"), .secret_key = s3_env("SECRET"), .region = "default", .idle_ms = 1000};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;
	struct s3_request r = {.method = "GET"};
	struct err err = ERR_INIT;

	plain();
	must(s3_place_init(&h.place, liar.url, "default", s3_bucket(), &err), &err);
	struct s3_http *http = s3_http_new(&h);

	rule("{'hang': true}");
	ck_assert_int_eq(s3_exchange(http, &r, &a, &err), -ERR_UNREACHABLE);
	ck_assert(err.retryable);
	s3_http_free(http);
	done();
}
END_TEST

/* --- lies --- */

START_TEST(a_put_without_its_condition_does_not_win_where_versions_are_kept)
{
	struct err err = ERR_INIT;

	versioned();
	put_text(truth, "w/fate", "commit");
	rule("{'method': 'PUT', 'strip': 'if-none-match'}");
	ck_assert_int_eq(store_put_bytes(lied, "w/fate", "dead", 4, &err), -ERR_EXISTS);
	ck_assert_int_eq(s3_liar_count(&liar, "PUT"), 1);
	expect_text(lied, "w/fate", "commit");
	expect_text(truth, "w/fate", "commit");
	put_text(lied, "w/other", "commit");
	expect_text(truth, "w/other", "commit");
	done();
}
END_TEST

static void probe(struct probe_result *r)
{
	const struct probe_opts o = {.promised_ms = HOUR_MS};
	struct err err = ERR_INIT;

	must(store_probe(lied, &o, r, &err), &err);
}

START_TEST(the_probe_sees_through_a_gateway_that_drops_locks)
{
	struct store_lock lock;
	struct probe_result r;
	struct err err = ERR_INIT;

	locked();
	probe(&r);
	ck_assert_int_eq(r.class_, PROBE_LOCKED);
	rule("{'strip': 'x-amz-object-lock-'}");
	put_text(lied, "p/one", "they said it was locked");
	must(store_lock(lied, "p/one", &lock, &err), &err);
	ck_assert_int_eq(lock.mode, STORE_UNLOCKED);
	probe(&r);
	ck_assert_int_eq(r.point[PROBE_LOCK].answer, PROBE_NO);
	ck_assert_int_ne(r.class_, PROBE_LOCKED);
	done();
}
END_TEST

START_TEST(the_probe_sees_through_a_gateway_that_drops_conditions)
{
	struct probe_result r;

	plain();
	rule("{'strip': 'if-none-match'}");
	probe(&r);
	ck_assert_int_eq(r.point[PROBE_CREATE_ONLY].answer, PROBE_NO);
	ck_assert_int_eq(r.class_, PROBE_TIMED);
	done();
}
END_TEST

START_TEST(a_gateway_that_has_no_conditional_put_stores_nothing)
{
	struct err err = ERR_INIT;

	plain();
	rule("{'method': 'PUT', 'has': 'if-none-match', 'status': 501, 'body': "
	     "'<Error><Code>NotImplemented</Code></Error>'}");
	ck_assert_int_eq(store_put_bytes(lied, "p/one", "x", 1, &err), -ERR_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(err.msg, "NotImplemented"));
	expect_missing(truth, "p/one");
	done();
}
END_TEST

START_TEST(a_range_that_is_ignored_reaches_no_sink)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64);
	struct err err = ERR_INIT;

	plain();
	put_text(truth, "r/ten", "0123456789");
	rule("{'strip': 'range'}");
	ck_assert_int_eq(store_get_range(lied, "r/ten", 0, 4, &b, &err), -ERR_FORMAT);
	ck_assert_int_eq(store_get_range(lied, "r/ten", 3, 4, &b, &err), -ERR_FORMAT);
	ck_assert_uint_eq(b.len, 0);
	rule("{'method': 'GET', 'status': 206, 'body': '0123', 'headers': {'Content-Range': 'bytes 0-3/10'}}");
	ck_assert_int_eq(store_get_range(lied, "r/ten", 3, 4, &b, &err), -ERR_FORMAT);
	ck_assert_uint_eq(b.len, 0);
	rule("{'method': 'GET', 'status': 206, 'body': '3456', 'headers': {'Content-Range': 'bytes 3-6/10'}}");
	ck_assert_int_eq(store_get(lied, "r/ten", &b, &err), -ERR_FORMAT);
	ck_assert_uint_eq(b.len, 0);
	done();
}
END_TEST

#define PAGE(more, inside) "<ListBucketResult><IsTruncated>" more "</IsTruncated>" inside "</ListBucketResult>"
#define KEY(key) "<Contents><Key>" key "</Key><Size>1</Size></Contents>"
#define TOKEN "<NextContinuationToken>t</NextContinuationToken>"

static const struct {
	const char *body;
	int requests; /* at most */
} lists[] = {
        {PAGE("true", KEY("p/a") TOKEN), 2},
        {PAGE("true", KEY("p/a")), 2},
        {PAGE("true", TOKEN), 20},
        {PAGE("true", ""), 1},
        {PAGE("false", KEY("p/b") KEY("p/a")), 1},
        {PAGE("false", KEY("q/b")), 1},
        {PAGE("false", KEY("p/../../x")), 1},
        {PAGE("false", KEY("p/a b")), 1},
        {"<ListBucketResult><Contents><Key>p/a</Key>", 1},
        {"<!DOCTYPE html><html></html>", 1},
        {"", 1},
};

START_TEST(a_list_that_lies_or_does_not_end_is_refused)
{
	struct err err = ERR_INIT;
	int n = 0;

	plain();
	rule("{'method': 'GET', 'query': 'list-type', 'status': 200, 'body': '%s'}", lists[_i].body);
	ck_assert_int_eq(store_list(lied, "p/", NULL, ignore_key, &n, &err), -ERR_FORMAT);
	ck_assert(!err.retryable);
	ck_assert_int_le(s3_liar_count(&liar, ""), lists[_i].requests);
	done();
}
END_TEST

START_TEST(versions_that_do_not_end_are_refused)
{
	struct err err = ERR_INIT;

	versioned();
	rule("{'query': 'versions', 'status': 200, 'body': "
	     "'<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>"
	     "p/one</NextKeyMarker><Version><Key>p/one</Key><VersionId>v</VersionId></Version></ListVersionsResult>'}");
	ck_assert_int_eq(store_put_bytes(lied, "p/one", "x", 1, &err), -ERR_FORMAT);
	ck_assert_int_le(s3_liar_count(&liar, ""), 70);
	done();
}
END_TEST

/* --- uploads in parts --- */

static struct store *in_parts(void)
{
	struct store_config c = s3_config();
	struct store *s;
	struct err err = ERR_INIT;

	c.endpoint = liar.url;
	must(s3_open(s3_bucket(), &c, 1, &s, &err), &err);
	return s;
}

static const struct {
	const char *rule;
	enum err_code class;
	bool retryable;
} parts[] = {
        {"{'method': 'POST', 'query': 'uploadId', 'status': 200, 'body': '<Error><Code>InternalError</Code></Error>'}",
                ERR_UNREACHABLE, true},
        {"{'method': 'POST', 'query': 'uploadId', 'status': 200, 'body': "
         "'<Error><Code>PreconditionFailed</Code></Error>'}",
                ERR_EXISTS, false},
        {"{'method': 'POST', 'query': 'uploadId', 'status': 412}", ERR_EXISTS, false},
        {"{'method': 'POST', 'query': 'uploadId', 'status': 200, 'body': '<Comp'}", ERR_FORMAT, false},
        {"{'method': 'POST', 'query': 'uploadId', 'status': 200}", ERR_FORMAT, false},
        {"{'method': 'POST', 'query': 'uploadId', 'status': 409}", ERR_UNREACHABLE, true},
        {"{'method': 'PUT', 'query': 'partNumber', 'status': 500}", ERR_UNREACHABLE, true},
        {"{'method': 'PUT', 'query': 'partNumber', 'status': 404, 'body': '<Error><Code>NoSuchUpload</Code></Error>'}",
                ERR_UNREACHABLE, true},
        {"{'method': 'PUT', 'query': 'partNumber', 'status': 200}", ERR_FORMAT, false},
        {"{'method': 'PUT', 'query': 'partNumber', 'status': 200, 'headers': {'ETag': '<x>'}}", ERR_FORMAT, false},
};

START_TEST(an_upload_that_fails_is_abandoned)
{
	struct err err = ERR_INIT;

	plain();
	CLEAN(store_free_ptr) struct store *s = in_parts();

	rule("%s", parts[_i].rule);
	ck_assert_msg(store_put_bytes(s, "p/one", "in parts", 8, &err) == -(int)parts[_i].class, "%s", err.msg);
	ck_assert_int_eq(err.retryable, parts[_i].retryable);
	ck_assert_int_eq(s3_liar_count(&liar, "DELETE"), 1);
	expect_missing(truth, "p/one");
	rule("{'method': 'X'}");
	put_text(s, "p/one", "in parts");
	ck_assert_int_eq(s3_liar_count(&liar, "DELETE"), 0);
	expect_text(truth, "p/one", "in parts");
	done();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("s3_lies");
	TCase *tc = place_case("s3_lies");
	const TTest *const tests[] = {a_busy_site_is_asked_again_while_it_is_opened,
	        what_a_refusal_says_while_a_site_is_opened_is_no_capability, a_site_that_stays_busy_is_told_so,
	        a_session_token_goes_with_each_request_and_into_no_message,
	        locks_are_asked_for_where_it_may_not_be_asked_whether_there_are_any,
	        what_may_pass_is_tried_again_and_done_once, an_answer_that_is_lost_does_not_make_a_put_fail,
	        a_storm_is_weathered_with_few_requests, a_broken_answer_without_a_retry_is_told_and_not_taken_for_whole,
	        a_site_that_never_answers_is_given_up, a_put_without_its_condition_does_not_win_where_versions_are_kept,
	        the_probe_sees_through_a_gateway_that_drops_locks,
	        the_probe_sees_through_a_gateway_that_drops_conditions,
	        a_gateway_that_has_no_conditional_put_stores_nothing, a_range_that_is_ignored_reaches_no_sink,
	        versions_that_do_not_end_are_refused};

	suite_add_tcase(s, tc);
	tcase_add_loop_test(tc, every_code_of_every_operation_without_versions, 0, 6);
	tcase_add_loop_test(tc, every_code_of_every_operation_with_versions_and_locks, 0, 9);
	tcase_add_loop_test(tc, a_connection_cut_at_any_byte_loses_and_doubles_nothing, 0, 2);
	tcase_add_loop_test(tc, a_list_that_lies_or_does_not_end_is_refused, 0, (int)ARRAY_LEN(lists));
	tcase_add_loop_test(tc, an_upload_that_fails_is_abandoned, 0, (int)ARRAY_LEN(parts));
	for (size_t i = 0; i < ARRAY_LEN(tests); i++)
		tcase_add_test(tc, tests[i]);
	return s;
}

int main(void)
{
	if (!s3_here())
		return 0;
	crypto_init();
	return conformance_main(suite());
}
