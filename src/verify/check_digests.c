/* Without keys: packs by digest, as they stream by or as the site itself reads them. */
#include "verify/check_internal.h"

#include <string.h>

#define BLOCK ((size_t)256 << 10)
#define ASKED 16 /* packs that a site is asked for at once: half of what a connection of the wire has under way */

struct digester {
	struct check *c;
	struct sha256 *h;
	struct buf block, head;
};

static void *digester_open(void *arg)
{
	struct digester *d = xcalloc(1, sizeof *d);

	d->c = arg;
	d->h = sha256_new();
	buf_init(&d->block, BLOCK);
	buf_init(&d->head, CHECK_HEAD);
	return d;
}

static void digester_close(void *worker)
{
	struct digester *d = worker;

	sha256_free(d->h);
	buf_release(&d->block);
	buf_release(&d->head);
	free(d);
}

/* Block by block through one buffer that stays in the core's cache. */
static int digest_local(struct digester *d, const char *key, unsigned char digest[ID_LEN], uint64_t *ret_bytes, struct err *err)
{
	uint64_t off = 0;
	int rc = 0;

	sha256_reset(d->h);
	do {
		buf_clear(&d->block);
		rc = check_cancelled(d->c->o, err);
		if (!rc)
			rc = store_get_part(d->c->st, key, off, BLOCK, &d->block, err);
		sha256_update(d->h, d->block.p, d->block.len);
		if (!off)
			buf_add(&d->head, d->block.p, MIN(d->block.len, CHECK_HEAD));
		off += d->block.len;
	} while (!rc && d->block.len == BLOCK);
	sha256_final(d->h, digest);
	*ret_bytes = off;
	return rc;
}

static void note_session(struct digester *d, struct check_pack *p)
{
	CLEAN(pack_header_release) struct pack_header h = {0};

	if (!pack_header_decode(d->head.p, d->head.len, &h, NULL))
		check_take_session(d->c, p, &h);
}

static int digest_pack(void *worker, struct check_pack *p, uint64_t *ret_bytes, struct err *err)
{
	struct digester *d = worker;
	unsigned char digest[ID_LEN];
	char key[STORE_KEY_MAX + 1];
	struct err why = ERR_INIT;
	int rc;

	buf_clear(&d->head);
	key_pack(key, d->c->source, p->attempt, p->digest);
	if (d->c->o->at_site)
		rc = store_digest(d->c->st, key, digest, &why);
	else if (d->c->st->caps & STORE_LOCAL)
		rc = digest_local(d, key, digest, ret_bytes, &why);
	else
		rc = check_digest_of(d->c, key, d->h, digest, ret_bytes, &d->head, &why);

	if (rc && !check_is_damage(why.code)) {
		*err = why;
		return rc;
	}
	if (rc)
		p->state = why.code == ERR_MISSING ? PACK_GONE : PACK_DAMAGED;
	else
		p->state = memcmp(digest, p->digest, ID_LEN) || MAX(*ret_bytes, p->size) > PACK_MAX ? PACK_DAMAGED : PACK_WHOLE;
	if (p->state == PACK_DAMAGED)
		p->why = xstrdup(rc ? why.msg : "its bytes are not those its name says");
	if (p->state == PACK_WHOLE)
		note_session(d, p);
	return 0;
}

int check_digests(struct store *st, const struct cfg *cfg, const char *source, const struct check_opts *o,
        struct check_result *ret, struct err *err)
{
	struct check c = {.st = st, .cfg = cfg, .source = source, .o = o, .ret = ret, .mutex = PTHREAD_MUTEX_INITIALIZER};
	const struct check_ops ops = {.open = digester_open, .pack = digest_pack, .close = digester_close, .arg = &c, .distant = o->at_site ? ASKED : 0};
	int rc = check_begin(&c, &ops, err);

	if (!rc)
		rc = check_index_names(&c, err);
	check_end(&c);
	return rc;
}
