/* Where an installation keeps its keys, and how jobs get at them. */
#include "job/common.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include "base/fs.h"
#include "base/str.h"

char *path_root_key(const struct job *j)
{
	return fs_join(j->root->keys, "root.key");
}

char *path_root_pub(const struct job *j)
{
	return fs_join(j->root->keys, "root.pub");
}

char *path_log_key(const struct job *j)
{
	return fs_join(j->root->keys, "log.key");
}

char *path_opening_key(const struct job *j)
{
	char name[SOURCE_MAX + 32];
	snprintf(name, sizeof name, "recovery/%s.key", j->plan->name);
	return fs_join(j->root->keys, name);
}

char *host_key_path(const struct root *r, const char *plan, const char *source, uint32_t epoch)
{
	char name[2 * SOURCE_MAX + 64];
	snprintf(name, sizeof name, "sources/%s.%s.%u.key", plan, source, epoch);
	return fs_join(r->keys, name);
}

char *path_source_key(const struct job *j, const char *source, uint32_t epoch)
{
	return host_key_path(j->root, j->plan->name, source, epoch);
}

char *path_source_state(const struct job *j, const char *source)
{
	CLEAN(free_ptr) char *plan = fs_join(j->root->state, j->plan->name);
	return fs_join(plan, source);
}

static int no_keys(const char *plan, const char *path, struct err *err)
{
	/* not damage of a copy: the installation was not set up, or the keys are on another host */
	err_set(err, ERR_USAGE, "%s is not there", path);
	if (err)
		err_hint(err, "run 'holdfast init' with the plan '%s' first", plan);
	return -ERR_USAGE;
}

int root_pub_load(const struct job *j, unsigned char pub[ED25519_PUB_LEN], struct err *err)
{
	CLEAN(free_ptr) char *path = path_root_pub(j);
	CLEAN(buf_release) struct buf b = BUF_INIT(128);
	int rc = fs_read(path, &b, err);
	if (rc == -ERR_MISSING)
		return no_keys(j->plan->name, path, err);
	if (rc)
		return rc;
	if (b.len && b.p[b.len - 1] == '\n')
		b.len--;
	if (!hex_decode(pub, ED25519_PUB_LEN, buf_str(&b)))
		return err_set(err, ERR_FORMAT, "%s does not hold a public key", path);
	return 0;
}

/* Highest epoch there is a key file for, 0: none. */
static uint32_t newest_epoch(const struct root *r, const char *plan, const char *source)
{
	char prefix[2 * SOURCE_MAX + 8];
	unsigned long best = 0;
	CLEAN(free_ptr) char *dir = fs_join(r->keys, "sources");
	snprintf(prefix, sizeof prefix, "%s.%s.", plan, source);
	DIR *d = opendir(dir);
	for (struct dirent *e; d && (e = readdir(d));) {
		char *end;
		if (!str_starts(e->d_name, prefix))
			continue;
		unsigned long n = strtoul(e->d_name + strlen(prefix), &end, 10);
		if (str_eq(end, ".key") && n <= UINT32_MAX && n > best)
			best = n;
	}
	if (d)
		closedir(d);
	return (uint32_t)best;
}

int host_keys_find(const struct root *r, const char *plan, const char *source, struct source_keys *ret, struct err *err)
{
	uint32_t epoch = newest_epoch(r, plan, source);
	CLEAN(free_ptr) char *path = host_key_path(r, plan, source, epoch ? epoch : 1);
	if (!epoch)
		return no_keys(plan, path, err);
	int rc = source_keys_load(ret, path, err);
	if (!rc && (!str_eq(ret->source, source) || ret->epoch != epoch)) {
		source_keys_release(ret);
		return err_set(err, ERR_FORMAT, "%s holds keys of another source or epoch", path);
	}
	return rc;
}

int host_keys_load(const struct job *j, const char *source, struct source_keys *ret, struct err *err)
{
	return host_keys_find(j->root, j->plan->name, source, ret, err);
}

int log_seed_load(const struct job *j, struct secret *ret, struct err *err)
{
	CLEAN(free_ptr) char *path = path_log_key(j);
	CLEAN(buf_release) struct buf b = BUF_INIT(128);
	unsigned char seed[ED25519_SEED_LEN];
	int rc = fs_read(path, &b, err);
	if (rc == -ERR_MISSING)
		return no_keys(j->plan->name, path, err);
	if (rc)
		return rc;
	if (b.len && b.p[b.len - 1] == '\n')
		b.len--;
	bool ok = hex_decode(seed, sizeof seed, buf_str(&b));
	mem_cleanse(b.p, b.cap);
	if (!ok)
		return err_set(err, ERR_FORMAT, "%s does not hold a key", path);
	secret_set(ret, seed, sizeof seed);
	mem_cleanse(seed, sizeof seed);
	return 0;
}

int recovery_key_load(const struct job *j, struct opening_key *ret, struct err *err)
{
	CLEAN(free_ptr) char *path = path_opening_key(j);
	int rc = opening_key_load(ret, path, err);
	if (rc == -ERR_MISSING) {
		err_set(err, ERR_MISSING, "the opening key %s is not there", path);
		err->code = ERR_USAGE;
		return err_hint(err, "put the recovery kit's key there for as long as it is needed");
	}
	return rc;
}
