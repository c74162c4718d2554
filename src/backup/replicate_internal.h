/*
 * Inside of replication: replicate.c (snapshots one by one, fates), replicate_packs.c (packs, read ahead by a thread),
 * replicate_copy.c (objects that are copied as they are), replicate_repair.c (what is damaged), replicate_expiries.c (its expiries).
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
/* Packs of a site, by digest. */
struct bring_place {
	struct bring_at *v;
	size_t n;
};
/* What a repair knows besides: `to` is not taken at its word. */
struct bring_repair {
	const struct pack_list *lost;  /* packs that are not whole at `to` */
	struct bring_place here;       /* packs at `to` */
	struct pack_list resolved;     /* digests of snapshots whose pack list `to` can tell */
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
	struct bring_place at;        /* packs at from */
	struct bring_base newest, last; /* newest committed at to, and what was brought last */
	bool copied;                    /* what readers of the first fate need */
	struct bring_repair *repair;    /* NULL: replication */
	struct pack_list *left;         /* packs that from could not give; NULL: the first of them is an error */
};

/* --- replicate.c --- */
void bring_release(struct bring *b);
/* All that `to` lacks of `from`. */
int bring_all(struct bring *b, struct err *err) HF_NODISCARD;
/* What may be reused of to: the newest snapshot there whose pack list can be told. */
int bring_find_newest(struct bring *b, const struct attempt_info **ret, struct err *err) HF_NODISCARD;
int bring_put_open(struct bring *b, const char *attempt, const struct pack_list *list, struct err *err) HF_NODISCARD;
/* 1: someone declared the attempt dead before us. */
int bring_put_fate(struct bring *b, const char *attempt, const struct buf *fate, struct err *err) HF_NODISCARD;

/* --- replicate_packs.c --- */
/* Where packs lie at a site. */
int bring_list_packs(struct store *st, const char *source, struct bring_place *ret, struct err *err) HF_NODISCARD;
size_t bring_find_pack(const struct bring_place *p, const unsigned char digest[ID_LEN]); /* first of a digest; n: none */
/*
 * Put packs under an attempt, each fetched whole and held to its name; what is bad in one place is tried in the next.
 * ERR_MISSING, ERR_CORRUPT: from has none that is whole. At most three packs are in memory.
 */
int bring_copy_packs(struct bring *b, const char *attempt, const struct pack_list *want, struct err *err) HF_NODISCARD;
/* The same for a dry run: counts only. */
int bring_count_packs(struct bring *b, const struct pack_list *want, struct err *err) HF_NODISCARD;

/* --- replicate_copy.c --- */
bool bring_has_key(const struct store_keys *k, const char *key);
int bring_copy_cfgs(struct bring *b, struct err *err) HF_NODISCARD;
/* Keys below a prefix that from has and to has not, each handed to fn with what follows the prefix. */
int bring_each_lacking(struct bring *b, const char *prefix,
        int (*fn)(struct bring *b, const char *key, const char *rest, struct err *err), struct err *err) HF_NODISCARD;
/* s/ of a snapshot that is committed now. */
int bring_copy_snapshot(struct bring *b, const struct snapshot *s, const struct buf *object, struct err *err) HF_NODISCARD;
/* Once, before the first fate: configurations, keys, envelopes, index. */
int bring_copy_needed(struct bring *b, struct err *err) HF_NODISCARD;
/* After the last: copies for finding, receipts, expiries of what is not here. */
int bring_copy_rest(struct bring *b, struct err *err) HF_NODISCARD;

/* --- replicate_expiries.c --- */
/* Damaged expiries: the right ones beside them. ERR_CORRUPT: no site has it. */
int repair_expiries(const struct repair_opts *o, struct replicate_result *ret, struct err *err) HF_NODISCARD;
/* Packs that are whole at no site: where others say that the snapshots that name them have expired, it is said here again.
 * *ret_explained: nothing live needs them then. */
int repair_expire_lost(const struct repair_opts *o, struct replicate_result *ret, const struct pack_list *lost, bool *ret_explained, struct err *err) HF_NODISCARD;

#endif
