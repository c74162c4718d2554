/*
 * The writer beneath a target directory. Paths are relative to it and resolved with openat2(2): beneath, without
 * following any symbolic link, so that neither a hostile snapshot nor somebody who changes the target meanwhile leads a
 * write out of it.
 *
 *   target_open()
 *   target_dir(), target_file_begin() ... _end(), target_special(), target_symlink(), target_link_later()
 *   target_links()    symbolic and hard links, when all files are there: nothing later may go through them
 *   target_finish()   metadata of directories, deepest first; syncfs
 *   target_close()
 *
 * A failure concerns one name, unless target_fatal() says otherwise; its message does not name the path. Directories
 * that are made have mode 0700 until target_finish(). Modes do not depend on the umask. Memory: 8 MiB, what waits
 * beyond that lies in unnamed files in the target. One thread, and further ones
 * each by target_share().
 */
#ifndef RESTORE_TARGET_H
#define RESTORE_TARGET_H

#include "codec/pax.h"

struct target;
typedef bool (*target_missed_fn)(void *arg, const char *path);
struct target_opts {
	const char *path; /* an existing directory; this one may be reached by a symbolic link */
	bool full;        /* owners, set-id, xattrs, ACLs, devices; else modes without set-id, and times */
	bool overwrite;   /* names that exist and are no directories are removed first */
	/* Names that were to be made and were not: what stands there is something else, and no hard link is made to it. NULL: none */
	target_missed_fn missed;
	void *arg;
};
int target_open(const struct target_opts *o, struct target **ret, struct err *err) HF_NODISCARD;
/* For another thread: regular files only. dirs: how many directories it keeps open, at most 16. */
int target_share(const struct target *t, unsigned dirs, struct target **ret, struct err *err) HF_NODISCARD;
void target_close(struct target *t);
/* Is the failure one of the whole target (a full or broken disk, no more descriptors)? */
bool target_fatal(const struct err *why);
/* ERR_FORMAT for what must not or cannot be a path beneath: absolute, empty, "." and "..", too long. */
int target_path_check(const char *path, struct err *err) HF_NODISCARD;
/* Directory of a path: a descriptor that stays the target's, valid until 15 more were asked for; *ret_name points into
 * path. make: missing parents are made. ERR_MISSING without. */
int target_parent(struct target *t, const char *path, bool make, int *ret_fd, const char **ret_name, struct err *err)
        HF_NODISCARD;
/* Open the file at path for reading, following no link; -1 and errno. */
int target_read(struct target *t, const char *path);
/* The same for the directory at path, "" for the target itself. */
int target_open_dir(struct target *t, const char *path);

/* A directory that is there stays; what the entry says of it is set by target_finish(). header: the record's bytes. */
int target_dir(struct target *t, const char *path, const struct pax_entry *e, const void *header, size_t n,
        struct err *err) HF_NODISCARD;

/*
 * A regular file: begin, content at its offsets, end. path and e are borrowed until then. A begun one must be ended or aborted,
 * which removes it. lasting: it outlives the directories in use, so that several threads may write it (each its own part) and
 * any of them may end it.
 */
struct target_file {
	int fd, dir;
	bool own_dir;
	const char *name;
	const struct pax_entry *e;
	bool chmod, inherits; /* the mode is not final yet; there may be an ACL */
};
int target_file_begin(struct target *t, const char *path, const struct pax_entry *e, bool lasting, struct target_file *f,
        struct err *err) HF_NODISCARD;
int target_file_write(struct target_file *f, const void *p, size_t n, uint64_t off, struct err *err) HF_NODISCARD;
/* An error is about metadata, the content is there; but for *ret_gone: it could not be completed and was removed. */
int target_file_end(const struct target *t, struct target_file *f, bool *ret_gone, struct err *err) HF_NODISCARD;
void target_file_abort(struct target_file *f);

/* FIFOs and, with full metadata, devices. */
int target_special(struct target *t, const char *path, const struct pax_entry *e, struct err *err) HF_NODISCARD;
/* Noted for target_links(); the place is made free now. */
int target_symlink(struct target *t, const char *path, const struct pax_entry *e, const void *header, size_t n,
        struct err *err) HF_NODISCARD;
/* Hard link to another path beneath. ERR_MISSING: that one is not there, or is not what was to be made. */
int target_link(struct target *t, const char *path, const char *first, struct err *err) HF_NODISCARD;
/* The same with the symbolic links, in order; tag comes back with the outcome. */
int target_link_later(struct target *t, const char *path, const char *first, const char *tag, struct err *err)
        HF_NODISCARD;

/* Outcome of what was put off. type: PAX_SYMLINK, PAX_HARDLINK (with its tag) or PAX_DIR. why NULL: made. */
typedef void (*target_outcome_fn)(
        void *arg, enum pax_type type, const char *path, const char *tag, const struct err *why);
/* Errors are those of the whole target. May be called again when more was noted. */
int target_links(struct target *t, target_outcome_fn fn, void *arg, struct err *err) HF_NODISCARD;
int target_finish(struct target *t, target_outcome_fn fn, void *arg, struct err *err) HF_NODISCARD;

/* Where content lies in a file: walks the data regions of an entry, or the file from its start when it has none. */
struct content_pos {
	const struct pax_entry *e;
	size_t region;
	uint64_t done; /* of that region */
};
/* Of the next n content bytes, how many lie in one piece, and at which offset; 0 when the regions hold no more. */
size_t content_run(struct content_pos *c, uint64_t n, uint64_t *ret_off);

#endif
