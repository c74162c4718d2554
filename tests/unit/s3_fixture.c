#include "s3_fixture.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "place/place.h"
#include "s3/s3_http.h"
#include "store_conformance.h"

bool s3_here(void)
{
	if (getenv("HOLDFAST_S3_ENDPOINT"))
		return true;
	printf("SKIP: needs an S3 gateway: tests/with-servers COMMAND\n");
	return false;
}

const char *s3_env(const char *name)
{
	char full[64];

	(void)snprintf(full, sizeof full, "HOLDFAST_S3_%s", name);
	const char *value = getenv(full);

	if (!value)
		BUG("%s is not set", full);
	return value;
}

const char *s3_bucket(void)
{
	static char bucket[32];
	unsigned char digest[SHA256_LEN];
	char hex[17];

	sha256_of(conformance_place(), strlen(conformance_place()), digest);
	(void)hex_encode(hex, digest, 8);
	(void)snprintf(bucket, sizeof bucket, "hf-%s", hex);
	return bucket;
}

struct store_config s3_config(void)
{
	return (struct store_config){.name = "south",
	        .create = true,
	        .access_key = s3_env("KEY"),
	        .secret_key = s3_env("SECRET"),
	        .region = "default",
	        .endpoint = s3_env("ENDPOINT")};
}

struct store *s3_at(const char *prefix, const struct store_config *c)
{
	struct err err = ERR_INIT;
	struct store *s;
	char url[256];

	(void)snprintf(url, sizeof url, "s3://%s/%s", s3_bucket(), prefix);
	must(place_open(url, c, &s, &err), &err);
	return s;
}

void s3_plain_bucket(void)
{
	struct s3_http_config h = {.access_key = s3_env("KEY"), .secret_key = s3_env("SECRET"), .region = "default"};
	CLEAN(s3_answer_release) struct s3_answer a = S3_ANSWER_INIT;
	struct s3_request r = {.method = "PUT"};
	struct err err = ERR_INIT;

	must(s3_place_init(&h.place, s3_env("ENDPOINT"), "default", s3_bucket(), &err), &err);
	struct s3_http *http = s3_http_new(&h);

	must(s3_exchange(http, &r, &a, &err), &err);
	ck_assert_int_eq(a.status, 200);
	s3_http_free(http);
}

/* --- the liar --- */

void s3_liar_start(struct s3_liar *l)
{
	int in[2], out[2];
	size_t n = 0;

	/* Its standard input stays open as long as this process lives; nobody else holds that end. */
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		BUG("no pipes");
	pid_t pid = fork();

	if (pid < 0)
		BUG("cannot fork");
	if (pid == 0) {
		if (dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0)
			_exit(126);
		(void)execl("tests/lib/s3-liar.py", "s3-liar.py", s3_env("ENDPOINT"), (char *)NULL);
		_exit(127);
	}
	(void)close(in[0]);
	(void)close(out[1]);
	while (n + 1 < sizeof l->url && read(out[0], l->url + n, 1) == 1 && l->url[n] != '\n')
		n++;
	l->url[n] = '\0';
	if (!n)
		BUG("tests/lib/s3-liar.py does not start");
}

static size_t keep_body(char *p, size_t size, size_t n, void *arg)
{
	buf_add(arg, p, size * n);
	return size * n;
}

/* POST of text, or GET when it is NULL; the answer goes to out. */
static void ask_liar(const struct s3_liar *l, const char *text, struct buf *out)
{
	CURL *c = curl_easy_init();
	char url[128];

	(void)snprintf(url, sizeof url, "%s/-/rules", l->url);
	(void)curl_easy_setopt(c, CURLOPT_URL, url);
	(void)curl_easy_setopt(c, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
	(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep_body);
	(void)curl_easy_setopt(c, CURLOPT_WRITEDATA, out);
	if (text)
		(void)curl_easy_setopt(c, CURLOPT_POSTFIELDS, text);
	CURLcode code = curl_easy_perform(c);

	curl_easy_cleanup(c);
	ck_assert_msg(code == CURLE_OK, "the liar does not take %s", text ? text : "a question");
}

void s3_liar_rules(const struct s3_liar *l, const char *rules)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64u << 10);

	ask_liar(l, rules, &b);
}

int s3_liar_count(const struct s3_liar *l, const char *method)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(64u << 10);

	ask_liar(l, NULL, &b);
	json_t *counts = json_loadb((const char *)b.p, b.len, 0, NULL);

	ck_assert_ptr_nonnull(counts);
	json_t *n = *method ? json_object_get(json_object_get(counts, "methods"), method)
	                    : json_object_get(counts, "requests");
	int value = (int)json_integer_value(n);

	json_decref(counts);
	return value;
}
