/* The sites of a plan: each opened with its own credentials and promises, through the same filters, for every job. */
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "job/common.h"
#include "job/secret_ref.h"

/* --- opening --- */

struct credentials {
	struct secret access_key, secret_key;
};

static void credentials_release(struct credentials *c)
{
	secret_release(&c->access_key);
	secret_release(&c->secret_key);
}

static int credentials_read(const struct plan_site *ps, struct credentials *ret, struct err *err)
{
	int rc = ps->access_key ? secret_ref_read(ps->access_key, &ret->access_key, err) : 0;
	if (!rc && ps->secret_key)
		rc = secret_ref_read(ps->secret_key, &ret->secret_key, err);
	return rc ? err_wrap(err, "site %s", ps->name) : 0;
}

/* What the plan promises of a site is asked for with each put; whether it is kept is for the probe to say. */
static struct store_lock_policy lock_policy(const struct plan *p, const struct plan_site *ps)
{
	int64_t ms = MAX(ps->immutable_ms, 0), evidence = p->retention ? p->retention->evidence_ms : 0;
	return (struct store_lock_policy){.ms = ms, .evidence_ms = ms ? MAX(ms, evidence) : 0};
}

/* The place itself, by the scheme of its URL. */
static int open_place(const char *url, const struct store_config *c, struct store **ret, struct err *err)
{
	return store_open(url, c, ret, err);
}

int site_open(const struct job *j, const struct plan_site *ps, bool create, struct store **ret, struct err *err)
{
	CLEAN(credentials_release) struct credentials secret = {0};
	int rc = credentials_read(ps, &secret, err);
	if (rc)
		return rc;
	struct store_config c = {
		.name = ps->name,
		.create = create,
		.identity = ps->identity,
		.known_hosts = ps->known_hosts,
		.access_key = secret_text(&secret.access_key),
		.secret_key = secret_text(&secret.secret_key),
		.region = ps->region,
		.endpoint = ps->endpoint,
		.ca_file = ps->ca_file,
		.lock = lock_policy(j->plan, ps),
		.cancel = j->cancel,
	};
	return open_place(ps->url, &c, ret, err);
}

static int unknown_site(const struct plan *p, const char *name, struct err *err)
{
	CLEAN(buf_release) struct buf names = BUF_INIT(64u << 10);
	for (size_t i = 0; i < p->n_sites; i++)
		buf_addf(&names, "%s%s", i ? ", " : "", p->sites[i].name);
	err_set(err, ERR_USAGE, "the plan has no site '%s'", name);
	return err_hint(err, "its sites: %s", buf_str(&names));
}

int sites_open(const struct job *j, const char *only, bool create, struct sites *ret, struct err *err)
{
	const struct plan *p = j->plan;
	*ret = (struct sites){0};
	if (only && !plan_site(p, only))
		return unknown_site(p, only, err);
	ret->site = xcalloc(p->n_sites + 1, sizeof *ret->site);
	for (size_t i = 0; i < p->n_sites; i++) {
		if (only && !str_eq(only, p->sites[i].name))
			continue;
		struct session_site *s = &ret->site[ret->n++];
		s->name = p->sites[i].name;
		if (site_open(j, &p->sites[i], create, &s->store, &s->err)) {
			s->store = NULL;
			s->state = SITE_UNREACHABLE;
			log_msg(LOG_WARN, "%s", s->err.msg);
		}
	}
	return 0;
}

void sites_close(struct sites *s)
{
	for (size_t i = 0; i < s->n; i++)
		store_free(s->site[i].store);
	free(s->site);
	*s = (struct sites){0};
}

/* --- configuration --- */

int sites_cfg_pinned(const struct job *j, const struct sites *s, struct cfg *ret, struct err *err)
{
	unsigned char root[ED25519_PUB_LEN];
	int rc = root_pub_load(j, root, err);
	return rc ? rc : sites_cfg(s, root, ret, err);
}

int sites_cfg_any(const struct job *j, const struct sites *s, struct cfg *ret, struct err *err)
{
	struct opening_key o = {0};
	int rc = sites_cfg_pinned(j, s, ret, err);
	if (rc != -ERR_USAGE && (!rc || err->code != ERR_USAGE))
		return rc;
	struct err why = ERR_INIT;
	if (recovery_key_load(j, &o, &why))
		return err_rc(err);
	rc = sites_cfg(s, o.root_pub, ret, err);
	opening_key_release(&o);
	return rc;
}

int sites_cfg(const struct sites *s, const unsigned char root_pub[ED25519_PUB_LEN], struct cfg *ret, struct err *err)
{
	struct err last = ERR_INIT;
	bool have = false;
	for (size_t i = 0; i < s->n; i++) {
		struct cfg c;
		struct session_site *site = &s->site[i];
		if (!site->store)
			continue;
		if (cfg_load(site->store, root_pub, NULL, &c, &last)) {
			log_msg(LOG_WARN, "%s", last.msg);
			/* a place without a readable configuration is no copy of this repository: nothing may be put there */
			site->err = last;
			site->state = SITE_UNREACHABLE;
			store_free(site->store);
			site->store = NULL;
			continue;
		}
		if (have && memcmp(c.repo, ret->repo, REPO_ID_LEN)) {
			cfg_release(&c);
			cfg_release(ret);
			return err_set(err, ERR_FORK, "site %s holds another repository than the sites before it", s->site[i].name);
		}
		if (!have || c.n > ret->n) {
			if (have)
				cfg_release(ret);
			*ret = c;
			have = true;
		} else {
			cfg_release(&c);
		}
	}
	if (have)
		return 0;
	for (size_t i = 0; !last.code && i < s->n; i++)
		last = s->site[i].err;
	*err = last;
	if (!last.code)
		err_set(err, ERR_UNREACHABLE, "no site can be reached");
	return err_rc(err);
}
