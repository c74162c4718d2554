#include "job/common.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"

#define UTC_LEN 16 /* 20260331T101112Z */

int job_source(const struct job *j, const char *name, const struct plan_source **ret, struct err *err)
{
	const struct plan *p = j->plan;
	*ret = name ? plan_source(p, name) : p->n_sources == 1 ? &p->sources[0] : NULL;
	if (*ret)
		return 0;
	CLEAN(buf_release) struct buf names = BUF_INIT(64u << 10);
	for (size_t i = 0; i < p->n_sources; i++)
		buf_addf(&names, "%s%s", i ? ", " : "", p->sources[i].name);
	if (name)
		err_set(err, ERR_USAGE, "the plan has no source '%s'", name);
	else
		err_set(err, ERR_USAGE, "the plan has %zu sources: say which with --source", p->n_sources);
	return err_hint(err, "its sources: %s", buf_str(&names));
}

bool host_is_remote(const char *host)
{
	return host && !str_eq(host, "local");
}

bool job_cancelled(const struct job *j)
{
	return j->cancel && atomic_load(j->cancel);
}

/* --- result and evidence --- */

static json_t *good_result(const char *path, bool (*accept)(const json_t *result))
{
	json_t *o = NULL;
	struct err why = ERR_INIT;
	if (result_read(path, &o, &why))
		return NULL;
	if (str_eq(json_string_value(json_object_get(o, "outcome")), "done") && (!accept || accept(o)))
		return o;
	json_decref(o);
	return NULL;
}

static bool ended_later(const json_t *a, const json_t *b)
{
	const char *ta = json_string_value(json_object_get(a, "finished")), *tb = json_string_value(json_object_get(b, "finished"));
	return ta && tb && strcmp(ta, tb) > 0;
}

/* Names begin with the time, so the last of them in order is the newest; of those of one second the end decides. */
json_t *job_newest_result(const struct job *j, const char *kind, bool (*accept)(const json_t *result))
{
	CLEAN(free_ptr) char *dir = fs_join(j->root->results, j->plan->name);
	char mark[64], second[UTC_LEN + 1] = "";
	struct dirent **names = NULL;
	json_t *best = NULL;
	int n = scandir(dir, &names, NULL, alphasort);
	snprintf(mark, sizeof mark, "-%s-", kind);
	while (n-- > 0) {
		CLEAN(free_ptr) char *path = fs_join(dir, names[n]->d_name);
		bool look = strstr(names[n]->d_name, mark) && (!best || str_starts(names[n]->d_name, second));
		json_t *o = look ? good_result(path, accept) : NULL;
		if (o && (!best || ended_later(o, best))) {
			json_decref(best);
			best = json_incref(o);
			snprintf(second, sizeof second, "%.*s", UTC_LEN, names[n]->d_name);
		}
		json_decref(o);
		free(names[n]);
	}
	free(names);
	return best;
}

struct result *job_result(const struct job *j, const char *kind, const char *scenario)
{
	char digest[HEX_LEN], host[256] = "";
	hex_encode(digest, j->plan->digest, PLAN_DIGEST_LEN);
	gethostname(host, sizeof host - 1);
	return result_new(&(struct result_identity){
		.kind = kind,
		.plan = j->plan->name,
		.plan_digest = digest,
		.plan_version = j->plan->review ? j->plan->review->version : -1,
		.scenario = scenario,
		.performed_by = j->actor,
		.host = host[0] ? host : NULL,
		.tool_version = HOLDFAST_VERSION,
		.self_attested = 1,
	});
}

/* Copies of the log at the sites that can be asked; newly allocated, and their stores. */
static size_t copies_at(const struct job *j, const struct sites *sites, struct evidence_site **ret, struct store ***ret_st)
{
	size_t n = 0;
	*ret = xcalloc((sites ? sites->n : 0) + 1, sizeof **ret);
	*ret_st = xcalloc((sites ? sites->n : 0) + 1, sizeof **ret_st);
	for (size_t i = 0; sites && i < sites->n; i++)
		if (sites->site[i].store) {
			(*ret_st)[n] = sites->site[i].store;
			(*ret)[n++] = (struct evidence_site){.store = sites->site[i].store, .pin = site_witness(j, sites->site[i].name)};
		}
	return n;
}

/* Open, append, sign, copy, close: the log is held only for that long. */
static int record(const struct job *j, const struct evidence_event *ev, const struct sites *sites, struct err *err)
{
	CLEAN(free_ptr) char *key = path_log_key(j);
	struct store **st;
	struct evidence_site *copy;
	struct evidence_log *log = NULL;
	struct err copies = ERR_INIT;
	size_t n = copies_at(j, sites, &copy, &st);
	struct evidence_config c = {.dir = j->root->log, .key_path = key, .create = true, .wait_ms = 30000, .sites = st, .n_sites = n};
	int rc = evidence_open(&c, &log, err);
	if (!rc)
		rc = evidence_append(log, ev, NULL, err);
	if (!rc)
		rc = evidence_checkpoint(log, err);
	if (!rc && evidence_publish(log, copy, n, 0, &copies)) {
		log_msg(LOG_WARN, "evidence: %s; the next run brings it there", copies.msg);
		if (copies.code == ERR_FORK) {
			*err = copies;
			rc = err_rc(err);
		}
	}
	evidence_close(log);
	free(st);
	free(copy);
	return rc;
}

int job_event(const struct job *j, const char *type, const struct evidence_event *ev, const struct sites *sites, struct err *err)
{
	struct evidence_event e = *ev;
	e.type = type;
	e.actor = j->actor;
	return record(j, &e, sites, err);
}

static int write_all(const struct job *j, struct job_end *e, struct err *err)
{
	struct evidence_subject *subject = xcalloc(e->n_subjects + 2, sizeof *subject);
	CLEAN(result_file_release) struct result_file file = {0};
	CLEAN(free_ptr) char *metrics = fs_join(j->root->metrics, "holdfast.prom");
	int rc = result_write(e->result, j->root->results, &file, err);
	if (!rc) {
		const char *slash = strrchr(file.path, '/');
		subject[0].name = slash ? slash + 1 : file.path;
		memcpy(subject[0].sha256, file.sha256, SHA256_LEN);
		subject[1].name = "plan";
		memcpy(subject[1].sha256, j->plan->digest, SHA256_LEN);
		for (size_t i = 0; i < e->n_subjects; i++)
			subject[i + 2] = e->subjects[i];
		if (!e->body)
			e->body = json_object();
		json_object_set_new(e->body, "plan", json_string(j->plan->name));
		json_object_set_new(e->body, "result", json_string(result_id(e->result)));
		json_object_set_new(e->body, "status", json_integer(e->status));
		const json_t *kind = json_object_get(result_json(e->result), "kind");
		struct evidence_event ev = {.type = json_string_value(kind), .actor = j->actor, .outcome = e->outcome, .subjects = subject, .n_subjects = e->n_subjects + 2, .body = e->body};
		rc = record(j, &ev, e->sites, err);
	}
	if (!rc)
		rc = fs_mkdirs(j->root->metrics, 0755, err);
	if (!rc)
		rc = metrics_write(j->root->results, metrics, err);
	free(subject);
	return rc;
}

/* Pinned witnesses are asked before the result is written, so that it holds what they did. */
static void judge_witnesses(const struct job *j, const struct job_end *e)
{
	CLEAN(free_ptr) char *key = path_log_key(j);
	CLEAN(free_ptr) struct evidence_site *copy = NULL;
	CLEAN(free_ptr) struct store **st = NULL;
	struct evidence_log *log = NULL;
	struct err why = ERR_INIT;
	bool any = false;
	size_t n = copies_at(j, e->sites, &copy, &st);
	for (size_t i = 0; i < n; i++)
		any |= copy[i].pin != NULL;
	struct evidence_config c = {.dir = j->root->log, .key_path = key, .wait_ms = 30000, .sites = st, .n_sites = n};
	if (!any || !fs_exists(key) || evidence_open(&c, &log, &why)) /* that the log is damaged is told when it is written to */
		return;
	(void)!evidence_publish(log, copy, n, EVIDENCE_PUBLISH_WITNESS, &why); /* told then, too */
	for (size_t i = 0; i < n; i++)
		if (copy[i].witness.code)
			job_finding(j, e->result, copy[i].witness.code == ERR_CORRUPT ? "high" : "medium", "%s", copy[i].witness.msg);
	evidence_close(log);
}

int job_finish(const struct job *j, struct job_end *e, json_t **ret, struct err *err)
{
	struct err why = ERR_INIT;
	if (!j->dry_run)
		judge_witnesses(j, e);
	if (e->err && e->err->code) {
		result_extra(e->result, "error", json_pack("{s:s, s:s, s:s}", "code", err_name(e->err->code), "message", e->err->msg, "hint", e->err->hint));
		if (!e->body)
			e->body = json_object();
		json_object_set_new(e->body, "error", json_string(e->err->msg));
	}
	result_finish(e->result, e->outcome, e->status);
	e->status = result_status(e->result);
	int status = e->status;
	if (!j->dry_run && write_all(j, e, &why)) {
		status = err_status_worse(status, why.code == ERR_FORK ? err_exit_status(ERR_FORK) : err_exit_status(ERR_EVIDENCE));
		err_wrap(&why, "the run is %s, but its evidence is not durable", e->outcome);
		if (err && !err->code)
			*err = why;
		else
			log_msg(LOG_ERROR, "%s", why.msg);
	}
	if (ret)
		*ret = json_deep_copy(result_json(e->result));
	json_decref(e->body);
	e->body = NULL;
	return status;
}
