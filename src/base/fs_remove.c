#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/mem.h"

/* Directories kept open at once; a level above these is opened again by ".." on the way back. */
enum { OPEN_LEVELS = 32 };

struct level {
	DIR *dir; /* NULL while closed for thrift */
	dev_t dev;
	ino_t ino;
	char *name;   /* in the level above */
	bool removed; /* something, in this pass over the directory */
};

struct removal {
	const char *path;
	int base; /* directory that holds the tree */
	struct level *levels;
	size_t count, cap;
};

static void removal_release(struct removal *r)
{
	for (size_t i = 0; i < r->count; i++) {
		if (r->levels[i].dir)
			closedir(r->levels[i].dir);
		free(r->levels[i].name);
	}
	free(r->levels);
	close_fd(&r->base);
}

/* openat2 sees bind mounts, which a comparison of st_dev does not; it is missing in old kernels and some sandboxes. */
static int open_below(int at, const char *name, bool may_cross)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	struct open_how how = {
	        .flags = (unsigned)flags,
	        .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | (may_cross ? 0 : RESOLVE_NO_XDEV),
	};
	long fd = syscall(SYS_openat2, at, name, &how, sizeof how);

	if (fd >= 0)
		return (int)fd;
	return errno == ENOSYS || errno == EPERM ? openat(at, name, flags) : -1;
}

static int push(struct removal *r, int at, const char *name, struct err *err)
{
	bool top = r->count == 0;
	CLEAN(close_fd) int fd = open_below(at, name, top);
	struct level l = {0};
	struct stat st;

	/* Without read permission it cannot even be opened; never through a symlink that took its place. */
	if (fd < 0 && errno == EACCES && fchmodat(at, name, 0700, AT_SYMLINK_NOFOLLOW) == 0)
		fd = open_below(at, name, top);
	if (fd < 0 && errno == EXDEV)
		return err_set(err, ERR_IO, "'%s' in '%s' is a mount point", name, r->path);
	if (fd < 0 || fstat(fd, &st))
		return err_sys(err, ERR_IO, "open '%s' in '%s'", name, r->path);
	if (!top && st.st_dev != r->levels[0].dev)
		return err_set(err, ERR_IO, "'%s' in '%s' is on another file system", name, r->path);
	/* A failure here shows, with its reason, when the first entry cannot be removed. */
	if ((st.st_mode & 0700) != 0700)
		(void)fchmod(fd, 0700);
	l.dev = st.st_dev;
	l.ino = st.st_ino;
	l.dir = fdopendir(fd);
	if (!l.dir)
		return err_sys(err, ERR_IO, "read '%s' in '%s'", name, r->path);
	fd = -1;
	l.name = xstrdup(name);
	r->levels = xgrow(r->levels, r->count, &r->cap, sizeof *r->levels);
	r->levels[r->count++] = l;
	if (r->count > OPEN_LEVELS) {
		struct level *old = &r->levels[r->count - 1 - OPEN_LEVELS];

		if (old->dir)
			closedir(old->dir);
		old->dir = NULL;
	}
	return 0;
}

/* Open a level again from the one below it, and only if it is the directory it was. */
static int reopen(struct removal *r, struct level *l, const struct level *below, struct err *err)
{
	CLEAN(close_fd) int fd = openat(dirfd(below->dir), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return err_sys(err, ERR_IO, "open the parent of '%s' in '%s'", below->name, r->path);
	if (st.st_dev != l->dev || st.st_ino != l->ino)
		return err_set(err, ERR_IO, "'%s' was moved while '%s' was being removed", below->name, r->path);
	l->dir = fdopendir(fd);
	if (!l->dir)
		return err_sys(err, ERR_IO, "read '%s' in '%s'", l->name, r->path);
	fd = -1;
	return 0;
}

/* The deepest level is empty: remove it and go on above. */
static int pop(struct removal *r, struct err *err)
{
	struct level *l = &r->levels[r->count - 1];
	int at = r->base, rc = 0;

	if (r->count > 1) {
		struct level *above = l - 1;

		rc = above->dir ? 0 : reopen(r, above, l, err);
		if (rc)
			return rc;
		at = dirfd(above->dir);
		above->removed = true;
	}
	if (unlinkat(at, l->name, AT_REMOVEDIR) && errno != ENOENT)
		return err_sys(err, ERR_IO, "remove '%s' in '%s'", l->name, r->path);
	closedir(l->dir);
	free(l->name);
	r->count--;
	return 0;
}

/* One entry of the deepest level. */
static int step(struct removal *r, struct err *err)
{
	struct level *l = &r->levels[r->count - 1];
	struct dirent *e;

	errno = 0;
	e = readdir(l->dir);
	if (!e && errno)
		return err_sys(err, ERR_IO, "read '%s' in '%s'", l->name, r->path);
	/* A pass over a directory that shrinks may miss entries: repeat until one finds nothing. */
	if (!e && l->removed) {
		l->removed = false;
		rewinddir(l->dir);
		return 0;
	}
	if (!e)
		return pop(r, err);
	if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
		return 0;
	if (e->d_type != DT_DIR) {
		if (unlinkat(dirfd(l->dir), e->d_name, 0) == 0 || errno == ENOENT) {
			l->removed = true;
			return 0;
		}
		if (errno != EISDIR)
			return err_sys(err, ERR_IO, "remove '%s' in '%s'", e->d_name, r->path);
	}
	return push(r, dirfd(l->dir), e->d_name, err);
}

/* Directory and last component of path, without trailing slashes; false for what is never meant: "", "/", "..", "." */
static bool split(const char *path, char **ret_parent, char **ret_name)
{
	size_t n = strlen(path), start;

	while (n && path[n - 1] == '/')
		n--;
	start = n;
	while (start && path[start - 1] != '/')
		start--;
	*ret_name = xstrndup(path + start, n - start);
	*ret_parent = start ? xstrndup(path, start) : xstrdup(".");
	return **ret_name && strcmp(*ret_name, ".") != 0 && strcmp(*ret_name, "..") != 0;
}

int fs_remove_tree(const char *path, struct err *err)
{
	CLEAN(removal_release) struct removal r = {.path = path, .base = -1};
	CLEAN(free_ptr) char *parent = NULL;
	CLEAN(free_ptr) char *name = NULL;
	struct stat st;
	int rc;

	if (!split(path, &parent, &name))
		return err_set(err, ERR_USAGE, "refusing to remove '%s'", path);
	r.base = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r.base < 0)
		return errno == ENOENT ? 0 : err_sys(err, ERR_IO, "open '%s'", parent);
	if (fstatat(r.base, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : err_sys(err, ERR_IO, "look at '%s'", path);
	if (!S_ISDIR(st.st_mode)) {
		if (unlinkat(r.base, name, 0) && errno != ENOENT)
			return err_sys(err, ERR_IO, "remove '%s'", path);
		return 0;
	}
	rc = push(&r, r.base, name, err);
	while (!rc && r.count)
		rc = step(&r, err);
	return rc;
}
