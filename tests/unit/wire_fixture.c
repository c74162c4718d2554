#include "wire_fixture.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "store_conformance.h"
#include "wire/frame.h"

void pair_init(struct pair *p)
{
	int down[2], up[2];

	ck_assert_int_eq(pipe2(down, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(up, O_CLOEXEC), 0);
	*p = (struct pair){.here_in = down[0], .here_out = up[1], .there_in = up[0], .there_out = down[1]};
}

void pair_release(struct pair *p)
{
	wire_free(p->here);
	wire_free(p->there);
	close_fd(&p->here_in);
	close_fd(&p->here_out);
	close_fd(&p->there_in);
	close_fd(&p->there_out);
}

struct greeting {
	int in, out;
	const struct wire_opts *o;
	struct wire *w;
	struct err err;
	int rc;
};

static void *greet(void *arg)
{
	struct greeting *g = arg;

	g->rc = wire_new(g->in, g->out, g->o, &g->w, &g->err);
	return NULL;
}

void pair_greet_with(struct pair *p, const struct wire_opts *here, const struct wire_opts *there)
{
	static const struct wire_opts plain_here = {.name = "the other end", .role = "test"};
	static const struct wire_opts plain_there = {.name = "who asks", .role = "server"};
	struct greeting a = {p->here_in, p->here_out, here ? here : &plain_here, NULL, ERR_INIT, 0};
	struct greeting b = {p->there_in, p->there_out, there ? there : &plain_there, NULL, ERR_INIT, 0};
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, greet, &b), 0);
	(void)greet(&a);
	pthread_join(t, NULL);
	must(a.rc, &a.err);
	must(b.rc, &b.err);
	p->here = a.w;
	p->there = b.w;
}

void pair_greet(struct pair *p)
{
	pair_greet_with(p, NULL, NULL);
}

/* --- a store with its connection --- */

struct served_at {
	struct store base;
	struct pair p;
	struct store *below, *remote;
};

/* The driver's own operations, on the driver's store. */
static struct store *remote(struct store *s)
{
	return ((struct served_at *)s)->remote;
}
static int do_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	return remote(s)->ops->put(remote(s), key, src, err);
}
static int do_get(struct store *s, const char *key, struct store_range r, struct store_sink *sink, struct err *err)
{
	return remote(s)->ops->get(remote(s), key, r, sink, err);
}
static int do_stat(struct store *s, const char *key, struct store_stat *ret, struct err *err)
{
	return remote(s)->ops->stat(remote(s), key, ret, err);
}
static int do_list(struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err)
{
	return remote(s)->ops->list(remote(s), prefix, after, fn, arg, err);
}
static int do_remove(struct store *s, const char *key, struct err *err)
{
	return remote(s)->ops->remove(remote(s), key, err);
}
static int do_sync(struct store *s, struct err *err)
{
	return remote(s)->ops->sync(remote(s), err);
}
static int do_digest(struct store *s, const char *key, unsigned char ret[32], struct err *err)
{
	return remote(s)->ops->digest(remote(s), key, ret, err);
}
static int do_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err)
{
	return remote(s)->ops->get_older(remote(s), key, n, sink, err);
}
static int do_lock(struct store *s, const char *key, struct store_lock *ret, struct err *err)
{
	return remote(s)->ops->lock(remote(s), key, ret, err);
}
static int do_extend(struct store *s, const char *key, int64_t until_ns, struct err *err)
{
	return remote(s)->ops->extend(remote(s), key, until_ns, err);
}
static int do_clock(struct store *s, int64_t *ret, struct err *err)
{
	return remote(s)->ops->clock(remote(s), ret, err);
}
static int do_attack(struct store *s, enum store_attack what, const char *key, struct err *err)
{
	return remote(s)->ops->attack(remote(s), what, key, err);
}
static void do_free(struct store *s)
{
	struct served_at *a = (struct served_at *)s;

	store_free(a->remote);
	pair_release(&a->p);
	store_free(a->below);
	free(s->name);
	free(a);
}

static const struct store_ops served_ops = {
        .scheme = "wire",
        .put = do_put,
        .get = do_get,
        .stat = do_stat,
        .list = do_list,
        .remove = do_remove,
        .sync = do_sync,
        .free = do_free,
        .get_older = do_older,
        .digest = do_digest,
        .lock = do_lock,
        .extend = do_extend,
        .clock = do_clock,
        .attack = do_attack,
};

struct store *served_store(struct store *below, const struct wire_served *how)
{
	struct served_at *a = xcalloc(1, sizeof *a);
	struct wire_served s = how ? *how : (struct wire_served){0};
	struct err err = ERR_INIT;

	s.store = a->below = below;
	pair_init(&a->p);
	pair_greet(&a->p);
	wire_serve_store(a->p.there, 7, &s);
	wire_start(a->p.there);
	must(wire_store_open(a->p.here, 7, below->name, true, &a->remote, &err), &err);
	a->base.ops = &served_ops;
	a->base.caps = a->remote->caps;
	a->base.name = xstrdup(below->name);
	return &a->base;
}

/* --- by hand --- */

/* The real end greets in a thread, because our greeting comes by hand. */
static void raw_greet(struct raw *r, bool client)
{
	static const struct wire_opts opts = {.name = "the other end", .idle_ms = 20000};
	struct greeting g = {client ? r->p.there_in : r->p.here_in, client ? r->p.there_out : r->p.here_out, &opts, NULL,
	        ERR_INIT, 0};
	static struct raw_frame f;
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, greet, &g), 0);
	raw_hello(r, WIRE_VERSION_MIN, WIRE_VERSION_MAX, "by hand", "");
	ck_assert(raw_next(r, &f));
	ck_assert_int_eq(f.type, FRAME_HELLO);
	pthread_join(t, NULL);
	must(g.rc, &g.err);
	*(client ? &r->p.there : &r->p.here) = g.w;
}

void raw_init_client(struct raw *r)
{
	pair_init(&r->p);
	r->in = r->p.here_in;
	r->out = r->p.here_out;
	raw_greet(r, true);
}

void raw_init_server(struct raw *r)
{
	pair_init(&r->p);
	r->in = r->p.there_in;
	r->out = r->p.there_out;
	raw_greet(r, false);
}

void raw_release(struct raw *r)
{
	pair_release(&r->p);
}

void raw_bytes(struct raw *r, const void *p, size_t n)
{
	/* the real end may have hung up already: that is what the test is about */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)!fs_write_full(r->out, p, n);
}

void raw_send(struct raw *r, int type, uint32_t id, const void *p, size_t n)
{
	unsigned char head[FRAME_HEAD];

	frame_head(head, (enum frame_type)type, id, n);
	raw_bytes(r, head, sizeof head);
	raw_bytes(r, p, n);
}

void raw_hello(struct raw *r, uint16_t min, uint16_t max, const char *version, const char *role)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(4096);
	struct hello h = {.min = min, .max = max, .services = WIRE_STORE | WIRE_JOB};

	(void)snprintf(h.version, sizeof h.version, "%s", version);
	(void)snprintf(h.role, sizeof h.role, "%s", role);
	hello_put(&b, &h);
	raw_send(r, FRAME_HELLO, 0, b.p, b.len);
}

bool raw_next(struct raw *r, struct raw_frame *ret)
{
	unsigned char head[FRAME_HEAD];
	struct frame f;

	for (;;) {
		if (fs_read_full(r->in, head, sizeof head) != sizeof head)
			return false;
		ck_assert_int_eq(frame_parse(head, &f, NULL), 0);
		if (fs_read_full(r->in, ret->payload, f.n) != (ssize_t)f.n)
			return false;
		if (f.type != FRAME_PING)
			break;
		raw_send(r, FRAME_PONG, 0, NULL, 0);
	}
	ret->type = f.type;
	ret->id = f.id;
	ret->n = f.n;
	return true;
}

static size_t ask_bytes(unsigned char *out, uint8_t op, const char *key, uint64_t body, const void *more, size_t n)
{
	CLEAN(buf_release) struct buf args = BUF_INIT(4096), b = BUF_INIT(8192);

	if (key)
		enc_text(&args, key, STORE_KEY_MAX);
	buf_add(&args, more, n);
	const struct ask a = {.service = WIRE_STORE, .op = op, .body = body, .args = args.p, .n_args = args.len};

	ask_put(&b, &a);
	memcpy(out, b.p, b.len);
	return b.len;
}

void raw_ask(struct raw *r, uint32_t id, uint8_t op, const char *key, uint64_t body, const void *more, size_t n)
{
	unsigned char b[8192];

	raw_send(r, FRAME_REQUEST, id, b, ask_bytes(b, op, key, body, more, n));
}
