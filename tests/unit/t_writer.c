/* Memory of the writer. */
#include "backup/writer.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include "repo_fixture.h"
#include "repo_random.h"
#include "suite.h"

#define MIB (1ull << 20)
static struct err err;

START_TEST(without_a_bound_there_is_as_much_as_wanted)
{
	struct writer_memory m = {.workers = 5, .packs = 3};
	ck_assert_int_eq(writer_memory_plan(0, 3, &m, &err), 0);
	ck_assert_uint_eq(m.workers, 5);
	ck_assert_uint_eq(m.packs, 3);
	ck_assert_uint_eq(m.pack_aim, PACK_AIM);
}
END_TEST

START_TEST(a_bound_makes_packs_smaller_then_fewer_and_then_the_workers)
{
	struct writer_memory last = {.workers = 16, .packs = 5}, m = last;
	ck_assert_int_eq(writer_memory_plan(10240 * MIB, 3, &last, &err), 0);
	ck_assert_uint_eq(last.workers, 16);
	ck_assert_uint_eq(last.packs, 5);
	ck_assert_uint_eq(last.pack_aim, PACK_AIM);
	for (uint64_t memory = 640; memory >= 64; memory -= 4) {
		m = (struct writer_memory){.workers = 16, .packs = 5};
		ck_assert_int_eq(writer_memory_plan(memory * MIB, 3, &m, &err), 0);
		ck_assert(m.workers >= 1 && m.workers <= last.workers);
		ck_assert(m.packs >= 2 && m.packs <= last.packs);
		ck_assert(m.pack_aim >= 4 * MIB && m.pack_aim <= PACK_AIM);
		ck_assert(m.packs == 2 || m.workers == 16);
		if (m.workers == last.workers && m.packs == last.packs)
			ck_assert_uint_le(m.pack_aim, last.pack_aim);
		last = m;
	}
	ck_assert_uint_eq(last.workers, 1);
}
END_TEST

START_TEST(less_than_one_worker_needs_is_refused_with_what_it_needs)
{
	const struct writer_memory wanted = {.workers = 2, .packs = 2};
	struct writer_memory m = wanted;
	unsigned at_least = 0;
	ck_assert_int_eq(writer_memory_plan(32 * MIB, 3, &m, &err), -ERR_USAGE);
	const char *number = strstr(err.hint, "at least ");
	ck_assert_msg(number && sscanf(number, "at least %uMiB", &at_least) == 1, "%s", err.hint);
	m = wanted;
	ck_assert_int_eq(writer_memory_plan(at_least * MIB, 3, &m, &err), 0);
	ck_assert_int_eq(writer_memory_plan((at_least - 1) * MIB, 3, &m, &err), -ERR_USAGE);
	ck_assert_int_eq(writer_memory_plan(at_least * MIB, 12, &m, &err), -ERR_USAGE); /* tables of that level are larger */
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they have memory of their own */
/* What is hard to hold: chunks of the largest size (hardly a cut in long runs), and data that does not shrink. */
static void fill(unsigned char *p, size_t n, uint64_t *state)
{
	fill_random(p, n / 2, state);
	memset(p + n / 2, 0, n - n / 2);
	for (size_t at = n / 2; at + 8 <= n; at += 8192)
		fill_random(p + at, 8, state);
}

/* Peak of this process in bytes: each test is one of its own. */
static uint64_t peak(void)
{
	struct rusage u;
	ck_assert_int_eq(getrusage(RUSAGE_SELF, &u), 0);
	return (uint64_t)u.ru_maxrss << 10;
}

static const uint64_t BOUNDS[] = {64 * MIB, 80 * MIB, 112 * MIB};

START_TEST(a_backup_stays_within_its_bound)
{
	struct fixture f;
	struct fixture_run run;
	uint64_t state = 7;
	const size_t n = 16 * MIB;
	fixture_init_in(&f, 1, true, fixture_fast_dir());
	f.memory = BOUNDS[_i];
	uint64_t before = peak();
	fixture_begin(&f, &run);
	CLEAN(free_ptr) unsigned char *p = xmalloc(n); /* the test's own */
	for (unsigned i = 0; i < 16; i++) {
		char path[16];
		snprintf(path, sizeof(path), "f%u", i);
		fill(p, n, &state);
		fixture_add(&run, &(struct fixture_entry){.path = path, .mode = S_IFREG | 0600, .content = p, .n = n});
	}
	ck_assert_int_eq(fixture_commit(&run, &err), 0);
	ck_assert_uint_le(before, 16 * MIB);
	ck_assert_uint_le(peak(), f.memory + n);
	fixture_release(&f);
}
END_TEST
#endif

int main(void)
{
	Suite *suite = suite_create("writer");
	TCase *c = tcase_create("memory");
	tcase_add_test(c, without_a_bound_there_is_as_much_as_wanted);
	tcase_add_test(c, a_bound_makes_packs_smaller_then_fewer_and_then_the_workers);
	tcase_add_test(c, less_than_one_worker_needs_is_refused_with_what_it_needs);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they have memory of their own */
	tcase_add_loop_test(c, a_backup_stays_within_its_bound, 0, sizeof(BOUNDS) / sizeof(*BOUNDS));
#endif
	suite_add_tcase(suite, c);
	return suite_main(suite);
}
