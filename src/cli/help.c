#include "cli/help.h"

#include <string.h>

#include "base/mem.h"

#define OPTION_COLUMN 26

void help_wrap(FILE *out, const char *text, unsigned indent, unsigned at, unsigned width)
{
	while (*text) {
		if (*text == '\n') {
			fprintf(out, "\n\n");
			text += strspn(text, "\n");
			at = 0;
			continue;
		}
		size_t len = strcspn(text, " \n");
		if (at > indent && at + 1 + len > width) {
			fputc('\n', out);
			at = 0;
		}
		if (at > indent)
			at += (unsigned)fprintf(out, " ");
		if (at < indent)
			at += (unsigned)fprintf(out, "%*s", (int)(indent - at), "");
		at += (unsigned)fprintf(out, "%.*s", (int)len, text);
		text += len;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

void help_usage(FILE *out, const struct cmd_spec *cmd)
{
	fprintf(out, "usage: holdfast %s%s%s [options]\n", cmd->name, *cmd->operands ? " " : "", cmd->operands);
}

static void option_line(FILE *out, const struct opt_spec *o, unsigned width)
{
	char left[96], brief[256];
	int n = snprintf(left, sizeof left, "  --%s%s%s", o->name, spec_takes_arg(o) ? " " : "", o->arg);

	if (o->letter)
		n = snprintf(
		        left, sizeof left, "  -%c, --%s%s%s", o->letter, o->name, spec_takes_arg(o) ? " " : "", o->arg);
	fputs(left, out);
	if (n + 2 > OPTION_COLUMN) {
		fputc('\n', out);
		n = 0;
	}
	snprintf(brief, sizeof brief, "%s%s%s%s", o->brief, o->dflt ? " (default: " : "", o->dflt ? o->dflt : "",
	        o->dflt ? ")" : "");
	help_wrap(out, brief, OPTION_COLUMN, (unsigned)n, width);
}

static size_t print_options(FILE *out, const struct cmd_spec *cmd, bool global, unsigned width)
{
	size_t n = 0;

	for (size_t i = 0; i < opt_table_len; i++) {
		const struct opt_spec *o = &opt_table[i];
		if (o->kind == OPT_HIDDEN || spec_is_global(o) != global || (cmd && !spec_applies(o, cmd)))
			continue;
		if (n++ == 0)
			fprintf(out, "\n%s\n", global ? "Options of every command:" : "Options:");
		option_line(out, o, width);
	}
	return n;
}

static void command_line(FILE *out, const struct cmd_spec *c, unsigned width)
{
	int n = fprintf(out, "  %s", c->name);

	help_wrap(out, c->brief, 20, (unsigned)n, width);
}

void help_overall(FILE *out, unsigned width)
{
	width = MIN(width, 100u);
	fprintf(out, "usage: holdfast [--root DIR] COMMAND [PLAN] [options]\n\n");
	help_wrap(out,
	        "Keeps encrypted copies of a service's data at distant sites, rehearses its recovery against its plan, "
	        "and leaves signed evidence of what happened and how long it took.",
	        0, 0, width);
	fprintf(out, "\nCommands:\n");
	for (size_t i = 0; i < CMD_N; i++)
		command_line(out, &cmd_table[i], width);
	print_options(out, NULL, true, width);
	fputc('\n', out);
	help_wrap(out,
	        "PLAN is a path to a plan file, or the name of a plan in the root. See 'holdfast help COMMAND', or "
	        "holdfast(1) for exit statuses, files and the environment.",
	        0, 0, width);
}

void help_group(FILE *out, const struct cmd_group *g, unsigned width)
{
	fprintf(out, "usage: holdfast %s COMMAND [options]\n\n", g->name);
	for (size_t i = 0; i < CMD_N; i++)
		if (spec_in_group(&cmd_table[i], g))
			command_line(out, &cmd_table[i], MIN(width, 100u));
}

void help_command(FILE *out, const struct cmd_spec *cmd, unsigned width)
{
	width = MIN(width, 100u);
	help_usage(out, cmd);
	fputc('\n', out);
	help_wrap(out, cmd->text, 0, 0, width);
	print_options(out, cmd, false, width);
	print_options(out, cmd, true, width);
	fprintf(out, "\nExample:\n  %s\n", cmd->example);
}
