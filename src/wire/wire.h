/*
 * Two programs of holdfast talk over a pair of pipes: requests of several threads at once on one connection, either end
 * may ask and serve. Two services: `store` (the storage interface without remove) and `job` (a document, progress, a
 * result). docs/format/wire.md has the frames.
 *
 *   one end                                             the other
 *   wire_new(in, out, &opts, &w, &err)                  wire_new(0, 1, &opts, &w, &err)
 *   wire_serve_store(w, 0, &(struct wire_served){...})  wire_serve_job(w, fn, arg)
 *   wire_start(w)                                       wire_run(w, &err)            until the other end leaves
 *   wire_job_run(w, "backup", doc, ...)                 fn: wire_store_open(wire_job_wire(job), 0, "north", ...)
 *   wire_free(w)                                        wire_free(w)
 *
 * Threading: all but wire_new and wire_free may be called by several threads. A connection has a reader thread, a thread
 * for short frames, and one for each request that it serves, at most WIRE_REQUESTS. Memory: of each answer at most
 * WIRE_WINDOW bytes wait for who asked; objects that are put here may take WIRE_BODIES bytes together, those among them that are
 * kept because other stores will get them, too. Everything that
 * waits is bounded by the connection's life: it dies when the other end gives no sign for idle_ms (both ends send pings).
 */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include "base/json.h"
#include "base/log.h"
#include "store/store.h"

#define WIRE_VERSION_MIN 1
#define WIRE_VERSION_MAX 2
#define WIRE_FRAME_MAX ((size_t)256 << 10) /* with its header */
#define WIRE_REQUESTS 32                   /* under way at once, in each direction */
#define WIRE_WINDOW ((size_t)4 << 20)
#define WIRE_BODIES ((size_t)128 << 20)
#define WIRE_JSON_MAX ((size_t)16 << 20) /* a job's document, its result */

enum wire_service { WIRE_STORE = 1 << 0, WIRE_JOB = 1 << 1 };

struct wire_opts {
	const char *name;    /* the other end for messages, e.g. "holdfast-vault at backup@north"; not NULL */
	const char *role;    /* what this end is: "controller", "vault put"; told to the other; NULL: "" */
	const char *install; /* hint when nobody or another version answers, e.g. the command that copies it there */
	const char *spool;   /* directory for objects above 64 MiB that are put here; NULL: those are refused */
	int64_t hello_ms, idle_ms;  /* 0: 20 s, 60 s */
	const atomic_bool *cancel; /* ends every wait with ERR_CANCELLED; may be NULL */
};
struct wire;
/*
 * Exchange greetings. The descriptors stay the caller's, become non-blocking, and stay open until wire_free returned.
 * ERR_UNREACHABLE: nothing came, or not a greeting (what came is quoted). ERR_UNSUPPORTED: no common version, both named.
 */
int wire_new(int in_fd, int out_fd, const struct wire_opts *o, struct wire **ret, struct err *err) HF_NODISCARD;
/* Say good-bye, stop what is under way, free. Stores opened over it are freed before. */
void wire_free(struct wire *w);
/* Begin to read. Calls that ask do it by themselves; what shall be served is registered before. */
void wire_start(struct wire *w);
/* Start, and wait until the connection ends. 0 when the other end said good-bye or left with nothing under way. */
int wire_run(struct wire *w, struct err *err) HF_NODISCARD;
/* The connection has died: every call fails with ERR_UNREACHABLE. ret_why, which may be NULL, is filled. */
bool wire_dead(struct wire *w, struct err *ret_why);
/* Valid as long as the connection: what the other end told of itself. */
const char *wire_peer_version(const struct wire *w);
const char *wire_peer_role(const struct wire *w);

/* --- store service --- */
enum wire_op {
	WIRE_OPEN = 1,
	WIRE_PUT,
	WIRE_GET,
	WIRE_STAT,
	WIRE_LIST,
	WIRE_SYNC,
	WIRE_OLDER,
	WIRE_DIGEST,
	WIRE_LOCK,
	WIRE_EXTEND,
	WIRE_CLOCK,
	WIRE_ATTACK,
	WIRE_COSIGN,
	WIRE_SAME,
	WIRE_OP_END
};
/* A store as this end serves it. Callbacks may be NULL, and are called by several threads. */
struct wire_served {
	struct store *store; /* borrowed until wire_free; one that is not THREADSAFE gets one request at a time */
	/* With store NULL, asked when the other end opens; what it gives stays the callee's, until wire_free. */
	int (*open)(void *arg, bool create, struct store **ret, struct err *err);
	/*
	 * Asked before each operation: 0, or an error (ERR_DENIED). Keys are valid ones; "" for SYNC, CLOCK, OPEN and
	 * COSIGN. LIST: asked for every key with err NULL; what is not allowed is left out.
	 */
	int (*allow)(void *arg, enum wire_op op, const char *key, struct err *err);
	/* As store_cosign(). NULL: what the store itself has. */
	int (*cosign)(void *arg, const void *p, size_t n, struct buf *ret, struct err *err);
	void *arg;
};
/*
 * Serve a store under a number below 64, from now on. Puts of keys whose last component is a SHA-256 (64 hex digits,
 * or m. and these) are hashed while they are received: other bytes are ERR_CORRUPT before anything is visible. What is put to
 * several stores under such keys crosses once: the driver asks for it to be put from what came for another one.
 */
void wire_serve_store(struct wire *w, unsigned number, const struct wire_served *s);
/* The digest that a key's last component promises; false when it is none. */
bool wire_key_digest(const char *key, unsigned char ret[32]);
/*
 * The other end's store of that number. Caps are those of the store there, without LOCAL and REMOVE, with REMOTE,
 * THREADSAFE, PACED and DIGEST. Its trouble is that of the store there, and who gives it up gives that one up, both a
 * moment later. ERR_MISSING: it serves none under that number.
 */
int wire_store_open(struct wire *w, unsigned number, const char *name, bool create, struct store **ret, struct err *err)
        HF_NODISCARD;

/* --- job service --- */
struct wire_job;
/*
 * Do the job; runs in a thread of its own, one job at a time (another is ERR_BUSY). *ret, which may stay NULL, is sent in
 * any case and then freed; the return value and err are those of the job.
 */
typedef int (*wire_job_fn)(
        void *arg, struct wire_job *job, const char *kind, const json_t *doc, json_t **ret, struct err *err);
void wire_serve_job(struct wire *w, wire_job_fn fn, void *arg);
/* For the function: its connection; true once who asked cancelled or is gone; a progress document; a line of log. */
struct wire *wire_job_wire(struct wire_job *job);
const atomic_bool *wire_job_cancel(const struct wire_job *job);
void wire_job_progress(struct wire_job *job, const json_t *doc);
void wire_job_log(struct wire_job *job, enum log_level level, const char *line);

/* Both called by the thread that runs the job; text from the other end is cleaned of control characters. May be NULL. */
struct wire_job_events {
	void (*progress)(void *arg, const json_t *doc);
	void (*log)(void *arg, enum log_level level, const char *line);
	void *arg;
};
/*
 * Have the other end do a job and wait for its end. *ret gets the result document, also beside an error (NULL when there
 * is none). cancel, which may be NULL, is handed on to the other end, whose answer is then awaited for a minute.
 */
int wire_job_run(struct wire *w, const char *kind, const json_t *doc, const struct wire_job_events *ev,
        const atomic_bool *cancel, json_t **ret, struct err *err) HF_NODISCARD;

#endif
