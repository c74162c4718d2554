/*
 * Packs. Writing: several workers seal chunks straight into one open pack (room is reserved, then filled); each sealed chunk is
 * opened, decompressed and re-identified from the pack's own bytes before the pack may leave. Reading: header, trailer, footer,
 * chunks; everything bounds-checked.
 */
#ifndef REPO_PACK_H
#define REPO_PACK_H

#include "codec/zframe.h"
#include "repo/index.h"
#include "repo/keys.h"

/* What one thread needs to seal or open chunks. */
struct pack_coder;
struct pack_coder *pack_coder_new(const unsigned char repo[REPO_ID_LEN], const char *source, const struct secret *id_key, int level);
void pack_coder_free(struct pack_coder *c);
/* id of a chunk. */
void pack_coder_id(struct pack_coder *c, enum chunk_type type, const void *p, size_t n, unsigned char id[ID_LEN]);

/* --- writing --- */
struct pack; /* open pack: one mapping of PACK_MAX bytes, reused */
/* aim: a pack is closed when it has this many bytes. */
struct pack *pack_new(uint32_t aim);
void pack_free(struct pack *p);
/* Start a pack under a session: fresh salt, header with its envelopes. */
int pack_begin(struct pack *p, const struct session_key *k, const struct source_keys *host, const struct envelope *env, size_t n_env, struct err *err) HF_NODISCARD;
/* Reserve n sealed bytes; false when the pack is over its aim (then close it). Not thread-safe: the writer holds its lock. */
bool pack_reserve(struct pack *p, size_t n, uint32_t *ret_offset);
/* Compress (stored raw when it does not shrink), into the coder's own buffer. */
void pack_compress(struct pack_coder *c, const void *plain, size_t n, const void **ret_stored, size_t *ret_n, enum chunk_comp *ret_comp);
/* Seal stored bytes at e->offset (e->id, type, comp, plain_len, sealed_len set), then open, decompress and re-identify them. Thread-safe for distinct rooms. ERR_CORRUPT: suspect hardware. */
int pack_seal(struct pack *p, struct pack_coder *c, const struct index_entry *e, const void *stored, size_t n, struct err *err) HF_NODISCARD;
/* Record a sealed chunk for the footer (under the writer's lock). */
void pack_add(struct pack *p, const struct index_entry *e);
/* Footer, trailer, digest: info gets what an index says of it. Bytes stay valid until the next pack_begin. */
int pack_finish(struct pack *p, struct pack_coder *c, struct index_pack *info, struct err *err) HF_NODISCARD;
const unsigned char *pack_bytes(const struct pack *p, size_t *ret_n);
const struct index_entry *pack_entries(const struct pack *p, size_t *ret_n);

/* --- reading --- */
struct pack_header {
	unsigned char sid[SID_LEN], salt[SALT_LEN];
	uint32_t epoch, length;
	struct envelope *env; /* newly allocated */
	size_t n_env;
};
void pack_header_release(struct pack_header *h);
/* Of the first bytes of a pack (at least its header). */
int pack_header_decode(const void *p, size_t n, struct pack_header *ret, struct err *err) HF_NODISCARD;
/* Key of a pack: Kp by sid's S and salt. Set before opening chunks of another pack. */
void pack_coder_key(struct pack_coder *c, const struct session_key *k, const unsigned char salt[SALT_LEN]);
/* Decrypt one sealed chunk (sealed_len bytes at p) as e says, decompress into out (plain_len bytes), check the id. */
int pack_open_chunk(struct pack_coder *c, const struct index_entry *e, const unsigned char *p, unsigned char *out, struct err *err) HF_NODISCARD;
/* Entries of a whole pack by its footer; newly allocated. */
int pack_footer(struct pack_coder *c, const unsigned char *p, size_t n, struct index_entry **ret, size_t *ret_n, struct err *err) HF_NODISCARD;
/* The same from the last n bytes of a pack of `size` bytes. When they are too few, *ret_need says how many it takes (else 0). */
int pack_footer_tail(struct pack_coder *c, const unsigned char *tail, size_t n, uint64_t size, struct index_entry **ret, size_t *ret_n, size_t *ret_need, struct err *err) HF_NODISCARD;

#endif
