#include "s3/s3_http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include "base/str.h"

#define HEAD_MAX ((size_t)64 << 10)
#define NS_PER_S INT64_C(1000000000)

void s3_answer_release(struct s3_answer *a)
{
	buf_release(&a->body);
}

/* --- values: bytes of a line, without its end --- */

struct text {
	const char *p;
	size_t n;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct text trim(const char *p, size_t n)
{
	while (n && is_space(p[n - 1]))
		n--;
	while (n && is_space(*p)) {
		p++;
		n--;
	}
	return (struct text){p, n};
}

/* Digits at the front of t, which is moved behind them. */
static bool take_number(struct text *t, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < t->n && t->p[i] >= '0' && t->p[i] <= '9'; i++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(t->p[i] - '0'), &v))
			return false;
	*ret = v;
	t->p += i;
	t->n -= i;
	return i > 0;
}

static bool whole_number(struct text t, uint64_t *ret)
{
	return take_number(&t, ret) && !t.n;
}

/* Empty when it does not fit or holds anything but printable ASCII: what is told or sent back is never half of it. */
static void keep(char *out, size_t cap, struct text t)
{
	out[0] = '\0';
	if (t.n >= cap)
		return;
	for (size_t i = 0; i < t.n; i++)
		if (t.p[i] < ' ' || t.p[i] > '~')
			return;
	memcpy(out, t.p, t.n);
	out[t.n] = '\0';
}

static bool two_digits(const char *p, int max, int *ret)
{
	if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
		return false;
	*ret = (p[0] - '0') * 10 + p[1] - '0';
	return *ret <= max;
}

bool s3_http_date(const char *text, size_t n, int64_t *ret_ns)
{
	static const char *const months[] = {
	        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	struct tm tm = {0};
	int century, year;

	/*        0123456789012345678901234567 */
	/* form: "Sun, 06 Nov 1994 08:49:37 GMT" */
	if (n != 29 || text[3] != ',' || text[4] != ' ' || text[7] != ' ' || text[11] != ' ' || text[16] != ' ' ||
	        text[19] != ':' || text[22] != ':' || memcmp(text + 25, " GMT", 4))
		return false;
	for (tm.tm_mon = 0; tm.tm_mon < 12; tm.tm_mon++)
		if (!memcmp(text + 8, months[tm.tm_mon], 3))
			break;
	if (tm.tm_mon == 12 || !two_digits(text + 5, 31, &tm.tm_mday) || !tm.tm_mday ||
	        !two_digits(text + 12, 99, &century) || !two_digits(text + 14, 99, &year) ||
	        !two_digits(text + 17, 23, &tm.tm_hour) || !two_digits(text + 20, 59, &tm.tm_min) ||
	        !two_digits(text + 23, 60, &tm.tm_sec))
		return false;
	tm.tm_year = century * 100 + year - 1900;
	int64_t s = (int64_t)timegm(&tm);

	if (s <= 0 || s > INT64_MAX / NS_PER_S)
		return false;
	*ret_ns = s * NS_PER_S;
	return true;
}

/* --- lines --- */

static int status_line(struct s3_answer *a, struct text t, struct err *err)
{
	const char *space = memchr(t.p, ' ', t.n);
	uint64_t status;

	if (!space)
		return err_set(err, ERR_FORMAT, "the site's answer has no status");
	struct text rest = {space + 1, t.n - (size_t)(space + 1 - t.p)};

	if (rest.n < 3 || !take_number(&rest, &status) || status < 100 || status > 599 || (rest.n && *rest.p != ' '))
		return err_set(err, ERR_FORMAT, "the site's answer has no status");
	/* A new head, as after "100 Continue": what the one before said is void. */
	size_t bytes = a->header_bytes;
	struct buf body = a->body;

	*a = (struct s3_answer){.status = (int)status, .retry_after_s = -1, .header_bytes = bytes, .body = body};
	return 0;
}

static bool named(struct text name, const char *want)
{
	return name.n == strlen(want) && !strncasecmp(name.p, want, name.n);
}

static int content_range(struct s3_answer *a, struct text v, struct err *err)
{
	if (v.n < 6 || strncasecmp(v.p, "bytes ", 6))
		return err_set(err, ERR_FORMAT, "the site's answer has a content-range without its bytes");
	v.p += 6;
	v.n -= 6;
	if (v.n && *v.p == '*')
		return 0; /* of an unsatisfied range */
	if (!take_number(&v, &a->range_first) || !v.n || *v.p != '-')
		return err_set(err, ERR_FORMAT, "the site's answer has a content-range without its bytes");
	a->has_range = true;
	return 0;
}

static int header(struct s3_answer *a, struct text name, struct text v, struct err *err)
{
	uint64_t seconds;

	if (named(name, "content-length")) {
		a->has_length = whole_number(v, &a->length);
		return a->has_length ? 0 : err_set(err, ERR_FORMAT, "the site's answer has a length that is no number");
	}
	if (named(name, "content-range"))
		return content_range(a, v, err);
	if (named(name, "transfer-encoding"))
		a->chunked = v.n >= 7 && !strncasecmp(v.p + v.n - 7, "chunked", 7);
	else if (named(name, "date") && !s3_http_date(v.p, v.n, &a->date_ns))
		a->date_ns = 0;
	else if (named(name, "last-modified") && !s3_http_date(v.p, v.n, &a->modified_ns))
		a->modified_ns = 0;
	else if (named(name, "etag"))
		keep(a->etag, sizeof a->etag, v);
	else if (named(name, "x-amz-version-id"))
		keep(a->version, sizeof a->version, v);
	else if (named(name, "x-amz-request-id"))
		keep(a->request_id, sizeof a->request_id, v);
	else if (named(name, "x-amz-bucket-region"))
		keep(a->region, sizeof a->region, v);
	else if (named(name, "x-amz-delete-marker"))
		a->delete_marker = named(v, "true");
	else if (named(name, "retry-after") && whole_number(v, &seconds))
		a->retry_after_s = seconds > 3600 ? 3600 : (int)seconds;
	return 0;
}

int s3_answer_line(struct s3_answer *a, const char *line, size_t n, struct err *err)
{
	struct text t = trim(line, n);

	a->header_bytes += n;
	if (a->header_bytes > HEAD_MAX)
		return err_set(err, ERR_FORMAT, "the head of the site's answer is too long");
	if (t.n >= 5 && !memcmp(t.p, "HTTP/", 5))
		return status_line(a, t, err);
	const char *colon = t.n ? memchr(t.p, ':', t.n) : NULL;

	if (!colon)
		return 0;
	return header(
	        a, (struct text){t.p, (size_t)(colon - t.p)}, trim(colon + 1, t.n - (size_t)(colon + 1 - t.p)), err);
}
