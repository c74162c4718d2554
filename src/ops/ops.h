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
#ifndef OPS_OPS_H
#define OPS_OPS_H

#include "job/job.h"

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

/* Items {source, seq, id, time, files, bytes, added, skipped, sites, lineage}. Needs no opening key on its own host. source NULL: all. */
int job_snapshots(const struct job *j, const struct job_select *sel, json_t **result, struct err *err);
/* Items {path, type, mode, uid, gid, user, group, size, mtime, link}; paths NULL-terminated or NULL: all; recursive below a directory. */
int job_ls(const struct job *j, const struct job_select *sel, const char *const *paths, json_t **result, struct err *err);
/* Items {change: added|removed|modified|metadata, path, ...} that lead from `other`, a second snapshot of the same source, to the selected one. */
int job_diff(const struct job *j, const struct job_select *sel, const char *other, json_t **result, struct err *err);

int job_restore(const struct job *j, const struct job_select *sel, const struct job_restore_opts *o, json_t **result, struct err *err);
/* A plain tar to a file (created; "-" is standard output). */
int job_export(const struct job *j, const struct job_select *sel, const char *const *paths, const char *output, json_t **result, struct err *err);

struct job_verify_opts {
	bool data;        /* open every chunk and re-identify it: needs the opening key; otherwise digests of packs only */
	bool repair;      /* put again from other sites what is missing or damaged, then check */
	bool at_site;     /* alone: digests as the sites themselves tell them; a result of the kind site-digests, which counts as no verification */
	const char *site; /* NULL: every one */
};
int job_verify(const struct job *j, const struct job_verify_opts *o, json_t **result, struct err *err);

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

#endif
