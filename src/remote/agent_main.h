/*
 * What the programs at other hosts have in common: the root, the connection on standard input and output, one job at a time whose log
 * lines go to who asked for it.
 */
#ifndef REMOTE_AGENT_MAIN_H
#define REMOTE_AGENT_MAIN_H

#include "job/job.h"
#include "wire/wire.h"

struct agent_role {
	const char *program;
	wire_job_fn serve; /* its arg is the struct root */
};
/* Options: --root DIR, --version. Serves until the other end leaves; returns the exit status. */
int agent_main(int argc, char **argv, const struct agent_role *role);

#endif
