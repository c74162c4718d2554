/*
 * An agent: one of our programs near the data, started here as a child process or at another host over SSH, and the connection
 * to it. The controller gives it jobs and relays its store requests to the sites, each with the rights of the agent's role; the
 * agent has no credential of a site and needs no way to one.
 *
 *   struct agent_config c = {.host = "ssh://backup@db1.example", .program = "holdfast-source"};
 *   agent_start(&c, &a, &err)
 *   agent_relay(a, 0, site, &(struct wire_access){.role = WIRE_ROLE_SOURCE, .source = "db"});
 *   agent_run(a, "backup", doc, &events, cancel, &result, &err)
 *   agent_end(a)
 *
 * Threading: one thread an agent; its relays are served by threads of the connection.
 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include "wire/access.h"

#define AGENT_RELAYS 64

/* Strings are borrowed for the call, the flag until agent_end(). */
struct agent_config {
	const char *host;        /* "ssh://[user@]host[:port]", or "local": a child process on this machine */
	const char *program;     /* its name: "holdfast-source" */
	const char *path;        /* local only: its file; NULL: beside the running program */
	const char *root;        /* local only: its --root, or NULL; over SSH the other host decides */
	const char *const *args; /* more arguments, NULL-terminated, or NULL; a forced command over SSH decides otherwise */
	const char *identity, *known_hosts; /* files for SSH; NULL: what ssh takes by itself */
	const atomic_bool *cancel; /* may be NULL */
};
struct agent;
/*
 * Start and greet. ERR_MISSING: the program is not there; ERR_UNSUPPORTED: one of another version; both with the command that
 * installs it as a hint. ERR_DENIED: keys; ERR_UNREACHABLE: the host.
 */
int agent_start(const struct agent_config *c, struct agent **ret, struct err *err) HF_NODISCARD;
/* Good-bye; a child is waited for, and ended when it does not leave. NULL is fine. */
void agent_end(struct agent *a);
void agent_end_ptr(struct agent **a); /* for CLEAN() */
/* "holdfast-source at ssh://backup@db1.example" */
const char *agent_name(const struct agent *a);
struct wire *agent_wire(struct agent *a);
/* Let it use a site's store (borrowed until agent_end) under a number below AGENT_RELAYS, with these rights. Once a number. */
void agent_relay(struct agent *a, unsigned number, struct store *site, const struct wire_access *rights);
/*
 * Have it do a job, as wire_job_run(). When the agent dies or the connection is lost on the way: ERR_FAILED with its last words.
 */
int agent_run(struct agent *a, const char *kind, const json_t *doc, const struct wire_job_events *ev, const atomic_bool *cancel,
        json_t **ret, struct err *err) HF_NODISCARD;

/* "ssh://user@host:port" in parts; user NULL and port 0 where it has none. False when it is none. */
struct agent_host {
	char user[64], host[256];
	bool has_user;
	unsigned port;
};
bool agent_host_parse(const char *url, struct agent_host *ret);

#endif
