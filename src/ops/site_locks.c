/*
 * site locks: an audit of the locks of what is needed at a site, and their extension.
 *
 * A lock is long enough while at least the promise of the plan less a quarter remains; what is shorter is extended to the whole
 * promise from now. So an audit that runs more often than every quarter keeps all that snapshots need, and no more. Evidence is
 * kept for its own time from its arrival.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "ops/ops.h"
#include "job/common.h"
#include "repo/pack_lists.h"
#include "store/probe.h"

#define WORKERS 8
#define LISTED_MAX 1000
#define NS_PER_MS 1000000

struct object {
	char *key;
	int64_t need_ns, until_ns; /* wall clock of the site; until 0: not locked */
	int rc;
	bool extended;
	struct err err;
};
struct audit {
	const struct job *j;
	const struct plan_site *ps;
	struct store *st;
	bool extend;
	int64_t now_ns; /* of the site */
	struct pack_list live;
	struct object *o;
	size_t n, cap, unneeded;
	pthread_mutex_t mutex; /* of next */
	size_t next;
};

/* --- what is needed --- */

static int64_t promise_ns(const struct audit *a)
{
	return a->ps->immutable_ms * NS_PER_MS;
}

static int by_seq(const void *pa, const void *pb)
{
	const struct attempt_info *a = pa, *b = pb;
	return (a->snap.seq > b->snap.seq) - (a->snap.seq < b->snap.seq);
}

/* In order, for each list is a change of the one before. */
static int take_packs(struct audit *a, const char *source, struct attempts *all, struct err *err)
{
	if (all->n)
		qsort(all->a, all->n, sizeof *all->a, by_seq);
	struct pack_lists *lists = pack_lists_new(a->st, source);
	int rc = 0;
	for (size_t i = 0; !rc && i < all->n; i++) {
		const struct listed *l;
		struct err why = ERR_INIT;
		if (!all->a[i].committed || all->a[i].expired)
			continue;
		rc = pack_lists_get(lists, all->a[i].attempt, all->a[i].snap.packs, &l, &why);
		for (size_t k = 0; !rc && k < l->list.n; k++)
			pack_list_add(&a->live, l->list.digest[k]);
		if (rc == -ERR_CORRUPT || rc == -ERR_FORMAT || rc == -ERR_MISSING) { /* verify tells of it */
			log_msg(LOG_WARN, "site %s: %s", a->ps->name, why.msg);
			rc = 0;
		} else if (rc) {
			*err = why;
		}
		pack_list_sort(&a->live);
	}
	pack_lists_free(lists);
	return rc;
}

static int find_live(struct audit *a, const struct cfg *cfg, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; !rc && i < a->j->plan->n_sources; i++) {
		CLEAN(attempts_release) struct attempts all = {0};
		size_t bad;
		rc = attempts_load(a->st, cfg, a->j->plan->sources[i].name, &all, &bad, err);
		if (!rc)
			rc = take_packs(a, a->j->plan->sources[i].name, &all, err);
	}
	return rc;
}

static bool is_needed_pack(const struct audit *a, const char *key)
{
	unsigned char digest[ID_LEN];
	const char *name = strrchr(key, '/');
	return name && hex_decode(digest, ID_LEN, name + 1) && pack_list_has(&a->live, digest);
}

/* Until when this object has to be locked; 0: it needs no lock. */
static int64_t needed_until(const struct audit *a, const char *key, const struct store_stat *st)
{
	int64_t evidence = a->j->plan->retention ? a->j->plan->retention->evidence_ms * NS_PER_MS : 0;
	int64_t live = a->now_ns + promise_ns(a) - promise_ns(a) / 4;
	if (str_starts(key, "probe/") || (str_starts(key, "p/") && !is_needed_pack(a, key)))
		return 0;
	if (str_starts(key, "l/") && st->mtime_ns) /* an hour for what lies between its lock and its arrival */
		return st->mtime_ns + MAX(evidence, promise_ns(a)) - INT64_C(3600) * 1000 * NS_PER_MS;
	return live;
}

static int take_object(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	struct audit *a = arg;
	int64_t need = needed_until(a, key, st);
	(void)err;
	if (!need || need <= a->now_ns) {
		a->unneeded++;
		return 0;
	}
	a->o = xgrow(a->o, a->n, &a->cap, sizeof *a->o);
	a->o[a->n++] = (struct object){.key = xstrdup(key), .need_ns = need};
	return 0;
}

/* --- one object --- */

static bool is_short(const struct object *o)
{
	return !o->rc && o->until_ns < o->need_ns;
}

static void look(struct audit *a, struct object *o)
{
	struct store_lock l = {0};
	o->rc = store_lock(a->st, o->key, &l, &o->err);
	o->until_ns = o->rc || l.mode == STORE_UNLOCKED ? 0 : l.until_ns;
	if (!is_short(o) || !a->extend)
		return;
	int64_t until = MAX(o->need_ns, a->now_ns + promise_ns(a));
	int rc = store_extend(a->st, o->key, until, &o->err);
	if (!rc)
		rc = store_lock(a->st, o->key, &l, &o->err); /* what counts is what it says afterwards */
	if (rc)
		return;
	o->until_ns = l.mode == STORE_UNLOCKED ? 0 : l.until_ns;
	o->extended = !is_short(o);
}

static void *look_at_all(void *arg)
{
	struct audit *a = arg;
	for (;;) {
		pthread_mutex_lock(&a->mutex);
		size_t i = a->next++;
		pthread_mutex_unlock(&a->mutex);
		if (i >= a->n || job_cancelled(a->j))
			return NULL;
		look(a, &a->o[i]);
	}
}

static void run_workers(struct audit *a)
{
	pthread_t thread[WORKERS];
	size_t n = 0, want = a->st->caps & STORE_THREADSAFE ? MIN(a->n, (size_t)WORKERS) : 1;
	pthread_mutex_init(&a->mutex, NULL);
	while (n + 1 < want && !pthread_create(&thread[n], NULL, look_at_all, a))
		n++;
	look_at_all(a);
	for (size_t i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	pthread_mutex_destroy(&a->mutex);
}

/* --- one site --- */

/* Its clock decides about its locks; one that is far off must not be used for longer ones. */
static int ask_clock(struct audit *a, struct err *err)
{
	struct err why = ERR_INIT;
	int64_t here = clock_wall_ns();
	if (store_clock(a->st, &a->now_ns, &why)) {
		a->now_ns = here;
		return 0;
	}
	if (!a->extend || llabs(a->now_ns - here) / NS_PER_MS <= PROBE_SKEW_MAX_MS)
		return 0;
	char off[32];
	return err_set(err, ERR_CLOCK, "site %s: its clock and ours differ by %s: no lock is extended", a->ps->name, str_human_duration(off, llabs(a->now_ns - here) / NS_PER_MS));
}

static json_t *tell(const struct audit *a, size_t *ret_short)
{
	json_t *keys = json_array();
	size_t missing = 0, too_short = 0, extended = 0, failed = 0, locked = 0;
	for (size_t i = 0; i < a->n; i++) {
		const struct object *o = &a->o[i];
		failed += o->rc != 0;
		extended += o->extended;
		missing += is_short(o) && !o->until_ns;
		too_short += is_short(o) && o->until_ns;
		locked += !o->rc && !is_short(o);
		if ((o->rc || is_short(o) || o->extended) && json_array_size(keys) < LISTED_MAX)
			json_array_append_new(keys, json_pack("{s:s, s:s, s:o, s:o, s:s*}", "key", o->key, "state", o->rc ? "unknown" : o->extended ? "extended" : o->until_ns ? "short" : "none",
				"until", json_time(o->until_ns), "needed", json_time(o->need_ns), "error", o->err.code ? o->err.msg : NULL));
	}
	*ret_short = missing + too_short + failed;
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "site", a->ps->name, "needed", (json_int_t)a->n, "unneeded", (json_int_t)a->unneeded, "locked", (json_int_t)locked, "missing",
		(json_int_t)missing, "short", (json_int_t)too_short, "unknown", (json_int_t)failed, "extended", (json_int_t)extended, "keys", keys);
}

struct locks {
	const struct job *j;
	const struct job_locks_opts *o;
	struct result *res;
	json_t *all;
	int status;
	struct err first;
};

static void site_failed(struct locks *l, const char *site, const char *outcome, int status, const struct err *why)
{
	result_add(l->res, RESULT_SITES, json_pack("{s:s, s:s, s:s}", "name", site, "outcome", outcome, "error", why->msg));
	l->status = err_status_worse(l->status, status);
	if (!l->first.code)
		l->first = *why;
}

/* A place that has no locks may keep objects by other means: the probe knows. */
static void without_locks(struct locks *l, const struct plan_site *ps)
{
	int64_t when;
	CLEAN(json_release) json_t *p = site_last_probe(l->j, ps->name, &when);
	if (ps->immutable_ms > 0 && site_immutable_ms(p) < ps->immutable_ms) {
		job_finding(l->j, l->res, "high", "site '%s' has no locks, and the plan says that it keeps each object unchanged", ps->name);
		l->status = err_status_worse(l->status, 4);
	}
	result_add(l->res, RESULT_SITES, json_pack("{s:s, s:s}", "name", ps->name, "outcome", ps->immutable_ms > 0 ? "no locks" : "none promised"));
}

static void audit_site(struct locks *l, const struct session_site *site, const struct cfg *cfg)
{
	struct audit a = {.j = l->j, .ps = plan_site(l->j->plan, site->name), .st = site->store, .extend = l->o->extend};
	struct err why = ERR_INIT;
	struct store_lock lock;
	size_t n_short = 0;
	if (!site->store) {
		site_failed(l, site->name, "unreachable", err_exit_status(ERR_UNREACHABLE), &site->err);
		return;
	}
	if (a.ps->immutable_ms <= 0 || store_lock(a.st, "cfg/0", &lock, &why) == -ERR_UNSUPPORTED) {
		without_locks(l, a.ps);
		return;
	}
	int rc = ask_clock(&a, &why);
	if (!rc)
		rc = find_live(&a, cfg, &why);
	if (!rc)
		rc = store_list(a.st, "", NULL, take_object, &a, &why);
	if (!rc)
		run_workers(&a);
	if (!rc && job_cancelled(l->j))
		rc = err_set(&why, ERR_CANCELLED, "cancelled");
	if (rc) {
		site_failed(l, site->name, "failed", err_exit_status(why.code), &why);
	} else {
		json_array_append_new(l->all, tell(&a, &n_short));
		result_add(l->res, RESULT_SITES, json_pack("{s:s, s:s}", "name", site->name, "outcome", n_short ? "short" : "locked"));
		if (n_short) {
			job_finding(l->j, l->res, "high", "site '%s': %zu of %zu objects that are needed are not locked as long as they have to be", site->name, n_short, a.n);
			l->status = err_status_worse(l->status, 4);
		}
	}
	for (size_t i = 0; i < a.n; i++)
		free(a.o[i].key);
	free(a.o);
	pack_list_release(&a.live);
}

int job_site_locks(const struct job *j, const struct job_locks_opts *o, json_t **result, struct err *err)
{
	struct sites sites = {0};
	CLEAN(cfg_release) struct cfg cfg = {0};
	struct locks l = {.j = j, .o = o, .res = job_result(j, "locks", o->extend ? "extend" : NULL), .all = json_array()};
	int rc = job_refuse(j, NEEDS_SITES, err);
	if (!rc && o->site && !plan_site(j->plan, o->site))
		rc = site_unknown(j->plan, o->site, err);
	if (!rc)
		rc = sites_open(j, NULL, false, &sites, err);
	if (!rc)
		rc = sites_cfg_pinned(j, &sites, &cfg, err);
	for (size_t i = 0; !rc && i < sites.n; i++)
		if (!o->site || str_eq(o->site, sites.site[i].name))
			audit_site(&l, &sites.site[i], &cfg);
	int status = rc ? err_exit_status(err->code) : l.status;
	if (!rc && l.first.code)
		*err = l.first;
	result_extra(l.res, "locks", l.all);
	if (rc != -ERR_USAGE && rc != -ERR_UNSUPPORTED && (!rc || err->code != ERR_USAGE)) {
		struct job_end e = {.result = l.res, .outcome = status == 0 || status == 4 ? "done" : "failed", .status = status, .err = err, .sites = &sites};
		status = job_finish(j, &e, result, err);
	}
	result_free(l.res);
	sites_close(&sites);
	return status;
}
