/*
 * The content of unchanged files. Cuts depend on nothing but the bytes behind the cut before, the mode and forced cuts:
 * so where a new cut falls on an old one and old content follows, the old chunks follow too. A chunk whose end was
 * forced (by a large file behind it, or the end of the stream) is one again only if something forces it now.
 */
#include "backup/scan_int.h"

#include <errno.h>
#include <string.h>

void scan_content_init(struct scan *s)
{
	struct content_hold *h = &s->content;
	h->mark = xmalloc(sizeof(*h->mark));
	h->again = cache_cursor_new(s->in);
	h->cuts = cache_cuts_new(s->in, STREAM_CONTENT);
}

void scan_content_release(struct scan *s)
{
	struct content_hold *h = &s->content;
	free(h->mark);
	cache_cursor_free(h->again);
	cache_cuts_free(h->cuts);
	free(h->forced);
	*h = (struct content_hold){0};
}

/* --- cuts --- */

static void expect_forced(struct content_hold *h, uint64_t pos)
{
	if (h->n_forced == h->cap_forced) {
		size_t cap = MAX(2 * h->cap_forced, (size_t)16);
		uint64_t *ring = xcalloc(cap, sizeof(*ring));
		for (size_t i = 0; i < h->n_forced; i++)
			ring[i] = h->forced[(h->forced_head + i) % h->cap_forced];
		free(h->forced);
		h->forced = ring;
		h->cap_forced = cap;
		h->forced_head = 0;
	}
	h->forced[(h->forced_head + h->n_forced++) % h->cap_forced] = pos;
}

bool content_told(struct scan *s, uint64_t length)
{
	struct content_hold *h = &s->content;
	h->told += length;
	if (!h->n_forced || h->forced[h->forced_head] != h->told)
		return false;
	h->forced_head = (h->forced_head + 1) % h->cap_forced;
	h->n_forced--;
	return true;
}

static int force(struct scan *s, struct err *err)
{
	uint64_t pos = writer_content_pos(s->w);
	if (pos == writer_content_last_cut(s->w))
		return 0;
	expect_forced(&s->content, pos);
	return writer_content_cut(s->w, err);
}

int content_enter(struct scan *s, enum writer_mode mode, struct err *err)
{
	if (mode != WRITE_SMALL || s->content.mode != mode) {
		int rc = force(s, err);
		if (rc)
			return rc;
	}
	s->content.mode = mode;
	return writer_content_mode(s->w, mode, err);
}

int content_leave(struct scan *s, bool large, struct err *err)
{
	return large ? force(s, err) : 0;
}

int content_zeros(struct scan *s, uint64_t n, struct err *err)
{
	while (n) {
		size_t room;
		unsigned char *p = writer_room(s->w, &room);
		size_t k = (size_t)MIN((uint64_t)room, n);
		memset(p, 0, k);
		int rc = writer_filled(s->w, k, err);
		if (!rc)
			rc = scan_poll(s, err);
		if (rc)
			return rc;
		n -= k;
	}
	return 0;
}

/* --- reading unchanged content --- */

static enum writer_mode mode_of(const struct cached *e)
{
	return !(e->flags & CACHED_LARGE) ? WRITE_SMALL : e->flags & CACHED_PAGES ? WRITE_PAGES : WRITE_LARGE;
}

static bool is_entry(const struct stat *st, const struct cached *c)
{
	return st->st_ino == c->ino && (uint64_t)st->st_size == c->size && stat_mtime(st) == c->mtime &&
	       stat_ctime(st) == c->ctime;
}

/* An unchanged file is read after all. */
static void count_read(struct scan *s, const struct cache_place *p)
{
	if (s->content.opened != p->ordinal + 1 && s->facts->skipped)
		s->facts->skipped--;
	s->content.opened = p->ordinal + 1;
}

/* Why bytes that were promised did not come, beside an errno. */
enum { DIFFERS = -1 };

static int note_failed(struct scan *s, const struct cache_place *p, int why, struct err *err)
{
	enum note_code code = why == DIFFERS ? NOTE_CHANGED : note_of_errno(why);
	if (code == NOTE_UNREADABLE)
		cache_out_spoil(s->out); /* its keys may well be the same the next time */
	if (s->content.noted == p->ordinal + 1)
		return 0;
	s->content.noted = p->ordinal + 1;
	return scan_note(s, code, p->path, p->n_path, err);
}

/* Bytes [*from, to) of an entry's content; stops short where they cannot be had. *why tells then. */
static int copy_bytes(struct scan *s, struct source *f, uint64_t *from, uint64_t to, int *why, struct err *err)
{
	while (*from < to && !*why) {
		size_t room;
		unsigned char *p = writer_room(s->w, &room);
		size_t want = (size_t)MIN((uint64_t)room, to - *from);
		ssize_t n = source_read(f, *from, p, want);
		if (n < 0)
			*why = errno;
		else if ((size_t)n < want)
			*why = source_same(f) ? EIO : DIFFERS;
		int rc = n > 0 ? writer_filled(s->w, (size_t)n, err) : 0;
		if (!rc)
			rc = scan_poll(s, err);
		if (rc)
			return rc;
		*from += n > 0 ? (size_t)n : 0;
	}
	if (!*why && !source_same(f))
		*why = DIFFERS;
	return 0;
}

/* The same, but the length is kept: zeros stand for what cannot be had. */
static int copy_range(struct scan *s, struct source *f, const struct cache_place *p, uint64_t from, uint64_t to,
        int *why, struct err *err)
{
	int rc = copy_bytes(s, f, &from, to, why, err);
	if (rc || !*why)
		return rc;
	rc = content_zeros(s, to - from, err);
	return rc ? rc : note_failed(s, p, *why, err);
}

static int open_again(struct scan *s, struct source *f, const struct cache_place *p, int *why, struct err *err)
{
	const char *name;
	int dir = beneath_find(s->beneath, p->path, p->n_path, &name);
	*why = dir == -1 ? errno : source_open(f, dir, name);
	if (errno_is_ours(*why))
		return err_set(err, ERR_IO, "open '/%s': %s", p->path, strerror(*why));
	if (!*why && !is_entry(&f->st, &p->e))
		*why = DIFFERS;
	else if (!*why && f->len != p->e.content_len)
		*why = EIO; /* the holes moved while the keys stood still */
	return 0;
}

/* Bytes [from, to) of the old content stream that lie in one entry. */
static int reread_entry(struct scan *s, const struct cache_place *p, uint64_t from, uint64_t to, struct err *err)
{
	struct source f;
	bool large = p->e.flags & CACHED_LARGE;
	int why = 0;
	uint64_t end = p->pos + p->e.content_len;
	int rc = content_enter(s, mode_of(&p->e), err);
	if (rc)
		return rc;
	source_init(&f);
	count_read(s, p);
	rc = open_again(s, &f, p, &why, err);
	if (!rc)
		rc = copy_range(s, &f, p, from - p->pos, to - p->pos, &why, err);
	source_release(&f);
	return !rc && to == end ? content_leave(s, large, err) : rc;
}

/* Read old bytes [from, to) of what is held back once more. */
static int reread(struct scan *s, uint64_t from, uint64_t to, struct err *err)
{
	struct content_hold *h = &s->content;
	if (from == to)
		return 0;
	cache_cursor_set(h->again, h->mark);
	const struct cache_place *p = cache_cursor_at(h->again);
	while (p && from < to) {
		uint64_t end = p->pos + p->e.content_len;
		int rc = p->e.content_len && end > from ? reread_entry(s, p, from, MIN(to, end), err) : 0;
		if (rc)
			return rc;
		from = MAX(from, MIN(to, end));
		p = cache_cursor_next(h->again);
	}
	return from < to ? err_set(err, ERR_IO, "the files cache cannot be read any more") : 0;
}

/* --- holding back --- */

static int take_chunk(struct scan *s, const struct cache_chunk *c, struct err *err)
{
	s->content.start = c->end;
	if (c->forced)
		expect_forced(&s->content, writer_content_pos(s->w) + c->cut.length);
	return writer_reuse(s->w, STREAM_CONTENT, &c->cut, NULL, 0, err);
}

/* A chunk that cannot be reused: its bytes bring the same cut again, unless a file changed under us. */
static int read_chunk(struct scan *s, const struct cache_chunk *c, struct err *err)
{
	struct content_hold *h = &s->content;
	struct cache_chunk old = *c;
	int rc = reread(s, old.start, old.end, err);
	if (!rc && old.forced)
		rc = force(s, err);
	if (!rc && writer_content_pos(s->w) != writer_content_last_cut(s->w)) {
		rc = reread(s, old.end, h->end, err);
		h->active = false;
	}
	h->start = old.end;
	return rc;
}

/* Take the chunks that what is held back covers. forced: a forced cut comes right behind it. */
static int advance(struct scan *s, bool forced, struct err *err)
{
	struct content_hold *h = &s->content;
	while (h->active && h->start < h->end) {
		const struct cache_chunk *c = cache_cuts_seek(h->cuts, h->start);
		if (!c || c->end > h->end || (c->end == h->end && c->forced && !h->large && !forced))
			return 0;
		int rc = writer_can_reuse(s->w, c->cut.id) ? take_chunk(s, c, err) : read_chunk(s, c, err);
		if (!rc)
			rc = scan_poll(s, err);
		if (rc)
			return rc;
	}
	return 0;
}

int content_break(struct scan *s, bool large, struct err *err)
{
	struct content_hold *h = &s->content;
	int rc = advance(s, large, err);
	if (!rc && h->active)
		rc = reread(s, h->start, h->end, err);
	h->active = false;
	return rc;
}

/* The writer stands at a cut that is also one of the old stream, at old position pos: from here on hold back. */
static void hold(struct scan *s, uint64_t pos)
{
	s->content.active = true;
	s->content.start = s->content.end = pos;
}

static bool is_old_cut(struct scan *s, uint64_t pos)
{
	const struct cache_chunk *c = cache_cuts_seek(s->content.cuts, pos);
	return c && c->start == pos;
}

static int extend(struct scan *s, const struct cache_place *p, struct err *err)
{
	struct content_hold *h = &s->content;
	uint64_t before = h->end, end = p->pos + p->e.content_len;
	if (h->start == before)
		cache_place_copy(h->mark, p);
	h->end = end;
	h->large = p->e.flags & CACHED_LARGE;
	/* chunks up to `before` are taken, or wait for what this entry tells; those behind may end in it */
	int rc = advance(s, false, err);
	if (!rc && h->active && h->start >= p->pos && h->start < h->end)
		cache_place_copy(h->mark, p);
	return rc;
}

/* Read an unchanged file until a new cut falls on an old one. */
static int read_synced(struct scan *s, struct source *f, const struct cache_place *p, struct err *err)
{
	uint64_t begin = writer_content_pos(s->w), off = 0, len = p->e.content_len;
	while (off < len) {
		size_t room;
		int why = 0;
		writer_room(s->w, &room);
		uint64_t to = MIN(off + room, len);
		int rc = copy_range(s, f, p, off, to, &why, err);
		if (rc)
			return rc;
		off = to;
		if (why)
			return content_zeros(s, len - off, err);
		uint64_t cut = writer_content_last_cut(s->w);
		if (cut < begin || !is_old_cut(s, p->pos + (cut - begin)))
			continue;
		writer_content_rewind(s->w);
		hold(s, p->pos + (cut - begin));
		return cut - begin == len ? 0 : extend(s, p, err);
	}
	return 0;
}

static int read_unchanged(
        struct scan *s, const struct walk_entry *e, const struct cache_place *p, bool *ret_done, struct err *err)
{
	struct source f;
	const char *name;
	bool large = p->e.flags & CACHED_LARGE;
	source_init(&f);
	int dir = scan_dir(s, e, &name);
	int why = dir == -1 ? errno : source_open(&f, dir, name), rc = 0;
	*ret_done = !why && is_entry(&f.st, &p->e) && f.len == p->e.content_len;
	if (*ret_done) {
		s->content.opened = p->ordinal + 1;
		rc = read_synced(s, &f, p, err);
		if (!rc && !s->content.active)
			rc = content_leave(s, large, err);
	}
	source_release(&f);
	return rc;
}

int content_unchanged(
        struct scan *s, const struct walk_entry *e, const struct cache_place *p, bool *ret_done, struct err *err)
{
	struct content_hold *h = &s->content;
	bool large = p->e.flags & CACHED_LARGE;
	*ret_done = true;
	if (!h->active || h->end != p->pos) {
		int rc = content_break(s, large, err);
		if (!rc)
			rc = content_enter(s, mode_of(&p->e), err);
		if (rc)
			return rc;
		if (writer_content_pos(s->w) != writer_content_last_cut(s->w) || !is_old_cut(s, p->pos))
			return read_unchanged(s, e, p, ret_done, err);
		hold(s, p->pos);
	}
	s->facts->skipped++;
	return extend(s, p, err);
}
