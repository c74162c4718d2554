#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "store/fault.h"
#include "store/filter.h"
#include "base/mem.h"
#include "base/str.h"

#define RULES_MAX 64 /* a set of rules is a uint64_t */

struct fault_store {
	struct filter f;
	struct fault_rule *rule;
	size_t n;
	pthread_mutex_t mutex; /* counters and old listings of the rules */
};

static struct fault_store *fault_of(struct store *s)
{
	return (struct fault_store *)s;
}

/* --- which rules act --- */

static bool matches(const struct fault_rule *r, unsigned op, const char *key)
{
	return (r->ops & op) && (str_starts(key, r->prefix) || (op == FAULT_LIST && str_starts(r->prefix, key)));
}

/* Count this operation at every rule that matches it; the set of those that act on it. */
static uint64_t acting(struct fault_store *f, unsigned op, const char *key)
{
	uint64_t set = 0;

	pthread_mutex_lock(&f->mutex);
	for (size_t i = 0; i < f->n; i++) {
		struct fault_rule *r = &f->rule[i];

		if (!matches(r, op, key))
			continue;
		uint64_t seen = r->seen++;

		if (seen >= r->after && seen - r->after < r->times)
			set |= UINT64_C(1) << i;
	}
	pthread_mutex_unlock(&f->mutex);
	return set;
}

/* Next rule of the set with this action, from *at on; NULL when there is none. */
static struct fault_rule *next_rule(struct fault_store *f, uint64_t set, enum fault_action action, size_t *at)
{
	while (*at < f->n) {
		size_t i = (*at)++;

		if ((set >> i & 1) && f->rule[i].action == action)
			return &f->rule[i];
	}
	return NULL;
}

static bool has_rule(struct fault_store *f, uint64_t set, enum fault_action action)
{
	size_t at = 0;

	return next_rule(f, set, action, &at) != NULL;
}

static int before(struct fault_store *f, uint64_t set, const char *key, struct err *err)
{
	size_t at = 0;
	const struct fault_rule *r;

	if (has_rule(f, set, FAULT_KILL))
		(void)kill(getpid(), SIGKILL);
	r = next_rule(f, set, FAULT_FAIL, &at);
	return r ? err_set(err, r->code, "planted fault '%s' at %s", r->text, *key ? key : "*") : 0;
}

static int after(struct fault_store *f, uint64_t set, const char *key, int rc, struct err *err)
{
	size_t at = 0;
	const struct fault_rule *r;

	if (has_rule(f, set, FAULT_KILLAFTER))
		(void)kill(getpid(), SIGKILL);
	r = rc ? NULL : next_rule(f, set, FAULT_FAILAFTER, &at);
	return r ? err_set(err, r->code, "planted fault '%s' at %s", r->text, *key ? key : "*") : rc;
}

/* --- changed bytes --- */

static bool changes_length(struct fault_store *f, uint64_t set)
{
	return has_rule(f, set, FAULT_TRUNCATE) || has_rule(f, set, FAULT_EXTEND);
}

static bool changes_bytes(struct fault_store *f, uint64_t set)
{
	return has_rule(f, set, FAULT_FLIP) || changes_length(f, set);
}

/* A position from the front, or from the end when negative, brought to within 0 … max. */
static size_t position(int64_t at, size_t len, size_t max)
{
	if (at < 0) {
		uint64_t back = 0 - (uint64_t)at;

		return back > len ? 0 : MIN(len - (size_t)back, max);
	}
	return (uint64_t)at > max ? max : (size_t)at;
}

static size_t flip_at(const struct fault_rule *r, size_t len)
{
	return r->has_arg ? position(r->arg, len, len - 1) : len / 2;
}

static int change_bytes(struct fault_store *f, uint64_t set, struct buf *b, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < f->n && !rc; i++) {
		const struct fault_rule *r = &f->rule[i];

		if (!(set >> i & 1))
			continue;
		if (r->action == FAULT_FLIP && b->len)
			b->p[flip_at(r, b->len)] ^= 1;
		else if (r->action == FAULT_TRUNCATE)
			b->len = position(r->arg, b->len, b->len);
		else if (r->action == FAULT_EXTEND)
			rc = buf_fill(b, 0, (size_t)r->arg, err);
	}
	return rc;
}

static int fault_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	struct fault_store *f = fault_of(s);
	uint64_t set = acting(f, FAULT_PUT, key);
	int rc = before(f, set, key, err);

	if (rc)
		return rc;
	if (has_rule(f, set, FAULT_DROP))
		return after(f, set, key, 0, err);
	if (!changes_bytes(f, set))
		return after(f, set, key, f->f.below->ops->put(f->f.below, key, src, err), err);
	CLEAN(buf_release) struct buf b = BUF_INIT(2 * STORE_OBJECT_MAX);

	for (size_t i = 0; i < src->n_pieces && !rc; i++)
		rc = buf_put(&b, src->piece[i].p, src->piece[i].n, err);
	if (!rc)
		rc = change_bytes(f, set, &b, err);
	if (rc)
		return rc;
	const struct store_piece piece = {b.p, b.len};
	const struct store_src changed = {&piece, 1};

	return after(f, set, key, f->f.below->ops->put(f->f.below, key, &changed, err), err);
}

/* Finds the key behind `key`, or else the first one that is another. */
struct other_key {
	const char *key;
	char first[STORE_KEY_MAX + 1], next[STORE_KEY_MAX + 1];
};

static int see_other(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	struct other_key *o = arg;
	int order = strcmp(key, o->key);

	(void)st;
	(void)err;
	if (order > 0)
		memcpy(o->next, key, strlen(key) + 1);
	else if (order < 0 && !o->first[0])
		memcpy(o->first, key, strlen(key) + 1);
	return order > 0;
}

/* Key whose object is to be served for `key`. */
static int swapped(struct fault_store *f, uint64_t set, const char *key, char ret[STORE_KEY_MAX + 1], struct err *err)
{
	size_t at = 0;
	const struct fault_rule *r = next_rule(f, set, FAULT_SWAP, &at);
	struct other_key o = {.key = key};

	memcpy(ret, key, strlen(key) + 1);
	if (!r)
		return 0;
	int rc = f->f.below->ops->list(f->f.below, r->prefix, NULL, see_other, &o, err);

	if (rc < 0)
		return rc;
	if (!o.next[0] && !o.first[0])
		return err_set(err, ERR_FAILED, "planted fault '%s' finds no object to serve for %s", r->text, key);
	memcpy(ret, o.next[0] ? o.next : o.first, STORE_KEY_MAX + 1);
	return 0;
}

/* Stands between what is below and the caller's sink or callback until the connection "breaks". */
struct cut {
	const struct fault_rule *rule; /* NULL: it does not break */
	uint64_t left;
	struct store_sink *sink;
	store_list_fn fn;
	void *arg;
	int rc; /* of sink or callback */
};

static void cut_begin(struct cut *c, struct fault_store *f, uint64_t set)
{
	size_t at = 0;

	c->rule = next_rule(f, set, FAULT_CUT, &at);
	c->left = c->rule ? (uint64_t)c->rule->arg : UINT64_MAX;
}

static int cut_write(void *arg, const void *p, size_t n, struct err *err)
{
	struct cut *c = arg;
	size_t part = (size_t)MIN(c->left, n);

	c->left -= part;
	if (part)
		c->rc = c->sink->write(c->sink->arg, p, part, err);
	return c->rc ? c->rc : part < n;
}

static int cut_key(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	struct cut *c = arg;

	if (!c->left)
		return 1;
	c->left--;
	c->rc = c->fn(c->arg, key, st, err);
	return c->rc;
}

static int cut_end(const struct cut *c, const char *key, int rc, struct err *err)
{
	if (c->rc || rc < 0 || !c->rule)
		return c->rc ? c->rc : rc;
	return err_set(err, ERR_UNREACHABLE, "planted fault '%s' at %s", c->rule->text, *key ? key : "*");
}

/* The object as a whole, changed; offsets in rules are those of the object, whatever part of it is asked for. */
static int changed_object(struct fault_store *f, uint64_t set, const char *key, unsigned older, struct store_range range,
        struct store_sink *sink, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(2 * STORE_OBJECT_MAX);
	struct store_sink whole = {store_buf_write, &b};
	struct store *below = f->f.below;
	int rc = older ? op_get_older(below, key, older, &whole, err)
	               : below->ops->get(below, key, (struct store_range){0, 0}, &whole, err);

	if (!rc)
		rc = change_bytes(f, set, &b, err);
	if (rc || range.off >= b.len)
		return rc;
	size_t left = b.len - (size_t)range.off;

	return sink->write(sink->arg, b.p + range.off, range.len ? (size_t)MIN(left, range.len) : left, err);
}

/* Where the length stays, no more is read than is asked for. */
static int flipped_bytes(struct fault_store *f, uint64_t set, const char *key, struct store_range range, struct store_sink *sink, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(2 * STORE_OBJECT_MAX);
	struct store_sink part = {store_buf_write, &b};
	struct store_stat st;
	size_t at = 0;
	const struct fault_rule *r;
	int rc = f->f.below->ops->stat(f->f.below, key, &st, err);

	if (!rc)
		rc = f->f.below->ops->get(f->f.below, key, range, &part, err);
	if (rc || !b.len)
		return rc;
	while ((r = next_rule(f, set, FAULT_FLIP, &at))) {
		uint64_t flip = flip_at(r, (size_t)st.size);

		if (flip >= range.off && flip - range.off < b.len)
			b.p[flip - range.off] ^= 1;
	}
	return sink->write(sink->arg, b.p, b.len, err);
}

static int fault_get(
        struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err)
{
	struct fault_store *f = fault_of(s);
	uint64_t set = acting(f, FAULT_GET, key);
	struct cut c = {.sink = sink};
	struct store_sink until = {cut_write, &c};
	char from[STORE_KEY_MAX + 1];
	int rc = before(f, set, key, err);

	if (!rc)
		rc = swapped(f, set, key, from, err);
	if (rc)
		return rc;
	cut_begin(&c, f, set);
	if (changes_length(f, set))
		rc = changed_object(f, set, from, 0, range, &until, err);
	else if (changes_bytes(f, set))
		rc = flipped_bytes(f, set, from, range, &until, err);
	else
		rc = f->f.below->ops->get(f->f.below, from, range, &until, err);
	return after(f, set, key, cut_end(&c, key, rc, err), err);
}

static int fault_get_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err)
{
	struct fault_store *f = fault_of(s);
	uint64_t set = acting(f, FAULT_OLDER, key);
	struct cut c = {.sink = sink};
	struct store_sink until = {cut_write, &c};
	int rc = before(f, set, key, err);

	if (rc)
		return rc;
	cut_begin(&c, f, set);
	if (changes_bytes(f, set))
		rc = changed_object(f, set, key, n, (struct store_range){0, 0}, &until, err);
	else
		rc = op_get_older(f->f.below, key, n, &until, err);
	return after(f, set, key, cut_end(&c, key, rc, err), err);
}

/* --- changed listings --- */

static void add_entry(struct fault_entries *l, const char *key, const struct store_stat *st)
{
	l->e = xgrow(l->e, l->n, &l->cap, sizeof *l->e);
	l->e[l->n++] = (struct fault_entry){xstrdup(key), *st};
}

static int collect(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	(void)err;
	add_entry(arg, key, st);
	return 0;
}

static int entry_cmp(const void *a, const void *b)
{
	return strcmp(((const struct fault_entry *)a)->key, ((const struct fault_entry *)b)->key);
}

static void leave_out(struct fault_entries *l, const char *prefix)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (str_starts(l->e[i].key, prefix))
			free(l->e[i].key);
		else
			l->e[kept++] = l->e[i];
	}
	l->n = kept;
}

/* Replace what is under the rule's prefix by what was there when the rule first acted. */
static int make_stale(struct fault_store *f, struct fault_rule *r, const char *prefix, const char *above,
        struct fault_entries *l, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&f->mutex);
	if (!r->has_old)
		rc = f->f.below->ops->list(f->f.below, r->prefix, NULL, collect, &r->old, err);
	r->has_old = rc == 0;
	if (!r->has_old)
		fault_entries_release(&r->old);
	else
		leave_out(l, r->prefix);
	for (size_t i = 0; i < r->old.n; i++)
		if (str_starts(r->old.e[i].key, prefix) && (!above || strcmp(r->old.e[i].key, above) > 0))
			add_entry(l, r->old.e[i].key, &r->old.e[i].st);
	pthread_mutex_unlock(&f->mutex);
	return rc;
}

static int changed_list(struct fault_store *f, uint64_t set, const char *prefix, const char *above, store_list_fn fn,
        void *arg, struct err *err)
{
	CLEAN(fault_entries_release) struct fault_entries l = {0};
	int rc = f->f.below->ops->list(f->f.below, prefix, above, collect, &l, err);

	for (size_t i = 0; i < f->n && !rc; i++) {
		if (!(set >> i & 1))
			continue;
		if (f->rule[i].action == FAULT_DROP)
			leave_out(&l, f->rule[i].prefix);
		else if (f->rule[i].action == FAULT_STALE)
			rc = make_stale(f, &f->rule[i], prefix, above, &l, err);
	}
	if (l.n)
		qsort(l.e, l.n, sizeof *l.e, entry_cmp);
	for (size_t i = 0; i < l.n && !rc; i++)
		rc = fn(arg, l.e[i].key, &l.e[i].st, err);
	return rc;
}

static int fault_list(
        struct store *s, const char *prefix, const char *above, store_list_fn fn, void *arg, struct err *err)
{
	struct fault_store *f = fault_of(s);
	uint64_t set = acting(f, FAULT_LIST, prefix);
	struct cut c = {.fn = fn, .arg = arg};
	int rc = before(f, set, prefix, err);

	if (rc)
		return rc;
	cut_begin(&c, f, set);
	if (has_rule(f, set, FAULT_DROP) || has_rule(f, set, FAULT_STALE))
		rc = changed_list(f, set, prefix, above, cut_key, &c, err);
	else
		rc = f->f.below->ops->list(f->f.below, prefix, above, cut_key, &c, err);
	return after(f, set, prefix, cut_end(&c, prefix, rc, err), err);
}

/* --- the rest --- */

static int fault_stat(struct store *s, const char *key, struct store_stat *ret, struct err *err)
{
	struct fault_store *f = fault_of(s);
	uint64_t set = acting(f, FAULT_STAT, key);
	int rc = before(f, set, key, err);

	return rc ? rc : after(f, set, key, f->f.below->ops->stat(f->f.below, key, ret, err), err);
}

static int fault_remove(struct store *s, const char *key, struct err *err)
{
	struct fault_store *f = fault_of(s);
	uint64_t set = acting(f, FAULT_REMOVE, key);
	int rc = before(f, set, key, err);

	if (rc)
		return rc;
	if (!has_rule(f, set, FAULT_DROP))
		rc = f->f.below->ops->remove(f->f.below, key, err);
	return after(f, set, key, rc, err);
}

static int fault_digest(struct store *s, const char *key, unsigned char ret[32], struct err *err)
{
	struct fault_store *f = fault_of(s);
	uint64_t set = acting(f, FAULT_DIGEST, key);
	struct buf b = {.p = ret, .len = 32, .limit = 32};
	int rc = before(f, set, key, err);

	if (!rc)
		rc = op_digest(f->f.below, key, ret, err);
	if (!rc)
		rc = change_bytes(f, set, &b, err);
	return rc ? rc : after(f, set, key, rc, err);
}

static int fault_lock(struct store *s, const char *key, struct store_lock *ret, struct err *err)
{
	struct fault_store *f = fault_of(s);
	uint64_t set = acting(f, FAULT_LOCK, key);
	int rc = before(f, set, key, err);

	return rc ? rc : after(f, set, key, op_lock(f->f.below, key, ret, err), err);
}

static int fault_extend(struct store *s, const char *key, int64_t until_ns, struct err *err)
{
	struct fault_store *f = fault_of(s);
	uint64_t set = acting(f, FAULT_LATER, key);
	int rc = before(f, set, key, err);

	return rc ? rc : after(f, set, key, op_extend(f->f.below, key, until_ns, err), err);
}

static int fault_clock(struct store *s, int64_t *ret_ns, struct err *err)
{
	struct fault_store *f = fault_of(s);
	uint64_t set = acting(f, FAULT_CLOCK, "");
	int rc = before(f, set, "", err);

	return rc ? rc : after(f, set, "", op_clock(f->f.below, ret_ns, err), err);
}

static int fault_attack(struct store *s, enum store_attack what, const char *key, struct err *err)
{
	struct fault_store *f = fault_of(s);
	uint64_t set = acting(f, FAULT_ATTACK, key);
	int rc = before(f, set, key, err);

	return rc ? rc : after(f, set, key, op_attack(f->f.below, what, key, err), err);
}

/* Everything but what is below, which is not ours until the rules have been read. */
static void fault_dispose(struct fault_store *f)
{
	for (size_t i = 0; i < f->n; i++)
		fault_rule_release(&f->rule[i]);
	free(f->rule);
	pthread_mutex_destroy(&f->mutex);
	free(f);
}

static void fault_free(struct store *s)
{
	filter_release(&fault_of(s)->f);
	fault_dispose(fault_of(s));
}

static const struct store_ops changes = {
        .scheme = "fault",
        .put = fault_put,
        .get = fault_get,
        .stat = fault_stat,
        .list = fault_list,
        .remove = fault_remove,
        .free = fault_free,
        .get_older = fault_get_older,
        .digest = fault_digest,
        .lock = fault_lock,
        .extend = fault_extend,
        .clock = fault_clock,
        .attack = fault_attack,
};

int store_fault_new(struct store *below, const char *const *rules, struct store **ret, struct err *err)
{
	struct fault_store *f = xcalloc(1, sizeof *f);
	size_t cap = 0;
	int rc = 0;

	*ret = NULL;
	pthread_mutex_init(&f->mutex, NULL);
	for (size_t i = 0; rules && rules[i] && !rc; i++) {
		if (i == RULES_MAX) {
			rc = err_set(err, ERR_USAGE, "fault rule '%s': more than %d rules", rules[i], RULES_MAX);
			break;
		}
		f->rule = xgrow(f->rule, f->n, &cap, sizeof *f->rule);
		rc = fault_rule_parse(&f->rule[f->n++], rules[i], err);
	}
	if (rc) {
		fault_dispose(f);
		return rc;
	}
	filter_init(&f->f, &changes, below);
	*ret = &f->f.base;
	return 0;
}
