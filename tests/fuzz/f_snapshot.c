/* Input: u8 mode, then JSON of a snapshot, signed here, or JSON of its facts, sealed and opened here. */
#include "repo/snapshot.h"

#include "sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_signed(const uint8_t *data, size_t size)
{
	CLEAN(buf_release) struct buf text = BUF_INIT(4 * SIGNED_MAX);
	CLEAN(secret_release) struct secret seed = {0};
	CLEAN(snapshot_release) struct snapshot s = {0};
	struct cfg_signer signer = {.epoch = 1};
	struct cfg_source source = {.name = "docs", .signer = &signer, .n_signers = 1};
	struct cfg c = {.source = &source, .n_sources = 1};
	struct err err;

	fixed_seed(&seed);
	ed25519_public(&seed, signer.pub);
	sign_json("snapshot", data, size, &text);
	if (snapshot_decode(&c, text.p, text.len, &s, &err))
		return;
	BUG_ON(strcmp(s.source, "docs") != 0 || s.epoch != 1);
	BUG_ON(!snapshot_open_facts(&s, c.repo, &seed, &err));
}

static void check_facts(const uint8_t *data, size_t size)
{
	static const unsigned char repo[REPO_ID_LEN];
	CLEAN(snapshot_release) struct snapshot s = {.source = "docs", .sealed = BUF_INIT(2 * SIGNED_MAX)};
	CLEAN(secret_release) struct secret key = {0};
	struct err err;

	fixed_seed(&key);
	BUG_ON(sealed_put(&key, repo, "docs", SEALED_FACTS, data, size, &s.sealed, &err));
	if (snapshot_open_facts(&s, repo, &key, &err)) {
		BUG_ON(s.has_facts);
		return;
	}
	for (unsigned i = 0; i < STREAM_COUNT; i++)
		BUG_ON(s.facts.root[i].present && (!s.facts.root[i].length || s.facts.root[i].height > 16));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] & 1)
		check_facts(data + 1, size - 1);
	else
		check_signed(data + 1, size - 1);
	return 0;
}
