/* Layout of the files cache, shared by its reader and its writer. */
#ifndef BACKUP_FILES_CACHE_INT_H
#define BACKUP_FILES_CACHE_INT_H

#include "backup/files_cache.h"

enum cache_part { PART_ENTRIES, PART_CONTENT, PART_LISTS, CACHE_PARTS };
#define CACHE_MAGIC "HFFILES1"
#define CACHE_HEAD "files.head"
#define CACHE_PREFIX "files."
enum {
	CACHE_NAME_LEN = 48,    /* files.<part>.<16 hex digits> */
	CACHE_FIXED_LEN = 61,   /* of an entry, between path and link */
	CACHE_CONTENT_LEN = 36, /* id, u32 length and top bit: forced */
	CACHE_LIST_LEN = 52,    /* id, u32 length and top bit, u64 entries, u64 content */
	CACHE_PART_LEN = 48,    /* in the head: u64 tag, u64 size, SHA-256 */
	CACHE_HEAD_LEN = 8 + 4 + ID_LEN + 8 + CACHE_PARTS * CACHE_PART_LEN + SHA256_LEN,
};
#define CACHE_FORCED (1u << 31)

/* What the head says of a part. */
struct cache_part_ref {
	uint64_t tag, size;
	unsigned char sum[SHA256_LEN];
};
struct cache_in {
	int fd[CACHE_PARTS];
	struct cache_part_ref part[CACHE_PARTS];
	uint64_t entries;
};
char *cache_part_name(char out[CACHE_NAME_LEN], enum cache_part part, uint64_t tag);
/* Append a record as the entries part holds it; prev is the path before. */
void cache_encode(struct buf *out, const struct cached *e, const char *prev, size_t n_prev, const char *path,
        size_t n_path, const char *link, size_t n_link);

#endif
