#include "plan/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define LINE_SHOWN 200 /* bytes of a source line that are kept */

/* The line of the file a place is in: minified plans have long ones, so only their beginning is kept. */
static char *line_of(const struct loader *l, int line)
{
	const char *p = l->text, *end = l->text + l->len;
	for (int i = 1; p && i < line; i++) {
		p = memchr(p, '\n', (size_t)(end - p));
		p = p ? p + 1 : NULL;
	}
	if (!p || line < 1)
		return NULL;
	const char *stop = memchr(p, '\n', (size_t)(end - p));
	size_t n = (size_t)((stop ? stop : end) - p);
	if (n > 0 && p[n - 1] == '\r')
		n--;
	return xstrndup(p, MIN(n, (size_t)LINE_SHOWN));
}

static void HF_PRINTF(4, 0) add(struct loader *l, struct plan_diag head, const char *hint, const char *fmt, va_list ap)
{
	struct plan_diags *d = l->diags;
	if (head.severity == PLAN_ERROR)
		d->n_errors++;
	if (d->n >= PLAN_DIAGS_MAX) {
		d->n_dropped++;
		return;
	}
	d->v = xgrow(d->v, d->n, &d->cap, sizeof(*d->v));
	struct plan_diag *x = &d->v[d->n++];
	*x = head;
	BUG_ON(vasprintf(&x->message, fmt, ap) < 0);
	x->hint = hint ? xstrdup(hint) : NULL;
	x->text = head.secret ? NULL : line_of(l, head.at.line);
}

void diag_add(struct loader *l, enum plan_severity sev, struct plan_place at, const char *hint, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	add(l, (struct plan_diag){.at = at, .severity = sev}, hint, fmt, ap);
	va_end(ap);
}

void diag_secret(struct loader *l, struct plan_place at, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	add(l, (struct plan_diag){.at = at, .severity = PLAN_ERROR, .secret = true},
	        "name the secret: file:/PATH, env:NAME or systemd-credential:NAME", fmt, ap);
	va_end(ap);
}

const char *diag_near(const struct loader *l, const char *text, const char *const *names)
{
	if (l->diags->n >= PLAN_DIAGS_MAX || strlen(text) > 64)
		return NULL;
	const char *near = str_nearest(text, names);
	return near ? arena_fmt(l->arena, "did you mean '%s'?", near) : NULL;
}

static bool before(const struct plan_place *a, const struct plan_place *b)
{
	return a->line < b->line || (a->line == b->line && a->col <= b->col);
}

void diags_finish(struct plan_diags *d)
{
	/* Stable insertion: there are few, and nearly in order. */
	for (size_t i = 1; i < d->n; i++) {
		struct plan_diag x = d->v[i];
		size_t j = i;
		for (; j > 0 && !before(&d->v[j - 1].at, &x.at); j--)
			d->v[j] = d->v[j - 1];
		d->v[j] = x;
	}
	for (size_t i = 0; i < d->n; i++) {
		for (size_t j = 0; d->v[i].secret && j < d->n; j++) {
			if (d->v[j].at.line == d->v[i].at.line) {
				free(d->v[j].text);
				d->v[j].text = NULL;
			}
		}
	}
}

void plan_diags_release(struct plan_diags *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->v[i].message);
		free(d->v[i].hint);
		free(d->v[i].text);
	}
	free(d->v);
	free(d->file);
	*d = (struct plan_diags)PLAN_DIAGS_INIT;
}

static bool is_lead(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

/* Spaces up to the caret, with the line's own tabs so that it stands under its character. */
static int put_caret(const struct plan_diag *x, struct buf *out, struct err *err)
{
	const char *s = x->text;
	for (int col = 1; col < x->at.col && *s; col++) {
		int rc = buf_put(out, *s == '\t' ? "\t" : " ", 1, err);
		if (rc)
			return rc;
		do
			s++;
		while (*s && !is_lead(*s));
	}
	return buf_put(out, "^\n", 2, err);
}

static int print_one(const struct plan_diags *d, const struct plan_diag *x, struct buf *out, struct err *err)
{
	char msg[1024], hint[512], line[LINE_SHOWN * 4 + 4];
	log_safe(msg, sizeof(msg), x->message);
	int rc = buf_printf(out, err, "%s:", d->file ? d->file : "plan");
	if (!rc && x->at.line)
		rc = buf_printf(out, err, "%d:%d:", x->at.line, x->at.col);
	if (!rc)
		rc = buf_printf(out, err, " %s: %s", x->severity == PLAN_ERROR ? "error" : "warning", msg);
	if (!rc && x->hint)
		rc = buf_printf(out, err, " (%s)", log_safe(hint, sizeof(hint), x->hint));
	if (!rc)
		rc = buf_put(out, "\n", 1, err);
	if (rc || !x->text)
		return rc;
	bool plain = true;
	for (const char *s = x->text; *s; s++)
		plain = plain && ((unsigned char)*s >= 0x20 || *s == '\t') && *s != 0x7f;
	size_t n_chars = 0;
	for (const char *s = x->text; *s; s++)
		n_chars += is_lead(*s);
	/* A line that has to be escaped, or that was cut before the place, gets no caret: it would point elsewhere. */
	bool caret = plain && str_is_utf8(x->text, strlen(x->text)) && (size_t)x->at.col <= n_chars + 1;
	rc = buf_printf(out, err, "  %s\n", caret ? x->text : log_safe(line, sizeof(line), x->text));
	if (!rc && caret)
		rc = buf_put(out, "  ", 2, err);
	return !rc && caret ? put_caret(x, out, err) : rc;
}

int plan_diags_print(const struct plan_diags *d, struct buf *out, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; !rc && i < d->n; i++)
		rc = print_one(d, &d->v[i], out, err);
	if (rc)
		return rc;
	return d->n_dropped ? buf_printf(out, err, "%s: %zu more not shown\n", d->file ? d->file : "plan", d->n_dropped)
	                    : 0;
}

json_t *plan_diags_json(const struct plan_diags *d)
{
	json_t *a = json_array();
	for (size_t i = 0; i < d->n; i++) {
		const struct plan_diag *x = &d->v[i];
		json_t *o = json_pack("{s:s, s:i, s:i, s:s}", "file", d->file ? d->file : "plan", "line", x->at.line,
		        "col", x->at.col, "severity", x->severity == PLAN_ERROR ? "error" : "warning");
		char msg[1024], hint[512];
		json_object_set_new(o, "message", json_string(log_safe(msg, sizeof(msg), x->message)));
		json_object_set_new(
		        o, "hint", x->hint ? json_string(log_safe(hint, sizeof(hint), x->hint)) : json_null());
		json_array_append_new(a, o);
	}
	return a;
}
