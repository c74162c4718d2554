#include "sftp/sftp_link.h"

#include <poll.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"

#define IN_BYTES ((size_t)768 << 10) /* two packets of the largest kind, and some */
#define OUT_BYTES ((size_t)4 << 20)
#define PLAIN_BYTES 32768u /* what every server takes in a packet */
#define CRAWL_BYTES_S 1024
#define IDLE_MS 60000

/* --- bytes --- */

uint32_t sftp_id(struct sftp_link *l)
{
	return l->next_id++;
}

void sftp_forget(struct sftp_link *l, uint32_t id)
{
	if (l->n_forget == SFTP_FORGET_MAX)
		l->broken = true; /* a server that leaves so much unanswered */
	else
		l->forget[l->n_forget++] = id;
}

static bool take_forgotten(struct sftp_link *l, uint32_t id)
{
	for (size_t i = 0; i < l->n_forget; i++) {
		if (l->forget[i] != id)
			continue;
		l->forget[i] = l->forget[--l->n_forget];
		return true;
	}
	return false;
}

void sftp_link_begin(struct sftp_link *l)
{
	l->waited_ms = 0;
	l->crawled = 0;
}

/* The time spent here counts, not that of whoever takes the bytes. */
static int check_pace(struct sftp_link *l, int64_t began_ms, uint64_t moved, struct err *err)
{
	l->waited_ms += clock_boot_ns() / 1000000 - began_ms;
	l->crawled += moved;
	if (l->waited_ms < l->idle_ms)
		return 0;
	bool slow = l->crawled < (uint64_t)(l->waited_ms / 1000) * CRAWL_BYTES_S;

	sftp_link_begin(l);
	return slow ? err_set(err, ERR_UNREACHABLE, "the link is slower than %d bytes a second", CRAWL_BYTES_S) : 0;
}

/* Room behind what was received; what was looked at is dropped. */
static void make_room(struct sftp_link *l)
{
	if (l->in_at == l->in_len)
		l->in_at = l->in_len = 0;
	if (IN_BYTES - l->in_len >= SFTP_PACKET_MAX + 4)
		return;
	memmove(l->in, l->in + l->in_at, l->in_len - l->in_at);
	l->in_len -= l->in_at;
	l->in_at = 0;
}

/* That a program is missing there must not be taken for a missing object. */
static int about_link(int rc, struct err *err)
{
	if (rc != -ERR_MISSING)
		return rc;
	if (err)
		err->code = ERR_UNSUPPORTED;
	return -ERR_UNSUPPORTED;
}

static int move_bytes(struct sftp_link *l, struct err *err)
{
	make_room(l);
	struct ssh_io io = {
	        .out = l->out.len ? l->out.p + l->out_at : NULL,
	        .n_out = l->out.len - l->out_at,
	        .in = l->in + l->in_len,
	        .n_in = IN_BYTES - l->in_len,
	};
	int64_t began = clock_boot_ns() / 1000000;
	int rc = ssh_exchange(l->ssh, &io, err);

	if (rc)
		return rc;
	if (io.ended)
		return about_link(ssh_failed(l->ssh, err), err);
	l->in_len += io.ret_in;
	l->out_at += io.ret_out;
	if (l->out_at && (l->out_at == l->out.len || l->out_at >= OUT_BYTES / 4)) {
		memmove(l->out.p, l->out.p + l->out_at, l->out.len - l->out_at);
		l->out.len -= l->out_at;
		l->out_at = 0;
	}
	return check_pace(l, began, io.ret_in + io.ret_out, err);
}

/* A whole packet that is here: its bytes, or NULL. */
static int next_packet(struct sftp_link *l, const unsigned char **ret, uint32_t *ret_n, struct err *err)
{
	uint32_t n;

	*ret = NULL;
	if (l->in_len - l->in_at < 4)
		return 0;
	int rc = sftp_get_length(l->in + l->in_at, &n, err);

	if (rc || l->in_len - l->in_at - 4 < n)
		return rc;
	*ret = l->in + l->in_at + 4;
	*ret_n = n;
	l->in_at += 4 + (size_t)n;
	return 0;
}

/* --- answers --- */

static int take_reply(struct sftp_link *l, struct sftp_reply *r, bool *ret_got, struct err *err)
{
	const unsigned char *p;
	uint32_t n;

	*ret_got = false;
	do {
		int rc = next_packet(l, &p, &n, err);

		if (rc)
			return rc;
		if (!p)
			return 0;
		rc = sftp_get_reply(p, n, r, err);
		if (rc)
			return rc;
	} while (take_forgotten(l, r->id));
	*ret_got = true;
	return 0;
}

int sftp_turn(struct sftp_link *l, struct sftp_reply *r, bool *ret_got, struct err *err)
{
	int rc = take_reply(l, r, ret_got, err);

	if (!rc && !*ret_got) {
		rc = move_bytes(l, err);
		if (!rc)
			rc = take_reply(l, r, ret_got, err);
	}
	l->broken |= rc != 0;
	return rc;
}

int sftp_next(struct sftp_link *l, struct sftp_reply *r, struct err *err)
{
	bool got = false;
	int rc = 0;

	while (!rc && !got)
		rc = sftp_turn(l, r, &got, err);
	return rc;
}

int sftp_unexpected(struct sftp_link *l, struct err *err)
{
	l->broken = true;
	return err_set(err, ERR_FORMAT, "the server sent an answer that nobody asked for");
}

int sftp_await(struct sftp_link *l, struct sftp_call *calls, size_t n, struct err *err)
{
	struct sftp_reply r;

	for (size_t left = n; left; left--) {
		size_t i = 0;
		int rc = sftp_next(l, &r, err);

		if (rc)
			return rc;
		while (i < n && (calls[i].done || calls[i].id != r.id))
			i++;
		if (i == n)
			return sftp_unexpected(l, err);
		calls[i].r = r;
		calls[i].done = true;
	}
	return 0;
}

void sftp_close(struct sftp_link *l, struct sftp_handle *h)
{
	if (!h->n || l->broken)
		return;
	uint32_t id = sftp_id(l);

	sftp_put_handle(&l->out, SFTP_CLOSE, id, h);
	h->n = 0;
	sftp_forget(l, id);
}

/* --- directories that are open --- */

const struct sftp_handle *sftp_dir_handle(struct sftp_link *l, const char *path)
{
	for (size_t i = 0; i < SFTP_DIR_HANDLES; i++) {
		if (!l->dirs[i].path || strcmp(l->dirs[i].path, path))
			continue;
		l->dirs[i].used = ++l->dir_clock;
		return &l->dirs[i].h;
	}
	return NULL;
}

static void dir_close(struct sftp_link *l, struct sftp_dir *d)
{
	if (d->path)
		sftp_close(l, &d->h);
	free(d->path);
	d->path = NULL;
}

void sftp_dir_keep(struct sftp_link *l, const char *path, const struct sftp_handle *h)
{
	struct sftp_dir *d = &l->dirs[0];

	for (size_t i = 1; i < SFTP_DIR_HANDLES; i++)
		if (!l->dirs[i].path || (d->path && l->dirs[i].used < d->used))
			d = &l->dirs[i];
	dir_close(l, d);
	*d = (struct sftp_dir){.path = xstrdup(path), .h = *h, .used = ++l->dir_clock};
}

void sftp_dirs_drop(struct sftp_link *l)
{
	for (size_t i = 0; i < SFTP_DIR_HANDLES; i++)
		dir_close(l, &l->dirs[i]);
}

/* --- errors --- */

static enum err_code code_of_status(uint32_t status)
{
	switch (status) {
	case SFTP_NO_SUCH_FILE:
		return ERR_MISSING;
	case SFTP_PERMISSION_DENIED:
	case SFTP_WRITE_PROTECT:
		return ERR_DENIED;
	case SFTP_NO_CONNECTION:
	case SFTP_CONNECTION_LOST:
		return ERR_UNREACHABLE;
	case SFTP_OP_UNSUPPORTED:
		return ERR_UNSUPPORTED;
	case SFTP_FILE_ALREADY_EXISTS:
		return ERR_EXISTS;
	case SFTP_NO_SPACE:
	case SFTP_QUOTA_EXCEEDED:
		return ERR_NOSPACE;
	default: /* SFTP_FAILURE is what OpenSSH says to everything else */
		return ERR_IO;
	}
}

int sftp_status_error(const struct sftp_reply *r, const char *what, const char *key, struct err *err)
{
	if (r->type != SFTP_STATUS || r->status == SFTP_OK)
		return err_set(
		        err, ERR_FORMAT, "cannot %s %s: the server answered with packet type %u", what, key, r->type);
	return err_set(err, code_of_status(r->status), "cannot %s %s: the server says %s (%lu)", what, key,
	        *r->said ? r->said : "no reason", (unsigned long)r->status);
}

/* --- opening --- */

static int greet(struct sftp_link *l, struct err *err)
{
	const unsigned char *p = NULL;
	uint32_t n = 0;
	int rc = 0;

	sftp_put_init(&l->out);
	while (!rc && !p) {
		rc = move_bytes(l, err);
		if (!rc)
			rc = next_packet(l, &p, &n, err);
	}
	if (!rc)
		rc = sftp_get_version(p, n, &l->server, err);
	if (!rc && l->server.version < 3)
		rc = err_set(err, ERR_UNSUPPORTED, "the server speaks SFTP version %lu, not 3",
		        (unsigned long)l->server.version);
	return rc;
}

/* How much a request may carry. What a server promises beyond our own ceiling is of no use. */
static int ask_limits(struct sftp_link *l, struct err *err)
{
	struct sftp_limits lim = {0};
	struct sftp_call c = {.id = sftp_id(l)};
	const uint64_t most = 255u << 10;

	l->max_read = l->max_write = PLAIN_BYTES;
	if (!l->server.limits)
		return 0;
	sftp_put_limits(&l->out, c.id);
	int rc = sftp_await(l, &c, 1, err);

	if (rc || c.r.type != SFTP_EXTENDED_REPLY)
		return rc;
	rc = sftp_get_limits(&c.r, &lim, err);
	if (rc)
		return rc;
	if (lim.read)
		l->max_read = (uint32_t)MAX(MIN(lim.read, most), 1024u);
	if (lim.write)
		l->max_write = (uint32_t)MAX(MIN(lim.write, most), 1024u);
	return 0;
}

int sftp_link_new(const struct ssh_config *c, struct sftp_link **ret, struct err *err)
{
	struct sftp_link *l = xcalloc(1, sizeof *l);

	*ret = NULL;
	buf_init(&l->out, OUT_BYTES);
	l->next_id = 1;
	l->idle_ms = c->idle_ms > 0 ? c->idle_ms : IDLE_MS;
	l->in = xmalloc(IN_BYTES);
	int rc = about_link(ssh_open(c, &l->ssh, err), err);

	if (!rc)
		rc = greet(l, err);
	if (!rc)
		rc = ask_limits(l, err);
	if (rc) {
		sftp_link_free(l);
		return rc;
	}
	*ret = l;
	return 0;
}

void sftp_link_free(struct sftp_link *l)
{
	if (!l)
		return;
	l->broken = true; /* nothing more is sent */
	sftp_dirs_drop(l);
	ssh_free(l->ssh);
	buf_release(&l->out);
	free(l->in);
	free(l);
}

bool sftp_link_alive(struct sftp_link *l)
{
	struct pollfd p = {ssh_fd(l->ssh), POLLIN, 0};
	struct sftp_reply r;
	bool got = false;

	/* What may be there are answers that nobody waits for, or the end. */
	while (!l->broken && !got && poll(&p, 1, 0) > 0)
		if (sftp_turn(l, &r, &got, NULL))
			return false;
	return !l->broken && !got;
}
