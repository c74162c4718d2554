#include "ops/backlog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"

#define HINT_MAX (4u << 20)
#define SITES_MAX 64 /* bits of a mask; a plan has fewer */

struct backlog {
	const struct job *j;
	char *path;
	json_t *sites;     /* site: source: row */
	json_t *snapshots; /* source: number of them, surveyed by this process */
};

/* --- the hint --- */

struct backlog *backlog_open(const struct job *j)
{
	struct backlog *b = xcalloc(1, sizeof *b);
	CLEAN(buf_release) struct buf text = BUF_INIT(HINT_MAX);
	CLEAN(json_release) json_t *o = NULL;
	CLEAN(free_ptr) char *state = fs_join(j->root->state, j->plan->name);
	b->j = j;
	b->snapshots = json_object();
	b->path = fs_join(state, ".sites.json"); /* no source has such a name */
	if (!fs_read(b->path, &text, NULL) && !json_parse(text.p, text.len, HINT_MAX, b->path, &o, NULL))
		b->sites = json_incref(json_object_get(o, "sites"));
	if (!json_is_object(b->sites)) {
		json_decref(b->sites);
		b->sites = json_object();
	}
	return b;
}

static int save(const struct backlog *b, struct err *err)
{
	CLEAN(json_release) json_t *o = json_pack("{s:i, s:O}", "v", 1, "sites", b->sites);
	CLEAN(buf_release) struct buf text = BUF_INIT(HINT_MAX);
	CLEAN(free_ptr) char *dir = fs_join(b->j->root->state, b->j->plan->name);
	int rc = json_canonical(o, &text, err);
	if (!rc)
		rc = fs_mkdirs(dir, 0700, err);
	return rc ? rc : fs_replace(b->path, text.p, text.len, 0600, err);
}

void backlog_close(struct backlog **b)
{
	struct err why = ERR_INIT;
	if (!*b)
		return;
	if (!(*b)->j->dry_run && save(*b, &why))
		log_msg(LOG_WARN, "what is known of the sites is not kept: %s", why.msg);
	json_decref((*b)->sites);
	json_decref((*b)->snapshots);
	free((*b)->path);
	free(*b);
	*b = NULL;
}

static int64_t number(const json_t *o, const char *key, int64_t otherwise)
{
	const json_t *v = json_object_get(o, key);
	return json_is_integer(v) && json_integer_value(v) >= 0 ? json_integer_value(v) : otherwise;
}

static int64_t time_at(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	int64_t ns;
	return s && clock_parse(s, &ns) ? ns : 0;
}

struct backlog_row backlog_get(const struct backlog *b, const char *site, const char *source)
{
	const json_t *o = json_object_get(json_object_get(b->sites, site), source);
	return (struct backlog_row){
		.behind = number(o, "behind", -1),
		.newest_seq = (uint64_t)number(o, "newest_seq", 0),
		.newest_ns = time_at(o, "newest"),
		.asked_ns = time_at(o, "asked"),
	};
}

static void set(struct backlog *b, const char *site, const char *source, const struct backlog_row *r)
{
	json_t *o = json_object_get(b->sites, site);
	if (!json_is_object(o)) {
		o = json_object();
		json_object_set_new(b->sites, site, o);
	}
	json_object_set_new(o, source, json_pack("{s:o, s:I, s:o, s:o}", "behind", r->behind < 0 ? json_null() : json_integer(r->behind), "newest_seq", (json_int_t)r->newest_seq, "newest",
		json_time(r->newest_ns), "asked", json_time(r->asked_ns)));
}

void backlog_committed(struct backlog *b, const char *site, const char *source, uint64_t seq, int64_t start_ns)
{
	set(b, site, source, &(struct backlog_row){.newest_seq = seq, .newest_ns = start_ns, .asked_ns = clock_wall_ns()});
}

void backlog_missed(struct backlog *b, const char *site, const char *source)
{
	struct backlog_row r = backlog_get(b, site, source);
	if (r.behind < 0)
		return;
	r.behind++;
	set(b, site, source, &r);
}

/* --- asking --- */

struct seen { /* a snapshot, and which sites have it */
	unsigned char digest[ID_LEN];
	uint64_t seq, where;
	int64_t start_ns;
	char lineage[NAME16];
};
struct survey {
	struct backlog *b;
	const struct sites *sites;
	const struct cfg *cfg;
	const char *source;
	struct seen *v;
	size_t n, cap;
	uint64_t asked;                    /* sites that answered */
	struct backlog_row row[SITES_MAX]; /* of those */
};

static int by_digest(const void *a, const void *b)
{
	return memcmp(((const struct seen *)a)->digest, ((const struct seen *)b)->digest, ID_LEN);
}

/* Several attempts and sites may have the same snapshot. */
static void unite(struct survey *s)
{
	size_t kept = 0;
	if (!s->n)
		return;
	qsort(s->v, s->n, sizeof *s->v, by_digest);
	for (size_t i = 0; i < s->n; i++) {
		if (kept && !by_digest(&s->v[kept - 1], &s->v[i])) {
			s->v[kept - 1].where |= s->v[i].where;
			s->v[kept - 1].start_ns = MAX(s->v[kept - 1].start_ns, s->v[i].start_ns);
		} else {
			s->v[kept++] = s->v[i];
		}
	}
	s->n = kept;
}

static int ask(struct survey *s, size_t i, const struct secret *idx, struct err *err)
{
	CLEAN(attempts_release) struct attempts all = {0};
	size_t bad;
	int rc = attempts_load(s->sites->site[i].store, s->cfg, s->source, &all, &bad, err);
	for (size_t k = 0; !rc && k < all.n; k++) {
		struct attempt_info *a = &all.a[k];
		if (!a->committed || a->expired)
			continue;
		s->v = xgrow(s->v, s->n, &s->cap, sizeof *s->v);
		struct seen *e = &s->v[s->n++];
		*e = (struct seen){.seq = a->snap.seq, .where = UINT64_C(1) << i};
		memcpy(e->digest, a->snapshot_digest, ID_LEN);
		memcpy(e->lineage, a->snap.lineage, NAME16);
		if (idx->p && !snapshot_open_facts(&a->snap, s->cfg->repo, idx, NULL))
			e->start_ns = a->snap.facts.start;
	}
	if (!rc)
		s->asked |= UINT64_C(1) << i;
	return rc;
}

/* Where the keys of a source are elsewhere: when the controller was told of the commit. */
static int64_t receipt_time(const struct survey *s, const struct seen *e)
{
	char key[STORE_KEY_MAX + 1];
	CLEAN(free_ptr) unsigned char(*logs)[ED25519_PUB_LEN] = NULL;
	size_t n = cfg_log_keys(s->cfg, &logs);
	key_snapshot(key, 'r', s->source, e->lineage, e->seq);
	for (size_t i = 0; n && i < s->sites->n && i < SITES_MAX; i++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
		CLEAN(json_release) json_t *o = NULL;
		if (e->where >> i & 1 && !store_get(s->sites->site[i].store, key, &b, NULL) &&
		        !signed_read("receipt", b.p, b.len, s->cfg->repo, (const unsigned char(*)[ED25519_PUB_LEN])logs, n, &o, NULL, NULL))
			return time_at(o, "time");
	}
	return 0;
}

static void judge_site(struct survey *s, size_t i)
{
	const char *site = s->sites->site[i].name;
	struct backlog_row r = {.asked_ns = clock_wall_ns()}, last = backlog_get(s->b, site, s->source);
	struct seen *newest = NULL;
	int64_t later = 0;
	bool asked = s->asked >> i & 1;
	for (size_t k = 0; k < s->n; k++) {
		struct seen *e = &s->v[k];
		bool has = e->where >> i & 1;
		r.behind += !has;
		later += e->seq > last.newest_seq;
		if (has && (!newest || e->seq > newest->seq))
			newest = e;
	}
	if (!asked) { /* what it lacked then, or all that came since */
		if (last.behind >= 0)
			last.behind = MAX(last.behind, later);
		r = last;
	} else if (newest) {
		if (!newest->start_ns)
			newest->start_ns = receipt_time(s, newest);
		r.newest_seq = newest->seq;
		r.newest_ns = newest->start_ns;
	}
	set(s->b, site, s->source, &r);
}

int backlog_survey(struct backlog *b, const struct sites *sites, const struct cfg *cfg, const char *source, struct err *err)
{
	struct survey s = {.b = b, .sites = sites, .cfg = cfg, .source = source};
	struct source_keys keys = {0};
	int rc = 0;
	if (sites->n > SITES_MAX)
		return err_set(err, ERR_UNSUPPORTED, "a plan with more than %d sites", SITES_MAX);
	if (host_keys_load(b->j, source, &keys, NULL)) /* they are on the host of the source: receipts tell the time */
		keys = (struct source_keys){0};
	for (size_t i = 0; i < sites->n; i++) {
		struct err why = ERR_INIT;
		if (!sites->site[i].store || !ask(&s, i, &keys.s.idx_key, &why))
			continue;
		log_msg(LOG_WARN, "%s", why.msg);
		if (!rc) {
			*err = why;
			rc = err_rc(err);
		}
	}
	source_keys_release(&keys);
	unite(&s);
	json_object_set_new(b->snapshots, source, json_integer((json_int_t)s.n));
	for (size_t i = 0; i < sites->n; i++)
		judge_site(&s, i);
	free(s.v);
	return rc;
}

/* --- what it tells --- */

int64_t backlog_age_ms(const struct backlog *b, const char *site, const char *source)
{
	struct backlog_row mine = backlog_get(b, site, source);
	int64_t newest = 0;
	if (mine.behind <= 0)
		return mine.behind;
	for (size_t i = 0; i < b->j->plan->n_sites; i++)
		newest = MAX(newest, backlog_get(b, b->j->plan->sites[i].name, source).newest_ns);
	return newest && mine.newest_ns ? MAX(newest - mine.newest_ns, 0) / 1000000 : -1;
}

size_t backlog_snapshots(const struct backlog *b, const char *source)
{
	return (size_t)number(b->snapshots, source, 0);
}

json_t *backlog_json(const struct backlog *b, const char *site)
{
	int64_t behind = 0, age = 0;
	for (size_t i = 0; i < b->j->plan->n_sources; i++) {
		const char *source = b->j->plan->sources[i].name;
		struct backlog_row r = backlog_get(b, site, source);
		int64_t ms = backlog_age_ms(b, site, source);
		behind = behind < 0 || r.behind < 0 ? -1 : behind + r.behind;
		age = age < 0 || ms < 0 ? -1 : MAX(age, ms);
	}
	return json_pack("{s:o, s:o}", "behind", behind < 0 ? json_null() : json_integer(behind), "behind_ms", age < 0 ? json_null() : json_integer(age));
}
