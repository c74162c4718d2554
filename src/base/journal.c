#include "base/journal.h"

#include <syslog.h>

void journal_open(const char *program)
{
	openlog(program, LOG_NDELAY | LOG_PID, LOG_DAEMON);
}

void journal_line(bool warning, const char *line)
{
	syslog(warning ? LOG_WARNING : LOG_INFO, "%s", line);
}
