#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

void buf_init(struct buf *b, size_t limit)
{
	*b = (struct buf)BUF_INIT(limit);
}

void buf_release(struct buf *b)
{
	free(b->p);
	b->p = NULL;
	b->len = b->cap = 0;
}

void buf_clear(struct buf *b)
{
	b->len = 0;
}

/* Capacity is always one byte more than asked for, so that a NUL fits behind the content. */
int buf_reserve(struct buf *b, size_t n, struct err *err)
{
	size_t need, cap;
	unsigned char *p;

	if (n > b->limit || b->len > b->limit - n)
		return err_set(err, ERR_NOMEM, "more than %zu bytes", b->limit);
	need = b->len + n;
	if (b->p && need < b->cap)
		return 0;
	if (__builtin_add_overflow(need, (size_t)1, &need))
		return err_set(err, ERR_NOMEM, "more than %zu bytes", b->limit);
	cap = b->cap < 32 ? 64 : b->cap;
	while (cap < need)
		if (__builtin_mul_overflow(cap, (size_t)2, &cap))
			cap = need;
	if (cap - 1 > b->limit)
		cap = MAX(need, b->limit + 1);
	p = realloc(b->p, cap);
	if (!p)
		return err_set(err, ERR_NOMEM, "out of memory (%zu bytes)", cap);
	b->p = p;
	b->cap = cap;
	return 0;
}

int buf_put(struct buf *b, const void *p, size_t n, struct err *err)
{
	int rc = buf_reserve(b, n, err);

	if (rc)
		return rc;
	if (n)
		memcpy(b->p + b->len, p, n);
	b->len += n;
	return 0;
}

int buf_fill(struct buf *b, int byte, size_t n, struct err *err)
{
	int rc = buf_reserve(b, n, err);

	if (rc)
		return rc;
	memset(b->p + b->len, byte, n);
	b->len += n;
	return 0;
}

int buf_u8(struct buf *b, uint8_t v, struct err *err)
{
	return buf_put(b, &v, 1, err);
}

int buf_u16(struct buf *b, uint16_t v, struct err *err)
{
	unsigned char raw[2];

	put_u16(raw, v);
	return buf_put(b, raw, sizeof raw, err);
}

int buf_u32(struct buf *b, uint32_t v, struct err *err)
{
	unsigned char raw[4];

	put_u32(raw, v);
	return buf_put(b, raw, sizeof raw, err);
}

int buf_u64(struct buf *b, uint64_t v, struct err *err)
{
	unsigned char raw[8];

	put_u64(raw, v);
	return buf_put(b, raw, sizeof raw, err);
}

static HF_PRINTF(3, 0) int buf_vprintf(struct buf *b, struct err *err, const char *fmt, va_list ap)
{
	va_list again;
	int n, rc;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		return err_sys(err, ERR_INTERNAL, "cannot format text");
	rc = buf_reserve(b, (size_t)n, err);
	if (rc)
		return rc;
	vsnprintf((char *)b->p + b->len, (size_t)n + 1, fmt, ap);
	b->len += (size_t)n;
	return 0;
}

int buf_printf(struct buf *b, struct err *err, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = buf_vprintf(b, err, fmt, ap);
	va_end(ap);
	return rc;
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	struct err err = ERR_INIT;
	va_list ap;

	va_start(ap, fmt);
	if (buf_vprintf(b, &err, fmt, ap))
		BUG("%s", err.msg);
	va_end(ap);
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	struct err err = ERR_INIT;

	if (buf_put(b, p, n, &err))
		BUG("%s", err.msg);
}

const char *buf_str(struct buf *b)
{
	if (!b->p)
		return "";
	BUG_ON(b->len >= b->cap);
	b->p[b->len] = '\0';
	return (const char *)b->p;
}

struct rd rd_init(const void *p, size_t n)
{
	return (struct rd){p, n, false};
}

bool rd_ok(const struct rd *r)
{
	return !r->bad;
}

bool rd_end(const struct rd *r)
{
	return !r->bad && r->left == 0;
}

const unsigned char *rd_bytes(struct rd *r, size_t n)
{
	static const unsigned char nothing[1];
	const unsigned char *p;

	if (r->bad || n > r->left) {
		r->bad = true;
		return NULL;
	}
	if (!n)
		return r->p ? r->p : nothing;
	p = r->p;
	r->p += n;
	r->left -= n;
	return p;
}

bool rd_copy(struct rd *r, void *to, size_t n)
{
	const unsigned char *p = rd_bytes(r, n);

	if (!n)
		return p != NULL;
	if (p)
		memcpy(to, p, n);
	else
		memset(to, 0, n);
	return p != NULL;
}

uint8_t rd_u8(struct rd *r)
{
	const unsigned char *p = rd_bytes(r, 1);

	return p ? *p : 0;
}

uint16_t rd_u16(struct rd *r)
{
	const unsigned char *p = rd_bytes(r, 2);

	return p ? get_u16(p) : 0;
}

uint32_t rd_u32(struct rd *r)
{
	const unsigned char *p = rd_bytes(r, 4);

	return p ? get_u32(p) : 0;
}

uint64_t rd_u64(struct rd *r)
{
	const unsigned char *p = rd_bytes(r, 8);

	return p ? get_u64(p) : 0;
}
