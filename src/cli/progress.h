/*
 * Progress on standard error: a bar that is drawn over itself, or one JSON object a line. At most ten times a second.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdint.h>
#include <stdio.h>
#include "cli/term.h"
#include "ops/ops.h"

enum progress_mode { PROGRESS_NONE, PROGRESS_BAR, PROGRESS_JSON };
struct progress {
	enum progress_mode mode;
	const struct term *term;
	FILE *out;
	char phase[64];             /* the phase and subject that the clock below counts for */
	int64_t start_ns, drawn_ns; /* boot clock */
	bool on_line;               /* a bar stands on the terminal's last line */
};
/* mode is auto, bar, json or none; auto is a bar on a terminal that can move its cursor, else none. */
void progress_init(struct progress *p, const char *mode, bool dumb, const struct term *term, FILE *out);
void progress_show(struct progress *p, const struct job_progress *now);
/* Take the bar away, before anything else is written. */
void progress_clear(struct progress *p);
/* The bar's text for a terminal of `width` columns: never wider than width - 1. */
void progress_line(char *out, size_t n, const struct job_progress *now, int64_t elapsed_ns, bool utf8, unsigned width);

#endif
