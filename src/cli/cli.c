#include "cli/cli.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

static const char *env_text(const char *name)
{
	const char *v = secure_getenv(name);

	return v && *v ? v : NULL;
}

void cli_env_read(struct cli_env *env)
{
	*env = (struct cli_env){
	        .root = env_text("HOLDFAST_ROOT"),
	        .home = env_text("HOME"),
	        .xdg_config = env_text("XDG_CONFIG_HOME"),
	        .xdg_state = env_text("XDG_STATE_HOME"),
	        .no_color = env_text("NO_COLOR"),
	        .term = env_text("TERM"),
	        .sudo_user = env_text("SUDO_USER"),
	};
	env->locale = env_text("LC_ALL");
	if (!env->locale)
		env->locale = env_text("LC_CTYPE");
	if (!env->locale)
		env->locale = env_text("LANG");
}

/* Who is named in evidence. Whoever may become root may also say who asked for it, so both names are kept. */
static char *actor_name(const struct cli_env *env)
{
	const struct passwd *pw = getpwuid(getuid());
	char text[128];

	if (pw)
		snprintf(text, sizeof text, "%.60s", pw->pw_name);
	else
		snprintf(text, sizeof text, "uid %u", (unsigned)getuid());
	if (getuid() == 0 && env->sudo_user) {
		size_t len = strlen(text);
		snprintf(text + len, sizeof text - len, " (sudo by %.40s)", env->sudo_user);
	}
	return term_safe(text);
}

/* Steps of a drill run elsewhere, so that a relative root would change its meaning. */
static int absolute_path(const char *path, char **ret, struct err *err)
{
	if (path[0] == '/') {
		*ret = xstrdup(path);
		return 0;
	}
	CLEAN(free_ptr) char *cwd = getcwd(NULL, 0);
	if (!cwd)
		return err_sys(err, ERR_IO, "cannot tell the current directory");
	*ret = fs_join(cwd, path);
	return 0;
}

static int open_root(struct cli *c, const struct cli_env *env, struct err *err)
{
	const char *dir = args_text(c->args, "root");
	CLEAN(free_ptr) char *path = NULL;

	if (!dir)
		dir = env->root;
	if (!dir && geteuid() != 0 && !env->home && !(env->xdg_config && env->xdg_state)) {
		err_set(err, ERR_USAGE, "there is no root directory: HOME is not set");
		return err_hint(err, "give --root DIR or set HOLDFAST_ROOT");
	}
	if (dir) {
		int rc = absolute_path(dir, &path, err);
		if (rc)
			return rc;
	}
	root_init(&c->root, path, env->home, env->xdg_config, env->xdg_state);
	return 0;
}

int cli_open(struct cli *c, const struct args *args, const struct cli_env *env, struct err *err)
{
	bool verbose = args_flag(args, "verbose");

	*c = (struct cli){.args = args, .out = stdout};
	term_init(&c->out_term, STDOUT_FILENO, env);
	term_init(&c->err_term, STDERR_FILENO, env);
	c->json = args_flag(args, "json");
	c->quiet = args_flag(args, "quiet");
	log_set(verbose ? LOG_DEBUG : c->quiet ? LOG_WARN : LOG_INFO, c->err_term.colour);
	const char *mode = args_text(args, "progress");
	bool silent = c->quiet && !args_given(args, "progress");
	bool dumb = !env->term || str_eq(env->term, "dumb");
	progress_init(&c->progress, silent ? "none" : mode, dumb, &c->err_term, stderr);
	c->actor = actor_name(env);
	if (args->cmd->flags & CMD_NO_ROOT)
		return 0;
	return open_root(c, env, err);
}

void cli_print_json(struct cli *c, const json_t *j)
{
	size_t flags = JSON_INDENT(2) | JSON_ENCODE_ANY | (c->out_term.tty ? JSON_ENSURE_ASCII : 0);

	json_dumpf(j, c->out, flags);
	fputc('\n', c->out);
	c->printed = true;
}

static void print_json_error(struct cli *c, int status, const struct err *err)
{
	CLEAN(json_release)
	json_t *j = json_pack("{s:{s:s, s:s, s:s, s:i}}", "error", "code", err_name(err->code), "message", err->msg,
	        "hint", err->hint, "exit_status", status);

	if (!j) /* a message that is not UTF-8 */
		j = json_pack("{s:{s:s, s:i}}", "error", "code", err_name(err->code), "exit_status", status);
	cli_print_json(c, j);
}

int cli_close(struct cli *c, int status, const struct err *err)
{
	struct err write_err = ERR_INIT;

	progress_clear(&c->progress);
	if (err->code)
		log_err(err);
	if (err->code && c->json && !c->printed)
		print_json_error(c, status, err);
	if (fflush(c->out) != 0 || ferror(c->out)) {
		err_sys(&write_err, ERR_IO, "cannot write to standard output");
		log_err(&write_err);
		status = err_status_worse(status, 1);
	}
	root_release(&c->root);
	free(c->actor);
	return status;
}

int cli_plan_path(const struct cli *c, const char *operand, char **ret, struct err *err)
{
	size_t n = strlen(operand);
	bool file = strchr(operand, '/') || (n > 5 && str_eq(operand + n - 5, ".yaml")) ||
	            (n > 4 && str_eq(operand + n - 4, ".yml"));

	if (file) {
		*ret = xstrdup(operand);
		if (fs_exists(operand))
			return 0;
		free(TAKE(*ret));
		return err_set(err, ERR_USAGE, "plan file '%s' is not there", operand);
	}
	if (!str_is_id(operand)) {
		err_set(err, ERR_USAGE, "'%s' is neither a plan's name nor a path to its file", operand);
		return err_hint(err, "a path has a '/' or ends in .yaml");
	}
	CLEAN(free_ptr) char *name = xmalloc(n + sizeof ".yaml");
	memcpy(name, operand, n);
	memcpy(name + n, ".yaml", sizeof ".yaml");
	CLEAN(free_ptr) char *path = fs_join(c->root.plans, name);
	if (!fs_exists(path)) {
		err_set(err, ERR_USAGE, "no plan '%s' in %s", operand, c->root.plans);
		return err_hint(err, "give the path of a plan file, or put %s there", name);
	}
	*ret = TAKE(path);
	return 0;
}

int cli_fail(const struct err *err)
{
	BUG_ON(!err->code);
	return err_exit_status(err->code);
}
