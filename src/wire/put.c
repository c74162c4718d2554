/* A put, from the side that has the store: the whole object is here, and is what its name says, before the store sees
 * any of it. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "wire/internal.h"
#include "base/fs.h"
#include "base/str.h"
#include "crypto/crypto.h"

#define SPOOL_STEP ((uint64_t)8 << 20)
#define SHARED_BLOCK ((size_t)64 << 10)

/* Small pieces are gathered, so that many of them take no more memory than their bytes. */
static void keep(struct body *b, struct block *piece)
{
	struct block *last = b->n ? b->block[b->n - 1] : NULL;

	if (last && last->cap - last->n >= piece->n) {
		memcpy(last->p + last->n, piece->p, piece->n);
		last->n += piece->n;
		free(piece);
		return;
	}
	if (piece->cap > 2 * piece->n) {
		struct block *shared = block_new(MAX(piece->n, SHARED_BLOCK));

		memcpy(shared->p, piece->p, piece->n);
		shared->n = piece->n;
		free(piece);
		piece = shared;
	}
	b->block = xgrow(b->block, b->n, &b->cap, sizeof *b->block);
	b->block[b->n++] = piece;
}

bool wire_key_digest(const char *key, unsigned char ret[SHA256_LEN])
{
	const char *slash = strrchr(key, '/'), *name = slash ? slash + 1 : key;

	if (str_starts(key, "b/")) /* the digest is that of the object it is about */
		return false;
	if (str_starts(name, "m."))
		name += 2;
	return strlen(name) == 2 * SHA256_LEN && hex_decode(ret, SHA256_LEN, name);
}

static int check(struct sha256 *h, const char *key, const unsigned char want[SHA256_LEN], struct err *err)
{
	unsigned char got[SHA256_LEN];

	sha256_final(h, got);
	if (memcmp(got, want, sizeof got) == 0)
		return 0;
	return err_set(err, ERR_CORRUPT, "what arrived for %s has another digest than its name", key);
}

/* --- to the store --- */

struct target {
	struct served *at;
	struct store *s;
	const char *key;
};

static int put_pieces(const struct target *t, const struct store_piece *piece, size_t n, struct err *err)
{
	const struct store_src src = {piece, n};
	bool alone = !(t->s->caps & STORE_THREADSAFE);

	if (alone)
		pthread_mutex_lock(&t->at->one);
	int rc = t->s->ops->put(t->s, t->key, &src, err);

	if (alone)
		pthread_mutex_unlock(&t->at->one);
	return rc;
}

static int put_kept(const struct target *t, const struct body *b, struct err *err)
{
	CLEAN(free_ptr) struct store_piece *piece = xcalloc(b->n + 1, sizeof *piece);

	for (size_t i = 0; i < b->n; i++)
		piece[i] = (struct store_piece){b->block[i]->p, b->block[i]->n};
	return put_pieces(t, piece, b->n, err);
}

static int put_spooled(const struct target *t, int fd, uint64_t n, struct err *err)
{
	void *p = mmap(NULL, (size_t)n, PROT_READ, MAP_PRIVATE, fd, 0);

	if (p == MAP_FAILED)
		return err_sys(err, ERR_IO, "cannot map the spooled object");
	const struct store_piece piece = {p, (size_t)n};
	int rc = put_pieces(t, &piece, 1, err);

	(void)munmap(p, (size_t)n);
	return rc;
}

/* --- from the wire --- */

static int open_spool(struct request *r, int *ret, struct err *err)
{
	const char *dir = r->w->spool;

	if (!dir)
		return err_set(err, ERR_NOMEM, "an object of %llu bytes is too large here", (unsigned long long)r->ask.body);
	*ret = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return *ret < 0 ? err_sys(err, ERR_IO, "cannot make a file in %s", dir) : 0;
}

/* All that comes, into b or the spool, and through h (NULL: no digest is promised). */
static int collect(struct request *r, const char *key, struct body *b, int spool, struct sha256 *h, struct err *err)
{
	uint64_t n = r->ask.body;
	int rc = n > FIRST_BODY ? request_allow(r, n > KEPT_MAX ? SPOOL_STEP : n, err) : 0;

	while (!rc) {
		struct block *piece;

		rc = request_body(r, &piece, err);
		if (rc || !piece)
			break;
		size_t len = piece->n;

		if (h)
			sha256_update(h, piece->p, len);
		if (spool < 0) {
			keep(b, piece);
			continue;
		}
		if (fs_write_full(spool, piece->p, len) < 0)
			rc = err_sys(err, ERR_IO, "cannot spool %s", key);
		free(piece);
		if (!rc)
			rc = request_allow_again(r, len, err);
	}
	return rc;
}

int serve_put(struct request *r, struct served *at, struct store *s, const char *key, struct err *err)
{
	CLEAN(body_release) struct body b = {0};
	CLEAN(close_fd) int spool = -1;
	CLEAN(sha256_free_ptr) struct sha256 *h = NULL;
	const struct target to = {at, s, key};
	unsigned char want[SHA256_LEN];
	uint64_t n = r->ask.body;
	int rc = 0;

	if (n > STORE_OBJECT_MAX)
		return err_set(err, ERR_NOMEM, "an object of %llu bytes is too large", (unsigned long long)n);
	if (wire_key_digest(key, want))
		h = sha256_new();
	if (n > KEPT_MAX)
		rc = open_spool(r, &spool, err);
	if (!rc)
		rc = collect(r, key, &b, spool, h, err);
	if (!rc && h)
		rc = check(h, key, want, err);
	if (rc)
		return rc;
	if (h && r->brings) {
		held_keep(r, &b, want);
		return put_kept(&to, &r->brings->body, err);
	}
	return spool < 0 ? put_kept(&to, &b, err) : put_spooled(&to, spool, n, err);
}

int serve_same(struct request *r, struct served *at, struct store *s, const char *key, uint32_t id, struct buf *result,
        struct err *err)
{
	const struct target to = {at, s, key};
	unsigned char want[SHA256_LEN];
	struct held *h = NULL;

	if (!wire_key_digest(key, want))
		return err_set(err, ERR_FORMAT, "%s promises no digest", key);
	int rc = held_take(r, id, &h, err);

	if (rc)
		return rc;
	enc_u8(result, h != NULL);
	if (!h)
		return 0;
	rc = memcmp(h->digest, want, sizeof want) ? err_set(err, ERR_CORRUPT, "what request %u brought is not what %s promises", id, key)
	                                          : put_kept(&to, &h->body, err);
	held_give(r, h);
	return rc;
}
