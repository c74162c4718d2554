/*
 * What the controller makes of the recovery process' report: lines become steps, checks, sources and sites of the
 * result, clocks are set from them, and the plan says what counts. Only drill.c and drill_judge.c include this.
 */
#ifndef DRILL_DRILL_JUDGE_H
#define DRILL_DRILL_JUDGE_H

#include "drill/drill.h"

struct remote_recovery;

struct judge_moment {
	int64_t wall_ns, boot_ns; /* 0: not reached */
};
struct judge {
	const struct job *j;
	struct result *res;
	bool *step_told, *check_told; /* by index of the plan */
	size_t steps_failed, checks_failed, manifests;
	bool restore_failed, manifest_failed;
	struct judge_moment released, first_byte, restored, verified, checked, last;
	size_t sources, host_proofs, other_proofs;
	int64_t oldest_ns, worst_ms; /* oldest snapshot that was restored, 0: none; worst_ms -1: unknown */
	int64_t bytes;
	bool ended;
	char damaged_site[64], damaged[384], lost_site[64], lost[256]; /* first of each, and why */
	size_t sites_damaged, sites_lost;
	char failed_step[64]; /* of a restore or run, the first */
	char failed[160];     /* ids of all that failed, as far as they fit */
	size_t n_failed;
	unsigned isolated; /* enum isolate */
	bool told_isolation;
	json_t **source; /* items of the result by index of the plan, borrowed */
	bool *source_failed;
	struct evidence_subject *subject;
	char (*subject_name)[SOURCE_MAX + 16];
	size_t n_subjects;
	int status;
	struct err first; /* what the drill failed of */
};
void judge_init(struct judge *g, const struct job *j, struct result *res);
void judge_release(struct judge *g);
/* A report_fn. */
int judge_line(void *arg, const json_t *line, struct err *err);
/* After the last line: what was not told is skipped; clocks, recovery point, error and status are set. */
void judge_end(struct judge *g);
/* A failure beside the runbook: the first error stays, the worse status wins. */
void judge_fail(struct judge *g, int status, const struct err *why);
/* {title, severity, owner, due in 30 days, retest} into the result. */
void judge_finding(struct judge *g, const char *severity, const char *fmt, ...) HF_PRINTF(3, 4);
/* Parts of it that reading lines and judging share. */
void judge_name_failed(struct judge *g, const char *id);
void judge_count_failed(struct judge *g, const struct plan_step *s);
const char *judge_step_of(const struct plan_recovery *r, const struct plan_check *c); /* or NULL */
bool judge_is_restored(const struct plan *p, const char *source);

/* --- one drill, as the controller runs it --- */
struct drill {
	const struct job *j;
	const struct job_drill_opts *o;
	struct sites sites;
	struct drill_marker marker;
	struct result *res;
	struct judge judge;
	struct judge_moment declared;
	struct remote_recovery *remote; /* the recovery host, once it is needed; NULL: this machine */
	bool runbook; /* carry out the runbook */
	bool planted[NEGATIVES];
	bool negatives_ran;
	size_t processes, gone, mounts_left;
	bool left; /* a work directory is still there that should not be */
	struct err clean_err;
	json_t *works; /* directories that were kept */
};
/* What is to be done, and refusals before anything begins (drill_choose.c). */
int drill_refuse(struct drill *d, struct err *err) HF_NODISCARD;
/* What the result says besides steps and checks: limits, requirements, clean-up, targets with their findings
 * (drill_tell.c). */
void drill_tell(struct drill *d);
/* Members of the record at its end; the caller's. */
json_t *drill_end_body(const struct drill *d);

#endif
