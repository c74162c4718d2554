#include "backup/scan_int.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { HOLE_MIN = 4096 }; /* files that are shorter have no holes */

void source_init(struct source *f)
{
	*f = (struct source){.fd = -1};
}

void source_release(struct source *f)
{
	close_fd(&f->fd);
	free(f->x);
	f->x = NULL;
}

int source_open(struct source *f, int dir, const char *name)
{
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	f->fd = openat(dir, name, flags | O_NOATIME);
	if (f->fd < 0 && errno == EPERM)
		f->fd = openat(dir, name, flags);
	return f->fd < 0 ? errno : source_look(f);
}

int source_look(struct source *f)
{
	free(f->x);
	f->x = NULL;
	f->n_x = f->at = 0;
	f->at_pos = 0;
	if (fstat(f->fd, &f->st))
		return errno;
	if (!S_ISREG(f->st.st_mode))
		return ESTALE;
	f->len = (uint64_t)f->st.st_size;
	if (f->st.st_size < HOLE_MIN)
		return 0;
	struct err err = ERR_INIT;
	if (pax_extents(f->fd, f->len, &f->x, &f->n_x, &err))
		return err.sys_errno ? err.sys_errno : EIO;
	if (f->x)
		f->len = 0;
	for (size_t i = 0; i < f->n_x; i++)
		f->len += f->x[i].len;
	return 0;
}

static ssize_t pread_full(int fd, void *p, size_t n, uint64_t off)
{
	size_t have = 0;
	while (have < n) {
		ssize_t got = pread(fd, (char *)p + have, n - have, (off_t)(off + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (!got)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

ssize_t source_read(struct source *f, uint64_t off, void *p, size_t n)
{
	if (!f->x)
		return pread_full(f->fd, p, n, off);
	if (off < f->at_pos)
		f->at = f->at_pos = 0;
	size_t have = 0;
	while (have < n && f->at < f->n_x) {
		const struct pax_extent *x = &f->x[f->at];
		uint64_t inside = off + have - f->at_pos;
		if (inside >= x->len) {
			f->at_pos += x->len;
			f->at++;
			continue;
		}
		size_t want = (size_t)MIN((uint64_t)(n - have), x->len - inside);
		ssize_t got = pread_full(f->fd, (char *)p + have, want, x->off + inside);
		if (got < 0)
			return -1;
		have += (size_t)got;
		if ((size_t)got < want)
			break;
	}
	return (ssize_t)have;
}

/* Saturates: a time that nanoseconds cannot hold is the largest or the least. */
static int64_t to_ns(const struct timespec *t)
{
	int64_t ns;
	if (__builtin_mul_overflow((int64_t)t->tv_sec, (int64_t)1000000000, &ns) ||
	        __builtin_add_overflow(ns, (int64_t)t->tv_nsec, &ns))
		return t->tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

int64_t stat_mtime(const struct stat *st)
{
	return to_ns(&st->st_mtim);
}

int64_t stat_ctime(const struct stat *st)
{
	return to_ns(&st->st_ctim);
}

bool source_same(const struct source *f)
{
	struct stat st;
	return !fstat(f->fd, &st) && st.st_size == f->st.st_size && stat_mtime(&st) == stat_mtime(&f->st) &&
	       stat_ctime(&st) == stat_ctime(&f->st);
}

enum note_code note_of_errno(int e)
{
	switch (e) {
	case ENOENT:
	case ENOTDIR:
		return NOTE_VANISHED;
	case ESTALE: /* something else took the name */
	case ELOOP:
	case ENXIO:
		return NOTE_CHANGED;
	default:
		return NOTE_UNREADABLE;
	}
}

bool errno_is_ours(int e)
{
	return e == EMFILE || e == ENFILE || e == ENOMEM;
}
