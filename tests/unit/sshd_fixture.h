/*
 * A real sshd for unit tests, by tests/lib/sshd.sh, and the link proxy in front of it. Everything ends with the test
 * program, however that ends. Failures to start abort.
 */
#ifndef TESTS_UNIT_SSHD_FIXTURE_H
#define TESTS_UNIT_SSHD_FIXTURE_H

#include <sys/types.h>
#include "store/store.h"

struct sshd {
	pid_t pid;
	char dir[96], user[256], stranger[256], known_hosts[256];
	unsigned port;
};
/* config: NULL-terminated lines, or NULL. dir is made when it is missing; its keys and port are kept for the next
 * start. */
void sshd_start(struct sshd *s, const char *dir, const char *const *config);
void sshd_stop(struct sshd *s);
/* Kill what serves connections; the server itself goes on. */
void sshd_kill_sessions(const struct sshd *s);
const char *sshd_login(void); /* the user that runs the tests */
/* A store at place, through `port` (0: the server's own). */
int sshd_store(const struct sshd *s, unsigned port, const char *place, const struct store_config *more,
        struct store **ret, struct err *err);

struct linkproxy {
	pid_t pid;
	unsigned port;
	int control;
	char known_hosts[256]; /* the server's keys under the proxy's port */
};
/* Options as of tests/tools/linkproxy.c; NULL-terminated, or NULL. */
void linkproxy_start(struct linkproxy *p, const struct sshd *s, const char *const *options);
void linkproxy_stop(struct linkproxy *p);
/* One command of its control language; returns the answer's number. */
unsigned long long linkproxy_tell(struct linkproxy *p, const char *fmt, ...) HF_PRINTF(2, 3);

#endif
