/*
 * Entries of a pax archive through libarchive: the only user of it. libarchive types stay inside this module.
 *
 * A *record header* is every byte that libarchive's pax writer puts before an entry's data (header blocks, xattrs,
 * ACLs, sparse map), made by a fresh writer per entry with bytes-per-block 0, xattrheader=SCHILY, hdrcharset=BINARY,
 * the header, then a data write of length 0. atime, ctime, birth time, device and inode numbers are left out, so the
 * same file gives the same bytes on every run. Names are bytes; the process must not rely on a locale.
 */
#ifndef CODEC_PAX_H
#define CODEC_PAX_H

#include <sys/stat.h>
#include "base/buf.h"

#define PAX_HEADER_MAX (7u << 20)  /* ceiling on one record header: it must fit a chunk */
#define PAX_EXTENTS_MAX (1u << 17) /* ceiling on the regions of a sparse file; pax_extents joins the nearest */

struct pax_extent {
	uint64_t off, len;
};

/* Reads metadata from disk. One a thread. */
struct pax_disk;
struct pax_disk *pax_disk_new(void); /* owner and group names are looked up and cached */
void pax_disk_free(struct pax_disk *d);

struct pax_file {
	const char *path;   /* path inside the copy: no leading slash */
	const char *access; /* path by which it can be reached now, or NULL; symlinks need one */
	int fd;             /* open descriptor of it (regular files, directories), or -1 */
	const struct stat *st;
	const char *hardlink; /* earlier name inside the copy, or NULL */
	/* Data regions of a sparse file, ascending; NULL when it is not sparse. The file's size is st->st_size. Lengths
	 * are multiples of 512 except that of a region which ends the file. */
	const struct pax_extent *extents;
	size_t n_extents;
};
/*
 * Append the record header of a file to out: symlink target, xattrs and ACLs are read here through fd or access
 * (neither: none are read). A later name of a hard link carries no xattrs and no ACLs, the first name has them.
 * content_len gets the length of data that belongs to the record: 0 for all but regular files that are no hard link;
 * the sum of the extents for a sparse file; else st->st_size. The header states that size: a caller that read less must
 * pass an st with the size it read. ERR_UNSUPPORTED for sockets and what pax cannot hold (more than 1 MiB of
 * attributes, ACL ids above INT32_MAX). After an error out is as before.
 */
int pax_record(struct pax_disk *d, const struct pax_file *f, struct buf *out, uint64_t *content_len, struct err *err)
        HF_NODISCARD;
/* A regular file entry without a file behind it (a command's output): path, mode, size, mtime in seconds. */
int pax_record_stream(const char *path, mode_t mode, uint64_t size, int64_t mtime, struct buf *out, struct err *err)
        HF_NODISCARD;
/* SEEK_HOLE/SEEK_DATA map of fd. *ret_n = 0 and *ret NULL when the file has no hole of at least 4 KiB; a file that is
 * one hole gives one extent of length 0 at its end. Newly allocated. */
int pax_extents(int fd, uint64_t size, struct pax_extent **ret, size_t *ret_n, struct err *err) HF_NODISCARD;

/*
 * Parsing: the caller is the source of a virtual tar stream and gives header bytes one record at a time.
 * pax_parse reads exactly one record header and fills e, whose memory lives until the next call or pax_reader_free.
 * Bounded: a header over PAX_HEADER_MAX, bytes left over, or an archive error is ERR_FORMAT.
 */
struct pax_xattr {
	const char *name;
	const void *value;
	size_t n;
};
enum pax_type { PAX_FILE, PAX_DIR, PAX_SYMLINK, PAX_HARDLINK, PAX_FIFO, PAX_CHAR, PAX_BLOCK };
struct pax_entry {
	enum pax_type type;
	const char *path; /* without trailing slash; absolute paths and ".." are the caller's to refuse */
	const char *link; /* symlink target, or earlier name of a hard link; else NULL */
	mode_t mode;      /* permission, set-id, sticky; beside an ACL the group bits are the group's, not the mask */
	int64_t uid, gid;
	const char *uname, *gname; /* NULL when absent */
	int64_t mtime_s;
	long mtime_ns;
	uint64_t size;        /* size of the file when restored */
	uint64_t content_len; /* bytes of content in the stream; less than size for a sparse file */
	dev_t rdev;
	const struct pax_extent *extents; /* NULL when not sparse */
	size_t n_extents;
	const struct pax_xattr *xattrs;
	size_t n_xattrs;
	const char *acl_access, *acl_default; /* POSIX.1e long text (numeric ids appended as pax does), or NULL */
};
struct pax_reader;
struct pax_reader *pax_reader_new(void);
void pax_reader_free(struct pax_reader *r);
int pax_parse(struct pax_reader *r, const void *header, size_t n, uint64_t content_len, struct pax_entry *e,
        struct err *err) HF_NODISCARD;
/* Set the ACLs of an entry on fd (O_PATH will do), or on path when fd is -1; never follows a symlink. What the entry
 * does not have is removed, so that nothing inherited stays. Call after chmod, which would change the mask. Symlinks
 * and hard links are left alone. ERR_UNSUPPORTED where the file system has no ACLs and the entry has. */
int pax_apply_acl(int fd, const char *path, const struct pax_entry *e, struct err *err) HF_NODISCARD;

#endif
