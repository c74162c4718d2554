/* What the files of this module share; nobody else includes it. */
#ifndef WIRE_INTERNAL_H
#define WIRE_INTERNAL_H

#include <pthread.h>
#include "wire/frame.h"
#include "base/mem.h"
#include "crypto/crypto.h"

#define FIRST_BODY ((uint64_t)256 << 10) /* bytes of a body that may come unasked */
#define KEPT_MAX ((uint64_t)64 << 20)    /* of a body in memory; larger ones are spooled */
/* Bodies that are worth a question before they are sent once more, and may be kept for it. */
#define SHARED_MIN (FIRST_BODY + 1)
#define SHARED_MAX KEPT_MAX
#define SENT_MAX 32 /* of our puts, the last ones: who sent which bytes */
#define STORES_MAX 64
#define POLL_MS 200 /* how often a wait looks at the cancel flag */

/* --- bytes that arrived and wait --- */
struct block {
	struct block *next;
	size_t n, cap;
	unsigned char p[];
};
struct stream {
	struct block *head, *tail;
};
struct block *block_new(size_t cap);
/* Copied; small pieces share blocks, so that many tiny frames take no more memory than their bytes. */
void stream_add(struct stream *s, const void *p, size_t n);
void stream_link(struct stream *s, struct block *b);
struct block *stream_pop(struct stream *s); /* NULL when empty; free() is the caller's */
void stream_release(struct stream *s);

/* --- the connection --- */
struct served {
	bool there;
	struct wire_served s;
	struct store *opened; /* by s.open */
	pthread_mutex_t one;  /* held for a request at a store that is not thread-safe */
	bool asked;           /* the other end opened it, and hears of its trouble */
	bool put_to, given_up; /* by the other end */
	bool told_retrying;   /* what it heard last */
	unsigned told_refusals;
};
/* A store at the other end, as long as it is used here. */
struct remote {
	struct store base; /* first */
	struct wire *w;
	struct remote *next;
	unsigned number;
	struct store_trouble trouble; /* give_up is told to the other end, the rest by it */
	bool told_give_up;
};
struct request;
struct call;

struct wire {
	int in, out, wake[2];
	char *name, *role, *install, *spool;
	const atomic_bool *cancel;
	int64_t hello_ms, idle_ms;
	struct hello peer;
	unsigned version; /* that both speak */

	pthread_mutex_t m; /* all below, unless it says otherwise */
	pthread_cond_t changed; /* life, calls' slots, bodies */
	bool started, leaving, ended, peer_left;
	struct err why; /* code 0 while alive */

	/* our calls */
	struct call *calls;
	size_t n_calls;
	uint32_t last_call;
	struct remote *remotes;
	pthread_mutex_t sharing; /* held from the look at sent to the request that will be in it; taken before m */
	struct {
		unsigned char digest[SHA256_LEN];
		uint32_t id;
	} sent[SENT_MAX];
	size_t n_sent; /* counts up */

	/* what we serve */
	struct request *requests, *waiting, **waiting_end; /* all; those that no thread has taken up */
	size_t n_requests, n_waiting, n_idle;
	uint32_t last_request;
	pthread_cond_t work;
	pthread_t threads[WIRE_REQUESTS];
	size_t n_threads;
	uint64_t bodies; /* bytes granted to bodies of requests */
	uint64_t body_ticket, body_turn;
	struct held *held; /* the oldest first */
	struct served stores[STORES_MAX];
	wire_job_fn job;
	void *job_arg;
	bool job_runs;

	/* out: one frame at a time, in the order of asking */
	pthread_mutex_t out_m;
	pthread_cond_t out_changed;
	uint64_t out_ticket, out_turn;
	atomic_bool ping_due, pong_due;
	bool ping_out; /* reader's own: a ping went out since something was heard */

	pthread_t reader, pinger;
	pthread_cond_t pings;

	/* in: reader's own */
	int64_t heard; /* boot clock: when the last byte came */
	unsigned char *inbuf;
	size_t in_at, in_len;
};

/* conn.c */
void wire_die(struct wire *w, const struct err *why); /* the first reason stays */
int wire_die_of(struct wire *w, enum err_code code, const char *what, struct err *err); /* fills err, returns -code */
int wire_why(struct wire *w, struct err *err);        /* of a dead connection; takes the lock itself */
bool wire_cancelled(const struct wire *w);
/* Wait on c (under w->m) for at most POLL_MS. */
void wire_wait(struct wire *w, pthread_cond_t *c);
void cond_init(pthread_cond_t *c);

/* out.c */
int wire_send(struct wire *w, enum frame_type type, uint32_t id, const void *p, size_t n, struct err *err) HF_NODISCARD;
/* Take the turn, and give it back: what is sent between is not interleaved with others'. */
void out_take(struct wire *w);
void out_give(struct wire *w);
int out_frame(struct wire *w, enum frame_type type, uint32_t id, const void *p, size_t n, struct err *err) HF_NODISCARD;
void *out_pinger(void *arg);

/* --- trouble.c: how stores are doing, told without being asked --- */
struct news {
	enum frame_type type;
	size_t n;
	unsigned char p[TROUBLE_LEN];
};
/* Under the lock: whether there are stores that news may come of, and whether there is some. */
bool trouble_watched(const struct wire *w);
bool trouble_due(const struct wire *w);
/* The rest takes the lock itself. The next news, which counts as told: for who has the turn to write. */
bool trouble_news(struct wire *w, struct news *ret);
void trouble_begin(struct wire *w, struct served *at); /* it was opened */
void trouble_join(struct remote *r);
void trouble_leave(struct remote *r);
/* For the reader. */
int trouble_on_told(struct wire *w, const unsigned char *p, struct err *err) HF_NODISCARD;
int trouble_on_give_up(struct wire *w, const unsigned char *p, struct err *err) HF_NODISCARD;

/* in.c: the reader */
int in_fill(struct wire *w, size_t want, int64_t deadline_ns, size_t *ret, struct err *err) HF_NODISCARD;
void *in_reader(void *arg);

/* --- call.c: what we ask --- */
struct call {
	struct wire *w;
	struct call *next;
	uint32_t id;
	pthread_cond_t changed;
	struct stream in;
	uint64_t in_credit;   /* bytes of answer that may still come */
	uint64_t consumed;    /* and were not granted anew */
	uint64_t allowed;     /* bytes of body that may go; counts up */
	uint64_t sent, body;
	bool dropped; /* nobody waits for the answer */
	bool patient; /* it may take any time */
	bool done;
	int rc;
	struct err err;
	unsigned char result[RESULT_MAX];
	size_t n_result;
	int64_t heard;
};
int call_begin(struct wire *w, const struct ask *a, struct call **ret, struct err *err) HF_NODISCARD;
/* Send of the body; 0 also when the other end has answered before its end: then call_end tells. */
int call_body(struct call *c, const void *p, size_t n, struct err *err) HF_NODISCARD;
/* The next bytes of the answer (free() is the caller's), NULL when all came or the request failed. */
int call_part(struct call *c, struct block **ret, struct err *err) HF_NODISCARD;
/* The other end may send as much again as was consumed. */
int call_consumed(struct call *c, size_t n, struct err *err) HF_NODISCARD;
/* Wait for the end. The other end's verdict, or why there is none; result (may be NULL) is borrowed from c. */
int call_end(struct call *c, struct rd *result, struct err *err) HF_NODISCARD;
void call_cancel(struct call *c); /* ask for an early end; the answer still comes */
void call_free(struct call **c);  /* for CLEAN(): gives up what is not finished */
/* Without body and parts: ask, wait, result copied. */
int call_simple(struct wire *w, const struct ask *a, unsigned char ret[RESULT_MAX], struct rd *result, struct err *err) HF_NODISCARD;
/* For the reader. ERR_FORMAT: what the protocol does not allow. Credit is taken when a part is announced. */
int call_on_part(struct wire *w, uint32_t id, size_t n, struct err *err) HF_NODISCARD;
void call_on_bytes(struct wire *w, uint32_t id, const void *p, size_t n, struct block *b);
int call_on_done(struct wire *w, uint32_t id, const void *p, size_t n, struct err *err) HF_NODISCARD;
int call_on_allow(struct wire *w, uint32_t id, uint32_t n, struct err *err) HF_NODISCARD;
void call_wake_all(struct wire *w); /* under the lock */
void call_release_all(struct wire *w);

/* --- request.c: what we are asked --- */
struct request {
	struct wire *w;
	struct request *next, *next_waiting;
	uint32_t id;
	struct ask ask; /* args points into args[] */
	unsigned char args[ARGS_MAX];
	pthread_cond_t changed;
	struct stream in;
	uint64_t in_credit, granted, got; /* bytes of body that may still come; of all that may; that came */
	uint64_t reserved;
	struct held *brings; /* a put whose body others may want */
	uint64_t out_credit;
	atomic_bool cancelled; /* by the other end, or the connection is gone */
	bool answered, running, listed;
};
/* For who serves. */
int request_part(struct request *r, const void *p, size_t n, struct err *err) HF_NODISCARD;
/* The next bytes of the body; NULL at its end. */
int request_body(struct request *r, struct block **ret, struct err *err) HF_NODISCARD;
/* Let n more bytes of body come, which take that much of WIRE_BODIES until the request ends or they are returned. */
int request_allow(struct request *r, uint64_t n, struct err *err) HF_NODISCARD;
int request_allow_again(struct request *r, uint64_t n, struct err *err) HF_NODISCARD; /* what was consumed */
/* Under the lock, wait on c for something to happen; non-zero when r was called off. */
int request_wait(struct request *r, pthread_cond_t *c, struct err *err) HF_NODISCARD;
/* The whole body of at most limit bytes. */
int request_text(struct request *r, size_t limit, struct buf *out, struct err *err) HF_NODISCARD;
/* For the reader. */
int request_on_ask(struct wire *w, uint32_t id, const void *p, size_t n, struct err *err) HF_NODISCARD;
int request_on_body(struct wire *w, uint32_t id, size_t n, struct err *err) HF_NODISCARD;
void request_on_bytes(struct wire *w, uint32_t id, const void *p, size_t n, struct block *b);
int request_on_cancel(struct wire *w, uint32_t id, struct err *err) HF_NODISCARD;
int request_on_grant(struct wire *w, uint32_t id, uint32_t n, struct err *err) HF_NODISCARD;
void request_wake_all(struct wire *w); /* under the lock; cancels them */
void request_join_all(struct wire *w);
void request_release_all(struct wire *w);

/* --- held.c: bodies that several stores get --- */
struct body {
	struct block **block;
	size_t n, cap;
};
struct held {
	struct held *next;
	uint32_t id;     /* of the put that brings it */
	enum { HELD_COMES, HELD_WHOLE, HELD_NOT } state;
	struct body body; /* from HELD_WHOLE on it does not change */
	unsigned char digest[SHA256_LEN];
	uint64_t bytes;  /* of w->bodies */
	uint64_t had;    /* a bit for each store that has it, or is getting it */
	unsigned users;  /* requests that wait for it or read it */
};
void body_release(struct body *b);
/* Under the lock. A request arrived; it has been answered; a store is no longer waited for. */
void held_expect(struct wire *w, struct request *r);
void held_brought(struct request *r);
void held_sweep(struct wire *w);
bool held_room(struct wire *w, uint64_t n); /* make room for n bytes more; false: wait for w->changed */
void held_release_all(struct wire *w);
/* The body that r->brings is here, and what the digest says: b is moved there. */
void held_keep(struct request *r, struct body *b, const unsigned char digest[SHA256_LEN]);
/* Wait for the body that request id brings. *ret NULL: it is not to be had; else for held_give(). */
int held_take(struct request *r, uint32_t id, struct held **ret, struct err *err) HF_NODISCARD;
void held_give(struct request *r, struct held *h);

/* serve.c, put.c, job.c: run one; result is sent with the answer */
int serve_store(struct request *r, struct buf *result, struct err *err);
int serve_put(struct request *r, struct served *at, struct store *s, const char *key, struct err *err);
int serve_same(struct request *r, struct served *at, struct store *s, const char *key, uint32_t id, struct buf *result,
        struct err *err);
int serve_job(struct request *r, struct err *err);

#endif
