#include "backup/files_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/rng.h"
#include "base/str.h"
#include "backup/files_cache_int.h"
#include "base/tmp_file.h"

enum { PART_BUF = 256 << 10 };

struct out_part {
	int fd; /* -1: not begun */
	char *path;
	struct cache_part_ref ref;
	struct sha256 *hash;
	struct buf b;
};
struct cache_out {
	const char *dir;
	const struct cache_in *in;
	struct out_part part[CACHE_PARTS];
	uint64_t entries;
	bool same;         /* so far every entry is that of `in` */
	uint64_t same_end; /* what of its entries part that covers */
	bool spoiled;
	struct err err; /* first failure */
	size_t n_prev;
	char prev[LIST_PATH_MAX + 1];
};

struct cache_out *cache_out_new(const char *dir, const struct cache_in *in)
{
	struct cache_out *o = xcalloc(1, sizeof(*o));
	o->dir = dir;
	o->in = in;
	o->same = in;
	for (enum cache_part i = 0; i < CACHE_PARTS; i++) {
		o->part[i].fd = -1;
		buf_init(&o->part[i].b, 2 * PART_BUF);
	}
	return o;
}

static void part_release(struct out_part *p)
{
	close_fd(&p->fd);
	if (p->path)
		unlink(p->path);
	free(p->path);
	p->path = NULL;
	sha256_free(p->hash);
	p->hash = NULL;
	buf_release(&p->b);
}

void cache_out_free(struct cache_out *o)
{
	if (!o)
		return;
	for (enum cache_part i = 0; i < CACHE_PARTS; i++)
		part_release(&o->part[i]);
	free(o);
}

void cache_out_spoil(struct cache_out *o)
{
	o->spoiled = true;
}

/* --- parts --- */

static bool part_open(struct cache_out *o, enum cache_part i)
{
	struct out_part *p = &o->part[i];
	char name[CACHE_NAME_LEN];
	if (o->err.code || !o->dir || p->fd >= 0)
		return !o->err.code && o->dir;
	rng_bytes(&p->ref.tag, sizeof(p->ref.tag));
	p->path = fs_join(o->dir, cache_part_name(name, i, p->ref.tag));
	p->fd = open(p->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	p->hash = sha256_new();
	if (p->fd < 0)
		err_sys(&o->err, ERR_IO, "make '%s'", p->path);
	return p->fd >= 0;
}

static void part_flush(struct cache_out *o, struct out_part *p)
{
	if (p->fd < 0 || o->err.code)
		return;
	sha256_update(p->hash, p->b.p, p->b.len);
	p->ref.size += p->b.len;
	if (fs_write_full(p->fd, p->b.p, p->b.len))
		err_sys(&o->err, ERR_IO, "write '%s'", p->path);
	buf_clear(&p->b);
}

static struct buf *part_room(struct cache_out *o, enum cache_part i)
{
	if (!part_open(o, i))
		return NULL;
	if (o->part[i].b.len >= PART_BUF)
		part_flush(o, &o->part[i]);
	return o->err.code ? NULL : &o->part[i].b;
}

/* --- entries --- */

void cache_encode(struct buf *out, const struct cached *e, const char *prev, size_t n_prev, const char *path,
        size_t n_path, const char *link, size_t n_link)
{
	unsigned char f[CACHE_FIXED_LEN + 2], head[4];
	size_t shared = 0, most = MIN(n_prev, n_path);
	while (shared < most && prev[shared] == path[shared])
		shared++;
	put_u16(head, (uint16_t)shared);
	put_u16(head + 2, (uint16_t)(n_path - shared));
	f[0] = (unsigned char)e->flags;
	put_u32(f + 1, e->mode);
	put_u32(f + 5, e->uid);
	put_u32(f + 9, e->gid);
	put_u64(f + 13, e->ino);
	put_u64(f + 21, e->size);
	put_u64(f + 29, (uint64_t)e->mtime);
	put_u64(f + 37, (uint64_t)e->ctime);
	put_u64(f + 45, e->content_len);
	put_u64(f + 53, e->rdev);
	put_u16(f + 61, (uint16_t)n_link);
	buf_add(out, head, sizeof(head));
	buf_add(out, path + shared, n_path - shared);
	buf_add(out, f, sizeof(f));
	if (n_link)
		buf_add(out, link, n_link);
}

/* The first difference: what was the same so far is copied. */
static void differ(struct cache_out *o)
{
	if (!o->same)
		return;
	o->same = false;
	CLEAN(free_ptr) unsigned char *p = xmalloc(PART_BUF);
	for (uint64_t at = 0; at < o->same_end && !o->err.code;) {
		size_t n = (size_t)MIN(o->same_end - at, (uint64_t)PART_BUF);
		struct buf *b = part_room(o, PART_ENTRIES);
		if (!b || tmp_file_read(o->in->fd[PART_ENTRIES], p, n, at, &o->err))
			return;
		buf_add(b, p, n);
		at += n;
	}
}

static void put_record(
        struct cache_out *o, const struct cached *e, const char *path, size_t n_path, const char *link, size_t n_link)
{
	struct buf *b = part_room(o, PART_ENTRIES);
	if (b)
		cache_encode(b, e, o->prev, o->n_prev, path, n_path, link, n_link);
}

static void count(struct cache_out *o, const char *path, size_t n_path)
{
	memcpy(o->prev, path, n_path + 1);
	o->n_prev = n_path;
	o->entries++;
}

void cache_out_same(struct cache_out *o, const struct cache_place *p)
{
	if (o->same && p->ordinal == o->entries) {
		o->same_end = p->next;
	} else {
		differ(o);
		put_record(o, &p->e, p->path, p->n_path, p->link, p->n_link);
	}
	count(o, p->path, p->n_path);
}

void cache_out_put(
        struct cache_out *o, const struct cached *e, const char *path, size_t n_path, const char *link, size_t n_link)
{
	differ(o);
	put_record(o, e, path, n_path, link, link ? n_link : 0);
	count(o, path, n_path);
}

void cache_out_cut(struct cache_out *o, enum stream_id stream, const struct writer_cut *c, bool forced)
{
	unsigned char item[CACHE_LIST_LEN];
	bool content = stream == STREAM_CONTENT;
	struct buf *b = part_room(o, content ? PART_CONTENT : PART_LISTS);
	if (!b)
		return;
	memcpy(item, c->id, ID_LEN);
	put_u32(item + ID_LEN, (uint32_t)c->length | (forced ? CACHE_FORCED : 0));
	put_u64(item + ID_LEN + 4, c->entries);
	put_u64(item + ID_LEN + 12, c->content);
	buf_add(b, item, content ? CACHE_CONTENT_LEN : CACHE_LIST_LEN);
}

/* --- keeping --- */

static void sweep(const char *dir, const struct cache_part_ref keep[CACHE_PARTS])
{
	DIR *d = opendir(dir);
	struct dirent *e;
	if (!d)
		return;
	while ((e = readdir(d))) {
		char name[CACHE_NAME_LEN];
		bool wanted = !str_starts(e->d_name, CACHE_PREFIX) || str_eq(e->d_name, CACHE_HEAD);
		for (enum cache_part i = 0; i < CACHE_PARTS && !wanted; i++)
			wanted = str_eq(e->d_name, cache_part_name(name, i, keep[i].tag));
		if (!wanted)
			unlinkat(dirfd(d), e->d_name, 0);
	}
	closedir(d);
}

/* Every part is written out, or is that of the old cache. */
static void finish(struct cache_out *o, struct cache_part_ref ref[CACHE_PARTS])
{
	bool same = o->same && o->entries == o->in->entries;
	if (!same)
		differ(o);
	for (enum cache_part i = 0; i < CACHE_PARTS; i++) {
		struct out_part *p = &o->part[i];
		if (i == PART_ENTRIES && same) {
			ref[i] = o->in->part[i];
			continue;
		}
		if (!part_open(o, i))
			return;
		part_flush(o, p);
		sha256_final(p->hash, p->ref.sum);
		ref[i] = p->ref;
		const struct cache_part_ref *old = o->in ? &o->in->part[i] : NULL;
		if (old && old->size == p->ref.size && !memcmp(old->sum, p->ref.sum, SHA256_LEN))
			ref[i] = *old;
	}
}

static int put_head(const struct cache_out *o, const unsigned char digest[ID_LEN], uint32_t epoch,
        const struct cache_part_ref ref[CACHE_PARTS], struct err *err)
{
	CLEAN(free_ptr) char *path = fs_join(o->dir, CACHE_HEAD);
	CLEAN(buf_release) struct buf b = BUF_INIT(CACHE_HEAD_LEN);
	unsigned char n[8], sum[SHA256_LEN];
	buf_add(&b, CACHE_MAGIC, 8);
	put_u32(n, epoch);
	buf_add(&b, n, 4);
	buf_add(&b, digest, ID_LEN);
	put_u64(n, o->entries);
	buf_add(&b, n, 8);
	for (enum cache_part i = 0; i < CACHE_PARTS; i++) {
		put_u64(n, ref[i].tag);
		buf_add(&b, n, 8);
		put_u64(n, ref[i].size);
		buf_add(&b, n, 8);
		buf_add(&b, ref[i].sum, SHA256_LEN);
	}
	sha256_of(b.p, b.len, sum);
	buf_add(&b, sum, sizeof(sum));
	return fs_replace(path, b.p, b.len, 0600, err);
}

int cache_out_keep(struct cache_out *o, const unsigned char digest[ID_LEN], uint32_t epoch, struct err *err)
{
	struct cache_part_ref ref[CACHE_PARTS] = {0};
	if (!o->dir || o->spoiled)
		return 0;
	if (!o->err.code)
		finish(o, ref);
	if (o->err.code) {
		if (err)
			*err = o->err;
		return err_rc(&o->err);
	}
	int rc = put_head(o, digest, epoch, ref, err);
	if (rc)
		return rc;
	for (enum cache_part i = 0; i < CACHE_PARTS; i++)
		if (o->part[i].path && ref[i].tag == o->part[i].ref.tag) {
			free(o->part[i].path); /* it stays */
			o->part[i].path = NULL;
		}
	sweep(o->dir, ref);
	return 0;
}
