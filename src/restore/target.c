#include "restore/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "restore/target_internal.h"

#define TRIES 3 /* somebody else may make a name again that was just removed; not for ever */

/* --- opening --- */

/* The umask without setting it, which would be seen by other threads. */
static mode_t read_umask(void)
{
	char line[256];
	unsigned mask = 07777;
	FILE *f = fopen("/proc/self/status", "re");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "Umask: %o", &mask) == 1)
			break;
	if (f)
		fclose(f);
	return (mode_t)mask;
}

static struct target *new_target(const struct target_opts *o, int root, mode_t mask, size_t n_dirs)
{
	struct target *t = xcalloc(1, sizeof *t);
	t->o = *o;
	t->root = root;
	t->umask = mask;
	t->n_dirs = n_dirs;
	for (size_t i = 0; i < CACHED_DIRS; i++)
		t->dir[i].fd = -1;
	spool_init(&t->links);
	spool_init(&t->dirs);
	return t;
}

int target_open(const struct target_opts *o, struct target **ret, struct err *err)
{
	int fd = open(o->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, ERR_IO, "cannot open target directory %s", o->path);
	*ret = new_target(o, fd, read_umask(), CACHED_DIRS);
	(*ret)->pax = pax_reader_new();
	return 0;
}

int target_share(const struct target *t, unsigned dirs, struct target **ret, struct err *err)
{
	int fd = fcntl(t->root, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, ERR_IO, "cannot open the target directory once more");
	*ret = new_target(&t->o, fd, t->umask, MAX(MIN(dirs, CACHED_DIRS), 1));
	return 0;
}

void target_close(struct target *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < CACHED_DIRS; i++) {
		close_fd(&t->dir[i].fd);
		free(t->dir[i].path);
	}
	spool_release(&t->links);
	spool_release(&t->dirs);
	pax_reader_free(t->pax);
	close_fd(&t->root);
	free(t);
}

bool target_fatal(const struct err *why)
{
	switch (why->sys_errno) {
	case ENOSPC:
	case EDQUOT:
	case EIO:
	case EROFS:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return true;
	default:
		return why->code == ERR_CANCELLED || why->code == ERR_NOMEM;
	}
}

int target_path_check(const char *path, struct err *err)
{
	size_t n = strlen(path);
	if (!n || n >= PATH_MAX)
		return err_set(err, ERR_FORMAT, "%s", n ? "the path is too long for this system" : "the path is empty");
	for (const char *p = path;;) {
		size_t len = strcspn(p, "/");
		if (!len || (len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
			return err_set(err, ERR_FORMAT,
			        "refused: the path is absolute or has an empty, '.' or '..' component");
		if (len > NAME_MAX)
			return err_set(err, ERR_FORMAT, "a name in the path is longer than %d bytes", NAME_MAX);
		if (!p[len])
			return 0;
		p += len + 1;
	}
}

static int open_beneath(int dir, const char *path, int flags)
{
	struct open_how how = {
	        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
	        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd = -1;
	for (int i = 0; i < 100 && fd < 0; i++) { /* EAGAIN: a rename raced with RESOLVE_BENEATH */
		fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
		if (fd < 0 && errno != EAGAIN && errno != EINTR)
			break;
	}
	return fd;
}

int target_open_dir(struct target *t, const char *path)
{
	return open_beneath(t->root, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

int target_read(struct target *t, const char *path)
{
	int dir;
	const char *name;
	struct err why = ERR_INIT;
	if (target_parent(t, path, false, &dir, &name, &why)) {
		errno = why.sys_errno ? why.sys_errno : ENOENT;
		return -1;
	}
	return open_beneath(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
}

/* --- directories in use --- */

static struct cached_dir *cache_find(struct target *t, const char *path, size_t len)
{
	for (size_t i = 0; i < t->n_dirs; i++) {
		struct cached_dir *d = &t->dir[i];
		if (d->fd >= 0 && d->len == len && !memcmp(d->path, path, len)) {
			d->used = ++t->tick;
			return d;
		}
	}
	return NULL;
}

static struct cached_dir *cache_put(struct target *t, const char *path, size_t len, int fd)
{
	struct cached_dir *d = &t->dir[0];
	for (size_t i = 1; i < t->n_dirs; i++)
		if (t->dir[i].used < d->used)
			d = &t->dir[i];
	close_fd(&d->fd);
	free(d->path);
	*d = (struct cached_dir){xstrndup(path, len), len, fd, true, ++t->tick};
	if (fgetxattr(fd, "system.posix_acl_default", NULL, 0) < 0 && (errno == ENODATA || errno == ENOTSUP))
		d->inherits = false;
	return d;
}

/* Every component that is missing, from the target down. Returns the last one's descriptor, or -1. */
static int make_parents(struct target *t, const char *path)
{
	char *rest = xstrdup(path), *save = NULL;
	int fd = open_beneath(t->root, ".", O_PATH | O_DIRECTORY);
	for (char *name = strtok_r(rest, "/", &save); name && fd >= 0; name = strtok_r(NULL, "/", &save)) {
		int next = open_beneath(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
		if (next < 0 && errno == ENOENT && (!mkdirat(fd, name, 0700) || errno == EEXIST))
			next = open_beneath(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
		int saved = errno;
		close(fd);
		errno = saved;
		fd = next;
	}
	free(rest);
	return fd;
}

static int dir_get(struct target *t, const char *path, size_t len, bool make, struct cached_dir **ret, struct err *err)
{
	*ret = cache_find(t, path, len);
	if (*ret)
		return 0;
	CLEAN(free_ptr) char *dir = xstrndup(path, len);
	int fd = target_open_dir(t, dir);
	if (fd < 0 && errno == EACCES) /* may be entered all the same */
		fd = open_beneath(t->root, *dir ? dir : ".", O_PATH | O_DIRECTORY | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT && make) {
		int made = make_parents(t, dir);
		if (made >= 0) {
			close(made);
			fd = target_open_dir(t, dir);
		}
	}
	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR || errno == EXDEV)) {
		int saved = errno;
		err_set(err, ERR_EXISTS, "something that is no directory stands in the way above it");
		err->sys_errno = saved;
		return err_rc(err);
	}
	if (fd < 0)
		return err_sys(err, ERR_IO, "cannot open its directory");
	*ret = cache_put(t, path, len, fd);
	return 0;
}

static int parent_of(
        struct target *t, const char *path, bool make, struct cached_dir **ret, const char **ret_name, struct err *err)
{
	const char *slash = strrchr(path, '/');
	*ret_name = slash ? slash + 1 : path;
	return dir_get(t, path, slash ? (size_t)(slash - path) : 0, make, ret, err);
}

int target_parent(struct target *t, const char *path, bool make, int *ret_fd, const char **ret_name, struct err *err)
{
	struct cached_dir *d;
	struct err why = ERR_INIT;
	int rc = parent_of(t, path, make, &d, ret_name, &why);
	if (rc) {
		if (err)
			*err = why;
		return rc;
	}
	*ret_fd = d->fd;
	return 0;
}

int target_clear_place(struct target *t, int dir, const char *name, struct err *err)
{
	struct stat st;
	if (!t->o.overwrite && !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return err_set(err, ERR_EXISTS, "exists already");
	if (!t->o.overwrite || !unlinkat(dir, name, 0) || errno == ENOENT)
		return 0;
	if (errno == EISDIR || (errno == EPERM && !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode)))
		return err_set(err, ERR_EXISTS, "a directory is in the way");
	return err_sys(err, ERR_IO, "cannot remove what is there");
}

/* A directory that is there must let us in while we fill it. Its mode is set at the end. */
static int adopt_dir(int dir, const char *name, struct err *err)
{
	char proc[40];
	struct stat st;
	CLEAN(close_fd) int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return err_sys(err, ERR_IO, "cannot open directory");
	if ((st.st_mode & 0700) == 0700 || !geteuid())
		return 0;
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
	return chmod(proc, (st.st_mode & 07777) | 0700) ? err_sys(err, ERR_IO, "cannot enter directory") : 0;
}

static int make_dir(struct target *t, int dir, const char *name, struct err *err)
{
	struct stat st;
	for (int i = 0; i < TRIES; i++) {
		if (!mkdirat(dir, name, 0700))
			return 0;
		if (errno != EEXIST)
			return err_sys(err, ERR_IO, "cannot make directory");
		if (!fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode))
			return adopt_dir(dir, name, err);
		int rc = target_clear_place(t, dir, name, err);
		if (rc)
			return rc;
	}
	return err_set(err, ERR_EXISTS, "the name comes back whenever it is removed");
}

int target_dir(
        struct target *t, const char *path, const struct pax_entry *e, const void *header, size_t n, struct err *err)
{
	struct cached_dir *d;
	const char *name;
	int rc = parent_of(t, path, true, &d, &name, err);
	if (!rc)
		rc = make_dir(t, d->fd, name, err);
	return rc ? rc : target_dir_later(t, path, e, header, n, err);
}

/* --- regular files --- */

size_t content_run(struct content_pos *c, uint64_t n, uint64_t *ret_off)
{
	if (!c->e->extents) {
		*ret_off = c->done;
		c->done += n;
		return (size_t)n;
	}
	while (c->region < c->e->n_extents && c->done == c->e->extents[c->region].len) {
		c->region++;
		c->done = 0;
	}
	if (c->region == c->e->n_extents)
		return 0;
	const struct pax_extent *x = &c->e->extents[c->region];
	n = MIN(n, x->len - c->done);
	*ret_off = x->off + c->done;
	c->done += n;
	return (size_t)n;
}

static int create_file(struct target *t, int dir, const char *name, mode_t mode, int *ret_fd, struct err *err)
{
	for (int i = 0; i < TRIES; i++) {
		*ret_fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, mode);
		if (*ret_fd >= 0)
			return 0;
		if (errno != EEXIST)
			return err_sys(err, ERR_IO, "cannot create file");
		int rc = target_clear_place(t, dir, name, err);
		if (rc)
			return rc;
	}
	return err_set(err, ERR_EXISTS, "the name comes back whenever it is removed");
}

int target_file_begin(struct target *t, const char *path, const struct pax_entry *e, bool lasting, struct target_file *f,
        struct err *err)
{
	struct cached_dir *d;
	*f = (struct target_file){.fd = -1, .dir = -1, .own_dir = lasting, .e = e};
	int rc = parent_of(t, path, true, &d, &f->name, err);
	if (rc)
		return rc;
	f->dir = lasting ? fcntl(d->fd, F_DUPFD_CLOEXEC, 0) : d->fd;
	if (f->dir < 0)
		return err_sys(err, ERR_IO, "cannot keep its directory open");
	mode_t mode = meta_mode(t, e);
	/* one call less for the usual file: born with its mode. Not while its owner or attributes are still to come. */
	f->chmod = (mode & (07000 | t->umask)) || d->inherits || t->o.full;
	f->inherits = d->inherits;
	rc = create_file(t, f->dir, f->name, f->chmod ? 0600 : mode, &f->fd, err);
	if (rc && lasting)
		close_fd(&f->dir);
	return rc;
}

int target_file_write(struct target_file *f, const void *p, size_t n, uint64_t off, struct err *err)
{
	const unsigned char *from = p;
	while (n) {
		ssize_t done = pwrite(f->fd, from, n, (off_t)off);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0) {
			errno = done ? errno : EIO;
			return err_sys(err, ERR_IO, "cannot write");
		}
		from += done;
		off += (uint64_t)done;
		n -= (size_t)done;
	}
	return 0;
}

int target_file_end(const struct target *t, struct target_file *f, bool *ret_gone, struct err *err)
{
	*ret_gone = false;
	if (f->e->extents && ftruncate(f->fd, (off_t)f->e->size)) {
		int rc = err_sys(err, ERR_IO, "cannot set its size");
		target_file_abort(f);
		*ret_gone = true;
		return rc;
	}
	int rc = meta_apply(t,
	        &(struct meta_place){
	                .fd = f->fd, .dir = f->dir, .name = f->name, .chmod = f->chmod, .inherits = f->inherits},
	        f->e, err);
	if (close(f->fd) && !rc)
		rc = err_sys(err, ERR_IO, "cannot close");
	f->fd = -1;
	if (f->own_dir)
		close_fd(&f->dir);
	return rc;
}

void target_file_abort(struct target_file *f)
{
	struct stat here, there;
	if (f->fd < 0)
		return;
	/* only what we made, should another stand in its place by now */
	if (!fstat(f->fd, &here) && !fstatat(f->dir, f->name, &there, AT_SYMLINK_NOFOLLOW) &&
	        here.st_ino == there.st_ino && here.st_dev == there.st_dev)
		unlinkat(f->dir, f->name, 0);
	close_fd(&f->fd);
	f->fd = -1;
	if (f->own_dir)
		close_fd(&f->dir);
}

/* --- all other types --- */

int target_special(struct target *t, const char *path, const struct pax_entry *e, struct err *err)
{
	mode_t type = e->type == PAX_FIFO ? S_IFIFO : e->type == PAX_CHAR ? S_IFCHR : S_IFBLK;
	struct cached_dir *d;
	const char *name;
	struct stat st;
	if (type != S_IFIFO && !t->o.full)
		return err_set(err, ERR_DENIED, "devices are made with full metadata only");
	int rc = parent_of(t, path, true, &d, &name, err);
	if (!rc)
		rc = target_clear_place(t, d->fd, name, err);
	if (rc)
		return rc;
	if (mknodat(d->fd, name, type | 0600, e->rdev))
		return err_sys(err, ERR_IO, "cannot make %s", type == S_IFIFO ? "fifo" : "device");
	CLEAN(close_fd) int fd = openat(d->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return err_sys(err, ERR_IO, "cannot open what was made");
	if ((st.st_mode & S_IFMT) != type)
		return err_set(err, ERR_EXISTS, "somebody put something else in its place");
	return meta_apply(t,
	        &(struct meta_place){.fd = fd,
	                .dir = d->fd,
	                .name = name,
	                .path_only = true,
	                .chmod = true,
	                .inherits = d->inherits},
	        e, err);
}

int target_make_symlink(struct target *t, const char *path, const struct pax_entry *e, struct err *err)
{
	struct cached_dir *d;
	const char *name;
	int rc = parent_of(t, path, true, &d, &name, err);
	for (int i = 0; !rc && symlinkat(e->link, d->fd, name); i++) {
		if (errno != EEXIST || i == TRIES)
			return err_sys(err, ERR_IO, "cannot make symbolic link");
		rc = target_clear_place(t, d->fd, name, err);
	}
	return rc ? rc : meta_apply_symlink(t, d->fd, name, e, err);
}

int target_link(struct target *t, const char *path, const char *first, struct err *err)
{
	struct cached_dir *from, *to;
	const char *first_name, *name;
	struct stat st;
	if (!strcmp(path, first))
		return err_set(err, ERR_FORMAT, "a hard link to itself");
	if (t->o.missed && t->o.missed(t->o.arg, first))
		return err_set(err, ERR_MISSING, "its first name %s could not be made", first);
	int rc = parent_of(t, first, false, &from, &first_name, err);
	if (rc)
		return rc;
	if (fstatat(from->fd, first_name, &st, AT_SYMLINK_NOFOLLOW))
		return err_sys(err, ERR_IO, "cannot find the first name %s", first);
	if (S_ISDIR(st.st_mode))
		return err_set(err, ERR_FORMAT, "a hard link to a directory");
	rc = parent_of(t, path, true, &to, &name, err);
	for (int i = 0; !rc && linkat(from->fd, first_name, to->fd, name, 0); i++) {
		if (errno != EEXIST || i == TRIES)
			return err_sys(err, ERR_IO, "cannot make hard link");
		rc = target_clear_place(t, to->fd, name, err);
	}
	return rc;
}
