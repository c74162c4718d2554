/*
 * Input: u8 mode; then either a tree (u8 height, u64 length, u64 entries, u64 content of the root; list chunks as u32
 * length and bytes, found by the first byte of an id), or items for a builder (u8 length, u8 path byte, u8 id byte
 * each) whose tree must give them back.
 */
#include "repo/list.h"

#include <string.h>
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CHUNKS_MAX = 256, STEPS_MAX = 2000 };

struct chest {
	struct {
		const unsigned char *p;
		size_t n;
	} chunk[CHUNKS_MAX];
	size_t n;
};

static int chest_get(void *arg, const unsigned char id[ID_LEN], uint64_t length, struct buf *out, struct err *err)
{
	const struct chest *c = arg;

	(void)length;
	if (!c->n)
		return err_set(err, ERR_MISSING, "no chunks");
	return buf_put(out, c->chunk[id[0] % c->n].p, c->chunk[id[0] % c->n].n, err);
}

static void walk(struct list_cursor *c)
{
	struct list_item it;
	struct err err;

	for (int i = 0; i < STEPS_MAX; i++) {
		int rc = list_cursor_next(c, &it, &err);

		if (rc == 1)
			BUG_ON(!it.length || it.length > CHUNK_PLAIN_MAX || it.n_path > LIST_PATH_MAX);
		else if (!rc)
			return;
		else
			BUG_ON(err.code != ERR_CORRUPT && err.code != ERR_MISSING && err.code != ERR_NOMEM);
	}
}

static void walk_tree(enum stream_id id, struct rd r)
{
	struct stream_root root = {.present = true, .height = rd_u8(&r)};
	struct chest chest = {0};
	struct list_cursor *c;
	struct err err;
	uint64_t a, b;

	root.length = rd_u64(&r);
	root.entries = rd_u64(&r);
	root.content = rd_u64(&r);
	while (rd_ok(&r) && r.left && chest.n < CHUNKS_MAX) {
		size_t n = rd_u32(&r);

		n = MIN(n, r.left);
		chest.chunk[chest.n].p = rd_bytes(&r, n);
		chest.chunk[chest.n++].n = n;
	}
	c = list_cursor_new(id, &root, chest_get, &chest);
	walk(c);
	if (!list_cursor_seek(c, root.length / 2, &a, &err))
		walk(c);
	if (id == STREAM_ENTRIES && !list_cursor_seek_path(c, "b/c", &a, &b, &err))
		walk(c);
	list_cursor_free(c);
}

/* --- builder --- */

static int keep(void *arg, const void *p, size_t n, unsigned char id[ID_LEN], struct err *err)
{
	struct chest *c = arg;
	unsigned char *copy;

	if (c->n == CHUNKS_MAX)
		return err_set(err, ERR_NOSPACE, "full");
	copy = xmalloc(n);
	memcpy(copy, p, n);
	memset(id, 0x55, ID_LEN);
	id[0] = (unsigned char)c->n;
	c->chunk[c->n].p = copy;
	c->chunk[c->n++].n = n;
	return 0;
}

static int get_kept(void *arg, const unsigned char id[ID_LEN], uint64_t length, struct buf *out, struct err *err)
{
	const struct chest *c = arg;

	(void)length;
	BUG_ON(id[0] >= c->n);
	return buf_put(out, c->chunk[id[0]].p, c->chunk[id[0]].n, err);
}

static void make_item(const uint8_t *from, struct list_item *it)
{
	*it = (struct list_item){.length = 1 + (uint64_t)from[0],
	        .entries = 1,
	        .content = from[1],
	        .path = (const char *)from + 1,
	        .n_path = 1};
	it->id[1] = from[2] & 3;
	it->id[0] = from[2];
}

static void check_same(
        enum stream_id id, const struct stream_root *root, struct chest *chest, const uint8_t *data, size_t n)
{
	struct list_cursor *c = list_cursor_new(id, root, get_kept, chest);
	struct list_item it, want;
	struct err err;

	for (size_t i = 0; i < n; i++) {
		make_item(data + 3 * i, &want);
		BUG_ON(list_cursor_next(c, &it, &err) != 1);
		BUG_ON(memcmp(it.id, want.id, ID_LEN) != 0 || it.length != want.length);
		BUG_ON(id == STREAM_ENTRIES && n > 1 && (it.n_path != 1 || it.path[0] != want.path[0]));
	}
	BUG_ON(list_cursor_next(c, &it, &err) != 0);
	list_cursor_free(c);
}

static void build_tree(enum stream_id id, const uint8_t *data, size_t size)
{
	struct chest chest = {0};
	struct list_builder *b = list_builder_new(id, keep, &chest);
	size_t n = size / 3, done = 0;
	struct stream_root root;
	struct list_item it;
	struct err err;

	while (done < n) {
		make_item(data + 3 * done, &it);
		if (list_builder_add(b, &it, &err))
			break;
		done++;
	}
	if (done == n && !list_builder_finish(b, &root, &err)) {
		BUG_ON(root.present != (n > 0));
		check_same(id, &root, &chest, data, n);
	}
	list_builder_free(b);
	for (size_t i = 0; i < chest.n; i++)
		free((void *)(uintptr_t)chest.chunk[i].p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] & 0x80)
		build_tree(data[0] % STREAM_COUNT, data + 1, size - 1);
	else
		walk_tree(data[0] % STREAM_COUNT, rd_init(data + 1, size - 1));
	return 0;
}
