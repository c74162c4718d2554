/*
 * The tables of commands.def and options.def as data: what the parser, the help, the manual and the completion read.
 *
 * All of it is constant. A command is known by its name, of one or two words; an option by its name and the commands
 * it belongs to.
 */
#ifndef CLI_SPEC_H
#define CLI_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli;
struct err;

#define OPERANDS_ANY 65536u

enum cmd_id {
#define GROUP(name, brief)
#define COMMAND(id, ...) CMD_##id,
#include "cli/commands.def"
#undef GROUP
#undef COMMAND
	CMD_N
};
_Static_assert(CMD_N < 64, "commands fit a mask");

enum cmd_flag {
	CMD_LISTING = 1 << 0, /* --json prints an array of items */
	CMD_NO_ROOT = 1 << 1, /* needs no root directory */
};
struct cmd_spec {
	enum cmd_id id;
	const char *name;     /* "plan check" */
	const char *operands; /* "PLAN [PATH...]" */
	unsigned min, max;    /* operands */
	/* Returns an exit status; err is set when there is a message for standard error. */
	int (*run)(struct cli *c, struct err *err);
	unsigned flags;
	const char *brief, *text, *example;
};
struct cmd_group {
	const char *name, *brief;
};

enum opt_kind { OPT_FLAG, OPT_TEXT, OPT_LIST, OPT_CHOICE, OPT_COUNT, OPT_SIZE, OPT_DURATION, OPT_FILE, OPT_DIR, OPT_HIDDEN };
struct opt_spec {
	uint64_t commands; /* bits of enum cmd_id */
	const char *name;
	char letter; /* or 0 */
	enum opt_kind kind;
	const char *arg, *dflt, *brief, *text;
};
struct opt_conflict {
	uint64_t commands;
	const char *a, *b;
};

extern const struct cmd_spec cmd_table[CMD_N];
extern const struct cmd_group group_table[];
extern const size_t group_table_len;
extern const struct opt_spec opt_table[];
extern const size_t opt_table_len;
extern const struct opt_conflict conflict_table[];
extern const size_t conflict_table_len;

/* The command of that full name, or NULL. */
const struct cmd_spec *spec_command(const char *name);
const struct cmd_group *spec_group(const char *name);
/* Whether the command belongs to the group. */
bool spec_in_group(const struct cmd_spec *c, const struct cmd_group *g);
/* The option's row for a command; cmd NULL: any row of that name, or NULL. */
const struct opt_spec *spec_option(const struct cmd_spec *cmd, const char *name);
const struct opt_spec *spec_letter(char letter);
/* Whether the option belongs to the command; global ones belong to each. */
bool spec_applies(const struct opt_spec *o, const struct cmd_spec *cmd);
bool spec_is_global(const struct opt_spec *o);
/* Whether an argument follows the option. */
bool spec_takes_arg(const struct opt_spec *o);
/* Whether `value` is one of "a|b|c". */
bool spec_choice_ok(const char *choices, const char *value);

/* One row of the manual's table of exit statuses. */
struct exit_row {
	int status;
	char meaning[512];
};
#define EXIT_ROWS 24
/* Fill rows in ascending order of status and return their number. */
size_t spec_exit_rows(struct exit_row rows[EXIT_ROWS]);

/* The handlers, one per row of commands.def, each in a file cmd_<name>.c. */
#define GROUP(name, brief)
#define COMMAND(id, name, operands, min, max, function, ...) int function(struct cli *c, struct err *err);
#include "cli/commands.def"
#undef GROUP
#undef COMMAND

#endif
