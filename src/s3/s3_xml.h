/*
 * What an S3 service answers in XML, read with expat. Every answer is outside input: no document type declarations,
 * bounded depth, elements and texts, and an answer is what its root element says. ERR_FORMAT for all that is not so.
 */
#ifndef S3_S3_XML_H
#define S3_S3_XML_H

#include <stdint.h>
#include "base/err.h"
#include "store/store.h"

/* An <Error>: each text is cut to its field and holds printable ASCII only; empty when not there. */
struct s3_error {
	char code[64], message[128], request_id[80], region[40];
};
/* False when it is no error document; ret is then empty. */
bool s3_xml_error(const void *p, size_t n, struct s3_error *ret);

struct s3_object {
	char *key, *version; /* decoded; version NULL in a plain list */
	uint64_t size;
	int64_t mtime_ns;
	bool latest, marker; /* of versions: the newest one; a delete marker */
};
struct s3_page {
	struct s3_object *object;
	size_t n, cap;
	bool truncated;
	char *token;                   /* of a plain list, NULL: none */
	char *next_key, *next_version; /* of versions, NULL: none */
};
/* ListObjectsV2 and ListObjectVersions, both with encoding-type=url. */
int s3_xml_list(const void *p, size_t n, struct s3_page *ret, struct err *err) HF_NODISCARD;
int s3_xml_versions(const void *p, size_t n, struct s3_page *ret, struct err *err) HF_NODISCARD;
void s3_page_release(struct s3_page *page);

/* InitiateMultipartUpload: the upload's id, newly allocated. */
int s3_xml_upload(const void *p, size_t n, char **ret, struct err *err) HF_NODISCARD;
/* CompleteMultipartUpload: 0 when it is done; an <Error> in it fills ret and is ERR_FAILED. */
int s3_xml_completed(const void *p, size_t n, struct s3_error *ret, struct err *err) HF_NODISCARD;
/* GetObjectRetention. */
int s3_xml_retention(const void *p, size_t n, struct store_lock *ret, struct err *err) HF_NODISCARD;
/* GetBucketVersioning, GetObjectLockConfiguration: whether it is enabled. */
int s3_xml_versioning(const void *p, size_t n, bool *ret, struct err *err) HF_NODISCARD;
int s3_xml_object_lock(const void *p, size_t n, bool *ret, struct err *err) HF_NODISCARD;

#endif
