#include "remote/agent_doc.h"

#include <stdio.h>
#include <string.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"

#define WHAT "document of the other program"
#define SITES_MAX 64

/* --- bytes in a document --- */

static json_t *blob(const void *p, size_t n)
{
	CLEAN(free_ptr) char *text = xmalloc(4 * ((n + 2) / 3) + 1);
	base64_encode(text, p, n);
	return json_string(text);
}

static int read_blob(const json_t *o, const char *key, struct buf *ret, struct err *err)
{
	const char *text;
	int rc = json_get_str(o, key, WHAT, &text, err);
	if (rc)
		return rc;
	size_t n = strlen(text);
	if (n / 4 * 3 > ret->limit)
		return err_set(err, ERR_FORMAT, WHAT ": %s is too large", key);
	if ((rc = buf_reserve(ret, n / 4 * 3 + 1, err)))
		return rc;
	long len = base64_decode(ret->p, text, n);
	if (len < 0)
		return err_set(err, ERR_FORMAT, WHAT ": %s is no base64", key);
	ret->len = (size_t)len;
	return 0;
}

/* --- a job --- */

static int add_plan(const struct job *j, json_t *doc, struct err *err)
{
	unsigned char digest[PLAN_DIGEST_LEN];
	CLEAN(buf_release) struct buf text = BUF_INIT(PLAN_FILE_MAX), sig = BUF_INIT(TRUST_SIGNATURE_MAX);
	CLEAN(free_ptr) char *sig_path = NULL;
	if (asprintf(&sig_path, "%s.sig", j->plan->file) < 0)
		BUG("out of memory");
	int rc = fs_read(j->plan->file, &text, err);
	if (rc)
		return rc;
	sha256_of(text.p, text.len, digest);
	if (memcmp(digest, j->plan->digest, sizeof digest))
		return err_set(err, ERR_USAGE, "%s was changed while it was in use", j->plan->file);
	json_object_set_new(doc, "plan_text", blob(text.p, text.len));
	struct err why = ERR_INIT;
	rc = fs_read(sig_path, &sig, &why);
	if (!rc)
		json_object_set_new(doc, "plan_signature", blob(sig.p, sig.len));
	else if (rc != -ERR_MISSING)
		log_msg(LOG_WARN, "%s", why.msg);
	return 0;
}

int agent_doc_new(const struct job *j, json_t **ret, struct err *err)
{
	CLEAN(json_release) json_t *o = json_pack("{s:i, s:s, s:o}", "v", AGENT_DOC_VERSION, "plan", j->plan->name, "plan_digest",
		json_hex(j->plan->digest, PLAN_DIGEST_LEN));
	int rc = add_plan(j, o, err);
	if (!rc)
		*ret = TAKE(o);
	return rc;
}

/* An error's message as a document may carry it. */
static json_t *safe_text(const char *s)
{
	char safe[sizeof((struct err *)0)->msg * 2];
	json_t *o = json_string(log_safe(safe, sizeof safe, s));
	return o ? o : json_string("");
}

void agent_doc_sites(json_t *doc, const struct sites *sites)
{
	json_t *list = json_array();
	for (size_t i = 0; i < sites->n; i++) {
		const struct session_site *s = &sites->site[i];
		json_t *o = json_pack("{s:s}", "name", s->name);
		if (s->store)
			json_object_set_new(o, "relay", json_integer((json_int_t)i));
		else
			json_object_set_new(o, "error", safe_text(s->err.msg));
		json_array_append_new(list, o);
	}
	json_object_set_new(doc, "sites", list);
}

void agent_doc_release(struct agent_doc *d)
{
	buf_release(&d->text);
	buf_release(&d->signature);
}

int agent_doc_id(const json_t *doc, const char *key, const char **ret, struct err *err)
{
	int rc = json_get_str(doc, key, WHAT, ret, err);
	if (!rc && !str_is_id(*ret))
		rc = err_set(err, ERR_FORMAT, WHAT ": %s is no name", key);
	return rc;
}

int agent_doc_read(const json_t *doc, struct agent_doc *ret, struct err *err)
{
	int64_t v;
	*ret = (struct agent_doc){.text = BUF_INIT(PLAN_FILE_MAX), .signature = BUF_INIT(TRUST_SIGNATURE_MAX)};
	int rc = json_get_int(doc, "v", WHAT, &v, err);
	if (!rc && v != AGENT_DOC_VERSION)
		rc = err_set(err, ERR_UNSUPPORTED, "the controller speaks version %lld of jobs, this program %d", (long long)v, AGENT_DOC_VERSION);
	if (!rc)
		rc = agent_doc_id(doc, "plan", &ret->plan, err);
	if (!rc)
		rc = json_get_hex(doc, "plan_digest", WHAT, ret->plan_digest, ID_LEN, err);
	if (!rc)
		rc = read_blob(doc, "plan_text", &ret->text, err);
	if (!rc && json_object_get(doc, "plan_signature"))
		rc = read_blob(doc, "plan_signature", &ret->signature, err);
	if (rc) {
		agent_doc_release(ret);
		return rc;
	}
	ret->trust = (struct trust_plan){.name = ret->plan, .text = ret->text.p, .n_text = ret->text.len};
	if (ret->signature.len) {
		ret->trust.signature = buf_str(&ret->signature);
		ret->trust.n_signature = ret->signature.len;
	}
	return 0;
}

static int open_site(const json_t *o, struct wire *w, struct session_site *s, struct err *err)
{
	int64_t relay;
	int rc = agent_doc_id(o, "name", &s->name, err);
	if (rc)
		return rc;
	const char *error = json_string_value(json_object_get(o, "error"));
	if (error) {
		s->state = SITE_UNREACHABLE;
		(void)err_set(&s->err, ERR_UNREACHABLE, "%s", error);
		return 0;
	}
	rc = json_get_int(o, "relay", WHAT, &relay, err);
	if (!rc && (relay < 0 || relay >= SITES_MAX))
		rc = err_set(err, ERR_FORMAT, WHAT ": relay is out of range");
	if (rc)
		return rc;
	if (wire_store_open(w, (unsigned)relay, s->name, false, &s->store, &s->err)) {
		s->store = NULL;
		s->state = SITE_UNREACHABLE;
	}
	return 0;
}

int agent_doc_open_sites(const json_t *doc, struct wire *w, struct sites *ret, struct err *err)
{
	json_t *list;
	*ret = (struct sites){0};
	int rc = json_get_arr(doc, "sites", WHAT, &list, err);
	if (!rc && json_array_size(list) > SITES_MAX)
		rc = err_set(err, ERR_FORMAT, WHAT ": too many sites");
	if (rc)
		return rc;
	ret->site = xcalloc(json_array_size(list) + 1, sizeof *ret->site);
	ret->way = xcalloc(json_array_size(list) + 1, sizeof *ret->way); /* theirs end at the other side */
	for (size_t i = 0; !rc && i < json_array_size(list); i++)
		rc = open_site(json_array_get(list, i), w, &ret->site[ret->n++], err);
	if (rc)
		sites_close(ret);
	return rc;
}

/* --- a run --- */

/* Numbers of the facts that a controller tells of. */
static const struct {
	const char *key;
	size_t off;
} counts[] = {
	{"files", offsetof(struct snapshot_facts, files)},
	{"dirs", offsetof(struct snapshot_facts, dirs)},
	{"others", offsetof(struct snapshot_facts, others)},
	{"entries", offsetof(struct snapshot_facts, entries)},
	{"bytes", offsetof(struct snapshot_facts, bytes)},
	{"added", offsetof(struct snapshot_facts, added)},
	{"skipped", offsetof(struct snapshot_facts, skipped)},
};

static json_t *facts_json(const struct snapshot_facts *f)
{
	json_t *o = json_object(), *notes = json_object();
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		uint64_t v;
		memcpy(&v, (const char *)f + counts[i].off, sizeof v);
		json_object_set_new(o, counts[i].key, json_integer((json_int_t)v));
	}
	for (enum note_code c = 0; c < NOTE_CODES; c++)
		json_object_set_new(notes, note_name(c), json_integer((json_int_t)f->notes[c]));
	json_object_set_new(o, "notes", notes);
	return o;
}

static int get_count(const json_t *o, const char *key, uint64_t *ret, struct err *err)
{
	int64_t v;
	int rc = json_get_int(o, key, WHAT, &v, err);
	if (!rc && (v < 0 || v > INT64_C(1) << 53))
		rc = err_set(err, ERR_FORMAT, WHAT ": %s is out of range", key);
	if (!rc)
		*ret = (uint64_t)v;
	return rc;
}

static int read_facts(const json_t *doc, struct snapshot_facts *f, struct err *err)
{
	json_t *o, *notes;
	int rc = json_get_obj(doc, "facts", WHAT, &o, err);
	for (size_t i = 0; !rc && i < ARRAY_LEN(counts); i++) {
		uint64_t v = 0;
		rc = get_count(o, counts[i].key, &v, err);
		memcpy((char *)f + counts[i].off, &v, sizeof v);
	}
	if (!rc)
		rc = json_get_obj(o, "notes", WHAT, &notes, err);
	for (enum note_code c = 0; !rc && c < NOTE_CODES; c++)
		rc = get_count(notes, note_name(c), &f->notes[c], err);
	return rc;
}

json_t *agent_doc_of_run(const struct source_run_result *r, const struct session_site *site, size_t n_sites)
{
	json_t *o = json_pack("{s:i, s:o}", "v", AGENT_DOC_VERSION, "facts", facts_json(&r->facts)), *list = json_array();
	if (r->is_committed)
		json_object_set_new(o, "committed", json_pack("{s:o, s:s, s:I, s:b}", "snapshot", json_hex(r->committed.digest, ID_LEN), "lineage", r->committed.lineage, "seq",
			(json_int_t)r->committed.seq, "new_lineage", r->committed.new_lineage));
	for (size_t i = 0; i < n_sites; i++) {
		json_t *s = json_pack("{s:s, s:s}", "name", site[i].name, "state", site_state_name(site[i].state));
		if (site[i].err.code) {
			json_object_set_new(s, "code", json_integer(site[i].err.code));
			json_object_set_new(s, "error", safe_text(site[i].err.msg));
		}
		json_array_append_new(list, s);
	}
	json_object_set_new(o, "sites", list);
	return o;
}

static int read_committed(const json_t *doc, struct source_run_result *ret, struct err *err)
{
	unsigned char lineage[8];
	const char *text;
	json_t *o = json_object_get(doc, "committed");
	if (!o)
		return 0;
	int rc = json_get_hex(o, "snapshot", WHAT, ret->committed.digest, ID_LEN, err);
	if (!rc)
		rc = json_get_hex(o, "lineage", WHAT, lineage, sizeof lineage, err);
	if (!rc)
		rc = json_get_str(o, "lineage", WHAT, &text, err);
	if (!rc)
		rc = get_count(o, "seq", &ret->committed.seq, err);
	if (!rc)
		rc = json_get_bool(o, "new_lineage", WHAT, &ret->committed.new_lineage, err);
	if (rc)
		return rc;
	str_copy(ret->committed.lineage, sizeof ret->committed.lineage, text);
	ret->is_committed = true;
	return 0;
}

static bool state_named(const char *name, enum site_state *ret)
{
	for (enum site_state s = SITE_ACTIVE; s <= SITE_LOST; s++)
		if (str_eq(name, site_state_name(s))) {
			*ret = s;
			return true;
		}
	return false;
}

static enum err_code code_of(const json_t *o)
{
	json_int_t n = json_integer_value(json_object_get(o, "code"));
	return n >= ERR_INTERNAL && n <= ERR_FAILED ? (enum err_code)n : ERR_FAILED;
}

static int read_site(const json_t *o, struct session_site *site, size_t n_sites, struct err *err)
{
	const char *name, *state;
	int rc = json_get_str(o, "name", WHAT, &name, err);
	if (!rc)
		rc = json_get_str(o, "state", WHAT, &state, err);
	if (rc)
		return rc;
	for (size_t i = 0; i < n_sites; i++) {
		if (!str_eq(site[i].name, name))
			continue;
		const char *error = json_string_value(json_object_get(o, "error"));
		if (!state_named(state, &site[i].state))
			return err_set(err, ERR_FORMAT, WHAT ": unknown state of a site");
		if (error && !site[i].err.code)
			(void)err_set(&site[i].err, code_of(o), "%s", error);
		return 0;
	}
	return err_set(err, ERR_FORMAT, WHAT ": a site that was not asked for");
}

int agent_doc_read_run(const json_t *doc, struct source_run_result *ret, struct session_site *site, size_t n_sites, struct err *err)
{
	json_t *list;
	int64_t v;
	*ret = (struct source_run_result){0};
	int rc = json_get_int(doc, "v", WHAT, &v, err);
	if (!rc && v != AGENT_DOC_VERSION)
		rc = err_set(err, ERR_UNSUPPORTED, "the agent answers in version %lld of jobs, this program speaks %d", (long long)v, AGENT_DOC_VERSION);
	if (!rc)
		rc = read_facts(doc, &ret->facts, err);
	if (!rc)
		rc = read_committed(doc, ret, err);
	if (!rc)
		rc = json_get_arr(doc, "sites", WHAT, &list, err);
	for (size_t i = 0; !rc && i < json_array_size(list); i++)
		rc = read_site(json_array_get(list, i), site, n_sites, err);
	return rc;
}
