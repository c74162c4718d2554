#include "repo/keys.h"

#include <string.h>
#include "base/rng.h"

static void random_secret(struct secret *s, size_t n)
{
	secret_init(s, n);
	rng_bytes(s->p, n);
}

void source_secrets_release(struct source_secrets *s)
{
	secret_release(&s->id_key);
	secret_release(&s->chunk_key);
	secret_release(&s->idx_key);
}

static void copy_name(char out[SOURCE_MAX + 1], const char *name)
{
	size_t n = strlen(name);

	BUG_ON(n > SOURCE_MAX);
	memcpy(out, name, n + 1);
}

void source_keys_generate(struct source_keys *k, const unsigned char repo[REPO_ID_LEN], const char *source,
        const char *class_name, uint32_t epoch, const struct secret *psk)
{
	*k = (struct source_keys){.epoch = epoch};
	memcpy(k->repo, repo, REPO_ID_LEN);
	copy_name(k->source, source);
	copy_name(k->class_name, class_name);
	random_secret(&k->s.id_key, 32);
	random_secret(&k->s.chunk_key, 32);
	random_secret(&k->s.idx_key, 32);
	ed25519_generate(&k->sign, k->sign_pub);
	secret_set(&k->psk, psk->p, psk->len);
}

void source_keys_release(struct source_keys *k)
{
	source_secrets_release(&k->s);
	secret_release(&k->sign);
	secret_release(&k->psk);
}

void opening_key_generate(struct opening_key *k, const unsigned char repo[REPO_ID_LEN], const char *class_name,
        const unsigned char root_pub[ED25519_PUB_LEN])
{
	*k = (struct opening_key){0};
	memcpy(k->repo, repo, REPO_ID_LEN);
	copy_name(k->class_name, class_name);
	x25519_generate(&k->priv, k->pub);
	random_secret(&k->r, 32);
	memcpy(k->root_pub, root_pub, ED25519_PUB_LEN);
}

void opening_key_release(struct opening_key *k)
{
	secret_release(&k->priv);
	secret_release(&k->r);
}

void opening_key_psk(const struct opening_key *k, const char *source, struct secret *psk)
{
	CLEAN(buf_release) struct buf info = BUF_INIT(1024);

	format_ctx(&info, "holdfast1 psk", k->repo, source, NULL, 0);
	secret_init(psk, 32);
	hkdf(psk->p, psk->len, k->r.p, k->r.len, NULL, 0, info.p, info.len);
}

void recipient_init(struct recipient *r, const unsigned char pub[X25519_LEN])
{
	static const char label[] = "holdfast1 recipient";
	unsigned char text[sizeof label - 1 + 2 + X25519_LEN], digest[SHA256_LEN];

	r->kem = KEM_X25519;
	memcpy(r->pub, pub, X25519_LEN);
	memcpy(text, label, sizeof label - 1);
	put_u16(text + sizeof label - 1, r->kem);
	memcpy(text + sizeof label - 1 + 2, pub, X25519_LEN);
	sha256_of(text, sizeof text, digest);
	memcpy(r->id, digest, RECIPIENT_LEN);
}
