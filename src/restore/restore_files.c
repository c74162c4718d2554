#include "restore/restore_files.h"

#include <pthread.h>
#include <string.h>
#include "base/clock.h"
#include "restore/reader_internal.h"

#define TASKS_NEAR 64      /* chunks queued, where none are fetched ahead */
#define TASKS_FAR 4096     /* where they are: enough to name the next packs */
#define PIECES_NEAR 8192   /* of all tasks queued */
#define PIECES_FAR 32768
#define PIECES_TASK 1024   /* a chunk of more pieces is opened again for the others */
#define DIRS_OPEN 256      /* by all workers */
#define NOWHERE UINT64_MAX /* offset of content beyond what the entry's regions hold */

/* One that lies wholly in one piece is its task's alone; others are everybody's, and in the list of those under way. */
struct file {
	char *path;
	struct pax_entry e; /* with memory of its own */
	bool alone;
	pthread_mutex_t mutex; /* of what follows, when not alone */
	enum { FILE_NEW, FILE_OPEN, FILE_FAILED } state;
	struct target_file out;
	uint64_t left; /* content not written yet, or passed over after a failure */
	struct file *prev, *next;
};
struct piece {
	struct file *file;
	uint64_t off; /* in the file */
	uint32_t at, n;
};
struct file_task {
	struct task t; /* first */
	struct files *f;
	struct piece *piece;
	size_t n, cap;
	struct file_task *next; /* free ones */
};
struct files {
	struct files_opts o;
	struct target **target; /* each worker's */
	size_t n_targets, max_tasks, max_pieces;
	/* the caller's */
	struct list_cursor *cursor;
	uint64_t next; /* where the cursor's next chunk starts */
	struct {
		bool open;
		unsigned char id[ID_LEN];
		uint64_t start, length;
		struct file_task *task; /* NULL: nothing to be written of it yet */
	} cur;
	/* everybody's */
	atomic_bool stop;
	_Atomic uint64_t bytes; /* written; added to before the outcome of their file is told */
	_Atomic int64_t first_ns;
	pthread_mutex_t mutex; /* of what follows, and of outcomes */
	pthread_cond_t room;
	bool waiting;
	size_t tasks, pieces;
	struct file_task *spare;
	struct file *shared;
	struct err err; /* the first */
};

/* --- files --- */

static char *copy_text(char **to, const char *from)
{
	char *p = *to;
	if (!from)
		return NULL;
	size_t n = strlen(from) + 1;
	memcpy(p, from, n);
	*to += n;
	return p;
}

/* What is applied to a regular file in the end, in one piece of memory: path, texts, attributes, regions. */
static struct file *file_new(const char *path, const struct pax_entry *e)
{
	size_t texts = strlen(path) + 1 + (e->acl_access ? strlen(e->acl_access) + 1 : 0) + (e->acl_default ? strlen(e->acl_default) + 1 : 0);
	for (size_t i = 0; i < e->n_xattrs; i++)
		texts += strlen(e->xattrs[i].name) + 1 + e->xattrs[i].n;
	size_t regions = e->n_extents * sizeof *e->extents, attrs = e->n_xattrs * sizeof *e->xattrs;
	struct file *f = xcalloc(1, sizeof *f + regions + attrs + texts);
	struct pax_extent *extents = (struct pax_extent *)(f + 1);
	struct pax_xattr *xattrs = (struct pax_xattr *)((char *)extents + regions);
	char *text = (char *)xattrs + attrs;
	f->e = *e;
	f->path = copy_text(&text, path);
	f->e.path = f->path;
	f->e.link = f->e.uname = f->e.gname = NULL;
	f->e.acl_access = copy_text(&text, e->acl_access);
	f->e.acl_default = copy_text(&text, e->acl_default);
	f->e.extents = e->extents ? extents : NULL;
	if (regions)
		memcpy(extents, e->extents, regions);
	for (size_t i = 0; i < e->n_xattrs; i++) {
		xattrs[i].name = copy_text(&text, e->xattrs[i].name);
		xattrs[i].value = text;
		xattrs[i].n = e->xattrs[i].n;
		if (xattrs[i].n)
			memcpy(text, e->xattrs[i].value, xattrs[i].n);
		text += xattrs[i].n;
	}
	f->e.xattrs = xattrs;
	f->out = (struct target_file){.fd = -1, .dir = -1};
	pthread_mutex_init(&f->mutex, NULL);
	return f;
}

static void file_free(struct file *f)
{
	pthread_mutex_destroy(&f->mutex);
	free(f);
}

static void keep_file(struct files *f, struct file *file)
{
	pthread_mutex_lock(&f->mutex);
	file->next = f->shared;
	if (f->shared)
		f->shared->prev = file;
	f->shared = file;
	pthread_mutex_unlock(&f->mutex);
}

static void forget_file(struct files *f, struct file *file)
{
	pthread_mutex_lock(&f->mutex);
	if (file->prev)
		file->prev->next = file->next;
	else
		f->shared = file->next;
	if (file->next)
		file->next->prev = file->prev;
	pthread_mutex_unlock(&f->mutex);
	file_free(file);
}

/* --- outcomes --- */

static void fail_locked(struct files *f, const struct err *why)
{
	if (!f->err.code)
		f->err = *why;
	atomic_store(&f->stop, true);
	pthread_cond_signal(&f->room);
}

static void fail(struct files *f, const struct err *why)
{
	pthread_mutex_lock(&f->mutex);
	fail_locked(f, why);
	pthread_mutex_unlock(&f->mutex);
}

static void tell(struct files *f, const struct file *file, const struct err *why, bool made)
{
	struct err err = ERR_INIT;
	pthread_mutex_lock(&f->mutex);
	if (f->o.outcome(f->o.arg, file->path, why, made, &err))
		fail_locked(f, &err);
	pthread_mutex_unlock(&f->mutex);
}

static void begin(struct files *f, struct target *t, struct file *file)
{
	struct err why = ERR_INIT;
	file->state = FILE_OPEN;
	if (target_file_begin(t, file->path, &file->e, !file->alone, &file->out, &why)) {
		file->state = FILE_FAILED;
		tell(f, file, &why, false);
	} else if (f->o.digests) {
		digests_begin(f->o.digests, &file->e);
	}
}

static void broken(struct files *f, struct file *file, const struct err *why)
{
	file->state = FILE_FAILED;
	target_file_abort(&file->out);
	tell(f, file, why, false);
}

/* All of its content is there. */
static void end(struct files *f, struct target *t, struct file *file)
{
	struct err why = ERR_INIT;
	bool gone;
	int rc = target_file_end(t, &file->out, &gone, &why);
	tell(f, file, rc ? &why : NULL, !gone);
	if (f->o.digests && !gone && digests_end(f->o.digests, file->path, f->o.r->o.cancel, &why))
		fail(f, &why);
}

/* --- the workers' part --- */

static int put(struct files *f, struct file *file, const struct piece *p, const unsigned char *plain, struct err *err)
{
	if (p->off == NOWHERE)
		return err_set(err, ERR_FORMAT, "more content than its regions hold");
	if (f->o.digests)
		digests_content(f->o.digests, plain + p->at, p->n);
	int rc = target_file_write(&file->out, plain + p->at, p->n, p->off, err);
	if (!rc && !atomic_fetch_add(&f->bytes, p->n))
		atomic_store(&f->first_ns, clock_boot_ns());
	return rc;
}

static void write_alone(struct files *f, struct target *t, const struct piece *p, const unsigned char *plain)
{
	struct file *file = p->file;
	struct err why = ERR_INIT;
	begin(f, t, file);
	if (file->state != FILE_OPEN)
		return;
	if (put(f, file, p, plain, &why))
		broken(f, file, &why);
	else
		end(f, t, file);
}

/* Several threads may be here with parts of one file; whoever writes what was left ends it, and nobody touches it after that. */
static void write_shared(struct files *f, struct target *t, const struct piece *p, const unsigned char *plain)
{
	struct file *file = p->file;
	struct err why = ERR_INIT;
	pthread_mutex_lock(&file->mutex);
	if (file->state == FILE_NEW)
		begin(f, t, file);
	bool open = file->state == FILE_OPEN;
	pthread_mutex_unlock(&file->mutex);
	int rc = open ? put(f, file, p, plain, &why) : 0;
	pthread_mutex_lock(&file->mutex);
	file->left -= p->n;
	bool last = !file->left;
	if (rc && file->state == FILE_OPEN)
		file->state = FILE_FAILED; /* others may still write to it: it is closed by the last */
	else
		rc = 0;
	open = file->state == FILE_OPEN;
	pthread_mutex_unlock(&file->mutex);
	if (rc)
		tell(f, file, &why, false);
	if (!last)
		return;
	if (open)
		end(f, t, file);
	else
		target_file_abort(&file->out);
	forget_file(f, file);
}

static void finished(struct files *f, struct file_task *ft)
{
	pthread_mutex_lock(&f->mutex);
	f->tasks--;
	f->pieces -= ft->n;
	ft->n = 0;
	ft->next = f->spare;
	f->spare = ft;
	if (f->waiting && (!f->tasks || f->tasks <= f->max_tasks / 2))
		pthread_cond_signal(&f->room);
	pthread_mutex_unlock(&f->mutex);
}

static void use_chunk(struct task *t, unsigned worker, const struct buf *plain)
{
	struct file_task *ft = (struct file_task *)t;
	struct files *f = ft->f;
	struct target *target = f->target[worker];
	if (!plain && !atomic_load(&f->stop)) {
		err_wrap(&t->err, "%s", ft->piece[0].file->path);
		fail(f, &t->err);
	}
	for (size_t i = 0; i < ft->n; i++) {
		const struct piece *p = &ft->piece[i];
		bool alone = p->file->alone;
		if (plain && !atomic_load(&f->stop))
			(alone ? write_alone : write_shared)(f, target, p, plain->p);
		if (alone)
			file_free(p->file);
	}
	finished(f, ft);
}

/* --- the caller's part --- */

int files_new(const struct files_opts *o, struct files **ret, struct err *err)
{
	struct files *f = xcalloc(1, sizeof *f);
	unsigned workers = o->r->o.workers;
	int rc = 0;
	f->o = *o;
	f->max_tasks = o->digests ? 1 : o->r->want ? TASKS_FAR : TASKS_NEAR + workers;
	f->max_pieces = o->r->want ? PIECES_FAR : PIECES_NEAR;
	pthread_mutex_init(&f->mutex, NULL);
	pthread_cond_init(&f->room, NULL);
	f->target = xcalloc(workers, sizeof(struct target *));
	for (; !rc && f->n_targets < workers; f->n_targets += !rc)
		rc = target_share(o->target, DIRS_OPEN / workers, &f->target[f->n_targets], err);
	if (o->root->present)
		f->cursor = list_cursor_new(STREAM_CONTENT, o->root, reader_list_chunk, o->r);
	*ret = f;
	if (!rc)
		return 0;
	files_free(f);
	*ret = NULL;
	return rc;
}

static struct err wait_all(struct files *f)
{
	pthread_mutex_lock(&f->mutex);
	f->waiting = true;
	while (f->tasks)
		pthread_cond_wait(&f->room, &f->mutex);
	f->waiting = false;
	struct err err = f->err;
	pthread_mutex_unlock(&f->mutex);
	return err;
}

void files_free(struct files *f)
{
	if (!f)
		return;
	atomic_store(&f->stop, true);
	(void)wait_all(f);
	if (f->cur.task) { /* never queued */
		for (size_t i = 0; i < f->cur.task->n; i++)
			if (f->cur.task->piece[i].file->alone)
				file_free(f->cur.task->piece[i].file);
		f->cur.task->next = f->spare;
		f->spare = f->cur.task;
	}
	while (f->shared) {
		target_file_abort(&f->shared->out);
		forget_file(f, f->shared);
	}
	for (struct file_task *next; f->spare; f->spare = next) {
		next = f->spare->next;
		free(f->spare->piece);
		free(f->spare);
	}
	for (size_t i = 0; i < f->n_targets; i++)
		target_close(f->target[i]);
	free(f->target);
	list_cursor_free(f->cursor);
	pthread_mutex_destroy(&f->mutex);
	pthread_cond_destroy(&f->room);
	free(f);
}

/* Queue what was gathered of the current chunk. */
static int flush(struct files *f, struct err *err)
{
	struct file_task *ft = f->cur.task;
	if (!ft)
		return 0;
	pthread_mutex_lock(&f->mutex);
	f->waiting = true;
	while (!atomic_load(&f->stop) && f->tasks && (f->tasks >= f->max_tasks || f->pieces + ft->n > f->max_pieces))
		pthread_cond_wait(&f->room, &f->mutex);
	f->waiting = false;
	struct err why = f->err;
	if (!why.code) {
		f->tasks++;
		f->pieces += ft->n;
		f->cur.task = NULL;
	}
	pthread_mutex_unlock(&f->mutex);
	if (why.code) {
		*err = why;
		return err_rc(err);
	}
	reader_submit(f->o.r, &ft->t);
	if (f->o.tick)
		f->o.tick(f->o.arg);
	return 0;
}

/* The chunk that holds byte off of the stream becomes the current one. */
static int chunk_at(struct files *f, const char *path, uint64_t off, struct err *err)
{
	struct list_item it;
	if (f->cur.open && off >= f->cur.start && off - f->cur.start < f->cur.length)
		return 0;
	int rc = flush(f, err);
	f->cur.open = false;
	if (rc)
		return rc;
	rc = f->cursor ? 0 : err_set(err, ERR_CORRUPT, "entries have content where the snapshot has none");
	if (!rc && off != f->next)
		rc = list_cursor_seek(f->cursor, off, &f->next, err);
	if (!rc)
		rc = list_cursor_next(f->cursor, &it, err);
	if (rc < 0)
		return err_wrap(err, "%s", path);
	if (!rc || !it.length || it.length > CHUNK_PLAIN_MAX || off < f->next || off - f->next >= it.length)
		return err_set(err, ERR_CORRUPT, "%s: the content stream ends before its entries say", path);
	memcpy(f->cur.id, it.id, ID_LEN);
	f->cur.start = f->next;
	f->cur.length = it.length;
	f->cur.open = true;
	f->next += it.length;
	return 0;
}

static struct file_task *task_new(struct files *f)
{
	pthread_mutex_lock(&f->mutex);
	struct file_task *ft = f->spare;
	if (ft)
		f->spare = ft->next;
	pthread_mutex_unlock(&f->mutex);
	if (!ft)
		ft = xcalloc(1, sizeof *ft);
	ft->f = f;
	ft->n = 0;
	ft->t = (struct task){.type = CHUNK_CONTENT, .length = (uint32_t)f->cur.length, .use = use_chunk, .skip = &f->stop};
	memcpy(ft->t.id, f->cur.id, ID_LEN);
	return ft;
}

static int add_piece(struct files *f, struct file *file, uint64_t at, size_t n, uint64_t off, struct err *err)
{
	if (f->cur.task && f->cur.task->n >= PIECES_TASK) {
		int rc = flush(f, err);
		if (rc)
			return rc;
	}
	if (!f->cur.task)
		f->cur.task = task_new(f);
	struct file_task *ft = f->cur.task;
	ft->piece = xgrow(ft->piece, ft->n, &ft->cap, sizeof *ft->piece);
	ft->piece[ft->n++] = (struct piece){file, off, (uint32_t)at, (uint32_t)n};
	return 0;
}

/* Its next bytes; *ret_n how many. *placed: somebody else knows of the file from now on. */
static int add_run(struct files *f, struct file *file, struct content_pos *pos, uint64_t off, uint64_t left, bool *placed, size_t *ret_n,
        struct err *err)
{
	uint64_t to;
	int rc = chunk_at(f, file->path, off, err);
	if (rc)
		return rc;
	uint64_t at = off - f->cur.start, n = MIN(left, f->cur.length - at);
	size_t run = content_run(pos, n, &to);
	if (!run) {
		run = (size_t)n;
		to = NOWHERE;
	}
	if (!*placed) {
		file->alone = run == left;
		*placed = !file->alone;
		if (!file->alone)
			keep_file(f, file);
	}
	*ret_n = run;
	rc = add_piece(f, file, at, run, to, err);
	*placed |= !rc;
	return rc;
}

/* No chunk to wait for; but in the list of digests it has its turn. */
static int add_empty(struct files *f, struct file *file, struct err *err)
{
	int rc = f->o.digests ? files_wait(f, err) : 0;
	file->alone = true;
	if (!rc)
		begin(f, f->o.target, file);
	if (file->state == FILE_OPEN)
		end(f, f->o.target, file);
	file_free(file);
	return rc;
}

int files_add(struct files *f, const char *path, const struct pax_entry *e, uint64_t off, uint64_t len, struct err *err)
{
	struct file *file = file_new(path, e);
	struct content_pos pos = {.e = &file->e};
	bool placed = false;
	int rc = 0;
	file->left = len;
	if (!len)
		rc = add_empty(f, file, err);
	for (size_t n; !rc && len; off += n, len -= n) {
		n = 0;
		rc = add_run(f, file, &pos, off, len, &placed, &n, err);
		if (rc && !placed)
			file_free(file);
	}
	if (rc)
		return rc;
	if (!atomic_load(&f->stop))
		return 0;
	pthread_mutex_lock(&f->mutex);
	*err = f->err;
	pthread_mutex_unlock(&f->mutex);
	return err_rc(err);
}

int files_wait(struct files *f, struct err *err)
{
	int rc = flush(f, err);
	if (rc)
		return rc;
	*err = wait_all(f);
	return err->code ? err_rc(err) : 0;
}

void files_progress(struct files *f, uint64_t *ret_bytes, int64_t *ret_first_ns)
{
	*ret_bytes = atomic_load(&f->bytes);
	*ret_first_ns = atomic_load(&f->first_ns);
}
