/*
 * The recovery side of jobs: opening key, sites, configuration and a reader of one source. What is pinned (repository, root key)
 * comes from the opening key, so that a cold start needs a site, the plan and that key, and nothing else.
 */
#ifndef JOB_RECOVER_H
#define JOB_RECOVER_H

#include "job/release.h"
#include "restore/reader.h"

struct recover {
	struct sites sites;
	struct cfg cfg;
	struct opening_key key;
	struct reader_site *rs;
	size_t n_rs;
	struct reader *reader;
	char *cache;
};
struct recover_opts {
	enum release_for purpose;
	const char *source;
	const char *site;               /* only this one, or NULL */
	const char *const *fault_rules; /* planted faults on every site's reads (store_fault_new), or NULL */
	const struct opening_key *key;  /* another key than the installation's (a wrong one, planted), or NULL */
};
int recover_open(const struct job *j, const struct recover_opts *o, struct recover *ret, struct err *err) HF_NODISCARD;
void recover_close(struct recover *r);
/* Open and select by a job's selection. */
int recover_select(const struct job *j, const struct job_select *sel, enum release_for purpose, struct recover *ret, const struct reader_snapshot **snap, struct err *err) HF_NODISCARD;
/* Sites as the result tells them: who served, who was bad. A new array. */
json_t *recover_sites(const struct recover *r);
/* By what a snapshot's freshness is proven: "host", "other-sites". A new array. */
json_t *recover_proofs(const struct job *j, const struct reader_snapshot *snap);

#endif
