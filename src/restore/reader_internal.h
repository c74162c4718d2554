/*
 * Inside of the reader: reader.c (keys, snapshots), reader_stream.c (ordered streams), and what chunks come by: fetch.c (a chunk
 * from wherever it lies), fetch_sites.c (which packs a site has), fetch_keys.c (session keys), fetch_held.c (whole packs, fetched ahead),
 * fetch_footers.c (packs that no index describes), fetch_pool.c (workers).
 *
 * Locks: `mutex` guards session keys, packs held and wanted, site counters, what is known to be bad and the task queue; `index_lock` the
 * index (written only while it is rebuilt from footers); `site_lock` the store of a site that is not safe for several threads, held for
 * one call. Order: index_lock, mutex, site_lock. No other lock is held while packs are fetched or opened.
 */
#ifndef RESTORE_READER_INTERNAL_H
#define RESTORE_READER_INTERNAL_H

#include <pthread.h>
#include "restore/path_set.h"
#include "restore/reader.h"

#define FETCHERS 4                /* packs on their way from distant sites at once */
#define HELD_BYTES (80u << 20)    /* of packs fetched ahead and those in use; five of the usual size */
#define HELD_SMALL 16             /* places beyond those that are in use: small packs stay longer */
#define WANTED_MAX 64             /* distinct packs known to be needed soon */
#define OLDER_MAX 16              /* versions of an object that are looked at */
#define PACK_HEAD (64u << 10)     /* enough for any header */

struct epoch_keys {
	uint32_t epoch;
	struct source_secrets s;
};
struct pack_at { /* a pack at one site */
	unsigned char digest[ID_LEN];
	char attempt[NAME16];
	uint64_t size;
};
struct site_packs { /* sorted by digest */
	struct pack_at *at;
	size_t n;
	bool listed;
	char (*attempt)[NAME16]; /* known at the site; asked for only when a pack is listed nowhere */
	size_t n_attempts;
	bool attempts_listed;
	bool away; /* did not answer the last time: asked after the others */
};
/* Whole pack in memory, for sites where ranges are not wanted. */
struct held_pack {
	unsigned char digest[ID_LEN];
	struct buf b;
	size_t size; /* that is or will be in b */
	size_t site;
	unsigned users;
	uint64_t last_use; /* 0: holds nothing */
	bool loading;
};
/* A pack that queued chunks lie in. */
struct want {
	unsigned char digest[ID_LEN];
	uint32_t size;
	uint32_t pending; /* chunks; 0: free */
	uint64_t order;
	bool asked; /* a fetcher has taken it on */
};

/* One chunk to fetch and open. */
struct task {
	unsigned char id[ID_LEN];
	enum chunk_type type;
	uint32_t length;
	bool urgent; /* before all that are not */
	/*
	 * Called by the worker when the chunk is open, or with plain NULL: err says why. worker: its number, below reader_opts.workers. The task
	 * is the callee's from then on. NULL: the bytes go to out, for reader_wait().
	 */
	void (*use)(struct task *t, unsigned worker, const struct buf *plain);
	const atomic_bool *skip; /* set: not fetched any more, ERR_CANCELLED. May be NULL */
	struct buf out;
	struct want *want; /* taken over from the submitter, or found by reader_submit() */
	bool done, awaited;
	struct err err;
	struct task *next;
};
struct task_queue {
	struct task *head, *tail;
};

struct reader {
	struct reader_opts o;
	struct epoch_keys *epoch;
	size_t n_epochs;
	struct index *index;
	pthread_rwlock_t index_lock;
	bool rebuilt;
	struct reader_snapshot *snap;
	size_t n_snaps;
	bool snaps_loaded;
	pthread_mutex_t mutex;
	pthread_cond_t work, done, held_changed, wanted;
	struct site_packs *packs;
	pthread_mutex_t *site_lock;
	struct path_set bad;  /* "site key" of objects told already */
	struct path_set lost; /* the same, of packs that cannot be had there */
	struct session_key **session;
	size_t n_sessions;
	struct held_pack *held;
	size_t n_held;
	uint64_t tick;
	struct want *want; /* WANTED_MAX; NULL where nothing is fetched ahead */
	struct task_queue urgent, queue;
	bool stop;
	pthread_t *thread;
	size_t n_threads;
	pthread_t fetcher[FETCHERS];
	size_t n_fetchers;
	struct opener *inline_opener; /* the caller's thread */
};

/* --- fetch.c --- */
/* What one thread opens chunks with: a coder per epoch. */
struct opener {
	struct reader *r;
	struct pack_coder **coder; /* by index of epoch */
	struct buf bytes, plain;
};
struct opener *opener_new(struct reader *r);
void opener_free(struct opener *o);
/* Its coder for an epoch, which wants pack_coder_key(). NULL, ERR_MISSING: no keys of it. */
struct pack_coder *opener_coder(struct opener *o, uint32_t epoch, struct err *err);
/* Fetch, open, re-identify into out (cleared, grown); tries every place at every site. length 0: as the index says. */
int opener_chunk(struct opener *o, const unsigned char id[ID_LEN], enum chunk_type type, uint32_t length, struct buf *out, struct err *err) HF_NODISCARD;
/* First bytes of a pack, as many as a header may have. */
int reader_pack_head(struct reader *r, size_t site, const char *key, struct buf *out, struct err *err) HF_NODISCARD;

/* --- fetch_keys.c --- */
/* Session key of a sid from the header of a pack of it, where that is at hand, or from its envelope object. */
int reader_session(struct reader *r, const unsigned char sid[SID_LEN], const void *pack_head, size_t n_head, const struct session_key **ret, struct err *err) HF_NODISCARD;

/* --- fetch_sites.c --- */
/* Around calls of a site's store: one thread at a time where the store wants that. */
void reader_site_lock(struct reader *r, size_t site);
void reader_site_unlock(struct reader *r, size_t site);
/* Count and log it, the first time. One that does not answer is told once, and asked after the others. */
void reader_site_bad(struct reader *r, size_t site, const char *key, const struct err *why);
bool reader_site_away(struct reader *r, size_t site);
void reader_site_served(struct reader *r, size_t site, uint64_t packs, uint64_t bytes);
/* Packs that cannot be had at a site, in no version. */
void reader_lost(struct reader *r, size_t site, const char *key);
bool reader_is_lost(struct reader *r, size_t site, const char *key);
bool reader_is_lost_locked(const struct reader *r, size_t site, const char *key); /* by who has the mutex */
/* Key of a pack at a site; false when it is not there. n counts several attempts. */
bool reader_pack_key(struct reader *r, size_t site, const unsigned char digest[ID_LEN], unsigned n, char *key);
/* The same where it is not listed: what it would be called, by what other sites and the site's attempts tell. For STORE_VERSIONS. */
bool reader_pack_guess(struct reader *r, size_t site, const unsigned char digest[ID_LEN], unsigned n, char *key);
/* All that are listed; asks once. */
const struct site_packs *reader_packs(struct reader *r, size_t site, struct err *err);

/* --- fetch_held.c --- */
/* Get a whole pack from a site, or the one that is held already, whose bytes are those of its name; release with held_put. */
int held_get(struct reader *r, size_t site, const unsigned char digest[ID_LEN], uint32_t size, const char *key, struct held_pack **ret, struct err *err) HF_NODISCARD;
void held_put(struct reader *r, struct held_pack *h);
/* A chunk will be asked for soon: its pack is fetched ahead where that pays. NULL: it is not. Give back with reader_unwant(). */
struct want *reader_want(struct reader *r, const unsigned char id[ID_LEN]);
void reader_unwant(struct reader *r, struct want *w); /* NULL is fine */
int reader_start_fetchers(struct reader *r, struct err *err) HF_NODISCARD;
void reader_stop_fetchers(struct reader *r); /* r->stop is set */
void held_release(struct reader *r);

/* --- fetch_footers.c --- */
/* Describe packs that the index lacks by their own footers. */
int reader_rebuild(struct reader *r, struct err *err) HF_NODISCARD;

/* --- fetch_pool.c --- */
int reader_start_workers(struct reader *r, struct err *err) HF_NODISCARD;
void reader_stop_workers(struct reader *r);
void reader_submit(struct reader *r, struct task *t);
void reader_wait(struct reader *r, struct task *t); /* one thread a task */

#endif
