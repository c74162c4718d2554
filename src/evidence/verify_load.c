/* Verification, first half: read every copy of a log, and keep leaf hashes, signed points and what was wrong on the
 * way. */
#include "evidence/verify_internal.h"

#include <stdio.h>
#include <string.h>
#include "base/fs.h"
#include "base/str.h"

struct loader {
	struct verify *v;
	struct vlog *log;
	struct copy *copy;
};

static enum finding_class class_of(const char *code)
{
	if (str_eq(code, "torn-tail"))
		return FINDING_NOTE;
	return str_eq(code, "records-missing") || str_eq(code, "checkpoints-missing") ? FINDING_MISSING
	                                                                              : FINDING_DAMAGE;
}

static bool about_record(const char *code)
{
	return !str_starts(code, "checkpoint") && !str_starts(code, "sshsig") && !str_eq(code, "torn-tail");
}

static void load_problem(void *arg, const char *code, uint64_t seq, const char *detail)
{
	struct loader *l = arg;

	if (str_eq(code, "replaced")) {
		finding(l->v, FINDING_NOTE, code, l->log->id, l->copy->place, seq, "%s", detail);
		return;
	}
	if (about_record(code))
		l->copy->bad_seq = MIN(l->copy->bad_seq, seq);
	if (l->copy->n_findings++ < COPY_FINDINGS_MAX)
		finding(l->v, class_of(code), code, l->log->id, l->copy->place, seq, "%s", detail);
}

void verify_add_point(struct vlog *log, uint64_t size, const unsigned char root[SHA256_LEN], const char *from)
{
	log->point = xgrow(log->point, log->n_points, &log->cap_points, sizeof(*log->point));
	log->point[log->n_points].size = size;
	log->point[log->n_points].from = from;
	memcpy(log->point[log->n_points++].root, root, SHA256_LEN);
}

static int load_checkpoint(
        void *arg, const struct evidence_checkpoint *cp, const char *note, const char *sshsig, struct err *err)
{
	struct loader *l = arg;

	(void)note;
	(void)sshsig;
	(void)err;
	verify_add_point(l->log, cp->size, cp->root, l->copy->place);
	l->copy->newest = MAX(l->copy->newest, cp->size);
	l->v->out->checkpoints++;
	return 0;
}

static int slot_order(const struct evidence_slot *a, const struct evidence_slot *b)
{
	int c = strcmp(a->plan, b->plan);

	if (!c)
		c = strcmp(a->kind, b->kind);
	return c ? c : (a->time_ns > b->time_ns) - (a->time_ns < b->time_ns);
}

static int sorted_order(const void *a, const void *b)
{
	return slot_order(*(const struct evidence_slot *const *)a, *(const struct evidence_slot *const *)b);
}

void verify_sort_slots(struct verify *v)
{
	v->slot = xcalloc(v->in->n_slots + 1, sizeof(*v->slot));
	for (size_t i = 0; i < v->in->n_slots; i++)
		v->slot[i] = &v->in->slots[i];
	qsort(v->slot, v->in->n_slots, sizeof(*v->slot), sorted_order);
}

static void mark_slots(struct loader *l, const struct evidence_record *r)
{
	const struct verify *v = l->v;
	struct copy *c = l->copy;
	size_t lo = 0, hi = v->in->n_slots;

	if (!r->slot.plan || !r->outcome)
		return;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (slot_order(v->slot[mid], &r->slot) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < v->in->n_slots && slot_order(v->slot[lo], &r->slot) == 0; lo++) {
		c->marks = xgrow(c->marks, c->n_marks, &c->cap_marks, sizeof(*c->marks));
		c->marks[c->n_marks++] = (struct mark){.slot = (size_t)(v->slot[lo] - v->in->slots), .seq = r->seq};
	}
}

void verify_add_claim(struct verify *v, const char *note, size_t n, const char *from)
{
	v->claim = xgrow(v->claim, v->n_claims, &v->cap_claims, sizeof(*v->claim));
	v->claim[v->n_claims].note = xstrndup(note, n);
	v->claim[v->n_claims++].from = xstrdup(from);
}

/* The first record of a log vouches for the logs that were there before it. */
static void read_known(struct loader *l, const struct evidence_record *r)
{
	const json_t *known = json_object_get(r->body, "known"), *k;
	char from[64];
	size_t i;

	snprintf(from, sizeof(from), "log %s", l->log->id);
	json_array_foreach (known, i, k) {
		const char *b64 = json_string_value(json_object_get(k, "note_b64"));
		size_t n = b64 ? strlen(b64) : 0;
		CLEAN(free_ptr) char *note = xmalloc(n + 1);
		long len = b64 ? base64_decode(note, b64, n) : -1;

		if (len <= 0 || len > (long)EVIDENCE_NOTE_MAX)
			finding(l->v, FINDING_DAMAGE, "known-damaged", l->log->id, l->copy->place, 0,
			        "the first record names a log without a readable checkpoint");
		else
			verify_add_claim(l->v, note, (size_t)len, from);
	}
}

/* Clocks do step; where they did is for a reader to know, and no proof of tampering. */
static void watch_clocks(struct copy *c, const struct evidence_record *r)
{
	if (c->n && r->time_ns < c->last_ns && !c->wall_steps++)
		c->wall_step_seq = r->seq;
	if (c->n && str_eq(r->boot_id, c->last_boot_id) && r->boot_us < c->last_boot_us && !c->boot_steps++)
		c->boot_step_seq = r->seq;
	if (!c->n)
		c->first_ns = r->time_ns;
	c->last_ns = r->time_ns;
	c->last_boot_us = r->boot_us;
	snprintf(c->last_boot_id, sizeof(c->last_boot_id), "%s", r->boot_id);
}

static int load_record(
        void *arg, uint64_t seq, const struct evidence_record *r, const void *line, size_t n, struct err *err)
{
	struct loader *l = arg;
	struct copy *c = l->copy;
	unsigned char h[SHA256_LEN];

	merkle_leaf(line, n, h);
	if (seq < c->n) {
		if (memcmp(c->leaf[seq], h, sizeof(h)) != 0)
			load_problem(l, "overlap-differs", seq, "two objects of records tell different things");
		return 0;
	}
	if (c->n >= COPY_RECORDS_MAX)
		return err_set(err, ERR_NOMEM, "log %s has more than %u records", l->log->id, COPY_RECORDS_MAX);
	if (r) {
		watch_clocks(c, r);
		mark_slots(l, r);
		if (seq == 0 && str_eq(r->type, "log-start"))
			read_known(l, r);
	}
	c->leaf = xgrow(c->leaf, c->n, &c->cap, sizeof(*c->leaf));
	memcpy(c->leaf[c->n++], h, sizeof(h));
	return 0;
}

/* Whose key is it? A pin decides; otherwise the id, which is a digest of the key, vouches for a key found beside a
 * copy. */
static void find_key(struct verify *v, struct vlog *log)
{
	char id[EVIDENCE_ID_LEN + 1];

	for (size_t i = 0; i < v->in->n_pins && !log->have_key; i++) {
		if (evidence_vkey_parse(v->in->pins[i], strlen(v->in->pins[i]), log->pub, NULL))
			continue;
		evidence_id(log->pub, id);
		log->have_key = log->pinned = str_eq(id, log->id);
	}
	if (!log->have_key && v->in->dir)
		log->have_key = copy_key_dir(v->in->dir, log->id, log->pub, NULL) == 0;
	for (size_t i = 0; i < v->in->n_sites && !log->have_key; i++)
		log->have_key = copy_key_site(v->in->sites[i], log->id, log->pub, NULL) == 0;
}

static bool dir_has_log(const char *dir, const char *id)
{
	CLEAN(free_ptr) char *path = fs_join(dir, id);

	return fs_exists(path);
}

static void load_copy(struct verify *v, struct vlog *log, struct copy *c, struct store *site)
{
	struct loader l = {.v = v, .log = log, .copy = c};
	const struct copy_fns fns = {
	        .arg = &l, .record = load_record, .checkpoint = load_checkpoint, .problem = load_problem};
	unsigned char other[ED25519_PUB_LEN];
	struct err why = ERR_INIT;
	int rc;

	c->bad_seq = UINT64_MAX;
	if (c->local && !dir_has_log(v->in->dir, log->id))
		return;
	rc = c->local ? copy_read_dir(v->in->dir, log->id, log->pub, &fns, &why)
	              : copy_read_site(site, log->id, log->pub, &fns, &why);
	c->present = c->n || c->newest || c->n_findings;
	if (rc == -ERR_MISSING && c->local) {
		c->present = true;
		load_problem(&l, "records-missing", 0, why.msg);
	} else if (rc == -ERR_MISSING || rc == -ERR_CORRUPT || rc == -ERR_FORMAT || rc == -ERR_NOMEM) {
		c->present = true;
		load_problem(&l, "records-damaged", c->n, why.msg);
	} else if (rc) {
		c->unreachable = true;
		finding(v, FINDING_UNREACHABLE, "unreachable", log->id, c->place, 0, "%s", why.msg);
	}
	if (!c->present || c->unreachable)
		return;
	rc = c->local ? copy_key_dir(v->in->dir, log->id, other, &why) : copy_key_site(site, log->id, other, &why);
	if (rc || memcmp(other, log->pub, sizeof(other)) != 0)
		finding(v, FINDING_DAMAGE, "key-damaged", log->id, c->place, 0, "%s",
		        rc ? why.msg : "the key is not the log's");
	else if (site && !copy_key_is_whole(site, log->id))
		finding(v, FINDING_NOTE, "replaced", log->id, c->place, 0, "the key is damaged; another object stands in for it");
	if (site)
		verify_witnesses(v, log, c, site);
}

void verify_load(struct verify *v, struct vlog *log)
{
	size_t at = 0;

	log->n_copies = v->in->n_sites + (v->in->dir ? 1 : 0);
	log->copy = xcalloc(log->n_copies + 1, sizeof(*log->copy));
	find_key(v, log);
	if (!log->have_key) {
		finding(v, FINDING_MISSING, "key-missing", log->id, NULL, 0, "no place holds the key of log %s",
		        log->id);
		log->n_copies = 0;
		return;
	}
	if (v->in->dir) {
		log->copy[at].place = "local";
		log->copy[at].local = true;
		load_copy(v, log, &log->copy[at++], NULL);
	}
	for (size_t i = 0; i < v->in->n_sites; i++) {
		log->copy[at].place = v->in->sites[i]->name;
		log->copy[at].pin = v->in->witnesses ? v->in->witnesses[i] : NULL;
		load_copy(v, log, &log->copy[at++], v->in->sites[i]);
	}
}

void vlog_release(struct vlog *log)
{
	for (size_t i = 0; i < log->n_copies; i++) {
		free(log->copy[i].leaf);
		free(log->copy[i].marks);
	}
	free(log->copy);
	free(log->point);
}
