/*
 * The places that a URL can name, and the driver that serves each: the one table of schemes.
 *
 *   struct store *s;
 *   if (place_open("file:///mnt/north/ca", NULL, &s, &err)) ...
 */
#ifndef PLACE_PLACE_H
#define PLACE_PLACE_H

#include "store/store.h"

/* Open by URL (file:///dir with %XX decoded, mem://name, sftp://user@host[:port]/dir, ssh:// likewise for a vault, s3://bucket/prefix).
 * ERR_UNSUPPORTED names the scheme; ERR_UNREACHABLE when the place is not there. */
int place_open(const char *url, const struct store_config *c, struct store **ret, struct err *err) HF_NODISCARD;
/* Is there a driver for the scheme of this URL? */
bool place_has_driver(const char *url);

#endif
