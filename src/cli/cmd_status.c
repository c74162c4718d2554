#include "cli/cli.h"
#include "cli/render.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

/* What is overdue, as a word or a list of them. */
static void overdue_text(char *out, size_t n, const json_t *overdue)
{
	size_t i, len = 0;
	json_t *v;

	snprintf(out, n, "%s", json_is_true(overdue) ? "OVERDUE" : "ok");
	if (json_string_length(overdue))
		snprintf(out, n, "OVERDUE: %s", json_string_value(overdue));
	json_array_foreach (overdue, i, v) {
		const char *word = json_string_value(v);
		if (len + 2 < n)
			len += (size_t)snprintf(out + len, n - len, "%s%s", i ? ", " : "OVERDUE: ", word ? word : "?");
	}
}

/* "two (3 behind, 2 d; weak)" */
static void one_site_text(char *out, size_t n, const json_t *site)
{
	const json_t *behind = json_object_get(site, "behind");
	const char *name = render_str(site, "name");
	char how[128] = "", age[RENDER_TEXT];
	int len = 0;

	if (json_integer_value(behind) > 0 && render_ms(age, site, "behind_ms"))
		len = snprintf(how, sizeof how, "%lld behind, %s", (long long)json_integer_value(behind), age);
	else if (json_integer_value(behind) > 0)
		len = snprintf(how, sizeof how, "%lld behind", (long long)json_integer_value(behind));
	if (json_is_false(json_object_get(site, "reachable")))
		len += snprintf(how + len, sizeof how - (size_t)len, "%sunreachable", len ? "; " : "");
	if (render_true(site, "weak"))
		len += snprintf(how + len, sizeof how - (size_t)len, "%sweak", len ? "; " : "");
	snprintf(out, n, len ? "%s (%s)" : "%s", name ? name : "?", how);
}

static void site_text(char *out, size_t n, const json_t *sites)
{
	char one[256];
	size_t i, len = 0;
	json_t *v;

	out[0] = 0;
	json_array_foreach (sites, i, v) {
		one_site_text(one, sizeof one, v);
		if (len + 2 < n)
			len += (size_t)snprintf(out + len, n - len, "%s%s", i ? " " : "", one);
	}
}

/* Targets are text, or numbers of milliseconds in {rto_ms, rpo_ms}. */
static const char *target_text(char out[RENDER_TEXT], const json_t *target)
{
	char rto[RENDER_TEXT], rpo[RENDER_TEXT];

	if (json_is_string(target))
		return json_string_value(target);
	const char *a = render_ms(rto, target, "rto_ms"), *b = render_ms(rpo, target, "rpo_ms");
	if (!a && !b)
		return NULL;
	snprintf(out, RENDER_TEXT, "%.28s / %.28s", a ? a : "-", b ? b : "-");
	return out;
}

static void status_row(struct run *r, const json_t *item)
{
	char backup[RENDER_TEXT], drill[RENDER_TEXT], target[RENDER_TEXT], overdue[256], sites[256];
	int64_t now = clock_wall_ns();
	const char *last_backup = render_ago(backup, render_str(item, "last_backup"), now);
	const char *last_drill = render_ago(drill, render_str(item, "last_drill"), now);

	overdue_text(overdue, sizeof overdue, json_object_get(item, "overdue"));
	site_text(sites, sizeof sites, json_object_get(item, "sites"));
	table_row(&r->table, render_str(item, "plan"), render_str(item, "source"),
	        target_text(target, json_object_get(item, "target")), last_backup ? last_backup : "never",
	        last_drill ? last_drill : "never", overdue, sites);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct names {
	char **v;
	size_t n, cap;
};

static void names_release(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
}

/* Names of the root's plans, sorted; none when it has no such directory. */
static int plans_of_root(const struct cli *c, struct names *ret, struct err *err)
{
	DIR *dir = opendir(c->root.plans);

	if (!dir && errno == ENOENT)
		return 0;
	if (!dir)
		return err_sys(err, ERR_IO, "cannot read %s", c->root.plans);
	for (const struct dirent *e; (e = readdir(dir));) {
		size_t n = strlen(e->d_name);
		if (n <= 5 || !str_eq(e->d_name + n - 5, ".yaml"))
			continue;
		CLEAN(free_ptr) char *name = xstrndup(e->d_name, n - 5);
		if (!str_is_id(name))
			continue;
		ret->v = xgrow(ret->v, ret->n, &ret->cap, sizeof *ret->v);
		ret->v[ret->n++] = TAKE(name);
	}
	closedir(dir);
	if (ret->n)
		qsort(ret->v, ret->n, sizeof *ret->v, by_name);
	return 0;
}

/* One plan's rows into the listing. Its error is printed here, so that the other plans still show. */
static int one_plan(struct run *all, const char *operand, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = NULL;
	int status;

	if (run_open(&r, all->c, operand, err)) {
		status = cli_fail(err);
	} else {
		r.job.arg = all;
		status = job_status(&r.job, &result, err);
	}
	return status;
}

int cmd_status(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run all = {0};
	CLEAN(names_release) struct names found = {0};
	const char *const *operand = (const char *const *)c->args->operand;
	size_t n = c->args->n_operands;
	int status = 0;

	if (run_open(&all, c, NULL, err))
		return cli_fail(err);
	if (n == 0) {
		if (plans_of_root(c, &found, err))
			return cli_fail(err);
		operand = (const char *const *)found.v;
		n = found.n;
	}
	if (n == 0) {
		err_set(err, ERR_USAGE, "there is no plan in %s", c->root.plans);
		err_hint(err, "name a plan file: holdfast status plan.yaml");
		return cli_fail(err);
	}
	all.line = status_row;
	table_begin(&all.table, 7, "PLAN", "SOURCE", "TARGET", "LAST COPY", "LAST PROVEN", "STATE", "SITES");
	for (size_t i = 0; i < n; i++) {
		struct err mine = ERR_INIT;
		int one = one_plan(&all, operand[i], &mine);
		status = err_status_worse(status, one);
		if (!mine.code)
			continue;
		if (err->code)
			log_err(err);
		*err = mine;
	}
	return run_finish(&all, status, NULL, NULL, err);
}
