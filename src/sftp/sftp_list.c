/*
 * List: directories are read several at a time, so that a tree of many costs few round trips; what a server lists is
 * sorted, and nothing of it is believed. No link is held while a key is handed on.
 */
#include "sftp/sftp.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

#define DIRS_AT_ONCE 16u
#define READS_AHEAD 4u                          /* of one directory */
#define FOREIGN_MAX ((uint64_t)2 << 20)         /* names passed over in one listing: not keys, or not asked for */
#define REPLIES_MAX ((uint64_t)4 << 20)         /* that bring them */
#define HELD_MAX ((uint64_t)256 << 20)          /* bytes of entries held at a time */
#define ENTRY_BYTES (sizeof(struct entry) + 24) /* with what the allocator adds to a name */
#define NAME_MAX_BYTES 255u

struct entry {
	char *name; /* a directory's ends with '/' */
	struct store_stat st;
};
/* A directory being read, or read. */
struct dir {
	char *path; /* as in keys, with '/' at its end; "" for the root */
	struct entry *entry;
	size_t n, cap;
	struct sftp_handle h;
	uint32_t open_id, read_id[READS_AHEAD];
	unsigned reads; /* under way */
	bool loaded, ended;
};
struct listing {
	struct sftp_store *f;
	const char *prefix, *after;
	size_t prefix_len;
	store_list_fn fn;
	void *arg;
	uint64_t foreign, replies, held;
};

/* --- one directory's entries --- */

static void dir_clear(struct listing *l, struct dir *d)
{
	for (size_t i = 0; i < d->n; i++) {
		l->held -= strlen(d->entry[i].name) + ENTRY_BYTES;
		free(d->entry[i].name);
	}
	free(d->entry);
	free(d->path);
	*d = (struct dir){0};
}

/* Whether a key, or for a directory any key beneath it, can be in the listing. */
static bool wanted(const struct listing *l, const char *full, bool dir)
{
	size_t n = strlen(full);
	char key[STORE_KEY_MAX + NAME_MAX_BYTES + 4];

	if (strncmp(full, l->prefix, MIN(n, l->prefix_len)) || (!dir && n < l->prefix_len))
		return false;
	if (l->after && strcmp(full, l->after) <= 0 && !(dir && str_starts(l->after, full)))
		return false;
	memcpy(key, full, n + 1);
	if (dir)
		key[n - 1] = '\0'; /* what is no valid key is not ours: temporary files, lost+found */
	return store_key_ok(key);
}

enum kind { KIND_OTHER, KIND_FILE, KIND_DIR, KIND_UNKNOWN };

static enum kind kind_of(const struct sftp_attrs *a)
{
	if (!a->has_mode)
		return KIND_UNKNOWN;
	switch (a->mode & 0170000) {
	case 0100000:
		return a->has_size ? KIND_FILE : KIND_UNKNOWN;
	case 0040000:
		return KIND_DIR;
	default:
		return KIND_OTHER; /* links are not followed */
	}
}

static void add_entry(struct listing *l, struct dir *d, const char *name, enum kind kind, const struct sftp_attrs *a)
{
	char full[STORE_KEY_MAX + NAME_MAX_BYTES + 4];

	(void)snprintf(full, sizeof full, "%s%s%s", d->path, name, kind == KIND_DIR ? "/" : "");
	if (!wanted(l, full, kind == KIND_DIR))
		return;
	d->entry = xgrow(d->entry, d->n, &d->cap, sizeof *d->entry);
	d->entry[d->n].name = xstrdup(full + strlen(d->path));
	d->entry[d->n].st = (struct store_stat){a->size, a->has_mtime ? (int64_t)a->mtime * 1000000000 : 0};
	l->held += strlen(d->entry[d->n++].name) + ENTRY_BYTES;
}

/* Names that a server gave without saying what they are. */
struct doubts {
	char (*name)[NAME_MAX_BYTES + 1];
	size_t n, cap;
};

static void take_name(struct listing *l, struct dir *d, const struct sftp_name *got, struct doubts *doubts)
{
	char name[NAME_MAX_BYTES + 1];
	enum kind kind = kind_of(&got->attrs);

	/* Also names that hold a zero byte: what is behind it would be another name to us than to others. */
	if (!got->n || got->n > NAME_MAX_BYTES || memchr(got->p, '\0', got->n) || memchr(got->p, '/', got->n))
		return;
	memcpy(name, got->p, got->n);
	name[got->n] = '\0';
	if (kind == KIND_FILE || kind == KIND_DIR) {
		add_entry(l, d, name, kind, &got->attrs);
	} else if (kind == KIND_UNKNOWN && *name != '.') {
		doubts->name = xgrow(doubts->name, doubts->n, &doubts->cap, sizeof *doubts->name);
		memcpy(doubts->name[doubts->n++], name, sizeof name);
		l->held += sizeof name;
	}
}

static int take_names(struct listing *l, struct dir *d, struct sftp_reply *r, struct doubts *doubts, struct err *err)
{
	struct sftp_name got;
	int rc;

	if (!r->n_names)
		return err_set(err, ERR_FORMAT, "the server lists nothing and does not end");
	while ((rc = sftp_get_name(r, &got, err)) > 0) {
		uint64_t before = l->held;

		take_name(l, d, &got, doubts);
		l->foreign += l->held == before;
		if (l->foreign > FOREIGN_MAX || l->held > HELD_MAX)
			return err_set(err, ERR_NOMEM, "a directory of the site lists too many names");
	}
	return rc;
}

static int settle_doubts(
        struct listing *l, struct sftp_link *link, struct dir *d, const struct doubts *doubts, struct err *err)
{
	char key[STORE_KEY_MAX + NAME_MAX_BYTES + 4], path[SFTP_PATH_MAX];

	for (size_t at = 0; at < doubts->n; at += DIRS_AT_ONCE) {
		struct sftp_call c[DIRS_AT_ONCE] = {{0}};
		size_t n = MIN(doubts->n - at, DIRS_AT_ONCE);

		for (size_t i = 0; i < n; i++) {
			(void)snprintf(key, sizeof key, "%s%s", d->path, doubts->name[at + i]);
			c[i].id = sftp_id(link);
			sftp_put_path(&link->out, SFTP_LSTAT, c[i].id, sftp_path(l->f, key, path));
		}
		int rc = sftp_await(link, c, n, err);

		if (rc)
			return rc;
		for (size_t i = 0; i < n; i++)
			if (sftp_is_file(&c[i].r) || sftp_is_dir(&c[i].r))
				add_entry(l, d, doubts->name[at + i], kind_of(&c[i].r.attrs), &c[i].r.attrs);
	}
	return 0;
}

/* --- several directories at a time --- */

static void queue_dir_reads(struct sftp_link *link, struct dir *d)
{
	while (d->h.n && !d->ended && d->reads < READS_AHEAD) {
		uint32_t id = sftp_id(link);

		sftp_put_handle(&link->out, SFTP_READDIR, id, &d->h);
		d->read_id[d->reads++] = id;
	}
}

static bool take_read_id(struct dir *d, uint32_t id)
{
	for (unsigned i = 0; i < d->reads; i++) {
		if (d->read_id[i] != id)
			continue;
		d->read_id[i] = d->read_id[--d->reads];
		return true;
	}
	return false;
}

static int dir_opened(struct dir *d, const struct sftp_reply *r, struct err *err)
{
	d->open_id = 0;
	if (r->type == SFTP_HANDLE) {
		d->h = r->handle;
		return 0;
	}
	d->ended = true; /* nothing was put there, or it went away: there is no such key */
	return sftp_is_status(r, SFTP_NO_SUCH_FILE)
	               ? 0
	               : sftp_status_error(r, "open directory", *d->path ? d->path : "/", err);
}

/* An answer for one of the directories. The first error stops them all. */
static int dir_reply(
        struct listing *l, struct dir *dirs, size_t n, struct sftp_reply *r, struct doubts *doubts, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		struct dir *d = &dirs[i];

		if (d->open_id && d->open_id == r->id)
			return dir_opened(d, r, err);
		if (!take_read_id(d, r->id))
			continue;
		if (r->type == SFTP_NAME)
			return take_names(l, d, r, &doubts[i], err);
		d->ended = true;
		return sftp_is_status(r, SFTP_EOF) ? 0 : sftp_status_error(r, "list", *d->path ? d->path : "/", err);
	}
	return err_set(err, ERR_FORMAT, "the server sent an answer that nobody asked for");
}

static int entry_cmp(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* With the '/' of directories as part of their names, this is the order of the keys beneath as well. */
static int sort_dir(struct dir *d, struct err *err)
{
	if (d->n)
		qsort(d->entry, d->n, sizeof *d->entry, entry_cmp);
	for (size_t i = 1; i < d->n; i++)
		if (!strcmp(d->entry[i - 1].name, d->entry[i].name))
			return err_set(
			        err, ERR_FORMAT, "the server lists %.100s%.100s twice", d->path, d->entry[i].name);
	d->loaded = true;
	return 0;
}

static bool under_way(struct sftp_link *link, struct dir *dirs, size_t n)
{
	bool some = false;

	for (size_t i = 0; i < n; i++) {
		queue_dir_reads(link, &dirs[i]);
		if (dirs[i].ended && !dirs[i].reads)
			sftp_close(link, &dirs[i].h);
		some |= dirs[i].open_id || dirs[i].reads;
	}
	return some;
}

static int read_dirs(
        struct listing *l, struct sftp_link *link, struct dir *dirs, size_t n, struct doubts *doubts, struct err *err)
{
	char path[SFTP_PATH_MAX];
	struct sftp_reply r;
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		char key[STORE_KEY_MAX + 2];

		(void)snprintf(key, sizeof key, "%s", dirs[i].path);
		key[strlen(key) - (*key != '\0')] = '\0';
		dirs[i].open_id = sftp_id(link);
		sftp_put_path(&link->out, SFTP_OPENDIR, dirs[i].open_id, sftp_path(l->f, key, path));
	}
	while (!rc && under_way(link, dirs, n)) {
		rc = sftp_next(link, &r, err);
		if (!rc && ++l->replies > REPLIES_MAX)
			rc = err_set(err, ERR_FORMAT, "the server lists without end");
		if (!rc)
			rc = dir_reply(l, dirs, n, &r, doubts, err);
	}
	/* Answers may still be on their way: whoever came next would take them for his. */
	link->broken |= rc != 0;
	for (size_t i = 0; i < n && !rc; i++) {
		rc = settle_doubts(l, link, &dirs[i], &doubts[i], err);
		if (!rc)
			rc = sort_dir(&dirs[i], err);
	}
	return rc;
}

static int load_dirs(struct listing *l, struct dir *dirs, size_t n, struct err *err)
{
	struct doubts doubts[DIRS_AT_ONCE] = {{0}};
	struct sftp_link *link;
	int rc = sftp_acquire(l->f, &link, err);

	if (!rc)
		rc = sftp_odd(read_dirs(l, link, dirs, n, doubts, err), err);
	for (size_t i = 0; i < n; i++) {
		l->held -= doubts[i].n * sizeof *doubts[i].name;
		free(doubts[i].name);
	}
	sftp_release(l->f, link);
	return rc;
}

/* --- the tree, in the order of whole keys --- */

/* The next directories of d from entry i on, to be read together. */
static int load_below(
        struct listing *l, const struct dir *d, size_t i, struct dir *below, size_t *ret_n, struct err *err)
{
	size_t n = 0;

	for (; i < d->n && n < DIRS_AT_ONCE; i++) {
		const char *name = d->entry[i].name;

		if (name[strlen(name) - 1] != '/')
			continue;
		below[n] = (struct dir){0};
		if (asprintf(&below[n++].path, "%s%s", d->path, name) < 0)
			BUG("out of memory");
	}
	*ret_n = n;
	return load_dirs(l, below, n, err);
}

static int list_dir(struct listing *l, struct dir *d, struct err *err);

/* The keys beneath entry i, a directory; it and those after it are read together. */
static int list_below(
        struct listing *l, struct dir *d, size_t i, struct dir *below, size_t *at, size_t *n, struct err *err)
{
	int rc = 0;

	if (*at == *n) {
		*at = 0;
		rc = load_below(l, d, i, below, n, err);
		if (rc)
			return rc;
	}
	rc = list_dir(l, &below[*at], err);
	dir_clear(l, &below[(*at)++]);
	return rc;
}

/* Depth is bounded by the length of a key. */
static int list_dir(struct listing *l, struct dir *d, struct err *err)
{
	struct dir *below = xcalloc(DIRS_AT_ONCE, sizeof *below);
	size_t at = 0, n = 0;
	int rc = 0;

	for (size_t i = 0; i < d->n && !rc; i++) {
		char key[STORE_KEY_MAX + 2];
		const struct entry *e = &d->entry[i];

		if (e->name[strlen(e->name) - 1] == '/') {
			rc = list_below(l, d, i, below, &at, &n, err);
			continue;
		}
		(void)snprintf(key, sizeof key, "%s%s", d->path, e->name);
		rc = l->fn(l->arg, key, &e->st, err);
	}
	for (; at < n; at++)
		dir_clear(l, &below[at]);
	free(below);
	return rc;
}

static int root_is_there(struct sftp_store *f, struct err *err)
{
	struct sftp_link *link;
	struct err is = ERR_INIT;
	int rc = sftp_acquire(f, &link, err);

	if (rc)
		return rc;
	rc = sftp_missing(f, link, "", &is);
	sftp_release(f, link);
	if (rc == -ERR_MISSING)
		return 0;
	if (err)
		*err = is;
	return rc;
}

int sftp_list(struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err)
{
	struct listing l = {.f = (struct sftp_store *)s, .prefix = prefix, .after = after, .fn = fn, .arg = arg};
	const char *slash = strrchr(prefix, '/');
	struct dir top = {.path = xstrndup(prefix, slash ? (size_t)(slash - prefix) + 1 : 0)};

	l.prefix_len = strlen(prefix);
	int rc = load_dirs(&l, &top, 1, err);

	/* A tree that is not there at all looks like an empty one. */
	if (!rc && !top.n)
		rc = root_is_there(l.f, err);
	if (!rc)
		rc = list_dir(&l, &top, err);
	dir_clear(&l, &top);
	return rc;
}
