/*
 * Inside of the check: check.c (phases, findings), check_packs.c (packs by several threads, pack lists),
 * check_objects.c (attempts, copies, chain, records), check_envelopes.c (envelopes of sessions), check_digests.c, check_data.c and check_chunks.c (what is done with a
 * pack), check_trees.c (lists walked).
 */
#ifndef VERIFY_CHECK_INTERNAL_H
#define VERIFY_CHECK_INTERNAL_H

#include <pthread.h>
#include "repo/pack.h"
#include "verify/check.h"
#include "verify/idmap.h"

enum check_pack_state {
	PACK_UNSEEN,
	PACK_WHOLE,   /* its bytes are those its name says, and (data) all of its chunks open */
	PACK_DAMAGED, /* why says how */
	PACK_GONE,    /* listed, and no longer there when it was asked for */
};
struct check_pack { /* one key */
	unsigned char digest[ID_LEN];
	char attempt[NAME16];
	uint64_t size;
	uint64_t cost; /* work it will be, in bytes; the largest are begun first, so that no worker is left with one at the end */
	enum check_pack_state state;
	char *why;                     /* newly allocated */
	uint32_t session;              /* of a whole one: 1 + number, 0: not known */
	uint32_t unindexed, misplaced; /* data: chunks that no index object describes, or otherwise than the footer */
};

#define NEEDS_MAX 16
/* Snapshots that name a digest which is not there whole. */
struct check_need {
	unsigned char digest[ID_LEN];
	uint64_t seq[NEEDS_MAX];
	size_t n, more;
};
struct check_snap { /* committed and not expired; of equal digests the first leads, the others stand behind it */
	struct attempt_info *a;
	size_t leader;
	bool broken; /* the leader's is the one that counts */
};

/* One that a whole pack names, with the envelopes that the pack's header carries. */
struct check_session {
	struct envelope *env;
	size_t n;
	bool live; /* a snapshot needs a pack of it */
};

enum finding_kind { FIND_MISSING, FIND_CORRUPT, FIND_FORK, FIND_BEHIND, FIND_MENDED, FIND_BROKEN };

struct check {
	struct store *st;
	const struct cfg *cfg;
	const char *source;
	const struct check_opts *o;
	struct check_result *ret;
	uint64_t unlisted; /* findings above the ceiling */
	struct attempts all;
	struct store_keys marks; /* b/ */
	struct store_keys copies; /* s/<source>/ as it was before anything else was looked at */
	struct check_snap *snap; /* by seq, lineage, digest */
	size_t n_snaps;
	struct check_pack *pack; /* by digest */
	size_t n_packs;
	struct idmap pack_no; /* digest -> 1 + first of its packs */
	struct check_need *need;
	size_t n_needs, cap_needs;
	struct idmap need_no;   /* digest -> 1 + need; digests in a live list that are whole: NEED_NONE */
	struct idmap by_digest; /* of all committed snapshots, expired too: 1 + number in all */
	pthread_mutex_t mutex; /* of the sessions, while packs are read */
	struct check_session *session;
	size_t n_sessions, cap_sessions;
	struct idmap by_sid;    /* 1 + number of the session */
	struct idmap explained; /* digests of snapshots that a valid x/ names */
};
#define NEED_NONE UINT32_MAX

/* What is done with a pack. Each worker has a state of its own, used by one thread. */
struct check_ops {
	int (*prepare)(void *arg, struct err *err); /* once, when attempts and packs are listed; may be NULL */
	void *(*open)(void *arg);
	/* Sets p->state, why and what else is known; returns an error only when the check cannot go on. *ret_bytes:
	 * read. */
	int (*pack)(void *worker, struct check_pack *p, uint64_t *ret_bytes, struct err *err);
	/* No pack is left to begin: take part in one that another worker has begun. False: there is nothing to do. May be NULL */
	bool (*help)(void *worker);
	void (*halt)(void *arg); /* with help: no more packs will be begun */
	void (*close)(void *worker);
	void *arg;
	size_t distant; /* how many at once at a distant site, at least; 0: as suits packs that are fetched */
};

/* --- check.c --- */
/* All phases but the trees. c is released by check_end in any case. */
int check_begin(struct check *c, const struct check_ops *ops, struct err *err) HF_NODISCARD;
/* Counts broken snapshots, closes the findings. */
void check_end(struct check *c);
/* Count and tell it; seq may be NULL with n 0. */
void check_find(struct check *c, enum finding_kind kind, const char *object, const uint64_t *seq, size_t n,
        const char *fmt, ...) HF_PRINTF(6, 7);
/* The same of an object that is no pack: one that is mended is told as that, another one is remembered for a repair. */
void check_find_object(struct check *c, enum finding_kind kind, const char *key, const uint64_t *seq, size_t n, const char *what);
/* Is this error the object's (a result) and neither the site's nor that of a program too old for it? */
bool check_is_damage(enum err_code code);
int check_cancelled(const struct check_opts *o, struct err *err);

/* --- check_packs.c --- */
int check_list_packs(struct check *c, struct err *err) HF_NODISCARD;
int check_run_packs(struct check *c, const struct check_ops *ops, struct err *err) HF_NODISCARD;
/* Pack lists of all live snapshots against the packs seen; tells packs that are damaged or missing, counts strays. */
int check_pack_lists(struct check *c, struct err *err) HF_NODISCARD;

/* --- check_objects.c --- */
int check_expiries(struct check *c, struct err *err) HF_NODISCARD;
bool check_listed(const struct store_keys *k, const char *key);
/* Calls fn for each key below a letter and the source with its bytes. Damage is told. */
typedef void (*check_object_fn)(struct check *c, const char *key, const char *rest, const struct buf *b);
int check_each_object(struct check *c, const char *letter, check_object_fn fn, struct err *err) HF_NODISCARD;
/* Fates that do not decode, intents, copies under s/, keys, the chain. */
int check_objects(struct check *c, struct err *err) HF_NODISCARD;
/* Digest of a whole object as it streams by; head (may be NULL) gets its first CHECK_HEAD bytes. */
#define CHECK_HEAD ((size_t)64 << 10) /* enough for the header of a pack */
int check_digest_of(struct check *c, const char *key, struct sha256 *h, unsigned char digest[ID_LEN],
        uint64_t *ret_bytes, struct buf *head, struct err *err) HF_NODISCARD;
/* Digest in what follows "m.": "<sha256>", and "<sha256>.<n>" of what was put again. */
bool check_index_digest(const char *rest, unsigned char digest[ID_LEN]);
/* m.<sha256> below i/ against their names. */
int check_index_names(struct check *c, struct err *err) HF_NODISCARD;

/* --- check_envelopes.c --- */
/* The session of a pack that is whole; takes the envelopes of its header. Any thread. */
void check_take_session(struct check *c, struct check_pack *p, struct pack_header *h);
/* Envelope objects: those of sessions whose packs are needed have to be there, and to be what the packs carry. */
int check_envelopes(struct check *c, struct err *err) HF_NODISCARD;
/* Does a live snapshot name a pack of this digest? (behind check_pack_lists) */
bool check_is_live(const struct check *c, const unsigned char digest[ID_LEN]);

/* --- check_trees.c --- */
#define MET(type, length) ((uint32_t)(length) | (uint32_t)(type) << 28)
struct list_rec { /* a list chunk met, sealed in the spool */
	uint64_t at;
	uint32_t sealed_len, plain_len, epoch;
	uint8_t comp, state;
	const struct session_key *session;
	unsigned char salt[SALT_LEN];
	/* once walked */
	uint64_t length, entries, content;
	unsigned char bad[ID_LEN]; /* first child that cannot be had */
};
struct check_trees {
	struct check *c;
	struct reader *r;
	struct idmap met;   /* id -> MET(), of chunks opened and re-identified */
	struct idmap lists; /* id -> 1 + list_rec */
	struct list_rec *rec;
	size_t n_recs, cap_recs;
	int spool;
	uint64_t spooled;
};
/* Walk every live snapshot's streams; marks and tells those that are broken. */
int check_walk(struct check_trees *t, struct err *err) HF_NODISCARD;

#endif
