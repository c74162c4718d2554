/*
 * Sites that are behind brought up to date from those that are not, for jobs.
 */
#ifndef OPS_REPLICATE_H
#define OPS_REPLICATE_H

#include "backup/replicate.h"
#include "ops/backlog.h"

struct catching_up {
	const struct job *j;
	struct sites *sites;
	const struct cfg *cfg;
	const struct secret *log_seed;
	const char *run; /* 32 hex digits */
	struct backlog *backlog;
	struct replicate_result sum; /* what was brought so far */
};
/* Bring everything that a site lacks of a source, from every other site that can be read, the fullest first: what one lacks or holds
 * damaged, the next may give. The backlog was surveyed. */
int site_catch_up(struct catching_up *c, size_t to, const char *source, struct err *err) HF_NODISCARD;
/*
 * After a run committed a snapshot: sites that could be asked and were behind are brought up to date (bring), and become committed.
 * The backlog is then as it is. Returns the number of sites that have the snapshot.
 */
size_t catch_up_committed(struct catching_up *c, const char *source, uint64_t seq, int64_t start_ns, bool bring);

#endif
