/*
 * Index objects of a site, and the cache of them on this machine: a file a segment, merged into one when they get many, so that a lookup
 * asks few segments. The cache is a hint: whatever is wrong with it, the site's objects are fetched again.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "repo/site.h"

#define LOCAL_SEGMENTS 16
#define LOCAL_MERGED "merged"

static void load_local(struct index *ix, const char *dir)
{
	CLEAN(free_ptr) char *path = fs_join(dir, LOCAL_MERGED);
	struct err why = ERR_INIT;
	if (fs_exists(path) && index_add_file(ix, LOCAL_MERGED, path, &why))
		log_msg(LOG_DEBUG, "%s is not used: %s", path, why.msg);
}

/* Write all segments as one file and drop the files it replaces. */
static void merge_local(const struct index *ix, const char *dir)
{
	CLEAN(free_ptr) char *path = fs_join(dir, LOCAL_MERGED);
	CLEAN(buf_release) struct buf b = BUF_INIT(INDEX_MAX);
	struct err why = ERR_INIT;
	if (index_merge(ix, &b, &why) || fs_replace(path, b.p, b.len, 0600, &why)) {
		log_msg(LOG_DEBUG, "the index cache is not merged: %s", why.msg);
		return;
	}
	DIR *d = opendir(dir);
	for (const struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.' && !str_eq(e->d_name, LOCAL_MERGED) && index_has_segment(ix, e->d_name))
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

/* Fetch one index object, open it, give it to the index; and keep its plaintext in the cache. */
static int load_segment(struct store *st, const char *key, const char *name, const char *source, const unsigned char repo[REPO_ID_LEN], const struct secret *idx_key,
	const char *cache, struct index *ix, struct err *err)
{
	CLEAN(buf_release) struct buf sealed = BUF_INIT(INDEX_MAX);
	CLEAN(buf_release) struct buf plain = BUF_INIT(INDEX_MAX);
	int rc = store_get(st, key, &sealed, err);
	if (rc)
		return rc;
	rc = sealed_get(idx_key, repo, source, SEALED_DELTA, sealed.p, sealed.len, &plain, err);
	if (rc == -ERR_FORMAT) /* of another kind */
		rc = sealed_get(idx_key, repo, source, SEALED_MERGE, sealed.p, sealed.len, &plain, err);
	if (rc)
		return err_wrap(err, "%s", key);
	if (cache && (rc = fs_replace(cache, plain.p, plain.len, 0600, err)))
		return rc;
	return index_add(ix, name, &plain, err);
}

int index_load(struct store *st, const char *source, const unsigned char repo[REPO_ID_LEN], const struct secret *idx_key, const char *cache_dir, struct index *ix,
	struct index_loaded *ret, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	*ret = (struct index_loaded){0};
	CLEAN(store_keys_release) struct store_keys k = {0};
	int rc = store_list_all(st, key_fmt(prefix, "i/%s/", source), &k, err);
	if (!rc && cache_dir)
		rc = fs_mkdirs(cache_dir, 0700, err);
	if (rc)
		return rc;
	if (cache_dir)
		load_local(ix, cache_dir);
	size_t skip = strlen(prefix);
	/* merges first ("m." sorts behind hex names): what they replace need not be fetched */
	for (size_t n = k.n; n-- > 0;) {
		const char *name = k.key[n] + skip;
		struct err why = ERR_INIT;
		ret->deltas += !str_starts(name, "m.");
		if (index_has_segment(ix, name))
			continue;
		CLEAN(free_ptr) char *cache = cache_dir ? fs_join(cache_dir, name) : NULL;
		if (cache && fs_exists(cache) && !index_add_file(ix, name, cache, &why))
			continue;
		rc = load_segment(st, k.key[n], name, source, repo, idx_key, cache, ix, &why);
		if (rc && why.code != ERR_FORMAT && why.code != ERR_CORRUPT && why.code != ERR_MISSING) {
			*err = why;
			return rc;
		}
		if (rc) {
			log_msg(LOG_WARN, "%s: %s", st->name, why.msg);
			ret->bad++;
		}
	}
	if (cache_dir && index_segments(ix) > LOCAL_SEGMENTS)
		merge_local(ix, cache_dir);
	return 0;
}

int index_load_attempt(struct store *st, const char *source, const char *attempt, const unsigned char repo[REPO_ID_LEN], const struct secret *idx_key, struct index *ix,
	struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	int rc = store_list_all(st, key_fmt(prefix, "i/%s/%s.", source, attempt), &k, err);
	for (size_t i = 0; i < k.n && !rc; i++) {
		struct err why = ERR_INIT;
		rc = load_segment(st, k.key[i], strrchr(k.key[i], '/') + 1, source, repo, idx_key, NULL, ix, &why);
		if (rc == -ERR_FORMAT || rc == -ERR_CORRUPT || rc == -ERR_MISSING)
			rc = 0; /* it describes nothing */
		else if (rc)
			*err = why;
	}
	return rc;
}
