#include "remote/remote_recovery.h"

#include <string.h>
#include "agent/agent.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "remote/agent_doc.h"

#define PROGRAM "holdfast-recovery"
#define WHAT "report of the recovery agent"
#define NS_PER_US 1000

struct remote_recovery {
	const struct job *j;
	struct agent *agent;
};

void remote_recovery_close(struct remote_recovery *r)
{
	if (!r)
		return;
	agent_end(r->agent);
	free(r);
}

void remote_recovery_close_ptr(struct remote_recovery **r)
{
	remote_recovery_close(*r);
	*r = NULL;
}

static void relay(struct agent *a, const struct plan *p, const struct sites *sites)
{
	const struct wire_access rights = {.role = WIRE_ROLE_GET};
	for (size_t i = 0; i < sites->n; i++) {
		const struct plan_site *ps = plan_site(p, sites->site[i].name);
		if (ps && sites->site[i].store && ps - p->sites < AGENT_RELAYS)
			agent_relay(a, (unsigned)(ps - p->sites), sites->site[i].store, &rights);
	}
}

int remote_recovery_open(const struct job *j, const struct remote_host *h, const struct sites *sites, struct remote_recovery **ret, struct err *err)
{
	struct agent_config c = {.host = h->host, .program = PROGRAM, .identity = h->identity, .known_hosts = h->known_hosts, .cancel = j->cancel};
	struct agent *a;
	int rc = agent_start(&c, &a, err);
	if (rc && (err->code == ERR_UNREACHABLE || err->code == ERR_MISSING)) /* which are said of sites and copies */
		err->code = ERR_FAILED;
	if (rc)
		return err_wrap(err, "the recovery host");
	relay(a, j->plan, sites);
	*ret = xcalloc(1, sizeof **ret);
	**ret = (struct remote_recovery){j, a};
	return 0;
}

/* --- its clocks and ours --- */

/*
 * Boot clocks of two machines have nothing to do with each other. The first line tells the other one's; what it took on the way makes
 * every time a little later here than it was, so that no recovery is told as faster than it was.
 */
struct clocks {
	bool set;
	int64_t offset_us, began_us;
};

static int64_t now_us(void)
{
	return clock_boot_ns() / NS_PER_US;
}

static void clocks_set(struct clocks *c, const json_t *line)
{
	json_int_t boot = json_integer_value(json_object_get(line, "boot"));
	c->set = boot > 0 && !__builtin_sub_overflow(now_us(), (int64_t)boot, &c->offset_us);
}

/* "NAME" and "NAME_boot" of an object, wherever it has both. */
static void clocks_apply(const struct clocks *c, json_t *o)
{
	const char *key;
	json_t *v;
	void *next;
	json_object_foreach_safe(o, next, key, v) {
		char name[64];
		int64_t boot;
		size_t n = strlen(key);
		if (n < 6 || n >= sizeof name || !str_eq(key + n - 5, "_boot") || !json_is_integer(v))
			continue;
		memcpy(name, key, n - 5);
		name[n - 5] = 0;
		if (!c->set || __builtin_add_overflow((int64_t)json_integer_value(v), c->offset_us, &boot))
			boot = now_us();
		boot = MAX(MIN(boot, now_us()), c->began_us);
		json_object_set_new(o, name, json_integer(clock_wall_ns() / NS_PER_US - (now_us() - boot)));
		json_object_set_new(o, key, json_integer(boot));
	}
}

/* --- jobs --- */

struct listener {
	const struct job *j;
	const char *who;
	struct clocks clocks;
	report_fn line;
	void *arg;
	struct err refused; /* the first line that was not accepted; none is listened to behind it */
};

static uint64_t count_of(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));
	return v > 0 ? (uint64_t)v : 0;
}

static void show(const struct listener *l, const json_t *doc)
{
	const char *phase = json_string_value(json_object_get(doc, "phase")), *subject = json_string_value(json_object_get(doc, "subject"));
	if (phase && subject && l->j->progress)
		l->j->progress(l->j->arg, &(struct job_progress){.phase = str_eq(phase, "verify") ? "verify" : "restore", .subject = subject, .files = count_of(doc, "files"),
			.files_total = count_of(doc, "files_total"), .bytes = count_of(doc, "bytes"), .bytes_total = count_of(doc, "bytes_total")});
}

static void on_progress(void *arg, const json_t *doc)
{
	struct listener *l = arg;
	if (!l->clocks.set) {
		clocks_set(&l->clocks, doc);
		if (json_object_get(doc, "boot"))
			return;
	}
	if (!l->line) {
		show(l, doc);
		return;
	}
	if (l->refused.code)
		return;
	CLEAN(json_release) json_t *line = json_deep_copy(doc);
	clocks_apply(&l->clocks, line);
	if (l->line(l->arg, line, &l->refused) && !l->refused.code)
		l->refused.code = ERR_FORMAT;
}

static void on_log(void *arg, enum log_level level, const char *line)
{
	const struct listener *l = arg;
	log_msg(level, "%s: %s", l->who, line);
}

static int run(struct remote_recovery *r, const char *kind, json_t *doc, struct listener *l, json_t **answer, struct err *err)
{
	const struct wire_job_events ev = {.progress = on_progress, .log = on_log, .arg = l};
	l->j = r->j;
	l->who = agent_name(r->agent);
	l->clocks.began_us = now_us();
	int rc = agent_run(r->agent, kind, doc, &ev, r->j->cancel, answer, err);
	if (l->refused.code) {
		*err = l->refused;
		rc = err_rc(err);
	}
	return rc;
}

static int read_end(const json_t *o, struct rehearsal_end *ret, struct err *err)
{
	int64_t status, mounts;
	const char *work = json_string_value(json_object_get(o, "work")), *clean = json_string_value(json_object_get(o, "clean_error"));
	int rc = json_get_bool(o, "began", WHAT, &ret->began, err);
	if (rc || (rc = json_get_bool(o, "gone", WHAT, &ret->gone, err)) || (rc = json_get_bool(o, "left", WHAT, &ret->left, err)) ||
		(rc = json_get_int(o, "status", WHAT, &status, err)) || (rc = json_get_int(o, "mounts_left", WHAT, &mounts, err)))
		return rc;
	if (status < -1 || status > 255 || mounts < 0 || mounts > 1 << 20)
		return err_set(err, ERR_FORMAT, WHAT ": a number is out of range");
	ret->status = (int)status;
	ret->mounts_left = (size_t)mounts;
	ret->work = work ? xstrdup(work) : NULL;
	if (clean)
		(void)err_set(&ret->clean_err, ERR_FAILED, "%s", clean);
	return 0;
}

int remote_rehearse(struct remote_recovery *r, const struct rehearsal *what, report_fn line, void *arg, struct rehearsal_end *ret, struct err *err)
{
	CLEAN(json_release) json_t *doc = NULL;
	CLEAN(json_release) json_t *answer = NULL;
	struct err why = ERR_INIT;
	struct listener l = {.line = line, .arg = arg};
	*ret = (struct rehearsal_end)REHEARSAL_END_INIT;
	int rc = agent_doc_new(r->j, &doc, err);
	if (rc)
		return rc;
	json_object_set_new(doc, "id", json_string(what->id));
	json_object_set_new(doc, "declared", json_integer(what->declared_ns / NS_PER_US));
	json_object_set_new(doc, "keep_work", json_boolean(what->keep_work));
	if (what->site)
		json_object_set_new(doc, "site", json_string(what->site));
	if (what->planted >= 0)
		json_object_set_new(doc, "planted", json_string(negative_name((enum negative)what->planted)));
	rc = run(r, "rehearse", doc, &l, &answer, err);
	if (answer && read_end(answer, ret, &why) && !rc) {
		*err = why;
		rc = err_rc(err);
	}
	if (!rc && !answer)
		rc = err_set(err, ERR_FORMAT, WHAT ": there is none");
	ret->began = ret->began || rc; /* what is not told to be gone may be there */
	return rc;
}

static json_t *list_json(const char *const *v)
{
	json_t *list = json_array();
	for (size_t i = 0; v && v[i]; i++)
		json_array_append_new(list, json_string(v[i]));
	return list;
}

int remote_restore(struct remote_recovery *r, const struct job_select *sel, const struct job_restore_opts *o, json_t **ret, struct err *err)
{
	CLEAN(json_release) json_t *doc = NULL;
	struct listener l = {0};
	int rc = agent_doc_new(r->j, &doc, err);
	if (rc)
		return rc;
	json_object_update_missing_new(doc, json_pack("{s:s, s:s*, s:s*, s:s, s:o, s:b, s:b, s:I, s:b}", "source", sel->source, "snapshot", sel->snapshot, "site", sel->site, "to", o->to,
		"paths", list_json(o->paths), "full_metadata", o->full_metadata, "overwrite", o->overwrite, "strip", (json_int_t)o->strip, "verify", o->verify));
	rc = run(r, "restore", doc, &l, ret, err);
	if (*ret)
		clocks_apply(&l.clocks, json_object_get(*ret, "moments"));
	if (!rc && !*ret)
		rc = err_set(err, ERR_FORMAT, WHAT ": there is none");
	return rc;
}

static int read_opening(const json_t *o, struct enroll_opening *e, struct err *err)
{
	unsigned char repo[REPO_ID_LEN];
	int rc = json_get_bool(o, "have", WHAT, &e->have, err);
	if (rc)
		return rc;
	if (!e->have)
		return e->may_make ? err_set(err, ERR_FORMAT, WHAT ": no key, although one was to be made") : 0;
	if ((rc = json_get_bool(o, "made", WHAT, &e->made, err)) || (rc = json_get_hex(o, "repository", WHAT, repo, sizeof repo, err)) ||
		(rc = json_get_hex(o, "public", WHAT, e->pub, X25519_LEN, err)))
		return rc;
	if (!e->fresh && memcmp(repo, e->repo, sizeof repo))
		return err_set(err, ERR_FORK, WHAT ": the key there is of another repository");
	memcpy(e->repo, repo, sizeof repo);
	return 0;
}

int remote_opening(struct remote_recovery *r, struct enroll_opening *e, const bool *wanted, struct secret *psk, struct err *err)
{
	CLEAN(json_release) json_t *doc = NULL;
	CLEAN(json_release) json_t *answer = NULL;
	const struct plan *p = r->j->plan;
	struct listener l = {0};
	json_t *names = json_array();
	int rc = agent_doc_new(r->j, &doc, err);
	for (size_t i = 0; i < p->n_sources; i++)
		if (wanted[i])
			json_array_append_new(names, json_string(p->sources[i].name));
	json_object_update_missing_new(doc, json_pack("{s:o, s:o, s:b, s:b, s:o}", "repository", json_hex(e->repo, REPO_ID_LEN), "root", json_hex(e->root_pub, ED25519_PUB_LEN), "fresh",
		e->fresh, "may_make", e->may_make, "sources", names));
	if (!rc)
		rc = run(r, "opening", doc, &l, &answer, err);
	if (!rc)
		rc = read_opening(answer, e, err);
	for (size_t i = 0; !rc && e->have && i < p->n_sources; i++) {
		unsigned char b[32];
		if (!wanted[i])
			continue;
		rc = json_get_b64(json_object_get(answer, "psk"), p->sources[i].name, WHAT, b, sizeof b, err);
		if (!rc)
			secret_set(&psk[i], b, sizeof b);
		mem_cleanse(b, sizeof b);
	}
	return rc;
}
