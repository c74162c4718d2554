/* Shape of a list chunk, shared by builder and cursor. */
#ifndef REPO_LIST_INT_H
#define REPO_LIST_INT_H

enum {
	LIST_HEIGHT_MAX = 16, /* levels of lists */
	LIST_HEAD_LEN = 8,    /* stream, level, 0, count */
	LIST_ITEM_LEN = 40,   /* id and length; entries add two numbers and the path */
};

#endif
