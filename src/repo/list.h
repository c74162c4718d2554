/*
 * A stream is a tree of list chunks. The builder takes data chunks in order and hands finished list chunks to a sink that stores
 * them and returns their id; the cursor walks a tree again, forwards, from any place.
 */
#ifndef REPO_LIST_H
#define REPO_LIST_H

#include "repo/snapshot.h"

struct list_item {
	unsigned char id[ID_LEN];
	uint64_t length;
	uint64_t entries, content; /* entries stream only */
	const char *path;          /* first path below, entries stream only; n_path bytes */
	size_t n_path;
};
#define LIST_PATH_MAX 65535

struct list_builder;
/* put: store a list chunk (plaintext) and return its id. */
typedef int (*list_put_fn)(void *arg, const void *p, size_t n, unsigned char id[ID_LEN], struct err *err);
struct list_builder *list_builder_new(enum stream_id stream, list_put_fn put, void *arg);
void list_builder_free(struct list_builder *b);
/* ERR_FORMAT for lengths, entries or paths that the format does not allow; else what put returned. it is borrowed for the call. */
int list_builder_add(struct list_builder *b, const struct list_item *it, struct err *err) HF_NODISCARD;
/* Close all levels. root->present false when nothing was added. */
int list_builder_finish(struct list_builder *b, struct stream_root *root, struct err *err) HF_NODISCARD;

/* get: fetch a list chunk's plaintext into out, which is empty; length: bytes of the stream below it, as its parent says. */
typedef int (*list_get_fn)(void *arg, const unsigned char id[ID_LEN], uint64_t length, struct buf *out, struct err *err);
struct list_cursor;
struct list_cursor *list_cursor_new(enum stream_id stream, const struct stream_root *root, list_get_fn get, void *arg);
void list_cursor_free(struct list_cursor *c);
/*
 * Next data chunk, in order: 1 and *it (borrowed until the next call), 0 at the end, or -code. Every list is checked against what
 * its parent says of it (ERR_CORRUPT); after an error the next call goes on behind the broken subtree. A root that is a data chunk
 * has no path (""). Memory: one list chunk a level.
 */
int list_cursor_next(struct list_cursor *c, struct list_item *it, struct err *err) HF_NODISCARD;
/* Position before the data chunk that holds byte `off` of the stream; *ret_start: where that chunk starts. Behind the last byte: at
 * the end, *ret_start the stream's length. */
int list_cursor_seek(struct list_cursor *c, uint64_t off, uint64_t *ret_start, struct err *err) HF_NODISCARD;
/* Entries stream: position before the last data chunk whose first path is <= path in walk order (the first when all are behind);
 * sums of what lies before it. */
int list_cursor_seek_path(struct list_cursor *c, const char *path, uint64_t *ret_entries, uint64_t *ret_content, struct err *err) HF_NODISCARD;
/* Ids of the list chunks met so far may be wanted by a checker: called for each. */
void list_cursor_on_list(struct list_cursor *c, void (*fn)(void *arg, const unsigned char id[ID_LEN]), void *arg);

/* Compare two paths in walk order: per component, bytewise; a prefix comes first. */
int path_walk_cmp(const char *a, size_t na, const char *b, size_t nb);

#endif
