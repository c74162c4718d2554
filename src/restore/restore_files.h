/*
 * Regular files, written by the reader's workers: the caller says in order which files there are; whoever has opened a chunk of
 * the content stream writes the files that hold its bytes while these are in the core's cache, several files and several parts
 * of one file at a time. Chunks that no file asked for lies in are not fetched.
 *
 *   files_new(); files_add() for each file; files_wait(); files_free()
 *
 * Memory: for each worker two chunks (8 MiB at most, usually 1), and the names of at most 8,192 pieces of files in the queue.
 */
#ifndef RESTORE_RESTORE_FILES_H
#define RESTORE_RESTORE_FILES_H

#include "restore/restore_digest.h"
#include "restore/target.h"
#include "restore/reader.h"

/*
 * What became of a file, told once, by any thread but one at a time. why NULL: it is there. made: it is there, and why is about
 * its metadata; else nothing stays of it. Non-zero ends the restore with err.
 */
typedef int (*files_outcome_fn)(void *arg, const char *path, const struct err *why, bool made, struct err *err);
struct files_opts {
	struct reader *r;
	const struct stream_root *root; /* of the content stream */
	struct target *target;          /* the caller's own; shared with the workers */
	struct digests *digests;        /* NULL: not wanted. Else one chunk after the other */
	files_outcome_fn outcome;
	void (*tick)(void *arg); /* by the caller's thread, for each chunk queued; may be NULL */
	void *arg;
};
struct files;
int files_new(const struct files_opts *o, struct files **ret, struct err *err) HF_NODISCARD;
/* Waits for what is under way; files begun and not complete are removed. */
void files_free(struct files *f);
/* path in the target; its content is e->content_len bytes from off of the stream. Blocks while the queue is full. Errors may be those
 * of files added before. */
int files_add(struct files *f, const char *path, const struct pax_entry *e, uint64_t off, uint64_t len, struct err *err)
        HF_NODISCARD;
/* Until all that were added have had their outcome. */
int files_wait(struct files *f, struct err *err) HF_NODISCARD;
/* Bytes written so far (those of every file whose outcome was told are among them), and when the first of them was (boot clock, 0: none). */
void files_progress(struct files *f, uint64_t *ret_bytes, int64_t *ret_first_ns);

#endif
