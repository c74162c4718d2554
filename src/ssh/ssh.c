#include "ssh/ssh.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "ssh/ssh_impl.h"

#define ARGV_MAX ((size_t)64 << 10)

/* --- what the back ends share --- */

int64_t ssh_now_ms(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_BOOTTIME, &ts))
		BUG("clock_gettime failed");
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int ssh_poll_ms(int64_t deadline, const atomic_bool *cancel)
{
	int64_t left = MAX(deadline - ssh_now_ms(), 0);

	return (int)MIN(left, cancel ? SSH_CANCEL_POLL_MS : INT_MAX);
}

int ssh_cancelled(const struct ssh *s, struct err *err)
{
	if (!s->cancel || !atomic_load(s->cancel))
		return 0;
	return err_set(err, ERR_CANCELLED, "%s: cancelled", s->where);
}

static char *where_of(const struct ssh_config *c)
{
	char *out;

	if (asprintf(&out, "ssh to %s%s%s", c->user ? c->user : "", c->user ? "@" : "", c->host) < 0)
		BUG("out of memory");
	return out;
}

int ssh_init(struct ssh *s, const struct ssh_config *c)
{
	const int size = 1 << 20;
	int pair[2];

	s->fd = s->err_fd = -1;
	s->idle_ms = c->idle_ms > 0 ? c->idle_ms : SSH_IDLE_MS;
	s->cancel = c->cancel;
	s->where = where_of(c);
	s->known_hosts = c->known_hosts ? xstrdup(c->known_hosts) : NULL;
	pthread_mutex_init(&s->mutex, NULL);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -1;
	/* As much as the kernel gives: fewer turns between us and whoever serves the other end. */
	for (int i = 0; i < 2; i++)
		(void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	s->fd = pair[0];
	return pair[1];
}

void ssh_release(struct ssh *s)
{
	close_fd(&s->fd);
	close_fd(&s->err_fd);
	pthread_mutex_destroy(&s->mutex);
	free(s->where);
	free(s->known_hosts);
}

void ssh_tail_add(struct ssh *s, const char *p, size_t n)
{
	if (n > SSH_TAIL) {
		p += n - SSH_TAIL;
		n = SSH_TAIL;
	}
	pthread_mutex_lock(&s->mutex);
	size_t keep = MIN(s->tail_len, SSH_TAIL - n);

	memmove(s->tail, s->tail + s->tail_len - keep, keep);
	memcpy(s->tail + keep, p, n);
	s->tail_len = keep + n;
	pthread_mutex_unlock(&s->mutex);
}

int ssh_bad_host_key(const struct ssh *s, bool changed, const char *fingerprint, struct err *err)
{
	const char *file = s->known_hosts ? s->known_hosts : "known_hosts";

	(void)err_set(err, ERR_DENIED, "%s: %s%s%s", s->where,
	        changed ? "the host key is not the one that is pinned" : "no host key is pinned",
	        *fingerprint ? ", it shows " : "", fingerprint);
	if (err && changed)
		(void)err_hint(err, "find out why before you change %.120s: someone may be in between", file);
	else if (err)
		(void)err_hint(
		        err, "compare the fingerprint with its owner's, then add the key to %.90s (ssh-keyscan)", file);
	return -ERR_DENIED;
}

/* 'text' with each ' as '\'': nothing in it means anything to a shell. */
static void quote_word(struct buf *b, const char *word)
{
	buf_add(b, "'", 1);
	for (; *word; word++) {
		if (*word == '\'')
			buf_add(b, "'\\''", 4);
		else
			buf_add(b, word, 1);
	}
	buf_add(b, "'", 1);
}

char *ssh_quote(const char *const *argv)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(ARGV_MAX);

	for (size_t i = 0; argv[i]; i++) {
		if (i)
			buf_add(&b, " ", 1);
		quote_word(&b, argv[i]);
	}
	return xstrdup(buf_str(&b));
}

/* --- opening --- */

/* A name that begins with '-' would be an option of ssh, and other bytes mean something to its configuration. */
static bool name_ok(const char *name)
{
	if (!*name || *name == '-' || strlen(name) > 255)
		return false;
	for (; *name; name++)
		if ((unsigned char)*name <= ' ' || (unsigned char)*name >= 0x7f || strchr("'\"\\`$;&|<>()@", *name))
			return false;
	return true;
}

static int check_file(const char *path, const char *what, struct err *err)
{
	if (path && access(path, R_OK) < 0)
		return err_set(err, ERR_IO, "cannot read the %s %s: %s", what, path, strerror(errno));
	return 0;
}

int ssh_open(const struct ssh_config *c, struct ssh **ret, struct err *err)
{
	struct err local = ERR_INIT;
	int rc;

	*ret = NULL;
	if (!err)
		err = &local;
	BUG_ON(!c->subsystem == !c->argv);
	if (!name_ok(c->host) || (c->user && !name_ok(c->user)) || c->port > 65535)
		return err_set(
		        err, ERR_USAGE, "'%.64s' at '%.100s' is no user and host", c->user ? c->user : "", c->host);
	rc = check_file(c->identity, "SSH key", err);
	if (!rc)
		rc = check_file(c->known_hosts, "host keys", err);
	if (rc)
		return rc;
	if (c->backend != SSH_LIBSSH2) {
		rc = ssh_child_open(c, ret, err);
		/* Only when there is no such program: what it refuses, the other one is not asked for. */
		if (c->backend == SSH_CHILD || rc != -ERR_MISSING)
			return rc;
	}
	return ssh_libssh2_open(c, ret, err);
}

void ssh_free(struct ssh *s)
{
	if (s)
		s->ops->free(s);
}

void ssh_free_ptr(struct ssh **s)
{
	ssh_free(*s);
	*s = NULL;
}

/* --- bytes --- */

/* One try each way. False: a wait is needed. */
static bool try_both(struct ssh *s, struct ssh_io *io)
{
	bool ended = false;

	if (io->n_in) {
		ssize_t n = recv(s->fd, io->in, io->n_in, MSG_DONTWAIT);

		if (n > 0)
			io->ret_in = (size_t)n;
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			ended = true;
	}
	if (io->n_out && !ended) {
		ssize_t n = send(s->fd, io->out, io->n_out, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			io->ret_out = (size_t)n;
		else if (n < 0 && errno != EAGAIN && errno != EINTR && !io->ret_in)
			ended = true;
	}
	io->ended = ended;
	return ended || io->ret_in || io->ret_out;
}

int ssh_exchange(struct ssh *s, struct ssh_io *io, struct err *err)
{
	int64_t deadline = 0;

	io->ret_in = io->ret_out = 0;
	while (!try_both(s, io)) {
		short events = (short)((io->n_in ? POLLIN : 0) | (io->n_out ? POLLOUT : 0));
		struct pollfd p[2] = {{s->fd, events, 0}, {s->err_fd, POLLIN, 0}};

		if (ssh_cancelled(s, err))
			return -ERR_CANCELLED;
		if (!deadline)
			deadline = ssh_now_ms() + s->idle_ms;
		else if (ssh_now_ms() >= deadline)
			return err_set(err, ERR_UNREACHABLE, "%s: nothing moved for %lld s", s->where,
			        (long long)s->idle_ms / 1000);
		if (poll(p, ARRAY_LEN(p), ssh_poll_ms(deadline, s->cancel)) > 0 && p[1].revents)
			s->ops->drain(s);
	}
	return 0;
}

int ssh_read(struct ssh *s, void *p, size_t n, size_t *ret_n, struct err *err)
{
	struct ssh_io io = {.in = p, .n_in = n};
	int rc = ssh_exchange(s, &io, err), status;

	*ret_n = io.ret_in;
	if (rc || !io.ended)
		return rc;
	return s->ops->ended(s, SSH_EXIT_MS, &status, err);
}

int ssh_write(struct ssh *s, const void *p, size_t n, struct err *err)
{
	const char *at = p;

	while (n) {
		struct ssh_io io = {.out = at, .n_out = n};
		int rc = ssh_exchange(s, &io, err);

		if (rc)
			return rc;
		if (io.ended)
			return ssh_failed(s, err);
		at += io.ret_out;
		n -= io.ret_out;
	}
	return 0;
}

/* --- the end --- */

int ssh_end_write(struct ssh *s, struct err *err)
{
	if (shutdown(s->fd, SHUT_WR) < 0 && errno != ENOTCONN)
		return err_sys(err, ERR_UNREACHABLE, "%s: end the input", s->where);
	return 0;
}

int ssh_wait(struct ssh *s, int *ret_status, struct err *err)
{
	return s->ops->ended(s, s->idle_ms, ret_status, err);
}

int ssh_failed(struct ssh *s, struct err *err)
{
	struct err local = ERR_INIT;
	char said[160];
	int status = 0;

	if (!err)
		err = &local;
	if (s->ops->ended(s, SSH_EXIT_MS, &status, err))
		return err_rc(err);
	(void)ssh_stderr(s, said, sizeof said);
	return err_set(err, status == 127 ? ERR_MISSING : ERR_UNREACHABLE,
	        "%s: the other side ended with status %d%s%s", s->where, status, *said ? ": " : "", said);
}

int ssh_fd(const struct ssh *s)
{
	return s->fd;
}

/* The last line that says something. */
char *ssh_stderr(struct ssh *s, char *out, size_t n)
{
	char line[SSH_TAIL + 1];

	s->ops->drain(s);
	pthread_mutex_lock(&s->mutex);
	size_t end = s->tail_len, start;

	while (end && strchr("\r\n \t", s->tail[end - 1]))
		end--;
	for (start = end; start && s->tail[start - 1] != '\n';)
		start--;
	memcpy(line, s->tail + start, end - start);
	line[end - start] = '\0';
	pthread_mutex_unlock(&s->mutex);
	return log_safe(out, n, line);
}

const char *ssh_backend_name(const struct ssh *s)
{
	return s->ops->name;
}
