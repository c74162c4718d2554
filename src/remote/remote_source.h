/*
 * The controller's side of a source on another host: its agent started, sites relayed to it with the rights of that one source, its
 * word checked at the sites.
 */
#ifndef REMOTE_REMOTE_SOURCE_H
#define REMOTE_REMOTE_SOURCE_H

#include "job/common.h"
#include "job/source_run.h"


/*
 * As source_run(), at o->source->host; of o->source only name and host are told there. A site counts as committed when the signed
 * snapshot that the agent names was found there. ERR_FAILED when the host cannot be reached or the agent died: nothing that a site
 * is to blame for.
 */
int remote_source_run(const struct job *j, const struct source_run_opts *o, struct source_run_result *ret, struct err *err) HF_NODISCARD;

/* Keys made on the source's host (psk: from the class secret; NULL: there must be some); their public half and epoch come back. */
struct remote_enroll {
	const struct plan_source *source;
	const unsigned char *repo, *root_pub;
	const struct secret *psk;
};
int remote_enroll(const struct job *j, const struct remote_enroll *e, unsigned char ret_pub[ED25519_PUB_LEN], uint32_t *ret_epoch, bool *ret_made, struct err *err) HF_NODISCARD;
/* Once it is in the configuration at the sites: its secrets sealed to the recipients, there. */
int remote_seal(const struct job *j, const struct plan_source *source, const struct sites *sites, struct err *err) HF_NODISCARD;

#endif
