#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

bool str_eq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

void str_copy(char *out, size_t cap, const char *s)
{
	size_t n = strlen(s);
	BUG_ON(n >= cap);
	memcpy(out, s, n + 1);
}

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_is_id(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n >= 1 && n <= 63 && !s[n] && s[0] != '-' && s[n - 1] != '-';
}

size_t str_utf8_next(const void *p, size_t n, uint32_t *ret_cp)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *s = p;
	size_t len;
	uint32_t cp;

	if (!n)
		return 0;
	if (s[0] < 0x80) {
		len = 1;
		cp = s[0];
	} else if (s[0] >= 0xc2 && s[0] < 0xe0) {
		len = 2;
		cp = s[0] & 0x1f;
	} else if (s[0] >= 0xe0 && s[0] < 0xf0) {
		len = 3;
		cp = s[0] & 0x0f;
	} else if (s[0] >= 0xf0 && s[0] < 0xf5) {
		len = 4;
		cp = s[0] & 0x07;
	} else {
		return 0;
	}
	if (len > n)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		cp = cp << 6 | (s[i] & 0x3f);
	}
	if (cp < least[len] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
		return 0;
	if (ret_cp)
		*ret_cp = cp;
	return len;
}

bool str_is_utf8(const void *p, size_t n)
{
	const unsigned char *s = p;

	while (n) {
		uint32_t cp;
		size_t len = str_utf8_next(s, n, &cp);

		if (!len || !cp)
			return false;
		s += len;
		n -= len;
	}
	return true;
}

/* Levenshtein with one row; both lengths are bounded by the caller. */
static size_t edit_distance(const char *a, size_t la, const char *b, size_t lb, size_t *row)
{
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[lb];
}

const char *str_nearest(const char *s, const char *const *names)
{
	enum { longest = 128 };
	size_t row[longest + 1], len = strlen(s), best, allowed = MAX(len / 3, (size_t)2);
	const char *found = NULL;

	best = allowed + 1;
	if (len > longest)
		return NULL;
	for (; *names; names++) {
		size_t n = strlen(*names), d;

		if (n > longest)
			continue;
		d = edit_distance(s, len, *names, n, row);
		/* Nothing in common is not near, however short both are. */
		if (d < best && d < MAX(n, len)) {
			best = d;
			found = *names;
		}
	}
	return found;
}

size_t hex_encode(char *out, const void *p, size_t n)
{
	static const char digit[] = "0123456789abcdef";
	const unsigned char *s = p;

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digit[s[i] >> 4];
		out[2 * i + 1] = digit[s[i] & 15];
	}
	out[2 * n] = '\0';
	return 2 * n;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool hex_decode(void *out, size_t n, const char *hex)
{
	unsigned char *to = out;

	for (size_t i = 0; i < n; i++) {
		int high = hex_value(hex[2 * i]);
		int low = high < 0 ? -1 : hex_value(hex[2 * i + 1]);

		if (low < 0)
			return false;
		to[i] = (unsigned char)(high << 4 | low);
	}
	return hex[2 * n] == '\0';
}

void base64_encode(char *out, const void *p, size_t n)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *s = p;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)s[i] << 16;

		if (i + 1 < n)
			v |= (uint32_t)s[i + 1] << 8;
		if (i + 2 < n)
			v |= s[i + 2];
		*out++ = digit[v >> 18];
		*out++ = digit[v >> 12 & 63];
		*out++ = i + 1 < n ? digit[v >> 6 & 63] : '=';
		*out++ = i + 2 < n ? digit[v & 63] : '=';
	}
	*out = '\0';
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* One group of four; `pad` of its last characters are '='. False when a digit is bad or left-over bits are not zero. */
static bool base64_group(unsigned char *out, const char *text, size_t pad)
{
	uint32_t v = 0;

	for (size_t i = 0; i < 4; i++) {
		int d = i < 4 - pad ? base64_value(text[i]) : 0;

		if (d < 0)
			return false;
		v = v << 6 | (uint32_t)d;
	}
	if (v & (pad == 2 ? 0xffff : pad == 1 ? 0xff : 0))
		return false;
	for (size_t i = 0; i < 3 - pad; i++)
		out[i] = (unsigned char)(v >> (16 - 8 * i));
	return true;
}

long base64_decode(void *out, const char *text, size_t len)
{
	unsigned char *to = out;

	if (len % 4)
		return -1;
	for (size_t i = 0; i < len; i += 4) {
		size_t pad = 0;

		if (i + 4 == len && text[i + 3] == '=')
			pad = text[i + 2] == '=' ? 2 : 1;
		if (!base64_group(to, text + i, pad))
			return -1;
		to += 3 - pad;
	}
	return (long)(to - (unsigned char *)out);
}

/* Leading decimal digits, at least one; *s moves behind them. */
static bool number(const char **s, uint64_t *ret)
{
	const char *start = *s;

	*ret = 0;
	for (; **s >= '0' && **s <= '9'; (*s)++)
		if (__builtin_mul_overflow(*ret, (uint64_t)10, ret) ||
		        __builtin_add_overflow(*ret, (uint64_t)(**s - '0'), ret))
			return false;
	return *s != start;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static bool scaled(const char *s, const struct unit *units, uint64_t *ret)
{
	uint64_t v;

	if (!number(&s, &v))
		return false;
	for (; units->name; units++)
		if (strcmp(s, units->name) == 0)
			return !__builtin_mul_overflow(v, units->factor, ret);
	return false;
}

bool str_size(const char *s, uint64_t *ret)
{
	static const struct unit units[] = {
	        {"", 1},
	        {"B", 1},
	        {"KiB", UINT64_C(1) << 10},
	        {"MiB", UINT64_C(1) << 20},
	        {"GiB", UINT64_C(1) << 30},
	        {"TiB", UINT64_C(1) << 40},
	        {"PiB", UINT64_C(1) << 50},
	        {"kB", UINT64_C(1000)},
	        {"KB", UINT64_C(1000)},
	        {"MB", UINT64_C(1000000)},
	        {"GB", UINT64_C(1000000000)},
	        {"TB", UINT64_C(1000000000000)},
	        {"PB", UINT64_C(1000000000000000)},
	        {NULL, 0},
	};
	uint64_t v;

	if (!scaled(s, units, &v))
		return false;
	*ret = v;
	return true;
}

bool str_duration(const char *s, int64_t *ret_ms)
{
	static const struct unit units[] = {
	        {"ms", 1},
	        {"s", 1000},
	        {"m", 60000},
	        {"h", 3600000},
	        {"d", UINT64_C(86400000)},
	        {"w", UINT64_C(604800000)},
	        {"y", UINT64_C(31536000000)},
	        {NULL, 0},
	};
	uint64_t v;

	if (!scaled(s, units, &v) || v > INT64_MAX)
		return false;
	*ret_ms = (int64_t)v;
	return true;
}

char *str_human_size(char out[32], uint64_t bytes)
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t k = 0;
	uint64_t tenths;

	while (k + 1 < ARRAY_LEN(names) && bytes >> (10 * (k + 1)))
		k++;
	if (!k) {
		snprintf(out, 32, "%u B", (unsigned)bytes);
		return out;
	}
	tenths = ((bytes >> (10 * (k - 1))) * 10 + 512) >> 10;
	if (tenths >= 10240 && k + 1 < ARRAY_LEN(names)) {
		tenths = 10;
		k++;
	}
	snprintf(out, 32, "%u.%u %s", (unsigned)(tenths / 10), (unsigned)(tenths % 10), names[k]);
	return out;
}

/* "a A b B", without the second part when it is zero. */
static void two_units(char *out, size_t n, uint64_t a, const char *name_a, uint64_t b, const char *name_b)
{
	if (b)
		snprintf(out, n, "%llu %s %llu %s", (unsigned long long)a, name_a, (unsigned long long)b, name_b);
	else
		snprintf(out, n, "%llu %s", (unsigned long long)a, name_a);
}

char *str_human_duration(char out[32], int64_t ms)
{
	uint64_t v = ms < 0 ? -(uint64_t)ms : (uint64_t)ms, s = v / 1000;
	char *to = out;
	size_t n = 32;

	if (ms < 0) {
		*to++ = '-';
		n--;
	}
	if (v < 1000)
		snprintf(to, n, "%u ms", (unsigned)v);
	else if (v < 10000 && v / 100 % 10)
		snprintf(to, n, "%u.%u s", (unsigned)s, (unsigned)(v / 100 % 10));
	else if (s < 60)
		snprintf(to, n, "%u s", (unsigned)s);
	else if (s < 3600)
		two_units(to, n, s / 60, "min", s % 60, "s");
	else if (s < 86400)
		two_units(to, n, s / 3600, "h", s % 3600 / 60, "min");
	else
		two_units(to, n, s / 86400, "d", s % 86400 / 3600, "h");
	return out;
}
