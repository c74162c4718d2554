#include "cli/term.h"

#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"

static bool locale_is_utf8(const char *locale)
{
	const char *dot = locale ? strchr(locale, '.') : NULL;

	return dot && (strncasecmp(dot + 1, "utf-8", 5) == 0 || strncasecmp(dot + 1, "utf8", 4) == 0);
}

void term_init(struct term *t, int fd, const struct cli_env *env)
{
	*t = (struct term){.fd = fd, .tty = isatty(fd)};
	t->utf8 = t->tty && locale_is_utf8(env->locale);
	t->colour = t->tty && !(env->no_color && *env->no_color) && env->term && !str_eq(env->term, "dumb");
}

unsigned term_width(const struct term *t)
{
	struct winsize w = {0};

	if (!t->tty || ioctl(t->fd, TIOCGWINSZ, &w) != 0 || w.ws_col < 20)
		return 80;
	return w.ws_col;
}

const char *term_on(const struct term *t, enum term_colour colour)
{
	static const char *const code[] = {"", "\033[1m", "\033[32m", "\033[31m", "\033[33m"};

	return t->colour ? code[colour] : "";
}

const char *term_off(const struct term *t, enum term_colour colour)
{
	return t->colour && colour != TERM_PLAIN ? "\033[0m" : "";
}

size_t term_columns(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

char *term_safe(const char *s)
{
	size_t n = 4 * strlen(s) + 1;

	return log_safe(xmalloc(n), n, s);
}
