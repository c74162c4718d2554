/* Metadata of what was made: owner, attributes, mode, access lists, set-id, times, in this order. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/str.h"
#include "restore/target_internal.h"

mode_t meta_mode(const struct target *t, const struct pax_entry *e)
{
	return e->mode & (t->o.full ? 07777 : 01777);
}

/* The first failure is told; what follows is done all the same. */
static void note(int rc, const struct err *why, struct err *first)
{
	if (rc && !first->code)
		*first = *why;
}

static void set_times(const struct meta_place *at, const struct pax_entry *e, struct err *first)
{
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = e->mtime_s, .tv_nsec = e->mtime_ns}};
	struct err why = ERR_INIT;
	int rc = at->path_only ? utimensat(at->dir, at->name, ts, AT_SYMLINK_NOFOLLOW) : futimens(at->fd, ts);
	note(rc ? err_sys(&why, ERR_IO, "cannot set times") : 0, &why, first);
}

static int set_mode(const struct meta_place *at, mode_t mode)
{
	char proc[40];
	if (!at->path_only)
		return fchmod(at->fd, mode);
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", at->fd);
	return chmod(proc, mode);
}

static int set_xattr(const struct meta_place *at, const struct pax_xattr *x)
{
	char path[NAME_MAX + 64];
	if (!at->path_only)
		return fsetxattr(at->fd, x->name, x->value, x->n, 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d/%s", at->dir, at->name);
	return lsetxattr(path, x->name, x->value, x->n, 0);
}

/* ENOSPC is what some file systems say of an attribute too large for them: the disk need not be full. */
static int attr_failed(struct err *why, const char *name)
{
	return err_set(why, ERR_IO, "cannot set attribute %.64s: %s", name, strerror(errno));
}

static void set_xattrs(const struct meta_place *at, const struct pax_entry *e, struct err *first)
{
	for (size_t i = 0; i < e->n_xattrs; i++) {
		struct err why = ERR_INIT;
		if (str_starts(e->xattrs[i].name, "system.")) /* access lists have a form of their own */
			note(err_set(&why, ERR_FORMAT, "refused: attribute %.64s", e->xattrs[i].name), &why, first);
		else if (set_xattr(at, &e->xattrs[i]))
			note(attr_failed(&why, e->xattrs[i].name), &why, first);
	}
}

/* Set-id bits on top of what mode and access list made, and never for an owner who is not the recorded one. */
static void set_ids(const struct meta_place *at, mode_t mode, struct err *first)
{
	struct stat st;
	struct err why = ERR_INIT;
	if (fstat(at->fd, &st) || set_mode(at, (st.st_mode & 07777) | (mode & 06000)))
		note(err_sys(&why, ERR_IO, "cannot set set-id bits"), &why, first);
}

int meta_apply(const struct target *t, const struct meta_place *at, const struct pax_entry *e, struct err *err)
{
	struct err first = ERR_INIT, why = ERR_INIT;
	mode_t mode = meta_mode(t, e);
	bool owned = true;
	if (t->o.full) {
		owned = !fchownat(at->fd, "", (uid_t)e->uid, (gid_t)e->gid, AT_EMPTY_PATH);
		note(owned ? 0 : err_sys(&why, ERR_IO, "cannot set owner"), &why, &first);
		set_xattrs(at, e, &first);
	}
	if (at->chmod && set_mode(at, mode & 01777))
		note(err_sys(&why, ERR_IO, "cannot set mode"), &why, &first);
	if (t->o.full && (e->acl_access || e->acl_default || at->inherits)) {
		int rc = pax_apply_acl(at->fd, NULL, e, &why);
		why.sys_errno = 0;
		note(rc, &why, &first);
	}
	if (owned && (mode & 06000))
		set_ids(at, mode, &first);
	set_times(at, e, &first);
	if (first.code)
		*err = first;
	return first.code ? err_rc(&first) : 0;
}

int meta_apply_symlink(const struct target *t, int dir, const char *name, const struct pax_entry *e, struct err *err)
{
	struct meta_place at = {.fd = -1, .dir = dir, .name = name, .path_only = true};
	struct err first = ERR_INIT, why = ERR_INIT;
	if (t->o.full) {
		if (fchownat(dir, name, (uid_t)e->uid, (gid_t)e->gid, AT_SYMLINK_NOFOLLOW))
			note(err_sys(&why, ERR_IO, "cannot set owner"), &why, &first);
		set_xattrs(&at, e, &first);
	}
	set_times(&at, e, &first);
	if (first.code)
		*err = first;
	return first.code ? err_rc(&first) : 0;
}
