/*
 * The S3 driver's own: the store, and the parts of it that fill a file each.
 *
 * Objects are put by one conditional request (If-None-Match: *), which S3 allows up to 5 GiB. Uploads in parts are made
 * only where the service is known to check the condition when they are completed, which is AWS: others have been seen
 * to overwrite silently, and to ignore the lock that was asked for.
 */
#ifndef S3_S3_INTERNAL_H
#define S3_S3_INTERNAL_H

#include "base/clock.h"
#include "s3/s3_http.h"

#define S3_KEY_MAX 1024
#define S3_MULTIPART_FROM ((uint64_t)64 << 20) /* larger objects go in parts */
#define S3_PART ((uint64_t)32 << 20)           /* 5 MiB to 5 GiB, at most 10,000 an upload */

struct s3 {
	struct store base;
	struct s3_http *http;
	char *prefix; /* of all keys: "" or "a/b/" */
	struct store_lock_policy lock;
	enum { S3_LOCK_NO, S3_LOCK_YES, S3_LOCK_HIDDEN } object_lock; /* of the bucket; hidden: we may not ask */
	uint64_t multipart_from;                                      /* 0: never */
	bool first_wins; /* racing puts are told apart by their versions, see s3_first() */
};

/* The driver with uploads in parts above multipart_from bytes (0: as the service has it), for tests; place_open() gives
 * the default. */
int s3_open(const char *rest, const struct store_config *c, uint64_t multipart_from, struct store **ret,
        struct err *err) HF_NODISCARD;

static inline struct s3 *s3_of(struct store *s)
{
	return (struct s3 *)s;
}
/* The key in the bucket, newly allocated; ERR_FORMAT when it gets too long. */
int s3_key(const struct s3 *s, const char *key, char **ret, struct err *err) HF_NODISCARD;
/* One exchange that must succeed: any refusal is an error. what and key are for the message. */
int s3_ask(struct s3 *s, const struct s3_request *r, struct s3_answer *a, const char *what, const char *key,
        struct err *err) HF_NODISCARD;
/* Headers of a new object's lock; until[] holds their text. ERR_UNSUPPORTED where the bucket has no locks. */
int s3_lock_headers(const struct s3 *s, const char *key, struct s3_request *r, char until[CLOCK_TEXT], struct err *err)
        HF_NODISCARD;

/* s3_parts.c: an object in parts. */
int s3_put_parts(struct s3 *s, const char *key, const char *full, const struct store_src *src, uint64_t total,
        struct err *err) HF_NODISCARD;
/* s3_versions.c: every version and delete marker of a key, newest first. */
int s3_versions(struct s3 *s, const char *key, const char *full, struct s3_page *ret, struct err *err) HF_NODISCARD;
/*
 * The version that a key stands for: the oldest since the key was last deleted. Where versions are kept, a service may
 * let several racing conditional puts through (Ceph does), each with a version of its own. Which of them was first can
 * be seen afterwards by everyone and does not change: that one has won, the others were refused, and reads give its
 * bytes. ERR_MISSING: there is none. ret_version may be NULL.
 */
int s3_first(struct s3 *s, const char *key, const char *full, char **ret_version, struct store_stat *ret,
        struct err *err) HF_NODISCARD;
/* Whether reads and puts of this key go by its first version. One that ends with the digest of its bytes needs it not.
 */
bool s3_by_version(const struct s3 *s, const char *key);
/* After a put that got `version` ("": unknown): ERR_EXISTS when another one was first. */
int s3_was_first(struct s3 *s, const char *key, const char *full, const char *version, struct err *err) HF_NODISCARD;
int s3_get_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err);
/* DELETE of a key, or of a version of it. bypass: governance locks too. */
int s3_delete(struct s3 *s, const char *key, const char *full, const char *version, bool bypass, struct err *err)
        HF_NODISCARD;
int s3_remove(struct store *s, const char *key, struct err *err);
/* s3_lock.c */
int s3_lock(struct store *s, const char *key, struct store_lock *ret, struct err *err);
int s3_extend(struct store *s, const char *key, int64_t until_ns, struct err *err);
int s3_attack(struct store *s, enum store_attack what, const char *key, struct err *err);
/* Lock a version ("": the newest) of a new object as the policy has it, where its upload did not. */
int s3_lock_now(struct s3 *s, const char *key, const char *full, const char *version, struct err *err) HF_NODISCARD;
/* s3_open.c: what the bucket is, made when create says so. */
int s3_look(struct s3 *s, bool create, const char *region, const atomic_bool *cancel, struct err *err) HF_NODISCARD;

#endif
