/* Unit tests of src/base: errors, memory, buffers, queues. Text is in t_base_text.c, files and processes in
 * t_base_os.c. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/queue.h"
#include "base/rng.h"
#include "base/str.h"
#include "suite.h"

/* err */

START_TEST(error_carries_code_message_and_retryability)
{
	struct err err = ERR_INIT;

	ck_assert_int_eq(err_set(&err, ERR_UNREACHABLE, "site '%s' is away", "north"), -ERR_UNREACHABLE);
	ck_assert_int_eq(err.code, ERR_UNREACHABLE);
	ck_assert(err.retryable);
	ck_assert_str_eq(err.msg, "site 'north' is away");
	ck_assert_str_eq(err.hint, "");
	ck_assert_int_eq(err_set(&err, ERR_CORRUPT, "bad"), -ERR_CORRUPT);
	ck_assert(!err.retryable);
	ck_assert_int_eq(err_set(NULL, ERR_BUSY, "nobody listens"), -ERR_BUSY);
}
END_TEST

START_TEST(system_errors_are_classified_by_errno)
{
	static const struct {
		int e;
		enum err_code code;
	} cases[] = {{ENOSPC, ERR_NOSPACE}, {EDQUOT, ERR_NOSPACE}, {EACCES, ERR_DENIED}, {EPERM, ERR_DENIED},
	        {ENOENT, ERR_MISSING}, {EEXIST, ERR_EXISTS}, {EIO, ERR_IO}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = ERR_INIT;

		errno = cases[i].e;
		ck_assert_int_eq(err_sys(&err, ERR_IO, "open '%s'", "x"), -(int)cases[i].code);
		ck_assert_int_eq(err.code, cases[i].code);
		ck_assert_int_eq(err.sys_errno, cases[i].e);
	}
	struct err err = ERR_INIT;
	errno = ENOENT;
	ck_assert_int_ne(err_sys(&err, ERR_IO, "open 'x'"), 0);
	ck_assert_str_eq(err.msg, "open 'x': No such file or directory");
}
END_TEST

START_TEST(wrapping_prefixes_and_keeps_code_and_hint)
{
	struct err err = ERR_INIT;

	err_set(&err, ERR_MISSING, "pack is gone");
	ck_assert_int_eq(err_hint(&err, "run %s", "check"), -ERR_MISSING);
	ck_assert_int_eq(err_wrap(&err, "site %d", 2), -ERR_MISSING);
	ck_assert_str_eq(err.msg, "site 2: pack is gone");
	ck_assert_str_eq(err.hint, "run check");
	/* Arguments may point into the message itself. */
	err_set(&err, ERR_IO, "again: %s", err.msg);
	ck_assert_str_eq(err.msg, "again: site 2: pack is gone");
	ck_assert_str_eq(err.hint, "");
}
END_TEST

START_TEST(long_messages_are_cut_and_terminated)
{
	struct err err = ERR_INIT;
	char big[2000];

	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	err_set(&err, ERR_IO, "%s", big);
	ck_assert_uint_eq(strlen(err.msg), sizeof err.msg - 1);
	for (int i = 0; i < 50; i++)
		err_wrap(&err, "level %d", i);
	ck_assert_uint_eq(strlen(err.msg), sizeof err.msg - 1);
	ck_assert(str_starts(err.msg, "level 49: level 48: "));
	err_hint(&err, "%s", big);
	ck_assert_uint_eq(strlen(err.hint), sizeof err.hint - 1);
}
END_TEST

START_TEST(table_gives_name_meaning_and_exit_status)
{
	ck_assert_str_eq(err_name(ERR_CORRUPT), "CORRUPT");
	ck_assert_int_eq(err_exit_status(ERR_OK), 0);
	ck_assert_int_eq(err_exit_status(ERR_INTERNAL), 70);
	ck_assert_int_eq(err_exit_status(ERR_CORRUPT), 6);
	ck_assert_int_eq(err_exit_status(ERR_FORK), 10);
	ck_assert_str_eq(err_meaning(ERR_BUSY), "another process holds it");
	ck_assert_str_eq(err_name((enum err_code)999), "INTERNAL");
}
END_TEST

START_TEST(worse_exit_status_wins_in_either_order)
{
	static const int order[] = {70, 2, 5, 7, 11, 10, 6, 9, 1, 8, 3, 4, 0};

	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		for (size_t j = i; j < ARRAY_LEN(order); j++) {
			ck_assert_int_eq(err_status_worse(order[i], order[j]), order[i]);
			ck_assert_int_eq(err_status_worse(order[j], order[i]), order[i]);
		}
	}
}
END_TEST

START_TEST(a_bug_aborts)
{
	BUG_ON(err_exit_status(ERR_OK) == 0);
}
END_TEST

/* mem */

START_TEST(array_growth_doubles_and_keeps_content)
{
	size_t cap = 0, moves = 0, before;
	int *a = NULL;

	for (size_t n = 0; n < 1000; n++) {
		before = cap;
		a = xgrow(a, n, &cap, sizeof *a);
		moves += before != cap;
		ck_assert_uint_gt(cap, n);
		a[n] = (int)n;
	}
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(a[i], i);
	ck_assert_uint_lt(moves, 12);
	free(a);
}
END_TEST

START_TEST(array_growth_past_memory_aborts)
{
	size_t cap = 1;

	free(xgrow(NULL, SIZE_MAX / 4, &cap, 64));
}
END_TEST

START_TEST(cleanup_frees_unless_taken)
{
	char *kept;
	int fd;

	{
		CLEAN(free_ptr) char *p = xstrndup("abcdef", 3);
		CLEAN(close_fd) int scoped = open("/dev/null", O_RDONLY | O_CLOEXEC);

		fd = scoped;
		ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
		kept = TAKE(p);
		ck_assert_ptr_null(p);
	}
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	ck_assert_str_eq(kept, "abc");
	free(kept);
}
END_TEST

/* The "VmFlags" line of the mapping that holds p. */
static bool mapping_has_flag(const void *p, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];
	bool inside = false, found = false;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (inside && str_starts(line, "VmFlags:"))
			found = strstr(line, flag) != NULL;
	}
	fclose(f);
	return found;
}

START_TEST(secrets_are_not_dumped_and_hold_their_bytes)
{
	struct secret s, empty;

	secret_set(&s, "key material", 12);
	ck_assert_uint_eq(s.len, 12);
	ck_assert_mem_eq(s.p, "key material", 12);
	ck_assert(mapping_has_flag(s.p, " dd"));
	secret_release(&s);
	ck_assert_ptr_null(s.p);
	secret_release(&s);
	secret_init(&empty, 0);
	ck_assert_ptr_null(empty.p);
	secret_release(&empty);
	secret_init(&s, 5000);
	for (size_t i = 0; i < s.len; i++)
		ck_assert_uint_eq(s.p[i], 0);
	secret_release(&s);
}
END_TEST

START_TEST(released_secrets_are_gone)
{
	struct secret s;
	void *old;

	secret_set(&s, "x", 1);
	old = s.p;
	ck_assert_int_eq(msync(old, 1, MS_ASYNC), 0);
	secret_release(&s);
	ck_assert_int_eq(msync(old, 1, MS_ASYNC), -1);
	ck_assert_int_eq(errno, ENOMEM);
}
END_TEST

/* buf */

START_TEST(buffer_stops_at_its_ceiling_and_keeps_what_it_had)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(10);
	struct err err = ERR_INIT;

	ck_assert_int_eq(buf_put(&b, "0123456789", 10, &err), 0);
	ck_assert_int_eq(buf_u8(&b, 1, &err), -ERR_NOMEM);
	ck_assert_int_eq(err.code, ERR_NOMEM);
	ck_assert_int_eq(buf_reserve(&b, SIZE_MAX, &err), -ERR_NOMEM);
	ck_assert_int_eq(buf_printf(&b, &err, "%d", 1), -ERR_NOMEM);
	ck_assert_int_eq(buf_put(&b, "", 0, &err), 0);
	ck_assert_str_eq(buf_str(&b), "0123456789");
	buf_clear(&b);
	ck_assert_int_eq(buf_fill(&b, 'z', 10, &err), 0);
	ck_assert_str_eq(buf_str(&b), "zzzzzzzzzz");
}
END_TEST

START_TEST(reserve_always_leaves_room_for_a_terminator)
{
	for (size_t n = 0; n < 300; n++) {
		CLEAN(buf_release) struct buf b = BUF_INIT(n);

		ck_assert_int_eq(buf_reserve(&b, n, NULL), 0);
		memset(b.p, 'a', n);
		b.len = n;
		ck_assert_uint_eq(strlen(buf_str(&b)), n);
		ck_assert_uint_le(b.cap, n + 1);
	}
}
END_TEST

START_TEST(numbers_are_little_endian_and_read_back)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(100);
	struct rd r;
	static const unsigned char want[] = {1, 3, 2, 7, 6, 5, 4, 15, 14, 13, 12, 11, 10, 9, 8};

	ck_assert_int_eq(buf_u8(&b, 1, NULL), 0);
	ck_assert_int_eq(buf_u16(&b, 0x0203, NULL), 0);
	ck_assert_int_eq(buf_u32(&b, 0x04050607, NULL), 0);
	ck_assert_int_eq(buf_u64(&b, UINT64_C(0x08090a0b0c0d0e0f), NULL), 0);
	ck_assert_uint_eq(b.len, sizeof want);
	ck_assert_mem_eq(b.p, want, sizeof want);
	r = rd_init(b.p, b.len);
	ck_assert_uint_eq(rd_u8(&r), 1);
	ck_assert_uint_eq(rd_u16(&r), 0x0203);
	ck_assert_uint_eq(rd_u32(&r), 0x04050607);
	ck_assert(!rd_end(&r));
	ck_assert_uint_eq(rd_u64(&r), UINT64_C(0x08090a0b0c0d0e0f));
	ck_assert(rd_end(&r));
}
END_TEST

START_TEST(after_a_short_read_every_read_fails)
{
	struct rd r = rd_init("abc", 3);
	char out[4] = "xyz";

	ck_assert_uint_eq(rd_u32(&r), 0);
	ck_assert(!rd_ok(&r));
	ck_assert_uint_eq(rd_u8(&r), 0);
	ck_assert_ptr_null(rd_bytes(&r, 0));
	ck_assert(!rd_copy(&r, out, 3));
	ck_assert_mem_eq(out, "\0\0\0", 3);
	ck_assert(!rd_end(&r));
	r = rd_init(NULL, 0);
	ck_assert_ptr_nonnull(rd_bytes(&r, 0));
	ck_assert(rd_end(&r));
	ck_assert_ptr_null(rd_bytes(&r, SIZE_MAX));
}
END_TEST

START_TEST(formatted_text_is_appended)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(SIZE_MAX);

	ck_assert_str_eq(buf_str(&b), "");
	buf_addf(&b, "%s-%d", "a", 1);
	buf_add(&b, "!", 1);
	ck_assert_int_eq(buf_printf(&b, NULL, "%0200d", 7), 0);
	ck_assert_uint_eq(b.len, 204);
	ck_assert(str_starts(buf_str(&b), "a-1!000"));
}
END_TEST

START_TEST(internal_text_past_its_ceiling_aborts)
{
	struct buf b = BUF_INIT(3);

	buf_addf(&b, "four");
}
END_TEST

/* rng and queue */

START_TEST(random_bytes_differ_and_fill_all)
{
	char a[201], b[201];
	unsigned char zero[300] = {0}, raw[300] = {0};

	rng_hex(a, 100);
	rng_hex(b, 100);
	ck_assert_uint_eq(strlen(a), 200);
	ck_assert_uint_eq(strspn(a, "0123456789abcdef"), 200);
	ck_assert_str_ne(a, b);
	rng_bytes(raw, sizeof raw);
	ck_assert_mem_ne(raw + sizeof raw - 16, zero, 16);
	rng_hex(a, 0);
	ck_assert_str_eq(a, "");
}
END_TEST

enum { QUEUE_ITEMS = 5000 };

static void *produce(void *arg)
{
	for (uintptr_t i = 1; i <= QUEUE_ITEMS; i++)
		ck_assert(queue_push(arg, (void *)i));
	queue_close(arg);
	return NULL;
}

START_TEST(items_arrive_in_order_through_a_small_queue)
{
	struct queue q;
	pthread_t thread;
	void *item;
	uintptr_t want = 1;

	queue_init(&q, 3);
	ck_assert_int_eq(pthread_create(&thread, NULL, produce, &q), 0);
	for (; (item = queue_pop(&q)); want++)
		ck_assert_uint_eq((uintptr_t)item, want);
	ck_assert_uint_eq(want, QUEUE_ITEMS + 1);
	pthread_join(thread, NULL);
	queue_release(&q);
}
END_TEST

/* A thread that says when it is about to wait. */
struct waiter {
	struct queue q;
	sem_t about;
	int item;
};

static void *push_one(void *arg)
{
	struct waiter *w = arg;

	sem_post(&w->about);
	return queue_push(&w->q, &w->item) ? w : NULL;
}

static void *pop_one(void *arg)
{
	struct waiter *w = arg;

	sem_post(&w->about);
	return queue_pop(&w->q);
}

static void close_under(void *(*fn)(void *), bool full)
{
	struct waiter w;
	pthread_t thread;
	void *result;

	queue_init(&w.q, 1);
	sem_init(&w.about, 0, 0);
	if (full)
		ck_assert(queue_push(&w.q, &w.item));
	ck_assert_int_eq(pthread_create(&thread, NULL, fn, &w), 0);
	sem_wait(&w.about);
	sched_yield();
	queue_close(&w.q);
	pthread_join(thread, &result);
	ck_assert_ptr_null(result);
	ck_assert(!queue_push(&w.q, &w.item));
	ck_assert_ptr_eq(queue_pop(&w.q), full ? &w.item : NULL);
	ck_assert_ptr_null(queue_pop(&w.q));
	sem_destroy(&w.about);
	queue_release(&w.q);
}

START_TEST(closing_wakes_those_who_wait_and_lets_items_drain)
{
	/* Many times, because whether the other one waits already is up to the scheduler. */
	for (int i = 0; i < 500; i++) {
		close_under(push_one, true);
		close_under(pop_one, false);
	}
}
END_TEST

static TCase *add_case(Suite *s, const char *name)
{
	TCase *tc = tcase_create(name);

	suite_add_tcase(s, tc);
	return tc;
}

static void add_values(Suite *s)
{
	TCase *tc = add_case(s, "err");

	tcase_add_test(tc, error_carries_code_message_and_retryability);
	tcase_add_test(tc, system_errors_are_classified_by_errno);
	tcase_add_test(tc, wrapping_prefixes_and_keeps_code_and_hint);
	tcase_add_test(tc, long_messages_are_cut_and_terminated);
	tcase_add_test(tc, table_gives_name_meaning_and_exit_status);
	tcase_add_test(tc, worse_exit_status_wins_in_either_order);
	tcase_add_test_raise_signal(tc, a_bug_aborts, SIGABRT);
	tc = add_case(s, "mem");
	tcase_add_test(tc, array_growth_doubles_and_keeps_content);
	tcase_add_test_raise_signal(tc, array_growth_past_memory_aborts, SIGABRT);
	tcase_add_test(tc, cleanup_frees_unless_taken);
	tcase_add_test(tc, secrets_are_not_dumped_and_hold_their_bytes);
	tcase_add_test(tc, released_secrets_are_gone);
	tc = add_case(s, "buf");
	tcase_add_test(tc, buffer_stops_at_its_ceiling_and_keeps_what_it_had);
	tcase_add_test(tc, reserve_always_leaves_room_for_a_terminator);
	tcase_add_test(tc, numbers_are_little_endian_and_read_back);
	tcase_add_test(tc, after_a_short_read_every_read_fails);
	tcase_add_test(tc, formatted_text_is_appended);
	tcase_add_test_raise_signal(tc, internal_text_past_its_ceiling_aborts, SIGABRT);
}

static void add_threads(Suite *s)
{
	TCase *tc = add_case(s, "rng and queue");

	tcase_add_test(tc, random_bytes_differ_and_fill_all);
	tcase_add_test(tc, items_arrive_in_order_through_a_small_queue);
	tcase_add_test(tc, closing_wakes_those_who_wait_and_lets_items_drain);
}

int main(void)
{
	Suite *s = suite_create("base");

	add_values(s);
	add_threads(s);
	return suite_main_forked(s);
}
