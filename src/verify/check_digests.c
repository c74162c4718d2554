/* Without keys: packs as they stream by, by digest. */
#include "verify/check_internal.h"

#include <string.h>

struct digester {
	struct check *c;
	struct sha256 *h;
};

static void *digester_open(void *arg)
{
	struct digester *d = xcalloc(1, sizeof *d);

	d->c = arg;
	d->h = sha256_new();
	return d;
}

static void digester_close(void *worker)
{
	struct digester *d = worker;

	sha256_free(d->h);
	free(d);
}

static int digest_pack(void *worker, struct check_pack *p, uint64_t *ret_bytes, struct err *err)
{
	struct digester *d = worker;
	unsigned char digest[ID_LEN];
	char key[STORE_KEY_MAX + 1];
	struct err why = ERR_INIT;
	int rc = check_digest_of(
	        d->c, key_pack(key, d->c->source, p->attempt, p->digest), d->h, digest, ret_bytes, &why);

	if (rc && !check_is_damage(why.code)) {
		*err = why;
		return rc;
	}
	if (rc)
		p->state = why.code == ERR_MISSING ? PACK_GONE : PACK_DAMAGED;
	else
		p->state = memcmp(digest, p->digest, ID_LEN) || *ret_bytes > PACK_MAX ? PACK_DAMAGED : PACK_WHOLE;
	if (p->state == PACK_DAMAGED)
		p->why = xstrdup(rc ? why.msg : "its bytes are not those its name says");
	return 0;
}

int check_digests(struct store *st, const struct cfg *cfg, const char *source, const struct check_opts *o,
        struct check_result *ret, struct err *err)
{
	struct check c = {.st = st, .cfg = cfg, .source = source, .o = o, .ret = ret};
	const struct check_ops ops = {.open = digester_open, .pack = digest_pack, .close = digester_close, .arg = &c};
	int rc = check_begin(&c, &ops, err);

	if (!rc)
		rc = check_index_names(&c, err);
	check_end(&c);
	return rc;
}
