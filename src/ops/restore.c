/* restore and export. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "ops/ops.h"
#include "remote/remote_recovery.h"
#include "remote/remote_source.h"
#include "restore/restore.h"

/* A restore on its way to a result. */
struct restoring {
	const struct job *j;
	const struct job_select *sel;
	const struct job_restore_opts *o;
	struct result *res;
	struct sites sites; /* of a restore elsewhere; else those of r */
	struct recover r;
	json_t *doc;        /* what came of it */
};

static int restore_here(struct restoring *g, struct err *err)
{
	const struct reader_snapshot *snap;
	int rc = recover_select(g->j, g->sel, RELEASE_RESTORE, &g->r, &snap, err);
	return rc ? rc : restore_run(g->j, &g->r, snap, g->o, &g->doc, err);
}

static int restore_there(struct restoring *g, const struct remote_host *h, struct err *err)
{
	CLEAN(remote_recovery_close_ptr) struct remote_recovery *there = NULL;
	const struct plan_source *ps;
	int rc = job_refuse(g->j, NEEDS_SITES, err);
	if (!rc)
		rc = job_source(g->j, g->sel->source, &ps, err);
	if (!rc)
		rc = sites_open(g->j, NULL, false, &g->sites, err);
	if (!rc)
		rc = remote_recovery_open(g->j, h, &g->sites, &there, err);
	if (rc)
		return rc;
	struct job_select sel = *g->sel;
	sel.source = ps->name;
	result_extra(g->res, "recovery_host", json_string(h->host));
	return remote_restore(there, &sel, g->o, &g->doc, err);
}

/* Where: as told, else where the plan's runbook recovers to. */
static struct remote_host host_of(const struct job *j, const struct job_restore_opts *o)
{
	const struct plan_recovery_target *t = j->plan->recovery ? j->plan->recovery->target : NULL;
	if (o->host && !(t && str_eq(o->host, t->host)))
		return (struct remote_host){.host = o->host};
	return t ? (struct remote_host){t->host, t->identity, t->known_hosts} : (struct remote_host){.host = "local"};
}

static int finish(struct restoring *g, int rc, json_t **result, struct err *err)
{
	struct evidence_subject sub = {.name = "snapshot"};
	struct err bad = ERR_INIT;
	int status = 0;
	if (g->doc && restore_tell(g->doc, g->res, &status, sub.sha256, &bad) && !rc) {
		*err = bad;
		rc = err_rc(err);
	}
	status = rc ? err_exit_status(err->code) : status;
	struct job_end e = {.result = g->res, .outcome = rc ? "failed" : "done", .status = status, .err = err, .sites = g->sites.n ? &g->sites : &g->r.sites, .subjects = &sub,
		.n_subjects = g->doc && !bad.code};
	if (!g->doc && (rc == -ERR_USAGE || rc == -ERR_UNSUPPORTED || err->code == ERR_USAGE))
		return status;
	if (g->doc)
		e.body = json_pack("{s:s*, s:s}", "source", json_string_value(json_object_get(json_object_get(g->doc, "source"), "name")), "target", g->o->to);
	return job_finish(g->j, &e, result, err);
}

int job_restore(const struct job *j, const struct job_select *sel, const struct job_restore_opts *o, json_t **result, struct err *err)
{
	struct restoring g = {.j = j, .sel = sel, .o = o};
	const struct remote_host h = host_of(j, o);
	int rc = release_allowed(j, RELEASE_RESTORE, err);
	if (rc)
		return err_exit_status(err->code);
	g.res = job_result(j, "restore", NULL);
	result_compare(g.res, RESULT_DECLARED, RESULT_DATA_RESTORED);
	result_point(g.res, RESULT_DECLARED, clock_wall_ns(), clock_boot_ns());
	rc = host_is_remote(h.host) ? restore_there(&g, &h, err) : restore_here(&g, err);
	int status = finish(&g, rc, result, err);
	result_free(g.res);
	json_decref(g.doc);
	sites_close(&g.sites);
	recover_close(&g.r);
	return status;
}

int job_export(const struct job *j, const struct job_select *sel, const char *const *paths, const char *output, json_t **result, struct err *err)
{
	struct recover r = {0};
	const struct reader_snapshot *snap;
	uint64_t bytes = 0;
	CLEAN(close_fd) int fd = -1;
	int out = STDOUT_FILENO;
	int rc = recover_select(j, sel, RELEASE_RESTORE, &r, &snap, err);
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
