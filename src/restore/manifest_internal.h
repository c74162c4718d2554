/* Inside of the manifest check: manifest.c (entries), manifest_content.c (chunks), manifest_extra.c (names too many).
 */
#ifndef RESTORE_MANIFEST_INTERNAL_H
#define RESTORE_MANIFEST_INTERNAL_H

#include "restore/path_set.h"
#include "restore/restore_internal.h"
#include "restore/target.h"

/* Bytes of a restored file in the chunk being put together. */
struct piece {
	char *path;
	uint32_t at, n;
};
/* The chunk of the content stream that is being put together from restored files. */
struct current {
	bool open;
	unsigned char id[ID_LEN];
	uint64_t start, length;
	uint64_t covered;
	struct piece *piece;
	size_t n, cap;
};
struct manifest {
	struct reader *r;
	const struct snapshot *snap;
	const struct restore_opts *o;
	struct manifest_result *ret;
	struct target *t; /* only read */
	struct selection sel;
	struct path_map map;
	struct path_set expected, wrong;
	struct late_links late;
	struct list_cursor *cuts;
	struct pack_coder *coder;
	unsigned char *chunk; /* CHUNK_PLAIN_MAX */
	uint64_t next;        /* where the cursor's next chunk starts */
	struct current cur;
};

/* Count an entry as wrong, once. */
void manifest_wrong(struct manifest *m, const char *path, const char *fmt, ...) HF_PRINTF(3, 4);

/* The content that belongs at off of the stream, from the file open at fd. Errors are the copy's. */
int manifest_content(struct manifest *m, const char *path, int fd, const struct pax_entry *e, uint64_t off,
        struct err *err) HF_NODISCARD;
/* Prove what was gathered last. */
int manifest_content_end(struct manifest *m, struct err *err) HF_NODISCARD;
void manifest_content_release(struct manifest *m);

/* Names beneath the target, or beneath the selected prefixes, that no entry accounts for. */
int manifest_extra(struct manifest *m, struct err *err) HF_NODISCARD;

#endif
