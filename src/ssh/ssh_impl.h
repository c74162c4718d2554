/*
 * What the two back ends share: a socket pair whose other end a child or a thread of ours serves, and what was said on
 * standard error. Nobody outside src/ssh includes this.
 */
#ifndef SSH_SSH_IMPL_H
#define SSH_SSH_IMPL_H

#include <pthread.h>
#include <stddef.h>
#include <sys/types.h>
#include "ssh/ssh.h"

enum {
	SSH_CONNECT_MS = 20000,
	SSH_IDLE_MS = 60000,
	SSH_KEEPALIVE_S = 15, /* a dead link is noticed after three of them */
	SSH_CANCEL_POLL_MS = 50,
	SSH_EXIT_MS = 2000, /* for the child to end once its stream has */
	SSH_TAIL = 4096,
};

struct ssh_ops {
	const char *name;
	/* Take in what standard error holds, without waiting. */
	void (*drain)(struct ssh *s);
	/* The stream has ended: *ret_status as ssh_wait(), or the reason when that was not in order. */
	int (*ended)(struct ssh *s, int64_t within_ms, int *ret_status, struct err *err);
	void (*free)(struct ssh *s);
};
struct ssh {
	const struct ssh_ops *ops;
	int fd;     /* our end of the pair, non-blocking */
	int err_fd; /* standard error, non-blocking; -1: none */
	int64_t idle_ms;
	const atomic_bool *cancel;
	char *where;           /* user@host:port, for messages */
	char *known_hosts;     /* for hints; NULL: ssh's own */
	pthread_mutex_t mutex; /* of the tail */
	char tail[SSH_TAIL];
	size_t tail_len;
};

/* Set up all fields but ops; the pair's other end is returned, -1 with errno. */
int ssh_init(struct ssh *s, const struct ssh_config *c);
void ssh_release(struct ssh *s);
/* Keep the last bytes of text. */
void ssh_tail_add(struct ssh *s, const char *p, size_t n);
/* Milliseconds that never jump, also under a fake clock. */
int64_t ssh_now_ms(void);
/* What poll(2) may wait before the deadline, no longer than a flag may go unseen. */
int ssh_poll_ms(int64_t deadline, const atomic_bool *cancel);
int ssh_cancelled(const struct ssh *s, struct err *err);
/* ERR_DENIED with the fingerprint seen ("" when not known) and how to pin it. */
int ssh_bad_host_key(const struct ssh *s, bool changed, const char *fingerprint, struct err *err);
/* argv as one line for a POSIX shell, newly allocated. */
char *ssh_quote(const char *const *argv);

int ssh_child_open(const struct ssh_config *c, struct ssh **ret, struct err *err) HF_NODISCARD;
int ssh_libssh2_open(const struct ssh_config *c, struct ssh **ret, struct err *err) HF_NODISCARD;

#endif
