#include "plan/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"

#define BLOCK 16384

struct block {
	struct block *next;
	size_t used, size;
	_Alignas(16) unsigned char p[];
};
struct place_entry {
	const char *key;
	struct plan_place at;
};
struct plan_arena {
	struct block *head;
	struct place_entry *places; /* sorted once the file has been read */
	size_t n_places, cap_places;
};

struct plan_arena *arena_new(void)
{
	return xcalloc(1, sizeof(struct plan_arena));
}

void arena_free(struct plan_arena *a)
{
	if (!a)
		return;
	for (struct block *b = a->head; b;) {
		struct block *next = b->next;
		free(b);
		b = next;
	}
	free(a->places);
	free(a);
}

void *arena_alloc(struct plan_arena *a, size_t n)
{
	size_t need = (n + 15) & ~(size_t)15;
	BUG_ON(need < n);
	if (!a->head || a->head->size - a->head->used < need) {
		size_t size = MAX(need, (size_t)BLOCK);
		struct block *b = xcalloc(1, sizeof(*b) + size);
		b->size = size;
		b->next = a->head;
		a->head = b;
	}
	void *p = a->head->p + a->head->used;
	a->head->used += need;
	return p;
}

void *arena_array(struct plan_arena *a, size_t n, size_t size)
{
	size_t bytes;
	BUG_ON(__builtin_mul_overflow(n, size, &bytes));
	return arena_alloc(a, bytes);
}

char *arena_strn(struct plan_arena *a, const char *s, size_t n)
{
	char *p = arena_alloc(a, n + 1);
	memcpy(p, s, n);
	return p;
}

char *arena_fmt(struct plan_arena *a, const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	BUG_ON(n < 0);
	char *ret = arena_strn(a, s, (size_t)n);
	free(s);
	return ret;
}

void places_add(struct plan_arena *a, const char *key, struct plan_place at)
{
	a->places = xgrow(a->places, a->n_places, &a->cap_places, sizeof(*a->places));
	a->places[a->n_places++] = (struct place_entry){key, at};
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct place_entry *)a)->key, ((const struct place_entry *)b)->key);
}

void places_sort(struct plan_arena *a)
{
	if (a->n_places)
		qsort(a->places, a->n_places, sizeof(*a->places), by_key);
}

bool places_get(const struct plan_arena *a, const char *key, struct plan_place *ret)
{
	struct place_entry want = {key, {0, 0}};
	const struct place_entry *e = a->n_places ? bsearch(&want, a->places, a->n_places, sizeof(want), by_key) : NULL;
	if (e)
		*ret = e->at;
	return e != NULL;
}
