/* Objects as files over SFTP: the driver. */
#ifndef SFTP_SFTP_STORE_H
#define SFTP_SFTP_STORE_H

#include "store/store.h"

/*
 * rest: "user@host:port/directory", decoded. Up to four connections, made as they are needed. Create-only by the rename
 * of OpenSSH, which links; who holds the credentials can overwrite and remove all the same: docs/security.md.
 */
int store_sftp_open(const char *rest, const struct store_config *c, struct store **ret, struct err *err) HF_NODISCARD;

#endif
