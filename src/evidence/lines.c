#include "evidence/log_internal.h"

#include <string.h>
#include <unistd.h>

#define WINDOW (256u << 10)

void lines_init(struct lines *l, int fd, uint64_t off)
{
	*l = (struct lines){.fd = fd, .off = off, .p = xmalloc(WINDOW)};
}

void lines_release(struct lines *l)
{
	free(l->p);
	l->p = NULL;
}

static int refill(struct lines *l, struct err *err)
{
	memmove(l->p, l->p + l->at, l->len - l->at);
	l->len -= l->at;
	l->at = 0;
	while (!l->eof && l->len < WINDOW) {
		ssize_t k = pread(l->fd, l->p + l->len, WINDOW - l->len, (off_t)(l->off + l->len));

		if (k < 0)
			return err_sys(err, ERR_IO, "cannot read evidence");
		l->eof = k == 0;
		l->len += (size_t)k;
	}
	return 0;
}

enum line_kind lines_next(struct lines *l, const unsigned char **ret, size_t *n, struct err *err)
{
	const unsigned char *end = memchr(l->p + l->at, '\n', l->len - l->at);

	if (!end) {
		if (refill(l, err))
			return LINE_ERROR;
		end = l->len ? memchr(l->p, '\n', l->len) : NULL;
	}
	*ret = l->p + l->at;
	if (!end) {
		*n = l->len - l->at;
		return *n == 0 ? LINE_NONE : *n > LINES_MAX ? LINE_LONG : LINE_TORN;
	}
	*n = (size_t)(end - *ret);
	if (*n > LINES_MAX)
		return LINE_LONG;
	l->at += *n + 1;
	l->off += *n + 1;
	return LINE_WHOLE;
}
