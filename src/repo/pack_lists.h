/*
 * Full pack lists of a site's committed attempts. The last few are kept, so that attempts asked for in order of their
 * seq cost one fate each, however long the row of relative lists is. One thread.
 */
#ifndef REPO_PACK_LISTS_H
#define REPO_PACK_LISTS_H

#include "repo/site.h"

struct pack_lists;
struct pack_lists *pack_lists_new(struct store *st, const char *source);
void pack_lists_free(struct pack_lists *l);

struct listed {
	char attempt[NAME16];
	struct pack_list list;
	unsigned depth;      /* relative lists behind it */
	struct buf snapshot; /* the signed object in the fate */
	uint64_t used;
};
/*
 * List of a committed attempt, whose digest must be `want`, what its verified snapshot says; borrowed until the next
 * call. ERR_CORRUPT when it is another list or depends on a dead attempt, ERR_FORMAT, ERR_MISSING, or the site's error.
 */
int pack_lists_get(struct pack_lists *l, const char *attempt, const unsigned char want[ID_LEN],
        const struct listed **ret, struct err *err) HF_NODISCARD;

#endif
