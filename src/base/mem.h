/*
 * Small memory helpers. Small fixed allocations abort on failure (a commit is crash-safe); sizes from disk or network
 * go through struct buf with a ceiling.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdlib.h>

/* CLEAN(fn) struct x v = ...: calls fn(&v) when the scope is left. */
#define CLEAN(fn) __attribute__((cleanup(fn)))
/* Move a pointer out of a cleaned variable. */
#define TAKE(p)                                                                                                        \
	({                                                                                                             \
		__auto_type take_ = (p);                                                                               \
		(p) = NULL;                                                                                            \
		take_;                                                                                                 \
	})
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* malloc family that aborts on failure; xcalloc zeroes. Free with free(). */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
/* Grow an array: makes room for n + 1 elements of `size`, doubling *cap. */
void *xgrow(void *p, size_t n, size_t *cap, size_t size);

/* Cleanup functions for CLEAN(): free what *p points to; close *fd when >= 0. */
void free_ptr(void *p);
void close_fd(int *fd);

/* Keys: locked, not dumped, cleansed memory. There is no formatter on purpose. */
struct secret {
	unsigned char *p; /* NULL when empty */
	size_t len;
};
/* Reserve len zeroed bytes: own pages, mlock (best effort), MADV_DONTDUMP; a child inherits them. Aborts on failure. */
void secret_init(struct secret *s, size_t len);
void secret_set(struct secret *s, const void *p, size_t len); /* init and copy */
void secret_release(struct secret *s);                        /* cleanse and free; fine when empty */
/* Overwrite memory in a way the compiler keeps. */
void mem_cleanse(void *p, size_t len);
/* Forbid core dumps and ptrace of this process (RLIMIT_CORE 0, PR_SET_DUMPABLE 0). */
void mem_no_dumps(void);

#endif
