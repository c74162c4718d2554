/* Get: many reads under way, their answers handed on in the order of the object's bytes. */
#include "sftp/sftp.h"

#include <string.h>
#include "base/mem.h"

/* A read under way, or answered before those in front of it. */
struct part {
	uint32_t id, want, got; /* id 0: answered whole */
	unsigned char *kept;    /* `got` bytes that cannot be handed on yet; NULL: none */
};
struct get {
	struct sftp_store *f;
	struct sftp_link *l;
	const char *key;
	struct store_sink *sink;
	struct sftp_handle h;
	uint64_t next, end; /* bytes not asked for yet */
	struct part part[SFTP_CALLS_MAX];
	size_t first, n; /* a ring */
	size_t bytes;    /* asked for, not handed on */
};

static struct part *part_at(struct get *g, size_t i)
{
	return &g->part[(g->first + i) % SFTP_CALLS_MAX];
}

static void get_release(struct get **gp)
{
	struct get *g = *gp;

	for (size_t i = 0; i < g->n; i++) {
		struct part *p = part_at(g, i);

		/* A sink that has enough leaves reads under way. */
		if (p->id && !g->l->broken)
			sftp_forget(g->l, p->id);
		free(p->kept);
	}
	sftp_close(g->l, &g->h);
	free(g);
}

static void queue_reads(struct get *g)
{
	while (g->next < g->end && g->n < SFTP_CALLS_MAX && g->bytes < SFTP_WINDOW) {
		struct part *p = part_at(g, g->n);

		*p = (struct part){.id = sftp_id(g->l), .want = (uint32_t)MIN(g->end - g->next, g->l->max_read)};
		sftp_put_read(&g->l->out, p->id, &g->h, g->next, p->want);
		g->next += p->want;
		g->bytes += p->want;
		g->n++;
	}
}

static struct part *part_of(struct get *g, uint32_t id, uint64_t *ret_off)
{
	uint64_t off = g->next;

	for (size_t i = g->n; i-- > 0;) {
		struct part *p = part_at(g, i);

		off -= p->want;
		if (p->id != id)
			continue;
		*ret_off = off + p->got;
		return p;
	}
	return NULL;
}

static void keep(struct part *p, const unsigned char *data, uint32_t n)
{
	if (!p->kept)
		p->kept = xmalloc(p->want);
	memcpy(p->kept + p->got, data, n);
}

/* What came before its turn, as far as its turn has come. */
static int hand_on_kept(struct get *g, struct err *err)
{
	while (g->n) {
		struct part *p = part_at(g, 0);

		if (p->kept && p->got) {
			int rc = g->sink->write(g->sink->arg, p->kept, p->got, err);

			if (rc)
				return rc;
		}
		free(p->kept);
		p->kept = NULL;
		if (p->id)
			return 0;
		g->bytes -= p->want;
		g->first = (g->first + 1) % SFTP_CALLS_MAX;
		g->n--;
	}
	return 0;
}

static int take_data(struct get *g, const struct sftp_reply *r, struct err *err)
{
	uint64_t off = 0;
	struct part *p = part_of(g, r->id, &off);

	if (!p)
		return sftp_unexpected(g->l, err);
	if (sftp_is_status(r, SFTP_EOF)) {
		p->id = 0;
		return err_set(err, ERR_CORRUPT, "object %s became shorter while it was read", g->key);
	}
	if (r->type != SFTP_DATA) {
		p->id = 0;
		return sftp_status_error(r, "read", g->key, err);
	}
	if (!r->n_data || r->n_data > p->want - p->got) {
		g->l->broken = true;
		return err_set(err, ERR_FORMAT, "the server answered a read of %lu bytes with %lu",
		        (unsigned long)(p->want - p->got), (unsigned long)r->n_data);
	}
	bool first = p == part_at(g, 0) && !p->kept;
	int rc = 0;

	if (first)
		rc = g->sink->write(g->sink->arg, r->data, r->n_data, err);
	else
		keep(p, r->data, r->n_data);
	p->got += r->n_data;
	p->id = 0;
	if (!rc)
		rc = store_pace(&g->f->base, r->n_data, err);
	if (rc)
		return rc;
	if (p->got < p->want) {
		/* Less than asked for: what the server gives at a time. The rest is asked for in its place. */
		g->l->max_read = MIN(g->l->max_read, MAX(r->n_data, 4096u));
		p->id = sftp_id(g->l);
		sftp_put_read(&g->l->out, p->id, &g->h, off + r->n_data, p->want - p->got);
	}
	return first && p->id ? 0 : hand_on_kept(g, err);
}

static int read_all(struct get *g, struct err *err)
{
	struct sftp_reply r;

	while (g->next < g->end || g->n) {
		queue_reads(g);
		int rc = sftp_next(g->l, &r, err);

		if (!rc)
			rc = take_data(g, &r, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int get_on(struct sftp_store *f, struct get *g, struct store_range range, struct err *err)
{
	char path[SFTP_PATH_MAX];
	struct sftp_call c[2] = {{.id = sftp_id(g->l)}};

	(void)sftp_path(f, g->key, path);
	sftp_put_path(&g->l->out, SFTP_LSTAT, c[0].id, path);
	c[1].id = sftp_id(g->l);
	sftp_put_open(&g->l->out, c[1].id, path, SFTP_F_READ, SFTP_NO_MODE);
	int rc = sftp_await(g->l, c, 2, err);

	if (rc)
		return rc;
	if (c[1].r.type == SFTP_HANDLE)
		g->h = c[1].r.handle;
	if (sftp_is_status(&c[0].r, SFTP_NO_SUCH_FILE) || (c[0].r.type == SFTP_ATTRS && !sftp_is_file(&c[0].r)))
		return sftp_missing(f, g->l, g->key, err);
	if (c[0].r.type != SFTP_ATTRS)
		return sftp_status_error(&c[0].r, "look at", g->key, err);
	if (c[1].r.type != SFTP_HANDLE)
		return sftp_status_error(&c[1].r, "open", g->key, err);
	uint64_t size = c[0].r.attrs.size;

	g->next = MIN(range.off, size);
	g->end = range.len && range.len < size - g->next ? g->next + range.len : size;
	return read_all(g, err);
}

int sftp_get(struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err)
{
	struct sftp_store *f = (struct sftp_store *)s;
	struct sftp_link *l;
	int rc = sftp_acquire(f, &l, err);

	if (rc)
		return rc;
	{
		CLEAN(get_release) struct get *g = xcalloc(1, sizeof *g);

		g->f = f;
		g->l = l;
		g->key = key;
		g->sink = sink;
		rc = get_on(f, g, range, err);
	}
	sftp_release(f, l);
	return rc;
}
