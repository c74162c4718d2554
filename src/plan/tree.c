#include "plan/internal.h"

#include <libfyaml.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

#define TEXT_MAX 16384 /* bytes of one scalar */
#define ITEMS_MAX 1000 /* of one list or mapping */

/* One level of what is being built. */
struct level {
	struct node *node;
	struct node *key; /* mapping: a key waits for its value */
};
struct builder {
	struct loader *l;
	struct level stack[PLAN_DEPTH_MAX];
	size_t depth;
	struct node *root;
	int documents;
	bool failed;
};

static void fail(struct builder *b, struct plan_place at, const char *hint, const char *msg)
{
	if (!b->failed)
		bad(b->l, at, hint, "%s", msg);
	b->failed = true;
}

static struct plan_place place_of(struct fy_token *t)
{
	const struct fy_mark *m = t ? fy_token_start_mark(t) : NULL;
	return m ? (struct plan_place){m->line + 1, m->column + 1} : (struct plan_place){1, 1};
}

/* Where the first byte is that is not UTF-8, in lines and characters. */
static struct plan_place bad_utf8(const char *s, size_t n)
{
	struct plan_place at = {1, 1};
	for (size_t i = 0; i < n;) {
		size_t len = 1;
		while (len <= 4 && i + len <= n && !str_is_utf8(s + i, len))
			len++;
		if (len > 4 || i + len > n)
			return at;
		at.col = s[i] == '\n' ? 1 : at.col + 1;
		at.line += s[i] == '\n';
		i += len;
	}
	return at;
}

static void attach(struct builder *b, struct node *n)
{
	if (b->depth == 0) {
		b->root = n;
		return;
	}
	struct level *top = &b->stack[b->depth - 1];
	if (top->node->kind == NODE_MAP && !top->key) {
		if (n->kind != NODE_SCALAR)
			fail(b, n->at, NULL, "a key must be a word");
		top->key = n;
		return;
	}
	n->key = top->key;
	top->key = NULL;
	if (++top->node->n > ITEMS_MAX)
		fail(b, n->at, NULL, "more than 1000 items in one list or mapping");
	if (top->node->last)
		top->node->last->next = n;
	else
		top->node->first = n;
	top->node->last = n;
}

static struct node *add(struct builder *b, enum node_kind kind, struct fy_token *t)
{
	struct node *n = arena_alloc(b->l->arena, sizeof(*n));
	n->kind = kind;
	n->at = place_of(t);
	/* A value that is missing has no place of its own: its key's is nearest. */
	if (!t && b->depth > 0) {
		const struct level *top = &b->stack[b->depth - 1];
		n->at = top->key ? top->key->at : top->node->at;
	}
	if (b->documents > 1)
		fail(b, n->at, "one plan a file", "a second document");
	attach(b, n);
	return n;
}

static void open_level(struct builder *b, enum node_kind kind, struct fy_token *t)
{
	struct node *n = add(b, kind, t);
	if (b->depth >= PLAN_DEPTH_MAX) {
		fail(b, n->at, NULL, "nested too deeply");
		return;
	}
	b->stack[b->depth++] = (struct level){n, NULL};
}

static void scalar(struct builder *b, struct fy_token *t)
{
	struct node *n = add(b, NODE_SCALAR, t);
	size_t len = 0;
	const char *s = t ? fy_token_get_text(t, &len) : "";
	if (!s || len > TEXT_MAX) {
		fail(b, n->at, NULL, "a text of more than 16 KiB");
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (((unsigned char)s[i] < 0x20 && s[i] != '\n' && s[i] != '\t') || s[i] == 0x7f) {
			fail(b, n->at, NULL, "a control character in a text");
			return;
		}
	}
	/* Escapes such as "\xff" are decoded by the library, so what they make is looked at again. */
	if (!str_is_utf8(s, len)) {
		fail(b, n->at, NULL, "a text that is not UTF-8");
		return;
	}
	enum fy_scalar_style style = t ? fy_scalar_token_get_style(t) : FYSS_PLAIN;
	n->plain = style == FYSS_PLAIN;
	n->on_line = style == FYSS_PLAIN || style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
	n->text = arena_strn(b->l->arena, s, len);
	n->len = len;
	if (n->plain && strcmp(n->text, "<<") == 0)
		fail(b, n->at, "write the keys out", "merge keys are not allowed in a plan");
}

static void refuse_extras(struct builder *b, struct fy_token *anchor, struct fy_token *tag)
{
	if (anchor)
		fail(b, place_of(anchor), "write the value out where it is used", "anchors are not allowed in a plan");
	if (tag)
		fail(b, place_of(tag), NULL, "tags are not allowed in a plan");
}

static void take(struct builder *b, struct fy_event *e)
{
	switch (e->type) {
	case FYET_DOCUMENT_START:
		b->documents++;
		break;
	case FYET_ALIAS:
		fail(b, place_of(e->alias.anchor), "write the value out", "aliases are not allowed in a plan");
		break;
	case FYET_SCALAR:
		refuse_extras(b, e->scalar.anchor, e->scalar.tag);
		scalar(b, e->scalar.value);
		break;
	case FYET_SEQUENCE_START:
		refuse_extras(b, e->sequence_start.anchor, e->sequence_start.tag);
		open_level(b, NODE_SEQ, e->sequence_start.sequence_start);
		break;
	case FYET_MAPPING_START:
		refuse_extras(b, e->mapping_start.anchor, e->mapping_start.tag);
		open_level(b, NODE_MAP, e->mapping_start.mapping_start);
		break;
	case FYET_SEQUENCE_END:
	case FYET_MAPPING_END:
		b->depth--;
		break;
	default:
		break;
	}
}

static void syntax_error(struct builder *b, struct fy_diag *diag)
{
	void *prev = NULL;
	const struct fy_diag_error *e = NULL, *x;
	while ((x = fy_diag_errors_iterate(diag, &prev))) {
		if (x->type == FYET_ERROR && x->msg) {
			e = x;
			break;
		}
	}
	struct plan_place at = {1, 1};
	/* Unlike marks, places of diagnostics count from 1. */
	if (e && e->line > 0 && e->column > 0)
		at = (struct plan_place){e->line, e->column};
	char msg[256];
	snprintf(msg, sizeof(msg), "not YAML: %s", e ? e->msg : "the text cannot be read");
	fail(b, at, NULL, msg);
}

static void run(struct builder *b, struct fy_parser *fyp, struct fy_diag *diag)
{
	struct fy_event *e = NULL;
	bool end = false;
	while (!b->failed && !end && (e = fy_parser_parse(fyp))) {
		end = e->type == FYET_STREAM_END;
		take(b, e);
		fy_parser_event_free(fyp, e);
	}
	if (!b->failed && (!end || fy_parser_get_stream_error(fyp)))
		syntax_error(b, diag);
}

static void discard(struct fy_diag *diag, void *user, const char *buf, size_t len)
{
	(void)diag, (void)user, (void)buf, (void)len;
}

struct node *tree_parse(struct loader *l)
{
	struct builder b = {.l = l};
	if (l->len > PLAN_FILE_MAX) {
		fail(&b, (struct plan_place){1, 1}, NULL, "the file is larger than 1 MiB");
		return NULL;
	}
	if (!str_is_utf8(l->text, l->len)) {
		fail(&b, bad_utf8(l->text, l->len), NULL, "not UTF-8");
		return NULL;
	}
	struct fy_diag_cfg dc;
	fy_diag_cfg_default(&dc);
	dc.fp = NULL;
	dc.output_fn = discard;
	dc.level = FYET_ERROR;
	struct fy_diag *diag = fy_diag_create(&dc);
	BUG_ON(!diag);
	fy_diag_set_collect_errors(diag, true);
	struct fy_parse_cfg pc = {.search_path = "",
	        .diag = diag,
	        .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DISABLE_RECYCLING | FYPCF_DEFAULT_VERSION_1_2 |
	                 FYPCF_JSON_NONE};
	struct fy_parser *fyp = fy_parser_create(&pc);
	BUG_ON(!fyp);
	BUG_ON(fy_parser_set_string(fyp, l->text, l->len));
	run(&b, fyp, diag);
	fy_parser_destroy(fyp);
	fy_diag_destroy(diag);
	if (!b.failed && !b.root)
		fail(&b, (struct plan_place){1, 1}, NULL, "the file is empty");
	return b.failed ? NULL : b.root;
}
