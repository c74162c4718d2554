/*
 * Child processes: argument vectors, never shells; a clean environment (PATH, HOME, LANG=C.UTF-8, TZ and what the caller
 * adds); standard input from /dev/null unless given; a process group of its own, ended (TERM, then KILL after two
 * seconds) when the timeout expires or the caller cancels. Output kept is bounded; the rest is counted and dropped.
 */
#ifndef BASE_PROC_H
#define BASE_PROC_H

#include <stdatomic.h>
#include <sys/types.h>
#include "base/buf.h"

struct proc_opts {
	const char *const *env;     /* NULL-terminated "NAME=value" to add, or NULL */
	const char *cwd;            /* NULL: caller's */
	int stdin_fd;               /* -1: /dev/null */
	int64_t timeout_ms;         /* 0: none */
	atomic_bool *cancel;        /* polled, may be NULL */
	int (*in_child)(void *arg); /* called between fork and exec (async-signal-safe work only), may be NULL */
	void *arg;
};
struct proc_result {
	int status;             /* exit status, or 128 + signal */
	bool timed_out;
	int64_t elapsed_ms;
	struct buf out, err;    /* last bytes kept of each, ceiling set by the caller before the call */
};
void proc_result_init(struct proc_result *r, size_t keep);
void proc_result_release(struct proc_result *r);
/* Run to the end. 0 when the program was started and reaped, whatever its status; ERR_IO when it cannot be started. */
int proc_run(const char *const *argv, const struct proc_opts *o, struct proc_result *r, struct err *err) HF_NODISCARD;

/* A running child whose standard output (or input) the caller reads (or writes). */
struct proc {
	pid_t pid;
	int fd; /* our end of the pipe */
	int err_fd;
	struct buf err_tail; /* last 4 KiB of its standard error */
};
enum proc_dir { PROC_READ, PROC_WRITE };
int proc_open(const char *const *argv, const struct proc_opts *o, enum proc_dir dir, struct proc *ret, struct err *err) HF_NODISCARD;
/* Drain standard error without blocking; call now and then on long reads. */
void proc_poll_stderr(struct proc *p);
/* Close the pipe, wait (bounded by timeout_ms, 0: forever), end the group if need be; status as above. */
int proc_close(struct proc *p, int64_t timeout_ms, int *ret_status, struct err *err) HF_NODISCARD;

#endif
