/* Reading one copy of a log: a local directory or a site. What comes from there is outside bytes. */
#include "evidence/copy_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "store/site_object.h"

#define KEY_FILE_MAX 1024

/* --- Names --- */

static bool is_log_id(const char *s, size_t n)
{
	if (n != EVIDENCE_ID_LEN)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
			return false;
	return true;
}

void log_ids_release(struct log_ids *ids)
{
	free(ids->id);
	*ids = (struct log_ids){0};
}

void log_ids_add(struct log_ids *ids, const char *id)
{
	size_t at = 0;

	if (!is_log_id(id, strlen(id)))
		return;
	while (at < ids->n && strcmp(ids->id[at], id) < 0)
		at++;
	if (at < ids->n && strcmp(ids->id[at], id) == 0)
		return;
	ids->id = xgrow(ids->id, ids->n, &ids->cap, sizeof(*ids->id));
	memmove(ids->id + at + 1, ids->id + at, (ids->n - at) * sizeof(*ids->id));
	memcpy(ids->id[at], id, sizeof(*ids->id));
	ids->n++;
}

int log_ids_dir(const char *dir, struct log_ids *ids, struct err *err)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	if (!d)
		return errno == ENOENT ? 0 : err_sys(err, ERR_IO, "cannot list %s", dir);
	while ((e = readdir(d)))
		log_ids_add(ids, e->d_name);
	closedir(d);
	return 0;
}

struct first_key {
	char key[STORE_KEY_MAX + 1];
};

static int take_first(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	struct first_key *f = arg;

	(void)st;
	(void)err;
	snprintf(f->key, sizeof(f->key), "%s", key);
	return 1;
}

/* Hop from log to log: a listing of everything would grow with their age. */
int log_ids_site(struct store *s, struct log_ids *ids, struct err *err)
{
	struct first_key f;
	char after[STORE_KEY_MAX + 1] = "l/";
	int rc;

	while ((rc = store_list(s, "l/", after, take_first, &f, err)) == 1) {
		char *id = f.key + 2, *slash = strchr(id, '/');

		if (!slash) {
			memcpy(after, f.key, sizeof(after));
			continue;
		}
		*slash = 0;
		log_ids_add(ids, id);
		snprintf(after, sizeof(after), "l/%.*s0", STORE_KEY_MAX - 3, id); /* '0' follows '/' */
	}
	return rc;
}

bool copy_parse_number(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	for (size_t i = 0; i < NUMBER_LEN; i++) {
		if (s[i] < '0' || s[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
		        __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v))
			return false;
	}
	*ret = v;
	return true;
}

bool checkpoint_key_size(const char *key, const char *id, uint64_t *ret)
{
	size_t head = strlen("l/") + EVIDENCE_ID_LEN + strlen("/checkpoint/");

	return strlen(key) == head + NUMBER_LEN && strncmp(key + 2, id, EVIDENCE_ID_LEN) == 0 &&
	       copy_parse_number(key + head, ret);
}

/* --- Keys --- */

static int key_from(struct buf *text, const char *id, unsigned char pub[ED25519_PUB_LEN], struct err *err)
{
	char want[EVIDENCE_ID_LEN + 1];
	size_t n = text->len;
	int rc;

	if (n && text->p[n - 1] == '\n')
		n--;
	rc = evidence_vkey_parse(buf_str(text), n, pub, err);
	if (rc)
		return rc;
	evidence_id(pub, want);
	return str_eq(want, id) ? 0 : err_set(err, ERR_CORRUPT, "key of log %s is of another log", id);
}

int copy_key_dir(const char *dir, const char *id, unsigned char pub[ED25519_PUB_LEN], struct err *err)
{
	CLEAN(free_ptr) char *sub = fs_join(dir, id), *path = fs_join(sub, "key");
	CLEAN(buf_release) struct buf text = BUF_INIT(KEY_FILE_MAX);
	int rc = fs_read(path, &text, err);

	return rc ? rc : key_from(&text, id, pub, err);
}

struct key_of {
	const char *id;
	unsigned char *pub;
};

static int accept_key(void *arg, const void *p, size_t n, struct err *err)
{
	CLEAN(buf_release) struct buf text = BUF_INIT(KEY_FILE_MAX);
	const struct key_of *k = arg;
	int rc = buf_put(&text, p, n, err);

	return rc ? rc : key_from(&text, k->id, k->pub, err);
}

int copy_key_site(struct store *s, const char *id, unsigned char pub[ED25519_PUB_LEN], struct err *err)
{
	struct key_of k = {id, pub};
	char key[64];

	snprintf(key, sizeof(key), "l/%s/key", id);
	return site_object_get(s, key, KEY_FILE_MAX, accept_key, &k, err);
}

bool copy_key_is_whole(struct store *s, const char *id)
{
	CLEAN(buf_release) struct buf text = BUF_INIT(KEY_FILE_MAX);
	unsigned char pub[ED25519_PUB_LEN];
	char key[64];

	snprintf(key, sizeof(key), "l/%s/key", id);
	return !store_get(s, key, &text, NULL) && !key_from(&text, id, pub, NULL);
}

/* --- What both kinds of place share --- */

void copy_problem(const struct reader *r, const char *code, uint64_t seq, const char *detail)
{
	if (r->f->problem)
		r->f->problem(r->f->arg, code, seq, detail);
}

int copy_take_record(struct reader *r, uint64_t seq, const void *line, size_t n, struct err *err)
{
	struct evidence_record rec;
	struct err why = ERR_INIT;
	bool ok = evidence_record_parse(line, n, &rec, &why) == 0;
	int rc = 0;

	if (!ok) {
		copy_problem(r, "record-damaged", seq, why.msg);
	} else if ((int64_t)(rec.seq - seq) != r->shift) {
		/* After a dropped or inserted record all that follow are shifted alike: that is one finding. */
		r->shift = (int64_t)(rec.seq - seq);
		if (r->shift)
			copy_problem(r, "sequence", seq, "a record of another number stands here");
	}
	if (r->f->record)
		rc = r->f->record(r->f->arg, seq, ok ? &rec : NULL, line, n, err);
	if (ok)
		evidence_record_release(&rec);
	return rc;
}

int copy_take_checkpoint(
        struct reader *r, uint64_t size, const struct buf *note, const struct buf *sshsig, struct err *err)
{
	struct evidence_checkpoint cp;
	struct err why = ERR_INIT;

	if (evidence_note_verify_sized(note->p, note->len, r->pub, size, &cp, &why)) {
		copy_problem(r, "checkpoint-damaged", size, why.msg);
		return 0;
	}
	r->good++;
	if (!sshsig->len)
		copy_problem(r, "sshsig-missing", size, "checkpoint without its sshsig");
	else if (sshsig_verify(
	                 (const char *)sshsig->p, sshsig->len, r->pub, EVIDENCE_NAMESPACE, note->p, cp.n_text, &why))
		copy_problem(r, "sshsig-damaged", size, why.msg);
	if (!r->f->checkpoint)
		return 0;
	return r->f->checkpoint(r->f->arg, &cp, (const char *)note->p, (const char *)sshsig->p, err);
}

/* --- A local directory --- */

static int dir_file(const char *dir, const char *id, const char *name, int *ret, struct err *err)
{
	CLEAN(free_ptr) char *sub = fs_join(dir, id), *path = fs_join(sub, name);

	*ret = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return *ret < 0 ? err_sys(err, ERR_IO, "cannot open %s", path) : 0;
}

static int dir_checkpoint(struct reader *r, const void *line, size_t n, struct err *err)
{
	CLEAN(buf_release) struct buf note = BUF_INIT(LINES_MAX), sshsig = BUF_INIT(LINES_MAX);
	CLEAN(json_release) json_t *o = NULL;
	const char *text, *sig;
	int64_t size;

	if (json_parse(line, n, LINES_MAX, "checkpoints file", &o, NULL) ||
	        json_get_str(o, "note", "checkpoint", &text, NULL) ||
	        json_get_str(o, "sshsig", "checkpoint", &sig, NULL) ||
	        json_get_int(o, "size", "checkpoint", &size, NULL) || size < 0) {
		copy_problem(r, "checkpoint-damaged", 0, "malformed line in the checkpoints file");
		return 0;
	}
	buf_addf(&note, "%s", text);
	buf_addf(&sshsig, "%s", sig);
	return copy_take_checkpoint(r, (uint64_t)size, &note, &sshsig, err);
}

static int dir_checkpoints(struct reader *r, int fd, struct err *err)
{
	CLEAN(lines_release) struct lines l;
	const unsigned char *line;
	enum line_kind kind;
	int rc = 0;
	size_t n;

	lines_init(&l, fd, 0);
	while (!rc && (kind = lines_next(&l, &line, &n, err)) == LINE_WHOLE)
		rc = dir_checkpoint(r, line, n, err);
	if (rc)
		return rc;
	if (kind == LINE_TORN)
		copy_problem(r, "torn-tail", 0, "the checkpoints file ends within a line");
	if (kind == LINE_LONG)
		copy_problem(r, "checkpoint-damaged", 0, "line too long in the checkpoints file");
	return kind == LINE_ERROR ? -ERR_IO : 0;
}

static int dir_records(struct reader *r, int fd, struct err *err)
{
	CLEAN(lines_release) struct lines l;
	const unsigned char *line;
	enum line_kind kind;
	uint64_t seq = 0;
	int rc = 0;
	size_t n;

	lines_init(&l, fd, 0);
	while (!rc && (kind = lines_next(&l, &line, &n, err)) == LINE_WHOLE)
		rc = copy_take_record(r, seq++, line, n, err);
	if (rc)
		return rc;
	if (kind == LINE_TORN)
		copy_problem(r, "torn-tail", seq, "the records file ends within a line");
	if (kind == LINE_LONG)
		copy_problem(r, "record-damaged", seq, "line too long; what follows was not read");
	return kind == LINE_ERROR ? -ERR_IO : 0;
}

int copy_read_dir(const char *dir, const char *id, const unsigned char pub[ED25519_PUB_LEN], const struct copy_fns *f,
        struct err *err)
{
	struct reader r = {.f = f, .pub = pub};
	CLEAN(close_fd) int cp = -1, rec = -1;
	int rc;

	if (f->checkpoint) {
		rc = dir_file(dir, id, "checkpoints", &cp, err);
		if (rc == -ERR_MISSING)
			copy_problem(&r, "checkpoints-missing", 0, "no checkpoints file");
		else if (!rc)
			rc = dir_checkpoints(&r, cp, err);
		if (rc && rc != -ERR_MISSING)
			return rc;
	}
	if (!f->record)
		return 0;
	rc = dir_file(dir, id, "records", &rec, err);
	return rc ? rc : dir_records(&r, rec, err);
}
