#include "cli/cli.h"
#include "cli/render.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

static char type_letter(const char *type)
{
	static const struct {
		const char *type;
		char letter;
	} row[] = {{"dir", 'd'}, {"directory", 'd'}, {"symlink", 'l'}, {"hardlink", 'h'}, {"link", 'h'}, {"fifo", 'p'},
	        {"char", 'c'}, {"block", 'b'}, {"socket", 's'}};

	for (size_t i = 0; i < ARRAY_LEN(row); i++)
		if (str_eq(row[i].type, type))
			return row[i].letter;
	return '-';
}

static void mode_text(char out[11], const char *type, int64_t mode)
{
	static const char rwx[] = "rwxrwxrwx";

	out[0] = type_letter(type);
	for (int i = 0; i < 9; i++)
		out[i + 1] = mode & (0400 >> i) ? rwx[i] : '-';
	if (mode & S_ISUID)
		out[3] = out[3] == 'x' ? 's' : 'S';
	if (mode & S_ISGID)
		out[6] = out[6] == 'x' ? 's' : 'S';
	if (mode & S_ISVTX)
		out[9] = out[9] == 'x' ? 't' : 'T';
	out[10] = 0;
}

/* The name, or the number where the snapshot knows no name. */
static const char *owner(char out[RENDER_TEXT], const json_t *e, const char *name_key, const char *id_key)
{
	const char *name = render_str(e, name_key);

	if (!name || !*name)
		return render_count(out, e, id_key);
	log_safe(out, RENDER_TEXT, name);
	return out;
}

/* A listing may have millions of lines, so that they are printed as they come, in columns of a fixed width. */
static void entry_line(struct run *r, const json_t *e)
{
	const char *path = render_str(e, "path"), *link = render_str(e, "link"), *mode_str = render_str(e, "mode");
	char mode[11], user[RENDER_TEXT], group[RENDER_TEXT], size[RENDER_TEXT], time[RENDER_TEXT];
	CLEAN(free_ptr) char *safe_path = term_safe(path ? path : "?");
	CLEAN(free_ptr) char *safe_link = term_safe(link ? link : "");
	int64_t bits = mode_str ? (int64_t)strtoul(mode_str, NULL, 8) : render_int(e, "mode", 0);
	const char *u = owner(user, e, "user", "uid"), *g = owner(group, e, "group", "gid");
	const char *s = render_size(size, e, "size"), *t = render_time(time, render_str(e, "mtime"));

	mode_text(mode, render_str(e, "type"), bits);
	fprintf(r->c->out, "%s %-8s %-8s %10s %19s %s%s%s\n", mode, u ? u : "-", g ? g : "-", s ? s : "-", t ? t : "-",
	        safe_path, *safe_link ? " -> " : "", safe_link);
}

int cmd_ls(struct cli *c, struct err *err)
{
	CLEAN(run_release) struct run r = {0};
	CLEAN(json_release) json_t *result = NULL;
	struct job_select sel;

	if (run_open(&r, c, c->args->operand[0], err))
		return cli_fail(err);
	r.line = entry_line;
	run_select(c, &sel);
	int status = job_ls(&r.job, &sel, run_paths(c), &result, err);
	return run_finish(&r, status, result, NULL, err);
}
