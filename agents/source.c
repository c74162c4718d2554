/*
 * holdfast-source [--root DIR]: backs up what this host describes in sources.d/, for a controller that speaks to standard input
 * and output. It holds the sources' keys and state, no credential of a site and no key that opens a copy.
 */
#include "remote/agent_main.h"
#include "remote/serve_source.h"

int main(int argc, char **argv)
{
	return agent_main(argc, argv, &(struct agent_role){.program = "holdfast-source", .serve = serve_source});
}
