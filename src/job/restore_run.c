#include "job/restore_run.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "restore/restore.h"

#define WHAT "report of the restore"
#define NS_PER_US 1000

struct shown {
	const struct job *j;
	const struct reader_snapshot *snap;
	const char *phase;
};

static void show(void *arg, uint64_t files, uint64_t bytes)
{
	const struct shown *s = arg;
	const struct snapshot_facts *f = &s->snap->snap.facts;
	if (s->j->progress)
		s->j->progress(s->j->arg, &(struct job_progress){.phase = s->phase, .subject = s->snap->snap.source, .files = files, .files_total = f->files, .bytes = bytes,
			.bytes_total = f->bytes});
}

/* The target is made, or must be empty: a restore never mixes with what is there unless told to. */
static int prepare_target(const struct job_restore_opts *o, struct err *err)
{
	struct stat st;
	if (lstat(o->to, &st) == 0 && !S_ISDIR(st.st_mode))
		return err_set(err, ERR_USAGE, "%s is there and is no directory", o->to);
	int rc = fs_mkdirs(o->to, 0700, err);
	if (rc || o->overwrite)
		return rc;
	DIR *d = opendir(o->to);
	if (!d)
		return err_sys(err, ERR_IO, "cannot read %s", o->to);
	for (struct dirent *e; (e = readdir(d));)
		if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, "..")) {
			closedir(d);
			err_set(err, ERR_USAGE, "%s is not empty", o->to);
			return err_hint(err, "name an empty directory, or say --overwrite to replace what has the same names");
		}
	closedir(d);
	return 0;
}

/* --- the document --- */

static void add_moment(json_t *doc, const char *name, int64_t wall_ns, int64_t boot_ns)
{
	char boot[32];
	json_t *moments = json_object_get(doc, "moments");
	snprintf(boot, sizeof boot, "%s_boot", name);
	json_object_set_new(moments, name, json_integer(wall_ns / NS_PER_US));
	json_object_set_new(moments, boot, json_integer(boot_ns / NS_PER_US));
}

static void add_now(json_t *doc, const char *name)
{
	add_moment(doc, name, clock_wall_ns(), clock_boot_ns());
}

static json_t *begin_doc(const struct job *j, const struct reader_snapshot *snap)
{
	const struct snapshot *s = &snap->snap;
	json_t *source = json_pack("{s:s, s:I, s:I, s:I, s:I}", "name", s->source, "seq", (json_int_t)s->seq, "files", (json_int_t)s->facts.files, "bytes",
		(json_int_t)s->facts.bytes, "start", (json_int_t)(s->facts.start / NS_PER_US));
	json_object_set_new(source, "snapshot", json_hex(s->digest, ID_LEN));
	return json_pack("{s:o, s:o, s:{}}", "source", source, "proven_by", recover_proofs(j, snap), "moments");
}

static json_t *text(const char *s)
{
	char safe[1024];
	json_t *o = json_string(log_safe(safe, sizeof safe, s));
	return o ? o : json_string("");
}

/* --- doing it --- */

static int check_restored(const struct job *j, struct recover *r, const struct reader_snapshot *snap, const struct restore_opts *ro, json_t *doc, struct err *err)
{
	struct manifest_result m = {0};
	struct shown sh = {j, snap, "verify"};
	struct restore_opts o = *ro;
	int64_t start = clock_wall_ns(), boot = clock_boot_ns();
	o.arg = &sh;
	int rc = restore_manifest(r->reader, &snap->snap, &o, &m, err);
	if (rc)
		return rc;
	json_t *c = json_pack("{s:I, s:I, s:I, s:I}", "entries", (json_int_t)m.entries, "wrong", (json_int_t)m.wrong, "at", (json_int_t)(start / NS_PER_US), "ms",
		(json_int_t)((clock_boot_ns() - boot) / 1000000));
	if (m.wrong)
		json_object_set_new(c, "detail", text(m.first_wrong));
	json_object_set_new(doc, "check", c);
	if (m.wrong)
		return err_set(err, ERR_CORRUPT, "%llu restored entries are not as recorded; first: %.300s", (unsigned long long)m.wrong, m.first_wrong);
	return 0;
}

static void tell_stats(const struct restore_stats *st, json_t *doc)
{
	if (st->first_byte_ns)
		add_moment(doc, "first", clock_wall_ns() - (clock_boot_ns() - st->first_byte_ns), st->first_byte_ns);
	add_now(doc, "restored");
	json_object_set_new(doc, "restored", json_pack("{s:I, s:I, s:I, s:I, s:I}", "files", (json_int_t)st->files, "dirs", (json_int_t)st->dirs, "links", (json_int_t)st->links, "others",
		(json_int_t)st->others, "bytes", (json_int_t)st->bytes));
	if (st->skipped)
		json_object_set_new(doc, "skipped", json_pack("{s:I, s:o}", "n", (json_int_t)st->skipped, "first", text(st->first_skipped)));
}

static int restore_into(const struct job *j, const struct job_restore_opts *o, struct recover *r, const struct reader_snapshot *snap, json_t *doc, struct err *err)
{
	struct restore_stats st = {0};
	struct shown sh = {j, snap, "restore"};
	struct restore_opts ro = {.to = o->to, .paths = o->paths, .strip = o->strip, .full_metadata = o->full_metadata, .overwrite = o->overwrite, .cancel = j->cancel,
		.progress = show, .arg = &sh};
	int rc = prepare_target(o, err);
	if (!rc)
		rc = restore_tree(r->reader, &snap->snap, &ro, &st, err);
	if (rc)
		return rc;
	tell_stats(&st, doc);
	if (!st.files && !st.dirs && !st.links && !st.others && o->paths && o->paths[0]) {
		err_set(err, ERR_USAGE, "snapshot %llu has no entry at or below '%s'", (unsigned long long)snap->snap.seq, o->paths[0]);
		return err_hint(err, "paths are as recorded: without the leading slash");
	}
	if (!o->verify)
		return 0;
	rc = check_restored(j, r, snap, &ro, doc, err);
	if (!rc)
		add_now(doc, "verified");
	return rc;
}

int restore_run(const struct job *j, struct recover *r, const struct reader_snapshot *snap, const struct job_restore_opts *o, json_t **ret, struct err *err)
{
	json_t *doc = begin_doc(j, snap);
	add_now(doc, "released");
	int rc = j->dry_run ? 0 : restore_into(j, o, r, snap, doc, err);
	json_object_set_new(doc, "sites", recover_sites(r));
	*ret = doc;
	return rc;
}

/* --- telling it --- */

static void tell_moments(const json_t *doc, struct result *res)
{
	static const struct {
		const char *name, *boot;
		enum result_point point;
	} points[] = {{"released", "released_boot", RESULT_KEY_RELEASED}, {"first", "first_boot", RESULT_FIRST_BYTE}, {"restored", "restored_boot", RESULT_DATA_RESTORED},
		{"verified", "verified_boot", RESULT_VERIFIED}};
	const json_t *m = json_object_get(doc, "moments");
	for (size_t i = 0; i < ARRAY_LEN(points); i++) {
		json_int_t wall = json_integer_value(json_object_get(m, points[i].name)), boot = json_integer_value(json_object_get(m, points[i].boot));
		if (wall > 0 && boot > 0 && wall < INT64_MAX / NS_PER_US && boot < INT64_MAX / NS_PER_US)
			result_point(res, points[i].point, wall * NS_PER_US, boot * NS_PER_US);
	}
}

static int tell_source(const json_t *doc, struct result *res, unsigned char ret_snapshot[ID_LEN], struct err *err)
{
	json_t *s;
	const char *name;
	int64_t seq, files, bytes, start;
	int rc = json_get_obj(doc, "source", WHAT, &s, err);
	if (rc || (rc = json_get_str(s, "name", WHAT, &name, err)) || (rc = json_get_int(s, "seq", WHAT, &seq, err)) || (rc = json_get_int(s, "files", WHAT, &files, err)) ||
		(rc = json_get_int(s, "bytes", WHAT, &bytes, err)) || (rc = json_get_int(s, "start", WHAT, &start, err)) ||
		(rc = json_get_hex(s, "snapshot", WHAT, ret_snapshot, ID_LEN, err)))
		return rc;
	if (start < 0 || start > INT64_MAX / NS_PER_US)
		return err_set(err, ERR_FORMAT, WHAT ": start is out of range");
	json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:s}", "name", name, "seq", (json_int_t)seq, "files", (json_int_t)files, "bytes", (json_int_t)bytes, "outcome", "done");
	json_object_set_new(o, "snapshot", json_hex(ret_snapshot, ID_LEN));
	json_object_set_new(o, "time", json_time(start * NS_PER_US));
	result_add(res, RESULT_SOURCES, o);
	return 0;
}

static void tell_check(const json_t *doc, struct result *res)
{
	const json_t *c = json_object_get(doc, "check");
	json_int_t entries = json_integer_value(json_object_get(c, "entries")), at = json_integer_value(json_object_get(c, "at"));
	bool wrong = json_integer_value(json_object_get(c, "wrong")) != 0;
	if (!json_is_object(c) || at < 0 || at > INT64_MAX / NS_PER_US)
		return;
	result_check(res, &(struct result_check){.id = "manifest", .kind = "manifest", .start_wall_ns = at * NS_PER_US, .duration_ms = json_integer_value(json_object_get(c, "ms")),
		.outcome = wrong ? "failed" : "passed", .detail = json_string_value(json_object_get(c, "detail")), .checked = entries, .total = entries});
}

static void tell_skipped(const json_t *doc, struct result *res, int *ret_status)
{
	const json_t *s = json_object_get(doc, "skipped");
	const char *first = json_string_value(json_object_get(s, "first"));
	if (!s || !first)
		return;
	*ret_status = err_status_worse(*ret_status, 3);
	const char *source = json_string_value(json_object_get(json_object_get(doc, "source"), "name"));
	result_add(res, RESULT_SKIPPED, json_pack("{s:s, s:s, s:s}", "source", source, "path", "", "reason", first));
	log_msg(LOG_WARN, "%lld entries could not be restored; first: %s", (long long)json_integer_value(json_object_get(s, "n")), first);
}

int restore_tell(const json_t *doc, struct result *res, int *ret_status, unsigned char ret_snapshot[ID_LEN], struct err *err)
{
	size_t i;
	json_t *v;
	int rc = tell_source(doc, res, ret_snapshot, err);
	if (rc)
		return rc;
	json_array_foreach (json_object_get(doc, "proven_by"), i, v)
		if (str_eq(json_string_value(v), "host") || str_eq(json_string_value(v), "other-sites"))
			result_add_str(res, RESULT_PROVEN_BY, json_string_value(v));
	json_array_foreach (json_object_get(doc, "sites"), i, v)
		if (json_is_string(json_object_get(v, "name")))
			result_add(res, RESULT_SITES, json_incref(v));
	tell_moments(doc, res);
	tell_check(doc, res);
	tell_skipped(doc, res, ret_status);
	json_t *restored = json_object_get(doc, "restored");
	if (json_is_object(restored)) {
		json_int_t bytes = json_integer_value(json_object_get(restored, "bytes"));
		result_bytes(res, bytes, bytes);
		result_extra(res, "restored", json_incref(restored));
	}
	return 0;
}
