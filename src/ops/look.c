/* snapshots, ls, diff: looking into copies. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "ops/ops.h"
#include "job/recover.h"
#include "restore/restore.h"

static void emit(const struct job *j, json_t *item)
{
	if (j->item)
		j->item(j->arg, item);
	json_decref(item);
}

/* --- snapshots --- */

static json_t *snapshot_item(const struct snapshot *s, const char *const *sites)
{
	const struct snapshot_facts *f = &s->facts;
	json_t *o = json_pack("{s:s, s:I, s:s}", "source", s->source, "seq", (json_int_t)s->seq, "lineage", s->lineage);
	json_t *names = json_array();
	for (size_t i = 0; sites && sites[i]; i++)
		json_array_append_new(names, json_string(sites[i]));
	json_object_set_new(o, "id", json_hex(s->digest, ID_LEN));
	json_object_set_new(o, "sites", names);
	if (!s->has_facts)
		return o;
	json_object_set_new(o, "time", json_time(f->start));
	json_object_set_new(o, "end", json_time(f->end));
	json_object_set_new(o, "files", json_integer((json_int_t)f->files));
	json_object_set_new(o, "dirs", json_integer((json_int_t)f->dirs));
	json_object_set_new(o, "bytes", json_integer((json_int_t)f->bytes));
	json_object_set_new(o, "added", json_integer((json_int_t)f->added));
	json_object_set_new(o, "unchanged", json_integer((json_int_t)f->skipped));
	json_object_set_new(o, "skipped", json_integer((json_int_t)(f->notes[NOTE_CHANGED] + f->notes[NOTE_UNREADABLE] + f->notes[NOTE_VANISHED])));
	return o;
}

struct found_snapshot {
	struct snapshot s;
	const char *sites[65];
	size_t n_sites;
};
struct found {
	struct found_snapshot *v;
	size_t n, cap;
};

static void found_add(struct found *f, struct attempt_info *a, const char *site)
{
	for (size_t i = 0; i < f->n; i++)
		if (!memcmp(f->v[i].s.digest, a->snapshot_digest, ID_LEN)) {
			if (f->v[i].n_sites < 64)
				f->v[i].sites[f->v[i].n_sites++] = site;
			return;
		}
	f->v = xgrow(f->v, f->n, &f->cap, sizeof *f->v);
	f->v[f->n] = (struct found_snapshot){.s = a->snap, .sites = {site}, .n_sites = 1};
	f->n++;
	a->snap = (struct snapshot){0};
}

static int found_cmp(const void *pa, const void *pb)
{
	const struct snapshot *a = &((const struct found_snapshot *)pa)->s, *b = &((const struct found_snapshot *)pb)->s;
	if (a->seq != b->seq)
		return a->seq < b->seq ? -1 : 1;
	return strcmp(a->lineage, b->lineage);
}

/* Facts are sealed under idx_key: the host has it, a recovery host opens it. Without either the clear part is told. */
static int facts_key(const struct job *j, const char *source, const struct sites *sites, struct secret *ret)
{
	struct source_keys k = {0};
	struct opening_key o = {0};
	struct err ignored = ERR_INIT;
	if (!host_keys_load(j, source, &k, &ignored)) {
		secret_set(ret, k.s.idx_key.p, k.s.idx_key.len);
		source_keys_release(&k);
		return 0;
	}
	int rc = recovery_key_load(j, &o, &ignored);
	for (size_t i = 0; !rc && !ret->p && i < sites->n; i++) {
		char key[STORE_KEY_MAX + 1];
		CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
		struct source_secrets s = {0};
		if (!sites->site[i].store || store_get(sites->site[i].store, key_fmt(key, "k/%s/1", source), &b, &ignored) || key_object_open(&o, source, 1, b.p, b.len, &s, &ignored))
			continue;
		secret_set(ret, s.idx_key.p, s.idx_key.len);
		source_secrets_release(&s);
	}
	opening_key_release(&o);
	return ret->p ? 0 : -1;
}

static int list_source(const struct job *j, const char *source, const struct sites *sites, const struct cfg *cfg, size_t *ret_n, struct err *err)
{
	struct found f = {0};
	CLEAN(secret_release) struct secret idx = {0};
	bool facts = !facts_key(j, source, sites, &idx);
	int rc = 0;
	for (size_t i = 0; !rc && i < sites->n; i++) {
		CLEAN(attempts_release) struct attempts all = {0};
		size_t bad;
		if (!sites->site[i].store)
			continue;
		rc = attempts_load(sites->site[i].store, cfg, source, &all, &bad, err);
		for (size_t k = 0; !rc && k < all.n; k++)
			if (all.a[k].committed && !all.a[k].expired)
				found_add(&f, &all.a[k], sites->site[i].name);
	}
	if (f.n)
		qsort(f.v, f.n, sizeof *f.v, found_cmp);
	for (size_t i = 0; i < f.n; i++) {
		struct err why = ERR_INIT;
		if (facts && snapshot_open_facts(&f.v[i].s, cfg->repo, &idx, &why))
			log_msg(LOG_WARN, "snapshot %llu: %s", (unsigned long long)f.v[i].s.seq, why.msg);
		if (!rc)
			emit(j, snapshot_item(&f.v[i].s, f.v[i].sites));
		snapshot_release(&f.v[i].s);
	}
	*ret_n += f.n;
	free(f.v);
	return rc;
}

int job_snapshots(const struct job *j, const struct job_select *sel, json_t **result, struct err *err)
{
	struct sites sites = {0};
	CLEAN(cfg_release) struct cfg cfg = {0};
	const struct plan_source *only = NULL;
	size_t n = 0;
	int rc = job_refuse(j, NEEDS_SITES, err);
	if (!rc && sel->source)
		rc = job_source(j, sel->source, &only, err);
	if (!rc)
		rc = sites_open(j, sel->site, false, &sites, err);
	if (!rc)
		rc = sites_cfg_any(j, &sites, &cfg, err);
	for (size_t i = 0; !rc && i < j->plan->n_sources; i++)
		if (!only || only == &j->plan->sources[i])
			rc = list_source(j, j->plan->sources[i].name, &sites, &cfg, &n, err);
	sites_close(&sites);
	if (!rc)
		*result = json_pack("{s:I}", "snapshots", (json_int_t)n);
	return rc ? err_exit_status(err->code) : 0;
}

/* --- entries --- */

static const char *type_name(enum pax_type t)
{
	static const char *const names[] = {"file", "dir", "symlink", "hardlink", "fifo", "char", "block"};
	return names[t];
}

static json_t *entry_item(const struct pax_entry *e)
{
	json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I}", "type", type_name(e->type), "mode", (json_int_t)e->mode, "uid", (json_int_t)e->uid, "gid", (json_int_t)e->gid, "size",
		(json_int_t)(e->type == PAX_FILE ? e->size : 0));
	json_set_path(o, "path", e->path, strlen(e->path));
	json_object_set_new(o, "mtime", json_time(e->mtime_s * 1000000000 + e->mtime_ns));
	if (e->uname && str_is_utf8(e->uname, strlen(e->uname)))
		json_object_set_new(o, "user", json_string(e->uname));
	if (e->gname && str_is_utf8(e->gname, strlen(e->gname)))
		json_object_set_new(o, "group", json_string(e->gname));
	if (e->link)
		json_set_path(o, "link", e->link, strlen(e->link));
	return o;
}

int job_ls(const struct job *j, const struct job_select *sel, const char *const *paths, json_t **result, struct err *err)
{
	struct recover r;
	const struct reader_snapshot *snap;
	struct reader_entries *entries = NULL;
	struct reader_entry re;
	size_t n = 0;
	int rc = recover_select(j, sel, RELEASE_LOOK, &r, &snap, err);
	if (rc)
		return err_exit_status(err->code);
	struct pax_reader *pax = pax_reader_new();
	rc = reader_entries_open(r.reader, &snap->snap, paths && paths[0] && !paths[1] ? paths[0] : NULL, &entries, err);
	while (!rc && (rc = reader_entries_next(entries, &re, err)) > 0) {
		struct pax_entry e;
		rc = job_cancelled(j) ? err_set(err, ERR_CANCELLED, "cancelled") : pax_parse(pax, re.header, re.n_header, re.content_len, &e, err);
		if (!rc && restore_selected(e.path, paths)) {
			emit(j, entry_item(&e));
			n++;
		}
	}
	if (!rc && !n && paths && paths[0]) {
		rc = err_set(err, ERR_MISSING, "snapshot %llu has no entry at or below '%s'", (unsigned long long)snap->snap.seq, paths[0]);
		err->code = ERR_USAGE;
		err_hint(err, "paths are as recorded: without the leading slash");
	}
	reader_entries_close(entries);
	pax_reader_free(pax);
	recover_close(&r);
	if (!rc)
		*result = json_pack("{s:I}", "entries", (json_int_t)n);
	return rc ? err_exit_status(err->code) : 0;
}

/* --- diff --- */

struct side {
	struct reader_entries *entries;
	struct reader_entry re;
	struct pax_reader *pax;
	struct pax_entry e;
	bool end;
};

static int side_next(struct side *s, struct err *err)
{
	int rc = reader_entries_next(s->entries, &s->re, err);
	s->end = rc == 0;
	return rc <= 0 ? rc : pax_parse(s->pax, s->re.header, s->re.n_header, s->re.content_len, &s->e, err);
}

static void change(const struct job *j, const char *what, const struct pax_entry *e, size_t *n)
{
	json_t *o = entry_item(e);
	json_object_set_new(o, "change", json_string(what));
	emit(j, o);
	++*n;
}

static void compare_entries(const struct job *j, const struct side *a, const struct side *b, size_t *n)
{
	if (a->re.n_header == b->re.n_header && a->re.content_len == b->re.content_len && !memcmp(a->re.header, b->re.header, a->re.n_header))
		return;
	bool content = a->e.type != b->e.type || a->e.size != b->e.size || (b->e.type == PAX_FILE && (a->e.mtime_s != b->e.mtime_s || a->e.mtime_ns != b->e.mtime_ns)) ||
		       !str_eq(a->e.link, b->e.link);
	change(j, content ? "modified" : "metadata", &b->e, n);
}

static int diff(const struct job *j, struct side *a, struct side *b, size_t *n, struct err *err)
{
	int rc = side_next(a, err);
	if (!rc)
		rc = side_next(b, err);
	while (!rc && (!a->end || !b->end)) {
		int c = a->end ? 1 : b->end ? -1 : path_walk_cmp(a->e.path, strlen(a->e.path), b->e.path, strlen(b->e.path));
		if (job_cancelled(j))
			return err_set(err, ERR_CANCELLED, "cancelled");
		if (c < 0)
			change(j, "removed", &a->e, n);
		else if (c > 0)
			change(j, "added", &b->e, n);
		else
			compare_entries(j, a, b, n);
		if (c <= 0)
			rc = side_next(a, err);
		if (!rc && c >= 0)
			rc = side_next(b, err);
	}
	return rc;
}

int job_diff(const struct job *j, const struct job_select *sel, const char *other, json_t **result, struct err *err)
{
	struct recover r;
	const struct reader_snapshot *to, *from;
	size_t n = 0;
	int rc = recover_select(j, sel, RELEASE_LOOK, &r, &to, err);
	if (rc)
		return err_exit_status(err->code);
	struct side a = {.pax = pax_reader_new()}, b = {.pax = pax_reader_new()};
	rc = reader_select(r.reader, other, &from, err);
	if (!rc)
		rc = reader_entries_open(r.reader, &from->snap, NULL, &a.entries, err);
	if (!rc)
		rc = reader_entries_open(r.reader, &to->snap, NULL, &b.entries, err);
	if (!rc)
		rc = diff(j, &a, &b, &n, err);
	reader_entries_close(a.entries);
	reader_entries_close(b.entries);
	pax_reader_free(a.pax);
	pax_reader_free(b.pax);
	recover_close(&r);
	if (!rc)
		*result = json_pack("{s:I}", "changes", (json_int_t)n);
	return rc ? err_exit_status(err->code) : 0;
}
