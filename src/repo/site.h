/*
 * What a site has, read without a session: configuration, attempts and their fates, pack lists, index objects.
 */
#ifndef REPO_SITE_H
#define REPO_SITE_H

#include "repo/index.h"
#include "repo/snapshot.h"
#include "store/store.h"

struct attempt_info {
	char attempt[NAME16];
	bool decided, committed, expired;
	unsigned char snapshot_digest[ID_LEN];
	struct snapshot snap; /* committed only; facts not opened */
};
struct attempts {
	struct attempt_info *a;
	size_t n;
};
/* List w/<source>/ and x/<source>/ and read every fate. Objects that do not decode are in *ret_bad (count) and left out. */
int attempts_load(struct store *st, const struct cfg *cfg, const char *source, struct attempts *ret, size_t *ret_bad, struct err *err) HF_NODISCARD;
void attempts_release(struct attempts *a);
/* A signed text of type expire or receipt: one that a log of the configuration signed. ERR_CORRUPT, ERR_FORMAT. */
int log_text_read(const struct cfg *cfg, const char *type, const void *p, size_t n, json_t **ret, struct err *err) HF_NODISCARD;
struct expiry {
	bool has_snapshot; /* else the attempt was dead */
	unsigned char snapshot[ID_LEN];
};
/* An expiry counts when a log signed it for this very attempt: a site must not hide a snapshot by an object of its own making. */
int expiry_read(const struct cfg *cfg, const char *source, const char *attempt, const void *p, size_t n, struct expiry *ret, struct err *err) HF_NODISCARD;
/* The same as a site_accept_fn; bytes are those that were taken. */
struct expiry_of {
	const struct cfg *cfg;
	const char *source, *attempt;
	struct expiry x;
	struct buf bytes; /* BUF_INIT(SIGNED_MAX), released by the caller */
};
int expiry_accept(void *expiry_of, const void *p, size_t n, struct err *err);
/* A site_accept_fn of fates: decodes into a struct fate. */
int fate_accept(void *fate, const void *p, size_t n, struct err *err);
/* Full pack list of a committed attempt, following relative lists; depth (may be NULL) gets how many; checked against the snapshot's digest of it. */
int attempt_packs(struct store *st, const char *source, const char *attempt, struct pack_list *ret, unsigned *ret_depth, struct err *err) HF_NODISCARD;
/* Newest configuration of a site: the chain from cfg/0, each signed by a root key of the one before; pinned root and repository. */
int cfg_load(struct store *st, const unsigned char root_pub[ED25519_PUB_LEN], const unsigned char *repo, struct cfg *ret, struct err *err) HF_NODISCARD;
/* Load every index object of a source that opens under one of the keys (of its epochs, the newest first). cache_dir NULL: memory only. */
struct index_loaded {
	size_t deltas; /* at the site */
	size_t bad;    /* objects that do not open */
};
int index_load(struct store *st, const char *source, const unsigned char repo[REPO_ID_LEN], const struct secret *const *idx_key, size_t n_keys, const char *cache_dir,
	struct index *ix, struct index_loaded *ret, struct err *err) HF_NODISCARD;
/* Only the deltas that one attempt brought; those that do not open are passed over. */
int index_load_attempt(struct store *st, const char *source, const char *attempt, const unsigned char repo[REPO_ID_LEN], const struct secret *idx_key, struct index *ix,
	struct err *err) HF_NODISCARD;

#endif
