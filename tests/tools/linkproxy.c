/*
 * A link that misbehaves: a TCP proxy on loopback.
 *
 *   linkproxy --target 127.0.0.1:22 [--listen PORT] [--port-file FILE] [--delay MS] [--rate BYTES_A_SECOND] [--control]
 *
 * Delay is one way and rate is each way; bytes are pipelined, up to 64 MiB on their way in a direction. SIGUSR1 cuts
 * all connections with a reset and refuses new ones, SIGUSR2 heals. With --control, commands come on standard input,
 * and each is answered by a line with a number; the first line of all is the port. It ends with its input.
 *
 *   delay MS | rate N             from now on; 0: none
 *   cut up|down N fin|rst         once N more bytes have gone that way, all connections end; new ones are served
 *   stall up|down N               once N more bytes have gone that way, nothing goes either way
 *   kill fin|rst                  all connections end now
 *   refuse on|off                 new connections are reset
 *   heal                          forget cuts, stalls and refusals
 *   count | bytes up|down         connections served, and bytes gone that way, so far
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 256
#define RING ((size_t)64 << 20)
#define MARKS 65536
#define READ_BYTES ((size_t)512 << 10)
#define NEVER INT64_MAX

enum way { UP, DOWN };
/* Bytes [0, end) may leave from the time due on. */
struct mark {
	uint64_t end;
	int64_t due;
};
struct stream {
	unsigned char *ring;
	uint64_t in, out; /* bytes taken in and sent, ever */
	struct mark mark[MARKS];
	uint32_t first, n;
	bool ended, shut;
};
struct link {
	int fd[2]; /* that of the client, that of the server; -1: free */
	uint32_t events[2];
	struct stream s[2]; /* UP: from the client to the server */
};
struct state {
	int epoll, listener, signals;
	bool control;
	struct sockaddr_in target;
	int64_t delay_ns;
	uint64_t rate;
	int64_t credit_at[2];
	double credit[2];
	uint64_t moved[2], cut_at[2], stall_at[2], served;
	bool cut_rst, refuse, stalled;
	struct link *link[CONNECTIONS_MAX];
	char line[256];
	size_t line_len;
};

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t))
		die("clock_gettime");
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- connections --- */

static void link_close(struct state *st, size_t i, bool rst)
{
	const struct linger none = {1, 0};
	struct link *l = st->link[i];

	for (int side = 0; side < 2; side++) {
		if (rst)
			(void)setsockopt(l->fd[side], SOL_SOCKET, SO_LINGER, &none, sizeof none);
		close(l->fd[side]);
		munmap(l->s[side].ring, RING);
	}
	free(l);
	st->link[i] = NULL;
}

static void close_all(struct state *st, bool rst)
{
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (st->link[i])
			link_close(st, i, rst);
}

static int connect_target(const struct state *st)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&st->target, sizeof st->target) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static void watch(struct state *st, size_t i, int side, uint32_t events)
{
	struct link *l = st->link[i];
	struct epoll_event e = {.events = events, .data.u64 = 2 * i + (uint64_t)side};

	if (l->events[side] == events)
		return;
	if (epoll_ctl(st->epoll, l->events[side] == UINT32_MAX ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, l->fd[side], &e))
		die("epoll_ctl");
	l->events[side] = events;
}

static void add_link(struct state *st, int client, int server)
{
	const int on = 1;
	size_t i = 0;

	while (i < CONNECTIONS_MAX && st->link[i])
		i++;
	struct link *l = i < CONNECTIONS_MAX ? calloc(1, sizeof *l) : NULL;

	if (!l)
		die("too many connections");
	st->link[i] = l;
	l->fd[0] = client;
	l->fd[1] = server;
	for (int side = 0; side < 2; side++) {
		l->s[side].ring = mmap(NULL, RING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (l->s[side].ring == MAP_FAILED)
			die("mmap");
		(void)setsockopt(l->fd[side], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		(void)fcntl(l->fd[side], F_SETFL, O_NONBLOCK);
		l->events[side] = UINT32_MAX;
		watch(st, i, side, EPOLLIN);
	}
	st->served++;
}

static void accept_link(struct state *st)
{
	const struct linger none = {1, 0};
	int client = accept4(st->listener, NULL, NULL, SOCK_CLOEXEC);

	if (client < 0)
		return;
	int server = st->refuse ? -1 : connect_target(st);

	if (server < 0) {
		(void)setsockopt(client, SOL_SOCKET, SO_LINGER, &none, sizeof none);
		close(client);
		return;
	}
	add_link(st, client, server);
}

/* --- bytes --- */

static void put_mark(struct state *st, struct stream *s)
{
	int64_t due = now_ns() + st->delay_ns;
	struct mark *last = s->n ? &s->mark[(s->first + s->n - 1) % MARKS] : NULL;

	if (last && (s->n == MARKS || due - last->due < 100000)) {
		last->end = s->in;
		return;
	}
	s->mark[(s->first + s->n++) % MARKS] = (struct mark){s->in, due};
}

/* False when the connection broke. */
static bool take_in(struct state *st, struct link *l, enum way way)
{
	struct stream *s = &l->s[way];

	while (!s->ended) {
		size_t at = s->in % RING, room = RING - (s->in - s->out);

		if (s->in == s->out && !s->n && at) {
			/* Empty: start again where the memory is in the cache. */
			s->in = s->out = (s->in / RING + 1) * RING;
			at = 0;
		}
		if (room > RING - at)
			room = RING - at;
		if (room > READ_BYTES)
			room = READ_BYTES;
		if (!room)
			return true;
		ssize_t n = recv(l->fd[way == UP ? 0 : 1], s->ring + at, room, 0);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		s->ended = n == 0;
		s->in += (uint64_t)n;
		put_mark(st, s);
		if ((size_t)n < room)
			return true;
		break; /* let the other side have it while it is warm */
	}
	return true;
}

/* How many bytes may leave now; *next: when more may. */
static uint64_t may_leave(struct state *st, struct stream *s, enum way way, int64_t now, int64_t *next)
{
	uint64_t end = s->out;

	for (uint32_t i = 0; i < s->n; i++) {
		const struct mark *m = &s->mark[(s->first + i) % MARKS];

		if (m->due > now) {
			if (m->due < *next)
				*next = m->due;
			break;
		}
		end = m->end;
	}
	uint64_t n = end - s->out;

	if (st->rate && n) {
		double most = (double)st->rate / 100 > 65536 ? (double)st->rate / 100 : 65536;

		st->credit[way] += (double)(now - st->credit_at[way]) * (double)st->rate / 1e9;
		if (st->credit[way] > most)
			st->credit[way] = most;
		st->credit_at[way] = now;
		if ((double)n > st->credit[way]) {
			n = (uint64_t)st->credit[way];
			if (now + 1000000 < *next)
				*next = now + 1000000;
		}
	}
	return n;
}

static void drop_marks(struct stream *s)
{
	while (s->n && s->mark[s->first].end <= s->out && !(s->ended && s->n == 1 && !s->shut)) {
		s->first = (s->first + 1) % MARKS;
		s->n--;
	}
}

enum sent { SENT, BLOCKED, BROKEN, CUT };

static enum sent send_some(struct state *st, struct link *l, enum way way, uint64_t n)
{
	struct stream *s = &l->s[way];

	while (n) {
		size_t at = s->out % RING, part = n < RING - at ? (size_t)n : RING - at;

		if (st->cut_at[way] - st->moved[way] < part)
			part = st->cut_at[way] - st->moved[way];
		if (st->stall_at[way] - st->moved[way] < part)
			part = st->stall_at[way] - st->moved[way];
		if (part) {
			ssize_t done = send(l->fd[way == UP ? 1 : 0], s->ring + at, part, MSG_NOSIGNAL);

			if (done < 0)
				return errno == EAGAIN || errno == EINTR ? BLOCKED : BROKEN;
			s->out += (uint64_t)done;
			n -= (uint64_t)done;
			st->moved[way] += (uint64_t)done;
			if (st->rate)
				st->credit[way] -= (double)done;
		}
		if (st->moved[way] == st->cut_at[way])
			return CUT;
		if (st->moved[way] == st->stall_at[way]) {
			st->stalled = true;
			return SENT;
		}
	}
	return SENT;
}

/* What may leave, leaves. False when the connection is no more. */
static bool serve(struct state *st, size_t i, int64_t *next)
{
	struct link *l = st->link[i];
	uint32_t events[2] = {0, 0};

	for (int way = UP; way <= DOWN && !st->stalled; way++) {
		struct stream *s = &l->s[way];
		uint64_t n = may_leave(st, s, (enum way)way, now_ns(), next);

		switch (send_some(st, l, (enum way)way, n)) {
		case SENT:
			break;
		case BLOCKED:
			events[way == UP ? 1 : 0] |= EPOLLOUT;
			break;
		case BROKEN:
			link_close(st, i, true);
			return false;
		case CUT:
			st->cut_at[UP] = st->cut_at[DOWN] = UINT64_MAX;
			close_all(st, st->cut_rst);
			return false;
		}
		if (s->ended && !s->shut && s->in == s->out && s->n &&
		        s->mark[(s->first + s->n - 1) % MARKS].due <= now_ns()) {
			(void)shutdown(l->fd[way == UP ? 1 : 0], SHUT_WR);
			s->shut = true;
		}
		drop_marks(s);
	}
	if (l->s[UP].shut && l->s[DOWN].shut) {
		link_close(st, i, false);
		return false;
	}
	for (int side = 0; side < 2; side++) {
		const struct stream *s = &l->s[side == 0 ? UP : DOWN];

		if (!st->stalled && !s->ended && s->in - s->out < RING)
			events[side] |= EPOLLIN;
		watch(st, i, side, events[side]);
	}
	return true;
}

/* --- commands --- */

static void heal(struct state *st)
{
	for (int way = UP; way <= DOWN; way++)
		st->cut_at[way] = st->stall_at[way] = UINT64_MAX;
	st->refuse = st->stalled = false;
}

static void command(struct state *st, char *line)
{
	char verb[16] = "", a[16] = "", b[32] = "", c[16] = "";
	uint64_t answer = 0;

	(void)sscanf(line, "%15s %15s %31s %15s", verb, a, b, c);
	enum way way = strcmp(a, "up") ? DOWN : UP;

	if (!strcmp(verb, "delay")) {
		st->delay_ns = strtoll(a, NULL, 10) * 1000000;
	} else if (!strcmp(verb, "rate")) {
		st->rate = strtoull(a, NULL, 10);
	} else if (!strcmp(verb, "cut")) {
		st->cut_at[way] = st->moved[way] + strtoull(b, NULL, 10);
		st->cut_rst = !strcmp(c, "rst");
	} else if (!strcmp(verb, "stall")) {
		st->stall_at[way] = st->moved[way] + strtoull(b, NULL, 10);
	} else if (!strcmp(verb, "kill")) {
		close_all(st, !strcmp(a, "rst"));
	} else if (!strcmp(verb, "refuse")) {
		st->refuse = !strcmp(a, "on");
	} else if (!strcmp(verb, "heal")) {
		heal(st);
	} else if (!strcmp(verb, "count")) {
		answer = st->served;
	} else if (!strcmp(verb, "bytes")) {
		answer = st->moved[way];
	} else {
		fprintf(stderr, "linkproxy: no command '%s'\n", verb);
		exit(2);
	}
	printf("%llu\n", (unsigned long long)answer);
	(void)fflush(stdout);
}

static void read_commands(struct state *st)
{
	ssize_t n = read(STDIN_FILENO, st->line + st->line_len, sizeof st->line - 1 - st->line_len);

	if (n <= 0)
		exit(0);
	st->line_len += (size_t)n;
	st->line[st->line_len] = '\0';
	for (char *end; (end = strchr(st->line, '\n'));) {
		*end = '\0';
		command(st, st->line);
		st->line_len -= (size_t)(end + 1 - st->line);
		memmove(st->line, end + 1, st->line_len + 1);
	}
}

static void read_signal(struct state *st)
{
	struct signalfd_siginfo info;

	if (read(st->signals, &info, sizeof info) != sizeof info)
		return;
	if (info.ssi_signo == SIGUSR2) {
		heal(st);
		return;
	}
	close_all(st, true);
	st->refuse = true;
}

/* --- the loop --- */

enum { ON_LISTENER = UINT32_MAX - 3, ON_INPUT, ON_SIGNAL };

static void on_event(struct state *st, const struct epoll_event *e)
{
	if (e->data.u64 == (uint32_t)ON_LISTENER) {
		accept_link(st);
	} else if (e->data.u64 == (uint32_t)ON_INPUT) {
		read_commands(st);
	} else if (e->data.u64 == (uint32_t)ON_SIGNAL) {
		read_signal(st);
	} else if (e->data.u64 < 2 * CONNECTIONS_MAX) {
		size_t i = (size_t)e->data.u64 / 2;
		struct link *l = st->link[i];

		if (l && !st->stalled && e->events & (EPOLLIN | EPOLLHUP | EPOLLERR) &&
		        !take_in(st, l, e->data.u64 % 2 ? DOWN : UP))
			link_close(st, i, true);
	}
}

static _Noreturn void run(struct state *st)
{
	int64_t next = NEVER;

	for (;;) {
		struct epoll_event e[64];
		int64_t wait = next == NEVER ? 0 : next - now_ns();
		struct timespec t = {wait > 0 ? wait / 1000000000 : 0, wait > 0 ? wait % 1000000000 : 0};
		int n = epoll_pwait2(st->epoll, e, 64, next == NEVER ? NULL : &t, NULL);

		if (n < 0 && errno != EINTR)
			die("epoll_pwait2");
		for (int i = 0; i < n; i++)
			on_event(st, &e[i]);
		next = NEVER;
		for (size_t i = 0; i < CONNECTIONS_MAX; i++)
			if (st->link[i])
				(void)serve(st, i, &next);
	}
}

static void add(const struct state *st, int fd, uint32_t which)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = which};

	if (epoll_ctl(st->epoll, EPOLL_CTL_ADD, fd, &e))
		die("epoll_ctl");
}

static unsigned listen_on(struct state *st, unsigned port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	socklen_t n = sizeof a;
	const int on = 1;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	st->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)setsockopt(st->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(st->listener, (struct sockaddr *)&a, sizeof a) || listen(st->listener, 64) ||
	        getsockname(st->listener, (struct sockaddr *)&a, &n))
		die("listen");
	return ntohs(a.sin_port);
}

static void set_target(struct state *st, const char *text)
{
	char host[64];
	unsigned port;

	st->target.sin_family = AF_INET;
	if (sscanf(text, "%63[0-9.]:%u", host, &port) != 2 || inet_pton(AF_INET, host, &st->target.sin_addr) != 1) {
		fprintf(stderr, "linkproxy: --target ADDRESS:PORT\n");
		exit(2);
	}
	st->target.sin_port = htons((uint16_t)port);
}

static void write_port(const char *file, unsigned port)
{
	char tmp[512];

	(void)snprintf(tmp, sizeof tmp, "%s.new", file);
	FILE *f = fopen(tmp, "we");

	if (!f || fprintf(f, "%u\n", port) < 0 || fclose(f) || rename(tmp, file))
		die(file);
}

int main(int argc, char **argv)
{
	struct state *st = calloc(1, sizeof *st);
	const char *port_file = NULL;
	unsigned port = 0;
	sigset_t wanted;

	if (!st)
		die("memory");
	heal(st);
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(argv[i], "--control")) {
			st->control = true;
			continue;
		}
		if (!strcmp(argv[i], "--target"))
			set_target(st, value);
		else if (!strcmp(argv[i], "--listen"))
			port = (unsigned)strtoul(value, NULL, 10);
		else if (!strcmp(argv[i], "--port-file"))
			port_file = value;
		else if (!strcmp(argv[i], "--delay"))
			st->delay_ns = strtoll(value, NULL, 10) * 1000000;
		else if (!strcmp(argv[i], "--rate"))
			st->rate = strtoull(value, NULL, 10);
		else
			set_target(st, "");
		i++;
	}
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGUSR1);
	sigaddset(&wanted, SIGUSR2);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	st->signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
	st->epoll = epoll_create1(EPOLL_CLOEXEC);
	port = listen_on(st, port);
	add(st, st->listener, (uint32_t)ON_LISTENER);
	add(st, st->signals, (uint32_t)ON_SIGNAL);
	if (st->control) {
		add(st, STDIN_FILENO, (uint32_t)ON_INPUT);
		printf("%u\n", port);
		(void)fflush(stdout);
	}
	if (port_file)
		write_port(port_file, port);
	run(st);
}
