#include "cli/cli.h"
#include "cli/render.h"

#include "base/mem.h"

int cmd_drill(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = NULL;
	struct job_drill_opts opts = {
	        .scenario = args_text(c->args, "scenario"),
	        .negative_only = args_flag(c->args, "negative-only"),
	        .no_negative = args_flag(c->args, "no-negative"),
	        .keep_work = args_flag(c->args, "keep-work"),
	        .site = args_text(c->args, "site"),
	        .deviation = args_text(c->args, "deviation"),
	};

	if (run_open(&r, c, c->args->operand[0], err))
		return cli_fail(err);
	int status = job_drill(&r.job, &opts, &result, err);
	return run_finish(&r, status, result, render_drill, err);
}
