/* Unit tests of src/base: text, times, messages and JSON. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "suite.h"

/* str */

START_TEST(ids_are_short_lower_case_words)
{
	char s[70];

	ck_assert(str_is_id("a"));
	ck_assert(str_is_id("db-1"));
	memset(s, 'a', sizeof s);
	s[63] = '\0';
	ck_assert(str_is_id(s));
	s[63] = 'a';
	s[64] = '\0';
	ck_assert(!str_is_id(s));
	ck_assert(!str_is_id(""));
	ck_assert(!str_is_id("-a"));
	ck_assert(!str_is_id("a-"));
	ck_assert(!str_is_id("A"));
	ck_assert(!str_is_id("a_b"));
	ck_assert(!str_is_id("a/b"));
	ck_assert(!str_is_id("a\n"));
}
END_TEST

START_TEST(utf8_is_judged_by_the_rfc)
{
	static const char *const good[] = {"", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
	        "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "gr\xc3\xbc\xc3\x9f"};
	static const char *const bad[] = {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xc3(", "\xe0\x9f\xbf",
	        "\xed\xa0\x80", "\xed\xbf\xbf", "\xe2\x82", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
	        "\xff", "a\xfe"};
	uint32_t cp;

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		ck_assert_msg(str_is_utf8(good[i], strlen(good[i])), "good %zu", i);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(!str_is_utf8(bad[i], strlen(bad[i])), "bad %zu", i);
	ck_assert(!str_is_utf8("a\0b", 3));
	ck_assert_uint_eq(str_utf8_next("\xf0\x9f\x98\x80", 4, &cp), 4);
	ck_assert_uint_eq(cp, 0x1f600);
	ck_assert_uint_eq(str_utf8_next("\xf0\x9f\x98\x80", 3, &cp), 0);
}
END_TEST

START_TEST(nearest_name_is_found_for_typing_errors_only)
{
	static const char *const names[] = {"backup", "restore", "verify", "id", NULL};

	ck_assert_str_eq(str_nearest("bakcup", names), "backup");
	ck_assert_str_eq(str_nearest("restor", names), "restore");
	ck_assert_str_eq(str_nearest("verify", names), "verify");
	ck_assert_ptr_null(str_nearest("prune", names));
	ck_assert_ptr_null(str_nearest("x", names));
	ck_assert_ptr_null(str_nearest("", names));
}
END_TEST

START_TEST(hex_is_exact_and_lower_case)
{
	unsigned char raw[3];
	char text[7];

	ck_assert_uint_eq(hex_encode(text, "\x00\xab\xff", 3), 6);
	ck_assert_str_eq(text, "00abff");
	ck_assert(hex_decode(raw, 3, "00abff"));
	ck_assert_mem_eq(raw, "\x00\xab\xff", 3);
	ck_assert(!hex_decode(raw, 3, "00ABFF"));
	ck_assert(!hex_decode(raw, 3, "00abf"));
	ck_assert(!hex_decode(raw, 3, "00abfff"));
	ck_assert(!hex_decode(raw, 3, "00abfg"));
	ck_assert(!hex_decode(raw, 3, ""));
	ck_assert(hex_decode(raw, 0, ""));
}
END_TEST

START_TEST(base64_matches_the_vectors_of_rfc_4648)
{
	static const char *const vectors[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"},
	        {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}, {"\xff\xfe\xfb", "//77"}};
	char out[16];

	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		const char *plain = vectors[i][0], *text = vectors[i][1];

		base64_encode(out, plain, strlen(plain));
		ck_assert_str_eq(out, text);
		ck_assert_int_eq(base64_decode(out, text, strlen(text)), (long)strlen(plain));
		ck_assert_mem_eq(out, plain, strlen(plain));
	}
}
END_TEST

START_TEST(base64_that_is_not_canonical_is_refused)
{
	static const char *const bad[] = {"Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "====", "Z===", "Zg==Zg==", "Zm 9",
	        "Zm9v\n", "Zm-_", "=Zg=", "Zg=a"};
	char out[16];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(base64_decode(out, bad[i], strlen(bad[i])) == -1, "%s", bad[i]);
}
END_TEST

START_TEST(sizes_are_parsed_strictly)
{
	static const char *const bad[] = {"", "MiB", "1mib", "1 MiB", "-1", "+1", "1.5GiB", "64M", "1MiBx", " 1",
	        "18446744073709551616", "16384PiB", "0x10"};
	uint64_t v = 0;

	ck_assert(str_size("0", &v) && v == 0);
	ck_assert(str_size("100B", &v) && v == 100);
	ck_assert(str_size("512KiB", &v) && v == 524288);
	ck_assert(str_size("64MiB", &v) && v == 67108864);
	ck_assert(str_size("1GiB", &v) && v == 1073741824);
	ck_assert(str_size("5MB", &v) && v == 5000000);
	ck_assert(str_size("18446744073709551615", &v) && v == UINT64_MAX);
	v = 42;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(!str_size(bad[i], &v), "%s", bad[i]);
	ck_assert_uint_eq(v, 42);
}
END_TEST

START_TEST(durations_are_parsed_strictly)
{
	static const char *const bad[] = {
	        "", "5", "h", "1h30m", "1.5h", "-1h", "1 h", "1H", "1mo", "9223372036854775808ms", "300000000y"};
	int64_t v = 0;

	ck_assert(str_duration("250ms", &v) && v == 250);
	ck_assert(str_duration("30s", &v) && v == 30000);
	ck_assert(str_duration("15m", &v) && v == 900000);
	ck_assert(str_duration("4h", &v) && v == 14400000);
	ck_assert(str_duration("30d", &v) && v == INT64_C(2592000000));
	ck_assert(str_duration("2w", &v) && v == INT64_C(1209600000));
	ck_assert(str_duration("7y", &v) && v == INT64_C(220752000000));
	ck_assert(str_duration("9223372036854775807ms", &v) && v == INT64_MAX);
	v = 42;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(!str_duration(bad[i], &v), "%s", bad[i]);
	ck_assert_int_eq(v, 42);
}
END_TEST

START_TEST(sizes_read_well)
{
	static const struct {
		uint64_t v;
		const char *text;
	} cases[] = {{0, "0 B"}, {1023, "1023 B"}, {1024, "1.0 KiB"}, {1536, "1.5 KiB"}, {1503238553, "1.4 GiB"},
	        {1048575, "1.0 MiB"}, {1048576, "1.0 MiB"}, {UINT64_MAX, "16.0 EiB"}};
	char out[32];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		ck_assert_str_eq(str_human_size(out, cases[i].v), cases[i].text);
}
END_TEST

START_TEST(durations_read_well)
{
	static const struct {
		int64_t v;
		const char *text;
	} cases[] = {{0, "0 ms"}, {350, "350 ms"}, {1000, "1 s"}, {1500, "1.5 s"}, {59999, "59 s"}, {60000, "1 min"},
	        {61000, "1 min 1 s"}, {4800000, "1 h 20 min"}, {3600000, "1 h"}, {90000000, "1 d 1 h"},
	        {-350, "-350 ms"}, {INT64_MIN, "-106751991167 d 7 h"}};
	char out[32];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		ck_assert_str_eq(str_human_duration(out, cases[i].v), cases[i].text);
}
END_TEST

/* clock */

START_TEST(a_faked_clock_stands_still_until_the_real_one_returns)
{
	int64_t before = clock_boot_ns();

	clock_fake(1000, 77);
	ck_assert_int_eq(clock_wall_ns(), 1000);
	ck_assert_int_eq(clock_boot_ns(), 77);
	clock_fake(-1, 0);
	ck_assert_int_ge(clock_boot_ns(), before);
	ck_assert_int_gt(clock_wall_ns(), INT64_C(1600000000) * 1000000000);
}
END_TEST

START_TEST(times_are_printed_in_utc)
{
	char out[CLOCK_TEXT];

	ck_assert_str_eq(clock_rfc3339(out, 0), "1970-01-01T00:00:00.000Z");
	ck_assert_str_eq(clock_rfc3339(out, INT64_C(1774951872345999999)), "2026-03-31T10:11:12.345Z");
	ck_assert_str_eq(clock_compact(out, INT64_C(1774951872345999999)), "20260331T101112Z");
	ck_assert_str_eq(clock_rfc3339(out, -1), "1969-12-31T23:59:59.999Z");
	ck_assert_str_eq(clock_rfc3339(out, INT64_MIN), "1677-09-21T00:12:43.145Z");
	ck_assert_str_eq(clock_rfc3339(out, INT64_MAX), "2262-04-11T23:47:16.854Z");
}
END_TEST

START_TEST(rfc3339_is_parsed_with_offsets_and_fractions)
{
	static const struct {
		const char *text;
		int64_t ns;
	} cases[] = {{"1970-01-01", 0}, {"2026-03-31T10:11:12Z", INT64_C(1774951872000000000)},
	        {"2026-03-31t12:11:12.5+02:00", INT64_C(1774951872500000000)},
	        {"2026-03-31T04:41:12.345999999-05:30", INT64_C(1774951872345999999)},
	        {"2024-02-29T00:00:00Z", INT64_C(1709164800000000000)}, {"1969-12-31T23:59:59.999999999Z", -1},
	        {"2016-12-31T23:59:60Z", INT64_C(1483228800000000000)}, {"1677-09-21T00:12:43.145224192Z", INT64_MIN},
	        {"2262-04-11T23:47:16.854775807Z", INT64_MAX}};
	int64_t ns;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ck_assert_msg(clock_parse(cases[i].text, &ns), "%s", cases[i].text);
		ck_assert_int_eq(ns, cases[i].ns);
	}
}
END_TEST

START_TEST(times_that_are_none_are_refused)
{
	static const char *const bad[] = {"", "2026", "2026-13-01", "2026-00-01", "2026-02-29", "2100-02-29",
	        "2026-04-31", "2026-03-31T", "2026-03-31T10:11", "2026-03-31T10:11:12", "2026-03-31T24:00:00Z",
	        "2026-03-31T10:60:00Z", "2026-03-31T10:11:61Z", "2026-03-31T10:11:60Z", "2026-03-31T10:11:12.Z",
	        "2026-03-31T10:11:12.1234567890Z", "2026-03-31T10:11:12+0200", "2026-03-31T10:11:12+24:00",
	        "2026-03-31T10:11:12Zx", "2026-03-31 10:11:12Z", "2026-3-31", "+026-03-31",
	        "2262-04-11T23:47:16.854775808Z", "1677-09-21T00:12:43.145224191Z", "0000-01-01", "9999-12-31",
	        "2026-03-31x"};
	int64_t ns;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(!clock_parse(bad[i], &ns), "%s", bad[i]);
}
END_TEST

START_TEST(the_kernel_answers_about_boot_and_synchronisation)
{
	struct clock_sync s;
	char id[37];

	clock_boot_id(id);
	ck_assert_uint_eq(strlen(id), 36);
	ck_assert_uint_eq(strspn(id, "0123456789abcdef-"), 36);
	clock_sync_state(&s);
	ck_assert_str_eq(s.source, s.synced ? "kernel-ntp" : "none");
	ck_assert(!s.trusted || (s.synced && s.max_error_us < 1000000));
}
END_TEST

/* log */

/* What fn writes to stderr. */
static void capture(void (*fn)(void), char *out, size_t size)
{
	int ends[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	ck_assert_int_eq(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	fn();
	dup2(saved, STDERR_FILENO);
	close(ends[1]);
	close(saved);
	n = read(ends[0], out, size - 1);
	ck_assert_int_ge(n, 0);
	out[n] = '\0';
	close(ends[0]);
}

START_TEST(terminal_text_has_no_controls)
{
	char out[64], small[8];

	ck_assert_str_eq(log_safe(out, sizeof out, "plain gr\xc3\xbcn"), "plain gr\xc3\xbcn");
	ck_assert_str_eq(log_safe(out, sizeof out, "a\033[2Jb\n\x7f"), "a\\x1b[2Jb\\x0a\\x7f");
	ck_assert_str_eq(log_safe(out, sizeof out, "\xff\xc2\x9b"), "\\xff\\xc2\\x9b");
	ck_assert_str_eq(log_safe(out, sizeof out, "\xe2\x80\xae"), "\\xe2\\x80\\xae");
	/* Never half of an escape or of a character. */
	ck_assert_str_eq(log_safe(small, sizeof small, "abcd\033x"), "abcd");
	ck_assert_str_eq(log_safe(small, sizeof small, "abc\033x"), "abc\\x1b");
	ck_assert_str_eq(log_safe(small, sizeof small, "abcdef\xc3\xbc"), "abcdef");
	ck_assert_str_eq(log_safe(small, 1, "abc"), "");
}
END_TEST

static void log_some(void)
{
	struct err err = ERR_INIT;

	log_set(LOG_WARN, false);
	log_msg(LOG_INFO, "unseen");
	log_msg(LOG_WARN, "name %s", "a\nb");
	err_set(&err, ERR_IO, "broken");
	err_hint(&err, "mend it");
	log_err(&err);
	log_set(LOG_DEBUG, true);
	log_msg(LOG_DEBUG, "detail");
}

START_TEST(messages_are_one_line_each_with_level_and_hint)
{
	char out[1024];

	capture(log_some, out, sizeof out);
	ck_assert_str_eq(out, "warning: name a\\x0ab\nerror: broken\nhint: mend it\n\033[2mdebug: \033[0mdetail\n");
}
END_TEST

/* json */

static json_t *parsed(const char *text)
{
	struct err err = ERR_INIT;
	json_t *j;

	ck_assert_msg(json_parse(text, strlen(text), 1 << 20, "test", &j, &err) == 0, "%s: %s", text, err.msg);
	return j;
}

START_TEST(canonical_text_is_compact_sorted_and_raw)
{
	/* RFC 8785, section 3.2: no white space, sorted keys, and no escapes but the necessary ones. */
	static const char *const cases[][2] = {
	        {" { \"b\" : 1, \"a\" : [ true , null, false ] } ", "{\"a\":[true,null,false],\"b\":1}"},
	        {"{\"a\\/b\":\"c\\/d\"}", "{\"a/b\":\"c/d\"}"},
	        {"\"\\u20ac\\u00fc\\ud83d\\ude00\"", "\"\xe2\x82\xac\xc3\xbc\xf0\x9f\x98\x80\""},
	        {"\"\\u007f\"", "\"\x7f\""},
	        {"\"\\u0022\\u005c\"", "\"\\\"\\\\\""},
	        {"\"\xe2\x80\xa8\"", "\"\xe2\x80\xa8\""},
	        {"{\"a\":1,\"B\":2,\"aa\":3,\"_\":4,\"1\":5,\"\":6}",
	                "{\"\":6,\"1\":5,\"B\":2,\"_\":4,\"a\":1,\"aa\":3}"},
	        {"[9007199254740992,-9007199254740992,-0]", "[9007199254740992,-9007199254740992,0]"},
	        {"{}", "{}"},
	        {"[]", "[]"},
	        {"null", "null"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		CLEAN(json_release) json_t *j = parsed(cases[i][0]);
		CLEAN(json_release) json_t *again = NULL;
		CLEAN(buf_release) struct buf b = BUF_INIT(1000);
		struct err err = ERR_INIT;

		ck_assert_int_eq(json_canonical(j, &b, &err), 0);
		ck_assert_str_eq(buf_str(&b), cases[i][1]);
		ck_assert_int_eq(json_parse_canonical(b.p, b.len, 1000, "test", &again, &err), 0);
		ck_assert(json_equal(j, again));
	}
}
END_TEST

START_TEST(values_outside_the_rules_have_no_canonical_text)
{
	static const char *const bad[] = {"1.5", "[1.0]", "1e3", "9007199254740993", "-9007199254740993", "\"\\n\"",
	        "\"\\u0001\"", "{\"\\u00fc\":1}", "{\"a\\tb\":1}", "{\"\\u007f\":1}"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CLEAN(json_release) json_t *j = parsed(bad[i]);
		CLEAN(buf_release) struct buf b = BUF_INIT(1000);

		buf_addf(&b, "before");
		ck_assert_msg(json_canonical(j, &b, NULL) == -ERR_FORMAT, "%s", bad[i]);
		ck_assert_str_eq(buf_str(&b), "before");
	}
	CLEAN(json_release) json_t *nul = json_stringn("a\0b", 3);
	CLEAN(json_release) json_t *raw = json_string_nocheck("\xff");
	CLEAN(buf_release) struct buf b = BUF_INIT(1000);
	ck_assert_int_eq(json_canonical(nul, &b, NULL), -ERR_FORMAT);
	ck_assert_int_eq(json_canonical(raw, &b, NULL), -ERR_FORMAT);
}
END_TEST

START_TEST(canonical_text_past_the_ceiling_leaves_nothing)
{
	CLEAN(json_release) json_t *j = parsed("[1,2,3,4,5]");
	CLEAN(buf_release) struct buf b = BUF_INIT(6);

	ck_assert_int_eq(json_canonical(j, &b, NULL), -ERR_NOMEM);
	ck_assert_uint_eq(b.len, 0);
}
END_TEST

START_TEST(text_that_is_not_canonical_is_refused_where_it_must_be)
{
	static const char *const bad[] = {" 1", "1 ", "{\"b\":1,\"a\":2}", "[1, 2]", "\"\\u0041\"", "\"\\/\"", "-0",
	        "1.0", "{\"a\":1}\n", "\"\\u00fc\"", "[]]"};
	struct err err = ERR_INIT;
	json_t *j;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_msg(json_parse_canonical(bad[i], strlen(bad[i]), 1000, "record", &j, &err) == -ERR_FORMAT,
		        "%s", bad[i]);
		ck_assert_ptr_null(j);
		ck_assert(str_starts(err.msg, "record: "));
	}
}
END_TEST

START_TEST(hostile_json_is_refused)
{
	static const char *const bad[] = {"", "{", "{\"a\":1,\"a\":2}", "\"\\u0000\"", "\"\xff\"", "\"\xed\xa0\x80\"",
	        "\"\\ud800\"", "[1]x", "NaN", "99999999999999999999", "1e999", "\xef\xbb\xbf[]", "{\"\\u0000\":1}",
	        "\"\n\""};
	char deep[400];
	json_t *j;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_msg(json_parse(bad[i], strlen(bad[i]), 1000, "x", &j, NULL) == -ERR_FORMAT, "%zu", i);
		ck_assert_ptr_null(j);
	}
	ck_assert_int_eq(json_parse("[]\0", 3, 1000, "x", &j, NULL), -ERR_FORMAT);
	ck_assert_int_eq(json_parse("[1,2]", 5, 4, "x", &j, NULL), -ERR_NOMEM);
	memset(deep, '[', 65);
	memset(deep + 65, ']', 65);
	ck_assert_int_eq(json_parse(deep, 130, 1000, "x", &j, NULL), -ERR_FORMAT);
	ck_assert_int_eq(json_parse(deep + 1, 128, 1000, "x", &j, NULL), 0);
	json_decref(j);
	/* Brackets in text are not depth. */
	memset(deep, '[', 300);
	deep[0] = deep[299] = '"';
	memcpy(deep + 1, "\\\"", 2);
	ck_assert_int_eq(json_parse(deep, 300, 1000, "x", &j, NULL), 0);
	json_decref(j);
}
END_TEST

START_TEST(members_are_fetched_by_type)
{
	CLEAN(json_release) json_t *o = parsed("{\"s\":\"t\",\"i\":-5,\"b\":true,\"o\":{},\"a\":[]}");
	struct err err = ERR_INIT;
	const char *s;
	json_t *j;
	int64_t i;
	bool b;

	ck_assert_int_eq(json_get_str(o, "s", "x", &s, &err), 0);
	ck_assert_str_eq(s, "t");
	ck_assert_int_eq(json_get_int(o, "i", "x", &i, &err), 0);
	ck_assert_int_eq(i, -5);
	ck_assert_int_eq(json_get_bool(o, "b", "x", &b, &err), 0);
	ck_assert(b);
	ck_assert_int_eq(json_get_obj(o, "o", "x", &j, &err), 0);
	ck_assert_int_eq(json_get_arr(o, "a", "x", &j, &err), 0);
	ck_assert_int_eq(json_get_str(o, "none", "head", &s, &err), -ERR_FORMAT);
	ck_assert_str_eq(err.msg, "head: 'none' is missing");
	ck_assert_int_eq(json_get_str(o, "i", "head", &s, &err), -ERR_FORMAT);
	ck_assert_str_eq(err.msg, "head: 'i' is not a string");
	ck_assert_int_eq(json_get_int(o, "s", "x", &i, &err), -ERR_FORMAT);
	ck_assert_int_eq(json_get_bool(o, "i", "x", &b, &err), -ERR_FORMAT);
	ck_assert_int_eq(json_get_obj(o, "a", "x", &j, &err), -ERR_FORMAT);
	ck_assert_ptr_null(j);
	ck_assert_int_eq(json_get_arr(o, "o", "x", &j, &err), -ERR_FORMAT);
	ck_assert_int_eq(json_get_str(json_object_get(o, "a"), "s", "x", &s, &err), -ERR_FORMAT);
	ck_assert_int_eq(json_get_str(NULL, "s", "x", &s, &err), -ERR_FORMAT);
}
END_TEST

START_TEST(binary_members_have_their_exact_length)
{
	CLEAN(json_release) json_t *o = json_object();
	unsigned char raw[4];

	json_object_set_new(o, "h", json_hex("\x01\xfe", 2));
	json_object_set_new(o, "b", json_b64("\x01\xfe\x33\x44", 4));
	ck_assert_str_eq(json_string_value(json_object_get(o, "h")), "01fe");
	ck_assert_int_eq(json_get_hex(o, "h", "x", raw, 2, NULL), 0);
	ck_assert_mem_eq(raw, "\x01\xfe", 2);
	ck_assert_int_eq(json_get_hex(o, "h", "x", raw, 1, NULL), -ERR_FORMAT);
	ck_assert_int_eq(json_get_hex(o, "h", "x", raw, 3, NULL), -ERR_FORMAT);
	ck_assert_int_eq(json_get_b64(o, "b", "x", raw, 4, NULL), 0);
	ck_assert_mem_eq(raw, "\x01\xfe\x33\x44", 4);
	ck_assert_int_eq(json_get_b64(o, "b", "x", raw, 3, NULL), -ERR_FORMAT);
	ck_assert_int_eq(json_get_b64(o, "b", "x", raw, 5, NULL), -ERR_FORMAT);
	ck_assert_int_eq(json_get_b64(o, "h", "x", raw, 2, NULL), -ERR_FORMAT);
}
END_TEST

START_TEST(times_and_paths_fit_canonical_json)
{
	CLEAN(json_release) json_t *o = json_object();
	CLEAN(buf_release) struct buf b = BUF_INIT(1000);

	json_object_set_new(o, "none", json_time(0));
	json_object_set_new(o, "at", json_time(INT64_C(1774951872345000000)));
	json_set_path(o, "path", "/a\xff\n\xc3\xbc", 6);
	ck_assert_int_eq(json_canonical(o, &b, NULL), 0);
	ck_assert_str_eq(buf_str(&b),
	        "{\"at\":\"2026-03-31T10:11:12.345Z\",\"none\":null,\"path\":\"/a\xef\xbf\xbd\xef\xbf\xbd"
	        "\xc3\xbc\",\"path_b64\":\"L2H/CsO8\"}");
	json_set_path(o, "path", "/plain", 6);
	ck_assert_str_eq(json_string_value(json_object_get(o, "path")), "/plain");
	ck_assert_ptr_null(json_object_get(o, "path_b64"));
}
END_TEST

static TCase *add_case(Suite *s, const char *name)
{
	TCase *tc = tcase_create(name);

	suite_add_tcase(s, tc);
	return tc;
}

static Suite *text_suite(void)
{
	Suite *s = suite_create("text");
	TCase *tc = add_case(s, "str");

	tcase_add_test(tc, ids_are_short_lower_case_words);
	tcase_add_test(tc, utf8_is_judged_by_the_rfc);
	tcase_add_test(tc, nearest_name_is_found_for_typing_errors_only);
	tcase_add_test(tc, hex_is_exact_and_lower_case);
	tcase_add_test(tc, base64_matches_the_vectors_of_rfc_4648);
	tcase_add_test(tc, base64_that_is_not_canonical_is_refused);
	tcase_add_test(tc, sizes_are_parsed_strictly);
	tcase_add_test(tc, durations_are_parsed_strictly);
	tcase_add_test(tc, sizes_read_well);
	tcase_add_test(tc, durations_read_well);
	tc = add_case(s, "clock");
	tcase_add_test(tc, a_faked_clock_stands_still_until_the_real_one_returns);
	tcase_add_test(tc, times_are_printed_in_utc);
	tcase_add_test(tc, rfc3339_is_parsed_with_offsets_and_fractions);
	tcase_add_test(tc, times_that_are_none_are_refused);
	tcase_add_test(tc, the_kernel_answers_about_boot_and_synchronisation);
	tc = add_case(s, "log");
	tcase_add_test(tc, terminal_text_has_no_controls);
	tcase_add_test(tc, messages_are_one_line_each_with_level_and_hint);
	tc = add_case(s, "json");
	tcase_add_test(tc, canonical_text_is_compact_sorted_and_raw);
	tcase_add_test(tc, values_outside_the_rules_have_no_canonical_text);
	tcase_add_test(tc, canonical_text_past_the_ceiling_leaves_nothing);
	tcase_add_test(tc, text_that_is_not_canonical_is_refused_where_it_must_be);
	tcase_add_test(tc, hostile_json_is_refused);
	tcase_add_test(tc, members_are_fetched_by_type);
	tcase_add_test(tc, binary_members_have_their_exact_length);
	tcase_add_test(tc, times_and_paths_fit_canonical_json);
	return s;
}

int main(void)
{
	return suite_main(text_suite());
}
