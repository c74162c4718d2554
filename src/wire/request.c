/* What the other end asks of this one: each request in a thread of its own, so that none waits for another. */
#include <string.h>
#include "wire/internal.h"

/* --- under the lock --- */

static struct request *find(struct wire *w, uint32_t id)
{
	struct request *r = w->requests;

	while (r && r->id != id)
		r = r->next;
	return r;
}

static void destroy(struct request *r)
{
	stream_release(&r->in);
	pthread_cond_destroy(&r->changed);
	free(r);
}

/* Its place in the table is free again; the thread that works on it keeps it until it is done. */
static void unlist(struct wire *w, struct request *r)
{
	struct request **at = &w->requests;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	w->n_requests--;
	r->listed = false;
	stream_release(&r->in);
}

void request_wake_all(struct wire *w)
{
	for (struct request *r = w->requests; r; r = r->next) {
		atomic_store(&r->cancelled, true);
		pthread_cond_broadcast(&r->changed);
	}
}

void request_release_all(struct wire *w)
{
	while (w->requests) {
		struct request *r = w->requests;

		w->requests = r->next;
		destroy(r);
	}
}

static bool body_over(const struct request *r)
{
	return r->got == r->ask.body || atomic_load(&r->cancelled);
}

/* --- threads --- */

static int run(struct request *r, struct buf *result, struct err *err)
{
	if (r->ask.service == WIRE_STORE)
		return serve_store(r, result, err);
	if (r->ask.service == WIRE_JOB)
		return serve_job(r, err);
	return err_set(err, ERR_UNSUPPORTED, "there is no service %u", r->ask.service);
}

static void answer(struct request *r)
{
	CLEAN(buf_release) struct buf result = BUF_INIT(RESULT_MAX);
	CLEAN(buf_release) struct buf b = BUF_INIT(RESULT_MAX + 1024);
	struct wire *w = r->w;
	struct err err = ERR_INIT;
	int rc = run(r, &result, &err);

	done_put(&b, rc, &err, result.p, rc ? 0 : result.len);
	pthread_mutex_lock(&w->m);
	w->bodies -= r->reserved;
	r->reserved = 0;
	held_brought(r);
	r->answered = true;
	/* Before the answer goes out: whoever has it may ask again at once. */
	if (r->listed && body_over(r))
		unlist(w, r);
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->m);
	(void)!wire_send(w, FRAME_DONE, r->id, b.p, b.len, NULL);
}

static void *worker(void *arg)
{
	struct wire *w = arg;

	pthread_mutex_lock(&w->m);
	for (;;) {
		w->n_idle++;
		while (!w->waiting && !w->why.code)
			pthread_cond_wait(&w->work, &w->m);
		w->n_idle--;
		if (w->why.code)
			break;
		struct request *r = w->waiting;

		w->waiting = r->next_waiting;
		w->n_waiting--;
		if (!w->waiting)
			w->waiting_end = &w->waiting;
		r->running = true;
		pthread_mutex_unlock(&w->m);
		answer(r);
		pthread_mutex_lock(&w->m);
		r->running = false;
		if (!r->listed)
			destroy(r);
	}
	pthread_mutex_unlock(&w->m);
	return NULL;
}

static void queue_request(struct wire *w, struct request *r)
{
	*w->waiting_end = r;
	w->waiting_end = &r->next_waiting;
	w->n_waiting++;
	if (w->n_waiting > w->n_idle && w->n_threads < WIRE_REQUESTS) {
		BUG_ON(pthread_create(&w->threads[w->n_threads], NULL, worker, w));
		w->n_threads++;
	}
	pthread_cond_signal(&w->work);
}

void request_join_all(struct wire *w)
{
	for (size_t i = 0; i < w->n_threads; i++)
		pthread_join(w->threads[i], NULL);
}

/* --- for the reader --- */

static struct request *make(struct wire *w, uint32_t id, const struct ask *a)
{
	struct request *r = xcalloc(1, sizeof *r);

	r->w = w;
	r->id = id;
	r->ask = *a;
	r->ask.args = r->args;
	memcpy(r->args, a->args, a->n_args);
	r->in_credit = r->granted = MIN(a->body, FIRST_BODY);
	r->out_credit = WIRE_WINDOW;
	r->listed = true;
	atomic_init(&r->cancelled, false);
	cond_init(&r->changed);
	return r;
}

int request_on_ask(struct wire *w, uint32_t id, const void *p, size_t n, struct err *err)
{
	struct ask a;
	int rc = ask_parse(p, n, &a, err);

	if (rc)
		return rc;
	pthread_mutex_lock(&w->m);
	if (id <= w->last_request) {
		rc = err_set(err, ERR_FORMAT, "request %u after request %u", id, w->last_request);
	} else if (w->n_requests >= WIRE_REQUESTS) {
		rc = err_set(err, ERR_FORMAT, "more than %d requests at once", WIRE_REQUESTS);
	} else {
		struct request *r = make(w, id, &a);

		w->last_request = id;
		r->next = w->requests;
		w->requests = r;
		w->n_requests++;
		held_expect(w, r); /* before any later request can ask for its body */
		queue_request(w, r);
	}
	pthread_mutex_unlock(&w->m);
	return rc;
}

static int unasked(const char *what, uint32_t id, struct err *err)
{
	return err_set(err, ERR_FORMAT, "%s for request %u, which is not under way", what, id);
}

int request_on_body(struct wire *w, uint32_t id, size_t n, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&w->m);
	struct request *r = find(w, id);

	if (!r)
		rc = unasked("bytes", id, err);
	else if (n > r->in_credit)
		rc = err_set(err, ERR_FORMAT, "more bytes for request %u than were granted", id);
	else
		r->in_credit -= n;
	pthread_mutex_unlock(&w->m);
	return rc;
}

void request_on_bytes(struct wire *w, uint32_t id, const void *p, size_t n, struct block *b)
{
	pthread_mutex_lock(&w->m);
	struct request *r = find(w, id);

	if (r) {
		r->got += n;
		if (r->answered) {
			/* nobody reads it; it only had to pass */
		} else if (b) {
			stream_link(&r->in, TAKE(b));
		} else {
			stream_add(&r->in, p, n);
		}
		pthread_cond_signal(&r->changed);
		if (r->answered && body_over(r)) {
			unlist(w, r);
			if (!r->running)
				destroy(r);
		}
	}
	pthread_mutex_unlock(&w->m);
	free(b);
}

/* The answer may have crossed it: then there is nothing to cancel. */
int request_on_cancel(struct wire *w, uint32_t id, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&w->m);
	struct request *r = find(w, id);

	if (!r && id > w->last_request)
		rc = unasked("a cancellation", id, err);
	if (r) {
		atomic_store(&r->cancelled, true);
		r->in_credit = 0;
		pthread_cond_broadcast(&r->changed);
		pthread_cond_broadcast(&w->changed);
		if (r->answered) {
			unlist(w, r);
			if (!r->running)
				destroy(r);
		}
	}
	pthread_mutex_unlock(&w->m);
	return rc;
}

int request_on_grant(struct wire *w, uint32_t id, uint32_t n, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&w->m);
	struct request *r = find(w, id);

	if (!r && id > w->last_request)
		rc = unasked("credit", id, err);
	else if (r && n > WIRE_WINDOW - r->out_credit)
		rc = err_set(err, ERR_FORMAT, "more credit for request %u than there may be", id);
	else if (r) {
		r->out_credit += n;
		pthread_cond_signal(&r->changed);
	}
	pthread_mutex_unlock(&w->m);
	return rc;
}

/* --- for who serves --- */

int request_wait(struct request *r, pthread_cond_t *c, struct err *err)
{
	struct wire *w = r->w;

	if (w->why.code) {
		if (err)
			*err = w->why;
		return -(int)w->why.code;
	}
	if (atomic_load(&r->cancelled) || wire_cancelled(w))
		return err_set(err, ERR_CANCELLED, "stopped by who asked");
	wire_wait(w, c);
	return 0;
}

int request_part(struct request *r, const void *p, size_t n, struct err *err)
{
	const unsigned char *at = p;

	while (n) {
		int rc = 0;

		pthread_mutex_lock(&r->w->m);
		if (atomic_load(&r->cancelled))
			rc = err_set(err, ERR_CANCELLED, "stopped by who asked");
		while (!rc && !r->out_credit)
			rc = request_wait(r, &r->changed, err);
		size_t take = MIN(n, (size_t)MIN(r->out_credit, FRAME_PAYLOAD));

		r->out_credit -= rc ? 0 : take;
		pthread_mutex_unlock(&r->w->m);
		if (!rc)
			rc = wire_send(r->w, FRAME_PART, r->id, at, take, err);
		if (rc)
			return rc;
		at += take;
		n -= take;
	}
	return 0;
}

int request_body(struct request *r, struct block **ret, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&r->w->m);
	while (!rc && !(*ret = stream_pop(&r->in)) && r->got < r->ask.body)
		rc = request_wait(r, &r->changed, err);
	pthread_mutex_unlock(&r->w->m);
	return rc;
}

int request_allow_again(struct request *r, uint64_t n, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&r->w->m);
	n = MIN(n, r->ask.body - r->granted);
	r->granted += n;
	if (!atomic_load(&r->cancelled))
		r->in_credit += n;
	pthread_mutex_unlock(&r->w->m);
	while (!rc && n) {
		uint32_t step = (uint32_t)MIN(n, (uint64_t)UINT32_MAX);
		unsigned char credit[4];

		put_u32(credit, step);
		rc = wire_send(r->w, FRAME_ALLOW, r->id, credit, sizeof credit, err);
		n -= step;
	}
	return rc;
}

/* First come, first served: a large body is not starved by small ones. */
int request_allow(struct request *r, uint64_t n, struct err *err)
{
	struct wire *w = r->w;
	int rc = 0;

	BUG_ON(n > WIRE_BODIES || r->reserved);
	pthread_mutex_lock(&w->m);
	uint64_t mine = w->body_ticket++;

	while (!rc && (w->body_turn != mine || !held_room(w, n)))
		rc = request_wait(r, &w->changed, err);
	/* who gives up must still let the next one pass */
	while (w->body_turn != mine)
		wire_wait(w, &w->changed);
	w->body_turn++;
	if (!rc) {
		w->bodies += n;
		r->reserved = n;
	}
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->m);
	return rc ? rc : request_allow_again(r, n, err);
}

int request_text(struct request *r, size_t limit, struct buf *out, struct err *err)
{
	int rc = 0;

	if (r->ask.body > limit)
		return err_set(err, ERR_NOMEM, "a request of more than %zu bytes", limit);
	if (r->ask.body > FIRST_BODY)
		rc = request_allow(r, r->ask.body, err);
	while (!rc) {
		struct block *b;

		rc = request_body(r, &b, err);
		if (rc || !b)
			break;
		rc = buf_put(out, b->p, b->n, err);
		free(b);
	}
	return rc;
}
