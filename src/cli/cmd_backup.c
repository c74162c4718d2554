#include "cli/cli.h"
#include "cli/render.h"

#include "base/mem.h"

int cmd_backup(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = NULL;
	CLEAN(free_ptr) const char **sources = args_list(c->args, "source");
	struct job_backup_opts opts = {.sources = sources,
	        .full_read = args_flag(c->args, "full-read"),
	        .patience_ms = args_duration(c->args, "patience"),
	        .no_replicate = args_flag(c->args, "no-replicate")};

	if (run_open(&r, c, c->args->operand[0], err))
		return cli_fail(err);
	r.job.dry_run = args_flag(c->args, "dry-run");
	int status = job_backup(&r.job, &opts, &result, err);
	return run_finish(&r, status, result, render_result, err);
}
