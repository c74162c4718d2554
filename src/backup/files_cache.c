#include "backup/files_cache.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "backup/files_cache_int.h"
#include "base/tmp_file.h"

/* Holds any record: two paths and the fixed part. */
enum { WINDOW = 512 << 10 };
_Static_assert(WINDOW > 2 * LIST_PATH_MAX + CACHE_FIXED_LEN + 6, "a record fits the window");

struct window { /* what is left of a part, read in pieces */
	int fd;
	uint64_t off, size; /* off: in the part, of p[0] */
	size_t len;
	unsigned char *p;
};

char *cache_part_name(char out[CACHE_NAME_LEN], enum cache_part part, uint64_t tag)
{
	static const char *const names[CACHE_PARTS] = {"entries", "content", "lists"};
	snprintf(out, CACHE_NAME_LEN, CACHE_PREFIX "%s.%016llx", names[part], (unsigned long long)tag);
	return out;
}

void cache_place_copy(struct cache_place *to, const struct cache_place *from)
{
	memcpy(to, from, offsetof(struct cache_place, path));
	memcpy(to->path, from->path, from->n_path + 1);
	memcpy(to->link, from->link, from->n_link + 1);
}

/* --- opening --- */

static bool part_is_whole(int fd, const struct cache_part_ref *ref)
{
	struct stat st;
	unsigned char sum[SHA256_LEN];
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != ref->size)
		return false;
	CLEAN(free_ptr) unsigned char *p = xmalloc(WINDOW);
	CLEAN(sha256_free_ptr) struct sha256 *h = sha256_new();
	for (uint64_t at = 0; at < ref->size;) {
		size_t n = (size_t)MIN(ref->size - at, (uint64_t)WINDOW);
		struct err err;
		if (tmp_file_read(fd, p, n, at, &err))
			return false;
		sha256_update(h, p, n);
		at += n;
	}
	sha256_final(h, sum);
	return !memcmp(sum, ref->sum, sizeof(sum));
}

static bool head_read(struct cache_in *in, const char *dir, const unsigned char of[ID_LEN], uint32_t epoch)
{
	CLEAN(free_ptr) char *path = fs_join(dir, CACHE_HEAD);
	CLEAN(buf_release) struct buf b = BUF_INIT(CACHE_HEAD_LEN);
	unsigned char sum[SHA256_LEN];
	struct err err;
	if (fs_read(path, &b, &err) || b.len != CACHE_HEAD_LEN)
		return false;
	sha256_of(b.p, b.len - SHA256_LEN, sum);
	struct rd r = rd_init(b.p, b.len);
	const unsigned char *magic = rd_bytes(&r, 8);
	bool ok = !memcmp(magic, CACHE_MAGIC, 8) && !memcmp(sum, b.p + b.len - SHA256_LEN, SHA256_LEN) &&
	          rd_u32(&r) == epoch && !memcmp(rd_bytes(&r, ID_LEN), of, ID_LEN);
	if (!ok)
		return false;
	in->entries = rd_u64(&r);
	for (enum cache_part i = 0; i < CACHE_PARTS; i++) {
		in->part[i].tag = rd_u64(&r);
		in->part[i].size = rd_u64(&r);
		rd_copy(&r, in->part[i].sum, SHA256_LEN);
	}
	return rd_ok(&r);
}

struct cache_in *cache_in_open(const char *dir, const unsigned char of[ID_LEN], uint32_t epoch)
{
	struct cache_in *in = xcalloc(1, sizeof(*in));
	for (enum cache_part i = 0; i < CACHE_PARTS; i++)
		in->fd[i] = -1;
	bool ok = head_read(in, dir, of, epoch);
	for (enum cache_part i = 0; i < CACHE_PARTS && ok; i++) {
		char name[CACHE_NAME_LEN];
		CLEAN(free_ptr) char *path = fs_join(dir, cache_part_name(name, i, in->part[i].tag));
		in->fd[i] = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		ok = in->fd[i] >= 0 && part_is_whole(in->fd[i], &in->part[i]);
	}
	if (ok)
		return in;
	cache_in_free(in);
	return NULL;
}

void cache_in_free(struct cache_in *in)
{
	if (!in)
		return;
	for (enum cache_part i = 0; i < CACHE_PARTS; i++)
		close_fd(&in->fd[i]);
	free(in);
}

uint64_t cache_in_entries(const struct cache_in *in)
{
	return in->entries;
}

/* --- window --- */

static void window_init(struct window *w, const struct cache_in *in, enum cache_part part)
{
	*w = (struct window){.fd = in ? in->fd[part] : -1, .size = in ? in->part[part].size : 0};
	if (in)
		w->p = xmalloc(WINDOW);
}

/* Up to n bytes at off, fewer at the end of the part; NULL when they cannot be read. */
static const unsigned char *window_get(struct window *w, uint64_t off, size_t n, size_t *ret_n)
{
	n = (size_t)MIN((uint64_t)n, w->size - off);
	*ret_n = n;
	if (off < w->off || off + n > w->off + w->len) {
		struct err err;
		w->off = off;
		w->len = 0;
		size_t want = (size_t)MIN((uint64_t)WINDOW, w->size - off);
		if (tmp_file_read(w->fd, w->p, want, off, &err))
			return NULL;
		w->len = want;
	}
	return w->p + (off - w->off);
}

/* --- entries --- */

struct cache_cursor {
	const struct cache_in *in;
	struct window w;
	bool begun, end;
	struct cache_place at;
};

struct cache_cursor *cache_cursor_new(const struct cache_in *in)
{
	struct cache_cursor *c = xmalloc(sizeof(*c));
	memset(c, 0, offsetof(struct cache_cursor, at.path));
	c->at.path[0] = c->at.link[0] = '\0';
	c->in = in;
	window_init(&c->w, in, PART_ENTRIES);
	c->end = !in;
	return c;
}

void cache_cursor_free(struct cache_cursor *c)
{
	if (!c)
		return;
	free(c->w.p);
	free(c);
}

const struct cache_place *cache_cursor_at(const struct cache_cursor *c)
{
	return c->begun && !c->end ? &c->at : NULL;
}

void cache_cursor_set(struct cache_cursor *c, const struct cache_place *p)
{
	cache_place_copy(&c->at, p);
	c->begun = true;
	c->end = false;
}

static bool decode(struct rd *r, struct cache_place *p)
{
	size_t shared = rd_u16(r), n = rd_u16(r);
	const unsigned char *rest = rd_bytes(r, n);
	if (!rest || shared > p->n_path || shared + n > LIST_PATH_MAX)
		return false;
	memcpy(p->path + shared, rest, n);
	p->n_path = shared + n;
	p->path[p->n_path] = '\0';
	struct cached *e = &p->e;
	e->flags = rd_u8(r);
	e->mode = rd_u32(r);
	e->uid = rd_u32(r);
	e->gid = rd_u32(r);
	e->ino = rd_u64(r);
	e->size = rd_u64(r);
	e->mtime = (int64_t)rd_u64(r);
	e->ctime = (int64_t)rd_u64(r);
	e->content_len = rd_u64(r);
	e->rdev = rd_u64(r);
	p->n_link = rd_u16(r);
	rest = rd_bytes(r, p->n_link);
	if (!rest)
		return false;
	memcpy(p->link, rest, p->n_link);
	p->link[p->n_link] = '\0';
	return true;
}

const struct cache_place *cache_cursor_next(struct cache_cursor *c)
{
	struct cache_place *p = &c->at;
	uint64_t ordinal = c->begun ? p->ordinal + 1 : 0;
	if (c->end || ordinal >= c->in->entries || p->next >= c->w.size) {
		c->end = true;
		return NULL;
	}
	uint64_t pos = p->pos + (c->begun ? p->e.content_len : 0);
	size_t want = 2 * (size_t)LIST_PATH_MAX + CACHE_FIXED_LEN + 6, n;
	/* ask for little first: near the end of the window a whole record's worst case would read it all again */
	const unsigned char *bytes = NULL;
	for (size_t ask = 1024;; ask = want) {
		bytes = window_get(&c->w, p->next, ask, &n);
		struct rd r = bytes ? rd_init(bytes, n) : rd_init("", 0);
		size_t n_path = rd_u16(&r);
		n_path = rd_u16(&r);
		rd_bytes(&r, n_path + CACHE_FIXED_LEN);
		size_t n_link = rd_u16(&r);
		rd_bytes(&r, n_link);
		if (rd_ok(&r) || ask == want)
			break;
	}
	struct rd r = rd_init(bytes ? bytes : (const void *)"", bytes ? n : 0);
	c->end = !decode(&r, p);
	c->begun = true;
	p->ordinal = ordinal;
	p->pos = pos;
	p->next += n - r.left;
	return c->end ? NULL : p;
}

/* --- cuts --- */

struct cache_cuts {
	struct window w;
	enum stream_id stream;
	size_t item;   /* bytes of one */
	uint64_t next; /* offset */
	bool end;
	struct cache_chunk at;
};

struct cache_cuts *cache_cuts_new(const struct cache_in *in, enum stream_id stream)
{
	struct cache_cuts *c = xcalloc(1, sizeof(*c));
	c->stream = stream;
	c->item = stream == STREAM_CONTENT ? CACHE_CONTENT_LEN : CACHE_LIST_LEN;
	window_init(&c->w, in, stream == STREAM_CONTENT ? PART_CONTENT : PART_LISTS);
	return c;
}

void cache_cuts_free(struct cache_cuts *c)
{
	if (!c)
		return;
	free(c->w.p);
	free(c);
}

static bool cuts_next(struct cache_cuts *c)
{
	size_t n;
	struct cache_chunk *k = &c->at;
	if (c->w.size - c->next < c->item)
		return false;
	const unsigned char *p = window_get(&c->w, c->next, c->item, &n);
	if (!p)
		return false;
	struct rd r = rd_init(p, n);
	rd_copy(&r, k->cut.id, ID_LEN);
	uint32_t length = rd_u32(&r);
	k->forced = length & CACHE_FORCED;
	k->cut.length = length & ~CACHE_FORCED;
	if (c->stream == STREAM_ENTRIES) {
		k->cut.entries = rd_u64(&r);
		k->cut.content = rd_u64(&r);
	}
	uint64_t step = c->stream == STREAM_ENTRIES ? k->cut.entries : k->cut.length;
	k->start = k->end;
	c->next += c->item;
	return k->cut.length && step && !__builtin_add_overflow(k->start, step, &k->end);
}

const struct cache_chunk *cache_cuts_seek(struct cache_cuts *c, uint64_t at)
{
	while (!c->end && at >= c->at.end)
		c->end = !cuts_next(c);
	return c->end ? NULL : &c->at;
}
