#include "crypto/signers.h"

#include <string.h>
#include <time.h>
#include "base/mem.h"
#include "base/str.h"

#define KEY_TYPE "ssh-ed25519"
#define LINE_MAX_BYTES 4096

struct line {
	char who[SIGNERS_PRINCIPAL];
	unsigned char pub[ED25519_PUB_LEN];
	bool has_namespaces, in_namespace, has_before;
	int64_t before_ns, after_ns;
};

/* YYYYMMDD or YYYYMMDDHHMM[SS], with or without Z. */
static bool parse_time(const char *s, size_t n, int64_t *ret_ns)
{
	struct tm tm = {0};
	int v[6] = {0};
	static const size_t width[6] = {4, 2, 2, 2, 2, 2};
	n -= n && s[n - 1] == 'Z';
	if (n != 8 && n != 12 && n != 14)
		return false;
	for (size_t f = 0, at = 0; f < 6 && at < n; f++)
		for (size_t i = 0; i < width[f]; i++, at++) {
			if (s[at] < '0' || s[at] > '9')
				return false;
			v[f] = v[f] * 10 + (s[at] - '0');
		}
	if (v[0] < 1970 || v[0] > 9999 || v[1] < 1 || v[1] > 12 || v[2] < 1 || v[2] > 31 || v[3] > 23 || v[4] > 59 || v[5] > 59)
		return false;
	tm = (struct tm){.tm_year = v[0] - 1900, .tm_mon = v[1] - 1, .tm_mday = v[2], .tm_hour = v[3], .tm_min = v[4], .tm_sec = v[5]};
	return !__builtin_mul_overflow((int64_t)timegm(&tm), INT64_C(1000000000), ret_ns);
}

/* A list with commas that has the word itself; patterns are not understood, and so never match. */
static bool list_has(const char *list, size_t n, const char *word)
{
	size_t len = strlen(word);
	while (n) {
		const char *comma = memchr(list, ',', n);
		size_t one = comma ? (size_t)(comma - list) : n;
		if (one == len && !memcmp(list, word, len))
			return true;
		one += comma != NULL;
		list += one;
		n -= one;
	}
	return false;
}

/* One option, its value without quotes. False for one that is not understood: such a line must not count. */
static bool take_option(struct line *l, const char *name, size_t n_name, const char *value, size_t n, const char *name_space)
{
	if (n_name == 10 && !memcmp(name, "namespaces", 10)) {
		l->has_namespaces = true;
		l->in_namespace = list_has(value, n, name_space);
		return true;
	}
	if (n_name == 12 && !memcmp(name, "valid-before", 12)) {
		l->has_before = true;
		return parse_time(value, n, &l->before_ns);
	}
	return n_name == 11 && !memcmp(name, "valid-after", 11) && parse_time(value, n, &l->after_ns);
}

/* name="value",name=value up to a space; moves *at behind. */
static bool take_options(struct line *l, const char **at, const char *end, const char *name_space)
{
	const char *p = *at;
	while (p < end && *p != ' ') {
		const char *name = p;
		while (p < end && *p != '=' && *p != ',' && *p != ' ')
			p++;
		size_t n_name = (size_t)(p - name);
		if (p == end || *p != '=')
			return false;
		bool quoted = ++p < end && *p == '"';
		const char *value = p += quoted;
		while (p < end && (quoted ? *p != '"' : *p != ',' && *p != ' '))
			p++;
		size_t n = (size_t)(p - value);
		if (quoted && p++ == end)
			return false;
		if (!take_option(l, name, n_name, value, n, name_space) || (p < end && *p != ',' && *p != ' '))
			return false;
		p += p < end && *p == ',';
	}
	*at = p;
	return true;
}

static bool take_key(struct line *l, const char *p, size_t n)
{
	static const unsigned char head[] = {0, 0, 0, 11, 's', 's', 'h', '-', 'e', 'd', '2', '5', '5', '1', '9', 0, 0, 0, 32};
	unsigned char blob[sizeof head + ED25519_PUB_LEN + 3];
	if (n != 4 * ((sizeof head + ED25519_PUB_LEN + 2) / 3) ||
	        base64_decode(blob, p, n) != (long)(sizeof head + ED25519_PUB_LEN) || memcmp(blob, head, sizeof head))
		return false;
	memcpy(l->pub, blob + sizeof head, ED25519_PUB_LEN);
	return true;
}

static size_t word(const char *p, const char *end)
{
	const char *at = p;
	while (at < end && *at != ' ' && *at != '\t')
		at++;
	return (size_t)(at - p);
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

static bool parse_line(struct line *l, const char *p, size_t n_line, const char *name_space)
{
	const char *end = p + n_line;
	*l = (struct line){0};
	p = skip_blanks(p, end);
	size_t n = word(p, end), first = (size_t)strcspn(p, ", \t");
	if (!n || *p == '#' || *p == '"' || memchr(p, '*', n) || memchr(p, '?', n) || memchr(p, '!', n) || MIN(first, n) >= sizeof l->who)
		return false;
	memcpy(l->who, p, MIN(first, n));
	p = skip_blanks(p + n, end);
	if (word(p, end) != strlen(KEY_TYPE) || memcmp(p, KEY_TYPE, strlen(KEY_TYPE))) {
		if (!take_options(l, &p, end, name_space))
			return false;
		p = skip_blanks(p, end);
	}
	if (word(p, end) != strlen(KEY_TYPE) || memcmp(p, KEY_TYPE, strlen(KEY_TYPE)))
		return false;
	p = skip_blanks(p + strlen(KEY_TYPE), end);
	return take_key(l, p, word(p, end));
}

static bool counts(const struct line *l, int64_t now_ns)
{
	return l->has_namespaces && l->in_namespace && l->has_before && now_ns < l->before_ns && now_ns >= l->after_ns;
}

int signers_verify(const void *file, size_t n_file, const char *name_space, int64_t now_ns, const void *p, size_t n,
        const char *signature, size_t n_signature, char ret_who[SIGNERS_PRINCIPAL], struct err *err)
{
	const char *at = file, *end = at + n_file;
	bool any = false;
	while (at < end) {
		char text[LINE_MAX_BYTES];
		const char *nl = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((nl ? nl : end) - at);
		struct line l;
		if (len < sizeof text && !memchr(at, 0, len)) {
			memcpy(text, at, len);
			text[len] = 0;
			if (parse_line(&l, text, len, name_space) && counts(&l, now_ns)) {
				int rc = sshsig_verify(signature, n_signature, l.pub, name_space, p, n, err);
				if (!rc)
					memcpy(ret_who, l.who, SIGNERS_PRINCIPAL);
				if (rc != -ERR_CORRUPT)
					return rc;
				any = true;
			}
		}
		at += len + (nl != NULL);
	}
	return err_set(err, ERR_CORRUPT, any ? "the signature is by nobody who may give it" : "nobody may sign as %s at this time", name_space);
}
