/* A log in a directory of its own, and how to change its files: for the tests of the evidence module. */
#ifndef TESTS_EVIDENCE_FIXTURE_H
#define TESTS_EVIDENCE_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "evidence/evidence.h"

static char root[64], dir[80], key[96];
static struct err err;

static void setup(void)
{
	crypto_init();
	store_mem_forget();
	snprintf(root, sizeof(root), "/tmp/hf-evidence-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	snprintf(dir, sizeof(dir), "%s/log", root);
	snprintf(key, sizeof(key), "%s/keys/log.key", root);
	clock_fake(1774951872345000000, 5000000000);
}

static void teardown(void)
{
	clock_fake(-1, 0);
	ck_assert_int_eq(fs_remove_tree(root, NULL), 0);
}

#define ok(call)                                                                                                       \
	do {                                                                                                           \
		err = (struct err)ERR_INIT;                                                                            \
		int rc_ = (call);                                                                                      \
		ck_assert_msg(rc_ == 0, "%s: %d %s", #call, rc_, err.msg);                                             \
	} while (0)
#define fails(want, call)                                                                                              \
	do {                                                                                                           \
		err = (struct err)ERR_INIT;                                                                            \
		ck_assert_int_eq(call, -(want));                                                                       \
		ck_assert_int_eq(err.code, want);                                                                      \
		ck_assert_str_ne(err.msg, "");                                                                         \
	} while (0)

static struct evidence_log *open_log(void)
{
	struct evidence_config c = {.dir = dir, .key_path = key, .create = true};
	struct evidence_log *log;

	ok(evidence_open(&c, &log, &err));
	return log;
}

static void append(struct evidence_log *log, const char *type, int number)
{
	CLEAN(json_release) json_t *body = json_pack("{s:i}", "number", number);

	ok(evidence_append(log, &(struct evidence_event){.type = type, .body = body}, NULL, &err));
}

__attribute__((unused)) static char *in_log(const struct evidence_log *log, const char *name)
{
	CLEAN(free_ptr) char *sub = fs_join(dir, evidence_log_id(log));

	return fs_join(sub, name);
}

__attribute__((unused)) static void slurp(const char *path, struct buf *b)
{
	buf_clear(b);
	ok(fs_read(path, b, &err));
}

__attribute__((unused)) static void spill(const char *path, const void *p, size_t n)
{
	ok(fs_replace(path, p, n, 0600, &err));
}

#endif
