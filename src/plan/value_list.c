#include "plan/internal.h"

#include <ctype.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

static enum value_type element_of(enum value_type t)
{
	switch (t) {
	case T_IDS:
		return T_ID;
	case T_ABSS:
		return T_ABS;
	case T_NAMES:
		return T_NAME;
	case T_WORDS:
		return T_WORD;
	case T_PINGS:
		return T_PING;
	case T_RELS:
		return T_REL;
	case T_PATTERNS:
		return T_PATTERN;
	case T_EMAILS:
		return T_EMAIL;
	case T_ARGV:
	case T_ARGVS:
		return T_ARG;
	default:
		return T_TEXT;
	}
}

static bool named_before(const char *const *v, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++) {
		if (str_eq(v[i], s))
			return true;
	}
	return false;
}

static bool load_list(const struct value_ctx *c, const struct node *n, void *dest)
{
	if (n->kind != NODE_SEQ) {
		const char *hint = c->row->type == T_ARGV || c->row->type == T_ARGVS
		                           ? "write [\"program\", \"argument\"]; there is no shell"
		                           : "write [one, two]";
		bad(c->l, n->at, hint, "%s: expected %s", c->where,
		        value_expected(c, c->row->type == T_ARGVS ? T_ARGV : c->row->type));
		return false;
	}
	enum value_type el = element_of(c->row->type);
	bool ok = true;
	struct plan_list list = {.at = n->at};
	const char **v = arena_array(c->l->arena, n->n + 1, sizeof(*v));
	for (const struct node *x = n->first; x; x = x->next) {
		const char *s = NULL;
		if (!value_scalar(c, el, x, &s)) {
			ok = false;
			continue;
		}
		if (el != T_ARG && named_before(v, list.n, s)) {
			bad(c->l, x->at, NULL, "%s: %s is named twice", c->where, value_shown(c, x));
			ok = false;
		}
		v[list.n++] = s;
	}
	list.v = v;
	if (ok && el == T_ARG && (list.n == 0 || !v[0][0])) {
		bad(c->l, n->at, NULL, "%s: an argument vector begins with a program", c->where);
		ok = false;
	}
	if (ok)
		memcpy(dest, &list, sizeof(list));
	return ok;
}

static bool load_argvs(const struct value_ctx *c, const struct node *n, void *dest)
{
	if (n->kind != NODE_SEQ) {
		bad(c->l, n->at, "write [[\"program\", \"argument\"]]", "%s: expected a list of argument vectors",
		        c->where);
		return false;
	}
	struct plan_list *v = arena_array(c->l->arena, n->n + 1, sizeof(*v));
	struct plan_lists out = {v, 0};
	for (const struct node *x = n->first; x; x = x->next) {
		if (!load_list(c, x, &v[out.n++]))
			return false;
	}
	memcpy(dest, &out, sizeof(out));
	return true;
}

static bool good_variable(const char *s)
{
	size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
	return *s && !s[n] && !isdigit((unsigned char)*s);
}

static bool load_pair(const struct value_ctx *c, const struct node *x, const struct plan_pair *before, size_t n_before,
        struct plan_pair *ret)
{
	if (!good_variable(x->key->text)) {
		bad(c->l, x->key->at, NULL, "%s: %s is not the name of a variable", c->where, value_shown(c, x->key));
		return false;
	}
	*ret = (struct plan_pair){.at = x->key->at, .name = x->key->text, .value = ""};
	for (size_t i = 0; i < n_before; i++) {
		if (str_eq(before[i].name, ret->name)) {
			bad(c->l, x->key->at, NULL, "%s: duplicate variable %s", c->where, value_shown(c, x->key));
			return false;
		}
	}
	if (!value_scalar(c, T_ARG, x, &ret->value))
		return false;
	if (value_is_secret_name(ret->name, strlen(ret->name)) && !plan_is_secret_ref(ret->value)) {
		diag_secret(c->l, x->at, "%s.%s: a secret does not belong in a plan", c->where, ret->name);
		return false;
	}
	return true;
}

static bool load_env(const struct value_ctx *c, const struct node *n, void *dest)
{
	if (n->kind != NODE_MAP) {
		bad(c->l, n->at, "write {NAME: value}", "%s: expected a mapping of variables", c->where);
		return false;
	}
	struct plan_pair *v = arena_array(c->l->arena, n->n + 1, sizeof(*v));
	struct plan_pairs out = {v, 0};
	bool ok = true;
	for (const struct node *x = n->first; x; x = x->next) {
		if (load_pair(c, x, v, out.n, &v[out.n]))
			out.n++;
		else
			ok = false;
	}
	memcpy(dest, &out, sizeof(out));
	return ok;
}

bool value_list(const struct value_ctx *c, const struct node *n, void *dest)
{
	if (c->row->type == T_ENV)
		return load_env(c, n, dest);
	return c->row->type == T_ARGVS ? load_argvs(c, n, dest) : load_list(c, n, dest);
}
