/* Objects that several stores of a connection get, and that cross it once. */
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
#include "wire/access.h"
#include "wire/frame.h"
#include "wire_fixture.h"

#define MIB ((size_t)1 << 20)

struct object {
	unsigned char *p;
	size_t n;
	char key[160];
};

static void object_init(struct object *o, size_t n, unsigned seed)
{
	unsigned char digest[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];

	o->n = n;
	o->p = pattern_bytes(n, seed);
	sha256_of(o->p, n, digest);
	hex_encode(hex, digest, sizeof digest);
	(void)snprintf(o->key, sizeof o->key, "p/docs/0123456789abcdef/%s", hex);
}

static void object_release(struct object *o)
{
	free(o->p);
}

static void expect_object(struct store *s, const struct object *o)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(o->n);
	struct err err = ERR_INIT;

	must(store_get(s, o->key, &b, &err), &err);
	ck_assert(b.len == o->n && !memcmp(b.p, o->p, o->n));
}

static bool has(struct store *s, const char *key)
{
	struct store_stat st;

	return store_stat(s, key, &st, NULL) == 0;
}

/* --- a real end that serves two stores, asked by hand --- */

#define ASKED_MAX 64
struct hand {
	struct raw r;
	struct store *s[2];
	uint32_t last; /* request */
	struct raw_frame f;
	uint64_t allowed[ASKED_MAX]; /* by number of the request */
	int code[ASKED_MAX];         /* of its answer, or 1000 and the first byte of the result; -1: there is none yet */
};

static uint32_t ask(struct hand *h, uint8_t op, unsigned number, const char *key, uint64_t body, uint32_t request)
{
	CLEAN(buf_release) struct buf args = BUF_INIT(4096), b = BUF_INIT(8192);

	if (key)
		enc_text(&args, key, STORE_KEY_MAX);
	if (op == WIRE_SAME)
		enc_u32(&args, request);
	if (op == WIRE_OPEN)
		enc_u8(&args, 0);
	const struct ask a = {WIRE_STORE, op, (uint16_t)number, body, args.p, args.len};

	ask_put(&b, &a);
	ck_assert_uint_lt(++h->last, ASKED_MAX);
	h->code[h->last] = -1;
	h->allowed[h->last] = MIN(body, (uint64_t)256 << 10);
	raw_send(&h->r, FRAME_REQUEST, h->last, b.p, b.len);
	return h->last;
}

/* Take one frame. */
static void step(struct hand *h)
{
	struct err why = ERR_INIT;
	struct rd result;
	int rc;

	ck_assert(raw_next(&h->r, &h->f));
	ck_assert_uint_le(h->f.id, h->last);
	if (h->f.type == FRAME_ALLOW)
		h->allowed[h->f.id] += get_u32(h->f.payload);
	if (h->f.type != FRAME_DONE)
		return;
	must(done_parse(h->f.payload, h->f.n, &rc, &why, &result, NULL), NULL);
	h->code[h->f.id] = rc ? -rc : result.left ? 1000 + result.p[0] : 0;
}
#define PUT_FROM_THERE 1001
#define NOT_TO_BE_HAD 1000

static int answer_to(struct hand *h, uint32_t id)
{
	while (h->code[id] < 0)
		step(h);
	return h->code[id];
}

static void send_body(struct hand *h, uint32_t id, const unsigned char *p, size_t n)
{
	while (h->allowed[id] < n)
		step(h);
	for (size_t part; n; p += part, n -= part) {
		part = MIN(n, FRAME_PAYLOAD);
		raw_send(&h->r, FRAME_BODY, id, p, part);
	}
}

/* Takes the stores over. Both were put to, as a run does before its first pack. */
static void hand_init_with(struct hand *h, struct store *a, struct store *b, const struct wire_access *of_b)
{
	*h = (struct hand){.s = {a, b}};
	raw_init_client(&h->r);
	wire_serve_store(h->r.p.there, 0, &(struct wire_served){.store = a});
	wire_serve_store(h->r.p.there, 1,
	        &(struct wire_served){.store = b, .allow = of_b ? wire_access_allow : NULL, .arg = (void *)(uintptr_t)of_b});
	wire_start(h->r.p.there);
	for (unsigned i = 0; i < 2; i++) {
		(void)!answer_to(h, ask(h, WIRE_OPEN, i, NULL, 0, 0));
		(void)!answer_to(h, ask(h, WIRE_PUT, i, "w/docs/0123456789abcdef/open", 0, 0));
	}
}

static void hand_init(struct hand *h)
{
	hand_init_with(h, new_mem("one"), new_mem("two"), NULL);
}

static void hand_release(struct hand *h)
{
	raw_release(&h->r);
	store_free(h->s[0]);
	store_free(h->s[1]);
}

START_TEST(what_came_for_one_store_is_put_to_another_one)
{
	static struct hand h;
	struct object o;

	hand_init(&h);
	object_init(&o, 400000, 1);
	for (int late = 0; late < 2; late++) {
		uint32_t put = ask(&h, WIRE_PUT, 0, o.key, o.n, 0), same = 0;

		if (!late)
			same = ask(&h, WIRE_SAME, 1, o.key, 0, put);
		send_body(&h, put, o.p, o.n);
		if (late) {
			ck_assert_int_eq(answer_to(&h, put), 0);
			ck_assert_int_eq(answer_to(&h, ask(&h, WIRE_SAME, 1, o.key, 0, put)), PUT_FROM_THERE);
		} else {
			ck_assert_int_eq(answer_to(&h, put), 0);
			ck_assert_int_eq(answer_to(&h, same), PUT_FROM_THERE);
		}
		expect_object(h.s[0], &o);
		expect_object(h.s[1], &o);
		/* both have had it */
		ck_assert_int_eq(answer_to(&h, ask(&h, WIRE_SAME, 1, o.key, 0, put)), NOT_TO_BE_HAD);
		object_release(&o);
		object_init(&o, 500000, 2 + (unsigned)late);
	}
	ck_assert_int_eq(answer_to(&h, ask(&h, WIRE_SAME, 1, o.key, 0, 12345)), NOT_TO_BE_HAD);
	ck_assert(!has(h.s[1], o.key));
	object_release(&o);
	hand_release(&h);
}
END_TEST

START_TEST(who_waits_for_a_body_that_does_not_come_learns_of_it)
{
	static struct hand h;
	struct object o;

	hand_init(&h);
	object_init(&o, 400000, 1);
	for (int how = 0; how < 3; how++) {
		uint32_t put = ask(&h, WIRE_PUT, 0, o.key, o.n, 0), same = ask(&h, WIRE_SAME, 1, o.key, 0, put);

		if (how == 0) {
			send_body(&h, put, o.p, 100000);
			raw_send(&h.r, FRAME_CANCEL, put, NULL, 0);
		} else if (how == 1) {
			o.p[7] ^= 1;
			send_body(&h, put, o.p, o.n);
			o.p[7] ^= 1;
		} else {
			raw_send(&h.r, FRAME_CANCEL, same, NULL, 0);
			send_body(&h, put, o.p, o.n);
		}
		ck_assert_int_eq(answer_to(&h, put), how == 0 ? ERR_CANCELLED : how == 1 ? ERR_CORRUPT : 0);
		if (how == 2) /* it may have come before its cancellation */
			ck_assert(answer_to(&h, same) == ERR_CANCELLED || answer_to(&h, same) == PUT_FROM_THERE);
		else
			ck_assert_int_eq(answer_to(&h, same), NOT_TO_BE_HAD);
		ck_assert(has(h.s[0], o.key) == (how == 2));
		ck_assert(how == 2 || !has(h.s[1], o.key));
	}
	object_release(&o);
	hand_release(&h);
}
END_TEST

START_TEST(a_store_that_fails_costs_the_other_nothing)
{
	static struct hand h;
	static const char *const rules[] = {"put p/ fail NOSPACE", NULL};
	struct store *full;
	struct object o;

	must(store_fault_new(new_mem("full"), rules, &full, NULL), NULL);
	hand_init_with(&h, full, new_mem("sound"), NULL);
	object_init(&o, 400000, 1);
	uint32_t put = ask(&h, WIRE_PUT, 0, o.key, o.n, 0), same = ask(&h, WIRE_SAME, 1, o.key, 0, put);

	send_body(&h, put, o.p, o.n);
	ck_assert_int_eq(answer_to(&h, put), ERR_NOSPACE);
	ck_assert_int_eq(answer_to(&h, same), PUT_FROM_THERE);
	expect_object(h.s[1], &o);
	object_release(&o);
	hand_release(&h);
}
END_TEST

START_TEST(a_key_must_promise_what_came_and_be_one_that_may_be_put)
{
	static const struct wire_access reader = {.role = WIRE_ROLE_GET};
	static struct hand h;
	struct object o, other;

	object_init(&o, 400000, 1);
	object_init(&other, 400000, 2);
	for (int denied = 0; denied < 2; denied++) {
		hand_init_with(&h, new_mem(denied ? "one" : "first"), new_mem(denied ? "two" : "second"), denied ? &reader : NULL);
		uint32_t put = ask(&h, WIRE_PUT, 0, o.key, o.n, 0);

		send_body(&h, put, o.p, o.n);
		ck_assert_int_eq(answer_to(&h, put), 0);
		ck_assert_int_eq(answer_to(&h, ask(&h, WIRE_SAME, 1, other.key, 0, put)), denied ? ERR_DENIED : ERR_CORRUPT);
		ck_assert_int_eq(answer_to(&h, ask(&h, WIRE_SAME, 1, "a/b", 0, put)), denied ? ERR_DENIED : ERR_FORMAT);
		if (denied)
			ck_assert_int_eq(answer_to(&h, ask(&h, WIRE_SAME, 1, o.key, 0, put)), ERR_DENIED);
		expect_list(h.s[1], "p/", NULL, "");
		hand_release(&h);
	}
	object_release(&o);
	object_release(&other);
}
END_TEST

/* The second store never asks: the third body takes the room of the first, whatever was hoped for. */
START_TEST(bodies_nobody_reads_make_room_for_others)
{
	static struct hand h;
	struct object o[3];
	uint32_t put[3];

	hand_init(&h);
	for (unsigned i = 0; i < 3; i++) {
		object_init(&o[i], 50 * MIB, i);
		put[i] = ask(&h, WIRE_PUT, 0, o[i].key, o[i].n, 0);
		send_body(&h, put[i], o[i].p, o[i].n);
		ck_assert_int_eq(answer_to(&h, put[i]), 0);
	}
	ck_assert_int_eq(answer_to(&h, ask(&h, WIRE_SAME, 1, o[0].key, 0, put[0])), NOT_TO_BE_HAD);
	ck_assert_int_eq(answer_to(&h, ask(&h, WIRE_SAME, 1, o[1].key, 0, put[1])), PUT_FROM_THERE);
	/* and a store that was given up is not waited for */
	raw_send(&h.r, FRAME_GIVE_UP, 0, "\1\0\1", 3);
	ck_assert_int_eq(answer_to(&h, ask(&h, WIRE_SAME, 1, o[2].key, 0, put[2])), NOT_TO_BE_HAD);
	for (unsigned i = 0; i < 3; i++)
		object_release(&o[i]);
	hand_release(&h);
}
END_TEST

/* Each store is used by one request at a time: who waits for a body that another one brings must not hold a store meanwhile. */
START_TEST(stores_that_take_one_request_at_a_time_do_not_wait_for_each_other)
{
	static struct hand h;
	struct store *s[2] = {new_mem("one"), new_mem("two")};
	struct object o[2];
	uint32_t put[2], same[2];

	for (int i = 0; i < 2; i++)
		s[i]->caps &= ~(uint32_t)STORE_THREADSAFE;
	hand_init_with(&h, s[0], s[1], NULL);
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 0; i < 2; i++) {
			object_init(&o[i], 300000 + round, i);
			put[i] = ask(&h, WIRE_PUT, i, o[i].key, o[i].n, 0);
		}
		for (unsigned i = 0; i < 2; i++)
			same[i] = ask(&h, WIRE_SAME, i, o[!i].key, 0, put[!i]);
		for (unsigned i = 0; i < 2; i++)
			send_body(&h, put[i], o[i].p, o[i].n);
		for (unsigned i = 0; i < 2; i++) {
			ck_assert_int_eq(answer_to(&h, put[i]), 0);
			ck_assert_int_eq(answer_to(&h, same[i]), PUT_FROM_THERE);
		}
		for (unsigned i = 0; i < 2; i++) {
			expect_object(h.s[!i], &o[i]);
			object_release(&o[i]);
		}
	}
	hand_release(&h);
}
END_TEST

START_TEST(a_connection_that_ends_while_somebody_waits_ends)
{
	static struct hand h;
	struct object o;
	struct err err = ERR_INIT;

	hand_init(&h);
	object_init(&o, 400000, 1);
	uint32_t put = ask(&h, WIRE_PUT, 0, o.key, o.n, 0);

	(void)ask(&h, WIRE_SAME, 1, o.key, 0, put);
	send_body(&h, put, o.p, 100000);
	close_fd(&h.r.p.here_out);
	ck_assert_int_eq(wire_run(h.r.p.there, &err), -ERR_UNREACHABLE);
	object_release(&o);
	hand_release(&h);
	/* of what was begun nothing is there: hand_release() has joined all that was at work */
}
END_TEST

/* --- two real ends, and what goes between them is counted --- */

#define SITES 3

struct counter {
	int from, to;
	atomic_size_t passed;
	pthread_t t;
};

static void *count(void *arg)
{
	struct counter *c = arg;
	static _Thread_local unsigned char b[65536];
	ssize_t n;

	while ((n = read(c->from, b, sizeof b)) > 0 && fs_write_full(c->to, b, (size_t)n) >= 0)
		atomic_fetch_add(&c->passed, (size_t)n);
	close(c->from);
	close(c->to);
	return NULL;
}

struct sites {
	struct pair p;
	struct counter up;
	struct store *there[SITES], *here[SITES];
};

static void sites_init(struct sites *t, const struct wire_access *of_first)
{
	int fd[2];

	pair_init(&t->p);
	ck_assert_int_eq(pipe(fd), 0);
	t->up = (struct counter){.from = t->p.there_in, .to = fd[1]};
	t->p.there_in = fd[0];
	ck_assert_int_eq(pthread_create(&t->up.t, NULL, count, &t->up), 0);
	pair_greet(&t->p);
	for (unsigned i = 0; i < SITES; i++)
		wire_serve_store(t->p.there, i,
		        &(struct wire_served){.store = t->there[i],
		                .allow = of_first && !i ? wire_access_allow : NULL,
		                .arg = (void *)(uintptr_t)of_first});
	wire_start(t->p.there);
	for (unsigned i = 0; i < SITES; i++) {
		must(wire_store_open(t->p.here, i, "site", false, &t->here[i], NULL), NULL);
		(void)!store_put_bytes(t->here[i], "w/docs/0123456789abcdef/open", "x", 1, NULL);
	}
}

static void sites_release(struct sites *t)
{
	for (int i = 0; i < SITES; i++)
		store_free(t->here[i]);
	pair_release(&t->p);
	pthread_join(t->up.t, NULL);
	for (int i = 0; i < SITES; i++)
		store_free(t->there[i]);
}

/* Puts to all sites, as a run does it. */
static struct store_multi *fan_out(struct sites *t, const struct object *o, size_t n, int64_t patience_ms)
{
	struct store_multi *m = store_multi_new(t->here, SITES, &(struct store_multi_opts){.patience_ms = patience_ms});
	struct store_piece piece[16];

	for (size_t i = 0; i < n; i++) {
		piece[i] = (struct store_piece){o[i].p, o[i].n};
		store_multi_put(m, o[i].key, &(struct store_src){&piece[i], 1}, NULL, NULL);
	}
	store_multi_wait(m);
	return m;
}

START_TEST(what_several_stores_get_crosses_once)
{
	struct sites t = {.there = {new_mem("0"), new_mem("1"), new_mem("2")}};
	struct object o[12];
	size_t total = 0;

	sites_init(&t, NULL);
	for (unsigned i = 0; i < 12; i++) {
		object_init(&o[i], MIB + i, i);
		total += o[i].n;
	}
	struct store_multi *m = fan_out(&t, o, 12, 0);

	for (size_t i = 0; i < SITES; i++) {
		ck_assert_ptr_null(store_multi_error(m, i));
		for (int k = 0; k < 12; k++)
			expect_object(t.there[i], &o[k]);
	}
	store_multi_free(m);
	size_t passed = atomic_load(&t.up.passed);

	ck_assert_msg(passed >= total && passed < total + total / 10, "%zu bytes crossed for %zu", passed, total);
	for (int i = 0; i < 12; i++)
		object_release(&o[i]);
	sites_release(&t);
}
END_TEST

/* The first is refused before its bytes were sent: another one sends them. */
START_TEST(what_could_not_be_had_is_sent)
{
	static const struct wire_access reader = {.role = WIRE_ROLE_GET};
	struct sites t = {.there = {new_mem("0"), new_mem("1"), new_mem("2")}};
	struct object o[12];

	sites_init(&t, &reader);
	for (unsigned i = 0; i < 12; i++)
		object_init(&o[i], MIB + i, i);
	struct store_multi *m = fan_out(&t, o, 12, 0);

	ck_assert_int_eq(store_multi_error(m, 0)->code, ERR_DENIED);
	for (size_t i = 1; i < SITES; i++) {
		ck_assert_ptr_null(store_multi_error(m, i));
		for (int k = 0; k < 12; k++)
			expect_object(t.there[i], &o[k]);
	}
	store_multi_free(m);
	for (int i = 0; i < 12; i++)
		object_release(&o[i]);
	sites_release(&t);
}
END_TEST

/* Four puts of 16 MiB hang at each of two sites: if each had a body of its own, there would be no room for the third's. */
START_TEST(two_sites_that_are_away_do_not_starve_the_third)
{
	static const char *const rules[] = {"put p/ fail UNREACHABLE", NULL};
	struct sites t = {.there = {new_mem("near")}};
	struct object o[6];

	for (int i = 1; i < SITES; i++) {
		must(store_fault_new(new_mem(i == 1 ? "far" : "farther"), rules, &t.there[i], NULL), NULL);
		t.there[i]->caps |= STORE_REMOTE;
		t.there[i] = store_retry_new(t.there[i], &(struct store_retry){.base_ms = 1, .cap_ms = 20, .reserve = 1u << 30});
	}
	sites_init(&t, NULL);
	for (unsigned i = 0; i < 6; i++)
		object_init(&o[i], 16 * MIB, i);
	struct store_multi *m = fan_out(&t, o, 6, 500);

	ck_assert_ptr_null(store_multi_error(m, 0));
	for (int k = 0; k < 6; k++)
		expect_object(t.there[0], &o[k]);
	for (size_t i = 1; i < SITES; i++)
		ck_assert_int_eq(store_multi_error(m, i)->code, ERR_UNREACHABLE);
	store_multi_free(m);
	for (int i = 0; i < 6; i++)
		object_release(&o[i]);
	sites_release(&t);
}
END_TEST

static Suite *same_suite(void)
{
	Suite *s = suite_create("wire same");
	TCase *tc = place_case("wire same"), *large = place_case("large objects");
	const TTest *const tests[] = {what_came_for_one_store_is_put_to_another_one,
	        who_waits_for_a_body_that_does_not_come_learns_of_it, a_store_that_fails_costs_the_other_nothing,
	        a_key_must_promise_what_came_and_be_one_that_may_be_put,
	        stores_that_take_one_request_at_a_time_do_not_wait_for_each_other,
	        a_connection_that_ends_while_somebody_waits_ends, what_several_stores_get_crosses_once,
	        what_could_not_be_had_is_sent, two_sites_that_are_away_do_not_starve_the_third};

	for (size_t i = 0; i < ARRAY_LEN(tests); i++)
		tcase_add_test(tc, tests[i]);
	tcase_set_tags(tc, ON_THREADS);
	suite_add_tcase(s, tc);
	tcase_add_test(large, bodies_nobody_reads_make_room_for_others);
	suite_add_tcase(s, large);
	return s;
}

int main(void)
{
	crypto_init();
	return conformance_main(same_suite());
}
