/*
 * Child processes: argument vectors, never shells; a clean environment (PATH, HOME, LANG=C.UTF-8, TZ and what the
 * caller adds); standard input from /dev/null unless given; a process group of its own, ended (TERM, then KILL after
 * two seconds) when the timeout expires or the caller cancels. Output kept is bounded; the rest is counted and dropped.
 */
#ifndef BASE_PROC_H
#define BASE_PROC_H

#include <stdatomic.h>
#include <sys/types.h>
#include "base/buf.h"

struct proc_opts {
	const char *const *env; /* NULL-terminated "NAME=value" to add, or NULL; one given here replaces ours */
	const char *cwd;        /* NULL: caller's */
	int stdin_fd;           /* -1: /dev/null */
	int64_t timeout_ms;     /* 0: none */
	atomic_bool *cancel;    /* polled, may be NULL */
	/*
	 * Called between fork and exec (async-signal-safe work only), may be NULL; not 0 stops with errno as the
	 * reason. Every descriptor above 2 is close-on-exec by then; one that the program shall have is cleared of it
	 * here.
	 */
	int (*in_child)(void *arg);
	void *arg;
};
struct proc_result {
	int status; /* exit status, or 128 + signal */
	bool timed_out, cancelled;
	int64_t elapsed_ms;
	struct buf out, err;               /* last bytes kept of each, ceiling set by proc_result_init */
	uint64_t out_dropped, err_dropped; /* bytes before those */
};
/* Prepare r to keep the last `keep` bytes of each output; a result may be used for several runs. */
void proc_result_init(struct proc_result *r, size_t keep);
void proc_result_release(struct proc_result *r);
/*
 * Run to the end. 0 when the program was started and reaped, whatever its status. When it cannot be started:
 * ERR_MISSING (no such program or cwd), ERR_DENIED or ERR_IO, naming argv[0]. A name without '/' is looked up in the
 * PATH of the child. A background process that keeps the output open is waited for at most a second after the program's
 * own end.
 */
int proc_run(const char *const *argv, const struct proc_opts *o, struct proc_result *r, struct err *err) HF_NODISCARD;

/* A running child whose standard output (or input) the caller reads (or writes). */
struct proc {
	pid_t pid; /* 0 when none */
	int fd;    /* our end of the pipe, -1 when closed; blocking */
	int err_fd;
	struct buf err_tail; /* last 4 KiB of its standard error; freed by proc_release */
	int64_t deadline_ms;
	atomic_bool *cancel;
};
#define PROC_INIT                                                                                                      \
	{                                                                                                              \
		.fd = -1, .err_fd = -1                                                                                 \
	}
/* PROC_READ: fd is its standard output. PROC_WRITE: fd is its standard input; its output goes to /dev/null. */
enum proc_dir { PROC_READ, PROC_WRITE };
/* Start; ret is set up in every case and always goes to proc_release. Errors as proc_run. */
int proc_open(const char *const *argv, const struct proc_opts *o, enum proc_dir dir, struct proc *ret, struct err *err)
        HF_NODISCARD;
/*
 * As read(2) and write(2) on fd, but standard error is drained meanwhile, so a talkative child cannot block us; -1 with
 * errno ETIMEDOUT or ECANCELED past timeout_ms and on cancel of the options. SIGPIPE must be ignored by the process.
 */
ssize_t proc_read(struct proc *p, void *to, size_t n) HF_NODISCARD;
ssize_t proc_write(struct proc *p, const void *from, size_t n) HF_NODISCARD;
/* Drain standard error without blocking; for those who read fd themselves, now and then on long reads. */
void proc_poll_stderr(struct proc *p);
/*
 * Close the pipe, wait (bounded by timeout_ms, 0: forever; also ended by the cancel flag), end the group if need be;
 * status as above. err_tail stays until proc_release.
 */
int proc_close(struct proc *p, int64_t timeout_ms, int *ret_status, struct err *err) HF_NODISCARD;
/* End the group at once when it still runs, and free everything. Fine on PROC_INIT and after proc_close. */
void proc_release(struct proc *p);

#endif
