#include "repo/session.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"
#include "repo/head.h"

#define DEPTH_MAX 63     /* every 64th pack list is in full */
#define MERGE_DELTAS 64  /* as many index deltas, and a merge of what was there before is put */

struct session {
	struct session_opts o;
	char *dir, *index_dir;
	int lock_fd;
	struct head head;
	struct own_attempts own; /* dead ones of this host, to resume; then the new one */
	char attempt[NAME16], lineage[NAME16];
	uint64_t seq;
	bool new_lineage, has_found;
	unsigned char found[ID_LEN];
	unsigned char target[ID_LEN]; /* the newest committed snapshot that the run builds on */
	bool has_target;
	struct pack_list *base;   /* per site: list of its newest snapshot */
	struct pack_list usable;  /* packs that may be reused at every active site */
	bool *usable_no;          /* the same by index pack number */
	struct index *index;
	struct store_multi *multi;
	size_t *multi_site;       /* index in multi -> site */
	size_t n_multi;
	unsigned beats;
	size_t deltas, deltas_put; /* index deltas at the site when the run began, and those of the run */
};

const char *site_state_name(enum site_state s)
{
	static const char *const names[] = {"active", "committed", "behind", "unreachable", "failed", "lost"};
	return names[s];
}

const char *session_attempt(const struct session *s)
{
	return s->attempt;
}

struct index *session_index(struct session *s)
{
	return s->index;
}

bool session_usable(const struct session *s, uint32_t pack_no)
{
	return s->usable_no[pack_no];
}

bool session_head_digest(const struct session *s, unsigned char digest[ID_LEN])
{
	if (!s->head.present || !s->head.committed)
		return false;
	memcpy(digest, s->head.digest, ID_LEN);
	return true;
}

static void site_fail(struct session_site *site, enum site_state state, const struct err *why)
{
	site->state = state;
	site->err = *why;
}

static struct session_site *site_by_name(struct session *s, const char *name)
{
	for (size_t i = 0; i < s->o.n_sites; i++)
		if (str_eq(s->o.site[i].name, name))
			return &s->o.site[i];
	return NULL;
}

/* --- what was signed before and not yet seen decided --- */

static void put_copy(struct session *s, struct session_site *site, const char *lineage, uint64_t seq, const struct buf *snapshot)
{
	char key[STORE_KEY_MAX + 1];
	struct err why = ERR_INIT;
	if (store_put_same(site->store, key_snapshot(key, 's', s->o.keys->source, lineage, seq), snapshot->p, snapshot->len, &why))
		log_msg(LOG_WARN, "%s (the snapshot is committed all the same)", why.msg);
}

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
		site_fail(site, SITE_UNREACHABLE, &why);
		return false;
	}
	CLEAN(fate_release) struct fate f = {0};
	if (!fate_decode(p->fate.p, p->fate.len, &f, &why))
		put_copy(s, site, p->lineage, p->seq, &f.snapshot);
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
				site_fail(site, SITE_UNREACHABLE, &why);
		}
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

static int survey_attempts(struct session *s, struct session_site *site, struct err *err)
{
	CLEAN(attempts_release) struct attempts all = {0};
	size_t bad;
	int rc = attempts_load(site->store, s->o.cfg, s->o.keys->source, &all, &bad, err);
	if (rc)
		return rc;
	for (size_t i = 0; i < all.n; i++)
		site->ahead |= is_ahead(s, &all.a[i]);
	for (size_t i = 0; i < all.n; i++) {
		const struct attempt_info *a = &all.a[i];
		if (!a->committed)
			continue;
		if (s->head.present && !site->ahead && !memcmp(a->snapshot_digest, s->head.digest, ID_LEN)) {
			take_newest(site, a); /* the head itself beats all */
			unsigned depth = 0;
			struct pack_list l = {0};
			if (!attempt_packs(site->store, s->o.keys->source, a->attempt, &l, &depth, NULL) && !s->o.dry_run)
				head_set_at(&s->head, site->name, a->attempt, depth);
			pack_list_release(&l);
			break;
		}
		if (!a->expired && (!site->has_newest || a->snap.seq > site->newest_seq))
			take_newest(site, a);
	}
	return 0;
}

static int survey_site(struct session *s, struct session_site *site, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	struct store_stat st;
	const struct head_at *at = s->head.present ? head_find(&s->head, site->name) : NULL;
	int rc = s->head.present ? look_ahead(s, site, err) : 0;
	if (rc)
		return rc;
	if (!at || site->ahead)
		return survey_attempts(s, site, err);
	rc = store_stat(site->store, key_attempt(key, s->o.keys->source, at->attempt, "fate"), &st, err);
	if (rc == -ERR_MISSING) {
		log_msg(LOG_WARN, "%s: the attempt that committed snapshot %llu is gone from it", site->name, (unsigned long long)s->head.seq);
		return survey_attempts(s, site, err);
	}
	if (rc)
		return rc;
	site->has_newest = true;
	memcpy(site->newest, at->attempt, NAME16);
	memcpy(site->newest_digest, s->head.digest, ID_LEN);
	site->newest_seq = s->head.seq;
	site->depth = at->depth;
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
			site_fail(site, SITE_UNREACHABLE, &why);
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
static int choose_sites(struct session *s, struct err *err)
{
	const struct session_site *ahead = NULL;
	size_t reachable = 0;
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

/* --- declaring, and what may be reused --- */

static int put_open(struct session *s, struct session_site *site, struct err *err)
{
	char key[STORE_KEY_MAX + 1];
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);
	struct attempt_open o = {.time = s->o.now, .uses = xcalloc(s->own.n + 1, sizeof *o.uses)};
	str_copy(o.source, sizeof o.source, s->o.keys->source);
	memcpy(o.attempt, s->attempt, NAME16);
	memcpy(o.run, s->o.run, sizeof o.run);
	if (site->has_newest)
		memcpy(o.uses[o.n_uses++], site->newest, NAME16);
	for (size_t i = 0; i + 1 < s->own.n; i++) /* the last is the new one itself */
		memcpy(o.uses[o.n_uses++], s->own.name[i], NAME16);
	int rc = attempt_open_encode(&o, s->o.keys->repo, &s->o.keys->sign, &b, err);
	attempt_open_release(&o);
	return rc ? rc : store_put_bytes(site->store, key_attempt(key, s->o.keys->source, s->attempt, "open"), b.p, b.len, err);
}

static bool is_expired(const struct store_keys *x, const char *attempt)
{
	for (size_t i = 0; i < x->n; i++) {
		const char *slash = strrchr(x->key[i], '/');
		if (slash && str_eq(slash + 1, attempt))
			return true;
	}
	return false;
}

/*
 * Packs that an attempt of this host brought here whole: the pack, and the delta that describes it. Another site may have got the one
 * without the other, and a copy whose index does not know its packs is slow to restore from.
 */
static int brought(struct session *s, struct session_site *site, const char *attempt, struct pack_list *to, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	struct index *ix = index_new();
	int rc = index_load_attempt(site->store, s->o.keys->source, attempt, s->o.keys->repo, &s->o.keys->s.idx_key, ix, err);
	if (!rc)
		rc = store_list_all(site->store, key_fmt(prefix, "p/%s/%s/", s->o.keys->source, attempt), &k, err);
	for (size_t i = 0; !rc && i < k.n; i++) {
		unsigned char d[ID_LEN];
		if (hex_decode(d, ID_LEN, k.key[i] + strlen(prefix)) && index_pack_find(ix, d) != UINT32_MAX)
			pack_list_add(to, d);
	}
	index_free(ix);
	return rc;
}

/* What the site lets us reuse: its newest snapshot's packs and our dead attempts', but for what is expired. Asked after `open`. */
static int site_usable(struct session *s, size_t n, struct pack_list *ret, struct err *err)
{
	struct session_site *site = &s->o.site[n];
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys x = {0};
	int rc = store_list_all(site->store, key_fmt(prefix, "x/%s/", s->o.keys->source), &x, err);
	if (!rc && site->has_newest)
		rc = attempt_packs(site->store, s->o.keys->source, site->newest, &s->base[n], &site->depth, err);
	if (rc)
		return rc;
	if (site->has_newest && !is_expired(&x, site->newest))
		for (size_t i = 0; i < s->base[n].n; i++)
			pack_list_add(ret, s->base[n].digest[i]);
	for (size_t i = 0; !rc && i + 1 < s->own.n; i++)
		if (!is_expired(&x, s->own.name[i]))
			rc = brought(s, site, s->own.name[i], ret, err);
	pack_list_sort(ret);
	return rc;
}

static void intersect(struct pack_list *a, const struct pack_list *b)
{
	size_t n = 0;
	for (size_t i = 0; i < a->n; i++)
		if (pack_list_has(b, a->digest[i]))
			memmove(a->digest[n++], a->digest[i], ID_LEN);
	a->n = n;
}

static int declare(struct session *s, struct err *err)
{
	bool first = true;
	rng_hex(s->attempt, 8);
	if (!s->own.name)
		s->own.name = xcalloc(OWN_ATTEMPTS_MAX + 1, sizeof *s->own.name);
	if (s->own.n == OWN_ATTEMPTS_MAX) { /* forget the oldest: its packs are brought again where needed */
		memmove(s->own.name[0], s->own.name[1], (OWN_ATTEMPTS_MAX - 1) * sizeof *s->own.name);
		s->own.n--;
	}
	memcpy(s->own.name[s->own.n++], s->attempt, NAME16);
	int rc = s->o.dry_run ? 0 : own_attempts_save(s->dir, &s->own, err);
	for (size_t i = 0; !rc && i < s->o.n_sites; i++) {
		struct session_site *site = &s->o.site[i];
		CLEAN(pack_list_release) struct pack_list mine = {0};
		struct err why = ERR_INIT;
		if (site->state != SITE_ACTIVE)
			continue;
		if ((!s->o.dry_run && put_open(s, site, &why)) || site_usable(s, i, &mine, &why)) {
			site_fail(site, SITE_FAILED, &why);
			continue;
		}
		if (first) {
			s->usable = mine;
			mine = (struct pack_list){0};
		} else {
			intersect(&s->usable, &mine);
		}
		first = false;
	}
	return rc;
}

static int load_index(struct session *s, struct err *err)
{
	struct err last = ERR_INIT;
	for (size_t i = 0; i < s->o.n_sites; i++) {
		struct session_site *site = &s->o.site[i];
		struct index_loaded got;
		if (site->state != SITE_ACTIVE)
			continue;
		if (!index_load(site->store, s->o.keys->source, s->o.keys->repo, &s->o.keys->s.idx_key, s->index_dir, s->index, &got, &last)) {
			s->deltas = got.deltas;
			uint32_t n = index_packs(s->index);
			s->usable_no = xcalloc((size_t)n + 1, sizeof *s->usable_no);
			for (uint32_t p = 0; p < n; p++) {
				struct index_pack ip;
				index_pack_get(s->index, p, &ip);
				s->usable_no[p] = pack_list_has(&s->usable, ip.digest);
			}
			return 0;
		}
		site_fail(site, SITE_FAILED, &last);
	}
	if (last.code) {
		*err = last;
		return err_rc(err);
	}
	return err_set(err, ERR_UNREACHABLE, "source '%s': every site failed at the start", s->o.keys->source);
}

static void start_multi(struct session *s)
{
	struct store **st = xcalloc(s->o.n_sites + 1, sizeof *st);
	s->multi_site = xcalloc(s->o.n_sites + 1, sizeof *s->multi_site);
	for (size_t i = 0; i < s->o.n_sites; i++)
		if (s->o.site[i].state == SITE_ACTIVE) {
			s->multi_site[s->n_multi] = i;
			st[s->n_multi++] = s->o.site[i].store;
		}
	s->multi = store_multi_new(st, s->n_multi);
	free(st);
}

int session_begin(const struct session_opts *o, struct session **ret, struct err *err)
{
	struct session *s = xcalloc(1, sizeof *s);
	s->o = *o;
	s->lock_fd = -1;
	s->dir = xstrdup(o->state_dir);
	s->index_dir = fs_join(o->state_dir, "index");
	s->base = xcalloc(o->n_sites + 1, sizeof *s->base);
	s->index = index_new();
	CLEAN(free_ptr) char *lock = fs_join(s->dir, "lock");
	int rc = fs_mkdirs(s->dir, 0700, err);
	if (!rc)
		rc = fs_lock(lock, &s->lock_fd, err);
	if (!rc)
		rc = head_load(s->dir, &s->head, err);
	if (!rc)
		rc = own_attempts_load(s->dir, &s->own, err);
	if (!rc && !o->dry_run) {
		rc = pending_each(s->dir, offer, s, err);
		if (!rc && s->head.present)
			rc = head_save(s->dir, &s->head, err);
		if (!rc)
			bury_own(s);
	}
	if (!rc) {
		survey(s);
		rc = choose_sites(s, err);
	}
	if (!rc)
		rc = declare(s, err);
	if (!rc)
		rc = load_index(s, err);
	if (rc) {
		session_end(s);
		return rc;
	}
	start_multi(s);
	*ret = s;
	return 0;
}

void session_end(struct session *s)
{
	if (!s)
		return;
	store_multi_free(s->multi);
	for (size_t i = 0; i < s->o.n_sites; i++)
		pack_list_release(&s->base[i]);
	free(s->base);
	free(s->multi_site);
	free(s->usable_no);
	pack_list_release(&s->usable);
	index_free(s->index);
	head_release(&s->head);
	free(s->own.name);
	free(s->dir);
	free(s->index_dir);
	close_fd(&s->lock_fd);
	free(s);
}

void session_put(struct session *s, const char *key, const struct store_src *src, void (*done)(void *arg), void *arg)
{
	if (key[0] == 'i')
		s->deltas_put++;
	store_multi_put(s->multi, key, src, done, arg);
}

int session_flush(struct session *s, struct err *err)
{
	store_multi_wait(s->multi);
	size_t alive = 0;
	for (size_t i = 0; i < s->n_multi; i++) {
		struct session_site *site = &s->o.site[s->multi_site[i]];
		const struct err *why = store_multi_error(s->multi, i);
		if (site->state == SITE_ACTIVE && why)
			site_fail(site, SITE_FAILED, why);
		alive += site->state == SITE_ACTIVE;
	}
	if (alive)
		return 0;
	for (size_t i = 0; i < s->o.n_sites; i++)
		if (s->o.site[i].state == SITE_FAILED) {
			*err = s->o.site[i].err;
			return err_rc(err);
		}
	return err_set(err, ERR_UNREACHABLE, "source '%s': no site is left", s->o.keys->source);
}

void session_beat(struct session *s)
{
	char key[STORE_KEY_MAX + 1], what[32];
	snprintf(what, sizeof what, "beat.%u", s->beats++);
	session_put(s, key_attempt(key, s->o.keys->source, s->attempt, what), &(struct store_src){NULL, 0}, NULL, NULL);
}

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

static int decide(struct session *s, size_t n, const struct pending *p, const struct buf *object, struct err *err)
{
	struct session_site *site = &s->o.site[n];
	char key[STORE_KEY_MAX + 1];
	struct err why = ERR_INIT;
	int rc = store_put_same(site->store, key_attempt(key, s->o.keys->source, s->attempt, "fate"), p->fate.p, p->fate.len, &why);
	if (rc) {
		site_fail(site, rc == -ERR_EXISTS ? SITE_LOST : SITE_FAILED, &why);
		if (rc == -ERR_EXISTS)
			pending_remove(s->dir, site->name);
		return 0; /* the other sites decide for themselves */
	}
	site->state = SITE_COMMITTED;
	head_set_at(&s->head, site->name, s->attempt, p->depth);
	if ((rc = head_save(s->dir, &s->head, err)))
		return rc;
	put_copy(s, site, s->lineage, s->seq, object);
	pending_remove(s->dir, site->name);
	return 0;
}

/* Every so many deltas: put one merge of those that the run began with, so that a cold start fetches few. All are of decided attempts:
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
	if (index_merge(s->index, &plain, &why) || sealed_put(&s->o.keys->s.idx_key, s->o.keys->repo, s->o.keys->source, SEALED_MERGE, plain.p, plain.len, &sealed, &why)) {
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
	for (size_t i = 0; i < s->o.n_sites && !rc; i++) {
		buf_init(&p[i].fate, FATE_MAX);
		if (s->o.site[i].state == SITE_ACTIVE)
			rc = make_pending(s, i, &snap, &object, packs, &p[i], err);
	}
	if (!rc) {
		head_advance(&s->head, s->lineage, s->seq, snap.digest);
		rc = head_save(s->dir, &s->head, err);
	}
	memset(ret, 0, sizeof *ret);
	ret->seq = s->seq;
	ret->new_lineage = s->new_lineage;
	memcpy(ret->lineage, s->lineage, NAME16);
	memcpy(ret->digest, snap.digest, ID_LEN);
	for (size_t i = 0; i < s->o.n_sites && !rc; i++)
		if (s->o.site[i].state == SITE_ACTIVE) {
			rc = decide(s, i, &p[i], &object, err);
			ret->committed += s->o.site[i].state == SITE_COMMITTED;
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
