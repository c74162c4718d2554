/*
 * Repair: what is damaged or gone at a site is put again from others. The original stays as it is; put again are packs under an attempt
 * of the repair's own, snapshots whose pack list cannot be told by a new attempt each, configurations and keys beside the damaged ones.
 */
#include <string.h>
#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"
#include "repo/mended.h"
#include "store/site_object.h"
#include "backup/replicate_internal.h"

enum { TRIES = 2 };

struct repair {
	const struct repair_opts *o;
	struct replicate_result *ret;
	struct bring_repair know;
	struct err last; /* why something could not be had */
};

static struct bring new_bring(struct repair *r, struct store *from)
{
	const struct repair_opts *o = r->o;

	return (struct bring){.from = from, .to = o->to, .cfg = o->cfg, .source = o->source, .log_seed = o->log_seed, .run = o->run,
	        .now = o->now, .dry_run = o->dry_run, .ret = r->ret, .lists = pack_lists_new(from, o->source), .repair = &r->know};
}

/* --- what to is taken at its word for --- */

static int by_seq(const void *pa, const void *pb)
{
	const struct attempt_info *a = pa, *b = pb;

	return (a->snap.seq > b->snap.seq) - (a->snap.seq < b->snap.seq);
}

static int find_resolved(struct repair *r, struct err *err)
{
	CLEAN(attempts_release) struct attempts all = {0};
	struct pack_lists *lists = pack_lists_new(r->o->to, r->o->source);
	size_t bad;
	int rc = attempts_load(r->o->to, r->o->cfg, r->o->source, &all, &bad, err);

	if (all.n)
		qsort(all.a, all.n, sizeof *all.a, by_seq);
	for (size_t i = 0; i < all.n && !rc; i++) {
		const struct listed *l;
		struct err why = ERR_INIT;

		if (!all.a[i].committed)
			continue;
		rc = pack_lists_get(lists, all.a[i].attempt, all.a[i].snap.packs, &l, &why);
		if (!rc)
			pack_list_add(&r->know.resolved, all.a[i].snapshot_digest);
		else if (site_object_is_damage(why.code))
			rc = 0;
		else
			*err = why;
	}
	pack_lists_free(lists);
	pack_list_sort(&r->know.resolved);
	return rc ? rc : bring_list_packs(r->o->to, r->o->source, &r->know.here, err);
}

/* --- keys and index --- */

static int get_equal(struct bring *b, const char *key, size_t limit, struct buf *theirs, bool *ret_equal, struct err *err)
{
	CLEAN(buf_release) struct buf ours = BUF_INIT(limit);
	struct err why = ERR_INIT;
	int rc = store_get(b->from, key, theirs, err);

	if (rc)
		return rc;
	rc = store_get(b->to, key, &ours, &why);
	*ret_equal = !rc && ours.len == theirs->len && (!ours.len || !memcmp(ours.p, theirs->p, ours.len));
	if (!rc || site_object_is_damage(why.code))
		return 0;
	*err = why;
	return rc;
}

/* Without the opening key nobody can say which of two different ones is right: both are kept, a reader tries them all. */
static int keep_both(struct bring *b, const char *key, struct err *err)
{
	CLEAN(buf_release) struct buf theirs = BUF_INIT(SIGNED_MAX);
	bool equal = false;
	int rc = get_equal(b, key, SIGNED_MAX, &theirs, &equal, err);

	if (rc || equal)
		return rc;
	rc = site_object_put_beside(b->to, key, theirs.p, theirs.len, err);
	b->ret->put[PUT_KEYS] += !rc;
	return rc;
}

/* A good index object, under the name of its digest or, where that one is damaged, the next behind it. */
static int put_index(struct bring *b, const struct buf *good, struct err *err)
{
	char key[STORE_KEY_MAX + 1], hex[HEX_LEN];
	unsigned char digest[ID_LEN];
	int rc = -ERR_EXISTS;

	sha256_of(good->p, good->len, digest);
	hex_encode(hex, digest, ID_LEN);
	for (unsigned n = 0; rc == -ERR_EXISTS && n < 16; n++) {
		key_fmt(key, n ? "i/%s/m.%s.%u" : "i/%s/m.%s", b->source, hex, n);
		rc = store_put_same(b->to, key, good->p, good->len, err);
	}
	b->ret->index_objects += !rc;
	return rc;
}

static int mend_index(struct bring *b, const char *key, const char *rest, struct err *err)
{
	CLEAN(buf_release) struct buf theirs = BUF_INIT(INDEX_MAX);
	unsigned char digest[ID_LEN];
	char hex[HEX_LEN];
	bool equal = false;
	int rc = get_equal(b, key, INDEX_MAX, &theirs, &equal, err);

	if (rc || equal)
		return rc;
	sha256_of(theirs.p, theirs.len, digest);
	hex_encode(hex, digest, ID_LEN);
	bool whole = theirs.len > 9 && !memcmp(theirs.p, "HFSEAL1\n", 8) && (!str_starts(rest, "m.") || str_starts(rest + 2, hex));

	return whole ? put_index(b, &theirs, err) : 0;
}

static bool is_bad(const struct repair *r, const char *key)
{
	for (size_t i = 0; i < r->o->n_bad; i++)
		if (str_eq(r->o->bad[i].key, key))
			return true;
	return false;
}

/* Under another name there: the delta whose copy here is named by its digest. */
static int mend_renamed(struct repair *r, struct bring *b, const char *key, struct err *err)
{
	CLEAN(buf_release) struct buf theirs = BUF_INIT(INDEX_MAX);
	unsigned char digest[ID_LEN];
	char hex[HEX_LEN], here[STORE_KEY_MAX + 1];
	int rc = store_get(b->from, key, &theirs, err);

	if (rc)
		return rc;
	sha256_of(theirs.p, theirs.len, digest);
	hex_encode(hex, digest, ID_LEN);
	return is_bad(r, key_fmt(here, "i/%s/m.%s", b->source, hex)) ? put_index(b, &theirs, err) : 0;
}

static bool index_is_bad(const struct repair *r)
{
	for (size_t i = 0; i < r->o->n_bad; i++)
		if (str_starts(r->o->bad[i].key, "i/"))
			return true;
	return false;
}

/* What is not here at all is copied with the rest. */
static int mend_indexes(struct repair *r, struct bring *b, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys theirs = {0};
	CLEAN(store_keys_release) struct store_keys ours = {0};
	int rc = store_list_all(b->from, key_fmt(prefix, "i/%s/", b->source), &theirs, err);

	if (!rc)
		rc = store_list_all(b->to, prefix, &ours, err);
	for (size_t n = 0; n < theirs.n && !rc; n++) {
		if (is_bad(r, theirs.key[n])) /* of two different ones only a check tells which is right */
			rc = mend_index(b, theirs.key[n], theirs.key[n] + strlen(prefix), err);
		else if (index_is_bad(r))
			rc = mend_renamed(r, b, theirs.key[n], err);
	}
	return rc;
}

static int mend_small(struct repair *r, struct bring *b, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	int rc = bring_copy_needed(b, err);

	if (rc || (rc = store_list_all(b->from, key_fmt(prefix, "k/%s/", b->source), &k, err)))
		return rc;
	for (size_t n = 0; n < k.n && !rc; n++)
		if (!strchr(k.key[n], '.'))
			rc = keep_both(b, k.key[n], err);
	return rc ? rc : mend_indexes(r, b, err);
}

/* --- packs --- */

/* Each site gives what it has whole; what is left is asked of the next. */
static int bring_lost(struct repair *r, const char *attempt, struct pack_list *want, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < r->o->n_from && want->n && !rc; i++) {
		struct pack_list left = {0};
		struct bring b = new_bring(r, r->o->from[i]);
		struct err why = ERR_INIT;

		b.left = &left;
		rc = bring_list_packs(b.from, b.source, &b.at, &why);
		if (!rc)
			rc = r->o->dry_run ? bring_count_packs(&b, want, &why) : bring_copy_packs(&b, attempt, want, &why);
		if (rc && why.code == ERR_UNREACHABLE && i + 1 < r->o->n_from) { /* of either side: the next try tells */
			log_msg(LOG_WARN, "%s", why.msg);
			pack_list_release(&left);
			rc = 0;
		} else if (rc) {
			*err = why;
			pack_list_release(&left);
		} else {
			pack_list_release(want);
			pack_list_sort(&left);
			*want = left;
		}
		bring_release(&b);
	}
	return rc;
}

/* The newest snapshot is committed once more, so that the attempt with the packs is one that nobody takes for dead. */
static int commit_newest(struct repair *r, struct bring *b, const char *attempt, const struct attempt_info *newest, struct err *err)
{
	CLEAN(buf_release) struct buf out = BUF_INIT(FATE_MAX);
	struct pack_lists *lists = pack_lists_new(r->o->to, r->o->source);
	const struct listed *l;
	int rc = pack_lists_get(lists, newest->attempt, newest->snap.packs, &l, err);

	if (!rc) {
		struct fate f = {.committed = true, .snapshot = l->snapshot, .list = l->list}; /* borrowed */

		rc = fate_encode(&f, &out, err);
	}
	if (!rc)
		rc = bring_put_fate(b, attempt, &out, err);
	pack_lists_free(lists);
	return rc;
}

static int try_lost(struct repair *r, struct pack_list *want, struct err *err)
{
	struct bring b = new_bring(r, r->o->from[0]);
	const struct attempt_info *newest = NULL;
	char attempt[NAME16];
	size_t bad;
	int rc = attempts_load(b.to, b.cfg, b.source, &b.ours, &bad, err);

	rng_hex(attempt, 8);
	if (!rc)
		rc = bring_find_newest(&b, &newest, err);
	if (!rc && !newest)
		rc = err_set(err, ERR_CORRUPT, "site %s: no snapshot of source '%s' can be committed again", b.to->name, b.source);
	if (!rc && !b.dry_run)
		rc = bring_put_open(&b, attempt, NULL, err);
	if (!rc)
		rc = bring_lost(r, attempt, want, err);
	if (!rc && !b.dry_run)
		rc = commit_newest(r, &b, attempt, newest, err);
	bring_release(&b);
	return rc;
}

static int mend_packs(struct repair *r, struct err *err)
{
	char hex[HEX_LEN];
	int rc = 1;

	if (!r->o->lost->n)
		return 0;
	for (int i = 0; i < TRIES && rc == 1; i++) {
		CLEAN(pack_list_release) struct pack_list want = {0};

		for (size_t k = 0; k < r->o->lost->n; k++)
			pack_list_add(&want, r->o->lost->digest[k]);
		bool explained = false;

		rc = try_lost(r, &want, err);
		if (!rc && want.n && !r->o->dry_run)
			rc = repair_expire_lost(r->o, r->ret, &want, &explained, err);
		if (!rc && want.n && !explained) {
			hex_encode(hex, want.digest[0], ID_LEN);
			rc = err_set(err, ERR_CORRUPT, "%zu packs are whole at no site, among them %s", want.n, hex);
		}
	}
	return rc == 1 ? err_set(err, ERR_BUSY, "site %s: attempts at a repair are declared dead while they run", r->o->to->name) : rc;
}

/* --- what nothing depends on --- */

static int mark(const struct repair *r, const char *key, struct err *err)
{
	char to[STORE_KEY_MAX + 1];
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	struct mended_of of = {r->o->cfg, key};
	struct err why = ERR_INIT;
	int rc = site_object_get(r->o->to, key_mended(to, key), SIGNED_MAX, mended_accept, &of, &why);

	if (!rc)
		return 0;
	if (!site_object_is_damage(why.code)) {
		*err = why;
		return rc;
	}
	rc = mended_encode(key, r->o->cfg->repo, r->o->log_seed, &b, err);
	if (!rc)
		rc = site_object_put_again(r->o->to, to, b.p, b.len, err);
	r->ret->put[PUT_MENDED] += !rc;
	return rc;
}

/* What was missing may be there by now. An expiry says that snapshots are to be gone: what is wrong with one stays an alarm. */
static int mark_rest(struct repair *r, struct err *err)
{
	struct store_stat st;
	int rc = 0;

	for (size_t i = 0; i < r->o->n_bad && !rc; i++) {
		const struct site_damage *d = &r->o->bad[i];

		if (!str_starts(d->key, "x/") && !(d->missing && !store_stat(r->o->to, d->key, &st, NULL)))
			rc = mark(r, d->key, err);
	}
	return rc;
}

int replicate_repair(const struct repair_opts *o, struct replicate_result *ret, struct err *err)
{
	struct repair r = {.o = o, .ret = ret, .know = {.lost = o->lost}};
	struct err why = ERR_INIT;
	int rc = 0, brought = 0, expiries = 0;

	*ret = (struct replicate_result){0};
	if (!o->n_from)
		return err_set(err, ERR_UNREACHABLE, "site %s: there is no other site to repair it from", o->to->name);
	rc = find_resolved(&r, err);
	for (size_t i = 0; i < o->n_from && !rc; i++) {
		struct bring b = new_bring(&r, o->from[i]);

		brought = o->dry_run ? 0 : mend_small(&r, &b, &r.last);
		if (!brought)
			brought = bring_all(&b, &r.last);
		if (brought)
			log_msg(LOG_WARN, "from site %s: %s", o->from[i]->name, r.last.msg);
		bring_release(&b);
	}
	if (!rc && !o->dry_run)
		expiries = repair_expiries(o, ret, &why);
	if (!rc)
		rc = mend_packs(&r, err);
	if (!rc && !o->dry_run)
		rc = mark_rest(&r, err);
	if (!rc && expiries) {
		*err = why;
		rc = expiries;
	}
	free(r.know.here.v);
	pack_list_release(&r.know.resolved);
	return rc;
}
