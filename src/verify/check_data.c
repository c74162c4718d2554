/*
 * With an opening key: every byte of a pack hashed, every chunk opened. Memory: for each worker a window of a local pack,
 * or a fetched one (at most 64 MiB, usually 24), and a chunk (at most 16 MiB, usually 1); 20 to 40 bytes a chunk of the
 * repository, and the index. List chunks are spooled as they are, sealed, so that no pack is fetched twice for them.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "base/tmp_file.h"
#include "restore/reader_internal.h"
#include "verify/check_internal.h"
#include "verify/pack_view.h"

#define PACK_HEAD (64u << 10) /* enough for any header */
#define TAIL_GUESS (64u << 10)

struct data {
	struct check c;
	struct check_trees trees;
	struct reader *r;
	struct index *index;   /* what the site's index objects say now */
	pthread_mutex_t mutex; /* of trees and the counters of chunks */
};
struct data_worker {
	struct data *d;
	struct opener *opener; /* its coders */
	struct pack_view view;
	struct buf plain;
};
/* One pack's chunks. What was found counts only when the pack turns out to be whole. */
struct opened {
	struct index_entry *e; /* by offset */
	uint64_t *spooled;     /* of list chunks: where */
	bool *good;
	size_t n;
	struct pack_header h;
	const struct session_key *sk;
	struct pack_coder *coder;
	struct err why; /* first chunk that does not open */
};

static void *data_open(void *arg)
{
	struct data_worker *w = xcalloc(1, sizeof *w);

	w->d = arg;
	w->opener = opener_new(w->d->r);
	view_init(&w->view);
	buf_init(&w->plain, CHUNK_PLAIN_MAX);
	return w;
}

static void data_close(void *worker)
{
	struct data_worker *w = worker;

	opener_free(w->opener);
	view_release(&w->view);
	buf_release(&w->plain);
	free(w);
}

/* --- one pack --- */

/* Where the sealed bytes of a list chunk are kept for the walk. */
static int keep_list(struct data *d, const struct index_entry *e, const unsigned char *sealed, uint64_t *ret_at, struct err *err)
{
	struct check_trees *t = &d->trees;

	pthread_mutex_lock(&d->mutex);
	*ret_at = t->spooled;
	t->spooled += e->sealed_len;
	pthread_mutex_unlock(&d->mutex);
	return tmp_file_write(t->spool, sealed, e->sealed_len, *ret_at, err);
}

/* The first place of an id will do. */
static void take_list(struct check_trees *t, const struct opened *o, size_t i)
{
	const struct index_entry *e = &o->e[i];

	if (idmap_get(&t->lists, e->id))
		return;
	t->rec = xgrow(t->rec, t->n_recs, &t->cap_recs, sizeof *t->rec);
	struct list_rec *rec = &t->rec[t->n_recs++];

	*rec = (struct list_rec){.at = o->spooled[i],
	        .sealed_len = e->sealed_len,
	        .plain_len = e->plain_len,
	        .epoch = o->h.epoch,
	        .comp = e->comp,
	        .session = o->sk};
	memcpy(rec->salt, o->h.salt, SALT_LEN);
	idmap_set(&t->lists, e->id, (uint32_t)t->n_recs);
}

static void take_chunks(struct data *d, const struct opened *o)
{
	pthread_mutex_lock(&d->mutex);
	for (size_t i = 0; i < o->n; i++) {
		if (!o->good[i])
			continue;
		idmap_set(&d->trees.met, o->e[i].id, MET(o->e[i].type, o->e[i].plain_len));
		d->c.ret->chunks++;
		d->c.ret->chunk_bytes += o->e[i].plain_len;
		if (o->e[i].type == CHUNK_LIST)
			take_list(&d->trees, o, i);
	}
	pthread_mutex_unlock(&d->mutex);
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

static void opened_release(struct opened *o)
{
	pack_header_release(&o->h);
	free(o->e);
	free(o->spooled);
	free(o->good);
}

static int by_offset(const void *a, const void *b)
{
	const struct index_entry *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Its own damage goes into why; what is returned is an error of reading, or of ours. */
static int open_chunk(struct data_worker *w, struct check_pack *p, struct opened *o, size_t i, struct err *err)
{
	const struct index_entry *e = &o->e[i];
	const unsigned char *sealed;
	struct err why = ERR_INIT;
	int rc = check_cancelled(w->d->c.o, err);

	if (!rc)
		rc = view_need(&w->view, e->offset, e->sealed_len, &sealed, err);
	if (rc)
		return rc;
	if (e->type < CHUNK_CONTENT || e->type > CHUNK_NOTES)
		err_set(&why, ERR_FORMAT, "chunk of type %u", e->type);
	else
		(void)!pack_open_chunk(o->coder, e, sealed, w->plain.p, &why);
	if (why.code) {
		if (!o->why.code)
			err_set(&o->why, why.code, "chunk %zu at offset %u: %s", i, e->offset, why.msg);
		return 0;
	}
	o->good[i] = true;
	compare_index(w->d->index, p, e);
	return e->type == CHUNK_LIST ? keep_list(w->d, e, sealed, &o->spooled[i], err) : 0;
}

static int read_footer(struct data_worker *w, struct opened *o, struct err *err)
{
	const unsigned char *tail;
	size_t n, need = TAIL_GUESS;
	int rc = 0;

	while (need) {
		rc = view_tail(&w->view, need, &tail, &n, err);
		if (rc)
			return rc;
		rc = pack_footer_tail(o->coder, tail, n, w->view.size, &o->e, &o->n, &need, err);
	}
	return rc;
}

static int open_pack(struct data_worker *w, struct opened *o, struct err *err)
{
	const unsigned char *head;
	size_t n = (size_t)MIN(w->view.size, (uint64_t)PACK_HEAD);
	int rc = view_need(&w->view, 0, n, &head, err);

	if (!rc)
		rc = pack_header_decode(head, n, &o->h, err);
	if (!rc)
		rc = reader_session(w->d->r, o->h.sid, head, n, &o->sk, err);
	if (rc)
		return rc;
	if (!(o->coder = opener_coder(w->opener, o->h.epoch, err)))
		return err_rc(err);
	pack_coder_key(o->coder, o->sk, o->h.salt);
	if ((rc = read_footer(w, o, err)) || (rc = buf_reserve(&w->plain, CHUNK_PLAIN_MAX, err)))
		return rc;
	qsort(o->e, o->n, sizeof *o->e, by_offset);
	o->spooled = xcalloc(o->n + 1, sizeof *o->spooled);
	o->good = xcalloc(o->n + 1, sizeof *o->good);
	return 0;
}

static void damaged(struct check_pack *p, const char *why)
{
	p->state = PACK_DAMAGED;
	p->why = xstrdup(why);
	p->unindexed = p->misplaced = 0;
}

/* What went wrong on the way is told only when the bytes are those of the name: else they need no other reason. */
static int judge_pack(struct data_worker *w, struct check_pack *p, struct opened *o, uint64_t *ret_bytes, struct err *err)
{
	unsigned char digest[ID_LEN];
	struct err why = ERR_INIT;
	int rc = view_digest(&w->view, digest, ret_bytes, &why);

	if (rc && !check_is_damage(why.code)) {
		*err = why;
		return rc;
	}
	if (why.code == ERR_MISSING)
		p->state = PACK_GONE;
	else if (rc)
		damaged(p, why.msg);
	else if (memcmp(digest, p->digest, ID_LEN) != 0)
		damaged(p, "its bytes are not those its name says");
	else if (o->why.code)
		damaged(p, o->why.msg);
	if (p->state == PACK_WHOLE)
		take_chunks(w->d, o);
	return 0;
}

static int data_pack(void *worker, struct check_pack *p, uint64_t *ret_bytes, struct err *err)
{
	struct data_worker *w = worker;
	struct check *c = &w->d->c;
	CLEAN(opened_release) struct opened o = {0};
	char key[STORE_KEY_MAX + 1];
	struct err why = ERR_INIT;
	int rc = view_open(&w->view, c->st, key_pack(key, c->source, p->attempt, p->digest), p->size, &why);

	*ret_bytes = 0;
	p->state = PACK_WHOLE;
	if (!rc && open_pack(w, &o, &o.why))
		rc = 0; /* and the digest says which */
	for (size_t i = 0; !rc && i < o.n; i++)
		rc = open_chunk(w, p, &o, i, &why);
	if (!rc)
		return judge_pack(w, p, &o, ret_bytes, err);
	if (!check_is_damage(why.code)) {
		*err = why;
		return rc;
	}
	if (why.code == ERR_MISSING)
		p->state = PACK_GONE;
	else
		damaged(p, why.msg);
	return 0;
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
		if (!check_index_digest(name + 2, want) || memcmp(want, have, ID_LEN) != 0) {
			check_find_object(&d->c, FIND_CORRUPT, key, NULL, 0, "its bytes are not those its name says");
			return;
		}
	}
	if (open_segment(d, sealed, &plain))
		check_find_object(&d->c, FIND_CORRUPT, key, NULL, 0, "does not open under the source's keys");
	else if (index_add(d->index, name, &plain, &why))
		check_find_object(&d->c, FIND_CORRUPT, key, NULL, 0, why.msg);
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
				check_find_object(&d->c, FIND_CORRUPT, k.key[i], NULL, 0, why.msg);
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
