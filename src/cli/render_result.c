#include "cli/render.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define SHOWN_MAX 20

static void render_sources(struct cli *c, const json_t *list)
{
	CLEAN(table_release) struct table t = {0};
	size_t i;
	json_t *s;
	char seq[RENDER_TEXT], files[RENDER_TEXT], bytes[RENDER_TEXT], added[RENDER_TEXT], skipped[RENDER_TEXT], id[16];

	table_begin(&t, 8, "SOURCE", "OUTCOME", "SEQ>", "SNAPSHOT", "FILES>", "SIZE>", "NEW>", "SKIPPED>");
	json_array_foreach (list, i, s) {
		const char *snapshot = render_str(s, "snapshot");
		snprintf(id, sizeof id, "%.12s", snapshot ? snapshot : "");
		table_row(&t, render_str(s, "name"), render_str(s, "outcome"), render_count(seq, s, "seq"), id,
		        render_count(files, s, "files"), render_size(bytes, s, "bytes"),
		        render_size(added, s, "added_bytes"), render_count(skipped, s, "skipped"));
	}
	table_print(&t, c->out, 2);
}

static void render_sites(struct cli *c, const json_t *list)
{
	CLEAN(table_release) struct table t = {0};
	size_t i;
	json_t *s;
	char served[RENDER_TEXT], behind[RENDER_TEXT], bad[RENDER_TEXT];

	table_begin(&t, 6, "SITE", "OUTCOME", "BEHIND>", "SERVED>", "DAMAGED>", "");
	json_array_foreach (list, i, s) {
		size_t n_bad = json_array_size(json_object_get(s, "bad"));
		const char *error = render_str(s, "error");
		const json_t *late = json_object_get(s, "behind");
		bool flag = json_is_boolean(late);
		bad[0] = 0;
		if (n_bad)
			snprintf(bad, sizeof bad, "%zu", n_bad);
		table_row(&t, render_str(s, "name"), render_str(s, "outcome"),
		        flag ? (json_is_true(late) ? "yes" : "") : render_count(behind, s, "behind"),
		        render_size(served, s, "served_bytes"), bad, error ? error : "");
	}
	table_print(&t, c->out, 2);
}

static void render_skipped(struct cli *c, const json_t *list)
{
	size_t n = json_array_size(list);

	for (size_t i = 0; i < n && i < SHOWN_MAX; i++) {
		const json_t *s = json_array_get(list, i);
		const char *path = render_str(s, "path"), *source = render_str(s, "source"),
		           *why = render_str(s, "reason");
		CLEAN(free_ptr) char *safe_path = term_safe(path ? path : "?");
		CLEAN(free_ptr) char *safe_source = term_safe(source ? source : "");
		CLEAN(free_ptr) char *safe_why = term_safe(why ? why : "");
		fprintf(c->out, "  %s%s%s  %s\n", safe_source, *safe_source ? ": " : "", safe_path, safe_why);
	}
	if (n > SHOWN_MAX)
		fprintf(c->out, "  and %zu more; the result file lists them all\n", n - SHOWN_MAX);
}

static void render_findings(struct cli *c, const json_t *list)
{
	CLEAN(table_release) struct table t = {0};
	size_t i;
	json_t *f;

	table_begin(&t, 4, "FINDING", "SEVERITY", "OWNER", "DUE");
	json_array_foreach (list, i, f) {
		const char *due = render_str(f, "due"), *owner = render_str(f, "owner");
		char date[RENDER_TEXT];
		snprintf(date, sizeof date, "%.10s", due ? due : "");
		table_row(&t, render_str(f, "title"), render_str(f, "severity"), owner ? owner : "", date);
	}
	table_print(&t, c->out, 2);
}

static void render_texts(struct cli *c, const json_t *list)
{
	size_t i;
	json_t *v;

	json_array_foreach (list, i, v) {
		const char *text = json_string_value(v);
		CLEAN(free_ptr) char *safe = term_safe(text ? text : "?");
		fprintf(c->out, "  %s\n", safe);
	}
}

void render_lists(struct cli *c, const json_t *result)
{
	static const struct {
		const char *key, *title;
		void (*show)(struct cli *c, const json_t *list);
	} part[] = {
	        {"sources", "sources", render_sources},
	        {"sites", "sites", render_sites},
	        {"skipped", "skipped", render_skipped},
	        {"deviations", "deviations from the runbook", render_texts},
	        {"findings", "findings", render_findings},
	        {"not_shown", "what this does not show", render_texts},
	};

	for (size_t i = 0; i < ARRAY_LEN(part); i++) {
		const json_t *list = json_object_get(result, part[i].key);
		if (json_array_size(list) == 0)
			continue;
		fputc('\n', c->out);
		render_heading(c, part[i].title);
		part[i].show(c, list);
	}
}

/* "  two, files: put again: 2 packs, 1 keys" and what could not be. */
static void render_repaired(struct cli *c, const json_t *copy)
{
	static const char *const brought[] = {"snapshots", "packs", "index_objects", "configurations", "keys", "envelopes", "copies", "receipts", "expiries", "mended"};
	const json_t *repaired = json_object_get(copy, "repaired");
	const char *left = render_str(repaired, "left");
	bool any = false;

	if (!repaired)
		return;
	fprintf(c->out, "  %s, %s: put again:", render_str(copy, "site"), render_str(copy, "source"));
	for (size_t i = 0; i < ARRAY_LEN(brought); i++) {
		int64_t n = render_int(repaired, brought[i], 0);
		if (n > 0)
			fprintf(c->out, "%s %" PRId64 " %s", any ? "," : "", n, str_eq(brought[i], "index_objects") ? "index objects" : brought[i]);
		any |= n > 0;
	}
	fputs(any ? "\n" : " nothing\n", c->out);
	if (left) {
		CLEAN(free_ptr) char *safe = term_safe(left);
		fprintf(c->out, "  %s, %s: not repaired: %s\n", render_str(copy, "site"), render_str(copy, "source"), safe);
	}
}

/* One row a site and source of a verify; findings below. */
static void render_copies(struct cli *c, const json_t *list)
{
	CLEAN(table_release) struct table t = {0};
	size_t i, k;
	json_t *v, *f;
	char packs[RENDER_TEXT], bytes[RENDER_TEXT], chunks[RENDER_TEXT], snaps[RENDER_TEXT], broken[RENDER_TEXT], missing[RENDER_TEXT], corrupt[RENDER_TEXT];

	table_begin(&t, 10, "SITE", "SOURCE", "OUTCOME", "PACKS>", "SIZE>", "CHUNKS OPENED>", "SNAPSHOTS>", "BROKEN>", "MISSING>", "DAMAGED>");
	json_array_foreach (list, i, v)
		table_row(&t, render_str(v, "site"), render_str(v, "source"), render_str(v, "outcome"), render_count(packs, v, "packs"), render_size(bytes, v, "bytes"),
		        render_count(chunks, v, "chunks"), render_count(snaps, v, "snapshots"), render_count(broken, v, "snapshots_broken"), render_count(missing, v, "missing"),
		        render_count(corrupt, v, "corrupt"));
	table_print(&t, c->out, 2);
	json_array_foreach (list, i, v) {
		render_repaired(c, v);
		json_array_foreach (json_object_get(v, "findings"), k, f) {
			const char *object = render_str(f, "object"), *what = render_str(f, "what");
			CLEAN(free_ptr) char *safe_object = term_safe(object ? object : "?");
			CLEAN(free_ptr) char *safe_what = term_safe(what ? what : "");
			if (k < SHOWN_MAX)
				fprintf(c->out, "  %s: %s: %s\n", render_str(v, "site"), safe_object, safe_what);
		}
	}
}

/* "backup of demo: done in 3 s, 1.2 GiB read, 3.4 MiB new" */
void render_result(struct cli *c, const json_t *result)
{
	const char *kind = render_str(result, "kind"), *plan = render_plan(result),
	           *outcome = render_str(result, "outcome");
	const json_t *bytes = json_object_get(result, "bytes");
	char took[RENDER_TEXT], read[RENDER_TEXT], added[RENDER_TEXT];

	if (!kind || !outcome) { /* not a result of the schema: show what there is */
		render_tree(c, result, 0);
		return;
	}
	CLEAN(free_ptr) char *safe_plan = term_safe(plan ? plan : "?");
	CLEAN(free_ptr) char *safe_outcome = term_safe(outcome);
	fprintf(c->out, "%s of %s: %s", kind, safe_plan, safe_outcome);
	if (render_ms(took, result, "duration_ms"))
		fprintf(c->out, " in %s", took);
	if (render_size(read, bytes, "processed"))
		fprintf(c->out, ", %s read", read);
	if (render_size(added, bytes, "added"))
		fprintf(c->out, ", %s new", added);
	fputc('\n', c->out);
	render_lists(c, result);
	CLEAN(json_release) json_t *extra = json_copy(json_object_get(result, "extra"));
	const json_t *copies = json_object_get(extra, "copies");
	if (json_array_size(copies)) {
		fputc('\n', c->out);
		render_heading(c, "copies");
		render_copies(c, copies);
		json_object_del(extra, "copies");
	}
	json_object_del(extra, "error"); /* said below, as every command says its error */
	if (json_object_size(extra)) {
		fputc('\n', c->out);
		render_tree(c, extra, 0);
	}
}
