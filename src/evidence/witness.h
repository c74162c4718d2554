/*
 * A witness cosigns the checkpoints of logs that others keep, each only when it continues the one it cosigned before
 * (C2SP tlog-witness, cosignature/v1). Who keeps a log cannot show two histories to those who ask for cosignatures.
 *
 *   at the site:      witness_open(dir, &w, &err); witness_cosign(w, store, request, n, &answer, &err)
 *   at the log's end: evidence_publish() asks each site that has STORE_WITNESS
 *
 * Files in DIR: key (64 hex digits of an Ed25519 seed, 0600), lock, and <log id>: the newest checkpoint that was cosigned.
 *
 * Request, as in tlog-witness: "old <size>" of the checkpoint cosigned before (0: none), lines of base64 with the
 * consistency proof, an empty line, the checkpoint. Answer: "size <n>" when another size was cosigned before, else
 * "key <verifier key>" and the cosignature's line.
 */
#ifndef EVIDENCE_WITNESS_H
#define EVIDENCE_WITNESS_H

#include "evidence/evidence.h"

#define WITNESS_REQUEST_MAX ((size_t)64 << 10)
#define WITNESS_ANSWER_MAX ((size_t)4 << 10)

/* Make a key in DIR, which is made when missing. ERR_EXISTS when there is one. *ret_vkey is newly allocated. */
int witness_create(const char *dir, char **ret_vkey, struct err *err) HF_NODISCARD;
struct witness;
/* ERR_MISSING: no key. */
int witness_open(const char *dir, struct witness **ret, struct err *err) HF_NODISCARD;
void witness_free(struct witness *w);
/*
 * Answer a request; the log's verifier key is read from its copy at `site` and has to fit its id. ERR_FORMAT: malformed;
 * ERR_MISSING: no such log at the site; ERR_CORRUPT: signature; ERR_FORK: it does not continue what was cosigned before.
 * Any thread; several processes may share DIR.
 */
int witness_cosign(struct witness *w, struct store *site, const void *p, size_t n, struct buf *ret, struct err *err)
        HF_NODISCARD;

/* --- for who has it cosigned, and for who verifies --- */
/* The name is "holdfast-witness/<first 16 hex digits of SHA-256 of the key>". ERR_FORMAT when they do not fit. */
int witness_vkey_parse(const char *text, size_t n, unsigned char pub[ED25519_PUB_LEN], struct err *err) HF_NODISCARD;
/* Newly allocated, no newline. */
char *witness_vkey(const unsigned char pub[ED25519_PUB_LEN]);
/* A cosignature's line over the text of a checkpoint (its first n_text bytes). ERR_FORMAT, ERR_CORRUPT. */
int witness_line_verify(const char *line, size_t n, const unsigned char pub[ED25519_PUB_LEN], const void *text,
        size_t n_text, int64_t *ret_time_s, struct err *err) HF_NODISCARD;
/* Id of a witness: 16 hex digits. */
void witness_id(const unsigned char pub[ED25519_PUB_LEN], char out[EVIDENCE_ID_LEN + 1]);

#endif
