#include "remote/enroll.h"

#include <string.h>
#include "base/fs.h"
#include "base/str.h"

int enroll_keys(const struct enroll *e, struct source_keys *ret, bool *ret_made, struct err *err)
{
	struct err why = ERR_INIT;
	int rc = host_keys_find(e->root, e->plan, e->source, ret, &why);
	*ret_made = false;
	if (!rc && memcmp(ret->repo, e->repo, REPO_ID_LEN)) {
		source_keys_release(ret);
		return err_set(err, ERR_FORK, "source '%s' has keys of another repository here", e->source);
	}
	if (!rc || why.code != ERR_USAGE || !e->psk) {
		*err = why;
		return rc;
	}
	CLEAN(free_ptr) char *dir = fs_join(e->root->keys, "sources");
	CLEAN(free_ptr) char *path = host_key_path(e->root, e->plan, e->source, 1);
	if ((rc = fs_mkdirs(e->root->keys, 0700, err)) || (rc = fs_mkdirs(dir, 0700, err)))
		return rc;
	source_keys_generate(ret, e->repo, e->source, e->plan, 1, e->psk);
	rc = source_keys_save(ret, path, err);
	if (rc)
		source_keys_release(ret);
	*ret_made = !rc;
	return rc;
}

int enroll_seal(const struct source_keys *k, const struct cfg *cfg, const struct sites *sites, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	struct store_stat st;
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	const struct cfg_class *c = cfg_find_class(cfg, k->class_name);
	if (!c)
		return err_set(err, ERR_INTERNAL, "class '%s' has no recipients", k->class_name);
	key_fmt(key, "k/%s/%u", k->source, k->epoch);
	for (size_t i = 0; !b.len && i < sites->n; i++) /* sealing is randomised: one sealed form for all sites */
		if (sites->site[i].store && !store_stat(sites->site[i].store, key, &st, NULL) && store_get(sites->site[i].store, key, &b, err))
			return err_rc(err);
	int rc = b.len ? 0 : key_object_seal(k, c->recipient, c->n_recipients, &b, err);
	for (size_t i = 0; !rc && i < sites->n; i++)
		if (sites->site[i].store)
			rc = store_put_same(sites->site[i].store, key, b.p, b.len, err);
	return rc;
}

static int make_opening(const struct job *j, const struct enroll_opening *e, const char *path, struct opening_key *ret, struct err *err)
{
	CLEAN(free_ptr) char *dir = fs_join(j->root->keys, "recovery");
	int rc = fs_mkdirs(j->root->keys, 0700, err);
	if (!rc)
		rc = fs_mkdirs(dir, 0700, err);
	if (rc)
		return rc;
	opening_key_generate(ret, e->repo, j->plan->name, e->root_pub);
	return opening_key_save(ret, path, err);
}

int enroll_opening(const struct job *j, struct enroll_opening *e, struct opening_key *ret, struct err *err)
{
	CLEAN(free_ptr) char *path = path_opening_key(j);
	struct err why = ERR_INIT;
	*ret = (struct opening_key){0};
	int rc = opening_key_load(ret, path, &why);
	if (rc && rc != -ERR_MISSING) {
		*err = why;
		return rc;
	}
	if (rc && !e->may_make)
		return 0;
	e->made = rc != 0;
	rc = rc ? make_opening(j, e, path, ret, err) : 0;
	if (!rc && e->fresh && !memcmp(ret->root_pub, e->root_pub, ED25519_PUB_LEN))
		memcpy(e->repo, ret->repo, REPO_ID_LEN);
	if (!rc && memcmp(ret->repo, e->repo, REPO_ID_LEN))
		rc = err_set(err, ERR_USAGE, "%s opens another repository than the one at the sites", path);
	if (rc) {
		opening_key_release(ret);
		return rc;
	}
	e->have = true;
	memcpy(e->pub, ret->pub, X25519_LEN);
	return 0;
}
