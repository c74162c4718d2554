/*
 * A byte stream to a command or a subsystem at another host, over SSH. The only user of libssh2.
 *
 *   struct ssh_config c = {.host = "vault.example", .user = "ca", .identity = "/etc/holdfast/vault.key",
 *           .known_hosts = "/etc/holdfast/known_hosts", .subsystem = "sftp"};
 *   if (ssh_open(&c, &s, &err)) ...
 *   ssh_write(s, p, n, &err); ssh_read(s, buf, sizeof buf, &got, &err);
 *   ssh_free(s);
 *
 * Host keys are pinned: a key that known_hosts does not hold, or another one than it holds, is ERR_DENIED with the
 * fingerprint that was seen. There is no trust on first use, and nothing is ever added to that file. Only public keys
 * authenticate, nothing ever prompts.
 *
 * Two back ends. SSH_CHILD runs ssh(1), which brings AES-GCM, RSA, FIDO keys, certificates and ProxyJump; with both
 * identity and known_hosts given no configuration file is read, else the user's and the system's apply below our own
 * options. SSH_LIBSSH2 needs no program beside this one, but speaks only ed25519 and ecdsa keys and AES-CTR. SSH_AUTO
 * takes the child where there is an ssh program, and libssh2 where there is none: docs/security.md has the figures.
 *
 * Threading: one thread may read while another writes; nothing else at the same time. Every wait is bounded by the
 * configuration's times and ended by its flag (ERR_CANCELLED). Errors: ERR_UNREACHABLE for the network and for a stream
 * that ended early, ERR_DENIED for keys, ERR_MISSING for a command that is not there. SIGPIPE need not be ignored.
 */
#ifndef SSH_SSH_H
#define SSH_SSH_H

#include <stdatomic.h>
#include <stdint.h>
#include "base/err.h"

enum ssh_backend { SSH_AUTO, SSH_CHILD, SSH_LIBSSH2 };

/* Strings are borrowed for the time of ssh_open(), the flag until ssh_free(). */
struct ssh_config {
	const char *host;        /* a name, an address or (child without files of our own) an alias of ssh_config */
	const char *user;        /* NULL: what ssh would take */
	unsigned port;           /* 0: 22, or what ssh_config says */
	const char *identity;    /* file of the private key, without passphrase; NULL: what ssh would take */
	const char *known_hosts; /* NULL: those of the user and the system */
	/* One of these: */
	const char *subsystem;
	const char *const *argv; /* NULL-terminated; quoted for the shell at the other side */
	enum ssh_backend backend;
	int64_t connect_ms, idle_ms; /* 0: 20 s until the stream stands, 60 s without any byte moving */
	const atomic_bool *cancel;   /* may be NULL */
};

struct ssh;
int ssh_open(const struct ssh_config *c, struct ssh **ret, struct err *err) HF_NODISCARD;
/* End it at once, whatever is under way; NULL is fine. A child is reaped. */
void ssh_free(struct ssh *s);
void ssh_free_ptr(struct ssh **s); /* for CLEAN() */

/* At least one byte, at most n. *ret_n is 0 when the other side ended the stream in order. */
int ssh_read(struct ssh *s, void *p, size_t n, size_t *ret_n, struct err *err) HF_NODISCARD;
/* All n bytes, into buffers on the way: that says nothing of their arrival. */
int ssh_write(struct ssh *s, const void *p, size_t n, struct err *err) HF_NODISCARD;
/* What goes first, without waiting for the other: both counts may be 0 only when `ended`. */
struct ssh_io {
	const void *out;
	size_t n_out; /* 0: only read */
	void *in;
	size_t n_in; /* 0: only write */
	size_t ret_out, ret_in;
	bool ended; /* the other side ended the stream; what it had sent was read before */
};
int ssh_exchange(struct ssh *s, struct ssh_io *io, struct err *err) HF_NODISCARD;
/* No more bytes from us: the other side's input ends. */
int ssh_end_write(struct ssh *s, struct err *err) HF_NODISCARD;
/* Wait for the other side's end and its exit status (255 when it told none). To be called after the last read. */
int ssh_wait(struct ssh *s, int *ret_status, struct err *err) HF_NODISCARD;

/*
 * The descriptor behind it, for poll(2): readable when ssh_read() would not wait. It is a non-blocking socket; who
 * reads and writes it himself calls ssh_failed() to learn why it ended.
 */
int ssh_fd(const struct ssh *s);
/* Fill err with the reason for an early end, from what the other side and the transport said last. */
int ssh_failed(struct ssh *s, struct err *err);
/* Last lines of the other side's standard error, for messages: untrusted text, into out (size n), "" when none. */
char *ssh_stderr(struct ssh *s, char *out, size_t n);
/* "ssh" or "libssh2". */
const char *ssh_backend_name(const struct ssh *s);

#endif
