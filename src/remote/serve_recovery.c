#include "remote/serve_recovery.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "remote/agent_doc.h"
#include "drill/drill_stores.h"
#include "remote/enroll.h"
#include "drill/rehearse.h"
#include "job/restore_run.h"

#define WHAT "job of the controller"
#define NS_PER_US 1000
#define PATHS_MAX 10000

struct request {
	const struct root *root;
	struct wire_job *wj;
	const json_t *doc;
	struct agent_doc d;
	struct plan *plan; /* one that this host lets be carried out */
	struct job job;
	const char *site;
};

static void request_release(struct request *q)
{
	plan_free(q->plan);
	agent_doc_release(&q->d);
}

static int open_site(void *arg, size_t number, const struct plan_site *ps, struct store **ret, struct err *err)
{
	return drill_open_relayed(arg, number, ps, ret, err);
}

static int request_open(struct request *q, struct err *err)
{
	int rc = agent_doc_read(q->doc, &q->d, err);
	if (!rc)
		rc = trust_plan(q->root, &q->d.trust, &q->plan, err);
	if (rc)
		return rc;
	q->job = (struct job){
		.root = q->root,
		.plan = q->plan,
		.actor = "controller",
		.cancel = (atomic_bool *)(uintptr_t)wire_job_cancel(q->wj), /* only read */
		.open_site = open_site,
		.open_arg = wire_job_wire(q->wj),
	};
	q->site = json_string_value(json_object_get(q->doc, "site"));
	return q->site && !plan_site(q->plan, q->site) ? err_set(err, ERR_USAGE, "the plan has no site '%.64s'", q->site) : 0;
}

/* The controller reckons from this what our clock means on its own. */
static void tell_clock(struct wire_job *job)
{
	CLEAN(json_release) json_t *o = json_pack("{s:I}", "boot", (json_int_t)(clock_boot_ns() / NS_PER_US));
	wire_job_progress(job, o);
}

/* --- a rehearsal --- */

static int tell_line(void *arg, const json_t *line, struct err *err)
{
	(void)err;
	wire_job_progress(arg, line);
	return 0;
}

static json_t *end_json(const struct rehearsal_end *e)
{
	json_t *o = json_pack("{s:b, s:b, s:b, s:i, s:I}", "began", e->began, "gone", e->gone, "left", e->left, "status", e->status, "mounts_left", (json_int_t)e->mounts_left);
	if (e->work)
		json_object_set_new(o, "work", report_text(e->work));
	if (e->clean_err.code)
		json_object_set_new(o, "clean_error", report_text(e->clean_err.msg));
	return o;
}

static int read_rehearsal(const struct request *q, struct rehearsal *r, struct err *err)
{
	unsigned char id[8];
	int64_t declared;
	enum negative kind;
	const char *planted = json_string_value(json_object_get(q->doc, "planted"));
	*r = (struct rehearsal){.j = &q->job, .site = q->site, .planted = -1};
	int rc = json_get_hex(q->doc, "id", WHAT, id, sizeof id, err); /* it becomes part of a path */
	if (!rc)
		rc = json_get_str(q->doc, "id", WHAT, &r->id, err);
	if (!rc)
		rc = json_get_int(q->doc, "declared", WHAT, &declared, err);
	if (!rc && (declared < 0 || declared > INT64_MAX / NS_PER_US))
		rc = err_set(err, ERR_FORMAT, WHAT ": declared is out of range");
	if (!rc)
		rc = json_get_bool(q->doc, "keep_work", WHAT, &r->keep_work, err);
	if (!rc && planted && !negative_parse(planted, &kind))
		rc = err_set(err, ERR_UNSUPPORTED, "a planted fault that is not known here: '%.40s'", planted);
	if (rc)
		return rc;
	r->declared_ns = declared * NS_PER_US;
	if (planted)
		r->planted = (int)kind;
	return 0;
}

static int carry_out(struct request *q, const struct rehearsal *r, json_t **ret, struct err *err)
{
	CLEAN(rehearsal_end_release) struct rehearsal_end e = REHEARSAL_END_INIT;
	CLEAN(drill_marker_close) struct drill_marker lock = DRILL_MARKER_INIT;
	struct sites sites = {0};
	struct rehearsal full = *r;
	int rc = drill_marker_open(&q->job, &lock, err);
	if (!rc)
		rc = sites_open(&q->job, q->site, false, &sites, err);
	if (rc)
		return rc;
	full.sites = &sites;
	if (r->planted < 0)
		drill_clean_stale(&q->job);
	tell_clock(q->wj);
	rc = rehearse(&full, tell_line, q->wj, &e, err);
	*ret = end_json(&e);
	sites_close(&sites);
	return rc;
}

static int rehearsal(struct request *q, json_t **ret, struct err *err)
{
	struct rehearsal r;
	if (!q->plan->recovery)
		return err_set(err, ERR_USAGE, "the plan has no recovery section: there is no runbook to drill");
	int rc = read_rehearsal(q, &r, err);
	if (!rc)
		rc = release_allowed(&q->job, RELEASE_DRILL, err);
	if (!rc)
		rc = job_refuse(&q->job, NEEDS_RECOVERY, err);
	if (!rc)
		rc = drill_refuse_targets(&q->job, err);
	if (!rc)
		rc = drill_needs_key(&q->job, err);
	return rc ? rc : carry_out(q, &r, ret, err);
}

/* --- a restore --- */

struct restore_request {
	struct job_select sel;
	struct job_restore_opts o;
	char *to;
	const char **paths;
};

static void restore_request_release(struct restore_request *r)
{
	free(r->to);
	free(r->paths);
}

/*
 * Where a controller names the place, it could name that of somebody's keys or programs: all goes below one directory of this host's
 * own, and into nothing there but a directory or a new name.
 */
static int choose_target(const struct request *q, const char *name, struct restore_request *r, struct err *err)
{
	struct stat st;
	if (!*name || *name == '.' || strchr(name, '/') || strlen(name) > 200) {
		err_set(err, ERR_USAGE, "on another host '%.100s' is no place to restore to", name);
		return err_hint(err, "give a plain name: it becomes a directory below %s there", q->root->restored);
	}
	int rc = fs_mkdirs(q->root->restored, 0700, err);
	if (rc)
		return rc;
	r->o.to = r->to = fs_join(q->root->restored, name);
	if (!lstat(r->to, &st) && !S_ISDIR(st.st_mode))
		return err_set(err, ERR_USAGE, "%s is there and is no directory", r->to);
	return 0;
}

static int read_paths(const json_t *doc, struct restore_request *r, struct err *err)
{
	json_t *list, *v;
	size_t i;
	int rc = json_get_arr(doc, "paths", WHAT, &list, err);
	if (!rc && json_array_size(list) > PATHS_MAX)
		rc = err_set(err, ERR_FORMAT, WHAT ": too many paths");
	if (rc || !json_array_size(list))
		return rc;
	r->o.paths = r->paths = xcalloc(json_array_size(list) + 1, sizeof *r->paths);
	json_array_foreach (list, i, v) {
		if (!json_is_string(v))
			return err_set(err, ERR_FORMAT, WHAT ": a path is no text");
		r->paths[i] = json_string_value(v);
	}
	return 0;
}

static int read_restore(const struct request *q, struct restore_request *r, struct err *err)
{
	const char *to;
	int64_t strip;
	r->sel = (struct job_select){.snapshot = json_string_value(json_object_get(q->doc, "snapshot")), .site = q->site};
	int rc = agent_doc_id(q->doc, "source", &r->sel.source, err);
	if (rc || (rc = json_get_bool(q->doc, "full_metadata", WHAT, &r->o.full_metadata, err)) || (rc = json_get_bool(q->doc, "overwrite", WHAT, &r->o.overwrite, err)) ||
		(rc = json_get_bool(q->doc, "verify", WHAT, &r->o.verify, err)) || (rc = json_get_int(q->doc, "strip", WHAT, &strip, err)) ||
		(rc = json_get_str(q->doc, "to", WHAT, &to, err)))
		return rc;
	if (strip < 0 || strip > 1000)
		return err_set(err, ERR_FORMAT, WHAT ": strip is out of range");
	r->o.strip = (unsigned)strip;
	rc = read_paths(q->doc, r, err);
	return rc ? rc : choose_target(q, to, r, err);
}

static void show(void *arg, const struct job_progress *p)
{
	CLEAN(json_release) json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "phase", p->phase, "subject", p->subject, "files", (json_int_t)p->files, "files_total",
		(json_int_t)p->files_total, "bytes", (json_int_t)p->bytes, "bytes_total", (json_int_t)p->bytes_total);
	wire_job_progress(arg, o);
}

static int restore(struct request *q, json_t **ret, struct err *err)
{
	CLEAN(restore_request_release) struct restore_request r = {0};
	struct recover rec = {0};
	const struct reader_snapshot *snap;
	int rc = read_restore(q, &r, err);
	if (rc)
		return rc;
	q->job.progress = show;
	q->job.arg = q->wj;
	tell_clock(q->wj);
	rc = recover_select(&q->job, &r.sel, RELEASE_RESTORE, &rec, &snap, err);
	if (!rc)
		rc = restore_run(&q->job, &rec, snap, &r.o, ret, err);
	recover_close(&rec);
	return rc;
}

/* --- enrolment --- */

/* For each name asked for: what its host needs of the class secret, once. */
static int add_psks(const struct request *q, const struct opening_key *o, json_t *to, struct err *err)
{
	json_t *names, *v;
	size_t i;
	int rc = json_get_arr(q->doc, "sources", WHAT, &names, err);
	json_array_foreach (names, i, v) {
		CLEAN(secret_release) struct secret psk = {0};
		const char *name = json_string_value(v);
		if (rc || !name || !plan_source(q->plan, name))
			return rc ? rc : err_set(err, ERR_FORMAT, WHAT ": a source that the plan does not have");
		opening_key_psk(o, name, &psk);
		json_object_set_new(to, name, json_b64(psk.p, psk.len));
	}
	return rc;
}

static int opening(struct request *q, json_t **ret, struct err *err)
{
	unsigned char root_pub[ED25519_PUB_LEN];
	struct enroll_opening e = {.root_pub = root_pub};
	struct opening_key o = {0};
	int rc = json_get_hex(q->doc, "root", WHAT, root_pub, sizeof root_pub, err);
	if (!rc)
		rc = json_get_hex(q->doc, "repository", WHAT, e.repo, sizeof e.repo, err);
	if (!rc)
		rc = json_get_bool(q->doc, "fresh", WHAT, &e.fresh, err);
	if (!rc)
		rc = json_get_bool(q->doc, "may_make", WHAT, &e.may_make, err);
	if (!rc)
		rc = enroll_opening(&q->job, &e, &o, err);
	if (rc)
		return rc;
	json_t *answer = json_pack("{s:b, s:b, s:o, s:o, s:{}}", "have", e.have, "made", e.made, "repository", json_hex(e.repo, REPO_ID_LEN), "public", json_hex(e.pub, X25519_LEN), "psk");
	if (e.have)
		rc = add_psks(q, &o, json_object_get(answer, "psk"), err);
	opening_key_release(&o);
	*ret = answer;
	return rc;
}

int serve_recovery(void *arg, struct wire_job *job, const char *kind, const json_t *doc, json_t **ret, struct err *err)
{
	CLEAN(request_release) struct request q = {.root = arg, .wj = job, .doc = doc};
	int rc = request_open(&q, err);
	if (rc)
		return rc;
	if (str_eq(kind, "rehearse"))
		return rehearsal(&q, ret, err);
	if (str_eq(kind, "restore"))
		return restore(&q, ret, err);
	if (str_eq(kind, "opening"))
		return opening(&q, ret, err);
	return err_set(err, ERR_UNSUPPORTED, "a recovery agent does not know the job '%.40s'", kind);
}
