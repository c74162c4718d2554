#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "store/file.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

#define READ_BLOCK ((size_t)256 << 10) /* stays in a core's cache until the sink has looked at it */

int file_missing(const struct file_store *f, const char *key, struct err *err)
{
	int rc = file_check_root(f, err);

	return rc ? rc : err_set(err, ERR_MISSING, "object %s is not there", key);
}

static int open_object(struct file_store *f, const char *key, int *ret_fd, struct stat *st, struct err *err)
{
	const uint64_t flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW; /* what is there may be a FIFO */
	CLEAN(close_fd) int fd = file_open_beneath(f->root, key, flags | O_NOATIME);

	if (fd < 0 && errno == EPERM) /* not the owner */
		fd = file_open_beneath(f->root, key, flags);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? file_missing(f, key, err) : file_failed(err, "open", key);
	if (fstat(fd, st) < 0)
		return file_failed(err, "stat", key);
	if (!S_ISREG(st->st_mode))
		return file_missing(f, key, err);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* --- objects that stay open between reads of their parts --- */

static void forget(struct file_read *r)
{
	close_fd(&r->fd);
	free(r->key);
	*r = (struct file_read){.fd = -1};
}

/* Kept, and still the object of that name: one that was removed, by whomever, has no name any more. */
static struct file_read *read_find(struct file_store *f, const char *key, struct stat *st)
{
	struct file_read *found = NULL;

	pthread_mutex_lock(&f->mutex);
	for (size_t i = 0; i < FILE_READ_KEPT && !found; i++) {
		struct file_read *r = &f->read[i];

		if (r->fd < 0 || strcmp(r->key, key) != 0)
			continue;
		if (fstat(r->fd, st) == 0 && st->st_nlink)
			found = r;
		else if (!r->users)
			forget(r);
	}
	if (found) {
		found->users++;
		found->used = ++f->tick;
	}
	pthread_mutex_unlock(&f->mutex);
	return found;
}

/* NULL when all places are in use: the descriptor stays the caller's. */
static struct file_read *read_keep(struct file_store *f, const char *key, int fd)
{
	struct file_read *place = NULL;

	pthread_mutex_lock(&f->mutex);
	for (size_t i = 0; i < FILE_READ_KEPT; i++)
		if (!f->read[i].users && (!place || f->read[i].used < place->used))
			place = &f->read[i];
	if (place) {
		forget(place);
		*place = (struct file_read){xstrdup(key), fd, 1, ++f->tick};
	}
	pthread_mutex_unlock(&f->mutex);
	return place;
}

static void read_done(struct file_store *f, struct file_read *r)
{
	pthread_mutex_lock(&f->mutex);
	r->users--;
	pthread_mutex_unlock(&f->mutex);
}

void file_close_read(struct file_store *f)
{
	for (size_t i = 0; i < FILE_READ_KEPT; i++)
		forget(&f->read[i]);
}

/* --- reading --- */

/* What of the object is asked for; cut at its end. */
static struct store_range clip(const struct stat *st, struct store_range range)
{
	uint64_t size = (uint64_t)st->st_size, left = range.off < size ? size - range.off : 0;

	return (struct store_range){range.off, range.len && range.len < left ? range.len : left};
}

/* The next bytes, at least one; their number or the error. */
static ssize_t read_some(int fd, const char *key, void *p, size_t n, uint64_t off, struct err *err)
{
	ssize_t got;

	do {
		got = pread(fd, p, n, (off_t)off);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return file_failed(err, "read", key);
	return got ? got : err_set(err, ERR_CORRUPT, "object %s became shorter while it was read", key);
}

int file_get(struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err)
{
	CLEAN(close_fd) int fd = -1;
	struct stat st;
	int rc = open_object((struct file_store *)s, key, &fd, &st, err);

	if (rc)
		return rc;
	range = clip(&st, range);
	if (!range.len)
		return 0;
	(void)posix_fadvise(fd, (off_t)range.off, (off_t)range.len, POSIX_FADV_SEQUENTIAL);
	size_t block = (size_t)MIN(range.len, READ_BLOCK);
	CLEAN(free_ptr) unsigned char *p = xmalloc(block);

	while (range.len) {
		ssize_t n = read_some(fd, key, p, (size_t)MIN(range.len, block), range.off, err);

		if (n < 0)
			return (int)n;
		rc = sink->write(sink->arg, p, (size_t)n, err);
		if (rc)
			return rc;
		range.off += (uint64_t)n;
		range.len -= (uint64_t)n;
	}
	return 0;
}

static int read_into(int fd, const char *key, struct store_range range, struct buf *out, struct err *err)
{
	int rc = range.len > SIZE_MAX ? err_set(err, ERR_NOMEM, "more than %zu bytes", out->limit)
	                              : buf_reserve(out, (size_t)range.len, err);

	while (!rc && range.len) {
		ssize_t n = read_some(fd, key, out->p + out->len, (size_t)range.len, range.off, err);

		if (n < 0)
			return (int)n;
		out->len += (size_t)n;
		range.off += (uint64_t)n;
		range.len -= (uint64_t)n;
	}
	return rc;
}

static int read_part(
        struct file_store *f, const char *key, struct store_range range, struct buf *out, struct err *err)
{
	struct stat st;
	CLEAN(close_fd) int own = -1;
	struct file_read *r = read_find(f, key, &st);
	int rc = 0;

	if (!r) {
		rc = open_object(f, key, &own, &st, err);
		r = rc ? NULL : read_keep(f, key, own);
		if (r)
			own = -1;
	}
	if (!rc)
		rc = read_into(r ? r->fd : own, key, clip(&st, range), out, err);
	if (r)
		read_done(f, r);
	return rc;
}

int file_get_buf(struct store *s, const char *key, struct store_range range, struct buf *out, struct err *err)
{
	CLEAN(close_fd) int fd = -1;
	struct stat st;

	if (range.len)
		return read_part((struct file_store *)s, key, range, out, err);
	int rc = open_object((struct file_store *)s, key, &fd, &st, err);

	if (rc)
		return rc;
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return read_into(fd, key, clip(&st, range), out, err);
}
