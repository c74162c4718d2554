/*
 * Help, manual pages and shell completion, all written from the tables of spec.h.
 */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include <stdbool.h>
#include <stdio.h>
#include "cli/spec.h"

/* The list of commands and the global options, wrapped to `width` columns. */
void help_overall(FILE *out, unsigned width);
/* The commands of a group. */
void help_group(FILE *out, const struct cmd_group *g, unsigned width);
/* One command and its options. */
void help_command(FILE *out, const struct cmd_spec *cmd, unsigned width);
/* "holdfast backup PLAN [options]". */
void help_usage(FILE *out, const struct cmd_spec *cmd);

/* Manual page in mdoc, section 1: of a command, or of the program (cmd NULL). */
void man_page(FILE *out, const struct cmd_spec *cmd);
/* Name of that page without section: "holdfast-plan-check". */
void man_name(const struct cmd_spec *cmd, char *out, size_t n);

/* Completion script; false for a shell it does not know. */
bool complete_script(FILE *out, const char *shell);

/* Text wrapped at `width`, each line indented; an empty line separates paragraphs. Starts at column `at`. */
void help_wrap(FILE *out, const char *text, unsigned indent, unsigned at, unsigned width);

#endif
