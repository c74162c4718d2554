#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "ssh/ssh.h"
#include "sshd_fixture.h"
#include "store_conformance.h"

/* libssh2 1.10 loses 51 bytes with each change of keys; t_store_sftp has the same calls without changes, and no such
 * line. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libssh2.so";
}

/* Every test runs through both back ends. */
static const enum ssh_backend backends[] = {SSH_CHILD, SSH_LIBSSH2};
static struct sshd server, rekeying;

static struct ssh_config config_of(int i)
{
	return (struct ssh_config){
	        .host = "127.0.0.1",
	        .user = sshd_login(),
	        .port = server.port,
	        .identity = server.user,
	        .known_hosts = server.known_hosts,
	        .backend = backends[i],
	};
}

static struct ssh *run(int i, const char *shell)
{
	const char *argv[] = {"sh", "-c", shell, NULL};
	struct ssh_config c = config_of(i);
	struct ssh *s;
	struct err err = ERR_INIT;

	c.argv = argv;
	must(ssh_open(&c, &s, &err), &err);
	return s;
}

static void read_all(struct ssh *s, struct buf *out)
{
	unsigned char p[65536];
	struct err err = ERR_INIT;
	size_t n;

	do {
		must(ssh_read(s, p, sizeof p, &n, &err), &err);
		buf_add(out, p, n);
	} while (n);
}

static void expect_refused(const struct ssh_config *c, enum err_code code, const char *part)
{
	struct ssh *s;
	struct err err = ERR_INIT;

	ck_assert_int_eq(ssh_open(c, &s, &err), -(int)code);
	ck_assert_ptr_null(s);
	ck_assert_msg(strstr(err.msg, part) != NULL, "'%s' does not hold '%s'", err.msg, part);
}

/* --- streams --- */

START_TEST(a_command_gives_its_output_its_status_and_its_last_words)
{
	CLEAN(ssh_free_ptr) struct ssh *s = run(_i, "echo out; echo first >&2; echo last words >&2; exit 7");
	CLEAN(buf_release) struct buf b = BUF_INIT(100);
	struct err err = ERR_INIT;
	char said[100];
	int status = -1;

	read_all(s, &b);
	ck_assert_str_eq(buf_str(&b), "out\n");
	must(ssh_wait(s, &status, &err), &err);
	ck_assert_int_eq(status, 7);
	ck_assert_str_eq(ssh_stderr(s, said, sizeof said), "last words");
	ck_assert_str_eq(ssh_backend_name(s), _i ? "libssh2" : "ssh");
}
END_TEST

START_TEST(arguments_reach_the_command_as_they_are)
{
	static const char *const argv[] = {"printf", "%s|%s|%s", "a'b\"c", "$(id) `id` ; x\\", "", NULL};
	struct ssh_config c = config_of(_i);
	CLEAN(ssh_free_ptr) struct ssh *s = NULL;
	CLEAN(buf_release) struct buf b = BUF_INIT(100);
	struct err err = ERR_INIT;

	c.argv = argv;
	must(ssh_open(&c, &s, &err), &err);
	read_all(s, &b);
	ck_assert_str_eq(buf_str(&b), "a'b\"c|$(id) `id` ; x\\|");
}
END_TEST

START_TEST(a_missing_command_says_so)
{
	static const char *const argv[] = {"/nonexistent/agent", NULL};
	struct ssh_config c = config_of(_i);
	CLEAN(ssh_free_ptr) struct ssh *s = NULL;
	CLEAN(buf_release) struct buf b = BUF_INIT(100);
	struct err err = ERR_INIT;

	c.argv = argv;
	must(ssh_open(&c, &s, &err), &err);
	read_all(s, &b);
	ck_assert_int_eq(ssh_failed(s, &err), -ERR_MISSING);
	ck_assert_ptr_nonnull(strstr(err.msg, "/nonexistent/agent"));
}
END_TEST

/* What goes out comes back, with neither side waiting for the other. */
static void echo_through(struct ssh *s, size_t n)
{
	CLEAN(free_ptr) unsigned char *out = pattern_bytes(n, 5);
	CLEAN(free_ptr) unsigned char *in = xcalloc(1, n + 1);
	struct err err = ERR_INIT;
	size_t sent = 0, got = 0;

	while (got < n) {
		struct ssh_io io = {.out = out + sent, .n_out = n - sent, .in = in + got, .n_in = n - got};

		must(ssh_exchange(s, &io, &err), &err);
		ck_assert(!io.ended);
		sent += io.ret_out;
		got += io.ret_in;
	}
	ck_assert(memcmp(in, out, n) == 0);
}

START_TEST(bytes_go_both_ways_at_once)
{
	CLEAN(ssh_free_ptr) struct ssh *s = run(_i, "cat");
	CLEAN(buf_release) struct buf b = BUF_INIT(1);
	struct err err = ERR_INIT;
	int status;

	echo_through(s, (24 << 20) + 13);
	must(ssh_end_write(s, &err), &err);
	read_all(s, &b);
	must(ssh_wait(s, &status, &err), &err);
	ck_assert_int_eq(status, 0);
}
END_TEST

struct writer {
	struct ssh *s;
	const unsigned char *p;
	size_t n;
	int rc;
};

static void *write_all(void *arg)
{
	struct writer *w = arg;
	struct err err = ERR_INIT;

	w->rc = ssh_write(w->s, w->p, w->n, &err);
	if (!w->rc)
		w->rc = ssh_end_write(w->s, &err);
	return NULL;
}

START_TEST(one_thread_may_read_while_another_writes)
{
	CLEAN(ssh_free_ptr) struct ssh *s = run(_i, "cat");
	const size_t n = 9 << 20;
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(n, 6);
	CLEAN(buf_release) struct buf b = BUF_INIT(n);
	struct writer w = {s, p, n, -1};
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, write_all, &w), 0);
	read_all(s, &b);
	pthread_join(t, NULL);
	ck_assert_int_eq(w.rc, 0);
	ck_assert_uint_eq(b.len, n);
	ck_assert(memcmp(b.p, p, n) == 0);
}
END_TEST

/* RekeyLimit of a mebibyte: the keys change some dozen times on the way, as either side likes. */
START_TEST(a_stream_survives_new_keys)
{
	static const char *const argv[] = {"cat", NULL};
	struct ssh_config c = config_of(_i);
	CLEAN(ssh_free_ptr) struct ssh *s = NULL;
	struct err err = ERR_INIT;

	c.port = rekeying.port;
	c.identity = rekeying.user;
	c.known_hosts = rekeying.known_hosts;
	c.argv = argv;
	must(ssh_open(&c, &s, &err), &err);
	echo_through(s, 20 << 20);
}
END_TEST

/* --- host keys --- */

static char *scratch(const char *name, const char *text)
{
	CLEAN(free_ptr) char *path = NULL;
	struct err err = ERR_INIT;

	if (asprintf(&path, "%s/%s.%d", server.dir, name, (int)getpid()) < 0)
		abort();
	must(fs_replace(path, text, strlen(text), 0600, &err), &err);
	return TAKE(path);
}

static void read_text(const char *path, struct buf *b)
{
	struct err err = ERR_INIT;

	must(fs_read(path, b, &err), &err);
}

START_TEST(an_unknown_host_key_is_refused_and_never_learned)
{
	CLEAN(free_ptr) char *empty = scratch("empty", "");
	CLEAN(buf_release) struct buf b = BUF_INIT(4096);
	struct ssh_config c = config_of(_i);
	struct ssh *s;
	struct err err = ERR_INIT;

	c.subsystem = "sftp";
	c.known_hosts = empty;
	ck_assert_int_eq(ssh_open(&c, &s, &err), -ERR_DENIED);
	ck_assert_ptr_nonnull(strstr(err.msg, "no host key is pinned"));
	ck_assert_ptr_nonnull(strstr(err.msg, "SHA256:"));
	ck_assert_ptr_nonnull(strstr(err.hint, empty));
	ck_assert(!err.retryable);
	read_text(empty, &b);
	ck_assert_uint_eq(b.len, 0);
}
END_TEST

/* The pinned lines with another key of the same type: that of the user. */
START_TEST(a_changed_host_key_is_refused_with_what_is_shown)
{
	CLEAN(buf_release) struct buf pub = BUF_INIT(4096);
	char line[1024], path[300];
	struct ssh_config c = config_of(_i);

	(void)snprintf(path, sizeof path, "%s.pub", server.user);
	read_text(path, &pub);
	(void)snprintf(line, sizeof line, "[127.0.0.1]:%u %s", server.port, buf_str(&pub));
	CLEAN(free_ptr) char *known = scratch("changed", line);

	c.subsystem = "sftp";
	c.known_hosts = known;
	expect_refused(&c, ERR_DENIED, "not the one that is pinned, it shows");
	expect_refused(&c, ERR_DENIED, "SHA256:");
}
END_TEST

/* The server would rather show its ed25519 key, which is not pinned here. */
START_TEST(the_type_of_key_that_is_pinned_is_asked_for)
{
	CLEAN(buf_release) struct buf all = BUF_INIT(4096);
	struct ssh_config c = config_of(_i);
	CLEAN(ssh_free_ptr) struct ssh *s = NULL;
	struct err err = ERR_INIT;

	read_text(server.known_hosts, &all);
	CLEAN(free_ptr) char *known = scratch("ecdsa", strstr(buf_str(&all), "\n") + 1);

	c.subsystem = "sftp";
	c.known_hosts = known;
	must(ssh_open(&c, &s, &err), &err);
}
END_TEST

START_TEST(a_line_for_another_port_pins_nothing)
{
	CLEAN(buf_release) struct buf all = BUF_INIT(4096);
	struct ssh_config c = config_of(_i);
	char text[1024];

	read_text(server.known_hosts, &all);
	*strchr((char *)all.p, '\n') = '\0';
	(void)snprintf(text, sizeof text, "[127.0.0.1]:1%s\n", strchr(buf_str(&all), ' '));
	CLEAN(free_ptr) char *known = scratch("port", text);

	c.subsystem = "sftp";
	c.known_hosts = known;
	expect_refused(&c, ERR_DENIED, "no host key is pinned");
}
END_TEST

/* --- users, hosts, files --- */

START_TEST(a_key_that_the_server_does_not_know_is_refused)
{
	struct ssh_config c = config_of(_i);

	c.subsystem = "sftp";
	c.identity = server.stranger;
	expect_refused(&c, ERR_DENIED, "the key was refused");
}
END_TEST

START_TEST(files_that_are_not_there_are_named)
{
	struct ssh_config c = config_of(_i);

	c.subsystem = "sftp";
	c.identity = "/nonexistent/key";
	expect_refused(&c, ERR_IO, "/nonexistent/key");
	c = config_of(_i);
	c.subsystem = "sftp";
	c.known_hosts = "/nonexistent/hosts";
	expect_refused(&c, ERR_IO, "/nonexistent/hosts");
}
END_TEST

START_TEST(names_that_would_be_options_or_commands_are_refused)
{
	static const char *const bad[] = {"-oProxyCommand=id", "", "a b", "a;b", "a@b", "a'b", "a\nb"};
	struct ssh_config c = config_of(_i);

	c.subsystem = "sftp";
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		c.host = bad[i];
		expect_refused(&c, ERR_USAGE, "no user and host");
		c.host = "127.0.0.1";
		c.user = bad[i];
		expect_refused(&c, ERR_USAGE, "no user and host");
		c.user = sshd_login();
	}
}
END_TEST

START_TEST(a_subsystem_that_is_not_there_is_unsupported)
{
	struct ssh_config c = config_of(_i);
	struct ssh *s = NULL;
	struct err err = ERR_INIT;
	char p[10];
	size_t n;

	c.subsystem = "nosuch";
	int rc = ssh_open(&c, &s, &err);

	if (!rc) /* ssh(1) learns it only after it began */
		rc = ssh_read(s, p, sizeof p, &n, &err);
	ck_assert_int_eq(rc, -ERR_UNSUPPORTED);
	ssh_free(s);
}
END_TEST

/* A port that nobody listens on, and one whose listener never speaks. */
static unsigned silent_port(int *ret_fd, bool listening)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t n = sizeof a;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(*ret_fd, (struct sockaddr *)&a, sizeof a), 0);
	if (listening)
		ck_assert_int_eq(listen(*ret_fd, 5), 0);
	ck_assert_int_eq(getsockname(*ret_fd, (struct sockaddr *)&a, &n), 0);
	return ntohs(a.sin_port);
}

START_TEST(a_closed_port_is_unreachable)
{
	CLEAN(close_fd) int fd = -1;
	struct ssh_config c = config_of(_i);

	c.subsystem = "sftp";
	c.port = silent_port(&fd, false);
	expect_refused(&c, ERR_UNREACHABLE, "onnect");
}
END_TEST

START_TEST(a_host_that_says_nothing_is_given_up)
{
	CLEAN(close_fd) int fd = -1;
	struct ssh_config c = config_of(_i);

	c.subsystem = "sftp";
	c.port = silent_port(&fd, true);
	c.connect_ms = 300;
	expect_refused(&c, ERR_UNREACHABLE, "ssh to ");
}
END_TEST

/* --- ends --- */

START_TEST(a_stream_without_a_byte_is_given_up)
{
	static const char *const argv[] = {"cat", NULL};
	struct ssh_config c = config_of(_i);
	CLEAN(ssh_free_ptr) struct ssh *s = NULL;
	struct err err = ERR_INIT;
	char p[10];
	size_t n;

	c.argv = argv;
	c.idle_ms = 200;
	must(ssh_open(&c, &s, &err), &err);
	ck_assert_int_eq(ssh_read(s, p, sizeof p, &n, &err), -ERR_UNREACHABLE);
	ck_assert(err.retryable);
}
END_TEST

static void *set_flag(void *flag)
{
	atomic_store((atomic_bool *)flag, true);
	return NULL;
}

START_TEST(a_flag_ends_every_wait)
{
	static const char *const argv[] = {"cat", NULL};
	atomic_bool cancel = false;
	struct ssh_config c = config_of(_i);
	CLEAN(ssh_free_ptr) struct ssh *s = NULL;
	struct err err = ERR_INIT;
	pthread_t t;
	char p[10];
	size_t n;

	c.argv = argv;
	c.cancel = &cancel;
	must(ssh_open(&c, &s, &err), &err);
	ck_assert_int_eq(pthread_create(&t, NULL, set_flag, &cancel), 0);
	ck_assert_int_eq(ssh_read(s, p, sizeof p, &n, &err), -ERR_CANCELLED);
	pthread_join(t, NULL);
	expect_refused(&c, ERR_CANCELLED, "cancelled");
}
END_TEST

START_TEST(a_server_that_dies_is_no_orderly_end)
{
	CLEAN(ssh_free_ptr) struct ssh *s = run(_i, "echo here; cat");
	struct err err = ERR_INIT;
	char p[10];
	size_t n;

	must(ssh_read(s, p, sizeof p, &n, &err), &err);
	sshd_kill_sessions(&server);
	ck_assert_int_eq(ssh_read(s, p, sizeof p, &n, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(ssh_failed(s, &err), -ERR_UNREACHABLE);
	ck_assert(err.retryable);
}
END_TEST

static TCase *streams(void)
{
	const TTest *const tests[] = {a_command_gives_its_output_its_status_and_its_last_words,
	        arguments_reach_the_command_as_they_are, a_missing_command_says_so, bytes_go_both_ways_at_once,
	        one_thread_may_read_while_another_writes, a_stream_survives_new_keys,
	        an_unknown_host_key_is_refused_and_never_learned, a_changed_host_key_is_refused_with_what_is_shown,
	        the_type_of_key_that_is_pinned_is_asked_for, a_line_for_another_port_pins_nothing,
	        a_key_that_the_server_does_not_know_is_refused, files_that_are_not_there_are_named,
	        names_that_would_be_options_or_commands_are_refused, a_subsystem_that_is_not_there_is_unsupported,
	        a_closed_port_is_unreachable, a_host_that_says_nothing_is_given_up, a_stream_without_a_byte_is_given_up,
	        a_flag_ends_every_wait, a_server_that_dies_is_no_orderly_end};
	TCase *tc = tcase_create("streams");

	for (size_t i = 0; i < ARRAY_LEN(tests); i++)
		tcase_add_loop_test(tc, tests[i], 0, ARRAY_LEN(backends));
	return tc;
}

int main(void)
{
	static const char *const often[] = {"RekeyLimit 1M", NULL};
	char dir[] = "/tmp/holdfast-sshd-XXXXXX", second[64];
	Suite *s = suite_create("ssh");

	if (!mkdtemp(dir))
		return 1;
	(void)snprintf(second, sizeof second, "%s/rekeying", dir);
	sshd_start(&server, dir, NULL);
	sshd_start(&rekeying, second, often);
	suite_add_tcase(s, streams());
	int failed = conformance_main(s);

	sshd_stop(&server);
	sshd_stop(&rekeying);
	(void)!fs_remove_tree(dir, NULL);
	return failed;
}
