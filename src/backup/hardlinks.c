#include "backup/hardlinks.h"

#include <string.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/mem.h"
#include "repo/list.h"
#include "base/tmp_file.h"

enum { TAIL = 256 << 10 };

struct place {
	uint64_t ino, off; /* off: of u16 length and path in the file, plus 1; 0: free */
	uint32_t dev;      /* index in devs */
	uint32_t left;     /* names not yet met */
};
_Static_assert(sizeof(struct place) == 24, "what a file with several names costs");

struct hardlinks {
	const char *tmp_dir;
	struct place *table;
	size_t n, cap; /* cap is a power of two or 0 */
	dev_t *devs;
	size_t n_devs, cap_devs;
	int fd;
	uint64_t written; /* bytes in the file; the tail follows */
	size_t n_tail;
	unsigned char *tail;
};

struct hardlinks *hardlinks_new(const char *tmp_dir)
{
	struct hardlinks *h = xcalloc(1, sizeof(*h));
	h->tmp_dir = tmp_dir;
	h->fd = -1;
	return h;
}

void hardlinks_free(struct hardlinks *h)
{
	if (!h)
		return;
	close_fd(&h->fd);
	free(h->table);
	free(h->devs);
	free(h->tail);
	free(h);
}

size_t hardlinks_count(const struct hardlinks *h)
{
	return h->n;
}

static uint32_t dev_index(struct hardlinks *h, dev_t dev)
{
	for (size_t i = h->n_devs; i-- > 0;)
		if (h->devs[i] == dev)
			return (uint32_t)i;
	h->devs = xgrow(h->devs, h->n_devs, &h->cap_devs, sizeof(*h->devs));
	h->devs[h->n_devs] = dev;
	return (uint32_t)h->n_devs++;
}

static size_t home(const struct hardlinks *h, uint64_t ino, uint32_t dev)
{
	uint64_t x = (ino + dev * 0x9e3779b97f4a7c15ull) * 0xd6e8feb86659fd93ull;
	return (size_t)(x ^ x >> 32) & (h->cap - 1);
}

/* Its slot, or the free one where it would go. */
static size_t slot_of(const struct hardlinks *h, uint64_t ino, uint32_t dev)
{
	size_t i = home(h, ino, dev);
	while (h->table[i].off && (h->table[i].ino != ino || h->table[i].dev != dev))
		i = (i + 1) & (h->cap - 1);
	return i;
}

static void grow(struct hardlinks *h)
{
	struct place *old = h->table;
	size_t n = h->cap;
	h->cap = MAX(2 * n, (size_t)64);
	h->table = xcalloc(h->cap, sizeof(*h->table));
	for (size_t i = 0; i < n; i++)
		if (old[i].off)
			h->table[slot_of(h, old[i].ino, old[i].dev)] = old[i];
	free(old);
}

/* Free slot i; what was pushed past it by collisions moves back. */
static void drop(struct hardlinks *h, size_t i)
{
	size_t mask = h->cap - 1;
	for (size_t k = (i + 1) & mask; h->table[k].off; k = (k + 1) & mask) {
		size_t want = home(h, h->table[k].ino, h->table[k].dev);
		if (((k - want) & mask) >= ((k - i) & mask)) {
			h->table[i] = h->table[k];
			i = k;
		}
	}
	h->table[i] = (struct place){0};
	if (--h->n)
		return;
	h->n_tail = 0;
	h->written = 0;
	if (h->fd >= 0 && ftruncate(h->fd, 0)) {
		/* the space comes back with the file */
	}
}

static int flush(struct hardlinks *h, struct err *err)
{
	if (h->fd < 0) {
		int rc = tmp_file_open(h->tmp_dir, &h->fd, err);
		if (rc)
			return rc;
	}
	int rc = tmp_file_write(h->fd, h->tail, h->n_tail, h->written, err);
	if (rc)
		return rc;
	h->written += h->n_tail;
	h->n_tail = 0;
	return 0;
}

int hardlinks_add(struct hardlinks *h, const struct stat *st, const char *path, size_t n, struct err *err)
{
	BUG_ON(n > LIST_PATH_MAX || st->st_nlink < 2);
	if (!h->tail)
		h->tail = xmalloc(TAIL);
	if (TAIL - h->n_tail < n + 2) {
		int rc = flush(h, err);
		if (rc)
			return rc;
	}
	if (h->cap < 2 * (h->n + 1))
		grow(h);
	uint32_t dev = dev_index(h, st->st_dev);
	struct place *p = &h->table[slot_of(h, st->st_ino, dev)];
	if (p->off)
		return 0;
	*p = (struct place){st->st_ino, h->written + h->n_tail + 1, dev, (uint32_t)(st->st_nlink - 1)};
	h->n++;
	put_u16(h->tail + h->n_tail, (uint16_t)n);
	memcpy(h->tail + h->n_tail + 2, path, n);
	h->n_tail += n + 2;
	return 0;
}

static int get_path(struct hardlinks *h, uint64_t off, char *path, size_t *ret_n, struct err *err)
{
	unsigned char len[2];
	if (off >= h->written) {
		const unsigned char *p = h->tail + (off - h->written);
		*ret_n = get_u16(p);
		memcpy(path, p + 2, *ret_n);
	} else {
		int rc = tmp_file_read(h->fd, len, 2, off, err);
		*ret_n = rc ? 0 : get_u16(len);
		if (!rc)
			rc = tmp_file_read(h->fd, path, *ret_n, off + 2, err);
		if (rc)
			return rc;
	}
	path[*ret_n] = '\0';
	return 0;
}

int hardlinks_find(struct hardlinks *h, const struct stat *st, char *path, size_t *ret_n, struct err *err)
{
	if (!h->n)
		return 0;
	size_t i = slot_of(h, st->st_ino, dev_index(h, st->st_dev));
	if (!h->table[i].off)
		return 0;
	int rc = get_path(h, h->table[i].off - 1, path, ret_n, err);
	if (rc)
		return rc;
	if (!--h->table[i].left)
		drop(h, i);
	return 1;
}
