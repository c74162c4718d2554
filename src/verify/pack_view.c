#include "verify/pack_view.h"

#include <string.h>
#include "base/mem.h"

#define WINDOW ((size_t)512 << 10) /* with an opened chunk beside it: the second level cache of a core */

void view_init(struct pack_view *v)
{
	*v = (struct pack_view){.hash = sha256_new()};
	buf_init(&v->window, PACK_MAX);
	buf_init(&v->tail, PACK_MAX);
}

void view_release(struct pack_view *v)
{
	sha256_free(v->hash);
	buf_release(&v->window);
	buf_release(&v->tail);
}

/* --- whole --- */

static int take_whole(void *arg, const void *p, size_t n, struct err *err)
{
	struct pack_view *v = arg;
	int rc = buf_put(&v->window, p, n, err);

	if (rc)
		return rc;
	sha256_update(v->hash, p, n);
	v->hashed += n;
	return 0;
}

int view_open(struct pack_view *v, struct store *s, const char *key, uint64_t size, struct err *err)
{
	struct store_sink sink = {take_whole, v};

	v->store = s;
	v->key = key;
	v->size = size;
	v->whole = !(s->caps & STORE_LOCAL);
	v->at = v->hashed = 0;
	buf_clear(&v->window);
	sha256_reset(v->hash);
	if (size > PACK_MAX)
		return err_set(err, ERR_CORRUPT, "object %s has %llu bytes, which no pack has", key,
		        (unsigned long long)size);
	int rc = buf_reserve(&v->window, v->whole ? (size_t)size : WINDOW, err);

	if (rc || !v->whole)
		return rc;
	rc = store_get_sink(s, key, (struct store_range){0}, &sink, err);
	v->size = v->hashed;
	return rc;
}

/* --- a window --- */

/* The next bytes behind the window, at least one unless the object ends; `to` is how long the window is to be. */
static int read_on(struct pack_view *v, size_t to, size_t *ret_n, struct err *err)
{
	struct buf *b = &v->window;
	size_t before = b->len;
	int rc = store_get_part(v->store, v->key, v->at + before, to - before, b, err);

	*ret_n = rc ? 0 : b->len - before;
	if (v->at + b->len > v->hashed) {
		size_t skip = (size_t)(v->hashed - v->at);

		sha256_update(v->hash, b->p + skip, b->len - skip);
		v->hashed = v->at + b->len;
	}
	return rc;
}

/* Drop what lies before off; what was jumped over is read on the way. */
static void move_to(struct pack_view *v, uint64_t off)
{
	struct buf *b = &v->window;

	if (off >= v->at && off < v->at + b->len) {
		size_t drop = (size_t)(off - v->at);

		memmove(b->p, b->p + drop, b->len - drop);
		b->len -= drop;
		v->at = off;
		return;
	}
	buf_clear(b);
	v->at = MIN(off, v->hashed);
}

int view_need(struct pack_view *v, uint64_t off, size_t n, const unsigned char **ret, struct err *err)
{
	struct buf *b = &v->window;
	size_t got = 1;
	int rc = 0;

	while (!rc && (off < v->at || off - v->at > b->len || n > b->len - (size_t)(off - v->at))) {
		if (!got || v->whole)
			return err_set(err, ERR_CORRUPT, "object %s ends before byte %llu", v->key,
			        (unsigned long long)off + n);
		move_to(v, off);
		rc = read_on(v, v->at == off ? MAX(n, WINDOW) : WINDOW, &got, err);
	}
	*ret = rc ? NULL : b->p + (off - v->at);
	return rc;
}

int view_tail(struct pack_view *v, size_t n, const unsigned char **ret, size_t *ret_n, struct err *err)
{
	size_t take = (size_t)MIN((uint64_t)n, v->whole ? v->window.len : v->size);
	int rc = 0;

	*ret_n = take;
	if (v->whole) {
		*ret = v->window.p + v->window.len - take;
		return 0;
	}
	buf_clear(&v->tail);
	rc = store_get_range(v->store, v->key, v->size - take, take, &v->tail, err);
	*ret = v->tail.p;
	return rc;
}

int view_digest(struct pack_view *v, unsigned char digest[SHA256_LEN], uint64_t *ret_size, struct err *err)
{
	size_t got = 1;
	int rc = 0;

	while (!rc && got && !v->whole && v->hashed <= PACK_MAX) {
		buf_clear(&v->window);
		v->at = v->hashed;
		rc = read_on(v, WINDOW, &got, err);
	}
	*ret_size = v->hashed;
	if (!rc)
		sha256_final(v->hash, digest);
	return rc;
}
