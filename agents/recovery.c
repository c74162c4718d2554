/*
 * holdfast-recovery [--root DIR]: restores and rehearses on the host that alone holds the opening key, the plans that this host lets
 * be carried out, for a controller that speaks to standard input and output.
 */
#include "remote/agent_main.h"
#include "remote/serve_recovery.h"

int main(int argc, char **argv)
{
	return agent_main(argc, argv, &(struct agent_role){.program = "holdfast-recovery", .serve = serve_recovery});
}
