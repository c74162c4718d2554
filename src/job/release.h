/*
 * The one place where the opening key is taken for use. Whoever holds it, the controller's machine or a recovery host, asks here
 * first whether the plan lets it be used for this; approvals are to be verified here, before the file is touched.
 */
#ifndef JOB_RELEASE_H
#define JOB_RELEASE_H

#include "job/common.h"

enum release_for {
	RELEASE_LOOK, /* ls, diff, verification of data */
	RELEASE_RESTORE,
	RELEASE_DRILL,
};
/* ERR_UNSUPPORTED when the plan wants an approval or custody that this build cannot verify. */
int release_allowed(const struct job *j, enum release_for what, struct err *err) HF_NODISCARD;
int release_opening_key(const struct job *j, enum release_for what, struct opening_key *ret, struct err *err) HF_NODISCARD;

#endif
