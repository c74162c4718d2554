/*
 * A bounded queue of pointers between threads. Items are moved: whoever popped one owns it.
 * The memory bound of a stage is depth times the ceiling of an item.
 */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct queue {
	pthread_mutex_t mutex;
	pthread_cond_t can_push, can_pop;
	void **items;
	size_t depth, head, count;
	bool closed;
};
void queue_init(struct queue *q, size_t depth);
void queue_release(struct queue *q); /* must be empty or its items not owned */
/* Block while full. False when closed (the item stays the caller's). */
bool queue_push(struct queue *q, void *item);
/* Block while empty. NULL when closed and drained. */
void *queue_pop(struct queue *q);
/* No more pushes; wakes everyone. */
void queue_close(struct queue *q);

#endif
