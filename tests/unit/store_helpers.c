#include "store_conformance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"

static char tmp_dir[] = "/tmp/holdfast-store-XXXXXX";

static void begin(void)
{
	if (!mkdtemp(tmp_dir))
		BUG("cannot make %s", tmp_dir);
}

static void end(void)
{
	struct err err = ERR_INIT;

	if (fs_remove_tree(tmp_dir, &err))
		BUG("%s", err.msg);
}

int conformance_main(Suite *suite)
{
	begin();
	int failed = suite_main(suite);

	end();
	return failed;
}

static char this_place[sizeof tmp_dir + 64];

/* Of the process, too: a case may have one of its own (CK_FORK), and one that it starts shares its place. */
static void next_place(void)
{
	static unsigned n;

	store_mem_forget();
	(void)snprintf(this_place, sizeof this_place, "%s/%ld.%u/store", tmp_dir, (long)getpid(), ++n);
}

TCase *place_case(const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, next_place, NULL);
	return tc;
}

const char *conformance_place(void)
{
	return this_place;
}

/* --- helpers --- */

struct store *new_mem(const char *name)
{
	struct store *s;
	struct err err = ERR_INIT;

	must(store_mem_open(name, &s, &err), &err);
	return s;
}

int open_file(const char *place, struct store **ret, struct err *err)
{
	return store_file_open(place, &(struct store_config){.create = true}, ret, err);
}

struct store *new_file(void)
{
	struct store *s;
	struct err err = ERR_INIT;

	must(open_file(conformance_place(), &s, &err), &err);
	return s;
}

int in_child(void (*fn)(int arg), int arg)
{
	int status = 0;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		fn(arg);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

int count_key(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	(void)key;
	(void)st;
	(void)err;
	++*(int *)arg;
	return 0;
}

void ignore_line(void *arg, const char *line)
{
	(void)arg;
	(void)line;
}

void must(int rc, const struct err *err)
{
	ck_assert_msg(rc == 0, "%d: %s", rc, err->msg);
}

/* Nobody else has the bytes yet: the thread sanitizer need not look at each. */
__attribute__((no_sanitize("thread"))) unsigned char *pattern_bytes(size_t n, unsigned seed)
{
	unsigned char *p = xmalloc(n ? n : 1);
	uint32_t x = seed * 2654435761u + 1;

	for (size_t i = 0; i < n; i++) {
		x = x * 1664525u + 1013904223u;
		p[i] = (unsigned char)(x >> 24);
	}
	return p;
}

void put_text(struct store *s, const char *key, const char *text)
{
	struct err err = ERR_INIT;

	must(store_put_bytes(s, key, text, strlen(text), &err), &err);
}

void expect_text(struct store *s, const char *key, const char *text)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	struct err err = ERR_INIT;

	must(store_get(s, key, &b, &err), &err);
	ck_assert_str_eq(buf_str(&b), text);
}

void expect_missing(struct store *s, const char *key)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	struct store_stat st;
	struct err err = ERR_INIT;

	ck_assert_int_eq(store_get(s, key, &b, &err), -ERR_MISSING);
	ck_assert_int_eq(err.code, ERR_MISSING);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_int_eq(store_stat(s, key, &st, &err), -ERR_MISSING);
}

static int add_key(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	(void)st;
	(void)err;
	buf_addf(arg, "%s ", key);
	return 0;
}

void expect_list(struct store *s, const char *prefix, const char *after, const char *keys)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	struct err err = ERR_INIT;

	must(store_list(s, prefix, after, add_key, &b, &err), &err);
	ck_assert_str_eq(buf_str(&b), keys);
}
