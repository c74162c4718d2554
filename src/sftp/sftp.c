#include "sftp/sftp_store.h"
#include "sftp/sftp.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

static struct sftp_store *sftp_of(struct store *s)
{
	return (struct sftp_store *)s;
}

/* --- answers --- */

bool sftp_is_status(const struct sftp_reply *r, uint32_t status)
{
	return r->type == SFTP_STATUS && r->status == status;
}

static bool has_kind(const struct sftp_reply *r, uint32_t kind)
{
	return r->type == SFTP_ATTRS && r->attrs.has_mode && (r->attrs.mode & 0170000) == kind;
}

bool sftp_is_dir(const struct sftp_reply *r)
{
	return has_kind(r, 0040000);
}

bool sftp_is_file(const struct sftp_reply *r)
{
	return has_kind(r, 0100000) && r->attrs.has_size;
}

int sftp_simple(struct sftp_link *l, enum sftp_type type, const char *path, struct sftp_reply *ret, struct err *err)
{
	struct sftp_call c = {.id = sftp_id(l)};

	sftp_put_path(&l->out, type, c.id, path);
	int rc = sftp_await(l, &c, 1, err);

	*ret = c.r;
	return rc;
}

char *sftp_path(const struct sftp_store *f, const char *key, char out[SFTP_PATH_MAX])
{
	const char *slash = *key ? "/" : "";

	if (snprintf(out, SFTP_PATH_MAX, "%s%s%s", f->dir, slash, key) >= (int)SFTP_PATH_MAX)
		BUG("a path of an SFTP site is too long");
	if (!*out)
		memcpy(out, "/", 2);
	return out;
}

static int check_root(struct sftp_store *f, struct sftp_link *l, struct err *err)
{
	char path[SFTP_PATH_MAX];
	struct sftp_reply r;
	int rc = sftp_simple(l, SFTP_STAT, sftp_path(f, "", path), &r, err);

	if (rc || sftp_is_dir(&r))
		return rc;
	if (r.type == SFTP_STATUS && r.status != SFTP_NO_SUCH_FILE)
		return sftp_status_error(&r, "look at", path, err);
	(void)err_set(err, ERR_UNREACHABLE, "directory %s is not there", path);
	if (err)
		(void)err_hint(err, "is the disk mounted?");
	return -ERR_UNREACHABLE;
}

int sftp_odd(int rc, struct err *err)
{
	if (rc != -ERR_MISSING)
		return rc;
	if (err)
		err->code = ERR_IO;
	return -ERR_IO;
}

int sftp_missing(struct sftp_store *f, struct sftp_link *l, const char *key, struct err *err)
{
	int rc = check_root(f, l, err);

	return rc ? rc : err_set(err, ERR_MISSING, "object %s is not there", key);
}

int sftp_write_error(struct sftp_store *f, struct sftp_link *l, const struct sftp_reply *r, const char *what,
        const char *key, struct err *err)
{
	char path[SFTP_PATH_MAX];
	struct sftp_call c = {.id = l->next_id};
	struct sftp_space space;

	if (!sftp_is_status(r, SFTP_FAILURE) || !l->server.statvfs || l->broken)
		return sftp_status_error(r, what, key, err);
	(void)sftp_id(l);
	sftp_put_statvfs(&l->out, c.id, sftp_path(f, "", path));
	if (!sftp_await(l, &c, 1, NULL) && c.r.type == SFTP_EXTENDED_REPLY && !sftp_get_space(&c.r, &space, NULL)) {
		if (space.read_only)
			return err_set(err, ERR_DENIED, "cannot %s %s: the site's disk is read-only", what, key);
		if (space.bytes < l->max_write || !space.files)
			return err_set(err, ERR_NOSPACE, "cannot %s %s: the site's disk is full", what, key);
	}
	(void)sftp_status_error(r, what, key, err);
	if (err)
		(void)err_hint(err, "the server does not say why; a quota is one reason");
	return -ERR_IO;
}

/* --- small operations --- */

static int stat_on(struct sftp_store *f, struct sftp_link *l, const char *key, struct store_stat *ret, struct err *err)
{
	char path[SFTP_PATH_MAX];
	struct sftp_reply r;
	int rc = sftp_simple(l, SFTP_LSTAT, sftp_path(f, key, path), &r, err);

	if (rc)
		return rc;
	if (r.type == SFTP_STATUS && r.status != SFTP_NO_SUCH_FILE)
		return sftp_status_error(&r, "look at", key, err);
	if (!sftp_is_file(&r))
		return sftp_missing(f, l, key, err);
	*ret = (struct store_stat){r.attrs.size, r.attrs.has_mtime ? (int64_t)r.attrs.mtime * 1000000000 : 0};
	return 0;
}

static int sftp_stat(struct store *s, const char *key, struct store_stat *ret, struct err *err)
{
	struct sftp_link *l;
	int rc = sftp_acquire(sftp_of(s), &l, err);

	if (!rc)
		rc = stat_on(sftp_of(s), l, key, ret, err);
	sftp_release(sftp_of(s), l);
	return rc;
}

static int remove_on(struct sftp_store *f, struct sftp_link *l, const char *key, struct err *err)
{
	char path[SFTP_PATH_MAX], dir[STORE_KEY_MAX + 1];
	struct sftp_reply r, is;
	int rc = sftp_simple(l, SFTP_REMOVE, sftp_path(f, key, path), &r, err);

	if (rc)
		return rc;
	if (sftp_is_status(&r, SFTP_NO_SUCH_FILE))
		return sftp_missing(f, l, key, err);
	if (!sftp_is_status(&r, SFTP_OK)) {
		/* Of a directory the server says any of several things. */
		rc = sftp_simple(l, SFTP_LSTAT, path, &is, err);
		if (rc)
			return rc;
		return sftp_is_dir(&is) ? sftp_missing(f, l, key, err) : sftp_status_error(&r, "remove", key, err);
	}
	sftp_parent(key, dir);
	return sftp_sync_dir(f, l, dir, err);
}

static int sftp_remove(struct store *s, const char *key, struct err *err)
{
	struct sftp_link *l;
	int rc = sftp_acquire(sftp_of(s), &l, err);

	if (!rc)
		rc = remove_on(sftp_of(s), l, key, err);
	sftp_release(sftp_of(s), l);
	return rc;
}

/* Every put is durable already. */
static int sftp_sync(struct store *s, struct err *err)
{
	struct sftp_store *f = sftp_of(s);
	struct sftp_link *l;
	int rc = sftp_acquire(f, &l, err);

	if (!rc)
		rc = check_root(f, l, err);
	if (!rc)
		rc = sftp_sync_dir(f, l, "", err);
	sftp_release(f, l);
	return rc;
}

/* --- opening --- */

static void sftp_free(struct store *s)
{
	struct sftp_store *f = sftp_of(s);

	sftp_pool_release(f);
	pthread_cond_destroy(&f->freed);
	pthread_mutex_destroy(&f->mutex);
	free(f->host);
	free(f->user);
	free(f->identity);
	free(f->known_hosts);
	free(f->dir);
	free(s->name);
	free(f);
}

static const struct store_ops sftp_ops = {
        .scheme = "sftp",
        .put = sftp_put,
        .get = sftp_get,
        .stat = sftp_stat,
        .list = sftp_list,
        .remove = sftp_remove,
        .sync = sftp_sync,
        .free = sftp_free,
        .clock = sftp_clock,
        .attack = sftp_attack,
};

static int bad_url(const char *why, struct err *err)
{
	return err_set(err, ERR_USAGE, "an SFTP store is written sftp://user@host[:port]/directory: %s", why);
}

/* "user@host:port" and "user@[::1]:port". */
static int take_authority(struct sftp_store *f, const char *text, size_t n, struct err *err)
{
	CLEAN(free_ptr) char *own = xstrndup(text, n);
	char *at = strrchr(own, '@'), *host = at ? at + 1 : own, *end, *port;

	if (at) {
		*at = '\0';
		if (strchr(own, ':'))
			return bad_url("passwords have no place in it", err);
		f->user = xstrdup(own);
	}
	end = *host == '[' ? strchr(host, ']') : host + strcspn(host, ":");
	if (!end || end == host)
		return bad_url("there is no host", err);
	port = *host == '[' ? end + 1 : end;
	f->host = *host == '[' ? xstrndup(host + 1, (size_t)(end - host - 1)) : xstrndup(host, (size_t)(end - host));
	if (!*port)
		return 0;
	unsigned long number = *port == ':' && isdigit((unsigned char)port[1]) ? strtoul(port + 1, &end, 10) : 0;

	if (!number || number > 65535 || *end)
		return bad_url("the port is a number from 1 to 65535", err);
	f->ssh.port = (unsigned)number;
	return 0;
}

/* Absolute, and without names that mean something else than themselves. */
static int take_dir(struct sftp_store *f, const char *path, struct err *err)
{
	size_t n = strlen(path);

	while (n && path[n - 1] == '/')
		n--;
	if (n > SFTP_PATH_MAX - STORE_KEY_MAX - 2)
		return bad_url("the directory's name is too long", err);
	f->dir = xstrndup(path, n);
	for (const char *c = f->dir; *c == '/'; c += strcspn(c, "/")) {
		size_t len = strcspn(++c, "/");

		if (!len || (len == 1 && *c == '.') || (len == 2 && c[0] == '.' && c[1] == '.'))
			return bad_url("the directory is absolute, without '.', '..' and empty names", err);
	}
	for (const char *c = f->dir; *c; c++)
		if (iscntrl((unsigned char)*c))
			return bad_url("control characters", err);
	return 0;
}

/* Each directory of the path; what is there already, or not ours to make, is no failure when the last one is there. */
static int make_root(struct sftp_store *f, struct sftp_link *l, struct err *err)
{
	CLEAN(free_ptr) char *dir = xstrdup(f->dir);
	struct sftp_reply r;
	struct sftp_call call = {0};
	int rc = sftp_simple(l, SFTP_STAT, *dir ? dir : "/", &r, err);

	if (rc || sftp_is_dir(&r))
		return rc;
	for (char *c = dir; *c && !rc;) {
		call = (struct sftp_call){.id = sftp_id(l)};
		c += 1 + strcspn(c + 1, "/");
		char cut = *c;

		*c = '\0';
		sftp_put_mode(&l->out, SFTP_MKDIR, call.id, dir, 0700);
		*c = cut;
		rc = sftp_await(l, &call, 1, err);
	}
	if (!rc) /* whoever made it */
		rc = sftp_simple(l, SFTP_STAT, *dir ? dir : "/", &r, err);
	if (rc || sftp_is_dir(&r))
		return rc;
	return sftp_odd(sftp_write_error(f, l, &call.r, "make", *dir ? dir : "/", err), err);
}

static int look_in(struct sftp_store *f, bool create, struct err *err)
{
	struct sftp_link *l;
	int rc = sftp_acquire(f, &l, err);

	if (!rc && create)
		rc = make_root(f, l, err);
	if (!rc)
		rc = check_root(f, l, err);
	sftp_release(f, l);
	return rc;
}

static void set_up(struct sftp_store *f, const struct store_config *c)
{
	pthread_condattr_t attr;

	f->base.ops = &sftp_ops;
	f->base.caps = STORE_CREATE_ONLY | STORE_RANGE | STORE_LIST_STRONG | STORE_REMOVE | STORE_THREADSAFE |
	               STORE_REMOTE | STORE_PACED;
	pthread_mutex_init(&f->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&f->freed, &attr);
	pthread_condattr_destroy(&attr);
	f->max_links = SFTP_LINKS_MAX;
	f->identity = c && c->identity ? xstrdup(c->identity) : NULL;
	f->known_hosts = c && c->known_hosts ? xstrdup(c->known_hosts) : NULL;
	f->ssh.subsystem = "sftp";
	f->ssh.cancel = c ? c->cancel : NULL;
	f->ssh.backend = c && c->ssh_library ? SSH_LIBSSH2 : SSH_AUTO;
}

int sftp_open_timed(
        const char *rest, const struct store_config *c, int64_t idle_ms, struct store **ret, struct err *err)
{
	struct sftp_store *f = xcalloc(1, sizeof *f);
	size_t n = strcspn(rest, "/");

	*ret = NULL;
	set_up(f, c);
	f->base.name = xstrdup(c && c->name ? c->name : rest);
	int rc = rest[n] ? take_authority(f, rest, n, err) : bad_url("there is no directory", err);

	if (!rc)
		rc = take_dir(f, rest + n, err);
	if (!rc) {
		f->ssh.host = f->host;
		f->ssh.user = f->user;
		f->ssh.identity = f->identity;
		f->ssh.known_hosts = f->known_hosts;
		f->ssh.idle_ms = idle_ms;
		rc = look_in(f, c && c->create, err);
	}
	if (rc) {
		sftp_free(&f->base);
		return rc;
	}
	*ret = &f->base;
	return 0;
}

int store_sftp_open(const char *rest, const struct store_config *c, struct store **ret, struct err *err)
{
	return sftp_open_timed(rest, c, 0, ret, err);
}

struct store *sftp_store_on(struct sftp_link *l)
{
	struct sftp_store *f = xcalloc(1, sizeof *f);

	set_up(f, NULL);
	f->base.name = xstrdup("sftp");
	f->host = xstrdup(""); /* no other link can be made */
	f->ssh.host = f->host;
	f->dir = xstrdup("/site");
	f->idle[0] = l;
	f->n_idle = f->n_links = 1;
	return &f->base;
}
