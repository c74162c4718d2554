#include <string.h>
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "repo/fields.h"
#include "repo/keys.h"

enum { KEY_FILE_MAX = 16 << 10, KEY_LEN = 32 };

/* Key text passes through jansson's own memory: overwrite it before it is freed. */
static void wipe_release(json_t **o)
{
	const char *key;
	json_t *v;

	json_object_foreach (*o, key, v)
		if (json_is_string(v))
			mem_cleanse((void *)(uintptr_t)json_string_value(v), json_string_length(v));
	json_release(o);
}

static void wipe_buf(struct buf *b)
{
	mem_cleanse(b->p, b->cap);
	buf_release(b);
}

static void set_secret(json_t *o, const char *key, const struct secret *s)
{
	char text[4 * ((KEY_LEN + 2) / 3) + 1];

	BUG_ON(s->len != KEY_LEN);
	base64_encode(text, s->p, s->len);
	fields_set(o, key, json_string(text));
	mem_cleanse(text, sizeof text);
}

static int get_secret(const json_t *o, const char *key, const char *what, struct secret *ret, struct err *err)
{
	secret_init(ret, KEY_LEN);
	return json_get_b64(o, key, what, ret->p, KEY_LEN, err);
}

static json_t *new_file(const char *kind)
{
	json_t *o = json_object();

	BUG_ON(!o);
	fields_set(o, "v", json_integer(1));
	fields_set(o, "kind", json_string(kind));
	return o;
}

static int save(const json_t *o, const char *path, struct err *err)
{
	CLEAN(wipe_buf) struct buf text = BUF_INIT(KEY_FILE_MAX);
	int rc;

	/* All at once: a buffer that grows leaves copies behind. */
	if ((rc = buf_reserve(&text, KEY_FILE_MAX, err)) || (rc = json_canonical(o, &text, err)) ||
	        (rc = buf_u8(&text, '\n', err)))
		return rc;
	return fs_create(path, text.p, text.len, 0600, err);
}

static int load(const char *path, const char *kind, json_t **ret, struct err *err)
{
	CLEAN(wipe_buf) struct buf text = BUF_INIT(KEY_FILE_MAX);
	CLEAN(wipe_release) json_t *o = NULL;
	const char *found;
	int64_t v;
	int rc;

	if ((rc = buf_reserve(&text, KEY_FILE_MAX, err)) || (rc = fs_read(path, &text, err)) ||
	        (rc = json_parse(text.p, text.len, KEY_FILE_MAX, path, &o, err)) ||
	        (rc = json_get_int(o, "v", path, &v, err)) || (rc = json_get_str(o, "kind", path, &found, err)))
		return rc;
	if (v != 1)
		return err_set(err, ERR_UNSUPPORTED, "%s: version %lld of a key file", path, (long long)v);
	if (strcmp(found, kind) != 0)
		return err_set(err, ERR_FORMAT, "%s: holds a key of kind '%s', not '%s'", path, found, kind);
	*ret = TAKE(o);
	return 0;
}

int source_keys_save(const struct source_keys *k, const char *path, struct err *err)
{
	CLEAN(wipe_release) json_t *o = new_file("source");

	fields_set(o, "repository", json_hex(k->repo, REPO_ID_LEN));
	fields_set(o, "source", json_string(k->source));
	fields_set(o, "class", json_string(k->class_name));
	fields_set(o, "epoch", json_integer(k->epoch));
	set_secret(o, "id_key", &k->s.id_key);
	set_secret(o, "chunk_key", &k->s.chunk_key);
	set_secret(o, "idx_key", &k->s.idx_key);
	set_secret(o, "sign", &k->sign);
	set_secret(o, "psk", &k->psk);
	fields_set(o, "public", json_hex(k->sign_pub, ED25519_PUB_LEN));
	return save(o, path, err);
}

static int source_keys_parse(struct source_keys *k, const json_t *o, const char *path, struct err *err)
{
	unsigned char pub[ED25519_PUB_LEN];
	int rc;

	if ((rc = json_get_hex(o, "repository", path, k->repo, REPO_ID_LEN, err)) ||
	        (rc = fields_id(o, "source", path, k->source, err)) ||
	        (rc = fields_id(o, "class", path, k->class_name, err)) ||
	        (rc = fields_epoch(o, path, &k->epoch, err)) ||
	        (rc = get_secret(o, "id_key", path, &k->s.id_key, err)) ||
	        (rc = get_secret(o, "chunk_key", path, &k->s.chunk_key, err)) ||
	        (rc = get_secret(o, "idx_key", path, &k->s.idx_key, err)) ||
	        (rc = get_secret(o, "sign", path, &k->sign, err)) || (rc = get_secret(o, "psk", path, &k->psk, err)) ||
	        (rc = json_get_hex(o, "public", path, pub, sizeof pub, err)))
		return rc;
	ed25519_public(&k->sign, k->sign_pub);
	if (memcmp(pub, k->sign_pub, sizeof pub) != 0)
		return err_set(err, ERR_CORRUPT, "%s: public key does not belong to the signing key", path);
	return 0;
}

int source_keys_load(struct source_keys *k, const char *path, struct err *err)
{
	CLEAN(wipe_release) json_t *o = NULL;
	int rc;

	*k = (struct source_keys){0};
	rc = load(path, "source", &o, err);
	if (!rc)
		rc = source_keys_parse(k, o, path, err);
	if (rc)
		source_keys_release(k);
	return rc;
}

int opening_key_save(const struct opening_key *k, const char *path, struct err *err)
{
	CLEAN(wipe_release) json_t *o = new_file("opening");

	fields_set(o, "repository", json_hex(k->repo, REPO_ID_LEN));
	fields_set(o, "class", json_string(k->class_name));
	set_secret(o, "private", &k->priv);
	set_secret(o, "r", &k->r);
	fields_set(o, "public", json_b64(k->pub, X25519_LEN));
	fields_set(o, "root", json_hex(k->root_pub, ED25519_PUB_LEN));
	return save(o, path, err);
}

static int opening_key_parse(struct opening_key *k, const json_t *o, const char *path, struct err *err)
{
	unsigned char pub[X25519_LEN];
	int rc;

	if ((rc = json_get_hex(o, "repository", path, k->repo, REPO_ID_LEN, err)) ||
	        (rc = fields_id(o, "class", path, k->class_name, err)) ||
	        (rc = get_secret(o, "private", path, &k->priv, err)) || (rc = get_secret(o, "r", path, &k->r, err)) ||
	        (rc = json_get_b64(o, "public", path, pub, sizeof pub, err)) ||
	        (rc = json_get_hex(o, "root", path, k->root_pub, ED25519_PUB_LEN, err)))
		return rc;
	x25519_public(&k->priv, k->pub);
	if (memcmp(pub, k->pub, sizeof pub) != 0)
		return err_set(err, ERR_CORRUPT, "%s: public key does not belong to the opening key", path);
	return 0;
}

int opening_key_load(struct opening_key *k, const char *path, struct err *err)
{
	CLEAN(wipe_release) json_t *o = NULL;
	int rc;

	*k = (struct opening_key){0};
	rc = load(path, "opening", &o, err);
	if (!rc)
		rc = opening_key_parse(k, o, path, err);
	if (rc)
		opening_key_release(k);
	return rc;
}

int sign_key_save(const char *path, const char *kind, const struct secret *seed, struct err *err)
{
	CLEAN(wipe_release) json_t *o = new_file(kind);
	unsigned char pub[ED25519_PUB_LEN];

	ed25519_public(seed, pub);
	set_secret(o, "seed", seed);
	fields_set(o, "public", json_hex(pub, sizeof pub));
	return save(o, path, err);
}

int sign_key_load(
        const char *path, const char *kind, struct secret *seed, unsigned char pub[ED25519_PUB_LEN], struct err *err)
{
	CLEAN(wipe_release) json_t *o = NULL;
	CLEAN(secret_release) struct secret s = {0};
	unsigned char said[ED25519_PUB_LEN];
	int rc;

	*seed = (struct secret){0};
	if ((rc = load(path, kind, &o, err)) || (rc = get_secret(o, "seed", path, &s, err)) ||
	        (rc = json_get_hex(o, "public", path, said, sizeof said, err)))
		return rc;
	ed25519_public(&s, pub);
	if (memcmp(said, pub, sizeof said) != 0)
		return err_set(err, ERR_CORRUPT, "%s: public key does not belong to the seed", path);
	*seed = s;
	s = (struct secret){0};
	return 0;
}
