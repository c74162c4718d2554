#include "repo/list.h"

#include <string.h>
#include "base/mem.h"
#include "repo/list_int.h"

/* The cut rule of the format. */
enum { LIST_MIN = 64, LIST_MAX = 8192, LIST_CUT_MASK = 0x3ff };
#define LIST_CUT_BYTES (4u << 20)

/* A level's list that is not yet cut. */
struct level {
	struct buf text; /* header and items */
	uint32_t count;
	bool cut_before; /* lists of this level have been put already */
	uint64_t length, entries, content;
	size_t path_off, n_path; /* first path, within text */
	size_t id_off;           /* last item's id, within text */
};

struct list_builder {
	enum stream_id stream;
	list_put_fn put;
	void *arg;
	struct level level[LIST_HEIGHT_MAX];
};

int path_walk_cmp(const char *a, size_t na, const char *b, size_t nb)
{
	size_t n = MIN(na, nb), i = 0;

	while (i < n && a[i] == b[i])
		i++;
	if (i == n)
		return na < nb ? -1 : na > nb;
	if (a[i] == '/' || b[i] == '/')
		return a[i] == '/' ? -1 : 1;
	return (unsigned char)a[i] < (unsigned char)b[i] ? -1 : 1;
}

struct list_builder *list_builder_new(enum stream_id stream, list_put_fn put, void *arg)
{
	struct list_builder *b = xcalloc(1, sizeof *b);

	b->stream = stream;
	b->put = put;
	b->arg = arg;
	for (unsigned i = 0; i < LIST_HEIGHT_MAX; i++)
		buf_init(&b->level[i].text, CHUNK_PLAIN_MAX);
	return b;
}

void list_builder_free(struct list_builder *b)
{
	if (!b)
		return;
	for (unsigned i = 0; i < LIST_HEIGHT_MAX; i++)
		buf_release(&b->level[i].text);
	free(b);
}

static int append_item(
        struct level *l, enum stream_id stream, unsigned height, const struct list_item *it, struct err *err)
{
	bool entries = stream == STREAM_ENTRIES;
	int rc = buf_reserve(&l->text, LIST_HEAD_LEN + LIST_ITEM_LEN + 16 + 2 + it->n_path, err);

	if (rc)
		return rc;
	if (__builtin_add_overflow(l->length, it->length, &l->length) ||
	        (entries && (__builtin_add_overflow(l->entries, it->entries, &l->entries) ||
	                            __builtin_add_overflow(l->content, it->content, &l->content))))
		return err_set(err, ERR_FORMAT, "stream longer than 2^64 bytes");
	if (!l->count)
		buf_add(&l->text,
		        (unsigned char[LIST_HEAD_LEN]){(unsigned char)stream_chunk_type(stream), (unsigned char)height},
		        LIST_HEAD_LEN);
	l->id_off = l->text.len;
	buf_add(&l->text, it->id, ID_LEN);
	buf_add(&l->text, &it->length, 8);
	if (entries) {
		buf_add(&l->text, &it->entries, 8);
		buf_add(&l->text, &it->content, 8);
		format_text(&l->text, it->path, it->n_path);
		if (!l->count) {
			l->path_off = l->text.len - it->n_path;
			l->n_path = it->n_path;
		}
	}
	l->count++;
	return 0;
}

static bool cut_here(const struct level *l)
{
	if (l->count >= LIST_MAX || l->text.len >= LIST_CUT_BYTES)
		return true;
	return l->count >= LIST_MIN && !(get_u16(l->text.p + l->id_off) & LIST_CUT_MASK);
}

static int add_at(struct list_builder *b, unsigned height, const struct list_item *it, struct err *err);

/* Put the level's list and enter it one level up. */
static int flush_level(struct list_builder *b, unsigned height, struct err *err)
{
	struct level *l = &b->level[height];
	struct list_item up = {.length = l->length, .entries = l->entries, .content = l->content};
	int rc;

	put_u32(l->text.p + 4, l->count);
	rc = b->put(b->arg, l->text.p, l->text.len, up.id, err);
	if (rc)
		return rc;
	up.path = (const char *)l->text.p + l->path_off;
	up.n_path = l->n_path;
	rc = add_at(b, height + 1, &up, err);
	if (rc)
		return rc;
	buf_clear(&l->text);
	l->count = 0;
	l->length = l->entries = l->content = 0;
	l->n_path = l->path_off = 0;
	l->cut_before = true;
	return 0;
}

static int add_at(struct list_builder *b, unsigned height, const struct list_item *it, struct err *err)
{
	int rc;

	if (height >= LIST_HEIGHT_MAX)
		return err_set(err, ERR_NOMEM, "list tree higher than %d", LIST_HEIGHT_MAX);
	rc = append_item(&b->level[height], b->stream, height, it, err);
	return rc || !cut_here(&b->level[height]) ? rc : flush_level(b, height, err);
}

int list_builder_add(struct list_builder *b, const struct list_item *it, struct err *err)
{
	if (!it->length || it->length > CHUNK_PLAIN_MAX)
		return err_set(err, ERR_FORMAT, "chunk of %llu bytes", (unsigned long long)it->length);
	if (b->stream == STREAM_ENTRIES && (!it->entries || it->entries > it->length))
		return err_set(err, ERR_FORMAT, "chunk of %llu entries", (unsigned long long)it->entries);
	if (b->stream == STREAM_ENTRIES && it->n_path > LIST_PATH_MAX)
		return err_set(err, ERR_FORMAT, "path of %zu bytes", it->n_path);
	return add_at(b, 0, it, err);
}

int list_builder_finish(struct list_builder *b, struct stream_root *root, struct err *err)
{
	*root = (struct stream_root){0};
	for (unsigned h = 0; h < LIST_HEIGHT_MAX; h++) {
		struct level *l = &b->level[h];
		int rc;

		if (l->count == 1 && !l->cut_before) {
			*root = (struct stream_root){true, {0}, h, l->length, l->entries, l->content};
			memcpy(root->id, l->text.p + l->id_off, ID_LEN);
			return 0;
		}
		if (l->count && (rc = flush_level(b, h, err)))
			return rc;
		if (!h && !l->cut_before)
			return 0;
	}
	return err_set(err, ERR_NOMEM, "list tree higher than %d", LIST_HEIGHT_MAX);
}
