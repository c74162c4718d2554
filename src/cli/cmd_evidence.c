#include "cli/cli.h"
#include "cli/render.h"

#include "base/err.h"
#include "base/mem.h"

static const char *optional_plan(const struct cli *c)
{
	return c->args->n_operands ? c->args->operand[0] : NULL;
}

static void record_row(struct run *r, const json_t *item)
{
	const json_t *body = json_object_get(item, "body");
	char seq[RENDER_TEXT], time[RENDER_TEXT];
	const char *outcome = render_str(body, "outcome"), *plan = render_str(body, "plan");

	if (!plan)
		plan = render_str(json_object_get(body, "slot"), "plan");
	table_row(&r->table, render_count(seq, item, "seq"), render_time(time, render_str(item, "time")),
	        render_str(item, "type"), plan ? plan : "", outcome ? outcome : "", render_str(item, "actor"));
}

int cmd_evidence_log(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = NULL;

	if (run_open(&r, c, optional_plan(c), err))
		return cli_fail(err);
	r.line = record_row;
	table_begin(&r.table, 6, "SEQ>", "TIME (UTC)", "TYPE", "PLAN", "OUTCOME", "ACTOR");
	int status = job_evidence_log(&r.job, args_text(c->args, "from"), &result, err);
	return run_finish(&r, status, result, NULL, err);
}

int cmd_evidence_verify(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = NULL;
	const char *site_dir = args_text(c->args, "site-dir");

	if (site_dir && c->args->n_operands) {
		err_set(err, ERR_USAGE, "--site-dir verifies one copy alone: leave PLAN out");
		return cli_fail(err);
	}
	if (run_open(&r, c, optional_plan(c), err))
		return cli_fail(err);
	int status = job_evidence_verify(&r.job, site_dir, &result, err);
	return run_finish(&r, status, result, render_tree_result, err);
}
