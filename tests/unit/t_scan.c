#include "backup/scan.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "codec/pax.h"
#include "scan_writer.h"
#include "suite.h"

static struct err err;
static char top[64], tree[80], cache[80];

/* --- the place --- */

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(top, sizeof(top), "%s/t_scan-XXXXXX",
	        tmp && strlen(tmp) < 40    ? tmp
	        : access("/dev/shm", W_OK) ? "/var/tmp"
	                                   : "/dev/shm");
	ck_assert_ptr_nonnull(mkdtemp(top));
	snprintf(tree, sizeof(tree), "%s/tree", top);
	snprintf(cache, sizeof(cache), "%s/cache", top);
	ck_assert_int_eq(mkdir(tree, 0755), 0);
}

static void teardown(void)
{
	ck_ok(fs_remove_tree(top, &err));
}

static uint64_t rnd_state;

static uint64_t rnd(uint64_t below)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return below ? (rnd_state >> 11) % below : 0;
}

static const char *in_tree(const char *name)
{
	static char path[4][512];
	static unsigned turn;
	char *p = path[turn++ % 4];
	snprintf(p, sizeof(path[0]), "%s/%s", tree, name);
	return p;
}

static void put_file(const char *path, size_t n, uint64_t seed)
{
	CLEAN(close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	CLEAN(free_ptr) unsigned char *p = xmalloc(n);
	ck_assert_int_ge(fd, 0);
	uint64_t x = seed * 2654435761u + 88172645463325252ull;
	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (unsigned char)x;
	}
	if (n > LARGE_FILE && seed > 1000 && seed % 3 == 0) /* a third of the random ones are cut as pages */
		memcpy(p, "SQLite format 3\0\x10", 18);
	ck_assert_int_eq(fs_write_full(fd, p, n), 0);
}

static void put_sparse(const char *path, uint64_t seed)
{
	put_file(path, 8192 + seed % 300000, seed);
	CLEAN(close_fd) int fd = open(path, O_WRONLY);
	ck_assert_int_eq(ftruncate(fd, 2 << 20), 0);
	ck_assert_int_eq((int)pwrite(fd, "island", 6, 1 << 20), 6);
}

/* Times have the grain of the kernel's tick: what comes behind this has later ones than what came before. */
static void next_tick(void)
{
	struct timespec was, now;
	clock_gettime(CLOCK_REALTIME_COARSE, &was);
	do
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	while (was.tv_sec == now.tv_sec && was.tv_nsec == now.tv_nsec);
}

/* --- runs --- */

struct run {
	struct writer *w;
	struct snapshot_facts facts;
};
static unsigned refuse;
static uint64_t hook_at;
static void (*on_filled)(void), (*on_asked)(void);

static const char *const *only_tree(void)
{
	static const char *paths[2];
	paths[0] = tree;
	return paths;
}

/* Run n uses the cache of run n - 1; the clock is ahead, so that nothing is too young to be trusted. */
static struct run run_with(struct scan_opts o, unsigned n, const struct run *before)
{
	struct run r = {0};
	struct timespec now;
	unsigned char digest[ID_LEN] = {0};
	memcpy(digest, &n, sizeof(n));
	memcpy(o.cache_of, &(unsigned){n - 1}, sizeof(n));
	o.has_cache_of = n > 0;
	if (!o.paths)
		o.paths = only_tree();
	clock_gettime(CLOCK_REALTIME, &now);
	clock_fake((int64_t)now.tv_sec * 1000000000 + 10000000000, 1);
	struct scan *s = scan_new(&o);
	r.w = kept_new(before ? before->w : NULL, refuse, rnd(9), s, scan_cut);
	r.w->filled = on_filled;
	r.w->asked = on_asked;
	r.w->at_pos = hook_at;
	ck_ok(scan_paths(s, r.w, &r.facts, &err));
	kept_finish(r.w);
	ck_ok(scan_keep_cache(s, digest, &err));
	scan_free(s);
	next_tick();
	return r;
}

static struct run run_cached(unsigned n, const struct run *before)
{
	return run_with((struct scan_opts){.cache_dir = cache}, n, before);
}

static struct run run_full(void)
{
	return run_with((struct scan_opts){.full_read = true}, 0, NULL);
}

static void check_sums(const struct run *r)
{
	uint64_t content = 0, entries = 0, content_of = 0;
	const struct kept_stream *c = &r->w->s[STREAM_CONTENT], *e = &r->w->s[STREAM_ENTRIES];
	for (size_t i = 0; i < c->n; i++)
		content += c->chunk[i].cut.length;
	for (size_t i = 0; i < e->n; i++) {
		entries += e->chunk[i].cut.entries;
		content_of += e->chunk[i].cut.content;
	}
	ck_assert_uint_eq(content, r->facts.bytes);
	ck_assert_uint_eq(content_of, r->facts.bytes);
	ck_assert_uint_eq(entries, r->facts.entries);
	ck_assert_uint_eq(r->facts.files + r->facts.dirs + r->facts.others, r->facts.entries);
}

static void check_equal(const struct run *a, const struct run *b)
{
	check_sums(a);
	check_sums(b);
	for (enum stream_id s = STREAM_CONTENT; s <= STREAM_ENTRIES; s++) {
		const struct kept_stream *x = &a->w->s[s], *y = &b->w->s[s];
		ck_assert_uint_eq(x->n, y->n);
		for (size_t i = 0; i < x->n; i++) {
			ck_assert_msg(x->chunk[i].cut.length == y->chunk[i].cut.length, "stream %d, chunk %zu of %zu",
			        s, i, x->n);
			ck_assert_msg(!memcmp(x->chunk[i].cut.id, y->chunk[i].cut.id, ID_LEN),
			        "stream %d, chunk %zu of %zu", s, i, x->n);
			ck_assert_uint_eq(x->chunk[i].cut.entries, y->chunk[i].cut.entries);
			ck_assert_uint_eq(x->chunk[i].cut.content, y->chunk[i].cut.content);
		}
	}
	ck_assert_uint_eq(a->facts.files, b->facts.files);
	ck_assert_uint_eq(a->facts.bytes, b->facts.bytes);
	ck_assert_mem_eq(a->facts.notes, b->facts.notes, sizeof(a->facts.notes));
}

static void run_free(struct run *r)
{
	kept_free(r->w);
	r->w = NULL;
}

/* --- the model: what a second run reuses is what it would have read --- */

enum { NAMES = 60 };

static const char *some_name(void)
{
	char name[64];
	uint64_t i = rnd(NAMES);
	/* a file on even numbers, a directory with files on odd ones */
	if (i % 4 == 3)
		snprintf(name, sizeof(name), "d%llu/%c%llu", (unsigned long long)i / 8, "abc.-"[rnd(5)],
		        (unsigned long long)rnd(6));
	else
		snprintf(name, sizeof(name), "%c%llu", "ace.z"[i % 5], (unsigned long long)i);
	const char *p = in_tree(name);
	char dir[512];
	strcpy(dir, p);
	*strrchr(dir, '/') = '\0';
	mkdir(dir, 0755);
	return p;
}

static size_t some_size(void)
{
	switch (rnd(10)) {
	case 0:
		return 0;
	case 1:
		return LARGE_FILE - 1 + rnd(3);
	case 2:
		return LARGE_FILE + rnd(3 << 20);
	case 3:
	case 4:
		return 100000 + rnd(300000);
	default:
		return rnd(40000);
	}
}

static void edit_in_place(const char *path)
{
	struct stat st;
	CLEAN(close_fd) int fd = open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size)
		ck_assert_int_eq((int)pwrite(fd, "!", 1, (off_t)rnd((uint64_t)st.st_size)), 1);
}

static void resize(const char *path)
{
	struct stat st;
	if (lstat(path, &st) || !S_ISREG(st.st_mode))
		return;
	ck_assert_int_eq(truncate(path, rnd(2) ? (off_t)rnd(3 * LARGE_FILE) : st.st_size / 2), 0);
}

static unsigned failed; /* names that were taken or not there */

static void mutate(void)
{
	const char *p = some_name();
	switch (rnd(14)) {
	case 0:
	case 1:
	case 2:
		unlink(p);
		put_file(p, some_size(), rnd(1000000));
		break;
	case 3:
		unlink(p);
		put_sparse(p, rnd(1000000));
		break;
	case 4:
	case 5:
		unlink(p);
		break;
	case 6:
		rename(p, some_name());
		break;
	case 7:
		edit_in_place(p);
		break;
	case 8:
		resize(p);
		break;
	case 9:
		chmod(p, (mode_t)(0600 + rnd(8)));
		break;
	case 10:
		utimensat(AT_FDCWD, p, (struct timespec[2]){{1000, 5}, {(time_t)rnd(1000000), (long)rnd(999)}},
		        AT_SYMLINK_NOFOLLOW);
		break;
	case 11:
		failed += link(p, some_name()) != 0;
		break;
	case 12:
		failed += symlink("somewhere", p) != 0;
		break;
	default:
		failed += mkfifo(p, 0600) != 0;
	}
}

static void many(const char *dir, unsigned n)
{
	ck_assert_int_eq(mkdir(in_tree(dir), 0755), 0);
	for (unsigned i = 0; i < n; i++) {
		char name[80];
		snprintf(name, sizeof(name), "%s/entry-%04u", dir, i);
		put_file(in_tree(name), 10, i);
	}
}

static uint64_t model_reused;

static void model_round(unsigned seed)
{
	rnd_state = seed * 7919u + 99991;
	many("m-many", 900); /* more than one chunk of entries */
	for (unsigned i = 0; i < 60; i++)
		mutate();
	next_tick();
	refuse = 0;
	struct run last = run_cached(0, NULL);
	for (unsigned n = 1; n < 9; n++) {
		for (uint64_t k = rnd(4) ? rnd(4) : rnd(30); k > 0; k--)
			mutate();
		if (n % 3 == 0) {
			char name[80];
			snprintf(name, sizeof(name), "m-many/entry-%04u", (unsigned)rnd(900));
			unlink(in_tree(name));
		}
		next_tick();
		refuse = rnd(3) ? 0 : (unsigned)rnd(9);
		struct run now = run_cached(n, &last);
		struct run full = run_full();
		check_equal(&now, &full);
		model_reused += now.w->reused;
		ck_assert_uint_le(now.facts.skipped, now.facts.files);
		run_free(&full);
		run_free(&last);
		last = now;
	}
	run_free(&last);
}

START_TEST(a_run_with_a_cache_brings_the_streams_of_a_full_read)
{
	model_reused = 0;
	for (unsigned i = 0; i < 8; i++) {
		model_round((unsigned)_i * 8 + i);
		ck_ok(fs_remove_tree(tree, &err));
		ck_ok(fs_remove_tree(cache, &err));
		ck_assert_int_eq(mkdir(tree, 0755), 0);
	}
	ck_assert_uint_gt(model_reused, 8u << 20);
}
END_TEST

/* --- unchanged trees --- */

static int watcher;

static int watch(const char *path, const struct stat *st, int type)
{
	(void)st;
	return type == FTW_D && inotify_add_watch(watcher, path, IN_OPEN) < 0;
}

static unsigned files_opened(void)
{
	char buf[8192] __attribute__((aligned(8)));
	unsigned n = 0;
	struct pollfd p = {.fd = watcher, .events = POLLIN};
	while (poll(&p, 1, 0) > 0) {
		ssize_t got = read(watcher, buf, sizeof(buf));
		for (ssize_t at = 0; at < got;) {
			const struct inotify_event *e = (const void *)(buf + at);
			n += !(e->mask & IN_ISDIR) || (e->mask & IN_Q_OVERFLOW);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	}
	return n;
}

static void plain_tree(void)
{
	many("a-small", 300);
	ck_assert_int_eq(mkdir(in_tree("b"), 0755), 0);
	for (unsigned i = 0; i < 40; i++) {
		char name[40];
		snprintf(name, sizeof(name), "b/f%02u", i);
		put_file(in_tree(name), i == 20 ? 3 << 20 : 30000 + 100 * i, i + 5);
	}
	put_file(in_tree("empty"), 0, 1);
	ck_assert_int_eq(symlink("b/f01", in_tree("link")), 0);
	next_tick();
}

START_TEST(an_unchanged_tree_is_not_read)
{
	plain_tree();
	struct run first = run_cached(0, NULL);
	ck_assert_uint_eq(first.facts.skipped, 0);
	watcher = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	ck_assert_int_eq(ftw(tree, watch, 16), 0);
	files_opened();
	struct run second = run_cached(1, &first);
	ck_assert_uint_eq(files_opened(), 0);
	check_equal(&first, &second);
	ck_assert_uint_eq(second.facts.skipped, second.facts.files);
	ck_assert_uint_eq(second.w->reused, second.facts.bytes);
	for (size_t i = 0; i < second.w->s[STREAM_ENTRIES].n; i++)
		ck_assert_ptr_null(second.w->s[STREAM_ENTRIES].chunk[i].p);
	struct run full = run_full();
	ck_assert_uint_ge(files_opened(), (unsigned)full.facts.files);
	close(watcher);
	run_free(&first);
	run_free(&second);
	run_free(&full);
}
END_TEST

START_TEST(one_changed_file_costs_its_neighbours_at_most)
{
	plain_tree();
	struct run first = run_cached(0, NULL);
	put_file(in_tree("b/f05"), 30000, 777);
	struct run second = run_cached(1, &first);
	ck_assert_uint_gt(second.w->reused, second.facts.bytes / 2);
	ck_assert_uint_gt(second.facts.skipped, second.facts.files / 2);
	ck_assert_uint_lt(second.facts.skipped, second.facts.files);
	run_free(&first);
	run_free(&second);
}
END_TEST

static ino_t entries_part(void)
{
	DIR *d = opendir(cache);
	struct dirent *e;
	ino_t ino = 0;
	unsigned n = 0;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.') {
			n++;
			if (!strncmp(e->d_name, "files.entries", 13))
				ino = e->d_ino;
		}
	closedir(d);
	ck_assert_uint_eq(n, 4); /* the head and three parts, nothing left behind */
	return ino;
}

START_TEST(a_cache_is_rewritten_only_when_something_changed)
{
	plain_tree();
	struct run r[4];
	r[0] = run_cached(0, NULL);
	ino_t part = entries_part();
	r[1] = run_cached(1, &r[0]);
	ck_assert_uint_eq(entries_part(), part);
	ck_assert_int_eq(unlink(in_tree("link")), 0); /* the last entry */
	next_tick();
	r[2] = run_cached(2, &r[1]);
	ck_assert_uint_ne(entries_part(), part);
	r[3] = run_cached(3, &r[2]);
	ck_assert_uint_eq(r[3].w->reused, r[3].facts.bytes);
	ck_assert_uint_eq(r[3].facts.skipped, r[3].facts.files);
	for (unsigned i = 0; i < 4; i++)
		run_free(&r[i]);
}
END_TEST

static void damage(const char *prefix, long off)
{
	DIR *d = opendir(cache);
	struct dirent *e;
	while ((e = readdir(d)))
		if (!strncmp(e->d_name, prefix, strlen(prefix))) {
			int fd = openat(dirfd(d), e->d_name, O_RDWR);
			char c;
			ck_assert_int_eq((int)pread(fd, &c, 1, off), 1);
			c ^= 1;
			ck_assert_int_eq((int)pwrite(fd, &c, 1, off), 1);
			close(fd);
		}
	closedir(d);
}

START_TEST(a_cache_that_is_damaged_or_of_another_run_is_not_used)
{
	static const char *const parts[] = {"files.head", "files.entries", "files.content", "files.lists"};
	plain_tree();
	struct run first = run_cached(0, NULL);
	struct run other = run_with((struct scan_opts){.cache_dir = cache, .epoch = 2}, 1, &first);
	ck_assert_uint_eq(other.facts.skipped, 0);
	run_free(&other);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		run_free(&first);
		first = run_cached(0, NULL);
		damage(parts[i], 33);
		struct run next = run_cached(1, &first);
		ck_assert_uint_eq(next.facts.skipped, 0);
		check_equal(&first, &next);
		run_free(&next);
	}
	run_free(&first);
	first = run_cached(4, NULL);
	ck_assert_uint_eq(first.facts.skipped, 0);
	run_free(&first);
}
END_TEST

START_TEST(what_is_younger_than_two_seconds_is_read_again)
{
	plain_tree();
	struct scan_opts o = {.cache_dir = cache};
	struct run first = run_with(o, 0, NULL);
	utimensat(AT_FDCWD, in_tree("b/f01"), (struct timespec[2]){{0, UTIME_OMIT}, {time(NULL) + 1000, 0}}, 0);
	next_tick();
	struct run second = run_with(o, 1, &first), third = run_with(o, 2, &second);
	ck_assert_uint_lt(third.facts.skipped, third.facts.files);
	check_equal(&second, &third);
	run_free(&first);
	run_free(&second);
	run_free(&third);
}
END_TEST

/* --- what happens meanwhile --- */

static void remove_held(void)
{
	ck_assert_int_eq(unlink(in_tree("b/f00")), 0);
	put_file(in_tree("b/f01"), 7, 7);
	ck_assert_int_eq(rename(in_tree("b/f20"), in_tree("b/f20-moved")), 0);
}

START_TEST(a_file_that_goes_while_it_is_held_back_keeps_its_length)
{
	plain_tree();
	struct run first = run_cached(0, NULL);
	refuse = 8;
	on_asked = remove_held;
	struct run second = run_cached(1, &first);
	on_asked = NULL;
	check_sums(&second);
	ck_assert_uint_ge(second.facts.notes[NOTE_VANISHED], 1);
	ck_assert_uint_ge(second.facts.notes[NOTE_CHANGED], 1);
	refuse = 0;
	struct run third = run_cached(2, &second), full = run_full();
	check_equal(&third, &full);
	run_free(&first);
	run_free(&second);
	run_free(&third);
	run_free(&full);
}
END_TEST

static void append_held(void)
{
	CLEAN(close_fd) int fd = open(in_tree("log"), O_WRONLY | O_APPEND);
	ck_assert_int_eq((int)write(fd, "more", 4), 4);
}

static void truncate_held(void)
{
	ck_assert_int_eq(truncate(in_tree("log"), 1000), 0);
}

static void sparse_held(void)
{
	ck_assert_int_eq(truncate(in_tree("log"), 4096), 0);
}

static void changing(size_t size, void (*hook)(void), uint64_t at, unsigned noted)
{
	unlink(in_tree("log"));
	put_file(in_tree("log"), size, 3);
	next_tick();
	on_filled = hook;
	hook_at = at;
	struct run r = run_cached(0, NULL);
	on_filled = NULL;
	check_sums(&r);
	ck_assert_uint_eq(r.facts.notes[NOTE_CHANGED], noted);
	struct run next = run_cached(1, &r), full = run_full();
	check_equal(&next, &full);
	run_free(&r);
	run_free(&next);
	run_free(&full);
}

START_TEST(a_file_that_changes_while_it_is_read_is_read_again_or_noted)
{
	/* not yet given away, or no cut yet: taken back and read again */
	changing(100 << 10, append_held, 0, 0);
	changing(100 << 10, truncate_held, 0, 0);
	changing(520 << 10, append_held, 1, 0);
	changing(520 << 10, truncate_held, 1, 0);
	/* several chunks are out by then */
	changing(20 << 20, append_held, 18 << 20, 1);
	changing(20 << 20, truncate_held, 18 << 20, 1);
	/* its map is fixed: zeros */
	put_sparse(in_tree("log2"), 5);
	ck_assert_int_eq(rename(in_tree("log2"), in_tree("log")), 0);
	CLEAN(close_fd) int fd = open(in_tree("log"), O_WRONLY);
	ck_assert_int_eq(ftruncate(fd, 60 << 20), 0);
	for (off_t at = 4 << 20; at < 60 << 20; at += 2 << 20)
		for (off_t k = 0; k < 1 << 20; k += 4096)
			ck_assert_int_eq((int)pwrite(fd, &k, 8, at + k * 2 % (1 << 20)), 8);
	next_tick();
	on_filled = sparse_held;
	hook_at = 9 << 20;
	struct run r = run_cached(0, NULL);
	on_filled = NULL;
	check_sums(&r);
	ck_assert_uint_le(r.facts.notes[NOTE_CHANGED], 1);
	run_free(&r);
}
END_TEST

START_TEST(sockets_and_what_cannot_be_reached_are_noted)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", in_tree("sock"));
	ck_assert_int_eq(bind(s, (void *)&a, sizeof(a)), 0);
	close(s);
	ck_assert_int_eq(mkfifo(in_tree("pipe"), 0600), 0);
	struct run r = run_full();
	ck_assert_uint_eq(r.facts.notes[NOTE_IGNORED], 1);
	ck_assert_uint_eq(r.facts.others, 1);
	ck_assert_uint_eq(r.facts.entries, 2);
	ck_assert_uint_eq(r.w->s[STREAM_NOTES].n, 1);
	check_sums(&r);
	run_free(&r);
}
END_TEST

/* --- what the streams hold --- */

static struct buf joined(const struct kept_stream *s)
{
	struct buf b = BUF_INIT((size_t)1 << 30);
	for (size_t i = 0; i < s->n; i++)
		buf_add(&b, s->chunk[i].p, s->chunk[i].cut.length);
	return b;
}

static void check_file(const struct pax_entry *e, const unsigned char *content)
{
	CLEAN(free_ptr) char *path = fs_join("/", e->path);
	CLEAN(close_fd) int fd = open(path, O_RDONLY);
	CLEAN(free_ptr) unsigned char *p = xmalloc(e->size);
	struct pax_extent whole = {0, e->size};
	const struct pax_extent *x = e->extents ? e->extents : &whole;
	size_t n = e->extents ? e->n_extents : 1;
	ck_assert_int_eq((int)fs_read_full(fd, p, e->size), (int)e->size);
	for (size_t i = 0; i < n; content += x[i].len, i++)
		ck_assert_mem_eq(p + x[i].off, content, x[i].len);
}

static unsigned check_tree(const struct run *r)
{
	CLEAN(buf_release)
	struct buf entries = joined(&r->w->s[STREAM_ENTRIES]), content = joined(&r->w->s[STREAM_CONTENT]);
	struct pax_reader *p = pax_reader_new();
	struct rd rd = rd_init(entries.p, entries.len);
	char last[LIST_PATH_MAX + 1] = "";
	size_t at = 0;
	unsigned links = 0;
	while (rd.left) {
		struct pax_entry e;
		uint32_t n = rd_u32(&rd);
		uint64_t len = rd_u64(&rd);
		const unsigned char *head = rd_bytes(&rd, n);
		ck_assert_ptr_nonnull(head);
		ck_ok(pax_parse(p, head, n, len, &e, &err));
		ck_assert(!*last || path_walk_cmp(last, strlen(last), e.path, strlen(e.path)) < 0);
		strcpy(last, e.path);
		if (e.type == PAX_FILE)
			check_file(&e, content.p + at);
		links += e.type == PAX_HARDLINK;
		at += len;
	}
	ck_assert_uint_eq(at, content.len);
	pax_reader_free(p);
	return links;
}

START_TEST(the_streams_hold_the_tree)
{
	static const char *const odd[] = {" ", "new\nline", "\xff\xfe", "*", "-rf", "a\\b", "tab\t", "%s", "..."};
	plain_tree();
	for (size_t i = 0; i < ARRAY_LEN(odd); i++)
		put_file(in_tree(odd[i]), 100 + i, i + 1);
	put_sparse(in_tree("sparse"), 9);
	ck_assert_int_eq(link(in_tree("b/f01"), in_tree("b/g01")), 0);
	ck_assert_int_eq(link(in_tree("b/f01"), in_tree("zz")), 0);
	next_tick();
	struct run r = run_cached(0, NULL);
	ck_assert_uint_eq(check_tree(&r), 2);
	struct run again = run_cached(1, &r);
	check_equal(&r, &again);
	ck_assert_uint_eq(again.facts.skipped, again.facts.files - 2);
	run_free(&r);
	run_free(&again);
}
END_TEST

static ssize_t read_fd(void *arg, void *to, size_t n)
{
	return read(*(int *)arg, to, n);
}

START_TEST(a_command_s_output_is_one_entry)
{
	CLEAN(close_fd) int fd = -1;
	struct snapshot_facts facts = {.start = 5000000000};
	put_file(in_tree("out"), 3 << 20, 4);
	fd = open(in_tree("out"), O_RDONLY);
	struct scan *s = scan_new(&(struct scan_opts){0});
	struct writer *w = kept_new(NULL, 0, 3, s, scan_cut);
	ck_ok(scan_stream(s, w, "db.dump", read_fd, &fd, &facts, &err));
	kept_finish(w);
	ck_assert(facts.is_stream);
	ck_assert_uint_eq(facts.bytes, 3 << 20);
	struct run r = {w, facts};
	check_sums(&r);
	scan_free(s);
	run_free(&r);
}
END_TEST

START_TEST(a_stopped_run_says_so)
{
	atomic_bool cancel = true;
	plain_tree();
	struct snapshot_facts facts = {0};
	struct scan *s = scan_new(&(struct scan_opts){.paths = only_tree(), .cache_dir = cache, .cancel = &cancel});
	struct writer *w = kept_new(NULL, 0, 0, s, scan_cut);
	ck_assert_int_eq(scan_paths(s, w, &facts, &err), -ERR_CANCELLED);
	scan_free(s);
	kept_free(w);
}
END_TEST

START_TEST(a_missing_path_beside_others_is_noted_and_alone_an_error)
{
	const char *both[] = {tree, "/nonexistent/place", NULL}, *alone[] = {"/nonexistent/place", NULL};
	struct snapshot_facts facts = {0};
	struct scan *s = scan_new(&(struct scan_opts){.paths = both, .cache_dir = cache});
	struct writer *w = kept_new(NULL, 0, 0, s, scan_cut);
	ck_assert_int_eq(scan_paths(s, w, &facts, &err), 0);
	ck_assert_uint_eq(facts.notes[NOTE_VANISHED], 1);
	scan_free(s);
	kept_free(w);
	s = scan_new(&(struct scan_opts){.paths = alone, .cache_dir = cache});
	w = kept_new(NULL, 0, 0, s, scan_cut);
	ck_assert_int_eq(scan_paths(s, w, &facts, &err), -ERR_IO);
	ck_assert_ptr_nonnull(strstr(err.msg, "/nonexistent/place"));
	scan_free(s);
	kept_free(w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("scan");
	TCase *t = tcase_create("scan");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, a_run_with_a_cache_brings_the_streams_of_a_full_read, 0, 4);
	tcase_add_test(t, an_unchanged_tree_is_not_read);
	tcase_add_test(t, one_changed_file_costs_its_neighbours_at_most);
	tcase_add_test(t, a_cache_is_rewritten_only_when_something_changed);
	tcase_add_test(t, a_cache_that_is_damaged_or_of_another_run_is_not_used);
	tcase_add_test(t, what_is_younger_than_two_seconds_is_read_again);
	tcase_add_test(t, a_file_that_goes_while_it_is_held_back_keeps_its_length);
	tcase_add_test(t, a_file_that_changes_while_it_is_read_is_read_again_or_noted);
	tcase_add_test(t, sockets_and_what_cannot_be_reached_are_noted);
	tcase_add_test(t, the_streams_hold_the_tree);
	tcase_add_test(t, a_command_s_output_is_one_entry);
	tcase_add_test(t, a_stopped_run_says_so);
	tcase_add_test(t, a_missing_path_beside_others_is_noted_and_alone_an_error);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	crypto_init();
	return suite_main(suite());
}
