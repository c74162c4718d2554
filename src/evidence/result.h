/*
 * Result files: what one run did, as dashboards and reports read it, and the Prometheus file made from them.
 *
 *   struct result *r = result_new(&(struct result_identity){.kind = "drill", .plan = "ca", ...});
 *   result_point(r, RESULT_DECLARED, wall, boot); ... result_step(r, &step); result_check(r, &check); ...
 *   result_finish(r, "done", 0);
 *   result_write(r, "R/results", &file, &err);         results/<plan>/<utc>-<kind>-<id>.json, then latest.json
 *   metrics_write("R/results", "R/metrics/holdfast.prom", &err);
 *
 * What was not measured is null, never true and never 0: numbers below 0 mean "not measured". The shape is fixed by
 * docs/format/result.schema.json. Setters copy what they get, except that json_t items are taken over. One thread a
 * result.
 */
#ifndef EVIDENCE_RESULT_H
#define EVIDENCE_RESULT_H

#include "base/json.h"
#include "crypto/crypto.h"

#define RESULT_VERSION 1
#define RESULT_MAX (64u << 20) /* ceiling on a result file */

struct result_identity {
	const char *kind;        /* an id: backup replicate verify site-digests restore drill probe locks prune exercise incident */
	const char *plan;        /* an id */
	const char *plan_digest; /* hex SHA-256 of the plan file, or NULL */
	int64_t plan_version;    /* review.version of the plan, or -1 */
	const char *slot_kind;   /* slot it was run for, or NULL */
	int64_t slot_time_ns;
	const char *scenario;     /* or NULL */
	const char *performed_by; /* person or program; NULL: "holdfast" */
	const char *runbook;      /* runbook version, or NULL */
	const char *host;         /* where it ran, or NULL */
	const char *tool_version;
	int self_attested; /* 1: approver and signer are the same; 0: not; -1: unknown */
};
/* Points in time, in the order of a recovery. */
enum result_point {
	RESULT_SERVICE_LOST,
	RESULT_DECLARED,
	RESULT_APPROVED,
	RESULT_KEY_RELEASED,
	RESULT_FIRST_BYTE,
	RESULT_DATA_RESTORED,
	RESULT_VERIFIED,
	RESULT_CHECKS_PASSED,
	RESULT_SERVICE_BACK,
	RESULT_POINTS
};
/* Lists that take items of the caller's: members as the schema says. */
enum result_list {
	RESULT_SOURCES,      /* {name, outcome, snapshot, seq, files, bytes, added_bytes, skipped, ...} */
	RESULT_SITES,        /* {name, outcome, behind, served_bytes, bad[], error} */
	RESULT_SKIPPED,      /* {source, path, reason} */
	RESULT_FINDINGS,     /* {title, severity, owner, due, retest} */
	RESULT_DEVIATIONS,   /* strings: typed in by the operator */
	RESULT_REQUIREMENTS, /* strings: ids touched */
	RESULT_NOT_SHOWN,    /* strings: what this result does not show */
	RESULT_APPROVED_BY,  /* strings */
	RESULT_PROVEN_BY,    /* strings: host controller log other-sites printed-checkpoint; none: null */
	RESULT_LISTS
};
struct result_step {
	const char *id, *kind;
	const char *const *needs;                          /* NULL-terminated ids, or NULL */
	int64_t start_wall_ns, start_boot_ns, end_boot_ns; /* 0: not run */
	int64_t bytes;                                     /* -1: not measured */
	const char *outcome;                               /* passed failed skipped */
	const char *detail;                                /* or NULL */
};
struct result_check {
	const char *id, *kind, *step; /* step it belongs to, or NULL */
	int64_t start_wall_ns, duration_ms;
	const char *outcome; /* passed failed skipped */
	const char *detail;
	int64_t checked, total; /* coverage: complete when equal, else sampled; -1 */
};

struct result;
/* Fills identity, id, start time and clock state. Aborts on a kind or plan that is no id. */
struct result *result_new(const struct result_identity *id);
void result_free(struct result *r);
void result_free_ptr(struct result **r); /* for CLEAN() */
/* A point in time; boot_ns 0: only the wall time is known (then durations from it are wall durations). The last call
 * counts. */
void result_point(struct result *r, enum result_point p, int64_t wall_ns, int64_t boot_ns);
/* Which two points are compared with the recovery time target. Default: declared to service back. */
void result_compare(struct result *r, enum result_point from, enum result_point to);
void result_rto_target(struct result *r, int64_t target_ms);
/* Recovery point: target, age of what was restored at the moment of loss, largest gap plus duration in the cycle. -1:
 * unknown. */
void result_rpo(struct result *r, int64_t target_ms, int64_t measured_ms, int64_t worst_case_ms);
void result_step(struct result *r, const struct result_step *s);
void result_check(struct result *r, const struct result_check *c);
/* Bytes read from the source or copy, and bytes newly stored or written; -1. */
void result_bytes(struct result *r, int64_t processed, int64_t added);
/* Coverage of the run as a whole: complete when equal. */
void result_coverage(struct result *r, const char *unit, int64_t checked, int64_t total);
void result_add(struct result *r, enum result_list list, json_t *item); /* takes item */
void result_add_str(struct result *r, enum result_list list, const char *text);
/* Members of the caller's own under "extra" (takes value). */
void result_extra(struct result *r, const char *key, json_t *value);
/* End time, durations, met of both targets, critical path. outcome: done failed refused skipped missed crashed.
 * Where it is done, the status 0 and a target not met, the exit status becomes 4. May be called again after further
 * setters. */
void result_finish(struct result *r, const char *outcome, int exit_status);
/* Exit status as finish left it. BUG when not finished. */
int result_status(const struct result *r);
const char *result_id(const struct result *r);
/* The JSON as it stands; borrowed. */
const json_t *result_json(const struct result *r);

struct result_file {
	char *path;                       /* newly allocated */
	unsigned char sha256[SHA256_LEN]; /* of its bytes: the subject of the evidence record */
};
void result_file_release(struct result_file *f);
/* Write results/<plan>/<utc>-<kind>-<id>.json create-only and durable, then replace latest.json. BUG when not finished.
 */
int result_write(const struct result *r, const char *results_dir, struct result_file *ret, struct err *err)
        HF_NODISCARD;
/* Read one: size ceiling, and ERR_UNSUPPORTED for a version above RESULT_VERSION. */
int result_read(const char *path, json_t **ret, struct err *err) HF_NODISCARD;

/* Regenerate the Prometheus file (text format, gauges only, replaced by rename) from the newest results of each plan
 * and kind. */
int metrics_write(const char *results_dir, const char *path, struct err *err) HF_NODISCARD;

#endif
