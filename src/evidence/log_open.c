/* Opening a log: the lock, the key, a new log, and healing a torn tail. */
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

static int keep_newest(
        void *arg, const struct evidence_checkpoint *cp, const char *note, const char *sshsig, struct err *err)
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

/* What cannot be read is left out: a new log must be possible when an old one is a ruin, and verify reports the ruin.
 */
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

/* The key is written last: a key without records always means that records were lost, never that a creation was cut
 * short. */
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
	return evidence_append(log,
	        &(struct evidence_event){.type = "log-torn", .subjects = &subject, .n_subjects = 1, .body = body}, NULL,
	        err);
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
