#include "codec/zframe.h"

#include <check.h>
#include <string.h>
#include "base/mem.h"
#include "suite.h"

#define MIB ((size_t)1 << 20)

static struct err err;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void fill_random(unsigned char *p, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(next_random(&seed) >> 24);
}

static void fill_text(unsigned char *p, size_t n, uint64_t seed)
{
	static const char *const words[] = {"mount ", "snapshot ", "site\n", "restore ", "42, "};
	size_t at = 0;
	while (at < n) {
		const char *w = words[next_random(&seed) % ARRAY_LEN(words)];
		for (; *w && at < n; w++)
			p[at++] = (unsigned char)*w;
	}
}

static void check_round_trip(struct zframe *z, const unsigned char *p, size_t n)
{
	size_t cap = zframe_bound(n);
	unsigned char *packed = xmalloc(cap), *back = xmalloc(n);
	size_t len = zframe_compress(z, p, n, packed, cap);
	ck_assert_uint_gt(len, 0);
	ck_assert_uint_le(len, n - n / 64);
	ck_ok(zframe_decompress(z, packed, len, back, n, &err));
	ck_assert_mem_eq(back, p, n);
	free(packed);
	free(back);
}

START_TEST(frames_round_trip_at_every_level_and_size)
{
	unsigned char *p = xmalloc(8 * MIB);
	static const size_t sizes[] = {100, 4096, 32768, 32769, MIB, 8 * MIB};
	fill_text(p, 8 * MIB, 7);
	for (int level = 0; level <= 13; level += level < 3 ? 1 : 9) {
		struct zframe *z = zframe_new(level);
		for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
			check_round_trip(z, p, sizes[i]);
		zframe_free(z);
	}
	free(p);
}
END_TEST

START_TEST(random_and_tiny_data_is_stored_raw)
{
	struct zframe *z = zframe_new(3);
	unsigned char *p = xmalloc(MIB), *out = xmalloc(zframe_bound(MIB));
	static const size_t sizes[] = {1, 2, 7, 63, 64, 1000, 32767, 32768, 100003, MIB};
	fill_random(p, MIB, 99);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		ck_assert_uint_eq(zframe_compress(z, p, sizes[i], out, zframe_bound(MIB)), 0);
	memcpy(p + 10000, p, 200); /* saves less than 1/64 */
	ck_assert_uint_eq(zframe_compress(z, p, 20000, out, zframe_bound(MIB)), 0);
	memcpy(p + 10000, p, 600);
	ck_assert_uint_ne(zframe_compress(z, p, 20000, out, zframe_bound(MIB)), 0);
	free(p);
	free(out);
	zframe_free(z);
}
END_TEST

START_TEST(probe_does_not_give_up_data_that_shrinks)
{
	struct zframe *z = zframe_new(3);
	unsigned char *p = xmalloc(MIB);
	fill_random(p, MIB, 5);
	for (size_t i = 0; i < MIB; i++) /* six bits a byte, as base64 has */
		p[i] = p[i] & 63;
	check_round_trip(z, p, MIB);
	fill_random(p, 3000, 6); /* flat histogram, short repeats */
	for (size_t i = 3000; i < MIB; i++)
		p[i] = p[i - 3000];
	check_round_trip(z, p, MIB);
	fill_random(p, MIB, 8);
	memset(p + MIB / 4, 0, MIB / 8);
	check_round_trip(z, p, MIB);
	free(p);
	zframe_free(z);
}
END_TEST

START_TEST(output_depends_on_input_and_level_only)
{
	struct zframe *used = zframe_new(3);
	size_t cap = zframe_bound(MIB);
	unsigned char *p = xmalloc(MIB), *a = xmalloc(cap), *b = xmalloc(cap);
	for (uint64_t i = 1; i < 60; i++) {
		size_t n = (size_t)(i * i * 7919) % MIB + 1;
		fill_text(p, n, i);
		fill_random(p + n / 2, n / 3, i);
		struct zframe *fresh = zframe_new(3);
		size_t la = zframe_compress(used, p, n, a, cap), lb = zframe_compress(fresh, p, n, b, cap);
		zframe_free(fresh);
		ck_assert_uint_eq(la, lb);
		ck_assert_mem_eq(a, b, la);
	}
	free(p);
	free(a);
	free(b);
	zframe_free(used);
}
END_TEST

START_TEST(frame_of_other_length_is_refused)
{
	struct zframe *z = zframe_new(3);
	unsigned char p[4096], out[8192], back[8192];
	fill_text(p, sizeof(p), 1);
	size_t n = zframe_compress(z, p, sizeof(p), out, sizeof(out));
	ck_assert_uint_gt(n, 0);
	ck_ok(zframe_decompress(z, out, n, back, sizeof(p), &err));
	ck_fails(zframe_decompress(z, out, n, back, sizeof(p) - 1, &err), ERR_CORRUPT);
	ck_fails(zframe_decompress(z, out, n, back, sizeof(p) + 1, &err), ERR_CORRUPT);
	for (size_t cut = 0; cut < n; cut++)
		ck_fails(zframe_decompress(z, out, cut, back, sizeof(p), &err), ERR_CORRUPT);
	zframe_free(z);
}
END_TEST

START_TEST(bytes_behind_a_frame_are_refused)
{
	struct zframe *z = zframe_new(3);
	unsigned char p[1000], out[4096] = {0}, back[2000];
	fill_text(p, sizeof(p), 1);
	size_t n = zframe_compress(z, p, sizeof(p), out, sizeof(out));
	ck_fails(zframe_decompress(z, out, n + 1, back, 1000, &err), ERR_CORRUPT);
	memcpy(out + n, out, n); /* a second frame */
	ck_fails(zframe_decompress(z, out, 2 * n, back, 1000, &err), ERR_CORRUPT);
	ck_fails(zframe_decompress(z, out, 2 * n, back, 2000, &err), ERR_CORRUPT);
	static const unsigned char skippable[] = {0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4};
	ck_fails(zframe_decompress(z, skippable, sizeof(skippable), back, 0, &err), ERR_CORRUPT);
	memcpy(out + n, skippable, sizeof(skippable));
	ck_fails(zframe_decompress(z, out, n + sizeof(skippable), back, 1000, &err), ERR_CORRUPT);
	zframe_free(z);
}
END_TEST

START_TEST(frame_with_a_window_over_8_mib_is_refused)
{
	/* magic, descriptor (no single segment, four-byte size), window, size 1, one raw last block of a byte */
	unsigned char f[] = {0x28, 0xb5, 0x2f, 0xfd, 0x80, 13 << 3, 1, 0, 0, 0, 9, 0, 0, 'x'}, out[1];
	struct zframe *z = zframe_new(3);
	ck_ok(zframe_decompress(z, f, sizeof(f), out, 1, &err));
	ck_assert_int_eq(out[0], 'x');
	f[5] = 13 << 3 | 1;
	ck_fails(zframe_decompress(z, f, sizeof(f), out, 1, &err), ERR_CORRUPT);
	zframe_free(z);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("codec");
	TCase *t = tcase_create("codec");
	tcase_add_test(t, frames_round_trip_at_every_level_and_size);
	tcase_add_test(t, random_and_tiny_data_is_stored_raw);
	tcase_add_test(t, probe_does_not_give_up_data_that_shrinks);
	tcase_add_test(t, output_depends_on_input_and_level_only);
	tcase_add_test(t, frame_of_other_length_is_refused);
	tcase_add_test(t, bytes_behind_a_frame_are_refused);
	tcase_add_test(t, frame_with_a_window_over_8_mib_is_refused);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
