/*
 * The word of a log that nothing depends on an object any more, which is damaged or gone.
 */
#ifndef REPO_MENDED_H
#define REPO_MENDED_H

#include "repo/signed.h"
#include "store/store.h"

/* An object that a check found damaged or missing. */
struct site_damage {
	char *key;
	bool missing;
};

/* b/<key>: signed text *mended*: what lies under the key is damaged or gone, and nothing depends on it. Signed by a log key. */
char *key_mended(char *out, const char *key);
int mended_encode(const char *key, const unsigned char repo[REPO_ID_LEN], const struct secret *log_seed, struct buf *out, struct err *err) HF_NODISCARD;
/* mended_decode as a site_accept_fn (store/site_object.h). */
struct mended_of {
	const struct cfg *cfg;
	const char *key;
};
int mended_accept(void *mended_of, const void *p, size_t n, struct err *err);
int mended_decode(const struct cfg *c, const char *key, const void *p, size_t n, struct err *err) HF_NODISCARD;

#endif
