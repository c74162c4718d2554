/*
 * A site behind a vault: a store at another host, over SSH, served by holdfast-vault there.
 *
 *   agent_vault_open("ssh://backup@vault.example/srv/vault/ca", &config, &store, &err)
 *
 * One connection carries all requests. When it has died, the next operation makes a new one; the operations that were
 * under way failed with ERR_UNREACHABLE, to be tried again by who repeats. Any thread.
 */
#ifndef AGENT_VAULT_H
#define AGENT_VAULT_H

#include "store/store.h"

/*
 * Connects. Of the configuration name, create, identity, known_hosts and cancel count. The forced command of the key
 * decides role and directory; where there is none, it is role controller and the directory of the URL. Errors as
 * agent_start(): a missing vault, or one of another version, is told with the command that installs it.
 */
int agent_vault_open(const char *url, const struct store_config *c, struct store **ret, struct err *err) HF_NODISCARD;

#endif
