/*
 * Cache files of the index on this machine. A file is
 *
 *   "HFIXC1\n\0" ‖ u32 fan bits ‖ u32 0 ‖ u64 length of the plaintext ‖ salt 32 ‖ zeros to 64
 *   plaintext ‖ zeros to a multiple of 8 ‖ fan (u32 each) ‖ tag 16
 *
 * and the tag is AES-256-GCM's over all before it: a wrong pack in the index would put a wrong one into a snapshot's list, so
 * a file that rotted must not be believed. It is mapped as it stands, and nothing is computed when it is opened but the tag.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "crypto/crypto.h"
#include "repo/index_int.h"

#define HEAD_LEN 64u
#define SALT_AT 24u
#define FILE_MAX ((uint64_t)1 << 40)
static const unsigned char MAGIC[8] = {'H', 'F', 'I', 'X', 'C', '1', '\n', 0};

/* Where the parts of a file lie. */
struct layout {
	uint64_t plain, fan, tag, end;
};

static struct layout layout_of(uint64_t n_plain, unsigned bits)
{
	struct layout l = {.plain = HEAD_LEN, .fan = (HEAD_LEN + n_plain + 7) & ~UINT64_C(7)};

	l.tag = l.fan + fan_len(bits) * sizeof(uint32_t);
	l.end = l.tag + AEAD_TAG_LEN;
	return l;
}

/* Every file has a key of its own, so the nonce may be zero. */
static struct aead *file_aead(const struct secret *key, const unsigned char *salt)
{
	static const char info[] = "holdfast1 index cache";
	CLEAN(secret_release) struct secret k = {0};
	struct aead *a = aead_new();

	secret_init(&k, AEAD_KEY_LEN);
	hkdf(k.p, k.len, key->p, key->len, salt, SALT_LEN, info, sizeof info - 1);
	aead_key(a, k.p);
	return a;
}

/* --- writing --- */

/* A file whose plaintext is being written. */
struct cache_out {
	struct fs_draft d;
	struct buf b;
	uint64_t n; /* bytes of plaintext */
};

static void out_release(struct cache_out *o)
{
	fs_draft_release(&o->d);
	buf_release(&o->b);
}

static int out_flush(struct cache_out *o, struct err *err)
{
	if (fs_write_full(o->d.fd, o->b.p, o->b.len))
		return err_sys(err, ERR_IO, "write '%s'", o->d.path);
	buf_clear(&o->b);
	return 0;
}

static int out_put(void *arg, const void *p, size_t n, struct err *err)
{
	struct cache_out *o = arg;

	o->n += n;
	if (o->b.len + n > o->b.limit) {
		int rc = out_flush(o, err);

		if (rc)
			return rc;
		if (n > o->b.limit)
			return fs_write_full(o->d.fd, p, n) ? err_sys(err, ERR_IO, "write '%s'", o->d.path) : 0;
	}
	return buf_put(&o->b, p, n, err);
}

static int out_begin(struct cache_out *o, const char *path, struct err *err)
{
	static const unsigned char room[HEAD_LEN];
	int rc = fs_draft_open(&o->d, path, 0600, err);

	buf_init(&o->b, 1u << 20);
	if (!rc && fs_write_full(o->d.fd, room, sizeof room))
		rc = err_sys(err, ERR_IO, "write '%s'", path);
	return rc;
}

/* Head, fan and tag into the mapped file, whose plaintext is complete. */
static int fill_in(unsigned char *map, struct segment *s, const struct layout *l, const struct secret *key, struct err *err)
{
	static const unsigned char nonce[AEAD_NONCE_LEN];
	CLEAN(aead_free_ptr) struct aead *a = NULL;
	int rc = segment_check(s, err);

	if (rc)
		return rc;
	memcpy(map, MAGIC, sizeof MAGIC);
	put_u32(map + 8, s->fan_bits);
	put_u64(map + 16, s->n);
	rng_bytes(map + SALT_AT, SALT_LEN);
	fan_fill(s, s->fan_bits, (uint32_t *)(void *)(map + l->fan));
	a = file_aead(key, map + SALT_AT);
	aead_seal(a, nonce, map, l->tag, NULL, 0, map + l->tag);
	return 0;
}

static int out_commit(struct cache_out *o, uint32_t entries, const struct secret *key, struct err *err)
{
	struct segment s = {.name = (char *)o->d.path, .n = (size_t)o->n, .fan_bits = fan_bits_for(entries)};
	struct layout l = layout_of(o->n, s.fan_bits);
	int rc = out_flush(o, err);

	if (rc)
		return rc;
	/* Space is taken before it is written through the mapping, where a full disk would be a signal. */
	if (l.end > FILE_MAX || (rc = posix_fallocate(o->d.fd, 0, (off_t)l.end))) {
		errno = rc ? rc : EFBIG;
		return err_sys(err, ERR_IO, "write '%s'", o->d.path);
	}
	unsigned char *map = mmap(NULL, l.end, PROT_READ | PROT_WRITE, MAP_SHARED, o->d.fd, 0);

	if (map == MAP_FAILED)
		return err_sys(err, ERR_IO, "map '%s'", o->d.path);
	s.p = map + l.plain;
	rc = segment_parse(&s, err);
	if (!rc)
		rc = fill_in(map, &s, &l, key, err);
	munmap(map, l.end);
	return rc ? rc : fs_draft_commit(&o->d, err);
}

int index_cache_put(const char *path, const struct secret *key, const void *plaintext, size_t n, struct err *err)
{
	CLEAN(out_release) struct cache_out o = {.d = FS_DRAFT_INIT};
	int rc = n < INDEX_HEAD_LEN ? err_set(err, ERR_FORMAT, "index %s: cut short", path) : out_begin(&o, path, err);

	if (!rc)
		rc = out_put(&o, plaintext, n, err);
	return rc ? rc : out_commit(&o, get_u32((const unsigned char *)plaintext + 4), key, err);
}

int index_cache_merge(const struct index *ix, enum index_which which, const char *path, const struct secret *key, struct err *err)
{
	CLEAN(out_release) struct cache_out o = {.d = FS_DRAFT_INIT};
	unsigned char head[INDEX_HEAD_LEN] = {0};
	int rc = out_begin(&o, path, err);

	if (!rc)
		rc = out_put(&o, head, sizeof head, err);
	if (!rc)
		rc = index_merge_to(ix, which, out_put, &o, head, err);
	if (!rc && (rc = out_flush(&o, err)) == 0 && pwrite(o.d.fd, head, sizeof head, HEAD_LEN) != (ssize_t)sizeof head)
		rc = err_sys(err, ERR_IO, "write '%s'", path);
	return rc ? rc : out_commit(&o, get_u32(head + 4), key, err);
}

/* --- reading --- */

static int map_file(const char *path, struct segment *s, struct err *err)
{
	CLEAN(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return err_sys(err, ERR_IO, "%s", path);
	if (!S_ISREG(st.st_mode) || st.st_size < (off_t)(HEAD_LEN + AEAD_TAG_LEN) || (uint64_t)st.st_size > FILE_MAX)
		return err_set(err, ERR_CORRUPT, "%s: not an index cache", path);
	s->map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (s->map == MAP_FAILED) {
		s->map = NULL;
		return err_sys(err, ERR_IO, "%s", path);
	}
	s->n_map = (size_t)st.st_size;
	return 0;
}

/* Nothing of the file is believed before its tag is right. */
static int lay_out(struct segment *s, const struct secret *key, struct err *err)
{
	static const unsigned char nonce[AEAD_NONCE_LEN];
	CLEAN(aead_free_ptr) struct aead *a = NULL;
	unsigned char *map = s->map, none[1];
	struct layout l = {0};
	uint64_t n = get_u64(map + 16);

	s->fan_bits = get_u32(map + 8);
	if (!memcmp(map, MAGIC, sizeof MAGIC) && s->fan_bits <= 32 && n <= s->n_map)
		l = layout_of(n, s->fan_bits);
	if (l.end != s->n_map)
		return err_set(err, ERR_CORRUPT, "%s: not an index cache", s->name);
	a = file_aead(key, map + SALT_AT);
	if (aead_open(a, nonce, map, l.tag, map + l.tag, AEAD_TAG_LEN, none, err))
		return err_wrap(err, "%s", s->name);
	s->p = map + l.plain;
	s->n = (size_t)n;
	s->fan = (uint32_t *)(void *)(map + l.fan);
	return 0;
}

/* A file that merged others tells nothing new when all of them are there. */
static bool all_known(const struct index *ix, const struct index_names *replaced)
{
	for (size_t i = 0; i < replaced->n; i++)
		if (!index_has_segment(ix, replaced->name[i]))
			return false;
	return replaced->n > 0;
}

int index_add_cache(struct index *ix, const char *name, const char *path, const struct secret *key, struct err *err)
{
	CLEAN(index_names_release) struct index_names replaced = {0};
	struct segment s = {0};
	int rc;

	if (index_has_segment(ix, name))
		return 0;
	s.name = xstrdup(name);
	if (!(rc = map_file(path, &s, err)) && !(rc = lay_out(&s, key, err)) && !(rc = segment_parse(&s, err)) &&
	        !(rc = segment_replaced(&s, &replaced, err)) && !all_known(ix, &replaced) &&
	        !(rc = index_take(ix, &s, &replaced, err)))
		return 0;
	segment_release(&s);
	return rc;
}
