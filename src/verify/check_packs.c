/* Packs: read once by several threads, then compared with what committed snapshots name. */
#include "verify/check_internal.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "repo/pack_lists.h"

#define WORKERS_MAX 64
#define DISTANT_WORKERS 4

static int pack_cmp(const void *pa, const void *pb)
{
	const struct check_pack *a = pa, *b = pb;
	int order = memcmp(a->digest, b->digest, ID_LEN);

	return order ? order : strcmp(a->attempt, b->attempt);
}

int check_list_packs(struct check *c, struct err *err)
{
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	int rc = store_list_all(c->st, key_fmt(prefix, "p/%s/", c->source), &k, err);

	if (rc)
		return rc;
	c->pack = xcalloc(k.n + 1, sizeof *c->pack);
	for (size_t i = 0; i < k.n; i++) {
		struct check_pack *p = &c->pack[c->n_packs];
		const char *rest = k.key[i] + strlen(prefix);

		if (strlen(rest) != NAME16 + 2 * ID_LEN || rest[NAME16 - 1] != '/' ||
		        !hex_decode(p->digest, ID_LEN, rest + NAME16)) {
			c->ret->stray++;
			continue;
		}
		memcpy(p->attempt, rest, NAME16 - 1);
		p->size = p->cost = k.size[i];
		c->n_packs++;
	}
	if (c->n_packs)
		qsort(c->pack, c->n_packs, sizeof *c->pack, pack_cmp);
	for (size_t i = c->n_packs; i-- > 0;)
		idmap_set(&c->pack_no, c->pack[i].digest, (uint32_t)i + 1);
	return 0;
}

/* --- workers --- */

struct pool {
	struct check *c;
	struct check_pack **order; /* by cost, the largest first */
	const struct check_ops *ops;
	pthread_mutex_t mutex; /* of all below, and of progress */
	size_t next;
	uint64_t done;
	bool stop;
	struct err err;
};

static void *work(void *arg)
{
	struct pool *q = arg;
	void *worker = q->ops->open(q->ops->arg);

	pthread_mutex_lock(&q->mutex);
	while (!q->stop && q->next < q->c->n_packs) {
		struct check_pack *p = q->order[q->next++];
		struct err why = ERR_INIT;
		uint64_t bytes = 0;

		pthread_mutex_unlock(&q->mutex);
		int rc = check_cancelled(q->c->o, &why);

		if (!rc)
			rc = q->ops->pack(worker, p, &bytes, &why);
		pthread_mutex_lock(&q->mutex);
		if (rc) {
			if (!q->stop)
				q->err = why;
			q->stop = true;
			if (q->ops->halt)
				q->ops->halt(q->ops->arg);
			break;
		}
		q->c->ret->packs += p->state != PACK_GONE;
		q->c->ret->pack_bytes += bytes;
		q->done++;
		if (q->c->o->progress)
			q->c->o->progress(q->c->o->arg, q->done, q->c->n_packs, q->c->ret->pack_bytes);
	}
	pthread_mutex_unlock(&q->mutex);
	while (q->ops->help && q->ops->help(worker))
		continue;
	q->ops->close(worker);
	return NULL;
}

static size_t worker_count(const struct check *c, const struct check_ops *ops)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = c->o->workers ? c->o->workers : (size_t)MAX(cores, 1L);

	if (!(c->st->caps & STORE_THREADSAFE))
		return 1;
	if (c->st->caps & STORE_REMOTE) /* while some wait for the network, others compute */
		n = MAX(n, ops->distant ? ops->distant : (size_t)DISTANT_WORKERS);
	if (!ops->help || !c->n_packs)
		n = MIN(n, c->n_packs);
	return MAX(MIN(n, (size_t)WORKERS_MAX), (size_t)1);
}

static int cost_cmp(const void *a, const void *b)
{
	const struct check_pack *x = *(struct check_pack *const *)a, *y = *(struct check_pack *const *)b;

	if (x->cost != y->cost)
		return x->cost > y->cost ? -1 : 1;
	return x < y ? -1 : x > y;
}

int check_run_packs(struct check *c, const struct check_ops *ops, struct err *err)
{
	CLEAN(free_ptr) struct check_pack **order = xcalloc(c->n_packs + 1, sizeof(struct check_pack *));
	struct pool q = {.c = c, .ops = ops, .order = order};
	pthread_t thread[WORKERS_MAX];
	size_t n = worker_count(c, ops), started = 0;

	for (size_t i = 0; i < c->n_packs; i++)
		order[i] = &c->pack[i];
	if (c->n_packs)
		qsort(order, c->n_packs, sizeof *order, cost_cmp);

	pthread_mutex_init(&q.mutex, NULL);
	while (started + 1 < n && !pthread_create(&thread[started], NULL, work, &q))
		started++;
	work(&q); /* one worker is the caller: it goes on even where no thread can be had */
	for (size_t i = 0; i < started; i++)
		pthread_join(thread[i], NULL);
	pthread_mutex_destroy(&q.mutex);
	if (!q.stop)
		return 0;
	*err = q.err;
	return err_rc(err);
}

/* --- what snapshots need --- */

/* Is a copy of it there whole? */
static bool is_whole(const struct check *c, const unsigned char digest[ID_LEN])
{
	uint32_t no = idmap_get(&c->pack_no, digest);

	for (size_t i = no - 1; no && i < c->n_packs && !memcmp(c->pack[i].digest, digest, ID_LEN); i++)
		if (c->pack[i].state == PACK_WHOLE)
			return true;
	return false;
}

/* Is something to be told of it, so that those who need it are to be named? */
static bool is_told(const struct check *c, const unsigned char digest[ID_LEN])
{
	uint32_t no = idmap_get(&c->pack_no, digest);

	for (size_t i = no - 1; no && i < c->n_packs && !memcmp(c->pack[i].digest, digest, ID_LEN); i++)
		if (c->pack[i].state != PACK_WHOLE || c->pack[i].unindexed || c->pack[i].misplaced)
			return true;
	return !no;
}

static void note_need(struct check *c, const unsigned char digest[ID_LEN], uint64_t seq)
{
	uint32_t no = idmap_get(&c->need_no, digest);

	if (!no) {
		c->need = xgrow(c->need, c->n_needs, &c->cap_needs, sizeof *c->need);
		c->need[c->n_needs++] = (struct check_need){0};
		memcpy(c->need[c->n_needs - 1].digest, digest, ID_LEN);
		no = (uint32_t)c->n_needs;
		idmap_set(&c->need_no, digest, no);
	}
	struct check_need *need = &c->need[no - 1];

	if (need->n < NEEDS_MAX)
		need->seq[need->n++] = seq;
	else
		need->more++;
}

/* False when a pack of the list is not there whole. */
static bool take_list(struct check *c, const struct pack_list *l, uint64_t seq)
{
	bool whole = true;

	for (size_t i = 0; i < l->n; i++) {
		if (is_told(c, l->digest[i])) {
			note_need(c, l->digest[i], seq);
			whole &= is_whole(c, l->digest[i]);
		} else if (!idmap_get(&c->need_no, l->digest[i])) {
			idmap_set(&c->need_no, l->digest[i], NEED_NONE);
		}
	}
	return whole;
}

/* All attempts that hold one snapshot: any list of theirs will do, they are the same. */
static int check_group(struct check *c, struct pack_lists *lists, size_t first, size_t end, struct err *err)
{
	bool resolved = false;

	for (size_t i = first; i < end; i++) {
		struct attempt_info *a = c->snap[i].a;
		const struct listed *l;
		struct err why = ERR_INIT;
		char key[STORE_KEY_MAX + 1];
		int rc = pack_lists_get(lists, a->attempt, a->snap.packs, &l, &why);

		if (rc && !check_is_damage(why.code)) {
			*err = why;
			return rc;
		}
		if (rc)
			check_find_object(c, FIND_CORRUPT, key_attempt(key, c->source, a->attempt, "fate"), &a->snap.seq, 1,
			        why.msg);
		else if (!resolved)
			c->snap[first].broken = !take_list(c, &l->list, a->snap.seq);
		resolved |= !rc;
	}
	if (!resolved)
		c->snap[first].broken = true;
	return check_cancelled(c->o, err);
}

/* --- what is told of packs --- */

static const struct check_need *need_of(const struct check *c, const unsigned char digest[ID_LEN], bool *ret_live)
{
	uint32_t no = idmap_get(&c->need_no, digest);

	*ret_live = no != 0;
	return no && no != NEED_NONE ? &c->need[no - 1] : NULL;
}

static const struct attempt_info *attempt_of(const struct check *c, const char *name)
{
	size_t lo = 0, hi = c->all.n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (strcmp(c->all.a[mid].attempt, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->all.n && str_eq(c->all.a[lo].attempt, name) ? &c->all.a[lo] : NULL;
}

bool check_is_live(const struct check *c, const unsigned char digest[ID_LEN])
{
	return idmap_get(&c->need_no, digest) != 0;
}

static void tell_pack(struct check *c, const struct check_pack *p)
{
	const struct attempt_info *a = attempt_of(c, p->attempt);
	bool live;
	const struct check_need *need = need_of(c, p->digest, &live);
	const uint64_t *seq = need ? need->seq : NULL;
	size_t n = need ? need->n : 0;
	char key[STORE_KEY_MAX + 1];

	key_pack(key, c->source, p->attempt, p->digest);
	if (!live && !(a && (a->committed || !a->decided)))
		c->ret->stray++;
	if (p->state == PACK_DAMAGED && live && is_whole(c, p->digest))
		check_find(c, FIND_MENDED, key, seq, n, "%s; a whole copy of it lies under another attempt", p->why);
	else if (p->state == PACK_DAMAGED && live)
		check_find(c, FIND_CORRUPT, key, seq, n, "%s", p->why);
	else if (p->state == PACK_DAMAGED)
		check_find_object(c, FIND_CORRUPT, key, seq, n, p->why);
	if (live && p->misplaced)
		check_find(c, FIND_CORRUPT, key, seq, n,
		        "the index describes %u of its chunks otherwise than the pack itself", p->misplaced);
	if (live && p->unindexed)
		check_find(c, FIND_MISSING, key, seq, n,
		        "%u of its chunks are in no index object (a reader finds them by the pack's own footer)",
		        p->unindexed);
}

int check_pack_lists(struct check *c, struct err *err)
{
	struct pack_lists *lists = pack_lists_new(c->st, c->source);
	int rc = 0;

	for (size_t i = 0, end; i < c->n_snaps && !rc; i = end) {
		for (end = i + 1; end < c->n_snaps && c->snap[end].leader == i;)
			end++;
		rc = check_group(c, lists, i, end, err);
	}
	pack_lists_free(lists);
	if (rc)
		return rc;
	for (size_t i = 0; i < c->n_packs; i++)
		tell_pack(c, &c->pack[i]);
	for (size_t i = 0; i < c->n_needs; i++) {
		const struct check_need *need = &c->need[i];
		uint32_t no = idmap_get(&c->pack_no, need->digest);
		char hex[HEX_LEN];

		hex_encode(hex, need->digest, ID_LEN);
		if (!is_whole(c, need->digest))
			pack_list_add(&c->ret->lost, need->digest);
		/* one that is there and damaged was told above */
		if (!no || (c->pack[no - 1].state == PACK_GONE && !is_whole(c, need->digest)))
			check_find(c, FIND_MISSING, hex, need->seq, need->n,
			        "a pack of this digest is named by %zu snapshots and is not there",
			        need->n + need->more);
	}
	return 0;
}
