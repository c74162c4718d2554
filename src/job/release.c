#include "job/release.h"

int release_allowed(const struct job *j, enum release_for what, struct err *err)
{
	static const unsigned needs[] = {
		[RELEASE_LOOK] = NEEDS_OPENING,
		[RELEASE_RESTORE] = NEEDS_OPENING | NEEDS_RESTORE_APPROVAL,
		[RELEASE_DRILL] = NEEDS_OPENING | NEEDS_DRILL_APPROVAL,
	};
	return job_refuse(j, needs[what], err);
}

int release_opening_key(const struct job *j, enum release_for what, struct opening_key *ret, struct err *err)
{
	int rc = release_allowed(j, what, err);
	return rc ? rc : recovery_key_load(j, ret, err);
}
