/*
 * Signed text objects: "holdfast1 TYPE", one line of canonical JSON, one or more signature lines; and the objects that are
 * no more than that: cfg and open (receipt and expire are signed_make's and signed_read's as they are). Members that are not
 * known here are passed over. What is encoded is appended to out. Times keep milliseconds.
 */
#ifndef REPO_SIGNED_H
#define REPO_SIGNED_H

#include "base/json.h"
#include "repo/keys.h"

/* Sign o (whose members v and repository are set here) as TYPE. */
int signed_make(const char *type, json_t *o, const unsigned char repo[REPO_ID_LEN], const struct secret *seed, struct buf *out, struct err *err) HF_NODISCARD;
/*
 * Parse and verify: type and repository (NULL: any) must be those given, and a signature must be by one of the keys (n_keys 0: any
 * signer; its key is returned, ret_signer may be NULL). ERR_FORMAT when malformed or of another type, ERR_CORRUPT when no signature
 * holds or the repository is another, ERR_UNSUPPORTED for a version other than 1. *ret is a new reference, NULL on failure.
 */
int signed_read(const char *type, const void *p, size_t n, const unsigned char repo[REPO_ID_LEN], const unsigned char (*keys)[ED25519_PUB_LEN], size_t n_keys,
	json_t **ret, unsigned char ret_signer[ED25519_PUB_LEN], struct err *err) HF_NODISCARD;

struct cfg_signer {
	uint32_t epoch;
	bool revoked;
	unsigned char pub[ED25519_PUB_LEN];
};
struct cfg_source {
	char name[SOURCE_MAX + 1], class_name[SOURCE_MAX + 1];
	struct cfg_signer *signer;
	size_t n_signers;
};
struct cfg_class {
	char name[SOURCE_MAX + 1];
	char custody[16]; /* "host" or "quorum" */
	struct recipient *recipient;
	size_t n_recipients;
};
struct cfg_log {
	char origin[128];
	unsigned char pub[ED25519_PUB_LEN];
};
struct cfg {
	unsigned char repo[REPO_ID_LEN];
	uint64_t n;
	int64_t time; /* wall ns; 0 when encoding: now */
	char plan[SOURCE_MAX + 1];
	unsigned char (*root)[ED25519_PUB_LEN];
	size_t n_root;
	struct cfg_class *class_;
	size_t n_classes;
	struct cfg_source *source;
	size_t n_sources;
	struct cfg_log *log;
	size_t n_logs;
};
void cfg_release(struct cfg *c);
/* c: valid names. Signed by root_seed, which need not be among c->root. */
int cfg_encode(const struct cfg *c, const struct secret *root_seed, struct buf *out, struct err *err) HF_NODISCARD;
/*
 * Decode and check a configuration: signed by one of `trusted` (its predecessor's root keys, or the pinned one; none at all is
 * ERR_CORRUPT), cfg/0 by a root key of its own. repo may be NULL: any. Names are unique, classes of sources exist.
 */
int cfg_decode(const void *p, size_t n, const unsigned char *repo, const unsigned char (*trusted)[ED25519_PUB_LEN], size_t n_trusted, struct cfg *ret, struct err *err) HF_NODISCARD;
const struct cfg_source *cfg_find_source(const struct cfg *c, const char *name);
const struct cfg_class *cfg_find_class(const struct cfg *c, const char *name);
/* All keys that may sign for a source (not revoked), newly allocated; epoch 0: every epoch. */
size_t cfg_source_keys(const struct cfg *c, const char *source, uint32_t epoch, unsigned char (**ret)[ED25519_PUB_LEN]);
size_t cfg_log_keys(const struct cfg *c, unsigned char (**ret)[ED25519_PUB_LEN]);

struct attempt_open {
	char source[SOURCE_MAX + 1], attempt[NAME16], run[33];
	char (*uses)[NAME16];
	size_t n_uses;
	int64_t time; /* wall ns; 0 when encoding: now */
};
void attempt_open_release(struct attempt_open *o);
int attempt_open_encode(const struct attempt_open *o, const unsigned char repo[REPO_ID_LEN], const struct secret *seed, struct buf *out, struct err *err) HF_NODISCARD;
/* Signed by the source's own key of any epoch, or by a log key. */
int attempt_open_decode(const struct cfg *c, const void *p, size_t n, struct attempt_open *ret, struct err *err) HF_NODISCARD;

#endif
