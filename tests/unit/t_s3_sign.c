/*
 * Signature Version 4 against what AWS published: the aws-sig-v4-test-suite (those of its cases in which S3's rule for
 * paths and the general one agree), and the examples of the S3 reference, "Signature Calculations for the Authorization
 * Header".
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "s3/s3_http.h"
#include "s3/s3_sign.h"
#include "suite.h"

struct vector {
	const char *name, *method, *path;
	struct s3_pair query[4], header[6]; /* up to the first without a name */
	const char *body, *signature;
};

static const struct vector suite_vectors[] = {
        {"get-vanilla", "GET", "/", .signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        {"get-vanilla-empty-query-key", "GET", "/", .query = {{"Param1", "value1"}},
                .signature = "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
        {"get-vanilla-query-order-key", "GET", "/", .query = {{"Param1", "value2"}, {"Param1", "Value1"}},
                .signature = "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1"},
        {"get-vanilla-query-order-key-case", "GET", "/", .query = {{"Param2", "value2"}, {"Param1", "value1"}},
                .signature = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
        {"get-vanilla-query-order-value", "GET", "/", .query = {{"Param1", "value2"}, {"Param1", "value1"}},
                .signature = "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"},
        {"get-vanilla-query-unreserved", "GET", "/",
                .query = {{"-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
                        "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"}},
                .signature = "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
        {"get-vanilla-utf8-query", "GET", "/", .query = {{"\xe1\x88\xb4", "bar"}},
                .signature = "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
        {"get-unreserved", "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
                .signature = "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
        {"get-utf8", "GET", "/\xe1\x88\xb4",
                .signature = "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
        {"get-header-key-duplicate", "GET", "/",
                .header = {{"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}},
                .signature = "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
        {"get-header-value-order", "GET", "/",
                .header = {{"My-Header1", "value4"}, {"My-Header1", "value1"}, {"My-Header1", "value3"},
                        {"My-Header1", "value2"}},
                .signature = "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
        {"get-header-value-trim", "GET", "/", .header = {{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}},
                .signature = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
        {"post-vanilla", "POST", "/", .signature = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
        {"post-header-key-sort", "POST", "/", .header = {{"My-Header1", "value1"}},
                .signature = "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
        {"post-vanilla-query", "POST", "/", .query = {{"Param1", "value1"}},
                .signature = "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
        {"post-x-www-form-urlencoded", "POST", "/", .header = {{"Content-Type", "application/x-www-form-urlencoded"}},
                .body = "Param1=value1",
                .signature = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
        {"post-x-www-form-urlencoded-parameters", "POST", "/",
                .header = {{"Content-Type", "application/x-www-form-urlencoded; charset=utf8"}},
                .body = "Param1=value1",
                .signature = "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"},
};

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define WELCOME "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"

static const struct vector s3_vectors[] = {
        {"GET Object", "GET", "/test.txt", .header = {{"Range", "bytes=0-9"}, {"x-amz-content-sha256", EMPTY}},
                .signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
        {"PUT Object", "PUT", "/test$file.text",
                .header = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
                        {"x-amz-content-sha256", WELCOME}},
                .body = "Welcome to Amazon S3.",
                .signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
        {"GET Bucket Lifecycle", "GET", "/", .query = {{"lifecycle", ""}}, .header = {{"x-amz-content-sha256", EMPTY}},
                .signature = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
        {"GET Bucket (List Objects)", "GET", "/", .query = {{"max-keys", "2"}, {"prefix", "J"}},
                .header = {{"x-amz-content-sha256", EMPTY}},
                .signature = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};

/* --- */

static size_t pairs(const struct s3_pair *p, size_t cap)
{
	size_t n = 0;

	while (n < cap && p[n].name)
		n++;
	return n;
}

static void fill(
        struct s3_signable *s, const struct vector *v, const char *host, const char *stamp, struct s3_pair header[8])
{
	unsigned char digest[SHA256_LEN];
	const char *body = v->body ? v->body : "";

	*s = (struct s3_signable){.method = v->method, .path = v->path, .query = v->query, .header = header};
	s->n_query = pairs(v->query, ARRAY_LEN(v->query));
	s->n_header = pairs(v->header, ARRAY_LEN(v->header));
	memcpy(header, v->header, s->n_header * sizeof *header);
	header[s->n_header++] = (struct s3_pair){"Host", host};
	header[s->n_header++] = (struct s3_pair){"X-Amz-Date", stamp};
	sha256_of(body, strlen(body), digest);
	(void)hex_encode(s->payload, digest, sizeof digest);
	str_copy(s->stamp, sizeof s->stamp, stamp);
}

static void expect_signature(
        const struct s3_credentials *k, const struct vector *v, const char *host, const char *stamp)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(8192);
	struct s3_pair header[8];
	struct s3_signable s;

	fill(&s, v, host, stamp, header);
	s3_sign(k, &s, &b);
	const char *at = strstr(buf_str(&b), ", Signature=");

	ck_assert_ptr_nonnull(at);
	ck_assert_msg(!strcmp(at + strlen(", Signature="), v->signature), "%s: %s", v->name, buf_str(&b));
}

START_TEST(the_published_test_suite_is_signed_as_published)
{
	CLEAN(secret_release) struct secret secret = {0};
	const struct s3_credentials k = {"AKIDEXAMPLE", &secret, "us-east-1", "service"};

	secret_set(&secret, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", 40);
	expect_signature(&k, &suite_vectors[_i], "example.amazonaws.com", "20150830T123600Z");
}
END_TEST

START_TEST(the_examples_of_the_s3_reference_are_signed_as_published)
{
	CLEAN(secret_release) struct secret secret = {0};
	const struct s3_credentials k = {"AKIAIOSFODNN7EXAMPLE", &secret, "us-east-1", "s3"};

	secret_set(&secret, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", 40);
	expect_signature(&k, &s3_vectors[_i], "examplebucket.s3.amazonaws.com", "20130524T000000Z");
}
END_TEST

START_TEST(the_header_names_credential_scope_and_signed_headers)
{
	CLEAN(secret_release) struct secret secret = {0};
	CLEAN(buf_release) struct buf b = BUF_INIT(8192);
	const struct s3_credentials k = {"AKIAIOSFODNN7EXAMPLE", &secret, "us-east-1", "s3"};
	struct s3_pair header[8];
	struct s3_signable s;

	secret_set(&secret, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", 40);
	fill(&s, &s3_vectors[0], "examplebucket.s3.amazonaws.com", "20130524T000000Z", header);
	s3_sign(&k, &s, &b);
	ck_assert_str_eq(buf_str(&b),
	        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
	        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
	        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}
END_TEST

START_TEST(a_session_token_is_signed_as_any_header)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(8192);
	const struct s3_pair header[] = {{"x-amz-security-token", "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22"},
	        {"host", "example.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"}};
	struct s3_signable s = {
	        .method = "POST", .path = "/", .header = header, .n_header = ARRAY_LEN(header), .payload = EMPTY};

	s3_canonical(&s, &b);
	ck_assert_str_eq(buf_str(&b), "POST\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n"
	                              "x-amz-security-token:AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22\n\n"
	                              "host;x-amz-date;x-amz-security-token\n" EMPTY);
}
END_TEST

START_TEST(paths_are_encoded_once_and_not_normalised)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(8192);
	struct s3_signable s = {.method = "GET", .path = "/a b//c/../d+e=f*g", .payload = EMPTY};

	s3_canonical(&s, &b);
	ck_assert_str_eq(buf_str(&b), "GET\n/a%20b//c/../d%2Be%3Df%2Ag\n\n\n\n" EMPTY);
}
END_TEST

START_TEST(queries_are_sorted_as_encoded)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(8192);
	/* '/' sorts before 'a', but "%2F" is what is compared; a name that begins another one comes first */
	const struct s3_pair query[] = {
	        {"prefix", "p/a b"}, {"key", "~"}, {"key", "}"}, {"key-marker", ""}, {"a/", "1"}, {"a", "2"}};

	s3_query(&b, query, ARRAY_LEN(query));
	ck_assert_str_eq(buf_str(&b), "a=2&a%2F=1&key=%7D&key=~&key-marker=&prefix=p%2Fa%20b");
}
END_TEST

START_TEST(a_stamp_is_the_compact_time_in_utc)
{
	char stamp[17];

	s3_stamp(INT64_C(1369353600) * 1000000000 + 999999999, stamp);
	ck_assert_str_eq(stamp, "20130524T000000Z");
}
END_TEST

/* --- where a bucket is --- */

static void expect_place(const char *endpoint, const char *region, const char *bucket, const char *url)
{
	struct s3_place p;
	struct err err = ERR_INIT;
	char got[512];

	ck_assert_msg(!s3_place_init(&p, endpoint, region, bucket, &err), "%s", err.msg);
	CLEAN(free_ptr) char *path = s3_place_path(&p, "a/b");
	CLEAN(free_ptr) char *top = s3_place_path(&p, NULL);

	(void)snprintf(got, sizeof got, "%s://%s%s %s", p.scheme, p.host, path, top);
	ck_assert_str_eq(got, url);
	s3_place_release(&p);
}

START_TEST(the_bucket_stands_in_the_host_at_aws_and_in_the_path_elsewhere)
{
	expect_place(NULL, "eu-central-1", "north", "https://north.s3.eu-central-1.amazonaws.com/a/b /");
	expect_place(NULL, "cn-north-1", "north", "https://north.s3.cn-north-1.amazonaws.com.cn/a/b /");
	expect_place(NULL, "us-east-1", "with.dots", "https://s3.us-east-1.amazonaws.com/with.dots/a/b /with.dots");
	expect_place("https://s3.example.org", "x", "north", "https://s3.example.org/north/a/b /north");
	expect_place("https://s3.example.org:443/", "x", "north", "https://s3.example.org/north/a/b /north");
	expect_place("https://s3.example.org:8443", "x", "north", "https://s3.example.org:8443/north/a/b /north");
	expect_place("https://north.s3.example.org:8443", "x", "north", "https://north.s3.example.org:8443/a/b /");
	expect_place(
	        "https://northern.s3.example.org", "x", "north", "https://northern.s3.example.org/north/a/b /north");
	expect_place("http://127.0.0.1:80", "x", "north", "http://127.0.0.1/north/a/b /north");
	expect_place("http://127.9.9.9:443", "x", "north", "http://127.9.9.9:443/north/a/b /north");
	expect_place("http://[::1]:7480", "x", "north", "http://[::1]:7480/north/a/b /north");
	expect_place("http://north.localhost:7480", "x", "north", "http://north.localhost:7480/a/b /");
}
END_TEST

START_TEST(what_is_no_endpoint_bucket_or_region_is_refused)
{
	static const char *const bad[] = {"http://s3.example.org", "http://128.0.0.1", "http://127.0.0.1.example.org",
	        "http://localhost.example.org", "http://notlocalhost", "http://[::2]", "http://0.0.0.0",
	        "ftp://localhost", "localhost:7480", "https://", "https://host:0", "https://host:65536",
	        "https://host:", "https://host:1x", "https://user@host", "https://host/path", "https://host?x",
	        "https://ho st", "https://host\r\nx", "https://:80"};
	static const char *const buckets[] = {"ab", "a/b", "", "-ab", ".abc", "a..b", "a b c", "abc\n",
	        "0123456789012345678901234567890123456789012345678901234567890123"};
	struct s3_place p;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(s3_place_init(&p, bad[i], "r", "north", &err) == -ERR_USAGE, "%s", bad[i]);
	for (size_t i = 0; i < ARRAY_LEN(buckets); i++)
		ck_assert_msg(s3_place_init(&p, NULL, "r", buckets[i], &err) == -ERR_USAGE, "%s", buckets[i]);
	ck_assert_int_eq(s3_place_init(&p, NULL, "eu/evil.example.org", "north", &err), -ERR_USAGE);
	ck_assert_int_eq(s3_place_init(&p, NULL, "", "north", &err), -ERR_USAGE);
}
END_TEST

START_TEST(only_aws_is_taken_for_aws)
{
	static const struct {
		const char *endpoint;
		bool aws;
	} cases[] = {{NULL, true}, {"https://s3.eu-west-1.amazonaws.com", true}, {"https://s3.example.org", false},
	        {"https://amazonaws.com.example.org", false}, {"https://notamazonaws.com", false}};
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct s3_place p;

		ck_assert_int_eq(s3_place_init(&p, cases[i].endpoint, "eu-west-1", "north", &err), 0);
		ck_assert_int_eq(p.aws, cases[i].aws);
		s3_place_release(&p);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("s3_sign");
	TCase *tc = tcase_create("s3_sign");

	crypto_init();
	suite_add_tcase(s, tc);
	tcase_add_loop_test(tc, the_published_test_suite_is_signed_as_published, 0, (int)ARRAY_LEN(suite_vectors));
	tcase_add_loop_test(
	        tc, the_examples_of_the_s3_reference_are_signed_as_published, 0, (int)ARRAY_LEN(s3_vectors));
	tcase_add_test(tc, the_header_names_credential_scope_and_signed_headers);
	tcase_add_test(tc, a_session_token_is_signed_as_any_header);
	tcase_add_test(tc, paths_are_encoded_once_and_not_normalised);
	tcase_add_test(tc, queries_are_sorted_as_encoded);
	tcase_add_test(tc, a_stamp_is_the_compact_time_in_utc);
	tcase_add_test(tc, the_bucket_stands_in_the_host_at_aws_and_in_the_path_elsewhere);
	tcase_add_test(tc, what_is_no_endpoint_bucket_or_region_is_refused);
	tcase_add_test(tc, only_aws_is_taken_for_aws);

	return suite_main(s);
}
