/*
 * Reach entries again by their path inside the copy, beneath the roots of a walk, following no symbolic link.
 * Neighbours in walk order share the directory that is kept open.
 */
#ifndef BACKUP_BENEATH_H
#define BACKUP_BENEATH_H

#include <stddef.h>

struct beneath;
struct beneath *beneath_new(char *const *roots, size_t n_roots); /* borrowed */
void beneath_free(struct beneath *b);
/*
 * The directory that holds path (n bytes, NUL-terminated) and the name in it. Both stay the callee's until the next
 * call. -1 with errno; ENOENT for a path under no root.
 */
int beneath_find(struct beneath *b, const char *path, size_t n, const char **ret_name);

#endif
