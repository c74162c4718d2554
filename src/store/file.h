/*
 * What the two halves of the file driver share: file.c (objects) and file_list.c (listing). Nobody else includes this.
 */
#ifndef STORE_FILE_H
#define STORE_FILE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include "store/store.h"

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
/* The driver's list. */
int file_list(struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err);

#endif
