/*
 * One run of one source, where its data is: keys and state of this host, hooks, walk or command, writer, session, commit. It knows
 * nothing of a plan beyond the source's own description, and nothing of results, receipts or evidence: those are the controller's.
 * The controller's process runs it for sources of its own machine, holdfast-source for those of others; only the stores differ.
 */
#ifndef JOB_SOURCE_RUN_H
#define JOB_SOURCE_RUN_H

#include <stdatomic.h>
#include "backup/session.h"
#include "job/job.h"

struct source_run_opts {
	const struct root *root;         /* keys/sources/ and state/ of this host */
	const char *plan;                /* its name */
	const unsigned char *plan_digest; /* ID_LEN bytes; enters the signed snapshot */
	const struct plan_source *source;
	const struct cfg *cfg;           /* verified by the caller */
	struct session_site *site;       /* names and stores; states are set here */
	size_t n_sites;
	const char *run_id;              /* shared by the sources of one run */
	bool dry_run, full_read;
	int64_t patience_ms;             /* with a site that is away; 0: default */
	unsigned workers;                /* 0: as many as cores */
	uint64_t memory_cap;             /* 0: default */
	atomic_bool *cancel;             /* polled; may be NULL */
	void (*progress)(void *arg, uint64_t files, uint64_t bytes, uint64_t sent);      /* may be NULL */
	void (*noted)(void *arg, enum note_code code, const char *path, size_t n);       /* an item skipped or changed; may be NULL */
	void *arg;
};
/* What is known of it in the end, however it ended. */
struct source_run_result {
	struct snapshot_facts facts;
	bool is_committed; /* then `committed` says what */
	struct session_result committed;
};
/* Forget what an earlier source found at the sites; done by source_run(). */
void source_run_reset(struct session_site *site, size_t n);
/* ret is filled as far as it went, also on failure. Site states and errors are in o->site. */
int source_run(const struct source_run_opts *o, struct source_run_result *ret, struct err *err) HF_NODISCARD;

#endif
