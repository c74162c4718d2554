/* Drills: the controller's judgement, planted faults armed and disarmed, the mark of a crash, the isolated process. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "drill/drill_judge.h"
#include "ops/ops.h"
#include "suite.h"

#define MIN_NS (60 * INT64_C(1000000000))

/* --- an installation with one source that has one snapshot at one site --- */

struct place {
	char dir[64];
	struct root root;
	struct plan *plan;
	struct job job;
	char *work;
};

static char *at(const struct place *p, const char *name)
{
	return fs_join(p->dir, name);
}

static const char *plan_text(const struct place *p, struct buf *b, const char *checks)
{
	buf_addf(b,
	        "plan: unit\n"
	        "owner: {name: Someone, contact: someone@example.org}\n"
	        "targets: {rto: 1h, rpo: 1h}\n"
	        "sources: [{name: files, paths: [\"%s/src\"]}, {name: dump, command: [cat, \"%s/src/data\"]}]\n"
	        "sites: [{name: north, url: \"file://%s/north\"}]\n"
	        "recovery:\n"
	        "  steps:\n"
	        "    - {id: files, restore: files, to: \"${work}/f\"}\n"
	        "    - {id: dump, restore: dump, to: \"${work}/d\", needs: [files]}\n"
	        "    - {id: start, run: [\"true\"], needs: [dump]}\n"
	        "  checks:\n"
	        "    - {id: bytes, kind: manifest, of: files}\n"
	        "    - {id: works, kind: command, run: [\"true\"], needs: [start]}\n"
	        "%s",
	        p->dir, p->dir, p->dir, checks);
	return buf_str(b);
}

static void place_init(struct place *p, const char *checks)
{
	CLEAN(buf_release) struct buf text = BUF_INIT(64u << 10);
	struct plan_diags diags = PLAN_DIAGS_INIT;
	struct err err = ERR_INIT;
	*p = (struct place){0};
	log_set(LOG_ERROR, false);
	signal(SIGPIPE, SIG_IGN);
	strcpy(p->dir, "/tmp/holdfast-drill.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(p->dir));
	CLEAN(free_ptr) char *src = at(p, "src");
	CLEAN(free_ptr) char *data = at(p, "src/data");
	CLEAN(free_ptr) char *root = at(p, "root");
	CLEAN(free_ptr) char *work = at(p, "trial");
	ck_assert_int_eq(fs_mkdirs(src, 0700, &err), 0);
	ck_assert_int_eq(fs_mkdirs(work, 0700, &err), 0);
	ck_assert_int_eq(fs_create(data, "what is protected\n", 18, 0600, &err), 0);
	p->work = TAKE(work);
	const char *yaml = plan_text(p, &text, checks);
	ck_assert_msg(!plan_load_bytes("unit.yaml", yaml, strlen(yaml), &p->plan, &diags, &err), "%s", err.msg);
	plan_diags_release(&diags);
	root_init(&p->root, root, NULL, NULL, NULL);
	p->job = (struct job){.root = &p->root, .plan = p->plan, .actor = "unit", .workers = 1};
}

static void place_fill(struct place *p)
{
	struct err err = ERR_INIT;
	json_t *out = NULL;
	crypto_init();
	ck_assert_msg(job_init(&p->job, &out, &err) == 0, "%s", err.msg);
	json_decref(out);
	out = NULL;
	ck_assert_msg(job_backup(&p->job, &(struct job_backup_opts){0}, &out, &err) == 0, "%s", err.msg);
	json_decref(out);
}

static void place_release(struct place *p)
{
	ck_assert_int_eq(fs_remove_tree(p->dir, NULL), 0);
	plan_free(p->plan);
	root_release(&p->root);
	free(p->work);
}

#define FRESH_CHECK "    - {id: fresh, kind: freshness, of: files, max_age: 30m}\n"

/* --- planted faults --- */

static bool planted(struct place *p, enum negative kind, const struct negative_plant *plant, char text[700])
{
	struct drill_run d = {.j = &p->job, .work = p->work, .declared_ns = clock_wall_ns()};
	return negative_run(&d, kind, plant, text, 700);
}

START_TEST(a_damaged_pack_is_noticed_and_an_undamaged_one_is_not)
{
	static const char *const harmless[] = {"get p/nothing-has-this-name flip", NULL};
	struct negative_plant armed = NEGATIVE_PLANT_INIT, disarmed = {.fault_rules = harmless, .age_ms = -1};
	struct place p;
	char text[700];
	place_init(&p, "");
	place_fill(&p);
	ck_assert_msg(planted(&p, NEGATIVE_CORRUPT_PACK, &armed, text), "%s", text);
	ck_assert_ptr_nonnull(strstr(text, "noticed at source"));
	CLEAN(free_ptr) char *left = fs_join(p.work, "files");
	ck_assert_int_eq(fs_remove_tree(left, NULL), 0);
	ck_assert(!planted(&p, NEGATIVE_CORRUPT_PACK, &disarmed, text));
	ck_assert_ptr_nonnull(strstr(text, "as if nothing had happened"));
	place_release(&p);
}
END_TEST

START_TEST(a_failure_for_another_reason_is_no_notice_of_damage)
{
	static const char *const other[] = {"get p/ fail NOSPACE", NULL};
	struct negative_plant plant = {.fault_rules = other, .age_ms = -1};
	struct place p;
	char text[700];
	place_init(&p, "");
	place_fill(&p);
	ck_assert(!planted(&p, NEGATIVE_CORRUPT_PACK, &plant, text));
	ck_assert_ptr_nonnull(strstr(text, "another reason"));
	place_release(&p);
}
END_TEST

START_TEST(a_wrong_key_opens_nothing_and_the_right_one_is_no_planted_fault)
{
	struct negative_plant armed = NEGATIVE_PLANT_INIT, disarmed = {.own_key = true, .age_ms = -1};
	struct place p;
	char text[700];
	place_init(&p, "");
	place_fill(&p);
	ck_assert_msg(planted(&p, NEGATIVE_WRONG_KEY, &armed, text), "%s", text);
	ck_assert(!planted(&p, NEGATIVE_WRONG_KEY, &disarmed, text));
	CLEAN(free_ptr) char *key = path_opening_key(&p.job);
	ck_assert_int_eq(unlink(key), 0);
	ck_assert_msg(!planted(&p, NEGATIVE_WRONG_KEY, &armed, text), "a key that opens nothing proves nothing");
	place_release(&p);
}
END_TEST

START_TEST(an_old_snapshot_is_noticed_only_by_a_check_of_freshness)
{
	struct negative_plant armed = NEGATIVE_PLANT_INIT, disarmed = {.age_ms = 1000};
	struct place p, without;
	char text[700];
	place_init(&p, FRESH_CHECK);
	place_fill(&p);
	ck_assert_msg(planted(&p, NEGATIVE_STALE_SNAPSHOT, &armed, text), "%s", text);
	ck_assert(!planted(&p, NEGATIVE_STALE_SNAPSHOT, &disarmed, text));
	place_release(&p);
	place_init(&without, "");
	ck_assert(!planted(&without, NEGATIVE_STALE_SNAPSHOT, &armed, text));
	ck_assert_ptr_nonnull(strstr(text, "no check of freshness"));
	place_release(&without);
}
END_TEST

START_TEST(freshness_ends_with_the_last_millisecond_and_does_not_trust_the_future)
{
	char text[128];
	ck_assert(drill_fresh(0, 30 * MIN_NS, 30 * 60000, text, sizeof text));
	ck_assert(!drill_fresh(0, 30 * MIN_NS + 1000000, 30 * 60000, text, sizeof text));
	ck_assert(!drill_fresh(MIN_NS, 0, 30 * 60000, text, sizeof text));
}
END_TEST

/* --- the controller's judgement --- */

static int tell(struct judge *g, const char *line)
{
	CLEAN(json_release) json_t *o = json_loads(line, 0, NULL);
	struct err err = ERR_INIT;
	ck_assert_ptr_nonnull(o);
	return judge_line(g, o, &err);
}

#define TIMES(a, b) "\"start\":" #a ",\"start_boot\":" #a ",\"end\":" #b ",\"end_boot\":" #b
#define STEP(id, a, b)                                                                                                 \
	"{\"t\":\"step\",\"id\":\"" id                                                                                 \
	"\",\"outcome\":\"passed\",\"code\":0,\"detail\":null,\"bytes\":5," TIMES(a, b) "}"
#define CHECK(id, how, a, b)                                                                                           \
	"{\"t\":\"check\",\"id\":\"" id "\",\"outcome\":\"" how "\",\"detail\":null,\"entries\":2," TIMES(a, b) "}"

static const json_t *clock_of(const struct result *r, const char *name)
{
	return json_object_get(json_object_get(result_json(r), "clocks"), name);
}

struct trial {
	struct place p;
	struct result *r;
	struct judge g;
};

static void trial_init(struct trial *t)
{
	place_init(&t->p, "");
	t->r = job_result(&t->p.job, "drill", NULL);
	judge_init(&t->g, &t->p.job, t->r);
}

static void trial_release(struct trial *t)
{
	judge_release(&t->g);
	result_free(t->r);
	place_release(&t->p);
}

START_TEST(all_that_is_told_as_passed_sets_every_clock)
{
	struct trial t;
	trial_init(&t);
	ck_assert_int_eq(tell(&t.g, "{\"t\":\"point\",\"at\":1000,\"at_boot\":1000}"), 0);
	ck_assert_int_eq(tell(&t.g, STEP("files", 2000, 3000)), 0);
	ck_assert_int_eq(tell(&t.g, CHECK("bytes", "passed", 3000, 4000)), 0);
	ck_assert_int_eq(tell(&t.g, STEP("dump", 4000, 5000)), 0);
	ck_assert_int_eq(tell(&t.g, STEP("start", 5000, 6000)), 0);
	ck_assert_int_eq(tell(&t.g, CHECK("works", "passed", 6000, 7000)), 0);
	ck_assert_int_eq(tell(&t.g, "{\"t\":\"end\"}"), 0);
	judge_end(&t.g);
	result_finish(t.r, "done", t.g.status);
	ck_assert_int_eq(t.g.status, 0);
	ck_assert_str_eq(json_string_value(clock_of(t.r, "data_restored")), "1970-01-01T00:00:00.005Z");
	ck_assert_str_eq(json_string_value(clock_of(t.r, "verified")), "1970-01-01T00:00:00.004Z");
	ck_assert_str_eq(json_string_value(clock_of(t.r, "service_back")), "1970-01-01T00:00:00.007Z");
	trial_release(&t);
}
END_TEST

START_TEST(what_was_not_told_is_skipped_and_never_counts_as_passed)
{
	struct trial t;
	trial_init(&t);
	ck_assert_int_eq(tell(&t.g, STEP("files", 2000, 3000)), 0);
	judge_end(&t.g);
	result_finish(t.r, "failed", t.g.status);
	ck_assert_int_eq(t.g.status, 1);
	ck_assert_int_eq(t.g.first.code, ERR_FAILED);
	ck_assert(json_is_null(clock_of(t.r, "service_back")));
	ck_assert(json_is_null(clock_of(t.r, "data_restored")));
	const json_t *sum = json_object_get(result_json(t.r), "summary");
	ck_assert_int_eq(json_integer_value(json_object_get(sum, "steps_skipped")), 2);
	ck_assert_int_eq(json_integer_value(json_object_get(sum, "checks_skipped")), 2);
	trial_release(&t);
}
END_TEST

START_TEST(a_report_that_stops_before_its_end_fails_even_when_all_passed)
{
	struct trial t;
	trial_init(&t);
	ck_assert_int_eq(tell(&t.g, STEP("files", 2000, 3000)), 0);
	ck_assert_int_eq(tell(&t.g, CHECK("bytes", "passed", 3000, 4000)), 0);
	ck_assert_int_eq(tell(&t.g, STEP("dump", 4000, 5000)), 0);
	ck_assert_int_eq(tell(&t.g, STEP("start", 5000, 6000)), 0);
	ck_assert_int_eq(tell(&t.g, CHECK("works", "passed", 6000, 7000)), 0);
	judge_end(&t.g);
	ck_assert_int_eq(t.g.status, 1);
	trial_release(&t);
}
END_TEST

START_TEST(a_failed_check_fails_the_drill_and_raises_a_finding_with_owner_and_date)
{
	struct trial t;
	trial_init(&t);
	ck_assert_int_eq(tell(&t.g, CHECK("works", "failed", 6000, 7000)), 0);
	const json_t *f = json_array_get(json_object_get(result_json(t.r), "findings"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(f, "owner")), "Someone");
	ck_assert(json_is_string(json_object_get(f, "due")));
	ck_assert_int_eq(t.g.status, 1);
	ck_assert_ptr_nonnull(strstr(t.g.first.msg, "'works'"));
	trial_release(&t);
}
END_TEST

START_TEST(damage_names_object_and_site_and_is_6)
{
	struct trial t;
	trial_init(&t);
	ck_assert_int_eq(tell(&t.g, "{\"t\":\"step\",\"id\":\"files\",\"outcome\":\"failed\",\"code\":7,\"detail\":"
	                            "\"x\",\"bytes\":0," TIMES(1, 2) "}"),
	        0);
	ck_assert_int_eq(tell(&t.g, "{\"t\":\"site\",\"name\":\"north\",\"outcome\":\"damaged\",\"served_bytes\":1,"
	                            "\"bad_objects\":2,\"bad\":[\"p/files/ab: why\"]}"),
	        0);
	ck_assert_int_eq(tell(&t.g, "{\"t\":\"end\"}"), 0);
	judge_end(&t.g);
	ck_assert_int_eq(t.g.status, 6);
	ck_assert_ptr_nonnull(strstr(t.g.first.msg, "north"));
	ck_assert_ptr_nonnull(strstr(t.g.first.msg, "p/files/ab"));
	trial_release(&t);
}
END_TEST

START_TEST(lines_that_the_plan_does_not_allow_are_refused)
{
	static const char *const lines[] = {
	        "{\"t\":\"rm\"}",
	        "{\"no\":\"type\"}",
	        STEP("other", 1, 2),
	        CHECK("other", "passed", 1, 2),
	        CHECK("works", "splendid", 1, 2),
	        CHECK("works", "passed", -1, 2),
	        "{\"t\":\"check\",\"id\":\"works\",\"outcome\":\"passed\",\"entries\":1}",
	        "{\"t\":\"step\",\"id\":\"files\",\"outcome\":\"passed\",\"bytes\":\"many\"," TIMES(1, 2) "}",
	        "{\"t\":\"step\",\"id\":\"files\",\"outcome\":\"passed\",\"bytes\":1," TIMES(
	                1, 9223372036854775807) "}",
	        "{\"t\":\"site\",\"name\":\"elsewhere\",\"outcome\":\"served\",\"served_bytes\":1,\"bad_objects\":0}",
	        "{\"t\":\"source\",\"name\":\"elsewhere\"}",
	        "{\"t\":\"isolation\",\"mount\":1}",
	};
	struct trial t;
	trial_init(&t);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		ck_assert_msg(tell(&t.g, lines[i]) == -ERR_FORMAT, "accepted: %s", lines[i]);
	ck_assert_int_eq(tell(&t.g, STEP("files", 1, 2)), 0);
	ck_assert_msg(tell(&t.g, STEP("files", 1, 2)) == -ERR_FORMAT, "a step told twice");
	trial_release(&t);
}
END_TEST

/* --- the mark of a crash --- */

static char *latest(const struct place *p)
{
	CLEAN(free_ptr) char *dir = fs_join(p->root.results, "unit");
	return fs_join(dir, "latest.json");
}

START_TEST(a_marker_without_its_process_becomes_a_crashed_result_and_nothing_is_left)
{
	struct place p;
	struct drill_marker m;
	struct err err = ERR_INIT;
	json_t *o = NULL;
	place_init(&p, "");
	crypto_init();
	ck_assert_int_eq(drill_marker_open(&p.job, &m, &err), 0);
	ck_assert_int_eq(drill_marker_write(&m, &p.job, "0123456789abcdef", clock_wall_ns(), "quarterly", &err), 0);
	CLEAN(free_ptr) char *work = drill_work_path(&p.job, "0123456789abcdef", NULL);
	CLEAN(free_ptr) char *second = drill_work_path(&p.job, "0123456789abcdef", "wrong-key");
	CLEAN(free_ptr) char *other = drill_work_path(&p.job, "fedcba9876543210", NULL);
	CLEAN(free_ptr) char *inner = fs_join(work, "restored");
	ck_assert_int_eq(
	        fs_mkdirs(inner, 0700, &err) | fs_mkdirs(second, 0700, &err) | fs_mkdirs(other, 0700, &err), 0);
	ck_assert_msg(!drill_marker_recover(&m, &p.job, NULL, &err), "%s", err.msg);
	ck_assert(!fs_exists(work) && !fs_exists(second) && fs_exists(other) && !fs_exists(m.path));
	CLEAN(free_ptr) char *path = latest(&p);
	ck_assert_int_eq(result_read(path, &o, &err), 0);
	ck_assert_str_eq(json_string_value(json_object_get(o, "outcome")), "crashed");
	ck_assert_str_eq(json_string_value(json_object_get(o, "scenario")), "quarterly");
	ck_assert(json_is_null(json_object_get(json_object_get(o, "rto"), "met")));
	json_decref(o);
	drill_marker_close(&m);
	place_release(&p);
}
END_TEST

START_TEST(a_marker_that_cannot_be_read_is_told_and_removes_nothing)
{
	static const char *const texts[] = {"", "{",
	        "{\"id\":\"../../src\",\"boot\":\"\",\"pid\":1,\"declared_us\":1,\"declared_boot_us\":1}",
	        "{\"id\":\"0123456789abcdef\",\"boot\":\"\",\"pid\":1,\"declared_us\":9223372036854775807,\"declared_"
	        "boot_us\":1}"};
	crypto_init();
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct place p;
		struct drill_marker m;
		struct err err = ERR_INIT;
		place_init(&p, "");
		CLEAN(free_ptr) char *src = at(&p, "src/data");
		ck_assert_int_eq(drill_marker_open(&p.job, &m, &err), 0);
		ck_assert_int_eq(fs_replace(m.path, texts[i], strlen(texts[i]), 0600, &err), 0);
		ck_assert_msg(!drill_marker_recover(&m, &p.job, NULL, &err), "%s", err.msg);
		CLEAN(free_ptr) char *path = latest(&p);
		ck_assert(fs_exists(src) && fs_exists(path) && !fs_exists(m.path));
		drill_marker_close(&m);
		place_release(&p);
	}
}
END_TEST

START_TEST(two_drills_of_a_plan_do_not_run_at_once)
{
	struct place p;
	struct drill_marker a, b;
	struct err err = ERR_INIT;
	place_init(&p, "");
	ck_assert_int_eq(drill_marker_open(&p.job, &a, &err), 0);
	ck_assert_int_eq(drill_marker_open(&p.job, &b, &err), -ERR_BUSY);
	drill_marker_close(&a);
	ck_assert_int_eq(drill_marker_open(&p.job, &b, &err), 0);
	drill_marker_close(&b);
	place_release(&p);
}
END_TEST

START_TEST(clean_up_counts_what_it_cannot_remove)
{
	struct place p;
	struct drill_cleanup c = {.removed = true};
	struct err err = ERR_INIT;
	place_init(&p, "");
	CLEAN(free_ptr) char *dir = at(&p, "trial/mounted");
	ck_assert_int_eq(fs_mkdirs(dir, 0700, &err), 0);
	if (!mount("tmpfs", dir, "tmpfs", 0, "size=4k")) /* root alone can leave a mount behind */
		ck_assert_int_eq(fs_remove_tree(p.work, &err), -ERR_IO);
	drill_clean(p.work, &c);
	ck_assert(c.removed && !c.mounts_left && !fs_exists(p.work));
	c = (struct drill_cleanup){.removed = true};
	drill_clean("/proc/self/fdinfo", &c);
	ck_assert(!c.removed && c.err.code);
	place_release(&p);
}
END_TEST

/* --- the isolated process --- */

static void tell_and_wait(struct isolated_self *self, void *arg)
{
	(void)arg;
	report_send(self->report, json_pack("{s:s, s:i}", "t", "here", "first", getpid() == 1));
	while (!atomic_load(&self->cancel))
		(void)usleep(1000); /* the pause of a poll */
	report_send(self->report, json_pack("{s:s}", "t", "stopped"));
}

struct heard {
	size_t here, stopped;
	bool first;
	atomic_bool cancel;
};

static int hear(void *arg, const json_t *o, struct err *err)
{
	struct heard *h = arg;
	const char *t = json_string_value(json_object_get(o, "t"));
	(void)err;
	h->here += str_eq(t, "here");
	h->stopped += str_eq(t, "stopped");
	h->first = h->first || json_integer_value(json_object_get(o, "first")) == 1;
	atomic_store(&h->cancel, true);
	return 0;
}

START_TEST(an_isolated_process_tells_is_stopped_when_asked_and_is_gone)
{
	struct isolated p;
	struct heard h = {0};
	struct err err = ERR_INIT;
	ck_assert_int_eq(isolated_start(&(struct isolated_start){ISOLATE_ALL, tell_and_wait, NULL, -1}, &p, &err), 0);
	ck_assert_msg(!report_listen(&p, &h.cancel, hear, &h, &err), "%s", err.msg);
	ck_assert_int_eq(isolated_end(&p, 10000), 0);
	ck_assert_uint_eq(h.here, 1);
	ck_assert_uint_eq(h.stopped, 1);
}
END_TEST

static void write_rubbish(struct isolated_self *self, void *arg)
{
	const char *text = arg;
	(void)fs_write_full(self->report, text, strlen(text));
}

START_TEST(a_line_that_is_no_json_ends_the_listening)
{
	struct isolated p;
	struct heard h = {0};
	struct err err = ERR_INIT;
	ck_assert_int_eq(isolated_start(&(struct isolated_start){ISOLATE_ALL, write_rubbish, (char[]){"{\"t\":\n"}, -1}, &p, &err), 0);
	ck_assert_int_eq(report_listen(&p, NULL, hear, &h, &err), -ERR_FORMAT);
	(void)isolated_end(&p, 10000);
	ck_assert_uint_eq(h.here, 0);
}
END_TEST

/* Ignores what it is asked, and leaves a child behind that does too. */
static void never_end(struct isolated_self *self, void *arg)
{
	(void)arg;
	if (fork() == 0)
		for (;;)
			pause();
	report_send(self->report, json_pack("{s:s}", "t", "here"));
	for (;;)
		pause();
}

static int stop_listening(void *arg, const json_t *o, struct err *err)
{
	(void)arg;
	(void)o;
	return err_set(err, ERR_CANCELLED, "enough");
}

static void end_by_force(unsigned want)
{
	struct isolated p;
	struct err err = ERR_INIT;
	char text[256];
	ck_assert_int_eq(isolated_start(&(struct isolated_start){want, never_end, NULL, -1}, &p, &err), 0);
	ck_assert_int_eq(report_listen(&p, NULL, stop_listening, NULL, &err), -ERR_CANCELLED);
	pid_t holder = p.pid;
	int report = dup(p.report);
	(void)isolated_end(&p, 0);
	ck_assert_int_eq(kill(holder, 0), -1);
	/* the pipe ends when the last process that could write to it is gone */
	ssize_t n;
	while ((n = read(report, text, sizeof text)) > 0)
		continue;
	ck_assert_int_eq(n, 0);
	close(report);
}

START_TEST(an_isolated_process_that_does_not_stop_is_ended_with_its_children)
{
	end_by_force(ISOLATE_ALL);
}
END_TEST

START_TEST(the_same_without_a_pid_namespace)
{
	end_by_force(ISOLATE_NET);
}
END_TEST

START_TEST(isolation_is_whole_unless_the_plan_says_less)
{
	const char *const two[] = {"mount", "ipc", NULL};
	ck_assert_uint_eq(isolate_of(NULL), ISOLATE_ALL);
	ck_assert_uint_eq(isolate_of(&(struct plan_list){.v = two, .n = 2}), ISOLATE_MOUNT | ISOLATE_IPC);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("drill");
	TCase *faults = tcase_create("planted faults"), *judge = tcase_create("judgement"),
	      *crash = tcase_create("crash"), *process = tcase_create("process");
	tcase_add_test(faults, a_damaged_pack_is_noticed_and_an_undamaged_one_is_not);
	tcase_add_test(faults, a_failure_for_another_reason_is_no_notice_of_damage);
	tcase_add_test(faults, a_wrong_key_opens_nothing_and_the_right_one_is_no_planted_fault);
	tcase_add_test(faults, an_old_snapshot_is_noticed_only_by_a_check_of_freshness);
	tcase_add_test(faults, freshness_ends_with_the_last_millisecond_and_does_not_trust_the_future);
	tcase_add_test(judge, all_that_is_told_as_passed_sets_every_clock);
	tcase_add_test(judge, what_was_not_told_is_skipped_and_never_counts_as_passed);
	tcase_add_test(judge, a_report_that_stops_before_its_end_fails_even_when_all_passed);
	tcase_add_test(judge, a_failed_check_fails_the_drill_and_raises_a_finding_with_owner_and_date);
	tcase_add_test(judge, damage_names_object_and_site_and_is_6);
	tcase_add_test(judge, lines_that_the_plan_does_not_allow_are_refused);
	tcase_add_test(crash, a_marker_without_its_process_becomes_a_crashed_result_and_nothing_is_left);
	tcase_add_test(crash, a_marker_that_cannot_be_read_is_told_and_removes_nothing);
	tcase_add_test(crash, two_drills_of_a_plan_do_not_run_at_once);
	tcase_add_test(crash, clean_up_counts_what_it_cannot_remove);
	tcase_add_test(process, an_isolated_process_tells_is_stopped_when_asked_and_is_gone);
	tcase_add_test(process, a_line_that_is_no_json_ends_the_listening);
	tcase_add_test(process, an_isolated_process_that_does_not_stop_is_ended_with_its_children);
	tcase_add_test(process, the_same_without_a_pid_namespace);
	tcase_add_test(process, isolation_is_whole_unless_the_plan_says_less);
	suite_add_tcase(s, faults);
	suite_add_tcase(s, judge);
	suite_add_tcase(s, crash);
	suite_add_tcase(s, process);
	return suite_main(s);
}
