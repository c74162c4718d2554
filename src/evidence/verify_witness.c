/* Cosignatures: whether they are over the checkpoints beside which they lie. */
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "evidence/verify_internal.h"
#include "evidence/witness.h"

#define SUFFIX ".cosig"
#define NUMBER_LEN 20

/* "l/<id>/checkpoint/<size>.<witness>.cosig" */
static bool cosig_key(const char *key, const char *log_id, uint64_t *ret_size, char ret_id[EVIDENCE_ID_LEN + 1])
{
	const size_t head = strlen("l/") + EVIDENCE_ID_LEN + strlen("/checkpoint/") + NUMBER_LEN;
	char note[128];

	if (strlen(key) != head + 1 + EVIDENCE_ID_LEN + strlen(SUFFIX) || key[head] != '.' ||
	        strcmp(key + head + 1 + EVIDENCE_ID_LEN, SUFFIX) != 0 || head >= sizeof note)
		return false;
	memcpy(note, key, head);
	note[head] = '\0';
	memcpy(ret_id, key + head + 1, EVIDENCE_ID_LEN);
	ret_id[EVIDENCE_ID_LEN] = '\0';
	return checkpoint_key_size(note, log_id, ret_size);
}

/* The signed text of the checkpoint that was read at this place. */
static bool text_of(const struct vlog *log, const struct copy *c, uint64_t size, char out[256])
{
	char root[45];

	for (size_t i = 0; i < log->n_points; i++) {
		const struct point *p = &log->point[i];

		if (p->size != size || p->from != c->place)
			continue;
		base64_encode(root, p->root, SHA256_LEN);
		(void)snprintf(out, 256, "holdfast/%s\n%llu\n%s\n", log->id, (unsigned long long)size, root);
		return true;
	}
	return false;
}

static int check(struct buf *b, const char *id, const char *text, struct err *err)
{
	const char *all = buf_str(b), *nl = strchr(all, '\n');
	unsigned char pub[ED25519_PUB_LEN];
	char own[EVIDENCE_ID_LEN + 1];
	int64_t time_s;

	if (!nl || !str_starts(all, "key ") || strlen(all) != b->len)
		return err_set(err, ERR_FORMAT, "cosignature: malformed");
	int rc = witness_vkey_parse(all + 4, (size_t)(nl - all) - 4, pub, err);

	if (rc)
		return rc;
	witness_id(pub, own);
	if (!str_eq(own, id))
		return err_set(err, ERR_CORRUPT, "cosignature: its name tells another witness");
	return witness_line_verify(nl + 1, strlen(nl + 1), pub, text, strlen(text), &time_s, err);
}

static void remember(struct copy *c, const char *id, uint64_t size)
{
	size_t i = 0;

	while (i < c->n_witnesses && !str_eq(c->witness[i].id, id))
		i++;
	if (i == WITNESSES_MAX)
		return;
	if (i == c->n_witnesses)
		str_copy(c->witness[c->n_witnesses++].id, sizeof c->witness[i].id, id);
	c->witness[i].size = MAX(c->witness[i].size, size);
}

struct bad_cosig {
	uint64_t size;
	char id[EVIDENCE_ID_LEN + 1];
	struct err why;
};
struct bad_cosigs {
	struct bad_cosig *v;
	size_t n, cap;
};

static void judge(const struct vlog *log, struct copy *c, struct store *site, const char *key, struct bad_cosigs *bad)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(WITNESS_ANSWER_MAX);
	struct err why = ERR_INIT;
	char id[EVIDENCE_ID_LEN + 1], text[256];
	uint64_t size;

	if (!cosig_key(key, log->id, &size, id))
		return;
	int rc = text_of(log, c, size, text) ? store_get(site, key, &b, &why)
	                                     : err_set(&why, ERR_MISSING, "its checkpoint is not here");

	if (!rc)
		rc = check(&b, id, text, &why);
	if (!rc)
		remember(c, id, size);
	if (!rc || rc == -ERR_UNREACHABLE)
		return;
	bad->v = xgrow(bad->v, bad->n, &bad->cap, sizeof *bad->v);
	bad->v[bad->n] = (struct bad_cosig){.size = size, .why = why};
	memcpy(bad->v[bad->n++].id, id, sizeof id);
}

/* A witness gives one for each checkpoint once. A later one is over all the records of those before it. */
static void tell_bad(struct verify *v, const struct vlog *log, const struct copy *c, const struct bad_cosig *b)
{
	bool covered = false;

	for (size_t i = 0; i < c->n_witnesses; i++)
		covered |= str_eq(c->witness[i].id, b->id) && c->witness[i].size > b->size;
	if (covered)
		finding(v, FINDING_NOTE, "cosignature-covered", log->id, c->place, b->size, "%s; a later one of the same witness covers it", b->why.msg);
	else
		finding(v, FINDING_DAMAGE, "cosignature-damaged", log->id, c->place, b->size, "%s", b->why.msg);
}

/* A pinned witness has cosigned the newest checkpoint here. Of an older log nobody expects it, unless each is believed. */
static void judge_pinned(struct verify *v, const struct vlog *log, const struct copy *c)
{
	unsigned char pub[ED25519_PUB_LEN];
	char id[EVIDENCE_ID_LEN + 1];
	struct err why = ERR_INIT;
	uint64_t size = 0;

	if (!c->pin || !c->newest || (v->in->n_pins && !log->pinned))
		return;
	if (witness_vkey_parse(c->pin, strlen(c->pin), pub, &why)) {
		finding(v, FINDING_DAMAGE, "pin-malformed", log->id, c->place, 0, "%s", why.msg);
		return;
	}
	witness_id(pub, id);
	for (size_t i = 0; i < c->n_witnesses; i++) {
		if (str_eq(c->witness[i].id, id))
			size = c->witness[i].size;
		else
			finding(v, FINDING_NOTE, "unknown-witness", log->id, c->place, c->witness[i].size,
			        "cosigned by holdfast-witness/%s, which is not the witness that is pinned", c->witness[i].id);
	}
	if (size < c->newest)
		finding(v, FINDING_MISSING, "cosignature-missing", log->id, c->place, c->newest,
		        "its witness holdfast-witness/%s has cosigned %llu records", id, (unsigned long long)size);
}

void verify_witnesses(struct verify *v, const struct vlog *log, struct copy *c, struct store *site)
{
	CLEAN(store_keys_release) struct store_keys keys = {0};
	struct bad_cosigs bad = {0};
	char prefix[64];

	(void)snprintf(prefix, sizeof prefix, "l/%s/checkpoint/", log->id);
	if (store_list_all(site, prefix, &keys, NULL))
		return; /* that the place cannot be read was told */
	for (size_t i = 0; i < keys.n; i++)
		judge(log, c, site, keys.key[i], &bad);
	for (size_t i = 0; i < bad.n; i++)
		tell_bad(v, log, c, &bad.v[i]);
	free(bad.v);
	judge_pinned(v, log, c);
}
