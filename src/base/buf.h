/*
 * Byte buffers with a ceiling, and bounds-checked reading and writing of little-endian numbers.
 *
 *   CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
 *   if (buf_put(&b, p, n, err)) return err_rc(err);
 *
 * A buf owns its memory. `limit` bounds len: growing past it is ERR_NOMEM. A rd borrows what it reads; after the first
 * short read every further one fails too, so a decoder may check once at the end with rd_ok().
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdint.h>
#include "base/err.h"

struct buf {
	unsigned char *p;
	size_t len, cap, limit;
};
#define BUF_INIT(lim)                                                                                                  \
	{                                                                                                              \
		NULL, 0, 0, (lim)                                                                                      \
	}

void buf_init(struct buf *b, size_t limit);
void buf_release(struct buf *b);
void buf_clear(struct buf *b); /* len = 0, keeps the memory */
/* Make room for n more bytes (capacity, not len). */
int buf_reserve(struct buf *b, size_t n, struct err *err) HF_NODISCARD;
int buf_put(struct buf *b, const void *p, size_t n, struct err *err) HF_NODISCARD;
int buf_fill(struct buf *b, int byte, size_t n, struct err *err) HF_NODISCARD;
int buf_u8(struct buf *b, uint8_t v, struct err *err) HF_NODISCARD;
int buf_u16(struct buf *b, uint16_t v, struct err *err) HF_NODISCARD;
int buf_u32(struct buf *b, uint32_t v, struct err *err) HF_NODISCARD;
int buf_u64(struct buf *b, uint64_t v, struct err *err) HF_NODISCARD;
/* Formatted text; the terminating NUL is kept behind len, so (char *)b->p is a string. */
int buf_printf(struct buf *b, struct err *err, const char *fmt, ...) HF_PRINTF(3, 4) HF_NODISCARD;
/* As above for small internal text: a full ceiling is a bug and aborts. */
void buf_addf(struct buf *b, const char *fmt, ...) HF_PRINTF(2, 3);
void buf_add(struct buf *b, const void *p, size_t n);
/* b->p as a NUL-terminated string ("" when empty). */
const char *buf_str(struct buf *b);

struct rd {
	const unsigned char *p;
	size_t left;
	bool bad;
};
struct rd rd_init(const void *p, size_t n);
bool rd_ok(const struct rd *r);                        /* nothing was short */
bool rd_end(const struct rd *r);                       /* ok and all consumed */
const unsigned char *rd_bytes(struct rd *r, size_t n); /* borrowed, or NULL when short */
bool rd_copy(struct rd *r, void *to, size_t n);        /* zero-fills on failure */
uint8_t rd_u8(struct rd *r);
uint16_t rd_u16(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_u64(struct rd *r);

/* Little-endian stores and loads on raw memory. */
static inline void put_u16(unsigned char *p, uint16_t v)
{
	__builtin_memcpy(p, &v, 2);
}
static inline void put_u32(unsigned char *p, uint32_t v)
{
	__builtin_memcpy(p, &v, 4);
}
static inline void put_u64(unsigned char *p, uint64_t v)
{
	__builtin_memcpy(p, &v, 8);
}
static inline uint16_t get_u16(const unsigned char *p)
{
	uint16_t v;
	__builtin_memcpy(&v, p, 2);
	return v;
}
static inline uint32_t get_u32(const unsigned char *p)
{
	uint32_t v;
	__builtin_memcpy(&v, p, 4);
	return v;
}
static inline uint64_t get_u64(const unsigned char *p)
{
	uint64_t v;
	__builtin_memcpy(&v, p, 8);
	return v;
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian hosts only");

#endif
