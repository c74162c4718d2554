#include "remote/remote_source.h"

#include <string.h>
#include "agent/agent.h"
#include "base/log.h"
#include "base/str.h"
#include "remote/agent_doc.h"

#define PROGRAM "holdfast-source"
#define WHAT "report of the source agent"

static int start(const struct job *j, const struct plan_source *ps, struct agent **ret, struct err *err)
{
	struct agent_config c = {.host = ps->host, .program = PROGRAM, .identity = ps->identity, .known_hosts = ps->known_hosts, .cancel = j->cancel};
	int rc = agent_start(&c, ret, err);
	if (rc && (err->code == ERR_UNREACHABLE || err->code == ERR_MISSING)) /* which are said of sites and copies */
		err->code = ERR_FAILED;
	return rc ? err_wrap(err, "source '%s'", ps->name) : 0;
}

static void relay(struct agent *a, const struct plan_source *ps, const struct sites *sites)
{
	struct wire_access rights = {.role = WIRE_ROLE_SOURCE};
	str_copy(rights.source, sizeof rights.source, ps->name);
	for (size_t i = 0; i < sites->n && i < AGENT_RELAYS; i++)
		if (sites->site[i].store)
			agent_relay(a, (unsigned)i, sites->site[i].store, &rights);
}

/* --- what it says on the way --- */

struct listener {
	const struct source_run_opts *o;
	const char *who;
};

static uint64_t count_of(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));
	return v > 0 ? (uint64_t)v : 0;
}

static void on_progress(void *arg, const json_t *doc)
{
	const struct listener *l = arg;
	const char *noted = json_string_value(json_object_get(doc, "noted"));
	const char *path = json_string_value(json_object_get(doc, "path"));
	if (!noted && l->o->progress)
		l->o->progress(l->o->arg, count_of(doc, "files"), count_of(doc, "bytes"), count_of(doc, "sent"));
	for (enum note_code c = 0; noted && path && l->o->noted && c < NOTE_CODES; c++)
		if (str_eq(noted, note_name(c)))
			l->o->noted(l->o->arg, c, path, strlen(path));
}

static void on_log(void *arg, enum log_level level, const char *line)
{
	const struct listener *l = arg;
	log_msg(level, "%s: %s", l->who, line);
}

/* --- a run --- */

/* The signed snapshot as the site has it must be the one that the agent names: no receipt is given on somebody's word. */
static int check_site(const struct source_run_opts *o, const struct source_run_result *r, struct store *st, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	unsigned char digest[SHA256_LEN];
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	CLEAN(snapshot_release) struct snapshot snap = {0};
	int rc = store_get(st, key_snapshot(key, 's', o->source->name, r->committed.lineage, r->committed.seq), &b, err);
	if (rc)
		return rc;
	sha256_of(b.p, b.len, digest);
	rc = memcmp(digest, r->committed.digest, sizeof digest) ? err_set(err, ERR_CORRUPT, "another snapshot is there than was told") : 0;
	if (!rc)
		rc = snapshot_decode(o->cfg, b.p, b.len, &snap, err);
	if (!rc && (!str_eq(snap.source, o->source->name) || snap.seq != r->committed.seq || memcmp(snap.plan_digest, o->plan_digest, ID_LEN)))
		rc = err_set(err, ERR_CORRUPT, "the snapshot there is of another source, run or plan");
	return rc;
}

static void check_committed(const struct source_run_opts *o, struct source_run_result *r)
{
	r->committed.committed = 0;
	for (size_t i = 0; i < o->n_sites; i++) {
		struct session_site *s = &o->site[i];
		struct err why = ERR_INIT;
		if (s->state != SITE_COMMITTED)
			continue;
		if (!r->is_committed || !s->store)
			(void)err_set(&why, ERR_FORMAT, "it is told as committed, but nothing is");
		else
			(void)check_site(o, r, s->store, &why);
		r->committed.committed += !why.code;
		if (!why.code)
			continue;
		s->state = SITE_FAILED;
		s->err = why;
		(void)err_wrap(&s->err, "site %s", s->name);
	}
	r->is_committed = r->is_committed && r->committed.committed;
}

static int read_result(const struct source_run_opts *o, const json_t *doc, struct source_run_result *ret, struct err *err)
{
	int rc = agent_doc_read_run(doc, ret, o->site, o->n_sites, err);
	if (rc)
		return err_wrap(err, "source '%s'", o->source->name);
	bool told = ret->is_committed;
	check_committed(o, ret);
	if (told && !ret->is_committed)
		return err_set(err, ERR_FAILED, "source '%s': its agent tells of a snapshot that no site has", o->source->name);
	return 0;
}

static int run_there(struct agent *a, const struct job *j, const struct source_run_opts *o, struct source_run_result *ret, struct err *err)
{
	CLEAN(json_release) json_t *doc = NULL;
	CLEAN(json_release) json_t *answer = NULL;
	struct listener l = {o, agent_name(a)};
	const struct wire_job_events ev = {.progress = on_progress, .log = on_log, .arg = &l};
	const struct sites sites = {.site = o->site, .n = o->n_sites};
	struct err why = ERR_INIT;
	int rc = agent_doc_new(j, &doc, err);
	if (rc)
		return rc;
	json_object_set_new(doc, "source", json_string(o->source->name));
	json_object_set_new(doc, "run", json_string(o->run_id));
	json_object_set_new(doc, "dry_run", json_boolean(o->dry_run));
	json_object_set_new(doc, "full_read", json_boolean(o->full_read));
	json_object_set_new(doc, "patience_ms", json_integer(o->patience_ms));
	agent_doc_sites(doc, &sites);
	relay(a, o->source, &sites);
	rc = agent_run(a, "backup", doc, &ev, o->cancel, &answer, err);
	if (answer && read_result(o, answer, ret, &why) && !rc) {
		*err = why;
		rc = err_rc(err);
	}
	if (!rc && !answer)
		rc = err_set(err, ERR_FORMAT, WHAT ": there is none");
	return rc;
}

int remote_source_run(const struct job *j, const struct source_run_opts *o, struct source_run_result *ret, struct err *err)
{
	CLEAN(agent_end_ptr) struct agent *a = NULL;
	*ret = (struct source_run_result){0};
	source_run_reset(o->site, o->n_sites);
	int rc = start(j, o->source, &a, err);
	if (!rc)
		rc = run_there(a, j, o, ret, err);
	return rc && !str_starts(err->msg, "source ") ? err_wrap(err, "source '%s'", o->source->name) : rc;
}

/* --- enrolment --- */

static int ask(const struct job *j, const struct plan_source *ps, const char *kind, json_t *doc, const struct sites *sites, json_t **answer, struct err *err)
{
	CLEAN(agent_end_ptr) struct agent *a = NULL;
	const struct source_run_opts none = {0};
	int rc = start(j, ps, &a, err);
	if (rc)
		return rc;
	struct listener l = {&none, agent_name(a)};
	const struct wire_job_events ev = {.log = on_log, .arg = &l};
	json_object_set_new(doc, "source", json_string(ps->name));
	if (sites) {
		agent_doc_sites(doc, sites);
		relay(a, ps, sites);
	}
	rc = agent_run(a, kind, doc, &ev, j->cancel, answer, err);
	return rc ? err_wrap(err, "source '%s'", ps->name) : 0;
}

int remote_enroll(const struct job *j, const struct remote_enroll *e, unsigned char ret_pub[ED25519_PUB_LEN], uint32_t *ret_epoch, bool *ret_made, struct err *err)
{
	CLEAN(json_release) json_t *doc = NULL;
	CLEAN(json_release) json_t *answer = NULL;
	int64_t epoch = 0;
	int rc = agent_doc_new(j, &doc, err);
	if (rc)
		return rc;
	json_object_set_new(doc, "repository", json_hex(e->repo, REPO_ID_LEN));
	json_object_set_new(doc, "root", json_hex(e->root_pub, ED25519_PUB_LEN));
	if (e->psk)
		json_object_set_new(doc, "psk", json_b64(e->psk->p, e->psk->len));
	rc = ask(j, e->source, "enroll", doc, NULL, &answer, err);
	if (!rc && !answer)
		rc = err_set(err, ERR_FORMAT, WHAT ": there is none");
	if (!rc)
		rc = json_get_hex(answer, "public", WHAT, ret_pub, ED25519_PUB_LEN, err);
	if (!rc)
		rc = json_get_int(answer, "epoch", WHAT, &epoch, err);
	if (!rc && (epoch < 1 || epoch > UINT32_MAX))
		rc = err_set(err, ERR_FORMAT, WHAT ": epoch is out of range");
	if (!rc)
		rc = json_get_bool(answer, "made", WHAT, ret_made, err);
	*ret_epoch = (uint32_t)epoch;
	return rc;
}

int remote_seal(const struct job *j, const struct plan_source *source, const struct sites *sites, struct err *err)
{
	CLEAN(json_release) json_t *doc = NULL;
	CLEAN(json_release) json_t *answer = NULL;
	int rc = agent_doc_new(j, &doc, err);
	return rc ? rc : ask(j, source, "seal", doc, sites, &answer, err);
}
