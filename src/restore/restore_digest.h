/* The list of SHA-256 sums of restored files, taken from what was written, in the form that sha256sum prints and
 * checks. */
#ifndef RESTORE_RESTORE_DIGEST_H
#define RESTORE_RESTORE_DIGEST_H

#include <stdatomic.h>
#include "codec/pax.h"

struct digests;
/* The file is made, or replaced. */
int digests_open(const char *path, struct digests **ret, struct err *err) HF_NODISCARD;
void digests_begin(struct digests *d, const struct pax_entry *e);
void digests_content(struct digests *d, const void *p, size_t n);
/* Line of the file that was begun; holes are summed as the zeros they read as. A file of more than 1 TiB of holes gets
 * none. */
int digests_end(struct digests *d, const char *path, atomic_bool *cancel, struct err *err) HF_NODISCARD;
/* Durable; *d is NULL then. */
int digests_close(struct digests **d, struct err *err) HF_NODISCARD;
void digests_free(struct digests *d);

#endif
