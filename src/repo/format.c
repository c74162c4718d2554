#include "repo/format.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "store/store.h"

enum chunk_type stream_chunk_type(enum stream_id s)
{
	switch (s) {
	case STREAM_CONTENT:
		return CHUNK_CONTENT;
	case STREAM_ENTRIES:
		return CHUNK_ENTRIES;
	case STREAM_NOTES:
		return CHUNK_NOTES;
	case STREAM_COUNT:
		break;
	}
	BUG("stream %d", (int)s);
}

void format_ctx(struct buf *out, const char *label, const unsigned char repo[REPO_ID_LEN], const char *source,
        const void *rest, size_t n_rest)
{
	buf_clear(out);
	buf_add(out, label, strlen(label) + 1);
	buf_add(out, repo, REPO_ID_LEN);
	format_text(out, source, strlen(source));
	buf_add(out, rest, n_rest);
}

void format_text(struct buf *out, const void *p, size_t n)
{
	unsigned char len[2];

	BUG_ON(n > UINT16_MAX);
	put_u16(len, (uint16_t)n);
	buf_add(out, len, sizeof len);
	buf_add(out, p, n);
}

const unsigned char *format_text_rd(struct rd *r, size_t max, size_t *ret_n)
{
	size_t n = rd_u16(r);

	*ret_n = 0;
	if (n > max)
		r->bad = true;
	if (!rd_ok(r))
		return NULL;
	*ret_n = n;
	return rd_bytes(r, n);
}

static unsigned log2_floor(uint64_t n)
{
	return 63u - (unsigned)__builtin_clzll(n);
}

/* A multiple of 2^bits not below n; the largest number when there is none. */
static uint64_t round_up(uint64_t n, unsigned bits)
{
	uint64_t mask = (UINT64_C(1) << bits) - 1, up;

	return __builtin_add_overflow(n, mask, &up) ? UINT64_MAX : up & ~mask;
}

uint64_t format_padme(uint64_t n)
{
	unsigned e, s;

	if (n < 2)
		return n;
	e = log2_floor(n);
	s = log2_floor(e) + 1;
	return s >= e ? n : round_up(n, e - s);
}

uint64_t format_round2(uint64_t n)
{
	return n < 4 ? n : round_up(n, log2_floor(n) - 1);
}

bool format_name16_ok(const char *s)
{
	unsigned char raw[8];

	return strlen(s) == NAME16 - 1 && hex_decode(raw, sizeof raw, s);
}

static HF_PRINTF(2, 0) char *key_vfmt(char *out, const char *fmt, va_list ap)
{
	int n = vsnprintf(out, STORE_KEY_MAX + 1, fmt, ap);

	BUG_ON(n < 0 || n > STORE_KEY_MAX);
	return out;
}

char *key_fmt(char *out, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	key_vfmt(out, fmt, ap);
	va_end(ap);
	return out;
}

char *key_pack(char *out, const char *source, const char *attempt, const unsigned char digest[ID_LEN])
{
	char hex[HEX_LEN];

	hex_encode(hex, digest, ID_LEN);
	return key_fmt(out, "p/%s/%s/%s", source, attempt, hex);
}

char *key_attempt(char *out, const char *source, const char *attempt, const char *what)
{
	return key_fmt(out, "w/%s/%s/%s", source, attempt, what);
}

char *key_snapshot(char *out, char prefix, const char *source, const char *lineage, uint64_t seq)
{
	return key_fmt(out, "%c/%s/%s/%010llu", prefix, source, lineage, (unsigned long long)seq);
}
