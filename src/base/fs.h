/*
 * Files on the local machine. Every write is create-only or a rename after fsync; directories are synced behind it.
 */
#ifndef BASE_FS_H
#define BASE_FS_H

#include <sys/types.h>
#include "base/buf.h"

/* Temporary names begin so; one left behind by a crash may be removed. Modes are subject to the umask. */
#define FS_TMP_PREFIX ".holdfast-tmp-"

/* mkdir -p with `mode` for what is made; fine when it is there. Durable (parents synced). */
int fs_mkdirs(const char *path, mode_t mode, struct err *err) HF_NODISCARD;
/* Whole file into out, in place of what it held (out->limit is the ceiling: ERR_NOMEM). ERR_MISSING when not there. */
int fs_read(const char *path, struct buf *out, struct err *err) HF_NODISCARD;
/* Replace: temporary in the same directory, fsync, rename, fsync of the directory. */
int fs_replace(const char *path, const void *p, size_t n, mode_t mode, struct err *err) HF_NODISCARD;
/* Create-only and durable: ERR_EXISTS when the name is taken; never visible in part. */
int fs_create(const char *path, const void *p, size_t n, mode_t mode, struct err *err) HF_NODISCARD;
/*
 * Replace in steps, for a file that is made piece by piece: write to (and read from) fd, then commit; release in any case,
 * which drops what was not committed. `path` must stay.
 */
struct fs_draft {
	int fd;
	int dir; /* the rest is fs.c's */
	char *parent;
	const char *path, *name;
	char tmp[sizeof FS_TMP_PREFIX + 16];
};
#define FS_DRAFT_INIT                                                                                                  \
	{                                                                                                              \
		.fd = -1, .dir = -1                                                                                    \
	}
int fs_draft_open(struct fs_draft *d, const char *path, mode_t mode, struct err *err) HF_NODISCARD;
int fs_draft_commit(struct fs_draft *d, struct err *err) HF_NODISCARD;
void fs_draft_release(struct fs_draft *d);
int fs_sync_dir(const char *path, struct err *err) HF_NODISCARD;
bool fs_exists(const char *path); /* a name of any kind, a dangling symlink too */
/*
 * Remove a tree, never following symlinks, never leaving its file system (a mount point inside is ERR_IO); missing is
 * fine. Beneath read-only dirs too. "", "/", and a path that ends in "." or ".." are ERR_USAGE.
 */
int fs_remove_tree(const char *path, struct err *err) HF_NODISCARD;
/* Exclusive flock on a file made when missing: ERR_BUSY when another holds it. Close the fd to release. */
int fs_lock(const char *path, int *ret_fd, struct err *err) HF_NODISCARD;
/* read/write until n bytes or end of file; short is the return value. -1 with errno on error. */
ssize_t fs_read_full(int fd, void *p, size_t n);
int fs_write_full(int fd, const void *p, size_t n); /* 0 or -1 */
/* "a/b" from parts, newly allocated. */
char *fs_join(const char *a, const char *b);

#endif
