#include "job/hooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "job/secret_ref.h"

#define TAIL_SHOWN 150

int hook_env_init(struct hook_env *e, const struct plan_pairs *pairs, const char *const *more, struct err *err)
{
	size_t n_more = 0;
	while (more && more[n_more])
		n_more++;
	*e = (struct hook_env){.v = xcalloc(pairs->n + n_more + 1, sizeof *e->v)};
	for (size_t i = 0; i < pairs->n; i++) {
		CLEAN(secret_release) struct secret value = {0};
		const char *text = pairs->v[i].value;
		if (plan_is_secret_ref(text)) {
			int rc = secret_ref_read(text, &value, err);
			if (rc) {
				hook_env_release(e);
				return rc;
			}
			text = secret_text(&value);
		}
		size_t n = strlen(pairs->v[i].name) + strlen(text) + 2;
		char *one = xmalloc(n);
		snprintf(one, n, "%s=%s", pairs->v[i].name, text);
		e->v[e->n++] = one;
	}
	for (size_t i = 0; i < n_more; i++)
		e->v[e->n++] = xstrdup(more[i]);
	return 0;
}

void hook_env_release(struct hook_env *e)
{
	for (size_t i = 0; i < e->n; i++) {
		mem_cleanse((char *)e->v[i], strlen(e->v[i]));
		free((char *)e->v[i]);
	}
	free(e->v);
	*e = (struct hook_env){0};
}

/* The end of what was said on standard error, from the beginning of a line where it is cut, in one line. */
static void last_words(struct buf *said, char text[TAIL_SHOWN + 1])
{
	const char *s = buf_str(said), *nl;
	size_t n = strlen(s);
	while (n && s[n - 1] == '\n')
		n--;
	if (n > TAIL_SHOWN) {
		s += n - TAIL_SHOWN;
		n = TAIL_SHOWN;
		nl = memchr(s, '\n', n);
		if (nl) {
			n -= (size_t)(nl + 1 - s);
			s = nl + 1;
		}
	}
	memcpy(text, s, n);
	text[n] = 0;
	for (char *at = text; (at = strchr(at, '\n'));)
		*at = ' ';
}

int hook_run(const struct hook *h, struct proc_result *ret, struct err *err)
{
	static const struct plan_pairs none;
	struct hook_env env;
	struct proc_result own;
	struct proc_result *r = ret ? ret : &own;
	int rc = hook_env_init(&env, h->env ? h->env : &none, h->more_env, err);
	if (rc)
		return rc;
	if (!ret)
		proc_result_init(&own, 4096);
	struct proc_opts o = {.env = env.v, .cwd = h->cwd, .stdin_fd = -1, .timeout_ms = h->timeout_ms, .cancel = h->cancel, .in_child = h->in_child, .arg = h->arg};
	rc = proc_run(h->argv, &o, r, err);
	hook_env_release(&env);
	if (!rc && r->timed_out)
		rc = err_set(err, ERR_FAILED, "%s did not end within %lld ms", h->argv[0], (long long)h->timeout_ms);
	if (!rc && r->status) {
		char tail[200], text[TAIL_SHOWN + 1];
		last_words(r->err.len ? &r->err : &r->out, text); /* many scripts complain on standard output */
		rc = err_set(err, ERR_FAILED, "%s ended with status %d%s%s", h->argv[0], r->status, *text ? ": " : "", log_safe(tail, sizeof tail, text));
	}
	if (!ret)
		proc_result_release(&own);
	return rc;
}
