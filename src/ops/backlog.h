/*
 * How far each site is behind. The truth is at the sites; what was last seen of each is kept beside the state as a hint, so that it
 * is known of one that cannot be asked, through any number of runs.
 *
 *   CLEAN(backlog_close) struct backlog *b = backlog_open(j);
 *   backlog_survey(b, &sites, &cfg, "docs", &err)  or  backlog_committed(), backlog_missed()
 *   row = backlog_json(b, "north");
 */
#ifndef OPS_BACKLOG_H
#define OPS_BACKLOG_H

#include "job/common.h"

struct backlog_row { /* of one source at one site */
	int64_t behind;      /* snapshots that another site has and this one lacks; -1: not known */
	uint64_t newest_seq; /* 0: it has none */
	int64_t newest_ns;   /* when the newest was begun, or received; 0: not known */
	int64_t asked_ns;    /* when the site was asked last; 0: never */
};
struct backlog;
struct backlog *backlog_open(const struct job *j);
void backlog_close(struct backlog **b); /* keeps the hint, but for a dry run */
/* Ask every site that is open what it has of a source; of the others the last known counts. */
int backlog_survey(struct backlog *b, const struct sites *sites, const struct cfg *cfg, const char *source, struct err *err) HF_NODISCARD;
/* The site has everything of a source up to this snapshot. */
void backlog_committed(struct backlog *b, const char *site, const char *source, uint64_t seq, int64_t start_ns);
/* A snapshot was committed elsewhere. */
void backlog_missed(struct backlog *b, const char *site, const char *source);
struct backlog_row backlog_get(const struct backlog *b, const char *site, const char *source);
/* How much older the newest of a source at this site is than the newest anywhere, in ms; -1: not known, 0 when not behind. */
int64_t backlog_age_ms(const struct backlog *b, const char *site, const char *source);
/* Snapshots of a source at all sites together, by the last survey. */
size_t backlog_snapshots(const struct backlog *b, const char *source);
/* {behind, behind_ms} of all sources together, null where it is not known: the members of a site in a result. */
json_t *backlog_json(const struct backlog *b, const char *site);

#endif
