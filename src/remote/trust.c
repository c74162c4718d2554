#include "remote/trust.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "crypto/signers.h"

#define LIST_MAX (256u << 10)

/*
 * A file of this host that decides what is done here. ERR_MISSING when it is not there; ERR_DENIED when others than root and we
 * could have written it.
 */
static int read_own(const char *path, struct buf *out, struct err *err)
{
	struct stat st;
	CLEAN(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st))
		return err_sys(err, ERR_IO, "read %s", path);
	if (!S_ISREG(st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid()) || st.st_mode & 022) {
		err_set(err, ERR_DENIED, "%s may be written by others, so it decides nothing", path);
		return err_hint(err, "chown root and chmod go-w it, and read it first");
	}
	if ((uint64_t)st.st_size > out->limit || buf_reserve(out, (size_t)st.st_size + 1, err))
		return err_set(err, ERR_NOMEM, "%s is too large", path);
	ssize_t n = fs_read_full(fd, out->p, (size_t)st.st_size);
	if (n < 0)
		return err_sys(err, ERR_IO, "read %s", path);
	out->len = (size_t)n;
	return 0;
}

/* 0 when a person whom this host knows has signed the plan; ERR_MISSING when none is to be looked at. */
static int check_signature(const struct root *r, const struct trust_plan *p, struct err *err)
{
	CLEAN(free_ptr) char *path = fs_join(r->config, "allowed_signers");
	CLEAN(buf_release) struct buf b = BUF_INIT(SIGNERS_FILE_MAX);
	char who[SIGNERS_PRINCIPAL];
	if (!p->signature)
		return err_set(err, ERR_MISSING, "the plan is not signed");
	int rc = read_own(path, &b, err);
	if (!rc)
		rc = signers_verify(b.p, b.len, TRUST_NAMESPACE, clock_wall_ns(), p->text, p->n_text, p->signature, p->n_signature, who, err);
	if (rc)
		return rc;
	log_msg(LOG_DEBUG, "plan '%s' is signed by %s", p->name, who);
	return 0;
}

static int load_plan(const struct trust_plan *p, struct plan **ret, struct err *err)
{
	struct plan_diags diags = PLAN_DIAGS_INIT;
	int rc = plan_load_bytes(p->name, p->text, p->n_text, ret, &diags, err);
	plan_diags_release(&diags);
	if (rc || str_eq((*ret)->name, p->name))
		return rc;
	plan_free_ptr(ret);
	return err_set(err, ERR_DENIED, "the plan that came is not '%s'", p->name);
}

/* --- sources --- */

static int source_hint(const struct root *r, const char *source, struct err *err)
{
	return err_hint(err, "write %s/sources.d/%s.yaml there: the keys of a plan's source, paths, commands and hooks", r->config, source);
}

static int own_source(const struct root *r, const char *source, struct plan **ret, struct err *err)
{
	char name[128];
	snprintf(name, sizeof name, "sources.d/%.64s.yaml", source);
	CLEAN(free_ptr) char *path = fs_join(r->config, name);
	CLEAN(buf_release) struct buf b = BUF_INIT(PLAN_FILE_MAX);
	struct plan_diags diags = PLAN_DIAGS_INIT;
	int rc = read_own(path, &b, err);
	if (rc)
		return rc;
	rc = plan_source_load_bytes(path, b.p, b.len, ret, &diags, err);
	plan_diags_release(&diags);
	if (rc || str_eq((*ret)->name, source))
		return rc;
	plan_free_ptr(ret);
	return err_set(err, ERR_USAGE, "%s describes another source", path);
}

int trust_source(const struct root *r, const char *source, const struct trust_plan *p, struct plan **ret, struct err *err)
{
	*ret = NULL;
	if (!str_is_id(source))
		return err_set(err, ERR_FORMAT, "no name of a source");
	int rc = own_source(r, source, ret, err);
	if (rc != -ERR_MISSING)
		return rc;
	struct err why = ERR_INIT;
	rc = check_signature(r, p, &why);
	if (rc) {
		(void)err_set(err, ERR_DENIED, "this host does not know a source '%s'%s%.150s", source, p->signature ? ": " : "", p->signature ? why.msg : "");
		return source_hint(r, source, err);
	}
	rc = load_plan(p, ret, err);
	if (rc || plan_source(*ret, source))
		return rc;
	plan_free_ptr(ret);
	return err_set(err, ERR_DENIED, "the signed plan has no source '%s'", source);
}

/* --- plans --- */

/* Lines as sha256sum writes them: the digest, then whatever name. */
static bool is_listed(const struct buf *b, const char hex[2 * PLAN_DIGEST_LEN + 1])
{
	const char *at = (const char *)b->p, *end = at + b->len;
	while (at && at < end) {
		const char *nl = memchr(at, '\n', (size_t)(end - at));
		size_t n = (size_t)((nl ? nl : end) - at);
		if (n >= 2 * PLAN_DIGEST_LEN && !memcmp(at, hex, 2 * PLAN_DIGEST_LEN) && (n == 2 * PLAN_DIGEST_LEN || at[2 * PLAN_DIGEST_LEN] == ' '))
			return true;
		at = nl ? nl + 1 : NULL;
	}
	return false;
}

static int check_list(const struct root *r, const struct trust_plan *p, struct err *err)
{
	char name[128], hex[2 * PLAN_DIGEST_LEN + 1];
	unsigned char digest[PLAN_DIGEST_LEN];
	CLEAN(buf_release) struct buf b = BUF_INIT(LIST_MAX);
	snprintf(name, sizeof name, "plans.d/%.64s.sha256", p->name);
	CLEAN(free_ptr) char *path = fs_join(r->config, name);
	sha256_of(p->text, p->n_text, digest);
	hex_encode(hex, digest, sizeof digest);
	int rc = read_own(path, &b, err);
	if (rc || is_listed(&b, hex))
		return rc;
	return err_set(err, ERR_MISSING, "%s does not list this version of the plan (%.16s...)", path, hex);
}

int trust_plan(const struct root *r, const struct trust_plan *p, struct plan **ret, struct err *err)
{
	struct err list = ERR_INIT, sig = ERR_INIT;
	*ret = NULL;
	if (!str_is_id(p->name))
		return err_set(err, ERR_FORMAT, "no name of a plan");
	int rc = check_list(r, p, &list);
	if (rc && rc != -ERR_MISSING) {
		*err = list;
		return rc;
	}
	if (rc && check_signature(r, p, &sig)) {
		(void)err_set(err, ERR_DENIED, "this host does not let plan '%s' be carried out: %.170s", p->name, p->signature ? sig.msg : list.msg);
		return err_hint(err, "read it there, then: sha256sum FILE >> %s/plans.d/%s.sha256", r->config, p->name);
	}
	return load_plan(p, ret, err);
}
