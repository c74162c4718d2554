/* What stands beside packs: expiries, fates, intents, copies of snapshots, receipts, keys, and the chain they make. */
#include "verify/check_internal.h"

#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "repo/fields.h"
#include "store/site_object.h"

/* An object that cannot be had: damage is told, all else is the error. */
static int tell_lost(struct check *c, const char *key, const struct err *why, struct err *err)
{
	if (!check_is_damage(why->code)) {
		*err = *why;
		return err_rc(err);
	}
	check_find_object(c, why->code == ERR_MISSING ? FIND_MISSING : FIND_CORRUPT, key, NULL, 0, why->msg);
	return 0;
}

static void tell_bad(struct check *c, const char *key, const struct err *why)
{
	check_find_object(c, FIND_CORRUPT, key, NULL, 0, why->msg);
}

struct objects { /* below a prefix of `skip` bytes */
	struct check *c;
	struct store_keys k;
	size_t skip;
	check_object_fn fn;
};

static int take_object(void *arg, size_t i, struct buf *b, const struct err *why, struct err *err)
{
	const struct objects *o = arg;
	const char *key = o->k.key[i];
	int rc = check_cancelled(o->c->o, err);

	if (rc)
		return rc;
	if (!b)
		return tell_lost(o->c, key, why, err);
	o->fn(o->c, key, key + o->skip, b);
	return 0;
}

int check_each_object(struct check *c, const char *letter, check_object_fn fn, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	struct objects o = {.c = c, .fn = fn};
	int rc = store_list_all(c->st, key_fmt(prefix, "%s/%s/", letter, c->source), &o.k, err);

	o.skip = strlen(prefix);
	if (!rc)
		rc = store_get_each(c->st, (const char *const *)o.k.key, o.k.n, SIGNED_MAX, take_object, &o, err);
	store_keys_release(&o.k);
	return rc;
}

static struct attempt_info *find_attempt(struct check *c, const char *name)
{
	for (size_t lo = 0, hi = c->all.n; lo < hi;) {
		size_t mid = (lo + hi) / 2;
		int order = strcmp(c->all.a[mid].attempt, name);

		if (!order)
			return &c->all.a[mid];
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* --- expiries --- */

/* The object itself, or what stands in for it. */
static int read_expiry(struct check *c, const char *key, struct expiry_of *of, struct err *err)
{
	struct err wrong = ERR_INIT, why = ERR_INIT;
	int rc = site_object_judge(c->st, key, SIGNED_MAX, expiry_accept, of, &wrong, &why);

	if (!rc && wrong.code && wrong.code != ERR_MISSING)
		check_find(c, FIND_MENDED, key, NULL, 0, "%s; another object stands in for it", wrong.msg);
	if (!rc)
		return 0;
	if (!check_is_damage(why.code)) {
		*err = why;
		return rc;
	}
	char what[sizeof why.msg + 80];

	(void)snprintf(what, sizeof what, "%s; its attempt does not count as expired", why.msg);
	check_find_object(c, rc == -ERR_MISSING ? FIND_MISSING : FIND_CORRUPT, key, NULL, 0, what);
	return 1;
}

static int take_expiry(struct check *c, const char *key, const char *name, struct err *err)
{
	struct expiry_of of = {.cfg = c->cfg, .source = c->source, .attempt = name, .bytes = BUF_INIT(SIGNED_MAX)};
	int rc = read_expiry(c, key, &of, err);

	buf_release(&of.bytes);
	if (rc)
		return MIN(rc, 0);
	struct attempt_info *a = find_attempt(c, name);

	if (a)
		a->expired = true;
	if (of.x.has_snapshot)
		idmap_set(&c->explained, of.x.snapshot, 1);
	return 0;
}

int check_expiries(struct check *c, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	int rc = store_list_all(c->st, key_fmt(prefix, "x/%s/", c->source), &k, err);

	/* a name alone proves nothing: an expiry counts when its signature holds */
	for (size_t i = 0; i < c->all.n; i++)
		c->all.a[i].expired = false;
	for (size_t i = 0; i < k.n && !rc; i++) {
		const char *rest = k.key[i] + strlen(prefix);

		rc = check_cancelled(c->o, err);
		if (!rc && strlen(rest) == NAME16 - 1) /* others lie beside one */
			rc = take_expiry(c, k.key[i], rest, err);
	}
	return rc;
}

/* --- attempts --- */

/* The intent of the i-th attempt. */
static int take_open(void *arg, size_t i, struct buf *b, const struct err *lost, struct err *err)
{
	struct check *c = arg;
	const struct attempt_info *a = &c->all.a[i];
	struct attempt_open open = {0};
	struct err why = ERR_INIT;
	char key[STORE_KEY_MAX + 1];
	int rc = check_cancelled(c->o, err);

	key_attempt(key, c->source, a->attempt, "open");
	/* one that was never declared here may be dead all the same: its host made sure of it */
	if (rc || (!b && lost->code == ERR_MISSING && a->decided && !a->committed))
		return rc;
	if (!b)
		return tell_lost(c, key, lost, err);
	if (attempt_open_decode(c->cfg, b->p, b->len, &open, &why))
		tell_bad(c, key, &why);
	else if (!str_eq(open.source, c->source) || !str_eq(open.attempt, a->attempt))
		check_find(c, FIND_CORRUPT, key, NULL, 0, "is the intent of attempt %s of source '%s'", open.attempt,
		        open.source);
	attempt_open_release(&open);
	return 0;
}

/* A fate that was not taken for a commit: it must be missing or dead. */
static int check_fate(struct check *c, const struct attempt_info *a, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(FATE_MAX);
	CLEAN(fate_release) struct fate f = {0};
	struct snapshot s = {0};
	struct err why = ERR_INIT;
	char key[STORE_KEY_MAX + 1];
	int rc = store_get(c->st, key_attempt(key, c->source, a->attempt, "fate"), &b, &why);

	if (rc == -ERR_MISSING)
		return 0;
	if (rc && !check_is_damage(why.code)) {
		*err = why;
		return rc;
	}
	if (!rc)
		rc = fate_decode(b.p, b.len, &f, &why);
	if (!rc && f.committed)
		rc = snapshot_decode(c->cfg, f.snapshot.p, f.snapshot.len, &s, &why);
	if (rc)
		tell_bad(c, key, &why);
	else if (f.committed && !str_eq(s.source, c->source))
		check_find(c, FIND_CORRUPT, key, &s.seq, 1, "holds a snapshot of source '%s'", s.source);
	snapshot_release(&s);
	return 0;
}

static int check_attempts(struct check *c, struct err *err)
{
	struct store_keys open = {.key = xcalloc(c->all.n + 1, sizeof *open.key), .n = c->all.n};
	char key[STORE_KEY_MAX + 1];

	for (size_t i = 0; i < open.n; i++)
		open.key[i] = xstrdup(key_attempt(key, c->source, c->all.a[i].attempt, "open"));
	int rc = store_get_each(c->st, (const char *const *)open.key, open.n, SIGNED_MAX, take_open, c, err);

	store_keys_release(&open);
	for (size_t i = 0; i < c->all.n && !rc; i++)
		if (!c->all.a[i].committed)
			rc = check_fate(c, &c->all.a[i], err);
	return rc;
}

/* --- copies and receipts --- */

static const struct attempt_info *by_digest(const struct check *c, const unsigned char digest[ID_LEN])
{
	uint32_t no = idmap_get(&c->by_digest, digest);

	return no ? &c->all.a[no - 1] : NULL;
}

/* A committed snapshot of this place in the chain. */
static const struct attempt_info *by_place(const struct check *c, const char *lineage, uint64_t seq)
{
	for (size_t i = 0; i < c->all.n; i++)
		if (c->all.a[i].committed && c->all.a[i].snap.seq == seq && str_eq(c->all.a[i].snap.lineage, lineage))
			return &c->all.a[i];
	return NULL;
}

/* No fate here holds these bytes: are they a snapshot all the same? */
static void take_lone_copy(struct check *c, const char *key, const struct buf *b)
{
	struct err why = ERR_INIT;
	struct snapshot s = {0};
	char want[STORE_KEY_MAX + 1];

	if (snapshot_decode(c->cfg, b->p, b->len, &s, &why)) {
		tell_bad(c, key, &why);
	} else if (!str_eq(s.source, c->source) || !str_eq(key, key_snapshot(want, 's', c->source, s.lineage, s.seq))) {
		check_find(c, FIND_CORRUPT, key, &s.seq, 1, "is a copy of snapshot %llu of lineage %s of source '%s'",
		        (unsigned long long)s.seq, s.lineage, s.source);
	} else if (by_place(c, s.lineage, s.seq)) {
		check_find(c, FIND_FORK, key, &s.seq, 1, "another snapshot is committed as number %llu of lineage %s",
		        (unsigned long long)s.seq, s.lineage);
	} else if (!idmap_get(&c->explained, s.digest)) { /* of one that has expired nothing else need be there */
		c->ret->snapshots++;
		c->ret->snapshots_broken++;
		check_find(c, FIND_BROKEN, key, &s.seq, 1, "no fate here commits this snapshot");
	}
	snapshot_release(&s);
}

static int key_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

bool check_listed(const struct store_keys *k, const char *key)
{
	return k->n && bsearch(&key, k->key, k->n, sizeof key, key_cmp);
}

static void take_copy(struct check *c, const char *key, const char *rest, const struct buf *b)
{
	unsigned char digest[ID_LEN];
	char want[STORE_KEY_MAX + 1];

	(void)rest;
	sha256_of(b->p, b->len, digest);
	const struct attempt_info *a = by_digest(c, digest);

	if (!a && check_listed(&c->copies, key))
		take_lone_copy(c, key, b);
	else if (a && !str_eq(key, key_snapshot(want, 's', c->source, a->snap.lineage, a->snap.seq)))
		check_find(c, FIND_CORRUPT, key, &a->snap.seq, 1, "is a copy of what belongs to %s", want);
}

static int check_copies(struct check *c, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	int rc = check_each_object(c, "s", take_copy, err);

	if (!rc)
		rc = store_list_all(c->st, key_fmt(key, "s/%s/", c->source), &k, err);
	for (size_t i = 0; i < c->n_snaps && !rc; i++) {
		const struct snapshot *s = &c->snap[i].a->snap;
		const char *want = key_snapshot(key, 's', c->source, s->lineage, s->seq);

		if (c->snap[i].leader == i && !check_listed(&k, want))
			check_find_object(c, FIND_MISSING, want, &s->seq, 1, "the copy of a committed snapshot is not there");
	}
	return rc;
}

static void take_receipt(struct check *c, const char *key, const char *rest, const struct buf *b)
{
	struct err why = ERR_INIT;
	CLEAN(json_release) json_t *o = NULL;
	char lineage[NAME16], want[STORE_KEY_MAX + 1];
	unsigned char digest[ID_LEN];
	uint64_t seq;

	(void)rest;
	if (log_text_read(c->cfg, "receipt", b->p, b->len, &o, &why) || fields_name16(o, "lineage", "receipt", lineage, &why) ||
	        fields_u64(o, "seq", "receipt", FIELDS_INT_MAX, &seq, &why) ||
	        json_get_hex(o, "snapshot", "receipt", digest, ID_LEN, &why)) {
		tell_bad(c, key, &why);
		return;
	}
	const struct attempt_info *a = by_place(c, lineage, seq);

	if (!str_eq(key, key_snapshot(want, 'r', c->source, lineage, seq)))
		check_find(c, FIND_CORRUPT, key, &seq, 1, "is the receipt of %s", want);
	else if (a && memcmp(a->snapshot_digest, digest, ID_LEN) != 0)
		check_find(
		        c, FIND_FORK, key, &seq, 1, "the receipt is for another snapshot than the one committed here");
}

/* --- the chain --- */

static int chain_cmp(const void *pa, const void *pb)
{
	const struct attempt_info *a = *(struct attempt_info *const *)pa, *b = *(struct attempt_info *const *)pb;
	int order = strcmp(a->snap.lineage, b->snap.lineage);

	if (!order && a->snap.seq != b->snap.seq)
		order = a->snap.seq < b->snap.seq ? -1 : 1;
	return order ? order : memcmp(a->snapshot_digest, b->snapshot_digest, ID_LEN);
}

/* before: the one that stands before it in its lineage here, or NULL. */
static void check_link(struct check *c, const struct attempt_info *a, const struct attempt_info *before)
{
	const struct snapshot *s = &a->snap;
	const struct attempt_info *named = s->has_previous ? by_digest(c, s->previous) : NULL;
	char key[STORE_KEY_MAX + 1];

	key_attempt(key, c->source, a->attempt, "fate");
	if (before && before->snap.seq == s->seq)
		check_find(c, FIND_FORK, key, &s->seq, 1, "another snapshot is committed as number %llu of lineage %s",
		        (unsigned long long)s->seq, s->lineage);
	else if (before && !s->has_previous)
		check_find(c, FIND_CORRUPT, key, &s->seq, 1,
		        "names no snapshot before it, but number %llu is of the same lineage",
		        (unsigned long long)before->snap.seq);
	else if (named && (!str_eq(named->snap.lineage, s->lineage) || named->snap.seq >= s->seq))
		check_find(c, FIND_CORRUPT, key, &s->seq, 1,
		        "the snapshot before it is said to be number %llu of lineage %s",
		        (unsigned long long)named->snap.seq, named->snap.lineage);
	else if (s->has_previous && !named && s->previous_committed && !idmap_get(&c->explained, s->previous))
		check_find(c, FIND_BEHIND, key, &s->seq, 1, "the snapshot before it was committed and is not here");
}

static void check_chain(struct check *c)
{
	CLEAN(free_ptr) const struct attempt_info **at = xcalloc(c->all.n + 1, sizeof *at);
	const struct attempt_info *before = NULL;
	size_t n = 0;

	for (size_t i = 0; i < c->all.n; i++)
		if (c->all.a[i].committed)
			at[n++] = &c->all.a[i];
	if (n)
		qsort(at, n, sizeof *at, chain_cmp);
	for (size_t i = 0; i < n; i++) {
		if (before && !memcmp(before->snapshot_digest, at[i]->snapshot_digest, ID_LEN))
			continue; /* the same in another attempt */
		if (before && !str_eq(before->snap.lineage, at[i]->snap.lineage))
			before = NULL;
		check_link(c, at[i], before);
		before = at[i];
	}
}

/* --- keys --- */

static bool key_is_there(const struct store_keys *k, size_t skip, uint32_t epoch)
{
	for (size_t i = 0; i < k->n; i++) {
		char *end;
		unsigned long n = strtoul(k->key[i] + skip, &end, 10);

		if (n == epoch && (!*end || *end == '.'))
			return true;
	}
	return false;
}

/* Without the sealed keys of its epoch nobody can open a snapshot. */
static int check_keys(struct check *c, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1], key[STORE_KEY_MAX + 32];
	CLEAN(store_keys_release) struct store_keys k = {0};
	int rc = store_list_all(c->st, key_fmt(prefix, "k/%s/", c->source), &k, err);
	uint32_t told = 0;

	for (size_t i = 0; i < c->n_snaps && !rc; i++) {
		const struct snapshot *s = &c->snap[i].a->snap;

		if (c->snap[i].leader != i || key_is_there(&k, strlen(prefix), s->epoch))
			continue;
		c->snap[i].broken = true;
		snprintf(key, sizeof key, "%s%u", prefix, s->epoch);
		if (told != s->epoch)
			check_find(c, FIND_MISSING, key, &s->seq, 1,
			        "the sealed keys of snapshots from number %llu on are not there",
			        (unsigned long long)s->seq);
		told = s->epoch;
	}
	return rc;
}

int check_objects(struct check *c, struct err *err)
{
	int rc;

	for (size_t i = c->all.n; i-- > 0;)
		if (c->all.a[i].committed)
			idmap_set(&c->by_digest, c->all.a[i].snapshot_digest, (uint32_t)i + 1);
	if ((rc = check_attempts(c, err)) || (rc = check_copies(c, err)) ||
	        (rc = check_each_object(c, "r", take_receipt, err)))
		return rc;
	check_chain(c);
	return check_keys(c, err);
}

/* --- digests --- */

struct digest_sink {
	struct sha256 *h;
	const struct check_opts *o;
	uint64_t n;
	struct buf *head; /* or NULL */
};

static int digest_write(void *arg, const void *p, size_t n, struct err *err)
{
	struct digest_sink *d = arg;

	sha256_update(d->h, p, n);
	d->n += n;
	if (d->head && d->head->len < CHECK_HEAD)
		buf_add(d->head, p, MIN(n, CHECK_HEAD - d->head->len));
	return check_cancelled(d->o, err);
}

int check_digest_of(struct check *c, const char *key, struct sha256 *h, unsigned char digest[ID_LEN],
        uint64_t *ret_bytes, struct buf *head, struct err *err)
{
	struct digest_sink d = {.h = h, .o = c->o, .head = head};
	struct store_sink sink = {digest_write, &d};

	sha256_reset(h);
	int rc = store_get_sink(c->st, key, (struct store_range){0}, &sink, err);

	*ret_bytes = d.n;
	if (!rc)
		sha256_final(h, digest);
	return rc;
}

bool check_index_digest(const char *rest, unsigned char digest[ID_LEN])
{
	char hex[HEX_LEN] = "";
	size_t n = strnlen(rest, HEX_LEN - 1);

	memcpy(hex, rest, n);
	return hex_decode(digest, ID_LEN, hex) && (!rest[n] || (rest[n] == '.' && rest[n + 1] && !rest[n + 1 + strspn(rest + n + 1, "0123456789")]));
}

/* b: the digest of its bytes. */
static int take_index(void *arg, size_t i, struct buf *b, const struct err *why, struct err *err)
{
	const struct objects *o = arg;
	const char *key = o->k.key[i];
	unsigned char want[ID_LEN];
	int rc = check_cancelled(o->c->o, err);

	if (rc)
		return rc;
	if (!check_index_digest(key + o->skip, want))
		check_find(o->c, FIND_CORRUPT, key, NULL, 0, "is not named by a digest");
	else if (!b && why->code != ERR_MISSING)
		return tell_lost(o->c, key, why, err);
	else if (b && memcmp(want, b->p, ID_LEN) != 0)
		check_find_object(o->c, FIND_CORRUPT, key, NULL, 0, "its bytes are not those its name says");
	return 0;
}

int check_index_names(struct check *c, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	struct objects o = {.c = c};
	CLEAN(sha256_free_ptr) struct sha256 *h = sha256_new();
	int rc = store_list_all(c->st, key_fmt(prefix, "i/%s/m.", c->source), &o.k, err);

	o.skip = strlen(prefix);
	if (!rc && c->o->at_site)
		rc = store_digest_each(c->st, (const char *const *)o.k.key, o.k.n, take_index, &o, err);
	for (size_t i = 0; i < o.k.n && !rc && !c->o->at_site; i++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(ID_LEN);
		unsigned char digest[ID_LEN];
		struct err why = ERR_INIT;
		uint64_t n;
		bool lost = check_digest_of(c, o.k.key[i], h, digest, &n, NULL, &why) != 0;

		if (!lost)
			buf_add(&b, digest, sizeof digest);
		rc = take_index(&o, i, lost ? NULL : &b, &why, err);
	}
	store_keys_release(&o.k);
	return rc;
}
