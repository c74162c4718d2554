/*
 * What jobs share: the plan's sites opened, keys found, refusals of what this build lacks, and the one way to end a job: result
 * file, evidence record, checkpoint, copies at the sites, metrics.
 */
#ifndef JOB_COMMON_H
#define JOB_COMMON_H

#include "base/version.h"
#include "evidence/evidence.h"
#include "evidence/result.h"
#include "job/job.h"
#include "backup/session.h"

/* --- sites --- */
struct site_way; /* how one site of a plan is reached: what the filters of its stores need, which it outlives */
struct sites {
	struct session_site *site; /* in the order of the plan; store NULL where it cannot be opened */
	struct site_way **way;
	size_t n;
};
/* only: name of one site (ERR_USAGE when the plan has no such), NULL: all. create: make missing places (init). */
int sites_open(const struct job *j, const char *only, bool create, struct sites *ret, struct err *err) HF_NODISCARD;
void sites_close(struct sites *s);
struct site_way *site_way_new(const struct job *j, const struct plan_site *ps);
void site_way_free(struct site_way *w);
/*
 * A store of the site, ready for use: driver with its credentials (secret references are read now), then throttle, then retry.
 * A distant site has answered once. Errors carry the site's name.
 */
int site_open(struct site_way *w, bool create, struct store **ret, struct err *err) HF_NODISCARD;
/* ERR_USAGE that lists the sites there are. */
int site_unknown(const struct plan *p, const char *name, struct err *err);
/* Configuration of the repository: the newest of all sites that can be asked. root_pub: the pinned root key. A site without a
 * configuration that verifies is closed and counts as unreachable. */
int sites_cfg(const struct sites *s, const unsigned char root_pub[ED25519_PUB_LEN], struct cfg *ret, struct err *err) HF_NODISCARD;
/* The same with the root key that this installation pinned. */
int sites_cfg_pinned(const struct job *j, const struct sites *s, struct cfg *ret, struct err *err) HF_NODISCARD;
/* Or, on a machine set up only for recovery, with the one that its opening key names. */
int sites_cfg_any(const struct job *j, const struct sites *s, struct cfg *ret, struct err *err) HF_NODISCARD;

/* --- what sites really do (site_judge.c) --- */
/* What the newest probe found at a site (store/probe.h, and its site), and when; NULL: it was never probed. */
json_t *site_last_probe(const struct job *j, const char *site, int64_t *ret_ns);
bool site_probe_is_fresh(const struct job *j, const char *site); /* younger than 7 days */
/* How long an object is safe at the site: INT64_MAX without end, 0 not at all, -1 not known. */
int64_t site_immutable_ms(const json_t *probe);
/* In how many ways it is weaker than the plan says. */
size_t site_weaknesses(const struct plan_site *ps, const json_t *probe);
/* Each weakness of a probed site becomes a finding of the result; how many. */
size_t site_judge(const struct job *j, const struct plan_site *ps, const json_t *probe, struct result *res);
/* Findings and warnings of every site that is weaker than the plan says; a warning where the last probe is old. */
void sites_judge(const struct job *j, struct result *res);
/* Verifier key of the witness that the plan pins for a site, or NULL. */
const char *site_witness(const struct job *j, const char *site);
/* A finding, due in 30 days, for the owner of the plan. */
void job_finding(const struct job *j, struct result *res, const char *severity, const char *fmt, ...) HF_PRINTF(4, 5);

/* --- keys and places of an installation --- */
char *path_root_key(const struct job *j);
char *path_root_pub(const struct job *j);
char *path_log_key(const struct job *j);
char *path_opening_key(const struct job *j); /* keys/recovery/<plan>.key */
char *path_source_key(const struct job *j, const char *source, uint32_t epoch);
char *host_key_path(const struct root *r, const char *plan, const char *source, uint32_t epoch);
char *path_source_state(const struct job *j, const char *source);
int root_pub_load(const struct job *j, unsigned char pub[ED25519_PUB_LEN], struct err *err) HF_NODISCARD;
/* Source keys of the highest epoch; ERR_MISSING with a hint to init. */
int host_keys_load(const struct job *j, const char *source, struct source_keys *ret, struct err *err) HF_NODISCARD;
/* The same without a plan at hand: its name is enough. */
int host_keys_find(const struct root *r, const char *plan, const char *source, struct source_keys *ret, struct err *err) HF_NODISCARD;
int log_seed_load(const struct job *j, struct secret *ret, struct err *err) HF_NODISCARD;
/* The opening key: only jobs of a recovery host call it. */
int recovery_key_load(const struct job *j, struct opening_key *ret, struct err *err) HF_NODISCARD;

/* --- refusals --- */
/* Keys of a plan that this build accepts and checks but cannot serve; ERR_UNSUPPORTED names the first of those that the job needs. */
enum job_needs { NEEDS_SITES = 1, NEEDS_SOURCES = 2, NEEDS_OPENING = 4, NEEDS_RECOVERY = 8, NEEDS_DRILL_APPROVAL = 16, NEEDS_RESTORE_APPROVAL = 32 };
int job_refuse(const struct job *j, unsigned needs, struct err *err) HF_NODISCARD;
/* The one source of a plan, or the one named; ERR_USAGE lists them. */
int job_source(const struct job *j, const char *name, const struct plan_source **ret, struct err *err) HF_NODISCARD;
bool job_cancelled(const struct job *j);
/* Is the source (or the recovery target) on another host? */
bool host_is_remote(const char *host);

/* --- result and evidence --- */
/* The newest result of a kind whose outcome is done and that accept (NULL: any) takes; NULL: none. */
json_t *job_newest_result(const struct job *j, const char *kind, bool (*accept)(const json_t *result));
struct result *job_result(const struct job *j, const char *kind, const char *scenario);
struct job_end {
	struct result *result;
	const char *outcome;  /* done, failed, refused */
	int status;
	const struct err *err; /* why it failed, or NULL */
	const struct sites *sites; /* where the log is copied to */
	const struct evidence_subject *subjects;
	size_t n_subjects;
	json_t *body;          /* taken: members of the record, may be NULL */
};
/* Write result, record, checkpoint, copies, metrics. Returns the exit status; *ret gets the result's JSON. Problems with evidence make it 9 and
 * fill err when it was not filled. */
int job_finish(const struct job *j, struct job_end *e, json_t **ret, struct err *err);
/* Append a record now (start of a drill), with a checkpoint. */
int job_event(const struct job *j, const char *type, const struct evidence_event *ev, const struct sites *sites, struct err *err) HF_NODISCARD;

#endif
