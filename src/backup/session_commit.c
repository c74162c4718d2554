/* Signing a snapshot and deciding it at every site. */
#include "backup/session_internal.h"

#include <string.h>
#include "base/log.h"
#include "base/str.h"

#define DEPTH_MAX 63     /* every 64th pack list is in full */
#define MERGE_DELTAS 64  /* as many index deltas, and a merge of what was there before is put */

/* --- commit --- */

static void fill_snapshot(const struct session *s, const struct snapshot_facts *facts, const struct pack_list *packs, const unsigned char plan_digest[ID_LEN], struct snapshot *snap)
{
	*snap = (struct snapshot){.seq = s->seq, .epoch = s->o.keys->epoch, .facts = *facts, .has_facts = true};
	str_copy(snap->source, sizeof snap->source, s->o.keys->source);
	memcpy(snap->lineage, s->lineage, NAME16);
	if (!s->new_lineage) {
		snap->has_previous = true;
		snap->previous_committed = s->head.committed;
		memcpy(snap->previous, s->head.digest, ID_LEN);
	}
	snap->has_found = s->has_found;
	memcpy(snap->found, s->found, ID_LEN);
	pack_list_digest(packs, snap->packs);
	memcpy(snap->plan_digest, plan_digest, ID_LEN);
	for (int i = 0; i < NOTE_CODES; i++)
		snap->noted += facts->notes[i];
	snap->size = format_round2(facts->bytes);
}

/* a without b, both sorted. */
static void subtract(const struct pack_list *a, const struct pack_list *b, struct pack_list *ret)
{
	for (size_t i = 0; i < a->n; i++)
		if (!pack_list_has(b, a->digest[i]))
			pack_list_add(ret, a->digest[i]);
}

static int make_pending(struct session *s, size_t n, const struct snapshot *snap, const struct buf *object, const struct pack_list *packs, struct pending *p, struct err *err)
{
	const struct session_site *site = &s->o.site[n];
	CLEAN(fate_release) struct fate f = {.committed = true, .snapshot = BUF_INIT(SIGNED_MAX)};
	if (buf_put(&f.snapshot, object->p, object->len, err))
		return err_rc(err);
	if (site->has_newest && site->depth < DEPTH_MAX) {
		subtract(packs, &s->base[n], &f.list);
		subtract(&s->base[n], packs, &f.removed);
	}
	if (!site->has_newest || site->depth >= DEPTH_MAX || f.list.n + f.removed.n > packs->n / 2) {
		pack_list_release(&f.list);
		pack_list_release(&f.removed);
		for (size_t i = 0; i < packs->n; i++)
			pack_list_add(&f.list, packs->digest[i]);
	} else {
		memcpy(f.base, site->newest, NAME16);
		p->depth = site->depth + 1;
	}
	str_copy(p->site, sizeof p->site, site->name);
	memcpy(p->attempt, s->attempt, NAME16);
	memcpy(p->lineage, s->lineage, NAME16);
	p->seq = s->seq;
	memcpy(p->digest, snap->digest, ID_LEN);
	int rc = fate_encode(&f, &p->fate, err);
	return rc ? rc : pending_save(s->dir, p, err);
}

/* To all sites at once, behind what is queued there: each decides for itself, and none waits for another. */
static void put_fates(struct session *s, const struct pending *p)
{
	char key[STORE_KEY_MAX + 1];
	key_attempt(key, s->o.keys->source, s->attempt, "fate");
	for (size_t i = 0; i < s->n_multi; i++) {
		size_t n = s->multi_site[i];
		const struct store_piece piece = {p[n].fate.p, p[n].fate.len};
		if (s->o.site[n].state == SITE_ACTIVE)
			store_multi_put_at(s->multi, i, key, &(struct store_src){&piece, 1}, NULL, NULL);
	}
	store_multi_wait(s->multi);
}

/* How the put of a fate ended. That it is there already is no failure when it is this one: then an earlier put of it did arrive. */
static int fate_put(struct session *s, size_t multi_no, const struct pending *p, struct err *why)
{
	const struct session_site *site = &s->o.site[s->multi_site[multi_no]];
	const struct err *failed = store_multi_error(s->multi, multi_no);
	char key[STORE_KEY_MAX + 1];
	if (failed && failed->code == ERR_EXISTS)
		return store_put_same(site->store, key_attempt(key, s->o.keys->source, s->attempt, "fate"), p->fate.p, p->fate.len, why);
	if (!failed)
		return 0;
	*why = *failed;
	return err_rc(why);
}

static int decide(struct session *s, size_t multi_no, const struct pending *p, const struct buf *object, struct err *err)
{
	struct session_site *site = &s->o.site[s->multi_site[multi_no]];
	struct err why = ERR_INIT;
	int rc = fate_put(s, multi_no, p, &why);
	if (rc) {
		session_site_fail(site, rc == -ERR_EXISTS ? SITE_LOST : SITE_FAILED, &why);
		if (rc == -ERR_EXISTS)
			pending_remove(s->dir, site->name);
		return 0; /* the other sites decide for themselves */
	}
	site->state = SITE_COMMITTED;
	head_set_at(&s->head, site->name, s->attempt, p->depth);
	if ((rc = head_save(s->dir, &s->head, err)))
		return rc;
	session_put_copy(s, site, s->lineage, s->seq, object);
	pending_remove(s->dir, site->name);
	return 0;
}

/* Every so many deltas: put one merge of those that the run began with (and of smaller merges), so that a cold start fetches few. All are of decided attempts:
 * the run buried its own. Best effort; the deltas stay. */
static void put_merge(struct session *s)
{
	char key[STORE_KEY_MAX + 1], hex[HEX_LEN];
	unsigned char digest[ID_LEN];
	struct err why = ERR_INIT;
	CLEAN(buf_release) struct buf plain = BUF_INIT(INDEX_MAX);
	CLEAN(buf_release) struct buf sealed = BUF_INIT(INDEX_MAX);
	if (s->deltas / MERGE_DELTAS == (s->deltas + s->deltas_put) / MERGE_DELTAS)
		return;
	if (index_merge(s->index, INDEX_GROWN, &plain, &why) || sealed_put(&s->o.keys->s.idx_key, s->o.keys->repo, s->o.keys->source, SEALED_MERGE, plain.p, plain.len, &sealed, &why)) {
		log_msg(LOG_DEBUG, "the index is not merged: %s", why.msg);
		return;
	}
	sha256_of(sealed.p, sealed.len, digest);
	hex_encode(hex, digest, ID_LEN);
	key_fmt(key, "i/%s/m.%s", s->o.keys->source, hex);
	for (size_t i = 0; i < s->o.n_sites; i++)
		if (s->o.site[i].state == SITE_COMMITTED && store_put_bytes(s->o.site[i].store, key, sealed.p, sealed.len, &why))
			log_msg(LOG_WARN, "%s", why.msg);
}

int session_commit(struct session *s, const struct snapshot_facts *facts, const struct pack_list *packs, const unsigned char plan_digest[ID_LEN], struct session_result *ret, struct err *err)
{
	CLEAN(snapshot_release) struct snapshot snap = {0};
	CLEAN(buf_release) struct buf object = BUF_INIT(SIGNED_MAX);
	int rc = session_flush(s, err);
	if (rc)
		return rc;
	fill_snapshot(s, facts, packs, plan_digest, &snap);
	if ((rc = snapshot_encode(&snap, s->o.keys, &object, err)))
		return rc;
	struct pending *p = xcalloc(s->o.n_sites + 1, sizeof *p);
	rc = pending_begin(s->dir, err);
	for (size_t i = 0; i < s->o.n_sites && !rc; i++) {
		buf_init(&p[i].fate, FATE_MAX);
		if (s->o.site[i].state == SITE_ACTIVE)
			rc = make_pending(s, i, &snap, &object, packs, &p[i], err);
	}
	if (!rc)
		rc = pending_publish(s->dir, err);
	if (!rc) {
		head_advance(&s->head, s->lineage, s->seq, snap.digest);
		rc = head_save(s->dir, &s->head, err);
	}
	memset(ret, 0, sizeof *ret);
	ret->seq = s->seq;
	ret->new_lineage = s->new_lineage;
	memcpy(ret->lineage, s->lineage, NAME16);
	memcpy(ret->digest, snap.digest, ID_LEN);
	if (!rc)
		put_fates(s, p);
	for (size_t i = 0; i < s->n_multi && !rc; i++) {
		size_t n = s->multi_site[i];
		if (s->o.site[n].state != SITE_ACTIVE)
			continue;
		rc = decide(s, i, &p[n], &object, err);
		ret->committed += s->o.site[n].state == SITE_COMMITTED;
	}
	for (size_t i = 0; i < s->o.n_sites; i++)
		pending_release(&p[i]);
	free(p);
	if (rc)
		return rc;
	put_merge(s);
	if (!ret->committed)
		return err_set(err, ERR_UNREACHABLE, "source '%s': the snapshot is signed but no site took it; the next run offers it again", s->o.keys->source);
	s->own.n = 0;
	return own_attempts_save(s->dir, &s->own, err);
}
