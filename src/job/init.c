/* init: keys, directories, a repository on each site. Run again, it adds what is missing. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"
#include "job/enroll.h"
#include "job/remote_source.h"

struct init {
	const struct job *j;
	struct sites sites;
	struct secret root_seed, log_seed;
	unsigned char root_pub[ED25519_PUB_LEN], log_pub[ED25519_PUB_LEN];
	struct opening_key opening;
	struct cfg cfg;      /* what the sites have, or will have */
	bool have_cfg, changed;
	json_t *made, *keep;
};

static void made(struct init *in, const char *path)
{
	json_array_append_new(in->made, json_string(path));
}

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
			made(in, dirs[i]);
	}
	return 0;
}

static int make_root_key(struct init *in, struct err *err)
{
	CLEAN(free_ptr) char *path = path_root_key(in->j);
	CLEAN(free_ptr) char *pub_path = path_root_pub(in->j);
	struct err why = ERR_INIT;
	int rc = sign_key_load(path, "root", &in->root_seed, in->root_pub, &why);
	if (rc && rc != -ERR_MISSING)
		*err = why;
	if (rc != -ERR_MISSING)
		return rc;
	if (fs_exists(pub_path)) { /* it was taken off-line, as it should be */
		err_set(err, ERR_USAGE, "%s is not there, and the repository's configuration must be signed", path);
		return err_hint(err, "bring the root key back for this command");
	}
	char hex[2 * ED25519_PUB_LEN + 2];
	ed25519_generate(&in->root_seed, in->root_pub);
	hex_encode(hex, in->root_pub, ED25519_PUB_LEN);
	strcat(hex, "\n");
	rc = sign_key_save(path, "root", &in->root_seed, err);
	if (!rc)
		rc = fs_create(pub_path, hex, strlen(hex), 0644, err);
	if (!rc)
		made(in, path);
	return rc;
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
		made(in, path);
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

static void add_class(struct init *in)
{
	struct cfg *c = &in->cfg;
	c->class_ = xrealloc(c->class_, (c->n_classes + 1) * sizeof *c->class_);
	struct cfg_class *k = &c->class_[c->n_classes++];
	*k = (struct cfg_class){.recipient = xcalloc(1, sizeof *k->recipient), .n_recipients = 1};
	str_copy(k->name, sizeof k->name, in->j->plan->name);
	str_copy(k->custody, sizeof k->custody, "host");
	recipient_init(&k->recipient[0], in->opening.pub);
	in->changed = true;
}

/* One that is there before the repository is what an init left that did not come to its end: it goes on with that. */
static int take_opening_key(struct init *in, const char *path, struct err *err)
{
	struct cfg *c = &in->cfg;
	if (!in->have_cfg && !memcmp(in->opening.root_pub, in->root_pub, ED25519_PUB_LEN))
		memcpy(c->repo, in->opening.repo, REPO_ID_LEN);
	if (memcmp(in->opening.repo, c->repo, REPO_ID_LEN))
		return err_set(err, ERR_USAGE, "%s opens another repository than the one at the sites", path);
	if (!in->have_cfg)
		add_class(in);
	return 0;
}

static int make_opening_key(struct init *in, struct err *err)
{
	CLEAN(free_ptr) char *path = path_opening_key(in->j);
	struct err why = ERR_INIT;
	int rc = opening_key_load(&in->opening, path, &why);
	if (!rc)
		return take_opening_key(in, path, err);
	if (rc != -ERR_MISSING) {
		*err = why;
		return rc;
	}
	if (cfg_find_class(&in->cfg, in->j->plan->name)) { /* there is one, kept elsewhere: needed only to enrol sources */
		in->opening = (struct opening_key){0};
		return 0;
	}
	opening_key_generate(&in->opening, in->cfg.repo, in->j->plan->name, in->root_pub);
	rc = opening_key_save(&in->opening, path, err);
	if (rc)
		return rc;
	made(in, path);
	add_class(in);
	return 0;
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

/* What init knows of a source's keys: those of a source on another host stay there. */
struct enrolled {
	bool remote;
	struct source_keys keys; /* local */
	uint32_t epoch;
	unsigned char pub[ED25519_PUB_LEN];
};

static int enrol_here(struct init *in, const struct plan_source *ps, const struct secret *psk, struct enrolled *k, struct err *err)
{
	bool is_new;
	struct enroll e = {.root = in->j->root, .plan = in->j->plan->name, .source = ps->name, .repo = in->cfg.repo, .psk = psk};
	int rc = enroll_keys(&e, &k->keys, &is_new, err);
	if (rc)
		return rc;
	k->epoch = k->keys.epoch;
	memcpy(k->pub, k->keys.sign_pub, ED25519_PUB_LEN);
	CLEAN(free_ptr) char *path = path_source_key(in->j, ps->name, k->epoch);
	if (is_new)
		made(in, path);
	return 0;
}

static int enrol_there(struct init *in, const struct plan_source *ps, const struct secret *psk, struct enrolled *k, struct err *err)
{
	bool is_new;
	char text[512];
	struct remote_enroll e = {.source = ps, .repo = in->cfg.repo, .root_pub = in->root_pub, .psk = psk};
	int rc = remote_enroll(in->j, &e, k->pub, &k->epoch, &is_new, err);
	snprintf(text, sizeof text, "%s: keys of source '%s'", ps->host, ps->name);
	if (!rc && is_new)
		made(in, text);
	return rc;
}

/* Keys are made only for a source that is not enrolled: who has lost them must not be given others unseen. */
static int make_or_find_keys(struct init *in, const struct plan_source *ps, struct enrolled *k, struct err *err)
{
	CLEAN(secret_release) struct secret psk = {0};
	const struct cfg_source *known = cfg_find_source(&in->cfg, ps->name);
	k->remote = host_is_remote(ps->host);
	if (!known && in->opening.r.len)
		opening_key_psk(&in->opening, ps->name, &psk);
	const struct secret *given = psk.len ? &psk : NULL;
	int rc = k->remote ? enrol_there(in, ps, given, k, err) : enrol_here(in, ps, given, k, err);
	if (!rc || k->remote || err->code != ERR_USAGE)
		return rc;
	if (known)
		return err_set(err, ERR_USAGE, "source '%s' is enrolled, but its keys are not here: its host must keep them", ps->name);
	err_set(err, ERR_USAGE, "enrolling source '%s' needs the class secret, which is in the opening key", ps->name);
	return err_hint(err, "bring keys/recovery/%s.key back for this command", in->j->plan->name);
}

static bool is_signer(const struct cfg_source *s, const struct enrolled *k)
{
	for (size_t i = 0; i < s->n_signers; i++)
		if (s->signer[i].epoch == k->epoch && !s->signer[i].revoked && !memcmp(s->signer[i].pub, k->pub, ED25519_PUB_LEN))
			return true;
	return false;
}

/* Keys of a source, and its place in the configuration. */
static int enrol_source(struct init *in, const struct plan_source *ps, struct enrolled *k, struct err *err)
{
	struct cfg *c = &in->cfg;
	int rc = make_or_find_keys(in, ps, k, err);
	if (rc)
		return rc;
	const struct cfg_source *known = cfg_find_source(c, ps->name);
	if (known && !is_signer(known, k))
		return err_set(err, ERR_FORK, "source '%s': its host holds other keys than those that are enrolled", ps->name);
	if (known)
		return 0;
	c->source = xrealloc(c->source, (c->n_sources + 1) * sizeof *c->source);
	struct cfg_source *s = &c->source[c->n_sources++];
	*s = (struct cfg_source){.signer = xcalloc(1, sizeof *s->signer), .n_signers = 1};
	str_copy(s->name, sizeof s->name, ps->name);
	str_copy(s->class_name, sizeof s->class_name, in->j->plan->name);
	s->signer[0].epoch = k->epoch;
	memcpy(s->signer[0].pub, k->pub, ED25519_PUB_LEN);
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

static int seal(struct init *in, const struct plan_source *ps, const struct enrolled *k, struct err *err)
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
		rc = make_root_key(in, err);
	if (!rc)
		rc = survey_cfg(in, err);
	if (!rc && !in->have_cfg)
		new_cfg(in);
	if (!rc)
		rc = make_opening_key(in, err);
	if (!rc)
		rc = make_log(in, err);
	if (!rc)
		rc = enrol_log(in);
	struct enrolled *keys = xcalloc(p->n_sources + 1, sizeof *keys);
	for (size_t i = 0; !rc && i < p->n_sources; i++)
		rc = enrol_source(in, &p->sources[i], &keys[i], err);
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
	CLEAN(free_ptr) char *opening = path_opening_key(in->j);
	hex_encode(repo, in->cfg.repo, REPO_ID_LEN);
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
	opening_key_release(&in.opening);
	cfg_release(&in.cfg);
	json_decref(in.made);
	json_decref(in.keep);
	return rc ? err_exit_status(err->code) : 0;
}
