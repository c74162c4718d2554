/* Reading the copy of a log at a site. What is damaged there may have another object that stands in for it. */
#include "evidence/copy_internal.h"

#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "store/site_object.h"

#define SSHSIG_MAX (8u << 10)

static bool batch_key_range(const char *key, uint64_t *first, uint64_t *last)
{
	size_t head = strlen("l/") + EVIDENCE_ID_LEN + strlen("/records/");

	return strlen(key) == head + 2 * NUMBER_LEN + 1 && copy_parse_number(key + head, first) &&
	       key[head + NUMBER_LEN] == '-' && copy_parse_number(key + head + NUMBER_LEN + 1, last) && *first <= *last;
}

/* What is judged as it is read: kept when it is right. */
struct wanted {
	struct reader *r;
	uint64_t size;          /* of a checkpoint */
	const struct buf *note; /* of an sshsig */
	uint64_t first, last;   /* of records */
	struct buf *ret;
};

static int keep(struct wanted *w, const void *p, size_t n, struct err *err)
{
	buf_clear(w->ret);
	return buf_put(w->ret, p, n, err);
}

/* An object, or what stands in for it where it is not right. Without that: what is there, which the caller tells as wrong. */
static int get_right(struct reader *r, struct store *s, const char *key, site_accept_fn accept, struct wanted *w, uint64_t at, struct err *err)
{
	struct err wrong = ERR_INIT;
	int rc = site_object_judge(s, key, w->ret->limit, accept, w, &wrong, err);

	if (!rc && wrong.code)
		copy_problem(r, "replaced", at, "an object that is damaged has another that stands in for it");
	if (rc != -ERR_CORRUPT && rc != -ERR_FORMAT && rc != -ERR_UNSUPPORTED)
		return rc;
	buf_clear(w->ret);
	return store_get(s, key, w->ret, err);
}

static int accept_note(void *arg, const void *p, size_t n, struct err *err)
{
	struct evidence_checkpoint cp;
	struct wanted *w = arg;
	int rc = evidence_note_verify_sized(p, n, w->r->pub, w->size, &cp, err);

	return rc ? rc : keep(w, p, n, err);
}

static int accept_sshsig(void *arg, const void *p, size_t n, struct err *err)
{
	struct evidence_checkpoint cp;
	struct wanted *w = arg;
	int rc = evidence_note_parse(w->note->p, w->note->len, &cp, err);

	if (!rc)
		rc = sshsig_verify(p, n, w->r->pub, EVIDENCE_NAMESPACE, w->note->p, cp.n_text, err);
	return rc ? rc : keep(w, p, n, err);
}

static void add_head(struct reader *r, const struct buf *note)
{
	struct evidence_checkpoint cp;

	if (evidence_note_parse(note->p, note->len, &cp, NULL))
		return;
	r->cp = xgrow(r->cp, r->n_cp, &r->cap_cp, sizeof(*r->cp));
	r->cp[r->n_cp].size = cp.size;
	memcpy(r->cp[r->n_cp++].root, cp.root, SHA256_LEN);
}

static int site_checkpoint(struct reader *r, struct store *s, const char *key, uint64_t size, struct err *err)
{
	CLEAN(buf_release) struct buf note = BUF_INIT(EVIDENCE_NOTE_MAX), sshsig = BUF_INIT(SSHSIG_MAX);
	CLEAN(free_ptr) char *sig_key = NULL;
	struct wanted w = {.r = r, .size = size, .note = &note, .ret = &note};
	int rc = get_right(r, s, key, accept_note, &w, size, err);

	BUG_ON(asprintf(&sig_key, "%s.sshsig", key) < 0);
	if (rc == -ERR_NOMEM) {
		copy_problem(r, "checkpoint-damaged", size, "too large");
		return 0;
	}
	w.ret = &sshsig;
	if (!rc)
		rc = get_right(r, s, sig_key, accept_sshsig, &w, size, err);
	if (rc && rc != -ERR_MISSING && rc != -ERR_NOMEM)
		return rc;
	buf_str(&note);
	buf_str(&sshsig);
	uint64_t good = r->good;

	rc = copy_take_checkpoint(r, size, &note, &sshsig, err);
	if (r->good > good)
		add_head(r, &note);
	return rc;
}

static int site_checkpoints(struct reader *r, struct store *s, const char *id, struct err *err)
{
	CLEAN(store_keys_release) struct store_keys keys = {0};
	char prefix[64];
	int rc;

	snprintf(prefix, sizeof(prefix), "l/%s/checkpoint/", id);
	rc = store_list_all(s, prefix, &keys, err);
	for (size_t i = 0; !rc && i < keys.n && !(r->f->newest_only && r->good); i++) {
		const char *key = keys.key[r->f->newest_only ? keys.n - 1 - i : i];
		uint64_t size;

		if (checkpoint_key_size(key, id, &size))
			rc = site_checkpoint(r, s, key, size, err);
	}
	return rc;
}

static const struct head_at *head_of(const struct reader *r, uint64_t size)
{
	size_t lo = 0, hi = r->n_cp;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r->cp[mid].size < size)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < r->n_cp && r->cp[lo].size == size ? &r->cp[lo] : NULL;
}

/* As many records as its name says, and, behind what was read so far, the root that was signed. */
static int accept_batch(void *arg, const void *p, size_t n, struct err *err)
{
	struct wanted *w = arg;
	struct merkle tree = w->r->tree;
	const struct head_at *cp = head_of(w->r, w->last + 1);
	const unsigned char *at = p, *end;
	unsigned char h[SHA256_LEN];
	uint64_t seq = w->first;

	for (size_t left = n; left; left -= (size_t)(end + 1 - at), at = end + 1, seq++) {
		struct evidence_record rec;

		end = memchr(at, '\n', left);
		if (!end || seq > w->last)
			return err_set(err, ERR_CORRUPT, "holds more or less than its name says");
		if (evidence_record_parse(at, (size_t)(end - at), &rec, err))
			return err_rc(err);
		bool right = rec.seq == seq;

		evidence_record_release(&rec);
		if (!right)
			return err_set(err, ERR_CORRUPT, "a record of another number stands here");
		if (seq != tree.size)
			continue;
		merkle_leaf(at, (size_t)(end - at), h);
		merkle_append(&tree, h);
	}
	merkle_root(&tree, h);
	if (seq != w->last + 1)
		return err_set(err, ERR_CORRUPT, "holds more or less than its name says");
	if (cp && !w->r->lost && tree.size == cp->size && memcmp(h, cp->root, sizeof(h)) != 0)
		return err_set(err, ERR_CORRUPT, "its records are not those that were signed");
	return keep(w, p, n, err);
}

static void grow_tree(struct reader *r, uint64_t seq, const void *line, size_t n)
{
	unsigned char leaf[SHA256_LEN];

	if (seq != r->tree.size)
		return;
	merkle_leaf(line, n, leaf);
	merkle_append(&r->tree, leaf);
}

static void watch_tree(struct reader *r)
{
	const struct head_at *cp = head_of(r, r->tree.size);
	unsigned char root[SHA256_LEN];

	merkle_root(&r->tree, root);
	r->lost |= cp && memcmp(root, cp->root, sizeof(root)) != 0;
}

/* One object of records. Returns 1 when reading must end because what follows has lost its place. */
static int site_batch(
        struct reader *r, struct store *s, const char *key, uint64_t first, uint64_t last, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(EVIDENCE_BATCH_MAX + LINES_MAX);
	struct wanted w = {.r = r, .first = first, .last = last, .ret = &b};
	int rc = get_right(r, s, key, accept_batch, &w, first, err);
	const unsigned char *at = b.p;
	uint64_t seq = first;

	if (rc == -ERR_NOMEM) {
		copy_problem(r, "record-damaged", first, "an object of records is too large; what follows was not read");
		return 1;
	}
	if (rc)
		return rc;
	for (size_t left = b.len; left;) {
		const unsigned char *end = memchr(at, '\n', left);

		if (!end || seq > last)
			break;
		grow_tree(r, seq, at, (size_t)(end - at));
		rc = copy_take_record(r, seq++, at, (size_t)(end - at), err);
		if (rc)
			return rc;
		left -= (size_t)(end + 1 - at);
		at = end + 1;
	}
	watch_tree(r);
	if (seq == last + 1 && at == b.p + b.len)
		return 0;
	copy_problem(r, "batch-damaged", seq,
	        "an object of records holds more or less than its name says; what follows was not read");
	return 1;
}

static int site_records(struct reader *r, struct store *s, const char *id, struct err *err)
{
	CLEAN(store_keys_release) struct store_keys keys = {0};
	uint64_t next = 0, first, last;
	char prefix[64];
	int rc;

	snprintf(prefix, sizeof(prefix), "l/%s/records/", id);
	rc = store_list_all(s, prefix, &keys, err);
	for (size_t i = 0; !rc && i < keys.n; i++) {
		if (!batch_key_range(keys.key[i], &first, &last))
			continue;
		if (first > next) {
			copy_problem(r, "records-missing", next,
			        "an object of records is missing; what follows was not read");
			return 0;
		}
		rc = site_batch(r, s, keys.key[i], first, last, err);
		next = last >= next ? last + 1 : next;
	}
	return rc == 1 ? 0 : rc;
}

int copy_read_site(struct store *s, const char *id, const unsigned char pub[ED25519_PUB_LEN], const struct copy_fns *f,
        struct err *err)
{
	struct reader r = {.f = f, .pub = pub};
	int rc = f->checkpoint ? site_checkpoints(&r, s, id, err) : 0;

	if (!rc && f->record)
		rc = site_records(&r, s, id, err);
	free(r.cp);
	return rc;
}
