/* What is pending, what each site has, and which sites take part in a run. */
#include "backup/session_internal.h"

#include <string.h>
#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"
#include "store/site_object.h"

static struct session_site *site_by_name(struct session *s, const char *name)
{
	for (size_t i = 0; i < s->o.n_sites; i++)
		if (str_eq(s->o.site[i].name, name))
			return &s->o.site[i];
	return NULL;
}

/* --- what was signed before and not yet seen decided --- */


static bool offer(void *arg, struct pending *p)
{
	struct session *s = arg;
	char key[STORE_KEY_MAX + 1];
	struct err why = ERR_INIT;
	if (!s->head.present || p->seq > s->head.seq)
		head_advance(&s->head, p->lineage, p->seq, p->digest);
	struct session_site *site = site_by_name(s, p->site);
	if (!site)
		return true; /* the plan no longer has it */
	if (!site->store)
		return false;
	int rc = store_put_same(site->store, key_attempt(key, s->o.keys->source, p->attempt, "fate"), p->fate.p, p->fate.len, &why);
	if (rc == -ERR_EXISTS)
		return true; /* someone declared it dead first */
	if (rc) {
		session_site_fail(site, SITE_UNREACHABLE, &why);
		return false;
	}
	CLEAN(fate_release) struct fate f = {0};
	if (!fate_decode(p->fate.p, p->fate.len, &f, &why))
		session_put_copy(s, site, p->lineage, p->seq, &f.snapshot);
	if (!memcmp(p->digest, s->head.digest, ID_LEN))
		head_set_at(&s->head, p->site, p->attempt, p->depth);
	return true;
}

/* Attempts that this host began and did not finish must not be decided later by anyone else's hand in its name. */
static void bury_own(struct session *s)
{
	static const char dead[] = "holdfast1 fate dead\n";
	char key[STORE_KEY_MAX + 1];
	for (size_t a = 0; a < s->own.n; a++)
		for (size_t i = 0; i < s->o.n_sites; i++) {
			struct session_site *site = &s->o.site[i];
			struct err why = ERR_INIT;
			if (!site->store || site->state == SITE_UNREACHABLE)
				continue;
			int rc = store_put_bytes(site->store, key_attempt(key, s->o.keys->source, s->own.name[a], "fate"), dead, sizeof dead - 1, &why);
			if (rc && rc != -ERR_EXISTS)
				session_site_fail(site, SITE_UNREACHABLE, &why);
		}
}

int session_settle(struct session *s, struct err *err)
{
	int rc = pending_each(s->dir, offer, s, err);
	if (!rc && s->head.present)
		rc = head_save(s->dir, &s->head, err);
	if (!rc)
		bury_own(s);
	return rc;
}

/* --- what each site has --- */

static int set_ahead(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	(void)key;
	(void)st;
	(void)err;
	*(bool *)arg = true;
	return 1;
}

/* Is there a snapshot of our lineage later than the last one we signed? Then this host was rolled back. */
static int look_ahead(struct session *s, struct session_site *site, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1], after[STORE_KEY_MAX + 1];
	key_snapshot(after, 's', s->o.keys->source, s->head.lineage, s->head.seq);
	key_fmt(prefix, "s/%s/%s/", s->o.keys->source, s->head.lineage);
	int rc = store_list(site->store, prefix, after, set_ahead, &site->ahead, err);
	return rc < 0 ? rc : 0;
}

static void take_newest(struct session_site *site, const struct attempt_info *a)
{
	site->has_newest = true;
	memcpy(site->newest, a->attempt, NAME16);
	memcpy(site->newest_digest, a->snapshot_digest, ID_LEN);
	site->newest_seq = a->snap.seq;
}

/* A snapshot of our lineage that we do not know: of a number not signed here yet, or another one under the last number. */
static bool is_ahead(const struct session *s, const struct attempt_info *a)
{
	return s->head.present && a->committed && str_eq(a->snap.lineage, s->head.lineage) && a->snap.seq >= s->head.seq &&
	       memcmp(a->snapshot_digest, s->head.digest, ID_LEN) != 0;
}

/* The pack list of what the run would build on, which is needed in any case. */
static int resolve(struct session *s, struct session_site *site, const char *attempt, struct err *err)
{
	struct pack_list *base = &s->base[site - s->o.site];
	pack_list_release(base);
	return attempt_packs(site->store, s->o.keys->source, attempt, base, &site->depth, err);
}

static bool is_head(const struct session *s, const struct session_site *site, const struct attempt_info *a)
{
	return s->head.present && !site->ahead && !memcmp(a->snapshot_digest, s->head.digest, ID_LEN);
}

/* The head itself beats all, then the highest number; NULL: none is left. */
static const struct attempt_info *best_attempt(const struct session *s, const struct session_site *site, const struct attempts *all, const bool *refused)
{
	const struct attempt_info *best = NULL;
	for (size_t i = 0; i < all->n; i++) {
		const struct attempt_info *a = &all->a[i];
		if (!a->committed || refused[i])
			continue;
		if (is_head(s, site, a))
			return a;
		if (!a->expired && (!best || a->snap.seq > best->snap.seq))
			best = a;
	}
	return best;
}

/* A fate or list that is damaged is passed over: another attempt may have committed the same snapshot. */
static int survey_attempts(struct session *s, struct session_site *site, struct err *err)
{
	CLEAN(attempts_release) struct attempts all = {0};
	size_t bad;
	int rc = attempts_load(site->store, s->o.cfg, s->o.keys->source, &all, &bad, err);
	if (rc)
		return rc;
	CLEAN(free_ptr) bool *refused = xcalloc(all.n + 1, sizeof *refused);
	for (size_t i = 0; i < all.n; i++)
		site->ahead |= is_ahead(s, &all.a[i]);
	for (const struct attempt_info *a; (a = best_attempt(s, site, &all, refused));) {
		struct err why = ERR_INIT;
		rc = resolve(s, site, a->attempt, &why);
		if (!rc) {
			take_newest(site, a);
			if (is_head(s, site, a) && !s->o.dry_run)
				head_set_at(&s->head, site->name, a->attempt, site->depth);
			return 0;
		}
		if (!site_object_is_damage(why.code)) {
			*err = why;
			return rc;
		}
		log_msg(LOG_WARN, "%s: %s; nothing of this attempt is reused", site->name, why.msg);
		refused[a - all.a] = true;
	}
	return 0;
}

static int survey_site(struct session *s, struct session_site *site, struct err *err)
{
	const struct head_at *at = s->head.present ? head_find(&s->head, site->name) : NULL;
	struct err why = ERR_INIT;
	int rc = s->head.present ? look_ahead(s, site, err) : 0;
	if (rc)
		return rc;
	if (!at || site->ahead)
		return survey_attempts(s, site, err);
	rc = resolve(s, site, at->attempt, &why);
	if (rc && site_object_is_damage(why.code)) {
		log_msg(LOG_WARN, "%s: the attempt that committed snapshot %llu is gone from it or damaged: %s", site->name, (unsigned long long)s->head.seq, why.msg);
		return survey_attempts(s, site, err);
	}
	if (rc) {
		*err = why;
		return rc;
	}
	site->has_newest = true;
	memcpy(site->newest, at->attempt, NAME16);
	memcpy(site->newest_digest, s->head.digest, ID_LEN);
	site->newest_seq = s->head.seq;
	return 0;
}

static void survey(struct session *s)
{
	for (size_t i = 0; i < s->o.n_sites; i++) {
		struct session_site *site = &s->o.site[i];
		struct err why = ERR_INIT;
		if (!site->store)
			site->state = SITE_UNREACHABLE;
		if (site->state == SITE_UNREACHABLE)
			continue;
		if (survey_site(s, site, &why))
			session_site_fail(site, SITE_UNREACHABLE, &why);
	}
}

static bool at_head(const struct session *s, const struct session_site *site)
{
	return s->head.present && site->has_newest && !memcmp(site->newest_digest, s->head.digest, ID_LEN);
}

/* The site whose newest snapshot the run builds on: one that has our head, else the one with the highest seq. NULL: none has any. */
static const struct session_site *best_site(const struct session *s, const struct session_site **ret_ahead, size_t *ret_reachable)
{
	const struct session_site *best = NULL;
	for (size_t i = 0; i < s->o.n_sites; i++) {
		const struct session_site *site = &s->o.site[i];
		if (site->state == SITE_UNREACHABLE)
			continue;
		++*ret_reachable;
		if (site->ahead)
			*ret_ahead = site;
		if (!site->has_newest)
			continue;
		bool mine = at_head(s, site) && !*ret_ahead, other = best && at_head(s, best) && !*ret_ahead;
		if (!best || (mine && !other) || (mine == other && site->newest_seq > best->newest_seq))
			best = site;
	}
	return best;
}

static int no_site(const struct session *s, struct err *err)
{
	const struct err *first = s->o.n_sites ? &s->o.site[0].err : NULL;
	err_set(err, ERR_UNREACHABLE, "source '%s': no site can be reached (%s)", s->o.keys->source, first && first->msg[0] ? first->msg : "none is given");
	return err_hint(err, "the run can be repeated; nothing was written");
}

/* Which snapshot the run builds on, and which sites take part. */
int session_choose(struct session *s, struct err *err)
{
	const struct session_site *ahead = NULL;
	size_t reachable = 0;
	survey(s);
	const struct session_site *best = best_site(s, &ahead, &reachable);
	uint64_t top = s->head.present ? s->head.seq : 0;
	if (!reachable)
		return no_site(s, err);
	if (best) {
		s->has_target = true;
		memcpy(s->target, best->newest_digest, ID_LEN);
		top = MAX(top, best->newest_seq);
	}
	/* where the last snapshot signed here is committed at none that can be reached, all that can take part */
	bool lost_head = s->head.present && s->head.committed && best && !at_head(s, best);
	for (size_t i = 0; i < s->o.n_sites; i++) {
		struct session_site *site = &s->o.site[i];
		if (site->state == SITE_UNREACHABLE)
			continue;
		bool same = best ? site->has_newest && !memcmp(site->newest_digest, s->target, ID_LEN) : true;
		site->state = same || lost_head ? SITE_ACTIVE : SITE_BEHIND;
	}
	s->new_lineage = !s->head.present || ahead;
	s->seq = top + 1;
	if (s->new_lineage) {
		rng_hex(s->lineage, 8);
		s->has_found = s->has_target;
		memcpy(s->found, s->target, ID_LEN);
	} else {
		memcpy(s->lineage, s->head.lineage, NAME16);
	}
	if (ahead)
		log_msg(LOG_WARN, "site %s has snapshots of source '%s' later than this host's last: was it restored from an old image? A new lineage begins", ahead->name, s->o.keys->source);
	return 0;
}
