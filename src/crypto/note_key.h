/*
 * Verifier keys of C2SP signed-note whose names are made from the keys: "<prefix><id>+<hash>+<base64(algorithm ‖ key)>". The id is the first 16
 * hex digits of SHA-256 of the key, the hash the first 4 bytes of SHA-256(name ‖ 0x0A ‖ algorithm ‖ key).
 */
#ifndef CRYPTO_NOTE_KEY_H
#define CRYPTO_NOTE_KEY_H

#include "crypto/crypto.h"

#define NOTE_KEY_NAME 64
#define NOTE_KEY_ID_LEN 16 /* hex digits */
#define NOTE_KEY_HASH_LEN 4
struct note_kind {
	const char *prefix;
	unsigned char algorithm;
	const char *what; /* for messages */
};
extern const struct note_kind note_of_log;     /* holdfast/<id>, Ed25519 */
extern const struct note_kind note_of_witness; /* holdfast-witness/<id>, timestamped cosignatures */

void note_key_id(const unsigned char pub[ED25519_PUB_LEN], char out[NOTE_KEY_ID_LEN + 1]);
void note_key_name(const struct note_kind *kind, const unsigned char pub[ED25519_PUB_LEN], char out[NOTE_KEY_NAME]);
/* Hash of a key under a name that need not be its own. */
void note_key_hash(const struct note_kind *kind, const char *name, const unsigned char pub[ED25519_PUB_LEN], unsigned char out[NOTE_KEY_HASH_LEN]);
/* Newly allocated, no newline. */
char *note_key_text(const struct note_kind *kind, const unsigned char pub[ED25519_PUB_LEN]);
/* Name and hash must fit the key. ERR_FORMAT. */
int note_key_parse(const struct note_kind *kind, const char *text, size_t n, unsigned char pub[ED25519_PUB_LEN], struct err *err) HF_NODISCARD;

#endif
