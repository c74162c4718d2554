/*
 * What every storage driver and filter must do, as one libcheck case. Each driver is opened at a place of its own for
 * each test; opening the same place again must show the same objects.
 *
 *   conformance_begin(); suite_add_tcase(s, store_conformance(drivers, n)); ... run ...; conformance_end();
 */
#ifndef TESTS_UNIT_STORE_CONFORMANCE_H
#define TESTS_UNIT_STORE_CONFORMANCE_H

#include <check.h>
#include "store/store.h"

struct conformance_driver {
	const char *name; /* for messages */
	int (*open)(const char *place, struct store **ret, struct err *err);
};

/* A directory for places, made before and removed after all tests. */
void conformance_begin(void);
void conformance_end(void);
/* The running test's own place: the path of a directory that is not there yet. */
const char *conformance_place(void);
/* The case; drivers must stay in place until it has run. */
TCase *store_conformance(const struct conformance_driver *drivers, int n);

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
