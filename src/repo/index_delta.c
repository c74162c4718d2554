#include <string.h>
#include "base/mem.h"
#include "base/str.h"
#include "repo/index_int.h"

void index_delta_release(struct index_delta *d)
{
	free(d->pack);
	free(d->entry);
	*d = (struct index_delta){0};
}

uint32_t index_delta_add_pack(struct index_delta *d, const struct index_pack *p)
{
	BUG_ON(d->n_packs >= UINT32_MAX);
	d->pack = xgrow(d->pack, d->n_packs, &d->cap_packs, sizeof *d->pack);
	d->pack[d->n_packs] = *p;
	return (uint32_t)d->n_packs++;
}

void index_delta_add(struct index_delta *d, const struct index_entry *e)
{
	d->entry = xgrow(d->entry, d->n_entries, &d->cap_entries, sizeof *d->entry);
	d->entry[d->n_entries++] = *e;
}

/* Equal ids: the newest pack first, so that a lookup meets it first. */
static int by_id(const void *a, const void *b)
{
	const struct index_entry *x = a, *y = b;
	int c = memcmp(x->id, y->id, ID_LEN);

	if (c)
		return c;
	if (x->pack != y->pack)
		return x->pack < y->pack ? 1 : -1;
	return x->offset < y->offset ? 1 : x->offset > y->offset ? -1 : 0;
}

void index_put_pack(unsigned char *to, const struct index_pack *p)
{
	memcpy(to, p->digest, ID_LEN);
	memcpy(to + 32, p->sid, SID_LEN);
	memcpy(to + 48, p->salt, SALT_LEN);
	put_u32(to + 80, p->epoch);
	put_u32(to + 84, p->size);
}

void index_put_entry(unsigned char *to, const struct index_entry *e)
{
	memcpy(to, e->id, ID_LEN);
	put_u32(to + 32, e->pack);
	put_u32(to + 36, e->offset);
	put_u32(to + 40, e->sealed_len);
	put_u32(to + 44, e->plain_len);
	to[48] = e->type;
	to[49] = e->comp;
	put_u16(to + 50, 0);
}

void index_get_entry(const unsigned char *from, struct index_entry *ret)
{
	memcpy(ret->id, from, ID_LEN);
	ret->pack = get_u32(from + 32);
	ret->offset = get_u32(from + 36);
	ret->sealed_len = get_u32(from + 40);
	ret->plain_len = get_u32(from + 44);
	ret->type = from[48];
	ret->comp = from[49];
}

static bool digits_ok(const char *s, size_t n)
{
	if (n < 1 || n > 10 || (s[0] == '0' && n > 1))
		return false;
	for (size_t i = 0; i < n; i++)
		if (s[i] < '0' || s[i] > '9')
			return false;
	return true;
}

static bool hex_ok(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strchr("0123456789abcdef", s[i]) || !s[i])
			return false;
	return true;
}

bool index_name_ok(const char *name, size_t n, bool *ret_merge)
{
	const size_t hex = NAME16 - 1;

	*ret_merge = n == 2 + 2 * ID_LEN && name[0] == 'm' && name[1] == '.' && hex_ok(name + 2, n - 2);
	return *ret_merge ||
	       (n > hex + 1 && hex_ok(name, hex) && name[hex] == '.' && digits_ok(name + hex + 1, n - hex - 1));
}

static int put_replaced(const char *const *replaced, uint32_t count, struct buf *out, struct err *err)
{
	for (uint32_t i = 0; i < count; i++) {
		size_t n = strlen(replaced[i]);
		bool merge;
		int rc;

		if (!index_name_ok(replaced[i], n, &merge))
			return err_set(err, ERR_FORMAT, "'%s' is no name of an index object", replaced[i]);
		if ((rc = buf_reserve(out, n + 2, err)))
			return rc;
		format_text(out, replaced[i], n);
	}
	return 0;
}

int index_delta_encode(struct index_delta *d, const char *const *replaced, struct buf *out, struct err *err)
{
	size_t before = out->len, room;
	uint32_t count = 0;
	unsigned char *at;
	int rc;

	while (replaced && replaced[count])
		count++;
	if (d->n_entries > UINT32_MAX)
		return err_set(err, ERR_NOMEM, "index of %zu entries", d->n_entries);
	if (d->n_entries)
		qsort(d->entry, d->n_entries, sizeof *d->entry, by_id);
	room = INDEX_HEAD_LEN + d->n_packs * INDEX_PACK_LEN + d->n_entries * INDEX_ENTRY_LEN;
	rc = buf_reserve(out, room, err);
	if (rc)
		return rc;
	at = out->p + before;
	put_u32(at, (uint32_t)d->n_packs);
	put_u32(at + 4, (uint32_t)d->n_entries);
	put_u32(at + 8, count);
	at += INDEX_HEAD_LEN;
	for (size_t i = 0; i < d->n_packs; i++, at += INDEX_PACK_LEN)
		index_put_pack(at, &d->pack[i]);
	for (size_t i = 0; i < d->n_entries; i++, at += INDEX_ENTRY_LEN)
		index_put_entry(at, &d->entry[i]);
	out->len += room;
	rc = put_replaced(replaced, count, out, err);
	if (rc)
		out->len = before;
	return rc;
}
