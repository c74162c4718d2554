/* Workers: chunks are fetched and opened by all cores. */
#include <string.h>
#include "restore/reader_internal.h"

static struct task *pop(struct task_queue *q)
{
	struct task *t = q->head;
	if (!t)
		return NULL;
	q->head = t->next;
	if (!q->head)
		q->tail = NULL;
	return t;
}

static void push(struct task_queue *q, struct task *t)
{
	t->next = NULL;
	if (q->tail)
		q->tail->next = t;
	else
		q->head = t;
	q->tail = t;
}

/* Without the mutex. Whoever waits is woken only when this is what he waits for. */
static void run(struct opener *o, struct task *t, unsigned worker)
{
	struct reader *r = o->r;
	struct buf *to = t->use ? &o->plain : &t->out;
	int rc = t->skip && atomic_load(t->skip) ? err_set(&t->err, ERR_CANCELLED, "not wanted any more") : opener_chunk(o, t->id, t->type, t->length, to, &t->err);
	BUG_ON(rc && !t->err.code);
	reader_unwant(r, t->want);
	t->want = NULL;
	if (t->use) {
		t->use(t, worker, rc ? NULL : to);
		return;
	}
	pthread_mutex_lock(&r->mutex);
	t->done = true;
	if (t->awaited)
		pthread_cond_broadcast(&r->done);
	pthread_mutex_unlock(&r->mutex);
}

struct worker {
	struct reader *r;
	unsigned no;
};

static void *work(void *arg)
{
	struct worker w = *(struct worker *)arg;
	struct opener *o = opener_new(w.r);
	free(arg);
	pthread_mutex_lock(&w.r->mutex);
	while (!w.r->stop) {
		struct task *t = pop(&w.r->urgent);
		if (!t)
			t = pop(&w.r->queue);
		if (!t) {
			pthread_cond_wait(&w.r->work, &w.r->mutex);
			continue;
		}
		pthread_mutex_unlock(&w.r->mutex);
		run(o, t, w.no);
		pthread_mutex_lock(&w.r->mutex);
	}
	pthread_mutex_unlock(&w.r->mutex);
	opener_free(o);
	return NULL;
}

int reader_start_workers(struct reader *r, struct err *err)
{
	r->thread = xcalloc(r->o.workers, sizeof *r->thread);
	for (; r->n_threads < r->o.workers; r->n_threads++) {
		struct worker *w = xmalloc(sizeof *w);
		*w = (struct worker){r, (unsigned)r->n_threads};
		int rc = pthread_create(&r->thread[r->n_threads], NULL, work, w);
		if (!rc)
			continue;
		free(w);
		return err_set(err, ERR_IO, "cannot start a worker thread: %s", strerror(rc));
	}
	return reader_start_fetchers(r, err);
}

void reader_stop_workers(struct reader *r)
{
	pthread_mutex_lock(&r->mutex);
	r->stop = true;
	pthread_cond_broadcast(&r->work);
	pthread_mutex_unlock(&r->mutex);
	for (size_t i = 0; i < r->n_threads; i++)
		pthread_join(r->thread[i], NULL);
	reader_stop_fetchers(r);
	free(r->thread);
}

void reader_submit(struct reader *r, struct task *t)
{
	t->done = t->awaited = false;
	t->err = (struct err)ERR_INIT;
	if (!t->want)
		t->want = reader_want(r, t->id);
	pthread_mutex_lock(&r->mutex);
	push(t->urgent ? &r->urgent : &r->queue, t);
	pthread_cond_signal(&r->work);
	pthread_mutex_unlock(&r->mutex);
}

void reader_wait(struct reader *r, struct task *t)
{
	pthread_mutex_lock(&r->mutex);
	t->awaited = true;
	while (!t->done)
		pthread_cond_wait(&r->done, &r->mutex);
	pthread_mutex_unlock(&r->mutex);
}
