/* The storage driver over a connection: the store is at the other end. */
#include <stdio.h>
#include <string.h>
#include "wire/internal.h"
#include "crypto/crypto.h"

#define PAGE_MAX WIRE_WINDOW
/* What is believed of the other end's word on its store; the rest depends on the connection. */
#define CAPS_TOLD                                                                                                      \
	(uint32_t)(STORE_CREATE_ONLY | STORE_RANGE | STORE_OBJECT_LOCK | STORE_LIST_STRONG | STORE_VERSIONS | STORE_WITNESS)

static struct remote *remote_of(struct store *s)
{
	return (struct remote *)s;
}

/* A request of this store; args holds what follows the key. */
struct question {
	struct ask ask;
	struct buf args;
};

static void question_release(struct question *q)
{
	buf_release(&q->args);
}

static void question_init(struct question *q, struct store *s, enum wire_op op, const char *key)
{
	*q = (struct question){.ask = {.service = WIRE_STORE, .op = (uint8_t)op, .number = (uint16_t)remote_of(s)->number}};
	buf_init(&q->args, ARGS_MAX);
	if (key)
		enc_text(&q->args, key, STORE_KEY_MAX);
}

static const struct ask *question_of(struct question *q)
{
	q->ask.args = q->args.p;
	q->ask.n_args = q->args.len;
	return &q->ask;
}

static int malformed(struct store *s, const char *what, struct err *err)
{
	return err_set(err, ERR_FORMAT, "%s: a malformed answer to %s", remote_of(s)->w->name, what);
}

/* Ask without body and parts; exactly n bytes of result. */
static int ask_for(struct store *s, struct question *q, const char *what, unsigned char *ret, size_t n, struct err *err)
{
	unsigned char result[RESULT_MAX];
	struct rd r;
	int rc = call_simple(remote_of(s)->w, question_of(q), result, &r, err);

	if (rc)
		return rc;
	if (!rd_copy(&r, ret, n) || r.left)
		return malformed(s, what, err);
	return 0;
}

/* --- put --- */

static int put_piece(struct store *s, struct call *c, const struct store_piece *piece, struct err *err)
{
	const unsigned char *p = piece->p;
	size_t left = piece->n;
	int rc = 0;

	while (!rc && left) {
		size_t n = MIN(left, FRAME_PAYLOAD);

		rc = store_pace(s, n, err);
		if (!rc)
			rc = call_body(c, p, n, err);
		p += n;
		left -= n;
	}
	return rc;
}

static int put_body(struct store *s, struct call *c, const struct store_src *src, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < src->n_pieces; i++)
		rc = put_piece(s, c, &src->piece[i], err);
	return rc ? rc : call_end(c, NULL, err);
}

/* Have the other end put what request id brings; *done false when it cannot be had from there. */
static int put_same(struct store *s, const char *key, uint32_t id, bool *done, struct err *err)
{
	CLEAN(question_release) struct question q;
	unsigned char answer;

	question_init(&q, s, WIRE_SAME, key);
	enc_u32(&q.args, id);
	int rc = ask_for(s, &q, "same", &answer, 1, err);

	if (!rc && answer > 1)
		rc = malformed(s, "same", err);
	*done = !rc && answer;
	return rc;
}

/* The newest request that brings bytes of this digest, 0: none. */
static uint32_t sent_find(const struct wire *w, const unsigned char digest[SHA256_LEN])
{
	for (size_t i = w->n_sent; i && i + SENT_MAX > w->n_sent; i--)
		if (!memcmp(w->sent[(i - 1) % SENT_MAX].digest, digest, SHA256_LEN))
			return w->sent[(i - 1) % SENT_MAX].id;
	return 0;
}

static void sent_note(struct wire *w, const unsigned char digest[SHA256_LEN], uint32_t id)
{
	memcpy(w->sent[w->n_sent % SENT_MAX].digest, digest, SHA256_LEN);
	w->sent[w->n_sent++ % SENT_MAX].id = id;
}

/*
 * Begin to send what no other put sends, or have it taken from that one (*c NULL then). Whose bytes could not be had is not
 * asked again: the first who learns of it sends them anew, and the others ask him.
 */
static int begin_or_share(struct store *s, const char *key, const unsigned char digest[SHA256_LEN], struct question *q,
        struct call **c, struct err *err)
{
	struct wire *w = remote_of(s)->w;
	uint32_t id = 0;
	bool done = false;
	int rc = 0;

	while (!rc && !done && !*c) {
		uint32_t in_vain = id;

		pthread_mutex_lock(&w->sharing);
		id = sent_find(w, digest);
		bool ask = id && id != in_vain;

		if (!ask)
			rc = call_begin(w, question_of(q), c, err);
		if (!ask && !rc)
			sent_note(w, digest, (*c)->id);
		pthread_mutex_unlock(&w->sharing);
		if (ask)
			rc = put_same(s, key, id, &done, err);
	}
	return rc;
}

static bool several_stores(struct wire *w)
{
	pthread_mutex_lock(&w->m);
	bool several = w->remotes && w->remotes->next;

	pthread_mutex_unlock(&w->m);
	return several && w->version >= 2;
}

static int remote_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	CLEAN(question_release) struct question q;
	CLEAN(call_free) struct call *c = NULL;
	struct wire *w = remote_of(s)->w;
	unsigned char digest[SHA256_LEN];

	question_init(&q, s, WIRE_PUT, key);
	for (size_t i = 0; i < src->n_pieces; i++)
		q.ask.body += src->piece[i].n;
	bool share = q.ask.body >= SHARED_MIN && q.ask.body <= SHARED_MAX && wire_key_digest(key, digest) && several_stores(w);
	int rc = share ? begin_or_share(s, key, digest, &q, &c, err) : call_begin(w, question_of(&q), &c, err);

	return rc || !c ? rc : put_body(s, c, src, err);
}

/* --- get --- */

/* Parts to the sink, at most `most` bytes (0: as an object may have). */
static int drain(struct store *s, struct call *c, uint64_t most, struct store_sink *sink, struct err *err)
{
	uint64_t total = 0, limit = most ? most : STORE_OBJECT_MAX;
	int rc = 0;

	while (!rc) {
		struct block *b;

		rc = call_part(c, &b, err);
		if (rc || !b)
			break;
		total += b->n;
		if (total > limit)
			rc = err_set(err, ERR_FORMAT, "%s: it sends more than was asked for", c->w->name);
		size_t n = b->n;

		if (!rc)
			rc = store_pace(s, n, err);
		if (!rc)
			rc = sink->write(sink->arg, b->p, n, err);
		free(b);
		if (!rc)
			rc = call_consumed(c, n, err);
	}
	return rc ? rc : call_end(c, NULL, err);
}

static int remote_get(
        struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err)
{
	CLEAN(question_release) struct question q;
	CLEAN(call_free) struct call *c = NULL;

	question_init(&q, s, WIRE_GET, key);
	enc_u64(&q.args, range.off);
	enc_u64(&q.args, range.len);
	int rc = call_begin(remote_of(s)->w, question_of(&q), &c, err);

	return rc ? rc : drain(s, c, range.len, sink, err);
}

static int remote_get_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err)
{
	CLEAN(question_release) struct question q;
	CLEAN(call_free) struct call *c = NULL;

	question_init(&q, s, WIRE_OLDER, key);
	enc_u32(&q.args, n);
	int rc = call_begin(remote_of(s)->w, question_of(&q), &c, err);

	return rc ? rc : drain(s, c, 0, sink, err);
}

/* --- list --- */

/* One page, whole in memory: nothing is under way while fn runs, which may use the store. */
static int fetch_page(
        struct store *s, const char *prefix, const char *after, struct buf *page, bool *more, struct err *err)
{
	CLEAN(question_release) struct question q;
	CLEAN(call_free) struct call *c = NULL;
	struct store_sink sink = {store_buf_write, page};
	struct rd r;

	question_init(&q, s, WIRE_LIST, prefix);
	enc_text(&q.args, after, STORE_KEY_MAX);
	int rc = call_begin(remote_of(s)->w, question_of(&q), &c, err);

	if (!rc)
		rc = drain(s, c, PAGE_MAX, &sink, err);
	if (!rc)
		rc = call_end(c, &r, err);
	if (rc)
		return rc;
	uint8_t flag = rd_u8(&r);

	if (!rd_end(&r) || flag > 1 || (flag && !page->len))
		return malformed(s, "list", err);
	*more = flag;
	return 0;
}

static int tell_page(struct store *s, struct buf *page, store_list_fn fn, void *arg, char last[STORE_KEY_MAX + 1],
        struct err *err)
{
	struct rd r = rd_init(page->p, page->len);
	int rc = 0;

	while (!rc && r.left) {
		struct store_stat st;
		char key[STORE_KEY_MAX + 1];

		(void)dec_text(&r, key, STORE_KEY_MAX);
		st.size = rd_u64(&r);
		st.mtime_ns = (int64_t)rd_u64(&r);
		/* in order and no key twice, or the next page would not come to an end */
		if (!rd_ok(&r) || strcmp(key, last) <= 0)
			return malformed(s, "list", err);
		memcpy(last, key, strlen(key) + 1);
		rc = fn(arg, key, &st, err);
	}
	return rc;
}

static int remote_list(
        struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err)
{
	CLEAN(buf_release) struct buf page = BUF_INIT(PAGE_MAX);
	char last[STORE_KEY_MAX + 1] = "";
	bool more = true;
	int rc = 0;

	if (after)
		(void)snprintf(last, sizeof last, "%s", after);
	while (!rc && more) {
		buf_clear(&page);
		rc = fetch_page(s, prefix, last, &page, &more, err);
		if (!rc)
			rc = tell_page(s, &page, fn, arg, last, err);
	}
	return rc;
}

/* --- small ones --- */

static int remote_stat(struct store *s, const char *key, struct store_stat *ret, struct err *err)
{
	CLEAN(question_release) struct question q;
	unsigned char b[16];

	question_init(&q, s, WIRE_STAT, key);
	int rc = ask_for(s, &q, "stat", b, sizeof b, err);

	if (rc)
		return rc;
	ret->size = get_u64(b);
	ret->mtime_ns = (int64_t)get_u64(b + 8);
	return 0;
}

static int remote_sync(struct store *s, struct err *err)
{
	CLEAN(question_release) struct question q;

	question_init(&q, s, WIRE_SYNC, NULL);
	return ask_for(s, &q, "sync", NULL, 0, err);
}

static int remote_remove(struct store *s, const char *key, struct err *err)
{
	(void)s;
	return err_set(err, ERR_UNSUPPORTED, "object %s: nothing can be removed over the wire", key);
}

static int remote_digest(struct store *s, const char *key, unsigned char ret[32], struct err *err)
{
	CLEAN(question_release) struct question q;

	question_init(&q, s, WIRE_DIGEST, key);
	return ask_for(s, &q, "digest", ret, SHA256_LEN, err);
}

static int remote_lock(struct store *s, const char *key, struct store_lock *ret, struct err *err)
{
	CLEAN(question_release) struct question q;
	unsigned char b[9];

	question_init(&q, s, WIRE_LOCK, key);
	int rc = ask_for(s, &q, "lock", b, sizeof b, err);

	if (rc)
		return rc;
	if (b[0] > STORE_LOCK_COMPLIANCE)
		return malformed(s, "lock", err);
	ret->mode = b[0];
	ret->until_ns = (int64_t)get_u64(b + 1);
	return 0;
}

static int remote_extend(struct store *s, const char *key, int64_t until_ns, struct err *err)
{
	CLEAN(question_release) struct question q;

	question_init(&q, s, WIRE_EXTEND, key);
	enc_u64(&q.args, (uint64_t)until_ns);
	return ask_for(s, &q, "extend", NULL, 0, err);
}

static int remote_clock(struct store *s, int64_t *ret_ns, struct err *err)
{
	CLEAN(question_release) struct question q;
	unsigned char b[8];

	question_init(&q, s, WIRE_CLOCK, NULL);
	int rc = ask_for(s, &q, "clock", b, sizeof b, err);

	if (!rc)
		*ret_ns = (int64_t)get_u64(b);
	return rc;
}

static int remote_attack(struct store *s, enum store_attack what, const char *key, struct err *err)
{
	CLEAN(question_release) struct question q;

	question_init(&q, s, WIRE_ATTACK, key);
	enc_u8(&q.args, (uint8_t)what);
	return ask_for(s, &q, "attack", NULL, 0, err);
}

static int remote_cosign(struct store *s, const void *p, size_t n, struct buf *ret, struct err *err)
{
	CLEAN(question_release) struct question q;
	CLEAN(call_free) struct call *c = NULL;
	struct store_sink sink = {store_buf_write, ret};

	question_init(&q, s, WIRE_COSIGN, NULL);
	q.ask.body = n;
	int rc = call_begin(remote_of(s)->w, question_of(&q), &c, err);

	if (!rc)
		rc = call_body(c, p, n, err);
	return rc ? rc : drain(s, c, ret->limit - ret->len, &sink, err);
}

static void remote_free(struct store *s)
{
	trouble_leave(remote_of(s));
	free(s->name);
	free(remote_of(s));
}

static const struct store_ops remote_ops = {
        .scheme = "wire",
        .put = remote_put,
        .get = remote_get,
        .stat = remote_stat,
        .list = remote_list,
        .remove = remote_remove,
        .sync = remote_sync,
        .free = remote_free,
        .get_older = remote_get_older,
        .digest = remote_digest,
        .lock = remote_lock,
        .extend = remote_extend,
        .clock = remote_clock,
        .attack = remote_attack,
        .cosign = remote_cosign,
};

int wire_store_open(struct wire *w, unsigned number, const char *name, bool create, struct store **ret, struct err *err)
{
	struct remote *r = xcalloc(1, sizeof *r);
	CLEAN(store_free_ptr) struct store *s = &r->base;
	CLEAN(question_release) struct question q = {0};
	unsigned char b[4];

	*ret = NULL;
	s->ops = &remote_ops;
	s->name = xstrdup(name);
	s->trouble = &r->trouble;
	r->w = w;
	r->number = number;
	trouble_join(r);
	question_init(&q, s, WIRE_OPEN, NULL);
	enc_u8(&q.args, create);
	int rc = ask_for(s, &q, "open", b, sizeof b, err);

	if (rc)
		return rc;
	s->caps = (get_u32(b) & CAPS_TOLD) | STORE_REMOTE | STORE_THREADSAFE | STORE_DIGEST | STORE_PACED;
	*ret = TAKE(s);
	return 0;
}
