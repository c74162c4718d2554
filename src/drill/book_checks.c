/* Checks: each a named test case of the result. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "drill/book.h"

#define OUTPUT_KEPT (64u << 10)
#define SHOWN 150
#define TEXT 700
#define NS_PER_MS 1000000

static void tell(struct book *b, struct book_check *c, json_t *o, const char *outcome, const char *detail)
{
	json_object_set_new(o, "t", json_string("check"));
	json_object_set_new(o, "id", json_string(c->c->id));
	json_object_set_new(o, "outcome", json_string(outcome));
	json_object_set_new(o, "detail", report_text(detail));
	json_object_set_new(o, "entries", json_integer((json_int_t)c->entries));
	if (!str_eq(outcome, "skipped"))
		report_now(o, "end");
	report_send(b->self->report, o);
	c->done = true;
}

/* --- manifest --- */

static size_t order_of(const struct book *b, const struct plan_step *s)
{
	const struct plan_recovery *r = b->job.plan->recovery;
	size_t i = 0;
	while (&r->steps[r->order[i]] != s)
		i++;
	return i;
}

/* A check that says it needs a later step wants to be run behind that one. */
static bool needs_later(const struct book *b, const struct plan_check *c, const struct plan_step *s)
{
	for (size_t i = 0; i < c->needs.n; i++) {
		const struct plan_step *need = plan_step(b->job.plan, c->needs.v[i]);
		if (need && order_of(b, need) > order_of(b, s))
			return true;
	}
	return false;
}

static bool is_target(const struct book_step *st, const struct plan_check *c)
{
	return st->to && st->s->restore && str_eq(st->s->restore, c->of);
}

static size_t targets(const struct book *b, const struct plan_check *c)
{
	size_t n = 0;
	for (size_t i = 0; i < b->job.plan->recovery->n_steps; i++)
		n += is_target(&b->step[i], c);
	return n;
}

/* One restored copy looked at; told when it was the last, or wrong. */
static void manifest_one(struct book *b, struct book_check *c, struct book_step *st)
{
	struct err err = ERR_INIT;
	char text[TEXT], size[32];
	json_t *o = json_object();
	report_now(o, "start");
	int rc = book_manifest(b, st, c, &err);
	c->restored++;
	if (rc) {
		tell(b, c, o, "failed", err.msg);
		return;
	}
	if (c->restored < targets(b, c->c)) {
		json_decref(o);
		return;
	}
	str_human_size(size, c->bytes);
	const char *entries = c->entries == 1 ? "entry" : "entries";
	if (c->chunks)
		snprintf(text, sizeof text, "%llu %s, %s in %llu chunks, as recorded", (unsigned long long)c->entries,
		        entries, size, (unsigned long long)c->chunks);
	else
		snprintf(text, sizeof text, "%llu %s, %s, as recorded", (unsigned long long)c->entries, entries, size);
	tell(b, c, o, "passed", text);
}

void book_checks_restored(struct book *b, struct book_step *st)
{
	for (size_t i = 0; i < b->job.plan->recovery->n_checks; i++) {
		struct book_check *c = &b->check[i];
		if (!c->done && c->c->kind == PLAN_CHECK_MANIFEST && is_target(st, c->c) &&
		        !needs_later(b, c->c, st->s))
			manifest_one(b, c, st);
	}
}

static void manifest_late(struct book *b, struct book_check *c)
{
	c->restored = 0;
	c->entries = c->bytes = c->chunks = 0;
	for (size_t i = 0; !c->done && i < b->job.plan->recovery->n_steps; i++)
		if (is_target(&b->step[i], c->c))
			manifest_one(b, c, &b->step[i]);
}

/* --- commands --- */

static int run(
        struct book *b, struct book_check *c, const struct plan_list *list, struct proc_result *out, struct err *err)
{
	char **argv = book_argv(b, list);
	struct hook h = {.argv = (const char *const *)argv,
	        .more_env = c->env.v,
	        .cwd = b->d->work,
	        .timeout_ms = c->c->timeout_ms,
	        .cancel = &b->self->cancel,
	        .in_child = isolate_step};
	int rc = c->env_err.code ? err_set(err, ERR_FAILED, "%s", c->env_err.msg) : hook_run(&h, out, err);
	if (!rc && out->cancelled)
		rc = err_set(err, ERR_CANCELLED, "%s was stopped", argv[0]);
	book_argv_free(argv);
	return rc;
}

static void command(struct book *b, struct book_check *c)
{
	struct err err = ERR_INIT;
	struct proc_result out;
	json_t *o = json_object();
	proc_result_init(&out, OUTPUT_KEPT);
	report_now(o, "start");
	int rc = run(b, c, &c->c->run, &out, &err);
	tell(b, c, o, rc ? "failed" : "passed", rc ? err.msg : NULL);
	proc_result_release(&out);
}

static void trim(struct buf *b)
{
	while (b->len && b->p[b->len - 1] == '\n')
		b->len--;
}

/* What of an output a person needs to see. */
static void shown(char out[2 * SHOWN], struct buf *b)
{
	char head[SHOWN];
	size_t n = MIN(b->len, (size_t)SHOWN - 1);
	if (n)
		memcpy(head, b->p, n);
	head[n] = 0;
	log_safe(out, 2 * SHOWN, head);
	if (n < b->len && strlen(out) + 4 < 2 * SHOWN)
		strcat(out, "...");
}

static int compare_outputs(struct proc_result *l, struct proc_result *r, char text[TEXT])
{
	char left[2 * SHOWN], right[2 * SHOWN];
	if (l->out_dropped || r->out_dropped) {
		snprintf(text, TEXT, "an output is longer than %u KiB and was not compared", OUTPUT_KEPT >> 10);
		return -1;
	}
	trim(&l->out);
	trim(&r->out);
	bool same = l->out.len == r->out.len && (!l->out.len || !memcmp(l->out.p, r->out.p, l->out.len));
	shown(left, &l->out);
	shown(right, &r->out);
	if (same)
		snprintf(text, TEXT, "both say '%s'", left);
	else
		snprintf(text, TEXT, "left says '%s', right says '%s'", left, right);
	return same ? 0 : -1;
}

static void compare(struct book *b, struct book_check *c)
{
	struct err err = ERR_INIT;
	struct proc_result l, r;
	char text[TEXT] = "";
	json_t *o = json_object();
	proc_result_init(&l, OUTPUT_KEPT);
	proc_result_init(&r, OUTPUT_KEPT);
	report_now(o, "start");
	int rc = run(b, c, &c->c->left, &l, &err);
	if (rc) {
		snprintf(text, sizeof text, "left: %s", err.msg);
	} else if ((rc = run(b, c, &c->c->right, &r, &err))) {
		snprintf(text, sizeof text, "right: %s", err.msg);
	} else {
		rc = compare_outputs(&l, &r, text);
	}
	tell(b, c, o, rc ? "failed" : "passed", text);
	proc_result_release(&l);
	proc_result_release(&r);
}

/* --- freshness --- */

bool drill_fresh(int64_t start_ns, int64_t moment_ns, int64_t max_age_ms, char *text, size_t n)
{
	char age[32], most[32];
	int64_t age_ms = (moment_ns - start_ns) / NS_PER_MS;
	str_human_duration(most, max_age_ms);
	if (age_ms < 0) { /* a clock that is wrong proves nothing */
		snprintf(text, n, "the snapshot began after the moment it is judged for: a clock is wrong");
		return false;
	}
	snprintf(text, n, "%s old, at most %s", str_human_duration(age, age_ms), most);
	return age_ms <= max_age_ms;
}

static void freshness(struct book *b, struct book_check *c)
{
	char text[TEXT];
	struct book_source *s = book_source(b, c->c->of);
	json_t *o = json_object();
	if (!s || !s->open) {
		tell(b, c, o, "skipped", s ? s->why.msg : "its source is not known");
		return;
	}
	report_now(o, "start");
	bool ok = drill_fresh(s->snap->snap.facts.start, b->d->declared_ns, c->c->max_age_ms, text, sizeof text);
	tell(b, c, o, ok ? "passed" : "failed", text);
}

/* --- when --- */

enum due { DUE_LATER, DUE_NOW, DUE_NEVER };

/* needs: given, those steps; none given, all. *ret_step names the one that did not end well. */
static enum due is_due(const struct book *b, const struct plan_check *c, const char **ret_step)
{
	const struct plan_recovery *r = b->job.plan->recovery;
	enum due due = DUE_NOW;
	for (size_t i = 0; i < r->n_steps; i++) {
		bool needed = !c->needs.n;
		for (size_t k = 0; k < c->needs.n; k++)
			needed = needed || str_eq(c->needs.v[k], r->steps[i].id);
		if (!needed || b->step[i].state == BOOK_PASSED)
			continue;
		if (b->step[i].state == BOOK_FAILED) {
			*ret_step = r->steps[i].id;
			return DUE_NEVER;
		}
		due = DUE_LATER;
	}
	return due;
}

static void do_check(struct book *b, struct book_check *c)
{
	switch (c->c->kind) {
	case PLAN_CHECK_MANIFEST:
		manifest_late(b, c);
		break;
	case PLAN_CHECK_COMMAND:
		command(b, c);
		break;
	case PLAN_CHECK_COMPARE:
		compare(b, c);
		break;
	case PLAN_CHECK_FRESHNESS:
		freshness(b, c);
		break;
	case PLAN_CHECK_HTTP:
	case PLAN_CHECK_TCP: /* refused before the drill began */
		break;
	}
}

void book_checks_due(struct book *b, bool last)
{
	for (size_t i = 0; i < b->job.plan->recovery->n_checks; i++) {
		struct book_check *c = &b->check[i];
		const char *step = "";
		char text[TEXT];
		if (c->done)
			continue;
		enum due due = is_due(b, c->c, &step);
		/* the age of a snapshot can be told whatever became of the steps */
		if (due == DUE_NEVER && last && c->c->kind == PLAN_CHECK_FRESHNESS)
			due = DUE_NOW;
		if (due == DUE_NOW && !atomic_load(&b->self->cancel))
			do_check(b, c);
		else if (due == DUE_NEVER && last) {
			snprintf(text, sizeof text, "step '%s' did not end well", step);
			tell(b, c, json_object(), "skipped", text);
		}
	}
}
