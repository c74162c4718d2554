/*
 * One run of the program: what was asked for, the terminals, the root, and how facts and errors leave.
 *
 *   struct cli c;
 *   if (cli_open(&c, &args, &env, &err)) ...
 *   status = args.cmd->run(&c, &err);
 *   status = cli_close(&c, status, &err);
 *
 * This module alone reads the command line, the environment and the user database; everything below gets structs. A
 * command handler makes a struct run, calls one job and hands its result to run_finish(), which prints it for people or
 * as JSON.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdio.h>
#include "cli/args.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/term.h"
#include "ops/ops.h"

/* What the environment says; NULL where it says nothing. Borrowed. */
struct cli_env {
	const char *root, *home, *xdg_config, *xdg_state, *locale, *no_color, *term, *sudo_user;
};
void cli_env_read(struct cli_env *env);

struct cli {
	const struct args *args;
	struct term out_term, err_term;
	FILE *out;
	bool json, quiet;
	bool printed; /* something of the JSON document is on `out` */
	struct root root;
	char *actor;
	atomic_bool *cancel;
	struct progress progress;
};
/* Settings, root, terminals, log level. ERR_USAGE when there is no root to be had. Release with cli_close() in any
 * case. */
int cli_open(struct cli *c, const struct args *args, const struct cli_env *env, struct err *err) HF_NODISCARD;
/* Print err, flush, release. Returns the exit status: a failed write to standard output is never 0. */
int cli_close(struct cli *c, int status, const struct err *err);

/* Path of the plan an operand names: itself when it has a '/' or ends in .yaml or .yml, else the root's plan of that
 * name. */
int cli_plan_path(const struct cli *c, const char *operand, char **ret, struct err *err) HF_NODISCARD;
/* Print a JSON value as the command's document. */
void cli_print_json(struct cli *c, const json_t *j);
/* Run an error's exit status: for handlers that fail before there is a result. */
int cli_fail(const struct err *err);

/* One job of a handler. */
struct run;
typedef void (*run_line_fn)(struct run *r, const json_t *item);
typedef void (*run_render_fn)(struct cli *c, const json_t *result);
struct run {
	struct cli *c;
	struct job job;
	struct plan *plan;
	char *plan_path;
	run_line_fn line;   /* one item for people */
	run_line_fn finish; /* after the last item (item NULL), or NULL */
	struct table table; /* for listings that align */
	size_t n_items;
};
/* Load the plan (operand NULL: none) and prepare the job. On failure diagnostics are on standard error already. */
int run_open(struct run *r, struct cli *c, const char *operand, struct err *err) HF_NODISCARD;
/* Print a listing's end, or the result, in the form that was asked for; returns status. result may be NULL. */
int run_finish(struct run *r, int status, const json_t *result, run_render_fn render, struct err *err);
/* One item of a listing; what job.item calls, and what handlers with items of their own call. */
void run_item(void *arg, const json_t *item);
void run_release(struct run *r);
/* --source, --snapshot and --site of the look-into commands. */
void run_select(const struct cli *c, struct job_select *ret);
/* Operands behind PLAN as a NULL-terminated list, or NULL when there are none. */
const char *const *run_paths(const struct cli *c);

/* The cancel flag: set by the first SIGINT, SIGTERM or SIGHUP; a second one ends the process. SIGPIPE is ignored. */
atomic_bool *signals_init(void);

#endif
