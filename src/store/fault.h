/*
 * Rules of the fault filter: parsed by fault_rules.c, carried out by fault.c. Nobody else includes this.
 */
#ifndef STORE_FAULT_H
#define STORE_FAULT_H

#include "store/store.h"

enum fault_op {
	FAULT_PUT = 1 << 0,
	FAULT_GET = 1 << 1,
	FAULT_STAT = 1 << 2,
	FAULT_LIST = 1 << 3,
	FAULT_REMOVE = 1 << 4,
	FAULT_OLDER = 1 << 5,
	FAULT_DIGEST = 1 << 6,
	FAULT_LOCK = 1 << 7,
	FAULT_LATER = 1 << 8, /* extend a lock */
	FAULT_CLOCK = 1 << 9,
	FAULT_ATTACK = 1 << 10,
	FAULT_ANY = (1 << 11) - 1,
};

enum fault_action {
	FAULT_FAIL,
	FAULT_FAILAFTER,
	FAULT_CUT,
	FAULT_FLIP,
	FAULT_TRUNCATE,
	FAULT_EXTEND,
	FAULT_SWAP,
	FAULT_DROP,
	FAULT_STALE,
	FAULT_KILL,
	FAULT_KILLAFTER,
};

struct fault_entry {
	char *key;
	struct store_stat st;
};
struct fault_entries {
	struct fault_entry *e;
	size_t n, cap;
};

struct fault_rule {
	char *text; /* as written, for messages */
	unsigned ops;
	char *prefix;
	enum fault_action action;
	int64_t arg;
	bool has_arg;
	enum err_code code; /* of FAULT_FAIL and FAULT_FAILAFTER */
	uint64_t after, times;

	uint64_t seen; /* matching operations so far */
	bool has_old;
	struct fault_entries old; /* of FAULT_STALE */
};

/* One rule from its text. ERR_USAGE names it; ret needs fault_rule_release() in any case. */
int fault_rule_parse(struct fault_rule *ret, const char *text, struct err *err) HF_NODISCARD;
void fault_rule_release(struct fault_rule *r);
void fault_entries_release(struct fault_entries *l);

#endif
