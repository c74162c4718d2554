/*
 * Requests to an S3 service: signed, sent over libcurl with a pool of connections, the answer bounded and decoded. One
 * try a call; what an answer means is said in one place (s3_refused()).
 *
 * s3_exchange() may be called by several threads at once. Secrets stay in locked memory, and in what libcurl copies of
 * a session token for the length of a request; no message holds them.
 */
#ifndef S3_S3_HTTP_H
#define S3_S3_HTTP_H

#include "s3/s3_sign.h"
#include "s3/s3_xml.h"
#include "store/store.h"

#define S3_HEADERS_MAX 12
#define S3_QUERY_MAX 8

/* --- answers --- */
struct s3_answer {
	int status;
	char request_id[80], version[256], etag[128], region[40];
	int64_t date_ns, modified_ns; /* 0: not told */
	uint64_t length, range_first; /* range_first of Content-Range */
	bool has_length, chunked, has_range, delete_marker;
	int retry_after_s; /* -1: not told */
	size_t header_bytes;
	struct buf body;       /* what did not go to the sink */
	struct s3_error error; /* of the body of a refusal */
	char sent_digest[48];  /* SHA-256 of the request's body, base64 */
};
#define S3_ANSWER_MAX ((size_t)8 << 20)
#define S3_ANSWER_INIT                                                                                                 \
	{                                                                                                              \
		.retry_after_s = -1, .body = BUF_INIT(S3_ANSWER_MAX)                                                   \
	}
void s3_answer_release(struct s3_answer *a);
/*
 * One line of an answer's head, status line included (which begins it anew), with or without its line end. ERR_FORMAT
 * for heads that are too long or a length that is none; a header that is not understood is passed over.
 */
int s3_answer_line(struct s3_answer *a, const char *line, size_t n, struct err *err) HF_NODISCARD;
/* RFC 9110 IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT". */
bool s3_http_date(const char *text, size_t n, int64_t *ret_ns);

/* --- the place --- */
struct s3_place {
	char *scheme, *host; /* host as the Host header has it: with a port that is not the scheme's */
	char *bucket;
	bool virtual_host, loopback;
	bool aws; /* the service is AWS's own */
};
/*
 * endpoint NULL: AWS's in region, the bucket in the host name unless it has dots. An endpoint whose host begins with
 * the bucket and a dot is the bucket's own host; else the bucket is the first component of the path. ERR_USAGE for http
 * beyond loopback and for what is no endpoint.
 */
int s3_place_init(struct s3_place *p, const char *endpoint, const char *region, const char *bucket, struct err *err)
        HF_NODISCARD;
void s3_place_release(struct s3_place *p);
/* Path of a key (NULL: of the bucket) as it is signed, newly allocated. */
char *s3_place_path(const struct s3_place *p, const char *key);

/* --- requests --- */
struct s3_request {
	const char *method, *key; /* key NULL: the bucket itself */
	struct s3_pair query[S3_QUERY_MAX],
	        header[S3_HEADERS_MAX]; /* headers beyond those of every request; all are signed */
	size_t n_query, n_header;
	const struct store_src *body; /* NULL: none. Bytes [off, off + len) of it */
	uint64_t off, len;
	bool checksum;           /* tell the body's digest in x-amz-checksum-sha256 too */
	bool once;               /* must not be sent a second time unnoticed */
	bool bad_digest;         /* announce a digest that is not the body's */
	struct store_sink *sink; /* body of a success; NULL: answer->body */
	uint64_t first;          /* sink: the first byte asked for, when has_first */
	bool has_first;
};
void s3_query_add(struct s3_request *r, const char *name, const char *value);
void s3_header_add(struct s3_request *r, const char *name, const char *value);

struct s3_http;
struct s3_http_config {
	struct s3_place place;                                                  /* taken */
	const char *access_key, *secret_key, *session_token, *region, *ca_file; /* copied */
	int64_t connect_ms, idle_ms;                                            /* 0: 20 s, 60 s */
	const atomic_bool *cancel;                                              /* borrowed */
	const struct store *paced; /* borrowed: whose store_pace() is asked; may be NULL */
};
struct s3_http *s3_http_new(const struct s3_http_config *c);
void s3_http_free(struct s3_http *h);
const struct s3_place *s3_http_place(const struct s3_http *h);
/*
 * 0 when an answer came, whatever it says. Else ERR_UNREACHABLE (retryable; of a request with effects the outcome is
 * unknown), ERR_DENIED for a certificate that does not verify, ERR_CANCELLED, ERR_FORMAT for what is no answer, or what
 * the sink returned. ret: S3_ANSWER_INIT.
 */
int s3_exchange(struct s3_http *h, const struct s3_request *r, struct s3_answer *ret, struct err *err) HF_NODISCARD;

/* --- what a refusal means --- */
/* Fills err from an answer that is not a success: class, retryable, hint. what and key for the message: "read", "p/..".
 */
int s3_refused(const struct s3_answer *a, const char *what, const char *key, struct err *err);

#endif
