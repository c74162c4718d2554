#include "store/filter.h"

#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

#define COMPONENT_MAX 255 /* NAME_MAX of the file systems behind most drivers */
#define LIST_ALL_MAX ((size_t)16 << 20)

/* --- keys --- */

static bool key_char(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
	       c == '-';
}

/* Components of at most COMPONENT_MAX legal bytes without a leading dot; a prefix may end anywhere. */
static bool text_ok(const char *text, bool prefix)
{
	size_t start = 0, i = 0;

	for (;; i++) {
		if (i > STORE_KEY_MAX)
			return false;
		if (text[i] && text[i] != '/') {
			if (!key_char((unsigned char)text[i]) || (i == start && text[i] == '.') ||
			        i - start >= COMPONENT_MAX)
				return false;
			continue;
		}
		if (!text[i])
			return i > start || prefix;
		if (i == start)
			return false;
		start = i + 1;
	}
}

bool store_key_ok(const char *key)
{
	return key && text_ok(key, false);
}

static int check_key(const struct store *s, const char *key, struct err *err)
{
	if (store_key_ok(key))
		return 0;
	return err_set(err, ERR_FORMAT, "site %s: '%.100s' is not a valid key", s->name, key ? key : "");
}

static int at_site(const struct store *s, int rc, struct err *err)
{
	if (rc && err)
		(void)err_wrap(err, "site %s", s->name);
	return rc;
}

void store_free(struct store *s)
{
	if (s)
		s->ops->free(s);
}

void store_free_ptr(struct store **s)
{
	store_free(*s);
	*s = NULL;
}

/* --- put --- */

int store_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	uint64_t total = 0;

	if (check_key(s, key, err))
		return -ERR_FORMAT;
	for (size_t i = 0; i < src->n_pieces; i++)
		if (__builtin_add_overflow(total, src->piece[i].n, &total) || total > STORE_OBJECT_MAX)
			return err_set(err, ERR_NOMEM, "site %s: object %s is larger than %llu bytes", s->name, key,
			        (unsigned long long)STORE_OBJECT_MAX);
	return at_site(s, s->ops->put(s, key, src, err), err);
}

int store_put_bytes(struct store *s, const char *key, const void *p, size_t n, struct err *err)
{
	const struct store_piece piece = {p, n};
	const struct store_src src = {&piece, 1};

	return store_put(s, key, &src, err);
}

int store_put_same(struct store *s, const char *key, const void *p, size_t n, struct err *err)
{
	struct err taken = ERR_INIT;
	int rc = store_put_bytes(s, key, p, n, &taken);

	if (rc != -ERR_EXISTS) {
		if (rc && err)
			*err = taken;
		return rc;
	}
	CLEAN(buf_release) struct buf there = BUF_INIT(n + 1);

	/* One byte more than ours is enough to see that what is there is longer. */
	rc = store_get_sink(s, key, (struct store_range){0, n + 1}, &(struct store_sink){store_buf_write, &there}, err);
	if (rc)
		return rc;
	if (there.len == n && (!n || !memcmp(there.p, p, n)))
		return 0;
	return err_set(err, ERR_EXISTS, "site %s: object %s is there with other bytes", s->name, key);
}

/* --- get --- */

int store_buf_write(void *arg, const void *p, size_t n, struct err *err)
{
	return buf_put(arg, p, n, err);
}

/* Tells an error of the sink, which is not the site's, from one of the driver. */
struct sink_guard {
	struct store_sink *to;
	int rc;
};

static int guard_write(void *arg, const void *p, size_t n, struct err *err)
{
	struct sink_guard *g = arg;

	g->rc = g->to->write(g->to->arg, p, n, err);
	return g->rc;
}

int store_get_sink(struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err)
{
	struct sink_guard g = {sink, 0};
	struct store_sink guarded = {guard_write, &g};

	if (check_key(s, key, err))
		return -ERR_FORMAT;
	int rc = s->ops->get(s, key, range, &guarded, err);

	return g.rc ? g.rc : at_site(s, rc, err);
}

static int get_into(
        struct store *s, const char *key, struct store_range range, struct buf *out, struct err *err)
{
	size_t before = out->len;
	int rc;

	if (!s->ops->get_buf)
		rc = store_get_sink(s, key, range, &(struct store_sink){store_buf_write, out}, err);
	else if (!(rc = check_key(s, key, err)))
		rc = at_site(s, s->ops->get_buf(s, key, range, out, err), err);
	if (rc)
		out->len = before;
	return rc;
}

int store_get(struct store *s, const char *key, struct buf *out, struct err *err)
{
	return get_into(s, key, (struct store_range){0, 0}, out, err);
}

int store_get_part(struct store *s, const char *key, uint64_t off, size_t len, struct buf *out, struct err *err)
{
	/* a length of 0 would mean "to the end" */
	return len ? get_into(s, key, (struct store_range){off, len}, out, err) : 0;
}

int store_get_range(struct store *s, const char *key, uint64_t off, size_t len, struct buf *out, struct err *err)
{
	size_t before = out->len;
	int rc = store_get_part(s, key, off, len, out, err);

	if (!rc && out->len - before != len)
		rc = err_set(err, ERR_CORRUPT, "site %s: object %s ends before byte %llu", s->name, key,
		        (unsigned long long)off + len);
	if (rc)
		out->len = before;
	return rc;
}

int store_stat(struct store *s, const char *key, struct store_stat *ret, struct err *err)
{
	if (check_key(s, key, err))
		return -ERR_FORMAT;
	return at_site(s, s->ops->stat(s, key, ret, err), err);
}

/* --- list --- */

/* What a site lists is outside input: legal keys under the prefix, each above the one before. */
struct list_guard {
	struct store *s;
	const char *prefix, *after;
	store_list_fn fn;
	void *arg;
	int rc; /* of fn */
	char last[STORE_KEY_MAX + 1];
};

static int guard_key(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	struct list_guard *g = arg;

	if (!store_key_ok(key) || !str_starts(key, g->prefix))
		return err_set(err, ERR_FORMAT, "the list of '%s' holds the foreign key '%.100s'", g->prefix, key);
	if (strcmp(key, g->last) <= 0 || (g->after && strcmp(key, g->after) <= 0))
		return err_set(err, ERR_FORMAT, "the list of '%s' is out of order at %.100s", g->prefix, key);
	memcpy(g->last, key, strlen(key) + 1);
	g->rc = g->fn(g->arg, key, st, err);
	return g->rc;
}

int store_list(struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err)
{
	struct list_guard g = {.s = s, .prefix = prefix, .after = after, .fn = fn, .arg = arg};

	if (!text_ok(prefix, true))
		return err_set(err, ERR_FORMAT, "site %s: '%.100s' is not a valid prefix", s->name, prefix);
	if (after && strnlen(after, STORE_KEY_MAX + 1) > STORE_KEY_MAX)
		return err_set(err, ERR_FORMAT, "site %s: the key to list after is too long", s->name);
	int rc = s->ops->list(s, prefix, after, guard_key, &g, err);

	return g.rc ? g.rc : at_site(s, rc, err);
}

struct list_all {
	struct store_keys *keys;
	size_t cap_key, cap_size;
};

static int list_all_key(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	struct list_all *l = arg;
	struct store_keys *k = l->keys;

	if (k->n >= LIST_ALL_MAX)
		return err_set(err, ERR_NOMEM, "a list has more than %zu keys", LIST_ALL_MAX);
	k->key = xgrow(k->key, k->n, &l->cap_key, sizeof *k->key);
	k->size = xgrow(k->size, k->n, &l->cap_size, sizeof *k->size);
	k->key[k->n] = xstrdup(key);
	k->size[k->n++] = st->size;
	return 0;
}

int store_list_all(struct store *s, const char *prefix, struct store_keys *ret, struct err *err)
{
	struct list_all l = {.keys = ret};

	*ret = (struct store_keys){0};
	int rc = store_list(s, prefix, NULL, list_all_key, &l, err);

	if (rc)
		store_keys_release(ret);
	return rc;
}

void store_keys_release(struct store_keys *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->key[i]);
	free(k->key);
	free(k->size);
	*k = (struct store_keys){0};
}

/* --- the rest --- */

int store_remove(struct store *s, const char *key, struct err *err)
{
	if (check_key(s, key, err))
		return -ERR_FORMAT;
	if (!(s->caps & STORE_REMOVE))
		return err_set(err, ERR_UNSUPPORTED, "site %s: it cannot remove objects", s->name);
	return at_site(s, s->ops->remove(s, key, err), err);
}

int store_sync(struct store *s, struct err *err)
{
	return at_site(s, s->ops->sync(s, err), err);
}

/* --- what not every place has --- */

int store_get_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err)
{
	struct sink_guard g = {sink, 0};
	struct store_sink guarded = {guard_write, &g};

	if (check_key(s, key, err))
		return -ERR_FORMAT;
	int rc = op_get_older(s, key, n, &guarded, err);

	return g.rc ? g.rc : at_site(s, rc, err);
}

int store_digest(struct store *s, const char *key, unsigned char ret[32], struct err *err)
{
	if (check_key(s, key, err))
		return -ERR_FORMAT;
	return at_site(s, op_digest(s, key, ret, err), err);
}

int store_lock(struct store *s, const char *key, struct store_lock *ret, struct err *err)
{
	if (check_key(s, key, err))
		return -ERR_FORMAT;
	return at_site(s, op_lock(s, key, ret, err), err);
}

int store_extend(struct store *s, const char *key, int64_t until_ns, struct err *err)
{
	if (check_key(s, key, err))
		return -ERR_FORMAT;
	return at_site(s, op_extend(s, key, until_ns, err), err);
}

int store_clock(struct store *s, int64_t *ret_ns, struct err *err)
{
	return at_site(s, op_clock(s, ret_ns, err), err);
}

int store_attack(struct store *s, enum store_attack what, const char *key, struct err *err)
{
	if (check_key(s, key, err))
		return -ERR_FORMAT;
	return at_site(s, op_attack(s, what, key, err), err);
}

int store_cosign(struct store *s, const void *p, size_t n, struct buf *ret, struct err *err)
{
	if (!s->ops->cosign)
		return err_set(err, ERR_UNSUPPORTED, "site %s: there is no witness", s->name);
	return at_site(s, s->ops->cosign(s, p, n, ret, err), err);
}

int store_pace(const struct store *s, size_t n, struct err *err)
{
	return s->pace ? s->pace->take(s->pace->arg, n, err) : 0;
}
