/* Packs from one site to the other: one thread reads ahead, the caller's writes. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/queue.h"
#include "base/str.h"
#include "backup/replicate_internal.h"
#include "store/site_object.h"

enum { AHEAD = 1, BEAT_PACKS = 16 };

/* --- where they lie --- */

static int at_cmp(const void *pa, const void *pb)
{
	const struct bring_at *a = pa, *b = pb;
	int order = memcmp(a->digest, b->digest, ID_LEN);

	return order ? order : strcmp(a->attempt, b->attempt);
}

int bring_list_packs(struct store *st, const char *source, struct bring_place *ret, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	int rc = store_list_all(st, key_fmt(prefix, "p/%s/", source), &k, err);

	if (rc)
		return rc;
	ret->v = xcalloc(k.n + 1, sizeof *ret->v);
	for (size_t i = 0; i < k.n; i++) {
		const char *rest = k.key[i] + strlen(prefix);
		struct bring_at *at = &ret->v[ret->n];

		if (strlen(rest) != NAME16 + 2 * ID_LEN || !hex_decode(at->digest, ID_LEN, rest + NAME16))
			continue;
		memcpy(at->attempt, rest, NAME16 - 1);
		ret->n++;
	}
	if (ret->n)
		qsort(ret->v, ret->n, sizeof *ret->v, at_cmp);
	return 0;
}

/* Those that follow with the same digest are copies of it. */
size_t bring_find_pack(const struct bring_place *p, const unsigned char digest[ID_LEN])
{
	size_t lo = 0, hi = p->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (memcmp(p->v[mid].digest, digest, ID_LEN) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < p->n && !memcmp(p->v[lo].digest, digest, ID_LEN) ? lo : p->n;
}

/* --- on their way --- */

struct fetched {
	unsigned char digest[ID_LEN];
	struct buf b;
	struct err err; /* why it could not be had */
};
struct fetcher {
	const struct bring *b;
	const struct pack_list *want;
	struct queue queue;
};

struct pack_bytes {
	const unsigned char *digest;
	struct buf *to;
};

static int accept_pack(void *arg, const void *p, size_t n, struct err *err)
{
	struct pack_bytes *k = arg;
	unsigned char have[ID_LEN];

	sha256_of(p, n, have);
	if (memcmp(have, k->digest, ID_LEN) != 0)
		return err_set(err, ERR_CORRUPT, "its bytes are not those its name says");
	buf_clear(k->to);
	return buf_put(k->to, p, n, err);
}

/* Overwritten or removed under a name that the site still lists: a version from before. */
static int fetch_older(const struct bring *b, const unsigned char digest[ID_LEN], struct buf *out)
{
	struct pack_bytes k = {digest, out};
	struct err why = ERR_INIT;
	char key[STORE_KEY_MAX + 1];
	int rc = -ERR_MISSING;

	for (size_t i = bring_find_pack(&b->at, digest);
	        rc && i < b->at.n && !memcmp(b->at.v[i].digest, digest, ID_LEN); i++)
		rc = site_object_instead(b->from, key_pack(key, b->source, b->at.v[i].attempt, digest), true, PACK_MAX,
		        accept_pack, &k, &why);
	return rc;
}

static int fetch_one(const struct bring *b, const unsigned char digest[ID_LEN], struct buf *out, struct err *err)
{
	char key[STORE_KEY_MAX + 1], hex[HEX_LEN];
	int rc;

	hex_encode(hex, digest, ID_LEN);
	rc = err_set(err, ERR_MISSING, "site %s: pack %s is named by a committed snapshot and is not there",
	        b->from->name, hex);
	for (size_t i = bring_find_pack(&b->at, digest);
	        rc && i < b->at.n && !memcmp(b->at.v[i].digest, digest, ID_LEN); i++) {
		unsigned char have[ID_LEN];

		buf_clear(out);
		rc = store_get(b->from, key_pack(key, b->source, b->at.v[i].attempt, digest), out, err);
		if (rc)
			continue;
		sha256_of(out->p, out->len, have);
		if (memcmp(have, digest, ID_LEN) != 0)
			rc = err_set(err, ERR_CORRUPT, "site %s: %s: its bytes are not those its name says",
			        b->from->name, key);
	}
	if (rc && b->from->caps & STORE_VERSIONS)
		rc = fetch_older(b, digest, out);
	if (!rc)
		*err = (struct err)ERR_INIT; /* of a place tried before */
	return rc;
}

static void fetched_free(struct fetched *f)
{
	if (!f)
		return;
	buf_release(&f->b);
	free(f);
}

static void *fetch_all(void *arg)
{
	struct fetcher *f = arg;

	for (size_t i = 0; i < f->want->n; i++) {
		struct fetched *one = xcalloc(1, sizeof *one);

		buf_init(&one->b, PACK_MAX);
		memcpy(one->digest, f->want->digest[i], ID_LEN);
		bool failed = fetch_one(f->b, one->digest, &one->b, &one->err) != 0;

		if (!queue_push(&f->queue, one)) {
			fetched_free(one);
			break;
		}
		if (failed && !f->b->left)
			break;
	}
	queue_close(&f->queue);
	return NULL;
}

/* Put the digests of want under this attempt, each fetched and held to its name. */
static int put_fetched(struct bring *b, const char *attempt, struct fetcher *f, struct err *err)
{
	char key[STORE_KEY_MAX + 1], what[32];
	struct fetched *one;
	unsigned n = 0;
	int rc = 0;

	while (!rc && (one = queue_pop(&f->queue))) {
		bool left = one->err.code && b->left && site_object_is_damage(one->err.code);

		if (left) {
			log_msg(LOG_WARN, "%s", one->err.msg);
			pack_list_add(b->left, one->digest);
		} else if (one->err.code) {
			*err = one->err;
			rc = err_rc(err);
		}
		if (!rc && !left)
			rc = store_put_bytes(
			        b->to, key_pack(key, b->source, attempt, one->digest), one->b.p, one->b.len, err);
		if (!rc && !left) {
			b->ret->packs++;
			b->ret->bytes += one->b.len;
		}
		fetched_free(one);
		if (!rc && ++n % BEAT_PACKS == 0) {
			snprintf(what, sizeof what, "beat.%u", n / BEAT_PACKS - 1);
			rc = store_put_bytes(b->to, key_attempt(key, b->source, attempt, what), "", 0, err);
		}
	}
	return rc;
}

int bring_copy_packs(struct bring *b, const char *attempt, const struct pack_list *want, struct err *err)
{
	struct fetcher f = {.b = b, .want = want};
	pthread_t thread;
	struct fetched *left;

	if (!want->n)
		return 0;
	queue_init(&f.queue, AHEAD);
	int rc = pthread_create(&thread, NULL, fetch_all, &f);

	if (rc) {
		queue_release(&f.queue);
		return err_set(err, ERR_IO, "cannot start a thread: %s", strerror(rc));
	}
	rc = put_fetched(b, attempt, &f, err);
	queue_close(&f.queue);
	while ((left = queue_pop(&f.queue)))
		fetched_free(left);
	pthread_join(thread, NULL);
	queue_release(&f.queue);
	return rc;
}

/* Sizes instead of bytes. */
int bring_count_packs(struct bring *b, const struct pack_list *want, struct err *err)
{
	char key[STORE_KEY_MAX + 1];

	for (size_t i = 0; i < want->n; i++) {
		size_t at = bring_find_pack(&b->at, want->digest[i]);
		struct store_stat st = {0};

		if (at < b->at.n) {
			int rc = store_stat(
			        b->from, key_pack(key, b->source, b->at.v[at].attempt, want->digest[i]), &st, err);

			if (rc)
				return rc;
		}
		b->ret->packs++;
		b->ret->bytes += st.size;
	}
	return 0;
}
