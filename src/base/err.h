/*
 * Errors as data.
 *
 * A function that can fail returns 0 or -code, takes `struct err *err` last and fills it on failure (err may be NULL).
 * Messages are lower case, name the object and end without a period; an optional hint says the next step.
 * err_wrap() prefixes context on the way up. No function below cli prints or exits. Threading: an err belongs to its
 * owner.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum err_code {
	ERR_OK = 0,
#define ERR(name, num, status, retry, meaning) ERR_##name = num,
#include "base/err.def"
#undef ERR
};

struct err {
	enum err_code code;
	bool retryable;
	int sys_errno;  /* errno behind it, 0 for none */
	int64_t retry_after_ms; /* not before: what the other side asked for, 0 for none */
	char msg[384];  /* always terminated */
	char hint[192]; /* next step, may be empty */
};

#define ERR_INIT                                                                                                       \
	{                                                                                                              \
		0                                                                                                      \
	}
#define HF_NODISCARD __attribute__((warn_unused_result))
#define HF_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Fill err (NULL is fine) and return -code. retryable is taken from the table. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...) HF_PRINTF(3, 4);
/*
 * The same from the current errno: appends ": strerror", maps ENOSPC/EDQUOT to NOSPACE, EACCES/EPERM to DENIED, ENOENT
 * to MISSING, EEXIST to EXISTS, else `code`.
 */
int err_sys(struct err *err, enum err_code code, const char *fmt, ...) HF_PRINTF(3, 4);
/* Add a hint to an error already set; returns -err->code (-ERR_INTERNAL when err is NULL). */
int err_hint(struct err *err, const char *fmt, ...) HF_PRINTF(2, 3);
/* Put "prefix: " before the message; keeps code and hint; returns -err->code (-ERR_INTERNAL when err is NULL). */
int err_wrap(struct err *err, const char *fmt, ...) HF_PRINTF(2, 3);
/* Name ("CORRUPT"), meaning and exit status of a code. */
const char *err_name(enum err_code code);
const char *err_meaning(enum err_code code);
int err_exit_status(enum err_code code);
/* Of two exit statuses, the one that wins: 70, any not named here (the smaller), 10, 6, 9, 1, 8, 3, 4, 0. */
int err_status_worse(int a, int b);

/* What a function returns whose callee has just filled err (which must not be NULL). */
static inline int err_rc(const struct err *err)
{
	return -(int)err->code;
}

/* A bug: print file, line and message to stderr and abort, in release builds too. */
#define BUG(...) err_bug(__FILE__, __LINE__, __VA_ARGS__)
#define BUG_ON(c)                                                                                                      \
	do {                                                                                                           \
		if (__builtin_expect(!!(c), 0))                                                                        \
			err_bug(__FILE__, __LINE__, "%s", #c);                                                         \
	} while (0)
_Noreturn void err_bug(const char *file, int line, const char *fmt, ...) HF_PRINTF(3, 4);

#endif
