/* The sites of a plan: each opened with its own credentials and promises, through the same filters, for every job. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "job/common.h"
#include "place/place.h"
#include "job/secret_ref.h"

#define NS_PER_S 1000000000
#define NS_PER_MS 1000000
#define TELL_EVERY_MS 60000
#define CONTACT_TRIES 3
#define CONTACT_MS 15000 /* not tried again when a try took so long */

/* --- credentials and promises --- */

struct credentials {
	struct secret access_key, secret_key, session_token;
};

static void credentials_release(struct credentials *c)
{
	secret_release(&c->access_key);
	secret_release(&c->secret_key);
	secret_release(&c->session_token);
}

static int credentials_read(const struct plan_site *ps, struct credentials *ret, struct err *err)
{
	int rc = ps->access_key ? secret_ref_read(ps->access_key, &ret->access_key, err) : 0;
	if (!rc && ps->secret_key)
		rc = secret_ref_read(ps->secret_key, &ret->secret_key, err);
	if (!rc && ps->session_token)
		rc = secret_ref_read(ps->session_token, &ret->session_token, err);
	return rc ? err_wrap(err, "site %s", ps->name) : 0;
}

/* What the plan promises of a site is asked for with each put; whether it is kept is for the probe to say. */
static struct store_lock_policy lock_policy(const struct plan *p, const struct plan_site *ps)
{
	int64_t ms = MAX(ps->immutable_ms, 0), evidence = p->retention ? p->retention->evidence_ms : 0;
	return (struct store_lock_policy){.ms = ms, .evidence_ms = ms ? MAX(ms, evidence) : 0};
}

/* --- what a site's filters call back with --- */

struct site_way {
	const struct job *j;
	const struct plan_site *ps;
	size_t number;
	struct tz *tz;
	atomic_bool troubled;      /* a failure was told and no recovery since */
	_Atomic int64_t told_ms;   /* when the last failure was told */
};

struct site_way *site_way_new(const struct job *j, const struct plan_site *ps)
{
	struct site_way *w = xcalloc(1, sizeof *w);
	struct err why = ERR_INIT;
	w->j = j;
	w->ps = ps;
	w->number = (size_t)(ps - j->plan->sites);
	if (ps->bandwidth && ps->bandwidth->from_min >= 0 && tz_load(j->plan->time_zone, &w->tz, &why))
		log_msg(LOG_WARN, "site %s: %s; the window of its bandwidth is taken in UTC", ps->name, why.msg);
	return w;
}

void site_way_free(struct site_way *w)
{
	if (!w)
		return;
	tz_free(w->tz);
	free(w);
}

static int local_minute(void *arg)
{
	const struct site_way *w = arg;
	int64_t now = clock_wall_ns() / NS_PER_S;
	int64_t local = now + (w->tz ? tz_offset(w->tz, now) : 0);
	return (int)((local / 60) % (24 * 60));
}

/* Several threads may retry at once, each a dozen times: people are told at the first failure, then once a minute. */
static void tell_trouble(void *arg, bool retrying, const struct err *why)
{
	struct site_way *w = arg;
	int64_t now = clock_boot_ns() / NS_PER_MS;
	if (!retrying) {
		if (atomic_exchange(&w->troubled, false) && !why)
			log_msg(LOG_INFO, "site %s answers again", w->ps->name);
		return;
	}
	if (atomic_exchange(&w->troubled, true) && now - atomic_load(&w->told_ms) < TELL_EVERY_MS)
		return;
	atomic_store(&w->told_ms, now);
	log_msg(LOG_WARN, "%s; it is tried again", why->msg);
}

/* Driver, then throttle, then retry: what is tried again is held to the rate once more. */
static struct store *with_filters(struct site_way *w, struct store *s)
{
	const struct plan_bandwidth *b = w->ps->bandwidth;
	if (b && b->limit)
		s = store_throttle_new(s, &(struct store_throttle){
			.rate = b->limit, .from_min = b->from_min, .to_min = b->to_min, .minute = local_minute, .arg = w, .cancel = w->j->cancel});
	if (s->caps & STORE_REMOTE)
		s = store_retry_new(s, &(struct store_retry){.state = tell_trouble, .arg = w, .cancel = w->j->cancel});
	return s;
}

/* --- opening --- */

/* One try: opened, and asked one thing when it is far away. */
static int try_contact(const struct site_way *w, const struct store_config *c, struct store **ret, struct err *err)
{
	CLEAN(store_free_ptr) struct store *s = NULL;
	struct store_stat st;
	int rc = place_open(w->ps->url, c, &s, err);
	if (rc)
		return rc;
	if (s->caps & STORE_REMOTE && (rc = store_stat(s, "cfg/0", &st, err)) && rc != -ERR_MISSING)
		return rc;
	*ret = TAKE(s);
	return 0;
}

/*
 * Whether it answers at all, before the patience of the retry filter stands behind every request: a site that is down must not
 * hold up the others for a quarter of an hour.
 */
static int contact(const struct site_way *w, const struct store_config *c, struct store **ret, struct err *err)
{
	int64_t began = clock_boot_ns() / NS_PER_MS;
	for (int tries = 1;; tries++) {
		struct err why = ERR_INIT;
		int rc = try_contact(w, c, ret, &why);
		if (!rc)
			return 0;
		if (!why.retryable || tries == CONTACT_TRIES || job_cancelled(w->j) || clock_boot_ns() / NS_PER_MS - began > CONTACT_MS) {
			*err = why;
			return rc;
		}
		for (int i = 0; i < 10 * tries && !job_cancelled(w->j); i++)
			nanosleep(&(struct timespec){.tv_nsec = 100 * NS_PER_MS}, NULL);
	}
}

int site_open(struct site_way *w, bool create, struct store **ret, struct err *err)
{
	CLEAN(credentials_release) struct credentials secret = {0};
	const struct plan_site *ps = w->ps;
	*ret = NULL;
	if (w->j->open_site)
		return w->j->open_site(w->j->open_arg, w->number, ps, ret, err);
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
		.session_token = secret_text(&secret.session_token),
		.region = ps->region,
		.endpoint = ps->endpoint,
		.ca_file = ps->ca_file,
		.lock = lock_policy(w->j->plan, ps),
		.cancel = w->j->cancel,
	};
	CLEAN(store_free_ptr) struct store *s = NULL;
	if ((rc = contact(w, &c, &s, err)))
		return rc;
	*ret = with_filters(w, TAKE(s));
	return 0;
}

int site_unknown(const struct plan *p, const char *name, struct err *err)
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
		return site_unknown(p, only, err);
	ret->site = xcalloc(p->n_sites + 1, sizeof *ret->site);
	ret->way = xcalloc(p->n_sites + 1, sizeof *ret->way);
	for (size_t i = 0; i < p->n_sites; i++) {
		if (only && !str_eq(only, p->sites[i].name))
			continue;
		struct session_site *s = &ret->site[ret->n];
		struct site_way *w = ret->way[ret->n++] = site_way_new(j, &p->sites[i]);
		s->name = p->sites[i].name;
		if (site_open(w, create, &s->store, &s->err)) {
			s->store = NULL;
			s->state = SITE_UNREACHABLE;
			log_msg(LOG_WARN, "%s", s->err.msg);
		}
	}
	return 0;
}

void sites_close(struct sites *s)
{
	for (size_t i = 0; i < s->n; i++) {
		store_free(s->site[i].store);
		site_way_free(s->way[i]);
	}
	free(s->site);
	free(s->way);
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
