/*
 * Verification of copies. Without keys: every object's bytes against the digest in its name, every committed attempt's pack list
 * against what is there, signatures and chains. With an opening key: every chunk opened and re-identified, every list walked.
 */
#ifndef VERIFY_CHECK_H
#define VERIFY_CHECK_H

#include "repo/mended.h"
#include "restore/reader.h"

struct check_result {
	uint64_t packs, pack_bytes;            /* whose digest was computed; at_site: told, and none read */
	uint64_t snapshots, snapshots_broken;  /* broken: needs something that is missing or bad */
	uint64_t chunks, chunk_bytes;          /* opened and re-identified */
	uint64_t lists;                        /* list chunks walked */
	uint64_t missing, corrupt, stray;      /* objects; stray: packs of no committed or undecided attempt (harmless) */
	uint64_t behind;                       /* snapshots that another site has and this one lacks */
	uint64_t forks;
	uint64_t mended;                       /* damaged objects that something else stands in for, or that nothing depends on */
	json_t *findings;                      /* array of {kind, object, what, snapshots: [seq...]}, at most 1,000, then a count */
	struct pack_list lost;                 /* packs that snapshots need and no whole copy of is here; sorted */
	struct site_damage *bad;               /* other objects that are damaged or missing, at most 100,000 */
	size_t n_bad, cap_bad;
};
void check_result_release(struct check_result *r);
struct check_opts {
	unsigned workers;
	bool at_site; /* check_digests: the site computes them (STORE_DIGEST): what it says of itself, no check of a copy */
	atomic_bool *cancel;
	void (*progress)(void *arg, uint64_t packs, uint64_t packs_total, uint64_t bytes);
	void *arg;
};
/* Digests of every pack, pack lists of every committed attempt, signatures, chain of snapshots. No key needed. Damage is a result, not an error. */
int check_digests(struct store *st, const struct cfg *cfg, const char *source, const struct check_opts *o, struct check_result *ret, struct err *err) HF_NODISCARD;
/* One site's packs, each fetched once: digest, footer, every chunk opened and re-identified, and the index compared with it; then every
 * snapshot's trees walked: each id they name must have been met. `r` was opened on this site alone. */
int check_data(struct reader *r, const struct check_opts *o, struct check_result *ret, struct err *err) HF_NODISCARD;

#endif
