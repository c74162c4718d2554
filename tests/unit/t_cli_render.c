#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/render.h"
#include "suite.h"

/* A context that writes to memory, as to a pipe. */
struct screen {
	struct cli c;
	struct args args;
	char *text;
	size_t n;
};

static void screen_open(struct screen *s, enum cmd_id id)
{
	*s = (struct screen){.args.cmd = &cmd_table[id]};
	s->c.args = &s->args;
	s->c.out = open_memstream(&s->text, &s->n);
	s->c.root =
	        (struct root){.results = (char *)"R/results", .metrics = (char *)"R/metrics", .log = (char *)"R/log"};
}

/* What was written so far. */
static const char *screen_text(struct screen *s)
{
	fflush(s->c.out);
	return s->text ? s->text : "";
}

static void screen_close(struct screen *s)
{
	fclose(s->c.out);
	free(s->text);
}

static json_t *parse(const char *text)
{
	json_error_t e;
	json_t *j = json_loads(text, 0, &e);

	ck_assert_msg(j != NULL, "%d:%d: %s", e.line, e.column, e.text);
	return j;
}

static void shows(struct screen *s, const char *part)
{
	ck_assert_msg(strstr(screen_text(s), part) != NULL, "'%s' not in:\n%s", part, screen_text(s));
}

static void hides(struct screen *s, const char *part)
{
	ck_assert_msg(strstr(screen_text(s), part) == NULL, "'%s' in:\n%s", part, screen_text(s));
}

static const char drill_json[] =
        "{'v':1,'kind':'drill','plan':'demo','scenario':'quarterly','outcome':'done','exit_status':4,"
        "'rto':{'target_ms':14400000,'measured_ms':192000,'met':true},"
        "'rpo':{'target_ms':900000,'measured_ms':1860000,'worst_case_ms':2400000,'met':false},"
        "'critical_path':['files','db','start'],"
        "'steps':[{'id':'files','kind':'restore','duration_ms':63000,'bytes':1503238553,'outcome':'passed','detail':"
        "null},"
        "{'id':'start','kind':'run','duration_ms':1500,'bytes':null,'outcome':'failed','detail':'exit status 3'}],"
        "'checks':[{'id':'manifest','kind':'manifest','duration_ms':900,'outcome':'passed','coverage':{'checked':12,'"
        "total':90}}],"
        "'deviations':['used the spare machine'],"
        "'skipped':[{'source':'docs','path':'a\\u001b[2Jb','reason':'permission denied'}],"
        "'findings':[{'title':'copies too far "
        "apart','severity':'high','owner':'Ops','due':'2027-01-31T00:00:00.000Z'}],"
        "'not_shown':['that the network survives']}";

static json_t *drill_result(void)
{
	CLEAN(free_ptr) char *text = xstrdup(drill_json);

	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	return parse(text);
}

START_TEST(a_drill_shows_times_against_targets_and_where_the_proof_lies)
{
	CLEAN(json_release) json_t *j = drill_result();
	struct screen s;

	screen_open(&s, CMD_DRILL);
	render_drill(&s.c, j);
	shows(&s, "drill of demo (quarterly): recovered, but a target was missed\n");
	shows(&s, "  recovery time    3 min 12 s       target 4 h          met\n");
	shows(&s, "  recovery point   31 min           target 15 min       MISSED\n");
	shows(&s, "40 min");
	shows(&s, "slowest path     files -> db -> start");
	shows(&s, "result    R/results/demo/latest.json\n");
	shows(&s, "evidence  R/log\n");
	shows(&s, "metrics   R/metrics/holdfast.prom\n");
	screen_close(&s);
}
END_TEST

START_TEST(a_drill_lists_steps_checks_and_what_is_to_be_done)
{
	CLEAN(json_release) json_t *j = drill_result();
	struct screen s;

	screen_open(&s, CMD_DRILL);
	render_drill(&s.c, j);
	shows(&s, "  ok       files  restore");
	shows(&s, "1 min 3 s");
	shows(&s, "1.4 GiB");
	shows(&s, "  FAILED   start  run");
	shows(&s, "exit status 3");
	shows(&s, "sampled 12 of 90");
	shows(&s, "used the spare machine");
	shows(&s, "copies too far apart");
	shows(&s, "2027-01-31");
	shows(&s, "that the network survives");
	screen_close(&s);
}
END_TEST

START_TEST(signs_and_colours_appear_only_where_the_terminal_has_them)
{
	CLEAN(json_release) json_t *j = drill_result();
	struct screen plain, rich;

	screen_open(&plain, CMD_DRILL);
	render_drill(&plain.c, j);
	hides(&plain, "\033");
	hides(&plain, "\u2713");
	screen_open(&rich, CMD_DRILL);
	rich.c.out_term = (struct term){.colour = true, .utf8 = true};
	render_drill(&rich.c, j);
	shows(&rich, "\033[32m\u2713\033[0m");
	shows(&rich, "\033[31m\u2717\033[0m");
	shows(&rich, "\033[31mMISSED\033[0m");
	screen_close(&plain);
	screen_close(&rich);
}
END_TEST

START_TEST(names_from_outside_cannot_reach_the_terminal)
{
	CLEAN(json_release) json_t *j = drill_result();
	struct screen s;

	screen_open(&s, CMD_DRILL);
	json_object_set_new(j, "plan", json_string("\033]0;x\a"));
	json_object_set_new(json_array_get(json_object_get(j, "steps"), 0), "id", json_string("\033[1mfiles"));
	render_drill(&s.c, j);
	hides(&s, "\033");
	hides(&s, "\a");
	shows(&s, "docs: a\\x1b[2Jb  permission denied");
	screen_close(&s);
}
END_TEST

START_TEST(what_was_not_measured_is_never_shown_as_met)
{
	CLEAN(json_release)
	json_t *j = parse("{\"kind\":\"drill\",\"plan\":\"demo\",\"outcome\":\"failed\",\"rto\":{\"target_ms\":1000,"
	                  "\"measured_ms\":null,\"met\":null}}");
	struct screen s;

	screen_open(&s, CMD_DRILL);
	render_drill(&s.c, j);
	shows(&s, "drill of demo: failed\n");
	shows(&s, "not measured");
	shows(&s, "not judged");
	hides(&s, " met\n");
	screen_close(&s);
}
END_TEST

START_TEST(any_json_is_rendered_without_harm)
{
	static const char *const odd[] = {"{}", "{\"kind\":1,\"steps\":{},\"rto\":[],\"checks\":[1,null,[]]}",
	        "{\"plan\":null,\"outcome\":[],\"critical_path\":[null,{}],\"sources\":[1],\"sites\":[null],"
	        "\"skipped\":[[]],"
	        "\"findings\":[\"x\"],\"not_shown\":[{}]}"};
	CLEAN(json_release) json_t *j = parse(odd[_i]);
	struct screen s;

	screen_open(&s, CMD_DRILL);
	render_drill(&s.c, j);
	render_result(&s.c, j);
	render_tree(&s.c, j, 0);
	screen_close(&s);
}
END_TEST

START_TEST(a_backup_shows_sources_and_sites)
{
	CLEAN(json_release)
	json_t *j = parse(
	        "{\"kind\":\"backup\",\"plan\":\"demo\",\"outcome\":\"done\",\"duration_ms\":3200,"
	        "\"bytes\":{\"processed\":1048576,\"added\":2048},\"sources\":[{\"name\":\"docs\",\"outcome\":\"done\","
	        "\"seq\":7,"
	        "\"snapshot\":\"0123456789abcdef\",\"files\":12,\"bytes\":1048576,\"added_bytes\":2048,\"skipped\":1}],"
	        "\"sites\":[{\"name\":\"north\",\"outcome\":\"failed\",\"behind\":true,\"error\":\"no route\"}]}");
	struct screen s;

	screen_open(&s, CMD_BACKUP);
	render_result(&s.c, j);
	shows(&s, "backup of demo: done in 3.2 s, 1.0 MiB read, 2.0 KiB new\n");
	shows(&s, "  SOURCE  OUTCOME  SEQ  SNAPSHOT      FILES     SIZE      NEW  SKIPPED\n"
	          "  docs    done       7  0123456789ab     12  1.0 MiB  2.0 KiB        1\n");
	shows(&s, "no route");
	screen_close(&s);
}
END_TEST

START_TEST(a_tree_makes_units_readable)
{
	CLEAN(json_release)
	json_t *j = parse("{\"wait_ms\":90000,\"pack_bytes\":2048,\"made\":[\"a\",\"b\"],"
	                  "\"sites\":[{\"name\":\"n\"}],\"gone\":null,\"ok\":true}");
	struct screen s;

	screen_open(&s, CMD_INIT);
	render_tree(&s.c, j, 0);
	ck_assert_str_eq(screen_text(&s),
	        "wait: 1 min 30 s\npack_bytes: 2.0 KiB\nmade: [a, b]\nsites:\n  -\n    name: n\nok: yes\n");
	screen_close(&s);
}
END_TEST

/* --- tables --- */

START_TEST(table_columns_align_and_empty_ones_vanish)
{
	CLEAN(table_release) struct table t = {0};
	struct screen s;

	screen_open(&s, CMD_STATUS);
	table_begin(&t, 4, "NAME", "SIZE>", "EMPTY", "LAST");
	table_row(&t, "a", "1", "", "x");
	table_row(&t, "l\u00e4nger", "1000", "", NULL);
	ck_assert_uint_eq(table_rows(&t), 2);
	table_print(&t, s.c.out, 0);
	ck_assert_str_eq(screen_text(&s), "NAME    SIZE  LAST\na          1  x\nl\u00e4nger  1000  -\n");
	screen_close(&s);
}
END_TEST

START_TEST(table_cells_are_made_safe_and_leave_no_space_at_the_end)
{
	CLEAN(table_release) struct table t = {0};
	struct screen s;

	screen_open(&s, CMD_STATUS);
	table_begin(&t, 3, "", "", "");
	table_row(&t, "a\nb", "long cell", "");
	table_row(&t, "c", "", "z");
	table_print(&t, s.c.out, 1);
	ck_assert_str_eq(screen_text(&s), " a\\x0ab  long cell\n c                  z\n");
	screen_close(&s);
}
END_TEST

/* --- listings --- */

static void line_of(struct run *r, const json_t *item)
{
	fprintf(r->c->out, "%s\n", render_str(item, "path"));
}

START_TEST(a_json_listing_is_one_array)
{
	struct err err = ERR_INIT;
	struct screen s;

	screen_open(&s, CMD_LS);
	s.c.json = true;
	struct run r = {.c = &s.c, .line = line_of};
	for (int i = 0; i < _i; i++) {
		CLEAN(json_release) json_t *item = json_pack("{s:i}", "n", i);
		run_item(&r, item);
	}
	ck_assert_int_eq(run_finish(&r, 0, NULL, NULL, &err), 0);
	CLEAN(json_release) json_t *doc = parse(screen_text(&s));
	ck_assert_uint_eq(json_array_size(doc), (size_t)_i);
	ck_assert(s.c.printed);
	screen_close(&s);
}
END_TEST

START_TEST(a_listing_that_fails_before_its_first_item_is_no_empty_array)
{
	struct err err = ERR_INIT;
	struct screen s;

	err_set(&err, ERR_UNREACHABLE, "site north is away");
	screen_open(&s, CMD_LS);
	s.c.json = true;
	struct run r = {.c = &s.c, .line = line_of};
	ck_assert_int_eq(run_finish(&r, 8, NULL, NULL, &err), 8);
	ck_assert(!s.c.printed);
	s.c.root = (struct root){0};
	ck_assert_int_eq(cli_close(&s.c, 8, &err), 8);
	CLEAN(json_release) json_t *doc = parse(screen_text(&s));
	ck_assert_str_eq(render_str(json_object_get(doc, "error"), "code"), "UNREACHABLE");
	ck_assert_int_eq(render_int(json_object_get(doc, "error"), "exit_status", 0), 8);
	screen_close(&s);
}
END_TEST

START_TEST(quiet_says_nothing_about_success_only)
{
	CLEAN(json_release) json_t *j = parse("{\"kind\":\"backup\",\"plan\":\"demo\",\"outcome\":\"done\"}");
	struct err err = ERR_INIT;
	struct screen s;

	screen_open(&s, CMD_BACKUP);
	s.c.quiet = true;
	struct run r = {.c = &s.c};
	run_finish(&r, 0, j, render_result, &err);
	ck_assert_str_eq(screen_text(&s), "");
	run_finish(&r, 3, j, render_result, &err);
	shows(&s, "backup of demo");
	screen_close(&s);
}
END_TEST

START_TEST(a_listing_whose_reader_went_away_is_cancelled)
{
	atomic_bool cancel = false;
	struct screen s;

	screen_open(&s, CMD_LS);
	FILE *full = fopen("/dev/full", "w");
	FILE *kept = s.c.out;
	setvbuf(full, NULL, _IONBF, 0);
	s.c.out = full;
	s.c.cancel = &cancel;
	struct run r = {.c = &s.c, .line = line_of};
	CLEAN(json_release) json_t *item = json_pack("{s:s}", "path", "a");
	run_item(&r, item);
	ck_assert(atomic_load(&cancel));
	struct err err = ERR_INIT;
	s.c.root = (struct root){0};
	ck_assert_int_eq(cli_close(&s.c, 0, &err), 1);
	fclose(full);
	s.c.out = kept;
	screen_close(&s);
}
END_TEST

/* --- progress --- */

START_TEST(a_bar_is_never_wider_than_the_terminal)
{
	const struct job_progress p = {.phase = "restore",
	        .subject = "a-source-with-quite-a-long-name",
	        .files = 7,
	        .bytes = 3u << 30,
	        .bytes_total = _i % 2 ? 7ull << 30 : 0};
	char line[1024];

	for (unsigned width = 20; width < 240; width++) {
		progress_line(line, sizeof line, &p, 2000000000, _i >= 2, width);
		ck_assert_uint_lt(term_columns(line), width);
	}
}
END_TEST

START_TEST(a_bar_tells_part_rate_and_time_left)
{
	const struct job_progress p = {.phase = "read", .subject = "docs", .bytes = 1u << 20, .bytes_total = 4u << 20};
	char line[1024];

	progress_line(line, sizeof line, &p, 1000000000, false, 100);
	ck_assert_str_eq(line,
	        "read docs  [##########..............................]  25%  1.0 MiB of 4.0 MiB  1.0 MiB/s  ETA 3 s");
	progress_line(line, sizeof line, &p, 0, false, 60);
	ck_assert_ptr_null(strstr(line, "ETA"));
}
END_TEST

START_TEST(a_bar_of_unknown_size_counts_and_a_total_that_was_passed_is_full)
{
	struct job_progress p = {.phase = "read", .subject = "docs\033[m", .files = 12, .bytes = 2048};
	char line[1024];

	progress_line(line, sizeof line, &p, 0, false, 100);
	ck_assert_str_eq(line, "read docs\\x1b[m  12 items, 2.0 KiB");
	p.bytes_total = 1024;
	progress_line(line, sizeof line, &p, 5000000000, false, 100);
	ck_assert_ptr_nonnull(strstr(line, "100%"));
	ck_assert_ptr_null(strstr(line, "ETA"));
}
END_TEST

START_TEST(json_progress_is_a_line_each_and_not_more_than_ten_a_second)
{
	const struct job_progress p = {.phase = "read", .subject = "docs", .bytes = 5};
	const struct term term = {0};
	struct progress progress;
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	progress_init(&progress, "json", false, &term, f);
	for (int64_t ms = 0; ms < 1000; ms += 20) {
		clock_fake(1000000000, 1000000000 + ms * 1000000);
		progress_show(&progress, &p);
	}
	fclose(f);
	size_t lines = 0;
	char *save = NULL;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), lines++) {
		CLEAN(json_release) json_t *j = parse(line);
		ck_assert_str_eq(render_str(j, "phase"), "read");
		ck_assert_int_eq(render_int(j, "bytes", -1), 5);
	}
	ck_assert_uint_eq(lines, 10);
	free(text);
}
END_TEST

START_TEST(progress_is_automatic_on_terminals_alone)
{
	const struct term pipe_term = {0}, tty = {.tty = true};
	struct progress p;

	progress_init(&p, "auto", false, &pipe_term, stderr);
	ck_assert_int_eq(p.mode, PROGRESS_NONE);
	progress_init(&p, "auto", false, &tty, stderr);
	ck_assert_int_eq(p.mode, PROGRESS_BAR);
	progress_init(&p, "auto", true, &tty, stderr);
	ck_assert_int_eq(p.mode, PROGRESS_NONE);
	progress_init(&p, "none", false, &tty, stderr);
	ck_assert_int_eq(p.mode, PROGRESS_NONE);
}
END_TEST

START_TEST(a_bar_is_taken_away_before_other_text)
{
	const struct job_progress p = {.phase = "read", .bytes = 5};
	const struct term term = {0};
	struct progress progress;
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	progress_init(&progress, "bar", false, &term, f);
	progress_show(&progress, &p);
	progress_clear(&progress);
	progress_clear(&progress);
	fclose(f);
	ck_assert_str_eq(text, "\rread   0 items, 5 B\033[K\r\033[K");
	free(text);
}
END_TEST

START_TEST(a_message_clears_the_bar_first)
{
	const struct job_progress p = {.phase = "read", .bytes = 5};
	const struct term term = {0};
	struct progress progress;
	char text[128] = "";
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_ge(dup2(fd[1], STDERR_FILENO), 0);
	progress_init(&progress, "bar", false, &term, stderr);
	progress_show(&progress, &p);
	log_msg(LOG_WARN, "slow site");
	progress_clear(&progress);
	log_msg(LOG_WARN, "done");
	ck_assert_int_gt(read(fd[0], text, sizeof text - 1), 0);
	ck_assert_str_eq(text, "\rread   0 items, 5 B\033[K\r\033[Kwarning: slow site\n\r\033[Kwarning: done\n");
}
END_TEST

START_TEST(wrapped_text_keeps_its_width_and_paragraphs)
{
	struct screen s;

	screen_open(&s, CMD_HELP);
	help_wrap(s.c.out, "one two three\n\nfour averyveryverylongword", 2, 0, 10);
	ck_assert_str_eq(screen_text(&s), "  one two\n  three\n\n  four\n  averyveryverylongword\n");
	screen_close(&s);
}
END_TEST

static TCase *results(void)
{
	TCase *t = tcase_create("results");

	tcase_add_test(t, a_drill_shows_times_against_targets_and_where_the_proof_lies);
	tcase_add_test(t, a_drill_lists_steps_checks_and_what_is_to_be_done);
	tcase_add_test(t, signs_and_colours_appear_only_where_the_terminal_has_them);
	tcase_add_test(t, names_from_outside_cannot_reach_the_terminal);
	tcase_add_test(t, what_was_not_measured_is_never_shown_as_met);
	tcase_add_loop_test(t, any_json_is_rendered_without_harm, 0, 3);
	tcase_add_test(t, a_backup_shows_sources_and_sites);
	tcase_add_test(t, a_tree_makes_units_readable);
	return t;
}

static TCase *output(void)
{
	TCase *t = tcase_create("output");

	tcase_add_test(t, table_columns_align_and_empty_ones_vanish);
	tcase_add_test(t, table_cells_are_made_safe_and_leave_no_space_at_the_end);
	tcase_add_loop_test(t, a_json_listing_is_one_array, 0, 4);
	tcase_add_test(t, a_listing_that_fails_before_its_first_item_is_no_empty_array);
	tcase_add_test(t, quiet_says_nothing_about_success_only);
	tcase_add_test(t, a_listing_whose_reader_went_away_is_cancelled);
	tcase_add_loop_test(t, a_bar_is_never_wider_than_the_terminal, 0, 4);
	tcase_add_test(t, a_bar_tells_part_rate_and_time_left);
	tcase_add_test(t, a_bar_of_unknown_size_counts_and_a_total_that_was_passed_is_full);
	tcase_add_test(t, json_progress_is_a_line_each_and_not_more_than_ten_a_second);
	tcase_add_test(t, progress_is_automatic_on_terminals_alone);
	tcase_add_test(t, a_bar_is_taken_away_before_other_text);
	tcase_add_test(t, a_message_clears_the_bar_first);
	tcase_add_test(t, wrapped_text_keeps_its_width_and_paragraphs);
	return t;
}

int main(void)
{
	Suite *s = suite_create("cli-render");

	suite_add_tcase(s, results());
	suite_add_tcase(s, output());
	return suite_main(s);
}
