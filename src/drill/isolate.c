#include "drill/isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define NPROC_MAX 4096

unsigned isolate_of(const struct plan_list *words)
{
	static const struct {
		const char *word;
		enum isolate bit;
	} bits[] = {{"mount", ISOLATE_MOUNT}, {"net", ISOLATE_NET}, {"pid", ISOLATE_PID}, {"ipc", ISOLATE_IPC}};
	unsigned want = 0;
	for (size_t i = 0; words && i < words->n; i++)
		for (size_t k = 0; k < ARRAY_LEN(bits); k++)
			if (str_eq(words->v[i], bits[k].word))
				want |= bits[k].bit;
	return want ? want : ISOLATE_ALL;
}

static int clone_flags(unsigned want)
{
	return (want & ISOLATE_MOUNT ? CLONE_NEWNS : 0) | (want & ISOLATE_NET ? CLONE_NEWNET : 0) |
	       (want & ISOLATE_PID ? CLONE_NEWPID : 0) | (want & ISOLATE_IPC ? CLONE_NEWIPC : 0);
}

static int write_proc(const char *path, const char *text)
{
	CLEAN(close_fd) int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -1 : fs_write_full(fd, text, strlen(text));
}

/* The user keeps its number: files it makes are its own, and what it executes has no capability. */
static int enter_user_namespace(int flags)
{
	char map[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();
	if (unshare(CLONE_NEWUSER | flags))
		return -1;
	/* files of /proc/self belong to root as long as the process is not dumpable */
	if (prctl(PR_SET_DUMPABLE, 1))
		return -1;
	snprintf(map, sizeof map, "%u %u 1", uid, uid);
	if (write_proc("/proc/self/setgroups", "deny") || write_proc("/proc/self/uid_map", map))
		return -1;
	snprintf(map, sizeof map, "%u %u 1", gid, gid);
	return write_proc("/proc/self/gid_map", map);
}

static void enter_namespaces(struct isolated_self *self, unsigned want)
{
	int flags = clone_flags(want);
	self->how = "none";
	if (!unshare(flags)) {
		self->how = "namespaces";
	} else if (!enter_user_namespace(flags)) {
		self->how = "user-namespace";
		self->user = true;
	} else {
		(void)err_sys(&self->why, ERR_DENIED, "the system refuses namespaces");
		return;
	}
	self->have = want;
}

static int loopback_up(void)
{
	CLEAN(close_fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {.ifr_flags = IFF_UP | IFF_RUNNING};
	memcpy(r.ifr_name, "lo", 3);
	return fd < 0 ? -1 : ioctl(fd, SIOCSIFFLAGS, &r);
}

/* A byte asks to stop; the end of the pipe means that the caller is gone, and everything here with it. */
struct control {
	int fd;
	struct isolated_self *self;
};

static void *watch_control(void *arg)
{
	struct control *c = arg;
	char byte;
	for (;;) {
		ssize_t n = read(c->fd, &byte, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(1);
		atomic_store(&c->self->cancel, true);
	}
	return NULL;
}

struct start {
	const struct isolated_start *o;
	int report, control, stores;
};

static _Noreturn void first_process(struct isolated_self *self, const struct start *s)
{
	pthread_t thread;
	struct control c = {.fd = s->control, .self = self};
	mem_no_dumps();
	if (self->have & ISOLATE_MOUNT && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		(void)err_sys(&self->why, ERR_IO, "the mounts cannot be made private");
		self->have &= ~(unsigned)ISOLATE_MOUNT;
	}
	if (self->have & ISOLATE_NET && loopback_up() && !self->why.code)
		(void)err_sys(&self->why, ERR_IO, "the loopback interface cannot be brought up");
	if (pthread_create(&thread, NULL, watch_control, &c))
		_exit(1);
	s->o->run(self, s->o->arg);
	_exit(0);
}

/* Without a pid namespace, what was left running was handed to us when its parent ended. */
static void end_orphans(void)
{
	char path[64], text[4096];
	snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	for (int round = 0; round < 1000; round++) {
		CLEAN(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : fs_read_full(fd, text, sizeof text - 1);
		if (n <= 0)
			return;
		text[n] = 0;
		for (char *at = text, *end; *at; at = end + (*end == ' ')) {
			long pid = strtol(at, &end, 10);
			if (end == at)
				break;
			if (pid > 1)
				(void)kill((pid_t)pid, SIGKILL);
		}
		(void)waitpid(-1, NULL, 0);
	}
}

/* Between the caller and the first process: a pid namespace is entered by the next fork only. */
static _Noreturn void holder(const struct start *s)
{
	struct isolated_self self = {.report = s->report, .stores = s->stores};
	int status = 0;
	static const int stop[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
	for (size_t i = 0; i < ARRAY_LEN(stop); i++) /* the caller decides when to stop, and says so */
		(void)signal(stop[i], SIG_IGN);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	enter_namespaces(&self, s->o->want);
	pid_t pid = fork();
	if (pid == 0)
		first_process(&self, s);
	close(s->report);
	close(s->control);
	close_fd(&self.stores);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	end_orphans();
	if (pid < 0)
		_exit(1);
	_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

/* Of the caller's descriptors only the two pipes go along, and a way to stores: no store, lock or log is open in there. */
static void keep_only(struct start *s)
{
	int null = open("/dev/null", O_RDWR);
	int report = fcntl(s->report, F_DUPFD, 10), control = fcntl(s->control, F_DUPFD, 10);
	int stores = s->o->stores < 0 ? -1 : fcntl(s->o->stores, F_DUPFD, 10);
	if (null < 0 || report < 0 || control < 0 || dup2(null, 0) < 0 || dup3(report, 3, O_CLOEXEC) < 0 ||
	        dup3(control, 4, O_CLOEXEC) < 0 || (s->o->stores >= 0 && dup3(stores, 5, O_CLOEXEC) < 0))
		_exit(1);
	unsigned first = s->o->stores >= 0 ? 6 : 5;
	if (close_range(first, ~0U, 0))
		for (int fd = (int)first; fd < 4096; fd++)
			close(fd);
	s->report = 3;
	s->control = 4;
	s->stores = s->o->stores >= 0 ? 5 : -1;
}

int isolated_start(const struct isolated_start *o, struct isolated *ret, struct err *err)
{
	int report[2], control[2];
	struct start s = {.o = o};
	*ret = (struct isolated)ISOLATED_INIT;
	if (pipe2(report, O_CLOEXEC))
		return err_sys(err, ERR_IO, "make a pipe");
	if (pipe2(control, O_CLOEXEC)) {
		close(report[0]);
		close(report[1]);
		return err_sys(err, ERR_IO, "make a pipe");
	}
	fflush(stdout);
	ret->pid = fork();
	if (ret->pid == 0) {
		log_to(NULL); /* a sink of the caller's has lost its threads */
		s.report = report[1];
		s.control = control[0];
		keep_only(&s);
		holder(&s);
	}
	int rc = ret->pid < 0 ? err_sys(err, ERR_IO, "start the recovery process") : 0;
	close(report[1]);
	close(control[0]);
	ret->report = report[0];
	ret->control = control[1];
	return rc;
}

void isolated_cancel(struct isolated *p)
{
	if (p->control >= 0 && write(p->control, "c", 1) != 1)
		close_fd(&p->control);
}

static bool ends_within(pid_t pid, int64_t ms)
{
	CLEAN(close_fd) int fd = pidfd_open(pid, 0);
	struct pollfd f = {.fd = fd, .events = POLLIN};
	return fd >= 0 && poll(&f, 1, (int)MIN(ms, 3600000)) > 0;
}

int isolated_end(struct isolated *p, int64_t grace_ms)
{
	int status = -1, rc = -1;
	close_fd(&p->report);
	if (p->pid > 0 && !ends_within(p->pid, grace_ms))
		close_fd(&p->control); /* which ends it at once */
	if (p->pid > 0) {
		while ((rc = waitpid(p->pid, &status, 0)) < 0 && errno == EINTR)
			continue;
		p->pid = 0;
	}
	close_fd(&p->control);
	return rc < 0 ? -1 : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* --- for steps --- */

int isolate_step(void *unused)
{
	/* with these, root in a namespace is root outside */
	static const int dropped[] = {CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT,
	        CAP_SYS_TIME, CAP_MKNOD, CAP_SYSLOG, CAP_BPF, CAP_PERFMON, CAP_CHECKPOINT_RESTORE, CAP_MAC_ADMIN,
	        CAP_MAC_OVERRIDE, CAP_AUDIT_CONTROL, CAP_DAC_READ_SEARCH, CAP_SYS_PACCT, CAP_SYS_TTY_CONFIG,
	        CAP_WAKE_ALARM, CAP_BLOCK_SUSPEND};
	struct rlimit core = {0, 0}, nproc;
	(void)unused;
	for (size_t i = 0; i < ARRAY_LEN(dropped); i++)
		(void)prctl(PR_CAPBSET_DROP, dropped[i], 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (setrlimit(RLIMIT_CORE, &core))
		return -1;
	if (getrlimit(RLIMIT_NPROC, &nproc) == 0 && nproc.rlim_cur > NPROC_MAX) {
		nproc.rlim_cur = NPROC_MAX;
		(void)setrlimit(RLIMIT_NPROC, &nproc);
	}
	return 0;
}
