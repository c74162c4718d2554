#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"

#define CLEAN_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* NULL-terminated strings, owned. */
struct env {
	char **v;
	size_t n, cap;
};

static void env_release(struct env *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->v[i]);
	free(e->v);
}

/* Put "NAME=value" in place of an earlier one of that name. Takes text. */
static void env_put(struct env *e, char *text)
{
	size_t name = strcspn(text, "=");

	for (size_t i = 0; i < e->n; i++) {
		if (strncmp(e->v[i], text, name) == 0 && e->v[i][name] == '=') {
			free(e->v[i]);
			e->v[i] = text;
			return;
		}
	}
	e->v = xgrow(e->v, e->n + 1, &e->cap, sizeof *e->v);
	e->v[e->n++] = text;
	e->v[e->n] = NULL;
}

static void env_keep(struct env *e, const char *name)
{
	const char *value = secure_getenv(name);
	char *text;

	if (!value)
		return;
	if (asprintf(&text, "%s=%s", name, value) < 0)
		BUG("out of memory");
	env_put(e, text);
}

static int env_build(struct env *e, const char *const *more, struct err *err)
{
	env_put(e, xstrdup("PATH=" CLEAN_PATH));
	env_put(e, xstrdup("LANG=C.UTF-8"));
	env_keep(e, "HOME");
	env_keep(e, "TZ");
	for (; more && *more; more++) {
		if (!strchr(*more, '=') || **more == '=')
			return err_set(err, ERR_USAGE, "environment entry '%s' is not NAME=value", *more);
		env_put(e, xstrdup(*more));
	}
	return 0;
}

static const char *env_get(const struct env *e, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < e->n; i++)
		if (strncmp(e->v[i], name, n) == 0 && e->v[i][n] == '=')
			return e->v[i] + n + 1;
	return "";
}

/* The file to execute, newly allocated, or NULL. Done before fork: the lookup allocates. */
static char *find_program(const char *name, const char *path)
{
	if (strchr(name, '/'))
		return xstrdup(name);
	while (*path) {
		size_t n = strcspn(path, ":");
		CLEAN(free_ptr) char *dir = xstrndup(path, n);
		CLEAN(free_ptr) char *file = fs_join(dir, name);
		struct stat st;

		/* An empty element would mean the current directory: never. */
		if (*dir == '/' && stat(file, &st) == 0 && S_ISREG(st.st_mode) && access(file, X_OK) == 0)
			return TAKE(file);
		path += n + (path[n] == ':');
	}
	return NULL;
}

/* What the child needs, all made before fork. */
struct plan {
	const char *file, *cwd;
	char *const *argv;
	char *const *envp;
	int std[3], report;
	int max_fd;
	int (*in_child)(void *arg);
	void *arg;
};

enum stage { STAGE_SETUP, STAGE_CWD, STAGE_HOOK, STAGE_EXEC };
struct failure {
	enum stage stage;
	int sys_errno;
};

static void seal_descriptors(int max_fd)
{
	if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		return;
	for (int fd = 3; fd < max_fd; fd++) {
		int flags = fcntl(fd, F_GETFD);

		if (flags >= 0)
			(void)fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
	}
}

static void default_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			(void)signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Between fork and exec: async-signal-safe calls only. Returns the stage that failed, errno set. */
static enum stage child_run(const struct plan *p)
{
	if (setpgid(0, 0))
		return STAGE_SETUP;
	for (int i = 0; i < 3; i++)
		if (dup2(p->std[i], i) < 0)
			return STAGE_SETUP;
	seal_descriptors(p->max_fd);
	if (p->cwd && chdir(p->cwd))
		return STAGE_CWD;
	errno = 0;
	if (p->in_child && p->in_child(p->arg))
		return STAGE_HOOK;
	default_signals();
	execve(p->file, p->argv, p->envp);
	return STAGE_EXEC;
}

static _Noreturn void child(const struct plan *p)
{
	struct failure f = {child_run(p), errno};

	(void)!write(p->report, &f, sizeof f);
	_exit(127);
}

/* Descriptors 0 to 2 are about to be overwritten in the child, so none of ours may be one of them. */
static int above_std(int *fd)
{
	int high;

	if (*fd > 2)
		return 0;
	high = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
	if (high < 0)
		return -1;
	close(*fd);
	*fd = high;
	return 0;
}

static int wait_exec(int report, pid_t pid, const char *name, const struct plan *p, struct err *err)
{
	struct failure f;
	ssize_t got = fs_read_full(report, &f, sizeof f);

	if (got == 0)
		return 0;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	if (got != (ssize_t)sizeof f)
		return err_set(err, ERR_IO, "start '%s': lost its report", name);
	errno = f.sys_errno;
	switch (f.stage) {
	case STAGE_CWD:
		return err_sys(err, ERR_IO, "start '%s' in '%s'", name, p->cwd);
	case STAGE_HOOK:
		return err_sys(err, ERR_IO, "prepare '%s'", name);
	case STAGE_SETUP:
	case STAGE_EXEC:
		break;
	}
	return err_sys(err, ERR_IO, "start '%s'", name);
}

/* Signals are blocked over fork, so that no handler of ours runs in the child. */
static pid_t fork_blocked(const struct plan *p)
{
	sigset_t all, before;
	pid_t pid;
	int e;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		child(p);
	e = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = e;
	return pid;
}

static int start(struct plan *p, const char *name, pid_t *ret_pid, struct err *err)
{
	CLEAN(close_fd) int ours = -1;
	CLEAN(close_fd) int theirs = -1;
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return err_sys(err, ERR_IO, "start '%s'", name);
	ours = ends[0];
	theirs = ends[1];
	if (above_std(&theirs))
		return err_sys(err, ERR_IO, "start '%s'", name);
	p->report = theirs;
	pid = fork_blocked(p);
	if (pid < 0)
		return err_sys(err, ERR_IO, "start '%s'", name);
	close_fd(&theirs);
	/* Both sides set the group: whoever comes first, it is there before a signal can be sent to it. */
	(void)setpgid(pid, pid);
	*ret_pid = pid;
	return wait_exec(ours, pid, name, p, err);
}

static int descriptor_ceiling(void)
{
	struct rlimit r;

	return getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur > 65536 ? 65536 : (int)r.rlim_cur;
}

static void close_copies(struct plan *p)
{
	for (int i = 0; i < 3; i++)
		close_fd(&p->std[i]);
}

int spawn(const char *const *argv, const struct proc_opts *o, const int std[3], pid_t *ret_pid, struct err *err)
{
	CLEAN(env_release) struct env env = {0};
	CLEAN(free_ptr) char *file = NULL;
	CLEAN(close_copies) struct plan p = {.std = {-1, -1, -1}, .report = -1};
	int rc;

	BUG_ON(!argv[0]);
	rc = env_build(&env, o->env, err);
	if (rc)
		return rc;
	file = find_program(argv[0], env_get(&env, "PATH"));
	if (!file)
		return err_set(err, ERR_MISSING, "no program '%s' in %s", argv[0], env_get(&env, "PATH"));
	p.file = file;
	p.cwd = o->cwd;
	p.argv = (char *const *)(uintptr_t)argv; /* execve takes it so, and changes nothing */
	p.envp = env.v;
	p.in_child = o->in_child;
	p.arg = o->arg;
	p.max_fd = descriptor_ceiling();
	for (int i = 0; i < 3; i++) {
		p.std[i] = fcntl(std[i], F_DUPFD_CLOEXEC, 3);
		if (p.std[i] < 0)
			return err_sys(err, ERR_IO, "start '%s'", argv[0]);
	}
	return start(&p, argv[0], ret_pid, err);
}
