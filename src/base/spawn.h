/*
 * Starting a child: the part of proc that happens around fork. proc uses it, and ssh, whose streams go both
 * ways.
 */
#ifndef BASE_SPAWN_H
#define BASE_SPAWN_H

#include "base/proc.h"

/*
 * Start argv with the three descriptors as its standard ones (borrowed), in a process group of its own. Returns after
 * exec succeeded; ret_pid is then to be reaped by the caller. Errors name argv[0].
 */
int spawn(const char *const *argv, const struct proc_opts *o, const int std[3], pid_t *ret_pid, struct err *err)
        HF_NODISCARD;

#endif
