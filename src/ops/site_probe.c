/* site probe: what each site really does, kept as a result. */
#include "ops/ops.h"
#include "job/common.h"

#include <string.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "store/probe.h"

struct probing {
	const struct job *j;
	struct result *res;
	json_t *probes;
	int status;
	struct err first;
};

static int open_again(void *arg, struct store **ret, struct err *err)
{
	return site_open(arg, false, ret, err);
}

static void unreachable(struct probing *r, const char *site, const struct err *why)
{
	result_add(r->res, RESULT_SITES, json_pack("{s:s, s:s, s:s}", "name", site, "outcome", "unreachable", "error", why->msg));
	r->status = err_status_worse(r->status, err_exit_status(why->code));
	if (!r->first.code)
		r->first = *why;
}

static void probe_site(struct probing *r, const struct plan_site *ps)
{
	const struct plan_geo *here = r->j->plan->service ? r->j->plan->service->location : NULL;
	struct site_way *way = site_way_new(r->j, ps);
	struct probe_opts o = {.open = open_again, .arg = way, .promised_ms = MAX(ps->immutable_ms, 0), .cancel = r->j->cancel};
	struct probe_result p;
	struct store *s = NULL;
	struct err why = ERR_INIT;
	if (here && ps->location)
		o.distance_km = plan_distance_km(here, ps->location);
	if (r->j->progress)
		r->j->progress(r->j->arg, &(struct job_progress){.phase = "probe", .subject = ps->name});
	int rc = site_open(way, false, &s, &why);
	if (!rc)
		rc = store_probe(s, &o, &p, &why);
	if (rc) {
		unreachable(r, ps->name, &why);
	} else {
		json_t *one = probe_json(&p);
		json_object_set_new(one, "site", json_string(ps->name));
		json_object_set_new(one, "promised_ms", ps->immutable_ms > 0 ? json_integer(ps->immutable_ms) : json_null());
		json_array_append_new(r->probes, one);
		size_t weak = site_judge(r->j, ps, one, r->res);
		result_add(r->res, RESULT_SITES, json_pack("{s:s, s:s, s:s, s:O, s:O, s:O}", "name", ps->name, "outcome", weak ? "weak" : "done", "class", probe_class_name(p.class_),
			"immutable_ms", json_object_get(one, "immutable_ms"), "skew_ms", json_object_get(one, "skew_ms"), "round_trip_us", json_object_get(one, "round_trip_us")));
		if (weak) {
			r->status = err_status_worse(r->status, 4);
			log_msg(LOG_DEBUG, "site %s: %zu findings", ps->name, weak);
		}
	}
	store_free(s);
	site_way_free(way);
}

/* Where the evidence goes: the sites that are a repository already. */
static int finish(struct probing *r, json_t **result, struct err *err)
{
	struct sites sites = {0};
	CLEAN(cfg_release) struct cfg cfg = {0};
	struct err why = ERR_INIT;
	struct job_end e = {.result = r->res, .outcome = r->status == 0 || r->status == 4 ? "done" : "failed", .status = r->status, .err = err};
	if (!sites_open(r->j, NULL, false, &sites, &why) && !sites_cfg_pinned(r->j, &sites, &cfg, &why))
		e.sites = &sites;
	int status = job_finish(r->j, &e, result, err);
	sites_close(&sites);
	return status;
}

int job_site_probe(const struct job *j, const char *site, json_t **result, struct err *err)
{
	struct probing r = {.j = j, .res = job_result(j, "probe", NULL), .probes = json_array()};
	int rc = job_refuse(j, NEEDS_SITES, err);
	if (!rc && site && !plan_site(j->plan, site))
		rc = site_unknown(j->plan, site, err);
	if (!rc) {
		CLEAN(free_ptr) char *key = path_log_key(j);
		if (!fs_exists(key)) {
			rc = err_set(err, ERR_USAGE, "%s is not there", key);
			err_hint(err, "run 'holdfast init %s' first", j->plan_path ? j->plan_path : j->plan->name);
		}
	}
	int status = rc ? err_exit_status(err->code) : 0;
	for (size_t i = 0; !rc && i < j->plan->n_sites; i++)
		if (!site || str_eq(site, j->plan->sites[i].name))
			probe_site(&r, &j->plan->sites[i]);
	if (r.first.code)
		*err = r.first;
	result_extra(r.res, "probes", r.probes);
	result_extra(r.res, "complete", json_boolean(!site));
	result_add_str(r.res, RESULT_NOT_SHOWN, "what other credentials than these may do at a site");
	if (!rc)
		status = finish(&r, result, err);
	result_free(r.res);
	return status;
}
