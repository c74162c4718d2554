/*
 * Who may do what with which objects: the roles of a vault and of a relay. docs/security.md has the table.
 *
 *   static const struct wire_access source = {WIRE_ROLE_SOURCE, "docs"};
 *   wire_serve_store(w, 0, &(struct wire_served){.store = s, .allow = wire_access_allow, .arg = (void *)&source});
 *
 * No role removes, overwrites or renames: the protocol has no such request.
 */
#ifndef WIRE_ACCESS_H
#define WIRE_ACCESS_H

#include "wire/wire.h"

enum wire_role {
	WIRE_ROLE_SOURCE,     /* an agent at a protected host, over a relay: writes copies, reads none */
	WIRE_ROLE_PUT,        /* a backup and its evidence: writes all but expiries, reads no pack */
	WIRE_ROLE_GET,        /* recovery: reads all, writes nothing */
	WIRE_ROLE_AUDIT,      /* lists, digests, and what is in the clear */
	WIRE_ROLE_CONTROLLER, /* replication and upkeep: writes and reads all */
	WIRE_ROLES
};
struct wire_access {
	enum wire_role role;
	char source[64]; /* keys that belong to a source must belong to this one; "": any */
};
const char *wire_role_name(enum wire_role role);
bool wire_role_parse(const char *name, enum wire_role *ret);
/* The `allow` of a struct wire_served whose arg is a struct wire_access. */
int wire_access_allow(void *arg, enum wire_op op, const char *key, struct err *err);
bool wire_role_may_put(enum wire_role role);

#endif
