#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "wire/internal.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/version.h"

#define HELLO_MS 20000
#define IDLE_MS 60000
#define IN_BUFFER ((size_t)256 << 10)

/* --- blocks --- */

#define SMALL_BLOCK ((size_t)32 << 10)

struct block *block_new(size_t cap)
{
	struct block *b = xmalloc(sizeof *b + cap);

	b->next = NULL;
	b->n = 0;
	b->cap = cap;
	return b;
}

void stream_link(struct stream *s, struct block *b)
{
	if (s->tail)
		s->tail->next = b;
	else
		s->head = b;
	s->tail = b;
}

void stream_add(struct stream *s, const void *p, size_t n)
{
	if (!s->tail || s->tail->cap - s->tail->n < n)
		stream_link(s, block_new(MAX(n, SMALL_BLOCK)));
	memcpy(s->tail->p + s->tail->n, p, n);
	s->tail->n += n;
}

struct block *stream_pop(struct stream *s)
{
	struct block *b = s->head;

	if (b) {
		s->head = b->next;
		if (!s->head)
			s->tail = NULL;
		b->next = NULL;
	}
	return b;
}

void stream_release(struct stream *s)
{
	struct block *b;

	while ((b = stream_pop(s)))
		free(b);
}

/* --- waiting and dying --- */

void cond_init(pthread_cond_t *c)
{
	pthread_condattr_t a;

	BUG_ON(pthread_condattr_init(&a) || pthread_condattr_setclock(&a, CLOCK_MONOTONIC) || pthread_cond_init(c, &a));
	pthread_condattr_destroy(&a);
}

void wire_wait(struct wire *w, pthread_cond_t *c)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += POLL_MS * 1000000L;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	(void)pthread_cond_timedwait(c, &w->m, &t);
}

bool wire_cancelled(const struct wire *w)
{
	return w->cancel && atomic_load(w->cancel);
}

static void wake_reader(struct wire *w)
{
	(void)!write(w->wake[1], "", 1);
}

void wire_die(struct wire *w, const struct err *why)
{
	pthread_mutex_lock(&w->m);
	if (!w->why.code)
		w->why = *why;
	call_wake_all(w);
	request_wake_all(w);
	pthread_cond_broadcast(&w->changed);
	pthread_cond_broadcast(&w->work);
	pthread_cond_signal(&w->pings);
	pthread_mutex_unlock(&w->m);
	wake_reader(w);
}

int wire_die_of(struct wire *w, enum err_code code, const char *what, struct err *err)
{
	struct err why = ERR_INIT;

	(void)err_set(&why, code, "%s: %s", w->name, what);
	/* what a new connection may mend */
	why.retryable = code != ERR_CANCELLED;
	wire_die(w, &why);
	return wire_why(w, err);
}

int wire_why(struct wire *w, struct err *err)
{
	pthread_mutex_lock(&w->m);
	struct err why = w->why;

	pthread_mutex_unlock(&w->m);
	BUG_ON(!why.code);
	if (err)
		*err = why;
	return -(int)why.code;
}

bool wire_dead(struct wire *w, struct err *ret_why)
{
	pthread_mutex_lock(&w->m);
	bool dead = w->why.code != 0;

	if (dead && ret_why)
		*ret_why = w->why;
	pthread_mutex_unlock(&w->m);
	return dead;
}

/* --- greeting --- */

static int nobody(struct wire *w, enum err_code code, const char *what, const char *detail, struct err *err)
{
	(void)err_set(err, code, "%s: %s%s", w->name, what, detail);
	return w->install && err ? err_hint(err, "%s", w->install) : -(int)code;
}

/* What came instead of a greeting is most likely a shell's or a login script's text. */
static int not_a_greeting(struct wire *w, struct err *err)
{
	char raw[81], safe[200], text[256];
	size_t n = MIN(w->in_len - w->in_at, sizeof raw - 1);

	memcpy(raw, w->inbuf + w->in_at, n);
	raw[n] = '\0';
	(void)log_safe(safe, sizeof safe, raw);
	(void)snprintf(text, sizeof text, "'%s'", safe);
	return nobody(w, ERR_UNREACHABLE, "what answers there is not holdfast, it said ", text, err);
}

static int read_hello(struct wire *w, struct err *err)
{
	int64_t deadline = clock_boot_ns() + w->hello_ms * 1000000;
	const size_t least = FRAME_HEAD + HELLO_MAGIC_LEN;
	struct frame f = {0};
	size_t have;
	int rc = in_fill(w, least, deadline, &have, err);

	if (rc)
		return rc;
	if (have < least)
		return have ? not_a_greeting(w, err)
		            : nobody(w, ERR_UNREACHABLE, "it ended before it answered", "", err);
	if (frame_parse(w->inbuf + w->in_at, &f, NULL) || f.type != FRAME_HELLO)
		return not_a_greeting(w, err);
	rc = in_fill(w, FRAME_HEAD + f.n, deadline, &have, err);
	if (rc)
		return rc;
	if (have < FRAME_HEAD + f.n || hello_parse(w->inbuf + w->in_at + FRAME_HEAD, f.n, &w->peer, NULL))
		return not_a_greeting(w, err);
	w->in_at += FRAME_HEAD + f.n;
	return 0;
}

static int agree(struct wire *w, struct err *err)
{
	const struct hello *h = &w->peer;

	w->version = MIN(h->max, WIRE_VERSION_MAX);
	if (h->min <= WIRE_VERSION_MAX && h->max >= WIRE_VERSION_MIN)
		return 0;
	(void)err_set(err, ERR_UNSUPPORTED,
	        "%s: it is holdfast %s with wire protocol %u to %u, this is holdfast %s with %u to %u", w->name,
	        h->version, h->min, h->max, HOLDFAST_VERSION, WIRE_VERSION_MIN, WIRE_VERSION_MAX);
	return w->install && err ? err_hint(err, "%s", w->install) : -ERR_UNSUPPORTED;
}

static int greet(struct wire *w, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(4096);
	struct hello us = {.min = WIRE_VERSION_MIN, .max = WIRE_VERSION_MAX, .services = WIRE_STORE | WIRE_JOB};
	struct err sent = ERR_INIT;

	(void)snprintf(us.version, sizeof us.version, "%s", HOLDFAST_VERSION);
	(void)snprintf(us.role, sizeof us.role, "%s", w->role);
	hello_put(&b, &us);
	/* Who cannot be written to may still have said why. */
	int unsent = wire_send(w, FRAME_HELLO, 0, b.p, b.len, &sent);
	int rc = read_hello(w, err);

	if (rc || (rc = agree(w, err)))
		return rc;
	if (unsent && err)
		*err = sent;
	return unsent;
}

/* --- making and freeing --- */

static int set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	(void)fcntl(fd, F_SETPIPE_SZ, 1 << 20); /* where it is a pipe, and may be as large */
	return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void release(struct wire *w)
{
	call_release_all(w);
	request_release_all(w);
	held_release_all(w);
	for (size_t i = 0; i < STORES_MAX; i++)
		pthread_mutex_destroy(&w->stores[i].one);
	for (int i = 0; i < 2; i++)
		close_fd(&w->wake[i]);
	pthread_cond_destroy(&w->changed);
	pthread_cond_destroy(&w->work);
	pthread_cond_destroy(&w->pings);
	pthread_cond_destroy(&w->out_changed);
	pthread_mutex_destroy(&w->m);
	pthread_mutex_destroy(&w->sharing);
	pthread_mutex_destroy(&w->out_m);
	free(w->inbuf);
	free(w->name);
	free(w->role);
	free(w->install);
	free(w->spool);
	free(w);
}

static struct wire *make(int in_fd, int out_fd, const struct wire_opts *o)
{
	struct wire *w = xcalloc(1, sizeof *w);

	w->in = in_fd;
	w->out = out_fd;
	w->wake[0] = w->wake[1] = -1;
	w->name = xstrdup(o->name);
	w->role = xstrdup(o->role ? o->role : "");
	w->install = o->install ? xstrdup(o->install) : NULL;
	w->spool = o->spool ? xstrdup(o->spool) : NULL;
	w->cancel = o->cancel;
	w->hello_ms = o->hello_ms ? o->hello_ms : HELLO_MS;
	w->idle_ms = o->idle_ms ? o->idle_ms : IDLE_MS;
	w->inbuf = xmalloc(IN_BUFFER);
	w->waiting_end = &w->waiting;
	w->heard = clock_boot_ns();
	pthread_mutex_init(&w->m, NULL);
	pthread_mutex_init(&w->sharing, NULL);
	pthread_mutex_init(&w->out_m, NULL);
	for (size_t i = 0; i < STORES_MAX; i++)
		pthread_mutex_init(&w->stores[i].one, NULL);
	cond_init(&w->changed);
	cond_init(&w->work);
	cond_init(&w->pings);
	cond_init(&w->out_changed);
	return w;
}

int wire_new(int in_fd, int out_fd, const struct wire_opts *o, struct wire **ret, struct err *err)
{
	struct wire *w = make(in_fd, out_fd, o);
	int rc = 0;

	*ret = NULL;
	if (pipe2(w->wake, O_CLOEXEC | O_NONBLOCK) < 0 || set_nonblock(in_fd) < 0 || set_nonblock(out_fd) < 0)
		rc = err_sys(err, ERR_IO, "%s: cannot prepare the connection", o->name);
	if (!rc)
		rc = greet(w, err);
	if (rc) {
		release(w);
		return rc;
	}
	*ret = w;
	return 0;
}

void wire_start(struct wire *w)
{
	pthread_mutex_lock(&w->m);
	bool begin = !w->started;

	w->started = true;
	if (begin) {
		w->heard = clock_boot_ns();
		BUG_ON(pthread_create(&w->pinger, NULL, out_pinger, w));
		BUG_ON(pthread_create(&w->reader, NULL, in_reader, w));
	}
	pthread_mutex_unlock(&w->m);
}

int wire_run(struct wire *w, struct err *err)
{
	wire_start(w);
	pthread_mutex_lock(&w->m);
	while (!w->ended) {
		if (wire_cancelled(w)) {
			pthread_mutex_unlock(&w->m);
			return wire_die_of(w, ERR_CANCELLED, "stopped", err);
		}
		wire_wait(w, &w->changed);
	}
	bool well = w->peer_left;

	pthread_mutex_unlock(&w->m);
	return well ? 0 : wire_why(w, err);
}

void wire_free(struct wire *w)
{
	if (!w)
		return;
	struct err why = ERR_INIT;

	pthread_mutex_lock(&w->m);
	w->leaving = true; /* short patience from here on */
	pthread_mutex_unlock(&w->m);
	if (!wire_dead(w, NULL))
		(void)!wire_send(w, FRAME_BYE, 0, "\0", 2, NULL);
	(void)err_set(&why, ERR_UNREACHABLE, "%s: the connection was closed", w->name);
	wire_die(w, &why);
	if (w->started) {
		pthread_join(w->reader, NULL);
		pthread_join(w->pinger, NULL);
		request_join_all(w);
	}
	release(w);
}

const char *wire_peer_version(const struct wire *w)
{
	return w->peer.version;
}

const char *wire_peer_role(const struct wire *w)
{
	return w->peer.role;
}
