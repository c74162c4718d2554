#include "cli/progress.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define INTERVAL_NS 100000000
#define BAR_MIN 10
#define BAR_MAX 40

void progress_init(struct progress *p, const char *mode, bool dumb, const struct term *term, FILE *out)
{
	*p = (struct progress){.mode = PROGRESS_NONE, .term = term, .out = out};
	if (str_eq(mode, "json"))
		p->mode = PROGRESS_JSON;
	else if (str_eq(mode, "bar") || (str_eq(mode, "auto") && term->tty && !dumb))
		p->mode = PROGRESS_BAR;
}

static void rate_text(char *out, size_t n, const struct job_progress *now, int64_t elapsed_ns)
{
	char human[32];

	out[0] = 0;
	if (elapsed_ns < INTERVAL_NS || !now->bytes)
		return;
	double rate = (double)now->bytes * 1e9 / (double)elapsed_ns;
	int len = snprintf(out, n, "  %s/s", str_human_size(human, (uint64_t)rate));
	if (now->bytes_total <= now->bytes || rate < 1)
		return;
	double left_s = (double)(now->bytes_total - now->bytes) / rate;
	if (left_s < 1e6)
		snprintf(out + len, n - (size_t)len, "  ETA %s", str_human_duration(human, (int64_t)left_s * 1000));
}

static void amount_text(char *out, size_t n, const struct job_progress *now)
{
	char done[32], total[32];

	str_human_size(done, now->bytes);
	str_human_size(total, now->bytes_total);
	if (now->bytes_total)
		snprintf(out, n, "%s of %s", done, total);
	else
		snprintf(out, n, "%llu items, %s", (unsigned long long)now->files, done);
}

static void bar_text(char *out, unsigned columns, unsigned percent, bool utf8)
{
	unsigned full = columns * percent / 100;

	*out++ = '[';
	for (unsigned i = 0; i < columns; i++) {
		const char *cell = i < full ? (utf8 ? "\u2588" : "#") : (utf8 ? "\u2591" : ".");
		size_t n = strlen(cell);
		memcpy(out, cell, n);
		out += n;
	}
	memcpy(out, "] ", 3);
}

static unsigned percent_of(uint64_t part, uint64_t whole)
{
	return (unsigned)(100.0 * (double)MIN(part, whole) / (double)whole);
}

/* Cut at a number of columns, between characters. */
static void cut_columns(char *s, size_t columns)
{
	for (; *s; s++)
		if (((unsigned char)*s & 0xc0) != 0x80 && columns-- == 0) {
			*s = 0;
			return;
		}
}

void progress_line(char *out, size_t n, const struct job_progress *now, int64_t elapsed_ns, bool utf8, unsigned width)
{
	char subject[96], amount[96], rate[96], bar[3 * BAR_MAX + 8] = "", percent[16] = "";

	log_safe(subject, sizeof subject, now->subject ? now->subject : "");
	amount_text(amount, sizeof amount, now);
	rate_text(rate, sizeof rate, now, elapsed_ns);
	bool known = now->bytes_total || now->files_total;
	size_t fixed = strlen(now->phase) + 1 + term_columns(subject) + 2 + strlen(amount) + strlen(rate) + 1;
	if (known) {
		unsigned part = now->bytes_total ? percent_of(now->bytes, now->bytes_total)
		                                 : percent_of(now->files, now->files_total);
		snprintf(percent, sizeof percent, "%3u%%  ", part);
		fixed += strlen(percent);
		if (fixed + BAR_MIN + 3 < width)
			bar_text(bar, (unsigned)MIN(width - fixed - 3, (size_t)BAR_MAX), part, utf8);
	}
	snprintf(out, n, "%s %s  %s%s%s%s", now->phase, subject, bar, percent, amount, rate);
	cut_columns(out, width - 1);
}

static void show_json(struct progress *p, const struct job_progress *now, int64_t elapsed_ns)
{
	CLEAN(json_release)
	json_t *j = json_pack("{s:s, s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:I}", "type", "progress", "phase", now->phase,
	        "subject", now->subject, "files", (json_int_t)now->files, "files_total", (json_int_t)now->files_total,
	        "bytes", (json_int_t)now->bytes, "bytes_total", (json_int_t)now->bytes_total, "bytes_new",
	        (json_int_t)now->bytes_new, "elapsed_ms", (json_int_t)(elapsed_ns / 1000000));

	if (!j) /* a subject that is not UTF-8 */
		return;
	json_dumpf(j, p->out, JSON_COMPACT);
	fputc('\n', p->out);
	fflush(p->out);
}

void progress_show(struct progress *p, const struct job_progress *now)
{
	char key[sizeof p->phase];
	int64_t ns = clock_boot_ns();

	if (p->mode == PROGRESS_NONE)
		return;
	snprintf(key, sizeof key, "%s %s", now->phase, now->subject ? now->subject : "");
	if (strcmp(key, p->phase) != 0) {
		memcpy(p->phase, key, sizeof key);
		p->start_ns = ns;
	} else if (ns - p->drawn_ns < INTERVAL_NS) {
		return;
	}
	p->drawn_ns = ns;
	if (p->mode == PROGRESS_JSON) {
		show_json(p, now, ns - p->start_ns);
		return;
	}
	char line[1024];
	progress_line(line, sizeof line, now, ns - p->start_ns, p->term->utf8, term_width(p->term));
	fprintf(p->out, "\r%s\033[K", line);
	fflush(p->out);
	log_over_bar(true);
	p->on_line = true;
}

void progress_clear(struct progress *p)
{
	if (!p->on_line)
		return;
	fputs("\r\033[K", p->out);
	fflush(p->out);
	log_over_bar(false);
	p->on_line = false;
}
