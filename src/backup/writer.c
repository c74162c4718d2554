/* Streams: cutting, lists, and what is reused of an earlier run. */
#include "backup/writer.h"

#include <string.h>
#include <unistd.h>
#include "backup/writer_internal.h"

struct record_stream { /* entries or notes: cut at record ends */
	struct chunker cut;
	unsigned char *p;
	size_t len, cap;
	uint64_t entries, content;
	char *path;
	size_t n_path;
};
struct writer {
	struct writer_opts o;
	struct packer packer;
	struct ring ring;
	struct gear gear;
	struct pack_coder *coder; /* the caller's thread: list chunks */
	struct list_builder *list[STREAM_COUNT];
	/* content */
	struct chunker cut;
	enum writer_mode mode;
	struct read_buf *rb;
	size_t start, seen;    /* of the current chunk in rb: where it begins, bytes of it so far */
	uint64_t pos, last_cut;
	uint64_t reused;
	struct record_stream rec[STREAM_COUNT]; /* entries, notes */
};

/* --- lists: stored by the caller's thread, they are few --- */

static int put_list(void *arg, const void *p, size_t n, unsigned char id[ID_LEN], struct err *err)
{
	struct writer *w = arg;
	pack_coder_id(w->coder, CHUNK_LIST, p, n, id);
	return packer_put(&w->packer, w->coder, CHUNK_LIST, id, p, n, err);
}

static int retire(void *arg, struct slot *s, struct err *err)
{
	struct writer *w = arg;
	struct list_item it = {.length = s->cut.length, .entries = s->cut.entries, .content = s->cut.content, .path = s->path, .n_path = s->n_path};
	memcpy(it.id, s->cut.id, ID_LEN);
	if (w->o.cut)
		w->o.cut(w->o.arg, s->stream, &s->cut);
	return list_builder_add(w->list[s->stream], &it, err);
}

static void set_defaults(struct writer_opts *o)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	if (!o->workers)
		o->workers = cores > 1 ? (unsigned)MIN(cores, 64) : 1;
	if (!o->level)
		o->level = WRITER_LEVEL;
}

static int plan_memory(struct writer_opts *o, struct writer_memory *m, struct err *err)
{
	*m = (struct writer_memory){.workers = o->workers, .packs = MIN(2 + session_width(o->session), PACKS_MAX)};
	int rc = writer_memory_plan(o->memory, o->level, m, err);
	o->workers = m->workers;
	return rc;
}

int writer_open(const struct writer_opts *o, struct writer **ret, struct err *err)
{
	struct writer *w = xcalloc(1, sizeof *w);
	w->o = *o;
	set_defaults(&w->o);
	struct writer_memory m;
	int rc = plan_memory(&w->o, &m, err);
	if (rc) {
		free(w);
		return rc;
	}
	gear_init(&w->gear, &o->keys->s.chunk_key);
	w->coder = pack_coder_new(o->keys->repo, o->keys->source, &o->keys->s.id_key, w->o.level);
	for (enum stream_id s = 0; s < STREAM_COUNT; s++) {
		w->list[s] = list_builder_new(s, put_list, w);
		chunker_init(&w->rec[s].cut, &w->gear, &CHUNK_SIZES_RECORDS);
	}
	chunker_init(&w->cut, &w->gear, &CHUNK_SIZES_SMALL);
	w->ring.retire = retire;
	w->ring.arg = w;
	rc = packer_open(&w->packer, &w->o, &m, err);
	if (!rc)
		rc = ring_open(&w->ring, &w->o, &w->packer, err);
	if (!rc)
		rc = ring_buf(&w->ring, &w->rb, err);
	if (rc) {
		writer_close(w);
		return rc;
	}
	*ret = w;
	return 0;
}

void writer_close(struct writer *w)
{
	if (!w)
		return;
	/* a worker may wait for a pack to become free: tell it that nothing more is wanted */
	if (w->packer.session) {
		pthread_mutex_lock(&w->packer.mutex);
		if (!w->packer.err.code)
			err_set(&w->packer.err, ERR_CANCELLED, "the run was stopped");
		atomic_store(&w->packer.failed, true);
		pthread_cond_broadcast(&w->packer.freed);
		pthread_mutex_unlock(&w->packer.mutex);
	}
	ring_close(&w->ring);
	packer_close(&w->packer);
	for (enum stream_id s = 0; s < STREAM_COUNT; s++) {
		list_builder_free(w->list[s]);
		free(w->rec[s].p);
		free(w->rec[s].path);
	}
	pack_coder_free(w->coder);
	mem_cleanse(&w->gear, sizeof w->gear);
	free(w);
}

/* --- content --- */

static int emit_content(struct writer *w, size_t n, struct err *err)
{
	struct slot s = {.state = SLOT_QUEUED, .stream = STREAM_CONTENT, .p = w->rb->p + w->start, .n = n, .rb = w->rb, .cut = {.length = n}};
	atomic_fetch_add(&w->rb->refs, 1);
	w->start += n;
	w->last_cut += n;
	chunker_reset(&w->cut);
	int rc = ring_push(&w->ring, &s, err);
	if (rc)
		atomic_fetch_sub(&s.rb->refs, 1);
	return rc;
}

int writer_content_cut(struct writer *w, struct err *err)
{
	if (!w->seen)
		return 0;
	size_t n = w->seen;
	w->seen = 0;
	return emit_content(w, n, err);
}

int writer_content_mode(struct writer *w, enum writer_mode m, struct err *err)
{
	if (m == w->mode)
		return 0;
	int rc = writer_content_cut(w, err);
	if (rc)
		return rc;
	struct chunk_sizes fixed = {w->o.fixed_cut, w->o.fixed_cut, w->o.fixed_cut};
	const struct chunk_sizes *large = w->o.fixed_cut ? &fixed : m == WRITE_PAGES ? &CHUNK_SIZES_PAGES : &CHUNK_SIZES_LARGE;
	chunker_init(&w->cut, &w->gear, m == WRITE_SMALL ? &CHUNK_SIZES_SMALL : large);
	w->mode = m;
	return 0;
}

unsigned char *writer_room(struct writer *w, size_t *ret_n)
{
	size_t used = w->start + w->seen;
	*ret_n = MIN(READ_BUF_SIZE - used, 1u << 20);
	return w->rb->p + used;
}

/* Too little room is left behind the current chunk's bytes: move them to the front of another buffer. */
static int next_buf(struct writer *w, struct err *err)
{
	struct read_buf *rb;
	int rc = ring_buf(&w->ring, &rb, err);
	if (rc)
		return rc;
	memcpy(rb->p, w->rb->p + w->start, w->seen);
	atomic_fetch_sub(&w->rb->refs, 1);
	w->rb = rb;
	w->start = 0;
	return 0;
}

int writer_filled(struct writer *w, size_t n, struct err *err)
{
	w->pos += n;
	while (n) {
		bool cut;
		size_t got = chunker_feed(&w->cut, w->rb->p + w->start + w->seen, n, &cut);
		w->seen += got;
		n -= got;
		if (cut) {
			int rc = writer_content_cut(w, err);
			if (rc)
				return rc;
		}
	}
	/* go on in another buffer before this one is used to its end: what is touched of it stays in memory */
	return w->start >= READ_BUF_USE || READ_BUF_SIZE - w->start - w->seen < (256u << 10) ? next_buf(w, err) : 0;
}

uint64_t writer_content_pos(const struct writer *w)
{
	return w->pos;
}

uint64_t writer_content_last_cut(const struct writer *w)
{
	return w->last_cut;
}

void writer_content_rewind(struct writer *w)
{
	w->pos = w->last_cut;
	w->seen = 0;
	chunker_reset(&w->cut);
}

/* --- entries and notes --- */

static int emit_records(struct writer *w, enum stream_id stream, struct err *err)
{
	struct record_stream *r = &w->rec[stream];
	if (!r->len)
		return 0;
	struct slot s = {.state = SLOT_QUEUED, .stream = stream, .p = r->p, .n = r->len, .own = r->p, .cut = {.length = r->len, .entries = r->entries, .content = r->content}};
	s.path = TAKE(r->path);
	s.n_path = r->n_path;
	r->p = NULL;
	r->len = r->cap = r->n_path = 0;
	r->entries = r->content = 0;
	chunker_reset(&r->cut);
	int rc = ring_push(&w->ring, &s, err);
	if (rc) {
		free(s.own);
		free(s.path);
	}
	return rc;
}

static void append(struct record_stream *r, const void *p, size_t n)
{
	if (r->len + n > r->cap) {
		r->cap = MAX(r->len + n, MAX(2 * r->cap, 128u << 10));
		r->p = xrealloc(r->p, r->cap);
	}
	memcpy(r->p + r->len, p, n);
	r->len += n;
}

/* The record that starts at `from` is whole: does the chunk end with it? */
static int end_record(struct writer *w, enum stream_id stream, size_t from, struct err *err)
{
	struct record_stream *r = &w->rec[stream];
	bool cut = false;
	for (size_t at = from; at < r->len && !cut;)
		at += chunker_feed(&r->cut, r->p + at, r->len - at, &cut);
	return cut ? emit_records(w, stream, err) : 0;
}

int writer_entry(struct writer *w, const void *header, size_t n, uint64_t content_len, const char *path, size_t n_path, struct err *err)
{
	struct record_stream *r = &w->rec[STREAM_ENTRIES];
	unsigned char head[12];
	if (n + sizeof head > CHUNK_PLAIN_MAX || n_path > LIST_PATH_MAX)
		return err_set(err, ERR_UNSUPPORTED, "metadata of %zu bytes does not fit a chunk", n);
	if (r->len + n + sizeof head > CHUNK_PLAIN_MAX) {
		int rc = emit_records(w, STREAM_ENTRIES, err);
		if (rc)
			return rc;
	}
	if (!r->len) {
		r->path = xstrndup(path, n_path);
		r->n_path = n_path;
	}
	size_t from = r->len;
	put_u32(head, (uint32_t)n);
	put_u64(head + 4, content_len);
	append(r, head, sizeof head);
	append(r, header, n);
	r->entries++;
	r->content += content_len;
	return end_record(w, STREAM_ENTRIES, from, err);
}

bool writer_entries_at_cut(const struct writer *w)
{
	return !w->rec[STREAM_ENTRIES].len;
}

int writer_note(struct writer *w, enum note_code code, const char *path, size_t n_path, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(2 * LIST_PATH_MAX);
	const char *name = note_name(code);
	struct record_stream *r = &w->rec[STREAM_NOTES];
	format_text(&b, name, strlen(name));
	format_text(&b, path, MIN(n_path, (size_t)LIST_PATH_MAX));
	size_t from = r->len;
	append(r, b.p, b.len);
	return end_record(w, STREAM_NOTES, from, err);
}

/* --- reuse --- */

bool writer_can_reuse(struct writer *w, const unsigned char id[ID_LEN])
{
	return packer_can_reuse(&w->packer, id);
}

int writer_reuse(struct writer *w, enum stream_id stream, const struct writer_cut *c, const char *path, size_t n_path, struct err *err)
{
	BUG_ON(stream == STREAM_CONTENT ? w->seen != 0 : w->rec[stream].len != 0);
	if (!packer_reuse(&w->packer, c->id))
		return err_set(err, ERR_INTERNAL, "a chunk to be reused is in no usable pack");
	struct slot s = {.state = SLOT_DONE, .stream = stream, .cut = *c};
	if (stream == STREAM_ENTRIES) {
		s.path = xstrndup(path, n_path);
		s.n_path = n_path;
	}
	if (stream == STREAM_CONTENT) {
		w->pos += c->length;
		w->last_cut += c->length;
		w->reused += c->length;
	}
	int rc = ring_push(&w->ring, &s, err);
	if (rc)
		free(s.path);
	return rc;
}

/* --- end --- */

int writer_finish(struct writer *w, struct stream_root root[STREAM_COUNT], struct pack_list *packs, struct err *err)
{
	int rc = writer_content_cut(w, err);
	if (!rc)
		rc = emit_records(w, STREAM_ENTRIES, err);
	if (!rc)
		rc = emit_records(w, STREAM_NOTES, err);
	if (!rc)
		rc = ring_drain(&w->ring, err);
	for (enum stream_id s = 0; s < STREAM_COUNT && !rc; s++)
		rc = list_builder_finish(w->list[s], &root[s], err);
	return rc ? rc : packer_finish(&w->packer, packs, err);
}

void writer_stats(const struct writer *w, struct writer_stats *ret)
{
	const struct packer *k = &w->packer;
	*ret = (struct writer_stats){atomic_load(&k->chunks), atomic_load(&k->chunks_new), atomic_load(&k->bytes), atomic_load(&k->bytes_new), atomic_load(&k->sealed), w->reused, atomic_load(&k->packs)};
}
