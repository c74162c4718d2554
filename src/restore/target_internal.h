/* Inside of the target writer: target.c (names), target_meta.c (metadata), target_later.c (what is put off). */
#ifndef RESTORE_TARGET_INTERNAL_H
#define RESTORE_TARGET_INTERNAL_H

#include <limits.h>
#include "restore/target.h"

#define CACHED_DIRS 16
#define SPOOL_MEMORY (8u << 20)

struct cached_dir {
	char *path; /* "" for the target itself */
	size_t len;
	int fd;
	bool inherits; /* a default ACL: what is made in it has more than its mode says */
	uint64_t used;
};

/* Frames put one after the other and read from either end: in memory, and beyond that in an unnamed file. */
struct spool {
	struct buf mem;
	int fd;
	uint64_t filed, len; /* bytes in the file, bytes in all */
};

struct target {
	struct target_opts o;
	int root;
	mode_t umask;
	struct cached_dir dir[CACHED_DIRS];
	size_t n_dirs;
	uint64_t tick;
	struct spool links, dirs;
	struct pax_reader *pax;
};

/* target.c */
/* Make the place of name in dir free for something new: ERR_EXISTS, or gone with overwrite. */
int target_clear_place(struct target *t, int dir, const char *name, struct err *err) HF_NODISCARD;
int target_make_symlink(struct target *t, const char *path, const struct pax_entry *e, struct err *err) HF_NODISCARD;

/* target_meta.c: what the entry says, all of it as far as possible; the first failure is returned. */
/* On a descriptor; one opened with O_PATH will do for full metadata of specials. */
struct meta_place {
	int fd, dir; /* dir and name for what takes no O_PATH descriptor */
	const char *name;
	bool path_only; /* fd is O_PATH */
	bool chmod;     /* the mode is not as it must be yet */
	bool inherits;
};
int meta_apply(const struct target *t, const struct meta_place *at, const struct pax_entry *e, struct err *err)
        HF_NODISCARD;
int meta_apply_symlink(const struct target *t, int dir, const char *name, const struct pax_entry *e, struct err *err)
        HF_NODISCARD;
/* Permission bits that an entry is given in the end. */
mode_t meta_mode(const struct target *t, const struct pax_entry *e);

/* target_later.c */
void spool_init(struct spool *s);
void spool_release(struct spool *s);
int target_dir_later(struct target *t, const char *path, const struct pax_entry *e, const void *header, size_t n,
        struct err *err) HF_NODISCARD;

#endif
