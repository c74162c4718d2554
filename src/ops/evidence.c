/* evidence log and evidence verify. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "ops/ops.h"
#include "job/common.h"

struct listing {
	const struct job *j;
	int64_t from;
	size_t n;
};

static int one_record(void *arg, const char *log_id, const struct evidence_record *r, const void *line, size_t n, struct err *err)
{
	struct listing *l = arg;
	(void)line;
	(void)n;
	(void)err;
	if (r->time_ns < l->from)
		return 0;
	CLEAN(json_release) json_t *o = json_deep_copy(r->json);
	json_object_set_new(o, "log", json_string(log_id));
	if (l->j->item)
		l->j->item(l->j->arg, o);
	l->n++;
	return 0;
}

int job_evidence_log(const struct job *j, const char *from, json_t **result, struct err *err)
{
	struct listing l = {.j = j, .from = INT64_MIN};
	if (from && !clock_parse(from, &l.from)) {
		err_set(err, ERR_USAGE, "'%s' is no time", from);
		err_hint(err, "as in 2026-03-31 or 2026-03-31T10:00:00Z");
		return err_exit_status(ERR_USAGE);
	}
	int rc = evidence_scan(j->root->log, NULL, one_record, &l, err);
	if (rc)
		return err_exit_status(err->code);
	*result = json_pack("{s:I}", "records", (json_int_t)l.n);
	return 0;
}

/* Verifier key of our own log, when this installation has one. */
static char *own_key(const struct job *j)
{
	CLEAN(secret_release) struct secret seed = {0};
	unsigned char pub[ED25519_PUB_LEN];
	struct err ignored = ERR_INIT;
	if (log_seed_load(j, &seed, &ignored))
		return NULL;
	ed25519_public(&seed, pub);
	return evidence_vkey(pub);
}

static int verify(const struct job *j, struct store *const *st, const char *const *witnesses, size_t n, bool local, json_t **result, struct err *err)
{
	CLEAN(free_ptr) char *key = own_key(j);
	const char *pins[] = {key};
	struct evidence_report rep = {0};
	struct evidence_verify v = {.dir = local ? j->root->log : NULL, .sites = st, .n_sites = n, .witnesses = witnesses, .pins = pins, .n_pins = key ? 1 : 0};
	int rc = evidence_verify(&v, &rep, err);
	*result = json_incref(rep.json);
	evidence_report_release(&rep);
	if (rc == -ERR_EVIDENCE || !rc)
		return rc ? err_exit_status(err->code) : 0;
	return err_exit_status(err->code);
}

int job_evidence_verify(const struct job *j, const char *site_dir, json_t **result, struct err *err)
{
	struct store *st[1] = {NULL};
	if (site_dir) {
		int rc = store_file_open(site_dir, &(struct store_config){.name = site_dir}, &st[0], err);
		if (rc)
			return err_exit_status(err->code);
		int status = verify(j, st, NULL, 1, false, result, err);
		store_free(st[0]);
		return status;
	}
	if (!j->plan)
		return verify(j, NULL, NULL, 0, true, result, err);
	struct sites sites = {0};
	int rc = job_refuse(j, NEEDS_SITES, err);
	if (!rc)
		rc = sites_open(j, NULL, false, &sites, err);
	if (rc)
		return err_exit_status(err->code);
	struct store **all = xcalloc(sites.n + 1, sizeof *all);
	const char **witness = xcalloc(sites.n + 1, sizeof *witness);
	size_t n = 0;
	for (size_t i = 0; i < sites.n; i++)
		if (sites.site[i].store) {
			witness[n] = site_witness(j, sites.site[i].name);
			all[n++] = sites.site[i].store;
		}
	int status = verify(j, all, witness, n, true, result, err);
	free(all);
	free(witness);
	sites_close(&sites);
	return status;
}
