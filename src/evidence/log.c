/* The log once it is open: append, checkpoint, state; and the lock-free scan. */
#include "evidence/log_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"

char *log_path(const struct evidence_log *log, const char *name)
{
	return fs_join(log->dir, name);
}

void evidence_close(struct evidence_log *log)
{
	if (!log)
		return;
	close_fd(&log->rec_fd);
	close_fd(&log->cp_fd);
	close_fd(&log->lock_fd);
	secret_release(&log->seed);
	free(log->dir);
	free(log);
}

const char *evidence_log_id(const struct evidence_log *log)
{
	return log->id;
}

const unsigned char *evidence_log_public(const struct evidence_log *log)
{
	return log->pub;
}

uint64_t evidence_log_size(const struct evidence_log *log)
{
	return log->tree.size;
}

uint64_t evidence_log_signed(const struct evidence_log *log)
{
	return log->signed_size;
}

int log_write(struct evidence_log *log, int fd, uint64_t at, const void *p, size_t n, struct err *err)
{
	const unsigned char *from = p;

	while (n) {
		ssize_t k = pwrite(fd, from, n, (off_t)at);

		if (k <= 0)
			break;
		from += k;
		at += (uint64_t)k;
		n -= (size_t)k;
	}
	if (n == 0 && fdatasync(fd) == 0)
		return 0;
	log->broken = true;
	err_sys(err, ERR_EVIDENCE, "log %s: cannot write", log->id);
	if (err)
		err->code = ERR_EVIDENCE;
	return -ERR_EVIDENCE;
}

static int check_usable(const struct evidence_log *log, struct err *err)
{
	if (!log->broken)
		return 0;
	err_set(err, ERR_EVIDENCE, "log %s: an earlier write failed", log->id);
	return err_hint(err, "open the log again");
}

int evidence_append(struct evidence_log *log, const struct evidence_event *ev, uint64_t *ret_seq, struct err *err)
{
	CLEAN(buf_release) struct buf line = BUF_INIT(EVIDENCE_RECORD_MAX + 1);
	int rc = check_usable(log, err);

	if (rc)
		return rc;
	rc = evidence_record_make(ev, log->tree.size, &line, err);
	if (rc)
		return rc;
	if (log->bytes + line.len + 1 - log->signed_bytes > EVIDENCE_BATCH_MAX) {
		rc = log_checkpoint_at(log, err);
		if (rc)
			return rc;
	}
	buf_add(&line, "\n", 1);
	rc = log_write(log, log->rec_fd, log->bytes, line.p, line.len, err);
	if (rc)
		return rc;
	unsigned char leaf[SHA256_LEN];
	merkle_leaf(line.p, line.len - 1, leaf);
	if (ret_seq)
		*ret_seq = log->tree.size;
	merkle_append(&log->tree, leaf);
	log->bytes += line.len;
	return 0;
}

int cp_line_text(uint64_t size, uint64_t offset, const char *note, const char *sshsig, struct buf *out, struct err *err)
{
	CLEAN(json_release)
	json_t *o = json_pack("{s:I, s:I, s:s, s:s}", "size", (json_int_t)size, "offset", (json_int_t)offset, "note",
	        note, "sshsig", sshsig);
	CLEAN(free_ptr) char *text = o ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	if (!text)
		return err_set(err, ERR_FORMAT, "checkpoint at %llu is no text", (unsigned long long)size);
	return buf_printf(out, err, "%s\n", text);
}

int cp_line_make(const struct secret *seed, uint64_t size, uint64_t offset, const unsigned char root[SHA256_LEN],
        struct buf *out, struct err *err)
{
	CLEAN(buf_release) struct buf note = BUF_INIT(EVIDENCE_NOTE_MAX);
	CLEAN(free_ptr) char *sshsig = NULL;
	struct evidence_checkpoint cp;
	int rc = evidence_note_make(seed, size, root, &note, err);

	if (!rc)
		rc = evidence_note_parse(note.p, note.len, &cp, err);
	if (rc)
		return rc;
	sshsig = sshsig_sign(seed, EVIDENCE_NAMESPACE, note.p, cp.n_text);
	return cp_line_text(size, offset, buf_str(&note), sshsig, out, err);
}

void cp_line_release(struct cp_line *l)
{
	json_decref(l->json);
	*l = (struct cp_line){0};
}

int cp_line_parse(
        const void *line, size_t n, const unsigned char pub[ED25519_PUB_LEN], struct cp_line *ret, struct err *err)
{
	int64_t size, offset;
	int rc;

	*ret = (struct cp_line){0};
	rc = json_parse(line, n, LINES_MAX, "checkpoints file", &ret->json, err);
	if (!rc && (json_get_int(ret->json, "size", "checkpoint", &size, err) ||
	                   json_get_int(ret->json, "offset", "checkpoint", &offset, err) ||
	                   json_get_str(ret->json, "note", "checkpoint", &ret->note, err) ||
	                   json_get_str(ret->json, "sshsig", "checkpoint", &ret->sshsig, err)))
		rc = -ERR_FORMAT;
	if (!rc)
		rc = evidence_note_verify(ret->note, strlen(ret->note), pub, &ret->cp, err);
	if (!rc && (size < 0 || offset < 0 || (uint64_t)size != ret->cp.size))
		rc = err_set(err, ERR_FORMAT, "checkpoints file: a size is not its note's");
	if (rc) {
		cp_line_release(ret);
		return rc;
	}
	ret->size = (uint64_t)size;
	ret->offset = (uint64_t)offset;
	return 0;
}

int log_checkpoint_at(struct evidence_log *log, struct err *err)
{
	CLEAN(buf_release) struct buf line = BUF_INIT(LINES_MAX);
	unsigned char root[SHA256_LEN];
	int rc;

	merkle_root(&log->tree, root);
	rc = cp_line_make(&log->seed, log->tree.size, log->bytes, root, &line, err);
	if (!rc)
		rc = log_write(log, log->cp_fd, log->cp_bytes, line.p, line.len, err);
	if (rc)
		return rc;
	log->cp_off = log->cp_bytes;
	log->cp_bytes += line.len;
	log->signed_tree = log->tree;
	log->signed_size = log->tree.size;
	log->signed_bytes = log->bytes;
	log_save_state(log);
	return 0;
}

int evidence_checkpoint(struct evidence_log *log, struct err *err)
{
	int rc = check_usable(log, err);

	if (rc || log->signed_size == log->tree.size)
		return rc;
	return log_checkpoint_at(log, err);
}

/* Only ever written for the tree of the last checkpoint, so that the checkpoint's signature vouches for the peaks. */
void log_save_state(const struct evidence_log *log)
{
	CLEAN(json_release) json_t *o = json_object();
	CLEAN(buf_release) struct buf text = BUF_INIT(EVIDENCE_RECORD_MAX);
	CLEAN(free_ptr) char *path = log_path(log, "state.json");
	json_t *peaks = json_array();

	for (unsigned i = 0; i < 64; i++)
		if (log->signed_size >> i & 1)
			json_array_append_new(peaks, json_hex(log->signed_tree.peak[i], SHA256_LEN));
	json_object_set_new(o, "v", json_integer(1));
	json_object_set_new(o, "size", json_integer((json_int_t)log->signed_size));
	json_object_set_new(o, "bytes", json_integer((json_int_t)log->signed_bytes));
	json_object_set_new(o, "checkpoint", json_integer((json_int_t)log->cp_off));
	json_object_set_new(o, "peaks", peaks);
	if (json_canonical(o, &text, NULL) || fs_replace(path, text.p, text.len, 0600, NULL))
		log_msg(LOG_DEBUG, "log %s: state not saved", log->id);
}

static int scan_one(const char *dir, const char *id, evidence_scan_fn fn, void *arg, struct err *err)
{
	CLEAN(free_ptr) char *sub = fs_join(dir, id), *path = fs_join(sub, "records");
	CLEAN(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	CLEAN(lines_release) struct lines l;
	const unsigned char *line;
	enum line_kind kind;
	int rc = 0;
	size_t n;

	lines_init(&l, fd, 0);
	if (fd < 0)
		return err_sys(err, ERR_IO, "cannot open %s", path);
	while (!rc && (kind = lines_next(&l, &line, &n, err)) == LINE_WHOLE) {
		struct evidence_record r;

		rc = evidence_record_parse(line, n, &r, err);
		if (rc)
			return err_wrap(err, "%s", path);
		rc = fn(arg, id, &r, line, n, err);
		evidence_record_release(&r);
	}
	if (rc)
		return rc;
	if (kind == LINE_LONG)
		return err_set(err, ERR_FORMAT, "%s: a line over %u bytes", path, EVIDENCE_RECORD_MAX);
	return kind == LINE_ERROR ? -ERR_IO : 0;
}

int evidence_scan(const char *dir, const char *log_id, evidence_scan_fn fn, void *arg, struct err *err)
{
	CLEAN(log_ids_release) struct log_ids ids = {0};
	int rc = 0;

	if (log_id)
		return scan_one(dir, log_id, fn, arg, err);
	rc = log_ids_dir(dir, &ids, err);
	for (size_t i = 0; !rc && i < ids.n; i++)
		rc = scan_one(dir, ids.id[i], fn, arg, err);
	return rc;
}
