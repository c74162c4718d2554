#include "sftp/sftp_packet.h"

#include <string.h>
#include "base/log.h"
#include "base/mem.h"

#define PAIRS_MAX 256 /* of extensions, in a version and in attributes */
#define NAME_LEAST 12 /* two strings and the flags of attributes */

enum { ATTR_SIZE = 1, ATTR_UIDGID = 2, ATTR_MODE = 4, ATTR_TIMES = 8 };
#define ATTR_EXTENDED 0x80000000u

/* --- numbers: this protocol has them in network order --- */

static void add_u32(struct buf *b, uint32_t v)
{
	v = __builtin_bswap32(v);
	buf_add(b, &v, sizeof v);
}

static void add_u64(struct buf *b, uint64_t v)
{
	v = __builtin_bswap64(v);
	buf_add(b, &v, sizeof v);
}

static void add_text(struct buf *b, const void *p, size_t n)
{
	BUG_ON(n > SFTP_PACKET_MAX);
	add_u32(b, (uint32_t)n);
	buf_add(b, p, n);
}

static uint32_t take_u32(struct rd *r)
{
	return __builtin_bswap32(rd_u32(r));
}

static uint64_t take_u64(struct rd *r)
{
	return __builtin_bswap64(rd_u64(r));
}

static const unsigned char *take_text(struct rd *r, uint32_t *ret_n)
{
	*ret_n = take_u32(r);
	return rd_bytes(r, *ret_n);
}

/* --- requests --- */

static size_t begin(struct buf *b, enum sftp_type type, uint32_t id)
{
	const unsigned char t = (unsigned char)type;
	size_t at = b->len;

	add_u32(b, 0);
	buf_add(b, &t, 1);
	add_u32(b, id);
	return at;
}

/* `more` bytes are still to come from the caller. */
static void finish(struct buf *b, size_t at, size_t more)
{
	uint32_t n = __builtin_bswap32((uint32_t)(b->len - at - 4 + more));

	memcpy(b->p + at, &n, sizeof n);
}

void sftp_put_init(struct buf *b)
{
	finish(b, begin(b, SFTP_INIT, 3), 0); /* the version stands where others have their id */
}

static void add_mode(struct buf *b, uint32_t mode)
{
	add_u32(b, mode == SFTP_NO_MODE ? 0 : ATTR_MODE);
	if (mode != SFTP_NO_MODE)
		add_u32(b, mode);
}

void sftp_put_open(struct buf *b, uint32_t id, const char *path, uint32_t flags, uint32_t mode)
{
	size_t at = begin(b, SFTP_OPEN, id);

	add_text(b, path, strlen(path));
	add_u32(b, flags);
	add_mode(b, mode);
	finish(b, at, 0);
}

void sftp_put_path(struct buf *b, enum sftp_type type, uint32_t id, const char *path)
{
	size_t at = begin(b, type, id);

	add_text(b, path, strlen(path));
	finish(b, at, 0);
}

void sftp_put_mode(struct buf *b, enum sftp_type type, uint32_t id, const char *path, uint32_t mode)
{
	size_t at = begin(b, type, id);

	add_text(b, path, strlen(path));
	add_mode(b, mode);
	finish(b, at, 0);
}

void sftp_put_rename(struct buf *b, uint32_t id, const char *from, const char *to)
{
	size_t at = begin(b, SFTP_RENAME, id);

	add_text(b, from, strlen(from));
	add_text(b, to, strlen(to));
	finish(b, at, 0);
}

void sftp_put_handle(struct buf *b, enum sftp_type type, uint32_t id, const struct sftp_handle *h)
{
	size_t at = begin(b, type, id);

	add_text(b, h->p, h->n);
	finish(b, at, 0);
}

void sftp_put_read(struct buf *b, uint32_t id, const struct sftp_handle *h, uint64_t off, uint32_t n)
{
	size_t at = begin(b, SFTP_READ, id);

	add_text(b, h->p, h->n);
	add_u64(b, off);
	add_u32(b, n);
	finish(b, at, 0);
}

void sftp_put_write(struct buf *b, uint32_t id, const struct sftp_handle *h, uint64_t off, uint32_t n)
{
	size_t at = begin(b, SFTP_WRITE, id);

	add_text(b, h->p, h->n);
	add_u64(b, off);
	add_u32(b, n);
	finish(b, at, n);
}

static size_t begin_extended(struct buf *b, uint32_t id, const char *name)
{
	size_t at = begin(b, SFTP_EXTENDED, id);

	add_text(b, name, strlen(name));
	return at;
}

void sftp_put_fsync(struct buf *b, uint32_t id, const struct sftp_handle *h)
{
	size_t at = begin_extended(b, id, "fsync@openssh.com");

	add_text(b, h->p, h->n);
	finish(b, at, 0);
}

void sftp_put_statvfs(struct buf *b, uint32_t id, const char *path)
{
	size_t at = begin_extended(b, id, "statvfs@openssh.com");

	add_text(b, path, strlen(path));
	finish(b, at, 0);
}

void sftp_put_posix_rename(struct buf *b, uint32_t id, const char *from, const char *to)
{
	size_t at = begin_extended(b, id, "posix-rename@openssh.com");

	add_text(b, from, strlen(from));
	add_text(b, to, strlen(to));
	finish(b, at, 0);
}

void sftp_put_limits(struct buf *b, uint32_t id)
{
	finish(b, begin_extended(b, id, "limits@openssh.com"), 0);
}

/* --- answers --- */

static int malformed(struct err *err, const char *what)
{
	return err_set(err, ERR_FORMAT, "the server sent a broken SFTP packet (%s)", what);
}

int sftp_get_length(const unsigned char p[4], uint32_t *ret, struct err *err)
{
	uint32_t n = __builtin_bswap32(get_u32(p));

	if (n >= 1 && n <= SFTP_PACKET_MAX) {
		*ret = n;
		return 0;
	}
	/* A shell that greets its users is the usual reason: its text is then taken for a length. */
	(void)err_set(err, ERR_FORMAT, "the server sent an SFTP packet of %lu bytes", (unsigned long)n);
	if (err)
		(void)err_hint(err, "does the account's shell print something at login?");
	return -ERR_FORMAT;
}

static bool text_is(const unsigned char *p, uint32_t n, const char *text)
{
	return p && n == strlen(text) && memcmp(p, text, n) == 0;
}

int sftp_get_version(const void *p, size_t n, struct sftp_server *ret, struct err *err)
{
	struct rd r = rd_init(p, n);
	uint8_t type = rd_u8(&r);

	*ret = (struct sftp_server){.version = take_u32(&r)};
	if (!rd_ok(&r) || type != SFTP_VERSION)
		return malformed(err, "no version");
	for (int i = 0; r.left; i++) {
		uint32_t n_name, n_value;
		const unsigned char *name = take_text(&r, &n_name), *value = take_text(&r, &n_value);

		if (!rd_ok(&r) || i >= PAIRS_MAX)
			return malformed(err, "extensions");
		ret->fsync |= text_is(name, n_name, "fsync@openssh.com") && text_is(value, n_value, "1");
		ret->statvfs |= text_is(name, n_name, "statvfs@openssh.com") && text_is(value, n_value, "2");
		ret->limits |= text_is(name, n_name, "limits@openssh.com") && text_is(value, n_value, "1");
		ret->posix_rename |= text_is(name, n_name, "posix-rename@openssh.com") && text_is(value, n_value, "1");
	}
	return 0;
}

static bool take_attrs(struct rd *r, struct sftp_attrs *ret)
{
	uint32_t flags = take_u32(r);

	*ret = (struct sftp_attrs){0};
	if (flags & ATTR_SIZE) {
		ret->size = take_u64(r);
		ret->has_size = true;
	}
	if (flags & ATTR_UIDGID)
		(void)rd_bytes(r, 8);
	if (flags & ATTR_MODE) {
		ret->mode = take_u32(r);
		ret->has_mode = true;
	}
	if (flags & ATTR_TIMES) {
		(void)rd_bytes(r, 4);
		ret->mtime = take_u32(r);
		ret->has_mtime = true;
	}
	if (flags & ATTR_EXTENDED) {
		uint32_t pairs = take_u32(r), n;

		if (pairs > PAIRS_MAX)
			return false;
		for (uint32_t i = 0; i < 2 * pairs; i++)
			(void)take_text(r, &n);
	}
	return rd_ok(r);
}

static void take_status(struct rd *r, struct sftp_reply *ret)
{
	char said[sizeof ret->said];
	uint32_t n;

	ret->status = take_u32(r);
	if (!r->left)
		return; /* some servers leave the text out */
	const unsigned char *text = take_text(r, &n);

	n = MIN(n, (uint32_t)sizeof said - 1);
	if (text)
		memcpy(said, text, n);
	said[text ? n : 0] = '\0';
	(void)log_safe(ret->said, sizeof ret->said, said);
}

static bool take_handle(struct rd *r, struct sftp_handle *ret)
{
	uint32_t n;
	const unsigned char *p = take_text(r, &n);

	if (!p || !n || n > SFTP_HANDLE_MAX)
		return false;
	memcpy(ret->p, p, n);
	ret->n = n;
	return true;
}

int sftp_get_reply(const void *p, size_t n, struct sftp_reply *ret, struct err *err)
{
	struct rd r = rd_init(p, n);
	bool ok = true;

	ret->type = rd_u8(&r);
	ret->id = take_u32(&r);
	ret->status = SFTP_OK;
	ret->said[0] = '\0';
	ret->handle.n = ret->n_data = ret->n_names = 0;
	ret->data = NULL;
	switch (ret->type) {
	case SFTP_STATUS:
		take_status(&r, ret);
		break;
	case SFTP_HANDLE:
		ok = take_handle(&r, &ret->handle);
		break;
	case SFTP_DATA:
		ret->data = take_text(&r, &ret->n_data);
		break;
	case SFTP_NAME:
		ret->n_names = take_u32(&r);
		ret->names = r;
		ok = ret->n_names <= r.left / NAME_LEAST;
		break;
	case SFTP_ATTRS:
		ok = take_attrs(&r, &ret->attrs);
		break;
	case SFTP_EXTENDED_REPLY:
		ret->n_data = (uint32_t)r.left;
		ret->data = rd_bytes(&r, r.left);
		break;
	default:
		ok = false;
	}
	return ok && rd_ok(&r) ? 0 : malformed(err, "an answer");
}

int sftp_get_name(struct sftp_reply *r, struct sftp_name *ret, struct err *err)
{
	uint32_t n_long;

	if (!r->n_names)
		return 0;
	r->n_names--;
	ret->p = (const char *)take_text(&r->names, &ret->n);
	(void)take_text(&r->names, &n_long); /* a line as of `ls -l`, for people */
	if (!take_attrs(&r->names, &ret->attrs))
		return malformed(err, "a name");
	return 1;
}

int sftp_get_limits(const struct sftp_reply *r, struct sftp_limits *ret, struct err *err)
{
	struct rd d = rd_init(r->data, r->n_data);

	ret->packet = take_u64(&d);
	ret->read = take_u64(&d);
	ret->write = take_u64(&d);
	ret->handles = take_u64(&d);
	return rd_ok(&d) ? 0 : malformed(err, "limits");
}

int sftp_get_space(const struct sftp_reply *r, struct sftp_space *ret, struct err *err)
{
	struct rd d = rd_init(r->data, r->n_data);
	uint64_t v[11];

	/* f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, f_favail, f_fsid, f_flag, f_namemax */
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		v[i] = take_u64(&d);
	if (!rd_ok(&d))
		return malformed(err, "statvfs");
	if (__builtin_mul_overflow(v[1], v[4], &ret->bytes))
		ret->bytes = UINT64_MAX;
	ret->read_only = v[9] & 1;
	ret->files = v[5] ? v[7] : UINT64_MAX; /* some file systems do not count them */
	return 0;
}
