#include "plan/internal.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#define YEAR_MS (365ll * 86400 * 1000)
#define DURATION_MAX_MS (200 * YEAR_MS)

/* A value as it is shown in messages: clipped, since it may be long. */
const char *value_shown(const struct value_ctx *c, const struct node *n)
{
	size_t len = MIN(n->len, (size_t)60);
	while (len > 0 && len < n->len && ((unsigned char)n->text[len] & 0xc0) == 0x80)
		len--;
	return arena_fmt(c->l->arena, "'%.*s%s'", (int)len, n->text, len < n->len ? "..." : "");
}

const char *value_expected(const struct value_ctx *c, enum value_type type)
{
	const char *name = schema_type_name(type);
	bool vowel = strchr("aeio", name[0]) || type == T_HTTP;
	return arena_fmt(c->l->arena, "%s %s", vowel ? "an" : "a", name);
}

static bool wrong(const struct value_ctx *c, const struct node *n, const char *what, const char *hint)
{
	bad(c->l, n->at, hint, "%s: %s is not %s", c->where, value_shown(c, n), what);
	return false;
}

bool plan_is_secret_ref(const char *s)
{
	return s && ((str_starts(s, "file:") && s[5] == '/') || (str_starts(s, "env:") && s[4]) ||
	                    (str_starts(s, "systemd-credential:") && s[19]));
}

bool value_is_secret_name(const char *name, size_t len)
{
	static const char *const words[] = {"password", "passwd", "passphrase", "secret", "token", "api_key", "apikey",
	        "api-key", "private_key", "access_key", "credential"};
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		size_t n = strlen(words[i]);
		for (size_t j = 0; j + n <= len; j++) {
			/* A name like TOKEN_FILE says where a secret is, which is what it should do. */
			bool says_where = len >= 5 && (strncasecmp(name + len - 5, "_file", 5) == 0 ||
			                                      strncasecmp(name + len - 5, "-file", 5) == 0);
			if (strncasecmp(name + j, words[i], n) == 0 && !says_where)
				return true;
		}
	}
	return false;
}

bool value_has_secret(const char *text)
{
	const char *begin = strstr(text, "-----BEGIN ");
	if (begin && strstr(begin, "PRIVATE KEY"))
		return true;
	for (const char *s = text; (s = strstr(s, "://")); s += 3) {
		size_t authority = strcspn(s + 3, "/?# \t\n\"'");
		const char *at = memrchr(s + 3, '@', authority);
		if (at && memchr(s + 3, ':', (size_t)(at - s - 3)))
			return true;
	}
	return false;
}

/* "--password=x", "PGPASSWORD=x": an assignment whose name is that of a secret. */
static bool arg_has_secret(const char *arg)
{
	size_t name = strcspn(arg, "=");
	if (!arg[name] || !arg[name + 1] || strpbrk(arg, " \t\n") || plan_is_secret_ref(arg + name + 1))
		return false;
	return strspn(arg, "-_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") == name &&
	       value_is_secret_name(arg, name);
}

static bool has_newline(const char *s)
{
	return strpbrk(s, "\n\t") != NULL;
}

/* No component is "." or "..", none is empty but the last. */
static bool clean_path(const char *s)
{
	if (!*s || has_newline(s))
		return false;
	for (const char *p = s + (*s == '/'); *p;) {
		size_t n = strcspn(p, "/");
		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p += n + (p[n] == '/');
	}
	return true;
}

static bool put_str(void *dest, const char *s)
{
	memcpy(dest, &s, sizeof(s));
	return true;
}

static bool load_abs(const struct value_ctx *c, const struct node *n, void *dest)
{
	if (n->text[0] != '/')
		return wrong(c, n, "an absolute path", NULL);
	return clean_path(n->text) ? put_str(dest, n->text)
	                           : wrong(c, n, "a clean path", "without '.', '..' and empty parts");
}

static bool load_work(const struct value_ctx *c, const struct node *n, void *dest)
{
	const char *s = n->text;
	if (str_starts(s, "${work}") && (s[7] == '/' || !s[7]))
		s += 7;
	else if (s[0] != '/')
		return wrong(c, n, "an absolute path", "begin with / or ${work}");
	if (strstr(s, "${"))
		return wrong(c, n, "a path", "${work} at the beginning is the only variable");
	return !*s || clean_path(s) ? put_str(dest, n->text)
	                            : wrong(c, n, "a clean path", "without '.', '..' and empty parts");
}

static bool load_rel(const struct value_ctx *c, const struct node *n, void *dest)
{
	if (n->text[0] == '/')
		return wrong(c, n, "a path inside a copy", "leave the leading slash out");
	return clean_path(n->text) ? put_str(dest, n->text)
	                           : wrong(c, n, "a clean path", "without '.', '..' and empty parts");
}

static bool load_name(const struct value_ctx *c, const struct node *n, void *dest)
{
	if (!clean_path(n->text) || strchr(n->text, '/') || n->len > 255)
		return wrong(c, n, "a file name", "one part of a path, without '/'");
	return put_str(dest, n->text);
}

/* [user@]host[:port] without spaces, a leading '-' (an option to ssh) or a password. */
static bool good_authority(const char *s, size_t len)
{
	const char *at = memchr(s, '@', len);
	const char *host = at ? at + 1 : s;
	size_t n = len - (size_t)(host - s);
	if (at && (at == s || *s == '-' || memchr(host, '@', n) || memchr(s, ':', (size_t)(at - s))))
		return false;
	if (n == 0 || *host == '-' || *host == ':')
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)s[i]) && !strchr("@.:-_[]%", s[i]))
			return false;
	}
	const char *colon = memrchr(host, ':', n);
	const char *bracket = memrchr(host, ']', n);
	if (!colon || (bracket && bracket > colon))
		return true;
	size_t digits = n - (size_t)(colon + 1 - host);
	long port = 0;
	for (size_t i = 0; i < digits; i++) {
		if (!isdigit((unsigned char)colon[1 + i]) || port > 65535)
			return false;
		port = port * 10 + (colon[1 + i] - '0');
	}
	return digits > 0 && port >= 1 && port <= 65535;
}

static bool load_host(const struct value_ctx *c, const struct node *n, void *dest)
{
	const char *s = n->text;
	if (str_eq(s, "local") || (str_starts(s, "ssh://") && good_authority(s + 6, strlen(s + 6))))
		return put_str(dest, s);
	return wrong(c, n, "a host", "local, or ssh://user@host[:port]");
}

static bool load_url(const struct value_ctx *c, const struct node *n, void *dest)
{
	const char *s = n->text;
	if (has_newline(s) || strchr(s, ' '))
		return wrong(c, n, "a URL of a site", "spaces are not allowed");
	if (str_starts(s, "file://"))
		return s[7] == '/' && s[8] && clean_path(s + 7)
		               ? put_str(dest, s)
		               : wrong(c, n, "a URL of a directory", "file:///absolute/path");
	static const char *const schemes[] = {"sftp://", "ssh://", "s3://"};
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		if (!str_starts(s, schemes[i]))
			continue;
		s += strlen(schemes[i]);
		size_t host = strcspn(s, "/");
		bool path_ok = !s[host] || !s[host + 1] || clean_path(s + host);
		return good_authority(s, host) && path_ok && !strpbrk(s, "?#")
		               ? put_str(dest, n->text)
		               : wrong(c, n, "a URL of a site", "SCHEME://user@host/path");
	}
	return wrong(c, n, "a URL of a site", "file:///dir, sftp://, ssh:// or s3://");
}

static bool load_http(const struct value_ctx *c, const struct node *n, void *dest, bool https_only)
{
	const char *s = n->text;
	size_t skip = str_starts(s, "https://") ? 8 : !https_only && str_starts(s, "http://") ? 7 : 0;
	if (!skip || has_newline(s) || strchr(s, ' ') || !good_authority(s + skip, strcspn(s + skip, "/?#")))
		return wrong(c, n, https_only ? "an https URL" : "an http URL", NULL);
	return put_str(dest, s);
}

static bool load_ping(const struct value_ctx *c, const struct node *n, void *dest)
{
	return plan_is_secret_ref(n->text) ? put_str(dest, n->text) : load_http(c, n, dest, true);
}

static bool load_address(const struct value_ctx *c, const struct node *n, void *dest)
{
	const char *colon = strrchr(n->text, ':');
	if (!colon || strchr(n->text, '@') || colon[1] == ']' || strchr(colon, ']') || !good_authority(n->text, n->len))
		return wrong(c, n, "an address", "host:port");
	return put_str(dest, n->text);
}

static bool load_secret(const struct value_ctx *c, const struct node *n, void *dest)
{
	if (plan_is_secret_ref(n->text))
		return put_str(dest, n->text);
	/* The value may be the secret itself, so it is not repeated. */
	diag_secret(c->l, n->at, "%s: a secret does not belong in a plan", c->where);
	return false;
}

static bool load_email(const struct value_ctx *c, const struct node *n, void *dest)
{
	const char *at = strchr(n->text, '@');
	if (!at || at == n->text || !at[1] || strchr(at + 1, '@') || n->text[0] == '-' ||
	        strpbrk(n->text, " \t\n,;<>\"'\\"))
		return wrong(c, n, "a mail address", NULL);
	return put_str(dest, n->text);
}

static bool load_zone(const struct value_ctx *c, const struct node *n, void *dest)
{
	CLEAN(tz_free_ptr) struct tz *tz = NULL;
	struct err e = ERR_INIT;
	return !tz_load(n->text, &tz, &e) ? put_str(dest, n->text)
	                                  : wrong(c, n, "a time zone", "an IANA name such as Europe/Berlin");
}

static bool load_id(const struct value_ctx *c, const struct node *n, void *dest)
{
	return str_is_id(n->text) ? put_str(dest, n->text)
	                          : wrong(c, n, "an id", "lower-case letters, digits and '-' inside, at most 63");
}

static int word_index(const struct value_ctx *c, const struct node *n)
{
	int i = allowed_index(c->row->allowed, n->text, n->len);
	if (i >= 0)
		return i;
	char words[16][64], list[512] = "";
	const char *names[17] = {NULL};
	size_t used = 0;
	for (size_t w = 0; w < 16 && allowed_word(c->row->allowed, w, words[w]); w++) {
		names[w] = words[w];
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", w ? ", " : "", words[w]);
		BUG_ON(used >= sizeof(list));
	}
	bad(c->l, n->at, diag_near(c->l, n->text, names), "%s: %s is not one of %s", c->where, value_shown(c, n), list);
	return -1;
}

static bool load_enum(const struct value_ctx *c, const struct node *n, void *dest)
{
	int i = word_index(c, n);
	memcpy(dest, &i, sizeof(i)); /* an enum is as wide as an int here */
	return i >= 0;
}

static bool load_bool(const struct value_ctx *c, const struct node *n, void *dest)
{
	bool v = str_eq(n->text, "true");
	if (!n->plain || (!v && !str_eq(n->text, "false")))
		return wrong(c, n, "true or false", NULL);
	memcpy(dest, &v, sizeof(v));
	return true;
}

static bool load_int(const struct value_ctx *c, const struct node *n, void *dest)
{
	int64_t lo, hi;
	allowed_range(c->row->allowed, &lo, &hi);
	char *end = NULL;
	errno = 0;
	long long v = strtoll(n->text, &end, 10);
	bool digits = n->len > 0 && strspn(n->text, "0123456789") + (n->text[0] == '-') >= n->len &&
	              !(n->text[0] == '0' && n->len > 1);
	if (!n->plain || !digits || !end || *end)
		return wrong(c, n, "a whole number", n->plain ? NULL : "leave the quotes out");
	if (errno || v < lo || v > hi) {
		bad(c->l, n->at, NULL, "%s: %s is not within %lld and %lld", c->where, value_shown(c, n), (long long)lo,
		        (long long)hi);
		return false;
	}
	int64_t out = v;
	memcpy(dest, &out, sizeof(out));
	return true;
}

static bool load_real(const struct value_ctx *c, const struct node *n, void *dest)
{
	int64_t lo, hi;
	allowed_range(c->row->allowed, &lo, &hi);
	char *end = NULL;
	double v = strtod(n->text, &end);
	bool digits = n->len > 0 && n->len < 32 && strspn(n->text, "-.0123456789") == n->len &&
	              strpbrk(n->text, "0123456789");
	if (!n->plain || !digits || *end)
		return wrong(c, n, "a number", n->plain ? NULL : "leave the quotes out");
	if (!(v >= (double)lo && v <= (double)hi)) {
		bad(c->l, n->at, NULL, "%s: %s is not within %lld and %lld", c->where, value_shown(c, n), (long long)lo,
		        (long long)hi);
		return false;
	}
	memcpy(dest, &v, sizeof(v));
	return true;
}

static bool load_duration(const struct value_ctx *c, const struct node *n, void *dest)
{
	int64_t ms = 0;
	if (!str_duration(n->text, &ms)) {
		bool bare = n->len > 0 && strspn(n->text, "0123456789") == n->len;
		return wrong(c, n, "a duration",
		        bare ? "the unit is missing: write 15m, 4h, 30d or 7y" : "write 15m, 4h, 30d or 7y");
	}
	if (ms > DURATION_MAX_MS)
		return wrong(c, n, "a sensible duration", "at most 200y");
	if (ms < 0 || (ms == 0 && !c->row->allowed))
		return wrong(c, n, "a duration above zero", NULL);
	memcpy(dest, &ms, sizeof(ms));
	return true;
}

static bool load_size(const struct value_ctx *c, const struct node *n, void *dest, bool rate)
{
	uint64_t v = 0;
	char text[40];
	size_t len = n->len;
	bool per_second = len > 2 && memcmp(n->text + len - 2, "/s", 2) == 0;
	len -= rate && per_second ? 2 : 0;
	snprintf(text, sizeof(text), "%.*s", (int)MIN(len, sizeof(text)), n->text);
	if ((rate && !per_second) || len >= sizeof(text) || !str_size(text, &v) || v == 0 || v > INT64_MAX)
		return wrong(
		        c, n, rate ? "a size per second" : "a size", rate ? "write 50MiB/s" : "write 64MiB or 1GiB");
	memcpy(dest, &v, sizeof(v));
	return true;
}

static bool load_date(const struct value_ctx *c, const struct node *n, void *dest)
{
	int64_t ns = 0;
	if (!clock_parse(n->text, &ns) || ns <= 0)
		return wrong(c, n, "a date", "write 2027-03-31");
	memcpy(dest, &ns, sizeof(ns));
	return true;
}

static bool load_window(const struct value_ctx *c, const struct node *n, void *dest)
{
	unsigned v[4] = {0};
	const char *s = n->text;
	bool ok = n->len == 11 && s[2] == ':' && s[5] == '-' && s[8] == ':';
	static const size_t at[4] = {0, 3, 6, 9};
	for (size_t i = 0; ok && i < 4; i++) {
		ok = isdigit((unsigned char)s[at[i]]) && isdigit((unsigned char)s[at[i] + 1]);
		v[i] = (unsigned)((s[at[i]] - '0') * 10 + (s[at[i] + 1] - '0'));
	}
	ok = ok && v[0] < 24 && v[1] < 60 && v[2] < 24 && v[3] < 60 && (v[0] != v[2] || v[1] != v[3]);
	if (!ok)
		return wrong(c, n, "a time window", "write 22:00-06:00");
	int64_t out[2] = {v[0] * 60 + v[1], v[2] * 60 + v[3]};
	memcpy(dest, out, sizeof(out));
	return true;
}

static bool load_cron(const struct value_ctx *c, const struct node *n, void *dest)
{
	struct plan_cron v = {.at = n->at, .text = n->text};
	struct err e = ERR_INIT;
	size_t col = 0;
	if (cron_parse(n->text, &v.rule, &col, &e)) {
		struct plan_place at = n->at;
		at.col += (int)col;
		bad(c->l, n->on_line ? at : n->at, e.hint[0] ? e.hint : NULL, "%s: %s", c->where, e.msg);
		return false;
	}
	memcpy(dest, &v, sizeof(v));
	return true;
}

static bool load_arg(const struct value_ctx *c, const struct node *n, void *dest)
{
	if (!arg_has_secret(n->text))
		return put_str(dest, n->text);
	diag_secret(c->l, n->at, "%s: a secret does not belong in a command line", c->where);
	return false;
}

bool value_scalar(const struct value_ctx *c, enum value_type type, const struct node *n, void *dest)
{
	if (n->kind != NODE_SCALAR) {
		bad(c->l, n->at, NULL, "%s: expected %s, found a %s", c->where, value_expected(c, type),
		        n->kind == NODE_MAP ? "mapping" : "list");
		return false;
	}
	if (n->plain && (n->len == 0 || str_eq(n->text, "null") || str_eq(n->text, "~"))) {
		bad(c->l, n->at, NULL, "%s has no value", c->where);
		return false;
	}
	if (value_has_secret(n->text)) {
		diag_secret(c->l, n->at, "%s: a secret does not belong in a plan", c->where);
		return false;
	}
	switch (type) {
	case T_TEXT:
		return n->len ? put_str(dest, n->text) : wrong(c, n, "a text", "it is empty");
	case T_ID:
		return load_id(c, n, dest);
	case T_ABS:
		return load_abs(c, n, dest);
	case T_WORK:
		return load_work(c, n, dest);
	case T_NAME:
		return load_name(c, n, dest);
	case T_HOST:
		return load_host(c, n, dest);
	case T_URL:
		return load_url(c, n, dest);
	case T_HTTP:
		return load_http(c, n, dest, false);
	case T_PING:
		return load_ping(c, n, dest);
	case T_ADDRESS:
		return load_address(c, n, dest);
	case T_SECRET:
		return load_secret(c, n, dest);
	case T_ZONE:
		return load_zone(c, n, dest);
	case T_WORD:
		return word_index(c, n) >= 0 && put_str(dest, n->text);
	case T_ENUM:
		return load_enum(c, n, dest);
	case T_BOOL:
		return load_bool(c, n, dest);
	case T_INT:
		return load_int(c, n, dest);
	case T_REAL:
		return load_real(c, n, dest);
	case T_DURATION:
		return load_duration(c, n, dest);
	case T_SIZE:
	case T_RATE:
		return load_size(c, n, dest, type == T_RATE);
	case T_DATE:
		return load_date(c, n, dest);
	case T_WINDOW:
		return load_window(c, n, dest);
	case T_CRON:
		return load_cron(c, n, dest);
	case T_REL:
		return load_rel(c, n, dest);
	case T_EMAIL:
		return load_email(c, n, dest);
	case T_PATTERN:
		return !has_newline(n->text) && n->len
		               ? put_str(dest, n->text)
		               : wrong(c, n, "a pattern", n->len ? "it has a line break" : "it is empty");
	case T_ARG:
		return load_arg(c, n, dest);
	default:
		BUG("not a scalar type: %d", (int)type);
	}
}

bool value_load(struct loader *l, const struct key_row *row, const struct node *n, const char *where, void *dest)
{
	struct value_ctx c = {l, row, where};
	return row->type >= T_TEXTS ? value_list(&c, n, dest) : value_scalar(&c, row->type, n, dest);
}
