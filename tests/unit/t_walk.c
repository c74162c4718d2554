#include "backup/walk.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/mem.h"
#include "backup/beneath.h"
#include "backup/hardlinks.h"
#include "repo/list.h"
#include "suite.h"

static struct err err;
static char top[64];

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(top, sizeof(top), "%s/t_walk-XXXXXX",
	        tmp && strlen(tmp) < 40    ? tmp
	        : access("/dev/shm", W_OK) ? "/var/tmp"
	                                   : "/dev/shm");
	ck_assert_ptr_nonnull(mkdtemp(top));
}

static void teardown(void)
{
	ck_ok(fs_remove_tree(top, &err));
}

static const char *at(const char *name)
{
	static char path[4][512];
	static unsigned turn;
	char *p = path[turn++ % 4];
	snprintf(p, sizeof(path[0]), "%s/%s", top, name);
	return p;
}

static void touch(const char *name)
{
	CLEAN(close_fd) int fd = open(at(name), O_WRONLY | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
}

static void put_text(const char *name, const char *text)
{
	ck_ok(fs_replace(at(name), text, strlen(text), 0600, &err));
}

static void make_dir(const char *name)
{
	ck_assert_int_eq(mkdir(at(name), 0755), 0);
}

/* --- walking --- */

struct seen {
	struct buf text; /* paths below the top, a line feed each */
	char last[LIST_PATH_MAX + 1];
	uint64_t entries, notes[NOTE_CODES];
	void (*hook)(const char *path);
};

static int on_entry(void *arg, const struct walk_entry *e, struct err *ret)
{
	struct seen *s = arg;
	(void)ret;
	ck_assert_uint_eq(strlen(e->path), e->n_path);
	if (s->entries)
		ck_assert_int_lt(path_walk_cmp(s->last, strlen(s->last), e->path, e->n_path), 0);
	memcpy(s->last, e->path, e->n_path + 1);
	s->entries++;
	const char *below = e->path + MIN(strlen(top) - 1, e->n_path);
	buf_add(&s->text, below, strlen(below));
	buf_add(&s->text, "\n", 1);
	if (s->hook)
		s->hook(below);
	return 0;
}

static int on_note(void *arg, enum note_code code, const char *path, size_t n, struct err *ret)
{
	(void)path;
	(void)n;
	(void)ret;
	((struct seen *)arg)->notes[code]++;
	return 0;
}

static struct seen *walk(struct walk_opts o, const char *const *paths)
{
	const char *const just_top[] = {top, NULL};
	struct seen *s = xcalloc(1, sizeof(*s));
	char **roots;
	buf_init(&s->text, (size_t)1 << 30);
	ck_ok(walk_roots(paths ? paths : just_top, &roots, &o.n_roots, &err));
	o.roots = roots;
	o.entry = on_entry;
	o.note = on_note;
	o.arg = s;
	ck_ok(walk_run(&o, &err));
	walk_roots_free(roots, o.n_roots);
	return s;
}

static void seen_free(struct seen *s)
{
	buf_release(&s->text);
	free(s);
}

static void check_seen(struct seen *s, const char *want)
{
	ck_assert_str_eq(buf_str(&s->text), want);
	seen_free(s);
}

START_TEST(components_are_ordered_bytewise_and_depth_comes_first)
{
	make_dir("a");
	make_dir("a/sub");
	touch("a/z");
	touch("a/sub/x");
	touch("a.b");
	touch("a-b");
	touch("B");
	touch("\xff");
	check_seen(walk((struct walk_opts){0}, NULL), "\n/B\n/a\n/a/sub\n/a/sub/x\n/a/z\n/a-b\n/a.b\n/\xff\n");
}
END_TEST

START_TEST(large_directories_are_spilled_and_merged)
{
	make_dir("d");
	for (unsigned i = 0; i < 3000; i++) {
		char name[300];
		memset(name, 'n', sizeof(name));
		snprintf(name, sizeof(name), "d/%0*u", (int)(1 + i * 7 % 250), i * 2654435761u % 100000);
		touch(name);
	}
	make_dir("d/55");
	for (unsigned i = 0; i < 20; i++)
		touch(i % 2 ? (char[]){'d', '/', '5', '5', '/', (char)('a' + i), 0} : (char[]){(char)('a' + i), 0});
	struct seen *plain = walk((struct walk_opts){0}, NULL);
	ck_assert_uint_gt(plain->entries, 2500);
	for (size_t run = 1; run < 1200; run = run * 3 + 1) {
		struct seen *s = walk((struct walk_opts){.run_names = run, .tmp_dir = top}, NULL);
		ck_assert_str_eq(buf_str(&s->text), buf_str(&plain->text));
		seen_free(s);
	}
	seen_free(plain);
}
END_TEST

enum { LEVELS = 4000 };

static int dig(const char *name)
{
	int fd = open(top, O_RDONLY | O_DIRECTORY);
	for (unsigned i = 0; i < LEVELS; i++) {
		ck_assert_int_eq(mkdirat(fd, name, 0755), 0);
		int next = openat(fd, name, O_RDONLY | O_DIRECTORY);
		ck_assert_int_ge(next, 0);
		close(fd);
		fd = next;
		if (i % 100 == 0)
			close(openat(fd, "zz", O_WRONLY | O_CREAT, 0600));
	}
	return fd;
}

START_TEST(four_thousand_levels_are_walked_with_few_descriptors)
{
	struct rlimit few;
	close(dig("level"));
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &few), 0);
	few.rlim_cur = 100;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	struct seen *s = walk((struct walk_opts){0}, NULL);
	ck_assert_uint_eq(s->entries, 1 + LEVELS + LEVELS / 100);
	for (unsigned i = 0; i < NOTE_CODES; i++)
		ck_assert_uint_eq(s->notes[i], 0);
	seen_free(s);
}
END_TEST

START_TEST(a_deep_entry_is_reached_again)
{
	const char *const paths[] = {top, NULL};
	char **roots;
	size_t n_roots;
	close(dig("lv"));
	ck_ok(walk_roots(paths, &roots, &n_roots, &err));
	struct beneath *b = beneath_new(roots, n_roots);
	char *path = xmalloc(4 * LEVELS + 100);
	size_t n = strlen(strcpy(path, top + 1));
	for (unsigned i = 0; i < LEVELS; i++)
		n += (size_t)sprintf(path + n, "/lv");
	const char *name;
	struct stat st;
	int dir = beneath_find(b, path, n, &name);
	ck_assert_int_ge(dir, 0);
	ck_assert_str_eq(name, "lv");
	ck_assert_int_eq(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	dir = beneath_find(b, top + 1, strlen(top + 1), &name);
	ck_assert_int_eq(dir, AT_FDCWD);
	ck_assert_str_eq(name, top);
	ck_assert_int_eq(beneath_find(b, "elsewhere/x", 11, &name), -1);
	beneath_free(b);
	free(path);
	walk_roots_free(roots, n_roots);
}
END_TEST

START_TEST(symbolic_links_are_not_followed)
{
	const char *const paths[] = {top, NULL};
	char **roots;
	size_t n_roots;
	const char *name;
	make_dir("real");
	touch("real/x");
	ck_assert_int_eq(symlink("real", at("link")), 0);
	check_seen(walk((struct walk_opts){0}, NULL), "\n/link\n/real\n/real/x\n");
	ck_ok(walk_roots(paths, &roots, &n_roots, &err));
	struct beneath *b = beneath_new(roots, n_roots);
	const char *through = at("link/x") + 1;
	ck_assert_int_eq(beneath_find(b, through, strlen(through), &name), -1);
	beneath_free(b);
	walk_roots_free(roots, n_roots);
}
END_TEST

static void move_away(const char *path)
{
	if (strcmp(path, "/a/b/c") == 0)
		ck_assert_int_eq(rename(at("a/b"), at("moved")), 0);
}

static void drop_names(const char *path)
{
	if (strcmp(path, "/a") == 0)
		ck_assert_int_eq(unlink(at("x2")), 0);
}

START_TEST(names_that_go_meanwhile_are_noted)
{
	make_dir("a");
	make_dir("a/b");
	make_dir("a/b/c");
	touch("a/z");
	touch("x1");
	touch("x2");
	struct seen *s = xcalloc(1, sizeof(*s));
	char *roots[] = {top};
	struct walk_opts o = {.roots = roots, .n_roots = 1, .entry = on_entry, .note = on_note, .arg = s};
	buf_init(&s->text, 1 << 20);
	s->hook = drop_names;
	ck_ok(walk_run(&o, &err));
	ck_assert_uint_eq(s->notes[NOTE_VANISHED], 1);
	s->hook = move_away;
	buf_clear(&s->text);
	s->entries = 0;
	ck_ok(walk_run(&o, &err));
	ck_assert_str_eq(buf_str(&s->text), "\n/a\n/a/b\n/a/b/c\n/a/z\n/x1\n");
	seen_free(s);
}
END_TEST

static char deep_top[512];

/* Neither ".." nor the names lead back any more. */
static void move_deep(const char *path)
{
	if (strlen(path) == (size_t)3 * 200) {
		ck_assert_int_eq(rename(deep_top, at("moved")), 0);
		ck_assert_int_eq(rename(at("aa"), at("moved too")), 0);
	}
}

START_TEST(a_tree_that_is_moved_away_is_left_with_a_note)
{
	int fd = open(top, O_RDONLY | O_DIRECTORY);
	make_dir("aa");
	close(fd);
	fd = open(at("aa"), O_RDONLY | O_DIRECTORY);
	for (unsigned i = 1; i < 200; i++) {
		ck_assert_int_eq(mkdirat(fd, "aa", 0755), 0);
		int next = openat(fd, "aa", O_RDONLY | O_DIRECTORY);
		close(fd);
		fd = next;
	}
	close(fd);
	touch("zz");
	char *p = deep_top + sprintf(deep_top, "%s", top);
	for (unsigned i = 0; i < 100; i++)
		p += sprintf(p, "/aa");
	struct seen *s = xcalloc(1, sizeof(*s));
	char *roots[] = {top};
	struct walk_opts o = {.roots = roots, .n_roots = 1, .entry = on_entry, .note = on_note, .arg = s};
	buf_init(&s->text, 1 << 20);
	s->hook = move_deep;
	ck_ok(walk_run(&o, &err));
	ck_assert_uint_ge(s->notes[NOTE_CHANGED], 1);
	ck_assert_ptr_nonnull(strstr(buf_str(&s->text), "\n/zz\n"));
	seen_free(s);
}
END_TEST

/* --- roots --- */

START_TEST(roots_are_sorted_and_nested_ones_dropped)
{
	char **roots;
	size_t n;
	make_dir("a");
	make_dir("a/b");
	make_dir("a.x");
	touch("c");
	char doubled[600];
	snprintf(doubled, sizeof(doubled), "%s//a///b//", top);
	const char *paths[] = {at("c"), at("a.x"), doubled, at("a"), NULL};
	ck_ok(walk_roots(paths, &roots, &n, &err));
	ck_assert_uint_eq(n, 3);
	ck_assert_str_eq(roots[0], at("a"));
	ck_assert_str_eq(roots[1], at("a.x"));
	ck_assert_str_eq(roots[2], at("c"));
	check_seen(walk((struct walk_opts){0}, paths), "/a\n/a/b\n/a.x\n/c\n");
	walk_roots_free(roots, n);
	ck_assert_int_eq(walk_roots((const char *[]){"relative", NULL}, &roots, &n, &err), -ERR_USAGE);
	ck_assert_int_eq(walk_roots((const char *[]){"/tmp/../etc", NULL}, &roots, &n, &err), -ERR_USAGE);
	ck_assert_int_eq(walk_roots((const char *[]){at("missing"), at("missing2"), NULL}, &roots, &n, &err), -ERR_IO);
	ck_assert_ptr_nonnull(strstr(err.msg, "missing"));
	ck_ok(walk_roots((const char *[]){at("c"), "/", NULL}, &roots, &n, &err));
	ck_assert_uint_eq(n, 1);
	ck_assert_str_eq(roots[0], "/");
	walk_roots_free(roots, n);
}
END_TEST

START_TEST(pseudo_file_systems_are_entries_without_contents)
{
	const char *const paths[] = {"/proc", NULL};
	struct seen *s = walk((struct walk_opts){0}, paths);
	ck_assert_uint_eq(s->entries, 1);
	ck_assert_str_eq(s->last, "proc");
	seen_free(s);
}
END_TEST

/* --- what is left out --- */

static const struct pattern_case {
	const char *patterns[4], *path;
	bool is_dir, excluded;
} cases[] = {
        {{"*.tmp"}, "x.tmp", false, true},
        {{"*.tmp"}, "a/b/x.tmp", false, true},
        {{"*.tmp"}, "x.tmpl", false, false},
        {{"/x"}, "x", false, true},
        {{"/x"}, "a/x", false, false},
        {{"a/x"}, "a/x", false, true},
        {{"a/x"}, "b/a/x", false, false},
        {{"a/x"}, "a/x/y", false, false},
        {{"cache/"}, "cache", true, true},
        {{"cache/"}, "cache", false, false},
        {{"cache/"}, "a/cache", true, true},
        {{"**/foo"}, "foo", false, true},
        {{"**/foo"}, "a/b/foo", false, true},
        {{"**/foo/bar"}, "x/foo/bar", false, true},
        {{"a/**"}, "a", true, false},
        {{"a/**"}, "a/b", false, true},
        {{"a/**"}, "a/b/c", false, true},
        {{"a/**/z"}, "a/z", false, true},
        {{"a/**/z"}, "a/b/c/z", false, true},
        {{"a/**/z"}, "a/b/c/y", false, false},
        {{"a/**/**/z"}, "a/z", false, true},
        {{"*.o", "!keep.o"}, "keep.o", false, false},
        {{"*.o", "!keep.o"}, "b.o", false, true},
        {{"!keep.o", "*.o"}, "keep.o", false, true},
        {{"a*b"}, "a/b", false, false},
        {{"a?c/*.d"}, "abc/x.d", false, true},
        {{"a?c/*.d"}, "abc/e/x.d", false, false},
        {{"[ab]x"}, "bx", false, true},
        {{"[!ab]x"}, "bx", false, false},
        {{"# note"}, "# note", false, false},
        {{"\\#x"}, "#x", false, true},
        {{"\\!x"}, "!x", false, true},
        {{"x  "}, "x", false, true},
        {{"x\\ "}, "x ", false, true},
        {{""}, "x", false, false},
        {{"/"}, "x", true, false},
        {{"!"}, "x", true, false},
        {{"**"}, "a/b", false, true},
        {{"*"}, ".hidden", false, true},
        {{"\xff*"}, "\xff\xfe", false, true},
};

START_TEST(patterns_match_as_gitignore_says)
{
	const struct pattern_case *c = &cases[_i];
	struct exclude *x = exclude_new();
	for (size_t i = 0; c->patterns[i]; i++)
		exclude_add(x, c->patterns[i]);
	ck_assert_msg(exclude_match(x, c->path, c->is_dir) == c->excluded, "pattern '%s', path '%s'", c->patterns[0],
	        c->path);
	exclude_free(x);
}
END_TEST

START_TEST(patterns_come_from_a_file_line_by_line)
{
	struct exclude *x = exclude_new();
	put_text("patterns", "# comment\n\n*.log\n!a.log\nlast");
	ck_ok(exclude_add_file(x, at("patterns"), &err));
	ck_assert(exclude_match(x, "b.log", false));
	ck_assert(!exclude_match(x, "a.log", false));
	ck_assert(exclude_match(x, "last", false));
	ck_assert_int_eq(exclude_add_file(x, at("none"), &err), -ERR_MISSING);
	exclude_free(x);
}
END_TEST

START_TEST(what_is_excluded_is_not_walked)
{
	struct exclude *x = exclude_new();
	exclude_add(x, "/a/skip/");
	exclude_add(x, "*.tmp");
	make_dir("a");
	make_dir("a/skip");
	touch("a/skip/x");
	touch("a/y.tmp");
	touch("a/y");
	check_seen(walk((struct walk_opts){.exclude = x}, NULL), "\n/a\n/a/y\n");
	const char *const paths[] = {at("a"), NULL};
	/* anchored at the root of the source: /a/skip is not there */
	check_seen(walk((struct walk_opts){.exclude = x}, paths), "/a\n/a/skip\n/a/skip/x\n/a/y\n");
	exclude_free(x);
}
END_TEST

START_TEST(marked_directories_are_entries_without_contents)
{
	static const char *const markers[] = {".nobackup", NULL};
	make_dir("a");
	touch("a/.nobackup");
	touch("a/x");
	make_dir("b");
	put_text("b/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# a cache");
	touch("b/x");
	make_dir("c");
	put_text("c/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc5");
	check_seen(walk((struct walk_opts){.if_present = markers}, NULL),
	        "\n/a\n/b\n/b/CACHEDIR.TAG\n/b/x\n/c\n/c/CACHEDIR.TAG\n");
	check_seen(
	        walk((struct walk_opts){.caches = true}, NULL), "\n/a\n/a/.nobackup\n/a/x\n/b\n/c\n/c/CACHEDIR.TAG\n");
}
END_TEST

/* --- hard links --- */

static void name_of(char *out, unsigned i)
{
	sprintf(out, "some/rather/long/name/of/a/file/%u/%*u", i, (int)(1 + i % 200), i);
}

START_TEST(first_names_are_found_until_all_others_were_met)
{
	struct hardlinks *h = hardlinks_new(top);
	char want[400], *got = xmalloc(LIST_PATH_MAX + 1);
	size_t n;
	enum { FILES = 5000 };
	for (unsigned i = 0; i < FILES; i++) {
		struct stat st = {.st_dev = 5 + i % 3, .st_ino = i / 3, .st_nlink = 2 + i % 4};
		ck_assert_int_eq(hardlinks_find(h, &st, got, &n, &err), 0);
		name_of(want, i);
		ck_ok(hardlinks_add(h, &st, want, strlen(want), &err));
	}
	ck_assert_uint_eq(hardlinks_count(h), FILES);
	for (unsigned round = 1; round <= 5; round++)
		for (unsigned i = 0; i < FILES; i++) {
			unsigned k = (i * 7 + round) % FILES;
			struct stat st = {.st_dev = 5 + k % 3, .st_ino = k / 3, .st_nlink = 2 + k % 4};
			int found = hardlinks_find(h, &st, got, &n, &err);
			ck_assert_int_eq(found, round <= 1 + k % 4);
			name_of(want, k);
			if (found)
				ck_assert_str_eq(got, want);
		}
	ck_assert_uint_eq(hardlinks_count(h), 0);
	hardlinks_free(h);
	free(got);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("walk");
	TCase *t = tcase_create("walk");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, components_are_ordered_bytewise_and_depth_comes_first);
	tcase_add_test(t, large_directories_are_spilled_and_merged);
	tcase_add_test(t, four_thousand_levels_are_walked_with_few_descriptors);
	tcase_add_test(t, a_deep_entry_is_reached_again);
	tcase_add_test(t, symbolic_links_are_not_followed);
	tcase_add_test(t, names_that_go_meanwhile_are_noted);
	tcase_add_test(t, a_tree_that_is_moved_away_is_left_with_a_note);
	tcase_add_test(t, roots_are_sorted_and_nested_ones_dropped);
	tcase_add_test(t, pseudo_file_systems_are_entries_without_contents);
	tcase_add_loop_test(t, patterns_match_as_gitignore_says, 0, ARRAY_LEN(cases));
	tcase_add_test(t, patterns_come_from_a_file_line_by_line);
	tcase_add_test(t, what_is_excluded_is_not_walked);
	tcase_add_test(t, marked_directories_are_entries_without_contents);
	tcase_add_test(t, first_names_are_found_until_all_others_were_met);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
