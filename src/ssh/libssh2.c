/*
 * The back end that needs no program: libssh2 in a thread of its own, which carries bytes between the socket pair and
 * the channel. So both back ends look the same from outside, and keepalives go out while nobody calls.
 */
#include <libssh2.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "ssh/ssh_impl.h"

#define PUMP_BYTES ((size_t)256 << 10)
#define WINDOW_BYTES (16u << 20) /* what the other side may send ahead: full speed at 80 ms */
#define PACKET_BYTES 32768u
#define KNOWN_HOSTS_MAX ((size_t)16 << 20)

struct pipe_end {
	unsigned char *p;
	size_t at, len; /* bytes [at, len) are on their way */
};
struct lib {
	struct ssh base;
	LIBSSH2_SESSION *session;
	LIBSSH2_CHANNEL *channel;
	int sock, pump_fd, stop_fd;
	int64_t deadline; /* of opening */
	pthread_t thread;
	bool running, kex_failed;
	struct pipe_end up, down;
	bool up_ended, eof_sent, down_ended;
	/* What must be repeated as it was before anything else may be sent. */
	enum { OP_NONE, OP_WRITE, OP_READ, OP_EOF } half;
	pthread_mutex_t end; /* of what follows */
	bool done;
	int status; /* 255 when lost */
	char reason[160];
};

static struct lib *lib_of(struct ssh *s)
{
	return (struct lib *)s;
}

static void no_stderr(struct ssh *s)
{
	(void)s; /* the thread takes it in */
}

/* --- waiting --- */

static short wanted_events(const struct lib *l)
{
	int dirs = libssh2_session_block_directions(l->session);

	return (short)((dirs & LIBSSH2_SESSION_BLOCK_OUTBOUND ? POLLOUT : 0) |
	               (dirs & LIBSSH2_SESSION_BLOCK_INBOUND || !dirs ? POLLIN : 0));
}

/* Until the socket is ready for what libssh2 waits for, while opening. */
static int await_socket(struct lib *l, short events, struct err *err)
{
	for (;;) {
		struct pollfd p = {l->sock, events, 0};

		if (ssh_cancelled(&l->base, err))
			return -ERR_CANCELLED;
		if (ssh_now_ms() >= l->deadline)
			return err_set(err, ERR_UNREACHABLE, "%s: no session in time", l->base.where);
		if (poll(&p, 1, ssh_poll_ms(l->deadline, l->base.cancel)) > 0)
			return 0;
	}
}

/* Repeat a call of libssh2 until it is through. */
#define UNTIL_DONE(l, rc, call, err)                                                                                   \
	while (((rc) = (call)) == LIBSSH2_ERROR_EAGAIN)                                                                \
		if (await_socket((l), wanted_events(l), (err)))                                                        \
	return err_rc(err)

static int lib_failed(const struct lib *l, enum err_code code, const char *what, struct err *err)
{
	char *text = NULL;

	(void)libssh2_session_last_error(l->session, &text, NULL, 0);
	return err_set(err, code, "%s: %s: %s", l->base.where, what, text ? text : "");
}

/* --- the connection --- */

static int connect_one(struct lib *l, const struct addrinfo *a, struct err *err)
{
	const int on = 1, unanswered = 3 * SSH_KEEPALIVE_S * 1000;
	int failed = 0;
	socklen_t n = sizeof failed;

	l->sock = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->sock < 0)
		return err_sys(err, ERR_UNREACHABLE, "%s: make a socket", l->base.where);
	(void)setsockopt(l->sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	(void)setsockopt(l->sock, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	(void)setsockopt(l->sock, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered, sizeof unanswered);
	if (connect(l->sock, a->ai_addr, a->ai_addrlen) == 0)
		return 0;
	if (errno == EINPROGRESS) {
		int rc = await_socket(l, POLLOUT, err);

		if (rc)
			return rc;
		if (getsockopt(l->sock, SOL_SOCKET, SO_ERROR, &failed, &n) == 0 && !failed)
			return 0;
		errno = failed;
	}
	failed = errno;
	close_fd(&l->sock);
	return err_set(err, ERR_UNREACHABLE, "%s: connect: %s", l->base.where, strerror(failed));
}

static int connect_host(struct lib *l, const struct ssh_config *c, struct err *err)
{
	const struct addrinfo want = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char port[16];
	int rc;

	(void)snprintf(port, sizeof port, "%u", c->port ? c->port : 22);
	rc = getaddrinfo(c->host, port, &want, &found);
	if (rc)
		return err_set(err, ERR_UNREACHABLE, "%s: %s", l->base.where, gai_strerror(rc));
	for (const struct addrinfo *a = found; a; a = a->ai_next) {
		rc = connect_one(l, a, err);
		if (!rc || rc == -ERR_CANCELLED)
			break;
	}
	freeaddrinfo(found);
	return rc;
}

/* --- host keys --- */

static char *home_file(const char *name)
{
	const char *home = secure_getenv("HOME");

	return fs_join(home ? home : "/", name);
}

/* Lines that libssh2 does not understand (markers, new key types) are passed over: their keys are unknown here. */
static int load_known(LIBSSH2_KNOWNHOSTS *known, const char *path, bool needed, struct err *err)
{
	CLEAN(buf_release) struct buf b = BUF_INIT(KNOWN_HOSTS_MAX);
	int rc = fs_read(path, &b, err);

	if (rc)
		return needed ? rc : 0;
	for (size_t at = 0; at < b.len;) {
		const char *line = (const char *)b.p + at;
		const char *end = memchr(line, '\n', b.len - at);
		size_t n = end ? (size_t)(end - line) : b.len - at;

		/* A copy: the library looks one byte beyond the line. */
		CLEAN(free_ptr) char *copy = xstrndup(line, n);

		if (n && *line != '@' && *line != '#')
			(void)libssh2_knownhost_readline(known, copy, n, LIBSSH2_KNOWNHOST_FILE_OPENSSH);
		at += n + 1;
	}
	return 0;
}

/* Types of the keys that are pinned for the host, as the method list of the key exchange. */
static void pinned_types(LIBSSH2_KNOWNHOSTS *known, const struct ssh_config *c, struct buf *out)
{
	static const struct {
		int type;
		const char *name;
	} types[] = {{LIBSSH2_KNOWNHOST_KEY_ED25519, "ssh-ed25519"},
	        {LIBSSH2_KNOWNHOST_KEY_ECDSA_256, "ecdsa-sha2-nistp256"},
	        {LIBSSH2_KNOWNHOST_KEY_ECDSA_384, "ecdsa-sha2-nistp384"},
	        {LIBSSH2_KNOWNHOST_KEY_ECDSA_521, "ecdsa-sha2-nistp521"}};

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		/* A key that no host has: a mismatch says that another one of this type is there. */
		int rc = libssh2_knownhost_checkp(known, c->host, c->port ? (int)c->port : 22, "\1", 1,
		        LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_RAW | types[i].type, NULL);

		if (rc == LIBSSH2_KNOWNHOST_CHECK_MISMATCH)
			buf_addf(out, "%s%s", out->len ? "," : "", types[i].name);
	}
}

static int known_type(int hostkey_type)
{
	switch (hostkey_type) {
	case LIBSSH2_HOSTKEY_TYPE_ED25519:
		return LIBSSH2_KNOWNHOST_KEY_ED25519;
	case LIBSSH2_HOSTKEY_TYPE_ECDSA_256:
		return LIBSSH2_KNOWNHOST_KEY_ECDSA_256;
	case LIBSSH2_HOSTKEY_TYPE_ECDSA_384:
		return LIBSSH2_KNOWNHOST_KEY_ECDSA_384;
	case LIBSSH2_HOSTKEY_TYPE_ECDSA_521:
		return LIBSSH2_KNOWNHOST_KEY_ECDSA_521;
	default:
		return LIBSSH2_KNOWNHOST_KEY_UNKNOWN;
	}
}

static void fingerprint_of(LIBSSH2_SESSION *session, char out[64])
{
	const char *hash = libssh2_hostkey_hash(session, LIBSSH2_HOSTKEY_HASH_SHA256);
	char b64[48] = "";

	if (hash)
		base64_encode(b64, hash, 32);
	b64[strcspn(b64, "=")] = '\0';
	(void)snprintf(out, 64, "%s%s", hash ? "SHA256:" : "", b64);
}

static int check_host_key(struct lib *l, LIBSSH2_KNOWNHOSTS *known, const struct ssh_config *c, struct err *err)
{
	char fingerprint[64];
	size_t n = 0;
	int type = 0;
	const char *key = libssh2_session_hostkey(l->session, &n, &type);

	if (!key)
		return err_set(err, ERR_DENIED, "%s: the server showed no host key", l->base.where);
	int rc = libssh2_knownhost_checkp(known, c->host, c->port ? (int)c->port : 22, key, n,
	        LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_RAW | known_type(type), NULL);

	if (rc == LIBSSH2_KNOWNHOST_CHECK_MATCH)
		return 0;
	fingerprint_of(l->session, fingerprint);
	return ssh_bad_host_key(&l->base, rc == LIBSSH2_KNOWNHOST_CHECK_MISMATCH, fingerprint, err);
}

static int load_pins(LIBSSH2_KNOWNHOSTS *known, const struct ssh_config *c, struct err *err)
{
	CLEAN(free_ptr) char *own = home_file(".ssh/known_hosts");

	if (c->known_hosts)
		return load_known(known, c->known_hosts, true, err);
	int rc = load_known(known, own, false, err);

	return rc ? rc : load_known(known, "/etc/ssh/ssh_known_hosts", false, err);
}

static void free_known(LIBSSH2_KNOWNHOSTS **k)
{
	if (*k)
		libssh2_knownhost_free(*k);
}

static int handshake(struct lib *l, const struct ssh_config *c, struct err *err)
{
	CLEAN(free_known) LIBSSH2_KNOWNHOSTS *known = libssh2_knownhost_init(l->session);
	CLEAN(buf_release) struct buf types = BUF_INIT(256);
	int rc;

	if (!known)
		return lib_failed(l, ERR_IO, "read host keys", err);
	if (load_pins(known, c, err))
		return err_rc(err);
	pinned_types(known, c, &types);
	/* Without any pinned key the handshake goes on with what there is, so that the fingerprint can be told. */
	if (types.len && libssh2_session_method_pref(l->session, LIBSSH2_METHOD_HOSTKEY, buf_str(&types)))
		return lib_failed(l, ERR_UNSUPPORTED, "host key types", err);
	UNTIL_DONE(l, rc, libssh2_session_handshake(l->session, l->sock), err);
	if (rc == LIBSSH2_ERROR_KEX_FAILURE || rc == LIBSSH2_ERROR_METHOD_NONE)
		return lib_failed(l, ERR_UNSUPPORTED, "no method in common", err);
	if (rc)
		return lib_failed(l, ERR_UNREACHABLE, "handshake", err);
	return check_host_key(l, known, c, err);
}

/* --- the user, and the channel --- */

static int try_key(struct lib *l, const char *user, const char *path, struct err *err)
{
	int rc;

	UNTIL_DONE(l, rc,
	        libssh2_userauth_publickey_fromfile_ex(l->session, user, (unsigned)strlen(user), NULL, path, NULL),
	        err);
	if (!rc)
		return 0;
	if (rc == LIBSSH2_ERROR_SOCKET_DISCONNECT || rc == LIBSSH2_ERROR_SOCKET_RECV || rc == LIBSSH2_ERROR_SOCKET_SEND)
		return lib_failed(l, ERR_UNREACHABLE, "log in", err);
	(void)lib_failed(l, ERR_DENIED, "the key was refused", err);
	(void)err_hint(err, "ed25519 and ecdsa keys without passphrase are read here; others need the ssh program");
	return -ERR_DENIED;
}

static int authenticate(struct lib *l, const struct ssh_config *c, struct err *err)
{
	static const char *const usual[] = {".ssh/id_ed25519", ".ssh/id_ecdsa"};
	const struct passwd *pw = c->user ? NULL : getpwuid(getuid());
	const char *user = c->user ? c->user : pw ? pw->pw_name : "root";
	int rc = -ERR_DENIED;

	if (c->identity)
		return try_key(l, user, c->identity, err);
	(void)err_set(err, ERR_DENIED, "%s: there is no key to log in with", l->base.where);
	for (size_t i = 0; i < ARRAY_LEN(usual) && rc == -ERR_DENIED; i++) {
		CLEAN(free_ptr) char *path = home_file(usual[i]);

		if (access(path, R_OK) == 0)
			rc = try_key(l, user, path, err);
	}
	return rc;
}

static int open_channel(struct lib *l, struct err *err)
{
	while (!l->channel) {
		l->channel = libssh2_channel_open_ex(l->session, "session", 7, WINDOW_BYTES, PACKET_BYTES, NULL, 0);
		if (l->channel)
			break;
		if (libssh2_session_last_errno(l->session) != LIBSSH2_ERROR_EAGAIN)
			return lib_failed(l, ERR_UNREACHABLE, "open a channel", err);
		if (await_socket(l, wanted_events(l), err))
			return err_rc(err);
	}
	return 0;
}

static int start_remote(struct lib *l, const struct ssh_config *c, struct err *err)
{
	CLEAN(free_ptr) char *command = c->argv ? ssh_quote(c->argv) : NULL;
	const char *kind = c->argv ? "exec" : "subsystem", *text = c->argv ? command : c->subsystem;
	int rc;

	UNTIL_DONE(l, rc,
	        libssh2_channel_process_startup(l->channel, kind, (unsigned)strlen(kind), text, (unsigned)strlen(text)),
	        err);
	if (rc == LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED)
		return err_set(err, ERR_UNSUPPORTED, "%s: it does not give %s", l->base.where,
		        c->subsystem ? c->subsystem : kind);
	return rc ? lib_failed(l, ERR_UNREACHABLE, "start the other side", err) : 0;
}

/* --- the thread that carries bytes --- */

/* True when a call has to be repeated as it was before another one may be made. */
static bool is_half(struct lib *l, ssize_t rc)
{
	return rc == LIBSSH2_ERROR_EAGAIN &&
	       libssh2_session_block_directions(l->session) & LIBSSH2_SESSION_BLOCK_OUTBOUND;
}

static bool pump_up(struct lib *l)
{
	if (l->up.at < l->up.len) {
		ssize_t n = libssh2_channel_write_ex(l->channel, 0, (char *)l->up.p + l->up.at, l->up.len - l->up.at);

		l->half = is_half(l, n) ? OP_WRITE : OP_NONE;
		if (n > 0)
			l->up.at += (size_t)n;
		else if (n < 0 && n != LIBSSH2_ERROR_EAGAIN)
			l->down_ended = true;
		return n > 0;
	}
	if (l->up_ended && !l->eof_sent) {
		int rc = libssh2_channel_send_eof(l->channel);

		l->half = is_half(l, rc) ? OP_EOF : OP_NONE;
		l->eof_sent = rc != LIBSSH2_ERROR_EAGAIN;
		return l->eof_sent;
	}
	return false;
}

static bool take_up(struct lib *l)
{
	if (l->up_ended || l->up.at < l->up.len)
		return false;
	ssize_t n = recv(l->pump_fd, l->up.p, PUMP_BYTES, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	l->up_ended = n <= 0;
	l->up.at = 0;
	l->up.len = n > 0 ? (size_t)n : 0;
	return true;
}

static bool take_down(struct lib *l)
{
	char said[1024];
	ssize_t n;

	if (l->down_ended || l->down.at < l->down.len)
		return false;
	n = libssh2_channel_read_ex(l->channel, SSH_EXTENDED_DATA_STDERR, said, sizeof said);
	if (n > 0)
		ssh_tail_add(&l->base, said, (size_t)n);
	n = libssh2_channel_read_ex(l->channel, 0, (char *)l->down.p, PUMP_BYTES);
	l->half = is_half(l, n) ? OP_READ : OP_NONE;
	if (n > 0) {
		l->down.at = 0;
		l->down.len = (size_t)n;
		return true;
	}
	if (n == LIBSSH2_ERROR_EAGAIN)
		return false;
	if (n < 0 || libssh2_channel_eof(l->channel))
		l->down_ended = true;
	return l->down_ended;
}

static bool pump_down(struct lib *l)
{
	if (l->down.at == l->down.len)
		return false;
	ssize_t n = send(l->pump_fd, l->down.p + l->down.at, l->down.len - l->down.at, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n > 0)
		l->down.at += (size_t)n;
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		l->down.at = l->down.len = 0; /* nobody reads any more */
	return n > 0;
}

/* One turn; false when nothing moved. A call that stands half way comes first, and alone. */
static bool pump_turn(struct lib *l)
{
	if (l->half == OP_WRITE || l->half == OP_EOF)
		return pump_up(l);
	if (l->half == OP_READ)
		return take_down(l);
	bool moved = take_up(l);

	moved |= pump_up(l);
	if (l->half == OP_NONE)
		moved |= take_down(l);
	moved |= pump_down(l);
	return moved;
}

/* False when ssh_free() wants the end. */
static bool pump_wait(struct lib *l)
{
	int next = SSH_KEEPALIVE_S;
	short mine = (short)((!l->up_ended && l->up.at == l->up.len ? POLLIN : 0) |
	                     (l->down.at < l->down.len ? POLLOUT : 0));
	struct pollfd p[3] = {
	        {l->sock, wanted_events(l), 0}, {mine ? l->pump_fd : -1, mine, 0}, {l->stop_fd, POLLIN, 0}};

	if (l->half == OP_NONE)
		(void)libssh2_keepalive_send(l->session, &next);
	/* What was read is not taken yet: the socket would be ready for ever. */
	if (l->half == OP_NONE && l->down.at < l->down.len)
		p[0].events &= POLLOUT;
	(void)poll(p, ARRAY_LEN(p), MAX(next, 1) * 1000);
	return !p[2].revents;
}

/* The exit status comes behind the end of the stream. 255 when it does not come. */
static int exit_status(struct lib *l)
{
	int64_t deadline = ssh_now_ms() + SSH_EXIT_MS;
	int rc;

	if (!libssh2_channel_eof(l->channel))
		return 255;
	while ((rc = libssh2_channel_wait_closed(l->channel)) == LIBSSH2_ERROR_EAGAIN) {
		struct pollfd p[2] = {{l->sock, wanted_events(l), 0}, {l->stop_fd, POLLIN, 0}};

		if (ssh_now_ms() >= deadline ||
		        (poll(p, ARRAY_LEN(p), ssh_poll_ms(deadline, NULL)) > 0 && p[1].revents))
			return 255;
	}
	return rc ? 255 : libssh2_channel_get_exit_status(l->channel);
}

static void pump_close(struct lib *l)
{
	char *text = NULL;
	int status = exit_status(l);

	(void)libssh2_session_last_error(l->session, &text, NULL, 0);
	pthread_mutex_lock(&l->end);
	l->done = true;
	l->status = status;
	if (status == 255)
		(void)snprintf(l->reason, sizeof l->reason, "%s", text && *text ? text : "the connection was closed");
	pthread_mutex_unlock(&l->end);
	(void)shutdown(l->pump_fd, SHUT_RDWR);
}

static void *pump_run(void *arg)
{
	struct lib *l = arg;

	while (!l->down_ended || l->down.at < l->down.len)
		if (!pump_turn(l) && !pump_wait(l))
			break;
	pump_close(l);
	return NULL;
}

/* --- the end --- */

static int lib_ended(struct ssh *s, int64_t within_ms, int *ret_status, struct err *err)
{
	struct lib *l = lib_of(s);
	int64_t deadline = ssh_now_ms() + within_ms;

	for (;;) {
		struct pollfd p = {s->fd, POLLIN, 0};

		pthread_mutex_lock(&l->end);
		bool done = l->done;

		pthread_mutex_unlock(&l->end);
		if (done)
			break;
		if (ssh_cancelled(s, err))
			return -ERR_CANCELLED;
		if (ssh_now_ms() >= deadline)
			return err_set(err, ERR_UNREACHABLE, "%s: the other side does not end", s->where);
		(void)poll(&p, 1, ssh_poll_ms(deadline, s->cancel));
	}
	*ret_status = l->status;
	return l->status == 255 ? err_set(err, ERR_UNREACHABLE, "%s: %s", s->where, l->reason) : 0;
}

static void lib_free(struct ssh *s)
{
	struct lib *l = lib_of(s);
	const uint64_t one = 1;

	if (l->running) {
		(void)!write(l->stop_fd, &one, sizeof one);
		pthread_join(l->thread, NULL);
	}
	/* Without a farewell: the socket goes, and with it what a blocked peer could make us wait for. */
	if (l->sock >= 0)
		(void)shutdown(l->sock, SHUT_RDWR);
	if (l->channel)
		(void)libssh2_channel_free(l->channel);
	if (l->session)
		(void)libssh2_session_free(l->session);
	close_fd(&l->sock);
	close_fd(&l->pump_fd);
	close_fd(&l->stop_fd);
	pthread_mutex_destroy(&l->end);
	free(l->up.p);
	free(l->down.p);
	ssh_release(s);
	free(l);
}

static const struct ssh_ops lib_ops = {"libssh2", no_stderr, lib_ended, lib_free};

/* --- opening --- */

static void init_library(void)
{
	if (libssh2_init(0))
		BUG("libssh2_init failed");
}

static int set_up(struct lib *l, const struct ssh_config *c, struct err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int rc;

	pthread_once(&once, init_library);
	l->pump_fd = ssh_init(&l->base, c);
	l->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (l->pump_fd < 0 || l->stop_fd < 0)
		return err_sys(err, ERR_IO, "%s: make a socket", l->base.where);
	l->deadline = ssh_now_ms() + (c->connect_ms > 0 ? c->connect_ms : SSH_CONNECT_MS);
	l->session = libssh2_session_init_ex(NULL, NULL, NULL, NULL);
	if (!l->session)
		return err_set(err, ERR_NOMEM, "%s: no memory for a session", l->base.where);
	libssh2_session_set_blocking(l->session, 0);
	if ((rc = connect_host(l, c, err)) || (rc = handshake(l, c, err)) || (rc = authenticate(l, c, err)) ||
	        (rc = open_channel(l, err)) || (rc = start_remote(l, c, err)))
		return rc;
	libssh2_keepalive_config(l->session, 1, SSH_KEEPALIVE_S);
	l->up.p = xmalloc(PUMP_BYTES);
	l->down.p = xmalloc(PUMP_BYTES);
	if (pthread_create(&l->thread, NULL, pump_run, l))
		return err_set(err, ERR_IO, "%s: cannot start a thread", l->base.where);
	l->running = true;
	return 0;
}

int ssh_libssh2_open(const struct ssh_config *c, struct ssh **ret, struct err *err)
{
	struct lib *l = xcalloc(1, sizeof *l);

	l->base.ops = &lib_ops;
	l->sock = l->pump_fd = l->stop_fd = -1;
	l->status = 255;
	pthread_mutex_init(&l->end, NULL);
	int rc = set_up(l, c, err);

	if (rc) {
		lib_free(&l->base);
		return rc;
	}
	*ret = &l->base;
	return 0;
}
