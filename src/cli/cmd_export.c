#include "cli/cli.h"
#include "cli/render.h"

#include "base/mem.h"
#include "base/str.h"

static int check_output(const struct cli *c, const char *output, struct err *err)
{
	if (!output) {
		err_set(err, ERR_USAGE, "'export' needs --output FILE");
		return err_hint(err, "- is standard output");
	}
	if (!str_eq(output, "-"))
		return 0;
	if (c->json)
		return err_set(err, ERR_USAGE, "--json and --output - would both write to standard output");
	if (c->out_term.tty)
		return err_set(err, ERR_USAGE, "an archive is not written to a terminal");
	return 0;
}

int cmd_export(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = NULL;
	struct job_select sel;
	const char *output = args_text(c->args, "output");

	if (check_output(c, output, err) || run_open(&r, c, c->args->operand[0], err))
		return cli_fail(err);
	run_select(c, &sel);
	int status = job_export(&r.job, &sel, run_paths(c), output, &result, err);
	/* The archive has standard output for itself. */
	if (str_eq(output, "-")) {
		c->out = stderr;
		c->out_term = c->err_term;
	}
	status = run_finish(&r, status, result, render_result, err);
	c->out = stdout;
	return status;
}
