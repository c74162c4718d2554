/* Runs that are killed before or after any of their operations at a site, and what the next one makes of that. */
#include "session_fixture.h"
#include "suite.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

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
	Suite *s = suite_create("session killed");
	TCase *t = tcase_create("killed");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, a_rerun_completes_what_was_killed_anywhere, 0, 8);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
