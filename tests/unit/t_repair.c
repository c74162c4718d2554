#include <check.h>
#include <stdio.h>
#include <string.h>

#include "backup/replicate.h"
#include "base/str.h"
#include "repo/mended.h"
#include "store/site_object.h"
#include "repo_fixture.h"
#include "repo_random.h"
#include "suite.h"
#include "verify/check.h"

/* What stands in for damaged objects, and what a repair puts. Files and every kind of damage: 42-site-life. */

static struct err err;
static struct fixture f;
static struct replicate_result res;
static unsigned char large[1 << 20];

static void set_up(void)
{
	uint64_t state = 7;

	fixture_init_in(&f, 3, false, fixture_fast_dir());
	fill_random(large, sizeof large, &state);
}

static void tear_down(void)
{
	fixture_release(&f);
}

static void back_up(const char *text)
{
	struct fixture_entry e[] = {{.path = "large", .mode = S_IFREG | 0644, .content = large, .n = sizeof large},
	        {.path = "text", .mode = S_IFREG | 0644, .content = text, .n = strlen(text)}};

	fixture_backup(&f, e, ARRAY_LEN(e));
}

static void keys_of(size_t site, const char *prefix, struct store_keys *ret)
{
	ck_ok(store_list_all(f.store[site], prefix, ret, &err));
	ck_assert_uint_gt(ret->n, 0);
}

/* In memory an object can be replaced, as damage would. */
static void flip(size_t site, const char *key)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(PACK_MAX);

	ck_ok(store_get(f.store[site], key, &b, &err));
	ck_ok(store_remove(f.store[site], key, &err));
	b.p[b.len / 2] ^= 0x40;
	ck_ok(store_put_bytes(f.store[site], key, b.p, b.len, &err));
}

static void flip_all(size_t site, const char *prefix, const char *end)
{
	CLEAN(store_keys_release) struct store_keys k = {0};
	size_t n = 0;

	keys_of(site, prefix, &k);
	for (size_t i = 0; i < k.n; i++) {
		size_t len = strlen(k.key[i]);

		if (len >= strlen(end) && str_eq(k.key[i] + len - strlen(end), end)) {
			flip(site, k.key[i]);
			n++;
		}
	}
	ck_assert_uint_gt(n, 0);
}

static struct check_result check(size_t site)
{
	struct check_result c = {0};

	ck_ok(check_digests(f.store[site], &f.cfg, FIXTURE_SOURCE, &(struct check_opts){.workers = 1}, &c, &err));
	return c;
}

static int repair(size_t to, size_t n_from)
{
	struct check_result c = check(to);
	struct store *from[FIXTURE_SITES];
	size_t n = 0;

	for (size_t i = 0; i < f.n_sites && n < n_from; i++)
		if (i != to)
			from[n++] = f.store[i];
	struct repair_opts o = {.from = from, .n_from = n, .to = f.store[to], .cfg = &f.cfg, .source = FIXTURE_SOURCE, .log_seed = &f.log,
	        .run = "0123456789abcdef0123456789abcdef", .now = f.now, .lost = &c.lost, .bad = c.bad, .n_bad = c.n_bad};
	int rc = replicate_repair(&o, &res, &err);

	check_result_release(&c);
	return rc;
}

static void ck_whole(size_t site, uint64_t snapshots)
{
	struct check_result c = check(site);
	char *all = json_dumps(c.findings, 0);

	ck_assert_msg(c.snapshots == snapshots && !c.snapshots_broken && !c.missing && !c.corrupt, "%llu snapshots: %s",
	        (unsigned long long)c.snapshots, all);
	free(all);
	check_result_release(&c);
}

/* --- packs and snapshots --- */

START_TEST(damaged_packs_come_under_a_new_attempt_and_the_old_ones_stay)
{
	CLEAN(store_keys_release) struct store_keys before = {0};
	CLEAN(store_keys_release) struct store_keys after = {0};

	back_up("one");
	back_up("two");
	keys_of(1, "p/", &before);
	flip_all(1, "p/", "");
	ck_ok(repair(1, 2));
	ck_assert_uint_eq(res.packs, before.n);
	ck_assert_uint_eq(res.snapshots, 0);
	keys_of(1, "p/", &after);
	ck_assert_uint_eq(after.n, 2 * before.n);
	ck_whole(1, 2);
	ck_ok(repair(1, 2)); /* nothing is left to do */
	ck_assert_uint_eq(res.packs, 0);
}
END_TEST

START_TEST(each_site_gives_what_it_has_whole)
{
	CLEAN(store_keys_release) struct store_keys k = {0};

	back_up("one");
	back_up("another");
	keys_of(0, "p/", &k);
	ck_assert_uint_gt(k.n, 1);
	flip_all(1, "p/", "");
	flip(0, k.key[0]);
	flip(2, k.key[1]);
	ck_fails(repair(1, 1), ERR_CORRUPT);
	ck_ok(repair(1, 2));
	ck_whole(1, 2);
}
END_TEST

START_TEST(what_is_whole_nowhere_is_named_and_the_rest_is_repaired)
{
	CLEAN(store_keys_release) struct store_keys k = {0};

	back_up("one");
	back_up("another");
	keys_of(0, "p/", &k);
	for (size_t site = 0; site < 3; site++)
		flip(site, k.key[0]);
	flip(1, k.key[1]);
	ck_fails(repair(1, 2), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(err.msg, strrchr(k.key[0], '/') + 1));
	struct check_result c = check(1);

	ck_assert_uint_eq(c.lost.n, 1);
	ck_assert_uint_eq(c.mended, 1);
	check_result_release(&c);
}
END_TEST

START_TEST(a_snapshot_whose_list_cannot_be_told_is_committed_again_without_its_packs)
{
	for (int i = 0; i < 4; i++)
		back_up(i & 1 ? "one" : "two");
	flip_all(1, "w/", "/fate");
	ck_ok(repair(1, 2));
	ck_assert_uint_eq(res.snapshots, 4);
	ck_assert_uint_eq(res.packs, 0);
	ck_whole(1, 4);
}
END_TEST

START_TEST(a_repaired_site_takes_part_in_the_next_run)
{
	back_up("one");
	back_up("two");
	flip_all(1, "w/", "/fate");
	ck_ok(repair(1, 2));
	back_up("three");
	ck_assert_int_eq(f.session_site[1].state, SITE_COMMITTED);
	ck_whole(1, 3);
}
END_TEST

/* --- marks --- */

static void ck_kind(size_t site, const char *key, const char *kind)
{
	struct check_result c = check(site);
	size_t i;
	json_t *o;
	const char *found = "nothing";

	json_array_foreach (c.findings, i, o)
		if (str_eq(json_string_value(json_object_get(o, "object")), key))
			found = json_string_value(json_object_get(o, "kind"));
	ck_assert_str_eq(found, kind);
	check_result_release(&c);
}

static void put_mark(const char *key, const char *about, const struct secret *seed)
{
	char mark[STORE_KEY_MAX + 1];
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNED_MAX);

	ck_ok(mended_encode(about, f.repo, seed, &b, &err));
	(void)!store_remove(f.store[0], key_mended(mark, key), NULL);
	ck_ok(store_put_bytes(f.store[0], mark, b.p, b.len, &err));
}

START_TEST(only_a_log_can_say_that_nothing_depends_on_an_object)
{
	char key[STORE_KEY_MAX + 1];

	back_up("one");
	CLEAN(store_keys_release) struct store_keys k = {0};
	keys_of(0, "w/", &k);
	for (size_t i = 0; i < k.n; i++)
		if (str_eq(strrchr(k.key[i], '/'), "/open"))
			snprintf(key, sizeof key, "%s", k.key[i]);
	flip(0, key);
	ck_kind(0, key, "corrupt");
	put_mark(key, key, &f.keys.sign);
	ck_kind(0, key, "corrupt");
	put_mark(key, "w/docs/other/open", &f.log);
	ck_kind(0, key, "corrupt");
	put_mark(key, key, &f.log);
	ck_kind(0, key, "mended");
}
END_TEST

START_TEST(a_mark_excuses_no_pack_that_a_snapshot_needs)
{
	CLEAN(store_keys_release) struct store_keys k = {0};

	back_up("one");
	keys_of(0, "p/", &k);
	flip(0, k.key[0]);
	put_mark(k.key[0], k.key[0], &f.log);
	ck_kind(0, k.key[0], "corrupt");
	struct check_result c = check(0);

	ck_assert_uint_eq(c.snapshots_broken, 1);
	check_result_release(&c);
}
END_TEST

/* --- what stands in --- */

static int accept_good(void *arg, const void *p, size_t n, struct err *e)
{
	++*(int *)arg;
	return n == 4 && !memcmp(p, "good", 4) ? 0 : err_set(e, ERR_CORRUPT, "is not good");
}

static int get(struct store *s, const char *key, int *asked)
{
	*asked = 0;
	return site_object_get(s, key, 100, accept_good, asked, &err);
}

START_TEST(bytes_beside_a_damaged_object_serve_when_their_name_is_their_digest)
{
	struct store *s = f.store[0];
	char wrong[STORE_KEY_MAX + 1];
	int asked;

	ck_ok(store_put_bytes(s, "cfg/7", "bad!", 4, &err));
	ck_fails(get(s, "cfg/7", &asked), ERR_CORRUPT);
	ck_ok(store_put_bytes(s, key_fmt(wrong, "cfg/7.%064d", 7), "good", 4, &err));
	ck_fails(get(s, "cfg/7", &asked), ERR_CORRUPT);
	ck_ok(site_object_put_beside(s, "cfg/7", "bad?", 4, &err));
	ck_ok(site_object_put_beside(s, "cfg/7", "good", 4, &err));
	ck_ok(site_object_put_beside(s, "cfg/7", "good", 4, &err));
	ck_ok(get(s, "cfg/7", &asked));
}
END_TEST

START_TEST(a_missing_object_is_missing_whatever_lies_beside_it)
{
	int asked;

	ck_ok(site_object_put_beside(f.store[0], "cfg/8", "good", 4, &err));
	ck_fails(get(f.store[0], "cfg/8", &asked), ERR_MISSING);
	ck_assert_int_eq(asked, 0);
}
END_TEST

START_TEST(a_site_that_cannot_be_asked_is_no_damage)
{
	static const char *const rules[] = {"get cfg/9 fail UNREACHABLE", NULL};
	int asked;

	ck_ok(store_put_bytes(f.store[0], "cfg/9", "bad!", 4, &err));
	ck_ok(site_object_put_beside(f.store[0], "cfg/9", "good", 4, &err));
	ck_ok(store_fault_new(f.store[0], rules, &f.store[0], &err));
	ck_fails(get(f.store[0], "cfg/9", &asked), ERR_UNREACHABLE);
}
END_TEST

/* A place that keeps versions: an overwrite hides the bytes before, which get_older shows, the newest first. */
struct versions {
	struct store base;
	struct store *below;
	struct store_ops ops;
	const char *const *older;
	size_t n;
};

static int versions_get(struct store *s, const char *key, struct store_range r, struct store_sink *sink, struct err *e)
{
	return store_get_sink(((struct versions *)s)->below, key, r, sink, e);
}

static int versions_list(struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *e)
{
	return store_list(((struct versions *)s)->below, prefix, after, fn, arg, e);
}

static int versions_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *e)
{
	const struct versions *v = (struct versions *)s;

	(void)key;
	return n > v->n ? err_set(e, ERR_MISSING, "no more") : sink->write(sink->arg, v->older[n - 1], strlen(v->older[n - 1]), e);
}

START_TEST(an_older_version_serves_when_an_object_was_overwritten_or_removed)
{
	static const char *const older[] = {"bad?", "good", "none"};
	struct versions v = {.base = {.ops = &v.ops, .caps = STORE_VERSIONS, .name = (char *)"versions"},
	        .below = f.store[0],
	        .ops = {.scheme = "v", .get = versions_get, .list = versions_list, .get_older = versions_older},
	        .older = older,
	        .n = ARRAY_LEN(older)};
	int asked;

	ck_ok(store_put_bytes(f.store[0], "k/docs/9", "bad!", 4, &err));
	ck_ok(get(&v.base, "k/docs/9", &asked));
	ck_assert_int_eq(asked, 3); /* and no version before the right one */
	ck_ok(get(&v.base, "k/docs/8", &asked));
	v.n = 1;
	ck_fails(get(&v.base, "k/docs/9", &asked), ERR_CORRUPT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("repair");
	TCase *tc = tcase_create("repair");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, damaged_packs_come_under_a_new_attempt_and_the_old_ones_stay);
	tcase_add_test(tc, each_site_gives_what_it_has_whole);
	tcase_add_test(tc, what_is_whole_nowhere_is_named_and_the_rest_is_repaired);
	tcase_add_test(tc, a_snapshot_whose_list_cannot_be_told_is_committed_again_without_its_packs);
	tcase_add_test(tc, a_repaired_site_takes_part_in_the_next_run);
	tcase_add_test(tc, only_a_log_can_say_that_nothing_depends_on_an_object);
	tcase_add_test(tc, a_mark_excuses_no_pack_that_a_snapshot_needs);
	tcase_add_test(tc, bytes_beside_a_damaged_object_serve_when_their_name_is_their_digest);
	tcase_add_test(tc, a_missing_object_is_missing_whatever_lies_beside_it);
	tcase_add_test(tc, a_site_that_cannot_be_asked_is_no_damage);
	tcase_add_test(tc, an_older_version_serves_when_an_object_was_overwritten_or_removed);
	suite_add_tcase(s, tc);

	return suite_main(s);
}
