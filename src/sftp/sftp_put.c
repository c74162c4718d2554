/*
 * Put: a temporary file of a random name, its bytes, its durability and its length confirmed, and then the name, which
 * OpenSSH gives by link and unlink: it never takes a name that is there. Three round trips for a small object.
 */
#include "sftp/sftp.h"

#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"

#define QUEUE_BYTES ((size_t)1 << 20) /* of requests that wait to be sent */
#define TEMP_AGE_S (7 * 86400)        /* far longer than any put takes */
#define SWEEP_MAX 1000

struct put {
	struct sftp_store *f;
	struct sftp_link *l;
	const char *key;
	const struct store_src *src;
	uint64_t size;
	char path[SFTP_PATH_MAX], temp[SFTP_PATH_MAX], dir[STORE_KEY_MAX + 1];
	struct sftp_handle h;
	bool temp_made;
};

/* --- remains of puts that a crash or a cut cut off --- */

static bool is_temp_name(const struct sftp_name *name)
{
	for (uint32_t i = 0; i < name->n; i++)
		if (!strchr("0123456789abcdef", name->p[i]) || !name->p[i])
			return false;
	return name->n == 32;
}

static void queue_old(struct put *p, struct sftp_reply *r)
{
	struct sftp_name name;

	while (sftp_get_name(r, &name, NULL) > 0) {
		char key[64], path[SFTP_PATH_MAX];

		if (!is_temp_name(&name) || !name.attrs.has_mtime ||
		        (int64_t)name.attrs.mtime > clock_wall_ns() / 1000000000 - TEMP_AGE_S)
			continue;
		uint32_t id = sftp_id(p->l);

		(void)snprintf(key, sizeof key, SFTP_TEMP_DIR "/%.32s", name.p);
		sftp_put_path(&p->l->out, SFTP_REMOVE, id, sftp_path(p->f, key, path));
		sftp_forget(p->l, id);
	}
}

/* A failure here costs space and nothing else. */
static int sweep_temps(struct put *p, struct err *err)
{
	char path[SFTP_PATH_MAX];
	struct sftp_reply r;
	int rc = sftp_simple(p->l, SFTP_OPENDIR, sftp_path(p->f, SFTP_TEMP_DIR, path), &r, err);

	if (rc || r.type != SFTP_HANDLE)
		return rc;
	struct sftp_handle h = r.handle;

	for (int i = 0; i < SWEEP_MAX && !rc; i++) {
		struct sftp_call c = {.id = sftp_id(p->l)};

		sftp_put_handle(&p->l->out, SFTP_READDIR, c.id, &h);
		rc = sftp_await(p->l, &c, 1, err);
		if (rc || c.r.type != SFTP_NAME)
			break;
		queue_old(p, &c.r);
	}
	sftp_close(p->l, &h);
	return rc;
}

/* Once a store: the directory of temporary files is there, and holds none that nobody will ever finish. */
static int prepare_temps(struct put *p, struct err *err)
{
	char path[SFTP_PATH_MAX];
	struct sftp_call c = {0};

	pthread_mutex_lock(&p->f->mutex);
	bool swept = p->f->temps_swept;

	p->f->temps_swept = true;
	pthread_mutex_unlock(&p->f->mutex);
	if (swept)
		return 0;
	c.id = sftp_id(p->l);
	sftp_put_mode(&p->l->out, SFTP_MKDIR, c.id, sftp_path(p->f, SFTP_TEMP_DIR, path), 0700);
	int rc = sftp_await(p->l, &c, 1, err);

	return rc || sftp_is_status(&c.r, SFTP_OK) ? rc : sweep_temps(p, err);
}

/* --- the temporary file --- */

static void queue_temp(struct put *p, struct sftp_call *c)
{
	char name[8 + 33] = SFTP_TEMP_DIR "/";

	rng_hex(name + strlen(name), 16);
	*c = (struct sftp_call){.id = sftp_id(p->l)};
	sftp_put_open(
	        &p->l->out, c->id, sftp_path(p->f, name, p->temp), SFTP_F_WRITE | SFTP_F_CREAT | SFTP_F_EXCL, 0400);
}

static int take_temp(struct put *p, const struct sftp_call *c, struct err *err)
{
	p->temp_made = c->r.type == SFTP_HANDLE;
	if (!p->temp_made)
		return sftp_write_error(p->f, p->l, &c->r, "make a temporary file for", p->key, err);
	p->h = c->r.handle;
	return 0;
}

/* The temporary directory went away, or another process is about to make it. */
static int temp_again(struct put *p, struct sftp_call *c, struct err *err)
{
	char path[SFTP_PATH_MAX];
	struct sftp_call both[2] = {{.id = sftp_id(p->l)}};

	sftp_put_mode(&p->l->out, SFTP_MKDIR, both[0].id, sftp_path(p->f, SFTP_TEMP_DIR, path), 0700);
	queue_temp(p, &both[1]);
	int rc = sftp_await(p->l, both, 2, err);

	*c = both[1];
	if (!rc && sftp_is_status(&c->r, SFTP_NO_SUCH_FILE))
		rc = sftp_missing(p->f, p->l, p->key, err) == -ERR_MISSING
		             ? err_set(err, ERR_DENIED, "the site's directory takes no directories")
		             : -ERR_UNREACHABLE;
	return rc;
}

/* The first round trip: a temporary file, whether the name is taken, and the directory, to be synced in the end. */
static int begin_put(struct put *p, bool *ret_taken, struct err *err)
{
	struct sftp_call c[3] = {{0}};
	size_t n = 2;

	queue_temp(p, &c[0]);
	c[1].id = sftp_id(p->l);
	sftp_put_path(&p->l->out, SFTP_LSTAT, c[1].id, p->path);
	if (sftp_may_sync_dirs(p->l) && !sftp_dir_handle(p->l, p->dir) && (!*p->dir || sftp_dir_known(p->f, p->dir)))
		c[n++].id = sftp_queue_open_dir(p->f, p->l, p->dir);
	int rc = sftp_await(p->l, c, n, err);

	if (rc)
		return rc;
	if (n == 3 && c[2].r.type == SFTP_HANDLE)
		sftp_dir_keep(p->l, p->dir, &c[2].r.handle);
	if (sftp_is_status(&c[0].r, SFTP_NO_SUCH_FILE))
		rc = temp_again(p, &c[0], err);
	if (!rc)
		rc = take_temp(p, &c[0], err);
	*ret_taken = c[1].r.type == SFTP_ATTRS;
	if (!rc && !*ret_taken && !sftp_is_status(&c[1].r, SFTP_NO_SUCH_FILE))
		rc = sftp_status_error(&c[1].r, "look at", p->key, err);
	return rc;
}

/* Where the next bytes to write are. */
struct cursor {
	const struct store_src *src;
	size_t piece, at;
};

static void add_bytes(struct buf *b, struct cursor *c, size_t n)
{
	while (n) {
		const struct store_piece *p = &c->src->piece[c->piece];
		size_t part = MIN(p->n - c->at, n);

		buf_add(b, (const unsigned char *)p->p + c->at, part);
		c->at += part;
		n -= part;
		if (c->at == p->n) {
			c->piece++;
			c->at = 0;
		}
	}
}

/* What is written and not confirmed yet. */
struct window {
	uint32_t id[SFTP_CALLS_MAX], n[SFTP_CALLS_MAX];
	size_t calls, bytes;
};

static bool window_take(struct window *w, uint32_t id)
{
	for (size_t i = 0; i < w->calls; i++) {
		if (w->id[i] != id)
			continue;
		w->bytes -= w->n[i];
		w->calls--;
		w->id[i] = w->id[w->calls];
		w->n[i] = w->n[w->calls];
		return true;
	}
	return false;
}

/* Where the site has a rate, one write is queued at a time: what waits here would leave in a burst. */
static int queue_writes(struct put *p, struct cursor *c, uint64_t *off, struct window *w, struct err *err)
{
	size_t queue = p->f->base.pace ? 1 : QUEUE_BYTES;
	struct sftp_link *l = p->l;

	while (*off < p->size && w->calls < SFTP_CALLS_MAX && w->bytes < SFTP_WINDOW &&
	        l->out.len - l->out_at < queue) {
		uint32_t n = (uint32_t)MIN(p->size - *off, l->max_write), id = sftp_id(l);

		int rc = store_pace(&p->f->base, n, err);

		if (rc)
			return rc;
		sftp_put_write(&l->out, id, &p->h, *off, n);
		add_bytes(&l->out, c, n);
		w->id[w->calls] = id;
		w->n[w->calls++] = n;
		w->bytes += n;
		*off += n;
	}
	return 0;
}

/* What follows the last byte at once, without waiting for the bytes to be confirmed. */
struct ending {
	struct sftp_call look, sync, close;
	size_t left; /* answers to come */
	bool queued;
};

static void queue_ending(struct put *p, struct ending *e)
{
	struct sftp_link *l = p->l;

	e->queued = true;
	e->left = 2;
	e->look.id = sftp_id(l);
	sftp_put_handle(&l->out, SFTP_FSTAT, e->look.id, &p->h);
	if (l->server.fsync) {
		e->sync.id = sftp_id(l);
		sftp_put_fsync(&l->out, e->sync.id, &p->h);
		e->left++;
	}
	e->close.id = sftp_id(l);
	sftp_put_handle(&l->out, SFTP_CLOSE, e->close.id, &p->h);
	p->h.n = 0;
}

static bool ending_take(struct ending *e, const struct sftp_reply *r)
{
	struct sftp_call *all[] = {&e->look, &e->sync, &e->close};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		if (!all[i]->id || all[i]->id != r->id || all[i]->done)
			continue;
		all[i]->r = *r;
		all[i]->done = true;
		e->left--;
		return true;
	}
	return false;
}

static int judge_ending(struct put *p, const struct ending *e, struct err *err)
{
	if (e->sync.id && !sftp_is_status(&e->sync.r, SFTP_OK))
		return sftp_write_error(p->f, p->l, &e->sync.r, "sync", p->key, err);
	if (!sftp_is_status(&e->close.r, SFTP_OK))
		return sftp_write_error(p->f, p->l, &e->close.r, "close", p->key, err);
	if (e->look.r.type != SFTP_ATTRS || !e->look.r.attrs.has_size)
		return sftp_status_error(&e->look.r, "look at the file of", p->key, err);
	if (e->look.r.attrs.size != p->size)
		return err_set(err, ERR_IO, "cannot write %s: %llu bytes arrived, not %llu", p->key,
		        (unsigned long long)e->look.r.attrs.size, (unsigned long long)p->size);
	return 0;
}

/* After a refusal no more bytes are sent, and what is under way is awaited. */
static int write_bytes(struct put *p, struct err *err)
{
	CLEAN(free_ptr) struct window *w = xcalloc(1, sizeof *w);
	struct cursor c = {.src = p->src};
	struct ending e = {.left = 0};
	struct sftp_reply r, refused = {.type = 0};
	uint64_t off = 0;
	bool got;

	do {
		int rc = refused.type ? 0 : queue_writes(p, &c, &off, w, err);

		if (!e.queued && (off == p->size || refused.type))
			queue_ending(p, &e);
		if (!rc)
			rc = sftp_turn(p->l, &r, &got, err);
		if (rc) {
			p->l->broken = true; /* answers are still on their way */
			return rc;
		}
		if (!got || ending_take(&e, &r))
			continue;
		if (!window_take(w, r.id))
			return sftp_unexpected(p->l, err);
		if (!sftp_is_status(&r, SFTP_OK) && !refused.type)
			refused = r;
	} while (!e.queued || e.left || w->calls);
	return refused.type ? sftp_write_error(p->f, p->l, &refused, "write", p->key, err) : judge_ending(p, &e, err);
}

/* --- its name --- */

static int queue_rename(struct put *p, struct sftp_call c[2], size_t *ret_n)
{
	const struct sftp_handle *dir = sftp_may_sync_dirs(p->l) ? sftp_dir_handle(p->l, p->dir) : NULL;

	*ret_n = 1;
	c[0] = c[1] = (struct sftp_call){0};
	c[0].id = sftp_id(p->l);
	sftp_put_rename(&p->l->out, c[0].id, p->temp, p->path);
	if (dir) {
		c[1].id = sftp_id(p->l);
		sftp_put_fsync(&p->l->out, c[1].id, dir);
		*ret_n = 2;
	}
	return dir != NULL;
}

static int taken(const struct put *p, struct err *err)
{
	return err_set(err, ERR_EXISTS, "object %s is there already", p->key);
}

/* The server says only that it failed: is the name taken? */
static int settle_refusal(struct put *p, const struct sftp_reply *refused, struct err *err)
{
	struct sftp_reply r;
	int rc = sftp_simple(p->l, SFTP_LSTAT, p->path, &r, err);

	if (rc)
		return rc;
	if (r.type == SFTP_ATTRS || sftp_is_status(refused, SFTP_FILE_ALREADY_EXISTS))
		return taken(p, err);
	return sftp_write_error(p->f, p->l, refused, "give its name to", p->key, err);
}

static int publish(struct put *p, struct err *err)
{
	struct sftp_call c[2];
	size_t n;
	bool synced = queue_rename(p, c, &n);
	int rc = sftp_await(p->l, c, n, err);

	if (!rc && sftp_is_status(&c[0].r, SFTP_NO_SUCH_FILE)) {
		/* A directory that was known is gone: somebody tidied up. */
		sftp_dirs_forget(p->f);
		sftp_dirs_drop(p->l);
		rc = sftp_make_dirs(p->f, p->l, p->key, err);
		if (rc)
			return rc;
		synced = queue_rename(p, c, &n);
		rc = sftp_await(p->l, c, n, err);
	}
	if (rc)
		return rc;
	if (!sftp_is_status(&c[0].r, SFTP_OK))
		return settle_refusal(p, &c[0].r, err);
	p->temp_made = false;
	return synced ? sftp_sync_failed(&c[1].r, p->dir, err) : sftp_sync_dir(p->f, p->l, p->dir, err);
}

/* --- all of it --- */

static int put_bytes(struct put *p, struct err *err)
{
	bool is_taken = false;
	int rc = prepare_temps(p, err);

	if (!rc)
		rc = begin_put(p, &is_taken, err);
	if (rc)
		return rc;
	if (is_taken) {
		/* Who put it may not have come this far, and "taken" must stay true. */
		rc = sftp_sync_dir(p->f, p->l, p->dir, err);
		return rc ? rc : taken(p, err);
	}
	if ((rc = sftp_make_dirs(p->f, p->l, p->key, err)) || (rc = write_bytes(p, err)))
		return rc;
	return publish(p, err);
}

/* By its own maker only, and only where the link still stands. */
static void drop_temp(struct put *p)
{
	if (p->l->broken || !p->temp_made)
		return;
	sftp_close(p->l, &p->h);
	uint32_t id = sftp_id(p->l);

	sftp_put_path(&p->l->out, SFTP_REMOVE, id, p->temp);
	sftp_forget(p->l, id);
	/* Something has to be asked for, so that it is sent. */
	struct sftp_reply r;

	(void)!sftp_simple(p->l, SFTP_LSTAT, p->temp, &r, NULL);
}

int sftp_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	CLEAN(free_ptr) struct put *p = xcalloc(1, sizeof *p);

	p->f = (struct sftp_store *)s;
	p->key = key;
	p->src = src;
	for (size_t i = 0; i < src->n_pieces; i++)
		p->size += src->piece[i].n;
	(void)sftp_path(p->f, key, p->path);
	sftp_parent(key, p->dir);
	int rc = sftp_acquire(p->f, &p->l, err);

	if (rc)
		return rc;
	rc = sftp_odd(put_bytes(p, err), err);
	drop_temp(p);
	sftp_release(p->f, p->l);
	return rc;
}
