/*
 * Inside of replication: replicate.c (snapshots one by one, fates), replicate_packs.c (packs, read ahead by a thread),
 * replicate_copy.c (objects that are copied as they are).
 */
#ifndef BACKUP_REPLICATE_INTERNAL_H
#define BACKUP_REPLICATE_INTERNAL_H

#include "repo/pack_lists.h"
#include "backup/replicate.h"

struct bring_at { /* a pack at `from` */
	unsigned char digest[ID_LEN];
	char attempt[NAME16];
};
/* An attempt at `to` whose packs may be reused. */
struct bring_base {
	char attempt[NAME16]; /* "" none */
	struct pack_list list;
	unsigned depth;
	uint64_t seq;
};
struct bring {
	struct store *from, *to;
	const struct cfg *cfg;
	const char *source;
	const struct secret *log_seed;
	const char *run;
	int64_t now;
	bool dry_run;
	struct replicate_result *ret;
	struct attempts theirs, ours; /* at from, at to */
	struct pack_lists *lists;     /* of from */
	struct bring_at *at;          /* packs at from, by digest */
	size_t n_at;
	struct bring_base newest, last; /* newest committed at to, and what was brought last */
	bool copied;                    /* what readers of the first fate need */
};

/* --- replicate_packs.c --- */
/* Where packs lie at from. */
int bring_list_packs(struct bring *b, struct err *err) HF_NODISCARD;
/*
 * Put packs under an attempt, each fetched whole and held to its name; what is bad in one place is tried in the next.
 * ERR_MISSING, ERR_CORRUPT: from has none that is whole. At most three packs are in memory.
 */
int bring_copy_packs(struct bring *b, const char *attempt, const struct pack_list *want, struct err *err) HF_NODISCARD;
/* The same for a dry run: counts only. */
int bring_count_packs(struct bring *b, const struct pack_list *want, struct err *err) HF_NODISCARD;

/* --- replicate_copy.c --- */
bool bring_has_key(const struct store_keys *k, const char *key);
/* Once, before the first fate: configurations, keys, envelopes, index. */
int bring_copy_needed(struct bring *b, struct err *err) HF_NODISCARD;
/* After the last: copies for finding, receipts, expiries of what is not here. */
int bring_copy_rest(struct bring *b, struct err *err) HF_NODISCARD;

#endif
