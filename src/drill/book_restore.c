/* Restore steps, and the manifest check of what they made. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "drill/book.h"

#define PIECE (256u << 10)
#define POLL_MS 100

/* --- a command's output --- */

/* restore_stream writes to a descriptor and cannot be stopped; a pipe with a reader that can is put in between. */
struct pump {
	struct reader *r;
	const struct snapshot *snap;
	int fd;
	int rc;
	struct err err;
};

static void *pump_main(void *arg)
{
	struct pump *p = arg;
	uint64_t bytes;
	p->rc = restore_stream(p->r, p->snap, p->fd, &bytes, &p->err);
	close_fd(&p->fd);
	return NULL;
}

static int drain(struct book_stream *s, int fd, struct err *err)
{
	CLEAN(free_ptr) unsigned char *piece = xmalloc(PIECE);
	for (;;) {
		struct pollfd f = {.fd = fd, .events = POLLIN};
		book_timer_tick(s->timer, 0, s->bytes);
		if (atomic_load(&s->timer->stop))
			return err_set(err, ERR_CANCELLED, "stopped");
		if (poll(&f, 1, POLL_MS) <= 0)
			continue;
		ssize_t n = read(fd, piece, PIECE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, ERR_IO, "read a pipe");
		if (n == 0)
			return 0;
		if (!s->first_boot_ns) {
			s->first_boot_ns = clock_boot_ns();
			s->first_wall_ns = clock_wall_ns();
		}
		int rc = s->sink(s->arg, piece, (size_t)n, err);
		if (rc)
			return rc;
		s->bytes += (uint64_t)n;
	}
}

int book_stream(struct reader *r, const struct snapshot *snap, struct book_stream *s, struct err *err)
{
	int ends[2];
	pthread_t thread;
	struct pump p = {.r = r, .snap = snap};
	if (pipe2(ends, O_CLOEXEC))
		return err_sys(err, ERR_IO, "make a pipe");
	p.fd = ends[1];
	int rc = pthread_create(&thread, NULL, pump_main, &p);
	if (rc) {
		close(ends[0]);
		close(ends[1]);
		return err_set(err, ERR_IO, "cannot start a thread: %s", strerror(rc));
	}
	rc = drain(s, ends[0], err);
	close(ends[0]); /* where we stopped, its next write ends it */
	pthread_join(thread, NULL);
	if (!rc && p.rc) {
		*err = p.err;
		rc = err_rc(err);
	}
	return rc;
}

static int sink_pipe(void *arg, const void *p, size_t n, struct err *err)
{
	struct proc *proc = arg;
	const unsigned char *at = p;
	while (n) {
		ssize_t k = proc_write(proc, at, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == ETIMEDOUT)
			return err_set(err, ERR_FAILED, "the command did not take the copy within its time");
		if (k < 0 && errno == EPIPE)
			return err_set(err, ERR_FAILED, "the command stopped reading before the end of the copy");
		if (k < 0)
			return err_sys(err, errno == ECANCELED ? ERR_CANCELLED : ERR_FAILED, "write to the command");
		at += k;
		n -= (size_t)k;
	}
	return 0;
}

static int pipe_result(struct proc *proc, const char *name, int rc, int64_t wait_ms, struct err *err)
{
	int status = 0;
	struct err why = ERR_INIT;
	int waited = proc_close(proc, rc ? 1000 : wait_ms, &status, &why);
	char tail[256];
	const char *text = buf_str(&proc->err_tail);
	size_t n = strlen(text);
	log_safe(tail, sizeof tail, n > 200 ? text + n - 200 : text);
	if (rc && err->code != ERR_FAILED) /* damage and missing sites are the cause, not its consequence */
		return rc;
	if (waited && !rc)
		return err_set(err, ERR_FAILED, "%s: %s", name, why.msg);
	if (status && !waited)
		return err_set(err, ERR_FAILED, "%s ended with status %d: %s", name, status, tail);
	return rc;
}

static int restore_pipe(struct book *b, struct book_step *st, struct book_timer *t, struct err *err)
{
	char **argv = book_argv(b, &st->s->pipe_to);
	CLEAN(free_ptr) char *cwd = st->s->cwd ? book_text(b, st->s->cwd) : xstrdup(b->d->work);
	struct proc proc = PROC_INIT;
	struct proc_opts o = {.env = st->env.v,
	        .cwd = cwd,
	        .stdin_fd = -1,
	        .timeout_ms = st->s->timeout_ms,
	        .cancel = &b->self->cancel,
	        .in_child = isolate_step};
	struct book_stream s = {.sink = sink_pipe, .arg = &proc, .timer = t};
	int rc = proc_open((const char *const *)argv, &o, PROC_WRITE, &proc, err);
	if (rc && err->code != ERR_CANCELLED) {
		err->code = ERR_FAILED;
		rc = err_rc(err);
	}
	if (!rc) {
		rc = book_stream(st->source->r.reader, &st->source->snap->snap, &s, err);
		rc = pipe_result(&proc, argv[0], rc, st->s->timeout_ms, err);
	}
	proc_release(&proc);
	book_argv_free(argv);
	st->bytes = s.bytes;
	st->first_wall_ns = s.first_wall_ns;
	st->first_boot_ns = s.first_boot_ns;
	return rc;
}

struct file_sink {
	int fd;
	struct sha256 *hash;
};

static int sink_file(void *arg, const void *p, size_t n, struct err *err)
{
	struct file_sink *f = arg;
	sha256_update(f->hash, p, n);
	return fs_write_full(f->fd, p, n) ? err_sys(err, ERR_IO, "write the copy") : 0;
}

static int restore_file(struct book *b, struct book_step *st, struct book_timer *t, struct err *err)
{
	CLEAN(sha256_free_ptr) struct sha256 *hash = sha256_new();
	st->file = fs_join(st->to, st->s->as ? st->s->as : st->s->restore);
	CLEAN(close_fd) int fd = open(st->file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, ERR_IO, "create %s", st->file);
	struct file_sink f = {.fd = fd, .hash = hash};
	struct book_stream s = {.sink = sink_file, .arg = &f, .timer = t};
	(void)b;
	int rc = book_stream(st->source->r.reader, &st->source->snap->snap, &s, err);
	if (!rc && fsync(fd))
		rc = err_sys(err, ERR_IO, "make %s durable", st->file);
	sha256_final(hash, st->sha256);
	st->bytes = s.bytes;
	st->first_wall_ns = s.first_wall_ns;
	st->first_boot_ns = s.first_boot_ns;
	return rc;
}

/* --- a tree --- */

static struct restore_opts tree_opts(const struct book_step *st, struct book_timer *t)
{
	return (struct restore_opts){.to = st->to,
	        .paths = st->s->paths.n ? st->s->paths.v : NULL,
	        .strip = (unsigned)MAX(st->s->strip, 0),
	        .full_metadata = st->s->metadata == PLAN_METADATA_FULL,
	        .cancel = &t->stop,
	        .progress = book_timer_tick,
	        .arg = t};
}

static int restore_files(struct book_step *st, struct book_timer *t, struct err *err)
{
	struct restore_stats stats = {0};
	struct restore_opts o = tree_opts(st, t);
	int rc = restore_tree(st->source->r.reader, &st->source->snap->snap, &o, &stats, err);
	st->bytes = stats.bytes;
	st->first_boot_ns = stats.first_byte_ns;
	if (st->first_boot_ns)
		st->first_wall_ns = clock_wall_ns() - (clock_boot_ns() - st->first_boot_ns);
	if (!rc && stats.skipped)
		rc = err_set(err, ERR_FAILED, "%llu entries could not be restored; first: %.200s",
		        (unsigned long long)stats.skipped, stats.first_skipped);
	if (!rc && !(stats.files + stats.dirs + stats.links + stats.others))
		rc = err_set(err, ERR_FAILED, "nothing was restored: the snapshot has no entry that the step asks for");
	return rc;
}

static bool is_stream(const struct book_step *st)
{
	return st->source->snap->snap.facts.is_stream;
}

int book_restore(struct book *b, struct book_step *st, struct err *err)
{
	struct book_timer t;
	struct book_source *src = st->source;
	if (!src->open) {
		*err = src->why;
		return err_wrap(err, "source '%s'", src->ps->name);
	}
	book_timer_init(&t, b, "restore", src->ps->name, st->s->timeout_ms);
	t.files_total = src->snap->snap.facts.files;
	t.bytes_total = src->snap->snap.facts.bytes;
	int rc = st->to ? fs_mkdirs(st->to, 0700, err) : 0;
	if (!rc && st->s->pipe_to.n)
		rc = is_stream(st) ? restore_pipe(b, st, &t, err)
		                   : err_set(err, ERR_FAILED, "a tree of files cannot be piped");
	else if (!rc)
		rc = is_stream(st) ? restore_file(b, st, &t, err) : restore_files(st, &t, err);
	return rc ? book_timer_error(&t, err) : 0;
}

/* --- manifest --- */

/* Chunk ids were proven while the stream came; the file must still be what came then. */
static int check_file(struct book_step *st, struct book_check *c, struct book_timer *t, struct err *err)
{
	CLEAN(sha256_free_ptr) struct sha256 *hash = sha256_new();
	CLEAN(free_ptr) unsigned char *piece = xmalloc(PIECE);
	CLEAN(close_fd) int fd = open(st->file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	unsigned char sum[SHA256_LEN];
	uint64_t bytes = 0;
	ssize_t n = -1;
	if (fd < 0)
		return err_sys(err, ERR_IO, "open %s", st->file);
	while ((n = fs_read_full(fd, piece, PIECE)) > 0) {
		sha256_update(hash, piece, (size_t)n);
		bytes += (uint64_t)n;
		book_timer_tick(t, 0, bytes);
		if (atomic_load(&t->stop))
			return err_set(err, ERR_CANCELLED, "stopped");
	}
	if (n < 0)
		return err_sys(err, ERR_IO, "read %s", st->file);
	sha256_final(hash, sum);
	if (bytes != st->bytes || memcmp(sum, st->sha256, sizeof sum))
		return err_set(err, ERR_CORRUPT, "%s: its bytes are not those that were restored",
		        st->s->as ? st->s->as : st->s->restore);
	c->entries++;
	c->bytes += bytes;
	return 0;
}

int book_manifest(struct book *b, struct book_step *st, struct book_check *c, struct err *err)
{
	struct book_timer t;
	struct manifest_result m = {0};
	book_timer_init(&t, b, "check", st->source->ps->name, st->s->timeout_ms);
	t.bytes_total = st->source->snap->snap.facts.bytes;
	if (st->file) {
		int rc = check_file(st, c, &t, err);
		return rc ? book_timer_error(&t, err) : 0;
	}
	struct restore_opts o = tree_opts(st, &t);
	int rc = restore_manifest(st->source->r.reader, &st->source->snap->snap, &o, &m, err);
	if (rc)
		return book_timer_error(&t, err);
	if (m.wrong)
		return err_set(err, ERR_CORRUPT, "%llu of %llu entries are not as recorded; first: %.250s",
		        (unsigned long long)m.wrong, (unsigned long long)m.entries, m.first_wrong);
	c->entries += m.entries;
	c->bytes += m.bytes;
	c->chunks += m.chunks;
	return 0;
}
