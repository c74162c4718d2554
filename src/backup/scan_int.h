/*
 * Inside of the scan: scan.c (driver), scan_file.c (reading a file that is new or changed), scan_content.c and
 * scan_entries.c (what is unchanged, in either stream), scan_source.c (bytes of one file), scan_pages.c (which files are cut small).
 *
 * Unchanged entries are held back, counted only, until they cover a whole chunk of the run before: then the chunk is
 * reused. When something else comes first, what is held back is read again, by way of the old cache. Both streams do
 * this on their own.
 */
#ifndef BACKUP_SCAN_INT_H
#define BACKUP_SCAN_INT_H

#include "codec/pax.h"
#include "backup/beneath.h"
#include "backup/files_cache.h"
#include "backup/hardlinks.h"
#include "backup/scan.h"
#include "backup/walk.h"

#define SCAN_RECORD_MAX (PAX_HEADER_MAX + (1u << 20))

/* A regular file's content: its bytes without the holes. */
struct source {
	int fd;
	struct stat st;
	struct pax_extent *x; /* NULL: not sparse */
	size_t n_x, at;       /* at: region of the last read */
	uint64_t at_pos;      /* content position where that begins */
	uint64_t len;
};
void source_init(struct source *f);
void source_release(struct source *f);
/* Open for reading and look at it. 0 or an errno: ESTALE when it is no regular file. */
int source_open(struct source *f, int dir, const char *name);
/* Look again: st, regions, len. 0 or an errno. */
int source_look(struct source *f);
/* Bytes from content offset off: fewer than n at the end of the file only. -1 with errno. */
ssize_t source_read(struct source *f, uint64_t off, void *p, size_t n);
int64_t stat_mtime(const struct stat *st); /* ns */
int64_t stat_ctime(const struct stat *st);
/* Size and times are still those of st. */
bool source_same(const struct source *f);
enum note_code note_of_errno(int e);
bool errno_is_ours(int e); /* a lack of this process, not a property of a file */

/* What is held back of the content stream: old bytes [start, end), where the writer stands at `start` with nothing
 * pending. */
struct content_hold {
	bool active;
	uint64_t start, end;
	bool large;               /* the last entry held back ends in a forced cut */
	struct cache_place *mark; /* the entry that holds `start`; unset while start == end */
	struct cache_cursor *again;
	struct cache_cuts *cuts;
	uint64_t opened,
	        noted; /* ordinal + 1 of the last entry that was read though unchanged, or found wanting then */
	enum writer_mode mode;
	uint64_t *forced; /* positions of forced cuts that the writer has not told of yet: a ring */
	size_t forced_head, n_forced, cap_forced;
	uint64_t told; /* content bytes whose cuts it told of */
};
/* The same of the entries stream: old entries [first, next). */
struct entry_hold {
	bool active;
	uint64_t first, next;
	struct cache_place *mark; /* entry `first`; unset while first == next */
	struct cache_cursor *again;
	struct cache_cuts *cuts;
	struct buf record; /* of one of them: s->record may hold that of the entry which ends the hold */
};
struct scan {
	struct scan_opts o;
	struct writer *w;
	struct snapshot_facts *facts;
	int64_t start; /* wall ns */
	uint64_t polls;
	char **roots;
	size_t n_roots;
	struct exclude *exclude;
	struct hardlinks *links;
	struct beneath *here, *beneath; /* directories of what the walk brings, and of what is held back */
	struct pax_disk *disk;
	struct buf record;
	struct cache_in *in;
	struct cache_cursor *old;
	struct cache_out *out;
	struct content_hold content;
	struct entry_hold entries;
	char target[LIST_PATH_MAX + 1]; /* first name of the hard link at hand */
	size_t n_target;
};

/* --- scan.c --- */
/* Progress, and ERR_CANCELLED. */
int scan_poll(struct scan *s, struct err *err) HF_NODISCARD;
int scan_note(struct scan *s, enum note_code code, const char *path, size_t n, struct err *err) HF_NODISCARD;
/* The directory of an entry and its name in it, as beneath_find. */
int scan_dir(struct scan *s, const struct walk_entry *e, const char **ret_name);
/* A path by which name in dir can be reached, for calls that take no directory; NUL-terminated in out. */
#define ACCESS_MAX 512
const char *scan_access(char out[ACCESS_MAX], int dir, const char *name);

/* --- scan_file.c --- */
struct file_done {
	struct stat st; /* of the record */
	uint64_t content_len;
	bool recorded; /* false: noted and left out */
	enum writer_mode mode;
	bool sparse, changed;
};
/* Read a regular file into the content stream; its record is then in s->record. */
int file_read(struct scan *s, const struct walk_entry *e, struct file_done *ret, struct err *err) HF_NODISCARD;

/* --- scan_pages.c --- */
/* Is it a file whose pages change in place: of a database, or an image of a disk? Known by its head; reads some KiB of it. */
bool is_paged(const struct source *f);

/* --- scan_content.c --- */
void scan_content_init(struct scan *s);
void scan_content_release(struct scan *s);
/* Content of a new entry follows: what is held back goes first. large: it begins with a forced cut. */
int content_break(struct scan *s, bool large, struct err *err) HF_NODISCARD;
/* Cut as the file needs, with a forced cut before it unless it is small; force the cut behind a large one. */
int content_enter(struct scan *s, enum writer_mode mode, struct err *err) HF_NODISCARD;
int content_leave(struct scan *s, bool large, struct err *err) HF_NODISCARD;
/* n zero bytes, in place of what cannot be read any more. */
int content_zeros(struct scan *s, uint64_t n, struct err *err) HF_NODISCARD;
/* The content of an unchanged entry. *ret_read: false when its file had to be opened and differs, nothing was done. */
int content_unchanged(struct scan *s, const struct walk_entry *e, const struct cache_place *p, bool *ret_done,
        struct err *err) HF_NODISCARD;
/* The writer told of a cut: was it forced? */
bool content_told(struct scan *s, uint64_t length);

/* --- scan_entries.c --- */
void entries_init(struct scan *s);
void entries_release(struct scan *s);
int entries_break(struct scan *s, struct err *err) HF_NODISCARD;
/* The walk is over: the last old chunk may be whole. */
int entries_end(struct scan *s, struct err *err) HF_NODISCARD;
int entries_unchanged(struct scan *s, const struct cache_place *p, struct err *err) HF_NODISCARD;

#endif
