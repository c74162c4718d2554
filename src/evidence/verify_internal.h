/* Shared by the two halves of verification: loading copies, and judging them. */
#ifndef EVIDENCE_VERIFY_INTERNAL_H
#define EVIDENCE_VERIFY_INTERNAL_H

#include "evidence/log_internal.h"

#define COPY_RECORDS_MAX (16u << 20) /* records of one log; 32 bytes each are kept in memory */
#define COPY_FINDINGS_MAX 100        /* of one copy */

enum finding_class {
	FINDING_FORK,
	FINDING_DAMAGE,
	FINDING_MISSING,
	FINDING_UNREACHABLE,
	FINDING_UNCOVERED,
	FINDING_BEHIND,
	FINDING_NOTE,
	FINDING_CLASSES
};

struct point { /* a tree head that the log's key has signed */
	uint64_t size;
	unsigned char root[SHA256_LEN];
	const char *from; /* name of the place */
};

struct mark { /* a record that covers a slot */
	size_t slot;
	uint64_t seq;
};

struct seen_witness { /* whose cosignatures verified at a place, and the largest size among them */
	char id[EVIDENCE_ID_LEN + 1];
	uint64_t size;
};
#define WITNESSES_MAX 16

struct copy {
	const char *place;
	bool local, present, unreachable;
	const char *pin; /* verifier key of its witness, or NULL */
	unsigned char (*leaf)[SHA256_LEN];
	size_t n, cap;
	uint64_t newest; /* size of its newest checkpoint */
	struct seen_witness witness[WITNESSES_MAX];
	size_t n_witnesses;
	struct mark *marks;
	size_t n_marks, cap_marks;
	int64_t first_ns, last_ns, last_boot_us;
	char last_boot_id[37];
	uint64_t wall_steps, wall_step_seq, boot_steps, boot_step_seq;
	uint64_t bad_seq; /* lowest place of a record finding */
	size_t n_findings;
	uint64_t proven;   /* largest size at which its tree is one that was signed */
	const char *state; /* complete behind absent damaged forked unreachable */
};

struct vlog {
	char id[EVIDENCE_ID_LEN + 1];
	unsigned char pub[ED25519_PUB_LEN];
	bool have_key, pinned;
	struct copy *copy; /* one a place */
	size_t n_copies;
	struct point *point;
	size_t n_points, cap_points;
	bool forked;
};

struct claim { /* a checkpoint told elsewhere: kept by an auditor, or named by another log's first record */
	char *note, *from;
};

struct verify {
	const struct evidence_verify *in;
	struct evidence_report *out;
	struct log_ids ids;
	struct vlog *log;
	struct claim *claim;
	size_t n_claims, cap_claims;
	struct err first[FINDING_CLASSES];
	bool *covered;                     /* one a slot */
	const struct evidence_slot **slot; /* sorted */
};

/* One finding: into the report, counted, and the first of its class kept as the error. place may be NULL. */
void finding(struct verify *v, enum finding_class class, const char *code, const char *log, const char *place,
        uint64_t at, const char *fmt, ...) HF_PRINTF(7, 8);
void verify_sort_slots(struct verify *v);
void verify_load(struct verify *v, struct vlog *log);
/* The cosignatures at a site whose checkpoints are loaded. */
void verify_witnesses(struct verify *v, const struct vlog *log, struct copy *c, struct store *site);
void verify_add_point(struct vlog *log, uint64_t size, const unsigned char root[SHA256_LEN], const char *from);
void verify_add_claim(struct verify *v, const char *note, size_t n, const char *from);
void verify_judge(struct verify *v, struct vlog *log);
void vlog_release(struct vlog *log);

#endif
