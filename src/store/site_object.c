#include "store/site_object.h"

#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "crypto/crypto.h"

#define VERSIONS_MAX 64
#define BESIDE_MAX 64

bool site_object_is_damage(enum err_code code)
{
	return code == ERR_MISSING || code == ERR_CORRUPT || code == ERR_FORMAT || code == ERR_UNSUPPORTED || code == ERR_IO || code == ERR_NOMEM;
}

static int older_version(struct store *st, const char *key, size_t limit, site_accept_fn accept, void *arg, struct err *err)
{
	int rc = err_set(err, ERR_MISSING, "no older version of %s serves", key);
	for (unsigned n = 1; st->caps & STORE_VERSIONS && n <= VERSIONS_MAX; n++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(limit);
		struct store_sink sink = {store_buf_write, &b};
		struct err why = ERR_INIT;
		int got = store_get_older(st, key, n, &sink, &why);
		if (got == -ERR_MISSING || got == -ERR_UNSUPPORTED)
			break;
		if (!got && !accept(arg, b.p, b.len, &why)) {
			log_msg(LOG_WARN, "%s: %s was changed or removed; an older version of it serves", st->name, key);
			return 0;
		}
		if (got && !site_object_is_damage(why.code)) {
			*err = why;
			return got;
		}
	}
	return rc;
}

/* Its name says what its bytes are. */
static int try_beside(struct store *st, const char *key, const char *hex, size_t limit, site_accept_fn accept, void *arg, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(limit);
	unsigned char want[SHA256_LEN], have[SHA256_LEN];
	if (!hex_decode(want, SHA256_LEN, hex))
		return err_set(err, ERR_MISSING, "%s is no copy of another object", key);
	int rc = store_get(st, key, &b, err);
	if (rc)
		return rc;
	sha256_of(b.p, b.len, have);
	if (memcmp(want, have, SHA256_LEN) != 0)
		return err_set(err, ERR_CORRUPT, "%s: its bytes are not those its name says", key);
	return accept(arg, b.p, b.len, err);
}

static int beside(struct store *st, const char *key, size_t limit, site_accept_fn accept, void *arg, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	(void)snprintf(prefix, sizeof prefix, "%s.", key);
	int rc = store_list_all(st, prefix, &k, err);
	if (rc)
		return rc;
	rc = err_set(err, ERR_MISSING, "nothing lies beside %s", key);
	for (size_t i = 0; rc && i < k.n && i < BESIDE_MAX; i++) {
		struct err why = ERR_INIT;
		rc = try_beside(st, k.key[i], k.key[i] + strlen(prefix), limit, accept, arg, &why);
		if (!rc)
			log_msg(LOG_WARN, "%s: %s is damaged; %s serves", st->name, key, k.key[i]);
		if (rc && !site_object_is_damage(why.code)) {
			*err = why;
			return rc;
		}
	}
	return rc ? -ERR_MISSING : 0;
}

int site_object_instead(struct store *st, const char *key, bool missing, size_t limit, site_accept_fn accept, void *arg, struct err *err)
{
	int rc = older_version(st, key, limit, accept, arg, err);
	return rc == -ERR_MISSING && !missing ? beside(st, key, limit, accept, arg, err) : rc;
}

int site_object_judge(struct store *st, const char *key, size_t limit, site_accept_fn accept, void *arg, struct err *ret_wrong, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(limit);
	struct err none = ERR_INIT;
	int rc = store_get(st, key, &b, ret_wrong);
	if (!rc)
		rc = accept(arg, b.p, b.len, ret_wrong);
	if (!rc || (site_object_is_damage(ret_wrong->code) && !site_object_instead(st, key, rc == -ERR_MISSING, limit, accept, arg, &none)))
		return 0;
	const struct err *why = none.code && !site_object_is_damage(none.code) ? &none : ret_wrong;
	if (err)
		*err = *why;
	return err_rc(why);
}

int site_object_get(struct store *st, const char *key, size_t limit, site_accept_fn accept, void *arg, struct err *err)
{
	struct err wrong = ERR_INIT;
	return site_object_judge(st, key, limit, accept, arg, &wrong, err);
}

int site_object_put_beside(struct store *st, const char *key, const void *p, size_t n, struct err *err)
{
	char to[STORE_KEY_MAX + 1], hex[2 * SHA256_LEN + 1];
	unsigned char digest[SHA256_LEN];
	sha256_of(p, n, digest);
	hex_encode(hex, digest, SHA256_LEN);
	if (strlen(key) + sizeof hex > STORE_KEY_MAX)
		return err_set(err, ERR_USAGE, "%s: the name is too long for another beside it", key);
	(void)snprintf(to, sizeof to, "%s.%s", key, hex);
	return store_put_same(st, to, p, n, err);
}

int site_object_put_again(struct store *st, const char *key, const void *p, size_t n, struct err *err)
{
	int rc = store_put_same(st, key, p, n, err);
	return rc == -ERR_EXISTS ? site_object_put_beside(st, key, p, n, err) : rc;
}
