/* Objects in a bucket: the S3 driver. */
#ifndef S3_S3_STORE_H
#define S3_S3_STORE_H

#include "store/store.h"

/*
 * rest: "bucket/prefix". Capabilities are what the bucket shows when it is opened. Its keys are flat: a key that is the
 * directory of another one is taken as any other, and nobody makes such keys here.
 */
int store_s3_open(const char *rest, const struct store_config *c, struct store **ret, struct err *err) HF_NODISCARD;

#endif
