/*
 * Keys of a repository: a source's own (on the protected host), the opening key of a class (on the recovery host), envelopes
 * and sealed objects. Files are canonical JSON and a line feed, mode 0600, create-only, secrets in base64. What is encoded,
 * sealed or opened into a struct buf is appended to it. Names given (source, class) must be valid: str_is_id().
 */
#ifndef REPO_KEYS_H
#define REPO_KEYS_H

#include "crypto/crypto.h"
#include "repo/format.h"

/* What a reader of a source needs besides chunks: 96 bytes, sealed to the recipients as k/<source>/<epoch>. */
struct source_secrets {
	struct secret id_key, chunk_key, idx_key; /* 32 bytes each */
};
void source_secrets_release(struct source_secrets *s);

/* A protected host's keys for one source and epoch. It holds nothing that opens a chunk. */
struct source_keys {
	unsigned char repo[REPO_ID_LEN];
	char source[SOURCE_MAX + 1], class_name[SOURCE_MAX + 1];
	uint32_t epoch;
	struct source_secrets s;
	struct secret sign; /* Ed25519 seed */
	struct secret psk;  /* 32 bytes */
	unsigned char sign_pub[ED25519_PUB_LEN];
};
/* Draws all but psk, which is copied. */
void source_keys_generate(struct source_keys *k, const unsigned char repo[REPO_ID_LEN], const char *source, const char *class_name, uint32_t epoch, const struct secret *psk);
void source_keys_release(struct source_keys *k);
int source_keys_save(const struct source_keys *k, const char *path, struct err *err) HF_NODISCARD;
int source_keys_load(struct source_keys *k, const char *path, struct err *err) HF_NODISCARD;

/* The opening key of a class: X25519 private key and class secret R. Pins repository and root key: with a site it is all a cold start needs. */
struct opening_key {
	unsigned char repo[REPO_ID_LEN];
	char class_name[SOURCE_MAX + 1];
	struct secret priv;  /* X25519 */
	struct secret r;     /* class secret */
	unsigned char pub[X25519_LEN], root_pub[ED25519_PUB_LEN];
};
void opening_key_generate(struct opening_key *k, const unsigned char repo[REPO_ID_LEN], const char *class_name, const unsigned char root_pub[ED25519_PUB_LEN]);
void opening_key_release(struct opening_key *k);
int opening_key_save(const struct opening_key *k, const char *path, struct err *err) HF_NODISCARD;
int opening_key_load(struct opening_key *k, const char *path, struct err *err) HF_NODISCARD;
/* psk of a source: HKDF of R, 32 bytes into an empty secret. */
void opening_key_psk(const struct opening_key *k, const char *source, struct secret *psk);

/* Ed25519 seed files (root, log): {"kind":..., "seed":..., "public":...}. */
int sign_key_save(const char *path, const char *kind, const struct secret *seed, struct err *err) HF_NODISCARD;
int sign_key_load(const char *path, const char *kind, struct secret *seed, unsigned char pub[ED25519_PUB_LEN], struct err *err) HF_NODISCARD;

/* A public key that envelopes are sealed to. */
struct recipient {
	unsigned char id[RECIPIENT_LEN];
	uint16_t kem;
	unsigned char pub[X25519_LEN];
};
#define KEM_X25519 0x0020
void recipient_init(struct recipient *r, const unsigned char pub[X25519_LEN]);

enum envelope_kind { ENVELOPE_SESSION = 1, ENVELOPE_KEYS = 2 };
struct envelope {
	enum envelope_kind kind;
	uint16_t kem;
	uint32_t epoch;
	unsigned char sid[SID_LEN], recipient[RECIPIENT_LEN], commitment[SHA256_LEN];
	char class_name[SOURCE_MAX + 1];
	unsigned char enc[HPKE_ENC_LEN];
	unsigned char ct[256];
	size_t n_ct;
};
#define ENVELOPE_MAX 1024
/* ERR_UNSUPPORTED for a kem other than KEM_X25519. Decoding one is fine, with n_ct 0: it is for another recipient. */
int envelope_encode(const struct envelope *e, struct buf *out, struct err *err) HF_NODISCARD;
int envelope_decode(const void *p, size_t n, struct envelope *e, struct err *err) HF_NODISCARD;

/* A run's session: S, its sid and commitment, and S sealed to every recipient. */
struct session_key {
	struct secret s;
	unsigned char sid[SID_LEN], commitment[SHA256_LEN];
};
void session_key_generate(struct session_key *k, const unsigned char repo[REPO_ID_LEN], const char *source);
void session_key_release(struct session_key *k);
int session_key_seal(const struct session_key *k, const struct source_keys *host, const struct recipient *to, struct envelope *ret, struct err *err) HF_NODISCARD;
/* Opens and checks sid and commitment. ERR_MISSING when the envelope is for another recipient. */
int session_key_open(const struct opening_key *o, const char *source, const struct envelope *e, struct session_key *ret, struct err *err) HF_NODISCARD;

/* k/<source>/<epoch>, for 1 to 255 recipients. Opening: ERR_MISSING when none of them is o, ERR_CORRUPT when it does not open. */
int key_object_seal(const struct source_keys *host, const struct recipient *to, size_t n, struct buf *out, struct err *err) HF_NODISCARD;
int key_object_open(const struct opening_key *o, const char *source, uint32_t epoch, const void *p, size_t n, struct source_secrets *ret, struct err *err) HF_NODISCARD;

enum sealed_kind { SEALED_DELTA = 1, SEALED_MERGE = 2, SEALED_FACTS = 3 };
/* One sealed object under a key of its own. Getting: ERR_FORMAT when it is none of that kind, ERR_CORRUPT when it does not open. */
int sealed_put(const struct secret *idx_key, const unsigned char repo[REPO_ID_LEN], const char *source, enum sealed_kind kind, const void *p, size_t n, struct buf *out, struct err *err) HF_NODISCARD;
int sealed_get(const struct secret *idx_key, const unsigned char repo[REPO_ID_LEN], const char *source, enum sealed_kind kind, const void *p, size_t n, struct buf *out, struct err *err) HF_NODISCARD;

#endif
