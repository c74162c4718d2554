#include "base/mem.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/err.h"

void *xmalloc(size_t size)
{
	void *p = malloc(size ? size : 1);

	if (!p)
		BUG("out of memory (%zu bytes)", size);
	return p;
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);

	if (!p)
		BUG("out of memory (%zu times %zu bytes)", n, size);
	return p;
}

void *xrealloc(void *p, size_t size)
{
	void *q = realloc(p, size ? size : 1);

	if (!q)
		BUG("out of memory (%zu bytes)", size);
	return q;
}

char *xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

char *xstrndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *p = xmalloc(len + 1);

	memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

void *xgrow(void *p, size_t n, size_t *cap, size_t size)
{
	size_t want, bytes;

	if (n < *cap)
		return p;
	if (__builtin_mul_overflow(n, (size_t)2, &want) || __builtin_mul_overflow(MAX(want, (size_t)8), size, &bytes))
		BUG("array of %zu elements is too large", n);
	*cap = MAX(want, (size_t)8);
	return xrealloc(p, bytes);
}

void free_ptr(void *p)
{
	void *q;

	memcpy(&q, p, sizeof q);
	free(q);
}

void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static size_t page_round(size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), up;

	if (__builtin_add_overflow(len, page - 1, &up))
		BUG("secret of %zu bytes", len);
	return up & ~(page - 1);
}

void secret_init(struct secret *s, size_t len)
{
	size_t size = page_round(len);
	void *p;

	s->p = NULL;
	s->len = 0;
	if (!len)
		return;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		BUG("no memory for a secret of %zu bytes", len);
	/* Both are best effort: RLIMIT_MEMLOCK may be tiny in a container. */
	(void)mlock(p, size);
	(void)madvise(p, size, MADV_DONTDUMP);
	s->p = p;
	s->len = len;
}

void secret_set(struct secret *s, const void *p, size_t len)
{
	secret_init(s, len);
	if (len)
		memcpy(s->p, p, len);
}

void secret_release(struct secret *s)
{
	if (s->p) {
		size_t size = page_round(s->len);

		mem_cleanse(s->p, size);
		munmap(s->p, size);
	}
	s->p = NULL;
	s->len = 0;
}

void mem_cleanse(void *p, size_t len)
{
	if (len)
		explicit_bzero(p, len);
}

void mem_no_dumps(void)
{
	const struct rlimit none = {0, 0};

	if (setrlimit(RLIMIT_CORE, &none) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		BUG("cannot forbid core dumps");
}
