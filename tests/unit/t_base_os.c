/* Unit tests of src/base against the real file system and real processes. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/str.h"
#include "suite.h"

/* Each test runs with a new directory as its working directory, removed at its end. */
static char *home;

static void enter_new_directory(void)
{
	const char *tmp = getenv("TMPDIR");

	home = fs_join(tmp ? tmp : "/tmp", "t_base_os-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(home));
	ck_assert_int_eq(chdir(home), 0);
}

static void leave_directory(void)
{
	struct err err = ERR_INIT;

	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_msg(fs_remove_tree(home, &err) == 0, "%s", err.msg);
	free(home);
}

static void write_file(const char *path, const char *text)
{
	struct err err = ERR_INIT;

	ck_assert_msg(fs_replace(path, text, strlen(text), 0644, &err) == 0, "%s", err.msg);
}

static void assert_content(const char *path, const char *want)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);
	struct err err = ERR_INIT;

	ck_assert_msg(fs_read(path, &b, &err) == 0, "%s", err.msg);
	ck_assert_str_eq(buf_str(&b), want);
}

static int entries_in(const char *path)
{
	DIR *d = opendir(path);
	int n = -2;

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* A mount namespace of our own, so that what is mounted there ends with this test. */
static bool own_mounts(const char *test)
{
	if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		return true;
	printf("SKIP: %s: no permission to make a mount namespace\n", test);
	ck_assert_msg(!getenv("CI"), "a skip is a failure here");
	return false;
}

/* fs */

START_TEST(directories_are_made_with_their_parents)
{
	struct err err = ERR_INIT;
	struct stat st;

	ck_assert_int_eq(fs_mkdirs("a/b//c/", 0700, &err), 0);
	ck_assert_int_eq(stat("a/b/c", &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0700);
	ck_assert_int_eq(fs_mkdirs("a/b/c", 0755, &err), 0);
	ck_assert_int_eq(fs_mkdirs("/", 0755, &err), 0);
	ck_assert_int_eq(fs_mkdirs(".", 0755, &err), 0);
	write_file("a/file", "x");
	ck_assert_int_eq(fs_mkdirs("a/file", 0700, &err), -ERR_IO);
	ck_assert_int_eq(fs_mkdirs("a/file/d", 0700, &err), -ERR_IO);
	ck_assert_int_eq(err.sys_errno, ENOTDIR);
}
END_TEST

START_TEST(reading_is_bounded_and_replaces_what_was_held)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(5);
	struct err err = ERR_INIT;

	buf_addf(&b, "old");
	ck_assert_int_eq(fs_read("none", &b, &err), -ERR_MISSING);
	ck_assert_ptr_nonnull(strstr(err.msg, "'none'"));
	write_file("five", "12345");
	ck_assert_int_eq(fs_read("five", &b, &err), 0);
	ck_assert_str_eq(buf_str(&b), "12345");
	write_file("six", "123456");
	ck_assert_int_eq(fs_read("six", &b, &err), -ERR_NOMEM);
	write_file("empty", "");
	ck_assert_int_eq(fs_read("empty", &b, &err), 0);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_int_eq(fs_read(".", &b, &err), -ERR_IO);
}
END_TEST

START_TEST(files_without_a_size_are_read_whole)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);

	ck_assert_int_eq(fs_read("/proc/self/status", &b, NULL), 0);
	ck_assert(str_starts(buf_str(&b), "Name:"));
	ck_assert_int_eq(fs_read("/dev/zero", &b, NULL), -ERR_NOMEM);
}
END_TEST

START_TEST(replacing_swaps_content_and_leaves_nothing_behind)
{
	struct stat st;

	umask(022);
	ck_assert_int_eq(fs_replace("f", "one", 3, 0600, NULL), 0);
	assert_content("f", "one");
	ck_assert_int_eq(fs_replace("f", "two!", 4, 0640, NULL), 0);
	assert_content("f", "two!");
	ck_assert_int_eq(stat("f", &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0640);
	ck_assert_int_eq(entries_in("."), 1);
	ck_assert_int_eq(fs_replace("none/f", "x", 1, 0600, NULL), -ERR_MISSING);
	ck_assert_int_eq(mkdir("d", 0700), 0);
	ck_assert_int_eq(fs_replace("d", "x", 1, 0600, NULL), -ERR_IO);
	ck_assert_int_eq(fs_replace("d/", "x", 1, 0600, NULL), -ERR_IO);
	ck_assert_int_eq(entries_in("."), 2);
}
END_TEST

static void check_create(void)
{
	struct err err = ERR_INIT;
	struct stat st;

	umask(022);
	ck_assert_msg(fs_create("f", "one", 3, 0440, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(fs_create("f", "two", 3, 0440, &err), -ERR_EXISTS);
	assert_content("f", "one");
	ck_assert_int_eq(stat("f", &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0440);
	ck_assert_uint_eq(st.st_nlink, 1);
	ck_assert_int_eq(symlink("nowhere", "link"), 0);
	ck_assert_int_eq(fs_create("link", "x", 1, 0600, &err), -ERR_EXISTS);
	ck_assert(!fs_exists("nowhere"));
	ck_assert_int_eq(fs_create("none/f", "x", 1, 0600, &err), -ERR_MISSING);
	ck_assert_int_eq(entries_in("."), 2);
}

START_TEST(creating_never_replaces)
{
	check_create();
}
END_TEST

START_TEST(creating_never_replaces_where_unnamed_files_cannot_be_linked)
{
	if (!own_mounts("creating_never_replaces_where_unnamed_files_cannot_be_linked"))
		return;
	/* Without /proc an O_TMPFILE cannot be given a name, so the named way has to serve. */
	ck_assert_int_eq(mount("none", "/proc", "tmpfs", 0, NULL), 0);
	check_create();
	ck_assert_int_eq(umount("/proc"), 0);
}
END_TEST

START_TEST(one_who_dies_while_writing_leaves_nothing)
{
	struct err err = ERR_INIT;
	int status, before = entries_in(".");
	pid_t pid = fork();

	if (!pid) {
		struct fs_draft d;

		if (fs_draft_open(&d, "f", 0600, &err) || fs_write_full(d.fd, "half", 4))
			_exit(1);
		raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(entries_in("."), before);
}
END_TEST

START_TEST(existence_is_of_the_name_itself)
{
	ck_assert(!fs_exists("x"));
	ck_assert_int_eq(symlink("nowhere", "x"), 0);
	ck_assert(fs_exists("x"));
	ck_assert(fs_exists("."));
}
END_TEST

START_TEST(a_lock_is_held_by_one_at_a_time)
{
	struct err err = ERR_INIT;
	int first, second;

	ck_assert_int_eq(fs_lock("lock", &first, &err), 0);
	ck_assert_int_eq(fs_lock("lock", &second, &err), -ERR_BUSY);
	ck_assert(err.retryable);
	ck_assert_int_eq(second, -1);
	ck_assert_int_eq(fcntl(first, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close(first);
	ck_assert_int_eq(fs_lock("lock", &second, &err), 0);
	close(second);
	ck_assert_int_eq(fs_lock("none/lock", &second, &err), -ERR_MISSING);
}
END_TEST

START_TEST(paths_are_joined_with_one_slash)
{
	static const char *const cases[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		CLEAN(free_ptr) char *p = fs_join(cases[i][0], cases[i][1]);

		ck_assert_str_eq(p, cases[i][2]);
	}
}
END_TEST

START_TEST(a_tree_goes_and_what_its_links_name_stays)
{
	struct err err = ERR_INIT;

	ck_assert_int_eq(fs_mkdirs("keep/sub", 0700, NULL), 0);
	write_file("keep/sub/file", "kept");
	ck_assert_int_eq(fs_mkdirs("tree/x/y", 0700, NULL), 0);
	write_file("tree/x/f", "gone");
	ck_assert_int_eq(symlink("../../keep", "tree/x/link"), 0);
	ck_assert_int_eq(symlink("keep", "outer"), 0);
	ck_assert_int_eq(mkfifo("tree/fifo", 0600), 0);
	ck_assert_msg(fs_remove_tree("tree/", &err) == 0, "%s", err.msg);
	ck_assert(!fs_exists("tree"));
	ck_assert_int_eq(fs_remove_tree("outer/", &err), 0);
	ck_assert(!fs_exists("outer"));
	assert_content("keep/sub/file", "kept");
	ck_assert_int_eq(fs_remove_tree("keep/sub/file", &err), 0);
	ck_assert(!fs_exists("keep/sub/file"));
	ck_assert_int_eq(fs_remove_tree("none", &err), 0);
	ck_assert_int_eq(fs_remove_tree("none/none", &err), 0);
}
END_TEST

START_TEST(dangerous_names_are_not_removed)
{
	static const char *const bad[] = {"", "/", "//", ".", "..", "a/..", "a/.", "a/../"};

	ck_assert_int_eq(mkdir("a", 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(fs_remove_tree(bad[i], NULL) == -ERR_USAGE, "%s", bad[i]);
	ck_assert(fs_exists("a"));
}
END_TEST

START_TEST(a_deep_tree_goes_with_few_descriptors)
{
	struct rlimit few = {64, 64};
	struct err err = ERR_INIT;
	int at = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int i = 0; i < 4000; i++) {
		int next, file;

		ck_assert_int_eq(mkdirat(at, "deep", 0700), 0);
		ck_assert_int_eq(mkdirat(at, "side", 0700), 0);
		next = openat(at, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ck_assert_int_ge(next, 0);
		file = openat(next, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		ck_assert_int_ge(file, 0);
		close(file);
		close(at);
		at = next;
	}
	close(at);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	ck_assert_msg(fs_remove_tree("deep", &err) == 0, "%s", err.msg);
	ck_assert(!fs_exists("deep"));
}
END_TEST

START_TEST(a_wide_tree_goes)
{
	ck_assert_int_eq(mkdir("wide", 0700), 0);
	for (int i = 0; i < 3000; i++) {
		char name[32];

		snprintf(name, sizeof name, "wide/%d", i);
		if (i % 3)
			ck_assert_int_eq(mkdir(name, 0700), 0);
		else
			ck_assert_int_eq(symlink("x", name), 0);
	}
	ck_assert_int_eq(fs_remove_tree("wide", NULL), 0);
	ck_assert(!fs_exists("wide"));
}
END_TEST

START_TEST(read_only_directories_are_no_obstacle_to_their_owner)
{
	struct err err = ERR_INIT;

	/* Permissions mean nothing to root. */
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(".", 65534, 65534), 0);
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	}
	ck_assert_int_eq(fs_mkdirs("t/a/b", 0700, NULL), 0);
	write_file("t/a/b/f", "x");
	ck_assert_int_eq(chmod("t/a/b", 0000), 0);
	ck_assert_int_eq(chmod("t/a", 0500), 0);
	ck_assert_int_eq(chmod("t", 0100), 0);
	ck_assert_msg(fs_remove_tree("t", &err) == 0, "%s", err.msg);
	ck_assert(!fs_exists("t"));
}
END_TEST

START_TEST(removal_stops_at_a_mount_point)
{
	struct err err = ERR_INIT;

	if (!own_mounts("removal_stops_at_a_mount_point"))
		return;
	ck_assert_int_eq(mkdir("kept", 0700), 0);
	write_file("kept/file", "kept");
	ck_assert_int_eq(fs_mkdirs("tree/bound", 0700, NULL), 0);
	ck_assert_int_eq(fs_mkdirs("other/mounted", 0700, NULL), 0);
	/* The same file system at a second place, which its device number does not show. */
	ck_assert_int_eq(mount("kept", "tree/bound", NULL, MS_BIND, NULL), 0);
	ck_assert_int_eq(fs_remove_tree("tree", &err), -ERR_IO);
	assert_content("kept/file", "kept");
	ck_assert_int_eq(umount("tree/bound"), 0);
	ck_assert_int_eq(mount("none", "other/mounted", "tmpfs", 0, NULL), 0);
	write_file("other/mounted/file", "kept");
	ck_assert_int_eq(fs_remove_tree("other", &err), -ERR_IO);
	assert_content("other/mounted/file", "kept");
	ck_assert_int_eq(umount("other/mounted"), 0);
}
END_TEST

/* proc */

static const struct proc_opts plain = {.stdin_fd = -1};

static void run(const char *const *argv, const struct proc_opts *o, struct proc_result *r)
{
	struct err err = ERR_INIT;

	proc_result_init(r, 65536);
	ck_assert_msg(proc_run(argv, o, r, &err) == 0, "%s", err.msg);
}

static void run_shell(const char *script, const struct proc_opts *o, struct proc_result *r)
{
	run((const char *const[]){"sh", "-c", script, NULL}, o, r);
}

START_TEST(output_error_and_status_come_back_apart)
{
	CLEAN(proc_result_release) struct proc_result r;

	run_shell("echo out; echo err >&2; exit 3", &plain, &r);
	ck_assert_int_eq(r.status, 3);
	ck_assert_str_eq(buf_str(&r.out), "out\n");
	ck_assert_str_eq(buf_str(&r.err), "err\n");
	ck_assert(!r.timed_out && !r.cancelled);
	ck_assert_int_eq(proc_run((const char *const[]){"true", NULL}, &plain, &r, NULL), 0);
	ck_assert_int_eq(r.status, 0);
	ck_assert_uint_eq(r.out.len, 0);
}
END_TEST

START_TEST(death_by_signal_is_128_and_its_number)
{
	CLEAN(proc_result_release) struct proc_result r;

	/* Whatever we ignore, the program starts with defaults. */
	signal(SIGPIPE, SIG_IGN);
	run_shell("kill -PIPE $$", &plain, &r);
	ck_assert_int_eq(r.status, 128 + SIGPIPE);
}
END_TEST

START_TEST(environment_holds_only_what_is_meant)
{
	CLEAN(proc_result_release) struct proc_result r;
	CLEAN(proc_result_release) struct proc_result r2;
	const char *const env[] = {"ADDED=a=b", "LANG=C", NULL};
	struct proc_opts o = {.stdin_fd = -1, .env = env};
	const char *const argv[] = {"env", NULL};

	setenv("SECRET_TOKEN", "x", 1);
	setenv("LD_PRELOAD", "", 1);
	setenv("PATH", "/nowhere", 1);
	setenv("HOME", "/home/somebody", 1);
	unsetenv("TZ");
	run(argv, &plain, &r);
	ck_assert_str_eq(buf_str(&r.out), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
	                                  "LANG=C.UTF-8\nHOME=/home/somebody\n");
	run(argv, &o, &r2);
	ck_assert_str_eq(buf_str(&r2.out), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
	                                   "LANG=C\nHOME=/home/somebody\nADDED=a=b\n");
}
END_TEST

START_TEST(standard_input_is_empty_unless_given)
{
	CLEAN(proc_result_release) struct proc_result r;
	CLEAN(proc_result_release) struct proc_result r2;
	struct proc_opts o = plain;

	run((const char *const[]){"cat", NULL}, &plain, &r);
	ck_assert_int_eq(r.status, 0);
	ck_assert_uint_eq(r.out.len, 0);
	write_file("in", "given");
	o.stdin_fd = open("in", O_RDONLY | O_CLOEXEC);
	run((const char *const[]){"cat", NULL}, &o, &r2);
	ck_assert_str_eq(buf_str(&r2.out), "given");
	ck_assert_int_ge(fcntl(o.stdin_fd, F_GETFD), 0);
	close(o.stdin_fd);
}
END_TEST

START_TEST(stray_descriptors_are_not_inherited)
{
	CLEAN(proc_result_release) struct proc_result r;
	int stray = open("/dev/null", O_RDONLY);

	ck_assert_int_eq(dup2(stray, 50), 50);
	ck_assert_int_eq(dup2(stray, 51), 51);
	run_shell("for fd in 50 51; do test -e /proc/$$/fd/$fd && echo $fd; done", &plain, &r);
	ck_assert_str_eq(buf_str(&r.out), "");
}
END_TEST

START_TEST(standard_descriptors_closed_in_the_caller_do_no_harm)
{
	CLEAN(proc_result_release) struct proc_result r;

	close(0);
	close(1);
	run_shell("cat; echo fine", &plain, &r);
	ck_assert_str_eq(buf_str(&r.out), "fine\n");
}
END_TEST

START_TEST(only_the_last_bytes_are_kept_and_the_rest_is_counted)
{
	struct proc_result r;

	for (size_t keep = 0; keep <= 7; keep += 7) {
		proc_result_init(&r, keep);
		ck_assert_int_eq(proc_run((const char *const[]){"seq", "1", "100000", NULL}, &plain, &r, NULL), 0);
		ck_assert_int_eq(r.status, 0);
		ck_assert_str_eq(buf_str(&r.out), keep ? "100000\n" : "");
		ck_assert_uint_eq(r.out_dropped, 588895 - keep);
		proc_result_release(&r);
	}
	proc_result_init(&r, 20000);
	ck_assert_int_eq(proc_run((const char *const[]){"seq", "1", "100000", NULL}, &plain, &r, NULL), 0);
	ck_assert_uint_eq(r.out.len, 20000);
	ck_assert_uint_eq(r.out_dropped, 588895 - 20000);
	ck_assert_mem_eq(r.out.p + 20000 - 13, "99999\n100000\n", 13);
	proc_result_release(&r);
}
END_TEST

START_TEST(a_program_that_cannot_start_says_why)
{
	CLEAN(proc_result_release) struct proc_result r;
	struct proc_opts o = {.stdin_fd = -1, .cwd = "no/where"};
	struct err err = ERR_INIT;

	proc_result_init(&r, 100);
	ck_assert_int_eq(proc_run((const char *const[]){"no-such-program", NULL}, &plain, &r, &err), -ERR_MISSING);
	ck_assert_ptr_nonnull(strstr(err.msg, "'no-such-program'"));
	ck_assert_int_eq(proc_run((const char *const[]){"./no-such", NULL}, &plain, &r, &err), -ERR_MISSING);
	ck_assert_ptr_nonnull(strstr(err.msg, "'./no-such'"));
	ck_assert_int_eq(err.sys_errno, ENOENT);
	write_file("data", "neither program nor script");
	ck_assert_int_eq(proc_run((const char *const[]){"./data", NULL}, &plain, &r, &err), -ERR_DENIED);
	ck_assert_int_eq(chmod("data", 0755), 0);
	ck_assert_int_eq(proc_run((const char *const[]){"./data", NULL}, &plain, &r, &err), -ERR_IO);
	ck_assert_int_eq(err.sys_errno, ENOEXEC);
	ck_assert_int_eq(proc_run((const char *const[]){"true", NULL}, &o, &r, &err), -ERR_MISSING);
	ck_assert_ptr_nonnull(strstr(err.msg, "'no/where'"));
	/* Nothing is left to reap. */
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

static int refuse(void *arg)
{
	errno = *(int *)arg;
	return -1;
}

static int make_marker(void *arg)
{
	return mkdir(arg, 0700);
}

START_TEST(preparation_in_the_child_runs_there_and_may_refuse)
{
	CLEAN(proc_result_release) struct proc_result r;
	char marker[] = "marker";
	int reason = EMFILE;
	struct proc_opts o = {.stdin_fd = -1, .cwd = "sub", .in_child = make_marker, .arg = marker};
	struct err err = ERR_INIT;

	ck_assert_int_eq(mkdir("sub", 0700), 0);
	run((const char *const[]){"ls", NULL}, &o, &r);
	ck_assert_str_eq(buf_str(&r.out), "marker\n");
	o.in_child = refuse;
	o.arg = &reason;
	ck_assert_int_eq(proc_run((const char *const[]){"ls", NULL}, &o, &r, &err), -ERR_IO);
	ck_assert_int_eq(err.sys_errno, EMFILE);
}
END_TEST

START_TEST(expiry_ends_the_whole_group)
{
	CLEAN(proc_result_release) struct proc_result r;
	struct proc_opts o = {.stdin_fd = -1, .timeout_ms = 200};
	int status;
	pid_t grandchild;

	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	run_shell("sleep 1000 & echo $!; wait", &o, &r);
	ck_assert(r.timed_out);
	ck_assert_int_eq(r.status, 128 + SIGTERM);
	grandchild = (pid_t)strtol(buf_str(&r.out), NULL, 10);
	ck_assert_int_gt(grandchild, 0);
	ck_assert_int_eq(waitpid(grandchild, &status, 0), grandchild);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGTERM);
}
END_TEST

START_TEST(who_ignores_the_request_to_end_is_killed)
{
	CLEAN(proc_result_release) struct proc_result r;
	struct proc_opts o = {.stdin_fd = -1, .timeout_ms = 200};

	run_shell("trap '' TERM; while :; do sleep 1000; done", &o, &r);
	ck_assert(r.timed_out);
	ck_assert_int_eq(r.status, 128 + SIGKILL);
}
END_TEST

START_TEST(cancelling_ends_the_program)
{
	CLEAN(proc_result_release) struct proc_result r;
	atomic_bool cancel = true;
	struct proc_opts o = {.stdin_fd = -1, .cancel = &cancel};

	run((const char *const[]){"sleep", "1000", NULL}, &o, &r);
	ck_assert(r.cancelled && !r.timed_out);
	ck_assert_int_eq(r.status, 128 + SIGTERM);
}
END_TEST

START_TEST(a_background_process_does_not_hold_us_up)
{
	CLEAN(proc_result_release) struct proc_result r;
	pid_t background;

	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	run_shell("sleep 1000 & echo $!; exit 5", &plain, &r);
	ck_assert_int_eq(r.status, 5);
	ck_assert(!r.timed_out);
	/* It was started on purpose, so it lives on. */
	background = (pid_t)strtol(buf_str(&r.out), NULL, 10);
	ck_assert_int_gt(background, 0);
	ck_assert_int_eq(waitpid(background, NULL, WNOHANG), 0);
	kill(background, SIGKILL);
	ck_assert_int_eq(waitpid(background, NULL, 0), background);
}
END_TEST

START_TEST(reading_from_a_child_is_not_blocked_by_its_errors)
{
	CLEAN(proc_release) struct proc p = PROC_INIT;
	const char *script = "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo last >&2; echo done; exit 4";
	char text[32] = "";
	int status;

	ck_assert_int_eq(proc_open((const char *const[]){"sh", "-c", script, NULL}, &plain, PROC_READ, &p, NULL), 0);
	ck_assert_int_eq(proc_read(&p, text, sizeof text - 1), 5);
	ck_assert_str_eq(text, "done\n");
	ck_assert_int_eq(proc_read(&p, text, sizeof text), 0);
	ck_assert_int_eq(proc_close(&p, 0, &status, NULL), 0);
	ck_assert_int_eq(status, 4);
	ck_assert_uint_eq(p.err_tail.len, 4096);
	ck_assert_str_eq(buf_str(&p.err_tail) + 4096 - 6, "xlast\n");
}
END_TEST

START_TEST(what_is_written_arrives_and_closing_ends_it)
{
	CLEAN(proc_release) struct proc p = PROC_INIT;
	CLEAN(buf_release) struct buf got = BUF_INIT(1 << 20);
	CLEAN(buf_release) struct buf sent = BUF_INIT(1 << 20);
	const char *script = "echo ignored; head -c 300000 /dev/zero >&2; cat > copy";
	size_t at = 0;
	int status;

	for (int i = 0; i < 50000; i++)
		buf_addf(&sent, "%d\n", i);
	ck_assert_int_eq(proc_open((const char *const[]){"sh", "-c", script, NULL}, &plain, PROC_WRITE, &p, NULL), 0);
	while (at < sent.len) {
		ssize_t n = proc_write(&p, sent.p + at, sent.len - at);

		ck_assert_int_gt(n, 0);
		at += (size_t)n;
	}
	ck_assert_int_eq(proc_close(&p, 0, &status, NULL), 0);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(fs_read("copy", &got, NULL), 0);
	ck_assert_uint_eq(got.len, sent.len);
	ck_assert_mem_eq(got.p, sent.p, sent.len);
}
END_TEST

START_TEST(a_silent_child_is_given_up_at_its_deadline)
{
	CLEAN(proc_release) struct proc p = PROC_INIT;
	struct proc_opts o = {.stdin_fd = -1, .timeout_ms = 50};
	char c;
	int status;

	ck_assert_int_eq(proc_open((const char *const[]){"sleep", "1000", NULL}, &o, PROC_READ, &p, NULL), 0);
	ck_assert_int_eq(proc_read(&p, &c, 1), -1);
	ck_assert_int_eq(errno, ETIMEDOUT);
	ck_assert_int_eq(proc_close(&p, 1, &status, NULL), 0);
	ck_assert_int_eq(status, 128 + SIGTERM);
}
END_TEST

START_TEST(cancelling_wakes_a_reader)
{
	CLEAN(proc_release) struct proc p = PROC_INIT;
	atomic_bool cancel = false;
	struct proc_opts o = {.stdin_fd = -1, .cancel = &cancel};
	char c;

	ck_assert_int_eq(proc_open((const char *const[]){"sleep", "1000", NULL}, &o, PROC_READ, &p, NULL), 0);
	atomic_store(&cancel, true);
	ck_assert_int_eq(proc_read(&p, &c, 1), -1);
	ck_assert_int_eq(errno, ECANCELED);
}
END_TEST

START_TEST(releasing_a_running_child_leaves_nobody)
{
	struct proc p;

	ck_assert_int_eq(proc_open((const char *const[]){"sleep", "1000", NULL}, &plain, PROC_READ, &p, NULL), 0);
	proc_release(&p);
	ck_assert_int_eq(waitpid(-1, NULL, 0), -1);
	ck_assert_int_eq(errno, ECHILD);
	ck_assert_int_eq(
	        proc_open((const char *const[]){"no-such-program", NULL}, &plain, PROC_READ, &p, NULL), -ERR_MISSING);
	ck_assert_int_eq(proc_close(&p, 0, &(int){0}, NULL), -ERR_INTERNAL);
	proc_release(&p);
	proc_release(&p);
}
END_TEST

static TCase *add_case(Suite *s, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, enter_new_directory, leave_directory);
	suite_add_tcase(s, tc);
	return tc;
}

static void add_files(Suite *s)
{
	TCase *tc = add_case(s, "fs");

	tcase_add_test(tc, directories_are_made_with_their_parents);
	tcase_add_test(tc, reading_is_bounded_and_replaces_what_was_held);
	tcase_add_test(tc, files_without_a_size_are_read_whole);
	tcase_add_test(tc, replacing_swaps_content_and_leaves_nothing_behind);
	tcase_add_test(tc, creating_never_replaces);
	tcase_add_test(tc, creating_never_replaces_where_unnamed_files_cannot_be_linked);
	tcase_add_test(tc, one_who_dies_while_writing_leaves_nothing);
	tcase_add_test(tc, existence_is_of_the_name_itself);
	tcase_add_test(tc, a_lock_is_held_by_one_at_a_time);
	tcase_add_test(tc, paths_are_joined_with_one_slash);
	tcase_add_test(tc, a_tree_goes_and_what_its_links_name_stays);
	tcase_add_test(tc, dangerous_names_are_not_removed);
	tcase_add_test(tc, a_deep_tree_goes_with_few_descriptors);
	tcase_add_test(tc, a_wide_tree_goes);
	tcase_add_test(tc, read_only_directories_are_no_obstacle_to_their_owner);
	tcase_add_test(tc, removal_stops_at_a_mount_point);
}

static void add_processes(Suite *s)
{
	TCase *tc = add_case(s, "proc_run");

	tcase_add_test(tc, output_error_and_status_come_back_apart);
	tcase_add_test(tc, death_by_signal_is_128_and_its_number);
	tcase_add_test(tc, environment_holds_only_what_is_meant);
	tcase_add_test(tc, standard_input_is_empty_unless_given);
	tcase_add_test(tc, stray_descriptors_are_not_inherited);
	tcase_add_test(tc, standard_descriptors_closed_in_the_caller_do_no_harm);
	tcase_add_test(tc, only_the_last_bytes_are_kept_and_the_rest_is_counted);
	tcase_add_test(tc, a_program_that_cannot_start_says_why);
	tcase_add_test(tc, preparation_in_the_child_runs_there_and_may_refuse);
	tcase_add_test(tc, expiry_ends_the_whole_group);
	tcase_add_test(tc, who_ignores_the_request_to_end_is_killed);
	tcase_add_test(tc, cancelling_ends_the_program);
	tcase_add_test(tc, a_background_process_does_not_hold_us_up);
	tc = add_case(s, "proc_open");
	tcase_add_test(tc, reading_from_a_child_is_not_blocked_by_its_errors);
	tcase_add_test(tc, what_is_written_arrives_and_closing_ends_it);
	tcase_add_test(tc, a_silent_child_is_given_up_at_its_deadline);
	tcase_add_test(tc, cancelling_wakes_a_reader);
	tcase_add_test(tc, releasing_a_running_child_leaves_nobody);
}

int main(void)
{
	Suite *s = suite_create("base_os");

	add_files(s);
	add_processes(s);
	return suite_main_forked(s);
}
