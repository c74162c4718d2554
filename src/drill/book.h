/*
 * The runbook as the recovery process carries it out: sources with their readers, steps and checks with their state.
 * Only runbook.c and book_*.c include this.
 */
#ifndef DRILL_BOOK_H
#define DRILL_BOOK_H

#include "drill/drill.h"
#include "job/hooks.h"
#include "job/recover.h"
#include "restore/restore.h"

struct book_source {
	const struct plan_source *ps;
	struct recover r;
	bool open;
	struct err why; /* why it is not */
	const struct reader_snapshot *snap;
};
enum book_state { BOOK_WAITING, BOOK_PASSED, BOOK_FAILED };
struct book_step {
	const struct plan_step *s;
	enum book_state state;
	struct hook_env env;
	struct err env_err;
	struct book_source *source;       /* of a restore */
	char *to;                         /* target directory, or NULL */
	char *file;                       /* of a command's output */
	unsigned char sha256[SHA256_LEN]; /* of that file as it came */
	uint64_t bytes;
	int64_t first_wall_ns, first_boot_ns; /* first byte; 0: none */
};
struct book_check {
	const struct plan_check *c;
	bool done;
	struct hook_env env;
	struct err env_err;
	size_t restored; /* restore steps of its source that it has looked at */
	uint64_t entries, bytes, chunks;
};
struct book {
	const struct drill_run *d;
	struct isolated_self *self;
	struct job job; /* of this process: its own cancel flag, nothing shown, no caches */
	struct book_source *src;
	size_t n_src;
	struct book_step *step;
	struct book_check *check;
	int64_t shown_ns;
};

/* A step or check with a limit of time: restoring polls `stop`. */
struct book_timer {
	struct book *b;
	const char *phase, *subject;
	uint64_t files_total, bytes_total;
	int64_t deadline_ns; /* boot clock */
	atomic_bool stop;
	bool late;
};
void book_timer_init(struct book_timer *t, struct book *b, const char *phase, const char *subject, int64_t timeout_ms);
/* Looks at the clock and at the cancel flag, and tells progress now and then: a restore_opts.progress. */
void book_timer_tick(void *timer, uint64_t files, uint64_t bytes);
/* An error that came of our own stop, said as it is. */
int book_timer_error(const struct book_timer *t, struct err *err);

/* `${work}` replaced; newly allocated. */
char *book_text(const struct book *b, const char *s);
char **book_argv(const struct book *b, const struct plan_list *argv);
void book_argv_free(char **argv);

/* --- book_sources.c --- */
/* Open every source that the runbook restores or asks about, and choose snapshots of one run. */
void book_sources_open(struct book *b);
void book_sources_close(struct book *b);
void book_sources_report(struct book *b); /* what was chosen */
void book_sites_report(struct book *b);   /* who served what, at the end */
struct book_source *book_source(struct book *b, const char *name);

/* --- book_restore.c --- */
int book_restore(struct book *b, struct book_step *st, struct err *err) HF_NODISCARD;
/* Compare what a step restored with the snapshot's record: ERR_CORRUPT names the first difference. Adds to the check's
 * counts. */
int book_manifest(struct book *b, struct book_step *st, struct book_check *c, struct err *err) HF_NODISCARD;
/* A command's output out of its snapshot, piece by piece to sink. ERR_CANCELLED when the timer stops it. */
struct book_stream {
	int (*sink)(void *arg, const void *p, size_t n, struct err *err);
	void *arg;
	struct book_timer *timer;
	uint64_t bytes;
	int64_t first_wall_ns, first_boot_ns;
};
int book_stream(struct reader *r, const struct snapshot *snap, struct book_stream *s, struct err *err) HF_NODISCARD;

/* --- book_checks.c --- */
/* Right after a restore step: the manifest checks that need no later step. */
void book_checks_restored(struct book *b, struct book_step *st);
/* Every check whose steps have ended well by now; at the end (`last`) the others are told as skipped. */
void book_checks_due(struct book *b, bool last);

#endif
