/* A plain tar: header, content and padding of every entry, in order. */
#include <string.h>
#include <sys/stat.h>
#include "base/fs.h"
#include "base/log.h"
#include "restore/restore_internal.h"

#define TAR_BLOCK 512u
#define OUT_SIZE (256u << 10)

struct tar {
	struct reader *r;
	int fd;
	struct selection sel;
	struct content content;
	struct late_links late;
	struct pax_disk *names; /* of owners, for records made here */
	char *late_first, *late_made;
	uint64_t bytes;
	size_t n;
	unsigned char out[OUT_SIZE];
};

static int flush(struct tar *t, struct err *err)
{
	size_t n = t->n;
	t->n = 0;
	return fs_write_full(t->fd, t->out, n) ? err_sys(err, ERR_IO, "cannot write the archive") : 0;
}

static int put(struct tar *t, const void *p, size_t n, struct err *err)
{
	const unsigned char *from = p;
	t->bytes += n;
	while (n) {
		size_t now = MIN(n, OUT_SIZE - t->n);
		if (from) {
			memcpy(t->out + t->n, from, now);
			from += now;
		} else {
			memset(t->out + t->n, 0, now);
		}
		t->n += now;
		n -= now;
		int rc = t->n == OUT_SIZE ? flush(t, err) : 0;
		if (rc)
			return rc;
	}
	return 0;
}

static int put_entry(struct tar *t, const void *header, size_t n_header, uint64_t off, uint64_t len, struct err *err)
{
	int rc = put(t, header, n_header, err);
	for (uint64_t done = 0; !rc && done < len;) {
		const unsigned char *p;
		size_t n;
		rc = content_at(&t->content, off + done, len - done, &p, &n, err);
		if (!rc)
			rc = put(t, p, n, err);
		done += rc ? 0 : n;
	}
	return rc ? rc : put(t, NULL, (size_t)(-len & (TAR_BLOCK - 1)), err);
}

static int on_entry(void *arg, const struct reader_entry *re, const struct pax_entry *e, struct err *err)
{
	struct tar *t = arg;
	if (e->type == PAX_HARDLINK && !selection_has(&t->sel, e->link))
		return late_links_add(&t->late, e->link, e->path, err);
	int rc = put_entry(t, re->header, re->n_header, re->content_off, re->content_len, err);
	return rc ? err_wrap(err, "%s", e->path) : 0;
}

static int on_malformed(void *arg, const struct err *why, struct err *err)
{
	(void)arg;
	*err = *why;
	return err_rc(why);
}

static struct stat stat_of(const struct pax_entry *e)
{
	mode_t type = e->type == PAX_FILE   ? S_IFREG
	              : e->type == PAX_FIFO ? S_IFIFO
	              : e->type == PAX_CHAR ? S_IFCHR
	                                    : S_IFBLK;
	return (struct stat){.st_mode = type | e->mode,
	        .st_uid = (uid_t)e->uid,
	        .st_gid = (gid_t)e->gid,
	        .st_size = (off_t)e->size,
	        .st_rdev = e->rdev,
	        .st_mtim = {.tv_sec = e->mtime_s, .tv_nsec = e->mtime_ns}};
}

/* The first name of a file of which only later ones were asked for becomes one of those; extended attributes stay
 * behind. */
static int on_late(
        void *arg, const struct late_link *l, const struct reader_entry *re, const struct pax_entry *e, struct err *err)
{
	struct tar *t = arg;
	CLEAN(buf_release) struct buf header = BUF_INIT(PAX_HEADER_MAX);
	uint64_t len;
	if (!e || e->type == PAX_SYMLINK) {
		log_msg(LOG_WARN, "%s: left out: a hard link to %s, which is %s", l->path, l->first,
		        e ? "a symbolic link" : "not in the snapshot");
		return 0;
	}
	bool again = t->late_first && !strcmp(t->late_first, l->first);
	struct stat st = stat_of(e);
	struct pax_file f = {.path = l->path,
	        .fd = -1,
	        .st = &st,
	        .hardlink = again ? t->late_made : NULL,
	        .extents = e->extents,
	        .n_extents = e->n_extents};
	int rc = pax_record(t->names, &f, &header, &len, err);
	if (!rc && !again) {
		free(t->late_first);
		free(t->late_made);
		t->late_first = xstrdup(l->first);
		t->late_made = xstrdup(l->path);
	}
	if (!rc)
		rc = put_entry(t, header.p, header.len, re->content_off, len, err);
	return rc ? err_wrap(err, "%s", l->path) : 0;
}

int restore_tar(struct reader *r, const struct snapshot *snap, const char *const *paths, int fd, atomic_bool *cancel,
        uint64_t *ret_bytes, struct err *err)
{
	struct tar *t = xcalloc(1, sizeof *t);
	t->r = r;
	t->fd = fd;
	t->names = pax_disk_new();
	selection_init(&t->sel, paths);
	content_init(&t->content, r, snap);
	int rc = restore_each(r, snap, &t->sel, cancel, &(struct visitor){on_entry, on_malformed, t}, err);
	if (!rc)
		rc = late_links_each(&t->late, r, snap, cancel, on_late, t, err);
	if (!rc)
		rc = put(t, NULL, 2u * TAR_BLOCK, err);
	if (!rc)
		rc = flush(t, err);
	*ret_bytes = t->bytes;
	selection_release(&t->sel);
	content_release(&t->content);
	late_links_release(&t->late);
	pax_disk_free(t->names);
	free(t->late_first);
	free(t->late_made);
	free(t);
	return rc;
}
