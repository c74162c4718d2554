/*
 * The command line, parsed over the tables of spec.h.
 *
 *   CLEAN(args_release) struct args a = {0};
 *   if (args_parse(&a, argc, argv, &err)) ...      // ERR_USAGE names the word and the nearest known one
 *   const char *site = args_text(&a, "site");
 *
 * Options stand anywhere, as --name value or --name=value; "--" ends them. Values are checked when they are parsed. An
 * args borrows the words of argv.
 */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include "base/err.h"
#include "cli/spec.h"

struct arg_value {
	const struct opt_spec *spec;
	const char *text; /* NULL for a flag */
};
struct args {
	const struct cmd_spec *cmd;    /* NULL: none given, or a group alone */
	const struct cmd_group *group; /* set for "holdfast plan --help" */
	const char **operand;          /* NULL-terminated, without the command's own words */
	size_t n_operands, cap_operands;
	struct arg_value *value;
	size_t n_values, cap_values;
	bool help, version; /* asked for; operands are then not counted */
};

/* argv[0] is skipped. ERR_USAGE with a hint. What could be read stays in `a` for the caller to look at. */
int args_parse(struct args *a, int argc, char *const *argv, struct err *err) HF_NODISCARD;
void args_release(struct args *a);

/* Asking for an option that the command does not have is a bug. Missing: the table's default, or NULL, false, 0. */
const char *args_text(const struct args *a, const char *name);
bool args_flag(const struct args *a, const char *name);
bool args_given(const struct args *a, const char *name);
int64_t args_duration(const struct args *a, const char *name); /* milliseconds */
uint64_t args_size(const struct args *a, const char *name);
unsigned args_count(const struct args *a, const char *name);
/* All values of a repeatable option: newly allocated NULL-terminated array of borrowed words, NULL when none. */
const char **args_list(const struct args *a, const char *name);

#endif
