/* restore and export. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "job/recover.h"
#include "restore/restore.h"

struct shown {
	const struct job *j;
	const struct reader_snapshot *snap;
	const char *phase;
};

static void show(void *arg, uint64_t files, uint64_t bytes)
{
	const struct shown *s = arg;
	if (s->j->progress)
		s->j->progress(s->j->arg, &(struct job_progress){.phase = s->phase, .subject = s->snap->snap.source, .files = files, .files_total = s->snap->snap.facts.files, .bytes = bytes,
			.bytes_total = s->snap->snap.facts.bytes});
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

static void add_check(struct result *r, const struct manifest_result *m, int64_t start, int64_t boot)
{
	result_check(r, &(struct result_check){.id = "manifest", .kind = "manifest", .start_wall_ns = start, .duration_ms = (clock_boot_ns() - boot) / 1000000, .outcome = m->wrong ? "failed" : "passed",
		.detail = m->wrong ? m->first_wrong : NULL, .checked = (int64_t)m->entries, .total = (int64_t)m->entries});
}

static int check_restored(const struct job *j, struct recover *r, const struct reader_snapshot *snap, const struct restore_opts *ro, struct result *res, struct err *err)
{
	struct manifest_result m = {0};
	struct shown sh = {j, snap, "verify"};
	struct restore_opts o = *ro;
	int64_t start = clock_wall_ns(), boot = clock_boot_ns();
	o.arg = &sh;
	int rc = restore_manifest(r->reader, &snap->snap, &o, &m, err);
	if (rc)
		return rc;
	add_check(res, &m, start, boot);
	if (m.wrong)
		return err_set(err, ERR_CORRUPT, "%llu restored entries are not as recorded; first: %.300s", (unsigned long long)m.wrong, m.first_wrong);
	return 0;
}

static int restore_into(const struct job *j, const struct job_restore_opts *o, struct recover *r, const struct reader_snapshot *snap, struct result *res, int *status, struct err *err)
{
	struct restore_stats st = {0};
	struct shown sh = {j, snap, "restore"};
	struct restore_opts ro = {.to = o->to, .paths = o->paths, .strip = o->strip, .full_metadata = o->full_metadata, .overwrite = o->overwrite, .workers = j->workers, .cancel = j->cancel,
		.progress = show, .arg = &sh};
	int rc = prepare_target(o, err);
	if (!rc)
		rc = restore_tree(r->reader, &snap->snap, &ro, &st, err);
	if (rc)
		return rc;
	result_bytes(res, (int64_t)st.bytes, (int64_t)st.bytes);
	if (st.first_byte_ns)
		result_point(res, RESULT_FIRST_BYTE, clock_wall_ns() - (clock_boot_ns() - st.first_byte_ns), st.first_byte_ns);
	result_point(res, RESULT_DATA_RESTORED, clock_wall_ns(), clock_boot_ns());
	result_extra(res, "restored", json_pack("{s:I, s:I, s:I, s:I, s:I}", "files", (json_int_t)st.files, "dirs", (json_int_t)st.dirs, "links", (json_int_t)st.links, "others", (json_int_t)st.others, "bytes",
		(json_int_t)st.bytes));
	if (!st.files && !st.dirs && !st.links && !st.others && o->paths && o->paths[0]) {
		err_set(err, ERR_USAGE, "snapshot %llu has no entry at or below '%s'", (unsigned long long)snap->snap.seq, o->paths[0]);
		return err_hint(err, "paths are as recorded: without the leading slash");
	}
	if (st.skipped) {
		*status = err_status_worse(*status, 3);
		result_add(res, RESULT_SKIPPED, json_pack("{s:s, s:s, s:s}", "source", snap->snap.source, "path", "", "reason", st.first_skipped));
		log_msg(LOG_WARN, "%llu entries could not be restored; first: %s", (unsigned long long)st.skipped, st.first_skipped);
	}
	if (!o->verify)
		return 0;
	rc = check_restored(j, r, snap, &ro, res, err);
	if (!rc)
		result_point(res, RESULT_VERIFIED, clock_wall_ns(), clock_boot_ns());
	return rc;
}

static json_t *source_item(const struct reader_snapshot *snap)
{
	const struct snapshot *s = &snap->snap;
	json_t *o = json_pack("{s:s, s:I, s:I, s:I}", "name", s->source, "seq", (json_int_t)s->seq, "files", (json_int_t)s->facts.files, "bytes", (json_int_t)s->facts.bytes);
	json_object_set_new(o, "snapshot", json_hex(s->digest, ID_LEN));
	json_object_set_new(o, "time", json_time(s->facts.start));
	json_object_set_new(o, "outcome", json_string("done"));
	return o;
}

int job_restore(const struct job *j, const struct job_select *sel, const struct job_restore_opts *o, json_t **result, struct err *err)
{
	struct recover r = {0};
	const struct reader_snapshot *snap;
	int status = 0;
	int rc = job_refuse(j, NEEDS_RESTORE_APPROVAL, err);
	if (rc)
		return err_exit_status(err->code);
	struct result *res = job_result(j, "restore", NULL);
	result_compare(res, RESULT_DECLARED, RESULT_DATA_RESTORED);
	result_point(res, RESULT_DECLARED, clock_wall_ns(), clock_boot_ns());
	rc = recover_select(j, sel, &r, &snap, err);
	if (!rc) {
		struct evidence_subject sub = {.name = "snapshot"};
		memcpy(sub.sha256, snap->snap.digest, SHA256_LEN);
		result_point(res, RESULT_KEY_RELEASED, clock_wall_ns(), clock_boot_ns());
		result_add(res, RESULT_SOURCES, source_item(snap));
		recover_freshness(j, snap, res);
		if (!j->dry_run)
			rc = restore_into(j, o, &r, snap, res, &status, err);
		recover_report(&r, res);
		status = rc ? err_exit_status(err->code) : status;
		struct job_end e = {.result = res, .outcome = rc ? "failed" : "done", .status = status, .err = err, .sites = &r.sites, .subjects = &sub, .n_subjects = 1};
		e.body = json_pack("{s:s, s:s}", "source", snap->snap.source, "target", o->to);
		status = job_finish(j, &e, result, err);
	} else {
		status = err_exit_status(err->code);
		struct job_end e = {.result = res, .outcome = "failed", .status = status, .err = err};
		if (rc != -ERR_USAGE && rc != -ERR_UNSUPPORTED && err->code != ERR_USAGE)
			status = job_finish(j, &e, result, err);
	}
	result_free(res);
	recover_close(&r);
	return status;
}

int job_export(const struct job *j, const struct job_select *sel, const char *const *paths, const char *output, json_t **result, struct err *err)
{
	struct recover r = {0};
	const struct reader_snapshot *snap;
	uint64_t bytes = 0;
	CLEAN(close_fd) int fd = -1;
	int out = STDOUT_FILENO;
	int rc = job_refuse(j, NEEDS_RESTORE_APPROVAL, err);
	if (!rc)
		rc = recover_select(j, sel, &r, &snap, err);
	if (rc)
		return err_exit_status(err->code);
	if (!str_eq(output, "-")) {
		out = fd = open(output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0) {
			rc = err_sys(err, ERR_IO, "cannot create %s", output);
			err_hint(err, "an existing file is not replaced");
		}
	}
	if (!rc)
		rc = restore_tar(r.reader, &snap->snap, paths, out, j->cancel, &bytes, err);
	if (!rc && fd >= 0 && fsync(fd))
		rc = err_sys(err, ERR_IO, "cannot make %s durable", output);
	if (rc && fd >= 0)
		unlink(output);
	if (!rc) {
		*result = json_pack("{s:s, s:I, s:I, s:s}", "source", snap->snap.source, "seq", (json_int_t)snap->snap.seq, "bytes", (json_int_t)bytes, "output", output);
		json_object_set_new(*result, "snapshot", json_hex(snap->snap.digest, ID_LEN));
	}
	recover_close(&r);
	return rc ? err_exit_status(err->code) : 0;
}
