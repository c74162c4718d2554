/*
 * A process of its own for a rehearsal, cut off from the machine: fresh mount, network, pid and IPC namespaces, as root
 * directly, else inside a user namespace, else not at all (which its report says).
 *
 *   struct isolated_start s = {.want = ISOLATE_ALL, .run = work, .arg = arg, .stores = -1};
 *   isolated_start(&s, &p, &err)
 *   ... read p.report to its end; isolated_cancel(&p) ...
 *   isolated_end(&p)          everything that ran in it is gone
 *
 * The process is the first of its pid namespace: what it started dies with it. It ends by itself when the caller is
 * gone.
 */
#ifndef DRILL_ISOLATE_H
#define DRILL_ISOLATE_H

#include <stdatomic.h>
#include <sys/types.h>
#include "base/err.h"
#include "plan/plan.h"

enum isolate {
	ISOLATE_MOUNT = 1 << 0,
	ISOLATE_NET = 1 << 1,
	ISOLATE_PID = 1 << 2,
	ISOLATE_IPC = 1 << 3,
	ISOLATE_ALL = ISOLATE_MOUNT | ISOLATE_NET | ISOLATE_PID | ISOLATE_IPC,
};
/* Of a plan's words; none given: all. */
unsigned isolate_of(const struct plan_list *words);

/* What the process itself gets. */
struct isolated_self {
	unsigned have;   /* enum isolate that are in force */
	bool user;       /* inside a user namespace */
	bool proc;       /* /proc shows its own processes alone */
	const char *how; /* "namespaces", "user-namespace", "none" */
	struct err why;  /* what was refused first */
	int report;      /* to write to; the caller reads it */
	int stores;      /* the other end of what the caller gave, or -1 */
	atomic_bool cancel;
};
/* What the caller gets. */
struct isolated {
	pid_t pid;
	int report, control;
};
#define ISOLATED_INIT                                                                                                  \
	{                                                                                                              \
		.pid = 0, .report = -1, .control = -1                                                                  \
	}
struct isolated_start {
	unsigned want;
	void (*run)(struct isolated_self *self, void *arg); /* the process; its end is the process' end */
	void *arg;
	int stores; /* the only descriptor of the caller's that goes along; -1: none */
};
/* ret always goes to isolated_end. */
int isolated_start(const struct isolated_start *s, struct isolated *ret, struct err *err) HF_NODISCARD;
/* Ask it to stop; it may take a while. */
void isolated_cancel(struct isolated *p);
/* End it, if need be by force after grace_ms, and reap it. Returns its exit status or 128 + signal; -1 when there was
 * none. */
int isolated_end(struct isolated *p, int64_t grace_ms);

/* --- from inside --- */
/*
 * Cut off the file system: everything read-only and without devices; fresh /run, /var/run, /tmp, /var/tmp, /dev and
 * /proc; `work` writable; of `keep` (NULL-terminated) what would be covered stays visible, read-only. Paths are real
 * ones. Without ISOLATE_MOUNT nothing is done. On failure ISOLATE_MOUNT is taken out of self->have.
 */
int isolate_mounts(struct isolated_self *self, const char *work, const char *const *keep, struct err *err) HF_NODISCARD;
/* Cover a directory with an empty one. */
int isolate_hide(const struct isolated_self *self, const char *dir, struct err *err) HF_NODISCARD;
/* For proc_opts.in_child: capabilities that reach out of namespaces are dropped for good, and limits set. */
int isolate_step(void *unused);

#endif
