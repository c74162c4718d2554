/*
 * Jobs: one plan, one verb, now. A job runs to its end, writes its result file and evidence, and returns the same result as
 * JSON with an exit status of the manual's table. It never prints: facts leave through the result, items and progress.
 *
 *   struct job j = { .root = &root, .plan = plan, .actor = "alice", .progress = show, .item = line };
 *   CLEAN(json_release) json_t *result = NULL;
 *   int status = job_backup(&j, &opts, &result, &err);
 *
 * Every job function returns an exit status (0 done and durable, see err.def); err is filled when it is not 0, 3 or 4.
 * result may be set in any case (a failed drill still has one) and is the caller's.
 */
#ifndef JOB_JOB_H
#define JOB_JOB_H

#include <stdatomic.h>
#include "base/json.h"
#include "plan/plan.h"
#include "store/store.h"

/* Where an installation keeps things. `--root R` puts all beneath R; "/" splits over /etc and /var/lib; others use XDG. */
struct root {
	char *config;  /* what people write: plans/, and on hosts with agents sources.d/, plans.d/, allowed_signers */
	char *plans;   /* NAME.yaml */
	char *keys;    /* 0700: root.key, log.key, sources/, recovery/<class>.key */
	char *state;   /* per plan and source: head, pending, caches; hints except head and pending */
	char *results; /* <plan>/<utc>-<kind>-<id>.json, <plan>/latest.json */
	char *metrics; /* holdfast.prom */
	char *log;     /* evidence log */
	char *work;    /* drill work directories */
	char *restored; /* where a recovery agent restores to */
};
/* dir NULL: by user id as above. Fills newly allocated paths; nothing is created. */
void root_init(struct root *r, const char *dir, const char *home, const char *xdg_config, const char *xdg_state);
void root_release(struct root *r);

struct job_progress {
	const char *phase;          /* "read", "restore", "verify", ... static text */
	const char *subject;        /* source, step or site; borrowed for the call */
	uint64_t files, files_total; /* totals 0 when unknown */
	uint64_t bytes, bytes_total;
	uint64_t bytes_new;         /* sent to sites */
};
struct job {
	const struct root *root;
	const struct plan *plan;
	const char *plan_path;       /* as given, for messages */
	const char *actor;           /* who runs it, for evidence */
	bool dry_run;
	uint64_t memory_cap;         /* bytes, 0: default */
	unsigned workers;            /* 0: as many as cores */
	atomic_bool *cancel;         /* polled; may be NULL */
	void (*progress)(void *arg, const struct job_progress *p); /* at most ten times a second, from any one thread at a time; may be NULL */
	void (*item)(void *arg, const json_t *item);               /* one line of a listing; may be NULL */
	void *arg;
	/* How a site is reached; NULL: by its URL. Agents reach sites through whom started them. */
	int (*open_site)(void *arg, size_t number, const struct plan_site *ps, struct store **ret, struct err *err);
	void *open_arg;
};

/* Keys, directories, repository on each site. result: what was made, and what must be kept off-line. Can be run again: adds what is missing. */
int job_init(const struct job *j, json_t **result, struct err *err);

struct job_backup_opts {
	const char *const *sources; /* NULL-terminated names, NULL: all of the plan */
	bool full_read;             /* ignore the files cache */
	int64_t patience_ms;        /* with a site that is away while the others have all; 0: two minutes */
	bool no_replicate;          /* leave sites that are behind as they are */
};
int job_backup(const struct job *j, const struct job_backup_opts *o, json_t **result, struct err *err);

/* Bring sites that are behind up to date from one that is not. site NULL: every one. */
int job_replicate(const struct job *j, const char *site, json_t **result, struct err *err);

/* Which copy to look into. */
struct job_select {
	const char *source;   /* NULL: the plan's only source, or an error that lists them */
	const char *snapshot; /* "latest", a seq, an id prefix; NULL: latest */
	const char *site;     /* NULL: any, the nearest to hand first */
};
/* Items {source, seq, id, time, files, bytes, added, skipped, sites, lineage}. Needs no opening key on its own host. source NULL: all. */
int job_snapshots(const struct job *j, const struct job_select *sel, json_t **result, struct err *err);
/* Items {path, type, mode, uid, gid, user, group, size, mtime, link}; paths NULL-terminated or NULL: all; recursive below a directory. */
int job_ls(const struct job *j, const struct job_select *sel, const char *const *paths, json_t **result, struct err *err);
/* Items {change: added|removed|modified|metadata, path, ...} that lead from `other`, a second snapshot of the same source, to the selected one. */
int job_diff(const struct job *j, const struct job_select *sel, const char *other, json_t **result, struct err *err);

struct job_restore_opts {
	const char *host;         /* "local", ssh://... of a recovery agent; NULL: where the plan recovers to */
	const char *to;           /* target directory: made, or empty unless overwrite; on another host a name below its own directory */
	const char *const *paths; /* NULL-terminated, NULL: whole */
	bool full_metadata;       /* --metadata full */
	bool overwrite;           /* into a directory that is not empty; existing names are replaced */
	unsigned strip;           /* leading path components to drop */
	bool verify;              /* read back and compare with the snapshot's record */
};
int job_restore(const struct job *j, const struct job_select *sel, const struct job_restore_opts *o, json_t **result, struct err *err);
/* A plain tar to a file (created; "-" is standard output). */
int job_export(const struct job *j, const struct job_select *sel, const char *const *paths, const char *output, json_t **result, struct err *err);

struct job_verify_opts {
	bool data;        /* open every chunk and re-identify it: needs the opening key; otherwise digests of packs only */
	bool repair;      /* put again from other sites what is missing or damaged, then check */
	const char *site; /* NULL: every one */
};
int job_verify(const struct job *j, const struct job_verify_opts *o, json_t **result, struct err *err);

struct job_drill_opts {
	const char *scenario;  /* a name of schedule.drills or drill.negative, NULL: the runbook */
	bool negative_only;    /* only the planted faults */
	bool no_negative;      /* skip the planted faults */
	bool keep_work;        /* leave the work directory for a look */
	const char *site;      /* restore from this one only */
	const char *deviation; /* typed in by the operator */
};
int job_drill(const struct job *j, const struct job_drill_opts *o, json_t **result, struct err *err);

/* What each site really does, tried on tiny objects that stay there. site NULL: every one. Status 4: one is weaker than the plan says. */
int job_site_probe(const struct job *j, const char *site, json_t **result, struct err *err);
struct job_locks_opts {
	const char *site; /* NULL: every one */
	bool extend;      /* lengthen what is too short; never shortens */
};
/* Audit of the locks of every object that is needed. Status 4: some are missing or too short. */
int job_site_locks(const struct job *j, const struct job_locks_opts *o, json_t **result, struct err *err);

/* Items {plan, source, target, last_backup, last_drill, overdue, sites: [...]}; 0 only when all is well. */
int job_status(const struct job *j, json_t **result, struct err *err);

/* Items: records of the local log, newest last; from NULL: all. */
int job_evidence_log(const struct job *j, const char *from, json_t **result, struct err *err);
/* Recompute the log here and at the plan's sites (plan NULL: here only), reconcile with the calendar. site_dir: a copy to verify alone, or NULL. */
int job_evidence_verify(const struct job *j, const char *site_dir, json_t **result, struct err *err);

/* What is known beside the plan, for its verdicts: whether the opening key lies here, the size of the newest backup, what probes found. */
void job_plan_facts(const struct job *j, struct plan_facts *ret);
void job_plan_facts_release(struct plan_facts *f);
/* Array of {key, line, col, message}: keys of the plan that this build accepts and checks, but a command that needs them refuses. */
json_t *job_unserved(const struct plan *p);

#endif
