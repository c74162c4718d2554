/* Keys of an installation: the root's here, the opening key and those of sources where they belong. */
#include <stdio.h>
#include <string.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "ops/init_int.h"
#include "remote/remote_recovery.h"
#include "remote/remote_source.h"

void init_made(struct init *in, const char *what)
{
	json_array_append_new(in->made, json_string(what));
}

int init_root_key(struct init *in, struct err *err)
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
		init_made(in, path);
	return rc;
}

/* --- the opening key --- */

static void add_class(struct init *in, const unsigned char pub[X25519_LEN])
{
	struct cfg *c = &in->cfg;
	c->class_ = xrealloc(c->class_, (c->n_classes + 1) * sizeof *c->class_);
	struct cfg_class *k = &c->class_[c->n_classes++];
	*k = (struct cfg_class){.recipient = xcalloc(1, sizeof *k->recipient), .n_recipients = 1};
	str_copy(k->name, sizeof k->name, in->j->plan->name);
	str_copy(k->custody, sizeof k->custody, "host");
	recipient_init(&k->recipient[0], pub);
	in->changed = true;
}

static const struct plan_recovery_target *there(const struct init *in)
{
	const struct plan_recovery_target *t = in->j->plan->recovery ? in->j->plan->recovery->target : NULL;
	return t && host_is_remote(t->host) ? t : NULL;
}

char *init_opening_place(const struct init *in)
{
	char *text = NULL;
	if (!in->opening_there)
		return path_opening_key(in->j);
	if (asprintf(&text, "%s: keys/recovery/%s.key", there(in)->host, in->j->plan->name) < 0)
		BUG("out of memory");
	return text;
}

static int opening_here(struct init *in, struct enroll_opening *e, struct err *err)
{
	struct opening_key o = {0};
	int rc = enroll_opening(in->j, e, &o, err);
	for (size_t i = 0; !rc && e->have && i < in->j->plan->n_sources; i++)
		if (!cfg_find_source(&in->cfg, in->j->plan->sources[i].name))
			opening_key_psk(&o, in->j->plan->sources[i].name, &in->psk[i]);
	opening_key_release(&o);
	return rc;
}

static int opening_there(struct init *in, struct enroll_opening *e, struct err *err)
{
	const struct plan_recovery_target *t = there(in);
	const struct sites none = {0};
	CLEAN(remote_recovery_close_ptr) struct remote_recovery *r = NULL;
	CLEAN(free_ptr) bool *wanted = xcalloc(in->j->plan->n_sources + 1, sizeof *wanted);
	bool any = false;
	for (size_t i = 0; i < in->j->plan->n_sources; i++)
		any |= wanted[i] = !cfg_find_source(&in->cfg, in->j->plan->sources[i].name);
	in->opening_there = true;
	if (!any && !e->may_make)
		return 0;
	int rc = remote_recovery_open(in->j, &(struct remote_host){t->host, t->identity, t->known_hosts}, &none, &r, err);
	return rc ? rc : remote_opening(r, e, wanted, in->psk, err);
}

int init_opening_key(struct init *in, struct err *err)
{
	CLEAN(free_ptr) char *path = path_opening_key(in->j);
	struct enroll_opening e = {.root_pub = in->root_pub, .fresh = !in->have_cfg, .may_make = !cfg_find_class(&in->cfg, in->j->plan->name)};
	in->psk = xcalloc(in->j->plan->n_sources + 1, sizeof *in->psk);
	memcpy(e.repo, in->cfg.repo, REPO_ID_LEN);
	int rc = there(in) && !fs_exists(path) ? opening_there(in, &e, err) : opening_here(in, &e, err);
	if (rc)
		return rc;
	memcpy(in->cfg.repo, e.repo, REPO_ID_LEN);
	CLEAN(free_ptr) char *place = init_opening_place(in);
	if (e.made)
		init_made(in, place);
	if (e.may_make)
		add_class(in, e.pub);
	return 0;
}

/* --- sources --- */

static int enrol_here(struct init *in, const struct plan_source *ps, const struct secret *psk, struct init_source *k, struct err *err)
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
		init_made(in, path);
	return 0;
}

static int enrol_there(struct init *in, const struct plan_source *ps, const struct secret *psk, struct init_source *k, struct err *err)
{
	bool is_new;
	char text[512];
	struct remote_enroll e = {.source = ps, .repo = in->cfg.repo, .root_pub = in->root_pub, .psk = psk};
	int rc = remote_enroll(in->j, &e, k->pub, &k->epoch, &is_new, err);
	snprintf(text, sizeof text, "%s: keys of source '%s'", ps->host, ps->name);
	if (!rc && is_new)
		init_made(in, text);
	return rc;
}

/* Keys are made only for a source that is not enrolled: who has lost them must not be given others unseen. */
static int make_or_find_keys(struct init *in, const struct plan_source *ps, struct init_source *k, struct err *err)
{
	const struct cfg_source *known = cfg_find_source(&in->cfg, ps->name);
	const struct secret *psk = &in->psk[ps - in->j->plan->sources], *given = psk->len ? psk : NULL;
	k->remote = host_is_remote(ps->host);
	int rc = k->remote ? enrol_there(in, ps, given, k, err) : enrol_here(in, ps, given, k, err);
	if (!rc || k->remote || err->code != ERR_USAGE)
		return rc;
	if (known)
		return err_set(err, ERR_USAGE, "source '%s' is enrolled, but its keys are not here: its host must keep them", ps->name);
	err_set(err, ERR_USAGE, "enrolling source '%s' needs the class secret, which is in the opening key", ps->name);
	return err_hint(err, "bring keys/recovery/%s.key back for this command", in->j->plan->name);
}

static bool is_signer(const struct cfg_source *s, const struct init_source *k)
{
	for (size_t i = 0; i < s->n_signers; i++)
		if (s->signer[i].epoch == k->epoch && !s->signer[i].revoked && !memcmp(s->signer[i].pub, k->pub, ED25519_PUB_LEN))
			return true;
	return false;
}

/* Keys of a source, and its place in the configuration. */
int init_source(struct init *in, const struct plan_source *ps, struct init_source *k, struct err *err)
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
