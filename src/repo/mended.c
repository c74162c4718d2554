#include "repo/mended.h"

#include "base/clock.h"
#include "base/str.h"
#include "repo/site.h"

char *key_mended(char *out, const char *key)
{
	return key_fmt(out, "b/%s", key);
}

int mended_encode(const char *key, const unsigned char repo[REPO_ID_LEN], const struct secret *log_seed, struct buf *out, struct err *err)
{
	CLEAN(json_release) json_t *o = json_pack("{s:s, s:o}", "key", key, "time", json_time(clock_wall_ns()));
	return signed_make("mended", o, repo, log_seed, out, err);
}

int mended_decode(const struct cfg *c, const char *key, const void *p, size_t n, struct err *err)
{
	CLEAN(json_release) json_t *o = NULL;
	const char *of;
	int rc = log_text_read(c, "mended", p, n, &o, err);
	if (rc || json_get_str(o, "key", "mended", &of, err))
		return rc ? rc : err_rc(err);
	return str_eq(of, key) ? 0 : err_set(err, ERR_CORRUPT, "is about %s", of);
}

int mended_accept(void *arg, const void *p, size_t n, struct err *err)
{
	const struct mended_of *of = arg;
	return mended_decode(of->cfg, of->key, p, n, err);
}
