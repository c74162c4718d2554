#include "cli/cli.h"
#include "cli/render.h"

#include "base/mem.h"
#include "base/str.h"

static void change_line(struct run *r, const json_t *item)
{
	static const struct {
		const char *change;
		char letter;
		enum term_colour colour;
	} row[] = {{"added", '+', TERM_GREEN}, {"removed", '-', TERM_RED}, {"modified", 'M', TERM_YELLOW},
	        {"metadata", 'm', TERM_PLAIN}};
	const char *change = render_str(item, "change"), *path = render_str(item, "path");
	CLEAN(free_ptr) char *safe = term_safe(path ? path : "?");
	const struct term *t = &r->c->out_term;

	for (size_t i = 0; i < ARRAY_LEN(row); i++)
		if (str_eq(row[i].change, change))
			fprintf(r->c->out, "%s%c %s%s\n", term_on(t, row[i].colour), row[i].letter, safe,
			        term_off(t, row[i].colour));
}

int cmd_diff(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = NULL;
	struct job_select sel;
	const char *other = args_text(c->args, "against");

	if (!other) {
		err_set(err, ERR_USAGE, "'diff' needs --against SNAPSHOT");
		err_hint(err, "see: holdfast snapshots %s", c->args->operand[0]);
		return cli_fail(err);
	}
	if (run_open(&r, c, c->args->operand[0], err))
		return cli_fail(err);
	r.line = change_line;
	run_select(c, &sel);
	int status = job_diff(&r.job, &sel, other, &result, err);
	return run_finish(&r, status, result, NULL, err);
}
