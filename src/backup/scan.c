#include "backup/scan_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "backup/walk_ahead.h"

/* Times younger than this before the walk began may be those of a later change, too. */
#define TICK_NS 2000000000ll
enum { PROGRESS_EVERY = 256 };

struct scan *scan_new(const struct scan_opts *o)
{
	struct scan *s = xcalloc(1, sizeof(*s));
	s->o = *o;
	buf_init(&s->record, SCAN_RECORD_MAX);
	return s;
}

void scan_free(struct scan *s)
{
	if (!s)
		return;
	scan_content_release(s);
	entries_release(s);
	cache_cursor_free(s->old);
	cache_out_free(s->out);
	cache_in_free(s->in);
	beneath_free(s->here);
	beneath_free(s->beneath);
	hardlinks_free(s->links);
	exclude_free(s->exclude);
	walk_roots_free(s->roots, s->n_roots);
	pax_disk_free(s->disk);
	buf_release(&s->record);
	free(s);
}

void scan_cut(void *scan, enum stream_id stream, const struct writer_cut *c)
{
	struct scan *s = scan;
	bool forced = stream == STREAM_CONTENT && content_told(s, c->length);
	if (s->out && stream != STREAM_NOTES)
		cache_out_cut(s->out, stream, c, forced);
}

int scan_poll(struct scan *s, struct err *err)
{
	if (s->o.cancel && atomic_load_explicit(s->o.cancel, memory_order_relaxed))
		return err_set(err, ERR_CANCELLED, "the backup was stopped");
	if (s->o.progress && ++s->polls % PROGRESS_EVERY == 0)
		s->o.progress(s->o.arg, s->facts->files, s->facts->bytes);
	return 0;
}

int scan_note(struct scan *s, enum note_code code, const char *path, size_t n, struct err *err)
{
	s->facts->notes[code]++;
	if (s->o.note)
		s->o.note(s->o.arg, code, path, n);
	return writer_note(s->w, code, path, n, err);
}

int scan_dir(struct scan *s, const struct walk_entry *e, const char **ret_name)
{
	return beneath_find(s->here, e->path, e->n_path, ret_name);
}

const char *scan_access(char out[ACCESS_MAX], int dir, const char *name)
{
	if (dir == AT_FDCWD)
		return name;
	snprintf(out, ACCESS_MAX, "/proc/self/fd/%d/%s", dir, name);
	return out;
}

/* --- one entry --- */

/* The old entry of this path, when there is one. */
static const struct cache_place *find_old(struct scan *s, const struct walk_entry *e)
{
	const struct cache_place *p = cache_cursor_at(s->old);
	while (p) {
		if (p->n_path == e->n_path && !memcmp(p->path, e->path, e->n_path))
			return p;
		if (path_walk_cmp(p->path, p->n_path, e->path, e->n_path) > 0)
			return NULL;
		p = cache_cursor_next(s->old);
	}
	return NULL;
}

static void fill_cached(struct cached *c, const struct stat *st)
{
	*c = (struct cached){.mode = st->st_mode, .uid = st->st_uid, .gid = st->st_gid, .ino = st->st_ino};
	c->mtime = stat_mtime(st);
	c->ctime = stat_ctime(st);
	if (S_ISREG(st->st_mode) || S_ISLNK(st->st_mode))
		c->size = (uint64_t)st->st_size;
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		c->rdev = st->st_rdev;
}

static bool is_unchanged(const struct scan *s, const struct cache_place *p, const struct stat *st, bool link)
{
	struct cached c;
	if (!(p->e.flags & CACHED_SAME) || link != !!(p->e.flags & CACHED_LINK))
		return false;
	fill_cached(&c, st);
	return c.size == p->e.size && c.mtime == p->e.mtime && c.ctime == p->e.ctime && c.ino == p->e.ino &&
	       c.mode == p->e.mode && c.uid == p->e.uid && c.gid == p->e.gid && c.rdev == p->e.rdev &&
	       (!link || (p->n_link == s->n_target && !memcmp(p->link, s->target, s->n_target)));
}

static void count(struct scan *s, mode_t mode, uint64_t content_len)
{
	struct snapshot_facts *f = s->facts;
	f->entries++;
	f->bytes += content_len;
	*(S_ISREG(mode) ? &f->files : S_ISDIR(mode) ? &f->dirs : &f->others) += 1;
}

static int keep_unchanged(struct scan *s, const struct walk_entry *e, const struct cache_place *p, bool link,
        bool *ret_done, struct err *err)
{
	bool file = S_ISREG(e->st->st_mode) && !link;
	int rc = 0;
	*ret_done = true;
	if (p->e.content_len)
		rc = content_unchanged(s, e, p, ret_done, err);
	else if (file)
		s->facts->skipped++;
	if (rc || !*ret_done)
		return rc;
	count(s, e->st->st_mode, p->e.content_len);
	cache_out_same(s->out, p);
	return entries_unchanged(s, p, err);
}

/* The record of anything but a regular file's first name. */
static int read_other(struct scan *s, const struct walk_entry *e, bool link, struct file_done *ret, struct err *err)
{
	char access[ACCESS_MAX];
	const char *name;
	struct err why = ERR_INIT;
	struct pax_file f = {.path = e->path, .fd = -1, .st = e->st};
	uint64_t len;
	*ret = (struct file_done){.st = *e->st};
	if (link)
		f.hardlink = s->target;
	int dir = scan_dir(s, e, &name);
	if (dir == -1)
		return errno_is_ours(errno) ? err_sys(err, ERR_IO, "open the directory of '/%s'", e->path)
		                            : scan_note(s, note_of_errno(errno), e->path, e->n_path, err);
	f.access = scan_access(access, dir, name);
	buf_clear(&s->record);
	int rc = pax_record(s->disk, &f, &s->record, &len, &why);
	ret->recorded = !rc;
	if (rc == -ERR_INTERNAL)
		return err_set(err, why.code, "%s", why.msg);
	return rc ? scan_note(s, rc == -ERR_MISSING ? NOTE_VANISHED : NOTE_UNREADABLE, e->path, e->n_path, err) : 0;
}

/* Can the record be made again from the keys alone? Attributes and ACLs are keywords of this vendor in the header; one in a name
 * only costs a look at the disk. */
static bool is_bare(const struct scan *s, const struct file_done *d)
{
	return !d->sparse && !S_ISLNK(d->st.st_mode) && !memmem(s->record.p, s->record.len, "SCHILY.", 7);
}

static int put_new(struct scan *s, const struct walk_entry *e, const struct file_done *d, bool link, struct err *err)
{
	struct cached c;
	int64_t before = s->start - TICK_NS;
	/* the keys are those that the walk will meet again; a size that was cut short is in the record alone */
	fill_cached(&c, &d->st);
	c.content_len = d->content_len;
	c.flags = (c.mtime > INT64_MIN && c.mtime < before && c.ctime < before && !d->changed ? CACHED_SAME : 0) |
	          (link ? CACHED_LINK : 0) | (d->mode != WRITE_SMALL ? CACHED_LARGE : 0) | (d->mode == WRITE_PAGES ? CACHED_PAGES : 0) | (d->sparse ? CACHED_SPARSE : 0) |
	          (is_bare(s, d) ? CACHED_BARE : 0);
	int rc = entries_break(s, err);
	if (!rc)
		rc = writer_entry(s->w, s->record.p, s->record.len, d->content_len, e->path, e->n_path, err);
	if (rc)
		return rc;
	cache_out_put(s->out, &c, e->path, e->n_path, link ? s->target : NULL, s->n_target);
	count(s, e->st->st_mode, d->content_len);
	return 0;
}

static int on_entry(void *arg, const struct walk_entry *e, struct err *err)
{
	struct scan *s = arg;
	bool several = e->st->st_nlink > 1 && !S_ISDIR(e->st->st_mode), link = false, done = false;
	struct file_done d;
	int rc = scan_poll(s, err);
	if (!rc && several) {
		rc = hardlinks_find(s->links, e->st, s->target, &s->n_target, err);
		link = rc > 0;
		rc = MIN(rc, 0);
	}
	const struct cache_place *p = find_old(s, e);
	if (!rc && p && is_unchanged(s, p, e->st, link))
		rc = keep_unchanged(s, e, p, link, &done, err);
	if (!rc && !done) {
		rc = S_ISREG(e->st->st_mode) && !link ? file_read(s, e, &d, err) : read_other(s, e, link, &d, err);
		if (rc || !d.recorded)
			return rc;
		rc = put_new(s, e, &d, link, err);
	}
	return !rc && several && !link ? hardlinks_add(s->links, e->st, e->path, e->n_path, err) : rc;
}

static int on_note(void *arg, enum note_code code, const char *path, size_t n, struct err *err)
{
	return scan_note(arg, code, path, n, err);
}

/* --- a run --- */

static int read_patterns(struct scan *s, struct err *err)
{
	s->exclude = exclude_new();
	for (const char *const *x = s->o.exclude; x && *x; x++)
		exclude_add(s->exclude, *x);
	for (const char *const *x = s->o.exclude_from; x && *x; x++)
		if (exclude_add_file(s->exclude, *x, err))
			return err_wrap(err, "exclude_from");
	return 0;
}

/* A cache is a hint: without a place for it the run goes on. */
static const char *cache_dir(const struct scan *s)
{
	struct err why = ERR_INIT;
	return s->o.cache_dir && !fs_mkdirs(s->o.cache_dir, 0700, &why) && !access(s->o.cache_dir, W_OK)
	               ? s->o.cache_dir
	               : NULL;
}

static void begin(struct scan *s, struct writer *w, struct snapshot_facts *facts)
{
	const char *dir = cache_dir(s);
	s->w = w;
	s->facts = facts;
	s->start = clock_wall_ns();
	s->disk = pax_disk_new();
	s->links = hardlinks_new(dir);
	s->here = beneath_new(s->roots, s->n_roots);
	s->beneath = beneath_new(s->roots, s->n_roots);
	if (dir && s->o.has_cache_of && !s->o.full_read)
		s->in = cache_in_open(dir, s->o.cache_of, s->o.epoch);
	s->old = cache_cursor_new(s->in);
	s->out = cache_out_new(dir, s->in);
	cache_cursor_next(s->old);
	scan_content_init(s);
	entries_init(s);
}

int scan_paths(struct scan *s, struct writer *w, struct snapshot_facts *facts, struct err *err)
{
	BUG_ON(s->w);
	int rc = walk_roots(s->o.paths, &s->roots, &s->n_roots, err);
	if (!rc)
		rc = read_patterns(s, err);
	if (rc)
		return rc;
	begin(s, w, facts);
	struct walk_opts o = {
	        .roots = s->roots,
	        .n_roots = s->n_roots,
	        .exclude = s->exclude,
	        .if_present = s->o.exclude_if_present,
	        .caches = s->o.exclude_caches,
	        .one_file_system = s->o.one_file_system,
	        .tmp_dir = cache_dir(s),
	        .entry = on_entry,
	        .note = on_note,
	        .arg = s,
	};
	rc = walk_ahead(&o, err);
	if (!rc)
		rc = content_break(s, true, err);
	if (!rc)
		rc = content_leave(s, true, err); /* the end of the stream is a forced cut, too */
	if (!rc)
		rc = entries_end(s, err);
	if (!rc && s->o.progress)
		s->o.progress(s->o.arg, facts->files, facts->bytes);
	return rc;
}

/* --- a command's output --- */

static int copy_stream(struct scan *s, scan_read_fn read_fn, void *arg, const char *name, struct err *err)
{
	for (;;) {
		size_t room;
		unsigned char *p = writer_room(s->w, &room);
		ssize_t n = read_fn(arg, p, room);
		if (n < 0 && errno != EINTR)
			return err_sys(err, ERR_IO, "read the output for '%s'", name);
		if (!n)
			return 0;
		int rc = n > 0 ? writer_filled(s->w, (size_t)n, err) : 0;
		if (n > 0)
			s->facts->bytes += (uint64_t)n;
		if (!rc)
			rc = scan_poll(s, err);
		if (rc)
			return rc;
	}
}

int scan_stream(struct scan *s, struct writer *w, const char *name, scan_read_fn read_fn, void *arg,
        struct snapshot_facts *facts, struct err *err)
{
	BUG_ON(s->w);
	s->w = w;
	s->facts = facts;
	facts->is_stream = true;
	int rc = content_enter(s, WRITE_LARGE, err);
	if (!rc)
		rc = copy_stream(s, read_fn, arg, name, err);
	if (!rc)
		rc = content_leave(s, true, err);
	if (rc)
		return rc;
	facts->files = facts->entries = 1;
	buf_clear(&s->record);
	rc = pax_record_stream(name, 0600, facts->bytes, facts->start / 1000000000, &s->record, err);
	return rc ? rc : writer_entry(w, s->record.p, s->record.len, facts->bytes, name, strlen(name), err);
}

int scan_keep_cache(struct scan *s, const unsigned char digest[ID_LEN], struct err *err)
{
	return s->out ? cache_out_keep(s->out, digest, s->o.epoch, err) : 0;
}
