/*
 * Content against the recorded cuts: chunks are put together again from the files that were restored and must have the
 * ids that the snapshot lists. Where a chunk holds bytes of files that were not restored too, or is not what it should
 * be, the copy's own bytes say which file is wrong.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "restore/manifest_internal.h"

#define BLOCK (64u << 10)

/* --- the chunk --- */

static void clear(struct current *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->piece[i].path);
	c->n = 0;
	c->covered = 0;
	c->open = false;
}

static int compare(struct manifest *m, struct err *err)
{
	const struct current *c = &m->cur;
	CLEAN(buf_release) struct buf b = BUF_INIT(CHUNK_PLAIN_MAX);
	int rc = reader_chunk(m->r, c->id, CHUNK_CONTENT, c->length, &b, err);
	for (size_t i = 0; !rc && i < c->n; i++) {
		const struct piece *p = &c->piece[i];
		if (memcmp(b.p + p->at, m->chunk + p->at, p->n))
			manifest_wrong(m, p->path, "its content is not what was recorded");
	}
	return rc;
}

int manifest_content_end(struct manifest *m, struct err *err)
{
	struct current *c = &m->cur;
	unsigned char id[ID_LEN];
	int rc = 0;
	if (c->covered == c->length && c->open)
		pack_coder_id(m->coder, CHUNK_CONTENT, m->chunk, c->length, id);
	if (c->open && c->covered && (c->covered != c->length || memcmp(id, c->id, ID_LEN)))
		rc = compare(m, err);
	if (!rc && c->open && c->covered)
		m->ret->chunks++;
	clear(c);
	return rc;
}

/* The chunk that holds byte off of the stream becomes the current one. */
static int chunk_at(struct manifest *m, uint64_t off, struct err *err)
{
	struct current *c = &m->cur;
	struct list_item it;
	if (c->open && off >= c->start && off - c->start < c->length)
		return 0;
	int rc = manifest_content_end(m, err);
	if (!rc && !m->cuts)
		rc = err_set(err, ERR_CORRUPT, "entries have content where the snapshot has none");
	if (!rc && off != m->next)
		rc = list_cursor_seek(m->cuts, off, &m->next, err);
	if (rc)
		return rc;
	rc = list_cursor_next(m->cuts, &it, err);
	if (rc < 0)
		return rc;
	if (!rc || !it.length || it.length > CHUNK_PLAIN_MAX || off < m->next || off - m->next >= it.length)
		return err_set(err, ERR_CORRUPT, "the content stream ends before its entries say");
	memcpy(c->id, it.id, ID_LEN);
	c->start = m->next;
	c->length = it.length;
	c->open = true;
	m->next += it.length;
	return 0;
}

static void add_piece(struct current *c, const char *path, uint64_t at, size_t n)
{
	struct piece *last = c->n ? &c->piece[c->n - 1] : NULL;
	c->covered += n;
	if (last && last->at + last->n == at && !strcmp(last->path, path)) {
		last->n += (uint32_t)n;
		return;
	}
	c->piece = xgrow(c->piece, c->n, &c->cap, sizeof *c->piece);
	c->piece[c->n++] = (struct piece){xstrdup(path), (uint32_t)at, (uint32_t)n};
}

/* --- the file --- */

static ssize_t read_at(int fd, unsigned char *p, size_t n, uint64_t off)
{
	size_t have = 0;
	while (have < n) {
		ssize_t got = pread(fd, p + have, n - have, (off_t)(off + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (!got)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

static bool all_zero(const unsigned char *p, size_t n)
{
	return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

/* What lies between the recorded regions must read as zeros; parts that are holes here need not be read. */
static bool gap_ok(int fd, uint64_t off, uint64_t end, const atomic_bool *cancel)
{
	unsigned char b[BLOCK];
	while (off < end && !(cancel && atomic_load(cancel))) {
		off_t data = lseek(fd, (off_t)off, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return true;
		off = data < 0 ? off : (uint64_t)data;
		if (off >= end)
			return true;
		size_t want = (size_t)MIN(end - off, (uint64_t)sizeof b);
		if (read_at(fd, b, want, off) != (ssize_t)want || !all_zero(b, want))
			return false;
		off += want;
	}
	return true;
}

static bool gaps_ok(int fd, const struct pax_entry *e, const atomic_bool *cancel)
{
	uint64_t at = 0;
	for (size_t i = 0; i < e->n_extents; i++) {
		if (!gap_ok(fd, at, e->extents[i].off, cancel))
			return false;
		at = e->extents[i].off + e->extents[i].len;
	}
	return !e->extents || gap_ok(fd, at, e->size, cancel);
}

int manifest_content(
        struct manifest *m, const char *path, int fd, const struct pax_entry *e, uint64_t off, struct err *err)
{
	struct content_pos pos = {.e = e};
	if (!gaps_ok(fd, e, m->o->cancel))
		manifest_wrong(m, path, "has data where a hole was recorded");
	for (uint64_t left = e->content_len; left;) {
		uint64_t at;
		if (m->o->cancel && atomic_load(m->o->cancel))
			return err_set(err, ERR_CANCELLED, "cancelled");
		int rc = chunk_at(m, off, err);
		if (rc)
			return rc;
		uint64_t room = m->cur.start + m->cur.length - off, in_chunk = off - m->cur.start;
		size_t n = content_run(&pos, MIN(room, left), &at);
		if (!n || read_at(fd, m->chunk + in_chunk, n, at) != (ssize_t)n) {
			manifest_wrong(m, path, "cannot be read to its end");
			return 0;
		}
		add_piece(&m->cur, path, in_chunk, n);
		m->ret->bytes += n;
		off += n;
		left -= n;
	}
	if (m->o->progress)
		m->o->progress(m->o->arg, m->ret->files, m->ret->bytes);
	return 0;
}

void manifest_content_release(struct manifest *m)
{
	clear(&m->cur);
	free(m->cur.piece);
	free(m->chunk);
	pack_coder_free(m->coder);
	list_cursor_free(m->cuts);
}
