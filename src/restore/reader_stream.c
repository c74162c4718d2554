/* Streams in order: chunks are fetched and opened ahead by the reader's workers; entries are records of one of them. */
#include "restore/reader_internal.h"

#include <string.h>

#define PLAN_MAX 1024 /* chunks looked ahead for their packs' sake, where packs are fetched ahead */

struct planned {
	unsigned char id[ID_LEN];
	uint32_t length;
	struct want *want;
};
struct reader_stream {
	struct reader *r;
	enum stream_id id;
	struct list_cursor *cursor;
	struct planned *plan; /* ring: behind the tasks */
	size_t n_plan, first, planned;
	struct task *task; /* ring */
	size_t n, head, count;
	atomic_bool closing;
	size_t used;       /* of the head's bytes */
	uint64_t pos, length;
	bool ended;        /* the cursor is at its end, or failed */
	struct err failed; /* told when all before it is read */
};

/* Ahead enough for every worker; bounded by n x 8 MiB, touched only as used. */
static size_t depth(const struct reader *r)
{
	return 2 * r->o.workers + 2;
}

int reader_stream_open(struct reader *r, enum stream_id id, const struct stream_root *root, uint64_t from, struct reader_stream **ret, struct err *err)
{
	struct reader_stream *s = xcalloc(1, sizeof *s);
	s->r = r;
	s->id = id;
	s->length = root->present ? root->length : 0;
	s->n = depth(r);
	s->task = xcalloc(s->n, sizeof *s->task);
	for (size_t i = 0; i < s->n; i++) {
		buf_init(&s->task[i].out, CHUNK_PLAIN_MAX);
		s->task[i].type = stream_chunk_type(id);
		s->task[i].urgent = id == STREAM_ENTRIES; /* small, and more work follows from them */
		s->task[i].skip = &s->closing;
	}
	s->n_plan = r->want ? PLAN_MAX : 1;
	s->plan = xcalloc(s->n_plan, sizeof *s->plan);
	if (root->present)
		s->cursor = list_cursor_new(id, root, reader_list_chunk, r);
	s->ended = !s->cursor;
	*ret = s;
	int rc = from ? reader_stream_skip(s, from, err) : 0;
	if (rc) {
		reader_stream_close(s);
		*ret = NULL;
	}
	return rc;
}

static void drop_head(struct reader_stream *s)
{
	s->head = (s->head + 1) % s->n;
	s->count--;
	s->used = 0;
}

/* All that is under way or planned. */
static void drop_all(struct reader_stream *s)
{
	for (; s->planned; s->planned--, s->first = (s->first + 1) % s->n_plan)
		reader_unwant(s->r, s->plan[s->first].want);
	atomic_store(&s->closing, true);
	for (; s->count; drop_head(s))
		reader_wait(s->r, &s->task[s->head]);
	atomic_store(&s->closing, false);
}

void reader_stream_close(struct reader_stream *s)
{
	if (!s)
		return;
	drop_all(s);
	free(s->plan);
	for (size_t i = 0; i < s->n; i++)
		buf_release(&s->task[i].out);
	free(s->task);
	list_cursor_free(s->cursor);
	free(s);
}

static void look_ahead(struct reader_stream *s)
{
	while (!s->ended && s->planned < s->n_plan) {
		struct list_item it;
		struct planned *p = &s->plan[(s->first + s->planned) % s->n_plan];
		int rc = list_cursor_next(s->cursor, &it, &s->failed);
		if (rc > 0 && (!it.length || it.length > CHUNK_PLAIN_MAX))
			rc = err_set(&s->failed, ERR_CORRUPT, "a list names a chunk of %llu bytes", (unsigned long long)it.length);
		s->ended = rc <= 0;
		if (s->ended)
			break;
		memcpy(p->id, it.id, ID_LEN);
		p->length = (uint32_t)it.length;
		p->want = reader_want(s->r, it.id);
		s->planned++;
	}
}

static void top_up(struct reader_stream *s)
{
	while (s->count < s->n) {
		look_ahead(s);
		if (!s->planned)
			break;
		struct task *t = &s->task[(s->head + s->count) % s->n];
		memcpy(t->id, s->plan[s->first].id, ID_LEN);
		t->length = s->plan[s->first].length;
		t->want = s->plan[s->first].want;
		s->first = (s->first + 1) % s->n_plan;
		s->planned--;
		reader_submit(s->r, t);
		s->count++;
	}
}

int reader_stream_next(struct reader_stream *s, size_t want, const unsigned char **ret_p, size_t *ret_n, struct err *err)
{
	*ret_n = 0;
	if (s->count && s->used == s->task[s->head].length)
		drop_head(s);
	top_up(s);
	if (!s->count) {
		*err = s->failed;
		return s->failed.code ? err_rc(err) : 0;
	}
	if (s->r->o.cancel && atomic_load(s->r->o.cancel))
		return err_set(err, ERR_CANCELLED, "cancelled");
	struct task *t = &s->task[s->head];
	reader_wait(s->r, t);
	if (t->err.code) {
		*err = t->err;
		return err_rc(err);
	}
	*ret_p = t->out.p + s->used;
	*ret_n = MIN(want, t->length - s->used);
	s->used += *ret_n;
	s->pos += *ret_n;
	return 0;
}

/* Forget what is queued and stand at `to`. */
static int seek_to(struct reader_stream *s, uint64_t to, struct err *err)
{
	uint64_t start;
	drop_all(s);
	if (!s->cursor) {
		s->pos = to;
		return 0;
	}
	int rc = list_cursor_seek(s->cursor, to, &start, err);
	if (rc)
		return rc;
	s->ended = false;
	s->failed = (struct err)ERR_INIT;
	s->pos = start;
	return 0;
}

int reader_stream_skip(struct reader_stream *s, uint64_t n, struct err *err)
{
	uint64_t to = s->pos + n, queued = 0;
	if (to > s->length || to < s->pos)
		return err_set(err, ERR_CORRUPT, "a stream of %llu bytes ends before %llu", (unsigned long long)s->length, (unsigned long long)to);
	for (size_t i = 0; i < s->count; i++)
		queued += s->task[(s->head + i) % s->n].length;
	int rc = n > queued - s->used ? seek_to(s, to, err) : 0;
	while (!rc && s->pos < to) {
		const unsigned char *p;
		size_t got;
		rc = reader_stream_next(s, (size_t)MIN(to - s->pos, (uint64_t)CHUNK_PLAIN_MAX), &p, &got, err);
		if (!rc && !got)
			rc = err_set(err, ERR_CORRUPT, "a stream ends before its lists say");
	}
	return rc;
}

/* --- entries --- */

struct reader_entries {
	struct reader_stream *s;
	uint64_t content;
	const unsigned char *p; /* current chunk, what is left of it */
	size_t n;
};

int reader_entries_open(struct reader *r, const struct snapshot *snap, const char *path, struct reader_entries **ret, struct err *err)
{
	const struct stream_root *root = &snap->facts.root[STREAM_ENTRIES];
	struct reader_entries *e = xcalloc(1, sizeof *e);
	int rc = reader_stream_open(r, STREAM_ENTRIES, root, 0, &e->s, err);
	if (!rc && path && root->present) {
		uint64_t entries;
		rc = list_cursor_seek_path(e->s->cursor, path, &entries, &e->content, err);
	}
	if (rc) {
		reader_entries_close(e);
		return rc;
	}
	*ret = e;
	return 0;
}

void reader_entries_close(struct reader_entries *e)
{
	if (!e)
		return;
	reader_stream_close(e->s);
	free(e);
}

/* Records end with their chunk, so one never spans two. */
int reader_entries_next(struct reader_entries *e, struct reader_entry *ret, struct err *err)
{
	if (!e->n) {
		int rc = reader_stream_next(e->s, CHUNK_PLAIN_MAX, &e->p, &e->n, err);
		if (rc)
			return rc;
		if (!e->n)
			return 0;
	}
	if (e->n < 12)
		return err_set(err, ERR_FORMAT, "an entry record is cut short");
	uint32_t len = get_u32(e->p);
	ret->content_len = get_u64(e->p + 4);
	if (len > e->n - 12 || !len)
		return err_set(err, ERR_FORMAT, "an entry record runs over its chunk");
	ret->header = e->p + 12;
	ret->n_header = len;
	ret->content_off = e->content;
	if (__builtin_add_overflow(e->content, ret->content_len, &e->content))
		return err_set(err, ERR_FORMAT, "content lengths overflow");
	e->p += 12 + (size_t)len;
	e->n -= 12 + (size_t)len;
	return 1;
}
