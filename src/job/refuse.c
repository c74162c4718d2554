/* What plans may say and this build cannot do: one list, from which jobs refuse and `plan check` tells. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "job/common.h"
#include "place/place.h"

/* Called for each key; non-zero stops. */
typedef int (*unserved_fn)(void *arg, unsigned needs, const char *key, const char *message);

static int item(unserved_fn fn, void *arg, unsigned needs, const char *list, size_t i, const char *name, const char *message)
{
	char key[128];
	snprintf(key, sizeof key, "%s[%zu].%s", list, i, name);
	return fn(arg, needs, key, message);
}

static int each_part(const struct plan *p, unserved_fn fn, void *arg)
{
	int rc = 0;
	for (size_t i = 0; !rc && i < p->n_sites; i++)
		if (!place_has_driver(p->sites[i].url))
			rc = item(fn, arg, NEEDS_SITES, "sites", i, "url", "sites of this kind are not served by this build");
	for (size_t i = 0; !rc && i < p->n_sources; i++) {
		if (p->sources[i].follow)
			rc = item(fn, arg, NEEDS_SOURCES, "sources", i, "follow", "continuous sources are not served by this build");
	}
	return rc;
}

static int each_recovery(const struct plan_recovery *r, unserved_fn fn, void *arg)
{
	int rc = 0;
	for (size_t i = 0; !rc && i < r->n_checks; i++)
		if (r->checks[i].kind == PLAN_CHECK_HTTP || r->checks[i].kind == PLAN_CHECK_TCP)
			rc = item(fn, arg, NEEDS_RECOVERY, "recovery.checks", i, "kind", "this kind of check is not served by this build");
	return rc;
}

static int each_unserved(const struct plan *p, unserved_fn fn, void *arg)
{
	static const char approvals[] = "approvals are not served by this build, and this plan wants one";
	int rc = each_part(p, fn, arg);
	if (!rc && p->recovery)
		rc = each_recovery(p->recovery, fn, arg);
	if (!rc && p->custody == PLAN_CUSTODY_QUORUM)
		rc = fn(arg, NEEDS_OPENING, "custody", "custody by shares is not served by this build");
	if (!rc && p->approvals && p->approvals->restore)
		rc = fn(arg, NEEDS_RESTORE_APPROVAL, "approvals.restore", approvals);
	if (!rc && p->approvals && p->approvals->drill)
		rc = fn(arg, NEEDS_DRILL_APPROVAL, "approvals.drill", approvals);
	return rc;
}

struct refusal {
	const struct plan *p;
	unsigned needs;
	struct err *err;
};

static int refuse_one(void *arg, unsigned needs, const char *key, const char *message)
{
	const struct refusal *r = arg;
	return needs & r->needs ? plan_refuse(r->p, key, message, r->err) : 0;
}

int job_refuse(const struct job *j, unsigned needs, struct err *err)
{
	struct refusal r = {j->plan, needs, err};
	if (needs & NEEDS_RECOVERY && !j->plan->recovery)
		return err_set(err, ERR_USAGE, "%s: the plan has no recovery section: there is no runbook to drill", j->plan->file);
	return each_unserved(j->plan, refuse_one, &r);
}

struct listed {
	const struct plan *p;
	json_t *list;
};

static int list_one(void *arg, unsigned needs, const char *key, const char *message)
{
	const struct listed *l = arg;
	struct plan_place at = {0, 0};
	(void)needs;
	(void)plan_key_place(l->p, key, &at);
	json_array_append_new(l->list, json_pack("{s:s, s:i, s:i, s:s}", "key", key, "line", at.line, "col", at.col, "message", message));
	return 0;
}

json_t *job_unserved(const struct plan *p)
{
	struct listed l = {p, json_array()};
	each_unserved(p, list_one, &l);
	return l.list;
}

/* --- facts beside the plan --- */

/* Bytes of the sources as the newest backup read them: what a recovery has to bring. */
static uint64_t known_bytes(const struct job *j)
{
	CLEAN(json_release) json_t *o = job_newest_result(j, "backup", NULL);
	const json_t *n = json_object_get(json_object_get(o, "bytes"), "processed");
	return json_integer_value(n) > 0 ? (uint64_t)json_integer_value(n) : UINT64_MAX;
}

void job_plan_facts(const struct job *j, struct plan_facts *ret)
{
	CLEAN(free_ptr) char *key = path_opening_key(j);
	ret->now_ns = clock_wall_ns();
	ret->opening_key_on_controller = fs_exists(key) ? 1 : fs_exists(j->root->keys) ? 0 : -1;
	ret->data_bytes = known_bytes(j);
	int64_t *probed = xcalloc(j->plan->n_sites + 1, sizeof *probed), when;
	for (size_t i = 0; i < j->plan->n_sites; i++) {
		CLEAN(json_release) json_t *p = site_last_probe(j, j->plan->sites[i].name, &when);
		probed[i] = p ? site_immutable_ms(p) : -1;
	}
	ret->probed_immutable_ms = probed;
}

void job_plan_facts_release(struct plan_facts *f)
{
	free((void *)f->probed_immutable_ms);
	f->probed_immutable_ms = NULL;
}
