/*
 * Replication: a site that was away gets what it lacks from one that has it.
 */
#ifndef BACKUP_REPLICATE_H
#define BACKUP_REPLICATE_H

#include "repo/site.h"

/* Bring the snapshots that `to` lacks from `from`, oldest first, by attempts of its own. Signs intents with the log key. */
struct replicate_result {
	uint64_t snapshots, packs, bytes, index_objects;
};
int replicate_source(struct store *from, struct store *to, const struct cfg *cfg, const char *source, const struct secret *log_seed, const char *run, int64_t now, bool dry_run, struct replicate_result *ret, struct err *err) HF_NODISCARD;

#endif
