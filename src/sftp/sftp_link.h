/*
 * One SFTP connection: requests are queued and leave together, answers come in whatever order the server likes.
 *
 *   struct sftp_call c[2] = {{0}};
 *   c[0].id = sftp_id(l); sftp_put_path(&l->out, SFTP_LSTAT, c[0].id, path);
 *   c[1].id = ...
 *   sftp_await(l, c, 2, err): everything queued is sent, c[i].r are the answers
 *
 * Used by one thread at a time. After an error of a call here (not a status in an answer) the link is `broken`, and
 * good for nothing but sftp_link_free().
 */
#ifndef SFTP_SFTP_LINK_H
#define SFTP_SFTP_LINK_H

#include "ssh/ssh.h"
#include "sftp/sftp_packet.h"

/* Data that may be asked for or be unconfirmed on a link: full speed at 80 ms, as far as SSH's own window lets it. */
#define SFTP_WINDOW ((size_t)8 << 20)
#define SFTP_CALLS_MAX 128u  /* requests without answer */
#define SFTP_FORGET_MAX 192u /* of those, answers that nobody waits for */
#define SFTP_DIR_HANDLES 8u  /* open directories, for making names in them durable */

struct sftp_dir {
	char *path; /* owned; NULL: free slot */
	struct sftp_handle h;
	uint64_t used;
};
struct sftp_link {
	struct ssh *ssh;
	struct buf out; /* queued requests, sent up to out_at */
	size_t out_at;
	unsigned char *in;
	size_t in_at, in_len; /* bytes received and not looked at */
	uint32_t next_id, max_read, max_write;
	uint32_t forget[SFTP_FORGET_MAX];
	size_t n_forget;
	struct sftp_server server;
	bool broken, no_dir_sync;
	int64_t idle_ms, waited_ms; /* time spent waiting, and the bytes it brought: a link that crawls is dead */
	uint64_t crawled;
	struct sftp_dir dirs[SFTP_DIR_HANDLES];
	uint64_t dir_clock;
};
/* A request under way. */
struct sftp_call {
	uint32_t id;
	bool done;
	struct sftp_reply r; /* what it borrows is gone once the next answer is read */
};

/* Connect and greet. Errors of ssh_open(), ERR_UNSUPPORTED for a server that speaks no version 3. */
int sftp_link_new(const struct ssh_config *c, struct sftp_link **ret, struct err *err) HF_NODISCARD;
void sftp_link_free(struct sftp_link *l);
/* Whether a link that nobody used for a while still stands, without asking the server. */
bool sftp_link_alive(struct sftp_link *l);
/* A slow link is measured from here: at the start of each operation. */
void sftp_link_begin(struct sftp_link *l);

uint32_t sftp_id(struct sftp_link *l);
/* Nobody waits for the answer to this request. */
void sftp_forget(struct sftp_link *l, uint32_t id);
/* Move bytes; *ret_got says whether r is the next answer. Sends what is queued on the way. */
int sftp_turn(struct sftp_link *l, struct sftp_reply *r, bool *ret_got, struct err *err) HF_NODISCARD;
/* The next answer that somebody waits for. */
int sftp_next(struct sftp_link *l, struct sftp_reply *r, struct err *err) HF_NODISCARD;
/* The answers to all n calls; another one is ERR_FORMAT. */
int sftp_await(struct sftp_link *l, struct sftp_call *calls, size_t n, struct err *err) HF_NODISCARD;
/* The answer that no call of ours asked for: breaks the link. */
int sftp_unexpected(struct sftp_link *l, struct err *err) HF_NODISCARD;
/* Queue a CLOSE whose answer nobody waits for; h becomes none. */
void sftp_close(struct sftp_link *l, struct sftp_handle *h);

/* Open handle of a directory, or NULL; and keep one for later (an older one is closed). */
const struct sftp_handle *sftp_dir_handle(struct sftp_link *l, const char *path);
void sftp_dir_keep(struct sftp_link *l, const char *path, const struct sftp_handle *h);
void sftp_dirs_drop(struct sftp_link *l);

/* The error that a status means: "cannot WHAT KEY: ...". */
int sftp_status_error(const struct sftp_reply *r, const char *what, const char *key, struct err *err);

#endif
