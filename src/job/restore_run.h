/*
 * A restore where it takes place, apart from its result: bytes into a directory, read back and compared. On the controller's machine
 * it runs in process, on a recovery host in holdfast-recovery; either way the controller learns of it from one document.
 */
#ifndef JOB_RESTORE_RUN_H
#define JOB_RESTORE_RUN_H

#include "job/recover.h"

/*
 * Restore and check. *ret is set in any case: {source, proven_by, sites, moments, restored?, check?, skipped?}, for restore_tell().
 * moments: "NAME" and "NAME_boot" in microseconds, for released, first, restored and verified.
 */
int restore_run(const struct job *j, struct recover *r, const struct reader_snapshot *snap, const struct job_restore_opts *o, json_t **ret, struct err *err) HF_NODISCARD;
/* Enter it into a result: ERR_FORMAT for a document that is none. *ret_status becomes 3 where something was left out. */
int restore_tell(const json_t *doc, struct result *res, int *ret_status, unsigned char ret_snapshot[ID_LEN], struct err *err) HF_NODISCARD;

#endif
