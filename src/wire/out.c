/* Writing: whole frames, one after the other, first come first served, so that a short question waits for one frame of
 * a large object and not for the object. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include "wire/internal.h"
#include "base/clock.h"

#define LEAVE_MS 2000

void out_take(struct wire *w)
{
	pthread_mutex_lock(&w->out_m);
	uint64_t mine = w->out_ticket++;

	while (w->out_turn != mine)
		pthread_cond_wait(&w->out_changed, &w->out_m);
	pthread_mutex_unlock(&w->out_m);
}

void out_give(struct wire *w)
{
	pthread_mutex_lock(&w->out_m);
	w->out_turn++;
	pthread_cond_broadcast(&w->out_changed);
	pthread_mutex_unlock(&w->out_m);
}

/* SIGPIPE is for programs that do not look at errors: kept from this thread for the time of a write. */
static ssize_t write_quietly(int fd, const struct iovec *v, int n)
{
	const struct timespec now = {0, 0};
	sigset_t pipe_set, old, pending;

	sigemptyset(&pipe_set);
	sigaddset(&pipe_set, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
	ssize_t done = writev(fd, v, n);
	int why = errno;

	if (done < 0 && why == EPIPE && !sigismember(&pending, SIGPIPE))
		(void)sigtimedwait(&pipe_set, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = why;
	return done;
}

/* Wait until there is room. The peer's silence kills through the reader; a peer that talks and never reads, here. */
static int wait_room(struct wire *w, int64_t since, struct err *err)
{
	struct pollfd p = {.fd = w->out, .events = POLLOUT};

	(void)poll(&p, 1, POLL_MS);
	pthread_mutex_lock(&w->m);
	bool leaving = w->leaving;

	pthread_mutex_unlock(&w->m);
	if (wire_dead(w, NULL))
		return wire_why(w, err);
	if (wire_cancelled(w))
		return wire_die_of(w, ERR_CANCELLED, "stopped", err);
	if (clock_boot_ns() - since > (leaving ? MIN(LEAVE_MS, w->idle_ms) : w->idle_ms) * 1000000)
		return wire_die_of(w, ERR_UNREACHABLE, "it takes nothing more", err);
	return 0;
}

static int write_all(struct wire *w, struct iovec *v, int n, struct err *err)
{
	int64_t since = clock_boot_ns();

	while (n) {
		ssize_t done = write_quietly(w->out, v, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno != EAGAIN)
			return wire_die_of(w, ERR_UNREACHABLE, "the connection broke", err);
		if (done < 0) {
			int rc = wait_room(w, since, err);

			if (rc)
				return rc;
			continue;
		}
		since = clock_boot_ns();
		for (; n && (size_t)done >= v->iov_len; v++, n--)
			done -= (ssize_t)v->iov_len;
		if (n) {
			v->iov_base = (char *)v->iov_base + done;
			v->iov_len -= (size_t)done;
		}
	}
	return 0;
}

static int write_frame(struct wire *w, enum frame_type type, uint32_t id, const void *p, size_t n, struct err *err)
{
	unsigned char head[FRAME_HEAD];
	struct iovec v[] = {{head, sizeof head}, {(void *)p, n}};

	frame_head(head, type, id, n);
	return write_all(w, v, n ? 2 : 1, err);
}

/* Pings and pongs go in front: they are what keeps a busy connection alive. So does news: what follows may be asked or answered
 * because of it. */
static int write_short(struct wire *w, struct err *err)
{
	struct news news;
	int rc = atomic_exchange(&w->pong_due, false) ? write_frame(w, FRAME_PONG, 0, NULL, 0, err) : 0;

	if (!rc && atomic_exchange(&w->ping_due, false))
		rc = write_frame(w, FRAME_PING, 0, NULL, 0, err);
	while (!rc && trouble_news(w, &news))
		rc = write_frame(w, news.type, 0, news.p, news.n, err);
	return rc;
}

int out_frame(struct wire *w, enum frame_type type, uint32_t id, const void *p, size_t n, struct err *err)
{
	if (wire_dead(w, NULL))
		return wire_why(w, err);
	int rc = write_short(w, err);

	return rc ? rc : write_frame(w, type, id, p, n, err);
}

int wire_send(struct wire *w, enum frame_type type, uint32_t id, const void *p, size_t n, struct err *err)
{
	out_take(w);
	int rc = out_frame(w, type, id, p, n, err);

	out_give(w);
	return rc;
}

/* The reader must never wait for room, so another thread sends what it owes, and what nobody asked for. */
void *out_pinger(void *arg)
{
	struct wire *w = arg;

	pthread_mutex_lock(&w->m);
	while (!w->why.code) {
		if (!trouble_due(w) && !atomic_load(&w->ping_due) && !atomic_load(&w->pong_due)) {
			if (trouble_watched(w))
				wire_wait(w, &w->pings);
			else
				pthread_cond_wait(&w->pings, &w->m);
			continue;
		}
		pthread_mutex_unlock(&w->m);
		out_take(w);
		if (!wire_dead(w, NULL))
			(void)!write_short(w, NULL);
		out_give(w);
		pthread_mutex_lock(&w->m);
	}
	pthread_mutex_unlock(&w->m);
	return NULL;
}
