/* What this end asks of the other. */
#include <string.h>
#include "wire/internal.h"
#include "base/clock.h"

#define STALL_NS (600 * INT64_C(1000000000)) /* an answer that does not move for so long will not come */

/* --- under the lock --- */

static struct call *find(struct wire *w, uint32_t id)
{
	struct call *c = w->calls;

	while (c && c->id != id)
		c = c->next;
	return c;
}

static void unlist(struct wire *w, struct call *c)
{
	struct call **at = &w->calls;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	w->n_calls--;
	pthread_cond_broadcast(&w->changed);
}

static void destroy(struct call *c)
{
	stream_release(&c->in);
	pthread_cond_destroy(&c->changed);
	free(c);
}

void call_wake_all(struct wire *w)
{
	for (struct call *c = w->calls; c; c = c->next)
		pthread_cond_broadcast(&c->changed);
}

void call_release_all(struct wire *w)
{
	while (w->calls) {
		struct call *c = w->calls;

		BUG_ON(!c->dropped); /* somebody still uses it */
		w->calls = c->next;
		destroy(c);
	}
}

/* --- for the reader --- */

static int unasked(const char *what, uint32_t id, struct err *err)
{
	return err_set(err, ERR_FORMAT, "%s for request %u, which was not asked", what, id);
}

int call_on_part(struct wire *w, uint32_t id, size_t n, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&w->m);
	struct call *c = find(w, id);

	if (!c || c->done)
		rc = unasked("bytes", id, err);
	else if (n > c->in_credit)
		rc = err_set(err, ERR_FORMAT, "more bytes for request %u than were granted", id);
	else
		c->in_credit -= n;
	pthread_mutex_unlock(&w->m);
	return rc;
}

void call_on_bytes(struct wire *w, uint32_t id, const void *p, size_t n, struct block *b)
{
	pthread_mutex_lock(&w->m);
	struct call *c = find(w, id);

	if (c && !c->dropped) {
		c->heard = clock_boot_ns();
		if (b)
			stream_link(&c->in, TAKE(b));
		else
			stream_add(&c->in, p, n);
		pthread_cond_signal(&c->changed);
	}
	pthread_mutex_unlock(&w->m);
	free(b);
}

int call_on_done(struct wire *w, uint32_t id, const void *p, size_t n, struct err *err)
{
	struct err verdict = ERR_INIT;
	struct rd result;
	int verdict_rc, rc = done_parse(p, n, &verdict_rc, &verdict, &result, err);

	if (rc)
		return rc;
	if (result.left > RESULT_MAX)
		return err_set(err, ERR_FORMAT, "an answer to request %u that is too long", id);
	pthread_mutex_lock(&w->m);
	struct call *c = find(w, id);

	if (!c || c->done) {
		rc = unasked("an answer", id, err);
	} else if (c->dropped) {
		unlist(w, c);
		destroy(c);
	} else {
		c->done = true;
		c->rc = verdict_rc;
		c->err = verdict;
		c->n_result = result.left;
		if (result.left)
			memcpy(c->result, result.p, result.left);
		pthread_cond_signal(&c->changed);
	}
	pthread_mutex_unlock(&w->m);
	return rc;
}

int call_on_allow(struct wire *w, uint32_t id, uint32_t n, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&w->m);
	struct call *c = find(w, id);

	if (!c || c->done) {
		rc = unasked("credit", id, err);
	} else if (n > c->body - c->allowed) {
		rc = err_set(err, ERR_FORMAT, "more credit for request %u than its body needs", id);
	} else {
		c->allowed += n;
		c->heard = clock_boot_ns();
		pthread_cond_signal(&c->changed);
	}
	pthread_mutex_unlock(&w->m);
	return rc;
}

/* --- asking --- */

/* A place in the table, numbered. The requests must go out in the order of their numbers. */
static int enter(struct wire *w, struct call *c, struct err *err)
{
	for (;;) {
		out_take(w);
		pthread_mutex_lock(&w->m);
		if (w->why.code || w->n_calls < WIRE_REQUESTS)
			break;
		pthread_mutex_unlock(&w->m);
		out_give(w);
		if (wire_cancelled(w))
			return err_set(err, ERR_CANCELLED, "%s: stopped", w->name);
		pthread_mutex_lock(&w->m);
		if (!w->why.code && w->n_calls >= WIRE_REQUESTS)
			wire_wait(w, &w->changed);
		pthread_mutex_unlock(&w->m);
	}
	bool dead = w->why.code != 0;

	if (!dead) {
		c->id = ++w->last_call;
		c->next = w->calls;
		w->calls = c;
		w->n_calls++;
	}
	pthread_mutex_unlock(&w->m);
	if (!dead)
		return 0;
	out_give(w);
	return wire_why(w, err);
}

int call_begin(struct wire *w, const struct ask *a, struct call **ret, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(ARGS_MAX + 64);
	struct call *c = xcalloc(1, sizeof *c);

	*ret = NULL;
	ask_put(&b, a);
	c->w = w;
	c->in_credit = WIRE_WINDOW;
	c->body = a->body;
	c->allowed = MIN(a->body, FIRST_BODY);
	c->heard = clock_boot_ns();
	cond_init(&c->changed);
	int rc = enter(w, c, err);

	if (rc) {
		destroy(c);
		return rc;
	}
	wire_start(w);
	rc = out_frame(w, FRAME_REQUEST, c->id, b.p, b.len, err);
	out_give(w);
	if (rc) {
		call_free(&c);
		return rc;
	}
	*ret = c;
	return 0;
}

/* Wait for something to happen to c, under the lock; non-zero when nothing will any more. */
static int wait_on(struct call *c, struct err *err)
{
	struct wire *w = c->w;

	if (w->why.code) {
		if (err)
			*err = w->why;
		return -(int)w->why.code;
	}
	if (wire_cancelled(w))
		return err_set(err, ERR_CANCELLED, "%s: stopped", w->name);
	if (!c->patient && clock_boot_ns() - c->heard > STALL_NS)
		return err_set(err, ERR_UNREACHABLE, "%s: it is alive but does not answer", w->name);
	wire_wait(w, &c->changed);
	return 0;
}

int call_body(struct call *c, const void *p, size_t n, struct err *err)
{
	struct wire *w = c->w;
	const unsigned char *at = p;

	BUG_ON(n > c->body - c->sent);
	while (n) {
		int rc = 0;

		pthread_mutex_lock(&w->m);
		while (!rc && !c->done && c->allowed <= c->sent)
			rc = wait_on(c, err);
		bool done = c->done;
		size_t room = (size_t)MIN(c->allowed - c->sent, FRAME_PAYLOAD);

		pthread_mutex_unlock(&w->m);
		if (rc || done)
			return rc;
		room = MIN(room, n);
		rc = wire_send(w, FRAME_BODY, c->id, at, room, err);
		if (rc)
			return rc;
		c->sent += room;
		at += room;
		n -= room;
	}
	return 0;
}

int call_part(struct call *c, struct block **ret, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&c->w->m);
	while (!rc && !(*ret = stream_pop(&c->in)) && !c->done)
		rc = wait_on(c, err);
	pthread_mutex_unlock(&c->w->m);
	return rc;
}

int call_consumed(struct call *c, size_t n, struct err *err)
{
	struct wire *w = c->w;
	unsigned char credit[4];

	c->consumed += n;
	if (c->consumed < WIRE_WINDOW / 4)
		return 0;
	pthread_mutex_lock(&w->m);
	bool more = !c->done;

	if (more)
		c->in_credit += c->consumed;
	pthread_mutex_unlock(&w->m);
	if (!more)
		return 0;
	put_u32(credit, (uint32_t)c->consumed);
	c->consumed = 0;
	return wire_send(w, FRAME_GRANT, c->id, credit, sizeof credit, err);
}

int call_end(struct call *c, struct rd *result, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&c->w->m);
	while (!rc && !c->done)
		rc = wait_on(c, err);
	pthread_mutex_unlock(&c->w->m);
	if (rc)
		return rc;
	if (result)
		*result = rd_init(c->result, c->n_result);
	if (c->rc && err)
		*err = c->err;
	return c->rc;
}

void call_cancel(struct call *c)
{
	(void)!wire_send(c->w, FRAME_CANCEL, c->id, NULL, 0, NULL);
	/* nothing of the body may follow */
	c->sent = c->body;
}

void call_free(struct call **p)
{
	struct call *c = *p;

	if (!c)
		return;
	*p = NULL;
	struct wire *w = c->w;

	pthread_mutex_lock(&w->m);
	bool over = c->done, tell = !w->why.code && (!over || c->sent < c->body);
	uint32_t id = c->id;

	c->dropped = !over; /* from here on it may go at any time */
	stream_release(&c->in);
	pthread_mutex_unlock(&w->m);
	/* Until it hears of it, the other end keeps the request for the rest of its body. */
	if (tell)
		(void)!wire_send(w, FRAME_CANCEL, id, NULL, 0, NULL);
	pthread_mutex_lock(&w->m);
	if (over) {
		unlist(w, c);
		destroy(c);
	}
	pthread_mutex_unlock(&w->m);
}

int call_simple(struct wire *w, const struct ask *a, unsigned char ret[RESULT_MAX], struct rd *result, struct err *err)
{
	CLEAN(call_free) struct call *c = NULL;
	struct rd r;
	int rc = call_begin(w, a, &c, err);

	if (!rc)
		rc = call_end(c, &r, err);
	if (rc)
		return rc;
	if (r.left)
		memcpy(ret, r.p, r.left);
	*result = rd_init(ret, r.left);
	return 0;
}
