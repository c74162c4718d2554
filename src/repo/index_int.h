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

/* Name in a set of segment names. */
struct index_names {
	char **name; /* sorted */
	size_t n, cap;
};

struct segment {
	char *name;
	unsigned char *p; /* the plaintext */
	size_t n;
	void *map; /* the cache file that p and fan lie in, or NULL: both are on the heap */
	size_t n_map;
	bool hidden; /* replaced by a segment added later */
	uint32_t packs, entries, n_names, first_pack;
	const unsigned char *pack, *entry, *names;
	/* fan[b]: first entry whose id starts with at least the fan_bits bits of b; fan_len(fan_bits) of them. */
	uint32_t *fan;
	unsigned fan_bits;
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

/* First 8 bytes as a number that orders as the bytes do. */
static inline uint64_t id_number(const unsigned char *id)
{
	return __builtin_bswap64(get_u64(id));
}

static inline size_t fan_len(unsigned bits)
{
	return ((size_t)1 << bits) + 1;
}
/* Bits that give a bucket some eight entries: one or two lines of the processor's cache hold what a lookup compares. */
unsigned fan_bits_for(uint32_t entries);
/* One pass over the entries, which are in order. */
void fan_fill(const struct segment *s, unsigned bits, uint32_t *fan);

/* Lay out s->p by its sizes. Packs, entries and names are not read. */
int segment_parse(struct segment *s, struct err *err);
/* Every pack and entry: in its bounds, in order. */
int segment_check(const struct segment *s, struct err *err);
void segment_release(struct segment *s);
void index_names_release(struct index_names *s);
/* Fields of an entry are in their ranges and within its pack. */
bool segment_entry_ok(const struct segment *s, const struct index_entry *e);
/* The segments that are meant: an array of ix->n_seg, newly allocated. */
bool *index_choose(const struct index *ix, enum index_which which);
/* Append the names that a parsed segment replaces. */
int segment_replaced(const struct segment *s, struct index_names *ret, struct err *err);
void index_names_add(struct index_names *s, const char *name, size_t n);
void index_names_sort(struct index_names *s); /* and drop what is there twice */
/* Make a segment part of the index. On failure it stays the caller's. */
int index_take(struct index *ix, struct segment *s, struct index_names *replaced, struct err *err);

/* A merge as a stream: what follows the head goes to put, in order; the head is known at the end. */
typedef int (*index_put_fn)(void *arg, const void *p, size_t n, struct err *err);
int index_merge_to(const struct index *ix, enum index_which which, index_put_fn put, void *arg, unsigned char head[INDEX_HEAD_LEN], struct err *err);

#endif
