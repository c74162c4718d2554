#include "base/clock.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>
#include "base/mem.h"

#define NS_PER_S INT64_C(1000000000)

static atomic_bool faked;
static _Atomic int64_t fake_wall, fake_boot;

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts))
		BUG("clock_gettime failed");
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t clock_wall_ns(void)
{
	return atomic_load(&faked) ? atomic_load(&fake_wall) : read_clock(CLOCK_REALTIME);
}

int64_t clock_boot_ns(void)
{
	return atomic_load(&faked) ? atomic_load(&fake_boot) : read_clock(CLOCK_BOOTTIME);
}

void clock_fake(int64_t wall_ns, int64_t boot_ns)
{
	atomic_store(&fake_wall, wall_ns);
	atomic_store(&fake_boot, boot_ns);
	atomic_store(&faked, wall_ns >= 0);
}

/* Split with the remainder never negative, so that times before 1970 print right. */
static int64_t split_utc(int64_t wall_ns, struct tm *tm)
{
	int64_t s = wall_ns / NS_PER_S, ns = wall_ns % NS_PER_S;
	time_t t;

	if (ns < 0) {
		ns += NS_PER_S;
		s--;
	}
	t = (time_t)s;
	if (!gmtime_r(&t, tm))
		BUG("gmtime_r failed");
	return ns;
}

char *clock_rfc3339(char out[CLOCK_TEXT], int64_t wall_ns)
{
	struct tm tm;
	int64_t ns = split_utc(wall_ns, &tm);
	size_t n = strftime(out, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);

	snprintf(out + n, CLOCK_TEXT - n, ".%03dZ", (int)(ns / 1000000));
	return out;
}

char *clock_compact(char out[CLOCK_TEXT], int64_t wall_ns)
{
	struct tm tm;

	split_utc(wall_ns, &tm);
	strftime(out, CLOCK_TEXT, "%Y%m%dT%H%M%SZ", &tm);
	return out;
}

/* Exactly n digits at *s, advanced behind them; -1 when they are not there. */
static int digits(const char **s, int n)
{
	int v = 0;

	for (int i = 0; i < n; i++, (*s)++) {
		if (**s < '0' || **s > '9')
			return -1;
		v = v * 10 + (**s - '0');
	}
	return v;
}

static bool expect(const char **s, const char *any)
{
	if (!**s || !strchr(any, **s))
		return false;
	(*s)++;
	return true;
}

static int month_days(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

static bool parse_date(const char **s, struct tm *tm)
{
	int y = digits(s, 4), m, d;

	if (y < 0 || !expect(s, "-") || (m = digits(s, 2)) < 1 || m > 12 || !expect(s, "-") || (d = digits(s, 2)) < 1)
		return false;
	if (d > month_days(y, m))
		return false;
	tm->tm_year = y - 1900;
	tm->tm_mon = m - 1;
	tm->tm_mday = d;
	return true;
}

static bool parse_time(const char **s, struct tm *tm, int64_t *ns)
{
	int h = digits(s, 2), m, sec, n = 0;

	if (h < 0 || h > 23 || !expect(s, ":") || (m = digits(s, 2)) < 0 || m > 59 || !expect(s, ":"))
		return false;
	sec = digits(s, 2);
	if (sec < 0 || sec > 60)
		return false;
	tm->tm_hour = h;
	tm->tm_min = m;
	tm->tm_sec = sec;
	*ns = 0;
	if (**s != '.')
		return true;
	(*s)++;
	for (; **s >= '0' && **s <= '9'; (*s)++, n++) {
		if (n == 9)
			return false;
		*ns = *ns * 10 + (**s - '0');
	}
	if (!n)
		return false;
	for (; n < 9; n++)
		*ns *= 10;
	return true;
}

static bool parse_offset(const char **s, int64_t *seconds)
{
	int sign = **s == '-' ? -1 : 1, h, m;

	*seconds = 0;
	if (expect(s, "Zz"))
		return true;
	if (!expect(s, "+-") || (h = digits(s, 2)) < 0 || h > 23 || !expect(s, ":") || (m = digits(s, 2)) < 0 || m > 59)
		return false;
	*seconds = sign * (h * 3600 + m * 60);
	return true;
}

bool clock_parse(const char *s, int64_t *ret_ns)
{
	struct tm tm = {0};
	int64_t ns = 0, offset = 0, t;
	bool leap;

	if (!parse_date(&s, &tm))
		return false;
	if (*s && (!expect(&s, "Tt") || !parse_time(&s, &tm, &ns) || !parse_offset(&s, &offset) || *s))
		return false;
	leap = tm.tm_sec == 60;
	t = (int64_t)timegm(&tm) - offset;
	/* RFC 3339, section 5.7: a leap second only ends a UTC day. */
	if (leap && t % 86400)
		return false;
	/* The smallest whole second does not fit: multiply from the side of zero. */
	if (t < 0 && ns) {
		t++;
		ns -= NS_PER_S;
	}
	return !__builtin_mul_overflow(t, NS_PER_S, &t) && !__builtin_add_overflow(t, ns, ret_ns);
}

void clock_sync_state(struct clock_sync *ret)
{
	struct timex tx = {0};
	int state = adjtimex(&tx);

	*ret = (struct clock_sync){.source = "none"};
	if (state < 0)
		return;
	ret->synced = state != TIME_ERROR && !(tx.status & STA_UNSYNC);
	ret->offset_us = tx.status & STA_NANO ? tx.offset / 1000 : tx.offset;
	ret->max_error_us = tx.maxerror;
	ret->trusted = ret->synced && ret->max_error_us < 1000000;
	if (ret->synced)
		ret->source = "kernel-ntp";
}

void clock_boot_id(char out[37])
{
	CLEAN(close_fd) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	memcpy(out, "00000000-0000-0000-0000-000000000000", 37);
	if (fd >= 0) {
		char text[37];

		if (read(fd, text, 36) == 36)
			memcpy(out, text, 36);
	}
}
