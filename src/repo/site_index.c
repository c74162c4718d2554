/*
 * Index objects of a site, and the cache of them on this machine: a file each of the site's merges, one of the deltas that no merge covers
 * yet, and the newest of those a file each, so that a lookup asks few. The cache is a hint: what is wrong with it is fetched again.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "repo/site.h"

#define LOCAL_DELTAS 16
#define LOCAL_RECENT "recent" /* deltas that no merge of the site covers yet, as one file */

/* The keys that a source's index objects may be sealed under, the newest first; the cache is the newest's. */
struct loader {
	struct store *st;
	const char *source, *dir;
	const unsigned char *repo;
	const struct secret *const *key;
	size_t n_keys;
	struct index *ix;
};

/* Deltas of which there are many become one file. */
static bool merge_local(const struct loader *l)
{
	CLEAN(free_ptr) char *path = fs_join(l->dir, LOCAL_RECENT);
	struct err why = ERR_INIT;
	if (index_segments(l->ix, INDEX_DELTAS) <= LOCAL_DELTAS)
		return false;
	if (!index_cache_merge(l->ix, INDEX_DELTAS, path, l->key[0], &why))
		return true;
	log_msg(LOG_DEBUG, "the index cache is not merged: %s", why.msg);
	return false;
}

/* Files that others cover go: those of hidden segments, those of deltas that the file of the recent ones holds. */
static void tidy(const struct loader *l, bool merged)
{
	DIR *d = opendir(l->dir);
	for (const struct dirent *e; d && (e = readdir(d));)
		if (index_has_segment(l->ix, e->d_name) && !str_eq(e->d_name, LOCAL_RECENT) &&
			((merged && !str_starts(e->d_name, "m.")) || !index_asks(l->ix, e->d_name)))
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

static int open_sealed(const struct loader *l, const struct buf *sealed, struct buf *plain, struct err *err)
{
	static const enum sealed_kind kinds[] = {SEALED_DELTA, SEALED_MERGE};
	int rc = -ERR_CORRUPT;
	for (size_t i = 0; i < l->n_keys; i++)
		for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
			if (!(rc = sealed_get(l->key[i], l->repo, l->source, kinds[k], sealed->p, sealed->len, plain, err)))
				return 0;
			else if (rc != -ERR_FORMAT) /* of this kind, but not under this key */
				break;
	return rc;
}

/* Fetch one index object, open it, and give it to the index: as a mapped file of the cache where there is one. */
static int load_segment(const struct loader *l, const char *key, const char *name, const char *cache, struct err *err)
{
	CLEAN(buf_release) struct buf plain = BUF_INIT(INDEX_MAX);
	{
		CLEAN(buf_release) struct buf sealed = BUF_INIT(INDEX_MAX);
		int rc = store_get(l->st, key, &sealed, err);
		if (!rc && (rc = open_sealed(l, &sealed, &plain, err)))
			err_wrap(err, "%s", key);
		if (rc)
			return rc;
	}
	if (!cache)
		return index_add(l->ix, name, &plain, err);
	int rc = index_cache_put(cache, l->key[0], plain.p, plain.len, err);
	if (rc)
		return rc;
	buf_release(&plain);
	return index_add_cache(l->ix, name, cache, l->key[0], err);
}

/* From the cache, else from the site. What is damaged is told and counted. */
static int load_one(const struct loader *l, const char *key, const char *name, struct index_loaded *ret, struct err *err)
{
	struct err why = ERR_INIT;
	if (index_has_segment(l->ix, name))
		return 0;
	CLEAN(free_ptr) char *cache = l->dir ? fs_join(l->dir, name) : NULL;
	if (cache && fs_exists(cache) && !index_add_cache(l->ix, name, cache, l->key[0], &why))
		return 0;
	int rc = load_segment(l, key, name, cache, &why);
	if (rc && why.code != ERR_FORMAT && why.code != ERR_CORRUPT && why.code != ERR_MISSING) {
		*err = why;
		return rc;
	}
	if (rc) {
		log_msg(LOG_WARN, "%s: %s", l->st->name, why.msg);
		ret->bad++;
	}
	return 0;
}

struct listed {
	const char *key, *name;
	uint64_t size;
};

/* Merges first, of these the largest: what they replace need not be fetched. */
static int by_worth(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;
	bool mx = str_starts(x->name, "m."), my = str_starts(y->name, "m.");
	if (mx != my)
		return mx ? -1 : 1;
	if (mx && x->size != y->size)
		return x->size > y->size ? -1 : 1;
	return strcmp(y->name, x->name);
}

int index_load(struct store *st, const char *source, const unsigned char repo[REPO_ID_LEN], const struct secret *const *idx_key, size_t n_keys, const char *cache_dir,
	struct index *ix, struct index_loaded *ret, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	*ret = (struct index_loaded){0};
	const struct loader l = {.st = st, .source = source, .dir = cache_dir, .repo = repo, .key = idx_key, .n_keys = n_keys, .ix = ix};
	CLEAN(store_keys_release) struct store_keys k = {0};
	int rc = store_list_all(st, key_fmt(prefix, "i/%s/", source), &k, err);
	if (!rc && cache_dir)
		rc = fs_mkdirs(cache_dir, 0700, err);
	if (rc)
		return rc;
	CLEAN(free_ptr) struct listed *o = xcalloc(k.n + 1, sizeof *o);
	for (size_t i = 0; i < k.n; i++) {
		o[i] = (struct listed){k.key[i], k.key[i] + strlen(prefix), k.size[i]};
		ret->deltas += !str_starts(o[i].name, "m.");
	}
	qsort(o, k.n, sizeof *o, by_worth);
	bool recent = false;
	for (size_t i = 0; i < k.n && !rc; i++) {
		if (cache_dir && !recent && !str_starts(o[i].name, "m.")) {
			CLEAN(free_ptr) char *path = fs_join(cache_dir, LOCAL_RECENT);
			struct err why = ERR_INIT;
			recent = true;
			if (fs_exists(path) && index_add_cache(ix, LOCAL_RECENT, path, idx_key[0], &why))
				log_msg(LOG_DEBUG, "%s is not used: %s", path, why.msg);
		}
		rc = load_one(&l, o[i].key, o[i].name, ret, err);
	}
	if (!rc && cache_dir)
		tidy(&l, merge_local(&l));
	return rc;
}

int index_load_attempt(struct store *st, const char *source, const char *attempt, const unsigned char repo[REPO_ID_LEN], const struct secret *idx_key, struct index *ix,
	struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	const struct loader l = {.st = st, .source = source, .repo = repo, .key = &idx_key, .n_keys = 1, .ix = ix};
	CLEAN(store_keys_release) struct store_keys k = {0};
	int rc = store_list_all(st, key_fmt(prefix, "i/%s/%s.", source, attempt), &k, err);
	for (size_t i = 0; i < k.n && !rc; i++) {
		struct err why = ERR_INIT;
		rc = load_segment(&l, k.key[i], strrchr(k.key[i], '/') + 1, NULL, &why);
		if (rc == -ERR_FORMAT || rc == -ERR_CORRUPT || rc == -ERR_MISSING)
			rc = 0; /* it describes nothing */
		else if (rc)
			*err = why;
	}
	return rc;
}
