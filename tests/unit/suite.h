/* The main of a test program. */
#ifndef TESTS_UNIT_SUITE_H
#define TESTS_UNIT_SUITE_H

#include <check.h>

#include "base/err.h"

/* For tests with a variable `err` that their calls are given: it holds the words of this call, not of one before. */
#define ck_ok(call)                                                                                                    \
	do {                                                                                                           \
		err = (struct err)ERR_INIT;                                                                            \
		int rc_ = (call);                                                                                      \
		ck_assert_msg(rc_ == 0, "%s: %s", #call, err.msg);                                                     \
	} while (0)
#define ck_fails(call, with)                                                                                           \
	do {                                                                                                           \
		err = (struct err)ERR_INIT;                                                                            \
		ck_assert_int_eq(call, -(int)(with));                                                                  \
		ck_assert_int_eq(err.code, with);                                                                      \
		ck_assert_str_ne(err.msg, "");                                                                         \
	} while (0)

/* What a case is tagged with that is worth a run under the thread sanitizer, where its suite also has many that are not (ON_THREADS, Makefile). */
#define ON_THREADS "threads"

/*
 * Run a suite, which is freed: what main() returns. All cases in this process, because one of its own for each (its start, its pages, its
 * look for leaks) would be most of what a test costs under a sanitizer; CK_FORK=yes gives each its own, with a time limit, to find one that hangs.
 */
int suite_main(Suite *s);
/* For cases that end their process, or change it: its descriptors, its mounts. */
int suite_main_forked(Suite *s);

#endif
