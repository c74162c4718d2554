/* Asking a witness: the proof that the newest checkpoint continues the one it cosigned before. */
#include <stdio.h>
#include <string.h>
#include "base/fs.h"
#include "base/str.h"
#include "evidence/log_internal.h"
#include "evidence/witness.h"

#define HINTS_MAX (1u << 20)
#define LEAVES_MAX ((size_t)1 << 30)

/* A head of our own log: as many records, ending there in the records file. */
struct head {
	uint64_t size, offset;
	struct merkle tree;
};

/* --- what is known of witnesses: hints, each checked by the proof that is made of it --- */

static json_t *load_hints(const struct evidence_log *log)
{
	CLEAN(free_ptr) char *path = log_path(log, "witness.json");
	CLEAN(buf_release) struct buf text = BUF_INIT(HINTS_MAX);
	json_t *o = NULL;

	if (fs_read(path, &text, NULL) || json_parse(text.p, text.len, text.limit, "hints", &o, NULL) ||
	        !json_is_object(o)) {
		json_decref(o);
		return json_object();
	}
	return o;
}

static void save_hint(const struct evidence_log *log, json_t *hints, const char *site, const struct head *h)
{
	CLEAN(free_ptr) char *path = log_path(log, "witness.json"), *text = NULL;
	json_t *peaks = json_array();

	for (unsigned i = 0; i < 64; i++)
		if (h->size >> i & 1)
			json_array_append_new(peaks, json_hex(h->tree.peak[i], SHA256_LEN));
	json_object_set_new(hints, site,
	        json_pack("{s:I, s:I, s:o}", "size", (json_int_t)h->size, "offset", (json_int_t)h->offset, "peaks", peaks));
	text = json_dumps(hints, JSON_COMPACT | JSON_SORT_KEYS);
	if (text)
		(void)!fs_replace(path, text, strlen(text), 0600, NULL);
}

/* An empty head when there is no hint that makes sense. */
static struct head hinted(const struct evidence_log *log, const json_t *hints, const char *site)
{
	const json_t *o = json_object_get(hints, site), *peaks = json_object_get(o, "peaks");
	json_int_t size = json_integer_value(json_object_get(o, "size"));
	json_int_t offset = json_integer_value(json_object_get(o, "offset"));
	struct head h = {.size = (uint64_t)MAX(size, 0), .offset = (uint64_t)MAX(offset, 0)};
	size_t at = 0;

	h.tree.size = h.size;
	if (size <= 0 || h.size > log->signed_size || h.offset > log->signed_bytes)
		return (struct head){0};
	for (unsigned i = 0; i < 64; i++) {
		const char *hex = h.size >> i & 1 ? json_string_value(json_array_get(peaks, at++)) : NULL;

		if ((h.size >> i & 1) && (!hex || !hex_decode(h.tree.peak[i], SHA256_LEN, hex)))
			return (struct head){0};
	}
	return h;
}

/* --- the proof --- */

/* Append records up to `size` to a head; their leaves too, when they are wanted. */
static int advance(const struct evidence_log *log, struct head *h, uint64_t size, struct buf *leaves, struct err *err)
{
	CLEAN(lines_release) struct lines l = {.fd = -1};
	unsigned char leaf[SHA256_LEN];
	const unsigned char *line;
	size_t n;

	lines_init(&l, log->rec_fd, h->offset);
	while (h->size < size) {
		if (lines_next(&l, &line, &n, err) != LINE_WHOLE)
			return err_set(err, ERR_CORRUPT, "log %s: its records end early", log->id);
		merkle_leaf(line, n, leaf);
		merkle_append(&h->tree, leaf);
		h->size++;
		h->offset = l.off;
		if (leaves && buf_put(leaves, leaf, sizeof leaf, err))
			return -ERR_NOMEM;
	}
	return 0;
}

static bool fits(const struct head *h, const struct cp_line *newest)
{
	unsigned char root[SHA256_LEN];

	merkle_root(&h->tree, root);
	return memcmp(root, newest->cp.root, sizeof root) == 0;
}

static int make_request(const struct evidence_log *log, const struct head *old, const struct cp_line *newest,
        struct buf *out, struct head *ret_new, struct err *err)
{
	CLEAN(buf_release) struct buf leaves = BUF_INIT(LEAVES_MAX), proof = BUF_INIT(64 * SHA256_LEN);
	bool prove = old->size && old->size < newest->size;
	int rc;

	*ret_new = *old;
	rc = advance(log, ret_new, newest->size, prove ? &leaves : NULL, err);
	if (!rc && !fits(ret_new, newest))
		rc = err_set(err, ERR_CORRUPT, "log %s: its records are not those of its checkpoint", log->id);
	if (!rc && prove)
		rc = merkle_consistency_on(&old->tree, (const unsigned char (*)[SHA256_LEN])leaves.p,
		        leaves.len / SHA256_LEN, &proof, err);
	if (rc)
		return rc;
	buf_addf(out, "old %llu\n", (unsigned long long)old->size);
	for (size_t i = 0; i < proof.len; i += SHA256_LEN) {
		char b64[45];

		base64_encode(b64, proof.p + i, SHA256_LEN);
		buf_addf(out, "%s\n", b64);
	}
	buf_addf(out, "\n%s", newest->note);
	return 0;
}

/* --- the answer --- */

static int strange(const struct store *site, struct err *err)
{
	return err_set(err, ERR_FORMAT, "site %s: its witness gives a malformed answer", site->name);
}

/* "key K\n" and the cosignature's line: checked, and put beside the checkpoint. */
static int keep(const struct evidence_log *log, struct store *site, const struct cp_line *newest, const char *pin,
        struct buf *answer, struct err *err)
{
	const char *text = buf_str(answer), *nl = strchr(text, '\n');
	unsigned char pub[ED25519_PUB_LEN];
	char id[EVIDENCE_ID_LEN + 1], key[160];
	int64_t time_s;

	if (!nl || !str_starts(text, "key ") || strlen(text) != answer->len)
		return strange(site, err);
	if (pin && (strlen(pin) != (size_t)(nl - text) - 4 || memcmp(pin, text + 4, strlen(pin)) != 0))
		return err_set(err, ERR_CORRUPT, "site %s: its witness signs with the key %.*s, and the plan pins %s", site->name,
		        (int)MIN((nl - text) - 4, 128), text + 4, pin);
	int rc = witness_vkey_parse(text + 4, (size_t)(nl - text) - 4, pub, err);

	if (!rc)
		rc = witness_line_verify(nl + 1, strlen(nl + 1), pub, newest->note, newest->cp.n_text, &time_s, err);
	if (rc)
		return err_wrap(err, "site %s", site->name);
	witness_id(pub, id);
	(void)snprintf(key, sizeof key, "l/%s/checkpoint/%020llu.%s.cosig", log->id, (unsigned long long)newest->size, id);
	rc = store_put_bytes(site, key, answer->p, answer->len, err);
	/* one of another second is as good */
	return rc == -ERR_EXISTS ? 0 : rc;
}

/* "size N\n": what it cosigned before. */
static int other_size(const struct evidence_log *log, const struct store *site, struct buf *answer, struct head *old,
        struct err *err)
{
	const char *text = buf_str(answer);
	char *end;
	unsigned long long n = strtoull(text + strlen("size "), &end, 10);

	if (strcmp(end, "\n") != 0 || n == old->size)
		return strange(site, err);
	if (n > log->signed_size)
		return err_set(err, ERR_FORK, "site %s: its witness has cosigned %llu records of log %s, which has %llu",
		        site->name, n, log->id, (unsigned long long)log->signed_size);
	if (n < old->size)
		*old = (struct head){0};
	return advance(log, old, n, NULL, err);
}

int log_cosign(struct evidence_log *log, struct store *site, const struct cp_line *newest, const char *pin, bool again, struct err *err)
{
	CLEAN(json_release) json_t *hints = load_hints(log);
	struct head old = hinted(log, hints, site->name), new;

	if (old.size == newest->size && !again)
		return 0;
	new = old;
	/* A wrong proof would look like a fork. */
	if (old.size > newest->size || advance(log, &new, newest->size, NULL, err) || !fits(&new, newest))
		old = (struct head){0};
	for (int tries = 0; tries < 2; tries++) {
		CLEAN(buf_release) struct buf ask = BUF_INIT(WITNESS_REQUEST_MAX), answer = BUF_INIT(WITNESS_ANSWER_MAX);
		int rc = make_request(log, &old, newest, &ask, &new, err);

		if (!rc)
			rc = store_cosign(site, ask.p, ask.len, &answer, err);
		if (rc)
			return rc;
		bool other = str_starts(buf_str(&answer), "size ");

		rc = other ? other_size(log, site, &answer, &old, err) : keep(log, site, newest, pin, &answer, err);
		if (!rc && !other)
			save_hint(log, hints, site->name, &new);
		if (rc || !other)
			return rc;
	}
	return strange(site, err);
}
