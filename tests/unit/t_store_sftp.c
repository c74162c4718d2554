#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "place/place.h"
#include "sshd_fixture.h"
#include "sftp/sftp.h"
#include "store_conformance.h"

static struct sshd shared, server; /* the program's, and the running test's, which is that unless it takes one of its own */

/* --- the ways to open a store that all must conform --- */

static int open_child(const char *place, struct store **ret, struct err *err)
{
	return sshd_store(&server, 0, place, NULL, ret, err);
}

static int open_library(const char *place, struct store **ret, struct err *err)
{
	return sshd_store(&server, 0, place, &(struct store_config){.create = true, .ssh_library = true}, ret, err);
}

/* The driver slows itself down slice by slice; the rate is beyond what any test needs. */
static int open_throttled(const char *place, struct store **ret, struct err *err)
{
	struct store *below;
	int rc = open_child(place, &below, err);

	if (!rc)
		*ret = store_throttle_new(below, &(struct store_throttle){.rate = 1u << 30, .from_min = -1});
	return rc;
}

static const struct conformance_driver drivers[] = {
        {.name = "sftp through ssh", .open = open_child},
        {.name = "sftp through libssh2", .open = open_library},
        {.name = "sftp with a rate", .open = open_throttled},
};

/* --- helpers of the tests below --- */

static int open_timed(int i, struct linkproxy *link, int64_t idle_ms, struct store **ret, struct err *err)
{
	struct store_config c = {
	        .create = true, .ssh_library = i > 0, .identity = server.user, .known_hosts = link->known_hosts};
	char rest[400];

	(void)snprintf(rest, sizeof rest, "%s@127.0.0.1:%u%s", sshd_login(), link->port, conformance_place());
	return sftp_open_timed(rest, &c, idle_ms, ret, err);
}

/* Until the end of each idle link has come to this side: the driver then knows before it asks for anything. */
static void wait_ended(struct store *s)
{
	struct sftp_store *f = (struct sftp_store *)s;

	for (unsigned i = 0; i < f->n_idle; i++) {
		struct pollfd p = {ssh_fd(f->idle[i]->ssh), POLLIN | POLLRDHUP, 0};

		while (!(p.revents & (POLLRDHUP | POLLHUP)))
			ck_assert_int_eq(poll(&p, 1, 10000), 1);
	}
}

static void use_shared(void)
{
	server = shared;
}

/* What the test put in its place. */
static void drop_own(void)
{
	if (server.pid != shared.pid)
		sshd_stop(&server);
	while (umount2(conformance_place(), MNT_DETACH) == 0)
		continue;
}

static TCase *server_case(const char *name)
{
	TCase *tc = place_case(name);

	tcase_add_checked_fixture(tc, use_shared, drop_own);
	return tc;
}

/* Mounts made from here on are those of this process and of its children. */
static int unshare_mounts(void)
{
	return unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* In place of the shared server, for tests that stop it or that need it to see their mounts. */
static void own_server_with(const char *const *config)
{
	static char dir[300];

	(void)snprintf(dir, sizeof dir, "%s/../sshd", conformance_place());
	CLEAN(free_ptr) char *above = xstrndup(dir, strlen(dir) - strlen("store/../sshd"));
	struct err err = ERR_INIT;

	must(fs_mkdirs(above, 0700, &err), &err);
	(void)snprintf(dir, sizeof dir, "%ssshd", above);
	sshd_start(&server, dir, config);
}

static void own_server(void)
{
	own_server_with(NULL);
}

static const struct store_config by_backend[] = {{.create = true}, {.create = true, .ssh_library = true}};

static struct store *open_through(int i, unsigned port, const char *known_hosts)
{
	struct store_config c = by_backend[i];
	struct store *s;
	struct err err = ERR_INIT;

	c.known_hosts = known_hosts;
	must(sshd_store(&server, port, conformance_place(), &c, &s, &err), &err);
	return s;
}

static char *path_of(const char *key)
{
	return fs_join(conformance_place(), key);
}

static size_t files_in(const char *dir)
{
	CLEAN(free_ptr) char *path = path_of(dir);
	DIR *d = opendir(path);
	size_t n = 0;

	for (const struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

/* --- opening --- */

START_TEST(urls_that_mean_something_else_are_refused)
{
	static const char *const bad[] = {"sftp://host", "sftp:///dir", "sftp://user:secret@host/dir",
	        "sftp://host:0/d", "sftp://host:70000/d", "sftp://host:22x/d", "sftp://host/a/../b", "sftp://host/./a",
	        "sftp://host/a//b", "sftp://host/a%zz", "sftp://host/a%0ab", "sftp://-oProxyCommand=id/dir",
	        "sftp://[::1/dir"};
	struct store *s;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = ERR_INIT;

		ck_assert_msg(place_open(bad[i], NULL, &s, &err) == -ERR_USAGE, "%s: %s", bad[i], err.msg);
		ck_assert_ptr_null(strstr(err.msg, "secret"));
	}
}
END_TEST

START_TEST(a_url_opens_a_site)
{
	CLEAN(store_free_ptr) struct store *s = NULL;
	CLEAN(free_ptr) char *path = path_of("with space");
	const struct store_config c = {
	        .name = "far", .create = true, .identity = server.user, .known_hosts = server.known_hosts};
	struct err err = ERR_INIT;
	char url[400];

	(void)snprintf(url, sizeof url, "sftp://%s@127.0.0.1:%u%s/with%%20space/", sshd_login(), server.port,
	        conformance_place());
	must(place_open(url, &c, &s, &err), &err);
	ck_assert_str_eq(s->name, "far");
	ck_assert(fs_exists(path));
	ck_assert(s->caps & STORE_REMOTE && s->caps & STORE_THREADSAFE);
}
END_TEST

START_TEST(a_directory_that_is_not_there_is_unreachable_and_not_empty)
{
	struct store *s;
	struct err err = ERR_INIT;

	ck_assert_int_eq(
	        sshd_store(&server, 0, conformance_place(), &(struct store_config){0}, &s, &err), -ERR_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(err.hint, "mounted"));
	CLEAN(store_free_ptr) struct store *here = open_through(0, 0, NULL);
	CLEAN(free_ptr) char *moved = path_of("../gone");
	struct store_stat st;
	CLEAN(buf_release) struct buf b = BUF_INIT(100);

	put_text(here, "a/b", "x");
	ck_assert_int_eq(rename(conformance_place(), moved), 0);
	ck_assert_int_eq(store_stat(here, "a/b", &st, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(store_get(here, "a/b", &b, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(store_list_all(here, "", &(struct store_keys){0}, &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(store_remove(here, "a/b", &err), -ERR_UNREACHABLE);
	ck_assert_int_eq(store_put_bytes(here, "c", "x", 1, &err), -ERR_UNREACHABLE);
}
END_TEST

START_TEST(a_directory_that_cannot_be_made_is_told)
{
	struct store *s;
	struct err err = ERR_INIT;

	ck_assert_int_eq(sshd_store(&server, 0, "/proc/none/site", &by_backend[_i], &s, &err), -ERR_IO);
	ck_assert_ptr_nonnull(strstr(err.msg, "/proc/none/site"));
}
END_TEST

START_TEST(a_site_whose_host_key_is_not_pinned_is_denied)
{
	CLEAN(free_ptr) char *empty = path_of("../known");
	struct store_config c = by_backend[_i];
	struct store *s;
	struct err err = ERR_INIT;

	must(fs_mkdirs(conformance_place(), 0700, &err), &err);
	must(fs_replace(empty, "", 0, 0600, &err), &err);
	c.known_hosts = empty;
	ck_assert_int_eq(sshd_store(&server, 0, conformance_place(), &c, &s, &err), -ERR_DENIED);
	ck_assert_ptr_nonnull(strstr(err.msg, "SHA256:"));
	c.known_hosts = NULL;
	c.identity = server.stranger;
	ck_assert_int_eq(sshd_store(&server, 0, conformance_place(), &c, &s, &err), -ERR_DENIED);
}
END_TEST

/* --- what lies at the site --- */

START_TEST(objects_cannot_be_written_to_and_leave_nothing_beside_them)
{
	CLEAN(store_free_ptr) struct store *s = open_through(_i, 0, NULL);
	CLEAN(free_ptr) char *path = path_of("p/a/b");
	struct stat st;

	put_text(s, "p/a/b", "text");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0400);
	ck_assert_uint_eq(st.st_nlink, 1);
	ck_assert_uint_eq(files_in(".t"), 0);
	ck_assert_int_eq(store_put_bytes(s, "p/a/b", "other", 5, NULL), -ERR_EXISTS);
	ck_assert_uint_eq(files_in(".t"), 0);
}
END_TEST

static void make_old(const char *name, int days)
{
	CLEAN(free_ptr) char *path = path_of(name);
	struct err err = ERR_INIT;
	struct timespec t[2] = {{clock_wall_ns() / 1000000000 - (int64_t)days * 86400, 0}};

	t[1] = t[0];
	must(fs_create(path, "x", 1, 0600, &err), &err);
	ck_assert_int_eq(utimensat(AT_FDCWD, path, t, 0), 0);
}

START_TEST(old_remains_of_puts_are_removed_and_nothing_else)
{
	CLEAN(free_ptr) char *dir = path_of(".t");
	struct err err = ERR_INIT;

	must(fs_mkdirs(dir, 0700, &err), &err);
	make_old(".t/0123456789abcdef0123456789abcdef", 8);
	make_old(".t/1123456789abcdef0123456789abcdef", 6);
	make_old(".t/2123456789abcdef0123456789abcdeX", 8);
	make_old(".t/short", 8);
	CLEAN(store_free_ptr) struct store *s = open_through(0, 0, NULL);

	put_text(s, "a", "x");
	put_text(s, "b", "x");
	expect_list(s, "", NULL, "a b ");
	ck_assert_uint_eq(files_in(".t"), 3);
}
END_TEST

START_TEST(lists_hold_files_of_valid_names_only)
{
	CLEAN(store_free_ptr) struct store *s = open_through(_i, 0, NULL);
	CLEAN(free_ptr) char *link = path_of("p/link"), *fifo = path_of("p/fifo"), *dir_link = path_of("q");
	CLEAN(free_ptr) char *odd = path_of("p/a b"), *hidden = path_of("p/.hidden"), *text = path_of("p/esc\033[m");
	struct err err = ERR_INIT;

	put_text(s, "p/1", "x");
	ck_assert_int_eq(symlink("1", link), 0);
	ck_assert_int_eq(symlink("p", dir_link), 0);
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	must(fs_create(odd, "x", 1, 0600, &err), &err);
	must(fs_create(hidden, "x", 1, 0600, &err), &err);
	must(fs_create(text, "x", 1, 0600, &err), &err);
	expect_list(s, "", NULL, "p/1 ");
	expect_missing(s, "p/link");
}
END_TEST

START_TEST(a_tree_of_many_directories_is_listed_in_order)
{
	CLEAN(store_free_ptr) struct store *s = open_through(_i, 0, NULL);
	CLEAN(store_keys_release) struct store_keys keys = {0};
	struct err err = ERR_INIT;
	char key[64];

	for (int i = 0; i < 120; i++) {
		CLEAN(free_ptr) char *path = NULL, *dir = NULL;

		(void)snprintf(key, sizeof key, "p/%03d/x", i);
		dir = path_of(key);
		must(fs_mkdirs(dir, 0700, &err), &err);
		for (int k = 0; k < 3; k++) {
			(void)snprintf(key, sizeof key, "p/%03d/x/%d", i, k);
			path = path_of(key);
			must(fs_create(path, "12345", (size_t)k, 0400, &err), &err);
			free(TAKE(path));
		}
	}
	must(store_list_all(s, "p/", &keys, &err), &err);
	ck_assert_uint_eq(keys.n, 360);
	for (size_t i = 0; i < keys.n; i++) {
		(void)snprintf(key, sizeof key, "p/%03zu/x/%zu", i / 3, i % 3);
		ck_assert_str_eq(keys.key[i], key);
		ck_assert_uint_eq(keys.size[i], i % 3);
	}
}
END_TEST

START_TEST(the_site_tells_its_time_and_leaves_nothing)
{
	CLEAN(store_free_ptr) struct store *s = open_through(_i, 0, NULL);
	struct err err = ERR_INIT;
	int64_t before = clock_wall_ns(), at;

	must(store_clock(s, &at, &err), &err);
	ck_assert(at > before - 2 * 1000000000ll && at <= clock_wall_ns());
	ck_assert_uint_eq(files_in(".t"), 0);
}
END_TEST

START_TEST(a_thief_of_the_key_can_overwrite_and_remove)
{
	CLEAN(store_free_ptr) struct store *s = open_through(_i, 0, NULL);
	CLEAN(buf_release) struct buf b = BUF_INIT(100);
	struct err err = ERR_INIT;

	put_text(s, "probe/a", "text");
	put_text(s, "probe/b", "text");
	must(store_attack(s, STORE_OVERWRITE, "probe/a", &err), &err);
	must(store_get(s, "probe/a", &b, &err), &err);
	ck_assert_str_ne(buf_str(&b), "text");
	must(store_attack(s, STORE_DELETE, "probe/a", &err), &err);
	must(store_attack(s, STORE_DELETE_VERSION, "probe/b", &err), &err);
	expect_list(s, "", NULL, "");
	ck_assert_int_eq(store_attack(s, STORE_SHORTEN_LOCK, "probe/b", &err), -ERR_UNSUPPORTED);
	ck_assert_int_eq(store_attack(s, STORE_DELETE, "probe/a", &err), -ERR_MISSING);
}
END_TEST

/* As its own user only root may be kept out, by a file system that is read-only. */
START_TEST(a_site_that_may_not_be_written_to_denies)
{
	CLEAN(store_free_ptr) struct store *s = open_through(_i, 0, NULL);
	struct err err = ERR_INIT;

	put_text(s, "a/b", "x");
	if (unshare_mounts() || mount(conformance_place(), conformance_place(), NULL, MS_BIND, NULL) ||
	        mount(NULL, conformance_place(), NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL)) {
		printf("SKIP: needs the right to mount\n");
		return;
	}
	own_server();
	CLEAN(store_free_ptr) struct store *again = open_through(_i, 0, NULL);

	expect_text(again, "a/b", "x");
	ck_assert_int_eq(store_put_bytes(again, "c", "x", 1, &err), -ERR_DENIED);
	ck_assert_int_eq(store_attack(again, STORE_OVERWRITE, "a/b", &err), -ERR_DENIED);
	ck_assert_int_eq(store_attack(again, STORE_DELETE, "a/b", &err), -ERR_DENIED);
}
END_TEST

START_TEST(a_full_disk_is_told_and_nothing_half_is_seen)
{
	const size_t n = 6 << 20;
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(n, 1);
	struct err err = ERR_INIT;

	must(fs_mkdirs(conformance_place(), 0700, &err), &err);
	if (unshare_mounts() || mount("site", conformance_place(), "tmpfs", 0, "size=4m")) {
		printf("SKIP: needs the right to mount\n");
		return;
	}
	own_server();
	CLEAN(store_free_ptr) struct store *s = open_through(_i, 0, NULL);

	put_text(s, "small", "text");
	ck_assert_int_eq(store_put_bytes(s, "p/large", p, n, &err), -ERR_NOSPACE);
	ck_assert(!err.retryable);
	expect_missing(s, "p/large");
	ck_assert_uint_eq(files_in(".t"), 0);
	must(store_put_bytes(s, "p/fits", p, 1 << 20, &err), &err);
	expect_list(s, "", NULL, "p/fits small ");
}
END_TEST

/* The account of a real site: it sees nothing but its own directory, and no shell. */
START_TEST(an_account_in_a_cage_works)
{
	char dir[] = "/run/holdfast-cage-XXXXXX", root[100];
	const char *config[] = {"ForceCommand internal-sftp", root, NULL};
	struct store *s;
	struct err err = ERR_INIT;
	struct sshd cage;
	struct stat st;

	if (getuid() != 0 || stat("/run", &st) || st.st_mode & 022 || !mkdtemp(dir)) {
		printf("SKIP: needs root\n");
		return;
	}
	(void)snprintf(root, sizeof root, "ChrootDirectory %s", dir);
	ck_assert_int_eq(chmod(dir, 0755), 0);
	CLEAN(free_ptr) char *files = path_of("../cage");

	sshd_start(&cage, files, config);
	must(sshd_store(&cage, 0, "/site", &by_backend[_i], &s, &err), &err);
	put_text(s, "p/a/b", "text");
	expect_text(s, "p/a/b", "text");
	ck_assert_int_eq(store_put_bytes(s, "p/a/b", "x", 1, &err), -ERR_EXISTS);
	expect_list(s, "", NULL, "p/a/b ");
	store_free(s);
	sshd_stop(&cage);
	must(fs_remove_tree(dir, &err), &err);
}
END_TEST

/* --- links that come and go --- */

START_TEST(an_idle_link_that_was_dropped_is_made_again)
{
	struct linkproxy link;

	linkproxy_start(&link, &server, NULL);
	CLEAN(store_free_ptr) struct store *s = open_through(_i, link.port, link.known_hosts);

	put_text(s, "a", "1");
	ck_assert_uint_eq(linkproxy_tell(&link, "count"), 1);
	for (int i = 0; i < 3; i++) {
		char key[8];

		linkproxy_tell(&link, "kill %s", i == 1 ? "fin" : "rst");
		wait_ended(s);
		(void)snprintf(key, sizeof key, "b%d", i);
		put_text(s, key, "2");
	}
	expect_list(s, "", NULL, "a b0 b1 b2 ");
	ck_assert_uint_eq(linkproxy_tell(&link, "count"), 4);
	linkproxy_stop(&link);
}
END_TEST

/* The server asks every second, and hangs up on whoever does not answer twice. */
START_TEST(an_idle_link_answers_and_is_kept)
{
	static const char *const config[] = {"ClientAliveInterval 1", "ClientAliveCountMax 2", NULL};
	struct linkproxy link;

	own_server_with(config);
	linkproxy_start(&link, &server, NULL);
	CLEAN(store_free_ptr) struct store *s = open_through(_i, link.port, link.known_hosts);

	put_text(s, "a", "1");
	unsigned long long asked = linkproxy_tell(&link, "bytes down");

	/* Five questions of more than 30 bytes each. */
	while (linkproxy_tell(&link, "bytes down") < asked + 5 * 36)
		(void)poll(NULL, 0, 50);
	expect_text(s, "a", "1");
	ck_assert_uint_eq(linkproxy_tell(&link, "count"), 1);
	linkproxy_stop(&link);
}
END_TEST

START_TEST(a_server_that_was_away_is_used_again)
{
	struct store *s;
	struct err err = ERR_INIT;
	struct store_stat st;

	own_server();
	s = open_through(_i, 0, NULL);
	put_text(s, "a", "1");
	sshd_stop(&server);
	wait_ended(s);
	ck_assert_int_eq(store_stat(s, "a", &st, &err), -ERR_UNREACHABLE);
	ck_assert(err.retryable);
	ck_assert_int_eq(store_put_bytes(s, "b", "2", 1, &err), -ERR_UNREACHABLE);
	sshd_start(&server, server.dir, NULL);
	expect_text(s, "a", "1");
	put_text(s, "b", "2");
	store_free(s);
}
END_TEST

/* The 7th block of an object is the last that is taken before the server goes. */
struct killer {
	size_t calls;
	struct buf got;
};

static int kill_on_the_way(void *arg, const void *p, size_t n, struct err *err)
{
	struct killer *k = arg;

	if (++k->calls == 7)
		sshd_kill_sessions(&server);
	return buf_put(&k->got, p, n, err);
}

START_TEST(a_server_killed_in_the_middle_of_a_get_has_given_no_wrong_byte)
{
	const size_t n = 16 << 20;
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(n, 2);
	struct killer k = {.got = BUF_INIT(n)};
	struct store_sink sink = {kill_on_the_way, &k};
	struct err err = ERR_INIT;

	own_server();
	CLEAN(store_free_ptr) struct store *s = open_through(_i, 0, NULL);

	must(store_put_bytes(s, "p/x", p, n, &err), &err);
	ck_assert_int_eq(store_get_sink(s, "p/x", (struct store_range){0, 0}, &sink, &err), -ERR_UNREACHABLE);
	ck_assert(err.retryable);
	ck_assert_uint_lt(k.got.len, n);
	ck_assert(memcmp(k.got.p, p, k.got.len) == 0);
	/* The rest, as a retry filter would ask for it. */
	must(store_get_sink(
	             s, "p/x", (struct store_range){k.got.len, 0}, &(struct store_sink){store_buf_write, &k.got}, &err),
	        &err);
	ck_assert_uint_eq(k.got.len, n);
	ck_assert(memcmp(k.got.p, p, n) == 0);
	buf_release(&k.got);
}
END_TEST

START_TEST(a_server_killed_in_the_middle_of_a_put_shows_nothing)
{
	const size_t n = 16 << 20;
	CLEAN(free_ptr) unsigned char *p = pattern_bytes(n, 3);
	struct linkproxy link;
	struct err err = ERR_INIT;

	linkproxy_start(&link, &server, NULL);
	CLEAN(store_free_ptr) struct store *s = open_through(_i, link.port, link.known_hosts);

	put_text(s, "p/first", "x");
	linkproxy_tell(&link, "cut up %d rst", 5 << 20);
	ck_assert_int_eq(store_put_bytes(s, "p/x", p, n, &err), -ERR_UNREACHABLE);
	ck_assert(err.retryable);
	expect_missing(s, "p/x");
	expect_list(s, "", NULL, "p/first ");
	must(store_put_bytes(s, "p/x", p, n, &err), &err);
	CLEAN(buf_release) struct buf b = BUF_INIT(n);

	must(store_get(s, "p/x", &b, &err), &err);
	ck_assert(b.len == n && memcmp(b.p, p, n) == 0);
	linkproxy_stop(&link);
}
END_TEST

START_TEST(a_link_that_stalls_is_given_up)
{
	struct linkproxy link;
	struct store *s;
	struct store_stat st;
	struct err err = ERR_INIT;

	linkproxy_start(&link, &server, NULL);
	must(open_timed(_i, &link, 5000, &s, &err), &err);
	put_text(s, "a", "x");
	linkproxy_tell(&link, "stall down 0");
	ck_assert_int_eq(store_stat(s, "a", &st, &err), -ERR_UNREACHABLE);
	ck_assert(err.retryable);
	linkproxy_tell(&link, "heal");
	must(store_stat(s, "a", &st, &err), &err);
	store_free(s);
	linkproxy_stop(&link);
}
END_TEST

/* --- threads --- */

struct user {
	struct store *s;
	int id, rc;
};

static void *use_store(void *arg)
{
	struct user *u = arg;
	struct err err = ERR_INIT;
	char key[32];

	for (int i = 0; i < 6 && !u->rc; i++) {
		(void)snprintf(key, sizeof key, "t/%d/%d", u->id, i);
		u->rc = store_put_same(u->s, key, key, strlen(key), &err);
	}
	return NULL;
}

static void use_by_eight(struct store *s)
{
	pthread_t thread[8];
	struct user user[ARRAY_LEN(thread)] = {{0}};

	for (int i = 0; i < (int)ARRAY_LEN(thread); i++) {
		user[i] = (struct user){.s = s, .id = i};
		ck_assert_int_eq(pthread_create(&thread[i], NULL, use_store, &user[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(thread); i++) {
		pthread_join(thread[i], NULL);
		ck_assert_int_eq(user[i].rc, 0);
	}
}

START_TEST(threads_share_at_most_four_links)
{
	struct linkproxy link;

	linkproxy_start(&link, &server, NULL);
	CLEAN(store_free_ptr) struct store *s = open_through(_i, link.port, link.known_hosts);

	ck_assert_uint_eq(linkproxy_tell(&link, "count"), 1);
	use_by_eight(s);
	ck_assert_uint_le(linkproxy_tell(&link, "count"), 4);
	linkproxy_stop(&link);
}
END_TEST

START_TEST(a_server_that_takes_one_connection_only_is_enough)
{
	struct linkproxy link;

	linkproxy_start(&link, &server, NULL);
	CLEAN(store_free_ptr) struct store *s = open_through(_i, link.port, link.known_hosts);

	linkproxy_tell(&link, "refuse on");
	use_by_eight(s);
	ck_assert_uint_eq(linkproxy_tell(&link, "count"), 1);
	linkproxy_stop(&link);
}
END_TEST

static void add_each(TCase *tc, const TTest *const *tests, size_t n)
{
	for (size_t i = 0; i < n; i++)
		tcase_add_loop_test(tc, tests[i], 0, ARRAY_LEN(by_backend));
}

static TCase *places(void)
{
	TCase *tc = server_case("places");
	const TTest *const tests[] = {a_directory_that_cannot_be_made_is_told,
	        a_site_whose_host_key_is_not_pinned_is_denied,
	        objects_cannot_be_written_to_and_leave_nothing_beside_them, lists_hold_files_of_valid_names_only,
	        a_tree_of_many_directories_is_listed_in_order, the_site_tells_its_time_and_leaves_nothing,
	        a_thief_of_the_key_can_overwrite_and_remove, a_site_that_may_not_be_written_to_denies,
	        a_full_disk_is_told_and_nothing_half_is_seen, an_account_in_a_cage_works};

	tcase_add_test(tc, urls_that_mean_something_else_are_refused);
	tcase_add_test(tc, a_url_opens_a_site);
	tcase_add_test(tc, a_directory_that_is_not_there_is_unreachable_and_not_empty);
	tcase_add_test(tc, old_remains_of_puts_are_removed_and_nothing_else);
	add_each(tc, tests, ARRAY_LEN(tests));
	return tc;
}

static TCase *links(void)
{
	TCase *tc = server_case("links");
	const TTest *const tests[] = {an_idle_link_that_was_dropped_is_made_again, an_idle_link_answers_and_is_kept,
	        a_server_that_was_away_is_used_again, a_server_killed_in_the_middle_of_a_get_has_given_no_wrong_byte,
	        a_server_killed_in_the_middle_of_a_put_shows_nothing, a_link_that_stalls_is_given_up,
	        threads_share_at_most_four_links, a_server_that_takes_one_connection_only_is_enough};

	tcase_set_tags(tc, ON_THREADS);
	add_each(tc, tests, ARRAY_LEN(tests));
	return tc;
}

int main(void)
{
	Suite *s = suite_create("store_sftp");
	char dir[] = "/tmp/holdfast-sshd-XXXXXX";

	if (!mkdtemp(dir))
		return 1;
	sshd_start(&shared, dir, NULL);
	use_shared();
	store_conformance(s, drivers, ARRAY_LEN(drivers));
	suite_add_tcase(s, places());
	suite_add_tcase(s, links());
	int failed = conformance_main(s);

	sshd_stop(&shared);
	(void)!fs_remove_tree(dir, NULL);
	return failed;
}
