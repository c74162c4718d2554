/*
 * Inside of a session, shared by session.c (life, puts), session_survey.c (what is pending, what each site has, which take part),
 * session_declare.c (intents, what may be reused, the index) and session_commit.c (signing and deciding).
 */
#ifndef BACKUP_SESSION_INTERNAL_H
#define BACKUP_SESSION_INTERNAL_H

#include "backup/head.h"
#include "backup/session.h"

struct session {
	struct session_opts o;
	char *dir, *index_dir;
	int lock_fd;
	struct head head;
	struct own_attempts own; /* dead ones of this host, to resume; then the new one */
	char attempt[NAME16], lineage[NAME16];
	uint64_t seq;
	bool new_lineage, has_found;
	unsigned char found[ID_LEN];
	unsigned char target[ID_LEN]; /* the newest committed snapshot that the run builds on */
	bool has_target;
	struct pack_list *base;   /* per site: list of its newest snapshot */
	struct pack_list usable;  /* packs that may be reused at every active site */
	bool *usable_no;          /* the same by index pack number */
	struct index *index;
	struct store_multi *multi;
	size_t *multi_site;       /* index in multi -> site */
	size_t n_multi;
	unsigned beats;
	size_t deltas, deltas_put; /* index deltas at the site when the run began, and those of the run */
};

void session_site_fail(struct session_site *site, enum site_state state, const struct err *why);
/* s/<source>/<lineage>/<seq>: for finding; the fate is the truth, so a failure is only logged. */
void session_put_copy(struct session *s, struct session_site *site, const char *lineage, uint64_t seq, const struct buf *snapshot);
/* Offer the fates that were signed and not seen decided, bury what was left undecided. */
int session_settle(struct session *s, struct err *err) HF_NODISCARD;
/* Ask every site for its newest snapshot; choose lineage, seq and the sites that take part. */
int session_choose(struct session *s, struct err *err) HF_NODISCARD;
/* Put `open`, learn what may be reused at every site, load the index. */
int session_declare(struct session *s, struct err *err) HF_NODISCARD;

#endif
