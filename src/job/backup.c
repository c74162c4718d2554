/* backup: each source of the plan to every site that is up to date. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/rng.h"
#include "base/str.h"
#include "job/common.h"
#include "job/hooks.h"
#include "backup/scan.h"

#define TOLD_MAX 1000 /* skipped items in a result */
#define FIXED_CUT (64u << 10) /* `cut: fixed`: pages change in place, so that small chunks keep a change small */

struct source_run {
	const struct job *j;
	const struct plan_source *ps;
	const struct cfg *cfg;
	struct sites *sites;
	const char *run_id;
	bool full_read;
	struct source_keys keys;
	struct session *session;
	struct writer *writer;
	struct scan *scan;
	struct snapshot_facts facts;
	struct session_result committed;
	bool is_committed;
	struct result *result;
	size_t n_told;
};

static void show(void *arg, uint64_t files, uint64_t bytes)
{
	struct source_run *s = arg;
	struct writer_stats st;
	if (!s->j->progress)
		return;
	writer_stats(s->writer, &st);
	s->j->progress(s->j->arg, &(struct job_progress){.phase = "read", .subject = s->ps->name, .files = files, .bytes = bytes, .bytes_new = st.sealed});
}

/* The result names what was skipped; the signed snapshot counts and names all of it. */
static void noted_one(void *arg, enum note_code code, const char *path, size_t n)
{
	struct source_run *s = arg;
	if (code == NOTE_IGNORED || s->n_told++ >= TOLD_MAX)
		return;
	json_t *o = json_pack("{s:s, s:s}", "source", s->ps->name, "reason", note_name(code));
	json_set_path(o, "path", path, n);
	result_add(s->result, RESULT_SKIPPED, o);
}

static struct scan *make_scan(struct source_run *s, const char *cache)
{
	const struct plan_source *ps = s->ps;
	struct scan_opts o = {
		.paths = ps->paths.v,
		.exclude = ps->exclude.n ? ps->exclude.v : NULL,
		.exclude_from = ps->exclude_from.n ? ps->exclude_from.v : NULL,
		.exclude_if_present = ps->exclude_if_present.n ? ps->exclude_if_present.v : NULL,
		.exclude_caches = ps->exclude_caches,
		.one_file_system = ps->one_file_system,
		.full_read = s->full_read,
		.cache_dir = cache,
		.epoch = s->keys.epoch,
		.cancel = s->j->cancel,
		.progress = show,
		.note = noted_one,
		.arg = s,
	};
	o.has_cache_of = session_head_digest(s->session, o.cache_of);
	return scan_new(&o);
}

static int open_writer(struct source_run *s, struct err *err)
{
	const struct cfg_class *class_ = cfg_find_class(s->cfg, s->keys.class_name);
	if (!class_ || !class_->n_recipients)
		return err_set(err, ERR_INTERNAL, "class '%s' has no recipients", s->keys.class_name);
	struct writer_opts w = {
		.session = s->session,
		.keys = &s->keys,
		.recipient = class_->recipient,
		.n_recipients = class_->n_recipients,
		.workers = s->j->workers,
		.level = (int)s->ps->level,
		.memory = s->j->memory_cap,
		.fixed_cut = s->ps->cut == PLAN_CUT_FIXED ? FIXED_CUT : 0,
		.dry_run = s->j->dry_run,
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
static int judge_command(const struct source_run *s, struct proc *p, int status, struct err *err)
{
	const struct plan_source *ps = s->ps;
	char tail[200];
	if (status)
		return err_set(err, ERR_FAILED, "source '%s': %s ended with status %d, so its output is no backup: %s", ps->name, ps->command.v[0], status,
			log_safe(tail, sizeof tail, buf_str(&p->err_tail)));
	if (s->facts.bytes >= ps->min_size)
		return 0;
	err_set(err, ERR_FAILED, "source '%s': %llu bytes, but min_size is %llu: an empty or shrunken dump is no backup", ps->name, (unsigned long long)s->facts.bytes,
		(unsigned long long)ps->min_size);
	return err_hint(err, "look at the command's own output; the earlier snapshot stays the newest");
}

static int read_command(struct source_run *s, struct err *err)
{
	CLEAN(proc_release) struct proc p = PROC_INIT;
	struct hook_env env;
	int status = 0;
	int rc = hook_env_init(&env, &s->ps->env, NULL, err);
	if (rc)
		return rc;
	struct proc_opts po = {.env = env.v, .cwd = s->ps->cwd, .stdin_fd = -1, .timeout_ms = s->ps->timeout_ms, .cancel = s->j->cancel};
	rc = proc_open(s->ps->command.v, &po, PROC_READ, &p, err);
	hook_env_release(&env);
	if (!rc)
		rc = scan_stream(s->scan, s->writer, s->ps->name, read_child, &p, &s->facts, err);
	if (!rc)
		rc = proc_close(&p, s->ps->timeout_ms, &status, err);
	return rc ? rc : judge_command(s, &p, status, err);
}

static int read_source(struct source_run *s, struct err *err)
{
	int rc;
	s->facts.start = clock_wall_ns();
	str_copy(s->facts.run, sizeof s->facts.run, s->run_id);
	s->facts.is_stream = s->ps->command.n > 0;
	if (s->facts.is_stream)
		return read_command(s, err);
	rc = scan_paths(s->scan, s->writer, &s->facts, err);
	if (!rc && s->facts.bytes < s->ps->min_size)
		rc = err_set(err, ERR_FAILED, "source '%s': %llu bytes, but min_size is %llu", s->ps->name, (unsigned long long)s->facts.bytes, (unsigned long long)s->ps->min_size);
	return rc;
}

static int finish_source(struct source_run *s, struct err *err)
{
	CLEAN(pack_list_release) struct pack_list packs = {0};
	struct writer_stats st;
	int rc = writer_finish(s->writer, s->facts.root, &packs, err);
	if (rc)
		return rc;
	writer_stats(s->writer, &st);
	s->facts.added = s->j->dry_run ? st.bytes_new : st.sealed;
	s->facts.end = clock_wall_ns();
	if (s->j->dry_run)
		return 0;
	rc = session_commit(s->session, &s->facts, &packs, s->j->plan->digest, &s->committed, err);
	if (rc)
		return rc;
	s->is_committed = true;
	struct err why = ERR_INIT;
	if (scan_keep_cache(s->scan, s->committed.digest, &why)) /* a hint: without it the next run reads everything */
		log_msg(LOG_WARN, "files cache: %s; the next run reads everything", why.msg);
	return 0;
}

static int run_hooks(struct source_run *s, const struct plan_lists *hooks, const char *when, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; i < hooks->n; i++) {
		struct err why = ERR_INIT;
		if (s->j->dry_run)
			continue;
		int one = hook_run(&(struct hook){.argv = hooks->v[i].v, .env = &s->ps->env, .cwd = s->ps->cwd, .timeout_ms = s->ps->timeout_ms, .cancel = s->j->cancel}, NULL, &why);
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

static int one_source(struct source_run *s, struct err *err)
{
	struct err after = ERR_INIT;
	CLEAN(free_ptr) char *state = path_source_state(s->j, s->ps->name);
	CLEAN(free_ptr) char *cache = fs_join(state, "files");
	int rc = host_keys_load(s->j, s->ps->name, &s->keys, err);
	if (rc)
		return rc;
	if (memcmp(s->keys.repo, s->cfg->repo, REPO_ID_LEN))
		return err_set(err, ERR_FORK, "source '%s': its keys belong to another repository than the sites hold", s->ps->name);
	for (size_t i = 0; i < s->sites->n; i++) { /* each source finds its own way to each site */
		struct session_site *site = &s->sites->site[i];
		*site = (struct session_site){.name = site->name, .store = site->store, .err = site->store ? (struct err)ERR_INIT : site->err};
	}
	struct session_opts so = {.state_dir = state, .keys = &s->keys, .cfg = s->cfg, .site = s->sites->site, .n_sites = s->sites->n, .now = clock_wall_ns(), .dry_run = s->j->dry_run};
	str_copy(so.run, sizeof so.run, s->run_id);
	if ((rc = session_begin(&so, &s->session, err)))
		return rc;
	s->scan = make_scan(s, cache);
	rc = open_writer(s, err);
	if (!rc) {
		rc = run_hooks(s, &s->ps->before, "before", err);
		if (!rc)
			rc = read_source(s, err);
		if (run_hooks(s, &s->ps->after, "after", &after) && !rc) {
			*err = after;
			rc = err_rc(err);
		}
	}
	if (!rc)
		rc = finish_source(s, err);
	writer_close(s->writer);
	session_end(s->session);
	scan_free(s->scan);
	return rc;
}

/* --- what it tells --- */

static json_t *notes_json(const struct snapshot_facts *f)
{
	json_t *o = json_object();
	for (enum note_code c = 0; c < NOTE_CODES; c++)
		json_object_set_new(o, note_name(c), json_integer((json_int_t)f->notes[c]));
	return o;
}

static uint64_t noted(const struct snapshot_facts *f)
{
	return f->notes[NOTE_CHANGED] + f->notes[NOTE_UNREADABLE] + f->notes[NOTE_VANISHED];
}

static json_t *source_json(const struct source_run *s, int rc, const struct err *err)
{
	const struct snapshot_facts *f = &s->facts;
	json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "name", s->ps->name, "outcome", rc ? "failed" : noted(f) ? "incomplete" : "done", "files", (json_int_t)f->files, "dirs",
		(json_int_t)f->dirs, "bytes", (json_int_t)f->bytes, "added_bytes", (json_int_t)f->added, "skipped", (json_int_t)noted(f));
	json_object_set_new(o, "unchanged", json_integer((json_int_t)f->skipped));
	json_object_set_new(o, "notes", notes_json(f));
	if (s->is_committed) {
		json_object_set_new(o, "snapshot", json_hex(s->committed.digest, ID_LEN));
		json_object_set_new(o, "seq", json_integer((json_int_t)s->committed.seq));
		json_object_set_new(o, "lineage", json_string(s->committed.lineage));
		json_object_set_new(o, "new_lineage", json_boolean(s->committed.new_lineage));
		json_object_set_new(o, "copies", json_integer((json_int_t)s->committed.committed));
	}
	json_t *sites = json_array();
	for (size_t i = 0; i < s->sites->n; i++) {
		const struct session_site *site = &s->sites->site[i];
		json_array_append_new(sites, json_pack("{s:s, s:s, s:s*}", "name", site->name, "outcome", site_state_name(site->state), "error", site->err.msg[0] ? site->err.msg : NULL));
	}
	json_object_set_new(o, "sites", sites);
	if (rc)
		json_object_set_new(o, "error", json_string(err->msg));
	return o;
}

/* r/<source>/<lineage>/<seq>: the controller's word on when it was told of the commit. */
static void put_receipt(const struct source_run *s, const struct secret *log_seed)
{
	char key[STORE_KEY_MAX + 1];
	struct err why = ERR_INIT;
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	CLEAN(json_release) json_t *o = json_pack("{s:s, s:s, s:I, s:o, s:o}", "source", s->ps->name, "lineage", s->committed.lineage, "seq", (json_int_t)s->committed.seq, "snapshot",
		json_hex(s->committed.digest, ID_LEN), "time", json_time(clock_wall_ns()));
	json_t *names = json_array();
	for (size_t i = 0; i < s->sites->n; i++)
		if (s->sites->site[i].state == SITE_COMMITTED)
			json_array_append_new(names, json_string(s->sites->site[i].name));
	json_object_set_new(o, "sites", names);
	if (signed_make("receipt", o, s->cfg->repo, log_seed, &b, &why)) {
		log_msg(LOG_WARN, "receipt: %s", why.msg);
		return;
	}
	key_snapshot(key, 'r', s->ps->name, s->committed.lineage, s->committed.seq);
	for (size_t i = 0; i < s->sites->n; i++)
		if (s->sites->site[i].state == SITE_COMMITTED && store_put_bytes(s->sites->site[i].store, key, b.p, b.len, &why))
			log_msg(LOG_WARN, "receipt: %s", why.msg);
}

struct totals {
	uint64_t bytes, added;
	int status;
	struct evidence_subject *subject;
	char (*name)[SOURCE_MAX + 16];
	size_t n_subjects;
	size_t behind[64];
};

/* Where every copy stands after one source: status, sites, subjects. */
static void account(struct source_run *s, int rc, const struct err *err, struct totals *t, struct err *first)
{
	const struct plan *p = s->j->plan;
	t->bytes += s->facts.bytes;
	t->added += s->facts.added;
	if (rc) {
		t->status = err_status_worse(t->status, err_exit_status(err->code));
		if (!first->code)
			*first = *err;
		return;
	}
	if (noted(&s->facts))
		t->status = err_status_worse(t->status, 3);
	for (size_t i = 0; i < s->sites->n && i < ARRAY_LEN(t->behind); i++)
		t->behind[i] += s->sites->site[i].state != SITE_COMMITTED;
	if (!s->is_committed)
		return;
	struct evidence_subject *sub = &t->subject[t->n_subjects];
	snprintf(t->name[t->n_subjects], sizeof t->name[0], "snapshot:%s", s->ps->name);
	sub->name = t->name[t->n_subjects++];
	memcpy(sub->sha256, s->committed.digest, ID_LEN);
	if ((int64_t)s->committed.committed < p->copies->min) {
		t->status = err_status_worse(t->status, 8);
		if (!first->code) {
			err_set(first, ERR_UNREACHABLE, "source '%s': %zu copies of the %lld that the plan wants; the other sites are behind", s->ps->name, s->committed.committed, (long long)p->copies->min);
			err_hint(first, "when they are back: holdfast replicate %s", s->j->plan_path ? s->j->plan_path : p->name);
		}
	}
}

static bool wanted(const struct job_backup_opts *o, const char *name)
{
	for (size_t i = 0; o->sources && o->sources[i]; i++)
		if (str_eq(o->sources[i], name))
			return true;
	return !o->sources;
}

static int run_sources(const struct job *j, const struct job_backup_opts *o, struct sites *sites, const struct cfg *cfg, struct result *r, struct totals *t, struct err *first)
{
	CLEAN(secret_release) struct secret log_seed = {0};
	char run_id[33];
	rng_hex(run_id, 16);
	int rc = log_seed_load(j, &log_seed, first);
	if (rc)
		return rc;
	for (size_t i = 0; i < j->plan->n_sources; i++) {
		struct err err = ERR_INIT;
		if (!wanted(o, j->plan->sources[i].name))
			continue;
		struct source_run s = {.j = j, .ps = &j->plan->sources[i], .cfg = cfg, .sites = sites, .run_id = run_id, .full_read = o->full_read, .result = r};
		rc = job_cancelled(j) ? err_set(&err, ERR_CANCELLED, "cancelled before source '%s'", s.ps->name) : one_source(&s, &err);
		if (s.is_committed)
			put_receipt(&s, &log_seed);
		result_add(r, RESULT_SOURCES, source_json(&s, rc, &err));
		account(&s, rc, &err, t, first);
		source_keys_release(&s.keys);
	}
	return 0;
}

static int check_names(const struct job *j, const struct job_backup_opts *o, struct err *err)
{
	const struct plan_source *ps;
	for (size_t i = 0; o->sources && o->sources[i]; i++)
		if (job_source(j, o->sources[i], &ps, err))
			return err_rc(err);
	return 0;
}

int job_backup(const struct job *j, const struct job_backup_opts *o, json_t **result, struct err *err)
{
	struct sites sites = {0};
	CLEAN(cfg_release) struct cfg cfg = {0};
	struct totals t = {.subject = xcalloc(j->plan->n_sources + 1, sizeof *t.subject), .name = xcalloc(j->plan->n_sources + 1, sizeof *t.name)};
	struct result *r = job_result(j, "backup", NULL);
	int rc = job_refuse(j, NEEDS_SITES | NEEDS_SOURCES, err);
	if (!rc)
		rc = check_names(j, o, err);
	if (!rc)
		rc = sites_open(j, NULL, false, &sites, err);
	if (!rc)
		rc = sites_cfg_pinned(j, &sites, &cfg, err);
	if (!rc)
		rc = run_sources(j, o, &sites, &cfg, r, &t, err);
	int status = rc ? err_exit_status(err->code) : t.status;
	for (size_t i = 0; i < sites.n; i++)
		result_add(r, RESULT_SITES,
			json_pack("{s:s, s:s, s:I, s:s*}", "name", sites.site[i].name, "outcome", sites.site[i].store ? site_state_name(sites.site[i].state) : "unreachable", "behind",
				(json_int_t)(i < ARRAY_LEN(t.behind) ? t.behind[i] : 0), "error", sites.site[i].err.msg[0] ? sites.site[i].err.msg : NULL));
	result_bytes(r, (int64_t)t.bytes, (int64_t)t.added);
	if (rc != -ERR_USAGE && rc != -ERR_UNSUPPORTED) {
		struct job_end e = {.result = r, .outcome = status == 0 || status == 3 || status == 8 ? "done" : "failed", .status = status, .err = err, .sites = &sites, .subjects = t.subject, .n_subjects = t.n_subjects};
		status = job_finish(j, &e, result, err);
	}
	result_free(r);
	sites_close(&sites);
	free(t.subject);
	free(t.name);
	return status;
}
