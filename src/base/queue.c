#include "base/queue.h"

#include "base/err.h"
#include "base/mem.h"

void queue_init(struct queue *q, size_t depth)
{
	BUG_ON(depth == 0);
	*q = (struct queue){.depth = depth};
	q->items = xcalloc(depth, sizeof *q->items);
	BUG_ON(pthread_mutex_init(&q->mutex, NULL));
	BUG_ON(pthread_cond_init(&q->can_push, NULL));
	BUG_ON(pthread_cond_init(&q->can_pop, NULL));
}

void queue_release(struct queue *q)
{
	pthread_cond_destroy(&q->can_pop);
	pthread_cond_destroy(&q->can_push);
	pthread_mutex_destroy(&q->mutex);
	free(q->items);
	q->items = NULL;
	q->count = 0;
}

bool queue_push(struct queue *q, void *item)
{
	bool open;

	/* NULL is how pop says "closed". */
	BUG_ON(!item);
	pthread_mutex_lock(&q->mutex);
	while (q->count == q->depth && !q->closed)
		pthread_cond_wait(&q->can_push, &q->mutex);
	open = !q->closed;
	if (open) {
		q->items[(q->head + q->count) % q->depth] = item;
		q->count++;
		pthread_cond_signal(&q->can_pop);
	}
	pthread_mutex_unlock(&q->mutex);
	return open;
}

void *queue_pop(struct queue *q)
{
	void *item = NULL;

	pthread_mutex_lock(&q->mutex);
	while (!q->count && !q->closed)
		pthread_cond_wait(&q->can_pop, &q->mutex);
	if (q->count) {
		item = q->items[q->head];
		q->head = (q->head + 1) % q->depth;
		q->count--;
		pthread_cond_signal(&q->can_push);
	}
	pthread_mutex_unlock(&q->mutex);
	return item;
}

void queue_close(struct queue *q)
{
	pthread_mutex_lock(&q->mutex);
	q->closed = true;
	pthread_cond_broadcast(&q->can_push);
	pthread_cond_broadcast(&q->can_pop);
	pthread_mutex_unlock(&q->mutex);
}
