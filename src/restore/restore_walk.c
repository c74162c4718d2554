#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "restore/restore_internal.h"
#include "restore/target.h"

#define MAPPED_MAX (1u << 20)
#define LATE_BYTES_MAX (256u << 20)

/* --- selection --- */

/* Without slashes at either end. */
static const char *trim(const char *path, size_t *ret_n)
{
	path += strspn(path, "/");
	size_t n = strlen(path);
	while (n && path[n - 1] == '/')
		n--;
	*ret_n = n;
	return path;
}

static bool below(const char *path, const char *prefix, size_t n)
{
	return !n || (!strncmp(path, prefix, n) && (!path[n] || path[n] == '/'));
}

bool restore_selected(const char *path, const char *const *paths)
{
	for (; paths && *paths; paths++) {
		size_t n;
		const char *prefix = trim(*paths, &n);
		if (below(path, prefix, n))
			return true;
	}
	return !paths;
}

static int by_walk(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	return path_walk_cmp(x, strlen(x), y, strlen(y));
}

void selection_init(struct selection *s, const char *const *paths)
{
	size_t n = 0, cap = 0, all = 0;
	*s = (struct selection){0};
	for (; paths && paths[all]; all++) {
		size_t len;
		const char *p = trim(paths[all], &len);
		if (!len) { /* the whole of it */
			selection_release(s);
			return;
		}
		s->path = xgrow(s->path, s->n, &cap, sizeof *s->path);
		s->path[s->n++] = xstrndup(p, len);
	}
	if (s->n)
		qsort(s->path, s->n, sizeof *s->path, by_walk);
	for (size_t i = 0; i < s->n; i++) {
		if (n && below(s->path[i], s->path[n - 1], strlen(s->path[n - 1])))
			free(s->path[i]);
		else
			s->path[n++] = s->path[i];
	}
	s->n = n;
}

void selection_release(struct selection *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->path[i]);
	free(s->path);
	*s = (struct selection){0};
}

bool selection_has(const struct selection *s, const char *path)
{
	for (size_t i = 0; i < s->n; i++)
		if (below(path, s->path[i], strlen(s->path[i])))
			return true;
	return !s->n;
}

/* --- recorded path to path in the target --- */

int path_map_init(struct path_map *m, const struct restore_opts *o, struct err *err)
{
	*m = (struct path_map){.strip = o->strip, .as = o->as && *o->as ? o->as : NULL};
	buf_init(&m->buf, MAPPED_MAX);
	int rc = m->as ? target_path_check(m->as, err) : 0;
	return rc ? err_set(err, ERR_USAGE, "'%s' cannot be put in front of restored paths", m->as) : 0;
}

void path_map_release(struct path_map *m)
{
	buf_release(&m->buf);
}

const char *path_map(struct path_map *m, const char *path)
{
	for (unsigned i = 0; i < m->strip && path; i++) {
		path = strchr(path, '/');
		path = path ? path + 1 : NULL;
	}
	if (!path || !*path || !m->as)
		return path && *path ? path : NULL;
	buf_clear(&m->buf);
	if (buf_printf(&m->buf, NULL, "%s/%s", m->as, path))
		return path; /* far too long in any case: refused by whoever looks at it */
	return buf_str(&m->buf);
}

/* --- entries --- */

static int cancelled(const atomic_bool *cancel, struct err *err)
{
	return cancel && atomic_load(cancel) ? err_set(err, ERR_CANCELLED, "cancelled") : 0;
}

/* From the first entry at or below prefix to the last; prefix NULL: all. */
static int each_below(struct reader *r, const struct snapshot *snap, const char *prefix, struct pax_reader *pax,
        atomic_bool *cancel, const struct visitor *v, uint64_t *ret_met, struct err *err)
{
	struct reader_entries *list;
	struct reader_entry re;
	size_t n = prefix ? strlen(prefix) : 0;
	int rc = reader_entries_open(r, snap, prefix, &list, err);
	if (rc)
		return rc;
	while (!(rc = cancelled(cancel, err)) && (rc = reader_entries_next(list, &re, err)) > 0) {
		struct pax_entry e;
		struct err why = ERR_INIT;
		if (pax_parse(pax, re.header, re.n_header, re.content_len, &e, &why)) {
			rc = prefix ? 0 : v->malformed(v->arg, &why, err);
			if (rc)
				break;
			continue;
		}
		if (prefix && !below(e.path, prefix, n)) {
			if (path_walk_cmp(e.path, strlen(e.path), prefix, n) > 0) {
				rc = 0;
				break;
			}
			continue;
		}
		++*ret_met;
		rc = v->entry(v->arg, &re, &e, err);
		if (rc)
			break;
	}
	reader_entries_close(list);
	return rc;
}

int restore_each(struct reader *r, const struct snapshot *snap, const struct selection *sel, atomic_bool *cancel,
        const struct visitor *v, struct err *err)
{
	struct pax_reader *pax = pax_reader_new();
	uint64_t met = 0;
	int rc = sel->n ? 0 : each_below(r, snap, NULL, pax, cancel, v, &met, err);
	for (size_t i = 0; i < sel->n && !rc; i++) {
		met = 0;
		rc = each_below(r, snap, sel->path[i], pax, cancel, v, &met, err);
		if (!rc && !met) {
			err_set(err, ERR_MISSING, "the snapshot has no '%s'", sel->path[i]);
			rc = err_hint(err, "paths are given as 'holdfast ls' shows them");
		}
	}
	pax_reader_free(pax);
	return rc;
}

/* --- content --- */

void content_init(struct content *c, struct reader *r, const struct snapshot *snap)
{
	*c = (struct content){.r = r, .root = &snap->facts.root[STREAM_CONTENT]};
}

void content_release(struct content *c)
{
	reader_stream_close(c->s);
	c->s = NULL;
}

static int content_seek(struct content *c, uint64_t off, struct err *err)
{
	int rc = 0;
	if (c->s && off < c->pos)
		content_release(c);
	if (!c->s)
		rc = reader_stream_open(c->r, STREAM_CONTENT, c->root, off, &c->s, err);
	else if (off > c->pos)
		rc = reader_stream_skip(c->s, off - c->pos, err);
	c->pos = off;
	if (rc)
		content_release(c);
	return rc;
}

int content_at(
        struct content *c, uint64_t off, uint64_t want, const unsigned char **ret_p, size_t *ret_n, struct err *err)
{
	int rc = c->s && off == c->pos ? 0 : content_seek(c, off, err);
	if (!rc)
		rc = reader_stream_next(c->s, (size_t)MIN(want, (uint64_t)CHUNK_PLAIN_MAX), ret_p, ret_n, err);
	if (!rc && !*ret_n)
		rc = err_set(err, ERR_CORRUPT, "the content stream ends before its entries say");
	if (!rc)
		c->pos += *ret_n;
	return rc;
}

/* --- hard links without their first name --- */

void late_links_release(struct late_links *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->l[i].first);
		free(l->l[i].path);
	}
	free(l->l);
	*l = (struct late_links){0};
}

int late_links_add(struct late_links *l, const char *first, const char *path, struct err *err)
{
	l->bytes += strlen(first) + strlen(path) + 64;
	if (l->bytes > LATE_BYTES_MAX)
		return err_set(err, ERR_NOMEM, "too many hard links whose first name is not restored");
	l->l = xgrow(l->l, l->n, &l->cap, sizeof *l->l);
	l->l[l->n] = (struct late_link){xstrdup(first), xstrdup(path), l->n};
	l->n++;
	return 0;
}

static int by_first(const void *a, const void *b)
{
	const struct late_link *x = a, *y = b;
	int c = path_walk_cmp(x->first, strlen(x->first), y->first, strlen(y->first));
	return c ? c : x->order < y->order ? -1 : 1;
}

struct late_walk {
	struct late_links *l;
	size_t next;
	late_link_fn fn;
	void *arg;
};

/* Those that wait for e, and before them those whose first name did not come. */
static int late_meet(struct late_walk *w, const struct reader_entry *re, const struct pax_entry *e, struct err *err)
{
	int rc = 0, c;
	for (; !rc && w->next < w->l->n; w->next++) {
		const struct late_link *l = &w->l->l[w->next];
		c = path_walk_cmp(l->first, strlen(l->first), e->path, strlen(e->path));
		if (c > 0)
			break;
		bool usable = !c && e->type != PAX_HARDLINK && e->type != PAX_DIR;
		rc = w->fn(w->arg, l, usable ? re : NULL, usable ? e : NULL, err);
	}
	return rc;
}

int late_links_each(struct late_links *l, struct reader *r, const struct snapshot *snap, atomic_bool *cancel,
        late_link_fn fn, void *arg, struct err *err)
{
	struct late_walk w = {.l = l, .fn = fn, .arg = arg};
	struct reader_entries *list;
	struct reader_entry re;
	if (!l->n)
		return 0;
	qsort(l->l, l->n, sizeof *l->l, by_first);
	int rc = reader_entries_open(r, snap, l->l[0].first, &list, err);
	if (rc)
		return rc;
	struct pax_reader *pax = pax_reader_new();
	while (w.next < l->n && !(rc = cancelled(cancel, err)) && (rc = reader_entries_next(list, &re, err)) > 0) {
		struct pax_entry e;
		rc = pax_parse(pax, re.header, re.n_header, re.content_len, &e, NULL) ? 0 : late_meet(&w, &re, &e, err);
		if (rc)
			break;
	}
	pax_reader_free(pax);
	reader_entries_close(list);
	rc = rc > 0 ? 0 : rc;
	for (; !rc && w.next < l->n; w.next++)
		rc = fn(arg, &l->l[w.next], NULL, NULL, err);
	return rc;
}

void restore_note(char out[512], const char *path, const char *why)
{
	char safe[320];
	snprintf(out, 512, "%s: %.180s", log_safe(safe, sizeof safe, path), why);
}
