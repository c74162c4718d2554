#include "s3/s3_sign.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/str.h"
#include "crypto/crypto.h"

#define CANONICAL_MAX ((size_t)256 << 10)
#define PAIRS_MAX 64

static bool unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
	       c == '_' || c == '~';
}

void s3_encode(struct buf *out, const char *text, bool keep_slash)
{
	for (const char *p = text; *p; p++) {
		if (unreserved((unsigned char)*p) || (*p == '/' && keep_slash))
			buf_add(out, p, 1);
		else
			buf_addf(out, "%%%02X", (unsigned char)*p);
	}
}

/* --- query --- */

struct sortable {
	char *name, *value; /* encoded, or as they are for headers */
};

static int sortable_cmp(const void *a, const void *b)
{
	const struct sortable *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : strcmp(x->value, y->value);
}

static char *encoded(const char *text)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(CANONICAL_MAX);

	s3_encode(&b, text, false);
	return xstrdup(buf_str(&b));
}

void s3_query(struct buf *out, const struct s3_pair *query, size_t n)
{
	struct sortable s[PAIRS_MAX];

	BUG_ON(n > PAIRS_MAX);
	for (size_t i = 0; i < n; i++)
		s[i] = (struct sortable){encoded(query[i].name), encoded(query[i].value)};
	if (n)
		qsort(s, n, sizeof *s, sortable_cmp);
	for (size_t i = 0; i < n; i++) {
		buf_addf(out, "%s%s=%s", i ? "&" : "", s[i].name, s[i].value);
		free(s[i].name);
		free(s[i].value);
	}
}

/* --- headers --- */

/* Without space around, and one space for several inside. */
static char *trimmed(const char *value)
{
	char *out = xmalloc(strlen(value) + 1), *to = out;

	for (const char *p = value; *p; p++) {
		bool space = *p == ' ' || *p == '\t';

		if (!space)
			*to++ = *p;
		else if (to > out && to[-1] != ' ')
			*to++ = ' ';
	}
	if (to > out && to[-1] == ' ')
		to--;
	*to = '\0';
	return out;
}

static char *lower(const char *name)
{
	char *out = xstrdup(name);

	for (char *p = out; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return out;
}

/* By name; those of one name keep the order in which they are sent. */
static void sort_headers(struct sortable *s, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t k = i; k && strcmp(s[k - 1].name, s[k].name) > 0; k--) {
			struct sortable t = s[k];

			s[k] = s[k - 1];
			s[k - 1] = t;
		}
}

/* Canonical headers to `lines` and their names to `names`; either may be NULL. */
static void headers(const struct s3_signable *r, struct buf *lines, struct buf *names)
{
	struct sortable s[PAIRS_MAX];

	BUG_ON(r->n_header > PAIRS_MAX);
	for (size_t i = 0; i < r->n_header; i++)
		s[i] = (struct sortable){lower(r->header[i].name), trimmed(r->header[i].value)};
	sort_headers(s, r->n_header);
	for (size_t i = 0; i < r->n_header; i++) {
		bool same = i && !strcmp(s[i - 1].name, s[i].name);
		bool last = i + 1 == r->n_header || strcmp(s[i].name, s[i + 1].name);

		if (lines)
			buf_addf(lines, "%s%s%s%s", same ? "," : s[i].name, same ? "" : ":", s[i].value,
			        last ? "\n" : "");
		if (names && !same)
			buf_addf(names, "%s%s", i ? ";" : "", s[i].name);
	}
	for (size_t i = 0; i < r->n_header; i++) {
		free(s[i].name);
		mem_cleanse(s[i].value, strlen(s[i].value)); /* a session token is among them */
		free(s[i].value);
	}
}

/* --- the signature --- */

void s3_canonical(const struct s3_signable *r, struct buf *out)
{
	buf_addf(out, "%s\n", r->method);
	s3_encode(out, r->path, true);
	buf_addf(out, "\n");
	s3_query(out, r->query, r->n_query);
	buf_addf(out, "\n");
	headers(r, out, NULL);
	buf_addf(out, "\n");
	headers(r, NULL, out);
	buf_addf(out, "\n%s", r->payload);
}

static void hmac_text(const void *key, size_t n_key, const char *text, unsigned char out[SHA256_LEN])
{
	struct hmac *h = hmac_new(key, n_key);

	hmac_of(h, NULL, 0, text, strlen(text), out);
	hmac_free(h);
}

static void signing_key(const struct s3_credentials *k, const char *day, unsigned char out[SHA256_LEN])
{
	struct secret first = {0};

	secret_init(&first, 4 + k->secret_key->len);
	memcpy(first.p, "AWS4", 4);
	if (k->secret_key->len)
		memcpy(first.p + 4, k->secret_key->p, k->secret_key->len);
	hmac_text(first.p, first.len, day, out);
	secret_release(&first);
	hmac_text(out, SHA256_LEN, k->region, out);
	hmac_text(out, SHA256_LEN, k->service, out);
	hmac_text(out, SHA256_LEN, "aws4_request", out);
}

void s3_sign(const struct s3_credentials *k, const struct s3_signable *r, struct buf *out)
{
	CLEAN(buf_release) struct buf text = BUF_INIT(CANONICAL_MAX);
	unsigned char digest[SHA256_LEN], key[SHA256_LEN], signature[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1], day[9];

	memcpy(day, r->stamp, 8);
	day[8] = '\0';
	s3_canonical(r, &text);
	sha256_of(text.p, text.len, digest);
	mem_cleanse(text.p, text.len);
	buf_clear(&text);
	hex_encode(hex, digest, sizeof digest);
	buf_addf(&text, "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n%s", r->stamp, day, k->region, k->service, hex);
	signing_key(k, day, key);
	hmac_text(key, sizeof key, buf_str(&text), signature);
	mem_cleanse(key, sizeof key);
	hex_encode(hex, signature, sizeof signature);
	buf_addf(out, "AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=", k->access_key, day,
	        k->region, k->service);
	headers(r, NULL, out);
	buf_addf(out, ", Signature=%s", hex);
}

void s3_stamp(int64_t wall_ns, char out[17])
{
	char text[CLOCK_TEXT];

	clock_compact(text, wall_ns);
	str_copy(out, 17, text);
}
