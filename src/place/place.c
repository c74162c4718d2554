#include "place/place.h"

#include <stdlib.h>
#include <string.h>
#include "agent/vault.h"
#include "base/mem.h"
#include "s3/s3_store.h"
#include "sftp/sftp_store.h"

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	                              : -1;
}

/* Undo %XX in place. False for a broken or zero escape. */
static bool percent_decode(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s != '%') {
			*to++ = *s;
			continue;
		}
		int hi = hex_digit(s[1]), lo = hi < 0 ? -1 : hex_digit(s[2]);

		if (lo < 0 || hi + lo == 0)
			return false;
		*to++ = (char)(hi << 4 | lo);
		s += 2;
	}
	*to = '\0';
	return true;
}

static int open_file(const char *rest, const struct store_config *c, struct store **ret, struct err *err)
{
	CLEAN(free_ptr) char *dir = xstrdup(rest);

	if (dir[0] != '/' || !percent_decode(dir))
		return err_set(
		        err, ERR_USAGE, "a file store is written file:///absolute/path, got file://%.200s", rest);
	return store_file_open(dir, c, ret, err);
}

static int open_mem(const char *rest, const struct store_config *c, struct store **ret, struct err *err)
{
	(void)c;
	return store_mem_open(rest, ret, err);
}

/* Escapes belong to the directory: host and user have none. */
static int open_sftp(const char *rest, const struct store_config *c, struct store **ret, struct err *err)
{
	CLEAN(free_ptr) char *own = xstrdup(rest);
	char *dir = strchr(own, '/');

	if (dir && !percent_decode(dir))
		return err_set(err, ERR_USAGE, "'%.200s' holds a broken %%XX", rest);
	return store_sftp_open(own, c, ret, err);
}

static int open_vault(const char *rest, const struct store_config *c, struct store **ret, struct err *err)
{
	CLEAN(buf_release) struct buf url = BUF_INIT(64u << 10);

	buf_addf(&url, "ssh://%s", rest);
	return agent_vault_open(buf_str(&url), c, ret, err);
}

static const struct driver {
	const char *scheme;
	int (*open)(const char *rest, const struct store_config *c, struct store **ret, struct err *err);
} drivers[] = {
        {"file", open_file},
        {"mem", open_mem},
        {"s3", store_s3_open},
        {"sftp", open_sftp},
        {"ssh", open_vault},
};

static const struct driver *driver_of(const char *url)
{
	const char *sep = strstr(url, "://");

	for (size_t i = 0; sep && i < ARRAY_LEN(drivers); i++)
		if (strlen(drivers[i].scheme) == (size_t)(sep - url) &&
		        !memcmp(url, drivers[i].scheme, (size_t)(sep - url)))
			return &drivers[i];
	return NULL;
}

bool place_has_driver(const char *url)
{
	return driver_of(url) != NULL;
}

/* The URL as it may be shown: a password before the host is left out. */
static char *public_url(const char *url, const char *rest)
{
	size_t authority = strcspn(rest, "/?#");
	const char *at = memrchr(rest, '@', authority);
	const char *colon = at ? memchr(rest, ':', (size_t)(at - rest)) : NULL;
	char *out = xstrdup(url);

	if (colon)
		memmove(out + (colon - url), at, strlen(at) + 1);
	return out;
}

int place_open(const char *url, const struct store_config *c, struct store **ret, struct err *err)
{
	const char *sep = strstr(url, "://");

	*ret = NULL;
	if (!sep || sep == url)
		return err_set(err, ERR_USAGE, "a store is written scheme://place, e.g. file:///mnt/site");
	CLEAN(free_ptr) char *shown = public_url(url, sep + 3);
	struct store_config config = c ? *c : (struct store_config){0};

	if (!config.name)
		config.name = shown;
	const struct driver *d = driver_of(url);

	if (!d)
		return err_set(err, ERR_UNSUPPORTED, "site %s: there is no storage driver for '%.*s'", config.name,
		        (int)MIN(sep - url, 32), url);
	int rc = d->open(sep + 3, &config, ret, err);

	if (rc) {
		if (err)
			(void)err_wrap(err, "site %s", config.name);
		return rc;
	}
	free((*ret)->name);
	(*ret)->name = xstrdup(config.name);
	return 0;
}

