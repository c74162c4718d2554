#include "cli/cli.h"
#include "cli/render.h"

#include <string.h>

#include "base/mem.h"

/* Names of the sites that hold it, in one cell. */
static void sites_text(char *out, size_t n, const json_t *sites)
{
	size_t i, len = 0;
	json_t *v;

	out[0] = 0;
	json_array_foreach (sites, i, v) {
		const char *name = json_is_string(v) ? json_string_value(v) : render_str(v, "name");
		if (len + 2 < n)
			len += (size_t)snprintf(out + len, n - len, "%s%s", len ? " " : "", name ? name : "?");
	}
}

static void snapshot_row(struct run *r, const json_t *s)
{
	char seq[RENDER_TEXT], files[RENDER_TEXT], bytes[RENDER_TEXT], added[RENDER_TEXT], skipped[RENDER_TEXT];
	char time[RENDER_TEXT], id[16], sites[256];
	const char *full = render_str(s, "id");

	snprintf(id, sizeof id, "%.12s", full ? full : "");
	sites_text(sites, sizeof sites, json_object_get(s, "sites"));
	table_row(&r->table, render_str(s, "source"), render_count(seq, s, "seq"), id,
	        render_time(time, render_str(s, "time")), render_count(files, s, "files"),
	        render_size(bytes, s, "bytes"), render_size(added, s, "added"), render_count(skipped, s, "skipped"),
	        sites);
}

int cmd_snapshots(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = NULL;
	struct job_select sel;

	if (run_open(&r, c, c->args->operand[0], err))
		return cli_fail(err);
	r.line = snapshot_row;
	table_begin(&r.table, 9, "SOURCE", "SEQ>", "ID", "TIME (UTC)", "FILES>", "SIZE>", "NEW>", "SKIPPED>", "SITES");
	run_select(c, &sel);
	int status = job_snapshots(&r.job, &sel, &result, err);
	return run_finish(&r, status, result, NULL, err);
}
