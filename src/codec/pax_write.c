#include "codec/pax.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/str.h"
#include "codec/pax_int.h"

#define LIST_SHORT 512u

struct pax_disk {
	struct archive *names; /* only for its cached look-up of owners */
	struct archive_entry *entry;
	const char **xattrs; /* names inside list */
	size_t n_xattrs, cap_xattrs;
	char list[XATTR_LIST_MAX + 1];
	char value[XATTR_SIZE_MAX];
	char target[PATH_MAX + 1];
};

struct pax_disk *pax_disk_new(void)
{
	struct pax_disk *d = xcalloc(1, sizeof(*d));
	d->names = archive_read_disk_new();
	d->entry = archive_entry_new();
	BUG_ON(!d->names || !d->entry);
	BUG_ON(archive_read_disk_set_standard_lookup(d->names) != ARCHIVE_OK);
	return d;
}

void pax_disk_free(struct pax_disk *d)
{
	if (!d)
		return;
	archive_entry_free(d->entry);
	archive_read_free(d->names);
	free(d->xattrs);
	free(d);
}

/* Where the bytes of one record go. */
struct sink {
	struct buf *out;
	struct err *err;
	bool failed, complete;
};

static la_ssize_t on_write(struct archive *a, void *arg, const void *p, size_t n)
{
	struct sink *s = arg;
	if (s->complete)
		return (la_ssize_t)n;
	if (buf_put(s->out, p, n, s->err)) {
		s->failed = true;
		archive_set_error(a, ENOMEM, "record ceiling");
		return -1;
	}
	return (la_ssize_t)n;
}

static struct archive *writer_open(struct sink *s)
{
	struct archive *a = archive_write_new();
	BUG_ON(!a);
	BUG_ON(archive_write_set_format_pax(a) != ARCHIVE_OK);
	BUG_ON(archive_write_set_bytes_per_block(a, 0) != ARCHIVE_OK);
	BUG_ON(archive_write_set_format_option(a, "pax", "xattrheader", "SCHILY") != ARCHIVE_OK);
	BUG_ON(archive_write_set_format_option(a, "pax", "hdrcharset", "BINARY") != ARCHIVE_OK);
	BUG_ON(archive_write_open2(a, s, NULL, on_write, NULL, NULL) != ARCHIVE_OK);
	return a;
}

/*
 * libarchive 3.6 shortens GNU.sparse.name like the name in the main header, and readers let it win over `path`. Where
 * `path` is there, that line becomes a comment of the same length.
 */
static void drop_short_sparse_name(unsigned char *p, size_t len)
{
	static const char key[] = "GNU.sparse.name=", instead[] = "comment=cut.name";
	_Static_assert(sizeof(key) == sizeof(instead), "same length");
	bool has_path = false;
	for (size_t at = 0; at < len;) {
		size_t line = 0, i = at;
		for (; i < len && p[i] >= '0' && p[i] <= '9'; i++)
			line = line * 10 + (size_t)(p[i] - '0');
		if (i >= len || p[i] != ' ' || line <= i - at || line > len - at)
			return;
		size_t left = line - (i + 1 - at);
		has_path = has_path || (left > 5 && !memcmp(p + i + 1, "path=", 5));
		if (has_path && left >= sizeof(key) && !memcmp(p + i + 1, key, sizeof(key) - 1))
			memcpy(p + i + 1, instead, sizeof(key) - 1);
		at += line;
	}
}

/* What the writer made must be what the reader takes back. */
static int check_record(const char *path, unsigned char *p, size_t n, bool sparse, struct err *err)
{
	struct pax_shape shape;
	if (n > PAX_HEADER_MAX || !pax_shape(p, n, &shape))
		return err_set(err, ERR_UNSUPPORTED, "%s: attributes are too large for a pax header", path);
	if (sparse)
		drop_short_sparse_name(p + shape.ext, shape.ext_len);
	return 0;
}

static int emit(struct archive_entry *e, const char *path, bool sparse, struct buf *out, struct err *err)
{
	struct sink s = {.out = out, .err = err};
	size_t start = out->len;
	struct archive *a = writer_open(&s);
	int r = archive_write_header(a, e), ret = 0;
	/* ARCHIVE_WARN: an owner name did not fit the main header; the extended one has it */
	if (r >= ARCHIVE_WARN && archive_write_data(a, "", 0) < 0)
		r = ARCHIVE_FATAL;
	if (s.failed)
		ret = err_wrap(err, "%s", path);
	else if (r < ARCHIVE_WARN)
		ret = err_set(err, ERR_UNSUPPORTED, "%s: %s", path, archive_error_string(a));
	/* Failed, closing writes no content in place of what never came; without a close the client filter leaks. */
	s.complete = true;
	archive_write_fail(a);
	archive_write_close(a);
	archive_write_free(a);
	if (!ret)
		ret = check_record(path, out->p + start, out->len - start, sparse, err);
	if (ret)
		out->len = start;
	return ret;
}

static ssize_t list_up_to(struct pax_disk *d, const struct pax_file *f, size_t room)
{
	ssize_t n = -1;
	errno = EBADF;
	if (f->fd >= 0)
		n = flistxattr(f->fd, d->list, room);
	if (n < 0 && errno == EBADF && f->access)
		n = llistxattr(f->access, d->list, room);
	return n;
}

/* The kernel clears as much memory as it is offered room, and most lists are empty or short. */
static ssize_t list_xattrs(struct pax_disk *d, const struct pax_file *f)
{
	ssize_t n = list_up_to(d, f, LIST_SHORT);
	return n < 0 && errno == ERANGE ? list_up_to(d, f, XATTR_LIST_MAX) : n;
}

static ssize_t get_xattr(struct pax_disk *d, const struct pax_file *f, const char *name)
{
	ssize_t n = -1;
	errno = EBADF;
	if (f->fd >= 0)
		n = fgetxattr(f->fd, name, d->value, sizeof(d->value));
	if (n < 0 && errno == EBADF && f->access)
		n = lgetxattr(f->access, name, d->value, sizeof(d->value));
	return n;
}

/* Descending: libarchive keeps the list in reverse. */
static int cmp_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)b, *(const char *const *)a);
}

static int add_xattr(struct pax_disk *d, const struct pax_file *f, const char *name, struct err *err)
{
	bool access = str_eq(name, "system.posix_acl_access"), dflt = str_eq(name, "system.posix_acl_default");
	if (str_starts(name, "system.") && !access && !dflt)
		return 0; /* views of a file system on its own data */
	ssize_t n = get_xattr(d, f, name);
	if (n < 0 && errno == ENODATA)
		return 0; /* removed since it was listed */
	if (n < 0)
		return err_sys(err, ERR_IO, "%s: attribute %s", f->path, name);
	if (access || dflt) {
		int r = pax_acl_add(d->entry, d->names, dflt, d->value, (size_t)n, err);
		return r ? err_wrap(err, "%s", f->path) : 0;
	}
	archive_entry_xattr_add_entry(d->entry, name, d->value, (size_t)n);
	return 0;
}

static int add_xattrs(struct pax_disk *d, const struct pax_file *f, struct err *err)
{
	if (f->fd < 0 && !f->access)
		return 0;
	ssize_t n = list_xattrs(d, f);
	if (n < 0 && (errno == ENOTSUP || errno == ENOSYS))
		return 0;
	if (n < 0)
		return err_sys(err, ERR_IO, "%s: list attributes", f->path);
	d->n_xattrs = 0;
	d->list[n] = 0;
	for (const char *p = d->list; p < d->list + n; p += strlen(p) + 1) {
		d->xattrs = xgrow(d->xattrs, d->n_xattrs, &d->cap_xattrs, sizeof(*d->xattrs));
		d->xattrs[d->n_xattrs++] = p;
	}
	if (d->n_xattrs > 1)
		qsort(d->xattrs, d->n_xattrs, sizeof(*d->xattrs), cmp_names);
	int r = 0;
	for (size_t i = 0; i < d->n_xattrs && !r; i++)
		r = add_xattr(d, f, d->xattrs[i], err);
	return r;
}

static int add_target(struct pax_disk *d, const struct pax_file *f, struct err *err)
{
	if (!f->access)
		return err_set(err, ERR_INTERNAL, "%s: symbolic link without a path to it", f->path);
	ssize_t n = readlink(f->access, d->target, PATH_MAX);
	if (n < 0)
		return err_sys(err, ERR_IO, "%s: read link", f->path);
	d->target[n] = 0;
	archive_entry_copy_symlink(d->entry, d->target);
	return 0;
}

static int add_extents(struct archive_entry *e, const struct pax_file *f, uint64_t *content_len, struct err *err)
{
	uint64_t at = 0, sum = 0, end;
	if (f->n_extents > PAX_EXTENTS_MAX)
		return err_set(err, ERR_UNSUPPORTED, "%s: %zu data regions", f->path, f->n_extents);
	for (size_t i = 0; i < f->n_extents; i++) {
		const struct pax_extent *x = f->extents + i;
		if (x->off < at || __builtin_add_overflow(x->off, x->len, &end) || end > (uint64_t)f->st->st_size)
			return err_set(err, ERR_INTERNAL, "%s: data regions out of order or beyond the size", f->path);
		if (x->len % PAX_TAR_BLOCK && end != (uint64_t)f->st->st_size)
			return err_set(err, ERR_INTERNAL, "%s: data region that ends inside a block", f->path);
		archive_entry_sparse_add_entry(e, (int64_t)x->off, (int64_t)x->len);
		at = end;
		sum += x->len;
	}
	*content_len = f->n_extents ? sum : (uint64_t)f->st->st_size;
	return 0;
}

static void fill_common(struct pax_disk *d, const struct pax_file *f)
{
	struct archive_entry *e = d->entry;
	archive_entry_clear(e);
	archive_entry_copy_pathname(e, f->path);
	archive_entry_set_mode(e, f->st->st_mode);
	archive_entry_set_uid(e, f->st->st_uid);
	archive_entry_set_gid(e, f->st->st_gid);
	archive_entry_copy_uname(e, archive_read_disk_uname(d->names, f->st->st_uid));
	archive_entry_copy_gname(e, archive_read_disk_gname(d->names, f->st->st_gid));
	archive_entry_set_mtime(e, f->st->st_mtim.tv_sec, f->st->st_mtim.tv_nsec);
	archive_entry_set_size(e, 0);
}

/* What depends on the type; a later name of a hard link leaves it all to the first. */
static int fill_type(struct pax_disk *d, const struct pax_file *f, uint64_t *content_len, struct err *err)
{
	const struct stat *st = f->st;
	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		archive_entry_set_size(d->entry, st->st_size);
		return add_extents(d->entry, f, content_len, err);
	case S_IFLNK:
		return add_target(d, f, err);
	case S_IFCHR:
	case S_IFBLK:
		archive_entry_set_rdevmajor(d->entry, major(st->st_rdev));
		archive_entry_set_rdevminor(d->entry, minor(st->st_rdev));
		return 0;
	case S_IFDIR:
	case S_IFIFO:
		return 0;
	default:
		return err_set(err, ERR_UNSUPPORTED, "%s: a tar archive cannot hold this type of file", f->path);
	}
}

int pax_record(struct pax_disk *d, const struct pax_file *f, struct buf *out, uint64_t *content_len, struct err *err)
{
	*content_len = 0;
	if (!*f->path || *f->path == '/' || f->st->st_size < 0)
		return err_set(err, ERR_INTERNAL, "no path, absolute path or negative size: '%s'", f->path);
	fill_common(d, f);
	if (f->hardlink) {
		archive_entry_copy_hardlink(d->entry, f->hardlink);
		return emit(d->entry, f->path, false, out, err);
	}
	int r = fill_type(d, f, content_len, err);
	if (!r)
		r = add_xattrs(d, f, err);
	return r ? r : emit(d->entry, f->path, f->n_extents > 0, out, err);
}

int pax_record_stream(const char *path, mode_t mode, uint64_t size, int64_t mtime, struct buf *out, struct err *err)
{
	if (!*path || *path == '/' || size > INT64_MAX)
		return err_set(err, ERR_INTERNAL, "no path, absolute path or impossible size: '%s'", path);
	struct archive_entry *e = archive_entry_new();
	BUG_ON(!e);
	archive_entry_copy_pathname(e, path);
	archive_entry_set_mode(e, S_IFREG | (mode & 07777));
	archive_entry_set_size(e, (int64_t)size);
	archive_entry_set_mtime(e, mtime, 0);
	int r = emit(e, path, false, out, err);
	archive_entry_free(e);
	return r;
}
