/* The Prometheus file: gauges from the newest results, in the text format that a node exporter's textfile collector
 * reads. */
#include "evidence/result.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "evidence/log_internal.h"

#define UTC_LEN 16 /* 20260331T101112Z */
#define ID_LEN 16
#define LOOK_BACK 1000 /* results read in search of the last success */
#define METRICS_MAX (16u << 20)
#define LOCK_WAIT_MS 10000
#define NS_PER_MS 1000000

struct names {
	char **name;
	size_t n, cap;
};
struct state { /* of one kind of run of one plan */
	char *plan, *kind;
	json_t *last, *success;
	const char *name; /* of the first that was read, while the names are there */
	bool complete; /* what was read names every site that a run of this kind would */
	json_t *source_success; /* source name: time in ms of its last success */
	json_t *site_probe;     /* site name: its newest probe */
};
struct states {
	struct state *s;
	size_t n, cap;
};

/* --- Reading --- */

static void names_release(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->name[i]);
	free(l->name);
	*l = (struct names){0};
}

static void states_release(struct states *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->s[i].plan);
		free(l->s[i].kind);
		json_decref(l->s[i].last);
		json_decref(l->s[i].success);
		json_decref(l->s[i].source_success);
		json_decref(l->s[i].site_probe);
	}
	free(l->s);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_dir(const char *dir, bool (*take)(const char *name), struct names *ret, struct err *err)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	if (!d)
		return errno == ENOENT ? 0 : err_sys(err, ERR_IO, "cannot list %s", dir);
	while ((e = readdir(d))) {
		if (!take(e->d_name))
			continue;
		ret->name = xgrow(ret->name, ret->n, &ret->cap, sizeof(*ret->name));
		ret->name[ret->n++] = xstrdup(e->d_name);
	}
	closedir(d);
	if (ret->n)
		qsort(ret->name, ret->n, sizeof(*ret->name), by_name);
	return 0;
}

/* Kind within <utc>-<kind>-<id>.json; 0 for other names. */
static size_t kind_length(const char *name)
{
	size_t n = strlen(name), around = UTC_LEN + 1 + 1 + ID_LEN + strlen(".json");

	if (n <= around || name[UTC_LEN] != '-' || !str_eq(name + n - 5, ".json") || name[n - 5 - ID_LEN - 1] != '-')
		return 0;
	return n - around;
}

static bool is_result(const char *name)
{
	return kind_length(name) > 0;
}

static struct state *state_of(struct states *l, const char *plan, const char *kind, size_t n_kind)
{
	for (size_t i = l->n; i-- > 0;)
		if (str_eq(l->s[i].plan, plan) && strlen(l->s[i].kind) == n_kind &&
		        memcmp(l->s[i].kind, kind, n_kind) == 0)
			return &l->s[i];
	l->s = xgrow(l->s, l->n, &l->cap, sizeof(*l->s));
	l->s[l->n] = (struct state){.plan = xstrdup(plan),
	        .kind = xstrndup(kind, n_kind),
	        .source_success = json_object(),
	        .site_probe = json_object()};
	return &l->s[l->n++];
}

static bool is_done(const json_t *o)
{
	return str_eq(json_string_value(json_object_get(o, "outcome")), "done");
}

/* Time of an end in milliseconds, or of the start; -1 for neither. */
static int64_t time_of(const json_t *r)
{
	const char *s = json_string_value(json_object_get(r, "finished"));
	int64_t ns;

	if (!s)
		s = json_string_value(json_object_get(r, "started"));
	return s && clock_parse(s, &ns) ? ns / NS_PER_MS : -1;
}

static void note_sources(struct state *st, const json_t *r)
{
	json_t *s;
	size_t i;

	json_array_foreach (json_object_get(r, "sources"), i, s) {
		const char *name = json_string_value(json_object_get(s, "name"));

		if (name && is_done(s) && !json_object_get(st->source_success, name))
			json_object_set_new(st->source_success, name, json_integer((json_int_t)time_of(r)));
	}
}

/* A probe may be of one site only. */
static void note_probes(struct state *st, const json_t *r)
{
	json_t *p;
	size_t i;

	json_array_foreach (json_object_get(json_object_get(r, "extra"), "probes"), i, p) {
		const char *site = json_string_value(json_object_get(p, "site"));

		if (site && !json_object_get(st->site_probe, site))
			json_object_set(st->site_probe, site, p);
	}
}

/* Has what was read so far probed every site? */
static bool probes_complete(const struct state *st, const json_t *r)
{
	return !str_eq(st->kind, "probe") || json_is_true(json_object_get(json_object_get(r, "extra"), "complete"));
}

static bool sources_complete(const struct state *st)
{
	json_t *s;
	size_t i;

	json_array_foreach (json_object_get(st->last, "sources"), i, s) {
		const char *name = json_string_value(json_object_get(s, "name"));

		if (name && !json_object_get(st->source_success, name))
			return false;
	}
	return true;
}

static void take_later(json_t **to, json_t *r)
{
	if (*to && time_of(r) <= time_of(*to))
		return;
	json_decref(*to);
	*to = json_incref(r);
}

/* Newest first; a kind is read no further than its last success. An unreadable file must not hide all the others. */
static void read_plan(const char *dir, const char *plan, const struct names *files, struct states *all)
{
	for (size_t i = files->n, budget = LOOK_BACK; i-- > 0 && budget;) {
		const char *name = files->name[i];
		struct state *st = state_of(all, plan, name + UTC_LEN + 1, kind_length(name));
		CLEAN(free_ptr) char *path = NULL;
		CLEAN(json_release) json_t *r = NULL;

		/* names tell the second: of those of one second the end decides */
		bool tie = st->name && !memcmp(name, st->name, UTC_LEN);

		if (st->last && st->success && st->complete && sources_complete(st) && !tie)
			continue;
		budget--;
		path = fs_join(dir, name);
		if (result_read(path, &r, NULL))
			continue;
		note_sources(st, r);
		note_probes(st, r);
		st->complete |= probes_complete(st, r);
		if (!st->last)
			st->name = name;
		take_later(&st->last, r);
		if (is_done(r))
			take_later(&st->success, r);
	}
}

static int read_all(const char *results_dir, struct states *ret, struct err *err)
{
	CLEAN(names_release) struct names plans = {0};
	int rc = list_dir(results_dir, str_is_id, &plans, err);

	for (size_t i = 0; !rc && i < plans.n; i++) {
		CLEAN(names_release) struct names files = {0};
		CLEAN(free_ptr) char *dir = fs_join(results_dir, plans.name[i]);

		rc = list_dir(dir, is_result, &files, err);
		if (!rc)
			read_plan(dir, plans.name[i], &files, ret);
	}
	return rc;
}

/* --- Writing --- */

struct out {
	struct buf text;
	const struct states *all;
	const char *name;
	json_t *seen; /* label sets of this metric: a second sample of one would make readers refuse the file */
	int64_t now_ms;
};

static void put_label(struct buf *b, const char *key, const char *value, const char *before)
{
	buf_addf(b, "%s%s=\"", before, key);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			buf_addf(b, "\\%c", *value);
		else if (*value == '\n')
			buf_addf(b, "\\n");
		else
			buf_add(b, value, 1);
	}
	buf_addf(b, "\"");
}

/* labels: key, value pairs, NULL-terminated; a pair without value is left out. The value is in thousandths. */
static void sample(struct out *o, int64_t thousandths, const char *const *labels)
{
	CLEAN(buf_release) struct buf set = BUF_INIT(1 << 16);
	const char *before = "";

	for (; labels[0]; labels += 2) {
		if (!labels[1])
			continue;
		put_label(&set, labels[0], labels[1], before);
		before = ",";
	}
	if (json_object_get(o->seen, buf_str(&set)))
		return;
	json_object_set_new(o->seen, buf_str(&set), json_true());
	uint64_t size = thousandths < 0 ? -(uint64_t)thousandths : (uint64_t)thousandths;
	buf_addf(&o->text, "%s{%s} %s%llu", o->name, buf_str(&set), thousandths < 0 ? "-" : "", (unsigned long long)(size / 1000));
	if (size % 1000)
		buf_addf(&o->text, ".%03llu", (unsigned long long)(size % 1000));
	buf_addf(&o->text, "\n");
}

#define LABELS(...) ((const char *const[]){__VA_ARGS__, NULL, NULL})

static void sample_of(struct out *o, const struct state *s, int64_t thousandths)
{
	sample(o, thousandths, LABELS("plan", s->plan, "kind", s->kind));
}

static const json_t *at(const json_t *j, const char *a, const char *b)
{
	j = json_object_get(j, a);
	return b ? json_object_get(j, b) : j;
}

static void last_run(struct out *o, const struct state *s)
{
	if (time_of(s->last) >= 0)
		sample_of(o, s, time_of(s->last));
}

static void last_success(struct out *o, const struct state *s)
{
	if (s->success && time_of(s->success) >= 0)
		sample_of(o, s, time_of(s->success));
}

static void source_success(struct out *o, const struct state *s)
{
	const char *name;
	json_t *ms;

	json_object_foreach (s->source_success, name, ms) {
		sample(o, json_integer_value(ms), LABELS("plan", s->plan, "kind", s->kind, "source", name));
	}
}

static void whole_number(struct out *o, const struct state *s, const json_t *v)
{
	if (json_is_integer(v))
		sample_of(o, s, json_integer_value(v) * 1000);
}

static void exit_status(struct out *o, const struct state *s)
{
	whole_number(o, s, at(s->last, "exit_status", NULL));
}

static void milliseconds(struct out *o, const struct state *s, const json_t *v)
{
	if (json_is_integer(v))
		sample_of(o, s, json_integer_value(v));
}

static void truth(struct out *o, const struct state *s, const json_t *v)
{
	if (json_is_boolean(v))
		sample_of(o, s, json_is_true(v) ? 1000 : 0);
}

static void run_duration(struct out *o, const struct state *s)
{
	milliseconds(o, s, at(s->last, "duration_ms", NULL));
}

static void drill_verified(struct out *o, const struct state *s)
{
	const json_t *sum = at(s->last, "summary", NULL);

	if (str_eq(s->kind, "drill"))
		sample(o,
		        is_done(s->last) && json_integer_value(at(sum, "checks_failed", NULL)) == 0 &&
		                        json_integer_value(at(sum, "checks_passed", NULL)) > 0
		                ? 1000
		                : 0,
		        LABELS("plan", s->plan, "scenario", json_string_value(at(s->last, "scenario", NULL))));
}

static void restore_duration(struct out *o, const struct state *s)
{
	milliseconds(o, s, at(s->last, "rto", "measured_ms"));
}

static void rto_target(struct out *o, const struct state *s)
{
	milliseconds(o, s, at(s->last, "rto", "target_ms"));
}

static void rto_met(struct out *o, const struct state *s)
{
	truth(o, s, at(s->last, "rto", "met"));
}

static void rpo(struct out *o, const struct state *s)
{
	milliseconds(o, s, at(s->last, "rpo", "measured_ms"));
}

static void rpo_worst(struct out *o, const struct state *s)
{
	milliseconds(o, s, at(s->last, "rpo", "worst_case_ms"));
}

static void rpo_target(struct out *o, const struct state *s)
{
	milliseconds(o, s, at(s->last, "rpo", "target_ms"));
}

static void rpo_met(struct out *o, const struct state *s)
{
	truth(o, s, at(s->last, "rpo", "met"));
}

static void backup_age(struct out *o, const struct state *s)
{
	if (str_eq(s->kind, "backup") && s->success && time_of(s->success) >= 0)
		sample(o, MAX(o->now_ms - time_of(s->success), 0), LABELS("plan", s->plan));
}

static void check_passed(struct out *o, const struct state *s)
{
	json_t *c;
	size_t i;

	json_array_foreach (at(s->last, "checks", NULL), i, c) {
		const char *id = json_string_value(at(c, "id", NULL)),
		           *outcome = json_string_value(at(c, "outcome", NULL));

		if (id && outcome && !str_eq(outcome, "skipped"))
			sample(o, str_eq(outcome, "passed") ? 1000 : 0,
			        LABELS("plan", s->plan, "kind", s->kind, "check", id));
	}
}

static void site_behind(struct out *o, const struct state *s)
{
	json_t *site;
	size_t i;

	json_array_foreach (at(s->last, "sites", NULL), i, site) {
		const char *name = json_string_value(at(site, "name", NULL));
		const json_t *behind = at(site, "behind", NULL);

		if (name && json_is_integer(behind))
			sample(o, json_integer_value(behind) * 1000, LABELS("plan", s->plan, "site", name));
		else if (name && json_is_boolean(behind))
			sample(o, json_is_true(behind) ? 1000 : 0, LABELS("plan", s->plan, "site", name));
	}
}

static void site_behind_age(struct out *o, const struct state *s)
{
	json_t *site;
	size_t i;

	json_array_foreach (at(s->last, "sites", NULL), i, site) {
		const char *name = json_string_value(at(site, "name", NULL));

		if (name && json_is_integer(at(site, "behind_ms", NULL)))
			sample(o, json_integer_value(at(site, "behind_ms", NULL)), LABELS("plan", s->plan, "site", name));
	}
}

static void site_class(struct out *o, const struct state *s)
{
	const char *site;
	json_t *p;

	json_object_foreach (s->site_probe, site, p) {
		const char *c = json_string_value(at(p, "class", NULL));

		if (c)
			sample(o, 1000, LABELS("plan", s->plan, "site", site, "class", c));
	}
}

/* Null is without end, which is longer than any promise. */
static void site_immutable(struct out *o, const struct state *s)
{
	const char *site;
	json_t *p;

	json_object_foreach (s->site_probe, site, p) {
		const json_t *ms = at(p, "immutable_ms", NULL), *promised = at(p, "promised_ms", NULL);

		if (json_is_integer(promised))
			sample(o, json_is_null(ms) || json_integer_value(ms) >= json_integer_value(promised) ? 1000 : 0,
			        LABELS("plan", s->plan, "site", site));
	}
}

static void each_probe(struct out *o, const struct state *s, const char *key, int64_t per_thousandth)
{
	const char *site;
	json_t *p;

	json_object_foreach (s->site_probe, site, p)
		if (json_is_integer(at(p, key, NULL)))
			sample(o, json_integer_value(at(p, key, NULL)) / per_thousandth, LABELS("plan", s->plan, "site", site));
}

static void site_locked(struct out *o, const struct state *s)
{
	each_probe(o, s, "lock_ms", 1);
}

static void site_skew(struct out *o, const struct state *s)
{
	each_probe(o, s, "skew_ms", 1);
}

static void site_round_trip(struct out *o, const struct state *s)
{
	each_probe(o, s, "round_trip_us", 1000);
}

static void processed_bytes(struct out *o, const struct state *s)
{
	whole_number(o, s, at(s->last, "bytes", "processed"));
}

static void added_bytes(struct out *o, const struct state *s)
{
	whole_number(o, s, at(s->last, "bytes", "added"));
}

static void skipped_items(struct out *o, const struct state *s)
{
	sample_of(o, s, (int64_t)json_array_size(at(s->last, "skipped", NULL)) * 1000);
}

static const struct {
	const char *name, *help;
	void (*fn)(struct out *o, const struct state *s);
} metrics[] = {
        {"holdfast_last_run_timestamp_seconds", "When the newest run of a kind ended.", last_run},
        {"holdfast_last_success_timestamp_seconds", "When the newest run of a kind that was done ended.", last_success},
        {"holdfast_source_last_success_timestamp_seconds", "When a source was last done in a run of a kind.",
                source_success},
        {"holdfast_exit_status", "Exit status of the newest run.", exit_status},
        {"holdfast_run_duration_seconds", "Duration of the newest run.", run_duration},
        {"holdfast_drill_verified", "Whether the newest drill was done with every check passed.", drill_verified},
        {"holdfast_restore_duration_seconds",
                "Measured recovery time of the newest run, between the two clocks that are compared.",
                restore_duration},
        {"holdfast_rto_target_seconds", "Recovery time objective of the plan.", rto_target},
        {"holdfast_rto_met", "Whether the recovery time was met; absent where it was not measured.", rto_met},
        {"holdfast_rpo_seconds", "Measured recovery point: age of what was restored at the moment of loss.", rpo},
        {"holdfast_rpo_worst_case_seconds", "Largest gap between committed snapshots in the cycle plus duration.",
                rpo_worst},
        {"holdfast_rpo_target_seconds", "Recovery point objective of the plan.", rpo_target},
        {"holdfast_rpo_met", "Whether the recovery point was met; absent where it was not measured.", rpo_met},
        {"holdfast_backup_age_seconds", "Age of the newest backup that was done, when this file was written.",
                backup_age},
        {"holdfast_check_passed", "Whether a check of the newest run passed.", check_passed},
        {"holdfast_site_behind", "Snapshots that a site lacks, by the newest run that looked.", site_behind},
        {"holdfast_site_behind_seconds", "Age of the newest snapshot of a site against the newest anywhere.", site_behind_age},
        {"holdfast_site_class", "What the newest probe found a site to be: locked, append-only, mutable or timed.", site_class},
        {"holdfast_site_immutable", "Whether a site keeps objects unchanged as long as the plan promises, by the newest probe.",
                site_immutable},
        {"holdfast_site_lock_seconds", "Lock that the newest probe found on a new object of a site.", site_locked},
        {"holdfast_site_clock_skew_seconds", "Clock of a site minus that of the machine that probed it.", site_skew},
        {"holdfast_site_round_trip_seconds", "Median round trip to a site in the newest probe.", site_round_trip},
        {"holdfast_processed_bytes", "Bytes read by the newest run.", processed_bytes},
        {"holdfast_added_bytes", "Bytes newly stored or written by the newest run.", added_bytes},
        {"holdfast_skipped_items", "Items that the newest run skipped.", skipped_items},
};

/* Newest first within a plan, so that where kinds tell of the same thing the newest is heard. */
static int by_plan_and_age(const void *a, const void *b)
{
	const struct state *x = a, *y = b;
	int64_t tx = time_of(x->last), ty = time_of(y->last);
	int c = strcmp(x->plan, y->plan);

	if (!c)
		c = (tx < ty) - (tx > ty);
	return c ? c : strcmp(x->kind, y->kind);
}

static void write_all(struct out *o)
{
	for (size_t i = 0; i < ARRAY_LEN(metrics); i++) {
		size_t head = o->text.len, body;

		o->name = metrics[i].name;
		o->seen = json_object();
		buf_addf(&o->text, "# HELP %s %s\n# TYPE %s gauge\n", o->name, metrics[i].help, o->name);
		body = o->text.len;
		for (size_t k = 0; k < o->all->n; k++)
			if (o->all->s[k].last)
				metrics[i].fn(o, &o->all->s[k]);
		if (o->text.len == body)
			o->text.len = head;
		json_decref(o->seen);
	}
	buf_addf(&o->text,
	        "# HELP holdfast_metrics_timestamp_seconds When this file was written.\n# TYPE "
	        "holdfast_metrics_timestamp_seconds gauge\n"
	        "holdfast_metrics_timestamp_seconds %lld\n",
	        (long long)(o->now_ms / 1000));
}

int metrics_write(const char *results_dir, const char *path, struct err *err)
{
	struct out o = {.text = BUF_INIT(METRICS_MAX), .now_ms = clock_wall_ns() / NS_PER_MS};
	CLEAN(states_release) struct states all = {0};
	CLEAN(free_ptr) char *dir = xstrdup(path), *lock = NULL;
	CLEAN(close_fd) int lock_fd = -1;
	char *slash = strrchr(dir, '/');
	int rc = 0;

	if (slash && slash != dir) {
		*slash = 0;
		rc = fs_mkdirs(dir, 0755, err);
	}
	/* Read and write under one lock: the last writer must not have read before another run's result. */
	BUG_ON(asprintf(&lock, "%s.lock", path) < 0);
	if (!rc)
		rc = lock_wait(lock, LOCK_WAIT_MS, &lock_fd, err);
	if (!rc)
		rc = read_all(results_dir, &all, err);
	if (rc)
		return rc;
	if (all.n)
		qsort(all.s, all.n, sizeof(*all.s), by_plan_and_age);
	o.all = &all;
	write_all(&o);
	rc = fs_replace(path, o.text.p, o.text.len, 0644, err);
	buf_release(&o.text);
	return rc;
}
