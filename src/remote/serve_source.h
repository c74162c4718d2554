/*
 * The jobs of a source agent, at the host of the source: backup, and on enrolment enroll and seal. What is copied and which commands
 * run is this host's word (job/trust.h); where copies go is the controller's, who relays them; what may be written there is bound to
 * the configuration that the root key signed which this host pinned when it was enrolled.
 */
#ifndef REMOTE_SERVE_SOURCE_H
#define REMOTE_SERVE_SOURCE_H

#include "job/job.h"
#include "wire/wire.h"

/* For wire_serve_job(): arg is the struct root of this host. */
int serve_source(void *arg, struct wire_job *job, const char *kind, const json_t *doc, json_t **ret, struct err *err);

#endif
