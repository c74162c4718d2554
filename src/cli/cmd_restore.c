#include "cli/cli.h"
#include "cli/render.h"

#include "base/mem.h"
#include "base/str.h"

int cmd_restore(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = NULL;
	struct job_select sel;
	struct job_restore_opts opts = {
	        .host = args_text(c->args, "host"),
	        .to = args_text(c->args, "to"),
	        .paths = run_paths(c),
	        .full_metadata = str_eq(args_text(c->args, "metadata"), "full"),
	        .overwrite = args_flag(c->args, "overwrite"),
	        .strip = args_count(c->args, "strip"),
	        .verify = !args_flag(c->args, "no-verify"),
	};

	if (!opts.to) {
		err_set(err, ERR_USAGE, "'restore' needs --to DIR");
		err_hint(err, "the directory is made when it is missing, and must be empty");
		return cli_fail(err);
	}
	if (run_open(&r, c, c->args->operand[0], err))
		return cli_fail(err);
	run_select(c, &sel);
	int status = job_restore(&r.job, &sel, &opts, &result, err);
	return run_finish(&r, status, result, render_result, err);
}
