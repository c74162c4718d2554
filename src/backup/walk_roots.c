#include <errno.h>
#include "backup/walk.h"

#include <string.h>
#include "base/mem.h"
#include "repo/list.h"

/* One slash between components, none at the end. NULL when it is not an absolute path made of names. */
static char *normalise(const char *path)
{
	if (*path != '/')
		return NULL;
	char *out = xmalloc(strlen(path) + 2);
	size_t n = 0;
	for (const char *p = path; *p;) {
		p += strspn(p, "/");
		size_t len = strcspn(p, "/");
		if ((len == 1 && *p == '.') || (len == 2 && !memcmp(p, "..", 2))) {
			free(out);
			return NULL;
		}
		if (!len)
			break;
		out[n++] = '/';
		memcpy(out + n, p, len);
		n += len;
		p += len;
	}
	if (!n)
		out[n++] = '/';
	out[n] = '\0';
	return out;
}

static int cmp_roots(const void *a, const void *b)
{
	const char *x = *(char *const *)a + 1, *y = *(char *const *)b + 1;
	return path_walk_cmp(x, strlen(x), y, strlen(y));
}

static bool inside(const char *path, const char *root)
{
	size_t n = strlen(root);
	return n == 1 || (!strncmp(path, root, n) && (!path[n] || path[n] == '/'));
}

void walk_roots_free(char **roots, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(roots[i]);
	free(roots);
}

static size_t drop_nested(char **roots, size_t n)
{
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) {
		if (kept && inside(roots[i], roots[kept - 1]))
			free(roots[i]);
		else
			roots[kept++] = roots[i];
	}
	return kept;
}

int walk_roots(const char *const *paths, char ***ret, size_t *ret_n, struct err *err)
{
	char **roots = NULL;
	size_t n = 0, cap = 0, missing = 0;
	struct err first = ERR_INIT;
	int rc = 0;
	for (size_t i = 0; !rc && paths && paths[i]; i++) {
		struct stat st;
		char *root = normalise(paths[i]);
		if (!root) {
			rc = err_set(err, ERR_USAGE, "'%s' is not an absolute path without '.' and '..'", paths[i]);
			break;
		}
		roots = xgrow(roots, n, &cap, sizeof(*roots));
		roots[n++] = root;
		if (strlen(root) > LIST_PATH_MAX) {
			errno = ENAMETOOLONG;
			rc = err_sys(err, ERR_IO, "source path '%s'", paths[i]);
		} else if (lstat(root, &st) && !missing++) {
			err_sys(&first, ERR_IO, "source path '%s'", paths[i]);
		}
	}
	if (!rc && n && missing == n) { /* one of several is noted by the walk; a source that is not there at all is no backup */
		*err = first;
		err->code = ERR_IO; /* of this machine: nothing is missing from a copy */
		rc = err_rc(err);
	}
	if (rc) {
		walk_roots_free(roots, n);
		return rc;
	}
	if (n > 1)
		qsort(roots, n, sizeof(*roots), cmp_roots);
	*ret = roots;
	*ret_n = drop_nested(roots, n);
	return 0;
}
