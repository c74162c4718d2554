/*
 * The system's log, for programs that nobody watches. Its header and base/log.h share names, so it is used through here.
 */
#ifndef BASE_JOURNAL_H
#define BASE_JOURNAL_H

#include <stdbool.h>

/* Connect at once: a program may give up the network afterwards. `program` is borrowed for good. */
void journal_open(const char *program);
void journal_line(bool warning, const char *line);

#endif
