/*
 * A session: one run of one source at an array of sites, each with its own attempt, fate and state (docs/format; docs/design of
 * writing). The host's own truth is two files: `head` (what it signed last) and `pending/` (fates it signed and has not yet seen
 * decided); everything else in the state directory is a hint.
 *
 *   session_begin()   lock, offer what is pending, see what each site has, declare, learn what may be reused, load the index
 *   ... a writer puts packs and index deltas through session_put() ...
 *   session_commit()  sign, make durable, decide at every site, copy to s/
 *   session_end()
 */
#ifndef BACKUP_SESSION_H
#define BACKUP_SESSION_H

#include "repo/site.h"

enum site_state {
	SITE_ACTIVE,      /* takes part in this run */
	SITE_COMMITTED,   /* the run's snapshot is committed there */
	SITE_BEHIND,      /* reachable, lacks earlier snapshots: left to replicate */
	SITE_UNREACHABLE, /* could not be opened or asked */
	SITE_FAILED,      /* failed while it took part */
	SITE_LOST,        /* someone else decided the attempt */
};
const char *site_state_name(enum site_state s);

struct session_site {
	const char *name;
	struct store *store; /* the caller's; NULL: could not be opened, err says why */
	enum site_state state;
	struct err err;
	char newest[NAME16]; /* attempt of the newest snapshot committed there; "" none */
	bool has_newest, ahead;
	unsigned char newest_digest[ID_LEN];
	uint64_t newest_seq;
	unsigned depth; /* relative fates behind `newest` */
};

struct session_opts {
	const char *state_dir; /* of this source; made when missing */
	const struct source_keys *keys;
	const struct cfg *cfg;
	struct session_site *site; /* array of the caller, store or err filled */
	size_t n_sites;
	char run[33];
	int64_t now;
	bool dry_run; /* nothing is put, offered or written */
	int64_t patience_ms; /* with a site that is away, as store_multi_opts has it; 0: its default */
};

struct session;
int session_begin(const struct session_opts *o, struct session **ret, struct err *err) HF_NODISCARD;
/* Lets go of everything; an attempt not committed is left to the next run. */
void session_end(struct session *s);

const char *session_attempt(const struct session *s);
struct index *session_index(struct session *s);
/* May chunks of this pack (index pack number) be reused at every site that takes part? */
bool session_usable(const struct session *s, uint32_t pack_no);
/* Queue a put to every active site (index objects from one thread only); done(arg) when all have it or failed. At a site packs
 * arrive in any order, everything else once all that was put before it is there. A site that is away is given up when the others have long been waiting for it. */
void session_put(struct session *s, const char *key, const struct store_src *src, void (*done)(void *arg), void *arg);
/* Packs that the widest active site takes at a time. */
unsigned session_width(const struct session *s);
/* Wait for what is queued. ERR_UNREACHABLE (or the site's own error) when no active site is left. */
int session_flush(struct session *s, struct err *err) HF_NODISCARD;
/* The attempt is alive. */
void session_beat(struct session *s);

/* What a commit tells. */
struct session_result {
	uint64_t seq;
	char lineage[NAME16];
	unsigned char digest[ID_LEN];
	size_t committed; /* sites */
	bool new_lineage;
};
/* packs: every pack the snapshot needs, sorted. facts complete; noted and size are derived. Site states say the rest. */
int session_commit(struct session *s, const struct snapshot_facts *facts, const struct pack_list *packs, const unsigned char plan_digest[ID_LEN], struct session_result *ret, struct err *err) HF_NODISCARD;
/* Digest of the snapshot that this host signed last and that is committed somewhere, for the files cache; false when none. */
bool session_head_digest(const struct session *s, unsigned char digest[ID_LEN]);

#endif
