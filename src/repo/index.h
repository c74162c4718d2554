/*
 * The index: chunk id -> place. It is a set of segments, each the plaintext of a delta or a merge (docs/format), kept in memory
 * or mapped from a cache file; lookups ask the newest segment first. Read-only while shared by threads.
 */
#ifndef REPO_INDEX_H
#define REPO_INDEX_H

#include "repo/format.h"

struct index_pack {
	unsigned char digest[ID_LEN], sid[SID_LEN], salt[SALT_LEN];
	uint32_t epoch, size;
};
struct index_entry {
	unsigned char id[ID_LEN];
	uint32_t pack; /* number within its segment or delta */
	uint32_t offset, sealed_len, plain_len;
	uint8_t type, comp;
};

/* Collects what new packs hold and encodes a delta. Not thread-safe. */
struct index_delta {
	struct index_pack *pack;
	size_t n_packs, cap_packs;
	struct index_entry *entry;
	size_t n_entries, cap_entries;
};
void index_delta_release(struct index_delta *d);
/* Returns the pack's number. */
uint32_t index_delta_add_pack(struct index_delta *d, const struct index_pack *p);
void index_delta_add(struct index_delta *d, const struct index_entry *e);
/* Sorts (of equal ids the newest pack first) and appends the plaintext to out; replaced: names a merge replaces (NULL-terminated, NULL for a delta). */
int index_delta_encode(struct index_delta *d, const char *const *replaced, struct buf *out, struct err *err) HF_NODISCARD;

/* A place found. pack points into the index. */
struct index_place {
	const unsigned char *pack_digest, *sid, *salt;
	uint32_t epoch, pack_size, offset, sealed_len, plain_len;
	uint8_t type, comp;
	uint32_t pack_no; /* number of the pack over the whole index: < index_packs() */
};
struct index;
struct index *index_new(void);
void index_free(struct index *ix);
/*
 * Add a segment, newer than those before: bytes are checked whole (bounds, order, pack numbers; else ERR_FORMAT) and moved in;
 * name is "<attempt>.<j>" or "m.<sha256>", or another word for a local file. A name that is known already, also as replaced, is
 * passed over (0, plaintext released). Segments that the new one replaces are no longer asked; their pack numbers stay valid.
 */
int index_add(struct index *ix, const char *name, struct buf *plaintext, struct err *err) HF_NODISCARD;
/*
 * The same from a file that stays mapped (it must not be truncated meanwhile). Only sizes and names are checked here; a lookup
 * passes over entries whose fields are out of bounds.
 */
int index_add_file(struct index *ix, const char *name, const char *path, struct err *err) HF_NODISCARD;
bool index_has_segment(const struct index *ix, const char *name); /* added, or replaced by one that was */
bool index_lookup(const struct index *ix, const unsigned char id[ID_LEN], struct index_place *ret);
/* Every place of an id, newest first; n counts up from 0 until false. */
bool index_lookup_nth(const struct index *ix, const unsigned char id[ID_LEN], unsigned n, struct index_place *ret);
uint32_t index_packs(const struct index *ix);
uint64_t index_entries(const struct index *ix);
void index_pack_get(const struct index *ix, uint32_t pack_no, struct index_pack *ret);
/* Number of the pack with this digest (first added), or UINT32_MAX. */
uint32_t index_pack_find(const struct index *ix, const unsigned char digest[ID_LEN]);
/* All segments as one merge, appended to out, for a cache file or m.<sha256>: names it replaces are written into it. ERR_CORRUPT when a mapped segment is out of order. */
int index_merge(const struct index *ix, struct buf *out, struct err *err) HF_NODISCARD;
size_t index_segments(const struct index *ix);
/* Add the plain lengths of all entries to sum[number of their pack]; index_packs() of them, the caller's. */
void index_plain_sums(const struct index *ix, uint64_t *sum);

#endif
