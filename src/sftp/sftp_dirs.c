/* Directories of objects: made on the way to a put, and their names made durable where the server can. */
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "sftp/sftp.h"

#define STEPS_MAX 16u /* directories made in one round trip */

void sftp_parent(const char *key, char out[STORE_KEY_MAX + 1])
{
	const char *slash = strrchr(key, '/');
	size_t n = slash ? (size_t)(slash - key) : 0;

	memcpy(out, key, n);
	out[n] = '\0';
}

uint32_t sftp_queue_open_dir(const struct sftp_store *f, struct sftp_link *l, const char *dir)
{
	char path[SFTP_PATH_MAX];
	uint32_t id = sftp_id(l);

	sftp_put_open(&l->out, id, sftp_path(f, dir, path), SFTP_F_READ, SFTP_NO_MODE);
	return id;
}

bool sftp_may_sync_dirs(const struct sftp_link *l)
{
	return l->server.fsync && !l->no_dir_sync;
}

int sftp_sync_failed(const struct sftp_reply *r, const char *dir, struct err *err)
{
	return sftp_is_status(r, SFTP_OK) ? 0 : sftp_status_error(r, "sync the directory", *dir ? dir : "/", err);
}

int sftp_sync_dir(struct sftp_store *f, struct sftp_link *l, const char *dir, struct err *err)
{
	struct sftp_call c = {0};
	int rc;

	if (!sftp_may_sync_dirs(l))
		return 0;
	if (!sftp_dir_handle(l, dir)) {
		c.id = sftp_queue_open_dir(f, l, dir);
		rc = sftp_await(l, &c, 1, err);
		if (rc)
			return rc;
		l->no_dir_sync = c.r.type != SFTP_HANDLE && !sftp_is_status(&c.r, SFTP_NO_SUCH_FILE);
		if (c.r.type != SFTP_HANDLE)
			return 0;
		sftp_dir_keep(l, dir, &c.r.handle);
	}
	c = (struct sftp_call){.id = sftp_id(l)};
	sftp_put_fsync(&l->out, c.id, sftp_dir_handle(l, dir));
	rc = sftp_await(l, &c, 1, err);
	return rc ? rc : sftp_sync_failed(&c.r, dir, err);
}

struct maker {
	struct sftp_store *f;
	struct sftp_link *l;
	const char *key;
	char dir[STORE_KEY_MAX + 1];
};
/* One directory on the way to an object's: made or there, and its name durable in the one above. */
struct step {
	size_t end; /* of its name in the key's directory */
	struct sftp_call make, look, above;
};

static void queue_step(struct maker *p, const char *dir, const char *above, struct step *s)
{
	char path[SFTP_PATH_MAX];
	struct sftp_link *l = p->l;

	(void)sftp_path(p->f, dir, path);
	s->make.id = sftp_id(l);
	sftp_put_mode(&l->out, SFTP_MKDIR, s->make.id, path, 0700);
	s->look.id = sftp_id(l);
	sftp_put_path(&l->out, SFTP_LSTAT, s->look.id, path);
	if (sftp_may_sync_dirs(l))
		s->above.id = sftp_queue_open_dir(p->f, l, above);
}

/* Answers of up to STEPS_MAX steps, which came in any order. */
static int await_steps(struct maker *p, struct step *step, size_t n, bool synced, struct err *err)
{
	struct sftp_call all[3 * STEPS_MAX];
	size_t n_all = 0;

	for (size_t i = 0; i < n; i++) {
		all[n_all++] = step[i].make;
		all[n_all++] = step[i].look;
		if (synced)
			all[n_all++] = step[i].above;
	}
	int rc = sftp_await(p->l, all, n_all, err);

	n_all = 0;
	for (size_t i = 0; i < n && !rc; i++) {
		step[i].make = all[n_all++];
		step[i].look = all[n_all++];
		if (synced)
			step[i].above = all[n_all++];
	}
	return rc;
}

static int judge_step(struct maker *p, const struct step *s, struct err *err)
{
	if (sftp_is_dir(&s->look.r))
		return 0;
	if (sftp_is_file(&s->look.r))
		return err_set(err, ERR_EXISTS, "a directory of %s is an object", p->key);
	if (s->look.r.type == SFTP_ATTRS)
		return err_set(err, ERR_DENIED, "a directory of %s is a link or no directory", p->key);
	int rc = sftp_write_error(p->f, p->l, &s->make.r, "make the directory of", p->key, err);

	return rc == -ERR_MISSING ? sftp_missing(p->f, p->l, p->key, err) : rc;
}

/* Syncs of all directories above, in one round trip; the handles are closed behind. */
static int sync_steps(struct maker *p, struct step *step, size_t n, struct err *err)
{
	struct sftp_call c[STEPS_MAX] = {{0}};
	size_t n_calls = 0;

	for (size_t i = 0; i < n; i++) {
		if (step[i].above.r.type != SFTP_HANDLE) {
			p->l->no_dir_sync |= !sftp_is_status(&step[i].above.r, SFTP_NO_SUCH_FILE);
			continue;
		}
		c[n_calls].id = sftp_id(p->l);
		sftp_put_fsync(&p->l->out, c[n_calls++].id, &step[i].above.r.handle);
		sftp_close(p->l, &step[i].above.r.handle);
	}
	int rc = sftp_await(p->l, c, n_calls, err);

	for (size_t i = 0; i < n_calls && !rc; i++)
		rc = sftp_sync_failed(&c[i].r, "above an object", err);
	return rc;
}

/* One found there may have been made by another process that has not synced it yet: all unknown ones are synced. */
static int make_some_dirs(struct maker *p, size_t *at, struct err *err)
{
	CLEAN(free_ptr) struct step *step = xcalloc(STEPS_MAX, sizeof *step);
	char dir[STORE_KEY_MAX + 1], above[STORE_KEY_MAX + 1];
	bool synced = sftp_may_sync_dirs(p->l);
	size_t n = 0;

	while (n < STEPS_MAX && p->dir[*at]) {
		size_t end = *at + (*at > 0) + strcspn(p->dir + *at + (*at > 0), "/");

		(void)snprintf(dir, sizeof dir, "%.*s", (int)end, p->dir);
		(void)snprintf(above, sizeof above, "%.*s", (int)*at, p->dir);
		*at = end;
		if (sftp_dir_known(p->f, dir))
			continue;
		step[n].end = end;
		queue_step(p, dir, above, &step[n++]);
	}
	int rc = await_steps(p, step, n, synced, err), judged = 0;

	if (rc)
		return rc;
	for (size_t i = 0; i < n && !judged; i++)
		judged = judge_step(p, &step[i], err);
	if (judged) {
		for (size_t i = 0; i < n; i++)
			sftp_close(p->l, &step[i].above.r.handle);
		return judged;
	}
	rc = synced ? sync_steps(p, step, n, err) : 0;
	for (size_t i = 0; i < n && !rc; i++) {
		(void)snprintf(dir, sizeof dir, "%.*s", (int)step[i].end, p->dir);
		sftp_dir_remember(p->f, dir);
	}
	return rc;
}

int sftp_make_dirs(struct sftp_store *f, struct sftp_link *l, const char *key, struct err *err)
{
	struct maker m = {.f = f, .l = l, .key = key};
	size_t at = 0;
	int rc = 0;

	sftp_parent(key, m.dir);
	if (!*m.dir || sftp_dir_known(f, m.dir))
		return 0;
	while (!rc && m.dir[at])
		rc = make_some_dirs(&m, &at, err);
	return rc;
}
