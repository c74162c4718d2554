/* The records of unchanged entries: whole old chunks are reused, other records are made again. */
#include "backup/scan_int.h"

#include <errno.h>
#include <string.h>

void entries_init(struct scan *s)
{
	struct entry_hold *h = &s->entries;
	h->mark = xmalloc(sizeof(*h->mark));
	h->again = cache_cursor_new(s->in);
	h->cuts = cache_cuts_new(s->in, STREAM_ENTRIES);
	buf_init(&h->record, SCAN_RECORD_MAX);
}

void entries_release(struct scan *s)
{
	struct entry_hold *h = &s->entries;
	free(h->mark);
	cache_cursor_free(h->again);
	cache_cuts_free(h->cuts);
	buf_release(&h->record);
	*h = (struct entry_hold){0};
}

/* --- records made again --- */

static void to_stat(const struct cached *e, struct stat *st)
{
	*st = (struct stat){
	        .st_mode = e->mode, .st_uid = e->uid, .st_gid = e->gid, .st_size = (off_t)e->size, .st_rdev = e->rdev};
	st->st_mtim.tv_sec = e->mtime / 1000000000;
	st->st_mtim.tv_nsec = e->mtime % 1000000000;
	if (st->st_mtim.tv_nsec < 0) {
		st->st_mtim.tv_sec--;
		st->st_mtim.tv_nsec += 1000000000;
	}
}

/* What can be said of an entry that is gone: its keys and no attributes. A symbolic link without a target is left out.
 */
static int bare_record(
        struct scan *s, const struct cache_place *p, const struct err *why, bool *ret_left_out, struct err *err)
{
	struct stat st;
	uint64_t len;
	bool gone = why->code == ERR_MISSING;
	int rc = scan_note(s, gone ? NOTE_VANISHED : NOTE_UNREADABLE, p->path, p->n_path, err);
	if (rc)
		return rc;
	*ret_left_out = S_ISLNK(p->e.mode);
	if (!gone || *ret_left_out)
		cache_out_spoil(s->out);
	if (*ret_left_out) {
		s->facts->others--;
		s->facts->entries--;
		return 0;
	}
	to_stat(&p->e, &st);
	if (S_ISREG(st.st_mode))
		st.st_size = (off_t)p->e.content_len;
	struct pax_file f = {.path = p->path, .fd = -1, .st = &st};
	buf_clear(&s->entries.record);
	return pax_record(s->disk, &f, &s->entries.record, &len, err);
}

/* An entry whose keys are all there is to it: ctime is equal, so it has got no attributes since. */
static int keys_record(struct scan *s, const struct cache_place *p, struct err *err)
{
	struct stat st;
	uint64_t len;
	to_stat(&p->e, &st);
	struct pax_file f = {.path = p->path, .fd = -1, .st = &st, .hardlink = p->e.flags & CACHED_LINK ? p->link : NULL};
	buf_clear(&s->entries.record);
	return pax_record(s->disk, &f, &s->entries.record, &len, err);
}

/* From the keys, and what else the disk has. */
static int disk_record(struct scan *s, const struct cache_place *p, struct err *err)
{
	char access[ACCESS_MAX];
	const char *name;
	struct stat st;
	struct source f;
	uint64_t len;
	int rc = 0, why = 0, dir = beneath_find(s->beneath, p->path, p->n_path, &name);
	if (dir == -1)
		return err_sys(err, ERR_IO, "/%s", p->path);
	to_stat(&p->e, &st);
	source_init(&f);
	if (p->e.flags & CACHED_SPARSE)
		why = source_open(&f, dir, name);
	if (why) {
		errno = why;
		rc = err_sys(err, ERR_IO, "/%s", p->path);
	}
	struct pax_file r = {.path = p->path,
	        .access = scan_access(access, dir, name),
	        .fd = f.fd,
	        .st = &st,
	        .extents = f.x,
	        .n_extents = f.n_x};
	if (p->e.flags & CACHED_LINK)
		r.hardlink = p->link;
	buf_clear(&s->entries.record);
	if (!rc)
		rc = pax_record(s->disk, &r, &s->entries.record, &len, err);
	if (!rc && len != p->e.content_len)
		rc = err_set(err, ERR_IO, "/%s: the holes moved", p->path);
	source_release(&f);
	return rc;
}

static int remake(struct scan *s, const struct cache_place *p, struct err *err)
{
	struct err why = ERR_INIT;
	bool left_out = false;
	int rc = p->e.flags & CACHED_BARE ? keys_record(s, p, &why) : disk_record(s, p, &why);
	if (rc == -ERR_INTERNAL)
		return err_set(err, why.code, "%s", why.msg);
	rc = rc ? bare_record(s, p, &why, &left_out, err) : 0;
	if (rc || left_out)
		return rc;
	return writer_entry(
	        s->w, s->entries.record.p, s->entries.record.len, p->e.content_len, p->path, p->n_path, err);
}

/* --- holding back --- */

int entries_break(struct scan *s, struct err *err)
{
	struct entry_hold *h = &s->entries;
	if (!h->active)
		return 0;
	h->active = false;
	if (h->first == h->next)
		return 0;
	cache_cursor_set(h->again, h->mark);
	const struct cache_place *p = cache_cursor_at(h->again);
	for (; h->first < h->next; h->first++) {
		if (!p)
			return err_set(err, ERR_IO, "the files cache cannot be read any more");
		int rc = remake(s, p, err);
		if (!rc)
			rc = scan_poll(s, err);
		if (rc)
			return rc;
		p = cache_cursor_next(h->again);
	}
	return 0;
}

static int take_chunk(struct scan *s, const struct cache_chunk *c, struct err *err)
{
	struct entry_hold *h = &s->entries;
	if (!writer_can_reuse(s->w, c->cut.id))
		return entries_break(s, err);
	h->first = h->next;
	return writer_reuse(s->w, STREAM_ENTRIES, &c->cut, h->mark->path, h->mark->n_path, err);
}

/* The end of the last chunk is that of the stream: it counts only if the stream ends there again. */
static bool is_last(const struct scan *s, const struct cache_chunk *c)
{
	return c->end == cache_in_entries(s->in);
}

int entries_end(struct scan *s, struct err *err)
{
	struct entry_hold *h = &s->entries;
	if (h->active && h->first < h->next) {
		const struct cache_chunk *c = cache_cuts_seek(h->cuts, h->first);
		if (c && c->end == h->next)
			return take_chunk(s, c, err);
	}
	return entries_break(s, err);
}

int entries_unchanged(struct scan *s, const struct cache_place *p, struct err *err)
{
	struct entry_hold *h = &s->entries;
	if (h->active && p->ordinal != h->next) {
		int rc = entries_break(s, err);
		if (rc)
			return rc;
	}
	const struct cache_chunk *c = cache_cuts_seek(h->cuts, h->active ? h->first : p->ordinal);
	if (!h->active) {
		if (!c || c->start != p->ordinal || !writer_entries_at_cut(s->w))
			return remake(s, p, err);
		h->active = true;
		h->first = h->next = p->ordinal;
	}
	if (h->first == h->next)
		cache_place_copy(h->mark, p);
	h->next++;
	if (c && c->end == h->next && !is_last(s, c))
		return take_chunk(s, c, err);
	return 0;
}
