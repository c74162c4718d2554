/*
 * A source enters a repository: keys on its host, its public key in the configuration, its secrets sealed to the recipients at the
 * sites. The first and the last happen where the source is.
 */
#ifndef REMOTE_ENROLL_H
#define REMOTE_ENROLL_H

#include "job/common.h"

struct enroll {
	const struct root *root;   /* of the source's host */
	const char *plan, *source; /* the plan's name is also that of the class */
	const unsigned char *repo;
	const struct secret *psk;  /* NULL: no new keys are made, there must be some */
};
/* Keys of the source: those that are there, else new ones of epoch 1. ERR_FORK when there are some of another repository. */
int enroll_keys(const struct enroll *e, struct source_keys *ret, bool *ret_made, struct err *err) HF_NODISCARD;
/* k/<source>/<epoch> at every site that is open: the same bytes at all of them. */
int enroll_seal(const struct source_keys *k, const struct cfg *cfg, const struct sites *sites, struct err *err) HF_NODISCARD;

/* The opening key of a plan, on the host that is to hold it. */
struct enroll_opening {
	const unsigned char *root_pub;
	bool fresh;    /* no site has a repository yet: one that a broken-off init left is taken up, repo becomes its */
	bool may_make;
	unsigned char repo[REPO_ID_LEN]; /* in and out */
	bool have, made;                 /* out: there is one (else it is kept elsewhere); it is new */
	unsigned char pub[X25519_LEN];   /* out, where there is one */
};
/* ret is empty where there is none and none may be made. */
int enroll_opening(const struct job *j, struct enroll_opening *e, struct opening_key *ret, struct err *err) HF_NODISCARD;

#endif
