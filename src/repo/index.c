#include "repo/index_int.h"

#include <string.h>
#include <sys/mman.h>
#include "base/mem.h"

enum { FAN_SHIFT = 3, FAN_BITS_MAX = 24 };

struct index *index_new(void)
{
	return xcalloc(1, sizeof(struct index));
}

void segment_release(struct segment *s)
{
	if (s->map) {
		munmap(s->map, s->n_map);
	} else {
		free(s->p);
		free(s->fan);
	}
	free(s->name);
	*s = (struct segment){0};
}

void index_free(struct index *ix)
{
	if (!ix)
		return;
	for (size_t i = 0; i < ix->n_seg; i++)
		segment_release(&ix->seg[i]);
	for (size_t i = 0; i < ix->known.n; i++)
		free(ix->known.name[i]);
	free(ix->known.name);
	free(ix->seg);
	free(ix->slot);
	free(ix);
}

/* --- names --- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

bool index_has_segment(const struct index *ix, const char *name)
{
	return ix->known.n && bsearch(&name, ix->known.name, ix->known.n, sizeof name, by_name);
}

bool index_asks(const struct index *ix, const char *name)
{
	for (size_t i = ix->n_seg; i-- > 0;)
		if (!ix->seg[i].hidden && !strcmp(ix->seg[i].name, name))
			return true;
	return false;
}

/* Many at once, then one sort: a merge may replace thousands. */
static void names_append(struct index_names *s, char *name)
{
	s->name = xgrow(s->name, s->n, &s->cap, sizeof *s->name);
	s->name[s->n++] = name;
}

void index_names_add(struct index_names *s, const char *name, size_t n)
{
	names_append(s, xstrndup(name, n));
}

void index_names_sort(struct index_names *s)
{
	size_t kept = 0;

	qsort(s->name, s->n, sizeof *s->name, by_name);
	for (size_t i = 0; i < s->n; i++) {
		if (kept && !strcmp(s->name[kept - 1], s->name[i]))
			free(s->name[i]);
		else
			s->name[kept++] = s->name[i];
	}
	s->n = kept;
}

/* One into its place; name is not there yet. */
static void names_insert(struct index_names *s, char *name)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(s->name[mid], name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	s->name = xgrow(s->name, s->n, &s->cap, sizeof *s->name);
	memmove(s->name + lo + 1, s->name + lo, (s->n - lo) * sizeof *s->name);
	s->name[lo] = name;
	s->n++;
}

/* --- one segment --- */

static bool below(const struct segment *s, uint32_t i, const unsigned char *id)
{
	const unsigned char *at = segment_id(s, i);
	uint64_t x = id_number(at), y = id_number(id);

	return x != y ? x < y : memcmp(at, id, ID_LEN) < 0;
}

unsigned fan_bits_for(uint32_t entries)
{
	unsigned bits = 0;

	while (bits < FAN_BITS_MAX && entries >> FAN_SHIFT >> bits)
		bits++;
	return bits;
}

void fan_fill(const struct segment *s, unsigned bits, uint32_t *fan)
{
	size_t b = 0, buckets = fan_len(bits) - 1;

	for (uint32_t i = 0; i < s->entries; i++) {
		uint64_t of = bits ? id_number(segment_id(s, i)) >> (64 - bits) : 0;

		while (b <= of)
			fan[b++] = i;
	}
	while (b <= buckets)
		fan[b++] = s->entries;
}

/* Where id is or would be; *ret_end bounds the run of equal ids. */
static uint32_t segment_find(const struct segment *s, const unsigned char *id, uint32_t *ret_end)
{
	uint64_t bucket = s->fan_bits ? id_number(id) >> (64 - s->fan_bits) : 0;
	uint32_t lo = s->fan[bucket], hi = s->fan[bucket + 1];

	*ret_end = hi;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (below(s, mid, id))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static uint32_t pack_size(const struct segment *s, uint32_t pack)
{
	return get_u32(s->pack + (size_t)pack * INDEX_PACK_LEN + 84);
}

bool segment_entry_ok(const struct segment *s, const struct index_entry *e)
{
	if (e->pack >= s->packs || e->sealed_len <= CHUNK_OVERHEAD || e->plain_len < 1 ||
	        e->plain_len > CHUNK_PLAIN_MAX)
		return false;
	if (e->type < CHUNK_CONTENT || e->type > CHUNK_NOTES || e->comp > COMP_ZSTD)
		return false;
	if (e->comp == COMP_RAW && e->sealed_len - CHUNK_OVERHEAD != e->plain_len)
		return false;
	return (uint64_t)e->offset + e->sealed_len <= pack_size(s, e->pack);
}

int segment_check(const struct segment *s, struct err *err)
{
	for (uint32_t i = 0; i < s->packs; i++)
		if (pack_size(s, i) > PACK_MAX)
			return err_set(err, ERR_FORMAT, "index %s: pack %u of %u bytes", s->name, i, pack_size(s, i));
	for (uint32_t i = 0; i < s->entries; i++) {
		struct index_entry e;

		index_get_entry(segment_id(s, i), &e);
		if (!segment_entry_ok(s, &e) || get_u16(segment_id(s, i) + 50))
			return err_set(err, ERR_FORMAT, "index %s: entry %u is out of bounds", s->name, i);
		if (i && below(s, i, segment_id(s, i - 1)))
			return err_set(err, ERR_FORMAT, "index %s: entry %u is out of order", s->name, i);
	}
	return 0;
}

int segment_parse(struct segment *s, struct err *err)
{
	struct rd r = rd_init(s->p, s->n);
	bool merge;

	s->packs = rd_u32(&r);
	s->entries = rd_u32(&r);
	s->n_names = rd_u32(&r);
	s->pack = rd_bytes(&r, (size_t)s->packs * INDEX_PACK_LEN);
	s->entry = rd_bytes(&r, (size_t)s->entries * INDEX_ENTRY_LEN);
	s->names = r.p;
	if (!rd_ok(&r) || s->n_names > r.left / 2)
		return err_set(err, ERR_FORMAT, "index %s: cut short", s->name);
	if (s->n_names && index_name_ok(s->name, strlen(s->name), &merge) && !merge)
		return err_set(err, ERR_FORMAT, "index %s: only a merge replaces others", s->name);
	return 0;
}

int segment_replaced(const struct segment *s, struct index_names *ret, struct err *err)
{
	struct rd r = rd_init(s->names, (size_t)(s->p + s->n - s->names));

	for (uint32_t i = 0; i < s->n_names; i++) {
		size_t n;
		bool merge;
		const char *name = (const char *)format_text_rd(&r, 2 + 2 * ID_LEN, &n);

		if (!name || !index_name_ok(name, n, &merge))
			return err_set(err, ERR_FORMAT, "index %s: bad name of what it replaces", s->name);
		index_names_add(ret, name, n);
	}
	return rd_end(&r) ? 0 : err_set(err, ERR_FORMAT, "index %s: bytes left over", s->name);
}

/* --- packs by digest --- */

static const unsigned char *pack_at(const struct index *ix, uint32_t pack_no, const struct segment **ret)
{
	size_t lo = 0, hi = ix->n_seg;

	/* The last segment whose first pack is not above; the empty ones before it share its number. */
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (ix->seg[mid].first_pack <= pack_no)
			lo = mid;
		else
			hi = mid;
	}
	BUG_ON(pack_no >= ix->packs);
	*ret = &ix->seg[lo];
	return ix->seg[lo].pack + (size_t)(pack_no - ix->seg[lo].first_pack) * INDEX_PACK_LEN;
}

static uint32_t *find_slot(const struct index *ix, const unsigned char *digest)
{
	uint32_t i = (uint32_t)get_u64(digest) & (ix->slots - 1);
	const struct segment *s;

	while (ix->slot[i] && memcmp(pack_at(ix, ix->slot[i] - 1, &s), digest, ID_LEN) != 0)
		i = (i + 1) & (ix->slots - 1);
	return &ix->slot[i];
}

static void hash_segment(struct index *ix, const struct segment *s)
{
	for (uint32_t i = 0; i < s->packs; i++) {
		uint32_t *slot = find_slot(ix, s->pack + (size_t)i * INDEX_PACK_LEN);

		if (!*slot) {
			*slot = s->first_pack + i + 1;
		}
	}
}

/* Enter the newest segment; all of them again when the table is small or something was hidden. */
static void hash_packs(struct index *ix, bool all)
{
	uint64_t want = 64;

	while (want < 2 * (uint64_t)ix->packs + 1)
		want *= 2;
	BUG_ON(want > UINT32_MAX);
	if (!all && want <= ix->slots) {
		hash_segment(ix, &ix->seg[ix->n_seg - 1]);
		return;
	}
	free(ix->slot);
	ix->slots = (uint32_t)want;
	ix->slot = xcalloc(ix->slots, sizeof *ix->slot);
	for (size_t i = 0; i < ix->n_seg; i++)
		if (!ix->seg[i].hidden)
			hash_segment(ix, &ix->seg[i]);
}

/* --- adding --- */

void index_names_release(struct index_names *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->name[i]);
	free(s->name);
	*s = (struct index_names){0};
}

static bool hide_replaced(struct index *ix, struct index_names *replaced)
{
	bool hid = false;

	if (!replaced->n)
		return false;
	index_names_sort(replaced);
	for (size_t i = 0; i + 1 < ix->n_seg; i++) {
		struct segment *s = &ix->seg[i];

		if (!s->hidden && bsearch(&s->name, replaced->name, replaced->n, sizeof *replaced->name, by_name))
			s->hidden = hid = true;
	}
	for (size_t i = 0; i < replaced->n; i++)
		names_append(&ix->known, replaced->name[i]);
	replaced->n = 0;
	index_names_sort(&ix->known);
	return hid;
}

int index_take(struct index *ix, struct segment *s, struct index_names *replaced, struct err *err)
{
	s->first_pack = ix->packs;
	if (s->packs > UINT32_MAX / 4 - ix->packs)
		return err_set(err, ERR_NOMEM, "index %s: too many packs", s->name);
	ix->packs += s->packs;
	ix->seg = xgrow(ix->seg, ix->n_seg, &ix->cap_seg, sizeof *ix->seg);
	ix->seg[ix->n_seg++] = *s;
	hash_packs(ix, hide_replaced(ix, replaced));
	if (!index_has_segment(ix, s->name))
		names_insert(&ix->known, xstrdup(s->name));
	return 0;
}

int index_add(struct index *ix, const char *name, struct buf *plaintext, struct err *err)
{
	CLEAN(index_names_release) struct index_names replaced = {0};
	struct segment s = {.p = plaintext->p, .n = plaintext->len};
	int rc;

	if (index_has_segment(ix, name)) {
		buf_release(plaintext);
		return 0;
	}
	s.name = xstrdup(name);
	if (!(rc = segment_parse(&s, err)) && !(rc = segment_replaced(&s, &replaced, err)) &&
	        !(rc = segment_check(&s, err))) {
		s.fan_bits = fan_bits_for(s.entries);
		s.fan = xcalloc(fan_len(s.fan_bits), sizeof *s.fan);
		fan_fill(&s, s.fan_bits, s.fan);
		rc = index_take(ix, &s, &replaced, err);
	}
	if (rc) {
		free(s.fan);
		free(s.name);
		return rc;
	}
	plaintext->p = NULL;
	buf_release(plaintext);
	return 0;
}

/* --- looking up --- */

static void fill_place(const struct segment *s, const struct index_entry *e, struct index_place *ret)
{
	const unsigned char *pack = s->pack + (size_t)e->pack * INDEX_PACK_LEN;

	*ret = (struct index_place){
	        .pack_digest = pack,
	        .sid = pack + 32,
	        .salt = pack + 48,
	        .epoch = get_u32(pack + 80),
	        .pack_size = get_u32(pack + 84),
	        .offset = e->offset,
	        .sealed_len = e->sealed_len,
	        .plain_len = e->plain_len,
	        .type = e->type,
	        .comp = e->comp,
	        .pack_no = s->first_pack + e->pack,
	};
}

bool index_lookup_nth(const struct index *ix, const unsigned char id[ID_LEN], unsigned n, struct index_place *ret)
{
	for (size_t k = ix->n_seg; k-- > 0;) {
		const struct segment *s = &ix->seg[k];
		uint32_t i, end;

		if (s->hidden)
			continue;
		i = segment_find(s, id, &end);
		for (; i < end && !memcmp(segment_id(s, i), id, ID_LEN); i++) {
			struct index_entry e;

			index_get_entry(segment_id(s, i), &e);
			if (n--)
				continue;
			fill_place(s, &e, ret);
			return true;
		}
	}
	return false;
}

bool index_lookup(const struct index *ix, const unsigned char id[ID_LEN], struct index_place *ret)
{
	return index_lookup_nth(ix, id, 0, ret);
}

uint32_t index_packs(const struct index *ix)
{
	return ix->packs;
}

uint64_t index_entries(const struct index *ix)
{
	uint64_t n = 0;

	for (size_t i = 0; i < ix->n_seg; i++)
		n += ix->seg[i].hidden ? 0 : ix->seg[i].entries;
	return n;
}

static int by_size(const void *a, const void *b)
{
	const struct segment *x = *(const struct segment *const *)a, *y = *(const struct segment *const *)b;

	return x->n < y->n ? -1 : x->n > y->n;
}

static bool is_merge(const struct segment *s)
{
	bool merge;

	return index_name_ok(s->name, strlen(s->name), &merge) && merge;
}

/* Merges from the smallest on, each no larger than all that is taken before it. */
static void choose_grown(const struct index *ix, bool *take)
{
	CLEAN(free_ptr) const struct segment **merge = xcalloc(ix->n_seg + 1, sizeof *merge);
	uint64_t total = 0;
	size_t n = 0;

	for (size_t i = 0; i < ix->n_seg; i++) {
		total += take[i] ? ix->seg[i].n : 0;
		if (!ix->seg[i].hidden && !take[i])
			merge[n++] = &ix->seg[i];
	}
	qsort(merge, n, sizeof(*merge), by_size);
	for (size_t i = 0; i < n && merge[i]->n <= total && merge[i]->n + total <= INDEX_MERGE_MAX; i++) {
		take[merge[i] - ix->seg] = true;
		total += merge[i]->n;
	}
}

bool *index_choose(const struct index *ix, enum index_which which)
{
	bool *take = xcalloc(ix->n_seg + 1, sizeof *take);

	for (size_t i = 0; i < ix->n_seg; i++)
		take[i] = !ix->seg[i].hidden && (which == INDEX_ALL || !is_merge(&ix->seg[i]));
	if (which == INDEX_GROWN)
		choose_grown(ix, take);
	return take;
}

size_t index_segments(const struct index *ix, enum index_which which)
{
	CLEAN(free_ptr) bool *take = index_choose(ix, which);
	size_t n = 0;

	for (size_t i = 0; i < ix->n_seg; i++)
		n += take[i];
	return n;
}

void index_pack_get(const struct index *ix, uint32_t pack_no, struct index_pack *ret)
{
	const struct segment *s;
	const unsigned char *p = pack_at(ix, pack_no, &s);

	memcpy(ret->digest, p, ID_LEN);
	memcpy(ret->sid, p + 32, SID_LEN);
	memcpy(ret->salt, p + 48, SALT_LEN);
	ret->epoch = get_u32(p + 80);
	ret->size = get_u32(p + 84);
}

uint32_t index_pack_find(const struct index *ix, const unsigned char digest[ID_LEN])
{
	uint32_t *slot = ix->slots ? find_slot(ix, digest) : NULL;

	return slot && *slot ? *slot - 1 : UINT32_MAX;
}

void index_plain_sums(const struct index *ix, uint64_t *sum)
{
	for (size_t k = 0; k < ix->n_seg; k++) {
		const struct segment *s = &ix->seg[k];

		for (uint32_t i = 0; i < s->entries && !s->hidden; i++) {
			struct index_entry e;

			index_get_entry(segment_id(s, i), &e);
			if (e.pack < s->packs)
				sum[s->first_pack + e.pack] += e.plain_len;
		}
	}
}
