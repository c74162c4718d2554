/*
 * A walk that runs ahead of its user by some thousand entries, in a thread of its own: names are read and looked at while
 * the user works on what was found before. Order, entries and notes are those of walk_run.
 */
#ifndef BACKUP_WALK_AHEAD_H
#define BACKUP_WALK_AHEAD_H

#include "backup/walk.h"

/*
 * As walk_run, and the callbacks come from the caller's thread; but an entry's `dir` is -1 (its directory may be closed by
 * then: beneath_find reaches it), and what it tells is as old as the walk is ahead. Memory: some 2 MiB, more where
 * paths are long. ERR_IO when no thread can be started.
 */
int walk_ahead(const struct walk_opts *o, struct err *err) HF_NODISCARD;

#endif
