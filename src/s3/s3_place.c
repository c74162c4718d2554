#include "s3/s3_http.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/mem.h"
#include "base/str.h"

void s3_place_release(struct s3_place *p)
{
	free(p->scheme);
	free(p->host);
	free(p->bucket);
	*p = (struct s3_place){0};
}

/* "localhost" and what is below it, 127.0.0.0/8, ::1: bytes that do not leave the machine. */
static bool is_loopback(const char *host, size_t n)
{
	char name[256];
	struct in_addr v4;
	struct in6_addr v6;

	if (n >= sizeof name)
		return false;
	memcpy(name, host, n);
	name[n] = '\0';
	if (!strcasecmp(name, "localhost") || (n > 10 && !strcasecmp(name + n - 10, ".localhost")))
		return true;
	if (inet_pton(AF_INET, name, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24) == 127;
	if (n > 2 && name[0] == '[' && name[n - 1] == ']') {
		name[n - 1] = '\0';
		return inet_pton(AF_INET6, name + 1, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
	}
	return false;
}

static bool host_char(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr(".-_[]:", c);
}

/* The port behind a host, without which it is the scheme's; -1: none was given, -2: what is given is no port. */
static long port_of(const char *host, size_t n, size_t *ret_name)
{
	const char *bracket = n && host[0] == '[' ? memchr(host, ']', n) : NULL;
	const char *from = bracket ? bracket : host;
	const char *colon = memchr(from, ':', n - (size_t)(from - host));
	long port = 0;

	*ret_name = colon ? (size_t)(colon - host) : n;
	if (!colon)
		return -1;
	if (colon + 1 == host + n)
		return -2;
	for (const char *p = colon + 1; p < host + n; p++) {
		if (*p < '0' || *p > '9')
			return -2;
		port = port * 10 + (*p - '0');
		if (port > 65535)
			return -2;
	}
	return port ? port : -2;
}

static int bad_endpoint(const char *endpoint, struct err *err)
{
	return err_set(err, ERR_USAGE, "an S3 endpoint is written https://host[:port], got '%.100s'", endpoint);
}

static int from_endpoint(struct s3_place *p, const char *endpoint, struct err *err)
{
	bool tls = str_starts(endpoint, "https://");
	size_t skip = tls ? 8 : str_starts(endpoint, "http://") ? 7 : 0, name;
	const char *host = endpoint + skip;
	size_t n = strcspn(host, "/");

	if (!skip || !n || (host[n] && host[n + 1]))
		return bad_endpoint(endpoint, err);
	for (size_t i = 0; i < n; i++)
		if (!host[i] || !host_char((unsigned char)host[i]))
			return bad_endpoint(endpoint, err);
	long port = port_of(host, n, &name);

	if (port == -2 || !name)
		return bad_endpoint(endpoint, err);
	p->loopback = is_loopback(host, name);
	if (!tls && !p->loopback)
		return err_set(
		        err, ERR_USAGE, "the S3 endpoint %.100s is not encrypted: only loopback may be", endpoint);
	p->scheme = xstrdup(tls ? "https" : "http");
	p->host = xstrndup(host, port == (tls ? 443 : 80) ? name : n);
	size_t bucket = strlen(p->bucket);

	p->virtual_host = name > bucket && !memcmp(host, p->bucket, bucket) && host[bucket] == '.';
	p->aws = name > 14 && !memcmp(host + name - 14, ".amazonaws.com", 14);
	return 0;
}

static void from_region(struct s3_place *p, const char *region)
{
	const char *top = str_starts(region, "cn-") ? "amazonaws.com.cn" : "amazonaws.com";
	char host[512];

	/* A certificate's wildcard stands for one label only. */
	p->virtual_host = !strchr(p->bucket, '.');
	(void)snprintf(host, sizeof host, "%s%ss3.%s.%s", p->virtual_host ? p->bucket : "", p->virtual_host ? "." : "",
	        region, top);
	p->scheme = xstrdup("https");
	p->host = xstrdup(host);
	p->aws = true;
}

static bool bucket_ok(const char *bucket)
{
	size_t n = strlen(bucket);

	if (n < 3 || n > 63 || bucket[0] == '.' || bucket[0] == '-' || strstr(bucket, ".."))
		return false;
	for (const char *c = bucket; *c; c++)
		if (!host_char((unsigned char)*c) || strchr("[]:", *c))
			return false;
	return true;
}

static bool region_ok(const char *region)
{
	size_t n = strlen(region);

	for (const char *c = region; *c; c++)
		if (!host_char((unsigned char)*c) || strchr("[]:", *c))
			return false;
	return n > 0 && n < 64;
}

int s3_place_init(struct s3_place *p, const char *endpoint, const char *region, const char *bucket, struct err *err)
{
	*p = (struct s3_place){0};
	if (!bucket_ok(bucket))
		return err_set(err, ERR_USAGE, "'%.100s' is no name of a bucket: 3 to 63 of a-z 0-9 . -", bucket);
	if (!region_ok(region))
		return err_set(err, ERR_USAGE, "'%.100s' is no S3 region", region);
	p->bucket = xstrdup(bucket);
	if (!endpoint) {
		from_region(p, region);
		return 0;
	}
	int rc = from_endpoint(p, endpoint, err);

	if (rc)
		s3_place_release(p);
	return rc;
}

char *s3_place_path(const struct s3_place *p, const char *key)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(8192);

	buf_addf(&b, "%s%s%s%s", p->virtual_host ? "" : "/", p->virtual_host ? "" : p->bucket,
	        key || p->virtual_host ? "/" : "", key ? key : "");
	return xstrdup(buf_str(&b));
}
