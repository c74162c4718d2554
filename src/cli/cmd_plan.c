#include "cli/cli.h"
#include "cli/render.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define SLOTS_SHOWN 3

/* --- plan check --- */

/* One plan's diagnostics and verdicts. */
struct checked {
	struct plan *plan;
	char *path;
	struct plan_diags diags;
	struct plan_findings findings;
	size_t n_verdict[PLAN_UNKNOWN + 1];
};

static void checked_release(struct checked *k)
{
	plan_findings_release(&k->findings);
	plan_diags_release(&k->diags);
	plan_free(k->plan);
	free(k->path);
}

static void judge(const struct cli *c, struct checked *k)
{
	struct plan_facts facts = PLAN_FACTS_INIT;

	job_plan_facts(&(struct job){.root = &c->root, .plan = k->plan}, &facts);
	plan_lint(k->plan, &facts, &k->findings);
	job_plan_facts_release(&facts);
	for (size_t i = 0; i < k->findings.n; i++)
		k->n_verdict[k->findings.v[i].verdict]++;
}

/* What is said of a verdict: of a rule what was found, of a requirement its title, and what it lacks when it is not
 * met. */
static void show_finding(struct cli *c, const struct plan_finding *v)
{
	static const enum term_colour colour[] = {TERM_GREEN, TERM_RED, TERM_PLAIN, TERM_YELLOW};
	static const char *const word[] = {"met", "NOT MET", "not applicable", "unknown"};
	const struct term *t = &c->out_term;
	const char *found = v->text ? v->text : "", *reason = v->rationale ? v->rationale : "";
	bool title = v->catalogue || !*found;
	CLEAN(free_ptr) char *first = term_safe(title ? v->title : found);
	CLEAN(free_ptr) char *second = term_safe(*reason ? reason : title && v->verdict == PLAN_NOT_MET ? found : "");
	CLEAN(free_ptr) char *id = term_safe(v->id);

	fprintf(c->out, "  %s%-14s%s  %-18s  %s%s%s\n", term_on(t, colour[v->verdict]), word[v->verdict],
	        term_off(t, colour[v->verdict]), id, first, *second ? ": " : "", second);
}

static void show_findings(struct cli *c, const struct plan_findings *f)
{
	for (size_t i = 0; i < f->n; i++) {
		const char *catalogue = f->v[i].catalogue;
		if (i == 0 || !str_eq(catalogue, f->v[i - 1].catalogue))
			render_heading(c, catalogue ? catalogue : "rules");
		show_finding(c, &f->v[i]);
	}
}

/* Keys that are right, and that a command of this build would refuse. */
static void show_unserved(struct cli *c, const struct checked *k)
{
	CLEAN(json_release) json_t *list = job_unserved(k->plan);
	size_t i;
	json_t *v;

	if (json_array_size(list))
		render_heading(c, "not served by this build");
	json_array_foreach (list, i, v)
		fprintf(c->out, "  %lld:%lld  %s: %s\n", (long long)render_int(v, "line", 0), (long long)render_int(v, "col", 0), render_str(v, "key"), render_str(v, "message"));
}

static void show_checked(struct cli *c, const struct checked *k)
{
	struct buf text = BUF_INIT(4u << 20);
	CLEAN(free_ptr) char *path = term_safe(k->path);

	if (plan_diags_print(&k->diags, &text, NULL) == 0)
		fwrite(buf_str(&text), 1, text.len, c->out);
	buf_release(&text);
	if (!k->plan) {
		fprintf(c->out, "%s: %zu error%s\n", path, k->diags.n_errors, k->diags.n_errors == 1 ? "" : "s");
		return;
	}
	show_findings(c, &k->findings);
	show_unserved(c, k);
	fprintf(c->out, "%s: no errors; %zu met, %zu not met, %zu not applicable, %zu unknown\n", path,
	        k->n_verdict[PLAN_MET], k->n_verdict[PLAN_NOT_MET], k->n_verdict[PLAN_NOT_APPLICABLE],
	        k->n_verdict[PLAN_UNKNOWN]);
}

static json_t *checked_json(const struct checked *k)
{
	json_t *findings = k->plan ? plan_findings_json(&k->findings) : json_array();

	return json_pack("{s:s, s:s?, s:b, s:o, s:o, s:o}", "file", k->path, "plan", k->plan ? k->plan->name : NULL, "ok",
	        k->plan != NULL, "diagnostics", plan_diags_json(&k->diags), "findings", findings, "unserved", k->plan ? job_unserved(k->plan) : json_array());
}

/* Errors of meaning are the command's facts: err is only for a file that cannot be read. */
static int check_one(struct run *r, const char *operand, struct err *err)
{
	CLEAN(checked_release) struct checked k = {.diags = PLAN_DIAGS_INIT};
	struct cli *c = r->c;
	struct err load_err = ERR_INIT;

	if (cli_plan_path(c, operand, &k.path, err))
		return cli_fail(err);
	if (plan_load_file(k.path, &k.plan, &k.diags, &load_err) && !k.diags.n_errors) {
		*err = load_err;
		return cli_fail(err);
	}
	if (k.plan)
		judge(c, &k);
	if (c->json) {
		CLEAN(json_release) json_t *item = checked_json(&k);
		if (!item) /* a path that is not UTF-8 */
			return cli_fail((err_set(err, ERR_USAGE, "the plan's path is not UTF-8"), err));
		run_item(r, item);
	} else if (!(c->quiet && k.plan)) {
		show_checked(c, &k);
	}
	if (!k.plan)
		return 2;
	return k.n_verdict[PLAN_NOT_MET] && args_flag(c->args, "strict") ? 4 : 0;
}

int cmd_plan_check(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	int status = 0;

	if (run_open(&r, c, NULL, err))
		return cli_fail(err);
	for (size_t i = 0; i < c->args->n_operands; i++) {
		struct err mine = ERR_INIT;
		status = err_status_worse(status, check_one(&r, c->args->operand[i], &mine));
		if (!mine.code)
			continue;
		if (err->code)
			log_err(err);
		*err = mine;
	}
	if (c->json || err->code || status == 0)
		return run_finish(&r, status, NULL, NULL, err);
	return status;
}

/* --- plan show --- */

static void add_slots(
        json_t *next, const struct tz *tz, const char *kind, const char *name, const struct plan_cron *cron)
{
	int64_t at = clock_wall_ns();

	if (!cron->text)
		return;
	for (int i = 0; i < SLOTS_SHOWN; i++) {
		char text[CLOCK_TEXT];
		at = cron_next(&cron->rule, tz, at);
		if (at < 0)
			return;
		json_array_append_new(next,
		        json_pack("{s:s, s:s*, s:s}", "slot", kind, "name", name, "time", clock_rfc3339(text, at)));
	}
}

static int next_slots(const struct plan *p, json_t *next, struct err *err)
{
	CLEAN(tz_free_ptr) struct tz *tz = NULL;

	if (!p->schedule)
		return 0;
	int rc = tz_load(p->time_zone ? p->time_zone : "UTC", &tz, err);
	if (rc)
		return rc;
	add_slots(next, tz, "backup", NULL, &p->schedule->backup);
	if (p->schedule->verify) {
		add_slots(next, tz, "verify", "metadata", &p->schedule->verify->metadata);
		if (p->schedule->verify->data)
			add_slots(next, tz, "verify", "data", &p->schedule->verify->data->every);
	}
	for (size_t i = 0; i < p->schedule->n_drills; i++)
		add_slots(next, tz, "drill", p->schedule->drills[i].name, &p->schedule->drills[i].cron);
	return 0;
}

static void show_plan(struct cli *c, const json_t *result)
{
	CLEAN(table_release) struct table t = {0};
	const json_t *next = json_object_get(result, "next");
	size_t i;
	json_t *v;

	render_tree(c, json_object_get(result, "plan"), 0);
	table_begin(&t, 3, "SLOT", "NAME", "TIME (UTC)");
	json_array_foreach (next, i, v) {
		char time[RENDER_TEXT];
		const char *name = render_str(v, "name");
		table_row(&t, render_str(v, "slot"), name ? name : "", render_time(time, render_str(v, "time")));
	}
	if (i == 0)
		return;
	fputc('\n', c->out);
	render_heading(c, "next slots");
	table_print(&t, c->out, 2);
}

int cmd_plan_show(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = json_object();
	json_t *next = json_array();

	json_object_set_new(result, "next", next);
	if (run_open(&r, c, c->args->operand[0], err) || next_slots(r.plan, next, err))
		return cli_fail(err);
	json_object_set_new(result, "plan", plan_to_json(r.plan));
	if (c->json)
		cli_print_json(c, result);
	else
		show_plan(c, result);
	return 0;
}

/* --- plan new --- */

static int list_templates(struct cli *c)
{
	CLEAN(json_release) json_t *names = json_array();
	struct plan_blob b;

	for (size_t i = 0; plan_template_at(i, &b); i++)
		json_array_append_new(names, json_string(b.name));
	if (c->json) {
		CLEAN(json_release) json_t *doc = json_pack("{s:O}", "templates", names);
		cli_print_json(c, doc);
		return 0;
	}
	for (size_t i = 0; i < json_array_size(names); i++)
		fprintf(c->out, "%s\n", json_string_value(json_array_get(names, i)));
	return 0;
}

/* Create-only, and readable by those who edit plans: it holds no secrets. */
static int write_plan(struct cli *c, const char *output, const char *name, const struct buf *text, struct err *err)
{
	if (!output) {
		fwrite(text->p, 1, text->len, c->out);
		return 0;
	}
	if (fs_create(output, text->p, text->len, 0644, err)) {
		if (err->code == ERR_EXISTS)
			err_set(err, ERR_USAGE, "'%s' is there already", output);
		return cli_fail(err);
	}
	CLEAN(json_release) json_t *doc = json_pack("{s:s, s:s}", "plan", name, "file", output);
	if (c->json && doc)
		cli_print_json(c, doc);
	else if (!c->quiet)
		log_msg(LOG_INFO, "wrote %s; edit it, then: holdfast plan check %s", output, output);
	return 0;
}

int cmd_plan_new(struct cli *c, struct err *err)
{
	struct buf text = BUF_INIT(PLAN_FILE_MAX);
	const char *template = args_text(c->args, "template"), *output = args_text(c->args, "output");
	const char *name = c->args->n_operands ? c->args->operand[0] : template;

	if (!template && !name && !output)
		return list_templates(c);
	if (!template)
		err_set(err, ERR_USAGE, "'plan new' needs --template NAME");
	else if (!str_is_id(name))
		err_set(err, ERR_USAGE, "'%s' cannot name a plan: use a to z, 0 to 9 and -", name);
	else if (c->json && !output)
		err_set(err, ERR_USAGE, "'plan new --json' needs --output FILE");
	if (err->code) {
		if (!template)
			err_hint(err, "holdfast plan new lists the templates");
		return cli_fail(err);
	}
	int status = 0;
	if (plan_template_write(template, name, &text, err))
		status = cli_fail(err);
	else
		status = write_plan(c, output, name, &text, err);
	buf_release(&text);
	return status;
}
