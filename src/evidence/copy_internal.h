/* Inside of reading a copy: copy.c (names, keys, what both kinds of place share, a local directory) and copy_site.c. */
#ifndef EVIDENCE_COPY_INTERNAL_H
#define EVIDENCE_COPY_INTERNAL_H

#include "evidence/log_internal.h"

#define NUMBER_LEN 20

struct head_at {
	uint64_t size;
	unsigned char root[SHA256_LEN];
};
struct reader {
	const struct copy_fns *f;
	const unsigned char *pub;
	int64_t shift; /* seq in the line minus its place, as last reported */
	uint64_t good; /* checkpoints that verified */
	/* of a site: what an object of records is judged by */
	struct head_at *cp; /* checkpoints that verified, by size */
	size_t n_cp, cap_cp;
	struct merkle tree; /* of the records so far */
	bool lost;          /* they are not those that were signed: nothing that follows can be judged */
};

bool copy_parse_number(const char *s, uint64_t *ret);
void copy_problem(const struct reader *r, const char *code, uint64_t seq, const char *detail);
int copy_take_record(struct reader *r, uint64_t seq, const void *line, size_t n, struct err *err) HF_NODISCARD;
/* Judge one, tell what is wrong, hand it on. */
int copy_take_checkpoint(struct reader *r, uint64_t size, const struct buf *note, const struct buf *sshsig, struct err *err) HF_NODISCARD;

#endif
