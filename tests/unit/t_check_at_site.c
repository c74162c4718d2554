/* A check that takes a site's word for digests: what it asks for, how many at once, and what it makes of the answers. */
#include "verify/check.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/str.h"
#include "crypto/crypto.h"
#include "repo_fixture.h"
#include "suite.h"
#include "store/filter.h"

#define RUNS 12
#define MERGES 6
#define AT_ONCE 6

/* The site: it hashes what it has, and tells what was asked of it. */
struct asked {
	struct filter f;
	pthread_mutex_t mutex;
	pthread_cond_t more;
	size_t digests, inside, most, packs_read;
	size_t crowd;      /* an answer waits until so many are asked for at once */
	bool crowded, away;
};
static struct asked site;
static struct fixture f;
static struct check_result res;
static struct err err;

/* Those that wait go on together: an asker that never asks for a second before it has the first answer waits for ever. */
static void wait_for_crowd(struct asked *a)
{
	pthread_mutex_lock(&a->mutex);
	a->digests++;
	a->inside++;
	a->most = MAX(a->most, a->inside);
	a->crowded |= a->inside >= a->crowd;
	pthread_cond_broadcast(&a->more);
	while (!a->crowded)
		pthread_cond_wait(&a->more, &a->mutex);
	pthread_mutex_unlock(&a->mutex);
}

static int asked_digest(struct store *s, const char *key, unsigned char ret[32], struct err *e)
{
	struct asked *a = (struct asked *)s;
	struct store *below = filter_below(s);
	CLEAN(buf_release) struct buf b = BUF_INIT(PACK_MAX);

	wait_for_crowd(a);
	int rc = a->away ? err_set(e, ERR_UNREACHABLE, "no answer") :
	                   below->ops->get(below, key, (struct store_range){0}, &(struct store_sink){store_buf_write, &b}, e);

	sha256_of(b.p, b.len, ret);
	pthread_mutex_lock(&a->mutex);
	a->inside--;
	pthread_mutex_unlock(&a->mutex);
	return rc;
}

static int asked_get(struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *e)
{
	struct asked *a = (struct asked *)s;
	struct store *below = filter_below(s);

	pthread_mutex_lock(&a->mutex);
	a->packs_read += str_starts(key, "p/") || str_starts(key, "i/");
	pthread_mutex_unlock(&a->mutex);
	return below->ops->get(below, key, range, sink, e);
}

static const struct store_ops changes = {.scheme = "asked", .digest = asked_digest, .get = asked_get};

static void set_up(void)
{
	fixture_init_in(&f, 1, true, fixture_fast_dir());
	for (int i = 0; i < RUNS; i++) {
		char text[2] = {(char)('a' + i), 0};
		struct fixture_entry e = {.path = "text", .mode = S_IFREG | 0644, .content = text, .n = 1};

		fixture_backup(&f, &e, 1);
	}
	for (unsigned char i = 0; i < MERGES; i++) {
		unsigned char digest[ID_LEN];
		char hex[HEX_LEN], key[STORE_KEY_MAX + 1];

		sha256_of(&i, 1, digest);
		hex_encode(hex, digest, ID_LEN);
		ck_ok(store_put_bytes(f.store[0], key_fmt(key, "i/" FIXTURE_SOURCE "/m.%s", hex), &i, 1, &err));
	}
	site = (struct asked){.mutex = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER, .crowd = 1};
	filter_init(&site.f, &changes, f.store[0]);
	site.f.base.caps |= STORE_REMOTE | STORE_DIGEST;
}

static void tear_down(void)
{
	check_result_release(&res);
	f.store[0] = site.f.below;
	free(site.f.base.name);
	fixture_release(&f);
}

static int check(void)
{
	check_result_release(&res);
	return check_digests(&site.f.base, &f.cfg, FIXTURE_SOURCE, &(struct check_opts){.workers = 1, .at_site = true}, &res, &err);
}

/* Key of the last object below a prefix, whose last byte is changed. */
static char *damage(const char *prefix)
{
	CLEAN(store_keys_release) struct store_keys k = {0};
	unsigned char c;

	ck_ok(store_list_all(f.store[0], prefix, &k, &err));
	ck_assert_uint_ge(k.n, 1);
	CLEAN(free_ptr) char *path = fixture_object(&f, 0, k.key[k.n - 1]);

	ck_assert_int_eq(chmod(path, 0600), 0);
	int fd = open(path, O_RDWR);
	off_t at = lseek(fd, 0, SEEK_END) - 1;

	ck_assert_int_eq(pread(fd, &c, 1, at), 1);
	c ^= 1;
	ck_assert_int_eq(pwrite(fd, &c, 1, at), 1);
	close(fd);
	return xstrdup(k.key[k.n - 1]);
}

static const char *found(size_t i, const char *member)
{
	return json_string_value(json_object_get(json_array_get(res.findings, i), member));
}

START_TEST(packs_and_merges_are_asked_for_and_not_read)
{
	ck_ok(check());
	ck_assert_uint_eq(json_array_size(res.findings), 0);
	ck_assert_uint_eq(res.packs, RUNS);
	ck_assert_uint_eq(res.pack_bytes, 0);
	ck_assert_uint_eq(res.snapshots, RUNS);
	ck_assert_uint_eq(site.digests, RUNS + MERGES);
	ck_assert_uint_eq(site.packs_read, 0);
}
END_TEST

START_TEST(what_the_site_hashes_otherwise_is_damage)
{
	CLEAN(free_ptr) char *pack = damage("p/");

	ck_ok(check());
	ck_assert_uint_eq(json_array_size(res.findings), 1);
	ck_assert_str_eq(found(0, "kind"), "corrupt");
	ck_assert_str_eq(found(0, "object"), pack);
	ck_assert_uint_ge(res.snapshots_broken, 1);

	CLEAN(free_ptr) char *merge = damage("i/" FIXTURE_SOURCE "/m.");

	ck_ok(check());
	ck_assert_uint_eq(json_array_size(res.findings), 2);
	ck_assert_str_eq(found(1, "object"), merge);
	ck_assert_uint_eq(res.corrupt, 2);
}
END_TEST

START_TEST(what_is_signed_is_read_here_all_the_same)
{
	CLEAN(free_ptr) char *copy = damage("s/");

	ck_ok(check());
	ck_assert_uint_ge(res.corrupt, 1);
	ck_assert_str_eq(found(0, "object"), copy);
}
END_TEST

/* One processor here, and still the round trips overlap; also those of what is no pack. */
START_TEST(several_are_asked_for_at_once)
{
	site.crowd = AT_ONCE;
	ck_ok(check());
	ck_assert_uint_ge(site.most, AT_ONCE);

	CLEAN(store_keys_release) struct store_keys k = {0};

	ck_ok(store_list_all(f.store[0], "p/", &k, &err));
	for (size_t i = 0; i < k.n; i++)
		ck_ok(store_remove(f.store[0], k.key[i], &err));
	site.crowded = false;
	site.most = 0;
	ck_ok(check());
	ck_assert_uint_ge(site.most, AT_ONCE);
	ck_assert_uint_eq(res.lost.n, RUNS);
}
END_TEST

START_TEST(a_site_that_does_not_answer_is_no_result)
{
	site.away = true;
	ck_assert_int_eq(check(), -ERR_UNREACHABLE);
	ck_assert_uint_eq(res.corrupt + res.missing, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("check at the site");
	TCase *t = tcase_create("at the site");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, packs_and_merges_are_asked_for_and_not_read);
	tcase_add_test(t, what_the_site_hashes_otherwise_is_damage);
	tcase_add_test(t, what_is_signed_is_read_here_all_the_same);
	tcase_add_test(t, several_are_asked_for_at_once);
	tcase_add_test(t, a_site_that_does_not_answer_is_no_result);
	suite_add_tcase(s, t);

	return suite_main(s);
}
