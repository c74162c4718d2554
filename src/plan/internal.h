/*
 * Inside the plan module: the arena, the tree that YAML becomes, the key table and the loader's state.
 *
 * A loader borrows the text it is given and owns nothing that outlives the call but the plan's arena and the
 * diagnostics.
 */
#ifndef PLAN_INTERNAL_H
#define PLAN_INTERNAL_H

#include "plan/plan.h"

/* --- arena: memory that lives as long as its plan, zeroed; aborts on failure (bounded by PLAN_FILE_MAX) --- */
struct plan_arena *arena_new(void);
void arena_free(struct plan_arena *a);
void *arena_alloc(struct plan_arena *a, size_t n);
void *arena_array(struct plan_arena *a, size_t n, size_t size);
char *arena_strn(struct plan_arena *a, const char *s, size_t n);
char *arena_fmt(struct plan_arena *a, const char *fmt, ...) HF_PRINTF(2, 3);

/* --- tree of a YAML document: no aliases, anchors, tags or further documents --- */
enum node_kind { NODE_SCALAR, NODE_SEQ, NODE_MAP };
struct node {
	enum node_kind kind;
	struct plan_place at;
	const char *text; /* scalar, NUL-terminated, without control characters but tab and newline */
	size_t len;
	bool plain;       /* scalar without quotes */
	bool on_line;     /* scalar whose text begins at `at`: no block */
	struct node *key; /* in a mapping: the key of this value */
	struct node *first, *last, *next;
	size_t n;
};

/* --- the key table --- */
enum value_type {
	T_TEXT,    /* any text */
	T_ID,      /* [a-z0-9-] */
	T_ABS,     /* absolute path */
	T_WORK,    /* absolute path or ${work}/... */
	T_NAME,    /* one path component */
	T_HOST,    /* local or ssh:// */
	T_URL,     /* of a site */
	T_HTTP,    /* http or https URL */
	T_PING,    /* https URL or secret reference */
	T_ADDRESS, /* host:port */
	T_SECRET,  /* reference to a secret */
	T_ZONE,    /* IANA time zone */
	T_WORD,    /* one of `allowed`, kept as text */
	T_ENUM,    /* one of `allowed`, kept as its index */
	T_BOOL,
	T_INT,  /* allowed: "MIN..MAX" */
	T_REAL, /* allowed: "MIN..MAX" */
	T_DURATION,
	T_SIZE,
	T_RATE, /* size a second */
	T_DATE,
	T_WINDOW, /* "22:00-06:00" in two int64_t */
	T_CRON,
	T_REL, /* elements of lists only, these four */
	T_PATTERN,
	T_EMAIL,
	T_ARG,
	T_TEXTS, /* lists, by element */
	T_IDS,
	T_ABSS,
	T_RELS, /* paths inside a copy */
	T_PATTERNS,
	T_NAMES,
	T_WORDS,
	T_CATALOGUES, /* ids of requirement catalogues */
	T_EMAILS,
	T_PINGS,
	T_ARGV,
	T_ARGVS,
	T_ENV,
	T_OBJ,
	T_OBJS,
};
enum {
	REQ = 1, /* must be given */
	DEF = 2, /* an object that is made with its defaults when it is not given */
};
enum obj_id {
#define OBJ(id, ctype, path, meaning) OBJ_##id,
#define KEY(...)
#define SUB(...)
#define SUBS(...)
#include "plan/schema.def"
	OBJ_COUNT
};
struct key_row {
	enum obj_id obj;
	const char *key;
	enum value_type type;
	size_t off, n_off; /* of the field; of the count beside it (T_OBJS) */
	enum obj_id child; /* T_OBJ, T_OBJS */
	unsigned flags;
	const char *dflt;    /* as in the file, or NULL */
	const char *allowed; /* words "a|b" or range "1..12", or NULL */
	const char *meaning;
};
struct obj_row {
	const char *path; /* "sources[]", "" for the plan */
	size_t size;
	const char *meaning;
	const struct key_row *keys;
	size_t n_keys;
};
/* Row of an object; its keys are neighbours, in the order of the table. */
struct obj_row schema_obj(enum obj_id id);
const char *schema_type_name(enum value_type t); /* for people: "duration" */
/* Index of a word in "a|b|c", -1 when it is not there. Copy of word i, false behind the last one. */
int allowed_index(const char *allowed, const char *word, size_t len);
bool allowed_word(const char *allowed, size_t i, char out[64]);
void allowed_range(const char *allowed, int64_t *lo, int64_t *hi); /* of "1..12" */

/* --- loader --- */
struct loader {
	struct plan *plan;
	struct plan_arena *arena;
	struct plan_diags *diags;
	const char *text; /* whole file */
	size_t len;
};
/* Add a diagnostic at a place; hint may be NULL. */
void diag_add(struct loader *l, enum plan_severity sev, struct plan_place at, const char *hint, const char *fmt, ...)
        HF_PRINTF(5, 6);
#define bad(l, at, hint, ...) diag_add(l, PLAN_ERROR, at, hint, __VA_ARGS__)
/* A secret was found: hint says how to name one, and the line is not shown, by this or any other diagnostic. */
void diag_secret(struct loader *l, struct plan_place at, const char *fmt, ...) HF_PRINTF(3, 4);
/* Sort by place, withhold lines that hold secrets. */
void diags_finish(struct plan_diags *d);
/* "did you mean 'x'?", or NULL. Also NULL once there are diagnostics enough: a hostile file must not buy work with
 * them. */
const char *diag_near(const struct loader *l, const char *text, const char *const *names);
/* Text to tree. NULL with one diagnostic when it is not YAML as plans allow it. */
struct node *tree_parse(struct loader *l);
/* Parse one value of the row's type into dest. False with a diagnostic. `where` is its path: "targets.rto". */
bool value_load(struct loader *l, const struct key_row *row, const struct node *n, const char *where, void *dest);
/* What a value is parsed for. */
struct value_ctx {
	struct loader *l;
	const struct key_row *row;
	const char *where;
};
/* The two halves of value_load: one scalar as type says, and lists, vectors and environments. */
bool value_scalar(const struct value_ctx *c, enum value_type type, const struct node *n, void *dest);
bool value_list(const struct value_ctx *c, const struct node *n, void *dest);
/* For messages: the value in quotes, clipped; the name of a type with its article. */
const char *value_shown(const struct value_ctx *c, const struct node *n);
const char *value_expected(const struct value_ctx *c, enum value_type type);
/* True when text carries a secret: a URL with a password, a private key. */
bool value_has_secret(const char *text);
/* True when a variable or key of this name holds a secret by its name. */
bool value_is_secret_name(const char *name, size_t len);
/* Meaning across keys: references, cycles, duplicates, what excludes what. */
void validate_plan(struct loader *l);
void validate_source(struct loader *l, const struct plan_source *s, const char *where);
/* Places of keys, "sources[0].name" -> place; kept in the plan. */
void places_add(struct plan_arena *a, const char *key, struct plan_place at);
void places_sort(struct plan_arena *a); /* after the last add, before the first get */
bool places_get(const struct plan_arena *a, const char *key, struct plan_place *ret);

/* --- texts --- */
/* "4h", "15m": the largest unit that divides. "64MiB" likewise. */
char *duration_text(char out[32], int64_t ms);
char *size_text(char out[32], uint64_t bytes);

/* --- catalogues --- */
/* Parsed catalogue, or NULL when the id is unknown. The caller owns it. */
json_t *catalogue_get(const char *id);
/* Ids, NULL-terminated, borrowed, in a caller's array of n. */
void catalogue_ids(const char **ids, size_t n);

/* --- linter rules: one row a rule --- */
struct lint {
	const struct plan *p;
	const struct plan_facts *f; /* NULL: nothing known */
};
struct lint_rule {
	const char *id, *title;
	void (*judge)(const struct lint *l, struct plan_finding *f);
};
const struct lint_rule *lint_rules_copies(size_t *ret_n);
const struct lint_rule *lint_rules_people(size_t *ret_n);
/* Set verdict and text of a finding; place is that of `key` where the file has it. */
void judge(const struct lint *l, struct plan_finding *f, enum plan_verdict v, const char *key, const char *fmt, ...)
        HF_PRINTF(5, 6);

#endif
