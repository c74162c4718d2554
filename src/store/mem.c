#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "store/store.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

/* Shared by the place and by the gets that are reading it, so that a get holds no lock while its sink runs. */
struct mem_object {
	char *key;
	unsigned char *p;
	size_t n;
	int64_t mtime_ns;
	unsigned refs; /* under the place's mutex */
};

struct mem_place {
	struct mem_place *next;
	char *name;
	pthread_mutex_t mutex;
	struct mem_object **object; /* sorted by key */
	size_t n, cap;
};

struct mem_store {
	struct store base;
	struct mem_place *place;
};

static struct mem_place *place_of(struct store *s)
{
	return ((struct mem_store *)s)->place;
}

/* Places outlive their stores: that is what the driver is for. */
static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct mem_place *registry;

static struct mem_place *find_place(const char *name)
{
	struct mem_place *p;

	pthread_mutex_lock(&registry_mutex);
	for (p = registry; p; p = p->next)
		if (!strcmp(p->name, name))
			break;
	if (!p) {
		p = xcalloc(1, sizeof *p);
		p->name = xstrdup(name);
		pthread_mutex_init(&p->mutex, NULL);
		p->next = registry;
		registry = p;
	}
	pthread_mutex_unlock(&registry_mutex);
	return p;
}

/* Index of the first object whose key is not below `key`. */
static size_t lower_bound(const struct mem_place *p, const char *key)
{
	size_t lo = 0, hi = p->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(p->object[mid]->key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct mem_object *find(const struct mem_place *p, const char *key)
{
	size_t i = lower_bound(p, key);

	return i < p->n && !strcmp(p->object[i]->key, key) ? p->object[i] : NULL;
}

/* Taken itself, or as a directory, or a directory of it is an object: what a file system would refuse as well. */
static bool taken(const struct mem_place *p, const char *key)
{
	char part[STORE_KEY_MAX + 2];
	size_t n = strlen(key);

	if (find(p, key))
		return true;
	memcpy(part, key, n + 1);
	for (size_t i = n; i-- > 0;) {
		if (part[i] != '/')
			continue;
		part[i] = '\0';
		if (find(p, part))
			return true;
	}
	memcpy(part, key, n);
	memcpy(part + n, "/", 2);
	size_t i = lower_bound(p, part);

	return i < p->n && str_starts(p->object[i]->key, part);
}

static void object_free(struct mem_object *o)
{
	free(o->key);
	free(o->p);
	free(o);
}

static void object_unref(struct mem_place *p, struct mem_object *o)
{
	pthread_mutex_lock(&p->mutex);
	bool last = --o->refs == 0;
	pthread_mutex_unlock(&p->mutex);
	if (last)
		object_free(o);
}

static struct mem_object *object_new(const char *key, const struct store_src *src)
{
	struct mem_object *o = xcalloc(1, sizeof *o);
	size_t total = 0;

	for (size_t i = 0; i < src->n_pieces; i++)
		total += src->piece[i].n;
	o->p = malloc(total ? total : 1);
	if (!o->p) {
		free(o);
		return NULL;
	}
	for (size_t i = 0; i < src->n_pieces; i++) {
		if (src->piece[i].n)
			memcpy(o->p + o->n, src->piece[i].p, src->piece[i].n);
		o->n += src->piece[i].n;
	}
	o->key = xstrdup(key);
	o->mtime_ns = clock_wall_ns();
	o->refs = 1;
	return o;
}

static int mem_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	struct mem_place *p = place_of(s);
	struct mem_object *o = object_new(key, src);

	if (!o)
		return err_set(err, ERR_NOMEM, "object %s does not fit into memory", key);
	pthread_mutex_lock(&p->mutex);
	bool refused = taken(p, key);
	if (!refused) {
		size_t i = lower_bound(p, key);

		p->object = xgrow(p->object, p->n, &p->cap, sizeof(*p->object));
		memmove(p->object + i + 1, p->object + i, (p->n - i) * sizeof(*p->object));
		p->object[i] = o;
		p->n++;
	}
	pthread_mutex_unlock(&p->mutex);
	if (!refused)
		return 0;
	object_free(o);
	return err_set(err, ERR_EXISTS, "object %s is there already", key);
}

static int mem_get(struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err)
{
	struct mem_place *p = place_of(s);

	pthread_mutex_lock(&p->mutex);
	struct mem_object *o = find(p, key);
	if (o)
		o->refs++;
	pthread_mutex_unlock(&p->mutex);
	if (!o)
		return err_set(err, ERR_MISSING, "object %s is not there", key);
	int rc = 0;

	if (range.off < o->n) {
		size_t left = o->n - (size_t)range.off;

		rc = sink->write(
		        sink->arg, o->p + range.off, range.len && range.len < left ? (size_t)range.len : left, err);
	}
	object_unref(p, o);
	return rc;
}

static int mem_stat(struct store *s, const char *key, struct store_stat *ret, struct err *err)
{
	struct mem_place *p = place_of(s);

	pthread_mutex_lock(&p->mutex);
	struct mem_object *o = find(p, key);
	if (o)
		*ret = (struct store_stat){o->n, o->mtime_ns};
	pthread_mutex_unlock(&p->mutex);
	return o ? 0 : err_set(err, ERR_MISSING, "object %s is not there", key);
}

/* One key a step, so that fn runs without the lock and may use the store. */
static int mem_list(
        struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err)
{
	struct mem_place *p = place_of(s);
	char key[STORE_KEY_MAX + 1] = "";

	for (;;) {
		struct store_stat st;
		const char *above = key[0] ? key : after;

		pthread_mutex_lock(&p->mutex);
		size_t i = lower_bound(p, above && strcmp(above, prefix) > 0 ? above : prefix);
		if (i < p->n && above && !strcmp(p->object[i]->key, above))
			i++;
		bool more = i < p->n && str_starts(p->object[i]->key, prefix);
		if (more) {
			memcpy(key, p->object[i]->key, strlen(p->object[i]->key) + 1);
			st = (struct store_stat){p->object[i]->n, p->object[i]->mtime_ns};
		}
		pthread_mutex_unlock(&p->mutex);
		if (!more)
			return 0;
		int rc = fn(arg, key, &st, err);

		if (rc)
			return rc;
	}
}

static int mem_remove(struct store *s, const char *key, struct err *err)
{
	struct mem_place *p = place_of(s);

	pthread_mutex_lock(&p->mutex);
	struct mem_object *o = find(p, key);
	if (o) {
		size_t i = lower_bound(p, key);

		p->n--;
		memmove(p->object + i, p->object + i + 1, (p->n - i) * sizeof(*p->object));
	}
	pthread_mutex_unlock(&p->mutex);
	if (!o)
		return err_set(err, ERR_MISSING, "object %s is not there", key);
	object_unref(p, o);
	return 0;
}

static int mem_sync(struct store *s, struct err *err)
{
	(void)s;
	(void)err;
	return 0;
}

static void mem_free(struct store *s)
{
	free(s->name);
	free(s);
}

static const struct store_ops mem_ops = {
        .scheme = "mem",
        .put = mem_put,
        .get = mem_get,
        .stat = mem_stat,
        .list = mem_list,
        .remove = mem_remove,
        .sync = mem_sync,
        .free = mem_free,
};

int store_mem_open(const char *name, struct store **ret, struct err *err)
{
	*ret = NULL;
	if (!*name)
		return err_set(err, ERR_USAGE, "a memory store is written mem://name");
	struct mem_store *m = xcalloc(1, sizeof *m);

	m->base.ops = &mem_ops;
	m->base.caps = STORE_CREATE_ONLY | STORE_RANGE | STORE_LIST_STRONG | STORE_REMOVE | STORE_THREADSAFE;
	m->base.name = xstrdup(name);
	m->place = find_place(name);
	*ret = &m->base;
	return 0;
}

void store_mem_forget(void)
{
	pthread_mutex_lock(&registry_mutex);
	for (struct mem_place *p; (p = registry);) {
		registry = p->next;
		for (size_t i = 0; i < p->n; i++)
			object_free(p->object[i]);
		free(p->object);
		free(p->name);
		pthread_mutex_destroy(&p->mutex);
		free(p);
	}
	pthread_mutex_unlock(&registry_mutex);
}
