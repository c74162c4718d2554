/* Verification, second half: which copy is the log, who forked, what is damaged, which slots are covered. */
#include "evidence/verify_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"

static const struct {
	const char *name;
	enum err_code code;
} classes[FINDING_CLASSES] = {
        [FINDING_FORK] = {"fork", ERR_FORK},
        [FINDING_DAMAGE] = {"damage", ERR_CORRUPT},
        [FINDING_MISSING] = {"missing", ERR_MISSING},
        [FINDING_UNREACHABLE] = {"unreachable", ERR_UNREACHABLE},
        [FINDING_UNCOVERED] = {"uncovered", ERR_EVIDENCE},
        [FINDING_BEHIND] = {"behind", ERR_OK},
        [FINDING_NOTE] = {"note", ERR_OK},
};

static void count(struct evidence_report *r, enum finding_class class)
{
	size_t *const counter[FINDING_CLASSES] = {
	        [FINDING_FORK] = &r->forks,
	        [FINDING_DAMAGE] = &r->damage,
	        [FINDING_MISSING] = &r->damage,
	        [FINDING_UNREACHABLE] = &r->unreachable,
	        [FINDING_UNCOVERED] = &r->uncovered,
	        [FINDING_BEHIND] = &r->behind,
	        [FINDING_NOTE] = &r->notes,
	};

	++*counter[class];
}

void finding(struct verify *v, enum finding_class class, const char *code, const char *log, const char *place,
        uint64_t at, const char *fmt, ...)
{
	CLEAN(free_ptr) char *detail = NULL;
	json_t *o = json_object(), *text;
	va_list ap;

	va_start(ap, fmt);
	BUG_ON(vasprintf(&detail, fmt, ap) < 0);
	va_end(ap);
	text = json_string(detail);
	json_object_set_new(o, "class", json_string(classes[class].name));
	json_object_set_new(o, "code", json_string(code));
	json_object_set_new(o, "log", log ? json_string(log) : json_null());
	json_object_set_new(o, "place", place ? json_string(place) : json_null());
	json_object_set_new(o, "at", json_integer((json_int_t)MIN(at, (uint64_t)1 << 53)));
	json_object_set_new(o, "detail", text ? text : json_string("detail is no text"));
	json_array_append_new(json_object_get(v->out->json, "findings"), o);
	count(v->out, class);
	if (classes[class].code && !v->first[class].code)
		err_set(&v->first[class], classes[class].code, "log %s%s%s, %s at %llu: %s", log ? log : "-",
		        place ? ", " : "", place ? place : "", code, (unsigned long long)at, detail);
}

static int point_order(const void *a, const void *b)
{
	const struct point *x = a, *y = b;

	return (x->size > y->size) - (x->size < y->size);
}

/* Root of a copy at each point's size; calls fn(arg, point, equal) for points within its length. */
static void walk_points(const struct vlog *log, const struct copy *c,
        void (*fn)(void *arg, const struct point *p, bool equal), void *arg)
{
	unsigned char root[SHA256_LEN];
	struct merkle m;

	merkle_init(&m);
	for (size_t i = 0; i < log->n_points && log->point[i].size <= c->n; i++) {
		while (m.size < log->point[i].size)
			merkle_append(&m, c->leaf[m.size]);
		merkle_root(&m, root);
		fn(arg, &log->point[i], memcmp(root, log->point[i].root, sizeof(root)) == 0);
	}
}

static void note_proven(void *arg, const struct point *p, bool equal)
{
	struct copy *c = arg;

	if (equal)
		c->proven = p->size;
}

/* The copy whose records were signed for the greatest length. Signing a head commits to all before it. */
static struct copy *choose(struct vlog *log)
{
	struct copy *best = NULL;

	for (size_t i = 0; i < log->n_copies; i++) {
		walk_points(log, &log->copy[i], note_proven, &log->copy[i]);
		if (log->copy[i].n && (!best || log->copy[i].proven > best->proven))
			best = &log->copy[i];
	}
	return best;
}

struct judge {
	struct verify *v;
	struct vlog *log;
	const struct copy *ref, *copy;
	bool told;
};

static struct copy *copy_named(struct vlog *log, const char *place)
{
	for (size_t i = 0; i < log->n_copies; i++)
		if (str_eq(log->copy[i].place, place))
			return &log->copy[i];
	return NULL;
}

static void fork_found(struct judge *j, const struct point *p, const char *detail)
{
	struct copy *c = copy_named(j->log, p->from);

	finding(j->v, FINDING_FORK, "fork", j->log->id, p->from, p->size, "%s", detail);
	j->log->forked = true;
	if (c)
		c->state = "forked";
}

/* Within the proven length every signed head must be the tree's own. */
static void check_fork(void *arg, const struct point *p, bool equal)
{
	struct judge *j = arg;

	if (!equal && p->size <= j->ref->proven)
		fork_found(j, p, "the log's key signed another tree of this size");
}

/* Beyond what any copy proves, heads of one size can still contradict each other. */
static void check_pairs(struct judge *j, uint64_t proven)
{
	const struct vlog *log = j->log;

	for (size_t i = 1; i < log->n_points; i++)
		if (log->point[i].size > proven && log->point[i].size == log->point[i - 1].size &&
		        memcmp(log->point[i].root, log->point[i - 1].root, SHA256_LEN) != 0)
			fork_found(j, &log->point[i], "two trees of this size were signed");
}

/* A head that this copy is long enough for, that nobody forked, and that its records do not make: the records are
 * wrong. */
static void check_root(void *arg, const struct point *p, bool equal)
{
	struct judge *j = arg;

	if (equal || j->told || p->size <= j->ref->proven || j->copy->bad_seq < p->size)
		return;
	j->told = true;
	finding(j->v, FINDING_DAMAGE, "root", j->log->id, j->copy->place, p->size,
	        "a record from %llu to %llu is not the one that was signed", (unsigned long long)j->ref->proven,
	        (unsigned long long)p->size - 1);
}

static bool check_records(struct judge *j, const struct copy *c)
{
	uint64_t n = MIN((uint64_t)c->n, j->ref->proven), i = 0;

	while (i < n && memcmp(c->leaf[i], j->ref->leaf[i], SHA256_LEN) == 0)
		i++;
	j->copy = c;
	j->told = i < n;
	/* What does not parse was told already when it was read. */
	if (i < n && c->bad_seq > i)
		finding(j->v, FINDING_DAMAGE, "record-differs", j->log->id, c->place, i,
		        "record %llu is not the one that was signed", (unsigned long long)i);
	if (c->bad_seq != UINT64_MAX)
		j->told = true;
	if (!j->told)
		walk_points(j->log, c, check_root, j);
	return !j->told;
}

/* Lengths: the writer's own copy may not be shorter than anything it signed; others may lag, but must hold what they
 * claim. */
static bool check_length(struct judge *j, const struct copy *c, bool whole, uint64_t most)
{
	if (c->local && whole && c->n < most) {
		finding(j->v, FINDING_FORK, "rollback", j->log->id, c->place, c->n,
		        "holds %zu records, but %llu were signed", c->n, (unsigned long long)most);
		return false;
	}
	if (c->local && whole && c->newest < most) {
		finding(j->v, FINDING_FORK, "stale-checkpoint", j->log->id, c->place, c->newest,
		        "newest checkpoint is at %llu, but %llu were signed", (unsigned long long)c->newest,
		        (unsigned long long)most);
		return false;
	}
	if (c->n < c->newest) {
		if (whole)
			finding(j->v, FINDING_MISSING, "records-missing", j->log->id, c->place, c->n,
			        "holds %zu records, its checkpoint is at %llu", c->n, (unsigned long long)c->newest);
		return false;
	}
	return true;
}

static void judge_copy(struct judge *j, struct copy *c, uint64_t most)
{
	bool whole;

	if (c->unreachable) {
		c->state = "unreachable";
		return;
	}
	if (!c->present) {
		c->state = "absent";
		if (!c->local)
			finding(j->v, FINDING_BEHIND, "absent", j->log->id, c->place, 0, "has no copy of %llu records",
			        (unsigned long long)most);
		return;
	}
	whole = check_records(j, c);
	whole = check_length(j, c, whole, most) && whole;
	if (c->state)
		return;
	if (!whole || c->n_findings) {
		c->state = "damaged";
	} else if (c->newest < most) {
		c->state = "behind";
		finding(j->v, FINDING_BEHIND, "behind", j->log->id, c->place, c->newest, "%llu records behind",
		        (unsigned long long)(most - c->newest));
	} else {
		c->state = "complete";
	}
}

static void tell_notes(struct judge *j, uint64_t most)
{
	const struct copy *c = j->ref;

	if (c->n > most)
		finding(j->v, FINDING_NOTE, "unsigned-tail", j->log->id, c->place, most,
		        "%llu records are not yet under a checkpoint", (unsigned long long)(c->n - most));
	if (c->wall_steps)
		finding(j->v, FINDING_NOTE, "wall-clock-step", j->log->id, c->place, c->wall_step_seq,
		        "the wall clock went back %llu times", (unsigned long long)c->wall_steps);
	if (c->boot_steps)
		finding(j->v, FINDING_NOTE, "boot-clock-step", j->log->id, c->place, c->boot_step_seq,
		        "the boot clock went back %llu times within one boot", (unsigned long long)c->boot_steps);
}

static json_t *witnesses_json(const struct copy *c)
{
	json_t *a = json_array();

	for (size_t i = 0; i < c->n_witnesses; i++)
		json_array_append_new(
		        a, json_pack("{s:s, s:I}", "witness", c->witness[i].id, "size", (json_int_t)c->witness[i].size));
	return a;
}

static json_t *copies_json(const struct vlog *log)
{
	json_t *a = json_array();

	for (size_t i = 0; i < log->n_copies; i++) {
		const struct copy *c = &log->copy[i];
		json_t *o = json_object();

		json_object_set_new(o, "place", json_string(c->place));
		json_object_set_new(o, "state", json_string(c->state ? c->state : "absent"));
		json_object_set_new(o, "records", json_integer((json_int_t)c->n));
		json_object_set_new(o, "checkpoint", json_integer((json_int_t)c->newest));
		if (c->n_witnesses)
			json_object_set_new(o, "witnesses", witnesses_json(c));
		json_array_append_new(a, o);
	}
	return a;
}

static void add_log_json(struct verify *v, const struct vlog *log, const struct copy *ref)
{
	CLEAN(free_ptr) char *vkey = log->have_key ? evidence_vkey(log->pub) : NULL;
	unsigned char root[SHA256_LEN];
	json_t *o = json_object();
	struct merkle m;

	merkle_init(&m);
	for (uint64_t i = 0; ref && i < ref->proven; i++)
		merkle_append(&m, ref->leaf[i]);
	merkle_root(&m, root);
	json_object_set_new(o, "log", json_string(log->id));
	json_object_set_new(o, "key", vkey ? json_string(vkey) : json_null());
	json_object_set_new(o, "pinned", json_boolean(log->pinned));
	json_object_set_new(o, "size", json_integer(ref ? (json_int_t)ref->proven : 0));
	json_object_set_new(o, "root", ref ? json_hex(root, sizeof(root)) : json_null());
	json_object_set_new(o, "first", ref && ref->n ? json_time(ref->first_ns) : json_null());
	json_object_set_new(o, "last", ref && ref->n ? json_time(ref->last_ns) : json_null());
	json_object_set_new(o, "copies", copies_json(log));
	json_array_append_new(json_object_get(v->out->json, "logs"), o);
}

void verify_judge(struct verify *v, struct vlog *log)
{
	struct judge j = {.v = v, .log = log};
	uint64_t most;
	struct copy *ref;

	if (!log->have_key) {
		add_log_json(v, log, NULL);
		return;
	}
	if (log->n_points)
		qsort(log->point, log->n_points, sizeof(*log->point), point_order);
	most = log->n_points ? log->point[log->n_points - 1].size : 0;
	ref = choose(log);
	j.ref = ref;
	check_pairs(&j, ref ? ref->proven : 0);
	if (ref) {
		walk_points(log, ref, check_fork, &j);
		for (size_t i = 0; i < log->n_copies; i++)
			judge_copy(&j, &log->copy[i], most);
		tell_notes(&j, most);
		v->out->records += ref->proven;
	}
	if (!ref || (ref->proven < most && ref->n < most && !ref->local))
		finding(v, FINDING_MISSING, "log-missing", log->id, NULL, ref ? ref->n : 0,
		        "no place that could be read holds all %llu signed records", (unsigned long long)most);
	if (v->in->n_pins && !log->pinned)
		finding(v, FINDING_NOTE, "unknown-key", log->id, NULL, 0,
		        "the log's key is not among those to believe");
	for (size_t i = 0; ref && i < ref->n_marks && (log->pinned || !v->in->n_pins) && !log->forked; i++)
		if (ref->marks[i].seq < ref->proven)
			v->covered[ref->marks[i].slot] = true;
	add_log_json(v, log, ref);
}

static void apply_claims(struct verify *v)
{
	for (size_t i = 0; i < v->n_claims; i++) {
		const struct claim *c = &v->claim[i];
		struct evidence_checkpoint cp;
		struct vlog *log = NULL;
		struct err why = ERR_INIT;

		if (evidence_note_parse(c->note, strlen(c->note), &cp, &why)) {
			finding(v, FINDING_DAMAGE, "checkpoint-damaged", NULL, c->from, 0, "%s", why.msg);
			continue;
		}
		for (size_t k = 0; k < v->ids.n && !log; k++)
			if (str_starts(cp.origin, "holdfast/") && str_eq(cp.origin + strlen("holdfast/"), v->log[k].id))
				log = &v->log[k];
		if (!log || !log->have_key)
			finding(v, FINDING_MISSING, "log-missing", NULL, c->from, cp.size, "no place holds the log %s",
			        cp.origin);
		else if (evidence_note_verify(c->note, strlen(c->note), log->pub, &cp, &why))
			finding(v, FINDING_DAMAGE, "checkpoint-damaged", log->id, c->from, cp.size, "%s", why.msg);
		else
			verify_add_point(log, cp.size, cp.root, c->from);
	}
}

static void collect_ids(struct verify *v)
{
	struct err why = ERR_INIT;

	if (v->in->dir && log_ids_dir(v->in->dir, &v->ids, &why))
		finding(v, FINDING_DAMAGE, "unreadable", NULL, "local", 0, "%s", why.msg);
	for (size_t i = 0; i < v->in->n_sites; i++)
		if (log_ids_site(v->in->sites[i], &v->ids, &why))
			finding(v, FINDING_UNREACHABLE, "unreachable", NULL, v->in->sites[i]->name, 0, "%s", why.msg);
	for (size_t i = 0; i < v->in->n_pins; i++) {
		unsigned char pub[ED25519_PUB_LEN];
		char id[EVIDENCE_ID_LEN + 1];

		if (evidence_vkey_parse(v->in->pins[i], strlen(v->in->pins[i]), pub, &why)) {
			finding(v, FINDING_DAMAGE, "pin-malformed", NULL, NULL, i, "%s", why.msg);
			continue;
		}
		evidence_id(pub, id);
		log_ids_add(&v->ids, id);
	}
	if (!v->ids.n)
		finding(v, FINDING_MISSING, "no-log", NULL, NULL, 0, "no place holds an evidence log");
}

static void judge_slots(struct verify *v)
{
	json_t *open = json_array(), *o = json_object();

	for (size_t i = 0; i < v->in->n_slots; i++) {
		const struct evidence_slot *s = &v->in->slots[i];
		json_t *slot;

		if (v->covered[i])
			continue;
		slot = json_object();
		json_object_set_new(slot, "plan", json_string(s->plan));
		json_object_set_new(slot, "kind", json_string(s->kind));
		json_object_set_new(slot, "time", json_time(s->time_ns));
		json_array_append_new(open, slot);
		finding(v, FINDING_UNCOVERED, "slot-uncovered", NULL, NULL, i,
		        "no record tells what became of %s of plan %s", s->kind, s->plan);
	}
	json_object_set_new(o, "expected", json_integer((json_int_t)v->in->n_slots));
	json_object_set_new(o, "covered", json_integer((json_int_t)(v->in->n_slots - v->out->uncovered)));
	json_object_set_new(o, "uncovered", open);
	json_object_set_new(v->out->json, "slots", o);
}

static void verify_release(struct verify *v)
{
	for (size_t i = 0; v->log && i < v->ids.n; i++)
		vlog_release(&v->log[i]);
	for (size_t i = 0; i < v->n_claims; i++) {
		free(v->claim[i].note);
		free(v->claim[i].from);
	}
	free(v->claim);
	free(v->log);
	free(v->covered);
	free(v->slot);
	log_ids_release(&v->ids);
}

static int verdict(struct verify *v, struct err *err)
{
	for (size_t i = 0; i < FINDING_CLASSES; i++) {
		if (!v->first[i].code)
			continue;
		if (err)
			*err = v->first[i];
		return -(int)v->first[i].code;
	}
	return 0;
}

int evidence_verify(const struct evidence_verify *in, struct evidence_report *ret, struct err *err)
{
	CLEAN(verify_release) struct verify v = {.in = in, .out = ret};
	int rc;

	*ret = (struct evidence_report){.json = json_pack("{s:i, s:[], s:[]}", "v", 1, "logs", "findings")};
	v.covered = xcalloc(in->n_slots + 1, sizeof(bool));
	verify_sort_slots(&v);
	collect_ids(&v);
	v.log = xcalloc(v.ids.n + 1, sizeof(*v.log));
	ret->logs = v.ids.n;
	for (size_t i = 0; i < v.ids.n; i++) {
		memcpy(v.log[i].id, v.ids.id[i], sizeof(v.log[i].id));
		verify_load(&v, &v.log[i]);
	}
	for (size_t i = 0; i < in->n_notes; i++)
		verify_add_claim(&v, in->notes[i], strlen(in->notes[i]), "note");
	apply_claims(&v);
	for (size_t i = 0; i < v.ids.n; i++)
		verify_judge(&v, &v.log[i]);
	judge_slots(&v);
	rc = verdict(&v, err);
	json_object_set_new(ret->json, "ok", json_boolean(rc == 0));
	json_object_set_new(ret->json, "records", json_integer((json_int_t)ret->records));
	json_object_set_new(ret->json, "checkpoints", json_integer((json_int_t)ret->checkpoints));
	return rc;
}

void evidence_report_release(struct evidence_report *r)
{
	json_decref(r->json);
	*r = (struct evidence_report){0};
}
