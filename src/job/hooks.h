/*
 * Commands of a plan: argument vectors with a clean environment, a timeout and bounded output. Values of the environment may be
 * secret references (secret_ref.h); they are cleansed after the start.
 */
#ifndef JOB_HOOKS_H
#define JOB_HOOKS_H

#include <stdatomic.h>
#include "base/proc.h"
#include "plan/plan.h"

struct hook_env {
	const char **v; /* "NAME=value", NULL-terminated */
	size_t n;
};
/* Of a plan's pairs and further "NAME=value" (NULL-terminated or NULL). ERR_USAGE for a secret that is not there. */
int hook_env_init(struct hook_env *e, const struct plan_pairs *pairs, const char *const *more, struct err *err) HF_NODISCARD;
void hook_env_release(struct hook_env *e); /* cleanses */

struct hook {
	const char *const *argv;
	const struct plan_pairs *env;
	const char *const *more_env;
	const char *cwd;
	int64_t timeout_ms;
	atomic_bool *cancel;
	int (*in_child)(void *arg);
	void *arg;
};
/* Run to its end: ERR_FAILED with the tail of its standard error when its status is not 0. ret (may be NULL; else initialised by the
 * caller) gets output and status in any case. */
int hook_run(const struct hook *h, struct proc_result *ret, struct err *err) HF_NODISCARD;

#endif
