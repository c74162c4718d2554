/*
 * Text encodings and parsers of units. No allocation unless said; every parser rejects trailing text.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdint.h>
#include "base/err.h"

bool str_eq(const char *a, const char *b); /* both may be NULL */
/* Copy into a field of cap bytes; a string that does not fit is a bug and aborts. */
void str_copy(char *out, size_t cap, const char *s);
bool str_starts(const char *s, const char *prefix);
/* An id of plans, sources, sites: [a-z0-9-]{1,63}, not starting or ending with '-'. */
bool str_is_id(const char *s);
/* Valid UTF-8 without NUL (RFC 3629: no surrogates, no overlong forms). */
bool str_is_utf8(const void *p, size_t n);
/* Nearest of `names` (NULL-terminated) by edit distance at most 1/3 of the length (at least 2), or NULL. */
const char *str_nearest(const char *s, const char *const *names);
/* Length (1 to 4) of the valid UTF-8 sequence at p, of n bytes, or 0. ret_cp (may be NULL): its code point. */
size_t str_utf8_next(const void *p, size_t n, uint32_t *ret_cp);
size_t hex_encode(char *out, const void *p, size_t n); /* writes 2n + 1 bytes, lower case */
bool hex_decode(void *out, size_t n, const char *hex); /* exactly 2n lower-case digits */
/* Base64, standard alphabet with padding. Encoded size incl. NUL: 4 * ((n + 2) / 3) + 1. */
void base64_encode(char *out, const void *p, size_t n);
/* Strict; returns decoded length, or -1. out holds at least 3 * (strlen / 4) bytes. */
long base64_decode(void *out, const char *text, size_t len);
/* "64MiB", "1GiB", "512KiB", "100B", "5MB"; plain digits are bytes. */
bool str_size(const char *s, uint64_t *ret);
/* "250ms", "30s", "15m", "4h", "30d", "2w", "7y" (365 d); one unit; in milliseconds. */
bool str_duration(const char *s, int64_t *ret_ms);
/* Human text into out: "1.4 GiB"; "1 h 20 min", "350 ms". Return out. */
char *str_human_size(char out[32], uint64_t bytes);
char *str_human_duration(char out[32], int64_t ms);

#endif
