/*
 * Damage at one site repaired from the others, for jobs.
 */
#ifndef OPS_REPAIR_H
#define OPS_REPAIR_H

#include "job/common.h"
#include "verify/check.h"

/* Configurations that are missing or damaged at a site, from one whose chain holds: before anything else of that site can be used.
 * Returns [{site, put, error}] of those where something was to do. */
json_t *sites_mend_cfg(const struct sites *s, const unsigned char root_pub[ED25519_PUB_LEN]);

struct repairing {
	const struct job *j;
	const struct sites *sites;
	const struct cfg *cfg;
	struct secret log_seed;
	char run[33];
};
int repairing_init(struct repairing *r, const struct job *j, const struct sites *sites, const struct cfg *cfg, struct err *err) HF_NODISCARD;
void repairing_release(struct repairing *r);
/*
 * Check what a source has at a site, by digest, and put again, with what an earlier check found besides (may be NULL), from the other sites what is not whole. *ret: {missing, corrupt,
 * snapshots_broken (before), snapshots, packs, bytes, index_objects, and each kind of small objects (brought)}, also on failure. ERR_CORRUPT: some of it is whole nowhere.
 */
int repair_source(struct repairing *r, size_t site, const char *source, const struct check_result *known, json_t **ret, struct err *err) HF_NODISCARD;

/* The copies of this installation's evidence log at the sites (only: at one of them), put right from the log itself: {log, sites: [{site, put,
 * beside, error}]}; NULL: there is no log. */
int repair_evidence(const struct job *j, const struct sites *sites, const char *only, json_t **ret, struct err *err) HF_NODISCARD;

#endif
