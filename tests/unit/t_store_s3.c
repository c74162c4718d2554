/* The S3 driver at a real gateway (Ceph's): run it by tests/with-servers. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "s3_fixture.h"
#include "s3/s3_internal.h"
#include "store/store.h"
#include "place/place.h"
#include "store_conformance.h"

#define WRITERS 24
#define MINUTE_NS (60 * INT64_C(1000000000))
#define HOUR_MS (3600 * INT64_C(1000))

/* --- the ways to open a bucket that all must conform --- */

static int open_url(const char *prefix, const struct store_config *c, struct store **ret, struct err *err)
{
	char url[256];

	(void)snprintf(url, sizeof url, "s3://%s/%s", s3_bucket(), prefix);
	return place_open(url, c, ret, err);
}

static int open_bucket(const char *place, struct store **ret, struct err *err)
{
	struct store_config c = s3_config();

	(void)place;
	c.may_remove = true;
	return open_url("", &c, ret, err);
}

static int open_prefix(const char *place, struct store **ret, struct err *err)
{
	struct store_config c = s3_config();

	(void)place;
	c.may_remove = true;
	return open_url("ca/north", &c, ret, err);
}

/* Virtual-host style, over TLS, with a certificate of an authority that only ca_file knows. */
static int open_host_name(const char *place, struct store **ret, struct err *err)
{
	struct store_config c = s3_config();
	char endpoint[256];

	(void)place;
	(void)snprintf(
	        endpoint, sizeof endpoint, "https://%s.%s", s3_bucket(), s3_env("TLS_ENDPOINT") + strlen("https://"));
	c.endpoint = endpoint;
	c.ca_file = s3_env("CA");
	c.may_remove = true;
	return open_url("", &c, ret, err);
}

static int open_unversioned(const char *place, struct store **ret, struct err *err)
{
	struct store_config c = s3_config();

	(void)place;
	c.create = false;
	c.may_remove = true;
	int rc = open_url("", &c, ret, err);

	if (rc != -ERR_UNREACHABLE)
		return rc;
	s3_plain_bucket();
	return open_url("", &c, ret, err);
}

static const struct conformance_driver drivers[] = {
        {"s3", open_bucket, true},
        {"s3 beneath a prefix", open_prefix, true},
        {"s3 by the bucket's host name and TLS", open_host_name, true},
        {"s3 without versions", open_unversioned, true},
};

/* --- races --- */

struct writer {
	struct store *s;
	const char *key;
	const unsigned char *p;
	size_t n;
	int rc;
	pthread_t thread;
	pthread_barrier_t *start;
};

static void *write_once(void *arg)
{
	struct writer *w = arg;
	struct err err = ERR_INIT;

	pthread_barrier_wait(w->start);
	w->rc = store_put_bytes(w->s, w->key, w->p, w->n, &err);
	return NULL;
}

/* n threads put different bytes under one key; the one that won has its bytes there. */
static void race(struct store *s, const char *key, struct writer *w, size_t n, size_t bytes)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(bytes);
	pthread_barrier_t start;
	struct err err = ERR_INIT;
	size_t winners = 0, winner = 0;

	pthread_barrier_init(&start, NULL, (unsigned)n);
	for (size_t i = 0; i < n; i++) {
		w[i] = (struct writer){
		        .s = s, .key = key, .p = pattern_bytes(bytes, (unsigned)i + 1), .n = bytes, .start = &start};
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, write_once, &w[i]), 0);
	}
	for (size_t i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		ck_assert(w[i].rc == 0 || w[i].rc == -ERR_EXISTS);
		if (!w[i].rc && ++winners)
			winner = i;
	}
	pthread_barrier_destroy(&start);
	ck_assert_uint_eq(winners, 1);
	must(store_get(s, key, &b, &err), &err);
	ck_assert_uint_eq(b.len, bytes);
	ck_assert(!memcmp(b.p, w[winner].p, bytes));
	for (size_t i = 0; i < n; i++)
		free((void *)w[i].p);
}

START_TEST(of_24_parallel_writers_one_wins)
{
	const struct store_config c = s3_config();
	CLEAN(store_free_ptr) struct store *s = s3_at("", &c);
	struct writer w[WRITERS];
	char key[32];

	for (int i = 0; i < 20; i++) {
		(void)snprintf(key, sizeof key, "w/race/%d", i);
		race(s, key, w, WRITERS, 1000);
	}
}
END_TEST

START_TEST(of_two_large_puts_at_once_one_wins)
{
	const struct store_config c = s3_config();
	CLEAN(store_free_ptr) struct store *s = s3_at("", &c);
	struct writer w[2];

	race(s, "p/large", w, 2, (size_t)70 << 20);
}
END_TEST

/* --- uploads in parts --- */

static struct store *with_parts(const struct store_config *c)
{
	struct store *s;
	struct err err = ERR_INIT;

	must(s3_open(s3_bucket(), c, 1, &s, &err), &err);
	return s;
}

START_TEST(an_object_in_parts_comes_back_bit_for_bit)
{
	const struct store_config c = s3_config();
	CLEAN(store_free_ptr) struct store *s = with_parts(&c);
	const size_t n = ((size_t)70 << 20) + 17, cut = ((size_t)33 << 20) + 5;
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(n, 9);
	const struct store_piece piece[] = {{p, 3}, {NULL, 0}, {p + 3, cut}, {p + 3 + cut, n - cut - 3}};
	CLEAN(buf_release) struct buf b = BUF_INIT(n);
	struct err err = ERR_INIT;

	must(store_put(s, "p/parts", &(struct store_src){piece, ARRAY_LEN(piece)}, &err), &err);
	must(store_get(s, "p/parts", &b, &err), &err);
	ck_assert_uint_eq(b.len, n);
	ck_assert(!memcmp(b.p, p, n));
	ck_assert_int_eq(store_put_bytes(s, "p/parts", "other", 5, &err), -ERR_EXISTS);
	buf_clear(&b);
	must(store_get_range(s, "p/parts", n - 9, 9, &b, &err), &err);
	ck_assert_mem_eq(b.p, p + n - 9, 9);
}
END_TEST

START_TEST(an_object_in_parts_is_locked_as_any_other)
{
	struct store_config c = s3_config();
	struct store_lock lock;
	struct err err = ERR_INIT;

	c.lock = (struct store_lock_policy){.ms = HOUR_MS, .governance = true};
	CLEAN(store_free_ptr) struct store *s = with_parts(&c);

	put_text(s, "p/parts", "a small part");
	must(store_lock(s, "p/parts", &lock, &err), &err);
	ck_assert_int_eq(lock.mode, STORE_LOCK_GOVERNANCE);
	ck_assert(lock.until_ns > clock_wall_ns() + 59 * MINUTE_NS);
}
END_TEST

/* --- locks --- */

static struct store *locked(int64_t ms, int64_t evidence_ms, bool governance)
{
	struct store_config c = s3_config();

	c.lock = (struct store_lock_policy){.ms = ms, .evidence_ms = evidence_ms, .governance = governance};
	c.may_remove = true;
	return s3_at("a", &c);
}

static void expect_lock(struct store *s, const char *key, int mode, int64_t minutes)
{
	struct store_lock lock;
	struct err err = ERR_INIT;
	int64_t want = clock_wall_ns() + minutes * MINUTE_NS;

	must(store_lock(s, key, &lock, &err), &err);
	ck_assert_int_eq(lock.mode, mode);
	if (mode != STORE_UNLOCKED)
		ck_assert(lock.until_ns > want - 5 * MINUTE_NS && lock.until_ns < want + 5 * MINUTE_NS);
}

START_TEST(new_objects_are_locked_as_the_policy_says)
{
	CLEAN(store_free_ptr) struct store *s = locked(HOUR_MS, 5 * HOUR_MS, false);

	ck_assert(s->caps & STORE_OBJECT_LOCK);
	ck_assert(s->caps & STORE_VERSIONS);
	put_text(s, "p/one", "data");
	put_text(s, "l/0", "evidence");
	expect_lock(s, "p/one", STORE_LOCK_COMPLIANCE, 60);
	expect_lock(s, "l/0", STORE_LOCK_COMPLIANCE, 300);
	CLEAN(store_free_ptr) struct store *g = locked(HOUR_MS, 0, true);

	put_text(g, "p/two", "data");
	put_text(g, "l/1", "evidence");
	expect_lock(g, "p/two", STORE_LOCK_GOVERNANCE, 60);
	expect_lock(g, "l/1", STORE_UNLOCKED, 0);
}
END_TEST

START_TEST(a_lock_is_extended_and_never_shortened)
{
	CLEAN(store_free_ptr) struct store *s = locked(HOUR_MS, 0, false);
	struct err err = ERR_INIT;

	put_text(s, "p/one", "data");
	must(store_extend(s, "p/one", clock_wall_ns() + 180 * MINUTE_NS, &err), &err);
	expect_lock(s, "p/one", STORE_LOCK_COMPLIANCE, 180);
	must(store_extend(s, "p/one", clock_wall_ns() + 60 * MINUTE_NS, &err), &err);
	expect_lock(s, "p/one", STORE_LOCK_COMPLIANCE, 180);
	put_text(s, "l/free", "not locked");
	must(store_extend(s, "l/free", clock_wall_ns() + 60 * MINUTE_NS, &err), &err);
	expect_lock(s, "l/free", STORE_LOCK_COMPLIANCE, 60);
	ck_assert_int_eq(store_extend(s, "p/none", clock_wall_ns() + 60 * MINUTE_NS, &err), -ERR_MISSING);
}
END_TEST

START_TEST(a_bucket_without_locks_takes_no_object_that_is_to_be_locked)
{
	struct store_config c = s3_config();
	struct store_lock lock;
	struct err err = ERR_INIT;

	s3_plain_bucket();
	c.lock.ms = HOUR_MS;
	CLEAN(store_free_ptr) struct store *s = s3_at("", &c);

	ck_assert(!(s->caps & (STORE_OBJECT_LOCK | STORE_VERSIONS)));
	ck_assert_int_eq(store_put_bytes(s, "p/one", "x", 1, &err), -ERR_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(err.msg, "has no object lock"));
	expect_missing(s, "p/one");
	put_text(s, "l/one", "evidence is not to be locked");
	ck_assert_int_eq(store_lock(s, "l/one", &lock, &err), -ERR_UNSUPPORTED);
}
END_TEST

/* --- attacks and what they leave --- */

static void expect_older(struct store *s, const char *key, unsigned n, const char *text)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	struct store_sink sink = {store_buf_write, &b};
	struct err err = ERR_INIT;
	int rc = store_get_older(s, key, n, &sink, &err);

	if (!text) {
		ck_assert_int_eq(rc, -ERR_MISSING);
		return;
	}
	must(rc, &err);
	ck_assert_str_eq(buf_str(&b), text);
}

START_TEST(what_is_overwritten_or_hidden_is_read_as_an_older_version)
{
	const struct store_config c = s3_config();
	CLEAN(store_free_ptr) struct store *s = s3_at("", &c);
	struct err err = ERR_INIT;

	put_text(s, "p/one", "first bytes");
	put_text(s, "p/one.more", "another key that begins alike");
	expect_older(s, "p/one", 1, NULL);
	must(store_attack(s, STORE_OVERWRITE, "p/one", &err), &err);
	expect_text(s, "p/one", "first bytes"); /* the first one stands */
	expect_older(s, "p/one", 1, "first bytes");
	expect_older(s, "p/one", 2, NULL);
	must(store_attack(s, STORE_DELETE, "p/one", &err), &err);
	expect_missing(s, "p/one");
	expect_older(s, "p/one", 1, "other bytes");
	expect_older(s, "p/one", 2, "first bytes");
	expect_older(s, "p/none", 1, NULL);
}
END_TEST

START_TEST(a_locked_version_cannot_be_ended)
{
	CLEAN(store_free_ptr) struct store *s = locked(HOUR_MS, HOUR_MS, false);
	struct err err = ERR_INIT;

	put_text(s, "p/one", "first bytes");
	ck_assert_int_eq(store_attack(s, STORE_DELETE_VERSION, "p/one", &err), -ERR_DENIED);
	ck_assert_int_eq(store_attack(s, STORE_SHORTEN_LOCK, "p/one", &err), -ERR_DENIED);
	ck_assert_int_eq(store_remove(s, "p/one", &err), -ERR_DENIED);
	ck_assert(!err.retryable);
	expect_text(s, "p/one", "first bytes");
	expect_lock(s, "p/one", STORE_LOCK_COMPLIANCE, 60);
	must(store_attack(s, STORE_OVERWRITE, "p/one", &err), &err);
	ck_assert_int_eq(store_remove(s, "p/one", &err), -ERR_DENIED);
	expect_text(s, "p/one", "first bytes");
	expect_older(s, "p/one", 1, "first bytes");
}
END_TEST

START_TEST(whoever_may_bypass_governance_ends_its_locks)
{
	CLEAN(store_free_ptr) struct store *s = locked(HOUR_MS, HOUR_MS, true);
	struct err err = ERR_INIT;

	put_text(s, "p/one", "first bytes");
	put_text(s, "p/two", "first bytes");
	must(store_attack(s, STORE_SHORTEN_LOCK, "p/one", &err), &err);
	must(store_attack(s, STORE_DELETE_VERSION, "p/two", &err), &err);
	expect_missing(s, "p/two");
	expect_older(s, "p/two", 1, NULL);
}
END_TEST

START_TEST(without_versions_a_delete_is_for_ever)
{
	const struct store_config c = s3_config();
	struct err err = ERR_INIT;

	s3_plain_bucket();
	CLEAN(store_free_ptr) struct store *s = s3_at("", &c);

	put_text(s, "p/one", "first bytes");
	must(store_attack(s, STORE_DELETE_VERSION, "p/one", &err), &err);
	expect_missing(s, "p/one");
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	struct store_sink sink = {store_buf_write, &b};

	ck_assert_int_eq(store_get_older(s, "p/one", 1, &sink, &err), -ERR_UNSUPPORTED);
}
END_TEST

START_TEST(a_put_whose_digest_is_wrong_is_refused)
{
	const struct store_config c = s3_config();
	CLEAN(store_free_ptr) struct store *s = s3_at("", &c);
	struct err err = ERR_INIT;

	ck_assert_int_eq(store_attack(s, STORE_BAD_DIGEST, "p/one", &err), -ERR_CORRUPT);
	expect_missing(s, "p/one");
	put_text(s, "p/one", "right");
	expect_text(s, "p/one", "right");
}
END_TEST

/* --- opening --- */

static int fails_to_open(const struct store_config *c, struct err *err)
{
	struct store *s;
	int rc = open_url("", c, &s, err);

	ck_assert_int_ne(rc, 0);
	ck_assert_ptr_null(s);
	ck_assert_ptr_nonnull(strstr(err->msg, "site south: "));
	ck_assert_ptr_null(strstr(err->msg, s3_env("SECRET")));
	return rc;
}

START_TEST(a_bucket_that_is_missing_is_unreachable_unless_it_may_be_made)
{
	struct store_config c = s3_config();
	struct err err = ERR_INIT;

	c.create = false;
	ck_assert_int_eq(fails_to_open(&c, &err), -ERR_UNREACHABLE);
	ck_assert(!err.retryable);
	ck_assert_ptr_nonnull(strstr(err.msg, "NoSuchBucket"));
	ck_assert_ptr_nonnull(strstr(err.msg, "request tx"));
	ck_assert_ptr_nonnull(strstr(err.hint, "init"));
	c.create = true;
	CLEAN(store_free_ptr) struct store *s = s3_at("", &c);

	ck_assert(s->caps & STORE_VERSIONS);
	ck_assert(!(s->caps & STORE_OBJECT_LOCK));
	CLEAN(store_free_ptr) struct store *again = s3_at("", &c);

	ck_assert_uint_eq(again->caps, s->caps);
}
END_TEST

START_TEST(wrong_credentials_are_denied_with_a_hint)
{
	struct store_config c = s3_config();
	struct err err = ERR_INIT;

	store_free(s3_at("", &c));
	c.secret_key = "not the secret";
	ck_assert_int_eq(fails_to_open(&c, &err), -ERR_DENIED);
	ck_assert_ptr_nonnull(strstr(err.msg, "SignatureDoesNotMatch"));
	ck_assert_ptr_nonnull(strstr(err.hint, "secret_key"));
	ck_assert_ptr_null(strstr(err.msg, "not the secret"));
	c.access_key = "nobody";
	ck_assert_int_eq(fails_to_open(&c, &err), -ERR_DENIED);
	ck_assert_ptr_nonnull(strstr(err.hint, "access_key"));
	c.access_key = s3_env("KEY2");
	c.secret_key = s3_env("SECRET2");
	ck_assert_int_eq(fails_to_open(&c, &err), -ERR_DENIED);
	ck_assert_ptr_nonnull(strstr(err.msg, "AccessDenied"));
	ck_assert(!err.retryable);
	c.secret_key = NULL;
	ck_assert_int_eq(fails_to_open(&c, &err), -ERR_USAGE);
}
END_TEST

START_TEST(an_endpoint_that_is_not_trusted_gets_nothing)
{
	struct store_config c = s3_config();
	struct err err = ERR_INIT;

	c.endpoint = s3_env("TLS_ENDPOINT");
	ck_assert_int_eq(fails_to_open(&c, &err), -ERR_DENIED);
	ck_assert_ptr_nonnull(strstr(err.hint, "ca_file"));
	c.ca_file = "/nonexistent/ca.pem";
	ck_assert_int_eq(fails_to_open(&c, &err), -ERR_DENIED);
	c.endpoint = "http://192.0.2.1:80";
	ck_assert_int_eq(fails_to_open(&c, &err), -ERR_USAGE);
}
END_TEST

START_TEST(an_endpoint_where_nobody_listens_is_unreachable)
{
	struct store_config c = s3_config();
	struct err err = ERR_INIT;

	c.endpoint = "http://127.0.0.1:1";
	ck_assert_int_eq(fails_to_open(&c, &err), -ERR_UNREACHABLE);
	ck_assert(err.retryable);
}
END_TEST

START_TEST(a_cancelled_request_ends)
{
	atomic_bool cancel = false;
	struct store_config c = s3_config();
	struct err err = ERR_INIT;
	int64_t ns;

	c.cancel = &cancel;
	CLEAN(store_free_ptr) struct store *s = s3_at("", &c);

	atomic_store(&cancel, true);
	ck_assert_int_eq(store_clock(s, &ns, &err), -ERR_CANCELLED);
	ck_assert_int_eq(store_put_bytes(s, "p/one", "x", 1, &err), -ERR_CANCELLED);
	atomic_store(&cancel, false);
	expect_missing(s, "p/one");
}
END_TEST

/* --- what else --- */

START_TEST(the_site_tells_its_time)
{
	const struct store_config c = s3_config();
	CLEAN(store_free_ptr) struct store *s = s3_at("", &c);
	struct err err = ERR_INIT;
	int64_t ns;

	must(store_clock(s, &ns, &err), &err);
	ck_assert(llabs(ns - clock_wall_ns()) < MINUTE_NS);
}
END_TEST

START_TEST(objects_are_removed_only_where_the_configuration_says_so)
{
	const struct store_config c = s3_config();
	CLEAN(store_free_ptr) struct store *s = s3_at("", &c);
	struct err err = ERR_INIT;

	put_text(s, "p/one", "x");
	ck_assert_int_eq(store_remove(s, "p/one", &err), -ERR_UNSUPPORTED);
	expect_text(s, "p/one", "x");
}
END_TEST

START_TEST(a_removed_object_leaves_no_version_behind)
{
	struct store_config c = s3_config();
	struct err err = ERR_INIT;

	c.may_remove = true;
	CLEAN(store_free_ptr) struct store *s = s3_at("", &c);

	put_text(s, "p/one", "first");
	must(store_attack(s, STORE_OVERWRITE, "p/one", &err), &err);
	must(store_remove(s, "p/one", &err), &err);
	expect_missing(s, "p/one");
	expect_older(s, "p/one", 1, NULL);
}
END_TEST

START_TEST(a_list_goes_on_from_page_to_page)
{
	const struct store_config c = s3_config();
	CLEAN(store_free_ptr) struct store *s = s3_at("x", &c);
	CLEAN(store_keys_release) struct store_keys keys = {0};
	struct err err = ERR_INIT;
	char key[32];

	for (int i = 0; i < 1030; i++) {
		(void)snprintf(key, sizeof key, "p/%d/%04d", i % 2, i);
		put_text(s, key, "x");
	}
	must(store_list_all(s, "p/", &keys, &err), &err);
	ck_assert_uint_eq(keys.n, 1030);
	ck_assert_str_eq(keys.key[0], "p/0/0000");
	ck_assert_str_eq(keys.key[1029], "p/1/1029");
}
END_TEST

START_TEST(sites_in_one_bucket_do_not_see_each_other)
{
	const struct store_config c = s3_config();
	CLEAN(store_free_ptr) struct store *a = s3_at("one", &c);
	CLEAN(store_free_ptr) struct store *b = s3_at("one.two", &c);

	put_text(a, "p/x", "a");
	put_text(b, "p/x", "b");
	expect_list(a, "", NULL, "p/x ");
	expect_list(b, "", NULL, "p/x ");
	expect_text(a, "p/x", "a");
	expect_text(b, "p/x", "b");
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store_s3");
	TCase *tc = place_case("gateway");
	TCase *races = place_case("races");
	const TTest *const tests[] = {an_object_in_parts_comes_back_bit_for_bit, an_object_in_parts_is_locked_as_any_other,
	        new_objects_are_locked_as_the_policy_says, a_lock_is_extended_and_never_shortened,
	        a_bucket_without_locks_takes_no_object_that_is_to_be_locked,
	        what_is_overwritten_or_hidden_is_read_as_an_older_version, a_locked_version_cannot_be_ended,
	        whoever_may_bypass_governance_ends_its_locks, without_versions_a_delete_is_for_ever,
	        a_put_whose_digest_is_wrong_is_refused, a_bucket_that_is_missing_is_unreachable_unless_it_may_be_made,
	        wrong_credentials_are_denied_with_a_hint, an_endpoint_that_is_not_trusted_gets_nothing,
	        an_endpoint_where_nobody_listens_is_unreachable, the_site_tells_its_time,
	        objects_are_removed_only_where_the_configuration_says_so, a_removed_object_leaves_no_version_behind,
	        a_list_goes_on_from_page_to_page, sites_in_one_bucket_do_not_see_each_other};

	store_conformance(s, drivers, ARRAY_LEN(drivers));
	suite_add_tcase(s, races);
	tcase_set_tags(races, ON_THREADS);
	tcase_add_test(races, of_24_parallel_writers_one_wins);
	tcase_add_test(races, of_two_large_puts_at_once_one_wins);
	tcase_add_test(races, a_cancelled_request_ends);
	suite_add_tcase(s, tc);
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
