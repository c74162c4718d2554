/*
 * The write side of a run: plaintext streams in, packs out.
 *
 *   caller's thread: read -> cut ---- bounded ring ----> workers: id, dedup, compress, seal, verify -> pack -> uploader -> sites
 *                      ^ retire in order: lists, cuts hook
 *
 * The caller fills the current chunk's buffer in place (writer_room, writer_filled): a byte is read once and never copied, but for
 * what lies behind a cut. Memory: writer_memory_plan(). Calls come from one thread.
 */
#ifndef BACKUP_WRITER_H
#define BACKUP_WRITER_H

#include "repo/chunker.h"
#include "repo/list.h"
#include "repo/pack.h"
#include "backup/session.h"

#define WRITER_LEVEL 3 /* zstd, unless said otherwise */
/* A data chunk took its place in a stream; called in stream order from inside the caller's own calls. */
struct writer_cut {
	unsigned char id[ID_LEN];
	uint64_t length;
	uint64_t entries, content; /* entries stream */
};
struct writer_opts {
	struct session *session;
	const struct source_keys *keys;
	const struct recipient *recipient;
	size_t n_recipients;
	unsigned workers;   /* 0: cores; fewer where memory is bounded */
	int level;          /* zstd; 0: WRITER_LEVEL */
	uint64_t memory;    /* of the process, at most, in bytes, as writer_memory_plan; 0: no bound */
	uint32_t fixed_cut; /* bytes: WRITE_LARGE cuts at multiples of this from the file's begin; 0: by content */
	bool dry_run;       /* id and dedup only: nothing is compressed, sealed or put; added counts plaintext */
	void (*cut)(void *arg, enum stream_id stream, const struct writer_cut *c);
	void *arg;
};
struct writer;
int writer_open(const struct writer_opts *o, struct writer **ret, struct err *err) HF_NODISCARD;
/*
 * How a bound on memory is kept: packs get smaller, then fewer, then the workers. m: as wanted, and what fits. It takes at most `memory`
 * (0: no bound) for the whole process, beside 44 to 88 bytes a new chunk and the pages of the index that were touched. ERR_USAGE: less
 * than one worker and two of the smallest packs need; a hint says how much that is.
 */
struct writer_memory {
	unsigned workers, packs; /* packs: one that is filled, one that gets its digest, and those on their way */
	uint32_t pack_aim;       /* bytes at which one is closed */
};
int writer_memory_plan(uint64_t memory, int level, struct writer_memory *m, struct err *err) HF_NODISCARD;
/* Stops workers; what was not finished is dropped. */
void writer_close(struct writer *w);

/* --- content --- */
enum writer_mode { WRITE_SMALL, WRITE_LARGE, WRITE_PAGES };
/* Choose how following content is cut; a change of mode, or entering or leaving a large file, forces a cut. */
int writer_content_mode(struct writer *w, enum writer_mode m, struct err *err) HF_NODISCARD;
/* Force a cut here (both ends of a large file). Nothing when no bytes are pending. */
int writer_content_cut(struct writer *w, struct err *err) HF_NODISCARD;
/* Where the next bytes go: at least 64 KiB of room, *ret_n says how much. Valid until the next call. */
unsigned char *writer_room(struct writer *w, size_t *ret_n);
/* n bytes were placed there. */
int writer_filled(struct writer *w, size_t n, struct err *err) HF_NODISCARD;
/* Logical position in the content stream behind the last byte placed, and of the last cut. */
uint64_t writer_content_pos(const struct writer *w);
uint64_t writer_content_last_cut(const struct writer *w);
/* Drop the pending bytes behind the last cut. */
void writer_content_rewind(struct writer *w);

/* --- entries and notes --- */
int writer_entry(struct writer *w, const void *header, size_t n, uint64_t content_len, const char *path, size_t n_path, struct err *err) HF_NODISCARD;
/* True when the entries chunker stands at a cut: the next record begins a chunk. */
bool writer_entries_at_cut(const struct writer *w);
int writer_note(struct writer *w, enum note_code code, const char *path, size_t n_path, struct err *err) HF_NODISCARD;

/* --- reuse of chunks of an earlier run, without their bytes --- */
/* Is the id in a pack that may be reused? */
bool writer_can_reuse(struct writer *w, const unsigned char id[ID_LEN]);
/* Put an old chunk in its place; no bytes may be pending in that stream. path: first path, entries stream only. */
int writer_reuse(struct writer *w, enum stream_id stream, const struct writer_cut *c, const char *path, size_t n_path, struct err *err) HF_NODISCARD;

/* --- end --- */
struct writer_stats {
	uint64_t chunks, chunks_new, bytes, bytes_new, sealed; /* bytes: plaintext through the ring; sealed: put to each site */
	uint64_t reused_bytes;                               /* content not read */
	uint64_t packs;
};
/* Flush everything, wait until all is put. Fills roots of facts; packs: all the snapshot needs, sorted. */
int writer_finish(struct writer *w, struct stream_root root[STREAM_COUNT], struct pack_list *packs, struct err *err) HF_NODISCARD;
void writer_stats(const struct writer *w, struct writer_stats *ret); /* any time, from the caller's thread */

#endif
