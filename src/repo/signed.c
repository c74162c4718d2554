#include "repo/signed.h"

#include <string.h>
#include "base/str.h"
#include "repo/fields.h"

enum { SIGNATURES_MAX = 64, SIG_B64_LEN = 88, SIG_LINE_LEN = 4 + 64 + 1 + SIG_B64_LEN + 1 };

int signed_make(const char *type, json_t *o, const unsigned char repo[REPO_ID_LEN], const struct secret *seed,
        struct buf *out, struct err *err)
{
	CLEAN(buf_release) struct buf text = BUF_INIT(SIGNED_MAX);
	unsigned char pub[ED25519_PUB_LEN], sig[ED25519_SIG_LEN];
	char pub_hex[2 * ED25519_PUB_LEN + 1], sig_b64[SIG_B64_LEN + 1];
	int rc;

	fields_set(o, "v", json_integer(1));
	fields_set(o, "repository", json_hex(repo, REPO_ID_LEN));
	if ((rc = buf_printf(&text, err, "holdfast1 %s\n", type)) || (rc = json_canonical(o, &text, err)) ||
	        (rc = buf_u8(&text, '\n', err)))
		return rc;
	ed25519_public(seed, pub);
	ed25519_sign(seed, text.p, text.len, sig);
	hex_encode(pub_hex, pub, sizeof pub);
	base64_encode(sig_b64, sig, sizeof sig);
	if ((rc = buf_printf(&text, err, "sig %s %s\n", pub_hex, sig_b64)))
		return rc;
	return buf_put(out, text.p, text.len, err);
}

/* A signed text taken apart; borrowed. */
struct parts {
	const char *json;
	size_t n_json, n_signed; /* n_signed: both lines with their line feeds */
	size_t n_sigs;
	struct {
		unsigned char pub[ED25519_PUB_LEN], sig[ED25519_SIG_LEN];
	} sig[SIGNATURES_MAX];
};

static bool parse_sig(const char *line, unsigned char pub[ED25519_PUB_LEN], unsigned char sig[ED25519_SIG_LEN])
{
	char hex[2 * ED25519_PUB_LEN + 1];
	unsigned char raw[3 * (SIG_B64_LEN / 4)];

	if (memcmp(line, "sig ", 4) != 0 || line[68] != ' ' || line[SIG_LINE_LEN - 1] != '\n')
		return false;
	memcpy(hex, line + 4, 64);
	hex[64] = '\0';
	if (!hex_decode(pub, ED25519_PUB_LEN, hex) || base64_decode(raw, line + 69, SIG_B64_LEN) != ED25519_SIG_LEN)
		return false;
	memcpy(sig, raw, ED25519_SIG_LEN);
	return true;
}

static int split(const char *type, const char *p, size_t n, struct parts *ret, struct err *err)
{
	static const char magic[] = "holdfast1 ";
	size_t n_type = strlen(type), head = sizeof magic - 1 + n_type + 1;
	const char *end;

	if (n > SIGNED_MAX)
		return err_set(err, ERR_FORMAT, "%s: more than 1 MiB", type);
	if (n < head || memcmp(p, magic, sizeof magic - 1) != 0 || memcmp(p + sizeof magic - 1, type, n_type) != 0 ||
	        p[head - 1] != '\n')
		return err_set(err, ERR_FORMAT, "not a signed %s", type);
	ret->json = p + head;
	end = memchr(ret->json, '\n', n - head);
	if (!end)
		return err_set(err, ERR_FORMAT, "%s: cut short", type);
	ret->n_json = (size_t)(end - ret->json);
	ret->n_signed = (size_t)(end + 1 - p);
	n -= ret->n_signed;
	if (!n || n % SIG_LINE_LEN || n / SIG_LINE_LEN > SIGNATURES_MAX)
		return err_set(err, ERR_FORMAT, "%s: signature lines are malformed", type);
	ret->n_sigs = n / SIG_LINE_LEN;
	for (size_t i = 0; i < ret->n_sigs; i++)
		if (!parse_sig(end + 1 + i * SIG_LINE_LEN, ret->sig[i].pub, ret->sig[i].sig))
			return err_set(err, ERR_FORMAT, "%s: signature line %zu is malformed", type, i + 1);
	return 0;
}

static bool wanted(const unsigned char *pub, const unsigned char (*keys)[ED25519_PUB_LEN], size_t n_keys)
{
	for (size_t i = 0; i < n_keys; i++)
		if (!memcmp(keys[i], pub, ED25519_PUB_LEN))
			return true;
	return !n_keys;
}

static int check_members(const char *type, const json_t *o, const unsigned char repo[REPO_ID_LEN], struct err *err)
{
	unsigned char said[REPO_ID_LEN];
	int64_t v;
	int rc;

	if ((rc = json_get_int(o, "v", type, &v, err)) ||
	        (rc = json_get_hex(o, "repository", type, said, sizeof said, err)))
		return rc;
	if (v != 1)
		return err_set(err, ERR_UNSUPPORTED, "%s: version %lld", type, (long long)v);
	if (repo && memcmp(said, repo, sizeof said) != 0)
		return err_set(err, ERR_CORRUPT, "%s: is of another repository", type);
	return 0;
}

int signed_read(const char *type, const void *p, size_t n, const unsigned char repo[REPO_ID_LEN],
        const unsigned char (*keys)[ED25519_PUB_LEN], size_t n_keys, json_t **ret,
        unsigned char ret_signer[ED25519_PUB_LEN], struct err *err)
{
	CLEAN(json_release) json_t *o = NULL;
	struct parts t;
	size_t i;
	int rc;

	*ret = NULL;
	rc = split(type, p, n, &t, err);
	if (rc)
		return rc;
	for (i = 0; i < t.n_sigs; i++)
		if (wanted(t.sig[i].pub, keys, n_keys) && ed25519_verify(t.sig[i].pub, p, t.n_signed, t.sig[i].sig))
			break;
	if (i == t.n_sigs)
		return err_set(err, ERR_CORRUPT, "%s: no valid signature by a key that may sign it", type);
	if ((rc = json_parse_canonical(t.json, t.n_json, SIGNED_MAX, type, &o, err)) ||
	        (rc = check_members(type, o, repo, err)))
		return rc;
	if (ret_signer)
		memcpy(ret_signer, t.sig[i].pub, ED25519_PUB_LEN);
	*ret = TAKE(o);
	return 0;
}

/* --- open --- */

void attempt_open_release(struct attempt_open *o)
{
	free(o->uses);
	o->uses = NULL;
	o->n_uses = 0;
}

int attempt_open_encode(const struct attempt_open *a, const unsigned char repo[REPO_ID_LEN], const struct secret *seed,
        struct buf *out, struct err *err)
{
	CLEAN(json_release) json_t *o = json_object();
	json_t *uses = json_array();

	fields_set(o, "uses", uses);
	for (size_t i = 0; i < a->n_uses; i++)
		fields_push(uses, json_string(a->uses[i]));
	fields_set(o, "source", json_string(a->source));
	fields_set(o, "attempt", json_string(a->attempt));
	fields_set(o, "run", json_string(a->run));
	fields_set_time(o, "time", a->time);
	return signed_make("open", o, repo, seed, out, err);
}

static int parse_uses(const json_t *o, struct attempt_open *ret, struct err *err)
{
	json_t *uses;
	int rc = json_get_arr(o, "uses", "open", &uses, err);

	if (rc)
		return rc;
	ret->uses = xcalloc(json_array_size(uses), sizeof *ret->uses);
	for (size_t i = 0; i < json_array_size(uses); i++) {
		const char *name = json_string_value(json_array_get(uses, i));

		if (!name || !format_name16_ok(name))
			return err_set(err, ERR_FORMAT, "open: 'uses' holds what is no attempt");
		memcpy(ret->uses[ret->n_uses++], name, NAME16);
	}
	return 0;
}

/* A source's own key, of any epoch, or a log's. */
static int check_opener(const struct cfg *c, const char *source, const void *p, size_t n, struct err *err)
{
	CLEAN(free_ptr) unsigned char(*own)[ED25519_PUB_LEN] = NULL;
	CLEAN(free_ptr) unsigned char(*logs)[ED25519_PUB_LEN] = NULL;
	size_t n_own = cfg_source_keys(c, source, 0, &own), n_logs = cfg_log_keys(c, &logs), n_all = n_own + n_logs;
	CLEAN(free_ptr) unsigned char(*all)[ED25519_PUB_LEN] = xcalloc(n_all, sizeof *all);
	CLEAN(json_release) json_t *o = NULL;

	if (!n_all)
		return err_set(err, ERR_CORRUPT, "open: nobody may sign for source '%s'", source);
	if (n_own)
		memcpy(all, own, n_own * sizeof *all);
	if (n_logs)
		memcpy(all + n_own, logs, n_logs * sizeof *all);
	return signed_read("open", p, n, c->repo, (const unsigned char(*)[ED25519_PUB_LEN])all, n_all, &o, NULL, err);
}

int attempt_open_decode(const struct cfg *c, const void *p, size_t n, struct attempt_open *ret, struct err *err)
{
	CLEAN(json_release) json_t *o = NULL;
	int rc;

	*ret = (struct attempt_open){0};
	/* Who may sign depends on what is written: read it first, believe it after check_opener. */
	if ((rc = signed_read("open", p, n, c->repo, NULL, 0, &o, NULL, err)) ||
	        (rc = fields_id(o, "source", "open", ret->source, err)) ||
	        (rc = fields_name16(o, "attempt", "open", ret->attempt, err)) ||
	        (rc = fields_run(o, "open", ret->run, err)) || (rc = fields_time(o, "time", "open", &ret->time, err)) ||
	        (rc = check_opener(c, ret->source, p, n, err)))
		return rc;
	rc = parse_uses(o, ret, err);
	if (rc)
		attempt_open_release(ret);
	return rc;
}
