/* Into a tree: names in order by the caller's thread, files by the reader's workers, then what was put off. */
#include "restore/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "restore/path_set.h"
#include "restore/restore_digest.h"
#include "restore/restore_files.h"
#include "restore/restore_internal.h"
#include "restore/target.h"

#define TOLD_MAX 20 /* entries skipped that are logged one by one */

struct restore {
	struct reader *r;
	const struct snapshot *snap;
	const struct restore_opts *o;
	struct restore_stats *st;
	struct target *t;
	struct selection sel;
	struct path_map map;
	struct files *files;
	struct digests *digests; /* NULL: not wanted */
	pthread_mutex_t mutex;   /* of what follows, and of what is skipped and files in st: workers tell of files */
	char *first_skipped;    /* the first in walk order: which came first in time is chance */
	struct path_set missed; /* in the target: names that were not made, so that no hard link takes what stands there
	                           instead */
	struct late_links late;
	char *late_first; /* first name as recorded, and under which name it was made */
	char *late_made;
};

static void skipped(struct restore *x, const char *path, const struct err *why)
{
	pthread_mutex_lock(&x->mutex);
	x->st->skipped++;
	if (!x->first_skipped || path_walk_cmp(path, strlen(path), x->first_skipped, strlen(x->first_skipped)) < 0) {
		free(x->first_skipped);
		x->first_skipped = xstrdup(path);
		restore_note(x->st->first_skipped, path, why->msg);
	}
	bool tell = x->st->skipped <= TOLD_MAX;
	pthread_mutex_unlock(&x->mutex);
	if (tell)
		log_msg(LOG_WARN, "%s: %s", path, why->msg);
}

/* What a failure of one name means: the end when the whole target failed, else it is counted. */
static int judge(struct restore *x, const char *path, const struct err *why, struct err *err)
{
	if (target_fatal(why)) {
		*err = *why;
		return err_wrap(err, "%s", path);
	}
	skipped(x, path, why);
	return 0;
}

static void note_missed(struct restore *x, const char *path)
{
	pthread_mutex_lock(&x->mutex);
	path_set_add(&x->missed, path, strlen(path));
	pthread_mutex_unlock(&x->mutex);
}

/* The same where the name was not made at all. */
static int missed(struct restore *x, const char *path, const struct err *why, struct err *err)
{
	note_missed(x, path);
	return judge(x, path, why, err);
}

static bool is_missed(void *arg, const char *path)
{
	struct restore *x = arg;
	pthread_mutex_lock(&x->mutex);
	bool is = path_set_has(&x->missed, path, strlen(path));
	pthread_mutex_unlock(&x->mutex);
	return is;
}

static void progress(void *arg)
{
	struct restore *x = arg;
	pthread_mutex_lock(&x->mutex);
	uint64_t files = x->st->files;
	pthread_mutex_unlock(&x->mutex);
	files_progress(x->files, &x->st->bytes, &x->st->first_byte_ns); /* after: no fewer than these files' */
	if (x->o->progress)
		x->o->progress(x->o->arg, files, x->st->bytes);
}

/* --- entries --- */

static int on_file(void *arg, const char *path, const struct err *why, bool made, struct err *err)
{
	struct restore *x = arg;
	int rc = !why ? 0 : made ? judge(x, path, why, err) : missed(x, path, why, err);
	pthread_mutex_lock(&x->mutex);
	x->st->files += made && !rc;
	pthread_mutex_unlock(&x->mutex);
	return rc;
}

static int restore_file(
        struct restore *x, const char *path, const struct reader_entry *re, const struct pax_entry *e, struct err *err)
{
	int rc = files_add(x->files, path, e, re->content_off, re->content_len, err);
	progress(x);
	return rc;
}

/* To the name that was made first, when all files are there; if it was not, its content comes under this name. */
static int restore_hardlink(struct restore *x, const char *path, const struct pax_entry *e, struct err *err)
{
	struct err why = ERR_INIT;
	CLEAN(free_ptr) char *here = xstrdup(path); /* of the map, which is used again */
	const char *first = selection_has(&x->sel, e->link) ? path_map(&x->map, e->link) : NULL;
	if (target_path_check(e->link, &why))
		return missed(x, here, &why, err);
	return first ? target_link_later(x->t, here, first, e->link, err) : late_links_add(&x->late, e->link, here, err);
}

static int restore_entry(
        struct restore *x, const char *path, const struct reader_entry *re, const struct pax_entry *e, struct err *err)
{
	struct err why = ERR_INIT;
	int rc = 0;
	switch (e->type) {
	case PAX_FILE:
		return restore_file(x, path, re, e, err);
	case PAX_HARDLINK:
		return restore_hardlink(x, path, e, err);
	case PAX_DIR:
		rc = target_dir(x->t, path, e, re->header, re->n_header, &why);
		x->st->dirs += !rc;
		break;
	case PAX_SYMLINK:
		rc = target_symlink(x->t, path, e, re->header, re->n_header, &why);
		break;
	default:
		rc = target_special(x->t, path, e, &why);
		x->st->others += !rc;
	}
	return rc ? missed(x, path, &why, err) : 0;
}

static int on_entry(void *arg, const struct reader_entry *re, const struct pax_entry *e, struct err *err)
{
	struct restore *x = arg;
	struct err why = ERR_INIT;
	const char *path = path_map(&x->map, e->path);
	if (!path)
		return 0;
	if (target_path_check(path, &why))
		return missed(x, path, &why, err);
	return restore_entry(x, path, re, e, err);
}

static int on_malformed(void *arg, const struct err *why, struct err *err)
{
	(void)err;
	skipped(arg, "a record", why);
	return 0;
}

/* --- what was put off --- */

static void on_outcome(void *arg, enum pax_type type, const char *path, const char *tag, const struct err *why)
{
	struct restore *x = arg;
	struct err full = ERR_INIT;
	if (!why)
		x->st->links += type != PAX_DIR;
	else if (type == PAX_HARDLINK && why->code == ERR_MISSING && !late_links_add(&x->late, tag, path, &full))
		return;
	else
		skipped(x, path, why);
	if (why && type != PAX_DIR)
		note_missed(x, path);
}

static int on_late(
        void *arg, const struct late_link *l, const struct reader_entry *re, const struct pax_entry *e, struct err *err)
{
	struct restore *x = arg;
	struct err why = ERR_INIT;
	if (!e) {
		err_set(&why, ERR_FORMAT, "a hard link to %.200s, which the snapshot does not hold", l->first);
		skipped(x, l->path, &why);
		return 0;
	}
	if (x->late_first && !strcmp(x->late_first, l->first) && !target_link(x->t, l->path, x->late_made, &why)) {
		x->st->links++;
		return 0;
	}
	uint64_t before = x->st->files;
	int rc = restore_entry(x, l->path, re, e, err);
	if (!rc)
		rc = files_wait(x->files, err);
	if (!rc && x->st->files > before) {
		free(x->late_first);
		free(x->late_made);
		x->late_first = xstrdup(l->first);
		x->late_made = xstrdup(l->path);
	}
	return rc;
}

static int finish(struct restore *x, struct err *err)
{
	int rc = files_wait(x->files, err);
	progress(x);
	if (!rc && x->o->cancel && atomic_load(x->o->cancel))
		rc = err_set(err, ERR_CANCELLED, "cancelled");
	if (!rc)
		rc = target_links(x->t, on_outcome, x, err);
	if (!rc)
		rc = late_links_each(&x->late, x->r, x->snap, x->o->cancel, on_late, x, err);
	if (!rc && x->late.n) /* a late one may be a symbolic link */
		rc = target_links(x->t, on_outcome, x, err);
	if (!rc && x->digests)
		rc = digests_close(&x->digests, err);
	return rc ? rc : target_finish(x->t, on_outcome, x, err);
}

static void release(struct restore *x)
{
	files_free(x->files);
	target_close(x->t);
	selection_release(&x->sel);
	path_map_release(&x->map);
	pthread_mutex_destroy(&x->mutex);
	digests_free(x->digests);
	path_set_release(&x->missed);
	late_links_release(&x->late);
	free(x->late_first);
	free(x->late_made);
	free(x->first_skipped);
}

static int begin(struct restore *x, struct err *err)
{
	const struct restore_opts *o = x->o;
	int rc = path_map_init(&x->map, o, err);
	if (!rc)
		rc = target_open(&(struct target_opts){o->to, o->full_metadata, o->overwrite, is_missed, x}, &x->t, err);
	if (!rc && o->digests)
		rc = digests_open(o->digests, &x->digests, err);
	if (rc)
		return rc;
	struct files_opts fo = {.r = x->r,
	        .root = &x->snap->facts.root[STREAM_CONTENT],
	        .target = x->t,
	        .digests = x->digests,
	        .outcome = on_file,
	        .tick = progress,
	        .arg = x};
	return files_new(&fo, &x->files, err);
}

int restore_tree(struct reader *r, const struct snapshot *snap, const struct restore_opts *o, struct restore_stats *ret,
        struct err *err)
{
	struct restore x = {.r = r, .snap = snap, .o = o, .st = ret};
	struct visitor v = {on_entry, on_malformed, &x};
	*ret = (struct restore_stats){0};
	pthread_mutex_init(&x.mutex, NULL);
	selection_init(&x.sel, o->paths);
	int rc = begin(&x, err);
	if (!rc)
		rc = restore_each(r, snap, &x.sel, o->cancel, &v, err);
	if (!rc)
		rc = finish(&x, err);
	if (!rc)
		progress(&x);
	if (!rc && ret->skipped > TOLD_MAX)
		log_msg(LOG_WARN, "%llu entries could not be made", (unsigned long long)ret->skipped);
	release(&x);
	return rc;
}

/* --- a command's output --- */

struct only_file {
	bool found, more;
	uint64_t off, len;
};

static int on_only(void *arg, const struct reader_entry *re, const struct pax_entry *e, struct err *err)
{
	struct only_file *f = arg;
	(void)err;
	if (e->type == PAX_DIR)
		return 0;
	f->more = f->found || e->type != PAX_FILE || e->extents;
	f->found = true;
	f->off = re->content_off;
	f->len = re->content_len;
	return f->more ? err_set(err, ERR_USAGE, "the snapshot is not one command's output: it holds %s", e->path) : 0;
}

static int no_malformed(void *arg, const struct err *why, struct err *err)
{
	(void)arg;
	*err = *why;
	return err_rc(why);
}

int restore_stream(struct reader *r, const struct snapshot *snap, int fd, uint64_t *ret_bytes, struct err *err)
{
	struct only_file f = {0};
	struct content c;
	*ret_bytes = 0;
	int rc = restore_each(r, snap, &(struct selection){0}, NULL, &(struct visitor){on_only, no_malformed, &f}, err);
	if (!rc && !f.found)
		rc = err_set(err, ERR_USAGE, "the snapshot holds no file");
	content_init(&c, r, snap);
	while (!rc && *ret_bytes < f.len) {
		const unsigned char *p;
		size_t n;
		rc = content_at(&c, f.off + *ret_bytes, f.len - *ret_bytes, &p, &n, err);
		if (!rc && fs_write_full(fd, p, n))
			rc = err_sys(err, ERR_IO, "cannot write the stream");
		if (!rc)
			*ret_bytes += n;
	}
	content_release(&c);
	return rc;
}
