/* The store service, from the side that has the store. */
#include <string.h>
#include "wire/internal.h"
#include "base/clock.h"
#include "crypto/crypto.h"

#define PAGE ((size_t)2 << 20) /* of a list: less than the window, so that a page never waits for credit */
#define PAGE_CHUNK ((size_t)64 << 10)
#define COSIGN_MAX ((size_t)1 << 20)

_Static_assert(PAGE + PAGE_CHUNK < WIRE_WINDOW, "a page fits the window");

struct service {
	struct request *r;
	struct served *at;
	struct store *s;
	struct buf *result;
	char key[STORE_KEY_MAX + 1];
};

void wire_serve_store(struct wire *w, unsigned number, const struct wire_served *s)
{
	BUG_ON(number >= STORES_MAX || w->stores[number].there);
	pthread_mutex_lock(&w->m);
	w->stores[number].s = *s;
	w->stores[number].opened = s->store;
	w->stores[number].there = true;
	pthread_mutex_unlock(&w->m);
}

static int allowed(const struct service *v, const char *key, struct err *err)
{
	const struct wire_served *s = &v->at->s;

	return s->allow ? s->allow(s->arg, (enum wire_op)v->r->ask.op, key, err) : 0;
}

static int malformed(const struct service *v, struct err *err)
{
	return err_set(err, ERR_FORMAT, "malformed arguments of operation %u", v->r->ask.op);
}

/* --- open --- */

static int serve_open(struct service *v, struct rd *a, struct err *err)
{
	struct wire *w = v->r->w;
	uint8_t create = rd_u8(a);
	int rc = 0;

	if (!rd_end(a) || create > 1)
		return malformed(v, err);
	pthread_mutex_lock(&v->at->one);
	if (!v->at->opened && v->at->s.open) {
		struct store *s = NULL;

		rc = v->at->s.open(v->at->s.arg, create, &s, err);
		if (!rc) {
			pthread_mutex_lock(&w->m);
			v->at->opened = s;
			pthread_mutex_unlock(&w->m);
		}
	}
	pthread_mutex_unlock(&v->at->one);
	if (rc)
		return rc;
	trouble_begin(w, v->at);
	enc_u32(v->result, v->at->opened->caps | (v->at->s.cosign ? STORE_WITNESS : 0));
	return 0;
}

/* --- get --- */

static int part_write(void *arg, const void *p, size_t n, struct err *err)
{
	return request_part(arg, p, n, err);
}

static int serve_get(struct service *v, struct rd *a, struct err *err)
{
	struct store_range range = {.off = rd_u64(a)};
	struct store_sink sink = {part_write, v->r};

	range.len = rd_u64(a);
	return rd_end(a) ? v->s->ops->get(v->s, v->key, range, &sink, err) : malformed(v, err);
}

static int serve_older(struct service *v, struct rd *a, struct err *err)
{
	struct store_sink sink = {part_write, v->r};
	uint32_t n = rd_u32(a);

	if (!rd_end(a) || !n)
		return malformed(v, err);
	if (!v->s->ops->get_older)
		return err_set(err, ERR_UNSUPPORTED, "it keeps no versions of objects");
	return v->s->ops->get_older(v->s, v->key, n, &sink, err);
}

struct hashing {
	struct request *r;
	struct sha256 *h;
};

static int hash_write(void *arg, const void *p, size_t n, struct err *err)
{
	struct hashing *to = arg;

	if (atomic_load(&to->r->cancelled))
		return err_set(err, ERR_CANCELLED, "stopped by who asked");
	sha256_update(to->h, p, n);
	return 0;
}

/* --- list --- */

struct page {
	struct service *v;
	struct buf out;
	size_t told;
	bool more;
};

static int page_flush(struct page *p, struct err *err)
{
	int rc = p->out.len ? request_part(p->v->r, p->out.p, p->out.len, err) : 0;

	p->told += p->out.len;
	buf_clear(&p->out);
	return rc;
}

static int page_key(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	struct page *p = arg;

	if (allowed(p->v, key, NULL))
		return atomic_load(&p->v->r->cancelled) ? err_set(err, ERR_CANCELLED, "stopped by who asked") : 0;
	if (p->told >= PAGE) {
		p->more = true;
		return 1;
	}
	enc_text(&p->out, key, STORE_KEY_MAX);
	enc_u64(&p->out, st->size);
	enc_u64(&p->out, (uint64_t)st->mtime_ns);
	return p->out.len < PAGE_CHUNK ? 0 : page_flush(p, err);
}

static int serve_list(struct service *v, struct rd *a, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1], after[STORE_KEY_MAX + 1];
	struct page p = {.v = v};

	(void)dec_text(a, prefix, STORE_KEY_MAX);
	(void)dec_text(a, after, STORE_KEY_MAX);
	if (!rd_end(a))
		return malformed(v, err);
	buf_init(&p.out, PAGE_CHUNK + STORE_KEY_MAX + 64);
	/* by the checked call: the prefix comes from outside */
	int rc = store_list(v->s, prefix, after[0] ? after : NULL, page_key, &p, err);

	if (p.more)
		rc = 0;
	if (!rc)
		rc = page_flush(&p, err);
	buf_release(&p.out);
	enc_u8(v->result, p.more);
	return rc;
}

/* --- small ones --- */

static int serve_stat(struct service *v, struct rd *a, struct err *err)
{
	struct store_stat st;
	int rc = rd_end(a) ? v->s->ops->stat(v->s, v->key, &st, err) : malformed(v, err);

	if (rc)
		return rc;
	enc_u64(v->result, st.size);
	enc_u64(v->result, (uint64_t)st.mtime_ns);
	return 0;
}

static int serve_lock(struct service *v, struct rd *a, struct err *err)
{
	struct store_lock l;

	if (!rd_end(a))
		return malformed(v, err);
	int rc = v->s->ops->lock ? v->s->ops->lock(v->s, v->key, &l, err)
	                         : err_set(err, ERR_UNSUPPORTED, "it has no locks");

	if (rc)
		return rc;
	enc_u8(v->result, (uint8_t)l.mode);
	enc_u64(v->result, (uint64_t)l.until_ns);
	return 0;
}

static int serve_extend(struct service *v, struct rd *a, struct err *err)
{
	int64_t until = (int64_t)rd_u64(a);

	if (!rd_end(a))
		return malformed(v, err);
	return v->s->ops->extend ? v->s->ops->extend(v->s, v->key, until, err)
	                         : err_set(err, ERR_UNSUPPORTED, "it has no locks");
}

static int serve_clock(struct service *v, struct rd *a, struct err *err)
{
	int64_t now = clock_wall_ns();
	int rc = rd_end(a) ? 0 : malformed(v, err);

	if (!rc && v->s->ops->clock)
		rc = v->s->ops->clock(v->s, &now, err);
	else if (!rc && v->s->caps & STORE_REMOTE)
		rc = err_set(err, ERR_UNSUPPORTED, "it does not tell its time");
	if (!rc)
		enc_u64(v->result, (uint64_t)now);
	return rc;
}

static int serve_attack(struct service *v, struct rd *a, struct err *err)
{
	uint8_t what = rd_u8(a);

	if (!rd_end(a) || what > STORE_BAD_DIGEST)
		return malformed(v, err);
	return v->s->ops->attack ? v->s->ops->attack(v->s, (enum store_attack)what, v->key, err)
	                         : err_set(err, ERR_UNSUPPORTED, "there is nothing to try");
}

static int serve_sync(struct service *v, struct rd *a, struct err *err)
{
	return rd_end(a) ? v->s->ops->sync(v->s, err) : malformed(v, err);
}

static int serve_digest(struct service *v, struct rd *a, struct err *err)
{
	unsigned char digest[SHA256_LEN];
	int rc = rd_end(a) ? 0 : malformed(v, err);

	if (!rc && v->s->ops->digest) {
		rc = v->s->ops->digest(v->s, v->key, digest, err);
	} else if (!rc) {
		CLEAN(sha256_free_ptr) struct sha256 *h = sha256_new();
		struct store_sink sink = {hash_write, &(struct hashing){v->r, h}};

		rc = v->s->ops->get(v->s, v->key, (struct store_range){0, 0}, &sink, err);
		sha256_final(h, digest);
	}
	if (!rc)
		buf_add(v->result, digest, sizeof digest);
	return rc;
}

static int serve_cosign(struct service *v, struct err *err)
{
	CLEAN(buf_release) struct buf in = BUF_INIT(COSIGN_MAX), out = BUF_INIT(COSIGN_MAX);
	const struct wire_served *s = &v->at->s;
	int rc = s->cosign || v->s->ops->cosign ? request_text(v->r, COSIGN_MAX, &in, err)
	                                        : err_set(err, ERR_UNSUPPORTED, "there is no witness");

	if (!rc)
		rc = s->cosign ? s->cosign(s->arg, in.p, in.len, &out, err)
		               : v->s->ops->cosign(v->s, in.p, in.len, &out, err);
	return rc ? rc : request_part(v->r, out.p, out.len, err);
}

/* --- which --- */

static bool op_has_key(unsigned op)
{
	switch (op) {
	case WIRE_OPEN:
	case WIRE_LIST:
	case WIRE_SYNC:
	case WIRE_CLOCK:
	case WIRE_COSIGN:
		return false;
	default:
		return true;
	}
}

static int serve_op(struct service *v, struct rd *a, struct err *err)
{
	uint32_t id;

	switch (v->r->ask.op) {
	case WIRE_OPEN:
		return serve_open(v, a, err);
	case WIRE_PUT:
		return rd_end(a) ? serve_put(v->r, v->at, v->s, v->key, err) : malformed(v, err);
	case WIRE_GET:
		return serve_get(v, a, err);
	case WIRE_STAT:
		return serve_stat(v, a, err);
	case WIRE_LIST:
		return serve_list(v, a, err);
	case WIRE_SYNC:
		return serve_sync(v, a, err);
	case WIRE_OLDER:
		return serve_older(v, a, err);
	case WIRE_DIGEST:
		return serve_digest(v, a, err);
	case WIRE_LOCK:
		return serve_lock(v, a, err);
	case WIRE_EXTEND:
		return serve_extend(v, a, err);
	case WIRE_CLOCK:
		return serve_clock(v, a, err);
	case WIRE_ATTACK:
		return serve_attack(v, a, err);
	case WIRE_SAME:
		id = rd_u32(a);
		return rd_end(a) ? serve_same(v->r, v->at, v->s, v->key, id, v->result, err) : malformed(v, err);
	default:
		return serve_cosign(v, err);
	}
}

/* What waits for bytes that come takes its turn when they are here. */
static bool takes_its_turn(unsigned op)
{
	return op == WIRE_OPEN || op == WIRE_PUT || op == WIRE_SAME;
}

static int serve_in_turn(struct service *v, struct rd *a, struct err *err)
{
	if (takes_its_turn(v->r->ask.op) || v->s->caps & STORE_THREADSAFE)
		return serve_op(v, a, err);
	pthread_mutex_lock(&v->at->one);
	int rc = serve_op(v, a, err);

	pthread_mutex_unlock(&v->at->one);
	return rc;
}

int serve_store(struct request *r, struct buf *result, struct err *err)
{
	struct service v = {.r = r, .result = result};
	struct rd a = rd_init(r->args, r->ask.n_args);
	unsigned op = r->ask.op;

	pthread_mutex_lock(&r->w->m);
	v.at = r->ask.number < STORES_MAX ? &r->w->stores[r->ask.number] : NULL;
	bool there = v.at && v.at->there;

	v.s = there ? v.at->opened : NULL;
	pthread_mutex_unlock(&r->w->m);
	if (!there)
		return err_set(err, ERR_MISSING, "there is no store number %u", r->ask.number);
	if (!op || op >= WIRE_OP_END)
		return err_set(err, ERR_UNSUPPORTED, "there is no operation %u", op);
	if (op_has_key(op) && (!dec_text(&a, v.key, STORE_KEY_MAX) || !store_key_ok(v.key)))
		return err_set(err, ERR_FORMAT, "not a valid key");
	if (!v.s && op != WIRE_OPEN)
		return err_set(err, ERR_USAGE, "store number %u was not opened", r->ask.number);
	if (r->ask.body && op != WIRE_PUT && op != WIRE_COSIGN)
		return malformed(&v, err);
	int rc = op == WIRE_LIST ? 0 : allowed(&v, v.key, err);

	if (rc)
		return rc;
	return serve_in_turn(&v, &a, err);
}
