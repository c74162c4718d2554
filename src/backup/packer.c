/* Deduplication, packs and their upload. */
#include "backup/writer_internal.h"

#include <string.h>
#include "base/log.h"
#include "base/str.h"

#define DELTA_PACKS 8 /* packs an index delta describes: what an interrupted run can resume by */

/* --- ids of this run --- */

static size_t id_slot(const struct id_set *s, const unsigned char id[ID_LEN])
{
	uint64_t h;
	memcpy(&h, id, 8);
	size_t i = h & (s->cap - 1);
	while (s->full[i] && memcmp(s->id[i], id, ID_LEN))
		i = (i + 1) & (s->cap - 1);
	return i;
}

static void id_set_grow(struct id_set *s)
{
	struct id_set old = *s;
	s->cap = old.cap ? 2 * old.cap : 1024;
	s->id = xmalloc(s->cap * sizeof *s->id);
	s->full = xcalloc(s->cap, sizeof *s->full);
	for (size_t i = 0; i < old.cap; i++)
		if (old.full[i]) {
			size_t at = id_slot(s, old.id[i]);
			memcpy(s->id[at], old.id[i], ID_LEN);
			s->full[at] = true;
		}
	free(old.id);
	free(old.full);
}

/* True when it was not there. */
static bool id_set_add(struct id_set *s, const unsigned char id[ID_LEN])
{
	if (4 * (s->n + 1) > 3 * s->cap)
		id_set_grow(s);
	size_t at = id_slot(s, id);
	if (s->full[at])
		return false;
	memcpy(s->id[at], id, ID_LEN);
	s->full[at] = true;
	s->n++;
	return true;
}

/* --- errors --- */

int packer_error(struct packer *k, struct err *err)
{
	if (!atomic_load(&k->failed))
		return 0;
	pthread_mutex_lock(&k->mutex);
	*err = k->err;
	pthread_mutex_unlock(&k->mutex);
	return err_rc(err);
}

static void fail(struct packer *k, const struct err *why)
{
	pthread_mutex_lock(&k->mutex);
	if (!k->err.code)
		k->err = *why;
	atomic_store(&k->failed, true);
	pthread_cond_broadcast(&k->freed);
	pthread_mutex_unlock(&k->mutex);
}

/* --- index deltas --- */

struct owned_put {
	struct buf b;
};

static void owned_done(void *arg)
{
	struct owned_put *o = arg;
	buf_release(&o->b);
	free(o);
}

/* Seal and queue the delta so far: behind its packs in every site's queue. */
static int put_delta(struct packer *k, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	if (!k->delta.n_packs)
		return 0;
	CLEAN(buf_release) struct buf plain = BUF_INIT(INDEX_MAX);
	struct owned_put *o = xcalloc(1, sizeof *o);
	buf_init(&o->b, INDEX_MAX);
	int rc = index_delta_encode(&k->delta, NULL, &plain, err);
	if (!rc)
		rc = sealed_put(&k->keys->s.idx_key, k->keys->repo, k->keys->source, SEALED_DELTA, plain.p, plain.len, &o->b, err);
	if (rc) {
		owned_done(o);
		return rc;
	}
	key_fmt(key, "i/%s/%s.%u", k->keys->source, session_attempt(k->session), k->delta_no++);
	struct store_piece piece = {o->b.p, o->b.len};
	session_put(k->session, key, &(struct store_src){&piece, 1}, owned_done, o);
	session_beat(k->session);
	index_delta_release(&k->delta);
	k->delta_packs = 0;
	return 0;
}

/* --- upload --- */

struct pack_put {
	struct packer *k;
	struct open_pack *op;
};

static void pack_done(void *arg)
{
	struct pack_put *pp = arg;
	pthread_mutex_lock(&pp->k->mutex);
	pp->op->in_use = false;
	pthread_cond_broadcast(&pp->k->freed);
	pthread_mutex_unlock(&pp->k->mutex);
	free(pp);
}

static int upload(struct packer *k, struct open_pack *op, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	struct index_pack info;
	size_t n, n_entries;
	int rc = pack_finish(op->p, k->coder, &info, err);
	if (rc)
		return rc;
	const unsigned char *bytes = pack_bytes(op->p, &n);
	const struct index_entry *e = pack_entries(op->p, &n_entries);
	uint32_t no = index_delta_add_pack(&k->delta, &info);
	for (size_t i = 0; i < n_entries; i++) {
		struct index_entry one = e[i];
		one.pack = no;
		index_delta_add(&k->delta, &one);
	}
	pack_list_add(&k->brought, info.digest);
	atomic_fetch_add(&k->packs, 1);
	atomic_fetch_add(&k->sealed, n);
	struct pack_put *pp = xmalloc(sizeof *pp);
	*pp = (struct pack_put){k, op};
	struct store_piece piece = {bytes, n};
	session_put(k->session, key_pack(key, k->keys->source, session_attempt(k->session), info.digest), &(struct store_src){&piece, 1}, pack_done, pp);
	return ++k->delta_packs >= DELTA_PACKS ? put_delta(k, err) : 0;
}

static void *uploader(void *arg)
{
	struct packer *k = arg;
	struct open_pack *op;
	while ((op = queue_pop(&k->uploads))) {
		struct err err = ERR_INIT;
		if (upload(k, op, &err))
			fail(k, &err);
	}
	return NULL;
}

/* --- packs --- */

static int seal_envelopes(struct packer *k, const struct writer_opts *o, struct err *err)
{
	k->env = xcalloc(o->n_recipients + 1, sizeof *k->env);
	for (; k->n_env < o->n_recipients; k->n_env++) {
		char key[STORE_KEY_MAX + 1], sid[2 * SID_LEN + 1], rid[2 * RECIPIENT_LEN + 1];
		struct envelope *e = &k->env[k->n_env];
		struct owned_put *put = xcalloc(1, sizeof *put);
		buf_init(&put->b, ENVELOPE_MAX);
		int rc = session_key_seal(&k->key, o->keys, &o->recipient[k->n_env], e, err);
		if (!rc)
			rc = envelope_encode(e, &put->b, err);
		if (rc || k->dry_run) {
			owned_done(put);
			if (rc)
				return rc;
			continue;
		}
		hex_encode(sid, e->sid, SID_LEN);
		hex_encode(rid, e->recipient, RECIPIENT_LEN);
		struct store_piece piece = {put->b.p, put->b.len};
		session_put(k->session, key_fmt(key, "e/%s/%s/%s", o->keys->source, sid, rid), &(struct store_src){&piece, 1}, owned_done, put);
	}
	return 0;
}

int packer_open(struct packer *k, const struct writer_opts *o, const struct writer_memory *m, struct err *err)
{
	k->session = o->session;
	k->keys = o->keys;
	k->dry_run = o->dry_run;
	pthread_mutex_init(&k->mutex, NULL);
	pthread_cond_init(&k->freed, NULL);
	k->n_packs = m->packs;
	queue_init(&k->uploads, k->n_packs);
	k->used = xcalloc((size_t)index_packs(session_index(o->session)) + 1, 1);
	session_key_generate(&k->key, o->keys->repo, o->keys->source);
	k->coder = pack_coder_new(o->keys->repo, o->keys->source, &o->keys->s.id_key, o->level);
	for (size_t i = 0; i < k->n_packs; i++)
		k->pack[i].p = pack_new(m->pack_aim);
	int rc = seal_envelopes(k, o, err);
	if (rc)
		return rc;
	rc = pthread_create(&k->uploader, NULL, uploader, k);
	if (rc)
		return err_set(err, ERR_IO, "cannot start the upload thread: %s", strerror(rc));
	k->started = true;
	return 0;
}

static void stop_uploader(struct packer *k)
{
	if (!k->started)
		return;
	queue_close(&k->uploads);
	pthread_join(k->uploader, NULL);
	k->started = false;
}

void packer_close(struct packer *k)
{
	struct err ignored = ERR_INIT;
	if (!k->session)
		return;
	stop_uploader(k);
	/* queued puts still point into our packs */
	if (session_flush(k->session, &ignored))
		log_msg(LOG_DEBUG, "while stopping: %s", ignored.msg);
	for (size_t i = 0; i < k->n_packs; i++)
		pack_free(k->pack[i].p);
	free(k->env);
	free(k->fresh.id);
	free(k->fresh.full);
	free((void *)k->used);
	pack_list_release(&k->brought);
	index_delta_release(&k->delta);
	session_key_release(&k->key);
	pack_coder_free(k->coder);
	queue_release(&k->uploads);
	pthread_mutex_destroy(&k->mutex);
	pthread_cond_destroy(&k->freed);
	*k = (struct packer){0};
}

/* Under the lock: start a pack in a free place, waiting for one. */
static int start_pack(struct packer *k, struct err *err)
{
	for (;;) {
		if (atomic_load(&k->failed)) {
			*err = k->err;
			return err_rc(err);
		}
		if (k->cur)
			return 0; /* another worker was quicker */
		for (size_t i = 0; i < k->n_packs; i++)
			if (!k->pack[i].in_use) {
				struct open_pack *op = &k->pack[i];
				*op = (struct open_pack){.p = op->p, .in_use = true};
				int rc = pack_begin(op->p, &k->key, k->keys, k->env, k->n_env, err);
				if (!rc)
					k->cur = op;
				return rc;
			}
		pthread_cond_wait(&k->freed, &k->mutex);
	}
}

/* Under the lock: no more rooms in it; it leaves when its last room is sealed. */
static void close_current(struct packer *k, struct open_pack **ret_ready)
{
	struct open_pack *op = k->cur;
	k->cur = NULL;
	op->closing = true;
	*ret_ready = op->inflight ? NULL : op;
}

static int reserve(struct packer *k, size_t n, struct open_pack **ret, uint32_t *ret_off, struct err *err)
{
	int rc = 0;
	pthread_mutex_lock(&k->mutex);
	for (*ret = NULL; !rc && !*ret;) {
		struct open_pack *ready = NULL;
		if (!k->cur && (rc = start_pack(k, err)))
			break;
		if (pack_reserve(k->cur->p, n, ret_off)) {
			*ret = k->cur;
			k->cur->inflight++;
			break;
		}
		close_current(k, &ready);
		if (ready) {
			pthread_mutex_unlock(&k->mutex);
			queue_push(&k->uploads, ready);
			pthread_mutex_lock(&k->mutex);
		}
	}
	pthread_mutex_unlock(&k->mutex);
	return rc;
}

static void sealed(struct packer *k, struct open_pack *op, const struct index_entry *e)
{
	pthread_mutex_lock(&k->mutex);
	if (e)
		pack_add(op->p, e);
	bool ready = !--op->inflight && op->closing;
	pthread_mutex_unlock(&k->mutex);
	if (ready && e)
		queue_push(&k->uploads, op);
}

static bool find_usable(const struct packer *k, const unsigned char id[ID_LEN], uint32_t *ret_no)
{
	struct index_place at;
	for (unsigned n = 0; index_lookup_nth(session_index(k->session), id, n, &at); n++)
		if (session_usable(k->session, at.pack_no)) {
			*ret_no = at.pack_no;
			return true;
		}
	return false;
}

bool packer_can_reuse(const struct packer *k, const unsigned char id[ID_LEN])
{
	uint32_t no;
	return find_usable(k, id, &no);
}

bool packer_reuse(struct packer *k, const unsigned char id[ID_LEN])
{
	uint32_t no;
	if (!find_usable(k, id, &no))
		return false;
	k->used[no] = 1;
	return true;
}

int packer_put(struct packer *k, struct pack_coder *c, enum chunk_type type, const unsigned char id[ID_LEN], const void *p, size_t n, struct err *err)
{
	atomic_fetch_add(&k->chunks, 1);
	atomic_fetch_add(&k->bytes, n);
	if (packer_reuse(k, id))
		return 0;
	pthread_mutex_lock(&k->mutex);
	bool mine = id_set_add(&k->fresh, id);
	pthread_mutex_unlock(&k->mutex);
	if (!mine)
		return 0;
	atomic_fetch_add(&k->chunks_new, 1);
	atomic_fetch_add(&k->bytes_new, n);
	if (k->dry_run)
		return 0;
	struct index_entry e = {.plain_len = (uint32_t)n, .type = (uint8_t)type};
	const void *stored;
	size_t n_stored;
	enum chunk_comp comp;
	struct open_pack *op;
	memcpy(e.id, id, ID_LEN);
	pack_compress(c, p, n, &stored, &n_stored, &comp);
	e.comp = (uint8_t)comp;
	e.sealed_len = (uint32_t)(n_stored + CHUNK_OVERHEAD);
	int rc = reserve(k, e.sealed_len, &op, &e.offset, err);
	if (rc)
		return rc;
	rc = pack_seal(op->p, c, &e, stored, n_stored, err);
	sealed(k, op, rc ? NULL : &e);
	return rc;
}

int packer_finish(struct packer *k, struct pack_list *packs, struct err *err)
{
	struct open_pack *ready = NULL;
	size_t n = 0;
	pthread_mutex_lock(&k->mutex);
	if (k->cur) {
		pack_entries(k->cur->p, &n);
		close_current(k, &ready);
		BUG_ON(!ready);
	}
	pthread_mutex_unlock(&k->mutex);
	if (ready && n)
		queue_push(&k->uploads, ready);
	stop_uploader(k);
	int rc = packer_error(k, err);
	if (!rc)
		rc = put_delta(k, err);
	if (!rc)
		rc = session_flush(k->session, err);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < index_packs(session_index(k->session)); i++)
		if (k->used[i]) {
			struct index_pack ip;
			index_pack_get(session_index(k->session), i, &ip);
			pack_list_add(packs, ip.digest);
		}
	for (size_t i = 0; i < k->brought.n; i++)
		pack_list_add(packs, k->brought.digest[i]);
	pack_list_sort(packs);
	return 0;
}
