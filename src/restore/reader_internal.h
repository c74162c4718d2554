/*
 * Inside of the reader: reader.c (keys, snapshots), fetch.c (chunks from sites, workers), reader_stream.c (ordered streams).
 *
 * Locks: `mutex` guards session keys, packs held, site counters, what is known to be bad and the task queue; `index_lock` the index
 * (written only while it is rebuilt from footers); `site_lock` the store of a site that is not safe for several threads, held for one
 * call. Order: index_lock, mutex, site_lock. No other lock is held while packs are fetched or opened.
 */
#ifndef RESTORE_READER_INTERNAL_H
#define RESTORE_READER_INTERNAL_H

#include <pthread.h>
#include "restore/path_set.h"
#include "restore/reader.h"

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
};
struct held_pack { /* whole pack in memory, for sites where ranges are not wanted */
	unsigned char digest[ID_LEN];
	struct buf b;
	size_t site;
	unsigned users;
	uint64_t last_use;
	bool loading;
};

/* One chunk to fetch and open. */
struct task {
	unsigned char id[ID_LEN];
	enum chunk_type type;
	uint32_t length;
	struct buf out;
	bool queued, done;
	struct err err;
	struct task *next;
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
	pthread_cond_t work, done;
	struct site_packs *packs;
	pthread_mutex_t *site_lock;
	struct path_set bad; /* "site key" of objects told already */
	struct session_key **session;
	size_t n_sessions;
	struct held_pack *held;
	size_t n_held;
	uint64_t tick;
	struct task *head, *tail; /* queue */
	bool stop;
	pthread_t *thread;
	size_t n_threads;
	struct opener *inline_opener; /* the caller's thread */
};

/* What one thread opens chunks with: a coder per epoch. */
struct opener {
	struct reader *r;
	struct pack_coder **coder; /* by index of epoch */
	struct buf bytes;
};
struct opener *opener_new(struct reader *r);
void opener_free(struct opener *o);
/* Its coder for an epoch, which wants pack_coder_key(). NULL, ERR_MISSING: no keys of it. */
struct pack_coder *opener_coder(struct opener *o, uint32_t epoch, struct err *err);
/* Fetch, open, re-identify into out (cleared, grown); tries every place at every site. length 0: as the index says. */
int opener_chunk(struct opener *o, const unsigned char id[ID_LEN], enum chunk_type type, uint32_t length, struct buf *out, struct err *err) HF_NODISCARD;
/* Session key of a sid from its envelope object or from the header of a pack of it. */
int reader_session(struct reader *r, const unsigned char sid[SID_LEN], const void *pack_head, size_t n_head, const struct session_key **ret, struct err *err) HF_NODISCARD;
int reader_list_packs(struct reader *r, size_t site, struct err *err) HF_NODISCARD;
/* Key of a pack at a site; false when it is not there. n counts several attempts. */
bool reader_pack_key(struct reader *r, size_t site, const unsigned char digest[ID_LEN], unsigned n, char *key);
/* Count and log it, the first time. */
void reader_site_bad(struct reader *r, size_t site, const char *key, const struct err *why);
/* Around calls of a site's store: one thread at a time where the store wants that. */
void reader_site_lock(struct reader *r, size_t site);
void reader_site_unlock(struct reader *r, size_t site);
/* Describe packs that the index lacks by their own footers. */
int reader_rebuild(struct reader *r, struct err *err) HF_NODISCARD;
int reader_start_workers(struct reader *r, struct err *err) HF_NODISCARD;
void reader_stop_workers(struct reader *r);
void reader_submit(struct reader *r, struct task *t);
void reader_wait(struct reader *r, struct task *t);

#endif
