#include "plan/plan.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "suite.h"

#define S 1000000000ll

static struct err err;

static int64_t at(const char *text)
{
	int64_t ns = 0;
	ck_assert_msg(clock_parse(text, &ns), "%s", text);
	return ns;
}

static struct cron rule(const char *text)
{
	struct cron c;
	ck_assert_msg(cron_parse(text, &c, NULL, &err) == 0, "%s", err.msg);
	return c;
}

static struct tz *zone(const char *name)
{
	struct tz *tz = NULL;
	ck_assert_msg(tz_load(name, &tz, &err) == 0, "%s", err.msg);
	return tz;
}

/* Slots after `after`, each as UTC text; NULL ends the list. */
static void check_slots(const char *text, const char *zone_name, const char *after, const char *const *want)
{
	struct cron c = rule(text);
	CLEAN(tz_free_ptr) struct tz *tz = zone(zone_name);
	int64_t t = at(after);
	for (; *want; want++) {
		char got[CLOCK_TEXT];
		t = cron_next(&c, tz, t);
		ck_assert_msg(
		        t == at(*want), "%s in %s: %s instead of %s", text, zone_name, clock_rfc3339(got, t), *want);
	}
}
#define SLOTS(rule, zone, after, ...) check_slots(rule, zone, after, (const char *const[]){__VA_ARGS__, NULL})

START_TEST(fields_lists_ranges_steps_and_names_match)
{
	SLOTS("*/15 * * * *", "UTC", "2026-03-01T00:00:00Z", "2026-03-01T00:15:00Z", "2026-03-01T00:30:00Z");
	SLOTS("0 6 1 1,4,7,10 *", "UTC", "2026-01-01T06:00:00Z", "2026-04-01T06:00:00Z", "2026-07-01T06:00:00Z");
	SLOTS("5-10/5 23 * * *", "UTC", "2026-02-28T23:07:00Z", "2026-02-28T23:10:00Z", "2026-03-01T23:05:00Z");
	SLOTS("0 9 * nov SUN", "UTC", "2026-01-01T00:00:00Z", "2026-11-01T09:00:00Z", "2026-11-08T09:00:00Z");
	SLOTS("0 0 * * 7", "UTC", "2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z");
	SLOTS("0 0 * * 5-7", "UTC", "2026-03-02T00:00:00Z", "2026-03-06T00:00:00Z", "2026-03-07T00:00:00Z",
	        "2026-03-08T00:00:00Z", "2026-03-13T00:00:00Z");
	SLOTS("@weekly", "UTC", "2026-03-02T12:00:00Z", "2026-03-08T00:00:00Z");
	SLOTS("@monthly", "UTC", "2026-12-02T00:00:00Z", "2027-01-01T00:00:00Z");
	SLOTS("@yearly", "UTC", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
}
END_TEST

START_TEST(day_of_month_and_weekday_are_either_when_both_are_restricted)
{
	SLOTS("0 0 13 * 5", "UTC", "2026-03-01T00:00:00Z", "2026-03-06T00:00:00Z", "2026-03-13T00:00:00Z",
	        "2026-03-20T00:00:00Z");
	SLOTS("0 0 14 * 5", "UTC", "2026-03-13T00:00:00Z", "2026-03-14T00:00:00Z");
	SLOTS("0 0 */2 * 1", "UTC", "2026-03-01T00:00:00Z", "2026-03-09T00:00:00Z", "2026-03-23T00:00:00Z");
}
END_TEST

START_TEST(leap_day_waits_for_its_year)
{
	SLOTS("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z");
	SLOTS("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z");
}
END_TEST

START_TEST(skipped_local_time_fires_once_when_time_exists_again)
{
	/* Berlin, 2026-03-29: 02:00 to 03:00 does not exist; 01:00 UTC is 03:00. */
	SLOTS("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z",
	        "2026-03-30T00:30:00Z");
	SLOTS("*/20 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z");
	SLOTS("0 3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z");
	/* Samoa left out the whole of 30 December 2011. */
	SLOTS("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", "2011-12-30T10:00:00Z", "2012-12-29T22:00:00Z");
	/* Lord Howe moves by half an hour. */
	SLOTS("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-03T15:30:00Z",
	        "2026-10-04T15:15:00Z");
}
END_TEST

START_TEST(repeated_local_time_fires_the_first_time_only)
{
	/* Berlin, 2026-10-25: 02:00 to 03:00 comes twice, from 00:00 and from 01:00 UTC. */
	SLOTS("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z");
	SLOTS("0,30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z",
	        "2026-10-26T01:00:00Z");
	SLOTS("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-26T01:30:00Z");
}
END_TEST

START_TEST(rule_for_every_hour_keeps_its_pace_through_changes)
{
	SLOTS("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z",
	        "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z");
	SLOTS("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z",
	        "2026-03-29T02:30:00Z");
	struct cron c = rule("*/15 * * * *");
	CLEAN(tz_free_ptr) struct tz *tz = zone("Europe/Berlin");
	ck_assert_int_eq(cron_longest_gap_ms(&c, tz, at("2026-01-01")), 15 * 60000);
}
END_TEST

START_TEST(footer_of_the_zone_serves_years_without_table)
{
	SLOTS("30 2 * * *", "Europe/Berlin", "2060-03-27T12:00:00Z", "2060-03-28T01:00:00Z", "2060-03-29T00:30:00Z");
	SLOTS("0 12 1 7 *", "America/New_York", "2080-01-01T00:00:00Z", "2080-07-01T16:00:00Z");
	SLOTS("0 12 1 1 *", "America/Sao_Paulo", "2080-06-01T00:00:00Z", "2081-01-01T15:00:00Z");
}
END_TEST

START_TEST(between_lists_slots_up_to_its_bound)
{
	struct cron c = rule("@hourly");
	CLEAN(tz_free_ptr) struct tz *tz = zone("UTC");
	size_t n = 0;
	bool more = true;
	int64_t *v = cron_between(&c, tz, at("2026-03-01T00:00:00Z"), at("2026-03-01T05:00:00Z"), 100, &n, &more);
	ck_assert_uint_eq(n, 5);
	ck_assert(!more);
	ck_assert_int_eq(v[4], at("2026-03-01T05:00:00Z"));
	free(v);
	v = cron_between(&c, tz, at("2026-03-01T00:00:00Z"), at("2026-03-01T05:00:00Z"), 3, &n, &more);
	ck_assert_uint_eq(n, 3);
	ck_assert(more);
	free(v);
}
END_TEST

/* The field texts of a rule that a seed chooses. */
static void random_rule(unsigned seed, char out[64])
{
	static const char *const minutes[] = {"*", "*/7", "0", "5,35", "58-59"}, *const hours[] = {
	                                                                                 "*", "2", "*/5", "1-3", "23"};
	static const char *const mdays[] = {"*", "1", "15,31", "*/3"}, *const months[] = {"*", "3,10", "2"},
	                         *const wdays[] = {"*", "sun", "1-3"};
	snprintf(out, 64, "%s %s %s %s %s", minutes[seed % 5], hours[seed / 5 % 5], mdays[seed / 25 % 4],
	        months[seed / 100 % 3], wdays[seed / 300 % 3]);
}

static bool field_has(uint64_t bits, int value)
{
	return bits >> value & 1;
}

/* Whether a rule matches an instant, by libc's calendar. */
static bool matches(const struct cron *c, time_t t)
{
	struct tm tm;
	gmtime_r(&t, &tm);
	bool m = field_has(c->mday, tm.tm_mday), w = field_has(c->wday, tm.tm_wday);
	bool day = c->any_mday || c->any_wday ? m && w : m || w;
	return day && field_has(c->month, tm.tm_mon + 1) && field_has(c->hour, tm.tm_hour) &&
	       field_has(c->minute, tm.tm_min);
}

START_TEST(next_slot_agrees_with_a_walk_over_minutes)
{
	CLEAN(tz_free_ptr) struct tz *tz = zone("UTC");
	for (unsigned seed = 0; seed < 900; seed += 7) {
		char text[64];
		random_rule(seed, text);
		struct cron c = rule(text);
		time_t from = 1772323200 + (time_t)seed * 86413, t = from / 60 * 60 + 60;
		while (t < from + 400 * 86400 && !matches(&c, t))
			t += 60;
		int64_t got = cron_next(&c, tz, from * S);
		if (t < from + 400 * 86400)
			ck_assert_msg(got == t * S, "%s from %lld", text, (long long)from);
		else
			ck_assert_msg(got < 0 || got >= t * S, "%s from %lld", text, (long long)from);
	}
}
END_TEST

START_TEST(slots_ascend_and_are_one_a_day_in_every_zone)
{
	static const char *const zones[] = {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia",
	        "Africa/Casablanca", "Asia/Kathmandu", "America/St_Johns"};
	struct cron c = rule("30 2 * * *");
	for (size_t i = 0; i < ARRAY_LEN(zones); i++) {
		CLEAN(tz_free_ptr) struct tz *tz = zone(zones[i]);
		int64_t t = at("2026-01-01T12:00:00Z");
		for (int day = 0; day < 800; day++) {
			int64_t next = cron_next(&c, tz, t);
			ck_assert_msg(next - t > 20 * 3600 * S || day == 0, "%s day %d", zones[i], day);
			ck_assert_msg(next - t < 28 * 3600 * S, "%s day %d", zones[i], day);
			t = next;
		}
	}
}
END_TEST

START_TEST(offsets_agree_with_the_c_library)
{
	static const char *const zones[] = {"UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York",
	        "America/Sao_Paulo", "Asia/Tehran", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe",
	        "America/Nuuk", "Etc/GMT+5", "Pacific/Chatham"};
	for (size_t i = 0; i < ARRAY_LEN(zones); i++) {
		CLEAN(tz_free_ptr) struct tz *tz = zone(zones[i]);
		setenv("TZ", zones[i], 1);
		tzset();
		for (time_t t = 0; t < 4102444800; t += 13 * 86400 + 4321) {
			struct tm tm;
			localtime_r(&t, &tm);
			ck_assert_msg(tz_offset(tz, t) == tm.tm_gmtoff, "%s at %lld: %d, not %ld", zones[i],
			        (long long)t, tz_offset(tz, t), tm.tm_gmtoff);
		}
	}
}
END_TEST

START_TEST(cut_or_changed_zone_files_end_in_a_zone_or_an_error)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(1 << 18);
	ck_assert_int_eq(fs_read("/usr/share/zoneinfo/Europe/Berlin", &b, &err), 0);
	for (size_t n = 0; n < b.len; n++) {
		CLEAN(tz_free_ptr) struct tz *tz = NULL;
		unsigned char *cut = xmalloc(n + 1); /* a block of its own, so that a read behind it is seen */
		memcpy(cut, b.p, n);
		ck_assert_int_eq(tz_parse(cut, n, &tz, &err), -ERR_FORMAT);
		free(cut);
	}
	for (size_t i = 0; i < b.len * 3; i++) {
		CLEAN(tz_free_ptr) struct tz *tz = NULL;
		unsigned char saved = b.p[i % b.len];
		b.p[i % b.len] = (unsigned char)(saved ^ (1u << (i * 5 % 8)));
		if (!tz_parse(b.p, b.len, &tz, &err))
			(void)tz_offset(tz, 2000000000);
		b.p[i % b.len] = saved;
	}
	struct tz *tz = NULL;
	ck_assert_int_eq(tz_load("../passwd", &tz, &err), -ERR_USAGE);
	ck_assert_int_eq(tz_load("Europe/Atlantis", &tz, &err), -ERR_USAGE);
}
END_TEST

START_TEST(wrong_rules_name_the_field_and_its_place)
{
	static const struct {
		const char *text;
		size_t col;
	} wrong[] = {{"60 * * * *", 0}, {"0 24 * * *", 2}, {"0 0 0 * *", 4}, {"0 0  32 * *", 5}, {"0 0 1 13 *", 6},
	        {"0 0 1 1 8", 8}, {"0 0 1 1 mon-foo", 8}, {"0 0 1 1", 7}, {"0 0 1 1 1 1", 10}, {"* * * * */9", 8},
	        {"1,,2 * * * *", 0}, {"-1 * * * *", 0}, {"*/0 * * * *", 0}, {"99999999999 * * * *", 0}, {"", 0},
	        {"@reboot", 0}};
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct cron c;
		size_t col = 999;
		ck_assert_msg(cron_parse(wrong[i].text, &c, &col, &err) == -ERR_USAGE, "'%s' is taken", wrong[i].text);
		ck_assert_msg(col == wrong[i].col, "'%s': %zu, not %zu", wrong[i].text, col, wrong[i].col);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("plan-calendar");
	TCase *t = tcase_create("calendar");
	tcase_add_test(t, fields_lists_ranges_steps_and_names_match);
	tcase_add_test(t, day_of_month_and_weekday_are_either_when_both_are_restricted);
	tcase_add_test(t, leap_day_waits_for_its_year);
	tcase_add_test(t, skipped_local_time_fires_once_when_time_exists_again);
	tcase_add_test(t, repeated_local_time_fires_the_first_time_only);
	tcase_add_test(t, rule_for_every_hour_keeps_its_pace_through_changes);
	tcase_add_test(t, footer_of_the_zone_serves_years_without_table);
	tcase_add_test(t, between_lists_slots_up_to_its_bound);
	tcase_add_test(t, next_slot_agrees_with_a_walk_over_minutes);
	tcase_add_test(t, slots_ascend_and_are_one_a_day_in_every_zone);
	tcase_add_test(t, offsets_agree_with_the_c_library);
	tcase_add_test(t, cut_or_changed_zone_files_end_in_a_zone_or_an_error);
	tcase_add_test(t, wrong_rules_name_the_field_and_its_place);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
