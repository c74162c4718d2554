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
	struct source *heap; /* smallest entry at 0 */
	size_t n_heap;
	uint32_t *renumber; /* global pack number -> number in the merge */
	uint32_t packs;
	struct buf *out;
	size_t first_entry;
	uint32_t entries;
};

static void merge_release(struct merge *m)
{
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
		if (!m->ix->seg[i].hidden && m->ix->seg[i].entries)
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
	m->renumber = xcalloc(m->ix->packs, sizeof *m->renumber);
	for (size_t k = 0; k < m->ix->n_seg; k++) {
		const struct segment *s = &m->ix->seg[k];

		for (uint32_t i = 0; i < s->packs && !s->hidden; i++) {
			const unsigned char *p = s->pack + (size_t)i * INDEX_PACK_LEN;
			uint32_t no = s->first_pack + i, first = index_pack_find(m->ix, p);
			int rc;

			BUG_ON(first > no);
			if (first < no && same_pack(m->ix, first, p)) {
				m->renumber[no] = m->renumber[first];
				continue;
			}
			m->renumber[no] = m->packs++;
			if ((rc = buf_put(m->out, p, INDEX_PACK_LEN, err)))
				return rc;
		}
	}
	return 0;
}

/* Is the same place there already, under this id? */
static bool already(const struct merge *m, const unsigned char *entry)
{
	for (uint32_t i = m->entries, back = 0; i-- > 0 && back < RUN_LOOK_BACK; back++) {
		const unsigned char *at = m->out->p + m->first_entry + (size_t)i * INDEX_ENTRY_LEN;

		if (memcmp(at, entry, ID_LEN) != 0)
			return false;
		if (!memcmp(at, entry, INDEX_ENTRY_LEN))
			return true;
	}
	return false;
}

static int merge_entry(struct merge *m, const struct segment *s, const unsigned char *from, struct err *err)
{
	unsigned char to[INDEX_ENTRY_LEN];
	struct index_entry e;
	int rc;

	index_get_entry(from, &e);
	if (!segment_entry_ok(s, &e))
		return 0;
	e.pack = m->renumber[s->first_pack + e.pack];
	index_put_entry(to, &e);
	if (already(m, to))
		return 0;
	rc = buf_put(m->out, to, sizeof to, err);
	m->entries += !rc;
	return rc;
}

static int merge_entries(struct merge *m, struct err *err)
{
	heap_build(m);
	m->first_entry = m->out->len;
	while (m->n_heap) {
		struct source *s = &m->heap[0];
		const unsigned char *at = source_entry(s);
		int rc;

		if (s->next && memcmp(segment_id(s->seg, s->next - 1), at, ID_LEN) > 0)
			return err_set(err, ERR_CORRUPT, "index %s: entry %u is out of order", s->seg->name, s->next);
		rc = merge_entry(m, s->seg, at, err);
		if (rc)
			return rc;
		if (++s->next == s->seg->entries)
			m->heap[0] = m->heap[--m->n_heap];
		sift_down(m, 0);
	}
	return 0;
}

static int merge_names(struct merge *m, uint32_t *ret_n, struct err *err)
{
	*ret_n = 0;
	for (size_t i = 0; i < m->ix->known.n; i++) {
		const char *name = m->ix->known.name[i];
		bool merge;
		int rc;

		/* The name of a cache file means nothing elsewhere. */
		if (!index_name_ok(name, strlen(name), &merge))
			continue;
		if ((rc = buf_reserve(m->out, strlen(name) + 2, err)))
			return rc;
		format_text(m->out, name, strlen(name));
		++*ret_n;
	}
	return 0;
}

int index_merge(const struct index *ix, struct buf *out, struct err *err)
{
	CLEAN(merge_release) struct merge m = {.ix = ix, .out = out};
	size_t before = out->len;
	uint32_t names = 0;
	int rc;

	if (index_entries(ix) > UINT32_MAX)
		return err_set(err, ERR_NOMEM, "index of more than 2^32 entries");
	if (!(rc = buf_fill(out, 0, INDEX_HEAD_LEN, err)) && !(rc = merge_packs(&m, err)) &&
	        !(rc = merge_entries(&m, err)))
		rc = merge_names(&m, &names, err);
	if (rc) {
		out->len = before;
		return rc;
	}
	put_u32(out->p + before, m.packs);
	put_u32(out->p + before + 4, m.entries);
	put_u32(out->p + before + 8, names);
	return 0;
}
