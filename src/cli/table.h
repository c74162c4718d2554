/*
 * Tables with aligned columns: rows are kept until the table is printed, as the widths depend on all of them.
 *
 *   CLEAN(table_release) struct table t = {0};
 *   table_begin(&t, 3, "SOURCE", "SEQ>", "TIME");        a title that ends in '>' aligns its column to the right
 *   table_row(&t, "docs", "12", "2026-03-31");           text is made safe for terminals here
 *   table_print(&t, stdout, 2);
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#define TABLE_COLUMNS 12

struct table {
	size_t n_columns;
	char *title[TABLE_COLUMNS]; /* all "": no line of titles */
	bool right[TABLE_COLUMNS];
	char **cell; /* n_rows * n_columns */
	size_t n_cells, cap_cells;
};
/* n titles of type const char *. */
void table_begin(struct table *t, size_t n, ...);
/* As many const char * as there are columns; NULL shows as "-". */
void table_row(struct table *t, ...);
size_t table_rows(const struct table *t);
/* Columns that are empty in every row are left out. No space at the end of a line. */
void table_print(const struct table *t, FILE *out, unsigned indent);
void table_release(struct table *t);

#endif
