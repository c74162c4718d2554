#include "session_fixture.h"
#include "suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"

static const char DEAD[] = "holdfast1 fate dead\n";

/* Sites that fail, go away or die in the middle of a run. */

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

static Suite *suite(void)
{
	Suite *s = suite_create("session faults");
	TCase *t = tcase_create("sites");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, set_up, tear_down);
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
	return s;
}

int main(void)
{
	return suite_main(suite());
}
