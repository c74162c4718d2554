#include "agent/vault.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "agent/agent.h"
#include "base/mem.h"
#include "base/str.h"
#include "ssh/ssh.h"

#define PROGRAM "holdfast-vault"
#define GREETING "HFWIRE\r\n"

/*
 * A stream over SSH moves at most a window of 2 MiB a round trip, so large objects get more than one: at 80 ms one
 * would carry 25 MB/s.
 */
#define LINKS_MAX 4
#define LARGE ((size_t)1 << 20)

/* A connection, as long as somebody uses it. */
struct link {
	struct agent *agent;
	struct store *store;
	unsigned users, large; /* operations on it; those among them that move large objects */
	bool forgotten;
};
struct vault {
	struct store base; /* first */
	char *host, *path, *identity, *known_hosts;
	const atomic_bool *cancel;
	bool create;
	pthread_mutex_t m;
	pthread_cond_t changed;
	struct link *link[LINKS_MAX]; /* alive, the first n_links */
	size_t n_links;
	bool connecting, enough; /* enough: one more was tried, and failed */
	uint64_t attempts;       /* that ended, of those that were made without any connection */
	struct err failed;       /* of the last of these, code 0: it worked */
};

static struct vault *vault_of(struct store *s)
{
	return (struct vault *)s;
}

/* --- connections --- */

static void link_free(struct link *l)
{
	store_free(l->store);
	agent_end(l->agent);
	free(l);
}

static int connect_new(struct vault *v, struct link **ret, struct err *err)
{
	const char *const args[] = {"--role", "controller", v->path, NULL};
	const struct agent_config c = {
	        .host = v->host,
	        .program = PROGRAM,
	        .args = args,
	        .identity = v->identity,
	        .known_hosts = v->known_hosts,
	        .cancel = v->cancel,
	};
	struct link *l = xcalloc(1, sizeof *l);
	int rc = agent_start(&c, &l->agent, err);

	if (!rc)
		rc = wire_store_open(agent_wire(l->agent), 0, v->base.name, v->create, &l->store, err);
	if (rc) {
		link_free(l);
		return rc;
	}
	/* A place that vanishes later is not to be made anew, empty. */
	v->create = false;
	*ret = l;
	return 0;
}

/* Dead connections are forgotten, and freed by their last user. Under the lock, as all here. */
static void forget_dead(struct vault *v)
{
	for (size_t i = 0; i < v->n_links;) {
		struct link *l = v->link[i];

		if (!wire_dead(agent_wire(l->agent), NULL)) {
			i++;
			continue;
		}
		v->link[i] = v->link[--v->n_links];
		l->forgotten = true;
		if (!l->users)
			link_free(l);
	}
}

static struct link *least_busy(const struct vault *v)
{
	struct link *best = NULL;

	for (size_t i = 0; i < v->n_links; i++) {
		struct link *l = v->link[i];

		if (!best || l->large < best->large || (l->large == best->large && l->users < best->users))
			best = l;
	}
	return best;
}

/* Lets go of the lock meanwhile. */
static int add_link(struct vault *v, struct link **ret, struct err *err)
{
	struct link *l = NULL;

	v->connecting = true;
	pthread_mutex_unlock(&v->m);
	int rc = connect_new(v, &l, err);

	pthread_mutex_lock(&v->m);
	v->connecting = false;
	if (!rc)
		v->link[v->n_links++] = l;
	pthread_cond_broadcast(&v->changed);
	*ret = l;
	return rc;
}

/* One thread connects; who waited for it shares its failure instead of trying again one by one. */
static int first_link(struct vault *v, struct link **ret, struct err *err)
{
	uint64_t seen = v->attempts;

	while (!v->n_links && v->connecting)
		pthread_cond_wait(&v->changed, &v->m);
	*ret = least_busy(v);
	if (*ret)
		return 0;
	if (v->attempts == seen || !v->failed.code) {
		struct err why = ERR_INIT;
		int rc = add_link(v, ret, &why);

		v->attempts++;
		v->failed = why;
		v->enough = false;
		if (!rc)
			return 0;
	}
	if (err)
		*err = v->failed;
	return -(int)v->failed.code;
}

static int take_link(struct vault *v, bool large, struct link **ret, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&v->m);
	forget_dead(v);
	struct link *l = least_busy(v), *more;

	if (!l)
		rc = first_link(v, &l, err);
	else if (large && l->large && v->n_links < LINKS_MAX && !v->connecting && !v->enough) {
		l->users++; /* or it might be gone meanwhile */
		rc = add_link(v, &more, NULL);
		l->users--;
		v->enough = rc != 0;
		if (!rc && !l->users && l->forgotten)
			link_free(l);
		if (!rc)
			l = more;
		rc = 0;
	}
	if (!rc) {
		l->users++;
		l->large += large;
		if (l->store->pace != v->base.pace) /* a throttle that came later */
			l->store->pace = v->base.pace;
		*ret = l;
	}
	pthread_mutex_unlock(&v->m);
	return rc;
}

static void give_link(struct vault *v, bool large, struct link *l)
{
	pthread_mutex_lock(&v->m);
	l->users--;
	l->large -= large;
	bool last = !l->users && l->forgotten;

	pthread_mutex_unlock(&v->m);
	if (last)
		link_free(l);
}

/* --- operations: each on the connection of the moment --- */

#define ON_LINK(s, call) ON_LINK_FOR(s, false, call)
#define ON_LINK_FOR(s, is_large, call)                                                                                 \
	struct vault *v = vault_of(s);                                                                                 \
	struct link *l;                                                                                                \
	const bool large = (is_large);                                                                                 \
	int rc = take_link(v, large, &l, err);                                                                         \
                                                                                                                       \
	if (rc)                                                                                                        \
		return rc;                                                                                             \
	struct store *at = l->store;                                                                                   \
                                                                                                                       \
	rc = (call);                                                                                                   \
	give_link(v, large, l);                                                                                        \
	return rc

static int vault_put(struct store *s, const char *key, const struct store_src *src, struct err *err)
{
	size_t n = 0;

	for (size_t i = 0; i < src->n_pieces; i++)
		n += src->piece[i].n;
	ON_LINK_FOR(s, n >= LARGE, at->ops->put(at, key, src, err));
}

static int vault_get(struct store *s, const char *key, struct store_range range, struct store_sink *sink, struct err *err)
{
	ON_LINK_FOR(s, str_starts(key, "p/") && (!range.len || range.len >= LARGE),
	        at->ops->get(at, key, range, sink, err));
}

static int vault_stat(struct store *s, const char *key, struct store_stat *ret, struct err *err)
{
	ON_LINK(s, at->ops->stat(at, key, ret, err));
}

static int vault_list(
        struct store *s, const char *prefix, const char *after, store_list_fn fn, void *arg, struct err *err)
{
	ON_LINK(s, at->ops->list(at, prefix, after, fn, arg, err));
}

static int vault_remove(struct store *s, const char *key, struct err *err)
{
	ON_LINK(s, at->ops->remove(at, key, err));
}

static int vault_sync(struct store *s, struct err *err)
{
	ON_LINK(s, at->ops->sync(at, err));
}

static int vault_get_older(struct store *s, const char *key, unsigned n, struct store_sink *sink, struct err *err)
{
	ON_LINK(s, at->ops->get_older(at, key, n, sink, err));
}

static int vault_digest(struct store *s, const char *key, unsigned char ret[32], struct err *err)
{
	ON_LINK(s, at->ops->digest(at, key, ret, err));
}

static int vault_lock(struct store *s, const char *key, struct store_lock *ret, struct err *err)
{
	ON_LINK(s, at->ops->lock(at, key, ret, err));
}

static int vault_extend(struct store *s, const char *key, int64_t until_ns, struct err *err)
{
	ON_LINK(s, at->ops->extend(at, key, until_ns, err));
}

static int vault_clock(struct store *s, int64_t *ret_ns, struct err *err)
{
	ON_LINK(s, at->ops->clock(at, ret_ns, err));
}

static int vault_cosign(struct store *s, const void *p, size_t n, struct buf *ret, struct err *err)
{
	ON_LINK(s, at->ops->cosign(at, p, n, ret, err));
}

/* --- attacks: what a thief of the key would try --- */

/*
 * Have the key's account run a command; its first bytes of output. A forced command answers whatever is asked, with the
 * vault's greeting.
 */
static int run_there(struct vault *v, const char *const *argv, char *out, size_t size, struct err *err)
{
	CLEAN(ssh_free_ptr) struct ssh *s = NULL;
	struct agent_host h;
	size_t n = 0, got = 1;

	memset(out, 0, size);
	if (!agent_host_parse(v->host, &h))
		return err_set(err, ERR_UNSUPPORTED, "there is no SSH to try");
	const struct ssh_config c = {
	        .host = h.host,
	        .user = h.has_user ? h.user : NULL,
	        .port = h.port,
	        .identity = v->identity,
	        .known_hosts = v->known_hosts,
	        .argv = argv,
	        .cancel = v->cancel,
	};
	int rc = ssh_open(&c, &s, err);

	if (!rc)
		rc = ssh_end_write(s, err);
	while (!rc && got && n < size - 1) {
		rc = ssh_read(s, out + n, size - 1 - n, &got, err);
		n += got;
	}
	return n ? 0 : rc;
}

static bool greets(const char *out, size_t size)
{
	return memmem(out, size, GREETING, strlen(GREETING)) != NULL;
}

/* 0 when the command ran there, ERR_DENIED when the vault answered in its place. */
static int try_command(struct vault *v, const char *const *argv, struct err *err)
{
	char out[512];
	int rc = run_there(v, argv, out, sizeof out, err);

	if (rc && rc != -ERR_UNREACHABLE && rc != -ERR_MISSING)
		return rc;
	if (greets(out, sizeof out))
		return err_set(err, ERR_DENIED, "the forced command answers, whatever is asked for");
	return 0;
}

static int changed(struct vault *v, const char *key, const unsigned char before[32], struct err *err)
{
	unsigned char after[32];
	int rc = vault_digest(&v->base, key, after, err);

	if (rc == -ERR_MISSING || (!rc && memcmp(before, after, sizeof after) != 0))
		return 0;
	return rc ? rc
	          : err_set(err, ERR_FAILED, "the account takes commands, but %s/%s is not the object", v->path, key);
}

static int attack_by_command(struct vault *v, enum store_attack what, const char *key, struct err *err)
{
	CLEAN(free_ptr) char *path = NULL;
	unsigned char before[32];
	int rc = vault_digest(&v->base, key, before, err);

	if (rc)
		return rc;
	if (asprintf(&path, "%s/%s", v->path, key) < 0)
		BUG("out of memory");
	const char *const remove[] = {"rm", "-f", "--", path, NULL};
	const char *const overwrite[] = {"cp", "-f", "--", "/etc/hostname", path, NULL};

	rc = try_command(v, what == STORE_OVERWRITE ? overwrite : remove, err);
	return rc ? rc : changed(v, key, before, err);
}

/* A pack's name promises its digest: this one lies. */
static int put_liar(struct vault *v, const char *key, struct err *err)
{
	char dir[STORE_KEY_MAX + 1], liar[STORE_KEY_MAX + 80];
	const char *slash = strrchr(key, '/');

	(void)snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - key) + 1 : 0, key);
	(void)snprintf(liar, sizeof liar, "%s%064d", dir, 0);
	return store_key_ok(liar) ? store_put_bytes(&v->base, liar, "liar", 4, err)
	                          : err_set(err, ERR_UNSUPPORTED, "the key is too long to try");
}

static int vault_attack(struct store *s, enum store_attack what, const char *key, struct err *err)
{
	struct vault *v = vault_of(s);
	const struct store_piece other = {"other bytes", 11};
	int rc;

	switch (what) {
	case STORE_BAD_DIGEST:
		return put_liar(v, key, err);
	case STORE_SHORTEN_LOCK:
		return err_set(err, ERR_UNSUPPORTED, "it has no locks");
	case STORE_OVERWRITE:
		rc = vault_put(s, key, &(struct store_src){&other, 1}, err);
		if (rc != -ERR_EXISTS)
			return rc;
		break;
	default:
		break;
	}
	return attack_by_command(v, what, key, err);
}

/* --- opening --- */

static void vault_free(struct store *s)
{
	struct vault *v = vault_of(s);

	for (size_t i = 0; i < v->n_links; i++)
		link_free(v->link[i]);
	pthread_mutex_destroy(&v->m);
	pthread_cond_destroy(&v->changed);
	free(v->host);
	free(v->path);
	free(v->identity);
	free(v->known_hosts);
	free(s->name);
	free(v);
}

static const struct store_ops vault_ops = {
        .scheme = "ssh",
        .put = vault_put,
        .get = vault_get,
        .stat = vault_stat,
        .list = vault_list,
        .remove = vault_remove,
        .sync = vault_sync,
        .free = vault_free,
        .get_older = vault_get_older,
        .digest = vault_digest,
        .lock = vault_lock,
        .extend = vault_extend,
        .clock = vault_clock,
        .attack = vault_attack,
        .cosign = vault_cosign,
};

int agent_vault_open(const char *url, const struct store_config *c, struct store **ret, struct err *err)
{
	const char *path = str_starts(url, "ssh://") ? strchr(url + strlen("ssh://"), '/') : NULL;
	struct agent_host h;

	*ret = NULL;
	CLEAN(free_ptr) char *host = path ? xstrndup(url, (size_t)(path - url)) : NULL;

	if (!host || !agent_host_parse(host, &h) || !path[1])
		return err_set(err, ERR_USAGE, "'%.200s' is no vault: ssh://user@host[:port]/directory", url);
	struct vault *v = xcalloc(1, sizeof *v);
	struct link *l;

	v->base.ops = &vault_ops;
	v->base.name = xstrdup(c && c->name ? c->name : url);
	v->host = TAKE(host);
	v->path = xstrdup(path);
	v->identity = c && c->identity ? xstrdup(c->identity) : NULL;
	v->known_hosts = c && c->known_hosts ? xstrdup(c->known_hosts) : NULL;
	v->cancel = c ? c->cancel : NULL;
	v->create = c && c->create;
	pthread_mutex_init(&v->m, NULL);
	pthread_cond_init(&v->changed, NULL);
	int rc = take_link(v, false, &l, err);

	if (rc) {
		vault_free(&v->base);
		return rc;
	}
	v->base.caps = l->store->caps;
	give_link(v, false, l);
	*ret = &v->base;
	return 0;
}
