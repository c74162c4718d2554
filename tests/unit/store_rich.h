/*
 * A memory store that has what not every place has: versions, digests, locks and a clock. It shows that filters hand those
 * operations on; what a real place does with them is tested at that place.
 */
#ifndef TESTS_UNIT_STORE_RICH_H
#define TESTS_UNIT_STORE_RICH_H

#include "store/store.h"

/* The objects of mem://name; versions and locks live as long as the handle. Claims to be distant. */
int store_rich_open(const char *name, struct store **ret, struct err *err);

#endif
