/* Opening a log: the key, the lock, a new log, and finding out what the files really hold. */
#include "evidence/log_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"

#define WAIT_STEP_MS 20

int lock_wait(const char *path, int64_t wait_ms, int *ret_fd, struct err *err)
{
	const struct timespec step = {.tv_nsec = WAIT_STEP_MS * 1000000L};

	for (;; wait_ms -= WAIT_STEP_MS) {
		int rc = fs_lock(path, ret_fd, err);

		if (rc != -ERR_BUSY || wait_ms <= 0)
			return rc;
		nanosleep(&step, NULL);
	}
}

static int take_lock(const struct evidence_config *c, int *ret, struct err *err)
{
	CLEAN(free_ptr) char *path = fs_join(c->dir, "lock");
	int rc = lock_wait(path, c->wait_ms, ret, err);

	return rc ? err_wrap(err, "evidence log") : 0;
}

static int key_load(const char *path, struct secret *seed, struct err *err)
{
	CLEAN(buf_release) struct buf text = BUF_INIT(4096);
	unsigned char raw[ED25519_SEED_LEN];
	struct stat st;
	bool ok;
	int rc;

	if (stat(path, &st) < 0)
		return err_sys(err, ERR_IO, "cannot read log key %s", path);
	if (st.st_mode & 077) {
		err_set(err, ERR_DENIED, "log key %s can be read by others", path);
		return err_hint(err, "chmod 600 %s", path);
	}
	rc = fs_read(path, &text, err);
	if (rc)
		return rc;
	buf_str(&text);
	ok = text.len == 2 * sizeof(raw) + 1 && text.p[text.len - 1] == '\n';
	if (ok) {
		text.p[text.len - 1] = 0;
		ok = hex_decode(raw, sizeof(raw), (const char *)text.p);
	}
	mem_cleanse(text.p, text.len);
	if (!ok)
		return err_set(err, ERR_FORMAT, "log key %s is malformed", path);
	secret_set(seed, raw, sizeof(raw));
	mem_cleanse(raw, sizeof(raw));
	return 0;
}

static int key_save(const char *path, const struct secret *seed, struct err *err)
{
	char text[2 * ED25519_SEED_LEN + 2];
	CLEAN(free_ptr) char *dir = xstrdup(path);
	char *slash = strrchr(dir, '/');
	int rc = 0;

	if (slash && slash != dir) {
		*slash = 0;
		rc = fs_mkdirs(dir, 0700, err);
	}
	hex_encode(text, seed->p, ED25519_SEED_LEN);
	text[sizeof(text) - 2] = '\n';
	if (!rc)
		rc = fs_create(path, text, sizeof(text) - 1, 0600, err);
	mem_cleanse(text, sizeof(text));
	return rc;
}

static void set_identity(struct evidence_log *log, const char *dir)
{
	ed25519_public(&log->seed, log->pub);
	evidence_id(log->pub, log->id);
	free(log->dir);
	log->dir = fs_join(dir, log->id);
}

static int open_file(const struct evidence_log *log, const char *name, int *ret, struct err *err)
{
	CLEAN(free_ptr) char *path = log_path(log, name);

	*ret = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return *ret < 0 ? err_sys(err, ERR_IO, "cannot open %s", path) : 0;
}

static int open_files(struct evidence_log *log, struct err *err)
{
	int rc = open_file(log, "records", &log->rec_fd, err);

	if (!rc)
		rc = open_file(log, "checkpoints", &log->cp_fd, err);
	return rc ? rc : fs_sync_dir(log->dir, err);
}

/* --- A new log --- */

struct known {
	json_t *list;
	char id[EVIDENCE_ID_LEN + 1];
	struct evidence_checkpoint cp;
	char *note;
};

static int keep_newest(void *arg, const struct evidence_checkpoint *cp, const char *note, const char *sshsig, struct err *err)
{
	struct known *k = arg;

	(void)sshsig;
	(void)err;
	if (k->note && cp->size <= k->cp.size)
		return 0;
	free(k->note);
	k->note = xstrdup(note);
	k->cp = *cp;
	return 0;
}

static void known_add(struct known *k)
{
	json_t *o;

	if (!k->note)
		return;
	o = json_object();
	json_object_set_new(o, "log", json_string(k->id));
	json_object_set_new(o, "size", json_integer((json_int_t)k->cp.size));
	json_object_set_new(o, "root", json_hex(k->cp.root, SHA256_LEN));
	json_object_set_new(o, "note_b64", json_b64(k->note, strlen(k->note)));
	json_array_append_new(k->list, o);
	free(TAKE(k->note));
}

/* What cannot be read is left out: a new log must be possible when an old one is a ruin, and verify reports the ruin. */
static json_t *known_logs(const struct evidence_config *c)
{
	CLEAN(log_ids_release) struct log_ids ids = {0};
	struct known k = {.list = json_array()};
	const struct copy_fns fns = {.arg = &k, .checkpoint = keep_newest, .newest_only = true};
	int ignored = log_ids_dir(c->dir, &ids, NULL);

	for (size_t s = 0; s < c->n_sites; s++)
		ignored = log_ids_site(c->sites[s], &ids, NULL);
	for (size_t i = 0; i < ids.n; i++) {
		unsigned char pub[ED25519_PUB_LEN];

		memcpy(k.id, ids.id[i], sizeof(k.id));
		if (copy_key_dir(c->dir, k.id, pub, NULL) == 0)
			ignored = copy_read_dir(c->dir, k.id, pub, &fns, NULL);
		for (size_t s = 0; s < c->n_sites; s++)
			if (copy_key_site(c->sites[s], k.id, pub, NULL) == 0)
				ignored = copy_read_site(c->sites[s], k.id, pub, &fns, NULL);
		known_add(&k);
	}
	(void)ignored;
	return k.list;
}

/* The key is written last: a key without records always means that records were lost, never that a creation was cut short. */
static int create_log(const struct evidence_config *c, struct evidence_log *log, struct err *err)
{
	CLEAN(free_ptr) char *vkey = NULL, *key_line = NULL, *key_file = NULL;
	CLEAN(json_release) json_t *body = json_object();
	char origin[EVIDENCE_ORIGIN_MAX];
	int rc;

	json_object_set_new(body, "known", known_logs(c));
	ed25519_generate(&log->seed, log->pub);
	set_identity(log, c->dir);
	evidence_origin(log->pub, origin);
	vkey = evidence_vkey(log->pub);
	json_object_set_new(body, "origin", json_string(origin));
	json_object_set_new(body, "key", json_string(vkey));
	BUG_ON(asprintf(&key_line, "%s\n", vkey) < 0);
	key_file = log_path(log, "key");
	rc = fs_mkdirs(log->dir, 0700, err);
	if (!rc)
		rc = fs_create(key_file, key_line, strlen(key_line), 0644, err);
	if (!rc)
		rc = open_files(log, err);
	if (!rc)
		rc = evidence_append(log, &(struct evidence_event){.type = "log-start", .body = body}, NULL, err);
	return rc ? rc : key_save(c->key_path, &log->seed, err);
}

/* --- Replay --- */

struct replay {
	struct evidence_log *log;
	struct lines cps;
	struct cp_line next; /* next checkpoint that the tree has not reached; json NULL: none */
};

static bool load_peaks(struct merkle *m, const json_t *peaks)
{
	size_t at = 0;

	for (unsigned i = 0; i < 64; i++) {
		const char *hex;

		if (!(m->size >> i & 1))
			continue;
		hex = json_string_value(json_array_get(peaks, at++));
		if (!hex || !hex_decode(m->peak[i], SHA256_LEN, hex))
			return false;
	}
	return at == json_array_size(peaks);
}

static bool byte_before_is_newline(int fd, uint64_t at)
{
	char c;

	return at > 0 && pread(fd, &c, 1, (off_t)at - 1) == 1 && c == '\n';
}

/* state.json holds when the last checkpoint it names is there, signed by us, and its root is that of the peaks. */
static bool load_state(struct evidence_log *log)
{
	CLEAN(free_ptr) char *path = log_path(log, "state.json");
	CLEAN(buf_release) struct buf text = BUF_INIT(EVIDENCE_RECORD_MAX);
	CLEAN(json_release) json_t *o = NULL;
	CLEAN(cp_line_release) struct cp_line cp = {0};
	CLEAN(lines_release) struct lines l = {.fd = -1};
	int64_t v, size, bytes, cp_off;
	unsigned char root[SHA256_LEN];
	const unsigned char *line;
	json_t *peaks;
	size_t n;

	if (fs_read(path, &text, NULL) || json_parse(text.p, text.len, text.limit, "state", &o, NULL))
		return false;
	if (json_get_int(o, "v", "state", &v, NULL) || v != 1 || json_get_int(o, "size", "state", &size, NULL) || json_get_int(o, "bytes", "state", &bytes, NULL) ||
		json_get_int(o, "checkpoint", "state", &cp_off, NULL) || json_get_arr(o, "peaks", "state", &peaks, NULL) || size <= 0 || bytes <= 0 || cp_off < 0)
		return false;
	struct merkle m = {.size = (uint64_t)size};
	if (!load_peaks(&m, peaks) || !byte_before_is_newline(log->rec_fd, (uint64_t)bytes))
		return false;
	lines_init(&l, log->cp_fd, (uint64_t)cp_off);
	if (lines_next(&l, &line, &n, NULL) != LINE_WHOLE || cp_line_parse(line, n, log->pub, &cp, NULL))
		return false;
	merkle_root(&m, root);
	if (cp.size != m.size || cp.offset != (uint64_t)bytes || memcmp(cp.cp.root, root, sizeof(root)) != 0)
		return false;
	log->tree = log->signed_tree = m;
	log->bytes = log->signed_bytes = (uint64_t)bytes;
	log->signed_size = m.size;
	log->cp_off = (uint64_t)cp_off;
	log->cp_bytes = l.off;
	return true;
}

/* Read on in the checkpoints file. A last line that is not whole was never acknowledged, and can be signed again: it is cut. */
static int next_checkpoint(struct replay *r, struct err *err)
{
	const unsigned char *line;
	size_t n;

	cp_line_release(&r->next);
	switch (lines_next(&r->cps, &line, &n, err)) {
	case LINE_ERROR:
		return -ERR_IO;
	case LINE_LONG:
		return err_set(err, ERR_CORRUPT, "log %s: checkpoints file is damaged", r->log->id);
	case LINE_TORN:
		if (ftruncate(r->log->cp_fd, (off_t)r->cps.off) < 0)
			return err_sys(err, ERR_IO, "cannot cut a torn checkpoint");
		return 0;
	case LINE_WHOLE:
		break;
	case LINE_NONE:
		return 0;
	}
	struct err why = ERR_INIT;
	if (cp_line_parse(line, n, r->log->pub, &r->next, &why))
		return err_set(err, ERR_CORRUPT, "log %s: checkpoints file: %s", r->log->id, why.msg);
	return 0;
}

/* The tree has grown: is a known checkpoint reached, and does it agree? */
static int pass_checkpoint(struct replay *r, struct err *err)
{
	struct evidence_log *log = r->log;
	unsigned char root[SHA256_LEN];

	while (r->next.json && r->next.size <= log->tree.size) {
		merkle_root(&log->tree, root);
		if (r->next.size != log->tree.size || r->next.offset != log->bytes || memcmp(root, r->next.cp.root, sizeof(root)) != 0) {
			err_set(err, ERR_CORRUPT, "log %s: records up to %llu are not those of its checkpoint", log->id, (unsigned long long)r->next.size);
			return err_hint(err, "holdfast evidence verify tells which record, and which copy is whole");
		}
		log->cp_off = log->cp_bytes;
		log->cp_bytes = r->cps.off;
		log->signed_tree = log->tree;
		log->signed_size = log->tree.size;
		log->signed_bytes = log->bytes;
		int rc = next_checkpoint(r, err);
		if (rc)
			return rc;
	}
	/* The checkpoints file was lost: sign again in batches of bounded size. */
	if (!r->next.json && log->bytes - log->signed_bytes > EVIDENCE_BATCH_MAX - LINES_MAX)
		return log_checkpoint_at(log, err);
	return 0;
}

static bool is_record(const unsigned char *line, size_t n)
{
	struct evidence_record r;

	if (evidence_record_parse(line, n, &r, NULL))
		return false;
	evidence_record_release(&r);
	return true;
}

/* A crash tears one record at most: a bad line with a good one behind it, or with too much behind it, is damage. */
static bool is_torn_tail(struct lines *l, uint64_t from)
{
	const unsigned char *line;
	enum line_kind kind;
	size_t n;

	while ((kind = lines_next(l, &line, &n, NULL)) == LINE_WHOLE)
		if (is_record(line, n))
			return false;
	return (kind == LINE_NONE || kind == LINE_TORN) && l->off + (kind == LINE_TORN ? n : 0) - from <= LINES_MAX;
}

static int replay_records(struct replay *r, struct err *err)
{
	struct evidence_log *log = r->log;
	CLEAN(lines_release) struct lines l;
	unsigned char leaf[SHA256_LEN];
	struct evidence_record rec;
	const unsigned char *line;
	enum line_kind kind;
	int rc = pass_checkpoint(r, err);
	size_t n;

	lines_init(&l, log->rec_fd, log->bytes);
	while (!rc && (kind = lines_next(&l, &line, &n, err)) == LINE_WHOLE) {
		struct err why = ERR_INIT;

		if (evidence_record_parse(line, n, &rec, &why)) {
			if (is_torn_tail(&l, log->bytes))
				return 0;
			return err_set(err, ERR_CORRUPT, "log %s: record %llu is damaged: %s", log->id, (unsigned long long)log->tree.size, why.msg);
		}
		if (rec.seq != log->tree.size)
			rc = err_set(err, ERR_CORRUPT, "log %s: record %llu stands where %llu belongs", log->id, (unsigned long long)rec.seq,
				(unsigned long long)log->tree.size);
		evidence_record_release(&rec);
		if (rc)
			break;
		merkle_leaf(line, n, leaf);
		merkle_append(&log->tree, leaf);
		log->bytes = l.off;
		rc = pass_checkpoint(r, err);
	}
	if (rc)
		return rc;
	if (kind == LINE_LONG)
		return err_set(err, ERR_CORRUPT, "log %s: record %llu is damaged", log->id, (unsigned long long)log->tree.size);
	return kind == LINE_ERROR ? -ERR_IO : 0;
}

int log_replay(struct evidence_log *log, struct err *err)
{
	struct replay r = {.log = log};
	bool resumed = load_state(log);
	int rc;

	if (!resumed) {
		merkle_init(&log->tree);
		merkle_init(&log->signed_tree);
		log->bytes = log->signed_bytes = log->signed_size = log->cp_bytes = log->cp_off = 0;
	}
	lines_init(&r.cps, log->cp_fd, log->cp_bytes);
	rc = next_checkpoint(&r, err);
	if (!rc)
		rc = replay_records(&r, err);
	if (!rc && r.next.json) {
		rc = err_set(err, ERR_FORK, "log %s: holds %llu records, but has signed %llu", log->id, (unsigned long long)log->tree.size,
			(unsigned long long)r.next.size);
		err_hint(err, "an old copy of the log was put back: move %s away, and it is fetched from the sites", log->dir);
	}
	cp_line_release(&r.next);
	lines_release(&r.cps);
	return rc || resumed || !log->signed_size ? rc : log_save_state(log, err);
}

/* --- Torn tail --- */

static int save_aside(struct evidence_log *log, const struct buf *tail, char **ret_name, struct err *err)
{
	for (unsigned i = 1;; i++) {
		CLEAN(free_ptr) char *name = NULL, *path = NULL;
		int rc;

		BUG_ON(asprintf(&name, "records.torn.%u", i) < 0);
		path = log_path(log, name);
		rc = fs_create(path, tail->p, tail->len, 0600, err);
		if (rc == -ERR_EXISTS)
			continue;
		if (!rc)
			*ret_name = TAKE(name);
		return rc;
	}
}

static int heal_tail(struct evidence_log *log, struct err *err)
{
	CLEAN(buf_release) struct buf tail = BUF_INIT(2 * LINES_MAX);
	CLEAN(free_ptr) char *name = NULL;
	CLEAN(json_release) json_t *body = NULL;
	struct evidence_subject subject;
	struct stat st;
	ssize_t k;
	int rc;

	if (fstat(log->rec_fd, &st) < 0)
		return err_sys(err, ERR_IO, "log %s", log->id);
	if ((uint64_t)st.st_size == log->bytes)
		return 0;
	rc = buf_reserve(&tail, (size_t)((uint64_t)st.st_size - log->bytes), err);
	if (rc)
		return rc;
	k = pread(log->rec_fd, tail.p, (size_t)((uint64_t)st.st_size - log->bytes), (off_t)log->bytes);
	if (k <= 0)
		return err_sys(err, ERR_IO, "log %s: cannot read its torn tail", log->id);
	tail.len = (size_t)k;
	rc = save_aside(log, &tail, &name, err);
	if (rc)
		return rc;
	if (ftruncate(log->rec_fd, (off_t)log->bytes) < 0 || fsync(log->rec_fd) < 0)
		return err_sys(err, ERR_EVIDENCE, "log %s: cannot cut its torn tail", log->id);
	subject.name = name;
	sha256_of(tail.p, tail.len, subject.sha256);
	body = json_pack("{s:I, s:s}", "bytes", (json_int_t)tail.len, "file", name);
	return evidence_append(log, &(struct evidence_event){.type = "log-torn", .subjects = &subject, .n_subjects = 1, .body = body}, NULL, err);
}

static int open_existing(const struct evidence_config *c, struct evidence_log *log, struct err *err)
{
	CLEAN(free_ptr) char *records = NULL;
	bool lost;
	int rc = 0;

	set_identity(log, c->dir);
	records = log_path(log, "records");
	lost = !fs_exists(records);
	if (lost)
		rc = log_fetch(log, c->sites, c->n_sites, err);
	if (!rc)
		rc = open_files(log, err);
	if (!rc)
		rc = log_replay(log, err);
	if (!rc)
		rc = heal_tail(log, err);
	/* What was appended after the last publish is gone, and a reader must be told where. */
	if (!rc && lost)
		rc = evidence_append(log, &(struct evidence_event){.type = "log-fetched"}, NULL, err);
	return rc;
}

int evidence_open(const struct evidence_config *c, struct evidence_log **ret, struct err *err)
{
	struct evidence_log *log = xcalloc(1, sizeof(*log));
	int rc = fs_mkdirs(c->dir, 0700, err);

	*ret = NULL;
	log->lock_fd = log->rec_fd = log->cp_fd = -1;
	if (!rc)
		rc = take_lock(c, &log->lock_fd, err);
	if (!rc && !fs_exists(c->key_path)) {
		if (c->create)
			rc = create_log(c, log, err);
		else
			rc = err_set(err, ERR_MISSING, "no log key at %s", c->key_path);
	} else if (!rc) {
		rc = key_load(c->key_path, &log->seed, err);
		if (!rc)
			rc = open_existing(c, log, err);
	}
	if (rc)
		evidence_close(log);
	else
		*ret = log;
	return rc;
}
