/*
 * The vault: a directory at a site, served to who comes in over SSH with the rights of one role. Runs as the forced command
 * of a key; docs/vault.md says how a site is set up.
 */
#ifndef VAULT_VAULT_MAIN_H
#define VAULT_VAULT_MAIN_H

#include "wire/access.h"

struct vault_opts {
	struct wire_access access;
	const char *dir;     /* has to be there */
	const char *prefix;  /* a directory beneath, made when a controller begins; or NULL */
	const char *witness; /* directory of witness_create(), or NULL */
	const char *client;  /* who comes, for messages */
};
/* Serve in_fd and out_fd until the other end leaves. */
int vault_serve(const struct vault_opts *o, int in_fd, int out_fd, struct err *err) HF_NODISCARD;
/*
 * Read every object whose name tells its digest. *ret: {"v", "objects", "checked", "bytes", "damaged": [{"key", "why"}]}.
 * ERR_CORRUPT when some are damaged.
 */
int vault_verify(const struct vault_opts *o, json_t **ret, struct err *err) HF_NODISCARD;
/* No program can be started and no connection be made from here on. */
int vault_confine(struct err *err) HF_NODISCARD;
int vault_main(int argc, char **argv);

#endif
