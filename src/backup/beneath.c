#include "backup/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/mem.h"
#include "repo/list.h"

struct beneath {
	char *const *roots;
	size_t n_roots;
	int fd;   /* the directory `path`, -1: none */
	size_t n; /* its length */
	char path[LIST_PATH_MAX + 1];
};

struct beneath *beneath_new(char *const *roots, size_t n_roots)
{
	struct beneath *b = xmalloc(sizeof(*b));
	b->roots = roots;
	b->n_roots = n_roots;
	b->fd = -1;
	b->n = 0;
	return b;
}

void beneath_free(struct beneath *b)
{
	if (!b)
		return;
	close_fd(&b->fd);
	free(b);
}

static const char *root_of(const struct beneath *b, const char *path, size_t n)
{
	for (size_t i = 0; i < b->n_roots; i++) {
		const char *root = b->roots[i] + 1;
		size_t k = strlen(root);
		if (k <= n && !memcmp(root, path, k) && (!k || k == n || path[k] == '/'))
			return b->roots[i];
	}
	return NULL;
}

static bool is_below(const char *path, size_t n, const char *top, size_t k)
{
	return k <= n && !memcmp(path, top, k) && (k == n || !k || path[k] == '/');
}

/* All the way from the directory that is open to the one of n bytes by one call, where the kernel has it. */
static bool leap(struct beneath *b, const char *path, size_t n)
{
	char below[PATH_MAX];
	size_t at = b->n + (b->n > 0);
	struct open_how how = {
	        .flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	if (b->n >= n || n - at >= sizeof(below) || !memchr(path + at, '/', n - at))
		return false;
	memcpy(below, path + at, n - at);
	below[n - at] = '\0';
	int fd = (int)syscall(SYS_openat2, b->fd, below, &how, sizeof(how));
	if (fd < 0)
		return false;
	close_fd(&b->fd);
	b->fd = fd;
	memcpy(b->path, path, n);
	b->n = n;
	return true;
}

/* Step from the directory that is open down to the one of n bytes. */
static int descend(struct beneath *b, const char *path, size_t n)
{
	if (leap(b, path, n))
		return b->fd;
	while (b->n < n) {
		char name[NAME_MAX + 1];
		size_t at = b->n + (b->n > 0), len = strcspn(path + at, "/");
		if (len > NAME_MAX) {
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(name, path + at, len);
		name[len] = '\0';
		int fd = openat(b->fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -1;
		close_fd(&b->fd);
		b->fd = fd;
		memcpy(b->path + b->n, path + b->n, at + len - b->n);
		b->n = at + len;
	}
	return b->fd;
}

int beneath_find(struct beneath *b, const char *path, size_t n, const char **ret_name)
{
	const char *root = root_of(b, path, n), *slash = strrchr(path, '/');
	if (!root) {
		errno = ENOENT;
		return -1;
	}
	size_t n_root = strlen(root + 1), n_dir = slash ? (size_t)(slash - path) : 0;
	if (n_root == n) { /* a root itself: its parents may be symbolic links */
		*ret_name = root;
		return AT_FDCWD;
	}
	*ret_name = path + (slash ? n_dir + 1 : 0);
	if (b->fd < 0 || b->n < n_root || !is_below(path, n_dir, b->path, b->n)) {
		close_fd(&b->fd);
		b->fd = open(root, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (b->fd < 0)
			return -1;
		b->n = n_root;
		memcpy(b->path, path, n_root);
	}
	return descend(b, path, n_dir);
}
