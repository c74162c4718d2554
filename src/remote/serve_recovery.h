/*
 * The jobs of a recovery agent, at the host that alone holds the opening key: opening (which makes it), rehearse and restore. Which plans it carries out is this
 * host's word (job/trust.h), and whether the key may be used that of job/release.h; the controller relays the sites for reading and
 * judges what it is told.
 */
#ifndef REMOTE_SERVE_RECOVERY_H
#define REMOTE_SERVE_RECOVERY_H

#include "job/job.h"
#include "wire/wire.h"

/* For wire_serve_job(): arg is the struct root of this host. */
int serve_recovery(void *arg, struct wire_job *job, const char *kind, const json_t *doc, json_t **ret, struct err *err);

#endif
