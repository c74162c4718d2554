/* The back end that runs ssh(1). Its own messages tell what went wrong: they are asked for, and read line by line. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/str.h"
#include "ssh/ssh_impl.h"

#define ARGS_MAX 96
#define STATUS_LOST 255 /* ssh's own, when it is not the command's */

struct child {
	struct ssh base;
	pthread_mutex_t end; /* of the process: a reader and a writer may both see its end */
	pid_t pid;           /* 0 once reaped */
	int status;
	pthread_mutex_t text; /* of what follows */
	char line[1024];      /* of standard error, not ended yet */
	size_t line_len;
	char fingerprint[128];
	bool entered; /* keys and user were accepted */
	bool unknown_host, changed, denied, no_subsystem, no_terms;
};

static struct child *child_of(struct ssh *s)
{
	return (struct child *)s;
}

/* --- what ssh says --- */

static bool has(const char *line, const char *part)
{
	return strstr(line, part) != NULL;
}

/* Before the session has begun, every line is ssh's own or the server's word before it was believed. */
static void note_refusal(struct child *c, const char *line)
{
	c->unknown_host |= has(line, "Host key verification failed");
	c->changed |= has(line, "REMOTE HOST IDENTIFICATION HAS CHANGED") || has(line, "REVOKED");
	c->denied |= has(line, "Permission denied (") || has(line, "Too many authentication failures");
	c->no_terms |= has(line, "Unable to negotiate");
}

static void note_debug(struct child *c, const char *line)
{
	static const char shown[] = "Server host key: ";

	if (str_starts(line, shown) && !c->entered)
		(void)snprintf(c->fingerprint, sizeof c->fingerprint, "%s", line + sizeof shown - 1);
	if (has(line, "Entering interactive session"))
		c->entered = true;
}

/* What ssh says at this level beside the debug lines, and is no reason for anything. */
static bool is_chatter(const char *line)
{
	return str_starts(line, "Authenticated to ") || str_starts(line, "OpenSSH_") ||
	       str_starts(line, "Transferred: sent ") || str_starts(line, "Bytes per second: sent ");
}

static void end_line(struct child *c)
{
	static const char debug[] = "debug1: ";

	while (c->line_len && c->line[c->line_len - 1] == '\r')
		c->line_len--;
	c->line[c->line_len] = '\0';
	if (str_starts(c->line, debug)) {
		note_debug(c, c->line + sizeof debug - 1);
	} else if (c->line_len && !is_chatter(c->line)) {
		if (!c->entered)
			note_refusal(c, c->line);
		c->no_subsystem |= has(c->line, "subsystem request failed");
		c->line[c->line_len] = '\n';
		ssh_tail_add(&c->base, c->line, c->line_len + 1);
	}
	c->line_len = 0;
}

static void take_text(struct child *c, const char *p, size_t n)
{
	for (; n; n--, p++) {
		if (*p == '\n' || c->line_len == sizeof c->line - 2)
			end_line(c);
		if (*p != '\n')
			c->line[c->line_len++] = *p ? *p : ' ';
	}
}

static void child_drain(struct ssh *s)
{
	struct child *c = child_of(s);
	char chunk[4096];
	ssize_t n;

	pthread_mutex_lock(&c->text);
	while (s->err_fd >= 0 && (n = read(s->err_fd, chunk, sizeof chunk)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		take_text(c, chunk, (size_t)n);
	}
	pthread_mutex_unlock(&c->text);
}

static int classify(struct child *c, struct err *err)
{
	struct ssh *s = &c->base;
	char said[200];

	(void)ssh_stderr(s, said, sizeof said);
	if (c->unknown_host)
		return ssh_bad_host_key(s, c->changed, c->fingerprint, err);
	if (c->denied) {
		(void)err_set(err, ERR_DENIED, "%s: the key was refused: %s", s->where, said);
		if (err)
			(void)err_hint(err, "does the account's authorized_keys hold the public half of the key?");
		return -ERR_DENIED;
	}
	if (c->no_terms || c->no_subsystem)
		return err_set(err, ERR_UNSUPPORTED, "%s: %s", s->where, said);
	return err_set(err, ERR_UNREACHABLE, "%s: %s", s->where, *said ? said : "the connection was closed");
}

/* --- the process --- */

/* Its end, within a time. False when it still runs. */
static bool reap(struct child *c, int64_t within_ms)
{
	int64_t deadline = ssh_now_ms() + within_ms;
	CLEAN(close_fd) int pidfd = c->pid ? pidfd_open(c->pid, 0) : -1;
	int status;

	while (c->pid) {
		pid_t got = waitpid(c->pid, &status, WNOHANG);

		if (got == c->pid || (got < 0 && errno != EINTR)) {
			c->status = got < 0 || WIFSIGNALED(status) ? STATUS_LOST : WEXITSTATUS(status);
			c->pid = 0;
			break;
		}
		if (ssh_now_ms() >= deadline || (c->base.cancel && atomic_load(c->base.cancel)))
			return false;
		struct pollfd p[2] = {{pidfd, POLLIN, 0}, {c->base.err_fd, POLLIN, 0}};

		if (poll(p, ARRAY_LEN(p), pidfd < 0 ? 10 : ssh_poll_ms(deadline, c->base.cancel)) > 0 &&
		        p[1].revents & POLLIN)
			child_drain(&c->base);
	}
	return true;
}

static int child_ended(struct ssh *s, int64_t within_ms, int *ret_status, struct err *err)
{
	struct child *c = child_of(s);

	*ret_status = STATUS_LOST;
	pthread_mutex_lock(&c->end);
	bool ended = reap(c, within_ms);

	pthread_mutex_unlock(&c->end);
	if (!ended)
		return ssh_cancelled(s, err)
		               ? -ERR_CANCELLED
		               : err_set(err, ERR_UNREACHABLE, "%s: the other side does not end", s->where);
	child_drain(s);
	*ret_status = c->status;
	return c->status == STATUS_LOST ? classify(c, err) : 0;
}

static void child_free(struct ssh *s)
{
	struct child *c = child_of(s);

	if (c->pid > 0) {
		(void)kill(-c->pid, SIGKILL); /* with the helpers of ProxyJump; the group lives as long as its leader */
		while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
			continue;
	}
	pthread_mutex_destroy(&c->end);
	pthread_mutex_destroy(&c->text);
	ssh_release(s);
	free(c);
}

static const struct ssh_ops child_ops = {"ssh", child_drain, child_ended, child_free};

/* --- its arguments --- */

struct args {
	const char *v[ARGS_MAX];
	char *own[ARGS_MAX];
	size_t n, n_own;
};

static void args_release(struct args *a)
{
	for (size_t i = 0; i < a->n_own; i++)
		free(a->own[i]);
}

static void arg(struct args *a, const char *text)
{
	BUG_ON(a->n + 1 >= ARGS_MAX);
	a->v[a->n++] = text;
}

static void HF_PRINTF(2, 3) argf(struct args *a, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		BUG("out of memory");
	va_end(ap);
	a->own[a->n_own++] = text;
	arg(a, text);
}

/* A file name as ssh's configuration wants it: quoted, and % is no token. */
static int file_option(struct args *a, const char *name, const char *path, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(8192);

	if (strpbrk(path, "\"\\\n"))
		return err_set(err, ERR_USAGE, "the file name '%.200s' cannot be given to ssh", path);
	for (; *path; path++)
		buf_addf(&b, "%s%c", *path == '%' ? "%" : "", *path);
	argf(a, "-o%s=\"%s\"", name, buf_str(&b));
	return 0;
}

static void fixed_options(struct args *a)
{
	static const char *const options[] = {"BatchMode=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no",
	        "VerifyHostKeyDNS=no", "CheckHostIP=no", "NoHostAuthenticationForLocalhost=no",
	        "PreferredAuthentications=publickey", "AddKeysToAgent=no", "ForwardAgent=no", "ForwardX11=no",
	        "ClearAllForwardings=yes", "Tunnel=no", "PermitLocalCommand=no", "RemoteCommand=none", "RequestTTY=no",
	        "StdinNull=no", "ForkAfterAuthentication=no", "ControlMaster=no", "ControlPath=none", "EscapeChar=none",
	        "Compression=no", "TCPKeepAlive=yes", "ConnectionAttempts=1", "ServerAliveCountMax=3",
	        "LogLevel=DEBUG1"};

	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		arg(a, "-o");
		arg(a, options[i]);
	}
	argf(a, "-oServerAliveInterval=%d", SSH_KEEPALIVE_S);
}

static int build_args(struct args *a, const struct ssh_config *c, int64_t connect_ms, struct err *err)
{
	int rc = 0;

	arg(a, "ssh");
	fixed_options(a);
	argf(a, "-oConnectTimeout=%lld", (long long)(connect_ms + 999) / 1000);
	if (c->identity && c->known_hosts) {
		arg(a, "-Fnone");
		/* Not open to prefix truncation, and the faster ones where the processor has AES. */
		arg(a, "-oCiphers=^aes128-gcm@openssh.com,aes256-gcm@openssh.com");
	}
	if (c->identity) {
		rc = file_option(a, "IdentityFile", c->identity, err);
		arg(a, "-oIdentitiesOnly=yes");
	}
	if (!rc && c->known_hosts) {
		rc = file_option(a, "UserKnownHostsFile", c->known_hosts, err);
		arg(a, "-oGlobalKnownHostsFile=none");
	}
	if (rc)
		return rc;
	if (c->port)
		argf(a, "-p%u", c->port);
	if (c->user)
		argf(a, "-l%s", c->user);
	argf(a, "-oSessionType=%s", c->subsystem ? "subsystem" : "default");
	arg(a, "--");
	arg(a, c->host);
	if (c->subsystem) {
		arg(a, c->subsystem);
	} else {
		a->own[a->n_own++] = ssh_quote(c->argv);
		arg(a, a->own[a->n_own - 1]);
	}
	a->v[a->n] = NULL;
	return 0;
}

/* --- opening --- */

/* Until the session stands or the child says that it will not. */
static int await_session(struct child *c, int64_t connect_ms, struct err *err)
{
	struct ssh *s = &c->base;
	int64_t deadline = ssh_now_ms() + connect_ms;
	int status;

	for (;;) {
		struct pollfd p[2] = {{s->fd, POLLIN, 0}, {s->err_fd, POLLIN, 0}};

		child_drain(s);
		if (c->entered)
			return 0;
		if (ssh_cancelled(s, err))
			return -ERR_CANCELLED;
		if (ssh_now_ms() >= deadline)
			return err_set(err, ERR_UNREACHABLE, "%s: no session within %lld s", s->where,
			        (long long)connect_ms / 1000);
		if (poll(p, ARRAY_LEN(p), ssh_poll_ms(deadline, s->cancel)) <= 0)
			continue;
		if (p[0].revents & POLLHUP)
			return child_ended(s, SSH_EXIT_MS, &status, err) ? err_rc(err) : classify(c, err);
		if (p[0].revents)
			return 0;
	}
}

static int start(struct child *c, const struct ssh_config *config, int64_t connect_ms, struct err *err)
{
	CLEAN(args_release) struct args a = {0};
	CLEAN(close_fd) int theirs = ssh_init(&c->base, config);
	CLEAN(close_fd) int err_w = -1;
	struct proc_opts o = {.stdin_fd = -1};
	int ends[2];

	if (theirs < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, ERR_IO, "%s: make a pipe", c->base.where);
	c->base.err_fd = ends[0];
	err_w = ends[1];
	(void)fcntl(c->base.err_fd, F_SETFL, O_NONBLOCK);
	int rc = build_args(&a, config, connect_ms, err);

	return rc ? rc : spawn(a.v, &o, (int[]){theirs, theirs, err_w}, &c->pid, err);
}

int ssh_child_open(const struct ssh_config *config, struct ssh **ret, struct err *err)
{
	struct child *c = xcalloc(1, sizeof *c);
	int64_t connect_ms = config->connect_ms > 0 ? config->connect_ms : SSH_CONNECT_MS;

	c->base.ops = &child_ops;
	pthread_mutex_init(&c->end, NULL);
	pthread_mutex_init(&c->text, NULL);
	int rc = start(c, config, connect_ms, err);

	if (rc)
		c->pid = 0;
	else
		rc = await_session(c, connect_ms, err);
	if (rc) {
		child_free(&c->base);
		return rc;
	}
	*ret = &c->base;
	return 0;
}
