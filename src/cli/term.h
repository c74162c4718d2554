/*
 * What a stream can show: whether it is a terminal, how wide, with colours, in UTF-8. And text from outside made fit
 * for it.
 */
#ifndef CLI_TERM_H
#define CLI_TERM_H

#include <stdbool.h>
#include <stddef.h>

struct cli_env;

struct term {
	int fd;
	bool tty, colour, utf8;
};
enum term_colour { TERM_PLAIN, TERM_BOLD, TERM_GREEN, TERM_RED, TERM_YELLOW };

void term_init(struct term *t, int fd, const struct cli_env *env);
/* Columns now, 80 when unknown. */
unsigned term_width(const struct term *t);
/* Escape sequences that begin and end a colour, "" where colours are off. */
const char *term_on(const struct term *t, enum term_colour colour);
const char *term_off(const struct term *t, enum term_colour colour);
/* Columns of a UTF-8 text, one a code point. */
size_t term_columns(const char *s);
/* s of any length made safe as log_safe() does; newly allocated. */
char *term_safe(const char *s);

#endif
