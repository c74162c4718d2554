/*
 * A pack's bytes while they pass by: each is read once, hashed, and looked at while it is still in a core's cache. Of a
 * store that reads parts at no cost (STORE_LOCAL) only a window is in memory; of another one the whole pack is fetched.
 *
 *   view_open(&v, store, key, size, &err)
 *   view_tail(), view_need() in ascending order of offsets
 *   view_digest(&v, digest, &err)   reads what was not asked for, and ends it
 *
 * One view is used for many packs, by one thread. Errors are those of the store; ERR_CORRUPT: the object ends early.
 */
#ifndef VERIFY_PACK_VIEW_H
#define VERIFY_PACK_VIEW_H

#include "crypto/crypto.h"
#include "repo/format.h"
#include "store/store.h"

struct pack_view {
	struct store *store;
	const char *key; /* borrowed until view_digest() */
	bool whole;
	uint64_t size;
	uint64_t at;     /* offset of window.p[0] */
	uint64_t hashed; /* all before it */
	struct sha256 *hash;
	struct buf window, tail;
};
void view_init(struct pack_view *v);
void view_release(struct pack_view *v);
/* size: as listed; an object of another size is not the one that was listed, and does not have the digest of its name. */
int view_open(struct pack_view *v, struct store *s, const char *key, uint64_t size, struct err *err) HF_NODISCARD;
/* n bytes from off, borrowed until the next call. */
int view_need(struct pack_view *v, uint64_t off, size_t n, const unsigned char **ret, struct err *err) HF_NODISCARD;
/* The last n bytes, or all when there are fewer; borrowed until the next view_tail() or view_open(). Not hashed. */
int view_tail(struct pack_view *v, size_t n, const unsigned char **ret, size_t *ret_n, struct err *err) HF_NODISCARD;
/* Of all bytes up to the object's end; *ret_size: how many. */
int view_digest(struct pack_view *v, unsigned char digest[SHA256_LEN], uint64_t *ret_size, struct err *err) HF_NODISCARD;

#endif
