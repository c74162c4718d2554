/*
 * One isolated process of a drill, from its work directory to the proof that nothing is left of it: the runbook, or one planted fault.
 * The same on the controller's own machine and, by holdfast-recovery, on the recovery host; what the process tells goes line by line
 * to whoever judges.
 */
#ifndef DRILL_REHEARSE_H
#define DRILL_REHEARSE_H

#include "drill/drill.h"

struct rehearsal {
	const struct job *j;        /* plan, root of this host, cancel */
	const struct sites *sites;  /* open ones, for those that the process cannot reach by itself */
	const char *id;             /* 16 hex digits: part of the directory's name */
	const char *site;           /* the only one to use, or NULL */
	int64_t declared_ns;
	bool keep_work;
	int planted;                /* enum negative, or -1: the runbook */
};
struct rehearsal_end {
	bool began, gone; /* there was a process; nothing of it is left */
	int status;       /* its exit status, or 128 + signal */
	bool left;        /* the work directory is still there */
	size_t mounts_left;
	char *work;       /* kept directory, or NULL */
	struct err clean_err;
};
#define REHEARSAL_END_INIT                                                                                             \
	{                                                                                                              \
		.status = -1                                                                                           \
	}
void rehearsal_end_release(struct rehearsal_end *e);
/* ret is filled in any case. An error is one of starting or listening; what failed inside is in the lines. */
int rehearse(const struct rehearsal *r, report_fn line, void *arg, struct rehearsal_end *ret, struct err *err) HF_NODISCARD;

#endif
