/* A set of paths, kept as 8 bytes of their SHA-256 each: enough to tell millions apart, not to name them. */
#ifndef RESTORE_PATH_SET_H
#define RESTORE_PATH_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct path_set {
	uint64_t *slot; /* 0: free */
	size_t n, cap;
};
/* False when it was there already. A zeroed set is empty. */
bool path_set_add(struct path_set *s, const char *path, size_t n);
bool path_set_has(const struct path_set *s, const char *path, size_t n);
void path_set_release(struct path_set *s);

#endif
