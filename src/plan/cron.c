#include "plan/plan.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

#define DAY_S 86400
#define HORIZON_DAYS (9 * 366)

struct field {
	const char *name;
	unsigned lo, hi;
	const char *words; /* three letters each, from `first` on */
	unsigned first;
};
static const struct field fields[5] = {
        {"minute", 0, 59, NULL, 0},
        {"hour", 0, 23, NULL, 0},
        {"day of month", 1, 31, NULL, 0},
        {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec", 1},
        {"day of week", 0, 7, "sunmontuewedthufrisat", 0},
};

/* One number or name; moves *s behind it. */
static bool parse_value(const struct field *f, const char **s, const char *end, unsigned *ret)
{
	const char *p = *s;
	if (p < end && isdigit((unsigned char)*p)) {
		unsigned v = 0;
		while (p < end && isdigit((unsigned char)*p) && v <= 1000)
			v = v * 10 + (unsigned)(*p++ - '0');
		*s = p;
		*ret = v;
		return v >= f->lo && v <= f->hi;
	}
	for (unsigned i = 0; f->words && end - p >= 3 && f->words[i * 3]; i++) {
		if (strncasecmp(f->words + i * 3, p, 3) == 0) {
			*s = p + 3;
			*ret = f->first + i;
			return true;
		}
	}
	return false;
}

/* "*", "4", "1-5", each with "/2" behind a range: sets bits. */
static bool parse_item(const struct field *f, const char *s, const char *end, uint64_t *bits)
{
	unsigned lo = f->lo, hi = f->hi == 7 ? 6 : f->hi, step = 1;
	bool range = true;
	if (s < end && *s == '*') {
		s++;
	} else {
		if (!parse_value(f, &s, end, &lo))
			return false;
		hi = lo;
		range = s < end && *s == '-';
		if (range) {
			s++;
			if (!parse_value(f, &s, end, &hi) || hi < lo)
				return false;
		}
	}
	if (s < end && *s == '/') {
		s++;
		size_t digits = strspn(s, "0123456789");
		if (!range || digits == 0 || digits > 3)
			return false;
		step = 0;
		for (size_t i = 0; i < digits; i++)
			step = step * 10 + (unsigned)(*s++ - '0');
		if (step == 0 || step > f->hi)
			return false;
	}
	for (unsigned v = lo; v <= hi; v += step)
		*bits |= 1ull << v;
	return s == end;
}

static bool parse_field(const struct field *f, const char *s, size_t len, uint64_t *bits)
{
	const char *end = s + len;
	for (;;) {
		const char *comma = memchr(s, ',', (size_t)(end - s));
		if (!parse_item(f, s, comma ? comma : end, bits))
			return false;
		if (!comma)
			return true;
		s = comma + 1;
	}
}

static unsigned month_days(int64_t year, unsigned month)
{
	static const unsigned char days[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return month == 2 && leap ? 29 : days[month];
}

static bool can_match(const struct cron *c)
{
	if (!c->any_mday && !c->any_wday)
		return true; /* the day of the week alone is enough */
	for (unsigned m = 1; m <= 12; m++) {
		uint32_t days = (uint32_t)((2ull << month_days(2024, m)) - 2);
		if ((c->month >> m & 1) && (c->mday & days))
			return true;
	}
	return false;
}

static const char *expand(const char *text)
{
	static const char *const names[][2] = {
	        {"@hourly", "0 * * * *"},
	        {"@daily", "0 0 * * *"},
	        {"@midnight", "0 0 * * *"},
	        {"@weekly", "0 0 * * 0"},
	        {"@monthly", "0 0 1 * *"},
	        {"@yearly", "0 0 1 1 *"},
	        {"@annually", "0 0 1 1 *"},
	};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (str_eq(names[i][0], text))
			return names[i][1];
	}
	return NULL;
}

static void store_bits(struct cron *c, const uint64_t bits[5])
{
	c->minute = bits[0];
	c->hour = (uint32_t)bits[1];
	c->mday = (uint32_t)bits[2];
	c->month = (uint32_t)bits[3];
	c->wday = (uint32_t)((bits[4] | bits[4] >> 7) & 0x7f);
	c->every_hour = c->hour == 0xffffff;
}

int cron_parse(const char *text, struct cron *ret, size_t *ret_col, struct err *err)
{
	size_t col = 0, own = 0;
	size_t *at = ret_col ? ret_col : &own;
	*ret = (struct cron){0};
	*at = 0;
	const char *s = text;
	if (text[0] == '@' && !(s = expand(text))) {
		err_set(err, ERR_USAGE, "'%.40s' is not a calendar rule", text);
		return err ? err_hint(err, "@hourly, @daily, @weekly, @monthly or @yearly") : -ERR_USAGE;
	}
	uint64_t bits[5] = {0};
	for (size_t i = 0; i < 5; i++) {
		col += strspn(s + col, " ");
		size_t n = strcspn(s + col, " ");
		*at = col;
		if (n == 0) {
			err_set(err, ERR_USAGE, "a calendar rule of %zu fields", i);
			return err ? err_hint(err, "minute hour day month weekday") : -ERR_USAGE;
		}
		if (!parse_field(&fields[i], s + col, n, &bits[i]))
			return err_set(err, ERR_USAGE, "'%.*s' is not valid as %s of a calendar rule",
			        (int)MIN(n, (size_t)40), s + col, fields[i].name);
		ret->any_mday = ret->any_mday || (i == 2 && s[col] == '*');
		ret->any_wday = ret->any_wday || (i == 4 && s[col] == '*');
		col += n;
	}
	col += strspn(s + col, " ");
	*at = col;
	if (s[col])
		return err_set(err, ERR_USAGE, "a calendar rule of more than 5 fields");
	store_bits(ret, bits);
	*at = 0;
	if (!can_match(ret))
		return err_set(err, ERR_USAGE, "the calendar rule '%.40s' never matches", text);
	return 0;
}

/* Days since the epoch to a date and back (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
struct date {
	int64_t year;
	unsigned month, day;
};
static struct date date_of(int64_t days)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	unsigned doe = (unsigned)(days - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;
	unsigned month = mp < 10 ? mp + 3 : mp - 9;
	return (struct date){(int64_t)yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) / 5 + 1};
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static bool day_matches(const struct cron *c, int64_t day)
{
	struct date d = date_of(day);
	unsigned wday = (unsigned)(((day + 4) % 7 + 7) % 7);
	if (!(c->month >> d.month & 1))
		return false;
	bool m = c->mday >> d.day & 1, w = c->wday >> wday & 1;
	return c->any_mday || c->any_wday ? m && w : m || w;
}

/* Slots that follow elapsed time: instants are walked, and what the clock on the wall shows at each is compared. */
static int64_t next_elapsed(const struct cron *c, const struct tz *tz, int64_t after)
{
	int64_t t = floor_div(after, 60) * 60 + 60;
	int64_t end = after + (int64_t)HORIZON_DAYS * DAY_S;
	while (t < end) {
		int64_t local = t + tz_offset(tz, t);
		int64_t day = floor_div(local, DAY_S);
		if (!day_matches(c, day)) {
			/* To the next full hour only: an offset may change before the day ends. */
			t += 3600 - (local - floor_div(local, 3600) * 3600);
			continue;
		}
		unsigned minute = (unsigned)((local - day * DAY_S) / 60 % 60);
		uint64_t rest = c->minute >> minute;
		if (rest & 1)
			return t;
		/* An offset that is not whole minutes is only in the far past; changes fall on full minutes. */
		int skip = rest ? __builtin_ctzll(rest) : 60 - (int)minute;
		int64_t there = t + skip * 60;
		t = tz_offset(tz, there) == tz_offset(tz, t) ? there : t + 60;
	}
	return -1;
}

/* The first change of offset in (lo, hi]. */
static int64_t change_between(const struct tz *tz, int64_t lo, int64_t hi)
{
	int32_t before = tz_offset(tz, lo);
	while (hi - lo > 1) {
		int64_t mid = lo + (hi - lo) / 2;
		if (tz_offset(tz, mid) == before)
			lo = mid;
		else
			hi = mid;
	}
	return hi;
}

/* The instant a local time stands for: the first of two; the end of the gap when there is none. */
static int64_t to_utc(const struct tz *tz, int64_t local)
{
	int32_t a = tz_offset(tz, local - DAY_S), b = tz_offset(tz, local + DAY_S);
	int64_t t = local - a, u = local - b;
	if (tz_offset(tz, t) == a)
		return t;
	if (tz_offset(tz, u) == b)
		return u;
	int64_t change = change_between(tz, MIN(t, u), MAX(t, u));
	return floor_div(change + 59, 60) * 60;
}

/* Slots by the clock on the wall: local times are walked, which to_utc maps without ever going back. */
static int64_t next_on_wall(const struct cron *c, const struct tz *tz, int64_t after)
{
	int64_t local = after + tz_offset(tz, after);
	int64_t day = floor_div(local, DAY_S);
	for (int64_t d = day; d < day + HORIZON_DAYS; d++) {
		if (!day_matches(c, d))
			continue;
		for (unsigned m = 0; m < 1440; m++) {
			int64_t at = d * DAY_S + m * 60;
			if (at <= local || !(c->hour >> (m / 60) & 1) || !(c->minute >> (m % 60) & 1))
				continue;
			int64_t t = to_utc(tz, at);
			if (t > after)
				return t;
		}
	}
	return -1;
}

int64_t cron_next(const struct cron *rule, const struct tz *tz, int64_t after_ns)
{
	int64_t after = floor_div(after_ns, 1000000000);
	/* Beyond the year 2200 nanoseconds end, so do calendars. */
	if (after < 0 || after > 7258118400)
		return -1;
	int64_t t = rule->every_hour ? next_elapsed(rule, tz, after) : next_on_wall(rule, tz, after);
	return t < 0 ? -1 : t * 1000000000;
}

int64_t *cron_between(const struct cron *rule, const struct tz *tz, int64_t after_ns, int64_t until_ns, size_t max,
        size_t *ret_n, bool *ret_more)
{
	int64_t *v = NULL, t = after_ns;
	size_t cap = 0;
	*ret_n = 0;
	*ret_more = false;
	while ((t = cron_next(rule, tz, t)) >= 0 && t <= until_ns) {
		if (*ret_n == max) {
			*ret_more = true;
			break;
		}
		v = xgrow(v, *ret_n, &cap, sizeof(*v));
		v[(*ret_n)++] = t;
	}
	return v;
}

int64_t cron_longest_gap_ms(const struct cron *rule, const struct tz *tz, int64_t from_ns)
{
	int64_t end = from_ns + 366ll * DAY_S * 1000000000, gap = -1;
	int64_t prev = cron_next(rule, tz, from_ns), t;
	while (prev >= 0 && prev < end && (t = cron_next(rule, tz, prev)) >= 0) {
		gap = MAX(gap, (t - prev) / 1000000);
		prev = t;
	}
	return gap;
}
