/*
 * The read side: one source, its copies at one or several sites, and an opening key. Packs are fetched whole (a name that is not the
 * digest of what came is tried at another site, and reported), opened on all cores, handed out in order.
 */
#ifndef RESTORE_READER_H
#define RESTORE_READER_H

#include <stdatomic.h>
#include "repo/list.h"
#include "repo/pack.h"
#include "repo/site.h"

struct reader_site {
	const char *name;
	struct store *store;
	uint64_t packs, bytes; /* served */
	uint64_t bad;          /* objects that were missing or not what their name says */
	char first_bad[256];   /* "KEY: why" of the first */
};
struct reader_opts {
	struct reader_site *site; /* in order of preference */
	size_t n_sites;
	const struct opening_key *key;
	const struct cfg *cfg;
	const char *source;
	unsigned workers;   /* 0: cores */
	const char *cache_dir; /* for index segments; NULL: memory */
	atomic_bool *cancel;
};
struct reader;
/* Opens source keys, loads the index (packs it lacks are described by their footers when needed). */
int reader_open(const struct reader_opts *o, struct reader **ret, struct err *err) HF_NODISCARD;
void reader_close(struct reader *r);
/* Verified snapshots of all sites with their facts, oldest first by lineage, seq; `where` is a bit mask of sites that have it committed. */
struct reader_snapshot {
	struct snapshot snap;
	uint64_t where;
	char attempt[NAME16];
};
int reader_snapshots(struct reader *r, const struct reader_snapshot **ret, size_t *ret_n, struct err *err) HF_NODISCARD;
/* "latest", a seq, or a digest prefix of at least 6 digits. ERR_FORK when two digests claim one (lineage, seq); ERR_USAGE
 * when there is none. */
int reader_select(struct reader *r, const char *which, const struct reader_snapshot **ret, struct err *err) HF_NODISCARD;
const struct source_secrets *reader_secrets(const struct reader *r, uint32_t epoch);
/* One chunk, now. */
int reader_chunk(struct reader *r, const unsigned char id[ID_LEN], enum chunk_type type, uint64_t length, struct buf *out, struct err *err) HF_NODISCARD;
int reader_list_chunk(void *reader, const unsigned char id[ID_LEN], uint64_t length, struct buf *out, struct err *err); /* a list_get_fn */

/* A stream's plaintext in order, chunks fetched and opened ahead by the reader's workers. */
struct reader_stream;
int reader_stream_open(struct reader *r, enum stream_id s, const struct stream_root *root, uint64_t from, struct reader_stream **ret, struct err *err) HF_NODISCARD;
void reader_stream_close(struct reader_stream *s);
/* Next bytes, at least one: *ret_p is borrowed until the next call; *ret_n 0 at the end. At most `want`. */
int reader_stream_next(struct reader_stream *s, size_t want, const unsigned char **ret_p, size_t *ret_n, struct err *err) HF_NODISCARD;
int reader_stream_skip(struct reader_stream *s, uint64_t n, struct err *err) HF_NODISCARD; /* does not fetch what it skips whole */

/* Entries one after the other. */
struct reader_entry {
	const unsigned char *header; /* borrowed until the next call */
	size_t n_header;
	uint64_t content_len, content_off;
};
struct reader_entries;
/* path NULL: all; else from the first entry that may be at or below path, in walk order. */
int reader_entries_open(struct reader *r, const struct snapshot *snap, const char *path, struct reader_entries **ret, struct err *err) HF_NODISCARD;
void reader_entries_close(struct reader_entries *e);
/* 1 and *ret, 0 at the end, or -code. */
int reader_entries_next(struct reader_entries *e, struct reader_entry *ret, struct err *err) HF_NODISCARD;

#endif
