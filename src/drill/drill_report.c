/* Lines from the recovery process to the controller. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "drill/drill.h"

#define LINE_MAX_BYTES (256u << 10)
#define LINES_MAX 100000
#define TEXT_MAX_BYTES 2048
#define POLL_MS 100
#define STOP_NS (20 * INT64_C(1000000000)) /* to end a command takes a few seconds */

void report_send(int fd, json_t *o)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(LINE_MAX_BYTES);
	CLEAN(json_release) json_t *own = o;
	struct err err = ERR_INIT;
	if (json_canonical(own, &b, &err) || buf_u8(&b, '\n', &err)) {
		log_msg(LOG_ERROR, "a line of the drill's report: %s", err.msg);
		return;
	}
	(void)fs_write_full(fd, b.p, b.len);
}

json_t *report_text(const char *s)
{
	char safe[TEXT_MAX_BYTES];
	if (!s || !*s)
		return json_null();
	json_t *o = json_string(log_safe(safe, sizeof safe, s));
	return o ? o : json_null();
}

void report_now(json_t *o, const char *key)
{
	char boot[64];
	snprintf(boot, sizeof boot, "%s_boot", key);
	json_object_set_new(o, key, json_integer(clock_wall_ns() / 1000));
	json_object_set_new(o, boot, json_integer(clock_boot_ns() / 1000));
}

void report_error(int fd, const struct err *err)
{
	json_t *o = json_pack("{s:s, s:i}", "t", "error", "code", (int)err->code);
	json_object_set_new(o, "text", report_text(err->msg));
	json_object_set_new(o, "hint", report_text(err->hint));
	report_send(fd, o);
}

void report_isolation(const struct isolated_self *self)
{
	json_t *o = json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:s, s:s}", "t", "isolation", "mount",
	        (self->have & ISOLATE_MOUNT) != 0, "net", (self->have & ISOLATE_NET) != 0, "pid",
	        (self->have & ISOLATE_PID) != 0, "ipc", (self->have & ISOLATE_IPC) != 0, "user", self->user, "proc",
	        self->proc, "how", self->how, "limits", "rlimits");
	json_object_set_new(o, "refused", self->why.code ? report_text(self->why.msg) : json_null());
	report_send(self->report, o);
}

/* --- the controller's end --- */

struct listener {
	struct buf b;
	size_t lines;
	report_fn fn;
	void *arg;
};

static int one_line(struct listener *l, const unsigned char *p, size_t n, struct err *err)
{
	CLEAN(json_release) json_t *o = NULL;
	if (++l->lines > LINES_MAX)
		return err_set(err, ERR_NOMEM, "the recovery process tells more than %d lines", LINES_MAX);
	int rc = json_parse(p, n, LINE_MAX_BYTES, "report of the recovery process", &o, err);
	return rc ? rc : l->fn(l->arg, o, err);
}

static int split_lines(struct listener *l, struct err *err)
{
	size_t start = 0;
	int rc = 0;
	while (!rc) {
		const unsigned char *at = l->b.p + start, *end = memchr(at, '\n', l->b.len - start);
		if (!end)
			break;
		rc = one_line(l, at, (size_t)(end - at), err);
		start += (size_t)(end - at) + 1;
	}
	memmove(l->b.p, l->b.p + start, l->b.len - start);
	l->b.len -= start;
	return rc;
}

int report_listen(struct isolated *p, atomic_bool *cancel, report_fn fn, void *arg, struct err *err)
{
	struct listener l = {.b = BUF_INIT(LINE_MAX_BYTES + 65536), .fn = fn, .arg = arg};
	int64_t asked = 0;
	int rc = 0;
	while (!rc) {
		unsigned char chunk[65536];
		struct pollfd f = {.fd = p->report, .events = POLLIN};
		if (!asked && cancel && atomic_load(cancel)) {
			asked = clock_boot_ns();
			isolated_cancel(p);
		}
		if (asked && clock_boot_ns() - asked > STOP_NS) {
			rc = err_set(err, ERR_CANCELLED, "the recovery process did not stop when asked");
			break;
		}
		if (poll(&f, 1, POLL_MS) <= 0)
			continue;
		ssize_t n = read(p->report, chunk, sizeof chunk);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = err_sys(err, ERR_IO, "read from the recovery process");
		if (n <= 0)
			break;
		rc = buf_put(&l.b, chunk, (size_t)n, err);
		if (!rc)
			rc = split_lines(&l, err);
	}
	buf_release(&l.b);
	return rc;
}
