#include "cli/cli.h"
#include "cli/render.h"

#include "base/mem.h"

int cmd_verify(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = NULL;
	struct job_verify_opts opts = {.data = args_flag(c->args, "data"),
	        .repair = args_flag(c->args, "repair"),
	        .at_site = args_flag(c->args, "at-site"),
	        .site = args_text(c->args, "site")};

	if (run_open(&r, c, c->args->operand[0], err))
		return cli_fail(err);
	int status = job_verify(&r.job, &opts, &result, err);
	return run_finish(&r, status, result, render_result, err);
}
