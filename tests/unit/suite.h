/* The main of a test program. */
#ifndef TESTS_UNIT_SUITE_H
#define TESTS_UNIT_SUITE_H

#include <check.h>

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
