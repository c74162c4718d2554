/* One run of one source, without its controller. */
#include "job/source_run.h"

#include <string.h>
#include "backup/scan.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/str.h"
#include "job/common.h"
#include "job/hooks.h"

#define FIXED_CUT (64u << 10) /* `cut: fixed`: pages change in place, so that small chunks keep a change small */

struct run {
	const struct source_run_opts *o;
	const struct plan_source *ps;
	struct source_keys keys;
	struct session *session;
	struct writer *writer;
	struct scan *scan;
	struct source_run_result *ret;
};

static void show(void *arg, uint64_t files, uint64_t bytes)
{
	struct run *s = arg;
	struct writer_stats st;
	if (!s->o->progress)
		return;
	writer_stats(s->writer, &st);
	s->o->progress(s->o->arg, files, bytes, st.sealed);
}

static void noted_one(void *arg, enum note_code code, const char *path, size_t n)
{
	struct run *s = arg;
	if (s->o->noted)
		s->o->noted(s->o->arg, code, path, n);
}

static struct scan *make_scan(struct run *s, const char *cache)
{
	const struct plan_source *ps = s->ps;
	struct scan_opts o = {
		.paths = ps->paths.v,
		.exclude = ps->exclude.n ? ps->exclude.v : NULL,
		.exclude_from = ps->exclude_from.n ? ps->exclude_from.v : NULL,
		.exclude_if_present = ps->exclude_if_present.n ? ps->exclude_if_present.v : NULL,
		.exclude_caches = ps->exclude_caches,
		.one_file_system = ps->one_file_system,
		.full_read = s->o->full_read,
		.cache_dir = cache,
		.epoch = s->keys.epoch,
		.cancel = s->o->cancel,
		.progress = show,
		.note = noted_one,
		.arg = s,
	};
	o.has_cache_of = session_head_digest(s->session, o.cache_of);
	return scan_new(&o);
}

static int open_writer(struct run *s, struct err *err)
{
	const struct cfg_class *class_ = cfg_find_class(s->o->cfg, s->keys.class_name);
	if (!class_ || !class_->n_recipients)
		return err_set(err, ERR_INTERNAL, "class '%s' has no recipients", s->keys.class_name);
	struct writer_opts w = {
		.session = s->session,
		.keys = &s->keys,
		.recipient = class_->recipient,
		.n_recipients = class_->n_recipients,
		.workers = s->o->workers,
		.level = (int)s->ps->level,
		.memory = s->o->memory_cap,
		.fixed_cut = s->ps->cut == PLAN_CUT_FIXED ? FIXED_CUT : 0,
		.dry_run = s->o->dry_run,
		.cut = scan_cut,
		.arg = s->scan,
	};
	return writer_open(&w, &s->writer, err);
}

static ssize_t read_child(void *arg, void *to, size_t n)
{
	return proc_read(arg, to, n);
}

/* A dump that failed or shrank is no backup. */
static int judge_command(const struct run *s, struct proc *p, int status, struct err *err)
{
	const struct plan_source *ps = s->ps;
	char tail[200];
	if (status)
		return err_set(err, ERR_FAILED, "source '%s': %s ended with status %d, so its output is no backup: %s", ps->name, ps->command.v[0], status,
			log_safe(tail, sizeof tail, buf_str(&p->err_tail)));
	if (s->ret->facts.bytes >= ps->min_size)
		return 0;
	err_set(err, ERR_FAILED, "source '%s': %llu bytes, but min_size is %llu: an empty or shrunken dump is no backup", ps->name, (unsigned long long)s->ret->facts.bytes,
		(unsigned long long)ps->min_size);
	return err_hint(err, "look at the command's own output; the earlier snapshot stays the newest");
}

static int read_command(struct run *s, struct err *err)
{
	CLEAN(proc_release) struct proc p = PROC_INIT;
	struct hook_env env;
	int status = 0;
	int rc = hook_env_init(&env, &s->ps->env, NULL, err);
	if (rc)
		return rc;
	struct proc_opts po = {.env = env.v, .cwd = s->ps->cwd, .stdin_fd = -1, .timeout_ms = s->ps->timeout_ms, .cancel = s->o->cancel};
	rc = proc_open(s->ps->command.v, &po, PROC_READ, &p, err);
	hook_env_release(&env);
	if (!rc)
		rc = scan_stream(s->scan, s->writer, s->ps->name, read_child, &p, &s->ret->facts, err);
	if (!rc)
		rc = proc_close(&p, s->ps->timeout_ms, &status, err);
	return rc ? rc : judge_command(s, &p, status, err);
}

static int read_source(struct run *s, struct err *err)
{
	int rc;
	s->ret->facts.start = clock_wall_ns();
	str_copy(s->ret->facts.run, sizeof s->ret->facts.run, s->o->run_id);
	s->ret->facts.is_stream = s->ps->command.n > 0;
	if (s->ret->facts.is_stream)
		return read_command(s, err);
	rc = scan_paths(s->scan, s->writer, &s->ret->facts, err);
	if (!rc && s->ret->facts.bytes < s->ps->min_size)
		rc = err_set(err, ERR_FAILED, "source '%s': %llu bytes, but min_size is %llu", s->ps->name, (unsigned long long)s->ret->facts.bytes, (unsigned long long)s->ps->min_size);
	return rc;
}

static int finish_source(struct run *s, struct err *err)
{
	CLEAN(pack_list_release) struct pack_list packs = {0};
	struct writer_stats st;
	int rc = writer_finish(s->writer, s->ret->facts.root, &packs, err);
	if (rc)
		return rc;
	writer_stats(s->writer, &st);
	s->ret->facts.added = s->o->dry_run ? st.bytes_new : st.sealed;
	s->ret->facts.end = clock_wall_ns();
	if (s->o->dry_run)
		return 0;
	rc = session_commit(s->session, &s->ret->facts, &packs, s->o->plan_digest, &s->ret->committed, err);
	if (rc)
		return rc;
	s->ret->is_committed = true;
	struct err why = ERR_INIT;
	if (scan_keep_cache(s->scan, s->ret->committed.digest, &why)) /* a hint: without it the next run reads everything */
		log_msg(LOG_WARN, "files cache: %s; the next run reads everything", why.msg);
	return 0;
}

static int run_hooks(struct run *s, const struct plan_lists *hooks, const char *when, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; i < hooks->n; i++) {
		struct err why = ERR_INIT;
		if (s->o->dry_run)
			continue;
		int one = hook_run(&(struct hook){.argv = hooks->v[i].v, .env = &s->ps->env, .cwd = s->ps->cwd, .timeout_ms = s->ps->timeout_ms, .cancel = s->o->cancel}, NULL, &why);
		if (one && !rc) {
			rc = one;
			*err = why;
			err_wrap(err, "source '%s', %s hook", s->ps->name, when);
		}
		if (rc && str_eq(when, "before"))
			break;
	}
	return rc;
}

static int read_and_commit(struct run *s, struct err *err)
{
	struct err after = ERR_INIT;
	int rc = open_writer(s, err);
	if (!rc) {
		rc = run_hooks(s, &s->ps->before, "before", err);
		if (!rc)
			rc = read_source(s, err);
		if (run_hooks(s, &s->ps->after, "after", &after) && !rc) {
			*err = after;
			rc = err_rc(err);
		}
	}
	return rc ? rc : finish_source(s, err);
}

static int run_session(struct run *s, struct err *err)
{
	const struct source_run_opts *o = s->o;
	CLEAN(free_ptr) char *plan = fs_join(o->root->state, o->plan);
	CLEAN(free_ptr) char *state = fs_join(plan, s->ps->name);
	CLEAN(free_ptr) char *cache = fs_join(state, "files");
	struct session_opts so = {.state_dir = state, .keys = &s->keys, .cfg = o->cfg, .site = o->site, .n_sites = o->n_sites, .now = clock_wall_ns(), .dry_run = o->dry_run, .patience_ms = o->patience_ms};
	struct writer_memory least = {.workers = 1, .packs = 2}; /* a bound that cannot be kept is refused before any site is touched */
	int rc = writer_memory_plan(o->memory_cap, s->ps->level ? (int)s->ps->level : WRITER_LEVEL, &least, err);
	if (rc)
		return rc;
	str_copy(so.run, sizeof so.run, o->run_id);
	rc = session_begin(&so, &s->session, err);
	if (rc)
		return rc;
	s->scan = make_scan(s, cache);
	rc = read_and_commit(s, err);
	writer_close(s->writer);
	session_end(s->session);
	scan_free(s->scan);
	return rc;
}

void source_run_reset(struct session_site *site, size_t n)
{
	for (size_t i = 0; i < n; i++)
		site[i] = (struct session_site){
			.name = site[i].name,
			.store = site[i].store,
			.state = site[i].store ? SITE_ACTIVE : SITE_UNREACHABLE,
			.err = site[i].store ? (struct err)ERR_INIT : site[i].err,
		};
}

int source_run(const struct source_run_opts *o, struct source_run_result *ret, struct err *err)
{
	struct run s = {.o = o, .ps = o->source, .ret = ret};
	*ret = (struct source_run_result){0};
	source_run_reset(o->site, o->n_sites);
	int rc = host_keys_find(o->root, o->plan, o->source->name, &s.keys, err);
	if (rc)
		return rc;
	if (memcmp(s.keys.repo, o->cfg->repo, REPO_ID_LEN))
		rc = err_set(err, ERR_FORK, "source '%s': its keys belong to another repository than the sites hold", o->source->name);
	if (!rc)
		rc = run_session(&s, err);
	source_keys_release(&s.keys);
	return rc;
}
