/*
 * Runs at two sites that share a fixture of the repository, for the tests of sessions.
 */
#ifndef TESTS_UNIT_SESSION_FIXTURE_H
#define TESTS_UNIT_SESSION_FIXTURE_H

#include <check.h>
#include "backup/session.h"
#include "repo/fields.h"
#include "repo_fixture.h"
#include "restore/reader.h"
#include "suite.h"

/* Of the running test. */
extern struct err err;
extern struct fixture f;

/* For tcase_add_checked_fixture: two sites on a fast file system. */
void set_up(void);
void tear_down(void);
/* Entries of a run: a large file and a text. */
void fill(struct fixture_run *run, const char *text);
/* One run at all sites; with one out of reach; with a rule of the fault filter at one. */
int try_back_up(const char *text);
void back_up(const char *text);
void back_up_without(size_t away, const char *text);
struct store *with_fault(size_t site, const char *rule);
int back_up_with_fault(size_t site, const char *rule, const char *text);
int bring(size_t from, size_t to);
/* What is at a site. */
struct reader *open_one(size_t site, struct reader_site *s);
/* Every chunk of every snapshot at a site opens, the chain holds, and nothing else is to be told. */
void ck_intact(size_t site, size_t snapshots);
/* The newest snapshot at a site holds this text. */
void ck_text(size_t site, const char *text);
struct attempts look(size_t site);
const struct attempt_info *of_seq(const struct attempts *all, uint64_t seq);
size_t count_keys(size_t site, const char *prefix);
bool state_has(const char *name);
void save_state(void);
void roll_back_state(void);

#endif
