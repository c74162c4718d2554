/*
 * The host's own truth about a source, in its state directory: `head` (the snapshot signed last and where it is known to be
 * committed), `pending/<site>` (a fate signed, not yet seen decided) and `attempts` (names begun since the last commit). Written
 * by rename after fsync. Private to session.c.
 */
#ifndef BACKUP_HEAD_H
#define BACKUP_HEAD_H

#include "repo/snapshot.h"

struct head_at {
	char site[SOURCE_MAX + 1], attempt[NAME16];
	unsigned depth;
};
struct head {
	bool present;
	char lineage[NAME16];
	uint64_t seq;
	unsigned char digest[ID_LEN];
	bool committed; /* at one site at least */
	struct head_at *at;
	size_t n_at;
};
void head_release(struct head *h);
/* A missing or unreadable file leaves present false (a new lineage will follow). */
int head_load(const char *dir, struct head *ret, struct err *err) HF_NODISCARD;
int head_save(const char *dir, const struct head *h, struct err *err) HF_NODISCARD;
const struct head_at *head_find(const struct head *h, const char *site);
void head_set_at(struct head *h, const char *site, const char *attempt, unsigned depth);
/* Another snapshot is signed: forget where the old one was. */
void head_advance(struct head *h, const char *lineage, uint64_t seq, const unsigned char digest[ID_LEN]);

/* A fate on its way to one site. */
struct pending {
	char site[SOURCE_MAX + 1], attempt[NAME16], lineage[NAME16];
	uint64_t seq;
	unsigned char digest[ID_LEN];
	unsigned depth;
	struct buf fate;
};
void pending_release(struct pending *p);
/* The fates of one snapshot at all of its sites become pending together, or not at all: begin, save each, publish. Were they not, a crash
 * could leave the snapshot decided at one site and buried at another. Older ones of sites that have no new one stay. */
int pending_begin(const char *dir, struct err *err) HF_NODISCARD;
int pending_save(const char *dir, const struct pending *p, struct err *err) HF_NODISCARD;
int pending_publish(const char *dir, struct err *err) HF_NODISCARD;
/* fn for each file that is whole; a broken one is removed (it was never acknowledged). fn returning true removes the file. */
int pending_each(const char *dir, bool (*fn)(void *arg, struct pending *p), void *arg, struct err *err) HF_NODISCARD;
void pending_remove(const char *dir, const char *site);

/* Attempts begun since the last commit, oldest first. */
struct own_attempts {
	char (*name)[NAME16];
	size_t n;
};
#define OWN_ATTEMPTS_MAX 16
int own_attempts_load(const char *dir, struct own_attempts *ret, struct err *err) HF_NODISCARD;
int own_attempts_save(const char *dir, const struct own_attempts *a, struct err *err) HF_NODISCARD;

#endif
