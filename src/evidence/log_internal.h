/* Parts that the files of this module share; nobody else includes this. */
#ifndef EVIDENCE_LOG_INTERNAL_H
#define EVIDENCE_LOG_INTERNAL_H

#include "evidence/evidence.h"

/* fs_lock, asked again for up to wait_ms while another holds it. */
int lock_wait(const char *path, int64_t wait_ms, int *ret_fd, struct err *err) HF_NODISCARD;

/* --- Lines of a file, bounded --- */
#define LINES_MAX (EVIDENCE_RECORD_MAX + 1)
struct lines {
	int fd;
	uint64_t off;     /* where the next line begins in the file */
	unsigned char *p; /* window of the file */
	size_t at, len;
	bool eof;
};
enum line_kind {
	LINE_NONE,
	LINE_WHOLE,
	LINE_TORN /* end of file without newline */,
	LINE_LONG /* over LINES_MAX */,
	LINE_ERROR
};
void lines_init(struct lines *l, int fd, uint64_t off);
void lines_release(struct lines *l);
/* The next line without its newline; borrowed until the next call. Nothing but LINE_WHOLE moves on. */
enum line_kind lines_next(struct lines *l, const unsigned char **ret, size_t *n, struct err *err);

/* --- A line of the checkpoints file --- */
struct cp_line {
	json_t *json;
	uint64_t size, offset; /* records, and bytes of the records file, that it covers */
	const char *note, *sshsig;
	struct evidence_checkpoint cp;
};
int cp_line_parse(const void *line, size_t n, const unsigned char pub[ED25519_PUB_LEN], struct cp_line *ret,
        struct err *err) HF_NODISCARD;
void cp_line_release(struct cp_line *l);
/* The text of one, with its newline. */
int cp_line_make(const struct secret *seed, uint64_t size, uint64_t offset, const unsigned char root[SHA256_LEN],
        struct buf *out, struct err *err) HF_NODISCARD;
int cp_line_text(uint64_t size, uint64_t offset, const char *note, const char *sshsig, struct buf *out, struct err *err)
        HF_NODISCARD;

/* --- The open log --- */
struct evidence_log {
	char id[EVIDENCE_ID_LEN + 1];
	unsigned char pub[ED25519_PUB_LEN];
	struct secret seed;
	char *dir; /* DIR/<id> */
	int lock_fd, rec_fd, cp_fd;
	struct merkle tree, signed_tree; /* all records; those under the newest checkpoint */
	uint64_t bytes;                  /* of whole records */
	uint64_t signed_size, signed_bytes;
	uint64_t cp_bytes, cp_off; /* length of the checkpoints file, and where its last line begins */
	bool broken;               /* a write failed: what the file holds now is known after the next open only */
};
char *log_path(const struct evidence_log *log, const char *name);
/* Recompute tree and lengths from the files, starting at state.json where it holds. A torn tail is left at log->bytes.
 */
int log_replay(struct evidence_log *log, struct err *err) HF_NODISCARD;
/* A hint: failing to write it fails nothing. */
void log_save_state(const struct evidence_log *log);
/* Write behind the given end and fdatasync; ERR_EVIDENCE and log->broken on failure. */
int log_write(struct evidence_log *log, int fd, uint64_t at, const void *p, size_t n, struct err *err) HF_NODISCARD;
int log_checkpoint_at(struct evidence_log *log, struct err *err) HF_NODISCARD;

/* Have the witness at a site cosign the newest checkpoint, whose note is given, and put the cosignature there. Nothing
 * when it has done so before, unless it is to be asked again. pin: its key, NULL: any. ERR_FORK: it refused; ERR_CORRUPT: by another key. */
int log_cosign(struct evidence_log *log, struct store *site, const struct cp_line *newest, const char *pin, bool again, struct err *err) HF_NODISCARD;

/* --- One copy of a log, at a site or here --- */
struct copy_fns { /* each may be NULL; arg is passed on */
	void *arg;
	/* After the checkpoints: lines in the order of their place; r is NULL for one that does not parse. A place
	 * comes again where batches overlap. Non-zero stops and is returned. */
	int (*record)(
	        void *arg, uint64_t seq, const struct evidence_record *r, const void *line, size_t n, struct err *err);
	/* Checkpoints in ascending order of size, notes with a signature that verifies. sshsig may be "". */
	int (*checkpoint)(
	        void *arg, const struct evidence_checkpoint *cp, const char *note, const char *sshsig, struct err *err);
	/* Something that must not be: code as in findings of a report. */
	void (*problem)(void *arg, const char *code, uint64_t seq, const char *detail);
	bool newest_only; /* of a site's checkpoints, the newest good one alone */
};
int copy_read_dir(const char *dir, const char *id, const unsigned char pub[ED25519_PUB_LEN], const struct copy_fns *f,
        struct err *err) HF_NODISCARD;
int copy_read_site(struct store *s, const char *id, const unsigned char pub[ED25519_PUB_LEN], const struct copy_fns *f,
        struct err *err) HF_NODISCARD;
/* Public key beside a copy; it must fit the id. */
int copy_key_dir(const char *dir, const char *id, unsigned char pub[ED25519_PUB_LEN], struct err *err) HF_NODISCARD;
int copy_key_site(struct store *s, const char *id, unsigned char pub[ED25519_PUB_LEN], struct err *err) HF_NODISCARD;
bool copy_key_is_whole(struct store *s, const char *id); /* or does another object stand in for it? */
/* Ids of the logs in a place, sorted. */
struct log_ids {
	char (*id)[EVIDENCE_ID_LEN + 1];
	size_t n, cap;
};
void log_ids_release(struct log_ids *ids);
void log_ids_add(struct log_ids *ids, const char *id); /* no-op when it is there, or is no log id */
int log_ids_dir(const char *dir, struct log_ids *ids, struct err *err) HF_NODISCARD;
int log_ids_site(struct store *s, struct log_ids *ids, struct err *err) HF_NODISCARD;
/* Size in a key "l/<id>/checkpoint/<size>"; false for other keys, .sshsig among them. */
bool checkpoint_key_size(const char *key, const char *id, uint64_t *ret);

/* Fetch a lost log back from the longest copy at the sites, into an empty directory. ERR_MISSING when no site has one.
 */
int log_fetch(const struct evidence_log *log, struct store *const *sites, size_t n, struct err *err) HF_NODISCARD;

#endif
