/*
 * With an opening key: packs fetched whole, every chunk opened. Memory: for each worker a pack and a chunk (at most 64
 * + 16 MiB, usually half), 20 to 40 bytes a chunk of the repository, and the index. List chunks are spooled as they
 * are, sealed, so that no pack is fetched twice for them.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "verify/check_internal.h"
#include "restore/reader_internal.h"
#include "base/tmp_file.h"

struct data {
	struct check c;
	struct check_trees trees;
	struct reader *r;
	struct index *index;   /* what the site's index objects say now */
	pthread_mutex_t mutex; /* of trees and the counters of chunks */
};
struct data_worker {
	struct data *d;
	struct opener *opener; /* its coders, and the pack's bytes */
	struct buf plain;
};

static void *data_open(void *arg)
{
	struct data_worker *w = xcalloc(1, sizeof *w);

	w->d = arg;
	w->opener = opener_new(w->d->r);
	buf_init(&w->plain, CHUNK_PLAIN_MAX);
	return w;
}

static void data_close(void *worker)
{
	struct data_worker *w = worker;

	opener_free(w->opener);
	buf_release(&w->plain);
	free(w);
}

/* --- one pack --- */

static void damaged(struct check_pack *p, const char *fmt, ...) HF_PRINTF(2, 3);
static void damaged(struct check_pack *p, const char *fmt, ...)
{
	char what[512];
	va_list ap;

	p->state = PACK_DAMAGED;
	if (p->why) /* the first tells */
		return;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	p->why = xstrdup(what);
}

static int fetch_pack(struct data_worker *w, struct check_pack *p, struct err *err)
{
	struct check *c = &w->d->c;
	struct buf *b = &w->opener->bytes;
	unsigned char digest[ID_LEN];
	char key[STORE_KEY_MAX + 1];
	struct err why = ERR_INIT;

	buf_clear(b);
	int rc = buf_reserve(b, (size_t)MIN(p->size, (uint64_t)PACK_MAX), &why);

	if (!rc)
		rc = store_get(c->st, key_pack(key, c->source, p->attempt, p->digest), b, &why);
	if (rc && !check_is_damage(why.code)) {
		*err = why;
		return rc;
	}
	if (rc == -ERR_MISSING) {
		p->state = PACK_GONE;
		return 0;
	}
	if (rc) {
		damaged(p, "%s", why.msg);
		return 0;
	}
	sha256_of(b->p, b->len, digest);
	if (memcmp(digest, p->digest, ID_LEN) != 0)
		damaged(p, "its bytes are not those its name says");
	return 0;
}

/* A list chunk is kept for the walk; the first place of an id will do. */
static int keep_list(struct check_trees *t, const struct pack_header *h, const struct session_key *sk,
        const struct index_entry *e, const unsigned char *sealed, struct err *err)
{
	if (idmap_get(&t->lists, e->id))
		return 0;
	int rc = tmp_file_write(t->spool, sealed, e->sealed_len, t->spooled, err);

	if (rc)
		return rc;
	t->rec = xgrow(t->rec, t->n_recs, &t->cap_recs, sizeof *t->rec);
	struct list_rec *rec = &t->rec[t->n_recs++];

	*rec = (struct list_rec){.at = t->spooled,
	        .sealed_len = e->sealed_len,
	        .plain_len = e->plain_len,
	        .epoch = h->epoch,
	        .comp = e->comp,
	        .session = sk};
	memcpy(rec->salt, h->salt, SALT_LEN);
	t->spooled += e->sealed_len;
	idmap_set(&t->lists, e->id, (uint32_t)t->n_recs);
	return 0;
}

/* Does the index describe the chunk where the pack's own footer has it? */
static void compare_index(const struct index *ix, struct check_pack *p, const struct index_entry *e)
{
	struct index_place at;

	for (unsigned n = 0; index_lookup_nth(ix, e->id, n, &at); n++) {
		if (memcmp(at.pack_digest, p->digest, ID_LEN) != 0)
			continue;
		if (at.offset == e->offset && at.sealed_len == e->sealed_len && at.plain_len == e->plain_len &&
		        at.type == e->type && at.comp == e->comp)
			return;
		p->misplaced++;
		return;
	}
	p->unindexed++;
}

static int open_chunks(struct data_worker *w, struct check_pack *p, struct pack_coder *coder,
        const struct pack_header *h, const struct session_key *sk, const struct index_entry *e, size_t n,
        struct err *err)
{
	struct data *d = w->d;
	const unsigned char *pack = w->opener->bytes.p;
	int rc = buf_reserve(&w->plain, CHUNK_PLAIN_MAX, err);

	for (size_t i = 0; i < n && !rc; i++) {
		struct err why = ERR_INIT;

		if ((rc = check_cancelled(d->c.o, err)))
			break;
		if (e[i].type < CHUNK_CONTENT || e[i].type > CHUNK_NOTES)
			err_set(&why, ERR_FORMAT, "chunk of type %u", e[i].type);
		else
			(void)!pack_open_chunk(coder, &e[i], pack + e[i].offset, w->plain.p, &why);
		if (why.code) {
			damaged(p, "chunk %zu at offset %u: %s", i, e[i].offset, why.msg);
			continue;
		}
		compare_index(d->index, p, &e[i]);
		pthread_mutex_lock(&d->mutex);
		idmap_set(&d->trees.met, e[i].id, MET(e[i].type, e[i].plain_len));
		d->c.ret->chunks++;
		d->c.ret->chunk_bytes += e[i].plain_len;
		if (e[i].type == CHUNK_LIST)
			rc = keep_list(&d->trees, h, sk, &e[i], pack + e[i].offset, err);
		pthread_mutex_unlock(&d->mutex);
	}
	return rc;
}

static int open_pack(struct data_worker *w, struct check_pack *p, struct err *err)
{
	const struct buf *b = &w->opener->bytes;
	CLEAN(pack_header_release) struct pack_header h = {0};
	CLEAN(free_ptr) struct index_entry *e = NULL;
	const struct session_key *sk;
	struct pack_coder *coder = NULL;
	struct err why = ERR_INIT;
	size_t n = 0;
	int rc = pack_header_decode(b->p, b->len, &h, &why);

	if (!rc)
		rc = reader_session(w->d->r, h.sid, b->p, b->len, &sk, &why);
	if (!rc && !(coder = opener_coder(w->opener, h.epoch, &why)))
		rc = err_rc(&why);
	if (!rc) {
		pack_coder_key(coder, sk, h.salt);
		rc = pack_footer(coder, b->p, b->len, &e, &n, &why);
	}
	if (!rc)
		return open_chunks(w, p, coder, &h, sk, e, n, err);
	damaged(p, "%s", why.msg);
	return 0;
}

static int data_pack(void *worker, struct check_pack *p, uint64_t *ret_bytes, struct err *err)
{
	struct data_worker *w = worker;
	int rc;

	p->state = PACK_WHOLE;
	rc = fetch_pack(w, p, err);
	*ret_bytes = w->opener->bytes.len;
	return rc || p->state != PACK_WHOLE ? rc : open_pack(w, p, err);
}

/* --- the index --- */

static int open_segment(struct data *d, const struct buf *sealed, struct buf *plain)
{
	static const enum sealed_kind kinds[] = {SEALED_DELTA, SEALED_MERGE};
	struct err ignored = ERR_INIT;

	for (size_t e = 0; e < d->r->n_epochs; e++)
		for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
			if (!sealed_get(&d->r->epoch[e].s.idx_key, d->c.cfg->repo, d->c.source, kinds[k], sealed->p,
			            sealed->len, plain, &ignored))
				return 0;
	return -1;
}

static void take_segment(struct data *d, const char *key, const char *name, const struct buf *sealed)
{
	CLEAN(buf_release) struct buf plain = BUF_INIT(INDEX_MAX);
	unsigned char want[ID_LEN], have[ID_LEN];
	struct err why = ERR_INIT;

	if (str_starts(name, "m.")) {
		sha256_of(sealed->p, sealed->len, have);
		if (!hex_decode(want, ID_LEN, name + 2) || memcmp(want, have, ID_LEN) != 0) {
			check_find(&d->c, FIND_CORRUPT, key, NULL, 0, "its bytes are not those its name says");
			return;
		}
	}
	if (open_segment(d, sealed, &plain))
		check_find(&d->c, FIND_CORRUPT, key, NULL, 0, "does not open under the source's keys");
	else if (index_add(d->index, name, &plain, &why))
		check_find(&d->c, FIND_CORRUPT, key, NULL, 0, "%s", why.msg);
}

/* The site's index objects, judged one by one; the reader's own may be older or from a cache. */
/* What opening each pack will cost: the bytes that come out of it. */
static void set_costs(struct data *d)
{
	CLEAN(free_ptr) uint64_t *sum = xcalloc((size_t)index_packs(d->index) + 1, sizeof *sum);

	index_plain_sums(d->index, sum);
	for (size_t i = 0; i < d->c.n_packs; i++) {
		uint32_t no = index_pack_find(d->index, d->c.pack[i].digest);
		if (no != UINT32_MAX)
			d->c.pack[i].cost += sum[no];
	}
}

static int load_index(void *arg, struct err *err)
{
	struct data *d = arg;
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	CLEAN(buf_release) struct buf b = BUF_INIT(INDEX_MAX);
	int rc = store_list_all(d->c.st, key_fmt(prefix, "i/%s/", d->c.source), &k, err);

	for (size_t i = 0; i < k.n && !rc; i++) {
		struct err why = ERR_INIT;

		if ((rc = check_cancelled(d->c.o, err)))
			break;
		buf_clear(&b);
		rc = store_get(d->c.st, k.key[i], &b, &why);
		if (!rc) {
			take_segment(d, k.key[i], k.key[i] + strlen(prefix), &b);
		} else if (check_is_damage(why.code)) {
			if (why.code != ERR_MISSING) /* replaced and collected meanwhile */
				check_find(&d->c, FIND_CORRUPT, k.key[i], NULL, 0, "%s", why.msg);
			rc = 0;
		} else {
			*err = why;
		}
	}
	if (!rc)
		set_costs(d);
	return rc;
}

int check_data(struct reader *r, const struct check_opts *o, struct check_result *ret, struct err *err)
{
	struct data d = {.r = r,
	        .c = {.st = r->o.site[0].store, .cfg = r->o.cfg, .source = r->o.source, .o = o, .ret = ret},
	        .trees = {.c = &d.c, .r = r, .spool = -1},
	        .index = index_new()};
	const struct check_ops ops = {
	        .prepare = load_index, .open = data_open, .pack = data_pack, .close = data_close, .arg = &d};

	BUG_ON(r->o.n_sites != 1);
	pthread_mutex_init(&d.mutex, NULL);
	int rc = tmp_file_open(r->o.cache_dir, &d.trees.spool, err);

	if (!rc)
		rc = check_begin(&d.c, &ops, err);
	if (!rc)
		rc = check_walk(&d.trees, err);
	check_end(&d.c);
	pthread_mutex_destroy(&d.mutex);
	close_fd(&d.trees.spool);
	idmap_release(&d.trees.met);
	idmap_release(&d.trees.lists);
	free(d.trees.rec);
	index_free(d.index);
	return rc;
}
