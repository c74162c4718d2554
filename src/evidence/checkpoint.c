/* Checkpoints in the form of C2SP tlog-checkpoint, which is a C2SP signed-note with three lines of text. */
#include "evidence/evidence.h"

#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "crypto/note_key.h"

#define DASH "\xe2\x80\x94 " /* U+2014 and a space begin a signature line */
#define SIG_LINES_MAX 16
#define ROOT_B64 44

void evidence_id(const unsigned char pub[ED25519_PUB_LEN], char out[EVIDENCE_ID_LEN + 1])
{
	note_key_id(pub, out);
}

void evidence_origin(const unsigned char pub[ED25519_PUB_LEN], char out[EVIDENCE_ORIGIN_MAX])
{
	note_key_name(&note_of_log, pub, out);
}

int evidence_note_make(const struct secret *seed, uint64_t size, const unsigned char root[SHA256_LEN], struct buf *out,
        struct err *err)
{
	unsigned char pub[ED25519_PUB_LEN], blob[NOTE_KEY_HASH_LEN + ED25519_SIG_LEN];
	char origin[EVIDENCE_ORIGIN_MAX], b64[4 * ((sizeof(blob) + 2) / 3) + 1], root64[ROOT_B64 + 1];
	CLEAN(buf_release) struct buf text = BUF_INIT(EVIDENCE_NOTE_MAX);

	ed25519_public(seed, pub);
	evidence_origin(pub, origin);
	base64_encode(root64, root, SHA256_LEN);
	buf_addf(&text, "%s\n%llu\n%s\n", origin, (unsigned long long)size, root64);
	note_key_hash(&note_of_log, origin, pub, blob);
	ed25519_sign(seed, text.p, text.len, blob + NOTE_KEY_HASH_LEN);
	base64_encode(b64, blob, sizeof(blob));
	buf_addf(&text, "\n" DASH "%s %s\n", origin, b64);
	return buf_put(out, text.p, text.len, err);
}

/* A line without its newline; false when the note ends before one. */
static bool next_line(struct rd *r, const char **line, size_t *n)
{
	const unsigned char *end = r->left ? memchr(r->p, '\n', r->left) : NULL;

	if (!end)
		return false;
	*line = (const char *)r->p;
	*n = (size_t)(end - r->p);
	return rd_bytes(r, *n + 1) != NULL;
}

static bool parse_size(const char *s, size_t n, uint64_t *ret)
{
	uint64_t v = 0;

	if (n == 0 || n > 20 || (n > 1 && s[0] == '0'))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
		        __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v))
			return false;
	}
	*ret = v;
	return true;
}

static bool name_ok(const char *s, size_t n)
{
	if (n == 0 || n >= EVIDENCE_ORIGIN_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] > '~' || s[i] == '+')
			return false;
	return true;
}

/* The three lines of text and the empty one behind them. */
static bool parse_text(struct rd *r, struct evidence_checkpoint *c)
{
	unsigned char root[ROOT_B64];
	const char *s;
	size_t n;

	if (!next_line(r, &s, &n) || !name_ok(s, n))
		return false;
	memcpy(c->origin, s, n);
	c->n_text = n + 1;
	if (!next_line(r, &s, &n) || !parse_size(s, n, &c->size))
		return false;
	c->n_text += n + 1;
	if (!next_line(r, &s, &n) || n != ROOT_B64 || base64_decode(root, s, n) != SHA256_LEN)
		return false;
	memcpy(c->root, root, SHA256_LEN);
	c->n_text += n + 1;
	return next_line(r, &s, &n) && n == 0;
}

struct sig_line {
	const char *name, *b64;
	size_t n_name, n_b64;
};

static bool parse_sig_line(struct rd *r, struct sig_line *ret)
{
	const char *s, *space;
	size_t n;

	if (!next_line(r, &s, &n) || n <= strlen(DASH) || memcmp(s, DASH, strlen(DASH)) != 0)
		return false;
	s += strlen(DASH);
	n -= strlen(DASH);
	space = memchr(s, ' ', n);
	if (!space)
		return false;
	*ret = (struct sig_line){
	        .name = s, .n_name = (size_t)(space - s), .b64 = space + 1, .n_b64 = n - (size_t)(space - s) - 1};
	return name_ok(ret->name, ret->n_name) && ret->n_b64 >= 8 && ret->n_b64 <= EVIDENCE_NOTE_MAX / 2;
}

/* pub NULL: syntax alone. Otherwise ret->sig and *found tell the log's own signature. */
static int parse_note(const void *note, size_t n, const unsigned char *pub, struct evidence_checkpoint *ret,
        bool *found, struct err *err)
{
	struct rd r = rd_init(note, n);
	unsigned char blob[EVIDENCE_NOTE_MAX], want[NOTE_KEY_HASH_LEN];
	struct sig_line line;
	size_t lines = 0;

	*ret = (struct evidence_checkpoint){0};
	*found = false;
	if (n > EVIDENCE_NOTE_MAX || !parse_text(&r, ret))
		return err_set(err, ERR_FORMAT, "checkpoint: malformed text");
	if (pub)
		note_key_hash(&note_of_log, ret->origin, pub, want);
	while (r.left) {
		long len;

		if (++lines > SIG_LINES_MAX || !parse_sig_line(&r, &line))
			return err_set(err, ERR_FORMAT, "checkpoint: malformed signature line");
		len = base64_decode(blob, line.b64, line.n_b64);
		if (len < NOTE_KEY_HASH_LEN + 1)
			return err_set(err, ERR_FORMAT, "checkpoint: malformed signature");
		if (!pub || *found || line.n_name != strlen(ret->origin) ||
		        memcmp(line.name, ret->origin, line.n_name) != 0 || len != NOTE_KEY_HASH_LEN + ED25519_SIG_LEN ||
		        memcmp(blob, want, NOTE_KEY_HASH_LEN) != 0)
			continue;
		memcpy(ret->sig, blob + NOTE_KEY_HASH_LEN, ED25519_SIG_LEN);
		*found = true;
	}
	if (lines == 0)
		return err_set(err, ERR_FORMAT, "checkpoint: no signature");
	return 0;
}

int evidence_note_parse(const void *note, size_t n, struct evidence_checkpoint *ret, struct err *err)
{
	bool found;

	return parse_note(note, n, NULL, ret, &found, err);
}

int evidence_note_verify(const void *note, size_t n, const unsigned char pub[ED25519_PUB_LEN],
        struct evidence_checkpoint *ret, struct err *err)
{
	char origin[EVIDENCE_ORIGIN_MAX];
	bool found;
	int rc = parse_note(note, n, pub, ret, &found, err);

	if (rc)
		return rc;
	evidence_origin(pub, origin);
	if (!str_eq(origin, ret->origin))
		return err_set(err, ERR_CORRUPT, "checkpoint: is of %s, not of %s", ret->origin, origin);
	if (!found || !ed25519_verify(pub, note, ret->n_text, ret->sig))
		return err_set(err, ERR_CORRUPT, "checkpoint of %s at %llu: signature does not verify", origin,
		        (unsigned long long)ret->size);
	return 0;
}

int evidence_note_verify_sized(const void *note, size_t n, const unsigned char pub[ED25519_PUB_LEN], uint64_t size,
        struct evidence_checkpoint *ret, struct err *err)
{
	int rc = evidence_note_verify(note, n, pub, ret, err);

	return rc || ret->size == size ? rc : err_set(err, ERR_CORRUPT, "its name tells another size");
}

char *evidence_vkey(const unsigned char pub[ED25519_PUB_LEN])
{
	return note_key_text(&note_of_log, pub);
}

int evidence_vkey_parse(const char *text, size_t n, unsigned char pub[ED25519_PUB_LEN], struct err *err)
{
	return note_key_parse(&note_of_log, text, n, pub, err);
}
