/* A link that is cut at up to 60 points of a put and of a get, in both directions, in two ways, and a store that is used on. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "sshd_fixture.h"
#include "store/store.h"
#include "store_conformance.h"

#define OBJECT ((size_t)1 << 20)
#define POINTS 60u /* of the library's link; every third of one by ssh(1), over which the driver is the same */
#define TRIES 4 /* the first meets the cut; that link is then made again */

static struct sshd server;
static struct linkproxy link_;

/* The n-th point where the object's bytes go: dense at first, where packets are small, then ever wider. */
static unsigned long point(unsigned n)
{
	double at = 0;

	for (unsigned i = 0; i < n; i++)
		at = at < 4000 ? at + 150 : at * 1.18;
	return (unsigned long)at;
}

static struct store *open_store(int i)
{
	const struct store_config c = {
	        .create = true, .ssh_library = i > 0, .identity = server.user, .known_hosts = link_.known_hosts};
	struct store *s;
	struct err err = ERR_INIT;

	must(sshd_store(&server, link_.port, conformance_place(), &c, &s, &err), &err);
	return s;
}

/* The other way some hundred bytes of requests or answers go: all of them are met closely. */
static void cut_at(unsigned n, const char *way, bool bytes_go)
{
	linkproxy_tell(
	        &link_, "cut %s %lu %s", way, bytes_go ? point(n) : 12 * (unsigned long)n, n % 2 ? "fin" : "rst");
}

static void expect_lost(int rc, const struct err *err)
{
	ck_assert_msg(rc == -ERR_UNREACHABLE && err->retryable, "%d: %s", rc, err->msg);
}

/* Until it is there: each failure is one that may be tried again, and nothing wrong is ever seen. */
static void put_through(struct store *s, const char *key, const unsigned char *p)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(OBJECT);
	struct err err = ERR_INIT;
	int tries = 0, rc;

	while ((rc = store_put_bytes(s, key, p, OBJECT, &err)) && rc != -ERR_EXISTS) {
		expect_lost(rc, &err);
		ck_assert_int_lt(++tries, TRIES);
	}
	/* Taken: a put whose answer was lost had succeeded. */
	while ((rc = store_get(s, key, &b, &err))) {
		expect_lost(rc, &err);
		ck_assert_int_lt(++tries, TRIES);
	}
	ck_assert(b.len == OBJECT && memcmp(b.p, p, OBJECT) == 0);
}

static void get_through(struct store *s, const char *key, const unsigned char *p)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(OBJECT);
	struct err err = ERR_INIT;
	int tries = 0, rc;

	/* The rest each time, as the retry filter does. */
	while ((rc = store_get_sink(
	                s, key, (struct store_range){b.len, 0}, &(struct store_sink){store_buf_write, &b}, &err))) {
		expect_lost(rc, &err);
		ck_assert(b.len < OBJECT && (!b.len || memcmp(b.p, p, b.len) == 0));
		ck_assert_int_lt(++tries, TRIES);
	}
	ck_assert(b.len == OBJECT && memcmp(b.p, p, OBJECT) == 0);
}

/* Where the object's bytes go this way, each cut was met; the other way there may be fewer bytes than points. */
static void expect_met(unsigned long long before, unsigned points, bool bytes_go)
{
	ck_assert_uint_ge(linkproxy_tell(&link_, "count") - before, bytes_go ? points : points / 2);
}

/* Loop index: back end, then direction. */
static const char *way_of(int i)
{
	return i % 2 ? "down" : "up";
}

static unsigned step_of(int i)
{
	return i / 2 ? 1 : 3;
}

START_TEST(a_put_survives_a_cut_anywhere)
{
	CLEAN(store_free_ptr) struct store *s = open_store(_i / 2);
	CLEAN(store_keys_release) struct store_keys keys = {0};
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(OBJECT, 1);
	struct err err = ERR_INIT;
	unsigned long long before = linkproxy_tell(&link_, "count");
	char key[32];

	for (unsigned n = 0; n < POINTS; n += step_of(_i)) {
		(void)snprintf(key, sizeof key, "p/%u/%02u", n / 7, n);
		cut_at(n, way_of(_i), _i % 2 == 0);
		put_through(s, key, p);
		linkproxy_tell(&link_, "heal");
	}
	expect_met(before, POINTS / step_of(_i), _i % 2 == 0);
	must(store_list_all(s, "", &keys, &err), &err);
	ck_assert_uint_eq(keys.n, POINTS / step_of(_i));
	for (size_t i = 0; i < keys.n; i++)
		ck_assert_uint_eq(keys.size[i], OBJECT);
}
END_TEST

START_TEST(a_get_survives_a_cut_anywhere)
{
	CLEAN(store_free_ptr) struct store *s = open_store(_i / 2);
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(OBJECT, 2);
	struct err err = ERR_INIT;

	must(store_put_bytes(s, "p/x", p, OBJECT, &err), &err);
	unsigned long long before = linkproxy_tell(&link_, "count");

	for (unsigned n = 0; n < POINTS; n += step_of(_i)) {
		cut_at(n, way_of(_i), _i % 2 == 1);
		get_through(s, "p/x", p);
		linkproxy_tell(&link_, "heal");
	}
	expect_met(before, POINTS / step_of(_i), _i % 2 == 1);
}
END_TEST

START_TEST(a_list_is_whole_or_fails_wherever_it_is_cut)
{
	CLEAN(store_free_ptr) struct store *s = open_store(_i / 2);
	struct err err = ERR_INIT;
	char key[32];

	for (int i = 0; i < 40; i++) {
		(void)snprintf(key, sizeof key, "l/%d/%d", i % 8, i);
		put_text(s, key, "x");
	}
	for (unsigned n = 0; n < POINTS / 3; n += step_of(_i)) {
		CLEAN(store_keys_release) struct store_keys keys = {0};
		int tries = 0, rc;

		cut_at(n, way_of(_i), false);
		while ((rc = store_list_all(s, "l/", &keys, &err))) {
			expect_lost(rc, &err);
			ck_assert_int_lt(++tries, TRIES);
		}
		ck_assert_uint_eq(keys.n, 40);
		linkproxy_tell(&link_, "heal");
	}
}
END_TEST

int main(void)
{
	char dir[] = "/tmp/holdfast-sshd-XXXXXX";
	Suite *s = suite_create("sftp_cut");
	TCase *tc = place_case("cuts");

	if (!mkdtemp(dir))
		return 1;
	sshd_start(&server, dir, NULL);
	linkproxy_start(&link_, &server, NULL);
	tcase_set_timeout(tc, 240);
	tcase_add_loop_test(tc, a_put_survives_a_cut_anywhere, 0, 4);
	tcase_add_loop_test(tc, a_get_survives_a_cut_anywhere, 0, 4);
	tcase_add_loop_test(tc, a_list_is_whole_or_fails_wherever_it_is_cut, 0, 4);
	suite_add_tcase(s, tc);
	int failed = conformance_main(s);

	linkproxy_stop(&link_);
	sshd_stop(&server);
	(void)!fs_remove_tree(dir, NULL);
	return failed;
}
