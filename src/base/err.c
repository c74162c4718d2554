#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct err_row {
	const char *name, *meaning;
	int status;
	bool retryable;
};

static const struct err_row rows[] = {
        [ERR_OK] = {"OK", "success", 0, false},
#define ERR(name, num, status, retry, meaning) [num] = {#name, meaning, status, (retry) != 0},
#include "base/err.def"
#undef ERR
};

static const struct err_row *row_of(enum err_code code)
{
	size_t i = (size_t)code;

	if (i >= sizeof rows / sizeof rows[0] || !rows[i].name)
		return &rows[ERR_INTERNAL];
	return &rows[i];
}

enum { MSG_SIZE = sizeof(((struct err *)0)->msg) };

/*
 * Format, then append ": suffix" as far as it fits. The text is made aside because arguments and suffix may point into
 * the message that is about to be replaced.
 */
static HF_PRINTF(3, 0) void compose(char text[MSG_SIZE], const char *suffix, const char *fmt, va_list ap)
{
	int n = vsnprintf(text, MSG_SIZE, fmt, ap);
	size_t used;

	if (n < 0)
		text[0] = '\0';
	used = strlen(text);
	for (const char *sep = ": "; suffix && *sep && used + 1 < MSG_SIZE; sep++)
		text[used++] = *sep;
	for (; suffix && *suffix && used + 1 < MSG_SIZE; suffix++)
		text[used++] = *suffix;
	text[used] = '\0';
}

static void fill(struct err *err, enum err_code code, int sys_errno, const char text[MSG_SIZE])
{
	err->code = code;
	err->retryable = row_of(code)->retryable;
	err->sys_errno = sys_errno;
	err->retry_after_ms = 0;
	memcpy(err->msg, text, MSG_SIZE);
	err->hint[0] = '\0';
}

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
	char text[MSG_SIZE];
	va_list ap;

	BUG_ON(code == ERR_OK);
	if (err) {
		va_start(ap, fmt);
		compose(text, NULL, fmt, ap);
		va_end(ap);
		fill(err, code, 0, text);
	}
	return -(int)code;
}

static enum err_code code_of_errno(int e, enum err_code otherwise)
{
	switch (e) {
	case ENOSPC:
	case EDQUOT:
		return ERR_NOSPACE;
	case EACCES:
	case EPERM:
		return ERR_DENIED;
	case ENOENT:
		return ERR_MISSING;
	case EEXIST:
		return ERR_EXISTS;
	default:
		return otherwise;
	}
}

int err_sys(struct err *err, enum err_code code, const char *fmt, ...)
{
	int e = errno;
	char text[MSG_SIZE], why[128];
	va_list ap;

	BUG_ON(code == ERR_OK);
	code = code_of_errno(e, code);
	if (err) {
		va_start(ap, fmt);
		compose(text, strerror_r(e, why, sizeof why), fmt, ap);
		va_end(ap);
		fill(err, code, e, text);
	}
	return -(int)code;
}

int err_hint(struct err *err, const char *fmt, ...)
{
	char text[sizeof err->hint];
	va_list ap;

	if (!err)
		return -(int)ERR_INTERNAL;
	va_start(ap, fmt);
	if (vsnprintf(text, sizeof text, fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	memcpy(err->hint, text, sizeof text);
	return -(int)err->code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	char text[MSG_SIZE];
	va_list ap;

	if (!err)
		return -(int)ERR_INTERNAL;
	va_start(ap, fmt);
	compose(text, err->msg, fmt, ap);
	va_end(ap);
	memcpy(err->msg, text, MSG_SIZE);
	return -(int)err->code;
}

const char *err_name(enum err_code code)
{
	return row_of(code)->name;
}

const char *err_meaning(enum err_code code)
{
	return row_of(code)->meaning;
}

int err_exit_status(enum err_code code)
{
	return row_of(code)->status;
}

/* Smaller is worse. Statuses outside the list come right behind a bug, the smaller number first. */
static int status_rank(int status)
{
	static const int order[] = {10, 6, 9, 1, 8, 3, 4, 0};
	const int listed = 1000;

	if (status == 70)
		return -1;
	for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
		if (order[i] == status)
			return listed + (int)i;
	return status & 0xff;
}

int err_status_worse(int a, int b)
{
	return status_rank(b) < status_rank(a) ? b : a;
}

_Noreturn void err_bug(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "bug: %s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}
