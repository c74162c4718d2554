#include "cli/spec.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

const struct cmd_spec cmd_table[CMD_N] = {
#define GROUP(name, brief)
#define COMMAND(id, name, operands, min, max, function, flags, brief, text, example)                                   \
	{CMD_##id, name, operands, min, max, function, flags, brief, text, example},
#include "cli/commands.def"
#undef GROUP
#undef COMMAND
};

const struct cmd_group group_table[] = {
#define GROUP(name, brief) {name, brief},
#define COMMAND(...)
#include "cli/commands.def"
#undef GROUP
#undef COMMAND
};
const size_t group_table_len = ARRAY_LEN(group_table);

#define ALL (~UINT64_C(0))
#define C(id) (UINT64_C(1) << CMD_##id)

const struct opt_spec opt_table[] = {
#define OPTION(commands, name, letter, kind, arg, dflt, brief, text)                                                   \
	{commands, name, letter, OPT_##kind, arg, dflt, brief, text},
#define CONFLICT(...)
#include "cli/options.def"
#undef OPTION
#undef CONFLICT
};
const size_t opt_table_len = ARRAY_LEN(opt_table);

const struct opt_conflict conflict_table[] = {
#define OPTION(...)
#define CONFLICT(commands, a, b) {commands, a, b},
#include "cli/options.def"
#undef OPTION
#undef CONFLICT
};
const size_t conflict_table_len = ARRAY_LEN(conflict_table);

const struct cmd_spec *spec_command(const char *name)
{
	for (size_t i = 0; i < CMD_N; i++)
		if (strcmp(cmd_table[i].name, name) == 0)
			return &cmd_table[i];
	return NULL;
}

const struct cmd_group *spec_group(const char *name)
{
	for (size_t i = 0; i < group_table_len; i++)
		if (strcmp(group_table[i].name, name) == 0)
			return &group_table[i];
	return NULL;
}

bool spec_in_group(const struct cmd_spec *c, const struct cmd_group *g)
{
	size_t n = strlen(g->name);

	return strncmp(c->name, g->name, n) == 0 && c->name[n] == ' ';
}

bool spec_applies(const struct opt_spec *o, const struct cmd_spec *cmd)
{
	return o->commands & (UINT64_C(1) << cmd->id);
}

bool spec_is_global(const struct opt_spec *o)
{
	return o->commands == ALL;
}

const struct opt_spec *spec_option(const struct cmd_spec *cmd, const char *name)
{
	for (size_t i = 0; i < opt_table_len; i++)
		if (strcmp(opt_table[i].name, name) == 0 && (!cmd || spec_applies(&opt_table[i], cmd)))
			return &opt_table[i];
	return NULL;
}

const struct opt_spec *spec_letter(char letter)
{
	for (size_t i = 0; i < opt_table_len; i++)
		if (letter && opt_table[i].letter == letter)
			return &opt_table[i];
	return NULL;
}

bool spec_takes_arg(const struct opt_spec *o)
{
	return o->kind != OPT_FLAG && o->kind != OPT_HIDDEN;
}

bool spec_choice_ok(const char *choices, const char *value)
{
	size_t n = strlen(value);

	for (const char *p = choices; n > 0;) {
		size_t len = strcspn(p, "|");
		if (len == n && memcmp(p, value, n) == 0)
			return true;
		if (!p[len])
			break;
		p += len + 1;
	}
	return false;
}

/* Meanings of all codes with this status, joined; the three statuses without a code stand first. */
static void exit_meaning(int status, char *out, size_t n)
{
	static const struct {
		int status;
		const char *meaning;
	} plain[] = {
	        {0, "done and durable"},
	        {3, "done, but items of a source were skipped"},
	        {4, "a target was missed, all else passed"},
	};
	static const struct {
		int status;
		const char *meaning;
	} coded[] = {
#define ERR(name, num, status, retry, meaning) {status, meaning},
#include "base/err.def"
#undef ERR
	};
	size_t len = 0;

	out[0] = 0;
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		if (plain[i].status == status)
			len += (size_t)snprintf(out + len, n - len, "%s", plain[i].meaning);
	for (size_t i = 0; i < ARRAY_LEN(coded); i++) {
		if (coded[i].status != status)
			continue;
		len += (size_t)snprintf(out + len, n - len, "%s%s", len ? "; " : "", coded[i].meaning);
		BUG_ON(len >= n);
	}
}

size_t spec_exit_rows(struct exit_row rows[EXIT_ROWS])
{
	size_t n = 0;

	for (int status = 0; status < 128; status++) {
		struct exit_row row = {.status = status};
		exit_meaning(status, row.meaning, sizeof row.meaning);
		if (!row.meaning[0])
			continue;
		BUG_ON(n == EXIT_ROWS);
		rows[n++] = row;
	}
	return n;
}
