#include "cli/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/term.h"

void table_begin(struct table *t, size_t n, ...)
{
	va_list ap;

	BUG_ON(n == 0 || n > TABLE_COLUMNS);
	*t = (struct table){.n_columns = n};
	va_start(ap, n);
	for (size_t i = 0; i < n; i++) {
		const char *title = va_arg(ap, const char *);
		size_t len = strlen(title);
		t->right[i] = len && title[len - 1] == '>';
		t->title[i] = xstrndup(title, len - t->right[i]);
	}
	va_end(ap);
}

void table_row(struct table *t, ...)
{
	va_list ap;

	va_start(ap, t);
	for (size_t i = 0; i < t->n_columns; i++) {
		const char *text = va_arg(ap, const char *);
		t->cell = xgrow(t->cell, t->n_cells, &t->cap_cells, sizeof *t->cell);
		t->cell[t->n_cells++] = text ? term_safe(text) : xstrdup("-");
	}
	va_end(ap);
}

size_t table_rows(const struct table *t)
{
	return t->n_columns ? t->n_cells / t->n_columns : 0;
}

/* Width of column i, 0 when every cell is empty. */
static size_t column_width(const struct table *t, size_t i)
{
	size_t width = 0;

	for (size_t k = i; k < t->n_cells; k += t->n_columns)
		width = MAX(width, term_columns(t->cell[k]));
	return width ? MAX(width, term_columns(t->title[i])) : 0;
}

static void print_line(const struct table *t, char *const *cell, const size_t *width, unsigned indent, FILE *out)
{
	size_t owed = indent;

	for (size_t i = 0; i < t->n_columns; i++) {
		if (!width[i])
			continue;
		size_t pad = width[i] - MIN(width[i], term_columns(cell[i]));
		if (t->right[i])
			owed += pad;
		if (cell[i][0]) {
			fprintf(out, "%*s%s", (int)owed, "", cell[i]);
			owed = 0;
		}
		owed += 2 + (t->right[i] ? 0 : pad);
	}
	fputc('\n', out);
}

void table_print(const struct table *t, FILE *out, unsigned indent)
{
	size_t width[TABLE_COLUMNS];
	bool titles = false;

	if (t->n_cells == 0)
		return;
	for (size_t i = 0; i < t->n_columns; i++) {
		width[i] = column_width(t, i);
		titles = titles || t->title[i][0];
	}
	if (titles)
		print_line(t, t->title, width, indent, out);
	for (size_t k = 0; k < t->n_cells; k += t->n_columns)
		print_line(t, t->cell + k, width, indent, out);
}

void table_release(struct table *t)
{
	for (size_t i = 0; i < t->n_columns; i++)
		free(t->title[i]);
	for (size_t k = 0; k < t->n_cells; k++)
		free(t->cell[k]);
	free(t->cell);
	*t = (struct table){0};
}
