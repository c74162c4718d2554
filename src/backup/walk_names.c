#include "backup/walk_names.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/tmp_file.h"

enum { DENTS = 64 << 10, RUN_BUF = 16 << 10 };

struct name_run {
	uint64_t off, end; /* what is left in the spill */
	size_t pos, len;   /* of the current name, and of what is in buf */
	char buf[RUN_BUF];
};

void spill_init(struct spill *s, const char *dir, size_t run_max)
{
	*s = (struct spill){.dir = dir, .run_max = run_max, .fd = -1, .dents = xmalloc(DENTS)};
}

void spill_release(struct spill *s)
{
	close_fd(&s->fd);
	free(s->dents);
	s->dents = NULL;
}

static void add(struct names *n, const char *name)
{
	size_t len = strlen(name) + 1;
	if (n->cap - n->len < len) {
		n->cap = MAX(n->cap * 2, (size_t)4096);
		n->text = xrealloc(n->text, n->cap);
	}
	n->at = xgrow(n->at, n->n, &n->cap_at, sizeof(*n->at));
	n->at[n->n++] = (uint32_t)n->len;
	memcpy(n->text + n->len, name, len);
	n->len += len;
}

static int cmp_places(const void *a, const void *b, void *text)
{
	return strcmp((char *)text + *(const uint32_t *)a, (char *)text + *(const uint32_t *)b);
}

static void sort(struct names *n)
{
	for (size_t i = 1; i < n->n; i++)
		if (strcmp(n->text + n->at[i - 1], n->text + n->at[i]) > 0) {
			qsort_r(n->at, n->n, sizeof(*n->at), cmp_places, n->text);
			return;
		}
}

/* Write the sorted names as a run and start over. */
static int spill_run(struct names *n, struct spill *s, struct err *err)
{
	if (!n->n)
		return 0;
	if (s->fd < 0) {
		int r = tmp_file_open(s->dir, &s->fd, err);
		if (r)
			return r;
	}
	sort(n);
	CLEAN(free_ptr) char *out = xmalloc(n->len);
	size_t len = 0;
	for (size_t i = 0; i < n->n; i++) {
		size_t k = strlen(n->text + n->at[i]) + 1;
		memcpy(out + len, n->text + n->at[i], k);
		len += k;
	}
	int r = tmp_file_write(s->fd, out, len, s->end, err);
	if (r)
		return r;
	struct name_run *run = xcalloc(1, sizeof(*run));
	run->off = s->end;
	run->end = s->end += len;
	n->heap = xgrow(n->heap, n->n_runs, &n->cap_runs, sizeof(*n->heap));
	n->heap[n->n_runs++] = run;
	n->n = n->len = 0;
	return 0;
}

/* --- merging --- */

/* Make the current name whole in buf. */
static int run_fill(struct name_run *r, const struct spill *s, struct err *err)
{
	if (memchr(r->buf + r->pos, 0, r->len - r->pos))
		return 0;
	r->len -= r->pos;
	memmove(r->buf, r->buf + r->pos, r->len);
	r->pos = 0;
	size_t want = (size_t)MIN((uint64_t)(RUN_BUF - r->len), r->end - r->off);
	int rc = want ? tmp_file_read(s->fd, r->buf + r->len, want, r->off, err) : 0;
	if (rc)
		return rc;
	r->len += want;
	r->off += want;
	if (r->len && !memchr(r->buf, 0, r->len))
		return err_set(err, ERR_INTERNAL, "a spilled name does not end");
	return 0;
}

static bool run_done(const struct name_run *r)
{
	return r->pos == r->len && r->off == r->end;
}

static bool less(const struct name_run *a, const struct name_run *b)
{
	return strcmp(a->buf + a->pos, b->buf + b->pos) < 0;
}

static void sift(struct names *n, size_t i)
{
	for (size_t c; (c = 2 * i + 1) < n->n_runs; i = c) {
		if (c + 1 < n->n_runs && less(n->heap[c + 1], n->heap[c]))
			c++;
		if (!less(n->heap[c], n->heap[i]))
			return;
		struct name_run *t = n->heap[i];
		n->heap[i] = n->heap[c];
		n->heap[c] = t;
	}
}

static int merge_begin(struct names *n, const struct spill *s, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; i < n->n_runs && !rc; i++)
		rc = run_fill(n->heap[i], s, err);
	if (rc)
		return rc;
	for (size_t i = n->n_runs; i-- > 0;)
		sift(n, i);
	free(n->text);
	free(n->at);
	n->text = NULL;
	n->at = NULL;
	n->len = n->cap = n->cap_at = 0;
	return 0;
}

/* The smallest current name, copied: its run moves on. */
static int merge_next(struct names *n, const struct spill *s, char out[256], struct err *err)
{
	struct name_run *r = n->heap[0];
	size_t len = strlen(r->buf + r->pos) + 1;
	memcpy(out, r->buf + r->pos, MIN(len, (size_t)256));
	r->pos += len;
	if (run_done(r)) {
		free(r);
		n->heap[0] = n->heap[--n->n_runs];
	} else {
		int rc = run_fill(r, s, err);
		if (rc)
			return rc;
	}
	sift(n, 0);
	return 0;
}

/* --- outside --- */

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

int names_read(struct names *n, int fd, struct spill *s, struct err *err)
{
	*n = (struct names){.base = s->end};
	for (;;) {
		ssize_t got = getdents64(fd, s->dents, DENTS);
		if (got < 0)
			return err_sys(err, ERR_IO, "read directory");
		if (!got)
			break;
		for (ssize_t at = 0; at < got;) {
			const struct dirent64 *e = (const void *)(s->dents + at);
			at += e->d_reclen;
			if (is_dots(e->d_name))
				continue;
			if (n->n == s->run_max) {
				int rc = spill_run(n, s, err);
				if (rc)
					return rc;
			}
			add(n, e->d_name);
		}
	}
	if (!n->n_runs) {
		sort(n);
		return 0;
	}
	int rc = spill_run(n, s, err);
	return rc ? rc : merge_begin(n, s, err);
}

int names_next(struct names *n, struct spill *s, const char **ret, struct err *err)
{
	/* a directory that changes while it is read may tell a name twice */
	if (!n->cap_runs) {
		while (n->next < n->n) {
			const char *name = n->text + n->at[n->next];
			bool again = n->next && !strcmp(name, n->text + n->at[n->next - 1]);
			n->next++;
			if (!again) {
				*ret = name;
				return 1;
			}
		}
		return 0;
	}
	while (n->n_runs) {
		char name[256];
		int rc = merge_next(n, s, name, err);
		if (rc)
			return rc;
		if (n->has_last && !strcmp(name, n->last))
			continue;
		memcpy(n->last, name, sizeof(name));
		n->has_last = true;
		*ret = n->last;
		return 1;
	}
	return 0;
}

void names_release(struct names *n, struct spill *s)
{
	for (size_t i = 0; i < n->n_runs; i++)
		free(n->heap[i]);
	if (n->cap_runs && s->end > n->base) {
		s->end = n->base;
		if (s->fd >= 0 && ftruncate(s->fd, (off_t)s->end)) {
			/* the space comes back with the file */
		}
	}
	free(n->heap);
	free(n->text);
	free(n->at);
	*n = (struct names){0};
}
