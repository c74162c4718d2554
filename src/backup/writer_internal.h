/*
 * Inside of the writer, shared by writer.c (cutting, streams), ring.c (ordered ring and workers) and packer.c (packs, upload).
 *
 * Locks: ring.mutex guards slots; packer.mutex guards packs, delta and the set of fresh ids. Neither is held while hashing,
 * compressing or sealing, and ring.mutex is never taken under packer.mutex.
 */
#ifndef BACKUP_WRITER_INTERNAL_H
#define BACKUP_WRITER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/queue.h"
#include "backup/writer.h"

/* --- packer --- */
struct id_set { /* ids that this run brought */
	unsigned char (*id)[ID_LEN];
	bool *full;
	size_t n, cap; /* cap is a power of two */
};
struct open_pack {
	struct pack *p;
	unsigned inflight; /* rooms reserved and not yet sealed */
	bool closing, in_use;
};
#define PACKS_MIN 2
#define PACKS_MAX 6 /* four on their way to a distant site, one that gets its digest, one being filled */
struct packer {
	struct session *session;
	const struct source_keys *keys;
	struct session_key key;
	struct envelope *env;
	size_t n_env;
	bool dry_run;
	pthread_mutex_t mutex;
	pthread_cond_t freed;
	struct open_pack pack[PACKS_MAX];
	size_t n_packs; /* of them */
	struct open_pack *cur;
	struct id_set fresh;
	struct pack_list brought;   /* packs of this run */
	_Atomic uint8_t *used;      /* by index pack number: the snapshot needs it */
	struct index_delta delta;
	unsigned delta_no, delta_packs;
	struct queue uploads;       /* struct open_pack */
	pthread_t uploader;
	bool started;
	struct pack_coder *coder;   /* the uploader's */
	struct err err;             /* first failure */
	atomic_bool failed;
	_Atomic uint64_t chunks, chunks_new, bytes, bytes_new, sealed, packs;
};
int packer_open(struct packer *k, const struct writer_opts *o, const struct writer_memory *m, struct err *err) HF_NODISCARD;
void packer_close(struct packer *k);
/* Chunk with its id known: deduplicate, or compress, seal and verify. Any thread, each with its own coder. */
int packer_put(struct packer *k, struct pack_coder *c, enum chunk_type type, const unsigned char id[ID_LEN], const void *p, size_t n, struct err *err) HF_NODISCARD;
/* Is it in a pack that may be reused? Then that pack counts as used. */
bool packer_reuse(struct packer *k, const unsigned char id[ID_LEN]);
bool packer_can_reuse(const struct packer *k, const unsigned char id[ID_LEN]);
/* Close the last pack, wait for uploads, put the last delta; all packs the snapshot needs. */
int packer_finish(struct packer *k, struct pack_list *packs, struct err *err) HF_NODISCARD;
int packer_error(struct packer *k, struct err *err);

/* --- ring --- */
struct read_buf { /* file data is read into it; chunks are slices of it */
	unsigned char *p;
	atomic_uint refs; /* slices in the ring, and 1 while it is being filled */
};
#define READ_BUF_SIZE (CHUNK_CUT_MAX + (1u << 20)) /* room for a chunk of the largest size and a read behind it */
#define READ_BUF_USE (3u << 20)                      /* what a buffer usually takes before the next one is begun */

enum slot_state { SLOT_FREE, SLOT_QUEUED, SLOT_DONE };
struct slot {
	enum slot_state state;
	enum stream_id stream;
	const unsigned char *p;
	size_t n;
	struct read_buf *rb; /* slice of it, or */
	void *own;           /* memory of its own */
	struct writer_cut cut;
	char *path;          /* entries: first path */
	size_t n_path;
};
#define RING_SLOTS_A_WORKER 32u
struct ring {
	struct packer *packer;
	pthread_mutex_t mutex;
	pthread_cond_t work, done;
	struct slot *slot;
	size_t n_slots, head, count, queued; /* head: oldest; queued: first not yet taken, counted from head */
	size_t n_done;                       /* slots in state DONE */
	size_t want_done;                    /* what the caller's thread waits for while `waiting`: as many done, the oldest among them, */
	bool waiting, wants_buf, buf_freed;  /* or a buffer, if it wants one */
	bool stop;
	pthread_t *thread;
	struct pack_coder **coder;
	size_t n_threads;
	struct read_buf *buf;
	size_t n_bufs;
	/* the oldest slot is done: called in order from the caller's thread, lock not held */
	int (*retire)(void *arg, struct slot *s, struct err *err);
	void *arg;
};
int ring_open(struct ring *r, const struct writer_opts *o, struct packer *k, struct err *err) HF_NODISCARD;
void ring_close(struct ring *r);
/* Move a slot in (state QUEUED to be worked on, DONE when its id is known and nothing is to be stored); retires what is ready, waits when full. */
int ring_push(struct ring *r, const struct slot *s, struct err *err) HF_NODISCARD;
/* Retire everything. */
int ring_drain(struct ring *r, struct err *err) HF_NODISCARD;
/* A free buffer, refs = 1; retires while it waits. */
int ring_buf(struct ring *r, struct read_buf **ret, struct err *err) HF_NODISCARD;

#endif
