/* init: keys, directories, a repository on each site. Run again, it adds what is missing. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"
#include "ops/ops.h"
#include "ops/init_int.h"
#include "remote/remote_source.h"

static void keep(struct init *in, const char *path, const char *why)
{
	json_array_append_new(in->keep, json_pack("{s:s, s:s}", "path", path, "why", why));
}

static int make_dirs(struct init *in, struct err *err)
{
	const struct root *r = in->j->root;
	CLEAN(free_ptr) char *sources = fs_join(r->keys, "sources");
	CLEAN(free_ptr) char *recovery = fs_join(r->keys, "recovery");
	const char *const dirs[] = {r->metrics, r->results, r->plans, r->keys, sources, recovery, r->state, r->log, r->work}; /* what dashboards read first: their parents stay open to them */
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		bool there = fs_exists(dirs[i]);
		int rc = fs_mkdirs(dirs[i], dirs[i] == r->metrics || dirs[i] == r->results ? 0755 : 0700, err);
		if (rc)
			return rc;
		if (!there)
			init_made(in, dirs[i]);
	}
	return 0;
}

/* The log makes its own key; it also keeps the first record of the installation. */
static int make_log(struct init *in, struct err *err)
{
	struct evidence_event ev = {.outcome = NULL};
	CLEAN(free_ptr) char *path = path_log_key(in->j);
	bool there = fs_exists(path);
	CLEAN(json_release) json_t *body = json_pack("{s:s}", "plan", in->j->plan->name);
	ev.body = body;
	int rc = job_event(in->j, "init", &ev, &in->sites, err);
	if (!rc)
		rc = log_seed_load(in->j, &in->log_seed, err);
	if (rc)
		return rc;
	ed25519_public(&in->log_seed, in->log_pub);
	if (!there)
		init_made(in, path);
	return 0;
}

/* What the sites have already, if anything. */
static int survey_cfg(struct init *in, struct err *err)
{
	for (size_t i = 0; i < in->sites.n; i++) {
		struct cfg c;
		struct err why = ERR_INIT;
		struct session_site *s = &in->sites.site[i];
		if (!s->store)
			return err_set(err, ERR_UNREACHABLE, "%s", s->err.msg);
		int rc = cfg_load(s->store, in->root_pub, NULL, &c, &why);
		if (rc == -ERR_MISSING)
			continue;
		if (rc) {
			*err = why;
			return err_hint(err, "another installation's repository may lie there; choose another place or bring its root key");
		}
		if (!str_eq(c.plan, in->j->plan->name)) {
			err_set(err, ERR_USAGE, "site %s holds the repository of plan '%s'", s->name, c.plan);
			cfg_release(&c);
			return err_rc(err);
		}
		if (in->have_cfg && memcmp(in->cfg.repo, c.repo, REPO_ID_LEN)) {
			cfg_release(&c);
			return err_set(err, ERR_FORK, "site %s holds another repository than the sites before it", s->name);
		}
		if (!in->have_cfg || c.n > in->cfg.n) {
			if (in->have_cfg)
				cfg_release(&in->cfg);
			in->cfg = c;
			in->have_cfg = true;
		} else {
			cfg_release(&c);
		}
	}
	return 0;
}

static void new_cfg(struct init *in)
{
	struct cfg *c = &in->cfg;
	rng_bytes(c->repo, REPO_ID_LEN);
	str_copy(c->plan, sizeof c->plan, in->j->plan->name);
	c->root = xcalloc(1, sizeof *c->root);
	memcpy(c->root[0], in->root_pub, ED25519_PUB_LEN);
	c->n_root = 1;
	in->changed = true;
}

static int enrol_log(struct init *in)
{
	struct cfg *c = &in->cfg;
	char origin[EVIDENCE_ORIGIN_MAX];
	evidence_origin(in->log_pub, origin);
	for (size_t i = 0; i < c->n_logs; i++)
		if (!memcmp(c->log[i].pub, in->log_pub, ED25519_PUB_LEN))
			return 0;
	c->log = xrealloc(c->log, (c->n_logs + 1) * sizeof *c->log);
	struct cfg_log *l = &c->log[c->n_logs++];
	*l = (struct cfg_log){0};
	str_copy(l->origin, sizeof l->origin, origin);
	memcpy(l->pub, in->log_pub, ED25519_PUB_LEN);
	in->changed = true;
	return 0;
}

/* The whole chain of configurations, and the sealed source keys, at every site. */
static int put_everywhere(struct init *in, const char *key, const struct buf *b, struct err *err)
{
	for (size_t i = 0; i < in->sites.n; i++) {
		int rc = store_put_same(in->sites.site[i].store, key, b->p, b->len, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int spread_old_cfg(struct init *in, uint64_t upto, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	for (uint64_t n = 0; n < upto; n++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
		int rc = err_set(err, ERR_MISSING, "configuration %llu is at no site", (unsigned long long)n);
		key_fmt(key, "cfg/%llu", (unsigned long long)n);
		for (size_t i = 0; rc && i < in->sites.n; i++)
			rc = store_get(in->sites.site[i].store, key, &b, err);
		if (!rc)
			rc = put_everywhere(in, key, &b, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int put_cfg(struct init *in, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	if (in->have_cfg && in->changed)
		in->cfg.n++;
	int rc = in->have_cfg ? spread_old_cfg(in, in->changed ? in->cfg.n : in->cfg.n + 1, err) : 0;
	if (rc || !in->changed)
		return rc;
	rc = cfg_encode(&in->cfg, &in->root_seed, &b, err);
	return rc ? rc : put_everywhere(in, key_fmt(key, "cfg/%llu", (unsigned long long)in->cfg.n), &b, err);
}

static int seal(struct init *in, const struct plan_source *ps, const struct init_source *k, struct err *err)
{
	return k->remote ? remote_seal(in->j, ps, &in->sites, err) : enroll_seal(&k->keys, &in->cfg, &in->sites, err);
}

static int run_init(struct init *in, struct err *err)
{
	const struct plan *p = in->j->plan;
	int rc = make_dirs(in, err);
	if (!rc)
		rc = sites_open(in->j, NULL, true, &in->sites, err);
	if (!rc)
		rc = init_root_key(in, err);
	if (!rc)
		rc = survey_cfg(in, err);
	if (!rc && !in->have_cfg)
		new_cfg(in);
	if (!rc)
		rc = init_opening_key(in, err);
	if (!rc)
		rc = make_log(in, err);
	if (!rc)
		rc = enrol_log(in);
	struct init_source *keys = xcalloc(p->n_sources + 1, sizeof *keys);
	for (size_t i = 0; !rc && i < p->n_sources; i++)
		rc = init_source(in, &p->sources[i], &keys[i], err);
	if (!rc)
		rc = put_cfg(in, err);
	for (size_t i = 0; !rc && i < p->n_sources; i++)
		rc = seal(in, &p->sources[i], &keys[i], err);
	for (size_t i = 0; i < p->n_sources; i++)
		source_keys_release(&keys[i].keys);
	free(keys);
	return rc;
}

static json_t *init_report(struct init *in)
{
	char repo[2 * REPO_ID_LEN + 1];
	CLEAN(free_ptr) char *root = path_root_key(in->j);
	CLEAN(free_ptr) char *opening = init_opening_place(in);
	hex_encode(repo, in->cfg.repo, REPO_ID_LEN);
	if (in->opening_there)
		keep(in, opening, "opens every copy, and is on that host alone. Keep another off-line: with one site it is all that a recovery needs");
	else
		keep(in, opening, "opens every copy; with one site it is all that a recovery needs. Keep two, off-line, and remove it from this machine");
	keep(in, root, "signs the repository's configuration; needed again only by init. Keep it off-line");
	json_t *sites = json_array();
	for (size_t i = 0; i < in->sites.n; i++)
		json_array_append_new(sites, json_string(in->sites.site[i].name));
	return json_pack("{s:s, s:s, s:I, s:o, s:O, s:O}", "plan", in->j->plan->name, "repository", repo, "configuration", (json_int_t)in->cfg.n, "sites", sites, "made", in->made,
		"keep_offline", in->keep);
}

/* Once, so that the first verdicts are on what was found; what is weak is told and stops nothing. */
static void probe_sites(const struct job *j)
{
	json_t *result = NULL;
	struct err why = ERR_INIT;
	bool fresh = true;
	for (size_t i = 0; i < j->plan->n_sites; i++)
		fresh &= site_probe_is_fresh(j, j->plan->sites[i].name);
	if (fresh)
		return;
	job_site_probe(j, NULL, &result, &why);
	size_t i;
	json_t *f;
	json_array_foreach (json_object_get(result, "findings"), i, f)
		log_msg(LOG_WARN, "%s", json_string_value(json_object_get(f, "title")));
	if (why.code)
		log_msg(LOG_WARN, "probe: %s", why.msg);
	json_decref(result);
}

int job_init(const struct job *j, json_t **result, struct err *err)
{
	struct init in = {.j = j, .made = json_array(), .keep = json_array()};
	int rc = job_refuse(j, NEEDS_SITES | NEEDS_OPENING, err);
	if (!rc)
		rc = run_init(&in, err);
	if (!rc)
		*result = init_report(&in);
	sites_close(&in.sites);
	if (!rc)
		probe_sites(j);
	secret_release(&in.root_seed);
	secret_release(&in.log_seed);
	for (size_t i = 0; in.psk && i < j->plan->n_sources; i++)
		secret_release(&in.psk[i]);
	free(in.psk);
	cfg_release(&in.cfg);
	json_decref(in.made);
	json_decref(in.keep);
	return rc ? err_exit_status(err->code) : 0;
}
