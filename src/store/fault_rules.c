#include "store/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

enum argument { ARG_NONE, ARG_NUMBER, ARG_OPTIONAL, ARG_CODE };

static const struct {
	const char *name;
	enum fault_action action;
	unsigned ops; /* that it can act on */
	enum argument argument;
} actions[] = {
        {"fail", FAULT_FAIL, FAULT_ANY, ARG_CODE},
        {"failafter", FAULT_FAILAFTER, FAULT_ANY, ARG_CODE},
        {"cut", FAULT_CUT, FAULT_GET | FAULT_OLDER | FAULT_LIST, ARG_NUMBER},
        {"flip", FAULT_FLIP, FAULT_PUT | FAULT_GET | FAULT_OLDER | FAULT_DIGEST, ARG_OPTIONAL},
        {"truncate", FAULT_TRUNCATE, FAULT_PUT | FAULT_GET | FAULT_OLDER, ARG_NUMBER},
        {"extend", FAULT_EXTEND, FAULT_PUT | FAULT_GET | FAULT_OLDER, ARG_NUMBER},
        {"swap", FAULT_SWAP, FAULT_GET, ARG_NONE},
        {"drop", FAULT_DROP, FAULT_PUT | FAULT_LIST | FAULT_REMOVE, ARG_NONE},
        {"stale", FAULT_STALE, FAULT_LIST, ARG_NONE},
        {"kill", FAULT_KILL, FAULT_ANY, ARG_NONE},
        {"killafter", FAULT_KILLAFTER, FAULT_ANY, ARG_NONE},
};

static const struct {
	const char *name;
	unsigned ops;
} ops[] = {
        {"put", FAULT_PUT},
        {"get", FAULT_GET},
        {"stat", FAULT_STAT},
        {"list", FAULT_LIST},
        {"remove", FAULT_REMOVE},
        {"older", FAULT_OLDER},
        {"digest", FAULT_DIGEST},
        {"lock", FAULT_LOCK},
        {"later", FAULT_LATER},
        {"clock", FAULT_CLOCK},
        {"attack", FAULT_ATTACK},
        {"any", FAULT_ANY},
};

static const struct {
	const char *name;
	enum err_code code;
} codes[] = {
#define ERR(name, num, status, retry, meaning) {#name, ERR_##name},
#include "base/err.def"
#undef ERR
};

/* What is left of a rule, and the rule for messages. */
struct words {
	const char *text;
	char *next;
};

static const char *next_word(struct words *w)
{
	return strtok_r(NULL, " \t", &w->next);
}

static int bad_rule(const struct words *w, const char *why, const char *word, struct err *err)
{
	return err_set(err, ERR_USAGE, "fault rule '%s': %s '%s'", w->text, why, word ? word : "");
}

static bool number(const char *word, int64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoll(word, &end, 10);
	return *word && !*end && !errno;
}

static int parse_op(struct fault_rule *r, struct words *w, const char *word, struct err *err)
{
	for (size_t i = 0; word && i < ARRAY_LEN(ops); i++)
		if (!strcmp(word, ops[i].name))
			r->ops = ops[i].ops;
	return r->ops ? 0 : bad_rule(w, "unknown operation", word, err);
}

static int parse_prefix(struct fault_rule *r, struct words *w, const char *word, struct err *err)
{
	char key[STORE_KEY_MAX + 2];

	if (!word)
		return bad_rule(w, "a key prefix (or *) is missing after", "the operation", err);
	r->prefix = xstrdup(strcmp(word, "*") ? word : "");
	/* A prefix that no key can have would be a fault that never happens. */
	if (snprintf(key, sizeof key, "%sx", r->prefix) >= (int)sizeof key || !store_key_ok(key))
		return bad_rule(w, "no key starts with", word, err);
	return 0;
}

static int parse_code(struct fault_rule *r, struct words *w, const char *word, struct err *err)
{
	for (size_t i = 0; word && i < ARRAY_LEN(codes); i++)
		if (!strcmp(word, codes[i].name))
			r->code = codes[i].code;
	return r->code ? 0 : bad_rule(w, "unknown error code", word, err);
}

/* The action and its argument; *ret_next is the word behind them. */
static int parse_action(struct fault_rule *r, struct words *w, const char **ret_next, struct err *err)
{
	const char *word = next_word(w);
	size_t i = 0;

	while (word && i < ARRAY_LEN(actions) && strcmp(word, actions[i].name))
		i++;
	if (!word || i == ARRAY_LEN(actions))
		return bad_rule(w, "unknown action", word, err);
	if (r->ops & ~actions[i].ops)
		return bad_rule(w, "the operation has no fault", word, err);
	r->action = actions[i].action;
	word = next_word(w);
	if (actions[i].argument == ARG_CODE) {
		int rc = parse_code(r, w, word, err);

		if (rc)
			return rc;
		word = next_word(w);
	} else if (actions[i].argument != ARG_NONE) {
		r->has_arg = word && number(word, &r->arg);
		if (!r->has_arg && actions[i].argument == ARG_NUMBER)
			return bad_rule(w, "a number is needed, got", word, err);
		if (r->has_arg)
			word = next_word(w);
	}
	if (r->action == FAULT_EXTEND && (r->arg < 0 || r->arg > (int64_t)STORE_OBJECT_MAX))
		return bad_rule(w, "cannot extend by", "a negative or huge number", err);
	if (r->action == FAULT_CUT && r->arg < 0)
		return bad_rule(w, "cannot cut after", "a negative number", err);
	*ret_next = word;
	return 0;
}

int fault_rule_parse(struct fault_rule *ret, const char *text, struct err *err)
{
	CLEAN(free_ptr) char *copy = xstrdup(text);
	struct words w = {text, NULL};
	const char *word = strtok_r(copy, " \t", &w.next);

	*ret = (struct fault_rule){.text = xstrdup(text), .times = UINT64_MAX};
	int rc = parse_op(ret, &w, word, err);

	if (!rc)
		rc = parse_prefix(ret, &w, next_word(&w), err);
	if (!rc)
		rc = parse_action(ret, &w, &word, err);
	for (; !rc && word; word = next_word(&w)) {
		uint64_t *to = !strcmp(word, "after") ? &ret->after : !strcmp(word, "times") ? &ret->times : NULL;
		const char *n = to ? next_word(&w) : NULL;
		int64_t v;

		if (!to)
			rc = bad_rule(&w, "unexpected", word, err);
		else if (!n || !number(n, &v) || v < 0)
			rc = bad_rule(&w, "a number is needed, got", n, err);
		else
			*to = (uint64_t)v;
	}
	return rc;
}

void fault_entries_release(struct fault_entries *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->e[i].key);
	free(l->e);
	*l = (struct fault_entries){0};
}

void fault_rule_release(struct fault_rule *r)
{
	fault_entries_release(&r->old);
	free(r->text);
	free(r->prefix);
}
