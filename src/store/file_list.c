#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "store/file.h"
#include "base/mem.h"
#include "base/str.h"

#define DIR_ENTRIES_MAX ((size_t)16 << 20)

struct listing {
	struct file_store *f;
	const char *prefix, *after;
	size_t prefix_len;
	store_list_fn fn;
	void *arg;
	char path[STORE_KEY_MAX + 2]; /* of the directory being listed, with its '/' */
};

/* --- one directory --- */

bool file_any_name(void *arg, const char *name)
{
	(void)arg;
	(void)name;
	return true;
}

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* 1 when it is an entry of ours, 0 when not (or gone by now), -1 with errno. */
static int read_entry(int fd, const struct dirent *e, char *name, struct store_stat *st, file_want_fn want, void *arg)
{
	bool dir = e->d_type == DT_DIR;
	struct stat file;

	if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
		return 0;
	if (e->d_type != DT_DIR && e->d_type != DT_REG && e->d_type != DT_UNKNOWN)
		return 0;
	size_t n = strlen(e->d_name);

	memcpy(name, e->d_name, n + 1);
	if (e->d_type != DT_UNKNOWN && !dir && !want(arg, name))
		return 0; /* before the cost of a stat */
	if (!dir) {
		if (fstatat(fd, e->d_name, &file, AT_SYMLINK_NOFOLLOW) < 0)
			return errno == ENOENT ? 0 : -1;
		dir = S_ISDIR(file.st_mode);
		if (!dir && !S_ISREG(file.st_mode))
			return 0;
		file_stat_of(&file, st);
	}
	if (dir)
		memcpy(name + n, "/", 2);
	return want(arg, name);
}

static void entries_free(struct file_entry *e, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(e[i].name);
	free(e);
}

int file_read_dir(int fd, file_want_fn want, void *arg, struct file_entry **ret, size_t *ret_n, struct err *err)
{
	CLEAN(close_dir) DIR *d = NULL;
	struct file_entry *entry = NULL;
	size_t n = 0, cap = 0;
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0), rc = 0;

	d = own < 0 ? NULL : fdopendir(own);
	if (!d) {
		close_fd(&own);
		return file_failed(err, "read", "a directory");
	}
	for (;;) {
		char name[sizeof(((struct dirent *)NULL)->d_name) + 1];
		struct store_stat st = {0, 0};

		errno = 0;
		const struct dirent *e = readdir(d);
		int found = e ? read_entry(fd, e, name, &st, want, arg) : errno ? -1 : 0;

		if (found < 0)
			rc = file_failed(err, "read", e ? e->d_name : "a directory");
		else if (found && n == DIR_ENTRIES_MAX)
			rc = err_set(err, ERR_NOMEM, "a directory has more than %zu entries", DIR_ENTRIES_MAX);
		if (rc || !e)
			break;
		if (found) {
			entry = xgrow(entry, n, &cap, sizeof *entry);
			entry[n++] = (struct file_entry){xstrdup(name), st};
		}
	}
	if (rc) {
		entries_free(entry, n);
		return rc;
	}
	*ret = entry;
	*ret_n = n;
	return 0;
}

/* --- the tree, in the order of whole keys --- */

/* With the '/' of directories as part of their names, this is the order of the keys beneath as well. */
static int entry_cmp(const void *a, const void *b)
{
	return strcmp(((const struct file_entry *)a)->name, ((const struct file_entry *)b)->name);
}

/* Whether a key, or for a directory any key beneath it, can be in the listing. */
static bool wanted(void *arg, const char *name)
{
	const struct listing *l = arg;
	char full[sizeof l->path + NAME_MAX + 2];
	size_t path_len = strlen(l->path), n = strlen(name);
	bool dir = n && name[n - 1] == '/';

	memcpy(full, l->path, path_len);
	memcpy(full + path_len, name, n + 1);
	n += path_len;
	if (strncmp(full, l->prefix, MIN(n, l->prefix_len)) || (!dir && n < l->prefix_len))
		return false;
	if (l->after && strcmp(full, l->after) <= 0 && !(dir && str_starts(l->after, full)))
		return false;
	if (dir)
		full[n - 1] = '\0'; /* what is no valid key is not ours: temporary files, lost+found */
	return store_key_ok(full);
}

static int list_dir(struct listing *l, struct err *err);

static int list_entry(struct listing *l, size_t path_len, const struct file_entry *e, struct err *err)
{
	char key[STORE_KEY_MAX + 2];
	size_t n = strlen(e->name);

	if (e->name[n - 1] == '/') {
		memcpy(l->path + path_len, e->name, n + 1);
		int rc = list_dir(l, err);

		l->path[path_len] = '\0';
		return rc;
	}
	memcpy(key, l->path, path_len);
	memcpy(key + path_len, e->name, n + 1);
	return l->fn(l->arg, key, &e->st, err);
}

/* Depth is bounded by the length of a key; no descriptor is held while going down. */
static int list_dir(struct listing *l, struct err *err)
{
	struct file_entry *entry = NULL;
	size_t n = 0, path_len = strlen(l->path);
	int fd = file_open_beneath(l->f->root, path_len ? l->path : ".", O_RDONLY | O_DIRECTORY);

	if (fd < 0) /* nothing was put there, or it went away: there is no such key */
		return errno == ENOENT || errno == ENOTDIR ? 0 : file_failed(err, "open directory", l->path);
	int rc = file_read_dir(fd, wanted, l, &entry, &n, err);

	close(fd);
	if (rc)
		return rc;
	if (n)
		qsort(entry, n, sizeof *entry, entry_cmp);
	for (size_t i = 0; i < n && !rc; i++)
		rc = list_entry(l, path_len, &entry[i], err);
	entries_free(entry, n);
	return rc;
}

int file_list(struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err)
{
	struct listing l = {.f = (struct file_store *)s, .prefix = prefix, .after = after, .fn = fn, .arg = arg};
	const char *slash = strrchr(prefix, '/');
	int rc = file_check_root(l.f, err);

	if (rc)
		return rc;
	l.prefix_len = strlen(prefix);
	if (slash)
		memcpy(l.path, prefix, (size_t)(slash - prefix) + 1);
	rc = list_dir(&l, err);
	/* Once more: a tree that went away under the walk looks like one that ends early. */
	return rc ? rc : file_check_root(l.f, err);
}
