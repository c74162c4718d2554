/* replicate: bring sites that are behind up to date from one that is not. */
#include "ops/ops.h"
#include "ops/replicate.h"

#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"

#define SITES_MAX 64

/* --- one site, one source --- */

/* The fullest of the sites not tried yet, SIZE_MAX: none is left. */
static size_t next_giver(const struct catching_up *c, size_t to, const char *source, const bool used[SITES_MAX])
{
	size_t best = SIZE_MAX;
	int64_t best_lacks = INT64_MAX;
	for (size_t i = 0; i < c->sites->n && i < SITES_MAX; i++) {
		int64_t lacks = backlog_get(c->backlog, c->sites->site[i].name, source).behind;
		if (i == to || used[i] || !c->sites->site[i].store)
			continue;
		lacks = lacks < 0 ? INT64_MAX - 1 : lacks;
		if (lacks < best_lacks) {
			best = i;
			best_lacks = lacks;
		}
	}
	return best;
}

static void show(const struct catching_up *c, size_t to)
{
	if (c->j->progress)
		c->j->progress(c->j->arg, &(struct job_progress){.phase = "replicate", .subject = c->sites->site[to].name, .files = c->sum.packs, .bytes = c->sum.bytes});
}

int site_catch_up(struct catching_up *c, size_t to, const char *source, struct err *err)
{
	bool used[SITES_MAX] = {false};
	struct err last = ERR_INIT;
	int rc = 0;
	for (size_t from; (from = next_giver(c, to, source, used)) != SIZE_MAX;) {
		struct replicate_result one = {0};
		used[from] = true;
		rc = replicate_source(c->sites->site[from].store, c->sites->site[to].store, c->cfg, source, c->log_seed, c->run, clock_wall_ns(), c->j->dry_run, &one, &last);
		c->sum.snapshots += one.snapshots;
		c->sum.packs += one.packs;
		c->sum.bytes += one.bytes;
		c->sum.index_objects += one.index_objects;
		if (rc)
			log_msg(LOG_WARN, "from site %s: %s", c->sites->site[from].name, last.msg);
		show(c, to);
	}
	if (rc)
		*err = last;
	return rc;
}

/* --- behind a run --- */

static bool bring_behind(struct catching_up *c, const char *source)
{
	struct err why = ERR_INIT;
	bool any = false;
	for (size_t i = 0; i < c->sites->n; i++)
		any |= c->sites->site[i].state == SITE_BEHIND;
	if (!any || job_cancelled(c->j))
		return false;
	(void)!backlog_survey(c->backlog, c->sites, c->cfg, source, &why); /* who could not be asked was told of */
	for (size_t i = 0; i < c->sites->n && !job_cancelled(c->j); i++)
		if (c->sites->site[i].state == SITE_BEHIND && site_catch_up(c, i, source, &why))
			log_msg(LOG_WARN, "site %s stays behind: %s", c->sites->site[i].name, why.msg);
	(void)!backlog_survey(c->backlog, c->sites, c->cfg, source, &why);
	return true;
}

size_t catch_up_committed(struct catching_up *c, const char *source, uint64_t seq, int64_t start_ns, bool bring)
{
	size_t copies = 0;
	for (size_t i = 0; i < c->sites->n; i++) {
		const struct session_site *s = &c->sites->site[i];
		if (s->state == SITE_COMMITTED)
			backlog_committed(c->backlog, s->name, source, seq, start_ns);
		else
			backlog_missed(c->backlog, s->name, source);
	}
	bool surveyed = bring && bring_behind(c, source);
	for (size_t i = 0; i < c->sites->n; i++) {
		struct session_site *s = &c->sites->site[i];
		struct backlog_row r = backlog_get(c->backlog, s->name, source);
		if (surveyed && s->state == SITE_BEHIND && r.behind == 0 && r.newest_seq >= seq) {
			s->state = SITE_COMMITTED;
			s->err = (struct err)ERR_INIT;
		}
		copies += s->state == SITE_COMMITTED;
	}
	return copies;
}

/* --- the job --- */

static int bring_site(struct catching_up *c, size_t to, struct err *err)
{
	const struct session_site *s = &c->sites->site[to];
	int rc = s->store ? 0 : err_set(err, ERR_UNREACHABLE, "%s", s->err.msg);
	for (size_t i = 0; !rc && i < c->j->plan->n_sources; i++)
		rc = site_catch_up(c, to, c->j->plan->sources[i].name, err);
	return rc;
}

static void survey_all(struct catching_up *c)
{
	struct err why = ERR_INIT;
	for (size_t i = 0; i < c->j->plan->n_sources; i++)
		(void)!backlog_survey(c->backlog, c->sites, c->cfg, c->j->plan->sources[i].name, &why); /* it said who could not be asked */
}

static json_t *site_row(const struct catching_up *c, size_t i, int rc, const struct err *why)
{
	const struct session_site *s = &c->sites->site[i];
	json_t *o = backlog_json(c->backlog, s->name);
	bool behind = json_integer_value(json_object_get(o, "behind")) > 0;
	json_object_set_new(o, "name", json_string(s->name));
	json_object_set_new(o, "outcome", json_string(!s->store ? "unreachable" : rc ? "failed" : behind ? "behind" : "up to date"));
	if (rc)
		json_object_set_new(o, "error", json_string(why->msg));
	return o;
}

/* Status of all sites together; rows are told after the last survey. */
static int bring_all(struct catching_up *c, const char *site, struct result *res, struct err *err)
{
	struct err why[SITES_MAX] = {ERR_INIT};
	int rc[SITES_MAX] = {0}, status = 0;
	size_t n = MIN(c->sites->n, (size_t)SITES_MAX);
	survey_all(c);
	for (size_t i = 0; i < n; i++) {
		if (site && !str_eq(site, c->sites->site[i].name))
			continue;
		rc[i] = bring_site(c, i, &why[i]);
		if (!rc[i])
			continue;
		status = err_status_worse(status, err_exit_status(why[i].code));
		if (!err->code)
			*err = why[i];
	}
	if (!c->j->dry_run)
		survey_all(c);
	for (size_t i = 0; i < n; i++)
		if (!site || str_eq(site, c->sites->site[i].name))
			result_add(res, RESULT_SITES, site_row(c, i, rc[i], &why[i]));
	return status;
}

int job_replicate(const struct job *j, const char *site, json_t **result, struct err *err)
{
	struct sites sites = {0};
	CLEAN(cfg_release) struct cfg cfg = {0};
	CLEAN(secret_release) struct secret seed = {0};
	CLEAN(backlog_close) struct backlog *backlog = backlog_open(j);
	struct result *res = job_result(j, "replicate", NULL);
	char run[33];
	rng_hex(run, 16);
	struct catching_up c = {.j = j, .sites = &sites, .cfg = &cfg, .log_seed = &seed, .run = run, .backlog = backlog};
	int rc = job_refuse(j, NEEDS_SITES, err);
	if (!rc && site && !plan_site(j->plan, site))
		rc = site_unknown(j->plan, site, err);
	if (!rc)
		rc = sites_open(j, NULL, false, &sites, err);
	if (!rc)
		rc = sites_cfg_pinned(j, &sites, &cfg, err);
	if (!rc)
		rc = log_seed_load(j, &seed, err);
	int status = rc ? err_exit_status(err->code) : bring_all(&c, site, res, err);
	result_bytes(res, (int64_t)c.sum.bytes, (int64_t)c.sum.bytes);
	result_extra(res, "replicated", json_pack("{s:I, s:I, s:I, s:I}", "snapshots", (json_int_t)c.sum.snapshots, "packs", (json_int_t)c.sum.packs, "bytes", (json_int_t)c.sum.bytes,
		"index_objects", (json_int_t)c.sum.index_objects));
	if (!rc || (rc != -ERR_USAGE && rc != -ERR_UNSUPPORTED && err->code != ERR_USAGE)) {
		struct job_end e = {.result = res, .outcome = status ? "failed" : "done", .status = status, .err = err, .sites = &sites};
		status = job_finish(j, &e, result, err);
	}
	result_free(res);
	sites_close(&sites);
	return status;
}
