/*
 * Replication: snapshots of one site brought to another by attempts of its own there. Nothing is opened: packs are held
 * to their names, records to their signatures.
 */
#include <string.h>
#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"
#include "store/site_object.h"
#include "backup/replicate_internal.h"

enum { DEPTH_MAX = 63, TRIES = 2 };

static void base_release(struct bring_base *b)
{
	pack_list_release(&b->list);
	*b = (struct bring_base){0};
}

static void base_copy_list(struct bring_base *b, const struct pack_list *l)
{
	pack_list_release(&b->list);
	for (size_t i = 0; i < l->n; i++)
		pack_list_add(&b->list, l->digest[i]);
}

void bring_release(struct bring *b)
{
	attempts_release(&b->theirs);
	attempts_release(&b->ours);
	pack_lists_free(b->lists);
	free(b->at.v);
	base_release(&b->newest);
	base_release(&b->last);
}

/* --- what is where --- */

static bool is_here(const struct bring *b, const unsigned char digest[ID_LEN])
{
	if (b->repair)
		return pack_list_has(&b->repair->resolved, digest);
	for (size_t i = 0; i < b->ours.n; i++)
		if (b->ours.a[i].committed && !memcmp(b->ours.a[i].snapshot_digest, digest, ID_LEN))
			return true;
	return false;
}

static int order_cmp(const void *pa, const void *pb)
{
	const struct attempt_info *a = *(struct attempt_info *const *)pa, *b = *(struct attempt_info *const *)pb;
	int order = strcmp(a->snap.lineage, b->snap.lineage);

	if (a->snap.seq != b->snap.seq)
		return a->snap.seq < b->snap.seq ? -1 : 1;
	return order ? order : memcmp(a->snapshot_digest, b->snapshot_digest, ID_LEN);
}

/* Live snapshots of from that to lacks, oldest first, each once; newly allocated. */
static const struct attempt_info **what_lacks(struct bring *b, size_t *ret_n)
{
	const struct attempt_info **all = xcalloc(b->theirs.n + 1, sizeof *all);
	size_t n = 0;

	for (size_t i = 0; i < b->theirs.n; i++)
		if (b->theirs.a[i].committed && !b->theirs.a[i].expired && !is_here(b, b->theirs.a[i].snapshot_digest))
			all[n++] = &b->theirs.a[i];
	if (n)
		qsort(all, n, sizeof *all, order_cmp);
	*ret_n = 0;
	for (size_t i = 0; i < n; i++)
		if (!*ret_n || memcmp(all[*ret_n - 1]->snapshot_digest, all[i]->snapshot_digest, ID_LEN) != 0)
			all[(*ret_n)++] = all[i];
	return all;
}

static const struct attempt_info *newest_below(const struct attempts *all, const struct attempt_info *top)
{
	const struct attempt_info *best = NULL;

	for (size_t i = 0; i < all->n; i++) {
		const struct attempt_info *a = &all->a[i];
		bool below = !top || a->snap.seq < top->snap.seq || (a->snap.seq == top->snap.seq && a < top);

		if (a->committed && !a->expired && below &&
		        (!best || a->snap.seq > best->snap.seq || (a->snap.seq == best->snap.seq && a > best)))
			best = a;
	}
	return best;
}

/* A list there that is damaged is no reason to leave it without newer snapshots. */
int bring_find_newest(struct bring *b, const struct attempt_info **ret, struct err *err)
{
	const struct attempt_info *best = NULL;

	*ret = NULL;
	while ((best = newest_below(&b->ours, best))) {
		struct err why = ERR_INIT;
		int rc = attempt_packs(b->to, b->source, best->attempt, &b->newest.list, &b->newest.depth, &why);

		if (!rc) {
			memcpy(b->newest.attempt, best->attempt, NAME16);
			b->newest.seq = best->snap.seq;
			*ret = best;
			return 0;
		}
		if (!site_object_is_damage(why.code)) {
			*err = why;
			return rc;
		}
		log_msg(LOG_WARN, "site %s: %s; nothing of it is reused", b->to->name, why.msg);
	}
	return 0;
}

/* In a repair: a pack that lies whole at `to`, under whichever attempt; n: there is none. */
static size_t whole_here(const struct bring *b, const unsigned char digest[ID_LEN])
{
	return pack_list_has(b->repair->lost, digest) ? b->repair->here.n : bring_find_pack(&b->repair->here, digest);
}

/* --- one snapshot --- */

static void add_use(struct attempt_open *o, const char *attempt)
{
	for (size_t i = 0; i < o->n_uses; i++)
		if (str_eq(o->uses[i], attempt))
			return;
	memcpy(o->uses[o->n_uses++], attempt, NAME16);
}

/* list: what is going to be committed, whose packs a repair takes from wherever they lie; or NULL. */
int bring_put_open(struct bring *b, const char *attempt, const struct pack_list *list, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	CLEAN(free_ptr) char(*uses)[NAME16] = xcalloc((list ? list->n : 0) + 2, sizeof *uses);
	CLEAN(buf_release) struct buf o = BUF_INIT(SIGNED_MAX);
	struct attempt_open open = {.time = b->now, .uses = uses};

	str_copy(open.source, sizeof open.source, b->source);
	str_copy(open.run, sizeof open.run, b->run);
	memcpy(open.attempt, attempt, NAME16);
	if (b->newest.attempt[0])
		add_use(&open, b->newest.attempt);
	if (b->last.attempt[0])
		add_use(&open, b->last.attempt);
	for (size_t i = 0; b->repair && list && i < list->n; i++) {
		size_t at = whole_here(b, list->digest[i]);

		if (at < b->repair->here.n)
			add_use(&open, b->repair->here.v[at].attempt);
	}
	int rc = attempt_open_encode(&open, b->cfg->repo, b->log_seed, &o, err);

	return rc ? rc : store_put_bytes(b->to, key_attempt(key, b->source, attempt, "open"), o.p, o.len, err);
}

/* Asked behind `open`: what is expired by now may be on its way out. */
static int strike_expired(struct bring *b, struct err *err)
{
	struct bring_base *all[] = {&b->newest, &b->last};
	char key[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys x = {0};
	int rc = store_list_all(b->to, key_fmt(key, "x/%s/", b->source), &x, err);

	for (size_t i = 0; i < ARRAY_LEN(all) && !rc; i++)
		if (all[i]->attempt[0] && bring_has_key(&x, key_fmt(key, "x/%s/%s", b->source, all[i]->attempt)))
			base_release(all[i]);
	for (size_t i = 0; b->repair && i < b->repair->here.n && !rc; i++) {
		struct bring_at *at = &b->repair->here.v[i];

		if (bring_has_key(&x, key_fmt(key, "x/%s/%s", b->source, at->attempt)))
			memset(at->attempt, 0, NAME16);
	}
	return rc;
}

/* Does to have it where this attempt may count on it? */
static bool may_reuse(const struct bring *b, const unsigned char digest[ID_LEN])
{
	if (b->repair && pack_list_has(b->repair->lost, digest))
		return false;
	if (pack_list_has(&b->newest.list, digest) || pack_list_has(&b->last.list, digest))
		return true;
	size_t at = b->repair ? whole_here(b, digest) : 0;

	return b->repair && at < b->repair->here.n && b->repair->here.v[at].attempt[0];
}

static void lacking_packs(const struct bring *b, const struct pack_list *all, struct pack_list *ret)
{
	for (size_t i = 0; i < all->n; i++)
		if (!may_reuse(b, all->digest[i]))
			pack_list_add(ret, all->digest[i]);
}

/* a without b, both sorted. */
static void subtract(const struct pack_list *a, const struct pack_list *b, struct pack_list *ret)
{
	for (size_t i = 0; i < a->n; i++)
		if (!pack_list_has(b, a->digest[i]))
			pack_list_add(ret, a->digest[i]);
}

static int encode_fate(struct bring *b, const struct listed *l, struct buf *out, unsigned *ret_depth, struct err *err)
{
	const struct bring_base *from = b->last.attempt[0] ? &b->last : &b->newest;
	struct fate f = {.committed = true, .snapshot = l->snapshot, .list = l->list}; /* borrowed */
	CLEAN(pack_list_release) struct pack_list added = {0};
	CLEAN(pack_list_release) struct pack_list removed = {0};

	*ret_depth = 0;
	if (from->attempt[0] && from->depth < DEPTH_MAX && !b->repair) {
		subtract(&l->list, &from->list, &added);
		subtract(&from->list, &l->list, &removed);
		if (added.n + removed.n <= l->list.n / 2) {
			f.list = added;
			f.removed = removed;
			memcpy(f.base, from->attempt, NAME16);
			*ret_depth = from->depth + 1;
		}
	}
	return fate_encode(&f, out, err);
}

int bring_put_fate(struct bring *b, const char *attempt, const struct buf *fate, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	CLEAN(buf_release) struct buf there = BUF_INIT(FATE_MAX);
	CLEAN(fate_release) struct fate f = {0};
	struct err why = ERR_INIT;
	int rc = store_put_same(b->to, key_attempt(key, b->source, attempt, "fate"), fate->p, fate->len, &why);

	if (rc != -ERR_EXISTS) {
		if (rc)
			*err = why;
		return rc;
	}
	if ((rc = store_get(b->to, key, &there, err)) || (rc = fate_decode(there.p, there.len, &f, err)))
		return rc;
	return f.committed ? err_set(err, ERR_FORK, "site %s: %s commits what nobody here wrote", b->to->name, key) : 1;
}

static void set_last(struct bring *b, const char *attempt, const struct listed *l, unsigned depth, uint64_t seq)
{
	base_copy_list(&b->last, &l->list);
	str_copy(b->last.attempt, sizeof b->last.attempt, attempt);
	b->last.depth = depth;
	b->last.seq = seq;
	if (b->newest.attempt[0] && seq <= b->newest.seq)
		return;
	base_release(&b->newest); /* last is the newest */
}

/* 0, 1 when the attempt was declared dead, or the error. */
static int try_snapshot(struct bring *b, const struct attempt_info *a, const struct listed *l, struct err *err)
{
	CLEAN(pack_list_release) struct pack_list want = {0};
	CLEAN(buf_release) struct buf fate = BUF_INIT(FATE_MAX);
	char attempt[NAME16];
	unsigned depth;
	int rc;

	rng_hex(attempt, 8);
	if ((rc = bring_put_open(b, attempt, &l->list, err)) || (rc = strike_expired(b, err)))
		return rc;
	lacking_packs(b, &l->list, &want);
	if ((rc = bring_copy_packs(b, attempt, &want, err)) || (rc = bring_copy_needed(b, err)) ||
	        (rc = encode_fate(b, l, &fate, &depth, err)) || (rc = bring_put_fate(b, attempt, &fate, err)))
		return rc;
	set_last(b, attempt, l, depth, a->snap.seq);
	return bring_copy_snapshot(b, &a->snap, &l->snapshot, err);
}

static int bring_one(struct bring *b, const struct attempt_info *a, struct err *err)
{
	const struct listed *l;
	int rc = pack_lists_get(b->lists, a->attempt, a->snap.packs, &l, err);

	if (rc)
		return rc;
	if (b->dry_run) {
		CLEAN(pack_list_release) struct pack_list want = {0};

		lacking_packs(b, &l->list, &want);
		rc = bring_count_packs(b, &want, err);
		if (!rc)
			set_last(b, "0000000000000000", l, 0, a->snap.seq);
	} else {
		rc = 1;
		for (int i = 0; i < TRIES && rc == 1; i++)
			rc = try_snapshot(b, a, l, err);
		if (rc == 1)
			rc = err_set(err, ERR_BUSY,
			        "site %s: attempts at snapshot %llu are declared dead while they run", b->to->name,
			        (unsigned long long)a->snap.seq);
	}
	b->ret->snapshots += !rc;
	if (!rc && b->repair) { /* the next site need not give it again */
		pack_list_add(&b->repair->resolved, a->snapshot_digest);
		pack_list_sort(&b->repair->resolved);
	}
	return rc;
}

/* --- all --- */

static bool is_fork(const struct attempt_info *x, const struct attempt_info *y)
{
	return x->committed && y->committed && x->snap.seq == y->snap.seq && str_eq(x->snap.lineage, y->snap.lineage) &&
	       memcmp(x->snapshot_digest, y->snapshot_digest, ID_LEN) != 0;
}

/* Two digests for one place in the chain, at one site or between the two. */
static int find_fork(const struct bring *b, struct err *err)
{
	const struct attempts *both[] = {&b->theirs, &b->ours};

	for (size_t i = 0; i < b->theirs.n; i++)
		for (size_t side = 0; side < ARRAY_LEN(both); side++)
			for (size_t k = 0; k < both[side]->n; k++) {
				const struct attempt_info *x = &b->theirs.a[i];

				if (is_fork(x, &both[side]->a[k]))
					return err_set(err, ERR_FORK,
					        "source '%s': sites %s and %s hold two different snapshots %llu of "
					        "lineage %s",
					        b->source, b->from->name, b->to->name, (unsigned long long)x->snap.seq,
					        x->snap.lineage);
			}
	return 0;
}

int bring_all(struct bring *b, struct err *err)
{
	size_t n, bad;
	int rc;

	if ((rc = attempts_load(b->from, b->cfg, b->source, &b->theirs, &bad, err)) ||
	        (rc = attempts_load(b->to, b->cfg, b->source, &b->ours, &bad, err)))
		return rc;
	CLEAN(free_ptr) const struct attempt_info **lacks = what_lacks(b, &n);
	const struct attempt_info *newest;

	if (n && ((rc = bring_find_newest(b, &newest, err)) || (rc = bring_list_packs(b->from, b->source, &b->at, err))))
		return rc;
	struct err damage = ERR_INIT, why = ERR_INIT;

	for (size_t i = 0; i < n; i++) {
		rc = bring_one(b, lacks[i], &why);
		if (rc && !site_object_is_damage(why.code)) {
			*err = why;
			return rc;
		}
		if (rc && !damage.code) /* a snapshot that from cannot give must not keep newer ones from to */
			damage = why;
	}
	rc = b->dry_run ? 0 : bring_copy_rest(b, err);
	if (!rc && !b->dry_run)
		rc = find_fork(b, err);
	if (!rc && damage.code) {
		*err = damage;
		rc = err_rc(err);
	}
	return rc;
}

int replicate_source(struct store *from, struct store *to, const struct cfg *cfg, const char *source,
        const struct secret *log_seed, const char *run, int64_t now, bool dry_run, struct replicate_result *ret,
        struct err *err)
{
	struct bring b = {.from = from,
	        .to = to,
	        .cfg = cfg,
	        .source = source,
	        .log_seed = log_seed,
	        .run = run,
	        .now = now,
	        .dry_run = dry_run,
	        .ret = ret,
	        .lists = pack_lists_new(from, source)};

	*ret = (struct replicate_result){0};
	int rc = bring_all(&b, err);

	bring_release(&b);
	return rc;
}

int replicate_cfg(struct store *from, struct store *to, const struct cfg *cfg, uint64_t *ret_n, struct err *err)
{
	struct replicate_result brought = {0};
	struct bring b = {.from = from, .to = to, .cfg = cfg, .ret = &brought};
	int rc = bring_copy_cfgs(&b, err);

	*ret_n = brought.put[PUT_CFG];
	return rc;
}
