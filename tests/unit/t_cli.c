#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/proc.h"
#include "base/str.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "suite.h"

static struct err err;

/* Parse words behind the program's name. */
static int parse_words(struct args *a, const char *const *words)
{
	char *argv[16] = {(char *)"holdfast"};
	int n = 1;

	for (; *words; words++)
		argv[n++] = (char *)*words;
	err = (struct err)ERR_INIT;
	return args_parse(a, n, argv, &err);
}
#define PARSE(a, ...) parse_words(a, (const char *const[]){__VA_ARGS__, NULL})

/* The words are refused as a usage error that says `part` in its message or hint. */
static void refused(const char *part, const char *const *words)
{
	CLEAN(args_release) struct args a = {0};

	ck_assert_int_eq(parse_words(&a, words), -ERR_USAGE);
	ck_assert_int_eq(err_exit_status(err.code), 2);
	ck_assert_msg(
	        strstr(err.msg, part) || strstr(err.hint, part), "'%s' not in '%s' / '%s'", part, err.msg, err.hint);
}
#define REFUSED(part, ...) refused(part, (const char *const[]){__VA_ARGS__, NULL})

START_TEST(options_stand_before_and_behind_the_command)
{
	CLEAN(args_release) struct args a = {0};

	ck_assert_int_eq(PARSE(&a, "--json", "--root", "/r", "backup", "p.yaml", "--source=docs", "--full-read"), 0);
	ck_assert_int_eq(a.cmd->id, CMD_BACKUP);
	ck_assert_uint_eq(a.n_operands, 1);
	ck_assert_str_eq(a.operand[0], "p.yaml");
	ck_assert(args_flag(&a, "json"));
	ck_assert(args_flag(&a, "full-read"));
	ck_assert(!args_flag(&a, "dry-run"));
	ck_assert_str_eq(args_text(&a, "root"), "/r");
	ck_assert_str_eq(args_text(&a, "source"), "docs");
}
END_TEST

START_TEST(commands_of_two_words_are_found_with_options_between_the_words)
{
	CLEAN(args_release) struct args a = {0};

	ck_assert_int_eq(PARSE(&a, "plan", "--strict", "check", "a.yaml", "b.yaml"), 0);
	ck_assert_int_eq(a.cmd->id, CMD_PLAN_CHECK);
	ck_assert_uint_eq(a.n_operands, 2);
	ck_assert_str_eq(a.operand[1], "b.yaml");
	ck_assert_ptr_null(a.operand[2]);
}
END_TEST

START_TEST(two_dashes_end_the_options)
{
	CLEAN(args_release) struct args a = {0};

	ck_assert_int_eq(PARSE(&a, "ls", "p.yaml", "--", "--json", "-x"), 0);
	ck_assert_uint_eq(a.n_operands, 3);
	ck_assert_str_eq(a.operand[1], "--json");
	ck_assert_str_eq(a.operand[2], "-x");
	ck_assert(!args_flag(&a, "json"));
}
END_TEST

START_TEST(a_single_dash_is_an_operand_or_a_value)
{
	CLEAN(args_release) struct args a = {0};

	ck_assert_int_eq(PARSE(&a, "export", "p.yaml", "-", "-o", "-"), 0);
	ck_assert_str_eq(a.operand[1], "-");
	ck_assert_str_eq(args_text(&a, "output"), "-");
}
END_TEST

START_TEST(letters_may_be_joined_and_carry_a_value)
{
	CLEAN(args_release) struct args a = {0};

	ck_assert_int_eq(PARSE(&a, "export", "p.yaml", "-qoout.tar"), 0);
	ck_assert(args_flag(&a, "quiet"));
	ck_assert_str_eq(args_text(&a, "output"), "out.tar");
	REFUSED("unknown option '-z'", "export", "p.yaml", "-z");
	REFUSED("-o needs an argument", "export", "p.yaml", "-o");
}
END_TEST

START_TEST(repeatable_options_keep_their_order_and_others_may_not_repeat)
{
	CLEAN(args_release) struct args a = {0};

	ck_assert_int_eq(PARSE(&a, "backup", "p.yaml", "--source", "b", "--source", "a"), 0);
	CLEAN(free_ptr) const char **list = args_list(&a, "source");
	ck_assert_str_eq(list[0], "b");
	ck_assert_str_eq(list[1], "a");
	ck_assert_ptr_null(list[2]);
	REFUSED("given twice", "restore", "p.yaml", "--to", "a", "--to", "b");
}
END_TEST

START_TEST(an_absent_list_is_null_and_absent_values_are_the_defaults)
{
	CLEAN(args_release) struct args a = {0};
	CLEAN(args_release) struct args b = {0};

	ck_assert_int_eq(PARSE(&a, "restore", "p.yaml", "--to", "d"), 0);
	ck_assert_str_eq(args_text(&a, "metadata"), "safe");
	ck_assert_uint_eq(args_count(&a, "strip"), 0);
	ck_assert_uint_eq(args_size(&a, "memory"), 0);
	ck_assert_ptr_null(args_text(&a, "site"));
	ck_assert_int_eq(PARSE(&b, "backup", "p.yaml"), 0);
	ck_assert_ptr_null(args_list(&b, "source"));
}
END_TEST

START_TEST(unknown_words_name_the_nearest_known_one)
{
	REFUSED("did you mean --source?", "backup", "p.yaml", "--sorce", "docs");
	REFUSED("did you mean --dry-run?", "backup", "p.yaml", "--dryrun");
	REFUSED("did you mean backup?", "bakcup", "p.yaml");
	REFUSED("did you mean evidence?", "evidnce", "log");
	REFUSED("did you mean plan check?", "plan", "chekc", "p.yaml");
	REFUSED("see: holdfast help", "frobnicate");
	REFUSED("unknown option '--frobnicate=1'", "backup", "--frobnicate=1");
}
END_TEST

START_TEST(prefixes_of_names_are_not_enough)
{
	REFUSED("unknown option '--dry'", "backup", "p.yaml", "--dry");
	REFUSED("unknown command 'back'", "back", "p.yaml");
	REFUSED("unknown command 'plan check'", "plan check", "p.yaml");
}
END_TEST

START_TEST(a_group_needs_its_second_word)
{
	REFUSED("one of: check, show, new", "plan");
	REFUSED("one of: log, verify", "evidence", "nothing-like-it");
}
END_TEST

START_TEST(missing_and_needless_arguments_are_refused)
{
	REFUSED("--to needs an argument", "restore", "p.yaml", "--to");
	REFUSED("--to needs an argument", "restore", "p.yaml", "--to", "--json");
	REFUSED("empty argument", "restore", "p.yaml", "--to=");
	REFUSED("takes no argument", "backup", "p.yaml", "--json=yes");
}
END_TEST

START_TEST(values_are_judged_by_their_kind)
{
	REFUSED("must be one of safe|full", "restore", "p.yaml", "--to", "d", "--metadata", "most");
	REFUSED("must be one of", "restore", "p.yaml", "--to", "d", "--metadata", "sa");
	REFUSED("must be one of", "restore", "p.yaml", "--to", "d", "--metadata=safe|full");
	REFUSED("needs a number", "restore", "p.yaml", "--to", "d", "--strip", "-1");
	REFUSED("needs a number", "restore", "p.yaml", "--to", "d", "--strip", "70000");
	REFUSED("needs a number", "restore", "p.yaml", "--to", "d", "--strip", "99999999999999999999");
	REFUSED("needs a number", "restore", "p.yaml", "--to", "d", "--strip", "1x");
	REFUSED("needs a size", "backup", "p.yaml", "--memory", "lots");
	CLEAN(args_release) struct args a = {0};
	ck_assert_int_eq(PARSE(&a, "restore", "p.yaml", "--to", "d", "--strip", "2", "--memory", "64MiB"), 0);
	ck_assert_uint_eq(args_count(&a, "strip"), 2);
	ck_assert_uint_eq(args_size(&a, "memory"), 64u << 20);
}
END_TEST

START_TEST(an_option_of_another_command_is_refused_by_name)
{
	REFUSED("--to does not belong to 'backup'", "backup", "p.yaml", "--to", "d");
	REFUSED("--data does not belong to 'holdfast alone'", "--data");
}
END_TEST

START_TEST(options_that_exclude_each_other_are_refused)
{
	REFUSED("exclude each other", "drill", "p.yaml", "--negative-only", "--no-negative");
	REFUSED("exclude each other", "backup", "p.yaml", "-q", "-v");
}
END_TEST

START_TEST(operands_are_counted)
{
	REFUSED("'backup' needs PLAN", "backup");
	REFUSED("does not take the word 'b.yaml'", "backup", "a.yaml", "b.yaml");
	CLEAN(args_release) struct args a = {0};
	ck_assert_int_eq(PARSE(&a, "status"), 0);
	ck_assert_uint_eq(a.n_operands, 0);
}
END_TEST

START_TEST(help_needs_no_operands_and_wins_over_conflicts)
{
	CLEAN(args_release) struct args a = {0};
	CLEAN(args_release) struct args b = {0};
	CLEAN(args_release) struct args n = {0};

	ck_assert_int_eq(PARSE(&a, "restore", "--help"), 0);
	ck_assert(a.help);
	ck_assert_int_eq(a.cmd->id, CMD_RESTORE);
	ck_assert_int_eq(PARSE(&b, "plan", "-h"), 0);
	ck_assert_ptr_null(b.cmd);
	ck_assert_str_eq(b.group->name, "plan");
	ck_assert_int_eq(PARSE(&n, "--version"), 0);
	ck_assert(n.version);
}
END_TEST

START_TEST(no_words_at_all_are_no_command)
{
	CLEAN(args_release) struct args a = {0};
	char *argv[] = {(char *)"holdfast", NULL};

	ck_assert_int_eq(args_parse(&a, 1, argv, &err), 0);
	ck_assert_ptr_null(a.cmd);
	ck_assert(!a.help);
}
END_TEST

START_TEST(asking_for_an_option_that_the_command_lacks_is_a_bug)
{
	CLEAN(args_release) struct args a = {0};

	ck_assert_int_eq(PARSE(&a, "backup", "p.yaml"), 0);
	(void)args_flag(&a, "strip");
}
END_TEST

/* --- the tables themselves --- */

START_TEST(rows_of_one_option_agree_on_their_argument_and_no_command_has_it_twice)
{
	for (size_t i = 0; i < opt_table_len; i++)
		for (size_t k = 0; k < i; k++) {
			const struct opt_spec *a = &opt_table[i], *b = &opt_table[k];
			if (a->letter)
				ck_assert_msg(
				        a->letter != b->letter || strcmp(a->name, b->name) == 0, "-%c", a->letter);
			if (strcmp(a->name, b->name) != 0)
				continue;
			ck_assert_msg(spec_takes_arg(a) == spec_takes_arg(b), "--%s", a->name);
			ck_assert_msg((a->commands & b->commands) == 0, "--%s", a->name);
		}
}
END_TEST

START_TEST(every_row_is_explained)
{
	for (size_t i = 0; i < opt_table_len; i++) {
		const struct opt_spec *o = &opt_table[i];
		ck_assert_msg(o->kind == OPT_HIDDEN || (*o->brief && *o->text), "--%s", o->name);
		ck_assert_msg(spec_takes_arg(o) == (*o->arg != 0), "--%s", o->name);
		if (o->kind == OPT_CHOICE && o->dflt)
			ck_assert_msg(spec_choice_ok(o->arg, o->dflt), "--%s", o->name);
	}
	for (size_t i = 0; i < CMD_N; i++) {
		ck_assert_int_eq(cmd_table[i].id, (int)i);
		ck_assert_ptr_eq(spec_command(cmd_table[i].name), &cmd_table[i]);
		ck_assert_msg(str_starts(cmd_table[i].example, "holdfast "), "%s", cmd_table[i].name);
	}
}
END_TEST

START_TEST(every_example_of_the_manual_parses)
{
	CLEAN(free_ptr) char *text = xstrdup(cmd_table[_i].example);
	CLEAN(args_release) struct args a = {0};
	char *argv[16], *save = NULL;
	int n = 0;

	for (char *w = strtok_r(text, " ", &save); w && *w != '>'; w = strtok_r(NULL, " ", &save))
		argv[n++] = w;
	argv[n] = NULL;
	ck_assert_msg(args_parse(&a, n, argv, &err) == 0, "%s: %s", cmd_table[_i].example, err.msg);
	ck_assert_int_eq(a.cmd->id, _i);
}
END_TEST

START_TEST(conflicts_name_options_of_their_commands)
{
	for (size_t i = 0; i < conflict_table_len; i++)
		for (size_t k = 0; k < CMD_N; k++)
			if (conflict_table[i].commands & (UINT64_C(1) << k)) {
				ck_assert_ptr_nonnull(spec_option(&cmd_table[k], conflict_table[i].a));
				ck_assert_ptr_nonnull(spec_option(&cmd_table[k], conflict_table[i].b));
			}
}
END_TEST

START_TEST(the_table_of_exit_statuses_holds_every_code_once)
{
	struct exit_row rows[EXIT_ROWS];
	size_t n = spec_exit_rows(rows);

	for (size_t i = 1; i < n; i++)
		ck_assert_int_lt(rows[i - 1].status, rows[i].status);
	ck_assert_int_eq(rows[0].status, 0);
	ck_assert_str_eq(rows[3].meaning, "done, but items of a source were skipped");
	for (int code = ERR_INTERNAL; code <= ERR_FAILED; code++) {
		size_t found = 0;
		for (size_t i = 0; i < n; i++)
			found += rows[i].status == err_exit_status((enum err_code)code) &&
			         strstr(rows[i].meaning, err_meaning((enum err_code)code)) != NULL;
		ck_assert_msg(found == 1, "%s", err_name((enum err_code)code));
	}
}
END_TEST

/* --- help, manual, completion --- */

static char *printed(void (*print)(FILE *out, const struct cmd_spec *cmd), const struct cmd_spec *cmd)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	print(f, cmd);
	fclose(f);
	return text;
}

static void help_at_60(FILE *out, const struct cmd_spec *cmd)
{
	if (cmd)
		help_command(out, cmd, 60);
	else
		help_overall(out, 60);
}

START_TEST(help_names_every_option_and_keeps_its_width)
{
	const struct cmd_spec *cmd = _i < CMD_N ? &cmd_table[_i] : NULL;
	CLEAN(free_ptr) char *text = printed(help_at_60, cmd);
	char *save = NULL, word[64];

	for (size_t i = 0; cmd && i < opt_table_len; i++) {
		snprintf(word, sizeof word, "--%s", opt_table[i].name);
		bool shown = opt_table[i].kind != OPT_HIDDEN && spec_applies(&opt_table[i], cmd);
		if (shown)
			ck_assert_msg(strstr(text, word) != NULL, "%s", word);
	}
	for (size_t i = 0; !cmd && i < CMD_N; i++)
		ck_assert_ptr_nonnull(strstr(text, cmd_table[i].name));
	const char *example = strstr(text, "\nExample:");
	for (char *line = strtok_r(text, "\n", &save); line && (!example || line < example);
	        line = strtok_r(NULL, "\n", &save))
		if (!str_starts(line, "usage:"))
			ck_assert_msg(strlen(line) <= 60, "%s", line);
}
END_TEST

START_TEST(manual_pages_name_every_option_and_break_at_sentences)
{
	const struct cmd_spec *cmd = _i < CMD_N ? &cmd_table[_i] : NULL;
	CLEAN(free_ptr) char *text = printed(man_page, cmd);
	char word[64], *save = NULL;

	ck_assert(str_starts(text, ".Dd "));
	for (size_t i = 0; i < opt_table_len; i++) {
		const struct opt_spec *o = &opt_table[i];
		bool shown = o->kind != OPT_HIDDEN && spec_is_global(o) == !cmd && (!cmd || spec_applies(o, cmd));
		snprintf(word, sizeof word, "Fl \\-%s", o->name);
		if (shown)
			ck_assert_msg(strstr(text, word) != NULL, "%s", word);
	}
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		ck_assert_msg(strlen(line) <= 110, "%s", line);
		if (line[0] != '.')
			ck_assert_msg(strstr(line, ". ") == NULL, "%s", line);
	}
}
END_TEST

static void bash_completion(FILE *out, const struct cmd_spec *cmd)
{
	(void)cmd;
	ck_assert(complete_script(out, "bash"));
}

/* What the shell offers for these words, separated by spaces. */
static void completes(const char *script, const char *words, const char *expected)
{
	char text[32768];
	struct proc_opts o = {.stdin_fd = -1, .timeout_ms = 20000};
	struct proc_result r;

	int n = snprintf(text, sizeof text,
	        "%s\nCOMP_WORDS=(%s)\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_holdfast\necho -n \"${COMPREPLY[*]}\"\n",
	        script, words);
	ck_assert_int_lt(n, (int)sizeof text);
	proc_result_init(&r, 4096);
	ck_assert_int_eq(proc_run((const char *const[]){"bash", "-c", text, NULL}, &o, &r, &err), 0);
	ck_assert_int_eq(r.status, 0);
	ck_assert_str_eq(buf_str(&r.out), expected);
	proc_result_release(&r);
}

START_TEST(bash_completes_commands_options_and_choices)
{
	CLEAN(free_ptr) char *script = printed(bash_completion, NULL);

	completes(script, "holdfast ba", "backup");
	completes(script, "holdfast plan ''", "check show new");
	completes(script, "holdfast --root /r backup --dr", "--dry-run");
	completes(script, "holdfast restore p --metadata f", "full");
	completes(script, "holdfast evidence verify --site", "--site-dir");
	completes(script, "holdfast verify --site", "--site");
}
END_TEST

START_TEST(an_unknown_shell_has_no_completion)
{
	ck_assert(!complete_script(stdout, "csh"));
}
END_TEST

/* --- root, plans, signals --- */

START_TEST(a_root_directory_holds_everything)
{
	struct root r;

	root_init(&r, "/r", "/home/a", NULL, NULL);
	ck_assert_str_eq(r.plans, "/r/plans");
	ck_assert_str_eq(r.keys, "/r/keys");
	ck_assert_str_eq(r.state, "/r/state");
	ck_assert_str_eq(r.results, "/r/results");
	ck_assert_str_eq(r.metrics, "/r/metrics");
	ck_assert_str_eq(r.log, "/r/log");
	ck_assert_str_eq(r.work, "/r/work");
	root_release(&r);
}
END_TEST

START_TEST(the_system_root_splits_over_etc_and_var)
{
	struct root r;

	root_init(&r, "/", NULL, NULL, NULL);
	ck_assert_str_eq(r.plans, "/etc/holdfast/plans");
	ck_assert_str_eq(r.keys, "/etc/holdfast/keys");
	ck_assert_str_eq(r.log, "/var/lib/holdfast/log");
	root_release(&r);
}
END_TEST

/* Opens the context of "holdfast --root /r/... status" without its job. */
static void open_at(struct cli *c, const struct args *a, const struct cli_env *env)
{
	err = (struct err)ERR_INIT;
	ck_assert_msg(cli_open(c, a, env, &err) == 0, "%s", err.msg);
}

START_TEST(the_option_wins_over_the_environment)
{
	CLEAN(args_release) struct args a = {0};
	CLEAN(args_release) struct args b = {0};
	struct cli_env env = {.root = "/from-env"};
	struct cli c;

	ck_assert_int_eq(PARSE(&a, "status", "--root", "/from-option"), 0);
	open_at(&c, &a, &env);
	ck_assert_str_eq(c.root.log, "/from-option/log");
	ck_assert_int_eq(cli_close(&c, 0, &err), 0);
	ck_assert_int_eq(PARSE(&b, "status"), 0);
	open_at(&c, &b, &env);
	ck_assert_str_eq(c.root.log, "/from-env/log");
	ck_assert_int_eq(cli_close(&c, 0, &err), 0);
}
END_TEST

START_TEST(a_relative_root_becomes_absolute)
{
	CLEAN(args_release) struct args a = {0};
	struct cli_env env = {0};
	struct cli c;

	ck_assert_int_eq(PARSE(&a, "status", "--root", "here"), 0);
	open_at(&c, &a, &env);
	ck_assert_int_eq(c.root.log[0], '/');
	ck_assert_ptr_nonnull(strstr(c.root.log, "/here/log"));
	ck_assert_int_eq(cli_close(&c, 0, &err), 0);
}
END_TEST

START_TEST(a_plan_is_a_path_or_a_name_in_the_root)
{
	struct cli c = {.root = {.plans = (char *)"/nonexistent/plans"}};
	char *path = NULL;

	err = (struct err)ERR_INIT;
	ck_assert_int_eq(cli_plan_path(&c, "/dev/null", &path, &err), 0);
	ck_assert_str_eq(path, "/dev/null");
	free(path);
	ck_assert_int_eq(cli_plan_path(&c, "gone.yaml", &path, &err), -ERR_USAGE);
	ck_assert_ptr_nonnull(strstr(err.msg, "gone.yaml"));
	ck_assert_int_eq(cli_plan_path(&c, "issuing-ca", &path, &err), -ERR_USAGE);
	ck_assert_ptr_nonnull(strstr(err.msg, "/nonexistent/plans"));
	ck_assert_int_eq(cli_plan_path(&c, "No Id", &path, &err), -ERR_USAGE);
	ck_assert_ptr_nonnull(strstr(err.msg, "neither"));
}
END_TEST

START_TEST(the_first_signal_asks_to_stop)
{
	atomic_bool *cancel = signals_init();

	ck_assert(!atomic_load(cancel));
	raise(SIGTERM);
	ck_assert(atomic_load(cancel));
	raise(SIGPIPE);
}
END_TEST

START_TEST(the_second_signal_ends_the_process)
{
	signals_init();
	raise(SIGINT);
	raise(SIGTERM);
}
END_TEST

START_TEST(an_ignored_hangup_stays_ignored)
{
	signal(SIGHUP, SIG_IGN);
	atomic_bool *cancel = signals_init();
	raise(SIGHUP);
	ck_assert(!atomic_load(cancel));
}
END_TEST

static TCase *parser(void)
{
	TCase *t = tcase_create("parser");

	tcase_add_test(t, options_stand_before_and_behind_the_command);
	tcase_add_test(t, commands_of_two_words_are_found_with_options_between_the_words);
	tcase_add_test(t, two_dashes_end_the_options);
	tcase_add_test(t, a_single_dash_is_an_operand_or_a_value);
	tcase_add_test(t, letters_may_be_joined_and_carry_a_value);
	tcase_add_test(t, repeatable_options_keep_their_order_and_others_may_not_repeat);
	tcase_add_test(t, an_absent_list_is_null_and_absent_values_are_the_defaults);
	tcase_add_test(t, unknown_words_name_the_nearest_known_one);
	tcase_add_test(t, prefixes_of_names_are_not_enough);
	tcase_add_test(t, a_group_needs_its_second_word);
	tcase_add_test(t, missing_and_needless_arguments_are_refused);
	tcase_add_test(t, values_are_judged_by_their_kind);
	tcase_add_test(t, an_option_of_another_command_is_refused_by_name);
	tcase_add_test(t, options_that_exclude_each_other_are_refused);
	tcase_add_test(t, operands_are_counted);
	tcase_add_test(t, help_needs_no_operands_and_wins_over_conflicts);
	tcase_add_test(t, no_words_at_all_are_no_command);
	tcase_add_test_raise_signal(t, asking_for_an_option_that_the_command_lacks_is_a_bug, SIGABRT);
	return t;
}

static TCase *tables(void)
{
	TCase *t = tcase_create("tables");

	tcase_add_test(t, rows_of_one_option_agree_on_their_argument_and_no_command_has_it_twice);
	tcase_add_test(t, every_row_is_explained);
	tcase_add_loop_test(t, every_example_of_the_manual_parses, 0, CMD_N);
	tcase_add_test(t, conflicts_name_options_of_their_commands);
	tcase_add_test(t, the_table_of_exit_statuses_holds_every_code_once);
	tcase_add_loop_test(t, help_names_every_option_and_keeps_its_width, 0, CMD_N + 1);
	tcase_add_loop_test(t, manual_pages_name_every_option_and_break_at_sentences, 0, CMD_N + 1);
	tcase_add_test(t, bash_completes_commands_options_and_choices);
	tcase_add_test(t, an_unknown_shell_has_no_completion);
	return t;
}

static TCase *surroundings(void)
{
	TCase *t = tcase_create("surroundings");

	tcase_add_test(t, a_root_directory_holds_everything);
	tcase_add_test(t, the_system_root_splits_over_etc_and_var);
	tcase_add_test(t, the_option_wins_over_the_environment);
	tcase_add_test(t, a_relative_root_becomes_absolute);
	tcase_add_test(t, a_plan_is_a_path_or_a_name_in_the_root);
	tcase_add_test(t, the_first_signal_asks_to_stop);
	tcase_add_test_raise_signal(t, the_second_signal_ends_the_process, SIGTERM);
	tcase_add_test(t, an_ignored_hangup_stays_ignored);
	return t;
}

int main(void)
{
	Suite *s = suite_create("cli");

	suite_add_tcase(s, parser());
	suite_add_tcase(s, tables());
	suite_add_tcase(s, surroundings());
	return suite_main_forked(s);
}
