/* What a runbook restores from: readers, snapshots of one run, and what sites did. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "drill/book.h"

#define CYCLE_NS (30 * 86400 * INT64_C(1000000000))
#define NS_PER_MS 1000000

struct book_source *book_source(struct book *b, const char *name)
{
	for (size_t i = 0; i < b->n_src; i++)
		if (str_eq(b->src[i].ps->name, name))
			return &b->src[i];
	return NULL;
}

static void want(struct book *b, const char *name)
{
	const struct plan_source *ps = name ? plan_source(b->job.plan, name) : NULL;
	if (ps && !book_source(b, name))
		b->src[b->n_src++].ps = ps;
}

/* --- one run --- */

static const struct reader_snapshot *of_run(struct book_source *s, const char *run)
{
	const struct reader_snapshot *all = NULL, *found = NULL;
	size_t n = 0;
	if (reader_snapshots(s->r.reader, &all, &n, NULL))
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (!found && str_eq(all[i].snap.facts.run, run))
			found = &all[i];
	return found;
}

/* Newest run that copied every source; data sets of different moments may not agree with each other. */
static bool choose_run(struct book *b)
{
	const struct reader_snapshot *all;
	struct book_source *first = NULL;
	size_t n = 0;
	for (size_t i = 0; i < b->n_src && !first; i++)
		first = b->src[i].open ? &b->src[i] : NULL;
	if (!first || reader_snapshots(first->r.reader, &all, &n, NULL))
		return true;
	while (n-- > 0) {
		bool common = true;
		for (size_t i = 0; common && i < b->n_src; i++)
			common = !b->src[i].open || of_run(&b->src[i], all[n].snap.facts.run);
		if (!common)
			continue;
		for (size_t i = 0; i < b->n_src; i++)
			if (b->src[i].open)
				b->src[i].snap = of_run(&b->src[i], all[n].snap.facts.run);
		return true;
	}
	return false;
}

static void note(struct book *b, const char *text)
{
	json_t *o = json_pack("{s:s}", "t", "note");
	json_object_set_new(o, "text", report_text(text));
	report_send(b->self->report, o);
}

static void choose(struct book *b)
{
	bool older = false;
	const struct reader_snapshot **latest = xcalloc(b->n_src + 1, sizeof *latest);
	for (size_t i = 0; i < b->n_src; i++)
		latest[i] = b->src[i].snap;
	if (!choose_run(b))
		note(b, "that data sets fit together: no run has copied all of them, so each was restored from its own "
		        "newest snapshot");
	for (size_t i = 0; i < b->n_src; i++)
		older = older || latest[i] != b->src[i].snap;
	if (older)
		note(b, "the newest snapshot of every source: the newest run that copied all of them was restored");
	free(latest);
}

static int open_source(struct book *b, struct book_source *s)
{
	int rc = recover_open(
	        &b->job, &(struct recover_opts){.purpose = RELEASE_DRILL, .source = s->ps->name, .site = b->d->site}, &s->r, &s->why);
	if (rc)
		return rc;
	rc = reader_select(s->r.reader, "latest", &s->snap, &s->why);
	s->open = !rc;
	return rc;
}

void book_sources_open(struct book *b)
{
	const struct plan_recovery *r = b->job.plan->recovery;
	bool released = false;
	b->src = xcalloc(r->n_steps + r->n_checks + 1, sizeof *b->src);
	for (size_t i = 0; i < r->n_steps; i++)
		want(b, r->steps[i].restore);
	for (size_t i = 0; i < r->n_checks; i++)
		want(b, r->checks[i].of);
	for (size_t i = 0; i < b->n_src; i++) {
		(void)open_source(b, &b->src[i]);
		if (released || !b->src[i].r.key.priv.p)
			continue;
		json_t *o = json_pack("{s:s, s:s}", "t", "point", "point", "key-released");
		report_now(o, "at");
		report_send(b->self->report, o);
		released = true;
	}
	for (size_t i = 0; i < r->n_steps; i++)
		b->step[i].source = book_source(b, r->steps[i].restore);
	choose(b);
}

void book_sources_close(struct book *b)
{
	for (size_t i = 0; i < b->n_src; i++)
		recover_close(&b->src[i].r);
	free(b->src);
}

/* --- what is told --- */

/* Largest time between the starts of neighbouring snapshots in the cycle, and the longest run; -1: fewer than two. */
static int64_t worst_case_ms(const struct reader_snapshot *all, size_t n, int64_t since)
{
	int64_t gap = -1, longest = 0, before = 0;
	for (size_t i = 0; i < n; i++) {
		const struct snapshot_facts *f = &all[i].snap.facts;
		if (f->start < since)
			continue;
		if (before)
			gap = MAX(gap, f->start - before);
		longest = MAX(longest, f->end - f->start);
		before = f->start;
	}
	return gap < 0 ? -1 : (gap + longest) / NS_PER_MS;
}

static void report_source(struct book *b, const struct book_source *s)
{
	const struct reader_snapshot *all;
	size_t n = 0;
	CLEAN(json_release) json_t *proofs = recover_proofs(&b->job, s->snap);
	const struct snapshot *snap = &s->snap->snap;
	bool host = false, others = false;
	size_t i;
	json_t *v;
	json_array_foreach (proofs, i, v) {
		host = host || str_eq(json_string_value(v), "host");
		others = others || str_eq(json_string_value(v), "other-sites");
	}
	int64_t worst = reader_snapshots(s->r.reader, &all, &n, NULL)
	                        ? -1
	                        : worst_case_ms(all, n, b->d->declared_ns - CYCLE_NS);
	json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:b}", "t", "source", "name", s->ps->name,
	        "seq", (json_int_t)snap->seq, "files", (json_int_t)snap->facts.files, "bytes",
	        (json_int_t)snap->facts.bytes, "start", (json_int_t)(snap->facts.start / 1000), "worst_case_ms",
	        (json_int_t)worst, "run", snap->facts.run, "host", host, "others", others);
	json_object_set_new(o, "snapshot", json_hex(snap->digest, ID_LEN));
	report_send(b->self->report, o);
}

void book_sources_report(struct book *b)
{
	for (size_t i = 0; i < b->n_src; i++)
		if (b->src[i].open)
			report_source(b, &b->src[i]);
}

struct site_sum {
	uint64_t bytes, bad;
	const char *first_bad;
	bool reached;
	const char *error;
};

static void add_site(const struct book_source *s, const char *name, struct site_sum *sum)
{
	for (size_t i = 0; i < s->r.n_rs; i++) {
		const struct reader_site *rs = &s->r.rs[i];
		if (!str_eq(rs->name, name))
			continue;
		sum->reached = true;
		sum->bytes += rs->bytes;
		sum->bad += rs->bad;
		if (!sum->first_bad && rs->first_bad[0])
			sum->first_bad = rs->first_bad;
	}
	for (size_t i = 0; i < s->r.sites.n; i++)
		if (str_eq(s->r.sites.site[i].name, name) && s->r.sites.site[i].err.msg[0])
			sum->error = s->r.sites.site[i].err.msg;
}

void book_sites_report(struct book *b)
{
	const struct plan *p = b->job.plan;
	for (size_t k = 0; k < p->n_sites; k++) {
		struct site_sum sum = {0};
		if (b->d->site && !str_eq(b->d->site, p->sites[k].name))
			continue;
		for (size_t i = 0; i < b->n_src; i++)
			add_site(&b->src[i], p->sites[k].name, &sum);
		for (size_t i = 0; !sum.reached && !sum.error && i < b->n_src; i++)
			sum.error = strstr(b->src[i].why.msg, p->sites[k].name) ? b->src[i].why.msg : NULL;
		json_t *bad = json_array();
		if (sum.first_bad)
			json_array_append_new(bad, report_text(sum.first_bad));
		json_t *o =
		        json_pack("{s:s, s:s, s:s, s:I, s:I, s:o}", "t", "site", "name", p->sites[k].name, "outcome",
		                !sum.reached ? "unreachable"
		                : sum.bad    ? "damaged"
		                : sum.bytes  ? "served"
		                             : "unused",
		                "served_bytes", (json_int_t)sum.bytes, "bad_objects", (json_int_t)sum.bad, "bad", bad);
		if (!sum.reached)
			json_object_set_new(o, "error", report_text(sum.error ? sum.error : "it could not be asked"));
		report_send(b->self->report, o);
	}
}
