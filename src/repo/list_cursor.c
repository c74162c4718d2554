#include <string.h>
#include "base/mem.h"
#include "repo/list_int.h"

/* A list that was loaded and checked against what its parent says of it. */
struct frame {
	struct buf text;
	bool loaded;
	struct list_item claim; /* path not kept */
	uint32_t count, next;
	struct rd rd; /* behind the items given out */
};

struct list_cursor {
	enum stream_id stream;
	struct stream_root root;
	list_get_fn get;
	void *arg;
	void (*on_list)(void *arg, const unsigned char id[ID_LEN]);
	void *on_list_arg;
	/* frame[0] is the root list, frame[depth - 1] the one whose items are given out; its level is root.height -
	 * depth. */
	struct frame frame[LIST_HEIGHT_MAX];
	unsigned depth;
	bool at_root; /* nothing was taken since the start */
};

struct list_cursor *list_cursor_new(enum stream_id stream, const struct stream_root *root, list_get_fn get, void *arg)
{
	struct list_cursor *c = xcalloc(1, sizeof *c);

	c->stream = stream;
	c->root = *root;
	c->get = get;
	c->arg = arg;
	c->at_root = true;
	for (unsigned i = 0; i < LIST_HEIGHT_MAX; i++)
		buf_init(&c->frame[i].text, CHUNK_PLAIN_MAX);
	return c;
}

void list_cursor_free(struct list_cursor *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < LIST_HEIGHT_MAX; i++)
		buf_release(&c->frame[i].text);
	free(c);
}

void list_cursor_on_list(struct list_cursor *c, void (*fn)(void *arg, const unsigned char id[ID_LEN]), void *arg)
{
	c->on_list = fn;
	c->on_list_arg = arg;
}

static bool read_item(struct rd *r, enum stream_id stream, struct list_item *it)
{
	*it = (struct list_item){.path = ""};
	rd_copy(r, it->id, ID_LEN);
	it->length = rd_u64(r);
	if (stream == STREAM_ENTRIES) {
		const unsigned char *path;

		it->entries = rd_u64(r);
		it->content = rd_u64(r);
		path = format_text_rd(r, LIST_PATH_MAX, &it->n_path);
		it->path = path ? (const char *)path : "";
	}
	return rd_ok(r);
}

static bool item_ok(const struct list_item *it, enum stream_id stream, unsigned level)
{
	if (!it->length || (!level && it->length > CHUNK_PLAIN_MAX))
		return false;
	return stream != STREAM_ENTRIES || (it->entries >= 1 && it->entries <= it->length);
}

/* All items: their number, bounds and sums must be those the parent claims. */
static int check_list(const struct buf *text, const struct list_item *claim, enum stream_id stream, unsigned level,
        struct err *err)
{
	struct rd r = rd_init(text->p, text->len);
	uint64_t length = 0, entries = 0, content = 0;
	unsigned char head[4];
	uint32_t count;

	rd_copy(&r, head, sizeof head);
	count = rd_u32(&r);
	if (!rd_ok(&r) || head[0] != stream_chunk_type(stream) || head[1] != level || head[2] || head[3] || !count)
		return err_set(err, ERR_CORRUPT, "list of another stream or level than its parent says");
	for (uint32_t i = 0; i < count; i++) {
		struct list_item it;

		if (!read_item(&r, stream, &it))
			return err_set(err, ERR_CORRUPT, "list is cut short at item %u of %u", i, count);
		if (!item_ok(&it, stream, level) || __builtin_add_overflow(length, it.length, &length) ||
		        __builtin_add_overflow(entries, it.entries, &entries) ||
		        __builtin_add_overflow(content, it.content, &content))
			return err_set(err, ERR_CORRUPT, "list item %u is out of range", i);
	}
	if (!rd_end(&r))
		return err_set(err, ERR_CORRUPT, "list has bytes left over");
	if (length != claim->length || entries != claim->entries || content != claim->content)
		return err_set(err, ERR_CORRUPT, "sums of a list are not those its parent says");
	return 0;
}

int list_each(enum stream_id stream, unsigned level, const struct list_item *claim, const struct buf *text, list_item_fn fn,
        void *arg, struct err *err)
{
	int rc = check_list(text, claim, stream, level, err);
	struct rd r = rd_init(text->p, text->len);

	rd_bytes(&r, LIST_HEAD_LEN);
	for (bool first = true; !rc && r.left; first = false) {
		struct list_item it;

		BUG_ON(!read_item(&r, stream, &it));
		if (first && claim->path && (it.n_path != claim->n_path || memcmp(it.path, claim->path, it.n_path) != 0))
			return err_set(err, ERR_CORRUPT, "list begins with another path than its parent says");
		rc = fn(arg, &it, err);
	}
	return rc;
}

static bool same_claim(const struct list_item *a, const struct list_item *b)
{
	return !memcmp(a->id, b->id, ID_LEN) && a->length == b->length && a->entries == b->entries &&
	       a->content == b->content;
}

static void rewind_frame(struct frame *f)
{
	f->rd = rd_init(f->text.p + LIST_HEAD_LEN, f->text.len - LIST_HEAD_LEN);
	f->next = 0;
}

/* Next item of the innermost list; false at its end. */
static bool take(struct frame *f, enum stream_id stream, struct list_item *it)
{
	if (f->next >= f->count)
		return false;
	f->next++;
	BUG_ON(!read_item(&f->rd, stream, it));
	return true;
}

static int load(struct list_cursor *c, struct frame *f, const struct list_item *it, struct err *err)
{
	int rc;

	f->loaded = false;
	f->claim = *it;
	f->claim.path = NULL;
	buf_clear(&f->text);
	rc = c->get(c->arg, it->id, it->length, &f->text, err);
	if (rc)
		return rc;
	if (c->on_list)
		c->on_list(c->on_list_arg, it->id);
	rc = check_list(&f->text, &f->claim, c->stream, c->root.height - 1 - c->depth, err);
	if (rc)
		return rc;
	f->count = get_u32(f->text.p + 4);
	f->loaded = true;
	return 0;
}

/* Go down into the list that `it` names; one still loaded from before is not fetched again. A root has no path to
 * compare. */
static int push(struct list_cursor *c, const struct list_item *it, struct err *err)
{
	struct frame *f;
	struct list_item first;
	int rc;

	BUG_ON(c->depth >= c->root.height);
	f = &c->frame[c->depth];
	if ((!f->loaded || !same_claim(&f->claim, it)) && (rc = load(c, f, it, err)))
		return rc;
	rewind_frame(f);
	BUG_ON(!take(f, c->stream, &first));
	if (c->depth && (first.n_path != it->n_path || memcmp(first.path, it->path, it->n_path) != 0))
		return err_set(err, ERR_CORRUPT, "list begins with another path than its parent says");
	rewind_frame(f);
	c->depth++;
	return 0;
}

static void root_item(const struct list_cursor *c, struct list_item *it)
{
	*it = (struct list_item){.length = c->root.length, .path = ""};
	if (c->stream == STREAM_ENTRIES) {
		it->entries = c->root.entries;
		it->content = c->root.content;
	}
	memcpy(it->id, c->root.id, ID_LEN);
}

/* To the start; with lists, into the root list. */
static int restart(struct list_cursor *c, struct err *err)
{
	struct list_item it;
	int rc;

	c->depth = 0;
	c->at_root = true;
	if (c->root.height > LIST_HEIGHT_MAX)
		return err_set(err, ERR_CORRUPT, "list tree of height %u", c->root.height);
	if (!c->root.present || !c->root.height)
		return 0;
	root_item(c, &it);
	rc = push(c, &it, err);
	c->at_root = rc != 0;
	return rc;
}

int list_cursor_next(struct list_cursor *c, struct list_item *it, struct err *err)
{
	int rc;

	if (!c->root.present)
		return 0;
	if (!c->root.height) {
		if (!c->at_root)
			return 0;
		root_item(c, it);
		if (!item_ok(it, c->stream, 0))
			return err_set(err, ERR_CORRUPT, "root chunk is out of range");
		c->at_root = false;
		return 1;
	}
	if (c->at_root && (rc = restart(c, err)))
		return rc;
	while (c->depth) {
		if (!take(&c->frame[c->depth - 1], c->stream, it)) {
			c->depth--;
			continue;
		}
		if (c->depth == c->root.height)
			return 1;
		rc = push(c, it, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* Skip items of the innermost list that end at or before off. False when none holds it. */
static bool skip_to(struct frame *f, enum stream_id stream, uint64_t off, uint64_t *start, struct list_item *it)
{
	for (;;) {
		struct rd before = f->rd;

		if (!take(f, stream, it))
			return false;
		if (off - *start < it->length) {
			f->rd = before;
			f->next--;
			return true;
		}
		*start += it->length;
	}
}

int list_cursor_seek(struct list_cursor *c, uint64_t off, uint64_t *ret_start, struct err *err)
{
	struct list_item it;
	int rc;

	*ret_start = 0;
	rc = restart(c, err);
	if (rc || !c->root.present)
		return rc;
	if (off >= c->root.length) {
		c->depth = 0;
		c->at_root = false;
		*ret_start = c->root.length;
		return 0;
	}
	while (c->depth) {
		struct frame *f = &c->frame[c->depth - 1];

		/* Sums were checked: some item holds it. */
		BUG_ON(!skip_to(f, c->stream, off, ret_start, &it));
		if (c->depth == c->root.height)
			break;
		BUG_ON(!take(f, c->stream, &it));
		rc = push(c, &it, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* Skip to the last item whose first path is not behind path (the first item when all are), adding up what lies before.
 */
static void skip_to_path(struct frame *f, const char *path, uint64_t *entries, uint64_t *content, struct list_item *it)
{
	struct list_item next;
	struct rd before = f->rd;

	BUG_ON(!take(f, STREAM_ENTRIES, it));
	for (;;) {
		struct rd here = f->rd;

		if (!take(f, STREAM_ENTRIES, &next))
			break;
		if (path_walk_cmp(next.path, next.n_path, path, strlen(path)) > 0) {
			f->next--;
			break;
		}
		*entries += it->entries;
		*content += it->content;
		*it = next;
		before = here;
	}
	f->rd = before;
	f->next--;
}

int list_cursor_seek_path(
        struct list_cursor *c, const char *path, uint64_t *ret_entries, uint64_t *ret_content, struct err *err)
{
	struct list_item it;
	int rc;

	BUG_ON(c->stream != STREAM_ENTRIES);
	*ret_entries = *ret_content = 0;
	rc = restart(c, err);
	while (!rc && c->depth) {
		struct frame *f = &c->frame[c->depth - 1];

		skip_to_path(f, path, ret_entries, ret_content, &it);
		if (c->depth == c->root.height)
			break;
		BUG_ON(!take(f, c->stream, &it));
		rc = push(c, &it, err);
	}
	return rc;
}
