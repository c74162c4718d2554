#include "cli/cli.h"
#include "cli/help.h"

#include <malloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "crypto/crypto.h"

/* A wrong command line, before there is a command to run. --json is then known only from the words themselves. */
static int refuse(const struct args *a, struct cli_env *env, const struct err *err)
{
	struct cli c = {.args = a, .out = stdout};

	term_init(&c.out_term, STDOUT_FILENO, env);
	term_init(&c.err_term, STDERR_FILENO, env);
	log_set(LOG_INFO, c.err_term.colour);
	for (size_t i = 0; i < a->n_values; i++)
		c.json = c.json || strcmp(a->value[i].spec->name, "json") == 0;
	return cli_close(&c, err_exit_status(err->code), err);
}

/* --help, --version, or no command at all; -1 when there is one to run. */
static int without_command(const struct args *a, const struct cli_env *env)
{
	struct term term;

	if (a->cmd && !a->help && !a->version)
		return -1;
	term_init(&term, STDOUT_FILENO, env);
	if (a->version)
		printf("holdfast %s\n", HOLDFAST_VERSION);
	else if (a->cmd)
		help_command(stdout, a->cmd, term_width(&term));
	else if (a->group)
		help_group(stdout, a->group, term_width(&term));
	else
		help_overall(a->help ? stdout : stderr, term_width(&term));
	if (fflush(stdout) != 0)
		return 1;
	return a->help || a->version ? 0 : 2;
}

int main(int argc, char **argv)
{
	CLEAN(args_release) struct args args = {0};
	struct err err = ERR_INIT;
	struct cli_env env;
	struct cli cli;

	/* large buffers go back to the system when they are freed: peak memory is stated */
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	mallopt(M_ARENA_MAX, 4);
	umask(022); /* secrets are made with modes of their own; results and metrics are for others to read */
	mem_no_dumps();
	cli_env_read(&env);
	if (args_parse(&args, argc, argv, &err))
		return refuse(&args, &env, &err);
	int status = without_command(&args, &env);
	if (status >= 0)
		return status;
	crypto_init();
	atomic_bool *cancel = signals_init();
	status = 0;
	if (cli_open(&cli, &args, &env, &err))
		status = err_exit_status(err.code);
	cli.cancel = cancel;
	if (!err.code)
		status = args.cmd->run(&cli, &err);
	return cli_close(&cli, status, &err);
}
