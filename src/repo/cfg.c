#include <string.h>
#include "base/str.h"
#include "repo/fields.h"
#include "repo/signed.h"

void cfg_release(struct cfg *c)
{
	for (size_t i = 0; i < c->n_classes; i++)
		free(c->class_[i].recipient);
	for (size_t i = 0; i < c->n_sources; i++)
		free(c->source[i].signer);
	free(c->root);
	free(c->class_);
	free(c->source);
	free(c->log);
	*c = (struct cfg){0};
}

static json_t *new_object(json_t *array)
{
	json_t *o = json_object();

	fields_push(array, o);
	return o;
}

static json_t *new_array(json_t *o, const char *key)
{
	json_t *a = json_array();

	fields_set(o, key, a);
	return a;
}

static void encode_classes(const struct cfg *c, json_t *array)
{
	for (size_t i = 0; i < c->n_classes; i++) {
		const struct cfg_class *k = &c->class_[i];
		json_t *o = new_object(array), *to;

		fields_set(o, "name", json_string(k->name));
		fields_set(o, "custody", json_string(k->custody));
		to = new_array(o, "recipients");
		for (size_t j = 0; j < k->n_recipients; j++) {
			json_t *r = new_object(to);

			fields_set(r, "id", json_hex(k->recipient[j].id, RECIPIENT_LEN));
			fields_set(r, "kem", json_integer(k->recipient[j].kem));
			fields_set(r, "public", json_b64(k->recipient[j].pub, X25519_LEN));
		}
	}
}

static void encode_sources(const struct cfg *c, json_t *array)
{
	for (size_t i = 0; i < c->n_sources; i++) {
		const struct cfg_source *s = &c->source[i];
		json_t *o = new_object(array), *by;

		fields_set(o, "name", json_string(s->name));
		fields_set(o, "class", json_string(s->class_name));
		by = new_array(o, "signers");
		for (size_t j = 0; j < s->n_signers; j++) {
			json_t *k = new_object(by);

			fields_set(k, "epoch", json_integer(s->signer[j].epoch));
			fields_set(k, "revoked", json_boolean(s->signer[j].revoked));
			fields_set(k, "public", json_hex(s->signer[j].pub, ED25519_PUB_LEN));
		}
	}
}

int cfg_encode(const struct cfg *c, const struct secret *root_seed, struct buf *out, struct err *err)
{
	CLEAN(json_release) json_t *o = json_object();
	json_t *array;
	int rc = fields_set_u64(o, "n", c->n, err);

	if (rc)
		return rc;
	fields_set(o, "plan", json_string(c->plan));
	fields_set_time(o, "time", c->time);
	array = new_array(o, "root");
	for (size_t i = 0; i < c->n_root; i++)
		fields_push(array, json_hex(c->root[i], ED25519_PUB_LEN));
	encode_classes(c, new_array(o, "classes"));
	encode_sources(c, new_array(o, "sources"));
	array = new_array(o, "logs");
	for (size_t i = 0; i < c->n_logs; i++) {
		json_t *l = new_object(array);

		fields_set(l, "origin", json_string(c->log[i].origin));
		fields_set(l, "public", json_hex(c->log[i].pub, ED25519_PUB_LEN));
	}
	return signed_make("cfg", o, c->repo, root_seed, out, err);
}

/* --- decoding: counts are bounded by the size of the object --- */

static int decode_recipient(const json_t *o, struct recipient *r, struct err *err)
{
	unsigned char id[RECIPIENT_LEN], pub[X25519_LEN];
	uint64_t kem;
	int rc;

	if ((rc = json_get_hex(o, "id", "cfg recipient", id, sizeof id, err)) ||
	        (rc = fields_u64(o, "kem", "cfg recipient", UINT16_MAX, &kem, err)))
		return rc;
	if (kem != KEM_X25519)
		return err_set(err, ERR_UNSUPPORTED, "cfg: recipient with a key of kind 0x%04x", (unsigned)kem);
	rc = json_get_b64(o, "public", "cfg recipient", pub, sizeof pub, err);
	if (rc)
		return rc;
	recipient_init(r, pub);
	if (memcmp(r->id, id, sizeof id) != 0)
		return err_set(err, ERR_FORMAT, "cfg: a recipient's id is not of its key");
	return 0;
}

static int decode_class(const json_t *o, struct cfg_class *k, struct err *err)
{
	const char *custody;
	json_t *array;
	int rc;

	if ((rc = fields_id(o, "name", "cfg class", k->name, err)) ||
	        (rc = json_get_str(o, "custody", "cfg class", &custody, err)) ||
	        (rc = json_get_arr(o, "recipients", "cfg class", &array, err)))
		return rc;
	if (strcmp(custody, "host") != 0 && strcmp(custody, "quorum") != 0)
		return err_set(err, ERR_FORMAT, "cfg: custody of class '%s' is neither host nor quorum", k->name);
	memcpy(k->custody, custody, strlen(custody) + 1);
	k->recipient = xcalloc(json_array_size(array), sizeof *k->recipient);
	for (size_t i = 0; i < json_array_size(array); i++) {
		rc = decode_recipient(json_array_get(array, i), &k->recipient[k->n_recipients++], err);
		if (rc)
			return rc;
	}
	return 0;
}

static int decode_source(const json_t *o, struct cfg_source *s, struct err *err)
{
	json_t *array;
	int rc;

	if ((rc = fields_id(o, "name", "cfg source", s->name, err)) ||
	        (rc = fields_id(o, "class", "cfg source", s->class_name, err)) ||
	        (rc = json_get_arr(o, "signers", "cfg source", &array, err)))
		return rc;
	s->signer = xcalloc(json_array_size(array), sizeof *s->signer);
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *k = json_array_get(array, i);
		struct cfg_signer *to = &s->signer[s->n_signers++];

		if ((rc = fields_epoch(k, "cfg signer", &to->epoch, err)) ||
		        (rc = json_get_bool(k, "revoked", "cfg signer", &to->revoked, err)) ||
		        (rc = json_get_hex(k, "public", "cfg signer", to->pub, ED25519_PUB_LEN, err)))
			return rc;
	}
	return 0;
}

static int decode_classes(const json_t *o, struct cfg *c, struct err *err)
{
	json_t *array;
	int rc = json_get_arr(o, "classes", "cfg", &array, err);

	if (rc)
		return rc;
	c->class_ = xcalloc(json_array_size(array), sizeof *c->class_);
	for (size_t i = 0; i < json_array_size(array); i++) {
		struct cfg_class *k = &c->class_[i];

		/* Counted at once, so that a release finds what was allocated. */
		c->n_classes++;
		rc = decode_class(json_array_get(array, i), k, err);
		if (rc)
			return rc;
		if (cfg_find_class(c, k->name) != k)
			return err_set(err, ERR_FORMAT, "cfg: class '%s' twice", k->name);
	}
	return 0;
}

static int decode_sources(const json_t *o, struct cfg *c, struct err *err)
{
	json_t *array;
	int rc = json_get_arr(o, "sources", "cfg", &array, err);

	if (rc)
		return rc;
	c->source = xcalloc(json_array_size(array), sizeof *c->source);
	for (size_t i = 0; i < json_array_size(array); i++) {
		struct cfg_source *s = &c->source[i];

		c->n_sources++;
		rc = decode_source(json_array_get(array, i), s, err);
		if (rc)
			return rc;
		if (cfg_find_source(c, s->name) != s)
			return err_set(err, ERR_FORMAT, "cfg: source '%s' twice", s->name);
		if (!cfg_find_class(c, s->class_name))
			return err_set(
			        err, ERR_FORMAT, "cfg: source '%s' is of unknown class '%s'", s->name, s->class_name);
	}
	return 0;
}

static int decode_roots(const json_t *o, struct cfg *c, struct err *err)
{
	json_t *array;
	int rc = json_get_arr(o, "root", "cfg", &array, err);

	if (rc)
		return rc;
	if (!json_array_size(array))
		return err_set(err, ERR_FORMAT, "cfg: no root key");
	c->root = xcalloc(json_array_size(array), sizeof *c->root);
	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *hex = json_string_value(json_array_get(array, i));

		if (!hex || !hex_decode(c->root[c->n_root++], ED25519_PUB_LEN, hex))
			return err_set(err, ERR_FORMAT, "cfg: a root key is not 32 bytes in hex");
	}
	return 0;
}

static int decode_logs(const json_t *o, struct cfg *c, struct err *err)
{
	json_t *array;
	int rc = json_get_arr(o, "logs", "cfg", &array, err);

	if (rc)
		return rc;
	c->log = xcalloc(json_array_size(array), sizeof *c->log);
	for (size_t i = 0; i < json_array_size(array); i++) {
		struct cfg_log *l = &c->log[c->n_logs++];
		const json_t *from = json_array_get(array, i);
		const char *origin;

		if ((rc = json_get_str(from, "origin", "cfg log", &origin, err)) ||
		        (rc = json_get_hex(from, "public", "cfg log", l->pub, ED25519_PUB_LEN, err)))
			return rc;
		if (!*origin || strlen(origin) >= sizeof l->origin)
			return err_set(err, ERR_FORMAT, "cfg: origin of a log is empty or too long");
		memcpy(l->origin, origin, strlen(origin) + 1);
	}
	return 0;
}

static bool is_root(const struct cfg *c, const unsigned char pub[ED25519_PUB_LEN])
{
	for (size_t i = 0; i < c->n_root; i++)
		if (!memcmp(c->root[i], pub, ED25519_PUB_LEN))
			return true;
	return false;
}

int cfg_decode(const void *p, size_t n, const unsigned char *repo, const unsigned char (*trusted)[ED25519_PUB_LEN],
        size_t n_trusted, struct cfg *ret, struct err *err)
{
	CLEAN(json_release) json_t *o = NULL;
	CLEAN(cfg_release) struct cfg c = {0};
	unsigned char signer[ED25519_PUB_LEN];
	int rc;

	*ret = c;
	if (!n_trusted)
		return err_set(err, ERR_CORRUPT, "cfg: no root key is trusted");
	if ((rc = signed_read("cfg", p, n, repo, trusted, n_trusted, &o, signer, err)) ||
	        (rc = json_get_hex(o, "repository", "cfg", c.repo, REPO_ID_LEN, err)) ||
	        (rc = fields_u64(o, "n", "cfg", FIELDS_INT_MAX, &c.n, err)) ||
	        (rc = fields_id(o, "plan", "cfg", c.plan, err)) || (rc = fields_time(o, "time", "cfg", &c.time, err)) ||
	        (rc = decode_roots(o, &c, err)) || (rc = decode_classes(o, &c, err)) ||
	        (rc = decode_sources(o, &c, err)) || (rc = decode_logs(o, &c, err)))
		return rc;
	if (!c.n && !is_root(&c, signer))
		return err_set(err, ERR_FORMAT, "cfg: the first one is not signed by a root key of its own");
	*ret = c;
	c = (struct cfg){0};
	return 0;
}

const struct cfg_source *cfg_find_source(const struct cfg *c, const char *name)
{
	for (size_t i = 0; i < c->n_sources; i++)
		if (!strcmp(c->source[i].name, name))
			return &c->source[i];
	return NULL;
}

const struct cfg_class *cfg_find_class(const struct cfg *c, const char *name)
{
	for (size_t i = 0; i < c->n_classes; i++)
		if (!strcmp(c->class_[i].name, name))
			return &c->class_[i];
	return NULL;
}

size_t cfg_source_keys(const struct cfg *c, const char *source, uint32_t epoch, unsigned char (**ret)[ED25519_PUB_LEN])
{
	const struct cfg_source *s = cfg_find_source(c, source);
	size_t n = 0;

	*ret = xcalloc(s ? s->n_signers : 0, sizeof **ret);
	for (size_t i = 0; s && i < s->n_signers; i++)
		if (!s->signer[i].revoked && (!epoch || s->signer[i].epoch == epoch))
			memcpy((*ret)[n++], s->signer[i].pub, ED25519_PUB_LEN);
	return n;
}

size_t cfg_log_keys(const struct cfg *c, unsigned char (**ret)[ED25519_PUB_LEN])
{
	*ret = xcalloc(c->n_logs, sizeof **ret);
	for (size_t i = 0; i < c->n_logs; i++)
		memcpy((*ret)[i], c->log[i].pub, ED25519_PUB_LEN);
	return c->n_logs;
}
