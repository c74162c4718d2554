#include "repo/snapshot.h"

#include <string.h>
#include "base/str.h"
#include "repo/fields.h"
#include "repo/list_int.h"

static const char *const STREAM_NAME[STREAM_COUNT] = {"content", "entries", "notes"};

const char *note_name(enum note_code c)
{
	static const char *const name[NOTE_CODES] = {"changed", "unreadable", "vanished", "ignored"};

	BUG_ON((unsigned)c >= NOTE_CODES);
	return name[c];
}

void snapshot_release(struct snapshot *s)
{
	buf_release(&s->sealed);
}

/* The counts, under their names: written and read by the same table. */
struct count {
	const char *key;
	size_t offset;
};
#define COUNT(field)                                                                                                   \
	{                                                                                                              \
#field, offsetof(struct snapshot_facts, field)                                                         \
	}
static const struct count COUNTS[] = {
        COUNT(files), COUNT(dirs), COUNT(others), COUNT(entries), COUNT(bytes), COUNT(added), COUNT(skipped)};

static int encode_root(json_t *streams, enum stream_id id, const struct stream_root *r, struct err *err)
{
	json_t *o;
	int rc;

	if (!r->present) {
		fields_set(streams, STREAM_NAME[id], json_null());
		return 0;
	}
	o = json_object();
	fields_set(streams, STREAM_NAME[id], o);
	fields_set(o, "id", json_hex(r->id, ID_LEN));
	if ((rc = fields_set_u64(o, "height", r->height, err)) || (rc = fields_set_u64(o, "length", r->length, err)))
		return rc;
	if (id != STREAM_ENTRIES)
		return 0;
	rc = fields_set_u64(o, "entries", r->entries, err);
	return rc ? rc : fields_set_u64(o, "content", r->content, err);
}

static int encode_facts(const struct snapshot_facts *f, struct buf *out, struct err *err)
{
	CLEAN(json_release) json_t *o = json_object();
	json_t *notes = json_object(), *streams = json_object();
	int rc;

	fields_set(o, "notes", notes);
	fields_set(o, "streams", streams);
	fields_set_time(o, "start", f->start);
	fields_set_time(o, "end", f->end);
	fields_set(o, "run", json_string(f->run));
	fields_set(o, "kind", json_string(f->is_stream ? "stream" : "paths"));
	for (size_t i = 0; i < ARRAY_LEN(COUNTS); i++) {
		uint64_t v;

		memcpy(&v, (const char *)f + COUNTS[i].offset, sizeof v);
		if ((rc = fields_set_u64(o, COUNTS[i].key, v, err)))
			return rc;
	}
	for (unsigned i = 0; i < NOTE_CODES; i++)
		if (f->notes[i] && (rc = fields_set_u64(notes, note_name(i), f->notes[i], err)))
			return rc;
	for (unsigned i = 0; i < STREAM_COUNT; i++)
		if ((rc = encode_root(streams, i, &f->root[i], err)))
			return rc;
	return json_canonical(o, out, err);
}

static int decode_root(const json_t *streams, enum stream_id id, struct stream_root *r, struct err *err)
{
	json_t *o;
	uint64_t height;
	int rc;

	if (json_is_null(json_object_get(streams, STREAM_NAME[id])))
		return 0;
	if ((rc = json_get_obj(streams, STREAM_NAME[id], "snapshot facts", &o, err)) ||
	        (rc = json_get_hex(o, "id", "snapshot facts", r->id, ID_LEN, err)) ||
	        (rc = fields_u64(o, "height", "snapshot facts", LIST_HEIGHT_MAX, &height, err)) ||
	        (rc = fields_u64(o, "length", "snapshot facts", FIELDS_INT_MAX, &r->length, err)))
		return rc;
	if (id == STREAM_ENTRIES &&
	        ((rc = fields_u64(o, "entries", "snapshot facts", FIELDS_INT_MAX, &r->entries, err)) ||
	                (rc = fields_u64(o, "content", "snapshot facts", FIELDS_INT_MAX, &r->content, err))))
		return rc;
	r->height = (unsigned)height;
	r->present = true;
	return r->length ? 0 : err_set(err, ERR_FORMAT, "snapshot facts: stream '%s' of no bytes", STREAM_NAME[id]);
}

static int decode_counts(const json_t *o, struct snapshot_facts *f, struct err *err)
{
	json_t *notes;
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(COUNTS); i++) {
		uint64_t v;

		if ((rc = fields_u64(o, COUNTS[i].key, "snapshot facts", FIELDS_INT_MAX, &v, err)))
			return rc;
		memcpy((char *)f + COUNTS[i].offset, &v, sizeof v);
	}
	rc = json_get_obj(o, "notes", "snapshot facts", &notes, err);
	for (unsigned i = 0; !rc && i < NOTE_CODES; i++)
		if (json_object_get(notes, note_name(i)))
			rc = fields_u64(notes, note_name(i), "snapshot facts", FIELDS_INT_MAX, &f->notes[i], err);
	return rc;
}

static int decode_facts(const json_t *o, struct snapshot_facts *f, struct err *err)
{
	const char *kind;
	json_t *streams;
	int rc;

	if ((rc = fields_time(o, "start", "snapshot facts", &f->start, err)) ||
	        (rc = fields_time(o, "end", "snapshot facts", &f->end, err)) ||
	        (rc = fields_run(o, "snapshot facts", f->run, err)) ||
	        (rc = json_get_str(o, "kind", "snapshot facts", &kind, err)) || (rc = decode_counts(o, f, err)) ||
	        (rc = json_get_obj(o, "streams", "snapshot facts", &streams, err)))
		return rc;
	f->is_stream = !strcmp(kind, "stream");
	if (!f->is_stream && strcmp(kind, "paths") != 0)
		return err_set(err, ERR_FORMAT, "snapshot facts: 'kind' is neither paths nor stream");
	for (unsigned i = 0; !rc && i < STREAM_COUNT; i++)
		rc = decode_root(streams, i, &f->root[i], err);
	return rc;
}

static int seal_facts(struct snapshot *s, const struct source_keys *k, struct err *err)
{
	CLEAN(buf_release) struct buf plain = BUF_INIT(SIGNED_MAX / 2);
	int rc = encode_facts(&s->facts, &plain, err);

	if (rc)
		return rc;
	buf_release(&s->sealed);
	buf_init(&s->sealed, SIGNED_MAX);
	return sealed_put(&k->s.idx_key, k->repo, k->source, SEALED_FACTS, plain.p, plain.len, &s->sealed, err);
}

int snapshot_encode(struct snapshot *s, const struct source_keys *k, struct buf *out, struct err *err)
{
	CLEAN(json_release) json_t *o = json_object();
	size_t before = out->len;
	int rc = seal_facts(s, k, err);

	if (rc)
		return rc;
	memcpy(s->source, k->source, sizeof s->source);
	s->epoch = k->epoch;
	s->size = format_round2(s->facts.bytes);
	s->noted = 0;
	for (unsigned i = 0; i < NOTE_CODES; i++)
		s->noted += s->facts.notes[i];
	fields_set(o, "source", json_string(s->source));
	fields_set(o, "lineage", json_string(s->lineage));
	fields_set(o, "epoch", json_integer(s->epoch));
	fields_set_hex_or_null(o, "previous", s->has_previous, s->previous, ID_LEN);
	fields_set(o, "previous_committed", json_boolean(s->previous_committed));
	fields_set_hex_or_null(o, "found", s->has_found, s->found, ID_LEN);
	fields_set(o, "packs", json_hex(s->packs, ID_LEN));
	fields_set(o, "plan_digest", json_hex(s->plan_digest, ID_LEN));
	fields_set(o, "sealed", json_b64(s->sealed.p, s->sealed.len));
	if ((rc = fields_set_u64(o, "seq", s->seq, err)) || (rc = fields_set_u64(o, "noted", s->noted, err)) ||
	        (rc = fields_set_u64(o, "size", s->size, err)) ||
	        (rc = signed_make("snapshot", o, k->repo, &k->sign, out, err)))
		return rc;
	s->has_facts = true;
	sha256_of(out->p + before, out->len - before, s->digest);
	return 0;
}

static int decode_sealed(const json_t *o, struct buf *out, struct err *err)
{
	const char *text;
	size_t n;
	long got;
	int rc = json_get_str(o, "sealed", "snapshot", &text, err);

	if (rc)
		return rc;
	n = strlen(text);
	buf_init(out, SIGNED_MAX);
	rc = buf_reserve(out, 3 * (n / 4) + 3, err);
	if (rc)
		return rc;
	got = base64_decode(out->p, text, n);
	if (got < 0)
		return err_set(err, ERR_FORMAT, "snapshot: 'sealed' is not base64");
	out->len = (size_t)got;
	return 0;
}

static int decode_clear(const json_t *o, struct snapshot *s, struct err *err)
{
	int rc;

	if ((rc = fields_name16(o, "lineage", "snapshot", s->lineage, err)) ||
	        (rc = fields_u64(o, "seq", "snapshot", FIELDS_INT_MAX, &s->seq, err)) ||
	        (rc = fields_hex_or_null(o, "previous", "snapshot", &s->has_previous, s->previous, ID_LEN, err)) ||
	        (rc = json_get_bool(o, "previous_committed", "snapshot", &s->previous_committed, err)) ||
	        (rc = fields_hex_or_null(o, "found", "snapshot", &s->has_found, s->found, ID_LEN, err)) ||
	        (rc = json_get_hex(o, "packs", "snapshot", s->packs, ID_LEN, err)) ||
	        (rc = json_get_hex(o, "plan_digest", "snapshot", s->plan_digest, ID_LEN, err)) ||
	        (rc = fields_u64(o, "noted", "snapshot", FIELDS_INT_MAX, &s->noted, err)) ||
	        (rc = fields_u64(o, "size", "snapshot", FIELDS_INT_MAX, &s->size, err)))
		return rc;
	return decode_sealed(o, &s->sealed, err);
}

/* With a list of keys, never with an empty one: that would mean any signer. */
static int check_signer(const struct cfg *c, const struct snapshot *s, const void *p, size_t n, struct err *err)
{
	CLEAN(free_ptr) unsigned char(*keys)[ED25519_PUB_LEN] = NULL;
	CLEAN(json_release) json_t *o = NULL;
	size_t n_keys = cfg_source_keys(c, s->source, s->epoch, &keys);

	if (!n_keys)
		return err_set(
		        err, ERR_CORRUPT, "snapshot: nobody may sign for source '%s' in epoch %u", s->source, s->epoch);
	return signed_read(
	        "snapshot", p, n, c->repo, (const unsigned char(*)[ED25519_PUB_LEN])keys, n_keys, &o, NULL, err);
}

int snapshot_decode(const struct cfg *c, const void *p, size_t n, struct snapshot *ret, struct err *err)
{
	CLEAN(json_release) json_t *o = NULL;
	CLEAN(snapshot_release) struct snapshot s = {0};
	int rc;

	*ret = s;
	/* Who may sign depends on what is written: read it first, believe it after check_signer. */
	if ((rc = signed_read("snapshot", p, n, c->repo, NULL, 0, &o, NULL, err)) ||
	        (rc = fields_id(o, "source", "snapshot", s.source, err)) ||
	        (rc = fields_epoch(o, "snapshot", &s.epoch, err)) || (rc = check_signer(c, &s, p, n, err)) ||
	        (rc = decode_clear(o, &s, err)))
		return rc;
	sha256_of(p, n, s.digest);
	*ret = s;
	s.sealed = (struct buf)BUF_INIT(0);
	return 0;
}

int snapshot_open_facts(
        struct snapshot *s, const unsigned char repo[REPO_ID_LEN], const struct secret *idx_key, struct err *err)
{
	CLEAN(buf_release) struct buf plain = BUF_INIT(SIGNED_MAX);
	CLEAN(json_release) json_t *o = NULL;
	struct snapshot_facts f = {0};
	int rc;

	if ((rc = sealed_get(idx_key, repo, s->source, SEALED_FACTS, s->sealed.p, s->sealed.len, &plain, err)) ||
	        (rc = json_parse_canonical(plain.p, plain.len, SIGNED_MAX, "snapshot facts", &o, err)) ||
	        (rc = decode_facts(o, &f, err)))
		return rc;
	s->facts = f;
	s->has_facts = true;
	return 0;
}
