/* What SFTP servers have been seen to do, and what a hostile one may do: each ends in its own error, and then all is
 * well. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "sftp_server.h"
#include "sshd_fixture.h"
#include "sftp/sftp.h"
#include "store_conformance.h"

#define OBJECT ((size_t)700 << 10)

static struct sshd server;

static struct store *open_timed(int64_t idle_ms)
{
	const struct store_config c = {.create = true, .identity = server.user, .known_hosts = server.known_hosts};
	struct store *s;
	struct err err = ERR_INIT;
	char rest[400];

	(void)snprintf(rest, sizeof rest, "%s@127.0.0.1:%u%s", sshd_login(), server.port, conformance_place());
	must(sftp_open_timed(rest, &c, idle_ms, &s, &err), &err);
	return s;
}

static char *path_of(const char *key)
{
	return fs_join(conformance_place(), key);
}

/* --- faults: each is met by one operation --- */

enum op { OP_STAT, OP_GET, OP_PUT, OP_LIST, OP_REMOVE, OP_CLOCK };

static const struct fault {
	enum op op;
	enum wrong wrong;
	unsigned type, nth;
	unsigned long long arg;
	enum err_code code;
} faults[] = {
        /* statuses, of which OpenSSH gives number 4 for nearly everything; 7, 13, 37 and 43 are no reason to believe in
         */
        {OP_STAT, WRONG_STATUS, SFTP_LSTAT, 1, 3, ERR_DENIED},
        {OP_STAT, WRONG_STATUS, SFTP_LSTAT, 1, 4, ERR_IO},
        {OP_STAT, WRONG_STATUS, SFTP_LSTAT, 1, 7, ERR_UNREACHABLE},
        {OP_STAT, WRONG_STATUS, SFTP_LSTAT, 1, 13, ERR_IO},
        {OP_STAT, WRONG_STATUS, SFTP_LSTAT, 1, 37, ERR_IO},
        {OP_STAT, WRONG_STATUS, SFTP_LSTAT, 1, 43, ERR_IO},
        {OP_STAT, WRONG_STATUS, SFTP_LSTAT, 1, 0, ERR_FORMAT},
        {OP_GET, WRONG_STATUS, SFTP_OPEN, 1, 3, ERR_DENIED},
        {OP_GET, WRONG_STATUS, SFTP_OPEN, 1, 43, ERR_IO},
        {OP_GET, WRONG_STATUS, SFTP_READ, 3, 4, ERR_IO},
        {OP_GET, WRONG_STATUS, SFTP_READ, 3, 7, ERR_UNREACHABLE},
        {OP_GET, WRONG_STATUS, SFTP_READ, 3, 1, ERR_CORRUPT},
        {OP_GET, WRONG_STATUS, SFTP_READ, 3, 0, ERR_FORMAT},
        {OP_PUT, WRONG_STATUS, SFTP_OPEN, 1, 4, ERR_IO},
        {OP_PUT, WRONG_STATUS, SFTP_OPEN, 1, 14, ERR_NOSPACE},
        {OP_PUT, WRONG_STATUS, SFTP_WRITE, 5, 4, ERR_IO},
        {OP_PUT, WRONG_STATUS, SFTP_WRITE, 5, 2, ERR_IO},
        {OP_PUT, WRONG_STATUS, SFTP_WRITE, 5, 7, ERR_UNREACHABLE},
        {OP_PUT, WRONG_STATUS, SFTP_WRITE, 5, 13, ERR_IO},
        {OP_PUT, WRONG_STATUS, SFTP_WRITE, 5, 15, ERR_NOSPACE},
        {OP_PUT, WRONG_STATUS, SFTP_EXTENDED, 1, 4, ERR_IO},
        {OP_PUT, WRONG_STATUS, SFTP_CLOSE, 3, 4, ERR_IO},
        {OP_PUT, WRONG_STATUS, SFTP_RENAME, 1, 4, ERR_IO},
        {OP_PUT, WRONG_STATUS, SFTP_RENAME, 1, 37, ERR_IO},
        {OP_PUT, WRONG_STATUS, SFTP_MKDIR, 3, 3, ERR_DENIED},
        {OP_LIST, WRONG_STATUS, SFTP_OPENDIR, 1, 3, ERR_DENIED},
        {OP_LIST, WRONG_STATUS, SFTP_READDIR, 1, 2, ERR_IO},
        {OP_LIST, WRONG_STATUS, SFTP_READDIR, 1, 4, ERR_IO},
        {OP_LIST, WRONG_STATUS, SFTP_READDIR, 1, 43, ERR_IO},
        {OP_REMOVE, WRONG_STATUS, SFTP_REMOVE, 1, 3, ERR_DENIED},
        {OP_REMOVE, WRONG_STATUS, SFTP_REMOVE, 1, 4, ERR_IO},
        {OP_CLOCK, WRONG_STATUS, SFTP_FSTAT, 1, 4, ERR_UNSUPPORTED},
        {OP_CLOCK, WRONG_STATUS, SFTP_OPEN, 1, 2, ERR_IO},
        /* lies about what was written */
        {OP_PUT, WRONG_SIZE, SFTP_FSTAT, 1, OBJECT - 1, ERR_IO},
        {OP_PUT, WRONG_SIZE, SFTP_FSTAT, 1, 0, ERR_IO},
        {OP_PUT, WRONG_TYPE, SFTP_FSTAT, 1, SFTP_HANDLE, ERR_FORMAT},
        {OP_GET, WRONG_SIZE, SFTP_LSTAT, 1, OBJECT + 1, ERR_CORRUPT},
        {OP_GET, WRONG_SIZE, SFTP_LSTAT, 1, 1ull << 62, ERR_CORRUPT},
        /* packets that are none */
        {OP_STAT, WRONG_LENGTH, SFTP_LSTAT, 1, 0, ERR_FORMAT},
        {OP_STAT, WRONG_LENGTH, SFTP_LSTAT, 1, 0xffffffff, ERR_FORMAT},
        {OP_STAT, WRONG_LENGTH, SFTP_LSTAT, 1, SFTP_PACKET_MAX + 1, ERR_FORMAT},
        {OP_STAT, WRONG_TEXT, SFTP_LSTAT, 1, 0, ERR_FORMAT},
        {OP_STAT, WRONG_TYPE, SFTP_LSTAT, 1, SFTP_ATTRS, ERR_FORMAT},
        {OP_STAT, WRONG_TYPE, SFTP_LSTAT, 1, 77, ERR_FORMAT},
        {OP_GET, WRONG_TYPE, SFTP_READ, 1, SFTP_NAME, ERR_FORMAT},
        {OP_GET, WRONG_TYPE, SFTP_READ, 2, SFTP_STATUS, ERR_FORMAT},
        {OP_STAT, WRONG_ID, SFTP_LSTAT, 1, 0, ERR_FORMAT},
        {OP_GET, WRONG_ID, SFTP_READ, 2, 0, ERR_FORMAT},
        {OP_PUT, WRONG_ID, SFTP_WRITE, 2, 0, ERR_FORMAT},
        {OP_GET, WRONG_TWICE, SFTP_READ, 2, 0, ERR_FORMAT},
        {OP_PUT, WRONG_TWICE, SFTP_WRITE, 2, 0, ERR_FORMAT},
        {OP_LIST, WRONG_TWICE, SFTP_OPENDIR, 1, 0, ERR_FORMAT},
        {OP_GET, WRONG_HANDLE, SFTP_OPEN, 1, 0, ERR_FORMAT},
        {OP_GET, WRONG_HANDLE, SFTP_OPEN, 1, 257, ERR_FORMAT},
        {OP_PUT, WRONG_HANDLE, SFTP_OPEN, 1, 70000, ERR_FORMAT},
        {OP_GET, WRONG_DATA, SFTP_READ, 2, 0, ERR_FORMAT},
        {OP_GET, WRONG_DATA, SFTP_READ, 2, 32769, ERR_FORMAT},
        {OP_LIST, WRONG_COUNT, SFTP_READDIR, 1, 2, ERR_FORMAT},
        {OP_LIST, WRONG_COUNT, SFTP_READDIR, 1, 0xffffffff, ERR_FORMAT},
        {OP_LIST, WRONG_TYPE, SFTP_READDIR, 1, SFTP_HANDLE, ERR_FORMAT},
        /* ends and silence */
        {OP_STAT, WRONG_EXIT, SFTP_LSTAT, 1, 0, ERR_UNREACHABLE},
        {OP_GET, WRONG_EXIT, SFTP_READ, 5, 0, ERR_UNREACHABLE},
        {OP_PUT, WRONG_EXIT, SFTP_WRITE, 5, 0, ERR_UNREACHABLE},
        {OP_PUT, WRONG_EXIT, SFTP_RENAME, 1, 0, ERR_UNREACHABLE},
        {OP_LIST, WRONG_EXIT, SFTP_READDIR, 2, 0, ERR_UNREACHABLE},
        {OP_REMOVE, WRONG_EXIT, SFTP_REMOVE, 1, 0, ERR_UNREACHABLE},
        /* the status of a shell that finds no program: no word about an object */
        {OP_GET, WRONG_EXIT, SFTP_READ, 1, 127, ERR_UNSUPPORTED},
        {OP_STAT, WRONG_EXIT, SFTP_LSTAT, 1, 127, ERR_UNSUPPORTED},
        {OP_STAT, WRONG_SILENT, SFTP_LSTAT, 1, 0, ERR_UNREACHABLE},
        {OP_GET, WRONG_SILENT, SFTP_READ, 2, 0, ERR_UNREACHABLE},
        {OP_PUT, WRONG_SILENT, SFTP_WRITE, 2, 0, ERR_UNREACHABLE},
};

static int operate(struct store *s, enum op op, const char *key, const unsigned char *p, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(2 * OBJECT);
	CLEAN(store_keys_release) struct store_keys keys = {0};
	struct store_stat st;
	int64_t at;
	int rc = 0;

	switch (op) {
	case OP_STAT:
		return store_stat(s, key, &st, err);
	case OP_GET:
		rc = store_get_sink(s, key, (struct store_range){0, 0}, &(struct store_sink){store_buf_write, &b}, err);
		/* A part may have come, but never a wrong byte. */
		ck_assert(b.len <= OBJECT && memcmp(b.p ? b.p : p, p, b.len) == 0);
		ck_assert(rc || b.len == OBJECT);
		return rc;
	case OP_PUT:
		return store_put_bytes(s, key, p, OBJECT, err);
	case OP_LIST:
		rc = store_list_all(s, "p/", &keys, err);
		ck_assert(rc || keys.n == 1);
		return rc;
	case OP_REMOVE:
		return store_remove(s, key, err);
	default:
		return store_clock(s, &at, err);
	}
}

/* Nothing of a message may reach a terminal as it came. */
static void expect_printable(const struct err *err)
{
	for (const char *c = err->msg; *c; c++)
		ck_assert_int_ge((unsigned char)*c, ' ');
}

START_TEST(a_server_that_goes_wrong_is_told_and_then_used_again)
{
	const struct fault *f = &faults[_i];
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(OBJECT, 1);
	CLEAN(free_ptr) char *there = path_of("p/there"), *dir = path_of("p");
	const char *key = f->op == OP_PUT ? "p/new/x" : "p/there";
	struct err err = ERR_INIT;

	must(fs_mkdirs(dir, 0700, &err), &err);
	must(fs_create(there, p, OBJECT, 0400, &err), &err);
	wrong_at(server.dir, f->wrong, f->type, f->nth, f->arg);
	CLEAN(store_free_ptr) struct store *s = open_timed(f->wrong == WRONG_SILENT ? 5000 : 0);
	int rc = operate(s, f->op, key, p, &err);

	ck_assert_msg(rc == -(int)f->code, "case %d: %d instead of %d: %s", _i, rc, -(int)f->code, err.msg);
	ck_assert(err.retryable == (f->code == ERR_UNREACHABLE));
	expect_printable(&err);
	ck_assert(wrong_done(server.dir));
	if (f->op == OP_PUT)
		expect_missing(s, key);
	must(operate(s, f->op, key, p, &err), &err);
	if (f->op == OP_PUT)
		must(operate(s, OP_GET, key, p, &err), &err);
}
END_TEST

/* --- lies about names --- */

/* It was given all the same: who asks again finds his own bytes. */
START_TEST(a_name_given_without_a_word_is_found_by_asking)
{
	static const enum wrong ways[] = {WRONG_STATUS_AFTER, WRONG_EXIT_AFTER};
	static const enum err_code codes[] = {ERR_EXISTS, ERR_UNREACHABLE};
	struct err err = ERR_INIT;

	wrong_at(server.dir, ways[_i], SFTP_RENAME, 1, SFTP_FAILURE);
	CLEAN(store_free_ptr) struct store *s = open_timed(0);

	ck_assert_int_eq(store_put_bytes(s, "p/x", "text", 4, &err), -(int)codes[_i]);
	ck_assert_int_eq(store_put_bytes(s, "p/x", "text", 4, &err), -ERR_EXISTS);
	must(store_put_same(s, "p/x", "text", 4, &err), &err);
	expect_text(s, "p/x", "text");
}
END_TEST

/* The driver looks before it asks for the name, so that even such a server keeps what it has, but for a race. */
START_TEST(a_rename_that_replaces_is_not_asked_for)
{
	wrong_at(server.dir, ODD_REPLACES, 0, 0, 0);
	CLEAN(store_free_ptr) struct store *s = open_timed(0);

	put_text(s, "p/x", "first");
	ck_assert_int_eq(store_put_bytes(s, "p/x", "other", 5, NULL), -ERR_EXISTS);
	expect_text(s, "p/x", "first");
}
END_TEST

START_TEST(evil_names_are_passed_over)
{
	CLEAN(free_ptr) char *dir = path_of("p");
	struct err err = ERR_INIT;

	must(fs_mkdirs(dir, 0700, &err), &err);
	wrong_at(server.dir, WRONG_NAMES, SFTP_READDIR, 1, 0);
	CLEAN(store_free_ptr) struct store *s = open_timed(0);

	expect_list(s, "p/", NULL, "p/ok ");
}
END_TEST

START_TEST(a_directory_without_end_is_given_up)
{
	CLEAN(free_ptr) char *dir = path_of("p");
	CLEAN(store_keys_release) struct store_keys keys = {0};
	struct err err = ERR_INIT;

	must(fs_mkdirs(dir, 0700, &err), &err);
	wrong_at(server.dir, ODD_FLOOD, 0, 0, (unsigned long long)_i + 1);
	CLEAN(store_free_ptr) struct store *s = open_timed(0);
	int rc = store_list_all(s, "p/", &keys, &err);

	ck_assert_msg(rc == -ERR_FORMAT || rc == -ERR_NOMEM, "%d: %s", rc, err.msg);
}
END_TEST

/* --- odd, but right --- */

static void works(int64_t idle_ms)
{
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(OBJECT, 1);
	CLEAN(store_free_ptr) struct store *s = open_timed(idle_ms);
	CLEAN(buf_release) struct buf b = BUF_INIT(OBJECT);
	struct err err = ERR_INIT;

	must(store_put_bytes(s, "p/a/x", p, OBJECT, &err), &err);
	ck_assert_int_eq(store_put_bytes(s, "p/a/x", p, 1, &err), -ERR_EXISTS);
	must(store_get(s, "p/a/x", &b, &err), &err);
	ck_assert(b.len == OBJECT && memcmp(b.p, p, OBJECT) == 0);
	put_text(s, "p/b", "x");
	expect_list(s, "", NULL, "p/a/x p/b ");
	must(store_remove(s, "p/b", &err), &err);
	expect_missing(s, "p/b");
}

START_TEST(a_server_without_extensions_works)
{
	wrong_at(server.dir, ODD_PLAIN, 0, 0, 0);
	works(0);
}
END_TEST

/* 700 KiB are 22 reads: two are left over, whose answers come with that of the next request. */
START_TEST(answers_in_another_order_are_put_in_theirs)
{
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(OBJECT, 1);
	CLEAN(buf_release) struct buf b = BUF_INIT(OBJECT);
	struct err err = ERR_INIT;

	wrong_at(server.dir, ODD_REVERSED, 0, 0, 0);
	CLEAN(store_free_ptr) struct store *s = open_timed(0);

	must(store_put_bytes(s, "p/x", p, OBJECT, &err), &err);
	must(store_get_sink(
	             s, "p/x", (struct store_range){0, 20 * 32768}, &(struct store_sink){store_buf_write, &b}, &err),
	        &err);
	ck_assert(b.len == (size_t)20 * 32768 && memcmp(b.p, p, b.len) == 0);
}
END_TEST

START_TEST(short_reads_are_completed)
{
	static const unsigned long long most[] = {1, 1000, 4096, 32767};
	struct err err = ERR_INIT;

	wrong_at(server.dir, ODD_SHORT, 0, 0, most[_i]);
	if (most[_i] > 1) {
		works(0);
		return;
	}
	CLEAN(store_free_ptr) struct store *s = open_timed(0);
	CLEAN(buf_release) struct buf b = BUF_INIT(100);

	put_text(s, "a", "0123456789");
	must(store_get(s, "a", &b, &err), &err);
	ck_assert_str_eq(buf_str(&b), "0123456789");
}
END_TEST

START_TEST(names_without_attributes_are_asked_about)
{
	wrong_at(server.dir, ODD_BARE, 0, 0, 0);
	works(0);
}
END_TEST

START_TEST(an_older_protocol_is_unsupported)
{
	const struct store_config c = {.create = true, .identity = server.user, .known_hosts = server.known_hosts};
	struct store *s;
	struct err err = ERR_INIT;

	wrong_at(server.dir, ODD_VERSION, 0, 0, 2);
	ck_assert_int_eq(sshd_store(&server, 0, conformance_place(), &c, &s, &err), -ERR_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(err.msg, "version 2"));
}
END_TEST

static TCase *cases(void)
{
	TCase *tc = place_case("hostile");

	tcase_add_loop_test(tc, a_server_that_goes_wrong_is_told_and_then_used_again, 0, ARRAY_LEN(faults));
	tcase_add_loop_test(tc, a_name_given_without_a_word_is_found_by_asking, 0, 2);
	tcase_add_test(tc, a_rename_that_replaces_is_not_asked_for);
	tcase_add_test(tc, evil_names_are_passed_over);
	tcase_add_loop_test(tc, a_directory_without_end_is_given_up, 0, 4);
	tcase_add_test(tc, a_server_without_extensions_works);
	tcase_add_test(tc, answers_in_another_order_are_put_in_theirs);
	tcase_add_loop_test(tc, short_reads_are_completed, 0, 4);
	tcase_add_test(tc, names_without_attributes_are_asked_about);
	tcase_add_test(tc, an_older_protocol_is_unsupported);
	return tc;
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/holdfast-sshd-XXXXXX", self[512], subsystem[700];
	const char *config[] = {subsystem, NULL};
	Suite *s = suite_create("sftp_hostile");

	if (argc == 3 && !strcmp(argv[1], "--serve"))
		sftp_serve(argv[2]);
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	if (n <= 0 || !mkdtemp(dir))
		return 1;
	self[n] = '\0';
	(void)snprintf(subsystem, sizeof subsystem, "Subsystem sftp %s --serve %s", self, dir);
	sshd_start(&server, dir, config);
	suite_add_tcase(s, cases());
	int failed = conformance_main(s);

	sshd_stop(&server);
	(void)!fs_remove_tree(dir, NULL);
	return failed;
}
