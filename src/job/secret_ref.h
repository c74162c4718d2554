/*
 * Secrets that a plan names and does not hold: file:/path, env:NAME, systemd-credential:NAME. The one place that reads them.
 */
#ifndef JOB_SECRET_REF_H
#define JOB_SECRET_REF_H

#include "base/mem.h"
#include "base/err.h"

#define SECRET_REF_MAX (64u << 10) /* bytes of a value */

/*
 * The value behind a reference into locked memory, as text with its NUL (len counts it); a final line feed of a file does not
 * count. ERR_USAGE when it is not there, is empty or holds a NUL; other codes when it cannot be read.
 */
int secret_ref_read(const char *ref, struct secret *ret, struct err *err) HF_NODISCARD;
/* The text of a value, or NULL where there is none. */
const char *secret_text(const struct secret *s);

#endif
