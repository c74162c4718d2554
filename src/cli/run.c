#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

static void show_progress(void *arg, const struct job_progress *p)
{
	struct run *r = arg;

	progress_show(&r->c->progress, p);
}

/* Warnings of a plan that loads are plan check's to show. */
static int load_plan(struct run *r, const char *operand, struct err *err)
{
	struct plan_diags diags = PLAN_DIAGS_INIT;
	struct buf text = BUF_INIT(4u << 20);
	int rc = cli_plan_path(r->c, operand, &r->plan_path, err);

	if (rc)
		return rc;
	rc = plan_load_file(r->plan_path, &r->plan, &diags, err);
	if (rc && diags.n && plan_diags_print(&diags, &text, NULL) == 0)
		fwrite(buf_str(&text), 1, text.len, stderr);
	buf_release(&text);
	plan_diags_release(&diags);
	if (rc)
		return err_hint(err, "see: holdfast plan check %s", operand);
	return 0;
}

int run_open(struct run *r, struct cli *c, const char *operand, struct err *err)
{
	*r = (struct run){.c = c};
	if (operand) {
		int rc = load_plan(r, operand, err);
		if (rc)
			return rc;
	}
	r->job = (struct job){
	        .root = &c->root,
	        .plan = r->plan,
	        .plan_path = r->plan_path,
	        .actor = c->actor,
	        .memory_cap = args_size(c->args, "memory"),
	        .workers = args_count(c->args, "workers"),
	        .cancel = c->cancel,
	        .progress = show_progress,
	        .item = run_item,
	        .arg = r,
	};
	return 0;
}

void run_item(void *arg, const json_t *item)
{
	struct run *r = arg;
	struct cli *c = r->c;

	progress_clear(&c->progress);
	if (c->json) {
		fputs(r->n_items ? ",\n" : "[\n", c->out);
		json_dumpf(item, c->out, JSON_COMPACT | (c->out_term.tty ? JSON_ENSURE_ASCII : 0));
		c->printed = true;
	} else if (r->line) {
		r->line(r, item);
	}
	r->n_items++;
	/* Whoever read us is gone: the rest of the listing is of no use. */
	if (ferror(c->out) && c->cancel)
		atomic_store(c->cancel, true);
}

static void finish_listing(struct run *r, int status, const struct err *err)
{
	struct cli *c = r->c;

	if (!c->json) {
		if (r->finish)
			r->finish(r, NULL);
		table_print(&r->table, c->out, 0);
		return;
	}
	/* A listing that failed before its first item must not look like an empty one. */
	if (!r->n_items && err->code && status)
		return;
	fputs(r->n_items ? "\n]\n" : "[]\n", c->out);
	c->printed = true;
}

/* These two have a result that says what, and no error. */
static void warn_of_status(int status)
{
	struct exit_row rows[EXIT_ROWS];
	size_t n = spec_exit_rows(rows);

	for (size_t i = 0; i < n; i++)
		if (rows[i].status == status && (status == 3 || status == 4))
			log_msg(LOG_WARN, "%s (exit status %d)", rows[i].meaning, status);
}

int run_finish(struct run *r, int status, const json_t *result, run_render_fn render, struct err *err)
{
	struct cli *c = r->c;

	progress_clear(&c->progress);
	if (c->args->cmd->flags & CMD_LISTING)
		finish_listing(r, status, err);
	else if (c->json && result)
		cli_print_json(c, result);
	else if (!c->json && result && !(c->quiet && status == 0))
		render(c, result);
	fflush(c->out); /* what was found stands before what is said about it */
	if (!status)
		err->code = ERR_OK; /* what was met and mended on the way is in the result */
	else if (!err->code)
		warn_of_status(status);
	return status;
}

void run_release(struct run *r)
{
	table_release(&r->table);
	plan_free(r->plan);
	free(r->plan_path);
	*r = (struct run){0};
}

void run_select(const struct cli *c, struct job_select *ret)
{
	*ret = (struct job_select){
	        .source = args_text(c->args, "source"),
	        .snapshot = args_text(c->args, "snapshot"),
	        .site = args_text(c->args, "site"),
	};
}

const char *const *run_paths(const struct cli *c)
{
	return c->args->n_operands > 1 ? c->args->operand + 1 : NULL;
}
