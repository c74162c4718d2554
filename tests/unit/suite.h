/* The main of a test program. */
#ifndef TESTS_UNIT_SUITE_H
#define TESTS_UNIT_SUITE_H

#include <check.h>

/* What a case is tagged with that is worth a run under the thread sanitizer, where its suite also has many that are not (ON_THREADS, Makefile). */
#define ON_THREADS "threads"

/* Run a suite, which is freed: what main() returns. */
int suite_main(Suite *s);

#endif
