#include "sshd_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "sftp/sftp_store.h"

#define ARGS_MAX 32
#define WAIT_STEPS 1500 /* of 10 ms */

/* --- processes --- */

/* Ended by the kernel when the process that started it ends. */
static pid_t start(const char *const *argv, int out)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		BUG("cannot fork");
	if (pid)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	if (out >= 0 && dup2(out, STDOUT_FILENO) < 0)
		_exit(127);
	execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

static void stop(pid_t *pid)
{
	if (*pid <= 0)
		return;
	(void)kill(*pid, SIGKILL);
	while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	*pid = 0;
}

/* The pause of a poll for a condition. */
static void pause_10ms(void)
{
	(void)poll(NULL, 0, 10);
}

static pid_t parent_of(const char *pid)
{
	char path[64], line[512];
	CLEAN(close_fd) int fd = -1;
	const char *end;
	pid_t parent;

	(void)snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);

	if (n <= 0)
		return 0;
	line[n] = '\0';
	end = strrchr(line, ')'); /* the name may hold anything */
	return end && sscanf(end, ") %*c %d", &parent) == 1 ? parent : 0;
}

static void kill_children(pid_t of)
{
	DIR *d = opendir("/proc");

	for (const struct dirent *e; d && (e = readdir(d));) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9' || parent_of(e->d_name) != of)
			continue;
		(void)kill(atoi(e->d_name), SIGSTOP); /* it shall not see its children end */
		kill_children(atoi(e->d_name));
		(void)kill(atoi(e->d_name), SIGKILL);
	}
	if (d)
		closedir(d);
}

/* --- the server --- */

static unsigned read_number(const char *dir, const char *name)
{
	CLEAN(free_ptr) char *path = fs_join(dir, name);
	CLEAN(buf_release) struct buf b = BUF_INIT(64);

	return fs_read(path, &b, NULL) ? 0 : (unsigned)strtoul(buf_str(&b), NULL, 10);
}

void sshd_start(struct sshd *s, const char *dir, const char *const *config)
{
	CLEAN(free_ptr) char *own = xstrdup(dir); /* may be s->dir */
	CLEAN(free_ptr) char *pid_file = fs_join(dir, "pid");
	const char *argv[ARGS_MAX] = {"tests/lib/sshd.sh", own};
	size_t n = 2;

	dir = own;
	while (config && *config) {
		BUG_ON(n + 1 == ARGS_MAX);
		argv[n++] = *config++;
	}
	*s = (struct sshd){0};
	(void)snprintf(s->dir, sizeof s->dir, "%s", dir);
	(void)snprintf(s->user, sizeof s->user, "%s/user", dir);
	(void)snprintf(s->stranger, sizeof s->stranger, "%s/stranger", dir);
	(void)snprintf(s->known_hosts, sizeof s->known_hosts, "%s/known_hosts", dir);
	(void)unlink(pid_file);
	s->pid = start(argv, -1);
	for (int i = 0; !read_number(dir, "pid"); i++) {
		if (i == WAIT_STEPS || waitpid(s->pid, NULL, WNOHANG) != 0)
			BUG("sshd does not start: see %s/log", dir);
		pause_10ms();
	}
	s->port = read_number(dir, "port");
}

void sshd_stop(struct sshd *s)
{
	sshd_kill_sessions(s);
	stop(&s->pid);
}

void sshd_kill_sessions(const struct sshd *s)
{
	if (s->pid)
		kill_children(s->pid);
}

const char *sshd_login(void)
{
	const struct passwd *pw = getpwuid(getuid());

	return pw ? pw->pw_name : "root";
}

int sshd_store(const struct sshd *s, unsigned port, const char *place, const struct store_config *more,
        struct store **ret, struct err *err)
{
	struct store_config c = more ? *more : (struct store_config){.create = true};
	char rest[512];

	if (!c.identity)
		c.identity = s->user;
	if (!c.known_hosts)
		c.known_hosts = s->known_hosts;
	(void)snprintf(rest, sizeof rest, "%s@127.0.0.1:%u%s", sshd_login(), port ? port : s->port, place);
	return store_sftp_open(rest, &c, ret, err);
}

/* --- the proxy --- */

/* Its program lies beside the directory of the test programs. */
static void find_proxy(char *out, size_t n)
{
	char self[512];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

	BUG_ON(len <= 0);
	self[len] = '\0';
	for (int i = 0; i < 2; i++)
		*strrchr(self, '/') = '\0';
	(void)snprintf(out, n, "%.480s/linkproxy", self);
}

static void pin_proxy(struct linkproxy *p, const struct sshd *s)
{
	char port[16];
	const char *argv[] = {"tests/lib/sshd.sh", "--pin", s->dir, port, NULL};

	(void)snprintf(port, sizeof port, "%u", p->port);
	(void)snprintf(p->known_hosts, sizeof p->known_hosts, "%s/known_hosts.%u", s->dir, p->port);
	CLEAN(close_fd) int fd = open(p->known_hosts, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	pid_t pid = start(argv, fd);
	int status = -1;

	if (waitpid(pid, &status, 0) != pid || status)
		BUG("cannot pin the keys of %s", s->dir);
}

void linkproxy_start(struct linkproxy *p, const struct sshd *s, const char *const *options)
{
	char program[512], target[64], line[32] = "";
	const char *argv[ARGS_MAX] = {program, "--control", "--target", target};
	int pair[2];
	size_t n = 4;

	find_proxy(program, sizeof program);
	(void)snprintf(target, sizeof target, "127.0.0.1:%u", s->port);
	while (options && *options)
		argv[n++] = *options++;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		BUG("no socket pair");
	pid_t parent = getpid();

	p->pid = fork();
	if (p->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || dup2(pair[1], STDIN_FILENO) < 0 || dup2(pair[1], STDOUT_FILENO) < 0)
			_exit(127);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(pair[1]);
	p->control = pair[0];
	for (size_t at = 0; at < sizeof line - 1 && !strchr(line, '\n'); at++)
		if (read(p->control, line + at, 1) != 1)
			BUG("%s does not start", program);
	p->port = (unsigned)strtoul(line, NULL, 10);
	pin_proxy(p, s);
}

void linkproxy_stop(struct linkproxy *p)
{
	stop(&p->pid);
	close_fd(&p->control);
}

unsigned long long linkproxy_tell(struct linkproxy *p, const char *fmt, ...)
{
	char line[128];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof line - 1, fmt, ap);

	va_end(ap);
	line[n++] = '\n';
	if (write(p->control, line, (size_t)n) != n)
		BUG("the link proxy is gone");
	memset(line, 0, sizeof line);
	for (size_t at = 0; at < sizeof line - 1 && !strchr(line, '\n'); at++)
		if (read(p->control, line + at, 1) != 1)
			BUG("the link proxy is gone");
	return strtoull(line, NULL, 10);
}
