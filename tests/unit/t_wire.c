/* Frames, greetings, credit, hostile ends: what the wire does when the other end does not play. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/version.h"
#include "crypto/crypto.h"
#include "store_conformance.h"
#include "wire/frame.h"
#include "wire_fixture.h"

/* --- frames --- */

START_TEST(frames_with_lengths_or_numbers_that_their_type_does_not_have_are_refused)
{
	static const struct {
		int type;
		uint32_t id, n;
		bool good;
	} t[] = {{0, 0, 0, false}, {14, 0, 0, false}, {255, 1, 4, false}, {FRAME_HELLO, 0, 7, false},
	        {FRAME_HELLO, 0, 4097, false}, {FRAME_HELLO, 1, 100, false}, {FRAME_REQUEST, 1, 11, false},
	        {FRAME_REQUEST, 1, 12, true}, {FRAME_REQUEST, 0, 12, false}, {FRAME_REQUEST, 1, 4109, false},
	        {FRAME_BODY, 1, 0, false}, {FRAME_BODY, 1, 1, true}, {FRAME_BODY, 1, FRAME_PAYLOAD, true},
	        {FRAME_BODY, 1, FRAME_PAYLOAD + 1, false}, {FRAME_BODY, 1, UINT32_MAX, false}, {FRAME_CANCEL, 1, 1, false},
	        {FRAME_CANCEL, 1, 0, true}, {FRAME_GRANT, 1, 3, false}, {FRAME_GRANT, 1, 4, true}, {FRAME_PART, 1, 0, false},
	        {FRAME_DONE, 1, 6, false}, {FRAME_DONE, 1, 7, true}, {FRAME_DONE, 1, 100000, false},
	        {FRAME_ALLOW, 1, 5, false}, {FRAME_PING, 0, 0, true}, {FRAME_PING, 0, 1, false}, {FRAME_PING, 1, 0, false},
	        {FRAME_BYE, 0, 2, true}, {FRAME_BYE, 0, 2000, false}, {FRAME_TROUBLE, 0, 7, true}, {FRAME_TROUBLE, 1, 7, false},
	        {FRAME_TROUBLE, 0, 6, false}, {FRAME_GIVE_UP, 0, 3, true}, {FRAME_GIVE_UP, 0, 4, false}};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		unsigned char head[FRAME_HEAD];
		struct frame f;

		frame_head(head, (enum frame_type)t[i].type, t[i].id, t[i].n);
		ck_assert_msg(frame_parse(head, &f, NULL) == (t[i].good ? 0 : -ERR_FORMAT), "case %zu", i);
	}
}
END_TEST

START_TEST(answers_keep_code_words_hint_and_result)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(8192);
	struct err in = ERR_INIT, out, err;
	struct rd r;
	int rc;

	(void)err_set(&in, ERR_NOSPACE, "the disk \x1b[2J is full");
	(void)err_hint(&in, "make room");
	in.retryable = true;
	done_put(&b, -ERR_NOSPACE, &in, "xyz", 3);
	must(done_parse(b.p, b.len, &rc, &out, &r, &err), &err);
	ck_assert_int_eq(rc, -ERR_NOSPACE);
	ck_assert_str_eq(out.msg, "the disk \\x1b[2J is full");
	ck_assert_str_eq(out.hint, "make room");
	ck_assert(out.retryable);
	ck_assert_uint_eq(r.left, 3);
	for (size_t n = 0; n + 4 <= b.len; n++) /* cut anywhere before the result */
		ck_assert_int_eq(done_parse(b.p, MIN(n, b.len - 4), &rc, &out, &r, &err), -ERR_FORMAT);
	put_u16(b.p, 999); /* a code of a later version */
	must(done_parse(b.p, b.len, &rc, &out, &r, &err), &err);
	ck_assert_int_eq(rc, -ERR_FAILED);
}
END_TEST

/* --- greeting --- */

struct other {
	int in, out;
	int64_t hello_ms;
	struct wire *w;
	struct err err;
	int rc;
	pthread_t t;
};

static void *other_greets(void *arg)
{
	struct other *o = arg;
	const struct wire_opts opts = {
	        .name = "holdfast-vault at north", .install = "copy it there", .hello_ms = o->hello_ms};

	o->rc = wire_new(o->in, o->out, &opts, &o->w, &o->err);
	return NULL;
}

/* What a real end makes of bytes that come instead of a greeting. */
static void greet_with(struct other *o, const void *p, size_t n, bool end)
{
	struct raw r;

	pair_init(&r.p);
	r.in = r.p.there_in;
	r.out = r.p.there_out;
	*o = (struct other){.in = r.p.here_in, .out = r.p.here_out, .hello_ms = end ? 0 : 50};
	raw_bytes(&r, p, n);
	if (end) {
		close(r.p.there_out);
		r.p.there_out = -1;
	}
	(void)other_greets(o);
	pair_release(&r.p);
}

START_TEST(what_is_no_greeting_is_quoted)
{
	struct other o;

	greet_with(&o, "Welcome to \x1b[1mnorth\n", 20, true);
	ck_assert_int_eq(o.rc, -ERR_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(o.err.msg, "holdfast-vault at north"));
	ck_assert_ptr_nonnull(strstr(o.err.msg, "'Welcome to \\x1b[1mnorth"));
	ck_assert_str_eq(o.err.hint, "copy it there");
	greet_with(&o, "", 0, true);
	ck_assert_int_eq(o.rc, -ERR_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(o.err.msg, "ended before it answered"));
	ck_assert_str_eq(o.err.hint, "copy it there");
}
END_TEST

START_TEST(who_says_nothing_is_given_up)
{
	struct other o;

	greet_with(&o, "", 0, false);
	ck_assert_int_eq(o.rc, -ERR_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(o.err.msg, "did not answer in time"));
}
END_TEST

START_TEST(versions_without_overlap_are_both_named)
{
	struct raw r;
	struct other o;
	struct raw_frame *f = xmalloc(sizeof *f);

	pair_init(&r.p);
	r.in = r.p.there_in;
	r.out = r.p.there_out;
	o = (struct other){.in = r.p.here_in, .out = r.p.here_out};
	raw_hello(&r, 7, 9, "9.1\x1b", "vault put");
	(void)other_greets(&o);
	ck_assert_int_eq(o.rc, -ERR_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(o.err.msg, "holdfast 9.1\\x1b with wire protocol 7 to 9"));
	ck_assert_ptr_nonnull(strstr(o.err.msg, "this is holdfast " HOLDFAST_VERSION " with 1 to 2"));
	ck_assert_str_eq(o.err.hint, "copy it there");
	/* the other end learns of it as well: it was greeted before */
	ck_assert(raw_next(&r, f));
	ck_assert_int_eq(f->type, FRAME_HELLO);
	free(f);
	pair_release(&r.p);
}
END_TEST

START_TEST(both_ends_know_version_and_role_of_the_other)
{
	CLEAN(pair_release) struct pair p;

	pair_init(&p);
	pair_greet(&p);
	ck_assert_str_eq(wire_peer_role(p.here), "server");
	ck_assert_str_eq(wire_peer_role(p.there), "test");
	ck_assert_str_eq(wire_peer_version(p.here), HOLDFAST_VERSION);
}
END_TEST

/* --- requests by hand --- */

/* A client by hand and a server with an opened store. */
static void hostile_client(struct raw *r, struct store *s)
{
	raw_init_client(r);
	wire_serve_store(r->p.there, 0, &(struct wire_served){.store = s});
	wire_start(r->p.there);
}

/* Everything to the end, which has to come; the last word in text. */
static void expect_thrown_out(struct raw *r, const char *text)
{
	struct raw_frame *f = xmalloc(sizeof *f);
	struct err err = ERR_INIT;
	bool told = false;

	ck_assert_int_eq(wire_run(r->p.there, &err), -ERR_UNREACHABLE);
	ck_assert_msg(strstr(err.msg, text) != NULL, "%s", err.msg);
	wire_free(r->p.there);
	r->p.there = NULL;
	close_fd(&r->p.there_out);
	while (raw_next(r, f))
		told = told || (f->type == FRAME_BYE && f->n > 2);
	ck_assert(told);
	free(f);
}

struct offence {
	const char *what;
	void (*commit)(struct raw *r);
};

static void of_type(struct raw *r)
{
	raw_bytes(r, "\0\0\0\0\x63\0\0\0\0", 9);
}
static void of_length(struct raw *r)
{
	raw_bytes(r, "\xff\xff\xff\xff\3\1\0\0\0", 9);
}
static void of_hello(struct raw *r)
{
	raw_hello(r, 1, 1, "", "");
}
static void of_short_request(struct raw *r)
{
	raw_send(r, FRAME_REQUEST, 1, "\1\1\0", 3);
}
static void of_body(struct raw *r)
{
	raw_send(r, FRAME_BODY, 1, "x", 1);
}
static void of_more_body(struct raw *r)
{
	raw_ask(r, 1, WIRE_PUT, "a/b", 3, NULL, 0);
	raw_send(r, FRAME_BODY, 1, "xxxx", 4);
}
static void of_old_number(struct raw *r)
{
	raw_ask(r, 5, WIRE_SYNC, NULL, 0, NULL, 0);
	raw_ask(r, 5, WIRE_SYNC, NULL, 0, NULL, 0);
}
static void of_flood(struct raw *r)
{
	/* puts whose bodies never come stay under way */
	for (uint32_t i = 1; i <= WIRE_REQUESTS + 1; i++)
		raw_ask(r, i, WIRE_PUT, "a/b", 100, NULL, 0);
}
static void of_cancel(struct raw *r)
{
	raw_send(r, FRAME_CANCEL, 9, NULL, 0);
}
static void of_grant(struct raw *r)
{
	raw_ask(r, 1, WIRE_PUT, "a/b", 100, NULL, 0);
	raw_send(r, FRAME_GRANT, 1, "\xff\xff\xff\xff", 4);
}
static void of_grant_early(struct raw *r)
{
	raw_send(r, FRAME_GRANT, 1, "\1\0\0\0", 4);
}
static void of_part(struct raw *r)
{
	raw_send(r, FRAME_PART, 1, "x", 1);
}
static void of_done(struct raw *r)
{
	raw_send(r, FRAME_DONE, 1, "\0\0\0\0\0\0\0", 7);
}
static void of_bad_done(struct raw *r)
{
	raw_send(r, FRAME_DONE, 1, "\0\0\0\xff\xff\0\0", 7);
}
static void of_allow(struct raw *r)
{
	raw_send(r, FRAME_ALLOW, 1, "\1\0\0\0", 4);
}
static void of_body_after_cancel(struct raw *r)
{
	raw_ask(r, 1, WIRE_PUT, "a/b", 100, NULL, 0);
	raw_send(r, FRAME_CANCEL, 1, NULL, 0);
	raw_send(r, FRAME_BODY, 1, "x", 1);
}
static void of_bye(struct raw *r)
{
	raw_send(r, FRAME_BYE, 0, "\xff\0x", 3);
}
static void of_give_up(struct raw *r)
{
	raw_send(r, FRAME_GIVE_UP, 0, "\0\0\1", 3);
}
static void of_give_up_none(struct raw *r)
{
	raw_send(r, FRAME_GIVE_UP, 0, "\xff\xff\1", 3);
}
static void of_trouble(struct raw *r)
{
	raw_send(r, FRAME_TROUBLE, 0, "\0\0\2\0\0\0\0", 7);
}

static const struct offence offences[] = {{"unknown type", of_type}, {"a frame of type 3", of_length},
        {"second greeting", of_hello}, {"a frame of type 2", of_short_request}, {"not under way", of_body},
        {"more bytes", of_more_body}, {"request 5 after request 5", of_old_number}, {"more than 32", of_flood},
        {"not under way", of_cancel}, {"more credit", of_grant}, {"not under way", of_grant_early},
        {"not asked", of_part}, {"not asked", of_done}, {"malformed answer", of_bad_done}, {"not asked", of_allow},
        {"request 1", of_body_after_cancel}, {"malformed good-bye", of_bye},
        {"given up, which was not opened", of_give_up}, {"given up, which was not opened", of_give_up_none},
        {"neither there nor over", of_trouble}};

START_TEST(who_breaks_the_rules_is_told_and_thrown_out)
{
	CLEAN(store_free_ptr) struct store *s = new_mem("offended");
	CLEAN(raw_release) struct raw r;

	hostile_client(&r, s);
	offences[_i].commit(&r);
	expect_thrown_out(&r, offences[_i].what);
	expect_list(s, "", NULL, "");
}
END_TEST

/* Requests that are whole frames but nonsense: each gets its error, and the connection goes on. */
START_TEST(requests_that_make_no_sense_are_refused_one_by_one)
{
	CLEAN(store_free_ptr) struct store *s = new_mem("nonsense");
	CLEAN(raw_release) struct raw r;
	struct raw_frame *f = xmalloc(sizeof *f);
	uint32_t id = 0;
	static const struct {
		uint8_t service, op;
		uint16_t number;
		const char *args;
		size_t n;
		int code;
	} t[] = {{1, 0, 0, "", 0, ERR_UNSUPPORTED}, {1, 99, 0, "", 0, ERR_UNSUPPORTED}, {9, 1, 0, "", 0, ERR_UNSUPPORTED},
	        {2, 1, 0, "\3\0abc{}", 7, ERR_UNSUPPORTED}, {1, WIRE_GET, 63, "\1\0a", 3, ERR_MISSING},
	        {1, WIRE_GET, 65535, "\1\0a", 3, ERR_MISSING}, {1, WIRE_GET, 0, "", 0, ERR_FORMAT},
	        {1, WIRE_GET, 0, "\1\0a", 3, ERR_FORMAT}, {1, WIRE_GET, 0, "\xff\xff", 2, ERR_FORMAT},
	        {1, WIRE_STAT, 0, "\4\0../a", 6, ERR_FORMAT}, {1, WIRE_STAT, 0, "\2\0a\0", 4, ERR_FORMAT},
	        {1, WIRE_STAT, 0, "\1\0ax", 4, ERR_FORMAT}, {1, WIRE_PUT, 0, "\2\0.t", 4, ERR_FORMAT},
	        {1, WIRE_LIST, 0, "\2\0//\0\0", 6, ERR_FORMAT}, {1, WIRE_LIST, 0, "\0\0", 2, ERR_FORMAT},
	        {1, WIRE_OPEN, 0, "\2", 1, ERR_FORMAT}, {1, WIRE_OLDER, 0, "\1\0a\0\0\0\0", 7, ERR_FORMAT},
	        {1, WIRE_ATTACK, 0, "\1\0a\x9", 4, ERR_FORMAT}, {1, WIRE_COSIGN, 0, "", 0, ERR_UNSUPPORTED},
	        {1, WIRE_SAME, 0, "\1\0a", 3, ERR_FORMAT}, {1, WIRE_SAME, 0, "\1\0a\1\0\0\0", 7, ERR_FORMAT},
	        {1, WIRE_SYNC, 0, "x", 1, ERR_FORMAT}, {1, WIRE_CLOCK, 0, "x", 1, ERR_FORMAT},
	        {1, WIRE_EXTEND, 0, "\1\0a", 3, ERR_FORMAT}, {1, WIRE_LOCK, 0, "\1\0a", 3, ERR_UNSUPPORTED}};

	hostile_client(&r, s);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(4096);
		const struct ask a = {t[i].service, t[i].op, t[i].number, 0, (const unsigned char *)t[i].args, t[i].n};

		ask_put(&b, &a);
		raw_send(&r, FRAME_REQUEST, ++id, b.p, b.len);
		ck_assert(raw_next(&r, f));
		ck_assert_int_eq(f->type, FRAME_DONE);
		ck_assert_uint_eq(f->id, id);
		ck_assert_msg(get_u16(f->payload) == t[i].code, "case %zu: code %u", i, get_u16(f->payload));
	}
	expect_list(s, "", NULL, "");
	free(f);
}
END_TEST

START_TEST(an_answer_does_not_outrun_its_credit)
{
	CLEAN(store_free_ptr) struct store *s = new_mem("credit");
	CLEAN(free_ptr) unsigned char *bytes = pattern_bytes(20 << 20, 2);
	CLEAN(raw_release) struct raw r;
	struct raw_frame *f = xmalloc(sizeof *f);
	struct err err = ERR_INIT;
	unsigned char range[16] = {0}, credit[4];
	size_t got = 0;

	must(store_put_bytes(s, "a/b", bytes, 20 << 20, &err), &err);
	hostile_client(&r, s);
	raw_ask(&r, 1, WIRE_GET, "a/b", 0, range, sizeof range);
	while (got < WIRE_WINDOW) {
		ck_assert(raw_next(&r, f));
		ck_assert_int_eq(f->type, FRAME_PART);
		ck_assert(memcmp(f->payload, bytes + got, f->n) == 0);
		got += f->n;
	}
	ck_assert_uint_eq(got, WIRE_WINDOW);
	for (uint32_t id = 2; id < 12; id++) { /* the connection is not held up, and no part slips through */
		raw_ask(&r, id, WIRE_STAT, "a/b", 0, NULL, 0);
		ck_assert(raw_next(&r, f));
		ck_assert_int_eq(f->type, FRAME_DONE);
		ck_assert_uint_eq(f->id, id);
	}
	put_u32(credit, 1000);
	raw_send(&r, FRAME_GRANT, 1, credit, 4);
	ck_assert(raw_next(&r, f));
	ck_assert_int_eq(f->type, FRAME_PART);
	ck_assert_uint_eq(f->n, 1000);
	raw_send(&r, FRAME_CANCEL, 1, NULL, 0);
	ck_assert(raw_next(&r, f));
	ck_assert_int_eq(f->type, FRAME_DONE);
	ck_assert_int_eq(get_u16(f->payload), ERR_CANCELLED);
	free(f);
}
END_TEST

/* Bodies of many objects at once: credit is given to as many as fit, the others wait and get theirs later. */
START_TEST(bodies_get_no_more_credit_than_a_connection_may_hold)
{
	CLEAN(store_free_ptr) struct store *s = new_mem("bodies");
	CLEAN(raw_release) struct raw r;
	struct raw_frame *f = xmalloc(sizeof *f);
	const uint64_t n = (uint64_t)60 << 20;
	uint64_t allowed = 0;
	char key[16];

	hostile_client(&r, s);
	for (uint32_t id = 1; id <= 5; id++) {
		(void)snprintf(key, sizeof key, "a/%u", id);
		raw_ask(&r, id, WIRE_PUT, key, n, NULL, 0);
	}
	raw_ask(&r, 6, WIRE_STAT, "a/b", 0, NULL, 0);
	for (int seen = 0; seen < 3; seen += f->type == FRAME_ALLOW || f->type == FRAME_DONE) {
		ck_assert(raw_next(&r, f));
		allowed += f->type == FRAME_ALLOW ? get_u32(f->payload) : 0;
	}
	ck_assert_uint_le(allowed, WIRE_BODIES);
	ck_assert_uint_ge(allowed, 2 * (n - (256 << 10)));
	uint32_t first = 1; /* give one up: another gets its place */

	raw_send(&r, FRAME_CANCEL, first, NULL, 0);
	raw_send(&r, FRAME_CANCEL, first + 1, NULL, 0);
	raw_send(&r, FRAME_CANCEL, first + 2, NULL, 0);
	for (int more = 0; more < 2;) {
		ck_assert(raw_next(&r, f));
		more += f->type == FRAME_ALLOW;
	}
	free(f);
}
END_TEST

START_TEST(an_end_that_is_refused_early_may_stop_sending)
{
	CLEAN(store_free_ptr) struct store *s = new_mem("early");
	CLEAN(raw_release) struct raw r;
	struct raw_frame *f = xmalloc(sizeof *f);
	static unsigned char some[100000];

	hostile_client(&r, s);
	raw_ask(&r, 1, WIRE_PUT, "a/../b", 200000, NULL, 0);
	ck_assert(raw_next(&r, f));
	ck_assert_int_eq(f->type, FRAME_DONE);
	raw_send(&r, FRAME_BODY, 1, some, sizeof some); /* was on its way */
	raw_send(&r, FRAME_CANCEL, 1, NULL, 0);
	for (uint32_t id = 2; id < 2 + 2 * WIRE_REQUESTS; id++) { /* its place is free again */
		raw_ask(&r, id, WIRE_STAT, "a/b", 0, NULL, 0);
		ck_assert(raw_next(&r, f));
		ck_assert_uint_eq(f->id, id);
	}
	free(f);
}
END_TEST

/* --- hostile servers --- */

struct asking {
	struct wire *w;
	pthread_t t;
	int rc;
	struct err err;
	void (*ask)(struct asking *a, struct store *s);
};

/* In a thread of its own, because the answers come by hand. */
static void *ask_thread(void *arg)
{
	struct asking *a = arg;
	CLEAN(store_free_ptr) struct store *s = NULL;

	a->rc = wire_store_open(a->w, 0, "north", false, &s, &a->err);
	if (!a->rc)
		a->ask(a, s);
	return NULL;
}

static void asks_stat(struct asking *a, struct store *s)
{
	struct store_stat st;

	a->rc = store_stat(s, "a/b", &st, &a->err);
}
static void asks_list(struct asking *a, struct store *s)
{
	int n = 0;

	a->rc = store_list(s, "a/", NULL, count_key, &n, &a->err);
}
static void asks_get(struct asking *a, struct store *s)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);

	a->rc = store_get_range(s, "a/b", 0, 10, &b, &a->err);
}
static void asks_put(struct asking *a, struct store *s)
{
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(1 << 20, 1);

	a->rc = store_put_bytes(s, "a/b", p, 1 << 20, &a->err);
}

static void part(struct raw *r, uint32_t id, const void *p, size_t n)
{
	raw_send(r, FRAME_PART, id, p, n);
}
static void good(struct raw *r, uint32_t id, const void *p, size_t n)
{
	unsigned char b[64] = {0};

	memcpy(b + 7, p, n);
	raw_send(r, FRAME_DONE, id, b, 7 + n);
}
static void fan(struct raw *r, uint32_t id, size_t n)
{
	static unsigned char some[FRAME_PAYLOAD];

	for (; n; n -= MIN(n, sizeof some))
		part(r, id, some, MIN(n, sizeof some));
}
#define KEY(c) "\3\0a/" c "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define KEY_LEN 21
static void s_short_stat(struct raw *r)
{
	good(r, 2, "1234", 4);
}
static void s_long_stat(struct raw *r)
{
	good(r, 2, "12345678123456781", 17);
}
static void s_other_answer(struct raw *r)
{
	good(r, 3, "1234567812345678", 16);
}
static void s_part_for_other(struct raw *r)
{
	part(r, 9, "x", 1);
}
static void s_flood(struct raw *r)
{
	fan(r, 2, WIRE_WINDOW + 1);
}
static void s_too_long(struct raw *r)
{
	part(r, 2, "01234567890", 11);
	good(r, 2, "", 0);
}
static void s_too_short(struct raw *r)
{
	part(r, 2, "012345678", 9);
	good(r, 2, "", 0);
}
static void s_list_order(struct raw *r)
{
	part(r, 2, KEY("b") KEY("a"), 2 * KEY_LEN);
	good(r, 2, "\0", 1);
}
static void s_list_foreign(struct raw *r)
{
	part(r, 2, "\1\0z\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 19);
	good(r, 2, "\0", 1);
}
static void s_list_cut(struct raw *r)
{
	part(r, 2, KEY("b"), KEY_LEN - 1);
	good(r, 2, "\0", 1);
}
static void s_list_endless(struct raw *r)
{
	good(r, 2, "\1", 1);
}
static void s_list_no_flag(struct raw *r)
{
	good(r, 2, "", 0);
}
static void s_allow_more(struct raw *r)
{
	raw_send(r, FRAME_ALLOW, 2, "\xff\xff\xff\x7f", 4);
}
static void s_requests(struct raw *r)
{
	raw_ask(r, 1, WIRE_GET, "a/b", 0, "1234567812345678", 16);
}
static void s_twice(struct raw *r)
{
	good(r, 2, "1234567812345678", 16);
	good(r, 2, "1234567812345678", 16);
}

static const struct {
	void (*ask)(struct asking *a, struct store *s);
	void (*answer)(struct raw *r);
	int code;
	const char *text;
} lies[] = {{asks_stat, s_short_stat, ERR_FORMAT, "malformed answer"}, {asks_stat, s_long_stat, ERR_FORMAT, "malformed"},
        {asks_stat, s_other_answer, ERR_UNREACHABLE, "not asked"}, {asks_stat, s_part_for_other, ERR_UNREACHABLE, "not asked"},
        {asks_stat, s_flood, ERR_UNREACHABLE, "more bytes"}, {asks_get, s_too_long, ERR_FORMAT, "more than was asked"},
        {asks_get, s_too_short, ERR_CORRUPT, "ends before"}, {asks_list, s_list_order, ERR_FORMAT, "malformed"},
        {asks_list, s_list_foreign, ERR_FORMAT, "foreign"}, {asks_list, s_list_cut, ERR_FORMAT, "malformed"},
        {asks_list, s_list_endless, ERR_FORMAT, "malformed"}, {asks_list, s_list_no_flag, ERR_FORMAT, "malformed"},
        {asks_put, s_allow_more, ERR_UNREACHABLE, "more credit"}, {asks_stat, s_twice, 0, ""}};

START_TEST(a_server_that_lies_is_found_out)
{
	CLEAN(raw_release) struct raw r;
	struct raw_frame *f = xmalloc(sizeof *f);
	struct asking a = {.ask = lies[_i].ask};

	raw_init_server(&r);
	a.w = r.p.here;
	ck_assert_int_eq(pthread_create(&a.t, NULL, ask_thread, &a), 0);
	ck_assert(raw_next(&r, f));
	good(&r, 1, "\7\0\0\0", 4);
	ck_assert(raw_next(&r, f));
	ck_assert_uint_eq(f->id, 2);
	lies[_i].answer(&r);
	/* what is sent beside must not block: it is read until the client is gone or content */
	pthread_join(a.t, NULL);
	ck_assert_msg(a.rc == -lies[_i].code, "%d: %s", a.rc, a.err.msg);
	if (a.rc)
		ck_assert_msg(strstr(a.err.msg, lies[_i].text) != NULL, "%s", a.err.msg);
	free(f);
}
END_TEST

START_TEST(who_serves_nothing_answers_so_and_goes_on)
{
	CLEAN(raw_release) struct raw r;
	struct raw_frame *f = xmalloc(sizeof *f);

	raw_init_server(&r);
	wire_start(r.p.here);
	s_requests(&r);
	ck_assert(raw_next(&r, f));
	ck_assert_int_eq(f->type, FRAME_DONE);
	ck_assert_int_eq(get_u16(f->payload), ERR_MISSING);
	free(f);
}
END_TEST

static Suite *wire_suite(void)
{
	Suite *s = suite_create("wire");
	TCase *tc = place_case("wire");
	const TTest *const tests[] = {frames_with_lengths_or_numbers_that_their_type_does_not_have_are_refused,
	        answers_keep_code_words_hint_and_result, what_is_no_greeting_is_quoted, who_says_nothing_is_given_up,
	        versions_without_overlap_are_both_named, both_ends_know_version_and_role_of_the_other,
	        requests_that_make_no_sense_are_refused_one_by_one, an_answer_does_not_outrun_its_credit,
	        bodies_get_no_more_credit_than_a_connection_may_hold, an_end_that_is_refused_early_may_stop_sending,
	        who_serves_nothing_answers_so_and_goes_on};

	for (size_t i = 0; i < ARRAY_LEN(tests); i++)
		tcase_add_test(tc, tests[i]);
	tcase_add_loop_test(tc, who_breaks_the_rules_is_told_and_thrown_out, 0, ARRAY_LEN(offences));
	tcase_add_loop_test(tc, a_server_that_lies_is_found_out, 0, ARRAY_LEN(lies));
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	crypto_init();
	return conformance_main(wire_suite());
}
