/* Shared by the files of pax: the only header with libarchive's types. */
#ifndef CODEC_PAX_INT_H
#define CODEC_PAX_INT_H

#include <archive.h>
#include <archive_entry.h>
#include "codec/pax.h"

#define PAX_TAR_BLOCK 512u
#define PAX_EXT_MAX (1u << 20) /* libarchive's reader takes no larger extended header */

static inline uint64_t pax_round(uint64_t n)
{
	return (n + PAX_TAR_BLOCK - 1) & ~(uint64_t)(PAX_TAR_BLOCK - 1);
}

/* Places inside a record header: [extended header, its body padded] main header [sparse map padded]. */
struct pax_shape {
	size_t ext, ext_len; /* body of the extended header; ext_len 0 when there is none */
	size_t main;         /* offset of the main header block */
};
/* Find them in n bytes. False when they are not laid out as pax_record does. */
bool pax_shape(const unsigned char *p, size_t n, struct pax_shape *ret);

/* Add the entries of a system.posix_acl_* value to e; names come from `names`, an archive_read_disk with lookup. */
int pax_acl_add(struct archive_entry *e, struct archive *names, bool is_default, const void *v, size_t n,
        struct err *err) HF_NODISCARD;

#endif
