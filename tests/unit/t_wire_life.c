/* Connections over time: silence, ends that hang, links that are cut, jobs. */
#include <check.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "store_conformance.h"
#include "wire/frame.h"
#include "wire_fixture.h"

/* A request in a thread of its own, because the answers come by hand. */
struct asking {
	struct wire *w;
	pthread_t t;
	int rc;
	struct err err;
};

static void *ask_thread(void *arg)
{
	struct asking *a = arg;
	CLEAN(store_free_ptr) struct store *s = NULL;
	struct store_stat st;

	a->rc = wire_store_open(a->w, 0, "north", false, &s, &a->err);
	if (!a->rc)
		a->rc = store_stat(s, "a/b", &st, &a->err);
	return NULL;
}

/* --- silence --- */

START_TEST(a_silent_end_is_pinged_and_kept_while_it_answers)
{
	CLEAN(pair_release) struct pair p;
	struct raw r = {.in = -1};
	struct raw_frame *f = xmalloc(sizeof *f);
	unsigned char head[FRAME_HEAD];
	struct frame ping;

	pair_init(&p);
	r.in = p.there_in;
	r.out = p.there_out;
	raw_hello(&r, 1, 1, "", "");
	const struct wire_opts opts = {.name = "quiet", .idle_ms = 2000};
	struct err err = ERR_INIT;

	must(wire_new(p.here_in, p.here_out, &opts, &p.here, &err), &err);
	ck_assert(raw_next(&r, f));
	wire_start(p.here);
	for (int i = 0; i < 9; i++) { /* several times as long as silence may last */
		ck_assert_int_eq(fs_read_full(r.in, head, sizeof head), sizeof head);
		must(frame_parse(head, &ping, &err), &err);
		ck_assert_int_eq(ping.type, FRAME_PING);
		raw_send(&r, FRAME_PONG, 0, NULL, 0);
	}
	ck_assert(!wire_dead(p.here, NULL));
	/* and now not any more */
	ck_assert_int_eq(wire_run(p.here, &err), -ERR_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(err.msg, "no sign of life"));
	ck_assert(err.retryable);
	free(f);
}
END_TEST

START_TEST(an_end_that_talks_but_never_reads_is_given_up)
{
	CLEAN(store_free_ptr) struct store *s = new_mem("deaf");
	CLEAN(free_ptr) unsigned char *bytes = pattern_bytes(8 << 20, 2);
	CLEAN(pair_release) struct pair p;
	struct raw r = {.in = -1};
	const struct wire_opts opts = {.name = "deaf", .idle_ms = 300};
	struct err err = ERR_INIT;
	unsigned char range[16] = {0};

	must(store_put_bytes(s, "a/b", bytes, 8 << 20, &err), &err);
	pair_init(&p);
	r.out = p.here_out;
	raw_hello(&r, 1, 1, "", "");
	must(wire_new(p.there_in, p.there_out, &opts, &p.there, &err), &err);
	wire_serve_store(p.there, 0, &(struct wire_served){.store = s});
	wire_start(p.there);
	raw_ask(&r, 1, WIRE_GET, "a/b", 0, range, sizeof range);
	while (!wire_dead(p.there, &err))
		raw_send(&r, FRAME_PONG, 0, NULL, 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "takes nothing more"));
}
END_TEST

START_TEST(a_flag_ends_what_waits)
{
	CLEAN(pair_release) struct pair p;
	struct raw r = {.in = -1};
	atomic_bool cancel = false;
	const struct wire_opts opts = {.name = "slow", .cancel = &cancel};
	struct asking a = {0};
	struct raw_frame *f = xmalloc(sizeof *f);
	struct err err = ERR_INIT;

	pair_init(&p);
	r.in = p.there_in;
	r.out = p.there_out;
	raw_hello(&r, 1, 1, "", "");
	must(wire_new(p.here_in, p.here_out, &opts, &p.here, &err), &err);
	a.w = p.here;
	ck_assert_int_eq(pthread_create(&a.t, NULL, ask_thread, &a), 0);
	ck_assert(raw_next(&r, f) && raw_next(&r, f));
	ck_assert_int_eq(f->type, FRAME_REQUEST);
	atomic_store(&cancel, true);
	pthread_join(a.t, NULL);
	ck_assert_int_eq(a.rc, -ERR_CANCELLED);
	free(f);
}
END_TEST

/* --- connections that break --- */

/* Hands bytes on from a to b, and hangs up behind the n-th. */
struct cutter {
	int from, to;
	size_t left, passed;
	pthread_t t;
};

static void *cut(void *arg)
{
	struct cutter *c = arg;
	unsigned char b[4096];

	while (c->left) {
		ssize_t n = read(c->from, b, MIN(sizeof b, c->left));

		if (n <= 0 || fs_write_full(c->to, b, (size_t)n) < 0)
			break;
		c->left -= (size_t)n;
		c->passed += (size_t)n;
	}
	close(c->from);
	close(c->to);
	return NULL;
}

struct session_end {
	int in, out;
	struct store *s; /* of the server */
	struct wire *w;
	int rc;
	pthread_t t;
};

static void *serve_session(void *arg)
{
	struct session_end *e = arg;
	struct err err = ERR_INIT;

	e->rc = wire_new(e->in, e->out, &(struct wire_opts){.name = "client"}, &e->w, &err);
	if (!e->rc) {
		wire_serve_store(e->w, 0, &(struct wire_served){.store = e->s});
		e->rc = wire_run(e->w, &err);
	}
	wire_free(e->w);
	close(e->in);
	close(e->out);
	return NULL;
}

#define SESSION_BIG ((size_t)400 << 10)

/* Some of everything; how many steps succeeded, and the last error. */
static int client_session(struct wire *w, const unsigned char *big, int *ret_steps, struct err *err)
{
	CLEAN(store_free_ptr) struct store *s = NULL;
	CLEAN(buf_release) struct buf b = BUF_INIT(SESSION_BIG);
	struct store_stat st;
	int keys = 0, rc = wire_store_open(w, 0, "north", false, &s, err);

	for (*ret_steps = 0; !rc; ++*ret_steps) {
		switch (*ret_steps) {
		case 0:
			rc = store_put_bytes(s, "a/small", "12345", 5, err);
			break;
		case 1:
			rc = store_put_bytes(s, "a/big", big, SESSION_BIG, err);
			break;
		case 2:
			rc = store_list(s, "", NULL, count_key, &keys, err);
			ck_assert(rc || keys == 2);
			break;
		case 3:
			rc = store_stat(s, "a/small", &st, err);
			ck_assert(rc || st.size == 5);
			break;
		case 4:
			rc = store_get(s, "a/big", &b, err);
			ck_assert(rc || (b.len == SESSION_BIG && memcmp(b.p, big, b.len) == 0));
			ck_assert(!rc || b.len == 0);
			break;
		default:
			return 0;
		}
		if (rc)
			break;
	}
	return rc;
}

/* A session that is cut after `up` bytes from the client, or `down` to it. Returns the bytes that went. */
static void cut_session(size_t up, size_t down, const unsigned char *big, int *ret_rc, int *ret_steps, size_t passed[2])
{
	CLEAN(store_free_ptr) struct store *s = NULL;
	CLEAN(buf_release) struct buf b = BUF_INIT(SESSION_BIG);
	int fd[4][2]; /* client -> cutter -> server -> cutter -> client */
	struct err err = ERR_INIT;
	struct wire *w = NULL;
	char name[32];
	static int round;

	(void)snprintf(name, sizeof name, "cut%d", round++);
	must(store_mem_open(name, &s, &err), &err);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pipe(fd[i]), 0);
	struct cutter c[2] = {{.from = fd[0][0], .to = fd[1][1], .left = up}, {.from = fd[2][0], .to = fd[3][1], .left = down}};
	struct session_end e = {.in = fd[1][0], .out = fd[2][1], .s = s};

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&c[i].t, NULL, cut, &c[i]), 0);
	ck_assert_int_eq(pthread_create(&e.t, NULL, serve_session, &e), 0);
	*ret_steps = 0;
	*ret_rc = wire_new(fd[3][0], fd[0][1], &(struct wire_opts){.name = "server"}, &w, &err);
	if (!*ret_rc)
		*ret_rc = client_session(w, big, ret_steps, &err);
	if (*ret_rc) {
		ck_assert_msg(*ret_rc == -ERR_UNREACHABLE, "%d %s", *ret_rc, err.msg);
		ck_assert(err.retryable || !w);
	}
	wire_free(w);
	close(fd[3][0]);
	close(fd[0][1]);
	pthread_join(e.t, NULL);
	for (int i = 0; i < 2; i++) {
		pthread_join(c[i].t, NULL);
		passed[i] = c[i].passed;
	}
	/* what was acknowledged is there; what is there is whole */
	int rc = store_get(s, "a/big", &b, &err);

	ck_assert(rc == 0 || (rc == -ERR_MISSING && *ret_steps < 2));
	ck_assert(rc || (b.len == SESSION_BIG && memcmp(b.p, big, SESSION_BIG) == 0));
	if (*ret_steps >= 1)
		expect_text(s, "a/small", "12345");
}

/* Every byte of the beginning, then steps that grow; both directions. */
START_TEST(a_connection_that_is_cut_anywhere_loses_nothing_and_claims_nothing)
{
	CLEAN(free_ptr) unsigned char *big = pattern_bytes(SESSION_BIG, 3);
	size_t all[2], passed[2];
	int rc, steps, points = 0;

	(void)signal(SIGPIPE, SIG_IGN);
	cut_session(SIZE_MAX, SIZE_MAX, big, &rc, &steps, all);
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(steps, 5);
	for (int way = 0; way < 2; way++) {
		/* the good-bye at the end may be cut without harm */
		size_t last = all[way] - 11;

		for (size_t at = (size_t)_i; at < last; at += at < 160 ? 4 : MAX(1, at / 10)) {
			cut_session(way ? SIZE_MAX : at, way ? at : SIZE_MAX, big, &rc, &steps, passed);
			ck_assert_msg(rc != 0, "cut after %zu bytes (%s) and no error", at, way ? "down" : "up");
			points++;
		}
	}
	ck_assert_int_ge(points, 60);
}
END_TEST

START_TEST(who_leaves_between_requests_leaves_well_and_in_the_middle_does_not)
{
	CLEAN(store_free_ptr) struct store *s = new_mem("leaving");
	struct err err = ERR_INIT;

	for (int in_the_middle = 0; in_the_middle < 2; in_the_middle++) {
		CLEAN(raw_release) struct raw r;
		static struct raw_frame f;

		raw_init_client(&r);
		wire_serve_store(r.p.there, 0, &(struct wire_served){.store = s});
		wire_start(r.p.there);
		raw_ask(&r, 1, WIRE_SYNC, NULL, 0, NULL, 0);
		ck_assert(raw_next(&r, &f));
		if (in_the_middle)
			raw_ask(&r, 2, WIRE_PUT, "a/b", 100, NULL, 0);
		close_fd(&r.p.here_out);
		r.p.here_out = -1;
		ck_assert_int_eq(wire_run(r.p.there, &err), in_the_middle ? -ERR_UNREACHABLE : 0);
	}
	expect_list(s, "", NULL, "");
}
END_TEST

/* --- trouble with a store that is served --- */

/* A site of the other end's, behind its retry filter; rule: what befalls it. */
static struct store *troubled_site(const char *name, const char *rule)
{
	const char *const rules[] = {rule, NULL};
	struct store *s = new_mem(name);
	struct err err = ERR_INIT;

	if (rule)
		must(store_fault_new(s, rules, &s, &err), &err);
	s->caps |= STORE_REMOTE;
	return store_retry_new(s, &(struct store_retry){.base_ms = 1, .cap_ms = 20, .reserve = UINT_MAX});
}

struct two_sites {
	struct pair p;
	struct store *there[2], *here[2];
};

static void two_sites_init(struct two_sites *t, const char *rule)
{
	struct err err = ERR_INIT;

	t->there[0] = troubled_site("near", NULL);
	t->there[1] = troubled_site("far", rule);
	pair_init(&t->p);
	pair_greet(&t->p);
	for (unsigned i = 0; i < 2; i++)
		wire_serve_store(t->p.there, i, &(struct wire_served){.store = t->there[i]});
	wire_start(t->p.there);
	for (unsigned i = 0; i < 2; i++)
		must(wire_store_open(t->p.here, i, i ? "far" : "near", false, &t->here[i], &err), &err);
}

static void two_sites_release(struct two_sites *t)
{
	for (int i = 0; i < 2; i++)
		store_free(t->here[i]);
	pair_release(&t->p);
	for (int i = 0; i < 2; i++)
		store_free(t->there[i]);
}

/* As a source does at a protected host: its patience ends what the controller would try for a quarter of an hour. */
START_TEST(a_site_that_is_away_behind_the_other_end_is_given_up)
{
	static const struct store_piece piece = {"x", 1};
	struct two_sites t;
	char key[32];

	two_sites_init(&t, "put * fail UNREACHABLE");
	for (int round = 0; round < 2; round++) { /* the second fan-out begins anew: nothing stays given up */
		struct store_multi *m = store_multi_new(t.here, 2, &(struct store_multi_opts){.patience_ms = 300});

		for (int i = 0; i < 20; i++) {
			(void)snprintf(key, sizeof key, "p/%d.%d", round, i);
			store_multi_put(m, key, &(struct store_src){&piece, 1}, NULL, NULL);
		}
		store_multi_wait(m);
		ck_assert_ptr_null(store_multi_error(m, 0));
		const struct err *why = store_multi_error(m, 1);

		ck_assert_ptr_nonnull(why);
		ck_assert_int_eq(why->code, ERR_UNREACHABLE);
		ck_assert_msg(strstr(why->msg, "given up, as nothing arrived there") != NULL, "%s", why->msg);
		ck_assert_msg(strstr(why->msg, "tried ") != NULL, "%s", why->msg);
		store_multi_free(m);
	}
	int n = 0;

	must(store_list(t.there[0], "p/", NULL, count_key, &n, NULL), NULL);
	ck_assert_int_eq(n, 40);
	/* who comes next is not given up because somebody else was impatient */
	while (!atomic_load(&t.there[1]->trouble->give_up))
		(void)poll(NULL, 0, 1);
	store_free(t.here[1]);
	must(wire_store_open(t.p.here, 1, "far", false, &t.here[1], NULL), NULL);
	ck_assert(!atomic_load(&t.there[1]->trouble->give_up));
	two_sites_release(&t);
}
END_TEST

START_TEST(trouble_that_passes_is_told_and_told_to_be_over)
{
	struct two_sites t;
	struct err err = ERR_INIT;

	two_sites_init(&t, "put * fail UNREACHABLE times 5");
	must(store_put_bytes(t.here[1], "a/b", "text", 4, &err), &err);
	while (atomic_load(&t.here[1]->trouble->refusals) != 5 || atomic_load(&t.here[1]->trouble->retrying))
		(void)poll(NULL, 0, 1);
	ck_assert_uint_eq(atomic_load(&t.here[0]->trouble->refusals), 0);
	expect_text(t.there[1], "a/b", "text");
	two_sites_release(&t);
}
END_TEST

/* Trouble at the store of a real end, told frame by frame; and nothing of it to who speaks version 1. */
START_TEST(an_end_of_version_1_hears_of_no_trouble_and_is_told_to_keep_its_own)
{
	CLEAN(store_free_ptr) struct store *s = troubled_site("old", "put * fail UNREACHABLE times 5");
	CLEAN(pair_release) struct pair p;
	struct raw r = {0};
	struct raw_frame *f = xmalloc(sizeof *f);
	struct err err = ERR_INIT;

	pair_init(&p);
	r.in = p.here_in;
	r.out = p.here_out;
	raw_hello(&r, 1, 1, "old", "");
	must(wire_new(p.there_in, p.there_out, &(struct wire_opts){.name = "old"}, &p.there, &err), &err);
	wire_serve_store(p.there, 0, &(struct wire_served){.store = s});
	wire_start(p.there);
	ck_assert(raw_next(&r, f));
	ck_assert_int_eq(f->type, FRAME_HELLO);
	raw_ask(&r, 1, WIRE_OPEN, NULL, 0, "\0", 1);
	ck_assert(raw_next(&r, f));
	raw_ask(&r, 2, WIRE_PUT, "a/b", 1, NULL, 0);
	raw_send(&r, FRAME_BODY, 2, "x", 1);
	ck_assert(raw_next(&r, f));
	ck_assert_int_eq(f->type, FRAME_DONE);
	ck_assert_uint_eq(f->id, 2);
	ck_assert_uint_eq(atomic_load(&s->trouble->refusals), 5);
	raw_send(&r, FRAME_GIVE_UP, 0, "\0\0\1", 3);
	ck_assert(raw_next(&r, f));
	ck_assert_int_eq(f->type, FRAME_BYE);
	ck_assert_int_eq(wire_run(p.there, &err), -ERR_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(err.msg, "has no such frame"));
	free(f);
}
END_TEST

/* --- jobs --- */

struct seen {
	int progress, lines;
	char last[256];
	atomic_bool started, cancel;
};

static void on_progress(void *arg, const json_t *doc)
{
	struct seen *s = arg;

	ck_assert_int_eq(json_integer_value(json_object_get(doc, "done")), s->progress);
	s->progress++;
}

static void on_log(void *arg, enum log_level level, const char *line)
{
	struct seen *s = arg;

	ck_assert_int_eq(level, LOG_WARN);
	s->lines++;
	(void)snprintf(s->last, sizeof s->last, "%s", line);
	atomic_store(&s->cancel, true);
}

static int job_counts(void *arg, struct wire_job *job, const char *kind, const json_t *doc, json_t **ret, struct err *err)
{
	(void)arg;
	ck_assert_str_eq(kind, "backup");
	for (int i = 0; i < 300; i++) {
		CLEAN(json_release) json_t *p = json_pack("{s:i}", "done", i);

		wire_job_progress(job, p);
	}
	wire_job_log(job, LOG_WARN, "careful \x1b[0m");
	*ret = json_pack("{s:s, s:O}", "state", "failed", "asked", doc);
	return err_set(err, ERR_MISSING, "no such source");
}

START_TEST(a_job_tells_its_progress_and_its_result_beside_an_error)
{
	CLEAN(pair_release) struct pair p;
	CLEAN(json_release) json_t *doc = json_object(), *result = NULL;
	CLEAN(free_ptr) char *big = xmalloc(3 << 20);
	struct seen seen = {0};
	const struct wire_job_events ev = {on_progress, on_log, &seen};
	struct err err = ERR_INIT;

	memset(big, 'x', (3 << 20) - 1);
	big[(3 << 20) - 1] = '\0';
	json_object_set_new(doc, "text", json_string(big));
	pair_init(&p);
	pair_greet(&p);
	wire_serve_job(p.there, job_counts, NULL);
	wire_start(p.there);
	ck_assert_int_eq(wire_job_run(p.here, "backup", doc, &ev, NULL, &result, &err), -ERR_MISSING);
	ck_assert_str_eq(err.msg, "no such source");
	ck_assert_int_eq(seen.progress, 300);
	ck_assert_int_eq(seen.lines, 1);
	ck_assert_str_eq(seen.last, "careful \\x1b[0m");
	ck_assert(json_equal(json_object_get(result, "asked"), doc));
}
END_TEST

static int job_waits(void *arg, struct wire_job *job, const char *kind, const json_t *doc, json_t **ret, struct err *err)
{
	struct seen *s = arg;

	(void)kind;
	(void)doc;
	(void)ret;
	atomic_store(&s->started, true);
	wire_job_log(job, LOG_WARN, "at work");
	while (!atomic_load(wire_job_cancel(job)))
		(void)poll(NULL, 0, 1);
	return err_set(err, ERR_CANCELLED, "given up");
}

START_TEST(a_job_is_cancelled)
{
	CLEAN(pair_release) struct pair p;
	CLEAN(json_release) json_t *doc = json_object(), *result = NULL;
	struct seen seen = {0}, there = {0};
	const struct wire_job_events ev = {NULL, on_log, &seen};
	struct err err = ERR_INIT;

	pair_init(&p);
	pair_greet(&p);
	wire_serve_job(p.there, job_waits, &there);
	wire_start(p.there);
	ck_assert_int_eq(wire_job_run(p.here, "backup", doc, &ev, &seen.cancel, &result, &err), -ERR_CANCELLED);
	ck_assert_str_eq(err.msg, "given up");
	ck_assert_int_eq(wire_job_run(p.here, "No Kind", doc, &ev, NULL, &result, &err), -ERR_FORMAT);
	ck_assert_ptr_null(result);
}
END_TEST

static void *run_waiting(void *arg)
{
	struct asking *a = arg;
	CLEAN(json_release) json_t *doc = json_object(), *result = NULL;

	a->rc = wire_job_run(a->w, "backup", doc, NULL, NULL, &result, &a->err);
	return NULL;
}

START_TEST(one_job_at_a_time_and_none_outlives_its_connection)
{
	CLEAN(pair_release) struct pair p;
	CLEAN(json_release) json_t *doc = json_object(), *result = NULL;
	struct seen there = {0};
	struct asking a;
	struct err err = ERR_INIT;

	pair_init(&p);
	pair_greet(&p);
	a = (struct asking){.w = p.here};
	wire_serve_job(p.there, job_waits, &there);
	wire_start(p.there);
	ck_assert_int_eq(pthread_create(&a.t, NULL, run_waiting, &a), 0);
	while (!atomic_load(&there.started))
		(void)poll(NULL, 0, 1);
	ck_assert_int_eq(wire_job_run(p.here, "backup", doc, NULL, NULL, &result, &err), -ERR_BUSY);
	wire_free(TAKE(p.there)); /* returns only when the job has ended */
	pthread_join(a.t, NULL);
	ck_assert(a.rc == -ERR_UNREACHABLE || a.rc == -ERR_CANCELLED);
}
END_TEST

static int job_puts(void *arg, struct wire_job *job, const char *kind, const json_t *doc, json_t **ret, struct err *err)
{
	CLEAN(store_free_ptr) struct store *a = NULL, *b = NULL;
	int rc = wire_store_open(wire_job_wire(job), 0, "north", false, &a, err);

	(void)arg;
	(void)kind;
	(void)doc;
	(void)ret;
	if (!rc)
		rc = wire_store_open(wire_job_wire(job), 1, "south", false, &b, err);
	if (!rc)
		rc = store_put_bytes(a, "a/b", "north's", 7, err);
	return rc ? rc : store_put_bytes(b, "a/b", "south's", 7, err);
}

START_TEST(a_job_uses_stores_of_who_asked)
{
	CLEAN(store_free_ptr) struct store *north = new_mem("north"), *south = new_mem("south");
	CLEAN(pair_release) struct pair p;
	CLEAN(json_release) json_t *doc = json_object(), *result = NULL;
	struct err err = ERR_INIT;

	pair_init(&p);
	pair_greet(&p);
	wire_serve_job(p.there, job_puts, NULL);
	wire_serve_store(p.here, 0, &(struct wire_served){.store = north});
	wire_serve_store(p.here, 1, &(struct wire_served){.store = south});
	wire_start(p.there);
	must(wire_job_run(p.here, "backup", doc, NULL, NULL, &result, &err), &err);
	expect_text(north, "a/b", "north's");
	expect_text(south, "a/b", "south's");
}
END_TEST

static Suite *life_suite(void)
{
	Suite *s = suite_create("wire life");
	TCase *tc = place_case("wire life"), *cuts = place_case("other cuts");
	const TTest *const tests[] = {a_silent_end_is_pinged_and_kept_while_it_answers,
	        an_end_that_talks_but_never_reads_is_given_up,
	        who_leaves_between_requests_leaves_well_and_in_the_middle_does_not, a_flag_ends_what_waits,
	        a_job_tells_its_progress_and_its_result_beside_an_error, a_job_is_cancelled,
	        a_site_that_is_away_behind_the_other_end_is_given_up, trouble_that_passes_is_told_and_told_to_be_over,
	        an_end_of_version_1_hears_of_no_trouble_and_is_told_to_keep_its_own,
	        one_job_at_a_time_and_none_outlives_its_connection, a_job_uses_stores_of_who_asked};

	for (size_t i = 0; i < ARRAY_LEN(tests); i++)
		tcase_add_test(tc, tests[i]);
	tcase_add_loop_test(tc, a_connection_that_is_cut_anywhere_loses_nothing_and_claims_nothing, 0, 1);
	tcase_set_tags(tc, ON_THREADS);
	suite_add_tcase(s, tc);
	tcase_add_loop_test(cuts, a_connection_that_is_cut_anywhere_loses_nothing_and_claims_nothing, 1, 4);
	suite_add_tcase(s, cuts);
	return s;
}

int main(void)
{
	crypto_init();
	return conformance_main(life_suite());
}
