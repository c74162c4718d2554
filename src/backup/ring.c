/* The ordered ring between the caller's thread and the workers. */
#include "backup/writer_internal.h"

#include <string.h>
#include <sys/mman.h>

/* The caller's thread waits for what it said in want_done; it is not woken for less, because each wake costs as much as a small chunk. Under the lock. */
static void tell(struct ring *r)
{
	bool done = r->n_done >= r->want_done && r->slot[r->head].state == SLOT_DONE;
	if (r->waiting && (done || r->buf_freed))
		pthread_cond_signal(&r->done);
}

static void wait_for(struct ring *r, size_t done, bool buf)
{
	r->waiting = true;
	r->want_done = done;
	r->buf_freed = false;
	r->wants_buf = buf;
	pthread_cond_wait(&r->done, &r->mutex);
	r->waiting = false;
}

static void work_on(struct ring *r, struct pack_coder *coder, struct slot *s)
{
	struct err err = ERR_INIT;
	enum chunk_type type = stream_chunk_type(s->stream);
	if (!atomic_load(&r->packer->failed)) {
		pack_coder_id(coder, type, s->p, s->n, s->cut.id);
		if (packer_put(r->packer, coder, type, s->cut.id, s->p, s->n, &err)) {
			pthread_mutex_lock(&r->packer->mutex);
			if (!r->packer->err.code)
				r->packer->err = err;
			atomic_store(&r->packer->failed, true);
			pthread_cond_broadcast(&r->packer->freed);
			pthread_mutex_unlock(&r->packer->mutex);
		}
	}
}

/* Under the lock. */
static void finish_slot(struct ring *r, struct slot *s)
{
	s->state = SLOT_DONE;
	r->n_done++;
	if (s->rb && atomic_fetch_sub(&s->rb->refs, 1) == 1)
		r->buf_freed = r->wants_buf;
	s->rb = NULL;
	tell(r);
}

struct worker_arg {
	struct ring *r;
	struct pack_coder *coder;
};

static void *worker(void *p)
{
	struct worker_arg *a = p;
	struct ring *r = a->r;
	pthread_mutex_lock(&r->mutex);
	for (;;) {
		while (r->queued == r->count && !r->stop)
			pthread_cond_wait(&r->work, &r->mutex);
		if (r->queued == r->count)
			break;
		struct slot *s = &r->slot[(r->head + r->queued++) % r->n_slots];
		if (s->state == SLOT_DONE)
			continue;
		pthread_mutex_unlock(&r->mutex);
		work_on(r, a->coder, s);
		free(s->own);
		s->own = NULL;
		pthread_mutex_lock(&r->mutex);
		finish_slot(r, s);
	}
	pthread_mutex_unlock(&r->mutex);
	free(a);
	return NULL;
}

int ring_open(struct ring *r, const struct writer_opts *o, struct packer *k, struct err *err)
{
	r->packer = k;
	r->n_threads = o->workers;
	r->n_slots = RING_SLOTS_A_WORKER * o->workers + 2;
	r->n_bufs = o->workers + 1; /* one a worker, one being filled */
	r->slot = xcalloc(r->n_slots, sizeof *r->slot);
	r->buf = xcalloc(r->n_bufs, sizeof *r->buf);
	r->thread = xcalloc(r->n_threads, sizeof *r->thread);
	r->coder = xcalloc(r->n_threads, sizeof *r->coder);
	pthread_mutex_init(&r->mutex, NULL);
	pthread_cond_init(&r->work, NULL);
	pthread_cond_init(&r->done, NULL);
	for (size_t i = 0; i < r->n_bufs; i++) {
		r->buf[i].p = mmap(NULL, READ_BUF_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		BUG_ON(r->buf[i].p == MAP_FAILED);
		(void)madvise(r->buf[i].p, READ_BUF_SIZE, MADV_HUGEPAGE);
	}
	size_t want = r->n_threads;
	for (r->n_threads = 0; r->n_threads < want; r->n_threads++) {
		size_t i = r->n_threads;
		r->coder[i] = pack_coder_new(o->keys->repo, o->keys->source, &o->keys->s.id_key, o->level);
		struct worker_arg *a = xmalloc(sizeof *a);
		*a = (struct worker_arg){r, r->coder[i]};
		int rc = pthread_create(&r->thread[i], NULL, worker, a);
		if (rc) {
			free(a);
			pack_coder_free(r->coder[i]);
			return err_set(err, ERR_IO, "cannot start a worker thread: %s", strerror(rc));
		}
	}
	return 0;
}

void ring_close(struct ring *r)
{
	if (!r->slot)
		return;
	pthread_mutex_lock(&r->mutex);
	r->stop = true;
	pthread_cond_broadcast(&r->work);
	pthread_mutex_unlock(&r->mutex);
	for (size_t i = 0; i < r->n_threads; i++) {
		pthread_join(r->thread[i], NULL);
		pack_coder_free(r->coder[i]);
	}
	for (size_t i = 0; i < r->n_slots; i++) {
		free(r->slot[i].own);
		free(r->slot[i].path);
	}
	for (size_t i = 0; i < r->n_bufs; i++)
		munmap(r->buf[i].p, READ_BUF_SIZE);
	pthread_mutex_destroy(&r->mutex);
	pthread_cond_destroy(&r->work);
	pthread_cond_destroy(&r->done);
	free(r->slot);
	free(r->buf);
	free(r->thread);
	free(r->coder);
	*r = (struct ring){0};
}

/* Retire the oldest slot, which must be done. Called and returns with the lock held. */
static int retire_head(struct ring *r, struct err *err)
{
	struct slot s = r->slot[r->head];
	r->slot[r->head] = (struct slot){0};
	r->head = (r->head + 1) % r->n_slots;
	r->count--;
	r->n_done--;
	if (r->queued)
		r->queued--; /* a slot that came in done may not have been passed by a worker yet */
	pthread_mutex_unlock(&r->mutex);
	int rc = packer_error(r->packer, err);
	if (!rc)
		rc = r->retire(r->arg, &s, err);
	free(s.path);
	free(s.own);
	pthread_mutex_lock(&r->mutex);
	return rc;
}

static int retire_ready(struct ring *r, struct err *err)
{
	int rc = 0;
	while (!rc && r->count && r->slot[r->head].state == SLOT_DONE)
		rc = retire_head(r, err);
	return rc;
}

int ring_push(struct ring *r, const struct slot *s, struct err *err)
{
	pthread_mutex_lock(&r->mutex);
	int rc = retire_ready(r, err);
	while (!rc && r->count == r->n_slots) {
		wait_for(r, r->n_slots / 2, false);
		rc = retire_ready(r, err);
	}
	if (!rc) {
		r->slot[(r->head + r->count++) % r->n_slots] = *s;
		if (s->state == SLOT_QUEUED) {
			pthread_cond_signal(&r->work);
		} else {
			r->n_done++;
			rc = retire_ready(r, err);
		}
	}
	pthread_mutex_unlock(&r->mutex);
	return rc;
}

int ring_drain(struct ring *r, struct err *err)
{
	pthread_mutex_lock(&r->mutex);
	int rc = retire_ready(r, err);
	while (!rc && r->count) {
		wait_for(r, r->count, false);
		rc = retire_ready(r, err);
	}
	pthread_mutex_unlock(&r->mutex);
	return rc;
}

static struct read_buf *free_buf(struct ring *r)
{
	for (size_t i = 0; i < r->n_bufs; i++)
		if (!atomic_load(&r->buf[i].refs))
			return &r->buf[i];
	return NULL;
}

int ring_buf(struct ring *r, struct read_buf **ret, struct err *err)
{
	pthread_mutex_lock(&r->mutex);
	int rc = retire_ready(r, err);
	while (!rc && !(*ret = free_buf(r))) {
		wait_for(r, r->n_slots, true);
		rc = retire_ready(r, err);
	}
	if (!rc)
		atomic_store(&(*ret)->refs, 1);
	pthread_mutex_unlock(&r->mutex);
	return rc;
}
