/*
 * Bodies that several stores of one connection get: the put that brings one keeps it here, and others put the same bytes
 * elsewhere without sending them again. A body is let go of when every store that is put to has had it, or when another one
 * needs its room and nobody reads it; all of it counts in WIRE_BODIES.
 */
#include <string.h>
#include "wire/internal.h"

void body_release(struct body *b)
{
	for (size_t i = 0; i < b->n; i++)
		free(b->block[i]);
	free(b->block);
	*b = (struct body){0};
}

/* --- all under the lock --- */

/* A bit for each store that the other end puts to and has not given up. */
static uint64_t wanted_by(const struct wire *w)
{
	uint64_t set = 0;

	for (size_t i = 0; i < STORES_MAX; i++)
		if (w->stores[i].put_to && !w->stores[i].given_up)
			set |= UINT64_C(1) << i;
	return set;
}

static void drop(struct wire *w, struct held *h)
{
	struct held **at = &w->held;

	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	w->bodies -= h->bytes;
	body_release(&h->body);
	free(h);
	pthread_cond_broadcast(&w->changed);
}

static bool is_done_with(const struct wire *w, const struct held *h)
{
	return !h->users && (h->state == HELD_NOT || !(wanted_by(w) & ~h->had));
}

void held_sweep(struct wire *w)
{
	for (struct held *h = w->held, *next; h; h = next) {
		next = h->next;
		if (is_done_with(w, h))
			drop(w, h);
	}
}

bool held_room(struct wire *w, uint64_t n)
{
	for (struct held *h = w->held, *next; h && w->bodies > WIRE_BODIES - n; h = next) {
		next = h->next; /* the oldest come first */
		if (!h->users)
			drop(w, h);
	}
	return w->bodies <= WIRE_BODIES - n;
}

void held_expect(struct wire *w, struct request *r)
{
	const struct ask *a = &r->ask;
	bool puts = a->service == WIRE_STORE && (a->op == WIRE_PUT || a->op == WIRE_SAME);

	if (w->version < 2 || !puts || a->number >= STORES_MAX || !w->stores[a->number].asked)
		return;
	w->stores[a->number].put_to = true;
	uint64_t others = wanted_by(w) & ~(UINT64_C(1) << a->number);

	if (a->op != WIRE_PUT || !others || a->body < SHARED_MIN || a->body > SHARED_MAX)
		return;
	struct held **end = &w->held, *h = xcalloc(1, sizeof *h);

	while (*end)
		end = &(*end)->next;
	*end = h;
	h->id = r->id;
	h->had = UINT64_C(1) << a->number;
	h->users = 1;
	r->brings = h;
}

static void leave(struct wire *w, struct held *h)
{
	h->users--;
	if (is_done_with(w, h))
		drop(w, h);
}

void held_brought(struct request *r)
{
	struct held *h = r->brings;

	if (!h)
		return;
	r->brings = NULL;
	if (h->state == HELD_COMES) {
		h->state = HELD_NOT;
		pthread_cond_broadcast(&r->w->changed);
	}
	leave(r->w, h);
}

void held_release_all(struct wire *w)
{
	while (w->held)
		drop(w, w->held);
}

/* --- for who serves; these take the lock --- */

void held_keep(struct request *r, struct body *b, const unsigned char digest[SHA256_LEN])
{
	struct held *h = r->brings;

	pthread_mutex_lock(&r->w->m);
	h->body = *b;
	*b = (struct body){0};
	memcpy(h->digest, digest, sizeof h->digest);
	h->bytes = r->reserved;
	r->reserved = 0;
	h->state = HELD_WHOLE;
	pthread_cond_broadcast(&r->w->changed);
	pthread_mutex_unlock(&r->w->m);
}

int held_take(struct request *r, uint32_t id, struct held **ret, struct err *err)
{
	struct wire *w = r->w;
	int rc = 0;

	pthread_mutex_lock(&w->m);
	struct held *h = w->held;

	while (h && h->id != id)
		h = h->next;
	if (h) {
		h->users++;
		h->had |= UINT64_C(1) << r->ask.number;
	}
	while (h && !rc && h->state == HELD_COMES)
		rc = request_wait(r, &w->changed, err);
	if (h && (rc || h->state == HELD_NOT)) {
		leave(w, h);
		h = NULL;
	}
	pthread_mutex_unlock(&w->m);
	*ret = h;
	return rc;
}

void held_give(struct request *r, struct held *h)
{
	pthread_mutex_lock(&r->w->m);
	leave(r->w, h);
	pthread_mutex_unlock(&r->w->m);
}
