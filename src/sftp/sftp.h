/*
 * What the parts of the SFTP driver share: sftp.c (opening, small operations), sftp_pool.c (links), sftp_dirs.c,
 * sftp_put.c, sftp_get.c, sftp_list.c and sftp_attack.c. Nobody else includes this.
 */
#ifndef SFTP_SFTP_H
#define SFTP_SFTP_H

#include <pthread.h>
#include "sftp/sftp_link.h"
#include "store/store.h"

#define SFTP_LINKS_MAX 4u
#define SFTP_TEMP_DIR ".t"
#define SFTP_PATH_MAX (STORE_KEY_MAX + 4096u)

struct sftp_store {
	struct store base;
	struct ssh_config ssh; /* its strings are the owned ones below */
	char *host, *user, *identity, *known_hosts;
	char *dir;             /* absolute, without a '/' at its end; "" is the root */
	pthread_mutex_t mutex; /* of all that follows */
	pthread_cond_t freed;
	struct sftp_link *idle[SFTP_LINKS_MAX];
	unsigned n_idle, n_links, max_links;
	bool temps_swept;
	char **known; /* sorted; directories (as in keys) that are there and durable */
	size_t n_known, cap_known;
};

/* store_sftp_open() with another time after which a silent link is given up; 0: the usual one. */
int sftp_open_timed(const char *rest, const struct store_config *c, int64_t idle_ms, struct store **ret,
        struct err *err) HF_NODISCARD;
/* A store with one link, taken over, and no way to make another: for servers that are no process. */
struct store *sftp_store_on(struct sftp_link *l);
/* A link for one operation: an idle one that still stands, or a new one; waits when all are in use. */
int sftp_acquire(struct sftp_store *f, struct sftp_link **ret, struct err *err) HF_NODISCARD;
/* Give it back; a broken one is closed. NULL is fine. */
void sftp_release(struct sftp_store *f, struct sftp_link *l);
void sftp_pool_release(struct sftp_store *f);
/* The server's path of a key or directory ("" for the root). */
char *sftp_path(const struct sftp_store *f, const char *key, char out[SFTP_PATH_MAX]);
/* ERR_MISSING for the key; but ERR_UNREACHABLE when the whole directory of the site is not there. */
int sftp_missing(struct sftp_store *f, struct sftp_link *l, const char *key, struct err *err);
/* The result of what is no look at an object: the server's "no such file" is then just a failure. */
int sftp_odd(int rc, struct err *err);
/* As sftp_status_error(), but a failure without a name is asked about: is the disk full? */
int sftp_write_error(struct sftp_store *f, struct sftp_link *l, const struct sftp_reply *r, const char *what,
        const char *key, struct err *err);
/* One request by path, answered. */
int sftp_simple(struct sftp_link *l, enum sftp_type type, const char *path, struct sftp_reply *ret, struct err *err);
bool sftp_is_dir(const struct sftp_reply *r);
bool sftp_is_file(const struct sftp_reply *r); /* regular, of known size */
bool sftp_is_status(const struct sftp_reply *r, uint32_t status);

/* Directories known to be durable. */
bool sftp_dir_known(struct sftp_store *f, const char *dir);
void sftp_dir_remember(struct sftp_store *f, const char *dir);
void sftp_dirs_forget(struct sftp_store *f);

/* The directory of key, "" for the root. */
void sftp_parent(const char *key, char out[STORE_KEY_MAX + 1]);
/* Make those on the way to key, durably. ERR_EXISTS when one of them is an object. */
int sftp_make_dirs(struct sftp_store *f, struct sftp_link *l, const char *key, struct err *err) HF_NODISCARD;
/* Only some servers open directories as files, and only such can be asked to make names in them durable. */
bool sftp_may_sync_dirs(const struct sftp_link *l);
/* Queue what opens dir for that; its call's id. */
uint32_t sftp_queue_open_dir(const struct sftp_store *f, struct sftp_link *l, const char *dir);
/* Make names in dir durable, where the server can. */
int sftp_sync_dir(struct sftp_store *f, struct sftp_link *l, const char *dir, struct err *err) HF_NODISCARD;
int sftp_sync_failed(const struct sftp_reply *r, const char *dir, struct err *err);

int sftp_put(struct store *s, const char *key, const struct store_src *src, struct err *err);
int sftp_get(struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err);
int sftp_list(struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err);
int sftp_clock(struct store *s, int64_t *ret_ns, struct err *err);
int sftp_attack(struct store *s, enum store_attack what, const char *key, struct err *err);

#endif
