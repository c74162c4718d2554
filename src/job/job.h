/*
 * What a job is: one plan, one installation, who runs it, and where its progress goes. The verbs are in ops/ops.h.
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

/* Which copy to look into. */
struct job_select {
	const char *source;   /* NULL: the plan's only source, or an error that lists them */
	const char *snapshot; /* "latest", a seq, an id prefix; NULL: latest */
	const char *site;     /* NULL: any, the nearest to hand first */
};
/* What to restore, and what to rehearse. */
struct job_restore_opts {
	const char *host;         /* "local", ssh://... of a recovery agent; NULL: where the plan recovers to */
	const char *to;           /* target directory: made, or empty unless overwrite; on another host a name below its own directory */
	const char *const *paths; /* NULL-terminated, NULL: whole */
	bool full_metadata;       /* --metadata full */
	bool overwrite;           /* into a directory that is not empty; existing names are replaced */
	unsigned strip;           /* leading path components to drop */
	bool verify;              /* read back and compare with the snapshot's record */
};
struct job_drill_opts {
	const char *scenario;  /* a name of schedule.drills or drill.negative, NULL: the runbook */
	bool negative_only;    /* only the planted faults */
	bool no_negative;      /* skip the planted faults */
	bool keep_work;        /* leave the work directory for a look */
	const char *site;      /* restore from this one only */
	const char *deviation; /* typed in by the operator */
};

/* What is known beside the plan, for its verdicts: whether the opening key lies here, the size of the newest backup, what probes found. */
void job_plan_facts(const struct job *j, struct plan_facts *ret);
void job_plan_facts_release(struct plan_facts *f);
/* Array of {key, line, col, message}: keys of the plan that this build accepts and checks, but a command that needs them refuses. */
json_t *job_unserved(const struct plan *p);

#endif
