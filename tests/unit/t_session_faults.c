#include "session_fixture.h"

#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"

static const char DEAD[] = "holdfast1 fate dead\n";

/* Sites that fail, go away or die in the middle of a run, and runs that do. */

/* --- sites that fail --- */

START_TEST(without_any_site_nothing_is_signed)
{
	struct session_opts o = {
	        .state_dir = f.state, .keys = &f.keys, .cfg = &f.cfg, .n_sites = 1, .now = f.now, .run = "0a"};
	struct session_site site = {.name = "site-0"};
	struct session *s;

	back_up("one");
	o.site = &site;
	ck_fails(session_begin(&o, &s, &err), ERR_UNREACHABLE);
	back_up("two");
	ck_assert_uint_eq(f.result.seq, 2);
}
END_TEST

START_TEST(a_site_that_fails_on_the_way_does_not_stop_the_other)
{
	ck_ok(back_up_with_fault(1, "put p/ fail NOSPACE", "one"));
	ck_assert_uint_eq(f.result.committed, 1);
	ck_assert_int_eq(f.session_site[0].state, SITE_COMMITTED);
	ck_assert_int_eq(f.session_site[1].state, SITE_FAILED);
	ck_assert_int_eq(f.session_site[1].err.code, ERR_NOSPACE);
	ck_intact(0, 1);
	back_up("two");
	ck_assert_int_eq(f.session_site[1].state, SITE_BEHIND);
}
END_TEST

START_TEST(a_fate_that_did_not_arrive_is_offered_again)
{
	/* below w/ a run puts open, one beat, and then the fate */
	ck_ok(back_up_with_fault(1, "put w/ fail UNREACHABLE after 2", "one"));
	ck_assert_uint_eq(f.result.committed, 1);
	ck_assert(state_has("pending/site-1"));
	ck_assert_uint_eq(count_keys(1, "s/"), 0);
	back_up("two");
	ck_assert_uint_eq(f.result.committed, 2);
	ck_assert(!state_has("pending/site-1"));
	ck_intact(1, 2);
}
END_TEST

/* Site 1 goes away where the rule says, and its retry filter would try for hours. */
static int back_up_while_it_goes_away(const char *rule, const char *text)
{
	const struct store_retry hourly = {.base_ms = 3600000, .cap_ms = 3600000, .total_ms = 36000000};
	struct store *kept = f.store[1];

	f.store[1] = store_retry_new(with_fault(1, rule), &hourly);
	f.patience_ms = 1;
	int rc = try_back_up(text);

	store_free(f.store[1]);
	f.store[1] = kept;
	return rc;
}

START_TEST(a_site_that_goes_away_in_the_middle_holds_nobody_and_is_brought_up_later)
{
	ck_ok(back_up_while_it_goes_away(_i ? "put p/ fail UNREACHABLE" : "put i/ fail UNREACHABLE", "one"));
	ck_assert_uint_eq(f.result.committed, 1);
	ck_assert_int_eq(f.session_site[0].state, SITE_COMMITTED);
	ck_assert_int_eq(f.session_site[1].state, SITE_FAILED);
	ck_assert_ptr_nonnull(strstr(f.session_site[1].err.msg, "given up"));
	ck_assert(!state_has("pending/site-1"));
	ck_intact(0, 1);
	back_up("two");
	ck_assert_int_eq(f.session_site[1].state, SITE_BEHIND);
	ck_ok(bring(0, 1));
	back_up("three");
	ck_assert_uint_eq(f.result.committed, 2);
	ck_intact(1, 3);
}
END_TEST

START_TEST(a_site_that_goes_away_before_its_fate_is_offered_it_again)
{
	ck_ok(back_up_while_it_goes_away("put w/ fail UNREACHABLE after 2", "one"));
	ck_assert_uint_eq(f.result.committed, 1);
	ck_assert_int_eq(f.session_site[1].state, SITE_FAILED);
	ck_assert(state_has("pending/site-1"));
	back_up("two");
	ck_assert_uint_eq(f.result.committed, 2);
	ck_intact(0, 2);
	ck_intact(1, 2);
}
END_TEST

START_TEST(a_snapshot_that_no_site_took_is_offered_by_the_next_run)
{
	struct store *kept = f.store[0];

	f.store[0] = with_fault(0, "put w/ fail UNREACHABLE after 2");
	ck_fails(back_up_with_fault(1, "put w/ fail UNREACHABLE after 2", "one"), ERR_UNREACHABLE);
	store_free(f.store[0]);
	f.store[0] = kept;
	back_up("two");
	ck_assert_uint_eq(f.result.seq, 2);
	CLEAN(attempts_release) struct attempts all = look(0);

	ck_assert(of_seq(&all, 2)->snap.previous_committed);
	ck_intact(0, 2);
	ck_intact(1, 2);
}
END_TEST

START_TEST(an_attempt_that_others_declared_dead_is_lost_at_that_site_only)
{
	struct fixture_run run;
	char key[STORE_KEY_MAX + 1];

	fixture_begin(&f, &run);
	fill(&run, "one");
	key_attempt(key, FIXTURE_SOURCE, session_attempt(run.session), "fate");
	ck_ok(store_put_bytes(f.store[1], key, DEAD, sizeof DEAD - 1, &err));
	ck_ok(fixture_commit(&run, &err));
	ck_assert_int_eq(f.session_site[0].state, SITE_COMMITTED);
	ck_assert_int_eq(f.session_site[1].state, SITE_LOST);
	ck_assert(!state_has("pending/site-1"));
	ck_intact(0, 1);
}
END_TEST

START_TEST(a_snapshot_dead_everywhere_is_not_called_committed)
{
	struct fixture_run run;
	char key[STORE_KEY_MAX + 1];

	back_up("one");
	fixture_begin(&f, &run);
	fill(&run, "two");
	key_attempt(key, FIXTURE_SOURCE, session_attempt(run.session), "fate");
	for (size_t i = 0; i < 2; i++)
		ck_ok(store_put_bytes(f.store[i], key, DEAD, sizeof DEAD - 1, &err));
	ck_fails(fixture_commit(&run, &err), ERR_UNREACHABLE);
	back_up("three");
	ck_assert_uint_eq(f.result.seq, 3);
	CLEAN(attempts_release) struct attempts all = look(0);

	ck_assert(of_seq(&all, 3)->snap.has_previous);
	ck_assert(!of_seq(&all, 3)->snap.previous_committed);
	ck_intact(0, 2);
	ck_intact(1, 2);
}
END_TEST

START_TEST(a_site_that_was_away_is_behind_until_it_is_brought_up)
{
	back_up("one");
	back_up_without(1, "two");
	back_up("three");
	ck_assert_int_eq(f.session_site[1].state, SITE_BEHIND);
	ck_assert_uint_eq(f.result.committed, 1);
	ck_ok(bring(0, 1));
	back_up("four");
	ck_assert_uint_eq(f.result.committed, 2);
	ck_intact(0, 4);
	ck_intact(1, 4);
	ck_text(1, "four");
}
END_TEST

START_TEST(with_the_newest_copy_out_of_reach_the_others_are_written)
{
	back_up("one");
	back_up_without(1, "two");
	back_up_without(0, "three");
	ck_assert_int_eq(f.session_site[1].state, SITE_COMMITTED);
	ck_text(1, "three");
	ck_ok(bring(0, 1));
	ck_ok(bring(1, 0));
	back_up("four");
	ck_assert_uint_eq(f.result.committed, 2);
	ck_intact(0, 4);
	ck_intact(1, 4);
}
END_TEST

/* --- interrupted --- */

/* A child's run dies before or after the n-th operation on a site. False when it came to its end. */
static bool killed_at(size_t site, const char *what, unsigned n)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		char rule[64];

		snprintf(rule, sizeof rule, "any * %s after %u", what, n);
		if (store_fault_new(f.store[site], (const char *[]){rule, NULL}, &f.store[site], &err))
			_exit(2);
		_exit(try_back_up("interrupted") ? 3 : 0);
	}
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	else
		ck_assert_int_eq(WEXITSTATUS(status), 0);
	return WIFSIGNALED(status);
}

static void ck_one_chain(size_t site)
{
	CLEAN(attempts_release) struct attempts all = look(site);
	const struct attempt_info *last = NULL;

	for (uint64_t seq = 1; seq <= f.result.seq; seq++) {
		const struct attempt_info *at = NULL;

		for (size_t i = 0; i < all.n; i++)
			if (all.a[i].committed && all.a[i].snap.seq == seq) {
				ck_assert_msg(!at, "number %llu is committed twice", (unsigned long long)seq);
				at = &all.a[i];
			}
		if (at && last && at->snap.previous_committed)
			ck_assert_mem_eq(at->snap.previous, last->snapshot_digest, ID_LEN);
		last = at ? at : last;
	}
}

/* Whatever was decided stays readable at each site, and the next run completes. before: runs that were made. */
static void ck_recovers(size_t before)
{
	size_t snapshots[2];

	back_up("rerun");
	ck_assert(before == 0 || !f.result.new_lineage);
	if (f.result.committed < 2) {
		ck_ok(bring(0, 1));
		ck_ok(bring(1, 0));
		back_up("rerun");
	}
	ck_assert_uint_eq(f.result.committed, 2);
	for (size_t i = 0; i < 2; i++) {
		CLEAN(attempts_release) struct attempts all = look(i);

		snapshots[i] = 0;
		for (size_t k = 0; k < all.n; k++)
			snapshots[i] += all.a[k].committed;
		ck_assert_uint_ge(snapshots[i], before + 1);
		ck_one_chain(i);
		ck_intact(i, snapshots[i]);
		ck_text(i, "rerun");
	}
	ck_assert_uint_eq(snapshots[0], snapshots[1]);
}

START_TEST(a_rerun_completes_what_was_killed_anywhere)
{
	static const char *const what[] = {"kill", "killafter"};
	size_t before = (size_t)_i / 4 * 2; /* the very first run, and a later one */

	for (unsigned n = 0;; n++) {
		if (n) {
			tear_down();
			set_up();
		}
		for (size_t i = 0; i < before; i++)
			back_up("before");
		bool killed = killed_at((size_t)_i % 2, what[_i / 2 % 2], n);

		ck_recovers(before);
		if (!killed) {
			ck_assert_uint_gt(n, 8); /* it did die at as many places */
			break;
		}
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("session faults");
	TCase *t = tcase_create("sites"), *kill = tcase_create("killed");

	suite_add_tcase(s, t);
	suite_add_tcase(s, kill);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_checked_fixture(kill, set_up, tear_down);
	tcase_set_timeout(t, 120);
	tcase_set_timeout(kill, 300);
	tcase_add_test(t, without_any_site_nothing_is_signed);
	tcase_add_test(t, a_site_that_fails_on_the_way_does_not_stop_the_other);
	tcase_add_test(t, a_fate_that_did_not_arrive_is_offered_again);
	tcase_add_loop_test(t, a_site_that_goes_away_in_the_middle_holds_nobody_and_is_brought_up_later, 0, 2);
	tcase_add_test(t, a_site_that_goes_away_before_its_fate_is_offered_it_again);
	tcase_add_test(t, a_snapshot_that_no_site_took_is_offered_by_the_next_run);
	tcase_add_test(t, an_attempt_that_others_declared_dead_is_lost_at_that_site_only);
	tcase_add_test(t, a_snapshot_dead_everywhere_is_not_called_committed);
	tcase_add_test(t, a_site_that_was_away_is_behind_until_it_is_brought_up);
	tcase_add_test(t, with_the_newest_copy_out_of_reach_the_others_are_written);
	tcase_add_loop_test(kill, a_rerun_completes_what_was_killed_anywhere, 0, 8);
	return s;
}

int main(void)
{
	SRunner *r = srunner_create(suite());

	srunner_run_all(r, CK_ENV);
	int bad = srunner_ntests_failed(r);

	srunner_free(r);
	return bad != 0;
}
