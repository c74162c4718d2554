#include <string.h>
#include "base/mem.h"
#include "repo/index_int.h"

enum { RUN_LOOK_BACK = 64 };

/* One segment's next entry. */
struct source {
	const struct segment *seg;
	uint32_t next;
};

struct merge {
	const struct index *ix;
	bool *take; /* which segments */
	struct source *heap; /* smallest entry at 0 */
	size_t n_heap;
	uint32_t *renumber; /* global pack number -> number in the merge */
	uint32_t packs, entries;
	index_put_fn put;
	void *arg;
	unsigned char recent[RUN_LOOK_BACK][INDEX_ENTRY_LEN]; /* a ring of the last entries of one id */
	unsigned n_recent;
};

static void merge_release(struct merge *m)
{
	free(m->take);
	free(m->heap);
	free(m->renumber);
}

static const unsigned char *source_entry(const struct source *s)
{
	return segment_id(s->seg, s->next);
}

/* By id, and of equal ones the newer segment's first. */
static bool source_before(const struct source *a, const struct source *b)
{
	int c = memcmp(source_entry(a), source_entry(b), ID_LEN);

	return c ? c < 0 : a->seg > b->seg;
}

static void sift_down(struct merge *m, size_t i)
{
	for (;;) {
		size_t least = i, l = 2 * i + 1, r = l + 1;
		struct source tmp;

		if (l < m->n_heap && source_before(&m->heap[l], &m->heap[least]))
			least = l;
		if (r < m->n_heap && source_before(&m->heap[r], &m->heap[least]))
			least = r;
		if (least == i)
			return;
		tmp = m->heap[i];
		m->heap[i] = m->heap[least];
		m->heap[least] = tmp;
		i = least;
	}
}

static void heap_build(struct merge *m)
{
	m->heap = xcalloc(m->ix->n_seg, sizeof *m->heap);
	for (size_t i = 0; i < m->ix->n_seg; i++)
		if (m->take[i] && m->ix->seg[i].entries)
			m->heap[m->n_heap++] = (struct source){&m->ix->seg[i], 0};
	for (size_t i = m->n_heap; i-- > 0;)
		sift_down(m, i);
}

/* A pack that several attempts describe gets one number. */
/* A digest that comes twice with other facts is two descriptions, of which one is wrong: both are kept, each with its entries. */
static bool same_pack(const struct index *ix, uint32_t no, const unsigned char *described)
{
	unsigned char other[INDEX_PACK_LEN];
	struct index_pack p;

	index_pack_get(ix, no, &p);
	index_put_pack(other, &p);
	return !memcmp(other, described, INDEX_PACK_LEN);
}

static int merge_packs(struct merge *m, struct err *err)
{
	m->renumber = xcalloc((size_t)m->ix->packs + 1, sizeof *m->renumber);
	memset(m->renumber, 0xff, m->ix->packs * sizeof *m->renumber);
	for (size_t k = 0; k < m->ix->n_seg; k++) {
		const struct segment *s = &m->ix->seg[k];

		for (uint32_t i = 0; i < s->packs && m->take[k]; i++) {
			const unsigned char *p = s->pack + (size_t)i * INDEX_PACK_LEN;
			uint32_t no = s->first_pack + i, first = index_pack_find(m->ix, p);
			int rc;

			BUG_ON(first > no);
			if (m->renumber[first] != UINT32_MAX && same_pack(m->ix, first, p)) {
				m->renumber[no] = m->renumber[first];
				continue;
			}
			m->renumber[no] = m->packs++;
			if ((rc = m->put(m->arg, p, INDEX_PACK_LEN, err)))
				return rc;
		}
	}
	return 0;
}

/* Is the same place there already, under this id? Otherwise it is remembered. */
static bool already(struct merge *m, const unsigned char *entry)
{
	unsigned n = MIN(m->n_recent, (unsigned)RUN_LOOK_BACK);

	if (n && memcmp(m->recent[0], entry, ID_LEN) != 0)
		m->n_recent = n = 0;
	for (unsigned i = 0; i < n; i++)
		if (!memcmp(m->recent[i], entry, INDEX_ENTRY_LEN))
			return true;
	memcpy(m->recent[m->n_recent++ % RUN_LOOK_BACK], entry, INDEX_ENTRY_LEN);
	return false;
}

static int merge_entry(struct merge *m, const struct segment *s, const unsigned char *from, struct err *err)
{
	unsigned char to[INDEX_ENTRY_LEN];
	struct index_entry e;
	int rc;

	index_get_entry(from, &e);
	e.pack = m->renumber[s->first_pack + e.pack];
	index_put_entry(to, &e);
	if (already(m, to))
		return 0;
	rc = m->put(m->arg, to, sizeof to, err);
	m->entries += !rc;
	return rc;
}

static int merge_entries(struct merge *m, struct err *err)
{
	heap_build(m);
	while (m->n_heap) {
		struct source *s = &m->heap[0];
		int rc = merge_entry(m, s->seg, source_entry(s), err);

		if (rc)
			return rc;
		if (++s->next == s->seg->entries)
			m->heap[0] = m->heap[--m->n_heap];
		sift_down(m, 0);
	}
	return 0;
}

/* What is merged and what that had replaced. The name of a cache file means nothing elsewhere. */
static int merge_names(struct merge *m, uint32_t *ret_n, struct err *err)
{
	CLEAN(index_names_release) struct index_names names = {0};
	CLEAN(buf_release) struct buf text = BUF_INIT(256);
	int rc = 0;

	for (size_t i = 0; i < m->ix->n_seg && !rc; i++) {
		const struct segment *s = &m->ix->seg[i];
		bool merge;

		if (!m->take[i])
			continue;
		rc = segment_replaced(s, &names, err);
		if (index_name_ok(s->name, strlen(s->name), &merge))
			index_names_add(&names, s->name, strlen(s->name));
	}
	if (names.n)
		index_names_sort(&names);
	for (size_t i = 0; i < names.n && !rc; i++) {
		buf_clear(&text);
		format_text(&text, names.name[i], strlen(names.name[i]));
		rc = m->put(m->arg, text.p, text.len, err);
	}
	*ret_n = (uint32_t)names.n;
	return rc;
}

int index_merge_to(const struct index *ix, enum index_which which, index_put_fn put, void *arg, unsigned char head[INDEX_HEAD_LEN], struct err *err)
{
	CLEAN(merge_release) struct merge m = {.ix = ix, .take = index_choose(ix, which), .put = put, .arg = arg};
	uint32_t names = 0;
	int rc;

	if (index_entries(ix) > UINT32_MAX)
		return err_set(err, ERR_NOMEM, "index of more than 2^32 entries");
	if ((rc = merge_packs(&m, err)) || (rc = merge_entries(&m, err)) || (rc = merge_names(&m, &names, err)))
		return rc;
	put_u32(head, m.packs);
	put_u32(head + 4, m.entries);
	put_u32(head + 8, names);
	return 0;
}

static int put_buf(void *arg, const void *p, size_t n, struct err *err)
{
	return buf_put(arg, p, n, err);
}

int index_merge(const struct index *ix, enum index_which which, struct buf *out, struct err *err)
{
	unsigned char head[INDEX_HEAD_LEN];
	size_t before = out->len;
	int rc = buf_fill(out, 0, INDEX_HEAD_LEN, err);

	if (!rc)
		rc = index_merge_to(ix, which, put_buf, out, head, err);
	if (rc)
		out->len = before;
	else
		memcpy(out->p + before, head, sizeof head);
	return rc;
}
