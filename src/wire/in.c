/* Reading: one thread takes frames from the connection and hands them to whom they belong. It never waits for anything
 * but the other end. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "wire/internal.h"
#include "base/clock.h"

#define IN_BUFFER ((size_t)256 << 10)
#define OWN_BLOCK ((size_t)32 << 10) /* from here on a payload is read straight to where it stays */
#define BYE_TEXT 200

_Static_assert(IN_BUFFER >= WIRE_FRAME_MAX, "a frame fits");

/* A ping when it has been silent for a third of the time that it may. */
static int keep_alive(struct wire *w, struct err *err)
{
	int64_t silent = clock_boot_ns() - w->heard, idle = w->idle_ms * 1000000;

	if (silent > idle)
		return wire_die_of(w, ERR_UNREACHABLE, "no sign of life from the other end", err);
	if (silent > idle / 3 && !w->ping_out) {
		w->ping_out = true;
		pthread_mutex_lock(&w->m);
		atomic_store(&w->ping_due, true);
		pthread_cond_signal(&w->pings);
		pthread_mutex_unlock(&w->m);
	}
	return 0;
}

/* Up to n bytes; *ret 0 at the end. deadline_ns 0: keep alive. */
static int read_some(struct wire *w, void *p, size_t n, int64_t deadline_ns, size_t *ret, struct err *err)
{
	for (;;) {
		ssize_t got = read(w->in, p, n);

		if (got >= 0) {
			*ret = (size_t)got;
			w->heard = clock_boot_ns();
			w->ping_out = false;
			return 0;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN) {
			*ret = 0; /* reset: the same as an end, only ruder */
			return 0;
		}
		struct pollfd fds[] = {{.fd = w->in, .events = POLLIN}, {.fd = w->wake[0], .events = POLLIN}};

		(void)poll(fds, 2, (int)MIN(POLL_MS, w->idle_ms / 6 + 1));
		if (wire_dead(w, NULL))
			return wire_why(w, err);
		if (wire_cancelled(w))
			return wire_die_of(w, ERR_CANCELLED, "stopped", err);
		if (deadline_ns && clock_boot_ns() > deadline_ns)
			return wire_die_of(w, ERR_UNREACHABLE, "it did not answer in time", err);
		int rc = deadline_ns ? 0 : keep_alive(w, err);

		if (rc)
			return rc;
	}
}

/* Have `want` bytes in the buffer. *ret is what is there, less only at the end. */
int in_fill(struct wire *w, size_t want, int64_t deadline_ns, size_t *ret, struct err *err)
{
	if (w->in_at && IN_BUFFER - w->in_at < want) {
		memmove(w->inbuf, w->inbuf + w->in_at, w->in_len - w->in_at);
		w->in_len -= w->in_at;
		w->in_at = 0;
	}
	if (w->in_at == w->in_len)
		w->in_at = w->in_len = 0;
	while (w->in_len - w->in_at < want) {
		size_t got;
		int rc = read_some(w, w->inbuf + w->in_len, IN_BUFFER - w->in_len, deadline_ns, &got, err);

		if (rc)
			return rc;
		if (!got)
			break;
		w->in_len += got;
	}
	*ret = w->in_len - w->in_at;
	return 0;
}

static int cut_off(struct wire *w, struct err *err)
{
	return wire_die_of(w, ERR_UNREACHABLE, "the connection ended in the middle", err);
}

/* A large payload goes to a block of its own; the buffer holds its beginning. */
static int read_block(struct wire *w, size_t n, struct block **ret, struct err *err)
{
	CLEAN(free_ptr) struct block *b = block_new(n);
	size_t have = MIN(n, w->in_len - w->in_at);

	memcpy(b->p, w->inbuf + w->in_at, have);
	w->in_at += have;
	while (have < n) {
		size_t got;
		int rc = read_some(w, b->p + have, n - have, 0, &got, err);

		if (rc)
			return rc;
		if (!got)
			return cut_off(w, err);
		have += got;
	}
	b->n = n;
	*ret = TAKE(b);
	return 0;
}

static int on_bytes(struct wire *w, const struct frame *f, struct err *err)
{
	bool body = f->type == FRAME_BODY;
	int rc = body ? request_on_body(w, f->id, f->n, err) : call_on_part(w, f->id, f->n, err);
	const unsigned char *p = NULL;
	struct block *b = NULL;
	size_t have;

	if (rc)
		return rc;
	if (f->n >= OWN_BLOCK) {
		rc = read_block(w, f->n, &b, err);
	} else {
		rc = in_fill(w, f->n, 0, &have, err);
		if (!rc && have < f->n)
			rc = cut_off(w, err);
		p = w->inbuf + w->in_at;
		w->in_at += rc ? 0 : f->n;
	}
	if (rc)
		return rc;
	if (body)
		request_on_bytes(w, f->id, p, f->n, b);
	else
		call_on_bytes(w, f->id, p, f->n, b);
	return 0;
}

static int on_bye(struct wire *w, const void *p, size_t n, struct err *err)
{
	struct rd r = rd_init(p, n);
	char raw[BYE_TEXT + 1], text[BYE_TEXT + 1], what[BYE_TEXT + 32] = "it left";

	if (!dec_text(&r, raw, BYE_TEXT))
		return err_set(err, ERR_FORMAT, "a malformed good-bye");
	if (raw[0])
		(void)snprintf(what, sizeof what, "it broke off: %s", log_safe(text, sizeof text, raw));
	pthread_mutex_lock(&w->m);
	w->peer_left = !raw[0];
	pthread_mutex_unlock(&w->m);
	return wire_die_of(w, ERR_UNREACHABLE, what, err);
}

static int on_short(struct wire *w, const struct frame *f, const unsigned char *p, struct err *err)
{
	switch (f->type) {
	case FRAME_REQUEST:
		return request_on_ask(w, f->id, p, f->n, err);
	case FRAME_CANCEL:
		return request_on_cancel(w, f->id, err);
	case FRAME_GRANT:
		return request_on_grant(w, f->id, get_u32(p), err);
	case FRAME_DONE:
		return call_on_done(w, f->id, p, f->n, err);
	case FRAME_ALLOW:
		return call_on_allow(w, f->id, get_u32(p), err);
	case FRAME_PING:
		pthread_mutex_lock(&w->m);
		atomic_store(&w->pong_due, true);
		pthread_cond_signal(&w->pings);
		pthread_mutex_unlock(&w->m);
		return 0;
	case FRAME_PONG:
		return 0;
	case FRAME_BYE:
		return on_bye(w, p, f->n, err);
	case FRAME_TROUBLE:
		return trouble_on_told(w, p, err);
	case FRAME_GIVE_UP:
		return trouble_on_give_up(w, p, err);
	default:
		return err_set(err, ERR_FORMAT, "a second greeting");
	}
}

/* One frame. *end when the other end left between frames. */
static int read_frame(struct wire *w, bool *end, struct err *err)
{
	struct frame f;
	size_t have;
	int rc = in_fill(w, FRAME_HEAD, 0, &have, err);

	*end = !rc && !have;
	if (rc || *end)
		return rc;
	if (have < FRAME_HEAD)
		return cut_off(w, err);
	rc = frame_parse(w->inbuf + w->in_at, &f, err);
	if (rc)
		return rc;
	w->in_at += FRAME_HEAD;
	if (f.type == FRAME_BODY || f.type == FRAME_PART)
		return on_bytes(w, &f, err);
	rc = in_fill(w, f.n, 0, &have, err);
	if (rc)
		return rc;
	if (have < f.n)
		return cut_off(w, err);
	const unsigned char *p = w->inbuf + w->in_at;

	w->in_at += f.n;
	return on_short(w, &f, p, err);
}

/* Nothing was under way: to leave without a word is fine then. */
static void left_between(struct wire *w)
{
	pthread_mutex_lock(&w->m);
	bool quiet = !w->n_calls && !w->n_requests;

	w->peer_left = quiet;
	pthread_mutex_unlock(&w->m);
	(void)wire_die_of(w, ERR_UNREACHABLE, quiet ? "it left" : "the connection ended in the middle", NULL);
}

/* Tell who breaks the rules what was wrong, if that can be said at once, and hang up. */
static void offended(struct wire *w, const struct err *what)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1024);
	char text[256];

	pthread_mutex_lock(&w->m);
	w->leaving = true;
	pthread_mutex_unlock(&w->m);
	enc_text(&b, what->msg, BYE_TEXT);
	(void)!wire_send(w, FRAME_BYE, 0, b.p, b.len, NULL);
	(void)snprintf(text, sizeof text, "it breaks the protocol: %.200s", what->msg);
	(void)wire_die_of(w, ERR_UNREACHABLE, text, NULL);
}

void *in_reader(void *arg)
{
	struct wire *w = arg;
	struct err err = ERR_INIT;
	bool end = false;
	int rc;

	do
		rc = read_frame(w, &end, &err);
	while (!rc && !end);
	if (end)
		left_between(w);
	else if (!wire_dead(w, NULL))
		offended(w, &err);
	pthread_mutex_lock(&w->m);
	w->ended = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->m);
	return NULL;
}
