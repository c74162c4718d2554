#include "restore_fixture.h"

#include "base/str.h"

/* --- damage at sites --- */

/* Turn a bit in the middle of every pack of a site. */
static void damage(size_t site)
{
	CLEAN(store_keys_release) struct store_keys k = {0};

	ck_ok(store_list_all(f.store[site], "p/", &k, &err));
	ck_assert_uint_gt(k.n, 0);
	for (size_t i = 0; i < k.n; i++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(PACK_MAX);

		ck_ok(store_get(f.store[site], k.key[i], &b, &err));
		for (size_t at_ = 1000; at_ < b.len; at_ += 50000)
			b.p[at_] ^= 1;
		ck_ok(store_remove(f.store[site], k.key[i], &err));
		ck_ok(store_put_bytes(f.store[site], k.key[i], b.p, b.len, &err));
	}
}

static void damaged_once(void)
{
	CLEAN(free_ptr) unsigned char *p = random_bytes(3 * MIB, 5);
	const struct fixture_entry e[] = {
	        {.path = "a", .mode = S_IFREG | 0644, .content = p, .n = 3 * MIB}, FILE_("b", "small")};

	fixture_backup(&f, e, 2);
	damage(0);
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	content_is("a", p, 3 * MIB);
	content_is("b", "small", 5);
	ck_assert_uint_gt(f.reader_site[0].bad, 0);
	ck_assert_uint_eq(f.reader_site[1].bad, 0);
	ck_assert_msg(
	        !strncmp(f.reader_site[0].first_bad, "p/" FIXTURE_SOURCE "/", 7), "%s", f.reader_site[0].first_bad);
	check_clean();
}

START_TEST(a_pack_damaged_at_one_site_is_read_from_the_other)
{
	damaged_once();
	ck_assert_uint_eq(f.reader_site[0].bad, 1);
}
END_TEST

static void count_packs(void *arg, const char *line)
{
	if (!strncmp(line, "get p/", 6))
		atomic_fetch_add((atomic_uint *)arg, 1);
}

START_TEST(a_damaged_pack_is_not_fetched_for_every_chunk_of_it)
{
	CLEAN(free_ptr) unsigned char *p = random_bytes(20 * MIB, 9);
	const struct fixture_entry e[] = {{.path = "a", .mode = S_IFREG | 0644, .content = p, .n = 20 * MIB}};
	CLEAN(store_keys_release) struct store_keys k = {0};
	atomic_uint packs = 0;

	fixture_backup(&f, e, 1);
	damage(0);
	ck_ok(store_list_all(f.store[0], "p/", &k, &err));
	f.store[0] = store_trace_new(f.store[0], count_packs, &packs);
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	restore();
	content_is("a", p, 20 * MIB);
	ck_assert_uint_gt(packs, 0);
	ck_assert_uint_le(packs, 3 * k.n); /* each by every thread at most; there are some twenty chunks */
}
END_TEST

START_TEST(a_pack_file_damaged_at_one_site_is_read_from_the_other)
{
	damaged_once();
}
END_TEST

START_TEST(a_pack_damaged_everywhere_is_corruption_and_named)
{
	CLEAN(free_ptr) unsigned char *p = random_bytes(3 * MIB, 6);
	const struct fixture_entry e[] = {
	        FILE_("a", "small"), {.path = "b", .mode = S_IFREG | 0644, .content = p, .n = 3 * MIB}};

	fixture_backup(&f, e, 2);
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	damage(0);
	damage(1);
	ck_fails(restore_tree(reader, snap, &opts, &stats, &err), ERR_CORRUPT);
	ck_assert_msg(strstr(err.msg, "pack ") || strstr(err.msg, "p/" FIXTURE_SOURCE), "%s", err.msg);
	ck_assert(!there("b")); /* nothing half made stays */
	ck_assert_uint_gt(f.reader_site[1].bad, 0);
}
END_TEST

START_TEST(a_pack_gone_everywhere_is_missing)
{
	CLEAN(store_keys_release) struct store_keys k = {0};

	back_up(tree, TREE_N);
	ck_ok(store_list_all(f.store[0], "p/", &k, &err));
	for (size_t i = 0; i < k.n; i++) {
		ck_ok(store_remove(f.store[0], k.key[i], &err));
		ck_ok(store_remove(f.store[1], k.key[i], &err));
	}
	ck_fails(restore_tree(reader, snap, &opts, &stats, &err), ERR_MISSING);
}
END_TEST

START_TEST(packs_that_no_index_describes_are_found_by_their_footers)
{
	CLEAN(store_keys_release) struct store_keys k = {0}, e = {0};

	fixture_backup(&f, tree, TREE_N);
	ck_ok(store_list_all(f.store[0], "i/", &k, &err));
	ck_ok(store_list_all(f.store[0], "e/", &e, &err));
	for (size_t s = 0; s < 2; s++) {
		for (size_t i = 0; i < k.n; i++)
			ck_ok(store_remove(f.store[s], k.key[i], &err));
		for (size_t i = 0; i < e.n; i++)
			ck_ok(store_remove(f.store[s], e.key[i], &err));
	}
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	restore();
	check_clean();
}
END_TEST

START_TEST(envelopes_in_packs_open_them_when_the_objects_are_gone)
{
	CLEAN(store_keys_release) struct store_keys e = {0};

	fixture_backup(&f, tree, TREE_N);
	ck_ok(store_list_all(f.store[0], "e/", &e, &err));
	for (size_t i = 0; i < e.n; i++) {
		ck_ok(store_remove(f.store[0], e.key[i], &err));
		ck_ok(store_remove(f.store[1], e.key[i], &err));
	}
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	restore();
	check_clean();
}
END_TEST

START_TEST(sound_chunks_of_a_pack_that_is_whole_nowhere_are_read)
{
	CLEAN(free_ptr) unsigned char *p = random_bytes(12 * MIB, 7);
	const struct fixture_entry e[] = {
	        {.path = "a", .mode = S_IFREG | 0644, .content = p, .n = 12 * MIB}, FILE_("b", "small")};

	fixture_backup(&f, e, 2);
	for (size_t site = 0; site < 2; site++) {
		CLEAN(store_keys_release) struct store_keys k = {0};
		CLEAN(buf_release) struct buf b = BUF_INIT(PACK_MAX);

		ck_ok(store_list_all(f.store[site], "p/", &k, &err));
		ck_assert_uint_eq(k.n, 1);
		ck_ok(store_get(f.store[site], k.key[0], &b, &err));
		b.p[(site + 1) * b.len / 4] ^= 1; /* another chunk at each site */
		ck_ok(store_remove(f.store[site], k.key[0], &err));
		ck_ok(store_put_bytes(f.store[site], k.key[0], b.p, b.len, &err));
	}
	reader = fixture_reader(&f);
	snap = fixture_latest(reader);
	restore();
	ck_assert_msg(!stats.skipped, "%s", stats.first_skipped);
	content_is("a", p, 12 * MIB);
	content_is("b", "small", 5);
	ck_assert_uint_eq(f.reader_site[0].bad, 1);
}
END_TEST

START_TEST(a_store_that_is_not_safe_for_threads_is_read)
{
	CLEAN(free_ptr) unsigned char *p = random_bytes(12 * MIB, 8);
	const struct fixture_entry e[] = {{.path = "a", .mode = S_IFREG | 0644, .content = p, .n = 12 * MIB}};

	f.store[0]->caps &= ~(uint32_t)STORE_THREADSAFE;
	back_up(e, 1);
	restore();
	content_is("a", p, 12 * MIB);
	check_clean();
}
END_TEST

/* --- which snapshot --- */

static uint64_t selected(const char *which)
{
	const struct reader_snapshot *s;

	ck_ok(reader_select(reader, which, &s, &err));
	return s->snap.seq;
}

START_TEST(snapshots_are_named_by_order_number_or_digest)
{
	const struct reader_snapshot *s;
	char hex[HEX_LEN];
	size_t n;

	fixture_backup(&f, tree, 3);
	hex_encode(hex, f.result.digest, ID_LEN);
	fixture_backup(&f, tree, 4);
	back_up(tree, 5);
	ck_ok(reader_snapshots(reader, &s, &n, &err));
	ck_assert_uint_eq(n, 3);
	ck_assert_uint_eq(s[0].where, 3);
	ck_assert_uint_eq(s[2].snap.seq, 3);
	ck_assert_uint_eq(selected("latest"), 3);
	ck_assert_uint_eq(selected("2"), 2);
	ck_assert_uint_eq(selected(hex), 1);
	hex[6] = 0;
	ck_assert_uint_eq(selected(hex), 1);
	hex[5] = 0; /* five digits are no name, unless they are a number */
	hex[0] = 'a';
	ck_fails(reader_select(reader, hex, &s, &err), ERR_USAGE);
	ck_fails(reader_select(reader, "4", &s, &err), ERR_USAGE);
}
END_TEST

START_TEST(two_snapshots_of_one_number_are_a_fork)
{
	CLEAN(free_ptr) char *kept = fs_join(f.dir, "kept");
	const struct reader_snapshot *s;
	struct store *away = f.store[1];

	fixture_backup(&f, tree, 3);
	run_in(f.dir, (const char *const[]){"cp", "-a", "state", kept, NULL});
	f.n_sites = 1;
	fixture_backup(&f, tree, 4);
	run_in(f.dir, (const char *const[]){"sh", "-c", "rm -rf state && mv kept state", NULL});
	struct store *first = f.store[0]; /* the host, back from an old image, meets the other site only */
	f.store[0] = away;
	strcpy(f.name[0], "site-1");
	fixture_backup(&f, tree, 5);
	f.store[0] = first;
	strcpy(f.name[0], "site-0");
	f.n_sites = 2;
	reader = fixture_reader(&f);
	ck_fails(reader_select(reader, "latest", &s, &err), ERR_FORK);
	ck_fails(reader_select(reader, "2", &s, &err), ERR_FORK);
	ck_assert_uint_eq(selected("1"), 1);
}
END_TEST

static Suite *reader_suite(void)
{
	Suite *s = suite_create("reader");
	TCase *t = group(s, "damage", setup_two);
	tcase_add_test(t, a_pack_damaged_at_one_site_is_read_from_the_other);
	tcase_add_test(t, a_damaged_pack_is_not_fetched_for_every_chunk_of_it);
	tcase_add_test(t, a_pack_damaged_everywhere_is_corruption_and_named);
	tcase_add_test(t, a_pack_gone_everywhere_is_missing);
	tcase_add_test(t, packs_that_no_index_describes_are_found_by_their_footers);
	tcase_add_test(t, envelopes_in_packs_open_them_when_the_objects_are_gone);
	tcase_add_test(t, sound_chunks_of_a_pack_that_is_whole_nowhere_are_read);
	tcase_add_test(t, a_store_that_is_not_safe_for_threads_is_read);
	tcase_add_test(t, snapshots_are_named_by_order_number_or_digest);
	tcase_add_test(t, two_snapshots_of_one_number_are_a_fork);
	t = group(s, "damage on disk", setup_disk);
	tcase_add_test(t, sound_chunks_of_a_pack_that_is_whole_nowhere_are_read);
	tcase_add_test(t, a_pack_file_damaged_at_one_site_is_read_from_the_other);
	tcase_add_test(t, a_pack_damaged_everywhere_is_corruption_and_named);
	tcase_add_test(t, packs_that_no_index_describes_are_found_by_their_footers);
	tcase_add_test(t, envelopes_in_packs_open_them_when_the_objects_are_gone);
	return s;
}

int main(void)
{
	return suite_main(reader_suite());
}
