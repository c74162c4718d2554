/*
 * The index: chunk id -> place. It is a set of segments, each the plaintext of a delta or a merge (docs/format), kept in memory
 * or mapped from a cache file; lookups ask the newest segment first. Read-only while shared by threads.
 */
#ifndef REPO_INDEX_H
#define REPO_INDEX_H

#include "crypto/crypto.h"
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
 * The same from a cache file, which stays mapped (it must not be truncated meanwhile). ERR_CORRUPT when it is not what
 * index_cache_put() or index_cache_merge() wrote with this key: every byte is checked, at several GB/s.
 */
int index_add_cache(struct index *ix, const char *name, const char *path, const struct secret *key, struct err *err) HF_NODISCARD;
/* Segments that are made one. */
enum index_which {
	INDEX_ALL,
	INDEX_DELTAS, /* those that are no m.<sha256> */
	INDEX_GROWN,  /* and the m.<sha256> that are no larger than what is merged so far, up to INDEX_MERGE_MAX: sizes at least double */
};
/* Write a cache file (mode 0600, replaced whole) of one plaintext, or of segments merged into one: of any size, in little memory. */
int index_cache_put(const char *path, const struct secret *key, const void *plaintext, size_t n, struct err *err) HF_NODISCARD;
int index_cache_merge(const struct index *ix, enum index_which which, const char *path, const struct secret *key, struct err *err) HF_NODISCARD;
bool index_has_segment(const struct index *ix, const char *name); /* added, or replaced by one that was */
bool index_asks(const struct index *ix, const char *name);        /* a segment of that name is there and not replaced */
bool index_lookup(const struct index *ix, const unsigned char id[ID_LEN], struct index_place *ret);
/* Every place of an id, newest first; n counts up from 0 until false. */
bool index_lookup_nth(const struct index *ix, const unsigned char id[ID_LEN], unsigned n, struct index_place *ret);
uint32_t index_packs(const struct index *ix);
uint64_t index_entries(const struct index *ix);
void index_pack_get(const struct index *ix, uint32_t pack_no, struct index_pack *ret);
/* Number of the pack with this digest (first added), or UINT32_MAX. */
uint32_t index_pack_find(const struct index *ix, const unsigned char digest[ID_LEN]);
/* Segments as one merge, appended to out, for m.<sha256>: the names it replaces are written into it. */
int index_merge(const struct index *ix, enum index_which which, struct buf *out, struct err *err) HF_NODISCARD;
size_t index_segments(const struct index *ix, enum index_which which);
/* Add the plain lengths of all entries to sum[number of their pack]; index_packs() of them, the caller's. */
void index_plain_sums(const struct index *ix, uint64_t *sum);

#endif
