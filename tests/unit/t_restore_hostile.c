#include "restore_fixture.h"

#include <pthread.h>

/* --- hostile snapshots --- */

#define N_HOSTILE_MAX 5
static const struct hostile {
	struct fixture_entry e[N_HOSTILE_MAX]; /* @ in front of a name: the directory that nothing may touch */
	unsigned skipped;                      /* at least */
	const char *made;                      /* a name that is there nevertheless */
} hostile[] = {
        {{FILE_("../evil", "x")}, 1, NULL},
        {{FILE_("..", "x")}, 1, NULL},
        {{FILE_(".", "x")}, 1, NULL},
        {{FILE_("a/../../canary/evil", "x")}, 1, NULL},
        {{DIR_("a"), FILE_("a/..", "x"), FILE_("b", "y")}, 1, "b"},
        {{FILE_("./a", "x")}, 1, NULL},
        {{FILE_("a/./b", "x")}, 1, NULL},
        {{FILE_("a//b", "x")}, 1, NULL},
        {{FILE_("/evil-absolute", "x")}, 1, NULL},
        {{FILE_("@/evil", "x")}, 1, NULL},
        {{DIR_("../canary")}, 1, NULL},
        {{{.path = "../canary", .mode = S_IFDIR | 0777}}, 1, NULL},
        {{LINK_("../evil", "x")}, 1, NULL},
        {{{.path = "../evil", .mode = S_IFIFO | 0600}}, 1, NULL},
        {{HARD_("../evil", "a")}, 1, NULL},
        {{LINK_("l", "@"), FILE_("l/evil", "x")}, 1, "l/evil"},
        {{LINK_("l", "../canary"), FILE_("l/evil", "x")}, 1, "l/evil"},
        {{LINK_("l", ".."), FILE_("l/canary/evil", "x")}, 1, NULL},
        {{LINK_("l", "@"), DIR_("l"), FILE_("l/evil", "x")}, 1, "l/evil"},
        {{DIR_("l"), LINK_("l", "@"), FILE_("l/evil", "x")}, 1, "l/evil"},
        {{LINK_("l", "@"), {.path = "l", .mode = S_IFDIR | 0777}}, 1, "l"},
        {{DIR_("d"), LINK_("d/l", "@"), DIR_("d/l"), DIR_("d/l/sub")}, 1, "d/l/sub"},
        {{LINK_("l", "@"), LINK_("l/evil", "x")}, 1, NULL},
        {{LINK_("l", "@"), {.path = "l/evil", .mode = S_IFIFO | 0600}}, 1, NULL},
        {{LINK_("l", "@"), {.path = "l/evil", .mode = S_IFCHR | 0600, .rdev = 259}}, 1, NULL},
        {{LINK_("l", "@/x"), FILE_("l", "overwritten")}, 0, NULL},
        {{LINK_("l", "@/x"), HARD_("h", "l"), FILE_("h", "overwritten")}, 0, NULL},
        {{HARD_("h", "../canary/x"), FILE_("h", "overwritten")}, 1, NULL},
        {{HARD_("h", "@/x")}, 1, NULL},
        {{LINK_("l", "@"), HARD_("h", "l/x"), FILE_("a", "a")}, 1, "a"},
        {{LINK_("l", "@"), HARD_("l/evil", "a"), FILE_("a", "a")}, 1, "a"},
        {{HARD_("h", "never recorded"), FILE_("a", "a")}, 1, "a"},
        {{HARD_("h", "h")}, 1, NULL},
        {{HARD_("g", "h"), HARD_("h", "g")}, 2, NULL},
        {{DIR_("d"), HARD_("h", "d")}, 1, "d"},
        {{FILE_("a", "a"), FILE_("a/b", "b")}, 1, "a"},
        {{FILE_("a", "a"), DIR_("a"), FILE_("a/b", "b")}, 0, NULL},
        {{FILE_("same", "1"), FILE_("same", "2")}, 0, "same"},
        {{{.path = "big",
                  .mode = S_IFREG | 0600,
                  .size = INT64_MAX,
                  .extents = (const struct pax_extent[]){{0, 0}},
                  .n_extents = 1},
                 FILE_("z", "z")},
                1, "z"},
        {{{.path = "far",
                  .mode = S_IFREG | 0600,
                  .content = "1",
                  .n = 1,
                  .size = INT64_MAX,
                  .extents = (const struct pax_extent[]){{INT64_MAX - 1, 1}},
                  .n_extents = 1},
                 FILE_("z", "z")},
                1, "z"},
        {{{.path = "acl", .mode = S_IFREG | 0600, .xattr = "system.posix_acl_access", .xattr_value = "\2"}}, 0, "acl"},
        {{FILE_("esc\033]0;title\007", "x"), FILE_("line\nfeed", "x"), FILE_("\xe2\x80\xaertl", "x"),
                 FILE_("not utf-8 \xff", "x")},
                0, "line\nfeed"},
        {{FILE_("Case", "1"), FILE_("case", "2")}, 0, "case"},
        {{LINK_("p", "elsewhere"), FILE_("p/evil", "x")}, 0, NULL},
        {{DIR_("p"), FILE_("p/evil", "x")}, 0, NULL},
        {{FILE_("p", "x")}, 0, NULL},
        {{HARD_("h", "p/x")}, 1, NULL},
        {{FILE_("q/evil", "x"), FILE_("q", "x")}, 0, NULL},
        {{FILE_("up/canary/evil", "x")}, 1, NULL},
        {{FILE_("up/canary/x", "overwritten")}, 1, NULL},
        {{DIR_("up/canary")}, 1, NULL},
        {{LINK_("up/canary/evil", "x"), {.path = "up/canary/fifo", .mode = S_IFIFO | 0600}}, 2, NULL},
        {{HARD_("h", "up/canary/x"), FILE_("h", "overwritten")}, 1, NULL},
        {{FILE_("a", "a"), HARD_("up/canary/evil", "a")}, 1, "a"},
        {{LINK_("l", ".."), HARD_("h", "l/canary/x"), FILE_("h", "overwritten")}, 1, NULL},
        {{LINK_("l", "."), DIR_("d"), HARD_("d/h", "l/up/canary/x"), DIR_("l/d")}, 1, "d"},
};
#define N_HOSTILE (sizeof hostile / sizeof *hostile)

static char *resolve(const char *s)
{
	return s && *s == '@' ? fs_join(canary, s + 1 + (s[1] == '/')) : s ? xstrdup(s) : NULL;
}

/* In the target beforehand: links to the forbidden directory and file. */
static void plant(void)
{
	char x[128];

	snprintf(x, sizeof x, "%s/x", canary);
	ck_assert_int_eq(symlink(canary, at("p")), 0);
	ck_assert_int_eq(symlink(x, at("q")), 0);
	ck_assert_int_eq(symlink("..", at("up")), 0);
}

static void hostile_case(const struct hostile *h)
{
	struct fixture_run run;
	unsigned n = 0;

	fixture_begin(&f, &run);
	for (; n < N_HOSTILE_MAX && h->e[n].path; n++) {
		struct fixture_entry e = h->e[n];
		CLEAN(free_ptr) char *path = resolve(e.path), *link = resolve(e.link), *hard = resolve(e.hardlink);

		e.path = path;
		e.link = link;
		e.hardlink = hard;
		fixture_add(&run, &e);
	}
	ck_ok(fixture_commit(&run, &err));
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	plant();
	restore();
	check_canary();
	ck_assert_msg(stats.skipped >= h->skipped, "only %u skipped", (unsigned)stats.skipped);
	ck_assert_uint_le(stats.skipped, n);
	check_manifest();
	check_canary();
}

START_TEST(hostile_entries_do_not_escape)
{
	hostile_case(&hostile[_i]);
	if (hostile[_i].made && strncmp(hostile[_i].made, "l", 2))
		ck_assert(there(hostile[_i].made));
	ck_assert_int_eq(access("/evil-absolute", F_OK), -1);
	ck_assert_int_eq(access(at("../evil"), F_OK), -1);
}
END_TEST

START_TEST(hostile_entries_do_not_escape_with_full_metadata_and_overwrite)
{
	opts.full_metadata = opts.overwrite = true;
	hostile_case(&hostile[_i]);
	ck_assert_int_eq(access("/evil-absolute", F_OK), -1);
	ck_assert_int_eq(access(at("../evil"), F_OK), -1);
}
END_TEST

START_TEST(records_that_are_none_are_counted_and_their_content_passed_over)
{
	CLEAN(buf_release) struct buf hard = BUF_INIT(MIB), nul = BUF_INIT(MIB);
	struct fixture_run run;

	fixture_record(&(struct fixture_entry)HARD_("h", "a"), &hard);
	fixture_record(&(struct fixture_entry)FILE_("evilXname", "12345"), &nul);
	fixture_begin(&f, &run);
	fixture_add(&run, &(struct fixture_entry)FILE_("a", "11"));
	fixture_add_raw(&run, "h", hard.p, hard.len, "with data", 9); /* a hard link that brings content */
	fixture_add_raw(&run, "n", nul.p, nul.len, "1234", 4);        /* another length than its header says */
	fixture_add_raw(&run, "o", "garbage", 7, "abc", 3);
	fixture_add_raw(&run, "p", nul.p, 100, NULL, 0);
	fixture_add(&run, &(struct fixture_entry)FILE_("z", "22"));
	ck_ok(fixture_commit(&run, &err));
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	restore();
	ck_assert_uint_eq(stats.skipped, 4);
	content_is("a", "11", 2);
	content_is("z", "22", 2);
	check_manifest();
	ck_assert_uint_eq(manifest.wrong, 4);
}
END_TEST

START_TEST(long_and_deep_paths_are_made_or_refused)
{
	static char deep[4000], deeper[8001], name[300], too_long[300];
	const struct fixture_entry e[] = {{.path = deep, .mode = S_IFREG | 0644, .content = "deep", .n = 4},
	        {.path = deeper, .mode = S_IFREG | 0644, .content = "x", .n = 1},
	        {.path = name, .mode = S_IFREG | 0644, .content = "long", .n = 4},
	        {.path = too_long, .mode = S_IFREG | 0644, .content = "x", .n = 1},
	        {.path = "l", .mode = S_IFLNK | 0777, .link = deeper}};
	CLEAN(close_fd) int dir = -1;

	for (size_t i = 0; i < 8000; i++)
		deeper[i] = i % 2 ? '/' : 'd';
	deeper[7999] = 0;
	memcpy(deep, deeper, 3999);
	memset(name, 'n', 255);
	memset(too_long, 't', 256);
	back_up(e, 5);
	restore();
	ck_assert_uint_eq(stats.skipped, 3);
	ck_assert_uint_eq(stats.files, 2);
	content_is(name, "long", 4);
	dir = open(out, O_RDONLY | O_DIRECTORY);
	CLEAN(close_fd) int fd = openat(dir, deep, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	check_manifest();
	ck_assert_uint_eq(manifest.wrong, 3);
	ck_assert_uint_eq(manifest.bytes, 8);
}
END_TEST

/* Exchanges a directory of the target and a link to the forbidden one, while a restore runs. */
static atomic_bool flipping;
static void *flip(void *arg)
{
	(void)arg;
	CLEAN(close_fd) int dir = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 100000 && flipping; i++)
		renameat2(dir, "d", dir, "swap", RENAME_EXCHANGE);
	return NULL;
}

START_TEST(a_directory_that_turns_into_a_link_meanwhile_leads_nowhere)
{
	enum { N = 100 };
	static char name[N][4][24];
	struct fixture_entry e[4 * N];
	CLEAN(free_ptr) char *twin = fs_join(f.dir, "twin");
	pthread_t t;
	uint64_t skipped = 0, made = 0;

	for (int i = 0; i < N; i++) {
		snprintf(name[i][0], 24, "d/%03d", i);
		snprintf(name[i][1], 24, "d/%03d/file", i);
		snprintf(name[i][2], 24, "d/%03d/hard", i);
		snprintf(name[i][3], 24, "d/%03d/link", i);
		e[4 * i] = (struct fixture_entry){.path = name[i][0], .mode = S_IFDIR | 0777};
		e[4 * i + 1] =
		        (struct fixture_entry){.path = name[i][1], .mode = S_IFREG | 0666, .content = "evil", .n = 4};
		e[4 * i + 2] = (struct fixture_entry){.path = name[i][2], .hardlink = name[i][1]};
		e[4 * i + 3] = (struct fixture_entry){.path = name[i][3], .mode = S_IFLNK | 0777, .link = "x"};
	}
	back_up(e, 4 * N);
	opts.overwrite = opts.full_metadata = true;
	ck_assert_int_eq(mkdir(at("d"), 0755), 0);
	ck_assert_int_eq(mkdir(twin, 0700), 0); /* where the link leads there are the same names */
	for (int i = 0; i < N; i++) {
		CLEAN(free_ptr) char *sub = fs_join(twin, name[i][0] + 2);

		ck_assert_int_eq(mkdir(sub, 0700), 0);
	}
	ck_assert_int_eq(symlink(twin, at("swap")), 0);
	flipping = true;
	ck_assert_int_eq(pthread_create(&t, NULL, flip, NULL), 0);
	for (int i = 0; i < 20; i++) {
		restore();
		skipped += stats.skipped;
		made += stats.files;
	}
	flipping = false;
	pthread_join(t, NULL);
	check_canary();
	run_in(twin, (const char *const[]){"sh", "-c", "test -z \"$(find . ! -type d -o ! -perm 700)\"", NULL});
	ck_assert_uint_gt(made, 0);
	ck_assert_uint_gt(skipped, 0); /* or nothing was raced at all */
}
END_TEST

static Suite *hostile_snapshots_suite(void)
{
	Suite *s = suite_create("hostile snapshots");
	TCase *t = group(s, "hostile", setup);
	tcase_add_loop_test(t, hostile_entries_do_not_escape, 0, (int)N_HOSTILE);
	tcase_add_loop_test(t, hostile_entries_do_not_escape_with_full_metadata_and_overwrite, 0, (int)N_HOSTILE);
	tcase_add_test(t, records_that_are_none_are_counted_and_their_content_passed_over);
	tcase_add_test(t, long_and_deep_paths_are_made_or_refused);
	TCase *race = group(s, "race", setup);
	tcase_set_tags(race, ON_THREADS);
	tcase_add_test(race, a_directory_that_turns_into_a_link_meanwhile_leads_nowhere);
	return s;
}

int main(void)
{
	return suite_main(hostile_snapshots_suite());
}
