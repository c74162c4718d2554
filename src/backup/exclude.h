/*
 * Exclusion patterns in the manner of gitignore(5): the last pattern that matches wins, `!` takes an exclusion back, a
 * trailing slash means directories only, a slash elsewhere anchors at the root of the source, `**` stands for any
 * number of components, and a pattern without a slash matches a name at any depth. Lines that are empty or begin with
 * `#` say nothing. What lies below an excluded directory is never asked for, so it cannot be taken back.
 */
#ifndef BACKUP_EXCLUDE_H
#define BACKUP_EXCLUDE_H

#include "base/err.h"

struct exclude;
struct exclude *exclude_new(void);
void exclude_free(struct exclude *x);
void exclude_add(struct exclude *x, const char *pattern);
/* One pattern a line. ERR_MISSING when the file is not there, ERR_NOMEM above 16 MiB. */
int exclude_add_file(struct exclude *x, const char *path, struct err *err) HF_NODISCARD;
/* path: relative to the root of the source, not empty. */
bool exclude_match(const struct exclude *x, const char *path, bool is_dir);

#endif
