/* The job service: records (u8 kind, u32 length, bytes) in the answer, the result among them. */
#include <string.h>
#include "wire/internal.h"
#include "base/clock.h"
#include "base/str.h"

#define KIND_MAX 63
#define LINE_MAX_BYTES ((size_t)8 << 10)
#define RECORD_HEAD 5
#define LAST_WORD_NS (60 * INT64_C(1000000000))

enum record { RECORD_PROGRESS = 1, RECORD_LOG, RECORD_RESULT };

struct wire_job {
	struct request *r;
	pthread_mutex_t one; /* a record goes out whole */
};

/* --- doing it --- */

void wire_serve_job(struct wire *w, wire_job_fn fn, void *arg)
{
	pthread_mutex_lock(&w->m);
	w->job = fn;
	w->job_arg = arg;
	pthread_mutex_unlock(&w->m);
}

struct wire *wire_job_wire(struct wire_job *job)
{
	return job->r->w;
}

const atomic_bool *wire_job_cancel(const struct wire_job *job)
{
	return &job->r->cancelled;
}

static int send_record(struct wire_job *job, enum record kind, const void *p, size_t n, struct err *err)
{
	unsigned char head[RECORD_HEAD] = {(unsigned char)kind};

	put_u32(head + 1, (uint32_t)n);
	pthread_mutex_lock(&job->one);
	int rc = request_part(job->r, head, sizeof head, err);

	if (!rc)
		rc = request_part(job->r, p, n, err);
	pthread_mutex_unlock(&job->one);
	return rc;
}

static int send_json(struct wire_job *job, enum record kind, const json_t *doc, struct err *err)
{
	CLEAN(free_ptr) char *text = json_dumps(doc, JSON_COMPACT | JSON_ENCODE_ANY);
	size_t n = text ? strlen(text) : 0;

	if (!text || n > WIRE_JSON_MAX)
		return err_set(err, ERR_NOMEM, "a document is too large for the connection");
	return send_record(job, kind, text, n, err);
}

/* Who asked may be gone: the job learns that by its cancel flag. */
void wire_job_progress(struct wire_job *job, const json_t *doc)
{
	(void)!send_json(job, RECORD_PROGRESS, doc, NULL);
}

void wire_job_log(struct wire_job *job, enum log_level level, const char *line)
{
	char text[LINE_MAX_BYTES + 2];
	size_t n = strnlen(line, LINE_MAX_BYTES);

	text[0] = (char)('0' + (int)level);
	memcpy(text + 1, line, n);
	(void)!send_record(job, RECORD_LOG, text, n + 1, NULL);
}

static int job_text(struct request *r, char kind[KIND_MAX + 1], json_t **ret, struct err *err)
{
	CLEAN(buf_release) struct buf text = BUF_INIT(WIRE_JSON_MAX);
	struct rd a = rd_init(r->args, r->ask.n_args);

	(void)dec_text(&a, kind, KIND_MAX);
	if (!rd_end(&a) || !str_is_id(kind))
		return err_set(err, ERR_FORMAT, "malformed arguments of a job");
	int rc = request_text(r, WIRE_JSON_MAX, &text, err);

	return rc ? rc : json_parse(text.p, text.len, WIRE_JSON_MAX, "the job's document", ret, err);
}

static int run_job(struct request *r, wire_job_fn fn, void *arg, struct err *err)
{
	CLEAN(json_release) json_t *doc = NULL, *result = NULL;
	struct wire_job job = {.r = r, .one = PTHREAD_MUTEX_INITIALIZER};
	char kind[KIND_MAX + 1];
	int rc = job_text(r, kind, &doc, err);

	if (rc)
		return rc;
	rc = fn(arg, &job, kind, doc, &result, err);
	if (result) {
		struct err unsent = ERR_INIT;
		int sent = send_json(&job, RECORD_RESULT, result, &unsent);

		if (!rc && sent) {
			*err = unsent;
			rc = sent;
		}
	}
	pthread_mutex_destroy(&job.one);
	return rc;
}

int serve_job(struct request *r, struct err *err)
{
	struct wire *w = r->w;

	pthread_mutex_lock(&w->m);
	wire_job_fn fn = w->job;
	void *arg = w->job_arg;
	bool busy = w->job_runs;

	w->job_runs = true;
	pthread_mutex_unlock(&w->m);
	if (busy)
		return err_set(err, ERR_BUSY, "another job is under way on this connection");
	int rc = fn ? run_job(r, fn, arg, err) : err_set(err, ERR_UNSUPPORTED, "there are no jobs here");

	pthread_mutex_lock(&w->m);
	w->job_runs = false;
	pthread_mutex_unlock(&w->m);
	return rc;
}

/* --- having it done --- */

struct hearing {
	const struct wire_job_events *ev;
	struct buf text; /* of records; the first one may be cut off */
	json_t *result;
};

static void hearing_release(struct hearing *h)
{
	buf_release(&h->text);
	json_decref(h->result);
}

static void hear_log(const struct hearing *h, const unsigned char *p, size_t n)
{
	char raw[LINE_MAX_BYTES + 1], line[LINE_MAX_BYTES + 1];

	if (!h->ev || !h->ev->log || n < 1 || n > sizeof raw || p[0] < '0' || p[0] > '0' + LOG_DEBUG ||
	        memchr(p, 0, n))
		return;
	memcpy(raw, p + 1, n - 1);
	raw[n - 1] = '\0';
	h->ev->log(h->ev->arg, (enum log_level)(p[0] - '0'), log_safe(line, sizeof line, raw));
}

static int hear_record(struct hearing *h, unsigned kind, const unsigned char *p, size_t n, struct err *err)
{
	CLEAN(json_release) json_t *doc = NULL;

	if (kind == RECORD_LOG)
		hear_log(h, p, n);
	if (kind != RECORD_PROGRESS && kind != RECORD_RESULT)
		return 0; /* a later version may tell more */
	int rc = json_parse(p, n, WIRE_JSON_MAX, "a document of the other end", &doc, err);

	if (rc)
		return rc;
	if (kind == RECORD_RESULT) {
		json_decref(h->result);
		h->result = TAKE(doc);
	} else if (h->ev && h->ev->progress) {
		h->ev->progress(h->ev->arg, doc);
	}
	return 0;
}

/* Take the whole records off the front. */
static int hear(struct hearing *h, struct err *err)
{
	struct rd r = rd_init(h->text.p, h->text.len);
	int rc = 0;

	while (!rc && r.left >= RECORD_HEAD) {
		size_t n = get_u32(r.p + 1);

		if (n > WIRE_JSON_MAX)
			return err_set(err, ERR_FORMAT, "a record of %zu bytes", n);
		if (r.left < RECORD_HEAD + n)
			break;
		rc = hear_record(h, r.p[0], r.p + RECORD_HEAD, n, err);
		(void)rd_bytes(&r, RECORD_HEAD + n);
	}
	if (r.left < h->text.len) {
		memmove(h->text.p, h->text.p + (h->text.len - r.left), r.left);
		h->text.len = r.left;
	}
	return rc;
}

/* As call_part, but hands the caller's cancellation on, and then waits for a while only. */
static int next_part(struct call *c, const atomic_bool *cancel, int64_t *since, struct block **ret, struct err *err)
{
	struct wire *w = c->w;
	int rc = 0;

	*ret = NULL;
	for (;;) {
		pthread_mutex_lock(&w->m);
		bool over = (*ret = stream_pop(&c->in)) || c->done;

		if (!over && w->why.code) {
			if (err)
				*err = w->why;
			rc = -(int)w->why.code;
		} else if (!over) {
			wire_wait(w, &c->changed);
		}
		pthread_mutex_unlock(&w->m);
		if (over || rc)
			return rc;
		if (!*since && cancel && atomic_load(cancel)) {
			*since = clock_boot_ns();
			call_cancel(c);
		}
		if (*since && clock_boot_ns() - *since > LAST_WORD_NS)
			return err_set(err, ERR_CANCELLED, "%s: stopped, and it does not answer", w->name);
	}
}

static int follow(struct call *c, struct hearing *h, const atomic_bool *cancel, struct err *err)
{
	int64_t since = 0;
	int rc = 0;

	while (!rc) {
		struct block *b;

		rc = next_part(c, cancel, &since, &b, err);
		if (rc || !b)
			break;
		size_t n = b->n;

		rc = buf_put(&h->text, b->p, n, err);
		free(b);
		if (!rc)
			rc = hear(h, err);
		if (!rc)
			rc = call_consumed(c, n, err);
	}
	return rc ? rc : call_end(c, NULL, err);
}

int wire_job_run(struct wire *w, const char *kind, const json_t *doc, const struct wire_job_events *ev,
        const atomic_bool *cancel, json_t **ret, struct err *err)
{
	CLEAN(free_ptr) char *text = json_dumps(doc, JSON_COMPACT | JSON_ENCODE_ANY);
	CLEAN(buf_release) struct buf args = BUF_INIT(KIND_MAX + 2);
	CLEAN(hearing_release) struct hearing h = {.ev = ev};
	CLEAN(call_free) struct call *c = NULL;
	struct ask a = {.service = WIRE_JOB, .op = 1};

	*ret = NULL;
	buf_init(&h.text, WIRE_JSON_MAX + RECORD_HEAD + WIRE_FRAME_MAX);
	if (!text || strlen(text) > WIRE_JSON_MAX)
		return err_set(err, ERR_NOMEM, "a document is too large for the connection");
	enc_text(&args, kind, KIND_MAX);
	a.args = args.p;
	a.n_args = args.len;
	a.body = strlen(text);
	int rc = call_begin(w, &a, &c, err);

	if (rc)
		return rc;
	c->patient = true;
	rc = call_body(c, text, strlen(text), err);
	if (!rc)
		rc = follow(c, &h, cancel, err);
	*ret = TAKE(h.result);
	return rc;
}
