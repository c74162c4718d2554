/* The recovery process: sources, steps in order, checks as they become due. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "drill/book.h"
#include "drill/drill_stores.h"

#define SHOW_NS 100000000
#define OUTPUT_KEPT 4096
#define WORK "${work}"

/* --- text --- */

char *book_text(const struct book *b, const char *s)
{
	CLEAN(buf_release) struct buf out = BUF_INIT(1u << 20);
	const char *at;
	for (; (at = strstr(s, WORK)); s = at + strlen(WORK)) {
		buf_add(&out, s, (size_t)(at - s));
		buf_addf(&out, "%s", b->d->work);
	}
	buf_addf(&out, "%s", s);
	return xstrdup(buf_str(&out));
}

char **book_argv(const struct book *b, const struct plan_list *argv)
{
	char **v = xcalloc(argv->n + 1, sizeof *v);
	for (size_t i = 0; i < argv->n; i++)
		v[i] = book_text(b, argv->v[i]);
	return v;
}

void book_argv_free(char **argv)
{
	for (size_t i = 0; argv && argv[i]; i++)
		free(argv[i]);
	free(argv);
}

/* Values are read now: what secrets refer to may be out of sight later. */
static int make_env(const struct book *b, const struct plan_pairs *pairs, struct hook_env *ret, struct err *err)
{
	char work[4200], own[4200];
	struct plan_pair *v = xcalloc(pairs->n + 1, sizeof *v);
	snprintf(work, sizeof work, "WORK=%s", b->d->work);
	snprintf(own, sizeof own, "HOLDFAST_WORK=%s", b->d->work);
	for (size_t i = 0; i < pairs->n; i++) {
		v[i] = pairs->v[i];
		v[i].value = book_text(b, v[i].value);
	}
	int rc = hook_env_init(
	        ret, &(struct plan_pairs){.v = v, .n = pairs->n}, (const char *const[]){work, own, NULL}, err);
	for (size_t i = 0; i < pairs->n; i++)
		free((char *)(uintptr_t)v[i].value);
	free(v);
	return rc;
}

/* --- time --- */

void book_timer_init(struct book_timer *t, struct book *b, const char *phase, const char *subject, int64_t timeout_ms)
{
	*t = (struct book_timer){.b = b, .phase = phase, .subject = subject, .deadline_ns = INT64_MAX};
	int64_t ns;
	if (timeout_ms > 0 && !__builtin_mul_overflow(timeout_ms, (int64_t)1000000, &ns) &&
	        __builtin_add_overflow(clock_boot_ns(), ns, &t->deadline_ns))
		t->deadline_ns = INT64_MAX;
}

void book_timer_tick(void *timer, uint64_t files, uint64_t bytes)
{
	struct book_timer *t = timer;
	int64_t now = clock_boot_ns();
	if (now >= t->deadline_ns)
		t->late = true;
	if (t->late || atomic_load(&t->b->self->cancel))
		atomic_store(&t->stop, true);
	if (now - t->b->shown_ns < SHOW_NS)
		return;
	t->b->shown_ns = now;
	report_send(t->b->self->report,
	        json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "t", "progress", "phase", t->phase, "subject",
	                t->subject, "files", (json_int_t)files, "files_total", (json_int_t)t->files_total, "bytes",
	                (json_int_t)bytes, "bytes_total", (json_int_t)t->bytes_total));
}

int book_timer_error(const struct book_timer *t, struct err *err)
{
	if (err->code == ERR_CANCELLED && t->late)
		return err_set(err, ERR_FAILED, "it did not end within its time");
	return err_rc(err);
}

/* --- steps --- */

/* What a command's failure means: never damage of a copy, whatever the system call said. */
static int command_error(struct err *err)
{
	if (err->code != ERR_CANCELLED)
		err->code = ERR_FAILED;
	return err_rc(err);
}

static int run_command(struct book *b, struct book_step *st, struct err *err)
{
	char **argv = book_argv(b, &st->s->run);
	CLEAN(free_ptr) char *cwd = st->s->cwd ? book_text(b, st->s->cwd) : xstrdup(b->d->work);
	struct proc_result out;
	proc_result_init(&out, OUTPUT_KEPT);
	struct hook h = {.argv = (const char *const *)argv,
	        .more_env = st->env.v,
	        .cwd = cwd,
	        .timeout_ms = st->s->timeout_ms,
	        .cancel = &b->self->cancel,
	        .in_child = isolate_step};
	int rc = hook_run(&h, &out, err);
	if (out.cancelled)
		rc = err_set(err, ERR_CANCELLED, "%s was stopped", argv[0]);
	else if (rc)
		rc = command_error(err);
	proc_result_release(&out);
	book_argv_free(argv);
	return rc;
}

static const char *unmet_need(const struct book *b, const struct plan_step *s)
{
	for (size_t i = 0; i < s->needs.n; i++)
		for (size_t k = 0; k < b->job.plan->recovery->n_steps; k++)
			if (str_eq(b->step[k].s->id, s->needs.v[i]) && b->step[k].state != BOOK_PASSED)
				return s->needs.v[i];
	return NULL;
}

static void skip_step(struct book *b, struct book_step *st, const char *why)
{
	st->state = BOOK_FAILED;
	json_t *o = json_pack("{s:s, s:s, s:s, s:i, s:I}", "t", "step", "id", st->s->id, "outcome", "skipped", "code",
	        0, "bytes", (json_int_t)-1);
	json_object_set_new(o, "detail", report_text(why));
	report_send(b->self->report, o);
}

static void tell_step(struct book *b, struct book_step *st, json_t *o, int rc, const struct err *err)
{
	json_object_set_new(o, "outcome", json_string(rc ? "failed" : "passed"));
	json_object_set_new(o, "code", json_integer(rc ? (int)err->code : 0));
	json_object_set_new(o, "detail", rc ? report_text(err->msg) : json_null());
	json_object_set_new(o, "bytes", json_integer(st->s->restore ? (json_int_t)st->bytes : -1));
	if (st->first_boot_ns) {
		json_object_set_new(o, "first", json_integer(st->first_wall_ns / 1000));
		json_object_set_new(o, "first_boot", json_integer(st->first_boot_ns / 1000));
	}
	report_now(o, "end");
	report_send(b->self->report, o);
}

static void do_step(struct book *b, struct book_step *st)
{
	struct err err = ERR_INIT;
	const char *need = unmet_need(b, st->s);
	if (need) {
		char text[256];
		snprintf(text, sizeof text, "it needs '%s', which did not end well", need);
		skip_step(b, st, text);
		return;
	}
	if (atomic_load(&b->self->cancel)) {
		skip_step(b, st, "the drill was stopped");
		return;
	}
	json_t *o = json_pack("{s:s, s:s}", "t", "step", "id", st->s->id);
	report_now(o, "start");
	int rc = 0;
	if (st->env_err.code) {
		err = st->env_err;
		rc = command_error(&err);
	} else {
		rc = st->s->restore ? book_restore(b, st, &err) : run_command(b, st, &err);
	}
	st->state = rc ? BOOK_FAILED : BOOK_PASSED;
	tell_step(b, st, o, rc, &err);
	/* orphans of a step are ours to bury when we are the first process */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		continue;
	if (!rc && st->s->restore)
		book_checks_restored(b, st);
	book_checks_due(b, false);
}

/* --- the whole --- */

static void book_init(struct book *b, struct isolated_self *self, const struct drill_run *d)
{
	const struct plan_recovery *r = d->j->plan->recovery;
	*b = (struct book){.d = d, .self = self, .job = *d->j};
	b->job.cancel = &self->cancel;
	b->job.progress = NULL;
	b->job.item = NULL;
	b->job.dry_run = true; /* recovery starts cold: no cache helps it, and none is written */
	b->step = xcalloc(r->n_steps + 1, sizeof *b->step);
	b->check = xcalloc(r->n_checks + 1, sizeof *b->check);
	for (size_t i = 0; i < r->n_steps; i++) {
		b->step[i].s = &r->steps[i];
		b->step[i].to = r->steps[i].to ? book_text(b, r->steps[i].to) : NULL;
		(void)make_env(b, &r->steps[i].env, &b->step[i].env, &b->step[i].env_err);
	}
	for (size_t i = 0; i < r->n_checks; i++) {
		b->check[i].c = &r->checks[i];
		(void)make_env(b, &r->checks[i].env, &b->check[i].env, &b->check[i].env_err);
	}
}

static void book_release(struct book *b)
{
	const struct plan_recovery *r = b->job.plan->recovery;
	for (size_t i = 0; i < r->n_steps; i++) {
		hook_env_release(&b->step[i].env);
		free(b->step[i].to);
		free(b->step[i].file);
	}
	for (size_t i = 0; i < r->n_checks; i++)
		hook_env_release(&b->check[i].env);
	book_sources_close(b);
	free(b->step);
	free(b->check);
}

/* The key has done its work once every source is open: no step gets to see it. */
static void open_all(struct book *b)
{
	struct err err = ERR_INIT;
	book_sources_open(b);
	CLEAN(free_ptr) char *keys = realpath(b->job.root->keys, NULL);
	if (keys && isolate_hide(b->self, keys, &err))
		report_error(b->self->report, &err);
	book_sources_report(b);
}

static void run_book(struct book *b)
{
	const struct plan_recovery *r = b->job.plan->recovery;
	open_all(b);
	for (size_t i = 0; i < r->n_steps; i++)
		do_step(b, &b->step[r->order[i]]);
	book_checks_due(b, true);
	book_sites_report(b);
	report_send(b->self->report, json_pack("{s:s}", "t", "end"));
}

void runbook_run(struct isolated_self *self, const struct drill_run *d)
{
	struct book b;
	book_init(&b, self, d);
	run_book(&b);
	book_release(&b);
}

void runbook_process(struct isolated_self *self, void *arg)
{
	struct drill_run d = *(const struct drill_run *)arg;
	struct job job = *d.j;
	struct drill_way way;
	struct err err = ERR_INIT;
	struct book b;
	const char **keep = drill_paths(d.j);
	drill_way_open(&way, self, &job);
	d.j = &job;
	book_init(&b, self, &d); /* secrets that steps refer to are read while their files can be seen */
	if (isolate_mounts(self, d.work, keep, &err) && !self->why.code)
		self->why = err;
	report_isolation(self);
	drill_paths_free(keep);
	run_book(&b);
	book_release(&b);
	drill_way_close(&way);
}

static void add_path(const char **v, size_t *n, const char *path)
{
	char *real = realpath(path, NULL);
	if (real)
		v[(*n)++] = real;
}

/* Where a file:// URL points to; NULL for others. */
static char *url_dir(const char *url)
{
	const char *at = str_starts(url, "file://") ? url + strlen("file://") : NULL;
	char *dir = at ? xcalloc(strlen(at) + 1, 1) : NULL;
	for (char *to = dir; at && *at; to++) {
		if (at[0] == '%' && at[1] && at[2]) {
			*to = (char)strtoul((const char[]){at[1], at[2], 0}, NULL, 16);
			at += 3;
		} else {
			*to = *at++;
		}
	}
	return dir;
}

const char **drill_paths(const struct job *j)
{
	const char **v = xcalloc(j->plan->n_sites + 3, sizeof *v);
	size_t n = 0;
	add_path(v, &n, j->root->keys);
	add_path(v, &n, j->root->state);
	for (size_t i = 0; i < j->plan->n_sites && !j->open_site; i++) {
		CLEAN(free_ptr) char *dir = url_dir(j->plan->sites[i].url);
		if (dir)
			add_path(v, &n, dir);
	}
	return v;
}

void drill_paths_free(const char **paths)
{
	for (size_t i = 0; paths[i]; i++)
		free((char *)(uintptr_t)paths[i]);
	free(paths);
}
