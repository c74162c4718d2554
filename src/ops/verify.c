/* verify: every site's copies, by digest, with the opening key down to each chunk, or as the sites themselves tell it. */
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "ops/ops.h"
#include "job/recover.h"
#include "ops/repair.h"
#include "store/site_object.h"
#include "verify/check.h"

struct shown {
	const struct job *j;
	const char *site;
};

static void show(void *arg, uint64_t packs, uint64_t packs_total, uint64_t bytes)
{
	const struct shown *s = arg;
	if (s->j->progress)
		s->j->progress(s->j->arg, &(struct job_progress){.phase = "verify", .subject = s->site, .files = packs, .files_total = packs_total, .bytes = bytes});
}

static bool damaged(const struct check_result *c)
{
	return c->missing || c->corrupt || c->snapshots_broken;
}

/* Nothing is wrong: who says so? */
static const char *all_well(const struct job_verify_opts *o)
{
	return o->at_site ? "claimed" : "intact";
}

struct verify {
	const struct job *j;
	const struct job_verify_opts *o;
	struct result *res;
	int status;
	uint64_t bytes, packs;
	struct err first;
	struct repairing *repair; /* NULL: damage is told only */
};

static void take(struct verify *v, const char *site, const char *source, struct check_result *c, json_t *repaired, int rc, const struct err *why, int64_t ms)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "site", site, "source", source, "outcome", rc ? "failed" : c->forks ? "fork" : damaged(c) ? "damaged" : all_well(v->o), "packs",
		(json_int_t)c->packs, "bytes", (json_int_t)c->pack_bytes, "chunks", (json_int_t)c->chunks, "snapshots", (json_int_t)c->snapshots, "snapshots_broken", (json_int_t)c->snapshots_broken, "missing",
		(json_int_t)c->missing, "corrupt", (json_int_t)c->corrupt, "mended", (json_int_t)c->mended, "stray", (json_int_t)c->stray, "forks", (json_int_t)c->forks, "lists", (json_int_t)c->lists, "duration_ms", (json_int_t)ms);
	json_object_set_new(o, "digests", json_string(v->o->at_site ? "claimed by the site" : "computed here"));
	if (v->o->at_site) /* not measured */
		json_object_set_new(o, "bytes", json_null());
	if (c->findings)
		json_object_set(o, "findings", c->findings);
	if (rc)
		json_object_set_new(o, "error", json_string(why->msg));
	if (repaired)
		json_object_set_new(o, "repaired", repaired);
	json_t *all = json_object_get(json_object_get(result_json(v->res), "extra"), "copies");
	if (!all) {
		all = json_array();
		result_extra(v->res, "copies", all);
	}
	json_array_append_new(all, o);
	v->bytes += c->pack_bytes;
	v->packs += c->packs;
	int status = rc ? err_exit_status(why->code) : c->forks ? err_exit_status(ERR_FORK) : damaged(c) ? err_exit_status(ERR_CORRUPT) : 0;
	v->status = err_status_worse(v->status, status);
	if (!status || v->first.code)
		return;
	if (rc)
		v->first = *why;
	else if (c->forks)
		err_set(&v->first, ERR_FORK, "site %s, source '%s': two snapshots claim one place in the chain", site, source);
	else
		err_set(&v->first, ERR_CORRUPT, "site %s, source '%s': %llu objects missing, %llu damaged, %llu of %llu snapshots cannot be restored from it alone", site, source, (unsigned long long)c->missing,
			(unsigned long long)c->corrupt, (unsigned long long)c->snapshots_broken, (unsigned long long)c->snapshots);
}

static int check_one(struct verify *v, const struct session_site *site, const struct cfg *cfg, const char *source, struct check_result *c, struct err *err)
{
	struct shown sh = {v->j, site->name};
	struct check_opts o = {.workers = v->j->workers, .at_site = v->o->at_site, .cancel = v->j->cancel, .progress = show, .arg = &sh};
	if (!v->o->data)
		return check_digests(site->store, cfg, source, &o, c, err);
	struct recover r;
	int rc = recover_open(v->j, &(struct recover_opts){.source = source, .site = site->name}, &r, err);
	if (rc)
		return rc;
	rc = check_data(r.reader, &o, c, err);
	recover_close(&r);
	return rc;
}

/* What is still wrong afterwards, the check tells. */
static json_t *repair(struct verify *v, size_t number, const struct session_site *site, const struct cfg *cfg, const char *source)
{
	struct check_result known = {0};
	struct err why = ERR_INIT;
	json_t *told = NULL;
	int rc = v->o->data ? check_one(v, site, cfg, source, &known, &why) : 0;
	if (!rc || site_object_is_damage(why.code)) /* keys that do not open are damage, too */
		rc = repair_source(v->repair, number, source, &known, &told, &why);
	if (rc) {
		log_msg(LOG_WARN, "site %s, source '%s': not all is repaired: %s", site->name, source, why.msg);
		told = told ? told : json_object();
		json_object_set_new(told, "left", json_string(why.msg));
	}
	check_result_release(&known);
	return told;
}

static bool is_of_before(const char *name)
{
	return str_eq(name, "missing") || str_eq(name, "corrupt") || str_eq(name, "snapshots_broken");
}

/* What a second round brought is added to the first. */
static void add_repaired(json_t **all, json_t *round)
{
	const char *name;
	json_t *n;
	if (!*all || !round) {
		*all = *all ? *all : round;
		return;
	}
	json_object_del(*all, "left"); /* the second word on it counts */
	json_object_foreach (round, name, n)
		if (!json_is_integer(n))
			json_object_set(*all, name, n);
		else if (!is_of_before(name))
			json_object_set_new(*all, name, json_integer(json_integer_value(json_object_get(*all, name)) + json_integer_value(n)));
	json_decref(round);
}

/* Once more where snapshots or keys came back: only now it is known which packs they need, or which objects do not open. */
static int check_or_repair(struct verify *v, size_t number, const struct session_site *site, const struct cfg *cfg, const char *source, struct check_result *c, json_t **repaired, struct err *err)
{
	for (int round = 1;; round++) {
		json_t *told = v->repair ? repair(v, number, site, cfg, source) : NULL;
		bool more = round == 1 && (json_integer_value(json_object_get(told, "snapshots")) > 0 || (v->o->data && json_integer_value(json_object_get(told, "keys")) > 0));
		add_repaired(repaired, told);
		int rc = check_one(v, site, cfg, source, c, err);
		if (rc || !more || !damaged(c))
			return rc;
		check_result_release(c);
		*c = (struct check_result){0};
	}
}

static void verify_site(struct verify *v, size_t number, const struct session_site *site, const struct cfg *cfg)
{
	uint64_t damage = 0;
	bool failed = !site->store;
	for (size_t i = 0; site->store && i < v->j->plan->n_sources; i++) {
		struct check_result c = {0};
		struct err why = ERR_INIT;
		json_t *repaired = NULL;
		int64_t boot = clock_boot_ns();
		int rc = check_or_repair(v, number, site, cfg, v->j->plan->sources[i].name, &c, &repaired, &why);
		take(v, site->name, v->j->plan->sources[i].name, &c, repaired, rc, &why, (clock_boot_ns() - boot) / 1000000);
		damage += c.missing + c.corrupt;
		failed |= rc != 0;
		check_result_release(&c);
	}
	if (!site->store) {
		v->status = err_status_worse(v->status, err_exit_status(ERR_UNREACHABLE));
		if (!v->first.code)
			v->first = site->err;
	}
	result_add(v->res, RESULT_SITES, json_pack("{s:s, s:s, s:s*}", "name", site->name, "outcome", !site->store ? "unreachable" : failed ? "failed" : damage ? "damaged" : all_well(v->o), "error",
		site->store ? NULL : site->err.msg));
}

static int mend_cfg(const struct verify *v, const struct sites *sites, struct err *err)
{
	unsigned char root[ED25519_PUB_LEN];
	int rc = root_pub_load(v->j, root, err);
	if (rc)
		return rc;
	CLEAN(json_release) json_t *told = sites_mend_cfg(sites, root);
	if (json_array_size(told))
		result_extra(v->res, "configurations", json_incref(told));
	return 0;
}

static void mend_evidence(struct verify *v, const struct sites *sites)
{
	struct err why = ERR_INIT;
	json_t *told = NULL;
	if (v->j->dry_run)
		return;
	if (repair_evidence(v->j, sites, v->o->site, &told, &why)) {
		log_msg(LOG_WARN, "evidence: not all is repaired: %s", why.msg);
		v->status = err_status_worse(v->status, err_exit_status(why.code));
		if (!v->first.code)
			v->first = why;
	}
	if (told)
		result_extra(v->res, "evidence", told);
}

/* Before anything is asked: a site that would have to be read is not quietly read, nor quietly left out. */
static int refuse_unable(const struct sites *sites, struct err *err)
{
	CLEAN(buf_release) struct buf names = BUF_INIT(64u << 10);
	for (size_t i = 0; i < sites->n; i++)
		if (sites->site[i].store && !(sites->site[i].store->caps & STORE_DIGEST))
			buf_addf(&names, "%s%s", names.len ? ", " : "", sites->site[i].name);
	if (!names.len)
		return 0;
	err_set(err, ERR_UNSUPPORTED, "these sites compute no digests: %s", buf_str(&names));
	return err_hint(err, "a vault does: say which with --site, and verify the others without --at-site");
}

static void tell_limits(const struct verify *v)
{
	if (v->o->at_site) {
		result_bytes(v->res, -1, -1);
		result_add_str(v->res, RESULT_NOT_SHOWN, "that a copy is whole: the sites themselves computed the digests, and what a site says of itself is no check of a copy; 'verify' reads and compares");
		return;
	}
	result_bytes(v->res, (int64_t)v->bytes, -1);
	result_coverage(v->res, "packs", (int64_t)v->packs, (int64_t)v->packs);
	if (!v->o->data)
		result_add_str(v->res, RESULT_NOT_SHOWN, "that chunks open: only digests of sealed objects were compared; 'verify --data' opens every chunk");
}

int job_verify(const struct job *j, const struct job_verify_opts *o, json_t **result, struct err *err)
{
	struct sites sites = {0};
	CLEAN(cfg_release) struct cfg cfg = {0};
	struct verify v = {.j = j, .o = o, .res = job_result(j, o->at_site ? "site-digests" : "verify", o->at_site ? NULL : o->data ? "data" : "digests")};
	struct repairing repair = {0};
	int rc = job_refuse(j, NEEDS_SITES | (o->data ? NEEDS_OPENING : 0), err);
	if (!rc && o->site && !plan_site(j->plan, o->site))
		rc = site_unknown(j->plan, o->site, err);
	if (!rc) /* a repair takes from all of them */
		rc = sites_open(j, o->repair ? NULL : o->site, false, &sites, err);
	if (!rc && o->at_site)
		rc = refuse_unable(&sites, err);
	if (!rc && o->repair)
		rc = mend_cfg(&v, &sites, err);
	if (!rc)
		rc = o->data ? sites_cfg_any(j, &sites, &cfg, err) : sites_cfg_pinned(j, &sites, &cfg, err);
	if (!rc && o->repair) {
		rc = repairing_init(&repair, j, &sites, &cfg, err);
		v.repair = &repair;
	}
	for (size_t i = 0; !rc && i < sites.n; i++)
		if (!o->site || str_eq(o->site, sites.site[i].name))
			verify_site(&v, i, &sites.site[i], &cfg);
	if (!rc && o->repair)
		mend_evidence(&v, &sites);
	int status = rc ? err_exit_status(err->code) : v.status;
	if (!rc && v.first.code)
		*err = v.first;
	tell_limits(&v);
	if (rc != -ERR_USAGE && rc != -ERR_UNSUPPORTED && (!rc || err->code != ERR_USAGE)) {
		struct job_end e = {.result = v.res, .outcome = status ? "failed" : "done", .status = status, .err = err, .sites = &sites, .body = o->at_site ? json_pack("{s:s}", "digests", "claimed by the sites") : NULL};
		status = job_finish(j, &e, result, err);
	}
	repairing_release(&repair);
	result_free(v.res);
	sites_close(&sites);
	return status;
}
