#include <string.h>
#include "base/mem.h"
#include "base/str.h"
#include "repo/snapshot.h"

#define LINE_LEN (2 * ID_LEN + 1) /* hex digest and line feed */

void pack_list_release(struct pack_list *l)
{
	free(l->digest);
	*l = (struct pack_list){0};
}

void pack_list_add(struct pack_list *l, const unsigned char digest[ID_LEN])
{
	l->digest = xgrow(l->digest, l->n, &l->cap, sizeof *l->digest);
	memcpy(l->digest[l->n++], digest, ID_LEN);
}

static int by_digest(const void *a, const void *b)
{
	return memcmp(a, b, ID_LEN);
}

void pack_list_sort(struct pack_list *l)
{
	size_t kept = 0;

	if (!l->n)
		return;
	qsort(l->digest, l->n, sizeof *l->digest, by_digest);
	for (size_t i = 0; i < l->n; i++)
		if (!kept || memcmp(l->digest[kept - 1], l->digest[i], ID_LEN) != 0)
			memmove(l->digest[kept++], l->digest[i], ID_LEN);
	l->n = kept;
}

bool pack_list_has(const struct pack_list *l, const unsigned char digest[ID_LEN])
{
	return l->n && bsearch(digest, l->digest, l->n, sizeof *l->digest, by_digest);
}

void pack_list_digest(const struct pack_list *l, unsigned char out[ID_LEN])
{
	CLEAN(sha256_free_ptr) struct sha256 *h = sha256_new();

	for (size_t i = 0; i < l->n; i++) {
		char line[LINE_LEN + 1];

		hex_encode(line, l->digest[i], ID_LEN);
		line[LINE_LEN - 1] = '\n';
		sha256_update(h, line, LINE_LEN);
	}
	sha256_final(h, out);
}

void fate_release(struct fate *f)
{
	buf_release(&f->snapshot);
	pack_list_release(&f->list);
	pack_list_release(&f->removed);
}

static int put_list(struct buf *out, const char *sign, const struct pack_list *l, struct err *err)
{
	size_t n;
	int rc;

	if (__builtin_mul_overflow(l->n, LINE_LEN + strlen(sign), &n))
		return err_set(err, ERR_NOMEM, "list of %zu packs", l->n);
	rc = buf_reserve(out, n, err);
	for (size_t i = 0; !rc && i < l->n; i++) {
		char line[LINE_LEN + 1];

		BUG_ON(i && memcmp(l->digest[i - 1], l->digest[i], ID_LEN) >= 0);
		hex_encode(line, l->digest[i], ID_LEN);
		line[LINE_LEN - 1] = '\n';
		buf_add(out, sign, strlen(sign));
		buf_add(out, line, LINE_LEN);
	}
	return rc;
}

static int encode_lists(const struct fate *f, struct buf *out, struct err *err)
{
	int rc;

	if (!f->base[0]) {
		rc = buf_printf(out, err, "packs full %zu\n", f->list.n);
		return rc ? rc : put_list(out, "", &f->list, err);
	}
	rc = buf_printf(out, err, "packs from %s %zu %zu\n", f->base, f->removed.n, f->list.n);
	if (!rc)
		rc = put_list(out, "-", &f->removed, err);
	return rc ? rc : put_list(out, "+", &f->list, err);
}

int fate_encode(const struct fate *f, struct buf *out, struct err *err)
{
	size_t before = out->len;
	int rc;

	if (!f->committed)
		return buf_printf(out, err, "holdfast1 fate dead\n");
	rc = buf_printf(out, err, "holdfast1 fate commit\nsnapshot %zu\n", f->snapshot.len);
	if (!rc)
		rc = buf_put(out, f->snapshot.p, f->snapshot.len, err);
	if (!rc)
		rc = encode_lists(f, out, err);
	if (rc)
		out->len = before;
	return rc;
}

/* --- decoding --- */

static bool rd_word(struct rd *r, const char *word)
{
	size_t n = strlen(word);
	const unsigned char *p = rd_bytes(r, n);

	if (p && memcmp(p, word, n) != 0)
		r->bad = true;
	return rd_ok(r);
}

static bool starts(const struct rd *r, const char *word)
{
	size_t n = strlen(word);

	return rd_ok(r) && r->left >= n && !memcmp(r->p, word, n);
}

/* A decimal without leading zeros, up to max, and the byte behind it. */
static size_t rd_number(struct rd *r, size_t max, unsigned char behind)
{
	size_t v = 0, digits = 0;

	for (;;) {
		unsigned char c = rd_u8(r);

		if (c == behind && digits && rd_ok(r))
			return v;
		if (!rd_ok(r) || c < '0' || c > '9' || (digits && !v) || __builtin_mul_overflow(v, (size_t)10, &v) ||
		        __builtin_add_overflow(v, (size_t)(c - '0'), &v) || v > max)
			break;
		digits++;
	}
	r->bad = true;
	return 0;
}

static void rd_list(struct rd *r, const char *sign, size_t n, struct pack_list *ret)
{
	for (size_t i = 0; i < n && rd_word(r, sign); i++) {
		const unsigned char *text = rd_bytes(r, LINE_LEN);
		unsigned char digest[ID_LEN];
		char hex[HEX_LEN];

		if (!text)
			return;
		memcpy(hex, text, LINE_LEN - 1);
		hex[LINE_LEN - 1] = '\0';
		if (text[LINE_LEN - 1] != '\n' || !hex_decode(digest, ID_LEN, hex) ||
		        (i && memcmp(ret->digest[i - 1], digest, ID_LEN) >= 0)) {
			r->bad = true;
			return;
		}
		pack_list_add(ret, digest);
	}
}

static void rd_lists(struct rd *r, struct fate *f)
{
	size_t most = r->left / LINE_LEN, n_removed, n_added;
	const unsigned char *base;

	if (starts(r, "packs full ")) {
		rd_word(r, "packs full ");
		rd_list(r, "", rd_number(r, most, '\n'), &f->list);
		return;
	}
	rd_word(r, "packs from ");
	base = rd_bytes(r, NAME16 - 1);
	if (base)
		memcpy(f->base, base, NAME16 - 1);
	if (!base || !format_name16_ok(f->base) || !rd_word(r, " ")) {
		r->bad = true;
		return;
	}
	n_removed = rd_number(r, most, ' ');
	n_added = rd_number(r, most, '\n');
	rd_list(r, "-", n_removed, &f->removed);
	rd_list(r, "+", n_added, &f->list);
}

int fate_decode(const void *p, size_t n, struct fate *ret, struct err *err)
{
	static const char dead[] = "holdfast1 fate dead\n";
	CLEAN(fate_release) struct fate f = {.committed = true};
	struct rd r = rd_init(p, n);
	const unsigned char *snapshot;
	size_t n_snapshot;
	int rc;

	*ret = (struct fate){0};
	if (n >= sizeof dead - 1 && !memcmp(p, dead, sizeof dead - 1))
		return 0;
	if (n > FATE_MAX)
		return err_set(err, ERR_FORMAT, "fate of %zu bytes", n);
	rd_word(&r, "holdfast1 fate commit\nsnapshot ");
	n_snapshot = rd_number(&r, SIGNED_MAX, '\n');
	snapshot = rd_bytes(&r, n_snapshot);
	if (!rd_ok(&r) || !n_snapshot)
		return err_set(err, ERR_FORMAT, "fate is malformed");
	buf_init(&f.snapshot, SIGNED_MAX);
	rc = buf_put(&f.snapshot, snapshot, n_snapshot, err);
	if (rc)
		return rc;
	rd_lists(&r, &f);
	if (!rd_end(&r))
		return err_set(err, ERR_FORMAT, "fate's pack list is malformed");
	*ret = f;
	f = (struct fate){0};
	return 0;
}

int fate_resolve(const struct fate *f, const struct pack_list *base, struct pack_list *ret, struct err *err)
{
	CLEAN(pack_list_release) struct pack_list l = {0};
	size_t gone = 0, i = 0, k = 0, n_base = f->base[0] ? base->n : 0;

	*ret = l;
	while (i < n_base || k < f->list.n) {
		int c = i == n_base ? 1 : k == f->list.n ? -1 : memcmp(base->digest[i], f->list.digest[k], ID_LEN);

		if (!c)
			return err_set(err, ERR_CORRUPT, "fate adds a pack that its base has");
		if (c > 0) {
			pack_list_add(&l, f->list.digest[k++]);
		} else if (gone < f->removed.n && !memcmp(base->digest[i], f->removed.digest[gone], ID_LEN)) {
			gone++;
			i++;
		} else {
			pack_list_add(&l, base->digest[i++]);
		}
	}
	if (f->base[0] && gone < f->removed.n)
		return err_set(err, ERR_CORRUPT, "fate removes a pack that its base lacks");
	*ret = l;
	l = (struct pack_list){0};
	return 0;
}
