#include "cli/help.h"

#include <string.h>

#include "base/mem.h"

/* What may follow an option, as a line of the script that fills COMPREPLY. */
static void bash_values(FILE *out, const struct opt_spec *o)
{
	switch (o->kind) {
	case OPT_CHOICE:
		fputs("mapfile -t COMPREPLY < <(compgen -W '", out);
		for (const char *p = o->arg; *p; p++)
			fputc(*p == '|' ? ' ' : *p, out);
		fputs("' -- \"$cur\") ;;\n", out);
		break;
	case OPT_DIR:
		fputs("compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\") ;;\n", out);
		break;
	case OPT_FILE:
		fputs("compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n", out);
		break;
	default:
		fputs("COMPREPLY=() ;;\n", out);
	}
}

static bool seen_before(size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(opt_table[k].name, opt_table[i].name) == 0)
			return true;
	return false;
}

static void bash_options_of(FILE *out, const struct cmd_spec *cmd)
{
	for (size_t i = 0, n = 0; i < opt_table_len; i++)
		if (opt_table[i].kind != OPT_HIDDEN && spec_applies(&opt_table[i], cmd))
			fprintf(out, "%s--%s", n++ ? " " : "", opt_table[i].name);
}

/* Names that complete the first word (g NULL), or the second one of a group. */
static void bash_commands(FILE *out, const struct cmd_group *g)
{
	size_t n = 0;

	for (size_t i = 0; i < CMD_N; i++) {
		const char *name = cmd_table[i].name;
		if (!g && !strchr(name, ' '))
			fprintf(out, "%s%s", n++ ? " " : "", name);
		if (g && spec_in_group(&cmd_table[i], g))
			fprintf(out, "%s%s", n++ ? " " : "", name + strlen(g->name) + 1);
	}
	for (size_t i = 0; !g && i < group_table_len; i++)
		fprintf(out, " %s", group_table[i].name);
}

static void bash_word_loop(FILE *out)
{
	fputs("\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tcase \"${COMP_WORDS[i]}\" in\n", out);
	for (size_t i = 0; i < opt_table_len; i++)
		if (spec_takes_arg(&opt_table[i]) && !seen_before(i))
			fprintf(out, "\t\t--%s) ((i++)) ;;\n", opt_table[i].name);
	fputs("\t\t-*) ;;\n\t\t*) words+=(\"${COMP_WORDS[i]}\") ;;\n\t\tesac\n\tdone\n", out);
}

static void bash_script(FILE *out)
{
	fputs("_holdfast() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} i words=() cmd "
	      "opts\n"
	      "\tCOMPREPLY=()\n\tcase \"$prev\" in\n",
	        out);
	for (size_t i = 0; i < opt_table_len; i++) {
		if (!spec_takes_arg(&opt_table[i]) || seen_before(i))
			continue;
		fprintf(out, "\t--%s) ", opt_table[i].name);
		bash_values(out, &opt_table[i]);
	}
	fputs("\t*) prev= ;;\n\tesac\n\t[[ -n $prev ]] && return\n", out);
	bash_word_loop(out);
	fputs("\tcmd=${words[0]-}\n\tcase \"$cmd\" in\n", out);
	for (size_t i = 0; i < group_table_len; i++) {
		fprintf(out, "\t%s)\n\t\tif ((${#words[@]} == 1)) && [[ $cur != -* ]]; then\n", group_table[i].name);
		fputs("\t\t\tmapfile -t COMPREPLY < <(compgen -W '", out);
		bash_commands(out, &group_table[i]);
		fputs("' -- \"$cur\")\n\t\t\treturn\n\t\tfi\n\t\tcmd+=\" ${words[1]-}\" ;;\n", out);
	}
	fputs("\t'')\n\t\tif [[ $cur != -* ]]; then\n\t\t\tmapfile -t COMPREPLY < <(compgen -W '", out);
	bash_commands(out, NULL);
	fputs("' -- \"$cur\")\n\t\t\treturn\n\t\tfi ;;\n\tesac\n\tcase \"$cmd\" in\n", out);
	for (size_t i = 0; i < CMD_N; i++) {
		fprintf(out, "\t'%s') opts='", cmd_table[i].name);
		bash_options_of(out, &cmd_table[i]);
		fputs("' ;;\n", out);
	}
	fputs("\t*) opts='", out);
	for (size_t i = 0, n = 0; i < opt_table_len; i++)
		if (spec_is_global(&opt_table[i]))
			fprintf(out, "%s--%s", n++ ? " " : "", opt_table[i].name);
	fputs("' ;;\n\tesac\n\tif [[ $cur == -* ]]; then\n\t\tmapfile -t COMPREPLY < <(compgen -W \"$opts\" -- "
	      "\"$cur\")\n\telse\n"
	      "\t\tcompopt -o filenames 2>/dev/null\n\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n\tfi\n}\n"
	      "complete -F _holdfast holdfast\n",
	        out);
}

static void fish_quoted(FILE *out, const char *text)
{
	fputc('\'', out);
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('\'', out);
}

/* "-n CONDITION" so that a row counts only behind its command. */
static void fish_condition(FILE *out, const struct cmd_spec *cmd)
{
	const char *space = strchr(cmd->name, ' ');

	if (!space)
		fprintf(out, " -n '__fish_seen_subcommand_from %s'", cmd->name);
	else
		fprintf(out, " -n '__fish_seen_subcommand_from %.*s; and __fish_seen_subcommand_from %s'",
		        (int)(space - cmd->name), cmd->name, space + 1);
}

static void fish_option(FILE *out, const struct opt_spec *o, const struct cmd_spec *cmd)
{
	fputs("complete -c holdfast", out);
	if (cmd)
		fish_condition(out, cmd);
	fprintf(out, " -l %s", o->name);
	if (o->letter)
		fprintf(out, " -s %c", o->letter);
	if (o->kind == OPT_CHOICE) {
		fputs(" -x -a '", out);
		for (const char *p = o->arg; *p; p++)
			fputc(*p == '|' ? ' ' : *p, out);
		fputc('\'', out);
	} else if (o->kind == OPT_DIR || o->kind == OPT_FILE) {
		fputs(" -r", out);
	} else if (spec_takes_arg(o)) {
		fputs(" -x", out);
	}
	fputs(" -d ", out);
	fish_quoted(out, o->brief);
	fputc('\n', out);
}

static void fish_word(FILE *out, const char *condition, const char *word, const char *brief)
{
	fprintf(out, "complete -c holdfast -f -n '%s' -a %s -d ", condition, word);
	fish_quoted(out, brief);
	fputc('\n', out);
}

static void fish_script(FILE *out)
{
	for (size_t i = 0; i < CMD_N; i++)
		if (!strchr(cmd_table[i].name, ' '))
			fish_word(out, "__fish_use_subcommand", cmd_table[i].name, cmd_table[i].brief);
	for (size_t i = 0; i < group_table_len; i++) {
		const struct cmd_group *g = &group_table[i];
		fish_word(out, "__fish_use_subcommand", g->name, g->brief);
		char condition[96];
		snprintf(condition, sizeof condition, "__fish_seen_subcommand_from %s", g->name);
		for (size_t k = 0; k < CMD_N; k++)
			if (spec_in_group(&cmd_table[k], g))
				fish_word(out, condition, cmd_table[k].name + strlen(g->name) + 1, cmd_table[k].brief);
	}
	for (size_t i = 0; i < opt_table_len; i++) {
		if (opt_table[i].kind == OPT_HIDDEN)
			continue;
		if (spec_is_global(&opt_table[i])) {
			fish_option(out, &opt_table[i], NULL);
			continue;
		}
		for (size_t k = 0; k < CMD_N; k++)
			if (spec_applies(&opt_table[i], &cmd_table[k]))
				fish_option(out, &opt_table[i], &cmd_table[k]);
	}
}

bool complete_script(FILE *out, const char *shell)
{
	if (strcmp(shell, "bash") == 0) {
		bash_script(out);
	} else if (strcmp(shell, "fish") == 0) {
		fish_script(out);
	} else {
		return false;
	}
	return true;
}
