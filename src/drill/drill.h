/*
 * Inside of a drill: what the controlling process (drill.c, drill_judge.c, drill_state.c) and the recovery process
 * (runbook.c and book_*.c, negative.c) share. Only the recovery process loads the opening key; it tells what happens in
 * lines of JSON over a pipe, and the controller, which believes no more of them than the plan allows, judges.
 */
#ifndef DRILL_DRILL_H
#define DRILL_DRILL_H

#include "job/common.h"
#include "drill/isolate.h"

/* What the recovery process works from. */
struct drill_run {
	const struct job *j;
	const char *site;    /* the only one to use, or NULL */
	const char *work;    /* its directory, a real path */
	int64_t declared_ns; /* wall */
};

/* --- lines from the recovery process (drill_report.c) --- */
/* Takes o. Nothing to return: without a reader the process is about to end. */
void report_send(int fd, json_t *o);
/* Text as it may stand in such a line: no control characters, bounded. */
json_t *report_text(const char *s);
/* Wall and boot clock now, in microseconds, as members "KEY" and "KEY_boot". */
void report_now(json_t *o, const char *key);
void report_error(int fd, const struct err *err);
void report_isolation(const struct isolated_self *self);
/*
 * Read lines until the process closes its end: each to fn; non-zero stops. Asks it to stop when cancelled. ERR_FORMAT
 * for a line that is none, ERR_NOMEM past a ceiling.
 */
typedef int (*report_fn)(void *arg, const json_t *line, struct err *err);
int report_listen(struct isolated *p, atomic_bool *cancel, report_fn fn, void *arg, struct err *err) HF_NODISCARD;

/* --- what is refused, by the controller and again where the drill is carried out (drill_choose.c) --- */
/* A rehearsal writes to its work directory, wherever a real recovery would. */
int drill_refuse_targets(const struct job *j, struct err *err) HF_NODISCARD;
/* ERR_USAGE without the opening key: whether it is there is all that a process outside may know of it. */
int drill_needs_key(const struct job *j, struct err *err) HF_NODISCARD;

/* --- the recovery process --- */
/* Real paths that it needs to see: sites, keys, state. NULL-terminated, newly allocated; drill_paths_free. */
const char **drill_paths(const struct job *j);
void drill_paths_free(const char **paths);
/* The runbook, in its own process: an argument of isolated_start, arg is struct drill_run. */
void runbook_process(struct isolated_self *self, void *arg);
/* The same without the isolation of the file system, for tests. */
void runbook_run(struct isolated_self *self, const struct drill_run *d);

/* Age of a snapshot at a moment; `text` gets "40 s old, at most 30 min". True when it is fresh. */
bool drill_fresh(int64_t start_ns, int64_t moment_ns, int64_t max_age_ms, char *text, size_t n);

/* --- planted faults --- */
enum negative { NEGATIVE_CORRUPT_PACK, NEGATIVE_WRONG_KEY, NEGATIVE_STALE_SNAPSHOT, NEGATIVES };
const char *negative_name(enum negative kind);
bool negative_parse(const char *name, enum negative *ret);
/* What is planted: by default the kind's own fault. Tests disarm it. */
struct negative_plant {
	const char *const *fault_rules; /* corrupt-pack */
	bool own_key;                   /* wrong-key: try the right one */
	int64_t age_ms;                 /* stale-snapshot: of the snapshot at the moment of the check; -1: too old */
};
#define NEGATIVE_PLANT_INIT                                                                                            \
	{                                                                                                              \
		NULL, false, -1                                                                                        \
	}
/* True when the fault was noticed as it must be; text says by what, or what was not noticed. */
bool negative_run(
        const struct drill_run *d, enum negative kind, const struct negative_plant *plant, char *text, size_t n);
struct negative_process {
	struct drill_run d;
	enum negative kind;
};
void negative_process(struct isolated_self *self, void *arg); /* for isolated_start, arg is struct negative_process */

/* --- what a crash leaves (drill_state.c) --- */
struct drill_marker {
	char *dir;  /* R/state/<plan> */
	char *path; /* drill.json */
	int lock;
};
#define DRILL_MARKER_INIT                                                                                              \
	{                                                                                                              \
		NULL, NULL, -1                                                                                         \
	}
/* Take the plan's drill lock: ERR_BUSY when another drill of it runs. */
int drill_marker_open(const struct job *j, struct drill_marker *ret, struct err *err) HF_NODISCARD;
void drill_marker_close(struct drill_marker *m);
int drill_marker_write(const struct drill_marker *m, const struct job *j, const char *id, int64_t declared_ns,
        const char *scenario, struct err *err) HF_NODISCARD;
int drill_marker_remove(const struct drill_marker *m, struct err *err) HF_NODISCARD;
/* A marker that is there although the lock was free: that drill crashed. Write its result and record, clean up behind
 * it. */
int drill_marker_recover(const struct drill_marker *m, const struct job *j, const struct sites *sites, struct err *err)
        HF_NODISCARD;
/* Lock, recover, unlock: for other commands that find a crash. Nothing to do is 0; ERR_BUSY: one is under way. */
int drill_recover_crashed(const struct job *j, const struct sites *sites, struct err *err) HF_NODISCARD;

/* Work directories of one drill: <plan>-<id> and <plan>-<id>-<planted fault>. */
char *drill_work_path(const struct job *j, const char *id, const char *suffix);
/* What clean-up left behind. */
struct drill_cleanup {
	size_t mounts_left;
	bool removed;
	struct err err;
};
/* Unmount what is below and remove it; proven when ret->removed and no mount is left. */
void drill_clean(const char *dir, struct drill_cleanup *ret);
/* Remove what earlier drills of this plan left on this host; the caller holds its lock. */
void drill_clean_stale(const struct job *j);
/* The same for every work directory of a drill. */
void drill_clean_all(const struct job *j, const char *id, struct drill_cleanup *ret);

#endif
