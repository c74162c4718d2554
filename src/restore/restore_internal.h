/*
 * What restoring into a tree, a tar and the manifest check share: restore_walk.c (which entries, in order; where their
 * content is; hard links whose first name is not among them).
 */
#ifndef RESTORE_RESTORE_INTERNAL_H
#define RESTORE_RESTORE_INTERNAL_H

#include "restore/restore.h"

/* Prefixes in walk order, none below another, without slashes at either end. None: everything. */
struct selection {
	char **path;
	size_t n;
};
void selection_init(struct selection *s, const char *const *paths);
void selection_release(struct selection *s);
bool selection_has(const struct selection *s, const char *path);

/* Recorded path -> path in the target. */
struct path_map {
	unsigned strip;
	const char *as; /* NULL: none */
	struct buf buf;
};
/* ERR_USAGE when `as` cannot be a path beneath. */
int path_map_init(struct path_map *m, const struct restore_opts *o, struct err *err) HF_NODISCARD;
void path_map_release(struct path_map *m);
/* NULL when nothing is left of it. Valid until the next call, or as long as path. */
const char *path_map(struct path_map *m, const char *path);

struct visitor {
	int (*entry)(void *arg, const struct reader_entry *re, const struct pax_entry *e, struct err *err);
	int (*malformed)(
	        void *arg, const struct err *why, struct err *err); /* a record that cannot be read; 0 goes on */
	void *arg;
};
/* Every selected entry in order. ERR_MISSING when a prefix selects none. */
int restore_each(struct reader *r, const struct snapshot *snap, const struct selection *sel, atomic_bool *cancel,
        const struct visitor *v, struct err *err) HF_NODISCARD;

/* The content stream, read forwards where that is possible. */
struct content {
	struct reader *r;
	const struct stream_root *root;
	struct reader_stream *s;
	uint64_t pos;
};
void content_init(struct content *c, struct reader *r, const struct snapshot *snap);
void content_release(struct content *c);
/* The next bytes at off, at least one and at most `want`; borrowed. */
int content_at(struct content *c, uint64_t off, uint64_t want, const unsigned char **ret_p, size_t *ret_n,
        struct err *err) HF_NODISCARD;

/* Hard links that cannot be made because their first name is not there: the first name's content is restored under
 * theirs. */
struct late_link {
	char *first, *path; /* first name as recorded; path as the caller likes */
	size_t order;
};
struct late_links {
	struct late_link *l;
	size_t n, cap, bytes;
};
void late_links_release(struct late_links *l);
/* ERR_NOMEM beyond 256 MiB of names. */
int late_links_add(struct late_links *l, const char *first, const char *path, struct err *err) HF_NODISCARD;
/* fn for each, ordered by first name, with the entry of the first name; e NULL when the snapshot has none. */
typedef int (*late_link_fn)(void *arg, const struct late_link *l, const struct reader_entry *re,
        const struct pax_entry *e, struct err *err);
int late_links_each(struct late_links *l, struct reader *r, const struct snapshot *snap, atomic_bool *cancel,
        late_link_fn fn, void *arg, struct err *err) HF_NODISCARD;

/* "path: why" that may be printed, into a field of a result. */
void restore_note(char out[512], const char *path, const char *why);

#endif
