#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/str.h"

static atomic_int log_level = LOG_INFO;
static atomic_bool log_colour, log_bar;
static _Atomic(const struct log_sink *) log_sink;

void log_to(const struct log_sink *sink)
{
	atomic_store(&log_sink, sink);
}

void log_set(enum log_level level, bool colour)
{
	atomic_store(&log_level, (int)level);
	atomic_store(&log_colour, colour);
}

void log_over_bar(bool on)
{
	atomic_store(&log_bar, on);
}

/* What could move the cursor, start an escape sequence or turn the order of the text around. */
static bool unsafe_point(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0x061c || cp == 0x200e || cp == 0x200f ||
	       (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069);
}

char *log_safe(char *out, size_t n, const char *s)
{
	size_t left = strlen(s), at = 0;

	BUG_ON(n == 0);
	while (left) {
		uint32_t cp = 0;
		size_t len = str_utf8_next(s, left, &cp);
		bool escape = !len || unsafe_point(cp);
		size_t take = len ? len : 1, need = escape ? 4 * take : take;

		if (need >= n - at)
			break;
		if (!escape)
			memcpy(out + at, s, take);
		for (size_t i = 0; escape && i < take; i++)
			snprintf(out + at + 4 * i, 5, "\\x%02x", (unsigned char)s[i]);
		at += need;
		s += take;
		left -= take;
	}
	out[at] = '\0';
	return out;
}

/* One write call a line, so that lines of several threads and processes do not mix. */
static void put_line(const char *line, size_t n)
{
	while (n) {
		ssize_t done = write(STDERR_FILENO, line, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return;
		line += done;
		n -= (size_t)done;
	}
}

static void emit(enum log_level level, const char *label, const char *text)
{
	static const char *const colours[] = {"\033[31m", "\033[33m", "", "\033[2m"};
	char safe[4096], line[4224];
	bool colour = atomic_load(&log_colour) && *label && *colours[level];
	const struct log_sink *sink = atomic_load(&log_sink);
	int n;

	log_safe(safe, sizeof safe, text);
	if (sink) {
		sink->fn(sink->arg, level, safe);
		return;
	}
	n = snprintf(line, sizeof line, "%s%s%s%s%s\n", atomic_load(&log_bar) ? "\r\033[K" : "",
	        colour ? colours[level] : "", label, colour ? "\033[0m" : "", safe);
	if (n > 0)
		put_line(line, MIN((size_t)n, sizeof line - 1));
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	static const char *const labels[] = {"error: ", "warning: ", "", "debug: "};
	char text[2048];
	va_list ap;

	BUG_ON((size_t)level >= ARRAY_LEN(labels));
	if ((int)level > atomic_load(&log_level))
		return;
	va_start(ap, fmt);
	if (vsnprintf(text, sizeof text, fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	emit(level, labels[level], text);
}

void log_err(const struct err *err)
{
	emit(LOG_ERROR, "error: ", err->msg);
	if (err->hint[0])
		emit(LOG_WARN, "hint: ", err->hint);
}
