/*
 * From a snapshot back to files: a tree, a tar, or a command's output; and the manifest check of what was restored.
 */
#ifndef RESTORE_RESTORE_H
#define RESTORE_RESTORE_H

#include "codec/pax.h"
#include "restore/reader.h"

struct restore_opts {
	const char *to;            /* target directory, exists; everything is made beneath it (openat2 RESOLVE_BENEATH) */
	const char *const *paths;  /* NULL-terminated path prefixes as recorded, NULL: whole */
	unsigned strip;            /* leading components to drop; entries with no more are skipped */
	const char *as;            /* put in front of what is left, or NULL */
	bool full_metadata;        /* owners, ACLs, xattrs, devices, set-id; else modes without set-id, times, links */
	bool overwrite;            /* replace existing names (never through a symlink) */
	const char *digests;       /* file to write `sha256  path` lines to (sha256sum -c in the target), or NULL */
	atomic_bool *cancel;
	void (*progress)(void *arg, uint64_t files, uint64_t bytes);
	void *arg;
};
struct restore_stats {
	uint64_t files, dirs, links, others, bytes;
	uint64_t skipped;        /* entries that could not be made */
	char first_skipped[512]; /* "path: why" */
	int64_t first_byte_ns;   /* boot clock when the first content byte was written; 0: none */
};
/* Restore into a tree. Entries that cannot be made (a device without root, a name the file system refuses) are counted and told, not
 * fatal; damage (ERR_CORRUPT, ERR_MISSING) and a full disk are. All is synced (syncfs) before it returns 0. */
int restore_tree(struct reader *r, const struct snapshot *snap, const struct restore_opts *o, struct restore_stats *ret, struct err *err) HF_NODISCARD;
/* Content of a snapshot's only file (a command's output) to a descriptor. */
int restore_stream(struct reader *r, const struct snapshot *snap, int fd, uint64_t *ret_bytes, struct err *err) HF_NODISCARD;
/* A plain tar of all or some paths to a descriptor. */
int restore_tar(struct reader *r, const struct snapshot *snap, const char *const *paths, int fd, atomic_bool *cancel, uint64_t *ret_bytes, struct err *err) HF_NODISCARD;
/* Does a recorded path lie at or below one of the prefixes (NULL: yes)? */
bool restore_selected(const char *path, const char *const *paths);

/*
 * Manifest check: read the restored files again in order and recompute the chunk ids along the recorded cuts; compare type, mode,
 * size, link target and (full) owner of every entry with its record. With paths or sparse selection the chunks that are not wholly
 * covered are proven by reading the missing neighbours' bytes from the copy. Extra names in the target count too.
 */
struct manifest_result {
	uint64_t entries, files, bytes, chunks;
	uint64_t wrong;         /* entries that differ, are missing or are too many */
	char first_wrong[512];  /* "path: what" */
};
int restore_manifest(struct reader *r, const struct snapshot *snap, const struct restore_opts *o, struct manifest_result *ret, struct err *err) HF_NODISCARD;

#endif
