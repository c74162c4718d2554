/*
 * Snapshots and fates: what a run signs, and how an attempt is decided.
 */
#ifndef REPO_SNAPSHOT_H
#define REPO_SNAPSHOT_H

#include "repo/signed.h"

struct stream_root {
	bool present; /* false: an empty stream */
	unsigned char id[ID_LEN];
	unsigned height;
	uint64_t length;           /* plaintext bytes */
	uint64_t entries, content; /* entries stream: entries and content bytes below */
};
#define NOTE_CODES 4
enum note_code { NOTE_CHANGED, NOTE_UNREADABLE, NOTE_VANISHED, NOTE_IGNORED };
const char *note_name(enum note_code c);

/* Sealed inside the signed object. */
struct snapshot_facts {
	int64_t start, end; /* wall ns */
	char run[33];
	bool is_stream; /* a command's output */
	uint64_t files, dirs, others, entries, bytes, added, skipped, notes[NOTE_CODES];
	struct stream_root root[STREAM_COUNT];
};
struct snapshot {
	char source[SOURCE_MAX + 1], lineage[NAME16];
	uint64_t seq;
	uint32_t epoch;
	bool has_previous, previous_committed, has_found;
	unsigned char previous[ID_LEN], found[ID_LEN], packs[ID_LEN], plan_digest[ID_LEN];
	uint64_t noted, size;
	struct snapshot_facts facts; /* after snapshot_open_facts */
	bool has_facts;
	unsigned char digest[ID_LEN]; /* of the whole object */
	struct buf sealed;
};
void snapshot_release(struct snapshot *s);
/* Sign: facts are sealed under the host's idx_key. Sets s->digest, sealed, source, epoch, noted and size (the last two of the
 * facts). Appends to out. */
int snapshot_encode(struct snapshot *s, const struct source_keys *k, struct buf *out, struct err *err) HF_NODISCARD;
/* Verify against the signers that cfg names for its source and epoch: ERR_CORRUPT when it is by none of them that is not revoked. */
int snapshot_decode(const struct cfg *c, const void *p, size_t n, struct snapshot *ret, struct err *err) HF_NODISCARD;
/* Opens s->sealed into s->facts. */
int snapshot_open_facts(struct snapshot *s, const unsigned char repo[REPO_ID_LEN], const struct secret *idx_key, struct err *err) HF_NODISCARD;

/* Sorted set of pack digests: add, then sort. */
struct pack_list {
	unsigned char (*digest)[ID_LEN];
	size_t n, cap;
};
void pack_list_release(struct pack_list *l);
void pack_list_add(struct pack_list *l, const unsigned char digest[ID_LEN]);
void pack_list_sort(struct pack_list *l); /* sorts and drops duplicates */
bool pack_list_has(const struct pack_list *l, const unsigned char digest[ID_LEN]); /* after sort */
/* SHA-256 of the list's text, a hex digest and a line feed each. */
void pack_list_digest(const struct pack_list *l, unsigned char out[ID_LEN]);

struct fate {
	bool committed;
	struct buf snapshot;        /* the signed object; empty when dead */
	char base[NAME16];          /* "" when the list is full */
	struct pack_list list;      /* full list, or what is added */
	struct pack_list removed;   /* relative to base */
};
void fate_release(struct fate *f);
/* Lists must be sorted. Appends to out. */
int fate_encode(const struct fate *f, struct buf *out, struct err *err) HF_NODISCARD;
/* ERR_FORMAT when malformed. The snapshot inside is not looked at. */
int fate_decode(const void *p, size_t n, struct fate *ret, struct err *err) HF_NODISCARD;
/* The full list: a copy when f's is full (base may be NULL), else base changed by f. ERR_CORRUPT when f removes what base lacks or
 * adds what it has. */
int fate_resolve(const struct fate *f, const struct pack_list *base, struct pack_list *ret, struct err *err) HF_NODISCARD;

#endif
