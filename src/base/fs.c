#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/rng.h"

ssize_t fs_read_full(int fd, void *p, size_t n)
{
	unsigned char *to = p;
	size_t have = 0;

	while (have < n) {
		ssize_t got = read(fd, to + have, n - have);

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

int fs_write_full(int fd, const void *p, size_t n)
{
	const unsigned char *from = p;

	while (n) {
		ssize_t done = write(fd, from, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -1;
		if (!done) {
			errno = EIO;
			return -1;
		}
		from += done;
		n -= (size_t)done;
	}
	return 0;
}

char *fs_join(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	bool slash = la && a[la - 1] != '/';
	char *path = xmalloc(la + slash + lb + 1);

	memcpy(path, a, la);
	if (slash)
		path[la] = '/';
	memcpy(path + la + slash, b, lb + 1);
	return path;
}

bool fs_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

int fs_sync_dir(const char *path, struct err *err)
{
	CLEAN(close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, ERR_IO, "open '%s'", path);
	if (fsync(fd))
		return err_sys(err, ERR_IO, "sync '%s'", path);
	return 0;
}

/* The directory part of path, newly allocated: "." or "/" where there is none; *ret_name is what follows it. */
static char *parent_of(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');

	*ret_name = slash ? slash + 1 : path;
	if (!slash)
		return xstrdup(".");
	while (slash > path && slash[-1] == '/')
		slash--;
	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

/* One level. Losing the race to make it is fine, and then too the name has to be durable before we go on. */
static int make_dir(const char *path, mode_t mode, struct err *err)
{
	CLEAN(free_ptr) char *parent = NULL;
	const char *name;
	struct stat st;

	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return 0;
		errno = ENOTDIR;
		return err_sys(err, ERR_IO, "make directory '%s'", path);
	}
	if (mkdir(path, mode) && errno != EEXIST)
		return err_sys(err, ERR_IO, "make directory '%s'", path);
	parent = parent_of(path, &name);
	return fs_sync_dir(parent, err);
}

int fs_mkdirs(const char *path, mode_t mode, struct err *err)
{
	CLEAN(free_ptr) char *part = xstrdup(path);
	struct stat st;

	for (char *p = part; *p; p++) {
		int rc;

		if (*p != '/' || p == part || p[-1] == '/')
			continue;
		*p = '\0';
		rc = make_dir(part, mode, err);
		*p = '/';
		if (rc)
			return rc;
	}
	for (size_t n = strlen(part); n > 1 && part[n - 1] == '/'; n--)
		part[n - 1] = '\0';
	if (stat(part, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	return make_dir(part, mode, err);
}

/* Fill out from fd up to its ceiling; one byte more is ERR_NOMEM. */
static int read_all(int fd, const char *path, struct buf *out, struct err *err)
{
	enum { step = 65536 };

	for (;;) {
		size_t n = MIN((size_t)step, out->limit - out->len);
		unsigned char over;
		ssize_t got;

		if (!n) {
			got = fs_read_full(fd, &over, 1);
			if (got > 0)
				return err_set(err, ERR_NOMEM, "'%s' is larger than %zu bytes", path, out->limit);
			return got < 0 ? err_sys(err, ERR_IO, "read '%s'", path) : 0;
		}
		if (buf_reserve(out, n, err))
			return err ? err_wrap(err, "read '%s'", path) : -(int)ERR_NOMEM;
		got = fs_read_full(fd, out->p + out->len, n);
		if (got < 0)
			return err_sys(err, ERR_IO, "read '%s'", path);
		out->len += (size_t)got;
		if ((size_t)got < n)
			return 0;
	}
}

int fs_read(const char *path, struct buf *out, struct err *err)
{
	CLEAN(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	buf_clear(out);
	if (fd < 0)
		return err_sys(err, ERR_IO, "open '%s'", path);
	return read_all(fd, path, out, err);
}

void fs_draft_release(struct fs_draft *d)
{
	if (d->tmp[0])
		unlinkat(d->dir, d->tmp, 0);
	close_fd(&d->fd);
	close_fd(&d->dir);
	free(d->parent);
	*d = (struct fs_draft){.fd = -1, .dir = -1};
}

static int draft_dir(struct fs_draft *d, const char *path, struct err *err)
{
	*d = (struct fs_draft){.fd = -1, .dir = -1, .path = path};
	d->parent = parent_of(path, &d->name);
	if (!*d->name) {
		errno = EISDIR;
		return err_sys(err, ERR_IO, "write '%s'", path);
	}
	d->dir = open(d->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return d->dir < 0 ? err_sys(err, ERR_IO, "open '%s'", d->parent) : 0;
}

static void temporary_name(struct fs_draft *d)
{
	char suffix[17];

	rng_hex(suffix, 8);
	snprintf(d->tmp, sizeof d->tmp, "%s%s", FS_TMP_PREFIX, suffix);
}

/* Through /proc, because AT_EMPTY_PATH asks for a capability. */
static int link_unnamed(struct fs_draft *d, const char *name)
{
	char self[64];

	snprintf(self, sizeof self, "/proc/self/fd/%d", d->fd);
	return linkat(AT_FDCWD, self, d->dir, name, AT_SYMLINK_FOLLOW);
}

/* Without a name where that works, so that one who is killed leaves nothing behind. */
int fs_draft_open(struct fs_draft *d, const char *path, mode_t mode, struct err *err)
{
	int rc = draft_dir(d, path, err);

	if (rc)
		return rc;
	if (access("/proc/self/fd", X_OK) == 0)
		d->fd = openat(d->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
	if (d->fd >= 0)
		return 0;
	temporary_name(d);
	d->fd = openat(d->dir, d->tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (d->fd >= 0)
		return 0;
	d->tmp[0] = '\0';
	return err_sys(err, ERR_IO, "make a file in '%s'", d->parent);
}

static int draft_sync(int fd, const char *path, struct err *err)
{
	return fsync(fd) ? err_sys(err, ERR_IO, "sync '%s'", path) : 0;
}

int fs_draft_commit(struct fs_draft *d, struct err *err)
{
	int rc = draft_sync(d->fd, d->path, err);

	if (rc)
		return rc;
	if (!d->tmp[0]) {
		temporary_name(d);
		if (link_unnamed(d, d->tmp))
			return err_sys(err, ERR_IO, "name a file in '%s'", d->parent);
	}
	if (renameat(d->dir, d->tmp, d->dir, d->name))
		return err_sys(err, ERR_IO, "rename to '%s'", d->path);
	d->tmp[0] = '\0';
	return draft_sync(d->dir, d->parent, err);
}

int fs_replace(const char *path, const void *p, size_t n, mode_t mode, struct err *err)
{
	CLEAN(fs_draft_release) struct fs_draft d;
	int rc = fs_draft_open(&d, path, mode, err);

	if (!rc && fs_write_full(d.fd, p, n))
		rc = err_sys(err, ERR_IO, "write '%s'", path);
	return rc ? rc : fs_draft_commit(&d, err);
}

/* Give a draft its final name unless that is taken. Not every file system knows the first way of one that has a name. */
static int publish(struct fs_draft *d)
{
	if (!d->tmp[0])
		return link_unnamed(d, d->name);
	if (renameat2(d->dir, d->tmp, d->dir, d->name, RENAME_NOREPLACE) == 0) {
		d->tmp[0] = '\0';
		return 0;
	}
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	return linkat(d->dir, d->tmp, d->dir, d->name, 0);
}

int fs_create(const char *path, const void *p, size_t n, mode_t mode, struct err *err)
{
	CLEAN(fs_draft_release) struct fs_draft d;
	int rc = fs_draft_open(&d, path, mode, err);

	if (!rc && fs_write_full(d.fd, p, n))
		rc = err_sys(err, ERR_IO, "write '%s'", path);
	if (rc || (rc = draft_sync(d.fd, path, err)))
		return rc;
	if (publish(&d))
		return err_sys(err, ERR_IO, "create '%s'", path);
	return draft_sync(d.dir, d.parent, err);
}

int fs_lock(const char *path, int *ret_fd, struct err *err)
{
	*ret_fd = -1;
	for (int attempt = 0; attempt < 100; attempt++) {
		CLEAN(close_fd) int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0600);
		struct stat held, named;

		if (fd < 0)
			return err_sys(err, ERR_IO, "open lock '%s'", path);
		if (flock(fd, LOCK_EX | LOCK_NB)) {
			if (errno == EWOULDBLOCK)
				return err_set(err, ERR_BUSY, "another process holds '%s'", path);
			return err_sys(err, ERR_IO, "lock '%s'", path);
		}
		/* Someone may have removed the file in between: then this lock guards nothing. */
		if (fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino &&
		        held.st_dev == named.st_dev) {
			*ret_fd = fd;
			fd = -1;
			return 0;
		}
	}
	return err_set(err, ERR_BUSY, "lock file '%s' keeps being removed", path);
}
