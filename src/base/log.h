/*
 * Messages for people, on stderr. Only cli sets level and target; libraries log what an operator may want and return
 * errors for all else. Thread-safe, one line a call. Control characters in arguments are escaped before printing.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stddef.h>
#include "base/err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
void log_set(enum log_level level, bool colour);
/* A progress bar stands on the terminal's last line: each message clears that line first. Off until told. */
void log_over_bar(bool on);
void log_msg(enum log_level level, const char *fmt, ...) HF_PRINTF(2, 3);
/* Lines go to fn instead of standard error, with the level and without its label; NULL: standard error again. Called by any
 * thread; what sink points to stays valid for the rest of the process. */
struct log_sink {
	void (*fn)(void *arg, enum log_level level, const char *line);
	void *arg;
};
void log_to(const struct log_sink *sink);
/* "error: msg" and, where there is one, "hint: ...". */
void log_err(const struct err *err);
/* Copy s to out (size n) with control bytes, ESC, DEL and invalid UTF-8 as \xNN: what may go to a terminal. */
char *log_safe(char *out, size_t n, const char *s);

#endif
