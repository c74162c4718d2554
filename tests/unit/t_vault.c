/* Stores behind a connection: the conformance suite, the rights of each role, what a vault refuses. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "store_conformance.h"
#include "store_rich.h"
#include "wire/access.h"
#include "wire_fixture.h"

/* --- the conformance suite through a connection --- */

static int over_file(const char *place, struct store **ret, struct err *err)
{
	struct store *below;
	int rc = open_file(place, &below, err);

	if (!rc)
		*ret = served_store(below, NULL);
	return rc;
}

static int over_mem(const char *place, struct store **ret, struct err *err)
{
	struct store *below;
	int rc = store_mem_open(place, &below, err);

	if (!rc)
		*ret = served_store(below, NULL);
	return rc;
}

/* As a driver that may be used by one thread at a time. */
static int over_single(const char *place, struct store **ret, struct err *err)
{
	struct store *below;
	int rc = open_file(place, &below, err);

	if (rc)
		return rc;
	below->caps &= ~(uint32_t)STORE_THREADSAFE;
	*ret = served_store(below, NULL);
	return 0;
}

/* A relay: the store behind the connection is behind a connection too. */
static int over_relay(const char *place, struct store **ret, struct err *err)
{
	struct store *below;
	int rc = open_file(place, &below, err);

	if (!rc)
		*ret = served_store(served_store(below, NULL), NULL);
	return rc;
}

/* Versions, locks and a clock, as far as the place behind has them. */
static int over_rich(const char *place, struct store **ret, struct err *err)
{
	struct store *below;
	int rc = store_rich_open(place, &below, err);

	if (!rc)
		*ret = served_store(below, NULL);
	return rc;
}

static const struct conformance_driver drivers[] = {
        {"wire over file", over_file, false},
        {"wire over mem", over_mem, false},
        {"wire over a store for one thread", over_single, false},
        {"wire over wire over file", over_relay, false},
        {"wire over a store with versions and locks", over_rich, false},
};

/* --- what the connection adds --- */

static struct store *new_served(const struct wire_served *how)
{
	return served_store(new_file(), how);
}

START_TEST(caps_are_those_of_the_place_without_what_the_wire_lacks)
{
	CLEAN(store_free_ptr) struct store *s = new_served(NULL);

	ck_assert_uint_eq(s->caps, STORE_CREATE_ONLY | STORE_RANGE | STORE_LIST_STRONG | STORE_THREADSAFE |
	                                   STORE_REMOTE | STORE_DIGEST | STORE_PACED);
}
END_TEST

START_TEST(the_site_computes_digests)
{
	CLEAN(store_free_ptr) struct store *s = new_served(NULL);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(3 << 20, 9);
	unsigned char got[SHA256_LEN], want[SHA256_LEN];
	struct err err = ERR_INIT;

	must(store_put_bytes(s, "a/b", p, 3 << 20, &err), &err);
	must(store_digest(s, "a/b", got, &err), &err);
	sha256_of(p, 3 << 20, want);
	ck_assert_mem_eq(got, want, SHA256_LEN);
	ck_assert_int_eq(store_digest(s, "a/c", got, &err), -ERR_MISSING);
}
END_TEST

START_TEST(the_site_tells_its_time)
{
	CLEAN(store_free_ptr) struct store *s = new_served(NULL);
	struct err err = ERR_INIT;
	int64_t ns;

	must(store_clock(s, &ns, &err), &err);
	ck_assert(ns > INT64_C(1700000000) * 1000000000);
}
END_TEST

static void name_of(char out[128], const char *start, const void *p, size_t n)
{
	unsigned char digest[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];

	sha256_of(p, n, digest);
	hex_encode(hex, digest, sizeof digest);
	(void)snprintf(out, 128, "%s%s", start, hex);
}

START_TEST(bytes_that_are_not_what_their_name_says_are_never_visible)
{
	CLEAN(store_free_ptr) struct store *s = new_served(NULL);
	static const char *const names[] = {"p/docs/0123456789abcdef/", "i/docs/m.", ""};
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(2 << 20, 4);
	struct err err = ERR_INIT;
	char key[128];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		name_of(key, names[i], p, 2 << 20);
		p[1234567] ^= 1;
		ck_assert_int_eq(store_put_bytes(s, key, p, 2 << 20, &err), -ERR_CORRUPT);
		ck_assert_int_eq(err.code, ERR_CORRUPT);
		ck_assert(!err.retryable);
		expect_missing(s, key);
		ck_assert_int_eq(store_put_bytes(s, key, p, 17, &err), -ERR_CORRUPT);
		p[1234567] ^= 1;
		must(store_put_bytes(s, key, p, 2 << 20, &err), &err);
	}
}
END_TEST

START_TEST(errors_keep_their_code_and_words_without_control_characters)
{
	CLEAN(store_free_ptr) struct store *s = new_served(NULL);
	struct store_stat st;
	struct err err = ERR_INIT;

	ck_assert_int_eq(store_stat(s, "w/none", &st, &err), -ERR_MISSING);
	ck_assert_ptr_nonnull(strstr(err.msg, "object w/none is not there"));
	ck_assert_ptr_null(strstr(err.msg, "site site"));
	ck_assert_int_eq(strncmp(err.msg, "site ", 5), 0);
}
END_TEST

/* A place whose quota is used up after so many bytes. */
static int full_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	(void)s;
	(void)src;
	(void)err_set(err, ERR_NOSPACE, "cannot write %s: Disk quota exceeded\x1b[31m", key);
	return err_hint(err, "make room");
}

START_TEST(a_full_site_says_so)
{
	struct store *below = new_file();
	struct store_ops ops = *below->ops;
	struct err err = ERR_INIT;

	ops.put = full_put;
	below->ops = &ops;
	CLEAN(store_free_ptr) struct store *s = served_store(below, NULL);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(5 << 20, 4);

	ck_assert_int_eq(store_put_bytes(s, "a/b", p, 5 << 20, &err), -ERR_NOSPACE);
	ck_assert_ptr_nonnull(strstr(err.msg, "Disk quota exceeded\\x1b[31m"));
	ck_assert_str_eq(err.hint, "make room");
	expect_missing(s, "a/b");
}
END_TEST

START_TEST(objects_above_64_mib_are_spooled_where_that_is_allowed)
{
	CLEAN(store_free_ptr) struct store *below = new_file(); /* longer than the connection */
	CLEAN(pair_release) struct pair p;
	const struct wire_opts there = {.name = "who asks", .spool = conformance_place()};
	const size_t n = ((size_t)64 << 20) + 12345;
	CLEAN(free_ptr) unsigned char *bytes = pattern_bytes(n, 3);
	unsigned char want[SHA256_LEN], got[SHA256_LEN];
	struct err err = ERR_INIT;
	char key[128];

	pair_init(&p);
	pair_greet_with(&p, NULL, &there);
	wire_serve_store(p.there, 0, &(struct wire_served){.store = below});
	wire_start(p.there);
	CLEAN(store_free_ptr) struct store *s = NULL;

	must(wire_store_open(p.here, 0, "north", false, &s, &err), &err);
	name_of(key, "i/docs/m.", bytes, n);
	bytes[n - 1] ^= 1;
	ck_assert_int_eq(store_put_bytes(s, key, bytes, n, &err), -ERR_CORRUPT);
	bytes[n - 1] ^= 1;
	must(store_put_bytes(s, key, bytes, n, &err), &err);
	must(store_digest(s, key, got, &err), &err);
	sha256_of(bytes, n, want);
	ck_assert_mem_eq(got, want, sizeof got);
	store_free(TAKE(s));
}
END_TEST

START_TEST(objects_above_64_mib_are_refused_without_a_place_to_spool)
{
	CLEAN(store_free_ptr) struct store *s = new_served(NULL);
	const size_t n = ((size_t)64 << 20) + 1;
	CLEAN(free_ptr) unsigned char *bytes = pattern_bytes(n, 3);
	struct err err = ERR_INIT;

	ck_assert_int_eq(store_put_bytes(s, "a/b", bytes, n, &err), -ERR_NOMEM);
	put_text(s, "a/c", "goes on");
	expect_text(s, "a/c", "goes on");
}
END_TEST

/* --- many at once --- */

#define PUTTERS 6
struct putter {
	struct store *s;
	unsigned id;
	pthread_t thread;
	int rc;
};

static void *put_many(void *arg)
{
	struct putter *u = arg;
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(30 << 20, u->id);
	CLEAN(buf_release) struct buf b = BUF_INIT(30 << 20);
	struct err err = ERR_INIT;
	char key[64];

	(void)snprintf(key, sizeof key, "p/many/%u", u->id);
	u->rc = store_put_bytes(u->s, key, p, 30 << 20, &err);
	if (!u->rc)
		u->rc = store_get(u->s, key, &b, &err);
	if (!u->rc && memcmp(p, b.p, 30 << 20) != 0)
		u->rc = -ERR_CORRUPT;
	return NULL;
}

/* Together they are more than a connection holds in memory: some wait for others. */
START_TEST(large_objects_of_several_threads_share_a_connection)
{
	CLEAN(store_free_ptr) struct store *s = new_served(NULL);
	struct putter u[PUTTERS];

	for (unsigned i = 0; i < PUTTERS; i++) {
		u[i] = (struct putter){.s = s, .id = i};
		ck_assert_int_eq(pthread_create(&u[i].thread, NULL, put_many, &u[i]), 0);
	}
	for (unsigned i = 0; i < PUTTERS; i++) {
		pthread_join(u[i].thread, NULL);
		ck_assert_int_eq(u[i].rc, 0);
	}
}
END_TEST

struct nested {
	struct store *s;
	size_t seen;
};

static int read_other(void *arg, const void *p, size_t n, struct err *err)
{
	struct nested *x = arg;
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);

	(void)p;
	x->seen += n;
	return store_get(x->s, "a/small", &b, err);
}

START_TEST(a_sink_may_use_the_store)
{
	CLEAN(store_free_ptr) struct store *s = new_served(NULL);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(12 << 20, 1);
	struct nested x = {s, 0};
	struct err err = ERR_INIT;

	put_text(s, "a/small", "x");
	must(store_put_bytes(s, "a/large", p, 12 << 20, &err), &err);
	must(store_get_sink(s, "a/large", (struct store_range){0, 0}, &(struct store_sink){read_other, &x}, &err), &err);
	ck_assert_uint_eq(x.seen, 12 << 20);
}
END_TEST

START_TEST(lists_come_in_pages)
{
	CLEAN(store_free_ptr) struct store *below = NULL;
	struct err err = ERR_INIT;
	char key[600], tail[512];

	must(store_mem_open("pages", &below, &err), &err);
	memset(tail, 'x', 200);
	tail[200] = '/';
	memset(tail + 201, 'y', 250);
	tail[451] = '\0';
	for (int i = 0; i < 11000; i++) { /* above 5 MB of list */
		(void)snprintf(key, sizeof key, "l/%05d/%s", i, tail);
		put_text(below, key, "1");
	}
	CLEAN(store_free_ptr) struct store *s = served_store(TAKE(below), NULL);
	CLEAN(store_keys_release) struct store_keys keys = {0};

	must(store_list_all(s, "l/", &keys, &err), &err);
	ck_assert_uint_eq(keys.n, 11000);
	ck_assert_int_eq(strncmp(keys.key[10999], "l/10999/", 8), 0);
}
END_TEST

/* --- roles --- */

#define HEX16 "0123456789abcdef"
#define HEX32 HEX16 HEX16
#define HEX64 HEX32 HEX32

static const char *const objects[] = {"cfg/0", "k/docs/1", "e/docs/" HEX32 "/" HEX32, "p/docs/" HEX16 "/" HEX64,
        "i/docs/" HEX16 ".0", "i/docs/m." HEX64, "w/docs/" HEX16 "/open", "w/docs/" HEX16 "/beat.12",
        "w/docs/" HEX16 "/fate", "s/docs/" HEX16 "/0000000001", "r/docs/" HEX16 "/0000000001", "x/docs/" HEX16,
        "a/" HEX64 "/request", "q/plan/slot/1", "l/" HEX16 "/key",
        "l/" HEX16 "/records/00000000000000000000-00000000000000000009",
        "l/" HEX16 "/checkpoint/00000000000000000010", "l/" HEX16 "/checkpoint/00000000000000000010.sshsig",
        "probe/" HEX16 "/1", "cfg/0." HEX64, "k/docs/1." HEX64, "i/docs/m." HEX64 ".1", "b/w/docs/" HEX16 "/fate",
        "b/i/docs/m." HEX64};
/* Rights in that order: g may be read, p may be put. docs/security.md has the same table. */
static const struct {
	enum wire_role role;
	const char *get, *put;
} table[] = {
        /*                     ckepiiwwwsrxaqllllockibb    ckepiiwwwsrxaqllllockibb */
        {WIRE_ROLE_SOURCE, "ggg-gggggg-g-------ggg--", "-ppppppppp----------pp--"},
        {WIRE_ROLE_PUT, "ggg-gggggggggggggggggggg", "ppppppppppp---pppppppppp"},
        {WIRE_ROLE_GET, "gggggggggggggggggggggggg", "------------------------"},
        {WIRE_ROLE_AUDIT, "g-----gggggggggggg-g--gg", "------------------------"},
        {WIRE_ROLE_CONTROLLER, "gggggggggggggggggggggggg", "pppppppppppppppppppppppp"},
};
_Static_assert(ARRAY_LEN(table) == WIRE_ROLES, "every role");

static void expect_rc(int rc, bool may, const struct err *err, const char *role, const char *op, const char *key)
{
	if (may)
		ck_assert_msg(rc != -ERR_DENIED, "%s may not %s %s: %s", role, op, key, err->msg);
	else
		ck_assert_msg(rc == -ERR_DENIED && err->code == ERR_DENIED && !err->retryable, "%s may %s %s: %d %s",
		        role, op, key, rc, err->msg);
}

/* Every operation that there is, on a key of every kind, through the connection. */
START_TEST(each_role_may_do_what_its_row_says_and_nothing_else)
{
	struct wire_access a = {.role = table[_i].role};
	const char *name = wire_role_name(a.role);
	struct store *below = new_file();
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	unsigned char digest[SHA256_LEN];
	struct store_stat st;
	int listed = 0;
	struct err err;

	for (size_t i = 1; i < ARRAY_LEN(objects); i += 2)
		put_text(below, objects[i], "there");
	CLEAN(store_free_ptr) struct store *s =
	        served_store(below, &(struct wire_served){.allow = wire_access_allow, .arg = &a});

	for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
		const char *key = objects[i];
		bool get = table[_i].get[i] == 'g', put = table[_i].put[i] == 'p';

		expect_rc(store_get(s, key, &b, &err), get, &err, name, "get", key);
		expect_rc(store_stat(s, key, &st, &err), true, &err, name, "stat", key);
		expect_rc(store_digest(s, key, digest, &err), true, &err, name, "digest", key);
		for (int what = STORE_OVERWRITE; what <= STORE_SHORTEN_LOCK; what++)
			expect_rc(store_attack(s, (enum store_attack)what, key, &err), false, &err, name, "attack", key);
		if (wire_key_digest(key, digest) && put) /* bytes that are not what the name says */
			ck_assert_int_eq(store_put_bytes(s, key, "here", 4, &err), -ERR_CORRUPT);
		else
			expect_rc(store_put_bytes(s, key, "here", 4, &err), put, &err, name, "put", key);
	}
	must(store_list(s, "", NULL, count_key, &listed, &err), &err);
	ck_assert_int_ge(listed, (int)(ARRAY_LEN(objects) / 2));
	must(store_sync(s, &err), &err);
	for (size_t i = 1; i < ARRAY_LEN(objects); i += 2)
		expect_text(below, objects[i], "there"); /* nothing that was there has changed */
}
END_TEST

/* The same without a connection, for the operations that a memory store does not have. */
START_TEST(every_operation_asks_for_the_right_that_it_needs)
{
	struct wire_access a = {.role = table[_i].role};
	bool writes_log = a.role == WIRE_ROLE_PUT || a.role == WIRE_ROLE_CONTROLLER;

	for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
		for (enum wire_op op = WIRE_OPEN; op <= WIRE_OP_END; op++) {
			bool get = table[_i].get[i] == 'g', put = table[_i].put[i] == 'p';
			bool may = op == WIRE_PUT || op == WIRE_SAME       ? put
			           : op == WIRE_GET || op == WIRE_OLDER    ? get
			           : op == WIRE_EXTEND                     ? a.role == WIRE_ROLE_CONTROLLER
			           : op == WIRE_COSIGN                     ? writes_log
			           : op == WIRE_ATTACK || op == WIRE_OP_END ? false
			                                                   : true;
			int rc = wire_access_allow(&a, op, objects[i], NULL);

			ck_assert_msg(rc == (may ? 0 : -ERR_DENIED), "%s, operation %d on %s: %d", wire_role_name(a.role),
			        (int)op, objects[i], rc);
		}
	}
}
END_TEST

START_TEST(names_that_the_format_does_not_have_are_put_by_nobody)
{
	static const char *const bad[] = {"p", "p/docs", "p/docs/" HEX16, "p/docs/" HEX16 "/" HEX32,
	        "p/docs/" HEX16 "/" HEX64 "/x", "p/docs/" HEX16 "/" HEX64 "0", "p/DOCS/" HEX16 "/" HEX64,
	        "p/-docs/" HEX16 "/" HEX64, "cfg", "cfg/01", "cfg/x", "cfg/", "cfg/0/1", "cfg/123456789012345678901",
	        "w/docs/" HEX16, "w/docs/" HEX16 "/fates", "w/docs/" HEX16 "/beat.", "s/docs/" HEX16 "/1", "x/docs",
	        "l/" HEX16, "l/" HEX16 "/records/1-2", "l/" HEX16 "/checkpoint/00000000000000000010.", "z/1", "probe",
	        "probe/a", "i/docs/m." HEX32, "i/docs/" HEX16, "k/docs", "a/" HEX64, "b/", "b/z/1",
	        "b/b/cfg/0", "cfg/0." HEX32, "i/docs/m." HEX64 "."};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct wire_access a = {.role = WIRE_ROLE_CONTROLLER};
		struct err err = ERR_INIT;

		ck_assert_msg(wire_access_allow(&a, WIRE_PUT, bad[i], &err) == -ERR_DENIED, "%s", bad[i]);
	}
}
END_TEST

START_TEST(a_credential_of_a_source_sees_and_writes_only_its_own)
{
	struct wire_access a = {.role = WIRE_ROLE_PUT, .source = "docs"};
	struct store *below = new_file();
	struct store_stat st;
	struct err err;

	put_text(below, "w/docs/" HEX16 "/fate", "ours");
	put_text(below, "w/docs2/" HEX16 "/fate", "theirs");
	put_text(below, "cfg/0", "everyone's");
	CLEAN(store_free_ptr) struct store *s =
	        served_store(below, &(struct wire_served){.allow = wire_access_allow, .arg = &a});

	expect_text(s, "cfg/0", "everyone's");
	expect_text(s, "w/docs/" HEX16 "/fate", "ours");
	ck_assert_int_eq(store_stat(s, "w/docs2/" HEX16 "/fate", &st, &err), -ERR_DENIED);
	ck_assert_int_eq(store_put_bytes(s, "w/docs2/" HEX16 "/open", "x", 1, &err), -ERR_DENIED);
	ck_assert_int_eq(store_put_bytes(s, "cfg/1", "x", 1, &err), -ERR_DENIED);
	ck_assert_int_eq(store_put_bytes(s, "l/" HEX16 "/key", "x", 1, &err), -ERR_DENIED);
	put_text(s, "w/docs/" HEX16 "/open", "x");
	expect_list(s, "", NULL, "cfg/0 w/docs/" HEX16 "/fate w/docs/" HEX16 "/open ");
	expect_list(s, "w/docs2/", NULL, "");
}
END_TEST

START_TEST(a_store_that_is_not_served_is_missing)
{
	CLEAN(pair_release) struct pair p;
	struct store *s;
	struct err err = ERR_INIT;

	pair_init(&p);
	pair_greet(&p);
	wire_start(p.there);
	ck_assert_int_eq(wire_store_open(p.here, 3, "north", false, &s, &err), -ERR_MISSING);
	ck_assert_ptr_null(s);
	ck_assert_int_eq(wire_store_open(p.here, 1000, "north", false, &s, &err), -ERR_MISSING);
}
END_TEST

static Suite *vault_suite(void)
{
	Suite *s = suite_create("vault");
	TCase *tc = place_case("wire store"), *large = place_case("large objects");
	const TTest *const tests[] = {caps_are_those_of_the_place_without_what_the_wire_lacks,
	        the_site_computes_digests, the_site_tells_its_time,
	        bytes_that_are_not_what_their_name_says_are_never_visible,
	        errors_keep_their_code_and_words_without_control_characters, a_full_site_says_so,
	        large_objects_of_several_threads_share_a_connection, a_sink_may_use_the_store, lists_come_in_pages,
	        names_that_the_format_does_not_have_are_put_by_nobody,
	        a_credential_of_a_source_sees_and_writes_only_its_own, a_store_that_is_not_served_is_missing};

	tcase_set_tags(tc, ON_THREADS);
	for (size_t i = 0; i < ARRAY_LEN(tests); i++)
		tcase_add_test(tc, tests[i]);
	tcase_add_loop_test(tc, every_operation_asks_for_the_right_that_it_needs, 0, WIRE_ROLES);
	tcase_add_loop_test(tc, each_role_may_do_what_its_row_says_and_nothing_else, 0, WIRE_ROLES);
	suite_add_tcase(s, tc);
	tcase_add_test(large, objects_above_64_mib_are_spooled_where_that_is_allowed);
	tcase_add_test(large, objects_above_64_mib_are_refused_without_a_place_to_spool);
	suite_add_tcase(s, large);
	store_conformance(s, drivers, ARRAY_LEN(drivers));
	return s;
}

int main(void)
{
	crypto_init();
	return conformance_main(vault_suite());
}
