/* The file system as a rehearsal sees it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "drill/isolate.h"

#define KEEP_MAX 128

static const struct {
	const char *dir, *mode;
} covers[] = {{"/run", "mode=755"}, {"/var/run", "mode=755"}, {"/tmp", "mode=1777"}, {"/var/tmp", "mode=1777"}};
static const char *const nodes[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"};

/* A detached copy of a mount, to be put back over what covers it. */
struct kept {
	const char *path;
	int fd;
};

static bool below(const char *path, const char *dir)
{
	size_t n = strlen(dir);
	return !strncmp(path, dir, n) && (!path[n] || path[n] == '/');
}

static bool is_dir(const char *path)
{
	struct stat st;
	return !lstat(path, &st) && S_ISDIR(st.st_mode);
}

static bool is_covered(const char *path)
{
	for (size_t i = 0; i < ARRAY_LEN(covers); i++)
		if (below(path, covers[i].dir))
			return true;
	return below(path, "/dev"); /* which is made anew, with a /dev/shm of its own */
}

static int detach(const char *path, uint64_t attr, struct kept *ret, struct err *err)
{
	struct mount_attr set = {.attr_set = attr};
	*ret = (struct kept){.path = path};
	ret->fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (ret->fd < 0)
		return err_sys(err, ERR_IO, "take a copy of the mount of %s", path);
	if (attr && mount_setattr(ret->fd, "", AT_EMPTY_PATH, &set, sizeof set)) {
		int rc = err_sys(err, ERR_IO, "set the flags of %s", path);
		close_fd(&ret->fd);
		return rc;
	}
	return 0;
}

/* In a fresh tmpfs: the directories that lead to path. */
static int make_way(const char *path, struct err *err)
{
	CLEAN(free_ptr) char *part = xstrdup(path);
	for (char *at = strchr(part + 1, '/');; at = strchr(at + 1, '/')) {
		if (at)
			*at = 0;
		if (mkdir(part, 0755) && errno != EEXIST)
			return err_sys(err, ERR_IO, "make %s", part);
		if (!at)
			return 0;
		*at = '/';
	}
}

static int put_back(const struct kept *k, struct err *err)
{
	if (is_covered(k->path) && make_way(k->path, err))
		return err_rc(err);
	if (move_mount(k->fd, "", AT_FDCWD, k->path, MOVE_MOUNT_F_EMPTY_PATH))
		return err_sys(err, ERR_IO, "mount %s", k->path);
	return 0;
}

static int read_only(struct err *err)
{
	struct mount_attr set = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV};
	if (mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &set, sizeof set))
		return err_sys(err, ERR_IO, "make the file systems read-only");
	return 0;
}

static int tmpfs(const char *dir, unsigned long flags, const char *options, struct err *err)
{
	if (mount("tmpfs", dir, "tmpfs", flags | MS_NOSUID | MS_NODEV, options))
		return err_sys(err, ERR_IO, "mount a fresh %s", dir);
	return 0;
}

static int cover(struct err *err)
{
	int rc = 0;
	for (size_t i = 0; !rc && i < ARRAY_LEN(covers); i++)
		if (is_dir(covers[i].dir))
			rc = tmpfs(covers[i].dir, 0, covers[i].mode, err);
	return rc;
}

/* Devices of the machine are gone but for those that hold nothing. */
static int fresh_dev(const struct kept *node, size_t n, struct err *err)
{
	static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"},
	        {"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"}, {"pts/ptmx", "/dev/ptmx"}};
	int rc = tmpfs("/dev", 0, "mode=755", err);
	for (size_t i = 0; !rc && i < n; i++) {
		CLEAN(close_fd) int fd = open(node[i].path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0)
			return err_sys(err, ERR_IO, "make %s", node[i].path);
		rc = put_back(&node[i], err);
	}
	if (rc)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		if (symlink(links[i][0], links[i][1]))
			return err_sys(err, ERR_IO, "make %s", links[i][1]);
	if (mkdir("/dev/shm", 0755) || mkdir("/dev/pts", 0755))
		return err_sys(err, ERR_IO, "make directories of /dev");
	rc = tmpfs("/dev/shm", 0, "mode=1777", err);
	/* without terminals a runbook can do */
	(void)mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620");
	return rc;
}

static int collect(const char *work, const char *const *keep, struct kept *k, size_t *n, struct err *err)
{
	int rc = 0;
	for (; !rc && keep && *keep; keep++) {
		if (!is_covered(*keep) || !is_dir(*keep))
			continue;
		if (*n == KEEP_MAX)
			return err_set(err, ERR_NOMEM, "more than %d directories to keep visible", KEEP_MAX);
		rc = detach(*keep, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID, &k[*n], err);
		*n += !rc;
	}
	if (!rc) {
		rc = detach(work, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID, &k[*n], err);
		*n += !rc;
	}
	return rc;
}

static int build(struct isolated_self *self, const struct kept *k, size_t n_k, const struct kept *node, size_t n_node,
        struct err *err)
{
	int rc = read_only(err);
	if (!rc)
		rc = cover(err);
	if (!rc)
		rc = fresh_dev(node, n_node, err);
	if (!rc && self->have & ISOLATE_PID)
		self->proc = !mount("proc", "/proc", "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	for (size_t i = 0; !rc && i < n_k; i++)
		rc = put_back(&k[i], err);
	if (!rc && chdir(k[n_k - 1].path))
		rc = err_sys(err, ERR_IO, "enter %s", k[n_k - 1].path);
	return rc;
}

int isolate_mounts(struct isolated_self *self, const char *work, const char *const *keep, struct err *err)
{
	struct kept k[KEEP_MAX + 1], node[ARRAY_LEN(nodes)];
	size_t n = 0, n_node = 0;
	if (!(self->have & ISOLATE_MOUNT))
		return 0;
	int rc = collect(work, keep, k, &n, err);
	for (size_t i = 0; !rc && i < ARRAY_LEN(nodes); i++)
		if (!detach(nodes[i], 0, &node[n_node], NULL))
			n_node++;
	if (!rc)
		rc = build(self, k, n, node, n_node, err);
	for (size_t i = 0; i < n; i++)
		close_fd(&k[i].fd);
	for (size_t i = 0; i < n_node; i++)
		close_fd(&node[i].fd);
	if (rc)
		self->have &= ~(unsigned)ISOLATE_MOUNT;
	return rc;
}

int isolate_hide(const struct isolated_self *self, const char *dir, struct err *err)
{
	if (!(self->have & ISOLATE_MOUNT) || !is_dir(dir))
		return 0;
	return tmpfs(dir, MS_RDONLY, "mode=700,size=4k", err);
}
