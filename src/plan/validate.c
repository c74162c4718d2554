#include "plan/internal.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"
#include "crypto/note_key.h"

#define DAY_MS (86400ll * 1000)
#define STEPS_MAX 200
#define DRILLS_MAX 32
#define REASONS_MAX 200

/* Where a key stands, or `otherwise` when it was not given. */
static struct plan_place at_key(const struct loader *l, const char *where, const char *key, struct plan_place otherwise)
{
	struct plan_place at = otherwise;
	(void)places_get(l->arena, where[0] ? arena_fmt(l->arena, "%s.%s", where, key) : key, &at);
	return at;
}

static bool given(const struct loader *l, const char *where, const char *key)
{
	struct plan_place at;
	return places_get(l->arena, where[0] ? arena_fmt(l->arena, "%s.%s", where, key) : key, &at);
}

static void only_with(struct loader *l, const char *where, const char *key, bool allowed, const char *with)
{
	if (!allowed && given(l, where, key))
		bad(l, at_key(l, where, key, (struct plan_place){0, 0}), NULL, "%s: '%s' goes with %s",
		        where[0] ? where : "the source", key, with);
}

static void only_remote(struct loader *l, const char *where, const char *host)
{
	bool remote = host && str_starts(host, "ssh://");
	only_with(l, where, "identity", remote, "an ssh:// host");
	only_with(l, where, "known_hosts", remote, "an ssh:// host");
}

/* --- sources and sites --- */

void validate_source(struct loader *l, const struct plan_source *s, const char *where)
{
	const char *name = where[0] ? where : "the source";
	bool paths = given(l, where, "paths"), command = given(l, where, "command"), follow = given(l, where, "follow");
	/* Without a name it is not a source at all, which has been said. */
	int ways = paths + command + follow;
	if (given(l, where, "name") && ways != 1)
		bad(l, s->at, "give exactly one of paths, command and follow", "%s: %s to copy", name,
		        ways ? "more than one thing" : "nothing");
	if (s->paths.at.line && s->paths.n == 0)
		bad(l, s->paths.at, NULL, "%s.paths is empty", name);
	only_remote(l, where, s->host);
	static const char *const walk_only[] = {
	        "exclude", "exclude_from", "exclude_if_present", "exclude_caches", "one_file_system"};
	for (size_t i = 0; i < ARRAY_LEN(walk_only); i++)
		only_with(l, where, walk_only[i], !command, "paths or follow");
}

static void validate_sources(struct loader *l, const struct plan *p)
{
	for (size_t i = 0; i < p->n_sources; i++) {
		const struct plan_source *s = &p->sources[i];
		const char *where = arena_fmt(l->arena, "sources[%zu]", i);
		validate_source(l, s, where);
		for (size_t j = 0; s->name && j < i; j++) {
			if (str_eq(p->sources[j].name, s->name)) {
				bad(l, at_key(l, where, "name", s->at), NULL, "two sources are named '%s'", s->name);
				break;
			}
		}
	}
}

static size_t url_len(const char *url)
{
	size_t n = strlen(url);
	while (n > 0 && url[n - 1] == '/')
		n--;
	return n;
}

static void validate_site(struct loader *l, const struct plan *p, size_t i)
{
	const struct plan_site *s = &p->sites[i];
	const char *where = arena_fmt(l->arena, "sites[%zu]", i);
	for (size_t j = 0; j < i; j++) {
		const struct plan_site *o = &p->sites[j];
		if (s->name && str_eq(o->name, s->name))
			bad(l, at_key(l, where, "name", s->at), NULL, "two sites are named '%s'", s->name);
		if (s->url && o->url && url_len(s->url) == url_len(o->url) &&
		        strncmp(s->url, o->url, url_len(s->url)) == 0)
			bad(l, at_key(l, where, "url", s->at), "a second copy at the same place is none",
			        "sites '%s' and '%s' have the same URL", o->name ? o->name : "?",
			        s->name ? s->name : "?");
	}
	if (!s->url)
		return;
	static const char *const s3[] = {"access_key", "secret_key", "session_token", "region", "endpoint", "ca_file"};
	for (size_t k = 0; k < ARRAY_LEN(s3); k++)
		only_with(l, where, s3[k], str_starts(s->url, "s3://"), "an s3:// URL");
	bool ssh = str_starts(s->url, "ssh://") || str_starts(s->url, "sftp://");
	only_with(l, where, "identity", ssh, "an ssh:// or sftp:// URL");
	only_with(l, where, "known_hosts", ssh, "an ssh:// or sftp:// URL");
	only_with(l, where, "witness", str_starts(s->url, "ssh://"), "an ssh:// URL");
	unsigned char pub[ED25519_PUB_LEN];
	struct err why = ERR_INIT;
	if (s->witness && note_key_parse(&note_of_witness, s->witness, strlen(s->witness), pub, &why))
		bad(l, at_key(l, where, "witness", s->at), "it is the line that holdfast-vault --init-key prints", "%s", why.msg);
	if (given(l, where, "access_key") != given(l, where, "secret_key"))
		bad(l, s->at, NULL, "%s: access_key and secret_key go together", where);
	else if (str_starts(s->url, "s3://") && given(l, where, "session_token") && !given(l, where, "access_key"))
		bad(l, at_key(l, where, "session_token", s->at), "who gave the token gave two keys with it",
		        "%s: session_token needs access_key and secret_key", where);
}

/* --- the recovery graph --- */

static size_t step_index(const struct plan_recovery *r, const char *id)
{
	size_t i = 0;
	while (i < r->n_steps && !str_eq(r->steps[i].id, id))
		i++;
	return i;
}

static const char *nearest_step(const struct loader *l, const struct plan_recovery *r, const char *id)
{
	const char **names = arena_array(l->arena, r->n_steps + 1, sizeof(*names));
	for (size_t i = 0, n = 0; i < r->n_steps; i++) {
		if (r->steps[i].id)
			names[n++] = r->steps[i].id;
	}
	return diag_near(l, id, names);
}

static void check_needs(struct loader *l, const struct plan_recovery *r, const struct plan_list *needs,
        const char *self, const char *where)
{
	for (size_t i = 0; i < needs->n; i++) {
		if (str_eq(needs->v[i], self))
			bad(l, needs->at, NULL, "%s.needs: '%s' needs itself", where, self);
		else if (step_index(r, needs->v[i]) == r->n_steps && step_index(r, NULL) == r->n_steps)
			bad(l, needs->at, nearest_step(l, r, needs->v[i]), "%s.needs: there is no step '%s'", where,
			        needs->v[i]);
	}
}

static void check_source_ref(
        struct loader *l, const char *name, const char *where, const char *key, struct plan_place at)
{
	if (!name || plan_source(l->plan, name))
		return;
	const char **names = arena_array(l->arena, l->plan->n_sources + 1, sizeof(*names));
	for (size_t i = 0, n = 0; i < l->plan->n_sources; i++) {
		if (l->plan->sources[i].name)
			names[n++] = l->plan->sources[i].name;
	}
	bad(l, at_key(l, where, key, at), diag_near(l, name, names), "%s.%s: there is no source '%s'", where, key,
	        name);
}

static void validate_step(struct loader *l, const struct plan_recovery *r, size_t i)
{
	const struct plan_step *s = &r->steps[i];
	const char *where = arena_fmt(l->arena, "recovery.steps[%zu]", i);
	bool restore = given(l, where, "restore"), run = given(l, where, "run"), to = given(l, where, "to"),
	     pipe = given(l, where, "pipe_to");
	if (restore == run)
		bad(l, s->at, "give either restore or run", "%s: %s", where,
		        run ? "both restore and run" : "neither restore nor run");
	if (restore && !run && to == pipe)
		bad(l, s->at, "give either to or pipe_to", "%s: %s", where,
		        to ? "both to and pipe_to" : "restores to nowhere");
	static const char *const restore_only[] = {"to", "pipe_to", "as", "strip", "paths", "metadata"};
	for (size_t k = 0; run && !restore && k < ARRAY_LEN(restore_only); k++)
		only_with(l, where, restore_only[k], false, "restore");
	static const char *const dir_only[] = {"as", "strip", "paths", "metadata"};
	for (size_t k = 0; restore && pipe && !to && k < ARRAY_LEN(dir_only); k++)
		only_with(l, where, dir_only[k], false, "to");
	only_with(l, where, "env", run || pipe, "run or pipe_to");
	only_with(l, where, "cwd", run || pipe, "run or pipe_to");
	check_source_ref(l, s->restore, where, "restore", s->at);
	const struct plan_source *src = s->restore ? plan_source(l->plan, s->restore) : NULL;
	bool dump = src && given(l, arena_fmt(l->arena, "sources[%zu]", (size_t)(src - l->plan->sources)), "command");
	if (src && !dump && pipe && !to)
		bad(l, at_key(l, where, "pipe_to", s->at), NULL,
		        "%s.pipe_to: '%s' is a tree of files; only the copy of a command can be piped", where,
		        src->name);
	if (src && !dump)
		only_with(l, where, "as", false, "the copy of a command");
	if (dump) {
		only_with(l, where, "strip", false, "the copy of paths");
		only_with(l, where, "paths", false, "the copy of paths");
	}
	check_needs(l, r, &s->needs, s->id, where);
	for (size_t j = 0; s->id && j < i; j++) {
		if (str_eq(r->steps[j].id, s->id))
			bad(l, at_key(l, where, "id", s->at), NULL, "two steps have the id '%s'", s->id);
	}
}

/* waits[i * n + j]: step i needs step j. */
static bool *needs_matrix(const struct loader *l, const struct plan_recovery *r)
{
	bool *waits = arena_array(l->arena, r->n_steps * r->n_steps + 1, sizeof(*waits));
	for (size_t i = 0; i < r->n_steps; i++) {
		for (size_t k = 0; k < r->steps[i].needs.n; k++)
			waits[i * r->n_steps + step_index(r, r->steps[i].needs.v[k])] = true;
	}
	return waits;
}

/* Steps in an order that respects needs; on a cycle fewer than all come out. done[i] tells which. */
static size_t sort_steps(const bool *waits, size_t n_steps, size_t *order, bool *done)
{
	size_t n = 0;
	for (bool moved = true; moved;) {
		moved = false;
		for (size_t i = 0; i < n_steps && !moved; i++) {
			bool ready = !done[i];
			for (size_t j = 0; ready && j < n_steps; j++)
				ready = !waits[i * n_steps + j] || done[j];
			if (!ready)
				continue;
			order[n++] = i;
			done[i] = moved = true;
		}
	}
	return n;
}

/* Any step left over waits for one left over: following them must come round. */
static void report_cycle(struct loader *l, const struct plan_recovery *r, const bool *waits, const bool *done)
{
	size_t *seen = arena_array(l->arena, r->n_steps + 1, sizeof(*seen)), n = 0, at = 0;
	while (done[at])
		at++;
	for (;;) {
		size_t from = 0;
		while (from < n && seen[from] != at)
			from++;
		if (from < n) {
			const char *text = "";
			for (size_t i = from; i < n; i++)
				text = arena_fmt(l->arena, "%.2000s%s -> ", text, r->steps[seen[i]].id);
			const struct plan_step *s = &r->steps[at];
			bad(l, s->needs.at, NULL, "recovery.steps: a cycle: %s%s", text, s->id);
			return;
		}
		seen[n++] = at;
		size_t next = 0;
		while (done[next] || !waits[at * r->n_steps + next])
			next++;
		at = next;
	}
}

/* Which keys a kind of check must and may have. */
static const struct check_rule {
	const char *must, *may;
} check_rules[] = {
        [PLAN_CHECK_MANIFEST] = {"of", ""},
        [PLAN_CHECK_COMMAND] = {"run", "env"},
        [PLAN_CHECK_FRESHNESS] = {"of|max_age", ""},
        [PLAN_CHECK_COMPARE] = {"left|right", "env"},
        [PLAN_CHECK_HTTP] = {"url", "expect|contains|ca_file"},
        [PLAN_CHECK_TCP] = {"address", ""},
};

static void check_keys(struct loader *l, const struct plan_check *c, const char *where)
{
	const struct check_rule *rule = &check_rules[c->kind];
	const char *kind = plan_check_kind_name(c->kind);
	char word[64];
	for (size_t i = 0; allowed_word(rule->must, i, word); i++) {
		if (!given(l, where, word))
			bad(l, c->at, NULL, "%s: a check of kind %s needs '%s'", where, kind, word);
	}
	static const char *const all[] = {
	        "of", "max_age", "run", "left", "right", "url", "expect", "contains", "ca_file", "address", "env"};
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		bool fits = allowed_index(rule->must, all[i], strlen(all[i])) >= 0 ||
		            allowed_index(rule->may, all[i], strlen(all[i])) >= 0;
		if (!fits && given(l, where, all[i]))
			bad(l, at_key(l, where, all[i], c->at), NULL, "%s: '%s' does not go with kind %s", where,
			        all[i], kind);
	}
}

static void validate_check(struct loader *l, const struct plan_recovery *r, size_t i)
{
	const struct plan_check *c = &r->checks[i];
	const char *where = arena_fmt(l->arena, "recovery.checks[%zu]", i);
	if (c->id && step_index(r, c->id) < r->n_steps)
		bad(l, at_key(l, where, "id", c->at), NULL, "'%s' is the id of a step already", c->id);
	for (size_t j = 0; c->id && j < i; j++) {
		if (str_eq(r->checks[j].id, c->id))
			bad(l, at_key(l, where, "id", c->at), NULL, "two checks have the id '%s'", c->id);
	}
	check_needs(l, r, &c->needs, "", where);
	check_source_ref(l, c->of, where, "of", c->at);
	if (!given(l, where, "kind") || (unsigned)c->kind >= ARRAY_LEN(check_rules))
		return;
	check_keys(l, c, where);
	bool restored = false;
	for (size_t k = 0; k < r->n_steps; k++)
		restored = restored || (str_eq(r->steps[k].restore, c->of) &&
		                               given(l, arena_fmt(l->arena, "recovery.steps[%zu]", k), "to"));
	if (c->kind == PLAN_CHECK_MANIFEST && c->of && plan_source(l->plan, c->of) && !restored)
		bad(l, at_key(l, where, "of", c->at), NULL, "%s: no step restores '%s' to a directory", where, c->of);
}

static void validate_recovery(struct loader *l, struct plan_recovery *r)
{
	if (r->n_steps > STEPS_MAX || r->n_checks > STEPS_MAX) {
		bad(l, r->at, NULL, "recovery: more than %d steps or checks", STEPS_MAX);
		return;
	}
	only_remote(l, "recovery.target", r->target ? r->target->host : NULL);
	for (size_t i = 0; i < r->n_steps; i++)
		validate_step(l, r, i);
	for (size_t i = 0; i < r->n_checks; i++)
		validate_check(l, r, i);
	r->order = arena_array(l->arena, r->n_steps + 1, sizeof(*r->order));
	bool *done = arena_array(l->arena, r->n_steps + 1, sizeof(*done));
	/* Duplicate or missing ids make "who needs whom" ambiguous: the graph is looked at only when names are sound.
	 */
	if (l->diags->n_errors)
		return;
	const bool *waits = needs_matrix(l, r);
	if (sort_steps(waits, r->n_steps, r->order, done) < r->n_steps)
		report_cycle(l, r, waits, done);
}

/* --- the rest --- */

static void validate_approval(
        struct loader *l, const struct plan *p, const struct plan_approval *a, const char *where, bool prune)
{
	if (!a)
		return;
	if (a->expires_ms > 7 * DAY_MS)
		bad(l, at_key(l, where, "expires", a->at), NULL, "%s.expires: a request lives 7d at most", where);
	if (a->standing_ms >= 0 && prune)
		bad(l, at_key(l, where, "standing", a->at), NULL, "%s: removing copies has no standing approval",
		        where);
	else if (a->standing_ms >= 0 && p->custody == PLAN_CUSTODY_QUORUM)
		bad(l, at_key(l, where, "standing", a->at), "each use needs the share-holders",
		        "%s: a standing approval does not go with custody: quorum", where);
}

static void validate_schedule(struct loader *l, const struct plan_schedule *s)
{
	/* The linter walks a year of each. */
	if (s->n_drills > DRILLS_MAX)
		bad(l, s->drills[DRILLS_MAX].at, NULL, "schedule.drills: more than %d", DRILLS_MAX);
	for (size_t i = 0; i < s->n_drills; i++) {
		for (size_t j = 0; s->drills[i].name && j < i; j++) {
			if (str_eq(s->drills[i].name, s->drills[j].name)) {
				const char *where = arena_fmt(l->arena, "schedule.drills[%zu]", i);
				bad(l, at_key(l, where, "name", s->drills[i].at), NULL, "two drills are named '%s'",
				        s->drills[i].name);
			}
		}
	}
}

static bool requirement_known(json_t *catalogue, const char *id)
{
	size_t i;
	json_t *r;
	json_array_foreach (json_object_get(catalogue, "requirements"), i, r) {
		if (str_eq(json_string_value(json_object_get(r, "id")), id))
			return true;
	}
	return false;
}

static void validate_not_applicable(struct loader *l, const struct plan *p, size_t i)
{
	const struct plan_not_applicable *x = &p->not_applicable[i];
	const char *where = arena_fmt(l->arena, "not_applicable[%zu]", i);
	struct plan_place at = at_key(l, where, "requirement", x->at);
	bool known = false;
	for (size_t k = 0; x->requirement && !known && k < p->requirements.n; k++) {
		CLEAN(json_release) json_t *cat = catalogue_get(p->requirements.v[k]);
		known = cat && requirement_known(cat, x->requirement);
	}
	if (x->requirement && !known)
		bad(l, at, "name a requirement of the catalogues under requirements",
		        "%s: there is no requirement '%.60s'", where, x->requirement);
	for (size_t j = 0; x->requirement && j < i; j++) {
		if (str_eq(p->not_applicable[j].requirement, x->requirement))
			bad(l, at, NULL, "%s: '%.60s' is named twice", where, x->requirement);
	}
}

static void validate_requirements(struct loader *l, const struct plan *p)
{
	const char *ids[17] = {NULL};
	catalogue_ids(ids, 16);
	for (size_t i = 0; i < p->requirements.n; i++) {
		const char *id = p->requirements.v[i];
		bool known = false;
		for (size_t k = 0; ids[k]; k++)
			known = known || str_eq(ids[k], id);
		if (!known)
			bad(l, p->requirements.at, diag_near(l, id, ids), "requirements: there is no catalogue '%.60s'",
			        id);
	}
	/* Each look-up reads a catalogue: a plan has few of these, a hostile one must not have many. */
	if (p->n_not_applicable > REASONS_MAX)
		bad(l, p->not_applicable[REASONS_MAX].at, NULL, "not_applicable: more than %d entries", REASONS_MAX);
	for (size_t i = 0; i < MIN(p->n_not_applicable, (size_t)REASONS_MAX); i++)
		validate_not_applicable(l, p, i);
	for (size_t i = 0; i < p->n_policies; i++) {
		for (size_t j = 0; p->policies[i].class_name && j < i; j++) {
			if (str_eq(p->policies[i].class_name, p->policies[j].class_name))
				bad(l, p->policies[i].at, NULL, "policies: two are for the class '%s'",
				        p->policies[i].class_name);
		}
	}
}

void validate_plan(struct loader *l)
{
	struct plan *p = l->plan;
	validate_sources(l, p);
	for (size_t i = 0; i < p->n_sites; i++)
		validate_site(l, p, i);
	if (p->targets && p->targets->mtpd_ms >= 0 && p->targets->mtpd_ms < p->targets->rto_ms)
		bad(l, at_key(l, "targets", "mtpd", p->targets->at), NULL, "targets.mtpd is below targets.rto");
	if (p->retention && p->retention->max_ms >= 0 && p->retention->max_ms < p->retention->min_ms)
		bad(l, at_key(l, "retention", "max", p->retention->at), NULL, "retention.max is below retention.min");
	if (p->approvals) {
		validate_approval(l, p, p->approvals->restore, "approvals.restore", false);
		validate_approval(l, p, p->approvals->drill, "approvals.drill", false);
		validate_approval(l, p, p->approvals->prune, "approvals.prune", true);
	}
	if (p->schedule)
		validate_schedule(l, p->schedule);
	if (p->recovery)
		validate_recovery(l, p->recovery);
	validate_requirements(l, p);
}
