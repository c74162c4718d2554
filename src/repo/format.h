/*
 * Names, sizes and small shared pieces of repository format 1 (docs/format/format.md is the contract).
 */
#ifndef REPO_FORMAT_H
#define REPO_FORMAT_H

#include <stdint.h>
#include "base/buf.h"

#define ID_LEN 32          /* chunk id, pack and snapshot digest */
#define REPO_ID_LEN 16
#define SID_LEN 16
#define SALT_LEN 32
#define RECIPIENT_LEN 16
#define NAME16 17          /* attempt and lineage names: 16 hex digits and NUL */
#define SOURCE_MAX 63
#define CHUNK_PLAIN_MAX (8u << 20)
#define CHUNK_OVERHEAD 28u /* nonce and tag */
#define PACK_AIM (16u << 20) /* some are in memory; less where memory is bounded */
#define PACK_MAX (64u << 20)
#define SIGNED_MAX (1u << 20)
#define FATE_MAX (256u << 20)
#define INDEX_MAX (1u << 30)
#define INDEX_MERGE_MAX (256u << 20) /* what is made; 5 million chunks */
#define HEX_LEN (2 * ID_LEN + 1)

enum chunk_type { CHUNK_CONTENT = 1, CHUNK_ENTRIES = 2, CHUNK_LIST = 3, CHUNK_NOTES = 4 };
enum chunk_comp { COMP_RAW = 0, COMP_ZSTD = 1 };
enum stream_id { STREAM_CONTENT, STREAM_ENTRIES, STREAM_NOTES, STREAM_COUNT };
enum chunk_type stream_chunk_type(enum stream_id s);

/* ctx(label, source, rest) of the format: what every key and tag is bound to. out is cleared first. */
void format_ctx(struct buf *out, const char *label, const unsigned char repo[REPO_ID_LEN], const char *source, const void *rest, size_t n_rest);
/* text(s) appended. */
void format_text(struct buf *out, const void *p, size_t n);
/* text(s) read: borrowed, at most max bytes, NULL and r->bad when not. */
const unsigned char *format_text_rd(struct rd *r, size_t max, size_t *ret_n);
uint64_t format_padme(uint64_t n);
/* n rounded up to two significant bits. */
uint64_t format_round2(uint64_t n);
/* 16 lower-case hex digits. */
bool format_name16_ok(const char *s);

/* Key text into buf of STORE_KEY_MAX + 1. */
char *key_pack(char *out, const char *source, const char *attempt, const unsigned char digest[ID_LEN]);
char *key_attempt(char *out, const char *source, const char *attempt, const char *what); /* w/<source>/<attempt>/<what> */
char *key_snapshot(char *out, char prefix, const char *source, const char *lineage, uint64_t seq); /* prefix s or r */
char *key_fmt(char *out, const char *fmt, ...) HF_PRINTF(2, 3);

#endif
