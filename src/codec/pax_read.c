#include "codec/pax.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>
#include "base/mem.h"
#include "codec/pax_int.h"

struct pax_reader {
	struct archive_entry *entry;
	char *path;
	struct pax_extent *extents;
	size_t cap_extents;
	struct pax_xattr *xattrs;
	size_t cap_xattrs;
	char *names; /* of xattrs, decoded, one after the other */
	char *acl_access, *acl_default;
};

struct pax_reader *pax_reader_new(void)
{
	struct pax_reader *r = xcalloc(1, sizeof(*r));
	r->entry = archive_entry_new();
	BUG_ON(!r->entry);
	return r;
}

static void reader_clear(struct pax_reader *r)
{
	free_ptr(&r->path);
	free_ptr(&r->names);
	free_ptr(&r->acl_access);
	free_ptr(&r->acl_default);
	r->path = r->names = r->acl_access = r->acl_default = NULL;
}

void pax_reader_free(struct pax_reader *r)
{
	if (!r)
		return;
	reader_clear(r);
	archive_entry_free(r->entry);
	free(r->extents);
	free(r->xattrs);
	free(r);
}

/* Octal field of a header block as our writer makes it: 11 digits and an end. */
static bool octal(const unsigned char *p, uint64_t *ret)
{
	*ret = 0;
	for (size_t i = 0; i < 11; i++) {
		if (p[i] < '0' || p[i] > '7')
			return false;
		*ret = *ret * 8 + (uint64_t)(p[i] - '0');
	}
	return p[11] == 0 || p[11] == ' ';
}

/* The count in front of a sparse map bounds the memory that reading it takes. */
static bool map_is_bounded(const unsigned char *p, size_t n)
{
	uint64_t count = 0;
	size_t i = 0;
	for (; i < MIN(n, (size_t)8) && p[i] >= '0' && p[i] <= '9'; i++)
		count = count * 10 + (uint64_t)(p[i] - '0');
	return i > 0 && i < n && p[i] == '\n' && count <= PAX_EXTENTS_MAX + 1;
}

static bool is_block(const unsigned char *p, char from, char to)
{
	return !memcmp(p + 257, "ustar\00000", 8) && p[156] >= from && p[156] <= to;
}

bool pax_shape(const unsigned char *p, size_t n, struct pax_shape *ret)
{
	uint64_t len;
	*ret = (struct pax_shape){0};
	if (n < PAX_TAR_BLOCK || n % PAX_TAR_BLOCK)
		return false;
	if (is_block(p, 'x', 'x')) {
		if (!octal(p + 124, &len) || !len || len > PAX_EXT_MAX)
			return false;
		ret->ext = PAX_TAR_BLOCK;
		ret->ext_len = (size_t)len;
		ret->main = PAX_TAR_BLOCK + (size_t)pax_round(len);
	}
	if (ret->main > n - PAX_TAR_BLOCK || !is_block(p + ret->main, '0', '6'))
		return false;
	size_t map = ret->main + PAX_TAR_BLOCK;
	return map == n || map_is_bounded(p + map, n - map);
}

/* One record as a stream: its header, then as many zero bytes as its content is long, padded. */
struct record_stream {
	const unsigned char *header;
	size_t n;
	uint64_t body, left;
	bool header_read;
};

static la_ssize_t on_read(struct archive *a, void *arg, const void **p)
{
	static const unsigned char zeros[4096];
	struct record_stream *v = arg;
	(void)a;
	if (!v->header_read) {
		v->header_read = true;
		*p = v->header;
		return (la_ssize_t)v->n;
	}
	size_t n = (size_t)MIN(v->left, sizeof(zeros));
	v->left -= n;
	*p = zeros;
	return (la_ssize_t)n;
}

/* Seeking rather than a skip callback: libarchive splits skips into steps of 1 GiB, 2^33 of them for a hostile size. */
static la_int64_t on_seek(struct archive *a, void *arg, la_int64_t off, int whence)
{
	struct record_stream *v = arg;
	if (whence != SEEK_CUR || off < 0 || !v->header_read || (uint64_t)off > v->left) {
		archive_set_error(a, EINVAL, "beyond the record");
		return ARCHIVE_FATAL;
	}
	v->left -= (uint64_t)off;
	return (la_int64_t)(v->n + (v->body - v->left));
}

/* libarchive must take exactly the header, and then exactly the content; warnings are no better than errors. */
static int read_entry(struct archive *a, struct archive_entry *e, struct record_stream *v, struct err *err)
{
	BUG_ON(archive_read_support_format_tar(a) != ARCHIVE_OK);
	BUG_ON(archive_read_set_seek_callback(a, on_seek) != ARCHIVE_OK);
	int r = archive_read_open2(a, v, NULL, on_read, NULL, NULL);
	if (r == ARCHIVE_OK)
		r = archive_read_next_header2(a, e);
	if (r != ARCHIVE_OK) {
		const char *why = archive_error_string(a);
		return err_set(err, ERR_FORMAT, "record header: %s", why ? why : "not a header");
	}
	if (archive_filter_bytes(a, 0) != (la_int64_t)v->n)
		return err_set(err, ERR_FORMAT, "record header: its length is wrong");
	if (archive_read_data_skip(a) != ARCHIVE_OK || archive_filter_bytes(a, 0) != (la_int64_t)(v->n + v->body))
		return err_set(err, ERR_FORMAT, "record header: announces other content than its record");
	return 0;
}

static const char *text_or_null(const char *s)
{
	return s && *s ? s : NULL;
}

static int take_path(struct pax_reader *r, struct pax_entry *e, struct err *err)
{
	const char *p = archive_entry_pathname(r->entry);
	size_t n = p ? strlen(p) : 0;
	while (n && p[n - 1] == '/')
		n--;
	if (!n)
		return err_set(err, ERR_FORMAT, "record header: no path");
	r->path = xstrndup(p, n);
	e->path = r->path;
	return 0;
}

static int take_type(struct archive_entry *a, struct pax_entry *e, struct err *err)
{
	static const struct {
		unsigned file;
		enum pax_type type;
	} types[] = {
	        {AE_IFREG, PAX_FILE},
	        {AE_IFDIR, PAX_DIR},
	        {AE_IFLNK, PAX_SYMLINK},
	        {AE_IFIFO, PAX_FIFO},
	        {AE_IFCHR, PAX_CHAR},
	        {AE_IFBLK, PAX_BLOCK},
	};
	e->link = archive_entry_hardlink(a);
	if (e->link) {
		e->type = PAX_HARDLINK;
		return *e->link ? 0 : err_set(err, ERR_FORMAT, "%s: hard link to nothing", e->path);
	}
	size_t i = 0;
	while (i < ARRAY_LEN(types) && types[i].file != archive_entry_filetype(a))
		i++;
	if (i == ARRAY_LEN(types))
		return err_set(err, ERR_FORMAT, "%s: unknown type", e->path);
	e->type = types[i].type;
	e->link = e->type == PAX_SYMLINK ? text_or_null(archive_entry_symlink(a)) : NULL;
	if (e->type == PAX_SYMLINK && !e->link)
		return err_set(err, ERR_FORMAT, "%s: symbolic link to nothing", e->path);
	return 0;
}

static int take_numbers(struct archive_entry *a, struct pax_entry *e, struct err *err)
{
	e->mode = (mode_t)(archive_entry_perm(a) & 07777);
	e->uid = archive_entry_uid(a);
	e->gid = archive_entry_gid(a);
	e->uname = text_or_null(archive_entry_uname(a));
	e->gname = text_or_null(archive_entry_gname(a));
	e->mtime_s = archive_entry_mtime(a);
	e->mtime_ns = archive_entry_mtime_nsec(a);
	if (e->type == PAX_CHAR || e->type == PAX_BLOCK)
		e->rdev = makedev((unsigned)archive_entry_rdevmajor(a), (unsigned)archive_entry_rdevminor(a));
	if (e->uid < 0 || e->uid >= UINT32_MAX || e->gid < 0 || e->gid >= UINT32_MAX)
		return err_set(err, ERR_FORMAT, "%s: owner out of range", e->path);
	if (e->mtime_ns < 0 || e->mtime_ns > 999999999)
		return err_set(err, ERR_FORMAT, "%s: time out of range", e->path);
	return 0;
}

static int take_extents(struct pax_reader *r, struct pax_entry *e, uint64_t *sum, struct err *err)
{
	la_int64_t off, len;
	uint64_t at = 0;
	archive_entry_sparse_reset(r->entry);
	while (archive_entry_sparse_next(r->entry, &off, &len) == ARCHIVE_OK) {
		uint64_t end = (uint64_t)off + (uint64_t)len;
		if (off < 0 || len < 0 || (uint64_t)off < at || end > e->size || e->n_extents > PAX_EXTENTS_MAX)
			return err_set(err, ERR_FORMAT, "%s: data regions out of order or beyond the size", e->path);
		r->extents = xgrow(r->extents, e->n_extents, &r->cap_extents, sizeof(*r->extents));
		r->extents[e->n_extents++] = (struct pax_extent){(uint64_t)off, (uint64_t)len};
		at = end;
		*sum += (uint64_t)len;
	}
	if (e->n_extents > 1 && !r->extents[e->n_extents - 1].len)
		e->n_extents--; /* only marks the end, which size says too */
	e->extents = e->n_extents ? r->extents : NULL;
	return 0;
}

static int take_size(struct pax_reader *r, struct pax_entry *e, uint64_t content_len, struct err *err)
{
	uint64_t expected = 0;
	la_int64_t size = archive_entry_size(r->entry);
	if (size < 0)
		return err_set(err, ERR_FORMAT, "%s: negative size", e->path);
	e->size = e->type == PAX_FILE ? (uint64_t)size : 0;
	int ret = e->type == PAX_FILE ? take_extents(r, e, &expected, err) : 0;
	if (ret)
		return ret;
	if (!e->n_extents)
		expected = (uint64_t)size;
	if (expected != content_len || (e->type != PAX_FILE && size))
		return err_set(err, ERR_FORMAT, "%s: header and record disagree on the length of content", e->path);
	e->content_len = content_len;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* libarchive's writer puts bytes of an xattr's name that are no plain ASCII as %XX; its reader leaves them so. */
static char *decode_name(char *to, const char *from)
{
	while (*from) {
		int hi = *from == '%' ? hex_digit(from[1]) : -1;
		int lo = hi >= 0 ? hex_digit(from[2]) : -1;
		if (lo >= 0 && (hi || lo)) {
			*to++ = (char)(hi << 4 | lo);
			from += 3;
		} else {
			*to++ = *from++;
		}
	}
	*to++ = 0;
	return to;
}

static void take_xattrs(struct pax_reader *r, struct pax_entry *e)
{
	const char *name;
	const void *value;
	size_t n, room = 0;
	archive_entry_xattr_reset(r->entry);
	while (archive_entry_xattr_next(r->entry, &name, &value, &n) == ARCHIVE_OK)
		room += strlen(name) + 1;
	if (!room)
		return;
	r->names = xmalloc(room);
	char *to = r->names;
	archive_entry_xattr_reset(r->entry);
	while (archive_entry_xattr_next(r->entry, &name, &value, &n) == ARCHIVE_OK) {
		r->xattrs = xgrow(r->xattrs, e->n_xattrs, &r->cap_xattrs, sizeof(*r->xattrs));
		r->xattrs[e->n_xattrs++] = (struct pax_xattr){to, value, n};
		to = decode_name(to, name);
	}
	e->xattrs = r->xattrs;
}

static int take_acl(struct pax_reader *r, int type, char **keep, const char **ret, struct err *err)
{
	if (!archive_entry_acl_count(r->entry, type))
		return 0;
	int flags = type | ARCHIVE_ENTRY_ACL_STYLE_EXTRA_ID | ARCHIVE_ENTRY_ACL_STYLE_SEPARATOR_COMMA;
	*keep = archive_entry_acl_to_text(r->entry, NULL, flags);
	*ret = *keep;
	return *keep ? 0 : err_set(err, ERR_FORMAT, "%s: malformed access list", r->path);
}

static int take_all(struct pax_reader *r, uint64_t content_len, struct pax_entry *e, struct err *err)
{
	int ret = take_path(r, e, err);
	if (!ret)
		ret = take_type(r->entry, e, err);
	if (!ret)
		ret = take_numbers(r->entry, e, err);
	if (!ret)
		ret = take_size(r, e, content_len, err);
	if (!ret)
		ret = take_acl(r, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, &r->acl_access, &e->acl_access, err);
	if (!ret)
		ret = take_acl(r, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, &r->acl_default, &e->acl_default, err);
	if (!ret)
		take_xattrs(r, e);
	return ret;
}

int pax_parse(
        struct pax_reader *r, const void *header, size_t n, uint64_t content_len, struct pax_entry *e, struct err *err)
{
	struct pax_shape shape;
	memset(e, 0, sizeof(*e));
	reader_clear(r);
	if (n > PAX_HEADER_MAX || content_len > INT64_MAX - PAX_HEADER_MAX - PAX_TAR_BLOCK)
		return err_set(err, ERR_FORMAT, "record header: too large");
	if (!pax_shape(header, n, &shape))
		return err_set(err, ERR_FORMAT, "record header: not a pax header");
	uint64_t body = pax_round(content_len);
	struct record_stream v = {.header = header, .n = n, .body = body, .left = body};
	/* A new archive a record: what a hostile header left behind in one cannot reach the next. */
	struct archive *a = archive_read_new();
	BUG_ON(!a);
	int ret = read_entry(a, r->entry, &v, err);
	archive_read_free(a);
	return ret ? ret : take_all(r, content_len, e, err);
}
