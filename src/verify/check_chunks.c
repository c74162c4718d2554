/*
 * A pack's chunks. Whoever has begun a pack hashes it from its start and opens its chunks as they pass by; workers for whom
 * no pack is left take chunks of it from its end (of local packs), so that few packs keep all cores busy too.
 */
#include <stdlib.h>
#include <string.h>
#include "base/tmp_file.h"
#include "restore/reader_internal.h"
#include "verify/check_data.h"
#include "verify/pack_view.h"

#define TAIL_GUESS (64u << 10)
#define SHARE 4 /* chunks taken at once */

struct data_worker {
	struct data *d;
	struct opener *opener; /* its coders */
	struct pack_view view;
	struct buf sealed, plain; /* sealed: of a chunk of another worker's pack */
};
/* What was found counts only when the pack turns out to be whole. */
struct opened {
	struct check_pack *p;
	const char *key;
	struct index_entry *e; /* by offset */
	uint64_t *spooled;     /* of list chunks: where */
	bool *good;
	size_t n;
	struct pack_header h;
	const struct session_key *sk;
	/* under data.mutex while it is busy */
	size_t low, high; /* chunks nobody has taken */
	unsigned helpers;
	struct err why; /* of the pack: its first chunk that does not open, or cannot be read */
	size_t why_at;
	struct err ours; /* an error that is not the pack's */
	struct opened *next;
};

void *chunks_open(void *arg)
{
	struct data_worker *w = xcalloc(1, sizeof *w);

	w->d = arg;
	w->opener = opener_new(w->d->r);
	view_init(&w->view);
	buf_init(&w->sealed, PACK_MAX);
	buf_init(&w->plain, CHUNK_PLAIN_MAX);
	return w;
}

void chunks_close(void *worker)
{
	struct data_worker *w = worker;

	opener_free(w->opener);
	view_release(&w->view);
	buf_release(&w->sealed);
	buf_release(&w->plain);
	free(w);
}

static void opened_release(struct opened *o)
{
	pack_header_release(&o->h);
	free(o->e);
	free(o->spooled);
	free(o->good);
}

/* --- what is found --- */

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
static void compare_index(struct data *d, const struct opened *o, const struct index_entry *e)
{
	struct index_place at;
	uint32_t *count = &o->p->unindexed;

	for (unsigned n = 0; index_lookup_nth(d->index, e->id, n, &at); n++) {
		if (memcmp(at.pack_digest, o->p->digest, ID_LEN) != 0)
			continue;
		if (at.offset == e->offset && at.sealed_len == e->sealed_len && at.plain_len == e->plain_len &&
		        at.type == e->type && at.comp == e->comp)
			return;
		count = &o->p->misplaced;
		break;
	}
	pthread_mutex_lock(&d->mutex);
	++*count;
	pthread_mutex_unlock(&d->mutex);
}

/* The chunk's: the first of the pack is told. */
static void note_damage(struct data *d, struct opened *o, size_t i, const struct err *why)
{
	pthread_mutex_lock(&d->mutex);
	if (!o->why.code || i < o->why_at) {
		o->why = (struct err)ERR_INIT;
		err_set(&o->why, why->code, "chunk %zu at offset %u: %s", i, o->e[i].offset, why->msg);
		o->why_at = i;
	}
	pthread_mutex_unlock(&d->mutex);
}

/* --- chunks --- */

static int open_chunk(struct data_worker *w, struct opened *o, size_t i, struct pack_coder *coder, const unsigned char *sealed, struct err *err)
{
	const struct index_entry *e = &o->e[i];
	struct err why = ERR_INIT;

	if (e->type < CHUNK_CONTENT || e->type > CHUNK_NOTES)
		err_set(&why, ERR_FORMAT, "chunk of type %u", e->type);
	else
		(void)!pack_open_chunk(coder, e, sealed, w->plain.p, &why);
	if (why.code) {
		note_damage(w->d, o, i, &why);
		return 0;
	}
	o->good[i] = true;
	compare_index(w->d, o, e);
	return e->type == CHUNK_LIST ? keep_list(w->d, e, sealed, &o->spooled[i], err) : 0;
}

/* The next chunks from the pack's start, or from its end; 0 when all are taken. */
static size_t take(struct data *d, struct opened *o, bool from_end, size_t *ret_first)
{
	pthread_mutex_lock(&d->mutex);
	size_t n = MIN(o->high - o->low, (size_t)SHARE);

	if (o->ours.code)
		n = 0;
	*ret_first = from_end ? o->high - n : o->low;
	if (from_end)
		o->high -= n;
	else
		o->low += n;
	pthread_mutex_unlock(&d->mutex);
	return n;
}

/* Chunk i, wherever its bytes come from. Damage of the pack is noted; what is returned is ours, or the site's. */
static int do_chunk(struct data_worker *w, struct opened *o, size_t i, bool mine, struct pack_coder *coder, struct err *err)
{
	const struct index_entry *e = &o->e[i];
	const unsigned char *sealed;
	struct err why = ERR_INIT;
	int rc = check_cancelled(w->d->c.o, err);

	if (rc)
		return rc;
	if (mine) {
		rc = view_need(&w->view, e->offset, e->sealed_len, &sealed, &why);
	} else {
		buf_clear(&w->sealed);
		rc = store_get_range(w->d->c.st, o->key, e->offset, e->sealed_len, &w->sealed, &why);
		sealed = w->sealed.p;
	}
	if (!rc)
		return open_chunk(w, o, i, coder, sealed, err);
	if (check_is_damage(why.code)) {
		note_damage(w->d, o, i, &why);
		return 0;
	}
	*err = why;
	return rc;
}

static void do_chunks(struct data_worker *w, struct opened *o, bool mine)
{
	struct err err = ERR_INIT;
	struct pack_coder *coder = opener_coder(w->opener, o->h.epoch, &err);
	int rc = coder ? buf_reserve(&w->plain, CHUNK_PLAIN_MAX, &err) : err_rc(&err);
	size_t first, n = 0;

	if (!rc)
		pack_coder_key(coder, o->sk, o->h.salt);
	while (!rc && (n = take(w->d, o, !mine, &first)))
		for (size_t i = first; !rc && i < first + n; i++)
			rc = do_chunk(w, o, i, mine, coder, &err);
	if (!rc)
		return;
	pthread_mutex_lock(&w->d->mutex);
	if (!o->ours.code)
		o->ours = err;
	pthread_mutex_unlock(&w->d->mutex);
}

static struct opened *most_left(struct data *d)
{
	struct opened *most = NULL;

	for (struct opened *o = d->busy; o; o = o->next)
		if (o->high - o->low > SHARE && (!most || o->high - o->low > most->high - most->low))
			most = o;
	return most;
}

bool chunks_help(void *worker)
{
	struct data_worker *w = worker;
	struct data *d = w->d;
	struct opened *o;

	if (!(d->c.st->caps & STORE_LOCAL))
		return false;
	pthread_mutex_lock(&d->mutex);
	while (!(o = most_left(d)) && d->unopened)
		pthread_cond_wait(&d->changed, &d->mutex);
	if (o)
		o->helpers++;
	pthread_mutex_unlock(&d->mutex);
	if (!o)
		return false;
	do_chunks(w, o, false);
	pthread_mutex_lock(&d->mutex);
	if (!--o->helpers)
		pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->mutex);
	return true;
}

void chunks_halt(void *arg)
{
	struct data *d = arg;

	pthread_mutex_lock(&d->mutex);
	d->unopened = 0;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->mutex);
}

/* From now on others may help with it; o NULL: there is nothing to help with. */
static void announce(struct data *d, struct opened *o)
{
	pthread_mutex_lock(&d->mutex);
	if (o) {
		o->high = o->n;
		o->next = d->busy;
		d->busy = o;
	}
	d->unopened -= d->unopened > 0;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->mutex);
}

/* All chunks, with whoever helps. */
static void open_chunks(struct data_worker *w, struct opened *o)
{
	struct data *d = w->d;

	announce(d, o);
	do_chunks(w, o, true);
	pthread_mutex_lock(&d->mutex);
	struct opened **at = &d->busy;

	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	while (o->helpers)
		pthread_cond_wait(&d->changed, &d->mutex);
	pthread_mutex_unlock(&d->mutex);
}

/* --- one pack --- */

static int by_offset(const void *a, const void *b)
{
	const struct index_entry *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int read_footer(struct data_worker *w, struct opened *o, struct pack_coder *coder, struct err *err)
{
	const unsigned char *tail;
	size_t n, need = TAIL_GUESS;
	int rc = 0;

	while (need) {
		struct err why = ERR_INIT; /* a guess that was too short is no failure, and leaves no trace of one */

		rc = view_tail(&w->view, need, &tail, &n, err);
		if (rc)
			return rc;
		rc = pack_footer_tail(coder, tail, n, w->view.size, &o->e, &o->n, &need, &why);
		if (rc && !need)
			*err = why;
	}
	return rc;
}

static int open_pack(struct data_worker *w, struct opened *o, struct err *err)
{
	const unsigned char *head;
	struct pack_coder *coder;
	size_t n = (size_t)MIN(w->view.size, (uint64_t)PACK_HEAD);
	int rc = view_need(&w->view, 0, n, &head, err);

	if (!rc)
		rc = pack_header_decode(head, n, &o->h, err);
	if (!rc)
		rc = reader_session(w->d->r, o->h.sid, head, n, &o->sk, err);
	if (rc)
		return rc;
	if (!(coder = opener_coder(w->opener, o->h.epoch, err)))
		return err_rc(err);
	pack_coder_key(coder, o->sk, o->h.salt);
	if ((rc = read_footer(w, o, coder, err)))
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

/* What a failure to read it says: damage of the pack, or an error. */
static int unreadable(struct check_pack *p, const struct err *why, struct err *err)
{
	if (!check_is_damage(why->code)) {
		*err = *why;
		return err_rc(err);
	}
	if (why->code == ERR_MISSING)
		p->state = PACK_GONE;
	else
		damaged(p, why->msg);
	return 0;
}

/* What went wrong on the way is told only when the bytes are those of the name: else they need no other reason. */
static int judge_pack(struct data_worker *w, struct check_pack *p, struct opened *o, uint64_t *ret_bytes, struct err *err)
{
	unsigned char digest[ID_LEN];
	struct err why = ERR_INIT;
	int rc = view_digest(&w->view, digest, ret_bytes, &why);

	if (rc)
		return unreadable(p, &why, err);
	if (memcmp(digest, p->digest, ID_LEN) != 0)
		damaged(p, "its bytes are not those its name says");
	else if (o->why.code)
		damaged(p, o->why.msg);
	else {
		take_chunks(w->d, o);
		check_take_session(&w->d->c, p, &o->h);
	}
	return 0;
}

int chunks_pack(void *worker, struct check_pack *p, uint64_t *ret_bytes, struct err *err)
{
	struct data_worker *w = worker;
	struct check *c = &w->d->c;
	char key[STORE_KEY_MAX + 1];
	CLEAN(opened_release) struct opened o = {.p = p, .key = key};
	struct err why = ERR_INIT;
	int rc = view_open(&w->view, c->st, key_pack(key, c->source, p->attempt, p->digest), p->size, &why);

	*ret_bytes = 0;
	p->state = PACK_WHOLE;
	if (!rc && !open_pack(w, &o, &o.why)) /* else the digest says whether that is damage */
		open_chunks(w, &o);
	else
		announce(w->d, NULL);
	if (rc)
		return unreadable(p, &why, err);
	if (!o.ours.code)
		return judge_pack(w, p, &o, ret_bytes, err);
	*err = o.ours;
	return err_rc(err);
}
