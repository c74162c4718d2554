/*
 * A writer that keeps its streams in memory, for tests of the scan: linked in place of the real one, it cuts as that
 * does, names chunks by SHA-256, and can refuse to reuse.
 */
#ifndef TESTS_SCAN_WRITER_H
#define TESTS_SCAN_WRITER_H

#include <string.h>
#include "backup/writer.h"

enum { ROOM = 256 << 10 };
struct kept_chunk {
	struct writer_cut cut;
	unsigned char *p; /* NULL: reused */
};
struct kept_stream {
	struct kept_chunk *chunk;
	size_t n, cap, told;
	unsigned char *pending; /* room bytes, of which len are used */
	size_t len, room;
	uint64_t entries, content;
	struct chunker cutter;
};
struct writer {
	struct kept_stream s[STREAM_COUNT];
	struct gear gear;
	enum writer_mode mode;
	unsigned char *in; /* ROOM bytes: what is written into for writer_filled() */
	uint64_t pos, last_cut, reused;
	void (*cut)(void *arg, enum stream_id stream, const struct writer_cut *c);
	void *arg;
	const struct writer *before; /* whose chunks may be reused */
	unsigned refuse;             /* of 8 ids, so many may not */
	size_t lag;                  /* so many cuts of a stream are told late */
	/* called once: when this much content came (0: when room is first asked for), or a content chunk may be reused
	 */
	uint64_t at_pos;
	void (*filled)(void), (*asked)(void);
};

static struct writer *kept_new(const struct writer *before, unsigned refuse, size_t lag, void *scan,
        void (*cut)(void *arg, enum stream_id stream, const struct writer_cut *c))
{
	static const unsigned char key[32] = "a table for tests of the scanner";
	struct secret k;
	struct writer *w = xcalloc(1, sizeof(*w));
	w->in = xmalloc(ROOM);
	secret_set(&k, key, sizeof(key));
	gear_init(&w->gear, &k);
	secret_release(&k);
	for (int i = 0; i < STREAM_COUNT; i++)
		chunker_init(&w->s[i].cutter, &w->gear, i == STREAM_CONTENT ? &CHUNK_SIZES_SMALL : &CHUNK_SIZES_RECORDS);
	w->before = before;
	w->refuse = refuse;
	w->lag = lag;
	w->cut = cut;
	w->arg = scan;
	return w;
}

static void kept_free(struct writer *w)
{
	if (!w)
		return;
	for (int i = 0; i < STREAM_COUNT; i++) {
		for (size_t k = 0; k < w->s[i].n; k++)
			free(w->s[i].chunk[k].p);
		free(w->s[i].chunk);
		free(w->s[i].pending);
	}
	free(w->in);
	free(w);
}

static void tell(struct writer *w, enum stream_id id, size_t lag)
{
	struct kept_stream *s = &w->s[id];
	for (; s->told + lag < s->n; s->told++)
		if (w->cut)
			w->cut(w->arg, id, &s->chunk[s->told].cut);
}

static void keep(struct writer *w, enum stream_id id, const struct writer_cut *c, unsigned char *p)
{
	struct kept_stream *s = &w->s[id];
	s->chunk = xgrow(s->chunk, s->n, &s->cap, sizeof(*s->chunk));
	s->chunk[s->n++] = (struct kept_chunk){*c, p};
	tell(w, id, w->lag);
}

static void end_chunk(struct writer *w, enum stream_id id)
{
	struct kept_stream *s = &w->s[id];
	if (!s->len)
		return;
	struct writer_cut c = {.length = s->len, .entries = s->entries, .content = s->content};
	sha256_of(s->pending, s->len, c.id);
	keep(w, id, &c, memcpy(xmalloc(s->len), s->pending, s->len));
	s->len = 0;
	s->entries = s->content = 0;
	chunker_reset(&s->cutter);
}

static void make_room(struct kept_stream *s, size_t n)
{
	if (s->room - s->len < n) {
		s->room = MAX(2 * s->room, s->len + n);
		s->pending = xrealloc(s->pending, s->room);
	}
}

static void put_bytes(struct kept_stream *s, const void *p, size_t n)
{
	make_room(s, n);
	memcpy(s->pending + s->len, p, n);
	s->len += n;
}

unsigned char *writer_room(struct writer *w, size_t *ret_n)
{
	if (w->filled && !w->at_pos) {
		w->filled();
		w->filled = NULL;
	}
	*ret_n = ROOM;
	return w->in;
}

int writer_filled(struct writer *w, size_t n, struct err *err)
{
	(void)err;
	struct kept_stream *s = &w->s[STREAM_CONTENT];
	w->pos += n;
	if (w->filled && w->pos >= w->at_pos) {
		w->filled();
		w->filled = NULL;
	}
	for (size_t at = 0; at < n;) {
		bool cut;
		size_t k = chunker_feed(&s->cutter, w->in + at, n - at, &cut);
		put_bytes(s, w->in + at, k);
		at += k;
		if (cut) {
			w->last_cut += s->len;
			end_chunk(w, STREAM_CONTENT);
		}
	}
	return 0;
}

int writer_content_cut(struct writer *w, struct err *err)
{
	(void)err;
	w->last_cut = w->pos;
	end_chunk(w, STREAM_CONTENT);
	return 0;
}

int writer_content_mode(struct writer *w, enum writer_mode m, struct err *err)
{
	if (m == w->mode)
		return 0;
	w->mode = m;
	int rc = writer_content_cut(w, err);
	chunker_init(
	        &w->s[STREAM_CONTENT].cutter, &w->gear, m == WRITE_LARGE ? &CHUNK_SIZES_LARGE : m == WRITE_PAGES ? &CHUNK_SIZES_PAGES : &CHUNK_SIZES_SMALL);
	return rc;
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
	w->s[STREAM_CONTENT].len = 0;
	chunker_reset(&w->s[STREAM_CONTENT].cutter);
}

static void end_record(struct writer *w, enum stream_id id, size_t from)
{
	struct kept_stream *s = &w->s[id];
	bool cut = false;
	for (size_t at = from; at < s->len && !cut;)
		at += chunker_feed(&s->cutter, s->pending + at, s->len - at, &cut);
	if (cut)
		end_chunk(w, id);
}

int writer_entry(struct writer *w, const void *header, size_t n, uint64_t content_len, const char *path, size_t n_path,
        struct err *err)
{
	(void)err;
	(void)path;
	(void)n_path;
	struct kept_stream *s = &w->s[STREAM_ENTRIES];
	unsigned char head[12];
	size_t from = s->len;
	put_u32(head, (uint32_t)n);
	put_u64(head + 4, content_len);
	put_bytes(s, head, sizeof(head));
	put_bytes(s, header, n);
	s->entries++;
	s->content += content_len;
	end_record(w, STREAM_ENTRIES, from);
	return 0;
}

bool writer_entries_at_cut(const struct writer *w)
{
	return !w->s[STREAM_ENTRIES].len;
}

int writer_note(struct writer *w, enum note_code code, const char *path, size_t n_path, struct err *err)
{
	(void)err;
	struct kept_stream *s = &w->s[STREAM_NOTES];
	size_t from = s->len;
	unsigned char c = (unsigned char)code;
	put_bytes(s, &c, 1);
	put_bytes(s, path, n_path);
	put_bytes(s, "\n", 1);
	end_record(w, STREAM_NOTES, from);
	return 0;
}

static bool kept_has(const struct writer *w, enum stream_id s, const unsigned char id[ID_LEN])
{
	for (size_t k = 0; w && k < w->s[s].n; k++)
		if (!memcmp(w->s[s].chunk[k].cut.id, id, ID_LEN))
			return true;
	return false;
}

bool writer_can_reuse(struct writer *w, const unsigned char id[ID_LEN])
{
	bool content = kept_has(w->before, STREAM_CONTENT, id);
	if (w->asked && content) {
		w->asked();
		w->asked = NULL;
	}
	return id[0] % 8u >= w->refuse && (content || kept_has(w->before, STREAM_ENTRIES, id));
}

int writer_reuse(struct writer *w, enum stream_id stream, const struct writer_cut *c, const char *path, size_t n_path,
        struct err *err)
{
	(void)path;
	(void)n_path;
	if (w->s[stream].len || !writer_can_reuse(w, c->id))
		return err_set(err, ERR_INTERNAL, "reuse with bytes pending or of what is not there");
	if (stream == STREAM_CONTENT) {
		w->pos += c->length;
		w->last_cut += c->length;
		w->reused += c->length;
	}
	keep(w, stream, c, NULL);
	return 0;
}

/* What the real one does when it finishes. */
static void kept_finish(struct writer *w)
{
	w->last_cut = w->pos;
	for (enum stream_id i = 0; i < STREAM_COUNT; i++) {
		end_chunk(w, i);
		tell(w, i, 0);
	}
}

#endif
