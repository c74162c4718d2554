#include "restore/path_set.h"

#include <string.h>
#include "base/mem.h"
#include "crypto/crypto.h"

static uint64_t key_of(const char *path, size_t n)
{
	unsigned char digest[SHA256_LEN];
	uint64_t k;
	sha256_of(path, n, digest);
	memcpy(&k, digest, sizeof k);
	return k ? k : 1;
}

static size_t slot_of(const struct path_set *s, uint64_t k)
{
	size_t i = k & (s->cap - 1);
	while (s->slot[i] && s->slot[i] != k)
		i = (i + 1) & (s->cap - 1);
	return i;
}

static void grow(struct path_set *s)
{
	struct path_set old = *s;
	s->cap = old.cap ? 2 * old.cap : 1024;
	s->slot = xcalloc(s->cap, sizeof *s->slot);
	for (size_t i = 0; i < old.cap; i++)
		if (old.slot[i])
			s->slot[slot_of(s, old.slot[i])] = old.slot[i];
	free(old.slot);
}

bool path_set_add(struct path_set *s, const char *path, size_t n)
{
	if (4 * (s->n + 1) > 3 * s->cap)
		grow(s);
	uint64_t k = key_of(path, n);
	size_t i = slot_of(s, k);
	if (s->slot[i])
		return false;
	s->slot[i] = k;
	s->n++;
	return true;
}

bool path_set_has(const struct path_set *s, const char *path, size_t n)
{
	if (!s->n)
		return false;
	return s->slot[slot_of(s, key_of(path, n))] != 0;
}

void path_set_release(struct path_set *s)
{
	free(s->slot);
	*s = (struct path_set){0};
}
