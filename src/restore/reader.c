#include "restore/reader_internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "store/site_object.h"

const struct source_secrets *reader_secrets(const struct reader *r, uint32_t epoch)
{
	for (size_t i = 0; i < r->n_epochs; i++)
		if (r->epoch[i].epoch == epoch)
			return &r->epoch[i].s;
	return NULL;
}

struct sealed_keys {
	struct reader *r;
	struct epoch_keys *ret;
};

static int accept_keys(void *arg, const void *p, size_t n, struct err *err)
{
	struct sealed_keys *k = arg;
	return key_object_open(k->r->o.key, k->r->o.source, k->ret->epoch, p, n, &k->ret->s, err);
}

static int load_epoch(struct reader *r, size_t site, const char *key, uint32_t epoch, struct err *err)
{
	struct epoch_keys k = {.epoch = epoch};
	struct sealed_keys sealed = {r, &k};
	int rc = site_object_get(r->o.site[site].store, key, SIGNED_MAX, accept_keys, &sealed, err);
	if (rc)
		return err_wrap(err, "%s", key);
	r->epoch = xrealloc(r->epoch, (r->n_epochs + 1) * sizeof *r->epoch);
	r->epoch[r->n_epochs++] = k;
	return 0;
}

/* Source keys of every epoch that a site knows and the opening key opens. */
static int load_keys(struct reader *r, size_t site, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	int rc = store_list_all(r->o.site[site].store, key_fmt(prefix, "k/%s/", r->o.source), &k, err);
	for (size_t i = 0; !rc && i < k.n; i++) {
		char *end;
		struct err why = ERR_INIT;
		unsigned long epoch = strtoul(k.key[i] + strlen(prefix), &end, 10);
		if (!epoch || epoch > UINT32_MAX || (*end && *end != '.') || reader_secrets(r, (uint32_t)epoch))
			continue;
		if (load_epoch(r, site, k.key[i], (uint32_t)epoch, &why))
			reader_site_bad(r, site, k.key[i], &why);
	}
	return rc;
}

static int load_site(struct reader *r, size_t site, struct err *err)
{
	struct reader_site *s = &r->o.site[site];
	int rc = load_keys(r, site, err);
	if (rc || !r->n_epochs)
		return rc;
	CLEAN(free_ptr) const struct secret **key = xcalloc(r->n_epochs, sizeof *key);
	struct index_loaded got;
	for (size_t e = 0; e < r->n_epochs; e++) {
		size_t newest = 0;
		for (size_t k = 0; k < r->n_epochs; k++)
			newest += r->epoch[k].epoch > r->epoch[e].epoch;
		key[newest] = &r->epoch[e].s.idx_key;
	}
	rc = index_load(s->store, r->o.source, r->o.key->repo, key, r->n_epochs, r->o.cache_dir, r->index, &got, err);
	if (!rc && got.bad)
		log_msg(LOG_WARN, "%s: %zu index objects are damaged; packs they describe are read by their own footers", s->name, got.bad);
	return rc;
}

int reader_open(const struct reader_opts *o, struct reader **ret, struct err *err)
{
	struct reader *r = xcalloc(1, sizeof *r);
	struct err last = ERR_INIT;
	size_t ok = 0;
	r->o = *o;
	if (!r->o.workers) {
		long n = sysconf(_SC_NPROCESSORS_ONLN);
		r->o.workers = n > 0 ? (unsigned)MIN(n, 64) : 1;
	}
	r->index = index_new();
	r->packs = xcalloc(o->n_sites + 1, sizeof *r->packs);
	r->site_lock = xcalloc(o->n_sites + 1, sizeof *r->site_lock);
	for (size_t i = 0; i < o->n_sites; i++)
		pthread_mutex_init(&r->site_lock[i], NULL);
	pthread_rwlock_init(&r->index_lock, NULL);
	pthread_mutex_init(&r->mutex, NULL);
	pthread_cond_init(&r->work, NULL);
	pthread_cond_init(&r->done, NULL);
	pthread_cond_init(&r->held_changed, NULL);
	pthread_cond_init(&r->wanted, NULL);
	for (size_t i = 0; i < o->n_sites; i++) {
		if (load_site(r, i, &last)) {
			reader_site_bad(r, i, "-", &last);
			continue;
		}
		ok++;
	}
	int rc = 0;
	if (!ok)
		rc = last.code ? err_set(err, last.code, "%s", last.msg) : err_set(err, ERR_UNREACHABLE, "no site to read from");
	else if (!r->n_epochs) {
		rc = err_set(err, ERR_MISSING, "no keys of source '%s' can be opened: nothing was backed up yet, or this is not its opening key", o->source);
	} else {
		r->inline_opener = opener_new(r);
		rc = reader_start_workers(r, err);
	}
	if (rc) {
		reader_close(r);
		return rc;
	}
	*ret = r;
	return 0;
}

void reader_close(struct reader *r)
{
	if (!r)
		return;
	reader_stop_workers(r);
	opener_free(r->inline_opener);
	for (size_t i = 0; i < r->n_snaps; i++)
		snapshot_release(&r->snap[i].snap);
	for (size_t i = 0; i < r->n_epochs; i++)
		source_secrets_release(&r->epoch[i].s);
	for (size_t i = 0; i < r->o.n_sites; i++) {
		free(r->packs[i].at);
		free(r->packs[i].attempt);
		pthread_mutex_destroy(&r->site_lock[i]);
	}
	for (size_t i = 0; i < r->n_sessions; i++) {
		session_key_release(r->session[i]);
		free(r->session[i]);
	}
	held_release(r);
	index_free(r->index);
	pthread_rwlock_destroy(&r->index_lock);
	pthread_mutex_destroy(&r->mutex);
	pthread_cond_destroy(&r->work);
	pthread_cond_destroy(&r->done);
	pthread_cond_destroy(&r->held_changed);
	pthread_cond_destroy(&r->wanted);
	free(r->session);
	free(r->epoch);
	free(r->packs);
	free(r->site_lock);
	path_set_release(&r->bad);
	path_set_release(&r->lost);
	free(r->snap);
	free(r);
}

/* --- snapshots --- */

static struct reader_snapshot *find_snap(struct reader *r, const unsigned char digest[ID_LEN])
{
	for (size_t i = 0; i < r->n_snaps; i++)
		if (!memcmp(r->snap[i].snap.digest, digest, ID_LEN))
			return &r->snap[i];
	return NULL;
}

static void take_snapshot(struct reader *r, size_t site, struct attempt_info *a, size_t *cap)
{
	struct reader_snapshot *have = find_snap(r, a->snapshot_digest);
	struct err why = ERR_INIT;
	if (have) {
		have->where |= 1ull << site;
		return;
	}
	const struct source_secrets *s = reader_secrets(r, a->snap.epoch);
	int rc = s ? snapshot_open_facts(&a->snap, r->o.key->repo, &s->idx_key, &why) : err_set(&why, ERR_MISSING, "keys of epoch %u are not there", a->snap.epoch);
	if (rc) {
		reader_site_bad(r, site, a->attempt, &why);
		return;
	}
	r->snap = xgrow(r->snap, r->n_snaps, cap, sizeof *r->snap);
	have = &r->snap[r->n_snaps++];
	*have = (struct reader_snapshot){.snap = a->snap, .where = 1ull << site};
	memcpy(have->attempt, a->attempt, NAME16);
	a->snap = (struct snapshot){0}; /* moved */
}

static int snap_cmp(const void *pa, const void *pb)
{
	const struct snapshot *a = &((const struct reader_snapshot *)pa)->snap, *b = &((const struct reader_snapshot *)pb)->snap;
	if (a->seq != b->seq)
		return a->seq < b->seq ? -1 : 1;
	if (a->facts.start != b->facts.start)
		return a->facts.start < b->facts.start ? -1 : 1;
	return memcmp(a->digest, b->digest, ID_LEN);
}

int reader_snapshots(struct reader *r, const struct reader_snapshot **ret, size_t *ret_n, struct err *err)
{
	size_t cap = 0, ok = 0;
	struct err last = ERR_INIT;
	for (size_t i = 0; !r->snaps_loaded && i < r->o.n_sites; i++) {
		CLEAN(attempts_release) struct attempts all = {0};
		size_t bad;
		reader_site_lock(r, i);
		int rc = attempts_load(r->o.site[i].store, r->o.cfg, r->o.source, &all, &bad, &last);
		reader_site_unlock(r, i);
		if (rc) {
			reader_site_bad(r, i, "w/", &last);
			continue;
		}
		ok++;
		r->o.site[i].bad += bad;
		for (size_t k = 0; k < all.n; k++)
			if (all.a[k].committed && !all.a[k].expired)
				take_snapshot(r, i, &all.a[k], &cap);
	}
	if (!r->snaps_loaded && !ok) {
		*err = last;
		return err_rc(err);
	}
	if (!r->snaps_loaded && r->n_snaps)
		qsort(r->snap, r->n_snaps, sizeof *r->snap, snap_cmp);
	r->snaps_loaded = true;
	*ret = r->snap;
	*ret_n = r->n_snaps;
	return 0;
}

static int check_fork(const struct reader *r, const struct reader_snapshot *s, struct err *err)
{
	for (size_t i = 0; i < r->n_snaps; i++) {
		const struct snapshot *o = &r->snap[i].snap;
		if (o->seq == s->snap.seq && str_eq(o->lineage, s->snap.lineage) && memcmp(o->digest, s->snap.digest, ID_LEN))
			return err_set(err, ERR_FORK, "source '%s': two different snapshots %llu of lineage %s", r->o.source, (unsigned long long)o->seq, o->lineage);
	}
	return 0;
}

int reader_select(struct reader *r, const char *which, const struct reader_snapshot **ret, struct err *err)
{
	const struct reader_snapshot *all, *found = NULL;
	size_t n, hits = 0, len = strlen(which);
	int rc = reader_snapshots(r, &all, &n, err);
	if (rc)
		return rc;
	bool is_seq = len && len < 6 && strspn(which, "0123456789") == len;
	for (size_t i = 0; i < n; i++) {
		char hex[HEX_LEN];
		hex_encode(hex, all[i].snap.digest, ID_LEN);
		bool hit = str_eq(which, "latest") || (is_seq && all[i].snap.seq == strtoull(which, NULL, 10)) || (!is_seq && len >= 6 && str_starts(hex, which));
		if (!hit)
			continue;
		found = &all[i];
		hits++;
	}
	if (!found) {
		err_set(err, ERR_USAGE, "source '%s' has no snapshot '%s'", r->o.source, which);
		return err_hint(err, "'holdfast snapshots' lists them; name one by 'latest', its number or its id");
	}
	if (hits > 1 && !str_eq(which, "latest")) {
		rc = check_fork(r, found, err);
		return rc ? rc : err_set(err, ERR_USAGE, "'%s' names %zu snapshots of source '%s'", which, hits, r->o.source);
	}
	*ret = found;
	return check_fork(r, found, err);
}

int reader_chunk(struct reader *r, const unsigned char id[ID_LEN], enum chunk_type type, uint64_t length, struct buf *out, struct err *err)
{
	if (!length || length > CHUNK_PLAIN_MAX)
		return err_set(err, ERR_CORRUPT, "a list names a chunk of %llu bytes", (unsigned long long)length);
	return opener_chunk(r->inline_opener, id, type, (uint32_t)length, out, err);
}

int reader_list_chunk(void *reader, const unsigned char id[ID_LEN], uint64_t length, struct buf *out, struct err *err)
{
	struct reader *r = reader;
	(void)length; /* what lies below it; its own length is in the index, and its id proves it */
	return opener_chunk(r->inline_opener, id, CHUNK_LIST, 0, out, err);
}
