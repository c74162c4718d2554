/* Copies of the evidence log at sites: catching up, forks, and fetching a lost log back. */
#include "evidence_fixture.h"
#include "suite.h"

static size_t keys_under(struct store *s, const char *prefix)
{
	struct store_keys k;
	size_t n;

	ok(store_list_all(s, prefix, &k, &err));
	n = k.n;
	store_keys_release(&k);
	return n;
}

START_TEST(site_that_was_away_catches_up_with_the_same_objects)
{
	CLEAN(store_free_ptr) struct store *a = NULL, *b = NULL;
	struct evidence_log *log = open_log();
	struct evidence_site sites[2] = {0};

	ok(store_mem_open("north", &a, &err));
	ok(store_mem_open("south", &b, &err));
	sites[0].store = a;
	sites[1].store = b;
	for (int i = 0; i < 5; i++) {
		append(log, "backup", i);
		ok(evidence_checkpoint(log, &err));
		ok(evidence_publish(log, sites, 1, 0, &err));
		ck_assert_uint_eq(sites[0].size, (uint64_t)i + 2);
		ck_assert_int_eq(sites[0].err.code, 0);
	}
	ck_assert_uint_eq(keys_under(b, "l/"), 0);
	ok(evidence_publish(log, sites, 2, 0, &err));
	ck_assert_uint_eq(keys_under(a, "l/"), 1 + 3 * 5);
	ck_assert_uint_eq(keys_under(b, "l/"), 1 + 3 * 5);
	ok(evidence_publish(log, sites, 2, EVIDENCE_PUBLISH_ALL, &err));
	ck_assert_uint_eq(keys_under(a, "l/"), 1 + 3 * 5);
	evidence_close(log);
}
END_TEST

START_TEST(wiped_site_gets_everything_again_whatever_the_hint_says)
{
	CLEAN(store_free_ptr) struct store *a = NULL;
	struct evidence_log *log = open_log();
	struct evidence_site site = {0};
	struct store_keys k;

	ok(store_mem_open("north", &a, &err));
	site.store = a;
	append(log, "backup", 1);
	ok(evidence_checkpoint(log, &err));
	ok(evidence_publish(log, &site, 1, 0, &err));
	ok(store_list_all(a, "l/", &k, &err));
	for (size_t i = 0; i < k.n; i++)
		ok(store_remove(a, k.key[i], &err));
	store_keys_release(&k);
	append(log, "backup", 2);
	ok(evidence_checkpoint(log, &err));
	ok(evidence_publish(log, &site, 1, 0, &err));
	ck_assert_uint_eq(keys_under(a, "l/"), 1 + 3 * 2);
	evidence_close(log);
}
END_TEST

START_TEST(failing_site_does_not_stop_the_others)
{
	CLEAN(store_free_ptr) struct store *a = NULL, *b = NULL;
	static const char *const rules[] = {"put l/ fail UNREACHABLE", NULL};
	struct evidence_log *log = open_log();
	struct store *below;
	struct evidence_site sites[2] = {0};

	ok(store_mem_open("north", &below, &err));
	ok(store_fault_new(below, rules, &a, &err));
	ok(store_mem_open("south", &b, &err));
	sites[0].store = a;
	sites[1].store = b;
	ok(evidence_checkpoint(log, &err));
	fails(ERR_UNREACHABLE, evidence_publish(log, sites, 2, 0, &err));
	ck_assert_int_eq(sites[0].err.code, ERR_UNREACHABLE);
	ck_assert_uint_eq(sites[0].size, 0);
	ck_assert_int_eq(sites[1].err.code, 0);
	ck_assert_uint_eq(sites[1].size, 1);
	evidence_close(log);
}
END_TEST

static void copy_file(const char *from, const char *to)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 20);

	slurp(from, &b);
	spill(to, b.p, b.len);
}

START_TEST(log_put_back_from_an_old_copy_is_a_fork_at_the_site)
{
	static const char *const files[] = {"records", "checkpoints", "state.json"};
	CLEAN(store_free_ptr) struct store *a = NULL;
	struct evidence_log *log = open_log();
	struct evidence_site site = {0};
	char kept[3][128];

	ok(store_mem_open("north", &a, &err));
	site.store = a;
	ok(evidence_checkpoint(log, &err));
	for (int i = 0; i < 3; i++) {
		CLEAN(free_ptr) char *path = in_log(log, files[i]);

		snprintf(kept[i], sizeof(kept[i]), "%s/old.%d", root, i);
		copy_file(path, kept[i]);
	}
	append(log, "backup", 1);
	append(log, "backup", 2);
	ok(evidence_checkpoint(log, &err));
	ok(evidence_publish(log, &site, 1, 0, &err));
	for (int i = 0; i < 3; i++) {
		CLEAN(free_ptr) char *path = in_log(log, files[i]);

		copy_file(kept[i], path);
	}
	evidence_close(log);
	log = open_log();
	fails(ERR_FORK, evidence_publish(log, &site, 1, 0, &err)); /* shorter than the site's */
	append(log, "backup", 8);
	append(log, "backup", 9);
	ok(evidence_checkpoint(log, &err));
	fails(ERR_FORK, evidence_publish(log, &site, 1, 0, &err)); /* as long, but another tree */
	append(log, "backup", 10);
	ok(evidence_checkpoint(log, &err));
	fails(ERR_FORK, evidence_publish(log, &site, 1, 0, &err)); /* longer */
	ck_assert_ptr_nonnull(strstr(err.msg, evidence_log_id(log)));
	evidence_close(log);
}
END_TEST

START_TEST(log_rewritten_behind_a_hint_is_a_fork)
{
	CLEAN(store_free_ptr) struct store *a = NULL;
	CLEAN(buf_release) struct buf records = BUF_INIT(1 << 20), cps = BUF_INIT(1 << 20);
	struct evidence_log *log = open_log();
	CLEAN(free_ptr) char *records_path = in_log(log, "records"), *cps_path = in_log(log, "checkpoints");
	CLEAN(free_ptr) char *state = in_log(log, "state.json");
	struct evidence_site site = {0};

	ok(store_mem_open("north", &a, &err));
	site.store = a;
	ok(evidence_checkpoint(log, &err));
	slurp(records_path, &records);
	slurp(cps_path, &cps);
	append(log, "backup", 1);
	ok(evidence_checkpoint(log, &err));
	ok(evidence_publish(log, &site, 1, 0, &err));
	evidence_close(log);
	/* The same number of records, signed again; what is known of the site is kept. */
	spill(records_path, records.p, records.len);
	spill(cps_path, cps.p, cps.len);
	ck_assert_int_eq(unlink(state), 0);
	log = open_log();
	append(log, "backup", 2);
	ok(evidence_checkpoint(log, &err));
	fails(ERR_FORK, evidence_publish(log, &site, 1, 0, &err));
	evidence_close(log);
}
END_TEST

START_TEST(other_bytes_that_nobody_signed_are_damage_and_stay)
{
	CLEAN(store_free_ptr) struct store *a = NULL;
	struct evidence_log *log = open_log();
	struct evidence_site site = {0};
	CLEAN(buf_release) struct buf there = BUF_INIT(1024);
	char object[128];

	ok(store_mem_open("north", &a, &err));
	site.store = a;
	snprintf(object, sizeof(object), "l/%s/records/%020d-%020d", evidence_log_id(log), 0, 0);
	ok(store_put_bytes(a, object, "other\n", 6, &err));
	ok(evidence_checkpoint(log, &err));
	ok(evidence_publish(log, &site, 1, 0, &err));
	ck_assert_uint_eq(site.beside, 1);
	ck_assert_uint_eq(site.size, evidence_log_signed(log));
	ok(store_get(a, object, &there, &err));
	ck_assert_str_eq(buf_str(&there), "other\n");
	ok(evidence_publish(log, &site, 1, EVIDENCE_PUBLISH_ALL, &err)); /* nothing is left to do */
	ck_assert_uint_eq(site.put + site.beside, 0);
	evidence_close(log);
}
END_TEST

START_TEST(lost_log_is_fetched_back_and_goes_on)
{
	CLEAN(store_free_ptr) struct store *a = NULL, *b = NULL;
	struct evidence_log *log = open_log();
	CLEAN(free_ptr)
	char *sub = fs_join(dir, evidence_log_id(log)), *records = in_log(log, "records");
	CLEAN(buf_release) struct buf before = BUF_INIT(1 << 20), after = BUF_INIT(1 << 20);
	struct evidence_site sites[2] = {0};
	struct evidence_config c = {.dir = dir, .key_path = key};

	ok(store_mem_open("north", &a, &err));
	ok(store_mem_open("south", &b, &err));
	sites[0].store = a;
	sites[1].store = b;
	for (int i = 0; i < 4; i++) {
		append(log, "backup", i);
		ok(evidence_checkpoint(log, &err));
		ok(evidence_publish(log, sites, i < 2 ? 2 : 1, 0, &err));
	}
	slurp(records, &before);
	evidence_close(log);
	ok(fs_remove_tree(sub, &err));
	fails(ERR_MISSING, evidence_open(&c, &log, &err));
	c.sites = (struct store *const[]){b, a};
	c.n_sites = 2;
	ok(evidence_open(&c, &log, &err));
	ck_assert_uint_eq(evidence_log_signed(log), 5);
	ck_assert_uint_eq(evidence_log_size(log), 6); /* log-fetched */
	slurp(records, &after);
	ck_assert_uint_gt(after.len, before.len);
	ck_assert_mem_eq(after.p, before.p, before.len);
	ok(evidence_checkpoint(log, &err));
	ok(evidence_publish(log, sites, 2, 0, &err));
	evidence_close(log);
}
END_TEST

START_TEST(lost_log_is_not_begun_anew_while_a_site_cannot_tell_how_far_it_went)
{
	CLEAN(store_free_ptr) struct store *a = NULL, *b = NULL;
	static const char *const rules[] = {"list l/ fail UNREACHABLE", NULL};
	struct evidence_config c = {.dir = dir, .key_path = key};
	struct evidence_log *log = open_log();
	CLEAN(free_ptr) char *sub = fs_join(dir, evidence_log_id(log));
	struct store *below;

	ok(store_mem_open("north", &a, &err));
	ok(evidence_checkpoint(log, &err));
	ok(evidence_publish(log, &(struct evidence_site){.store = a}, 1, 0, &err));
	evidence_close(log);
	ok(fs_remove_tree(sub, &err));
	ok(store_mem_open("south", &below, &err));
	ok(store_fault_new(below, rules, &b, &err));
	c.sites = (struct store *const[]){a, b};
	c.n_sites = 2;
	fails(ERR_UNREACHABLE, evidence_open(&c, &log, &err));
}
END_TEST

START_TEST(new_log_names_the_newest_checkpoint_of_the_logs_before_it)
{
	CLEAN(store_free_ptr) struct store *a = NULL;
	CLEAN(buf_release) struct buf line = BUF_INIT(1 << 20);
	CLEAN(free_ptr) char *records = NULL;
	struct evidence_config c = {.dir = dir, .key_path = key, .create = true};
	struct evidence_log *log = open_log();
	char old[EVIDENCE_ID_LEN + 1];

	memcpy(old, evidence_log_id(log), sizeof(old));
	ok(store_mem_open("north", &a, &err));
	append(log, "backup", 1);
	ok(evidence_checkpoint(log, &err));
	ok(evidence_publish(log, &(struct evidence_site){.store = a}, 1, 0, &err));
	evidence_close(log);
	ck_assert_int_eq(unlink(key), 0);
	ok(fs_remove_tree(dir, &err));
	c.sites = (struct store *const[]){a};
	c.n_sites = 1;
	ok(evidence_open(&c, &log, &err));
	ck_assert_str_ne(evidence_log_id(log), old);
	records = in_log(log, "records");
	slurp(records, &line);
	ck_assert_ptr_nonnull(strstr(buf_str(&line), old));
	ck_assert_ptr_nonnull(strstr(buf_str(&line), "\"note_b64\":\"aG9sZGZhc3Qv"));
	evidence_close(log);
}
END_TEST

START_TEST(long_run_without_a_checkpoint_is_cut_into_batches_of_bounded_size)
{
	CLEAN(store_free_ptr) struct store *a = NULL;
	struct evidence_log *log = open_log();
	CLEAN(free_ptr) char *big = xmalloc(60001), *cps = NULL;
	CLEAN(json_release) json_t *body = NULL;
	struct store_keys k;

	memset(big, 'a', 60000);
	big[60000] = 0;
	body = json_pack("{s:s}", "big", big);
	for (int i = 0; i < 300; i++)
		ok(evidence_append(log, &(struct evidence_event){.type = "backup", .body = body}, NULL, &err));
	ok(evidence_checkpoint(log, &err));
	ok(store_mem_open("north", &a, &err));
	ok(evidence_publish(log, &(struct evidence_site){.store = a}, 1, 0, &err));
	cps = in_log(log, "checkpoints");
	evidence_close(log);
	/* The same when the checkpoints were lost and the records are signed again. */
	ck_assert_int_eq(unlink(cps), 0);
	log = open_log();
	ok(evidence_checkpoint(log, &err));
	ok(evidence_publish(log, &(struct evidence_site){.store = a}, 1, 0, &err));
	evidence_close(log);
	ok(store_list_all(a, "l/", &k, &err));
	ck_assert_uint_ge(k.n, 1 + 3 * 3);
	for (size_t i = 0; i < k.n; i++)
		ck_assert_uint_le(k.size[i], EVIDENCE_BATCH_MAX);
	store_keys_release(&k);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("evidence-copies");
	TCase *t = tcase_create("copies");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, site_that_was_away_catches_up_with_the_same_objects);
	tcase_add_test(t, wiped_site_gets_everything_again_whatever_the_hint_says);
	tcase_add_test(t, failing_site_does_not_stop_the_others);
	tcase_add_test(t, log_put_back_from_an_old_copy_is_a_fork_at_the_site);
	tcase_add_test(t, log_rewritten_behind_a_hint_is_a_fork);
	tcase_add_test(t, other_bytes_that_nobody_signed_are_damage_and_stay);
	tcase_add_test(t, lost_log_is_fetched_back_and_goes_on);
	tcase_add_test(t, lost_log_is_not_begun_anew_while_a_site_cannot_tell_how_far_it_went);
	tcase_add_test(t, new_log_names_the_newest_checkpoint_of_the_logs_before_it);
	tcase_add_test(t, long_run_without_a_checkpoint_is_cut_into_batches_of_bounded_size);
	return suite_main(s);
}
