/*
 * Evidence: an append-only log of records in a Merkle tree, signed checkpoints, copies at sites, offline verification.
 *
 *   struct evidence_log *log;
 *   if (evidence_open(&cfg, &log, &err)) ...
 *   evidence_append(log, &event, NULL, &err)    durable when it returns 0
 *   evidence_checkpoint(log, &err)              at the end of a run; at once for approvals, deletions, key events
 *   evidence_publish(log, sites, n, 0, &err)    each site gets what it lacks
 *   evidence_close(log)
 *
 * One writer: open takes a lock, so long jobs open, append and close, and open again when they have more to say.
 * Readers (evidence_scan, evidence_verify) take no lock. A struct evidence_log belongs to one thread.
 *
 * Files in DIR/<log-id>/: records (a line of canonical JSON each), checkpoints (a line of JSON each: size, offset,
 * note, sshsig), key (verifier key), state.json and sites.json (hints, rebuilt when missing), records.torn.<n>. The log
 * id is the first 16 hex digits of SHA-256 of the public key; the name in checkpoints is "holdfast/<id>". Objects at a
 * site: l/<id>/key, l/<id>/records/<first>-<last>, l/<id>/checkpoint/<size>, l/<id>/checkpoint/<size>.sshsig, numbers
 * padded to 20 digits. A batch of records lies between two consecutive checkpoints of the local log, and a note is put
 * last: where it is, its records are. docs/format/evidence.md is the full text.
 */
#ifndef EVIDENCE_EVIDENCE_H
#define EVIDENCE_EVIDENCE_H

#include "base/json.h"
#include "crypto/crypto.h"
#include "store/store.h"

#define EVIDENCE_RECORD_MAX (64u << 10) /* one record's line without its newline */
#define EVIDENCE_BATCH_MAX (8u << 20)   /* one object of records */
#define EVIDENCE_NOTE_MAX (16u << 10)   /* one checkpoint with its signatures */
#define EVIDENCE_SUBJECTS_MAX 256
#define EVIDENCE_ID_LEN 16 /* hex digits of a log id */
#define EVIDENCE_ORIGIN_MAX 64
#define EVIDENCE_NAMESPACE "holdfast-checkpoint@v1"

/* --- Merkle tree (RFC 6962, 2.1): leaves SHA-256(0x00 || record), nodes SHA-256(0x01 || left || right) --- */
struct merkle {
	uint64_t size;
	unsigned char peak[64][SHA256_LEN]; /* peak[i] is in use where bit i of size is set */
};
void merkle_init(struct merkle *m);
void merkle_leaf(const void *record, size_t n, unsigned char out[SHA256_LEN]);
void merkle_append(struct merkle *m, const unsigned char leaf[SHA256_LEN]);
/* Root of what was appended; SHA-256 of nothing for the empty tree. */
void merkle_root(const struct merkle *m, unsigned char out[SHA256_LEN]);
/* Proofs (RFC 6962, 2.1.1 and 2.1.2) over an array of n leaf hashes, appended to out as 32-byte hashes.
 * ERR_USAGE for an index or size outside the tree. */
int merkle_inclusion(const unsigned char (*leaves)[SHA256_LEN], uint64_t n, uint64_t index, struct buf *out,
        struct err *err) HF_NODISCARD;
int merkle_consistency(const unsigned char (*leaves)[SHA256_LEN], uint64_t n, uint64_t old_size, struct buf *out,
        struct err *err) HF_NODISCARD;
/* The same proof for `old` with n_more leaves behind it: old is the tree itself, not its leaves. */
int merkle_consistency_on(const struct merkle *old, const unsigned char (*more)[SHA256_LEN], uint64_t n_more,
        struct buf *out, struct err *err) HF_NODISCARD;
/* Verification (RFC 9162, 2.1.3.2 and 2.1.4.2) of n_proof hashes from outside. */
bool merkle_inclusion_ok(const unsigned char leaf[SHA256_LEN], uint64_t index, uint64_t size,
        const unsigned char *proof, size_t n_proof, const unsigned char root[SHA256_LEN]);
bool merkle_consistency_ok(uint64_t old_size, const unsigned char old_root[SHA256_LEN], uint64_t size,
        const unsigned char root[SHA256_LEN], const unsigned char *proof, size_t n_proof);

/* --- Records --- */
/* A place in the calendar. A record covers it when it names it and tells an outcome. */
struct evidence_slot {
	const char *plan;
	const char *kind; /* "backup", "verify", "drill", or "drill:NAME": the caller's own, equal text counts */
	int64_t time_ns;  /* when it was due */
};
struct evidence_subject {
	const char *name;
	unsigned char sha256[SHA256_LEN];
};
struct evidence_event {
	const char *type;    /* an id: "backup", "drill-start", "approval", "key-created" ... */
	const char *actor;   /* who caused it; NULL: "holdfast" */
	const char *outcome; /* done failed refused skipped missed crashed, or NULL for an event that decides no slot */
	const struct evidence_slot *slot; /* or NULL */
	const struct evidence_subject *subjects;
	size_t n_subjects;
	const json_t *body; /* an object or NULL; borrowed. "slot" and "outcome" are set in the record's copy of it */
};
struct evidence_record { /* a parsed one; strings are borrowed from json */
	json_t *json;
	uint64_t seq;
	const char *type, *actor, *boot_id;
	int64_t time_ns, boot_us;
	const json_t *body;
	struct evidence_slot slot; /* plan is NULL when the record covers none */
	const char *outcome;       /* or NULL */
};
/* Canonical line (no newline) of an event at sequence seq, with the clocks of now. ERR_FORMAT for what canonical JSON
 * cannot hold, ERR_NOMEM over EVIDENCE_RECORD_MAX. */
int evidence_record_make(const struct evidence_event *ev, uint64_t seq, struct buf *out, struct err *err) HF_NODISCARD;
/* Parse a line from outside: canonical form, exactly the fields of version 1, their types and ceilings. */
int evidence_record_parse(const void *line, size_t n, struct evidence_record *ret, struct err *err) HF_NODISCARD;
void evidence_record_release(struct evidence_record *r);

/* --- Checkpoints (C2SP tlog-checkpoint: a signed note) --- */
struct evidence_checkpoint {
	char origin[EVIDENCE_ORIGIN_MAX];
	uint64_t size;
	unsigned char root[SHA256_LEN];
	size_t n_text; /* length of the signed text at the start of the note; the raw Ed25519 signature and the SSHSIG
	                  are over it */
	unsigned char sig[ED25519_SIG_LEN]; /* of the log itself (filled by verify) */
};
/* "holdfast/<id>" of a public key, and the id alone. */
void evidence_id(const unsigned char pub[ED25519_PUB_LEN], char out[EVIDENCE_ID_LEN + 1]);
void evidence_origin(const unsigned char pub[ED25519_PUB_LEN], char out[EVIDENCE_ORIGIN_MAX]);
/* The note of a tree head, appended to out. */
int evidence_note_make(const struct secret *seed, uint64_t size, const unsigned char root[SHA256_LEN], struct buf *out,
        struct err *err) HF_NODISCARD;
/* Syntax alone. ERR_FORMAT. */
int evidence_note_parse(const void *note, size_t n, struct evidence_checkpoint *ret, struct err *err) HF_NODISCARD;
/* Syntax, name and the log's signature; signatures of others (witnesses) are passed over. ERR_FORMAT or ERR_CORRUPT. */
int evidence_note_verify(const void *note, size_t n, const unsigned char pub[ED25519_PUB_LEN],
        struct evidence_checkpoint *ret, struct err *err) HF_NODISCARD;
/* The same of one whose name tells the size of its tree. */
int evidence_note_verify_sized(const void *note, size_t n, const unsigned char pub[ED25519_PUB_LEN], uint64_t size,
        struct evidence_checkpoint *ret, struct err *err) HF_NODISCARD;
/* Verifier key of a signed note (C2SP signed-note): "holdfast/<id>+<hash>+<base64>"; newly allocated, no newline. */
char *evidence_vkey(const unsigned char pub[ED25519_PUB_LEN]);
/* Read one; name and hash must fit the key. ERR_FORMAT. */
int evidence_vkey_parse(const char *text, size_t n, unsigned char pub[ED25519_PUB_LEN], struct err *err) HF_NODISCARD;

/* --- The log of this installation --- */
struct evidence_config {
	const char *dir;      /* R/log; made when missing */
	const char *key_path; /* R/keys/log.key: 64 hex digits of the Ed25519 seed, mode 0600 */
	bool create;          /* make a key and a new log when there is no key */
	int64_t wait_ms;      /* how long to wait for another writer; 0: ERR_BUSY at once */
	/* Sites, asked only when a new log begins (it names the newest checkpoint of every log found) or when the local
	 * records are lost (they are fetched back). Without them a lost log is ERR_MISSING. */
	struct store *const *sites;
	size_t n_sites;
};
struct evidence_log;
/* ERR_BUSY: another writer. ERR_MISSING: no key (and not create), or lost records that no site gave back. ERR_CORRUPT:
 * the records are damaged elsewhere than in a torn tail. ERR_FORK: fewer records than this log has signed. A torn tail
 * is moved to records.torn.<n> and recorded as "log-torn". */
int evidence_open(const struct evidence_config *c, struct evidence_log **ret, struct err *err) HF_NODISCARD;
void evidence_close(struct evidence_log *log); /* NULL is fine; what was appended is durable already */
const char *evidence_log_id(const struct evidence_log *log);
const unsigned char *evidence_log_public(const struct evidence_log *log);
uint64_t evidence_log_size(const struct evidence_log *log);
/* Size that the newest checkpoint covers. */
uint64_t evidence_log_signed(const struct evidence_log *log);
/* Write, fdatasync, acknowledge. ERR_EVIDENCE: not durable, the log must be reopened. Signs a checkpoint of its own
 * accord before a batch would grow over EVIDENCE_BATCH_MAX. */
int evidence_append(struct evidence_log *log, const struct evidence_event *ev, uint64_t *ret_seq, struct err *err)
        HF_NODISCARD;
/* Sign the current tree head; nothing when it is signed already. */
int evidence_checkpoint(struct evidence_log *log, struct err *err) HF_NODISCARD;

/* What one publish did at one site. */
struct evidence_site {
	struct store *store;
	uint64_t size;  /* records covered by the newest checkpoint there, after the call */
	/* Verifier key of its witness, or NULL: whoever signs there. With one, no cosignature by another key is put there, and `witness` tells how
	 * it was. */
	const char *pin;
	struct err witness; /* code 0: all is well, or nothing is pinned; ERR_CORRUPT: another key; else it gave none, and why */
	uint64_t put, beside; /* objects put: under their own names, and beside such as are damaged */
	struct err err; /* code 0 when the site has all that is signed */
};
enum {
	EVIDENCE_PUBLISH_ALL = 1,    /* forget what is known of the site and offer every object again */
	EVIDENCE_PUBLISH_WITNESS = 2 /* ask the witnesses that are pinned, though they have cosigned all there is */
};
/* Bring every site up to the newest checkpoint; create-only, equal bytes are fine. What is damaged there, and so is not what anybody signed,
 * gets the right bytes beside it. A site with a witness is asked to
 * cosign it: its refusal is ERR_FORK, its silence is only logged. A site that fails does not stop the
 * others. Returns 0 when all are up to date; else the worst of the sites' codes: ERR_FORK (a checkpoint that this log never
 * signed) before any other. */
int evidence_publish(struct evidence_log *log, struct evidence_site *sites, size_t n, unsigned flags, struct err *err)
        HF_NODISCARD;

/* Every complete record of a local log in order, without a lock. log_id NULL: of all logs under dir, one after the
 * other. fn gets the line too; non-zero stops and is returned. A line that does not parse is the return of its error.
 */
typedef int (*evidence_scan_fn)(
        void *arg, const char *log_id, const struct evidence_record *r, const void *line, size_t n, struct err *err);
int evidence_scan(const char *dir, const char *log_id, evidence_scan_fn fn, void *arg, struct err *err) HF_NODISCARD;

/* --- Verification, offline and by anyone who has the public keys --- */
struct evidence_verify {
	const char *dir; /* local logs, or NULL */
	struct store *const *sites;
	size_t n_sites;
	const char *const *witnesses; /* for each site the verifier key of its witness, or NULL; NULL: none is pinned */
	const char *const *pins; /* verifier keys to believe; without any, a log id vouches for the key beside it */
	size_t n_pins;
	const char *const *notes; /* checkpoints kept elsewhere (printed, mailed), as text */
	size_t n_notes;
	const struct evidence_slot *slots; /* the calendar: each must be covered by a record of a log that verifies */
	size_t n_slots;
};
struct evidence_report {
	json_t *json; /* logs[], findings[], slots; schema in docs/format/evidence.md */
	uint64_t logs, records, checkpoints;
	size_t damage; /* findings that mean ERR_CORRUPT or ERR_MISSING */
	size_t forks;  /* findings that mean a rollback or a fork */
	size_t behind; /* copies that are shorter than the log, which is allowed */
	size_t unreachable;
	size_t uncovered; /* slots without a record */
	size_t notes;     /* what a reader should know: wall clock steps, unsigned tail, torn tail */
};
/*
 * Reads every log in every place, recomputes each leaf and the root at every checkpoint of every place, and judges.
 * 0: all is well (copies behind and notes allowed). -ERR_FORK, else -ERR_CORRUPT or -ERR_MISSING, else
 * -ERR_UNREACHABLE, else -ERR_EVIDENCE for uncovered slots; err names the first finding of that class. The report is
 * filled in all these cases.
 */
int evidence_verify(const struct evidence_verify *v, struct evidence_report *ret, struct err *err) HF_NODISCARD;
void evidence_report_release(struct evidence_report *r);

#endif
