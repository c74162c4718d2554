#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "store/file.h"
#include "store/store.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"

#define KNOWN_DIRS_MAX 4096
#define TEMP_DIR ".t"
#define TEMP_AGE_NS (7 * 86400 * INT64_C(1000000000)) /* far longer than any put takes */

static struct file_store *file_of(struct store *s)
{
	return (struct file_store *)s;
}

/* --- system calls --- */

int file_open_beneath(int root, const char *path, uint64_t flags)
{
	struct open_how how = {
	        .flags = flags | O_CLOEXEC,
	        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd = -1;

	for (int i = 0; i < 16 && fd < 0; i++) {
		fd = syscall(SYS_openat2, root, path, &how, sizeof how);
		if (fd < 0 && errno != EAGAIN && errno != EINTR)
			break;
	}
	return (int)fd;
}

static enum err_code code_of_errno(void)
{
	switch (errno) {
	case ELOOP:
	case EXDEV:
	case EROFS:
		return ERR_DENIED;
	case ESTALE:
	case ENOTCONN:
	case ENODEV:
	case ENXIO:
	case ETIMEDOUT:
	case EHOSTDOWN:
		return ERR_UNREACHABLE;
	case ENOTDIR: /* a directory of the key is an object, so the key cannot be one */
		return ERR_MISSING;
	default:
		return ERR_IO;
	}
}

int file_failed(struct err *err, const char *what, const char *key)
{
	return err_sys(err, code_of_errno(), "cannot %s %s", what, key);
}

int file_check_root(const struct file_store *f, struct err *err)
{
	struct stat st;

	if (stat(f->dir, &st) == 0 && st.st_dev == f->dev && st.st_ino == f->ino)
		return 0;
	(void)err_set(err, ERR_UNREACHABLE, "directory %s is no longer what was opened", f->dir);
	if (err)
		(void)err_hint(err, "was the disk unmounted, or another one mounted over it?");
	return -ERR_UNREACHABLE;
}

/* --- directories that are known to be durable --- */

static int known_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool dir_known(struct file_store *f, const char *dir)
{
	pthread_mutex_lock(&f->mutex);
	bool found = f->n_known && bsearch(&dir, f->known, f->n_known, sizeof *f->known, known_cmp);
	pthread_mutex_unlock(&f->mutex);
	return found;
}

static void forget_dirs(struct file_store *f)
{
	pthread_mutex_lock(&f->mutex);
	while (f->n_known)
		free(f->known[--f->n_known]);
	pthread_mutex_unlock(&f->mutex);
}

static void remember_dir(struct file_store *f, const char *dir)
{
	size_t lo = 0;

	pthread_mutex_lock(&f->mutex);
	if (f->n_known == KNOWN_DIRS_MAX)
		while (f->n_known)
			free(f->known[--f->n_known]);
	while (lo < f->n_known && strcmp(f->known[lo], dir) < 0)
		lo++;
	if (lo == f->n_known || strcmp(f->known[lo], dir)) {
		f->known = xgrow(f->known, f->n_known, &f->cap_known, sizeof *f->known);
		memmove(f->known + lo + 1, f->known + lo, (f->n_known - lo) * sizeof *f->known);
		f->known[lo] = xstrdup(dir);
		f->n_known++;
	}
	pthread_mutex_unlock(&f->mutex);
}

/* Make dir and sync its parents: one found there may have been made by another process that has not synced them yet. */
static int make_dirs(struct file_store *f, const char *dir, int *ret_fd)
{
	char path[STORE_KEY_MAX + 1];
	CLEAN(close_fd) int parent = file_open_beneath(f->root, ".", O_RDONLY | O_DIRECTORY);
	size_t start = 0;

	while (parent >= 0) {
		size_t end = start + strcspn(dir + start, "/");
		CLEAN(close_fd) int fd = -1;

		memcpy(path, dir, end);
		path[end] = '\0';
		bool known = dir_known(f, path);

		if (!known && mkdirat(parent, path + start, 0700) < 0 && errno != EEXIST)
			return -1;
		fd = file_open_beneath(parent, path + start, O_RDONLY | O_DIRECTORY);
		if (fd < 0 || (!known && fsync(parent) < 0))
			return -1;
		remember_dir(f, path);
		close(parent);
		parent = TAKE_FD(fd);
		if (!dir[end]) {
			*ret_fd = TAKE_FD(parent);
			return 0;
		}
		start = end + 1;
	}
	return -1;
}

/* The directory of key, opened, and the key's last component. -1 with errno. */
static int open_parent(struct file_store *f, const char *key, bool make, int *ret_fd, const char **ret_name)
{
	const char *slash = strrchr(key, '/');
	char dir[STORE_KEY_MAX + 1] = ".";

	*ret_name = slash ? slash + 1 : key;
	if (slash) {
		memcpy(dir, key, (size_t)(slash - key));
		dir[slash - key] = '\0';
	}
	if (!make || !slash || dir_known(f, dir)) {
		*ret_fd = file_open_beneath(f->root, dir, O_RDONLY | O_DIRECTORY);
		if (*ret_fd >= 0 || !make || !slash || errno != ENOENT)
			return *ret_fd < 0 ? -1 : 0;
		forget_dirs(f);
	}
	return make_dirs(f, dir, ret_fd);
}

/* --- put --- */

/* A file on its way to its name: without one, or (dir >= 0) with one under TEMP_DIR. */
struct temp {
	int fd, dir;
	char name[33];
};

static void temp_release(struct temp *t)
{
	if (t->fd >= 0)
		close(t->fd);
	if (t->dir >= 0) {
		if (t->name[0])
			(void)unlinkat(t->dir, t->name, 0);
		close(t->dir);
	}
}

static int temp_open_named(struct file_store *f, struct temp *t)
{
	if (mkdirat(f->root, TEMP_DIR, 0700) < 0 && errno != EEXIST)
		return -1;
	t->dir = file_open_beneath(f->root, TEMP_DIR, O_RDONLY | O_DIRECTORY);
	if (t->dir < 0)
		return -1;
	rng_hex(t->name, 16);
	t->fd = openat(t->dir, t->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400);
	if (t->fd < 0)
		t->name[0] = '\0';
	return t->fd < 0 ? -1 : 0;
}

static int temp_open(struct file_store *f, int dir, struct temp *t)
{
	if (!atomic_load(&f->named_temp)) {
		t->fd = openat(dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0400);
		if (t->fd >= 0)
			return 0;
		if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
			return -1;
		atomic_store(&f->named_temp, true);
	}
	return temp_open_named(f, t);
}

static int temp_write(struct temp *t, const struct store_src *src)
{
	if (fchmod(t->fd, 0400) < 0)
		return -1;
	for (size_t i = 0; i < src->n_pieces; i++)
		if (src->piece[i].n && fs_write_full(t->fd, src->piece[i].p, src->piece[i].n) < 0)
			return -1;
	return fsync(t->fd);
}

/* Give it its name, if that is free: EEXIST if not. */
static int temp_publish(struct temp *t, int dir, const char *name)
{
	if (t->dir >= 0) {
		/* Not every file system has this rename, and not every one has links. */
		if (renameat2(t->dir, t->name, dir, name, RENAME_NOREPLACE) == 0) {
			t->name[0] = '\0';
			return 0;
		}
		if (errno != EINVAL && errno != ENOSYS)
			return -1;
		return linkat(t->dir, t->name, dir, name, 0);
	}
	char proc[64];

	(void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", t->fd);
	if (linkat(AT_FDCWD, proc, dir, name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	return errno == ENOENT ? linkat(t->fd, "", dir, name, AT_EMPTY_PATH) : -1;
}

static int file_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	struct file_store *f = file_of(s);
	CLEAN(close_fd) int dir = -1;
	CLEAN(temp_release) struct temp t = {-1, -1, ""};
	const char *name;
	struct stat st;

	int rc = file_check_root(f, err);

	if (rc)
		return rc;
	if (open_parent(f, key, true, &dir, &name) < 0)
		return errno == ENOTDIR ? err_set(err, ERR_EXISTS, "a directory of %s is an object", key)
		                        : file_failed(err, "make the directory of", key);
	bool taken = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;

	if (!taken) {
		if (temp_open(f, dir, &t) < 0 || temp_write(&t, src) < 0)
			return file_failed(err, "write", key);
		taken = temp_publish(&t, dir, name) < 0;
		if (taken && errno != EEXIST)
			return file_failed(err, "give its name to", key);
	}
	/* Also when it was there: who put it may not have come this far, and "taken" must stay true. */
	if (fsync(dir) < 0)
		return file_failed(err, "sync the directory of", key);
	return taken ? err_set(err, ERR_EXISTS, "object %s is there already", key) : 0;
}

/* --- stat, remove --- */

void file_stat_of(const struct stat *st, struct store_stat *ret)
{
	ret->size = (uint64_t)st->st_size;
	ret->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static int file_stat(struct store *s, const char *key, struct store_stat *ret, struct err *err)
{
	struct file_store *f = file_of(s);
	CLEAN(close_fd) int fd = file_open_beneath(f->root, key, O_PATH | O_NOFOLLOW); /* needs no right to read it */
	struct stat st;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? file_missing(f, key, err) : file_failed(err, "open", key);
	if (fstat(fd, &st) < 0)
		return file_failed(err, "stat", key);
	if (!S_ISREG(st.st_mode))
		return file_missing(f, key, err);
	file_stat_of(&st, ret);
	return 0;
}

static int file_remove(struct store *s, const char *key, struct err *err)
{
	struct file_store *f = file_of(s);
	CLEAN(close_fd) int dir = -1;
	const char *name;

	if (open_parent(f, key, false, &dir, &name) < 0)
		return errno == ENOENT || errno == ENOTDIR ? file_missing(f, key, err)
		                                           : file_failed(err, "open the directory of", key);
	if (unlinkat(dir, name, 0) < 0)
		return errno == ENOENT || errno == EISDIR ? file_missing(f, key, err) : file_failed(err, "remove", key);
	return fsync(dir) < 0 ? file_failed(err, "sync the directory of", key) : 0;
}

/* Every put is durable already; what is left are names in the root itself. */
static int file_sync(struct store *s, struct err *err)
{
	struct file_store *f = file_of(s);
	int rc = file_check_root(f, err);

	if (rc)
		return rc;
	return fsync(f->root) < 0 ? file_failed(err, "sync", f->dir) : 0;
}

/* --- opening --- */

static void file_free(struct store *s)
{
	struct file_store *f = file_of(s);

	close_fd(&f->root);
	file_close_read(f);
	forget_dirs(f);
	free(f->known);
	pthread_mutex_destroy(&f->mutex);
	free(f->dir);
	free(s->name);
	free(f);
}

static const struct store_ops file_ops = {
        .scheme = "file",
        .put = file_put,
        .get = file_get,
        .get_buf = file_get_buf,
        .stat = file_stat,
        .list = file_list,
        .remove = file_remove,
        .sync = file_sync,
        .free = file_free,
};

static int open_root(struct file_store *f, const char *dir, struct err *err)
{
	struct stat st;

	f->root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->root < 0) {
		bool gone = errno == ENOENT || errno == ENOTDIR;
		/* A site that is not mounted must look like that, and not like a missing object. */
		int rc = gone ? err_set(err, ERR_UNREACHABLE, "directory %s is not there", dir)
		              : file_failed(err, "open", dir);

		if (gone && err)
			(void)err_hint(err, "is the disk mounted?");
		return rc;
	}
	f->dir = realpath(dir, NULL);
	if (!f->dir || fstat(f->root, &st) < 0)
		return file_failed(err, "resolve", dir);
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	return 0;
}

/* Remains of puts that a crash cut off. A failure here costs space and nothing else. */
static void drop_old_temps(struct file_store *f)
{
	CLEAN(close_fd) int dir = file_open_beneath(f->root, TEMP_DIR, O_RDONLY | O_DIRECTORY);
	CLEAN(free_ptr) struct file_entry *entries = NULL;
	size_t n = 0;

	if (dir < 0 || file_read_dir(dir, file_any_name, NULL, &entries, &n, NULL))
		return;
	for (size_t i = 0; i < n; i++) {
		if (entries[i].st.mtime_ns < clock_wall_ns() - TEMP_AGE_NS)
			(void)unlinkat(dir, entries[i].name, 0);
		free(entries[i].name);
	}
}

int store_file_open(const char *dir, const struct store_config *c, struct store **ret, struct err *err)
{
	struct file_store *f = xcalloc(1, sizeof *f);
	int rc = 0;

	*ret = NULL;
	f->base.ops = &file_ops;
	f->base.caps =
	        STORE_CREATE_ONLY | STORE_RANGE | STORE_LIST_STRONG | STORE_REMOVE | STORE_THREADSAFE | STORE_LOCAL;
	f->base.name = xstrdup(c && c->name ? c->name : dir);
	f->root = -1;
	for (size_t i = 0; i < FILE_READ_KEPT; i++)
		f->read[i].fd = -1;
	atomic_init(&f->named_temp, c && c->named_temp);
	pthread_mutex_init(&f->mutex, NULL);
	if (c && c->create)
		rc = fs_mkdirs(dir, 0700, err);
	if (!rc)
		rc = open_root(f, dir, err);
	if (rc) {
		file_free(&f->base);
		return rc;
	}
	drop_old_temps(f);
	*ret = &f->base;
	return 0;
}

int store_local_path(struct store *s, const char *key, char **ret, struct err *err)
{
	*ret = NULL;
	if (!(s->caps & STORE_LOCAL) || s->ops != &file_ops)
		return err_set(err, ERR_UNSUPPORTED, "site %s: its objects are not local files", s->name);
	if (!store_key_ok(key))
		return err_set(err, ERR_FORMAT, "site %s: '%.100s' is not a valid key", s->name, key);
	*ret = fs_join(file_of(s)->dir, key);
	return 0;
}
