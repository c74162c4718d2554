/*
 * The source side of a run: walk paths in order, read what is new or changed, skip what is not, feed a writer.
 */
#ifndef BACKUP_SCAN_H
#define BACKUP_SCAN_H

#include <stdatomic.h>
#include "backup/writer.h"

struct scan_opts {
	const char *const *paths;      /* absolute, NULL-terminated; sorted and made disjoint here */
	const char *const *exclude;    /* gitignore-style, NULL-terminated or NULL */
	const char *const *exclude_from;
	const char *const *exclude_if_present;
	bool exclude_caches;           /* CACHEDIR.TAG */
	bool one_file_system;
	bool full_read;                /* do not trust the cache */
	const char *cache_dir;         /* of this source: files cache */
	unsigned char cache_of[ID_LEN]; /* snapshot whose cache may be used */
	bool has_cache_of;
	uint32_t epoch;                /* keys the cache was made under */
	atomic_bool *cancel;
	void (*progress)(void *arg, uint64_t files, uint64_t bytes);
	void (*note)(void *arg, enum note_code code, const char *path, size_t n); /* as notes are written; may be NULL */
	void *arg;
};
struct scan;
/* Before writer_open: give scan_cut (with the scan as arg) as the writer's cut hook. */
struct scan *scan_new(const struct scan_opts *o);
void scan_free(struct scan *s);
void scan_cut(void *scan, enum stream_id stream, const struct writer_cut *c);
/* Walk and feed. Counts go to facts (files, dirs, others, entries, bytes, skipped, notes). */
int scan_paths(struct scan *s, struct writer *w, struct snapshot_facts *facts, struct err *err) HF_NODISCARD;
/* One stream of bytes (a command's standard output) as one entry named `name`. read: like read(2), 0 at the end, -1 with errno.
 * min_size is checked by the caller with facts->bytes. */
typedef ssize_t (*scan_read_fn)(void *arg, void *to, size_t n);
int scan_stream(struct scan *s, struct writer *w, const char *name, scan_read_fn read, void *arg, struct snapshot_facts *facts, struct err *err) HF_NODISCARD;
/* After the commit: keep the new cache as that of `digest` (replaces the old one); without a call it is dropped. */
int scan_keep_cache(struct scan *s, const unsigned char digest[ID_LEN], struct err *err) HF_NODISCARD;

#endif
