/* Every live snapshot's lists, each list once, against the chunks that were met. */
#include <string.h>
#include "base/str.h"
#include "verify/check_internal.h"
#include "repo/list_int.h"
#include "restore/reader_internal.h"
#include "base/tmp_file.h"

enum { LIST_UNSEEN, LIST_WHOLE, LIST_BROKEN };

struct walk {
	struct check_trees *t;
	struct opener *opener;
	struct buf sealed;
	struct buf plain[LIST_HEIGHT_MAX];
	enum stream_id stream;
	unsigned char bad[ID_LEN]; /* first that cannot be had */
	bool has_bad;
};
struct below { /* items of one list */
	struct walk *w;
	unsigned level;
};

static void note_bad(struct walk *w, const unsigned char id[ID_LEN])
{
	if (!w->has_bad)
		memcpy(w->bad, id, ID_LEN);
	w->has_bad = true;
}

static int fetch_list(
        struct walk *w, const struct list_rec *rec, const unsigned char id[ID_LEN], struct buf *out, struct err *err)
{
	struct index_entry e = {
	        .sealed_len = rec->sealed_len, .plain_len = rec->plain_len, .type = CHUNK_LIST, .comp = rec->comp};
	struct pack_coder *coder = opener_coder(w->opener, rec->epoch, err);
	int rc;

	if (!coder)
		return err_rc(err);
	memcpy(e.id, id, ID_LEN);
	buf_clear(&w->sealed);
	buf_clear(out);
	if ((rc = buf_reserve(&w->sealed, rec->sealed_len, err)) || (rc = buf_reserve(out, rec->plain_len, err)) ||
	        (rc = tmp_file_read(w->t->spool, w->sealed.p, rec->sealed_len, rec->at, err)))
		return rc;
	pack_coder_key(coder, rec->session, rec->salt);
	rc = pack_open_chunk(coder, &e, w->sealed.p, out->p, err);
	out->len = rc ? 0 : rec->plain_len;
	return rc;
}

static int visit(void *arg, const struct list_item *it, struct err *err);

/* A list not walked yet: what it says, and all below. */
static int walk_new(
        struct walk *w, struct list_rec *rec, unsigned level, const struct list_item *claim, struct err *err)
{
	struct below b = {w, level};
	bool outer_bad = w->has_bad;
	struct err why = ERR_INIT;
	int rc = check_cancelled(w->t->c->o, err);

	if (rc)
		return rc;
	w->has_bad = false;
	w->t->c->ret->lists++;
	rc = fetch_list(w, rec, claim->id, &w->plain[level], &why);
	if (!rc)
		rc = list_each(w->stream, level, claim, &w->plain[level], visit, &b, &why);
	if (rc && why.code != ERR_CORRUPT && why.code != ERR_FORMAT) {
		*err = why;
		return rc;
	}
	if (rc) /* the list itself is not what its parent says */
		note_bad(w, claim->id);
	rec->state = w->has_bad ? LIST_BROKEN : LIST_WHOLE;
	rec->length = claim->length;
	rec->entries = claim->entries;
	rec->content = claim->content;
	memcpy(rec->bad, w->bad, ID_LEN);
	w->has_bad |= outer_bad;
	return 0;
}

static int walk_list(struct walk *w, unsigned level, const struct list_item *claim, struct err *err)
{
	uint32_t no = idmap_get(&w->t->lists, claim->id);
	struct list_rec *rec = no ? &w->t->rec[no - 1] : NULL;

	if (!rec) {
		note_bad(w, claim->id);
		return 0;
	}
	if (rec->state == LIST_UNSEEN)
		return walk_new(w, rec, level, claim, err);
	if (rec->length != claim->length || rec->entries != claim->entries || rec->content != claim->content)
		note_bad(w, claim->id);
	else if (rec->state == LIST_BROKEN)
		note_bad(w, rec->bad);
	return 0;
}

/* What stands at a level: 0 a data chunk, else a list of the level below. */
static int walk_item(struct walk *w, unsigned height, const struct list_item *it, struct err *err)
{
	if (height)
		return walk_list(w, height - 1, it, err);
	if (it->length > CHUNK_PLAIN_MAX ||
	        idmap_get(&w->t->met, it->id) != MET(stream_chunk_type(w->stream), it->length))
		note_bad(w, it->id);
	return 0;
}

static int visit(void *arg, const struct list_item *it, struct err *err)
{
	struct below *b = arg;

	return walk_item(b->w, b->level, it, err);
}

static int walk_snapshot(struct walk *w, struct check_snap *s, struct err *err)
{
	struct check *c = w->t->c;
	struct snapshot *snap = &s->a->snap;
	const struct source_secrets *keys = reader_secrets(w->t->r, snap->epoch);
	struct err why = ERR_INIT;
	char key[STORE_KEY_MAX + 1], hex[HEX_LEN];
	int rc = keys ? snapshot_open_facts(snap, c->cfg->repo, &keys->idx_key, &why)
	              : err_set(&why, ERR_MISSING, "keys of epoch %u do not open", snap->epoch);

	key_attempt(key, c->source, s->a->attempt, "fate");
	if (rc) {
		s->broken = true;
		check_find(c, FIND_CORRUPT, key, &snap->seq, 1, "%s", why.msg);
		return 0;
	}
	w->has_bad = false;
	for (enum stream_id id = 0; id < STREAM_COUNT; id++) {
		const struct stream_root *root = &snap->facts.root[id];
		struct list_item it = {.length = root->length, .entries = root->entries, .content = root->content};

		if (!root->present)
			continue;
		memcpy(it.id, root->id, ID_LEN);
		w->stream = id;
		rc = root->height > LIST_HEIGHT_MAX ? err_set(err, ERR_CORRUPT, "list tree of height %u", root->height)
		                                    : walk_item(w, root->height, &it, err);
		if (rc)
			return rc;
	}
	if (w->has_bad) {
		s->broken = true;
		hex_encode(hex, w->bad, ID_LEN);
		check_find(c, FIND_BROKEN, key, &snap->seq, 1,
		        "chunk %s and what needs it cannot be had from this site", hex);
	}
	return 0;
}

int check_walk(struct check_trees *t, struct err *err)
{
	struct walk w = {.t = t, .opener = opener_new(t->r), .sealed = BUF_INIT(PACK_MAX)};
	int rc = 0;

	for (size_t i = 0; i < LIST_HEIGHT_MAX; i++)
		buf_init(&w.plain[i], CHUNK_PLAIN_MAX);
	for (size_t i = 0; i < t->c->n_snaps && !rc; i++)
		if (t->c->snap[i].leader == i)
			rc = walk_snapshot(&w, &t->c->snap[i], err);
	for (size_t i = 0; i < LIST_HEIGHT_MAX; i++)
		buf_release(&w.plain[i]);
	buf_release(&w.sealed);
	opener_free(w.opener);
	return rc;
}
