/* Building a result. The shape is docs/format/result.schema.json: change that first. */
#include "evidence/result.h"

#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"
#include "base/version.h"

#define TEXT_MAX_LOSSY 4096
#define NS_PER_MS 1000000

struct moment {
	int64_t wall_ns, boot_ns; /* wall 0: not measured; boot 0: wall alone is known */
};
struct step { /* what the critical path needs */
	char *id;
	char **needs;
	size_t n_needs;
	int64_t end_boot_ns, took_ns;
	int64_t chain_ns; /* the longest time of a chain of needs that ends with it */
	json_t *json;     /* borrowed from steps[] */
};
struct result {
	json_t *json;
	char id[17];
	struct moment started, point[RESULT_POINTS];
	enum result_point from, to;
	int64_t rto_target_ms, rpo_target_ms, rpo_measured_ms, rpo_worst_ms;
	struct step *step;
	size_t n_steps, cap_steps;
	bool finished;
};

static const char *const point_names[RESULT_POINTS] = {
        [RESULT_SERVICE_LOST] = "service_lost",
        [RESULT_DECLARED] = "declared",
        [RESULT_APPROVED] = "approved",
        [RESULT_KEY_RELEASED] = "key_released",
        [RESULT_FIRST_BYTE] = "first_byte",
        [RESULT_DATA_RESTORED] = "data_restored",
        [RESULT_VERIFIED] = "verified",
        [RESULT_CHECKS_PASSED] = "checks_passed",
        [RESULT_SERVICE_BACK] = "service_back",
};
static const char *const list_names[RESULT_LISTS] = {
        [RESULT_SOURCES] = "sources",
        [RESULT_SITES] = "sites",
        [RESULT_SKIPPED] = "skipped",
        [RESULT_FINDINGS] = "findings",
        [RESULT_DEVIATIONS] = "deviations",
        [RESULT_REQUIREMENTS] = "requirements",
        [RESULT_NOT_SHOWN] = "not_shown",
        [RESULT_APPROVED_BY] = "approved_by",
        [RESULT_PROVEN_BY] = "proven_by",
};

/* --- Values: what was not measured is null --- */

static json_t *text(const char *s)
{
	char safe[TEXT_MAX_LOSSY];
	json_t *j;

	if (!s)
		return json_null();
	j = json_string(s);
	return j ? j : json_string(log_safe(safe, sizeof(safe), s)); /* a file name that is no UTF-8, say */
}

static json_t *number(int64_t v)
{
	return v < 0 ? json_null() : json_integer((json_int_t)v);
}

static json_t *tri(int v)
{
	return v < 0 ? json_null() : json_boolean(v);
}

/* Milliseconds from a to b by the boot clock where both have it; -1 when not measured or against the arrow of time. */
static int64_t between(const struct moment *a, const struct moment *b)
{
	int64_t d;

	if (!a->wall_ns || !b->wall_ns)
		return -1;
	d = a->boot_ns && b->boot_ns ? b->boot_ns - a->boot_ns : b->wall_ns - a->wall_ns;
	return d < 0 ? -1 : d / NS_PER_MS;
}

/* --- Identity --- */

static json_t *clock_state(void)
{
	struct clock_sync s;

	clock_sync_state(&s);
	return json_pack(
	        "{s:s, s:b, s:I}", "source", s.source, "trusted", (int)s.trusted, "offset_us", (json_int_t)s.offset_us);
}

static json_t *slot_of(const struct result_identity *id)
{
	json_t *o;

	if (!id->slot_kind)
		return json_null();
	o = json_object();
	json_object_set_new(o, "kind", text(id->slot_kind));
	json_object_set_new(o, "time", json_time(id->slot_time_ns));
	return o;
}

static json_t *plan_of(const struct result_identity *id)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", text(id->plan));
	json_object_set_new(o, "digest", text(id->plan_digest));
	json_object_set_new(o, "version", number(id->plan_version));
	return o;
}

struct result *result_new(const struct result_identity *id)
{
	struct result *r = xcalloc(1, sizeof(*r));
	json_t *o = r->json = json_object();

	BUG_ON(!str_is_id(id->kind) || !str_is_id(id->plan));
	rng_hex(r->id, 8);
	r->started = (struct moment){.wall_ns = clock_wall_ns(), .boot_ns = clock_boot_ns()};
	r->from = RESULT_DECLARED;
	r->to = RESULT_SERVICE_BACK;
	r->rto_target_ms = r->rpo_target_ms = r->rpo_measured_ms = r->rpo_worst_ms = -1;
	json_object_set_new(o, "v", json_integer(RESULT_VERSION));
	json_object_set_new(o, "id", json_string(r->id));
	json_object_set_new(o, "kind", text(id->kind));
	json_object_set_new(o, "plan", plan_of(id));
	json_object_set_new(o, "slot", slot_of(id));
	json_object_set_new(o, "scenario", text(id->scenario));
	json_object_set_new(o, "performed_by", text(id->performed_by ? id->performed_by : "holdfast"));
	json_object_set_new(o, "runbook", text(id->runbook));
	json_object_set_new(o, "host", text(id->host));
	json_object_set_new(o, "tool",
	        json_pack("{s:s, s:s}", "name", "holdfast", "version",
	                id->tool_version ? id->tool_version : HOLDFAST_VERSION));
	json_object_set_new(o, "self_attested", tri(id->self_attested));
	json_object_set_new(o, "started", json_time(r->started.wall_ns));
	json_object_set_new(o, "clock", clock_state());
	json_object_set_new(o, "bytes", json_pack("{s:n, s:n}", "processed", "added"));
	json_object_set_new(o, "coverage", json_null());
	json_object_set_new(o, "steps", json_array());
	json_object_set_new(o, "checks", json_array());
	json_object_set_new(o, "extra", json_object());
	for (size_t i = 0; i < RESULT_PROVEN_BY; i++)
		json_object_set_new(o, list_names[i], json_array());
	json_object_set_new(o, "freshness", json_pack("{s:n}", "proven_by"));
	return r;
}

void result_free(struct result *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n_steps; i++) {
		for (size_t k = 0; k < r->step[i].n_needs; k++)
			free(r->step[i].needs[k]);
		free(r->step[i].needs);
		free(r->step[i].id);
	}
	free(r->step);
	json_decref(r->json);
	free(r);
}

void result_free_ptr(struct result **r)
{
	result_free(*r);
	*r = NULL;
}

/* --- Setters --- */

void result_point(struct result *r, enum result_point p, int64_t wall_ns, int64_t boot_ns)
{
	BUG_ON(p >= RESULT_POINTS);
	r->point[p] = (struct moment){.wall_ns = wall_ns, .boot_ns = boot_ns};
}

void result_compare(struct result *r, enum result_point from, enum result_point to)
{
	BUG_ON(from >= RESULT_POINTS || to >= RESULT_POINTS);
	r->from = from;
	r->to = to;
}

void result_rto_target(struct result *r, int64_t target_ms)
{
	r->rto_target_ms = target_ms;
}

void result_rpo(struct result *r, int64_t target_ms, int64_t measured_ms, int64_t worst_case_ms)
{
	r->rpo_target_ms = target_ms;
	r->rpo_measured_ms = measured_ms;
	r->rpo_worst_ms = worst_case_ms;
}

static void remember_step(struct result *r, const struct result_step *s, json_t *json)
{
	struct step *to;
	size_t cap = 0;

	r->step = xgrow(r->step, r->n_steps, &r->cap_steps, sizeof(*r->step));
	to = &r->step[r->n_steps++];
	*to = (struct step){.id = xstrdup(s->id), .end_boot_ns = s->start_boot_ns ? s->end_boot_ns : 0, .json = json};
	to->took_ns = to->end_boot_ns ? s->end_boot_ns - s->start_boot_ns : 0;
	for (size_t i = 0; s->needs && s->needs[i]; i++) {
		to->needs = xgrow(to->needs, to->n_needs, &cap, sizeof(*to->needs));
		to->needs[to->n_needs++] = xstrdup(s->needs[i]);
	}
}

void result_step(struct result *r, const struct result_step *s)
{
	json_t *o = json_object(), *needs = json_array();
	bool ran = s->start_boot_ns && s->end_boot_ns;

	for (size_t i = 0; s->needs && s->needs[i]; i++)
		json_array_append_new(needs, text(s->needs[i]));
	json_object_set_new(o, "id", text(s->id));
	json_object_set_new(o, "kind", text(s->kind));
	json_object_set_new(o, "needs", needs);
	json_object_set_new(o, "started", json_time(s->start_wall_ns));
	json_object_set_new(
	        o, "duration_ms", ran ? number((s->end_boot_ns - s->start_boot_ns) / NS_PER_MS) : json_null());
	json_object_set_new(o, "bytes", number(s->bytes));
	json_object_set_new(o, "outcome", text(s->outcome));
	json_object_set_new(o, "detail", text(s->detail));
	json_object_set_new(o, "critical", json_false());
	remember_step(r, s, o);
	json_array_append_new(json_object_get(r->json, "steps"), o);
}

static json_t *coverage(const char *unit, int64_t checked, int64_t total)
{
	json_t *o;

	if (checked < 0 || total < 0)
		return json_null();
	o = json_object();
	json_object_set_new(o, "kind", json_string(checked >= total ? "complete" : "sampled"));
	json_object_set_new(o, "unit", text(unit));
	json_object_set_new(o, "checked", number(checked));
	json_object_set_new(o, "total", number(total));
	return o;
}

void result_check(struct result *r, const struct result_check *c)
{
	json_t *o = json_object();

	json_object_set_new(o, "id", text(c->id));
	json_object_set_new(o, "kind", text(c->kind));
	json_object_set_new(o, "step", text(c->step));
	json_object_set_new(o, "started", json_time(c->start_wall_ns));
	json_object_set_new(o, "duration_ms", number(c->duration_ms));
	json_object_set_new(o, "outcome", text(c->outcome));
	json_object_set_new(o, "detail", text(c->detail));
	json_object_set_new(o, "coverage", coverage(NULL, c->checked, c->total));
	json_array_append_new(json_object_get(r->json, "checks"), o);
}

void result_bytes(struct result *r, int64_t processed, int64_t added)
{
	json_t *o = json_object_get(r->json, "bytes");

	json_object_set_new(o, "processed", number(processed));
	json_object_set_new(o, "added", number(added));
}

void result_coverage(struct result *r, const char *unit, int64_t checked, int64_t total)
{
	json_object_set_new(r->json, "coverage", coverage(unit, checked, total));
}

void result_add(struct result *r, enum result_list list, json_t *item)
{
	json_t *o = r->json;

	BUG_ON(list >= RESULT_LISTS || !item);
	if (list == RESULT_PROVEN_BY) {
		o = json_object_get(o, "freshness");
		if (!json_is_array(json_object_get(o, "proven_by")))
			json_object_set_new(o, "proven_by", json_array());
	}
	json_array_append_new(json_object_get(o, list_names[list]), item);
}

void result_add_str(struct result *r, enum result_list list, const char *s)
{
	result_add(r, list, text(s));
}

void result_extra(struct result *r, const char *key, json_t *value)
{
	json_object_set_new(json_object_get(r->json, "extra"), key, value);
}

/* --- The end --- */

static const struct step *step_named(const struct result *r, const char *id)
{
	for (size_t i = 0; i < r->n_steps; i++)
		if (r->step[i].end_boot_ns && str_eq(r->step[i].id, id))
			return &r->step[i];
	return NULL;
}

/* The need whose chain is the longest. */
static const struct step *slowest_need(const struct result *r, const struct step *s)
{
	const struct step *slowest = NULL;

	for (size_t i = 0; i < s->n_needs; i++) {
		const struct step *n = step_named(r, s->needs[i]);

		if (n && (!slowest || n->chain_ns > slowest->chain_ns))
			slowest = n;
	}
	return slowest;
}

/* As many passes as steps settle every chain of a graph without a cycle, whatever order the steps came in. */
static void measure_chains(const struct result *r)
{
	for (size_t pass = 0; pass < r->n_steps; pass++)
		for (size_t i = 0; i < r->n_steps; i++) {
			struct step *s = &r->step[i];
			const struct step *n = slowest_need(r, s);

			s->chain_ns = s->took_ns + (n ? n->chain_ns : 0);
		}
}

/* The chain of needs that takes longest: what bounds the recovery time however much is done at once. */
static json_t *critical_path(const struct result *r)
{
	const struct step *at = NULL;
	json_t *path = json_array();

	measure_chains(r);
	for (size_t i = 0; i < r->n_steps; i++)
		if (r->step[i].end_boot_ns && (!at || r->step[i].chain_ns > at->chain_ns))
			at = &r->step[i];
	/* A graph with a cycle cannot run, but must not hang a report either. */
	for (size_t left = r->n_steps; at && left; left--, at = slowest_need(r, at)) {
		json_array_insert_new(path, 0, json_string(at->id));
		json_object_set_new(at->json, "critical", json_true());
	}
	return path;
}

static void set_clocks(struct result *r)
{
	json_t *clocks = json_object(), *after = json_object(), *compared = json_object();

	for (size_t i = 0; i < RESULT_POINTS; i++) {
		json_object_set_new(clocks, point_names[i], json_time(r->point[i].wall_ns));
		json_object_set_new(after, point_names[i], number(between(&r->point[r->from], &r->point[i])));
	}
	json_object_set_new(compared, "from", json_string(point_names[r->from]));
	json_object_set_new(compared, "to", json_string(point_names[r->to]));
	json_object_set_new(r->json, "clocks", clocks);
	json_object_set_new(r->json, "after_ms", after);
	json_object_set_new(r->json, "compared", compared);
}

/* A run that did not get there has met no target, however quick it was. */
static int met(int64_t target, int64_t measured, bool done)
{
	if (target < 0 || measured < 0)
		return -1;
	return done && measured <= target;
}

static void set_targets(struct result *r, bool done)
{
	int64_t rto = between(&r->point[r->from], &r->point[r->to]);
	json_t *o = json_object(), *p = json_object();

	json_object_set_new(o, "target_ms", number(r->rto_target_ms));
	json_object_set_new(o, "measured_ms", number(rto));
	json_object_set_new(o, "met", tri(met(r->rto_target_ms, rto, done)));
	json_object_set_new(p, "target_ms", number(r->rpo_target_ms));
	json_object_set_new(p, "measured_ms", number(r->rpo_measured_ms));
	json_object_set_new(p, "worst_case_ms", number(r->rpo_worst_ms));
	json_object_set_new(p, "met", tri(met(r->rpo_target_ms, r->rpo_measured_ms, done)));
	json_object_set_new(p, "worst_case_met", tri(met(r->rpo_target_ms, r->rpo_worst_ms, true)));
	json_object_set_new(r->json, "rto", o);
	json_object_set_new(r->json, "rpo", p);
}

static json_int_t count_outcomes(const struct result *r, const char *list, const char *outcome)
{
	json_int_t n = 0;
	json_t *item;
	size_t i;

	json_array_foreach (json_object_get(r->json, list), i, item) {
		n += str_eq(json_string_value(json_object_get(item, "outcome")), outcome);
	}
	return n;
}

static json_t *summary(const struct result *r)
{
	json_t *o = json_object();

	json_object_set_new(o, "steps_passed", json_integer(count_outcomes(r, "steps", "passed")));
	json_object_set_new(o, "steps_failed", json_integer(count_outcomes(r, "steps", "failed")));
	json_object_set_new(o, "steps_skipped", json_integer(count_outcomes(r, "steps", "skipped")));
	json_object_set_new(o, "checks_passed", json_integer(count_outcomes(r, "checks", "passed")));
	json_object_set_new(o, "checks_failed", json_integer(count_outcomes(r, "checks", "failed")));
	json_object_set_new(o, "checks_skipped", json_integer(count_outcomes(r, "checks", "skipped")));
	return o;
}

static bool missed(const struct result *r, const char *target)
{
	return json_is_false(json_object_get(json_object_get(r->json, target), "met"));
}

void result_finish(struct result *r, const char *outcome, int exit_status)
{
	struct moment now = {.wall_ns = clock_wall_ns(), .boot_ns = clock_boot_ns()};
	bool done = str_eq(outcome, "done");

	set_clocks(r);
	set_targets(r, done);
	if (done && exit_status == 0 && (missed(r, "rto") || missed(r, "rpo")))
		exit_status = 4;
	json_object_set_new(r->json, "outcome", text(outcome));
	json_object_set_new(r->json, "exit_status", json_integer(exit_status));
	json_object_set_new(r->json, "finished", json_time(now.wall_ns));
	json_object_set_new(r->json, "duration_ms", number(between(&r->started, &now)));
	json_object_set_new(r->json, "critical_path", critical_path(r));
	json_object_set_new(r->json, "summary", summary(r));
	r->finished = true;
}

int result_status(const struct result *r)
{
	BUG_ON(!r->finished);
	return (int)json_integer_value(json_object_get(r->json, "exit_status"));
}

const char *result_id(const struct result *r)
{
	return r->id;
}

const json_t *result_json(const struct result *r)
{
	return r->json;
}
