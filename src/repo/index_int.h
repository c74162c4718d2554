/* What the files of the index share. */
#ifndef REPO_INDEX_INT_H
#define REPO_INDEX_INT_H

#include "repo/index.h"

#define INDEX_HEAD_LEN 12u
#define INDEX_PACK_LEN 88u
#define INDEX_ENTRY_LEN 52u

/* Room for n more pieces of text(name) is the caller's matter: these write to exactly sized memory. */
void index_put_pack(unsigned char *to, const struct index_pack *p);
void index_put_entry(unsigned char *to, const struct index_entry *e);
void index_get_entry(const unsigned char *from, struct index_entry *ret);
/* "<attempt>.<j>" (merge false) or "m.<sha256>" (merge true): the name of an index object. */
bool index_name_ok(const char *name, size_t n, bool *ret_merge);

struct segment {
	char *name;
	unsigned char *p; /* the plaintext, in memory or mapped */
	size_t n;
	bool mapped, hidden; /* hidden: replaced by a segment added later */
	uint32_t packs, entries, first_pack;
	const unsigned char *pack, *entry;
	/* fan[b]: first entry whose id starts with at least the fan_bits bits of b; 2^fan_bits + 1 of them. */
	uint32_t *fan;
	unsigned fan_bits;
};

/* Name in a set of segment names. */
struct index_names {
	char **name; /* sorted */
	size_t n, cap;
};

struct index {
	struct segment *seg; /* in the order they came */
	size_t n_seg, cap_seg;
	struct index_names known; /* added, or replaced by what was added */
	uint32_t packs;
	uint32_t *slot; /* hash of the visible segments' packs by digest: number + 1, 0 is empty */
	uint32_t slots; /* power of two, or 0 */
};

static inline const unsigned char *segment_id(const struct segment *s, uint32_t i)
{
	return s->entry + (size_t)i * INDEX_ENTRY_LEN;
}

/* Fields of an entry are in their ranges and within its pack. */
bool segment_entry_ok(const struct segment *s, const struct index_entry *e);

#endif
