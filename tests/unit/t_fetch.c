/* What is asked of the sites, and in which order: no more than is needed, several at once, and around what is damaged. */
#include "restore_fixture.h"

#include <pthread.h>
#include <time.h>
#include "base/str.h"

enum { FILES = 6, EACH = 3 << 19 }; /* half a dozen chunks each */

/* --- a store that counts, waits for company, and keeps older versions --- */

struct watched {
	struct store base;
	struct store *below;
	pthread_mutex_t mutex;
	pthread_cond_t more;
	unsigned packs, bytes_got;
	unsigned now, most, company; /* pack gets under way; they wait until so many have been */
	unsigned depth;              /* older version that is what was put; 0: none */
	enum err_code refuse;        /* gets of packs fail so; 0: they do not */
	bool hidden;                 /* packs are neither listed nor got */
	unsigned older;              /* asked for */
};
static struct watched *watched[FIXTURE_SITES];

static struct watched *of(struct store *s)
{
	return (struct watched *)s;
}

static bool is_pack(const char *key)
{
	return !strncmp(key, "p/", 2);
}

static void enter(struct watched *w)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 60;
	pthread_mutex_lock(&w->mutex);
	w->packs++;
	w->now++;
	w->most = w->now > w->most ? w->now : w->most;
	pthread_cond_broadcast(&w->more);
	/* the first holds the newest names and lists: until it is there nobody knows of others */
	while (w->packs > 1 && w->most < w->company && !pthread_cond_timedwait(&w->more, &w->mutex, &limit))
		continue;
	pthread_mutex_unlock(&w->mutex);
}

static void leave(struct watched *w)
{
	pthread_mutex_lock(&w->mutex);
	w->now--;
	pthread_mutex_unlock(&w->mutex);
}

static int watched_get(struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *e)
{
	struct watched *w = of(s);

	if (!is_pack(key))
		return w->below->ops->get(w->below, key, range, sink, e);
	if (w->hidden)
		return err_set(e, ERR_MISSING, "object %s is not there", key);
	enter(w);
	int rc = w->refuse ? err_set(e, w->refuse, "refused") : w->below->ops->get(w->below, key, range, sink, e);

	leave(w);
	return rc;
}

static int watched_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *e)
{
	struct watched *w = of(s);

	pthread_mutex_lock(&w->mutex);
	w->older++;
	pthread_mutex_unlock(&w->mutex);
	if (!w->depth || n > w->depth)
		return err_set(e, ERR_MISSING, "there are no more versions of %s", key);
	return n < w->depth ? sink->write(sink->arg, "something else", 14, e)
	                    : w->below->ops->get(w->below, key, (struct store_range){0}, sink, e);
}

static int watched_put(struct store *s, const char *key, const struct store_src *src, struct err *e)
{
	return of(s)->below->ops->put(of(s)->below, key, src, e);
}

static int watched_stat(struct store *s, const char *key, struct store_stat *ret, struct err *e)
{
	return of(s)->below->ops->stat(of(s)->below, key, ret, e);
}

static int watched_list(struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *e)
{
	if (of(s)->hidden && is_pack(prefix))
		return 0;
	return of(s)->below->ops->list(of(s)->below, prefix, after, fn, arg, e);
}

static int watched_remove(struct store *s, const char *key, struct err *e)
{
	return of(s)->below->ops->remove(of(s)->below, key, e);
}

static int watched_sync(struct store *s, struct err *e)
{
	return of(s)->below->ops->sync(of(s)->below, e);
}

static void watched_free(struct store *s)
{
	store_free(of(s)->below);
	free(s->name);
	free(s);
}

static const struct store_ops watched_ops = {
        .scheme = "watched",
        .put = watched_put,
        .get = watched_get,
        .stat = watched_stat,
        .list = watched_list,
        .remove = watched_remove,
        .sync = watched_sync,
        .free = watched_free,
        .get_older = watched_older,
};

static void watch(size_t site)
{
	struct watched *w = xcalloc(1, sizeof *w);

	w->base = (struct store){.ops = &watched_ops, .caps = f.store[site]->caps | STORE_VERSIONS, .name = xstrdup(f.store[site]->name)};
	w->below = f.store[site];
	pthread_mutex_init(&w->mutex, NULL);
	pthread_cond_init(&w->more, NULL);
	f.store[site] = &w->base;
	watched[site] = w;
}

/* --- a snapshot whose content lies in as many packs as it has files --- */

static unsigned char *content;
static char name[FILES][16];
static size_t n_packs;

static void back_up_in_parts(void)
{
	struct fixture_entry e[FILES];
	CLEAN(store_keys_release) struct store_keys k = {0};

	content = random_bytes((size_t)FILES * EACH, 11);
	for (size_t i = 0; i < FILES; i++) {
		snprintf(name[i], sizeof name[i], "f%zu", i);
		e[i] = (struct fixture_entry){.path = name[i], .mode = S_IFREG | 0600, .content = content + i * EACH, .n = EACH};
		fixture_backup(&f, e, i + 1);
	}
	ck_ok(store_list_all(f.store[0], "p/", &k, &err));
	n_packs = k.n;
	ck_assert_uint_ge(n_packs, FILES);
}

static void open_reader(void)
{
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
}

static void start_parts(size_t sites, bool on_disk)
{
	start(sites, on_disk);
	back_up_in_parts();
}

static void one_in_memory(void)
{
	start_parts(1, false);
	watch(0);
}

static void two_in_memory(void)
{
	start_parts(2, false);
	watch(0);
	watch(1);
}

static void one_on_disk(void)
{
	start_parts(1, true);
}

static void end_parts(void)
{
	teardown();
	free(content);
}

static void all_is_there(void)
{
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	for (size_t i = 0; i < FILES; i++)
		content_is(name[i], content + i * EACH, EACH);
}

/* Every get of a pack meets other bytes than were put. */
static void flip_packs(size_t site)
{
	static const char *const rules[] = {"get p/ flip 3000", NULL};
	struct store *faulty;

	ck_ok(store_fault_new(f.store[site], rules, &faulty, &err));
	f.store[site] = faulty;
}

/* --- no more than is needed --- */

START_TEST(one_file_of_many_is_read_without_the_others_packs)
{
	opts.paths = (const char *const[]){"f1", NULL};
	open_reader();
	restore();
	content_is("f1", content + EACH, EACH);
	ck_assert_uint_eq(stats.files, 1);
	ck_assert_uint_le(watched[0]->packs, 2); /* its own, and the one with the newest lists and names */
}
END_TEST

START_TEST(one_file_of_many_costs_its_own_bytes_of_local_packs)
{
	opts.paths = (const char *const[]){"f1", NULL};
	open_reader();
	restore();
	content_is("f1", content + EACH, EACH);
	ck_assert_uint_ge(f.reader_site[0].bytes, EACH);
	ck_assert_uint_lt(f.reader_site[0].bytes, EACH + EACH / 2);
	ck_assert_uint_eq(f.reader_site[0].packs, 0);
}
END_TEST

START_TEST(part_of_a_stream_is_read_without_what_is_passed_over)
{
	struct reader_stream *s;
	const unsigned char *p;
	size_t n;

	open_reader();
	ck_ok(reader_stream_open(reader, STREAM_CONTENT, &snap->facts.root[STREAM_CONTENT], 4 * EACH + 5, &s, &err));
	ck_ok(reader_stream_next(s, 100, &p, &n, &err));
	ck_assert_uint_eq(n, 100);
	ck_assert_int_eq(memcmp(p, content + 4 * EACH + 5, n), 0);
	reader_stream_close(s);
	ck_assert_uint_lt(f.reader_site[0].bytes, 3 * EACH);
}
END_TEST

/* --- ahead --- */

START_TEST(distant_packs_are_fetched_several_at_once_and_each_but_once)
{
	f.store[0]->caps |= STORE_REMOTE;
	watched[0]->company = 4;
	open_reader();
	restore();
	all_is_there();
	ck_assert_uint_ge(watched[0]->most, 4);
	ck_assert_uint_eq(watched[0]->packs, n_packs);
}
END_TEST

START_TEST(a_stream_of_distant_packs_is_fetched_ahead)
{
	uint64_t bytes;
	CLEAN(close_fd) int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	f.store[0]->caps |= STORE_REMOTE;
	watched[0]->company = 4;
	open_reader();
	ck_ok(restore_tar(reader, snap, NULL, fd, NULL, &bytes, &err));
	ck_assert_uint_gt(bytes, (size_t)FILES * EACH);
	ck_assert_uint_ge(watched[0]->most, 4);
	ck_assert_uint_eq(watched[0]->packs, n_packs);
}
END_TEST

START_TEST(a_distant_site_that_takes_one_at_a_time_gets_one_at_a_time)
{
	f.store[0]->caps = (f.store[0]->caps | STORE_REMOTE) & ~(uint32_t)STORE_THREADSAFE;
	open_reader();
	restore();
	all_is_there();
	ck_assert_uint_eq(watched[0]->most, 1);
	ck_assert_uint_eq(watched[0]->packs, n_packs);
}
END_TEST

/* --- around damage --- */

/* _i 0: near, 1: distant */
START_TEST(a_pack_that_was_overwritten_is_read_in_the_version_that_is_whole)
{
	f.store[0]->caps |= _i ? STORE_REMOTE : 0;
	watched[0]->depth = 3;
	flip_packs(0);
	open_reader();
	restore();
	all_is_there();
	ck_assert_uint_eq(f.reader_site[0].bad, n_packs);
	ck_assert_msg(!strncmp(f.reader_site[0].first_bad, "p/" FIXTURE_SOURCE "/", 7), "%s", f.reader_site[0].first_bad);
	ck_assert_uint_eq(watched[0]->older, 3 * n_packs);
}
END_TEST

START_TEST(versions_are_looked_at_up_to_a_limit)
{
	watched[0]->depth = 16;
	flip_packs(0);
	open_reader();
	restore();
	all_is_there();
	close_reader();
	watched[0]->depth = 17;
	reader = fixture_reader(&f);
	opts.overwrite = true;
	ck_fails(restore_tree(reader, fixture_latest(reader), &opts, &stats, &err), ERR_CORRUPT);
}
END_TEST

START_TEST(a_pack_that_no_list_shows_any_more_is_read_in_an_older_version)
{
	watched[0]->hidden = true;
	watched[0]->depth = 1;
	open_reader();
	restore();
	all_is_there();
	ck_assert_uint_eq(f.reader_site[0].bad, n_packs);
	close_reader();
	watched[0]->depth = 0;
	opts.overwrite = true;
	reader = fixture_reader(&f);
	ck_fails(restore_tree(reader, fixture_latest(reader), &opts, &stats, &err), ERR_MISSING);
}
END_TEST

START_TEST(versions_at_one_site_come_before_another_site)
{
	watched[0]->depth = 1;
	flip_packs(0);
	open_reader();
	restore();
	all_is_there();
	ck_assert_uint_eq(watched[1]->packs, 0);
	ck_assert_uint_eq(f.reader_site[0].bad, n_packs);
	ck_assert_uint_eq(f.reader_site[1].bad, 0);
}
END_TEST

START_TEST(a_pack_without_a_whole_version_is_read_at_another_site)
{
	watched[0]->depth = 0;
	flip_packs(0);
	open_reader();
	restore();
	all_is_there();
	ck_assert_uint_eq(watched[1]->packs, n_packs);
	ck_assert_uint_eq(f.reader_site[0].bad, n_packs);
	ck_assert_uint_eq(f.reader_site[1].bad, 0);
}
END_TEST

START_TEST(a_pack_gone_at_one_site_is_read_at_another)
{
	CLEAN(store_keys_release) struct store_keys k = {0};

	ck_ok(store_list_all(f.store[0], "p/", &k, &err));
	for (size_t i = 0; i < k.n; i += 2)
		ck_ok(store_remove(f.store[0], k.key[i], &err));
	open_reader();
	restore();
	all_is_there();
	ck_assert_uint_eq(watched[0]->packs, k.n / 2);
	ck_assert_uint_eq(watched[1]->packs, k.n - k.n / 2);
}
END_TEST

/* _i 0: near, 1: distant */
START_TEST(a_site_that_does_not_answer_is_told_once_and_asked_last)
{
	for (size_t s = 0; s < 2; s++)
		f.store[s]->caps |= _i ? STORE_REMOTE : 0;
	open_reader();
	watched[0]->refuse = ERR_UNREACHABLE;
	restore();
	all_is_there();
	ck_assert_uint_eq(f.reader_site[0].bad, 1);
	ck_assert_msg(!strncmp(f.reader_site[0].first_bad, "-: ", 3), "%s", f.reader_site[0].first_bad);
	ck_assert_uint_eq(f.reader_site[1].bad, 0);
	ck_assert_uint_le(watched[0]->packs, 8); /* those under way when the first failed */
	ck_assert_uint_ge(watched[1]->packs, n_packs);
}
END_TEST

START_TEST(a_cancelled_restore_of_distant_packs_ends)
{
	static atomic_bool stop = true;

	f.store[0]->caps |= STORE_REMOTE;
	opts.cancel = &stop;
	open_reader();
	ck_fails(restore_tree(reader, snap, &opts, &stats, &err), ERR_CANCELLED);
}
END_TEST

static TCase *parts(Suite *s, const char *title, void (*begin)(void))
{
	TCase *t = tcase_create(title);

	tcase_add_checked_fixture(t, begin, end_parts);
	suite_add_tcase(s, t);
	return t;
}

static Suite *fetch_suite(void)
{
	Suite *s = suite_create("fetch");
	TCase *t = parts(s, "one site", one_in_memory);

	tcase_add_test(t, one_file_of_many_is_read_without_the_others_packs);
	tcase_add_test(t, distant_packs_are_fetched_several_at_once_and_each_but_once);
	tcase_add_test(t, a_stream_of_distant_packs_is_fetched_ahead);
	tcase_add_test(t, a_distant_site_that_takes_one_at_a_time_gets_one_at_a_time);
	tcase_add_loop_test(t, a_pack_that_was_overwritten_is_read_in_the_version_that_is_whole, 0, 2);
	tcase_add_test(t, versions_are_looked_at_up_to_a_limit);
	tcase_add_test(t, a_pack_that_no_list_shows_any_more_is_read_in_an_older_version);
	tcase_add_test(t, a_cancelled_restore_of_distant_packs_ends);
	t = parts(s, "two sites", two_in_memory);
	tcase_add_test(t, versions_at_one_site_come_before_another_site);
	tcase_add_test(t, a_pack_without_a_whole_version_is_read_at_another_site);
	tcase_add_test(t, a_pack_gone_at_one_site_is_read_at_another);
	tcase_add_loop_test(t, a_site_that_does_not_answer_is_told_once_and_asked_last, 0, 2);
	t = parts(s, "one directory", one_on_disk);
	tcase_add_test(t, one_file_of_many_costs_its_own_bytes_of_local_packs);
	tcase_add_test(t, part_of_a_stream_is_read_without_what_is_passed_over);
	return s;
}

int main(void)
{
	return suite_main(fetch_suite());
}
