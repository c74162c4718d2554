/*
 * A store: a flat map from keys to immutable bytes. Sites are stores; everything that leaves a host is an object in
 * one.
 *
 *   struct store *s;
 *   if (place_open("file:///mnt/north/ca", NULL, &s, &err)) ...
 *   store_put(s, "p/docs/0123456789abcdef/ab..", &src, &err)
 *   store_free(s);
 *
 * Keys: 1 to 1,000 bytes of [A-Za-z0-9._/-] in components of 1 to 255 bytes that do not begin with a dot (those names
 * are the drivers' own, and "." and ".." are among them). A key is not the directory of another one: such a put is
 * ERR_EXISTS. Puts are create-only: a key is never overwritten, and an object is visible whole or not at all and
 * durable when put returns 0. A filter is a store that owns the store below it. Threading: one struct store a thread,
 * unless its caps hold STORE_THREADSAFE (file and mem do, filters hand it on).
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdatomic.h>
#include <sys/types.h>
#include "base/buf.h"

#define STORE_KEY_MAX 1000
#define STORE_OBJECT_MAX (1ull << 32)

enum store_cap {
	STORE_CREATE_ONLY = 1 << 0, /* of several concurrent puts of a key exactly one wins */
	STORE_RANGE = 1 << 1,
	STORE_OBJECT_LOCK = 1 << 2,
	STORE_LIST_STRONG = 1 << 3, /* a list holds all that was put before it began */
	STORE_REMOVE = 1 << 4,
	STORE_THREADSAFE = 1 << 5,
	STORE_LOCAL = 1 << 6, /* objects are files: store_local_path works */
	STORE_REMOTE = 1 << 7, /* another machine: it may be away, answers cost round trips */
	STORE_VERSIONS = 1 << 8, /* store_get_older works */
	STORE_DIGEST = 1 << 9,   /* store_digest works: the site reads, nothing is transferred */
	STORE_PACED = 1 << 10,   /* the driver calls store_pace() for what it sends and receives */
	STORE_WITNESS = 1 << 11, /* store_cosign works: somebody at the site signs the checkpoints of logs */
};

/* Bytes to put: memory pieces, given in order. Borrowed for the call. */
struct store_piece {
	const void *p;
	size_t n;
};
struct store_src {
	const struct store_piece *piece;
	size_t n_pieces;
};

/*
 * Where bytes of a get go, in order. Returning non-zero stops the get, which returns it; such an error is not the
 * site's and gets no prefix.
 */
struct store_sink {
	int (*write)(void *arg, const void *p, size_t n, struct err *err);
	void *arg;
};
/* len 0: to the end. A range is cut at the end of the object: from there on it is empty, which is no error. */
struct store_range {
	uint64_t off, len;
};
struct store_stat {
	uint64_t size;
	int64_t mtime_ns; /* when it arrived, by the site's clock; 0 when unknown */
};
/* A promise of the site not to change or remove an object before a time. */
struct store_lock {
	enum { STORE_UNLOCKED, STORE_LOCK_GOVERNANCE, STORE_LOCK_COMPLIANCE } mode;
	int64_t until_ns; /* wall clock of the site */
};
/* What a thief of the credentials would try with an object that is there. */
enum store_attack {
	STORE_OVERWRITE,      /* other bytes under the same key */
	STORE_DELETE,         /* so that a get finds nothing, be it by a delete marker */
	STORE_DELETE_VERSION, /* the bytes themselves, for ever */
	STORE_SHORTEN_LOCK,
	STORE_BAD_DIGEST,     /* a put of a key that is free, whose announced digest is not that of its bytes */
};
/* Called once a key in ascending byte order of whole keys; non-zero stops the listing and is returned. */
typedef int (*store_list_fn)(void *arg, const char *key, const struct store_stat *st, struct err *err);

struct store;
/* Keys and prefixes arrive validated, err may be NULL. What a sink or list callback returned is handed on as it is. */
struct store_ops { /* static const, one per driver or filter */
	const char *scheme;
	/* ERR_EXISTS when the key is taken (the bytes there may differ or be equal). */
	int (*put)(struct store *s, const char *key, const struct store_src *src, struct err *err);
	int (*get)(
	        struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err);
	int (*stat)(struct store *s, const char *key, struct store_stat *ret, struct err *err);
	int (*list)(
	        struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err);
	int (*remove)(struct store *s, const char *key, struct err *err);
	int (*sync)(struct store *s, struct err *err);
	void (*free)(struct store *s);
	/* get without a sink between: appended to out. NULL where there is no shorter way, and in filters. */
	int (*get_buf)(struct store *s, const char *key, struct store_range range, struct buf *out, struct err *err);
	/* What not every place has; NULL: ERR_UNSUPPORTED. */
	int (*get_older)(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err);
	int (*digest)(struct store *s, const char *key, unsigned char ret[32], struct err *err);
	int (*lock)(struct store *s, const char *key, struct store_lock *ret, struct err *err);
	int (*extend)(struct store *s, const char *key, int64_t until_ns, struct err *err);
	int (*clock)(struct store *s, int64_t *ret_ns, struct err *err);
	int (*attack)(struct store *s, enum store_attack what, const char *key, struct err *err);
	int (*cosign)(struct store *s, const void *p, size_t n, struct buf *ret, struct err *err);
};
/*
 * How a site is doing, kept by its retry filter and read by who has other sites to serve.
 */
struct store_trouble {
	atomic_uint retrying; /* operations that failed and are to be tried again */
	atomic_uint refusals; /* tries that failed so far, all operations together */
	atomic_bool give_up;  /* set by anyone: from now on each operation is tried once, who waits returns at once */
};
/* Bytes a second as a throttle filter above allows them: take() waits until n more bytes may flow. */
struct store_pace {
	int (*take)(void *arg, size_t n, struct err *err);
	void *arg;
};
struct store {
	const struct store_ops *ops;
	uint32_t caps; /* enum store_cap */
	char *name;    /* for messages: the site's name or the URL without secrets */
	struct store_trouble *trouble;  /* of the retry filter at or below this store; NULL: there is none */
	const struct store_pace *pace;  /* of the throttle filter right above; NULL: as fast as it goes */
};
/*
 * For drivers with STORE_PACED: call it before n bytes (at most 256 KiB) of an object are sent, or after they were
 * received. ERR_CANCELLED ends the operation. Does nothing where nothing limits the site.
 */
int store_pace(const struct store *s, size_t n, struct err *err) HF_NODISCARD;

struct store_config {
	const char *name; /* site name for messages; NULL: the URL */
	bool create;      /* make the place when it is missing (init) */
	bool named_temp;  /* file: write under .t/ first, as on a file system without O_TMPFILE */
	/* sftp: files; NULL: what ssh itself would take, but never a host key on first use */
	const char *identity, *known_hosts;
	bool ssh_library; /* sftp: libssh2, even where there is an ssh program */
	/* s3: values, borrowed for the call and kept in locked memory */
	const char *access_key, *secret_key, *session_token;
	const char *region, *endpoint, *ca_file; /* NULL: us-east-1; AWS's; the system's */
	bool may_remove; /* s3: have STORE_REMOVE, which writers never need */
	struct store_lock_policy {
		int64_t ms, evidence_ms; /* each new object is locked for so long; evidence_ms: keys below l/. 0: not */
		bool governance;         /* else COMPLIANCE */
	} lock;
	const atomic_bool *cancel; /* polled while waiting for another machine; may be NULL */
};
void store_free(struct store *s);
void store_free_ptr(struct store **s); /* for CLEAN() */

/*
 * Checked calls: the key is validated (ERR_FORMAT), errors get "site NAME: " in front. ERR_MISSING: no such object. A
 * list that is out of order or holds keys that are foreign or not valid is ERR_FORMAT, after the keys before were
 * handed on.
 */
int store_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
        HF_NODISCARD;
int store_put_bytes(struct store *s, const char *key, const void *p, size_t n, struct err *err) HF_NODISCARD;
/* Put; when the key is taken, compare: equal bytes are success, different ones ERR_EXISTS. For small objects. */
int store_put_same(struct store *s, const char *key, const void *p, size_t n, struct err *err) HF_NODISCARD;
/* Whole object appended to out, out->limit is the ceiling (ERR_NOMEM). On failure out is as it was. */
int store_get(struct store *s, const char *key, struct buf *out, struct err *err) HF_NODISCARD;
/* Exactly len bytes from off; ERR_CORRUPT when the object ends before. */
int store_get_range(struct store *s, const char *key, uint64_t off, size_t len, struct buf *out, struct err *err)
        HF_NODISCARD;
/* At most len bytes from off: fewer only where the object ends. */
int store_get_part(struct store *s, const char *key, uint64_t off, size_t len, struct buf *out, struct err *err)
        HF_NODISCARD;
int store_get_sink(struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err)
        HF_NODISCARD;
/* The write of a sink whose arg is a struct buf. */
int store_buf_write(void *arg, const void *p, size_t n, struct err *err) HF_NODISCARD;
/*
 * Get n small objects, each of at most limit bytes: their round trips overlap where the site is remote, so order is not kept, but
 * one call of fn is made at a time. b NULL: why tells. Non-zero from fn, which fills err, stops and is returned.
 */
typedef int (*store_each_fn)(void *arg, size_t i, struct buf *b, const struct err *why, struct err *err);
int store_get_each(struct store *s, const char *const *key, size_t n, size_t limit, store_each_fn fn, void *arg, struct err *err) HF_NODISCARD;
/* The same of digests, as store_digest() has them: b holds the 32 bytes. */
int store_digest_each(struct store *s, const char *const *key, size_t n, store_each_fn fn, void *arg, struct err *err) HF_NODISCARD;
int store_stat(struct store *s, const char *key, struct store_stat *ret, struct err *err) HF_NODISCARD;
/* Keys that start with prefix ("" for all; it may end inside a component) and sort after `after` (NULL: all). fn may
 * use the store. */
int store_list(struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err)
        HF_NODISCARD;
/* Sorted, newly allocated array of at most 16 Mi keys (ERR_NOMEM). */
struct store_keys {
	char **key;
	uint64_t *size;
	size_t n;
};
int store_list_all(struct store *s, const char *prefix, struct store_keys *ret, struct err *err) HF_NODISCARD;
void store_keys_release(struct store_keys *k);
int store_remove(struct store *s, const char *key, struct err *err) HF_NODISCARD;
int store_sync(struct store *s, struct err *err) HF_NODISCARD;
/* The n-th version before the newest (n from 1; what a delete marker hides counts), to the sink. ERR_MISSING: no more. */
int store_get_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err) HF_NODISCARD;
/* SHA-256 as the site itself reads the object: a help for finding damage, never proof of it being sound. */
int store_digest(struct store *s, const char *key, unsigned char ret[32], struct err *err) HF_NODISCARD;
/* The lock as the site tells it, and a later end for it (never an earlier one). */
int store_lock(struct store *s, const char *key, struct store_lock *ret, struct err *err) HF_NODISCARD;
int store_extend(struct store *s, const char *key, int64_t until_ns, struct err *err) HF_NODISCARD;
/* Wall clock of the site from a fresh answer. */
int store_clock(struct store *s, int64_t *ret_ns, struct err *err) HF_NODISCARD;
/*
 * For the probe: try to do harm to an object of the probe's own. 0: it was done; ERR_DENIED: the site refused it for all
 * time; ERR_UNSUPPORTED: there is no way to ask for it.
 */
int store_attack(struct store *s, enum store_attack what, const char *key, struct err *err) HF_NODISCARD;
/* Have the site's witness cosign a checkpoint: a request of evidence/witness.h; the answer is appended to ret. */
int store_cosign(struct store *s, const void *p, size_t n, struct buf *ret, struct err *err) HF_NODISCARD;
bool store_key_ok(const char *key);

/* --- drivers --- */
/* Directory dir, which may be a symbolic link; none is followed beneath. Objects have mode 0400. */
int store_file_open(const char *dir, const struct store_config *c, struct store **ret, struct err *err) HF_NODISCARD;
/* Path of an object's file, newly allocated; the object need not exist. ERR_UNSUPPORTED without STORE_LOCAL. */
int store_local_path(struct store *s, const char *key, char **ret, struct err *err) HF_NODISCARD;
/* A named in-memory store whose objects live until they are forgotten; the same name opens the same objects. */
int store_mem_open(const char *name, struct store **ret, struct err *err) HF_NODISCARD;
/* Forget all of them; one that is still open may only be freed. */
void store_mem_forget(void);

/* --- filters: each takes over `below` --- */
/*
 * Faults for tests and for the planted negative drills. `rules` ends with NULL; each is "OP PREFIX ACTION [ARG]
 * [after N] [times N]": "get p/ flip 1000", "put i/ fail NOSPACE after 3", "list x/ drop", "put w/ kill after 5".
 *
 * OP is put, get, stat, list, remove, older, digest, lock, later (extend), clock, attack or any; PREFIX is that of the keys,
 * * for all. A rule passes over its first `after` matching operations and acts on the next `times` (default: all). Rules
 * act in the order given.
 *
 *   fail CODE        return that error, a name of err.def (all OPs)
 *   failafter CODE   the same when the operation has succeeded: its answer is lost (all OPs)
 *   cut N            hand on N bytes (get, older) or keys (list), then ERR_UNREACHABLE
 *   flip [OFFSET]    turn bit 0 of a byte, default the middle one, negative from the end (put: what is stored; get, older,
 *                    digest)
 *   truncate N       keep N bytes, negative: drop N at the end (put, get, older)
 *   extend N         N zero bytes more (put, get, older)
 *   swap             serve the next other object under PREFIX, ERR_FAILED when there is none (get)
 *   drop             acknowledge and do nothing (put, remove); leave out keys under PREFIX (list)
 *   stale            keys under PREFIX as they were when the rule first acted (list)
 *   kill, killafter  SIGKILL to this process before the operation, or when it has taken place (all OPs)
 *
 * ERR_USAGE names a rule that does not parse; `below` then stays the caller's.
 */
int store_fault_new(struct store *below, const char *const *rules, struct store **ret, struct err *err) HF_NODISCARD;
/*
 * Calls fn with one line an operation, in the thread that asked: op, key (* for an empty prefix), bytes or keys, ok or
 * the error's name, seconds: "put KEY 1234 ok 0.003".
 */
struct store *store_trace_new(struct store *below, void (*fn)(void *arg, const char *line), void *arg);

/*
 * For distant sites: failures that err->retryable says may pass are tried again, after waits that double from base_ms to
 * cap_ms (each a random part of that, or as long as the site asked for), until total_ms have gone since the first
 * failure or since the last larger part of the object or list arrived. Never more than three requests an operation in the
 * long run: retries are paid from a reserve that two a success fill up again, and when it is empty one a cap_ms is left
 * for all threads together.
 *
 * A get goes on where its bytes stopped and a list behind its last key; nothing is handed on twice. A put with an unknown
 * outcome is put again, and when its key is then taken by equal bytes it has succeeded: they are read; where that is
 * denied, the size decides if the key ends with the digest of the bytes. When all has failed the last error says how often
 * and how long it was tried. cancel and trouble->give_up end a wait at once. attack is never repeated.
 */
struct store_retry {
	int64_t base_ms, cap_ms, total_ms; /* 0: 1 s, 60 s, 15 min */
	unsigned reserve;                  /* retries in stock, 0: 20 */
	/* True with the error at each failure that will be tried again; false when nothing is retried any more: with an error
	 * when the last operation that was has failed for good, NULL when the site answers again. From any thread. */
	void (*state)(void *arg, bool retrying, const struct err *err);
	/* For tests: the time, and to wait (then cancel is looked at again). NULL: the clock, a sleep. */
	int64_t (*now_ms)(void *arg);
	void (*wait)(void *arg, int64_t ms);
	void *arg;
	const atomic_bool *cancel;
};
struct store *store_retry_new(struct store *below, const struct store_retry *opts); /* opts NULL: as above */
/*
 * At most `rate` bytes a second of objects put and got, all threads together. Between from_min (inclusive) and to_min
 * (exclusive; it may wrap) of the local day as minute() tells it, and always when from_min is negative; outside of that
 * there is no limit. A driver with STORE_PACED is slowed slice by slice, for others a put waits before it begins.
 */
struct store_throttle {
	uint64_t rate;             /* 0: none */
	int64_t from_min, to_min;  /* minutes of the local day */
	int (*minute)(void *arg);  /* NULL: by the process's time zone */
	int64_t (*now_ms)(void *arg); /* this and wait as in store_retry */
	void (*wait)(void *arg, int64_t ms);
	void *arg;
	const atomic_bool *cancel;
};
struct store *store_throttle_new(struct store *below, const struct store_throttle *opts);

/*
 * Fan-out: one operation on several sites at once, each site with threads, a queue and a fate of its own. A site that
 * failed stays failed; the others go on. A site's store is used by one thread, by up to `width` when it is distant and
 * STORE_THREADSAFE: half as many after a try that the site refused (its retry filter tells), one more after each put that
 * went well. Packs (keys below p/) are put in any order; any other object once all that was queued before it at that
 * site is there.
 *
 * Memory: a put's bytes are shared, not copied; at most 8 puts wait at a site and `width` are under way, then
 * store_multi_put() blocks. So the slowest site sets the pace, but a site that is away does not: one whose retry filter is
 * trying again, where nothing has arrived for patience_ms while all that work had nothing left to do, is given up with an
 * error that says so; what it is doing then is tried no more, until another fan-out takes the store. The same becomes of a
 * site that does not fail but has not finished a single put for stall_ms. Never the last one that works.
 */
struct store_multi_opts {
	unsigned width;                /* 0: 4, at most 16 */
	int64_t patience_ms, stall_ms; /* 0: 2 min, 1 h */
};
struct store_multi;
/* sites stay the caller's; opts NULL: the defaults */
struct store_multi *store_multi_new(struct store **sites, size_t n, const struct store_multi_opts *opts);
void store_multi_free(struct store_multi *m); /* waits for what is queued */
/*
 * Queue a put to every site that has not failed. done(arg), which may be NULL, is called once, by any thread, when all
 * have it or failed (before this returns, when all had failed already). The bytes stay the caller's and in place until
 * then; key and array of pieces are copied.
 */
void store_multi_put(
        struct store_multi *m, const char *key, const struct store_src *src, void (*done)(void *arg), void *arg);
/* The same to one site: in its queue, behind what is there. */
void store_multi_put_at(struct store_multi *m, size_t i, const char *key, const struct store_src *src,
        void (*done)(void *arg), void *arg);
/* Wait until all that was queued is done and every done() has returned. */
void store_multi_wait(struct store_multi *m);
/* Puts that the widest site takes at a time: the caller needs one buffer more to keep it busy. At least 1. */
unsigned store_multi_width(const struct store_multi *m);
/* First failure of site i, or NULL. Valid until store_multi_free(). */
const struct err *store_multi_error(struct store_multi *m, size_t i);
/* Stop using site i from now on. */
void store_multi_fail(struct store_multi *m, size_t i, const struct err *why);

#endif
