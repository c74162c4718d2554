/* Planted faults: a rehearsal that cannot fail proves nothing. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "drill/book.h"
#include "drill/drill_stores.h"

#define ENOUGH (64u << 20) /* bytes restored before a fault counts as unnoticed */
#define NS_PER_MS 1000000

static const char *const names[NEGATIVES] = {
        [NEGATIVE_CORRUPT_PACK] = "corrupt-pack",
        [NEGATIVE_WRONG_KEY] = "wrong-key",
        [NEGATIVE_STALE_SNAPSHOT] = "stale-snapshot",
};

const char *negative_name(enum negative kind)
{
	BUG_ON(kind >= NEGATIVES);
	return names[kind];
}

bool negative_parse(const char *name, enum negative *ret)
{
	for (size_t i = 0; i < NEGATIVES; i++)
		if (str_eq(name, names[i])) {
			*ret = (enum negative)i;
			return true;
		}
	return false;
}

struct trial {
	const struct drill_run *d;
	const struct negative_plant *plant;
	struct job job;
	char *text;
	size_t n_text;
};

#define SAY(t, ...) snprintf((t)->text, (t)->n_text, __VA_ARGS__)

/* Every source that the runbook restores, one call each, until one says false. */
static bool each_source(struct trial *t, bool (*fn)(struct trial *t, const char *source))
{
	const struct plan *p = t->job.plan;
	bool any = false, ok = true;
	for (size_t i = 0; ok && i < p->n_sources; i++) {
		bool restored = false;
		for (size_t k = 0; p->recovery && k < p->recovery->n_steps; k++)
			restored = restored || str_eq(p->recovery->steps[k].restore, p->sources[i].name);
		if (!restored)
			continue;
		any = true;
		ok = fn(t, p->sources[i].name);
	}
	if (!any)
		SAY(t, "the runbook restores no source, so there is nothing to plant the fault in");
	return any && ok;
}

/* --- corrupt-pack --- */

static bool is_damage(enum err_code code)
{
	return code == ERR_CORRUPT || code == ERR_MISSING || code == ERR_FORMAT;
}

/* Stops a restore once enough came through. */
struct bound {
	atomic_bool stop;
};

static void bound_tick(void *arg, uint64_t files, uint64_t bytes)
{
	struct bound *b = arg;
	(void)files;
	if (bytes > ENOUGH)
		atomic_store(&b->stop, true);
}

static int sink_nothing(void *arg, const void *p, size_t n, struct err *err)
{
	uint64_t *bytes = arg;
	(void)p;
	*bytes += n;
	return *bytes > ENOUGH ? err_set(err, ERR_CANCELLED, "enough") : 0;
}

static int restore_some(struct trial *t, struct recover *r, const struct snapshot *snap, struct err *err)
{
	struct isolated_self self = {.report = -1};
	struct book b = {.self = &self, .shown_ns = INT64_MAX / 2};
	struct book_timer timer;
	struct restore_stats st = {0};
	struct bound bound = {0};
	uint64_t bytes = 0;
	CLEAN(free_ptr) char *to = fs_join(t->d->work, snap->source);
	if (snap->facts.is_stream) {
		book_timer_init(&timer, &b, "check", snap->source, 0);
		struct book_stream s = {.sink = sink_nothing, .arg = &bytes, .timer = &timer};
		return book_stream(r->reader, snap, &s, err);
	}
	struct restore_opts o = {
	        .to = to, .cancel = &bound.stop, .progress = bound_tick, .arg = &bound};
	int rc = fs_mkdirs(to, 0700, err);
	return rc ? rc : restore_tree(r->reader, snap, &o, &st, err);
}

static bool corrupt_source(struct trial *t, const char *source)
{
	static const char *const flip[] = {"get p/ flip", NULL};
	const char *const *rules = t->plant->fault_rules ? t->plant->fault_rules : flip;
	struct recover r = {0};
	const struct reader_snapshot *snap;
	struct err err = ERR_INIT;
	uint64_t bad = 0;
	int rc = recover_open(
	        &t->job, &(struct recover_opts){.purpose = RELEASE_DRILL, .source = source, .site = t->d->site, .fault_rules = rules}, &r, &err);
	if (!rc)
		rc = reader_select(r.reader, "latest", &snap, &err);
	if (rc) {
		SAY(t, "source '%s' could not be opened, so the fault was not reached: %s", source, err.msg);
		recover_close(&r);
		return false;
	}
	rc = restore_some(t, &r, &snap->snap, &err);
	for (size_t i = 0; i < r.n_rs; i++)
		bad += r.rs[i].bad;
	bool noticed = rc && is_damage(err.code) && bad;
	if (noticed)
		SAY(t, "noticed at source '%s': %s", source, err.msg);
	else if (!rc || err.code == ERR_CANCELLED)
		SAY(t, "source '%s' was restored from damaged packs as if nothing had happened", source);
	else
		SAY(t, "source '%s' failed for another reason than the planted damage: %s", source, err.msg);
	recover_close(&r);
	return noticed;
}

/* --- wrong-key --- */

/* The right key first: where that one opens nothing, a wrong one proves nothing. */
static bool wrong_key_source(struct trial *t, const char *source)
{
	struct recover r = {0}, w = {0};
	struct opening_key wrong = {0};
	struct err err = ERR_INIT;
	int rc = recover_open(&t->job, &(struct recover_opts){.purpose = RELEASE_DRILL, .source = source, .site = t->d->site}, &r, &err);
	if (rc) {
		SAY(t, "source '%s': even the right key opens nothing: %s", source, err.msg);
		return false;
	}
	if (!t->plant->own_key)
		opening_key_generate(&wrong, r.key.repo, r.key.class_name, r.key.root_pub);
	struct recover_opts o = {.purpose = RELEASE_DRILL, .source = source, .site = t->d->site, .key = t->plant->own_key ? &r.key : &wrong};
	rc = recover_open(&t->job, &o, &w, &err);
	bool noticed = rc && (is_damage(err.code) || err.code == ERR_DENIED);
	if (noticed)
		SAY(t, "another key opens nothing of source '%s'", source);
	else if (!rc)
		SAY(t, "a key that was not the source's opened '%s'", source);
	else
		SAY(t, "source '%s' failed for another reason than the wrong key: %s", source, err.msg);
	recover_close(&w);
	recover_close(&r);
	opening_key_release(&wrong);
	return noticed;
}

/* --- stale-snapshot --- */

static int oldest(struct trial *t, const char *source, int64_t *ret_start, struct err *err)
{
	struct recover r = {0};
	const struct reader_snapshot *all;
	size_t n = 0;
	int rc = recover_open(&t->job, &(struct recover_opts){.purpose = RELEASE_DRILL, .source = source, .site = t->d->site}, &r, err);
	if (!rc)
		rc = reader_snapshots(r.reader, &all, &n, err);
	if (!rc && !n)
		rc = err_set(err, ERR_MISSING, "source '%s' has no snapshot", source);
	for (size_t i = 0; !rc && i < n; i++)
		*ret_start = i ? MIN(*ret_start, all[i].snap.facts.start) : all[i].snap.facts.start;
	recover_close(&r);
	return rc;
}

/* The plan's own check, given the oldest snapshot at a moment when that is too old. */
static bool stale_check(struct trial *t, const struct plan_check *c)
{
	struct err err = ERR_INIT;
	int64_t start = 0;
	char text[256];
	if (oldest(t, c->of, &start, &err)) {
		SAY(t, "check '%s': %s", c->id, err.msg);
		return false;
	}
	int64_t too_old = start + c->max_age_ms * NS_PER_MS + 1000 * (int64_t)NS_PER_MS;
	int64_t moment = t->plant->age_ms >= 0 ? start + t->plant->age_ms * NS_PER_MS : MAX(t->d->declared_ns, too_old);
	bool fresh = drill_fresh(start, moment, c->max_age_ms, text, sizeof text);
	SAY(t,
	        fresh ? "check '%s' takes an old snapshot for a fresh one: %s"
	              : "check '%s' refuses an old snapshot: %s",
	        c->id, text);
	return !fresh;
}

static bool stale_snapshot(struct trial *t)
{
	const struct plan_recovery *r = t->job.plan->recovery;
	bool any = false, ok = true;
	for (size_t i = 0; ok && r && i < r->n_checks; i++) {
		if (r->checks[i].kind != PLAN_CHECK_FRESHNESS)
			continue;
		any = true;
		ok = stale_check(t, &r->checks[i]);
	}
	if (!any)
		SAY(t, "the plan has no check of freshness: an old snapshot would go unnoticed");
	return any && ok;
}

bool negative_run(
        const struct drill_run *d, enum negative kind, const struct negative_plant *plant, char *text, size_t n)
{
	struct trial t = {.d = d, .plant = plant, .job = *d->j, .text = text, .n_text = n};
	t.job.progress = NULL;
	t.job.item = NULL;
	t.job.dry_run = true;
	switch (kind) {
	case NEGATIVE_CORRUPT_PACK:
		return each_source(&t, corrupt_source);
	case NEGATIVE_WRONG_KEY:
		return each_source(&t, wrong_key_source);
	case NEGATIVE_STALE_SNAPSHOT:
		return stale_snapshot(&t);
	case NEGATIVES:
		break;
	}
	BUG("no such planted fault");
}

void negative_process(struct isolated_self *self, void *arg)
{
	struct negative_process *p = arg;
	const struct negative_plant plant = NEGATIVE_PLANT_INIT;
	struct job job = *p->d.j;
	struct drill_run d = p->d;
	struct drill_way way;
	char text[700] = "";
	struct err err = ERR_INIT;
	const char **keep = drill_paths(d.j);
	drill_way_open(&way, self, &job);
	log_set(LOG_ERROR, false); /* in this process damage is what we came for, and no news to anyone */
	if (isolate_mounts(self, d.work, keep, &err) && !self->why.code)
		self->why = err;
	drill_paths_free(keep);
	job.cancel = &self->cancel;
	d.j = &job;
	bool ok = negative_run(&d, p->kind, &plant, text, sizeof text);
	drill_way_close(&way);
	json_t *o = json_pack("{s:s, s:s, s:b}", "t", "negative", "kind", negative_name(p->kind), "noticed", ok);
	json_object_set_new(o, "detail", report_text(text));
	report_send(self->report, o);
}
