#include "cli/cli.h"
#include "cli/help.h"
#include "cli/render.h"

#include <string.h>

#include "base/mem.h"
#include "base/version.h"

/* The command that the operands name; *group for the first word of several. NULL without an error: the program. */
static int named_command(struct cli *c, const struct cmd_spec **cmd, const struct cmd_group **group, struct err *err)
{
	const char *const *word = (const char *const *)c->args->operand;
	char full[64];

	*cmd = NULL;
	*group = NULL;
	if (c->args->n_operands == 0)
		return 0;
	snprintf(full, sizeof full, "%s%s%s", word[0], c->args->n_operands > 1 ? " " : "",
	        c->args->n_operands > 1 ? word[1] : "");
	*cmd = spec_command(full);
	if (!*cmd && c->args->n_operands == 1)
		*group = spec_group(full);
	if (*cmd || *group)
		return 0;
	err_set(err, ERR_USAGE, "unknown command '%s'", full);
	return err_hint(err, "see: holdfast help");
}

static void print_pages(struct cli *c)
{
	char name[64];

	man_name(NULL, name, sizeof name);
	fprintf(c->out, "%s\n", name);
	for (size_t i = 0; i < CMD_N; i++) {
		man_name(&cmd_table[i], name, sizeof name);
		fprintf(c->out, "%s %s\n", name, cmd_table[i].name);
	}
}

static bool print_generated(struct cli *c, const struct cmd_spec *cmd)
{
	struct buf text = BUF_INIT(4u << 20);

	if (args_flag(c->args, "man")) {
		man_page(c->out, cmd);
	} else if (args_flag(c->args, "pages")) {
		print_pages(c);
	} else if (args_flag(c->args, "plan-schema")) {
		CLEAN(json_release) json_t *schema = plan_schema_json();
		json_dumpf(schema, c->out, JSON_INDENT(2));
		fputc('\n', c->out);
	} else if (args_flag(c->args, "plan-reference")) {
		plan_reference_md(&text);
		fwrite(buf_str(&text), 1, text.len, c->out);
		buf_release(&text);
	} else {
		return false;
	}
	return true;
}

int cmd_help(struct cli *c, struct err *err)
{
	const struct cmd_spec *cmd;
	const struct cmd_group *group;
	unsigned width = term_width(&c->out_term);

	if (named_command(c, &cmd, &group, err))
		return cli_fail(err);
	if (print_generated(c, cmd))
		return 0;
	if (cmd)
		help_command(c->out, cmd, width);
	else if (group)
		help_group(c->out, group, width);
	else
		help_overall(c->out, width);
	return 0;
}

int cmd_version(struct cli *c, struct err *err)
{
	(void)err;
	if (!c->json) {
		fprintf(c->out, "holdfast %s\n", HOLDFAST_VERSION);
		return 0;
	}
	CLEAN(json_release) json_t *j = json_pack("{s:s, s:i}", "version", HOLDFAST_VERSION, "repository_format", 1);
	cli_print_json(c, j);
	return 0;
}

int cmd_completion(struct cli *c, struct err *err)
{
	if (complete_script(c->out, c->args->operand[0]))
		return 0;
	err_set(err, ERR_USAGE, "there is no completion for '%s'", c->args->operand[0]);
	err_hint(err, "one of bash, fish");
	return cli_fail(err);
}
