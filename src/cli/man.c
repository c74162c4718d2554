#include "cli/help.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "base/version.h"

#define MAN_WIDTH 76

void man_name(const struct cmd_spec *cmd, char *out, size_t n)
{
	snprintf(out, n, "holdfast%s%s", cmd ? "-" : "", cmd ? cmd->name : "");
	for (char *p = out; *p; p++)
		if (*p == ' ')
			*p = '-';
}

/* A word in running text: backslashes escaped, options kept together with their hyphens. */
static void roff_word(FILE *out, const char *p, size_t n)
{
	bool option = n > 2 && p[0] == '-' && p[1] == '-';

	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\\')
			fputs("\\e", out);
		else if (p[i] == '-' && option)
			fputs("\\-", out);
		else
			fputc(p[i], out);
	}
}

/* Paragraphs as mdoc text lines; a sentence ends its line, as the formatter spaces them by that. */
static void roff_text(FILE *out, const char *text)
{
	size_t at = 0;

	while (*text) {
		if (*text == '\n') {
			fputs(at ? "\n.Pp\n" : ".Pp\n", out);
			at = 0;
			text += strspn(text, "\n");
			continue;
		}
		size_t len = strcspn(text, " \n");
		if (at && at + 1 + len > MAN_WIDTH) {
			fputc('\n', out);
			at = 0;
		}
		if (at)
			at += (size_t)fprintf(out, " ");
		else if (*text == '.' || *text == '\'')
			fputs("\\&", out);
		roff_word(out, text, len);
		at += len;
		bool sentence = text[len - 1] == '.';
		text += len;
		text += strspn(text, " ");
		if (sentence && *text && *text != '\n') {
			fputc('\n', out);
			at = 0;
		}
	}
	if (at)
		fputc('\n', out);
}

static void roff_line(FILE *out, const char *macro, const char *text)
{
	fprintf(out, "%s ", macro);
	roff_word(out, text, strlen(text));
	fputc('\n', out);
}

static void man_option(FILE *out, const struct opt_spec *o)
{
	fprintf(out, ".It ");
	if (o->letter)
		fprintf(out, "Fl %c , ", o->letter);
	fprintf(out, "Fl \\-%s", o->name);
	if (o->kind == OPT_CHOICE) {
		fputs(" Cm ", out);
		for (const char *p = o->arg; *p; p++)
			fprintf(out, *p == '|' ? " | " : "%c", *p);
	} else if (spec_takes_arg(o)) {
		fprintf(out, " Ar %s", o->arg);
	}
	fputc('\n', out);
	char brief[256];
	snprintf(brief, sizeof brief, "%c%s.", toupper((unsigned char)o->brief[0]), o->brief + 1);
	roff_text(out, brief);
	roff_text(out, o->text);
	if (o->dflt)
		fprintf(out, "The default is\n.Cm %s .\n", o->dflt);
}

static void man_options(FILE *out, const struct cmd_spec *cmd, bool global)
{
	size_t n = 0;

	for (size_t i = 0; i < opt_table_len; i++) {
		const struct opt_spec *o = &opt_table[i];
		if (o->kind == OPT_HIDDEN || spec_is_global(o) != global || (cmd && !spec_applies(o, cmd)))
			continue;
		if (n++ == 0)
			fputs(".Bl -tag -width Ds\n", out);
		man_option(out, o);
	}
	if (n)
		fputs(".El\n", out);
}

static void man_head(FILE *out, const struct cmd_spec *cmd, const char *brief)
{
	char name[64];

	man_name(cmd, name, sizeof name);
	fprintf(out, ".Dd %s\n.Dt ", HOLDFAST_DATE);
	for (const char *p = name; *p; p++)
		fputc(toupper((unsigned char)*p), out);
	fprintf(out, " 1\n.Os\n.Sh NAME\n.Nm %s\n", name);
	roff_line(out, ".Nd", brief);
}

static void man_command(FILE *out, const struct cmd_spec *cmd)
{
	man_head(out, cmd, cmd->brief);
	fprintf(out, ".Sh SYNOPSIS\n.Nm holdfast\n.Cm %s\n", cmd->name);
	for (const char *p = cmd->operands; *p;) {
		size_t len = strcspn(p, " ");
		bool optional = *p == '[', many = memmem(p, len, "...", 3);
		const char *word = p + optional;
		fprintf(out, "%s %.*s%s\n", optional ? ".Op Ar" : ".Ar", (int)strcspn(word, ".] "), word,
		        many ? " ..." : "");
		p += len + (p[len] == ' ');
	}
	fputs(".Op Ar options\n.Sh DESCRIPTION\n", out);
	roff_text(out, cmd->text);
	if (strstr(cmd->operands, "PLAN"))
		fputs(".Pp\n.Ar PLAN\nis a path to a plan file, or the name of a plan in the root.\n", out);
	fputs(".Pp\nThe options are:\n", out);
	man_options(out, cmd, false);
	fputs(".Pp\nOptions of every command, such as\n.Fl \\-root\nand\n.Fl \\-json ,\nare explained in\n.Xr holdfast "
	      "1 .\n",
	        out);
	fputs(".Sh EXIT STATUS\nSee\n.Xr holdfast 1 .\n.Sh EXAMPLES\n", out);
	fprintf(out, ".Dl %s\n", cmd->example);
	fputs(".Sh SEE ALSO\n.Xr holdfast 1\n", out);
}

static void man_exit_status(FILE *out)
{
	struct exit_row rows[EXIT_ROWS];
	size_t n = spec_exit_rows(rows);

	fputs(".Sh EXIT STATUS\n.Bl -tag -width Ds\n", out);
	for (size_t i = 0; i < n; i++) {
		fprintf(out, ".It %d\n", rows[i].status);
		roff_text(out, rows[i].meaning);
	}
	fputs(".El\n.Pp\nWhere several apply at once, the first of 10, 6, 9, 1, 8, 3, 4 is given.\n"
	      "The status is never 0 when something was skipped.\n",
	        out);
}

static void man_environment(FILE *out)
{
	static const struct {
		const char *name, *text;
	} row[] = {
	        {"CREDENTIALS_DIRECTORY", "Where a plan's secrets named systemd-credential:NAME are; others are named file:/path or env:NAME."},
	        {"HOLDFAST_ROOT", "The root directory, where --root does not name one."},
	        {"HOME", "Where the XDG directories are when they are not set."},
	        {"LC_ALL , LC_CTYPE , LANG", "Whether the terminal takes UTF-8."},
	        {"NO_COLOR", "When it is set and not empty, no colours are used."},
	        {"TERM", "On a dumb terminal no colours are used."},
	        {"XDG_CONFIG_HOME , XDG_STATE_HOME",
	                "Where users other than root keep plans and keys, and all the rest."},
	};

	fputs(".Sh ENVIRONMENT\n.Bl -tag -width Ds\n", out);
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		fprintf(out, ".It Ev %s\n", row[i].name);
		roff_text(out, row[i].text);
	}
	fputs(".El\n", out);
}

static void man_files(FILE *out)
{
	static const struct {
		const char *name, *text;
	} row[] = {
	        {"plans/NAME.yaml", "Plans that are known by name."},
	        {"keys/", "The root of trust, signing keys and, until it is taken off-line, the opening key."},
	        {"state/", "Heads of the sources, and caches that may be deleted at any time."},
	        {"results/PLAN/", "One JSON file a run, and latest.json."},
	        {"metrics/holdfast.prom", "The newest results for Prometheus."},
	        {"log/", "The evidence log."},
	        {"work/", "Work directories of drills."},
	};

	fputs(".Sh FILES\nBeneath the root:\n.Pp\n.Bl -tag -width Ds -compact\n", out);
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		fprintf(out, ".It Pa %s\n", row[i].name);
		roff_text(out, row[i].text);
	}
	fputs(".El\n.Pp\nWithout a root, the superuser's plans and keys are in\n.Pa /etc/holdfast\nand the rest in\n"
	      ".Pa /var/lib/holdfast ;\nother users' are in\n.Pa $XDG_CONFIG_HOME/holdfast\nand\n"
	      ".Pa $XDG_STATE_HOME/holdfast .\n",
	        out);
}

static void man_overall(FILE *out)
{
	man_head(out, NULL, "keep a service recoverable and prove it");
	fputs(".Sh SYNOPSIS\n.Nm\n.Op Fl \\-root Ar DIR\n.Ar COMMAND\n.Op Ar PLAN\n.Op Ar options\n.Sh "
	      "DESCRIPTION\n.Nm\n",
	        out);
	roff_text(out,
	        "reads continuity plans, keeps encrypted copies of a service's data at distant sites, rehearses its "
	        "recovery, and leaves signed evidence of what happened, how long it took, and what the plan had "
	        "promised.");
	fputs(".Pp\nThe commands are:\n.Bl -tag -width Ds\n", out);
	for (size_t i = 0; i < CMD_N; i++) {
		char name[64];
		man_name(&cmd_table[i], name, sizeof name);
		fprintf(out, ".It Xr %s 1\n", name);
		roff_text(out, cmd_table[i].brief);
	}
	fputs(".El\n.Pp\nOn other machines run\n.Xr holdfast-source 1 ,\n.Xr holdfast-recovery 1\nand\n.Xr holdfast-vault 1 .\n.Pp\n", out);
	roff_text(out,
	        "PLAN is a path to a plan file, or the name of a plan in the root. Options may stand before and behind "
	        "the command and its operands, as --name value or --name=value, and end at --.");
	fputs(".Pp\nThe options of every command are:\n", out);
	man_options(out, NULL, true);
	man_environment(out);
	man_files(out);
	man_exit_status(out);
	fputs(".Sh EXAMPLES\nA plan is made ready, copied, proven and rehearsed:\n.Bd -literal -offset indent\n"
	      "holdfast init plan.yaml\nholdfast backup plan.yaml\nholdfast verify plan.yaml --data\nholdfast drill "
	      "plan.yaml\n"
	      ".Ed\n.Sh SEE ALSO\n",
	        out);
	const char *names[CMD_N];
	for (size_t i = 0; i < CMD_N; i++) { /* by name, as the section wants them */
		size_t k = i;
		for (; k > 0 && strcmp(names[k - 1], cmd_table[i].name) > 0; k--)
			names[k] = names[k - 1];
		names[k] = cmd_table[i].name;
	}
	for (size_t i = 0; i < CMD_N; i++) {
		char page[64];
		man_name(spec_command(names[i]), page, sizeof page);
		fprintf(out, ".Xr %s 1%s\n", page, i + 1 < CMD_N ? " ," : "");
	}
}

void man_page(FILE *out, const struct cmd_spec *cmd)
{
	if (cmd)
		man_command(out, cmd);
	else
		man_overall(out);
}
