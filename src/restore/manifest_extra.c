/* Names that are in the target and in no record. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "restore/manifest_internal.h"

struct names {
	char **path;
	size_t n, cap;
};

static void names_release(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->path[i]);
	free(l->path);
}

static char *join(const char *dir, const char *name)
{
	size_t a = strlen(dir), b = strlen(name);
	char *p = xmalloc(a + b + 2);
	memcpy(p, dir, a);
	if (a)
		p[a++] = '/';
	memcpy(p + a, name, b + 1);
	return p;
}

static bool is_dir(int fd, const struct dirent *d)
{
	struct stat st;
	if (d->d_type != DT_UNKNOWN)
		return d->d_type == DT_DIR;
	return !fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode);
}

/* The list of digests may have been put into the target. */
static bool is_own(const struct manifest *m, int fd, const char *name)
{
	struct stat a, b;
	return m->o->digests && !stat(m->o->digests, &a) && !fstatat(fd, name, &b, AT_SYMLINK_NOFOLLOW) &&
	       a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* Names of a directory: those too many are counted, its directories are returned. */
static int read_names(struct manifest *m, const char *path, struct names *ret, struct err *err)
{
	int fd = target_open_dir(m->t, path);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return 0; /* told already, when its entry was looked at */
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return err_sys(err, ERR_IO, "cannot list %s", *path ? path : "the target directory");
	const struct dirent *e;
	while ((errno = 0, e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		char *child = join(path, e->d_name);
		bool extra = !path_set_has(&m->expected, child, strlen(child)) && !is_own(m, dirfd(d), e->d_name);
		if (extra)
			manifest_wrong(m, child, "is in no record");
		if (extra || !is_dir(dirfd(d), e)) {
			free(child);
			continue;
		}
		ret->path = xgrow(ret->path, ret->n, &ret->cap, sizeof *ret->path);
		ret->path[ret->n++] = child;
	}
	int rc = errno ? err_sys(err, ERR_IO, "cannot list %s", path) : 0;
	closedir(d);
	return rc;
}

/* A stack of directories still to be read: as deep as the tree may be, one is open at a time. */
static int walk(struct manifest *m, const char *from, struct err *err)
{
	CLEAN(names_release) struct names todo = {0};
	todo.path = xgrow(todo.path, todo.n, &todo.cap, sizeof *todo.path);
	todo.path[todo.n++] = xstrdup(from);
	while (todo.n) {
		CLEAN(free_ptr) char *path = todo.path[--todo.n];
		if (m->o->cancel && atomic_load(m->o->cancel))
			return err_set(err, ERR_CANCELLED, "cancelled");
		int rc = read_names(m, path, &todo, err);
		if (rc)
			return rc;
	}
	return 0;
}

int manifest_extra(struct manifest *m, struct err *err)
{
	if (!m->sel.n)
		return walk(m, m->map.as ? m->map.as : "", err);
	for (size_t i = 0; i < m->sel.n; i++) {
		const char *at = path_map(&m->map, m->sel.path[i]);
		int rc = walk(m, at ? at : m->map.as ? m->map.as : "", err);
		if (rc)
			return rc;
		if (!at)
			break; /* all was looked at */
	}
	return 0;
}
