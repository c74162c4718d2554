#include "job/secret_ref.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"

static int not_there(const char *ref, struct err *err)
{
	err_set(err, ERR_USAGE, "secret %s is not there", ref);
	return err_hint(err, "the plan names it by reference; whoever starts this command must provide it");
}

/* Read straight into locked memory, so that no other copy stays behind. */
static int read_file(const char *ref, const char *path, struct secret *ret, struct err *err)
{
	CLEAN(secret_release) struct secret all = {0};
	CLEAN(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 && errno == ENOENT)
		return not_there(ref, err);
	if (fd < 0)
		return err_sys(err, ERR_IO, "secret %s", ref);
	secret_init(&all, SECRET_REF_MAX + 2);
	ssize_t n = fs_read_full(fd, all.p, SECRET_REF_MAX + 1);
	if (n < 0)
		return err_sys(err, ERR_IO, "secret %s", ref);
	if (n > SECRET_REF_MAX)
		return err_set(err, ERR_NOMEM, "secret %s is longer than %u bytes", ref, SECRET_REF_MAX);
	if (n && all.p[n - 1] == '\n')
		n--;
	all.p[n] = 0;
	secret_set(ret, all.p, (size_t)n + 1);
	return 0;
}

int secret_ref_read(const char *ref, struct secret *ret, struct err *err)
{
	*ret = (struct secret){0};
	int rc = 0;
	if (str_starts(ref, "env:")) {
		const char *v = secure_getenv(ref + 4);
		if (!v)
			return not_there(ref, err);
		secret_set(ret, v, strlen(v) + 1);
	} else if (str_starts(ref, "file:")) {
		rc = read_file(ref, ref + 5, ret, err);
	} else if (str_starts(ref, "systemd-credential:")) {
		const char *dir = secure_getenv("CREDENTIALS_DIRECTORY");
		CLEAN(free_ptr) char *path = fs_join(dir ? dir : "/nonexistent", ref + strlen("systemd-credential:"));
		rc = read_file(ref, path, ret, err);
	} else {
		rc = err_set(err, ERR_USAGE, "a secret is named file:/path, env:NAME or systemd-credential:NAME");
	}
	if (!rc && (ret->len < 2 || strlen((const char *)ret->p) + 1 != ret->len)) {
		secret_release(ret);
		rc = err_set(err, ERR_USAGE, "secret %s is empty or no text", ref);
	}
	return rc;
}

const char *secret_text(const struct secret *s)
{
	return (const char *)s->p;
}
