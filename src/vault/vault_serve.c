#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "crypto/crypto.h"
#include "evidence/witness.h"
#include "vault/vault_main.h"

#define TELL_REFUSALS 20 /* a connection; who is refused knows it anyway */
#define DAMAGED_MAX 10000

/* --- confinement --- */

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

int vault_confine(struct err *err)
{
#ifdef ARCH
#define REFUSE(name)                                                                                                   \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
	struct sock_filter code[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        REFUSE(execve),
	        REFUSE(execveat),
	        REFUSE(socket),
	        REFUSE(connect),
	        REFUSE(bind),
	        REFUSE(listen),
	        REFUSE(accept),
	        REFUSE(accept4),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = {.len = sizeof code / sizeof *code, .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		return err_sys(err, ERR_IO, "cannot give up programs and the network");
#endif
	(void)err;
	return 0;
}

/* --- serving --- */

struct vault {
	const struct vault_opts *o;
	char *place; /* dir and prefix */
	struct store *store;
	struct witness *witness;
	atomic_uint refusals;
};

static void vault_release(struct vault *v)
{
	store_free(v->store);
	witness_free(v->witness);
	free(v->place);
}

/* Only what is beneath DIR is ever made: DIR itself may be the mount point of a disk that is not there. */
static int open_place(struct vault *v, bool create, struct err *err)
{
	const struct vault_opts *o = v->o;
	struct store_config c = {.name = v->place, .create = create && o->prefix && wire_role_may_put(o->access.role)};

	if (v->store)
		return 0;
	if (c.create && !fs_exists(o->dir)) {
		(void)err_set(err, ERR_UNREACHABLE, "directory %s is not there", o->dir);
		return err ? err_hint(err, "is the disk mounted?") : -ERR_UNREACHABLE;
	}
	return store_file_open(v->place, &c, &v->store, err);
}

static int vault_open(void *arg, bool create, struct store **ret, struct err *err)
{
	struct vault *v = arg;
	int rc = open_place(v, create, err);

	*ret = v->store;
	return rc;
}

static int vault_allow(void *arg, enum wire_op op, const char *key, struct err *err)
{
	struct vault *v = arg;
	int rc = wire_access_allow((void *)&v->o->access, op, key, err);

	if (rc && err && atomic_fetch_add(&v->refusals, 1) < TELL_REFUSALS)
		log_msg(LOG_WARN, "%s: refused: %s", v->o->client, err->msg);
	return rc;
}

static int vault_cosign(void *arg, const void *p, size_t n, struct buf *ret, struct err *err)
{
	struct vault *v = arg;
	int rc = witness_cosign(v->witness, v->store, p, n, ret, err);

	if (rc && err)
		log_msg(LOG_WARN, "%s: not cosigned: %s", v->o->client, err->msg);
	return rc;
}

static int vault_init(struct vault *v, const struct vault_opts *o, struct err *err)
{
	*v = (struct vault){.o = o};
	if (o->prefix && !store_key_ok(o->prefix))
		return err_set(err, ERR_USAGE, "'%.100s' is no prefix", o->prefix);
	v->place = o->prefix ? fs_join(o->dir, o->prefix) : xstrdup(o->dir);
	return o->witness ? witness_open(o->witness, &v->witness, err) : 0;
}

int vault_serve(const struct vault_opts *o, int in_fd, int out_fd, struct err *err)
{
	CLEAN(vault_release) struct vault v;
	char role[80];
	struct wire *w;
	int rc = vault_init(&v, o, err);

	if (rc)
		return rc;
	(void)snprintf(role, sizeof role, "holdfast-vault %s", wire_role_name(o->access.role));
	rc = wire_new(in_fd, out_fd, &(struct wire_opts){.name = o->client, .role = role, .spool = v.place}, &w, err);
	if (rc)
		return rc;
	wire_serve_store(w, 0, &(struct wire_served){
	                               .open = vault_open,
	                               .allow = vault_allow,
	                               .cosign = v.witness ? vault_cosign : NULL,
	                               .arg = &v,
	                       });
	rc = wire_run(w, err);
	wire_free(w);
	return rc;
}

/* --- verifying --- */

struct check {
	struct store *s;
	json_t *damaged;
	uint64_t objects, checked, bytes;
	struct sha256 *h;
};

static int hash_more(void *arg, const void *p, size_t n, struct err *err)
{
	struct check *c = arg;

	(void)err;
	sha256_update(c->h, p, n);
	c->bytes += n;
	return 0;
}

static void damaged(struct check *c, const char *key, const char *why)
{
	if (json_array_size(c->damaged) < DAMAGED_MAX)
		json_array_append_new(c->damaged, json_pack("{s:s, s:s}", "key", key, "why", why));
}

static int check_object(void *arg, const char *key, const struct store_stat *st, struct err *err)
{
	struct check *c = arg;
	struct store_sink sink = {hash_more, c};
	unsigned char want[SHA256_LEN], got[SHA256_LEN];
	struct err why = ERR_INIT;

	(void)st;
	(void)err;
	c->objects++;
	if (!wire_key_digest(key, want))
		return 0;
	c->checked++;
	sha256_reset(c->h);
	if (store_get_sink(c->s, key, (struct store_range){0, 0}, &sink, &why)) {
		damaged(c, key, why.msg);
		return 0;
	}
	sha256_final(c->h, got);
	if (memcmp(got, want, sizeof got) != 0)
		damaged(c, key, "its bytes have another digest than its name");
	return 0;
}

int vault_verify(const struct vault_opts *o, json_t **ret, struct err *err)
{
	CLEAN(vault_release) struct vault v;
	CLEAN(sha256_free_ptr) struct sha256 *h = sha256_new();
	int rc = vault_init(&v, o, err);

	*ret = NULL;
	if (!rc)
		rc = open_place(&v, false, err);
	if (rc)
		return rc;
	struct check c = {.s = v.store, .damaged = json_array(), .h = h};

	rc = store_list(v.store, "", NULL, check_object, &c, err);
	size_t n = json_array_size(c.damaged);

	*ret = json_pack("{s:i, s:I, s:I, s:I, s:o}", "v", 1, "objects", (json_int_t)c.objects, "checked",
	        (json_int_t)c.checked, "bytes", (json_int_t)c.bytes, "damaged", c.damaged);
	if (!rc && n)
		rc = err_set(err, ERR_CORRUPT, "%zu objects are damaged", n);
	return rc;
}
