/*
 * The controller's side of a recovery on another host, which alone holds the opening key: its agent started, sites relayed to it for
 * reading, what it tells put on the controller's clocks.
 */
#ifndef REMOTE_REMOTE_RECOVERY_H
#define REMOTE_REMOTE_RECOVERY_H

#include "remote/enroll.h"
#include "drill/rehearse.h"
#include "job/restore_run.h"

struct remote_host {
	const char *host, *identity, *known_hosts; /* as a plan has them */
};
struct remote_recovery;
/* sites: in the order of the plan; they stay the caller's, until close. ERR_FAILED when the host cannot be reached. */
int remote_recovery_open(const struct job *j, const struct remote_host *h, const struct sites *sites, struct remote_recovery **ret, struct err *err) HF_NODISCARD;
void remote_recovery_close(struct remote_recovery *r); /* NULL is fine */
void remote_recovery_close_ptr(struct remote_recovery **r); /* for CLEAN() */

/* As rehearse(), at that host. Times that it tells are put on this machine's clocks, never earlier than the asking, never later than now. */
int remote_rehearse(struct remote_recovery *r, const struct rehearsal *what, report_fn line, void *arg, struct rehearsal_end *ret, struct err *err) HF_NODISCARD;
/* As restore_run(); o->to is a name below that host's own directory of restored data. */
int remote_restore(struct remote_recovery *r, const struct job_select *sel, const struct job_restore_opts *o, json_t **ret, struct err *err) HF_NODISCARD;
/* As enroll_opening(), at that host: the key stays there. psk, by source of the plan, is filled for those that are wanted. */
int remote_opening(struct remote_recovery *r, struct enroll_opening *e, const bool *wanted, struct secret *psk, struct err *err) HF_NODISCARD;

#endif
