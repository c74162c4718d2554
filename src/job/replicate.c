/* replicate: bring sites that are behind up to date from one that is not. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"
#include "backup/replicate.h"
#include "job/common.h"

struct standing { /* how many snapshots of all sources a site has */
	size_t snapshots;
	bool ok;
};

static int count(const struct session_site *s, const struct cfg *cfg, const char *source, size_t *ret, struct err *err)
{
	CLEAN(attempts_release) struct attempts all = {0};
	size_t bad;
	int rc = attempts_load(s->store, cfg, source, &all, &bad, err);
	*ret = 0;
	for (size_t i = 0; i < all.n; i++)
		*ret += all.a[i].committed && !all.a[i].expired;
	return rc;
}

/* From every other site that can be read, the fullest first: what one lacks or holds damaged, the next may give. */
static int bring_source(const struct job *j, struct sites *sites, size_t to, const struct cfg *cfg, const char *source, const struct secret *seed, const char *run, struct replicate_result *sum, struct err *err)
{
	bool used[64] = {false};
	int rc = 0;
	struct err last = ERR_INIT;
	for (size_t round = 0; round + 1 < sites->n; round++) {
		size_t best = SIZE_MAX, best_n = 0, n;
		for (size_t i = 0; i < sites->n && i < ARRAY_LEN(used); i++) {
			struct err why = ERR_INIT;
			if (i == to || used[i] || !sites->site[i].store)
				continue;
			if (count(&sites->site[i], cfg, source, &n, &why)) {
				log_msg(LOG_WARN, "%s", why.msg);
				used[i] = true;
				continue;
			}
			if (best == SIZE_MAX || n > best_n) {
				best = i;
				best_n = n;
			}
		}
		if (best == SIZE_MAX)
			break;
		used[best] = true;
		struct replicate_result one = {0};
		rc = replicate_source(sites->site[best].store, sites->site[to].store, cfg, source, seed, run, clock_wall_ns(), j->dry_run, &one, &last);
		sum->snapshots += one.snapshots;
		sum->packs += one.packs;
		sum->bytes += one.bytes;
		sum->index_objects += one.index_objects;
		if (rc)
			log_msg(LOG_WARN, "from site %s: %s", sites->site[best].name, last.msg);
		if (j->progress)
			j->progress(j->arg, &(struct job_progress){.phase = "replicate", .subject = sites->site[to].name, .files = sum->packs, .bytes = sum->bytes});
	}
	if (rc)
		*err = last;
	return rc;
}

static int bring_site(const struct job *j, struct sites *sites, size_t to, const struct cfg *cfg, const struct secret *seed, const char *run, struct result *res, struct replicate_result *sum, struct err *err)
{
	struct session_site *s = &sites->site[to];
	size_t behind = 0;
	int rc = s->store ? 0 : err_set(err, ERR_UNREACHABLE, "%s", s->err.msg);
	for (size_t i = 0; !rc && i < j->plan->n_sources; i++) {
		size_t have = 0, most = 0, n;
		rc = bring_source(j, sites, to, cfg, j->plan->sources[i].name, seed, run, sum, err);
		for (size_t k = 0; !rc && k < sites->n; k++)
			if (sites->site[k].store && !count(&sites->site[k], cfg, j->plan->sources[i].name, &n, err)) {
				most = MAX(most, n);
				have = k == to ? n : have;
			}
		behind += most - have;
	}
	result_add(res, RESULT_SITES, json_pack("{s:s, s:s, s:I, s:s*}", "name", s->name, "outcome", rc ? s->store ? "failed" : "unreachable" : behind ? "behind" : "up to date", "behind", (json_int_t)behind,
		"error", rc ? err->msg : NULL));
	return rc;
}

int job_replicate(const struct job *j, const char *site, json_t **result, struct err *err)
{
	struct sites sites = {0};
	CLEAN(cfg_release) struct cfg cfg = {0};
	CLEAN(secret_release) struct secret seed = {0};
	struct replicate_result sum = {0};
	struct result *res = job_result(j, "replicate", NULL);
	char run[33];
	int status = 0;
	rng_hex(run, 16);
	int rc = job_refuse(j, NEEDS_SITES, err);
	if (!rc && site && !plan_site(j->plan, site))
		rc = err_set(err, ERR_USAGE, "the plan has no site '%s'", site);
	if (!rc)
		rc = sites_open(j, NULL, false, &sites, err);
	if (!rc)
		rc = sites_cfg_pinned(j, &sites, &cfg, err);
	if (!rc)
		rc = log_seed_load(j, &seed, err);
	if (rc)
		status = err_exit_status(err->code);
	for (size_t i = 0; !rc && i < sites.n; i++) {
		struct err why = ERR_INIT;
		if (site && !str_eq(site, sites.site[i].name))
			continue;
		if (!bring_site(j, &sites, i, &cfg, &seed, run, res, &sum, &why))
			continue;
		status = err_status_worse(status, err_exit_status(why.code));
		if (!err->code)
			*err = why;
	}
	result_bytes(res, (int64_t)sum.bytes, (int64_t)sum.bytes);
	result_extra(res, "replicated", json_pack("{s:I, s:I, s:I, s:I}", "snapshots", (json_int_t)sum.snapshots, "packs", (json_int_t)sum.packs, "bytes", (json_int_t)sum.bytes, "index_objects",
		(json_int_t)sum.index_objects));
	if (!rc || (rc != -ERR_USAGE && rc != -ERR_UNSUPPORTED && err->code != ERR_USAGE)) {
		struct job_end e = {.result = res, .outcome = status ? "failed" : "done", .status = status, .err = err, .sites = &sites};
		status = job_finish(j, &e, result, err);
	}
	result_free(res);
	sites_close(&sites);
	return status;
}
