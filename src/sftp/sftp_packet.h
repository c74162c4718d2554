/*
 * The packets of SFTP version 3 (draft-ietf-secsh-filexfer-02) and of OpenSSH's extensions to it (its PROTOCOL file):
 * requests are appended to a buffer, answers are read from hostile bytes. No state, no input or output.
 */
#ifndef SFTP_SFTP_PACKET_H
#define SFTP_SFTP_PACKET_H

#include "base/buf.h"

/* What an answer may be long, and what a request of ours is with its data: OpenSSH's limit and some room. */
#define SFTP_PACKET_MAX ((256u << 10) + 1024)
#define SFTP_HANDLE_MAX 256u

enum sftp_type {
	SFTP_INIT = 1,
	SFTP_VERSION = 2,
	SFTP_OPEN = 3,
	SFTP_CLOSE = 4,
	SFTP_READ = 5,
	SFTP_WRITE = 6,
	SFTP_LSTAT = 7,
	SFTP_FSTAT = 8,
	SFTP_SETSTAT = 9,
	SFTP_OPENDIR = 11,
	SFTP_READDIR = 12,
	SFTP_REMOVE = 13,
	SFTP_MKDIR = 14,
	SFTP_STAT = 17,
	SFTP_RENAME = 18,
	SFTP_STATUS = 101,
	SFTP_HANDLE = 102,
	SFTP_DATA = 103,
	SFTP_NAME = 104,
	SFTP_ATTRS = 105,
	SFTP_EXTENDED = 200,
	SFTP_EXTENDED_REPLY = 201,
};
enum sftp_status {
	SFTP_OK = 0,
	SFTP_EOF = 1,
	SFTP_NO_SUCH_FILE = 2,
	SFTP_PERMISSION_DENIED = 3,
	SFTP_FAILURE = 4,
	SFTP_BAD_MESSAGE = 5,
	SFTP_NO_CONNECTION = 6,
	SFTP_CONNECTION_LOST = 7,
	SFTP_OP_UNSUPPORTED = 8,
	/* Of later versions, which some servers send all the same: */
	SFTP_FILE_ALREADY_EXISTS = 11,
	SFTP_WRITE_PROTECT = 12,
	SFTP_NO_SPACE = 14,
	SFTP_QUOTA_EXCEEDED = 15,
};
enum sftp_flags { SFTP_F_READ = 1, SFTP_F_WRITE = 2, SFTP_F_CREAT = 8, SFTP_F_TRUNC = 16, SFTP_F_EXCL = 32 };
#define SFTP_NO_MODE UINT32_MAX

struct sftp_handle {
	unsigned char p[SFTP_HANDLE_MAX];
	uint32_t n; /* 0: none */
};
struct sftp_attrs {
	bool has_size, has_mode, has_mtime;
	uint64_t size;
	uint32_t mode, mtime; /* mtime in seconds */
};
/* An answer. What is borrowed stays valid as long as the packet's bytes. */
struct sftp_reply {
	uint8_t type; /* SFTP_STATUS to SFTP_EXTENDED_REPLY */
	uint32_t id;
	uint32_t status; /* of SFTP_STATUS; SFTP_OK with all others */
	char said[96];   /* its text, fit for messages */
	struct sftp_handle handle;
	const unsigned char *data; /* SFTP_DATA, SFTP_EXTENDED_REPLY: borrowed */
	uint32_t n_data;
	struct sftp_attrs attrs;
	struct rd names; /* SFTP_NAME: borrowed */
	uint32_t n_names;
};
struct sftp_name {
	const char *p; /* borrowed, n bytes, not terminated, hostile */
	uint32_t n;
	struct sftp_attrs attrs;
};
struct sftp_server {
	uint32_t version;
	bool fsync, statvfs, limits, posix_rename;
};
struct sftp_limits {
	uint64_t packet, read, write, handles; /* 0: not told */
};
struct sftp_space {
	uint64_t bytes, files; /* free for this user */
	bool read_only;
};

/* --- requests: appended to b, whose ceiling must have room (else it aborts) --- */
void sftp_put_init(struct buf *b);
void sftp_put_open(struct buf *b, uint32_t id, const char *path, uint32_t flags, uint32_t mode);
/* OPENDIR, LSTAT, STAT, REMOVE. */
void sftp_put_path(struct buf *b, enum sftp_type type, uint32_t id, const char *path);
/* MKDIR, SETSTAT. */
void sftp_put_mode(struct buf *b, enum sftp_type type, uint32_t id, const char *path, uint32_t mode);
void sftp_put_rename(struct buf *b, uint32_t id, const char *from, const char *to);
/* CLOSE, FSTAT, READDIR. */
void sftp_put_handle(struct buf *b, enum sftp_type type, uint32_t id, const struct sftp_handle *h);
void sftp_put_read(struct buf *b, uint32_t id, const struct sftp_handle *h, uint64_t off, uint32_t n);
/* The head of a write; its n bytes are to be appended by the caller. */
void sftp_put_write(struct buf *b, uint32_t id, const struct sftp_handle *h, uint64_t off, uint32_t n);
void sftp_put_fsync(struct buf *b, uint32_t id, const struct sftp_handle *h);
void sftp_put_statvfs(struct buf *b, uint32_t id, const char *path);
void sftp_put_posix_rename(struct buf *b, uint32_t id, const char *from, const char *to);
void sftp_put_limits(struct buf *b, uint32_t id);

/* --- answers: ERR_FORMAT for what is none --- */
/* Length of the packet behind the first four bytes at p. */
int sftp_get_length(const unsigned char p[4], uint32_t *ret, struct err *err) HF_NODISCARD;
/* The first answer of a server: its version and what it offers. */
int sftp_get_version(const void *p, size_t n, struct sftp_server *ret, struct err *err) HF_NODISCARD;
int sftp_get_reply(const void *p, size_t n, struct sftp_reply *ret, struct err *err) HF_NODISCARD;
/* The next of n_names: 1, 0 when there is none left, or -ERR_FORMAT. */
int sftp_get_name(struct sftp_reply *r, struct sftp_name *ret, struct err *err) HF_NODISCARD;
int sftp_get_limits(const struct sftp_reply *r, struct sftp_limits *ret, struct err *err) HF_NODISCARD;
int sftp_get_space(const struct sftp_reply *r, struct sftp_space *ret, struct err *err) HF_NODISCARD;

#endif
