/*
 * Files whose pages change in place, known by their heads: sure signs only, since a wrong guess costs a tenth of compression. A file
 * with holes is left to its content: holes are not in the stream, so that filling one moves all behind it, which cuts at
 * fixed distances would not survive.
 */
#include "backup/scan_int.h"

#include <string.h>

enum { HEAD = 16384 + 64, PG_PAGE = 8192, INNODB_PAGE = 16384, SECTOR = 512 };
#define PAGED_MAX (64ull << 30) /* a million chunks of 64 KiB: larger ones are worth a word in the plan */

static unsigned le16(const unsigned char *p)
{
	return p[0] | (unsigned)p[1] << 8;
}

static unsigned be16(const unsigned char *p)
{
	return p[1] | (unsigned)p[0] << 8;
}

static uint32_t le32(const unsigned char *p)
{
	return le16(p) | (uint32_t)le16(p + 2) << 16;
}

static uint32_t be32(const unsigned char *p)
{
	return be16(p + 2) | (uint32_t)be16(p) << 16;
}

static bool is_sqlite(const unsigned char *p)
{
	unsigned page = be16(p + 16);
	return !memcmp(p, "SQLite format 3", 16) && (page == 1 || (page >= 512 && !(page & (page - 1))));
}

/* PageHeaderData of PostgreSQL 8.3 and later, 8 KiB pages, little endian; a page may be all zeros before its first use. */
static bool is_pg_page(const unsigned char *p)
{
	static const unsigned char zero[24];
	unsigned lower = le16(p + 12), upper = le16(p + 14), special = le16(p + 16);
	if (!memcmp(p, zero, sizeof(zero)))
		return true;
	return le16(p + 18) == (PG_PAGE | 4) && !(le16(p + 10) & ~7u) && lower >= 24 && lower <= upper && upper <= special && special <= PG_PAGE;
}

static bool is_postgresql(const unsigned char *p, uint64_t size)
{
	return size % PG_PAGE == 0 && le16(p + 18) == (PG_PAGE | 4) && is_pg_page(p) && is_pg_page(p + PG_PAGE);
}

/* The first two pages of a tablespace: FSP_HDR and IBUF_BITMAP, which name their number and the same space. */
static bool is_innodb(const unsigned char *p, uint64_t size)
{
	const unsigned char *second = p + INNODB_PAGE;
	return size % INNODB_PAGE == 0 && be32(p + 4) == 0 && be16(p + 24) == 8 && be32(p + 34) == be32(p + 38) && be32(second + 4) == 1 &&
	       be16(second + 24) == 5 && be32(second + 34) == be32(p + 34);
}

static bool is_virtual_disk(const unsigned char *p)
{
	static const unsigned char vdi[4] = {0x7f, 0x10, 0xda, 0xbe};
	return (!memcmp(p, "QFI\xfb", 4) && be32(p + 4) >= 2 && be32(p + 4) <= 3) || (!memcmp(p, "KDMV", 4) && le32(p + 4) >= 1 && le32(p + 4) <= 3) ||
	       !memcmp(p, "vhdxfile", 8) || !memcmp(p, "conectix", 8) || !memcmp(p + 64, vdi, sizeof(vdi));
}

/* A partition table whose partitions lie inside the file, or the header of a GPT. */
static bool is_raw_disk(const unsigned char *p, uint64_t size)
{
	bool any = false;
	if (size % SECTOR || le16(p + 510) != 0xaa55)
		return false;
	if (!memcmp(p + SECTOR, "EFI PART", 8))
		return true;
	for (const unsigned char *e = p + 446; e < p + 510; e += 16) {
		uint64_t first = le32(e + 8), n = le32(e + 12);
		if (e[0] & 0x7f || (e[4] && (!first || !n || first + n > size / SECTOR)))
			return false;
		any |= e[4] != 0;
	}
	return any;
}

bool is_paged(const struct source *f)
{
	unsigned char p[HEAD];
	struct source head = *f; /* its place of the last read stays as it was */
	if (f->x || f->len > PAGED_MAX || f->len < sizeof(p) || source_read(&head, 0, p, sizeof(p)) != (ssize_t)sizeof(p))
		return false;
	return is_sqlite(p) || is_postgresql(p, f->len) || is_innodb(p, f->len) || is_virtual_disk(p) || is_raw_disk(p, f->len);
}
