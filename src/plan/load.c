#include "plan/internal.h"

#include <stdio.h>
#include <string.h>
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/crypto.h"

/* Conventions of the model for what was not given, by type. */
static void set_absent(const struct key_row *row, void *dest)
{
	static const char *const nothing[1] = {NULL};
	int64_t minus[2] = {-1, -1};
	struct plan_list empty = {.v = nothing};
	if (row->type == T_INT || row->type == T_DURATION)
		memcpy(dest, minus, sizeof(minus[0]));
	else if (row->type == T_WINDOW)
		memcpy(dest, minus, sizeof(minus));
	else if (row->type >= T_TEXTS && row->type <= T_ARGV)
		memcpy(dest, &empty, sizeof(empty));
}

/* A default goes the way of a given value, so that both mean the same. */
static void set_default(struct loader *l, const struct key_row *row, const char *where, void *dest)
{
	struct node list = {.kind = NODE_SEQ};
	char word[64];
	bool is_list = row->type >= T_TEXTS;
	for (size_t i = 0; is_list && allowed_word(row->dflt, i, word); i++) {
		struct node *x = arena_alloc(l->arena, sizeof(*x));
		*x = (struct node){
		        .kind = NODE_SCALAR, .text = arena_strn(l->arena, word, strlen(word)), .len = strlen(word)};
		if (list.last)
			list.last->next = x;
		else
			list.first = x;
		list.last = x;
		list.n++;
	}
	struct node one = {.kind = NODE_SCALAR, .text = row->dflt, .len = strlen(row->dflt), .plain = true};
	BUG_ON(!value_load(l, row, is_list ? &list : &one, where, dest));
}

static void load_object(
        struct loader *l, enum obj_id id, const struct node *n, struct plan_place at, const char *where, void *dest);

static void load_objects(
        struct loader *l, const struct key_row *row, const struct node *n, const char *where, unsigned char *object)
{
	if (n->kind != NODE_SEQ) {
		bad(l, n->at, NULL, "%s: expected a list of mappings", where);
		return;
	}
	if (n->n == 0 && (row->flags & REQ)) {
		bad(l, n->at, NULL, "%s is empty", where);
		return;
	}
	size_t size = schema_obj(row->child).size, i = 0;
	unsigned char *v = arena_array(l->arena, n->n, size);
	for (const struct node *x = n->first; x; x = x->next, i++)
		load_object(l, row->child, x, x->at, arena_fmt(l->arena, "%s[%zu]", where, i), v + i * size);
	memcpy(object + row->off, &v, sizeof(v));
	memcpy(object + row->n_off, &i, sizeof(i));
}

static void load_key(
        struct loader *l, const struct key_row *row, const struct node *n, const char *where, unsigned char *object)
{
	if (row->type == T_OBJS) {
		load_objects(l, row, n, where, object);
	} else if (row->type == T_OBJ) {
		void *child = arena_alloc(l->arena, schema_obj(row->child).size);
		load_object(l, row->child, n, n->key->at, where, child);
		memcpy(object + row->off, &child, sizeof(child));
	} else {
		(void)value_load(l, row, n, where, object + row->off); /* what is wrong is in the diagnostics */
	}
}

static const char *place_name(const char *where)
{
	return where[0] ? where : "the plan";
}

static const char *path_of(struct loader *l, const char *where, const char *key)
{
	return where[0] ? arena_fmt(l->arena, "%s.%s", where, key) : key;
}

static void unknown_key(struct loader *l, const struct obj_row *obj, const struct node *x, const char *where)
{
	const char *names[64] = {NULL};
	BUG_ON(obj->n_keys >= ARRAY_LEN(names));
	for (size_t i = 0; i < obj->n_keys; i++)
		names[i] = obj->keys[i].key;
	const char *key = x->key->text;
	if (x->kind == NODE_SCALAR && value_is_secret_name(key, x->key->len) && !plan_is_secret_ref(x->text)) {
		diag_secret(
		        l, x->key->at, "%s: a secret does not belong in a plan (key '%.60s')", place_name(where), key);
		return;
	}
	bad(l, x->key->at, diag_near(l, key, names), "unknown key '%.60s' in %s", key, place_name(where));
}

static const struct key_row *find_key(const struct obj_row *obj, const char *key)
{
	for (size_t i = 0; i < obj->n_keys; i++) {
		if (str_eq(obj->keys[i].key, key))
			return &obj->keys[i];
	}
	return NULL;
}

static void fill_missing(
        struct loader *l, const struct key_row *row, struct plan_place at, const char *where, unsigned char *object)
{
	if (row->flags & REQ) {
		bad(l, at, NULL, "missing key '%s' in %s", row->key, place_name(where));
	} else if (row->type == T_OBJ && (row->flags & DEF)) {
		void *child = arena_alloc(l->arena, schema_obj(row->child).size);
		load_object(l, row->child, NULL, (struct plan_place){0, 0}, path_of(l, where, row->key), child);
		memcpy(object + row->off, &child, sizeof(child));
	} else if (row->dflt) {
		set_default(l, row, path_of(l, where, row->key), object + row->off);
	}
}

static void load_object(
        struct loader *l, enum obj_id id, const struct node *n, struct plan_place at, const char *where, void *dest)
{
	struct obj_row obj = schema_obj(id);
	memcpy(dest, &at, sizeof(at)); /* every object begins with its place */
	/* First, since a value that turns out wrong leaves its field as it is, and validation still looks at it. */
	for (size_t i = 0; i < obj.n_keys; i++)
		set_absent(&obj.keys[i], (unsigned char *)dest + obj.keys[i].off);
	if (n && n->kind != NODE_MAP) {
		bad(l, n->at, NULL, "%s: expected a mapping with the key '%s'", place_name(where), obj.keys[0].key);
		return;
	}
	const struct node *given[64] = {NULL};
	BUG_ON(obj.n_keys > ARRAY_LEN(given));
	for (const struct node *x = n ? n->first : NULL; x; x = x->next) {
		const struct key_row *row = find_key(&obj, x->key->text);
		if (!row) {
			unknown_key(l, &obj, x, where);
			continue;
		}
		size_t i = (size_t)(row - obj.keys);
		const char *path = path_of(l, where, row->key);
		if (given[i]) {
			bad(l, x->key->at, NULL, "duplicate key '%s' in %s, first on line %d", row->key,
			        place_name(where), given[i]->key->at.line);
			continue;
		}
		given[i] = x;
		places_add(l->arena, path, x->key->at);
		load_key(l, row, x, path, dest);
	}
	for (size_t i = 0; i < obj.n_keys; i++) {
		if (!given[i])
			fill_missing(l, &obj.keys[i], at, where, dest);
	}
}

static void add_source_plan(struct loader *l, const struct node *root)
{
	struct plan_source *s = arena_alloc(l->arena, sizeof(*s));
	load_object(l, OBJ_source, root, root->at, "", s);
	l->plan->sources = s;
	l->plan->n_sources = 1;
	l->plan->name = s->name;
	places_sort(l->arena);
	validate_source(l, s, "");
}

static void load_tree(struct loader *l, bool source_only)
{
	struct node *root = tree_parse(l);
	if (!root)
		return;
	if (source_only) {
		add_source_plan(l, root);
		return;
	}
	load_object(l, OBJ_plan, root, root->at, "", l->plan);
	places_sort(l->arena);
	validate_plan(l);
}

/* Errors as one error: the first place, and how many more. */
static int summary(const struct plan_diags *d, struct err *err)
{
	const struct plan_diag *x = d->v;
	while (x->severity != PLAN_ERROR)
		x++;
	char more[48] = "";
	if (d->n_errors > 1)
		snprintf(more, sizeof(more), " (and %zu more)", d->n_errors - 1);
	char place[32] = "";
	if (x->at.line)
		snprintf(place, sizeof(place), "%d:%d:", x->at.line, x->at.col);
	err_set(err, ERR_USAGE, "%s:%s %s%s", d->file, place, x->message, more);
	if (!err)
		return -ERR_USAGE;
	return x->hint ? err_hint(err, "%s", x->hint) : -ERR_USAGE;
}

static int load_bytes(const char *name, const void *p, size_t n, bool source_only, struct plan **ret,
        struct plan_diags *diags, struct err *err)
{
	*ret = NULL;
	plan_diags_release(diags);
	diags->file = xstrdup(name);
	struct plan_arena *arena = arena_new();
	CLEAN(plan_free_ptr) struct plan *plan = arena_alloc(arena, sizeof(*plan));
	plan->arena = arena;
	plan->file = arena_strn(arena, name, strlen(name));
	sha256_of(p, n, plan->digest);
	struct loader l = {plan, arena, diags, n ? p : "", n};
	load_tree(&l, source_only);
	diags_finish(diags);
	if (diags->n_errors)
		return summary(diags, err);
	*ret = TAKE(plan);
	return 0;
}

static int load_file(const char *path, bool source_only, struct plan **ret, struct plan_diags *diags, struct err *err)
{
	*ret = NULL;
	/* One byte more than allowed, so that a file that is too large is told as a diagnostic with its place. */
	CLEAN(buf_release) struct buf b = BUF_INIT(PLAN_FILE_MAX + 1);
	struct err own = ERR_INIT;
	struct err *e = err ? err : &own;
	int rc = fs_read(path, &b, e);
	if (rc && e->code == ERR_NOMEM)
		return err_set(e, ERR_USAGE, "%s: larger than 1 MiB", path);
	if (rc && e->code == ERR_MISSING)
		return err_set(e, ERR_USAGE, "%s: no such plan file", path);
	return rc ? rc : load_bytes(path, b.p, b.len, source_only, ret, diags, e);
}

int plan_load_bytes(
        const char *name, const void *p, size_t n, struct plan **ret, struct plan_diags *diags, struct err *err)
{
	return load_bytes(name, p, n, false, ret, diags, err);
}

int plan_source_load_bytes(
        const char *name, const void *p, size_t n, struct plan **ret, struct plan_diags *diags, struct err *err)
{
	return load_bytes(name, p, n, true, ret, diags, err);
}

int plan_load_file(const char *path, struct plan **ret, struct plan_diags *diags, struct err *err)
{
	return load_file(path, false, ret, diags, err);
}

int plan_source_load_file(const char *path, struct plan **ret, struct plan_diags *diags, struct err *err)
{
	return load_file(path, true, ret, diags, err);
}

void plan_free(struct plan *p)
{
	/* The plan itself lives in its arena. */
	if (p)
		arena_free(p->arena);
}

void plan_free_ptr(struct plan **p)
{
	plan_free(*p);
	*p = NULL;
}

bool plan_key_place(const struct plan *p, const char *key, struct plan_place *ret)
{
	return places_get(p->arena, key, ret);
}

int plan_refuse(const struct plan *p, const char *key, const char *message, struct err *err)
{
	struct plan_place at = {0, 0};
	(void)plan_key_place(p, key, &at);
	return err_set(err, ERR_UNSUPPORTED, "%s:%d:%d: %s: %s", p->file, at.line, at.col, key, message);
}

const struct plan_source *plan_source(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->n_sources; i++) {
		if (str_eq(p->sources[i].name, name))
			return &p->sources[i];
	}
	return NULL;
}

const struct plan_site *plan_site(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->n_sites; i++) {
		if (str_eq(p->sites[i].name, name))
			return &p->sites[i];
	}
	return NULL;
}

const struct plan_step *plan_step(const struct plan *p, const char *id)
{
	for (size_t i = 0; p->recovery && i < p->recovery->n_steps; i++) {
		if (str_eq(p->recovery->steps[i].id, id))
			return &p->recovery->steps[i];
	}
	return NULL;
}
