#include "ops/repair.h"

#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"
#include "backup/replicate.h"

json_t *sites_mend_cfg(const struct sites *s, const unsigned char root_pub[ED25519_PUB_LEN])
{
	json_t *told = json_array();
	struct store *from = NULL;
	struct cfg best = {0}, c;
	struct err why = ERR_INIT;
	for (size_t i = 0; i < s->n; i++) {
		if (!s->site[i].store || cfg_load(s->site[i].store, root_pub, NULL, &c, &why))
			continue;
		if (from && c.n <= best.n) {
			cfg_release(&c);
			continue;
		}
		cfg_release(&best);
		best = c;
		from = s->site[i].store;
	}
	for (size_t i = 0; from && i < s->n; i++) {
		uint64_t n = 0;
		if (!s->site[i].store || s->site[i].store == from)
			continue;
		int rc = replicate_cfg(from, s->site[i].store, &best, &n, &why);
		if (rc)
			log_msg(LOG_WARN, "%s", why.msg);
		if (rc || n)
			json_array_append_new(told, json_pack("{s:s, s:I, s:s*}", "site", s->site[i].name, "put", (json_int_t)n, "error", rc ? why.msg : NULL));
	}
	cfg_release(&best);
	return told;
}

/* In the order of enum replicate_put; configurations are told by themselves. */
static const char *const put_names[PUT_KINDS] = {"configurations", "keys", "envelopes", "copies", "receipts", "expiries", "mended"};

int repairing_init(struct repairing *r, const struct job *j, const struct sites *sites, const struct cfg *cfg, struct err *err)
{
	*r = (struct repairing){.j = j, .sites = sites, .cfg = cfg};
	rng_hex(r->run, 16);
	return log_seed_load(j, &r->log_seed, err);
}

void repairing_release(struct repairing *r)
{
	secret_release(&r->log_seed);
}

int repair_source(struct repairing *r, size_t site, const char *source, const struct check_result *known, json_t **ret, struct err *err)
{
	struct check_opts co = {.workers = r->j->workers, .cancel = r->j->cancel};
	struct check_result found = {0};
	struct replicate_result brought = {0};
	struct store *to = r->sites->site[site].store;
	struct store **from = xcalloc(r->sites->n + 1, sizeof *from);
	size_t n = 0;
	for (size_t i = 0; i < r->sites->n; i++)
		if (i != site && r->sites->site[i].store)
			from[n++] = r->sites->site[i].store;
	int rc = check_digests(to, r->cfg, source, &co, &found, err);
	size_t n_bad = found.n_bad + (known ? known->n_bad : 0);
	CLEAN(free_ptr) struct site_damage *bad = xcalloc(n_bad + 1, sizeof *bad); /* keys are borrowed */
	if (found.n_bad)
		memcpy(bad, found.bad, found.n_bad * sizeof *bad);
	if (known && known->n_bad)
		memcpy(bad + found.n_bad, known->bad, known->n_bad * sizeof *bad);
	struct repair_opts o = {.from = from, .n_from = n, .to = to, .cfg = r->cfg, .source = source, .log_seed = &r->log_seed, .run = r->run, .now = clock_wall_ns(),
		.dry_run = r->j->dry_run, .lost = &found.lost, .bad = bad, .n_bad = n_bad};
	if (!rc)
		rc = replicate_repair(&o, &brought, err);
	*ret = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "missing", (json_int_t)found.missing, "corrupt", (json_int_t)found.corrupt, "snapshots_broken", (json_int_t)found.snapshots_broken,
		"snapshots", (json_int_t)brought.snapshots, "packs", (json_int_t)brought.packs, "bytes", (json_int_t)brought.bytes, "index_objects", (json_int_t)brought.index_objects);
	for (size_t k = 0; k < PUT_KINDS; k++)
		json_object_set_new(*ret, put_names[k], json_integer((json_int_t)brought.put[k]));
	check_result_release(&found);
	free(from);
	return rc;
}

int repair_evidence(const struct job *j, const struct sites *sites, const char *only, json_t **ret, struct err *err)
{
	CLEAN(free_ptr) char *key = path_log_key(j);
	CLEAN(free_ptr) struct store **st = xcalloc(sites->n + 1, sizeof *st);
	CLEAN(free_ptr) struct evidence_site *copy = xcalloc(sites->n + 1, sizeof *copy);
	struct evidence_log *log = NULL;
	size_t n = 0, n_copies = 0;
	for (size_t i = 0; i < sites->n; i++) {
		struct store *s = sites->site[i].store;
		if (s)
			st[n++] = s;
		if (s && (!only || str_eq(only, sites->site[i].name)))
			copy[n_copies++] = (struct evidence_site){.store = s, .pin = site_witness(j, sites->site[i].name)};
	}
	struct evidence_config c = {.dir = j->root->log, .key_path = key, .wait_ms = 30000, .sites = st, .n_sites = n};
	int rc = evidence_open(&c, &log, err);
	if (rc)
		return rc;
	rc = evidence_publish(log, copy, n_copies, EVIDENCE_PUBLISH_ALL, err);
	json_t *rows = json_array();
	for (size_t i = 0; i < n_copies; i++)
		json_array_append_new(rows, json_pack("{s:s, s:I, s:I, s:s*}", "site", copy[i].store->name, "put", (json_int_t)copy[i].put, "beside", (json_int_t)copy[i].beside, "error",
			copy[i].err.code ? copy[i].err.msg : NULL));
	*ret = json_pack("{s:s, s:o}", "log", evidence_log_id(log), "sites", rows);
	evidence_close(log);
	return rc;
}
