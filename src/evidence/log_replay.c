/* Finding out what the files of a log really hold, from state.json where it can be believed, else from the start. */
#include "evidence/log_internal.h"

#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"

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
	if (json_get_int(o, "v", "state", &v, NULL) || v != 1 || json_get_int(o, "size", "state", &size, NULL) ||
	        json_get_int(o, "bytes", "state", &bytes, NULL) ||
	        json_get_int(o, "checkpoint", "state", &cp_off, NULL) ||
	        json_get_arr(o, "peaks", "state", &peaks, NULL) || size <= 0 || bytes <= 0 || cp_off < 0)
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

/* Read on in the checkpoints file. A last line that is not whole was never acknowledged, and can be signed again: it is
 * cut. */
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
		if (r->next.size != log->tree.size || r->next.offset != log->bytes ||
		        memcmp(root, r->next.cp.root, sizeof(root)) != 0) {
			err_set(err, ERR_CORRUPT, "log %s: records up to %llu are not those of its checkpoint", log->id,
			        (unsigned long long)r->next.size);
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
			return err_set(err, ERR_CORRUPT, "log %s: record %llu is damaged: %s", log->id,
			        (unsigned long long)log->tree.size, why.msg);
		}
		if (rec.seq != log->tree.size)
			rc = err_set(err, ERR_CORRUPT, "log %s: record %llu stands where %llu belongs", log->id,
			        (unsigned long long)rec.seq, (unsigned long long)log->tree.size);
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
		return err_set(err, ERR_CORRUPT, "log %s: record %llu is damaged", log->id,
		        (unsigned long long)log->tree.size);
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
		rc = err_set(err, ERR_FORK, "log %s: holds %llu records, but has signed %llu", log->id,
		        (unsigned long long)log->tree.size, (unsigned long long)r.next.size);
		err_hint(err, "an old copy of the log was put back: move %s away, and it is fetched from the sites",
		        log->dir);
	}
	cp_line_release(&r.next);
	lines_release(&r.cps);
	if (!rc && !resumed && log->signed_size)
		log_save_state(log);
	return rc;
}
