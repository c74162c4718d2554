/*
 * The names of one directory in bytewise order, in bounded memory: sorted in runs, and when there is more than one run,
 * all of them go to a temporary file that every directory of a walk shares as a stack, and are merged from there.
 */
#ifndef BACKUP_WALK_NAMES_H
#define BACKUP_WALK_NAMES_H

#include <stdint.h>
#include "base/err.h"

struct spill {
	const char *dir; /* where to make the file */
	size_t run_max;  /* names in a run */
	int fd;          /* -1 until it is needed */
	uint64_t end;
	char *dents; /* buffer for getdents64 */
};
void spill_init(struct spill *s, const char *dir, size_t run_max);
void spill_release(struct spill *s);

struct name_run;
struct names {
	char *text; /* NUL-terminated names, one behind the other */
	size_t len, cap;
	uint32_t *at; /* their places in text */
	size_t n, cap_at, next;
	/* spilled: a heap of runs by their current name */
	struct name_run **heap;
	size_t n_runs, cap_runs;
	uint64_t base; /* of this directory's runs in the spill */
	char last[256];
	bool has_last;
};
/* Read the directory open at fd, whose position is at its start. After a failure release n all the same. */
int names_read(struct names *n, int fd, struct spill *s, struct err *err) HF_NODISCARD;
/* 1 and the next name (valid until the next call), 0 at the end, or -code. No name comes twice. */
int names_next(struct names *n, struct spill *s, const char **ret, struct err *err) HF_NODISCARD;
/* Must be called in the reverse order of names_read. */
void names_release(struct names *n, struct spill *s);

#endif
