/*
 * Input: content length (u64), then a record header, whose checksums are made right so that changed fields are looked
 * at. What parses must keep the promises of struct pax_entry.
 */
#include "codec/pax.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "codec/pax_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_entry(const struct pax_entry *e, uint64_t content_len)
{
	uint64_t at = 0, sum = 0;
	for (size_t i = 0; i < e->n_extents; i++) {
		BUG_ON(e->extents[i].off < at);
		at = e->extents[i].off + e->extents[i].len;
		sum += e->extents[i].len;
		BUG_ON(at > e->size);
	}
	BUG_ON(e->content_len != content_len);
	BUG_ON((e->n_extents ? sum : e->size) != content_len);
	size_t n = strlen(e->path);
	BUG_ON(!n || e->path[n - 1] == '/');
	BUG_ON((e->type == PAX_SYMLINK || e->type == PAX_HARDLINK) != (e->link != NULL));
	BUG_ON(e->mode & ~(mode_t)07777);
	for (size_t i = 0; i < e->n_xattrs; i++) {
		const volatile unsigned char *v = e->xattrs[i].value;
		(void)strlen(e->xattrs[i].name);
		for (size_t k = 0; k < e->xattrs[i].n; k++)
			(void)v[k];
	}
}

static void fix_checksum(unsigned char *block)
{
	unsigned sum = 0;
	memset(block + 148, ' ', 8);
	for (size_t i = 0; i < PAX_TAR_BLOCK; i++)
		sum += block[i];
	snprintf((char *)block + 148, 8, "%06o", sum);
}

static void fix_checksums(unsigned char *p, size_t n)
{
	struct pax_shape shape;
	if (!pax_shape(p, n, &shape))
		return;
	fix_checksum(p);
	if (shape.main)
		fix_checksum(p + shape.main);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd r = rd_init(data, size);
	uint64_t content_len = rd_u64(&r);
	struct pax_entry e;
	struct err err;
	if (!rd_ok(&r))
		return 0;
	struct pax_reader *reader = pax_reader_new();
	unsigned char *header = xmalloc(r.left);
	memcpy(header, r.p, r.left);
	fix_checksums(header, r.left);
	if (!pax_parse(reader, header, r.left, content_len, &e, &err))
		check_entry(&e, content_len);
	free(header);
	pax_reader_free(reader);
	return 0;
}
