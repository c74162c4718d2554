/* Shape of a list chunk, shared by builder, cursor and check. */
#ifndef REPO_LIST_INT_H
#define REPO_LIST_INT_H

#include "repo/list.h"

enum {
	LIST_HEIGHT_MAX = 16, /* levels of lists */
	LIST_HEAD_LEN = 8,    /* stream, level, 0, count */
	LIST_ITEM_LEN = 40,   /* id and length; entries add two numbers and the path */
};

/*
 * Checks one list chunk whole against what its parent says of it (claim->path NULL: a root, whose first path nobody says), then
 * calls fn for each item in order until it returns non-zero, which is returned. ERR_CORRUPT.
 */
typedef int (*list_item_fn)(void *arg, const struct list_item *it, struct err *err);
int list_each(enum stream_id stream, unsigned level, const struct list_item *claim, const struct buf *text, list_item_fn fn,
        void *arg, struct err *err) HF_NODISCARD;

#endif
