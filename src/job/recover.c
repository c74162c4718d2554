#include "job/recover.h"

#include <stdio.h>
#include <string.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"

static int open_reader(const struct job *j, const struct recover_opts *o, struct recover *r, struct err *err)
{
	CLEAN(free_ptr) char *state = path_source_state(j, o->source);
	r->cache = fs_join(state, "index");
	r->rs = xcalloc(r->sites.n + 1, sizeof *r->rs);
	for (size_t i = 0; i < r->sites.n; i++) {
		struct session_site *s = &r->sites.site[i];
		if (!s->store)
			continue;
		if (o->fault_rules) {
			struct store *faulty;
			int rc = store_fault_new(s->store, o->fault_rules, &faulty, err);
			if (rc)
				return rc;
			s->store = faulty;
		}
		r->rs[r->n_rs++] = (struct reader_site){.name = s->name, .store = s->store};
	}
	/* planted faults must meet the site's own bytes, not a cache of ours */
	struct reader_opts ro = {.site = r->rs, .n_sites = r->n_rs, .key = o->key ? o->key : &r->key, .cfg = &r->cfg, .source = o->source, .workers = j->workers,
		.cache_dir = o->fault_rules || j->dry_run ? NULL : r->cache, .cancel = j->cancel};
	return reader_open(&ro, &r->reader, err);
}

int recover_open(const struct job *j, const struct recover_opts *o, struct recover *ret, struct err *err)
{
	*ret = (struct recover){0};
	int rc = release_opening_key(j, o->purpose, &ret->key, err);
	if (!rc)
		rc = sites_open(j, o->site, false, &ret->sites, err);
	if (!rc)
		rc = sites_cfg(&ret->sites, ret->key.root_pub, &ret->cfg, err);
	if (!rc && memcmp(ret->cfg.repo, ret->key.repo, REPO_ID_LEN))
		rc = err_set(err, ERR_USAGE, "the opening key is of another repository than the sites hold");
	if (!rc)
		rc = open_reader(j, o, ret, err);
	if (rc)
		recover_close(ret);
	return rc;
}

void recover_close(struct recover *r)
{
	reader_close(r->reader);
	sites_close(&r->sites);
	cfg_release(&r->cfg);
	opening_key_release(&r->key);
	free(r->rs);
	free(r->cache);
	*r = (struct recover){0};
}

int recover_select(const struct job *j, const struct job_select *sel, enum release_for purpose, struct recover *ret, const struct reader_snapshot **snap, struct err *err)
{
	const struct plan_source *ps;
	*ret = (struct recover){0};
	int rc = job_refuse(j, NEEDS_SITES, err);
	if (!rc)
		rc = release_allowed(j, purpose, err);
	if (!rc)
		rc = job_source(j, sel->source, &ps, err);
	if (!rc)
		rc = recover_open(j, &(struct recover_opts){.source = ps->name, .site = sel->site, .purpose = purpose}, ret, err);
	if (rc)
		return rc;
	rc = reader_select(ret->reader, sel->snapshot ? sel->snapshot : "latest", snap, err);
	if (rc)
		recover_close(ret);
	return rc;
}

json_t *recover_sites(const struct recover *r)
{
	json_t *list = json_array();
	for (size_t i = 0; i < r->sites.n; i++) {
		const struct session_site *s = &r->sites.site[i];
		const struct reader_site *rs = NULL;
		for (size_t k = 0; k < r->n_rs; k++)
			if (str_eq(r->rs[k].name, s->name))
				rs = &r->rs[k];
		json_t *bad = json_array();
		if (rs && rs->bad)
			json_array_append_new(bad, json_string(rs->first_bad));
		json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:o}", "name", s->name, "outcome", !rs ? "unreachable" : rs->bad ? "damaged" : rs->bytes ? "served" : "unused", "served_bytes",
			(json_int_t)(rs ? rs->bytes : 0), "bad_objects", (json_int_t)(rs ? rs->bad : 0), "bad", bad);
		if (!rs && s->err.msg[0])
			json_object_set_new(o, "error", json_string(s->err.msg));
		json_array_append_new(list, o);
	}
	return list;
}

json_t *recover_proofs(const struct job *j, const struct reader_snapshot *snap)
{
	CLEAN(free_ptr) char *state = path_source_state(j, snap->snap.source);
	CLEAN(free_ptr) char *head = fs_join(state, "head");
	CLEAN(buf_release) struct buf b = BUF_INIT(1u << 20);
	CLEAN(json_release) json_t *o = NULL;
	unsigned char digest[ID_LEN];
	json_t *list = json_array();
	if (!fs_read(head, &b, NULL) && !json_parse(b.p, b.len, b.limit, "head", &o, NULL) && !json_get_hex(o, "digest", "head", digest, ID_LEN, NULL) && !memcmp(digest, snap->snap.digest, ID_LEN))
		json_array_append_new(list, json_string("host"));
	if (__builtin_popcountll(snap->where) > 1)
		json_array_append_new(list, json_string("other-sites"));
	return list;
}
