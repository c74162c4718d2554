/*
 * What a source looked like to the run before: for every entry its keys, and the cuts of both streams. A host's hint:
 * losing it costs a full read. Three parts (entries, content cuts, entries cuts) under names of their own, and
 * `files.head`, which names them with size and SHA-256, the snapshot they belong to and the epoch of its keys;
 * replacing the head is what decides.
 *
 *   in = cache_in_open(dir, digest, epoch)        the old one, or NULL
 *   out = cache_out_new(dir, in)                  the new one, given in walk order; written only from where it differs
 *   cache_out_keep(out, digest, epoch, &err)
 *
 * One thread. A record of the entries part: u16 bytes shared with the path before, u16 n, n bytes, u8 flags, u32 mode,
 * uid, gid, u64 inode, size, mtime ns, ctime ns, content length, device number, u16 n, n bytes of the first name of a
 * hard link.
 */
#ifndef BACKUP_FILES_CACHE_H
#define BACKUP_FILES_CACHE_H

#include "repo/list.h"
#include "backup/writer.h"

enum cached_flag {
	CACHED_SAME = 1,   /* equal keys tell that it is unchanged */
	CACHED_LINK = 2,   /* a later name of a hard link */
	CACHED_LARGE = 4,  /* its content was cut at both ends */
	CACHED_SPARSE = 8, /* its record has a map of data regions */
	CACHED_PAGES = 32, /* it was cut as pages */
	CACHED_BARE = 16,  /* its record holds what these keys say and no more: no attributes, no ACL, no map, no target */
};
struct cached {
	unsigned flags; /* enum cached_flag */
	uint32_t mode, uid, gid;
	uint64_t ino, size, content_len, rdev;
	int64_t mtime, ctime; /* ns */
};
/* An entry of the old cache and where it stands; 128 KiB. */
struct cache_place {
	uint64_t next;    /* offset of the record behind it */
	uint64_t ordinal; /* from 0 */
	uint64_t pos;     /* of its content in the content stream */
	struct cached e;
	size_t n_path, n_link;
	char path[LIST_PATH_MAX + 1], link[LIST_PATH_MAX + 1]; /* NUL-terminated */
};
void cache_place_copy(struct cache_place *to, const struct cache_place *from);

/* --- the old one --- */
struct cache_in;
/* NULL when there is none, it belongs to another snapshot or epoch, or is damaged. */
struct cache_in *cache_in_open(const char *dir, const unsigned char of[ID_LEN], uint32_t epoch);
void cache_in_free(struct cache_in *in);
uint64_t cache_in_entries(const struct cache_in *in);

/* Forwards through the entries. in NULL: an empty cache. */
struct cache_cursor;
struct cache_cursor *cache_cursor_new(const struct cache_in *in);
void cache_cursor_free(struct cache_cursor *c);
/* The current entry, before the first call of next and at the end NULL. */
const struct cache_place *cache_cursor_at(const struct cache_cursor *c);
/* Move on; what cannot be read is the end. */
const struct cache_place *cache_cursor_next(struct cache_cursor *c);
/* Stand at a place kept of an earlier entry. */
void cache_cursor_set(struct cache_cursor *c, const struct cache_place *p);

/* Forwards through the cuts of one stream (content or entries). */
struct cache_cuts;
struct cache_chunk {
	struct writer_cut cut;
	uint64_t start, end; /* content: bytes; entries: entries */
	bool forced;         /* its end came from outside, not from its bytes */
};
struct cache_cuts *cache_cuts_new(const struct cache_in *in, enum stream_id stream);
void cache_cuts_free(struct cache_cuts *c);
/* The chunk that holds `at`, which must not decrease from call to call; NULL at the end. */
const struct cache_chunk *cache_cuts_seek(struct cache_cuts *c, uint64_t at);

/* --- the new one --- */
struct cache_out;
/* dir NULL: nothing is written. Failures to write are told by keep. in is borrowed. */
struct cache_out *cache_out_new(const char *dir, const struct cache_in *in);
void cache_out_free(struct cache_out *o);
/* The next entry: the old one as it is, or a new one (link NULL: none). */
void cache_out_same(struct cache_out *o, const struct cache_place *p);
void cache_out_put(
        struct cache_out *o, const struct cached *e, const char *path, size_t n_path, const char *link, size_t n_link);
void cache_out_cut(struct cache_out *o, enum stream_id stream, const struct writer_cut *c, bool forced);
/* Something was stored that its keys do not tell: the cache must not be kept. */
void cache_out_spoil(struct cache_out *o);
/* Put it in place of the old one, parts of which may go on serving; 0 and nothing for one without a place, or spoiled.
 */
int cache_out_keep(struct cache_out *o, const unsigned char digest[ID_LEN], uint32_t epoch, struct err *err)
        HF_NODISCARD;

#endif
