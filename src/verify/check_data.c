/*
 * With an opening key: every byte of a pack hashed, every chunk opened. Memory: for each worker a window of a local pack,
 * or a fetched one (at most 64 MiB, usually 16), and a chunk (at most 16 MiB, usually 1); 20 to 40 bytes a chunk of the
 * repository, and the index. List chunks are spooled as they are, sealed, so that no pack is fetched twice for them.
 */
#include "verify/check_data.h"

#include <string.h>
#include "base/str.h"
#include "base/tmp_file.h"
#include "restore/reader_internal.h"

/* --- the index --- */

static int open_segment(struct data *d, const struct buf *sealed, struct buf *plain)
{
	static const enum sealed_kind kinds[] = {SEALED_DELTA, SEALED_MERGE};
	struct err ignored = ERR_INIT;

	for (size_t e = 0; e < d->r->n_epochs; e++)
		for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
			if (!sealed_get(&d->r->epoch[e].s.idx_key, d->c.cfg->repo, d->c.source, kinds[k], sealed->p,
			            sealed->len, plain, &ignored))
				return 0;
	return -1;
}

static void take_segment(struct data *d, const char *key, const char *name, const struct buf *sealed)
{
	CLEAN(buf_release) struct buf plain = BUF_INIT(INDEX_MAX);
	unsigned char want[ID_LEN], have[ID_LEN];
	struct err why = ERR_INIT;

	if (str_starts(name, "m.")) {
		sha256_of(sealed->p, sealed->len, have);
		if (!check_index_digest(name + 2, want) || memcmp(want, have, ID_LEN) != 0) {
			check_find_object(&d->c, FIND_CORRUPT, key, NULL, 0, "its bytes are not those its name says");
			return;
		}
	}
	if (open_segment(d, sealed, &plain))
		check_find_object(&d->c, FIND_CORRUPT, key, NULL, 0, "does not open under the source's keys");
	else if (index_add(d->index, name, &plain, &why))
		check_find_object(&d->c, FIND_CORRUPT, key, NULL, 0, why.msg);
}

/* What opening each pack will cost: the bytes that come out of it. */
static void set_costs(struct data *d)
{
	CLEAN(free_ptr) uint64_t *sum = xcalloc((size_t)index_packs(d->index) + 1, sizeof *sum);

	index_plain_sums(d->index, sum);
	for (size_t i = 0; i < d->c.n_packs; i++) {
		uint32_t no = index_pack_find(d->index, d->c.pack[i].digest);
		if (no != UINT32_MAX)
			d->c.pack[i].cost += sum[no];
	}
}

/* The site's index objects, judged one by one; the reader's own may be older or from a cache. */
static int load_index(void *arg, struct err *err)
{
	struct data *d = arg;
	char prefix[STORE_KEY_MAX + 1];
	CLEAN(store_keys_release) struct store_keys k = {0};
	CLEAN(buf_release) struct buf b = BUF_INIT(INDEX_MAX);
	int rc = store_list_all(d->c.st, key_fmt(prefix, "i/%s/", d->c.source), &k, err);

	for (size_t i = 0; i < k.n && !rc; i++) {
		struct err why = ERR_INIT;

		if ((rc = check_cancelled(d->c.o, err)))
			break;
		buf_clear(&b);
		rc = store_get(d->c.st, k.key[i], &b, &why);
		if (!rc) {
			take_segment(d, k.key[i], k.key[i] + strlen(prefix), &b);
		} else if (check_is_damage(why.code)) {
			if (why.code != ERR_MISSING) /* replaced and collected meanwhile */
				check_find_object(&d->c, FIND_CORRUPT, k.key[i], NULL, 0, why.msg);
			rc = 0;
		} else {
			*err = why;
		}
	}
	if (!rc)
		set_costs(d);
	d->unopened = d->c.n_packs;
	return rc;
}

int check_data(struct reader *r, const struct check_opts *o, struct check_result *ret, struct err *err)
{
	struct data d = {.r = r,
	        .c = {.st = r->o.site[0].store, .cfg = r->o.cfg, .source = r->o.source, .o = o, .ret = ret, .mutex = PTHREAD_MUTEX_INITIALIZER},
	        .trees = {.c = &d.c, .r = r, .spool = -1},
	        .index = index_new()};
	const struct check_ops ops = {
	        .prepare = load_index, .open = chunks_open, .pack = chunks_pack, .help = chunks_help, .halt = chunks_halt, .close = chunks_close, .arg = &d};

	BUG_ON(r->o.n_sites != 1);
	pthread_mutex_init(&d.mutex, NULL);
	pthread_cond_init(&d.changed, NULL);
	int rc = tmp_file_open(r->o.cache_dir, &d.trees.spool, err);

	if (!rc)
		rc = check_begin(&d.c, &ops, err);
	if (!rc)
		rc = check_walk(&d.trees, err);
	check_end(&d.c);
	pthread_mutex_destroy(&d.mutex);
	pthread_cond_destroy(&d.changed);
	close_fd(&d.trees.spool);
	idmap_release(&d.trees.met);
	idmap_release(&d.trees.lists);
	free(d.trees.rec);
	index_free(d.index);
	return rc;
}
