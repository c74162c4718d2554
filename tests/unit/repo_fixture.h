/*
 * A repository for tests: one class, one source, up to four sites in memory or in directories, its keys and
 * configuration, a host's state directory; backups of entries that are given by hand (hostile ones too), and a reader
 * of all sites. Every call that fails fails the test.
 */
#ifndef TESTS_UNIT_REPO_FIXTURE_H
#define TESTS_UNIT_REPO_FIXTURE_H

#include "codec/pax.h"
#include "restore/reader.h"
#include "backup/writer.h"

#define FIXTURE_SITES 4
#define FIXTURE_SOURCE "docs"

struct fixture {
	char dir[64];   /* everything on disk lies below: site-<n>, state, and what a test puts there */
	char state[80]; /* of the host */
	char name[FIXTURE_SITES][32];
	struct store *store[FIXTURE_SITES]; /* a test may put a filter in its place */
	size_t n_sites;
	struct session_site session_site[FIXTURE_SITES]; /* as the last backup left them */
	struct reader_site reader_site[FIXTURE_SITES];
	unsigned char repo[REPO_ID_LEN], root_pub[ED25519_PUB_LEN], log_pub[ED25519_PUB_LEN];
	struct secret root, log;
	struct opening_key opening;
	struct source_keys keys;
	struct recipient recipient;
	struct cfg cfg;
	struct session_result result; /* of the last commit */
	int64_t patience_ms;          /* of the sessions */
	int64_t now;                  /* wall ns of the next run; a minute is added by each */
	uint32_t fixed_cut;           /* writer option, 0: by content */
	uint64_t memory;              /* writer option, 0: no bound */
};
/* on_disk: sites are directories, else they are in memory. */
void fixture_init(struct fixture *f, size_t n_sites, bool on_disk);
/* The same below another directory, such as one that syncs at once. */
void fixture_init_in(struct fixture *f, size_t n_sites, bool on_disk, const char *base);
const char *fixture_fast_dir(void);
void fixture_release(struct fixture *f);
/* Path of a site's object on disk, newly allocated. */
char *fixture_object(const struct fixture *f, size_t site, const char *key);

struct fixture_entry {
	const char *path;
	mode_t mode; /* S_IFMT and permission; 0 for a hard link */
	const char *link, *hardlink;
	const void *content;
	size_t n;
	uid_t uid;
	gid_t gid;
	int64_t mtime;
	long mtime_ns;
	dev_t rdev;
	uint64_t size; /* sparse: content lies in the extents, one after the other */
	const struct pax_extent *extents;
	size_t n_extents;
	const char *xattr, *xattr_value, *acl, *acl_default; /* ACLs in libarchive's text form */
};
/* Record header of an entry, through libarchive and without any check. */
void fixture_record(const struct fixture_entry *e, struct buf *out);

/* A run under way: begin, add, then commit or drop. */
struct fixture_run {
	struct fixture *f;
	struct session *session;
	struct writer *writer;
	struct snapshot_facts facts;
	struct pack_list packs;
};
void fixture_begin(struct fixture *f, struct fixture_run *run);
void fixture_add(struct fixture_run *run, const struct fixture_entry *e);
/* A header as it is, with content. */
void fixture_add_raw(
        struct fixture_run *run, const char *path, const void *header, size_t n_header, const void *content, size_t n);
int fixture_commit(struct fixture_run *run, struct err *err);
void fixture_drop(struct fixture_run *run);
/* All of it; what the commit returned is f->result. */
void fixture_backup(struct fixture *f, const struct fixture_entry *e, size_t n);

/*
 * An empty snapshot that claims to need `packs` and one more, a few bytes that hold no chunk: for what is about lists only.
 * Added to packs.
 */
void fixture_grow(struct fixture *f, struct pack_list *packs);

/* Sites in order; counters in f->reader_site start at 0. */
struct reader *fixture_reader(struct fixture *f);
/* The newest snapshot. */
const struct snapshot *fixture_latest(struct reader *r);

#endif
