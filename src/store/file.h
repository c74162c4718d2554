/*
 * What the parts of the file driver share: file.c (objects), file_read.c (their bytes), file_list.c (listing). Nobody else includes this.
 */
#ifndef STORE_FILE_H
#define STORE_FILE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include "store/store.h"

#define FILE_READ_KEPT 8 /* objects that parts were read of stay open for the next part */
struct file_read {
	char *key;
	int fd; /* -1: free */
	unsigned users;
	uint64_t used;
};
struct file_store {
	struct store base;
	char *dir; /* resolved path of the root */
	int root;
	dev_t dev;
	ino_t ino;
	atomic_bool named_temp;
	pthread_mutex_t mutex; /* of what follows */
	char **known;          /* sorted; directories whose parents are synced */
	size_t n_known, cap_known;
	struct file_read read[FILE_READ_KEPT];
	uint64_t tick;
};

/* Take a descriptor out of a cleaned variable. */
#define TAKE_FD(fd)                                                                                                    \
	({                                                                                                             \
		int take_ = (fd);                                                                                      \
		(fd) = -1;                                                                                             \
		take_;                                                                                                 \
	})

/* openat2(2) that stays beneath root and follows no symbolic link. -1 with errno. */
int file_open_beneath(int root, const char *path, uint64_t flags);
/* ERR_UNREACHABLE when the root's path no longer leads to the directory that was opened. */
int file_check_root(const struct file_store *f, struct err *err);
/* The error of the current errno: "cannot WHAT KEY: ...". */
int file_failed(struct err *err, const char *what, const char *key);
/* ERR_MISSING, unless the whole place is gone. */
int file_missing(const struct file_store *f, const char *key, struct err *err);
void file_stat_of(const struct stat *st, struct store_stat *ret);

struct file_entry {
	char *name; /* newly allocated; a directory's ends with '/' */
	struct store_stat st;
};
/* Whether a listing wants this name (a directory's ends with '/'). */
typedef bool (*file_want_fn)(void *arg, const char *name);
bool file_any_name(void *arg, const char *name);
/* Regular files and directories in the directory open at fd that are wanted, in no order. err: ERR_NOMEM, ERR_IO. */
int file_read_dir(int fd, file_want_fn want, void *arg, struct file_entry **ret, size_t *ret_n, struct err *err);
/* The driver's reads. */
int file_get(struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err);
int file_get_buf(struct store *s, const char *key, struct store_range range, struct buf *out, struct err *err);
void file_close_read(struct file_store *f);
/* The driver's list. */
int file_list(struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err);

#endif
