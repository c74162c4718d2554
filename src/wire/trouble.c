/*
 * How a store is doing where it is served, and whether who uses it has given it up: told without being asked, because the
 * requests that it is about are the ones that do not come to an end. Whoever owns a trouble only sets its flags, so the thread
 * for short frames looks at them a few times a second.
 */
#include "wire/internal.h"

static int of_another_version(const char *what, struct err *err)
{
	return err_set(err, ERR_FORMAT, "%s in a version that has no such frame", what);
}

bool trouble_watched(const struct wire *w)
{
	bool any = w->remotes != NULL;

	for (size_t i = 0; !any && i < STORES_MAX; i++)
		any = w->stores[i].asked && w->stores[i].opened->trouble;
	return any && w->version >= 2;
}

/* What at's other end should have heard. */
struct state {
	bool retrying;
	unsigned refusals;
};

static bool changed(const struct served *at, struct state *now)
{
	const struct store_trouble *t = at->asked ? at->opened->trouble : NULL;

	if (t)
		*now = (struct state){atomic_load(&t->retrying) > 0, atomic_load(&t->refusals)};
	return t && (now->retrying != at->told_retrying || now->refusals != at->told_refusals);
}

static bool wavered(const struct remote *r)
{
	return atomic_load(&r->trouble.give_up) != r->told_give_up;
}

bool trouble_due(const struct wire *w)
{
	struct state now;

	if (w->version < 2)
		return false;
	for (const struct remote *r = w->remotes; r; r = r->next)
		if (wavered(r))
			return true;
	for (size_t i = 0; i < STORES_MAX; i++)
		if (changed(&w->stores[i], &now))
			return true;
	return false;
}

static void news_of_giving_up(struct remote *r, struct news *ret)
{
	r->told_give_up = !r->told_give_up;
	ret->type = FRAME_GIVE_UP;
	ret->n = GIVE_UP_LEN;
	put_u16(ret->p, (uint16_t)r->number);
	ret->p[2] = r->told_give_up;
}

static void news_of_trouble(struct served *at, size_t number, const struct state *now, struct news *ret)
{
	at->told_retrying = now->retrying;
	at->told_refusals = now->refusals;
	ret->type = FRAME_TROUBLE;
	ret->n = TROUBLE_LEN;
	put_u16(ret->p, (uint16_t)number);
	ret->p[2] = now->retrying;
	put_u32(ret->p + 3, now->refusals);
}

bool trouble_news(struct wire *w, struct news *ret)
{
	struct state now;
	bool some = false;

	if (w->version < 2)
		return false;
	pthread_mutex_lock(&w->m);
	for (struct remote *r = w->remotes; r && !some; r = r->next) {
		some = wavered(r);
		if (some)
			news_of_giving_up(r, ret);
	}
	for (size_t i = 0; i < STORES_MAX && !some; i++) {
		some = changed(&w->stores[i], &now);
		if (some)
			news_of_trouble(&w->stores[i], i, &now, ret);
	}
	pthread_mutex_unlock(&w->m);
	return some;
}

void trouble_begin(struct wire *w, struct served *at)
{
	struct store_trouble *t = at->opened->trouble;

	pthread_mutex_lock(&w->m);
	if (!at->asked && t)
		at->told_refusals = atomic_load(&t->refusals); /* those before are another's */
	at->asked = true;
	at->given_up = false;
	if (t) /* who gave it up before had other sites to serve */
		atomic_store(&t->give_up, false);
	pthread_cond_signal(&w->pings);
	pthread_mutex_unlock(&w->m);
}

void trouble_join(struct remote *r)
{
	pthread_mutex_lock(&r->w->m);
	r->next = r->w->remotes;
	r->w->remotes = r;
	pthread_cond_signal(&r->w->pings);
	pthread_mutex_unlock(&r->w->m);
}

void trouble_leave(struct remote *r)
{
	struct remote **at = &r->w->remotes;

	pthread_mutex_lock(&r->w->m);
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	pthread_mutex_unlock(&r->w->m);
}

/* A store that is not used any more may have been told of before the other end knew. */
int trouble_on_told(struct wire *w, const unsigned char *p, struct err *err)
{
	if (w->version < 2)
		return of_another_version("trouble", err);
	if (p[2] > 1)
		return err_set(err, ERR_FORMAT, "trouble that is neither there nor over");
	pthread_mutex_lock(&w->m);
	for (struct remote *r = w->remotes; r; r = r->next) {
		if (r->number != get_u16(p))
			continue;
		atomic_store(&r->trouble.retrying, p[2]);
		atomic_store(&r->trouble.refusals, get_u32(p + 3));
	}
	pthread_mutex_unlock(&w->m);
	return 0;
}

int trouble_on_give_up(struct wire *w, const unsigned char *p, struct err *err)
{
	unsigned number = get_u16(p);
	int rc = 0;

	if (w->version < 2)
		return of_another_version("a store given up", err);
	pthread_mutex_lock(&w->m);
	struct served *at = number < STORES_MAX ? &w->stores[number] : NULL;

	if (p[2] > 1 || !at || !at->asked) {
		rc = err_set(err, ERR_FORMAT, "store %u is given up, which was not opened", number);
	} else {
		at->given_up = p[2];
		if (at->opened->trouble)
			atomic_store(&at->opened->trouble->give_up, p[2]);
		held_sweep(w);
	}
	pthread_mutex_unlock(&w->m);
	return rc;
}
