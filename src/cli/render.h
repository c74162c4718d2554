/*
 * Results for people. The JSON comes from jobs; a member that is missing or null is left out, never guessed.
 */
#ifndef CLI_RENDER_H
#define CLI_RENDER_H

#include "cli/cli.h"

/* Members of a JSON object: NULL, fallback or false when missing or of another type. */
const char *render_str(const json_t *o, const char *key);
/* Name of the plan a result is about. */
const char *render_plan(const json_t *result);
int64_t render_int(const json_t *o, const char *key, int64_t fallback);
bool render_true(const json_t *o, const char *key);

#define RENDER_TEXT 64
/* "2026-03-31 10:11:12" of RFC 3339 text in UTC; NULL stays NULL. */
const char *render_time(char out[RENDER_TEXT], const char *rfc3339);
/* Human text of a member, NULL when it is missing. */
const char *render_size(char out[RENDER_TEXT], const json_t *o, const char *key);
const char *render_ms(char out[RENDER_TEXT], const json_t *o, const char *key);
const char *render_count(char out[RENDER_TEXT], const json_t *o, const char *key);
/* "3 h ago" of RFC 3339 text, NULL when there is none. */
const char *render_ago(char out[RENDER_TEXT], const char *rfc3339, int64_t now_ns);

/* Any JSON as indented lines "name: value"; sizes, durations and times are made readable by the ends of their names. */
void render_tree(struct cli *c, const json_t *j, unsigned indent);
/* A whole result that way. */
void render_tree_result(struct cli *c, const json_t *result);
/* A heading, in bold where the terminal can. */
void render_heading(struct cli *c, const char *text);
/* "ok", "FAILED" or "skipped", as a coloured sign on a terminal with UTF-8. */
void render_mark(struct cli *c, const char *outcome);
/* Result of a backup, replicate, restore, export or verify. */
void render_result(struct cli *c, const json_t *result);
/* Result of a drill: times against targets, slowest path, steps, checks, and where the rest lies. */
void render_drill(struct cli *c, const json_t *result);
/* The lists that every result may have: sources, sites, skipped items, deviations, findings, what it does not show. */
void render_lists(struct cli *c, const json_t *result);

#endif
