#include "plan/plan.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

#define ZONE_DIR "/usr/share/zoneinfo"
#define FILE_MAX (256u << 10)
#define TIMES_MAX 4096
#define DAY_S 86400

/* One end of daylight saving time in the footer: "M3.5.0/2", "J60", "59". */
struct rule {
	char kind; /* 'M', 'J' (1 to 365, no leap day) or '0' (0 to 365) */
	int month, week, wday, day;
	int32_t time; /* seconds after local midnight, may be negative */
};
struct tz {
	size_t n;
	int64_t *at;     /* ascending instants from which .. */
	int32_t *offset; /* .. this offset holds */
	int32_t first;   /* before the first */
	bool has_footer, has_dst;
	int32_t std, dst;
	struct rule begin, end;
};

/* --- footer: the TZ string of POSIX with the extension of RFC 8536 --- */

static bool parse_name(const char **s)
{
	size_t n;
	if (**s == '<') {
		n = strcspn(*s, ">");
		if (!(*s)[n])
			return false;
		*s += n + 1;
		return n >= 2;
	}
	for (n = 0; isalpha((unsigned char)(*s)[n]); n++)
		;
	*s += n;
	return n >= 3;
}

static bool parse_num(const char **s, int lo, int hi, int *ret)
{
	int v = 0;
	if (!isdigit((unsigned char)**s))
		return false;
	while (isdigit((unsigned char)**s) && v <= 1000)
		v = v * 10 + (*(*s)++ - '0');
	*ret = v;
	return v >= lo && v <= hi;
}

/* [+-]hh[:mm[:ss]] in seconds. */
static bool parse_time(const char **s, int32_t *ret)
{
	int sign = **s == '-' ? -1 : 1, h = 0, m = 0, sec = 0;
	*s += **s == '-' || **s == '+';
	if (!parse_num(s, 0, 167, &h))
		return false;
	if (**s == ':' && (++*s, !parse_num(s, 0, 59, &m)))
		return false;
	if (**s == ':' && (++*s, !parse_num(s, 0, 59, &sec)))
		return false;
	*ret = sign * (h * 3600 + m * 60 + sec);
	return true;
}

static bool parse_rule(const char **s, struct rule *r)
{
	if (*(*s)++ != ',')
		return false;
	r->time = 7200;
	bool ok;
	if (**s == 'M') {
		r->kind = *(*s)++;
		ok = parse_num(s, 1, 12, &r->month) && *(*s)++ == '.' && parse_num(s, 1, 5, &r->week) &&
		     *(*s)++ == '.' && parse_num(s, 0, 6, &r->wday);
	} else {
		r->kind = **s == 'J' ? *(*s)++ : '0';
		ok = parse_num(s, r->kind == 'J', 365, &r->day);
	}
	if (ok && **s == '/')
		ok = (++*s, parse_time(s, &r->time));
	return ok;
}

static bool parse_footer(struct tz *tz, const char *s)
{
	int32_t west = 0;
	if (!parse_name(&s) || !parse_time(&s, &west))
		return false;
	tz->std = -west;
	tz->dst = tz->std + 3600;
	tz->has_footer = true;
	if (!*s)
		return true;
	if (!parse_name(&s))
		return false;
	if (*s && *s != ',') {
		if (!parse_time(&s, &west))
			return false;
		tz->dst = -west;
	}
	tz->has_dst = true;
	return parse_rule(&s, &tz->begin) && parse_rule(&s, &tz->end) && !*s;
}

static bool is_leap(int64_t y)
{
	return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static int64_t days_before_year(int64_t y)
{
	y--;
	return y * 365 + y / 4 - y / 100 + y / 400 - 719162;
}

/* The local second at which a rule falls in a year, as if there were no offset. */
static int64_t rule_second(const struct rule *r, int64_t year)
{
	static const int before[13] = {0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
	int64_t day = days_before_year(year);
	if (r->kind == 'J') {
		day += r->day - 1 + (is_leap(year) && r->day >= 60);
	} else if (r->kind == '0') {
		day += r->day;
	} else {
		static const int lengths[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
		int64_t first = day + before[r->month] + (is_leap(year) && r->month > 2);
		int length = lengths[r->month] + (is_leap(year) && r->month == 2);
		int wday = (int)(((first + 4) % 7 + 7) % 7);
		int n = (r->wday - wday + 7) % 7 + (r->week - 1) * 7;
		day = first + (n >= length ? n - 7 : n);
	}
	return day * DAY_S + r->time;
}

static int32_t footer_offset(const struct tz *tz, int64_t t)
{
	if (!tz->has_dst)
		return tz->std;
	int64_t local = t + tz->std;
	int64_t year = 1970 + local / 31556952;
	/* The estimate may be one off around New Year. */
	year += days_before_year(year + 1) * DAY_S <= local;
	year -= days_before_year(year) * DAY_S > local;
	int64_t begin = rule_second(&tz->begin, year) - tz->std;
	int64_t end = rule_second(&tz->end, year) - tz->dst;
	bool dst = begin < end ? t >= begin && t < end : t >= begin || t < end;
	return dst ? tz->dst : tz->std;
}

int32_t tz_offset(const struct tz *tz, int64_t utc_s)
{
	if (tz->n == 0 || utc_s < tz->at[0])
		return tz->n == 0 && tz->has_footer ? footer_offset(tz, utc_s) : tz->first;
	if (tz->has_footer && utc_s >= tz->at[tz->n - 1])
		return footer_offset(tz, utc_s);
	size_t lo = 0, hi = tz->n; /* at[lo] <= utc_s < at[hi] */
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		if (tz->at[mid] <= utc_s)
			lo = mid;
		else
			hi = mid;
	}
	return tz->offset[lo];
}

/* --- the file --- */

struct header {
	unsigned version;
	uint32_t isut, isstd, leap, times, types, chars;
};

static uint64_t be(struct rd *r, size_t n)
{
	const unsigned char *p = rd_bytes(r, n);
	uint64_t v = 0;
	for (size_t i = 0; p && i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static bool read_header(struct rd *r, struct header *h)
{
	const unsigned char *magic = rd_bytes(r, 4);
	if (!magic || memcmp(magic, "TZif", 4) != 0)
		return false;
	unsigned v = rd_u8(r);
	h->version = v >= '2' ? v - '0' : 1;
	rd_bytes(r, 15);
	h->isut = (uint32_t)be(r, 4);
	h->isstd = (uint32_t)be(r, 4);
	h->leap = (uint32_t)be(r, 4);
	h->times = (uint32_t)be(r, 4);
	h->types = (uint32_t)be(r, 4);
	h->chars = (uint32_t)be(r, 4);
	bool sane = h->times <= TIMES_MAX && h->types >= 1 && h->types <= 256 && h->chars <= 4096 && h->leap <= 1024 &&
	            h->isut <= 256 && h->isstd <= 256;
	return rd_ok(r) && sane;
}

static size_t block_size(const struct header *h, size_t time_size)
{
	return h->times * time_size + h->times + h->types * 6 + h->chars + h->leap * (time_size + 4) + h->isstd +
	       h->isut;
}

static bool read_types(struct rd *r, const struct header *h, int32_t *offsets)
{
	for (size_t i = 0; i < h->types; i++) {
		int32_t off = (int32_t)(uint32_t)be(r, 4);
		rd_bytes(r, 2);
		if (off < -DAY_S || off > DAY_S)
			return false;
		offsets[i] = off;
	}
	return rd_ok(r);
}

static bool read_block(struct rd *r, const struct header *h, size_t time_size, struct tz *tz)
{
	tz->at = xcalloc(h->times + 1, sizeof(*tz->at));
	tz->offset = xcalloc(h->times + 1, sizeof(*tz->offset));
	for (size_t i = 0; i < h->times; i++) {
		uint64_t v = be(r, time_size);
		tz->at[i] = time_size == 4 ? (int32_t)(uint32_t)v : (int64_t)v;
		if (i > 0 && tz->at[i] <= tz->at[i - 1])
			return false;
	}
	const unsigned char *index = rd_bytes(r, h->times);
	int32_t offsets[256] = {0};
	if (!read_types(r, h, offsets))
		return false;
	for (size_t i = 0; i < h->times; i++) {
		if (!index || index[i] >= h->types)
			return false;
		tz->offset[i] = offsets[index[i]];
	}
	tz->n = h->times;
	tz->first = offsets[0];
	rd_bytes(r, h->chars + h->leap * (time_size + 4) + h->isstd + h->isut);
	return rd_ok(r);
}

static bool read_footer(struct rd *r, struct tz *tz)
{
	char text[128];
	size_t n = r->left;
	const unsigned char *p = rd_bytes(r, n);
	if (!p || n < 2 || n - 2 >= sizeof(text) || p[0] != '\n' || p[n - 1] != '\n' || memchr(p, 0, n))
		return false;
	memcpy(text, p + 1, n - 2);
	text[n - 2] = '\0';
	return n == 2 || parse_footer(tz, text);
}

int tz_parse(const void *p, size_t n, struct tz **ret, struct err *err)
{
	*ret = NULL;
	CLEAN(tz_free_ptr) struct tz *tz = xcalloc(1, sizeof(*tz));
	struct rd r = rd_init(p, n);
	struct header h = {0};
	bool ok = read_header(&r, &h);
	if (ok && h.version == 1) {
		ok = read_block(&r, &h, 4, tz);
	} else if (ok) {
		rd_bytes(&r, block_size(&h, 4));
		ok = rd_ok(&r) && read_header(&r, &h) && read_block(&r, &h, 8, tz) && read_footer(&r, tz);
	}
	if (!ok)
		return err_set(err, ERR_FORMAT, "not a time zone file");
	*ret = TAKE(tz);
	return 0;
}

static bool zone_name_ok(const char *name)
{
	size_t n = strlen(name);
	if (n == 0 || n > 64 || name[0] == '/' || name[0] == '-' || strstr(name, "..") || strstr(name, "//"))
		return false;
	return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/") == n &&
	       name[n - 1] != '/';
}

int tz_load(const char *name, struct tz **ret, struct err *err)
{
	*ret = NULL;
	if (!zone_name_ok(name))
		return err_set(err, ERR_USAGE, "'%.40s' is not the name of a time zone", name);
	if (str_eq(name, "UTC")) {
		*ret = xcalloc(1, sizeof(**ret));
		return 0;
	}
	char path[128];
	snprintf(path, sizeof(path), ZONE_DIR "/%s", name);
	CLEAN(buf_release) struct buf b = BUF_INIT(FILE_MAX);
	if (fs_read(path, &b, NULL))
		return err_set(err, ERR_USAGE, "there is no time zone '%s' on this machine", name);
	int rc = tz_parse(b.p, b.len, ret, err);
	return rc && err ? err_wrap(err, "time zone '%s'", name) : rc;
}

void tz_free(struct tz *tz)
{
	if (!tz)
		return;
	free(tz->at);
	free(tz->offset);
	free(tz);
}

void tz_free_ptr(struct tz **tz)
{
	tz_free(*tz);
	*tz = NULL;
}
