#include "evidence/evidence.h"

#include <string.h>
#include "base/clock.h"
#include "base/str.h"

#define RECORD_VERSION 1
#define WHAT "evidence record"
#define ACTOR_MAX 256
#define NAME_MAX_LEN 1024

static const char *const outcomes[] = {"done", "failed", "refused", "skipped", "missed", "crashed", NULL};

static bool outcome_ok(const char *s)
{
	for (size_t i = 0; outcomes[i]; i++)
		if (str_eq(outcomes[i], s))
			return true;
	return false;
}

static json_t *clock_json(void)
{
	struct clock_sync s;

	clock_sync_state(&s);
	return json_pack(
	        "{s:s, s:I, s:b}", "source", s.source, "offset_us", (json_int_t)s.offset_us, "trusted", (int)s.trusted);
}

static json_t *subjects_json(const struct evidence_event *ev)
{
	json_t *a = json_array();

	for (size_t i = 0; i < ev->n_subjects; i++) {
		json_t *o = json_object();

		json_object_set_new(o, "name", json_string(ev->subjects[i].name));
		json_object_set_new(o, "sha256", json_hex(ev->subjects[i].sha256, SHA256_LEN));
		json_array_append_new(a, o);
	}
	return a;
}

/* A copy: slot and outcome have one spelling in every record, whoever writes it. */
static json_t *body_json(const struct evidence_event *ev)
{
	json_t *body = ev->body ? json_deep_copy(ev->body) : json_object();

	if (ev->slot) {
		json_t *o = json_object();

		json_object_set_new(o, "plan", json_string(ev->slot->plan));
		json_object_set_new(o, "kind", json_string(ev->slot->kind));
		json_object_set_new(o, "time", json_time(ev->slot->time_ns));
		json_object_set_new(body, "slot", o);
	}
	if (ev->outcome)
		json_object_set_new(body, "outcome", json_string(ev->outcome));
	return body;
}

static int event_check(const struct evidence_event *ev, struct err *err)
{
	if (!str_is_id(ev->type))
		return err_set(err, ERR_FORMAT, "%s: type is no id", WHAT);
	if (ev->outcome && !outcome_ok(ev->outcome))
		return err_set(err, ERR_FORMAT, "%s: unknown outcome '%s'", WHAT, ev->outcome);
	if (ev->n_subjects > EVIDENCE_SUBJECTS_MAX)
		return err_set(
		        err, ERR_NOMEM, "%s: %zu subjects, at most %d", WHAT, ev->n_subjects, EVIDENCE_SUBJECTS_MAX);
	if (ev->body && !json_is_object(ev->body))
		return err_set(err, ERR_FORMAT, "%s: body is no object", WHAT);
	return 0;
}

int evidence_record_make(const struct evidence_event *ev, uint64_t seq, struct buf *out, struct err *err)
{
	CLEAN(json_release) json_t *o = json_object();
	CLEAN(buf_release) struct buf line = BUF_INIT(EVIDENCE_RECORD_MAX);
	struct evidence_record r;
	char time[CLOCK_TEXT], boot_id[37];
	int rc;

	rc = event_check(ev, err);
	if (rc)
		return rc;
	clock_boot_id(boot_id);
	json_object_set_new(o, "v", json_integer(RECORD_VERSION));
	json_object_set_new(o, "seq", json_integer((json_int_t)seq));
	json_object_set_new(o, "type", json_string(ev->type));
	json_object_set_new(o, "time", json_string(clock_rfc3339(time, clock_wall_ns())));
	json_object_set_new(o, "boot_us", json_integer((json_int_t)(clock_boot_ns() / 1000)));
	json_object_set_new(o, "boot_id", json_string(boot_id));
	json_object_set_new(o, "clock", clock_json());
	json_object_set_new(o, "actor", json_string(ev->actor ? ev->actor : "holdfast"));
	json_object_set_new(o, "subjects", subjects_json(ev));
	json_object_set_new(o, "body", body_json(ev));
	rc = json_canonical(o, &line, err);
	if (rc)
		return err_wrap(err, WHAT " of type '%s'", ev->type);
	/* What a reader would refuse must never get into the log. */
	rc = evidence_record_parse(line.p, line.len, &r, err);
	if (rc)
		return rc;
	evidence_record_release(&r);
	return buf_put(out, line.p, line.len, err);
}

static int parse_clock(const json_t *o, struct err *err)
{
	const char *source;
	json_t *clock;
	int64_t off;
	bool trusted;

	if (json_get_obj(o, "clock", WHAT, &clock, err) || json_get_str(clock, "source", WHAT, &source, err) ||
	        json_get_int(clock, "offset_us", WHAT, &off, err) ||
	        json_get_bool(clock, "trusted", WHAT, &trusted, err))
		return -ERR_FORMAT;
	if (json_object_size(clock) != 3)
		return err_set(err, ERR_FORMAT, "%s: unknown member of clock", WHAT);
	return 0;
}

static int parse_subjects(const json_t *o, struct err *err)
{
	json_t *a, *s;
	size_t i;

	if (json_get_arr(o, "subjects", WHAT, &a, err))
		return -ERR_FORMAT;
	if (json_array_size(a) > EVIDENCE_SUBJECTS_MAX)
		return err_set(err, ERR_FORMAT, "%s: more than %d subjects", WHAT, EVIDENCE_SUBJECTS_MAX);
	json_array_foreach (a, i, s) {
		unsigned char digest[SHA256_LEN];
		const char *name;

		if (!json_is_object(s) || json_object_size(s) != 2)
			return err_set(err, ERR_FORMAT, "%s: subject %zu is malformed", WHAT, i);
		if (json_get_str(s, "name", WHAT, &name, err) ||
		        json_get_hex(s, "sha256", WHAT, digest, sizeof(digest), err))
			return -ERR_FORMAT;
		if (strlen(name) > NAME_MAX_LEN)
			return err_set(
			        err, ERR_FORMAT, "%s: subject %zu has a name over %d bytes", WHAT, i, NAME_MAX_LEN);
	}
	return 0;
}

static int parse_time(const char *text, int64_t *ret, struct err *err)
{
	char again[CLOCK_TEXT];

	if (!clock_parse(text, ret) || !str_eq(clock_rfc3339(again, *ret), text))
		return err_set(err, ERR_FORMAT, "%s: a time is not RFC 3339 in UTC with milliseconds", WHAT);
	return 0;
}

static int parse_body(const json_t *o, struct evidence_record *r, struct err *err)
{
	const json_t *slot, *outcome;
	const char *time;
	json_t *body;

	if (json_get_obj(o, "body", WHAT, &body, err))
		return -ERR_FORMAT;
	r->body = body;
	outcome = json_object_get(body, "outcome");
	if (outcome) {
		r->outcome = json_string_value(outcome);
		if (!r->outcome || !outcome_ok(r->outcome))
			return err_set(err, ERR_FORMAT, "%s: unknown outcome", WHAT);
	}
	slot = json_object_get(body, "slot");
	if (!slot)
		return 0;
	if (!json_is_object(slot) || json_object_size(slot) != 3)
		return err_set(err, ERR_FORMAT, "%s: malformed slot", WHAT);
	if (json_get_str(slot, "plan", WHAT, &r->slot.plan, err) ||
	        json_get_str(slot, "kind", WHAT, &r->slot.kind, err) || json_get_str(slot, "time", WHAT, &time, err) ||
	        parse_time(time, &r->slot.time_ns, err))
		return -ERR_FORMAT;
	return 0;
}

static int parse_fields(struct evidence_record *r, struct err *err)
{
	const json_t *o = r->json;
	const char *time;
	int64_t v, seq;

	if (!json_is_object(o))
		return err_set(err, ERR_FORMAT, "%s: no object", WHAT);
	if (json_get_int(o, "v", WHAT, &v, err))
		return -ERR_FORMAT;
	if (v != RECORD_VERSION)
		return err_set(err, ERR_FORMAT, "%s: version %lld, not %d", WHAT, (long long)v, RECORD_VERSION);
	if (json_get_int(o, "seq", WHAT, &seq, err) || json_get_str(o, "type", WHAT, &r->type, err) ||
	        json_get_str(o, "time", WHAT, &time, err) || json_get_int(o, "boot_us", WHAT, &r->boot_us, err) ||
	        json_get_str(o, "boot_id", WHAT, &r->boot_id, err) || json_get_str(o, "actor", WHAT, &r->actor, err))
		return -ERR_FORMAT;
	if (json_object_size(o) != 10)
		return err_set(err, ERR_FORMAT, "%s: unknown member", WHAT);
	if (seq < 0 || r->boot_us < 0 || !str_is_id(r->type) || strlen(r->boot_id) != 36 || !*r->actor ||
	        strlen(r->actor) > ACTOR_MAX)
		return err_set(err, ERR_FORMAT, "%s: seq, type, boot time or actor out of bounds", WHAT);
	r->seq = (uint64_t)seq;
	if (parse_time(time, &r->time_ns, err) || parse_clock(o, err) || parse_subjects(o, err))
		return -ERR_FORMAT;
	return parse_body(o, r, err);
}

int evidence_record_parse(const void *line, size_t n, struct evidence_record *ret, struct err *err)
{
	struct err local = ERR_INIT;
	int rc;

	*ret = (struct evidence_record){0};
	err = err ? err : &local;
	rc = json_parse_canonical(line, n, EVIDENCE_RECORD_MAX, WHAT, &ret->json, err);
	if (!rc)
		rc = parse_fields(ret, err);
	if (rc)
		evidence_record_release(ret);
	return rc;
}

void evidence_record_release(struct evidence_record *r)
{
	json_decref(r->json);
	*r = (struct evidence_record){0};
}
