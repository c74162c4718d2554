#include "codec/pax.h"

#include <errno.h>
#include <grp.h>
#include <linux/limits.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/str.h"
#include "codec/pax_int.h"

/*
 * ACLs are read and set as the kernel's own attribute (linux/posix_acl_xattr.h): libacl can neither read nor set a
 * default ACL through a descriptor, and a path may be swapped under a restore.
 */
#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

struct tag {
	uint16_t kernel;
	int archive;
};
static const struct tag tags[] = {
        {ACL_USER_OBJ, ARCHIVE_ENTRY_ACL_USER_OBJ},
        {ACL_USER, ARCHIVE_ENTRY_ACL_USER},
        {ACL_GROUP_OBJ, ARCHIVE_ENTRY_ACL_GROUP_OBJ},
        {ACL_GROUP, ARCHIVE_ENTRY_ACL_GROUP},
        {ACL_MASK, ARCHIVE_ENTRY_ACL_MASK},
        {ACL_OTHER, ARCHIVE_ENTRY_ACL_OTHER},
};

/* Names that the text form can carry and no reader takes for a number. */
static const char *plain_name(const char *s)
{
	if (!s || !*s || (*s >= '0' && *s <= '9'))
		return NULL;
	for (const char *p = s; *p; p++) {
		if (*p <= ' ' || *p > '~' || *p == ':' || *p == ',' || *p == '#')
			return NULL;
	}
	return s;
}

static int add_one(struct archive_entry *e, struct archive *names, int type, struct rd *r, struct err *err)
{
	uint16_t kernel = rd_u16(r), perm = rd_u16(r);
	uint32_t id = rd_u32(r);
	const struct tag *t = NULL;
	for (size_t i = 0; i < ARRAY_LEN(tags); i++)
		t = tags[i].kernel == kernel ? &tags[i] : t;
	if (!rd_ok(r) || !t || perm > 7)
		return err_set(err, ERR_UNSUPPORTED, "access list of unknown form");
	const char *name = NULL;
	if (kernel == ACL_USER)
		name = plain_name(archive_read_disk_uname(names, id));
	else if (kernel == ACL_GROUP)
		name = plain_name(archive_read_disk_gname(names, id));
	bool named = kernel == ACL_USER || kernel == ACL_GROUP;
	if (named && id > INT32_MAX) /* libarchive would write it as 0 */
		return err_set(err, ERR_UNSUPPORTED, "access list entry for id %u", id);
	if (archive_entry_acl_add_entry(e, type, perm, t->archive, named ? (int)id : -1, name) != ARCHIVE_OK)
		return err_set(err, ERR_UNSUPPORTED, "access list entry for id %u", id);
	return 0;
}

int pax_acl_add(
        struct archive_entry *e, struct archive *names, bool is_default, const void *v, size_t n, struct err *err)
{
	int type = is_default ? ARCHIVE_ENTRY_ACL_TYPE_DEFAULT : ARCHIVE_ENTRY_ACL_TYPE_ACCESS;
	struct rd r = rd_init(v, n);
	if (rd_u32(&r) != POSIX_ACL_XATTR_VERSION || !rd_ok(&r))
		return err_set(err, ERR_UNSUPPORTED, "access list of unknown version");
	int ret = 0;
	while (r.left && !ret)
		ret = add_one(e, names, type, &r, err);
	return ret;
}

struct ace {
	uint16_t tag, perm;
	uint32_t id;
};

static int cmp_ace(const void *a, const void *b)
{
	const struct ace *x = a, *y = b;
	if (x->tag != y->tag)
		return x->tag < y->tag ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* A name without an id comes from another writer: it is looked up on this machine. */
static int find_id(bool user, const char *name, uint32_t *ret, struct err *err)
{
	char tmp[4096];
	struct passwd pw, *p = NULL;
	struct group gr, *g = NULL;
	if (user && name && !getpwnam_r(name, &pw, tmp, sizeof(tmp), &p) && p) {
		*ret = p->pw_uid;
		return 0;
	}
	if (!user && name && !getgrnam_r(name, &gr, tmp, sizeof(tmp), &g) && g) {
		*ret = g->gr_gid;
		return 0;
	}
	return err_set(err, ERR_UNSUPPORTED, "access list names an unknown %s", user ? "user" : "group");
}

static int to_ace(int permset, int tag, int id, const char *name, struct ace *ret, struct err *err)
{
	*ret = (struct ace){0, (uint16_t)(permset & 7), (uint32_t)ACL_UNDEFINED_ID};
	for (size_t i = 0; i < ARRAY_LEN(tags); i++)
		ret->tag = tags[i].archive == tag ? tags[i].kernel : ret->tag;
	if (!ret->tag)
		return err_set(err, ERR_FORMAT, "access list with an entry that is not POSIX.1e");
	if (ret->tag != ACL_USER && ret->tag != ACL_GROUP)
		return 0;
	if (id == -1)
		return find_id(ret->tag == ACL_USER, name, &ret->id, err);
	ret->id = (uint32_t)id;
	return 0;
}

static int collect(struct archive_entry *e, const char *text, int type, struct ace **v, size_t *n, struct err *err)
{
	size_t cap = 0;
	int got, permset, tag, id, r = 0;
	const char *name;
	if (archive_entry_acl_from_text(e, text, type) != ARCHIVE_OK)
		return err_set(err, ERR_FORMAT, "malformed access list");
	archive_entry_acl_reset(e, type);
	while (!r && archive_entry_acl_next(e, type, &got, &permset, &tag, &id, &name) == ARCHIVE_OK) {
		*v = xgrow(*v, *n, &cap, sizeof(**v));
		r = to_ace(permset, tag, id, name, &(*v)[*n], err);
		++*n;
	}
	return r;
}

/* Text to the kernel's attribute; out stays empty when the text says no more than a mode. */
static int encode(const char *text, int type, mode_t mode, struct buf *out, struct err *err)
{
	CLEAN(free_ptr) struct ace *v = NULL;
	size_t n = 0;
	struct archive_entry *e = archive_entry_new();
	BUG_ON(!e);
	archive_entry_set_mode(e, S_IFREG | mode);
	int r = collect(e, text, type, &v, &n, err);
	archive_entry_free(e);
	if (r || !n)
		return r;
	qsort(v, n, sizeof(*v), cmp_ace);
	r = buf_u32(out, POSIX_ACL_XATTR_VERSION, err);
	for (size_t i = 0; i < n && !r; i++) {
		unsigned char b[8];
		put_u16(b, v[i].tag);
		put_u16(b + 2, v[i].perm);
		put_u32(b + 4, v[i].id);
		r = buf_put(out, b, sizeof(b), err);
	}
	return r;
}

struct place {
	int fd;
	const char *path;
	char proc[32];
};

/* A descriptor opened with O_PATH takes no attribute calls, its name under /proc does. */
static int set_attr(const struct place *at, const char *name, const struct buf *v)
{
	int r = at->fd >= 0 ? fsetxattr(at->fd, name, v->p, v->len, 0) : lsetxattr(at->path, name, v->p, v->len, 0);
	return r && at->fd >= 0 && errno == EBADF ? setxattr(at->proc, name, v->p, v->len, 0) : r;
}

static int remove_attr(const struct place *at, const char *name)
{
	int r = at->fd >= 0 ? fremovexattr(at->fd, name) : lremovexattr(at->path, name);
	return r && at->fd >= 0 && errno == EBADF ? removexattr(at->proc, name) : r;
}

static int apply_one(const struct place *at, const char *name, const char *text, int type, mode_t mode, struct err *err)
{
	CLEAN(buf_release) struct buf v = BUF_INIT(XATTR_SIZE_MAX);
	int r = text ? encode(text, type, mode, &v, err) : 0;
	if (r)
		return r;
	r = v.len ? set_attr(at, name, &v) : remove_attr(at, name);
	if (!r || (!v.len && (errno == ENODATA || errno == ENOTSUP)))
		return 0;
	if (errno == ENOTSUP)
		return err_set(err, ERR_UNSUPPORTED, "file system without access lists");
	return err_sys(err, errno == EINVAL ? ERR_FORMAT : ERR_IO, "set access list");
}

int pax_apply_acl(int fd, const char *path, const struct pax_entry *e, struct err *err)
{
	struct place at = {.fd = fd, .path = path};
	if (e->type == PAX_SYMLINK || e->type == PAX_HARDLINK)
		return 0;
	snprintf(at.proc, sizeof(at.proc), "/proc/self/fd/%d", fd);
	int r = apply_one(&at, ACL_ACCESS, e->acl_access, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, e->mode, err);
	if (!r && e->type == PAX_DIR)
		r = apply_one(&at, ACL_DEFAULT, e->acl_default, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, e->mode, err);
	return r ? err_wrap(err, "%s", e->path) : 0;
}
