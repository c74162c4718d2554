/* backup: each source of the plan to every site that is up to date. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"
#include "ops/ops.h"
#include "remote/remote_source.h"
#include "ops/replicate.h"

#define TOLD_MAX 1000 /* skipped items in a result */
struct backed_up {
	const struct job *j;
	const struct plan_source *ps;
	const struct cfg *cfg;
	struct sites *sites;
	const char *run_id;
	bool full_read;
	int64_t patience_ms;
	struct source_run_result r;
	struct result *result;
	size_t n_told;
};

static void show(void *arg, uint64_t files, uint64_t bytes, uint64_t sent)
{
	struct backed_up *s = arg;
	if (s->j->progress)
		s->j->progress(s->j->arg, &(struct job_progress){.phase = "read", .subject = s->ps->name, .files = files, .bytes = bytes, .bytes_new = sent});
}

/* The result names what was skipped; the signed snapshot counts and names all of it. */
static void noted_one(void *arg, enum note_code code, const char *path, size_t n)
{
	struct backed_up *s = arg;
	if (code == NOTE_IGNORED || s->n_told++ >= TOLD_MAX)
		return;
	json_t *o = json_pack("{s:s, s:s}", "source", s->ps->name, "reason", note_name(code));
	json_set_path(o, "path", path, n);
	result_add(s->result, RESULT_SKIPPED, o);
}

static int one_source(struct backed_up *s, struct err *err)
{
	struct source_run_opts o = {
		.root = s->j->root,
		.plan = s->j->plan->name,
		.plan_digest = s->j->plan->digest,
		.source = s->ps,
		.cfg = s->cfg,
		.site = s->sites->site,
		.n_sites = s->sites->n,
		.run_id = s->run_id,
		.dry_run = s->j->dry_run,
		.full_read = s->full_read,
		.patience_ms = s->patience_ms,
		.workers = s->j->workers,
		.memory_cap = s->j->memory_cap,
		.cancel = s->j->cancel,
		.progress = show,
		.noted = noted_one,
		.arg = s,
	};
	return host_is_remote(s->ps->host) ? remote_source_run(s->j, &o, &s->r, err) : source_run(&o, &s->r, err);
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

static json_t *source_json(const struct backed_up *s, int rc, const struct err *err)
{
	const struct snapshot_facts *f = &s->r.facts;
	json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "name", s->ps->name, "outcome", rc ? "failed" : noted(f) ? "incomplete" : "done", "files", (json_int_t)f->files, "dirs",
		(json_int_t)f->dirs, "bytes", (json_int_t)f->bytes, "added_bytes", (json_int_t)f->added, "skipped", (json_int_t)noted(f));
	if (host_is_remote(s->ps->host))
		json_object_set_new(o, "host", json_string(s->ps->host));
	json_object_set_new(o, "unchanged", json_integer((json_int_t)f->skipped));
	json_object_set_new(o, "notes", notes_json(f));
	if (s->r.is_committed) {
		json_object_set_new(o, "snapshot", json_hex(s->r.committed.digest, ID_LEN));
		json_object_set_new(o, "seq", json_integer((json_int_t)s->r.committed.seq));
		json_object_set_new(o, "lineage", json_string(s->r.committed.lineage));
		json_object_set_new(o, "new_lineage", json_boolean(s->r.committed.new_lineage));
		json_object_set_new(o, "copies", json_integer((json_int_t)s->r.committed.committed));
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
static void put_receipt(const struct backed_up *s, const struct secret *log_seed)
{
	char key[STORE_KEY_MAX + 1];
	struct err why = ERR_INIT;
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	CLEAN(json_release) json_t *o = json_pack("{s:s, s:s, s:I, s:o, s:o}", "source", s->ps->name, "lineage", s->r.committed.lineage, "seq", (json_int_t)s->r.committed.seq, "snapshot",
		json_hex(s->r.committed.digest, ID_LEN), "time", json_time(clock_wall_ns()));
	json_t *names = json_array();
	for (size_t i = 0; i < s->sites->n; i++)
		if (s->sites->site[i].state == SITE_COMMITTED)
			json_array_append_new(names, json_string(s->sites->site[i].name));
	json_object_set_new(o, "sites", names);
	if (signed_make("receipt", o, s->cfg->repo, log_seed, &b, &why)) {
		log_msg(LOG_WARN, "receipt: %s", why.msg);
		return;
	}
	key_snapshot(key, 'r', s->ps->name, s->r.committed.lineage, s->r.committed.seq);
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
};

/* Where every copy stands after one source: status, sites, subjects. */
static void account(struct backed_up *s, int rc, const struct err *err, struct totals *t, struct err *first)
{
	const struct plan *p = s->j->plan;
	t->bytes += s->r.facts.bytes;
	t->added += s->r.facts.added;
	if (rc) {
		t->status = err_status_worse(t->status, err_exit_status(err->code));
		if (!first->code)
			*first = *err;
		return;
	}
	if (noted(&s->r.facts))
		t->status = err_status_worse(t->status, 3);
	if (!s->r.is_committed)
		return;
	struct evidence_subject *sub = &t->subject[t->n_subjects];
	snprintf(t->name[t->n_subjects], sizeof t->name[0], "snapshot:%s", s->ps->name);
	sub->name = t->name[t->n_subjects++];
	memcpy(sub->sha256, s->r.committed.digest, ID_LEN);
	if ((int64_t)s->r.committed.committed < p->copies->min) {
		t->status = err_status_worse(t->status, 8);
		if (!first->code) {
			err_set(first, ERR_UNREACHABLE, "source '%s': %zu copies of the %lld that the plan wants; the other sites are behind", s->ps->name, s->r.committed.committed, (long long)p->copies->min);
			err_hint(first, "when they are back, or have room again: holdfast replicate %s", s->j->plan_path ? s->j->plan_path : p->name);
		}
	}
}

/* Also where copies enough are left and the run is done: whose disk is full should hear of it before there are too few. */
static void warn_of_failed(const struct backed_up *s)
{
	for (size_t i = 0; i < s->sites->n; i++) {
		const struct session_site *site = &s->sites->site[i];
		if (site->store && site->state == SITE_FAILED)
			log_msg(LOG_WARN, "source '%s': %s", s->ps->name, site->err.msg);
	}
}

static bool wanted(const struct job_backup_opts *o, const char *name)
{
	for (size_t i = 0; o->sources && o->sources[i]; i++)
		if (str_eq(o->sources[i], name))
			return true;
	return !o->sources;
}

static int run_sources(const struct job *j, const struct job_backup_opts *o, struct sites *sites, const struct cfg *cfg, struct backlog *backlog, struct result *r, struct totals *t, struct err *first)
{
	CLEAN(secret_release) struct secret log_seed = {0};
	char run_id[33];
	rng_hex(run_id, 16);
	int rc = log_seed_load(j, &log_seed, first);
	if (rc)
		return rc;
	struct catching_up c = {.j = j, .sites = sites, .cfg = cfg, .log_seed = &log_seed, .run = run_id, .backlog = backlog};
	for (size_t i = 0; i < j->plan->n_sources; i++) {
		struct err err = ERR_INIT;
		if (!wanted(o, j->plan->sources[i].name))
			continue;
		struct backed_up s = {.j = j, .ps = &j->plan->sources[i], .cfg = cfg, .sites = sites, .run_id = run_id, .full_read = o->full_read, .patience_ms = o->patience_ms, .result = r};
		rc = job_cancelled(j) ? err_set(&err, ERR_CANCELLED, "cancelled before source '%s'", s.ps->name) : one_source(&s, &err);
		warn_of_failed(&s);
		if (s.r.is_committed) {
			put_receipt(&s, &log_seed);
			s.r.committed.committed = catch_up_committed(&c, s.ps->name, s.r.committed.seq, s.r.facts.start, !o->no_replicate);
		}
		result_add(r, RESULT_SOURCES, source_json(&s, rc, &err));
		account(&s, rc, &err, t, first);
	}
	if (c.sum.snapshots)
		result_extra(r, "replicated", json_pack("{s:I, s:I, s:I}", "snapshots", (json_int_t)c.sum.snapshots, "packs", (json_int_t)c.sum.packs, "bytes", (json_int_t)c.sum.bytes));
	return 0;
}

/* How each site stands after the run: for the result, and in short for the record. */
static json_t *tell_sites(const struct sites *sites, const struct backlog *backlog, struct result *r)
{
	json_t *all = json_array();
	for (size_t i = 0; i < sites->n; i++) {
		const struct session_site *s = &sites->site[i];
		json_t *o = backlog_json(backlog, s->name);
		json_object_set_new(o, "name", json_string(s->name));
		json_object_set_new(o, "outcome", json_string(s->store ? site_state_name(s->state) : "unreachable"));
		json_array_append_new(all, json_copy(o));
		if (s->err.msg[0])
			json_object_set_new(o, "error", json_string(s->err.msg));
		result_add(r, RESULT_SITES, o);
	}
	return json_pack("{s:o}", "sites", all);
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
	CLEAN(backlog_close) struct backlog *backlog = backlog_open(j);
	struct result *r = job_result(j, "backup", NULL);
	int rc = job_refuse(j, NEEDS_SITES | NEEDS_SOURCES, err);
	if (!rc)
		rc = check_names(j, o, err);
	if (!rc)
		rc = sites_open(j, NULL, false, &sites, err);
	if (!rc)
		rc = sites_cfg_pinned(j, &sites, &cfg, err);
	if (!rc)
		rc = run_sources(j, o, &sites, &cfg, backlog, r, &t, err);
	int status = rc ? err_exit_status(err->code) : t.status;
	json_t *body = tell_sites(&sites, backlog, r);
	if (!rc)
		sites_judge(j, r);
	result_bytes(r, (int64_t)t.bytes, (int64_t)t.added);
	if (rc != -ERR_USAGE && rc != -ERR_UNSUPPORTED) {
		struct job_end e = {.result = r, .outcome = status == 0 || status == 3 || status == 8 ? "done" : "failed", .status = status, .err = err, .sites = &sites, .subjects = t.subject, .n_subjects = t.n_subjects, .body = TAKE(body)};
		status = job_finish(j, &e, result, err);
	}
	json_decref(body);
	result_free(r);
	sites_close(&sites);
	free(t.subject);
	free(t.name);
	return status;
}
