/* What is put off to the end: symbolic links, hard links that wait for them, metadata of directories. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "restore/target_internal.h"

#define FRAME_MAX (PAX_HEADER_MAX + (1u << 20))

void spool_init(struct spool *s)
{
	*s = (struct spool){.fd = -1};
	buf_init(&s->mem, SPOOL_MEMORY + FRAME_MAX + 8);
}

void spool_release(struct spool *s)
{
	buf_release(&s->mem);
	close_fd(&s->fd);
}

static void spool_clear(struct spool *s)
{
	spool_release(s);
	spool_init(s);
}

/* Where the restored data will lie there is room, and nobody else has the name for long. */
static int spool_file(struct target *t, struct spool *s, struct err *err)
{
	char hex[17], name[64];
	rng_hex(hex, 8);
	snprintf(name, sizeof name, FS_TMP_PREFIX "%s", hex);
	s->fd = openat(t->root, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->fd < 0 || unlinkat(t->root, name, 0))
		return err_sys(err, ERR_IO, "cannot make a temporary file in the target directory");
	return 0;
}

/* A frame is its length, its bytes and its length again. */
static int spool_add(struct target *t, struct spool *s, const struct buf *frame, struct err *err)
{
	uint32_t n = (uint32_t)frame->len;
	if (frame->len > FRAME_MAX)
		return err_set(err, ERR_FORMAT, "its metadata are too large");
	if (buf_u32(&s->mem, n, err) || buf_put(&s->mem, frame->p, n, err) || buf_u32(&s->mem, n, err))
		return err_rc(err);
	s->len += n + 8;
	if (s->mem.len < SPOOL_MEMORY)
		return 0;
	int rc = s->fd < 0 ? spool_file(t, s, err) : 0;
	if (rc)
		return rc;
	if (fs_write_full(s->fd, s->mem.p, s->mem.len))
		return err_sys(err, ERR_IO, "cannot write a temporary file");
	s->filed = s->len;
	buf_clear(&s->mem);
	return 0;
}

/* Frames lie wholly in the file or wholly in memory. */
static int spool_read(struct spool *s, uint64_t off, void *p, size_t n, struct err *err)
{
	if (off >= s->filed) {
		memcpy(p, s->mem.p + (off - s->filed), n);
		return 0;
	}
	ssize_t got = pread(s->fd, p, n, (off_t)off);
	if (got == (ssize_t)n)
		return 0;
	errno = got < 0 ? errno : EIO;
	return err_sys(err, ERR_IO, "cannot read a temporary file");
}

/* The frame that starts at *off, or the one that ends there when backwards; *off moves over it. */
static int spool_frame(struct spool *s, bool backwards, uint64_t *off, struct buf *to, struct err *err)
{
	unsigned char n[4];
	int rc = spool_read(s, backwards ? *off - 4 : *off, n, 4, err);
	if (rc)
		return rc;
	buf_clear(to);
	rc = buf_reserve(to, get_u32(n), err);
	if (rc)
		return rc;
	to->len = get_u32(n);
	uint64_t start = backwards ? *off - to->len - 8 : *off;
	*off = backwards ? start : start + to->len + 8;
	return spool_read(s, start + 4, to->p, to->len, err);
}

/* --- frames --- */

struct later {
	enum pax_type type;
	struct pax_entry e;
	const char *path, *tag;
	const unsigned char *header;
	size_t n_header;
};

/* Attributes and access lists stay in the record; it is read again when their time comes. */
static bool needs_header(const struct target *t, const struct pax_entry *e)
{
	return t->o.full && (e->n_xattrs || e->acl_access || e->acl_default);
}

static void put_text(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s) + 1);
}

static int put_later(struct target *t, struct spool *s, const struct later *l, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(FRAME_MAX + 1);
	unsigned char fixed[33];
	fixed[0] = (unsigned char)l->type;
	put_u32(fixed + 1, l->e.mode);
	put_u64(fixed + 5, (uint64_t)l->e.uid);
	put_u64(fixed + 13, (uint64_t)l->e.gid);
	put_u64(fixed + 21, (uint64_t)l->e.mtime_s);
	put_u32(fixed + 29, (uint32_t)l->e.mtime_ns);
	if (strlen(l->path) + strlen(l->e.link ? l->e.link : "") + strlen(l->tag) > (1u << 20) - 256)
		return err_set(err, ERR_FORMAT, "its names are too long");
	buf_add(&b, fixed, sizeof fixed);
	put_text(&b, l->path);
	put_text(&b, l->e.link ? l->e.link : "");
	put_text(&b, l->tag);
	if (l->header)
		buf_add(&b, l->header, l->n_header);
	return spool_add(t, s, &b, err);
}

static const char *get_text(const struct buf *b, size_t *at)
{
	const char *s = (const char *)b->p + *at;
	*at += strlen(s) + 1;
	return s;
}

/* From a frame of our own making. */
static int get_later(struct target *t, const struct buf *b, struct later *l, struct err *err)
{
	size_t at = 33;
	*l = (struct later){.type = (enum pax_type)b->p[0]};
	l->e = (struct pax_entry){.type = l->type,
	        .mode = get_u32(b->p + 1),
	        .uid = (int64_t)get_u64(b->p + 5),
	        .gid = (int64_t)get_u64(b->p + 13),
	        .mtime_s = (int64_t)get_u64(b->p + 21),
	        .mtime_ns = (long)get_u32(b->p + 29)};
	l->path = get_text(b, &at);
	l->e.link = get_text(b, &at);
	l->tag = get_text(b, &at);
	l->e.path = l->path;
	l->header = b->p + at;
	l->n_header = b->len - at;
	return l->n_header ? pax_parse(t->pax, l->header, l->n_header, 0, &l->e, err) : 0;
}

int target_dir_later(
        struct target *t, const char *path, const struct pax_entry *e, const void *header, size_t n, struct err *err)
{
	struct later l = {.type = PAX_DIR,
	        .e = *e,
	        .path = path,
	        .tag = "",
	        .header = needs_header(t, e) ? header : NULL,
	        .n_header = n};
	return put_later(t, &t->dirs, &l, err);
}

int target_symlink(
        struct target *t, const char *path, const struct pax_entry *e, const void *header, size_t n, struct err *err)
{
	struct later l = {.type = PAX_SYMLINK,
	        .e = *e,
	        .path = path,
	        .tag = "",
	        .header = needs_header(t, e) ? header : NULL,
	        .n_header = n};
	const char *name;
	int dir, rc = target_parent(t, path, true, &dir, &name, err);
	if (!rc)
		rc = target_clear_place(t, dir, name, err);
	return rc ? rc : put_later(t, &t->links, &l, err);
}

int target_link_later(struct target *t, const char *path, const char *first, const char *tag, struct err *err)
{
	struct later l = {.type = PAX_HARDLINK, .e = {.link = first}, .path = path, .tag = tag};
	return put_later(t, &t->links, &l, err);
}

/* --- carrying out --- */

static int set_dir(struct target *t, const struct later *l, struct err *err)
{
	CLEAN(close_fd) int fd = target_open_dir(t, l->path);
	if (fd < 0)
		return err_sys(err, ERR_IO, "cannot open directory to set its metadata");
	return meta_apply(t, &(struct meta_place){.fd = fd, .chmod = true, .inherits = true}, &l->e, err);
}

static int carry_out(struct target *t, const struct later *l, struct err *err)
{
	switch (l->type) {
	case PAX_DIR:
		return set_dir(t, l, err);
	case PAX_SYMLINK:
		return target_make_symlink(t, l->path, &l->e, err);
	default:
		return target_link(t, l->path, l->e.link, err);
	}
}

static int replay(struct target *t, struct spool *s, bool backwards, target_outcome_fn fn, void *arg, struct err *err)
{
	CLEAN(buf_release) struct buf frame = BUF_INIT(FRAME_MAX + 1);
	uint64_t off = backwards ? s->len : 0, end = backwards ? 0 : s->len;
	while (off != end) {
		struct later l;
		struct err why = ERR_INIT;
		int rc = spool_frame(s, backwards, &off, &frame, err);
		if (rc)
			return rc;
		rc = get_later(t, &frame, &l, &why);
		if (!rc)
			rc = carry_out(t, &l, &why);
		if (rc && target_fatal(&why)) {
			*err = why;
			return err_wrap(err, "%s", l.path);
		}
		fn(arg, l.type, l.path, l.tag, rc ? &why : NULL);
	}
	spool_clear(s);
	return 0;
}

int target_links(struct target *t, target_outcome_fn fn, void *arg, struct err *err)
{
	return replay(t, &t->links, false, fn, arg, err);
}

int target_finish(struct target *t, target_outcome_fn fn, void *arg, struct err *err)
{
	int rc = replay(t, &t->dirs, true, fn, arg, err);
	if (rc)
		return rc;
	return syncfs(t->root) ? err_sys(err, ERR_IO, "cannot sync the target's file system") : 0;
}
