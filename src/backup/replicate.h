/*
 * Replication: a site that was away gets what it lacks from one that has it.
 */
#ifndef BACKUP_REPLICATE_H
#define BACKUP_REPLICATE_H

#include "repo/site.h"
#include "repo/mended.h"

/* Bring the snapshots that `to` lacks from `from`, oldest first, by attempts of its own. Signs intents with the log key. */
enum replicate_put { /* small objects put on their own, not with a snapshot that lacked */
	PUT_CFG,
	PUT_KEYS,
	PUT_ENVELOPES,
	PUT_COPIES,
	PUT_RECEIPTS,
	PUT_EXPIRIES,
	PUT_MENDED,
	PUT_KINDS
};
struct replicate_result {
	uint64_t snapshots, packs, bytes, index_objects;
	uint64_t put[PUT_KINDS];
};
int replicate_source(struct store *from, struct store *to, const struct cfg *cfg, const char *source, const struct secret *log_seed, const char *run, int64_t now, bool dry_run, struct replicate_result *ret, struct err *err) HF_NODISCARD;

/*
 * Put again at a site what a check found missing or damaged there, from others that have it. Nothing is overwritten: packs and snapshots
 * come under attempts of the repair's own, configurations, keys, expiries and index objects beside the damaged ones; what nothing depends
 * on then is marked as mended (repo/mended.h). ERR_CORRUPT when some of it is whole nowhere.
 */
struct repair_opts {
	struct store *const *from;
	size_t n_from;
	struct store *to;
	const struct cfg *cfg;
	const char *source;
	const struct secret *log_seed;
	const char *run; /* 32 hex digits */
	int64_t now;
	bool dry_run;
	const struct pack_list *lost; /* packs without a whole copy at `to`, sorted */
	const struct site_damage *bad; /* other objects there that are damaged or missing */
	size_t n_bad;
};
int replicate_repair(const struct repair_opts *o, struct replicate_result *ret, struct err *err) HF_NODISCARD;
/* Configurations alone: a site without them cannot even be checked. *ret_n (also on failure): how many were put. */
int replicate_cfg(struct store *from, struct store *to, const struct cfg *cfg, uint64_t *ret_n, struct err *err) HF_NODISCARD;

#endif
