/* Entries against what is in the target. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "restore/manifest_internal.h"
#include "restore/reader_internal.h"

#define LINK_MAX_BYTES 65536u

void manifest_wrong(struct manifest *m, const char *path, const char *fmt, ...)
{
	char why[256];
	va_list ap;
	if (!path_set_add(&m->wrong, path, strlen(path)))
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	if (!m->ret->wrong++)
		restore_note(m->ret->first_wrong, path, why);
}

static mode_t type_bits(enum pax_type t)
{
	static const mode_t bits[] = {[PAX_FILE] = S_IFREG,
	        [PAX_DIR] = S_IFDIR,
	        [PAX_SYMLINK] = S_IFLNK,
	        [PAX_FIFO] = S_IFIFO,
	        [PAX_CHAR] = S_IFCHR,
	        [PAX_BLOCK] = S_IFBLK};
	return bits[t];
}

/* Beside an access list the group's bits of a mode are the list's mask, which the entry does not hold apart. */
static bool mode_ok(const struct manifest *m, const struct pax_entry *e, mode_t mode)
{
	mode_t want = e->mode & (m->o->full_metadata ? 07777 : 01777);
	mode_t but = m->o->full_metadata && e->acl_access ? 070 : 0;
	return e->type == PAX_SYMLINK || (mode & 07777 & ~but) == (want & ~but);
}

static bool same_target(int dir, const char *name, const char *want)
{
	CLEAN(free_ptr) char *have = xmalloc(LINK_MAX_BYTES);
	ssize_t n = readlinkat(dir, name, have, LINK_MAX_BYTES);
	return n >= 0 && (size_t)n == strlen(want) && !memcmp(have, want, (size_t)n);
}

/* False when it is wrong, which is counted then. */
static bool check_stat(struct manifest *m, const char *path, const struct pax_entry *e, int dir, const char *name,
        const struct stat *st)
{
	if ((st->st_mode & S_IFMT) != type_bits(e->type))
		manifest_wrong(m, path, "is of another type");
	else if (!mode_ok(m, e, st->st_mode))
		manifest_wrong(m, path, "has mode %04o where %04o was recorded", (unsigned)(st->st_mode & 07777),
		        (unsigned)e->mode);
	else if (m->o->full_metadata && ((int64_t)st->st_uid != e->uid || (int64_t)st->st_gid != e->gid))
		manifest_wrong(m, path, "belongs to %u:%u where %lld:%lld was recorded", st->st_uid, st->st_gid,
		        (long long)e->uid, (long long)e->gid);
	else if (e->type == PAX_FILE && (uint64_t)st->st_size != e->size)
		manifest_wrong(m, path, "has %lld bytes where %llu were recorded", (long long)st->st_size,
		        (unsigned long long)e->size);
	else if ((e->type == PAX_CHAR || e->type == PAX_BLOCK) && st->st_rdev != e->rdev)
		manifest_wrong(m, path, "is another device");
	else if (e->type == PAX_SYMLINK && !same_target(dir, name, e->link))
		manifest_wrong(m, path, "is a link to another name");
	else
		return true;
	return (st->st_mode & S_IFMT) == S_IFREG && e->type == PAX_FILE &&
	       (uint64_t)st->st_size == e->size; /* its content can still be looked at */
}

static bool look(struct manifest *m, const char *path, int *ret_dir, const char **ret_name, struct stat *st)
{
	struct err why = ERR_INIT;
	if (target_parent(m->t, path, false, ret_dir, ret_name, &why))
		manifest_wrong(m, path, "%s", why.code == ERR_MISSING ? "is missing" : why.msg);
	else if (fstatat(*ret_dir, *ret_name, st, AT_SYMLINK_NOFOLLOW))
		manifest_wrong(m, path, "%s", errno == ENOENT ? "is missing" : strerror(errno));
	else
		return true;
	return false;
}

static int check_entry(
        struct manifest *m, const char *path, const struct reader_entry *re, const struct pax_entry *e, struct err *err)
{
	const char *name;
	struct stat st;
	int dir;
	if (!look(m, path, &dir, &name, &st) || !check_stat(m, path, e, dir, name, &st) || e->type != PAX_FILE)
		return 0;
	m->ret->files++;
	CLEAN(close_fd) int fd = target_read(m->t, path);
	if (fd < 0) {
		manifest_wrong(m, path, "cannot be read: %s", strerror(errno));
		return 0;
	}
	return manifest_content(m, path, fd, e, re->content_off, err);
}

static int check_hardlink(struct manifest *m, const char *path, const struct pax_entry *e, struct err *err)
{
	CLEAN(free_ptr) char *here = xstrdup(path);
	const char *first = selection_has(&m->sel, e->link) ? path_map(&m->map, e->link) : NULL, *name;
	struct stat st, of;
	int dir;
	if (!first)
		return late_links_add(&m->late, e->link, here, err);
	if (!look(m, here, &dir, &name, &st))
		return 0;
	struct err why = ERR_INIT;
	if (target_parent(m->t, first, false, &dir, &name, &why) || fstatat(dir, name, &of, AT_SYMLINK_NOFOLLOW) ||
	        st.st_ino != of.st_ino || st.st_dev != of.st_dev)
		manifest_wrong(m, here, "is no hard link to %.150s", first);
	return 0;
}

/* It, and the directories above it. */
static void expect(struct manifest *m, const char *path)
{
	size_t n = strlen(path);
	while (n && path_set_add(&m->expected, path, n)) {
		while (n && path[n - 1] != '/')
			n--;
		n -= n > 0;
	}
}

static int on_entry(void *arg, const struct reader_entry *re, const struct pax_entry *e, struct err *err)
{
	struct manifest *m = arg;
	const char *path = path_map(&m->map, e->path);
	if (!path || ((e->type == PAX_CHAR || e->type == PAX_BLOCK) && !m->o->full_metadata))
		return 0;
	m->ret->entries++;
	expect(m, path);
	return e->type == PAX_HARDLINK ? check_hardlink(m, path, e, err) : check_entry(m, path, re, e, err);
}

static int on_malformed(void *arg, const struct err *why, struct err *err)
{
	struct manifest *m = arg;
	(void)err;
	m->ret->entries++;
	if (!m->ret->wrong++)
		restore_note(m->ret->first_wrong, "a record", why->msg);
	return 0;
}

static int on_late(
        void *arg, const struct late_link *l, const struct reader_entry *re, const struct pax_entry *e, struct err *err)
{
	struct manifest *m = arg;
	if (e)
		return check_entry(m, l->path, re, e, err);
	manifest_wrong(m, l->path, "a hard link to %.150s, which the snapshot does not hold", l->first);
	return 0;
}

static int prepare(struct manifest *m, struct err *err)
{
	const struct source_secrets *s = reader_secrets(m->r, m->snap->epoch);
	const struct stream_root *root = &m->snap->facts.root[STREAM_CONTENT];
	selection_init(&m->sel, m->o->paths);
	int rc = path_map_init(&m->map, m->o, err);
	if (!rc)
		rc = target_open(&(struct target_opts){.path = m->o->to}, &m->t, err);
	if (!rc && !s)
		rc = err_set(err, ERR_MISSING, "keys of epoch %u are not there", m->snap->epoch);
	if (rc)
		return rc;
	m->coder = pack_coder_new(m->r->o.key->repo, m->snap->source, &s->id_key, 1);
	m->chunk = xmalloc(CHUNK_PLAIN_MAX);
	if (root->present)
		m->cuts = list_cursor_new(STREAM_CONTENT, root, reader_list_chunk, m->r);
	return 0;
}

int restore_manifest(struct reader *r, const struct snapshot *snap, const struct restore_opts *o,
        struct manifest_result *ret, struct err *err)
{
	struct manifest m = {.r = r, .snap = snap, .o = o, .ret = ret};
	*ret = (struct manifest_result){0};
	int rc = prepare(&m, err);
	if (!rc)
		rc = restore_each(r, snap, &m.sel, o->cancel, &(struct visitor){on_entry, on_malformed, &m}, err);
	if (!rc)
		rc = late_links_each(&m.late, r, snap, o->cancel, on_late, &m, err);
	if (!rc)
		rc = manifest_content_end(&m, err);
	if (!rc)
		rc = manifest_extra(&m, err);
	manifest_content_release(&m);
	target_close(m.t);
	selection_release(&m.sel);
	path_map_release(&m.map);
	path_set_release(&m.expected);
	path_set_release(&m.wrong);
	late_links_release(&m.late);
	return rc;
}
