#include "agent/agent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/str.h"
#include "ssh/ssh.h"

#define LEAVE_MS 10000 /* for a child to end once it was told good-bye */
#define TAIL 600
#define ARGS_MAX 16

struct agent {
	char *name, *install;
	struct wire *wire;
	struct ssh *ssh;  /* over SSH */
	pid_t pid;        /* a child: 0 none */
	int fd, said;     /* a child: the stream, and a file with what it says on standard error */
	struct wire_access rights[AGENT_RELAYS];
};

const char *agent_name(const struct agent *a)
{
	return a->name;
}

/* --- where --- */

static bool copy_part(char *out, size_t cap, const char *p, size_t n)
{
	if (!n || n >= cap)
		return false;
	memcpy(out, p, n);
	out[n] = 0;
	return true;
}

bool agent_host_parse(const char *url, struct agent_host *ret)
{
	*ret = (struct agent_host){0};
	if (!url || !str_starts(url, "ssh://"))
		return false;
	const char *at = url + strlen("ssh://"), *user = strchr(at, '@');
	if (user && !copy_part(ret->user, sizeof ret->user, at, (size_t)(user - at)))
		return false;
	ret->has_user = user != NULL;
	at = user ? user + 1 : at;
	bool bracket = *at == '[';
	at += bracket;
	const char *end = at + strcspn(at, bracket ? "]" : ":");
	if (!copy_part(ret->host, sizeof ret->host, at, (size_t)(end - at)) || (bracket && *end++ != ']'))
		return false;
	if (!*end)
		return true;
	char *rest;
	unsigned long port = *end == ':' ? strtoul(end + 1, &rest, 10) : 0;
	if (!port || port > 65535 || *rest)
		return false;
	ret->port = (unsigned)port;
	return true;
}

/* The file beside the running program, or the bare name where that cannot be told. */
static char *beside(const char *program)
{
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	if (n <= 0)
		return xstrdup(program);
	exe[n] = 0;
	char *slash = strrchr(exe, '/');
	if (!slash)
		return xstrdup(program);
	*slash = 0;
	return fs_join(exe, program);
}

/* The command that brings the program to where it was missed. */
static char *install_command(const struct agent_config *c, const struct agent_host *h)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(8192);
	CLEAN(free_ptr) char *file = beside(c->program);
	if (str_eq(c->host, "local"))
		buf_addf(&b, "put %s into the directory of this program", c->program);
	else if (h->port)
		buf_addf(&b, "scp -P %u %s %s%s%s:/usr/local/bin/", h->port, file, h->user, h->has_user ? "@" : "", h->host);
	else
		buf_addf(&b, "scp %s %s%s%s:/usr/local/bin/", file, h->user, h->has_user ? "@" : "", h->host);
	return xstrdup(buf_str(&b));
}

/* --- starting --- */

static void add_args(const char *argv[ARGS_MAX + 1], const struct agent_config *c)
{
	size_t n = 0;
	while (argv[n])
		n++;
	for (size_t i = 0; c->args && c->args[i]; i++) {
		BUG_ON(n >= ARGS_MAX);
		argv[n++] = c->args[i];
	}
	argv[n] = NULL;
}

static int start_child(struct agent *a, const struct agent_config *c, struct err *err)
{
	CLEAN(free_ptr) char *file = c->path ? xstrdup(c->path) : beside(c->program);
	const char *argv[ARGS_MAX + 1] = {file, c->root ? "--root" : NULL, c->root, NULL};
	const struct proc_opts o = {.stdin_fd = -1};
	int pair[2];
	add_args(argv, c);
	a->said = memfd_create("said", MFD_CLOEXEC);
	if (a->said < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return err_sys(err, ERR_IO, "start %s", c->program);
	const int std[3] = {pair[1], pair[1], a->said};
	a->fd = pair[0];
	int rc = spawn(argv, &o, std, &a->pid, err);
	close(pair[1]);
	return rc == -ERR_MISSING ? err_hint(err, "%s", a->install) : rc;
}

static int start_ssh(struct agent *a, const struct agent_config *c, const struct agent_host *h, struct err *err)
{
	const char *argv[ARGS_MAX + 1] = {c->program, NULL};
	add_args(argv, c);
	const struct ssh_config sc = {
	        .host = h->host,
	        .user = h->has_user ? h->user : NULL,
	        .port = h->port,
	        .identity = c->identity,
	        .known_hosts = c->known_hosts,
	        .argv = argv,
	        .cancel = c->cancel,
	};
	int rc = ssh_open(&sc, &a->ssh, err);
	return rc == -ERR_MISSING ? err_hint(err, "%s", a->install) : rc;
}

/* What the other side said last on standard error, in one line; "" for nothing. */
static void last_words(struct agent *a, char text[TAIL + 1])
{
	text[0] = 0;
	if (a->ssh) {
		(void)ssh_stderr(a->ssh, text, TAIL + 1);
	} else if (a->said >= 0) {
		off_t end = lseek(a->said, 0, SEEK_END);
		ssize_t n = pread(a->said, text, TAIL, end > TAIL ? end - TAIL : 0);
		text[n > 0 ? n : 0] = 0;
	}
	size_t n = strlen(text);
	while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		text[--n] = 0;
	char *nl = strrchr(text, '\n');
	if (nl)
		memmove(text, nl + 1, strlen(nl + 1) + 1);
}

/* A greeting that did not come may have its reason in the transport: no such program, a host key, no route. */
static int not_greeted(struct agent *a, struct err *err)
{
	struct err why = ERR_INIT;
	char words[TAIL + 1], safe[TAIL + 1];
	if (err->code != ERR_UNREACHABLE)
		return err_rc(err);
	if (a->ssh)
		(void)ssh_failed(a->ssh, &why);
	if (why.code == ERR_MISSING || why.code == ERR_DENIED) {
		*err = why;
		return why.code == ERR_MISSING ? err_hint(err, "%s", a->install) : err_rc(err);
	}
	last_words(a, words);
	if (*words)
		(void)err_set(err, ERR_UNREACHABLE, "%s does not answer: %.200s", a->name, log_safe(safe, sizeof safe, words));
	return *words ? err_hint(err, "%s", a->install) : err_rc(err);
}

static int greet(struct agent *a, const struct agent_config *c, struct err *err)
{
	const struct wire_opts o = {.name = a->name, .role = "controller", .install = a->install, .cancel = c->cancel};
	int fd = a->ssh ? ssh_fd(a->ssh) : a->fd;
	if (wire_new(fd, fd, &o, &a->wire, err))
		return not_greeted(a, err);
	const char *role = wire_peer_role(a->wire);
	size_t n = strlen(c->program);
	if (str_starts(role, c->program) && (!role[n] || role[n] == ' '))
		return 0;
	(void)err_set(err, ERR_UNSUPPORTED, "%s answers as '%.60s'", a->name, wire_peer_role(a->wire));
	return err_hint(err, "the key's command= at that host must be %s", c->program);
}

int agent_start(const struct agent_config *c, struct agent **ret, struct err *err)
{
	struct agent_host h = {0};
	bool local = str_eq(c->host, "local");
	if (!local && !agent_host_parse(c->host, &h))
		return err_set(err, ERR_USAGE, "'%s' is no host: local, or ssh://user@host[:port]", c->host);
	CLEAN(agent_end_ptr) struct agent *a = xcalloc(1, sizeof *a);
	a->fd = a->said = -1;
	if (asprintf(&a->name, "%s at %s", c->program, c->host) < 0)
		BUG("out of memory");
	a->install = install_command(c, &h);
	int rc = local ? start_child(a, c, err) : start_ssh(a, c, &h, err);
	if (!rc)
		rc = greet(a, c, err);
	if (rc)
		return rc;
	*ret = TAKE(a);
	return 0;
}

static void end_child(struct agent *a)
{
	CLEAN(close_fd) int pidfd = pidfd_open(a->pid, 0);
	struct pollfd f = {.fd = pidfd, .events = POLLIN};
	if (pidfd < 0 || poll(&f, 1, LEAVE_MS) <= 0)
		(void)kill(-a->pid, SIGKILL);
	while (waitpid(a->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
}

void agent_end(struct agent *a)
{
	if (!a)
		return;
	wire_free(a->wire);
	ssh_free(a->ssh);
	close_fd(&a->fd);
	if (a->pid)
		end_child(a);
	close_fd(&a->said);
	free(a->name);
	free(a->install);
	free(a);
}

void agent_end_ptr(struct agent **a)
{
	agent_end(*a);
	*a = NULL;
}

/* --- work --- */

struct wire *agent_wire(struct agent *a)
{
	return a->wire;
}

void agent_relay(struct agent *a, unsigned number, struct store *site, const struct wire_access *rights)
{
	BUG_ON(number >= AGENT_RELAYS);
	a->rights[number] = *rights;
	wire_serve_store(a->wire, number,
	        &(struct wire_served){.store = site, .allow = wire_access_allow, .arg = &a->rights[number]});
}

int agent_run(struct agent *a, const char *kind, const json_t *doc, const struct wire_job_events *ev, const atomic_bool *cancel,
        json_t **ret, struct err *err)
{
	struct err why = ERR_INIT;
	char words[TAIL + 1], safe[TAIL + 1];
	int rc = wire_job_run(a->wire, kind, doc, ev, cancel, ret, err);
	if (!rc || !wire_dead(a->wire, &why) || err->code == ERR_CANCELLED)
		return rc;
	last_words(a, words);
	if (!*words)
		return err_set(err, ERR_FAILED, "%s ended before its work did: %.200s", a->name, why.msg);
	return err_set(err, ERR_FAILED, "%s ended before its work did; its last words: %.200s", a->name,
	        log_safe(safe, sizeof safe, words));
}
