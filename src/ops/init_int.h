/*
 * Inside of init, shared by init.c (directories, configuration, sites, report) and init_keys.c (keys, wherever they are made).
 */
#ifndef OPS_INIT_INT_H
#define OPS_INIT_INT_H

#include "remote/enroll.h"

struct init {
	const struct job *j;
	struct sites sites;
	struct secret root_seed, log_seed;
	unsigned char root_pub[ED25519_PUB_LEN], log_pub[ED25519_PUB_LEN];
	struct cfg cfg;      /* what the sites have, or will have */
	bool have_cfg, changed;
	bool opening_there;  /* the opening key is on the recovery host */
	struct secret *psk;  /* by source of the plan; empty where there is none to give */
	json_t *made, *keep;
};
/* What init knows of a source's keys: those of a source on another host stay there. */
struct init_source {
	bool remote;
	struct source_keys keys; /* local */
	uint32_t epoch;
	unsigned char pub[ED25519_PUB_LEN];
};
void init_made(struct init *in, const char *what);
int init_root_key(struct init *in, struct err *err) HF_NODISCARD;
/* The opening key, here or on the recovery host, its class in the configuration, and a psk for each source that is not enrolled. */
int init_opening_key(struct init *in, struct err *err) HF_NODISCARD;
char *init_opening_place(const struct init *in); /* for people; newly allocated */
/* Keys of a source, and its place in the configuration. */
int init_source(struct init *in, const struct plan_source *ps, struct init_source *k, struct err *err) HF_NODISCARD;

#endif
