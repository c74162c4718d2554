/*
 * AWS Signature Version 4 in the Authorization header, as the "Signature Calculations for the Authorization Header" of
 * the S3 reference has it: the path is encoded once and not normalised. Pure functions: what is signed is given, and
 * the same goes out.
 */
#ifndef S3_S3_SIGN_H
#define S3_S3_SIGN_H

#include <stdint.h>
#include "base/buf.h"
#include "base/mem.h"

struct s3_pair {
	const char *name, *value;
};
struct s3_credentials {
	const char *access_key;
	const struct secret *secret_key;
	const char *region, *service; /* "s3" but in the published test vectors */
};
struct s3_signable {
	const char *method, *path; /* path as it is, not encoded, beginning with '/' */
	const struct s3_pair *query, *header;
	size_t n_query,
	        n_header; /* values may be ""; headers: all that are to be signed, host and x-amz-date among them */
	char payload[65]; /* SHA-256 of the body, lower-case hexadecimal */
	char stamp[17];   /* 20130524T000000Z, the value of x-amz-date */
};

/* Appends text with all but A-Z a-z 0-9 - . _ ~ (and '/' when keep_slash) as %XX. The buffer's ceiling is a bug to
 * reach. */
void s3_encode(struct buf *out, const char *text, bool keep_slash);
/* Appends the query, encoded and sorted: as it is signed and as it is sent. */
void s3_query(struct buf *out, const struct s3_pair *query, size_t n);
/* Appends the canonical request; for tests. */
void s3_canonical(const struct s3_signable *r, struct buf *out);
/* Appends the value of the Authorization header. */
void s3_sign(const struct s3_credentials *k, const struct s3_signable *r, struct buf *out);
/* The stamp of a wall clock. */
void s3_stamp(int64_t wall_ns, char out[17]);

#endif
