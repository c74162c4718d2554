#include "backup/walk_ahead.h"

#include <stdatomic.h>
#include <string.h>
#include "base/buf.h"
#include "base/mem.h"
#include "base/queue.h"
#include "repo/list.h"

enum { BATCH_ITEMS = 512, BATCH_TEXT = 64 << 10, BATCHES = 8 };

struct found {
	bool is_note;
	enum note_code code;
	size_t at, n_path; /* path in the batch's text, NUL-terminated */
	struct stat st;
};
struct batch {
	size_t n;
	struct found item[BATCH_ITEMS];
	struct buf text;
};
struct ahead {
	const struct walk_opts *o;
	struct queue full, empty;
	struct batch *batch; /* being filled */
	atomic_bool stop;
	int rc;
	struct err err; /* the walk's own */
};

static struct batch *batch_new(void)
{
	struct batch *b = xmalloc(sizeof(*b));
	b->n = 0;
	buf_init(&b->text, BATCH_TEXT + LIST_PATH_MAX + 1);
	return b;
}

static void batch_free(struct batch *b)
{
	if (!b)
		return;
	buf_release(&b->text);
	free(b);
}

/* --- the walking thread --- */

static void hand_over(struct ahead *a)
{
	if (a->batch && !queue_push(&a->full, a->batch))
		batch_free(a->batch);
	a->batch = NULL;
}

static struct found *add(struct ahead *a, const char *path, size_t n_path)
{
	struct batch *b = a->batch ? a->batch : (a->batch = queue_pop(&a->empty));
	struct found *f = &b->item[b->n++];
	f->at = b->text.len;
	f->n_path = n_path;
	buf_add(&b->text, path, n_path);
	buf_add(&b->text, "", 1);
	return f;
}

static int added(struct ahead *a, struct err *err)
{
	if (a->batch->n == BATCH_ITEMS || a->batch->text.len > BATCH_TEXT)
		hand_over(a);
	return atomic_load_explicit(&a->stop, memory_order_relaxed) ? err_set(err, ERR_CANCELLED, "the walk was stopped") : 0;
}

static int on_entry(void *arg, const struct walk_entry *e, struct err *err)
{
	struct ahead *a = arg;
	struct found *f = add(a, e->path, e->n_path);
	f->is_note = false;
	f->st = *e->st;
	return added(a, err);
}

static int on_note(void *arg, enum note_code code, const char *path, size_t n, struct err *err)
{
	struct ahead *a = arg;
	struct found *f = add(a, path, n);
	f->is_note = true;
	f->code = code;
	return added(a, err);
}

static void *walker(void *arg)
{
	struct ahead *a = arg;
	struct walk_opts o = *a->o;
	o.entry = on_entry;
	o.note = on_note;
	o.arg = a;
	a->rc = walk_run(&o, &a->err);
	hand_over(a);
	queue_close(&a->full);
	return NULL;
}

/* --- the caller's --- */

static int deliver(const struct walk_opts *o, const struct batch *b, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; i < b->n && !rc; i++) {
		const struct found *f = &b->item[i];
		const char *path = (const char *)b->text.p + f->at, *slash = strrchr(path, '/');
		if (f->is_note) {
			rc = o->note(o->arg, f->code, path, f->n_path, err);
			continue;
		}
		struct walk_entry e = {.path = path, .n_path = f->n_path, .dir = -1, .name = slash ? slash + 1 : path, .st = &f->st};
		rc = o->entry(o->arg, &e, err);
	}
	return rc;
}

int walk_ahead(const struct walk_opts *o, struct err *err)
{
	struct ahead a = {.o = o, .err = ERR_INIT};
	pthread_t thread;
	struct batch *b;
	int rc = 0;
	queue_init(&a.full, BATCHES);
	queue_init(&a.empty, BATCHES);
	for (int i = 0; i < BATCHES; i++)
		queue_push(&a.empty, batch_new());
	int e = pthread_create(&thread, NULL, walker, &a);
	if (e)
		rc = err_set(err, ERR_IO, "cannot start a thread to walk: %s", strerror(e));
	while (!e && (b = queue_pop(&a.full))) {
		if (!rc && (rc = deliver(o, b, err)))
			atomic_store(&a.stop, true);
		b->n = 0;
		buf_clear(&b->text);
		queue_push(&a.empty, b);
	}
	if (!e)
		pthread_join(thread, NULL);
	queue_close(&a.empty);
	while ((b = queue_pop(&a.empty)))
		batch_free(b);
	queue_release(&a.full);
	queue_release(&a.empty);
	if (!rc && a.rc) {
		*err = a.err;
		rc = a.rc;
	}
	return rc;
}
