/*
 * What every storage driver and filter must do, as two libcheck cases. Each driver is opened at a place of its own for
 * each test; opening the same place again must show the same objects.
 *
 *   store_conformance(s, drivers, n); return conformance_main(s);
 */
#ifndef TESTS_UNIT_STORE_CONFORMANCE_H
#define TESTS_UNIT_STORE_CONFORMANCE_H

#include <check.h>
#include "store/store.h"
#include "suite.h"

struct conformance_driver {
	const char *name; /* for messages */
	int (*open)(const char *place, struct store **ret, struct err *err);
	bool flat; /* a key may be the directory of another one */
};

/* A case whose tests have a place of their own each: the path of a directory that is not there yet. What mem://name held before is forgotten. */
TCase *place_case(const char *name);
const char *conformance_place(void);
/* Add the cases; drivers must stay in place until they have run. */
void store_conformance(Suite *s, const struct conformance_driver *drivers, int n);

/* For the cases themselves: the store of the n-th driver at the test's place, a case of tests that run with each of n, and the one on threads. */
struct store *conformance_open(int n);
TCase *conformance_case(const char *name, const TTest *const *tests, size_t n_tests, int n);
TCase *store_races(int n);

/* mem://name, a file store at the test's place (made when missing), and the same as a driver of the table opens it. */
struct store *new_mem(const char *name);
struct store *new_file(void);
int open_file(const char *place, struct store **ret, struct err *err);
/* Run fn in a process of its own; how it ended. */
int in_child(void (*fn)(int arg), int arg);
/* A list's callback that counts in *(int *)arg, and one for the lines of a trace that nobody reads. */
int count_key(void *arg, const char *key, const struct store_stat *st, struct err *err);
void ignore_line(void *arg, const char *line);
/* The main of a test program: 0 when all went well. */
int conformance_main(Suite *s);

/* n bytes that tell position and seed, newly allocated. */
unsigned char *pattern_bytes(size_t n, unsigned seed);
/* Assertions with the error's text on failure. */
void must(int rc, const struct err *err);
void put_text(struct store *s, const char *key, const char *text);
void expect_text(struct store *s, const char *key, const char *text);
void expect_missing(struct store *s, const char *key);
/* The keys under prefix, in order, each followed by a space. */
void expect_list(struct store *s, const char *prefix, const char *after, const char *keys);

#endif
