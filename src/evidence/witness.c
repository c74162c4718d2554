#include "evidence/witness.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "crypto/note_key.h"
#include "evidence/log_internal.h"

#define DASH "\xe2\x80\x94 "
#define KEY_ID_LEN NOTE_KEY_HASH_LEN
#define STAMP_LEN 8
#define BLOB_LEN (KEY_ID_LEN + STAMP_LEN + ED25519_SIG_LEN)
#define BLOB_B64 (4 * ((BLOB_LEN + 2) / 3))
#define PROOF_MAX 63
#define LOCK_WAIT_MS 10000

struct witness {
	char *dir;
	struct secret seed;
	unsigned char pub[ED25519_PUB_LEN];
};

/* --- names and keys --- */

void witness_id(const unsigned char pub[ED25519_PUB_LEN], char out[EVIDENCE_ID_LEN + 1])
{
	note_key_id(pub, out);
}

char *witness_vkey(const unsigned char pub[ED25519_PUB_LEN])
{
	return note_key_text(&note_of_witness, pub);
}

int witness_vkey_parse(const char *text, size_t n, unsigned char pub[ED25519_PUB_LEN], struct err *err)
{
	return note_key_parse(&note_of_witness, text, n, pub, err);
}

static void name_and_hash(const unsigned char pub[ED25519_PUB_LEN], char name[NOTE_KEY_NAME], unsigned char hash[KEY_ID_LEN])
{
	note_key_name(&note_of_witness, pub, name);
	note_key_hash(&note_of_witness, name, pub, hash);
}

/* --- the cosignature --- */

static void signed_text(struct buf *b, uint64_t time_s, const void *text, size_t n_text)
{
	buf_addf(b, "cosignature/v1\ntime %llu\n", (unsigned long long)time_s);
	buf_add(b, text, n_text);
}

/* The stamp is the one big-endian number here: it is not our format. */
static void put_be64(unsigned char *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (unsigned char)v;
}

static uint64_t get_be64(const unsigned char *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

static void put_line(const struct witness *w, const void *text, size_t n_text, struct buf *ret)
{
	unsigned char blob[BLOB_LEN];
	CLEAN(buf_release) struct buf b = BUF_INIT(EVIDENCE_NOTE_MAX + 256);
	char name[NOTE_KEY_NAME], b64[BLOB_B64 + 1];
	uint64_t now = (uint64_t)(clock_wall_ns() / 1000000000);

	name_and_hash(w->pub, name, blob);
	put_be64(blob + KEY_ID_LEN, now);
	signed_text(&b, now, text, n_text);
	ed25519_sign(&w->seed, b.p, b.len, blob + KEY_ID_LEN + STAMP_LEN);
	base64_encode(b64, blob, sizeof blob);
	buf_addf(ret, DASH "%s %s\n", name, b64);
}

int witness_line_verify(const char *line, size_t n, const unsigned char pub[ED25519_PUB_LEN], const void *text,
        size_t n_text, int64_t *ret_time_s, struct err *err)
{
	unsigned char hash[KEY_ID_LEN], blob[BLOB_B64];
	CLEAN(buf_release) struct buf b = BUF_INIT(EVIDENCE_NOTE_MAX + 256), head = BUF_INIT(256);
	char name[NOTE_KEY_NAME];

	name_and_hash(pub, name, hash);
	buf_addf(&head, DASH "%s ", name);
	if (n_text > EVIDENCE_NOTE_MAX || n != head.len + BLOB_B64 + 1 || memcmp(line, head.p, head.len) != 0 ||
	        line[n - 1] != '\n' || base64_decode(blob, line + head.len, BLOB_B64) != BLOB_LEN)
		return err_set(err, ERR_FORMAT, "cosignature: malformed, or by another than %s", name);
	uint64_t time_s = get_be64(blob + KEY_ID_LEN);

	signed_text(&b, time_s, text, n_text);
	if (memcmp(blob, hash, sizeof hash) != 0 || time_s > INT64_MAX / 1000000000 ||
	        !ed25519_verify(pub, b.p, b.len, blob + KEY_ID_LEN + STAMP_LEN))
		return err_set(err, ERR_CORRUPT, "cosignature of %s: it does not verify", name);
	*ret_time_s = (int64_t)time_s;
	return 0;
}

/* --- making and opening --- */

int witness_create(const char *dir, char **ret_vkey, struct err *err)
{
	CLEAN(free_ptr) char *path = fs_join(dir, "key");
	CLEAN(secret_release) struct secret seed = {0};
	unsigned char pub[ED25519_PUB_LEN];
	char text[2 * ED25519_SEED_LEN + 2];
	int rc = fs_mkdirs(dir, 0700, err);

	if (rc)
		return rc;
	ed25519_generate(&seed, pub);
	hex_encode(text, seed.p, ED25519_SEED_LEN);
	text[sizeof text - 2] = '\n';
	rc = fs_create(path, text, sizeof text - 1, 0600, err);
	mem_cleanse(text, sizeof text);
	if (!rc)
		*ret_vkey = witness_vkey(pub);
	return rc;
}

static int load_key(const char *path, struct secret *seed, struct err *err)
{
	CLEAN(buf_release) struct buf text = BUF_INIT(256);
	unsigned char raw[ED25519_SEED_LEN];
	struct stat st;
	int rc = stat(path, &st) < 0 ? err_sys(err, ERR_IO, "cannot read %s", path) : fs_read(path, &text, err);

	if (rc)
		return rc;
	if (st.st_mode & 077) {
		(void)err_set(err, ERR_DENIED, "key %s can be read by others", path);
		return err ? err_hint(err, "chmod 600 %s", path) : -ERR_DENIED;
	}
	bool good = text.len == 2 * sizeof raw + 1 && text.p[text.len - 1] == '\n';

	if (good) {
		text.p[text.len - 1] = '\0';
		good = hex_decode(raw, sizeof raw, (const char *)text.p);
	}
	mem_cleanse(text.p, text.len);
	if (!good)
		return err_set(err, ERR_FORMAT, "key %s is malformed", path);
	secret_set(seed, raw, sizeof raw);
	mem_cleanse(raw, sizeof raw);
	return 0;
}

int witness_open(const char *dir, struct witness **ret, struct err *err)
{
	CLEAN(free_ptr) char *path = fs_join(dir, "key");
	struct witness *w = xcalloc(1, sizeof *w);
	int rc = load_key(path, &w->seed, err);

	*ret = NULL;
	if (rc) {
		free(w);
		return rc;
	}
	ed25519_public(&w->seed, w->pub);
	w->dir = xstrdup(dir);
	*ret = w;
	return 0;
}

void witness_free(struct witness *w)
{
	if (!w)
		return;
	secret_release(&w->seed);
	free(w->dir);
	free(w);
}

/* --- answering --- */

struct request {
	uint64_t old;
	unsigned char proof[PROOF_MAX][SHA256_LEN];
	size_t n_proof;
	const unsigned char *note;
	size_t n_note;
};

static bool take_line(struct rd *r, const char **ret, size_t *n)
{
	const unsigned char *end = r->left ? memchr(r->p, '\n', r->left) : NULL;

	if (!end)
		return false;
	*ret = (const char *)r->p;
	*n = (size_t)(end - r->p);
	return rd_bytes(r, *n + 1) != NULL;
}

static bool parse_number(const char *p, size_t n, uint64_t *ret)
{
	uint64_t v = 0;

	if (!n || n > 20 || (n > 1 && *p == '0'))
		return false;
	for (size_t i = 0; i < n; i++)
		if (p[i] < '0' || p[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
		        __builtin_add_overflow(v, (uint64_t)(p[i] - '0'), &v))
			return false;
	*ret = v;
	return true;
}

static int parse_request(const void *p, size_t n, struct request *ret, struct err *err)
{
	struct rd r = rd_init(p, n);
	unsigned char hash[36];
	const char *line;
	size_t len;

	*ret = (struct request){0};
	if (n > WITNESS_REQUEST_MAX || !take_line(&r, &line, &len) || len < 5 || memcmp(line, "old ", 4) != 0 ||
	        !parse_number(line + 4, len - 4, &ret->old))
		return err_set(err, ERR_FORMAT, "request for a cosignature: no old size");
	for (;;) {
		if (!take_line(&r, &line, &len))
			return err_set(err, ERR_FORMAT, "request for a cosignature: it ends in the proof");
		if (!len)
			break;
		if (ret->n_proof == PROOF_MAX || len != 44 || base64_decode(hash, line, len) != SHA256_LEN)
			return err_set(err, ERR_FORMAT, "request for a cosignature: malformed proof");
		memcpy(ret->proof[ret->n_proof++], hash, SHA256_LEN);
	}
	ret->note = r.p;
	ret->n_note = r.left;
	return 0;
}

/* The log whose checkpoint it is, by its own name; its key is the one beside its copy at the site. */
static int log_of(struct store *site, const struct request *q, char id[EVIDENCE_ID_LEN + 1],
        struct evidence_checkpoint *cp, unsigned char pub[ED25519_PUB_LEN], struct err *err)
{
	unsigned char raw[EVIDENCE_ID_LEN / 2];
	int rc = evidence_note_parse(q->note, q->n_note, cp, err);

	if (rc)
		return rc;
	if (!str_starts(cp->origin, "holdfast/") || strlen(cp->origin) != strlen("holdfast/") + EVIDENCE_ID_LEN ||
	        !hex_decode(raw, sizeof raw, cp->origin + strlen("holdfast/")))
		return err_set(err, ERR_FORMAT, "request for a cosignature: %s is no log of holdfast", cp->origin);
	str_copy(id, EVIDENCE_ID_LEN + 1, cp->origin + strlen("holdfast/"));
	rc = copy_key_site(site, id, pub, err);
	return rc ? rc : evidence_note_verify(q->note, q->n_note, pub, cp, err);
}

static int fork_found(const struct evidence_checkpoint *last, const struct evidence_checkpoint *cp, struct err *err)
{
	return err_set(err, ERR_FORK, "log %s: the checkpoint at %llu does not continue the one at %llu that was cosigned",
	        cp->origin, (unsigned long long)cp->size, (unsigned long long)last->size);
}

/* last->size 0: nothing was cosigned yet. */
static int judge(const struct request *q, const struct evidence_checkpoint *last, const struct evidence_checkpoint *cp,
        struct err *err)
{
	if (!last->size)
		return 0;
	if (cp->size < last->size || !merkle_consistency_ok(last->size, last->root, cp->size, cp->root,
	                                     (const unsigned char *)q->proof, q->n_proof))
		return fork_found(last, cp, err);
	return 0;
}

static int load_last(const char *path, const unsigned char pub[ED25519_PUB_LEN], struct evidence_checkpoint *ret,
        struct err *err)
{
	CLEAN(buf_release) struct buf text = BUF_INIT(EVIDENCE_NOTE_MAX);
	int rc = fs_read(path, &text, err);

	*ret = (struct evidence_checkpoint){0};
	if (rc == -ERR_MISSING)
		return 0;
	rc = rc ? rc : evidence_note_verify(text.p, text.len, pub, ret, err);
	return rc ? err_wrap(err, "%s", path) : 0;
}

static int cosign_locked(struct witness *w, const char *path, const struct request *q,
        const struct evidence_checkpoint *cp, const unsigned char pub[ED25519_PUB_LEN], struct buf *ret, struct err *err)
{
	struct evidence_checkpoint last;
	int rc = load_last(path, pub, &last, err);

	if (rc)
		return rc;
	if (q->old != last.size && cp->size >= last.size)
		return buf_printf(ret, err, "size %llu\n", (unsigned long long)last.size);
	rc = judge(q, &last, cp, err);
	/* Kept before it is given out: what was cosigned once is never forgotten. */
	if (!rc && (cp->size > last.size || !last.size))
		rc = fs_replace(path, q->note, q->n_note, 0600, err);
	if (rc)
		return rc;
	CLEAN(free_ptr) char *vkey = witness_vkey(w->pub);

	rc = buf_printf(ret, err, "key %s\n", vkey);
	if (!rc)
		put_line(w, q->note, cp->n_text, ret);
	return rc;
}

int witness_cosign(struct witness *w, struct store *site, const void *p, size_t n, struct buf *ret, struct err *err)
{
	CLEAN(free_ptr) char *lock = fs_join(w->dir, "lock"), *path = NULL;
	CLEAN(close_fd) int lock_fd = -1;
	unsigned char pub[ED25519_PUB_LEN];
	char id[EVIDENCE_ID_LEN + 1];
	struct evidence_checkpoint cp;
	struct request q;
	int rc = parse_request(p, n, &q, err);

	if (!rc)
		rc = log_of(site, &q, id, &cp, pub, err);
	if (!rc)
		rc = lock_wait(lock, LOCK_WAIT_MS, &lock_fd, err);
	if (rc)
		return rc;
	path = fs_join(w->dir, id);
	return cosign_locked(w, path, &q, &cp, pub, ret, err);
}
