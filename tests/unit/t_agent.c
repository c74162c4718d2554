/*
 * Agents as child processes: this program starts itself again, and then plays the part that --root names.
 */
#include <check.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "agent/agent.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "remote/agent_doc.h"
#include "remote/remote_source.h"
#include "suite.h"

#define PROGRAM "holdfast-source"
#define ATTEMPT "0123456789abcdef"
#define H32 "0123456789abcdef0123456789abcdef"
#define EMPTY_SHA "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct err err;

/* --- the parts --- */

static int try_put(struct store *s, const char *key, struct err *e)
{
	return store_put(s, key, &(struct store_src){NULL, 0}, e);
}

static int try_get(struct store *s, const char *key, struct err *e)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 16);
	return store_get(s, key, &b, e);
}

static int try_stat(struct store *s, const char *key, struct err *e)
{
	struct store_stat st;
	return store_stat(s, key, &st, e);
}

static int try_older(struct store *s, const char *key, struct err *e)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 16);
	return store_get_older(s, key, 1, &(struct store_sink){store_buf_write, &b}, e);
}

static int try_digest(struct store *s, const char *key, struct err *e)
{
	unsigned char d[32];
	return store_digest(s, key, d, e);
}

static int try_extend(struct store *s, const char *key, struct err *e)
{
	return store_extend(s, key, INT64_MAX, e);
}

static int try_attack(struct store *s, const char *key, struct err *e)
{
	return store_attack(s, STORE_DELETE, key, e);
}

static int count_key(void *arg, const char *key, const struct store_stat *st, struct err *e)
{
	(void)st;
	(void)e;
	*(bool *)arg |= str_eq(key, (const char *)arg + 1);
	return 0;
}

/* Whether a listing shows it. */
static int try_list(struct store *s, const char *key, struct err *e)
{
	struct {
		bool seen;
		char key[STORE_KEY_MAX + 1];
	} l = {0};
	snprintf(l.key, sizeof l.key, "%s", key);
	int rc = store_list(s, "", NULL, count_key, &l, e);
	return rc ? rc : l.seen ? 0 : err_set(e, ERR_DENIED, "it is left out");
}

static const struct op {
	const char *name;
	int (*try)(struct store *s, const char *key, struct err *e);
} ops[] = {{"put", try_put}, {"get", try_get}, {"stat", try_stat}, {"older", try_older}, {"digest", try_digest}, {"extend", try_extend}, {"attack", try_attack},
        {"remove", store_remove}, {"list", try_list}};

/* Job "try": one operation on the store that is relayed under number 0; the answer is its error code. */
static int do_try(struct wire_job *job, const json_t *doc, json_t **ret, struct err *e)
{
	const char *op = json_string_value(json_object_get(doc, "op")), *key = json_string_value(json_object_get(doc, "key"));
	struct store *s;
	struct err why = ERR_INIT;
	int rc = wire_store_open(wire_job_wire(job), 0, "north", false, &s, e);
	if (rc)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		if (str_eq(op, ops[i].name))
			rc = ops[i].try(s, key, &why);
	store_free(s);
	*ret = json_pack("{s:i}", "code", -rc);
	return 0;
}

static int play_job(void *arg, struct wire_job *job, const char *kind, const json_t *doc, json_t **ret, struct err *e)
{
	(void)arg;
	if (str_eq(kind, "try"))
		return do_try(job, doc, ret, e);
	if (str_eq(kind, "tell")) {
		CLEAN(json_release) json_t *o = json_pack("{s:i}", "files", 7);
		wire_job_progress(job, o);
		wire_job_log(job, LOG_WARN, "the disk is \033[31mfull");
		*ret = json_pack("{s:s}", "done", "so far");
		return err_set(e, ERR_NOSPACE, "the disk is full");
	}
	if (str_eq(kind, "wait")) {
		CLEAN(json_release) json_t *o = json_object();
		wire_job_progress(job, o);
		while (!atomic_load(wire_job_cancel(job)))
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* the pause of a poll */
		return err_set(e, ERR_CANCELLED, "stopped");
	}
	fprintf(stderr, "one line\nI lost my mind\n");
	_exit(9);
}

static int play_served(const char *role)
{
	struct wire *w;
	const struct wire_opts o = {.name = "the controller", .role = role};
	if (wire_new(0, 1, &o, &w, &err))
		return 1;
	wire_serve_job(w, play_job, NULL);
	int rc = wire_run(w, &err);
	wire_free(w);
	return rc ? 1 : 0;
}

/* A greeting of versions that nobody here speaks (docs/format/wire.md). */
static int play_old(void)
{
	static const unsigned char hello[] = {23, 0, 0, 0, 1, 0, 0, 0, 0, 'H', 'F', 'W', 'I', 'R', 'E', '\r', '\n', 99, 0, 99, 0, 2, 0, 0, 0, 3, 0, '9', '.', '9', 0, 0};
	bool ok = !fs_write_full(1, hello, sizeof hello);
	char c;
	while (read(0, &c, 1) > 0)
		continue;
	return ok ? 0 : 1;
}

static int play(const char *part)
{
	(void)signal(SIGPIPE, SIG_IGN);
	if (str_eq(part, "served"))
		return play_served(PROGRAM);
	if (str_eq(part, "other"))
		return play_served("holdfast-recovery");
	if (str_eq(part, "old"))
		return play_old();
	fprintf(stderr, "cannot read /etc/holdfast\n");
	return 3;
}

/* Job "backup" of an agent that lies: it tells of a commit at its first site. The digest is that of no bytes. */
static int lie(void *arg, struct wire_job *job, const char *kind, const json_t *doc, json_t **ret, struct err *e)
{
	struct source_run_result r = {.is_committed = true, .facts = {.files = 1}, .committed = {.seq = 1}};
	struct session_site site = {.name = "north", .state = SITE_COMMITTED};
	(void)arg;
	(void)job;
	(void)doc;
	(void)e;
	sha256_of(NULL, 0, r.committed.digest);
	strcpy(r.committed.lineage, ATTEMPT);
	if (str_eq(kind, "backup"))
		*ret = agent_doc_of_run(&r, &site, 1);
	return 0;
}

static int play_liar(void)
{
	struct wire *w;
	crypto_init();
	if (wire_new(0, 1, &(struct wire_opts){.name = "the controller", .role = PROGRAM}, &w, &err))
		return 1;
	wire_serve_job(w, lie, NULL);
	int rc = wire_run(w, &err);
	wire_free(w);
	return rc ? 1 : 0;
}

/* --- starting --- */

static int start(const char *part, struct agent **ret)
{
	char self[PATH_MAX] = "";
	ck_assert_int_gt(readlink("/proc/self/exe", self, sizeof self - 1), 0);
	err = (struct err)ERR_INIT;
	return agent_start(&(struct agent_config){.host = "local", .program = PROGRAM, .path = self, .root = part}, ret, &err);
}

static struct agent *started(void)
{
	struct agent *a = NULL;
	ck_assert_msg(!start("served", &a), "%s", err.msg);
	return a;
}

START_TEST(hosts_are_taken_apart)
{
	struct agent_host h;
	ck_assert(agent_host_parse("ssh://backup@db1.example.org:2222", &h));
	ck_assert_str_eq(h.user, "backup");
	ck_assert_str_eq(h.host, "db1.example.org");
	ck_assert_uint_eq(h.port, 2222);
	ck_assert(agent_host_parse("ssh://db1", &h) && !h.has_user && !h.port);
	ck_assert(agent_host_parse("ssh://a@[fe80::1]:22", &h));
	ck_assert_str_eq(h.host, "fe80::1");
	static const char *const bad[] = {"local", "ssh://", "ssh://@h", "ssh://u@", "ssh://h:", "ssh://h:0", "ssh://h:70000", "ssh://h:2x", "ssh://[fe80::1", "http://h", NULL};
	for (size_t i = 0; bad[i]; i++)
		ck_assert_msg(!agent_host_parse(bad[i], &h), "%s", bad[i]);
}
END_TEST

START_TEST(a_missing_program_is_told_with_what_installs_it)
{
	struct agent *a = NULL;
	ck_assert_int_eq(agent_start(&(struct agent_config){.host = "local", .program = PROGRAM, .path = "/nonexistent/" PROGRAM}, &a, &err), -ERR_MISSING);
	ck_assert_ptr_nonnull(strstr(err.hint, PROGRAM));
	ck_assert_ptr_null(a);
}
END_TEST

START_TEST(a_program_that_ends_at_once_has_its_words_quoted)
{
	struct agent *a = NULL;
	ck_assert_int_eq(start("ends", &a), -ERR_UNREACHABLE);
	ck_assert_msg(strstr(err.msg, "cannot read /etc/holdfast"), "%s", err.msg);
	ck_assert_ptr_nonnull(strstr(err.hint, PROGRAM));
}
END_TEST

START_TEST(another_version_is_told_with_what_installs_ours)
{
	struct agent *a = NULL;
	ck_assert_int_eq(start("old", &a), -ERR_UNSUPPORTED);
	ck_assert_msg(strstr(err.msg, "99"), "%s", err.msg);
	ck_assert_ptr_nonnull(strstr(err.hint, PROGRAM));
}
END_TEST

START_TEST(another_program_is_not_taken_for_ours)
{
	struct agent *a = NULL;
	ck_assert_int_eq(start("other", &a), -ERR_UNSUPPORTED);
	ck_assert_msg(strstr(err.msg, "holdfast-recovery"), "%s", err.msg);
}
END_TEST

/* --- jobs --- */

struct heard {
	int files;
	char line[200];
	atomic_bool cancel;
};

static void on_progress(void *arg, const json_t *doc)
{
	struct heard *h = arg;
	h->files = (int)json_integer_value(json_object_get(doc, "files"));
	atomic_store(&h->cancel, true);
}

static void on_log(void *arg, enum log_level level, const char *line)
{
	struct heard *h = arg;
	ck_assert_int_eq(level, LOG_WARN);
	snprintf(h->line, sizeof h->line, "%s", line);
}

START_TEST(progress_log_result_and_error_come_back)
{
	CLEAN(agent_end_ptr) struct agent *a = started();
	CLEAN(json_release) json_t *doc = json_object();
	CLEAN(json_release) json_t *ret = NULL;
	struct heard h = {0};
	const struct wire_job_events ev = {on_progress, on_log, &h};
	ck_assert_int_eq(agent_run(a, "tell", doc, &ev, NULL, &ret, &err), -ERR_NOSPACE);
	ck_assert_int_eq(h.files, 7);
	ck_assert_msg(strstr(h.line, "the disk is") && !strchr(h.line, '\033'), "%s", h.line);
	ck_assert_str_eq(json_string_value(json_object_get(ret, "done")), "so far");
}
END_TEST

START_TEST(cancelling_is_handed_on)
{
	CLEAN(agent_end_ptr) struct agent *a = started();
	CLEAN(json_release) json_t *doc = json_object();
	CLEAN(json_release) json_t *ret = NULL;
	struct heard h = {0};
	const struct wire_job_events ev = {on_progress, on_log, &h};
	ck_assert_int_eq(agent_run(a, "wait", doc, &ev, &h.cancel, &ret, &err), -ERR_CANCELLED);
}
END_TEST

START_TEST(an_agent_that_dies_is_a_failure_with_its_last_words)
{
	CLEAN(agent_end_ptr) struct agent *a = started();
	CLEAN(json_release) json_t *doc = json_object();
	CLEAN(json_release) json_t *ret = NULL;
	ck_assert_int_eq(agent_run(a, "die", doc, NULL, NULL, &ret, &err), -ERR_FAILED);
	ck_assert_msg(strstr(err.msg, "I lost my mind") && !strstr(err.msg, "one line"), "%s", err.msg);
	ck_assert_ptr_null(ret);
}
END_TEST

/* --- what a relay lets through --- */

/* g, p and l: gets (and older versions), puts, is shown in a list. */
static const struct row {
	const char *key, *source, *recovery;
} rows[] = {
        {"cfg/0", "gl", "gl"},
        {"k/docs/1", "gpl", "gl"},
        {"e/docs/" H32 "/" H32, "gpl", "gl"},
        {"p/docs/" ATTEMPT "/" EMPTY_SHA, "pl", "gl"},
        {"i/docs/" ATTEMPT ".0", "gpl", "gl"},
        {"i/docs/m." EMPTY_SHA, "gpl", "gl"},
        {"w/docs/" ATTEMPT "/open", "gpl", "gl"},
        {"w/docs/" ATTEMPT "/beat.0", "gpl", "gl"},
        {"w/docs/" ATTEMPT "/fate", "gpl", "gl"},
        {"s/docs/" ATTEMPT "/0000000001", "gpl", "gl"},
        {"r/docs/" ATTEMPT "/0000000001", "l", "gl"},
        {"x/docs/" ATTEMPT, "gl", "gl"},
        {"a/" EMPTY_SHA "/request", "l", "gl"},
        {"l/" ATTEMPT "/key", "l", "gl"},
        {"something", "l", "gl"},
        /* another source's */
        {"k/mail/1", "", "gl"},
        {"p/mail/" ATTEMPT "/" EMPTY_SHA, "", "gl"},
        {"i/mail/" ATTEMPT ".0", "", "gl"},
        {"w/mail/" ATTEMPT "/fate", "", "gl"},
        {"s/mail/" ATTEMPT "/0000000001", "", "gl"},
        {"x/mail/" ATTEMPT, "", "gl"},
};

static int tried(struct agent *a, const char *op, const char *key)
{
	CLEAN(json_release) json_t *doc = json_pack("{s:s, s:s}", "op", op, "key", key);
	CLEAN(json_release) json_t *ret = NULL;
	ck_assert_msg(!agent_run(a, "try", doc, NULL, NULL, &ret, &err), "%s", err.msg);
	return (int)json_integer_value(json_object_get(ret, "code"));
}

/* Allowed is anything but a refusal; whether the object is there, or the store can, is another matter. */
static void expect(struct agent *a, const char *op, const char *key, bool allowed)
{
	int code = tried(a, op, key);
	ck_assert_msg((code != ERR_DENIED) == allowed, "%s %s: %s", op, key, code ? err_name((enum err_code)code) : "done");
}

static void check_row(struct agent *a, const char *key, const char *rights)
{
	bool list = strchr(rights, 'l') != NULL;
	expect(a, "get", key, strchr(rights, 'g') != NULL);
	expect(a, "older", key, strchr(rights, 'g') != NULL);
	expect(a, "list", key, list);
	expect(a, "stat", key, list);
	expect(a, "digest", key, list);
	expect(a, "extend", key, false);
	ck_assert_int_ne(tried(a, "attack", key), 0);
	ck_assert_int_ne(tried(a, "remove", key), 0);
	expect(a, "put", key, strchr(rights, 'p') != NULL);
}

static void check_role(const struct wire_access *rights, bool source)
{
	struct store *site;
	struct store_keys before, after;
	ck_assert_int_eq(store_mem_open(source ? "as-source" : "as-recovery", &site, &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		ck_assert_int_eq(store_put_bytes(site, rows[i].key, NULL, 0, &err), 0);
	ck_assert_int_eq(store_list_all(site, "", &before, &err), 0);
	struct agent *a = started();
	agent_relay(a, 0, site, rights);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check_row(a, rows[i].key, source ? rows[i].source : rows[i].recovery);
	agent_end(a);
	ck_assert_int_eq(store_list_all(site, "", &after, &err), 0);
	ck_assert_uint_eq(before.n, after.n);
	store_keys_release(&before);
	store_keys_release(&after);
	store_free(site);
}

START_TEST(a_source_reaches_what_is_its_own_and_reads_no_pack)
{
	check_role(&(struct wire_access){WIRE_ROLE_SOURCE, "docs"}, true);
}
END_TEST

START_TEST(a_recovery_reads_all_and_writes_nothing)
{
	check_role(&(struct wire_access){.role = WIRE_ROLE_GET}, false);
}
END_TEST

START_TEST(what_is_not_relayed_is_not_there)
{
	CLEAN(agent_end_ptr) struct agent *a = started();
	CLEAN(json_release) json_t *doc = json_pack("{s:s, s:s}", "op", "get", "key", "cfg/0");
	CLEAN(json_release) json_t *ret = NULL;
	ck_assert_int_eq(agent_run(a, "try", doc, NULL, NULL, &ret, &err), -ERR_MISSING);
}
END_TEST

/* --- documents --- */

static json_t *run_doc(struct session_site site[2])
{
	struct source_run_result r = {.is_committed = true, .facts = {.files = 3, .bytes = 12, .notes = {1, 2, 3, 4}}, .committed = {.seq = 9, .new_lineage = true}};
	memset(r.committed.digest, 7, ID_LEN);
	strcpy(r.committed.lineage, ATTEMPT);
	site[0] = (struct session_site){.name = "north", .state = SITE_COMMITTED};
	site[1] = (struct session_site){.name = "south", .state = SITE_UNREACHABLE};
	(void)err_set(&site[1].err, ERR_UNREACHABLE, "no \001 route");
	return agent_doc_of_run(&r, site, 2);
}

START_TEST(a_run_survives_its_document)
{
	struct session_site sent[2], got[2] = {{.name = "south"}, {.name = "north"}};
	struct source_run_result r;
	CLEAN(json_release) json_t *doc = run_doc(sent);
	ck_assert_msg(!agent_doc_read_run(doc, &r, got, 2, &err), "%s", err.msg);
	ck_assert_uint_eq(r.facts.files, 3);
	ck_assert_uint_eq(r.facts.notes[NOTE_IGNORED], 4);
	ck_assert(r.is_committed && r.committed.new_lineage && r.committed.seq == 9 && r.committed.digest[31] == 7);
	ck_assert_str_eq(r.committed.lineage, ATTEMPT);
	ck_assert_int_eq(got[1].state, SITE_COMMITTED);
	ck_assert_int_eq(got[0].state, SITE_UNREACHABLE);
	ck_assert_int_eq(got[0].err.code, ERR_UNREACHABLE);
	ck_assert_ptr_null(strchr(got[0].err.msg, 1));
}
END_TEST

START_TEST(a_run_that_claims_the_impossible_is_refused)
{
	static const struct {
		const char *at, *key;
		const char *value;
	} wrong[] = {
	        {NULL, "v", "2"},
	        {"facts", "files", "-1"},
	        {"facts", "bytes", "9223372036854775807"},
	        {"facts", "notes", "[]"},
	        {"committed", "snapshot", "\"00\""},
	        {"committed", "lineage", "\"../../../../etc/x\""},
	        {"committed", "seq", "-4"},
	        {NULL, "sites", "{}"},
	        {NULL, "sites", "[{\"name\": \"west\", \"state\": \"committed\"}]"},
	        {NULL, "sites", "[{\"name\": \"north\", \"state\": \"perfect\"}]"},
	};
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct session_site site[2];
		struct source_run_result r;
		CLEAN(json_release) json_t *doc = run_doc(site);
		json_t *o = wrong[i].at ? json_object_get(doc, wrong[i].at) : doc;
		ck_assert_int_eq(json_object_set_new(o, wrong[i].key, json_loads(wrong[i].value, JSON_DECODE_ANY, NULL)), 0);
		ck_assert_msg(agent_doc_read_run(doc, &r, site, 2, &err) < 0, "%s: %s", wrong[i].key, wrong[i].value);
	}
}
END_TEST

/* --- a controller and an agent that lies --- */

#define PLAN "plan: far\ntargets: {rto: 1h, rpo: 1h}\nsources: [{name: docs, paths: [/x]}]\nsites: [{name: north, url: \"file:///x\"}]\n"

struct lied_to {
	char dir[64], link[PATH_MAX + 32];
	struct plan *plan;
	struct job job;
	struct cfg cfg;
	struct session_site site;
};

/* Its program is this one, found beside this one under the agent's name. */
static void lied_to_init(struct lied_to *l)
{
	struct plan_diags diags = PLAN_DIAGS_INIT;
	char self[PATH_MAX] = "", path[128];
	*l = (struct lied_to){.dir = "/tmp/holdfast-agent.XXXXXX", .site = {.name = "north"}};
	ck_assert_ptr_nonnull(mkdtemp(l->dir));
	snprintf(path, sizeof path, "%s/plan.yaml", l->dir);
	ck_assert_int_eq(fs_create(path, PLAN, sizeof PLAN - 1, 0600, &err), 0);
	ck_assert_msg(!plan_load_file(path, &l->plan, &diags, &err), "%s", err.msg);
	plan_diags_release(&diags);
	l->job = (struct job){.plan = l->plan};
	ck_assert_int_eq(store_mem_open("lied-to", &l->site.store, &err), 0);
	ck_assert_int_gt(readlink("/proc/self/exe", self, sizeof self - 1), 0);
	snprintf(l->link, sizeof l->link, "%.*s/" PROGRAM, (int)(strrchr(self, '/') - self), self);
	(void)unlink(l->link);
	ck_assert_int_eq(symlink(self, l->link), 0);
}

static void lied_to_release(struct lied_to *l)
{
	(void)unlink(l->link);
	store_free(l->site.store);
	plan_free(l->plan);
	ck_assert_int_eq(fs_remove_tree(l->dir, NULL), 0);
}

static int run_liar(struct lied_to *l, struct source_run_result *r)
{
	struct source_run_opts o = {.plan = "far", .plan_digest = l->plan->digest, .source = &l->plan->sources[0], .cfg = &l->cfg, .site = &l->site, .n_sites = 1, .run_id = H32};
	err = (struct err)ERR_INIT;
	return remote_source_run(&l->job, &o, r, &err);
}

START_TEST(a_commit_that_no_site_shows_is_not_believed)
{
	struct lied_to l;
	struct source_run_result r;
	log_set(LOG_ERROR, false);
	lied_to_init(&l);
	ck_assert_int_eq(run_liar(&l, &r), -ERR_FAILED);
	ck_assert_msg(strstr(err.msg, "no site has"), "%s", err.msg);
	ck_assert(!r.is_committed && r.committed.committed == 0);
	ck_assert_int_eq(l.site.state, SITE_FAILED);
	/* an object is there, with the digest that was told, but nobody who may has signed it */
	ck_assert_int_eq(store_put_bytes(l.site.store, "s/docs/" ATTEMPT "/0000000001", NULL, 0, &err), 0);
	ck_assert_int_eq(run_liar(&l, &r), -ERR_FAILED);
	ck_assert(!r.is_committed);
	lied_to_release(&l);
}
END_TEST

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');
	if (name && str_eq(name + 1, PROGRAM))
		return play_liar();
	if (argc == 3 && str_eq(argv[1], "--root"))
		return play(argv[2]);
	(void)signal(SIGPIPE, SIG_IGN);
	crypto_init();
	Suite *s = suite_create("agent");
	TCase *t = tcase_create("agent");
	tcase_add_test(t, hosts_are_taken_apart);
	tcase_add_test(t, a_missing_program_is_told_with_what_installs_it);
	tcase_add_test(t, a_program_that_ends_at_once_has_its_words_quoted);
	tcase_add_test(t, another_version_is_told_with_what_installs_ours);
	tcase_add_test(t, another_program_is_not_taken_for_ours);
	tcase_add_test(t, progress_log_result_and_error_come_back);
	tcase_add_test(t, cancelling_is_handed_on);
	tcase_add_test(t, an_agent_that_dies_is_a_failure_with_its_last_words);
	tcase_add_test(t, a_source_reaches_what_is_its_own_and_reads_no_pack);
	tcase_add_test(t, a_recovery_reads_all_and_writes_nothing);
	tcase_add_test(t, what_is_not_relayed_is_not_there);
	tcase_add_test(t, a_commit_that_no_site_shows_is_not_believed);
	tcase_add_test(t, a_run_survives_its_document);
	tcase_add_test(t, a_run_that_claims_the_impossible_is_refused);
	suite_add_tcase(s, t);
	return suite_main(s);
}
