#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/spawn.h"

enum {
	TERM_GRACE_MS = 2000, /* between TERM and KILL */
	DRAIN_MS = 1000,      /* for output that a background process keeps open */
	CANCEL_POLL_MS = 50,  /* how soon a flag is seen */
	REAP_POLL_MS = 20,    /* where the kernel has no pidfd */
	ERR_TAIL = 4096,
};

/* Real time always, also under a fake clock: a child is not part of the play. */
static int64_t now_ms(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_BOOTTIME, &ts))
		BUG("clock_gettime failed");
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t deadline_after(int64_t timeout_ms)
{
	int64_t at;

	if (timeout_ms <= 0 || __builtin_add_overflow(now_ms(), timeout_ms, &at))
		return INT64_MAX;
	return at;
}

static bool is_cancelled(atomic_bool *cancel)
{
	return cancel && atomic_load(cancel);
}

/* Milliseconds for poll until the deadline, not longer than a flag may go unseen. */
static int poll_time(int64_t deadline, int64_t longest)
{
	int64_t left = deadline == INT64_MAX ? INT64_MAX : MAX(deadline - now_ms(), 0);

	left = MIN(left, longest);
	return left == INT64_MAX ? -1 : (int)MIN(left, INT_MAX);
}

/* The last `keep` bytes that came down a pipe. The buffer holds twice that, so that bytes move rarely. */
struct tail {
	struct buf *b;
	size_t keep;
	uint64_t *dropped;
};

static void tail_trim(struct tail *t)
{
	size_t over = t->b->len > t->keep ? t->b->len - t->keep : 0;

	if (!over)
		return;
	memmove(t->b->p, t->b->p + over, t->keep);
	t->b->len = t->keep;
	if (t->dropped)
		*t->dropped += over;
}

static void tail_add(struct tail *t, const unsigned char *p, size_t n)
{
	t->b->limit = 2 * t->keep + n;
	buf_add(t->b, p, n);
	if (t->b->len > 2 * t->keep)
		tail_trim(t);
	t->b->limit = t->keep;
}

/* One read of a pipe that poll reported; closes it at its end. False when nothing was there. */
static bool pump(int *fd, struct tail *t)
{
	unsigned char chunk[16384];
	ssize_t got = read(*fd, chunk, sizeof chunk);

	if (got > 0) {
		tail_add(t, chunk, (size_t)got);
		return true;
	}
	if (got == 0 || (errno != EINTR && errno != EAGAIN))
		close_fd(fd);
	return false;
}

/* A child on its way to its end, and what is still read from it meanwhile. */
struct watch {
	pid_t pid;
	int pidfd; /* -1: kernel without */
	int fds[2];
	struct tail tails[2];
	int64_t deadline;
	atomic_bool *cancel;
	bool exited, timed_out, cancelled, asked, forced;
};

static void signal_group(pid_t pid, int sig)
{
	(void)kill(-pid, sig);
}

/* Left as a zombie until the very end: so its group id cannot be given to others while we may still signal it. */
static void look_for_exit(struct watch *w)
{
	siginfo_t info = {0};

	if (w->exited)
		return;
	if (waitid(P_PID, (id_t)w->pid, &info, WEXITED | WNOHANG | WNOWAIT) && errno != EINTR)
		w->exited = true;
	else if (info.si_pid == w->pid)
		w->exited = true;
	if (w->exited && !w->asked)
		w->deadline = MIN(w->deadline, deadline_after(DRAIN_MS));
}

/* Past the deadline, or cancelled. TERM, then KILL; true when there is nothing left to wait for. */
static bool expire(struct watch *w)
{
	bool late = now_ms() >= w->deadline;

	if (w->exited && late && !w->asked)
		return true;
	if (!w->asked && (late || is_cancelled(w->cancel))) {
		w->asked = true;
		w->timed_out = late;
		w->cancelled = !late;
		signal_group(w->pid, SIGTERM);
		signal_group(w->pid, SIGCONT);
		w->deadline = deadline_after(TERM_GRACE_MS);
		return false;
	}
	if (w->asked && !w->forced && late) {
		w->forced = true;
		signal_group(w->pid, SIGKILL);
		w->deadline = deadline_after(DRAIN_MS);
		return false;
	}
	return w->forced && w->exited && late;
}

static void watch_poll(struct watch *w)
{
	struct pollfd p[3] = {
	        {w->fds[0], POLLIN, 0},
	        {w->fds[1], POLLIN, 0},
	        {w->exited ? -1 : w->pidfd, POLLIN, 0},
	};
	int64_t longest = w->cancel && !w->asked ? CANCEL_POLL_MS : INT64_MAX;
	int64_t deadline = w->deadline;

	if (!w->exited && w->pidfd < 0)
		longest = REAP_POLL_MS;
	/* After KILL only the exit is awaited, however long the kernel takes over it. */
	if (w->forced && !w->exited && now_ms() >= deadline)
		deadline = INT64_MAX;
	if (poll(p, ARRAY_LEN(p), poll_time(deadline, longest)) <= 0)
		return;
	for (size_t i = 0; i < 2; i++)
		if (p[i].revents)
			(void)pump(&w->fds[i], &w->tails[i]);
}

/* To the end of the child and of its output, then reap it. */
static int watch_end(struct watch *w, int *ret_status, struct err *err)
{
	int status, rc;

	w->pidfd = pidfd_open(w->pid, 0);
	for (;;) {
		look_for_exit(w);
		if (w->exited && w->fds[0] < 0 && w->fds[1] < 0)
			break;
		if (expire(w))
			break;
		watch_poll(w);
	}
	/* What is left of a group that had to be told to end does not outlive it. */
	if (w->asked)
		signal_group(w->pid, SIGKILL);
	close_fd(&w->pidfd);
	close_fd(&w->fds[0]);
	close_fd(&w->fds[1]);
	while ((rc = waitpid(w->pid, &status, 0)) < 0 && errno == EINTR)
		continue;
	if (rc < 0)
		return err_sys(err, ERR_IO, "wait for process %d", (int)w->pid);
	*ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return 0;
}

static int make_pipe(int *ret_read, int *ret_write, struct err *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return err_sys(err, ERR_IO, "make a pipe");
	*ret_read = ends[0];
	*ret_write = ends[1];
	return 0;
}

static int open_null(int *ret_fd, struct err *err)
{
	*ret_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return *ret_fd < 0 ? err_sys(err, ERR_IO, "open '/dev/null'") : 0;
}

void proc_result_init(struct proc_result *r, size_t keep)
{
	BUG_ON(keep > SIZE_MAX / 4);
	*r = (struct proc_result){.status = -1};
	buf_init(&r->out, keep);
	buf_init(&r->err, keep);
}

void proc_result_release(struct proc_result *r)
{
	buf_release(&r->out);
	buf_release(&r->err);
}

static void result_reset(struct proc_result *r)
{
	r->status = -1;
	r->timed_out = r->cancelled = false;
	r->elapsed_ms = 0;
	r->out_dropped = r->err_dropped = 0;
	buf_clear(&r->out);
	buf_clear(&r->err);
}

int proc_run(const char *const *argv, const struct proc_opts *o, struct proc_result *r, struct err *err)
{
	CLEAN(close_fd) int null = -1;
	CLEAN(close_fd) int out_w = -1;
	CLEAN(close_fd) int err_w = -1;
	CLEAN(close_fd) int out_r = -1;
	CLEAN(close_fd) int err_r = -1;
	int64_t started = now_ms();
	struct watch w = {.deadline = deadline_after(o->timeout_ms), .cancel = o->cancel};
	int rc;

	result_reset(r);
	if ((rc = open_null(&null, err)) || (rc = make_pipe(&out_r, &out_w, err)) ||
	        (rc = make_pipe(&err_r, &err_w, err)))
		return rc;
	rc = spawn(argv, o, (int[]){o->stdin_fd >= 0 ? o->stdin_fd : null, out_w, err_w}, &w.pid, err);
	if (rc)
		return rc;
	close_fd(&out_w);
	close_fd(&err_w);
	w.fds[0] = out_r;
	w.fds[1] = err_r;
	out_r = err_r = -1;
	w.tails[0] = (struct tail){&r->out, r->out.limit, &r->out_dropped};
	w.tails[1] = (struct tail){&r->err, r->err.limit, &r->err_dropped};
	rc = watch_end(&w, &r->status, err);
	tail_trim(&w.tails[0]);
	tail_trim(&w.tails[1]);
	r->timed_out = w.timed_out;
	r->cancelled = w.cancelled;
	r->elapsed_ms = now_ms() - started;
	return rc ? (err ? err_wrap(err, "run '%s'", argv[0]) : rc) : 0;
}

int proc_open(const char *const *argv, const struct proc_opts *o, enum proc_dir dir, struct proc *ret, struct err *err)
{
	CLEAN(close_fd) int null = -1;
	CLEAN(close_fd) int their_end = -1;
	CLEAN(close_fd) int err_w = -1;
	int std[3], rc;

	*ret = (struct proc)PROC_INIT;
	buf_init(&ret->err_tail, ERR_TAIL);
	ret->deadline_ms = deadline_after(o->timeout_ms);
	ret->cancel = o->cancel;
	rc = open_null(&null, err);
	if (!rc)
		rc = dir == PROC_READ ? make_pipe(&ret->fd, &their_end, err) : make_pipe(&their_end, &ret->fd, err);
	if (!rc)
		rc = make_pipe(&ret->err_fd, &err_w, err);
	if (rc)
		return rc;
	std[0] = dir == PROC_WRITE ? their_end : o->stdin_fd >= 0 ? o->stdin_fd : null;
	std[1] = dir == PROC_READ ? their_end : null;
	std[2] = err_w;
	(void)fcntl(ret->err_fd, F_SETFL, O_NONBLOCK);
	rc = spawn(argv, o, std, &ret->pid, err);
	if (rc)
		ret->pid = 0;
	return rc;
}

static struct tail err_tail(struct proc *p)
{
	return (struct tail){&p->err_tail, ERR_TAIL, NULL};
}

void proc_poll_stderr(struct proc *p)
{
	struct tail t = err_tail(p);

	while (p->err_fd >= 0 && pump(&p->err_fd, &t))
		continue;
	tail_trim(&t);
}

/* Until fd is ready for `events`; standard error is drained on the way. -1 with errno. */
static int await(struct proc *p, short events)
{
	for (;;) {
		struct pollfd f[2] = {{p->fd, events, 0}, {p->err_fd, POLLIN, 0}};
		int n;

		if (is_cancelled(p->cancel) || now_ms() >= p->deadline_ms) {
			errno = is_cancelled(p->cancel) ? ECANCELED : ETIMEDOUT;
			return -1;
		}
		n = poll(f, ARRAY_LEN(f), poll_time(p->deadline_ms, p->cancel ? CANCEL_POLL_MS : INT64_MAX));
		if (n < 0 && errno != EINTR)
			return -1;
		if (n <= 0)
			continue;
		if (f[1].revents)
			proc_poll_stderr(p);
		if (f[0].revents)
			return 0;
	}
}

ssize_t proc_read(struct proc *p, void *to, size_t n)
{
	ssize_t got;

	do {
		if (await(p, POLLIN))
			return -1;
		got = read(p->fd, to, n);
	} while (got < 0 && errno == EINTR);
	return got;
}

ssize_t proc_write(struct proc *p, const void *from, size_t n)
{
	ssize_t done;

	/* A pipe that polls writable takes this much without blocking. */
	n = MIN(n, (size_t)PIPE_BUF);
	do {
		if (await(p, POLLOUT))
			return -1;
		done = write(p->fd, from, n);
	} while (done < 0 && errno == EINTR);
	return done;
}

int proc_close(struct proc *p, int64_t timeout_ms, int *ret_status, struct err *err)
{
	struct watch w = {.pid = p->pid, .deadline = deadline_after(timeout_ms), .cancel = p->cancel};
	int rc;

	*ret_status = -1;
	close_fd(&p->fd);
	if (!p->pid)
		return err_set(err, ERR_INTERNAL, "no process to wait for");
	w.fds[0] = -1;
	w.fds[1] = p->err_fd;
	w.tails[1] = err_tail(p);
	p->err_fd = -1;
	p->pid = 0;
	rc = watch_end(&w, ret_status, err);
	tail_trim(&w.tails[1]);
	return rc;
}

void proc_release(struct proc *p)
{
	close_fd(&p->fd);
	close_fd(&p->err_fd);
	if (p->pid > 0) {
		signal_group(p->pid, SIGKILL);
		while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
			continue;
		p->pid = 0;
	}
	buf_release(&p->err_tail);
}
