/*
 * The documents that a controller and its agents exchange as jobs, progress and results, in one place for both ends. What comes
 * from the other end is checked here: an agent believes no path and no command, a controller no more than what can be seen at
 * the sites.
 *
 * Every job has {v, plan, plan_digest, plan_text, plan_signature?}; those that use sites have sites: [{name, relay} or
 * {name, error}], where relay is the number of a store that the controller serves.
 */
#ifndef REMOTE_AGENT_DOC_H
#define REMOTE_AGENT_DOC_H

#include "job/common.h"
#include "job/source_run.h"
#include "remote/trust.h"
#include "wire/wire.h"

#define AGENT_DOC_VERSION 1

/* --- a job: the controller makes it --- */
/* The common part. The plan's file is read again and must still be the one that was loaded; FILE.sig is its signature, if any. */
int agent_doc_new(const struct job *j, json_t **ret, struct err *err) HF_NODISCARD;
/* Adds `sites`: each store under its place in the array. */
void agent_doc_sites(json_t *doc, const struct sites *sites);

/* --- and the agent reads it --- */
struct agent_doc {
	const char *plan; /* an id, borrowed from the document */
	unsigned char plan_digest[ID_LEN];
	struct buf text, signature;
	struct trust_plan trust; /* of those */
};
void agent_doc_release(struct agent_doc *d);
/* ERR_UNSUPPORTED for another version of the documents. */
int agent_doc_read(const json_t *doc, struct agent_doc *ret, struct err *err) HF_NODISCARD;
/* An id of the document. */
int agent_doc_id(const json_t *doc, const char *key, const char **ret, struct err *err) HF_NODISCARD;
/* The sites as clients of the other end. Names are borrowed from the document. */
int agent_doc_open_sites(const json_t *doc, struct wire *w, struct sites *ret, struct err *err) HF_NODISCARD;

/* --- the result of one source's run --- */
json_t *agent_doc_of_run(const struct source_run_result *r, const struct session_site *site, size_t n_sites);
/* Sets site states by name; a site that is not told stays unreachable. ERR_FORMAT. */
int agent_doc_read_run(const json_t *doc, struct source_run_result *ret, struct session_site *site, size_t n_sites, struct err *err) HF_NODISCARD;

#endif
