/*
 * Walk trees in walk order (path_walk_cmp): depth first, names bytewise, symbolic links never followed. Memory and open
 * descriptors are bounded, whatever the size of a directory and up to the depth that LIST_PATH_MAX allows.
 *
 * A path inside the copy is the absolute path without its leading slash. Parents of a root are not entries; of the root
 * "/" only what is below is.
 */
#ifndef BACKUP_WALK_H
#define BACKUP_WALK_H

#include <sys/stat.h>
#include "backup/exclude.h"
#include "repo/snapshot.h"

#define WALK_RUN_NAMES 65536u /* of a directory that are sorted in memory */

struct walk_entry {
	const char *path; /* inside the copy, NUL-terminated */
	size_t n_path;
	int dir; /* open directory in which name is; AT_FDCWD for a root; -1 from a walk ahead */
	const char *name;
	const struct stat *st;
};
struct walk_opts {
	char *const *roots; /* as walk_roots made them */
	size_t n_roots;
	const struct exclude *exclude;
	const char *const
	        *if_present; /* NULL-terminated or NULL: a directory that holds one is an entry, its contents are not */
	bool caches;         /* the same for a valid CACHEDIR.TAG */
	bool one_file_system;
	const char *tmp_dir; /* where names of large directories are spilled; NULL: /var/tmp */
	size_t run_names;    /* 0: WALK_RUN_NAMES */
	/* Non-zero from one of these stops the walk, which returns it. */
	int (*entry)(void *arg, const struct walk_entry *e, struct err *err);
	int (*note)(void *arg, enum note_code code, const char *path, size_t n, struct err *err);
	void *arg;
};

/*
 * Normalise absolute paths (NULL-terminated), sort them in walk order and drop those that lie in another: newly
 * allocated strings in a newly allocated array. ERR_USAGE: relative, or with "." or "..". ERR_MISSING: not there.
 */
int walk_roots(const char *const *paths, char ***ret, size_t *ret_n, struct err *err) HF_NODISCARD;
void walk_roots_free(char **roots, size_t n);
int walk_run(const struct walk_opts *o, struct err *err) HF_NODISCARD;

#endif
