/*
 * First names of files that have several: a table of 24-byte entries in memory, the names in an unlinked file. An entry
 * goes when all names of its file were met.
 */
#ifndef BACKUP_HARDLINKS_H
#define BACKUP_HARDLINKS_H

#include <sys/stat.h>
#include "base/err.h"

struct hardlinks;
struct hardlinks *hardlinks_new(const char *tmp_dir);
void hardlinks_free(struct hardlinks *h);
/* 1 when a first name is known: copied to path (LIST_PATH_MAX + 1 bytes), NUL-terminated, length in *ret_n. 0 when not.
 */
int hardlinks_find(struct hardlinks *h, const struct stat *st, char *path, size_t *ret_n, struct err *err) HF_NODISCARD;
/* Remember the first name of a file with st_nlink > 1. */
int hardlinks_add(struct hardlinks *h, const struct stat *st, const char *path, size_t n, struct err *err) HF_NODISCARD;
size_t hardlinks_count(const struct hardlinks *h); /* files whose other names are not yet met */

#endif
