#include "cli/cli.h"
#include "cli/render.h"

#include "base/mem.h"

int cmd_init(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = NULL;

	if (run_open(&r, c, c->args->operand[0], err))
		return cli_fail(err);
	int status = job_init(&r.job, &result, err);
	return run_finish(&r, status, result, render_tree_result, err);
}
