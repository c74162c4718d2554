#include "backup/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "repo/list.h"
#include "backup/walk_names.h"

enum { OPEN_LEVELS = 64 }; /* directories of the current path that are kept open */

struct level {
	int fd; /* -1: closed, reopened on the way back */
	dev_t dev;
	ino_t ino;
	size_t n_path;
	struct names names;
};
struct walk {
	const struct walk_opts *o;
	const char *root;
	size_t n_root; /* length of the root's path inside the copy */
	struct spill spill;
	struct level *level;
	size_t depth, cap;
	char path[LIST_PATH_MAX + 1];
};

static bool is_pseudo(int fd)
{
	static const uint32_t types[] = {
	        0x9fa0,     /* proc */
	        0x62656572, /* sysfs */
	        0x1cd1,     /* devpts */
	        0x27e0eb,   /* cgroup */
	        0x63677270, /* cgroup2 */
	        0x64626720, /* debugfs */
	        0x74726163, /* tracefs */
	        0x73636673, /* securityfs */
	        0xcafe4a11, /* bpf */
	        0x6165676c, /* pstore */
	        0xde5e81e4, /* efivarfs */
	        0x42494e4d, /* binfmt_misc */
	        0x19800202, /* mqueue */
	        0x62656570, /* configfs */
	        0x65735543, /* fusectl */
	        0x6e736673, /* nsfs */
	        0xf97cff8c, /* selinuxfs */
	        0x958458f6, /* hugetlbfs */
	        0x67596969, /* rpc_pipefs */
	};
	struct statfs fs;
	if (fstatfs(fd, &fs))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if ((uint32_t)fs.f_type == types[i])
			return true;
	return false;
}

/* devtmpfs calls itself tmpfs: it is known by its device null. */
static bool is_devtmpfs(int fd)
{
	struct statfs fs;
	struct stat st;
	return !fstatfs(fd, &fs) && (uint32_t)fs.f_type == 0x01021994 &&
	       !fstatat(fd, "null", &st, AT_SYMLINK_NOFOLLOW) && S_ISCHR(st.st_mode) &&
	       !fstatat(fd, "zero", &st, AT_SYMLINK_NOFOLLOW) && S_ISCHR(st.st_mode);
}

static int open_dir(int dir, const char *name)
{
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dir, name, flags | O_NOATIME);
	return fd < 0 && errno == EPERM ? openat(dir, name, flags) : fd;
}

static int note(struct walk *w, enum note_code code, size_t n_path, struct err *err)
{
	return w->o->note(w->o->arg, code, w->path, n_path, err);
}

/* What a failed call says of the path; a lack of descriptors or memory is nobody's property and ends the walk. */
static int note_errno(struct walk *w, size_t n_path, struct err *err)
{
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
		return err_sys(err, ERR_IO, "walk '%s'", w->root);
	return note(w, errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? NOTE_VANISHED : NOTE_UNREADABLE, n_path,
	        err);
}

/* The path below the root of the source, as patterns want it. */
static const char *below_root(const struct walk *w)
{
	return w->path + w->n_root + (w->n_root > 0);
}

static bool has_cache_tag(int fd)
{
	static const char sign[] = "Signature: 8a477f597d28d172789f06886806bc55";
	char head[sizeof(sign) - 1];
	struct stat st;
	CLEAN(close_fd) int tag = openat(fd, "CACHEDIR.TAG", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return tag >= 0 && !fstat(tag, &st) && S_ISREG(st.st_mode) &&
	       fs_read_full(tag, head, sizeof(head)) == (ssize_t)sizeof(head) && !memcmp(head, sign, sizeof(head));
}

static bool is_marked(const struct walk *w, int fd)
{
	struct stat st;
	for (const char *const *m = w->o->if_present; m && *m; m++)
		if (**m && !strchr(*m, '/') && !fstatat(fd, *m, &st, AT_SYMLINK_NOFOLLOW))
			return true;
	return w->o->caches && has_cache_tag(fd);
}

static bool may_enter(const struct walk *w, int fd, const struct stat *st)
{
	const struct level *parent = w->depth ? &w->level[w->depth - 1] : NULL;
	if (!parent || parent->dev != st->st_dev) {
		if ((parent && w->o->one_file_system) || is_pseudo(fd) || is_devtmpfs(fd))
			return false;
	}
	return !is_marked(w, fd);
}

/* Go into the directory that path, of n_path bytes, names. */
static int enter(struct walk *w, int dir, const char *name, size_t n_path, struct err *err)
{
	struct stat st;
	CLEAN(close_fd) int fd = open_dir(dir, name);
	if (fd < 0 || fstat(fd, &st))
		return note_errno(w, n_path, err);
	if (!may_enter(w, fd, &st))
		return 0;
	w->level = xgrow(w->level, w->depth, &w->cap, sizeof(*w->level));
	struct level *l = &w->level[w->depth];
	struct err why = ERR_INIT;
	if (names_read(&l->names, fd, &w->spill, &why)) {
		names_release(&l->names, &w->spill);
		if (why.code == ERR_NOSPACE)
			return err_set(err, why.code, "%s", why.msg);
		return note(w, NOTE_UNREADABLE, n_path, err);
	}
	l->fd = fd;
	fd = -1;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	l->n_path = n_path;
	w->depth++;
	if (w->depth > OPEN_LEVELS)
		close_fd(&w->level[w->depth - 1 - OPEN_LEVELS].fd);
	return 0;
}

/* Open the directory of a level by its names, from the root. */
static int open_level(const struct walk *w, const struct level *l)
{
	int fd = open_dir(AT_FDCWD, w->root);
	for (size_t at = w->n_root; fd >= 0 && at < l->n_path;) {
		char name[NAME_MAX + 1];
		at += w->path[at] == '/';
		size_t n = strcspn(w->path + at, "/");
		n = MIN(n, l->n_path - at);
		memcpy(name, w->path + at, n);
		name[n] = '\0';
		int next = open_dir(fd, name);
		close_fd(&fd);
		fd = next;
		at += n;
	}
	return fd;
}

static bool is_level(int fd, const struct level *l)
{
	struct stat st;
	return fd >= 0 && !fstat(fd, &st) && st.st_dev == l->dev && st.st_ino == l->ino;
}

/* From the innermost directory back to the one above, which may have to be opened again. */
static int leave(struct walk *w, struct err *err)
{
	struct level *l = &w->level[--w->depth], *up = w->depth ? l - 1 : NULL;
	int rc = 0;
	names_release(&l->names, &w->spill);
	if (up && up->fd < 0) {
		up->fd = l->fd < 0 ? -1 : open_dir(l->fd, "..");
		if (!is_level(up->fd, up)) { /* someone moved the inner one away */
			close_fd(&up->fd);
			up->fd = open_level(w, up);
		}
		if (!is_level(up->fd, up)) {
			close_fd(&up->fd);
			names_release(&up->names, &w->spill);
			w->path[up->n_path] = '\0';
			rc = note(w, NOTE_CHANGED, up->n_path, err);
		}
	}
	close_fd(&l->fd);
	return rc;
}

static int emit(struct walk *w, int dir, const char *name, size_t n_path, struct stat *st, struct err *err)
{
	if (S_ISSOCK(st->st_mode))
		return note(w, NOTE_IGNORED, n_path, err);
	struct walk_entry e = {w->path, n_path, dir, name, st};
	int rc = n_path ? w->o->entry(w->o->arg, &e, err) : 0;
	if (rc || !S_ISDIR(st->st_mode))
		return rc;
	return enter(w, dir, name, n_path, err);
}

static int child(struct walk *w, const char *name, struct err *err)
{
	const struct level *l = &w->level[w->depth - 1];
	size_t at = l->n_path, len = strlen(name), n = at + (at > 0) + len;
	struct stat st;
	if (n > LIST_PATH_MAX) {
		w->path[at] = '\0';
		return note(w, NOTE_UNREADABLE, at, err);
	}
	if (at)
		w->path[at++] = '/';
	memcpy(w->path + at, name, len + 1);
	bool there = !fstatat(l->fd, name, &st, AT_SYMLINK_NOFOLLOW);
	int why = errno;
	if (w->o->exclude && exclude_match(w->o->exclude, below_root(w), there && S_ISDIR(st.st_mode)))
		return 0;
	errno = why;
	return there ? emit(w, l->fd, name, n, &st, err) : note_errno(w, n, err);
}

static int walk_root(struct walk *w, const char *root, struct err *err)
{
	struct stat st;
	w->root = root;
	w->n_root = strlen(root + 1);
	memcpy(w->path, root + 1, w->n_root + 1);
	if (lstat(root, &st))
		return note_errno(w, w->n_root, err);
	int rc = emit(w, AT_FDCWD, root, w->n_root, &st, err);
	while (!rc && w->depth) {
		struct level *l = &w->level[w->depth - 1];
		const char *name;
		struct err why = ERR_INIT;
		int more = names_next(&l->names, &w->spill, &name, &why);
		if (more < 0)
			return err_set(err, why.code, "%s", why.msg);
		rc = more ? child(w, name, err) : leave(w, err);
	}
	return rc;
}

int walk_run(const struct walk_opts *o, struct err *err)
{
	struct walk *w = xcalloc(1, sizeof(*w));
	int rc = 0;
	w->o = o;
	spill_init(&w->spill, o->tmp_dir, o->run_names ? o->run_names : WALK_RUN_NAMES);
	for (size_t i = 0; i < o->n_roots && !rc; i++)
		rc = walk_root(w, o->roots[i], err);
	while (w->depth) {
		struct level *l = &w->level[--w->depth];
		names_release(&l->names, &w->spill);
		close_fd(&l->fd);
	}
	spill_release(&w->spill);
	free(w->level);
	free(w);
	return rc;
}
