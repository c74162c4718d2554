/* Test vectors are hex text: into bytes, secrets and assertions. */
#ifndef TESTS_UNIT_HEX_H
#define TESTS_UNIT_HEX_H

#include <check.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* Hex text to bytes: the length is the text's. */
static inline size_t unhex(unsigned char *out, const char *hex)
{
	size_t n = strlen(hex) / 2;

	ck_assert(hex_decode(out, n, hex));
	return n;
}

static inline void assert_hex(const unsigned char *p, size_t n, const char *hex)
{
	char text[512];

	ck_assert_uint_lt(2 * n, sizeof(text));
	hex_encode(text, p, n);
	ck_assert_str_eq(text, hex);
}

static inline void secret_from_hex(struct secret *s, const char *hex)
{
	unsigned char b[32];

	ck_assert_uint_eq(unhex(b, hex), 32);
	secret_set(s, b, 32);
}

#endif
