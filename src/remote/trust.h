/*
 * What a host with an agent lets itself be told. Its own files decide, never the controller that asks:
 *
 *   sources.d/NAME.yaml   what a source is, how it is read, which hooks run (the keys of a plan's source)
 *   plans.d/NAME.sha256   digests of plans whose runbook may be carried out here, as sha256sum writes them
 *   allowed_signers       people whose signature of a plan counts for both (ssh-keygen -Y sign -n holdfast-plan@v1)
 *
 * A file that someone else than its owner, root or us, may write to is refused.
 */
#ifndef REMOTE_TRUST_H
#define REMOTE_TRUST_H

#include "crypto/crypto.h"
#include "job/job.h"

#define TRUST_NAMESPACE "holdfast-plan@v1"
#define TRUST_SIGNATURE_MAX 8192

/* A plan as a controller hands it over; nothing of it is believed yet. Borrowed. */
struct trust_plan {
	const char *name;
	const void *text;
	size_t n_text;
	const char *signature; /* armoured, or NULL */
	size_t n_signature;
};
/*
 * The source of that name, as this host says: its own file, else the source of a signed plan of that name. *ret is a plan that
 * holds the source, whose name is the caller's to keep apart from that of the plan. ERR_DENIED with a hint when neither is there.
 */
int trust_source(const struct root *r, const char *source, const struct trust_plan *p, struct plan **ret, struct err *err) HF_NODISCARD;
/* The plan, when this host lets it be carried out: its digest is listed, or a signature counts. Else ERR_DENIED with a hint. */
int trust_plan(const struct root *r, const struct trust_plan *p, struct plan **ret, struct err *err) HF_NODISCARD;

#endif
