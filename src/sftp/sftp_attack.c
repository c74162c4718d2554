/* What a server tells of its clock, and what a thief of the credentials could do: for the probe. */
#include <string.h>
#include "base/rng.h"
#include "sftp/sftp.h"

/* A fresh file of ours beneath the temporary directory, open for writing, with one byte in it. */
static int make_scrap(struct sftp_store *f, struct sftp_link *l, char *path, struct sftp_handle *h, struct err *err)
{
	char dir[SFTP_PATH_MAX], name[8 + 33] = SFTP_TEMP_DIR "/";
	struct sftp_call c[2] = {{0}};

	rng_hex(name + strlen(name), 16);
	c[0].id = sftp_id(l);
	sftp_put_mode(&l->out, SFTP_MKDIR, c[0].id, sftp_path(f, SFTP_TEMP_DIR, dir), 0700);
	c[1].id = sftp_id(l);
	sftp_put_open(&l->out, c[1].id, sftp_path(f, name, path), SFTP_F_WRITE | SFTP_F_CREAT | SFTP_F_EXCL, 0600);
	int rc = sftp_await(l, c, 2, err);

	if (rc)
		return rc;
	if (c[1].r.type != SFTP_HANDLE)
		return sftp_write_error(f, l, &c[1].r, "make", name, err);
	*h = c[1].r.handle;
	c[0] = (struct sftp_call){.id = sftp_id(l)};
	sftp_put_write(&l->out, c[0].id, h, 0, 1);
	buf_add(&l->out, "x", 1);
	return sftp_await(l, c, 1, err);
}

/* Servers tell the time of files in whole seconds: the answer is up to a second early. */
static int clock_on(struct sftp_store *f, struct sftp_link *l, int64_t *ret_ns, struct err *err)
{
	char path[SFTP_PATH_MAX];
	struct sftp_handle h;
	struct sftp_call c[2] = {{0}};
	int rc = make_scrap(f, l, path, &h, err);

	if (rc)
		return rc;
	c[0].id = sftp_id(l);
	sftp_put_handle(&l->out, SFTP_FSTAT, c[0].id, &h);
	sftp_close(l, &h);
	c[1].id = sftp_id(l);
	sftp_put_path(&l->out, SFTP_REMOVE, c[1].id, path);
	rc = sftp_await(l, c, 2, err);
	if (rc)
		return rc;
	if (c[0].r.type != SFTP_ATTRS || !c[0].r.attrs.has_mtime)
		return err_set(err, ERR_UNSUPPORTED, "the server does not tell when a file was written");
	*ret_ns = (int64_t)c[0].r.attrs.mtime * 1000000000;
	return 0;
}

int sftp_clock(struct store *s, int64_t *ret_ns, struct err *err)
{
	struct sftp_link *l;
	int rc = sftp_acquire((struct sftp_store *)s, &l, err);

	if (!rc)
		rc = sftp_odd(clock_on((struct sftp_store *)s, l, ret_ns, err), err);
	sftp_release((struct sftp_store *)s, l);
	return rc;
}

/* Write into the file itself, having made it writable first, as its owner may. */
static int attack_in_place(struct sftp_link *l, const char *path, struct sftp_reply *ret, struct err *err)
{
	struct sftp_call c[2] = {{0}};

	c[0].id = sftp_id(l);
	sftp_put_mode(&l->out, SFTP_SETSTAT, c[0].id, path, 0600);
	c[1].id = sftp_id(l);
	sftp_put_open(&l->out, c[1].id, path, SFTP_F_WRITE | SFTP_F_TRUNC, SFTP_NO_MODE);
	int rc = sftp_await(l, c, 2, err);

	*ret = c[1].r;
	if (rc || ret->type != SFTP_HANDLE)
		return rc;
	c[0] = (struct sftp_call){.id = sftp_id(l)};
	sftp_put_write(&l->out, c[0].id, &ret->handle, 0, 1);
	buf_add(&l->out, "x", 1);
	sftp_close(l, &ret->handle);
	rc = sftp_await(l, c, 1, err);
	*ret = c[0].r;
	return rc;
}

/* Put another file in its place. */
static int attack_replace(
        struct sftp_store *f, struct sftp_link *l, const char *path, struct sftp_reply *ret, struct err *err)
{
	char scrap[SFTP_PATH_MAX];
	struct sftp_handle h;
	struct sftp_call c[2] = {{0}};
	int rc = make_scrap(f, l, scrap, &h, err);

	if (rc)
		return rc;
	sftp_close(l, &h);
	c[0].id = sftp_id(l);
	sftp_put_posix_rename(&l->out, c[0].id, scrap, path);
	c[1].id = sftp_id(l);
	sftp_put_path(&l->out, SFTP_REMOVE, c[1].id, scrap);
	rc = sftp_await(l, c, 2, err);
	*ret = c[0].r;
	return rc;
}

/* Move it to a name under which nobody looks. */
static int attack_move(
        struct sftp_store *f, struct sftp_link *l, const char *path, struct sftp_reply *ret, struct err *err)
{
	char away[SFTP_PATH_MAX], name[8 + 33] = SFTP_TEMP_DIR "/";
	struct sftp_call c = {.id = sftp_id(l)};

	rng_hex(name + strlen(name), 16);
	sftp_put_rename(&l->out, c.id, path, sftp_path(f, name, away));
	int rc = sftp_await(l, &c, 1, err);

	*ret = c.r;
	return rc;
}

static int attack_on(
        struct sftp_store *f, struct sftp_link *l, enum store_attack what, const char *key, struct err *err)
{
	char path[SFTP_PATH_MAX];
	struct sftp_reply first, second = {.type = 0};
	int rc;

	(void)sftp_path(f, key, path);
	rc = what == STORE_OVERWRITE ? attack_in_place(l, path, &first, err)
	                             : sftp_simple(l, SFTP_REMOVE, path, &first, err);
	if (rc || sftp_is_status(&first, SFTP_OK))
		return rc;
	rc = what == STORE_OVERWRITE ? attack_replace(f, l, path, &second, err)
	     : what == STORE_DELETE  ? attack_move(f, l, path, &second, err)
	                             : 0;
	if (rc || (what != STORE_DELETE_VERSION && sftp_is_status(&second, SFTP_OK)))
		return rc;
	if (sftp_is_status(&first, SFTP_NO_SUCH_FILE))
		return sftp_missing(f, l, key, err);
	return sftp_write_error(f, l, &first, "harm", key, err);
}

int sftp_attack(struct store *s, enum store_attack what, const char *key, struct err *err)
{
	struct sftp_link *l;

	if (what != STORE_OVERWRITE && what != STORE_DELETE && what != STORE_DELETE_VERSION)
		return err_set(err, ERR_UNSUPPORTED, "SFTP has no word for it");
	int rc = sftp_acquire((struct sftp_store *)s, &l, err);

	if (!rc)
		rc = attack_on((struct sftp_store *)s, l, what, key, err);
	sftp_release((struct sftp_store *)s, l);
	return rc;
}
