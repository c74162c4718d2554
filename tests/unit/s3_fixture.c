#include "s3_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "store/s3_http.h"
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

	if (!bucket[0]) {
		sha256_of(conformance_place(), strlen(conformance_place()), digest);
		(void)hex_encode(hex, digest, 8);
		(void)snprintf(bucket, sizeof bucket, "hf-%s", hex);
	}
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
	must(store_open(url, c, &s, &err), &err);
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
