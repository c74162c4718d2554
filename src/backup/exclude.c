#include "backup/exclude.h"

#include <fnmatch.h>
#include <limits.h>
#include <string.h>
#include "base/fs.h"
#include "base/mem.h"

#define EXCLUDE_FILE_MAX ((size_t)16 << 20)

struct part { /* between two slashes */
	char *text;
	bool any;     /* ** */
	bool literal; /* nothing in it is special */
};
struct pattern {
	bool take_back, dir_only, anywhere; /* anywhere: one part, matched with the last component */
	struct part *part;
	size_t n, cap;
};
struct exclude {
	struct pattern *pattern;
	size_t n, cap;
};

struct exclude *exclude_new(void)
{
	return xcalloc(1, sizeof(struct exclude));
}

void exclude_free(struct exclude *x)
{
	if (!x)
		return;
	for (size_t i = 0; i < x->n; i++) {
		for (size_t k = 0; k < x->pattern[i].n; k++)
			free(x->pattern[i].part[k].text);
		free(x->pattern[i].part);
	}
	free(x->pattern);
	free(x);
}

static void add_part(struct pattern *p, const char *s, size_t n)
{
	p->part = xgrow(p->part, p->n, &p->cap, sizeof(*p->part));
	struct part *q = &p->part[p->n++];
	q->text = xstrndup(s, n);
	q->any = n == 2 && !memcmp(s, "**", 2);
	q->literal = !strpbrk(q->text, "*?[\\");
}

/* Length without trailing spaces, but for one behind a backslash. */
static size_t trimmed(const char *s)
{
	size_t n = strlen(s);
	while (n && s[n - 1] == ' ' && !(n > 1 && s[n - 2] == '\\'))
		n--;
	return n;
}

void exclude_add(struct exclude *x, const char *s)
{
	struct pattern p = {0};
	size_t n = trimmed(s);
	if (!n || *s == '#')
		return;
	if (*s == '!') {
		p.take_back = true;
		s++;
		n--;
	}
	while (n && s[n - 1] == '/') {
		p.dir_only = true;
		n--;
	}
	p.anywhere = !memchr(s, '/', n);
	for (size_t at = 0; at < n;) {
		const char *slash = memchr(s + at, '/', n - at);
		size_t len = slash ? (size_t)(slash - s) - at : n - at;
		if (len)
			add_part(&p, s + at, len);
		at += len + 1;
	}
	if (!p.n)
		return;
	x->pattern = xgrow(x->pattern, x->n, &x->cap, sizeof(*x->pattern));
	x->pattern[x->n++] = p;
}

int exclude_add_file(struct exclude *x, const char *path, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(EXCLUDE_FILE_MAX);
	int rc = fs_read(path, &b, err);
	if (rc)
		return rc;
	for (size_t at = 0; at < b.len;) {
		const unsigned char *end = memchr(b.p + at, '\n', b.len - at);
		size_t n = end ? (size_t)(end - b.p) - at : b.len - at;
		CLEAN(free_ptr) char *line = xstrndup((const char *)b.p + at, n);
		exclude_add(x, line);
		at += n + 1;
	}
	return 0;
}

static bool part_matches(const struct part *p, const char *name, size_t n)
{
	char one[NAME_MAX + 1];
	if (p->literal)
		return strlen(p->text) == n && !memcmp(p->text, name, n);
	if (n > NAME_MAX)
		return false;
	memcpy(one, name, n);
	one[n] = '\0';
	return !fnmatch(p->text, one, 0);
}

/* Do the parts from i on match the whole of path? */
static bool parts_match(const struct pattern *p, size_t i, const char *path)
{
	for (; i < p->n; i++) {
		size_t n = strcspn(path, "/");
		if (!n)
			return false;
		if (p->part[i].any)
			break;
		if (!part_matches(&p->part[i], path, n))
			return false;
		path += n + (path[n] == '/');
	}
	if (i == p->n)
		return !*path;
	while (i + 1 < p->n && p->part[i + 1].any)
		i++;
	if (i + 1 == p->n)
		return true;
	for (;;) {
		if (parts_match(p, i + 1, path))
			return true;
		path += strcspn(path, "/");
		if (!*path)
			return false;
		path++;
	}
}

static bool matches(const struct pattern *p, const char *path)
{
	if (!p->anywhere)
		return parts_match(p, 0, path);
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	return part_matches(&p->part[0], name, strlen(name));
}

bool exclude_match(const struct exclude *x, const char *path, bool is_dir)
{
	for (size_t i = x->n; i-- > 0;) {
		const struct pattern *p = &x->pattern[i];
		if ((is_dir || !p->dir_only) && matches(p, path))
			return !p->take_back;
	}
	return false;
}
