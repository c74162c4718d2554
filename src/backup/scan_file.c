/* Reading a regular file that is new or changed. */
#include "backup/scan_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { TRIES = 3, DROP_STEP = 8 << 20 };
#define DROP_BEHIND (64ull << 20)          /* files above do not stay in the page cache */
#define RECORD_MAX (CHUNK_PLAIN_MAX - 12u) /* a record is part of one chunk */

struct reading {
	struct scan *s;
	const struct walk_entry *e;
	struct source f;
	uint64_t got; /* content bytes of the last try */
	bool held;    /* they lie in the writer's room, not given to it */
	int failed;   /* errno of a read */
};

static int make_record(struct reading *r, const struct stat *st, bool bare, struct err *err)
{
	struct scan *s = r->s;
	char access[ACCESS_MAX];
	struct pax_file p = {.path = r->e->path, .fd = r->f.fd, .st = st, .extents = r->f.x, .n_extents = r->f.n_x};
	uint64_t len;
	const char *name;
	int dir = bare ? -1 : scan_dir(s, r->e, &name);
	if (bare)
		p.fd = -1;
	if (dir != -1)
		p.access = scan_access(access, dir, name);
	buf_clear(&s->record);
	int rc = pax_record(s->disk, &p, &s->record, &len, err);
	if (!rc && s->record.len > RECORD_MAX)
		return err_set(err, ERR_UNSUPPORTED, "%s: metadata of %zu bytes", r->e->path, s->record.len);
	return rc;
}

/* Read once, up to the size at open. A file that fits the writer's room stays there unannounced, so that it may be read
 * again. */
static int read_once(struct reading *r, struct err *err)
{
	struct scan *s = r->s;
	size_t room;
	unsigned char *p = writer_room(s->w, &room);
	uint64_t dropped = 0;
	r->got = 0;
	r->failed = 0;
	r->held = r->f.len <= room;
	while (r->got < r->f.len) {
		int rc = scan_poll(s, err);
		if (rc)
			return rc;
		p = writer_room(s->w, &room);
		size_t want = (size_t)MIN((uint64_t)room, r->f.len - r->got);
		ssize_t n = source_read(&r->f, r->got, p, want);
		if (n < 0) {
			r->failed = errno;
			return 0;
		}
		r->got += (size_t)n;
		if (r->held)
			return 0;
		rc = writer_filled(s->w, (size_t)n, err);
		if (rc)
			return rc;
		if ((size_t)n < want)
			return 0;
		if (r->f.len >= DROP_BEHIND && r->got - dropped >= DROP_STEP) {
			posix_fadvise(r->f.fd, (off_t)dropped, (off_t)(r->got - dropped), POSIX_FADV_DONTNEED);
			dropped = r->got;
		}
	}
	return 0;
}

/* Read until the file stood still meanwhile, if what was read can still be taken back. *ret_still tells. */
static int read_still(struct reading *r, bool *ret_still, struct err *err)
{
	struct scan *s = r->s;
	uint64_t begin = writer_content_pos(s->w);
	for (unsigned try = 1;; try++) {
		int rc = read_once(r, err);
		if (rc)
			return rc;
		*ret_still = !r->failed && r->got == r->f.len && source_same(&r->f);
		if (*ret_still || try == TRIES || (!r->held && writer_content_last_cut(s->w) != begin))
			return 0;
		if (!r->held)
			writer_content_rewind(s->w);
		r->got = 0;
		r->failed = source_look(&r->f);
		if (r->failed) {
			r->held = true; /* nothing is left with the writer */
			return 0;
		}
		struct stat st = r->f.st;
		struct err why = ERR_INIT;
		if (make_record(r, &st, false, &why) && make_record(r, &st, true, err))
			return err_rc(err);
	}
}

/* Bytes and record agree in the end: what was read is the size, but for a sparse file, whose map is fixed. */
static int settle(struct reading *r, struct file_done *ret, struct err *err)
{
	struct scan *s = r->s;
	int rc = r->held && r->got ? writer_filled(s->w, (size_t)r->got, err) : 0;
	ret->st = r->f.st;
	ret->content_len = r->got;
	if (rc || r->got == r->f.len)
		return rc;
	if (r->f.x) {
		ret->content_len = r->f.len;
		return content_zeros(s, r->f.len - r->got, err);
	}
	ret->st.st_size = (off_t)r->got;
	struct err why = ERR_INIT;
	return make_record(r, &ret->st, false, &why) ? make_record(r, &ret->st, true, err) : 0;
}

static int read_content(struct reading *r, struct file_done *ret, struct err *err)
{
	struct scan *s = r->s;
	bool still = true;
	bool large = r->f.len >= LARGE_FILE;
	ret->mode = !large ? WRITE_SMALL : is_paged(&r->f) ? WRITE_PAGES : WRITE_LARGE;
	int rc = content_break(s, large, err);
	if (!rc)
		rc = content_enter(s, ret->mode, err);
	if (rc)
		return rc;
	if (large)
		posix_fadvise(r->f.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	rc = read_still(r, &still, err);
	if (rc)
		return rc;
	if (r->failed && (r->held || !r->got)) { /* nothing of it is in the stream */
		ret->recorded = false;
		rc = scan_note(s, note_of_errno(r->failed), r->e->path, r->e->n_path, err);
	} else {
		ret->changed = !still;
		rc = settle(r, ret, err);
		if (!rc && !still)
			rc = scan_note(s, r->failed ? NOTE_UNREADABLE : NOTE_CHANGED, r->e->path, r->e->n_path, err);
	}
	return rc ? rc : content_leave(s, large, err);
}

static int leave_out(struct reading *r, enum note_code code, struct file_done *ret, struct err *err)
{
	ret->recorded = false;
	return scan_note(r->s, code, r->e->path, r->e->n_path, err);
}

static int begin(struct reading *r, struct file_done *ret, struct err *err)
{
	struct err why = ERR_INIT;
	const char *name;
	int dir = scan_dir(r->s, r->e, &name);
	int e = dir == -1 ? errno : source_open(&r->f, dir, name);
	if (errno_is_ours(e))
		return err_set(err, ERR_IO, "open '/%s': %s", r->e->path, strerror(e));
	if (e)
		return leave_out(r, note_of_errno(e), ret, err);
	ret->st = r->f.st;
	ret->content_len = r->f.len;
	/* before the content: what cannot be described must not leave bytes behind */
	int rc = make_record(r, &r->f.st, false, &why);
	if (rc == -ERR_INTERNAL)
		return err_set(err, why.code, "%s", why.msg);
	return rc ? leave_out(r, NOTE_UNREADABLE, ret, err) : 0;
}

int file_read(struct scan *s, const struct walk_entry *e, struct file_done *ret, struct err *err)
{
	struct reading r = {.s = s, .e = e};
	*ret = (struct file_done){.recorded = true};
	source_init(&r.f);
	int rc = begin(&r, ret, err);
	if (!rc && ret->recorded && r.f.len)
		rc = read_content(&r, ret, err);
	ret->sparse = r.f.x;
	source_release(&r.f);
	return rc;
}
