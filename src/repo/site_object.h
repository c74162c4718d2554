/*
 * Objects of a site that may be damaged: what stands in for them, and the word that nothing depends on them any more.
 *
 * Nothing is ever overwritten. Bytes put again lie beside: `<key>.<sha256 of the bytes>` (cfg/ and k/), packs under another attempt.
 * Where a site keeps versions, an older one may be the right one.
 */
#ifndef REPO_SITE_OBJECT_H
#define REPO_SITE_OBJECT_H

#include "repo/signed.h"
#include "store/store.h"

/* Are these the bytes that the key is to hold? */
typedef int (*site_accept_fn)(void *arg, const void *p, size_t n, struct err *err);
/*
 * Get an object and have it judged. Where it is missing or not accepted: its older versions, and, when it is there, what lies beside it
 * (what is missing is put again under its own name). 0 when accept took one, else the first error; a site that cannot be asked ends it at once. What served is told in the log when it was not the object.
 */
int site_object_get(struct store *st, const char *key, size_t limit, site_accept_fn accept, void *arg, struct err *err) HF_NODISCARD;
/* Only what may stand in, after the object was refused or is missing. ERR_MISSING: nothing does. */
int site_object_instead(struct store *st, const char *key, bool missing, size_t limit, site_accept_fn accept, void *arg, struct err *err) HF_NODISCARD;
/* Put other bytes for a key beside it; fine when they are there. */
int site_object_put_beside(struct store *st, const char *key, const void *p, size_t n, struct err *err) HF_NODISCARD;
/* Is this the error of a bad object, not of a site? */
bool site_object_is_damage(enum err_code code);

/* An object that a check found damaged or missing. */
struct site_damage {
	char *key;
	bool missing;
};

/* b/<key>: signed text *mended*: what lies under the key is damaged or gone, and nothing depends on it. Signed by a log key. */
char *key_mended(char *out, const char *key);
int mended_encode(const char *key, const unsigned char repo[REPO_ID_LEN], const struct secret *log_seed, struct buf *out, struct err *err) HF_NODISCARD;
int mended_decode(const struct cfg *c, const char *key, const void *p, size_t n, struct err *err) HF_NODISCARD;

#endif
