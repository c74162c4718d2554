#include "store_rich.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "store/filter.h"

#define VERSIONS_MAX 16
#define FIRST_LOCK_NS (INT64_C(3600) * 1000000000)

struct version {
	char *key;
	struct buf bytes;
};
struct rich_store {
	struct filter f;
	pthread_mutex_t mutex;
	struct version version[VERSIONS_MAX]; /* oldest first */
	size_t n_versions;
	char *locked; /* the last object whose lock was extended */
	int64_t until_ns;
};

static struct rich_store *rich_of(struct store *s)
{
	return (struct rich_store *)s;
}

static int rich_get_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err)
{
	struct rich_store *r = rich_of(s);
	const struct version *v = NULL;

	pthread_mutex_lock(&r->mutex);
	for (size_t i = r->n_versions; i-- && n;)
		if (!strcmp(r->version[i].key, key) && !--n)
			v = &r->version[i];
	pthread_mutex_unlock(&r->mutex);
	if (!v)
		return err_set(err, ERR_MISSING, "object %s has no such version", key);
	return v->bytes.len ? sink->write(sink->arg, v->bytes.p, v->bytes.len, err) : 0;
}

static int rich_digest(struct store *s, const char *key, unsigned char ret[32], struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64u << 20);
	struct store *below = filter_below(s);
	int rc = below->ops->get(
	        below, key, (struct store_range){0, 0}, &(struct store_sink){store_buf_write, &b}, err);

	if (!rc)
		sha256_of(b.p, b.len, ret);
	return rc;
}

static int rich_lock(struct store *s, const char *key, struct store_lock *ret, struct err *err)
{
	struct rich_store *r = rich_of(s);
	struct store *below = filter_below(s);
	struct store_stat st;
	int rc = below->ops->stat(below, key, &st, err);

	if (rc)
		return rc;
	*ret = (struct store_lock){STORE_LOCK_COMPLIANCE, st.mtime_ns + FIRST_LOCK_NS};
	pthread_mutex_lock(&r->mutex);
	if (r->locked && !strcmp(r->locked, key))
		ret->until_ns = MAX(ret->until_ns, r->until_ns);
	pthread_mutex_unlock(&r->mutex);
	return 0;
}

static int rich_extend(struct store *s, const char *key, int64_t until_ns, struct err *err)
{
	struct rich_store *r = rich_of(s);
	struct store_lock now;
	int rc = rich_lock(s, key, &now, err);

	if (rc)
		return rc;
	pthread_mutex_lock(&r->mutex);
	free(r->locked);
	r->locked = xstrdup(key);
	r->until_ns = MAX(now.until_ns, until_ns);
	pthread_mutex_unlock(&r->mutex);
	return 0;
}

static int rich_clock(struct store *s, int64_t *ret_ns, struct err *err)
{
	(void)s;
	(void)err;
	*ret_ns = clock_wall_ns();
	return 0;
}

/* Overwriting and deleting work, and leave a version behind; the rest is refused. */
static int rich_attack(struct store *s, enum store_attack what, const char *key, struct err *err)
{
	static const struct store_piece piece = {"harm", 4};
	struct rich_store *r = rich_of(s);
	struct store *below = filter_below(s);
	struct version v = {xstrdup(key), BUF_INIT(64u << 20)};
	int rc = -ERR_DENIED;

	if (what == STORE_OVERWRITE || what == STORE_DELETE)
		rc = below->ops->get(below, key, (struct store_range){0, 0},
		        &(struct store_sink){store_buf_write, &v.bytes}, err);
	else
		(void)err_set(err, ERR_DENIED, "object %s is locked", key);
	if (!rc)
		rc = below->ops->remove(below, key, err);
	if (!rc && what == STORE_OVERWRITE)
		rc = below->ops->put(below, key, &(struct store_src){&piece, 1}, err);
	pthread_mutex_lock(&r->mutex);
	BUG_ON(r->n_versions == VERSIONS_MAX);
	if (!rc)
		r->version[r->n_versions++] = v;
	pthread_mutex_unlock(&r->mutex);
	if (rc) {
		buf_release(&v.bytes);
		free(v.key);
	}
	return rc;
}

static void rich_free(struct store *s)
{
	struct rich_store *r = rich_of(s);

	for (size_t i = 0; i < r->n_versions; i++) {
		buf_release(&r->version[i].bytes);
		free(r->version[i].key);
	}
	free(r->locked);
	pthread_mutex_destroy(&r->mutex);
	filter_release(&r->f);
	free(r);
}

static const struct store_ops changes = {
        .scheme = "rich",
        .free = rich_free,
        .get_older = rich_get_older,
        .digest = rich_digest,
        .lock = rich_lock,
        .extend = rich_extend,
        .clock = rich_clock,
        .attack = rich_attack,
};

int store_rich_open(const char *name, struct store **ret, struct err *err)
{
	struct store *below;
	int rc = store_mem_open(name, &below, err);

	if (rc)
		return rc;
	struct rich_store *r = xcalloc(1, sizeof *r);

	pthread_mutex_init(&r->mutex, NULL);
	filter_init(&r->f, &changes, below);
	r->f.base.caps |= STORE_REMOTE | STORE_VERSIONS | STORE_DIGEST | STORE_OBJECT_LOCK;
	*ret = &r->f.base;
	return 0;
}
