#include "cli/args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define NAMES_MAX 128

static void add_operand(struct args *a, const char *word)
{
	a->operand = xgrow(a->operand, a->n_operands + 1, &a->cap_operands, sizeof *a->operand);
	a->operand[a->n_operands++] = word;
	a->operand[a->n_operands] = NULL;
}

static void add_value(struct args *a, const struct opt_spec *o, const char *text)
{
	a->value = xgrow(a->value, a->n_values, &a->cap_values, sizeof *a->value);
	a->value[a->n_values++] = (struct arg_value){o, text};
}

static int unknown_option(const char *word, const char *name, struct err *err)
{
	const char *names[NAMES_MAX];
	size_t n = 0;

	for (size_t i = 0; i < opt_table_len && n + 1 < NAMES_MAX; i++)
		if (opt_table[i].kind != OPT_HIDDEN)
			names[n++] = opt_table[i].name;
	names[n] = NULL;
	err_set(err, ERR_USAGE, "unknown option '%s'", word);
	const char *near = str_nearest(name, names);
	if (near)
		return err_hint(err, "did you mean --%s?", near);
	return err_hint(err, "see: holdfast help");
}

/* One word that begins with "--" and has more behind it. Consumes the next word where it is the argument. */
static int long_option(struct args *a, const char *word, char *const **next, struct err *err)
{
	const char *eq = strchr(word, '=');
	CLEAN(free_ptr) char *name = eq ? xstrndup(word + 2, (size_t)(eq - word - 2)) : xstrdup(word + 2);
	const struct opt_spec *o = spec_option(NULL, name);

	if (!o)
		return unknown_option(word, name, err);
	if (!spec_takes_arg(o)) {
		if (eq)
			return err_set(err, ERR_USAGE, "option --%s takes no argument", o->name);
		add_value(a, o, NULL);
		return 0;
	}
	if (eq) {
		add_value(a, o, eq + 1);
		return 0;
	}
	/* A value that looks like an option is nearly always a forgotten argument. */
	if (!**next || str_starts(**next, "--")) {
		err_set(err, ERR_USAGE, "option --%s needs an argument", o->name);
		return err_hint(err, "write --%s=%s", o->name, o->arg);
	}
	add_value(a, o, *(*next)++);
	return 0;
}

/* "-o FILE", "-oFILE", or flags in a row: "-qh". */
static int short_options(struct args *a, const char *word, char *const **next, struct err *err)
{
	for (const char *p = word + 1; *p; p++) {
		const struct opt_spec *o = spec_letter(*p);
		if (!o) {
			err_set(err, ERR_USAGE, "unknown option '%s'", word);
			return err_hint(err, "options are written in full: --name; see: holdfast help");
		}
		if (!spec_takes_arg(o)) {
			add_value(a, o, NULL);
			continue;
		}
		if (p[1]) {
			add_value(a, o, p + 1);
			return 0;
		}
		if (!**next)
			return err_set(err, ERR_USAGE, "option -%c needs an argument: %s", o->letter, o->arg);
		add_value(a, o, *(*next)++);
	}
	return 0;
}

static int split_words(struct args *a, char *const *next, struct err *err)
{
	while (*next) {
		const char *word = *next++;
		int rc = 0;
		if (strcmp(word, "--") == 0) {
			while (*next)
				add_operand(a, *next++);
		} else if (str_starts(word, "--")) {
			rc = long_option(a, word, &next, err);
		} else if (word[0] == '-' && word[1]) {
			rc = short_options(a, word, &next, err);
		} else {
			add_operand(a, word);
		}
		if (rc)
			return rc;
	}
	return 0;
}

static int unknown_command(const char *word, struct err *err)
{
	const char *names[NAMES_MAX];
	size_t n = 0;

	for (size_t i = 0; i < CMD_N; i++)
		if (!strchr(cmd_table[i].name, ' '))
			names[n++] = cmd_table[i].name;
	for (size_t i = 0; i < group_table_len; i++)
		names[n++] = group_table[i].name;
	names[n] = NULL;
	err_set(err, ERR_USAGE, "unknown command '%s'", word);
	const char *near = str_nearest(word, names);
	if (near)
		return err_hint(err, "did you mean %s?", near);
	return err_hint(err, "see: holdfast help");
}

static int incomplete_group(const struct cmd_group *g, const char *word, struct err *err)
{
	char list[128] = "";
	size_t len = 0;
	const char *names[NAMES_MAX];
	size_t n = 0;

	for (size_t i = 0; i < CMD_N; i++) {
		if (!spec_in_group(&cmd_table[i], g))
			continue;
		const char *sub = cmd_table[i].name + strlen(g->name) + 1;
		len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", len ? ", " : "", sub);
		BUG_ON(len >= sizeof list);
		names[n++] = sub;
	}
	names[n] = NULL;
	if (!word) {
		err_set(err, ERR_USAGE, "'%s' needs a second word", g->name);
		return err_hint(err, "one of: %s", list);
	}
	err_set(err, ERR_USAGE, "unknown command '%s %s'", g->name, word);
	const char *near = str_nearest(word, names);
	if (near)
		return err_hint(err, "did you mean %s %s?", g->name, near);
	return err_hint(err, "one of: %s", list);
}

static void drop_operands(struct args *a, size_t n)
{
	memmove(a->operand, a->operand + n, (a->n_operands - n + 1) * sizeof *a->operand);
	a->n_operands -= n;
}

static int find_command(struct args *a, struct err *err)
{
	if (a->n_operands == 0)
		return 0;
	const char *word = a->operand[0];
	a->group = spec_group(word);
	if (!a->group) {
		a->cmd = strchr(word, ' ') ? NULL : spec_command(word);
		if (!a->cmd)
			return unknown_command(word, err);
		drop_operands(a, 1);
		return 0;
	}
	const char *sub = a->n_operands > 1 ? a->operand[1] : NULL;
	char full[64];
	if (sub && (size_t)snprintf(full, sizeof full, "%s %s", word, sub) < sizeof full && !strchr(sub, ' '))
		a->cmd = spec_command(full);
	if (a->cmd) {
		drop_operands(a, 2);
		return 0;
	}
	if (!sub && a->help)
		return 0;
	return incomplete_group(a->group, sub, err);
}

static bool count_ok(const char *text, unsigned *ret)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	unsigned long v = strtoul(text, &end, 10);
	if (errno || *end || v > 65535)
		return false;
	*ret = (unsigned)v;
	return true;
}

static int check_value(const struct opt_spec *o, const char *text, struct err *err)
{
	unsigned count;
	uint64_t size;
	int64_t ms;

	switch (o->kind) {
	case OPT_FLAG:
	case OPT_HIDDEN:
		return 0;
	case OPT_CHOICE:
		if (spec_choice_ok(o->arg, text))
			return 0;
		return err_set(err, ERR_USAGE, "option --%s must be one of %s, not '%s'", o->name, o->arg, text);
	case OPT_COUNT:
		if (count_ok(text, &count))
			return 0;
		return err_set(err, ERR_USAGE, "option --%s needs a number up to 65535, not '%s'", o->name, text);
	case OPT_SIZE:
		if (str_size(text, &size))
			return 0;
		err_set(err, ERR_USAGE, "option --%s needs a size, not '%s'", o->name, text);
		return err_hint(err, "for example 512MiB");
	case OPT_DURATION:
		if (str_duration(text, &ms))
			return 0;
		err_set(err, ERR_USAGE, "option --%s needs a duration, not '%s'", o->name, text);
		return err_hint(err, "for example 90s or 5m");
	default:
		if (text[0])
			return 0;
		return err_set(err, ERR_USAGE, "option --%s has an empty argument", o->name);
	}
}

/* Move each value from the row of its name to the command's own row, and judge it. */
static int bind_options(struct args *a, struct err *err)
{
	for (size_t i = 0; i < a->n_values; i++) {
		struct arg_value *v = &a->value[i];
		const struct opt_spec *o = a->cmd ? spec_option(a->cmd, v->spec->name) : v->spec;
		if (!o || (!a->cmd && !spec_is_global(o) && !a->help)) {
			const char *name = a->cmd ? a->cmd->name : "holdfast alone";
			err_set(err, ERR_USAGE, "option --%s does not belong to '%s'", v->spec->name, name);
			return err_hint(err, "see: holdfast help%s%s", a->cmd ? " " : "", a->cmd ? name : "");
		}
		v->spec = o;
		for (size_t k = 0; k < i; k++)
			if (a->value[k].spec == o && spec_takes_arg(o) && o->kind != OPT_LIST)
				return err_set(err, ERR_USAGE, "option --%s is given twice", o->name);
		int rc = check_value(o, v->text, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int check_conflicts(const struct args *a, struct err *err)
{
	for (size_t i = 0; a->cmd && i < conflict_table_len; i++) {
		const struct opt_conflict *c = &conflict_table[i];
		if (!(c->commands & (UINT64_C(1) << a->cmd->id)))
			continue;
		if (args_given(a, c->a) && args_given(a, c->b))
			return err_set(err, ERR_USAGE, "options --%s and --%s exclude each other", c->a, c->b);
	}
	return 0;
}

static int check_operands(const struct args *a, struct err *err)
{
	if (!a->cmd)
		return 0;
	if (a->n_operands < a->cmd->min) {
		err_set(err, ERR_USAGE, "'%s' needs %s", a->cmd->name, a->cmd->operands);
		return err_hint(err, "see: holdfast help %s", a->cmd->name);
	}
	if (a->n_operands > a->cmd->max) {
		const char *word = a->operand[a->cmd->max];
		err_set(err, ERR_USAGE, "'%s' does not take the word '%s'", a->cmd->name, word);
		return err_hint(err, "see: holdfast help %s", a->cmd->name);
	}
	return 0;
}

int args_parse(struct args *a, int argc, char *const *argv, struct err *err)
{
	*a = (struct args){0};
	int rc = argc > 0 ? split_words(a, argv + 1, err) : 0;
	if (rc)
		return rc;
	for (size_t i = 0; i < a->n_values; i++) {
		a->help = a->help || strcmp(a->value[i].spec->name, "help") == 0;
		a->version = a->version || strcmp(a->value[i].spec->name, "version") == 0;
	}
	rc = find_command(a, err);
	if (!rc)
		rc = bind_options(a, err);
	if (rc || a->help || a->version)
		return rc;
	rc = check_conflicts(a, err);
	return rc ? rc : check_operands(a, err);
}

void args_release(struct args *a)
{
	free(a->operand);
	free(a->value);
	*a = (struct args){0};
}

static const struct opt_spec *must_have(const struct args *a, const char *name)
{
	const struct opt_spec *o = spec_option(a->cmd, name);

	if (!o)
		BUG("option --%s is not in the table for '%s'", name, a->cmd ? a->cmd->name : "");
	return o;
}

static const struct arg_value *find_value(const struct args *a, const char *name)
{
	must_have(a, name);
	for (size_t i = 0; i < a->n_values; i++)
		if (strcmp(a->value[i].spec->name, name) == 0)
			return &a->value[i];
	return NULL;
}

const char *args_text(const struct args *a, const char *name)
{
	const struct arg_value *v = find_value(a, name);

	return v ? v->text : must_have(a, name)->dflt;
}

bool args_flag(const struct args *a, const char *name)
{
	return find_value(a, name);
}

bool args_given(const struct args *a, const char *name)
{
	return find_value(a, name);
}

int64_t args_duration(const struct args *a, const char *name)
{
	const char *text = args_text(a, name);
	int64_t ms = 0;

	BUG_ON(text && !str_duration(text, &ms));
	return ms;
}

uint64_t args_size(const struct args *a, const char *name)
{
	const char *text = args_text(a, name);
	uint64_t v = 0;

	BUG_ON(text && !str_size(text, &v));
	return v;
}

unsigned args_count(const struct args *a, const char *name)
{
	const char *text = args_text(a, name);
	unsigned v = 0;

	BUG_ON(text && !count_ok(text, &v));
	return v;
}

const char **args_list(const struct args *a, const char *name)
{
	const char **list = xcalloc(a->n_values + 1, sizeof *list);
	size_t n = 0;

	must_have(a, name);
	for (size_t i = 0; i < a->n_values; i++)
		if (strcmp(a->value[i].spec->name, name) == 0)
			list[n++] = a->value[i].text;
	if (n)
		return list;
	free(list);
	return NULL;
}
