#include "store/probe.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"

#define ROUND_TRIPS 9
#define LISTED 4
#define NOTE_MAX 128
#define LOCK_SLACK_MS (10 * 60 * 1000) /* between the put, its lock by the site's clock, and reading it by ours */
#define FIBRE_KM_PER_MS 100.0          /* of round trip: 200,000 km/s, there and back */
#define NS_PER_MS 1000000

struct probe {
	struct store *s, *other; /* other: a further handle, or s */
	const struct probe_opts *o;
	struct probe_result *r;
	struct err lost; /* the place went away while it was asked */
	int64_t skew_most_ns; /* its clock is ahead of ours by this at most, but for the second to which many places round their time down */
};

/* --- answers --- */

static void HF_PRINTF(4, 5) say(struct probe *p, enum probe_point point, enum probe_answer a, const char *fmt, ...)
{
	va_list ap;

	p->r->point[point].answer = a;
	va_start(ap, fmt);
	vsnprintf(p->r->point[point].detail, sizeof p->r->point[point].detail, fmt, ap);
	va_end(ap);
}

static void say_error(struct probe *p, enum probe_point point, const struct err *why)
{
	say(p, point, PROBE_UNKNOWN, "%.200s", why->msg);
	if (why->code == ERR_UNREACHABLE || why->code == ERR_CANCELLED)
		p->lost = *why;
}

/* What cannot be asked to the end is not judged. */
static int interrupted(struct probe *p, struct err *err)
{
	if (p->o->cancel && atomic_load(p->o->cancel))
		return err_set(err, ERR_CANCELLED, "site %s: cancelled while it was probed", p->s->name);
	if (p->lost.code && err)
		*err = p->lost;
	return -(int)p->lost.code;
}

/* --- objects --- */

static const char *probe_key(const struct probe *p, char out[STORE_KEY_MAX + 1], const char *name)
{
	snprintf(out, STORE_KEY_MAX + 1, "%s%s", p->r->prefix, name);
	return out;
}

/* A tiny object that says what it is and is like no other. */
static size_t note_text(char out[NOTE_MAX], const char *what)
{
	char random[33];

	rng_hex(random, 16);
	return (size_t)snprintf(out, NOTE_MAX, "holdfast1 probe %s %s\n", what, random);
}

static int put_note(struct probe *p, const char *name, char note[NOTE_MAX], struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	size_t n = note_text(note, name);

	return store_put_bytes(p->s, probe_key(p, key, name), note, n, err);
}

/* 1: its bytes are these; 0: others or none; else the error. */
static int holds(struct store *s, const char *key, const char *note, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(4096);
	struct err why = ERR_INIT;
	int rc = store_get(s, key, &b, &why);

	if (!rc)
		return b.len == strlen(note) && !memcmp(b.p, note, b.len);
	if (why.code == ERR_MISSING || why.code == ERR_CORRUPT || why.code == ERR_NOMEM)
		return 0;
	if (err)
		*err = why;
	return rc;
}

/* --- writing --- */

/* The first put decides whether there is anything to probe. */
static int try_create_only(struct probe *p, struct err *err)
{
	char first[NOTE_MAX], second[NOTE_MAX], key[STORE_KEY_MAX + 1];
	struct err why = ERR_INIT;
	int rc = put_note(p, "once", first, err);

	if (rc)
		return rc;
	probe_key(p, key, "once");
	int here = holds(p->s, key, first, &why), there = here == 1 ? holds(p->other, key, first, &why) : here;

	if (here < 0 || there < 0)
		say_error(p, PROBE_READ_AFTER_WRITE, &why);
	else if (!there)
		say(p, PROBE_READ_AFTER_WRITE, PROBE_NO, "an object that was just put is not there%s, or holds other bytes",
		        here ? " for another connection" : "");
	else
		say(p, PROBE_READ_AFTER_WRITE, PROBE_YES, "%s", "");
	rc = store_put_bytes(p->other, key, second, note_text(second, "twice"), &why);
	here = rc == -ERR_EXISTS ? holds(p->s, key, first, &why) : 0;
	if (!rc)
		say(p, PROBE_CREATE_ONLY, PROBE_NO, "a second put of the same key was accepted");
	else if (rc != -ERR_EXISTS || here < 0)
		say_error(p, PROBE_CREATE_ONLY, &why);
	else if (!here)
		say(p, PROBE_CREATE_ONLY, PROBE_NO, "the second put of a key was refused, and yet the first bytes are gone");
	else
		say(p, PROBE_CREATE_ONLY, PROBE_YES, "%s", "");
	return 0;
}

struct contest {
	struct probe *p;
	pthread_mutex_t mutex; /* of go */
	pthread_cond_t all;
	bool go;
	char key[STORE_KEY_MAX + 1];
};
struct writer {
	struct contest *c;
	pthread_t thread;
	struct store *own; /* NULL: the one that all share */
	char note[NOTE_MAX];
	int rc;
	struct err err;
};

static void *write_once(void *arg)
{
	struct writer *w = arg;

	pthread_mutex_lock(&w->c->mutex);
	while (!w->c->go)
		pthread_cond_wait(&w->c->all, &w->c->mutex);
	pthread_mutex_unlock(&w->c->mutex);
	w->rc = store_put_bytes(w->own ? w->own : w->c->p->s, w->c->key, w->note, strlen(w->note), &w->err);
	return NULL;
}

static void judge_contest(struct probe *p, const struct contest *c, const struct writer *w, size_t n)
{
	const struct writer *winner = NULL, *odd = NULL;
	size_t winners = 0;
	struct err why = ERR_INIT;

	for (size_t i = 0; i < n; i++) {
		winners += !w[i].rc;
		winner = w[i].rc ? winner : &w[i];
		odd = w[i].rc && w[i].rc != -ERR_EXISTS ? &w[i] : odd;
	}
	int read = winner ? holds(p->other, c->key, winner->note, &why) : 0;

	if (winners > 1)
		say(p, PROBE_ONE_WINNER, PROBE_NO, "%zu of %zu writers at once were told that they had put the same key", winners, n);
	else if (read < 0)
		say_error(p, PROBE_ONE_WINNER, &why);
	else if (winner && !read)
		say(p, PROBE_ONE_WINNER, PROBE_NO, "what is read is not what the one winner of %zu writers put", n);
	else if (odd)
		say(p, PROBE_ONE_WINNER, PROBE_UNKNOWN, "a writer failed: %.180s", odd->err.msg);
	else if (!winner)
		say(p, PROBE_ONE_WINNER, PROBE_NO, "none of %zu writers at once was told that its put had won", n);
	else
		say(p, PROBE_ONE_WINNER, PROBE_YES, "%zu writers", n);
}

/* As many as can be had, each with a handle and a thread. */
static size_t start_writers(struct contest *c, struct writer w[PROBE_WRITERS], struct err *why)
{
	struct probe *p = c->p;
	size_t want = p->o->open || p->s->caps & STORE_THREADSAFE ? PROBE_WRITERS : 0, n = 0;

	for (; n < want; n++) {
		w[n].c = c;
		note_text(w[n].note, "race");
		if (p->o->open && p->o->open(p->o->arg, &w[n].own, why))
			break;
		int rc = pthread_create(&w[n].thread, NULL, write_once, &w[n]);

		if (rc) {
			(void)err_set(why, ERR_IO, "cannot start a thread: %s", strerror(rc));
			store_free(w[n].own);
			break;
		}
	}
	return n;
}

/* All begin together: what decides is the place, not the order in which we asked. */
static void try_contest(struct probe *p)
{
	struct contest c = {.p = p, .mutex = PTHREAD_MUTEX_INITIALIZER, .all = PTHREAD_COND_INITIALIZER};
	struct writer w[PROBE_WRITERS] = {0};
	struct err why = ERR_INIT;

	probe_key(p, c.key, "race");
	size_t n = start_writers(&c, w, &why);

	pthread_mutex_lock(&c.mutex);
	c.go = true;
	pthread_cond_broadcast(&c.all);
	pthread_mutex_unlock(&c.mutex);
	for (size_t i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		store_free(w[i].own);
	}
	if (n > 1)
		judge_contest(p, &c, w, n);
	else
		say(p, PROBE_ONE_WINNER, PROBE_UNKNOWN, "%.200s", why.code ? why.msg : "several writers cannot be had");
}

/* --- listing --- */

struct sought {
	const char *key;
	bool found;
};

static int seek(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	struct sought *s = arg;

	(void)st;
	(void)err;
	s->found |= str_eq(key, s->key);
	return 0;
}

static void try_list(struct probe *p)
{
	char key[STORE_KEY_MAX + 1], note[NOTE_MAX], name[32];
	struct err why = ERR_INIT;

	for (int i = 0; i < LISTED; i++) {
		struct sought s = {.key = key};

		snprintf(name, sizeof name, "list.%d", i);
		probe_key(p, key, name);
		if (put_note(p, name, note, &why) || store_list(p->other, p->r->prefix, NULL, seek, &s, &why)) {
			say_error(p, PROBE_LIST_AFTER_WRITE, &why);
			return;
		}
		if (!s.found) {
			say(p, PROBE_LIST_AFTER_WRITE, PROBE_NO, "an object that was just put is not in the list");
			return;
		}
	}
	say(p, PROBE_LIST_AFTER_WRITE, PROBE_YES, "%s", "");
}

/* --- locks --- */

static void try_lock(struct probe *p)
{
	char key[STORE_KEY_MAX + 1], note[NOTE_MAX], found[32], wanted[32];
	struct store_lock l = {0};
	struct err why = ERR_INIT;

	p->r->lock_ms = -1;
	probe_key(p, key, "lock");
	if (put_note(p, "lock", note, &why)) {
		say_error(p, PROBE_LOCK, &why);
		return;
	}
	int64_t site_now = clock_wall_ns() + p->skew_most_ns;

	if (store_lock(p->other, key, &l, &why)) {
		if (why.code == ERR_UNSUPPORTED && p->o->promised_ms)
			say(p, PROBE_LOCK, PROBE_NO, "%.200s", why.msg);
		else
			say_error(p, PROBE_LOCK, &why);
		return;
	}
	p->r->lock_ms = l.mode == STORE_UNLOCKED ? 0 : MAX((l.until_ns - site_now) / NS_PER_MS, 0);
	p->r->compliance = l.mode == STORE_LOCK_COMPLIANCE;
	if (p->r->lock_ms == 0)
		say(p, PROBE_LOCK, PROBE_NO, "a new object is not locked");
	else if (p->r->lock_ms + LOCK_SLACK_MS < p->o->promised_ms)
		say(p, PROBE_LOCK, PROBE_NO, "a new object is locked for %s, and %s are promised",
		        str_human_duration(found, p->r->lock_ms), str_human_duration(wanted, p->o->promised_ms));
	else
		say(p, PROBE_LOCK, PROBE_YES, "%s, %s", str_human_duration(found, p->r->lock_ms),
		        p->r->compliance ? "not even its owner can end it" : "those with a special right can end it");
}

/* --- attacks --- */

/* The bytes, wherever the place keeps them: 1 they can still be read, 0 gone, else the error. */
static int survives(struct probe *p, const char *key, const char *note, struct err *err)
{
	int here = holds(p->other, key, note, err);

	for (unsigned n = 1; !here && n <= 8; n++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(4096);
		struct store_sink sink = {store_buf_write, &b};

		if (store_get_older(p->other, key, n, &sink, NULL))
			break;
		here = b.len == strlen(note) && !memcmp(b.p, note, b.len);
	}
	return here;
}

/* One attack on an object of its own. Believed is what is there afterwards, not what the place said. */
static void try_attack(struct probe *p, enum probe_point point, enum store_attack what, const char *name, const char *done)
{
	char key[STORE_KEY_MAX + 1], note[NOTE_MAX];
	struct err why = ERR_INIT, gone = ERR_INIT;

	if (put_note(p, name, note, &why)) {
		say_error(p, point, &why);
		return;
	}
	int rc = store_attack(p->s, what, probe_key(p, key, name), &why);
	int left = holds(p->other, key, note, &gone);
	bool kept = left == 0 && survives(p, key, note, NULL) == 1;

	if (left < 0)
		say_error(p, point, &gone);
	else if (!rc || !left)
		say(p, point, PROBE_NO, "%s%s", done, kept ? "; an older version still holds the bytes" : "");
	else if (rc == -ERR_DENIED)
		say(p, point, PROBE_YES, "%s", "");
	else
		say_error(p, point, &why);
}

static void try_overwrite(struct probe *p)
{
	try_attack(p, PROBE_NO_OVERWRITE, STORE_OVERWRITE, "overwrite", "an object was overwritten");
}

/* What a driver offers to everyone needs no trying. */
static void try_delete(struct probe *p)
{
	if (p->s->caps & STORE_REMOVE)
		say(p, PROBE_NO_DELETE, PROBE_NO, "objects can be removed by who can write them");
	else
		try_attack(p, PROBE_NO_DELETE, STORE_DELETE, "delete", "an object was deleted");
}

static void try_delete_version(struct probe *p)
{
	char key[STORE_KEY_MAX + 1], note[NOTE_MAX];
	struct err why = ERR_INIT;

	if (put_note(p, "version", note, &why)) {
		say_error(p, PROBE_NO_DELETE_VERSION, &why);
		return;
	}
	int rc = store_attack(p->s, STORE_DELETE_VERSION, probe_key(p, key, "version"), &why);

	if (survives(p, key, note, NULL) != 1 || !rc)
		say(p, PROBE_NO_DELETE_VERSION, PROBE_NO, "the bytes of an object were deleted for ever");
	else if (rc == -ERR_DENIED)
		say(p, PROBE_NO_DELETE_VERSION, PROBE_YES, "%s", "");
	else
		say_error(p, PROBE_NO_DELETE_VERSION, &why);
}

static void try_shorten(struct probe *p)
{
	char key[STORE_KEY_MAX + 1], note[NOTE_MAX];
	struct store_lock before = {0}, after = {0};
	struct err why = ERR_INIT;

	if (p->r->lock_ms <= 0) {
		say(p, PROBE_NO_SHORTEN, PROBE_UNKNOWN, "there is no lock to shorten");
		return;
	}
	if (put_note(p, "shorten", note, &why) || store_lock(p->s, probe_key(p, key, "shorten"), &before, &why)) {
		say_error(p, PROBE_NO_SHORTEN, &why);
		return;
	}
	int rc = store_attack(p->s, STORE_SHORTEN_LOCK, key, &why);

	if (store_lock(p->other, key, &after, &why))
		say_error(p, PROBE_NO_SHORTEN, &why);
	else if (!rc || after.mode < before.mode || after.until_ns < before.until_ns)
		say(p, PROBE_NO_SHORTEN, PROBE_NO, "the lock of an object was shortened");
	else if (rc == -ERR_DENIED)
		say(p, PROBE_NO_SHORTEN, PROBE_YES, "%s", "");
	else
		say_error(p, PROBE_NO_SHORTEN, &why);
}

static void try_digest(struct probe *p)
{
	char key[STORE_KEY_MAX + 1];
	struct err why = ERR_INIT;
	int rc = store_attack(p->s, STORE_BAD_DIGEST, probe_key(p, key, "digest"), &why);

	if (!rc)
		say(p, PROBE_DIGEST_CHECKED, PROBE_NO, "a put was accepted whose bytes are not those of its digest");
	else if (rc == -ERR_DENIED || rc == -ERR_CORRUPT)
		say(p, PROBE_DIGEST_CHECKED, PROBE_YES, "%s", "");
	else
		say_error(p, PROBE_DIGEST_CHECKED, &why);
}

/* --- clock, distance, durability --- */

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void try_round_trip(struct probe *p)
{
	char key[STORE_KEY_MAX + 1];
	int64_t us[ROUND_TRIPS];
	struct store_stat st;
	struct err why = ERR_INIT;

	p->r->round_trip_us = -1;
	probe_key(p, key, "once");
	for (size_t i = 0; i < ROUND_TRIPS; i++) {
		int64_t before = clock_boot_ns();

		if (store_stat(p->s, key, &st, &why)) {
			say_error(p, PROBE_DISTANCE, &why);
			return;
		}
		us[i] = (clock_boot_ns() - before) / 1000;
	}
	qsort(us, ROUND_TRIPS, sizeof *us, by_value);
	p->r->round_trip_us = us[ROUND_TRIPS / 2];

	double ms = (double)p->r->round_trip_us / 1000, reach = ms * FIBRE_KM_PER_MS;

	if (p->s->caps & STORE_LOCAL && p->o->distance_km > 0)
		say(p, PROBE_DISTANCE, PROBE_UNKNOWN, "it is a directory of this machine: how fast it answers says nothing");
	else if (p->o->distance_km <= 0)
		say(p, PROBE_DISTANCE, PROBE_UNKNOWN, "no distance is declared; it answers in %.3f ms", ms);
	else if (reach < p->o->distance_km)
		say(p, PROBE_DISTANCE, PROBE_NO,
		        "it is said to be %.0f km away and answers in %.3f ms, in which light in fibre comes no farther than %.0f km and back",
		        p->o->distance_km, ms, reach);
	else
		say(p, PROBE_DISTANCE, PROBE_YES, "%.0f km, and it answers in %.3f ms", p->o->distance_km, ms);
}

static void try_clock(struct probe *p)
{
	struct err why = ERR_INIT;
	int64_t there, before = clock_wall_ns();
	int rc = store_clock(p->s, &there, &why);
	int64_t here = before + (clock_wall_ns() - before) / 2;
	char off[32];

	if (rc) {
		say_error(p, PROBE_CLOCK, &why);
		return;
	}
	p->r->has_skew = true;
	p->r->skew_ms = (there - here) / NS_PER_MS;
	p->skew_most_ns = there - before;
	bool well = llabs(p->r->skew_ms) <= PROBE_SKEW_MAX_MS;

	say(p, PROBE_CLOCK, well ? PROBE_YES : PROBE_NO, "%s %s", str_human_duration(off, llabs(p->r->skew_ms)),
	        p->r->skew_ms < 0 ? "behind ours" : "ahead of ours");
}

static void try_durable(struct probe *p)
{
	struct err why = ERR_INIT;

	if (store_sync(p->s, &why))
		say_error(p, PROBE_DURABLE, &why);
	else
		say(p, PROBE_DURABLE, PROBE_YES, "it says so");
}

/* --- the verdict --- */

static bool is(const struct probe_result *r, enum probe_point point, enum probe_answer a)
{
	return r->point[point].answer == a;
}

static void classify(struct probe_result *r, int64_t promised_ms)
{
	bool timed = !is(r, PROBE_CREATE_ONLY, PROBE_YES) || is(r, PROBE_ONE_WINNER, PROBE_NO) ||
	             !is(r, PROBE_READ_AFTER_WRITE, PROBE_YES) || !is(r, PROBE_LIST_AFTER_WRITE, PROBE_YES);
	bool locked = r->lock_ms > 0 && is(r, PROBE_NO_SHORTEN, PROBE_YES) && is(r, PROBE_NO_DELETE_VERSION, PROBE_YES);
	bool append = is(r, PROBE_NO_OVERWRITE, PROBE_YES) && is(r, PROBE_NO_DELETE, PROBE_YES);

	r->class_ = timed ? PROBE_TIMED : locked ? PROBE_LOCKED : append ? PROBE_APPEND_ONLY : PROBE_MUTABLE;
	r->immutable_ms = append ? INT64_MAX : 0;
	/* seconds go between a put and the reading of its lock: what is as long as promised counts as that */
	if (!append && locked)
		r->immutable_ms = is(r, PROBE_LOCK, PROBE_YES) ? MAX(r->lock_ms, promised_ms) : r->lock_ms;
}

int store_probe(struct store *s, const struct probe_opts *o, struct probe_result *ret, struct err *err)
{
	CLEAN(store_free_ptr) struct store *own = NULL;
	struct probe p = {.s = s, .o = o, .r = ret, .lost = ERR_INIT};
	char random[17];

	*ret = (struct probe_result){.lock_ms = -1, .round_trip_us = -1};
	rng_hex(random, 8);
	snprintf(ret->prefix, sizeof ret->prefix, "probe/%s/", random);
	int rc = o->open ? o->open(o->arg, &own, err) : 0;

	if (rc)
		return rc;
	p.other = own ? own : s;
	if ((rc = try_create_only(&p, err)))
		return rc;
	void (*const steps[])(struct probe *) = {try_contest, try_list, try_clock, try_round_trip, try_lock, try_overwrite,
	        try_delete, try_delete_version, try_shorten, try_digest, try_durable};

	for (size_t i = 0; !(rc = interrupted(&p, err)) && i < ARRAY_LEN(steps); i++)
		steps[i](&p);
	if (!rc)
		classify(ret, o->promised_ms);
	return rc;
}

/* --- what it tells --- */

const char *probe_class_name(enum probe_class c)
{
	static const char *const names[] = {"locked", "append-only", "mutable", "timed"};

	return names[c];
}

const char *probe_point_name(enum probe_point p)
{
	static const char *const names[] = {"create_only", "one_winner", "read_after_write", "list_after_write", "no_overwrite",
	        "no_delete", "no_delete_version", "lock", "no_shorten", "digest_checked", "durable", "clock", "distance"};

	_Static_assert(ARRAY_LEN(names) == PROBE_POINTS, "each point has a name");
	return names[p];
}

const char *probe_answer_name(enum probe_answer a)
{
	static const char *const names[] = {"unknown", "no", "yes"};

	return names[a];
}

json_t *probe_json(const struct probe_result *r)
{
	json_t *points = json_array();

	for (enum probe_point i = 0; i < PROBE_POINTS; i++) {
		json_t *o = json_pack("{s:s, s:s}", "point", probe_point_name(i), "answer", probe_answer_name(r->point[i].answer));

		json_set_path(o, "detail", r->point[i].detail, strlen(r->point[i].detail));
		json_array_append_new(points, o);
	}
	json_t *o = json_pack("{s:s, s:s, s:o}", "class", probe_class_name(r->class_), "prefix", r->prefix, "points", points);

	json_object_set_new(o, "immutable_ms", r->immutable_ms == INT64_MAX ? json_null() : json_integer(r->immutable_ms));
	json_object_set_new(o, "lock_ms", r->lock_ms < 0 ? json_null() : json_integer(r->lock_ms));
	json_object_set_new(o, "lock_mode", r->lock_ms <= 0 ? json_null() : json_string(r->compliance ? "compliance" : "governance"));
	json_object_set_new(o, "skew_ms", r->has_skew ? json_integer(r->skew_ms) : json_null());
	json_object_set_new(o, "round_trip_us", r->round_trip_us < 0 ? json_null() : json_integer(r->round_trip_us));
	return o;
}
