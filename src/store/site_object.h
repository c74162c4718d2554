/*
 * Objects of a site that may be damaged, and what stands in for them.
 *
 * Nothing is ever overwritten. Bytes put again lie beside: `<key>.<sha256 of the bytes>` (cfg/, k/, x/, b/ and l/). Where a site keeps
 * versions, an older one may be the right one.
 */
#ifndef STORE_SITE_OBJECT_H
#define STORE_SITE_OBJECT_H

#include "store/store.h"

/* Are these the bytes that the key is to hold? */
typedef int (*site_accept_fn)(void *arg, const void *p, size_t n, struct err *err);
/*
 * Get an object and have it judged. Where it is missing or not accepted: its older versions, and, when it is there, what lies beside it
 * (what is missing is put again under its own name). 0 when accept took one, else the first error; a site that cannot be asked ends it at
 * once. What served is told in the log when it was not the object.
 */
int site_object_get(struct store *st, const char *key, size_t limit, site_accept_fn accept, void *arg, struct err *err) HF_NODISCARD;
/* The same; *ret_wrong (initialised) tells what is wrong with the object when something else was taken. */
int site_object_judge(struct store *st, const char *key, size_t limit, site_accept_fn accept, void *arg, struct err *ret_wrong, struct err *err) HF_NODISCARD;
/* Only what may stand in, after the object was refused or is missing. ERR_MISSING: nothing does. */
int site_object_instead(struct store *st, const char *key, bool missing, size_t limit, site_accept_fn accept, void *arg, struct err *err) HF_NODISCARD;
/* Put other bytes for a key beside it; fine when they are there. */
int site_object_put_beside(struct store *st, const char *key, const void *p, size_t n, struct err *err) HF_NODISCARD;
/* Put bytes again whose object is missing (under its own name) or damaged (beside it); fine when they are there. */
int site_object_put_again(struct store *st, const char *key, const void *p, size_t n, struct err *err) HF_NODISCARD;
/* Is this the error of a bad object (ERR_IO: a disk that cannot read it), not of a site? */
bool site_object_is_damage(enum err_code code);

#endif
