/* Input: the head of an answer, as its lines come in; and the whole as a date. */
#include "s3/s3_http.h"

#include <string.h>
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t cap)
{
	BUG_ON(strnlen(text, cap) == cap);
	for (; *text; text++)
		BUG_ON(*text < ' ' || *text > '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct s3_answer a = S3_ANSWER_INIT;
	struct err err = ERR_INIT;
	int64_t ns = 1;
	int rc = 0;

	for (size_t at = 0; at < size && !rc;) {
		const uint8_t *end = memchr(data + at, '\n', size - at);
		size_t n = end ? (size_t)(end - data) + 1 - at : size - at;
		/* a copy of its own, so that a read beyond the line is seen */
		CLEAN(free_ptr) char *line = xmalloc(n);

		memcpy(line, data + at, n);
		rc = s3_answer_line(&a, line, n, &err);
		at += n;
	}
	BUG_ON(a.status && (a.status < 100 || a.status > 599));
	BUG_ON(a.retry_after_s < -1 || a.retry_after_s > 3600 || a.date_ns < 0 || a.modified_ns < 0);
	check_text(a.request_id, sizeof a.request_id);
	check_text(a.version, sizeof a.version);
	check_text(a.etag, sizeof a.etag);
	check_text(a.region, sizeof a.region);
	(void)s3_refused(&a, "read", "p/x", &err);
	if (s3_http_date((const char *)data, size, &ns))
		BUG_ON(ns <= 0);
	s3_answer_release(&a);
	return 0;
}
