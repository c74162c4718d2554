/*
 * A real S3 gateway for tests: where it is stands in the environment (tests/with-servers COMMAND...), each test has a
 * bucket of its own.
 */
#ifndef TESTS_UNIT_S3_FIXTURE_H
#define TESTS_UNIT_S3_FIXTURE_H

#include "store/store.h"

/* False, after a line that tells so, when there is no gateway. */
bool s3_here(void);
const char *s3_env(const char *name); /* HOLDFAST_S3_name; aborts when it is not there */
/* The running test's own bucket: its name follows from conformance_place(). */
const char *s3_bucket(void);
/* Configuration of the gateway, path style; its bucket is made when it is missing. */
struct store_config s3_config(void);
/* Open s3://BUCKET/prefix of the test's bucket; asserts that it works. */
struct store *s3_at(const char *prefix, const struct store_config *c);
/* Make the test's bucket without versions and locks, by a plain request. */
void s3_plain_bucket(void);

/* tests/lib/s3-liar.py in front of the gateway, until the process that started it ends. Its URL is an endpoint. */
struct s3_liar {
	char url[64];
};
void s3_liar_start(struct s3_liar *l);
/* JSON list of rules; counts begin anew. */
void s3_liar_rules(const struct s3_liar *l, const char *rules);
/* Requests since then, those of a method ("" for all). */
int s3_liar_count(const struct s3_liar *l, const char *method);

#endif
